/* SPDX-License-Identifier: Apache-2.0 */
#include "contest.h"

#include "base/log.h"
#include "engine_private.h"

#define PART_OF_COST                                                                               \
    0.5f /* of what the watch's miniature caches may take: it has two thirds, this the rest */
#define MOST_COST 0.15f
#define OWN_VERSION                                                                                \
    (UINT64_C(1) << 63) /* so that pooled scores of one challenger aren't another's */

/* What competes, the cheapest first. */
static const tarn_ensemble_kind kinds[] = {TARN_ENSEMBLE_SINGLE, TARN_ENSEMBLE_BAYES,
                                           TARN_ENSEMBLE_STACK, TARN_ENSEMBLE_MEAN,
                                           TARN_ENSEMBLE_SELECT};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static bool start(struct tarn_engine *e)
{
    struct tarn_ensemble_contest *c = &e->ensemble.contest;
    float most = e->params.shadow_share > 0 ? e->params.shadow_share : MOST_COST;
    double objects;
    tarn_cache_lock(e->cache);
    if (tarn_versions_count_objects(e, &objects)) {
        tarn_status status = tarn_trial_init(&c->trial, &(struct tarn_trial_params){
                                                            .world = e->learned->small_world,
                                                            .capacity = e->learned->live.capacity,
                                                            .objects = objects,
                                                            .most_cost = most * PART_OF_COST,
                                                            .seed = e->params.seed ^ 0x63746573u,
                                                        });
        c->has_trial = status == TARN_OK;
        c->unsupported = status != TARN_OK;
        e->learned->contest = c->has_trial ? &c->trial : NULL;
    }
    tarn_cache_unlock(e->cache);
    tarn_contest_init(&c->contest, &(struct tarn_contest_params){.kinds = KINDS});
    if (c->unsupported)
        tarn_log(TARN_LOG_INFO,
                 "engine: the cache is too small to compare ways to combine networks");
    return c->has_trial;
}

void tarn_ensemble_contest_stop(struct tarn_engine *e)
{
    struct tarn_ensemble_contest *c = &e->ensemble.contest;
    tarn_cache_lock(e->cache);
    e->learned->contest = NULL;
    if (c->has_trial)
        tarn_trial_free(&c->trial);
    c->has_trial = false;
    tarn_cache_unlock(e->cache);
    tarn_bundle_release(&c->challenger);
}

/* What is live, combined otherwise; `twin`: from what the champion's miniature cache holds. */
static void set_challenger(struct tarn_engine *e, bool twin)
{
    struct tarn_ensemble_contest *c = &e->ensemble.contest;
    struct tarn_bundle *before = c->challenger;
    c->challenger = NULL;
    c->made_for = e->versions.live->version;
    if (tarn_ensemble_variant(e, kinds[c->contest.challenger], &c->challenger) == TARN_OK)
        c->challenger->version = c->made_for | OWN_VERSION;
    tarn_cache_lock(e->cache);
    if (twin)
        tarn_trial_twin(&c->trial, TARN_TRIAL_CANDIDATE, c->challenger);
    else
        tarn_trial_set(&c->trial, TARN_TRIAL_CANDIDATE, c->challenger);
    tarn_cache_unlock(e->cache);
    tarn_bundle_release(&before);
}

static tarn_ensemble_kind champion_of(const struct tarn_ensemble_contest *c)
{
    return kinds[c->contest.champion];
}

static void feed(struct tarn_engine *e)
{
    struct tarn_ensemble_contest *c = &e->ensemble.contest;
    tarn_cache_lock(e->cache);
    struct tarn_trial_counts t = tarn_trial_take(&c->trial);
    tarn_cache_unlock(e->cache);
    if (t.requests == 0)
        return;
    const struct tarn_contest_counts counts = {t.requests, t.misses, t.base_misses};
    const struct tarn_contest_counts total = c->contest.total;
    tarn_contest_verdict verdict = tarn_contest_feed(&c->contest, &counts);
    if (verdict == TARN_CONTEST_WON) {
        e->ensemble.now = champion_of(c);
        tarn_log(
            TARN_LOG_INFO,
            "engine: networks decide by %s from the next version on: %llu misses instead of %llu",
            tarn_ensemble_name(champion_of(c)), (unsigned long long)(total.misses + t.misses),
            (unsigned long long)(total.champion_misses + t.base_misses));
    }
    if (verdict != TARN_CONTEST_GOES_ON)
        set_challenger(e, true);
}

void tarn_ensemble_contest_look(struct tarn_engine *e)
{
    struct tarn_ensemble_contest *c = &e->ensemble.contest;
    const struct tarn_bundle *live = e->versions.live;
    if (e->ensemble.kind != TARN_ENSEMBLE_SHADOW || e->params.no_shadows || c->unsupported ||
        (!c->has_trial && !start(e)))
        return;
    /* what is live is alone, or still combined as the champion before: both caches do the same meanwhile */
    bool ready = live->members > 1 && tarn_ensemble_combines(live, champion_of(c));
    if (!ready) {
        if (c->challenger != NULL || c->made_for != 0) {
            struct tarn_bundle *before = c->challenger;
            c->challenger = NULL;
            c->made_for = 0;
            tarn_cache_lock(e->cache);
            tarn_trial_set(&c->trial, TARN_TRIAL_CANDIDATE, NULL);
            tarn_cache_unlock(e->cache);
            tarn_bundle_release(&before);
        }
        return;
    }
    if (c->made_for == 0) {
        tarn_contest_set(&c->contest, c->contest.champion);
        set_challenger(e, true);
        return;
    }
    feed(e);
    if (c->made_for != live->version)
        set_challenger(e, false);
}

void tarn_ensemble_contest_restart(struct tarn_engine *e)
{
    struct tarn_ensemble_contest *c = &e->ensemble.contest;
    const struct tarn_bundle *live = e->versions.live;
    if (e->ensemble.kind != TARN_ENSEMBLE_SHADOW || live->members < 2)
        return;
    for (uint32_t k = 0; k < KINDS; k++)
        if (tarn_ensemble_combines(live, kinds[k]) && kinds[k] != e->ensemble.now) {
            e->ensemble.now = kinds[k];
            tarn_contest_set(&c->contest, k);
            c->made_for = 0;
        }
}
