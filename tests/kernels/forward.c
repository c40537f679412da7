/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

static double plain_score(const struct tarn_shape *s, const double *logits)
{
    double survival = 1, area = 0, found = 0, best = 0, edge = 0;
    for (uint32_t k = 0; k < s->outputs; k++) {
        double hazard = 1 / (1 + exp(-logits[k])), next = exp2((double)k - 6);
        double after = survival * (1 - hazard);
        found += survival * hazard;
        area += (survival + after) / 2 * (next - edge);
        best = fmax(best, found / area);
        survival = after;
        edge = next;
    }
    return log2(best + 1e-9);
}

static const struct tarn_isa *each_isa(size_t i)
{
    return i < tarn_isa_count() ? tarn_isa_get(i) : NULL;
}

static void functions_are_accurate(void)
{
    enum { N = 1 << 16 };
    float *x = some(N * 4), *y = some(N * 4);
    const struct tarn_isa *isa;
    for (size_t v = 0; (isa = each_isa(v)) != NULL; v++) {
        double worst = 0;
        for (int i = 0; i < N; i++)
            x[i] = ((float)i - N / 2) * (80.0f / (N / 2));
        isa->exp(x, N, y);
        for (int i = 0; i < N; i++)
            worst = fmax(worst, fabs((double)y[i] / exp((double)x[i]) - 1));
        CHECK(worst < 2e-7);
        worst = 0;
        for (int i = 0; i < N; i++)
            x[i] = exp2f(((float)i - N / 2) * (120.0f / (N / 2))) * 1.0001f;
        isa->lg(x, N, y);
        for (int i = 0; i < N; i++) {
            double wanted = log2((double)x[i]);
            worst = fmax(worst, fabs((double)y[i] - wanted) / fmax(8, fabs(wanted)));
        }
        CHECK(worst < 2e-7);
        for (int i = 0; i < 16; i++)
            x[i] = i % 2 ? (float)NAN : 1000.0f * (float)(i - 8);
        isa->exp(x, 16, y);
        CHECK(isnan(y[1]) && y[0] > 0 && y[0] < 2e-35f && y[14] > 5e34f && isfinite(y[14]));
        isa->lg(x, 16, y);
        CHECK(isnan(y[3]));
    }
    free(x);
    free(y);
}

/*
 * Logits: sums of up to 64 products three layers deep in float: 1e-4 relative to the largest logit
 * is ten times what was seen. Scores: the slope of lg F is at most 1/ln 2 a logit.
 */
static void variants_agree_with_plain_code(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    for (int round = 0; round < 48; round++) {
        struct tarn_shape s = some_shape(&rng, round < 24 ? round : round % 2 * 3);
        if (round == 3)
            s = (struct tarn_shape){28, TARN_MAX_FORWARD_WIDTH - 1, TARN_MAX_FORWARD_WIDTH, 11};
        size_t count = round == 1 ? 1 : between(&rng, 1, 150);
        uint32_t slice = some_slice(&rng, round < 4 ? 0 : round - 4);
        size_t tiles_count = (count + TARN_LANES - 1) / TARN_LANES;
        float *weights = some_weights(&rng, &s), *tiles = some_tiles(&rng, &s, count);
        float *scores = some((count + 1) * 4);
        float *logits = some(tiles_count * TARN_LANES * s.outputs * 4);
        const struct tarn_isa *isa;
        for (size_t v = 0; (isa = each_isa(v)) != NULL; v++) {
            double worst_logit = 0, worst_score = 0, lowest = 1e9, highest = -1e9;
            scores[count] = 12345.0f;
            isa->forward(&s, slice, weights, tiles, count, scores);
            CHECK_NUMBER(scores[count], 12345.0f);
            isa->logits(&s, slice, weights, tiles, count, logits);
            for (size_t i = 0; i < count; i++) {
                double a1[TARN_MAX_FORWARD_WIDTH], a2[TARN_MAX_FORWARD_WIDTH], z[TARN_MAX_BINS];
                double size = 1;
                plain_network(&s, slice, weights, tiles, i, a1, a2, z);
                for (uint32_t k = 0; k < s.outputs; k++)
                    size = fmax(size, fabs(z[k]));
                for (uint32_t k = 0; k < s.outputs; k++)
                    worst_logit =
                        fmax(worst_logit,
                             fabs((double)logits[(i / TARN_LANES * s.outputs + k) * TARN_LANES +
                                                 i % TARN_LANES] -
                                  z[k]) /
                                 size);
                double score = plain_score(&s, z);
                worst_score = fmax(worst_score, fabs((double)scores[i] - score) / size);
                lowest = fmin(lowest, score);
                highest = fmax(highest, score);
            }
            CHECK(worst_logit < 1e-4);
            CHECK(worst_score < 2e-4);
            CHECK(count < 10 || highest > lowest);
        }
        free(weights);
        free(tiles);
        free(scores);
        free(logits);
    }
}

static void a_nan_stays_one(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 2);
    struct tarn_shape s = {28, 32, 32, 11};
    float *weights = some_weights(&rng, &s), *tiles = some_tiles(&rng, &s, 40), scores[40];
    tiles[5 * TARN_LANES + 3] = NAN; /* feature 5 of sample 3 */
    const struct tarn_isa *isa;
    for (size_t v = 0; (isa = each_isa(v)) != NULL; v++) {
        isa->forward(&s, 0, weights, tiles, 40, scores);
        for (int i = 0; i < 40; i++)
            CHECK(isnan(scores[i]) == (i == 3));
    }
    free(weights);
    free(tiles);
}

/* Weights beyond it may be anything: a slice is a network of its own. */
static void a_slice_meets_its_own_weights_only(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 9);
    struct tarn_shape s = {28, 32, 32, 11}, small = {28, 8, 8, 11};
    float *weights = some_weights(&rng, &small), *tiles = some_tiles(&rng, &s, 40);
    float *large = some(tarn_shape_weights(&s) * 4), wanted[40], scores[40];
    for (size_t i = 0; i < tarn_shape_weights(&s); i++)
        large[i] = NAN;
    const uint32_t from[] = {28, 8, 8}, to[] = {28, 32, 32}, out[] = {8, 8, 11},
                   of[] = {32, 32, 11};
    const float *w = weights;
    float *l = large;
    for (int layer = 0; layer < 3; layer++) {
        for (uint32_t n = 0; n < out[layer]; n++, w += from[layer])
            memcpy(l + n * to[layer], w, from[layer] * 4);
        memcpy(l + of[layer] * to[layer], w, out[layer] * 4);
        w += out[layer];
        l += of[layer] * (to[layer] + 1);
    }
    const struct tarn_isa *isa;
    for (size_t v = 0; (isa = each_isa(v)) != NULL; v++)
        for (uint32_t exit = 0; exit < 2; exit++) {
            isa->forward(&small, TARN_SLICE(0u, exit), weights, tiles, 40, wanted);
            isa->forward(&s, TARN_SLICE(8u, exit), large, tiles, 40, scores);
            for (int i = 0; i < 40; i++)
                CHECK(fabsf(scores[i] - wanted[i]) < 1e-5f);
        }
    free(weights);
    free(tiles);
    free(large);
}

/*
 * Both are float with the same formulas; what differs is the order of sums, fused multiply-adds and
 * the driver's exp and log (3 ulp): the bound of variants_agree_with_plain_code holds between them.
 */
static void devices_agree_with_the_host(void)
{
    for (int round = 0; round < 5; round++) {
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 20 + (uint64_t)round);
        struct tarn_shape s = some_shape(&rng, round);
        if (round == 4) /* wider than training allows */
            s = (struct tarn_shape){28, TARN_MAX_FORWARD_WIDTH, 190, 11};
        size_t weights_size = tarn_shape_weights(&s) * 4;
        float *weights = some_weights(&rng, &s);
        struct target target;
        for (size_t n = 0; open_target(n, &tarn_forward_source, &s, &target); n++) {
            static const uint32_t counts[] = {1, 16, 17, 100, 255, 256, 257, 1029};
            for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
                uint32_t count = counts[c];
                struct tarn_forward_constants constants = {count,
                                                           some_slice(&rng, c < 2 ? 0 : (int)c)};
                float *tiles = some_tiles(&rng, &s, count), *wanted = some(count * 4);
                float *scores = some((count + 1) * 4), untouched;
                const struct argument arguments[] = {
                    {weights_size, weights, NULL},
                    {tarn_shape_tile_floats(&s, count) * 4, tiles, NULL},
                    {(count + 1) * 4, NULL, scores},
                };
                tarn_forward_slice_host(&s, constants.slice, weights, tiles, count, wanted);
                CHECK(launch(&target, arguments, 3, &constants, count));
                double worst = 0;
                for (uint32_t i = 0; i < count; i++) {
                    /* written so that a NaN is a difference */
                    double error = fabs((double)scores[i] - (double)wanted[i]);
                    worst = error <= worst ? worst : error;
                }
                CHECK(worst < 1e-3);
                memset(&untouched, 0x77, 4);
                CHECK(memcmp(&scores[count], &untouched, 4) == 0);
                free(tiles);
                free(wanted);
                free(scores);
            }
            if (check_failures > 0)
                printf("# on %s\n", target.name);
            close_target(&target);
        }
        free(weights);
    }
}

static void bench(void)
{
    enum { N = 16384, ROUNDS = 21 };
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    struct tarn_shape s = {28, 32, 32, 11};
    float *weights = some_weights(&rng, &s), *tiles = some_tiles(&rng, &s, N),
          *scores = some(N * 4);
    static const uint32_t slices[] = {0, TARN_SLICE(16, 0), TARN_SLICE(8, 0), TARN_SLICE(0, 1)};
    double times[4][8][ROUNDS];
    const struct tarn_isa *isa;
    for (int r = 0; r < ROUNDS; r++)
        for (size_t v = 0; (isa = each_isa(v)) != NULL; v++)
            for (int i = 0; i < 4; i++) {
                uint64_t start = tarn_clock_thread_cpu_ns();
                isa->forward(&s, slices[i], weights, tiles, N, scores);
                times[i][v][r] = (double)(tarn_clock_thread_cpu_ns() - start) / N;
            }
    for (size_t v = 0; (isa = each_isa(v)) != NULL; v++)
        printf(
            "forward 28-32-32-11 %-8s %7.1f ns a sample, 16 units %.1f, 8 %.1f, early exit %.1f\n",
            isa->name, median(times[0][v], ROUNDS), median(times[1][v], ROUNDS),
            median(times[2][v], ROUNDS), median(times[3][v], ROUNDS));
    free(weights);
    free(tiles);
    free(scores);
}

KERNELS_MAIN(bench, CASE(functions_are_accurate), CASE(variants_agree_with_plain_code),
             CASE(a_nan_stays_one), CASE(a_slice_meets_its_own_weights_only),
             CASE(devices_agree_with_the_host))
