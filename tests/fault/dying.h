/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the tests share in which a real driver dies under an engine: its calls are linked with
 * --wrap, work as ever until they are told to fail, and count what lives.
 */
#ifndef TARN_TESTS_FAULT_DYING_H
#define TARN_TESTS_FAULT_DYING_H

#include "serving.h"

#include <unistd.h>

/** Serves until the engine has the device; false if it doesn't come. */
static inline bool serve_until_back(tarn_engine *engine, struct tarn_rng *rng)
{
    engine->retry_at = 0; /* the pauses are loss.c's matter */
    for (int i = 0; i < 4 && !stats_of(engine).on_device; i++)
        serve(engine, rng, BATCH);
    return stats_of(engine).on_device;
}

/** Serves until a failure is met, for at most `batches`; false if it isn't. */
static inline bool serve_until_lost(tarn_engine *engine, struct tarn_rng *rng, int batches)
{
    for (int i = 0; i < batches && stats_of(engine).on_device; i++)
        serve(engine, rng, BATCH);
    return !stats_of(engine).on_device;
}

/** The state of an engine whose device just died: the host does all, right, and it will try again. */
static inline void check_lost(tarn_engine *engine, uint64_t losses)
{
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK(!stats.on_device && engine->device == NULL && engine->lookup == NULL);
    CHECK_NUMBER(stats.device_losses, losses);
    CHECK(engine->retry_at > 0);
    check_index(engine);
}

static inline int run_cases(const char *id, const struct check_case *cases, size_t count)
{
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    /* a slow machine makes trials look like hangs, whose threads would live on beside the cases */
    setenv("TARN_CANARY", "off", 1);
    if (tarn_device_open(&(struct tarn_device_params){.id = id}, &device, &error) ==
        TARN_NO_DEVICE) {
        printf("1..0 # SKIP %s\n", error.message);
        return 77;
    }
    tarn_device_close(&device);
    if (mkdtemp(cache_dir) == NULL)
        return 1;
    int failed = check_run(cases, count);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", cache_dir);
    return system(command) != 0 || failed;
}

#endif
