/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Judging weights on samples that no training has seen: those of keys for which tarn_is_held_out()
 * (docs/deploy.md, "The gate"). A set of them is gathered under the ring's lock, in portions, and then used without it. What
 * goes live is another's to judge: deploy/gate.h.
 */
#ifndef TARN_LEARN_HELDOUT_H
#define TARN_LEARN_HELDOUT_H

#include "learn/reservoir.h"

#define TARN_HELDOUT_MOST    512   /* samples of a set */
#define TARN_HELDOUT_LEAST   64    /* fewer say nothing */
#define TARN_HELDOUT_NEWEST  16384 /* of the ring are looked at */
#define TARN_HELDOUT_AT_ONCE 64

/** 16 KiB. One thread at a time. */
struct tarn_heldout {
    struct tarn_kept_sample samples[TARN_HELDOUT_MOST];
    uint32_t count;
    uint64_t next, end; /* of the ring's samples, counted from its first */
    uint32_t room, seen;
};

/**
 * Begins a set of held-out samples of the `newest` (TARN_HELDOUT_NEWEST at most) in the ring, `room`
 * (TARN_HELDOUT_MOST at most) of them at random. Under the ring's lock.
 */
void tarn_heldout_begin(struct tarn_heldout *set, const struct tarn_ring *ring, uint32_t newest,
                        uint32_t room);
/** Looks at `count` more, censored as of `now`; true while some are left. Under the ring's lock. */
bool tarn_heldout_gather(struct tarn_heldout *set, const struct tarn_ring *ring,
                         const struct tarn_shape *shape, uint32_t count, uint64_t now,
                         struct tarn_rng *rng);
/** At the end: up to `count` of the reservoir's, to see what is forgotten. Under the ring's lock. */
void tarn_heldout_replay(struct tarn_heldout *set, const struct tarn_reservoir *reservoir,
                         uint32_t count, struct tarn_rng *rng);

/** A mean over the samples of a set. */
struct tarn_heldout_result {
    double mean; /**< of the loss; or of a's less b's, below 0 where a is better */
    double sd;   /**< of a sample's */
    uint32_t n;  /**< samples */
    bool finite; /**< of all weights and losses; else mean and sd are NaN */
};

/**
 * The survival loss of weights. Deterministic on one CPU; no allocation, 20 KiB of stack; 2.3 M
 * multiply-adds for the whole set and the reference network.
 */
struct tarn_heldout_result tarn_heldout_loss(const struct tarn_heldout *set,
                                             const struct tarn_shape *shape, const float *weights);
/** The paired difference of two sets of weights. Weights that aren't finite are told by their bits. */
struct tarn_heldout_result tarn_heldout_compare(const struct tarn_heldout *set,
                                                const struct tarn_shape *shape, const float *a,
                                                const float *b);
/** What a slice of a network loses against all of it; the paired difference too. */
struct tarn_heldout_result tarn_heldout_slice(const struct tarn_heldout *set,
                                              const struct tarn_shape *shape, uint32_t slice,
                                              const float *weights);

/**
 * Early stop: training goes on while the held-out loss falls. One thread at a time; starts as zeros
 * with `patience` set.
 */
struct tarn_early {
    uint32_t patience; /**< looks without a better one before it stops */
    double best;       /**< the lowest loss */
    uint32_t looks;    /**< so far */
    uint32_t since;    /**< looks since the best */
};

typedef enum tarn_early_word {
    TARN_EARLY_BEST, /**< the best so far: worth keeping these weights */
    TARN_EARLY_WAIT, /**< not better, by more than chance */
    TARN_EARLY_STOP, /**< nor have the last ones been */
} tarn_early_word;

/**
 * A look. A better loss is one that is lower by a tenth of its standard error, so that noise doesn't
 * keep training alive; a loss that isn't finite is never better, and fewer than TARN_HELDOUT_LEAST
 * samples count for nothing (WAIT).
 */
tarn_early_word tarn_early_look(struct tarn_early *early, const struct tarn_heldout_result *loss);
/** The data is new: what was best before says nothing. */
void tarn_early_restart(struct tarn_early *early);

#endif
