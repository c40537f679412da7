/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks.h"

#include <math.h>
#include <string.h>

#define ENOUGH 32
#define STRIDE 16 /* of the coarse scores: the square root of the ring */
_Static_assert(STRIDE *STRIDE == TARN_RANKS_RING, "two steps find a score's place");

/* Unsigned numbers that sort as the floats do, and back. */
static uint32_t key_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ ((uint32_t)((int32_t)bits >> 31) | 0x80000000u);
}

static float of_key(uint32_t key)
{
    uint32_t bits = key ^ (key >> 31 ? 0x80000000u : 0xffffffffu);
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A byte at a time from the lowest on: no comparison, so none that could be foretold wrongly. */
static void sort(const float *from, float *to, uint32_t count)
{
    uint32_t a[TARN_RANKS_RING], b[TARN_RANKS_RING];
    for (uint32_t i = 0; i < count; i++)
        a[i] = key_of(from[i]);
    for (int shift = 0; shift < 32; shift += 8) {
        uint32_t *in = shift & 8 ? b : a, *out = shift & 8 ? a : b, place[257] = {0};
        for (uint32_t i = 0; i < count; i++)
            place[(in[i] >> shift & 255) + 1]++;
        for (uint32_t i = 1; i < 256; i++)
            place[i] += place[i - 1];
        for (uint32_t i = 0; i < count; i++)
            out[place[in[i] >> shift & 255]++] = in[i];
    }
    for (uint32_t i = 0; i < count; i++)
        to[i] = of_key(a[i]);
}

void tarn_ranks_add(struct tarn_ranks *ranks, const float *scores, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ranks->ring[ranks->seen++ % TARN_RANKS_RING] = scores[i];
    uint32_t have = ranks->seen < TARN_RANKS_RING ? (uint32_t)ranks->seen : TARN_RANKS_RING;
    uint64_t wait = ranks->seen < TARN_RANKS_RING * 4 ? 64 : TARN_RANKS_RING * 8;
    if (have < ENOUGH || (ranks->length > 0 && ranks->seen - ranks->sorted_at < wait))
        return;
    sort(ranks->ring, ranks->sorted, have);
    for (uint32_t i = have; i < TARN_RANKS_RING; i++)
        ranks->sorted[i] = INFINITY;
    for (uint32_t i = 0; i < STRIDE; i++)
        ranks->coarse[i] = ranks->sorted[i * STRIDE + STRIDE - 1];
    ranks->length = have;
    ranks->sorted_at = ranks->seen;
}

/* Of STRIDE scores. No jumps, which nobody could predict, and a compiler makes vectors of it. */
static uint32_t count_below(const float *x, float score)
{
    uint32_t below = 0;
    for (int i = 0; i < STRIDE; i++)
        below += x[i] < score;
    return below;
}

float tarn_ranks_of(const struct tarn_ranks *ranks, float score)
{
    const float *q = ranks->sorted;
    uint32_t n = ranks->length, low = count_below(ranks->coarse, score) * STRIDE;
    if (low < TARN_RANKS_RING) /* the first that is >= score */
        low += count_below(q + low, score);
    if (low == n)
        return 1.0f;
    if (low == 0) {
        float step = 2.0f * (q[n / 2] - q[0]) / (float)n + 1e-6f;
        float below = (q[0] - score) / step;
        below = below < 2.0f * (float)n ? below : 2.0f * (float)n;
        return -0.5f * below / (float)n;
    }
    float between = (score - q[low - 1]) / (q[low] - q[low - 1] + 1e-12f);
    return ((float)(low - 1) + between + 0.5f) / (float)n;
}
