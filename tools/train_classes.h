/* SPDX-License-Identifier: Apache-2.0 */
/** @file What train_classes learns from: generated workloads, and windows of traces. One thread. */
#ifndef TARN_TOOLS_TRAIN_CLASSES_H
#define TARN_TOOLS_TRAIN_CLASSES_H

#include "experts/train.h"

enum { LEAST_RUNS = 8 /* fewer leave nothing to keep aside */ };

/** What a stream looked like at one time, and how many requests were of each class since the time before. */
struct look {
    uint32_t requests;
    uint32_t now[TARN_WORKLOAD_PARTS];
    int8_t features[TARN_STREAM_FEATURES];
};

struct run {
    struct look *looks;
    uint32_t count, room;
    int name; /**< of a window: its class; what it consists of isn't known */
    char trace[64], source[64];
};

struct run_set {
    struct run *runs;
    uint32_t count;
};

/** The present and the whole have runs of their own, but for windows. */
struct corpus {
    struct run_set generated[2], named[2], windows;
};

/** All print a message if they fail. */
bool draw_runs(uint32_t count, uint64_t seed, struct run_set *set);
/** The generators by their names. */
bool draw_named(uint32_t count, uint64_t seed, struct run_set *set);
/** Windows of each trace, some with only some of the keys, some behind a small cache. */
bool cut_traces(const char *labels, char **paths, int count, struct run_set *set);
void free_runs(struct run_set *set);

struct sample_set {
    struct tarn_workload_sample
        *samples; /**< `count`, and `kept_count` that are kept aside behind them */
    size_t count, kept_count;
    struct tarn_workload_sample
        *named; /**< generators by name, and windows: sources even, and their traces */
    size_t named_count;
    uint32_t windows; /**< that they are from */
};

/**
 * Of the present, or, with `models`, of the whole by what these say; without the windows of the source `out`,
 * if it isn't NULL. `window_share` of those that are known by name are windows, if there are any. False: no memory.
 */
bool gather_samples(const struct corpus *corpus, const char *out, float window_share,
                    const struct tarn_workload_params *models, uint64_t seed,
                    struct sample_set *set);
void free_samples(struct sample_set *set);

#endif
