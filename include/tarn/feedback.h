/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What decisions cost, against what else could have been decided: for each class of workload and each
 * version of the model, as sums and as a time series (docs/workloads.md).
 *
 * The alternatives are the miniature caches that run beside the cache on a sampled share of the keys: one for
 * each expert alone, and LRU's. On the same keys the cache's own misses are counted, so that what all of
 * them must miss cancels. What a miss costs is 1, or with bytes as the goal the object's size in mean sizes.
 * Regret is what the cache's own misses cost more, for a sampled request, than those of the expert that
 * turned out best over that time; negative where the mix did better than each of them. A miniature cache
 * is right to about 0.5 % of its misses, so that a smaller regret says nothing.
 *
 * Thread-safety: a `struct tarn_feedback` is its holder's.
 */
#ifndef TARN_FEEDBACK_H
#define TARN_FEEDBACK_H

#include <tarn/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TARN_FEEDBACK_EXPERTS  TARN_ENGINE_EXPERTS
#define TARN_FEEDBACK_RECORDS  512
#define TARN_FEEDBACK_VERSIONS 32

/** Sums over some time. */
struct tarn_feedback_figures {
    uint64_t requests, misses; /**< lookups of the cache, of all keys, and those that missed */
    /* of the experts' keys, once their miniature caches are full */
    double sampled;                            /**< lookups */
    double cost;                               /**< of the cache's own misses */
    double expert_cost[TARN_FEEDBACK_EXPERTS]; /**< of each expert's alone */
    /* of the watch's keys, the same */
    double beside_lru; /**< lookups */
    double own_misses; /**< of the cache */
    double lru_misses; /**< of LRU */
};

/** A stretch of time. */
struct tarn_feedback_record {
    uint64_t end;                        /**< requests until then, over all starts */
    uint64_t version;                    /**< live at its end */
    tarn_workload_class workload;        /**< named at its end */
    float confidence;                    /**< of that name; 0: nothing is known */
    float weight[TARN_FEEDBACK_EXPERTS]; /**< the experts' say at its end */
    uint32_t swaps, rollbacks;           /**< since the record before */
    struct tarn_feedback_figures figures;
};

struct tarn_feedback_version {
    uint64_t version; /**< 0: all that are no longer told apart */
    struct tarn_feedback_figures by_class[TARN_WORKLOADS];
};

/** All that is known. */
struct tarn_feedback {
    char expert[TARN_FEEDBACK_EXPERTS][12]; /**< names of the experts; "" where there is none */
    struct tarn_feedback_figures by_class[TARN_WORKLOADS];
    uint64_t visits[TARN_WORKLOADS]; /**< times that the class was named anew */
    /** What the experts' weights follow from where this class is named (evict/mix.h): decayed costs. */
    double mix[TARN_WORKLOADS][TARN_FEEDBACK_EXPERTS];
    double mix_seen[TARN_WORKLOADS]; /**< sampled requests that went into it; 0: nothing is known */
    uint32_t version_count;
    struct tarn_feedback_version version[TARN_FEEDBACK_VERSIONS]; /**< the newest last */
    uint64_t span; /**< requests of a record, at least: doubled when there is no room */
    uint32_t record_count;
    struct tarn_feedback_record record[TARN_FEEDBACK_RECORDS]; /**< the oldest first */
};

/** Cost per sampled request above the best expert's alone; NaN where nothing was sampled. */
TARN_API double tarn_feedback_regret(const struct tarn_feedback_figures *figures);
/** Which expert that is: an index, or -1. */
TARN_API int tarn_feedback_best(const struct tarn_feedback_figures *figures);
/** Share of LRU's misses that the cache avoids, negative where it misses more; NaN where it isn't known. */
TARN_API double tarn_feedback_gain(const struct tarn_feedback_figures *figures);
/**
 * The sums of one class (TARN_WORKLOADS: of all) under one version (0: under all). Zeros where nothing is
 * known.
 */
TARN_API void tarn_feedback_sum(const struct tarn_feedback *feedback, tarn_workload_class workload,
                                uint64_t version, struct tarn_feedback_figures *sum);

/** A copy of what an engine knows, to be freed. Any thread. TARN_NO_MEMORY. */
TARN_API tarn_status tarn_engine_copy_feedback(tarn_engine *engine,
                                               struct tarn_feedback **feedback);
/**
 * What an engine has kept in its state folder; `path` is the folder or the file. Also while an engine uses
 * it. TARN_NOT_FOUND; TARN_CORRUPT: it is damaged or none.
 */
TARN_API tarn_status tarn_feedback_read(const char *path, struct tarn_feedback **feedback,
                                        struct tarn_error *error);
/** Accepts NULL. */
TARN_API void tarn_feedback_free(struct tarn_feedback **feedback);

#ifdef __cplusplus
}
#endif

#endif
