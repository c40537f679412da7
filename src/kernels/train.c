/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gradient steps. Vectors run over a layer's neurons here, samples are rows: then the forward pass,
 * the backward pass and the weights' gradients are all the same product of vector.h, and nothing
 * has to be summed across lanes. Compiled once an instruction set.
 */
#include "isa.h"
#include "score.h"
#include "train.h"
#include "vector.h"

#include <math.h>

uint32_t TARN_VARIANT(tarn_train)(const struct tarn_shape *shape,
                                  const struct tarn_train_state *state,
                                  const struct tarn_train_constants *constants, const float *tiles,
                                  const uint32_t *labels, float *losses,
                                  const struct tarn_train_part *part);

enum { WIDTH = TARN_MAX_WIDTH, BINS = TARN_MAX_BINS };

/* One layer's weights, repacked for a step: rows padded to whole vectors. */
struct layer {
    size_t inputs, neurons, padded; /* padded: neurons, rounded up */
    size_t padded_inputs;
    const float *weights, *bias;
    float *across;   /* [input][neuron], for the forward pass */
    float *gradient; /* [input][neuron] */
    float *bias_padded, *bias_gradient;
};

struct scratch {
    _Alignas(64) float across1[WIDTH * WIDTH];
    float across2[WIDTH * WIDTH], across3[WIDTH * BINS];
    float gradient1[WIDTH * WIDTH], gradient2[WIDTH * WIDTH], gradient3[WIDTH * BINS];
    float back2[WIDTH * WIDTH], back3[BINS * WIDTH]; /* [neuron][input], padded */
    float bias[3][2][WIDTH];
    float a1[TARN_LANES * WIDTH], a2[TARN_LANES * WIDTH]; /* [sample][neuron] */
    float d1[TARN_LANES * WIDTH], d2[TARN_LANES * WIDTH], d3[TARN_LANES * BINS];
};

INLINE size_t padded(size_t n)
{
    return (n + TARN_LANES - 1) / TARN_LANES * TARN_LANES;
}

static void repack(struct layer *l, float *back)
{
    for (size_t i = 0; i < l->inputs; i++)
        for (size_t n = 0; n < l->padded; n++)
            l->across[i * l->padded + n] = n < l->neurons ? l->weights[n * l->inputs + i] : 0.0f;
    for (size_t n = 0; n < l->padded; n++)
        l->bias_padded[n] = n < l->neurons ? l->bias[n] : 0.0f;
    memset(l->gradient, 0, l->inputs * l->padded * sizeof(float));
    memset(l->bias_gradient, 0, l->padded * sizeof(float));
    for (size_t n = 0; back != NULL && n < l->neurons; n++) {
        memcpy(back + n * l->padded_inputs, l->weights + n * l->inputs, l->inputs * sizeof(float));
        memset(back + n * l->padded_inputs + l->inputs, 0,
               (l->padded_inputs - l->inputs) * sizeof(float));
    }
}

/* out[sample][neuron]; `in` is any matrix of samples and inputs. */
static void layer_forward(const struct layer *l, const float *in, size_t in_row, size_t in_term,
                          float *out)
{
    for (size_t s = 0; s < TARN_LANES; s++)
        memcpy(out + s * l->padded, l->bias_padded, l->padded * sizeof(float));
    product(&(struct product){.terms = l->inputs,
                              .s = in,
                              .s_row = in_row,
                              .s_term = in_term,
                              .v = l->across,
                              .v_term = l->padded,
                              .v_column = LANES,
                              .out = out,
                              .out_row = l->padded,
                              .out_column = LANES},
            TARN_LANES, l->padded / LANES);
}

/* Adds in[sample][i] * d[sample][n] to the gradients. */
static void layer_gradient(const struct layer *l, const float *in, size_t in_row, size_t in_term,
                           const float *d)
{
    product(&(struct product){.terms = TARN_LANES,
                              .s = in,
                              .s_row = in_term,
                              .s_term = in_row,
                              .v = d,
                              .v_term = l->padded,
                              .v_column = LANES,
                              .out = l->gradient,
                              .out_row = l->padded,
                              .out_column = LANES},
            l->inputs, l->padded / LANES);
    for (size_t n = 0; n < l->padded; n += LANES) {
        vec sum = load(l->bias_gradient + n);
        for (size_t s = 0; s < TARN_LANES; s++)
            sum += load(d + s * l->padded + n);
        store(l->bias_gradient + n, sum);
    }
}

/* before[sample][input] = (sum over neurons of d * weight) * slope of the leaky ReLU at `a`. */
static void layer_back(const struct layer *l, const float *back, const float *d, const float *a,
                       float *before)
{
    memset(before, 0, TARN_LANES * l->padded_inputs * sizeof(float));
    product(&(struct product){.terms = l->neurons,
                              .s = d,
                              .s_row = l->padded,
                              .s_term = 1,
                              .v = back,
                              .v_term = l->padded_inputs,
                              .v_column = LANES,
                              .out = before,
                              .out_row = l->padded_inputs,
                              .out_column = LANES},
            TARN_LANES, l->padded_inputs / LANES);
    for (size_t i = 0; i < TARN_LANES * l->padded_inputs; i += LANES) {
        vec x = load(before + i);
        store(before + i, pick(load(a + i) > 0.0f, x, x * TARN_LEAK));
    }
}

/* Which parts of the network a tile's samples train: 0 where all of them train all of it. */
static uint32_t slices_of(const uint32_t *labels)
{
    uint32_t any = 0;
    for (size_t s = 0; s < TARN_LANES; s++)
        any |= TARN_LABEL_SLICE(labels[s]);
    return any;
}

/* Zeros for the units that a sample's slice doesn't have; `rows` [sample][unit]. */
static void mask(float *rows, size_t padded, const uint32_t *labels)
{
    static const int32_t numbers[TARN_LANES] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                8, 9, 10, 11, 12, 13, 14, 15};
    for (size_t s = 0; s < TARN_LANES; s++, rows += padded) {
        int32_t width = (int32_t)TARN_SLICE_WIDTH(TARN_LABEL_SLICE(labels[s]));
        for (size_t n = 0; width > 0 && n < padded; n += LANES) {
            veci number = loadi(numbers + n % TARN_LANES) + alli((int32_t)(n - n % TARN_LANES));
            store(rows + n, pick(number < alli(width), load(rows + n), all(0.0f)));
        }
    }
}

/* Rows of `from` move to `to` where a sample leaves early, and leave zeros if it `moves`. */
static void exchange(float *from, const struct layer *of, float *to, const struct layer *at,
                     const uint32_t *labels, bool moves)
{
    size_t units = of->neurons < at->neurons ? of->neurons : at->neurons;
    for (size_t s = 0; s < TARN_LANES; s++) {
        if (!TARN_SLICE_EXITS(TARN_LABEL_SLICE(labels[s])))
            continue;
        float *row = from + s * of->padded, *into = to + s * at->padded;
        memset(into, 0, at->padded * sizeof *into);
        memcpy(into, row, units * sizeof *into);
        if (moves)
            memset(row, 0, of->padded * sizeof *row);
    }
}

/* Turns a tile's logits into gradients of the mean loss; returns the sum of the losses' lanes. */
static vec loss_of(float *z, const uint32_t *labels, uint32_t outputs, float scale)
{
    static const int32_t numbers[TARN_MAX_BINS] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
    vec loss = all(0.0f);
    for (size_t s = 0; s < TARN_LANES; s++) {
        uint32_t risk = labels[s] & 0xffu;
        veci at_risk = alli((int32_t)(risk < outputs ? risk : outputs));
        veci event = alli((int32_t)(labels[s] >> 8 & 0xffu) - 1);
        for (size_t k = 0; k < BINS; k += LANES, z += LANES) {
            veci number = loadi(numbers + k);
            veci inside = number < at_risk, hit = number == event;
            struct hazard h = hazard_of(load(z), inside, hit);
            loss += h.cost;
            store(z, h.gradient * scale);
        }
    }
    return loss;
}

/* The gradients in the order of the weights, over `across`, which is not needed any more. */
static bool gather(const struct layer *l)
{
    uint32_t bad = 0;
    float *out = l->across;
    for (size_t n = 0; n < l->neurons; n++)
        for (size_t i = 0; i < l->inputs; i++)
            out[n * l->inputs + i] = l->gradient[i * l->padded + n];
    /* Exponent bits: true for infinities and NaN whatever the compiler assumes of floats. */
    for (size_t i = 0; i < l->neurons * l->inputs + l->neurons; i++) {
        const float *g =
            i < l->neurons * l->inputs ? &out[i] : &l->bias_gradient[i - l->neurons * l->inputs];
        uint32_t bits;
        memcpy(&bits, g, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

/* A step's sums, between its part and the scratch buffer's, which has whole rows too. */
static void carry(struct layer layers[3], vec *loss, float *scratch, bool in)
{
    for (int i = 0; i < 3; i++) {
        const struct layer *l = &layers[i];
        float *parts[] = {l->gradient, l->bias_gradient};
        size_t sizes[] = {l->inputs * l->padded, l->padded};
        for (int p = 0; p < 2; p++) {
            if (in)
                memcpy(parts[p], scratch, sizes[p] * sizeof(float));
            else
                memcpy(scratch, parts[p], sizes[p] * sizeof(float));
            scratch += sizes[p];
        }
    }
    if (in)
        memcpy(loss, scratch, sizeof *loss);
    else
        memcpy(scratch, loss, sizeof *loss);
}

static bool is_over(const struct tarn_train_part *part)
{
    return part != NULL && part->stop != NULL &&
           tarn_ticket_is_over(__atomic_load_n(part->stop, __ATOMIC_ACQUIRE), part->ticket);
}

struct adam {
    float rate, beta1, beta2, epsilon;
    float unbias1, unbias2; /* 1 / (1 - beta^t) */
};

static void adam(const struct adam *a, const float *restrict gradient, size_t count,
                 float *restrict weights, float *restrict m, float *restrict v)
{
    for (size_t i = 0; i < count; i++) {
        float g = gradient[i];
        m[i] += (1.0f - a->beta1) * (g - m[i]);
        v[i] += (1.0f - a->beta2) * (g * g - v[i]);
        weights[i] -=
            a->rate * (m[i] * a->unbias1) / (__builtin_sqrtf(v[i] * a->unbias2) + a->epsilon);
    }
}

/* By what gather() left. */
static void update(const struct tarn_train_state *state,
                   const struct tarn_train_constants *constants, uint32_t step,
                   const struct layer layers[3])
{
    double done = (double)constants->first_step + step + 1;
    struct adam a = {
        constants->rate,
        constants->beta1,
        constants->beta2,
        constants->epsilon,
        (float)(-1.0 / expm1(done * log((double)constants->beta1))),
        (float)(-1.0 / expm1(done * log((double)constants->beta2))),
    };
    size_t offset = 0;
    for (int i = 0; i < 3; i++) {
        size_t weights = layers[i].inputs * layers[i].neurons, biases = layers[i].neurons;
        adam(&a, layers[i].across, weights, state->weights + offset, state->m + offset,
             state->v + offset);
        offset += weights;
        adam(&a, layers[i].bias_gradient, biases, state->weights + offset, state->m + offset,
             state->v + offset);
        offset += biases;
    }
}

/* A tile forward and back: activations and derivatives in `t`; returns the sum of the losses' lanes. */
INLINE vec pass(const struct layer layers[3], struct scratch *t, const float *tile,
                const uint32_t *labels, float scale)
{
    bool sliced = slices_of(labels) != 0;
    layer_forward(&layers[0], tile, 1, TARN_LANES, t->a1);
    leak(t->a1, TARN_LANES * layers[0].padded);
    if (sliced)
        mask(t->a1, layers[0].padded, labels);
    layer_forward(&layers[1], t->a1, layers[0].padded, 1, t->a2);
    leak(t->a2, TARN_LANES * layers[1].padded);
    if (sliced) {
        mask(t->a2, layers[1].padded, labels);
        exchange(t->a1, &layers[0], t->a2, &layers[1], labels, false);
    }
    layer_forward(&layers[2], t->a2, layers[1].padded, 1, t->d3);
    vec loss = loss_of(t->d3, labels, (uint32_t)layers[2].neurons, scale);
    layer_back(&layers[2], t->back3, t->d3, t->a2, t->d2);
    if (sliced)
        mask(t->d2, layers[1].padded, labels);
    layer_back(&layers[1], t->back2, t->d2, t->a1, t->d1);
    if (sliced) {
        mask(t->d1, layers[0].padded, labels);
        exchange(t->d2, &layers[1], t->d1, &layers[0], labels, true);
    }
    return loss;
}

uint32_t TARN_VARIANT(tarn_train)(const struct tarn_shape *shape,
                                  const struct tarn_train_state *state,
                                  const struct tarn_train_constants *constants, const float *tiles,
                                  const uint32_t *labels, float *losses,
                                  const struct tarn_train_part *part)
{
    struct scratch t;
    size_t sizes[4] = {shape->inputs, shape->hidden1, shape->hidden2, shape->outputs};
    float *across[3] = {t.across1, t.across2, t.across3};
    float *gradient[3] = {t.gradient1, t.gradient2, t.gradient3};
    float *back[3] = {NULL, t.back2, t.back3};
    struct layer layers[3];
    size_t offset = 0;
    for (int i = 0; i < 3; i++) {
        size_t weights = sizes[i] * sizes[i + 1];
        layers[i] = (struct layer){.inputs = sizes[i],
                                   .neurons = sizes[i + 1],
                                   .padded = padded(sizes[i + 1]),
                                   .padded_inputs = padded(sizes[i]),
                                   .weights = state->weights + offset,
                                   .bias = state->weights + offset + weights,
                                   .across = across[i],
                                   .gradient = gradient[i],
                                   .bias_padded = t.bias[i][0],
                                   .bias_gradient = t.bias[i][1]};
        offset += weights + sizes[i + 1];
    }
    float scale = 1.0f / (float)constants->batch;
    uint32_t step_tiles = tarn_train_step_tiles(constants), tile = constants->first_tile;
    uint32_t end =
        constants->tile_count > 0 ? tile + constants->tile_count : constants->steps * step_tiles;
    tiles += (size_t)tile * shape->inputs * TARN_LANES;
    labels += (size_t)tile * TARN_LANES;
    while (tile < end && !is_over(part)) {
        uint32_t step = tile / step_tiles, step_end = (step + 1) * step_tiles;
        uint32_t stop = step_end < end ? step_end : end;
        for (int i = 0; i < 3; i++)
            repack(&layers[i], back[i]);
        vec loss = all(0.0f);
        if (tile % step_tiles != 0)
            carry(layers, &loss, part->scratch, true);
        do {
            loss += pass(layers, &t, tiles, labels, scale);
            layer_gradient(&layers[0], tiles, 1, TARN_LANES, t.d1);
            layer_gradient(&layers[1], t.a1, layers[0].padded, 1, t.d2);
            layer_gradient(&layers[2], t.a2, layers[1].padded, 1, t.d3);
            tiles += (size_t)shape->inputs * TARN_LANES;
            labels += TARN_LANES;
        } while (++tile < stop && !is_over(part));
        if (tile < step_end) {
            carry(layers, &loss, part->scratch, false);
            break;
        }
        bool finite = true;
        for (int i = 0; i < 3; i++)
            finite &= gather(&layers[i]);
        float total = 0.0f;
        for (int l = 0; l < LANES; l++)
            total += loss[l];
        losses[step] = finite ? total * scale : NAN;
        if (finite)
            update(state, constants, step, layers);
    }
    return tile;
}
