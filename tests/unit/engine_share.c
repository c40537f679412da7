/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's training under the arbiter: when it runs, and what it makes room for. */
#include "../check.h"

#include <math.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <tarn/engine.h>

#include "base/rng.h"

#define OBJECTS 900
#define KEYS    4096 /* of a lookup, enough for a device */

static char root[] = "/tmp/tarn-board-XXXXXX";

static void write_file(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    if (file == NULL)
        return;
    fputs(text, file);
    fclose(file);
}

/* A board of which nothing is wrong. */
static bool make_board(void)
{
    strcpy(root, "/tmp/tarn-board-XXXXXX");
    if (mkdtemp(root) == NULL)
        return false;
    write_file("sys/class/thermal/thermal_zone0/type", "gpu-thermal\n");
    write_file("sys/class/thermal/thermal_zone0/temp", "45000\n");
    write_file("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 3000000 kB\n");
    write_file("proc/pressure/memory", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
    setenv("TARN_SYSFS_ROOT", root, 1);
    return true;
}

static void remove_board(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", root);
    CHECK(system(command) == 0);
    unsetenv("TARN_SYSFS_ROOT");
}

static tarn_engine *open_engine(const char *device)
{
    tarn_engine *engine = NULL;
    struct tarn_error error = {0};
    const struct tarn_engine_params params = {.objects = OBJECTS,
                                              .device = device,
                                              .train_dwell_us = 40000,
                                              .background = TARN_BACKGROUND_THREAD};
    if (tarn_engine_create(&params, &engine, &error) != TARN_OK)
        printf("# %s: %s\n", device, error.message);
    return engine;
}

static struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

/* Requests for a while, so that there is something to learn. */
static void serve(tarn_engine *engine, int ms, struct tarn_rng *rng)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    for (int i = 0; i < ms; i++) {
        for (int n = 0; n < 200; n++) {
            double u = tarn_rng_double(rng);
            uint64_t key = (uint64_t)(u * u * u * 8000);
            size_t room = 0;
            if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
                CHECK(tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1}) ==
                      TARN_OK);
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* True once `steps` more were done; gives up after ten seconds. */
static bool trains(tarn_engine *engine, uint64_t steps, struct tarn_rng *rng)
{
    uint64_t before = stats_of(engine).train_steps;
    for (int i = 0; i < 200 && stats_of(engine).train_steps < before + steps; i++)
        serve(engine, 50, rng);
    return stats_of(engine).train_steps >= before + steps;
}

static void check_training_on(const char *device)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    REQUIRE(make_board());
    tarn_engine *engine = open_engine(device);
    REQUIRE(engine != NULL);
    CHECK(trains(engine, 30, &rng));
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK(stats.share.state == TARN_SHARE_TRAINING && stats.share.slices > 0);
    CHECK(stats.share.failure == TARN_OK && stats.share.transitions >= 2);
    CHECK(stats.train.launches > 0 && stats.train.device_ns > 0 && isfinite(stats.loss));
    tarn_engine_set_training(engine, false);
    serve(engine, 60, &rng);
    uint64_t steps = stats_of(engine).train_steps;
    serve(engine, 200, &rng);
    CHECK_NUMBER(stats_of(engine).train_steps, steps);
    tarn_engine_set_training(engine, true);
    CHECK(trains(engine, 20, &rng));
    tarn_engine_destroy(&engine);
    remove_board();
}

static void training_runs_on_the_host(void)
{
    check_training_on("host");
}

static void training_runs_on_simulated_devices(void)
{
    check_training_on("virtual:mali");
    check_training_on("virtual:videocore");
}

static void lookups_are_announced(void)
{
    struct tarn_rng rng;
    static uint64_t keys[KEYS];
    static const void *pointers[KEYS];
    static size_t sizes[KEYS];
    static uint32_t slots[KEYS];
    tarn_rng_seed(&rng, 4);
    tarn_engine *engine = open_engine("virtual:jetson");
    REQUIRE(engine != NULL);
    for (int i = 0; i < KEYS; i++) {
        keys[i] = tarn_rng_below(&rng, 3000);
        pointers[i] = &keys[i];
        sizes[i] = sizeof keys[i];
    }
    CHECK(trains(engine, 10, &rng));
    uint64_t arrivals = stats_of(engine).share.arrivals;
    for (int i = 0; i < 50; i++)
        CHECK(tarn_engine_lookup(engine, pointers, sizes, KEYS, slots) == TARN_OK);
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK(stats.lookup.launches >= 50);
    CHECK(stats.share.arrivals >= arrivals + 50);
    CHECK(stats.share.p99_us > 0);
    tarn_engine_destroy(&engine);
}

/* Nothing is trained on a board that is too hot; why can be asked. */
static void heat_stops_training(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    REQUIRE(make_board());
    write_file("sys/class/thermal/thermal_zone0/temp", "91000\n");
    const struct tarn_engine_params params = {.objects = OBJECTS,
                                              .device = "host",
                                              .train_dwell_us = 40000,
                                              .train_max_temp_c = 80,
                                              .background = TARN_BACKGROUND_THREAD};
    tarn_engine *engine = NULL;
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    serve(engine, 600, &rng);
    CHECK_NUMBER(stats_of(engine).train_steps, 0);
    CHECK(stats_of(engine).share.state != TARN_SHARE_TRAINING);
    CHECK(stats_of(engine).samples > 0); /* requests go on */
    tarn_engine_destroy(&engine);
    remove_board();
}

/* Samples are given back while memory is short. */
static void memory_is_given_back(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    REQUIRE(make_board());
    tarn_engine *engine = open_engine("host");
    REQUIRE(engine != NULL);
    CHECK(trains(engine, 10, &rng));
    uint64_t memory = stats_of(engine).train_memory;
    CHECK(memory > 1000000);
    write_file("proc/pressure/memory",
               "some avg10=45.00 avg60=30.00 avg300=5.00 total=900000000\n");
    write_file("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 40000 kB\n");
    for (int i = 0; i < 60 && stats_of(engine).train_memory == memory; i++)
        serve(engine, 50, &rng);
    CHECK(stats_of(engine).train_memory < memory / 10);
    serve(engine, 100, &rng);
    uint64_t steps = stats_of(engine).train_steps;
    serve(engine, 100, &rng);
    CHECK_NUMBER(stats_of(engine).train_steps, steps);
    tarn_engine_destroy(&engine);
    remove_board();
}

static void a_budget_for_samples_is_kept(void)
{
    for (uint64_t memory = 131072; memory <= 1 << 20; memory *= 2) {
        const struct tarn_engine_params params = {.objects = OBJECTS,
                                                  .device = "host",
                                                  .train_memory = memory,
                                                  .background = TARN_BACKGROUND_THREAD};
        tarn_engine *engine = NULL;
        REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
        CHECK(stats_of(engine).train_memory <= memory);
        tarn_engine_destroy(&engine);
    }
}

CHECK_MAIN(CASE(training_runs_on_the_host), CASE(training_runs_on_simulated_devices),
           CASE(lookups_are_announced), CASE(heat_stops_training), CASE(memory_is_given_back),
           CASE(a_budget_for_samples_is_kept))
