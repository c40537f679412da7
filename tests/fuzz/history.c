/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as a history: no crash, and what is accepted is encoded to the same bytes. A second
 * time with magic and checksums mended.
 */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "deploy/history.h"

static void read_history(const uint8_t *data, size_t size)
{
    struct tarn_history_reader reader;
    struct tarn_error error = {0};
    struct tarn_history_record event;
    uint8_t again[TARN_HISTORY_RECORD_MAX];
    tarn_status status = tarn_history_reader_init(&reader, data, size, "fuzz", &error);
    if (status != TARN_OK) {
        if (error.status != status || error.message[0] == '\0')
            abort();
        return;
    }
    size_t whole = 0;
    while (tarn_history_next(&reader, &event)) {
        size_t length = tarn_history_encode(&event, again);
        const uint8_t *from = data + reader.at - length;
        if (length > reader.at || tarn_get_u16(from) != length)
            abort();
        /* bits and kinds of later releases are not kept */
        if (memcmp(from + 8, again + 8, 48) != 0)
            abort();
        for (uint32_t i = 0; i < event.metrics; i++)
            if (!isfinite(event.metric[i].value))
                abort();
        whole += length;
    }
    if (reader.at != size ||
        (size >= TARN_HISTORY_HEADER && whole + reader.damaged + TARN_HISTORY_HEADER != size))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_history(data, size);
    if (size < TARN_HISTORY_HEADER)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    tarn_history_write_header(copy);
    for (size_t at = TARN_HISTORY_HEADER; size - at >= 64;) {
        size_t length = tarn_get_u16(copy + at);
        if (length < 64 || length > size - at)
            tarn_put_u16(copy + at, (uint16_t)(length = 64));
        tarn_put_u64(copy + at + length - 8, tarn_hash(copy + at, length - 8));
        at += length;
    }
    read_history(copy, size);
    free(copy);
    return 0;
}
