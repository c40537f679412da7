/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A rollout: a candidate governs a growing share of the key space, and each step is passed by a
 * sequential test. By the hash of its key an object is in one of four segments, always the same one (1 %,
 * 4 %, 20 % and 75 %: the arms of the steps are nested and sticky). The candidate's arm is the segments up
 * to the step's; the rest is the control, measured at the same time. Each arm has its own share of the
 * capacity and its own victims (src/evict/learned.h), or a model that inflates its scores would take room
 * from the other.
 *
 * At step k two e-values are kept (evalue.h), over blocks of requests of the arm:
 * - x = misses - control's misses (both per request): evidence that the candidate misses more. At 1 / alpha
 *   it is rejected.
 * - y = (1 + margin_k) control's - misses: evidence that it doesn't miss more by margin_k. At 1 / beta the
 *   step is passed.
 * So that P(a candidate that misses as much or less is ever rejected) <= steps * alpha, and P(one that
 * misses more by the last step's margin or above goes live) <= beta. A step that is neither after its
 * limit of blocks is a timeout: the live one stays, nothing is held against the candidate.
 *
 * The margins of the first steps are wide, because what a step can cost is its share times its margin,
 * and because the number of requests for a margin m grows as 1 / m^2.
 *
 * Keys of two arms differ, so do their miss ratios, whatever the model: before the first step the live
 * model governs both, and the ratio of the two is measured until it is known well enough (its standard
 * error, from batch means, times 2 is a quarter of the margin). The remaining doubt is given to the other
 * side in both tests. Where the control is a metadata-only twin on the same keys (paired), there is
 * nothing to calibrate, and the noise that both share is gone: much fewer requests do.
 *
 * Pure: counters in, verdicts out. One thread at a time.
 */
#ifndef TARN_DEPLOY_CANARY_H
#define TARN_DEPLOY_CANARY_H

#include <stdbool.h>
#include <stdint.h>

#include <tarn/status.h>

#include "evalue.h"

#define TARN_ROLLOUT_STEPS 3 /* before it governs all */

typedef enum tarn_rollout_verdict {
    TARN_ROLLOUT_CONTINUE,
    TARN_ROLLOUT_ADVANCE, /**< the next segment is the candidate's from here on */
    TARN_ROLLOUT_LIVE,    /**< all steps are passed: it may be swapped in */
    TARN_ROLLOUT_REJECT,  /**< it misses more */
    TARN_ROLLOUT_TIMEOUT, /**< not told apart within the limit */
} tarn_rollout_verdict;

struct tarn_rollout_params {
    double alpha; /**< of a false rejection in all steps together; 0: 0.01 */
    double beta;  /**< of letting one pass that is worse by the margin; 0: 0.02 */
    double margin[TARN_ROLLOUT_STEPS]; /**< relative; 0: 0.16, 0.06, 0.02 */
    uint32_t block; /**< requests of the arm; 0: 256. Long against what lingers in a miss ratio */
    uint32_t limit; /**< blocks of a step at most, and of the calibration; 0: 8192 */
    /**
     * Requests of the arm, at the beginning of each step, that don't speak for the candidate, because its
     * arm still holds what the live model left there: twice the arm's objects. They may speak against it.
     */
    uint64_t settle;
    /**
     * Blocks of the smallest arm after which calibration ends, known well enough or not: what doubt is left
     * then is given to the other side. Such a test may be too weak to pass a step, and still tells a
     * disaster. 0: it goes on until it is known.
     */
    uint32_t calibration;
    bool paired; /**< the control is measured on the same requests */
};

/** What an arm and its control did since the last call. */
struct tarn_rollout_counts {
    uint64_t requests, misses;
    uint64_t control_requests, control_misses;
};

/** A step's figures: A/B. */
struct tarn_rollout_arm {
    struct tarn_rollout_counts total, block;
    struct tarn_evalue worse, passed;
    uint32_t blocks;
    double seen; /**< sum over blocks of what the control says that the arm should miss */
    /* while calibrating: sums over blocks of the two ratios, their squares and their product */
    double sum_t, sum_c, sum_tt, sum_cc, sum_tc;
    double ratio; /**< arm's misses over the control's under one model */
    double doubt; /**< relative: two standard errors */
};

struct tarn_rollout {
    struct tarn_rollout_params params;
    struct tarn_rollout_arm arm[TARN_ROLLOUT_STEPS];
    uint32_t step;
    bool calibrating;
    tarn_rollout_verdict verdict;
};

/** TARN_INVALID: a probability or margin outside (0, 1). */
tarn_status tarn_rollout_init(struct tarn_rollout *rollout,
                              const struct tarn_rollout_params *params);

/** The segment of a key, 0 ... TARN_ROLLOUT_STEPS; the last is the control's in each step. */
uint32_t tarn_rollout_segment(uint64_t hash);
/** The share of the key space that step `step` governs: 0.01, 0.05, 0.25, then 1. */
double tarn_rollout_share(uint32_t step);
/** True if the candidate governs this key now. */
bool tarn_rollout_governs(const struct tarn_rollout *rollout, uint64_t hash);

/**
 * Counts of all steps' arms since the last call, while it calibrates: counts[k] is of segments 0 ... k
 * and of the others. Later only counts[step] is read. Fed as often as one likes; blocks are cut here. A
 * verdict other than CONTINUE and ADVANCE is final.
 */
tarn_rollout_verdict tarn_rollout_feed(struct tarn_rollout *rollout,
                                       const struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS]);

/**
 * A step is passed on other evidence, also one that has timed out: the next one begins, as after
 * TARN_ROLLOUT_ADVANCE or _LIVE. Not while it calibrates, nor after a rejection.
 */
tarn_rollout_verdict tarn_rollout_advance(struct tarn_rollout *rollout);

/** Misses of the arm over those of its control, the calibration taken out; 1: alike. 0: not known yet. */
double tarn_rollout_relative(const struct tarn_rollout *rollout, uint32_t step);
const char *tarn_rollout_text(tarn_rollout_verdict verdict);

#endif
