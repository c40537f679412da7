/* SPDX-License-Identifier: Apache-2.0 */
/* Novelty: calm while nothing changes, however features wander; up when something does, and back. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "learn/novelty.h"

struct source {
    struct tarn_rng rng;
    float wander; /* one feature is a running mean of the cache: it moves slowly */
    int shift;    /* of half of the features */
};

static void feed(struct tarn_novelty *n, struct source *s)
{
    int8_t x[TARN_FEATURES] = {0};
    s->wander += 0.001f * (tarn_rng_float(&s->rng) * 256 - 128 - s->wander);
    for (int f = 0; f < TARN_FEATURES; f++)
        x[f] = (int8_t)(f == 5   ? 0 /* unused */
                        : f == 3 ? (int)s->wander
                                 : (int)tarn_rng_below(&s->rng, 100) - 50 + (f % 2 ? s->shift : 0));
    tarn_novelty_sample(n, x);
}

static float loss_of(struct tarn_rng *rng, float level)
{
    return level + 0.2f * (tarn_rng_float(rng) + tarn_rng_float(rng) - 1);
}

static void what_stays_the_same_is_calm(void)
{
    struct tarn_novelty n;
    struct source s = {.shift = 0};
    tarn_rng_seed(&s.rng, 1);
    tarn_novelty_init(&n, NULL);
    float highest = 0;
    int above = 0;
    CHECK(tarn_novelty_factors(&n).rate == 1 && tarn_novelty_factors(&n).explore == 1);
    for (int i = 0; i < 1000000; i++) {
        feed(&n, &s);
        if (i % 512 == 0)
            tarn_novelty_loss(&n, loss_of(&s.rng, 1));
        struct tarn_novelty_factors f = tarn_novelty_factors(&n);
        CHECK(f.rate >= 0.5f && f.rate <= 4 && f.explore >= 1 && f.explore <= 4);
        highest = fmaxf(highest, f.rate);
        above += f.rate > 1.25f;
    }
    printf("# highest %.2f, above 1.25 for %.2f %% of 1 M samples\n", (double)highest,
           above / 10000.0);
    CHECK(above < 20000);
}

static void nothing_new_for_long_slows_down(void)
{
    struct tarn_novelty n;
    struct source s = {.shift = 0};
    tarn_rng_seed(&s.rng, 2);
    tarn_novelty_init(&n, &(struct tarn_novelty_params){.past = 4096, .recent = 256});
    int low = 0;
    for (int i = 0; i < 100000; i++) {
        feed(&n, &s);
        low += tarn_novelty_factors(&n).rate < 0.6f;
    }
    CHECK(low > 10000);
    tarn_novelty_alarm(&n);
    CHECK(tarn_novelty_factors(&n).rate == 4 && tarn_novelty_factors(&n).explore == 4);
    /* the loss itself says when that is over */
    for (int i = 0; i < 300; i++)
        tarn_novelty_loss(&n, loss_of(&s.rng, 1));
    CHECK(tarn_novelty_factors(&n).rate < 2);
}

static void other_features_are_new_and_then_old(void)
{
    struct tarn_novelty n;
    struct source s = {.shift = 0};
    tarn_rng_seed(&s.rng, 3);
    tarn_novelty_init(&n, NULL);
    for (int i = 0; i < 200000; i++)
        feed(&n, &s);
    CHECK(tarn_novelty_factors(&n).rate <= 1.25f);
    s.shift = 20;
    int until = 0;
    while (until < 5000 && tarn_novelty_factors(&n).rate < 3) {
        feed(&n, &s);
        until++;
    }
    printf("# a shift of 0.7 deviations is new after %d samples\n", until);
    CHECK(until < 1500);
    CHECK(tarn_novelty_factors(&n).distance > 3 && tarn_novelty_factors(&n).explore > 2);
    for (int i = 0; i < 300000; i++)
        feed(&n, &s);
    CHECK(tarn_novelty_factors(&n).rate <= 1.25f);
}

static void a_loss_that_jumps_is_a_surprise(void)
{
    struct tarn_novelty n;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    tarn_novelty_init(&n, NULL);
    for (int i = 0; i < 3000; i++) {
        tarn_novelty_loss(&n, i % 5 == 0 ? NAN : loss_of(&rng, 1));
        if (i > 100)
            CHECK(tarn_novelty_factors(&n).rate <= 4);
    }
    float before = tarn_novelty_factors(&n).rate;
    int until = 0;
    while (until < 100 && tarn_novelty_factors(&n).rate < 2) {
        tarn_novelty_loss(&n, loss_of(&rng, 1.4f));
        until++;
    }
    printf("# before %.2f; a loss 40 %% higher is new after %d\n", (double)before, until);
    CHECK(until <= 12);
    /* a loss that falls is good news, not new data */
    for (int i = 0; i < 3000; i++)
        tarn_novelty_loss(&n, loss_of(&rng, 1.4f));
    for (int i = 0; i < 50; i++) {
        tarn_novelty_loss(&n, loss_of(&rng, 0.7f));
        CHECK(i < 8 || tarn_novelty_factors(&n).rate <= 1.01f);
    }
}

CHECK_MAIN(CASE(what_stays_the_same_is_calm), CASE(nothing_new_for_long_slows_down),
           CASE(other_features_are_new_and_then_old), CASE(a_loss_that_jumps_is_a_surprise))
