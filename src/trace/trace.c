/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a trace: finding its format by magic, by ending, by content. And the oracle format. */
#include "trace.h"

#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "reader.h"

enum { ORACLE_RECORD = 24, PROBE = 64 << 10 };

const char *tarn_trace_format_name(tarn_trace_format format)
{
    static const char *const names[] = {"auto", "oracle", "csv", "keys", "tarn"};
    return (unsigned)format < 5 ? names[format] : "unknown";
}

tarn_status tarn_trace_format_parse(const char *name, tarn_trace_format *format)
{
    for (int i = TARN_TRACE_AUTO; i <= TARN_TRACE_TARN; i++)
        if (strcmp(name, tarn_trace_format_name((tarn_trace_format)i)) == 0) {
            *format = (tarn_trace_format)i;
            return TARN_OK;
        }
    return TARN_INVALID;
}

/* ---- oracle ---- */

/*
 * The next access isn't used, but it is the one field in which garbage shows: it is a 1-based index
 * or a small negative number (or the largest integer) for "never".
 */
static bool plausible(const uint8_t *record)
{
    int64_t next = (int64_t)tarn_get_u64(record + 16);
    return (next >= -2 && next < (int64_t)1 << 48) || next == INT64_MAX;
}

bool tarn_trace_looks_oracle(const uint8_t *bytes, size_t size)
{
    if (size < ORACLE_RECORD)
        return false;
    for (size_t at = 0; at + ORACLE_RECORD <= size; at += ORACLE_RECORD)
        if (!plausible(bytes + at))
            return false;
    return true;
}

static tarn_status read_oracle(struct tarn_trace *trace, struct tarn_request *requests, size_t room,
                               size_t *count, struct tarn_error *error)
{
    struct tarn_input *input = &trace->input;
    tarn_status status = tarn_input_fill(input, ORACLE_RECORD, error);
    if (status != TARN_OK)
        return status;
    size_t left = tarn_input_left(input), records = left / ORACLE_RECORD;
    if (records == 0) {
        if (left == 0)
            return TARN_END;
        return tarn_fail(error, TARN_CORRUPT,
                         "%s: byte %llu: the last record is cut short (%zu of 24 bytes)",
                         input->name, (unsigned long long)tarn_input_offset(input), left);
    }
    records = records < room ? records : room;
    const uint8_t *at = input->at;
    for (size_t i = 0; i < records; i++, at += ORACLE_RECORD) {
        if (!plausible(at)) {
            if (i > 0) { /* what came before is fine; the next call meets it again */
                records = i;
                break;
            }
            return tarn_fail(error, TARN_CORRUPT,
                             "%s: byte %llu: not an oracleGeneral record (next access %lld)",
                             input->name, (unsigned long long)tarn_input_offset(input),
                             (long long)tarn_get_u64(at + 16));
        }
        uint32_t size = tarn_get_u32(at + 12);
        requests[i] = (struct tarn_request){
            .time = tarn_get_u32(at),
            .key = tarn_get_u64(at + 4),
            .size = size != 0 ? size : 1,
            .op = TARN_TRACE_GET,
        };
    }
    input->at = at;
    *count = records;
    return TARN_OK;
}

tarn_status tarn_trace_open_oracle(struct tarn_trace *trace, struct tarn_error *error)
{
    (void)error;
    trace->read = read_oracle;
    trace->has_time = true;
    return TARN_OK;
}

/* ---- which format ---- */

static bool ends_with(const char *text, size_t length, const char *ending)
{
    size_t n = strlen(ending);
    return length > n && strncasecmp(text + length - n, ending, n) == 0;
}

static const struct {
    const char *ending;
    tarn_trace_format format;
} endings[] = {
    {".oracleGeneral", TARN_TRACE_ORACLE},
    {".oracle", TARN_TRACE_ORACLE},
    {".csv", TARN_TRACE_CSV},
    {".keys", TARN_TRACE_KEYS},
    {".txt", TARN_TRACE_KEYS},
    {".tarn", TARN_TRACE_TARN},
};

/* Splits what a path ends with: .zst and .bin say nothing about the format. */
static tarn_trace_format split_path(const char *path, size_t *stem)
{
    size_t length = strlen(path);
    while (ends_with(path, length, ".zst") || ends_with(path, length, ".bin"))
        length -= 4;
    *stem = length;
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++)
        if (ends_with(path, length, endings[i].ending)) {
            *stem = length - strlen(endings[i].ending);
            return endings[i].format;
        }
    return TARN_TRACE_AUTO;
}

tarn_trace_format tarn_trace_format_of_path(const char *path)
{
    size_t stem;
    return split_path(path, &stem);
}

size_t tarn_trace_stem_length(const char *path)
{
    size_t stem;
    split_path(path, &stem);
    return stem;
}

static bool looks_text(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] < 0x20 && bytes[i] != '\n' && bytes[i] != '\r' && bytes[i] != '\t')
            return false;
    return true;
}

static tarn_trace_format guess(const struct tarn_input *input, const char *path)
{
    const uint8_t *bytes = input->at;
    size_t size = tarn_input_left(input);
    size = size < PROBE ? size : PROBE;
    if (tarn_trace_looks_tarn(bytes, size))
        return TARN_TRACE_TARN;
    tarn_trace_format named = path != NULL ? tarn_trace_format_of_path(path) : TARN_TRACE_AUTO;
    if (named != TARN_TRACE_AUTO)
        return named;
    if (looks_text(bytes, size)) {
        const uint8_t *newline = memchr(bytes, '\n', size);
        size_t first = newline != NULL ? (size_t)(newline - bytes) : size;
        return memchr(bytes, ',', first) != NULL || memchr(bytes, ';', first) != NULL ||
                       memchr(bytes, '\t', first) != NULL
                   ? TARN_TRACE_CSV
                   : TARN_TRACE_KEYS;
    }
    return tarn_trace_looks_oracle(bytes, size) ? TARN_TRACE_ORACLE : TARN_TRACE_AUTO;
}

static tarn_status start(struct tarn_trace *trace, const char *path,
                         const struct tarn_trace_params *params, struct tarn_error *error)
{
    struct tarn_input *input = &trace->input;
    tarn_status status = tarn_input_fill(input, PROBE, error);
    if (status != TARN_OK)
        return status;
    if (tarn_input_left(input) == 0)
        return tarn_fail(error, TARN_CORRUPT, "%s: the trace is empty", input->name);
    trace->format = params != NULL ? params->format : TARN_TRACE_AUTO;
    const char *columns = params != NULL ? params->columns : NULL;
    if (trace->format == TARN_TRACE_AUTO && columns != NULL)
        trace->format = TARN_TRACE_CSV;
    if (trace->format == TARN_TRACE_AUTO)
        trace->format = guess(input, path);
    switch (trace->format) {
    case TARN_TRACE_ORACLE:
        return tarn_trace_open_oracle(trace, error);
    case TARN_TRACE_CSV:
        return tarn_trace_open_csv(trace, columns, error);
    case TARN_TRACE_KEYS:
        return tarn_trace_open_keys(trace, error);
    case TARN_TRACE_TARN:
        return tarn_trace_open_tarn(trace, error);
    case TARN_TRACE_AUTO:
        break;
    }
    return tarn_fail(error, TARN_CORRUPT,
                     "%s: not a trace in a known format (oracle, csv, keys, tarn)", input->name);
}

static tarn_status open_trace(const char *path, const void *data, size_t size,
                              const struct tarn_trace_params *params, tarn_trace **trace,
                              struct tarn_error *error)
{
    *trace = NULL;
    struct tarn_trace *made = tarn_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path ? path : "memory");
    tarn_status status = path != NULL ? tarn_input_open(&made->input, path, error)
                                      : tarn_input_open_memory(&made->input, data, size, error);
    if (status != TARN_OK) {
        tarn_free(made);
        return status;
    }
    status = start(made, path, params, error);
    if (status != TARN_OK) {
        tarn_trace_close(&made);
        return status;
    }
    *trace = made;
    return TARN_OK;
}

tarn_status tarn_trace_open(const char *path, const struct tarn_trace_params *params,
                            tarn_trace **trace, struct tarn_error *error)
{
    return open_trace(path, NULL, 0, params, trace, error);
}

tarn_status tarn_trace_open_memory(const void *data, size_t size,
                                   const struct tarn_trace_params *params, tarn_trace **trace,
                                   struct tarn_error *error)
{
    return open_trace(NULL, data, size, params, trace, error);
}

void tarn_trace_close(tarn_trace **trace)
{
    if (*trace == NULL)
        return;
    tarn_input_close(&(*trace)->input);
    tarn_free((*trace)->scratch);
    tarn_free((*trace)->block);
    tarn_free(*trace);
    *trace = NULL;
}

tarn_trace_format tarn_trace_get_format(const tarn_trace *trace)
{
    return trace->format;
}

bool tarn_trace_has_time(const tarn_trace *trace)
{
    return trace->has_time;
}

bool tarn_trace_has_tag(const tarn_trace *trace)
{
    return trace->has_tag;
}

bool tarn_trace_has_cost(const tarn_trace *trace)
{
    return trace->has_cost;
}

tarn_status tarn_trace_read(tarn_trace *trace, struct tarn_request *requests, size_t room,
                            size_t *count, struct tarn_error *error)
{
    *count = 0;
    if (room == 0)
        return TARN_OK;
    tarn_status status = trace->read(trace, requests, room, count, error);
    if (status != TARN_OK)
        *count = 0;
    if (!trace->has_time)
        for (size_t i = 0; i < *count; i++)
            requests[i].time = trace->index + i;
    trace->index += *count;
    return status;
}

double tarn_trace_progress(const tarn_trace *trace)
{
    return tarn_input_progress(&trace->input);
}
