/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn model`: making models from traces, and looking at them. */
#include "model.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "sim/collect.h"

/* ---- train ---- */

struct training {
    uint32_t widths[TARN_MODEL_NESTED + 1];
    size_t width_count;
    bool early_exit;
    struct tarn_progress progress;
    uint32_t steps, done, patience;
    tarn_device *device; /**< that computes the steps; NULL: the host */
    float loss;
    char *provenance; /**< owned; ends with NOTE_ROOM bytes for `note` */
    char *note;       /**< how the last round ended, in `provenance` */
};

enum { NOTE_ROOM = 64 };

/*
 * The model takes its text along when its steps are done, so the note is kept true meanwhile: it depends on
 * the number of steps, which nobody knows before.
 */
static void write_note(struct training *training)
{
    training->note[0] = '\0';
    if (training->done > 0 && training->done < training->steps)
        snprintf(training->note, NOTE_ROOM, "the last round ended early, after %" PRIu32 " steps\n",
                 training->done);
}

static int report_steps(void *user, uint32_t done, float loss)
{
    struct training *training = user;
    training->loss = loss;
    training->done = done;
    write_note(training);
    tarn_progress_update(&training->progress, (double)done / training->steps);
    return 1;
}

/* Weights of a network that has seen nothing: one gradient step from random ones. */
static tarn_status make_novice(uint64_t seed, tarn_model **model, struct tarn_error *error)
{
    static const struct tarn_model_sample blank;
    const struct tarn_model_run run = {&blank, 1};
    return tarn_model_pretrain(
        &(struct tarn_model_pretrain_params){
            .runs = &run, .run_count = 1, .steps = 1, .seed = seed},
        model, error);
}

/* Fills in `provenance` and `note`. `scorer` is the model that was given, or NULL. */
static tarn_status describe(const struct tarn_trace_data *const *traces, size_t count,
                            uint64_t rounds, uint64_t seed, const tarn_model *scorer,
                            struct training *training, struct tarn_error *error)
{
    struct tarn_model_info info;
    size_t size;
    FILE *file = open_memstream(&training->provenance, &size);
    if (file == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "model train: out of memory");
    fprintf(file,
            "tarn %s model train, seed %" PRIu64 ", %" PRIu64 " rounds of %" PRIu32
            " steps, patience %" PRIu32 "\n",
            TARN_VERSION, seed, rounds, training->steps, training->patience);
    if (scorer != NULL) {
        tarn_model_get_info(scorer, &info);
        fprintf(file, "the first round's evictions by model %016" PRIx64 "\n", info.hash);
    }
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%s: %zu requests, %" PRIu32 " objects\n", traces[i]->name, traces[i]->count,
                traces[i]->objects);
    long at = ftell(file);
    fprintf(file, "%*s", NOTE_ROOM, "");
    if (fclose(file) != 0 || at < 0)
        return tarn_fail(error, TARN_NO_MEMORY, "model train: out of memory");
    training->note = training->provenance + at;
    write_note(training);
    return TARN_OK;
}

static tarn_status train(const struct tarn_cli *cli, const struct tarn_trace_data *const *traces,
                         size_t count, uint64_t rounds, tarn_model **model,
                         struct tarn_collected *last, struct training *training,
                         struct tarn_error *error)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    tarn_status status = describe(traces, count, rounds, cli->seed, *model, training, error);
    if (status == TARN_OK && *model == NULL)
        status = make_novice(cli->seed, model, error);
    for (uint64_t round = 0; round < rounds && status == TARN_OK; round++) {
        tarn_collected_free(last);
        tarn_progress_start(&training->progress, cli, "collecting samples");
        status = tarn_collect(traces, count,
                              &(struct tarn_collect_params){
                                  .model = *model,
                                  .threads = cores > 0 ? (unsigned)cores : 1,
                                  .seed = cli->seed + round,
                                  .progress = tarn_progress_callback,
                                  .user = &training->progress,
                              },
                              last, error);
        tarn_progress_end(&training->progress);
        if (status == TARN_OK && last->run_count == 0)
            status = tarn_fail(error, TARN_INVALID,
                               "model train: the traces are too short: no run gave 1000 samples");
        if (status != TARN_OK)
            break;
        training->done = 0;
        tarn_progress_start(&training->progress, cli, "training");
        tarn_model *trained = NULL;
        status = tarn_model_pretrain(
            &(struct tarn_model_pretrain_params){
                .runs = last->runs,
                .run_count = last->run_count,
                .steps = training->steps,
                .seed = cli->seed + round,
                .widths = training->widths,
                .width_count = training->width_count,
                .early_exit = training->early_exit,
                .provenance = training->provenance,
                .patience = training->patience,
                .device = training->device,
                .progress = report_steps,
                .user = training,
            },
            &trained, error);
        tarn_progress_end(&training->progress);
        if (status == TARN_OK) {
            tarn_model_destroy(model);
            *model = trained;
        }
    }
    return status;
}

static int report(const struct tarn_cli *cli, const char *output, const tarn_model *model,
                  const struct tarn_collected *collected, const struct training *training)
{
    struct tarn_model_info info;
    tarn_model_get_info(model, &info);
    if (cli->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
        cJSON_AddStringToObject(json, "file", output);
        tarn_json_integer(json, "bytes", info.file_size);
        tarn_json_integer(json, "parameters", info.parameters);
        tarn_json_integer(json, "runs", collected->run_count);
        tarn_json_integer(json, "samples", collected->samples);
        tarn_json_integer(json, "requests", collected->requests);
        tarn_json_number(json, "loss", (double)training->loss);
        tarn_json_integer(json, "steps", training->done);
        return tarn_cli_print_json(cli, json);
    }
    if (!cli->quiet && strcmp(output, "-") != 0)
        printf("%s: %zu bytes, from %zu samples of %zu runs, %" PRIu64 " requests; loss %.4f\n",
               output, info.file_size, collected->samples, collected->run_count,
               collected->requests, (double)training->loss);
    return TARN_EXIT_OK;
}

/* Steps of one small network are quickest on the host: a device takes them if it is asked for by its name. */
static tarn_status open_device(const struct tarn_cli *cli, tarn_device **device,
                               struct tarn_error *error)
{
    if (strcmp(cli->device, "auto") == 0 || strcmp(cli->device, "host") == 0)
        return TARN_OK;
    return tarn_device_open(
        &(struct tarn_device_params){.id = cli->device, .cache_dir = cli->cache_dir}, device,
        error);
}

static int tarn_cmd_model_train(struct tarn_cli *cli, int argc, char **argv)
{
    const char *output = tarn_cli_value(cli, "output"), *start = tarn_cli_value(cli, "model");
    uint64_t rounds = 2, steps = 80000, limit = 0, patience = 10;
    struct training training = {0};
    struct tarn_error error = {0};
    struct tarn_collected collected = {0};
    tarn_model *model = NULL;
    tarn_model_sets *sets = NULL;
    bool searches = tarn_cli_flag(cli, "search");
    tarn_status status = TARN_OK;
    int code;
    if (argc < 1)
        return tarn_cli_usage(cli, "a TRACE is needed");
    if (output == NULL)
        return tarn_cli_usage(cli, "where to? -o FILE is needed");
    if ((code = tarn_cli_integer(cli, "rounds", 1, 10, &rounds)) != TARN_EXIT_OK ||
        (code = tarn_cli_integer(cli, "steps", 1, 10000000, &steps)) != TARN_EXIT_OK ||
        (code = tarn_cli_integer(cli, "patience", 0, 10000, &patience)) != TARN_EXIT_OK ||
        (code = tarn_cli_integer(cli, "limit", 1, UINT64_MAX, &limit)) != TARN_EXIT_OK ||
        (code = tarn_model_read_widths(cli, training.widths, &training.width_count)) !=
            TARN_EXIT_OK ||
        (code = tarn_model_check_search(cli)) != TARN_EXIT_OK)
        return code;
    training.steps = (uint32_t)steps;
    training.patience = (uint32_t)patience;
    training.early_exit = tarn_cli_flag(cli, "early-exit");
    struct tarn_trace_data **traces = calloc((size_t)argc, sizeof(struct tarn_trace_data *));
    if (traces == NULL)
        status = tarn_fail(&error, TARN_NO_MEMORY, "model train: out of memory");
    if (status ==
        TARN_OK) /* hours of work aren't to end in a wrong path: what is named is looked at first */
        status = tarn_cli_check_output(output, &error);
    if (status == TARN_OK)
        status = open_device(cli, &training.device, &error);
    if (status == TARN_OK && searches)
        status = tarn_model_load_start(start, &sets, &error);
    else if (status == TARN_OK && start != NULL)
        status = tarn_model_load_one(start, &model, &error);
    if (status == TARN_OK)
        status = tarn_cli_check_inputs(argc, argv, &error);
    for (int i = 0; i < argc && status == TARN_OK; i++)
        status = tarn_trace_load(argv[i], &(struct tarn_trace_load_params){.limit = limit},
                                 &traces[i], &error);
    if (status == TARN_OK && searches) {
        code = tarn_model_search(cli, traces, (size_t)argc, sets, output, training.device);
        goto done;
    }
    if (status == TARN_OK)
        status = train(cli, (const struct tarn_trace_data *const *)traces, (size_t)argc, rounds,
                       &model, &collected, &training, &error);
    if (status == TARN_OK)
        status = tarn_model_save(model, output, &error);
    code = status == TARN_OK ? report(cli, output, model, &collected, &training)
                             : tarn_cli_fail(cli, &error);
done:
    tarn_collected_free(&collected);
    tarn_model_destroy(&model);
    tarn_model_sets_destroy(&sets);
    tarn_device_close(&training.device);
    free(training.provenance);
    for (int i = 0; i < argc && traces != NULL; i++)
        tarn_trace_data_free(&traces[i]);
    free(traces);
    return code;
}

static const struct tarn_cli_option train_options[] = {
    {"output", 'o', "FILE", "the model to write; - is standard output"},
    {"model", 0, "FILE", "scores the first round's evictions (a random network)"},
    {"rounds", 0, "N", "times that samples are collected with the model of the round before (2)"},
    {"steps", 0, "N", "gradient steps of 256 samples in each round (80000)"},
    {"patience", 0, "N",
     "looks at held-out samples, every 1000 steps, without a gain until it ends; 0: never (10)"},
    {"limit", 0, "N", "only the first N requests of each trace"},
    {"search", 0, NULL, "look for a set of each class that the traces are of"},
    {"class", 0, "NAME", "with --search: the set's name, whatever the traces look like"},
    {"trials", 0, "N", "with --search: settings that are tried for each set (12)"},
    {"widths", 0, "LIST",
     "units of the hidden layers (32); 8,16,32: an elastic model that works with fewer too"},
    {"early-exit", 0, NULL, "and without its second layer, at each of them"},
    {NULL},
};

static const struct tarn_command tarn_command_model_train = {
    .name = "train",
    .run = tarn_cmd_model_train,
    .summary = "make a model from traces",
    .usage = "TRACE... -o FILE",
    .description =
        "Replays each trace through caches of 0.2, 1, 3, 10 and 25 % of its footprint, with\n"
        "all keys and with three in ten, and trains a network on what became of the objects\n"
        "that were considered for eviction. The model's file says which traces it comes from.\n"
        "Steps are computed on the host, or on the device that --device names; replays, those of\n"
        "a search too, run on the host.\n"
        "\n"
        "With --search the traces are sorted by the class of their workload. For each class, "
        "weights\n"
        "that start from --model (or the built-in model) are trained further on three fifths of\n"
        "each trace, with settings of several kinds; the best ones in the fourth fifth are held\n"
        "against the general model in the last one. A set that isn't better by two standard "
        "errors\n"
        "isn't kept. An elastic general model has elastic sets. The file that is written has the "
        "general model, the sets that --model had, "
        "and\n"
        "those that were found.",
    .options = train_options,
    .examples = "tarn model train monday.csv.zst tuesday.csv.zst -o site.model\n"
                "tarn model train --search --model site.model *.csv.zst -o site.sets\n",
};

/* ---- info and verify ---- */

static int load_argument(struct tarn_cli *cli, int argc, char **argv, tarn_model_sets **sets)
{
    struct tarn_error error;
    struct tarn_set_settings settings;
    tarn_model *model = NULL;
    if (argc > 1)
        return tarn_cli_usage(cli, "one FILE is enough");
    tarn_status status =
        argc == 0 ? tarn_model_sets_create(sets) : tarn_model_sets_load(argv[0], sets, &error);
    if (argc == 0) {
        tarn_set_defaults(&settings);
        if (status == TARN_OK)
            status = tarn_model_load_default(&model, &error);
        if (status == TARN_OK)
            status = tarn_model_sets_add(*sets, "general", model, &settings, &error);
        tarn_model_destroy(&model);
    }
    if (status == TARN_OK)
        return TARN_EXIT_OK;
    tarn_model_sets_destroy(sets);
    return tarn_cli_fail(cli, &error);
}

void tarn_model_json_settings(cJSON *json, const struct tarn_set_settings *s)
{
    tarn_json_number(json, "rate", (double)s->rate);
    tarn_json_number(json, "pace", (double)s->pace);
    tarn_json_number(json, "replayed", (double)s->replayed);
    tarn_json_number(json, "mix_rate", (double)s->mix_rate);
    tarn_json_number(json, "mix_half_life", (double)s->mix_half_life);
    tarn_json_number(json, "network", (double)s->network);
    tarn_json_integer(json, "masked", s->masked);
    tarn_json_integer(json, "steps", s->steps);
    tarn_json_number(json, "step_rate", (double)s->step_rate);
}

static cJSON *describe_set(const struct tarn_set_info *set)
{
    struct tarn_model_info info;
    cJSON *json = cJSON_CreateObject();
    char hash[24];
    tarn_model_get_info(set->model, &info);
    snprintf(hash, sizeof hash, "%016" PRIx64, info.hash);
    cJSON_AddStringToObject(json, "name", set->name);
    cJSON_AddStringToObject(json, "hash", hash);
    tarn_model_json_elastic(json, &info);
    tarn_model_json_settings(json, &set->settings);
    cJSON_AddStringToObject(json, "provenance", info.provenance);
    return json;
}

static void print_provenance(const char *provenance)
{
    for (const char *c = provenance; *c != '\0'; c++) {
        putchar(*c);
        if (*c == '\n' && c[1] != '\0')
            printf("            ");
    }
    if (provenance[0] == '\0')
        printf("unknown\n");
}

static void print_set(const struct tarn_set_info *set)
{
    struct tarn_model_info info;
    const struct tarn_set_settings *s = &set->settings;
    tarn_model_get_info(set->model, &info);
    printf("\nset         %s, weights %016" PRIx64 "\n", set->name, info.hash);
    tarn_model_print_elastic(&info);
    printf("settings    rate x %g, pace x %g, rehearsal %g, mix %g over %g, network %g",
           (double)s->rate, (double)s->pace, (double)s->replayed, (double)s->mix_rate,
           (double)s->mix_half_life, (double)s->network);
    printf(", masked %#x\nprovenance  ", (unsigned)s->masked);
    print_provenance(info.provenance);
}

static int info_json(const struct tarn_cli *cli, const tarn_model_sets *sets,
                     const struct tarn_model_info *info, const char *hash)
{
    const int shape[] = {(int)info->inputs, (int)info->hidden1, (int)info->hidden2,
                         (int)info->outputs};
    uint32_t count = tarn_model_sets_count(sets);
    struct tarn_set_info set;
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
    cJSON_AddItemToObject(json, "shape", cJSON_CreateIntArray(shape, 4));
    tarn_json_integer(json, "parameters", info->parameters);
    tarn_json_integer(json, "bytes", info->file_size);
    cJSON_AddStringToObject(json, "hash", hash);
    tarn_model_json_elastic(json, info);
    cJSON_AddStringToObject(json, "provenance", info->provenance);
    cJSON *list = count > 1 ? cJSON_AddArrayToObject(json, "sets") : NULL;
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        tarn_model_sets_get(sets, i, &set);
        cJSON_AddItemToArray(list, describe_set(&set));
    }
    return tarn_cli_print_json(cli, json);
}

static int tarn_cmd_model_info(struct tarn_cli *cli, int argc, char **argv)
{
    tarn_model_sets *sets = NULL;
    struct tarn_model_info info;
    struct tarn_set_info general, set;
    char hash[24];
    int code = load_argument(cli, argc, argv, &sets);
    if (code != TARN_EXIT_OK)
        return code;
    tarn_model_sets_get(sets, 0, &general);
    tarn_model_get_info(general.model, &info);
    snprintf(hash, sizeof hash, "%016" PRIx64, info.hash);
    if (cli->json) {
        code = info_json(cli, sets, &info, hash);
    } else {
        printf("network     %u-%u-%u-%u, %u parameters\nfile        %zu bytes\nweights     %s\n",
               info.inputs, info.hidden1, info.hidden2, info.outputs, info.parameters,
               info.file_size, hash);
        tarn_model_print_elastic(&info);
        printf("provenance  ");
        print_provenance(info.provenance);
        for (uint32_t i = 0, n = tarn_model_sets_count(sets); n > 1 && i < n; i++) {
            tarn_model_sets_get(sets, i, &set);
            print_set(&set);
        }
    }
    tarn_model_sets_destroy(&sets);
    return code;
}

static const struct tarn_command tarn_command_model_info = {
    .name = "info",
    .run = tarn_cmd_model_info,
    .summary = "show what a model is and where it comes from",
    .usage = "[FILE]",
    .description = "Without FILE: the model that is built in.",
    .examples = "tarn model info\ntarn model info site.model --json\n",
};

static int tarn_cmd_model_verify(struct tarn_cli *cli, int argc, char **argv)
{
    tarn_model_sets *sets = NULL;
    int code = load_argument(cli, argc, argv, &sets);
    if (code != TARN_EXIT_OK)
        return code;
    tarn_model_sets_destroy(&sets);
    const char *name = argc == 0 ? "built-in model" : argv[0];
    if (cli->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "file", name);
        cJSON_AddBoolToObject(json, "valid", 1);
        return tarn_cli_print_json(cli, json);
    }
    if (!cli->quiet)
        printf("%s: whole, and every weight is a number\n", name);
    return TARN_EXIT_OK;
}

static const struct tarn_command tarn_command_model_verify = {
    .name = "verify",
    .run = tarn_cmd_model_verify,
    .summary = "check that a model file is whole",
    .usage = "[FILE]",
    .examples = "tarn model verify site.model\n",
};

static const struct tarn_command *const subcommands[] = {
    &tarn_command_model_train,
    &tarn_command_model_info,
    &tarn_command_model_verify,
    &tarn_command_model_slice,
    &tarn_command_model_grow,
    &tarn_command_model_history,
    NULL,
};

const struct tarn_command tarn_command_model = {
    .name = "model",
    .summary = "make and inspect the models that decide what the cache keeps",
    .usage = "COMMAND",
    .subcommands = subcommands,
};
