/* SPDX-License-Identifier: Apache-2.0 */
/* Ensembles in an engine: each kind serves, versions carry members and shares, and a broken member does no harm. */
#include "../check.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

#include <tarn/versions.h>

#include "base/memory.h"
#include "base/rng.h"
#include "engine/engine_private.h"
#include "model/ensemble.h"

#define OBJECTS 1500

struct world {
    tarn_engine *engine;
    struct tarn_rng rng;
    uint32_t scan;
};

static bool begin_with(struct world *w, const struct tarn_engine_params *params)
{
    struct tarn_error error = {0};
    *w = (struct world){0};
    tarn_rng_seed(&w->rng, 5);
    if (tarn_engine_create(params, &w->engine, &error) == TARN_OK)
        return true;
    printf("# %s\n", error.message);
    return false;
}

static bool begin(struct world *w, tarn_ensemble_kind kind,
                  const struct tarn_learning_params *learning)
{
    return begin_with(w, &(struct tarn_engine_params){
                             .objects = OBJECTS,
                             .device = "host",
                             .background = TARN_BACKGROUND_STEPS,
                             .seed = 1,
                             .ensemble = kind,
                             .learning = learning,
                         });
}

/* Popular keys, and now and then one of a long loop. Returns the misses. */
static uint32_t serve(struct world *w, uint32_t requests)
{
    tarn_cache *cache = tarn_engine_cache(w->engine);
    uint32_t misses = 0;
    for (uint32_t i = 0; i < requests; i++) {
        double u = tarn_rng_double(&w->rng);
        uint32_t key = tarn_rng_below(&w->rng, 4) == 0 ? 1000000 + w->scan++ % 5000
                                                       : (uint32_t)(u * u * u * 6 * OBJECTS);
        size_t room = 0;
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK) {
            misses++;
            tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1});
        }
        tarn_engine_step(w->engine);
    }
    return misses;
}

static struct tarn_engine_stats stats_of(const struct world *w)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(w->engine, &stats);
    return stats;
}

static struct tarn_version_stats versions_of(const struct world *w)
{
    struct tarn_version_stats stats;
    tarn_engine_get_versions(w->engine, &stats);
    return stats;
}

static uint64_t swaps_of(const struct world *w)
{
    return versions_of(w).swaps;
}

static const tarn_ensemble_kind combined[] = {TARN_ENSEMBLE_MEAN, TARN_ENSEMBLE_SELECT,
                                              TARN_ENSEMBLE_STACK, TARN_ENSEMBLE_BAYES,
                                              TARN_ENSEMBLE_HEDGE};
enum { COMBINED = sizeof combined / sizeof combined[0] };

static void check_shares(const struct world *w, tarn_ensemble_kind kind)
{
    struct tarn_engine_stats s = stats_of(w);
    float sum = 0;
    CHECK(strcmp(s.ensemble, tarn_ensemble_name(kind)) == 0);
    CHECK(strcmp(s.member[0], "network") == 0 && strcmp(s.member[1], "frozen") == 0);
    for (uint32_t k = 0; k < s.members; k++) {
        CHECK(kind == TARN_ENSEMBLE_SELECT ? isnan(s.member_share[k]) : s.member_share[k] > 0);
        sum += s.member_share[k];
    }
    if (kind == TARN_ENSEMBLE_HEDGE) /* it is among the experts, with what it has to say there */
        CHECK(strcmp(s.expert[4], "frozen") == 0 && s.weight[4] > 0);
    else
        CHECK(s.expert[4] == NULL);
    CHECK(kind == TARN_ENSEMBLE_SELECT || fabsf(sum - 1) < 1e-4f);
}

static void each_kind_serves(void)
{
    struct world w;
    REQUIRE(begin(&w, TARN_ENSEMBLE_SINGLE, NULL));
    uint32_t single = serve(&w, 60000);
    CHECK_NUMBER(stats_of(&w).members, 1);
    CHECK(w.engine->versions.live->members == 1);
    tarn_engine_destroy(&w.engine);
    for (int k = 0; k < COMBINED; k++) {
        REQUIRE(begin(&w, combined[k], NULL));
        /* what has learnt nothing yet is what is frozen: nothing to combine */
        CHECK_NUMBER(stats_of(&w).members, 1);
        uint32_t misses = serve(&w, 60000);
        printf("# %s: %u misses, one network %u\n", tarn_ensemble_name(combined[k]), misses,
               single);
        CHECK(misses != single && abs((int)misses - (int)single) < (int)single / 50);
        CHECK_NUMBER(stats_of(&w).members, 2);
        check_shares(&w, combined[k]);
        CHECK(w.engine->versions.live->member[0] == w.engine->versions.anchor);
        tarn_engine_destroy(&w.engine);
        /* the same again is the same */
        REQUIRE(begin(&w, combined[k], NULL));
        CHECK_NUMBER(serve(&w, 60000), misses);
        tarn_engine_destroy(&w.engine);
    }
}

/* Each learner goes its own way, and none of them takes the others' place in the trainer. */
static void several_learn_in_turn(void)
{
    struct tarn_learning_params learning;
    struct world w;
    tarn_learning_defaults(&learning);
    REQUIRE(begin(&w, TARN_ENSEMBLE_MEAN, &learning));
    serve(&w, 60000);
    uint64_t alone = stats_of(&w).train_steps;
    tarn_engine_destroy(&w.engine);
    learning.learners = 3;
    REQUIRE(begin(&w, TARN_ENSEMBLE_MEAN, &learning));
    serve(&w, 60000);
    struct tarn_engine_stats s = stats_of(&w);
    CHECK(s.members == 4 && strcmp(s.member[2], "second") == 0 &&
          strcmp(s.member[3], "third") == 0);
    CHECK(s.train_steps > 2.8 * (double)alone && s.train_steps <= 3 * alone + 30);
    const struct tarn_ensemble *e = &w.engine->ensemble;
    const float *own = tarn_trainer_weights(w.engine->trainer);
    CHECK(e->turn == 0 && e->others == 2);
    size_t size = TARN_NET_PARAMETERS * sizeof(float);
    CHECK(memcmp(own, e->other[0].weights, size) != 0);
    CHECK(memcmp(e->other[1].weights, e->other[0].weights, size) != 0);
    CHECK(llabs((long long)e->other[0].steps - (long long)tarn_trainer_steps(w.engine->trainer)) <=
          5);
    /* near what of them is live: each has passed its own gate lately */
    for (int k = 0; k < 2; k++) {
        double off = 0, all = 0;
        const float *live = e->other[k].bundle->model->weights;
        CHECK(memcmp(live, w.engine->versions.anchor->model->weights, size) != 0);
        for (int i = 0; i < TARN_NET_PARAMETERS; i++) {
            off += (double)(live[i] - e->other[k].weights[i]) *
                   (double)(live[i] - e->other[k].weights[i]);
            all += (double)live[i] * (double)live[i];
        }
        CHECK(sqrt(off / all) < 0.3);
    }
    tarn_engine_destroy(&w.engine);
    /* in the time of one, each at a part of its pace */
    learning.learners_pace = 0;
    REQUIRE(begin(&w, TARN_ENSEMBLE_MEAN, &learning));
    serve(&w, 60000);
    CHECK(llabs((long long)stats_of(&w).train_steps - (long long)alone) <= 5);
    tarn_engine_destroy(&w.engine);
}

/* A member whose weights are no numbers: the others decide, and by its loss it has no say. */
static void a_broken_member_costs_nothing(void)
{
    for (int k = 0; k < COMBINED; k++) {
        struct world w;
        REQUIRE(begin(&w, combined[k], NULL));
        double before = serve(&w, 30000);
        struct tarn_bundle *anchor = w.engine->versions.anchor;
        anchor->model->weights[TARN_NET_PARAMETERS - 2] = NAN;
        uint64_t swaps = swaps_of(&w);
        double after = serve(&w, 30000);
        CHECK(after < before && swaps_of(&w) > swaps + 5);
        if (combined[k] == TARN_ENSEMBLE_BAYES) {
            CHECK(stats_of(&w).member_share[1] < 0.02f);
            CHECK_NUMBER(tarn_ensemble_computed(w.engine->versions.live), 1);
        }
        tarn_engine_destroy(&w.engine);
    }
}

/* A rollback brings the members and the shares of that version back, and those who learn go on from them. */
static void a_rollback_restores_members_and_shares(void)
{
    struct tarn_learning_params learning;
    struct tarn_error error;
    struct world w;
    tarn_learning_defaults(&learning);
    learning.learners = 2;
    REQUIRE(begin(&w, TARN_ENSEMBLE_BAYES, &learning));
    serve(&w, 30000);
    const struct tarn_versions *v = &w.engine->versions;
    struct tarn_bundle *then = tarn_bundle_hold(v->live);
    CHECK_NUMBER(then->members, 3);
    while (v->live->version < then->version + 3)
        serve(&w, 100);
    CHECK(v->live->member[0] == then->member[0] && v->live->member[1] != then->member[1]);
    CHECK(memcmp(v->live->share, then->share, sizeof then->share) != 0);
    CHECK(tarn_engine_roll_back(w.engine, then->version, false, NULL, &error) == TARN_OK);
    CHECK(v->live == then);
    CHECK(stats_of(&w).member_share[1] == then->share[1]);
    const struct tarn_other *second = &w.engine->ensemble.other[0];
    CHECK(second->bundle == then->member[1]);
    CHECK(memcmp(second->weights, then->member[1]->model->weights,
                 TARN_NET_PARAMETERS * sizeof(float)) == 0);
    tarn_bundle_release(&then);
    /* and it goes on from there */
    uint64_t swaps = swaps_of(&w);
    serve(&w, 20000);
    CHECK(swaps_of(&w) > swaps && stats_of(&w).members == 3);
    tarn_engine_destroy(&w.engine);
}

/* A model from elsewhere is tried and goes live alone; the next step of training has company again. */
static void what_is_brought_goes_live_alone(void)
{
    struct tarn_error error;
    struct world w;
    tarn_model *model = NULL;
    REQUIRE(begin(&w, TARN_ENSEMBLE_MEAN, NULL));
    serve(&w, 30000);
    REQUIRE(tarn_engine_copy_model(w.engine, &model) == TARN_OK);
    model->weights[3] += 0.01f;
    CHECK(tarn_engine_swap_model(w.engine, model, NULL, &error) == TARN_OK);
    CHECK(stats_of(&w).members == 1 && stats_of(&w).member_share[0] == 1);
    serve(&w, 10000);
    CHECK_NUMBER(stats_of(&w).members, 2);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

/* The order of all scores turned round. */
static void turn(tarn_model *model)
{
    for (size_t i = TARN_NET_PARAMETERS - 32 * 11 - 11; i < TARN_NET_PARAMETERS; i++)
        model->weights[i] *= -1;
}

/*
 * Miniature caches choose: where the network alone does badly, another way wins and is the next version's; and
 * what a rollback brings back is the champion again.
 */
static void the_shadow_test_chooses(void)
{
    struct world w;
    struct tarn_version_event event[2];
    struct tarn_error error;
    REQUIRE(begin_with(&w, &(struct tarn_engine_params){
                               .objects = 4 * OBJECTS,
                               .device = "host",
                               .background = TARN_BACKGROUND_STEPS,
                               .seed = 1,
                               .ensemble = TARN_ENSEMBLE_SHADOW,
                               .mint_every = 20000,
                               .shadow_share = 0.6f,
                           }));
    struct tarn_versions *v = &w.engine->versions;
    v->unwatched = "not here"; /* what is broken below would be rolled back before it is compared */
    serve(&w, 50000);
    struct tarn_engine_stats s = stats_of(&w);
    CHECK(s.members == 2 && strcmp(s.ensemble_now, "single") == 0 && s.ensemble_changes == 0);
    CHECK(s.member_share[0] == 1 && tarn_ensemble_computed(v->live) == 1);
    CHECK(versions_of(&w).shadow_share > 0.3f);
    uint64_t before = v->live->version;
    w.engine->params.mint_every = 10000000;
    /* the challenger has a copy of its own */
    turn(v->live->model);
    uint32_t requests = 0;
    for (; stats_of(&w).ensemble_changes == 0 && requests < 200000; requests += 500)
        serve(&w, 500);
    turn(v->live->model);
    tarn_ensemble_kind chosen = w.engine->ensemble.now;
    printf("# after %u requests: %s\n", requests, tarn_ensemble_name(chosen));
    CHECK(requests < 200000 && chosen != TARN_ENSEMBLE_SINGLE && v->live->version == before);
    CHECK(strcmp(stats_of(&w).ensemble_now, "single") == 0); /* until the next version */
    w.engine->params.mint_every = 1000;
    while (v->live->version == before)
        serve(&w, 100);
    w.engine->params.mint_every = 10000000; /* the version before is to be kept */
    s = stats_of(&w);
    CHECK(strcmp(s.ensemble_now, tarn_ensemble_name(chosen)) == 0);
    CHECK(strcmp(s.ensemble, "shadow") == 0 && s.ensemble_changes == 1);
    CHECK_NUMBER(tarn_ensemble_computed(v->live), 2);
    CHECK_NUMBER(tarn_engine_get_history(w.engine, event, 1), 1);
    printf("# %s\n", event[0].text);
    CHECK(strncmp(event[0].text, "networks decide: ", 17) == 0);
    serve(&w, 20000); /* the next challenge */
    const struct tarn_contest *contest = &w.engine->ensemble.contest.contest;
    CHECK(contest->champion != 0 && contest->total.requests > 1000);
    CHECK(tarn_engine_roll_back(w.engine, before, false, NULL, &error) == TARN_OK);
    CHECK(contest->champion == 0 && w.engine->ensemble.now == TARN_ENSEMBLE_SINGLE);
    serve(&w, 20000);
    CHECK(strcmp(stats_of(&w).ensemble_now, "single") == 0 && contest->total.requests > 1000);
    tarn_engine_destroy(&w.engine);
    /* too small to compare: one alone */
    REQUIRE(begin_with(&w, &(struct tarn_engine_params){.objects = 200,
                                                        .device = "host",
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .ensemble = TARN_ENSEMBLE_SHADOW}));
    serve(&w, 20000);
    CHECK(w.engine->ensemble.contest.unsupported);
    CHECK(strcmp(stats_of(&w).ensemble_now, "single") == 0);
    tarn_engine_destroy(&w.engine);
}

static void what_does_not_learn_has_no_company(void)
{
    struct world w;
    struct tarn_error error;
    struct tarn_engine_params params = {.objects = OBJECTS,
                                        .device = "host",
                                        .background = TARN_BACKGROUND_STEPS,
                                        .no_learn = true,
                                        .ensemble = TARN_ENSEMBLE_BAYES};
    REQUIRE(begin_with(&w, &params));
    serve(&w, 10000);
    CHECK(stats_of(&w).members == 1 && strcmp(stats_of(&w).ensemble, "single") == 0);
    tarn_engine_destroy(&w.engine);
    params.ensemble = (tarn_ensemble_kind)77;
    CHECK(tarn_engine_create(&params, &w.engine, &error) == TARN_INVALID);
    CHECK(strstr(error.message, "77") != NULL);
    CHECK(tarn_ensemble_name((tarn_ensemble_kind)77) == NULL);
}

static atomic_int allocations;

static bool count_allocations(size_t size)
{
    atomic_fetch_add(&allocations, size > 0);
    return true;
}

/* Requests, rounds and training allocate nothing; a version does, once for each of its parts. */
static void the_warm_path_allocates_versions_alone(void)
{
    struct tarn_learning_params learning;
    tarn_learning_defaults(&learning);
    for (int k = 0; k < COMBINED; k++) {
        struct world w;
        learning.learners = k == 0 ? 2 : 1;
        REQUIRE(begin(&w, combined[k], &learning));
        serve(&w, 40000);
        uint64_t swaps = swaps_of(&w);
        const struct tarn_bundle *second = w.engine->ensemble.other[0].bundle;
        uint64_t others = 0;
        atomic_store(&allocations, 0);
        tarn_memory_set_hook(count_allocations);
        for (int i = 0; i < 300; i++) {
            serve(&w, 100);
            others += w.engine->ensemble.other[0].bundle != second;
            second = w.engine->ensemble.other[0].bundle;
        }
        tarn_memory_set_hook(NULL);
        uint64_t versions = 4 * (swaps_of(&w) - swaps + others);
        uint64_t more = (uint64_t)atomic_load(&allocations) - versions;
        CHECK(more <= 12); /* a miniature cache's table that still grows: three pieces each time */
        CHECK(stats_of(&w).rounds > 10000);
        tarn_engine_destroy(&w.engine);
    }
}

/* A device computes one network: of several the host does. */
static void a_device_leaves_several_to_the_host(void)
{
    for (int kind = 0; kind < 2; kind++) {
        struct world w;
        struct tarn_engine_params params = {.objects = 6000,
                                            .device = "opencl",
                                            .background = TARN_BACKGROUND_STEPS,
                                            .ensemble = kind == 0 ? TARN_ENSEMBLE_SINGLE
                                                                  : TARN_ENSEMBLE_MEAN};
        if (tarn_engine_create(&params, &w.engine, NULL) != TARN_OK)
            SKIP("no OpenCL");
        tarn_rng_seed(&w.rng, 5);
        w.scan = 0;
        serve(&w, 40000);
        uint64_t before = stats_of(&w).rounds_on_device, rounds = stats_of(&w).rounds;
        CHECK_NUMBER(stats_of(&w).members, 1 + kind);
        CHECK(before > 0); /* before the first step of training there is one network */
        serve(&w, 20000);
        CHECK(stats_of(&w).rounds > rounds);
        CHECK((stats_of(&w).rounds_on_device > before) == (kind == 0));
        tarn_engine_destroy(&w.engine);
    }
}

/* ---- threads ---- */

static void *use(void *context)
{
    struct world w = {.engine = context};
    tarn_rng_seed(&w.rng, 11);
    serve(&w, 60000);
    return NULL;
}

/* Versions come and go under two threads of requests, and the trainer changes hands beside them. */
static void threads_see_whole_versions(void)
{
    struct tarn_learning_params learning;
    struct tarn_engine_params params = {.objects = OBJECTS,
                                        .device = "host",
                                        .background = TARN_BACKGROUND_THREAD,
                                        .mint_every = 500,
                                        .ensemble = TARN_ENSEMBLE_BAYES,
                                        .train_dwell_us = 1,
                                        .learning = &learning};
    struct world w;
    pthread_t thread;
    tarn_learning_defaults(&learning);
    learning.learners = 2;
    REQUIRE(begin_with(&w, &params));
    REQUIRE(pthread_create(&thread, NULL, use, w.engine) == 0);
    for (int i = 0; i < 60; i++) {
        serve(&w, 1000);
        struct tarn_engine_stats s = stats_of(&w);
        CHECK(s.members == 1 || s.members == 3);
    }
    pthread_join(thread, NULL);
    tarn_engine_destroy(&w.engine);
}

CHECK_MAIN(CASE(each_kind_serves), CASE(several_learn_in_turn), CASE(a_broken_member_costs_nothing),
           CASE(a_rollback_restores_members_and_shares), CASE(what_is_brought_goes_live_alone),
           CASE(the_shadow_test_chooses), CASE(what_does_not_learn_has_no_company),
           CASE(the_warm_path_allocates_versions_alone), CASE(a_device_leaves_several_to_the_host),
           CASE(threads_see_whole_versions))
