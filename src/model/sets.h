/* SPDX-License-Identifier: Apache-2.0 */
/** @file Sets from the inside, and their file: docs/sets.md. */
#ifndef TARN_MODEL_SETS_H
#define TARN_MODEL_SETS_H

#include "model.h"

struct tarn_model_sets {
    uint32_t count;
    struct tarn_model_set {
        char name[TARN_SET_NAME];
        tarn_model *model; /**< owned */
        struct tarn_set_settings settings;
    } set[TARN_SETS_MOST];
};

/** A set of its own with the same in it. TARN_NO_MEMORY. */
tarn_status tarn_model_sets_copy(const tarn_model_sets *from, tarn_model_sets **sets);
/** Bytes of the file. */
size_t tarn_model_sets_size(const tarn_model_sets *sets);
/** Writes those bytes. */
void tarn_model_sets_write(const tarn_model_sets *sets, uint8_t *to);

/** Takes the weights of these inputs away: a network without them computes what it would if they were 0. */
void tarn_net_mask(const struct tarn_shape *shape, float *weights, uint32_t masked);
/** The inputs that have no weights: what a network that lives on has to do without. */
uint32_t tarn_net_masked(const struct tarn_shape *shape, const float *weights);

#endif
