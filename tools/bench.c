/* SPDX-License-Identifier: Apache-2.0 */
#include "bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/virtual.h>

#include "base/clock.h"
#include "base/error.h"

int tarn_bench_open(struct tarn_bench *bench, struct tarn_cli *cli)
{
    *bench = (struct tarn_bench){.cli = cli};
    if (tarn_device_open(
            &(struct tarn_device_params){.id = cli->device, .cache_dir = cli->cache_dir},
            &bench->device, &bench->error) != TARN_OK)
        return tarn_cli_fail(cli, &bench->error);
    bench->simulated = tarn_device_get_info(bench->device)->type == TARN_DEVICE_VIRTUAL;
    tarn_status status = tarn_queue_create(
        bench->device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_HIGH}, &bench->queue);
    if (status != TARN_OK) {
        tarn_device_close(&bench->device);
        return tarn_bench_fail(bench, status, "queue");
    }
    return TARN_EXIT_OK;
}

void tarn_bench_close(struct tarn_bench *bench)
{
    tarn_queue_destroy(&bench->queue);
    tarn_device_close(&bench->device);
}

tarn_buffer *tarn_bench_buffer(struct tarn_bench *bench, const void *data, size_t size)
{
    tarn_buffer *buffer = NULL;
    tarn_status status =
        tarn_buffer_create(bench->device, &(struct tarn_buffer_params){.size = size}, &buffer);
    if (status == TARN_OK && data != NULL) {
        memcpy(tarn_buffer_data(buffer), data, size);
        status = tarn_buffer_upload(bench->queue, buffer, 0, size);
    }
    if (status == TARN_OK)
        return buffer;
    tarn_buffer_destroy(&buffer);
    tarn_fail(&bench->error, status, "bench: a buffer of %zu bytes: %s", size,
              tarn_status_message(status));
    return NULL;
}

int tarn_bench_rounds(const struct tarn_bench *bench, int rounds)
{
    return bench->simulated ? 1 : rounds;
}

static uint64_t time_of(const struct tarn_bench *bench)
{
    return bench->simulated ? tarn_virtual_now(bench->device) : tarn_clock_ns();
}

struct tarn_bench_clock tarn_bench_start(const struct tarn_bench *bench, bool on_device)
{
    return (struct tarn_bench_clock){bench, on_device, time_of(bench), tarn_clock_process_cpu_ns()};
}

void tarn_bench_stop(struct tarn_bench_times *times, struct tarn_bench_clock start, double elements)
{
    uint64_t wall = time_of(start.bench) - start.wall_ns;
    uint64_t cpu = tarn_clock_process_cpu_ns() - start.cpu_ns;
    if (times->rounds == TARN_BENCH_ROUNDS)
        return;
    bool simulated = start.bench->simulated;
    times->wall[times->rounds] =
        simulated && !start.on_device ? (double)NAN : (double)wall / elements;
    times->cpu[times->rounds++] = simulated ? (double)NAN : (double)cpu / elements;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

double tarn_bench_wall(struct tarn_bench_times *times)
{
    return middle(times->wall, times->rounds);
}

double tarn_bench_cpu(struct tarn_bench_times *times)
{
    return middle(times->cpu, times->rounds);
}

int tarn_bench_fail(struct tarn_bench *bench, tarn_status status, const char *what)
{
    tarn_fail(&bench->error, status, "bench: %s: %s: %s",
              bench->device != NULL ? tarn_device_get_info(bench->device)->id : bench->cli->device,
              what, tarn_status_message(status));
    return tarn_cli_fail(bench->cli, &bench->error);
}

int tarn_bench_print(struct tarn_bench *bench, const char *name, struct cJSON *rows,
                     tarn_table *table)
{
    const struct tarn_device_info *info = tarn_device_get_info(bench->device);
    cJSON *json = cJSON_CreateObject();
    if (json == NULL || rows == NULL || table == NULL ||
        cJSON_AddStringToObject(json, "tarn", TARN_VERSION) == NULL ||
        cJSON_AddStringToObject(json, "bench", name) == NULL ||
        cJSON_AddStringToObject(json, "device", info->id) == NULL ||
        cJSON_AddStringToObject(json, "device_name", info->name) == NULL ||
        cJSON_AddStringToObject(json, "clock", bench->simulated ? "virtual" : "wall") == NULL ||
        !cJSON_AddItemToObject(json, "rows", rows)) {
        cJSON_Delete(json);
        cJSON_Delete(rows);
        tarn_table_destroy(&table);
        return tarn_bench_fail(bench, TARN_NO_MEMORY, name);
    }
    int code = TARN_EXIT_OK;
    if (bench->cli->json) {
        code = tarn_cli_print_json(bench->cli, json);
    } else {
        printf("%s on %s (%s), %s\n", name, info->id, info->name,
               bench->simulated ? "by the device's own clock" : "against the host's own loop");
        tarn_table_print(table, bench->cli, stdout);
        cJSON_Delete(json);
    }
    tarn_table_destroy(&table);
    return code;
}

static const struct tarn_command *const subcommands[] = {
    &tarn_bench_lookup, &tarn_bench_score, &tarn_bench_train, &tarn_bench_share,
    &tarn_bench_swap,   &tarn_bench_learn, &tarn_bench_trace, NULL};

const struct tarn_command tarn_command_bench = {
    .name = "bench",
    .summary = "measure the device against the host",
    .usage = "NAME [--quick]",
    .description =
        "Each bench runs the device's way and the host's best way in turns and prints\n"
        "medians. CPU times are the whole process's, so that a device that is made of\n"
        "the CPU (PoCL) is judged fairly. A simulated device (virtual:mali) is timed by its\n"
        "own clock, the same on any machine; the host's times are then left out. The\n"
        "defaults end within a minute, learn's within ten.",
    .subcommands = subcommands,
};
