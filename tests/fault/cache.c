/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of the cache fails once: nothing leaks, nothing crashes, the call says
 * TARN_NO_MEMORY, and the cache goes on working as if the call had not been made.
 */
#include "../check.h"
#include "../failing_heap.h"

#include "base/memory.h"
#include "cache/cache.h"
#include "cache/ghost.h"

/* What was put last under each key that was put with success; 0: nothing. */
#define KEYS 2600
static uint32_t last_put[KEYS];

static tarn_status put(tarn_cache *cache, uint32_t key, uint32_t value, size_t size)
{
    static char bytes[10000];
    memcpy(bytes, &value, sizeof value);
    struct tarn_item item = {.value = bytes, .value_size = size, .charge = 1};
    return tarn_cache_put(cache, &key, sizeof key, &item);
}

static uint32_t get(tarn_cache *cache, uint32_t key)
{
    static char bytes[10000];
    uint32_t value = 0;
    size_t size = sizeof bytes;
    if (tarn_cache_get(cache, &key, sizeof key, bytes, &size) == TARN_OK)
        memcpy(&value, bytes, sizeof value);
    return value;
}

/* Returns the number of calls that failed for want of memory. */
static int use_cache(tarn_cache_policy policy, uint64_t limit)
{
    struct tarn_cache_params params = {.memory = limit, .policy = policy};
    tarn_cache *cache;
    int failures = 0;
    tarn_status status = tarn_cache_create(&params, &cache);
    if (status != TARN_OK) {
        CHECK(status == TARN_NO_MEMORY && cache == NULL);
        return 1;
    }
    memset(last_put, 0, sizeof last_put);
    for (uint32_t i = 1; i < 2 * KEYS; i++) {
        /* small and large blocks, new ones and overwrites */
        uint32_t key = i < KEYS ? i : i * 7 % KEYS;
        status = put(cache, key, i, i % 50 == 0 ? 5000 : 4 + i % 60);
        CHECK(status == TARN_OK || status == TARN_NO_MEMORY);
        failures += status != TARN_OK;
        if (status == TARN_OK)
            last_put[key] = i;
        uint32_t value = get(cache, key);
        CHECK(value == last_put[key] || (value == 0 && limit < KEYS));
        if (i % 11 == 0) {
            tarn_status gone = tarn_cache_delete(cache, &key, sizeof key);
            CHECK(gone == (value ? TARN_OK : TARN_NOT_FOUND));
            last_put[key] = 0;
        }
    }
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t value = get(cache, key);
        CHECK(value == last_put[key] || (value == 0 && limit < KEYS));
    }
    CHECK(put(cache, 5, 77, 4) == TARN_OK && get(cache, 5) == 77);
    tarn_cache_destroy(&cache);
    return failures;
}

static void each_allocation_fails_once(tarn_cache_policy policy, uint64_t limit)
{
    long allocations;
    begin(0);
    CHECK_NUMBER(use_cache(policy, limit), 0);
    CHECK_NUMBER(held, 0);
    allocations = asked;
    CHECK(allocations > 50);
    for (long at = 1; at <= allocations && check_failures == 0; at++) {
        begin(at);
        int failures = use_cache(policy, limit);
        /* what a policy wants to remember of the evicted, it may forget */
        CHECK(failures == 1 || (failures == 0 && policy == TARN_CACHE_S3FIFO));
        CHECK_NUMBER(held, 0);
        CHECK(asked >= at);
    }
    tarn_memory_set_hook(NULL);
}

static void lru_without_memory(void)
{
    each_allocation_fails_once(TARN_CACHE_LRU, 10000);
    each_allocation_fails_once(TARN_CACHE_LRU, 500);
}

static void s3fifo_without_memory(void)
{
    each_allocation_fails_once(TARN_CACHE_S3FIFO, 10000);
    each_allocation_fails_once(TARN_CACHE_S3FIFO, 1900);
}

/* From some moment on there is nothing at all, for long. */
static bool nothing_left(size_t size)
{
    held += size == 0 ? -1 : 0;
    return size == 0;
}

static void long_famine(void)
{
    struct tarn_cache_params params = {.objects = 3000};
    tarn_cache *cache;
    uint32_t stored = 0;
    REQUIRE(tarn_cache_create(&params, &cache) == TARN_OK);
    for (uint32_t key = 0; key < 1000; key++)
        REQUIRE(put(cache, key, key + 1, 8) == TARN_OK);
    tarn_memory_set_hook(nothing_left);
    for (uint32_t key = 1000; key < 3000; key++)
        stored += put(cache, key, key + 1, 8) == TARN_OK;
    CHECK(stored < 1000);
    for (uint32_t key = 0; key < 1000; key++)
        CHECK(get(cache, key) == key + 1);
    tarn_memory_set_hook(NULL);
    for (uint32_t key = 1000; key < 3000; key++)
        CHECK(put(cache, key, key + 1, 8) == TARN_OK && get(cache, key) == key + 1);
    tarn_cache_destroy(&cache);
}

/* Ghosts that can't grow go on with the room that they have. */
static void ghosts_without_memory(void)
{
    tarn_ghosts *ghosts;
    for (long at = 1; at <= 2; at++) {
        begin(at);
        CHECK(tarn_ghosts_create(100, &ghosts) == TARN_NO_MEMORY && ghosts == NULL);
        CHECK_NUMBER(held, 0);
    }
    begin(0);
    REQUIRE(tarn_ghosts_create(100, &ghosts) == TARN_OK);
    size_t memory = tarn_ghosts_memory(ghosts);
    fails_at = asked + 1;
    for (uint32_t i = 0; asked < fails_at; i++) {
        uint64_t hash = i * 0x9e3779b97f4a7c15u;
        REQUIRE(i < 100000 && tarn_ghosts_insert(ghosts, hash, i, 5000) != NULL);
        CHECK(tarn_ghosts_find(ghosts, hash, i, 5000) != NULL);
    }
    CHECK_NUMBER(tarn_ghosts_memory(ghosts), memory);
    for (uint32_t i = 0; i < 5000; i++)
        tarn_ghosts_insert(ghosts, i * 0x9e3779b97f4a7c15u, i, 5000);
    CHECK(tarn_ghosts_memory(ghosts) > memory);
    tarn_ghosts_destroy(&ghosts);
    CHECK_NUMBER(held, 0);
    tarn_memory_set_hook(NULL);
}

CHECK_MAIN(CASE(lru_without_memory), CASE(s3fifo_without_memory), CASE(long_famine),
           CASE(ghosts_without_memory))
