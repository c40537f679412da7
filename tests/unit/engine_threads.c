/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's own thread learns while several threads use the cache and look at it. */
#include "../check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include <tarn/feedback.h>
#include <tarn/versions.h>

#include "base/rng.h"
#include "engine/learning.h"

#define OBJECTS 900
#define KEYS    120000

static uint64_t keys[KEYS];

static void make_keys(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 6);
    for (uint32_t i = 0; i < KEYS; i++) {
        double u = tarn_rng_double(&rng);
        keys[i] = i / 500 % 3 == 2 ? 1000000 + i : (uint64_t)(u * u * u * 8000);
    }
}

static bool use(tarn_cache *cache, uint64_t key)
{
    size_t room = 0;
    if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) == TARN_OK)
        return true;
    CHECK(tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1}) == TARN_OK);
    return false;
}

static struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

struct client {
    tarn_engine *engine;
    size_t first, count;
    uint64_t hits;
};

static void *request(void *argument)
{
    struct client *client = argument;
    tarn_cache *cache = tarn_engine_cache(client->engine);
    for (size_t i = 0; i < client->count; i++)
        client->hits += use(cache, keys[client->first + i]);
    return NULL;
}

static void the_thread_learns_beside_requests(void)
{
    make_keys();
    tarn_engine *engine = NULL;
    struct tarn_learning_params learning;
    struct tarn_engine_params params = {.objects = OBJECTS,
                                        .device = "host",
                                        .background = TARN_BACKGROUND_THREAD,
                                        .learning = &learning};
    tarn_learning_defaults(&learning); /* with all that is off too */
    learning.novelty = true;
    learning.consolidate = 50;
    learning.anchor_every = 4;
    learning.distilled = 0.1f;
    learning.explore = learning.drift_steps = 2;
    learning.stored = learning.patience = 2;
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    uint64_t served = 0, hits = 0;
    for (int round = 0; round < 30; round++) {
        struct tarn_engine_stats now = stats_of(engine);
        if (round >= 2 && now.train_steps > 0 && now.rounds_ahead > 0)
            break;
        struct client clients[3];
        pthread_t threads[3];
        for (int i = 0; i < 3; i++) {
            clients[i] =
                (struct client){engine, (size_t)i * 20000 + (size_t)round % 2 * 60000, 20000, 0};
            REQUIRE(pthread_create(&threads[i], NULL, request, &clients[i]) == 0);
        }
        for (int i = 0; i < 50; i++) { /* looked at from outside all the while */
            struct tarn_engine_stats stats = stats_of(engine);
            CHECK(stats.samples <= served + 60000);
            tarn_engine_set_training(engine, i % 4 != 0);
            nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
        }
        tarn_engine_set_training(engine, true);
        for (int i = 0; i < 3; i++) {
            pthread_join(threads[i], NULL);
            hits += clients[i].hits;
            served += 20000;
        }
    }
    CHECK(stats_of(engine).train_steps > 0);
    /* the thread has found victims before they were needed */
    CHECK(stats_of(engine).rounds_ahead > 0 && stats_of(engine).rounds_on_device == 0);
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(tarn_engine_cache(engine), &stats);
    CHECK(stats.gets == served && stats.hits == hits && stats.objects == OBJECTS);
    tarn_engine_step(engine); /* the thread's work: nothing happens */
    tarn_engine_destroy(&engine);
}

/* Destroyed while it is busy, and before it has done anything. */
static void it_ends_at_any_time(void)
{
    make_keys();
    for (int requests = 0; requests < 8000; requests += 1999) {
        tarn_engine *engine = NULL;
        struct tarn_engine_params params = {
            .objects = OBJECTS, .device = "host", .background = TARN_BACKGROUND_THREAD};
        REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
        for (int i = 0; i < requests; i++)
            use(tarn_engine_cache(engine), keys[i]);
        tarn_engine_destroy(&engine);
        CHECK(engine == NULL);
    }
}

/* Models come and go from two sides while requests, training and the watch go on. */
struct changer {
    tarn_engine *engine;
    atomic_int rounds;
    atomic_bool *stop;
};

static void *change(void *argument)
{
    struct changer *c = argument;
    struct tarn_error error;
    for (int i = 0; !atomic_load(c->stop); i++, c->rounds++) {
        tarn_model *model = NULL;
        struct tarn_version_stats stats;
        struct tarn_version_event events[16];
        uint64_t version = 0;
        CHECK(tarn_engine_copy_model(c->engine, &model) == TARN_OK);
        tarn_status status = i % 7 == 3 ? tarn_engine_offer_model(c->engine, model, &error)
                             : i % 7 == 5
                                 ? tarn_engine_roll_back(c->engine, 0, false, &version, &error)
                                 : tarn_engine_swap_model(c->engine, model, &version, &error);
        CHECK(status == TARN_OK || status == TARN_BUSY || status == TARN_NOT_FOUND);
        if (i % 50 == 10)
            CHECK(tarn_engine_pin(c->engine, 0, &error) == TARN_OK);
        if (i % 50 == 20 || i % 50 == 21) /* by whichever comes first */
            tarn_engine_unpin(c->engine, &error);
        tarn_engine_get_versions(c->engine, &stats);
        CHECK(stats.live > 0 && stats.memory > 0);
        CHECK(tarn_engine_get_history(c->engine, events, 16) > 0);
        struct tarn_feedback *feedback;
        CHECK_NUMBER(tarn_engine_copy_feedback(c->engine, &feedback), TARN_OK);
        CHECK(feedback != NULL && feedback->record_count <= TARN_FEEDBACK_RECORDS);
        tarn_feedback_free(&feedback);
        tarn_model_destroy(&model);
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    return NULL;
}

static void versions_change_beside_requests(void)
{
    make_keys();
    tarn_engine *engine = NULL;
    struct tarn_engine_params params = {
        .objects = 3 * OBJECTS, .device = "host", .background = TARN_BACKGROUND_THREAD};
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    atomic_bool stop = false;
    struct changer changers[2] = {{engine, 0, &stop}, {engine, 0, &stop}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, change, &changers[i]) == 0);
    for (int round = 0; round < 4 || (round < 40 && changers[0].rounds < 100); round++) {
        struct client clients[2];
        pthread_t served[2];
        for (int i = 0; i < 2; i++) {
            clients[i] = (struct client){engine, (size_t)i * 60000, 30000, 0};
            REQUIRE(pthread_create(&served[i], NULL, request, &clients[i]) == 0);
        }
        for (int i = 0; i < 2; i++)
            pthread_join(served[i], NULL);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    struct tarn_version_stats stats;
    tarn_engine_get_versions(engine, &stats);
    printf("# %llu swaps, %llu rollbacks\n", (unsigned long long)stats.swaps,
           (unsigned long long)stats.rollbacks);
    CHECK(stats.swaps > 20 && stats.rollbacks > 2);
    tarn_engine_destroy(&engine);
}

CHECK_MAIN(CASE(versions_change_beside_requests), CASE(the_thread_learns_beside_requests),
           CASE(it_ends_at_any_time))
