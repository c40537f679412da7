/* SPDX-License-Identifier: Apache-2.0 */
/** @file An engine in use, and the checks that no answer of it changes. */
#ifndef TARN_TESTS_FAULT_SERVING_H
#define TARN_TESTS_FAULT_SERVING_H

#include "../check.h"

#include "base/rng.h"
#include "engine/engine_private.h"
#include "gpu/backend.h"

enum { OBJECTS = 30000, KEYS = 60000, BATCH = 2048, SECOND = 65536 };

static char cache_dir[] = "/tmp/tarn-loss-XXXXXX";

static inline tarn_engine *open_engine(const char *device, tarn_background background)
{
    tarn_engine *engine = NULL;
    struct tarn_error error = {0};
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                        .device = device,
                                                        .background = background,
                                                        .cache_dir = cache_dir,
                                                        .seed = 3},
                           &engine, &error) != TARN_OK)
        printf("# %s: %s\n", device, error.message);
    return engine;
}

static inline struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

/* Each object's value is its key, so that a wrong answer shows. */
static inline void serve(tarn_engine *engine, struct tarn_rng *rng, size_t requests)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    static _Thread_local uint64_t keys[BATCH];
    static _Thread_local uint32_t slots[BATCH];
    static _Thread_local const void *names[BATCH];
    static _Thread_local size_t sizes[BATCH];
    for (size_t i = 0; i < requests; i++) {
        if (i % BATCH == 0) {
            for (size_t k = 0; k < BATCH; k++) {
                double u = tarn_rng_double(rng);
                keys[k] = (uint64_t)(u * u * KEYS);
                names[k] = &keys[k];
                sizes[k] = sizeof keys[k];
            }
            CHECK(tarn_engine_lookup(engine, names, sizes, BATCH, slots) == TARN_OK);
        }
        uint64_t key = keys[i % BATCH], value = 0;
        size_t size = sizeof value;
        tarn_status status =
            tarn_cache_get_at(cache, &key, sizeof key, slots[i % BATCH], &value, &size);
        if (status == TARN_OK)
            CHECK(size == sizeof value && value == key);
        else
            CHECK(tarn_cache_put(
                      cache, &key, sizeof key,
                      &(struct tarn_item){.value = &key, .value_size = sizeof key, .charge = 1}) ==
                  TARN_OK);
        tarn_engine_step(engine);
    }
}

/* Every lookup of keys that are there finds them: the index moved as it was. */
static inline void check_index(tarn_engine *engine)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(cache, &stats);
    uint64_t found = 0;
    for (uint64_t key = 0; key < KEYS; key++) {
        uint64_t value = 0;
        size_t size = sizeof value;
        if (tarn_cache_get(cache, &key, sizeof key, &value, &size) == TARN_OK) {
            found++;
            CHECK(value == key);
        }
    }
    CHECK_NUMBER(found, stats.objects);
}

#endif
