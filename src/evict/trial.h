/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A candidate, the version it is held against and LRU, side by side in miniature caches on the same
 * hash-sampled keys (shadow.h): what a watch (src/deploy/watch.h) and a paired rollout are fed with. Each
 * network alone decides in its cache, with no heuristic beside it that would cover its faults.
 *
 * Both may run on between trials with the live model, so that they are warm: at a swap one of them becomes a
 * twin of the other with a model of its own (tarn_trial_twin()), which takes effect with its next victim.
 *
 * What it costs is bounded by the share of the keys: a request of a sampled key costs each of the three
 * about what a request costs the live cache, so that they take at most `most_cost` of its time at a share of
 * most_cost / 3. What the rounds of the live cache see and do isn't touched.
 *
 * Not thread-safe: under the cache's lock.
 */
#ifndef TARN_EVICT_TRIAL_H
#define TARN_EVICT_TRIAL_H

#include "shadow.h"

#define TARN_TRIAL_OBJECTS 1024 /* that each miniature cache aims at: docs/eviction.md says why */
#define TARN_TRIAL_LEAST   64   /* smaller ones tell nothing */

enum { TARN_TRIAL_CANDIDATE, TARN_TRIAL_BASE, TARN_TRIAL_MODELS };

/** Exact LRU over metadata. */
struct tarn_lru_shadow {
    struct tarn_table table;
    struct tarn_list list;
    struct tarn_capacity capacity;
};

/** Since the last take, over the same requests. */
struct tarn_trial_counts {
    uint64_t requests, misses, base_misses, lru_misses;
};

/** Since the last take of these: the cache itself beside LRU, whatever is tried. */
struct tarn_trial_own {
    uint64_t requests, misses, lru_misses;
};

struct tarn_trial {
    struct tarn_shadow shadow[TARN_TRIAL_MODELS];
    struct tarn_lru_shadow lru;
    struct tarn_trial_counts counts;
    struct tarn_trial_own own;
    uint64_t threshold; /**< keys whose mixed hash is below are sampled */
    float share;
    bool warm; /**< all three have been full: before, nothing is counted */
    /** Where misses are weighed by their cost: a lookup whose cost is known once it is stored. */
    struct {
        uint64_t hash;
        bool is, hit[TARN_TRIAL_MODELS], lru_hit;
    } open;
};

struct tarn_trial_params {
    struct tarn_world *world;
    const struct tarn_capacity *capacity; /**< of the live cache */
    double objects;                       /**< that the live cache holds, as far as is known */
    const struct tarn_bundle *candidate,
        *base;       /**< must outlive the trial; NULL: the live version */
    float most_cost; /**< of the live cache's time; 0: 0.15 */
    uint64_t seed;
};

/** Starts, empty. TARN_UNSUPPORTED: the cache is too small for this bound of the cost. TARN_NO_MEMORY. */
tarn_status tarn_trial_init(struct tarn_trial *trial, const struct tarn_trial_params *params);
/** Again is harmless. */
void tarn_trial_free(struct tarn_trial *trial);

/**
 * From here on `which` (TARN_TRIAL_CANDIDATE or _BASE) decides by `bundle`; NULL: by what is live, through
 * all swaps. Counts begin anew.
 */
void tarn_trial_set(struct tarn_trial *trial, int which, const struct tarn_bundle *bundle);
/**
 * The same, with what the other one holds, knows and will draw: all that tells them apart later comes from
 * their models (common random numbers), not from what they happened to hold. About 0.1 ms. Without memory for it
 * they go on as they are.
 */
void tarn_trial_twin(struct tarn_trial *trial, int which, const struct tarn_bundle *bundle);
bool tarn_trial_is_sampled(const struct tarn_trial *trial, uint64_t hash);
/** A lookup of a sampled key; `size` is meta.size where the live cache has it, or -1. */
void tarn_trial_get(struct tarn_trial *trial, uint64_t hash, int size, uint64_t now);
void tarn_trial_put(struct tarn_trial *trial, uint64_t hash, uint16_t size, uint64_t now);
void tarn_trial_delete(struct tarn_trial *trial, uint64_t hash, uint64_t now);
/** What was counted since the last call. */
struct tarn_trial_counts tarn_trial_take(struct tarn_trial *trial);
struct tarn_trial_own tarn_trial_take_own(struct tarn_trial *trial);
size_t tarn_trial_memory(const struct tarn_trial *trial);

#endif
