/* SPDX-License-Identifier: Apache-2.0 */
/* Four threads at one cache: for TSan, and that no value is ever torn or another key's. */
#include "../check.h"

#include <pthread.h>

#include "base/rng.h"
#include "cache/cache.h"

#define THREADS    4
#define OPERATIONS 40000
#define KEYS       3000

struct worker {
    tarn_cache *cache;
    uint64_t seed, gets, hits, wrong;
};

/* Values say whose they are: `key` over and over, of a length that changes. */
static void *work(void *context)
{
    struct worker *worker = context;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, worker->seed);
    for (int i = 0; i < OPERATIONS; i++) {
        uint32_t key = tarn_rng_below(&rng, KEYS), value[64], what = tarn_rng_below(&rng, 10);
        size_t size = sizeof value;
        if (what < 6) {
            tarn_status status = tarn_cache_get_at(worker->cache, &key, sizeof key,
                                                   tarn_rng_below(&rng, 2000), value, &size);
            worker->gets++;
            worker->hits += status == TARN_OK;
            for (size_t j = 0; status == TARN_OK && j < size / sizeof key; j++)
                worker->wrong += value[j] != key;
        } else if (what < 9) {
            size = tarn_rng_below(&rng, 65) * sizeof key;
            for (size_t j = 0; j < size / sizeof key; j++)
                value[j] = key;
            struct tarn_item item = {value, size, 0, what == 8 ? 1 : 0};
            worker->wrong += tarn_cache_put(worker->cache, &key, sizeof key, &item) != TARN_OK;
        } else {
            struct tarn_cache_stats stats;
            (void)tarn_cache_delete(worker->cache, &key, sizeof key);
            tarn_cache_get_stats(worker->cache, &stats);
            worker->wrong += stats.charged > 100000 || stats.hits > stats.gets;
        }
    }
    return NULL;
}

static void run_threads(tarn_cache_policy policy)
{
    struct tarn_cache_params params = {.memory = 100000, .policy = policy};
    struct worker worker[THREADS];
    pthread_t thread[THREADS];
    struct tarn_cache_stats stats;
    tarn_cache *cache;
    uint64_t gets = 0, hits = 0;
    REQUIRE(tarn_cache_create(&params, &cache) == TARN_OK);
    for (int i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){.cache = cache, .seed = (uint64_t)i};
        REQUIRE(pthread_create(&thread[i], NULL, work, &worker[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        CHECK_NUMBER(worker[i].wrong, 0);
        gets += worker[i].gets;
        hits += worker[i].hits;
    }
    tarn_cache_get_stats(cache, &stats);
    CHECK_NUMBER(stats.gets, gets);
    CHECK_NUMBER(stats.hits, hits);
    CHECK_NUMBER(tarn_cache_now(cache), gets);
    CHECK(stats.hits > 1000 && stats.evictions > 1000);
    tarn_cache_destroy(&cache);
}

static void four_threads(void)
{
    run_threads(TARN_CACHE_LRU);
    run_threads(TARN_CACHE_S3FIFO);
}

CHECK_MAIN(CASE(four_threads))
