/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn bench score`: features to eviction scores. */
#include "bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

enum { MOST = 65536, CHUNK = 32768 };

static const struct tarn_shape shape = {28, 32, 32, 11};

struct work {
    tarn_buffer *weights, *tiles, *scores;
    float *host_scores;
};

static bool create(struct tarn_bench *bench, struct work *w, struct tarn_rng *rng)
{
    size_t weights = tarn_shape_weights(&shape), tiles = tarn_shape_tile_floats(&shape, MOST);
    w->weights = tarn_bench_buffer(bench, NULL, weights * 4);
    w->tiles = tarn_bench_buffer(bench, NULL, tiles * 4);
    w->scores = tarn_bench_buffer(bench, NULL, MOST * 4);
    w->host_scores = malloc(MOST * sizeof(float));
    if (w->weights == NULL || w->tiles == NULL || w->scores == NULL || w->host_scores == NULL)
        return false;
    float *p = tarn_buffer_data(w->weights);
    for (size_t i = 0; i < weights; i++)
        p[i] = (tarn_rng_float(rng) - 0.5f) * 0.7f;
    p = tarn_buffer_data(w->tiles);
    for (size_t i = 0; i < tiles; i++)
        p[i] = (tarn_rng_float(rng) - 0.5f) * 4.0f;
    return tarn_buffer_upload(bench->queue, w->weights, 0, weights * 4) == TARN_OK;
}

static tarn_status on_device(struct tarn_bench *bench, struct work *w, tarn_kernel *kernel,
                             uint32_t batch)
{
    tarn_event *event = NULL;
    tarn_buffer *const buffers[] = {w->weights, w->tiles, w->scores};
    struct tarn_forward_constants constants = {batch};
    tarn_status status =
        tarn_buffer_upload(bench->queue, w->tiles, 0, tarn_shape_tile_floats(&shape, batch) * 4);
    if (status == TARN_OK)
        status = tarn_queue_submit(
            bench->queue,
            &(struct tarn_launch){kernel, buffers, &constants, tarn_kernel_groups(kernel, batch)},
            NULL);
    if (status == TARN_OK)
        status = tarn_buffer_download(bench->queue, w->scores, 0, (size_t)batch * 4);
    if (status == TARN_OK)
        status = tarn_queue_mark(bench->queue, &event);
    if (status == TARN_OK)
        status = tarn_event_wait(event, TARN_FOREVER);
    tarn_event_release(&event);
    return status;
}

static void on_host(struct work *w, uint32_t batch)
{
    tarn_forward_host(&shape, tarn_buffer_data(w->weights), tarn_buffer_data(w->tiles), batch,
                      w->host_scores);
}

static int measure(struct tarn_bench *bench, struct work *w, tarn_kernel *kernel, uint32_t batch,
                   int rounds, cJSON *rows, tarn_table *table)
{
    struct tarn_bench_times device = {.rounds = 0}, host = {.rounds = 0};
    uint32_t repeats = batch < CHUNK && !bench->simulated ? CHUNK / batch : 1;
    for (int warm = 0; warm < 2; warm++) {
        tarn_status status = on_device(bench, w, kernel, batch);
        if (status != TARN_OK)
            return tarn_bench_fail(bench, status, "forward");
    }
    on_host(w, batch);
    const float *scores = tarn_buffer_data(w->scores);
    for (uint32_t i = 0; i < batch; i++)
        if (!(fabsf(scores[i] - w->host_scores[i]) < 1e-3f))
            return tarn_bench_fail(bench, TARN_CORRUPT, "its scores differ from the host's");
    for (int round = 0; round < tarn_bench_rounds(bench, rounds); round++) {
        struct tarn_bench_clock start = tarn_bench_start(bench, true);
        for (uint32_t r = 0; r < repeats; r++) {
            tarn_status status = on_device(bench, w, kernel, batch);
            if (status != TARN_OK)
                return tarn_bench_fail(bench, status, "forward");
        }
        tarn_bench_stop(&device, start, repeats * 1e3);
        start = tarn_bench_start(bench, false);
        for (uint32_t r = 0; r < repeats; r++)
            on_host(w, batch);
        tarn_bench_stop(&host, start, repeats * 1e3);
    }
    double us = tarn_bench_wall(&device), cpu = tarn_bench_cpu(&device);
    double host_us = tarn_bench_wall(&host), host_cpu = tarn_bench_cpu(&host);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "shape", "28-32-32-11");
    tarn_json_integer(row, "batch", batch);
    cJSON_AddStringToObject(
        row, "path",
        tarn_device_get_info(bench->device)->type == TARN_DEVICE_HOST ? "host" : "fused");
    tarn_json_number(row, "us", us);
    tarn_json_number(row, "cpu_us", cpu);
    tarn_json_number(row, "host_us", host_us);
    tarn_json_number(row, "host_cpu_us", host_cpu);
    cJSON_AddItemToArray(rows, row);
    tarn_table_row(table, "28-32-32-11\t%u\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.2f", batch, us, cpu,
                   host_us, host_cpu, host_cpu * 1e3 / batch, cpu / host_cpu);
    return TARN_EXIT_OK;
}

static int run(struct tarn_cli *cli, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    const char *paths = tarn_cli_value(cli, "path");
    if (paths != NULL)
        return tarn_bench_paths(cli, paths, false);
    static const char *const heads[] = {
        "shape", "batch", "us", "CPU us", "host us", "host CPU us", "host ns/sample", "CPU ratio"};
    static const uint32_t batches[] = {256, 1024, 4096, 16384, MOST};
    bool quick = tarn_cli_flag(cli, "quick");
    struct tarn_bench bench;
    struct tarn_rng rng;
    struct work work = {0};
    tarn_kernel *kernel = NULL;
    int code = tarn_bench_open(&bench, cli);
    if (code != TARN_EXIT_OK)
        return code;
    cJSON *rows = cJSON_CreateArray();
    tarn_table *table = tarn_table_create(heads, 8);
    int32_t defines[TARN_SHAPE_DEFINES];
    tarn_shape_defines(&shape, defines);
    tarn_rng_seed(&rng, cli->seed);
    if (tarn_canary_create(bench.device,
                           &(struct tarn_kernel_params){&tarn_forward_source, defines}, NULL,
                           &kernel, &bench.error) != TARN_OK) {
        code = tarn_cli_fail(cli, &bench.error);
        goto done;
    }
    if (!create(&bench, &work, &rng)) {
        code = tarn_bench_fail(&bench, TARN_NO_MEMORY, "forward");
        goto done;
    }
    for (size_t b = 0; b < sizeof batches / sizeof batches[0] && code == TARN_EXIT_OK; b++)
        code = measure(&bench, &work, kernel, batches[b], quick ? 9 : 61, rows, table);
    if (code == TARN_EXIT_OK) {
        code = tarn_bench_print(&bench, "score", rows, table);
        rows = NULL;
        table = NULL;
    }
done:
    free(work.host_scores);
    tarn_buffer_destroy(&work.weights);
    tarn_buffer_destroy(&work.tiles);
    tarn_buffer_destroy(&work.scores);
    tarn_kernel_destroy(&kernel);
    cJSON_Delete(rows);
    tarn_table_destroy(&table);
    tarn_bench_close(&bench);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"quick", 0, NULL, "fewer rounds"},
    TARN_BENCH_PATH_OPTIONS,
    {NULL},
};

const struct tarn_command tarn_bench_score = {
    .name = "score",
    .run = run,
    .summary = "features to eviction scores through the network",
    .usage = "[--quick] [--path LIST [--width N] [--batch N]]",
    .description = "Scores batches of random features with the reference network, the Gittins\n"
                   "index included. Times are us for a batch; CPU times are the whole process's.",
    .options = options,
    .examples = "tarn bench score --device opencl\n"
                "tarn bench score --device opencl --path fused,gemm,host\n",
};
