/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks.h"

#include <math.h>
#include <string.h>

#define ENOUGH 32
#define STRIDE 16 /* of the coarse scores: the square root of the ring */
_Static_assert(STRIDE *STRIDE == TARN_RANKS_RING, "two steps find a score's place");

/* Shell's sort with Ciura's gaps: qsort() may allocate. */
static void sort(float *x, uint32_t count)
{
    static const uint32_t gaps[] = {57, 23, 10, 4, 1};
    for (uint32_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++)
        for (uint32_t i = gaps[g]; i < count; i++) {
            float moved = x[i];
            uint32_t j = i;
            for (; j >= gaps[g] && x[j - gaps[g]] > moved; j -= gaps[g])
                x[j] = x[j - gaps[g]];
            x[j] = moved;
        }
}

void tarn_ranks_add(struct tarn_ranks *ranks, const float *scores, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        ranks->ring[ranks->seen++ % TARN_RANKS_RING] = scores[i];
    uint32_t have = ranks->seen < TARN_RANKS_RING ? (uint32_t)ranks->seen : TARN_RANKS_RING;
    uint64_t wait = ranks->seen < TARN_RANKS_RING * 4 ? 64 : TARN_RANKS_RING * 8;
    if (have < ENOUGH || (ranks->length > 0 && ranks->seen - ranks->sorted_at < wait))
        return;
    memcpy(ranks->sorted, ranks->ring, have * sizeof(float));
    sort(ranks->sorted, have);
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
