/* SPDX-License-Identifier: Apache-2.0 */
/** @file A policy that does what a real one does and writes down what the cache told it. */
#ifndef TARN_TESTS_CACHE_SPY_H
#define TARN_TESTS_CACHE_SPY_H

#include "cache/cache.h"

struct spy {
    tarn_status (*create)(struct tarn_table *table, const struct tarn_capacity *capacity,
                          struct tarn_policy *policy);
    struct tarn_policy inner;
    struct tarn_table *table;
    const struct tarn_capacity *capacity;
    uint64_t now; /* of the last call */
    uint64_t hits, misses, inserts, updates, charge;
    int removals;
    struct {
        uint64_t hash;
        tarn_remove_reason reason;
    } removed[512]; /* since the test set `removals` to 0 */
};

static void spy_destroy(void *policy)
{
    struct spy *spy = policy;
    spy->inner.ops->destroy(spy->inner.self);
}

static void spy_hit(void *policy, uint32_t slot, uint64_t now)
{
    struct spy *spy = policy;
    spy->now = now;
    spy->hits++;
    spy->inner.ops->hit(spy->inner.self, slot, now);
}

static void spy_miss(void *policy, uint64_t hash, uint64_t now)
{
    struct spy *spy = policy;
    spy->now = now;
    spy->misses++;
    spy->inner.ops->miss(spy->inner.self, hash, now);
}

static void spy_insert(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct spy *spy = policy;
    spy->now = now;
    spy->inserts++;
    spy->charge = charge;
    CHECK(spy->capacity->used <= spy->capacity->limit);
    CHECK(tarn_table_is_resident(spy->table, slot) && *tarn_table_entry(spy->table, slot));
    spy->inner.ops->insert(spy->inner.self, slot, charge, now);
}

static void spy_update(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct spy *spy = policy;
    spy->now = now;
    spy->updates++;
    spy->charge = charge;
    spy->inner.ops->update(spy->inner.self, slot, charge, now);
}

static void spy_remove(void *policy, uint32_t slot, tarn_remove_reason reason, uint64_t now)
{
    struct spy *spy = policy;
    spy->now = now;
    CHECK(tarn_table_is_resident(spy->table, slot));
    if (spy->removals < 512) {
        spy->removed[spy->removals].hash = tarn_table_hash(spy->table, slot);
        spy->removed[spy->removals++].reason = reason;
    }
    spy->inner.ops->remove(spy->inner.self, slot, reason, now);
}

static uint32_t spy_victim(void *policy, uint64_t now)
{
    struct spy *spy = policy;
    CHECK(spy->table->count > 0);
    return spy->inner.ops->victim(spy->inner.self, now);
}

static const struct tarn_policy_ops spy_ops = {
    .name = "spy",
    .destroy = spy_destroy,
    .hit = spy_hit,
    .miss = spy_miss,
    .insert = spy_insert,
    .update = spy_update,
    .remove = spy_remove,
    .victim = spy_victim,
};

/** A tarn_policy_factory whose context is a struct spy with `create` set. */
static inline tarn_status spy_factory(void *context, struct tarn_table *table,
                                      const struct tarn_capacity *capacity,
                                      struct tarn_policy *policy)
{
    struct spy *spy = context;
    spy->table = table;
    spy->capacity = capacity;
    *policy = (struct tarn_policy){&spy_ops, spy};
    return spy->create(table, capacity, &spy->inner);
}

/** A clock_ms whose context is the time. */
static inline uint64_t spy_clock(void *context)
{
    return *(const uint64_t *)context;
}

#endif
