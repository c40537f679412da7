/* SPDX-License-Identifier: Apache-2.0 */
#include "sets.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "envelope.h"
#include "file.h"

#define MAGIC         "TARNSET\x1a"
#define VERSION       1
#define HEADER_SIZE   32 /* magic, version, size, sets, reserved */
#define ENTRY_SIZE    96 /* name, place, size, settings, reserved */
#define HASH_SIZE     TARN_ENVELOPE_HASH
#define FILE_SIZE_MAX (4u << 20)

static const struct tarn_envelope envelope = {
    .magic = MAGIC,
    .version = VERSION,
    .header = HEADER_SIZE,
    .none = "neither sets nor a model",
    .one = "format of sets",
};

void tarn_set_defaults(struct tarn_set_settings *settings)
{
    *settings = (struct tarn_set_settings){
        .rate = 1,
        .pace = 1,
        .replayed = 0.1f,
        .mix_rate = 0.05f,
        .mix_half_life = 4,
        .network = 0.5f,
    };
}

/* ---- masks ---- */

void tarn_net_mask(const struct tarn_shape *shape, float *weights, uint32_t masked)
{
    for (uint32_t i = 0; i < shape->inputs && i < 32; i++)
        for (uint32_t h = 0; (masked >> i & 1) && h < shape->hidden1; h++)
            weights[h * shape->inputs + i] = 0;
}

uint32_t tarn_net_masked(const struct tarn_shape *shape, const float *weights)
{
    uint32_t masked = 0;
    for (uint32_t i = 0; i < shape->inputs && i < 32; i++) {
        uint32_t h = 0;
        while (h < shape->hidden1 && weights[h * shape->inputs + i] == 0)
            h++;
        masked |= (uint32_t)(h == shape->hidden1) << i;
    }
    return masked;
}

/* ---- in memory ---- */

tarn_status tarn_model_sets_create(tarn_model_sets **sets)
{
    *sets = tarn_alloc_zeroed(1, sizeof **sets);
    return *sets != NULL ? TARN_OK : TARN_NO_MEMORY;
}

void tarn_model_sets_destroy(tarn_model_sets **sets)
{
    if (*sets == NULL)
        return;
    for (uint32_t i = 0; i < (*sets)->count; i++)
        tarn_model_destroy(&(*sets)->set[i].model);
    tarn_free(*sets);
    *sets = NULL;
}

static bool is_name(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length >= TARN_SET_NAME)
        return false;
    for (const char *c = name; *c != '\0'; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
              *c == '-' || *c == '_' || *c == '.'))
            return false;
    return true;
}

static bool is_between(float x, float least, float most)
{
    return x >= least && x <= most;
}

static tarn_status check(const tarn_model_sets *sets, const char *name,
                         const struct tarn_shape *shape, const struct tarn_set_settings *s,
                         struct tarn_error *error)
{
    if (!is_name(name))
        return tarn_fail(error, TARN_INVALID, "sets: a name of 1 to %d letters, digits, - _ .",
                         TARN_SET_NAME - 1);
    if ((sets->count == 0) != (strcmp(name, "general") == 0) &&
        tarn_model_sets_find(sets, name) == sets->count)
        return tarn_fail(error, TARN_INVALID, "sets: the first one is called general, not %s",
                         name);
    if (sets->count > 0 && memcmp(&sets->set[0].model->shape, shape, sizeof *shape) != 0)
        return tarn_fail(error, TARN_INVALID, "sets: %s has another shape than the general one",
                         name);
    if (sets->count == TARN_SETS_MOST && tarn_model_sets_find(sets, name) == sets->count)
        return tarn_fail(error, TARN_INVALID, "sets: more than %d", TARN_SETS_MOST);
    if (!is_between(s->rate, 1.0f / 64, 64) || !is_between(s->pace, 1.0f / 64, 8) ||
        !is_between(s->replayed, 0, 0.9f) || !is_between(s->mix_rate, 0, 1) ||
        !is_between(s->mix_half_life, 0.25f, 64) || !is_between(s->network, 0, 1) ||
        !is_between(s->step_rate, 0, 1))
        return tarn_fail(error, TARN_INVALID, "sets: a setting of %s is out of range", name);
    if (shape->inputs < 32 && s->masked >> shape->inputs != 0)
        return tarn_fail(error, TARN_INVALID, "sets: %s masks an input that isn't there", name);
    return TARN_OK;
}

tarn_status tarn_model_sets_add(tarn_model_sets *sets, const char *name, const tarn_model *model,
                                const struct tarn_set_settings *settings, struct tarn_error *error)
{
    tarn_model *copy = NULL;
    tarn_status status = check(sets, name, &model->shape, settings, error);
    if (status != TARN_OK)
        return status;
    status = tarn_model_copy(model, &copy);
    if (status != TARN_OK)
        return tarn_fail(error, status, "sets: %s", tarn_status_message(status));
    tarn_net_mask(&copy->shape, copy->weights, settings->masked);
    uint32_t i = tarn_model_sets_find(sets, name);
    struct tarn_model_set *set = &sets->set[i];
    if (i < sets->count)
        tarn_model_destroy(&set->model);
    else
        sets->count++;
    memcpy(set->name, name, strlen(name) + 1);
    set->model = copy;
    set->settings = *settings;
    return TARN_OK;
}

uint32_t tarn_model_sets_count(const tarn_model_sets *sets)
{
    return sets->count;
}

void tarn_model_sets_get(const tarn_model_sets *sets, uint32_t i, struct tarn_set_info *info)
{
    const struct tarn_model_set *set = &sets->set[i];
    *info = (struct tarn_set_info){set->name, set->model, set->settings};
}

uint32_t tarn_model_sets_find(const tarn_model_sets *sets, const char *name)
{
    for (uint32_t i = 0; i < sets->count; i++)
        if (strcmp(sets->set[i].name, name) == 0)
            return i;
    return sets->count;
}

tarn_status tarn_model_sets_copy(const tarn_model_sets *from, tarn_model_sets **sets)
{
    tarn_status status = tarn_model_sets_create(sets);
    for (uint32_t i = 0; status == TARN_OK && i < from->count; i++)
        status = tarn_model_sets_add(*sets, from->set[i].name, from->set[i].model,
                                     &from->set[i].settings, NULL);
    if (status != TARN_OK)
        tarn_model_sets_destroy(sets);
    return status;
}

/* ---- writing ---- */

size_t tarn_model_sets_size(const tarn_model_sets *sets)
{
    size_t size = HEADER_SIZE + (size_t)sets->count * ENTRY_SIZE + HASH_SIZE;
    for (uint32_t i = 0; i < sets->count; i++)
        size += tarn_model_file_size(sets->set[i].model);
    return size;
}

static void put_settings(uint8_t *to, const struct tarn_set_settings *s)
{
    const float values[] = {s->rate,          s->pace,    s->replayed, s->mix_rate,
                            s->mix_half_life, s->network, s->step_rate};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        tarn_put_f32(to + 4 * i, values[i]);
    tarn_put_u32(to + 28, s->masked);
    tarn_put_u32(to + 32, s->steps);
}

void tarn_model_sets_write(const tarn_model_sets *sets, uint8_t *to)
{
    size_t size = tarn_model_sets_size(sets), at = HEADER_SIZE + (size_t)sets->count * ENTRY_SIZE;
    memset(to, 0, at);
    memcpy(to, MAGIC, 8);
    tarn_put_u32(to + 8, VERSION);
    tarn_put_u32(to + 12, (uint32_t)size);
    tarn_put_u32(to + 16, sets->count);
    for (uint32_t i = 0; i < sets->count; i++) {
        const struct tarn_model_set *set = &sets->set[i];
        uint8_t *entry = to + HEADER_SIZE + (size_t)i * ENTRY_SIZE;
        size_t bytes = tarn_model_file_size(set->model);
        memcpy(entry, set->name, strlen(set->name));
        tarn_put_u32(entry + 32, (uint32_t)at);
        tarn_put_u32(entry + 36, (uint32_t)bytes);
        put_settings(entry + 40, &set->settings);
        tarn_model_write(set->model, to + at);
        at += bytes;
    }
    tarn_put_u64(to + size - HASH_SIZE, tarn_hash(to, size - HASH_SIZE));
}

tarn_status tarn_model_sets_save(const tarn_model_sets *sets, const char *path,
                                 struct tarn_error *error)
{
    size_t size = tarn_model_sets_size(sets);
    if (sets->count == 0)
        return tarn_fail(error, TARN_INVALID, "%s: there is no set", path);
    if (size > FILE_SIZE_MAX)
        return tarn_fail(error, TARN_TOO_LARGE, "%s: sets of %zu bytes", path, size);
    uint8_t *data = tarn_alloc(size);
    if (data == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path);
    tarn_model_sets_write(sets, data);
    tarn_status status = tarn_file_replace(path, data, size, error);
    tarn_free(data);
    return status;
}

/* ---- reading ---- */

static void get_settings(const uint8_t *from, struct tarn_set_settings *s)
{
    float *const values[] = {&s->rate,          &s->pace,    &s->replayed, &s->mix_rate,
                             &s->mix_half_life, &s->network, &s->step_rate};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        *values[i] = tarn_get_f32(from + 4 * i);
    s->masked = tarn_get_u32(from + 28);
    s->steps = tarn_get_u32(from + 32);
}

static tarn_status check_header(const char *where, const uint8_t *data, size_t size,
                                struct tarn_error *error)
{
    tarn_status status = tarn_envelope_check(&envelope, where, data, size, error);
    if (status != TARN_OK)
        return status;
    uint32_t count = tarn_get_u32(data + 16);
    if (count == 0 || count > TARN_SETS_MOST ||
        HEADER_SIZE + (size_t)count * ENTRY_SIZE + HASH_SIZE > size)
        return tarn_fail(error, TARN_CORRUPT, "%s: %" PRIu32 " sets don't fit in", where, count);
    return TARN_OK;
}

/* One set, whose model begins at `*at` and moves it behind its end. */
static tarn_status read_set(const char *where, const uint8_t *data, size_t end, uint32_t i,
                            size_t *at, tarn_model_sets *sets, struct tarn_error *error)
{
    const uint8_t *entry = data + HEADER_SIZE + (size_t)i * ENTRY_SIZE;
    struct tarn_set_settings settings;
    struct tarn_error reason = {0};
    tarn_model *model = NULL;
    char name[TARN_SET_NAME];
    size_t bytes = tarn_get_u32(entry + 36);
    memcpy(name, entry, sizeof name);
    if (name[sizeof name - 1] != '\0')
        return tarn_fail(error, TARN_CORRUPT, "%s: set %u has no name", where, (unsigned)i);
    if (tarn_get_u32(entry + 32) != *at || bytes > end - *at)
        return tarn_fail(error, TARN_CORRUPT, "%s: set %u isn't where it should be", where,
                         (unsigned)i);
    if (!is_name(name) || tarn_model_sets_find(sets, name) < sets->count)
        return tarn_fail(error, TARN_CORRUPT, "%s: the name of set %u", where, (unsigned)i);
    get_settings(entry + 40, &settings);
    tarn_status status = tarn_model_parse(data + *at, bytes, &model, &reason);
    if (status == TARN_OK)
        status = tarn_model_sets_add(sets, name, model, &settings, &reason);
    tarn_model_destroy(&model);
    *at += bytes;
    if (status == TARN_INVALID)
        status = TARN_CORRUPT;
    return status == TARN_OK
               ? TARN_OK
               : tarn_fail(error, status, "%s: %s: %.180s", where, name, reason.message);
}

static tarn_status read_sets(const char *where, const uint8_t *data, size_t size,
                             tarn_model_sets *sets, struct tarn_error *error)
{
    tarn_status status = check_header(where, data, size, error);
    if (status != TARN_OK)
        return status;
    uint32_t count = tarn_get_u32(data + 16);
    size_t at = HEADER_SIZE + (size_t)count * ENTRY_SIZE;
    for (uint32_t i = 0; status == TARN_OK && i < count; i++)
        status = read_set(where, data, size - HASH_SIZE, i, &at, sets, error);
    if (status == TARN_OK && at != size - HASH_SIZE)
        status =
            tarn_fail(error, TARN_CORRUPT, "%s: its parts don't add up to %zu bytes", where, size);
    return status;
}

/* A model alone is the general set. */
static tarn_status read_model(const char *where, const void *data, size_t size,
                              tarn_model_sets *sets, struct tarn_error *error)
{
    struct tarn_set_settings settings;
    tarn_model *model = NULL;
    tarn_set_defaults(&settings);
    tarn_status status = tarn_model_parse_named(where, data, size, &model, error);
    if (status == TARN_OK)
        status = tarn_model_sets_add(sets, "general", model, &settings, error);
    tarn_model_destroy(&model);
    return status;
}

static tarn_status parse(const char *where, const void *data, size_t size, tarn_model_sets **sets,
                         struct tarn_error *error)
{
    tarn_status status = tarn_model_sets_create(sets);
    if (status != TARN_OK)
        return tarn_fail(error, status, "%s: out of memory", where);
    bool model = size >= 8 && memcmp(data, "TARNMDL\x1a", 8) == 0;
    status = model ? read_model(where, data, size, *sets, error)
                   : read_sets(where, data, size, *sets, error);
    if (status != TARN_OK)
        tarn_model_sets_destroy(sets);
    return status;
}

tarn_status tarn_model_sets_parse(const void *data, size_t size, tarn_model_sets **sets,
                                  struct tarn_error *error)
{
    return parse("sets", data, size, sets, error);
}

tarn_status tarn_model_sets_load(const char *path, tarn_model_sets **sets, struct tarn_error *error)
{
    void *data;
    size_t size;
    *sets = NULL;
    tarn_status status = tarn_file_read(path, FILE_SIZE_MAX, &data, &size, error);
    if (status != TARN_OK)
        return status;
    status = parse(path, data, size, sets, error);
    free(data);
    return status;
}
