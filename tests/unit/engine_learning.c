/* SPDX-License-Identifier: Apache-2.0 */
/* Continuous learning in the engine: each of its parts, on and off, and what all of them may cost. */
#include "../check.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/memory.h"
#include "engine/learning_private.h"

enum { OBJECTS = 400, PHASE = 40000 };

/* Phases of other keys and another popularity: an even one is skewed, an odd one mostly a scan. */
static uint64_t key_of(size_t i)
{
    struct tarn_rng rng;
    size_t phase = i / PHASE % 2;
    tarn_rng_seed(&rng, i);
    double u = tarn_rng_double(&rng);
    if (phase == 0)
        return (uint64_t)(u * u * u * 4000);
    return 1000000 + (tarn_rng_below(&rng, 10) < 9 ? i % 3000 : (uint64_t)(u * u * 500));
}

static uint64_t serve(tarn_engine *engine, size_t first, size_t end)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    uint64_t misses = 0;
    for (size_t i = first; i < end; i++) {
        uint64_t key = key_of(i);
        size_t room = 0;
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK) {
            misses++;
            tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1});
        }
        tarn_engine_step(engine);
    }
    return misses;
}

static tarn_engine *start(const struct tarn_learning_params *learning, tarn_background background)
{
    tarn_engine *engine = NULL;
    tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                    .device = "host",
                                                    .background = background,
                                                    .seed = 5,
                                                    .learning = learning},
                       &engine, NULL);
    return engine;
}

static struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

static struct tarn_learning_params nothing(void)
{
    struct tarn_learning_params p;
    tarn_learning_defaults(&p);
    p.keep_held_out = p.novelty = p.drift = false;
    p.reservoir = p.stored = p.patience = 0;
    p.replayed = p.consolidate = p.distilled = p.drift_recent = 0;
    p.drift_rate = p.drift_steps = p.explore = 1;
    return p;
}

static struct tarn_learning_params everything(void)
{
    struct tarn_learning_params p = nothing();
    p.keep_held_out = p.novelty = p.drift = true;
    p.reservoir = 2048;
    p.replayed = 0.25f;
    p.balance = 0.5f;
    p.consolidate = 1000;
    p.anchor_every = 64;
    p.distilled = 0.25f;
    p.drift_rate = 3;
    p.drift_steps = 2;
    p.drift_recent = 0.5f;
    p.explore = 2;
    p.stored = 1;
    p.patience = 4;
    return p;
}

static atomic_ulong allocations;

static bool count_allocations(size_t size)
{
    atomic_fetch_add(&allocations, size > 0);
    return true;
}

static void the_arena_is_small_and_training_allocates_nothing(void)
{
    struct tarn_learning_params p = everything(), defaults;
    tarn_learning_defaults(&defaults);
    for (int i = 0; i < 2; i++) {
        tarn_engine *engine = start(i == 0 ? &p : NULL, TARN_BACKGROUND_STEPS);
        REQUIRE(engine != NULL);
        uint64_t arena = stats_of(engine).train_arena;
        printf("# %s: the training arena has %.1f KiB\n", i == 0 ? "everything" : "defaults",
               (double)arena / 1024);
        CHECK(arena > 100000 && arena <= 256 * 1024);
        serve(engine, 0, 2 * PHASE);
        struct tarn_engine_stats before = stats_of(engine);
        struct tarn_version_stats versions, later;
        tarn_engine_get_versions(engine, &versions);
        atomic_store(&allocations, 0);
        tarn_memory_set_hook(count_allocations);
        serve(engine, 2 * PHASE, 4 * PHASE);
        tarn_memory_set_hook(NULL);
        tarn_engine_get_versions(engine, &later);
        /* but a version of its own for each candidate that goes live: the bundle, the model, its two parts */
        CHECK_NUMBER(atomic_load(&allocations), 4 * (later.swaps - versions.swaps));
        CHECK(stats_of(engine).train_steps > before.train_steps + 50);
        CHECK_NUMBER(stats_of(engine).train_arena, arena);
        tarn_engine_destroy(&engine);
    }
}

static void every_part_works_alone_and_repeats(void)
{
    const struct tarn_learning_params all = everything();
    uint64_t plain = 0;
    for (int part = 0; part < 11; part++) {
        struct tarn_learning_params p = nothing();
        switch (part) {
        case 0:
            break;
        case 1:
            p.keep_held_out = true;
            break;
        case 2:
            p.reservoir = all.reservoir;
            p.replayed = all.replayed;
            break;
        case 3:
            p.consolidate = all.consolidate;
            p.anchor_every = all.anchor_every;
            break;
        case 4:
            p.distilled = all.distilled;
            break;
        case 5:
            p.novelty = true;
            break;
        case 6:
            p.drift = true;
            p.drift_rate = 3;
            break;
        case 7:
            p.drift = true;
            p.drift_steps = 2;
            break;
        case 8:
            p.drift = true;
            p.drift_recent = 0.5f;
            break;
        case 9:
            p.drift = true;
            p.explore = 2;
            break;
        default:
            p.patience = 4;
        }
        uint64_t misses[2], steps = 0;
        for (int i = 0; i < 1 + (part % 3 == 2); i++) {
            tarn_engine *engine = start(&p, TARN_BACKGROUND_STEPS);
            REQUIRE(engine != NULL);
            misses[1] = misses[i] = serve(engine, 0, PHASE + PHASE / 2);
            struct tarn_engine_stats s = stats_of(engine);
            steps = s.train_steps;
            CHECK(s.loss > 0 && s.loss < 10 && steps > 100);
            CHECK(tarn_net_is_finite(tarn_trainer_weights(engine->trainer), TARN_NET_PARAMETERS));
            CHECK((s.replayed > 0) == (part == 2) && (s.drifts > 0) == (part >= 6 && part < 10));
            CHECK((s.steps_saved > 0) == (part == 10));
            tarn_engine_destroy(&engine);
        }
        plain = part == 0 ? misses[0] : plain;
        printf("# part %d: %llu misses, %llu steps\n", part, (unsigned long long)misses[0],
               (unsigned long long)steps);
        CHECK_NUMBER(misses[0], misses[1]);
        CHECK((misses[0] != plain) == (part != 0));                /* it does something, */
        CHECK(fabs((double)misses[0] / (double)plain - 1) < 0.04); /* and nothing terrible */
    }
}

static void in_place_is_plain_training(void)
{
    struct tarn_learning_params p[2] = {nothing(), everything()};
    uint64_t misses[2];
    p[1].in_place = true; /* nothing else counts then */
    for (int i = 0; i < 2; i++) {
        tarn_engine *engine = start(&p[i], TARN_BACKGROUND_STEPS);
        REQUIRE(engine != NULL);
        misses[i] = serve(engine, 0, PHASE);
        CHECK(stats_of(engine).replayed == 0 && isnan(stats_of(engine).held_out_loss));
        tarn_engine_destroy(&engine);
    }
    p[0].in_place = true;
    tarn_engine *engine = start(&p[0], TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    misses[0] = serve(engine, 0, PHASE);
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(misses[0], misses[1]);
}

static void a_change_is_noticed_and_answered(void)
{
    struct tarn_learning_params p = nothing();
    p.drift = true;
    p.drift_rate = 3;
    p.explore = 2;
    tarn_engine *engine = start(&p, TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, PHASE);
    struct tarn_engine_stats before = stats_of(engine);
    CHECK_NUMBER(before.rate_factor, 1);
    CHECK(engine->learned->world.explore <= 1);
    size_t noticed = PHASE;
    while (stats_of(engine).rate_factor <= 1 && noticed < 2 * PHASE) {
        serve(engine, noticed, noticed + 500);
        noticed += 500;
    }
    printf("# noticed after %zu requests\n", noticed - PHASE);
    CHECK(noticed < PHASE + 6000);
    struct tarn_engine_stats hot = stats_of(engine);
    CHECK(hot.drifts == before.drifts + 1 && hot.rate_factor > 2.5f);
    CHECK(engine->learned->world.explore > 1.5f);
    serve(engine, noticed, noticed + 2000);
    double each = (double)(stats_of(engine).scores - hot.scores) /
                  (double)(stats_of(engine).rounds - hot.rounds);
    serve(engine, noticed + 2000, 2 * PHASE);
    CHECK_NUMBER(stats_of(engine).rate_factor, 1); /* it's no news any more */
    CHECK(engine->learned->world.explore <= 1);
    hot = stats_of(engine);
    serve(engine, 2 * PHASE - 20000, 2 * PHASE - 18000);
    double calm = (double)(stats_of(engine).scores - hot.scores) /
                  (double)(stats_of(engine).rounds - hot.rounds);
    printf("# candidates of a round: %.1f, later %.1f\n", each, calm);
    CHECK(each > 1.3 * calm);
    tarn_engine_destroy(&engine);
}

static void what_comes_back_is_remembered(void)
{
    struct tarn_learning_params p = nothing();
    p.drift = true;
    p.stored = TARN_STORED_MOST;
    tarn_engine *engine = start(&p, TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, 6 * PHASE);
    struct tarn_engine_stats s = stats_of(engine);
    printf("# %llu drifts, %llu restarts in 5 changes\n", (unsigned long long)s.drifts,
           (unsigned long long)s.restarts);
    CHECK(s.drifts >= 4 && s.restarts >= 1);
    CHECK(engine->learner->stored_count == TARN_STORED_MOST);
    tarn_engine_destroy(&engine);
}

static void training_pauses_and_goes_on(void)
{
    struct tarn_learning_params p = nothing();
    p.drift = p.keep_held_out = true;
    p.patience = 4;
    tarn_engine *engine = start(&p, TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, PHASE);
    struct tarn_engine_stats before = stats_of(engine);
    CHECK(before.steps_saved > 20 && before.held_out_loss > 0);
    CHECK(before.steps_saved + before.train_steps <= PHASE / 125 + TARN_TRAIN_STEPS);
    serve(engine, PHASE, PHASE + 30000);
    CHECK(stats_of(engine).train_steps > before.train_steps + 40);
    tarn_engine_destroy(&engine);
}

static void after_another_version_training_goes_on_from_it(void)
{
    struct tarn_trainer_state state;
    static float m[TARN_NET_PARAMETERS], live[TARN_NET_PARAMETERS];
    struct tarn_learning_params p = everything();
    tarn_engine *engine = start(&p, TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, 30000);
    tarn_trainer_get_state(engine->trainer, &state);
    memcpy(m, state.m, sizeof m);
    uint64_t steps = state.steps;
    double due = engine->steps_due;
    tarn_model *model = NULL;
    REQUIRE(tarn_engine_copy_model(engine, &model) == TARN_OK);
    memcpy(live, model->weights, sizeof live);
    tarn_model_destroy(&model);
    pthread_mutex_lock(&engine->background_lock);
    tarn_learning_restart(engine, true);
    pthread_mutex_unlock(&engine->background_lock);
    tarn_trainer_get_state(engine->trainer, &state);
    CHECK(memcmp(state.weights, live, sizeof live) == 0);
    CHECK(memcmp(state.m, m, sizeof m) == 0 && state.steps == steps);
    CHECK_NUMBER(engine->steps_due, due);
    serve(engine, 30000, 60000);
    CHECK(stats_of(engine).train_steps > steps);
    tarn_engine_destroy(&engine);
}

static void samples_of_the_past_fit_into_the_memory(void)
{
    struct tarn_learning_params p = nothing();
    p.reservoir = 8192;
    p.replayed = 0.2f;
    static const struct {
        uint64_t limit, ring, reservoir;
    } cases[] = {{0, 32768, 4096}, {147456, 2048, 0}, {151552, 2048, 128}, {200000, 2048, 256}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tarn_engine *engine = NULL;
        REQUIRE(tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                                .device = "host",
                                                                .background = TARN_BACKGROUND_STEPS,
                                                                .train_memory = cases[i].limit,
                                                                .learning = &p},
                                   &engine, NULL) == TARN_OK);
        CHECK_NUMBER(engine->ring.size, cases[i].ring);
        CHECK_NUMBER(engine->learner->reservoir.room * TARN_RESERVOIR_STRATA, cases[i].reservoir);
        CHECK(cases[i].limit == 0 || stats_of(engine).train_memory <= cases[i].limit);
        serve(engine, 0, PHASE);
        struct tarn_engine_stats s = stats_of(engine);
        printf("# %u samples, %.3f of the steps' from the past\n", (unsigned)engine->ring.size,
               (double)s.replayed);
        CHECK(cases[i].reservoir == 0 ? s.replayed == 0 : s.replayed > 0.02f && s.replayed < 0.21f);
        tarn_cache_lock(engine->cache);
        tarn_learning_give_back(engine, true);
        tarn_cache_unlock(engine->cache);
        serve(engine, 0, 5000);
        tarn_cache_lock(engine->cache);
        tarn_learning_give_back(engine, false);
        tarn_cache_unlock(engine->cache);
        CHECK_NUMBER(engine->learner->reservoir.room * TARN_RESERVOIR_STRATA, cases[i].reservoir);
        serve(engine, 0, 5000);
        tarn_engine_destroy(&engine);
    }
}

CHECK_MAIN(CASE(the_arena_is_small_and_training_allocates_nothing),
           CASE(every_part_works_alone_and_repeats), CASE(in_place_is_plain_training),
           CASE(a_change_is_noticed_and_answered), CASE(what_comes_back_is_remembered),
           CASE(training_pauses_and_goes_on), CASE(after_another_version_training_goes_on_from_it),
           CASE(samples_of_the_past_fit_into_the_memory))
