/* SPDX-License-Identifier: Apache-2.0 */
/* Bad input and weather, with learning on: experts that give no numbers, and streams that are no workload. */
#include "../check.h"

#include <math.h>

#include <tarn/log.h>

#include "base/rng.h"
#include "engine/engine_private.h"

static int warnings, returns;
static char last_warning[256];

static void listen(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    if (strstr(message, "no numbers") != NULL && level == TARN_LOG_WARNING) {
        warnings++;
        snprintf(last_warning, sizeof last_warning, "%s", message);
    }
    returns += strstr(message, "numbers again") != NULL;
}

static tarn_engine *start(const struct tarn_learning_params *learning, uint64_t objects,
                          uint64_t memory)
{
    tarn_engine *engine = NULL;
    struct tarn_error error;
    const struct tarn_engine_params params = {.objects = objects,
                                              .memory = memory,
                                              .device = "host",
                                              .background = TARN_BACKGROUND_STEPS,
                                              .learning = learning,
                                              .seed = 3};
    if (tarn_engine_create(&params, &engine, &error) != TARN_OK)
        printf("# %s\n", error.message);
    return engine;
}

static bool use(tarn_engine *engine, uint64_t key, const struct tarn_item *item)
{
    size_t room = 0;
    tarn_cache *cache = tarn_engine_cache(engine);
    bool hit = tarn_cache_get(cache, &key, sizeof key, NULL, &room) == TARN_OK;
    if (!hit)
        tarn_cache_put(cache, &key, sizeof key, item);
    tarn_engine_step(engine);
    return hit;
}

static const struct tarn_item one = {.charge = 1};

/* Popular keys and scans: misses of `requests`. */
static uint64_t serve(tarn_engine *engine, uint32_t requests)
{
    static struct tarn_rng rng;
    static uint64_t fresh = 1000000;
    uint64_t misses = 0;
    if (fresh == 1000000)
        tarn_rng_seed(&rng, 5);
    for (uint32_t i = 0; i < requests; i++) {
        double u = tarn_rng_double(&rng);
        misses += !use(engine, i % 4 == 3 ? fresh++ : (uint64_t)(u * u * u * 4000), &one);
    }
    return misses;
}

static struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

/* The live version's weights break in memory: others decide at once, it is said once, an ancestor follows. */
static void a_broken_network_is_replaced(void)
{
    tarn_engine *engine = start(NULL, 600, 0);
    REQUIRE(engine != NULL);
    warnings = returns = 0;
    uint64_t before = serve(engine, 60000);
    struct tarn_version_stats versions;
    tarn_engine_get_versions(engine, &versions);
    CHECK(versions.swaps > 0 && stats_of(engine).unsound_rounds == 0 && warnings == 0);
    tarn_model *live = engine->versions.live->model;
    for (size_t i = 0; i < tarn_shape_weights(&engine->shape); i++)
        live->weights[i] = NAN;
    uint64_t first = engine->learned->live.rounds;
    for (int i = 0; i < 1000 && engine->learned->live.rounds == first; i++)
        serve(engine, 1);
    CHECK(engine->learned->live.unsound.rounds >= 1); /* the very first round that it scored */
    uint64_t after = serve(engine, 30000);
    printf("# misses before %llu in 60000, after %llu in 30000: %s\n", (unsigned long long)before,
           (unsigned long long)after, last_warning);
    CHECK((double)after < 1.1 * (double)before / 2);
    CHECK(warnings == 2 && returns == 1); /* no numbers; another is live; all is well */
    uint64_t unsound = stats_of(engine).unsound_rounds;
    CHECK(unsound > 0 && unsound < 1000);
    serve(engine, 20000);
    CHECK(stats_of(engine).unsound_rounds == unsound);
    tarn_engine_get_versions(engine, &versions);
    CHECK(versions.rollbacks == 1);
    tarn_engine_destroy(&engine);
}

/* Where there is nothing to go back to: the heuristics decide until it is well again. */
static void the_only_version_recovers(void)
{
    struct tarn_learning_params learning;
    tarn_learning_defaults(&learning);
    tarn_engine *engine = NULL;
    struct tarn_error error;
    for (int shadows = 0; shadows < 2; shadows++) {
        const struct tarn_engine_params params = {.objects = 600,
                                                  .device = "host",
                                                  .background = TARN_BACKGROUND_STEPS,
                                                  .no_learn = true,
                                                  .no_shadows = !shadows};
        REQUIRE(tarn_engine_create(&params, &engine, &error) == TARN_OK);
        warnings = returns = 0;
        double sound = (double)serve(engine, 20000);
        float *weight = &engine->versions.live->model->weights[0], kept = *weight;
        *weight = INFINITY;
        double broken = (double)serve(engine, 20000);
        printf("# misses %g, with the broken network %g\n", sound, broken);
        CHECK(broken < 1.25 * sound);
        CHECK(warnings >= 1 && warnings <= 2 && returns == 0);
        uint64_t unsound = stats_of(engine).unsound_rounds;
        CHECK(unsound > 100);
        *weight = kept;
        serve(engine, 5000);
        CHECK(returns == 1);
        unsound = stats_of(engine).unsound_rounds;
        serve(engine, 5000);
        CHECK(stats_of(engine).unsound_rounds == unsound);
        tarn_engine_destroy(&engine);
    }
}

/* A network that breaks again and again isn't told of each time. */
static void lines_are_few(void)
{
    tarn_engine *engine = NULL;
    const struct tarn_engine_params params = {
        .objects = 600, .device = "host", .background = TARN_BACKGROUND_STEPS, .no_learn = true};
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    serve(engine, 5000);
    warnings = returns = 0;
    float *weight = &engine->versions.live->model->weights[0], kept = *weight;
    for (int i = 0; i < 50; i++) {
        *weight = i % 2 ? kept : NAN;
        serve(engine, 300);
    }
    CHECK(warnings >= 1 && warnings <= 2 && returns <= 1);
    tarn_engine_destroy(&engine);
}

static void one_key_and_only_new_keys(void)
{
    for (int bytes = 0; bytes < 2; bytes++) {
        tarn_engine *engine = start(NULL, bytes ? 0 : 300, bytes ? 30000 : 0);
        REQUIRE(engine != NULL);
        const struct tarn_item item = {.charge = bytes ? 100 : 1};
        uint64_t misses = 0, hits = 0;
        for (int i = 0; i < 30000; i++)
            misses += !use(engine, 7, &item);
        CHECK_NUMBER(misses, 1);
        for (uint64_t i = 0; i < 60000; i++)
            hits += use(engine, 1000 + i, &item);
        CHECK_NUMBER(hits, 0);
        struct tarn_engine_stats stats = stats_of(engine);
        float sum = 0;
        for (int k = 0; k < TARN_ENGINE_EXPERTS; k++)
            sum += stats.expert[k] != NULL ? stats.weight[k] : 0;
        CHECK(fabsf(sum - 1) < 1e-4f && stats.unsound_rounds == 0);
        struct tarn_cache_stats cache;
        tarn_cache_get_stats(tarn_engine_cache(engine), &cache);
        CHECK_NUMBER(cache.objects, 300);
        tarn_engine_destroy(&engine);
    }
}

/* From a byte to the whole cache and beyond, with costs and tags that are none, and every operation. */
static void all_sizes_and_operations(void)
{
    enum { MEMORY = 1 << 20 };
    for (int goal = TARN_GOAL_REQUESTS; goal <= TARN_GOAL_LATENCY; goal++) {
        tarn_engine *engine = NULL;
        const struct tarn_engine_params params = {.memory = MEMORY,
                                                  .device = "host",
                                                  .background = TARN_BACKGROUND_STEPS,
                                                  .goal = (tarn_goal)goal};
        REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
        tarn_cache *cache = tarn_engine_cache(engine);
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 11);
        for (int i = 0; i < 40000; i++) {
            uint64_t key = tarn_rng_below(&rng, 3000);
            struct tarn_item item = {
                .charge = ((uint64_t)1 << tarn_rng_below(&rng, 22)) - (i % 2),
                .tag = (uint8_t)tarn_rng_below(&rng, 256),
                .cost_us = i % 5   ? (float)key
                           : i % 2 ? NAN
                                   : -INFINITY,
                .ttl_ms = i % 7 ? 0 : 1,
            };
            item.charge = item.charge > 0 ? item.charge : 1;
            if (i % 1000 == 0)
                item.charge = MEMORY; /* all others leave */
            if (i % 11 == 0)
                tarn_cache_delete(cache, &key, sizeof key);
            else if (i % 13 == 0)
                tarn_cache_put(cache, &key, sizeof key, &item);
            else
                use(engine, key, &item);
            struct tarn_cache_stats stats;
            if (i % 100 == 0) {
                tarn_cache_get_stats(cache, &stats);
                CHECK(stats.charged <= MEMORY);
            }
        }
        CHECK(stats_of(engine).unsound_rounds == 0 && stats_of(engine).rounds > 0);
        tarn_engine_destroy(&engine);
    }
}

static uint64_t clock_ms(void *context)
{
    return *(uint64_t *)context;
}

/* The clock of times to live jumps ahead by years and back again. */
static void clocks_jump(void)
{
    uint64_t now_ms = 1000000000;
    struct tarn_learning_params learning;
    tarn_learning_defaults(&learning);
    learning.clock_ms = clock_ms;
    learning.clock_context = &now_ms;
    tarn_engine *engine = start(&learning, 300, 0);
    REQUIRE(engine != NULL);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 12);
    static const int64_t jumps[] = {
        0, 5000, -900000000, 1, INT64_C(4000000000000), -1, INT64_C(-3999000000000), 1000};
    uint64_t hits = 0;
    for (int i = 0; i < 40000; i++) {
        if (i % 2500 == 0)
            now_ms += (uint64_t)jumps[i / 2500 % 8];
        now_ms += (uint64_t)(i % 3);
        const struct tarn_item item = {.charge = 1, .ttl_ms = i % 3 ? 0 : 1 + i % 4000};
        hits += use(engine, tarn_rng_below(&rng, 30) * tarn_rng_below(&rng, 30), &item);
    }
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(tarn_engine_cache(engine), &stats);
    CHECK(hits > 10000 && stats.expirations > 0 && stats.objects <= 300);
    CHECK(stats_of(engine).unsound_rounds == 0);
    tarn_engine_destroy(&engine);
}

/* Past 2^32 requests it does what it does elsewhere. */
static void the_count_of_requests_wraps(void)
{
    double misses[2];
    for (int wraps = 0; wraps < 2; wraps++) {
        struct tarn_learning_params learning;
        tarn_learning_defaults(&learning);
        learning.first_request = wraps ? (UINT64_C(1) << 32) - 20000 : 0;
        tarn_engine *engine = start(&learning, 600, 0);
        REQUIRE(engine != NULL);
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 13);
        misses[wraps] = 0;
        for (int i = 0; i < 60000; i++) {
            double u = tarn_rng_double(&rng);
            misses[wraps] += !use(engine, (uint64_t)(u * u * u * 4000), &one);
        }
        struct tarn_engine_stats stats = stats_of(engine);
        CHECK(stats.train_steps > 100 && stats.unsound_rounds == 0);
        tarn_engine_destroy(&engine);
    }
    printf("# misses from 0 on %g, across 2^32 %g\n", misses[0], misses[1]);
    CHECK(fabs(misses[1] / misses[0] - 1) < 0.02);
}

static void prepare(void)
{
    tarn_log_set(listen, NULL, TARN_LOG_INFO);
}

CHECK_MAIN(CASE(prepare), CASE(a_broken_network_is_replaced), CASE(the_only_version_recovers),
           CASE(lines_are_few), CASE(one_key_and_only_new_keys), CASE(all_sizes_and_operations),
           CASE(clocks_jump), CASE(the_count_of_requests_wraps))
