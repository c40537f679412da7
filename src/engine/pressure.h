/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How much is to be given up under load: a level from 0 (nothing) on, from what the policy's part of requests
 * takes against a budget. Above the budget it rises a level at a time, at most one a second; it falls when the
 * next lower level would have stayed under the budget's lower mark for a while. A level that was fallen to in vain
 * (it had to rise again soon) waits twice as long the next time, up to a minute.
 *
 * Pure but for its memory; the caller's clock; one thread at a time.
 */
#ifndef TARN_ENGINE_PRESSURE_H
#define TARN_ENGINE_PRESSURE_H

#include <stdbool.h>
#include <stdint.h>

/** 0 is the default, in brackets. */
struct tarn_pressure_params {
    uint32_t levels;   /**< beyond 0: the highest one */
    double budget;     /**< of one core's time that the policy's part of requests may take [0.5] */
    double low;        /**< part of the budget that it falls under [0.5] */
    uint64_t rise_ns;  /**< from one rise to the next, at least [1 s] */
    uint64_t dwell_ns; /**< under the mark for so long before it falls a level [5 s] */
};

struct tarn_pressure_sample {
    uint64_t now_ns;   /**< any clock; one that runs backwards begins the waiting anew */
    uint64_t requests; /**< so far */
    double policy_ns;  /**< CPU time of the policy a request, at present; NaN: not known */
    bool strained;     /**< the board is hot or has no CPU time left: half of the budget */
};

/** All zeros but for the parameters at first. */
struct tarn_pressure {
    struct tarn_pressure_params params;
    uint32_t level;
    uint32_t changes;
    double load; /**< share of a core, smoothed */
    double rate; /**< requests a second, at the last sample */
    bool begun, under;
    uint64_t seen_ns, seen_requests, changed_ns, under_ns;
    uint64_t dwell_ns; /**< as it is now */
    bool fell;         /**< the last change was down */
};

void tarn_pressure_init(struct tarn_pressure *pressure, const struct tarn_pressure_params *params);
/** True if the level has changed. Samples nearer than 50 ms to the last are left for later. */
bool tarn_pressure_feed(struct tarn_pressure *pressure, const struct tarn_pressure_sample *sample);

#endif
