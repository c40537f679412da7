/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Elastic networks: one set of weights whose first units are a smaller network that works too (slices, see
 * src/kernels/layout.h), and changes of size that keep what was learnt. Pure; any thread.
 *
 * Nested training: of a step's samples three in four train all of the network, the others one slice each (slimmable
 * networks, Yu et al. 2019; early exit after Teerapittayanon et al. 2016, with the output layer shared).
 */
#ifndef TARN_NET_ELASTIC_H
#define TARN_NET_ELASTIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#include "base/rng.h"
#include "kernels/forward.h"
#include "kernels/layout.h"

#define TARN_NESTED_MOST 3

/** The slices that were trained beside the whole network; zeros: none. */
struct tarn_nested {
    uint8_t width[TARN_NESTED_MOST]; /**< rising, 0 behind the last */
    uint8_t exits; /**< 1: each width, and the whole, without its second layer too */
};

/** False unless the widths rise and are below the shape's. */
bool tarn_nested_is_valid(const struct tarn_nested *nested, const struct tarn_shape *shape);
/** How many widths there are, the whole network's not among them. */
uint32_t tarn_nested_count(const struct tarn_nested *nested);
/**
 * The slice to compute where `width` units (0: all) would do: the narrowest that was trained and has as
 * many. Of a network that isn't elastic: 0, all of it.
 */
uint32_t tarn_nested_slice(const struct tarn_nested *nested, uint32_t width, bool exits);
#define TARN_NESTED_EVERY 4
/**
 * The slice that the samples of tile number `tile` train: the last one of TARN_NESTED_EVERY one of the slices,
 * in turn, the others all of the network, which learns hardly slower for them.
 */
uint32_t tarn_nested_of_tile(const struct tarn_nested *nested, uint32_t tile);
/** The label of a sample in that tile. */
uint32_t tarn_nested_label(const struct tarn_nested *nested, uint32_t tile, uint32_t label);

/**
 * A larger network that computes the same function, up to rounding (Net2WiderNet; Chen, Goodfellow and
 * Shlens 2016): new units are copies of random old ones, whose outgoing weights are split between them in
 * uneven parts, so that training can tell them apart. Inputs and outputs are `from`'s; `to` has at least its
 * units in both hidden layers; `wider` takes tarn_shape_weights(to) floats. The old units stay in front.
 *
 * With `keep_slices` the old ones keep all of what goes out of them and the copies begin with nothing: then
 * the old network, and its slices, are slices of the new one to the bit.
 */
void tarn_net_widen(const struct tarn_shape *from, const float *weights,
                    const struct tarn_shape *to, bool keep_slices, struct tarn_rng *rng,
                    float *wider);

/**
 * How much each hidden unit matters: the mean of |activation| over `count` samples (in tiles) times the sum
 * of its outgoing weights' magnitudes, or the latter alone without samples. `first` takes hidden1 floats,
 * `second` hidden2.
 */
void tarn_net_importance(const struct tarn_shape *shape, const float *weights, const float *tiles,
                         size_t count, float *first, float *second);
/**
 * Orders the hidden units, the most important first; the function stays the same (but for the order of
 * sums). In place; equal ones keep their order. TARN_NO_MEMORY.
 */
tarn_status tarn_net_order(const struct tarn_shape *shape, float *weights, const float *first,
                           const float *second);
/** The first units of both layers as a network of their own: `to` has at most `from`'s. */
void tarn_net_narrow(const struct tarn_shape *from, const float *weights,
                     const struct tarn_shape *to, float *narrower);

#endif
