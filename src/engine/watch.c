/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watch over what is live: three miniature caches on the same sampled keys, of the live version, of the
 * one before and of LRU. They run all the time, so that they are warm when something goes live.
 */
#include "engine_private.h"

#include "base/log.h"

#define START_OBJECTS 256 /* a cache of bytes knows its mean object after so many, */
#define START_FILL    4   /* or when it is filled to one part in so many */

bool tarn_versions_count_objects(const struct tarn_engine *e, double *objects)
{
    const struct tarn_evictor *live = &e->learned->live;
    const struct tarn_capacity *capacity = live->capacity;
    *objects = (double)capacity->limit;
    if (!capacity->bytes)
        return true;
    *objects *= live->table->count / ((double)capacity->used + 1);
    return live->table->count >= START_OBJECTS || capacity->used >= capacity->limit / START_FILL;
}

/* A rollout that has begun without them goes on without them. */
static void start(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    double objects;
    if (e->params.no_shadows) {
        v->unwatched = "there are no shadows";
        return;
    }
    tarn_cache_lock(e->cache);
    if (tarn_versions_count_objects(e, &objects)) {
        tarn_status status = tarn_trial_init(&v->trial, &(struct tarn_trial_params){
                                                            .world = e->learned->small_world,
                                                            .capacity = e->learned->live.capacity,
                                                            .objects = objects,
                                                            .most_cost = e->params.shadow_share,
                                                            .seed = e->params.seed ^ 0x77617463u,
                                                        });
        v->has_trial = status == TARN_OK;
        v->unwatched = status == TARN_OK            ? NULL
                       : status == TARN_UNSUPPORTED ? "the cache is too small for shadows"
                                                    : "out of memory";
        e->learned->trial = v->has_trial ? &v->trial : NULL;
    }
    tarn_cache_unlock(e->cache);
}

void tarn_versions_watch_stop(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    tarn_versions_watch_end(e);
    tarn_cache_lock(e->cache);
    e->learned->trial = NULL;
    if (v->has_trial)
        tarn_trial_free(&v->trial);
    v->has_trial = false;
    tarn_cache_unlock(e->cache);
}

/* What is live against `base`, from the same state. */
static void watch_base(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    tarn_cache_lock(e->cache);
    tarn_trial_twin(&v->trial, TARN_TRIAL_BASE, v->base);
    struct tarn_watch_params params = {
        .resident = v->trial.shadow[TARN_TRIAL_CANDIDATE].table.count,
    };
    tarn_cache_unlock(e->cache);
    tarn_watch_init(&v->watch, &params);
    tarn_slot_guard(v->slot, v->base->version);
    v->watching = true;
}

void tarn_versions_watch_begin(struct tarn_engine *e, struct tarn_bundle *before)
{
    struct tarn_versions *v = &e->versions;
    /* small steps add up against the version before the first of them; a rollout needs the caches */
    if (!v->has_trial || v->watching || v->phase != TARN_ROLLOUT_IDLE)
        return;
    tarn_versions_watch_end(e);
    v->base = tarn_bundle_hold(before);
    v->suspect = tarn_bundle_hold(v->live);
    watch_base(e);
}

void tarn_versions_watch_suspend(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    if (!v->has_trial)
        return;
    if (!v->watching) {
        v->base = tarn_bundle_hold(v->live);
        v->suspect = tarn_bundle_hold(v->live);
        tarn_slot_guard(v->slot, v->base->version);
    }
    v->watching = false;
    v->suspended = true;
}

void tarn_versions_watch_resume(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    if (!v->suspended)
        return;
    if (v->base == v->live) {
        tarn_versions_watch_end(e);
        return;
    }
    v->suspended = false;
    watch_base(e);
}

void tarn_versions_watch_end(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    if (!v->watching && !v->suspended)
        return;
    if (v->watching) {
        tarn_cache_lock(e->cache);
        tarn_trial_set(&v->trial, TARN_TRIAL_BASE, NULL);
        tarn_cache_unlock(e->cache);
    }
    v->watching = v->suspended = false;
    tarn_slot_guard(v->slot, 0);
    tarn_bundle_release(&v->base);
    tarn_bundle_release(&v->suspect);
}

static void roll_back(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_error error = {0};
    struct tarn_change now = tarn_versions_change(e, TARN_REASON_REGRESSION, NULL), figures;
    char text[TARN_HISTORY_TEXT];
    struct tarn_bundle *failed = tarn_bundle_hold(v->live);
    uint64_t base = v->base->version;
    tarn_watch_explain(&v->watch, &figures, text, sizeof text);
    tarn_status status = tarn_watch_roll_back(&v->watch, v->slot, failed->version, base,
                                              now.requests, now.unix_ms, NULL, &error);
    if (status == TARN_OK) {
        /* what training made of it since has failed, and so has what it was made of */
        if (v->suspect != failed)
            tarn_slot_condemn(v->slot, v->suspect, &now);
        tarn_log(TARN_LOG_WARNING,
                 "engine: version %llu misses more than %llu did, which is live again: %s",
                 (unsigned long long)failed->version, (unsigned long long)base, text);
        /* what the failed one kept in its miniature cache is no base for the next watch */
        tarn_cache_lock(e->cache);
        tarn_trial_twin(&v->trial, TARN_TRIAL_CANDIDATE, NULL);
        tarn_cache_unlock(e->cache);
        tarn_versions_changed(e, TARN_VERSION_RETURNED);
        tarn_bundle_release(&v->failed);
        v->failed = failed;
        return;
    }
    tarn_log(TARN_LOG_WARNING, "engine: version %llu misses more than %llu did, but stays: %s",
             (unsigned long long)failed->version, (unsigned long long)base, error.message);
    tarn_bundle_release(&failed);
    tarn_versions_watch_end(e);
}

void tarn_versions_watch_look(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    if (!v->has_trial) {
        if (v->unwatched == NULL && v->phase == TARN_ROLLOUT_IDLE)
            start(e);
        return;
    }
    if (!v->watching)
        return;
    tarn_cache_lock(e->cache);
    struct tarn_trial_counts c = tarn_trial_take(&v->trial);
    tarn_cache_unlock(e->cache);
    if (c.requests == 0)
        return;
    const struct tarn_watch_counts counts = {c.requests, c.misses, c.base_misses, c.lru_misses};
    switch (tarn_watch_feed(&v->watch, &counts)) {
    case TARN_WATCH_GOES_ON:
    case TARN_WATCH_BEHIND:
        break;
    case TARN_WATCH_KEEP:
        tarn_versions_watch_end(e);
        break;
    case TARN_WATCH_ROLL_BACK:
        roll_back(e);
        break;
    }
}
