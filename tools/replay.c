/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn replay`: traces through caches of several policies and sizes; table, JSON, chart. */
#include "replay.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli.h"

enum { WINDOWS = 200, LIST_MAX = 64 };

/* What was asked for. */
struct plan {
    char *texts[2]; /* the lists of sizes and policies, cut at their commas */
    const char *size_text[LIST_MAX];
    struct tarn_size size[LIST_MAX];
    const char *policy[LIST_MAX];
    size_t sizes, policies;
    struct tarn_trace_load_params load;
    struct tarn_replay_params replay;
};

/* The progress of all: traces x sizes x policies, each as long as another. */
struct bar {
    struct tarn_progress progress;
    double done, total; /* in runs */
    uint64_t requests;  /* of the trace */
};

static void show_run(void *user, uint64_t requests)
{
    struct bar *bar = user;
    tarn_progress_update(&bar->progress,
                         (bar->done + (double)requests / (double)bar->requests) / bar->total);
}

const char *tarn_replay_amount(uint64_t amount, bool objects, char *text)
{
    if (!objects)
        return tarn_size_format(amount, text);
    snprintf(text, 64, "%llu object%s", (unsigned long long)amount, amount == 1 ? "" : "s");
    return text;
}

/* Cuts `text` at its commas; false if there are none but empty or too many items. */
static bool cut(char *text, const char **items, size_t *count)
{
    *count = 0;
    for (char *item = text; item != NULL;) {
        char *comma = strchr(item, ',');
        if (comma != NULL)
            *comma++ = '\0';
        if (item[0] == '\0' || *count == LIST_MAX)
            return false;
        items[(*count)++] = item;
        item = comma;
    }
    return true;
}

static size_t all_policies(const char **items, bool every)
{
    static const char *const usual[] = {"lru", "arc", "sieve", "s3fifo", "wtinylfu", "belady"};
    size_t count = 0;
    for (size_t i = 0; tarn_replay_kinds[i] != NULL; i++)
        items[count++] = tarn_replay_kinds[i]->name;
    if (every) {
        for (size_t i = 0; tarn_baseline_name(i) != NULL; i++)
            items[count++] = tarn_baseline_name(i);
    } else {
        for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
            items[count++] = usual[i];
    }
    return count;
}

static int no_policy(const struct tarn_cli *cli, const char *name)
{
    const char *names[LIST_MAX + 1] = {NULL};
    names[all_policies(names, true)] = NULL;
    const char *close = tarn_cli_suggest(name, names);
    if (close != NULL)
        return tarn_cli_usage(cli, "--policy: no policy '%s'; did you mean '%s'?", name, close);
    return tarn_cli_usage(cli, "--policy: no policy '%s'", name);
}

static int plan_policies(const struct tarn_cli *cli, struct plan *plan)
{
    const char *given = tarn_cli_value(cli, "policy");
    bool learns = false, weighs = false;
    if (given == NULL || strcmp(given, "all") == 0) {
        plan->policies = all_policies(plan->policy, given != NULL);
    } else if ((plan->texts[1] = strdup(given)) == NULL ||
               !cut(plan->texts[1], plan->policy, &plan->policies)) {
        return tarn_cli_usage(cli, "--policy: '%s' is no list of policies", given);
    }
    for (size_t i = 0; i < plan->policies; i++) {
        if (!tarn_replay_known(&plan->replay, plan->policy[i]))
            return no_policy(cli, plan->policy[i]);
        for (size_t k = 0; k < i; k++)
            if (strcmp(plan->policy[i], plan->policy[k]) == 0)
                return tarn_cli_usage(cli, "--policy: '%s' twice", plan->policy[i]);
        learns |= !tarn_baseline_known(plan->policy[i]);
        weighs |= strcmp(plan->policy[i], "gdsf") == 0 && plan->replay.run.weigh_costs;
    }
    static const char *const learners_only[] = {
        "goal", "model", "mint-every", "shadow-share", "state-dir", "ensemble", "relief", "width"};
    for (size_t i = 0; i < sizeof learners_only / sizeof *learners_only && !learns; i++)
        if (tarn_cli_value(cli, learners_only[i]) != NULL && !(i == 0 && weighs))
            return tarn_cli_usage(cli, "--%s is for a policy that learns; none is asked for",
                                  learners_only[i]);
    if (tarn_cli_flag(cli, "early-exit") && !learns)
        return tarn_cli_usage(cli, "--early-exit is for a policy that learns; none is asked for");
    if (tarn_cli_flag(cli, "early-exit") && tarn_cli_value(cli, "width") == NULL)
        return tarn_cli_usage(cli, "--early-exit needs --width N: without it the engine chooses");
    return TARN_EXIT_OK;
}

static int plan_sizes(const struct tarn_cli *cli, struct plan *plan)
{
    const char *given = tarn_cli_value(cli, "size");
    struct tarn_error error;
    plan->texts[0] = strdup(given != NULL ? given : "1%,10%");
    if (plan->texts[0] == NULL || !cut(plan->texts[0], plan->size_text, &plan->sizes))
        return tarn_cli_usage(cli, "--size: '%s' is no list of sizes", given);
    for (size_t i = 0; i < plan->sizes; i++) {
        if (strlen(plan->size_text[i]) > 30 ||
            tarn_size_parse(plan->size_text[i], &plan->size[i], &error) != TARN_OK)
            return tarn_cli_usage(cli,
                                  "--size: '%.40s' is not a size like 4096, 64MiB, 1%% or 10000obj",
                                  plan->size_text[i]);
    }
    return TARN_EXIT_OK;
}

static int make_plan(const struct tarn_cli *cli, int argc, char **argv, struct plan *plan)
{
    static const char *const goals[] = {"requests", "bytes", "latency", NULL};
    const char *format = tarn_cli_value(cli, "format");
    const char *columns = tarn_cli_value(cli, "columns");
    uint64_t mint_every = 0, relief = 0;
    double shadow_share = 0;
    uint64_t width = 0;
    const char *ensembles[LIST_MAX] = {NULL};
    int goal = -1, ensemble = 0, pipes = 0, code;
    for (int i = 0; i < argc; i++)
        pipes += strcmp(argv[i], "-") == 0;
    for (int i = 0; i + 1 < LIST_MAX; i++)
        ensembles[i] = tarn_ensemble_name((tarn_ensemble_kind)i); /* NULL from the last on */
    if (argc < 1)
        return tarn_cli_usage(cli, "a TRACE is needed");
    if (pipes > 1)
        return tarn_cli_usage(cli, "standard input can be read once only");
    if (format != NULL && tarn_trace_format_parse(format, &plan->load.trace.format) != TARN_OK)
        return tarn_cli_usage(cli, "--format: '%s' is none of auto, oracle, csv, keys, tarn",
                              format);
    if (columns != NULL && format != NULL && plan->load.trace.format != TARN_TRACE_AUTO &&
        plan->load.trace.format != TARN_TRACE_CSV)
        return tarn_cli_usage(cli, "--columns is for csv");
    plan->load.trace.columns = columns;
    plan->load.unit_size = tarn_cli_flag(cli, "unit-size");
    if ((code = tarn_cli_integer(cli, "limit", 1, UINT64_MAX, &plan->load.limit)) != TARN_EXIT_OK ||
        (code = tarn_cli_choice(cli, "goal", goals, &goal)) != TARN_EXIT_OK ||
        (code = tarn_cli_choice(cli, "ensemble", ensembles, &ensemble)) != TARN_EXIT_OK ||
        (code = tarn_cli_integer(cli, "mint-every", 1, UINT32_MAX, &mint_every)) != TARN_EXIT_OK ||
        (code = tarn_cli_integer(cli, "width", 1, 64, &width)) != TARN_EXIT_OK ||
        (code = tarn_cli_integer(cli, "relief", 0, TARN_ENGINE_RELIEF_MOST, &relief)) !=
            TARN_EXIT_OK ||
        (code = tarn_cli_number(cli, "shadow-share", 0.001, 1, &shadow_share)) != TARN_EXIT_OK)
        return code;
    plan->replay.run.windows = WINDOWS;
    plan->replay.run.seed = cli->seed;
    plan->replay.run.weigh_costs = goal == 2;
    plan->replay.learning.engine = (struct tarn_engine_params){
        .device = cli->device,
        .cache_dir = cli->cache_dir,
        .goal = goal == 2   ? TARN_GOAL_LATENCY
                : goal == 1 ? TARN_GOAL_BYTES
                            : TARN_GOAL_REQUESTS,
        .ensemble = ensemble > 0 ? (tarn_ensemble_kind)ensemble : TARN_ENSEMBLE_SINGLE,
        .mint_every = (uint32_t)mint_every,
        .shadow_share = (float)shadow_share,
        .width = (uint32_t)width,
        .early_exit = tarn_cli_flag(cli, "early-exit"),
        .relief = (int)relief,
        .state_dir = tarn_cli_value(cli, "state-dir"),
    };
    code = plan_sizes(cli, plan);
    return code == TARN_EXIT_OK ? plan_policies(cli, plan) : code;
}

/* ---- running ---- */

/* All sizes and policies of a loaded trace; sizes are checked before the first run. */
static tarn_status replay_data(const struct plan *plan, const struct tarn_trace_data *data,
                               struct bar *bar, struct tarn_replayed *replayed,
                               struct tarn_error *error)
{
    struct tarn_replay_limit limits[LIST_MAX];
    struct tarn_replay_params params = plan->replay;
    tarn_status status = TARN_OK;
    replayed->requests = data->count;
    replayed->objects = data->objects;
    replayed->footprint = data->footprint;
    replayed->unit_sizes = data->unit_sizes;
    replayed->name = strdup(data->name);
    replayed->results = calloc(plan->sizes * plan->policies, sizeof *replayed->results);
    if (replayed->name == NULL || replayed->results == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", data->name);
    for (size_t s = 0; s < plan->sizes && status == TARN_OK; s++) {
        limits[s] = (struct tarn_replay_limit){
            .text = plan->size_text[s],
            .capacity = tarn_size_resolve(&plan->size[s], data->footprint),
            .objects = data->unit_sizes || plan->size[s].unit == TARN_SIZE_OBJECTS,
        };
        status = tarn_replay_check_limit(data, &limits[s], error);
    }
    bar->requests = data->count;
    bar->progress.label = data->name;
    params.run.progress = show_run;
    params.run.user = bar;
    for (size_t i = 0; i < plan->sizes * plan->policies && status == TARN_OK; i++) {
        status =
            tarn_replay_run(data, plan->policy[i % plan->policies], &limits[i / plan->policies],
                            &params, &replayed->results[i], error);
        bar->done++;
    }
    return status;
}

static tarn_status replay_file(const struct plan *plan, const char *path, struct bar *bar,
                               struct tarn_replayed *replayed, struct tarn_error *error)
{
    struct tarn_trace_data *data = NULL;
    struct tarn_trace_load_params load = plan->load;
    struct tarn_progress reading;
    tarn_progress_start(&reading, bar->progress.cli, path);
    load.progress = tarn_progress_callback;
    load.user = &reading;
    tarn_status status = tarn_trace_load(path, &load, &data, error);
    tarn_progress_end(&reading);
    if (status == TARN_OK)
        status = replay_data(plan, data, bar, replayed, error);
    tarn_progress_end(&bar->progress);
    tarn_trace_data_free(&data);
    return status;
}

/* ---- output ---- */

static const struct tarn_replay_result *find_policy(const struct tarn_replay_result *results,
                                                    size_t policies, const char *policy)
{
    for (size_t i = 0; i < policies; i++)
        if (strcmp(results[i].policy, policy) == 0)
            return &results[i];
    return NULL;
}

static const char *percent(double value, int decimals, char *text)
{
    if (isfinite(value))
        snprintf(text, 32, "%.*f %%", decimals, value * 100);
    else
        snprintf(text, 32, "-");
    return text;
}

static void print_table(const struct tarn_cli *cli, const struct plan *plan,
                        const struct tarn_replayed *replayed)
{
    static const char *const heads[] = {"policy",  "miss ratio", "byte miss", "gap closed",
                                        "k req/s", "CPU s",      "miss cost"};
    char amount[64], a[32], b[32], c[32], d[32];
    bool costs = isfinite(tarn_run_miss_cost_ratio(&replayed->results[0].run));
    bool bound = !plan->replay.run.weigh_costs; /* belady is none on what misses cost */
    size_t columns = sizeof heads / sizeof heads[0] - (costs ? 0 : 1);
    tarn_replay_amount(replayed->footprint, replayed->unit_sizes, amount);
    printf("%s: %llu requests, %llu objects", replayed->name,
           (unsigned long long)replayed->requests, (unsigned long long)replayed->objects);
    if (!replayed->unit_sizes)
        printf(", %s", amount);
    printf("\n");
    for (size_t s = 0; s < plan->sizes; s++) {
        const struct tarn_replay_result *results = &replayed->results[s * plan->policies];
        const struct tarn_replay_result *lru = find_policy(results, plan->policies, "lru");
        const struct tarn_replay_result *best = find_policy(results, plan->policies, "belady");
        tarn_table *table = tarn_table_create(heads, columns);
        for (size_t i = 0; i < plan->policies; i++) {
            const struct tarn_run *run = &results[i].run;
            double gap = lru != NULL && best != NULL && bound
                             ? tarn_run_gap_closed(run, &lru->run, &best->run)
                             : NAN;
            tarn_table_row(table, "%s\t%s\t%s\t%s\t%.0f\t%.3f%s%s", results[i].policy,
                           percent(tarn_run_miss_ratio(run), 2, a),
                           percent(tarn_run_byte_miss_ratio(run), 2, b), percent(gap, 1, c),
                           tarn_run_requests_per_second(run) / 1e3, (double)run->cpu_ns * 1e-9,
                           costs ? "\t" : "",
                           costs ? percent(tarn_run_miss_cost_ratio(run), 2, d) : "");
        }
        tarn_replay_amount(results->capacity, results->objects, amount);
        printf("\ncache of %s (%s)\n", results->size, amount);
        tarn_table_print(table, cli, stdout);
        tarn_table_destroy(&table);
    }
}

static int print_json(const struct tarn_cli *cli, const struct plan *plan,
                      const struct tarn_replayed *traces, size_t count)
{
    cJSON *json = cJSON_CreateObject();
    const char *device = "host"; /* where the baselines run */
    for (size_t t = 0; t < count; t++)
        for (size_t i = 0; i < plan->sizes * plan->policies; i++)
            if (traces[t].results[i].stats.device[0] != '\0')
                device = traces[t].results[i].stats.device;
    cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
    cJSON_AddStringToObject(json, "device", device);
    cJSON *list = cJSON_AddArrayToObject(json, "traces");
    for (size_t t = 0; t < count; t++) {
        cJSON *trace = cJSON_CreateObject(), *results;
        cJSON_AddItemToArray(list, trace);
        cJSON_AddStringToObject(trace, "name", traces[t].name);
        tarn_json_integer(trace, "requests", traces[t].requests);
        tarn_json_integer(trace, "objects", traces[t].objects);
        tarn_json_integer(trace, "bytes", traces[t].footprint);
        results = cJSON_AddArrayToObject(trace, "results");
        for (size_t i = 0; i < plan->sizes * plan->policies; i++) {
            cJSON *result = tarn_replay_result_json(&traces[t].results[i]);
            if (result == NULL || !cJSON_AddItemToArray(results, result)) {
                cJSON_Delete(result);
                cJSON_Delete(json);
                return tarn_cli_print_json(cli, NULL); /* says that memory is out */
            }
        }
    }
    return tarn_cli_print_json(cli, json);
}

/* What would end a long replay is told before it. */
static tarn_status check_files(const struct tarn_cli *cli, int argc, char **argv,
                               struct tarn_error *error)
{
    const char *plot = tarn_cli_value(cli, "plot"), *state = tarn_cli_value(cli, "state-dir");
    tarn_status status = tarn_cli_check_inputs(argc, argv, error);
    if (status == TARN_OK && plot != NULL)
        status = tarn_cli_check_output(plot, error);
    if (status == TARN_OK && state != NULL) /* last, for it makes the folder */
        status = tarn_cli_check_folder(state, error);
    return status;
}

static int tarn_cmd_replay(struct tarn_cli *cli, int argc, char **argv)
{
    struct plan plan = {0};
    struct bar bar = {0};
    struct tarn_error error = {0};
    struct tarn_replayed *traces = NULL;
    const char *plot = tarn_cli_value(cli, "plot");
    tarn_status status = TARN_OK;
    size_t count = 0;
    tarn_model_sets *sets = NULL;
    int code = make_plan(cli, argc, argv, &plan);
    if (code != TARN_EXIT_OK)
        goto done;
    if (tarn_cli_value(cli, "model") != NULL) {
        status = tarn_model_sets_load(tarn_cli_value(cli, "model"), &sets, &error);
        plan.replay.learning.engine.sets = sets;
    }
    if (status == TARN_OK)
        status = check_files(cli, argc, argv, &error);
    if (status == TARN_OK && (traces = calloc((size_t)argc, sizeof *traces)) == NULL)
        status = tarn_fail(&error, TARN_NO_MEMORY, "replay: out of memory");
    tarn_progress_start(&bar.progress, cli, "replay");
    bar.total = (double)argc * (double)plan.sizes * (double)plan.policies;
    for (int i = 0; i < argc && status == TARN_OK; i++) {
        status = replay_file(&plan, argv[i], &bar, &traces[count++], &error);
        if (status == TARN_OK && !cli->json) {
            printf("%s", i > 0 ? "\n" : "");
            print_table(cli, &plan, &traces[count - 1]);
        }
    }
    if (status == TARN_OK && plot != NULL)
        status = tarn_replay_plot(plot, traces, count, plan.sizes, plan.policies, &error);
    if (status != TARN_OK)
        code = tarn_cli_fail(cli, &error);
    else if (cli->json)
        code = print_json(cli, &plan, traces, count);
    else if (plot != NULL && strcmp(plot, "-") != 0 && !cli->quiet)
        printf("\nchart: %s\n", plot);
done:
    for (size_t t = 0; t < count; t++) {
        for (size_t i = 0; traces[t].results != NULL && i < plan.sizes * plan.policies; i++)
            tarn_replay_result_clear(&traces[t].results[i]);
        free(traces[t].results);
        free(traces[t].name);
    }
    free(traces);
    tarn_model_sets_destroy(&sets);
    free(plan.texts[0]);
    free(plan.texts[1]);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"size", 's', "S,...", "sizes of the cache: 1% of the footprint, 64MiB, 10000obj (1%,10%)"},
    {"policy", 'p', "P,...",
     "policies: learned lru fifo clock slru arc lfu sieve s3fifo wtinylfu gdsf lhd belady, or all\n"
     "(learned,lru,arc,sieve,s3fifo,wtinylfu,belady)"},
    {"format", 'f', "F", "of the traces: auto (default), oracle, csv, keys or tarn"},
    {"columns", 0, "NAMES", "csv: what the columns are, as in time,key,size,op,tag,cost"},
    {"limit", 0, "N", "only the first N requests of each trace"},
    {"unit-size", 0, NULL, "count every object as 1, whatever its size"},
    {"plot", 0, "FILE", "draw the results as SVG"},
    {"goal", 0, "G",
     "what learning aims at: requests (default), bytes, or latency, by the misses' costs (gdsf "
     "too)"},
    {"ensemble", 0, "KIND",
     "how networks decide together: single (default), mean, select, stack, bayes, hedge or shadow"},
    {"model", 0, "FILE", "the model that learning starts from, or sets for classes and tags"},
    {"mint-every", 0, "N",
     "requests between two versions of the model (a quarter of the objects, 1000 to 4096)"},
    {"relief", 0, "N",
     "give up as under load: 1 the network's width, 2 half of the miniature caches' keys,\n"
     "3 candidates, 4 these caches"},
    {"shadow-share", 0, "F", "of the time that miniature caches may take at most (0.15)"},
    {"width", 0, "N", "units of an elastic model that decide (as many as are worth it)"},
    {"early-exit", 0, NULL, "with --width: without its second layer"},
    {"state-dir", 0, "DIR", "keep what is learnt there, and go on from what is there"},
    {NULL},
};

const struct tarn_command tarn_command_replay = {
    .name = "replay",
    .run = tarn_cmd_replay,
    .summary = "replay traces through caches and compare their misses",
    .usage = "TRACE... [--size S,...] [--policy P,...] [--plot FILE] [...]",
    .description =
        "Each trace (a file, or - for standard input) runs through a cache of each size and "
        "policy.\n"
        "The table shows the share of gets and of their bytes that missed, and how much of the "
        "way\n"
        "from lru to belady, which knows the future, a policy goes.\n"
        "\n"
        "A size in percent is of the footprint: the sum of each object's last size, or the number\n"
        "of objects where all sizes are 1. A get that misses stores the object; a put overwrites,\n"
        "a delete removes, and neither counts in the ratios. Objects larger than the cache are\n"
        "never stored. A hit keeps the size that was stored. Where the trace has costs, \"miss "
        "cost\"\n"
        "is what the misses cost, of what they would if every get missed; with --goal latency no "
        "gap\n"
        "is shown, since belady is no bound on costs.\n",
    .options = options,
    .examples = "tarn replay web.oracleGeneral.zst --size 1%,10% --policy lru,s3fifo,belady\n"
                "tarn replay log.csv --columns time,key,size --size 64MiB --plot log.svg\n"
                "zcat keys.gz | tarn replay - --format keys --json\n",
};
