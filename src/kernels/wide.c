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
        default:
            adam(k, x->a + k->a + at, x->b + k->b + at, x->d + k->d + at, x->c + k->c + at,
                 least(TARN_WIDE_FLAT, k->rows - at));
            break;
        }
    }
}
