/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The baseline eviction policies that a learned cache is compared with, simulated over the dense
 * object numbers of a trace in memory: `lru fifo clock slru arc lfu sieve s3fifo wtinylfu gdsf lhd
 * belady`. Each policy's file says which publication it follows and with which parameters.
 *
 * Rules that all share:
 * - The limit is in bytes (or in objects, if asked for): the sizes of the residents never sum up to
 * more than it. Unit sizes are the same code with a size of 1. An object larger than the limit is a
 * miss and never admitted.
 * - A get that misses admits the object. A hit keeps the size that the object came in with (as
 *   libCacheSim does).
 * - A put of a resident with the same size is a hit to the policy; with another size it is a delete
 *   and an insertion. A put of an absent object is an insertion. A delete removes a resident.
 * - Only gets count in miss ratios.
 * - Runs are deterministic: what is random is seeded.
 *
 * Thread-safety: a baseline belongs to one thread; several may share one trace.
 */
#ifndef TARN_SIM_BASELINE_H
#define TARN_SIM_BASELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#include "trace/trace.h"

/** The name of the `index`th policy in the order of presentation; NULL behind the last. */
const char *tarn_baseline_name(size_t index);
/** True if there is a policy of this name. */
bool tarn_baseline_known(const char *name);

/** One window of a run: the gets among the requests since the last window's end. */
struct tarn_window {
    uint64_t end;  /**< requests up to here, counted from 1 */
    uint64_t gets; /**< in this window */
    uint64_t misses;
};

/** What a run counted. */
struct tarn_run {
    uint64_t requests;
    uint64_t gets, misses;
    uint64_t get_bytes, miss_bytes;
    double get_cost, miss_cost; /**< us, of gets whose cost is known, and of those that missed */
    uint64_t cost_misses;       /**< of these */
    uint64_t wall_ns, cpu_ns;   /**< of the request loop; CPU time of the whole process */
    struct tarn_window
        *windows; /**< [window_count], freed by tarn_run_clear(); NULL if none asked */
    size_t window_count;
};
/** A get of this cost (us; 0: not known, which counts nowhere) joins the run's sums. */
static inline void tarn_run_add_cost(struct tarn_run *run, float cost, bool hit)
{
    if (!(cost > 0))
        return;
    run->get_cost += (double)cost;
    run->miss_cost += hit ? 0 : (double)cost;
    run->cost_misses += !hit;
}
/** Frees what a run holds and zeroes it. */
void tarn_run_clear(struct tarn_run *run);

/** What a run is asked for; all zero is fine. */
struct tarn_run_params {
    bool count_objects; /**< the limit is in objects: every object counts 1 */
    size_t windows;     /**< how many windows of equal length to record; 0: none */
    uint64_t seed;
    bool weigh_costs; /**< gdsf: by what a miss costs, where the trace says so */
    /** Called at the end of each window with the requests done; may be NULL. */
    void (*progress)(void *user, uint64_t done);
    void *user;
};

/**
 * Runs the policy `name` over the whole trace with a limit of `capacity` (>= 1). TARN_NOT_FOUND for
 * an unknown name, TARN_INVALID for a capacity of 0, TARN_NO_MEMORY. `*run` is overwritten, and to
 * be cleared by the caller after success.
 */
tarn_status tarn_baseline_run(const char *name, const struct tarn_trace_data *trace,
                              uint64_t capacity, const struct tarn_run_params *params,
                              struct tarn_run *run, struct tarn_error *error);

/** The same, step by step; of the parameters only `count_objects`, `weigh_costs` and `seed`. The trace must
 * outlive it. */
typedef struct tarn_baseline tarn_baseline;
tarn_status tarn_baseline_create(const char *name, const struct tarn_trace_data *trace,
                                 uint64_t capacity, const struct tarn_run_params *params,
                                 tarn_baseline **baseline, struct tarn_error *error);
void tarn_baseline_destroy(tarn_baseline **baseline);
/** Carries out request `index` of the trace (in order, from 0). True: the object was resident. */
bool tarn_baseline_access(tarn_baseline *baseline, uint32_t index);
/** Sum of the sizes of the residents, or their number where objects are counted. */
uint64_t tarn_baseline_used(const tarn_baseline *baseline);

#endif
