/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn selftest`: every kernel on every device. */
#include "cli.h"

#include <cjson/cJSON.h>
#include <string.h>

#include <tarn/gpu.h>

#include "base/error.h"
#include "kernels/selftest.h"

/* One device's row; its counts are added to `total`. */
static int run_device(struct tarn_cli *cli, const char *id, struct tarn_selftest *total,
                      cJSON *devices, tarn_table *table)
{
    struct tarn_selftest result = {0};
    struct tarn_error error = {0};
    tarn_device *device = NULL;
    tarn_status status = tarn_device_open(
        &(struct tarn_device_params){.id = id, .cache_dir = cli->cache_dir}, &device, &error);
    if (status == TARN_NO_DEVICE || status == TARN_NO_MEMORY)
        return tarn_cli_fail(cli, &error);
    const char *name = device != NULL ? tarn_device_get_info(device)->id : id;
    char row_id[32];
    snprintf(row_id, sizeof row_id, "%s", name);
    if (device == NULL) {
        result = (struct tarn_selftest){.checks = 1, .failed = 1};
        snprintf(result.message, sizeof result.message, "%.300s", error.message);
    } else {
        if (tarn_device_get_info(device)->type == TARN_DEVICE_HOST)
            status = tarn_selftest_host(cli->seed, &result);
        if (status == TARN_OK)
            status = tarn_selftest_device(device, cli->seed, &result);
        tarn_device_close(&device);
        if (status != TARN_OK) {
            tarn_fail(&error, status, "selftest: %s: %s", row_id, tarn_status_message(status));
            return tarn_cli_fail(cli, &error);
        }
    }
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "id", row_id);
    tarn_json_integer(row, "checks", result.checks);
    tarn_json_integer(row, "failed", result.failed);
    tarn_json_integer(row, "skipped", result.skipped);
    if (result.failed > 0)
        cJSON_AddStringToObject(row, "message", result.message);
    cJSON_AddItemToArray(devices, row);
    tarn_table_row(table, "%s\t%u\t%u\t%u\t%s", row_id, result.checks, result.failed,
                   result.skipped, result.failed > 0 ? result.message : "good");
    if (total->failed == 0 && result.failed > 0)
        memcpy(total->message, result.message, sizeof total->message);
    total->checks += result.checks;
    total->failed += result.failed;
    total->skipped += result.skipped;
    return TARN_EXIT_OK;
}

static int run(struct tarn_cli *cli, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    static const char *const heads[] = {"device", "checks", "failed", "skipped", "result"};
    struct tarn_device_info *infos = NULL;
    size_t count = 0;
    struct tarn_selftest total = {0};
    struct tarn_error error = {0};
    int code = TARN_EXIT_OK;
    tarn_status status = tarn_devices_list(&infos, &count);
    cJSON *json = cJSON_CreateObject(), *devices = cJSON_CreateArray();
    tarn_table *table = tarn_table_create(heads, 5);
    if (status != TARN_OK || json == NULL || devices == NULL || table == NULL) {
        status = status == TARN_OK ? TARN_NO_MEMORY : status;
        tarn_fail(&error, status, "selftest: %s", tarn_status_message(status));
        code = tarn_cli_fail(cli, &error);
        goto done;
    }
    /* "auto" means all of them here */
    if (strcmp(cli->device, "auto") != 0)
        code = run_device(cli, cli->device, &total, devices, table);
    else
        for (size_t i = 0; i < count && code == TARN_EXIT_OK; i++)
            code = run_device(cli, infos[i].id, &total, devices, table);
    if (code != TARN_EXIT_OK)
        goto done;
    if (cli->json) {
        tarn_json_integer(json, "checks", total.checks);
        tarn_json_integer(json, "failed", total.failed);
        tarn_json_integer(json, "skipped", total.skipped);
        cJSON_AddItemToObject(json, "devices", devices);
        devices = NULL;
        code = tarn_cli_print_json(cli, json);
        json = NULL;
    } else {
        tarn_table_print(table, cli, stdout);
    }
    if (total.failed > 0) {
        tarn_fail(&error, TARN_CORRUPT, "selftest: %u of %u checks failed: %.250s", total.failed,
                  total.checks, total.message);
        code = tarn_cli_fail(cli, &error);
    }
done:
    tarn_devices_free(&infos);
    cJSON_Delete(json);
    cJSON_Delete(devices);
    tarn_table_destroy(&table);
    return code;
}

const struct tarn_command tarn_command_selftest = {
    .name = "selftest",
    .run = run,
    .summary = "check every kernel on every device",
    .usage = "[--device DEVICE]",
    .description = "Runs lookups, scores and training steps on random input and compares: each\n"
                   "instruction set of the host with plain code, each device with the host. Exit\n"
                   "status 1 if a check failed. --device limits it to one device.",
    .examples = "tarn selftest\ntarn selftest --device opencl --json\n",
};
