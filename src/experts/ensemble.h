/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Who of an ensemble has how much say, found on samples that none of its networks was trained on:
 *
 * - Bayesian averaging, tempered: share_k in proportion to prior_k exp(-0.02 L_k), L_k being the survival
 *   loss of the samples seen lately (half-life 2048 of them), none below 1e-4 (docs/eviction.md: untempered
 *   posteriors end with all on one). Hoeting, Madigan, Raftery and Volinsky 1999; for a decay that follows
 *   changes, Raftery, Karny and Ettler 2010.
 * - Stacking (Wolpert 1992; Breiman 1996): shares are the softmax of a few numbers, one a member, that
 *   gradient steps (Adam) fit to the loss of the logits' mean; they are pulled back to equality, so that
 *   chance alone doesn't carry them away.
 *
 * How the shares are used: src/model/ensemble.h. Pure, deterministic on one CPU, no allocation; one thread
 * at a time.
 */
#ifndef TARN_EXPERTS_ENSEMBLE_H
#define TARN_EXPERTS_ENSEMBLE_H

#include "model/bundle.h"

#define TARN_SHARES_ONCE 256 /* samples fed at a time at most */

/** A sample with its outcome as known now; as the gate's held-out ones. */
struct tarn_shares_sample {
    int8_t features[TARN_FEATURES];
    uint32_t label; /**< tarn_net_label()'s */
};

struct tarn_shares {
    uint32_t members;
    double loss[TARN_BUNDLE_MEMBERS];                      /**< decayed sums, nats */
    double theta[TARN_BUNDLE_MEMBERS];                     /**< stacking: logarithms of shares */
    double m[TARN_BUNDLE_MEMBERS], v[TARN_BUNDLE_MEMBERS]; /**< Adam's moments of it */
    uint64_t steps;
    uint64_t samples; /**< fed so far */
};

/** `members` (1 ... TARN_BUNDLE_MEMBERS) of which nothing is known: equal shares. */
void tarn_shares_init(struct tarn_shares *shares, uint32_t members);
/**
 * Looks at `count` samples. weights[k] are member k's, of `shape`. A member whose loss isn't finite is taken to be
 * ten nats a sample behind the others, which it makes up for once it is well again. 60 KiB of stack; two
 * forward passes' time a sample and member.
 */
void tarn_shares_feed(struct tarn_shares *shares, const struct tarn_shape *shape,
                      const float *const *weights, const struct tarn_shares_sample *samples,
                      uint32_t count);
/** Another network takes the place of one: it inherits the others' mean. */
void tarn_shares_replace(struct tarn_shares *shares, uint32_t member);

/** Shares, sum 1. */
void tarn_shares_equal(const struct tarn_shares *shares, float share[TARN_BUNDLE_MEMBERS]);
void tarn_shares_bayes(const struct tarn_shares *shares, float share[TARN_BUNDLE_MEMBERS]);
void tarn_shares_stacked(const struct tarn_shares *shares, float share[TARN_BUNDLE_MEMBERS]);

#endif
