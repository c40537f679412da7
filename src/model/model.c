/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "file.h"

tarn_status tarn_model_create(const struct tarn_shape *shape, const float *weights,
                              const char *provenance, tarn_model **model)
{
    if (!tarn_shape_is_valid(shape))
        return TARN_INVALID;
    size_t size = tarn_shape_weights(shape) * sizeof(float), text = strlen(provenance) + 1;
    tarn_model *m = tarn_alloc_zeroed(1, sizeof *m);
    if (m == NULL)
        return TARN_NO_MEMORY;
    m->shape = *shape;
    m->weights = tarn_alloc_aligned(64, (size + 63) / 64 * 64);
    m->provenance = tarn_alloc(text);
    if (m->weights == NULL || m->provenance == NULL) {
        tarn_model_destroy(&m);
        return TARN_NO_MEMORY;
    }
    memcpy(m->weights, weights, size);
    memcpy(m->provenance, provenance, text);
    *model = m;
    return TARN_OK;
}

tarn_status tarn_model_copy(const tarn_model *model, tarn_model **copy)
{
    tarn_status status = tarn_model_create(&model->shape, model->weights, model->provenance, copy);
    if (status == TARN_OK)
        (*copy)->nested = model->nested;
    return status;
}

void tarn_model_destroy(tarn_model **model)
{
    if (*model == NULL)
        return;
    tarn_free((*model)->weights);
    tarn_free((*model)->provenance);
    tarn_free(*model);
    *model = NULL;
}

void tarn_model_get_info(const tarn_model *model, struct tarn_model_info *info)
{
    size_t parameters = tarn_shape_weights(&model->shape);
    *info = (struct tarn_model_info){
        .inputs = model->shape.inputs,
        .hidden1 = model->shape.hidden1,
        .hidden2 = model->shape.hidden2,
        .outputs = model->shape.outputs,
        .parameters = (uint32_t)parameters,
        .file_size = tarn_model_file_size(model),
        .hash = tarn_hash(model->weights, parameters * sizeof(float)),
        .provenance = model->provenance,
        .nested = {model->nested.width[0], model->nested.width[1], model->nested.width[2]},
        .early_exit = model->nested.exits,
    };
}

void tarn_model_score(const struct tarn_model *model, const float *tiles, uint32_t count,
                      float *scores)
{
    tarn_forward_host(&model->shape, model->weights, tiles, count, scores);
}

void tarn_model_score_slice(const struct tarn_model *model, uint32_t width, bool exits,
                            const float *tiles, uint32_t count, float *scores)
{
    tarn_forward_slice_host(&model->shape, tarn_model_slice(model, width, exits), model->weights,
                            tiles, count, scores);
}
