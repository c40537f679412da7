/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn bench score|train --path`: the same network on different paths, over its width. */
#include "bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/rng.h"
#include "kernels/layout.h"
#include "kernels/train.h"
#include "net/wide.h"
#include "offload/calibration.h"

enum { FIRST_WIDTH = 8, STEPS = 10, MOST_ROUNDS = 31 };

/* What is asked for. */
struct sweep {
    struct tarn_bench *bench;
    bool train, quick, automatic;
    bool wanted[TARN_PATHS];
    uint32_t batch, width; /* width 0: all */
    struct tarn_calibration calibration;
};

struct way {
    tarn_wide *wide;
    double warm_ms; /* the first call, with what the driver still compiles in it */
    struct tarn_bench_times times;
};

static int parse_paths(struct tarn_cli *cli, const char *list, struct sweep *sweep)
{
    char text[64];
    if (strlen(list) >= sizeof text)
        return tarn_cli_usage(cli, "--path %s: no such list of paths", list);
    memcpy(text, list, strlen(list) + 1);
    for (char *rest = text, *word; (word = strsep(&rest, ",")) != NULL;) {
        bool known = false;
        for (int p = 0; p < TARN_PATHS; p++)
            if (strcmp(word, tarn_path_name((tarn_path)p)) == 0 || strcmp(word, "all") == 0)
                known = sweep->wanted[p] = true;
        if (strcmp(word, "auto") == 0)
            known = sweep->automatic = true;
        if (!known)
            return tarn_cli_usage(
                cli, "--path %s: a list of auto, fused, clblast, gemm, host, or all", word);
    }
    return TARN_EXIT_OK;
}

static tarn_status run_once(const struct sweep *sweep, tarn_wide *wide)
{
    return sweep->train ? tarn_wide_train(wide, STEPS, sweep->batch)
                        : tarn_wide_forward(wide, sweep->batch);
}

/* Opens a way and makes its first call; TARN_UNSUPPORTED where it doesn't exist for this shape. */
static tarn_status open_way(struct sweep *sweep, tarn_path path, const struct tarn_shape *shape,
                            const float *weights, const float *tiles, const uint32_t *labels,
                            struct way *way)
{
    uint32_t samples = sweep->batch * (sweep->train ? STEPS : 1);
    *way = (struct way){0};
    uint64_t start = tarn_clock_ns();
    tarn_status status = tarn_wide_create(&(struct tarn_wide_params){.shape = shape,
                                                                     .weights = weights,
                                                                     .device = sweep->bench->device,
                                                                     .queue = sweep->bench->queue,
                                                                     .path = path,
                                                                     .room = samples,
                                                                     .train = sweep->train,
                                                                     .rate = 1e-4f},
                                          &way->wide, &sweep->bench->error);
    if (status == TARN_OK)
        status = tarn_wide_set_samples(way->wide, tiles, sweep->train ? labels : NULL, samples);
    if (status == TARN_OK)
        status = run_once(sweep, way->wide);
    way->warm_ms = sweep->bench->simulated ? (double)NAN : (double)(tarn_clock_ns() - start) * 1e-6;
    return status;
}

/* Both have begun with the same weights and samples. */
static bool same_results(const struct sweep *sweep, const tarn_wide *a, const tarn_wide *b)
{
    const float *x = sweep->train ? tarn_wide_losses(a) : tarn_wide_scores(a);
    const float *y = sweep->train ? tarn_wide_losses(b) : tarn_wide_scores(b);
    for (uint32_t i = 0; i < (sweep->train ? STEPS : sweep->batch); i++)
        if (!(fabsf(x[i] - y[i]) < 5e-3f * (1 + fabsf(y[i]))))
            return false;
    return true;
}

static void add_row(const struct sweep *sweep, tarn_path path, uint32_t width, struct way *way,
                    struct way *host, bool chosen, cJSON *rows, tarn_table *table)
{
    char shape[48];
    double us = tarn_bench_wall(&way->times), cpu = tarn_bench_cpu(&way->times);
    double host_us = tarn_bench_wall(&host->times), host_cpu = tarn_bench_cpu(&host->times);
    snprintf(shape, sizeof shape, "28-%u-%u-11", (unsigned)width, (unsigned)width);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "shape", shape);
    tarn_json_integer(row, "width", width);
    tarn_json_integer(row, "batch", sweep->batch);
    if (sweep->train)
        tarn_json_integer(row, "steps_per_launch",
                          path == TARN_PATH_FUSED && width <= TARN_MAX_WIDTH ? STEPS : 1);
    cJSON_AddStringToObject(row, "path", tarn_path_name(path));
    cJSON_AddBoolToObject(row, "chosen", chosen);
    tarn_json_number(row, sweep->train ? "us_per_step" : "us", us);
    tarn_json_number(row, sweep->train ? "cpu_us_per_step" : "cpu_us", cpu);
    tarn_json_number(row, "host_us", host_us);
    tarn_json_number(row, "host_cpu_us", host_cpu);
    tarn_json_number(row, "warm_ms", way->warm_ms);
    cJSON_AddItemToArray(rows, row);
    tarn_table_row(table, "%s\t%u\t%s%s\t%.1f\t%.1f\t%.1f\t%.2f\t%.0f", shape,
                   (unsigned)sweep->batch, tarn_path_name(path), chosen ? " *" : "", us, cpu,
                   host_us, us / host_us, way->warm_ms);
}

/* All ways of one width in turns, the host's among them. */
static int measure(struct sweep *sweep, uint32_t width, const float *weights, const float *tiles,
                   const uint32_t *labels, cJSON *rows, tarn_table *table)
{
    struct tarn_shape shape = {28, width, width, 11};
    struct way ways[TARN_PATHS] = {0};
    int code = TARN_EXIT_OK;
    tarn_path chosen = tarn_calibration_path(&sweep->calibration, width, sweep->train);
    for (int p = 0; p < TARN_PATHS && code == TARN_EXIT_OK; p++) {
        bool wanted = sweep->wanted[p] || (sweep->automatic && p == (int)chosen);
        if (!wanted && p != TARN_PATH_HOST)
            continue;
        tarn_status status =
            open_way(sweep, (tarn_path)p, &shape, weights, tiles, labels, &ways[p]);
        if (status == TARN_UNSUPPORTED)
            tarn_wide_destroy(&ways[p].wide);
        else if (status != TARN_OK)
            code = tarn_bench_fail(sweep->bench, status, tarn_path_name((tarn_path)p));
        else if (!same_results(sweep, ways[p].wide, ways[TARN_PATH_HOST].wide))
            code =
                tarn_bench_fail(sweep->bench, TARN_CORRUPT, "its results differ from the host's");
    }
    double unit = sweep->train ? 1e3 * STEPS : 1e3;
    uint64_t begin = tarn_clock_ns(), most = (sweep->quick ? 200 : 1500) * (uint64_t)1000000;
    for (int round = 0;
         round < tarn_bench_rounds(sweep->bench, MOST_ROUNDS) && code == TARN_EXIT_OK; round++) {
        if (round >= 3 && tarn_clock_ns() - begin > most)
            break;
        for (int p = 0; p < TARN_PATHS && code == TARN_EXIT_OK; p++) {
            if (ways[p].wide == NULL)
                continue;
            struct tarn_bench_clock start = tarn_bench_start(sweep->bench, p != TARN_PATH_HOST);
            tarn_status status = run_once(sweep, ways[p].wide);
            tarn_bench_stop(&ways[p].times, start, unit);
            if (status != TARN_OK)
                code = tarn_bench_fail(sweep->bench, status, tarn_path_name((tarn_path)p));
        }
    }
    for (int p = 0; p < TARN_PATHS && code == TARN_EXIT_OK; p++)
        if (ways[p].wide != NULL && (sweep->wanted[p] || (sweep->automatic && p == (int)chosen)))
            add_row(sweep, (tarn_path)p, width, &ways[p], &ways[TARN_PATH_HOST], p == (int)chosen,
                    rows, table);
    for (int p = 0; p < TARN_PATHS; p++)
        tarn_wide_destroy(&ways[p].wide);
    return code;
}

static int run_widths(struct sweep *sweep, cJSON *rows, tarn_table *table)
{
    const struct tarn_shape widest = {28, TARN_MAX_WIDE_WIDTH, TARN_MAX_WIDE_WIDTH, 11};
    size_t samples = (size_t)sweep->batch * (sweep->train ? STEPS : 1);
    size_t floats = tarn_shape_tile_floats(&widest, samples);
    float *weights = malloc(tarn_shape_weights(&widest) * sizeof *weights);
    float *tiles = malloc(floats * sizeof *tiles);
    uint32_t *labels = malloc(samples * sizeof *labels);
    int code = TARN_EXIT_OK;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, sweep->bench->cli->seed);
    if (weights == NULL || tiles == NULL || labels == NULL)
        code = tarn_bench_fail(sweep->bench, TARN_NO_MEMORY, "samples");
    for (size_t i = 0; i < floats && code == TARN_EXIT_OK; i++)
        tiles[i] = (tarn_rng_float(&rng) - 0.5f) * 4.0f;
    for (size_t i = 0; i < samples && code == TARN_EXIT_OK; i++) {
        uint32_t risk = 1 + tarn_rng_below(&rng, widest.outputs);
        labels[i] = tarn_label(risk, tarn_rng_below(&rng, 2) ? (int)risk - 1 : -1);
    }
    struct tarn_progress progress;
    tarn_progress_start(&progress, sweep->bench->cli, "measuring");
    for (uint32_t w = FIRST_WIDTH; w <= TARN_MAX_WIDE_WIDTH && code == TARN_EXIT_OK; w *= 2) {
        if (sweep->width != 0 && sweep->width != w)
            continue;
        tarn_progress_update(&progress, log2((double)w / FIRST_WIDTH) / 8);
        tarn_net_init(&(struct tarn_shape){28, w, w, 11}, &rng, weights);
        code = measure(sweep, w, weights, tiles, labels, rows, table);
    }
    tarn_progress_end(&progress);
    free(weights);
    free(tiles);
    free(labels);
    return code;
}

int tarn_bench_paths(struct tarn_cli *cli, const char *paths, bool train)
{
    static const char *const heads[] = {"shape",  "batch",   "path",  "us",
                                        "CPU us", "host us", "ratio", "first call ms"};
    static const char *const names[] = {"score", "train"};
    struct tarn_bench bench;
    struct sweep sweep = {.bench = &bench,
                          .train = train,
                          .quick = tarn_cli_flag(cli, "quick"),
                          .batch = train ? 128 : 1024};
    uint64_t batch = sweep.batch, width = 0;
    int code = parse_paths(cli, paths, &sweep);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "batch", TARN_LANES, 65536, &batch);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "width", FIRST_WIDTH, TARN_MAX_WIDE_WIDTH, &width);
    if (code != TARN_EXIT_OK)
        return code;
    if (batch % TARN_LANES != 0 || (width & (width - 1)) != 0)
        return tarn_cli_usage(cli, "--batch takes multiples of %d, --width powers of two",
                              TARN_LANES);
    sweep.batch = (uint32_t)batch;
    sweep.width = (uint32_t)width;
    code = tarn_bench_open(&bench, cli);
    if (code != TARN_EXIT_OK)
        return code;
    tarn_calibration_load(tarn_device_get_info(bench.device), cli->cache_dir, &sweep.calibration);
    cJSON *rows = cJSON_CreateArray();
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof heads[0]);
    code = run_widths(&sweep, rows, table);
    if (code == TARN_EXIT_OK) {
        code = tarn_bench_print(&bench, names[train], rows, table);
    } else {
        cJSON_Delete(rows);
        tarn_table_destroy(&table);
    }
    tarn_bench_close(&bench);
    return code;
}
