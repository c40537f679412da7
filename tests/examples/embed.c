/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of somebody else's: a cache that learns, by the installed headers and library only.
 *
 *     cc embed.c $(pkg-config --cflags --libs tarn) -o embed && ./embed
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/cache.h>
#include <tarn/engine.h>
#include <tarn/gpu.h>
#include <tarn/log.h>
#include <tarn/model.h>
#include <tarn/status.h>

#define REQUESTS 200000
#define HOT      1500 /* keys asked for again and again: they fit */
#define ROOM     2000 /* objects */

static void print(void *user, tarn_log_level level, const char *message)
{
    (void)level;
    fprintf(user, "%s\n", message);
}

/* Each second request is for something that is never wanted again. */
static uint64_t next_key(uint64_t i)
{
    uint64_t mixed = (i + 1) * 0x9e3779b97f4a7c15u;
    return i % 2 ? 1000000 + i : (mixed >> 33) % HOT;
}

/* Stores what misses, as any user of a cache does, and compares what hits. */
static bool use(tarn_engine *engine, double *hit_ratio)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    for (uint64_t i = 0; i < REQUESTS; i++) {
        uint64_t key = next_key(i), value[4] = {key, ~key, i, 0}, found[4];
        size_t size = sizeof found;
        tarn_status status = tarn_cache_get(cache, &key, sizeof key, found, &size);
        if (status == TARN_NOT_FOUND)
            status =
                tarn_cache_put(cache, &key, sizeof key,
                               &(struct tarn_item){.value = value, .value_size = sizeof value});
        else if (status == TARN_OK &&
                 (size != sizeof found || found[0] != key || found[1] != ~key)) {
            fprintf(stderr, "embed: a wrong value for key %llu\n", (unsigned long long)key);
            return false;
        }
        if (status != TARN_OK) {
            fprintf(stderr, "embed: %s\n", tarn_status_message(status));
            return false;
        }
        tarn_engine_step(engine);
    }
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(cache, &stats);
    *hit_ratio = (double)stats.hits / (double)stats.gets;
    if (stats.gets != REQUESTS || stats.objects > ROOM) {
        fprintf(stderr, "embed: the counters are off\n");
        return false;
    }
    return true;
}

static bool run(const char *device, bool learn, double *hit_ratio, uint64_t *steps)
{
    struct tarn_error error;
    tarn_engine *engine;
    tarn_status status =
        tarn_engine_create(&(struct tarn_engine_params){.objects = ROOM,
                                                        .device = device,
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .no_learn = !learn},
                           &engine, &error);
    if (status != TARN_OK) {
        fprintf(stderr, "embed: %s\n", error.message);
        return false;
    }
    bool ok = use(engine, hit_ratio);
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    *steps = stats.train_steps;
    printf("%s: %.1f %% hits, %llu training steps\n", tarn_engine_device(engine)->name,
           100 * *hit_ratio, (unsigned long long)stats.train_steps);
    tarn_engine_destroy(&engine);
    return ok && engine == NULL;
}

int main(int count, char **arguments)
{
    const char *device = count > 1 ? arguments[1] : "auto";
    tarn_log_set(print, stderr, TARN_LOG_WARNING);
    double learned, fixed;
    uint64_t steps, none;
    if (!run(device, true, &learned, &steps) || !run(device, false, &fixed, &none))
        return 1;
    /* LRU would turn the whole cache over every 4,000 requests: of the hot keys, a quarter would go */
    if (steps == 0 || none != 0 || learned < 0.35) {
        fprintf(stderr, "embed: it learned nothing\n");
        return 1;
    }
    return 0;
}
