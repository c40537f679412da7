/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Vectors for the host kernels: the one file that knows how wide they are. Included only by sources
 * that are compiled once for each instruction set (TARN_ISA names it), so everything here is
 * static.
 *
 * GNU vector extensions, one native register wide: wider ones are cut up by gcc through memory.
 */
#ifndef TARN_KERNELS_VECTOR_H
#define TARN_KERNELS_VECTOR_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "layout.h"

#define TARN_PASTE_(a, b) a##_##b
#define TARN_PASTE(a, b)  TARN_PASTE_(a, b)
/** The name of this instruction set's variant of a function: tarn_forward_avx2. */
#define TARN_VARIANT(name) TARN_PASTE(name, TARN_ISA)

#if defined(__AVX512F__)
#define LANES 16
#define ROWS  8
#elif defined(__AVX2__)
#define LANES 8
#define ROWS  4 /* 16 registers: 8 accumulators, 2 vectors, a factor */
#elif defined(__aarch64__)
#define LANES 4
#define ROWS  8
#else
#define LANES 4
#define ROWS  4
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t veci __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline, unused))

INLINE vec load(const float *from)
{
    vec v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE veci loadi(const void *from)
{
    veci v;
    memcpy(&v, from, sizeof v);
    return v;
}

INLINE void store(float *to, vec v)
{
    memcpy(to, &v, sizeof v);
}

/** x in every lane (x - 0 is x for every x; 0 + x isn't for -0). */
INLINE vec all(float x)
{
    return x - (vec){0};
}

INLINE veci alli(int32_t x)
{
    return x - (veci){0};
}

/** Where the mask's lanes are -1 `yes`, where they are 0 `no`. */
INLINE vec pick(veci mask, vec yes, vec no)
{
    return (vec)((mask & (veci)yes) | (~mask & (veci)no));
}

/**
 * e^x, relative error below 2e-7 in [-80, 80]; x is held inside these bounds, so the result is
 * always a normal number. A NaN stays one. Cody and Waite's reduction to |r| <= ln 2 / 2, then a
 * Taylor polynomial of degree 7 (remainder 5e-9).
 */
INLINE vec vec_exp(vec x)
{
    x = pick(x < -80.0f, all(-80.0f), x);
    x = pick(x > 80.0f, all(80.0f), x);
    const vec magic = all(0x1.8p23f); /* adding it rounds to whole numbers, kept in the low bits */
    vec shifted = x * 1.44269504f + magic;
    vec whole = shifted - magic;
    vec r = x - whole * 0.693359375f;
    r = r + whole * 2.12194440e-4f;
    vec p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return (vec)((veci)p + ((veci)shifted << 23));
}

/**
 * log2(x) for positive normal x: absolute error below 1e-6 for results inside [-8, 8], a relative
 * 2e-7 outside. NaN stays NaN. The mantissa in [sqrt(1/2), sqrt(2)) goes through the series of
 * atanh((m - 1) / (m + 1)), remainder 1e-9.
 */
INLINE vec vec_lg(vec x)
{
    veci bits = (veci)x;
    veci exponent = (bits - 0x3f3504f3) >> 23;
    vec m = (vec)(bits - (exponent << 23));
    vec t = (m - 1.0f) / (m + 1.0f), tt = t * t;
    vec p = all(2.885390082f / 9);
    p = p * tt + 2.885390082f / 7;
    p = p * tt + 2.885390082f / 5;
    p = p * tt + 2.885390082f / 3;
    p = p * tt + 2.885390082f;
    vec result = p * t + __builtin_convertvector(exponent, vec);
    return pick(x == x, result, x);
}

/** The whole computation of a network in one form: out[r][c] += sum over t of s[r][t] * v[t][c]. */
struct product {
    size_t terms;
    const float *s; /* a factor for all lanes */
    size_t s_row, s_term;
    const float *v; /* vectors */
    size_t v_term, v_column;
    float *out;
    size_t out_row, out_column;
};

/*
 * `rows` x `columns` accumulators in registers: enough of them hide the latency of a multiply-add.
 * One variable each, because clang leaves an array of them in memory; both numbers are constants
 * after inlining, so that what is beyond them vanishes.
 */
#define EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

INLINE void product_block(const int rows, const int columns, const struct product *p, size_t row,
                          size_t column)
{
    const size_t s_row = p->s_row, s_term = p->s_term, v_term = p->v_term, v_column = p->v_column;
    const float *s = p->s + row * s_row, *v = p->v + column * v_column;
    float *out = p->out + row * p->out_row + column * p->out_column;
#define READ(r)                                                                                    \
    vec a##r = {0}, b##r = {0};                                                                    \
    if (r < rows)                                                                                  \
        a##r = load(out + r * p->out_row);                                                         \
    if (r < rows && columns > 1)                                                                   \
        b##r = load(out + r * p->out_row + p->out_column);
#define ADD(r)                                                                                     \
    if (r < rows) {                                                                                \
        a##r += s[r * s_row] * x;                                                                  \
        if (columns > 1)                                                                           \
            b##r += s[r * s_row] * y;                                                              \
    }
#define WRITE(r)                                                                                   \
    if (r < rows)                                                                                  \
        store(out + r * p->out_row, a##r);                                                         \
    if (r < rows && columns > 1)                                                                   \
        store(out + r * p->out_row + p->out_column, b##r);
    EACH_ROW(READ)
    for (size_t t = p->terms; t > 0; t--) {
        vec x = load(v), y = columns > 1 ? load(v + v_column) : x;
        EACH_ROW(ADD)
        s += s_term;
        v += v_term;
    }
    EACH_ROW(WRITE)
#undef READ
#undef ADD
#undef WRITE
}

INLINE void product_columns(const int columns, const struct product *p, size_t rows, size_t column)
{
    size_t row = 0;
    for (; row + ROWS <= rows; row += ROWS)
        product_block(ROWS, columns, p, row, column);
    switch (rows - row) {
    case 1:
        product_block(1, columns, p, row, column);
        break;
    case 2:
        product_block(2, columns, p, row, column);
        break;
    case 3:
        product_block(3, columns, p, row, column);
        break;
#if ROWS > 4
    case 4:
        product_block(4, columns, p, row, column);
        break;
    case 5:
        product_block(5, columns, p, row, column);
        break;
    case 6:
        product_block(6, columns, p, row, column);
        break;
    case 7:
        product_block(7, columns, p, row, column);
        break;
#endif
    default:
        break;
    }
}

/** `columns` counts vectors, not lanes. */
static void __attribute__((unused)) product(const struct product *p, size_t rows, size_t columns)
{
    size_t column = 0;
    for (; column + 2 <= columns; column += 2)
        product_columns(2, p, rows, column);
    if (column < columns)
        product_columns(1, p, rows, column);
}

/** Leaky ReLU over `count` floats, a multiple of LANES. */
INLINE void leak(float *x, size_t count)
{
    for (size_t i = 0; i < count; i += LANES) {
        vec a = load(x + i);
        store(x + i, pick(a > 0.0f, a, a * TARN_LEAK));
    }
}

#endif
