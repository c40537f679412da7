/* SPDX-License-Identifier: Apache-2.0 */
/* What requests leave to another thread: replayed at once it is what happens at once; late it is nearly so. */
#include "../check.h"
#include "one_version.h"

#include "base/rng.h"
#include "cache/cache.h"
#include "evict/learned.h"

#define OBJECTS  600
#define REQUESTS 40000

struct world {
    tarn_cache *cache;
    struct tarn_learned *learned;
    struct one_version version;
    struct tarn_slot_reader *later_reader;
    struct tarn_learned_params params;
    struct tarn_trial trial;
};

static tarn_status factory(void *context, struct tarn_table *table,
                           const struct tarn_capacity *capacity, struct tarn_policy *policy)
{
    struct world *w = context;
    return tarn_learned_create(&w->params, table, capacity, policy, &w->learned);
}

static bool begin(struct world *w, bool later, bool goal_cost)
{
    memset(w, 0, sizeof *w);
    if (!version_open(&w->version, NULL) ||
        tarn_slot_register(w->version.slot, &w->later_reader) != TARN_OK)
        return false;
    w->params = (struct tarn_learned_params){.reader = w->version.reader,
                                             .later_reader = later ? w->later_reader : NULL,
                                             .shadows = true,
                                             .goal_cost = goal_cost,
                                             .ring = 32768,
                                             .seed = 2};
    if (tarn_cache_create_with(&(struct tarn_cache_params){.objects = OBJECTS},
                               &(struct tarn_cache_hooks){.factory = factory, .factory_context = w},
                               &w->cache) != TARN_OK)
        return false;
    w->learned->live.list_share =
        TARN_SHARE_OBJECTS; /* as many victims at once as without a thread */
    bool made = tarn_trial_init(&w->trial, &(struct tarn_trial_params){
                                               .world = w->learned->small_world,
                                               .capacity = w->learned->live.capacity,
                                               .objects = OBJECTS,
                                               .most_cost = 0.9f,
                                               .seed = 4,
                                           }) == TARN_OK;
    w->learned->trial = &w->trial;
    return made;
}

static void end(struct world *w)
{
    w->learned->trial = NULL;
    tarn_trial_free(&w->trial);
    tarn_cache_destroy(&w->cache);
    tarn_slot_unregister(w->version.slot, &w->later_reader);
    version_close(&w->version);
}

static void replay(struct world *w)
{
    tarn_evictor_settle(&w->learned->live);
    while (tarn_learned_take_notes(w->learned, 1))
        while (tarn_learned_replay(w->learned, 7))
            continue;
    tarn_learned_settle(w->learned);
}

/* One in 50 is a delete, one in 20 an overwrite. Hits. */
static uint64_t serve(struct world *w, uint32_t every)
{
    struct tarn_rng rng;
    uint64_t hits = 0;
    tarn_rng_seed(&rng, 3);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        double u = tarn_rng_double(&rng);
        uint32_t key = i / 4000 % 3 == 2 ? 100000 + i : (uint32_t)(u * u * u * 8000);
        struct tarn_item item = {.charge = 1, .cost_us = (float)(1 + key % 100)};
        size_t room = 0;
        bool hit = tarn_cache_get(w->cache, &key, sizeof key, NULL, &room) == TARN_OK;
        if (every == 1)
            replay(w);
        hits += hit;
        if (i % 50 == 0)
            (void)tarn_cache_delete(w->cache, &key, sizeof key);
        else if (!hit || i % 20 == 0)
            CHECK(tarn_cache_put(w->cache, &key, sizeof key, &item) == TARN_OK);
        if (every > 0 && i % every == 0)
            replay(w);
    }
    return hits;
}

static void same_of(const struct world *now, const struct world *later)
{
    for (uint32_t k = 0; k < TARN_EXPERTS; k++) {
        CHECK(now->learned->mix.misses[k] == later->learned->mix.misses[k]);
        CHECK(now->learned->live.weight[k] == later->learned->live.weight[k]);
    }
    CHECK_NUMBER(later->trial.own.requests, now->trial.own.requests);
    CHECK_NUMBER(later->trial.own.lru_misses, now->trial.own.lru_misses);
    CHECK_NUMBER(later->trial.counts.misses, now->trial.counts.misses);
    CHECK_NUMBER(later->learned->later.dropped, 0);
}

static void at_once_it_is_the_same(void)
{
    for (int goal_cost = 0; goal_cost < 2; goal_cost++) {
        struct world now, later;
        REQUIRE(begin(&now, false, goal_cost) && begin(&later, true, goal_cost));
        CHECK(now.learned->small_world == &now.learned->world);
        uint64_t hits = serve(&now, 1);
        CHECK_NUMBER(serve(&later, 1), hits);
        CHECK(hits > REQUESTS / 10 && now.trial.own.requests > REQUESTS / 20);
        same_of(&now, &later);
        end(&now);
        end(&later);
    }
}

static double ratio(double a, double b)
{
    return a / b;
}

static void late_it_is_nearly_so(void)
{
    struct world now, later;
    REQUIRE(begin(&now, false, false) && begin(&later, true, false));
    uint64_t hits = serve(&now, 0);
    double misses = (double)(REQUESTS - hits);
    /* a tenth of what a thread that looks every millisecond sees of two million requests a second */
    double late = (double)(REQUESTS - serve(&later, 200));
    CHECK(ratio(late, misses) > 0.98 && ratio(late, misses) < 1.02);
    CHECK_NUMBER(later.learned->later.dropped, 0);
    /* what counts is that both kept the same share of the same keys */
    double told = ratio((double)later.trial.own.requests, (double)now.trial.own.requests);
    CHECK(told > 0.97 && told < 1.03);
    double own = ratio((double)later.trial.counts.misses, (double)now.trial.counts.misses);
    double lru = ratio((double)later.trial.own.lru_misses, (double)now.trial.own.lru_misses);
    CHECK(own > 0.97 && own < 1.03);
    CHECK(lru > 0.97 && lru < 1.03);
    end(&now);
    end(&later);
}

static void what_does_not_fit_is_counted(void)
{
    struct world w;
    REQUIRE(begin(&w, true, false));
    size_t memory = tarn_learned_memory(w.learned);
    serve(&w, 0);
    CHECK(w.learned->later.count == TARN_LATER_NOTES && w.learned->later.dropped > 1000);
    CHECK(tarn_learned_memory(w.learned) < memory * 2);
    CHECK(w.learned->mix.requests == 0 && w.learned->live.weight[0] == 1);
    /* whoever comes at last has the first of them to replay, and goes on from there */
    replay(&w);
    CHECK(w.learned->mix.requests > 0 && w.learned->later.count == 0);
    uint64_t dropped = w.learned->later.dropped;
    serve(&w, 100);
    CHECK_NUMBER(w.learned->later.dropped, dropped);
    end(&w);
}

/* Histories that wait are all there once they are settled, whatever happens to their objects meanwhile. */
static void hits_wait_for_each_other(void)
{
    struct world now, later;
    REQUIRE(begin(&now, false, false) && begin(&later, true, false));
    struct world *both[2] = {&now, &later};
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t key = i % 7 + i * i % 61 * 7, room = 0;
        for (int k = 0; k < 2; k++) {
            size_t size = room;
            if (i % 97 == 0)
                (void)tarn_cache_delete(both[k]->cache, &key, sizeof key);
            else if (tarn_cache_get(both[k]->cache, &key, sizeof key, NULL, &size) != TARN_OK ||
                     i % 89 == 0)
                tarn_cache_put(both[k]->cache, &key, sizeof key, &(struct tarn_item){.charge = 1});
        }
    }
    CHECK(later.learned->hits.count > 0);
    tarn_evictor_settle(&later.learned->live);
    const struct tarn_table *a = tarn_cache_table(now.cache), *b = tarn_cache_table(later.cache);
    REQUIRE(a->count == b->count && a->count > 100);
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t slot = tarn_table_resident(a, i);
        CHECK(tarn_table_resident(b, i) == slot);
        CHECK(memcmp(tarn_table_meta(a, slot), tarn_table_meta(b, slot),
                     sizeof(struct tarn_meta)) == 0);
    }
    end(&now);
    end(&later);
}

CHECK_MAIN(CASE(at_once_it_is_the_same), CASE(late_it_is_nearly_so),
           CASE(what_does_not_fit_is_counted), CASE(hits_wait_for_each_other))
