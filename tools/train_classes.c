/* SPDX-License-Identifier: Apache-2.0 */
/*
 * train_classes FOLDER: makes classes.model and blend.model of src/experts from generated workloads. The
 * same arguments give the same models on the same kind of CPU.
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

struct run {
    uint32_t count;
    struct tarn_workload_sample samples[RUN_SAMPLES];
};

struct work {
    struct run *runs;
    uint32_t run_count;
    uint64_t seed;
    atomic_uint next;
    atomic_bool failed;
};

static void draw_spec(struct tarn_rng *rng, struct tarn_blend_spec *spec)
{
    double u = tarn_rng_double(rng);
    uint32_t parts = u < 0.42 ? 1 : u < 0.82 ? 2 : u < 0.95 ? 3 : u < 0.98 ? 4 : 5;
    /* many of them on a background of popular objects */
    int first = parts > 1 && tarn_rng_below(rng, 2) == 0 ? (int)TARN_WORKLOAD_ZIPF : -1;
    tarn_blend_draw(rng, TARN_BLEND_INSIDE, parts, first, spec);
}

/* What the present consists of, from faded counts. */
struct present {
    double counts[TARN_WORKLOAD_PARTS];
    uint64_t now[TARN_WORKLOAD_PARTS];
};

static bool shares_of(struct present *present, float *blend)
{
    double sum = 0;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++) {
        present->counts[k] = present->counts[k] * FADE + (double)present->now[k];
        present->now[k] = 0;
        sum += present->counts[k];
    }
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        blend[k] = (float)(present->counts[k] / sum);
    return sum > 0;
}

/* One workload, or one after another; samples at random of its looks, all of them weighing the same. */
static bool make_run(uint64_t seed, struct run *run)
{
    struct tarn_rng rng;
    struct tarn_blend_spec spec;
    struct tarn_stream *stream = NULL;
    tarn_blend *blend = NULL;
    struct present present = {0};
    struct tarn_error error;
    tarn_rng_seed(&rng, seed);
    uint64_t requests =
        (uint64_t)(LEAST_REQUESTS * pow(MOST_REQUESTS / LEAST_REQUESTS, tarn_rng_double(&rng)));
    uint64_t change =
        tarn_rng_below(&rng, 4) == 0 ? (uint64_t)((double)requests * tarn_rng_double(&rng)) : 0;
    draw_spec(&rng, &spec);
    bool ok = tarn_stream_create(&stream) == TARN_OK &&
              tarn_blend_create(&spec, &blend, &error) == TARN_OK;
    uint64_t looks = 0;
    for (uint64_t i = 1; ok && i <= requests; i++) {
        uint32_t component;
        uint64_t hash = tarn_blend_next(blend, &component);
        if (component < TARN_WORKLOAD_PARTS)
            present.now[component]++;
        if (tarn_stream_access(stream, hash, -1)) {
            /* reservoir of RUN_SAMPLES */
            struct tarn_workload_sample sample;
            uint32_t slot =
                looks < RUN_SAMPLES ? (uint32_t)looks : tarn_rng_below(&rng, (uint32_t)looks + 1);
            looks++;
            if (shares_of(&present, sample.blend) && slot < RUN_SAMPLES) {
                tarn_stream_features(stream, sample.features);
                run->samples[slot] = sample;
                run->count = looks < RUN_SAMPLES ? (uint32_t)looks : RUN_SAMPLES;
            }
        }
        if (i == change) {
            tarn_blend_destroy(&blend);
            draw_spec(&rng, &spec);
            ok = tarn_blend_create(&spec, &blend, &error) == TARN_OK;
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
        if (i >= work->run_count || atomic_load(&work->failed))
            return NULL;
        if (!make_run(work->seed * 1000003 + i, &work->runs[i]))
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

static int train(const char *folder, const char *name,
                 const struct tarn_workload_train_params *params)
{
    char path[4096];
    struct tarn_error error;
    struct tarn_workload_trained trained;
    struct tarn_model *model = NULL;
    snprintf(path, sizeof path, "%s/%s.model", folder, name);
    tarn_status status = tarn_workload_train(params, &model, &trained, &error);
    if (status == TARN_OK)
        status = tarn_model_save(model, path, &error);
    tarn_model_destroy(&model);
    if (status != TARN_OK) {
        fprintf(stderr, "train_classes: %s\n", error.message);
        return 1;
    }
    printf("%s: temperature %.2f, kept aside: right %.3f, ECE %.3f, blend %.3f\n", path,
           (double)trained.temperature, (double)trained.right, (double)trained.ece,
           (double)trained.blend_error);
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

int main(int argc, char **argv)
{
    uint32_t steps = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 140000;
    struct work work = {
        .run_count = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 56000,
        .seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1,
    };
    if (argc < 2 || work.run_count < KEPT || steps == 0) {
        fprintf(stderr, "usage: train_classes FOLDER [RUNS [STEPS [SEED]]]\n");
        return 2;
    }
    work.runs = calloc(work.run_count, sizeof *work.runs);
    size_t count, kept;
    struct tarn_workload_sample *samples = NULL;
    if (work.runs != NULL && make_all(&work))
        samples = gather(&work, &count, &kept);
    if (samples == NULL) {
        fprintf(stderr, "train_classes: out of memory\n");
        return 1;
    }
    char provenance[256];
    snprintf(provenance, sizeof provenance,
             "tarn %s train_classes, seed %llu, %u generated workloads, %zu samples, %u steps\n",
             TARN_VERSION, (unsigned long long)work.seed, (unsigned)work.run_count, count,
             (unsigned)steps);
    struct tarn_workload_train_params params = {
        .samples = samples,
        .count = count,
        .kept = samples + count,
        .kept_count = kept,
        .steps = steps,
        .seed = work.seed,
        .provenance = provenance,
        .progress = show,
    };
    int code = train(argv[1], "classes", &params);
    params.blend = true;
    if (code == 0)
        code = train(argv[1], "blend", &params);
    free(samples);
    free(work.runs);
    return code;
}
