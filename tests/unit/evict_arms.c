/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arms of a cache: each with its own capacity and its own victims, so that what a candidate says of its
 * objects never takes room from the others. And trials: models side by side in miniature caches.
 */
#include "../check.h"
#include "one_version.h"

#include <math.h>

#include "base/rng.h"
#include "cache/cache.h"
#include "deploy/canary.h"
#include "evict/learned.h"

#define SHARE_STEP 2 /* the step of 25 % */
#ifndef ROLLOUTS
#define ROLLOUTS 2
#endif

struct world {
    tarn_cache *cache;
    struct tarn_learned *learned;
    struct one_version version;
    struct tarn_bundle *candidate;
    struct tarn_learned_params params;
    struct tarn_trial trial;
    struct tarn_rng rng;
    uint32_t scan;
};

static tarn_status factory(void *context, struct tarn_table *table,
                           const struct tarn_capacity *capacity, struct tarn_policy *policy)
{
    struct world *w = context;
    return tarn_learned_create(&w->params, table, capacity, policy, &w->learned);
}

static bool begin(struct world *w, uint64_t objects, uint64_t memory)
{
    memset(w, 0, sizeof *w);
    tarn_rng_seed(&w->rng, 12);
    if (!version_open(&w->version, NULL) ||
        (w->candidate = bundle_of(w->version.bundle->model)) == NULL)
        return false;
    w->params = (struct tarn_learned_params){.reader = w->version.reader, .ring = 32768, .seed = 2};
    return tarn_cache_create_with(
               &(struct tarn_cache_params){.objects = objects, .memory = memory},
               &(struct tarn_cache_hooks){.factory = factory, .factory_context = w},
               &w->cache) == TARN_OK;
}

static void end(struct world *w)
{
    tarn_cache_destroy(&w->cache);
    version_close(&w->version);
    tarn_bundle_release(&w->candidate);
}

static void use(struct world *w, uint32_t key, uint64_t charge)
{
    size_t room = 0;
    if (tarn_cache_get(w->cache, &key, sizeof key, NULL, &room) != TARN_OK)
        CHECK(tarn_cache_put(w->cache, &key, sizeof key, &(struct tarn_item){.charge = charge}) ==
              TARN_OK);
}

/* Popular keys, and those that come once. */
static void serve(struct world *w, int requests)
{
    for (int i = 0; i < requests; i++) {
        double u = tarn_rng_double(&w->rng);
        bool once = tarn_rng_below(&w->rng, 4) == 0;
        use(w, once ? 1000000 + w->scan++ : (uint32_t)(u * u * u * 10000), 1);
    }
}

static void raise_scores(struct tarn_model *model)
{
    for (size_t i = TARN_NET_PARAMETERS - 11; i < TARN_NET_PARAMETERS; i++)
        model->weights[i] += 5 * 0.6931472f;
}

static void turn_scores(struct tarn_model *model)
{
    for (size_t i = TARN_NET_PARAMETERS - 32 * 11 - 11; i < TARN_NET_PARAMETERS; i++)
        model->weights[i] = -model->weights[i];
}

static void prepare(struct world *w)
{
    uint32_t rounds = 0;
    CHECK(tarn_cache_begin_arms(w->cache, tarn_rollout_segment) == TARN_OK);
    while (tarn_cache_prepare_arms(w->cache, 100)) {
        serve(w, 7); /* requests go on meanwhile */
        rounds++;
    }
    CHECK(rounds >= 15);
}

static const struct tarn_capacity *capacity_of(const struct world *w)
{
    return w->learned->live.capacity;
}

/* Sums of what is there, by hand. */
static void check_used(struct world *w)
{
    const struct tarn_capacity *c = capacity_of(w);
    struct tarn_table *table = tarn_cache_table(w->cache);
    struct tarn_cache_segment segment[TARN_TABLE_SEGMENTS];
    uint64_t used[TARN_TABLE_SEGMENTS] = {0}, all = 0, arms[TARN_ARMS] = {0};
    tarn_cache_get_segments(w->cache, segment);
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t slot = tarn_table_resident(table, i);
        float lg = (float)tarn_table_meta(table, slot)->size / 1024;
        uint64_t cost = c->bytes ? (uint64_t)(exp2f(lg) + 0.5f) : 1;
        used[tarn_rollout_segment(tarn_table_hash(table, slot))] += cost;
    }
    for (uint32_t k = 0; k < TARN_TABLE_SEGMENTS; k++) {
        double apart = fabs((double)used[k] - (double)segment[k].used);
        CHECK(apart <= (c->bytes ? 0.002 * (double)used[k] : 0));
        all += segment[k].used;
        arms[k < c->arm_segments ? TARN_ARM_CANARY : TARN_ARM_CONTROL] += segment[k].used;
    }
    CHECK_NUMBER(all, c->used);
    CHECK(c->used <= c->limit);
    if (c->arm_segments == 0)
        return;
    CHECK_NUMBER(arms[0], c->arm_used[0]);
    CHECK_NUMBER(arms[1], c->arm_used[1]);
    CHECK_NUMBER(c->arm_limit[0] + c->arm_limit[1], c->limit);
}

struct figures {
    double canary, control; /* miss ratios */
    double share;           /* of the room, that the canary's arm uses */
};

static double ratio_of(const struct tarn_cache_segment *segment, uint32_t from, uint32_t to)
{
    uint64_t gets = 0, misses = 0;
    for (uint32_t k = from; k < to; k++) {
        gets += segment[k].gets;
        misses += segment[k].misses;
    }
    return (double)misses / (double)gets;
}

/* A canary over a quarter of the keys, on the same requests whatever the candidate. */
static struct figures canary(void (*spoil)(struct tarn_model *))
{
    struct world w;
    struct tarn_cache_segment before[TARN_TABLE_SEGMENTS], after[TARN_TABLE_SEGMENTS];
    struct figures f = {0};
    CHECK(begin(&w, 2000, 0));
    if (spoil != NULL)
        spoil(w.candidate->model);
    serve(&w, 15000);
    prepare(&w);
    uint32_t resident = tarn_cache_table(w.cache)->count;
    CHECK(tarn_learned_split(w.learned, w.candidate) == TARN_OK);
    CHECK(tarn_cache_set_arms(w.cache, SHARE_STEP + 1, tarn_rollout_share(SHARE_STEP)) == TARN_OK);
    CHECK_NUMBER(tarn_cache_table(w.cache)->count, resident);
    const struct tarn_capacity *c = capacity_of(&w);
    uint64_t limit = c->arm_limit[TARN_ARM_CANARY];
    CHECK(limit > 400 && limit < 600);
    /* what the live model had listed before is no longer its to evict */
    uint64_t used = c->arm_used[TARN_ARM_CANARY];
    for (uint32_t key = 2000000; key < 2001000; key++)
        if (tarn_rollout_segment(tarn_cache_hash(&key, sizeof key)) > SHARE_STEP)
            use(&w, key, 1);
    CHECK_NUMBER(c->arm_used[TARN_ARM_CANARY], used);
    serve(&w, 3000);
    tarn_cache_get_segments(w.cache, before);
    for (int i = 0; i < 160; i++) {
        serve(&w, 500);
        CHECK(c->arm_used[TARN_ARM_CANARY] <= limit);
        CHECK(c->arm_used[TARN_ARM_CONTROL] <= c->limit - limit);
    }
    check_used(&w);
    CHECK(w.learned->canary->rounds > 100);
    tarn_cache_get_segments(w.cache, after);
    for (int k = 0; k < TARN_TABLE_SEGMENTS; k++) {
        after[k].gets -= before[k].gets;
        after[k].misses -= before[k].misses;
    }
    f.canary = ratio_of(after, 0, SHARE_STEP + 1);
    f.control = ratio_of(after, SHARE_STEP + 1, TARN_TABLE_SEGMENTS);
    f.share = (double)c->arm_used[TARN_ARM_CANARY] / (double)c->limit;
    resident = tarn_cache_table(w.cache)->count;
    tarn_cache_end_arms(w.cache);
    tarn_learned_merge(w.learned);
    CHECK_NUMBER(tarn_cache_table(w.cache)->count, resident);
    serve(&w, 3000);
    CHECK(c->used == c->limit && c->arm_segments == 0);
    end(&w);
    return f;
}

static void a_boaster_gains_nothing(void)
{
    struct figures same = canary(NULL), boaster = canary(raise_scores), bad = canary(turn_scores);
    printf("# canary / control: the same %.4f / %.4f, +5 on every score %.4f / %.4f, turned %.4f / "
           "%.4f\n",
           same.canary, same.control, boaster.canary, boaster.control, bad.canary, bad.control);
    CHECK(fabs(boaster.share - same.share) < 0.002); /* of the room */
    CHECK(boaster.canary > 0.99 * same.canary);      /* and of hits */
    CHECK(fabs(boaster.control - same.control) < 0.01 * same.control);
    /* one that is bad harms its own arm alone */
    CHECK(bad.canary > 1.05 * same.canary);
    /* but for what both see of the cache as a whole: averages and cohorts are among the features */
    CHECK(fabs(bad.control - same.control) < 0.015 * same.control);
    CHECK(fabs(bad.share - same.share) < 0.002);
}

/* Segments of the rollout, a step's arm and its control. */
static void fill_counts(const struct tarn_cache_segment *now,
                        const struct tarn_cache_segment *before,
                        struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS])
{
    memset(counts, 0, TARN_ROLLOUT_STEPS * sizeof *counts);
    for (int step = 0; step < TARN_ROLLOUT_STEPS; step++)
        for (int k = 0; k < TARN_TABLE_SEGMENTS; k++) {
            uint64_t gets = now[k].gets - before[k].gets, misses = now[k].misses - before[k].misses;
            *(k <= step ? &counts[step].requests : &counts[step].control_requests) += gets;
            *(k <= step ? &counts[step].misses : &counts[step].control_misses) += misses;
        }
}

/* The whole of a rollout on a real cache, all steps with wide margins, so that it doesn't take long. */
static tarn_rollout_verdict roll_out(struct world *w, const struct tarn_rollout_params *params,
                                     uint32_t *step)
{
    struct tarn_rollout r;
    struct tarn_cache_segment now[TARN_TABLE_SEGMENTS], before[TARN_TABLE_SEGMENTS];
    struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS];
    tarn_rollout_verdict verdict = TARN_ROLLOUT_CONTINUE;
    CHECK(tarn_rollout_init(&r, params) == TARN_OK);
    prepare(w);
    CHECK(tarn_learned_split(w->learned, w->version.bundle) == TARN_OK);
    CHECK(tarn_cache_set_arms(w->cache, 1, tarn_rollout_share(0)) == TARN_OK);
    tarn_cache_get_segments(w->cache, before);
    while (verdict <= TARN_ROLLOUT_ADVANCE) {
        bool calibrated = !r.calibrating;
        serve(w, 2000);
        tarn_cache_get_segments(w->cache, now);
        fill_counts(now, before, counts);
        memcpy(before, now, sizeof before);
        verdict = tarn_rollout_feed(&r, counts);
        if (!calibrated && !r.calibrating)
            CHECK(tarn_learned_split(w->learned, w->candidate) == TARN_OK);
        if (verdict == TARN_ROLLOUT_ADVANCE)
            CHECK(tarn_cache_set_arms(w->cache, r.step + 1, tarn_rollout_share(r.step)) == TARN_OK);
    }
    tarn_cache_end_arms(w->cache);
    tarn_learned_merge(w->learned);
    *step = r.step;
    return verdict;
}

static void rollouts_of_a_real_cache(void)
{
    static const struct tarn_rollout_params params = {
        .margin = {0.4, 0.25, 0.15}, .block = 64, .settle = 200};
    struct world w;
    uint32_t step;
    int live = 0, rejected = 0;
    REQUIRE(begin(&w, 2000, 0));
    serve(&w, 15000);
    for (int i = 0; i < ROLLOUTS; i++) {
        tarn_rollout_verdict verdict = roll_out(&w, &params, &step);
        live += verdict == TARN_ROLLOUT_LIVE;
        rejected += verdict == TARN_ROLLOUT_REJECT;
    }
    printf("# the same model, real arms: %d of %d live, %d rejected; %llu requests\n", live,
           ROLLOUTS, rejected, (unsigned long long)tarn_cache_now(w.cache));
    CHECK(rejected <= ROLLOUTS / 20 && live >= ROLLOUTS * 9 / 10);
    turn_scores(w.candidate->model);
    live = 0;
    for (int i = 0; i < ROLLOUTS; i++)
        live += roll_out(&w, &params, &step) == TARN_ROLLOUT_LIVE;
    CHECK_NUMBER(live, 0);
    end(&w);
}

static void bytes_add_up(void)
{
    struct world w;
    REQUIRE(begin(&w, 0, 200000));
    CHECK(tarn_cache_set_arms(w.cache, 1, 0.01) == TARN_BUSY);
    for (int phase = 0; phase < 5; phase++) {
        if (phase == 1) {
            CHECK(tarn_cache_begin_arms(w.cache, tarn_rollout_segment) == TARN_OK);
            CHECK(tarn_cache_set_arms(w.cache, 1, 0.01) == TARN_BUSY);
            while (tarn_cache_prepare_arms(w.cache, 10))
                continue;
            CHECK(tarn_cache_set_arms(w.cache, 0, 0.01) == TARN_INVALID);
            CHECK(tarn_cache_set_arms(w.cache, 4, 0.01) == TARN_INVALID);
            CHECK(tarn_cache_set_arms(w.cache, 1, 1) == TARN_INVALID);
            CHECK(tarn_learned_split(w.learned, w.candidate) == TARN_OK);
            check_used(&w);
        }
        if (phase > 0 && phase < 4)
            CHECK(tarn_cache_set_arms(w.cache, (uint32_t)phase,
                                      tarn_rollout_share((uint32_t)phase - 1)) == TARN_OK);
        if (phase == 4) {
            tarn_cache_end_arms(w.cache);
            tarn_learned_merge(w.learned);
        }
        for (int i = 0; i < 20000; i++) {
            uint32_t key = tarn_rng_below(&w.rng, 60) * tarn_rng_below(&w.rng, 60);
            uint64_t charge = 1u << tarn_rng_below(&w.rng, i % 500 == 0 ? 16 : 12);
            if (tarn_rng_below(&w.rng, 20) == 0)
                tarn_cache_delete(w.cache, &key, sizeof key);
            else if (tarn_rng_below(&w.rng, 10) == 0) /* overwritten, perhaps larger */
                CHECK(tarn_cache_put(w.cache, &key, sizeof key,
                                     &(struct tarn_item){.charge = charge}) == TARN_OK);
            else
                use(&w, key, charge);
            if (i % 1000 == 0 && phase > 0 && phase < 4)
                check_used(&w);
            const struct tarn_capacity *c = capacity_of(&w);
            CHECK(c->used <= c->limit);
            if (phase ==
                3) /* where each object fits into the smaller arm, no arm leans on the other */
                CHECK(c->arm_used[0] <= c->arm_limit[0] && c->arm_used[1] <= c->arm_limit[1]);
        }
    }
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(w.cache, &stats);
    CHECK_NUMBER(stats.charged, capacity_of(&w)->used);
    CHECK(stats.rejected == 0);
    end(&w);
}

/* The arms without a candidate: each still has its own. */
static void one_evictor_may_serve_both(void)
{
    struct world w;
    REQUIRE(begin(&w, 2000, 0));
    serve(&w, 10000);
    prepare(&w);
    CHECK(tarn_cache_set_arms(w.cache, 2, tarn_rollout_share(1)) == TARN_OK);
    uint64_t limit = capacity_of(&w)->arm_limit[TARN_ARM_CANARY];
    serve(&w, 10000);
    check_used(&w);
    CHECK_NUMBER(capacity_of(&w)->arm_used[TARN_ARM_CANARY], limit);
    CHECK_NUMBER(capacity_of(&w)->arm_used[TARN_ARM_CONTROL], 2000 - limit);
    end(&w);
    /* a policy that can't */
    tarn_cache *cache = NULL;
    REQUIRE(tarn_cache_create(&(struct tarn_cache_params){.objects = 10}, &cache) == TARN_OK);
    CHECK(tarn_cache_begin_arms(cache, tarn_rollout_segment) == TARN_UNSUPPORTED);
    tarn_cache_destroy(&cache);
}

/* ---- trials ---- */

static struct tarn_trial_params trial_params(struct world *w, double objects)
{
    return (struct tarn_trial_params){
        .world = &w->learned->world,
        .capacity = capacity_of(w),
        .objects = objects,
        .candidate = w->version.bundle,
        .base = NULL,
        .most_cost = 1,
        .seed = 5,
    };
}

static void a_trial_tells_them_apart(void)
{
    struct world w;
    REQUIRE(begin(&w, 4000, 0));
    struct tarn_trial_params params = trial_params(&w, 4000);
    REQUIRE(tarn_trial_init(&w.trial, &params) == TARN_OK);
    CHECK(fabsf(w.trial.share - 0.256f) < 1e-6f);
    w.learned->trial = &w.trial;
    serve(&w, 2000);
    struct tarn_trial_counts cold = tarn_trial_take(&w.trial);
    CHECK(!w.trial.warm && cold.requests == 0);
    serve(&w, 20000);
    CHECK(w.trial.warm);
    tarn_trial_take(&w.trial);
    serve(&w, 30000);
    struct tarn_trial_counts same = tarn_trial_take(&w.trial);
    CHECK(same.requests > 5000 && same.requests < 10000);
    CHECK(fabs((double)same.misses - (double)same.base_misses) < 0.03 * (double)same.misses);
    CHECK(same.lru_misses > same.base_misses); /* a quarter of the keys come once */
    /* another model takes over in a warm cache: it shows soon */
    turn_scores(w.candidate->model);
    tarn_trial_set(&w.trial, TARN_TRIAL_CANDIDATE, w.candidate);
    serve(&w, 16000);
    struct tarn_trial_counts bad = tarn_trial_take(&w.trial);
    printf("# %llu requests tried: %llu misses, base %llu, LRU %llu; turned: %llu of %llu, base "
           "%llu\n",
           (unsigned long long)same.requests, (unsigned long long)same.misses,
           (unsigned long long)same.base_misses, (unsigned long long)same.lru_misses,
           (unsigned long long)bad.misses, (unsigned long long)bad.requests,
           (unsigned long long)bad.base_misses);
    CHECK((double)bad.misses > 1.05 * (double)bad.base_misses);
    /* what the cache deletes is gone there too */
    for (uint32_t key = 0; key < 10000; key++)
        tarn_cache_delete(w.cache, &key, sizeof key);
    CHECK(w.trial.lru.capacity.used < 1024 && w.trial.shadow[0].capacity.used < 1024);
    CHECK(w.trial.lru.capacity.used == w.trial.lru.table.count);
    CHECK(tarn_trial_memory(&w.trial) > 2 * 1024 * sizeof(struct tarn_meta));
    tarn_trial_free(&w.trial);
    tarn_trial_free(&w.trial);
    end(&w);
}

/* One model for both: they do the same for ever. Another one: nothing but it makes the difference. */
static void twins_differ_by_their_models_only(void)
{
    struct world w;
    REQUIRE(begin(&w, 4000, 0));
    struct tarn_trial_params params = trial_params(&w, 4000);
    params.candidate = NULL;
    REQUIRE(tarn_trial_init(&w.trial, &params) == TARN_OK);
    w.learned->trial = &w.trial;
    serve(&w, 30000);
    CHECK(w.trial.warm);
    tarn_trial_twin(&w.trial, TARN_TRIAL_BASE, w.version.bundle);
    serve(&w, 40000);
    struct tarn_trial_counts same = tarn_trial_take(&w.trial);
    CHECK(same.requests > 5000 && same.misses == same.base_misses);
    CHECK_NUMBER(w.trial.shadow[0].capacity.used, w.trial.shadow[1].capacity.used);
    CHECK_NUMBER(w.trial.shadow[0].evictor.rounds, w.trial.shadow[1].evictor.rounds);
    turn_scores(w.candidate->model);
    tarn_trial_twin(&w.trial, TARN_TRIAL_CANDIDATE, w.candidate);
    serve(&w, 16000);
    struct tarn_trial_counts bad = tarn_trial_take(&w.trial);
    CHECK((double)bad.misses > 1.03 * (double)bad.base_misses);
    tarn_trial_free(&w.trial);
    end(&w);
}

static void its_cost_is_bounded(void)
{
    struct world w;
    REQUIRE(begin(&w, 4000, 0));
    struct tarn_trial_params params = trial_params(&w, 4000);
    params.most_cost = 0.15f;
    REQUIRE(tarn_trial_init(&w.trial, &params) == TARN_OK);
    CHECK(fabsf(w.trial.share - 0.05f) < 1e-6f);
    int sampled = 0;
    for (uint64_t i = 0; i < 100000; i++)
        sampled += tarn_trial_is_sampled(&w.trial, i * 0x9e3779b97f4a7c15u);
    CHECK(abs(sampled - 5000) < 300);
    tarn_trial_free(&w.trial);
    params.most_cost = 0.01f; /* 13 objects tell nothing */
    CHECK(tarn_trial_init(&w.trial, &params) == TARN_UNSUPPORTED);
    tarn_trial_free(&w.trial);
    end(&w);
}

CHECK_MAIN(CASE(a_boaster_gains_nothing), CASE(rollouts_of_a_real_cache), CASE(bytes_add_up),
           CASE(one_evictor_may_serve_both), CASE(a_trial_tells_them_apart),
           CASE(twins_differ_by_their_models_only), CASE(its_cost_is_bounded))
