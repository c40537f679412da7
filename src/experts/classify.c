/* SPDX-License-Identifier: Apache-2.0 */
#include "classify.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/half.h"
#include "base/log.h"
#include "base/memory.h"

#define NEWEST  0.5f /* weight of the newest verdict in the mean */
#define CONFIRM 2    /* verdicts in a row that make another class the top one */

/*
 * Of the whole: the share of the chances that its network says; the rest is the mean of the verdicts. Together
 * they are less sure than either of what training hasn't seen, and where they agree they may be surer.
 */
#define WHOLE_SAY 0.6f
#define SHARPEN   1.15f

#define LEAST_OTHER 0.15f         /* less than that beside zipf is nothing */
#define PREVAILING  (2.0f / 3.0f) /* of what isn't zipf */

/* tools/embed.py makes these: half precision is enough for them. */
extern const uint16_t tarn_classes_weights[], tarn_blend_weights[];
extern const unsigned long tarn_classes_weights_size, tarn_blend_weights_size;
extern const uint16_t tarn_whole_classes_weights[], tarn_whole_blend_weights[];
extern const unsigned long tarn_whole_classes_weights_size, tarn_whole_blend_weights_size;

struct tarn_workload {
    struct tarn_stream *stream;
    struct tarn_model *network[TARN_WORKLOAD_NETWORKS];
    float tile[TARN_STREAM_FEATURES * TARN_LANES];            /* lane 0 is the sample */
    float chance[TARN_WORKLOADS], blend[TARN_WORKLOAD_PARTS]; /* means of the last verdicts */
    /* over the whole time, by requests */
    double chance_sum[TARN_WORKLOADS], blend_sum[TARN_WORKLOAD_PARTS], weight;
    double feature_sum[TARN_STREAM_STEADY], square_sum, top_sum;
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

/* The networks that are built in, and what a network has to be like. */
static const struct network {
    const uint16_t *weights;
    const unsigned long *size;
    uint32_t inputs, outputs;
} networks[TARN_WORKLOAD_NETWORKS] = {
    {tarn_classes_weights, &tarn_classes_weights_size, TARN_STREAM_FEATURES, TARN_WORKLOADS - 1},
    {tarn_blend_weights, &tarn_blend_weights_size, TARN_STREAM_FEATURES, TARN_WORKLOAD_PARTS - 1},
    {tarn_whole_classes_weights, &tarn_whole_classes_weights_size, TARN_WORKLOAD_INPUTS,
     TARN_WORKLOADS - 1},
    {tarn_whole_blend_weights, &tarn_whole_blend_weights_size, TARN_WORKLOAD_INPUTS,
     TARN_WORKLOAD_PARTS - 1},
};

/* The one that is built in. */
static tarn_status expand(const struct network *network, struct tarn_model **model,
                          struct tarn_error *error)
{
    const struct tarn_shape shape = {.inputs = network->inputs,
                                     .hidden1 = TARN_WORKLOAD_HIDDEN1,
                                     .hidden2 = TARN_WORKLOAD_HIDDEN2,
                                     .outputs = network->outputs};
    size_t count = tarn_shape_weights(&shape);
    if (*network->size != count)
        return tarn_fail(error, TARN_CORRUPT, "workload classes: %lu weights, not %zu",
                         *network->size, count);
    float *weights = tarn_alloc(count * sizeof *weights);
    if (weights == NULL)
        return TARN_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        weights[i] = tarn_half(network->weights[i]);
    tarn_status status = tarn_model_create(&shape, weights, "", model);
    tarn_free(weights);
    return status;
}

static tarn_status take_model(const struct tarn_model *given, const struct network *network,
                              struct tarn_model **model, struct tarn_error *error)
{
    tarn_status status =
        given != NULL ? tarn_model_create(&given->shape, given->weights, given->provenance, model)
                      : expand(network, model, error);
    if (status != TARN_OK)
        return status;
    const struct tarn_shape *shape = &(*model)->shape;
    if (shape->inputs != network->inputs || shape->outputs != network->outputs)
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "workload classes: a network of %u features and %u outputs, not %u and %u",
                         (unsigned)shape->inputs, (unsigned)shape->outputs,
                         (unsigned)network->inputs, (unsigned)network->outputs);
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
    tarn_status status = TARN_OK;
    for (int k = 0; k < TARN_WORKLOAD_NETWORKS && status == TARN_OK; k++)
        status = take_model(params->network[k], &networks[k], &w->network[k], error);
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
    for (int k = 0; k < TARN_WORKLOAD_NETWORKS; k++)
        tarn_model_destroy(&w->network[k]);
    tarn_free(w);
    *workload = NULL;
}

/* ---- verdicts ---- */

/* What a network says of a tile's first lane; false if it says nonsense. */
static bool ask(const struct tarn_model *model, const float *tile, float *chances)
{
    _Alignas(64) float logits[TARN_MAX_BINS * TARN_LANES];
    uint32_t count = model->shape.outputs + 1;
    tarn_logits_host(&model->shape, model->weights, tile, 1, logits);
    if (!tarn_net_is_finite(logits, (size_t)(count - 2) * TARN_LANES + 1))
        return false;
    tarn_workload_chances(logits, TARN_LANES, count, chances);
    return true;
}

static void fold_in(const struct tarn_workload *w, const float *chances, uint32_t count,
                    float *mean)
{
    float newest = w->evaluations == 0 ? 1 : NEWEST;
    for (uint32_t k = 0; k < count; k++)
        mean[k] += newest * (chances[k] - mean[k]);
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

/* Everything that is kept of the whole time. */
static void add_up(struct tarn_workload *w, uint64_t total)
{
    double requests = (double)(total - w->seen);
    float top = 0;
    w->seen = total;
    w->weight += requests;
    for (int k = 0; k < TARN_WORKLOADS; k++) {
        w->chance_sum[k] += requests * (double)w->chance[k];
        top = w->chance[k] > top ? w->chance[k] : top;
    }
    w->top_sum += requests * (double)top;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++) {
        w->blend_sum[k] += requests * (double)w->blend[k];
        w->square_sum += requests * (double)w->blend[k] * (double)w->blend[k];
    }
    for (int i = 0; i < TARN_STREAM_STEADY; i++)
        w->feature_sum[i] += requests * (double)w->tile[i * TARN_LANES];
}

void tarn_workload_look(struct tarn_workload *w, const int8_t features[TARN_STREAM_FEATURES],
                        uint64_t requests)
{
    float chance[TARN_WORKLOADS], blend[TARN_WORKLOAD_PARTS];
    for (int i = 0; i < TARN_STREAM_FEATURES; i++)
        w->tile[i * TARN_LANES] = (float)features[i] * TARN_FEATURE_STEP;
    if (!ask(w->network[TARN_WORKLOAD_NOW_CLASS], w->tile, chance) ||
        !ask(w->network[TARN_WORKLOAD_NOW_BLEND], w->tile, blend)) {
        if (w->failures++ == 0)
            tarn_log(TARN_LOG_WARNING, "workload classes: a network gives no numbers: the last "
                                       "verdict stays");
        return;
    }
    fold_in(w, chance, TARN_WORKLOADS, w->chance);
    fold_in(w, blend, TARN_WORKLOAD_PARTS, w->blend);
    name_top(w);
    w->evaluations++;
    add_up(w, requests);
}

void tarn_workload_access(struct tarn_workload *w, uint64_t hash, float size_lg)
{
    int8_t features[TARN_STREAM_FEATURES];
    if (!tarn_stream_access(w->stream, hash, size_lg))
        return;
    tarn_stream_features(w->stream, features);
    tarn_workload_look(w, features, tarn_stream_requests(w->stream));
}

void tarn_workload_size(struct tarn_workload *w, uint64_t hash, float size_lg)
{
    tarn_stream_size(w->stream, hash, size_lg);
}

void tarn_workload_write(struct tarn_workload *w)
{
    tarn_stream_write(w->stream);
}

/* ---- of the whole time ---- */

static int8_t quantised(double x)
{
    double scaled = x / (double)TARN_FEATURE_STEP;
    return (int8_t)(scaled > 127 ? 127 : scaled > -128 ? lrint(scaled) : -128);
}

void tarn_workload_get_inputs(const struct tarn_workload *w, int8_t inputs[TARN_WORKLOAD_INPUTS])
{
    double variance = w->square_sum / w->weight, most = 0;
    int8_t *to = inputs;
    memset(inputs, 0, TARN_WORKLOAD_INPUTS);
    if (w->evaluations == 0)
        return;
    for (int i = 0; i < TARN_STREAM_STEADY; i++)
        *to++ = quantised(w->feature_sum[i] / w->weight);
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++) {
        double mean = w->blend_sum[k] / w->weight;
        *to++ = quantised(6 * mean - 3);
        variance -= mean * mean;
    }
    for (int k = 0; k < TARN_WORKLOADS; k++)
        most = w->chance_sum[k] > most ? w->chance_sum[k] : most;
    *to++ = quantised(6 * sqrt(variance > 0 ? variance : 0) - 2);
    *to++ = quantised(6 * w->top_sum / w->weight - 4);
    *to++ = quantised(6 * most / w->weight - 3);
}

/* Without the networks of the whole time: the mean of the blends. */
static void report_means(const struct tarn_workload *w, struct tarn_workload_verdict *verdict)
{
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        verdict->blend[k] = (float)(w->blend_sum[k] / w->weight);
    verdict->top = tarn_workload_of_blend(verdict->blend);
    verdict->confidence = (float)(w->chance_sum[verdict->top] / w->weight);
}

static void report_whole(const struct tarn_workload *w, struct tarn_workload_verdict *verdict)
{
    _Alignas(64) float tile[TARN_WORKLOAD_INPUTS * TARN_LANES] = {0};
    int8_t inputs[TARN_WORKLOAD_INPUTS];
    float chance[TARN_WORKLOADS];
    tarn_workload_get_inputs(w, inputs);
    for (int i = 0; i < TARN_WORKLOAD_INPUTS; i++)
        tile[i * TARN_LANES] = (float)inputs[i] * TARN_FEATURE_STEP;
    if (!ask(w->network[TARN_WORKLOAD_WHOLE_CLASS], tile, chance) ||
        !ask(w->network[TARN_WORKLOAD_WHOLE_BLEND], tile, verdict->blend)) {
        report_means(w, verdict);
        return;
    }
    int most = 0;
    float sum = 0;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        verdict->blend[k] = 0.5f * (verdict->blend[k] + (float)(w->blend_sum[k] / w->weight));
    for (int k = 0; k < TARN_WORKLOADS; k++) {
        float mean = (float)(w->chance_sum[k] / w->weight);
        chance[k] = powf(chance[k] + (1 - WHOLE_SAY) * (mean - chance[k]), SHARPEN);
        sum += chance[k];
        most = chance[k] > chance[most] ? k : most;
    }
    verdict->top = (tarn_workload_class)most;
    verdict->confidence = chance[most] / sum;
}

void tarn_workload_get_present(const struct tarn_workload *w, struct tarn_workload_verdict *verdict)
{
    *verdict = (struct tarn_workload_verdict){.top = w->top};
    memcpy(verdict->blend, w->blend, sizeof w->blend);
    if (w->evaluations > 0)
        verdict->confidence = w->chance[w->top];
}

void tarn_workload_get_report(const struct tarn_workload *w, struct tarn_workload_report *report)
{
    *report = (struct tarn_workload_report){
        .changes = w->changes,
        .evaluations = w->evaluations,
    };
    tarn_workload_get_present(w, &report->now);
    tarn_stream_get_figures(w->stream, &report->stream);
    report->overall = report->now;
    if (w->evaluations > 0)
        report_whole(w, &report->overall);
}

size_t tarn_workload_memory(const struct tarn_workload *w)
{
    size_t sum = sizeof *w + tarn_stream_memory();
    for (int k = 0; k < TARN_WORKLOAD_NETWORKS; k++)
        sum += tarn_shape_weights(&w->network[k]->shape) * sizeof(float);
    return sum;
}
