/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How good the classifier is: classify [--models FOLDER] [--runs N] [--pairs] [LABELS.tsv [TRACE...]].
 * Generated workloads with parameters inside and outside of what it was trained with, as tables in markdown;
 * how soon it notices a change; what a request costs; and traces, with a class by hand for each in LABELS.tsv
 * (lines of: name, tab, class). With --pairs the first trace is interleaved with the second, the third with
 * the fourth, and so on, at known ratios.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lg.h"
#include "experts/classify.h"
#include "sim/blends.h"
#include "trace/gen.h"
#include "trace/trace.h"

enum { CLASSES = TARN_WORKLOADS, PARTS = TARN_WORKLOAD_PARTS, BINS = 10, WARM = 60000 };

struct score {
    double confusion[CLASSES][CLASSES]; /* [truth][named] */
    double count[BINS], sure[BINS], right[BINS];
    double blends, error, within; /* of the largest error of a share: sum; at most 0.15 */
};

static struct tarn_workload_params models;

static struct tarn_workload *new_classifier(void)
{
    struct tarn_workload *workload;
    struct tarn_error error;
    if (tarn_workload_create(&models, &workload, &error) != TARN_OK) {
        fprintf(stderr, "classify: %s\n", error.message);
        exit(1);
    }
    return workload;
}

static void note(struct score *score, tarn_workload_class truth, const float *blend,
                 const struct tarn_workload_verdict *verdict)
{
    float worst = 0;
    int bin = (int)(verdict->confidence * BINS);
    bin = bin < BINS ? bin : BINS - 1;
    score->confusion[truth][verdict->top]++;
    score->count[bin]++;
    score->sure[bin] += (double)verdict->confidence;
    score->right[bin] += verdict->top == truth;
    for (int k = 0; blend != NULL && k < PARTS; k++)
        worst = fmaxf(worst, fabsf(blend[k] - verdict->blend[k]));
    if (blend == NULL)
        return;
    score->blends++;
    score->error += (double)worst;
    score->within += worst <= 0.15f;
}

static void print(const char *title, const struct score *score)
{
    double all = 0, right = 0, ece = 0;
    printf("\n### %s\n\n| truth \\ named |", title);
    for (int k = 0; k < CLASSES; k++)
        printf(" %s |", tarn_workload_name((tarn_workload_class)k));
    printf(" right |\n|---|---|---|---|---|---|---|---|\n");
    for (int t = 0; t < CLASSES; t++) {
        double sum = 0;
        for (int k = 0; k < CLASSES; k++)
            sum += score->confusion[t][k];
        all += sum;
        right += score->confusion[t][t];
        if (sum == 0)
            continue;
        printf("| %s |", tarn_workload_name((tarn_workload_class)t));
        for (int k = 0; k < CLASSES; k++)
            printf(" %.0f |", score->confusion[t][k]);
        printf(" %.3f |\n", score->confusion[t][t] / sum);
    }
    for (int i = 0; i < BINS; i++)
        ece += fabs(score->sure[i] - score->right[i]) / all;
    printf("\nTop class right: %.3f. Expected calibration error: %.3f.", right / all, ece);
    if (score->blends > 0)
        printf(" Largest error of a share: %.3f on the mean, within 0.15: %.3f.",
               score->error / score->blends, score->within / score->blends);
    printf("\n");
}

/* ---- generated ---- */

/* A blend from WARM requests on, a look every 8 K requests; the truth is what the requests were. */
static void run_blend(const struct tarn_blend_spec *spec, uint64_t requests, bool certain,
                      struct score *looks, struct score *whole)
{
    struct tarn_workload *workload = new_classifier();
    tarn_blend *blend;
    struct tarn_error error;
    struct tarn_workload_report report;
    double counts[PARTS + 1] = {0}, all[PARTS + 1] = {0};
    float truth[PARTS];
    if (tarn_blend_create(spec, &blend, &error) != TARN_OK)
        exit(1);
    for (uint64_t i = 1; i <= requests; i++) {
        uint32_t component;
        tarn_workload_access(workload, tarn_blend_next(blend, &component), -1);
        counts[component]++;
        all[component]++;
        if (i % TARN_STREAM_PERIOD != 0 && i != requests)
            continue;
        bool last = i == requests;
        const double *from = last ? all : counts;
        double sum = 0;
        for (int k = 0; k < PARTS; k++)
            sum += from[k];
        for (int k = 0; k < PARTS; k++)
            truth[k] = (float)(from[k] / sum);
        for (int k = 0; k < PARTS; k++)
            counts[k] *= 0.75;
        tarn_workload_get_report(workload, &report);
        /* where a class is only just one, either name will do: left out where `certain` */
        if (certain) {
            float others = 1 - truth[0], most = 0;
            for (int k = 1; k < PARTS; k++)
                most = fmaxf(most, truth[k]);
            bool near_zipf = others > 0.08f && others < 0.25f;
            bool near_mixed = others >= 0.15f && most / others > 0.57f && most / others < 0.77f;
            if (near_zipf || near_mixed)
                continue;
        }
        if (last)
            note(whole, tarn_workload_of_blend(truth), truth, &report.overall);
        else if (i >= WARM && i / TARN_STREAM_PERIOD % 4 == 0)
            note(looks, tarn_workload_of_blend(truth), truth, &report.now);
    }
    tarn_blend_destroy(&blend);
    tarn_workload_destroy(&workload);
}

static void run_blends(const char *name, tarn_blend_range range, uint32_t parts, uint32_t runs,
                       bool certain)
{
    struct tarn_rng rng;
    struct score looks = {0}, whole = {0};
    char title[128];
    tarn_rng_seed(&rng, 7777 + parts + 10 * (uint64_t)range);
    for (uint32_t i = 0; i < runs; i++) {
        struct tarn_blend_spec spec;
        tarn_blend_draw(&rng, range, parts, (int)(i % PARTS), &spec);
        run_blend(&spec, 200000, certain, &looks, &whole);
    }
    snprintf(title, sizeof title, "%s, at the moment", name);
    print(title, &looks);
    snprintf(title, sizeof title, "%s, over 200,000 requests", name);
    print(title, &whole);
}

/* The generators as `tarn trace gen KIND` has them, by their names. */
static void run_kinds(uint32_t runs)
{
    static const char *const kinds[CLASSES] = {"zipf", "scan", "loop", "recency", "burst", "mixed"};
    struct tarn_rng rng;
    struct score looks = {0}, whole = {0};
    tarn_rng_seed(&rng, 4242);
    for (uint32_t i = 0; i < runs * CLASSES; i++) {
        tarn_gen *gen;
        struct tarn_error error;
        char alpha[32], share[32];
        const char *settings[2] = {alpha, share};
        snprintf(alpha, sizeof alpha, "alpha=%.3f", 0.7 + 0.5 * tarn_rng_double(&rng));
        snprintf(share, sizeof share, "share=%.3f", 0.25 + 0.4 * tarn_rng_double(&rng));
        tarn_workload_class truth = (tarn_workload_class)(i % CLASSES);
        bool shared = truth == TARN_WORKLOAD_SCAN || truth == TARN_WORKLOAD_BURST;
        const struct tarn_gen_params params = {
            .kind = kinds[truth],
            .requests = 200000,
            .objects = (uint64_t)(500 * pow(60, tarn_rng_double(&rng))),
            .seed = i,
            .settings = settings,
            .setting_count = shared ? 2 : 1,
        };
        if (tarn_gen_create(&params, &gen, &error) != TARN_OK)
            exit(1);
        struct tarn_workload *workload = new_classifier();
        struct tarn_workload_report report;
        struct tarn_request request;
        for (uint64_t n = 1; tarn_gen_read(gen, &request, 1) == 1; n++) {
            tarn_workload_access(workload, tarn_hash(&request.key, sizeof request.key),
                                 tarn_lg((float)request.size));
            if (n >= WARM && n % (4 * TARN_STREAM_PERIOD) == 0) {
                tarn_workload_get_report(workload, &report);
                note(&looks, truth, NULL, &report.now);
            }
        }
        tarn_workload_get_report(workload, &report);
        note(&whole, truth, NULL, &report.overall);
        if (report.overall.top != truth)
            fprintf(stderr, "%s taken for %s (objects %llu, %s %s): %.2f %.2f %.2f %.2f %.2f\n",
                    kinds[truth], tarn_workload_name(report.overall.top),
                    (unsigned long long)params.objects, alpha, shared ? share : "",
                    (double)report.overall.blend[0], (double)report.overall.blend[1],
                    (double)report.overall.blend[2], (double)report.overall.blend[3],
                    (double)report.overall.blend[4]);
        tarn_workload_destroy(&workload);
        tarn_gen_destroy(&gen);
    }
    print("Generators by name, at the moment", &looks);
    print("Generators by name, over 200,000 requests", &whole);
}

/* ---- changes ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Requests until the new class is named, after 100,000 of another; and how often it is named wrongly later. */
static void run_changes(uint32_t runs)
{
    struct tarn_rng rng;
    double *took = malloc(runs * sizeof *took), wrong = 0, looks = 0;
    uint32_t never = 0, n = 0;
    tarn_rng_seed(&rng, 99);
    for (uint32_t i = 0; i < runs; i++) {
        struct tarn_workload *workload = new_classifier();
        struct tarn_error error;
        uint32_t component, from = tarn_rng_below(&rng, PARTS),
                            to = (from + 1 + tarn_rng_below(&rng, PARTS - 1)) % PARTS;
        double first = -1;
        for (int phase = 0; phase < 2; phase++) {
            struct tarn_blend_spec spec;
            tarn_blend *blend;
            tarn_blend_draw(&rng, TARN_BLEND_INSIDE, 1, (int)(phase == 0 ? from : to), &spec);
            if (tarn_blend_create(&spec, &blend, &error) != TARN_OK)
                exit(1);
            for (uint64_t k = 1; k <= 100000; k++) {
                struct tarn_workload_report report;
                tarn_workload_access(workload, tarn_blend_next(blend, &component), -1);
                if (component == (uint32_t)TARN_WORKLOAD_SCAN &&
                    to == (uint32_t)TARN_WORKLOAD_LOOP && phase == 1) {
                    k--; /* the first round doesn't count */
                    continue;
                }
                if (phase == 0 || k % 256 != 0)
                    continue;
                tarn_workload_get_report(workload, &report);
                bool right = report.now.top == (tarn_workload_class)to;
                if (right && first < 0)
                    first = (double)k;
                if (first >= 0) {
                    looks++;
                    wrong += !right;
                }
            }
            tarn_blend_destroy(&blend);
        }
        if (first < 0)
            never++;
        else
            took[n++] = first;
        tarn_workload_destroy(&workload);
    }
    qsort(took, n, sizeof *took, ascending);
    printf(
        "\n### After an abrupt change of the generator\n\nRequests until the new class is named: "
        "median %.0f, nine in ten %.0f; never within 100,000: %u of %u. Named wrongly later: "
        "%.4f of the time.\n",
        n > 0 ? took[n / 2] : 0, n > 0 ? took[n * 9 / 10] : 0, (unsigned)never, (unsigned)runs,
        looks > 0 ? wrong / looks : 0);
    free(took);
}

/* ---- cost ---- */

static void run_cost(void)
{
    enum { REQUESTS = 1 << 20 };
    uint64_t *hash = malloc(REQUESTS * sizeof *hash);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    printf("\n### Cost\n\n| requests | ns a request |\n|---|---|\n");
    for (int kind = 0; kind < PARTS; kind++) {
        struct tarn_blend_spec spec;
        struct tarn_error error;
        tarn_blend *blend;
        uint32_t component;
        double best = INFINITY;
        tarn_blend_draw(&rng, TARN_BLEND_INSIDE, 1, kind, &spec);
        if (tarn_blend_create(&spec, &blend, &error) != TARN_OK)
            exit(1);
        for (int i = 0; i < REQUESTS; i++)
            hash[i] = tarn_blend_next(blend, &component);
        tarn_blend_destroy(&blend);
        for (int round = 0; round < 5; round++) {
            struct tarn_workload *workload = new_classifier();
            uint64_t start = tarn_clock_thread_cpu_ns();
            for (int i = 0; i < REQUESTS; i++)
                tarn_workload_access(workload, hash[i], -1);
            double ns = (double)(tarn_clock_thread_cpu_ns() - start) / REQUESTS;
            best = ns < best ? ns : best;
            tarn_workload_destroy(&workload);
        }
        printf("| %s | %.1f |\n", tarn_workload_name((tarn_workload_class)kind), best);
    }
    free(hash);
}

/* ---- traces ---- */

static void run_trace(const char *labels, const char *path, struct score *looks,
                      struct score *whole)
{
    struct tarn_trace_data *data;
    struct tarn_error error;
    struct tarn_workload_report report;
    double named[CLASSES] = {0}, all = 0;
    if (tarn_trace_load(path, &(struct tarn_trace_load_params){0}, &data, &error) != TARN_OK) {
        fprintf(stderr, "classify: %s\n", error.message);
        exit(1);
    }
    int label = tarn_blend_label(labels, data->name);
    struct tarn_workload *workload = new_classifier();
    for (size_t i = 0; i < data->count; i++) {
        uint64_t key = data->key[data->object[i]];
        tarn_workload_access(workload, tarn_hash(&key, sizeof key), tarn_lg((float)data->size[i]));
        if (i % TARN_STREAM_PERIOD == 0 && i > 0) {
            tarn_workload_get_report(workload, &report);
            named[report.now.top]++;
            all++;
            if (label >= 0)
                note(looks, (tarn_workload_class)label, NULL, &report.now);
        }
    }
    tarn_workload_get_report(workload, &report);
    if (label >= 0)
        note(whole, (tarn_workload_class)label, NULL, &report.overall);
    printf("| %s | %s | %s | %.2f |", data->name,
           label >= 0 ? tarn_workload_name((tarn_workload_class)label) : "?",
           tarn_workload_name(report.overall.top), (double)report.overall.confidence);
    for (int k = 0; k < PARTS; k++)
        printf(" %.2f |", (double)report.overall.blend[k]);
    for (int k = 0; k < CLASSES; k++)
        printf(" %.2f |", all > 0 ? named[k] / all : 0);
    printf("\n");
    tarn_workload_destroy(&workload);
    tarn_trace_data_free(&data);
}

/* What train_classes has put into a folder. */
static bool load_models(const char *folder)
{
    static const char *const names[] = {"classes", "blend", "whole_classes", "whole_blend"};
    for (int k = 0; k < TARN_WORKLOAD_NETWORKS; k++) {
        char path[4096];
        struct tarn_error error;
        struct tarn_model *model;
        snprintf(path, sizeof path, "%s/%s.model", folder, names[k]);
        if (tarn_model_load(path, &model, &error) != TARN_OK) {
            fprintf(stderr, "classify: %s\n", error.message);
            return false;
        }
        models.network[k] = model;
    }
    return true;
}

/* ---- blends of traces ---- */

#define PAIR_RUN 16 /* requests of one trace in a row, on the mean */

struct mixed_trace {
    struct tarn_trace_data *data;
    int label;
    float alone[PARTS]; /* what is said of it by itself */
};

static void hear(struct tarn_workload *workload, const struct mixed_trace *trace, size_t i,
                 uint64_t salt)
{
    uint64_t key = trace->data->key[trace->data->object[i]] ^ salt;
    tarn_workload_access(workload, tarn_hash(&key, sizeof key),
                         tarn_lg((float)trace->data->size[i]));
}

static void open_trace(const char *labels, const char *path, struct mixed_trace *trace)
{
    struct tarn_error error;
    struct tarn_workload_report report;
    const struct tarn_trace_load_params params = {.limit = 400000};
    if (tarn_trace_load(path, &params, &trace->data, &error) != TARN_OK) {
        fprintf(stderr, "classify: %s\n", error.message);
        exit(1);
    }
    trace->label = tarn_blend_label(labels, trace->data->name);
    struct tarn_workload *workload = new_classifier();
    for (size_t i = 0; i < trace->data->count; i++)
        hear(workload, trace, i, 0);
    tarn_workload_get_report(workload, &report);
    memcpy(trace->alone, report.overall.blend, sizeof trace->alone);
    tarn_workload_destroy(&workload);
}

/*
 * The name that is right is that of the labels' shares. A trace is no pure class, so shares are held against
 * the mean of what is said of each trace alone: whether blending adds up.
 */
static void run_pair(const struct mixed_trace trace[2], double share, struct score *score)
{
    struct tarn_workload *workload = new_classifier();
    struct tarn_workload_report report;
    struct tarn_rng rng;
    float blend[PARTS] = {0}, expected[PARTS], worst = 0;
    size_t at[2] = {0};
    tarn_rng_seed(&rng, 31);
    while (at[0] < trace[0].data->count && at[1] < trace[1].data->count) {
        int which = tarn_rng_double(&rng) >= share;
        uint32_t run = 1 + tarn_rng_below(&rng, 2 * PAIR_RUN - 1);
        for (; run > 0 && at[which] < trace[which].data->count; run--)
            hear(workload, &trace[which], at[which]++, which == 0 ? 0 : 0x9e3779b97f4a7c15u);
    }
    double first = (double)at[0] / (double)(at[0] + at[1]);
    blend[trace[0].label] += (float)first;
    blend[trace[1].label] += (float)(1 - first);
    tarn_workload_get_report(workload, &report);
    for (int k = 0; k < PARTS; k++) {
        expected[k] = (float)first * trace[0].alone[k] + (float)(1 - first) * trace[1].alone[k];
        worst = fmaxf(worst, fabsf(expected[k] - report.overall.blend[k]));
    }
    tarn_workload_class truth = tarn_workload_of_blend(blend);
    printf("| %s, %s | %.2f | %s | %s | %.2f | %.2f |\n", trace[0].data->name, trace[1].data->name,
           first, tarn_workload_name(truth), tarn_workload_name(report.overall.top),
           (double)report.overall.confidence, (double)worst);
    note(score, truth, expected, &report.overall);
    tarn_workload_destroy(&workload);
}

static void run_pairs(const char *labels, char **paths, int count)
{
    static const double shares[] = {0.25, 0.5, 0.75};
    struct score score = {0};
    printf("\n### Blends of traces\n\n| traces | share of the first | by the labels | named | "
           "confidence | largest error of a share |\n|---|---|---|---|---|---|\n");
    for (int i = 0; i + 1 < count; i += 2) {
        struct mixed_trace trace[2];
        open_trace(labels, paths[i], &trace[0]);
        open_trace(labels, paths[i + 1], &trace[1]);
        bool known = trace[0].label >= 0 && trace[0].label < PARTS && trace[1].label >= 0 &&
                     trace[1].label < PARTS;
        for (size_t s = 0; known && s < sizeof shares / sizeof shares[0]; s++)
            run_pair(trace, shares[s], &score);
        tarn_trace_data_free(&trace[0].data);
        tarn_trace_data_free(&trace[1].data);
    }
    print("Blends of traces, whole", &score);
}

int main(int argc, char **argv)
{
    uint32_t runs = 100;
    bool pairs = false;
    int at = 1;
    for (; at < argc && strncmp(argv[at], "--", 2) == 0; at++) {
        if (strcmp(argv[at], "--runs") == 0 && at + 1 < argc) {
            runs = (uint32_t)strtoul(argv[++at], NULL, 10);
            continue;
        }
        if (strcmp(argv[at], "--pairs") == 0) {
            pairs = true;
            continue;
        }
        if (strcmp(argv[at], "--models") != 0 || at + 1 >= argc || !load_models(argv[++at]))
            return 2;
    }
    if (runs > 0)
        run_cost();
    if (runs > 1) {
        run_kinds(runs / 5 + 1);
        run_blends("One class, inside", TARN_BLEND_INSIDE, 1, runs, false);
        run_blends("One class, outside", TARN_BLEND_OUTSIDE, 1, runs, false);
        run_blends("Two classes, inside", TARN_BLEND_INSIDE, 2, runs, false);
        run_blends("Two classes, outside", TARN_BLEND_OUTSIDE, 2, runs, false);
        run_blends("Two classes, outside, clear cases", TARN_BLEND_OUTSIDE, 2, runs, true);
        run_blends("Three classes, outside", TARN_BLEND_OUTSIDE, 3, runs, false);
        run_changes(runs);
    }
    if (at < argc && pairs)
        run_pairs(argv[at], argv + at + 1, argc - at - 1);
    else if (at < argc) {
        struct score looks = {0}, whole = {0};
        printf(
            "\n### Traces\n\n| trace | by hand | named | confidence | zipf | scan | loop | recency "
            "| burst | time as zipf | scan | loop | recency | burst | mixed "
            "|\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        for (int i = at + 1; i < argc; i++)
            run_trace(argv[at], argv[i], &looks, &whole);
        print("Traces, whole", &whole);
        print("Traces, at the moment", &looks);
    }
    for (int k = 0; k < TARN_WORKLOAD_NETWORKS; k++)
        tarn_model_destroy((struct tarn_model **)&models.network[k]);
    return 0;
}
