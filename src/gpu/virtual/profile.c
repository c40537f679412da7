/* SPDX-License-Identifier: Apache-2.0 */
#include "profile.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* Written by tools/embed.py: text with a NUL behind it. */
extern const unsigned char tarn_virtual_mali[], tarn_virtual_videocore[], tarn_virtual_jetson[];

static const struct {
    const char *name;
    const unsigned char *text;
} boards[] = {
    {"mali", tarn_virtual_mali},
    {"videocore", tarn_virtual_videocore},
    {"jetson", tarn_virtual_jetson},
};
enum { BOARDS = sizeof boards / sizeof boards[0], LINE = 160 };

/* A value that is read and checked before it is scaled and put into its place. */
enum target {
    MEMORY,
    BUFFER,
    LOCAL_MEMORY,
    GROUP_SIZE,
    COMPUTE_UNITS,
    FEATURE_FP16,
    FEATURE_INT8,
    FEATURE_INT64,
    FEATURE_SUBGROUPS,
    QUEUES,
    PRIORITY,
    STOP_FLAG,
    SUBMIT,
    GAP,
    LAUNCH,
    ASK,
    WATCHDOG,
    OPERATIONS,
    BYTES,
    PERIOD,
    UP,
    DOWN,
    NUMBERS,
};

static const struct key {
    const char *section, *name;
    uint64_t least, most;
} keys[NUMBERS] = {
    [MEMORY] = {"limits", "memory_mib", 1, 1 << 20},
    [BUFFER] = {"limits", "buffer_mib", 1, 1 << 20},
    [LOCAL_MEMORY] = {"limits", "local_memory_bytes", 1, 1 << 20},
    [GROUP_SIZE] = {"limits", "group_size", 1, 1 << 16},
    [COMPUTE_UNITS] = {"limits", "compute_units", 1, 1 << 16},
    [FEATURE_FP16] = {"limits", "fp16", 0, 1},
    [FEATURE_INT8] = {"limits", "int8", 0, 1},
    [FEATURE_INT64] = {"limits", "int64_atomics", 0, 1},
    [FEATURE_SUBGROUPS] = {"limits", "subgroups", 0, 1},
    [QUEUES] = {"queues", "count", 1, TARN_VIRTUAL_QUEUES},
    [PRIORITY] = {"queues", "priority", 0, 1},
    [STOP_FLAG] = {"queues", "stop_flag", 0, 1},
    [SUBMIT] = {"time", "submit_us", 0, 1000000},
    [GAP] = {"time", "gap_us", 0, 1000000},
    [LAUNCH] = {"time", "launch_ns", 1, 1000000000},
    [ASK] = {"time", "ask_ns", 1, 1000000000},
    [WATCHDOG] = {"time", "watchdog_ms", 1, 1000000},
    [OPERATIONS] = {"speed", "mflops", 1, 1000000000},
    [BYTES] = {"speed", "megabytes_per_s", 1, 1000000000},
    [PERIOD] = {"clock", "period_ms", 1, 1000000},
    [UP] = {"clock", "up_percent", 1, 100},
    [DOWN] = {"clock", "down_percent", 0, 100},
};

struct reader {
    const char *label;
    unsigned line;
    char section[16];
    uint64_t values[NUMBERS];
    bool seen[NUMBERS];
    struct tarn_virtual_profile *profile;
    struct tarn_error *error;
};

static tarn_status complain(const struct reader *r, const char *what, const char *word)
{
    return tarn_fail(r->error, TARN_CORRUPT, "%s, line %u: %s%.40s", r->label, r->line, what, word);
}

/* Digits only; moves `text` behind them. */
static bool read_number(const char **text, uint64_t *value)
{
    size_t digits = strspn(*text, "0123456789");
    *value = 0;
    if (digits == 0 || digits > 12)
        return false;
    for (size_t i = 0; i < digits; i++)
        *value = *value * 10 + (uint64_t)((*text)[i] - '0');
    *text += digits;
    return true;
}

static tarn_status read_steps(struct reader *r, const char *value)
{
    struct tarn_virtual_profile *p = r->profile;
    if (p->step_count > 0)
        return complain(r, "twice: ", "steps_mhz");
    while (*value != '\0') {
        uint64_t mhz;
        if (p->step_count == TARN_VIRTUAL_STEPS)
            return complain(r, "too many steps", "");
        uint32_t before = p->step_count > 0 ? p->step_mhz[p->step_count - 1] : 0;
        if (!read_number(&value, &mhz) || mhz <= before || mhz > 10000)
            return complain(r, "no rising clocks up to 10000: ", value);
        p->step_mhz[p->step_count++] = (uint32_t)mhz;
        value += strspn(value, " \t");
    }
    return p->step_count > 0 ? TARN_OK : complain(r, "no value", "");
}

static tarn_status read_pair(struct reader *r, const char *name, const char *value)
{
    if (strcmp(r->section, "device") == 0 && strcmp(name, "name") == 0) {
        if (r->profile->name[0] != '\0')
            return complain(r, "twice: ", name);
        if (value[0] == '\0' || strlen(value) >= sizeof r->profile->name)
            return complain(r, "empty or too long: ", name);
        memcpy(r->profile->name, value, strlen(value) + 1);
        return TARN_OK;
    }
    if (strcmp(r->section, "clock") == 0 && strcmp(name, "steps_mhz") == 0)
        return read_steps(r, value);
    for (int i = 0; i < NUMBERS; i++) {
        if (strcmp(keys[i].section, r->section) != 0 || strcmp(keys[i].name, name) != 0)
            continue;
        if (r->seen[i])
            return complain(r, "twice: ", name);
        r->seen[i] = true;
        if (!read_number(&value, &r->values[i]) || *value != '\0')
            return complain(r, "no whole number: ", name);
        if (r->values[i] < keys[i].least || r->values[i] > keys[i].most)
            return complain(r, "out of range: ", name);
        return TARN_OK;
    }
    return complain(r, "unknown key: ", name);
}

static void trim(char *text)
{
    size_t length = strlen(text), front = strspn(text, " \t\r");
    while (length > front && strchr(" \t\r", text[length - 1]) != NULL)
        length--;
    memmove(text, text + front, length - front);
    text[length - front] = '\0';
}

static tarn_status read_line(struct reader *r, char *line)
{
    trim(line);
    if (line[0] == '\0' || line[0] == '#')
        return TARN_OK;
    size_t length = strlen(line);
    if (line[0] == '[') {
        if (line[length - 1] != ']' || length - 2 >= sizeof r->section || length < 3)
            return complain(r, "no section: ", line);
        memcpy(r->section, line + 1, length - 2);
        r->section[length - 2] = '\0';
        return TARN_OK;
    }
    char *equals = strchr(line, '=');
    if (equals == NULL)
        return complain(r, "neither section nor key: ", line);
    *equals = '\0';
    char *value = equals + 1;
    trim(line);
    trim(value);
    return read_pair(r, line, value);
}

/* What one number's range can't say. */
static const char *contradiction(const struct reader *r)
{
    const uint64_t *v = r->values;
    if (r->profile->name[0] == '\0')
        return "missing: name";
    if (r->profile->step_count == 0)
        return "missing: steps_mhz";
    if (v[BUFFER] > v[MEMORY])
        return "buffer_mib is above memory_mib";
    if (v[PRIORITY] == 1 && v[QUEUES] < 2)
        return "priority needs two queues";
    if (v[UP] <= v[DOWN])
        return "up_percent is not above down_percent";
    return NULL;
}

static void fill(const struct reader *r)
{
    struct tarn_virtual_profile *p = r->profile;
    const uint64_t *v = r->values;
    p->limits = (struct tarn_device_limits){
        .memory = v[MEMORY] << 20,
        .buffer = v[BUFFER] << 20,
        .local_memory = (uint32_t)v[LOCAL_MEMORY],
        .group_size = (uint32_t)v[GROUP_SIZE],
        .compute_units = (uint32_t)v[COMPUTE_UNITS],
        .features = (v[FEATURE_FP16] ? TARN_FEATURE_FP16 : 0u) |
                    (v[FEATURE_INT8] ? TARN_FEATURE_INT8 : 0u) |
                    (v[FEATURE_INT64] ? TARN_FEATURE_INT64_ATOMICS : 0u) |
                    (v[FEATURE_SUBGROUPS] ? TARN_FEATURE_SUBGROUPS : 0u),
    };
    /* a 32-bit host can't hand out more than its own address space */
    if (p->limits.buffer > SIZE_MAX / 4)
        p->limits.buffer = SIZE_MAX / 4;
    p->model = (struct tarn_virtual_model){
        .queues = (uint32_t)v[QUEUES],
        .priority = v[PRIORITY] == 1,
        .stop_flag = v[STOP_FLAG] == 1,
        .submit_ns = v[SUBMIT] * 1000,
        .gap_ns = v[GAP] * 1000,
        .launch_ns = v[LAUNCH],
        .ask_ns = v[ASK],
        .watchdog_ns = v[WATCHDOG] * 1000000,
        .operations_per_us = v[OPERATIONS],
        .bytes_per_us = v[BYTES],
    };
    p->governor_period_ns = v[PERIOD] * 1000000;
    p->up_percent = (uint32_t)v[UP];
    p->down_percent = (uint32_t)v[DOWN];
}

tarn_status tarn_virtual_profile_parse(const char *label, const char *text,
                                       struct tarn_virtual_profile *profile,
                                       struct tarn_error *error)
{
    struct reader r = {.label = label, .profile = profile, .error = error};
    memset(profile, 0, sizeof *profile);
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char line[LINE];
        r.line++;
        if (length >= sizeof line)
            return complain(&r, "the line is too long", "");
        memcpy(line, text, length);
        line[length] = '\0';
        tarn_status status = read_line(&r, line);
        if (status != TARN_OK)
            return status;
        text += length + (text[length] == '\n');
    }
    for (int i = 0; i < NUMBERS; i++)
        if (!r.seen[i])
            return complain(&r, "missing: ", keys[i].name);
    const char *why = contradiction(&r);
    if (why != NULL)
        return complain(&r, why, "");
    fill(&r);
    return TARN_OK;
}

const char *tarn_virtual_profile_name(uint32_t index)
{
    return index < BOARDS ? boards[index].name : NULL;
}

tarn_status tarn_virtual_profile_load(const char *name, struct tarn_virtual_profile *profile,
                                      struct tarn_error *error)
{
    for (size_t i = 0; i < BOARDS; i++)
        if (strcmp(boards[i].name, name) == 0)
            return tarn_virtual_profile_parse(name, (const char *)boards[i].text, profile, error);
    return TARN_NOT_FOUND;
}
