/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a device is a text in the program cache, a line a kernel's code:
 *
 *   good|bad|try KERNEL FINGERPRINT COUNT PID WHY
 *
 * COUNT and PID are those of a try: how many processes began one, and the last of them.
 */
#include "quarantine.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"
#include "base/log.h"
#include "base/options.h"

#define MOST_LINES 64 /* what was tried last comes first, the rest is forgotten */
#define DEATHS     2  /* one may have been a power cut, or an impatient person */

struct line {
    char state[5], kernel[48];
    uint64_t fingerprint;
    unsigned count;
    long pid;
    char why[TARN_QUARANTINE_TEXT];
};

struct record {
    struct line lines[MOST_LINES];
    size_t count;
};

static struct tarn_program_key key_of(const struct tarn_device_info *info)
{
    return (struct tarn_program_key){
        .backend = "quarantine",
        .device = info->name,
        .driver = info->driver,
        .options = info->backend,
    };
}

static bool parse_line(char *text, struct line *line)
{
    int used = 0;
    memset(line, 0, sizeof *line);
    if (sscanf(text, "%4s %47s %" SCNx64 " %u %ld %n", line->state, line->kernel,
               &line->fingerprint, &line->count, &line->pid, &used) < 5 ||
        used == 0)
        return false;
    snprintf(line->why, sizeof line->why, "%s", text + used);
    return true;
}

static struct record *read_record(tarn_program_cache *programs, const struct tarn_device_info *info)
{
    struct record *record = calloc(1, sizeof *record);
    struct tarn_program_key key = key_of(info);
    void *data;
    size_t size;
    if (record == NULL || !tarn_program_cache_get(programs, &key, &data, &size))
        return record;
    char *text = realloc(data, size + 1);
    if (text == NULL) {
        free(data);
        return record;
    }
    text[size] = '\0';
    char *rest = NULL;
    for (char *at = strtok_r(text, "\n", &rest); at != NULL && record->count < MOST_LINES;
         at = strtok_r(NULL, "\n", &rest))
        if (parse_line(at, &record->lines[record->count]))
            record->count++;
    free(text);
    return record;
}

static void write_record(tarn_device *device, const struct record *record)
{
    struct tarn_program_key key = key_of(&device->info);
    size_t room = MOST_LINES * (sizeof(struct line) + 64), used = 0;
    char *text = malloc(room);
    for (size_t i = 0; text != NULL && i < record->count; i++) {
        const struct line *line = &record->lines[i];
        used +=
            (size_t)snprintf(text + used, room - used, "%s %s %" PRIx64 " %u %ld %s\n", line->state,
                             line->kernel, line->fingerprint, line->count, line->pid, line->why);
    }
    if (text != NULL && used > 0)
        tarn_program_cache_put(device->programs, &key, text, used);
    else if (text != NULL)
        tarn_program_cache_drop(device->programs, &key);
    free(text);
}

static struct line *find_line(struct record *record, const char *kernel, uint64_t fingerprint)
{
    for (size_t i = 0; i < record->count; i++)
        if (record->lines[i].fingerprint == fingerprint &&
            strcmp(record->lines[i].kernel, kernel) == 0)
            return &record->lines[i];
    return NULL;
}

/* The line of this kernel that was judged or asked for last. */
static const struct line *latest_of(const struct record *record, const char *kernel)
{
    for (size_t i = 0; i < record->count; i++)
        if (strcmp(record->lines[i].kernel, kernel) == 0)
            return &record->lines[i];
    return NULL;
}

static bool is_same_code(uint64_t fingerprint, uint64_t other)
{
    return fingerprint >> 32 == other >> 32;
}

/* Takes the line of (kernel, fingerprint) out of the record, and gives room for it in front. */
static struct line *move_to_front(struct record *record, const char *kernel, uint64_t fingerprint)
{
    struct line *line = find_line(record, kernel, fingerprint), moved = {.count = 0};
    if (line != NULL) {
        moved = *line;
        memmove(line, line + 1,
                (size_t)(&record->lines[record->count] - (line + 1)) * sizeof *line);
        record->count--;
    } else if (record->count == MOST_LINES) {
        record->count--;
    }
    memmove(&record->lines[1], &record->lines[0], record->count * sizeof *line);
    record->count++;
    snprintf(moved.kernel, sizeof moved.kernel, "%s", kernel);
    moved.fingerprint = fingerprint;
    record->lines[0] = moved;
    return &record->lines[0];
}

static bool is_alive(long pid)
{
    return pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH);
}

/* What a line says, with the reason. */
static tarn_verdict verdict_of(const struct line *line, char *why, size_t size)
{
    if (strcmp(line->state, "good") == 0)
        return TARN_VERDICT_GOOD;
    if (strcmp(line->state, "bad") == 0) {
        snprintf(why, size, "%s", line->why);
        return TARN_VERDICT_BAD;
    }
    if (line->count >= DEATHS && !is_alive(line->pid)) {
        snprintf(why, size, "%u processes died while they tried it", line->count);
        return TARN_VERDICT_BAD;
    }
    return TARN_VERDICT_NONE;
}

tarn_verdict tarn_quarantine_get(tarn_device *device, const char *kernel, uint64_t fingerprint,
                                 char why[TARN_QUARANTINE_TEXT])
{
    tarn_verdict verdict = TARN_VERDICT_NONE;
    struct record *record = read_record(device->programs, &device->info);
    const struct line *line = record != NULL ? find_line(record, kernel, fingerprint) : NULL;
    why[0] = '\0';
    if (line != NULL)
        verdict = verdict_of(line, why, TARN_QUARANTINE_TEXT);
    /* another version of the library ran in between: tarn_device_quarantined() is to speak of this one */
    if (verdict != TARN_VERDICT_NONE &&
        !is_same_code(latest_of(record, kernel)->fingerprint, fingerprint)) {
        move_to_front(record, kernel, fingerprint);
        write_record(device, record);
    }
    free(record);
    return verdict;
}

void tarn_quarantine_begin(tarn_device *device, const char *kernel, uint64_t fingerprint)
{
    struct record *record = read_record(device->programs, &device->info);
    if (record == NULL)
        return;
    const struct line *line = find_line(record, kernel, fingerprint);
    /* somebody else tries it at this moment: the count is theirs */
    if (line == NULL || strcmp(line->state, "try") != 0 || line->pid == getpid() ||
        !is_alive(line->pid)) {
        struct line *mine = move_to_front(record, kernel, fingerprint);
        bool died = strcmp(mine->state, "try") == 0 && mine->pid != getpid();
        mine->count = died ? mine->count + 1 : 1;
        mine->pid = getpid();
        mine->why[0] = '\0';
        snprintf(mine->state, sizeof mine->state, "try");
        write_record(device, record);
    }
    free(record);
}

void tarn_quarantine_set(tarn_device *device, const char *kernel, uint64_t fingerprint,
                         tarn_verdict verdict, const char *why)
{
    struct record *record = read_record(device->programs, &device->info);
    if (record == NULL)
        return;
    struct line *line = move_to_front(record, kernel, fingerprint);
    line->count = 0;
    line->pid = 0;
    snprintf(line->state, sizeof line->state, "%s", verdict == TARN_VERDICT_BAD ? "bad" : "good");
    snprintf(line->why, sizeof line->why, "%s", why != NULL ? why : "");
    for (char *at = line->why; *at != '\0'; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
    if (verdict == TARN_VERDICT_NONE) {
        record->count--;
        memmove(&record->lines[0], &record->lines[1], record->count * sizeof *line);
    }
    write_record(device, record);
    free(record);
}

/* ---- what a person asks for ---- */

/* The n-th entry of TARN_QUARANTINE that is for this device: its kernel's name. */
static bool forced_kernel(const char *device_id, size_t n, char *kernel, size_t size)
{
    const char *at = tarn_option_get(TARN_OPTION_QUARANTINE);
    size_t id_length = strlen(device_id);
    while (at[0] != '\0') {
        size_t length = strcspn(at, ",");
        const char *slash = memchr(at, '/', length);
        size_t device = slash != NULL ? (size_t)(slash - at) : 0;
        bool ours = slash != NULL && ((device == 1 && at[0] == '*') ||
                                      (device == id_length && memcmp(at, device_id, device) == 0));
        if (ours && n-- == 0) {
            snprintf(kernel, size, "%.*s", (int)(length - device - 1), slash + 1);
            return true;
        }
        at += length + (at[length] == ',');
    }
    return false;
}

bool tarn_quarantine_forced(const char *device_id, const char *kernel)
{
    char name[64];
    for (size_t i = 0; forced_kernel(device_id, i, name, sizeof name); i++)
        if (strcmp(name, "*") == 0 || strcmp(name, kernel) == 0)
            return true;
    return false;
}

bool tarn_device_quarantined(const struct tarn_device_info *info, const char *cache_dir, size_t n,
                             char text[], size_t size)
{
    char kernel[64];
    tarn_program_cache *programs = NULL;
    if (info == NULL || text == NULL || size == 0)
        return false;
    size_t forced = 0;
    for (; forced_kernel(info->id, forced, kernel, sizeof kernel); forced++)
        if (forced == n) {
            snprintf(text, size, "%s: TARN_QUARANTINE asks for it", kernel);
            return true;
        }
    n -= forced;
    tarn_program_cache_create(&(struct tarn_program_cache_params){.dir = cache_dir}, &programs);
    struct record *record = read_record(programs, info);
    bool found = false;
    for (size_t i = 0; record != NULL && !found && i < record->count; i++) {
        char why[TARN_QUARANTINE_TEXT];
        const struct line *line = &record->lines[i];
        /* what an older version's code did wrong says nothing of the one in use */
        found = is_same_code(latest_of(record, line->kernel)->fingerprint, line->fingerprint) &&
                verdict_of(line, why, sizeof why) == TARN_VERDICT_BAD && n-- == 0;
        if (found)
            snprintf(text, size, "%s: %s", line->kernel, why);
    }
    free(record);
    tarn_program_cache_destroy(&programs);
    return found;
}
