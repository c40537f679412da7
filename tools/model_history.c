/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn model history`: what became of the versions that an engine has kept in its state folder. */
#include "model.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/versions.h>
#include <time.h>

#include "base/error.h"

#define MOST 4096 /* more than a file holds */

static void format_time(int64_t unix_ms, char text[32])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    if (unix_ms == 0 || gmtime_r(&seconds, &utc) == NULL ||
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        strcpy(text, "-");
}

static int print_json(struct tarn_cli *cli, const struct tarn_version_event *events, size_t count)
{
    cJSON *json = cJSON_CreateObject();
    cJSON *array = cJSON_AddArrayToObject(json, "events");
    cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
    for (size_t i = 0; i < count; i++) {
        const struct tarn_version_event *e = &events[i];
        cJSON *item = cJSON_CreateObject();
        tarn_json_integer(item, "version", e->version);
        tarn_json_integer(item, "parent", e->parent);
        cJSON_AddStringToObject(item, "what", e->what);
        cJSON_AddStringToObject(item, "why", e->why);
        cJSON_AddBoolToObject(item, "failed", e->failed);
        tarn_json_integer(item, "requests", e->requests);
        tarn_json_number(item, "unix_ms", e->unix_ms != 0 ? (double)e->unix_ms : (double)NAN);
        tarn_json_number(item, "loss", (double)e->loss);
        tarn_json_number(item, "miss_ratio", (double)e->miss_ratio);
        cJSON_AddStringToObject(item, "text", e->text);
        cJSON_AddItemToArray(array, item);
    }
    return tarn_cli_print_json(cli, json);
}

static int print_table(const struct tarn_cli *cli, const struct tarn_version_event *events,
                       size_t count)
{
    static const char *const heads[] = {"version", "parent",   "what", "why",
                                        "loss",    "requests", "when", "remark"};
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < count; i++) {
        const struct tarn_version_event *e = &events[i];
        char when[32], loss[32] = "-";
        format_time(e->unix_ms, when);
        if (!isnan(e->loss))
            snprintf(loss, sizeof loss, "%.4f", (double)e->loss);
        tarn_table_row(table, "%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\t%" PRIu64 "\t%s\t%s%s",
                       e->version, e->parent, e->what, e->why, loss, e->requests, when,
                       e->failed ? "failed; " : "", e->text);
    }
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    return TARN_EXIT_OK;
}

static int tarn_cmd_model_history(struct tarn_cli *cli, int argc, char **argv)
{
    struct tarn_error error;
    size_t count = 0;
    if (argc != 1)
        return tarn_cli_usage(cli, "one DIR or FILE is needed");
    struct tarn_version_event *events = calloc(MOST, sizeof *events);
    tarn_status status = events == NULL
                             ? tarn_fail(&error, TARN_NO_MEMORY, "model history: out of memory")
                             : tarn_versions_read_history(argv[0], events, MOST, &count, &error);
    int code = status != TARN_OK ? tarn_cli_fail(cli, &error)
               : cli->json       ? print_json(cli, events, count)
                                 : print_table(cli, events, count);
    free(events);
    return code;
}

const struct tarn_command tarn_command_model_history = {
    .name = "history",
    .run = tarn_cmd_model_history,
    .summary = "show what became of an engine's versions",
    .usage = "DIR|FILE",
    .description =
        "Newest first: which version went live, was rolled back or turned away, when, and why.\n"
        "DIR is the folder of an engine's state (--state-dir). Models of versions that failed\n"
        "lie beside the history there.",
    .examples = "tarn model history state\ntarn model history state/history --json\n",
};
