/* SPDX-License-Identifier: Apache-2.0 */
#include "consolidate.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum { ANCHOR, FISHER, SUM, PULLED };

tarn_status tarn_consolidate_init(struct tarn_consolidate *c, const struct tarn_shape *shape)
{
    *c = (struct tarn_consolidate){.shape = *shape};
    if (!tarn_shape_is_valid(shape))
        return TARN_INVALID;
    c->count = tarn_shape_weights(shape);
    c->memory = tarn_alloc_zeroed(c->count * TARN_CONSOLIDATE_ARRAYS, sizeof(float));
    if (c->memory == NULL)
        return TARN_NO_MEMORY;
    c->anchor = c->memory + ANCHOR * c->count;
    c->fisher = c->memory + FISHER * c->count;
    c->sum = c->memory + SUM * c->count;
    c->pulled = c->memory + PULLED * c->count;
    return TARN_OK;
}

void tarn_consolidate_free(struct tarn_consolidate *c)
{
    tarn_free(c->memory);
    *c = (struct tarn_consolidate){0};
}

uint64_t tarn_consolidate_memory(const struct tarn_shape *shape)
{
    return tarn_shape_weights(shape) * TARN_CONSOLIDATE_ARRAYS * sizeof(float);
}

/* ---- one sample's squared gradient ---- */

/* out = W in + b; returns what follows the layer's weights. */
static const float *forward(const float *w, const float *in, uint32_t inputs, uint32_t outputs,
                            float *out, bool leaky)
{
    const float *bias = w + (size_t)outputs * inputs;
    for (uint32_t o = 0; o < outputs; o++) {
        float sum = bias[o];
        for (uint32_t i = 0; i < inputs; i++)
            sum += w[(size_t)o * inputs + i] * in[i];
        out[o] = leaky && sum < 0 ? sum * TARN_LEAK : sum;
    }
    return bias + outputs;
}

/* Adds the squares of d x in; `before` (unless NULL) is the gradient of what went in. */
static void backward(const float *w, const float *in, uint32_t inputs, uint32_t outputs,
                     const float *d, float *squares, float *before)
{
    for (uint32_t o = 0; o < outputs; o++) {
        float *row = squares + (size_t)o * inputs, d2 = d[o] * d[o];
        for (uint32_t i = 0; i < inputs; i++)
            row[i] += d2 * in[i] * in[i];
        squares[(size_t)outputs * inputs + o] += d2;
    }
    if (before == NULL)
        return;
    memset(before, 0, inputs * sizeof *before);
    for (uint32_t o = 0; o < outputs; o++)
        for (uint32_t i = 0; i < inputs; i++)
            before[i] += d[o] * w[(size_t)o * inputs + i];
    for (uint32_t i = 0; i < inputs; i++)
        before[i] *= in[i] > 0 ? 1 : TARN_LEAK;
}

static float hazard_of(float logit)
{
    return 1 / (1 + expf(-logit));
}

void tarn_consolidate_sample(struct tarn_consolidate *c, const float *weights,
                             const int8_t *features, struct tarn_rng *rng)
{
    const struct tarn_shape *s = &c->shape;
    float x[TARN_MAX_WIDTH], a1[TARN_MAX_WIDTH], a2[TARN_MAX_WIDTH], z[TARN_MAX_BINS];
    float d3[TARN_MAX_BINS], d2[TARN_MAX_WIDTH], d1[TARN_MAX_WIDTH];
    for (uint32_t i = 0; i < s->inputs; i++)
        x[i] = (float)features[i] * TARN_FEATURE_STEP;
    const float *w2 = forward(weights, x, s->inputs, s->hidden1, a1, true);
    const float *w3 = forward(w2, a1, s->hidden1, s->hidden2, a2, true);
    forward(w3, a2, s->hidden2, s->outputs, z, false);
    uint32_t label = tarn_distil_label(s, z, 1, 0, rng);
    uint32_t risk = label & 0xff, event = label >> 8;
    for (uint32_t k = 0; k < s->outputs; k++)
        d3[k] = k < risk ? hazard_of(z[k]) - (k + 1 == event) : 0;
    backward(w3, a2, s->hidden2, s->outputs, d3, c->sum + (w3 - weights), d2);
    backward(w2, a1, s->hidden1, s->hidden2, d2, c->sum + (w2 - weights), d1);
    backward(weights, x, s->inputs, s->hidden1, d1, c->sum, NULL);
    c->samples++;
}

/* ---- anchors ---- */

static tarn_status set_anchor(struct tarn_consolidate *c, const float *weights,
                              const float *information, float keep)
{
    double sum = 0;
    if (!tarn_net_is_finite(weights, c->count) || !tarn_net_is_finite(information, c->count) ||
        !(keep >= 0 && keep <= 1))
        return TARN_INVALID;
    for (size_t i = 0; i < c->count; i++)
        sum += (double)information[i];
    float scale = (float)((double)c->count / sum);
    if (!(sum > 0) || !isfinite(scale))
        return TARN_INVALID;
    for (size_t i = 0; i < c->count; i++) {
        float value = fmaxf(0, fminf(TARN_FISHER_MOST, information[i] * scale));
        c->fisher[i] = fminf(TARN_FISHER_MOST, keep * c->fisher[i] + value);
    }
    memcpy(c->anchor, weights, c->count * sizeof *weights);
    c->anchors++;
    return TARN_OK;
}

tarn_status tarn_consolidate_anchor(struct tarn_consolidate *c, const float *weights, float keep)
{
    tarn_status status = c->samples > 0 ? set_anchor(c, weights, c->sum, keep) : TARN_INVALID;
    memset(c->sum, 0, c->count * sizeof *c->sum);
    c->samples = 0;
    return status;
}

tarn_status tarn_consolidate_anchor_moments(struct tarn_consolidate *c, const float *weights,
                                            const float *v, float keep)
{
    return set_anchor(c, weights, v, keep);
}

const float *tarn_consolidate_pull(struct tarn_consolidate *c, const float *weights, float rate,
                                   float strength)
{
    float by = rate * strength;
    if (c->anchors == 0 || !(by > 0))
        return weights;
    for (size_t i = 0; i < c->count; i++) {
        float s = by * c->fisher[i];
        c->pulled[i] = (weights[i] + s * c->anchor[i]) / (1 + s);
    }
    return c->pulled;
}

double tarn_consolidate_distance(const struct tarn_consolidate *c, const float *weights)
{
    double sum = 0;
    for (size_t i = 0; i < c->count; i++) {
        double away = (double)weights[i] - (double)c->anchor[i];
        sum += (double)c->fisher[i] * away * away;
    }
    return sum / 2;
}

uint32_t tarn_distil_label(const struct tarn_shape *shape, const float *logits, size_t stride,
                           uint32_t known, struct tarn_rng *rng)
{
    for (uint32_t k = known; k < shape->outputs; k++)
        if (tarn_rng_float(rng) < hazard_of(logits[k * stride]))
            return (k + 1) | (k + 1) << 8;
    return shape->outputs;
}
