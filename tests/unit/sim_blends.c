/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "experts/classify.h"
#include "sim/blends.h"

enum { REQUESTS = 200000, PARTS = TARN_BLEND_PARTS };

_Static_assert((int)TARN_BLEND_PARTS == (int)TARN_WORKLOAD_PARTS, "one component a class");

static double shares[PARTS + 1];

static void count(const struct tarn_blend_spec *spec)
{
    tarn_blend *blend;
    if (tarn_blend_create(spec, &blend, NULL) != TARN_OK)
        abort();
    memset(shares, 0, sizeof shares);
    for (int i = 0; i < REQUESTS; i++) {
        uint32_t component;
        tarn_blend_next(blend, &component);
        shares[component] += 1.0 / REQUESTS;
    }
    tarn_blend_destroy(&blend);
}

static struct tarn_blend_part part_of(tarn_workload_class component, double weight, double run)
{
    return (struct tarn_blend_part){
        .component = component,
        .weight = weight,
        .run = run,
        .objects = 1000,
        .length = 500,
        .alpha = 0.9,
        .group = 1,
        .fresh = 0.05,
        .active = component == TARN_WORKLOAD_BURST ? 8 : 0,
    };
}

static void shares_are_those_that_were_asked_for(void)
{
    struct tarn_blend_spec spec = {
        .seed = 3,
        .part_count = 3,
        .part = {part_of(TARN_WORKLOAD_ZIPF, 0.5, 1), part_of(TARN_WORKLOAD_RECENCY, 0.3, 20),
                 part_of(TARN_WORKLOAD_BURST, 0.2, 5)},
        .noise = 0.1,
    };
    count(&spec);
    CHECK(fabs(shares[TARN_WORKLOAD_ZIPF] - 0.45) < 0.02);
    CHECK(fabs(shares[TARN_WORKLOAD_RECENCY] - 0.27) < 0.02);
    CHECK(fabs(shares[TARN_WORKLOAD_BURST] - 0.18) < 0.02);
    CHECK(fabs(shares[TARN_BLEND_NOISE] - 0.1) < 0.01);
}

static void a_loop_that_has_yet_to_repeat_is_a_scan(void)
{
    struct tarn_blend_spec spec = {
        .seed = 3, .part_count = 1, .part = {part_of(TARN_WORKLOAD_LOOP, 1, 1)}};
    spec.part[0].length = REQUESTS / 4;
    count(&spec);
    CHECK(fabs(shares[TARN_WORKLOAD_SCAN] - 0.25) < 1e-6);
    CHECK(fabs(shares[TARN_WORKLOAD_LOOP] - 0.75) < 1e-6);
}

static void a_cache_in_front_takes_its_hits_away(void)
{
    struct tarn_blend_spec spec = {
        .seed = 3,
        .part_count = 2,
        .part = {part_of(TARN_WORKLOAD_ZIPF, 0.5, 1), part_of(TARN_WORKLOAD_SCAN, 0.5, 100)}};
    count(&spec);
    double before = shares[TARN_WORKLOAD_SCAN];
    spec.front_cache = 64;
    count(&spec);
    CHECK(shares[TARN_WORKLOAD_SCAN] > before + 0.03);
}

static void the_same_specification_gives_the_same_requests(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    for (uint32_t parts = 1; parts <= PARTS; parts++)
        for (int range = TARN_BLEND_INSIDE; range <= TARN_BLEND_OUTSIDE; range++) {
            struct tarn_blend_spec spec;
            tarn_blend *a, *b;
            tarn_blend_draw(&rng, (tarn_blend_range)range, parts, (int)parts - 1, &spec);
            CHECK_NUMBER(spec.part_count, parts);
            CHECK_NUMBER(spec.part[0].component, parts - 1);
            double sum = 0;
            uint32_t seen = 0;
            for (uint32_t i = 0; i < parts; i++) {
                sum += spec.part[i].weight;
                seen |= 1u << spec.part[i].component;
            }
            CHECK(fabs(sum - 1) < 1e-9);
            CHECK_NUMBER(__builtin_popcount(seen), parts);
            REQUIRE(tarn_blend_create(&spec, &a, NULL) == TARN_OK);
            REQUIRE(tarn_blend_create(&spec, &b, NULL) == TARN_OK);
            int different = 0;
            for (int i = 0; i < 5000; i++) {
                uint32_t x, y;
                different += tarn_blend_next(a, &x) != tarn_blend_next(b, &y) || x != y;
            }
            CHECK_NUMBER(different, 0);
            tarn_blend_destroy(&a);
            tarn_blend_destroy(&b);
        }
}

static double truth_of(const struct tarn_blend_spec *spec, int component)
{
    double sum = 0;
    for (uint32_t i = 0; i < spec->part_count; i++)
        sum += spec->part[i].component == (uint32_t)component ? spec->part[i].weight : 0;
    return sum;
}

/* Turns, twins and swings: all of these happen, and the shares stay what they were. */
static void what_is_varied_keeps_its_shares(void)
{
    struct tarn_rng rng;
    int turns = 0, twins = 0, swings = 0;
    tarn_rng_seed(&rng, 5);
    for (int i = 0; i < 40; i++) {
        struct tarn_blend_spec spec;
        double before[PARTS];
        tarn_blend_draw(&rng, TARN_BLEND_INSIDE, 2, -1, &spec);
        for (int k = 0; k < PARTS; k++)
            before[k] = truth_of(&spec, k);
        tarn_blend_vary(&rng, TARN_BLEND_INSIDE, &spec);
        CHECK(spec.part_count >= 2 && spec.part_count <= 4);
        turns += spec.turns;
        twins += spec.part_count > 2;
        swings += spec.swing > 0;
        for (int k = 0; k < PARTS; k++)
            CHECK(fabs(before[k] - truth_of(&spec, k)) < 1e-9);
    }
    CHECK(turns > 0 && turns < 30 && twins > 5 && twins < 40 && swings > 0 && swings < 30);
}

static void parts_take_turns(void)
{
    struct tarn_blend_spec spec = {
        .seed = 3,
        .part_count = 3,
        .part = {part_of(TARN_WORKLOAD_ZIPF, 0.5, 2), part_of(TARN_WORKLOAD_RECENCY, 0.25, 1),
                 part_of(TARN_WORKLOAD_SCAN, 0.25, 1)},
        .turns = true,
    };
    tarn_blend *blend;
    uint32_t component[400];
    REQUIRE(tarn_blend_create(&spec, &blend, NULL) == TARN_OK);
    for (int i = 0; i < 400; i++)
        tarn_blend_next(blend, &component[i]);
    tarn_blend_destroy(&blend);
    for (int i = 4; i < 400; i++)
        CHECK_NUMBER(component[i], component[i - 4]);
}

static void what_a_part_makes_up_rises_and_falls(void)
{
    struct tarn_blend_spec spec = {
        .seed = 3,
        .part_count = 2,
        .part = {part_of(TARN_WORKLOAD_ZIPF, 0.5, 1), part_of(TARN_WORKLOAD_RECENCY, 0.5, 1)},
        .swing = 2,
        .period = 10000,
    };
    tarn_blend *blend;
    double most = 0, least = 1;
    REQUIRE(tarn_blend_create(&spec, &blend, NULL) == TARN_OK);
    for (int n = 0; n < 40; n++) {
        double share = 0;
        for (int i = 0; i < 1000; i++) {
            uint32_t component;
            tarn_blend_next(blend, &component);
            share += component == TARN_WORKLOAD_ZIPF ? 0.001 : 0;
        }
        most = fmax(most, share);
        least = fmin(least, share);
    }
    tarn_blend_destroy(&blend);
    CHECK(most > 0.8 && least < 0.2);
}

CHECK_MAIN(CASE(shares_are_those_that_were_asked_for),
           CASE(a_loop_that_has_yet_to_repeat_is_a_scan),
           CASE(a_cache_in_front_takes_its_hits_away),
           CASE(the_same_specification_gives_the_same_requests),
           CASE(what_is_varied_keeps_its_shares), CASE(parts_take_turns),
           CASE(what_a_part_makes_up_rises_and_falls))
