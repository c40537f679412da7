/* SPDX-License-Identifier: Apache-2.0 */
/** @file A model from the inside: its plain tensors, and scoring with them on the host. */
#ifndef TARN_MODEL_MODEL_H
#define TARN_MODEL_MODEL_H

#include <tarn/model.h>

#include "net/elastic.h"
#include "net/net.h"

struct tarn_model {
    struct tarn_shape shape;
    struct tarn_nested nested; /**< zeros once made: its maker says what it was trained for */
    char *provenance;          /**< owned, never NULL */
    float *weights;            /**< owned, layout.h's order */
};

/** Copies weights and text. TARN_INVALID for a shape that the kernels can't compute. */
tarn_status tarn_model_create(const struct tarn_shape *shape, const float *weights,
                              const char *provenance, tarn_model **model);

/** Another one like it, with all that it says of itself. */
tarn_status tarn_model_copy(const tarn_model *model, tarn_model **copy);

/** Gittins scores of `count` samples in layout.h's tiles, on the calling thread. */
void tarn_model_score(const struct tarn_model *model, const float *tiles, uint32_t count,
                      float *scores);
/** The same by what serves where batch's `width` units would do, without the second layer if it `exits`. */
void tarn_model_score_slice(const struct tarn_model *model, uint32_t width, bool exits,
                            const float *tiles, uint32_t count, float *scores);
/** The slice of it that serves where `width` units (0: all) would do; see tarn_nested_slice(). */
static inline uint32_t tarn_model_slice(const struct tarn_model *model, uint32_t width, bool exits)
{
    return tarn_nested_slice(&model->nested, width, exits);
}

#endif
