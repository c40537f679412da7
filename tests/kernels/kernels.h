/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the kernels' tests share: random data, comparison, timing, and every device with its
 * kernels. `NAME --bench` prints times instead of testing.
 */
#ifndef TARN_TESTS_KERNELS_H
#define TARN_TESTS_KERNELS_H

#include "../check.h"

#include <math.h>
#include <stdint.h>

#include <tarn/gpu.h>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/forward.h"
#include "kernels/isa.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"
#include "kernels/train.h"

/** Never NULL: a test without memory ends. */
static inline void *some(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    if (memory == NULL)
        exit(1);
    memset(memory, 0, size);
    return memory;
}

static inline uint32_t between(struct tarn_rng *rng, uint32_t low, uint32_t high)
{
    return low + tarn_rng_below(rng, high - low + 1);
}

/** Uniform in [-scale, scale), never exactly 0. */
static inline float around_zero(struct tarn_rng *rng, float scale)
{
    float x = (tarn_rng_float(rng) - 0.5f) * 2.0f * scale;
    return x == 0.0f ? scale : x;
}

static inline void fill(struct tarn_rng *rng, float *out, size_t count, float scale)
{
    for (size_t i = 0; i < count; i++)
        out[i] = around_zero(rng, scale);
}

/** The reference network first, then one at each edge, then odd ones. */
static inline struct tarn_shape some_shape(struct tarn_rng *rng, int number)
{
    if (number == 0)
        return (struct tarn_shape){28, 32, 32, 11};
    if (number == 1)
        return (struct tarn_shape){1, 1, 1, 1};
    if (number == 2)
        return (struct tarn_shape){TARN_MAX_WIDTH, TARN_MAX_WIDTH, TARN_MAX_WIDTH, TARN_MAX_BINS};
    return (struct tarn_shape){between(rng, 1, TARN_MAX_WIDTH), between(rng, 1, TARN_MAX_WIDTH),
                               between(rng, 1, TARN_MAX_WIDTH), between(rng, 1, TARN_MAX_BINS)};
}

/** Uniform weights of about unit gain (He et al. 2015), so that logits are of ordinary size. */
static inline float *some_weights(struct tarn_rng *rng, const struct tarn_shape *s)
{
    float *weights = some(tarn_shape_weights(s) * sizeof(float)), *w = weights;
    uint32_t sizes[4] = {s->inputs, s->hidden1, s->hidden2, s->outputs};
    for (int i = 0; i < 3; i++) {
        size_t count = (size_t)(sizes[i] + 1) * sizes[i + 1];
        fill(rng, w, count, 2.0f / sqrtf((float)sizes[i] + 1.0f));
        w += count;
    }
    return weights;
}

/** `count` samples in tiles, zeros behind the last one. */
static inline float *some_tiles(struct tarn_rng *rng, const struct tarn_shape *s, size_t count)
{
    float *tiles = some(tarn_shape_tile_floats(s, count) * sizeof(float));
    for (size_t i = 0; i < count; i++)
        for (uint32_t f = 0; f < s->inputs; f++)
            tiles[(i / TARN_LANES * s->inputs + f) * TARN_LANES + i % TARN_LANES] =
                around_zero(rng, 2.0f);
    return tiles;
}

static inline double feature(const struct tarn_shape *s, const float *tiles, size_t i, uint32_t f)
{
    return (double)tiles[(i / TARN_LANES * s->inputs + f) * TARN_LANES + i % TARN_LANES];
}

/** A plain network in double: activations a1, a2 (after the ReLU) and logits of one sample. */
static inline void plain_network(const struct tarn_shape *s, const float *weights,
                                 const float *tiles, size_t sample, double *a1, double *a2,
                                 double *logits)
{
    const uint32_t sizes[4] = {s->inputs, s->hidden1, s->hidden2, s->outputs};
    double x[TARN_MAX_WIDTH], *outs[3] = {a1, a2, logits};
    const double *in = x;
    for (uint32_t f = 0; f < s->inputs; f++)
        x[f] = feature(s, tiles, sample, f);
    for (int layer = 0; layer < 3; layer++) {
        const float *bias = weights + (size_t)sizes[layer] * sizes[layer + 1];
        for (uint32_t n = 0; n < sizes[layer + 1]; n++) {
            double sum = (double)bias[n];
            for (uint32_t i = 0; i < sizes[layer]; i++)
                sum += (double)weights[n * sizes[layer] + i] * in[i];
            outs[layer][n] = layer < 2 && sum < 0 ? sum * (double)TARN_LEAK : sum;
        }
        in = outs[layer];
        weights = bias + sizes[layer + 1];
    }
}

/** Middle of `count` numbers; reorders them. */
static inline int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count / 2];
}

/** Runs the cases, or with --bench the bench. */
static inline int kernels_main(int argc, char **argv, const struct check_case *cases, size_t count,
                               void (*bench)(void))
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }
    return check_run(cases, count);
}

#define KERNELS_MAIN(bench, ...)                                                                   \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct check_case cases[] = {__VA_ARGS__};                                    \
        return kernels_main(argc, argv, cases, sizeof cases / sizeof cases[0], bench);             \
    }

#endif
