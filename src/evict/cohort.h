/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Cohorts: objects that were accessed in the same short slice of time. How many of them came back
 * shows scans and loops while they happen. A ring of 4096 slices, 80 KiB; a slice is cleared when its
 * turn comes. Written by the live evictor only, read by its shadows. Not thread-safe.
 */
#ifndef TARN_EVICT_COHORT_H
#define TARN_EVICT_COHORT_H

#include <stdbool.h>
#include <stdint.h>

#define TARN_COHORT_SLICES 4096
#define TARN_COHORT_LATE   0xffffffu /* requests */

struct tarn_cohort {
    uint32_t accesses; /**< in this slice */
    uint32_t returned; /**< of its objects, how many were accessed again since */
    uint32_t first;    /**< accesses of objects without a known history */
    float recent;      /**< decayed count of returns */
    uint32_t touched;  /**< when `recent` was last brought up to date */
};

struct tarn_cohorts {
    uint32_t slice_length; /**< requests; set once before the first access */
    uint64_t slice;        /**< the current one, */
    uint64_t begin, end;   /**< and its requests: [begin, end) */
    struct tarn_cohort ring[TARN_COHORT_SLICES];
};

/** Slices of max(8, period / 64) requests; `now` is where time begins. */
void tarn_cohorts_init(struct tarn_cohorts *cohorts, uint32_t slice_length, uint64_t now);
/** Makes `now`'s slice the current one, clearing those that come into use. */
void tarn_cohorts_advance(struct tarn_cohorts *cohorts, uint64_t now);
/** Counts an access at `now`, of the current slice or not long before; `known`: its object's history is. */
void tarn_cohorts_access(struct tarn_cohorts *cohorts, uint64_t now, bool known);
/** Counts the return of an object whose last access was at `last`; `half_life` in requests. */
void tarn_cohorts_return(struct tarn_cohorts *cohorts, uint64_t last, uint64_t now,
                         float half_life);

/** Since `recent` was brought up to date; 0 for who looks at it late, as of a time shortly before that. */
static inline uint32_t tarn_cohort_elapsed(const struct tarn_cohort *cohort, uint32_t now)
{
    uint32_t elapsed = now - cohort->touched;
    return elapsed > UINT32_MAX - TARN_COHORT_LATE ? 0 : elapsed;
}

/** The number of the slice that holds `time`: its place in the ring modulo TARN_COHORT_SLICES. */
static inline uint64_t tarn_cohorts_slice(const struct tarn_cohorts *cohorts, uint64_t time)
{
    if (time >= cohorts->begin && time < cohorts->end)
        return cohorts->slice;
    /* most are a little before: dividing 32 bits is much quicker than 64 */
    uint64_t back = cohorts->begin - 1 - time;
    if (time < cohorts->begin && back <= UINT32_MAX)
        return cohorts->slice - 1 - (uint32_t)back / cohorts->slice_length;
    return time / cohorts->slice_length;
}

#endif
