/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What it brings that the experts' weights of a class come back with it: misses of one engine that does so
 * and of one that doesn't, for the same requests.
 *
 *     bench_recall [--limit N] [SIZE% TRACE...]    generated phases (day and night, and others), or traces
 *     bench_recall KINDS OBJECTS PERIOD            phases of these, in a cache of so many objects
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/feedback.h>

#include "engine/learning.h"
#include "trace/gen.h"
#include "trace/trace.h"

#define OBJECTS 20000

struct side {
    tarn_engine *engine;
    uint64_t misses;
};

static void open_side(struct side *side, uint64_t objects, bool recall, uint64_t seed)
{
    struct tarn_error error;
    struct tarn_learning_params learning;
    tarn_learning_defaults(&learning);
    learning.recall = recall;
    *side = (struct side){0};
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = objects,
                                                        .device = "host",
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .learning = &learning,
                                                        .seed = seed},
                           &side->engine, &error) != TARN_OK) {
        fprintf(stderr, "recall: %s\n", error.message);
        exit(1);
    }
}

static void serve(struct side *side, uint64_t key)
{
    const struct tarn_item item = {.charge = 1};
    tarn_cache *cache = tarn_engine_cache(side->engine);
    size_t room = 0;
    if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK) {
        side->misses++;
        tarn_cache_put(cache, &key, sizeof key, &item);
    }
    tarn_engine_step(side->engine);
}

static void print(const char *name, uint64_t requests, struct side sides[2])
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(sides[1].engine, &stats);
    double without = (double)sides[0].misses, with = (double)sides[1].misses;
    printf("| %s | %llu | %.4f | %.4f | %+.2f %% |\n", name,
           (unsigned long long)stats.workload_changes, without / (double)requests,
           with / (double)requests, 100 * (with / without - 1));
    fflush(stdout);
    tarn_engine_destroy(&sides[0].engine);
    tarn_engine_destroy(&sides[1].engine);
}

static void run_phases(const char *kinds, const char *period, uint64_t objects, uint64_t seed)
{
    char settings[3][64], name[96];
    const char *list[] = {settings[0], settings[1], settings[2]};
    struct tarn_error error;
    struct tarn_request request;
    struct side sides[2];
    tarn_gen *gen;
    snprintf(settings[0], sizeof settings[0], "kinds=%s", kinds);
    snprintf(settings[1], sizeof settings[1], "period=%s", period);
    snprintf(settings[2], sizeof settings[2], "phases=12");
    struct tarn_gen_params params = {
        .kind = "phases",
        .requests = 12 * strtoull(period, NULL, 10),
        .objects = OBJECTS,
        .seed = seed,
        .settings = list,
        .setting_count = 3,
    };
    if (tarn_gen_create(&params, &gen, &error) != TARN_OK) {
        fprintf(stderr, "recall: %s\n", error.message);
        exit(1);
    }
    for (int k = 0; k < 2; k++)
        open_side(&sides[k], objects, k == 1, seed);
    while (tarn_gen_read(gen, &request, 1) == 1)
        for (int k = 0; k < 2; k++)
            serve(&sides[k], request.key);
    snprintf(name, sizeof name, "%s, %s each, %llu objects, seed %llu", kinds, period,
             (unsigned long long)objects, (unsigned long long)seed);
    print(name, params.requests, sides);
    tarn_gen_destroy(&gen);
}

static void run_trace(const char *path, double share, uint64_t limit)
{
    struct tarn_trace_data *data;
    struct tarn_error error;
    struct side sides[2];
    if (tarn_trace_load(path, &(struct tarn_trace_load_params){.limit = limit}, &data, &error) !=
        TARN_OK) {
        fprintf(stderr, "recall: %s\n", error.message);
        exit(1);
    }
    double objects = share * data->objects;
    for (int k = 0; k < 2; k++)
        open_side(&sides[k], objects < 50 ? 50 : (uint64_t)objects, k == 1, 1);
    for (size_t i = 0; i < data->count; i++)
        for (int k = 0; k < 2; k++)
            serve(&sides[k], data->key[data->object[i]]);
    print(data->name, data->count, sides);
    tarn_trace_data_free(&data);
}

int main(int argc, char **argv)
{
    static const char *const kinds[] = {"zipf+loop", "recency+burst", "zipf+recency", "scan+zipf"};
    uint64_t limit = 0;
    int at = 1;
    if (at + 1 < argc && strcmp(argv[at], "--limit") == 0) {
        limit = strtoull(argv[at + 1], NULL, 10);
        at += 2;
    }
    bool given = at + 3 == argc && strchr(argv[at], '+') != NULL;
    printf("| requests | changes of class | miss ratio without | with | misses |\n"
           "|---|---|---|---|---|\n");
    for (uint64_t seed = 1; given && seed <= 2; seed++)
        run_phases(argv[at], argv[at + 2], strtoull(argv[at + 1], NULL, 10), seed);
    for (int i = at + 1; !given && i < argc; i++)
        run_trace(argv[i], strtod(argv[at], NULL) / 100, limit);
    for (size_t i = 0; at >= argc && i < sizeof kinds / sizeof kinds[0]; i++)
        for (uint64_t seed = 1; seed <= 2; seed++)
            run_phases(kinds[i], "50000", OBJECTS / 20, seed);
    return 0;
}
