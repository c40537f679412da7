/* SPDX-License-Identifier: Apache-2.0 */
/* Models that do harm, for `tarn bench learn`, and models that do none. */
#include "bench_learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"

enum {
    PROBES = 512,     /* samples that scores are looked at with */
    ATTEMPTS = 3,     /* of those that are trained to do harm: */
    FIRST_STEPS = 250 /* steps of the first, four times as many in each other */
};
#define RISE 5.0 /* octaves, of inflated scores */

const char *tarn_bl_harm_name(enum tarn_bl_harm harm)
{
    static const char *const names[TARN_BL_HARMS] = {
        [TARN_BL_SHUFFLED] = "shuffled",
        [TARN_BL_FLIPPED] = "signs flipped",
        [TARN_BL_NAN] = "not a number",
        [TARN_BL_INFLATED] = "scores inflated",
        [TARN_BL_HALF_INFLATED] = "half of the scores inflated",
        [TARN_BL_ELSEWHERE] = "trained elsewhere",
        [TARN_BL_REVERSED] = "trained on reversed labels",
        [TARN_BL_ZEROS] = "zeros",
        [TARN_BL_NOISE] = "noise",
    };
    return names[harm];
}

/* ---- where the layers are: layout.h ---- */

struct layer {
    uint32_t inputs, outputs;
    float *weight, *bias;
};

static void find_layers(const struct tarn_shape *shape, float *weights, struct layer layers[3])
{
    const uint32_t width[4] = {shape->inputs, shape->hidden1, shape->hidden2, shape->outputs};
    for (int i = 0; i < 3; i++) {
        layers[i].inputs = width[i];
        layers[i].outputs = width[i + 1];
        layers[i].weight = weights;
        layers[i].bias = weights + (size_t)width[i] * width[i + 1];
        weights = layers[i].bias + width[i + 1];
    }
}

static size_t size_of(const struct layer *layer)
{
    return (size_t)(layer->inputs + 1) * layer->outputs;
}

static float normal(struct tarn_rng *rng)
{
    double u = 1 - tarn_rng_double(rng), v = tarn_rng_double(rng);
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static float rms(const float *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return (float)sqrt(sum / (double)count);
}

/* ---- broken weights ---- */

static void shuffle(float *values, size_t count, struct tarn_rng *rng)
{
    for (size_t i = count; i > 1; i--) {
        size_t k = tarn_rng_below(rng, (uint32_t)i);
        float value = values[i - 1];
        values[i - 1] = values[k];
        values[k] = value;
    }
}

static void shuffle_layers(const struct layer layers[3], struct tarn_rng *rng)
{
    for (int i = 0; i < 3; i++) {
        shuffle(layers[i].weight, (size_t)layers[i].inputs * layers[i].outputs, rng);
        shuffle(layers[i].bias, layers[i].outputs, rng);
    }
}

/* One layer, or (`which` 3) all of them, times `factor`. */
static void scale_layers(const struct layer layers[3], uint32_t which, float factor)
{
    for (uint32_t i = 0; i < 3; i++)
        for (size_t k = 0; (which == i || which == 3) && k < size_of(&layers[i]); k++)
            layers[i].weight[k] *= factor;
}

static void spoil_numbers(float *weights, size_t count, struct tarn_rng *rng)
{
    uint32_t wrong = 1 + tarn_rng_below(rng, 4);
    for (uint32_t i = 0; i < wrong; i++)
        weights[tarn_rng_below(rng, (uint32_t)count)] =
            tarn_rng_below(rng, 2) == 0 ? NAN : INFINITY;
}

static void add_noise(const struct layer layers[3], struct tarn_rng *rng)
{
    float much = exp2f(2.5f * tarn_rng_float(rng) - 1.5f);
    for (int i = 0; i < 3; i++) {
        float sd = much * rms(layers[i].weight, size_of(&layers[i]));
        for (size_t k = 0; k < size_of(&layers[i]); k++)
            layers[i].weight[k] += sd * normal(rng);
    }
}

/* ---- inflated scores ---- */

struct probes {
    uint32_t count;
    float *tiles;
    float *scores, *scores_before; /* [PROBES] */
    bool *raised;                  /* [PROBES] */
};

static bool probe(const struct tarn_bl_samples *samples, struct tarn_rng *rng, struct probes *p)
{
    static const struct tarn_shape *shape = &tarn_net_reference;
    p->count = samples->count < PROBES ? (uint32_t)samples->count : PROBES;
    p->tiles = calloc(tarn_shape_tile_floats(shape, PROBES), sizeof *p->tiles);
    p->scores = calloc(PROBES, sizeof *p->scores);
    p->scores_before = calloc(PROBES, sizeof *p->scores_before);
    p->raised = calloc(PROBES, sizeof *p->raised);
    if (p->tiles == NULL || p->scores == NULL || p->scores_before == NULL || p->raised == NULL)
        return false;
    for (uint32_t i = 0; i < p->count; i++) {
        const struct tarn_model_sample *sample =
            &samples->sample[tarn_rng_below(rng, (uint32_t)samples->count)];
        float *tile = p->tiles + (size_t)(i / TARN_LANES) * shape->inputs * TARN_LANES;
        for (uint32_t f = 0; f < shape->inputs; f++)
            tile[f * TARN_LANES + i % TARN_LANES] = (float)sample->features[f] * TARN_FEATURE_STEP;
    }
    return true;
}

static void probes_free(struct probes *p)
{
    free(p->tiles);
    free(p->scores);
    free(p->scores_before);
    free(p->raised);
}

static float feature(const struct probes *p, uint32_t sample, uint32_t f)
{
    return p->tiles[((size_t)(sample / TARN_LANES) * TARN_FEATURES + f) * TARN_LANES +
                    sample % TARN_LANES];
}

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* By how much the scores of those to be raised have risen, in the mean. */
static double rise(const struct probes *p, const float *weights)
{
    double sum = 0;
    uint32_t count = 0;
    tarn_forward_host(&tarn_net_reference, weights, p->tiles, p->count, p->scores);
    for (uint32_t i = 0; i < p->count; i++)
        if (p->raised[i]) {
            sum += (double)(p->scores[i] - p->scores_before[i]);
            count++;
        }
    return count > 0 ? sum / count : RISE;
}

/* Finds how much has to be added (to biases, or through a unit) that scores rise by RISE. */
static void inflate(const struct probes *p, float *weights, float *const *at, uint32_t count)
{
    float low = 0, high = 64, *before = malloc(count * sizeof *before);
    if (before == NULL)
        return;
    for (uint32_t i = 0; i < count; i++)
        before[i] = *at[i];
    for (int step = 0; step < 20; step++) {
        float middle = (low + high) / 2;
        for (uint32_t i = 0; i < count; i++)
            *at[i] = before[i] + middle;
        if (rise(p, weights) < RISE)
            low = middle;
        else
            high = middle;
    }
    free(before);
}

/* The unit of a layer that the next one listens to least. */
static uint32_t quietest(const struct layer *next)
{
    uint32_t best = 0;
    double least = INFINITY;
    for (uint32_t unit = 0; unit < next->inputs; unit++) {
        double sum = 0;
        for (uint32_t k = 0; k < next->outputs; k++)
            sum += fabs((double)next->weight[(size_t)k * next->inputs + unit]);
        if (sum < least) {
            least = sum;
            best = unit;
        }
    }
    return best;
}

/*
 * One unit of each hidden layer says on which side of a random plane through the middle of the samples an
 * input lies; returns the unit of the second one.
 */
static uint32_t divide_inputs(struct probes *p, const struct layer layers[3], struct tarn_rng *rng)
{
    uint32_t first = quietest(&layers[1]), second = quietest(&layers[2]);
    float *plane = layers[0].weight + (size_t)first * layers[0].inputs;
    float *listens = layers[1].weight + (size_t)second * layers[1].inputs;
    float place[PROBES], sorted[PROBES];
    for (uint32_t f = 0; f < layers[0].inputs; f++)
        plane[f] = normal(rng);
    for (uint32_t i = 0; i < p->count; i++) {
        place[i] = 0;
        for (uint32_t f = 0; f < layers[0].inputs; f++)
            place[i] += plane[f] * feature(p, i, f);
    }
    memcpy(sorted, place, p->count * sizeof *sorted);
    qsort(sorted, p->count, sizeof *sorted, compare);
    layers[0].bias[first] = p->count > 0 ? -sorted[p->count / 2] : 0;
    for (uint32_t i = 0; i < p->count; i++)
        p->raised[i] = place[i] + layers[0].bias[first] > 0;
    for (uint32_t k = 0; k < layers[1].inputs; k++)
        listens[k] = k == first ? 1 : 0;
    layers[1].bias[second] = 0;
    return second;
}

static void inflate_scores(const struct tarn_bl_workshop *workshop, bool half,
                           const struct layer layers[3], float *weights)
{
    struct probes p = {0};
    float *at[TARN_MAX_BINS];
    if (probe(workshop->own, workshop->rng, &p)) {
        tarn_forward_host(&tarn_net_reference, weights, p.tiles, p.count, p.scores_before);
        for (uint32_t i = 0; i < p.count; i++)
            p.raised[i] = true;
        uint32_t unit = half ? divide_inputs(&p, layers, workshop->rng) : 0;
        for (uint32_t k = 0; k < layers[2].outputs; k++) {
            at[k] =
                half ? &layers[2].weight[(size_t)k * layers[2].inputs + unit] : &layers[2].bias[k];
            *at[k] = half ? 0 : *at[k];
        }
        inflate(&p, weights, at, layers[2].outputs);
    }
    probes_free(&p);
}

/* ---- trained to do harm ---- */

/* What came early came late, and the other way round. */
static uint16_t reversed(uint16_t label, uint32_t bins)
{
    uint32_t known = label & 0xff, event = label >> 8;
    uint32_t is = event > 0 ? bins - event : known > bins / 2 ? 0 : bins - 1;
    return (uint16_t)((is + 1) << 8 | (is + 1));
}

static bool train_to_harm(const struct tarn_bl_workshop *workshop, bool reverse, uint32_t attempt,
                          const tarn_model *live, float *weights)
{
    const struct tarn_bl_samples *from = reverse ? workshop->own : workshop->elsewhere;
    struct tarn_bl_samples samples = *from;
    tarn_model *model = NULL;
    if (attempt >= ATTEMPTS || from->count == 0)
        return false;
    samples.sample = malloc(from->count * sizeof *samples.sample);
    if (samples.sample == NULL)
        return false;
    memcpy(samples.sample, from->sample, from->count * sizeof *samples.sample);
    for (size_t i = 0; reverse && i < samples.count; i++)
        samples.sample[i].label = reversed(samples.sample[i].label, live->shape.outputs);
    bool made =
        tarn_bl_train(&samples, FIRST_STEPS << 2 * attempt, live,
                      workshop->seed + tarn_rng_next(workshop->rng), &model, NULL) == TARN_OK;
    if (made)
        memcpy(weights, model->weights, tarn_shape_weights(&live->shape) * sizeof *weights);
    tarn_model_destroy(&model);
    free(samples.sample);
    return made;
}

bool tarn_bl_make_harm(const struct tarn_bl_workshop *workshop, enum tarn_bl_harm harm,
                       uint32_t attempt, const tarn_model *live, float *weights)
{
    size_t count = tarn_shape_weights(&live->shape);
    struct layer layers[3];
    memcpy(weights, live->weights, count * sizeof *weights);
    find_layers(&live->shape, weights, layers);
    if (harm == TARN_BL_ELSEWHERE || harm == TARN_BL_REVERSED)
        return train_to_harm(workshop, harm == TARN_BL_REVERSED, attempt, live, weights);
    if (attempt > 0)
        return false;
    switch (harm) {
    case TARN_BL_SHUFFLED:
        shuffle_layers(layers, workshop->rng);
        break;
    case TARN_BL_FLIPPED:
        scale_layers(layers, tarn_rng_below(workshop->rng, 4), -1);
        break;
    case TARN_BL_NAN:
        spoil_numbers(weights, count, workshop->rng);
        break;
    case TARN_BL_INFLATED:
    case TARN_BL_HALF_INFLATED:
        inflate_scores(workshop, harm == TARN_BL_HALF_INFLATED, layers, weights);
        break;
    case TARN_BL_ZEROS:
        scale_layers(layers, tarn_rng_below(workshop->rng, 4), 0);
        break;
    default:
        add_noise(layers, workshop->rng);
        break;
    }
    return true;
}

void tarn_bl_make_equal(const tarn_model *live, struct tarn_rng *rng, float noise, float *weights)
{
    size_t count = tarn_shape_weights(&live->shape);
    for (size_t i = 0; i < count; i++)
        weights[i] = live->weights[i] * (1 + noise * normal(rng));
}
