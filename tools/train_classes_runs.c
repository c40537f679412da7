/* SPDX-License-Identifier: Apache-2.0 */
#include "train_classes.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "sim/blends.h"
#include "trace/gen.h"
#include "trace/trace.h"

enum {
    RUN_SAMPLES = 24,
    KEPT = 8, /* one run in so many is kept aside */
    WINDOWS = 160 /* of a trace */,
    NAMED = 60000,
    LEAST_WINDOW = 8192,
    MOST_WINDOW = 400000,
    WAYS = TARN_BLEND_WAYS,
    MOST_SETS = 1024 / WAYS, /* of the cache in front */
    FRONT = 64               /* it has at most one in so many of the objects */
};
#define LEAST_REQUESTS 8192.0
#define MOST_REQUESTS  250000.0
#define FADE           0.75 /* what counts as the present fades as the first tier's figures do */
#define FIRST_WHOLE    2048.0
#define WHOLE_STEP     1.45 /* between the lengths of a run at which the whole is looked at */

static bool fail(const char *message)
{
    fprintf(stderr, "train_classes: %s\n", message);
    return false;
}

static bool add_look(struct run *run, const struct tarn_stream *stream, uint64_t requests,
                     uint32_t now[TARN_WORKLOAD_PARTS])
{
    if (run->count == run->room) {
        uint32_t room = run->room == 0 ? 16 : run->room * 2;
        struct look *looks = realloc(run->looks, room * sizeof *looks);
        if (looks == NULL)
            return false;
        run->looks = looks;
        run->room = room;
    }
    struct look *look = &run->looks[run->count++];
    look->requests = (uint32_t)requests;
    memcpy(look->now, now, sizeof look->now);
    memset(now, 0, sizeof look->now);
    tarn_stream_features(stream, look->features);
    return true;
}

void free_runs(struct run_set *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        free(set->runs[i].looks);
    free(set->runs);
    *set = (struct run_set){0};
}

/* ---- generated ---- */

struct work {
    struct run_set *set;
    uint64_t seed;
    atomic_uint next;
    atomic_bool failed;
};

static tarn_status draw_blend(struct tarn_rng *rng, tarn_blend_range range, bool varied,
                              tarn_blend **blend)
{
    struct tarn_blend_spec spec;
    struct tarn_error error;
    double u = tarn_rng_double(rng);
    uint32_t parts = u < 0.36 ? 1 : u < 0.78 ? 2 : u < 0.92 ? 3 : u < 0.96 ? 4 : 5;
    /* many of them on a background of popular objects */
    int first = parts > 1 && tarn_rng_below(rng, 2) == 0 ? (int)TARN_WORKLOAD_ZIPF : -1;
    tarn_blend_draw(rng, range, parts, first, &spec);
    if (varied)
        tarn_blend_vary(rng, range, &spec);
    return tarn_blend_create(&spec, blend, &error);
}

/* One workload, or one after another. Half of those that are kept aside are beyond those of training. */
static bool make_run(uint64_t seed, tarn_blend_range range, struct run *run)
{
    struct tarn_rng rng;
    struct tarn_stream *stream = NULL;
    tarn_blend *blend = NULL;
    uint32_t now[TARN_WORKLOAD_PARTS] = {0}, component;
    tarn_rng_seed(&rng, seed);
    uint64_t requests =
        (uint64_t)(LEAST_REQUESTS * pow(MOST_REQUESTS / LEAST_REQUESTS, tarn_rng_double(&rng)));
    uint64_t change =
        tarn_rng_below(&rng, 4) == 0 ? (uint64_t)((double)requests * tarn_rng_double(&rng)) : 0;
    bool varied = tarn_rng_below(&rng, 2) == 0;
    bool ok = tarn_stream_create(&stream) == TARN_OK &&
              draw_blend(&rng, range, varied, &blend) == TARN_OK;
    for (uint64_t i = 1; ok && i <= requests; i++) {
        uint64_t hash = tarn_blend_next(blend, &component);
        if (component < TARN_WORKLOAD_PARTS)
            now[component]++;
        if (tarn_stream_access(stream, hash, -1))
            ok = add_look(run, stream, i, now);
        if (i == change) {
            tarn_blend_destroy(&blend);
            ok = ok && draw_blend(&rng, range, varied, &blend) == TARN_OK;
        }
    }
    tarn_blend_destroy(&blend);
    tarn_stream_destroy(&stream);
    return ok;
}

static void *make_runs(void *user)
{
    struct work *work = user;
    for (;;) {
        uint32_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->set->count || atomic_load(&work->failed))
            return NULL;
        tarn_blend_range range = i % (2 * KEPT) == KEPT ? TARN_BLEND_OUTSIDE : TARN_BLEND_INSIDE;
        if (!make_run(work->seed * 1000003 + i, range, &work->set->runs[i]))
            atomic_store(&work->failed, true);
    }
}

bool draw_runs(uint32_t count, uint64_t seed, struct run_set *set)
{
    enum { MOST = 16 };
    pthread_t thread[MOST];
    struct work work = {.set = set, .seed = seed};
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = 0, wanted = cores < 1 ? 1 : cores > MOST ? MOST : (int)cores;
    set->runs = calloc(count, sizeof *set->runs);
    if (set->runs == NULL)
        return fail("out of memory");
    set->count = count;
    while (threads < wanted && pthread_create(&thread[threads], NULL, make_runs, &work) == 0)
        threads++;
    if (threads == 0)
        make_runs(&work);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    return !atomic_load(&work.failed) || fail("out of memory");
}

/* ---- the generators by their names ---- */

static double draw_between(struct tarn_rng *rng, double least, double most)
{
    return least * pow(most / least, tarn_rng_double(rng));
}

/* What `tarn trace gen` makes of a name: of which class each request is, isn't known. */
static bool make_named(uint64_t seed, int name, struct run *run)
{
    struct tarn_rng rng;
    tarn_gen *gen;
    struct tarn_error error;
    struct tarn_stream *stream;
    struct tarn_request request;
    char alpha[32], share[32];
    const char *settings[] = {alpha, share};
    uint32_t now[TARN_WORKLOAD_PARTS] = {0};
    tarn_rng_seed(&rng, seed);
    uint64_t requests = (uint64_t)draw_between(&rng, LEAST_REQUESTS, MOST_REQUESTS);
    snprintf(alpha, sizeof alpha, "alpha=%.3f", 0.6 + 0.7 * tarn_rng_double(&rng));
    snprintf(share, sizeof share, "share=%.3f", 0.2 + 0.5 * tarn_rng_double(&rng));
    bool shared = name == TARN_WORKLOAD_SCAN || name == TARN_WORKLOAD_BURST;
    const struct tarn_gen_params params = {
        .kind = tarn_workload_name((tarn_workload_class)name),
        .requests = requests,
        .objects = (uint64_t)draw_between(&rng, 300, 45000),
        .seed = tarn_rng_next(&rng),
        .settings = settings,
        .setting_count = shared ? 2 : 1,
    };
    run->name = name;
    if (tarn_stream_create(&stream) != TARN_OK)
        return false;
    bool ok = tarn_gen_create(&params, &gen, &error) == TARN_OK;
    for (uint64_t i = 1; ok && tarn_gen_read(gen, &request, 1) == 1; i++)
        if (tarn_stream_access(stream, tarn_hash(&request.key, sizeof request.key), -1))
            ok = add_look(run, stream, i, now);
    if (ok)
        tarn_gen_destroy(&gen);
    tarn_stream_destroy(&stream);
    return ok;
}

bool draw_named(uint32_t count, uint64_t seed, struct run_set *set)
{
    set->runs = calloc(count, sizeof *set->runs);
    if (set->runs == NULL)
        return fail("out of memory");
    set->count = count;
    for (uint32_t i = 0; i < count; i++)
        if (!make_named(seed * 1000003 + i, (int)(i % TARN_WORKLOADS), &set->runs[i]))
            return fail("out of memory");
    return true;
}

/* ---- traces ---- */

/* Where a window is, and what is left of its requests. */
struct window {
    size_t begin, length;
    uint64_t mask, salt; /* keys are left whose salted hash has none of these bits */
    uint64_t sets;       /* of the cache in front; 0: none */
    uint64_t front[MOST_SETS][WAYS];
};

static void draw_window(struct tarn_rng *rng, const struct tarn_trace_data *data,
                        struct window *window)
{
    uint64_t rate = (uint64_t)1 << tarn_rng_below(rng, 3);
    if (data->count / rate < 2 * LEAST_WINDOW)
        rate = 1;
    size_t room = data->count / rate < MOST_WINDOW ? data->count / rate : MOST_WINDOW;
    double least = room < LEAST_WINDOW ? (double)room : LEAST_WINDOW;
    *window = (struct window){.mask = rate - 1, .salt = tarn_rng_next(rng)};
    window->length = (size_t)(least * pow((double)room / least, tarn_rng_double(rng)));
    size_t span = window->length * rate < data->count ? window->length * rate : data->count;
    window->begin = (size_t)(tarn_rng_double(rng) * (double)(data->count - span));
    uint64_t most = data->objects / rate / FRONT / WAYS;
    if (most > 0 && tarn_rng_below(rng, 3) == 0)
        window->sets = 1 + tarn_rng_below(rng, (uint32_t)(most < MOST_SETS ? most : MOST_SETS));
}

static bool cut_window(const struct tarn_trace_data *data, struct window *window, struct run *run)
{
    struct tarn_stream *stream;
    uint32_t now[TARN_WORKLOAD_PARTS] = {0};
    size_t taken = 0;
    if (tarn_stream_create(&stream) != TARN_OK)
        return false;
    bool ok = true;
    for (size_t i = window->begin; ok && i < data->count && taken < window->length; i++) {
        uint64_t key = data->key[data->object[i]];
        uint64_t hash = tarn_mix64(tarn_hash(&key, sizeof key) + window->salt);
        /* the stream has its own use for the hash's ends */
        if ((hash >> 32 & window->mask) != 0 ||
            (window->sets > 0 && tarn_blend_front(window->front[hash % window->sets], hash)))
            continue;
        if (tarn_stream_access(stream, hash, -1))
            ok = add_look(run, stream, taken + 1, now);
        taken++;
    }
    tarn_stream_destroy(&stream);
    return ok;
}

static bool cut_trace(const char *labels, const char *path, uint64_t seed, struct run *runs)
{
    struct tarn_trace_data *data;
    struct tarn_error error;
    struct tarn_rng rng;
    struct window *window = malloc(sizeof *window);
    if (window == NULL)
        return fail("out of memory");
    if (tarn_trace_load(path, &(struct tarn_trace_load_params){0}, &data, &error) != TARN_OK) {
        free(window);
        return fail(error.message);
    }
    int name = tarn_blend_label(labels, data->name);
    bool ok = name >= 0;
    if (!ok)
        fprintf(stderr, "train_classes: no class for %s\n", data->name);
    tarn_rng_seed(&rng, seed);
    for (int i = 0; i < WINDOWS && ok; i++) {
        runs[i].name = name;
        snprintf(runs[i].trace, sizeof runs[i].trace, "%.63s", data->name);
        snprintf(runs[i].source, sizeof runs[i].source, "%.*s", (int)strcspn(data->name, "_"),
                 runs[i].trace);
        draw_window(&rng, data, window);
        ok = cut_window(data, window, &runs[i]);
    }
    tarn_trace_data_free(&data);
    free(window);
    return ok;
}

bool cut_traces(const char *labels, char **paths, int count, struct run_set *set)
{
    set->runs = calloc((size_t)count * WINDOWS + 1, sizeof *set->runs);
    if (set->runs == NULL)
        return fail("out of memory");
    for (int i = 0; i < count; i++) {
        if (!cut_trace(labels, paths[i], 900 + (uint64_t)i, set->runs + set->count))
            return false;
        set->count += WINDOWS;
    }
    return true;
}

/* ---- samples ---- */

/* One look, into a reservoir. */
static void keep(uint32_t *looks, struct tarn_rng *rng, const struct tarn_workload_sample *sample,
                 struct tarn_workload_sample *samples)
{
    uint32_t slot = *looks < RUN_SAMPLES ? *looks : tarn_rng_below(rng, *looks + 1);
    ++*looks;
    if (slot < RUN_SAMPLES)
        samples[slot] = *sample;
}

/* What the requests counted so far consist of; of a window, anything that is called so. */
static bool blend_of(const struct run *run, bool is_window, const double *counts, float *blend)
{
    double sum = 0;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        sum += counts[k];
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        blend[k] = is_window ? run->name == TARN_WORKLOAD_MIXED ? 0.2f : (float)(run->name == k)
                             : (float)(counts[k] / sum);
    return is_window || sum > 0;
}

/* At random of a run's looks, all of them weighing the same; how many, or -1: no memory. */
static int sample_run(const struct run *run, bool is_window,
                      const struct tarn_workload_params *models, struct tarn_rng *rng,
                      struct tarn_workload_sample samples[RUN_SAMPLES])
{
    struct tarn_workload *workload = NULL;
    struct tarn_error error;
    double counts[TARN_WORKLOAD_PARTS] = {0};
    double next = FIRST_WHOLE * pow(WHOLE_STEP, tarn_rng_double(rng));
    uint32_t looks = 0;
    if (models != NULL && tarn_workload_create(models, &workload, &error) != TARN_OK)
        return -1;
    for (uint32_t i = 0; i < run->count; i++) {
        const struct look *look = &run->looks[i];
        struct tarn_workload_sample sample = {0};
        for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
            counts[k] = counts[k] * (models != NULL ? 1 : FADE) + look->now[k];
        if (models != NULL) {
            tarn_workload_look(workload, look->features, look->requests);
            if (look->requests < next)
                continue;
            while (next <= look->requests)
                next *= WHOLE_STEP;
            tarn_workload_get_inputs(workload, sample.features);
        } else
            memcpy(sample.features, look->features, sizeof look->features);
        if (blend_of(run, is_window, counts, sample.blend))
            keep(&looks, rng, &sample, samples);
    }
    tarn_workload_destroy(&workload);
    return (int)(looks < RUN_SAMPLES ? looks : RUN_SAMPLES);
}

/* Those that are kept aside behind the others. */
static bool gather_generated(const struct run_set *runs, const struct tarn_workload_params *models,
                             struct tarn_rng *rng, struct sample_set *set)
{
    size_t *n[2] = {&set->count, &set->kept_count};
    set->samples = malloc((size_t)runs->count * RUN_SAMPLES * sizeof *set->samples);
    for (int pass = 0; pass < 2 && set->samples != NULL; pass++)
        for (uint32_t i = 0; i < runs->count; i++) {
            if ((i % KEPT == 0) != (pass == 1))
                continue;
            int got = sample_run(&runs->runs[i], false, models, rng,
                                 set->samples + set->count + set->kept_count);
            if (got < 0)
                return false;
            *n[pass] += (size_t)got;
        }
    return set->samples != NULL;
}

static bool is_other(const struct run *a, const struct run *b, bool by_source)
{
    return strcmp(by_source ? a->source : a->trace, by_source ? b->source : b->trace) != 0;
}

/* Windows lie trace by trace, but a source's traces anywhere. Sources even, then traces, then windows. */
static uint32_t draw_window_of(const struct run_set *windows, const char *out, struct tarn_rng *rng)
{
    uint32_t chosen = 0, sources = 0, traces = 0;
    for (uint32_t i = 0; i < windows->count; i += WINDOWS) {
        const struct run *run = &windows->runs[i];
        bool is_new = out == NULL || strcmp(run->source, out) != 0;
        for (uint32_t k = 0; k < i && is_new; k += WINDOWS)
            is_new = is_other(run, &windows->runs[k], true);
        if (is_new && tarn_rng_below(rng, ++sources) == 0)
            chosen = i;
    }
    const struct run *source = &windows->runs[chosen];
    for (uint32_t i = 0; i < windows->count; i += WINDOWS)
        if (!is_other(source, &windows->runs[i], true) && tarn_rng_below(rng, ++traces) == 0)
            chosen = i;
    return chosen + tarn_rng_below(rng, WINDOWS);
}

/* Samples of those runs that are for this, [run][RUN_SAMPLES]. */
struct pool {
    struct tarn_workload_sample (*of)[RUN_SAMPLES];
    int *got;
    uint32_t runs; /* that there are samples of */
};

static void free_pool(struct pool *pool)
{
    free(pool->of);
    free(pool->got);
}

static bool fill_pool(const struct run_set *set, bool (*is_for)(const struct run *, const char *),
                      const char *what, const struct tarn_workload_params *models,
                      struct tarn_rng *rng, struct pool *pool)
{
    *pool = (struct pool){
        .of = calloc((size_t)set->count + 1, sizeof *pool->of),
        .got = calloc((size_t)set->count + 1, sizeof *pool->got),
    };
    bool ok = pool->of != NULL && pool->got != NULL;
    for (uint32_t i = 0; ok && i < set->count; i++) {
        if (!is_for(&set->runs[i], what))
            continue;
        pool->got[i] = sample_run(&set->runs[i], true, models, rng, pool->of[i]);
        ok = pool->got[i] >= 0;
        pool->runs += pool->got[i] > 0;
    }
    return ok;
}

static bool is_from_elsewhere(const struct run *run, const char *out)
{
    return out == NULL || strcmp(run->source, out) != 0;
}

static bool is_any(const struct run *run, const char *unused)
{
    (void)unused;
    return run->count > 0;
}

static bool gather_named(const struct corpus *corpus, const char *out, float window_share,
                         const struct tarn_workload_params *models, struct tarn_rng *rng,
                         struct sample_set *set)
{
    struct pool windows = {0}, kinds = {0};
    const struct run_set *named = &corpus->named[models != NULL];
    set->named = malloc(NAMED * sizeof *set->named);
    bool ok = set->named != NULL &&
              fill_pool(&corpus->windows, is_from_elsewhere, out, models, rng, &windows) &&
              fill_pool(named, is_any, NULL, models, rng, &kinds);
    set->windows = windows.runs;
    while (ok && kinds.runs > 0 && set->named_count < NAMED) {
        bool is_window = windows.runs > 0 && tarn_rng_float(rng) < window_share;
        const struct pool *pool = is_window ? &windows : &kinds;
        uint32_t i = is_window ? draw_window_of(&corpus->windows, out, rng)
                               : tarn_rng_below(rng, named->count);
        if (pool->got[i] > 0)
            set->named[set->named_count++] =
                pool->of[i][tarn_rng_below(rng, (uint32_t)pool->got[i])];
    }
    free_pool(&windows);
    free_pool(&kinds);
    return ok;
}

bool gather_samples(const struct corpus *corpus, const char *out, float window_share,
                    const struct tarn_workload_params *models, uint64_t seed,
                    struct sample_set *set)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed ^ 0x77696e64u);
    *set = (struct sample_set){0};
    if (gather_generated(&corpus->generated[models != NULL], models, &rng, set) &&
        gather_named(corpus, out, window_share, models, &rng, set))
        return true;
    free_samples(set);
    return false;
}

void free_samples(struct sample_set *set)
{
    free(set->samples);
    free(set->named);
    *set = (struct sample_set){0};
}
