/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * One score of what several networks say of the same samples, on the host. Pure, any thread, no allocation.
 */
#ifndef TARN_KERNELS_MEMBERS_H
#define TARN_KERNELS_MEMBERS_H

#include <stddef.h>
#include <stdint.h>

#define TARN_MEMBERS_MOST 4

typedef enum tarn_members_how {
    TARN_MEMBERS_SCORES,    /**< the mean of their Gittins scores, by shares */
    TARN_MEMBERS_LOGITS,    /**< the score of the mean of their logits, by shares */
    TARN_MEMBERS_SURVIVAL,  /**< the score of the mixture of their distributions, by shares */
    TARN_MEMBERS_CONFIDENT, /**< the score of the one whose distribution has the least entropy */
} tarn_members_how;

/** What the members say of one lot of samples. */
struct tarn_members {
    tarn_members_how how;
    uint32_t members; /**< 1 ... TARN_MEMBERS_MOST */
    uint32_t bins;    /**< 1 ... TARN_MAX_BINS */
    const float
        *logits[TARN_MEMBERS_MOST]; /**< each as tarn_logits_host() leaves them: whole tiles */
    float share[TARN_MEMBERS_MOST]; /**< > 0; in any unit: they are divided by their sum */
};

/**
 * Scores of `count` samples. A member with a logit of a sample that isn't finite is left out of that
 * sample; where that leaves none, the score is a NaN.
 */
void tarn_members_host(const struct tarn_members *members, size_t count, float *scores);

#endif
