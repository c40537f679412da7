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

#endif
