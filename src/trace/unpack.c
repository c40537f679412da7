/* SPDX-License-Identifier: Apache-2.0 */
/* Reads docs/trace-format.md. Nothing in a file is trusted before its block's checksum is right. */
#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "pack.h"
#include "reader.h"

bool tarn_trace_looks_tarn(const uint8_t *bytes, size_t size)
{
    return size >= 8 && memcmp(bytes, TARN_PACK_MAGIC, 8) == 0;
}

static tarn_status bad(const struct tarn_trace *trace, uint64_t offset, const char *why,
                       struct tarn_error *error)
{
    return tarn_fail(error, TARN_CORRUPT, "%s: byte %llu: %s", trace->input.name,
                     (unsigned long long)offset, why);
}

static bool get_varint(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    const uint8_t *p = *at;
    uint64_t result = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return false;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *at = p;
            *value = result;
            return true;
        }
    }
    return false;
}

/* The difference to the value before, added to it. */
static bool get_delta(const uint8_t **at, const uint8_t *end, uint64_t *value)
{
    uint64_t zigzag;
    if (!get_varint(at, end, &zigzag))
        return false;
    *value += (zigzag >> 1) ^ (0 - (zigzag & 1));
    return true;
}

static bool unpack(struct tarn_trace *trace, const uint8_t *at, const uint8_t *end, size_t count,
                   unsigned flags)
{
    struct tarn_request *requests = trace->block;
    uint64_t key = 0, time = 0;
    for (size_t i = 0; i < count; i++) {
        if (!get_delta(&at, end, &key))
            return false;
        requests[i] = (struct tarn_request){.key = key, .size = 1};
    }
    for (size_t i = 0; trace->has_time && i < count; i++) {
        if (!get_delta(&at, end, &time))
            return false;
        requests[i].time = time;
    }
    for (size_t i = 0; (flags & TARN_PACK_HAS_SIZES) != 0 && i < count; i++)
        if (!get_varint(&at, end, &requests[i].size) || requests[i].size == 0 ||
            requests[i].size >= TARN_TRACE_SIZE_LIMIT)
            return false;
    if ((flags & TARN_PACK_HAS_OPS) != 0) {
        if ((size_t)(end - at) < count)
            return false;
        for (size_t i = 0; i < count; i++) {
            if (*at > TARN_TRACE_DELETE)
                return false;
            requests[i].op = (tarn_trace_op)*at++;
        }
    }
    if ((flags & TARN_PACK_HAS_TAGS) != 0) {
        if ((size_t)(end - at) < count)
            return false;
        for (size_t i = 0; i < count; i++) {
            if (*at > TARN_TRACE_TAGS)
                return false;
            requests[i].tag = *at++;
        }
    }
    if ((flags & TARN_PACK_HAS_COSTS) != 0) {
        if ((size_t)(end - at) < count * 4)
            return false;
        for (size_t i = 0; i < count; i++, at += 4) {
            requests[i].cost_us = tarn_get_f32(at);
            if (!isfinite(requests[i].cost_us) || requests[i].cost_us < 0)
                return false;
        }
    }
    return at == end;
}

/* Behind the end block there must be nothing. */
static tarn_status check_end(struct tarn_trace *trace, uint64_t total, struct tarn_error *error)
{
    struct tarn_input *input = &trace->input;
    tarn_status status = tarn_input_fill(input, 1, error);
    if (status != TARN_OK)
        return status;
    if (tarn_input_left(input) > 0)
        return bad(trace, tarn_input_offset(input), "something follows the end of the trace",
                   error);
    if (total != trace->index)
        return bad(trace, tarn_input_offset(input), "the number of requests is wrong", error);
    trace->ended = true;
    return TARN_END;
}

static tarn_status next_block(struct tarn_trace *trace, struct tarn_error *error)
{
    struct tarn_input *input = &trace->input;
    if (trace->ended)
        return TARN_END;
    uint64_t offset = tarn_input_offset(input);
    tarn_status status = tarn_input_fill(input, TARN_PACK_BLOCK_HEADER, error);
    if (status != TARN_OK)
        return status;
    if (tarn_input_left(input) < TARN_PACK_BLOCK_HEADER)
        return bad(trace, offset, "the trace is cut short", error);
    size_t size = tarn_get_u32(input->at + 8), count = tarn_get_u16(input->at + 12);
    unsigned flags = tarn_get_u16(input->at + 14);
    unsigned known = TARN_PACK_HAS_SIZES | TARN_PACK_HAS_OPS;
    known |= trace->has_tag ? TARN_PACK_HAS_TAGS : 0;
    known |= trace->has_cost ? TARN_PACK_HAS_COSTS : 0;
    if (size > TARN_PACK_PAYLOAD || count > TARN_PACK_REQUESTS || (flags & ~known) != 0)
        return bad(trace, offset, "the block's header is damaged", error);
    status = tarn_input_fill(input, TARN_PACK_BLOCK_HEADER + size, error);
    if (status != TARN_OK)
        return status;
    if (tarn_input_left(input) < TARN_PACK_BLOCK_HEADER + size)
        return bad(trace, offset, "the trace is cut short", error);
    const uint8_t *hashed = input->at + TARN_PACK_HASHED_FROM;
    const uint8_t *payload = input->at + TARN_PACK_BLOCK_HEADER;
    if (tarn_get_u64(input->at) !=
        tarn_hash(hashed, TARN_PACK_BLOCK_HEADER - TARN_PACK_HASHED_FROM + size))
        return bad(trace, offset, "the block's checksum is wrong", error);
    input->at = payload + size;
    if (count == 0) {
        if (size != 8 || flags != 0)
            return bad(trace, offset, "the end block is malformed", error);
        return check_end(trace, tarn_get_u64(payload), error);
    }
    if (!unpack(trace, payload, payload + size, count, flags))
        return bad(trace, offset, "the block's content is malformed", error);
    trace->block_at = 0;
    trace->block_count = count;
    return TARN_OK;
}

static tarn_status read_tarn(struct tarn_trace *trace, struct tarn_request *requests, size_t room,
                             size_t *count, struct tarn_error *error)
{
    if (trace->block_at == trace->block_count) {
        tarn_status status = next_block(trace, error);
        if (status != TARN_OK)
            return status;
    }
    size_t left = trace->block_count - trace->block_at;
    *count = left < room ? left : room;
    memcpy(requests, trace->block + trace->block_at, *count * sizeof *requests);
    trace->block_at += *count;
    return TARN_OK;
}

tarn_status tarn_trace_open_tarn(struct tarn_trace *trace, struct tarn_error *error)
{
    struct tarn_input *input = &trace->input;
    const uint8_t *header = input->at;
    if (!tarn_trace_looks_tarn(header, tarn_input_left(input)))
        return bad(trace, 0, "not a tarn trace (its first bytes are others)", error);
    if (tarn_input_left(input) < TARN_PACK_HEADER)
        return bad(trace, 0, "the trace is cut short", error);
    if (tarn_get_u32(header + 12) != (uint32_t)tarn_hash(header, 12))
        return bad(trace, 0, "the header's checksum is wrong", error);
    unsigned version = tarn_get_u16(header + 8), flags = tarn_get_u16(header + 10);
    unsigned known = TARN_PACK_HAS_TIMES;
    if (version == TARN_PACK_VERSION_EXTRA)
        known |= TARN_PACK_MAY_HAVE_TAGS | TARN_PACK_MAY_HAVE_COSTS;
    if ((version != TARN_PACK_VERSION && version != TARN_PACK_VERSION_EXTRA) ||
        (flags & ~known) != 0)
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "%s: version %u of the tarn trace format is newer than this build",
                         input->name, version);
    trace->has_time = (flags & TARN_PACK_HAS_TIMES) != 0;
    trace->has_tag = (flags & TARN_PACK_MAY_HAVE_TAGS) != 0;
    trace->has_cost = (flags & TARN_PACK_MAY_HAVE_COSTS) != 0;
    trace->block = tarn_alloc(TARN_PACK_REQUESTS * sizeof *trace->block);
    if (trace->block == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", input->name);
    input->at += TARN_PACK_HEADER;
    trace->read = read_tarn;
    return TARN_OK;
}
