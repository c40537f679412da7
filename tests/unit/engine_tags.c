/* SPDX-License-Identifier: Apache-2.0 */
/* Objects that their caller tells apart: networks of their own, in versions that go back as a whole. */
#include "../check.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <tarn/log.h>
#include <unistd.h>

#include "engine/learning_private.h"

enum { OBJECTS = 500, REQUESTS = 160000 };

/*
 * What is new looks alike, but what has tag 1 is wanted again after some time, what has tag 2 never. Half of
 * the requests are for popular objects without a tag.
 */
struct request {
    uint64_t key;
    uint8_t tag;
};

static struct request request_of(size_t i)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, i);
    double u = tarn_rng_double(&rng);
    switch (i % 4) {
    case 0:
        return (struct request){1000000 + i, 2};
    case 1: /* each of these comes four times, 600 requests apart */
        return (struct request){2000000 + (i / 4) % 150 + (i / 4) / 600 * 150, 1};
    default:
        return (struct request){(uint64_t)(u * u * u * 3000), 0};
    }
}

static uint64_t serve(tarn_engine *engine, size_t first, size_t end, bool tags)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    uint64_t misses = 0;
    for (size_t i = first; i < end; i++) {
        struct request r = request_of(i);
        size_t room = 0;
        if (tarn_cache_get(cache, &r.key, sizeof r.key, NULL, &room) != TARN_OK) {
            misses++;
            tarn_cache_put(cache, &r.key, sizeof r.key,
                           &(struct tarn_item){.charge = 1, .tag = tags ? r.tag : 0});
        }
        tarn_engine_step(engine);
    }
    return misses;
}

static char folder[64]; /* where state is kept; empty: nowhere */

static tarn_engine *start(bool no_tags, tarn_background background)
{
    tarn_engine *engine = NULL;
    struct tarn_learning_params learning;
    tarn_learning_defaults(&learning);
    learning.no_tags = no_tags;
    learning.checkpoint_requests = 20000;
    tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                    .device = "host",
                                                    .background = background,
                                                    .seed = 5,
                                                    .state_dir = folder[0] ? folder : NULL,
                                                    .learning = &learning},
                       &engine, NULL);
    return engine;
}

static void end_state(void)
{
    char command[96];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
    folder[0] = '\0';
}

static void kinds_that_look_alike_are_told_apart(void)
{
    uint64_t misses[3];
    for (int k = 0; k < 3; k++) { /* with tags, without, and with them once more */
        tarn_engine *e = start(k == 1, TARN_BACKGROUND_STEPS);
        REQUIRE(e != NULL);
        serve(e, 0, REQUESTS / 2, true);
        misses[k] = serve(e, REQUESTS / 2, REQUESTS, true);
        CHECK_NUMBER(e->versions.live->tags, k == 1 ? 0 : 3);
        if (k != 1) {
            CHECK(e->tags.tag[0].jobs > 100 && e->tags.tag[1].jobs > 20);
            CHECK(e->tags.tag[0].minted > e->tags.tag[0].kept_out);
            CHECK(e->tags.tag[2].learnt.weights == NULL && e->tags.job == 0);
        }
        tarn_engine_destroy(&e);
    }
    printf("# misses: %lu with networks of tags, %lu without\n", misses[0], misses[1]);
    CHECK((double)misses[0] < 0.95 * (double)misses[1]);
    CHECK_NUMBER(misses[2], misses[0]);
}

static void without_tags_nothing_is_different(void)
{
    uint64_t misses[2], arena[2];
    for (int k = 0; k < 2; k++) {
        tarn_engine *e = start(k == 1, TARN_BACKGROUND_STEPS);
        REQUIRE(e != NULL);
        misses[k] = serve(e, 0, 60000, false);
        arena[k] = tarn_learning_memory(e);
        CHECK(e->versions.live->tags == 0 && e->tags.gate == NULL &&
              e->tags.general.weights == NULL);
        tarn_engine_destroy(&e);
    }
    CHECK_NUMBER(misses[0], misses[1]);
    CHECK_NUMBER(arena[0], arena[1]);
}

static void a_version_goes_back_as_a_whole(void)
{
    tarn_engine *e = start(false, TARN_BACKGROUND_STEPS);
    struct tarn_bundle *then = NULL;
    REQUIRE(e != NULL);
    serve(e, 0, 60000, true);
    size_t at = 60000;
    while (e->versions.live->tags != 3 && at < REQUESTS) {
        serve(e, at, at + 100, true);
        at += 100;
    }
    uint64_t version = e->versions.live->version;
    CHECK(tarn_slot_hold(e->versions.slot, version, &then) == TARN_OK);
    for (; e->versions.live->tagged[0] == then->tagged[0] && at < REQUESTS; at += 100)
        serve(e, at, at + 100, true);
    CHECK(e->versions.live->tagged[0] != then->tagged[0]);
    /* what is imported takes the tags' networks along, */
    tarn_model *model = NULL;
    uint64_t imported = 0;
    REQUIRE(tarn_model_load_default(&model, NULL) == TARN_OK);
    const struct tarn_bundle *own = e->versions.live->tagged[0];
    CHECK(tarn_engine_swap_model(e, model, &imported, NULL) == TARN_OK && imported > version);
    CHECK(e->versions.live->tagged[0] == own);
    /* and the way back leads to those of then, in training too */
    CHECK(tarn_engine_roll_back(e, version, false, NULL, NULL) == TARN_OK);
    CHECK(e->versions.live->tagged[0] == then->tagged[0] &&
          e->versions.live->tagged[1] == then->tagged[1]);
    CHECK(memcmp(e->tags.tag[0].learnt.weights, then->tagged[0]->model->weights,
                 TARN_NET_PARAMETERS * sizeof(float)) == 0);
    CHECK(memcmp(tarn_trainer_weights(e->trainer), then->model->weights,
                 TARN_NET_PARAMETERS * sizeof(float)) == 0);
    tarn_model_destroy(&model);
    tarn_bundle_release(&then);
    tarn_engine_destroy(&e);
}

/* However many parts a version has: eight kept ones reach as far back as they would without tags. */
static void an_interval_is_one_version(void)
{
    enum { EVERY = 1000, FROM = 90000 };
    struct tarn_slot_stats before, after;
    struct tarn_history_record records[64];
    uint32_t several = 0, general = 0, named = 0;
    tarn_engine *e = start(false, TARN_BACKGROUND_STEPS);
    REQUIRE(e != NULL);
    serve(e, 0, FROM, true);
    CHECK_NUMBER(tarn_versions_mint_interval(e, e->learned->live.period), EVERY);
    tarn_slot_get_stats(e->versions.slot, &before);
    struct tarn_bundle *last = tarn_bundle_hold(e->versions.live);
    for (size_t at = FROM; at < REQUESTS; at += 10) {
        serve(e, at, at + 10, true);
        const struct tarn_bundle *live = e->versions.live;
        uint32_t parts = live->own != last->own;
        if (live == last)
            continue;
        general += parts;
        for (int i = 0; i < 2; i++)
            parts += live->tagged[i] != last->tagged[i];
        several += parts > 1;
        tarn_bundle_release(&last);
        last = tarn_bundle_hold(e->versions.live);
    }
    tarn_bundle_release(&last);
    tarn_slot_get_stats(e->versions.slot, &after);
    uint64_t swaps = after.swaps - before.swaps;
    printf("# %lu versions in %d intervals: %u of several networks\n", swaps,
           (REQUESTS - FROM) / EVERY, several);
    CHECK(swaps <= (REQUESTS - FROM) / EVERY + 1 && swaps > 20);
    CHECK(several > 10 && general > 10);
    /* who has learnt is told */
    size_t count = tarn_history_read(e->versions.history, records, 64);
    for (size_t i = 0; i < count; i++)
        named += strstr(records[i].text, "tag1") != NULL && strstr(records[i].text, "tag2") != NULL;
    CHECK(named > 5);
    tarn_engine_destroy(&e);
}

static void it_works_under_the_arbiter_too(void)
{
    tarn_engine *e = start(false, TARN_BACKGROUND_THREAD);
    uint64_t jobs = 0;
    REQUIRE(e != NULL);
    for (size_t at = 0; jobs < 4 && at < 40 * REQUESTS; at += 1000) {
        serve(e, at, at + 1000, true);
        pthread_mutex_lock(&e->background_lock);
        jobs = e->tags.tag[0].jobs;
        pthread_mutex_unlock(&e->background_lock);
    }
    CHECK(jobs >= 4);
    tarn_engine_destroy(&e); /* with a job under way or not */
}

/* Networks of tags change all the time: what failed beside others than there are now is still known. */
static void what_failed_is_not_offered_again(void)
{
    tarn_engine *e = start(false, TARN_BACKGROUND_STEPS);
    struct tarn_error error = {0};
    struct tarn_rng rng;
    tarn_model *model = NULL;
    size_t at = 60000;
    REQUIRE(e != NULL);
    serve(e, 0, at, true);
    REQUIRE(tarn_engine_copy_model(e, &model) == TARN_OK);
    tarn_rng_seed(&rng, 9);
    tarn_net_init(&e->shape, &rng, model->weights);
    CHECK(tarn_engine_swap_model(e, model, NULL, &error) == TARN_OK);
    CHECK(tarn_engine_roll_back(e, 0, true, NULL, &error) == TARN_OK);
    CHECK(tarn_engine_offer_model(e, model, &error) == TARN_COOLDOWN);
    const struct tarn_bundle *tagged = e->versions.live->tagged[0];
    for (; e->versions.live->tagged[0] == tagged && at < REQUESTS; at += 100)
        serve(e, at, at + 100, true);
    CHECK(e->versions.live->tagged[0] != tagged);
    CHECK(tarn_engine_offer_model(e, model, &error) == TARN_COOLDOWN);
    /* a tag's step says nothing of how the general network does */
    uint32_t in_a_row = 0, wiped = 0;
    for (; at < REQUESTS; at += 16) {
        uint64_t minted = e->versions.minted;
        in_a_row = e->versions.in_a_row;
        serve(e, at, at + 16, true);
        wiped += e->versions.in_a_row < in_a_row && e->versions.minted == minted;
    }
    CHECK_NUMBER(wiped, 0);
    tarn_model_destroy(&model);
    tarn_engine_destroy(&e);
}

static void sets_of_another_shape_are_refused(void)
{
    static float weights[64 * 64 * 3];
    const struct tarn_shape shape = {TARN_FEATURES, 64, 32, 11};
    struct tarn_set_settings settings;
    tarn_model_sets *sets = NULL;
    tarn_model *small = NULL, *large = NULL;
    tarn_engine *e = NULL;
    struct tarn_error error = {0};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    tarn_net_init(&shape, &rng, weights);
    tarn_set_defaults(&settings);
    REQUIRE(tarn_model_create(&shape, weights, "", &large) == TARN_OK);
    REQUIRE(tarn_model_load_default(&small, &error) == TARN_OK);
    REQUIRE(tarn_model_sets_create(&sets) == TARN_OK);
    CHECK(tarn_model_sets_add(sets, "general", small, &settings, &error) == TARN_OK);
    CHECK(tarn_model_sets_add(sets, "tag1", small, &settings, &error) == TARN_OK);
    CHECK(tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                          .device = "host",
                                                          .background = TARN_BACKGROUND_STEPS,
                                                          .sets = sets,
                                                          .model = large},
                             &e, &error) == TARN_INVALID);
    CHECK(e == NULL && strstr(error.message, "shape") != NULL);
    tarn_model_sets_destroy(&sets);
    tarn_model_destroy(&small);
    tarn_model_destroy(&large);
}

/* What training goes on from, of a tag. */
static bool is_learnt(const struct tarn_learnt *learnt, float (*was)[TARN_NET_PARAMETERS])
{
    return learnt->weights != NULL && memcmp(learnt->weights, was, sizeof was[0] * 3) == 0;
}

static void a_site_that_restarts_goes_on(void)
{
    static float learnt[2][3][TARN_NET_PARAMETERS], live[2][TARN_NET_PARAMETERS];
    uint64_t steps[2], version;
    uint32_t held;
    strcpy(folder, "/tmp/tarn-tags-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    tarn_engine *e = start(false, TARN_BACKGROUND_STEPS);
    REQUIRE(e != NULL);
    CHECK(tarn_engine_name_tag(e, 1, "carts", NULL) == TARN_OK);
    serve(e, 0, 80000, true);
    REQUIRE(e->versions.live->tags == 3 && e->tags.job == 0);
    e->tags.tag[1].rate = 0.5f;
    for (int i = 0; i < 2; i++) {
        memcpy(learnt[i], e->tags.tag[i].learnt.weights, sizeof learnt[i]);
        memcpy(live[i], e->versions.live->tagged[i]->model->weights, sizeof live[i]);
        steps[i] = e->tags.tag[i].learnt.steps;
    }
    held = e->ring.held[1];
    version = e->versions.live->hash;
    CHECK(held > TARN_TAG_LEAST && steps[0] > 100);
    tarn_engine_destroy(&e);

    e = start(false, TARN_BACKGROUND_STEPS);
    REQUIRE(e != NULL && e->versions.live->tags == 3);
    CHECK(e->versions.live->hash == version);
    for (int i = 0; i < 2; i++) {
        CHECK(is_learnt(&e->tags.tag[i].learnt, learnt[i]));
        CHECK_NUMBER(e->tags.tag[i].learnt.steps, steps[i]);
        CHECK(memcmp(e->versions.live->tagged[i]->model->weights, live[i], sizeof live[i]) == 0);
    }
    CHECK_NUMBER(e->ring.held[1], held);
    CHECK_NUMBER(e->tags.tag[1].rate, 0.5f);
    CHECK(strcmp(e->tags.tag[0].name, "carts") == 0 && strcmp(e->tags.tag[1].name, "tag2") == 0);
    CHECK(e->tags.tag[2].learnt.weights == NULL);
    serve(e, 80000, 110000, true);
    CHECK(e->tags.tag[0].learnt.steps > steps[0] && e->tags.tag[0].minted > 0);
    CHECK(e->tags.tag[0].dropped == 0 && e->versions.live->tags == 3);
    tarn_engine_destroy(&e);

    /* who wants no tags has none, and who only looks sees them */
    e = start(true, TARN_BACKGROUND_STEPS);
    CHECK(e != NULL && e->versions.live->tags == 0);
    tarn_engine_destroy(&e);
    end_state();
}

static void so_does_one_that_is_killed(void)
{
    strcpy(folder, "/tmp/tarn-tags-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    pid_t child = fork();
    if (child == 0) {
        tarn_engine *e = start(false, TARN_BACKGROUND_STEPS);
        if (e == NULL)
            _exit(1);
        serve(e, 0, 90000, true);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    tarn_engine *e = start(false, TARN_BACKGROUND_STEPS);
    REQUIRE(e != NULL);
    uint64_t steps = e->tags.tag[0].learnt.steps;
    CHECK(steps > 100 && e->tags.tag[1].learnt.steps > 10);
    CHECK(e->ring.held[1] > TARN_TAG_LEAST);
    serve(e, 90000, 110000, true);
    CHECK(e->tags.tag[0].learnt.steps > steps && e->tags.tag[0].minted > e->tags.tag[0].kept_out);
    CHECK((e->versions.live->tags & 1) != 0);
    tarn_engine_destroy(&e);
    end_state();
}

/* One of the two files is gone, or is no good: what the other says still holds. */
static void each_file_is_good_for_itself(void)
{
    char path[96];
    strcpy(folder, "/tmp/tarn-tags-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    tarn_engine *e = start(false, TARN_BACKGROUND_STEPS);
    REQUIRE(e != NULL);
    serve(e, 0, 80000, true);
    tarn_engine_destroy(&e);
    snprintf(path, sizeof path, "%s/training.ckpt", folder);
    CHECK(truncate(path, 5000) == 0);
    e = start(false, TARN_BACKGROUND_STEPS);
    REQUIRE(e != NULL && e->versions.live->tags == 3);
    CHECK(e->tags.tag[0].learnt.weights == NULL && e->ring.head == 0);
    const struct tarn_bundle *own = e->versions.live->tagged[0];
    size_t at = 80000; /* it goes on from what is live, not from the general one */
    for (; e->tags.tag[0].jobs == 0 && at < REQUESTS; at += 100) {
        own = e->versions.live->tagged[0];
        serve(e, at, at + 100, true);
    }
    struct tarn_gate_report report;
    struct tarn_held_out_draw draw = {e, 1};
    CHECK(e->tags.tag[0].learnt.weights != NULL);
    tarn_model_gate_try(e->tags.gate, own->model, e->tags.tag[0].learnt.weights, tarn_versions_draw,
                        &draw, &report);
    CHECK(report.weights_l2 < 0.05f);
    tarn_engine_destroy(&e);

    snprintf(path, sizeof path, "%s/live.model", folder);
    CHECK(truncate(path, 5000) == 0);
    e = start(false, TARN_BACKGROUND_STEPS);
    REQUIRE(e != NULL && e->versions.live->tags == 0);
    CHECK(e->tags.tag[0].learnt.weights != NULL);
    serve(e, at, at + 30000, true);
    CHECK((e->versions.live->tags & 1) != 0);
    tarn_engine_destroy(&e);
    end_state();
}

CHECK_MAIN(CASE(a_site_that_restarts_goes_on), CASE(so_does_one_that_is_killed),
           CASE(each_file_is_good_for_itself), CASE(what_failed_is_not_offered_again),
           CASE(sets_of_another_shape_are_refused), CASE(kinds_that_look_alike_are_told_apart),
           CASE(without_tags_nothing_is_different), CASE(a_version_goes_back_as_a_whole),
           CASE(an_interval_is_one_version), CASE(it_works_under_the_arbiter_too))
