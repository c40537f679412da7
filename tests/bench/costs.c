/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What counting the costs of misses brings: the learned policy with the goal of requests and of latency, LRU,
 * and GreedyDual-Size-Frequency without and with the costs, over traces (whose objects get costs by the hash of
 * their key, unless the trace has some) and generated workloads. A table in markdown: what the misses cost, of
 * what all gets together would.
 *
 *     bench_costs [--limit N] [--size 1,10] [TRACE...]     sizes are percents of the footprint
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "sim/replay.h"
#include "trace/gen.h"

enum { RUNS = 5, MOST_SIZES = 8, BATCH = 1024 };

static const struct {
    const char *head, *policy;
    bool latency;
} runs[RUNS] = {
    {"LRU", "lru", false},
    {"GDSF", "gdsf", false},
    {"GDSF(cost)", "gdsf", true},
    {"learned, requests", "learned", false},
    {"learned, latency", "learned", true},
};

/* How an object gets its cost. */
static const struct {
    const char *name;
    double sigma, factor; /* of a lognormal; of one object in ten */
} kinds[] = {{"lognormal", 1.2, 1}, {"two", 0, 50}};

static double sums[RUNS];
static int rows;

static void fail(const char *message)
{
    fprintf(stderr, "costs: %s\n", message);
    exit(1);
}

static void set_costs(struct tarn_trace_data *trace, size_t kind)
{
    for (size_t i = 0; i < trace->count; i++) {
        uint64_t own = tarn_mix64(trace->key[trace->object[i]] ^ 0x636f737473u);
        double u = ((double)(tarn_mix64(own) >> 11) + 1) * 0x1p-53;
        double v = (double)(tarn_mix64(own + 1) >> 11) * 0x1p-53;
        double normal = sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
        double factor = (double)(own >> 11) * 0x1p-53 < 0.1 ? kinds[kind].factor : 1;
        trace->cost[i] = (float)(1000 * factor * exp(kinds[kind].sigma * normal));
    }
}

static void print_row(const struct tarn_trace_data *trace, const char *costs, double size)
{
    struct tarn_error error = {0};
    char text[32];
    snprintf(text, sizeof text, "%g%%", size);
    const struct tarn_replay_limit limit = {
        .text = text,
        .capacity = (uint64_t)((double)trace->footprint * size / 100),
        .objects = trace->unit_sizes,
    };
    if (tarn_replay_check_limit(trace, &limit, &error) != TARN_OK)
        return;
    printf("| %s, %s | %s |", trace->name, text, costs);
    for (int k = 0; k < RUNS; k++) {
        struct tarn_replay_result result;
        struct tarn_replay_params params = {
            .run = {.weigh_costs = runs[k].latency},
            .learning.engine = {.device = "host",
                                .goal = runs[k].latency ? TARN_GOAL_LATENCY : TARN_GOAL_REQUESTS},
        };
        if (tarn_replay_run(trace, runs[k].policy, &limit, &params, &result, &error) != TARN_OK)
            fail(error.message);
        double ratio = tarn_run_miss_cost_ratio(&result.run);
        sums[k] += ratio;
        printf(" %.2f |", ratio * 100);
        tarn_replay_result_clear(&result);
    }
    rows++;
    printf("\n");
    fflush(stdout);
}

static void bench_trace(const char *path, uint64_t limit, const double *sizes, size_t count)
{
    struct tarn_trace_data *trace;
    struct tarn_error error = {0};
    if (tarn_trace_load(path, &(struct tarn_trace_load_params){.limit = limit}, &trace, &error) !=
        TARN_OK)
        fail(error.message);
    bool own = trace->cost != NULL;
    if (!own && (trace->cost = calloc(trace->count, sizeof *trace->cost)) == NULL)
        fail("out of memory");
    for (size_t kind = 0; kind < (own ? 1 : sizeof kinds / sizeof *kinds); kind++) {
        if (!own)
            set_costs(trace, kind);
        for (size_t s = 0; s < count; s++)
            print_row(trace, own ? "its own" : kinds[kind].name, sizes[s]);
    }
    tarn_trace_data_free(&trace);
}

static void generate(const char *path, const char *kind, const char *const *settings)
{
    struct tarn_gen_params params = {
        .kind = kind, .requests = 300000, .objects = 20000, .seed = 1, .settings = settings};
    struct tarn_request batch[BATCH];
    struct tarn_error error = {0};
    tarn_trace_writer *writer;
    tarn_gen *gen;
    while (settings[params.setting_count] != NULL)
        params.setting_count++;
    if (tarn_gen_create(&params, &gen, &error) != TARN_OK ||
        tarn_trace_writer_create(path, &(struct tarn_trace_writer_params){.has_cost = true},
                                 &writer, &error) != TARN_OK)
        fail(error.message);
    for (size_t n; (n = tarn_gen_read(gen, batch, BATCH)) > 0;)
        if (tarn_trace_writer_add(writer, batch, n, &error) != TARN_OK)
            fail(error.message);
    if (tarn_trace_writer_finish(&writer, &error) != TARN_OK)
        fail(error.message);
    tarn_gen_destroy(&gen);
}

static void bench_generated(const double *sizes, size_t count)
{
    static const char *const lognormal[] = {"costs=lognormal", NULL};
    static const char *const two[] = {"costs=two", NULL};
    static const char *const with_size[] = {"costs=lognormal", "sizes=lognormal", "cost-size=0.5",
                                            NULL};
    static const char *const against[] = {"costs=lognormal", "sizes=lognormal", NULL};
    static const struct {
        const char *name, *kind;
        const char *const *settings;
    } all[] = {
        {"zipf-lognormal", "zipf", lognormal}, {"zipf-two", "zipf", two},
        {"recency-two", "recency", two},       {"scan-lognormal", "scan", lognormal},
        {"mixed-two", "mixed", two},           {"zipf-sizes-with-cost", "zipf", with_size},
        {"scan-sizes", "scan", against},
    };
    char path[128];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        snprintf(path, sizeof path, "/tmp/bench-costs-%s.tarn", all[i].name);
        generate(path, all[i].kind, all[i].settings);
        bench_trace(path, 0, sizes, count);
        remove(path);
    }
}

int main(int argc, char **argv)
{
    double sizes[MOST_SIZES] = {1, 10};
    size_t count = 2;
    uint64_t limit = 0;
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--limit") == 0) {
            limit = strtoull(argv[at + 1], NULL, 10);
        } else if (strcmp(argv[at], "--size") == 0) {
            count = 0;
            for (char *text = argv[at + 1]; count < MOST_SIZES && *text != '\0';
                 text += *text == ',')
                sizes[count++] = strtod(text, &text);
        } else {
            fail("--limit N, --size 1,10, then traces");
        }
    }
    printf("| trace, cache | costs |");
    for (int k = 0; k < RUNS; k++)
        printf(" %s |", runs[k].head);
    printf("\n|---|---|");
    for (int k = 0; k < RUNS; k++)
        printf("---|");
    printf("\n");
    if (at == argc)
        bench_generated(sizes, count);
    for (; at < argc; at++)
        bench_trace(argv[at], limit, sizes, count);
    printf("| mean of %d | |", rows);
    for (int k = 0; k < RUNS; k++)
        printf(" %.2f |", sums[k] / rows * 100);
    printf("\n");
    return 0;
}
