/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request costs the thread that makes it: CPU time of that thread alone, with an engine that learns and
 * scores in the background, and with the same cache under LRU, by turns over the same requests. Generated
 * workloads without arguments.
 *
 *     bench_request_path [--device D] [--relief N] [--limit N] [--size 1,10] [--turn N] [--rate N] [TRACE...]
 *
 * Sizes are percents of the footprint. A turn of requests is served in one go; with --rate, requests a second, the
 * thread sleeps until the next turn is due, as one does that waits for a network.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "engine/engine_private.h"
#include "trace/gen.h"
#include "trace/trace.h"

enum { MOST_SIZES = 8, SIDES = 2, BATCH = 1024, WARM_SHARE = 4 };

struct side {
    tarn_engine *engine; /* NULL: LRU */
    tarn_cache *cache;
    uint64_t cpu_ns, gets, misses;
};

static const char *device = "host";
static uint64_t turn = 8192;
static double rate; /* requests a second; 0: as fast as they are served */
static int relief;

static void fail(const char *message)
{
    fprintf(stderr, "request_path: %s\n", message);
    exit(1);
}

static void serve(struct side *side, const struct tarn_trace_data *trace, size_t from, size_t to,
                  bool count)
{
    uint64_t begin = tarn_clock_thread_cpu_ns(), misses = 0;
    for (size_t i = from; i < to; i++) {
        const uint64_t *key = &trace->key[trace->object[i]];
        size_t room = 0;
        if (tarn_cache_get(side->cache, key, sizeof *key, NULL, &room) != TARN_OK) {
            misses++;
            tarn_cache_put(side->cache, key, sizeof *key,
                           &(struct tarn_item){.charge = trace->size[i]});
        }
    }
    if (!count)
        return;
    side->cpu_ns += tarn_clock_thread_cpu_ns() - begin;
    side->gets += to - from;
    side->misses += misses;
}

/* Until the requests up to `done` are due. */
static void pace(uint64_t began, uint64_t done)
{
    uint64_t due = rate > 0 ? began + (uint64_t)((double)done / rate * 1e9) : 0;
    struct timespec until = {.tv_sec = (time_t)(due / 1000000000),
                             .tv_nsec = (long)(due % 1000000000)};
    if (due > tarn_clock_ns())
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static double us_of(const struct side *side)
{
    return (double)side->cpu_ns / (double)side->gets / 1e3;
}

static void run(const struct tarn_trace_data *trace, double percent)
{
    uint64_t capacity = (uint64_t)((double)trace->footprint * percent / 100);
    struct side sides[SIDES] = {0};
    struct tarn_error error;
    uint64_t objects = trace->unit_sizes ? capacity : 0;
    uint64_t memory = trace->unit_sizes ? 0 : capacity;
    if (capacity == 0 ||
        tarn_cache_create(&(struct tarn_cache_params){.objects = objects, .memory = memory},
                          &sides[0].cache) != TARN_OK)
        fail("no cache");
    if (tarn_engine_create(
            &(struct tarn_engine_params){
                .objects = objects, .memory = memory, .device = device, .relief = relief},
            &sides[1].engine, &error) != TARN_OK)
        fail(error.message);
    sides[1].cache = tarn_engine_cache(sides[1].engine);
    uint64_t began = tarn_clock_ns();
    for (size_t from = 0; from < trace->count; from += turn) {
        size_t to = from + turn < trace->count ? from + (size_t)turn : trace->count;
        for (size_t k = 0; k < SIDES; k++)
            serve(&sides[(k + from / turn) % SIDES], trace, from, to,
                  from >= trace->count / WARM_SHARE);
        pace(began, to);
    }
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(sides[1].engine, &stats);
    printf("| %s, %g %% | %.3f | %.3f | %.2f | %.2f %% | %.2f %% | %.1f %% | %u | %.1f %% "
           "|\n",
           trace->name, percent, us_of(&sides[0]), us_of(&sides[1]),
           us_of(&sides[1]) / us_of(&sides[0]),
           (double)sides[0].misses / (double)sides[0].gets * 100,
           (double)sides[1].misses / (double)sides[1].gets * 100,
           stats.rounds > 0 ? (double)stats.rounds_ahead / (double)stats.rounds * 100 : 0,
           stats.relief, (double)stats.unheard_requests / (double)sides[1].gets * 100);
    fflush(stdout);
    tarn_engine_destroy(&sides[1].engine);
    tarn_cache_destroy(&sides[0].cache);
}

static void generate(const char *kind, const double *sizes, int count)
{
    char path[128];
    struct tarn_request batch[BATCH];
    struct tarn_error error = {0};
    struct tarn_trace_data *trace;
    tarn_trace_writer *writer;
    tarn_gen *gen;
    snprintf(path, sizeof path, "/tmp/request-path-%s.tarn", kind);
    if (tarn_gen_create(
            &(struct tarn_gen_params){
                .kind = kind, .requests = 1000000, .objects = 100000, .seed = 1},
            &gen, &error) != TARN_OK ||
        tarn_trace_writer_create(path, &(struct tarn_trace_writer_params){0}, &writer, &error) !=
            TARN_OK)
        fail(error.message);
    for (size_t n; (n = tarn_gen_read(gen, batch, BATCH)) > 0;)
        if (tarn_trace_writer_add(writer, batch, n, &error) != TARN_OK)
            fail(error.message);
    if (tarn_trace_writer_finish(&writer, &error) != TARN_OK ||
        tarn_trace_load(path, NULL, &trace, &error) != TARN_OK)
        fail(error.message);
    remove(path);
    tarn_gen_destroy(&gen);
    for (int s = 0; s < count; s++)
        run(trace, sizes[s]);
    tarn_trace_data_free(&trace);
}

int main(int argc, char **argv)
{
    double sizes[MOST_SIZES] = {1, 10};
    struct tarn_trace_load_params load = {0};
    int count = 2, at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--limit") == 0) {
            load.limit = strtoull(argv[at + 1], NULL, 10);
        } else if (strcmp(argv[at], "--turn") == 0) {
            turn = strtoull(argv[at + 1], NULL, 10);
        } else if (strcmp(argv[at], "--rate") == 0) {
            rate = strtod(argv[at + 1], NULL);
        } else if (strcmp(argv[at], "--relief") == 0) {
            relief = atoi(argv[at + 1]);
        } else if (strcmp(argv[at], "--device") == 0) {
            device = argv[at + 1];
        } else if (strcmp(argv[at], "--size") == 0) {
            char *text = argv[at + 1];
            for (count = 0; count < MOST_SIZES && *text != '\0'; text += *text == ',')
                sizes[count++] = strtod(text, &text);
        } else {
            fail("--device D, --relief N, --limit N, --size 1,10, --turn N, --rate N, then traces");
        }
    }
    if (turn == 0)
        fail("--turn: at least 1");
    printf("| trace, cache | LRU us | learned us | times | LRU misses | learned misses | rounds "
           "ahead | relief | not told |\n"
           "|---|---|---|---|---|---|---|---|---|\n");
    if (at == argc)
        for (int k = 0; k < 3; k++)
            generate((const char *const[]){"zipf", "scan", "recency"}[k], sizes, count);
    for (; at < argc; at++) {
        struct tarn_trace_data *trace;
        struct tarn_error error;
        if (tarn_trace_load(argv[at], &load, &trace, &error) != TARN_OK)
            fail(error.message);
        for (int s = 0; s < count; s++)
            run(trace, sizes[s]);
        tarn_trace_data_free(&trace);
    }
    return 0;
}
