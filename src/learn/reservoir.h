/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A stratified reservoir beside the ring: samples that have left the ring, over time, class and rarity,
 * so that what hasn't been seen for long can still be rehearsed. Optional: draws work without one.
 *
 * A stratum is a class (how soon it was wanted again), common or rare (far from the mean of the
 * features), and one of TARN_RESERVOIR_AGES. In each, Vitter's algorithm R (1985) while it is young;
 * after TARN_RESERVOIR_FADE * 4^age as many samples as it holds, one comes in at a steady rate instead,
 * so that ages there fall off exponentially (Aggarwal 2006) and differ fourfold from one to the next.
 *
 * Labels are fixed when a sample comes in. A sample whose outcome is open when it leaves the ring is
 * right-censored then: a true label that can't go stale, as the ring doesn't choose whom it forgets.
 * (Keeping only those that were wanted would teach that everything is.) One that says nothing yet, not
 * one bin survived, isn't taken.
 *
 * Fixed memory, one allocation; under the lock of the ring.
 */
#ifndef TARN_LEARN_RESERVOIR_H
#define TARN_LEARN_RESERVOIR_H

#include "learn/ring.h"

#define TARN_RESERVOIR_CLASSES 4 /* wanted within 1/8 T, within 1 T, later; not seen again */
#define TARN_RESERVOIR_AGES    4
#define TARN_RESERVOIR_STRATA  (TARN_RESERVOIR_CLASSES * 2 * TARN_RESERVOIR_AGES)
#define TARN_RESERVOIR_FADE    4

/** A sample whose outcome is fixed. */
struct tarn_kept_sample {
    int8_t features[TARN_FEATURES];
    uint16_t label;   /**< layout.h's */
    uint8_t held_out; /**< of a key that the trainer may not see: tarn_is_held_out() */
};

/** Keys whose samples are kept for judging, an eighth of all. */
static inline bool tarn_is_held_out(uint64_t hash)
{
    return (hash & 7) == 0;
}

struct tarn_reservoir {
    struct tarn_kept_sample *samples; /**< each stratum's, one after the other */
    uint32_t room;                    /**< samples of a stratum */
    uint32_t filled[TARN_RESERVOIR_STRATA];
    uint64_t offered[TARN_RESERVOIR_STRATA];
    /** What is common: running means, variances and the distance that one in eight exceeds. */
    float mean[TARN_FEATURES], variance[TARN_FEATURES], far_away;
    uint64_t seen;
    struct tarn_rng rng;
};

/** `size` samples, rounded up to a multiple of TARN_RESERVOIR_STRATA. */
tarn_status tarn_reservoir_init(struct tarn_reservoir *reservoir, uint32_t size, uint64_t seed);
void tarn_reservoir_free(struct tarn_reservoir *reservoir);
/** Bytes that so many samples take. */
uint64_t tarn_reservoir_memory(uint32_t size);
/** Samples in it. */
uint32_t tarn_reservoir_count(const struct tarn_reservoir *reservoir);

/** A sample, as it is known at `now`, from when on it won't change any more. */
void tarn_reservoir_offer(struct tarn_reservoir *reservoir, const struct tarn_shape *shape,
                          const struct tarn_sample *sample, uint64_t now);
/**
 * One of its samples: class and rarity by their share of all that was offered (so that hazards stay
 * what they are) to the power 1 - `balance` (1: alike), ages alike. NULL while it is empty.
 */
const struct tarn_kept_sample *tarn_reservoir_draw(const struct tarn_reservoir *reservoir,
                                                   float balance, struct tarn_rng *rng);

/** Where training takes its samples from. */
struct tarn_learn_source {
    const struct tarn_ring *ring;
    const struct tarn_reservoir *reservoir; /**< NULL: none */
    const struct tarn_shape *shape;
    float share;        /**< of samples that come from the reservoir; 0: none */
    float balance;      /**< tarn_reservoir_draw()'s */
    bool keep_held_out; /**< leave tarn_is_held_out() keys for judging */
    uint32_t newest;    /**< of the ring's samples are of a new phase; 0: none are known to be */
    float newest_share; /**< of those from the ring that come from these alone */
};

struct tarn_learn_sample {
    const int8_t *features; /**< valid until the ring or the reservoir changes */
    uint32_t label;         /**< 0 (adds nothing) if only held-out samples came up */
    bool replayed;          /**< from the reservoir */
};

/** A sample to learn from; false while the ring has too few (TARN_RING_LEAST). */
bool tarn_learn_draw(const struct tarn_learn_source *source, uint64_t now, struct tarn_rng *rng,
                     struct tarn_learn_sample *sample);

#endif
