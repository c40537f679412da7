/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Gradient steps on the host: forward, backward and Adam (Kingma and Ba 2015). Needs no device.
 */
#ifndef TARN_KERNELS_TRAIN_H
#define TARN_KERNELS_TRAIN_H

#include <stddef.h>
#include <stdint.h>

#include <tarn/gpu.h>

#include "forward.h"
#include "layout.h"

/** What a training run carries from step to step; each of tarn_shape_weights() floats. */
struct tarn_train_state {
    float *weights;
    float *m, *v; /**< Adam's moments, zeros at first */
};

/** A label: `at_risk` bins enter the loss; `event` is the bin of the access, or -1 for none seen.
 */
static inline uint32_t tarn_label(uint32_t at_risk, int event)
{
    return at_risk | (uint32_t)(event + 1) << 8;
}

/** The label, training a slice of the network (layout.h) instead of all of it. */
static inline uint32_t tarn_label_of_slice(uint32_t label, uint32_t slice)
{
    return (label & 0xffffu) | slice << 16;
}

/** A call that may begin or end inside a step. */
struct tarn_train_part {
    /**
     * tarn_train_scratch_floats() floats: what calls for ranges of the same work hand on. NULL: the
     * range begins and ends between two steps.
     */
    float *scratch;
    const uint32_t
        *stop; /**< NULL, or struct tarn_launch's: looked at before each tile; needs scratch */
    uint32_t ticket;
};

/** Tiles of a step. */
static inline uint32_t tarn_train_step_tiles(const struct tarn_train_constants *c)
{
    return c->batch / TARN_LANES;
}

/**
 * `constants->steps` Adam steps over consecutive batches: step s takes the samples
 * [s * batch, (s + 1) * batch) of `tiles` and `labels`; `batch` is a positive multiple of
 * TARN_LANES. The loss is the negative log-likelihood of the discrete survival model, summed over
 * the bins at risk and divided by `batch`; a label of 0 adds nothing (a sample that is left out).
 * `losses` takes one float a step: the loss before that step.
 *
 * A label may say that its sample trains a slice of the network (layout.h): hidden units beyond it are 0,
 * and so are their derivatives. Samples of all slices may stand in one tile.
 *
 * Of these it runs the constants' range of tiles, whatever the calls before ran (`part` may be NULL,
 * for whole steps), and returns the next tile to be done. The same work in any ranges, in order and
 * by one instruction set, gives the same bits as in one.
 *
 * A step whose gradient isn't finite changes nothing and reports NaN; it counts in the bias
 * correction. fp32 throughout. No allocation; up to 128 KiB of stack. Any thread; the state belongs
 * to the caller for the length of the call.
 */
uint32_t tarn_train_host(const struct tarn_shape *shape, const struct tarn_train_state *state,
                         const struct tarn_train_constants *constants, const float *tiles,
                         const uint32_t *labels, float *losses, const struct tarn_train_part *part);

/** Floats of the scratch buffer for this shape and batch. */
size_t tarn_train_scratch_floats(const struct tarn_shape *shape, uint32_t batch);

#endif
