/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn model slice` and `tarn model grow`: models made smaller and larger, and what elastic ones say of it. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model.h"
#include "sim/collect.h"

void tarn_model_print_elastic(const struct tarn_model_info *info)
{
    if (info->nested[0] == 0 && !info->early_exit)
        return;
    printf("elastic     ");
    for (int i = 0; i < TARN_MODEL_NESTED && info->nested[i] > 0; i++)
        printf("%u, ", (unsigned)info->nested[i]);
    printf("%u units%s\n", (unsigned)info->hidden1,
           info->early_exit ? ", each without the second layer too" : "");
}

void tarn_model_json_elastic(cJSON *json, const struct tarn_model_info *info)
{
    int widths[TARN_MODEL_NESTED + 1], count = 0;
    for (; count < TARN_MODEL_NESTED && info->nested[count] > 0; count++)
        widths[count] = (int)info->nested[count];
    widths[count++] = (int)info->hidden1;
    cJSON_AddItemToObject(json, "widths", cJSON_CreateIntArray(widths, count));
    cJSON_AddBoolToObject(json, "early_exit", info->early_exit);
}

int tarn_model_read_widths(const struct tarn_cli *cli, uint32_t widths[TARN_MODEL_NESTED + 1],
                           size_t *count)
{
    const char *text = tarn_cli_value(cli, "widths");
    *count = 0;
    while (text != NULL && *text != '\0') {
        char *end;
        unsigned long width = strtoul(text, &end, 10);
        bool rises = *count == 0 || width > widths[*count - 1];
        if (end == text || (*end != ',' && *end != '\0') || (*end == ',' && end[1] == '\0') ||
            !rises || width < 1 || width > 64 || *count > TARN_MODEL_NESTED)
            return tarn_cli_usage(cli,
                                  "--widths: '%s' isn't up to %d rising numbers of units, as "
                                  "8,16,32",
                                  tarn_cli_value(cli, "widths"), TARN_MODEL_NESTED + 1);
        widths[(*count)++] = (uint32_t)width;
        text = *end == ',' ? end + 1 : end;
    }
    return TARN_EXIT_OK;
}

tarn_status tarn_model_load_one(const char *path, tarn_model **model, struct tarn_error *error)
{
    tarn_model_sets *sets = NULL;
    tarn_status status = tarn_model_load(path, model, error);
    if (status == TARN_CORRUPT && tarn_model_sets_load(path, &sets, NULL) == TARN_OK)
        status = tarn_fail(error, TARN_INVALID, "%s: a file of sets; this needs one model", path);
    tarn_model_sets_destroy(&sets);
    return status;
}

/* What both commands begin with: FILE, --width and -o. */
static int begin(struct tarn_cli *cli, int argc, char **argv, uint64_t *width, tarn_model **model)
{
    struct tarn_error error;
    int code;
    if (argc < 1)
        return tarn_cli_usage(cli, "a FILE is needed");
    if (tarn_cli_value(cli, "output") == NULL)
        return tarn_cli_usage(cli, "where to? -o FILE is needed");
    if ((code = tarn_cli_integer(cli, "width", 1, 64, width)) != TARN_EXIT_OK)
        return code;
    if (*width == 0)
        return tarn_cli_usage(cli, "--width N is needed");
    tarn_status status = tarn_cli_check_output(tarn_cli_value(cli, "output"), &error);
    if (status == TARN_OK)
        status = tarn_model_load_one(argv[0], model, &error);
    return status == TARN_OK ? TARN_EXIT_OK : tarn_cli_fail(cli, &error);
}

static int end(const struct tarn_cli *cli, const tarn_model *made, tarn_status status,
               struct tarn_error *error)
{
    const char *output = tarn_cli_value(cli, "output");
    if (status == TARN_OK)
        status = tarn_model_save(made, output, error);
    if (status != TARN_OK)
        return tarn_cli_fail(cli, error);
    struct tarn_model_info info;
    tarn_model_get_info(made, &info);
    if (cli->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
        cJSON_AddStringToObject(json, "file", output);
        tarn_json_integer(json, "bytes", info.file_size);
        tarn_json_integer(json, "parameters", info.parameters);
        tarn_model_json_elastic(json, &info);
        return tarn_cli_print_json(cli, json);
    }
    if (!cli->quiet && strcmp(output, "-") != 0)
        printf("%s: %zu bytes, %u units, %u parameters\n", output, info.file_size, info.hidden1,
               info.parameters);
    return TARN_EXIT_OK;
}

/* Samples of what the model meets on these traces. */
static tarn_status collect(const struct tarn_cli *cli, const tarn_model *model, int count,
                           char **paths, uint64_t limit, struct tarn_collected *collected,
                           struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    struct tarn_trace_data **traces = calloc((size_t)count, sizeof *traces);
    if (traces == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "model slice: out of memory");
    status = tarn_cli_check_inputs(count, paths, error);
    for (int i = 0; i < count && status == TARN_OK; i++)
        status = tarn_trace_load(paths[i], &(struct tarn_trace_load_params){.limit = limit},
                                 &traces[i], error);
    if (status == TARN_OK)
        status = tarn_collect((const struct tarn_trace_data *const *)traces, (size_t)count,
                              &(struct tarn_collect_params){.model = model, .seed = cli->seed},
                              collected, error);
    for (int i = 0; i < count; i++)
        tarn_trace_data_free(&traces[i]);
    free(traces);
    return status;
}

static int tarn_cmd_model_slice(struct tarn_cli *cli, int argc, char **argv)
{
    uint64_t width = 0, limit = 0;
    struct tarn_error error = {0};
    struct tarn_collected collected = {0};
    tarn_model *model = NULL, *made = NULL;
    bool by_importance = tarn_cli_flag(cli, "by-importance") || argc > 1;
    int code = tarn_cli_integer(cli, "limit", 1, UINT64_MAX, &limit);
    if (code == TARN_EXIT_OK)
        code = begin(cli, argc, argv, &width, &model);
    if (code != TARN_EXIT_OK)
        return code;
    tarn_status status = TARN_OK;
    if (argc > 1)
        status = collect(cli, model, argc - 1, argv + 1, limit, &collected, &error);
    if (status == TARN_OK)
        status = tarn_model_narrow(model, (uint32_t)width, by_importance, collected.runs,
                                   collected.run_count, &made, &error);
    code = end(cli, made, status, &error);
    tarn_collected_free(&collected);
    tarn_model_destroy(&made);
    tarn_model_destroy(&model);
    return code;
}

static const struct tarn_cli_option slice_options[] = {
    {"output", 'o', "FILE", "the model to write; - is standard output"},
    {"width", 0, "N", "units of both hidden layers, one of the model's widths"},
    {"by-importance", 0, NULL, "the units that matter most, of any model and of any number"},
    {"limit", 0, "N", "only the first N requests of each trace"},
    {NULL},
};

const struct tarn_command tarn_command_model_slice = {
    .name = "slice",
    .run = tarn_cmd_model_slice,
    .summary = "make a smaller model of one",
    .usage = "FILE [TRACE...] --width N -o FILE",
    .description =
        "An elastic model, as `tarn model train --widths` makes them, holds a model of each of\n"
        "its widths, and gives it out as it is. Of any other the units that matter most are\n"
        "taken: those with the largest weights behind them and, if there are traces, the most\n"
        "active on them; some training does such a model good.",
    .options = slice_options,
    .examples = "tarn model slice site.model --width 8 -o small.model\n"
                "tarn model slice old.model monday.csv.zst --width 12 -o small.model\n",
};

static int tarn_cmd_model_grow(struct tarn_cli *cli, int argc, char **argv)
{
    uint64_t width = 0;
    struct tarn_error error = {0};
    tarn_model *model = NULL, *made = NULL;
    if (argc > 1)
        return tarn_cli_usage(cli, "one FILE is enough");
    int code = begin(cli, argc, argv, &width, &model);
    if (code != TARN_EXIT_OK)
        return code;
    tarn_status status = tarn_model_widen(model, (uint32_t)width, cli->seed, &made, &error);
    code = end(cli, made, status, &error);
    tarn_model_destroy(&made);
    tarn_model_destroy(&model);
    return code;
}

static const struct tarn_cli_option grow_options[] = {
    {"output", 'o', "FILE", "the model to write; - is standard output"},
    {"width", 0, "N", "units of both hidden layers, more than there are"},
    {NULL},
};

const struct tarn_command tarn_command_model_grow = {
    .name = "grow",
    .run = tarn_cmd_model_grow,
    .summary = "make a larger model that scores the same",
    .usage = "FILE --width N -o FILE",
    .description =
        "The new units are copies of old ones: nothing changes until the model learns on. An\n"
        "elastic model keeps its widths, and what it was becomes one of them.",
    .options = grow_options,
    .examples = "tarn model grow site.model --width 64 -o large.model\n",
};
