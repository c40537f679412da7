/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as a trace in every format: no crash, and what is read keeps the promises of
 * trace.h. A tarn trace is read a second time with its checksums mended, or nothing behind them
 * would ever be reached.
 */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "trace/pack.h"
#include "trace/trace.h"

static void read_as(const uint8_t *data, size_t size, tarn_trace_format format, const char *columns)
{
    struct tarn_request requests[37];
    struct tarn_error error = {0};
    struct tarn_trace_params params = {.format = format, .columns = columns};
    tarn_trace *trace = NULL;
    size_t total = 0, count = 0;
    tarn_status status = tarn_trace_open_memory(data, size, &params, &trace, &error);
    if ((status == TARN_OK) != (trace != NULL))
        abort();
    while (status == TARN_OK) {
        status = tarn_trace_read(trace, requests, 1 + total % 37, &count, &error);
        if ((status == TARN_OK) != (count > 0) || count > 37)
            abort();
        for (size_t i = 0; i < count; i++)
            if (requests[i].size == 0 || requests[i].size >= (uint64_t)1 << 53 ||
                (unsigned)requests[i].op > TARN_TRACE_DELETE || requests[i].tag > 7 ||
                !(requests[i].cost_us >= 0 && requests[i].cost_us < INFINITY))
                abort();
        total += count;
        double share = tarn_trace_progress(trace);
        if (!(share <= 1))
            abort();
    }
    /* An error says where: something is in the message, and it is one line. */
    if (status != TARN_END &&
        (error.status != status || error.message[0] == '\0' || strchr(error.message, '\n') != NULL))
        abort();
    tarn_trace_close(&trace);
}

static void read_mended(const uint8_t *data, size_t size)
{
    if (size < TARN_PACK_HEADER)
        return;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return;
    memcpy(copy, data, size);
    memcpy(copy, TARN_PACK_MAGIC, 8);
    tarn_put_u32(copy + 12, (uint32_t)tarn_hash(copy, 12));
    for (size_t at = TARN_PACK_HEADER; size - at >= TARN_PACK_BLOCK_HEADER;) {
        size_t payload = tarn_get_u32(copy + at + 8), left = size - at - TARN_PACK_BLOCK_HEADER;
        if (payload > left)
            break;
        tarn_put_u64(copy + at, tarn_hash(copy + at + TARN_PACK_HASHED_FROM, 8 + payload));
        at += TARN_PACK_BLOCK_HEADER + payload;
    }
    read_as(copy, size, TARN_TRACE_TARN, NULL);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int format = TARN_TRACE_AUTO; format <= TARN_TRACE_TARN; format++)
        read_as(data, size, (tarn_trace_format)format, NULL);
    read_as(data, size, TARN_TRACE_CSV, "op,key,,size,time,cost,tag");
    read_mended(data, size);
    return 0;
}
