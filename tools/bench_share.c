/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tarn bench share`: lookups that arrive by themselves beside gradient steps on one device: alone, with
 * a backlog of training and no control, and under the arbiter, in turns. Simulated devices go by their
 * own clock, so that the figures are the same on every machine.
 */
#include "bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/virtual.h>

#include "base/clock.h"
#include "base/error.h"
#include "share_bench.h"

#define LOAD          0.3
#define BACKLOG_NS    50000000   /* of a real device's launch without control */
#define ALONE_NS      200000000  /* of training alone, simulated */
#define ALONE_REAL_NS 1500000000 /* and on a real device, over all rounds */

static const char *const names[TARN_SHARE_WAYS] = {"alone", "naive", "arbiter", "host"};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void sort(struct tarn_share_way *way)
{
    if (way->count > 0)
        qsort(way->latency_us, way->count, sizeof(double), compare);
}

/* Of a way that was sorted. */
static double quantile(const struct tarn_share_way *way, double q)
{
    if (way->count == 0)
        return NAN;
    size_t at = (size_t)ceil(q * (double)way->count);
    return way->latency_us[at > 0 ? at - 1 : 0];
}

/* ---- running ---- */

struct run {
    struct tarn_cli *cli;
    struct tarn_share_bench bench;
    struct tarn_rig_options rig;
    bool simulated;
    uint32_t rounds, lookups; /**< of a block; fewer where each waits for a backlog */
    char id[32], name[128];
    double alone_steps, alone_ns; /**< training without lookups */
    uint64_t lookup_ns, gap_ns;
};

/* Unsliced steps of one job, as the arbiter's is one; nothing else. */
static tarn_status train_alone(struct run *run, struct tarn_rig *rig, uint64_t ns)
{
    uint64_t begun = tarn_rig_now(rig), before = rig->steps;
    tarn_status status = TARN_OK;
    if (run->simulated)
        rig->launch_steps = TARN_RIG_UNSLICED_STEPS;
    while (status == TARN_OK && tarn_rig_now(rig) - begun < ns) {
        status = tarn_rig_feed_backlog(rig, 1);
        tarn_rig_wait(rig, tarn_rig_now(rig) + 20000);
    }
    run->alone_steps += (double)(rig->steps - before);
    run->alone_ns += (double)(tarn_rig_now(rig) - begun);
    tarn_status drained = tarn_rig_drain_backlog(rig);
    return status == TARN_OK ? drained : status;
}

static tarn_status open_rig(struct run *run, struct tarn_rig *rig, struct tarn_error *error)
{
    tarn_status status = tarn_rig_open(rig, &run->rig, error);
    if (status != TARN_OK)
        return status;
    const struct tarn_device_info *info = tarn_device_get_info(rig->device);
    snprintf(run->id, sizeof run->id, "%s", info->id);
    snprintf(run->name, sizeof run->name, "%s", info->name);
    run->lookup_ns = rig->lookup_ns;
    run->gap_ns = rig->gap_ns;
    return TARN_OK;
}

static void count_frames(struct tarn_share_way *way, struct tarn_rig *rig)
{
    struct tarn_virtual_stats stats;
    if (!rig->simulated || tarn_virtual_get_stats(rig->device, &stats) != TARN_OK)
        return;
    way->frames += stats.frames;
    way->frames_missed += stats.frames_missed;
}

/* A simulated device is opened for each way: all of them meet the same arrivals from time 0 on. */
static tarn_status run_simulated(struct run *run, struct tarn_error *error)
{
    struct tarn_progress progress;
    tarn_progress_start(&progress, run->cli, "lookups");
    tarn_status status = TARN_OK;
    for (int kind = TARN_SHARE_ALONE; kind <= TARN_SHARE_ARBITER && status == TARN_OK; kind++) {
        struct tarn_rig rig;
        status = open_rig(run, &rig, error);
        if (status != TARN_OK)
            break;
        status = tarn_share_block(&run->bench, kind, &rig, run->lookups, run->cli->seed);
        count_frames(&run->bench.way[kind], &rig);
        if (status == TARN_OK && kind == TARN_SHARE_ALONE)
            status = train_alone(run, &rig, ALONE_NS);
        if (status != TARN_OK)
            tarn_fail(error, status, "bench: %s, %s: %s", run->id, names[kind],
                      tarn_status_message(status));
        tarn_rig_close(&rig);
        tarn_progress_update(&progress, (kind + 1) / 3.0);
    }
    tarn_progress_end(&progress);
    return status;
}

static tarn_status run_real(struct run *run, struct tarn_error *error)
{
    struct tarn_rig rig;
    struct tarn_progress progress;
    tarn_status status = open_rig(run, &rig, error);
    if (status != TARN_OK)
        return status;
    tarn_progress_start(&progress, run->cli, "lookups");
    for (uint32_t round = 0; round < run->rounds && status == TARN_OK; round++) {
        for (int kind = 0; kind < TARN_SHARE_WAYS && status == TARN_OK; kind++) {
            uint32_t lookups = kind == TARN_SHARE_NAIVE ? run->lookups / 20 : run->lookups;
            status =
                tarn_share_block(&run->bench, kind, &rig, lookups, run->cli->seed + round * 7919);
        }
        if (status == TARN_OK)
            status = train_alone(run, &rig, ALONE_REAL_NS / run->rounds);
        tarn_progress_update(&progress, (round + 1.0) / run->rounds);
    }
    tarn_progress_end(&progress);
    if (status != TARN_OK)
        tarn_fail(error, status, "bench: %s: %s", run->id, tarn_status_message(status));
    tarn_rig_close(&rig);
    return status;
}

/* ---- reporting ---- */

/* What training got, of what it gets alone in the time that lookups leave; frames were there both times. */
static double kept(const struct run *run, const struct tarn_share_way *way)
{
    double left = (double)way->elapsed_ns - (double)way->lookup_ns;
    return way->steps / left / (run->alone_steps / run->alone_ns);
}

static void add_way(cJSON *json, tarn_table *table, const struct run *run,
                    const struct tarn_share_way *way)
{
    const char *name = names[way->kind];
    if (way->count == 0)
        return;
    double rate = way->steps / ((double)way->elapsed_ns * 1e-9);
    cJSON *object = cJSON_AddObjectToObject(json, name);
    tarn_json_number(object, "p50_us", quantile(way, 0.5));
    tarn_json_number(object, "p99_us", quantile(way, 0.99));
    tarn_json_number(object, "p999_us", quantile(way, 0.999));
    tarn_json_integer(object, "requests", way->count);
    tarn_json_number(object, "train_steps_per_s", rate);
    tarn_json_number(object, "train_kept", kept(run, way));
    if (way->frames > 0) {
        tarn_json_integer(object, "frames", way->frames);
        tarn_json_integer(object, "frames_missed", way->frames_missed);
    }
    char missed[32] = "-";
    if (way->frames > 0)
        snprintf(missed, sizeof missed, "%.1f%%",
                 100.0 * (double)way->frames_missed / (double)way->frames);
    tarn_table_row(table, "%s\t%.1f\t%.1f\t%.1f\t%zu\t%.0f\t%.2f\t%s", name, quantile(way, 0.5),
                   quantile(way, 0.99), quantile(way, 0.999), way->count, rate, kept(run, way),
                   missed);
}

static int report(const struct run *run)
{
    static const char *const heads[] = {"way",     "p50 us",        "p99 us", "p99.9 us",
                                        "lookups", "train steps/s", "kept",   "frames missed"};
    const struct tarn_share_bench *bench = &run->bench;
    const struct tarn_share_way *alone = &bench->way[TARN_SHARE_ALONE];
    const struct tarn_share_way *arbiter = &bench->way[TARN_SHARE_ARBITER];
    const struct tarn_share_stats *stats = &bench->stats;
    double p50_ratio = quantile(arbiter, 0.5) / quantile(alone, 0.5);
    double p99_ratio = quantile(arbiter, 0.99) / quantile(alone, 0.99);
    double alone_rate = run->alone_steps / (run->alone_ns * 1e-9);
    cJSON *json = cJSON_CreateObject();
    tarn_table *table = tarn_table_create(heads, 8);
    cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
    cJSON_AddStringToObject(json, "bench", "share");
    cJSON_AddStringToObject(json, "device", run->id);
    cJSON_AddStringToObject(json, "device_name", run->name);
    for (int kind = 0; kind < TARN_SHARE_WAYS; kind++)
        add_way(json, table, run, &bench->way[kind]);
    tarn_json_number(json, "train_alone_steps_per_s", alone_rate);
    tarn_json_number(json, "p50_ratio", p50_ratio);
    tarn_json_number(json, "p99_ratio", p99_ratio);
    tarn_json_number(json, "train_kept", kept(run, arbiter));
    tarn_json_integer(json, "quantum_us", stats->quantum_us);
    tarn_json_integer(json, "in_flight", stats->in_flight);
    tarn_json_number(json, "gap_us", (double)run->gap_ns * 1e-3);
    tarn_json_number(json, "blocking_max_us", run->simulated ? bench->blocking_max_us : NAN);
    tarn_json_number(json, "lookup_us", (double)run->lookup_ns * 1e-3);
    tarn_json_number(json, "submit_latency_us", (double)stats->latency_us);
    tarn_json_integer(json, "keys", run->rig.keys);
    tarn_json_integer(json, "slices", stats->slices);
    tarn_json_integer(json, "slices_stopped", stats->stopped);
    tarn_json_number(json, "slice_us", (double)stats->slice_ns * 1e-3 / (double)stats->slices);
    tarn_json_number(json, "unit_us", (double)stats->unit_us);
    int code = TARN_EXIT_OK;
    if (run->cli->json) {
        code = tarn_cli_print_json(run->cli, json);
    } else {
        printf("sharing %s (%s): lookups of %u keys beside gradient steps\n", run->id, run->name,
               (unsigned)run->rig.keys);
        tarn_table_print(table, run->cli, stdout);
        printf("arbiter / alone: p50 %.2f, p99 %.2f; training alone %.0f steps/s\n"
               "quantum %u us, at most %u in flight, gap %.1f us",
               p50_ratio, p99_ratio, alone_rate, (unsigned)stats->quantum_us,
               (unsigned)stats->in_flight, (double)run->gap_ns * 1e-3);
        if (run->simulated)
            printf(", longest blocking %.1f us", bench->blocking_max_us);
        printf("\n");
        cJSON_Delete(json);
    }
    tarn_table_destroy(&table);
    return code;
}

static int read_options(struct run *run)
{
    uint64_t keys = 0, quantum = 0, in_flight = 0, budget = 0, frames = 0, lookups = 0;
    struct tarn_cli *cli = run->cli;
    run->bench.load = LOAD;
    int code = tarn_cli_number(cli, "load", 0.01, 0.95, &run->bench.load);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "keys", 1, 1 << 20, &keys);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "quantum", 1, 1000000, &quantum);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "in-flight", 1, TARN_SHARE_MOST_SLICES, &in_flight);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "latency-budget", 1, 10000000, &budget);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "frames", 1, 15000, &frames);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "lookups", 100, 1000000, &lookups);
    if (code != TARN_EXIT_OK)
        return code;
    bool quick = tarn_cli_flag(cli, "quick");
    run->simulated = strncmp(cli->device, "virtual:", 8) == 0;
    run->rig = (struct tarn_rig_options){.id = cli->device,
                                         .cache_dir = cli->cache_dir,
                                         .keys = (uint32_t)keys,
                                         .frame_ns = frames * 1000,
                                         .backlog_ns = run->simulated ? 0 : BACKLOG_NS,
                                         .seed = cli->seed};
    if (keys == 0)
        run->rig.keys = run->simulated ? 4096 : 64;
    run->rounds = run->simulated ? 1 : quick ? 2 : 5;
    run->lookups = run->simulated ? (quick ? 3000 : 12000) : quick ? 500 : 1000;
    if (lookups > 0)
        run->lookups = (uint32_t)lookups;
    run->bench.window = run->lookups / TARN_SHARE_POINTS + 1;
    run->bench.quantum_us = (uint32_t)quantum;
    run->bench.in_flight = (uint32_t)in_flight;
    run->bench.budget_us = (uint32_t)budget;
    return TARN_EXIT_OK;
}

static int run(struct tarn_cli *cli, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    static struct run r; /* one at a time */
    r = (struct run){.cli = cli};
    int code = read_options(&r);
    if (code != TARN_EXIT_OK)
        return code;
    struct tarn_error error = {0};
    const char *plot = tarn_cli_value(cli, "plot");
    tarn_status status = plot != NULL ? tarn_cli_check_output(plot, &error) : TARN_OK;
    for (int kind = 0; kind < TARN_SHARE_WAYS && status == TARN_OK; kind++) {
        struct tarn_share_way *way = &r.bench.way[kind];
        way->kind = kind;
        way->room = (size_t)r.lookups * r.rounds;
        way->latency_us = malloc(way->room * sizeof(double));
        if (way->latency_us == NULL)
            status = tarn_fail(&error, TARN_NO_MEMORY, "bench: out of memory");
    }
    if (status == TARN_OK)
        status = r.simulated ? run_simulated(&r, &error) : run_real(&r, &error);
    for (int kind = 0; kind < TARN_SHARE_WAYS; kind++)
        sort(&r.bench.way[kind]);
    if (status == TARN_OK && plot != NULL)
        status = tarn_share_plot(&r.bench, r.id, plot, &error);
    code = status == TARN_OK ? report(&r) : tarn_cli_fail(cli, &error);
    for (int kind = 0; kind < TARN_SHARE_WAYS; kind++)
        free(r.bench.way[kind].latency_us);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"quick", 0, NULL, "fewer lookups"},
    {"keys", 0, "N", "keys of a lookup [4096; 64 on real devices]"},
    {"load", 0, "SHARE", "simulated devices: of their capacity for lookups [0.3]"},
    {"lookups", 0, "N", "lookups of a block"},
    {"quantum", 0, "US", "longest slice of training [chosen by measurement]"},
    {"in-flight", 0, "N", "slices in flight, 1 to 3 [chosen by measurement]"},
    {"latency-budget", 0, "US", "p99 that the arbiter keeps lookups under"},
    {"frames", 0, "US", "simulated devices: a user interface takes so long, each 16.7 ms"},
    {"plot", 0, "FILE.svg", "draw the latencies and the shares of time"},
    {NULL},
};

const struct tarn_command tarn_bench_share = {
    .name = "share",
    .run = run,
    .summary = "lookups and gradient steps on one device",
    .usage = "[--quick] [--plot FILE.svg] [OPTION]...",
    .description =
        "Lookups arrive at random times while gradient steps run: alone (no steps), naive (two\n"
        "queues and a backlog of steps), arbiter (short slices at the right time), and on real\n"
        "devices with lookups on the host beside the arbiter. Kept is what training gets of what\n"
        "it would get alone in the time that lookups leave. Simulated devices go by their own\n"
        "clock: the same figures on every machine.",
    .options = options,
    .examples = "tarn bench share --device virtual:mali\n"
                "tarn bench share --device virtual:videocore --frames 4000 --plot share.svg\n"
                "tarn bench share --device opencl --json\n",
};
