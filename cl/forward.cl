/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Features to Gittins scores; src/kernels/forward.h says what is computed. The shape is
 * TARN_INPUTS, TARN_HIDDEN1, TARN_HIDDEN2, TARN_OUTPUTS; of it the launch's slice is computed.
 */
#define W2 (TARN_HIDDEN1 * (TARN_INPUTS + 1))
#define W3 (W2 + TARN_HIDDEN2 * (TARN_HIDDEN1 + 1))

#ifndef TARN_CPU_SHAPE

/*
 * For each i below `units`, at most `all`. Eight at a time, so that a compiler that unrolls both loops
 * keeps activations in registers whatever the slice.
 */
#define BLOCKS(i, all, units, what)                                                                \
    for (int block = 0; block < all; block += 8) {                                                 \
        if (block + 8 <= units) {                                                                  \
            for (int i = block; i < block + 8 && i < all; i++)                                     \
                what;                                                                              \
        } else if (block < units) {                                                                \
            for (int i = block; i < block + 8 && i < all; i++)                                     \
                if (i < units)                                                                     \
                    what;                                                                          \
        }                                                                                          \
    }

/* One sample a work-item. The weights are the same for all: they come from the constant cache or by
 * broadcast. */
__kernel void forward(__global const float *restrict weights, __global const float *restrict tiles,
                      __global float *restrict scores, struct tarn_forward_constants constants)
{
    uint sample = (uint)get_global_id(0);
    if (sample >= constants.count)
        return;
    float x[TARN_INPUTS], a1[TARN_HIDDEN1], a2[TARN_HIDDEN2];
    __global const float *in =
        tiles + (size_t)(sample / TARN_LANES) * (TARN_INPUTS * TARN_LANES) + sample % TARN_LANES;
    for (int i = 0; i < TARN_INPUTS; i++)
        x[i] = in[i * TARN_LANES];
    const int units1 = (int)TARN_SLICE_UNITS(constants.slice, (uint)TARN_HIDDEN1);
    const int units2 = (int)TARN_SLICE_UNITS(constants.slice, (uint)TARN_HIDDEN2);
    const int exits = TARN_SLICE_EXITS(constants.slice) != 0u;
    __global const float *w = weights, *bias = w + TARN_HIDDEN1 * TARN_INPUTS;
    for (int n = 0; n < TARN_HIDDEN1; n++) {
        float sum = 0.0f;
        if (n < units1) {
            sum = bias[n];
            for (int i = 0; i < TARN_INPUTS; i++)
                sum += w[n * TARN_INPUTS + i] * x[i];
        }
        a1[n] = sum > 0.0f ? sum : sum * TARN_LEAK;
    }
    w = weights + W2;
    bias = w + TARN_HIDDEN2 * TARN_HIDDEN1;
    for (int n = 0; n < TARN_HIDDEN2; n++) {
        float sum = 0.0f;
        if (n < units2 && !exits) {
            sum = bias[n];
            BLOCKS(i, TARN_HIDDEN1, units1, sum += w[n * TARN_HIDDEN1 + i] * a1[i])
        }
        a2[n] = sum > 0.0f ? sum : sum * TARN_LEAK;
    }
    for (int n = 0; n < TARN_HIDDEN2; n++)
        if (exits && n < units2)
            a2[n] = n < TARN_HIDDEN1 ? a1[n < TARN_HIDDEN1 ? n : 0] : 0.0f;
    w = weights + W3;
    bias = w + TARN_OUTPUTS * TARN_HIDDEN2;
    float survival = 1.0f, found = 0.0f, area = 0.0f, best = 0.0f;
    float width = 1.0f / (1 << -TARN_BIN_FIRST_LOG2);
    for (int k = 0; k < TARN_OUTPUTS; k++) {
        float logit = bias[k];
        BLOCKS(i, TARN_HIDDEN2, units2, logit += w[k * TARN_HIDDEN2 + i] * a2[i])
        float minus = -logit;
        minus = minus < -80.0f ? -80.0f : minus > 80.0f ? 80.0f : minus;
        float e = exp(minus);
        float hazard = 1.0f / (1.0f + e);
        float after = survival * e * hazard;
        found += survival * hazard;
        area += (survival + after) * (0.5f * width);
        float value = found / area;
        best = best >= value ? best : value; /* a NaN wins and stays */
        survival = after;
        width = k > 0 ? width * 2.0f : width;
    }
    scores[sample] = log2(best + 1e-9f);
}

#else

/* A work-item takes TARN_FORWARD_TILES tiles, a block of columns (a tile each) at a time. */
#define TARN_FORWARD_TILES 16u
#define COLUMNS            TARN_COLUMNS

/*
 * The first `units` neurons of a layer by its first `terms` inputs. Neurons are computed in whole blocks:
 * some behind the slice may be computed too, which nobody reads.
 */
TARN_INLINE void layer(const float *weights, const int inputs, int terms, const int neurons,
                       int units, const float16 *in, int in_term, int in_column, float16 *out)
{
    const float *bias = weights + neurons * inputs;
    units = min((units + TARN_ROWS - 1) / TARN_ROWS * TARN_ROWS, neurons);
    for (int n = 0; n < units; n++)
        for (int c = 0; c < COLUMNS; c++)
            out[n * COLUMNS + c] = (float16)(bias[n]);
    struct tarn_product p = {terms, weights, inputs, 1, in, in_term, in_column, out, COLUMNS, 1};
    tarn_product_of(p, neurons, units, COLUMNS);
}

TARN_INLINE float16 gittins(const float16 *logits)
{
    float16 survival = (float16)(1.0f), found = (float16)(0.0f);
    float16 area = (float16)(0.0f), best = (float16)(0.0f);
    float width = 1.0f / (1 << -TARN_BIN_FIRST_LOG2);
    for (int k = 0; k < TARN_OUTPUTS; k++) {
        float16 e = tarn_exp(-logits[k * COLUMNS]);
        float16 hazard = 1.0f / (1.0f + e);
        float16 after = survival * e * hazard;
        found += survival * hazard;
        area += (survival + after) * (0.5f * width);
        float16 value = found / area;
        best = select(value, best, best >= value); /* a NaN wins and stays */
        survival = after;
        width = k > 0 ? width * 2.0f : width;
    }
    return tarn_lg(best + 1e-9f);
}

__kernel TARN_WIDE void forward(__global const float *restrict weights,
                                __global const float *restrict tiles,
                                __global float *restrict scores,
                                struct tarn_forward_constants constants)
{
    uint all = (constants.count + TARN_LANES - 1u) / TARN_LANES;
    uint tile = (uint)get_global_id(0) * TARN_FORWARD_TILES;
    uint end = min(tile + TARN_FORWARD_TILES, all);
    const float *w = TARN_FLAT(const float, weights);
    const float16 *in = TARN_FLAT(const float16, tiles);
    float16 a1[TARN_HIDDEN1 * COLUMNS], a2[TARN_HIDDEN2 * COLUMNS], z[TARN_OUTPUTS * COLUMNS];
    const int units1 = (int)TARN_SLICE_UNITS(constants.slice, (uint)TARN_HIDDEN1);
    const int units2 = (int)TARN_SLICE_UNITS(constants.slice, (uint)TARN_HIDDEN2);
    const int exits = TARN_SLICE_EXITS(constants.slice) != 0u;
    for (; tile < end; tile += COLUMNS) {
        /* At the end the last tile fills the other columns too. */
        int column = tile + COLUMNS <= end ? TARN_INPUTS : 0;
        layer(w, TARN_INPUTS, TARN_INPUTS, TARN_HIDDEN1, units1, in + (size_t)tile * TARN_INPUTS,
              1, column, a1);
        for (int n = 0; n < units1 * COLUMNS; n++)
            a1[n] = tarn_leak(a1[n]);
        if (!exits) {
            layer(w + W2, TARN_HIDDEN1, units1, TARN_HIDDEN2, units2, a1, COLUMNS, 1, a2);
            for (int n = 0; n < units2 * COLUMNS; n++)
                a2[n] = tarn_leak(a2[n]);
        }
        layer(w + W3, TARN_HIDDEN2, exits ? min(units1, units2) : units2, TARN_OUTPUTS,
              TARN_OUTPUTS, exits ? a1 : a2, COLUMNS, 1, z);
        for (uint c = 0u; c < COLUMNS && tile + c < end; c++) {
            float16 score = gittins(z + c);
            uint sample = (tile + c) * TARN_LANES;
            if (sample + TARN_LANES <= constants.count) {
                vstore16(score, 0, scores + sample);
            } else {
                float lanes[TARN_LANES];
                vstore16(score, 0, lanes);
                for (uint l = 0u; sample + l < constants.count; l++)
                    scores[sample + l] = lanes[l];
            }
        }
    }
}

#endif
