/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "../cache_spy.h"
#include "base/memory.h"
#include "base/rng.h"

static tarn_status put(tarn_cache *cache, const char *key, const char *value, uint64_t charge,
                       uint64_t ttl_ms)
{
    struct tarn_item item = {value, strlen(value), charge, ttl_ms};
    return tarn_cache_put(cache, key, strlen(key), &item);
}

/* The value, or NULL. */
static const char *get(tarn_cache *cache, const char *key)
{
    static char value[100];
    size_t size = sizeof value - 1;
    if (tarn_cache_get(cache, key, strlen(key), value, &size) != TARN_OK)
        return NULL;
    value[size] = '\0';
    return value;
}

static bool gives(tarn_cache *cache, const char *key, const char *wanted)
{
    const char *value = get(cache, key);
    return value && strcmp(value, wanted) == 0;
}

static void stores_overwrites_deletes(void)
{
    tarn_cache *cache;
    struct tarn_cache_stats stats;
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.memory = 1 << 20}, &cache) == TARN_OK);
    CHECK(get(cache, "a") == NULL);
    CHECK(put(cache, "a", "one", 0, 0) == TARN_OK);
    CHECK(gives(cache, "a", "one"));
    CHECK(put(cache, "a", "two", 0, 0) == TARN_OK); /* in place */
    CHECK(gives(cache, "a", "two"));
    CHECK(put(cache, "a", "a longer one", 0, 0) == TARN_OK);
    CHECK(gives(cache, "a", "a longer one"));
    CHECK(put(cache, "empty", "", 0, 0) == TARN_OK);
    CHECK(gives(cache, "empty", ""));
    tarn_cache_get_stats(cache, &stats);
    CHECK_NUMBER(stats.objects, 2);
    CHECK_NUMBER(stats.charged, 24 + 1 + 12 + 24 + 5);
    CHECK_NUMBER(stats.puts, 4);
    CHECK_NUMBER(stats.gets, 5);
    CHECK_NUMBER(stats.hits, 4);
    CHECK(stats.memory > 16384);
    CHECK(tarn_cache_delete(cache, "a", 1) == TARN_OK);
    CHECK(tarn_cache_delete(cache, "a", 1) == TARN_NOT_FOUND);
    CHECK(get(cache, "a") == NULL);
    tarn_cache_get_stats(cache, &stats);
    CHECK_NUMBER(stats.deletes, 1);
    CHECK_NUMBER(stats.charged, 29);
    tarn_cache_destroy(&cache);
    CHECK(cache == NULL);
    tarn_cache_destroy(&cache);
}

static void wrong_arguments_are_refused(void)
{
    tarn_cache *cache = (tarn_cache *)1;
    size_t size = 0;
    struct tarn_item no_value = {.value_size = 3}, fine = {.value = "x", .value_size = 1};
    CHECK(tarn_cache_create(&(struct tarn_cache_params){0}, &cache) == TARN_INVALID);
    CHECK(cache == NULL);
    CHECK(tarn_cache_create(NULL, &cache) == TARN_INVALID);
    CHECK(tarn_cache_create(
              &(struct tarn_cache_params){.objects = 1, .policy = (tarn_cache_policy)77}, &cache) ==
          TARN_INVALID);
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.objects = 9}, &cache) == TARN_OK);
    CHECK(tarn_cache_put(cache, "", 0, &fine) == TARN_INVALID);
    CHECK(tarn_cache_put(cache, NULL, 1, &fine) == TARN_INVALID);
    CHECK(tarn_cache_put(cache, "k", TARN_KEY_MAX + 1, &fine) == TARN_INVALID);
    CHECK(tarn_cache_put(cache, "k", 1, &no_value) == TARN_INVALID);
    CHECK(tarn_cache_put(cache, "k", 1, NULL) == TARN_INVALID);
    CHECK(tarn_cache_get(cache, "k", 0, NULL, &size) == TARN_INVALID);
    CHECK(tarn_cache_get(cache, "k", 1, NULL, NULL) == TARN_INVALID);
    size = 5;
    CHECK(tarn_cache_get(cache, "k", 1, NULL, &size) == TARN_INVALID);
    CHECK(tarn_cache_delete(cache, "k", 0) == TARN_INVALID);
    CHECK(tarn_cache_get_ttl(cache, "k", 1, NULL) == TARN_INVALID);
    CHECK_NUMBER(tarn_cache_now(cache), 0);
    tarn_cache_destroy(&cache);
}

static void sizes_at_the_borders(void)
{
    tarn_cache *cache;
    static char key[TARN_KEY_MAX], big[300000], out[300000];
    size_t size = sizeof out;
    struct tarn_item item = {.value = big, .value_size = sizeof big};
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.memory = 1 << 20}, &cache) == TARN_OK);
    memset(key, 'k', sizeof key);
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 7);
    CHECK(tarn_cache_put(cache, key, sizeof key, &item) == TARN_OK);
    CHECK(tarn_cache_get(cache, key, sizeof key, out, &size) == TARN_OK);
    CHECK(size == sizeof big && memcmp(out, big, sizeof big) == 0);
    /* too small a buffer: its size is told, nothing is written, and it is a hit */
    out[0] = 99;
    size = sizeof big - 1;
    CHECK(tarn_cache_get(cache, key, sizeof key, out, &size) == TARN_TOO_LARGE);
    CHECK(size == sizeof big && out[0] == 99);
    size = 0;
    CHECK(tarn_cache_get(cache, key, sizeof key, NULL, &size) == TARN_TOO_LARGE);
    CHECK_NUMBER(size, sizeof big);
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(cache, &stats);
    CHECK_NUMBER(stats.hits, 3);
    size = 0;
    CHECK(tarn_cache_get(cache, key, sizeof key - 1, NULL, &size) == TARN_NOT_FOUND);
    tarn_cache_destroy(&cache);
}

static void what_cannot_fit_is_refused_and_the_stale_value_goes(void)
{
    tarn_cache *cache;
    struct tarn_cache_stats stats;
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.memory = 100}, &cache) == TARN_OK);
    CHECK(put(cache, "a", "1", 100, 0) == TARN_OK); /* just fits */
    CHECK(put(cache, "a", "2", 101, 0) == TARN_TOO_LARGE);
    CHECK(get(cache, "a") == NULL);
    CHECK(put(cache, "b", "2", UINT64_MAX, 0) == TARN_TOO_LARGE);
    tarn_cache_get_stats(cache, &stats);
    CHECK_NUMBER(stats.rejected, 2);
    CHECK_NUMBER(stats.charged, 0);
    CHECK_NUMBER(stats.evictions, 0);
    /* an overwrite that grows pushes others out, not what it overwrites */
    CHECK(put(cache, "a", "1", 30, 0) == TARN_OK);
    CHECK(put(cache, "b", "1", 30, 0) == TARN_OK);
    CHECK(put(cache, "c", "1", 30, 0) == TARN_OK);
    CHECK(put(cache, "a", "2", 60, 0) == TARN_OK);
    CHECK(gives(cache, "a", "2") && get(cache, "b") == NULL && gives(cache, "c", "1"));
    tarn_cache_destroy(&cache);
    /* counted in objects, the largest charge is fine; a limit without end doesn't overflow */
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.objects = 2}, &cache) == TARN_OK);
    CHECK(put(cache, "a", "1", UINT64_MAX, 0) == TARN_OK && gives(cache, "a", "1"));
    tarn_cache_destroy(&cache);
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.memory = UINT64_MAX}, &cache) ==
            TARN_OK);
    for (int i = 0; i < 9; i++)
        CHECK(put(cache, i % 2 ? "a" : "b", "1", (uint64_t)1 << 62, 0) == TARN_OK);
    tarn_cache_get_stats(cache, &stats);
    CHECK_NUMBER(stats.objects, 1);
    tarn_cache_destroy(&cache);
}

static void both_limits_hold(void)
{
    tarn_cache *cache;
    struct tarn_cache_stats stats;
    struct tarn_cache_params params = {.memory = 1000, .objects = 3};
    REQUIRE(tarn_cache_create(&params, &cache) == TARN_OK);
    for (char key = 'a'; key <= 'j'; key++)
        CHECK(put(cache, (char[]){key, 0}, "1", 10, 0) == TARN_OK);
    tarn_cache_get_stats(cache, &stats);
    CHECK(stats.objects == 3 && stats.charged == 30);
    CHECK(put(cache, "z", "1", 990, 0) == TARN_OK);
    tarn_cache_get_stats(cache, &stats);
    CHECK(stats.objects == 2 && stats.charged == 1000);
    tarn_cache_destroy(&cache);
}

static void time_runs_out(void)
{
    uint64_t clock = 1000, ttl = 0;
    struct tarn_cache_hooks hooks = {.clock_ms = spy_clock, .clock_context = &clock};
    tarn_cache *cache;
    struct tarn_cache_stats stats;
    REQUIRE(tarn_cache_create_with(&(struct tarn_cache_params){.objects = 100}, &hooks, &cache) ==
            TARN_OK);
    CHECK(put(cache, "a", "1", 0, 500) == TARN_OK);
    CHECK(put(cache, "b", "1", 0, 0) == TARN_OK);
    CHECK(put(cache, "c", "1", 0, UINT64_MAX) == TARN_OK);
    CHECK(tarn_cache_get_ttl(cache, "a", 1, &ttl) == TARN_OK && ttl == 500);
    CHECK(tarn_cache_get_ttl(cache, "b", 1, &ttl) == TARN_OK && ttl == 0);
    clock = 1499;
    CHECK(gives(cache, "a", "1"));
    CHECK(tarn_cache_get_ttl(cache, "a", 1, &ttl) == TARN_OK && ttl == 1);
    clock = 1500;
    CHECK(get(cache, "a") == NULL);
    CHECK(tarn_cache_get_ttl(cache, "a", 1, &ttl) == TARN_NOT_FOUND);
    CHECK(gives(cache, "c", "1"));
    tarn_cache_get_stats(cache, &stats);
    CHECK(stats.expirations == 1 && stats.objects == 2 && stats.gets == 3 && stats.hits == 2);
    /* changed, taken away, overwritten away */
    CHECK(tarn_cache_set_ttl(cache, "b", 1, 100) == TARN_OK);
    CHECK(tarn_cache_set_ttl(cache, "b", 1, 0) == TARN_OK);
    CHECK(put(cache, "d", "1", 0, 50) == TARN_OK && put(cache, "d", "2", 0, 0) == TARN_OK);
    CHECK(put(cache, "e", "1", 0, 50) == TARN_OK && put(cache, "e", "longer", 0, 5000) == TARN_OK);
    clock = 2000;
    CHECK(gives(cache, "b", "1") && gives(cache, "d", "2") && gives(cache, "e", "longer"));
    CHECK(tarn_cache_set_ttl(cache, "e", 1, 10) == TARN_OK);
    clock = 2010;
    CHECK(tarn_cache_set_ttl(cache, "e", 1, 10) == TARN_NOT_FOUND);
    CHECK(put(cache, "f", "1", 0, 10) == TARN_OK);
    clock = 2020;
    CHECK(tarn_cache_delete(cache, "f", 1) == TARN_NOT_FOUND);
    tarn_cache_get_stats(cache, &stats);
    CHECK(stats.deletes == 0 && stats.expirations == 3);
    tarn_cache_destroy(&cache);
}

static void memory_of_the_expired_comes_back(void)
{
    uint64_t clock = 1000;
    struct tarn_cache_hooks hooks = {.clock_ms = spy_clock, .clock_context = &clock};
    tarn_cache *cache;
    struct tarn_cache_stats stats;
    REQUIRE(tarn_cache_create_with(&(struct tarn_cache_params){.objects = 20000}, &hooks, &cache) ==
            TARN_OK);
    for (int key = 0; key < 20000; key++)
        CHECK(tarn_cache_put(cache, &key, sizeof key,
                             &(struct tarn_item){.ttl_ms = key % 2 ? 100 : 0}) == TARN_OK);
    clock += 2000;
    /* puts that need no room find dead ones in passing; puts that do take nothing that lives */
    for (int key = 0; key < 5000; key++)
        CHECK(tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){0}) == TARN_OK);
    tarn_cache_get_stats(cache, &stats);
    CHECK(stats.expirations > 5000 && stats.evictions == 0);
    for (int key = 100000; key < 107000; key++)
        CHECK(tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){0}) == TARN_OK);
    tarn_cache_get_stats(cache, &stats);
    CHECK(stats.evictions == 0 && stats.objects <= 20000);
    tarn_cache_destroy(&cache);
}

static void hints_are_only_hints(void)
{
    tarn_cache *cache;
    char value[8];
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.objects = 1000}, &cache) == TARN_OK);
    for (int key = 0; key < 1000; key++)
        CHECK(tarn_cache_put(cache, &key, sizeof key,
                             &(struct tarn_item){.value = &key, .value_size = sizeof key}) ==
              TARN_OK);
    int gone = 500;
    CHECK(tarn_cache_delete(cache, &gone, sizeof gone) == TARN_OK);
    uint32_t slots = tarn_cache_table(cache)->slots;
    for (int key = 0; key < 1000; key++) {
        /* right ones, wrong ones, freed ones, ones that never were */
        uint32_t right = tarn_index_find(tarn_cache_table(cache)->index,
                                         tarn_cache_hash(&key, sizeof key), NULL, NULL);
        uint32_t hints[] = {right,     (uint32_t)key, 500,          999,
                            slots - 1, slots,         slots + 5000, TARN_SLOT_UNKNOWN};
        for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
            size_t size = sizeof value;
            int got = -1;
            tarn_status status = tarn_cache_get_at(cache, &key, sizeof key, hints[i], value, &size);
            memcpy(&got, value, sizeof got);
            CHECK(status == (key == gone ? TARN_NOT_FOUND : TARN_OK));
            CHECK(key == gone || got == key);
        }
    }
    tarn_cache_destroy(&cache);
}

/* A hint may point at a key that begins in the same way. */
static void a_hint_to_a_longer_key_is_a_miss(void)
{
    tarn_cache *cache;
    size_t size = 0;
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.objects = 10}, &cache) == TARN_OK);
    CHECK(put(cache, "abcdef", "1", 0, 0) == TARN_OK);
    uint32_t slot = tarn_table_resident(tarn_cache_table(cache), 0);
    CHECK(tarn_cache_get_at(cache, "abc", 3, slot, NULL, &size) == TARN_NOT_FOUND);
    CHECK(tarn_cache_get_at(cache, "abcdef", 6, slot, NULL, &size) == TARN_TOO_LARGE);
    tarn_cache_destroy(&cache);
}

static void an_overwrite_keeps_slot_and_history(void)
{
    tarn_cache *cache;
    struct spy spy = {.create = tarn_policy_lru_create};
    struct tarn_cache_hooks hooks = {.factory = spy_factory, .factory_context = &spy};
    REQUIRE(tarn_cache_create_with(&(struct tarn_cache_params){.memory = 10000}, &hooks, &cache) ==
            TARN_OK);
    CHECK(put(cache, "a", "1", 64, 0) == TARN_OK);
    uint32_t slot = tarn_table_resident(tarn_cache_table(cache), 0);
    struct tarn_meta *meta = tarn_table_meta(tarn_cache_table(cache), slot);
    CHECK_NUMBER(meta->size, 6 * 1024);
    meta->freq = 5;
    CHECK(put(cache, "a", "something else", 4096, 0) == TARN_OK);
    CHECK(spy.updates == 1 && spy.inserts == 1 && spy.removals == 0 && spy.charge == 4096);
    CHECK_NUMBER(tarn_table_resident(tarn_cache_table(cache), 0), slot);
    CHECK_NUMBER(meta->freq, 5);
    CHECK_NUMBER(meta->size, 12 * 1024);
    CHECK_NUMBER(spy.capacity->used, 4096);
    CHECK_NUMBER(tarn_cache_now(cache), 0);
    tarn_cache_destroy(&cache);
}

static void sizes_survive_their_logarithm(void)
{
    CHECK_NUMBER(tarn_size_to_meta(0), 0);
    CHECK_NUMBER(tarn_size_to_meta(1), 0);
    CHECK(tarn_size_to_meta(UINT64_MAX) >= 65534);
    for (uint64_t charge = 1; charge < (uint64_t)1 << 50; charge = charge * 3 / 2 + 1) {
        double lg = (double)tarn_size_from_meta_lg(tarn_size_to_meta(charge));
        double exact = 63 - __builtin_clzll(charge);
        CHECK(lg > exact - 0.002 && lg < exact + 1.002);
    }
}

static size_t allocations;

static bool count_allocations(size_t size)
{
    allocations += size > 0;
    return true;
}

static void a_warm_cache_allocates_nothing(tarn_cache_policy policy, bool bytes)
{
    struct tarn_cache_params params = {.policy = policy};
    struct tarn_rng rng;
    static char value[2000];
    tarn_cache *cache;
    *(bytes ? &params.memory : &params.objects) = bytes ? 4 << 20 : 8000;
    tarn_rng_seed(&rng, 3);
    REQUIRE(tarn_cache_create(&params, &cache) == TARN_OK);
    for (int i = 0; i < 2000000; i++) {
        double u = tarn_rng_double(&rng);
        uint64_t key = (uint64_t)(50000 * u * u * u);
        size_t size = sizeof value;
        if (i == 1000000) {
            allocations = 0;
            tarn_memory_set_hook(count_allocations);
        }
        if (i % 16 == 0 || tarn_cache_get(cache, &key, sizeof key, value, &size) != TARN_OK) {
            struct tarn_item item = {.value = value, .value_size = (key * 37 + (uint64_t)i) % 1500};
            CHECK(tarn_cache_put(cache, &key, sizeof key, &item) == TARN_OK);
        }
        if (i % 64 == 5)
            (void)tarn_cache_delete(cache, &key, sizeof key);
    }
    tarn_memory_set_hook(NULL);
    CHECK_NUMBER(allocations, 0);
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(cache, &stats);
    CHECK(stats.evictions > 100000);
    printf("# %.2f bytes held for each charged\n", (double)stats.memory / (double)stats.charged);
    if (bytes) /* slack of the classes and of half-empty pages, index, metadata, ghosts */
        CHECK(stats.memory < params.memory * 3 / 2);
    tarn_cache_destroy(&cache);
}

static void no_allocation_once_warm(void)
{
    a_warm_cache_allocates_nothing(TARN_CACHE_LRU, false);
    a_warm_cache_allocates_nothing(TARN_CACHE_LRU, true);
    a_warm_cache_allocates_nothing(TARN_CACHE_S3FIFO, false);
    a_warm_cache_allocates_nothing(TARN_CACHE_S3FIFO, true);
}

CHECK_MAIN(CASE(stores_overwrites_deletes), CASE(wrong_arguments_are_refused),
           CASE(sizes_at_the_borders), CASE(what_cannot_fit_is_refused_and_the_stale_value_goes),
           CASE(both_limits_hold), CASE(time_runs_out), CASE(memory_of_the_expired_comes_back),
           CASE(hints_are_only_hints), CASE(a_hint_to_a_longer_key_is_a_miss),
           CASE(an_overwrite_keeps_slot_and_history), CASE(sizes_survive_their_logarithm),
           CASE(no_allocation_once_warm))
