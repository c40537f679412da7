/* SPDX-License-Identifier: Apache-2.0 */
#include "gate.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define ANCHOR_ERRORS 3.0f /* this many standard errors behind the anchor is clear */

struct tarn_model_gate {
    float weights_l2, weights_most, order;
    const tarn_model *anchor;
    uint32_t anchor_every, tries;     /* since the last look at it */
    struct tarn_gate_sample *samples; /* [TARN_GATE_SAMPLES] */
    float *tiles;                     /* features of the samples */
    float *logits;                    /* of one model, for whole tiles */
    float *scores[2];                 /* live, candidate */
    uint64_t *sorted;                 /* by one of them */
    uint16_t *rank;                   /* by the live one's */
    float *loss[2], *anchors; /* a sample: of the live one, of the candidate; of the anchor */
};

static float or_else(float value, float otherwise)
{
    return value > 0 ? value : otherwise;
}

tarn_status tarn_model_gate_create(const struct tarn_model_gate_params *params,
                                   tarn_model_gate **gate)
{
    const size_t n = TARN_GATE_SAMPLES;
    tarn_model_gate *g = tarn_alloc_zeroed(1, sizeof *g);
    *gate = NULL;
    if (g == NULL)
        return TARN_NO_MEMORY;
    g->weights_l2 = or_else(params->weights_l2, 0.1f);
    g->weights_most = or_else(params->weights_most, 1);
    g->order = or_else(params->order, 0.25f);
    g->anchor = params->anchor;
    g->anchor_every = params->anchor_every;
    g->tries = params->anchor_every; /* the first looks */
    g->samples = tarn_alloc(n * sizeof *g->samples);
    g->tiles = tarn_alloc_aligned(64, n * (TARN_FEATURES + TARN_MAX_BINS + 5) * sizeof(float));
    g->sorted = tarn_alloc(n * (sizeof *g->sorted + sizeof *g->rank));
    if (g->samples == NULL || g->tiles == NULL || g->sorted == NULL) {
        tarn_model_gate_destroy(&g);
        return TARN_NO_MEMORY;
    }
    g->logits = g->tiles + n * TARN_FEATURES;
    g->scores[0] = g->logits + n * TARN_MAX_BINS;
    g->scores[1] = g->scores[0] + n;
    g->loss[0] = g->scores[1] + n;
    g->loss[1] = g->loss[0] + n;
    g->anchors = g->loss[1] + n;
    g->rank = (uint16_t *)(g->sorted + n);
    *gate = g;
    return TARN_OK;
}

void tarn_model_gate_destroy(tarn_model_gate **gate)
{
    if (*gate == NULL)
        return;
    tarn_free((*gate)->samples);
    tarn_free((*gate)->tiles);
    tarn_free((*gate)->sorted);
    tarn_free(*gate);
    *gate = NULL;
}

static void write_tiles(tarn_model_gate *g, uint32_t count)
{
    memset(g->tiles, 0, TARN_GATE_SAMPLES * TARN_FEATURES * sizeof *g->tiles);
    for (uint32_t i = 0; i < count; i++) {
        float *to = g->tiles + (size_t)(i / TARN_LANES) * TARN_FEATURES * TARN_LANES;
        for (int f = 0; f < TARN_FEATURES; f++)
            to[f * TARN_LANES + (int)(i % TARN_LANES)] =
                (float)g->samples[i].features[f] * TARN_FEATURE_STEP;
    }
}

static void losses(tarn_model_gate *g, const struct tarn_shape *shape, const float *weights,
                   uint32_t count, float *loss)
{
    tarn_logits_host(shape, weights, g->tiles, count, g->logits);
    for (uint32_t i = 0; i < count; i++) {
        const struct tarn_gate_sample *s = &g->samples[i];
        const float *logit =
            g->logits + (size_t)(i / TARN_LANES) * shape->outputs * TARN_LANES + i % TARN_LANES;
        uint32_t label = s->at_risk | (uint32_t)(s->event + 1) << 8;
        loss[i] = tarn_net_loss(logit, TARN_LANES, shape->outputs, label);
    }
}

/* The mean of a - b, and its standard error. */
static void compare(const float *a, const float *b, uint32_t count, float *mean, float *error)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < count; i++) {
        double d = (double)a[i] - (double)b[i];
        sum += d;
        squares += d * d;
    }
    double m = sum / count, v = (squares - sum * m) / (count - 1);
    *mean = (float)m;
    *error = (float)sqrt((v > 0 ? v : 0) / count);
}

static float mean_of(const float *x, uint32_t count)
{
    double sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += (double)x[i];
    return (float)(sum / count);
}

static void measure_weights(const tarn_model *live, const float *candidate,
                            struct tarn_gate_report *r)
{
    size_t count = tarn_shape_weights(&live->shape);
    double moved = 0, size = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        double w = (double)live->weights[i], d = fabs((double)candidate[i] - w);
        moved += d * d;
        size += w * w;
        most = d > most ? d : most;
    }
    size = size > 0 ? size : 1e-30;
    r->weights_l2 = (float)sqrt(moved / size);
    r->weights_most = (float)(most / sqrt(size / (double)count));
}

/* Samples by score, then by number: a score's bits, turned so that they sort, and the number. */
static void sort(uint64_t *sorted, const float *scores, uint32_t count)
{
    static const uint32_t gaps[] = {57, 23, 10, 4, 1}; /* Ciura's; qsort() may allocate */
    for (uint32_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &scores[i], sizeof bits);
        bits ^= (uint32_t)((int32_t)bits >> 31) | 0x80000000u;
        sorted[i] = (uint64_t)bits << 32 | i;
    }
    for (uint32_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++)
        for (uint32_t i = gaps[g]; i < count; i++) {
            uint64_t moved = sorted[i];
            uint32_t j = i;
            for (; j >= gaps[g] && moved < sorted[j - gaps[g]]; j -= gaps[g])
                sorted[j] = sorted[j - gaps[g]];
            sorted[j] = moved;
        }
}

static void measure_order(tarn_model_gate *g, const tarn_model *live, const float *candidate,
                          uint32_t count, struct tarn_gate_report *r)
{
    uint64_t sum = 0;
    count = count < TARN_GATE_ORDERED ? count : TARN_GATE_ORDERED;
    tarn_forward_host(&live->shape, live->weights, g->tiles, count, g->scores[0]);
    tarn_forward_host(&live->shape, candidate, g->tiles, count, g->scores[1]);
    sort(g->sorted, g->scores[0], count);
    for (uint32_t i = 0; i < count; i++)
        g->rank[(uint32_t)g->sorted[i]] = (uint16_t)i;
    sort(g->sorted, g->scores[1], count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t before = g->rank[(uint32_t)g->sorted[i]];
        sum += before > i ? before - i : i - before;
    }
    r->order = (float)sum / ((float)count * (float)count);
}

__attribute__((format(printf, 3, 4))) static tarn_gate_answer
answer(struct tarn_gate_report *r, tarn_gate_answer answer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(r->reason, sizeof r->reason, format, args);
    va_end(args);
    return r->answer = answer;
}

/* loss[1] is the candidate's and loss[0] the live one's; false if the candidate is clearly behind the anchor. */
static bool holds_against_anchor(tarn_model_gate *g, const tarn_model *live,
                                 struct tarn_gate_report *r, float *behind, float *error)
{
    if (g->anchor == NULL || ++g->tries < g->anchor_every ||
        memcmp(&g->anchor->shape, &live->shape, sizeof live->shape) != 0)
        return true;
    g->tries = 0;
    losses(g, &g->anchor->shape, g->anchor->weights, r->samples, g->anchors);
    compare(g->loss[0], g->anchors, r->samples, behind, error);
    r->anchor_better = *behind > ANCHOR_ERRORS * *error;
    compare(g->loss[1], g->anchors, r->samples, behind, error);
    return *behind <= ANCHOR_ERRORS * *error;
}

/* Comparisons are turned so that what isn't a number never passes. */
static tarn_gate_answer judge_loss(tarn_model_gate *g, const tarn_model *live,
                                   const float *candidate, struct tarn_gate_report *r)
{
    losses(g, &live->shape, candidate, r->samples, g->loss[1]);
    losses(g, &live->shape, live->weights, r->samples, g->loss[0]);
    compare(g->loss[1], g->loss[0], r->samples, &r->difference, &r->error);
    r->loss = mean_of(g->loss[1], r->samples);
    r->loss_live = mean_of(g->loss[0], r->samples);
    float behind = 0, error = 0;
    bool holds = holds_against_anchor(g, live, r, &behind, &error);
    if (!(r->difference <= r->error))
        return answer(r, TARN_GATE_KEEP, "loss %.4f, %+.4f +- %.4f against the live model's",
                      (double)r->loss, (double)r->difference, (double)r->error);
    if (!holds)
        return answer(r, TARN_GATE_KEEP, "loss %.4f, %+.4f +- %.4f against the anchor's",
                      (double)r->loss, (double)behind, (double)error);
    return TARN_GATE_PASS;
}

tarn_gate_answer tarn_model_gate_try(tarn_model_gate *g, const tarn_model *live,
                                     const float *candidate, tarn_gate_draw draw, void *context,
                                     struct tarn_gate_report *r)
{
    *r = (struct tarn_gate_report){0};
    if (live->shape.inputs != TARN_FEATURES)
        return answer(r, TARN_GATE_KEEP, "a network of %u inputs, not %d",
                      (unsigned)live->shape.inputs, TARN_FEATURES);
    if (!tarn_net_is_finite(candidate, tarn_shape_weights(&live->shape)))
        return answer(r, TARN_GATE_KEEP, "a weight is no number");
    measure_weights(live, candidate, r);
    r->samples = draw(context, g->samples, TARN_GATE_SAMPLES);
    if (r->samples < TARN_GATE_LEAST)
        return answer(r, TARN_GATE_KEEP, "%u held-out samples, %d at least", (unsigned)r->samples,
                      TARN_GATE_LEAST);
    write_tiles(g, r->samples);
    measure_order(g, live, candidate, r->samples, r);
    if (judge_loss(g, live, candidate, r) != TARN_GATE_PASS)
        return r->answer;
    if (!(r->weights_l2 <= g->weights_l2 && r->weights_most <= g->weights_most))
        return answer(r, TARN_GATE_FAR, "far in weights: %.3f of their length, one by %.2f",
                      (double)r->weights_l2, (double)r->weights_most);
    if (!(r->order <= g->order))
        return answer(r, TARN_GATE_FAR, "far in order: a sample moves by %.3f of all",
                      (double)r->order);
    return answer(r, TARN_GATE_PASS, "loss %.4f, %+.4f +- %.4f against the live model's",
                  (double)r->loss, (double)r->difference, (double)r->error);
}

float tarn_model_gate_reach(const tarn_model_gate *g, const struct tarn_gate_report *r)
{
    const float radius[] = {g->weights_l2, g->weights_most, g->order};
    const float distance[] = {r->weights_l2, r->weights_most, r->order};
    float reach = 1;
    for (int i = 0; i < 3; i++)
        if (distance[i] > 0 && radius[i] / distance[i] < reach)
            reach = radius[i] / distance[i];
    return reach;
}
