/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn trace`: looking at traces, and turning one format into another. */
#include "cli.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "trace/gen.h"
#include "trace/trace.h"

enum { BATCH = 4096, TAGS = 8 };

/* Reading options that info and convert share. */
#define READ_OPTIONS                                                                               \
    {"format", 'f', "F", "auto (default), oracle, csv, keys or tarn"},                             \
        {"columns", 0, "NAMES", "csv: what the columns are, as in time,key,size,op,tag,cost"},     \
    {                                                                                              \
        "limit", 0, "N", "only the first N requests"                                               \
    }

static int read_params(const struct tarn_cli *cli, const char *option,
                       struct tarn_trace_params *params)
{
    const char *format = tarn_cli_value(cli, option);
    params->columns = tarn_cli_value(cli, "columns");
    if (format != NULL && tarn_trace_format_parse(format, &params->format) != TARN_OK)
        return tarn_cli_usage(cli, "--%s: '%s' is none of auto, oracle, csv, keys, tarn", option,
                              format);
    if (params->columns != NULL && params->format != TARN_TRACE_AUTO &&
        params->format != TARN_TRACE_CSV)
        return tarn_cli_usage(cli, "--columns is for csv");
    return TARN_EXIT_OK;
}

/* ---- info ---- */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct summary {
    uint64_t bytes, one_hit, gets, puts, deletes, backwards;
    uint64_t size_min, size_median, size_max; /* of the objects */
    double size_mean;
    double reuse_median, reuse_p90; /* requests between two of one object */
    uint64_t first_time, last_time;
    uint64_t by_tag[TAGS]; /* gets; 0: without a tag */
    uint64_t costs;        /* gets whose miss's cost is known; of these, in us */
    double cost_min, cost_median, cost_mean, cost_max;
};

static double as_cost(uint64_t value)
{
    uint32_t bits = (uint32_t)value;
    float cost;
    memcpy(&cost, &bits, sizeof cost);
    return (double)cost;
}

/* Tags and costs of the gets. Costs are sorted by their bits: those of positive floats rise as they do. */
static void summarise_extra(const struct tarn_trace_data *data, uint64_t *values, struct summary *s)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = 0; i < data->count; i++) {
        if (data->op != NULL && (tarn_trace_op)data->op[i] != TARN_TRACE_GET)
            continue;
        s->by_tag[data->tag != NULL ? data->tag[i] % TAGS : 0]++;
        if (data->cost == NULL || !(data->cost[i] > 0))
            continue;
        uint32_t bits;
        memcpy(&bits, &data->cost[i], sizeof bits);
        sum += (double)data->cost[i];
        values[n++] = bits;
    }
    s->costs = n;
    if (n == 0)
        return;
    qsort(values, n, sizeof *values, compare_u64);
    s->cost_min = as_cost(values[0]);
    s->cost_median = as_cost(values[n / 2]);
    s->cost_mean = sum / (double)n;
    s->cost_max = as_cost(values[n - 1]);
}

/* Summary of `data`; `values` has room for data->count numbers. */
static void summarise(const struct tarn_trace_data *data, uint64_t *values, struct summary *s)
{
    *s = (struct summary){0};
    uint8_t *seen = (uint8_t *)values; /* requests of an object, up to 2 */
    memset(seen, 0, data->objects);
    for (size_t i = 0; i < data->count; i++) {
        s->bytes += data->size[i];
        seen[data->object[i]] += seen[data->object[i]] < 2;
        tarn_trace_op op = data->op != NULL ? (tarn_trace_op)data->op[i] : TARN_TRACE_GET;
        s->gets += op == TARN_TRACE_GET;
        s->puts += op == TARN_TRACE_PUT;
        s->deletes += op == TARN_TRACE_DELETE;
        s->backwards += i > 0 && data->time != NULL && data->time[i] < data->time[i - 1];
    }
    for (uint32_t i = 0; i < data->objects; i++)
        s->one_hit += seen[i] == 1;
    size_t n = 0;
    for (size_t i = 0; i < data->count; i++)
        if (data->next[i] == UINT32_MAX)
            values[n++] = data->size[i];
    qsort(values, n, sizeof *values, compare_u64);
    s->size_min = values[0];
    s->size_median = values[n / 2];
    s->size_max = values[n - 1];
    s->size_mean = (double)data->footprint / (double)data->objects;
    n = 0;
    for (size_t i = 0; i < data->count; i++)
        if (data->next[i] != UINT32_MAX)
            values[n++] = data->next[i] - i;
    qsort(values, n, sizeof *values, compare_u64);
    s->reuse_median = n > 0 ? (double)values[n / 2] : NAN;
    s->reuse_p90 = n > 0 ? (double)values[n - 1 - n / 10] : NAN;
    if (data->time != NULL) {
        s->first_time = data->time[0];
        s->last_time = data->time[data->count - 1];
    }
    summarise_extra(data, values, s);
}

static void json_extra(cJSON *json, const struct tarn_trace_data *data, const struct summary *s)
{
    char name[8];
    if (data->tag != NULL) {
        cJSON *tags = cJSON_AddObjectToObject(json, "gets_by_tag");
        for (int i = 0; i < TAGS; i++) {
            snprintf(name, sizeof name, "%d", i);
            if (s->by_tag[i] > 0)
                tarn_json_integer(tags, name, s->by_tag[i]);
        }
    } else {
        cJSON_AddNullToObject(json, "gets_by_tag");
    }
    if (s->costs == 0) {
        cJSON_AddNullToObject(json, "cost_us");
        return;
    }
    cJSON *cost = cJSON_AddObjectToObject(json, "cost_us");
    tarn_json_integer(cost, "gets", s->costs);
    tarn_json_number(cost, "min", s->cost_min);
    tarn_json_number(cost, "median", s->cost_median);
    tarn_json_number(cost, "mean", s->cost_mean);
    tarn_json_number(cost, "max", s->cost_max);
}

static void print_extra(const struct tarn_trace_data *data, const struct summary *s)
{
    const char *comma = "";
    if (data->tag != NULL) {
        printf("tags        gets of ");
        for (int i = 1; i < TAGS; i++)
            if (s->by_tag[i] > 0) {
                printf("%s%d: %llu", comma, i, (unsigned long long)s->by_tag[i]);
                comma = ", ";
            }
        if (s->by_tag[0] > 0)
            printf("%snone: %llu", comma, (unsigned long long)s->by_tag[0]);
        printf("\n");
    }
    if (s->costs > 0)
        printf("costs       min %g, median %g, mean %g, max %g us; of %llu gets\n", s->cost_min,
               s->cost_median, s->cost_mean, s->cost_max, (unsigned long long)s->costs);
}

static int print_info(const struct tarn_cli *cli, const struct tarn_trace_data *data,
                      const struct summary *s)
{
    const char *format = tarn_trace_format_name(data->format);
    double one_hit = (double)s->one_hit / (double)data->objects;
    double compulsory = (double)data->objects / (double)data->count;
    if (cli->json) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "name", data->name);
        cJSON_AddStringToObject(json, "format", format);
        tarn_json_integer(json, "requests", data->count);
        tarn_json_integer(json, "objects", data->objects);
        tarn_json_integer(json, "footprint", data->footprint);
        tarn_json_integer(json, "bytes", s->bytes);
        cJSON_AddBoolToObject(json, "unit_sizes", data->unit_sizes);
        tarn_json_number(json, "one_hit_share", one_hit);
        tarn_json_number(json, "compulsory_miss_ratio", compulsory);
        cJSON *size = cJSON_AddObjectToObject(json, "size");
        tarn_json_integer(size, "min", s->size_min);
        tarn_json_integer(size, "median", s->size_median);
        tarn_json_number(size, "mean", s->size_mean);
        tarn_json_integer(size, "max", s->size_max);
        cJSON *reuse = cJSON_AddObjectToObject(json, "reuse_requests");
        tarn_json_number(reuse, "median", s->reuse_median);
        tarn_json_number(reuse, "p90", s->reuse_p90);
        cJSON *ops = cJSON_AddObjectToObject(json, "ops");
        tarn_json_integer(ops, "get", s->gets);
        tarn_json_integer(ops, "put", s->puts);
        tarn_json_integer(ops, "delete", s->deletes);
        tarn_json_number(json, "seconds",
                         data->time != NULL ? (double)s->last_time - (double)s->first_time : NAN);
        if (data->time != NULL)
            tarn_json_integer(json, "times_out_of_order", s->backwards);
        else
            cJSON_AddNullToObject(json, "times_out_of_order");
        json_extra(json, data, s);
        return tarn_cli_print_json(cli, json);
    }
    char a[32], b[32], c[32], d[32];
    printf("name        %s (%s)\n", data->name, format);
    printf("requests    %zu", data->count);
    if (s->puts + s->deletes > 0)
        printf(" (%llu gets, %llu puts, %llu deletes)", (unsigned long long)s->gets,
               (unsigned long long)s->puts, (unsigned long long)s->deletes);
    printf("\nobjects     %u, %.1f %% of them requested once\n", data->objects, one_hit * 100);
    if (data->unit_sizes) {
        printf("footprint   %llu objects (every size is 1)\n", (unsigned long long)data->footprint);
    } else {
        printf("footprint   %s; %s requested\n", tarn_size_format(data->footprint, a),
               tarn_size_format(s->bytes, b));
        printf("sizes       min %s, median %s, mean %s, max %s\n", tarn_size_format(s->size_min, a),
               tarn_size_format(s->size_median, b), tarn_size_format((uint64_t)s->size_mean, c),
               tarn_size_format(s->size_max, d));
    }
    printf("first time  %.1f %% of the requests: no cache can hit them\n", compulsory * 100);
    if (isfinite(s->reuse_median))
        printf("reuse       after %.0f requests (median), %.0f (p90)\n", s->reuse_median,
               s->reuse_p90);
    if (data->time != NULL)
        printf("time        %llu to %llu s\n", (unsigned long long)s->first_time,
               (unsigned long long)s->last_time);
    print_extra(data, s);
    if (s->backwards > 0)
        printf("note        %llu times are out of order\n", (unsigned long long)s->backwards);
    return TARN_EXIT_OK;
}

static int tarn_cmd_trace_info(struct tarn_cli *cli, int argc, char **argv)
{
    struct tarn_trace_load_params params = {0};
    struct tarn_trace_data *data = NULL;
    struct tarn_progress progress;
    struct tarn_error error;
    struct summary summary;
    int code = read_params(cli, "format", &params.trace);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "limit", 1, UINT64_MAX, &params.limit);
    if (code != TARN_EXIT_OK)
        return code;
    if (argc != 1)
        return tarn_cli_usage(cli, "one FILE is needed");
    tarn_progress_start(&progress, cli, argv[0]);
    params.progress = tarn_progress_callback;
    params.user = &progress;
    tarn_status status = tarn_trace_load(argv[0], &params, &data, &error);
    tarn_progress_end(&progress);
    if (status != TARN_OK)
        return tarn_cli_fail(cli, &error);
    /* One array for all: a count an object, sizes, distances. */
    uint64_t *values =
        malloc((data->count > data->objects ? data->count : data->objects) * sizeof *values);
    if (values == NULL) {
        tarn_fail(&error, TARN_NO_MEMORY, "%s: out of memory", argv[0]);
        code = tarn_cli_fail(cli, &error);
    } else {
        summarise(data, values, &summary);
        code = print_info(cli, data, &summary);
    }
    free(values);
    tarn_trace_data_free(&data);
    return code;
}

static const struct tarn_cli_option info_options[] = {READ_OPTIONS, {NULL}};

static const struct tarn_command trace_info = {
    .name = "info",
    .run = tarn_cmd_trace_info,
    .summary = "what a trace is made of",
    .usage = "FILE [--format F] [--columns NAMES] [--limit N]",
    .description =
        "Prints requests, objects, footprint (the sum of each object's last size), sizes, the "
        "share\n"
        "of objects requested once, how many requests lie between two of one object, and, where "
        "the\n"
        "trace has them, the gets of each tag and what misses cost.\n"
        "FILE may be - for standard input.\n",
    .options = info_options,
    .examples = "tarn trace info web.oracleGeneral.zst\n"
                "tarn trace info --columns time,key,size --json log.csv\n",
};

/* ---- convert ---- */

static tarn_status copy(const struct tarn_cli *cli, const char *from, tarn_trace *trace,
                        tarn_trace_writer *writer, uint64_t limit, uint64_t *copied,
                        struct tarn_error *error)
{
    struct tarn_request batch[BATCH];
    struct tarn_progress progress;
    tarn_status status = TARN_OK;
    tarn_progress_start(&progress, cli, from);
    *copied = 0;
    while (status == TARN_OK && *copied < limit) {
        size_t count;
        uint64_t wanted = limit - *copied;
        status =
            tarn_trace_read(trace, batch, wanted < BATCH ? (size_t)wanted : BATCH, &count, error);
        if (status == TARN_OK)
            status = tarn_trace_writer_add(writer, batch, count, error);
        *copied += count;
        tarn_progress_update(&progress, tarn_trace_progress(trace));
    }
    tarn_progress_end(&progress);
    if (status == TARN_END)
        status =
            *copied > 0 ? TARN_OK : tarn_fail(error, TARN_CORRUPT, "%s: the trace is empty", from);
    return status;
}

static int report_written(const struct tarn_cli *cli, const char *path, tarn_trace_format format,
                          uint64_t requests)
{
    if (cli->json && strcmp(path, "-") != 0) {
        cJSON *json = cJSON_CreateObject();
        cJSON_AddStringToObject(json, "path", path);
        cJSON_AddStringToObject(json, "format", tarn_trace_format_name(format));
        tarn_json_integer(json, "requests", requests);
        return tarn_cli_print_json(cli, json);
    }
    if (!cli->quiet && strcmp(path, "-") != 0)
        printf("%s: %llu requests, %s format\n", path, (unsigned long long)requests,
               tarn_trace_format_name(format));
    return TARN_EXIT_OK;
}

static int tarn_cmd_trace_convert(struct tarn_cli *cli, int argc, char **argv)
{
    struct tarn_trace_params from = {0};
    struct tarn_trace_writer_params to = {0};
    struct tarn_error error;
    tarn_trace *trace = NULL;
    tarn_trace_writer *writer = NULL;
    uint64_t limit = UINT64_MAX, copied = 0;
    const char *output = tarn_cli_value(cli, "output"), *name = tarn_cli_value(cli, "to");
    int code = read_params(cli, "format", &from);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "limit", 1, UINT64_MAX, &limit);
    if (code != TARN_EXIT_OK)
        return code;
    if (argc != 1 || output == NULL)
        return tarn_cli_usage(cli, "one IN and -o OUT are needed");
    if (name != NULL && tarn_trace_format_parse(name, &to.format) != TARN_OK)
        return tarn_cli_usage(cli, "--to: '%s' is none of oracle, csv, keys, tarn", name);
    tarn_status status = tarn_trace_open(argv[0], &from, &trace, &error);
    if (status == TARN_OK) {
        to.has_time = tarn_trace_has_time(trace);
        to.has_tag = tarn_trace_has_tag(trace);
        to.has_cost = tarn_trace_has_cost(trace);
        status = tarn_trace_writer_create(output, &to, &writer, &error);
    }
    if (status == TARN_OK) {
        status = copy(cli, argv[0], trace, writer, limit, &copied, &error);
        to.format = tarn_trace_writer_get_format(writer);
    }
    if (status == TARN_OK)
        status = tarn_trace_writer_finish(&writer, &error);
    tarn_trace_writer_abandon(&writer);
    tarn_trace_close(&trace);
    return status == TARN_OK ? report_written(cli, output, to.format, copied)
                             : tarn_cli_fail(cli, &error);
}

static const struct tarn_cli_option convert_options[] = {
    {"output", 'o', "OUT", "the file to write; - is standard output"},
    {"to", 0, "F", "format to write; without it OUT's ending says it, or else tarn"},
    READ_OPTIONS,
    {NULL},
};

static const struct tarn_command trace_convert = {
    .name = "convert",
    .run = tarn_cmd_trace_convert,
    .summary = "write a trace in another format",
    .usage = "IN -o OUT [--to F] [--format F] [--columns NAMES] [--limit N]",
    .description = "OUT's ending says the format: .oracleGeneral .csv .keys .tarn, each with or "
                   "without .zst.\n"
                   "OUT appears when it is complete. The oracle format holds gets and sizes below "
                   "4 GiB only,\n"
                   "no tags and costs; keys drops everything but the keys.\n",
    .options = convert_options,
    .examples = "tarn trace convert log.csv -o log.tarn.zst\n"
                "zcat log.csv.gz | tarn trace convert - --format csv -o log.oracleGeneral\n",
};

/* ---- gen ---- */

static tarn_status generate(const struct tarn_cli *cli, tarn_gen *gen, tarn_trace_writer *writer,
                            uint64_t requests, const char *output, struct tarn_error *error)
{
    struct tarn_request batch[BATCH];
    struct tarn_progress progress;
    tarn_status status = TARN_OK;
    uint64_t done = 0;
    tarn_progress_start(&progress, cli, output);
    for (size_t count; status == TARN_OK && (count = tarn_gen_read(gen, batch, BATCH)) > 0;) {
        status = tarn_trace_writer_add(writer, batch, count, error);
        done += count;
        tarn_progress_update(&progress, (double)done / (double)requests);
    }
    tarn_progress_end(&progress);
    return status;
}

static int unknown_kind(const struct tarn_cli *cli, const char *kind)
{
    const char *names[16];
    size_t count = 0;
    for (; tarn_gen_kinds[count].name != NULL; count++)
        names[count] = tarn_gen_kinds[count].name;
    names[count] = NULL;
    const char *close = tarn_cli_suggest(kind, names);
    return tarn_cli_usage(cli, "no workload '%s'%s%s%s", kind, close ? "; did you mean '" : "",
                          close ? close : "", close ? "'?" : "");
}

static int tarn_cmd_trace_gen(struct tarn_cli *cli, int argc, char **argv)
{
    struct tarn_gen_params params = {.requests = 1000000, .objects = 100000, .seed = cli->seed};
    struct tarn_trace_writer_params to = {0};
    struct tarn_error error;
    tarn_gen *gen = NULL;
    tarn_trace_writer *writer = NULL;
    const char *output = tarn_cli_value(cli, "output"), *name = tarn_cli_value(cli, "to");
    int code = tarn_cli_integer(cli, "requests", 1, (uint64_t)1 << 40, &params.requests);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "objects", 2, (uint64_t)1 << 32, &params.objects);
    if (code != TARN_EXIT_OK)
        return code;
    if (argc != 1 || output == NULL)
        return tarn_cli_usage(cli, "one KIND and -o FILE are needed");
    if (name != NULL && tarn_trace_format_parse(name, &to.format) != TARN_OK)
        return tarn_cli_usage(cli, "--to: '%s' is none of oracle, csv, keys, tarn", name);
    params.kind = argv[0];
    const char **settings = calloc(cli->given_count + 1, sizeof *settings);
    if (settings == NULL)
        return tarn_cli_fail(cli, &(struct tarn_error){TARN_NO_MEMORY, "gen: out of memory"});
    const char *setting;
    for (size_t at = 0; (setting = tarn_cli_each(cli, "param", &at)) != NULL;)
        settings[params.setting_count++] = setting;
    params.settings = settings;
    bool known = false;
    for (const struct tarn_gen_kind *kind = tarn_gen_kinds; kind->name != NULL; kind++)
        known |= strcmp(kind->name, params.kind) == 0;
    tarn_status status = known ? tarn_gen_create(&params, &gen, &error) : TARN_INVALID;
    free(settings);
    if (!known)
        return unknown_kind(cli, params.kind);
    if (status == TARN_INVALID)
        return tarn_cli_usage(cli, "%s", error.message);
    if (status == TARN_OK) {
        to.has_time = tarn_gen_has_time(gen);
        to.has_tag = tarn_gen_has_tag(gen);
        to.has_cost = tarn_gen_has_cost(gen);
        status = tarn_trace_writer_create(output, &to, &writer, &error);
    }
    if (status == TARN_OK) {
        to.format = tarn_trace_writer_get_format(writer);
        status = generate(cli, gen, writer, params.requests, output, &error);
    }
    if (status == TARN_OK)
        status = tarn_trace_writer_finish(&writer, &error);
    tarn_trace_writer_abandon(&writer);
    tarn_gen_destroy(&gen);
    return status == TARN_OK ? report_written(cli, output, to.format, params.requests)
                             : tarn_cli_fail(cli, &error);
}

static const struct tarn_cli_option gen_options[] = {
    {"output", 'o', "FILE", "the file to write; - is standard output"},
    {"to", 0, "F", "format to write; without it FILE's ending says it, or else tarn"},
    {"requests", 'n', "N", "how many (default 1000000)"},
    {"objects", 0, "N", "about how many are in use at a time (default 100000)"},
    {"param", 'p', "NAME=VALUE", "a parameter of the model, see above", true},
    {NULL},
};

static void describe_gen(FILE *file)
{
    fputs("Models (KIND):\n", file);
    for (const struct tarn_gen_kind *kind = tarn_gen_kinds; kind->name != NULL; kind++)
        tarn_help_row(kind->name, kind->doc, 10, file);
    fputs("\nParameters, with their defaults:\n", file);
    for (const struct tarn_gen_param *row = tarn_gen_params_table; row->name != NULL; row++) {
        char head[64], doc[512];
        snprintf(head, sizeof head, "%s%s%s", row->name, row->fallback[0] ? "=" : "",
                 row->fallback);
        const char *kinds = row->kinds != NULL ? row->kinds : "";
        const char *newline = strrchr(row->doc, '\n');
        size_t last = strlen(newline != NULL ? newline : row->doc) + strlen(kinds);
        snprintf(doc, sizeof doc, kinds[0] != '\0' ? "%s%s(%s)" : "%s", row->doc,
                 last > 70 ? "\n" : " ", kinds);
        tarn_help_row(head, doc, 18, file);
    }
}

static const struct tarn_command trace_gen = {
    .name = "gen",
    .run = tarn_cmd_trace_gen,
    .summary = "generate a workload; the same seed gives the same trace",
    .usage = "KIND -o FILE [--requests N] [--objects N] [--seed N] [--param NAME=VALUE]...",
    .describe = describe_gen,
    .options = gen_options,
    .examples = "tarn trace gen zipf -o web.tarn --param alpha=1.1 --param sizes=lognormal\n"
                "tarn trace gen phases -o day.tarn.zst --param kinds=zipf+loop --param phases=4\n",
};

/* ---- the command ---- */

static const struct tarn_command *const subcommands[] = {&trace_gen, &trace_info, &trace_convert,
                                                         NULL};

const struct tarn_command tarn_command_trace = {
    .name = "trace",
    .summary = "generate, inspect and convert cache traces",
    .usage = "gen|info|convert ...",
    .description =
        "A trace is a file or - (standard input). Its format is found by its first bytes, its "
        "ending\n"
        "or its content; zstd is read as it is.\n"
        "\n"
        "  oracle  libCacheSim's oracleGeneral: 24-byte records, gets only, sizes below 4 GiB\n"
        "  tarn    compact, every operation and size, checksums (docs/trace-format.md)\n"
        "  keys    a key a line; every size is 1\n"
        "  csv     a request a line; a field may be quoted. The columns are those that --columns "
        "or a\n"
        "          header line names (time, key or id or url, size, op, tag, cost; others are "
        "skipped),\n"
        "          or else time, key, size, op in this order; one column alone is the key. A tag "
        "is a\n"
        "          number from 1 to 7, a cost what a miss costs, in microseconds. Operations: "
        "get,\n"
        "          read, head; put, set, write, add ...; delete, del, remove. A separator may also "
        "be\n"
        "          a tab or a semicolon; lines that start with # are comments.\n"
        "\n"
        "A key that isn't a decimal number counts by its 64-bit hash. A size of 0 counts 1. Times "
        "may\n"
        "be out of order.\n",
    .subcommands = subcommands,
};
