/* SPDX-License-Identifier: Apache-2.0 */
/* The file of a history: docs/history-format.md. */
#include "history.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

#define MAGIC      "TARNHIS\x1a"
#define VERSION    1
#define FIXED_SIZE 56 /* before the figures */
#define HASH_SIZE  8
#define LEAST_SIZE (FIXED_SIZE + HASH_SIZE)
#define FAILED     1u /* flags */

_Static_assert(LEAST_SIZE + TARN_HISTORY_METRICS * 8 + TARN_HISTORY_TEXT <= TARN_HISTORY_RECORD_MAX,
               "the largest record");
_Static_assert(TARN_HISTORY_HEADER + (TARN_HISTORY_LIMIT_MAX + 1) * TARN_HISTORY_RECORD_MAX <=
                   TARN_HISTORY_FILE_MAX,
               "the largest file");

#define TEXT(name, number, text)                                                                   \
    case (number):                                                                                 \
        return text;

const char *tarn_event_text(uint8_t event)
{
    switch (event) {
        TARN_EVENT_LIST(TEXT)
    }
    return "?";
}

const char *tarn_reason_text(uint8_t reason)
{
    switch (reason) {
        TARN_REASON_LIST(TEXT)
    }
    return "?";
}

const char *tarn_metric_text(uint16_t metric)
{
    switch (metric) {
        TARN_METRIC_LIST(TEXT)
    }
    return "?";
}

void tarn_history_write_header(uint8_t *to)
{
    memcpy(to, MAGIC, 8);
    tarn_put_u32(to + 8, VERSION);
    tarn_put_u32(to + 12, 0);
}

size_t tarn_history_encode(const struct tarn_history_record *event, uint8_t *to)
{
    size_t text = strnlen(event->text, TARN_HISTORY_TEXT - 1);
    size_t size = LEAST_SIZE + 8u * event->metrics + text;
    tarn_put_u16(to, (uint16_t)size);
    to[2] = event->kind;
    to[3] = event->reason;
    to[4] = event->failed ? FAILED : 0;
    to[5] = event->metrics;
    tarn_put_u16(to + 6, (uint16_t)text);
    tarn_put_u64(to + 8, event->sequence);
    tarn_put_u64(to + 16, event->version);
    tarn_put_u64(to + 24, event->parent);
    tarn_put_u64(to + 32, event->hash);
    tarn_put_u64(to + 40, event->requests);
    tarn_put_u64(to + 48, (uint64_t)event->unix_ms);
    uint8_t *at = to + FIXED_SIZE;
    for (uint32_t i = 0; i < event->metrics; i++, at += 8) {
        tarn_put_u32(at, event->metric[i].kind);
        tarn_put_f32(at + 4, event->metric[i].value);
    }
    memcpy(at, event->text, text);
    tarn_put_u64(at + text, tarn_hash(to, size - HASH_SIZE));
    return size;
}

tarn_status tarn_history_reader_init(struct tarn_history_reader *reader, const uint8_t *data,
                                     size_t size, const char *where, struct tarn_error *error)
{
    *reader = (struct tarn_history_reader){.data = data, .size = size, .at = TARN_HISTORY_HEADER};
    if (memcmp(data, MAGIC, size < 8 ? size : 8) != 0)
        return tarn_fail(error, TARN_CORRUPT, "%s: not a history of models", where);
    if (size < TARN_HISTORY_HEADER) {
        reader->damaged = reader->at = size;
        return TARN_OK;
    }
    if (tarn_get_u32(data + 8) != VERSION)
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "%s: history format %" PRIu32 ", this build reads %d", where,
                         tarn_get_u32(data + 8), VERSION);
    return TARN_OK;
}

/* A record of `size` bytes whose checksum holds. False if its parts don't add up all the same. */
static bool decode(const uint8_t *from, size_t size, struct tarn_history_record *event)
{
    size_t metrics = from[5], text = tarn_get_u16(from + 6);
    if (metrics > TARN_HISTORY_METRICS || text >= TARN_HISTORY_TEXT ||
        LEAST_SIZE + 8 * metrics + text != size)
        return false;
    *event = (struct tarn_history_record){
        .kind = from[2],
        .reason = from[3],
        .failed = (from[4] & FAILED) != 0,
        .metrics = (uint8_t)metrics,
        .sequence = tarn_get_u64(from + 8),
        .version = tarn_get_u64(from + 16),
        .parent = tarn_get_u64(from + 24),
        .hash = tarn_get_u64(from + 32),
        .requests = tarn_get_u64(from + 40),
        .unix_ms = (int64_t)tarn_get_u64(from + 48),
    };
    const uint8_t *at = from + FIXED_SIZE;
    for (size_t i = 0; i < metrics; i++, at += 8) {
        event->metric[i].kind = (uint16_t)tarn_get_u32(at);
        event->metric[i].value = tarn_get_f32(at + 4);
        if (!isfinite(event->metric[i].value))
            return false;
    }
    memcpy(event->text, at, text);
    return memchr(event->text, '\0', text) == NULL;
}

bool tarn_history_next(struct tarn_history_reader *reader, struct tarn_history_record *event)
{
    while (reader->size - reader->at >= LEAST_SIZE) {
        const uint8_t *from = reader->data + reader->at;
        size_t size = tarn_get_u16(from);
        if (size < LEAST_SIZE || size > TARN_HISTORY_RECORD_MAX || size > reader->size - reader->at)
            break;
        reader->at += size;
        if (tarn_get_u64(from + size - HASH_SIZE) == tarn_hash(from, size - HASH_SIZE) &&
            decode(from, size, event))
            return true;
        reader->damaged += size; /* the next one may be whole */
    }
    reader->damaged += reader->size - reader->at;
    reader->at = reader->size;
    return false;
}
