/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Replaying a trace through caches: the baselines by name, and caches of other kinds (the learned
 * engine) behind a small table of functions; figures, a timeline, and the same as JSON.
 *
 * Thread-safety: a replay runs on the calling thread; several may share one trace.
 */
#ifndef TARN_SIM_REPLAY_H
#define TARN_SIM_REPLAY_H

#include <tarn/feedback.h>
#include <tarn/versions.h>

#include "baseline.h"

struct cJSON;

/** How large the cache is. */
struct tarn_replay_limit {
    const char *text;  /**< as it was asked for, such as "1%" */
    uint64_t capacity; /**< >= 1 */
    bool objects;      /**< in objects, else in bytes */
};

enum { TARN_REPLAY_BLEND_MAX = 16 };

/** What a cache that learns tells about itself. What is unknown: NaN, NULL, 0 entries, or -1. */
struct tarn_replay_stats {
    int64_t train_steps, swaps, rollbacks, model_bytes;
    char device[48];      /**< where it ran, such as "opencl:0"; "" if unknown */
    const char *workload; /**< lives as long as the program */
    double confidence;    /**< in [0, 1] */
    struct tarn_replay_blend {
        const char *name; /**< lives as long as the program */
        double share;
    } blend[TARN_REPLAY_BLEND_MAX];
    size_t blend_count;
    bool has_engine;
    struct tarn_engine_stats engine; /**< if `has_engine`; its `set` is NULL, see below */
    char set[TARN_SET_NAME];         /**< whose settings were in effect, "" if there are no sets */
    struct tarn_version_stats versions;
    struct tarn_feedback *feedback; /**< the result's; NULL: there was no memory for it */
};

/** What a cache that learns is told besides its limit. */
struct tarn_replay_learning {
    struct tarn_engine_params engine; /**< limits, background and seed are the replay's */
};

/** A cache of another kind than the baselines. */
struct tarn_replay_cache_ops {
    const char *name; /**< the policy's name */
    /** The trace is for its name and shape only. */
    tarn_status (*create)(const struct tarn_replay_learning *learning,
                          const struct tarn_trace_data *trace,
                          const struct tarn_replay_limit *limit, uint64_t seed, void **cache,
                          struct tarn_error *error);
    /**
     * Carries out one request; a get that misses stores the object. True: it was resident. With a
     * limit in objects the size is still the object's own.
     */
    bool (*access)(void *cache, const struct tarn_request *request);
    /** May be NULL: nothing to tell. `*stats` comes with everything unknown. */
    void (*stats)(void *cache, struct tarn_replay_stats *stats);
    void (*destroy)(void *cache);
};

/** The kinds besides the baselines that this build has, in the order of presentation; ends with
 * NULL. */
extern const struct tarn_replay_cache_ops *const tarn_replay_kinds[];

struct tarn_replay_params {
    /** Tried before the baselines; ends with NULL. NULL: tarn_replay_kinds. */
    const struct tarn_replay_cache_ops *const *kinds;
    struct tarn_replay_learning learning;
    struct tarn_run_params run; /**< `count_objects` is taken from the limit */
};

struct tarn_replay_result {
    char policy[32], size[32];
    uint64_t capacity;
    bool objects;
    struct tarn_run run;
    bool learned; /**< `stats` was filled */
    struct tarn_replay_stats stats;
};

/** True if `policy` is a baseline or one of the kinds. */
bool tarn_replay_known(const struct tarn_replay_params *params, const char *policy);

/**
 * TARN_INVALID, with a message for the person who asked, if not one object of the trace fits into
 * the limit.
 */
tarn_status tarn_replay_check_limit(const struct tarn_trace_data *trace,
                                    const struct tarn_replay_limit *limit,
                                    struct tarn_error *error);

/**
 * Replays the trace through one cache. `*result` is overwritten; after TARN_OK it is freed by
 * tarn_replay_result_clear(). TARN_NOT_FOUND: no such policy. TARN_INVALID: the limit is 0.
 * Otherwise what the cache's creation failed with.
 */
tarn_status tarn_replay_run(const struct tarn_trace_data *trace, const char *policy,
                            const struct tarn_replay_limit *limit,
                            const struct tarn_replay_params *params,
                            struct tarn_replay_result *result, struct tarn_error *error);
void tarn_replay_result_clear(struct tarn_replay_result *result);

/** Figures of a run; NaN where nothing was counted. */
double tarn_run_miss_ratio(const struct tarn_run *run);
double tarn_run_byte_miss_ratio(const struct tarn_run *run);
/** Of all that misses of all gets would have cost; and us a miss. NaN without costs in the trace. */
double tarn_run_miss_cost_ratio(const struct tarn_run *run);
double tarn_run_mean_miss_cost(const struct tarn_run *run);
double tarn_run_requests_per_second(const struct tarn_run *run);

/**
 * Share of the misses between `from` (LRU) and `to` (Belady) that `run` avoids: 1 is as good as
 * `to`, negative is worse than `from`. NaN where the two are equal or worse than a 10,000th apart.
 */
double tarn_run_gap_closed(const struct tarn_run *run, const struct tarn_run *from,
                           const struct tarn_run *to);

/** What decisions cost, as the object `feedback` of that; owned by the caller. NULL: no memory. */
struct cJSON *tarn_feedback_json(const struct tarn_feedback *feedback);

/** A result as the object that `tarn replay --json` prints, owned by the caller. NULL: no memory.
 */
struct cJSON *tarn_replay_result_json(const struct tarn_replay_result *result);

#endif
