/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The network: two leaky-ReLU layers and one logit a hazard bin; how durations become labels; starting
 * weights. Layouts are src/kernels/layout.h's. Pure.
 */
#ifndef TARN_NET_NET_H
#define TARN_NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "kernels/forward.h"
#include "kernels/layout.h"

/** What goes in: numbers in [-4, 4) that fit into a byte each. */
#define TARN_FEATURES     28
#define TARN_FEATURE_STEP (1.0f / 32)

/** The reference network, 28-32-32-11: 2347 parameters. */
extern const struct tarn_shape tarn_net_reference;
#define TARN_NET_PARAMETERS 2347

/** Uniform weights scaled by fan-in (He et al. 2015), output biases at a low hazard. */
void tarn_net_init(const struct tarn_shape *shape, struct tarn_rng *rng, float *weights);
/** False if any of them is a NaN or an infinity. */
bool tarn_net_is_finite(const float *weights, size_t count);

/**
 * The label of a sample: an event after `elapsed` (in T), or none until then (`wanted` false): the
 * bins that were survived whole are known, the rest isn't (right censoring).
 */
uint32_t tarn_net_label(const struct tarn_shape *shape, float elapsed, bool wanted);

/**
 * The survival loss of one sample, nats: the negative log-likelihood of its label's bins under these
 * logits, which are `stride` floats apart (tarn_logits_host()'s are TARN_LANES apart).
 */
float tarn_net_loss(const float *logits, size_t stride, uint32_t outputs, uint32_t label);

#endif
