/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn model history`: what became of the versions that an engine has kept in its state folder. */
#include "model.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/feedback.h>
#include <tarn/versions.h>
#include <time.h>

#include "base/error.h"
#include "sim/replay.h"

#define MOST 4096 /* more than a file holds */

static void format_time(int64_t unix_ms, char text[32])
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;
    if (unix_ms == 0 || gmtime_r(&seconds, &utc) == NULL ||
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        strcpy(text, "-");
}

/* NaN where it isn't known. */
static double regret_of(const struct tarn_feedback *feedback, uint64_t version)
{
    struct tarn_feedback_figures sum;
    if (feedback == NULL || version == 0)
        return (double)NAN;
    tarn_feedback_sum(feedback, TARN_WORKLOADS, version, &sum);
    return tarn_feedback_regret(&sum);
}

static int print_json(struct tarn_cli *cli, const struct tarn_version_event *events, size_t count,
                      const struct tarn_feedback *feedback)
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
        tarn_json_number(item, "regret", regret_of(feedback, e->version));
        cJSON_AddStringToObject(item, "text", e->text);
        cJSON_AddItemToArray(array, item);
    }
    if (feedback != NULL)
        cJSON_AddItemToObject(json, "feedback", tarn_feedback_json(feedback));
    return tarn_cli_print_json(cli, json);
}

static int print_table(const struct tarn_cli *cli, const struct tarn_version_event *events,
                       size_t count, const struct tarn_feedback *feedback)
{
    static const char *const heads[] = {"version", "parent",   "what", "why",   "loss",
                                        "regret",  "requests", "when", "remark"};
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < count; i++) {
        const struct tarn_version_event *e = &events[i];
        char when[32], loss[32] = "-", regret[32] = "-";
        double cost = regret_of(feedback, e->version);
        format_time(e->unix_ms, when);
        if (!isnan(e->loss))
            snprintf(loss, sizeof loss, "%.4f", (double)e->loss);
        if (!isnan(cost))
            snprintf(regret, sizeof regret, "%+.4f", cost);
        tarn_table_row(table, "%" PRIu64 "\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%" PRIu64 "\t%s\t%s%s",
                       e->version, e->parent, e->what, e->why, loss, regret, e->requests, when,
                       e->failed ? "failed; " : "", e->text);
    }
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    return TARN_EXIT_OK;
}

static int tarn_cmd_model_history(struct tarn_cli *cli, int argc, char **argv)
{
    struct tarn_error error, ignored;
    struct tarn_feedback *feedback = NULL;
    size_t count = 0;
    if (argc != 1)
        return tarn_cli_usage(cli, "one DIR or FILE is needed");
    struct tarn_version_event *events = calloc(MOST, sizeof *events);
    tarn_status status = events == NULL
                             ? tarn_fail(&error, TARN_NO_MEMORY, "model history: out of memory")
                             : tarn_versions_read_history(argv[0], events, MOST, &count, &error);
    /* a file of a history has none beside it, and a folder need not */
    (void)tarn_feedback_read(argv[0], &feedback, &ignored);
    int code = status != TARN_OK ? tarn_cli_fail(cli, &error)
               : cli->json       ? print_json(cli, events, count, feedback)
                                 : print_table(cli, events, count, feedback);
    tarn_feedback_free(&feedback);
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
        "lie beside the history there. regret: what misses under that version cost more, for\n"
        "a request, than under the best expert alone, where it was measured.",
    .examples = "tarn model history state\ntarn model history state/history --json\n",
};
