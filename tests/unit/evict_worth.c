/* SPDX-License-Identifier: Apache-2.0 */
/* The goal of the least sum of miss costs: means, experts, the weight of a miss, and what is evicted. */
#include "../check.h"
#include "one_version.h"

#include <math.h>

#include "base/rng.h"
#include "cache/cache.h"
#include "deploy/canary.h"
#include "evict/learned.h"
#include "evict/trial.h"

struct world {
    tarn_cache *cache;
    struct tarn_learned *learned;
    struct one_version version;
    struct tarn_learned_params params;
};

static tarn_status factory(void *context, struct tarn_table *table,
                           const struct tarn_capacity *capacity, struct tarn_policy *policy)
{
    struct world *w = context;
    return tarn_learned_create(&w->params, table, capacity, policy, &w->learned);
}

static bool begin(struct world *w, uint64_t objects, uint64_t memory, bool goal_cost)
{
    memset(w, 0, sizeof *w);
    if (!version_open(&w->version, NULL))
        return false;
    w->params = (struct tarn_learned_params){.reader = w->version.reader,
                                             .shadows = true,
                                             .ring = 32768,
                                             .seed = 2,
                                             .goal_cost = goal_cost};
    return tarn_cache_create_with(
               &(struct tarn_cache_params){.objects = objects, .memory = memory},
               &(struct tarn_cache_hooks){.factory = factory, .factory_context = w},
               &w->cache) == TARN_OK;
}

static void end(struct world *w)
{
    tarn_cache_destroy(&w->cache);
    version_close(&w->version);
}

static bool use(struct world *w, uint32_t key, uint64_t charge, float cost)
{
    size_t room = 0;
    if (tarn_cache_get(w->cache, &key, sizeof key, NULL, &room) == TARN_OK)
        return true;
    CHECK(tarn_cache_put(w->cache, &key, sizeof key,
                         &(struct tarn_item){.charge = charge, .cost_us = cost}) == TARN_OK);
    return false;
}

static const struct tarn_meta *meta_of(struct world *w, uint32_t key)
{
    struct tarn_table *table = tarn_cache_table(w->cache);
    uint32_t slot = tarn_index_find(table->index, tarn_cache_hash(&key, sizeof key), NULL, NULL);
    return slot != TARN_NONE ? tarn_table_meta(table, slot) : NULL;
}

static void means_are_of_what_is_known(void)
{
    struct tarn_costs costs = {0};
    CHECK(costs.seen == 0 && tarn_costs_weight(&costs, 40) == 1 && tarn_costs_lg(&costs, 0) == 0);
    tarn_costs_note(&costs, 0); /* unknown: teaches nothing */
    CHECK_NUMBER(costs.seen, 0);
    for (int i = 0; i < 3000; i++)
        tarn_costs_note(&costs, tarn_cost_to_meta(i % 2 ? 64.0f : 1024.0f));
    float low = tarn_cost_from_meta_lg(tarn_cost_to_meta(64));
    float high = tarn_cost_from_meta_lg(tarn_cost_to_meta(1024));
    CHECK(fabsf(costs.mean_lg - (low + high) / 2) < 0.01f);
    CHECK(fabsf(costs.mean - (exp2f(low) + exp2f(high)) / 2) < 0.01f * costs.mean);
    CHECK(tarn_costs_lg(&costs, 0) == costs.mean_lg);
    CHECK(tarn_costs_lg(&costs, tarn_cost_to_meta(64)) == low);
    CHECK(tarn_costs_weight(&costs, 0) == 1);
    CHECK(tarn_costs_weight(&costs, TARN_COST_MOST) == TARN_COST_WEIGHT_MOST);
    CHECK(fabsf(tarn_costs_weight(&costs, tarn_cost_to_meta(1024)) - exp2f(high) / costs.mean) <
          1e-3f);
}

/* Uniform requests for 1,000 objects of which every tenth costs 64 times as much: 300 have room. */
static double dear_share(bool goal_cost)
{
    struct world w;
    struct tarn_rng rng;
    uint32_t dear = 0, count = 0;
    tarn_rng_seed(&rng, 6);
    CHECK(begin(&w, 300, 0, goal_cost));
    if (w.cache == NULL)
        return -1;
    for (int i = 0; i < 40000; i++) {
        uint32_t key = tarn_rng_below(&rng, 1000);
        use(&w, key, 1, key % 10 ? 100.0f : 6400.0f);
    }
    for (uint32_t key = 0; key < 1000; key++) {
        const struct tarn_meta *meta = meta_of(&w, key);
        count += meta != NULL;
        dear += meta != NULL && key % 10 == 0;
    }
    CHECK_NUMBER(count, 300);
    const struct tarn_mix *mix = &w.learned->mix;
    CHECK(mix->expert[3] == (goal_cost ? TARN_EXPERT_GDSF : TARN_EXPERT_LIRS));
    CHECK((w.learned->world.costs.seen > 0) == goal_cost);
    if (goal_cost)
        for (uint32_t i = 0; i < mix->shadow[0].table.count; i++)
            CHECK(tarn_table_meta(&mix->shadow[0].table,
                                  tarn_table_resident(&mix->shadow[0].table, i))
                      ->cost > 0);
    end(&w);
    return dear / 100.0;
}

static void what_is_dear_stays(void)
{
    double requests = dear_share(false), cost = dear_share(true);
    printf("# of the dear ones are resident: %.2f, with their costs counted %.2f\n", requests,
           cost);
    CHECK(requests < 0.5 && cost > 0.9);
}

/* A miss weighs its cost: known at a hit of the live cache, or when the object is stored. */
static void misses_weigh_their_cost(void)
{
    struct world w;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 7);
    REQUIRE(begin(&w, 300, 0, true));
    for (int i = 0; i < 20000; i++) {
        uint32_t key = tarn_rng_below(&rng, 1000);
        use(&w, key, 1, key % 10 ? 100.0f : 3200.0f);
    }
    struct tarn_mix *mix = &w.learned->mix;
    struct tarn_world *world = &w.learned->world;
    static const float us[] = {0, 100, 3200};
    for (int i = 0; i < 3; i++) {
        const struct tarn_meta told = {.cost = tarn_cost_to_meta(us[i]) & TARN_COST_MOST};
        double weight = us[i] > 0 ? (double)us[i] / (double)world->costs.mean : 1;
        double before[TARN_EXPERTS];
        mix->until_update = 100;
        for (uint32_t k = 0; k < TARN_EXPERTS; k++)
            before[k] = mix->misses[k] * mix->decay;
        world->told = NULL;
        tarn_mix_get(mix, 0x123456789abcdef1u + (uint64_t)i, -1, 20001);
        for (uint32_t k = 0; k < TARN_EXPERTS; k++)
            CHECK(fabs(mix->misses[k] - before[k]) < 1e-9); /* not known yet */
        world->told = &told;
        tarn_mix_put(mix, 0x123456789abcdef1u + (uint64_t)i, 0, 20001);
        for (uint32_t k = 0; k < TARN_EXPERTS; k++)
            CHECK(fabs(mix->misses[k] - before[k] - weight) < 0.15 * weight);
        world->told = NULL;
    }
    end(&w);
}

/* An overwrite brings another cost; one without takes it away. GreedyDual's number follows at once. */
static void overwrites_change_the_cost(void)
{
    struct world w;
    uint32_t key = 1;
    REQUIRE(begin(&w, 300, 0, true));
    struct tarn_item item = {.charge = 1, .cost_us = 10};
    for (uint32_t k = 2; k < 100; k++)
        use(&w, k, 1, 50);
    CHECK(tarn_cache_put(w.cache, &key, sizeof key, &item) == TARN_OK);
    float cheap = meta_of(&w, key)->priority;
    item.cost_us = 100000;
    CHECK(tarn_cache_put(w.cache, &key, sizeof key, &item) == TARN_OK);
    CHECK_NUMBER(meta_of(&w, key)->cost, tarn_cost_to_meta(100000));
    CHECK(meta_of(&w, key)->priority > 1000 * cheap);
    item.cost_us = 0;
    CHECK(tarn_cache_put(w.cache, &key, sizeof key, &item) == TARN_OK);
    CHECK_NUMBER(meta_of(&w, key)->cost, 0);
    CHECK(meta_of(&w, key)->priority < 100 * cheap); /* the mean's */
    end(&w);
}

static void bad_costs_are_harmless(void)
{
    static const float bad[] = {NAN, -NAN, -1, -INFINITY, INFINITY, 3.4e38f, 1e-40f, -0.0f, 0};
    for (int bytes = 0; bytes < 2; bytes++) {
        struct world w;
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 8);
        REQUIRE(begin(&w, bytes ? 0 : 200, bytes ? 20000 : 0, true));
        for (int i = 0; i < 30000; i++) {
            uint32_t key = tarn_rng_below(&rng, 30) * tarn_rng_below(&rng, 30);
            use(&w, key, key % 2 ? 10 : 300, bad[key % 9]);
        }
        const struct tarn_mix *mix = &w.learned->mix;
        float sum = 0;
        for (uint32_t k = 0; k < TARN_EXPERTS; k++) {
            CHECK(isfinite(mix->misses[k]) && mix->weight[k] >= 0);
            sum += mix->weight[k];
        }
        CHECK(fabsf(sum - 1) < 1e-5f);
        CHECK(isfinite(w.learned->world.costs.mean) && isfinite(w.learned->world.costs.mean_lg));
        CHECK(isfinite(mix->shadow[3].evictor.gdsf_floor));
        end(&w);
    }
}

/* The watch's counts: costs as whole numbers that are right on the mean, and the same for all three. */
static void the_trial_weighs_by_cost(void)
{
    struct world w;
    struct tarn_trial trial;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 9);
    REQUIRE(begin(&w, 1000, 0, true));
    struct tarn_trial_params params = {
        .world = &w.learned->world,
        .capacity = w.learned->live.capacity,
        .objects = 1000,
        .most_cost = 1,
        .seed = 1,
    };
    REQUIRE(tarn_trial_init(&trial, &params) == TARN_OK);
    w.learned->trial = &trial;
    for (int i = 0; i < 20000; i++)
        use(&w, tarn_rng_below(&rng, 1500), 1, 100);
    CHECK(trial.warm);
    tarn_trial_take(&trial);
    /* keys that nobody has: 1 in 10 at 10 mean costs, later ones at none */
    double before = (double)w.learned->world.costs.mean, expected = 0;
    for (uint32_t i = 0; i < 4000; i++) {
        float cost = i % 10 ? 50.0f : 500.0f;
        uint32_t key = 100000 + i;
        bool sampled = tarn_trial_is_sampled(&trial, tarn_cache_hash(&key, sizeof key));
        expected +=
            sampled ? (double)tarn_costs_weight(&w.learned->world.costs, tarn_cost_to_meta(cost))
                    : 0;
        use(&w, key, 1, cost);
    }
    struct tarn_trial_counts counts = tarn_trial_take(&trial);
    printf("# weights: %.0f expected, %llu counted over %llu (mean cost %.1f before)\n", expected,
           (unsigned long long)counts.misses, (unsigned long long)counts.requests, before);
    CHECK(counts.requests > 1000);
    CHECK(fabs((double)counts.misses - expected) < 0.03 * expected);
    CHECK(counts.misses == counts.base_misses && counts.misses == counts.lru_misses);
    /* a lookup that nobody stores counts one */
    for (uint32_t i = 0; i < 2000; i++) {
        size_t room = 0;
        uint32_t key = 200000 + i;
        tarn_cache_get(w.cache, &key, sizeof key, NULL, &room);
    }
    counts = tarn_trial_take(&trial);
    CHECK(counts.requests > 300 && counts.requests - counts.misses <= 1);
    w.learned->trial = NULL;
    tarn_trial_free(&trial);
    end(&w);
}

/* Arms are judged by what their misses cost: what nobody had asked for is none. */
static void stores_alone_cost_nothing(void)
{
    struct world w;
    REQUIRE(begin(&w, 1000, 0, true));
    for (uint32_t key = 0; key < 3000; key++)
        use(&w, key, 1, 100);
    tarn_cache_table(w.cache)->segment = tarn_rollout_segment;
    double *cost = w.learned->segment_cost, sum = 0;
    for (uint32_t key = 10000; key < 12000; key++)
        CHECK(tarn_cache_put(w.cache, &key, sizeof key,
                             &(struct tarn_item){.charge = 1, .cost_us = 100}) == TARN_OK);
    for (int k = 0; k < TARN_TABLE_SEGMENTS; k++)
        sum += cost[k];
    CHECK_NUMBER(sum, 0);
    for (uint32_t key = 20000; key < 22000; key++)
        use(&w, key, 1, 100);
    for (int k = 0; k < TARN_TABLE_SEGMENTS; k++)
        sum += cost[k];
    CHECK(fabs(sum - 2000) < 40);
    tarn_cache_table(w.cache)->segment = NULL;
    end(&w);
}

CHECK_MAIN(CASE(stores_alone_cost_nothing), CASE(means_are_of_what_is_known),
           CASE(what_is_dear_stays), CASE(misses_weigh_their_cost),
           CASE(overwrites_change_the_cost), CASE(bad_costs_are_harmless),
           CASE(the_trial_weighs_by_cost))
