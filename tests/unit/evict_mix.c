/* SPDX-License-Identifier: Apache-2.0 */
/* The experts' say: where one of them clearly wins, it gets the weight. */
#include "../check.h"
#include "one_version.h"

#include <math.h>

#include "base/rng.h"
#include "cache/cache.h"
#include "evict/learned.h"

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

static bool begin(struct world *w, uint64_t objects, uint64_t memory, bool goal_bytes)
{
    memset(w, 0, sizeof *w);
    if (!version_open(&w->version, NULL))
        return false;
    w->params = (struct tarn_learned_params){.reader = w->version.reader,
                                             .shadows = true,
                                             .ring = 32768,
                                             .seed = 2,
                                             .goal_bytes = goal_bytes};
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

static bool use(struct world *w, uint32_t key, uint64_t charge)
{
    size_t room = 0;
    if (tarn_cache_get(w->cache, &key, sizeof key, NULL, &room) == TARN_OK)
        return true;
    CHECK(tarn_cache_put(w->cache, &key, sizeof key, &(struct tarn_item){.charge = charge}) ==
          TARN_OK);
    return false;
}

/* Turns the network's scores around: it evicts what it should keep. */
static void spoil_network(struct tarn_model *model)
{
    size_t last = 32 * 11 + 11;
    for (size_t i = TARN_NET_PARAMETERS - last; i < TARN_NET_PARAMETERS; i++)
        model->weights[i] = -model->weights[i];
}

static double serve(struct world *w, int requests)
{
    struct tarn_rng rng;
    int hits = 0;
    tarn_rng_seed(&rng, 3);
    for (int i = 0; i < requests; i++) {
        double u = tarn_rng_double(&rng);
        hits += use(w, (uint32_t)(u * u * u * 6000), 1);
    }
    return (double)hits / requests;
}

static void check_weights(const struct world *w)
{
    const struct tarn_mix *mix = &w->learned->mix;
    double least = INFINITY, sum = 0, weight[TARN_EXPERTS];
    for (uint32_t k = 0; k < mix->experts; k++)
        least = mix->misses[k] < least ? mix->misses[k] : least;
    for (uint32_t k = 0; k < mix->experts; k++) {
        weight[k] = (k == 0 ? 3 : 1) * exp(-0.05 * (mix->misses[k] - least));
        sum += weight[k];
    }
    for (uint32_t k = 0; k < mix->experts; k++) {
        /* they are renewed every 64 sampled requests, the misses at each */
        CHECK(fabs(weight[k] / sum - (double)mix->weight[k]) < 0.2);
        CHECK(mix->weight[k] == w->learned->live.weight[k]);
    }
}

static void a_bad_network_loses_its_say(void)
{
    struct world w;
    REQUIRE(begin(&w, 500, 0, false));
    CHECK(w.learned->mix.experts == TARN_EXPERTS && w.learned->live.weight[0] == 1);
    double good = serve(&w, 40000);
    double misses = w.learned->mix.misses[0];
    check_weights(&w);
    end(&w);
    REQUIRE(begin(&w, 500, 0, false));
    spoil_network(w.version.bundle->model);
    double bad = serve(&w, 40000);
    const struct tarn_mix *mix = &w.learned->mix;
    check_weights(&w);
    /* popularity is fixed here: those that count accesses win, and all the more over a bad network */
    CHECK(mix->weight[0] < 1e-6f && mix->weight[1] + mix->weight[2] > 0.99f);
    CHECK(mix->misses[0] > 1.1 * misses);
    for (uint32_t k = 1; k < mix->experts; k++)
        CHECK(mix->misses[k] < mix->misses[0]);
    CHECK(bad > 0.9 * good); /* and so it costs little */
    end(&w);

    /* with nobody beside it, the same network costs a lot */
    REQUIRE(begin(&w, 500, 0, false));
    w.learned->mix.threshold = 0;
    spoil_network(w.version.bundle->model);
    double alone = serve(&w, 40000);
    CHECK(alone < 0.8 * bad);
    end(&w);
}

/* The built-in model twice, each with a fourth of the say, and a heuristic with a sixth. */
static struct tarn_bundle *two_networks(void)
{
    tarn_model *model = NULL;
    struct tarn_bundle *member = NULL, *both = NULL;
    if (tarn_model_load_default(&model, NULL) != TARN_OK || (member = bundle_of(model)) == NULL)
        return NULL;
    const struct tarn_bundle_params params = {
        .shape = model->shape,
        .weights = model->weights,
        .scorer = TARN_SCORER_MIX,
        .experts = TARN_EXPERTS + 1,
        .expert = {0.25f, 0.5f / 3, 0.5f / 3, 0.5f / 3, 0.25f},
        .thresholds = 1,
        .threshold = {TARN_SAY_DEFAULT},
        .members = 2,
        .member = {member},
        .share = {0.5f, 0.5f},
    };
    tarn_bundle_create(&params, &both, NULL);
    tarn_bundle_release(&member);
    tarn_model_destroy(&model);
    return both;
}

static bool begin_two(struct world *w)
{
    memset(w, 0, sizeof *w);
    if (!version_open_with(&w->version, two_networks()))
        return false;
    w->params = (struct tarn_learned_params){
        .reader = w->version.reader, .shadows = true, .members = 1, .ring = 32768, .seed = 2};
    return tarn_cache_create_with(
               &(struct tarn_cache_params){.objects = 500},
               &(struct tarn_cache_hooks){.factory = factory, .factory_context = w},
               &w->cache) == TARN_OK;
}

/* An ensemble's networks are experts each: a miniature cache by its scores alone, ranks, and a say. */
static void networks_compete_too(void)
{
    struct world w;
    REQUIRE(begin_two(&w));
    const struct tarn_mix *mix = &w.learned->mix;
    const struct tarn_evictor *live = &w.learned->live;
    CHECK(mix->experts == TARN_EXPERTS + 1 && live->experts == TARN_EXPERTS + 1);
    CHECK(live->expert[TARN_EXPERTS] == TARN_EXPERT_MEMBER);
    double good = serve(&w, 40000);
    /* with equal networks their caches differ by chance alone */
    CHECK(fabs(mix->misses[TARN_EXPERTS] - mix->misses[0]) < 0.05 * mix->misses[0]);
    CHECK(tarn_ranks_ready(&live->ranks[TARN_EXPERTS]));
    end(&w);

    REQUIRE(begin_two(&w));
    mix = &w.learned->mix;
    live = &w.learned->live;
    spoil_network(w.version.bundle->model); /* the member is good, and what both say together too */
    double one_bad = serve(&w, 40000);
    CHECK(mix->weight[0] < 1e-6f && mix->weight[TARN_EXPERTS] > 1000 * mix->weight[0]);
    CHECK(mix->misses[0] > 1.1 * mix->misses[TARN_EXPERTS]);
    CHECK(live->weight[TARN_EXPERTS] == mix->weight[TARN_EXPERTS]);
    CHECK(one_bad > 0.9 * good);
    end(&w);

    REQUIRE(begin_two(&w));
    mix = &w.learned->mix;
    live = &w.learned->live;
    spoil_network(w.version.bundle->member[0]->model);
    serve(&w, 40000);
    CHECK(mix->weight[TARN_EXPERTS] < 1e-6f);
    CHECK(mix->misses[TARN_EXPERTS] > 1.1 * mix->misses[0]);
    end(&w);
}

static void shadows_see_their_share_of_the_keys(void)
{
    struct world w;
    REQUIRE(begin(&w, 4096, 0, false));
    const struct tarn_mix *mix = &w.learned->mix;
    CHECK(fabsf(mix->share - 256.0f / 4096) < 1e-6f);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    for (int i = 0; i < 60000; i++)
        use(&w, tarn_rng_below(&rng, 6000), 1);
    double sampled = (double)mix->requests / 60000;
    CHECK(sampled > 0.04 && sampled < 0.09);
    for (uint32_t k = 0; k < mix->experts; k++) {
        CHECK_NUMBER(mix->shadow[k].capacity.limit, 256);
        CHECK(mix->shadow[k].capacity.used > 240 && mix->shadow[k].capacity.used <= 256);
        CHECK(mix->shadow[k].table.count == mix->shadow[k].capacity.used);
        CHECK_NUMBER(mix->shadow[k].evictor.period, 4096);
        /* all that they hold are sampled keys */
        for (uint32_t i = 0; i < mix->shadow[k].table.count; i++)
            CHECK(tarn_mix_is_sampled(
                mix, tarn_table_hash(&mix->shadow[k].table,
                                     tarn_table_resident(&mix->shadow[k].table, i))));
    }
    /* what is deleted is deleted there too */
    for (uint32_t key = 0; key < 6000; key++)
        tarn_cache_delete(w.cache, &key, sizeof key);
    for (uint32_t k = 0; k < mix->experts; k++) {
        uint32_t left = mix->shadow[k].table.count; /* only what the live cache had evicted */
        CHECK(left < 200 && mix->shadow[k].capacity.used == left);
    }
    end(&w);
}

static double scores_a_round(struct world *w, int requests)
{
    const struct tarn_evictor *live = &w->learned->live;
    uint64_t scores = live->scores, rounds = live->rounds;
    serve(w, requests);
    return (double)(live->scores - scores) / (double)(live->rounds - rounds);
}

/* Under load something is given up, a little at a time, and taken up again. */
static void relief_gives_up_the_cheapest_first(void)
{
    struct world w;
    REQUIRE(begin(&w, 2000, 0, false));
    struct tarn_mix *mix = &w.learned->mix;
    serve(&w, 40000);
    uint64_t all = mix->threshold, limit = mix->limit, seen = mix->requests;
    CHECK_NUMBER(limit, 256);
    CHECK(mix->shadow[0].capacity.used == limit);
    double full = scores_a_round(&w, 10000), sampled = (double)(mix->requests - seen);

    tarn_learned_relieve(w.learned, TARN_RELIEF_HALF_SHADOWS);
    seen = mix->requests;
    double half = scores_a_round(&w, 10000);
    CHECK(mix->threshold <= all / 2 + 1 && mix->threshold >= all / 2 - (all >> 20));
    CHECK((double)(mix->requests - seen) < 0.8 * sampled && mix->requests > seen);
    CHECK(half > 0.9 * full); /* as many as ever: more, because fewer requests miss by now */
    for (uint32_t k = 0; k < mix->experts; k++)
        CHECK(mix->shadow[k].capacity.used <= limit / 2);

    tarn_learned_relieve(w.learned, TARN_RELIEF_SHORT_ROUNDS);
    double few = scores_a_round(&w, 10000);
    CHECK(few < 0.8 * full);

    tarn_learned_relieve(w.learned, TARN_RELIEF_NO_SHADOWS);
    seen = mix->requests;
    float weight = mix->weight[0];
    serve(&w, 10000);
    CHECK_NUMBER(mix->requests, seen);
    CHECK(mix->weight[0] == weight && w.learned->live.weight[0] == weight);

    tarn_learned_relieve(w.learned, TARN_RELIEF_NONE);
    CHECK(scores_a_round(&w, 20000) > 1.2 * few);
    CHECK(mix->requests > seen && mix->threshold == all);
    for (uint32_t k = 0; k < mix->experts; k++)
        CHECK(mix->shadow[k].capacity.used == limit);
    end(&w);
}

/* What they cost goes by the number of objects alone: few in a small cache, fewer where less is allowed. */
static void what_shadows_cost_bounds_their_keys(void)
{
    static const struct {
        double objects;
        float most_cost;
        double least, most;
    } cases[] = {
        {50, 0, 0.2, 0.3},
        {500, 0, 0.2, 0.3},
        {1000, 0, 0.25, 0.26},
        {4096, 0, 1.0 / 16, 1.0 / 16},
        {65536, 0, 1.0 / 64, 1.0 / 64},
        {500, 0.05f, 0.06, 0.08},
        {500, 0.5f, 0.5, 1},
        {65536, 0.02f, 0.005, 0.007},
    };
    struct world w;
    REQUIRE(begin(&w, 500, 0, false));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tarn_capacity capacity = {.limit = (uint64_t)cases[i].objects};
        struct tarn_mix mix = {0};
        REQUIRE(tarn_mix_start(&mix, &(struct tarn_mix_params){.world = &w.learned->world,
                                                               .capacity = &capacity,
                                                               .objects = cases[i].objects,
                                                               .most_cost = cases[i].most_cost}) ==
                TARN_OK);
        CHECK((double)mix.share >= cases[i].least && (double)mix.share <= cases[i].most);
        CHECK(fabs((double)mix.threshold * 0x1p-64 - (double)mix.share) < 1e-6);
        double limit = cases[i].objects * (double)mix.share;
        CHECK_NUMBER(mix.shadow[0].capacity.limit, (uint64_t)(limit < 16 ? 16 : limit + 1e-3));
        tarn_mix_free(&mix);
    }
    end(&w);
}

static void sizes_count_in_a_cache_of_bytes(void)
{
    for (int goal_bytes = 0; goal_bytes < 2; goal_bytes++) {
        struct world w;
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 6);
        REQUIRE(begin(&w, 0, 400000, goal_bytes));
        for (int i = 0; i < 30000; i++) {
            uint32_t key = tarn_rng_below(&rng, 60) * tarn_rng_below(&rng, 60);
            use(&w, key, key % 2 ? 100 : 3000);
        }
        const struct tarn_mix *mix = &w.learned->mix;
        CHECK_NUMBER(mix->experts, TARN_EXPERTS); /* started by itself, once objects were known */
        CHECK(mix->expert[3] == (goal_bytes ? TARN_EXPERT_LIRS : TARN_EXPERT_GDSF));
        for (uint32_t k = 0; k < mix->experts; k++) {
            const struct tarn_shadow *shadow = &mix->shadow[k];
            uint64_t used = 0;
            for (uint32_t i = 0; i < shadow->table.count; i++) {
                uint16_t size =
                    tarn_table_meta(&shadow->table, tarn_table_resident(&shadow->table, i))->size;
                used += (uint64_t)(exp2(size / 1024.0) + 0.5);
            }
            CHECK(fabs((double)used - (double)shadow->capacity.used) < 0.002 * (double)used);
            CHECK(used > shadow->capacity.limit * 8 / 10 &&
                  shadow->capacity.used <= shadow->capacity.limit);
            CHECK(mix->misses[k] > 0);
        }
        if (!goal_bytes)
            CHECK(mix->shadow[3].evictor.gdsf_floor > 0 &&
                  w.learned->world.gdsf_floor == &mix->shadow[3].evictor.gdsf_floor);
        end(&w);
    }
}

/* By one yardstick: a shadow full of large objects would find each miss cheap, by its own. */
static void the_same_miss_costs_all_the_same(void)
{
    struct world w;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 7);
    REQUIRE(begin(&w, 0, 400000, true));
    for (int i = 0; i < 30000; i++) {
        uint32_t key = tarn_rng_below(&rng, 60) * tarn_rng_below(&rng, 60);
        use(&w, key, key % 2 ? 100 : 3000);
    }
    struct tarn_mix *mix = &w.learned->mix;
    double before[TARN_EXPERTS], mean = (double)mix->shadow[0].evictor.mean_size;
    float least = INFINITY, most = 0;
    for (uint32_t k = 0; k < mix->experts; k++) {
        before[k] = mix->misses[k] * mix->decay;
        least = fminf(least, mix->shadow[k].evictor.mean_size);
        most = fmaxf(most, mix->shadow[k].evictor.mean_size);
    }
    CHECK(least < 0.98f * most); /* or this would show nothing */
    mix->until_update = 100;
    tarn_mix_get(mix, 0x123456789abcdef1u, 10 << 10, 30001); /* 1024 bytes that nobody has */
    for (uint32_t k = 0; k < mix->experts; k++)
        CHECK(fabs(mix->misses[k] - before[k] - 1024 / mean) < 1e-3 * 1024 / mean);
    tarn_mix_put(mix, 0x123456789abcdef2u, 10 << 10, 30001);
    for (uint32_t k = 0; k < mix->experts; k++)
        CHECK(fabs(mix->misses[k] - before[k] - 2 * 1024 / mean) < 1e-3 * 1024 / mean);
    end(&w);
}

CHECK_MAIN(CASE(a_bad_network_loses_its_say), CASE(networks_compete_too),
           CASE(shadows_see_their_share_of_the_keys), CASE(what_shadows_cost_bounds_their_keys),
           CASE(relief_gives_up_the_cheapest_first), CASE(sizes_count_in_a_cache_of_bytes),
           CASE(the_same_miss_costs_all_the_same))
