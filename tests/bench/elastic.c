/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one elastic network costs against networks of each width trained alone: all are trained on the same
 * samples, their losses compared on samples kept aside, and traces that they haven't seen replayed with each.
 *
 *     bench_elastic [--steps N] [--limit N] [--seeds N] [--size 1,10] [--learn] [--save FOLDER]
 *                   [--train TRACE]... TRACE...
 *
 * Weights stay as they are during the replay, unless --learn. The gap is that between LRU's misses and Belady's,
 * of which a share is closed; cells with a gap under 0.02 or fewer than 50 objects don't count.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/engine.h>
#include <tarn/model.h>

#include "base/clock.h"
#include "base/rng.h"
#include "engine/engine_private.h"
#include "engine/width.h"
#include "kernels/layout.h"
#include "model/model.h"
#include "sim/collect.h"
#include "sim/replay.h"
#include "trace/trace.h"

enum { MOST_TRACES = 64, MOST_CELLS = 128, MOST_SEEDS = 8, KEPT_ASIDE = 10 };

static struct options {
    uint32_t steps;
    uint64_t limit, seed, seeds;
    double size[4];
    int sizes;
    bool learn;
    const char *save;
} options = {.steps = 30000, .limit = 300000, .seeds = 1, .size = {0.01, 0.1}, .sizes = 2};

static void give_up(const char *why)
{
    fprintf(stderr, "%s\n", why);
    exit(2);
}

/* ---- what is compared ---- */

static const struct network {
    const char *name;
    uint32_t widths[4];
    size_t count;
    bool exits;
} networks[] = {
    {"alone-32", {32}, 1, false},
    {"alone-16", {16}, 1, false},
    {"alone-8", {8}, 1, false},
    {"nested", {8, 16, 32}, 3, false},
    {"nested-exit", {8, 16, 32}, 3, true},
};
enum { NETWORKS = sizeof networks / sizeof *networks };

static const struct form {
    const char *name;
    int network, alone; /* what it is a part of, and its like trained alone; -1: none */
    uint32_t slice;
} forms[] = {
    {"32 alone", 0, -1, 0},
    {"16 alone", 1, -1, 0},
    {"8 alone", 2, -1, 0},
    {"nested 32", 3, 0, 0},
    {"nested 16", 3, 1, TARN_SLICE(16, 0)},
    {"nested 8", 3, 2, TARN_SLICE(8, 0)},
    {"with exits 32", 4, 0, 0},
    {"with exits 16", 4, 1, TARN_SLICE(16, 0)},
    {"with exits 8", 4, 2, TARN_SLICE(8, 0)},
    {"exit from 32", 4, -1, TARN_SLICE(0, 1)},
    {"exit from 16", 4, -1, TARN_SLICE(16, 1)},
    {"exit from 8", 4, -1, TARN_SLICE(8, 1)},
};
enum { FORMS = sizeof forms / sizeof *forms };

static tarn_model *models[NETWORKS];

/* ---- training ---- */

static struct tarn_trace_data *load(const char *path)
{
    struct tarn_trace_data *data = NULL;
    struct tarn_error error = {0};
    if (tarn_trace_load(path, &(struct tarn_trace_load_params){.limit = options.limit}, &data,
                        &error) != TARN_OK)
        give_up(error.message);
    return data;
}

/* The last samples of each run are kept aside. */
static void train(const struct tarn_collected *all)
{
    struct tarn_model_run *runs = malloc(all->run_count * sizeof *runs);
    if (runs == NULL)
        give_up("out of memory");
    for (size_t i = 0; i < all->run_count; i++) {
        runs[i] = all->runs[i];
        runs[i].count -= runs[i].count / KEPT_ASIDE;
    }
    for (int n = 0; n < NETWORKS; n++) {
        struct tarn_error error = {0};
        const struct tarn_model_pretrain_params params = {
            .runs = runs,
            .run_count = all->run_count,
            .steps = options.steps,
            .seed = options.seed,
            .widths = networks[n].widths,
            .width_count = networks[n].count,
            .early_exit = networks[n].exits,
            .provenance = networks[n].name,
        };
        if (tarn_model_pretrain(&params, &models[n], &error) != TARN_OK)
            give_up(error.message);
        if (options.save != NULL) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%s.model", options.save, networks[n].name);
            if (tarn_model_save(models[n], path, &error) != TARN_OK)
                give_up(error.message);
        }
    }
    free(runs);
}

/* Mean over the runs of the mean loss of what was kept aside. */
static double loss_of(const struct tarn_collected *all, const struct form *form)
{
    const tarn_model *m = models[form->network];
    double sum = 0;
    for (size_t r = 0; r < all->run_count; r++) {
        size_t count = all->runs[r].count / KEPT_ASIDE;
        const struct tarn_model_sample *s = all->runs[r].samples + all->runs[r].count - count;
        double loss = 0;
        for (size_t i = 0; i < count; i++) {
            float tile[TARN_FEATURES * TARN_LANES] = {0}, logits[TARN_MAX_BINS * TARN_LANES];
            for (int f = 0; f < TARN_FEATURES; f++)
                tile[f * TARN_LANES] = (float)s[i].features[f] * TARN_FEATURE_STEP;
            tarn_logits_slice_host(&m->shape, form->slice, m->weights, tile, 1, logits);
            loss += (double)tarn_net_loss(logits, TARN_LANES, m->shape.outputs, s[i].label);
        }
        sum += loss / (double)count;
    }
    return sum / (double)all->run_count;
}

/* CPU time of a score, ns: the least of several. */
static double time_of(const struct form *form)
{
    enum { N = 4096, ROUNDS = 15 };
    static float tiles[N * TARN_FEATURES], scores[N];
    const tarn_model *m = models[form->network];
    double least = INFINITY;
    for (int i = 0; i < N * TARN_FEATURES; i++)
        tiles[i] = (float)(i * 37 % 256 - 128) * TARN_FEATURE_STEP;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = tarn_clock_thread_cpu_ns();
        tarn_forward_slice_host(&m->shape, form->slice, m->weights, tiles, N, scores);
        least = fmin(least, (double)(tarn_clock_thread_cpu_ns() - start) / N);
    }
    return least;
}

/* Bytes of the weights that are read. */
static size_t bytes_of(const struct form *form)
{
    struct tarn_shape s = models[form->network]->shape;
    s.hidden1 = TARN_SLICE_UNITS(form->slice, s.hidden1);
    s.hidden2 = TARN_SLICE_UNITS(form->slice, s.hidden2);
    size_t count = tarn_shape_weights(&s);
    if (TARN_SLICE_EXITS(form->slice))
        count -= (size_t)s.hidden2 * (s.hidden1 + 1);
    return count * sizeof(float);
}

/* ---- replay ---- */

struct cell {
    char name[80];
    double lru, belady, miss[FORMS];
};

static struct cell cells[MOST_SEEDS][MOST_CELLS];
static int cell_count; /* the same for each seed */

static double replay(const struct tarn_trace_data *trace, double size, const struct form *form,
                     const char *policy)
{
    struct tarn_error error = {0};
    struct tarn_replay_result result;
    struct tarn_replay_params params = {.run = {.seed = options.seed}};
    struct tarn_replay_limit limit = {
        .text = "", .capacity = (uint64_t)(size * trace->objects), .objects = true};
    if (form != NULL) {
        uint32_t width = TARN_SLICE_WIDTH(form->slice);
        params.learning.engine = (struct tarn_engine_params){
            .device = "host",
            .model = models[form->network],
            .no_learn = !options.learn,
            .width = width > 0 ? width : models[form->network]->shape.hidden1,
            .early_exit = TARN_SLICE_EXITS(form->slice),
        };
    }
    if (limit.capacity < 50)
        return NAN;
    if (tarn_replay_run(trace, policy, &limit, &params, &result, &error) != TARN_OK)
        give_up(error.message);
    double ratio = tarn_run_miss_ratio(&result.run);
    tarn_replay_result_clear(&result);
    return ratio;
}

static void replay_all(const char *path)
{
    struct tarn_trace_data *trace = load(path);
    for (int s = 0; s < options.sizes && cell_count < MOST_CELLS; s++) {
        struct cell *c = &cells[options.seed][cell_count];
        snprintf(c->name, sizeof c->name, "%.60s %g%%", trace->name, 100 * options.size[s]);
        c->lru = replay(trace, options.size[s], NULL, "lru");
        c->belady = replay(trace, options.size[s], NULL, "belady");
        if (!(c->lru - c->belady >= 0.02))
            continue;
        for (int f = 0; f < FORMS; f++)
            c->miss[f] = replay(trace, options.size[s], &forms[f], "learned");
        fprintf(
            stderr,
            "%-40s LRU %.4f Belady %.4f; 32, 16, 8 alone %.4f %.4f %.4f, nested %.4f %.4f %.4f\n",
            c->name, c->lru, c->belady, c->miss[0], c->miss[1], c->miss[2], c->miss[3], c->miss[4],
            c->miss[5]);
        cell_count++;
    }
    tarn_trace_data_free(&trace);
}

static double losses[FORMS]; /* sums over the seeds */

/* Of the seeds' means over all cells. */
struct figure {
    double mean, error;
};

static struct figure figure_of(const double *values)
{
    struct figure f = {0, 0};
    double n = (double)options.seeds;
    for (uint64_t i = 0; i < options.seeds; i++)
        f.mean += values[i] / n;
    for (uint64_t i = 0; i < options.seeds; i++)
        f.error += (values[i] - f.mean) * (values[i] - f.mean);
    f.error = n > 1 ? sqrt(f.error / (n - 1) / n) : 0;
    return f;
}

static double closed_of(uint64_t seed, int form)
{
    double sum = 0;
    for (const struct cell *c = cells[seed]; c < cells[seed] + cell_count; c++)
        sum += 100 * (c->lru - c->miss[form]) / (c->lru - c->belady) / cell_count;
    return sum;
}

static void print_table(const struct tarn_collected *all)
{
    printf("%d cells, %u steps, %d seeds, %zu runs of samples\n\n", cell_count, options.steps,
           (int)options.seeds, all->run_count);
    printf(
        "| network | weights, bytes | ns a score | loss | gap closed, %% | against alone | misses "
        "against LRU |\n|---|---|---|---|---|---|---|\n");
    for (int f = 0; f < FORMS; f++) {
        char against[48] = "";
        double closed[MOST_SEEDS], less[MOST_SEEDS], misses = 0;
        for (uint64_t seed = 0; seed < options.seeds; seed++) {
            closed[seed] = closed_of(seed, f);
            less[seed] = forms[f].alone >= 0 ? closed[seed] - closed_of(seed, forms[f].alone) : 0;
            for (int c = 0; c < cell_count; c++)
                misses += log(cells[seed][c].miss[f] / cells[seed][c].lru) / cell_count /
                          (double)options.seeds;
        }
        struct figure own = figure_of(closed), difference = figure_of(less);
        if (forms[f].alone >= 0)
            snprintf(against, sizeof against, "%+.2f ± %.2f", difference.mean, difference.error);
        printf("| %s | %zu | %.1f | %.4f | %.2f ± %.2f | %s | %+.2f %% |\n", forms[f].name,
               bytes_of(&forms[f]), time_of(&forms[f]), losses[f] / (double)options.seeds, own.mean,
               own.error, against, 100 * (exp(misses) - 1));
    }
}

/* ---- the change itself ---- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Time from the wish to another width until the lock is free again, and of the request that comes next. */
static void time_changes(void)
{
    enum { OBJECTS = 20000, CHANGES = 2001 };
    static double change[CHANGES], next[CHANGES];
    tarn_engine *engine = NULL;
    struct tarn_error error = {0};
    uint64_t state = 1;
    const struct tarn_engine_params params = {
        .objects = OBJECTS,
        .device = "host",
        .background = TARN_BACKGROUND_STEPS,
        .model = models[NETWORKS - 1],
        .no_learn = true,
    };
    if (tarn_engine_create(&params, &engine, &error) != TARN_OK)
        give_up(error.message);
    tarn_cache *cache = tarn_engine_cache(engine);
    for (int i = 0; i < 3 * OBJECTS + CHANGES * 50; i++) {
        uint64_t key = tarn_splitmix64(&state) % (4 * OBJECTS), start = tarn_clock_ns();
        int at = (i - 3 * OBJECTS) / 50;
        bool changes = i >= 3 * OBJECTS && i % 50 == 0;
        size_t room = 0;
        if (changes) {
            tarn_width_press(engine, (uint32_t)at % 2);
            change[at] = (double)(tarn_clock_ns() - start) * 1e-3;
            start = tarn_clock_ns();
        }
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
            tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1});
        if (changes)
            next[at] = (double)(tarn_clock_ns() - start) * 1e-3;
        tarn_engine_step(engine);
    }
    qsort(change, CHANGES, sizeof *change, by_value);
    qsort(next, CHANGES, sizeof *next, by_value);
    printf("\nA change of the width takes %.2f us (p99 %.2f), the request after it %.2f us (p99 "
           "%.2f).\n",
           change[CHANGES / 2], change[CHANGES * 99 / 100], next[CHANGES / 2],
           next[CHANGES * 99 / 100]);
    tarn_engine_destroy(&engine);
}

/* ---- arguments ---- */

int main(int argc, char **argv)
{
    struct tarn_trace_data *traces[MOST_TRACES];
    const char *paths[MOST_TRACES];
    size_t trained = 0, replayed = 0;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--steps") == 0 && more) {
            options.steps = (uint32_t)strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--limit") == 0 && more) {
            options.limit = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--seeds") == 0 && more) {
            options.seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--size") == 0 && more) {
            char *rest = argv[++i];
            for (options.sizes = 0; *rest != '\0' && options.sizes < 4;) {
                options.size[options.sizes++] = strtod(rest, &rest) / 100;
                rest += *rest == ',';
            }
        } else if (strcmp(argv[i], "--learn") == 0) {
            options.learn = true;
        } else if (strcmp(argv[i], "--save") == 0 && more) {
            options.save = argv[++i];
        } else if (strcmp(argv[i], "--train") == 0 && more && trained < MOST_TRACES) {
            traces[trained++] = load(argv[++i]);
        } else if (argv[i][0] != '-' && replayed < MOST_TRACES) {
            paths[replayed++] = argv[i];
        } else {
            give_up("see the head of tests/bench/elastic.c");
        }
    }
    if (options.seeds < 1 || options.seeds > MOST_SEEDS)
        give_up("1 to 8 seeds");
    if (trained == 0)
        give_up("nothing to train on: --train TRACE");
    struct tarn_collected collected;
    struct tarn_error error = {0};
    const struct tarn_collect_params params = {
        .samples = 30000, .threads = 2, .seed = options.seed};
    if (tarn_collect((const struct tarn_trace_data *const *)traces, trained, &params, &collected,
                     &error) != TARN_OK)
        give_up(error.message);
    for (; options.seed < options.seeds; options.seed++) {
        for (int n = 0; n < NETWORKS; n++)
            tarn_model_destroy(&models[n]);
        train(&collected);
        for (int f = 0; f < FORMS; f++)
            losses[f] += loss_of(&collected, &forms[f]);
        cell_count = 0;
        for (size_t i = 0; i < replayed; i++)
            replay_all(paths[i]);
    }
    print_table(&collected);
    time_changes();
    tarn_collected_free(&collected);
    for (int n = 0; n < NETWORKS; n++)
        tarn_model_destroy(&models[n]);
    for (size_t i = 0; i < trained; i++)
        tarn_trace_data_free(&traces[i]);
    return 0;
}
