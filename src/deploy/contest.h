/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Which of several ways to decide misses least: the champion meets one challenger after the other, in turn, on the
 * same requests (two miniature caches, src/evict/trial.h). Two e-values over blocks of requests (evalue.h), which
 * may be looked at as often as one likes: at 1 / alpha that the challenger misses less it is the champion, at
 * 1 / alpha that it misses more, or after so many blocks without either, the next one comes. So that an equally good
 * challenger wins with a probability of at most alpha.
 *
 * What is told apart: by simulation (unit_deploy_contest), a hundredth fewer misses takes some ten
 * thousand of these requests where one in a hundred is answered otherwise by chance. Smaller differences
 * mostly aren't seen, and then the champion stays, which is why the cheapest way should be the first one.
 *
 * Pure; one thread at a time.
 */
#ifndef TARN_DEPLOY_CONTEST_H
#define TARN_DEPLOY_CONTEST_H

#include <stdbool.h>
#include <stdint.h>

#include "evalue.h"

typedef enum tarn_contest_verdict {
    TARN_CONTEST_GOES_ON,
    TARN_CONTEST_NEXT, /**< the champion stays; another challenger begins */
    TARN_CONTEST_WON,  /**< the challenger is the champion; another challenger begins */
} tarn_contest_verdict;

struct tarn_contest_params {
    uint32_t kinds;    /**< ways there are, 2 or more: 0 ... kinds - 1 */
    uint32_t champion; /**< to begin with */
    double alpha;      /**< of one challenge; 0: 0.02 */
    double notice;     /**< the relative difference to be noticed; 0: 0.01 */
    uint32_t block;    /**< requests; 0: 256 */
    uint32_t limit;    /**< blocks of one challenge; 0: 128 */
};

/** Since the last call, over the same requests. */
struct tarn_contest_counts {
    uint64_t requests, misses, champion_misses;
};

struct tarn_contest {
    struct tarn_contest_params params;
    uint32_t champion, challenger;
    struct tarn_evalue better, worse;
    struct tarn_contest_counts total, block; /**< of this challenge */
    uint32_t blocks;
    uint64_t challenges, won; /**< that are over */
};

void tarn_contest_init(struct tarn_contest *contest, const struct tarn_contest_params *params);
/** Fed as often as one likes: blocks are cut here. Other counts than of this challenge must not be among them. */
tarn_contest_verdict tarn_contest_feed(struct tarn_contest *contest,
                                       const struct tarn_contest_counts *counts);
/** Another is the champion for a reason of its own: the challenge begins anew. */
void tarn_contest_set(struct tarn_contest *contest, uint32_t champion);

#endif
