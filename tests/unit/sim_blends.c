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

CHECK_MAIN(CASE(shares_are_those_that_were_asked_for),
           CASE(a_loop_that_has_yet_to_repeat_is_a_scan),
           CASE(a_cache_in_front_takes_its_hits_away),
           CASE(the_same_specification_gives_the_same_requests))
