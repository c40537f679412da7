/* SPDX-License-Identifier: Apache-2.0 */
/* S3-FIFO against a second, slow implementation of the paper's algorithm: arrays and loops. */
#include "../check.h"

#include "../cache_spy.h"
#include "base/rng.h"

#define KEYS 2000

struct queue {
    int key[4 * KEYS]; /* oldest first */
    int count;
};

struct model {
    struct queue small, main;
    int ghost[4 * KEYS]; /* oldest first; -1 where one was asked for again */
    int ghosts;
    int freq[KEYS];
    uint64_t cost[KEYS], limit;
    int left[64], leavers; /* evicted by the last call */
};

static int where(const struct queue *queue, int key)
{
    for (int i = 0; i < queue->count; i++) {
        if (queue->key[i] == key)
            return i;
    }
    return -1;
}

static void push(struct queue *queue, int key)
{
    queue->key[queue->count++] = key;
}

static int take(struct queue *queue, int at)
{
    int key = queue->key[at];
    queue->count--;
    memmove(&queue->key[at], &queue->key[at + 1], (size_t)(queue->count - at) * sizeof(int));
    return key;
}

static uint64_t used(const struct model *model, const struct queue *queue)
{
    uint64_t sum = 0;
    for (int i = 0; i < queue->count; i++)
        sum += model->cost[queue->key[i]];
    return sum;
}

static void remember(struct model *model, int key, int most)
{
    while (model->ghosts > 0 && model->ghosts >= most)
        memmove(model->ghost, model->ghost + 1, (size_t)--model->ghosts * sizeof(int));
    model->ghost[model->ghosts++] = key;
}

static void evict_one(struct model *model)
{
    for (;;) {
        if (model->small.count > 0 &&
            (used(model, &model->small) >= model->limit / 10 || model->main.count == 0)) {
            int residents = model->small.count + model->main.count;
            int key = take(&model->small, 0);
            if (model->freq[key] > 1) {
                model->freq[key] = 0;
                push(&model->main, key);
                continue;
            }
            remember(model, key, residents * 9 / 10 > 1 ? residents * 9 / 10 : 1);
            model->left[model->leavers++] = key;
            return;
        }
        int key = take(&model->main, 0);
        if (model->freq[key] == 0) {
            model->left[model->leavers++] = key;
            return;
        }
        model->freq[key]--;
        push(&model->main, key);
    }
}

static bool resident(const struct model *model, int key)
{
    return where(&model->small, key) >= 0 || where(&model->main, key) >= 0;
}

static bool model_get(struct model *model, int key)
{
    if (!resident(model, key))
        return false;
    model->freq[key] += model->freq[key] < 3;
    return true;
}

static void model_put(struct model *model, int key, uint64_t cost)
{
    model->leavers = 0;
    if (model_get(model, key)) {
        model->cost[key] = cost;
        while (used(model, &model->small) + used(model, &model->main) > model->limit)
            evict_one(model);
        return;
    }
    while (used(model, &model->small) + used(model, &model->main) + cost > model->limit)
        evict_one(model);
    model->cost[key] = cost;
    model->freq[key] = 0;
    for (int i = 0; i < model->ghosts; i++) {
        if (model->ghost[i] == key) {
            model->ghost[i] = -1;
            push(&model->main, key);
            return;
        }
    }
    push(&model->small, key);
}

static void model_delete(struct model *model, int key)
{
    int at = where(&model->small, key);
    if (at >= 0)
        take(&model->small, at);
    at = where(&model->main, key);
    if (at >= 0)
        take(&model->main, at);
}

static void run_against_model(bool bytes, uint64_t limit, bool overwrites, uint64_t seed)
{
    struct model *model = calloc(1, sizeof *model);
    struct spy spy = {.create = tarn_policy_s3fifo_create};
    struct tarn_cache_params params = {0};
    struct tarn_cache_hooks hooks = {.factory = spy_factory, .factory_context = &spy};
    struct tarn_rng rng;
    tarn_cache *cache;
    int hits = 0, reached_main = 0;
    *(bytes ? &params.memory : &params.objects) = limit;
    model->limit = limit;
    tarn_rng_seed(&rng, seed);
    REQUIRE(tarn_cache_create_with(&params, &hooks, &cache) == TARN_OK);
    for (int i = 0; i < 40000 && check_failures == 0; i++) {
        uint32_t what = tarn_rng_below(&rng, 100);
        double u = tarn_rng_double(&rng);
        int key = (int)(KEYS * u * u * u); /* skewed */
        struct tarn_item item = {.value = "v", .value_size = 1};
        item.charge = 1 + tarn_rng_below(&rng, (uint32_t)(bytes ? limit / 20 : 50));
        uint64_t cost = bytes ? item.charge : 1;
        size_t size = 0;
        if (overwrites && what < 5) {
            model_delete(model, key);
            (void)tarn_cache_delete(cache, &key, sizeof key);
            spy.removals = 0;
            continue;
        }
        bool hit = model_get(model, key);
        CHECK((tarn_cache_get(cache, &key, sizeof key, NULL, &size) != TARN_NOT_FOUND) == hit);
        hits += hit;
        if (hit && !(overwrites && what < 15))
            continue;
        spy.removals = 0;
        model_put(model, key, cost);
        CHECK(tarn_cache_put(cache, &key, sizeof key, &item) == TARN_OK);
        CHECK_NUMBER(spy.removals, model->leavers);
        for (int j = 0; j < spy.removals && j < model->leavers; j++)
            CHECK(spy.removed[j].hash == tarn_cache_hash(&model->left[j], sizeof(int)));
        reached_main += where(&model->main, key) >= 0 && !hit;
    }
    CHECK_NUMBER(spy.capacity->used, used(model, &model->small) + used(model, &model->main));
    CHECK(limit < 10 || (hits > 4000 && reached_main > 300));
    printf("# %d hits, %d from ghost to main\n", hits, reached_main);
    tarn_cache_destroy(&cache);
    free(model);
}

static void objects_as_the_paper(void)
{
    run_against_model(false, 1, false, 1);
    run_against_model(false, 7, false, 2);
    run_against_model(false, 100, false, 3);
    run_against_model(false, 700, false, 4);
}

static void bytes_as_the_paper(void)
{
    run_against_model(true, 5000, false, 5);
    run_against_model(true, 100000, false, 6);
}

static void overwrites_and_deletes_as_the_model(void)
{
    run_against_model(false, 300, true, 7);
    run_against_model(true, 20000, true, 8);
}

/* Many ghosts: pieces of the ring come and go, the cache goes on finding what it should. */
static void many_ghosts(void)
{
    enum { OBJECTS = 20000 };
    struct tarn_cache_params params = {.memory = OBJECTS, .policy = TARN_CACHE_S3FIFO};
    struct tarn_item item = {.charge = 1};
    struct tarn_cache_stats full, later;
    tarn_cache *cache;
    size_t size = 0;
    REQUIRE(tarn_cache_create(&params, &cache) == TARN_OK);
    for (uint32_t key = 0; key < 3 * OBJECTS; key++)
        REQUIRE(tarn_cache_put(cache, &key, sizeof key, &item) == TARN_OK);
    tarn_cache_get_stats(cache, &full);
    /* evicted 1000 evictions ago: a ghost, so back into the main queue, where a scan can't push it
     * out */
    for (uint32_t key = 2 * OBJECTS - 1000; key < 2 * OBJECTS - 900; key++)
        REQUIRE(tarn_cache_put(cache, &key, sizeof key, &item) == TARN_OK);
    /* evicted 9/10 · OBJECTS evictions ago and more: forgotten */
    for (uint32_t key = 1000; key < 1100; key++)
        REQUIRE(tarn_cache_put(cache, &key, sizeof key, &item) == TARN_OK);
    for (uint32_t key = 10 * OBJECTS; key < 30 * OBJECTS; key++)
        REQUIRE(tarn_cache_put(cache, &key, sizeof key, &item) == TARN_OK);
    for (uint32_t key = 2 * OBJECTS - 1000; key < 2 * OBJECTS - 900; key++)
        CHECK(tarn_cache_get(cache, &key, sizeof key, NULL, &size) == TARN_OK);
    for (uint32_t key = 1000; key < 1100; key++)
        CHECK(tarn_cache_get(cache, &key, sizeof key, NULL, &size) == TARN_NOT_FOUND);
    tarn_cache_get_stats(cache, &later);
    CHECK(later.memory < full.memory + 3 * 8192);
    tarn_cache_destroy(&cache);
}

CHECK_MAIN(CASE(objects_as_the_paper), CASE(bytes_as_the_paper),
           CASE(overwrites_and_deletes_as_the_model), CASE(many_ghosts))
