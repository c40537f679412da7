/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include <tarn/engine.h>

#include "base/rng.h"

static tarn_engine *begin(bool bytes)
{
    tarn_engine *engine;
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = bytes ? 0 : 400,
                                                        .memory = bytes ? 400000 : 0,
                                                        .device = "host",
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .no_learn = true},
                           &engine, NULL) != TARN_OK)
        abort();
    return engine;
}

static void ask(tarn_engine *engine, uint64_t key)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    const struct tarn_item item = {.charge = 1000};
    size_t room = 0;
    if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
        tarn_cache_put(cache, &key, sizeof key, &item);
    tarn_engine_step(engine);
}

static float sum(const struct tarn_workload_verdict *verdict)
{
    float all = 0;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        all += verdict->blend[k];
    return all;
}

static void what_is_asked_for_gets_a_name(void)
{
    for (int bytes = 0; bytes < 2; bytes++) {
        struct tarn_engine_stats stats;
        tarn_engine *engine = begin(bytes == 1);
        tarn_engine_get_stats(engine, &stats);
        CHECK_NUMBER(stats.workload.confidence, 0);
        CHECK(fabsf(sum(&stats.workload) - 1) < 1e-5f);
        for (uint64_t i = 0; i < 60000; i++)
            ask(engine, i % 2000);
        tarn_engine_get_stats(engine, &stats);
        CHECK_NUMBER(stats.workload.top, TARN_WORKLOAD_LOOP);
        CHECK_NUMBER(stats.workload_overall.top, TARN_WORKLOAD_LOOP);
        CHECK(stats.workload.confidence > 0.8f && stats.workload.blend[TARN_WORKLOAD_LOOP] > 0.8f);
        uint64_t changes = stats.workload_changes;
        for (uint64_t i = 0; i < 60000; i++)
            ask(engine, 10000 + i);
        tarn_engine_get_stats(engine, &stats);
        CHECK_NUMBER(stats.workload.top, TARN_WORKLOAD_SCAN);
        CHECK(stats.workload_changes > changes);
        CHECK(fabsf(sum(&stats.workload) - 1) < 1e-5f);
        CHECK(fabsf(sum(&stats.workload_overall) - 1) < 1e-5f);
        tarn_engine_destroy(&engine);
    }
}

CHECK_MAIN(CASE(what_is_asked_for_gets_a_name))
