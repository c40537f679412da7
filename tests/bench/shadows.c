/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What miniature caches cost and gain, the experts' and those of the watch. Four engines see the same
 * requests in turns of a few thousand, so that neighbours on the machine slow down all: one with everything,
 * one without the watch, one whose experts have the first one's weights but no shadows, and one with the
 * network alone. The steps between them are what the watch and the shadows take, and what it takes to score
 * with several experts. CPU time of the thread.
 *
 *     bench_shadows [--sized] [OBJECTS...]    sizes of the cache (250 to 262144), in objects of one size
 *                                             or of many
 */
#include <stdio.h>
#include <stdlib.h>
#include <tarn/engine.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/rng.h"
#include "engine/engine_private.h"

#define TURN     4000
#define MEASURED 400000 /* requests at least, after the cache is full and the network has learned */
#define WARM     3      /* times its objects, and at least */
#define LEAST    100000
#define MEAN     1000 /* bytes of an object, where sizes differ */

struct side {
    tarn_engine *engine;
    uint64_t cpu_ns, misses;
};

/* Popularity by a power law, a part of which moves on, and scans now and then. */
struct source {
    struct tarn_rng rng;
    uint64_t objects, now, scan, scanned;
};

static uint64_t next_key(struct source *s)
{
    s->now++;
    if (s->scan == 0 && tarn_rng_below(&s->rng, 40000) == 0)
        s->scan = s->objects / 20 + 1;
    if (s->scan > 0 && tarn_rng_below(&s->rng, 2) == 0) {
        s->scan--;
        return UINT64_C(1) << 40 | s->scanned++;
    }
    double u = tarn_rng_double(&s->rng), v = tarn_rng_double(&s->rng);
    uint64_t rank = (uint64_t)(u * u * u * u * v * (double)s->objects);
    return rank % 3 == 0 ? rank + s->now / 4 / s->objects * 7 : rank;
}

/* From a tenth of the mean to three times as much. */
static uint64_t size_of(uint64_t key)
{
    uint64_t i = tarn_mix64(key) % 64;
    return MEAN / 10 + i * i * MEAN / 1400;
}

static bool open_side(struct side *side, uint64_t objects, bool sized, bool shadows)
{
    struct tarn_error error;
    *side = (struct side){0};
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = sized ? 0 : objects,
                                                        .memory = sized ? objects * MEAN : 0,
                                                        .device = "host",
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .no_shadows = !shadows,
                                                        .seed = 1},
                           &side->engine, &error) == TARN_OK)
        return true;
    fprintf(stderr, "shadows: %s\n", error.message);
    return false;
}

static void serve(struct side *side, const uint64_t *keys, bool sized, bool counts)
{
    tarn_cache *cache = tarn_engine_cache(side->engine);
    uint64_t begin = tarn_clock_thread_cpu_ns(), misses = 0;
    for (size_t i = 0; i < TURN; i++) {
        size_t room = 0;
        if (tarn_cache_get(cache, &keys[i], sizeof keys[i], NULL, &room) != TARN_OK) {
            misses++;
            tarn_cache_put(cache, &keys[i], sizeof keys[i],
                           &(struct tarn_item){.charge = sized ? size_of(keys[i]) : 1});
        }
        tarn_engine_step(side->engine);
    }
    if (!counts)
        return;
    side->cpu_ns += tarn_clock_thread_cpu_ns() - begin;
    side->misses += misses;
}

/* The experts' say without what found it: nothing is sampled. */
static void follow(struct side *side, const struct side *leader)
{
    struct tarn_learned *own = side->engine->learned, *other = leader->engine->learned;
    own->mix.threshold = 0;
    memcpy(own->live.weight, other->live.weight, sizeof own->live.weight);
}

static bool run(uint64_t objects, bool sized)
{
    struct source source = {.objects = objects * 8};
    struct side with, unwatched, without, told;
    struct side *const sides[] = {&with, &unwatched, &without, &told};
    uint64_t keys[TURN], warm = objects * WARM < LEAST ? LEAST : objects * WARM, done = 0;
    tarn_rng_seed(&source.rng, objects);
    if (!open_side(&with, objects, sized, true) || !open_side(&without, objects, sized, false) ||
        !open_side(&told, objects, sized, true) || !open_side(&unwatched, objects, sized, true))
        return false;
    unwatched.engine->versions.unwatched = told.engine->versions.unwatched = "to compare";
    for (; done < warm + MEASURED; done += TURN) {
        for (size_t i = 0; i < TURN; i++)
            keys[i] = next_key(&source);
        follow(&told, &with);
        for (size_t i = 0; i < 4; i++)
            serve(sides[(i + done / TURN) % 4], keys, sized, done >= warm);
    }
    double n = (double)(done - (warm + TURN - 1) / TURN * TURN);
    double a = (double)with.cpu_ns / n, b = (double)without.cpu_ns / n, c = (double)told.cpu_ns / n;
    double u = (double)unwatched.cpu_ns / n;
    printf("%8llu  %8.4f %8.4f  %6.0f  %6.0f  %6.0f  %6.0f  %6.1f %%  %6.1f %%  %6.1f %%  %8.4f  "
           "%8.4f\n",
           (unsigned long long)objects, (double)with.engine->learned->mix.share,
           (double)with.engine->versions.trial.share, a, u, c, b, 100 * (a - u) / a,
           100 * (u - c) / a, 100 * (a - b) / a, (double)with.misses / n,
           (double)without.misses / n);
    fflush(stdout);
    for (size_t i = 0; i < 4; i++)
        tarn_engine_destroy(&sides[i]->engine);
    return true;
}

int main(int argc, char **argv)
{
    static const uint64_t usual[] = {250, 1000, 4000, 16384, 65536, 262144};
    printf(
        "%8s  %17s  %30s  %28s  %18s\n%8s  %8s %8s  %6s  %6s  %6s  %6s  %8s  %8s  %8s  %8s  %8s\n",
        "", "share of keys", "ns a request", "share of CPU", "miss ratio", "objects", "shadows",
        "watch", "all", "no w.", "told", "none", "watch", "shadows", "all", "all", "none");
    bool sized = argc > 1 && strcmp(argv[1], "--sized") == 0;
    for (int i = 1 + sized; i < argc; i++)
        if (!run(strtoull(argv[i], NULL, 10), sized))
            return 1;
    for (size_t i = 0; argc < 2 + sized && i < sizeof usual / sizeof usual[0]; i++)
        if (!run(usual[i], sized))
            return 1;
    return 0;
}
