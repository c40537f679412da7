/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In front of every kernel's CPU shape: there a work-item does what a group would do on a GPU, with
 * vectors of 16 lanes, because barriers and one element an item are 25 times slower on CPU drivers.
 *
 * Address spaces are one on a CPU: TARN_FLAT turns a global pointer into a plain one, so that a
 * function can take both. A driver for which that is wrong fails the self-test and isn't used.
 */
#define TARN_CPU_SHAPE           1
#define TARN_FLAT(type, pointer) ((type *)(size_t)(pointer))
#define TARN_INLINE              static inline __attribute__((always_inline))

/* LLVM halves 512-bit vectors on many CPUs that have them, unless a function asks for whole. */
#if defined(__AVX512F__) && __has_attribute(min_vector_width)
#define TARN_WIDE __attribute__((min_vector_width(512)))
#else
#define TARN_WIDE
#endif

/* Accumulators of a block: as many as fit into the registers. */
#if defined(__AVX512F__)
#define TARN_ROWS    8
#define TARN_COLUMNS 2
#else
#define TARN_ROWS    4
#define TARN_COLUMNS 1
#endif

/* e^x for x held inside [-80, 80]: the host's polynomial (src/kernels/vector.h says how good). */
TARN_INLINE float16 tarn_exp(float16 x)
{
    x = select(x, (float16)(-80.0f), x < -80.0f);
    x = select(x, (float16)(80.0f), x > 80.0f);
    const float16 magic = (float16)(12582912.0f);
    float16 shifted = x * 1.44269504f + magic;
    float16 whole = shifted - magic;
    float16 r = x - whole * 0.693359375f;
    r = r + whole * 2.12194440e-4f;
    float16 p = (float16)(1.0f / 5040.0f);
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return as_float16(as_int16(p) + (as_int16(shifted) << 23));
}

/* log2(x) for positive normal x, as on the host. */
TARN_INLINE float16 tarn_lg(float16 x)
{
    int16 bits = as_int16(x);
    int16 exponent = (bits - 0x3f3504f3) >> 23;
    float16 m = as_float16(bits - (exponent << 23));
    float16 t = (m - 1.0f) / (m + 1.0f), tt = t * t;
    float16 p = (float16)(2.885390082f / 9.0f);
    p = p * tt + 2.885390082f / 7.0f;
    p = p * tt + 2.885390082f / 5.0f;
    p = p * tt + 2.885390082f / 3.0f;
    p = p * tt + 2.885390082f;
    return select(x, p * t + convert_float16(exponent), x == x);
}

TARN_INLINE float16 tarn_leak(float16 x)
{
    return select(x * TARN_LEAK, x, x > 0.0f);
}

/* out[r][c] += sum over t of s[r][t] * v[t][c]; strides of `s` in floats, of others in vectors. */
struct tarn_product {
    int terms;
    const float *s;
    int s_row, s_term;
    const float16 *v;
    int v_term, v_column;
    float16 *out;
    int out_row, out_column;
};

/*
 * One variable an accumulator: an array would stay in memory, because loops are unrolled after LLVM
 * has decided what lives in registers. `rows` and `columns` are constants, so that what is beyond
 * them vanishes.
 */
#define TARN_EACH_ROW(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)

TARN_INLINE void tarn_product_block(const int rows, const int columns, struct tarn_product p,
                                    int row, int column)
{
    const float *s = p.s + row * p.s_row;
    const float16 *v = p.v + column * p.v_column;
    float16 *out = p.out + row * p.out_row + column * p.out_column;
#define TARN_LOAD(r)                                                                               \
    float16 a##r, b##r;                                                                            \
    if (r < rows)                                                                                  \
        a##r = out[r * p.out_row];                                                                 \
    if (r < rows && columns > 1)                                                                   \
        b##r = out[r * p.out_row + p.out_column];
#define TARN_ADD(r)                                                                                \
    if (r < rows) {                                                                                \
        float16 factor = (float16)(s[r * p.s_row]);                                                \
        a##r += factor * x;                                                                        \
        if (columns > 1)                                                                           \
            b##r += factor * y;                                                                    \
    }
#define TARN_STORE(r)                                                                              \
    if (r < rows)                                                                                  \
        out[r * p.out_row] = a##r;                                                                 \
    if (r < rows && columns > 1)                                                                   \
        out[r * p.out_row + p.out_column] = b##r;
    TARN_EACH_ROW(TARN_LOAD)
#pragma nounroll
    for (int t = 0; t < p.terms; t++) {
        float16 x = v[0], y = columns > 1 ? v[p.v_column] : x;
        TARN_EACH_ROW(TARN_ADD)
        s += p.s_term;
        v += p.v_term;
    }
    TARN_EACH_ROW(TARN_STORE)
#undef TARN_LOAD
#undef TARN_ADD
#undef TARN_STORE
}

/*
 * All arguments but the pointers and `some` are constants after inlining, so that only the blocks which
 * occur are compiled. `some` rows of all are wanted: all, or a multiple of TARN_ROWS.
 */
TARN_INLINE void tarn_product_columns(const int columns, struct tarn_product p, const int rows,
                                      int some, int column)
{
    const int whole = rows / TARN_ROWS * TARN_ROWS;
#pragma nounroll
    for (int row = 0; row < min(some, whole); row += TARN_ROWS)
        tarn_product_block(TARN_ROWS, columns, p, row, column);
    if (rows > whole && some == rows)
        tarn_product_block(rows - whole, columns, p, whole, column);
}

TARN_INLINE void tarn_product_of(struct tarn_product p, const int rows, int some, const int columns)
{
    const int whole = columns / TARN_COLUMNS * TARN_COLUMNS;
    for (int column = 0; column < whole; column += TARN_COLUMNS)
        tarn_product_columns(TARN_COLUMNS, p, rows, some, column);
    if (columns > whole)
        tarn_product_columns(1, p, rows, some, whole);
}

TARN_INLINE void tarn_product(struct tarn_product p, const int rows, const int columns)
{
    tarn_product_of(p, rows, rows, columns);
}
