/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Regularisation towards what was learnt before: elastic weight consolidation (Kirkpatrick et al. 2017)
 * in its online form (Schwarz et al. 2018): one anchor and one diagonal Fisher information, to which new
 * ones are added while old ones fade.
 *
 * Gradient kernels compute the loss alone, so the penalty comes in between launches as a step of its own,
 * decoupled from Adam (as weight decay is by Loshchilov and Hutter 2019): w = (w + s a) / (1 + s) with
 * s = rate * strength * F, the proximal step of strength / 2 * F (w - a)^2. To first order that is
 * w -= s (w - a), but it can't overshoot, however large F is.
 *
 * F is scaled to a mean of one over all weights and cut at TARN_FISHER_MOST: `strength` means the same
 * for each network and workload, the pull on a weight of average importance. Few weights have most of
 * F, so that strengths that hold the others too are large: thousands.
 *
 * Also distillation: labels drawn from another model's hazards.
 *
 * Fixed memory, one allocation (four arrays of the network's size); one thread at a time.
 */
#ifndef TARN_LEARN_CONSOLIDATE_H
#define TARN_LEARN_CONSOLIDATE_H

#include <tarn/status.h>

#include "net/net.h"

#define TARN_FISHER_MOST        100.0f
#define TARN_CONSOLIDATE_ARRAYS 4

struct tarn_consolidate {
    struct tarn_shape shape;
    size_t count;
    float *memory;
    float *anchor, *fisher; /**< fisher: all 0 before the first anchor */
    float *sum, *pulled;    /* of squared gradients; what pull() returns */
    uint32_t samples;       /**< in the sum */
    uint32_t anchors;       /**< so far */
};

tarn_status tarn_consolidate_init(struct tarn_consolidate *c, const struct tarn_shape *shape);
void tarn_consolidate_free(struct tarn_consolidate *c);
uint64_t tarn_consolidate_memory(const struct tarn_shape *shape);

/**
 * Adds the squared gradient of one sample, its outcome drawn from the network's own hazards (so that it
 * is Fisher's information and not the data's noise: Kunstner et al. 2019). `features` has
 * shape.inputs of them, in steps of TARN_FEATURE_STEP. About 10 µs for the reference network; 256 samples
 * are plenty. All of them by the same weights.
 */
void tarn_consolidate_sample(struct tarn_consolidate *c, const float *weights,
                             const int8_t *features, struct tarn_rng *rng);
/**
 * `weights` are the anchor from now on, with the samples' information added to `keep` (0 ... 1) of the
 * old one. TARN_INVALID, and nothing has changed but that the samples are gone, without samples, with
 * weights that aren't finite or gradients that are all zero.
 */
tarn_status tarn_consolidate_anchor(struct tarn_consolidate *c, const float *weights, float keep);
/** The same from Adam's second moment instead of samples: cheaper; a mean over batches, so it mixes in
 * the mean gradient. */
tarn_status tarn_consolidate_anchor_moments(struct tarn_consolidate *c, const float *weights,
                                            const float *v, float keep);
/**
 * The weights after a pull of rate * strength, in an array of its own that is valid until the next call;
 * `weights` itself before the first anchor. For tarn_trainer_set_state() between two launches; the rate
 * is that of the launch times its steps.
 */
const float *tarn_consolidate_pull(struct tarn_consolidate *c, const float *weights, float rate,
                                   float strength);
/** Half the sum of F (w - a)^2: how far weights have moved, by importance. */
double tarn_consolidate_distance(const struct tarn_consolidate *c, const float *weights);

/**
 * A label as a model expects it: its hazards are walked through from bin `known` on (bins that the
 * sample is known to have survived), and where chance has it, that's the event. Labels hold one event
 * and no probabilities; but the loss is linear in them, so the mean gradient over draws is exactly that
 * of the cross entropy to the model's distribution: distillation (Hinton et al. 2015) within the format.
 * Replace the labels of a share of the samples for a blend, or only complete censored ones (known > 0).
 * `logits`: one of each bin, `stride` floats apart (tarn_logits_host()'s are TARN_LANES apart).
 */
uint32_t tarn_distil_label(const struct tarn_shape *shape, const float *logits, size_t stride,
                           uint32_t known, struct tarn_rng *rng);

#endif
