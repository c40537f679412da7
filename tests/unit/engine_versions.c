/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Versions of an engine's model: steps of training go live through the gate, models from elsewhere through a
 * rollout, and whatever misses more is left again; all of it beside a cache in use, and over restarts.
 */
#include "../check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tarn/versions.h>

#include "base/file.h"
#include "base/rng.h"
#include "engine/engine_private.h"

#define OBJECTS 4000

struct world {
    tarn_engine *engine;
    struct tarn_rng rng;
    uint32_t scan;
    bool costs; /* where a candidate's arm is, objects are dear */
};

static bool begin(struct world *w, const struct tarn_engine_params *params)
{
    struct tarn_engine_params p = *params;
    struct tarn_error error = {0};
    *w = (struct world){0};
    tarn_rng_seed(&w->rng, 5);
    p.objects = p.objects > 0 ? p.objects : OBJECTS;
    p.device = "host";
    if (tarn_engine_create(&p, &w->engine, &error) == TARN_OK)
        return true;
    printf("# %s\n", error.message);
    return false;
}

static float cost_of(const struct world *w, uint32_t key)
{
    bool dear = tarn_rollout_segment(tarn_cache_hash(&key, sizeof key)) < TARN_ROLLOUT_STEPS;
    return !w->costs ? 0 : dear ? 8 : 1;
}

/* Popular keys, and now and then one that comes once. Returns the miss ratio. */
static double serve(struct world *w, uint32_t requests)
{
    tarn_cache *cache = tarn_engine_cache(w->engine);
    uint32_t misses = 0;
    for (uint32_t i = 0; i < requests; i++) {
        double u = tarn_rng_double(&w->rng);
        uint32_t key = tarn_rng_below(&w->rng, 4) == 0 ? 1000000 + w->scan++
                                                       : (uint32_t)(u * u * u * 6 * OBJECTS);
        size_t room = 0;
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK) {
            misses++;
            const struct tarn_item item = {.charge = 1, .cost_us = cost_of(w, key)};
            CHECK(tarn_cache_put(cache, &key, sizeof key, &item) == TARN_OK);
        }
        tarn_engine_step(w->engine);
    }
    return (double)misses / requests;
}

static struct tarn_version_stats look(const struct world *w)
{
    struct tarn_version_stats stats;
    tarn_engine_get_versions(w->engine, &stats);
    return stats;
}

static tarn_model *copy(const struct world *w)
{
    tarn_model *model = NULL;
    CHECK(tarn_engine_copy_model(w->engine, &model) == TARN_OK);
    return model;
}

/* The order of all scores turned round. */
static void turn(tarn_model *model)
{
    for (size_t i = TARN_NET_PARAMETERS - 32 * 11 - 11; i < TARN_NET_PARAMETERS; i++)
        model->weights[i] *= -1;
}

static const struct tarn_engine_params steps = {.background = TARN_BACKGROUND_STEPS, .seed = 1};
/* Nothing but what a test brings goes live. */
static const struct tarn_engine_params still = {
    .background = TARN_BACKGROUND_STEPS, .seed = 1, .no_learn = true};

static void training_goes_live_through_the_gate(void)
{
    struct world w;
    REQUIRE(begin(&w, &steps));
    serve(&w, 150000);
    struct tarn_version_stats s = look(&w);
    printf("# %llu candidates: %llu live, %llu kept out, %llu for a part of the way; gate: %s\n",
           (unsigned long long)s.minted, (unsigned long long)s.swaps,
           (unsigned long long)s.kept_out, (unsigned long long)s.shortened, s.gate);
    /* every 1,000 requests, where training has made something of them */
    CHECK(s.minted >= 100 && s.minted <= 150);
    CHECK(s.swaps > s.minted / 2 && s.swaps + s.kept_out == s.minted);
    CHECK(s.live == s.swaps + 1 && s.parent == s.live - 1 && s.rollbacks == 0);
    CHECK(s.loss > 0 && s.loss_live > 0 && s.watch_length >= TARN_WATCH_LEAST);
    CHECK(s.unwatched == NULL && s.shadow_share > 0.1f);
    /* what the rounds score with is what is live */
    CHECK_NUMBER(w.engine->learned->live.pool_version, s.live);
    struct tarn_version_event event[4];
    CHECK_NUMBER(tarn_engine_get_history(w.engine, event, 4), 4);
    CHECK(event[0].version == s.live && event[1].version == s.live - 1);
    CHECK(strcmp(event[0].why, "trained here") == 0 && event[0].requests > 140000);
    tarn_engine_destroy(&w.engine);
}

static void candidates_come_as_often_as_asked(void)
{
    struct world w;
    struct tarn_engine_params params = steps;
    params.mint_every = 20000;
    REQUIRE(begin(&w, &params));
    serve(&w, 150000);
    struct tarn_version_stats s = look(&w);
    CHECK(s.minted == 7 && s.swaps <= 7);
    tarn_engine_destroy(&w.engine);
}

/* A trainer that went wrong never gets in, and goes on from what is live. */
static void numbers_that_are_none_stay_out(void)
{
    struct world w;
    float bad[TARN_NET_PARAMETERS];
    REQUIRE(begin(&w, &steps));
    serve(&w, 60000);
    struct tarn_gate_report report;
    tarn_model *model = copy(&w);
    CHECK(tarn_versions_try(w.engine, model->weights, &report) == TARN_GATE_PASS);
    memcpy(bad, model->weights, sizeof bad);
    bad[77] = NAN;
    CHECK(tarn_versions_try(w.engine, bad, &report) == TARN_GATE_KEEP);
    turn(model);
    CHECK(tarn_versions_try(w.engine, model->weights, &report) == TARN_GATE_KEEP);
    /* the trainer's own, without asking: as a fault of memory would */
    uint64_t live = look(&w).live;
    struct tarn_trainer_state state;
    tarn_trainer_get_state(w.engine->trainer, &state);
    memcpy((float *)(uintptr_t)state.weights, bad, sizeof bad);
    tarn_versions_offer(w.engine);
    CHECK_NUMBER(look(&w).live, live);
    serve(&w, 60000);
    CHECK(look(&w).live > live + 10 && look(&w).rollbacks == 0);
    tarn_model_destroy(&model);
    model = copy(&w);
    CHECK(tarn_net_is_finite(model->weights, TARN_NET_PARAMETERS));
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

/* Nothing learnt fits any more: where there is no watch, the gate finds that the first model does. */
static void what_it_began_with_may_come_back(void)
{
    struct world w;
    struct tarn_error error;
    struct tarn_engine_params params = steps;
    params.no_shadows = true;
    REQUIRE(begin(&w, &params));
    serve(&w, 60000);
    double good = serve(&w, 30000);
    tarn_model *model = copy(&w);
    turn(model);
    CHECK(tarn_engine_swap_model(w.engine, model, NULL, &error) == TARN_OK);
    serve(&w, 10000);
    bool found = false;
    struct tarn_version_event event[32];
    size_t count = tarn_engine_get_history(w.engine, event, 32);
    for (size_t i = 0; i < count; i++)
        found |= strncmp(event[i].why, "drift: restarted", 16) == 0;
    CHECK(found);
    CHECK(serve(&w, 30000) < good * 1.05);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

static void what_misses_more_is_left_again(void)
{
    struct world w;
    uint64_t version = 0;
    struct tarn_error error;
    REQUIRE(begin(&w, &still));
    serve(&w, 60000);
    double good = serve(&w, 30000);
    tarn_model *model = copy(&w);
    turn(model);
    CHECK(tarn_engine_swap_model(w.engine, model, &version, &error) == TARN_OK && version == 2);
    CHECK_NUMBER(look(&w).live, 2);
    double bad = serve(&w, 3000);
    uint32_t requests = 3000;
    for (; look(&w).live == 2 && requests < 200000; requests += 16)
        serve(&w, 16);
    struct tarn_version_stats s = look(&w);
    printf("# miss ratio %.3f, then %.3f; back after %u requests: %llu in the miniature caches\n",
           good, bad, requests, (unsigned long long)w.engine->versions.watch.total.requests);
    CHECK(s.live == 1 && s.rollbacks == 1 && w.engine->versions.watch.total.requests < 2000);
    CHECK(serve(&w, 60000) < good * 1.02);
    struct tarn_version_event event[1];
    CHECK_NUMBER(tarn_engine_get_history(w.engine, event, 1), 1);
    CHECK(event[0].version == 1 && event[0].parent == 2 && event[0].failed);
    CHECK(strcmp(event[0].why, "missed more than before") == 0);
    printf("# %s\n", event[0].text);
    /* not again, in either way */
    CHECK(tarn_engine_swap_model(w.engine, model, NULL, &error) == TARN_COOLDOWN);
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_COOLDOWN);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

/* Serves until the rollout is over; tells the steps that it went through. */
static struct tarn_version_stats roll_out(struct world *w, uint32_t most, uint32_t *requests)
{
    const char *before = "";
    for (*requests = 0; look(w).rollout != NULL && *requests < most; *requests += 64) {
        serve(w, 64);
        struct tarn_version_stats s = look(w);
        if (s.rollout != NULL && strcmp(s.rollout, before) != 0)
            printf("# %s after %u requests\n", before = s.rollout, *requests);
    }
    struct tarn_version_stats s = look(w);
    printf("# %u requests: %s\n", *requests, s.rollout_end);
    for (int k = 0; k < TARN_ROLLOUT_ARMS; k++)
        printf("# %4.0f %%: %llu requests, misses %.3f, the others %.3f\n", s.arm[k].share * 100,
               (unsigned long long)s.arm[k].requests, s.arm[k].miss_ratio,
               s.arm[k].control_miss_ratio);
    return s;
}

static void a_good_model_is_rolled_out(void)
{
    struct world w;
    struct tarn_error error;
    uint32_t requests;
    REQUIRE(begin(&w, &still));
    serve(&w, 60000);
    tarn_model *model = copy(&w);
    model->weights[0] += 1e-4f; /* another model, as good */
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_OK);
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_BUSY);
    struct tarn_version_stats s = roll_out(&w, 8000000, &requests);
    CHECK(s.live == 2 && s.swaps == 1 && s.rejected == 0 && s.rollout == NULL);
    CHECK(strcmp(s.rollout_end, "it is live") == 0);
    printf("# agreement %.3f, expected regret %.3f\n", s.agreement, s.expected_regret);
    CHECK(s.agreement > 0.95 && s.expected_regret < 0.01);
    CHECK(s.arm[2].requests > 100 && fabs(s.arm[2].miss_ratio - s.arm[2].control_miss_ratio) < 0.1);
    CHECK(w.engine->learned->canary == NULL);
    CHECK_NUMBER(w.engine->learned->live.capacity->arm_segments, 0);
    serve(&w, 60000);
    CHECK_NUMBER(look(&w).live, 2);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

static void a_bad_model_is_turned_away(void)
{
    struct world w;
    struct tarn_error error;
    uint32_t requests;
    REQUIRE(begin(&w, &still));
    serve(&w, 60000);
    double good = serve(&w, 60000);
    tarn_model *model = copy(&w);
    turn(model);
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_OK);
    double during = serve(&w, 20000);
    struct tarn_version_stats s = roll_out(&w, 8000000, &requests);
    CHECK(s.live == 1 && s.rejected == 1 && s.swaps == 0);
    CHECK(during < good * 1.02); /* it was in nobody's way */
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_COOLDOWN);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

/* Before the first request: the miniature caches are not there yet, and must not judge for it. */
static void an_early_offer_is_judged_too(void)
{
    struct world w;
    struct tarn_error error;
    uint32_t requests;
    tarn_model *model = NULL;
    REQUIRE(begin(&w, &still));
    model = copy(&w);
    turn(model);
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_OK);
    CHECK(strcmp(look(&w).rollout, "shadow") == 0);
    struct tarn_version_stats s = roll_out(&w, 3000000, &requests);
    CHECK(s.live == 1 && s.rejected == 1);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

/* What is put live beside a rollout ends it, and is watched like any other. */
static void a_swap_ends_a_rollout(void)
{
    struct world w;
    struct tarn_error error;
    REQUIRE(begin(&w, &still));
    serve(&w, 60000);
    tarn_model *good = copy(&w), *bad = copy(&w);
    turn(bad);
    good->weights[9] += 1e-4f;
    for (int i = 0; i < 2; i++) { /* in miniature, then on arms */
        CHECK(tarn_engine_offer_model(w.engine, good, &error) == TARN_OK);
        serve(&w, i == 0 ? 2000 : 200000);
        CHECK(strcmp(look(&w).rollout, i == 0 ? "shadow" : "canary") == 0);
        bad->weights[0] += 1e-4f;
        CHECK(tarn_engine_swap_model(w.engine, bad, NULL, &error) == TARN_OK);
        CHECK(look(&w).rollout == NULL && look(&w).watch_length > 0);
        CHECK_NUMBER(w.engine->learned->live.capacity->arm_segments, 0);
        serve(&w, 60000);
        CHECK(look(&w).live == 1 && look(&w).rollbacks == (uint64_t)i + 1);
    }
    tarn_model_destroy(&good);
    tarn_model_destroy(&bad);
    tarn_engine_destroy(&w.engine);
}

/* Without miniature caches the arms judge alone. */
static void arms_alone_can_judge(void)
{
    struct world w;
    struct tarn_error error;
    uint32_t requests;
    struct tarn_engine_params params = still;
    params.no_shadows = true; /* the network alone: heuristics would make up for a bad one */
    REQUIRE(begin(&w, &params));
    serve(&w, 60000);
    CHECK(look(&w).unwatched != NULL && look(&w).watch_length == 0);
    tarn_model *model = copy(&w);
    turn(model);
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_OK);
    struct tarn_version_stats s = roll_out(&w, 20000000, &requests);
    CHECK(s.live == 1 && s.rejected == 1);
    printf("# agreement %.3f, expected regret %.3f\n", s.agreement, s.expected_regret);
    CHECK(s.agreement < 0.2 && s.expected_regret > 0.2);
    tarn_engine_destroy(&w.engine);
    /* too small for shadows of this cost: it says so */
    params.no_shadows = false;
    params.shadow_share = 0.01f;
    REQUIRE(begin(&w, &params));
    serve(&w, 20000);
    CHECK(look(&w).unwatched != NULL && strstr(look(&w).unwatched, "too small") != NULL);
    CHECK(s.arm[0].miss_ratio > s.arm[0].control_miss_ratio);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

/* Where misses have costs the arms, which know them too, go by these. */
static void arms_judge_by_what_misses_cost(void)
{
    for (int by_cost = 0; by_cost < 2; by_cost++) {
        struct world w;
        struct tarn_error error;
        uint32_t requests = 0;
        struct tarn_engine_params params = still;
        params.no_shadows = true;
        params.goal = by_cost ? TARN_GOAL_LATENCY : TARN_GOAL_REQUESTS;
        REQUIRE(begin(&w, &params));
        w.costs = true;
        serve(&w, 60000);
        tarn_model *model = copy(&w);
        turn(model);
        CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_OK);
        const struct tarn_rollout *arms = &w.engine->versions.arms;
        for (; w.engine->versions.phase != TARN_ROLLOUT_CANARY && requests < 4000000;
             requests += 1000)
            serve(&w, 1000);
        printf("# calibrated after %u requests: %.2f times the control's\n", requests,
               arms->arm[2].ratio);
        CHECK(by_cost ? arms->arm[2].ratio > 4 : arms->arm[2].ratio < 2);
        struct tarn_version_stats s = roll_out(&w, 20000000, &requests);
        CHECK(s.live == 1 && s.rejected == 1);
        CHECK(s.arm[0].miss_ratio <= 1 && s.arm[0].control_miss_ratio <= 1); /* told as they are */
        tarn_model_destroy(&model);
        tarn_engine_destroy(&w.engine);
    }
}

static void callers_have_the_last_word(void)
{
    struct world w;
    struct tarn_error error;
    uint64_t version = 0;
    REQUIRE(begin(&w, &steps));
    serve(&w, 60000);
    uint64_t live = look(&w).live;
    tarn_model *model = copy(&w);
    CHECK(tarn_engine_unpin(w.engine, &error) == TARN_NOT_FOUND);
    CHECK(tarn_engine_pin(w.engine, 0, &error) == TARN_OK);
    CHECK_NUMBER(look(&w).pinned, live);
    serve(&w, 40000);
    CHECK_NUMBER(look(&w).live, live); /* training has gone on, beside it */
    model->weights[3] += 0.01f;
    CHECK(tarn_engine_swap_model(w.engine, model, NULL, &error) == TARN_BUSY);
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_BUSY);
    CHECK(tarn_engine_roll_back(w.engine, 0, false, NULL, &error) == TARN_BUSY);
    CHECK(tarn_engine_unpin(w.engine, &error) == TARN_OK);
    serve(&w, 20000);
    CHECK(look(&w).live > live);
    live = look(&w).live;
    CHECK(tarn_engine_roll_back(w.engine, 0, false, &version, &error) == TARN_OK);
    CHECK(version == live - 1 && look(&w).live == live - 1 && look(&w).rollbacks == 1);
    CHECK(tarn_engine_roll_back(w.engine, 1 << 20, false, NULL, &error) == TARN_NOT_FOUND);
    CHECK(tarn_engine_pin(w.engine, 1 << 20, &error) == TARN_NOT_FOUND);
    serve(&w, 20000);
    CHECK(look(&w).live > live); /* numbers are never used twice */
    tarn_model_destroy(&model);

    /* another shape, and a model in the middle of a rollout */
    struct tarn_shape shape = {TARN_FEATURES, 16, 16, 11};
    float zeros[TARN_NET_PARAMETERS] = {0};
    CHECK(tarn_model_create(&shape, zeros, "", &model) == TARN_OK);
    CHECK(tarn_engine_swap_model(w.engine, model, NULL, &error) == TARN_INVALID);
    CHECK(strstr(error.message, "28-16-16-11") != NULL);
    tarn_model_destroy(&model);
    model = copy(&w);
    model->weights[0] = INFINITY;
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_INVALID);
    tarn_model_destroy(&model);
    model = copy(&w);
    CHECK(tarn_engine_offer_model(w.engine, model, &error) == TARN_OK);
    serve(&w, 1000);
    CHECK(look(&w).rollout != NULL);
    CHECK(tarn_engine_pin(w.engine, 0, &error) == TARN_OK);
    CHECK(look(&w).rollout == NULL && strstr(look(&w).rollout_end, "pinned") != NULL);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&w.engine);
}

/* ---- over restarts ---- */

static char folder[64];

static void path_of(const char *name, char *path)
{
    snprintf(path, 128, "%s/%s", folder, name);
}

static void make_folder(void)
{
    snprintf(folder, sizeof folder, "/tmp/tarn-versions-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
}

static void remove_folder(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(system(command) == 0);
}

static void a_restart_goes_on(void)
{
    struct world w;
    struct tarn_error error;
    char path[128];
    struct tarn_engine_params params = steps;
    make_folder();
    path_of("state", path); /* made by the engine */
    params.state_dir = path;
    REQUIRE(begin(&w, &params));
    serve(&w, 80000);
    struct tarn_version_stats before = look(&w);
    tarn_model *last = copy(&w), *bad = copy(&w), *first = NULL;
    turn(bad);
    tarn_engine_set_training(w.engine, false); /* or the gate may find the first model better */
    CHECK(tarn_engine_swap_model(w.engine, bad, NULL, &error) == TARN_OK);
    for (int i = 0; i < 2000 && look(&w).rollbacks == 0; i++)
        serve(&w, 64);
    CHECK_NUMBER(look(&w).rollbacks, 1);
    tarn_model_destroy(&last);
    last = copy(&w);
    uint64_t highest = look(&w).live;
    tarn_engine_destroy(&w.engine);

    REQUIRE(begin(&w, &params));
    struct tarn_version_stats after = look(&w);
    first = copy(&w);
    CHECK(memcmp(first->weights, last->weights, sizeof(float) * TARN_NET_PARAMETERS) == 0);
    CHECK(after.live > highest && after.live > before.live);
    struct tarn_version_event event[8];
    size_t count = tarn_engine_get_history(w.engine, event, 8);
    CHECK(count == 8 && strcmp(event[0].why, "start") == 0);
    CHECK(event[0].requests >= 80000); /* requests count on */
    CHECK(tarn_engine_swap_model(w.engine, bad, NULL, &error) == TARN_COOLDOWN);
    char kept[256];
    snprintf(kept, sizeof kept, "ls %s/history.failed-*.model > /dev/null", path);
    CHECK(system(kept) == 0);
    tarn_engine_destroy(&w.engine);

    /* what was live is damaged: the built-in one goes first again, and the file is named */
    snprintf(kept, sizeof kept, "%s/live.model", path);
    CHECK(tarn_file_replace(kept, "nonsense", 8, NULL) == TARN_OK);
    REQUIRE(begin(&w, &params));
    tarn_model_destroy(&first);
    first = copy(&w);
    CHECK(memcmp(first->weights, last->weights, sizeof(float) * TARN_NET_PARAMETERS) != 0);
    tarn_engine_destroy(&w.engine);
    tarn_model_destroy(&first);
    tarn_model_destroy(&last);
    tarn_model_destroy(&bad);
    /* a folder that can't be made */
    params.state_dir = "/proc/no/such";
    tarn_engine *engine = NULL;
    params.objects = 100;
    CHECK(tarn_engine_create(&params, &engine, &error) == TARN_IO);
    CHECK(strstr(error.message, "/proc/no/such") != NULL);
    remove_folder();
}

/* What matters is on the disk at the next look, steps of training within minutes: a crash loses no more. */
static void a_crash_loses_no_decision(void)
{
    char path[128];
    struct tarn_engine_params params = steps;
    make_folder();
    path_of("state", path);
    params.state_dir = path;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct world w;
        struct tarn_error error;
        if (begin(&w, &params)) {
            serve(&w, 20000);
            tarn_model *model = copy(&w);
            model->weights[5] += 0.5f;
            tarn_engine_swap_model(w.engine, model, NULL, &error);
            serve(&w, 64);
        }
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    struct tarn_version_event event[256];
    size_t count = 0;
    CHECK(tarn_versions_read_history(path, event, 256, &count, NULL) == TARN_OK);
    CHECK(count > 5 && strcmp(event[0].why, "asked for") == 0);
    struct world w;
    REQUIRE(begin(&w, &params));
    tarn_model *live = copy(&w), *built_in = NULL;
    CHECK(tarn_model_load_default(&built_in, NULL) == TARN_OK);
    CHECK(fabsf(live->weights[5] - built_in->weights[5]) > 0.3f);
    CHECK(look(&w).live == event[0].version + 1);
    tarn_model_destroy(&live);
    tarn_model_destroy(&built_in);
    tarn_engine_destroy(&w.engine);
    remove_folder();
}

/* A full disk: the engine goes on, and what was kept before is whole. */
static void a_full_disk_keeps_the_old_state(void)
{
    struct world w;
    struct rlimit usual, little;
    struct stat info;
    char path[128], file[192];
    struct tarn_engine_params params = steps;
    make_folder();
    path_of("state", path);
    params.state_dir = path;
    REQUIRE(begin(&w, &params));
    serve(&w, 30000);
    tarn_model *kept = copy(&w), *found = NULL;
    tarn_engine_destroy(&w.engine);
    snprintf(file, sizeof file, "%s/history", path);
    REQUIRE(stat(file, &info) == 0 && getrlimit(RLIMIT_FSIZE, &usual) == 0);
    off_t size = info.st_size;

    signal(SIGXFSZ, SIG_IGN);
    little = usual;
    little.rlim_cur = 0;
    REQUIRE(begin(&w, &params));
    REQUIRE(setrlimit(RLIMIT_FSIZE, &little) == 0);
    serve(&w, 60000);
    CHECK(look(&w).swaps > 10);
    tarn_engine_destroy(&w.engine);
    setrlimit(RLIMIT_FSIZE, &usual);
    CHECK(stat(file, &info) == 0 && info.st_size == size);
    snprintf(file, sizeof file, "%s/live.model", path);
    CHECK(tarn_model_load(file, &found, NULL) == TARN_OK);
    CHECK(found != NULL &&
          memcmp(found->weights, kept->weights, sizeof(float) * TARN_NET_PARAMETERS) == 0);
    tarn_model_destroy(&found);
    tarn_model_destroy(&kept);
    remove_folder();
}

CHECK_MAIN(CASE(arms_judge_by_what_misses_cost), CASE(training_goes_live_through_the_gate),
           CASE(candidates_come_as_often_as_asked), CASE(numbers_that_are_none_stay_out),
           CASE(what_it_began_with_may_come_back), CASE(what_misses_more_is_left_again),
           CASE(a_good_model_is_rolled_out), CASE(a_bad_model_is_turned_away),
           CASE(an_early_offer_is_judged_too), CASE(a_swap_ends_a_rollout),
           CASE(arms_alone_can_judge), CASE(callers_have_the_last_word), CASE(a_restart_goes_on),
           CASE(a_full_disk_keeps_the_old_state), CASE(a_crash_loses_no_decision))
