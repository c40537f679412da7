/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the networks of src/experts: first classes.model and blend.model, of the present, then, from what these say of
 * other workloads, whole_classes.model and whole_blend.model. From generated workloads alone, or with
 * traces whose class is known by name. The same arguments give the same bytes, whatever the number of threads;
 * docs/workloads.md says where they don't.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "train_classes.h"

enum { KINDS = 24 /* generated workloads for each of a generator by its name */ };

/* Of what the networks of classes learn from: generators by name; windows of traces, where there are any. */
#define KINDS_SHARE  0.1f
#define TRACES_SHARE 0.05f

static const char usage[] =
    "usage: train_classes [--runs N] [--steps N] [--seed N] [--each-out] FOLDER [LABELS.tsv "
    "TRACE...]\n"
    "  --runs N    generated workloads, for the present and for the whole each (50000)\n"
    "  --steps N   steps of 256 samples (80000)\n"
    "  --each-out  for each source of traces (their names up to the first _) instead: without that "
    "source, into\n"
    "              FOLDER/SOURCE\n"
    "LABELS.tsv: lines of name, tab, class\n";

struct job {
    const char *folder;
    uint32_t runs, steps;
    uint64_t seed;
    bool each_out;
    struct corpus corpus;
};

static void show(void *user, uint32_t steps, float loss)
{
    (void)user;
    if (steps % 5000 < 8)
        fprintf(stderr, "%u steps, loss %.4f\n", steps, (double)loss);
}

static bool train(const char *folder, const struct tarn_workload_train_params *params,
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
        return false;
    }
    printf("%s: temperature %.2f, kept aside: right %.3f, ECE %.3f, blend %.3f\n", path,
           (double)trained.temperature, (double)trained.right, (double)trained.ece,
           (double)trained.blend_error);
    fflush(stdout);
    return true;
}

/* Two networks; with `models` those of the whole. */
static bool train_pair(const struct job *job, const char *folder, const char *out,
                       const struct tarn_workload_params *models, struct tarn_model **trained)
{
    struct sample_set samples;
    char provenance[512], traces[128] = "";
    uint64_t seed = job->seed + (models != NULL);
    if (!gather_samples(&job->corpus, out, TRACES_SHARE / (KINDS_SHARE + TRACES_SHARE), models,
                        seed, &samples)) {
        fprintf(stderr, "train_classes: out of memory\n");
        return false;
    }
    if (samples.windows > 0)
        snprintf(traces, sizeof traces, ", %u windows of labelled traces",
                 (unsigned)samples.windows);
    snprintf(provenance, sizeof provenance,
             "tarn %s train_classes, seed %llu, %u generated workloads, %zu samples%s, %u steps\n",
             TARN_VERSION, (unsigned long long)seed, (unsigned)job->runs, samples.count, traces,
             (unsigned)job->steps);
    struct tarn_workload_train_params params = {
        .samples = samples.samples,
        .count = samples.count,
        .kept = samples.samples + samples.count,
        .kept_count = samples.kept_count,
        .named = samples.named,
        .named_count = samples.named_count,
        .named_share = KINDS_SHARE + (samples.windows > 0 ? TRACES_SHARE : 0),
        .network = models != NULL ? TARN_WORKLOAD_WHOLE_CLASS : TARN_WORKLOAD_NOW_CLASS,
        .steps = job->steps,
        .seed = seed,
        .provenance = provenance,
        .progress = show,
    };
    bool ok = train(folder, &params, &trained[0]);
    params.network++;
    ok = ok && train(folder, &params, &trained[1]);
    free_samples(&samples);
    return ok;
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

/* All four, without the traces of the source `out` (NULL: with all). */
static bool train_all(const struct job *job, const char *folder, const char *out)
{
    struct tarn_model *models[TARN_WORKLOAD_NETWORKS] = {0};
    bool ok = train_pair(job, folder, out, NULL, models);
    /* what the first two say of workloads that they know is no measure: others for the next two */
    struct tarn_workload_params params = {
        .network = {models[TARN_WORKLOAD_NOW_CLASS], models[TARN_WORKLOAD_NOW_BLEND]}};
    struct tarn_model *silent[] = {make_silent(TARN_WORKLOADS - 1),
                                   make_silent(TARN_WORKLOAD_PARTS - 1)};
    params.network[TARN_WORKLOAD_WHOLE_CLASS] = silent[0];
    params.network[TARN_WORKLOAD_WHOLE_BLEND] = silent[1];
    ok = ok && train_pair(job, folder, out, &params, models + TARN_WORKLOAD_WHOLE_CLASS);
    for (int k = 0; k < TARN_WORKLOAD_NETWORKS; k++)
        tarn_model_destroy(&models[k]);
    tarn_model_destroy(&silent[0]);
    tarn_model_destroy(&silent[1]);
    return ok;
}

static bool train_each_out(const struct job *job)
{
    const struct run_set *windows = &job->corpus.windows;
    for (uint32_t i = 0; i < windows->count; i++) {
        const char *source = windows->runs[i].source;
        char folder[4096];
        bool is_new = true;
        for (uint32_t k = 0; k < i && is_new; k++)
            is_new = strcmp(windows->runs[k].source, source) != 0;
        if (!is_new)
            continue;
        snprintf(folder, sizeof folder, "%s/%s", job->folder, source);
        if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
            fprintf(stderr, "train_classes: %s: %s\n", folder, strerror(errno));
            return false;
        }
        if (!train_all(job, folder, source))
            return false;
    }
    return true;
}

static bool take_options(int argc, char **argv, struct job *job, int *at)
{
    for (*at = 1; *at < argc && strncmp(argv[*at], "--", 2) == 0; ++*at) {
        const char *name = argv[*at];
        if (strcmp(name, "--each-out") == 0) {
            job->each_out = true;
            continue;
        }
        if (*at + 1 == argc)
            return false;
        unsigned long long number = strtoull(argv[++*at], NULL, 10);
        if (strcmp(name, "--runs") == 0)
            job->runs = (uint32_t)number;
        else if (strcmp(name, "--steps") == 0)
            job->steps = (uint32_t)number;
        else if (strcmp(name, "--seed") == 0)
            job->seed = number;
        else
            return false;
    }
    return *at < argc && job->runs >= LEAST_RUNS && job->steps > 0;
}

int main(int argc, char **argv)
{
    struct job job = {.runs = 50000, .steps = 80000, .seed = 1};
    int at;
    if (!take_options(argc, argv, &job, &at)) {
        fputs(usage, stderr);
        return 2;
    }
    job.folder = argv[at++];
    struct corpus *corpus = &job.corpus;
    bool ok = at == argc || cut_traces(argv[at], argv + at + 1, argc - at - 1, &corpus->windows);
    for (int whole = 0; whole < 2 && ok; whole++)
        ok = draw_runs(job.runs, job.seed + (uint64_t)whole, &corpus->generated[whole]) &&
             draw_named(job.runs / KINDS + TARN_WORKLOADS, job.seed + 30 + (uint64_t)whole,
                        &corpus->named[whole]);
    ok = ok && train_all(&job, job.folder, NULL) && (!job.each_out || train_each_out(&job));
    for (int whole = 0; whole < 2; whole++) {
        free_runs(&corpus->generated[whole]);
        free_runs(&corpus->named[whole]);
    }
    free_runs(&corpus->windows);
    return ok ? 0 : 1;
}
