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

struct tarn_cohort {
    uint32_t accesses; /**< in this slice */
    uint32_t returned; /**< of its objects, how many were accessed again since */
    uint32_t first;    /**< accesses of objects without a known history */
    float recent;      /**< decayed count of returns */
    uint32_t touched;  /**< when `recent` was last brought up to date */
};

struct tarn_cohorts {
    uint32_t slice_length; /**< requests; set once before the first access */
    uint64_t slice;        /**< the current one */
    struct tarn_cohort ring[TARN_COHORT_SLICES];
};

/** Slices of max(8, period / 64) requests; `now` is where time begins. */
void tarn_cohorts_init(struct tarn_cohorts *cohorts, uint32_t slice_length, uint64_t now);
/** Makes `now`'s slice the current one, clearing those that come into use. */
void tarn_cohorts_advance(struct tarn_cohorts *cohorts, uint64_t now);
/** Counts an access now; `known`: of an object whose history is known. */
void tarn_cohorts_access(struct tarn_cohorts *cohorts, bool known);
/** Counts the return of an object whose last access was at `last`; `half_life` in requests. */
void tarn_cohorts_return(struct tarn_cohorts *cohorts, uint64_t last, uint64_t now,
                         float half_life);

/** The number of the slice that holds `time`: its place in the ring modulo TARN_COHORT_SLICES. */
static inline uint64_t tarn_cohorts_slice(const struct tarn_cohorts *cohorts, uint64_t time)
{
    return time / cohorts->slice_length;
}

#endif
