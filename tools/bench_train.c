/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn bench train`: gradient steps. */
#include "bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/train.h"

enum { MOST_STEPS = 100, ROUND_STEPS = 100 };

struct work {
    struct tarn_shape shape;
    uint32_t batch;
    size_t weights;
    tarn_buffer *buffers[7]; /* the kernel's: weights, m, v, tiles, labels, losses, scratch */
    float *host[4];          /* weights, m, v, losses */
};

static void destroy(struct work *w)
{
    for (int i = 0; i < 7; i++)
        tarn_buffer_destroy(&w->buffers[i]);
    for (int i = 0; i < 4; i++)
        free(w->host[i]);
    memset(w->host, 0, sizeof w->host);
}

static bool create(struct tarn_bench *bench, struct work *w, struct tarn_rng *rng)
{
    size_t samples = (size_t)w->batch * MOST_STEPS;
    w->weights = tarn_shape_weights(&w->shape);
    size_t tiles = tarn_shape_tile_floats(&w->shape, samples);
    size_t counts[7] = {w->weights,
                        w->weights,
                        w->weights,
                        tiles,
                        samples,
                        MOST_STEPS,
                        tarn_train_scratch_floats(&w->shape, w->batch)};
    for (int i = 0; i < 7; i++)
        if ((w->buffers[i] = tarn_bench_buffer(bench, NULL, counts[i] * 4)) == NULL)
            return false;
    for (int i = 0; i < 4; i++)
        if ((w->host[i] = calloc(i == 3 ? MOST_STEPS : w->weights, 4)) == NULL)
            return false;
    float *p = tarn_buffer_data(w->buffers[0]);
    for (size_t i = 0; i < w->weights; i++)
        w->host[0][i] = p[i] = (tarn_rng_float(rng) - 0.5f) * 0.7f;
    p = tarn_buffer_data(w->buffers[3]);
    for (size_t i = 0; i < tiles; i++)
        p[i] = (tarn_rng_float(rng) - 0.5f) * 4.0f;
    uint32_t *labels = tarn_buffer_data(w->buffers[4]);
    for (size_t i = 0; i < samples; i++) {
        uint32_t risk = 1 + tarn_rng_below(rng, w->shape.outputs);
        labels[i] = tarn_label(risk, tarn_rng_below(rng, 2) ? (int)risk - 1 : -1);
    }
    for (int i = 0; i < 5; i++)
        if (tarn_buffer_upload(bench->queue, w->buffers[i], 0, counts[i] * 4) != TARN_OK)
            return false;
    return true;
}

static tarn_status on_device(struct tarn_bench *bench, struct work *w, tarn_kernel *kernel,
                             const struct tarn_train_constants *constants)
{
    tarn_event *event = NULL;
    tarn_status status = tarn_queue_submit(
        bench->queue, &(struct tarn_launch){kernel, w->buffers, constants, 1}, NULL);
    if (status == TARN_OK)
        status = tarn_buffer_download(bench->queue, w->buffers[5], 0, constants->steps * 4);
    if (status == TARN_OK)
        status = tarn_queue_mark(bench->queue, &event);
    if (status == TARN_OK)
        status = tarn_event_wait(event, TARN_FOREVER);
    tarn_event_release(&event);
    return status;
}

static void on_host(struct work *w, const struct tarn_train_constants *constants)
{
    tarn_train_host(&w->shape, &(struct tarn_train_state){w->host[0], w->host[1], w->host[2]},
                    constants, tarn_buffer_data(w->buffers[3]), tarn_buffer_data(w->buffers[4]),
                    w->host[3], NULL);
}

static int measure(struct tarn_bench *bench, struct work *w, tarn_kernel *kernel, uint32_t steps,
                   int rounds, cJSON *rows, tarn_table *table)
{
    struct tarn_bench_times device = {.rounds = 0}, host = {.rounds = 0};
    struct tarn_train_constants constants = {.steps = steps,
                                             .batch = w->batch,
                                             .rate = 1e-4f,
                                             .beta1 = 0.9f,
                                             .beta2 = 0.999f,
                                             .epsilon = 1e-7f};
    char shape[48];
    snprintf(shape, sizeof shape, "%u-%u-%u-%u", (unsigned)w->shape.inputs,
             (unsigned)w->shape.hidden1, (unsigned)w->shape.hidden2, (unsigned)w->shape.outputs);
    for (int round = -1; round < tarn_bench_rounds(bench, rounds); round++) {
        uint32_t launches = round < 0 ? 1 : ROUND_STEPS / steps;
        uint32_t before = constants.first_step;
        struct tarn_bench_clock start = tarn_bench_start(bench, true);
        for (uint32_t l = 0; l < launches; l++) {
            tarn_status status = on_device(bench, w, kernel, &constants);
            if (status != TARN_OK)
                return tarn_bench_fail(bench, status, "train");
            constants.first_step += steps;
        }
        if (round >= 0)
            tarn_bench_stop(&device, start, 1e3 * launches * steps);
        constants.first_step = before;
        start = tarn_bench_start(bench, false);
        for (uint32_t l = 0; l < launches; l++) {
            on_host(w, &constants);
            constants.first_step += steps;
        }
        if (round >= 0)
            tarn_bench_stop(&host, start, 1e3 * launches * steps);
        /* both have done the same steps: their losses stay together for a while */
        float loss = *(const float *)tarn_buffer_data(w->buffers[5]);
        if (round < 0 && steps > 1 && isnan(loss)) {
            fprintf(stderr, "tarn: %s doesn't take %u steps of %s in one launch\n",
                    tarn_device_get_info(bench->device)->id, (unsigned)steps, shape);
            return TARN_EXIT_OK;
        }
        if (round <= 0 && !(fabsf(loss - w->host[3][0]) < 1e-2f * (1 + fabsf(loss))))
            return tarn_bench_fail(bench, TARN_CORRUPT, "its losses differ from the host's");
    }
    bool is_host = tarn_device_get_info(bench->device)->type == TARN_DEVICE_HOST;
    double us = tarn_bench_wall(&device), cpu = tarn_bench_cpu(&device);
    double host_us = tarn_bench_wall(&host), host_cpu = tarn_bench_cpu(&host);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "shape", shape);
    tarn_json_integer(row, "batch", w->batch);
    tarn_json_integer(row, "steps_per_launch", steps);
    cJSON_AddStringToObject(row, "path", is_host ? "host" : "fused");
    tarn_json_number(row, "us_per_step", us);
    tarn_json_number(row, "cpu_us_per_step", cpu);
    tarn_json_number(row, "host_us", host_us);
    tarn_json_number(row, "host_cpu_us", host_cpu);
    cJSON_AddItemToArray(rows, row);
    tarn_table_row(table, "%s\t%u\t%u\t%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f", shape, w->batch,
                   steps, is_host ? "host" : "fused", us, cpu, host_us, host_cpu, us / host_us,
                   cpu / host_cpu);
    return TARN_EXIT_OK;
}

static int run_shape(struct tarn_bench *bench, const struct tarn_shape *shape, uint32_t batch,
                     int rounds, cJSON *rows, tarn_table *table)
{
    static const uint32_t steps[] = {1, 10, MOST_STEPS};
    struct work work = {.shape = *shape, .batch = batch};
    struct tarn_rng rng;
    tarn_kernel *kernel = NULL;
    int32_t defines[TARN_SHAPE_DEFINES];
    int code = TARN_EXIT_OK;
    tarn_shape_defines(shape, defines);
    if (tarn_canary_create(bench->device, &(struct tarn_kernel_params){&tarn_train_source, defines},
                           NULL, &kernel, &bench->error) != TARN_OK)
        code = tarn_cli_fail(bench->cli, &bench->error);
    for (size_t s = 0; s < sizeof steps / sizeof steps[0] && code == TARN_EXIT_OK; s++) {
        tarn_rng_seed(&rng, bench->cli->seed);
        if (!create(bench, &work, &rng))
            code = tarn_bench_fail(bench, TARN_NO_MEMORY, "train");
        else
            code = measure(bench, &work, kernel, steps[s], rounds, rows, table);
        destroy(&work);
    }
    tarn_kernel_destroy(&kernel);
    return code;
}

static int run(struct tarn_cli *cli, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    const char *paths = tarn_cli_value(cli, "path");
    if (paths != NULL)
        return tarn_bench_paths(cli, paths, true);
    static const char *const heads[] = {
        "shape",       "batch",        "steps/launch",     "path",  "us/step",
        "CPU us/step", "host us/step", "host CPU us/step", "ratio", "CPU ratio"};
    static const struct {
        struct tarn_shape shape;
        uint32_t batch;
    } cases[] = {
        {{28, 32, 32, 11}, 128},
        {{28, 32, 32, 11}, 512},
        {{28, 16, 16, 11}, 128},
        {{28, 64, 64, 11}, 128},
    };
    bool quick = tarn_cli_flag(cli, "quick");
    struct tarn_bench bench;
    int code = tarn_bench_open(&bench, cli);
    if (code != TARN_EXIT_OK)
        return code;
    cJSON *rows = cJSON_CreateArray();
    tarn_table *table = tarn_table_create(heads, 10);
    for (size_t c = 0; c < (quick ? 1 : sizeof cases / sizeof cases[0]) && code == TARN_EXIT_OK;
         c++)
        code = run_shape(&bench, &cases[c].shape, cases[c].batch, quick ? 15 : 61, rows, table);
    if (code == TARN_EXIT_OK) {
        code = tarn_bench_print(&bench, "train", rows, table);
    } else {
        cJSON_Delete(rows);
        tarn_table_destroy(&table);
    }
    tarn_bench_close(&bench);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"quick", 0, NULL, "the reference network only, fewer rounds"},
    TARN_BENCH_PATH_OPTIONS,
    {NULL},
};

const struct tarn_command tarn_bench_train = {
    .name = "train",
    .run = run,
    .summary = "gradient steps: forward, backward, Adam",
    .usage = "[--quick] [--path LIST [--width N] [--batch N]]",
    .description = "Trains on random samples, several steps in one launch, on the device and on\n"
                   "one thread of the host. Times are us for a step.",
    .options = options,
    .examples = "tarn bench train --device opencl\n"
                "tarn bench train --device opencl --path fused,gemm,host\n",
};
