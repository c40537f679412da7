/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "base/hash.h"
#include "base/rng.h"
#include "experts/shuffle.h"

static struct tarn_shuffle shuffle;
static float worth[TARN_SHUFFLE_DEPTHS];

static void begin(void)
{
    memset(&shuffle, 0, sizeof shuffle);
    shuffle.room = TARN_SHUFFLE_HELD;
}

static void ask(uint64_t key)
{
    uint64_t hash = tarn_mix64(key + 1);
    tarn_shuffle_access(&shuffle, (uint32_t)hash | 1, (uint32_t)(hash >> 58));
}

static void nothing_is_known_before_something_is_shuffled(void)
{
    begin();
    tarn_shuffle_worth(&shuffle.now, worth);
    CHECK_NUMBER(worth[0], 0);
    for (uint64_t i = 0; i < TARN_SHUFFLE_HELD; i++)
        ask(i % 10);
    tarn_shuffle_worth(&shuffle.now, worth);
    for (int d = 0; d < TARN_SHUFFLE_DEPTHS; d++)
        CHECK_NUMBER(worth[d], 0);
    CHECK(shuffle.now.asked[0] > 0 && shuffle.now.asked[1] <= 0);
}

/* Two popular keys in three requests, the others even. */
static void order_is_worth_nothing_to_independent_requests(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    begin();
    for (int i = 0; i < 200000; i++)
        ask(tarn_rng_below(&rng, 3) != 0 ? tarn_rng_below(&rng, 40) : tarn_rng_below(&rng, 900));
    tarn_shuffle_worth(&shuffle.now, worth);
    for (int d = 0; d < TARN_SHUFFLE_DEPTHS; d++) {
        printf("# %g\n", (double)worth[d]);
        CHECK(fabsf(worth[d]) < 0.02f);
    }
    CHECK(shuffle.now.hits[0][3] > 0 && shuffle.now.hits[1][3] > 0);
}

/* What was asked for some ten requests ago is asked for again. */
static void order_is_worth_much_where_the_latest_is_wanted(void)
{
    static uint64_t keys[100000];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    begin();
    for (int i = 0; i < 100000; i++) {
        bool is_new = i < 20 || tarn_rng_below(&rng, 3) == 0;
        keys[i] = is_new ? (uint64_t)i : keys[i - 1 - (int)tarn_rng_below(&rng, 20)];
        ask(keys[i]);
    }
    tarn_shuffle_worth(&shuffle.now, worth);
    printf("# %g, %g\n", (double)worth[0], (double)worth[TARN_SHUFFLE_DEPTHS - 1]);
    CHECK(worth[0] > 0.3f);
    CHECK(worth[TARN_SHUFFLE_DEPTHS - 1] > 0.015f);
}

static void order_does_harm_to_loops(void)
{
    begin();
    for (uint64_t i = 0; i < 200000; i++)
        ask(i % 900);
    tarn_shuffle_worth(&shuffle.now, worth);
    CHECK(worth[0] < 0 && worth[TARN_SHUFFLE_DEPTHS - 1] < -0.1f);
}

CHECK_MAIN(CASE(nothing_is_known_before_something_is_shuffled),
           CASE(order_is_worth_nothing_to_independent_requests),
           CASE(order_is_worth_much_where_the_latest_is_wanted), CASE(order_does_harm_to_loops))
