/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as what decisions cost: no crash, and what is accepted is encoded to the same bytes. A
 * second time with magic, sizes and hash mended.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "experts/feedback.h"

static void read_feedback(const uint8_t *data, size_t size)
{
    static struct tarn_feedback feedback;
    struct tarn_error error = {0};
    tarn_status status = tarn_feedback_decode(data, size, "fuzz", &feedback, &error);
    if (status != TARN_OK) {
        if (error.status != status || error.message[0] == '\0')
            abort();
        return;
    }
    if (feedback.record_count > TARN_FEEDBACK_RECORDS ||
        feedback.version_count > TARN_FEEDBACK_VERSIONS)
        abort();
    for (uint32_t i = 0; i < feedback.record_count; i++)
        if ((unsigned)feedback.record[i].workload >= TARN_WORKLOADS)
            abort();
    uint8_t *again = malloc(tarn_feedback_file_limit());
    if (again == NULL)
        return;
    if (tarn_feedback_encode(&feedback, again) != size || memcmp(again, data, size) != 0)
        abort();
    free(again);
    /* and it can be gone on with */
    struct tarn_feedback_record more = {.figures = {.requests = 1}};
    for (int i = 0; i < 3; i++)
        tarn_feedback_add(&feedback, &more);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tarn_feedback empty = {.span = 1};
    uint8_t *copy = malloc(size + tarn_feedback_file_limit());
    read_feedback(data, size);
    if (copy == NULL)
        return 0;
    size_t least = tarn_feedback_encode(&empty, copy);
    if (size > least) {
        static struct tarn_feedback sized;
        sized.span = 1;
        sized.record_count = data[12] % 4;
        sized.version_count = data[16] % 3;
        size_t whole = tarn_feedback_encode(&sized, copy);
        size_t rest = size - 24 < whole - 32 ? size - 24 : whole - 32;
        memcpy(copy + 24, data + 24, rest);
        tarn_put_u64(copy + whole - 8, tarn_hash(copy, whole - 8));
        read_feedback(copy, whole);
    }
    free(copy);
    return 0;
}
