/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the learned policy saves and loses when it gives something up under load (the width, enum tarn_relief): an engine
 * for each level, and one that doesn't train either, see the same requests in turns of a few thousand, so that
 * neighbours on the machine slow down all. CPU time of the thread; means over all traces and sizes.
 *
 *     bench_relief [--limit N] [--size 0.1,1,10] TRACE...     sizes are percents of the footprint
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/engine_private.h"
#include "engine/width.h"
#include "trace/trace.h"

enum { EVERYTHING, NARROW, RELIEVED, UNTRAINED = RELIEVED + TARN_RELIEFS - 1, SIDES };
enum { TURN = 4000, LEAST_OBJECTS = 50, MOST_SIZES = 8 };

static const char *const names[SIDES] = {
    "everything on",    "the narrowest network", "and half of the shadows' keys",
    "and short rounds", "and no shadows",        "and no training"};

struct side {
    tarn_engine *engine;
    uint64_t cpu_ns, misses;
};

static struct {
    double us, most_us, misses, worst;
} sum[SIDES];
static int cells;

static void fail(const char *message)
{
    fprintf(stderr, "relief: %s\n", message);
    exit(1);
}

static void open_side(struct side *side, int level, const struct tarn_trace_data *trace,
                      uint64_t capacity)
{
    struct tarn_error error;
    *side = (struct side){0};
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = trace->unit_sizes ? capacity : 0,
                                                        .memory = trace->unit_sizes ? 0 : capacity,
                                                        .device = "host",
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .no_learn = level == UNTRAINED},
                           &side->engine, &error) != TARN_OK)
        fail(error.message);
    if (level == EVERYTHING)
        return;
    tarn_width_press(side->engine, 1);
    int relief = level == UNTRAINED ? TARN_RELIEF_NO_SHADOWS : level - NARROW;
    tarn_cache_lock(side->engine->cache);
    tarn_learned_relieve(side->engine->learned, (tarn_relief)relief);
    tarn_cache_unlock(side->engine->cache);
}

static void serve(struct side *side, const struct tarn_trace_data *trace, size_t from, size_t to)
{
    tarn_cache *cache = tarn_engine_cache(side->engine);
    uint64_t begin = tarn_clock_thread_cpu_ns();
    for (size_t i = from; i < to; i++) {
        const uint64_t *key = &trace->key[trace->object[i]];
        size_t room = 0;
        if (tarn_cache_get(cache, key, sizeof *key, NULL, &room) != TARN_OK) {
            side->misses++;
            tarn_cache_put(cache, key, sizeof *key, &(struct tarn_item){.charge = trace->size[i]});
        }
        tarn_engine_step(side->engine);
    }
    side->cpu_ns += tarn_clock_thread_cpu_ns() - begin;
}

static void run(const struct tarn_trace_data *trace, double share)
{
    struct side sides[SIDES];
    uint64_t capacity = (uint64_t)((double)trace->footprint * share);
    if ((double)capacity * trace->objects / (double)trace->footprint < LEAST_OBJECTS - 2)
        return;
    for (int k = 0; k < SIDES; k++)
        open_side(&sides[k], k, trace, capacity);
    for (size_t from = 0; from < trace->count; from += TURN) {
        size_t to = from + TURN < trace->count ? from + TURN : trace->count;
        for (size_t k = 0; k < SIDES; k++)
            serve(&sides[(k + from / TURN) % SIDES], trace, from, to);
    }
    for (int k = 0; k < SIDES; k++) {
        double us = (double)sides[k].cpu_ns / (double)trace->count / 1e3;
        double more = (double)sides[k].misses / (double)sides[0].misses - 1;
        sum[k].us += us;
        sum[k].most_us = fmax(sum[k].most_us, us);
        sum[k].misses += more;
        sum[k].worst = fmax(sum[k].worst, more);
        tarn_engine_destroy(&sides[k].engine);
    }
    cells++;
}

int main(int argc, char **argv)
{
    double sizes[MOST_SIZES] = {0.1, 1, 10};
    struct tarn_trace_load_params load = {0};
    int count = 3;
    for (int i = 1; i < argc; i++) {
        struct tarn_trace_data *trace = NULL;
        struct tarn_error error;
        if (strcmp(argv[i], "--limit") == 0 && i + 1 < argc) {
            load.limit = strtoull(argv[++i], NULL, 10);
            continue;
        }
        if (strcmp(argv[i], "--size") == 0 && i + 1 < argc) {
            char *at = argv[++i];
            for (count = 0; count < MOST_SIZES && *at != '\0'; count++) {
                sizes[count] = strtod(at, &at);
                at += *at == ',';
            }
            continue;
        }
        if (tarn_trace_load(argv[i], &load, &trace, &error) != TARN_OK)
            fail(error.message);
        for (int s = 0; s < count; s++)
            run(trace, sizes[s] / 100);
        tarn_trace_data_free(&trace);
    }
    if (cells == 0)
        fail("traces are needed, of a cache of 50 objects at least");
    printf("%d cells\n%-26s  %8s  %8s  %8s  %8s\n", cells, "", "us", "most", "misses", "worst");
    for (int k = 0; k < SIDES; k++)
        printf("%-26s  %8.2f  %8.2f  %+7.2f%%  %+7.2f%%\n", names[k], sum[k].us / cells,
               sum[k].most_us, 100 * sum[k].misses / cells, 100 * sum[k].worst);
    return 0;
}
