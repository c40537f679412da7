/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How learning answers to news: detectors on the loss and on the miss ratio, the novelty of samples, held-out
 * looks; what they change is the pace of training, where its samples come from, and how widely eviction
 * rounds look. Under the cache's lock it only copies.
 */
#include "learning_private.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"

#define LEAST_WINDOW   32    /* requests whose miss ratio is one value for a detector, or */
#define WINDOW_SHARE   64.0f /* T over this */
#define WINDOW_BLOCK   4     /* such values that make a step of its */
#define WARM_PERIODS   2.0f  /* T after the first eviction, before a miss ratio says anything */
#define FALSE_ALARMS   10.0f /* per million values, of each detector */
#define HEAT_SHARE     4 /* a drift is answered to until so much of the ring is new: one over this */
#define LEAST_NEWEST   512  /* samples since a drift before any is drawn from them alone */
#define LOOK_EVERY     8    /* launches between two held-out looks */
#define PORTION        1024 /* of the ring's samples looked at in one hold of the lock */
#define REPLAYED_SHARE 4    /* of a held-out set comes from the reservoir: one over this */
#define RESTART_AFTER  4096 /* samples since a drift, of which an eighth are held out */
#define RESTART_ERRORS 2.0  /* standard errors by which stored weights have to be better */
#define RESUME_ERRORS  2.0  /* by which a loss has to rise until a pause ends */
#define ANCHOR_SAMPLES 256  /* that make the Fisher information */
#define ANCHOR_KEEP    0.5f /* of the one before */
#define NOVELTY_AT     128  /* samples of the ring that novelty looks at before a launch */

tarn_status tarn_adapt_init(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    const struct tarn_drift_params loss = {.block = 1, .false_alarms = FALSE_ALARMS},
                                   misses = {.block = WINDOW_BLOCK, .false_alarms = FALSE_ALARMS};
    tarn_drift_init(&l->by_loss, &loss);
    tarn_drift_init(&l->by_misses, &misses);
    tarn_novelty_init(&l->novelty, &(struct tarn_novelty_params){.recent = 512, .past = 8192});
    l->early.patience = l->params.patience;
    l->rate_factor = l->steps_factor = l->explore_factor = 1;
    if (e->params.no_learn)
        return TARN_OK;
    if (l->params.stored > 0) {
        l->stored = tarn_alloc(l->params.stored * tarn_shape_weights(&l->shape) * sizeof(float));
        if (l->stored == NULL)
            return TARN_NO_MEMORY;
    }
    return l->params.consolidate > 0 ? tarn_consolidate_init(&l->consolidate, &l->shape) : TARN_OK;
}

void tarn_adapt_free(struct tarn_engine *e)
{
    tarn_consolidate_free(&e->learner->consolidate);
    tarn_free(e->learner->stored);
    e->learner->stored = NULL;
}

/* ---- held-out samples ---- */

struct tarn_heldout_result tarn_adapt_look_at_held_out(struct tarn_engine *e, uint32_t newest)
{
    struct tarn_learner *l = e->learner;
    bool more = true;
    tarn_cache_lock(e->cache);
    tarn_evictor_settle(&e->learned->live);
    bool replay = newest == 0 && e->ring.reservoir != NULL && l->params.replayed > 0;
    uint32_t room = TARN_HELDOUT_MOST - (replay ? TARN_HELDOUT_MOST / REPLAYED_SHARE : 0);
    tarn_heldout_begin(&l->heldout, &e->ring, newest > 0 ? newest : TARN_HELDOUT_NEWEST, room);
    tarn_cache_unlock(e->cache);
    while (more) {
        tarn_cache_lock(e->cache);
        more = tarn_heldout_gather(&l->heldout, &e->ring, &l->shape, PORTION,
                                   tarn_cache_now(e->cache), &l->rng);
        if (!more && replay && e->ring.reservoir != NULL)
            tarn_heldout_replay(&l->heldout, e->ring.reservoir, TARN_HELDOUT_MOST / REPLAYED_SHARE,
                                &l->rng);
        tarn_cache_unlock(e->cache);
    }
    return tarn_heldout_loss(&l->heldout, &l->shape, tarn_trainer_weights(e->trainer));
}

static void begin_pause(struct tarn_learner *l, const struct tarn_heldout_result *loss)
{
    l->paused = true;
    l->paused_head = l->head;
    l->paused_loss = loss->mean;
    l->paused_error = loss->sd / sqrt(loss->n);
}

static void end_pause(struct tarn_learner *l)
{
    l->paused = false;
    tarn_early_restart(&l->early);
}

/* Stop while nothing gets better, go on when something is new or what was learnt wears off. */
static void stop_or_go_on(struct tarn_learner *l, const struct tarn_heldout_result *loss,
                          uint32_t ring_size)
{
    if (l->paused) {
        bool worse = loss->finite && loss->mean > l->paused_loss + RESUME_ERRORS * l->paused_error;
        if (worse || l->drifting || l->head - l->paused_head >= ring_size || l->rate_factor > 1)
            end_pause(l);
    } else if (tarn_early_look(&l->early, loss) == TARN_EARLY_STOP && !l->drifting &&
               l->rate_factor <= 1) {
        begin_pause(l, loss);
    }
}

/* ---- anchors and stored weights ---- */

static void set_anchor(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    struct tarn_trainer_state state;
    tarn_trainer_get_state(e->trainer, &state);
    if (l->heldout.count >= TARN_HELDOUT_LEAST) {
        for (uint32_t i = 0; i < ANCHOR_SAMPLES && i < l->heldout.count; i++)
            tarn_consolidate_sample(&l->consolidate, state.weights, l->heldout.samples[i].features,
                                    &l->rng);
        (void)tarn_consolidate_anchor(&l->consolidate, state.weights, ANCHOR_KEEP);
    } else {
        (void)tarn_consolidate_anchor_moments(&l->consolidate, state.weights, state.v, ANCHOR_KEEP);
    }
}

static void pull_to_anchor(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    const float *weights = tarn_trainer_weights(e->trainer);
    const float *pulled = tarn_consolidate_pull(
        &l->consolidate, weights, tarn_learning_rate(e) * TARN_TRAIN_STEPS, l->params.consolidate);
    if (pulled != weights)
        (void)tarn_trainer_set_state(e->trainer, &(struct tarn_trainer_state){.weights = pulled});
}

static void store_weights(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    size_t count = tarn_shape_weights(&l->shape);
    memcpy(l->stored + l->stored_next * count, tarn_trainer_weights(e->trainer),
           count * sizeof *l->stored);
    l->stored_next = (l->stored_next + 1) % l->params.stored;
    if (l->stored_count < l->params.stored)
        l->stored_count++;
}

/* If what was learnt in an earlier phase fits the new one clearly better, training goes on from there. */
static void try_stored(struct tarn_engine *e, uint32_t newest)
{
    struct tarn_learner *l = e->learner;
    size_t count = tarn_shape_weights(&l->shape);
    const float *best = tarn_trainer_weights(e->trainer);
    l->restart_tried = true;
    tarn_adapt_look_at_held_out(e, newest);
    for (uint32_t i = 0; i < l->stored_count; i++) {
        const float *other = l->stored + i * count;
        struct tarn_heldout_result r = tarn_heldout_compare(&l->heldout, &l->shape, other, best);
        if (r.finite && r.n >= TARN_HELDOUT_LEAST && r.mean < -RESTART_ERRORS * r.sd / sqrt(r.n))
            best = other;
    }
    if (best != tarn_trainer_weights(e->trainer) &&
        tarn_trainer_set_state(e->trainer, &(struct tarn_trainer_state){.weights = best}) ==
            TARN_OK)
        l->restarts++;
}

/* ---- drift ---- */

static void found_drift(struct tarn_engine *e, const struct tarn_drift_detector *detector)
{
    struct tarn_learner *l = e->learner;
    tarn_log(TARN_LOG_INFO,
             "engine: after %" PRIu64 " requests the workload has changed: %s %s (%+.2f)", e->seen,
             detector == &l->by_loss ? "the loss" : "the miss ratio",
             tarn_drift_magnitude(detector) > 0 ? "rose" : "fell",
             (double)tarn_drift_magnitude(detector));
    l->drifts++;
    l->drifting = l->drift_is_new = true;
    l->restart_tried = false;
    l->drift_head = l->head;
    /* the other one would find the same again */
    tarn_drift_restart(&l->by_loss);
    tarn_drift_restart(&l->by_misses);
    tarn_early_restart(&l->early);
}

void tarn_adapt_restarted(struct tarn_engine *e, bool other)
{
    struct tarn_learner *l = e->learner;
    tarn_drift_restart(&l->by_loss);
    if (other)
        tarn_drift_restart(&l->by_misses);
    end_pause(l);
}

void tarn_adapt_look(struct tarn_engine *e, uint64_t now, float period)
{
    struct tarn_learner *l = e->learner;
    float window = period / WINDOW_SHARE;
    window = window < LEAST_WINDOW ? LEAST_WINDOW : window;
    if (!l->params.drift || (float)(now - l->gets_seen) < window)
        return;
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(e->cache, &stats);
    uint64_t gets = stats.gets - l->gets_seen, hits = stats.hits - l->hits_seen;
    l->gets_seen = stats.gets;
    l->hits_seen = stats.hits;
    if (stats.evictions == 0)
        l->full_at = now;
    bool warm = (float)(now - l->full_at) > WARM_PERIODS * period;
    if (gets > 0 && warm &&
        tarn_drift_feed(&l->by_misses, 1 - (float)hits / (float)gets) == TARN_DRIFT_FOUND)
        found_drift(e, &l->by_misses);
}

void tarn_adapt_after_launch(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    const struct tarn_learning_params *p = &l->params;
    l->launches++;
    if (p->novelty)
        tarn_novelty_loss(&l->novelty, e->loss);
    if (p->drift && tarn_drift_feed(&l->by_loss, e->loss) == TARN_DRIFT_FOUND)
        found_drift(e, &l->by_loss);
    if (p->consolidate > 0)
        pull_to_anchor(e);
}

/* ---- before a launch ---- */

/* The newest samples, evenly thinned. */
static void look_at_samples(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    int8_t features[NOVELTY_AT][TARN_FEATURES];
    uint32_t count = 0;
    tarn_cache_lock(e->cache);
    uint64_t head = e->ring.head, fresh = head < l->novelty_seen ? 0 : head - l->novelty_seen;
    fresh = fresh < e->ring.size ? fresh : e->ring.size;
    uint64_t stride = (fresh + NOVELTY_AT - 1) / NOVELTY_AT;
    for (uint64_t i = head - fresh; stride > 0 && i < head; i += stride)
        memcpy(features[count++], e->ring.samples[i & (e->ring.size - 1)].features, TARN_FEATURES);
    tarn_cache_unlock(e->cache);
    l->novelty_seen = head;
    for (uint32_t i = 0; i < count; i++)
        tarn_novelty_sample(&l->novelty, features[i]);
}

/* What is due between two launches; in a pause a launch's worth of requests counts as one. */
static void housekeep(struct tarn_engine *e, uint32_t ring_size)
{
    struct tarn_learner *l = e->learner;
    const struct tarn_learning_params *p = &l->params;
    uint64_t fresh = l->head - l->drift_head;
    if (l->paused)
        l->launches++;
    if (p->patience > 0 && l->launches % LOOK_EVERY == 0) {
        struct tarn_heldout_result loss = tarn_adapt_look_at_held_out(e, 0);
        l->loss = loss.mean;
        stop_or_go_on(l, &loss, ring_size);
    }
    bool anchor = l->drift_is_new || l->consolidate.anchors == 0 ||
                  (p->anchor_every > 0 && l->launches % p->anchor_every == 0);
    if (p->consolidate > 0 && l->launches > 0 && anchor) {
        tarn_adapt_look_at_held_out(e, 0);
        set_anchor(e);
    }
    if (l->drift_is_new && p->stored > 0)
        store_weights(e);
    l->drift_is_new = false;
    if (l->drifting && !l->restart_tried && l->stored_count > 0 && fresh >= RESTART_AFTER)
        try_stored(e, (uint32_t)fresh);
}

struct tarn_pace tarn_adapt_pace(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    const struct tarn_learning_params *p = &l->params;
    struct tarn_pace pace = {.rate = 1, .explore = 1};
    tarn_cache_lock(e->cache);
    uint64_t before = l->head;
    uint32_t ring_size = e->ring.size;
    l->head = e->ring.head;
    tarn_cache_unlock(e->cache);
    if (l->head < before) /* emptied: nothing in it is older than the news */
        l->drifting = l->paused = false;
    if (p->novelty)
        look_at_samples(e);
    uint64_t fresh = l->head - l->drift_head, span = ring_size / HEAT_SHARE;
    l->drifting = l->drifting && fresh < span;
    float heat = l->drifting ? 1 - (float)fresh / (float)span : 0;
    pace.rate = 1 + (p->drift_rate - 1) * heat;
    pace.explore = 1 + (p->explore - 1) * heat;
    l->steps_factor = 1 + (p->drift_steps - 1) * heat;
    if (p->novelty) {
        struct tarn_novelty_factors f = tarn_novelty_factors(&l->novelty);
        pace.rate = heat > 0 ? fmaxf(pace.rate, f.rate) : f.rate;
        pace.explore = fmaxf(pace.explore, fminf(f.explore, p->explore));
    }
    if (l->drifting && fresh >= LEAST_NEWEST)
        pace.newest = (uint32_t)fresh;
    l->rate_factor = pace.rate;
    housekeep(e, ring_size);
    if (l->paused)
        l->steps_saved += TARN_TRAIN_STEPS;
    if (pace.explore != l->explore_factor) {
        l->explore_factor = pace.explore;
        tarn_cache_lock(e->cache);
        e->learned->world.explore = pace.explore;
        tarn_cache_unlock(e->cache);
    }
    return pace;
}
