/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn bench trace`: how fast traces are read and generated. */
#include "bench.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/options.h"
#include "trace/gen.h"
#include "trace/trace.h"

enum { BATCH = 4096 };

struct row {
    const char *name;
    double seconds; /* the fastest round */
    double bytes_per_request;
};

static tarn_status generate(struct tarn_gen_params *params, const char *path, double *seconds,
                            struct tarn_error *error)
{
    struct tarn_request batch[BATCH];
    tarn_trace_writer *writer = NULL;
    tarn_gen *gen = NULL;
    size_t count;
    uint64_t spent = 0;
    tarn_status status = tarn_gen_create(params, &gen, error);
    if (status == TARN_OK)
        status =
            tarn_trace_writer_create(path, &(struct tarn_trace_writer_params){0}, &writer, error);
    while (status == TARN_OK) {
        uint64_t start = tarn_clock_ns();
        count = tarn_gen_read(gen, batch, BATCH);
        spent += tarn_clock_ns() - start;
        if (count == 0)
            break;
        status = tarn_trace_writer_add(writer, batch, count, error);
    }
    *seconds = (double)spent * 1e-9;
    if (status == TARN_OK)
        status = tarn_trace_writer_finish(&writer, error);
    tarn_trace_writer_abandon(&writer);
    tarn_gen_destroy(&gen);
    return status;
}

/* Reads the bytes through once. */
static tarn_status read_through(const void *bytes, size_t size, double *seconds,
                                struct tarn_error *error)
{
    struct tarn_request batch[BATCH];
    tarn_trace *trace = NULL;
    size_t count;
    uint64_t start = tarn_clock_ns();
    tarn_status status = tarn_trace_open_memory(bytes, size, NULL, &trace, error);
    while (status == TARN_OK)
        status = tarn_trace_read(trace, batch, BATCH, &count, error);
    *seconds = (double)(tarn_clock_ns() - start) * 1e-9;
    tarn_trace_close(&trace);
    return status == TARN_END ? TARN_OK : status;
}

static tarn_status load_through(const char *path, double *seconds, struct tarn_error *error)
{
    struct tarn_trace_data *data = NULL;
    uint64_t start = tarn_clock_ns();
    tarn_status status = tarn_trace_load(path, NULL, &data, error);
    *seconds = (double)(tarn_clock_ns() - start) * 1e-9;
    tarn_trace_data_free(&data);
    return status;
}

static void keep_fastest(struct row *row, double seconds)
{
    if (row->seconds == 0 || seconds < row->seconds)
        row->seconds = seconds;
}

/* `rounds` of every row, in turn, so that a slow moment of the machine hits all alike. */
static tarn_status measure(const char *folder, struct tarn_gen_params *params, int rounds,
                           struct row *rows, size_t formats, const char *const *endings,
                           struct tarn_progress *progress, struct tarn_error *error)
{
    void *bytes[8] = {NULL};
    size_t sizes[8] = {0};
    double seconds;
    char path[512];
    tarn_status status = TARN_OK;
    for (size_t i = 0; i < formats && status == TARN_OK; i++) {
        snprintf(path, sizeof path, "%s/bench.%s", folder, endings[i]);
        status = generate(params, path, &seconds, error);
        if (status == TARN_OK)
            status = tarn_file_read(path, SIZE_MAX, &bytes[i], &sizes[i], error);
        rows[i].bytes_per_request = (double)sizes[i] / (double)params->requests;
        keep_fastest(&rows[formats], seconds);
    }
    snprintf(path, sizeof path, "%s/bench.%s", folder, endings[0]);
    for (int round = 0; round < rounds && status == TARN_OK; round++) {
        for (size_t i = 0; i < formats && status == TARN_OK; i++) {
            status = read_through(bytes[i], sizes[i], &seconds, error);
            keep_fastest(&rows[i], seconds);
        }
        if (status == TARN_OK)
            status = load_through(path, &seconds, error);
        keep_fastest(&rows[formats + 1], seconds);
        tarn_progress_update(progress, (round + 1.0) / rounds);
    }
    for (size_t i = 0; i < formats; i++) {
        snprintf(path, sizeof path, "%s/bench.%s", folder, endings[i]);
        unlink(path);
        free(bytes[i]);
    }
    return status;
}

static int print_rows(const struct tarn_cli *cli, const struct row *rows, size_t count,
                      double requests)
{
    static const char *const heads[] = {"what", "M requests/s", "bytes/request"};
    if (cli->json) {
        cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "rows");
        for (size_t i = 0; i < count; i++) {
            cJSON *row = cJSON_CreateObject();
            cJSON_AddStringToObject(row, "what", rows[i].name);
            tarn_json_number(row, "mrequests_per_s", requests / rows[i].seconds * 1e-6);
            if (rows[i].bytes_per_request > 0)
                tarn_json_number(row, "bytes_per_request", rows[i].bytes_per_request);
            else
                cJSON_AddNullToObject(row, "bytes_per_request");
            cJSON_AddItemToArray(list, row);
        }
        return tarn_cli_print_json(cli, json);
    }
    tarn_table *table = tarn_table_create(heads, 3);
    for (size_t i = 0; i < count; i++) {
        char bytes[32] = "";
        if (rows[i].bytes_per_request > 0)
            snprintf(bytes, sizeof bytes, "%.2f", rows[i].bytes_per_request);
        tarn_table_row(table, "%s\t%.1f\t%s", rows[i].name, requests / rows[i].seconds * 1e-6,
                       bytes);
    }
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    return TARN_EXIT_OK;
}

static int tarn_bench_run(struct tarn_cli *cli, int argc, char **argv)
{
    static const char *const endings[] = {"oracleGeneral", "tarn", "csv", "keys"};
    struct row rows[] = {{.name = "read oracle"},   {.name = "read tarn"},
                         {.name = "read csv"},      {.name = "read keys"},
                         {.name = "generate zipf"}, {.name = "load oracle"}};
    bool quick = tarn_cli_flag(cli, "quick");
    struct tarn_gen_params params = {.kind = "zipf",
                                     .requests = quick ? 500000 : 4000000,
                                     .objects = quick ? 100000 : 1000000,
                                     .seed = cli->seed};
    struct tarn_progress progress;
    struct tarn_error error;
    const char *base = tarn_option_get(TARN_OPTION_TMPDIR);
    char folder[256];
    (void)argv;
    if (argc != 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    int code = tarn_cli_integer(cli, "requests", 1000, 100000000, &params.requests);
    if (code != TARN_EXIT_OK)
        return code;
    snprintf(folder, sizeof folder, "%s/tarn-bench-XXXXXX", base);
    if (mkdtemp(folder) == NULL) {
        tarn_fail(&error, TARN_IO, "%s: can't be made", folder);
        return tarn_cli_fail(cli, &error);
    }
    tarn_progress_start(&progress, cli, "reading");
    tarn_status status = measure(folder, &params, quick ? 3 : 7, rows,
                                 sizeof endings / sizeof endings[0], endings, &progress, &error);
    tarn_progress_end(&progress);
    rmdir(folder);
    return status == TARN_OK
               ? print_rows(cli, rows, sizeof rows / sizeof rows[0], (double)params.requests)
               : tarn_cli_fail(cli, &error);
}

static const struct tarn_cli_option options[] = {
    {"quick", 0, NULL, "fewer requests and rounds"},
    {"requests", 'n', "N", "requests of the trace (default 4000000)"},
    {NULL},
};

const struct tarn_command tarn_bench_trace = {
    .name = "trace",
    .run = tarn_bench_run,
    .summary = "reading traces from memory, generating and loading them",
    .usage = "[--quick] [--requests N]",
    .description =
        "Reads a zipf trace in every format, all rounds in turn, and takes the fastest round.\n"
        "load is reading plus the numbering of the objects and each request's next one.\n",
    .options = options,
    .examples = "tarn bench trace --quick\n",
};
