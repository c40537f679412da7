/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The network on the host: features to hazards to Gittins scores. Needs no device.
 *
 * Layouts (tiles, weights): layout.h. Everything here is pure and may be called from any thread; no
 * memory is allocated (up to 70 KiB of stack).
 */
#ifndef TARN_KERNELS_FORWARD_H
#define TARN_KERNELS_FORWARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Three layers: inputs -> hidden1 -> hidden2 -> outputs (hazard bins), leaky ReLU between them. */
struct tarn_shape {
    uint32_t inputs;           /**< features, 1 ... TARN_MAX_WIDTH */
    uint32_t hidden1, hidden2; /**< 1 ... TARN_MAX_WIDTH */
    uint32_t outputs;          /**< bins, 1 ... TARN_MAX_BINS */
};

/** True if the kernels can compute this shape. */
bool tarn_shape_is_valid(const struct tarn_shape *shape);
/** True if the fused forward pass can: hidden layers to TARN_MAX_FORWARD_WIDTH. */
bool tarn_shape_is_scorable(const struct tarn_shape *shape);
/** Number of weights, biases included: the length of weights, m and v. */
size_t tarn_shape_weights(const struct tarn_shape *shape);
/** Number of floats of the tiles that hold `count` samples. */
size_t tarn_shape_tile_floats(const struct tarn_shape *shape, size_t count);

/**
 * Scores of `count` samples: lg(max over k of F_k / A_k + 1e-9), F_k the probability of an access
 * in bins 0 ... k and A_k the expected time (in T) spent until then or to the end of bin k; bin k
 * ends at 2^(k-6) T (Gittins 1979; Aalto, Ayesta and Righter 2009). The lowest is evicted. Absolute
 * error about 1e-4 against exact arithmetic for weights of ordinary size; a NaN anywhere in a
 * sample's features or in the weights that it meets gives a NaN score.
 * `tiles` holds whole tiles, the last one filled up; `scores` takes `count` floats.
 */
void tarn_forward_host(const struct tarn_shape *shape, const float *weights, const float *tiles,
                       size_t count, float *scores);
/**
 * The same by a slice of the network (layout.h), whose weights are read where they are: only what is in
 * use is computed, and only its weights are met. The result is that of a network which consists of the
 * slice alone, to the last bits of the sums' order.
 */
void tarn_forward_slice_host(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                             const float *tiles, size_t count, float *scores);

/**
 * The logits of the hazards, before the score: for losses and gates. `logits` takes whole tiles,
 * logits[tile][output][lane], also for the lanes past `count`.
 */
void tarn_logits_host(const struct tarn_shape *shape, const float *weights, const float *tiles,
                      size_t count, float *logits);
/** The same by a slice. */
void tarn_logits_slice_host(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                            const float *tiles, size_t count, float *logits);

#endif
