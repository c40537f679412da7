/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each part of continuous learning is worth: traces are replayed with the defaults, without each part,
 * with each that is off, trained in place and not at all (or as --variant says, also with ensemble=KIND in front); printed is how many misses more (or less) each has
 * than the defaults, on the mean of all traces, sizes and seeds.
 *
 *     bench_ablation [--markdown] [--log] [--limit N] [--size 1,10] [--seeds N] [--threads N]
 *                    [--only NAME]... [--variant NAME:FIELD=VALUE,...]... [TRACE...]
 *
 * Without traces: three generated ones. A+B+A are traces one after another, each up to the limit; one that is
 * named twice comes back with its keys. Sizes are percents of the distinct keys; all objects count as one.
 */
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/engine.h>
#include <tarn/log.h>

#include "base/rng.h"
#include "engine/learning.h"
#include "trace/gen.h"

enum { MOST_TRACES = 64, MOST_VARIANTS = 48, MOST_SIZES = 4, MOST_SEEDS = 8, LEAST_OBJECTS = 64 };

/* ---- variants ---- */

static const struct field {
    const char *name;
    size_t at;
    char type; /* b, u, f, l */
} fields[] = {
#define FIELD(name, type)                                                                          \
    {                                                                                              \
#name, offsetof(struct tarn_learning_params, name), type                                   \
    }
    FIELD(in_place, 'b'),      FIELD(keep_held_out, 'b'), FIELD(reservoir, 'u'),
    FIELD(replayed, 'f'),      FIELD(balance, 'f'),       FIELD(consolidate, 'f'),
    FIELD(anchor_every, 'u'),  FIELD(distilled, 'f'),     FIELD(novelty, 'b'),
    FIELD(drift, 'b'),         FIELD(drift_rate, 'f'),    FIELD(drift_steps, 'f'),
    FIELD(drift_recent, 'f'),  FIELD(explore, 'f'),       FIELD(stored, 'u'),
    FIELD(patience, 'u'),      FIELD(frozen, 'b'),        FIELD(learners, 'u'),
    FIELD(learners_pace, 'f'),
};

/* Each part, with what makes it one that is on where it is off. */
static const struct part {
    const char *name, *on, *off;
} parts[] = {
    {"held-out keys kept from training", "keep_held_out=1", "keep_held_out=0"},
    {"rehearsal from a reservoir", "reservoir=4096,replayed=0.1", "reservoir=0,replayed=0"},
    {"rehearsal, classes and rarities alike", "reservoir=4096,replayed=0.1,balance=1", "balance=0"},
    {"consolidation (EWC)", "consolidate=50,anchor_every=256", "consolidate=0"},
    {"distillation", "distilled=0.1", "distilled=0"},
    {"learning rate by novelty", "novelty=1", "novelty=0"},
    {"higher rate, more steps, wider exploration after a drift",
     "drift=1,drift_rate=2,drift_steps=2,explore=2", "drift_rate=1,drift_steps=1,explore=1"},
    {"newest samples after a drift", "drift=1,drift_recent=0.5", "drift_recent=0"},
    {"restart from an earlier phase", "drift=1,stored=4", "stored=0"},
    {"early stop", "drift=1,patience=16", "patience=0"},
};

struct variant {
    char name[80];
    struct tarn_learning_params params;
    bool no_learn;
    tarn_ensemble_kind ensemble;
    double sum, squares, least, most; /* of the logarithm of misses over the default's */
    double steps;                     /* gradient steps over the default's */
    int cells;
};

static struct variant variants[MOST_VARIANTS];
static int variant_count;

static bool set_field(struct tarn_learning_params *p, const char *name, size_t length, double value)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        char *to = (char *)p + fields[i].at;
        if (strlen(fields[i].name) != length || strncmp(fields[i].name, name, length) != 0)
            continue;
        if (fields[i].type == 'b')
            *(bool *)to = value != 0;
        else if (fields[i].type == 'u')
            *(uint32_t *)to = (uint32_t)value;
        else
            *(float *)to = (float)value;
        return true;
    }
    return false;
}

static bool set_fields(struct tarn_learning_params *p, const char *text)
{
    while (*text != '\0') {
        const char *equals = strchr(text, '=');
        char *end;
        if (equals == NULL)
            return false;
        double value = strtod(equals + 1, &end);
        if (!set_field(p, text, (size_t)(equals - text), value))
            return false;
        text = *end == ',' ? end + 1 : end;
    }
    return true;
}

/* FIELD=VALUE,... with perhaps ensemble=KIND in front. */
static bool set_variant(struct variant *v, const char *text)
{
    static const char ensemble[] = "ensemble=";
    if (strncmp(text, ensemble, sizeof ensemble - 1) != 0)
        return set_fields(&v->params, text);
    text += sizeof ensemble - 1;
    size_t length = strcspn(text, ",");
    const char *name;
    for (int k = 0; (name = tarn_ensemble_name((tarn_ensemble_kind)k)) != NULL; k++)
        if (strlen(name) == length && strncmp(name, text, length) == 0) {
            v->ensemble = (tarn_ensemble_kind)k;
            return set_fields(&v->params, text + length + (text[length] == ','));
        }
    return false;
}

static struct variant *add_variant(const char *kind, const char *name)
{
    if (variant_count == MOST_VARIANTS) {
        fprintf(stderr, "too many variants\n");
        exit(2);
    }
    struct variant *v = &variants[variant_count++];
    *v = (struct variant){.least = INFINITY, .most = -INFINITY};
    tarn_learning_defaults(&v->params);
    snprintf(v->name, sizeof v->name, "%s%s", kind, name);
    return v;
}

static void add_parts(void)
{
    add_variant("", "no learning")->no_learn = true;
    add_variant("", "in place, no gate")->params.in_place = true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        struct tarn_learning_params defaults, off;
        tarn_learning_defaults(&defaults);
        off = defaults;
        set_fields(&off, parts[i].off);
        bool is_on = memcmp(&off, &defaults, sizeof off) != 0;
        struct variant *v = add_variant(is_on ? "without: " : "with: ", parts[i].name);
        set_fields(&v->params, is_on ? parts[i].off : parts[i].on);
    }
}

/* ---- traces ---- */

struct keys {
    char name[160];
    uint64_t *key;
    size_t count, distinct;
};

static struct keys traces[MOST_TRACES];
static int trace_count;

static void *more(void *block, size_t size)
{
    void *grown = realloc(block, size);
    if (grown == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return grown;
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void count_distinct(struct keys *t)
{
    uint64_t *sorted = more(NULL, t->count * sizeof *sorted);
    memcpy(sorted, t->key, t->count * sizeof *sorted);
    qsort(sorted, t->count, sizeof *sorted, by_key);
    for (size_t i = 0; i < t->count; i++)
        t->distinct += i == 0 || sorted[i] != sorted[i - 1];
    free(sorted);
}

static void append(struct keys *t, const char *path, uint64_t mark, uint64_t limit)
{
    struct tarn_trace_data *data = NULL;
    struct tarn_error error = {0};
    const struct tarn_trace_load_params params = {.limit = limit, .unit_size = 1};
    if (tarn_trace_load(path, &params, &data, &error) != TARN_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(2);
    }
    t->key = more(t->key, (t->count + data->count) * sizeof *t->key);
    for (size_t i = 0; i < data->count; i++)
        t->key[t->count + i] = data->key[data->object[i]] ^ mark;
    t->count += data->count;
    size_t length = strlen(t->name);
    snprintf(t->name + length, sizeof t->name - length, "%s%s", length > 0 ? "+" : "", data->name);
    tarn_trace_data_free(&data);
}

static void load(char *text, uint64_t limit)
{
    struct keys *t = &traces[trace_count++];
    char *rest = NULL;
    for (char *path = strtok_r(text, "+", &rest); path != NULL; path = strtok_r(NULL, "+", &rest)) {
        uint64_t mark = 0; /* the same for the same name */
        for (const char *c = path; *c != '\0'; c++)
            mark = (mark ^ (uint64_t)*c) * 0x100000001b3u;
        append(t, path, mark, limit);
    }
    count_distinct(t);
}

static void generate(const char *kind, uint64_t requests, const char *setting)
{
    struct keys *t = &traces[trace_count++];
    struct tarn_request request[512];
    struct tarn_error error = {0};
    tarn_gen *gen = NULL;
    size_t n;
    const struct tarn_gen_params params = {.kind = kind,
                                           .requests = requests,
                                           .objects = 30000,
                                           .seed = 5,
                                           .settings = &setting,
                                           .setting_count = setting != NULL};
    if (tarn_gen_create(&params, &gen, &error) != TARN_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(2);
    }
    t->key = more(NULL, requests * sizeof *t->key);
    while ((n = tarn_gen_read(gen, request, 512)) > 0)
        for (size_t i = 0; i < n; i++)
            t->key[t->count++] = request[i].key;
    tarn_gen_destroy(&gen);
    snprintf(t->name, sizeof t->name, "%s", kind);
    count_distinct(t);
}

/* ---- runs ---- */

static void show(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    fprintf(stderr, "%s\n", message);
}

struct outcome {
    uint64_t misses, steps, drifts, saved;
};

static struct outcome replay(const struct keys *t, uint64_t objects, uint64_t seed,
                             const struct variant *v)
{
    struct outcome out = {0};
    struct tarn_error error = {0};
    tarn_engine *engine = NULL;
    const struct tarn_engine_params params = {.objects = objects,
                                              .device = "host",
                                              .background = TARN_BACKGROUND_STEPS,
                                              .no_learn = v->no_learn,
                                              .ensemble = v->ensemble,
                                              .seed = seed,
                                              .learning = &v->params};
    if (tarn_engine_create(&params, &engine, &error) != TARN_OK) {
        fprintf(stderr, "%s\n", error.message);
        exit(2);
    }
    tarn_cache *cache = tarn_engine_cache(engine);
    for (size_t i = 0; i < t->count; i++) {
        size_t room = 0;
        if (tarn_cache_get(cache, &t->key[i], sizeof t->key[i], NULL, &room) != TARN_OK) {
            out.misses++;
            tarn_cache_put(cache, &t->key[i], sizeof t->key[i], &(struct tarn_item){.charge = 1});
        }
        tarn_engine_step(engine);
    }
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    out.steps = stats.train_steps;
    out.drifts = stats.drifts;
    out.saved = stats.steps_saved;
    tarn_engine_destroy(&engine);
    return out;
}

struct cell {
    const struct keys *trace;
    double size;
    uint64_t objects, seed;
};

static struct cell cells[MOST_TRACES * MOST_SIZES * MOST_SEEDS];
static struct outcome outcomes[MOST_TRACES * MOST_SIZES * MOST_SEEDS][MOST_VARIANTS];
static int cell_count, next_run;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *unused)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        int run = next_run++;
        pthread_mutex_unlock(&lock);
        if (run >= cell_count * variant_count)
            return unused;
        const struct cell *c = &cells[run / variant_count];
        const struct variant *v = &variants[run % variant_count];
        struct outcome out = replay(c->trace, c->objects, c->seed, v);
        outcomes[run / variant_count][run % variant_count] = out;
        fprintf(stderr, "%s %g%% seed %d  %-45s %9llu misses  %llu drifts, %llu steps saved\n",
                c->trace->name, c->size, (int)c->seed, v->name, (unsigned long long)out.misses,
                (unsigned long long)out.drifts, (unsigned long long)out.saved);
    }
}

static void add_up(void)
{
    for (int c = 0; c < cell_count; c++) {
        const struct outcome *base = &outcomes[c][0];
        for (int i = 0; i < variant_count; i++) {
            struct variant *v = &variants[i];
            double d = (double)outcomes[c][i].misses / (double)base->misses - 1;
            v->sum += d;
            v->squares += d * d;
            v->least = fmin(v->least, d);
            v->most = fmax(v->most, d);
            v->steps += (double)outcomes[c][i].steps / (double)base->steps;
            v->cells++;
        }
    }
}

static void print(bool markdown)
{
    if (markdown)
        printf("| against the defaults | misses | standard error | least and most of a cell | "
               "gradient steps |\n|---|---|---|---|---|\n");
    else
        printf("against the defaults: misses, least and most of a cell, gradient steps\n");
    for (int i = 1; i < variant_count; i++) {
        const struct variant *v = &variants[i];
        double mean = v->sum / v->cells;
        double error = sqrt(fmax(0, v->squares / v->cells - mean * mean) / v->cells);
        printf(markdown ? "| %s | %+.2f %% | %.2f | %+.2f … %+.2f %% | %.2f |\n"
                        : "%-50s %+7.2f %% +- %.2f  %+7.2f ... %+.2f %%  %.2f\n",
               v->name, 100 * mean, 100 * error, 100 * v->least, 100 * v->most,
               v->steps / v->cells);
    }
    printf("%s%d cells\n", markdown ? "\n" : "", cell_count);
}

static void add_cells(const char *sizes, int seeds)
{
    for (int t = 0; t < trace_count; t++)
        for (const char *text = sizes; *text != '\0';) {
            char *end;
            double size = strtod(text, &end);
            uint64_t objects = (uint64_t)((double)traces[t].distinct * size / 100);
            for (int s = 1; s <= seeds && objects >= LEAST_OBJECTS; s++)
                cells[cell_count++] = (struct cell){&traces[t], size, objects, (uint64_t)s};
            text = *end == ',' ? end + 1 : end + strlen(end);
        }
}

int main(int argc, char **argv)
{
    const char *sizes = "1,10", *only[MOST_VARIANTS];
    uint64_t limit = 1000000;
    int seeds = 2, threads = 1, onlys = 0, customs = 0;
    bool markdown = false;
    add_variant("", "default");
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--markdown") == 0) {
            markdown = true;
        } else if (strcmp(argv[i], "--log") == 0) {
            tarn_log_set(show, NULL, TARN_LOG_INFO);
        } else if (strcmp(argv[i], "--limit") == 0 && value) {
            limit = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--size") == 0 && value) {
            sizes = argv[++i];
        } else if (strcmp(argv[i], "--seeds") == 0 && value) {
            seeds = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--threads") == 0 && value) {
            threads = atoi(argv[++i]);
        } else if (strcmp(argv[i], "--only") == 0 && value && onlys < MOST_VARIANTS) {
            only[onlys++] = argv[++i];
        } else if (strcmp(argv[i], "--variant") == 0 && value) {
            char *colon = strchr(argv[++i], ':');
            struct variant *v = add_variant("", argv[i]);
            customs++;
            if (colon == NULL || !set_variant(v, colon + 1)) {
                fprintf(stderr, "%s: not NAME:FIELD=VALUE,...\n", argv[i]);
                return 2;
            }
        } else if (argv[i][0] == '-' || trace_count == MOST_TRACES) {
            fprintf(stderr, "%s: unknown, or no value\n", argv[i]);
            return 2;
        } else {
            load(argv[i], limit);
        }
    }
    if (customs == 0)
        add_parts();
    for (int i = 1; onlys > 0 && i < variant_count; i++) {
        bool wanted = false;
        for (int o = 0; o < onlys; o++)
            wanted |= strstr(variants[i].name, only[o]) != NULL;
        if (!wanted)
            variants[i--] = variants[--variant_count];
    }
    if (trace_count == 0) {
        generate("phases", limit, "kinds=zipf+recency+scan");
        generate("drift", limit, NULL);
        generate("mixed", limit, NULL);
    }
    add_cells(sizes, seeds < 1 ? 1 : seeds > MOST_SEEDS ? MOST_SEEDS : seeds);
    pthread_t thread[16];
    threads = threads < 1 ? 1 : threads > 16 ? 16 : threads;
    for (int i = 1; i < threads; i++)
        pthread_create(&thread[i], NULL, work, NULL);
    work(NULL);
    for (int i = 1; i < threads; i++)
        pthread_join(thread[i], NULL);
    add_up();
    print(markdown);
    for (int t = 0; t < trace_count; t++)
        free(traces[t].key);
    return 0;
}
