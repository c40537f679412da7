/* SPDX-License-Identifier: Apache-2.0 */
/** @file What the formats' readers share; private to src/trace. */
#ifndef TARN_TRACE_READER_H
#define TARN_TRACE_READER_H

#include "input.h"
#include "trace.h"

enum { TARN_TRACE_MAX_COLUMNS = 64 };

/** Sizes in a trace stay below this, so that sums and products of a few of them are safe. */
#define TARN_TRACE_SIZE_LIMIT ((uint64_t)1 << 53)

typedef enum tarn_trace_column {
    TARN_COLUMN_NONE,
    TARN_COLUMN_TIME,
    TARN_COLUMN_KEY,
    TARN_COLUMN_SIZE,
    TARN_COLUMN_OP,
    TARN_COLUMN_TAG,
    TARN_COLUMN_COST,
} tarn_trace_column;

struct tarn_trace {
    struct tarn_input input;
    tarn_trace_format format;
    bool has_time, has_tag, has_cost;
    tarn_status (*read)(struct tarn_trace *trace, struct tarn_request *requests, size_t room,
                        size_t *count, struct tarn_error *error);
    uint64_t index; /* requests read so far */

    /* text */
    uint64_t line; /* of the last line read, from 1 */
    char separator;
    uint8_t column[TARN_TRACE_MAX_COLUMNS]; /* tarn_trace_column */
    unsigned columns;
    char *scratch; /* a field without its quotes */
    size_t scratch_room;

    /* tarn */
    struct tarn_request *block;
    size_t block_count, block_at;
    uint64_t last_time, last_key;
    bool ended;
};

/** Each checks the start of the input and sets what its reader needs. */
tarn_status tarn_trace_open_oracle(struct tarn_trace *trace, struct tarn_error *error);
tarn_status tarn_trace_open_csv(struct tarn_trace *trace, const char *columns,
                                struct tarn_error *error);
tarn_status tarn_trace_open_keys(struct tarn_trace *trace, struct tarn_error *error);
tarn_status tarn_trace_open_tarn(struct tarn_trace *trace, struct tarn_error *error);

/** True if the bytes can be the start of an oracleGeneral trace. */
bool tarn_trace_looks_oracle(const uint8_t *bytes, size_t size);
bool tarn_trace_looks_tarn(const uint8_t *bytes, size_t size);

/** The number that a key's text is, or its hash. */
uint64_t tarn_trace_key(const char *text, size_t length);

#endif
