/* SPDX-License-Identifier: Apache-2.0 */
/* Writers of every format that is read. */
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "numbering.h"
#include "pack.h"
#include "sink.h"
#include "trace.h"

enum { ORACLE_RECORD = 24 };

struct tarn_trace_writer {
    struct tarn_sink sink;
    char *name;
    tarn_trace_format format;
    bool has_time, has_tag, has_cost;
    uint64_t count;

    struct tarn_request *block; /* tarn: of the block that fills */
    size_t block_count, block_room;
    uint8_t *packed;

    /* oracle: every record stays here, since its next access is known later */
    uint8_t *records;
    size_t record_room;
    struct tarn_numbering numbering;
    uint64_t *last; /* [object] index of its latest request */
    size_t last_room;
};

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *to++ = (uint8_t)(value | 0x80);
    *to++ = (uint8_t)value;
    return to;
}

static uint8_t *put_delta(uint8_t *to, uint64_t value, uint64_t before)
{
    uint64_t d = value - before;
    return put_varint(to, (d << 1) ^ (0 - (d >> 63)));
}

static tarn_status seal_block(struct tarn_trace_writer *writer, size_t count, unsigned flags,
                              const uint8_t *end, struct tarn_error *error)
{
    uint8_t *block = writer->packed;
    size_t size = (size_t)(end - block);
    tarn_put_u32(block + 8, (uint32_t)(size - TARN_PACK_BLOCK_HEADER));
    tarn_put_u16(block + 12, (uint16_t)count);
    tarn_put_u16(block + 14, (uint16_t)flags);
    tarn_put_u64(block, tarn_hash(block + TARN_PACK_HASHED_FROM, size - TARN_PACK_HASHED_FROM));
    return tarn_sink_write(&writer->sink, block, size, error);
}

static tarn_status write_block(struct tarn_trace_writer *writer, struct tarn_error *error)
{
    const struct tarn_request *requests = writer->block;
    size_t count = writer->block_count;
    uint8_t *to = writer->packed + TARN_PACK_BLOCK_HEADER;
    unsigned flags = 0;
    uint64_t before = 0;
    for (size_t i = 0; i < count; i++) {
        to = put_delta(to, requests[i].key, before);
        before = requests[i].key;
        flags |= requests[i].size != 1 ? TARN_PACK_HAS_SIZES : 0;
        flags |= requests[i].op != TARN_TRACE_GET ? TARN_PACK_HAS_OPS : 0;
        flags |= writer->has_tag && requests[i].tag != 0 ? TARN_PACK_HAS_TAGS : 0;
        flags |= writer->has_cost && requests[i].cost_us > 0 ? TARN_PACK_HAS_COSTS : 0;
    }
    before = 0;
    for (size_t i = 0; writer->has_time && i < count; i++) {
        to = put_delta(to, requests[i].time, before);
        before = requests[i].time;
    }
    for (size_t i = 0; (flags & TARN_PACK_HAS_SIZES) != 0 && i < count; i++)
        to = put_varint(to, requests[i].size);
    for (size_t i = 0; (flags & TARN_PACK_HAS_OPS) != 0 && i < count; i++)
        *to++ = (uint8_t)requests[i].op;
    for (size_t i = 0; (flags & TARN_PACK_HAS_TAGS) != 0 && i < count; i++)
        *to++ = requests[i].tag;
    for (size_t i = 0; (flags & TARN_PACK_HAS_COSTS) != 0 && i < count; i++, to += 4)
        tarn_put_f32(to, requests[i].cost_us);
    writer->block_count = 0;
    return seal_block(writer, count, flags, to, error);
}

static tarn_status start_tarn(struct tarn_trace_writer *writer, struct tarn_error *error)
{
    uint8_t header[TARN_PACK_HEADER];
    bool extra = writer->has_tag || writer->has_cost;
    /* Three varints and a byte a request fit the payload's limit: checked here, at compile time. With
     * five bytes more, half as many requests do. */
    _Static_assert(TARN_PACK_REQUESTS * (3 * TARN_PACK_VARINT + 1) <= TARN_PACK_PAYLOAD, "payload");
    _Static_assert(TARN_PACK_REQUESTS / 2 * (3 * TARN_PACK_VARINT + 6) <= TARN_PACK_PAYLOAD,
                   "both");
    writer->block_room = extra ? TARN_PACK_REQUESTS / 2 : TARN_PACK_REQUESTS;
    writer->block = tarn_alloc(TARN_PACK_REQUESTS * sizeof *writer->block);
    writer->packed = tarn_alloc(TARN_PACK_BLOCK_HEADER + TARN_PACK_PAYLOAD);
    if (writer->block == NULL || writer->packed == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", writer->name);
    memcpy(header, TARN_PACK_MAGIC, 8);
    /* Without either it is what every release reads. */
    tarn_put_u16(header + 8, extra ? TARN_PACK_VERSION_EXTRA : TARN_PACK_VERSION);
    tarn_put_u16(header + 10, (uint16_t)((writer->has_time ? TARN_PACK_HAS_TIMES : 0) |
                                         (writer->has_tag ? TARN_PACK_MAY_HAVE_TAGS : 0) |
                                         (writer->has_cost ? TARN_PACK_MAY_HAVE_COSTS : 0)));
    tarn_put_u32(header + 12, (uint32_t)tarn_hash(header, 12));
    return tarn_sink_write(&writer->sink, header, sizeof header, error);
}

static tarn_status start_csv(struct tarn_trace_writer *writer, struct tarn_error *error)
{
    char line[64];
    int n = snprintf(line, sizeof line, "%skey,size,op%s%s\n", writer->has_time ? "time," : "",
                     writer->has_tag ? ",tag" : "", writer->has_cost ? ",cost" : "");
    return tarn_sink_write(&writer->sink, line, (size_t)n, error);
}

tarn_status tarn_trace_writer_create(const char *path,
                                     const struct tarn_trace_writer_params *params,
                                     tarn_trace_writer **writer, struct tarn_error *error)
{
    *writer = NULL;
    struct tarn_trace_writer *made = tarn_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path);
    tarn_status status = tarn_sink_open(&made->sink, path, error);
    if (status != TARN_OK) {
        tarn_free(made);
        return status;
    }
    made->name = made->sink.path;
    made->has_time = params->has_time;
    made->has_tag = params->has_tag;
    made->has_cost = params->has_cost;
    made->format = params->format;
    if (made->format == TARN_TRACE_AUTO)
        made->format = tarn_trace_format_of_path(path);
    if (made->format == TARN_TRACE_AUTO)
        made->format = TARN_TRACE_TARN;
    if (made->format == TARN_TRACE_TARN)
        status = start_tarn(made, error);
    else if (made->format == TARN_TRACE_CSV)
        status = start_csv(made, error);
    if (status != TARN_OK)
        tarn_trace_writer_abandon(&made);
    *writer = made;
    return status;
}

static tarn_status add_tarn(struct tarn_trace_writer *writer, const struct tarn_request *request,
                            struct tarn_error *error)
{
    writer->block[writer->block_count++] = *request;
    return writer->block_count == writer->block_room ? write_block(writer, error) : TARN_OK;
}

static tarn_status add_text(struct tarn_trace_writer *writer, const struct tarn_request *request,
                            struct tarn_error *error)
{
    static const char *const ops[] = {"get", "put", "delete"};
    char line[128];
    int n = 0;
    if (writer->format == TARN_TRACE_KEYS) {
        n = snprintf(line, sizeof line, "%llu\n", (unsigned long long)request->key);
    } else {
        if (writer->has_time)
            n = snprintf(line, sizeof line, "%llu,", (unsigned long long)request->time);
        n += snprintf(line + n, sizeof line - (size_t)n, "%llu,%llu,%s",
                      (unsigned long long)request->key, (unsigned long long)request->size,
                      ops[request->op]);
        if (writer->has_tag)
            n += snprintf(line + n, sizeof line - (size_t)n, ",%u", request->tag);
        if (writer->has_cost)
            n += snprintf(line + n, sizeof line - (size_t)n, ",%.9g", (double)request->cost_us);
        line[n++] = '\n';
    }
    return tarn_sink_write(&writer->sink, line, (size_t)n, error);
}

static tarn_status add_oracle(struct tarn_trace_writer *writer, const struct tarn_request *request,
                              struct tarn_error *error)
{
    uint32_t object;
    bool fresh;
    if (request->op != TARN_TRACE_GET)
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "%s: request %llu: the oracle format knows gets only", writer->name,
                         (unsigned long long)writer->count);
    if ((writer->has_tag && request->tag != 0) || (writer->has_cost && request->cost_us > 0))
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "%s: request %llu: the oracle format has no tags and costs", writer->name,
                         (unsigned long long)writer->count);
    if (request->size > UINT32_MAX || request->time > UINT32_MAX)
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "%s: request %llu: the oracle format holds sizes and times below 2^32",
                         writer->name, (unsigned long long)writer->count);
    if (!tarn_numbering_get(&writer->numbering, request->key, &object, &fresh))
        goto no_memory;
    if (writer->count == writer->record_room) {
        size_t room = writer->record_room ? writer->record_room * 2 : 16 << 10;
        uint8_t *records = tarn_realloc(writer->records, room * ORACLE_RECORD);
        if (records == NULL)
            goto no_memory;
        writer->records = records;
        writer->record_room = room;
    }
    if (fresh && object >= writer->last_room) {
        size_t room = writer->last_room ? writer->last_room * 2 : 16 << 10;
        uint64_t *last = tarn_realloc(writer->last, room * sizeof *last);
        if (last == NULL)
            goto no_memory;
        writer->last = last;
        writer->last_room = room;
    }
    if (!fresh)
        tarn_put_u64(writer->records + writer->last[object] * ORACLE_RECORD + 16,
                     writer->count + 1);
    writer->last[object] = writer->count;
    uint8_t *record = writer->records + writer->count * ORACLE_RECORD;
    tarn_put_u32(record, (uint32_t)request->time);
    tarn_put_u64(record + 4, request->key);
    tarn_put_u32(record + 12, (uint32_t)request->size);
    tarn_put_u64(record + 16, UINT64_MAX); /* -1: never again, so far */
    return TARN_OK;
no_memory:
    return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", writer->name);
}

tarn_status tarn_trace_writer_add(tarn_trace_writer *writer, const struct tarn_request *requests,
                                  size_t count, struct tarn_error *error)
{
    for (size_t i = 0; i < count; i++) {
        tarn_status status =
            writer->format == TARN_TRACE_TARN     ? add_tarn(writer, &requests[i], error)
            : writer->format == TARN_TRACE_ORACLE ? add_oracle(writer, &requests[i], error)
                                                  : add_text(writer, &requests[i], error);
        if (status != TARN_OK)
            return status;
        writer->count++;
    }
    return TARN_OK;
}

tarn_trace_format tarn_trace_writer_get_format(const tarn_trace_writer *writer)
{
    return writer->format;
}

static tarn_status write_rest(tarn_trace_writer *writer, struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    if (writer->format == TARN_TRACE_ORACLE && writer->count > 0)
        return tarn_sink_write(&writer->sink, writer->records, writer->count * ORACLE_RECORD,
                               error);
    if (writer->format != TARN_TRACE_TARN)
        return TARN_OK;
    if (writer->block_count > 0)
        status = write_block(writer, error);
    if (status == TARN_OK) {
        tarn_put_u64(writer->packed + TARN_PACK_BLOCK_HEADER, writer->count);
        status = seal_block(writer, 0, 0, writer->packed + TARN_PACK_BLOCK_HEADER + 8, error);
    }
    return status;
}

tarn_status tarn_trace_writer_finish(tarn_trace_writer **writer, struct tarn_error *error)
{
    tarn_status status = write_rest(*writer, error);
    if (status == TARN_OK)
        status = tarn_sink_finish(&(*writer)->sink, error);
    tarn_trace_writer_abandon(writer);
    return status;
}

void tarn_trace_writer_abandon(tarn_trace_writer **writer)
{
    struct tarn_trace_writer *w = *writer;
    if (w == NULL)
        return;
    tarn_sink_close(&w->sink);
    tarn_numbering_free(&w->numbering);
    tarn_free(w->block);
    tarn_free(w->packed);
    tarn_free(w->records);
    tarn_free(w->last);
    tarn_free(w);
    *writer = NULL;
}
