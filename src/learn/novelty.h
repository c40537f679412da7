/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How new the data is: the distance of what came lately from what came before, in standard deviations
 * of each feature, and how far the loss lies above its long-run mean. What is usual for the stream
 * itself is learnt, each feature by itself, so that features that wander and losses that jump don't
 * count as news. Out come
 * factors for the learning rate and for exploration.
 *
 * Fixed memory, no allocation; one thread at a time.
 */
#ifndef TARN_LEARN_NOVELTY_H
#define TARN_LEARN_NOVELTY_H

#include "net/net.h"

struct tarn_novelty_params {
    uint32_t recent;      /**< samples that count as new; 0: 1024 */
    uint32_t past;        /**< samples that they are compared with; 0: 32768 */
    uint32_t recent_loss; /**< losses that count as new; 0: 8 */
    uint32_t past_loss;   /**< 0: 256 */
    float least, most;    /**< of the rate's factor; 0: 0.5 and 4 */
    float explore;        /**< most of the exploration's factor; 0: 4 */
};

/** A level and what is usual for its distance from the past. */
struct tarn_novelty_usual {
    double mean, square;
    uint32_t count;
};

/** All fields are private. */
struct tarn_novelty {
    struct tarn_novelty_params params;
    float recent[TARN_FEATURES], past[TARN_FEATURES], variance[TARN_FEATURES];
    float usual[TARN_FEATURES]; /* square of a feature's shift between the two, mostly */
    uint32_t looks;
    uint64_t samples;
    struct tarn_novelty_usual distance_usual, loss_usual;
    double recent_loss, past_loss;
    uint64_t losses;
    float by_distance, by_loss; /* standard deviations above the usual */
    uint64_t calm;              /* samples since the last news */
};

struct tarn_novelty_factors {
    float rate;    /**< for the learning rate: 1 at first, lower when nothing new comes for long */
    float explore; /**< for exploration: 1 ... params.explore */
    float distance,
        surprise; /**< in usual deviations above the usual; what the factors come from */
};

/** `params` may be NULL: the defaults. */
void tarn_novelty_init(struct tarn_novelty *novelty, const struct tarn_novelty_params *params);
/** A sample, as it enters the ring or is drawn. */
void tarn_novelty_sample(struct tarn_novelty *novelty, const int8_t features[TARN_FEATURES]);
/** The loss of a launch or of held-out samples. NaN and infinities are ignored. */
void tarn_novelty_loss(struct tarn_novelty *novelty, float loss);
/** A drift was found elsewhere: the rate's factor is at its highest now, and falls as time goes by. */
void tarn_novelty_alarm(struct tarn_novelty *novelty);
struct tarn_novelty_factors tarn_novelty_factors(const struct tarn_novelty *novelty);

#endif
