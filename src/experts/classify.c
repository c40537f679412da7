/* SPDX-License-Identifier: Apache-2.0 */
#include "classify.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"

#define NEWEST  0.5f /* weight of the newest verdict in the mean */
#define CONFIRM 2    /* verdicts in a row that make another class the top one */

/* Verdicts on one workload speak for each other: 1.25 fits blends, 2 and more clear workloads. */
#define AGREEMENT 1.5

#define LEAST_OTHER 0.15f         /* less than that beside zipf is nothing */
#define PREVAILING  (2.0f / 3.0f) /* of what isn't zipf */

extern const unsigned char tarn_classes_model[], tarn_blend_model[];
extern const unsigned long tarn_classes_model_size, tarn_blend_model_size;

struct tarn_workload {
    struct tarn_stream *stream;
    struct tarn_model *classes, *parts;
    float tile[TARN_STREAM_FEATURES * TARN_LANES];            /* lane 0 is the sample */
    float chance[TARN_WORKLOADS], blend[TARN_WORKLOAD_PARTS]; /* means of the last verdicts */
    double chance_sum[TARN_WORKLOADS], blend_sum[TARN_WORKLOAD_PARTS], weight;
    tarn_workload_class top, next;
    uint32_t held; /* verdicts in a row for `next` */
    uint64_t seen; /* requests at the last verdict */
    uint64_t evaluations, changes, failures;
};

const char *tarn_workload_name(tarn_workload_class workload)
{
    static const char *const names[TARN_WORKLOADS] = {"zipf",    "scan",  "loop",
                                                      "recency", "burst", "mixed"};
    return (unsigned)workload < TARN_WORKLOADS ? names[workload] : "unknown";
}

tarn_workload_class tarn_workload_of_blend(const float blend[TARN_WORKLOAD_PARTS])
{
    float others = 0;
    int most = TARN_WORKLOAD_SCAN;
    for (int k = TARN_WORKLOAD_SCAN; k < TARN_WORKLOAD_PARTS; k++) {
        others += blend[k];
        most = blend[k] > blend[most] ? k : most;
    }
    if (others < LEAST_OTHER)
        return TARN_WORKLOAD_ZIPF;
    return blend[most] >= PREVAILING * others ? (tarn_workload_class)most : TARN_WORKLOAD_MIXED;
}

void tarn_workload_chances(const float *logits, size_t stride, uint32_t count, float *chances)
{
    float left = 1;
    for (uint32_t k = 0; k + 1 < count; k++) {
        float hazard = 1 / (1 + expf(-logits[k * stride]));
        chances[k] = left * hazard;
        left *= 1 - hazard;
    }
    chances[count - 1] = left;
}

static tarn_status take_model(const struct tarn_model *given, const unsigned char *data,
                              unsigned long size, uint32_t outputs, struct tarn_model **model,
                              struct tarn_error *error)
{
    tarn_status status =
        given != NULL ? tarn_model_create(&given->shape, given->weights, given->provenance, model)
                      : tarn_model_parse(data, size, model, error);
    if (status != TARN_OK)
        return status;
    const struct tarn_shape *shape = &(*model)->shape;
    if (shape->inputs != TARN_STREAM_FEATURES || shape->outputs != outputs)
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "workload classes: a network of %u features and %u outputs, not %d and %u",
                         (unsigned)shape->inputs, (unsigned)shape->outputs, TARN_STREAM_FEATURES,
                         (unsigned)outputs);
    return TARN_OK;
}

static void start_even(float *shares, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++)
        shares[k] = 1.0f / (float)count;
}

tarn_status tarn_workload_create(const struct tarn_workload_params *params,
                                 struct tarn_workload **workload, struct tarn_error *error)
{
    static const struct tarn_workload_params none;
    params = params != NULL ? params : &none;
    *workload = NULL;
    struct tarn_workload *w = tarn_alloc_zeroed(1, sizeof *w);
    if (w == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "workload classes: out of memory");
    w->top = w->next = TARN_WORKLOAD_MIXED;
    start_even(w->chance, TARN_WORKLOADS);
    start_even(w->blend, TARN_WORKLOAD_PARTS);
    tarn_status status = take_model(params->classes, tarn_classes_model, tarn_classes_model_size,
                                    TARN_WORKLOADS - 1, &w->classes, error);
    if (status == TARN_OK)
        status = take_model(params->blend, tarn_blend_model, tarn_blend_model_size,
                            TARN_WORKLOAD_PARTS - 1, &w->parts, error);
    if (status == TARN_OK)
        status = tarn_stream_create(&w->stream);
    if (status == TARN_NO_MEMORY)
        tarn_fail(error, status, "workload classes: out of memory");
    if (status != TARN_OK)
        tarn_workload_destroy(&w);
    *workload = w;
    return status;
}

void tarn_workload_destroy(struct tarn_workload **workload)
{
    struct tarn_workload *w = *workload;
    if (w == NULL)
        return;
    tarn_stream_destroy(&w->stream);
    tarn_model_destroy(&w->classes);
    tarn_model_destroy(&w->parts);
    tarn_free(w);
    *workload = NULL;
}

/* ---- verdicts ---- */

/* What one network says, into the mean; false, and the mean stays, if it says nonsense. */
static bool ask(struct tarn_workload *w, const struct tarn_model *model, uint32_t count,
                float *mean)
{
    _Alignas(64) float logits[TARN_MAX_BINS * TARN_LANES];
    float chances[TARN_WORKLOADS];
    tarn_logits_host(&model->shape, model->weights, w->tile, 1, logits);
    if (!tarn_net_is_finite(logits, (size_t)(count - 2) * TARN_LANES + 1))
        return false;
    tarn_workload_chances(logits, TARN_LANES, count, chances);
    float newest = w->evaluations == 0 ? 1 : NEWEST;
    for (uint32_t k = 0; k < count; k++)
        mean[k] += newest * (chances[k] - mean[k]);
    return true;
}

static void name_top(struct tarn_workload *w)
{
    int most = 0;
    for (int k = 1; k < TARN_WORKLOADS; k++)
        most = w->chance[k] > w->chance[most] ? k : most;
    w->held = most == (int)w->next ? w->held + 1 : 1;
    w->next = (tarn_workload_class)most;
    if (w->next == w->top || (w->held < CONFIRM && w->evaluations > 0))
        return;
    w->changes += w->evaluations > 0;
    w->top = w->next;
}

static void evaluate(struct tarn_workload *w)
{
    int8_t features[TARN_STREAM_FEATURES];
    tarn_stream_features(w->stream, features);
    for (int i = 0; i < TARN_STREAM_FEATURES; i++)
        w->tile[i * TARN_LANES] = (float)features[i] * TARN_FEATURE_STEP;
    if (!ask(w, w->classes, TARN_WORKLOADS, w->chance) ||
        !ask(w, w->parts, TARN_WORKLOAD_PARTS, w->blend)) {
        if (w->failures++ == 0)
            tarn_log(TARN_LOG_WARNING, "workload classes: a network gives no numbers: the last "
                                       "verdict stays");
        return;
    }
    name_top(w);
    w->evaluations++;
    uint64_t total = tarn_stream_requests(w->stream);
    double requests = (double)(total - w->seen);
    w->seen = total;
    w->weight += requests;
    for (int k = 0; k < TARN_WORKLOADS; k++)
        w->chance_sum[k] += requests * (double)w->chance[k];
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        w->blend_sum[k] += requests * (double)w->blend[k];
}

void tarn_workload_access(struct tarn_workload *w, uint64_t hash, float size_lg)
{
    if (tarn_stream_access(w->stream, hash, size_lg))
        evaluate(w);
}

void tarn_workload_size(struct tarn_workload *w, uint64_t hash, float size_lg)
{
    tarn_stream_size(w->stream, hash, size_lg);
}

void tarn_workload_write(struct tarn_workload *w)
{
    tarn_stream_write(w->stream);
}

/*
 * Two thirds of all chances are enough for a name; zipf needs more, for it is also what is between two
 * scans. Where no class has as much, things came in turns or at once: then the blend says it.
 */
static tarn_workload_class name_overall(const struct tarn_workload *w, const float *blend)
{
    for (int k = 0; k < TARN_WORKLOADS; k++)
        if (w->chance_sum[k] / w->weight >=
            (k == TARN_WORKLOAD_ZIPF ? 1 - (double)LEAST_OTHER : (double)PREVAILING))
            return (tarn_workload_class)k;
    return tarn_workload_of_blend(blend);
}

void tarn_workload_get_report(const struct tarn_workload *w, struct tarn_workload_report *report)
{
    *report = (struct tarn_workload_report){
        .now = {.top = w->top},
        .changes = w->changes,
        .evaluations = w->evaluations,
    };
    memcpy(report->now.blend, w->blend, sizeof w->blend);
    tarn_stream_get_figures(w->stream, &report->stream);
    report->overall = report->now;
    if (w->evaluations == 0)
        return;
    report->now.confidence = w->chance[w->top];
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        report->overall.blend[k] = (float)(w->blend_sum[k] / w->weight);
    report->overall.top = name_overall(w, report->overall.blend);
    double sum = 0;
    for (int k = 0; k < TARN_WORKLOADS; k++)
        sum += pow(w->chance_sum[k] / w->weight, AGREEMENT);
    report->overall.confidence =
        (float)(pow(w->chance_sum[report->overall.top] / w->weight, AGREEMENT) / sum);
}

size_t tarn_workload_memory(const struct tarn_workload *w)
{
    return sizeof *w + tarn_stream_memory() +
           (tarn_shape_weights(&w->classes->shape) + tarn_shape_weights(&w->parts->shape)) *
               sizeof(float);
}
