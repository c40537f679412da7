/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in of a model from elsewhere: first beside the live one in miniature caches, then on a growing
 * share of the keys with room and victims of its own. The miniature caches and the arms both judge: either
 * may reject, either may pass a step once the arm has had time to fill with what the model keeps.
 */
#include "engine_private.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

#define AT_ONCE        4096 /* residents told apart in one hold of the cache's lock */
#define PATIENCE       100000 /* requests without a full miniature cache, and these times the objects */
#define PATIENCE_SHARE 8
#define LEAST_OF_STEP  128 /* requests of an arm before its step is passed */
#define ROUGH_BLOCK    64  /* requests of an arm, and how many of them calibrate it, */
#define ROUGH_BLOCKS   32  /* where miniature caches say the rest; */
#define COST_BLOCKS    64  /* where misses differ in cost, usual blocks and so many of them */

/* Both judge, so each has half of what may go wrong. */
#define HALF_ALPHA 0.005
#define HALF_BETA  0.01

/* NULL: nobody is asked, and the miniature caches follow what is live. Returns what one of them holds. */
static uint32_t compare_with(struct tarn_engine *e, const struct tarn_bundle *candidate)
{
    struct tarn_versions *v = &e->versions;
    uint32_t resident = 0;
    tarn_cache_lock(e->cache);
    if (candidate != NULL)
        v->opinion = (struct tarn_opinion){.bundle = candidate};
    e->learned->world.opinion = candidate != NULL ? &v->opinion : NULL;
    if (v->has_trial) {
        tarn_trial_set(&v->trial, TARN_TRIAL_BASE, NULL);
        tarn_trial_twin(&v->trial, TARN_TRIAL_CANDIDATE, candidate);
        resident = v->trial.shadow[TARN_TRIAL_CANDIDATE].table.count;
    }
    tarn_cache_unlock(e->cache);
    return resident;
}

static uint64_t requests_of(struct tarn_engine *e)
{
    tarn_cache_lock(e->cache);
    uint64_t now = tarn_cache_now(e->cache);
    tarn_cache_unlock(e->cache);
    return now;
}

void tarn_versions_rollout_begin(struct tarn_engine *e, struct tarn_bundle *offered)
{
    struct tarn_versions *v = &e->versions;
    tarn_versions_watch_look(e); /* which starts the miniature caches, where it can be */
    tarn_versions_watch_suspend(e);
    v->offered = offered;
    v->end[0] = '\0';
    v->step = 0;
    v->by_shadows = false;
    memset(v->counted, 0, sizeof v->counted);
    v->offered_at = requests_of(e);
    memset(&v->arms, 0, sizeof v->arms);
    v->phase = v->has_trial ? TARN_ROLLOUT_SHADOW : TARN_ROLLOUT_PREPARE;
    tarn_watch_init(&v->shadow, &(struct tarn_watch_params){
                                    .resident = compare_with(e, offered),
                                    .alpha = HALF_ALPHA,
                                });
}

/* Under the cache's lock. */
static void end_arms(struct tarn_engine *e)
{
    if (e->versions.phase < TARN_ROLLOUT_PREPARE)
        return;
    tarn_cache_end_arms(e->cache);
    tarn_learned_merge(e->learned);
}

static void finish(struct tarn_engine *e, const char *text)
{
    struct tarn_versions *v = &e->versions;
    v->phase = TARN_ROLLOUT_IDLE;
    snprintf(v->end, sizeof v->end, "%.95s", text);
    tarn_log(TARN_LOG_INFO, "engine: the rollout is over: %s", text);
    compare_with(e, NULL);
}

void tarn_versions_rollout_stop(struct tarn_engine *e, const char *text)
{
    struct tarn_versions *v = &e->versions;
    if (v->phase == TARN_ROLLOUT_IDLE)
        return;
    tarn_cache_lock(e->cache);
    end_arms(e);
    tarn_cache_unlock(e->cache);
    finish(e, text);
    tarn_bundle_release(&v->offered);
    tarn_versions_watch_resume(e);
}

static void reject(struct tarn_engine *e, const struct tarn_change *figures, const char *text)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_error error = {0};
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_CANARY, text);
    if (figures != NULL) {
        why.metrics = figures->metrics;
        memcpy(why.metric, figures->metric, sizeof why.metric);
    }
    tarn_cache_lock(e->cache);
    end_arms(e);
    tarn_cache_unlock(e->cache);
    finish(e, text);
    struct tarn_bundle *failed = tarn_bundle_hold(v->offered);
    if (tarn_slot_reject(v->slot, v->offered, &why, NULL, &error) == TARN_OK) {
        v->offered = NULL; /* the slot has that reference */
        tarn_bundle_release(&v->failed);
        v->failed = failed;
    } else {
        tarn_log(TARN_LOG_WARNING, "engine: a rejected model isn't kept: %s", error.message);
        tarn_bundle_release(&failed);
        tarn_bundle_release(&v->offered);
    }
    v->unflushed = true;
    tarn_versions_watch_resume(e);
}

/* What was tried, beside the networks of tags as they are by now: those have learnt on meanwhile. */
static tarn_status with_tags_of_now(struct tarn_engine *e, struct tarn_bundle **bundle,
                                    struct tarn_error *error)
{
    struct tarn_versions *v = &e->versions;
    const struct tarn_bundle *offered = v->offered;
    struct tarn_bundle_params params;
    if (memcmp(offered->tagged, v->live->tagged, sizeof offered->tagged) == 0) {
        *bundle = tarn_bundle_hold(v->offered);
        return TARN_OK;
    }
    tarn_versions_params(e, offered->model->weights, offered->model, &params);
    memcpy(params.expert, offered->expert, params.experts * sizeof *params.expert);
    memcpy(params.tagged, v->live->tagged, sizeof params.tagged);
    tarn_status status = tarn_bundle_create(&params, bundle, error);
    if (status == TARN_OK && e->sets.offered_hash == offered->hash)
        e->sets.offered_hash = (*bundle)->hash;
    return status;
}

/* The candidate governs all: in one hold of the lock, so that no round lies between. */
static void go_live(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_error error = {0};
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_IMPORTED, "passed its rollout");
    struct tarn_bundle *bundle = NULL;
    tarn_status status = with_tags_of_now(e, &bundle, &error);
    tarn_cache_lock(e->cache);
    if (status == TARN_OK)
        status = tarn_slot_swap(v->slot, bundle, 0, &why, NULL, &error);
    end_arms(e);
    tarn_cache_unlock(e->cache);
    finish(e, status == TARN_OK ? "it is live" : error.message);
    tarn_bundle_release(&v->offered);
    if (status == TARN_OK) {
        tarn_versions_changed(e, TARN_VERSION_BROUGHT);
    } else {
        tarn_bundle_release(&bundle);
        tarn_versions_watch_resume(e);
    }
}

/* ---- the phases ---- */

static struct tarn_watch_counts take_trial(struct tarn_engine *e)
{
    tarn_cache_lock(e->cache);
    struct tarn_trial_counts c = tarn_trial_take(&e->versions.trial);
    tarn_cache_unlock(e->cache);
    return (struct tarn_watch_counts){c.requests, c.misses, c.base_misses, c.lru_misses};
}

static uint32_t objects_of(struct tarn_engine *e)
{
    tarn_cache_lock(e->cache);
    uint32_t count = tarn_cache_table(e->cache)->count;
    tarn_cache_unlock(e->cache);
    return count;
}

static void look_at_shadows(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_watch_counts counts = take_trial(e);
    if (counts.requests == 0) {
        /* a cache that doesn't fill evicts nothing: there is nothing to compare before the arms */
        uint64_t patience = PATIENCE + PATIENCE_SHARE * objects_of(e);
        if (v->shadow.total.requests == 0 && requests_of(e) - v->offered_at > patience)
            v->phase = TARN_ROLLOUT_PREPARE;
        return;
    }
    switch (tarn_watch_feed(&v->shadow, &counts)) {
    case TARN_WATCH_GOES_ON:
    case TARN_WATCH_BEHIND:
        break;
    case TARN_WATCH_KEEP:
        v->phase = TARN_ROLLOUT_PREPARE;
        v->by_shadows = true;
        break;
    case TARN_WATCH_ROLL_BACK: {
        struct tarn_change figures;
        char text[TARN_HISTORY_TEXT];
        tarn_watch_explain(&v->shadow, &figures, text, sizeof text);
        reject(e, &figures, text);
        break;
    }
    }
}

static void init_tests(struct tarn_versions *v, uint64_t objects, bool by_cost)
{
    struct tarn_rollout_params arms = {.settle = objects / 50}; /* twice those of the first arm */
    if (v->by_shadows) {
        arms.alpha = HALF_ALPHA;
        arms.beta = HALF_BETA;
        arms.block = by_cost ? 0 : ROUGH_BLOCK;
        arms.calibration = by_cost ? COST_BLOCKS : ROUGH_BLOCKS;
        tarn_rollout_init(&v->paired, &(struct tarn_rollout_params){
                                          .paired = true, .alpha = HALF_ALPHA, .beta = HALF_BETA});
    }
    tarn_rollout_init(&v->arms, &arms);
}

/* A portion of the residents; when all are told apart, both arms begin, under the live version. */
static void prepare(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    tarn_status status = TARN_OK;
    tarn_cache_lock(e->cache);
    if (tarn_cache_table(e->cache)->segment == NULL)
        status = tarn_cache_begin_arms(e->cache, tarn_rollout_segment);
    bool more = status == TARN_OK && tarn_cache_prepare_arms(e->cache, AT_ONCE);
    if (status == TARN_OK && !more)
        status = tarn_learned_split(e->learned, NULL);
    if (status == TARN_OK && !more)
        status = tarn_cache_set_arms(e->cache, 1, tarn_rollout_share(0));
    if (status == TARN_OK && !more) {
        init_tests(v, tarn_cache_table(e->cache)->count, e->params.goal == TARN_GOAL_LATENCY);
        tarn_cache_get_segments(e->cache, v->segment);
        memcpy(v->segment_cost, e->learned->segment_cost, sizeof v->segment_cost);
        v->phase = TARN_ROLLOUT_CALIBRATE;
    }
    tarn_cache_unlock(e->cache);
    if (status != TARN_OK)
        tarn_versions_rollout_stop(e, tarn_status_message(status));
}

static void add_segment(struct tarn_rollout_counts *to, bool arm, uint64_t gets, uint64_t misses)
{
    *(arm ? &to->requests : &to->control_requests) += gets;
    *(arm ? &to->misses : &to->control_misses) += misses;
}

/*
 * Each step's arm and its control, since the last look: as they are told (`counts`; may be NULL), and as they are judged,
 * where misses differ in cost by what they cost in mean costs. Fractions of one wait for the next look.
 */
static void count_arms(struct tarn_engine *e, struct tarn_rollout_counts *judged,
                       struct tarn_rollout_counts *counts)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_cache_segment now[TARN_TABLE_SEGMENTS];
    double cost[TARN_TABLE_SEGMENTS];
    bool by_cost = e->params.goal == TARN_GOAL_LATENCY;
    tarn_cache_lock(e->cache);
    tarn_cache_get_segments(e->cache, now);
    memcpy(cost, e->learned->segment_cost, sizeof cost);
    tarn_cache_unlock(e->cache);
    memset(judged, 0, TARN_ROLLOUT_STEPS * sizeof *judged);
    for (uint32_t k = 0; k < TARN_TABLE_SEGMENTS; k++) {
        uint64_t gets = now[k].gets - v->segment[k].gets;
        uint64_t misses = now[k].misses - v->segment[k].misses;
        uint64_t weighed = (uint64_t)cost[k] - (uint64_t)v->segment_cost[k];
        for (uint32_t step = 0; step < TARN_ROLLOUT_STEPS; step++) {
            add_segment(&judged[step], k <= step, gets, by_cost ? weighed : misses);
            if (counts != NULL && step == v->step)
                add_segment(counts, k <= step, gets, misses);
        }
        v->segment[k] = now[k];
        v->segment_cost[k] = cost[k];
    }
}

static void calibrate(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS];
    count_arms(e, counts, NULL);
    if (tarn_rollout_feed(&v->arms, counts) == TARN_ROLLOUT_TIMEOUT) {
        tarn_versions_rollout_stop(e, "the arms' miss ratios vary too much to tell them apart");
        return;
    }
    if (v->arms.calibrating)
        return;
    tarn_cache_lock(e->cache);
    tarn_status status = tarn_learned_split(e->learned, v->offered);
    tarn_cache_unlock(e->cache);
    v->phase = TARN_ROLLOUT_CANARY;
    if (v->by_shadows)
        take_trial(e); /* what was counted before the arms is the shadows' */
    if (status != TARN_OK)
        tarn_versions_rollout_stop(e, tarn_status_message(status));
}

static void begin_step(struct tarn_engine *e)
{
    uint32_t step = e->versions.step;
    tarn_cache_lock(e->cache);
    tarn_status status = tarn_cache_set_arms(e->cache, step + 1, tarn_rollout_share(step));
    tarn_cache_unlock(e->cache);
    if (status != TARN_OK)
        tarn_versions_rollout_stop(e, tarn_status_message(status));
}

/* The step's arm has had as many requests as it takes to fill with what the candidate keeps. */
static bool has_settled(const struct tarn_engine *e, uint32_t step)
{
    const struct tarn_capacity *capacity = e->learned->live.capacity;
    uint64_t requests = e->versions.counted[step].requests;
    double objects = e->learned->live.table->count * tarn_rollout_share(step);
    return capacity->arm_segments == step + 1 && requests >= LEAST_OF_STEP &&
           (double)requests >= 2 * objects;
}

static tarn_rollout_verdict ask_trial(struct tarn_engine *e)
{
    struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS];
    struct tarn_watch_counts c = take_trial(e);
    for (uint32_t k = 0; k < TARN_ROLLOUT_STEPS; k++)
        counts[k] = (struct tarn_rollout_counts){c.requests, c.misses, c.requests, c.base_misses};
    return tarn_rollout_feed(&e->versions.paired, counts);
}

/* Either's evidence passes a step, which ends when its arm has settled. */
static void look_at_arms(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS];
    tarn_rollout_verdict arms = TARN_ROLLOUT_CONTINUE, paired = arms;
    count_arms(e, counts, &v->counted[v->step]);
    if (v->arms.step == v->step)
        arms = tarn_rollout_feed(&v->arms, counts);
    if (v->by_shadows)
        paired = ask_trial(e);
    if (arms == TARN_ROLLOUT_REJECT || paired == TARN_ROLLOUT_REJECT) {
        char text[TARN_HISTORY_TEXT];
        snprintf(text, sizeof text, "on %g %% of the keys: %s %s",
                 tarn_rollout_share(v->step) * 100,
                 arms == TARN_ROLLOUT_REJECT ? "its arm" : "its miniature cache",
                 tarn_rollout_text(TARN_ROLLOUT_REJECT));
        reject(e, NULL, text);
        return;
    }
    if ((v->by_shadows ? paired : arms) == TARN_ROLLOUT_TIMEOUT) {
        tarn_versions_rollout_stop(e, tarn_rollout_text(TARN_ROLLOUT_TIMEOUT));
        return;
    }
    bool passed = v->arms.step > v->step || (v->by_shadows && v->paired.step > v->step);
    tarn_cache_lock(e->cache);
    bool settled = has_settled(e, v->step);
    tarn_cache_unlock(e->cache);
    if (!passed || !settled)
        return;
    if (v->arms.step == v->step)
        tarn_rollout_advance(&v->arms);
    if (++v->step == TARN_ROLLOUT_STEPS)
        go_live(e);
    else
        begin_step(e);
}

void tarn_versions_rollout_look(struct tarn_engine *e)
{
    switch (e->versions.phase) {
    case TARN_ROLLOUT_IDLE:
        break;
    case TARN_ROLLOUT_SHADOW:
        look_at_shadows(e);
        break;
    case TARN_ROLLOUT_PREPARE:
        prepare(e);
        break;
    case TARN_ROLLOUT_CALIBRATE:
        calibrate(e);
        break;
    case TARN_ROLLOUT_CANARY:
        look_at_arms(e);
        break;
    }
}
