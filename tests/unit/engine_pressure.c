/* SPDX-License-Identifier: Apache-2.0 */
/* What is given up under load, on a clock of its own; and that an engine carries it out. */
#include "../check.h"

#include <math.h>

#include "engine/engine_private.h"

#define MS UINT64_C(1000000)

struct world {
    struct tarn_pressure pressure;
    struct tarn_pressure_sample sample;
};

static void begin(struct world *w)
{
    memset(w, 0, sizeof *w);
    tarn_pressure_init(&w->pressure, &(struct tarn_pressure_params){.levels = 3});
    w->sample.now_ns = 1000 * MS;
    tarn_pressure_feed(&w->pressure, &w->sample);
}

/* So many seconds at a rate where a request takes so much at each level; true if the level ever changed. */
static bool pass(struct world *w, double seconds, double rate, const double ns[4])
{
    bool changed = false;
    for (int i = 0; i < (int)(seconds * 5); i++) {
        w->sample.now_ns += 200 * MS;
        w->sample.requests += (uint64_t)(rate / 5);
        w->sample.policy_ns = ns[w->pressure.level];
        changed |= tarn_pressure_feed(&w->pressure, &w->sample);
    }
    return changed;
}

static const double costs[4] = {1000, 800, 600, 300};

static void a_light_load_changes_nothing(void)
{
    struct world w;
    begin(&w);
    CHECK(!pass(&w, 100, 400000, costs)); /* 40 % of a core */
    CHECK(fabs(w.pressure.load - 0.4) < 0.01);
    w.sample.policy_ns = NAN;
    w.sample.now_ns += 1000 * MS;
    CHECK(!tarn_pressure_feed(&w.pressure, &w.sample));
}

static void load_raises_it_a_level_at_a_time(void)
{
    struct world w;
    begin(&w);
    pass(&w, 0.8, 700000, costs); /* 70 % */
    CHECK_NUMBER(w.pressure.level, 0);
    pass(&w, 1, 700000, costs);
    CHECK_NUMBER(w.pressure.level, 1); /* 56 %: not enough */
    pass(&w, 3, 700000, costs);
    CHECK_NUMBER(w.pressure.level, 2); /* 42 %: enough, and no reason to go back */
    CHECK(!pass(&w, 100, 700000, costs));
    pass(&w, 10, 5000000, costs);
    CHECK_NUMBER(w.pressure.level, 3); /* there is no more to give up */
    CHECK(!pass(&w, 100, 5000000, costs));
}

static void it_falls_after_a_while(void)
{
    struct world w;
    begin(&w);
    pass(&w, 10, 5000000, costs);
    CHECK_NUMBER(w.pressure.level, 3);
    CHECK(!pass(&w, 4, 100000, costs));
    pass(&w, 4, 100000, costs);
    CHECK_NUMBER(w.pressure.level, 2);
    pass(&w, 20, 100000, costs);
    CHECK_NUMBER(w.pressure.level, 0);
    CHECK_NUMBER(w.pressure.changes, 6);
}

/* A load that is too much at one level and little at the next: fewer and fewer tries. */
static void it_doesnt_flap(void)
{
    static const double cliff[4] = {1000, 100, 100, 100};
    struct world w;
    begin(&w);
    pass(&w, 600, 800000, cliff);
    uint32_t changes = w.pressure.changes;
    printf("# %u changes in ten minutes\n", (unsigned)changes);
    CHECK(changes < 40);
    pass(&w, 600, 800000, cliff);
    CHECK(w.pressure.changes - changes < 25);
}

static void a_strained_board_has_half(void)
{
    struct world w;
    begin(&w);
    w.sample.strained = true;
    pass(&w, 10, 350000, costs); /* 35 %, then 28 %, then 21 % */
    CHECK_NUMBER(w.pressure.level, 2);
    w.sample.strained = false;
    pass(&w, 60, 350000, costs);
    CHECK_NUMBER(w.pressure.level, 1); /* 21 % is under half of 50 %, 28 % isn't */
}

static void clocks_that_jump_are_no_load(void)
{
    struct world w;
    begin(&w);
    pass(&w, 5, 400000, costs);
    w.sample.now_ns -= 4000 * MS;
    CHECK(!tarn_pressure_feed(&w.pressure, &w.sample));
    CHECK(!pass(&w, 5, 400000, costs));
    w.sample.now_ns += UINT64_C(3600000) * MS;
    CHECK(!tarn_pressure_feed(&w.pressure, &w.sample));
    CHECK(!pass(&w, 5, 400000, costs));
    w.sample.requests = 0; /* another cache */
    CHECK(!pass(&w, 5, 400000, costs));
    CHECK_NUMBER(w.pressure.level, 0);
}

static tarn_engine *start(int relief, tarn_background background)
{
    tarn_engine *engine = NULL;
    struct tarn_error error;
    tarn_engine_create(&(struct tarn_engine_params){.objects = 1000,
                                                    .device = "host",
                                                    .background = background,
                                                    .relief = relief,
                                                    .policy_budget = 1e-6F},
                       &engine, &error);
    return engine;
}

static void serve(tarn_engine *engine, uint32_t requests)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    for (uint32_t i = 0; i < requests; i++) {
        uint64_t key = (uint64_t)i * 7919 % 3001;
        size_t room = 0;
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
            tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1});
        tarn_engine_step(engine);
    }
}

static void an_engine_carries_it_out(void)
{
    struct tarn_engine_stats stats;
    CHECK(start(TARN_ENGINE_RELIEF_MOST + 1, TARN_BACKGROUND_STEPS) == NULL);
    for (int relief = -1; relief <= TARN_ENGINE_RELIEF_MOST; relief++) {
        tarn_engine *engine = start(relief, TARN_BACKGROUND_STEPS);
        REQUIRE(engine != NULL);
        CHECK(!engine->learned->times); /* with steps nobody asks for it, */
        engine->learned->times = true;  /* but it can be asked for */
        serve(engine, 20000);           /* however long that takes: nothing measured has a say */
        tarn_engine_get_stats(engine, &stats);
        CHECK_NUMBER(stats.relief, relief > 0 ? relief : 0);
        CHECK(stats.relief_changes == 0 && stats.policy_load == 0);
        CHECK_NUMBER(engine->learned->relief, relief > 1 ? relief - 1 : 0);
        struct tarn_timed timed = tarn_learned_take_time(engine->learned);
        CHECK(timed.requests == 20000 && timed.ns > 0);
        CHECK_NUMBER(tarn_learned_take_time(engine->learned).requests, 0);
        tarn_engine_destroy(&engine);
    }
}

/* With a budget of next to nothing the thread gives up what there is, by itself; or not, if told so. */
static void the_thread_gives_up_by_itself(void)
{
    struct tarn_engine_stats stats = {0};
    tarn_engine *engine = start(0, TARN_BACKGROUND_THREAD),
                *never = start(-1, TARN_BACKGROUND_THREAD);
    REQUIRE(engine != NULL && never != NULL);
    for (int i = 0; i < 3000 && stats.relief == 0; i++) {
        serve(engine, 20000);
        serve(never, 2000);
        tarn_engine_get_stats(engine, &stats);
    }
    CHECK(stats.relief > 0 && stats.relief_changes > 0 && stats.policy_load > 0);
    tarn_engine_get_stats(never, &stats);
    CHECK(stats.relief == 0 && stats.relief_changes == 0);
    tarn_engine_destroy(&engine);
    tarn_engine_destroy(&never);
}

CHECK_MAIN(CASE(a_light_load_changes_nothing), CASE(load_raises_it_a_level_at_a_time),
           CASE(it_falls_after_a_while), CASE(it_doesnt_flap), CASE(a_strained_board_has_half),
           CASE(clocks_that_jump_are_no_load), CASE(an_engine_carries_it_out),
           CASE(the_thread_gives_up_by_itself))
