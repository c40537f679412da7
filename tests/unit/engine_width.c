/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of an elastic network decides: the choice, and what an engine makes of it. */
#include "../check.h"

#include <math.h>
#include <tarn/engine.h>

#include "base/rng.h"
#include "engine/engine_private.h"
#include "engine/width.h"
#include "model/model.h"

static const struct tarn_shape shape = {28, 32, 32, 11};

static void forms_are_every_width_with_its_work(void)
{
    struct tarn_width_form forms[TARN_WIDTH_FORMS];
    CHECK_NUMBER(tarn_width_forms(&(struct tarn_nested){0}, &shape, forms), 1);
    CHECK(forms[0].slice == 0 && forms[0].work == 1 && forms[0].excess == 0);
    CHECK_NUMBER(tarn_width_forms(&(struct tarn_nested){.width = {8, 16}}, &shape, forms), 3);
    CHECK(forms[1].slice == 16 && forms[2].slice == 8 && isnan(forms[1].excess));
    CHECK(forms[1].work < 0.6f && forms[2].work < forms[1].work && forms[2].work > 0.2f);
    CHECK_NUMBER(tarn_width_forms(&(struct tarn_nested){{8, 16, 24}, 1}, &shape, forms),
                 TARN_WIDTH_FORMS);
    CHECK(forms[4].slice == TARN_SLICE(0u, 1u) && forms[7].slice == TARN_SLICE(8u, 1u));
    CHECK(forms[4].work < 1 && forms[7].work < forms[3].work);
}

static struct tarn_width_form forms[TARN_WIDTH_FORMS];

static struct tarn_width_view view_of(float at16, float at8, float error, float score_ns)
{
    tarn_width_forms(&(struct tarn_nested){.width = {8, 16}}, &shape, forms);
    forms[1].excess = at16;
    forms[2].excess = at8;
    forms[1].error = forms[2].error = error;
    return (struct tarn_width_view){.forms = forms, .count = 3, .score_ns = score_ns};
}

static void the_choice_weighs_misses_against_time(void)
{
    struct tarn_width_view v = view_of(0.02f, 0.08f, 0.002f, 30);
    CHECK_NUMBER(tarn_width_choose(&v), 0); /* a quick host: what is lost isn't won back */
    v.score_ns = 300;
    CHECK_NUMBER(tarn_width_choose(&v), 1);
    v.score_ns = 5000;
    CHECK_NUMBER(tarn_width_choose(&v), 2);
    v.miss_ns = 100e6f; /* unless a miss costs much more */
    CHECK_NUMBER(tarn_width_choose(&v), 0);
    /* a workload that a small network is enough for */
    v = view_of(0.0001f, 0.0002f, 0.0002f, 30);
    CHECK_NUMBER(tarn_width_choose(&v), 2);
    v = view_of(0.0001f, 0.05f, 0.0002f, 30);
    CHECK_NUMBER(tarn_width_choose(&v), 1);
    /* too few samples to tell */
    v = view_of(0.0001f, 0.0002f, 0.05f, 30);
    CHECK_NUMBER(tarn_width_choose(&v), 0);
    v = view_of(NAN, NAN, NAN, 5000);
    CHECK_NUMBER(tarn_width_choose(&v), 0);
}

static void a_change_has_to_be_worth_it(void)
{
    /* from one look to the next the excess moves by less than its error: nothing changes */
    struct tarn_width_view v = view_of(0.003f, INFINITY, 0.0005f, 50);
    CHECK_NUMBER(tarn_width_choose(&v), 1);
    v.now = 1;
    forms[1].excess = 0.0038f;
    CHECK_NUMBER(tarn_width_choose(&v), 1);
    v.now = 0;
    CHECK_NUMBER(tarn_width_choose(&v), 0);
    v.now = 1;
    forms[1].excess = 0.01f;
    CHECK_NUMBER(tarn_width_choose(&v), 0);
    forms[1].excess = NAN;
    CHECK_NUMBER(tarn_width_choose(&v), 0);
}

static void under_pressure_time_is_dear(void)
{
    struct tarn_width_view v = view_of(0.03f, 0.1f, 0.002f, 30);
    CHECK_NUMBER(tarn_width_choose(&v), 0);
    v.pressure = 1;
    CHECK_NUMBER(tarn_width_choose(&v), 1);
    forms[2].excess = 0.035f;
    CHECK_NUMBER(tarn_width_choose(&v), 2);
    forms[1].excess = forms[2].excess = 0.3f; /* misses still count */
    CHECK_NUMBER(tarn_width_choose(&v), 0);
    v = view_of(NAN, NAN, NAN, 30);
    v.pressure = 2;
    CHECK_NUMBER(tarn_width_choose(&v), 0);
    v.now = 2;
    CHECK_NUMBER(tarn_width_choose(&v), 0);
}

/* ---- in an engine ---- */

static tarn_model *make_model(bool elastic)
{
    float weights[TARN_NET_PARAMETERS];
    struct tarn_rng rng;
    tarn_model *model = NULL;
    tarn_rng_seed(&rng, 3);
    tarn_net_init(&shape, &rng, weights);
    /* only the first units do anything: what they compute alone is all there is */
    float *w3 = weights + 32 * 29 + 32 * 33, *w2 = weights + 32 * 29;
    for (uint32_t i = 8; i < 32; i++) {
        for (uint32_t n = 0; n < 11; n++)
            w3[n * 32 + i] = 0;
        for (uint32_t n = 0; n < 32; n++)
            w2[n * 32 + i] = 0;
    }
    CHECK(tarn_model_create(&shape, weights, "", &model) == TARN_OK);
    if (elastic)
        model->nested = (struct tarn_nested){.width = {8, 16}};
    return model;
}

static tarn_engine *open_engine(const tarn_model *model, uint32_t width)
{
    tarn_engine *engine = NULL;
    struct tarn_error error = {0};
    const struct tarn_engine_params params = {
        .objects = 500,
        .device = "host",
        .background = TARN_BACKGROUND_STEPS,
        .model = model,
        .seed = 1,
        .width = width,
        .no_shadows = true,
    };
    CHECK(tarn_engine_create(&params, &engine, &error) == TARN_OK);
    return engine;
}

static uint64_t serve_at(tarn_engine *engine, uint32_t requests, uint32_t cost_us)
{
    struct tarn_rng rng;
    uint64_t misses = 0;
    tarn_cache *cache = tarn_engine_cache(engine);
    tarn_rng_seed(&rng, 9);
    for (uint32_t i = 0; i < requests; i++) {
        uint64_t key = (uint64_t)(4000 * tarn_rng_float(&rng) * tarn_rng_float(&rng));
        size_t room = 0;
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK) {
            misses++;
            CHECK(tarn_cache_put(cache, &key, sizeof key,
                                 &(struct tarn_item){.charge = 1, .cost_us = cost_us}) == TARN_OK);
        }
        tarn_engine_step(engine);
    }
    return misses;
}

static uint64_t serve(tarn_engine *engine, uint32_t requests)
{
    return serve_at(engine, requests, 0);
}

static struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

static void press(tarn_engine *engine, uint32_t pressure)
{
    tarn_width_press(engine, pressure);
}

static void a_width_that_is_given_stays(void)
{
    tarn_model *model = make_model(true);
    tarn_engine *engine = open_engine(model, 12);
    CHECK_NUMBER(stats_of(engine).width, 16); /* the nearest that was trained */
    serve(engine, 30000);
    press(engine, 1);
    serve(engine, 1000);
    CHECK(stats_of(engine).width == 16 && stats_of(engine).width_changes == 0);
    CHECK(engine->learned->live.list_slice == 16 && engine->learned->live.pool_slice == 16);
    tarn_engine_destroy(&engine);
    tarn_model_destroy(&model);
}

static void a_model_that_is_not_elastic_is_used_whole(void)
{
    tarn_model *model = make_model(false);
    tarn_engine *engine = open_engine(model, 8), *other = open_engine(model, 0);
    uint64_t misses = serve(engine, 20000);
    CHECK_NUMBER(serve(other, 20000), misses);
    press(other, 1);
    serve(other, 5000);
    CHECK(stats_of(engine).width == 32 && stats_of(other).width == 32);
    CHECK_NUMBER(stats_of(other).width_changes, 0);
    tarn_engine_destroy(&engine);
    tarn_engine_destroy(&other);
    tarn_model_destroy(&model);
}

/* A part of a network that wasn't trained as one says less; whether that matters is what a miss costs. */
static tarn_engine *open_with_costs(void)
{
    tarn_model *model = NULL;
    tarn_engine *engine = NULL;
    CHECK(tarn_model_load_default(&model, NULL) == TARN_OK);
    model->nested = (struct tarn_nested){.width = {24}};
    struct tarn_engine_params params = {
        .objects = 500,
        .device = "host",
        .background = TARN_BACKGROUND_STEPS,
        .model = model,
        .goal = TARN_GOAL_LATENCY,
        .seed = 1,
        .no_shadows = true,
        .mint_every = 1u << 30, /* what is trained doesn't go live */
    };
    CHECK(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    tarn_model_destroy(&model);
    return engine;
}

static void pressure_narrows_and_relief_widens(void)
{
    tarn_engine *engine = open_with_costs();
    serve_at(engine, 60000, 100);
    CHECK_NUMBER(stats_of(engine).width, 32);
    press(engine, 1);
    CHECK_NUMBER(stats_of(engine).width, 24); /* at once */
    serve_at(engine, 2000, 100);
    CHECK(stats_of(engine).width == 24 && engine->learned->live.list_slice == 24);
    press(engine, 0);
    serve_at(engine, 100, 100);
    CHECK(stats_of(engine).width == 32 && stats_of(engine).width_changes == 2);
    tarn_engine_destroy(&engine);
}

/* Here eight units say all that there is to say, and the engine finds out. */
static void a_simple_workload_is_served_by_few_units(void)
{
    tarn_model *model = make_model(true);
    tarn_engine *engine = NULL;
    struct tarn_engine_params params = {
        .objects = 500,
        .device = "host",
        .background = TARN_BACKGROUND_STEPS,
        .model = model,
        .seed = 1,
        .no_shadows = true,
        .mint_every = 1u << 30, /* what is trained doesn't go live */
    };
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    serve(engine, 60000);
    CHECK_NUMBER(stats_of(engine).width, 8);
    tarn_engine_destroy(&engine);
    tarn_model_destroy(&model);
}

static void what_callers_say_that_a_miss_costs_counts(void)
{
    static const uint32_t cost_us[] = {1, 1000000};
    for (int i = 0; i < 2; i++) {
        tarn_engine *engine = open_with_costs();
        serve_at(engine, 60000, cost_us[i]);
        CHECK_NUMBER(stats_of(engine).width, i == 0 ? 24 : 32);
        tarn_engine_destroy(&engine);
    }
}

CHECK_MAIN(CASE(forms_are_every_width_with_its_work), CASE(the_choice_weighs_misses_against_time),
           CASE(a_change_has_to_be_worth_it), CASE(under_pressure_time_is_dear),
           CASE(a_width_that_is_given_stays), CASE(a_model_that_is_not_elastic_is_used_whole),
           CASE(pressure_narrows_and_relief_widens), CASE(a_simple_workload_is_served_by_few_units),
           CASE(what_callers_say_that_a_miss_costs_counts))
