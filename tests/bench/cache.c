/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests a second one thread gets out of the cache: 8-byte keys and values, a Zipf mix
 * (exponent 1) of a million requests, a miss is followed by a put. Prints the fastest of some
 * rounds for each cell; compare cells of one run only.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include "cache/cache.h"

#define REQUESTS 1000000
#define ROUNDS   7

static uint64_t keys[REQUESTS];

/* Ranks of a Zipf law with exponent 1 over `objects`, by its continuous inverse; keys are
 * scattered. */
static void make_requests(uint32_t objects)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    for (int i = 0; i < REQUESTS; i++)
        keys[i] = tarn_mix64((uint64_t)exp(tarn_rng_double(&rng) * log((double)objects)));
}

static uint64_t replay(tarn_cache *cache, uint64_t *hits)
{
    uint64_t start = tarn_clock_thread_cpu_ns(), value = 0;
    *hits = 0;
    for (int i = 0; i < REQUESTS; i++) {
        size_t size = sizeof value;
        if (tarn_cache_get(cache, &keys[i], sizeof keys[i], &value, &size) == TARN_OK)
            ++*hits;
        else if (tarn_cache_put(cache, &keys[i], sizeof keys[i],
                                &(struct tarn_item){.value = &keys[i], .value_size = 8}) != TARN_OK)
            exit(1);
    }
    return tarn_clock_thread_cpu_ns() - start;
}

static void bench(tarn_cache_policy policy, uint32_t objects, uint32_t capacity)
{
    struct tarn_cache_params params = {.objects = capacity, .policy = policy};
    uint64_t best = UINT64_MAX, hits = 0;
    tarn_cache *cache;
    make_requests(objects);
    if (tarn_cache_create(&params, &cache) != TARN_OK)
        exit(1);
    replay(cache, &hits);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t took = replay(cache, &hits);
        best = took < best ? took : best;
    }
    printf("%-6s %7u of %7u objects: %6.2f M requests/s, hit ratio %.3f\n",
           policy == TARN_CACHE_LRU ? "lru" : "s3fifo", capacity, objects,
           REQUESTS * 1e3 / (double)best, (double)hits / REQUESTS);
    tarn_cache_destroy(&cache);
}

int main(void)
{
    for (int i = 0; i < 2; i++) {
        tarn_cache_policy policy = i ? TARN_CACHE_S3FIFO : TARN_CACHE_LRU;
        bench(policy, 100000, 100000);
        bench(policy, 100000, 10000);
        bench(policy, 1000000, 100000);
    }
    return 0;
}
