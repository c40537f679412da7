/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tarn bench learn`: how soon learning follows a change, what it forgets, what its gates cost, and what they
 * stop. This file has the options and prints; what is measured, and how, stands in bench_learn_adapt.c and
 * bench_learn_sabotage.c.
 */
#include "bench_learn.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "bench.h"

enum { PARTS = 4 };
static const char *const part_names[PARTS] = {"adaptation", "forgetting", "cost", "sabotage"};

struct figures {
    struct tarn_bl_stream *streams;
    size_t stream_count;
    bool has[PARTS];
    struct tarn_bl_pair *pairs;
    struct tarn_bl_sequence *sequences;
    struct tarn_bl_cell *cells;
    struct tarn_bl_job *jobs;
    size_t pair_count, sequence_count, cell_count, job_count;
    struct tarn_bl_sabotage sabotage;
    double seconds;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of values that are numbers; NaN: none is. Reorders them. */
static double median(double *values, size_t count)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i]))
            values[n++] = values[i];
    if (n == 0)
        return NAN;
    qsort(values, n, sizeof *values, compare);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double share(uint64_t part, uint64_t of)
{
    return of > 0 ? (double)part / (double)of : (double)NAN;
}

/* ---- what the parts say together ---- */

struct adaptation {
    double speedup;
    size_t told;        /* pairs that say something of speed */
    size_t slower;      /* where Tarn was later than without learning */
    size_t unrecovered; /* where Tarn didn't come into the band */
};

static struct adaptation adaptation_of(const struct figures *f)
{
    struct adaptation sum = {.speedup = NAN};
    double *ratios = calloc(f->pair_count + 1, sizeof *ratios);
    for (size_t i = 0; ratios != NULL && i < f->pair_count; i++) {
        const struct tarn_bl_pair *pair = &f->pairs[i];
        ratios[i] = pair->ratio;
        sum.told += !isnan(pair->ratio);
        sum.slower += pair->tarn.requests > pair->none.requests;
        sum.unrecovered += pair->tarn.requests == UINT64_MAX;
    }
    if (ratios != NULL)
        sum.speedup = median(ratios, f->pair_count);
    free(ratios);
    return sum;
}

static double loop_cost(const struct figures *f)
{
    double sum = 0;
    for (size_t i = 0; i < f->cell_count; i++)
        sum += f->cells[i].gated / f->cells[i].in_place - 1;
    return f->cell_count > 0 ? sum / (double)f->cell_count : (double)NAN;
}

static struct tarn_bl_counts all_kinds(const struct tarn_bl_sabotage *s)
{
    struct tarn_bl_counts sum = {0};
    for (int i = 0; i < TARN_BL_HARMS; i++) {
        sum.made += s->kind[i].made;
        sum.harmless += s->kind[i].harmless;
        sum.trials += s->kind[i].trials;
        sum.stopped += s->kind[i].stopped;
        sum.passed += s->kind[i].passed;
        sum.forced += s->kind[i].forced;
        sum.undone += s->kind[i].undone;
        sum.in_time += s->kind[i].in_time;
    }
    return sum;
}

static double undone_after(const struct tarn_bl_sabotage *s)
{
    double times[TARN_BL_TIMES];
    for (uint32_t i = 0; i < s->times; i++)
        times[i] = (double)s->time[i];
    return median(times, s->times);
}

static const char *const bin_names[TARN_BL_BINS] = {"2 to 5 %", "5 to 15 %", "over 15 %"};

/* ---- JSON ---- */

/* Requests; null: not within the phase. */
static void add_requests(cJSON *json, const char *name, const struct tarn_bl_recovery *recovery)
{
    tarn_json_number(json, name,
                     recovery->requests == UINT64_MAX ? (double)NAN : (double)recovery->requests);
}

static void add_pairs(cJSON *json, const struct figures *f)
{
    cJSON *list = cJSON_AddArrayToObject(json, "adaptation");
    for (size_t i = 0; i < f->pair_count; i++) {
        const struct tarn_bl_pair *pair = &f->pairs[i];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddItemToArray(list, row);
        cJSON_AddStringToObject(row, "name", pair->name);
        tarn_json_integer(row, "objects", pair->objects);
        tarn_json_integer(row, "requests", pair->requests);
        add_requests(row, "tarn", &pair->tarn);
        add_requests(row, "periodic", &pair->periodic);
        add_requests(row, "none", &pair->none);
        tarn_json_number(row, "ratio", pair->ratio);
        tarn_json_number(row, "reference_miss_ratio", pair->reference);
        tarn_json_number(row, "tarn_miss_ratio", pair->tarn.miss_ratio);
        tarn_json_number(row, "periodic_miss_ratio", pair->periodic.miss_ratio);
        tarn_json_number(row, "none_miss_ratio", pair->none.miss_ratio);
    }
}

static void add_sequences(cJSON *json, const struct figures *f)
{
    cJSON *list = cJSON_AddArrayToObject(json, "forgetting");
    for (size_t i = 0; i < f->sequence_count; i++) {
        const struct tarn_bl_sequence *sequence = &f->sequences[i];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddItemToArray(list, row);
        cJSON_AddStringToObject(row, "name", sequence->name);
        tarn_json_number(row, "tarn", sequence->tarn);
        tarn_json_number(row, "naive", sequence->naive);
        tarn_json_number(row, "best", sequence->best);
        cJSON_AddStringToObject(row, "best_is", sequence->best_is);
        tarn_json_number(row, "tarn_difference", sequence->tarn / sequence->best - 1);
        tarn_json_number(row, "naive_difference", sequence->naive / sequence->best - 1);
    }
}

static void add_cells(cJSON *json, const struct figures *f)
{
    cJSON *list = cJSON_AddArrayToObject(json, "loop_costs");
    for (size_t i = 0; i < f->cell_count; i++) {
        const struct tarn_bl_cell *cell = &f->cells[i];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddItemToArray(list, row);
        cJSON_AddStringToObject(row, "name", cell->name);
        tarn_json_integer(row, "objects", cell->objects);
        tarn_json_number(row, "gated", cell->gated);
        tarn_json_number(row, "in_place", cell->in_place);
        tarn_json_number(row, "difference", cell->gated / cell->in_place - 1);
    }
}

static cJSON *add_counts(cJSON *list, const char *name, const struct tarn_bl_counts *counts)
{
    cJSON *row = cJSON_CreateObject();
    cJSON_AddItemToArray(list, row);
    cJSON_AddStringToObject(row, "name", name);
    tarn_json_integer(row, "trials", counts->trials);
    tarn_json_integer(row, "passed", counts->passed);
    tarn_json_number(row, "stopped_share", share(counts->stopped, counts->trials));
    tarn_json_integer(row, "forced", counts->forced);
    tarn_json_number(row, "undone_share", share(counts->undone, counts->forced));
    tarn_json_number(row, "undone_in_cache_requests_share", share(counts->in_time, counts->forced));
    return row;
}

/* Where it was. */
static void add_caches(cJSON *json, const struct figures *f)
{
    cJSON *list = cJSON_AddArrayToObject(json, "caches");
    for (size_t i = 0; i < f->job_count; i++) {
        const struct tarn_bl_job *job = &f->jobs[i];
        const struct tarn_bl_counts all = all_kinds(&job->result);
        cJSON *row = add_counts(list, job->source.name, &all);
        tarn_json_integer(row, "objects", job->objects);
        tarn_json_integer(row, "equal_models", job->result.equals);
        tarn_json_integer(row, "false_rollbacks", job->result.false_rollbacks);
    }
}

static void add_sabotage(cJSON *json, const struct figures *f)
{
    const struct tarn_bl_sabotage *s = &f->sabotage;
    const bool there = f->has[3];
    const struct tarn_bl_counts all = all_kinds(s);
    cJSON *row =
        there ? cJSON_AddObjectToObject(json, "sabotage") : cJSON_AddNullToObject(json, "sabotage");
    if (!there)
        return;
    tarn_json_integer(row, "trials", all.trials + s->offered);
    tarn_json_number(row, "stopped_share",
                     share(all.stopped + s->offered_stopped, all.trials + s->offered));
    tarn_json_number(row, "undone_share", share(all.undone, all.forced));
    tarn_json_number(row, "undone_in_cache_requests_share", share(all.in_time, all.forced));
    tarn_json_number(row, "false_rollbacks_share", share(s->false_rollbacks, s->equals));
    tarn_json_integer(row, "made", all.made);
    tarn_json_integer(row, "harmless", all.harmless);
    tarn_json_integer(row, "offered", s->offered);
    tarn_json_integer(row, "offered_stopped", s->offered_stopped);
    tarn_json_integer(row, "offered_live", s->offered_live);
    tarn_json_integer(row, "forced", all.forced);
    tarn_json_integer(row, "unwatched", s->unwatched);
    tarn_json_integer(row, "refused", s->refused);
    tarn_json_number(row, "undone_requests_p50", undone_after(s));
    tarn_json_integer(row, "equal_models", s->equals);
    tarn_json_integer(row, "equal_models_left_out", s->equals_off);
    tarn_json_integer(row, "false_rollbacks", s->false_rollbacks);
    cJSON *kinds = cJSON_AddArrayToObject(row, "kinds");
    for (int i = 0; i < TARN_BL_HARMS; i++) {
        cJSON *kind = add_counts(kinds, tarn_bl_harm_name((enum tarn_bl_harm)i), &s->kind[i]);
        tarn_json_integer(kind, "made", s->kind[i].made);
        tarn_json_integer(kind, "harmless", s->kind[i].harmless);
    }
    cJSON *bins = cJSON_AddArrayToObject(row, "by_harm");
    for (int i = 0; i < TARN_BL_BINS; i++)
        add_counts(bins, bin_names[i], &s->bin[i]);
    add_caches(row, f);
}

static int print_json(const struct tarn_bl *bench, const struct figures *f)
{
    const struct adaptation adaptation = adaptation_of(f);
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
    cJSON_AddStringToObject(json, "bench", "learn");
    tarn_json_integer(json, "seed", bench->cli->seed);
    tarn_json_number(json, "seconds", f->seconds);
    tarn_json_integer(json, "period", bench->scale.period);
    tarn_json_number(json, "adaptation_speedup", adaptation.speedup);
    tarn_json_integer(json, "adaptation_pairs", f->pair_count);
    tarn_json_integer(json, "adaptation_pairs_told", adaptation.told);
    tarn_json_integer(json, "adaptation_slower_than_none", adaptation.slower);
    add_pairs(json, f);
    add_sequences(json, f);
    tarn_json_number(json, "loop_cost", loop_cost(f));
    add_cells(json, f);
    add_sabotage(json, f);
    return tarn_cli_print_json(bench->cli, json);
}

/* ---- tables ---- */

static const char *in_thousands(const struct tarn_bl_recovery *recovery, char text[32])
{
    if (recovery->requests == UINT64_MAX)
        snprintf(text, 32, "never");
    else
        snprintf(text, 32, "%.0f", (double)recovery->requests / 1000);
    return text;
}

static const char *with_digits(double value, int digits, char text[32])
{
    if (isnan(value))
        snprintf(text, 32, "-");
    else
        snprintf(text, 32, "%.*f", digits, value);
    return text;
}

static void print_pairs(const struct tarn_cli *cli, const struct figures *f)
{
    static const char *const heads[] = {"a change", "tarn",     "periodic",
                                        "none",     "x",        "miss %: trained on it",
                                        "tarn",     "periodic", "none"};
    const struct adaptation sum = adaptation_of(f);
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof *heads);
    char a[32], b[32], c[32], d[32];
    for (size_t i = 0; i < f->pair_count; i++) {
        const struct tarn_bl_pair *p = &f->pairs[i];
        tarn_table_row(table, "%s\t%s\t%s\t%s\t%s\t%.2f\t%.2f\t%.2f\t%.2f", p->name,
                       in_thousands(&p->tarn, a), in_thousands(&p->periodic, b),
                       in_thousands(&p->none, c), with_digits(p->ratio, 1, d), 100 * p->reference,
                       100 * p->tarn.miss_ratio, 100 * p->periodic.miss_ratio,
                       100 * p->none.miss_ratio);
    }
    printf("adaptation: thousands of requests to recover\n");
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    printf(
        "%s times fewer requests than periodic retraining (median of %zu of %zu pairs; the others "
        "were never behind); slower than no learning in %zu\n\n",
        with_digits(sum.speedup, 1, a), sum.told, f->pair_count, sum.slower);
}

static void print_sequences(const struct tarn_cli *cli, const struct figures *f)
{
    static const char *const heads[] = {"sequence", "tarn %", "naive %", "best for A %",
                                        "tarn",     "naive",  "best is"};
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof *heads);
    for (size_t i = 0; i < f->sequence_count; i++) {
        const struct tarn_bl_sequence *s = &f->sequences[i];
        tarn_table_row(table, "%s\t%.2f\t%.2f\t%.2f\t%+.2f %%\t%+.2f %%\t%s", s->name,
                       100 * s->tarn, 100 * s->naive, 100 * s->best, 100 * (s->tarn / s->best - 1),
                       100 * (s->naive / s->best - 1), s->best_is);
    }
    printf("forgetting: misses of the second visit to A, with a cold cache\n");
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    printf("\n");
}

static void print_cells(const struct tarn_cli *cli, const struct figures *f)
{
    static const char *const heads[] = {"workload, objects", "gates %", "in place %", "cost"};
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof *heads);
    for (size_t i = 0; i < f->cell_count; i++) {
        const struct tarn_bl_cell *c = &f->cells[i];
        tarn_table_row(table, "%s\t%.2f\t%.2f\t%+.2f %%", c->name, 100 * c->gated,
                       100 * c->in_place, 100 * (c->gated / c->in_place - 1));
    }
    printf("what the loop costs in misses\n");
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    printf("mean %+.2f %%\n\n", 100 * loop_cost(f));
}

static void add_count_row(tarn_table *table, const char *name, const struct tarn_bl_counts *c)
{
    char a[32], b[32], d[32];
    tarn_table_row(table, "%s\t%u\t%u\t%u\t%s\t%u\t%s\t%s", name, (unsigned)c->made,
                   (unsigned)c->harmless, (unsigned)c->trials,
                   with_digits(100 * share(c->stopped, c->trials), 1, a), (unsigned)c->forced,
                   with_digits(100 * share(c->undone, c->forced), 1, b),
                   with_digits(100 * share(c->in_time, c->forced), 1, d));
}

static void print_sabotage(const struct tarn_cli *cli, const struct tarn_bl_sabotage *s)
{
    static const char *const heads[] = {"sabotage",  "made",   "harmless", "trials",
                                        "stopped %", "forced", "undone %", "in its requests %"};
    const struct tarn_bl_counts all = all_kinds(s);
    char a[32], b[32];
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof *heads);
    for (int i = 0; i < TARN_BL_HARMS; i++)
        add_count_row(table, tarn_bl_harm_name((enum tarn_bl_harm)i), &s->kind[i]);
    add_count_row(table, "all", &all);
    for (int i = 0; i < TARN_BL_BINS; i++)
        add_count_row(table, bin_names[i], &s->bin[i]);
    printf("sabotage\n");
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    printf("offered from elsewhere: %u, stopped %u, live %u\n", (unsigned)s->offered,
           (unsigned)s->offered_stopped, (unsigned)s->offered_live);
    printf("undone after %s requests (median); %u forced without a watch, %u refused\n",
           with_digits(undone_after(s), 0, a), (unsigned)s->unwatched, (unsigned)s->refused);
    printf("equally good models put live: %u, rolled back %u (%s %%); %u more were not so equal\n",
           (unsigned)s->equals, (unsigned)s->false_rollbacks,
           with_digits(100 * share(s->false_rollbacks, s->equals), 2, b), (unsigned)s->equals_off);
}

static int print(const struct tarn_bl *bench, const struct figures *f)
{
    if (bench->cli->json)
        return print_json(bench, f);
    if (f->has[0])
        print_pairs(bench->cli, f);
    if (f->has[1])
        print_sequences(bench->cli, f);
    if (f->has[2])
        print_cells(bench->cli, f);
    if (f->has[3])
        print_sabotage(bench->cli, &f->sabotage);
    return TARN_EXIT_OK;
}

/* ---- what is to be done ---- */

static int read_parts(const struct tarn_cli *cli, bool has[PARTS])
{
    const char *list = tarn_cli_value(cli, "only");
    for (int i = 0; i < PARTS; i++)
        has[i] = list == NULL;
    for (const char *at = list; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, ",");
        int part = 0;
        while (part < PARTS &&
               (strlen(part_names[part]) != length || strncmp(part_names[part], at, length) != 0))
            part++;
        if (part == PARTS)
            return tarn_cli_usage(cli,
                                  "--only: '%.*s' is none of adaptation, forgetting, cost, "
                                  "sabotage",
                                  (int)length, at);
        has[part] = true;
        at += length + (at[length] == ',');
    }
    return TARN_EXIT_OK;
}

static int read_scale(const struct tarn_cli *cli, struct tarn_bl_scale *scale)
{
    *scale = tarn_cli_flag(cli, "quick")
                 ? (struct tarn_bl_scale){true, 100000, 30000, 60000, 400, 10}
                 : (struct tarn_bl_scale){false, 2000000, 400000, 600000, 20000, 1200};
    int code = tarn_cli_integer(cli, "period", 20000, 1000000000, &scale->period);
    scale->period -= scale->period % 400; /* the change falls on the edge of a bucket */
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "trials", 1, 100000, &scale->trials);
    return code;
}

static tarn_status load(struct figures *f, int argc, char **argv, uint64_t limit,
                        struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    f->streams = calloc((size_t)argc + 1, sizeof *f->streams);
    if (f->streams == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "bench: out of memory");
    for (int i = 0; i < argc && status == TARN_OK; i++)
        status = tarn_bl_load(&f->streams[f->stream_count++], argv[i], limit, error);
    return status;
}

static struct tarn_bl_task *
add_tasks(struct tarn_bl_task *task, void *rows, size_t size, size_t count,
          tarn_status (*run)(struct tarn_bl *, void *, struct tarn_error *))
{
    for (size_t i = 0; i < count; i++)
        *task++ = (struct tarn_bl_task){run, (char *)rows + i * size};
    return task;
}

/* Long tasks first, so that both threads end at about the same time. */
static tarn_status measure(struct tarn_bl *bench, struct figures *f, struct tarn_error *error)
{
    if (f->has[0])
        f->pair_count = tarn_bl_plan_pairs(bench, f->streams, f->stream_count, &f->pairs);
    if (f->has[1])
        f->sequence_count = tarn_bl_plan_sequences(bench, &f->sequences);
    if (f->has[2])
        f->cell_count = tarn_bl_plan_cells(bench, f->streams, f->stream_count, &f->cells);
    if (f->has[3])
        f->job_count = tarn_bl_plan_jobs(bench, &f->jobs);
    size_t count = f->pair_count + f->sequence_count + f->cell_count + f->job_count;
    struct tarn_bl_task *tasks = calloc(count + 1, sizeof *tasks), *end = tasks;
    if (tasks == NULL || (f->has[0] && f->pairs == NULL) || (f->has[1] && f->sequences == NULL) ||
        (f->has[2] && f->cells == NULL) || (f->has[3] && f->jobs == NULL)) {
        free(tasks);
        return tarn_fail(error, TARN_NO_MEMORY, "bench: out of memory");
    }
    end = add_tasks(end, f->pairs, sizeof *f->pairs, f->pair_count, tarn_bl_run_pair);
    end = add_tasks(end, f->jobs, sizeof *f->jobs, f->job_count, tarn_bl_run_job);
    end =
        add_tasks(end, f->sequences, sizeof *f->sequences, f->sequence_count, tarn_bl_run_sequence);
    add_tasks(end, f->cells, sizeof *f->cells, f->cell_count, tarn_bl_run_cell);
    tarn_status status = tarn_bl_run(bench, tasks, count, error);
    tarn_bl_add_jobs(f->jobs, f->job_count, &f->sabotage);
    free(tasks);
    return status;
}

static int run(struct tarn_cli *cli, int argc, char **argv)
{
    struct tarn_bl bench = {.cli = cli};
    struct tarn_error error = {.status = TARN_OK};
    struct figures *f = calloc(1, sizeof *f);
    uint64_t limit = 0, start = tarn_clock_ns();
    int code = f != NULL ? read_parts(cli, f->has) : TARN_EXIT_FAILED;
    if (code == TARN_EXIT_OK)
        code = read_scale(cli, &bench.scale);
    if (code == TARN_EXIT_OK)
        code = tarn_cli_integer(cli, "limit", 1, UINT64_MAX, &limit);
    if (code != TARN_EXIT_OK || pthread_mutex_init(&bench.lock, NULL) != 0) {
        free(f);
        return code != TARN_EXIT_OK ? code : TARN_EXIT_FAILED;
    }
    if (cli->log_level == TARN_LOG_WARNING)
        tarn_log_set(NULL, NULL, TARN_LOG_NONE); /* that models are rolled back is no news here */
    tarn_progress_start(&bench.progress, cli, "learning");
    tarn_status status = load(f, argc, argv, limit, &error);
    if (status == TARN_OK)
        status = measure(&bench, f, &error);
    tarn_progress_end(&bench.progress);
    f->seconds = (double)(tarn_clock_ns() - start) * 1e-9;
    code = status == TARN_OK ? print(&bench, f) : tarn_cli_fail(cli, &error);
    for (size_t i = 0; i < f->stream_count; i++)
        tarn_bl_stream_free(&f->streams[i]);
    free(f->streams);
    free(f->pairs);
    free(f->sequences);
    free(f->cells);
    free(f->jobs);
    free(f);
    pthread_mutex_destroy(&bench.lock);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"quick", 0, NULL, "a few short cases: shows that it runs, its figures say little"},
    {"only", 0, "LIST", "of adaptation, forgetting, cost, sabotage"},
    {"limit", 0, "N", "only the first N requests of each trace"},
    {"period", 0, "N", "requests between two retrainings from scratch (2000000)"},
    {"trials", 0, "N", "of sabotage, about (1200)"},
    {NULL},
};

const struct tarn_command tarn_bench_learn = {
    .name = "learn",
    .run = run,
    .summary = "how learning follows, what it forgets, and what its gates stop",
    .usage = "[TRACE...] [--only LIST] [--quick]",
    .description =
        "Caches of 2,000 objects and more are filled by generated workloads, or, for adaptation\n"
        "and cost, by the traces given (each joined with the next; caches of 5, or 1 and 10 %\n"
        "of the objects; every request is a get, every object of one size). All of it runs on\n"
        "the host, two at a time, for some minutes.\n"
        "\n"
        "adaptation: after half a period of one workload comes another, with other keys. Counted\n"
        "are the requests until the misses, smoothed over a 40th of a period, are within 5 % of\n"
        "those of a model that was trained from scratch on the new workload alone and governs\n"
        "from the change on, over the same requests, and stay so for a tenth of a period. tarn:\n"
        "as users get it, from the built-in model. periodic: a model trained from scratch on the\n"
        "old workload, and at the end of each period another one, on that period's samples (the\n"
        "change is in its middle), which takes no time to train. none: the built-in model,\n"
        "without learning. x: periodic / tarn, at least a 200th of a period each, at most what\n"
        "there is. Pairs where neither ever left the band say nothing about speed (0 and 0) and\n"
        "aren't in the median.\n"
        "\n"
        "forgetting: A B C A, the second A from a cold cache. tarn and naive (weights in place,\n"
        "nothing against forgetting) have learnt on A B C; best is the better of the model learnt\n"
        "on A only, which learns on, and of one trained from scratch on A.\n"
        "\n"
        "cost: the misses with gate, watch and swaps against weights trained in place.\n"
        "\n"
        "sabotage: weights made from the live ones by shuffling them, turning signs, and so on. A\n"
        "trial counts if the frozen model misses at least 2 % more than the frozen live one does\n"
        "over the same requests (what is no number counts always). stopped: the gate doesn't let\n"
        "them pass, or, offered from elsewhere, they haven't gone live when the rollout ends.\n"
        "undone: put live by force, with training held, and rolled back by the watch within\n"
        "max(2,000, 2 x objects) requests of its miniature caches; in its requests: within as "
        "many\n"
        "of the whole cache and its objects. Equally good models are copies with noise of 0.3 %,\n"
        "which a replay tells apart by less than 0.2 %.",
    .options = options,
    .examples = "tarn bench learn --json\n"
                "tarn bench learn monday.csv tuesday.csv --only adaptation,cost\n",
};
