/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn model train --search`: a set for each class that the traces are of. */
#include "model.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "sim/search.h"

/* Traces of one class, or all of them under a name that was given. */
struct group {
    const char *name;
    const struct tarn_trace_data **traces;
    size_t count;
    struct tarn_search_result result;
    bool searched;
};

struct job {
    const struct tarn_cli *cli;
    struct tarn_search_params params;
    struct tarn_progress progress;
    struct group group[TARN_WORKLOADS];
    size_t groups;
};

static tarn_status sort_traces(struct job *job, struct tarn_trace_data *const *traces, size_t count,
                               const char *name, struct tarn_error *error)
{
    for (size_t i = 0; i < count; i++) {
        tarn_workload_class class = TARN_WORKLOAD_ZIPF;
        double confidence = 1;
        tarn_status status = TARN_OK;
        if (name == NULL)
            status = tarn_search_classify(traces[i], &job->params, &class, &confidence, error);
        if (status != TARN_OK)
            return status;
        const char *of = name != NULL ? name : tarn_workload_name(class);
        size_t g = 0;
        while (g < job->groups && strcmp(job->group[g].name, of) != 0)
            g++;
        struct group *group = &job->group[g];
        if (g == job->groups) {
            job->groups++;
            group->name = of;
            group->traces = calloc(count, sizeof *group->traces);
            if (group->traces == NULL)
                return tarn_fail(error, TARN_NO_MEMORY, "model train: out of memory");
        }
        group->traces[group->count++] = traces[i];
        if (!job->cli->quiet && !job->cli->json)
            fprintf(stderr, "%s: %s, %.2f\n", traces[i]->name, of, confidence);
    }
    return TARN_OK;
}

static tarn_status search(struct job *job, struct group *group, tarn_model_sets *sets,
                          struct tarn_error *error)
{
    char label[64], provenance[160];
    struct tarn_model_info info;
    struct tarn_search_result *r = &group->result;
    tarn_model_get_info(job->params.general, &info);
    snprintf(provenance, sizeof provenance,
             "tarn %s model train --search, seed %" PRIu64 ", set %s from %016" PRIx64 "\n",
             TARN_VERSION, job->params.seed, group->name, info.hash);
    snprintf(label, sizeof label, "searching %s", group->name);
    job->params.provenance = provenance;
    tarn_progress_start(&job->progress, job->cli, label);
    tarn_status status = tarn_search_run(group->traces, group->count, &job->params, r, error);
    tarn_progress_end(&job->progress);
    if (status != TARN_OK)
        return status;
    group->searched = true;
    if (r->kept)
        status =
            tarn_model_sets_add(sets, group->name, r->model, &r->trial[r->best].settings, error);
    return status;
}

static cJSON *describe_trial(const struct tarn_search_trial *t)
{
    cJSON *json = cJSON_CreateObject();
    tarn_json_number(json, "first", t->first);
    tarn_json_number(json, "second", t->second);
    tarn_model_json_settings(json, &t->settings);
    return json;
}

static int report_json(const struct job *job, const char *output)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
    cJSON_AddStringToObject(json, "file", output);
    cJSON *list = cJSON_AddArrayToObject(json, "sets");
    for (size_t i = 0; i < job->groups; i++) {
        const struct group *g = &job->group[i];
        cJSON *set = cJSON_CreateObject();
        cJSON_AddStringToObject(set, "name", g->name);
        cJSON *names = cJSON_AddArrayToObject(set, "traces");
        for (size_t k = 0; k < g->count; k++)
            cJSON_AddItemToArray(names, cJSON_CreateString(g->traces[k]->name));
        cJSON_AddBoolToObject(set, "kept", g->result.kept);
        tarn_json_number(set, "misses", g->result.misses);
        tarn_json_number(set, "error", g->result.error);
        tarn_json_integer(set, "cells", g->result.cells);
        tarn_json_integer(set, "best", g->result.best);
        cJSON *trials = cJSON_AddArrayToObject(set, "trials");
        for (uint32_t k = 0; k < g->result.trials; k++)
            cJSON_AddItemToArray(trials, describe_trial(&g->result.trial[k]));
        cJSON_AddItemToArray(list, set);
    }
    return tarn_cli_print_json(job->cli, json);
}

static int report(const struct job *job, const char *output)
{
    static const char *const heads[] = {"set", "traces", "trials", "misses", "error", ""};
    if (job->cli->json)
        return report_json(job, output);
    if (job->cli->quiet || strcmp(output, "-") == 0)
        return TARN_EXIT_OK;
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof *heads);
    for (size_t i = 0; i < job->groups && table != NULL; i++) {
        const struct tarn_search_result *r = &job->group[i].result;
        tarn_table_row(table, "%s\t%zu\t%u\t%+.2f %%\t%.2f %%\t%s", job->group[i].name,
                       job->group[i].count, (unsigned)r->trials, 100 * r->misses, 100 * r->error,
                       r->kept ? "kept" : "not kept: the general one serves as well");
    }
    if (table != NULL)
        tarn_table_print(table, job->cli, stdout);
    tarn_table_destroy(&table);
    return TARN_EXIT_OK;
}

static void job_free(struct job *job)
{
    for (size_t i = 0; i < job->groups; i++) {
        free(job->group[i].traces);
        tarn_model_destroy(&job->group[i].result.model);
    }
}

/* The general set, and others that are there already: those that were found stay. */
tarn_status tarn_model_load_start(const char *path, tarn_model_sets **sets,
                                  struct tarn_error *error)
{
    struct tarn_set_settings settings;
    tarn_model *model = NULL;
    if (path != NULL)
        return tarn_model_sets_load(path, sets, error);
    tarn_set_defaults(&settings);
    tarn_status status = tarn_model_load_default(&model, error);
    if (status == TARN_OK)
        status = tarn_model_sets_create(sets);
    if (status == TARN_OK)
        status = tarn_model_sets_add(*sets, "general", model, &settings, error);
    tarn_model_destroy(&model);
    return status;
}

/* A name that tarn_model_sets_add() takes, and not the general set's: that one isn't searched. */
static bool is_set_name(const char *name)
{
    static const char usual[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t length = strlen(name);
    return length > 0 && length < TARN_SET_NAME && strspn(name, usual) == length;
}

int tarn_model_check_search(const struct tarn_cli *cli)
{
    static const char *const not_here[] = {"widths", "patience", "rounds", "steps"};
    const char *name = tarn_cli_value(cli, "class");
    uint64_t trials;
    if (!tarn_cli_flag(cli, "search"))
        return name == NULL && tarn_cli_value(cli, "trials") == NULL
                   ? TARN_EXIT_OK
                   : tarn_cli_usage(cli, "--class and --trials belong to --search");
    for (size_t i = 0; i < sizeof not_here / sizeof *not_here; i++)
        if (tarn_cli_value(cli, not_here[i]) != NULL)
            return tarn_cli_usage(cli, "--search chooses that itself: no --%s", not_here[i]);
    if (tarn_cli_flag(cli, "early-exit"))
        return tarn_cli_usage(cli, "--search chooses that itself: no --early-exit");
    if (name != NULL && !is_set_name(name))
        return tarn_cli_usage(cli, "--class: '%.40s' isn't 1 to %d letters, digits, - _ .", name,
                              TARN_SET_NAME - 1);
    if (name != NULL && strcmp(name, "general") == 0)
        return tarn_cli_usage(cli, "--class: 'general' is what sets are held against");
    return tarn_cli_integer(cli, "trials", 2, TARN_SEARCH_TRIALS, &trials);
}

int tarn_model_search(const struct tarn_cli *cli, struct tarn_trace_data *const *traces,
                      size_t count, tarn_model_sets *sets, const char *output, tarn_device *device)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct job job = {.cli = cli};
    struct tarn_error error = {0};
    struct tarn_set_info general;
    uint64_t trials = 12;
    int code = tarn_cli_integer(cli, "trials", 2, TARN_SEARCH_TRIALS, &trials);
    if (code != TARN_EXIT_OK)
        return code;
    tarn_model_sets_get(sets, 0, &general);
    job.params = (struct tarn_search_params){
        .general = general.model,
        .settings = general.settings,
        .trials = (uint32_t)trials,
        .threads = cores > 0 ? (unsigned)cores : 1,
        .seed = cli->seed,
        .device = device,
        .progress = tarn_progress_callback,
        .user = &job.progress,
    };
    tarn_status status = sort_traces(&job, traces, count, tarn_cli_value(cli, "class"), &error);
    for (size_t i = 0; i < job.groups && status == TARN_OK; i++)
        status = search(&job, &job.group[i], sets, &error);
    if (status == TARN_OK)
        status = tarn_model_sets_save(sets, output, &error);
    code = status == TARN_OK ? report(&job, output) : tarn_cli_fail(cli, &error);
    job_free(&job);
    return code;
}
