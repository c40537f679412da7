/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A search for the set of a class (docs/sets.md): weights that were trained further from the general ones on the
 * first three fifths of each trace, with random settings, mask and schedule; successive halving
 * (Jamieson and Talwalkar 2016) on the misses in the fourth fifth, at one cache size and then at all; and
 * a verdict on the last fifth with other random numbers: the best one is kept if it misses less than the general
 * model by more than two standard errors.
 *
 * What the general model has nested in it (widths, early exit) is trained in the sets alike.
 *
 * Deterministic by its seed. On the calling thread, but for the collection of samples.
 */
#ifndef TARN_SIM_SEARCH_H
#define TARN_SIM_SEARCH_H

#include <stdbool.h>

#include <tarn/engine.h>

#include "trace/trace.h"

struct tarn_search_params {
    const tarn_model *general;         /**< what it starts from and is held against */
    struct tarn_set_settings settings; /**< the general set's */
    uint32_t trials;                   /**< 0: 12 */
    unsigned threads;                  /**< 0: 1 */
    uint64_t seed;
    tarn_device
        *device; /**< computes the steps; the caller's; NULL: the host. Replays run on the host */
    const char *provenance; /**< how the result's begins */
    /** Share done, in [0, 1]. May be NULL. */
    void (*progress)(void *user, double share);
    void *user;
};

/** What was tried. Misses are relative to the general model's on the same cells, less 1, on the mean. */
struct tarn_search_trial {
    struct tarn_set_settings settings;
    double first;  /**< at one size, in the fourth fifth */
    double second; /**< at all sizes there; NaN: it hadn't come so far */
};

enum { TARN_SEARCH_TRIALS = 64 };

struct tarn_search_result {
    struct tarn_search_trial
        trial[TARN_SEARCH_TRIALS]; /**< as they were drawn; the first is only trained further */
    uint32_t trials, best;
    double misses, error; /**< of the best one in the last fifth, and its standard error */
    uint32_t cells;       /**< that the verdict is about: traces, sizes and seeds */
    bool kept;
    tarn_model
        *model; /**< of the best one, owned; its provenance says what was tried and what won */
};

/** What a trace is taken for, by the classifier, at the end; `confidence` may be NULL. */
tarn_status tarn_search_classify(const struct tarn_trace_data *trace,
                                 const struct tarn_search_params *params,
                                 tarn_workload_class *class, double *confidence,
                                 struct tarn_error *error);
/** TARN_INVALID: the traces are too short. After TARN_OK the caller destroys result->model. */
tarn_status tarn_search_run(const struct tarn_trace_data *const *traces, size_t count,
                            const struct tarn_search_params *params,
                            struct tarn_search_result *result, struct tarn_error *error);

#endif
