/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that are lost, hang or have no memory left under a whole engine in use: no answer changes,
 * nobody waits, nothing leaks, and the device is used again later.
 */
#include "serving.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

static void lose_and_return(const char *id, int losses)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 9);
    tarn_engine *engine = open_engine(id, TARN_BACKGROUND_STEPS);
    if (engine == NULL)
        return;
    serve(engine, &rng, 4 * SECOND);
    struct tarn_engine_stats before = stats_of(engine);
    CHECK(before.on_device && before.device_losses == 0 && before.lookup.launches > 0);
    CHECK(before.train_steps > 0);
    for (int loss = 1; loss <= losses; loss++) {
        tarn_queue_finish(engine->train_queue, TARN_FOREVER);
        tarn_queue_finish(engine->score_queue, TARN_FOREVER);
        tarn_device_mark_lost(engine->device);
        serve(engine, &rng, BATCH); /* within one batch the host does it */
        struct tarn_engine_stats lost = stats_of(engine);
        CHECK(!lost.on_device && engine->device == NULL && engine->lookup == NULL);
        CHECK_NUMBER(lost.device_losses, loss);
        CHECK(strcmp(tarn_engine_device(engine)->id, id) == 0);
        check_index(engine);
        /* the pause doubles: still gone just before its end, back just after */
        uint64_t gets = (uint64_t)KEYS + BATCH, pause = (uint64_t)SECOND << (loss - 1);
        if (pause > gets + 2 * BATCH)
            serve(engine, &rng, pause - gets - 2 * BATCH);
        CHECK(loss == 1 || !stats_of(engine).on_device);
        serve(engine, &rng, 6 * BATCH);
        struct tarn_engine_stats back = stats_of(engine);
        CHECK(back.on_device);
        CHECK_NUMBER(back.device_returns, loss);
        check_index(engine);
        serve(engine, &rng, 2 * SECOND);
        struct tarn_engine_stats after = stats_of(engine);
        CHECK(after.lookup.launches > back.lookup.launches); /* and in use */
        CHECK(after.train_steps > lost.train_steps);
        CHECK(after.on_device && after.lookup.elements >= before.lookup.elements);
    }
    check_index(engine);
    tarn_engine_destroy(&engine);
}

static void a_simulated_device_comes_back(void)
{
    lose_and_return("virtual:mali", 3);
}

static void a_real_device_comes_back(void)
{
    struct tarn_device_info *infos;
    size_t count;
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    for (size_t i = 0; i < count; i++)
        if (infos[i].type == TARN_DEVICE_GPU || infos[i].type == TARN_DEVICE_CPU)
            lose_and_return(infos[i].id, 1);
    tarn_devices_free(&infos);
}

struct killer {
    tarn_engine *engine;
    atomic_bool stop;
};

static void *kill_often(void *context)
{
    struct killer *killer = context;
    while (!atomic_load(&killer->stop)) {
        usleep(100000);
        pthread_mutex_lock(&killer->engine->background_lock);
        if (killer->engine->device != NULL)
            tarn_device_mark_lost(killer->engine->device);
        else
            killer->engine->retry_at = 0; /* no need to wait seconds here */
        pthread_mutex_unlock(&killer->engine->background_lock);
    }
    return NULL;
}

/* With the engine's own thread, lookups under way, and the device lost ten times a second. */
static void losses_at_any_moment_do_no_harm(void)
{
    tarn_engine *engine = open_engine("virtual:jetson", TARN_BACKGROUND_THREAD);
    REQUIRE(engine != NULL);
    struct killer killer = {.engine = engine};
    pthread_t thread;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    atomic_init(&killer.stop, false);
    REQUIRE(pthread_create(&thread, NULL, kill_often, &killer) == 0);
    uint64_t started = tarn_clock_ns();
    while (tarn_clock_ns() - started < 1500000000u)
        serve(engine, &rng, BATCH);
    atomic_store(&killer.stop, true);
    pthread_join(thread, NULL);
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK(stats.device_losses >= 3 && stats.device_returns >= 2);
    check_index(engine);
    tarn_engine_destroy(&engine);
}

/* The table is growing, the device copies: both halves move, and all of it is uploaded again. */
static void a_growing_index_moves(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 6);
    setenv("TARN_UNIFIED", "off", 1);
    tarn_engine *engine = NULL;
    CHECK(tarn_engine_create(&(struct tarn_engine_params){.memory = 64 << 20,
                                                          .device = "virtual:videocore",
                                                          .background = TARN_BACKGROUND_STEPS},
                             &engine, NULL) == TARN_OK);
    if (engine == NULL)
        return;
    int moved_while_growing = 0;
    for (int round = 0; round < 40; round++) {
        serve(engine, &rng, 1000);
        struct tarn_index_view view =
            tarn_index_get_view(tarn_cache_table(tarn_engine_cache(engine))->index);
        moved_while_growing += view.growing;
        if (engine->device != NULL)
            tarn_device_mark_lost(engine->device);
        else
            engine->retry_at = 0;
        check_index(engine);
    }
    CHECK(moved_while_growing > 0);
    CHECK(stats_of(engine).device_returns > 5);
    tarn_engine_destroy(&engine);
    unsetenv("TARN_UNIFIED");
}

static void quarantined_kernels_stay_on_the_host(void)
{
    static const char *const lists[] = {"virtual:mali/lookup", "virtual:mali/forward",
                                        "virtual:mali/train", "virtual:mali/*"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 7);
        setenv("TARN_QUARANTINE", lists[i], 1);
        tarn_engine *engine = open_engine("virtual:mali", TARN_BACKGROUND_STEPS);
        REQUIRE(engine != NULL);
        CHECK((engine->lookup == NULL) == (i == 0 || i == 3));
        CHECK((engine->score == NULL) == (i == 1 || i == 3));
        CHECK(engine->trains_on_device == (i < 2));
        serve(engine, &rng, 3 * SECOND);
        struct tarn_engine_stats stats = stats_of(engine);
        CHECK(stats.on_device && stats.device_losses == 0 && stats.train_steps > 0);
        CHECK((stats.lookup.launches == 0) == (i == 0 || i == 3));
        check_index(engine);
        tarn_engine_destroy(&engine);
    }
    unsetenv("TARN_QUARANTINE");
}

int main(void)
{
    static const struct check_case cases[] = {
        CASE(a_simulated_device_comes_back),        CASE(a_real_device_comes_back),
        CASE(losses_at_any_moment_do_no_harm),      CASE(a_growing_index_moves),
        CASE(quarantined_kernels_stay_on_the_host),
    };
    if (mkdtemp(cache_dir) == NULL)
        return 1;
    int failed = check_run(cases, sizeof cases / sizeof cases[0]);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", cache_dir);
    return system(command) != 0 || failed;
}
