/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as a model: no crash, an error says what is wrong in one line, and what is accepted
 * can be written and read again. A second time with size and checksum mended, or nothing behind them
 * would ever be reached.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "kernels/layout.h"
#include "model/file.h"

static void use(const tarn_model *model)
{
    static float tiles[TARN_MAX_WIDTH * TARN_LANES];
    float scores[TARN_LANES];
    struct tarn_model_info info;
    tarn_model_get_info(model, &info);
    if (info.inputs == 0 || info.inputs > TARN_MAX_WIDTH || info.outputs > TARN_MAX_BINS ||
        !tarn_net_is_finite(model->weights, info.parameters))
        abort();
    tarn_model_score(model, tiles, TARN_LANES, scores);
    if (!tarn_nested_is_valid(&model->nested, &model->shape))
        abort();
    for (uint32_t width = 0; width < 256; width += 5)
        tarn_forward_slice_host(&model->shape, tarn_model_slice(model, width, width & 1),
                                model->weights, tiles, TARN_LANES, scores);
}

static void read_model(const uint8_t *data, size_t size)
{
    struct tarn_error error = {0};
    tarn_model *model = NULL;
    tarn_status status = tarn_model_parse(data, size, &model, &error);
    if ((status == TARN_OK) != (model != NULL))
        abort();
    if (status != TARN_OK) {
        if (error.status != status || error.message[0] == '\0' || strchr(error.message, '\n'))
            abort();
        return;
    }
    use(model);
    uint8_t *copy = malloc(size);
    if (copy != NULL && tarn_model_file_size(model) == size) {
        tarn_model_write(model, copy);
        if (memcmp(copy + 28, "\0\0\0", 4) == 0) /* nested widths that make no sense are none */
            memcpy(copy + 28, data + 28, 4);
        if (memcmp(copy, data, size - 8) != 0)
            abort();
    } else if (copy != NULL) {
        abort();
    }
    free(copy);
    tarn_model_destroy(&model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_model(data, size);
    uint8_t *copy = size >= 40 ? malloc(size) : NULL;
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    memcpy(copy, "TARNMDL\x1a", 8);
    tarn_put_u32(copy + 8, 1);
    tarn_put_u32(copy + 12, (uint32_t)size);
    tarn_put_u64(copy + size - 8, tarn_hash(copy, size - 8));
    read_model(copy, size);
    free(copy);
    return 0;
}
