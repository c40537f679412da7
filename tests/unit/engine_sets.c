/* SPDX-License-Identifier: Apache-2.0 */
/* Sets in the engine: their settings, what classes remember, how a class's set and a tag's set get in. */
#include "../check.h"

#include <stdlib.h>

#include "engine/learning_private.h"
#include "trace/gen.h"

enum { OBJECTS = 500, PHASE = 60000 };

static tarn_model *random_model(uint64_t seed)
{
    static float weights[TARN_NET_PARAMETERS];
    struct tarn_rng rng;
    tarn_model *model = NULL;
    tarn_rng_seed(&rng, seed);
    tarn_net_init(&tarn_net_reference, &rng, weights);
    CHECK(tarn_model_create(&tarn_net_reference, weights, "random\n", &model) == TARN_OK);
    return model;
}

static tarn_model_sets *make_sets(const struct tarn_set_settings *general)
{
    struct tarn_set_settings defaults;
    tarn_model_sets *sets = NULL;
    tarn_model *model = NULL;
    tarn_set_defaults(&defaults);
    CHECK(tarn_model_load_default(&model, NULL) == TARN_OK);
    CHECK(tarn_model_sets_create(&sets) == TARN_OK);
    CHECK(tarn_model_sets_add(sets, "general", model, general != NULL ? general : &defaults,
                              NULL) == TARN_OK);
    tarn_model_destroy(&model);
    return sets;
}

static char folder[64]; /* where state is kept; empty: nowhere */

static tarn_engine *start(const tarn_model_sets *sets)
{
    tarn_engine *engine = NULL;
    tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                    .device = "host",
                                                    .background = TARN_BACKGROUND_STEPS,
                                                    .sets = sets,
                                                    .state_dir = folder[0] ? folder : NULL,
                                                    .seed = 5},
                       &engine, NULL);
    return engine;
}

static void request(tarn_engine *e, uint64_t key, uint8_t tag)
{
    tarn_cache *cache = tarn_engine_cache(e);
    size_t room = 0;
    if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
        tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1, .tag = tag});
    tarn_engine_step(e);
}

/* A phase of the generator: zipf and loop take turns, with their own keys. */
static void serve(tarn_engine *e, tarn_gen *gen, size_t count)
{
    struct tarn_request r;
    for (; count > 0 && tarn_gen_read(gen, &r, 1) == 1; count--)
        request(e, r.key, 0);
}

static tarn_gen *phases(void)
{
    static const char *const settings[] = {"kinds=zipf+loop", "phases=2", "period=60000",
                                           "length=2500"};
    tarn_gen *gen = NULL;
    CHECK(tarn_gen_create(&(struct tarn_gen_params){.kind = "phases",
                                                    .requests = 20 * PHASE,
                                                    .objects = 4000,
                                                    .seed = 3,
                                                    .settings = settings,
                                                    .setting_count = 4},
                          &gen, NULL) == TARN_OK);
    return gen;
}

static void settings_take_effect(void)
{
    struct tarn_set_settings s;
    tarn_set_defaults(&s);
    s.rate = 2;
    s.pace = 0.5f;
    s.replayed = 0.3f;
    s.mix_rate = 0.2f;
    s.mix_half_life = 40;
    s.network = 0.7f;
    s.masked = 1u << 20 | 1u << 4;
    tarn_model_sets *sets = make_sets(&s);
    tarn_engine *e = start(sets), *plain = start(NULL);
    struct tarn_engine_stats stats;
    tarn_model_sets_destroy(&sets); /* the engine has its own */
    REQUIRE(e != NULL && plain != NULL);
    CHECK_NUMBER(e->learner->params.rate, 2);
    CHECK_NUMBER(e->learner->params.replayed, 0.3f);
    CHECK_NUMBER(e->versions.live->expert[0], 0.7f);
    for (size_t i = 0; i < PHASE; i++) {
        request(e, i % 7 == 0 ? i : i * i % 1999, 0);
        request(plain, i % 7 == 0 ? i : i * i % 1999, 0);
    }
    CHECK_NUMBER(e->learned->mix.rate, 0.2f);
    CHECK(e->learned->mix.decay > plain->learned->mix.decay);
    /* half the steps; what is masked stays so however long it learns */
    CHECK(e->trained.elements < plain->trained.elements * 6 / 10 && e->trained.elements > 0);
    CHECK(e->versions.live->version > 2);
    CHECK_NUMBER(tarn_net_masked(&e->shape, e->versions.live->model->weights), s.masked);
    CHECK_NUMBER(tarn_net_masked(&e->shape, tarn_trainer_weights(e->trainer)), s.masked);
    tarn_engine_get_stats(e, &stats);
    CHECK(stats.set != NULL && strcmp(stats.set, "general") == 0);
    tarn_engine_get_stats(plain, &stats);
    CHECK(stats.set == NULL && stats.workload_class == NULL);
    tarn_engine_destroy(&e);
    tarn_engine_destroy(&plain);
}

static void a_class_that_returns_goes_on_where_it_was(void)
{
    tarn_model_sets *sets = make_sets(NULL);
    tarn_engine *e = start(sets);
    tarn_gen *gen = phases();
    tarn_model *bad = random_model(9);
    struct tarn_engine_stats stats;
    REQUIRE(e != NULL && gen != NULL);
    serve(e, gen, PHASE);
    tarn_engine_get_stats(e, &stats);
    CHECK(stats.workload_class != NULL && strcmp(stats.workload_class, "zipf") == 0);
    CHECK_NUMBER(stats.class_changes, 0);
    serve(e, gen, PHASE);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "loop") == 0);
    CHECK_NUMBER(stats.class_changes, 1);
    CHECK(e->sets.memory[TARN_WORKLOAD_ZIPF].live != NULL &&
          e->sets.memory[TARN_WORKLOAD_LOOP].live == NULL);
    /* what it learns of the loop is of no use, so when the other class comes again its own weights do */
    CHECK(tarn_engine_swap_model(e, bad, NULL, NULL) == TARN_OK);
    e->params.no_learn = true; /* or it would be mended before the class is known */
    serve(e, gen, 2000);
    e->params.no_learn = false;
    uint64_t steps = e->sets.memory[TARN_WORKLOAD_ZIPF].learnt.steps;
    for (int i = 0; i < PHASE && e->sets.returns == 0; i += 100) {
        if (e->sets.current == TARN_WORKLOAD_LOOP) /* whatever was learnt since then */
            CHECK(tarn_engine_swap_model(e, bad, NULL, NULL) == TARN_OK ||
                  e->versions.phase != TARN_ROLLOUT_IDLE);
        serve(e, gen, 100);
    }
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "zipf") == 0);
    CHECK_NUMBER(stats.class_changes, 2);
    CHECK_NUMBER(stats.class_returns, 1);
    CHECK(memcmp(e->versions.live->model->weights,
                 e->sets.memory[TARN_WORKLOAD_ZIPF].live->model->weights,
                 TARN_NET_PARAMETERS * sizeof(float)) == 0);
    CHECK(tarn_trainer_steps(e->trainer) >= steps && tarn_trainer_steps(e->trainer) < steps + 200);
    tarn_model_destroy(&bad);
    tarn_gen_destroy(&gen);
    tarn_engine_destroy(&e);
    tarn_model_sets_destroy(&sets);
}

static void a_flicker_is_no_change(void)
{
    tarn_model_sets *sets = make_sets(NULL);
    tarn_engine *e = start(sets);
    static const char *const settings[] = {"kinds=zipf+loop", "phases=2", "period=3000",
                                           "length=2500"};
    tarn_gen *gen = NULL;
    REQUIRE(tarn_gen_create(&(struct tarn_gen_params){.kind = "phases",
                                                      .requests = 3 * PHASE,
                                                      .objects = 4000,
                                                      .seed = 3,
                                                      .settings = settings,
                                                      .setting_count = 4},
                            &gen, NULL) == TARN_OK);
    serve(e, gen, 3 * PHASE);
    printf("# %lu changes among %d phases\n", e->sets.changes, 3 * PHASE / 3000);
    CHECK(e->sets.changes <= 3);
    tarn_gen_destroy(&gen);
    tarn_engine_destroy(&e);
    tarn_model_sets_destroy(&sets);
}

static void the_set_of_a_class_is_tried_before_it_is_used(void)
{
    tarn_model_sets *sets = make_sets(NULL);
    struct tarn_set_settings settings;
    struct tarn_error error;
    tarn_model *model = random_model(4);
    tarn_set_defaults(&settings);
    settings.rate = 4;
    CHECK(tarn_model_sets_add(sets, "loop", model, &settings, NULL) == TARN_OK);
    tarn_engine *e = start(sets);
    tarn_gen *gen = phases();
    struct tarn_engine_stats stats;
    REQUIRE(e != NULL && gen != NULL);
    serve(e, gen, PHASE);
    CHECK(e->versions.phase == TARN_ROLLOUT_IDLE);
    serve(e, gen, PHASE * 3 / 4);
    CHECK(e->versions.phase != TARN_ROLLOUT_IDLE && e->sets.offered_hash != 0);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "loop") == 0 && strcmp(stats.set, "general") == 0);
    /* it goes live (here by hand): its settings come with it */
    uint64_t hash = e->sets.offered_hash;
    CHECK(tarn_engine_swap_model(e, model, NULL, &error) == TARN_OK);
    CHECK(e->versions.live->hash == hash);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.set, "loop") == 0);
    CHECK_NUMBER(e->learner->params.rate, 4);
    /* and go with the class */
    serve(e, gen, PHASE * 5 / 4);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "zipf") == 0 && strcmp(stats.set, "general") == 0);
    CHECK_NUMBER(e->learner->params.rate, 1);
    tarn_model_destroy(&model);
    tarn_gen_destroy(&gen);
    tarn_engine_destroy(&e);
    tarn_model_sets_destroy(&sets);
}

static void a_set_that_is_clearly_better_is_used_at_once(void)
{
    tarn_model_sets *sets = NULL;
    struct tarn_set_settings settings;
    struct tarn_engine_stats stats;
    tarn_model *poor = random_model(4), *good = NULL;
    tarn_set_defaults(&settings);
    REQUIRE(tarn_model_load_default(&good, NULL) == TARN_OK);
    REQUIRE(tarn_model_sets_create(&sets) == TARN_OK);
    CHECK(tarn_model_sets_add(sets, "general", poor, &settings, NULL) == TARN_OK);
    settings.rate = 2;
    settings.network = 0.8f;
    CHECK(tarn_model_sets_add(sets, "zipf", good, &settings, NULL) == TARN_OK);
    tarn_engine *e = start(sets);
    tarn_gen *gen = phases();
    REQUIRE(e != NULL && gen != NULL);
    CHECK_NUMBER(e->learner->params.rate, 1);
    serve(e, gen, PHASE);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "zipf") == 0 && strcmp(stats.set, "zipf") == 0);
    CHECK(e->versions.phase == TARN_ROLLOUT_IDLE && stats.class_returns == 0);
    CHECK_NUMBER(e->learner->params.rate, 2);
    CHECK_NUMBER(e->versions.live->expert[0], 0.8f);
    tarn_model_destroy(&poor);
    tarn_model_destroy(&good);
    tarn_gen_destroy(&gen);
    tarn_engine_destroy(&e);
    tarn_model_sets_destroy(&sets);
}

/* Tag 1 is wanted again after 600 requests, tag 2 never; see engine_tags.c. */
static void serve_tags(tarn_engine *e, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        if (i % 4 == 0)
            request(e, 1000000 + i, 2);
        else if (i % 4 == 1)
            request(e, 2000000 + (i / 4) % 150 + (i / 4) / 600 * 150, 1);
        else
            request(e, i * 7919 % 3001, 0);
    }
}

static void a_tag_begins_with_its_set(void)
{
    tarn_model_sets *sets = make_sets(NULL);
    tarn_engine *e = start(sets);
    struct tarn_set_settings settings;
    struct tarn_tag_stats stats;
    tarn_model *other = random_model(3);
    tarn_set_defaults(&settings);
    settings.rate = 2;
    REQUIRE(e != NULL);
    serve_tags(e, 0, 120000);
    tarn_engine_get_tag(e, 1, &stats);
    CHECK(stats.own && stats.minted > 0 && stats.train_steps > 0 && stats.samples > 1024);
    CHECK(strcmp(stats.name, "tag1") == 0);
    REQUIRE(e->versions.live->tags == 3);
    CHECK(tarn_model_sets_add(sets, "hits", e->versions.live->tagged[0]->model, &settings, NULL) ==
          TARN_OK);
    CHECK(tarn_model_sets_add(sets, "tag2", other, &settings, NULL) == TARN_OK);
    tarn_model_destroy(&other);
    tarn_engine_destroy(&e);
    e = start(sets);
    REQUIRE(e != NULL);
    CHECK(tarn_engine_name_tag(e, 8, "hits", NULL) == TARN_INVALID);
    CHECK(tarn_engine_name_tag(e, 1, "hits", NULL) == TARN_OK);
    size_t at = 0;
    for (; (e->versions.live->tags & 1) == 0 && at < 120000; at += 100)
        serve_tags(e, at, at + 100);
    for (; e->tags.tag[0].rate != 2 && at < 120000; at += 100)
        serve_tags(e, at, at + 100);
    CHECK(e->tags.tag[0].minted < 8);
    CHECK(memcmp(e->versions.live->tagged[0]->model->weights, sets->set[1].model->weights,
                 TARN_NET_PARAMETERS * sizeof(float)) == 0);
    CHECK_NUMBER(e->tags.tag[0].rate, 2);
    /* it has had its set: the same name at the next start doesn't mean another try */
    uint32_t tries = e->tags.tag[0].set_tries;
    CHECK(tarn_engine_name_tag(e, 1, "hits", NULL) == TARN_OK);
    CHECK(e->tags.tag[0].set_tries == tries && e->tags.tag[0].done_with != 0);
    for (; (e->versions.live->tags & 2) == 0 && at < 120000; at += 100)
        serve_tags(e, at, at + 100);
    /* random weights are no good: it began with the general ones */
    CHECK(e->versions.live->tags == 3 && e->tags.tag[1].minted > 0 && e->tags.tag[1].rate == 1);
    tarn_engine_destroy(&e);
    tarn_model_sets_destroy(&sets);
}

static void what_classes_taught_outlives_a_restart(void)
{
    static float live[TARN_NET_PARAMETERS], learnt[3 * TARN_NET_PARAMETERS];
    struct tarn_set_settings settings;
    struct tarn_engine_stats stats;
    tarn_model_sets *sets = NULL, *anew = NULL, *others = make_sets(NULL);
    tarn_model *poor = random_model(4), *other = random_model(6), *good = NULL;
    char command[96];
    strcpy(folder, "/tmp/tarn-sets-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    tarn_set_defaults(&settings);
    REQUIRE(tarn_model_load_default(&good, NULL) == TARN_OK);
    REQUIRE(tarn_model_sets_create(&sets) == TARN_OK);
    CHECK(tarn_model_sets_add(sets, "general", poor, &settings, NULL) == TARN_OK);
    settings.rate = 2;
    CHECK(tarn_model_sets_add(sets, "zipf", good, &settings, NULL) == TARN_OK);
    REQUIRE(tarn_model_sets_create(&anew) == TARN_OK);
    CHECK(tarn_model_sets_add(anew, "general", poor, &settings, NULL) == TARN_OK);
    CHECK(tarn_model_sets_add(anew, "zipf", other, &settings, NULL) == TARN_OK);
    tarn_engine *e = start(sets);
    tarn_gen *gen = phases();
    REQUIRE(e != NULL && gen != NULL);
    serve(e, gen, PHASE);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "zipf") == 0 && strcmp(stats.set, "zipf") == 0);
    tarn_engine_destroy(&e);

    e = start(sets); /* in the class that learning went by, with its settings */
    REQUIRE(e != NULL);
    tarn_engine_get_stats(e, &stats);
    CHECK(stats.workload_class != NULL && strcmp(stats.workload_class, "zipf") == 0);
    CHECK(strcmp(stats.set, "zipf") == 0);
    CHECK_NUMBER(e->learner->params.rate, 2);
    serve(e, gen, PHASE);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "loop") == 0);
    CHECK_NUMBER(stats.class_changes, 1);
    const struct tarn_class_memory *zipf = &e->sets.memory[TARN_WORKLOAD_ZIPF];
    REQUIRE(zipf->live != NULL && zipf->learnt.weights != NULL);
    memcpy(live, zipf->live->model->weights, sizeof live);
    memcpy(learnt, zipf->learnt.weights, sizeof learnt);
    uint64_t steps = zipf->learnt.steps;
    CHECK(steps > 100);
    tarn_engine_destroy(&e);

    e = start(sets); /* and the other one is remembered */
    REQUIRE(e != NULL);
    zipf = &e->sets.memory[TARN_WORKLOAD_ZIPF];
    CHECK(e->sets.known && e->sets.current == TARN_WORKLOAD_LOOP);
    REQUIRE(zipf->live != NULL && zipf->learnt.weights != NULL);
    CHECK(memcmp(live, zipf->live->model->weights, sizeof live) == 0);
    CHECK(memcmp(learnt, zipf->learnt.weights, sizeof learnt) == 0);
    CHECK_NUMBER(zipf->learnt.steps, steps);
    CHECK(zipf->set == 1);
    CHECK_NUMBER(zipf->settings.rate, 2);
    serve(e, gen, PHASE);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "zipf") == 0 && strcmp(stats.set, "zipf") == 0);
    tarn_engine_destroy(&e);

    e = start(NULL); /* without sets nobody asks, and nothing is lost */
    REQUIRE(e != NULL);
    CHECK(!e->sets.known);
    serve(e, gen, 20000);
    tarn_engine_get_stats(e, &stats);
    CHECK(stats.workload_class == NULL && stats.class_changes == 0);
    tarn_engine_destroy(&e);
    e = start(sets);
    REQUIRE(e != NULL);
    CHECK(e->sets.memory[TARN_WORKLOAD_ZIPF].live != NULL);
    CHECK_NUMBER(e->sets.memory[TARN_WORKLOAD_ZIPF].set, 1);
    tarn_engine_destroy(&e);
    e = start(anew); /* a set of that name that was searched for anew is one to be tried */
    REQUIRE(e != NULL);
    CHECK_NUMBER(e->sets.memory[TARN_WORKLOAD_ZIPF].set, 0);
    tarn_engine_destroy(&e);
    e = start(others); /* its set is gone: then the general one's settings */
    REQUIRE(e != NULL);
    tarn_engine_get_stats(e, &stats);
    CHECK(strcmp(stats.workload_class, "zipf") == 0 && strcmp(stats.set, "general") == 0);
    CHECK_NUMBER(e->learner->params.rate, 1);
    tarn_engine_destroy(&e);
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
    folder[0] = '\0';
    tarn_model_destroy(&poor);
    tarn_model_destroy(&good);
    tarn_model_destroy(&other);
    tarn_gen_destroy(&gen);
    tarn_model_sets_destroy(&sets);
    tarn_model_sets_destroy(&anew);
    tarn_model_sets_destroy(&others);
}

CHECK_MAIN(CASE(what_classes_taught_outlives_a_restart), CASE(settings_take_effect),
           CASE(a_class_that_returns_goes_on_where_it_was), CASE(a_flicker_is_no_change),
           CASE(the_set_of_a_class_is_tried_before_it_is_used),
           CASE(a_set_that_is_clearly_better_is_used_at_once), CASE(a_tag_begins_with_its_set))
