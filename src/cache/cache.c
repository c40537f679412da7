/* SPDX-License-Identifier: Apache-2.0 */
#include "cache.h"

#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "store.h"

#define MOST_EXPECTED 16777216 /* objects to make room for at once; more are added as they come */
#define MOST_LIMIT    ((uint64_t)1 << 62)
/* Random residents looked at, so that memory of expired ones comes back: beside each put, ... */
#define PROBES_A_PUT 4
/* ... and before anything alive is evicted; as few as the least while none of them had expired. */
#define MOST_PROBES  16
#define LEAST_PROBES 2

struct tarn_cache {
    pthread_mutex_t lock;
    struct tarn_table table;
    struct tarn_capacity capacity;
    uint64_t most_objects; /* UINT64_MAX: no such limit */
    struct tarn_policy policy;
    tarn_store *store;
    uint64_t now;    /* lookups */
    uint32_t mortal; /* residents with a time to live */
    uint32_t probes; /* that the search for expired ones spends on a victim now */
    struct tarn_rng rng;
    uint64_t (*clock_ms)(void *context);
    void *clock_context;
    struct tarn_cache_segment segment[TARN_TABLE_SEGMENTS]; /* zeros unless there are arms */
    uint64_t charged, gets, hits, puts, deletes, evictions, expirations, rejected;
};

static uint64_t monotonic_ms(void *context)
{
    (void)context;
    return tarn_clock_ns() / 1000000;
}

static tarn_status builtin_policy(tarn_cache_policy which, struct tarn_table *table,
                                  const struct tarn_capacity *capacity, struct tarn_policy *policy)
{
    switch (which) {
    case TARN_CACHE_LRU:
        return tarn_policy_lru_create(table, capacity, policy);
    case TARN_CACHE_S3FIFO:
        return tarn_policy_s3fifo_create(table, capacity, policy);
    }
    return TARN_INVALID;
}

static void set_limits(tarn_cache *cache, const struct tarn_cache_params *params)
{
    cache->capacity.bytes = params->memory > 0;
    cache->capacity.limit = params->memory ? params->memory : params->objects;
    /* so that the sum of two never overflows; nobody has as much */
    if (cache->capacity.limit > MOST_LIMIT)
        cache->capacity.limit = MOST_LIMIT;
    cache->most_objects = params->objects ? params->objects : UINT64_MAX;
}

tarn_status tarn_cache_create_with(const struct tarn_cache_params *params,
                                   const struct tarn_cache_hooks *hooks, tarn_cache **cache)
{
    static const struct tarn_cache_hooks no_hooks;
    tarn_status status;
    if (!cache)
        return TARN_INVALID;
    *cache = NULL;
    if (!params || (!params->memory && !params->objects))
        return TARN_INVALID;
    hooks = hooks ? hooks : &no_hooks;
    tarn_cache *made = tarn_alloc_zeroed(1, sizeof *made);
    if (!made)
        return TARN_NO_MEMORY;
    if (pthread_mutex_init(&made->lock, NULL) != 0) {
        tarn_free(made);
        return TARN_NO_MEMORY;
    }
    set_limits(made, params);
    made->probes = MOST_PROBES;
    made->now = hooks->first_request;
    made->clock_ms = hooks->clock_ms ? hooks->clock_ms : monotonic_ms;
    made->clock_context = hooks->clock_context;
    tarn_rng_seed(&made->rng, params->seed);
    /* a limit in bytes doesn't tell how many objects there will be */
    size_t expected = params->objects < MOST_EXPECTED ? (size_t)params->objects : MOST_EXPECTED;
    status = tarn_table_init(&made->table, expected, hooks->index_memory);
    if (status != TARN_OK)
        goto fail;
    status = tarn_store_create(&made->store);
    if (status != TARN_OK)
        goto fail;
    status =
        hooks->factory
            ? hooks->factory(hooks->factory_context, &made->table, &made->capacity, &made->policy)
            : builtin_policy(params->policy, &made->table, &made->capacity, &made->policy);
    if (status != TARN_OK)
        goto fail;
    *cache = made;
    return TARN_OK;
fail:
    tarn_cache_destroy(&made);
    return status;
}

tarn_status tarn_cache_create(const struct tarn_cache_params *params, tarn_cache **cache)
{
    return tarn_cache_create_with(params, NULL, cache);
}

void tarn_cache_destroy(tarn_cache **cache)
{
    if (!cache || !*cache)
        return;
    tarn_cache *gone = *cache;
    if (gone->policy.ops)
        gone->policy.ops->destroy(gone->policy.self);
    for (uint32_t i = 0; i < gone->table.count; i++)
        tarn_store_free(gone->store,
                        *tarn_table_entry(&gone->table, tarn_table_resident(&gone->table, i)));
    tarn_store_destroy(&gone->store);
    tarn_table_free(&gone->table);
    pthread_mutex_destroy(&gone->lock);
    tarn_free(gone);
    *cache = NULL;
}

uint64_t tarn_cache_hash(const void *key, size_t key_size)
{
    return tarn_hash(key, key_size);
}

void tarn_cache_lock(tarn_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
}

void tarn_cache_unlock(tarn_cache *cache)
{
    pthread_mutex_unlock(&cache->lock);
}

struct tarn_table *tarn_cache_table(tarn_cache *cache)
{
    return &cache->table;
}

uint64_t tarn_cache_now(const tarn_cache *cache)
{
    return cache->now;
}

/* A key as it is looked for. */
struct sought {
    const struct tarn_table *table;
    const void *key;
    size_t key_size;
    uint64_t hash;
};

static bool valid_key(const void *key, size_t key_size)
{
    return key && key_size > 0 && key_size <= TARN_KEY_MAX;
}

static struct sought make_sought(const tarn_cache *cache, const void *key, size_t key_size)
{
    return (struct sought){&cache->table, key, key_size, tarn_cache_hash(key, key_size)};
}

static struct tarn_entry *entry_of(const tarn_cache *cache, uint32_t slot)
{
    return *tarn_table_entry(&cache->table, slot);
}

static bool same_key(void *context, uint32_t slot)
{
    const struct sought *sought = context;
    const struct tarn_entry *entry = *tarn_table_entry(sought->table, slot);
    return entry->key_size == sought->key_size &&
           memcmp(entry->bytes, sought->key, sought->key_size) == 0;
}

static uint32_t find_slot(const tarn_cache *cache, struct sought *sought, uint32_t hint)
{
    /* a slot out of use has no entry */
    if (hint < cache->table.slots && entry_of(cache, hint) && same_key(sought, hint))
        return hint;
    return tarn_index_find(cache->table.index, sought->hash, same_key, sought);
}

static uint64_t cost_of(const tarn_cache *cache, uint64_t charge)
{
    return cache->capacity.bytes ? charge : 1;
}

static uint64_t clock_ms(const tarn_cache *cache)
{
    return cache->clock_ms(cache->clock_context);
}

static bool is_expired(const tarn_cache *cache, const struct tarn_entry *entry)
{
    return entry->expires_ms && entry->expires_ms <= clock_ms(cache);
}

static void set_expiry(tarn_cache *cache, uint32_t slot, uint64_t ttl_ms)
{
    struct tarn_entry *entry = entry_of(cache, slot);
    cache->mortal -= entry->expires_ms != 0;
    entry->expires_ms = 0;
    if (ttl_ms) {
        uint64_t start = clock_ms(cache);
        entry->expires_ms = ttl_ms < UINT64_MAX - start ? start + ttl_ms : UINT64_MAX;
        cache->mortal++;
    }
    uint64_t second = entry->expires_ms / 1000 + (entry->expires_ms % 1000 != 0);
    tarn_table_meta(&cache->table, slot)->expires =
        (uint32_t)(second < UINT32_MAX ? second : UINT32_MAX);
}

static tarn_arm arm_of(const tarn_cache *cache, uint64_t hash)
{
    return cache->table.segment(hash) < cache->capacity.arm_segments ? TARN_ARM_CANARY
                                                                     : TARN_ARM_CONTROL;
}

/* What a segment and its arm use; unsigned numbers wrap, so that -cost takes away. */
static void count_segment(tarn_cache *cache, uint32_t slot, uint64_t cost)
{
    if (!cache->table.segment ||
        tarn_table_meta(&cache->table, slot)->position >= tarn_table_grouped(&cache->table))
        return;
    uint64_t hash = tarn_table_hash(&cache->table, slot);
    cache->segment[cache->table.segment(hash)].used += cost;
    if (cache->capacity.arm_segments > 0)
        cache->capacity.arm_used[arm_of(cache, hash)] += cost;
}

/* Takes a resident out of the sums, or adds one. */
static void count_out(tarn_cache *cache, uint32_t slot)
{
    const struct tarn_entry *entry = entry_of(cache, slot);
    count_segment(cache, slot, 0 - cost_of(cache, entry->charge));
    cache->capacity.used -= cost_of(cache, entry->charge);
    cache->charged -= entry->charge;
    cache->mortal -= entry->expires_ms != 0;
}

static void count_in(tarn_cache *cache, uint32_t slot)
{
    const struct tarn_entry *entry = entry_of(cache, slot);
    count_segment(cache, slot, cost_of(cache, entry->charge));
    cache->capacity.used += cost_of(cache, entry->charge);
    cache->charged += entry->charge;
}

static void remove_slot(tarn_cache *cache, uint32_t slot, tarn_remove_reason reason)
{
    struct tarn_entry *entry = entry_of(cache, slot);
    cache->evictions += reason == TARN_REMOVE_EVICTED;
    cache->expirations += reason == TARN_REMOVE_EXPIRED;
    cache->policy.ops->remove(cache->policy.self, slot, reason, cache->now);
    count_out(cache, slot);
    tarn_store_free(cache->store, entry);
    *tarn_table_entry(&cache->table, slot) = NULL;
    tarn_table_remove(&cache->table, slot);
}

/* The slot of a key that is there and alive, or TARN_NONE; one found dead is buried. */
static uint32_t find_alive(tarn_cache *cache, struct sought *sought, uint32_t hint)
{
    uint32_t slot = find_slot(cache, sought, hint);
    if (slot != TARN_NONE && is_expired(cache, entry_of(cache, slot))) {
        remove_slot(cache, slot, TARN_REMOVE_EXPIRED);
        return TARN_NONE;
    }
    return slot;
}

tarn_status tarn_cache_get_at(tarn_cache *cache, const void *key, size_t key_size, uint32_t hint,
                              void *value, size_t *value_size)
{
    if (!cache || !valid_key(key, key_size) || !value_size || (!value && *value_size > 0))
        return TARN_INVALID;
    struct sought sought = make_sought(cache, key, key_size);
    tarn_status status = TARN_OK;
    tarn_cache_lock(cache);
    cache->now++;
    cache->gets++;
    uint32_t slot = find_alive(cache, &sought, hint);
    if (cache->table.segment) {
        struct tarn_cache_segment *segment = &cache->segment[cache->table.segment(sought.hash)];
        segment->gets++;
        segment->misses += slot == TARN_NONE;
    }
    if (slot == TARN_NONE) {
        cache->policy.ops->miss(cache->policy.self, sought.hash, cache->now);
        status = TARN_NOT_FOUND;
    } else {
        const struct tarn_entry *entry = entry_of(cache, slot);
        cache->hits++;
        cache->policy.ops->hit(cache->policy.self, slot, cache->now);
        if (entry->value_size > *value_size)
            status = TARN_TOO_LARGE;
        else if (entry->value_size > 0)
            memcpy(value, entry->bytes + entry->key_size, entry->value_size);
        *value_size = entry->value_size;
    }
    tarn_cache_unlock(cache);
    return status;
}

tarn_status tarn_cache_get(tarn_cache *cache, const void *key, size_t key_size, void *value,
                           size_t *value_size)
{
    return tarn_cache_get_at(cache, key, key_size, TARN_SLOT_UNKNOWN, value, value_size);
}

/* Looks at up to `most` residents and removes those whose time is over; true if there was one. */
static bool remove_some_expired(tarn_cache *cache, uint32_t most)
{
    bool found = false;
    if (!cache->mortal)
        return false;
    uint64_t second = clock_ms(cache) / 1000;
    uint32_t probes = most < cache->probes ? most : cache->probes;
    for (uint32_t i = 0; i < probes && cache->table.count > 0; i++) {
        uint32_t slot =
            tarn_table_resident(&cache->table, tarn_rng_below(&cache->rng, cache->table.count));
        uint32_t expires = tarn_table_meta(&cache->table, slot)->expires;
        if (expires && expires <= second && is_expired(cache, entry_of(cache, slot))) {
            remove_slot(cache, slot, TARN_REMOVE_EXPIRED);
            found = true;
        }
    }
    cache->probes = found                          ? MOST_PROBES
                    : cache->probes > LEAST_PROBES ? cache->probes - 1
                                                   : LEAST_PROBES;
    return found;
}

static bool is_over(const tarn_cache *cache, uint64_t cost, uint32_t objects)
{
    return cache->capacity.used + cost > cache->capacity.limit ||
           cache->table.count + (uint64_t)objects > cache->most_objects;
}

static uint32_t arm_count(const tarn_cache *cache, tarn_arm arm)
{
    uint32_t canary = cache->table.end[cache->capacity.arm_segments - 1];
    return arm == TARN_ARM_CANARY ? canary : cache->table.count - canary;
}

/* An arm that is full makes room for its own; one that has nothing to give may lean on the other. */
static bool is_arm_over(const tarn_cache *cache, uint64_t hash, uint64_t cost)
{
    const struct tarn_capacity *capacity = &cache->capacity;
    if (capacity->arm_segments == 0)
        return false;
    tarn_arm arm = arm_of(cache, hash);
    return capacity->arm_used[arm] + cost > capacity->arm_limit[arm] && arm_count(cache, arm) > 0;
}

static uint32_t victim_for(const tarn_cache *cache, uint64_t hash)
{
    const struct tarn_policy *policy = &cache->policy;
    if (cache->capacity.arm_segments == 0)
        return policy->ops->victim(policy->self, cache->now);
    tarn_arm arm = arm_of(cache, hash);
    if (arm_count(cache, arm) == 0)
        arm = arm == TARN_ARM_CANARY ? TARN_ARM_CONTROL : TARN_ARM_CANARY;
    return policy->ops->victim_of(policy->self, arm, cache->now);
}

/* Evicts until `objects` more of `cost` together fit, for a key of this hash. */
static void make_room(tarn_cache *cache, uint64_t hash, uint64_t cost, uint32_t objects)
{
    while (cache->table.count > 0 &&
           (is_over(cache, cost, objects) || is_arm_over(cache, hash, cost))) {
        if (remove_some_expired(cache, MOST_PROBES))
            continue;
        uint32_t slot = victim_for(cache, hash);
        remove_slot(cache, slot,
                    is_expired(cache, entry_of(cache, slot)) ? TARN_REMOVE_EXPIRED
                                                             : TARN_REMOVE_EVICTED);
    }
}

/* What the policy is to know of the object beside its history. */
static void describe(tarn_cache *cache, uint32_t slot, const struct tarn_item *item,
                     uint64_t charge)
{
    struct tarn_meta *meta = tarn_table_meta(&cache->table, slot);
    meta->size = tarn_size_to_meta(charge);
    meta->tag = item->tag <= TARN_TAGS ? item->tag & TARN_TAGS : 0;
    meta->cost = tarn_cost_to_meta(item->cost_us) & TARN_COST_MOST;
}

static tarn_status overwrite(tarn_cache *cache, uint32_t slot, const struct tarn_item *item,
                             uint64_t charge)
{
    struct tarn_entry *entry = entry_of(cache, slot);
    if (entry->value_size == item->value_size) {
        count_out(cache, slot);
    } else {
        struct tarn_entry *larger =
            tarn_store_allocate(cache->store, entry->key_size, (uint32_t)item->value_size);
        if (!larger)
            return TARN_NO_MEMORY;
        memcpy(larger->bytes, entry->bytes, entry->key_size);
        count_out(cache, slot);
        tarn_store_free(cache->store, entry);
        *tarn_table_entry(&cache->table, slot) = entry = larger;
    }
    if (item->value_size > 0)
        memcpy(entry->bytes + entry->key_size, item->value, item->value_size);
    entry->charge = charge;
    entry->expires_ms = 0;
    count_in(cache, slot);
    set_expiry(cache, slot, item->ttl_ms);
    describe(cache, slot, item, charge);
    cache->policy.ops->update(cache->policy.self, slot, charge, cache->now);
    make_room(cache, tarn_table_hash(&cache->table, slot), 0, 0);
    return TARN_OK;
}

static tarn_status insert(tarn_cache *cache, const struct sought *sought,
                          const struct tarn_item *item, uint64_t charge)
{
    uint32_t slot;
    make_room(cache, sought->hash, cost_of(cache, charge), 1);
    struct tarn_entry *entry =
        tarn_store_allocate(cache->store, (uint32_t)sought->key_size, (uint32_t)item->value_size);
    if (!entry)
        return TARN_NO_MEMORY;
    tarn_status status = tarn_table_insert(&cache->table, sought->hash, &slot);
    if (status != TARN_OK) {
        tarn_store_free(cache->store, entry);
        return status;
    }
    memcpy(entry->bytes, sought->key, sought->key_size);
    if (item->value_size > 0)
        memcpy(entry->bytes + sought->key_size, item->value, item->value_size);
    entry->charge = charge;
    entry->expires_ms = 0;
    *tarn_table_entry(&cache->table, slot) = entry;
    count_in(cache, slot);
    set_expiry(cache, slot, item->ttl_ms);
    describe(cache, slot, item, charge);
    cache->policy.ops->insert(cache->policy.self, slot, charge, cache->now);
    return TARN_OK;
}

static tarn_status put_locked(tarn_cache *cache, struct sought *sought,
                              const struct tarn_item *item, uint64_t charge)
{
    uint32_t slot = find_alive(cache, sought, TARN_SLOT_UNKNOWN);
    if (item->value_size > UINT32_MAX || cost_of(cache, charge) > cache->capacity.limit) {
        if (slot != TARN_NONE)
            remove_slot(cache, slot, TARN_REMOVE_DELETED);
        cache->rejected++;
        return TARN_TOO_LARGE;
    }
    tarn_status status = slot != TARN_NONE ? overwrite(cache, slot, item, charge)
                                           : insert(cache, sought, item, charge);
    cache->puts += status == TARN_OK;
    remove_some_expired(cache, PROBES_A_PUT);
    return status;
}

tarn_status tarn_cache_put(tarn_cache *cache, const void *key, size_t key_size,
                           const struct tarn_item *item)
{
    if (!cache || !valid_key(key, key_size) || !item || (!item->value && item->value_size > 0))
        return TARN_INVALID;
    struct sought sought = make_sought(cache, key, key_size);
    uint64_t stored = sizeof(struct tarn_entry) + (uint64_t)key_size + item->value_size;
    tarn_cache_lock(cache);
    tarn_status status = put_locked(cache, &sought, item, item->charge ? item->charge : stored);
    tarn_cache_unlock(cache);
    return status;
}

tarn_status tarn_cache_delete(tarn_cache *cache, const void *key, size_t key_size)
{
    if (!cache || !valid_key(key, key_size))
        return TARN_INVALID;
    struct sought sought = make_sought(cache, key, key_size);
    tarn_cache_lock(cache);
    uint32_t slot = find_alive(cache, &sought, TARN_SLOT_UNKNOWN);
    if (slot != TARN_NONE) {
        remove_slot(cache, slot, TARN_REMOVE_DELETED);
        cache->deletes++;
    }
    tarn_cache_unlock(cache);
    return slot != TARN_NONE ? TARN_OK : TARN_NOT_FOUND;
}

tarn_status tarn_cache_set_ttl(tarn_cache *cache, const void *key, size_t key_size, uint64_t ttl_ms)
{
    if (!cache || !valid_key(key, key_size))
        return TARN_INVALID;
    struct sought sought = make_sought(cache, key, key_size);
    tarn_cache_lock(cache);
    uint32_t slot = find_alive(cache, &sought, TARN_SLOT_UNKNOWN);
    if (slot != TARN_NONE)
        set_expiry(cache, slot, ttl_ms);
    tarn_cache_unlock(cache);
    return slot != TARN_NONE ? TARN_OK : TARN_NOT_FOUND;
}

tarn_status tarn_cache_get_ttl(tarn_cache *cache, const void *key, size_t key_size,
                               uint64_t *ttl_ms)
{
    if (!cache || !valid_key(key, key_size) || !ttl_ms)
        return TARN_INVALID;
    struct sought sought = make_sought(cache, key, key_size);
    tarn_cache_lock(cache);
    uint32_t slot = find_alive(cache, &sought, TARN_SLOT_UNKNOWN);
    if (slot != TARN_NONE) {
        uint64_t expires = entry_of(cache, slot)->expires_ms, now = expires ? clock_ms(cache) : 0;
        /* never 0, which would mean for ever, though the clock moved on since the look-up */
        *ttl_ms = !expires ? 0 : expires > now ? expires - now : 1;
    }
    tarn_cache_unlock(cache);
    return slot != TARN_NONE ? TARN_OK : TARN_NOT_FOUND;
}

tarn_status tarn_cache_begin_arms(tarn_cache *cache, uint32_t (*segment)(uint64_t hash))
{
    if (!cache->policy.ops->victim_of)
        return TARN_UNSUPPORTED;
    tarn_cache_end_arms(cache);
    tarn_table_group(&cache->table, segment);
    return TARN_OK;
}

bool tarn_cache_prepare_arms(tarn_cache *cache, uint32_t most)
{
    for (uint32_t slot; most > 0; most--) {
        if ((slot = tarn_table_group_next(&cache->table)) == TARN_NONE)
            return false;
        count_segment(cache, slot, cost_of(cache, entry_of(cache, slot)->charge));
    }
    return tarn_table_grouped(&cache->table) < cache->table.count;
}

tarn_status tarn_cache_set_arms(tarn_cache *cache, uint32_t segments, double share)
{
    struct tarn_capacity *capacity = &cache->capacity;
    if (segments == 0 || segments >= TARN_TABLE_SEGMENTS || !(share > 0 && share < 1))
        return TARN_INVALID;
    if (!cache->table.segment || tarn_table_grouped(&cache->table) < cache->table.count)
        return TARN_BUSY;
    uint64_t used[TARN_ARMS] = {0};
    for (uint32_t k = 0; k < TARN_TABLE_SEGMENTS; k++)
        used[k < segments ? TARN_ARM_CANARY : TARN_ARM_CONTROL] += cache->segment[k].used;
    double left = (double)(capacity->limit - capacity->used);
    uint64_t canary = used[TARN_ARM_CANARY] + (uint64_t)(left * share);
    canary = canary < 1 ? 1 : canary < capacity->limit ? canary : capacity->limit - 1;
    capacity->arm_segments = segments;
    memcpy(capacity->arm_used, used, sizeof used);
    capacity->arm_limit[TARN_ARM_CANARY] = canary;
    capacity->arm_limit[TARN_ARM_CONTROL] = capacity->limit - canary;
    return TARN_OK;
}

void tarn_cache_end_arms(tarn_cache *cache)
{
    tarn_table_ungroup(&cache->table);
    cache->capacity.arm_segments = 0;
    memset(cache->segment, 0, sizeof cache->segment);
}

void tarn_cache_get_segments(const tarn_cache *cache,
                             struct tarn_cache_segment segment[TARN_TABLE_SEGMENTS])
{
    memcpy(segment, cache->segment, sizeof cache->segment);
}

void tarn_cache_get_stats(tarn_cache *cache, struct tarn_cache_stats *stats)
{
    tarn_cache_lock(cache);
    size_t policy = cache->policy.ops->memory ? cache->policy.ops->memory(cache->policy.self) : 0;
    *stats = (struct tarn_cache_stats){
        .objects = cache->table.count,
        .charged = cache->charged,
        .memory = sizeof *cache + tarn_table_memory(&cache->table) +
                  tarn_store_memory(cache->store) + policy,
        .gets = cache->gets,
        .hits = cache->hits,
        .puts = cache->puts,
        .deletes = cache->deletes,
        .evictions = cache->evictions,
        .expirations = cache->expirations,
        .rejected = cache->rejected,
    };
    tarn_cache_unlock(cache);
}
