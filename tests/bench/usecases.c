/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What networks of tags are worth where a site can say what its requests are for: each of the four
 * scenarios of `tarn trace gen`, replayed with the tags unread (the general network alone, at the same and at
 * twice the pace of training) and with a network for each tag.
 *
 *     bench_usecases [--requests N] [--objects N] [--size PERCENT] [--seeds N] [--rounds N] [SCENARIO...]
 *
 * The size is in percent of --objects. Figures are misses against those of the general network: the
 * mean of all seeds, and the least and the most.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/engine.h>

#include "base/clock.h"
#include "engine/learning.h"
#include "trace/gen.h"

enum { BATCH = 1024, VARIANTS = 4 };

static const char *const names[VARIANTS] = {"LRU", "general", "general, twice the steps", "tags"};

struct settings {
    uint64_t requests, objects, seeds;
    double percent;
    char rounds[32];
};

struct result {
    uint64_t misses;
    double cpu_us; /* a request */
};

static void fail(const char *what)
{
    fprintf(stderr, "usecases: %s\n", what);
    exit(2);
}

static void *start(const struct settings *s, int variant, uint64_t seed, tarn_cache **cache)
{
    uint64_t limit = (uint64_t)((double)s->objects * s->percent / 100);
    tarn_engine *engine = NULL;
    struct tarn_error error = {0};
    struct tarn_learning_params learning;
    if (variant == 0) {
        if (tarn_cache_create(
                &(struct tarn_cache_params){.objects = limit, .policy = TARN_CACHE_LRU}, cache) !=
            TARN_OK)
            fail("no cache");
        return NULL;
    }
    tarn_learning_defaults(&learning);
    learning.no_tags = variant < 3;
    learning.pace = variant == 2 ? 2 : 1;
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = limit,
                                                        .device = "host",
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .learning = &learning,
                                                        .seed = seed},
                           &engine, &error) != TARN_OK)
        fail(error.message);
    *cache = tarn_engine_cache(engine);
    return engine;
}

static struct result run(const struct settings *s, const char *scenario, int variant, uint64_t seed)
{
    static struct tarn_request batch[BATCH];
    const char *const settings[] = {s->rounds};
    struct result r = {0};
    tarn_gen *gen = NULL;
    tarn_cache *cache = NULL;
    struct tarn_error error = {0};
    if (tarn_gen_create(&(struct tarn_gen_params){.kind = scenario,
                                                  .requests = s->requests,
                                                  .objects = s->objects,
                                                  .seed = seed,
                                                  .settings = settings,
                                                  .setting_count = 1},
                        &gen, &error) != TARN_OK)
        fail(error.message);
    tarn_engine *engine = start(s, variant, seed, &cache);
    uint64_t before = tarn_clock_process_cpu_ns();
    for (size_t count; (count = tarn_gen_read(gen, batch, BATCH)) > 0;)
        for (size_t i = 0; i < count; i++) {
            const struct tarn_request *q = &batch[i];
            size_t room = 0;
            if (tarn_cache_get(cache, &q->key, sizeof q->key, NULL, &room) != TARN_OK) {
                r.misses++;
                tarn_cache_put(cache, &q->key, sizeof q->key,
                               &(struct tarn_item){.charge = 1, .tag = q->tag});
            }
            if (engine != NULL)
                tarn_engine_step(engine);
        }
    r.cpu_us = (double)(tarn_clock_process_cpu_ns() - before) * 1e-3 / (double)s->requests;
    if (engine != NULL)
        tarn_engine_destroy(&engine);
    else
        tarn_cache_destroy(&cache);
    tarn_gen_destroy(&gen);
    return r;
}

static void compare(const struct settings *s, const char *scenario)
{
    double sum[VARIANTS] = {0}, least[VARIANTS], most[VARIANTS], ratio[VARIANTS] = {0},
           cpu[VARIANTS] = {0};
    for (uint64_t seed = 1; seed <= s->seeds; seed++) {
        struct result r[VARIANTS];
        for (int v = 0; v < VARIANTS; v++)
            r[v] = run(s, scenario, v, seed);
        for (int v = 0; v < VARIANTS; v++) {
            double more = (double)r[v].misses / (double)r[1].misses - 1;
            least[v] = seed == 1 || more < least[v] ? more : least[v];
            most[v] = seed == 1 || more > most[v] ? more : most[v];
            sum[v] += more;
            ratio[v] += (double)r[v].misses / (double)s->requests;
            cpu[v] += r[v].cpu_us;
        }
    }
    double n = (double)s->seeds;
    for (int v = 0; v < VARIANTS; v++)
        printf("| %s | %s | %.4f | %+.2f %% | %+.2f ... %+.2f %% | %.2f |\n", scenario, names[v],
               ratio[v] / n, 100 * sum[v] / n, 100 * least[v], 100 * most[v], cpu[v] / n);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const char *const all[] = {"market", "shop", "sensors", "streaming"};
    struct settings s = {.requests = 400000, .objects = 20000, .seeds = 3, .percent = 10};
    const char *only[4];
    int count = 0;
    snprintf(s.rounds, sizeof s.rounds, "rounds=3");
    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--requests") == 0)
            s.requests = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--objects") == 0)
            s.objects = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seeds") == 0)
            s.seeds = strtoull(argv[++i], NULL, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--size") == 0)
            s.percent = strtod(argv[++i], NULL);
        else if (i + 1 < argc && strcmp(argv[i], "--rounds") == 0)
            snprintf(s.rounds, sizeof s.rounds, "rounds=%s", argv[++i]);
        else if (argv[i][0] != '-' && count < 4)
            only[count++] = argv[i];
        else
            fail("what is that option?");
    }
    printf(
        "| scenario | scored by | miss ratio | misses, to the general network | least ... most | "
        "us CPU |\n|---|---|---|---|---|---|\n");
    for (int i = 0; i < (count > 0 ? count : 4); i++)
        compare(&s, count > 0 ? only[i] : all[i]);
    return 0;
}
