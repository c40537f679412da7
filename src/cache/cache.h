/* SPDX-License-Identifier: Apache-2.0 */
/** @file The part of the cache that the engine wires: another policy, and sight of the index. */
#ifndef TARN_CACHE_CACHE_H
#define TARN_CACHE_CACHE_H

#include <tarn/cache.h>

#include "policy.h"

/** Makes the policy for a table; `context` is the caller's. */
typedef tarn_status (*tarn_policy_factory)(void *context, struct tarn_table *table,
                                           const struct tarn_capacity *capacity,
                                           struct tarn_policy *policy);

struct tarn_cache_hooks {
    tarn_policy_factory factory; /**< NULL: the policy of the parameters */
    void *factory_context;
    const struct tarn_memory_source *index_memory; /**< NULL: host memory; must outlive the cache */
    uint64_t first_request; /**< where the request count begins (tests of wrap-around) */
    uint64_t (*clock_ms)(void *context); /**< for TTLs; NULL: the monotonic clock */
    void *clock_context;
};

/** As tarn_cache_create(); `hooks` is copied, NULL is none. */
tarn_status tarn_cache_create_with(const struct tarn_cache_params *params,
                                   const struct tarn_cache_hooks *hooks, tarn_cache **cache);

/** The hash under which the cache files a key. */
uint64_t tarn_cache_hash(const void *key, size_t key_size);

/** Between lock and unlock the table, and so the index, stands still. */
void tarn_cache_lock(tarn_cache *cache);
void tarn_cache_unlock(tarn_cache *cache);
/** Under the lock. */
struct tarn_table *tarn_cache_table(tarn_cache *cache);
/** Lookups so far. Under the lock. */
uint64_t tarn_cache_now(const tarn_cache *cache);

/* ---- arms: a share of the key space with its own capacity and its own victims; all under the lock ---- */

/**
 * Begins to tell segments apart (a pure function of a key's hash, below TARN_TABLE_SEGMENTS). Nothing
 * else changes until tarn_cache_set_arms(). TARN_UNSUPPORTED: the policy can't.
 */
tarn_status tarn_cache_begin_arms(tarn_cache *cache, uint32_t (*segment)(uint64_t hash));
/** Works through at most `most` residents (some 50 ns each); false when there are none left. */
bool tarn_cache_prepare_arms(tarn_cache *cache, uint32_t most);
/**
 * The first `segments` (1 ... TARN_TABLE_SEGMENTS - 1) are the canary's arm from here on. It gets what it
 * uses now and `share` of what is free; the rest is the control's. Nothing is evicted by this, and nothing
 * that is in the cache changes; each arm then evicts its own objects for its own. Again with more segments
 * for the next step. TARN_BUSY: not all residents are prepared.
 */
tarn_status tarn_cache_set_arms(tarn_cache *cache, uint32_t segments, double share);
/** One capacity for all again; what is in the cache stays. */
void tarn_cache_end_arms(tarn_cache *cache);

/** Lookups since tarn_cache_begin_arms(), and what is used (prepared residents only), by segment. */
struct tarn_cache_segment {
    uint64_t gets, misses, used;
};
void tarn_cache_get_segments(const tarn_cache *cache,
                             struct tarn_cache_segment segment[TARN_TABLE_SEGMENTS]);

#endif
