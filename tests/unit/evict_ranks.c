/* SPDX-License-Identifier: Apache-2.0 */
/* Ranks against their definition, worked out from all scores that there ever were. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "evict/ranks.h"

#define SCORES 6000

static double scores[SCORES];
static double sorted[TARN_RANKS_RING];
static int length;
static uint32_t seen, sorted_at;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void renew(void)
{
    int have = seen < TARN_RANKS_RING ? (int)seen : TARN_RANKS_RING;
    if (have < 32 || (length > 0 && seen - sorted_at < (seen < 1024 ? 64 : 2048)))
        return;
    memcpy(sorted, scores + seen - (uint32_t)have, (size_t)have * sizeof *sorted);
    qsort(sorted, (size_t)have, sizeof *sorted, by_value);
    length = have;
    sorted_at = seen;
}

static double plain_rank(double s)
{
    int n = length, below = 0;
    while (below < n && sorted[below] < s)
        below++;
    if (below == n)
        return 1;
    if (below == 0) {
        double d = 2 * (sorted[n / 2] - sorted[0]) / n + 1e-6, x = (sorted[0] - s) / d;
        return -0.5 * (x < 2.0 * n ? x : 2.0 * n) / n;
    }
    int j = below - 1;
    return (j + (s - sorted[j]) / (sorted[j + 1] - sorted[j] + 1e-12) + 0.5) / n;
}

static void run(bool with_ties)
{
    static struct tarn_ranks ranks;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    memset(&ranks, 0, sizeof ranks);
    length = 0;
    seen = sorted_at = 0;
    while (seen + 40 < SCORES) {
        float fresh[40];
        uint32_t n = 1 + tarn_rng_below(&rng, 40);
        for (uint32_t i = 0; i < n; i++) {
            float u = tarn_rng_float(&rng) * 2 - 1 + (float)seen * 1e-3f;
            fresh[i] = with_ties ? floorf(u * 4) : u * u * u;
            scores[seen + i] = (double)fresh[i];
        }
        tarn_ranks_add(&ranks, fresh, n);
        seen += n;
        renew();
        CHECK(tarn_ranks_ready(&ranks) == (length > 0));
        CHECK_NUMBER(ranks.length, length);
        for (int i = 0; i < 20 && length > 0; i++) {
            float s =
                i == 0   ? (float)sorted[0]
                : i == 1 ? (float)sorted[length - 1]
                : i < 6  ? (float)sorted[tarn_rng_below(&rng, (uint32_t)length)]
                         : (float)sorted[0] - 1 +
                              tarn_rng_float(&rng) * ((float)(sorted[length - 1] - sorted[0]) + 2);
            double wanted = plain_rank((double)s), got = (double)tarn_ranks_of(&ranks, s);
            CHECK(fabs(got - wanted) < 2e-4);
        }
    }
    CHECK(length == TARN_RANKS_RING && sorted_at > 4000);
}

static void ranks_are_as_defined(void)
{
    run(false);
}

static void ranks_of_equal_scores_are_as_defined(void)
{
    run(true);
}

static void ranks_rise_with_the_score_and_the_tail_never_ties(void)
{
    static struct tarn_ranks ranks;
    memset(&ranks, 0, sizeof ranks);
    for (int i = 0; i < 256; i++) {
        float s = (float)(i * 37 % 256);
        tarn_ranks_add(&ranks, &s, 1);
    }
    float before = -2;
    for (float s = -100; s <= 255; s += 0.25f) {
        float rank = tarn_ranks_of(&ranks, s);
        CHECK(rank > before && rank >= -1 && rank <= 1);
        before = rank;
    }
    CHECK(tarn_ranks_of(&ranks, 1000) == 1);
    CHECK(tarn_ranks_of(&ranks, -1e9f) == -1);
}

CHECK_MAIN(CASE(ranks_are_as_defined), CASE(ranks_of_equal_scores_are_as_defined),
           CASE(ranks_rise_with_the_score_and_the_tail_never_ties))
