/* SPDX-License-Identifier: Apache-2.0 */
/* A whole trace in memory, its keys numbered by first appearance. */
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "copy.h"
#include "numbering.h"
#include "trace.h"

enum { BATCH = 4096 };

struct loader {
    struct tarn_trace_data *data;
    size_t room; /* requests */
    struct tarn_numbering numbering;
    struct {
        uint64_t size;
        uint32_t last; /* its latest request */
    } * objects;
    size_t object_room;
};

static bool grow(void *array, size_t element, size_t room)
{
    void *old;
    memcpy(&old, array, sizeof old);
    void *grown = tarn_realloc(old, element * room);
    if (grown == NULL)
        return false;
    memcpy(array, &grown, sizeof grown);
    return true;
}

static bool make_room(struct loader *loader, const tarn_trace *trace, size_t more)
{
    struct tarn_trace_data *data = loader->data;
    size_t room = loader->room;
    if (data->count + more <= room)
        return true;
    while (room < data->count + more)
        room = room ? room * 2 : 64 << 10;
    if (!grow(&data->object, sizeof *data->object, room) ||
        !grow(&data->size, sizeof *data->size, room) ||
        !grow(&data->next, sizeof *data->next, room) || !grow(&data->op, sizeof *data->op, room) ||
        (tarn_trace_has_time(trace) && !grow(&data->time, sizeof *data->time, room)) ||
        (tarn_trace_has_tag(trace) && !grow(&data->tag, sizeof *data->tag, room)) ||
        (tarn_trace_has_cost(trace) && !grow(&data->cost, sizeof *data->cost, room)))
        return false;
    loader->room = room;
    return true;
}

static bool add(struct loader *loader, const struct tarn_request *request, bool unit_size)
{
    struct tarn_trace_data *data = loader->data;
    uint32_t index = (uint32_t)data->count, object;
    bool fresh;
    if (!tarn_numbering_get(&loader->numbering, request->key, &object, &fresh))
        return false;
    uint64_t size = unit_size ? 1 : request->size;
    if (fresh) {
        if (object >= loader->object_room) {
            size_t room = loader->object_room ? loader->object_room * 2 : 16 << 10;
            if (!grow(&loader->objects, sizeof *loader->objects, room))
                return false;
            loader->object_room = room;
        }
        loader->objects[object].size = size;
    } else {
        data->next[loader->objects[object].last] = index;
    }
    loader->objects[object].last = index;
    /* What a delete says about the size is mostly nothing: it counts only if nobody else says it.
     */
    if (request->op != TARN_TRACE_DELETE) {
        loader->objects[object].size = size;
    }
    data->object[index] = object;
    data->size[index] = size;
    data->next[index] = UINT32_MAX;
    data->op[index] = (uint8_t)request->op;
    if (data->time != NULL)
        data->time[index] = request->time;
    if (data->tag != NULL)
        data->tag[index] = request->tag;
    if (data->cost != NULL)
        data->cost[index] = request->cost_us;
    data->count++;
    return true;
}

/* Big traces miss the cache at every table: the misses of several requests overlap this way. */
static void look_ahead(const struct loader *loader, const struct tarn_request *batch, size_t i,
                       size_t count)
{
    enum { SLOT = 24, KEY = 16, LAST = 8 };
    if (i + SLOT < count)
        tarn_numbering_prefetch_slot(&loader->numbering, batch[i + SLOT].key);
    if (i + KEY < count) {
        uint32_t number = tarn_numbering_prefetch_key(&loader->numbering, batch[i + KEY].key);
        if (number != UINT32_MAX)
            __builtin_prefetch(&loader->objects[number], 1);
    }
    if (i + LAST < count) {
        uint32_t number = tarn_numbering_prefetch_key(&loader->numbering, batch[i + LAST].key);
        if (number != UINT32_MAX)
            __builtin_prefetch(&loader->data->next[loader->objects[number].last], 1);
    }
}

static tarn_status read_all(struct loader *loader, tarn_trace *trace, const char *path,
                            const struct tarn_trace_load_params *params, struct tarn_error *error)
{
    struct tarn_trace_data *data = loader->data;
    static const uint64_t most = UINT32_MAX - 1;
    uint64_t limit = params != NULL && params->limit != 0 ? params->limit : most + 1;
    bool unit_size = params != NULL && params->unit_size != 0;
    struct tarn_request batch[BATCH];
    uint64_t shown_ns = 0;
    while (data->count < limit) {
        size_t count;
        uint64_t wanted = limit - data->count;
        tarn_status status =
            tarn_trace_read(trace, batch, wanted < BATCH ? (size_t)wanted : BATCH, &count, error);
        if (status == TARN_END)
            break;
        if (status != TARN_OK)
            return status;
        if (data->count + count > most)
            return tarn_fail(error, TARN_TOO_LARGE, "%s: more than %llu requests", path,
                             (unsigned long long)most);
        bool ok = make_room(loader, trace, count);
        for (size_t i = 0; ok && i < count; i++) {
            look_ahead(loader, batch, i, count);
            ok = add(loader, &batch[i], unit_size);
        }
        if (!ok)
            return tarn_fail(error, TARN_NO_MEMORY, "%s: request %zu: out of memory", path,
                             data->count);
        if (params != NULL && params->progress != NULL) {
            uint64_t now = tarn_clock_ns();
            if (now - shown_ns > 100000000u) {
                shown_ns = now;
                double share = tarn_trace_progress(trace);
                if (params->limit != 0 && (double)data->count / (double)limit > share)
                    share = (double)data->count / (double)limit;
                params->progress(params->user, share);
            }
        }
    }
    if (data->count == 0)
        return tarn_fail(error, TARN_CORRUPT, "%s: the trace is empty", path);
    return TARN_OK;
}

/* A column in which nothing stands isn't there. */
static void drop_empty(struct tarn_trace_data *data)
{
    bool tags = false, costs = false;
    for (size_t i = 0; i < data->count; i++) {
        tags |= data->tag != NULL && data->tag[i] != 0;
        costs |= data->cost != NULL && data->cost[i] > 0;
    }
    if (!tags) {
        tarn_free(data->tag);
        data->tag = NULL;
    }
    if (!costs) {
        tarn_free(data->cost);
        data->cost = NULL;
    }
}

/* Sums up what is known once every request is there, and gives back spare memory. */
static tarn_status finish(struct loader *loader, const char *path, struct tarn_error *error)
{
    struct tarn_trace_data *data = loader->data;
    data->objects = loader->numbering.count;
    data->key = loader->numbering.keys;
    loader->numbering.keys = NULL;
    data->unit_sizes = 1;
    bool all_gets = true;
    for (size_t i = 0; i < data->count; i++) {
        data->unit_sizes &= data->size[i] == 1;
        all_gets &= data->op[i] == TARN_TRACE_GET;
    }
    if (all_gets) {
        tarn_free(data->op);
        data->op = NULL;
    }
    drop_empty(data);
    for (uint32_t i = 0; i < data->objects; i++)
        if (__builtin_add_overflow(data->footprint, loader->objects[i].size, &data->footprint))
            return tarn_fail(error, TARN_TOO_LARGE, "%s: the objects' sizes exceed 64 bits", path);
    /* Shrinking may fail, which is no harm. */
    grow(&data->object, sizeof *data->object, data->count);
    grow(&data->size, sizeof *data->size, data->count);
    grow(&data->next, sizeof *data->next, data->count);
    if (data->op != NULL)
        grow(&data->op, sizeof *data->op, data->count);
    if (data->time != NULL)
        grow(&data->time, sizeof *data->time, data->count);
    if (data->tag != NULL)
        grow(&data->tag, sizeof *data->tag, data->count);
    if (data->cost != NULL)
        grow(&data->cost, sizeof *data->cost, data->count);
    return TARN_OK;
}

/* "a/b.c.oracleGeneral.zst" is "b.c". */
static char *base_name(const char *path)
{
    if (strcmp(path, "-") == 0)
        return tarn_text_copy("stdin", 5, "");
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    return tarn_text_copy(name, tarn_trace_stem_length(name), "");
}

tarn_status tarn_trace_load(const char *path, const struct tarn_trace_load_params *params,
                            struct tarn_trace_data **data, struct tarn_error *error)
{
    struct loader loader = {0};
    tarn_trace *trace = NULL;
    *data = NULL;
    tarn_status status =
        tarn_trace_open(path, params != NULL ? &params->trace : NULL, &trace, error);
    if (status != TARN_OK)
        return status;
    loader.data = tarn_alloc_zeroed(1, sizeof *loader.data);
    if (loader.data != NULL)
        loader.data->name = base_name(path);
    if (loader.data == NULL || loader.data->name == NULL) {
        status = tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path);
        goto done;
    }
    loader.data->format = tarn_trace_get_format(trace);
    status = read_all(&loader, trace, path, params, error);
    if (status == TARN_OK)
        status = finish(&loader, path, error);
    if (status == TARN_OK) {
        *data = loader.data;
        loader.data = NULL;
    }
done:
    tarn_trace_data_free(&loader.data);
    tarn_numbering_free(&loader.numbering);
    tarn_free(loader.objects);
    tarn_trace_close(&trace);
    return status;
}

void tarn_trace_data_free(struct tarn_trace_data **data)
{
    struct tarn_trace_data *d = *data;
    if (d == NULL)
        return;
    tarn_free(d->name);
    tarn_free(d->object);
    tarn_free(d->size);
    tarn_free(d->next);
    tarn_free(d->op);
    tarn_free(d->time);
    tarn_free(d->tag);
    tarn_free(d->cost);
    tarn_free(d->key);
    tarn_free(d);
    *data = NULL;
}
