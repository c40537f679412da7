/* SPDX-License-Identifier: Apache-2.0 */
#include "history.h"

#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"

#define LIMIT_DEFAULT 128

struct tarn_history {
    char *path; /* NULL: in memory only */
    uint32_t limit;
    size_t damaged;

    pthread_mutex_t lock; /* of what follows; never held while the disk works */
    struct tarn_history_record *events;
    uint32_t count;
    uint64_t sequence, version, requests; /* the highest of each, of dropped records too */
    uint64_t written;                     /* the last sequence that is in the file */
    bool rewrite;                         /* the file holds what isn't wanted any more */

    pthread_mutex_t disk; /* one flush at a time */
    size_t file_size;     /* as far as it is known to be whole */
};

static void remember(tarn_history *h, const struct tarn_history_record *event)
{
    h->sequence = event->sequence > h->sequence ? event->sequence : h->sequence;
    h->version = event->version > h->version ? event->version : h->version;
    h->requests = event->requests > h->requests ? event->requests : h->requests;
}

static bool is_step(const struct tarn_history_record *event)
{
    return event->kind == TARN_EVENT_SWAP && event->reason == TARN_REASON_TRAINED && !event->failed;
}

/*
 * A quarter leaves: steps of training, of which there are always more, then what is oldest. What is as
 * new as a quarter stays in any case.
 */
static void make_room(tarn_history *h)
{
    uint32_t leaving = (h->limit + 3) / 4, steps = 0, kept = 0;
    uint32_t old = h->count - leaving > leaving ? h->count - leaving : leaving;
    for (uint32_t i = 0; i < old; i++)
        steps += is_step(&h->events[i]);
    steps = steps < leaving ? steps : leaving;
    uint32_t others = leaving - steps;
    for (uint32_t i = 0; i < h->count; i++) {
        uint32_t *left = i >= old ? NULL : is_step(&h->events[i]) ? &steps : &others;
        if (left != NULL && *left > 0)
            --*left;
        else
            h->events[kept++] = h->events[i];
    }
    h->count = kept;
    h->rewrite = true;
}

static void keep(tarn_history *h, const struct tarn_history_record *event)
{
    remember(h, event);
    if (event->kind == TARN_EVENT_MARK)
        return;
    if (h->count == h->limit)
        make_room(h);
    h->events[h->count++] = *event;
}

static tarn_status load(tarn_history *h, struct tarn_error *error)
{
    void *data;
    size_t size;
    struct tarn_history_reader reader;
    struct tarn_history_record event;
    tarn_status status = tarn_file_read(h->path, TARN_HISTORY_FILE_MAX, &data, &size, error);
    if (status == TARN_NOT_FOUND) {
        h->rewrite = true; /* the first flush makes it */
        return TARN_OK;
    }
    if (status != TARN_OK)
        return status;
    status = tarn_history_reader_init(&reader, data, size, h->path, error);
    while (status == TARN_OK && tarn_history_next(&reader, &event))
        keep(h, &event);
    h->damaged = reader.damaged;
    h->rewrite = h->rewrite || reader.damaged > 0 || size < TARN_HISTORY_HEADER;
    h->written = h->sequence;
    h->file_size = size;
    free(data);
    return status;
}

tarn_status tarn_history_open(const struct tarn_history_params *params, tarn_history **history,
                              struct tarn_error *error)
{
    *history = NULL;
    uint32_t limit = params->limit != 0 ? params->limit : LIMIT_DEFAULT;
    if (limit > TARN_HISTORY_LIMIT_MAX)
        return tarn_fail(error, TARN_INVALID, "history: %u records, %d at most", (unsigned)limit,
                         TARN_HISTORY_LIMIT_MAX);
    tarn_history *h = tarn_alloc_zeroed(1, sizeof *h);
    if (h == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "history: out of memory");
    tarn_status status = TARN_OK;
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->disk, NULL);
    h->limit = limit;
    h->events = tarn_alloc_zeroed(limit, sizeof *h->events);
    if (params->path != NULL) {
        size_t length = strlen(params->path) + 1;
        if ((h->path = tarn_alloc(length)) != NULL)
            memcpy(h->path, params->path, length);
    }
    if (h->events == NULL || (params->path != NULL && h->path == NULL))
        status = tarn_fail(error, TARN_NO_MEMORY, "history: out of memory");
    else if (h->path != NULL)
        status = load(h, error);
    if (status != TARN_OK)
        tarn_history_close(&h);
    *history = h;
    return status;
}

void tarn_history_close(tarn_history **history)
{
    tarn_history *h = *history;
    *history = NULL;
    if (h == NULL)
        return;
    pthread_mutex_destroy(&h->disk);
    pthread_mutex_destroy(&h->lock);
    tarn_free(h->events);
    tarn_free(h->path);
    tarn_free(h);
}

/* Whole characters of UTF-8, in one line. */
static void copy_text(char *to, const char *from)
{
    size_t size = strnlen(from, TARN_HISTORY_TEXT);
    if (size == TARN_HISTORY_TEXT)
        for (size = TARN_HISTORY_TEXT - 1; size > 0 && ((unsigned char)from[size] & 0xc0) == 0x80;)
            size--;
    for (size_t i = 0; i < size; i++)
        to[i] = (unsigned char)from[i] < ' ' ? ' ' : from[i];
    to[size] = '\0';
}

void tarn_history_add(tarn_history *h, tarn_event_kind kind, uint64_t version, uint64_t parent,
                      uint64_t hash, const struct tarn_change *change)
{
    struct tarn_history_record event = {
        .kind = (uint8_t)kind,
        .reason = (uint8_t)change->reason,
        .failed = change->failed,
        .version = version,
        .parent = parent,
        .hash = hash,
        .requests = change->requests,
        .unix_ms = change->unix_ms,
    };
    for (uint32_t i = 0; i < change->metrics && i < TARN_HISTORY_METRICS; i++)
        if (isfinite(change->metric[i].value))
            event.metric[event.metrics++] = change->metric[i];
    if (change->text != NULL)
        copy_text(event.text, change->text);
    pthread_mutex_lock(&h->lock);
    event.sequence = h->sequence + 1;
    keep(h, &event);
    pthread_mutex_unlock(&h->lock);
}

/* Under the lock: what a flush has to write, into a block of its own. */
static uint8_t *compose(tarn_history *h, bool *whole, size_t *size)
{
    *whole =
        h->rewrite || h->file_size + (size_t)(h->sequence - h->written) * TARN_HISTORY_RECORD_MAX >
                          TARN_HISTORY_FILE_MAX;
    uint8_t *data =
        tarn_alloc(TARN_HISTORY_HEADER + ((size_t)h->count + 1) * TARN_HISTORY_RECORD_MAX);
    if (data == NULL)
        return NULL;
    *size = 0;
    if (*whole) {
        struct tarn_history_record mark = {.kind = TARN_EVENT_MARK,
                                           .version = h->version,
                                           .requests = h->requests,
                                           .sequence = h->count > 0 ? h->events[0].sequence - 1
                                                                    : h->sequence};
        tarn_history_write_header(data);
        *size = TARN_HISTORY_HEADER;
        *size += tarn_history_encode(&mark, data + *size);
    }
    for (uint32_t i = 0; i < h->count; i++)
        if (*whole || h->events[i].sequence > h->written)
            *size += tarn_history_encode(&h->events[i], data + *size);
    return data;
}

tarn_status tarn_history_flush(tarn_history *h, struct tarn_error *error)
{
    if (h->path == NULL)
        return TARN_OK;
    tarn_status status = TARN_OK;
    bool whole = false;
    size_t size = 0;
    pthread_mutex_lock(&h->disk);
    pthread_mutex_lock(&h->lock);
    uint64_t upto = h->sequence;
    bool idle = upto == h->written;
    uint8_t *data = idle ? NULL : compose(h, &whole, &size);
    pthread_mutex_unlock(&h->lock);
    if (!idle && data == NULL) {
        status = tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", h->path);
    } else if (!idle) {
        status = whole ? tarn_file_replace(h->path, data, size, error)
                       : tarn_file_append(h->path, h->file_size, data, size, error);
        pthread_mutex_lock(&h->lock);
        if (status == TARN_OK) {
            h->file_size = whole ? size : h->file_size + size;
            h->written = upto;
            /* what was dropped meanwhile is still in the file */
            h->rewrite = h->rewrite && !whole;
        } else {
            h->rewrite = true; /* whatever is there now: a rename makes it whole */
        }
        pthread_mutex_unlock(&h->lock);
    }
    pthread_mutex_unlock(&h->disk);
    tarn_free(data);
    return status;
}

size_t tarn_history_read(tarn_history *h, struct tarn_history_record *events, size_t room)
{
    pthread_mutex_lock(&h->lock);
    size_t count = h->count < room ? h->count : room;
    memcpy(events, h->events + (h->count - count), count * sizeof *events);
    pthread_mutex_unlock(&h->lock);
    return count;
}

size_t tarn_history_count(tarn_history *h)
{
    pthread_mutex_lock(&h->lock);
    size_t count = h->count;
    pthread_mutex_unlock(&h->lock);
    return count;
}

uint64_t tarn_history_version(tarn_history *h)
{
    pthread_mutex_lock(&h->lock);
    uint64_t version = h->version;
    pthread_mutex_unlock(&h->lock);
    return version;
}

uint64_t tarn_history_requests(tarn_history *h)
{
    pthread_mutex_lock(&h->lock);
    uint64_t requests = h->requests;
    pthread_mutex_unlock(&h->lock);
    return requests;
}

size_t tarn_history_damaged(const tarn_history *h)
{
    return h->damaged;
}

tarn_status tarn_history_keep_model(tarn_history *h, const struct tarn_bundle *bundle,
                                    struct tarn_error *error)
{
    char path[PATH_MAX];
    if (h->path == NULL)
        return TARN_OK;
    int length = snprintf(path, sizeof path, "%s.failed-%" PRIu64 ".model", h->path,
                          bundle->version % TARN_HISTORY_MODELS);
    if (length < 0 || (size_t)length >= sizeof path)
        return tarn_fail(error, TARN_INVALID, "%s: the path is too long", h->path);
    return tarn_model_save(bundle->model, path, error);
}
