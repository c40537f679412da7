/* SPDX-License-Identifier: Apache-2.0 */
#include "ranks.h"

#include <stdlib.h>
#include <string.h>

#define ENOUGH 32

static int compare(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
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
    qsort(ranks->sorted, have, sizeof(float), compare);
    ranks->length = have;
    ranks->sorted_at = ranks->seen;
}

float tarn_ranks_of(const struct tarn_ranks *ranks, float score)
{
    const float *q = ranks->sorted;
    uint32_t n = ranks->length, low = 0, high = n;
    while (low < high) { /* the first that is >= score */
        uint32_t middle = (low + high) / 2;
        if (q[middle] < score)
            low = middle + 1;
        else
            high = middle;
    }
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
