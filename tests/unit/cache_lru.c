/* SPDX-License-Identifier: Apache-2.0 */
/* The whole cache with LRU against a model that does everything by looking at everything. */
#include "../check.h"

#include "../cache_spy.h"
#include "base/rng.h"

#define KEYS 300

struct object {
    bool present;
    uint64_t used_at, charge, expires, value, hash;
};

struct model {
    struct object object[KEYS];
    uint64_t limit, time, clock;
    bool bytes;
};

static uint64_t model_used(const struct model *model)
{
    uint64_t used = 0;
    for (int i = 0; i < KEYS; i++)
        used += !model->object[i].present ? 0 : model->bytes ? model->object[i].charge : 1;
    return used;
}

static int model_oldest(const struct model *model)
{
    int oldest = -1;
    for (int i = 0; i < KEYS; i++) {
        if (model->object[i].present &&
            (oldest < 0 || model->object[i].used_at < model->object[oldest].used_at))
            oldest = i;
    }
    return oldest;
}

static bool is_dead(const struct model *model, const struct object *object)
{
    return object->expires && object->expires <= model->clock;
}

/*
 * Follows what the cache removed. Which of the expired leave first is the cache's choice, by
 * chance; that an eviction takes the oldest of the rest is not.
 */
static void follow_removals(struct model *model, struct spy *spy, int deleted)
{
    for (int i = 0; i < spy->removals; i++) {
        int key = 0;
        while (key < KEYS && model->object[key].hash != spy->removed[i].hash)
            key++;
        REQUIRE(key < KEYS && model->object[key].present);
        if (spy->removed[i].reason == TARN_REMOVE_EXPIRED)
            CHECK(is_dead(model, &model->object[key]));
        else if (spy->removed[i].reason == TARN_REMOVE_EVICTED)
            CHECK_NUMBER(key, model_oldest(model));
        else
            CHECK_NUMBER(key, deleted);
        model->object[key].present = false;
    }
    spy->removals = 0;
}

static void check_get(struct model *model, struct spy *spy, tarn_cache *cache, int key)
{
    uint64_t value = 0;
    size_t size = sizeof value;
    struct object *object = &model->object[key];
    bool alive = object->present && !is_dead(model, object);
    tarn_status status = tarn_cache_get(cache, &key, sizeof key, &value, &size);
    CHECK(status == (alive ? TARN_OK : TARN_NOT_FOUND));
    follow_removals(model, spy, -1);
    CHECK(object->present == alive);
    if (alive) {
        CHECK(size == sizeof value && value == object->value);
        object->used_at = ++model->time;
    }
}

static void check_put(struct model *model, struct spy *spy, tarn_cache *cache, int key,
                      uint64_t charge, uint64_t ttl)
{
    struct object *object = &model->object[key];
    uint64_t value = model->time * 1000 + (uint64_t)key, updates = spy->updates;
    bool alive = object->present && !is_dead(model, object), was = object->present;
    uint64_t cost = model->bytes ? charge : 1;
    struct tarn_item item = {&value, sizeof value, charge, ttl};
    tarn_status status = tarn_cache_put(cache, &key, sizeof key, &item);
    CHECK(status == (cost > model->limit ? TARN_TOO_LARGE : TARN_OK));
    if (status == TARN_TOO_LARGE) {
        follow_removals(model, spy, key);
        CHECK(!object->present);
        return;
    }
    CHECK(spy->updates == updates + alive);
    struct object fresh = {true,  ++model->time, charge, ttl ? model->clock + ttl : 0,
                           value, object->hash};
    if (alive)
        *object = fresh; /* and only then may something leave */
    uint64_t before = model_used(model);
    int evictions = 0;
    for (int i = 0; i < spy->removals; i++)
        evictions += spy->removed[i].reason == TARN_REMOVE_EVICTED;
    /* only the old value of this key may be known dead at once */
    CHECK(evictions == 0 || before + (alive ? 0 : cost) > model->limit || was);
    follow_removals(model, spy, -1);
    if (!alive)
        *object = fresh;
    CHECK(model_used(model) <= model->limit);
}

static void run_against_model(bool bytes, uint64_t limit, bool with_ttl, uint64_t seed)
{
    struct model *model = calloc(1, sizeof *model);
    struct spy spy = {.create = tarn_policy_lru_create};
    struct tarn_rng rng;
    tarn_cache *cache;
    struct tarn_cache_params params = {.seed = seed};
    struct tarn_cache_hooks hooks = {.factory = spy_factory,
                                     .factory_context = &spy,
                                     .clock_ms = spy_clock,
                                     .clock_context = &model->clock,
                                     .first_request = 0xffffff00u};
    *(bytes ? &params.memory : &params.objects) = limit;
    model->bytes = bytes;
    model->limit = limit;
    model->clock = 5000;
    for (int key = 0; key < KEYS; key++)
        model->object[key].hash = tarn_cache_hash(&key, sizeof key);
    tarn_rng_seed(&rng, seed);
    REQUIRE(tarn_cache_create_with(&params, &hooks, &cache) == TARN_OK);
    for (int i = 0; i < 20000 && check_failures == 0; i++) {
        uint32_t what = tarn_rng_below(&rng, 100);
        /* half of the requests to a tenth of the keys */
        int key = (int)tarn_rng_below(&rng, tarn_rng_below(&rng, 2) ? KEYS : KEYS / 10);
        uint64_t charge = 1 + tarn_rng_below(&rng, tarn_rng_below(&rng, 50) ? 100 : 6000);
        uint64_t ttl =
            with_ttl && tarn_rng_below(&rng, 3) == 0 ? 1 + tarn_rng_below(&rng, 4000) : 0;
        uint64_t misses = spy.misses;
        model->clock += tarn_rng_below(&rng, 10);
        if (what < 60) {
            check_get(model, &spy, cache, key);
            if (spy.misses > misses)
                check_put(model, &spy, cache, key, charge, ttl);
        } else if (what < 85) {
            check_put(model, &spy, cache, key, charge, ttl);
        } else {
            struct object *object = &model->object[key];
            bool alive = object->present && !is_dead(model, object);
            CHECK(tarn_cache_delete(cache, &key, sizeof key) == (alive ? TARN_OK : TARN_NOT_FOUND));
            follow_removals(model, &spy, key);
            CHECK(!object->present);
        }
        CHECK(spy.capacity->used == model_used(model));
        CHECK(spy.now == tarn_cache_now(cache));
    }
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(cache, &stats);
    CHECK_NUMBER(stats.gets, spy.hits + spy.misses);
    CHECK_NUMBER(stats.hits, spy.hits);
    CHECK_NUMBER(stats.puts, spy.inserts + spy.updates);
    CHECK_NUMBER(stats.gets + 0xffffff00u, tarn_cache_now(cache));
    CHECK(tarn_cache_now(cache) > 0xffffffffu);
    CHECK(stats.evictions > 50 && stats.hits > (limit > 1 ? 1000 : 10) && stats.deletes > 10);
    CHECK((stats.expirations > 100) == with_ttl);
    CHECK((stats.rejected > 10) == (bytes && limit < 5000));
    tarn_cache_destroy(&cache);
    free(model);
}

static void objects_as_the_model(void)
{
    run_against_model(false, 1, false, 1);
    run_against_model(false, 50, false, 2);
    run_against_model(false, 150, false, 3);
}

static void bytes_as_the_model(void)
{
    run_against_model(true, 1000, false, 4);
    run_against_model(true, 8000, false, 5);
}

static void times_to_live_as_the_model(void)
{
    run_against_model(false, 100, true, 6);
    run_against_model(true, 4000, true, 7);
}

CHECK_MAIN(CASE(objects_as_the_model), CASE(bytes_as_the_model), CASE(times_to_live_as_the_model))
