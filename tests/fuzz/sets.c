/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as sets: no crash, an error says what is wrong in one line, and what is accepted can
 * be written and read again. A second time with sizes, places and checksums mended, its models' too.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "model/sets.h"

static void read_sets(const uint8_t *data, size_t size)
{
    struct tarn_error error = {0};
    tarn_model_sets *sets = NULL, *again = NULL;
    tarn_status status = tarn_model_sets_parse(data, size, &sets, &error);
    if ((status == TARN_OK) != (sets != NULL))
        abort();
    if (status != TARN_OK) {
        if (error.status != status || error.message[0] == '\0' || strchr(error.message, '\n'))
            abort();
        return;
    }
    uint8_t *copy = malloc(tarn_model_sets_size(sets));
    if (copy != NULL) {
        tarn_model_sets_write(sets, copy);
        if (tarn_model_sets_parse(copy, tarn_model_sets_size(sets), &again, &error) != TARN_OK ||
            tarn_model_sets_count(again) != tarn_model_sets_count(sets) ||
            strcmp(sets->set[0].name, "general") != 0)
            abort();
    }
    free(copy);
    tarn_model_sets_destroy(&again);
    tarn_model_sets_destroy(&sets);
}

static void mend_model(uint8_t *model, size_t size)
{
    memcpy(model, "TARNMDL\x1a", 8);
    tarn_put_u32(model + 8, 1);
    tarn_put_u32(model + 12, (uint32_t)size);
    tarn_put_u64(model + size - 8, tarn_hash(model, size - 8));
}

static void mend(uint8_t *data, size_t size)
{
    memcpy(data, "TARNSET\x1a", 8);
    tarn_put_u32(data + 8, 1);
    tarn_put_u32(data + 12, (uint32_t)size);
    uint32_t count = tarn_get_u32(data + 16) % 4;
    size_t at = 32 + (size_t)count * 96;
    tarn_put_u32(data + 16, count);
    for (uint32_t i = 0; i < count && at + 40 + 8 <= size; i++) {
        uint8_t *entry = data + 32 + (size_t)i * 96;
        size_t bytes = tarn_get_u32(entry + 36);
        bytes = bytes < 40 || bytes > size - 8 - at ? size - 8 - at : bytes;
        tarn_put_u32(entry + 32, (uint32_t)at);
        tarn_put_u32(entry + 36, (uint32_t)bytes);
        if (bytes >= 40)
            mend_model(data + at, bytes);
        at += bytes;
    }
    tarn_put_u64(data + size - 8, tarn_hash(data, size - 8));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_sets(data, size);
    uint8_t *copy = size >= 40 ? malloc(size) : NULL;
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    mend(copy, size);
    read_sets(copy, size);
    free(copy);
    return 0;
}
