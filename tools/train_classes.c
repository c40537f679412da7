/* SPDX-License-Identifier: Apache-2.0 */
/*
 * train_classes FOLDER: makes the networks of src/experts from generated workloads: first classes.model and
 * blend.model, of the present, then, from what these say of other workloads, whole_classes.model and
 * whole_blend.model. The same arguments give the same bytes, whatever the number of threads; docs/workloads.md
 * says where they don't.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "experts/train.h"
#include "sim/blends.h"

enum { RUN_SAMPLES = 24, KEPT = 8 /* one run in so many is kept aside */ };
#define LEAST_REQUESTS 8192.0
#define MOST_REQUESTS  400000.0
#define FADE           0.75 /* what counts as the present fades as the first tier's figures do */
#define FIRST_WHOLE    2048.0
#define WHOLE_STEP     1.45 /* between the lengths of a run at which the whole is looked at */

struct run {
    uint32_t looks, count;
    struct tarn_workload_sample samples[RUN_SAMPLES];
};

struct work {
    struct run *runs;
    uint32_t run_count;
    /* NULL: samples of the present; else of the whole, by these */
    const struct tarn_workload_params *models;
    uint64_t seed;
    atomic_uint next;
    atomic_bool failed;
};

static void draw_spec(struct tarn_rng *rng, struct tarn_blend_spec *spec)
{
    double u = tarn_rng_double(rng);
    uint32_t parts = u < 0.36 ? 1 : u < 0.78 ? 2 : u < 0.92 ? 3 : u < 0.96 ? 4 : 5;
    /* many of them on a background of popular objects */
    int first = parts > 1 && tarn_rng_below(rng, 2) == 0 ? (int)TARN_WORKLOAD_ZIPF : -1;
    tarn_blend_draw(rng, TARN_BLEND_INSIDE, parts, first, spec);
}

/* What the present consists of, from faded counts. */
struct present {
    double counts[TARN_WORKLOAD_PARTS];
    uint64_t now[TARN_WORKLOAD_PARTS];
};

static bool shares_of(struct present *present, double fade, float *blend)
{
    double sum = 0;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++) {
        present->counts[k] = present->counts[k] * fade + (double)present->now[k];
        present->now[k] = 0;
        sum += present->counts[k];
    }
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        blend[k] = (float)(present->counts[k] / sum);
    return sum > 0;
}

/* One look, into a reservoir of RUN_SAMPLES. */
static void keep(struct run *run, struct tarn_rng *rng, const struct tarn_workload_sample *sample)
{
    uint32_t slot = run->looks < RUN_SAMPLES ? run->looks : tarn_rng_below(rng, run->looks + 1);
    run->looks++;
    if (slot < RUN_SAMPLES)
        run->samples[slot] = *sample;
    run->count = run->looks < RUN_SAMPLES ? run->looks : RUN_SAMPLES;
}

/* What is looked at: the present, or, with models, the whole. */
struct looker {
    struct tarn_stream *stream;
    struct tarn_workload *workload;
    double next; /* requests at which the whole is looked at */
    struct present present;
};

static bool open_looker(struct looker *looker, const struct tarn_workload_params *models,
                        struct tarn_rng *rng)
{
    struct tarn_error error;
    *looker = (struct looker){0};
    if (models == NULL)
        return tarn_stream_create(&looker->stream) == TARN_OK;
    looker->next = FIRST_WHOLE * pow(WHOLE_STEP, tarn_rng_double(rng));
    return tarn_workload_create(models, &looker->workload, &error) == TARN_OK;
}

static void close_looker(struct looker *looker)
{
    tarn_stream_destroy(&looker->stream);
    tarn_workload_destroy(&looker->workload);
}

/* A request; true if `sample` is new. */
static bool look_at(struct looker *looker, uint64_t hash, uint64_t requests,
                    struct tarn_workload_sample *sample)
{
    if (looker->stream != NULL) {
        if (!tarn_stream_access(looker->stream, hash, -1) ||
            !shares_of(&looker->present, FADE, sample->blend))
            return false;
        tarn_stream_features(looker->stream, sample->features);
        return true;
    }
    tarn_workload_access(looker->workload, hash, -1);
    if ((double)requests < looker->next)
        return false;
    looker->next *= WHOLE_STEP;
    tarn_workload_get_inputs(looker->workload, sample->features);
    return shares_of(&looker->present, 1, sample->blend);
}

/* One workload, or one after another; samples at random of its looks, all of them weighing the same. */
static bool make_run(uint64_t seed, const struct tarn_workload_params *models, struct run *run)
{
    struct tarn_rng rng;
    struct tarn_blend_spec spec;
    struct looker looker;
    tarn_blend *blend = NULL;
    struct tarn_error error;
    tarn_rng_seed(&rng, seed);
    uint64_t requests =
        (uint64_t)(LEAST_REQUESTS * pow(MOST_REQUESTS / LEAST_REQUESTS, tarn_rng_double(&rng)));
    uint64_t change =
        tarn_rng_below(&rng, 4) == 0 ? (uint64_t)((double)requests * tarn_rng_double(&rng)) : 0;
    draw_spec(&rng, &spec);
    bool ok =
        open_looker(&looker, models, &rng) && tarn_blend_create(&spec, &blend, &error) == TARN_OK;
    for (uint64_t i = 1; ok && i <= requests; i++) {
        struct tarn_workload_sample sample = {0};
        uint32_t component;
        uint64_t hash = tarn_blend_next(blend, &component);
        if (component < TARN_WORKLOAD_PARTS)
            looker.present.now[component]++;
        if (look_at(&looker, hash, i, &sample))
            keep(run, &rng, &sample);
        if (i == change) {
            tarn_blend_destroy(&blend);
            draw_spec(&rng, &spec);
            ok = tarn_blend_create(&spec, &blend, &error) == TARN_OK;
        }
    }
    tarn_blend_destroy(&blend);
    close_looker(&looker);
    return ok;
}

static void *make_runs(void *user)
{
    struct work *work = user;
    for (;;) {
        uint32_t i = atomic_fetch_add(&work->next, 1);
        if (i >= work->run_count || atomic_load(&work->failed))
            return NULL;
        if (!make_run(work->seed * 1000003 + i, work->models, &work->runs[i]))
            atomic_store(&work->failed, true);
    }
}

static bool make_all(struct work *work)
{
    enum { MOST = 16 };
    pthread_t thread[MOST];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int count = 0, wanted = cores < 1 ? 1 : cores > MOST ? MOST : (int)cores;
    while (count < wanted && pthread_create(&thread[count], NULL, make_runs, work) == 0)
        count++;
    if (count == 0)
        make_runs(work);
    for (int i = 0; i < count; i++)
        pthread_join(thread[i], NULL);
    return !atomic_load(&work->failed);
}

static void show(void *user, uint32_t steps, float loss)
{
    (void)user;
    if (steps % 5000 < 8)
        fprintf(stderr, "%u steps, loss %.4f\n", steps, (double)loss);
}

static int train(const char *folder, const struct tarn_workload_train_params *params,
                 struct tarn_model **model)
{
    static const char *const names[] = {"classes", "blend", "whole_classes", "whole_blend"};
    char path[4096];
    struct tarn_error error;
    struct tarn_workload_trained trained;
    snprintf(path, sizeof path, "%s/%s.model", folder, names[params->network]);
    tarn_status status = tarn_workload_train(params, model, &trained, &error);
    if (status == TARN_OK)
        status = tarn_model_save(*model, path, &error);
    if (status != TARN_OK) {
        fprintf(stderr, "train_classes: %s\n", error.message);
        return 1;
    }
    printf("%s: temperature %.2f, kept aside: right %.3f, ECE %.3f, blend %.3f\n", path,
           (double)trained.temperature, (double)trained.right, (double)trained.ece,
           (double)trained.blend_error);
    fflush(stdout);
    return 0;
}

/* The samples of all runs, those that are kept aside behind the others. */
static struct tarn_workload_sample *gather(const struct work *work, size_t *count, size_t *kept)
{
    struct tarn_workload_sample *all = malloc((size_t)work->run_count * RUN_SAMPLES * sizeof *all);
    *count = *kept = 0;
    for (int pass = 0; pass < 2 && all != NULL; pass++)
        for (uint32_t i = 0; i < work->run_count; i++) {
            const struct run *run = &work->runs[i];
            if ((i % KEPT == 0) != (pass == 1))
                continue;
            memcpy(all + *count + *kept, run->samples, run->count * sizeof *all);
            *(pass == 0 ? count : kept) += run->count;
        }
    return all;
}

/* Two networks from one set of workloads; false: a message was printed. */
static bool train_pair(const char *folder, struct work *work, uint32_t steps, bool whole,
                       struct tarn_model **models)
{
    char provenance[256];
    size_t count, kept;
    struct tarn_workload_sample *samples = NULL;
    memset(work->runs, 0, work->run_count * sizeof *work->runs);
    atomic_store(&work->next, 0);
    if (make_all(work))
        samples = gather(work, &count, &kept);
    if (samples == NULL) {
        fprintf(stderr, "train_classes: out of memory\n");
        return false;
    }
    snprintf(provenance, sizeof provenance,
             "tarn %s train_classes, seed %llu, %u generated workloads, %zu samples, %u steps\n",
             TARN_VERSION, (unsigned long long)work->seed, (unsigned)work->run_count, count,
             (unsigned)steps);
    struct tarn_workload_train_params params = {
        .samples = samples,
        .count = count,
        .kept = samples + count,
        .kept_count = kept,
        .network = whole ? TARN_WORKLOAD_WHOLE_CLASS : TARN_WORKLOAD_NOW_CLASS,
        .steps = steps,
        .seed = work->seed,
        .provenance = provenance,
        .progress = show,
    };
    int code = train(folder, &params, &models[0]);
    params.network++;
    if (code == 0)
        code = train(folder, &params, &models[1]);
    free(samples);
    return code == 0;
}

/* In the places of networks that aren't asked: so those that are built in don't matter. */
static struct tarn_model *make_silent(uint32_t outputs)
{
    static const float weights[TARN_WORKLOAD_INPUTS * 2 + 64];
    const struct tarn_shape shape = {TARN_WORKLOAD_INPUTS, 2, 2, outputs};
    struct tarn_model *model = NULL;
    tarn_model_create(&shape, weights, "", &model);
    return model;
}

int main(int argc, char **argv)
{
    uint32_t steps = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 140000;
    struct tarn_model *models[TARN_WORKLOAD_NETWORKS] = {0};
    struct tarn_workload_params params = {0};
    struct work work = {
        .run_count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 70000,
        .seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1,
    };
    if (argc < 2 || work.run_count < KEPT || steps == 0) {
        fprintf(stderr, "usage: train_classes FOLDER [RUNS [STEPS [SEED]]]\n");
        return 2;
    }
    work.runs = malloc(work.run_count * sizeof *work.runs);
    if (work.runs == NULL) {
        fprintf(stderr, "train_classes: out of memory\n");
        return 1;
    }
    bool ok = train_pair(argv[1], &work, steps, false, models);
    /* what the first two say of workloads that they know is no measure: others for the next two */
    params.network[TARN_WORKLOAD_NOW_CLASS] = models[0];
    params.network[TARN_WORKLOAD_NOW_BLEND] = models[1];
    struct tarn_model *silent[] = {make_silent(TARN_WORKLOADS - 1),
                                   make_silent(TARN_WORKLOAD_PARTS - 1)};
    params.network[TARN_WORKLOAD_WHOLE_CLASS] = silent[0];
    params.network[TARN_WORKLOAD_WHOLE_BLEND] = silent[1];
    work.models = &params;
    work.seed++;
    ok = ok && train_pair(argv[1], &work, steps, true, models + 2);
    for (int k = 0; k < TARN_WORKLOAD_NETWORKS; k++)
        tarn_model_destroy(&models[k]);
    tarn_model_destroy(&silent[0]);
    tarn_model_destroy(&silent[1]);
    free(work.runs);
    return ok ? 0 : 1;
}
