/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Versions of an engine's model: what is live, how another takes its place, and the way back.
 *
 * Each step of training that passes its gate is a version of its own; a model from elsewhere takes a rollout
 * before it governs all (docs/deploy.md). Whatever goes live is watched, and left again if it misses more
 * than what was there before. Nothing here makes a request wait: an eviction round sees one version from
 * end to end, the next round the newest.
 *
 * Thread-safety: any thread. None of these waits for what is kept in state_dir; while a device is being opened
 * or closed (one that hangs, say), they wait for that.
 */
#ifndef TARN_VERSIONS_H
#define TARN_VERSIONS_H

#include <tarn/engine.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A model from elsewhere, copied, is to be tried: beside the live one in miniature caches and on 1, 5 and
 * 25 % of the keys; it goes live once it has proved to miss no more, and is turned away if it misses more.
 * That takes some 500,000 requests; meanwhile learning goes on.
 * TARN_INVALID: another shape, or a weight is no number. TARN_BUSY: another model is being tried, or a
 * version is pinned. TARN_COOLDOWN: one like it failed not long ago.
 */
TARN_API tarn_status tarn_engine_offer_model(tarn_engine *engine, const tarn_model *model,
                                             struct tarn_error *error);
/**
 * The same without trying: live from the next eviction round on, and only watched. `*version` (may be NULL)
 * is its number. Errors as above, but for a model that is being tried: that is given up.
 */
TARN_API tarn_status tarn_engine_swap_model(tarn_engine *engine, const tarn_model *model,
                                            uint64_t *version, struct tarn_error *error);
/**
 * Back to a version that is still kept; 0: the nearest ancestor of the live one that hasn't failed. What the
 * cache holds, training's samples and moments stay. `failed`: the live one is bad, and one like it waits.
 * `*version` (may be NULL): the one that is live. TARN_NOT_FOUND; TARN_BUSY: a version is pinned.
 */
TARN_API tarn_status tarn_engine_roll_back(tarn_engine *engine, uint64_t target, bool failed,
                                           uint64_t *version, struct tarn_error *error);
/**
 * A kept version (0: the live one) is live and stays so until tarn_engine_unpin(), or until the engine ends.
 * Training goes on beside it. TARN_NOT_FOUND.
 */
TARN_API tarn_status tarn_engine_pin(tarn_engine *engine, uint64_t version,
                                     struct tarn_error *error);
/** TARN_NOT_FOUND: nothing is pinned. */
TARN_API tarn_status tarn_engine_unpin(tarn_engine *engine, struct tarn_error *error);

#define TARN_ROLLOUT_ARMS 3

/** One step of a rollout, A/B. Ratios are NaN before anything was counted. */
struct tarn_arm_stats {
    double share;                          /**< of the key space */
    uint64_t requests, control_requests;   /**< of its keys, and of all others meanwhile */
    double miss_ratio, control_miss_ratio; /**< as they are: other keys, so other levels */
};

struct tarn_version_stats {
    uint64_t live, parent, pinned;       /**< versions; 0: none */
    uint64_t swaps, rollbacks, rejected; /**< of all starts that the history knows */
    uint64_t minted;       /**< candidates that training has offered since the start: */
    uint64_t kept_out;     /**< those that the gate kept out, */
    uint64_t shortened;    /**< and those that it let in for a part of the way */
    float loss, loss_live; /**< of the last candidate and of the live one, held out */
    char gate[96];         /**< what the gate said last; "" before */
    /* a model that is being tried */
    const char *rollout;                          /**< "shadow", "calibration", "canary", or NULL */
    uint32_t rollout_step;                        /**< of a canary, 0 ... TARN_ROLLOUT_ARMS - 1 */
    struct tarn_arm_stats arm[TARN_ROLLOUT_ARMS]; /**< of this rollout, or of the last one */
    /** On the live version's own candidates: the share of victims that both would choose, and what the
     * live version expects the other's to cost more, over the mean of all. NaN before anything was seen. */
    double agreement, expected_regret;
    char rollout_end[96]; /**< how the last one ended; "" before */
    /* the watch; requests of the miniature caches */
    uint64_t watched, watch_length;                     /**< 0 and 0: no watch */
    double miss_ratio, base_miss_ratio, lru_miss_ratio; /**< NaN before anything was counted */
    const char *unwatched; /**< why there is no watch: "the cache is too small", ...; or NULL */
    float shadow_share;    /**< of requests that miniature caches see, all added up */
    uint64_t memory;       /**< bytes of versions kept */
};
TARN_API void tarn_engine_get_versions(tarn_engine *engine, struct tarn_version_stats *stats);

/** What became of a version. */
struct tarn_version_event {
    uint64_t version, parent; /**< see docs/history-format.md */
    const char *what, *why;   /**< static text */
    bool failed;
    uint64_t requests; /**< counted over all starts */
    int64_t unix_ms;   /**< the clock on the wall, whatever it said; 0: not known */
    float loss;        /**< on held-out samples; NaN where it wasn't measured */
    float miss_ratio;  /**< of its miniature cache; the same */
    char text[96];
};
/** The newest `room` events, newest first; returns how many were written. */
TARN_API size_t tarn_engine_get_history(tarn_engine *engine, struct tarn_version_event *events,
                                        size_t room);

/**
 * The same from an engine's state folder, or from a history file: also while an engine uses it. `*count`:
 * how many were written. TARN_NOT_FOUND; TARN_CORRUPT: it is no history.
 */
TARN_API tarn_status tarn_versions_read_history(const char *path, struct tarn_version_event *events,
                                                size_t room, size_t *count,
                                                struct tarn_error *error);

#ifdef __cplusplus
}
#endif

#endif
