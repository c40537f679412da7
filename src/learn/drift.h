/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Drift of a stream of losses or miss ratios: has its level changed? Two detectors over the same
 * stream: ADWIN (Bifet and Gavaldà 2007), a window that is cut where its two parts differ, for steps;
 * and Page-Hinkley (Page 1954), a cumulative sum against the mean so far, for slow ramps.
 *
 * Neither assumption of these papers holds for a cache: losses have heavy tails and follow each other
 * closely. So values become ranks among TARN_DRIFT_REFERENCE earlier ones (bounded, whatever the tail),
 * means of `block` values are compared, and bounds use the long-run variance: the largest that
 * differences of neighbouring means of 2^k blocks show, k < TARN_DRIFT_LEVELS. A level shift adds one
 * difference to many and hides nothing.
 *
 * False alarms: on a stationary stream at most `false_alarms` per million values, warnings 100 times as
 * many. It is a union bound over all cuts and blocks (Bernstein's inequality for ADWIN; Siegmund's
 * formula for the run length of a cumulative sum, at half its margin because the mean is estimated),
 * as good as the estimate of the variance: for streams that forget within block 2^(LEVELS - 1) / 2
 * values (512 by default). A random walk is no stationary stream: it does alarm.
 *
 * Fixed memory (under 3 KiB), no allocation; one thread at a time.
 */
#ifndef TARN_LEARN_DRIFT_H
#define TARN_LEARN_DRIFT_H

#include <stdbool.h>
#include <stdint.h>

#define TARN_DRIFT_REFERENCE 128 /* values that the others are ranked among */
#define TARN_DRIFT_ROWS      24  /* bucket sizes 1, 2, 4 ... blocks: older ones fall out */
#define TARN_DRIFT_BUCKETS   5   /* of each size */
#define TARN_DRIFT_LEVELS    6   /* scales of the variance */

typedef enum tarn_drift {
    TARN_DRIFT_NONE,
    TARN_DRIFT_WARNING,
    TARN_DRIFT_FOUND, /**< it starts anew, from the values that follow */
} tarn_drift;

struct tarn_drift_params {
    uint32_t
        block; /**< values whose mean is one step; 0: 32. 1 for values that are means already */
    float false_alarms; /**< per million values at most; 0: 1 */
};

/** All fields are private but those said to be read. */
struct tarn_drift_detector {
    struct tarn_drift_params params;
    float log_alarm, log_warning;     /* of a cut's chance */
    float reach_alarm, reach_warning; /* of the cumulative sums, in standard deviations */

    float reference[TARN_DRIFT_REFERENCE]; /* sorted once it is full */
    uint32_t references;

    float sum; /* of the block's ranks so far */
    uint32_t in_block;

    float bucket[TARN_DRIFT_ROWS][TARN_DRIFT_BUCKETS + 1]; /* sums of 2^row means, oldest first */
    uint8_t buckets[TARN_DRIFT_ROWS];
    uint64_t blocks; /* in the window */
    double total;

    struct {
        float sum, before, square;
        uint32_t in_sum, means, differences;
    } level[TARN_DRIFT_LEVELS];

    double mean, up, down; /* Page-Hinkley's */
    uint64_t seen, up_since, down_since;

    float magnitude;
    uint64_t found, ignored; /**< drifts so far; values that were no numbers. To be read. */
};

/** `params` may be NULL: the defaults. */
void tarn_drift_init(struct tarn_drift_detector *detector, const struct tarn_drift_params *params);
/** Forgets what it has seen but its counts: after weights were restored, say. */
void tarn_drift_restart(struct tarn_drift_detector *detector);
/** The next value. NaN and infinities are ignored and counted. */
tarn_drift tarn_drift_feed(struct tarn_drift_detector *detector, float value);
/**
 * Of the last warning or drift: how much more often a new value lies above an old one than below it,
 * in [-1, 1] (Cliff's delta, approximately); positive when values rose. 0 if there was none.
 */
float tarn_drift_magnitude(const struct tarn_drift_detector *detector);

#endif
