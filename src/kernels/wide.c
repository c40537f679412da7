/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Products of matrices by tiles of 64 x 64: both sides are packed, so that transposed ones and ragged
 * edges cost nothing inside; and the steps between them. Compiled once an instruction set.
 */
#include "wide.h"
#include "isa.h"
#include "score.h"
#include "vector.h"

#include <math.h>

void TARN_VARIANT(tarn_wide)(const struct tarn_wide_constants *constants,
                             const struct tarn_wide_arrays *arrays, uint32_t first, uint32_t count);

enum { SIDE = TARN_WIDE_SIDE, TERMS = TARN_WIDE_TERMS };

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

struct tile {
    _Alignas(64) float a[SIDE * TERMS], b[TERMS * SIDE], c[SIDE * SIDE];
};

/* Column by column of `b` where that is how it lies, else row by row. */
static void pack_b(const struct tarn_wide_constants *k, const float *b, uint32_t terms,
                   uint32_t columns, float *to)
{
    if (k->b_column == 1) {
        for (uint32_t t = 0; t < terms; t++) {
            memcpy(to + t * SIDE, b + (size_t)t * k->b_term, columns * sizeof *to);
            memset(to + t * SIDE + columns, 0, (SIDE - columns) * sizeof *to);
        }
        return;
    }
    for (uint32_t n = 0; n < SIDE; n++)
        for (uint32_t t = 0; t < terms; t++)
            to[t * SIDE + n] =
                n < columns ? b[(size_t)t * k->b_term + (size_t)n * k->b_column] : 0.0f;
}

static void product_tile(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                         uint32_t row, uint32_t column)
{
    struct tile tile;
    uint32_t rows = least(SIDE, k->rows - row), columns = least(SIDE, k->columns - column);
    uint32_t vectors = (columns + LANES - 1) / LANES;
    memset(tile.c, 0, rows * SIDE * sizeof *tile.c);
    for (uint32_t done = 0; done < k->terms; done += TERMS) {
        uint32_t terms = least(TERMS, k->terms - done);
        const float *a = x->a + k->a + (size_t)row * k->a_row + (size_t)done * k->a_term;
        const float *b = x->b + k->b + (size_t)done * k->b_term + (size_t)column * k->b_column;
        for (uint32_t r = 0; r < rows; r++) {
            if (k->a_term == 1)
                memcpy(tile.a + r * TERMS, a + (size_t)r * k->a_row, terms * sizeof *a);
            else
                for (uint32_t t = 0; t < terms; t++)
                    tile.a[r * TERMS + t] = a[(size_t)r * k->a_row + (size_t)t * k->a_term];
        }
        pack_b(k, b, terms, columns, tile.b);
        product(&(struct product){.terms = terms,
                                  .s = tile.a,
                                  .s_row = TERMS,
                                  .s_term = 1,
                                  .v = tile.b,
                                  .v_term = SIDE,
                                  .v_column = LANES,
                                  .out = tile.c,
                                  .out_row = SIDE,
                                  .out_column = LANES},
                rows, vectors);
    }
    for (uint32_t r = 0; r < rows; r++) {
        float *from = tile.c + r * SIDE;
        float bias = k->flags & TARN_WIDE_HAS_BIAS ? x->a[k->bias + row + r] : 0.0f;
        for (uint32_t l = 0; l < vectors * LANES; l += LANES)
            store(from + l, load(from + l) + bias);
        if (k->flags & TARN_WIDE_LEAKY)
            leak(from, vectors * LANES);
        memcpy(x->c + k->c + (size_t)(row + r) * k->c_row + column, from, columns * sizeof *from);
    }
}

/* `lines` rows from `row`, all columns. */
static void bias_rows(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                      uint32_t row, uint32_t lines)
{
    for (uint32_t r = row; r < row + lines; r++) {
        float *c = x->c + k->c + (size_t)r * k->c_row;
        vec bias = all(x->a[k->bias + r]);
        for (uint32_t n = 0; n < k->columns; n += LANES) {
            vec z = load(c + n) + bias;
            store(c + n, k->flags & TARN_WIDE_LEAKY ? pick(z > 0.0f, z, z * TARN_LEAK) : z);
        }
    }
}

static void slope_rows(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                       uint32_t row, uint32_t lines)
{
    for (uint32_t r = row; r < row + lines; r++) {
        float *c = x->c + k->c + (size_t)r * k->c_row;
        const float *a = x->a + k->a + (size_t)r * k->a_row;
        for (uint32_t n = 0; n < k->columns; n += LANES) {
            vec d = load(c + n);
            store(c + n, pick(load(a + n) > 0.0f, d, d * TARN_LEAK));
        }
    }
}

static void sum_rows(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                     uint32_t row, uint32_t lines)
{
    for (uint32_t r = row; r < row + lines; r++) {
        const float *a = x->a + k->a + (size_t)r * k->a_row;
        vec sum = all(0.0f);
        uint32_t n = 0;
        for (; n + LANES <= k->columns; n += LANES)
            sum += load(a + n);
        float total = 0.0f;
        for (int l = 0; l < LANES; l++)
            total += sum[l];
        for (; n < k->columns; n++)
            total += a[n];
        x->c[k->c + r] = total;
    }
}

/* `columns` of them from `column`, a multiple of LANES. */
static void score_columns(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                          uint32_t column, uint32_t columns)
{
    for (uint32_t n = column; n < column + columns; n += LANES) {
        vec score = gittins(x->a + k->a + n, k->a_row, k->rows);
        if (n + LANES <= k->columns)
            store(x->c + k->c + n, score);
        else
            memcpy(x->c + k->c + n, &score, (k->columns - n) * sizeof(float));
    }
}

static void loss_columns(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                         uint32_t column, uint32_t columns)
{
    for (uint32_t n = column; n < column + columns; n += LANES) {
        veci labels = loadi(x->b + k->b + n);
        veci risk = labels & 0xff, event = (labels >> 8 & 0xff) - 1;
        vec loss = all(0.0f);
        for (uint32_t bin = 0; bin < k->rows; bin++) {
            struct hazard h = hazard_of(load(x->a + k->a + (size_t)bin * k->a_row + n),
                                        alli((int32_t)bin) < risk, alli((int32_t)bin) == event);
            loss += h.cost;
            store(x->c + k->c + (size_t)bin * k->c_row + n, h.gradient * k->scale);
        }
        store(x->d + k->d + n, loss * k->scale);
    }
}

static void adam(const struct tarn_wide_constants *k, const float *restrict gradient,
                 float *restrict m, float *restrict v, float *restrict weights, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        float g = gradient[i];
        uint32_t bits;
        memcpy(&bits, &g, sizeof bits);
        float new_m = m[i] + (1.0f - k->beta1) * (g - m[i]);
        float new_v = v[i] + (1.0f - k->beta2) * (g * g - v[i]);
        float step =
            k->scale * (new_m * k->unbias1) / (__builtin_sqrtf(new_v * k->unbias2) + k->epsilon);
        /* by the exponent's bits: true for infinities and NaN whatever the compiler assumes */
        bool good = (bits & 0x7f800000u) != 0x7f800000u;
        m[i] = good ? new_m : m[i];
        v[i] = good ? new_v : v[i];
        weights[i] = good ? weights[i] - step : weights[i];
    }
}

/* ---- networks in two steps ---- */

/* One layer of a PASS for one tile, or its way back: what `p` says, from `bias` or from zero, then
 * the leaky ReLU, or its slope where it gave `a`. `turned`: [lane][row] too, rows `turned_row` apart. */
struct stage {
    struct product p;
    uint32_t rows;
    const float *bias, *a;
    bool leaky;
    float *turned;
    size_t turned_row;
};

static void run_stage(const struct stage *s)
{
    float *out = s->p.out;
    for (uint32_t r = 0; r < s->rows; r++)
        for (uint32_t l = 0; l < TARN_LANES; l += LANES)
            store(out + r * TARN_LANES + l, all(s->bias != NULL ? s->bias[r] : 0.0f));
    product(&s->p, s->rows, TARN_LANES / LANES);
    if (s->leaky)
        leak(out, (size_t)s->rows * TARN_LANES);
    for (size_t i = 0; s->a != NULL && i < (size_t)s->rows * TARN_LANES; i += LANES) {
        vec z = load(out + i);
        store(out + i, pick(load(s->a + i) > 0.0f, z, z * TARN_LEAK));
    }
    for (uint32_t l = 0; s->turned != NULL && l < TARN_LANES; l++)
        for (uint32_t r = 0; r < s->rows; r++)
            s->turned[l * s->turned_row + r] = out[r * TARN_LANES + l];
}

static struct product tile_product(const float *s, size_t s_row, size_t s_term, size_t terms,
                                   const float *v, float *out)
{
    return (struct product){.terms = terms,
                            .s = s,
                            .s_row = s_row,
                            .s_term = s_term,
                            .v = v,
                            .v_term = TARN_LANES,
                            .v_column = LANES,
                            .out = out,
                            .out_row = TARN_LANES,
                            .out_column = LANES};
}

/* The tile of samples from `n` on. */
static void pass_tile(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                      uint32_t n)
{
    const uint32_t in = k->inputs, h1 = k->hidden1, h2 = k->hidden2, out = k->outputs;
    const size_t p0 = TARN_WIDE_PADDED(in), p1 = TARN_WIDE_PADDED(h1), p2 = TARN_WIDE_PADDED(h2);
    const float *w1 = x->a + k->a, *w2 = w1 + (size_t)h1 * (in + 1);
    const float *w3 = w2 + (size_t)h2 * (h1 + 1), *tile = x->b + k->b + (size_t)n * in;
    float *c = x->c + k->c;
    float *a1 = c + TARN_WIDE_A1(*k) + n * p1, *a2 = c + TARN_WIDE_A2(*k) + n * p2;
    float *d1 = c + TARN_WIDE_D1(*k) + n * p1, *d2 = c + TARN_WIDE_D2(*k) + n * p2;
    float *d3 = c + TARN_WIDE_D3(*k) + n * (size_t)TARN_WIDE_PADDED(out);
    float *t0 = c + TARN_WIDE_T0(*k) + n * p0;
    for (uint32_t l = 0; l < TARN_LANES; l++)
        for (uint32_t f = 0; f < in; f++)
            t0[l * p0 + f] = tile[f * TARN_LANES + l];
    run_stage(&(struct stage){.p = tile_product(w1, in, 1, in, tile, a1),
                              .rows = h1,
                              .bias = w1 + (size_t)h1 * in,
                              .leaky = true,
                              .turned = c + TARN_WIDE_T1(*k) + n * p1,
                              .turned_row = p1});
    run_stage(&(struct stage){.p = tile_product(w2, h1, 1, h1, a1, a2),
                              .rows = h2,
                              .bias = w2 + (size_t)h2 * h1,
                              .leaky = true,
                              .turned = c + TARN_WIDE_T2(*k) + n * p2,
                              .turned_row = p2});
    run_stage(&(struct stage){
        .p = tile_product(w3, h2, 1, h2, a2, d3), .rows = out, .bias = w3 + (size_t)out * h2});
    struct tarn_wide_constants loss = {.rows = out,
                                       .a_row = TARN_LANES,
                                       .b = k->b_term + n,
                                       .c_row = TARN_LANES,
                                       .d = k->d + n,
                                       .scale = k->scale};
    loss_columns(&loss, &(struct tarn_wide_arrays){d3, x->b, d3, x->d}, 0, TARN_LANES);
    run_stage(&(struct stage){.p = tile_product(w3, 1, h2, out, d3, d2), .rows = h2, .a = a2});
    run_stage(&(struct stage){.p = tile_product(w2, 1, h1, h2, d2, d1), .rows = h1, .a = a1});
}

/* The gradients of a neuron's weights by what its samples' derivatives `d` and its inputs `t` say,
 * 64 at a time, and Adam's step. */
static void update_neuron(const struct tarn_wide_constants *k, const float *d, size_t tile,
                          const float *t, uint32_t inputs, float *weights, float *bias)
{
    const size_t across = TARN_WIDE_PADDED(inputs), apart = k->c_row;
    float total = 0;
    for (uint32_t n = 0; n < k->columns; n++)
        total += d[n / TARN_LANES * tile + n % TARN_LANES];
    adam(k, &total, bias + apart, bias + 2 * apart, bias, 1);
    for (uint32_t i = 0; i < inputs; i += SIDE) {
        float sums[SIDE] = {0};
        uint32_t count = least(SIDE, inputs - i);
        for (uint32_t n = 0; n < k->columns; n += TARN_LANES)
            product(&(struct product){.terms = TARN_LANES,
                                      .s = d + n / TARN_LANES * tile,
                                      .s_term = 1,
                                      .v = t + n * across + i,
                                      .v_term = across,
                                      .v_column = LANES,
                                      .out = sums,
                                      .out_column = LANES},
                    1, (count + LANES - 1) / LANES);
        adam(k, sums, weights + apart + i, weights + 2 * apart + i, weights + i, count);
    }
}

static void update(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                   uint32_t group)
{
    const uint32_t sizes[] = {k->inputs, k->hidden1, k->hidden2, k->outputs};
    const size_t d[] = {TARN_WIDE_D1(*k), TARN_WIDE_D2(*k), TARN_WIDE_D3(*k)};
    const size_t t[] = {TARN_WIDE_T0(*k), TARN_WIDE_T1(*k), TARN_WIDE_T2(*k)};
    uint32_t row = group * TARN_WIDE_UPDATE_ROWS, layer = 0;
    float *weights = x->c + k->c;
    for (; layer < 2 && row >= TARN_WIDE_PADDED(sizes[layer + 1]); layer++) {
        row -= TARN_WIDE_PADDED(sizes[layer + 1]);
        weights += (size_t)sizes[layer + 1] * (sizes[layer] + 1);
    }
    uint32_t inputs = sizes[layer], neurons = sizes[layer + 1];
    for (uint32_t r = row; r < least(row + TARN_WIDE_UPDATE_ROWS, neurons); r++)
        update_neuron(k, x->a + k->a + d[layer] + r * TARN_LANES,
                      (size_t)TARN_WIDE_PADDED(neurons) * TARN_LANES, x->a + k->a + t[layer],
                      inputs, weights + (size_t)r * inputs, weights + (size_t)neurons * inputs + r);
}

void TARN_VARIANT(tarn_wide)(const struct tarn_wide_constants *k, const struct tarn_wide_arrays *x,
                             uint32_t first, uint32_t count)
{
    uint32_t across = (k->columns + SIDE - 1) / SIDE;
    for (uint32_t g = first; g < first + count; g++) {
        uint32_t line = g * SIDE, at = g * TARN_WIDE_FLAT;
        switch (k->op) {
        case TARN_WIDE_PRODUCT:
            product_tile(k, x, g / across * SIDE, g % across * SIDE);
            break;
        case TARN_WIDE_BIAS:
            bias_rows(k, x, line, least(SIDE, k->rows - line));
            break;
        case TARN_WIDE_SCORE:
            score_columns(k, x, line, least(SIDE, k->columns - line));
            break;
        case TARN_WIDE_LOSS:
            loss_columns(k, x, line, least(SIDE, k->columns - line));
            break;
        case TARN_WIDE_SLOPE:
            slope_rows(k, x, line, least(SIDE, k->rows - line));
            break;
        case TARN_WIDE_SUM:
            sum_rows(k, x, line, least(SIDE, k->rows - line));
            break;
        case TARN_WIDE_PASS:
            for (uint32_t n = g * TARN_WIDE_PASS_SAMPLES;
                 n < least((g + 1) * TARN_WIDE_PASS_SAMPLES, k->columns); n += TARN_LANES)
                pass_tile(k, x, n);
            break;
        case TARN_WIDE_UPDATE:
            update(k, x, g);
            break;
        default:
            adam(k, x->a + k->a + at, x->b + k->b + at, x->d + k->d + at, x->c + k->c + at,
                 least(TARN_WIDE_FLAT, k->rows - at));
            break;
        }
    }
}
