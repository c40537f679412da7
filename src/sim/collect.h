/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Training samples for a model: traces are replayed through the engine at several cache sizes, with
 * all keys and with a sample of them, by object and by byte; each candidate that was scored comes
 * back with what became of it (docs/eviction.md). Runs are independent: several threads share them,
 * and the result doesn't depend on how many.
 */
#ifndef TARN_SIM_COLLECT_H
#define TARN_SIM_COLLECT_H

#include <tarn/model.h>

#include "trace/trace.h"

struct tarn_collect_params {
    const tarn_model *model; /**< scores during the runs, and learns on; NULL: the built-in one */
    size_t samples;          /**< kept of one run at most, evenly thinned; 0: 60000 */
    unsigned threads;        /**< 0: 1 */
    uint64_t seed;
    /** Share done, in [0, 1]; called by one thread at a time. May be NULL. */
    void (*progress)(void *user, double share);
    void *user;
};

struct tarn_collected {
    struct tarn_model_run *runs;
    size_t run_count;
    uint64_t requests; /**< replayed in all */
    size_t samples;    /**< in all runs */
};

/**
 * Runs that give fewer than 1,000 samples are left out. The traces are read only. The caller frees the
 * result with tarn_collected_free(), after TARN_OK only.
 */
tarn_status tarn_collect(const struct tarn_trace_data *const *traces, size_t trace_count,
                         const struct tarn_collect_params *params, struct tarn_collected *collected,
                         struct tarn_error *error);
void tarn_collected_free(struct tarn_collected *collected);

#endif
