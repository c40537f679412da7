/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What training learns from and how fast: draws the samples of a launch, paces gradient steps by
 * requests, and hands what came out of them to the versions. It never holds the cache's lock for longer
 * than one batch's samples.
 */
#include "learning_private.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#define LEAST_INTERVAL      125                      /* requests between gradient steps, or */
#define INTERVAL_SHARE      80.0f                    /* T over this */
#define MOST_STEPS_DUE      (4.0 * TARN_TRAIN_STEPS) /* a backlog beyond it is dropped */
#define LEARNING_RATE       0.001f
#define CHECKPOINT_REQUESTS (1 << 20)
#define RING_SHARE          8 /* the reservoir has at most one sample for so many of the ring */

void tarn_learning_defaults(struct tarn_learning_params *params)
{
    *params = (struct tarn_learning_params){
        .keep_held_out = true,
        .recall = true,
        .rate = 1,
        .pace = 1,
        .reservoir = 4096,
        .replayed = 0.1f,
        .drift = true,
        .drift_rate = 1,
        .drift_steps = 1,
        .drift_recent = 0.5f,
        .explore = 1,
        .frozen = true,
        .learners = 1,
        .learners_pace = 1,
        .checkpoint_requests = CHECKPOINT_REQUESTS,
        .checkpoint_least_s = 60,
        .checkpoint_most_s = 600,
    };
}

static void read_params(const struct tarn_engine *e, struct tarn_learning_params *p)
{
    *p = e->learning;
    if (p->in_place) {
        struct tarn_learning_params given = *p;
        tarn_learning_defaults(p);
        p->in_place = true;
        p->keep_held_out = false;
        p->reservoir = p->stored = p->patience = 0;
        p->consolidate = p->distilled = p->replayed = p->drift_recent = 0;
        p->rate = p->pace = 1;
        p->novelty = p->drift = false;
        p->drift_rate = p->drift_steps = p->explore = 1;
        p->checkpoint_requests = given.checkpoint_requests;
        p->checkpoint_least_s = given.checkpoint_least_s;
        p->checkpoint_most_s = given.checkpoint_most_s;
    }
    if (p->checkpoint_requests == 0)
        p->checkpoint_requests = CHECKPOINT_REQUESTS;
    p->stored = p->stored < TARN_STORED_MOST ? p->stored : TARN_STORED_MOST;
}

/* ---- the reservoir ---- */

/* As many as wanted, as fit beside the ring, and as pay: an old sample must be worth its place. */
static uint32_t reservoir_samples(const struct tarn_engine *e)
{
    uint32_t samples = e->ring.size / RING_SHARE;
    uint64_t ring = tarn_ring_memory(e->ring.size), limit = e->params.train_memory;
    if (samples > e->learner->params.reservoir)
        samples = e->learner->params.reservoir;
    uint64_t left = limit == 0 ? UINT64_MAX : limit > ring ? limit - ring : 0;
    while (samples >= TARN_RESERVOIR_STRATA && tarn_reservoir_memory(samples) > left)
        samples /= 2;
    return samples < TARN_RESERVOIR_STRATA ? 0 : samples;
}

static tarn_status make_reservoir(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    uint32_t samples = e->params.no_learn ? 0 : reservoir_samples(e);
    if (samples == 0)
        return TARN_OK;
    tarn_status status = tarn_reservoir_init(&l->reservoir, samples, e->params.seed ^ 0x706f6f6cu);
    if (status == TARN_OK) {
        e->ring.shape = &l->shape;
        e->ring.reservoir = &l->reservoir;
    }
    return status;
}

void tarn_learning_give_back(struct tarn_engine *e, bool back)
{
    if (back) {
        e->ring.reservoir = NULL;
        tarn_reservoir_free(&e->learner->reservoir);
    } else if (e->ring.reservoir == NULL) {
        (void)make_reservoir(e); /* without memory: without it */
    }
}

/* ---- beginning and end ---- */

tarn_status tarn_learning_init(struct tarn_engine *e, struct tarn_error *error)
{
    struct tarn_trainer_params trainer = {
        .shape = &e->shape,
        .weights = e->versions.live->model->weights,
        .batch = TARN_TRAIN_BATCH,
        .steps = TARN_TRAIN_STEPS,
        .rate = LEARNING_RATE,
    };
    e->loss = NAN;
    struct tarn_learner *l = e->learner = tarn_alloc_zeroed(1, sizeof *l);
    if (l == NULL)
        return TARN_NO_MEMORY;
    l->shape = e->shape;
    l->loss = NAN;
    read_params(e, &l->params);
    tarn_rng_seed(&l->rng, e->params.seed ^ 0x6e657773u);
    tarn_status status = tarn_trainer_create(&trainer, &e->trainer, error);
    tarn_tags_init(e);
    if (status == TARN_OK)
        status = make_reservoir(e);
    if (status == TARN_OK)
        status = tarn_adapt_init(e);
    return status;
}

void tarn_learning_free(struct tarn_engine *e)
{
    tarn_trainer_destroy(&e->trainer);
    tarn_tags_free(e);
    if (e->learner == NULL)
        return;
    tarn_adapt_free(e);
    e->ring.reservoir = NULL;
    tarn_reservoir_free(&e->learner->reservoir);
    tarn_free(e->learner);
    e->learner = NULL;
}

uint64_t tarn_learning_memory(const struct tarn_engine *e)
{
    const struct tarn_learner *l = e->learner;
    return tarn_trainer_memory(e->trainer) + sizeof *l + tarn_tags_memory(e) +
           l->consolidate.count * TARN_CONSOLIDATE_ARRAYS * sizeof(float) +
           (l->stored != NULL ? l->params.stored : 0) * tarn_shape_weights(&l->shape) *
               sizeof(float);
}

void tarn_learning_get_stats(const struct tarn_engine *e, struct tarn_engine_stats *stats)
{
    const struct tarn_learner *l = e->learner;
    stats->train_arena = tarn_learning_memory(e);
    stats->drifts = l->drifts;
    stats->restarts = l->restarts;
    stats->rate_factor = l->rate_factor;
    stats->replayed = l->drawn > 0 ? (float)l->replayed / (float)l->drawn : 0;
    stats->held_out_loss = (float)l->loss;
    stats->steps_saved = l->steps_saved;
    stats->checkpoints = l->checkpoints;
    stats->checkpoint_failures = l->checkpoint_failures;
}

static void go_on_from_live(struct tarn_engine *e)
{
    const struct tarn_trainer_state state = {.weights = e->versions.live->model->weights};
    e->restart = tarn_trainer_set_state(e->trainer, &state) == TARN_BUSY;
}

void tarn_learning_restart(struct tarn_engine *e, bool other)
{
    /* until the job is taken back the trainer is the arbiter's */
    if (atomic_load_explicit(&e->job, memory_order_acquire) != TARN_JOB_NONE)
        e->restart = true;
    else
        go_on_from_live(e);
    tarn_adapt_restarted(e, other);
}

/* ---- the end of a launch ---- */

static void take_weights(struct tarn_engine *e)
{
    float loss = tarn_trainer_loss(e->trainer);
    e->trained.elements += TARN_TRAIN_STEPS * TARN_TRAIN_BATCH;
    tarn_trainer_times(e->trainer, &e->trained.device_ns, &e->trained.launches);
    bool tagged = tarn_tags_take(e), another = !tagged && tarn_ensemble_end_turn(e);
    e->loss = tagged || another ? e->loss : loss;
    if (another && !e->restart)
        return;
    if (e->restart) {
        go_on_from_live(e);
        return;
    }
    if (tagged) {
        tarn_tags_mint(e);
        return;
    }
    tarn_adapt_after_launch(e);
    tarn_versions_offer(e);
}

static void reap_training(struct tarn_engine *e)
{
    if (e->share != NULL) {
        if (atomic_load_explicit(&e->job, memory_order_acquire) == TARN_JOB_DONE) {
            atomic_store_explicit(&e->job, TARN_JOB_NONE, memory_order_relaxed);
            take_weights(e);
        }
        return;
    }
    tarn_status status = tarn_trainer_wait(e->trainer, TARN_STEP_WAIT_US);
    if (status == TARN_OK) {
        take_weights(e);
    } else if (status != TARN_TIMEOUT && status != TARN_NOT_FOUND) {
        tarn_log(TARN_LOG_ERROR, "engine: training stops: %s", tarn_status_message(status));
        e->params.no_learn = true;
    }
}

/* ---- the samples of a launch ---- */

/* One step's samples. */
struct batch {
    int8_t features[TARN_TRAIN_BATCH][TARN_FEATURES];
    uint32_t label[TARN_TRAIN_BATCH];
};

/* Under the cache's lock: what is drawn may be gone after it. */
static bool draw_batch(struct tarn_engine *e, const struct tarn_pace *pace, struct batch *batch)
{
    struct tarn_learner *l = e->learner;
    const struct tarn_learn_source source = {
        .ring = &e->ring,
        .reservoir = e->ring.reservoir,
        .shape = &l->shape,
        .share = l->params.replayed,
        .balance = l->params.balance,
        .keep_held_out = l->params.keep_held_out,
        .newest = pace->newest < e->ring.head ? pace->newest : 0,
        .newest_share = l->params.drift_recent,
    };
    uint64_t now = tarn_cache_now(e->cache);
    for (uint32_t i = 0; i < TARN_TRAIN_BATCH; i++) {
        struct tarn_learn_sample sample;
        if (!tarn_learn_draw(&source, now, &e->rng, &sample))
            return false;
        memcpy(batch->features[i], sample.features, TARN_FEATURES);
        batch->label[i] = sample.label;
        l->replayed += sample.replayed;
    }
    l->drawn += TARN_TRAIN_BATCH;
    return true;
}

/* For a share of the samples, what the live model expects instead of what happened. */
static void distil(struct tarn_engine *e, struct batch *batch)
{
    struct tarn_learner *l = e->learner;
    float tiles[TARN_TRAIN_BATCH * TARN_FEATURES], logits[TARN_TRAIN_BATCH * TARN_MAX_BINS];
    for (uint32_t i = 0; i < TARN_TRAIN_BATCH; i++)
        for (uint32_t f = 0; f < TARN_FEATURES; f++)
            tiles[i / TARN_LANES * TARN_FEATURES * TARN_LANES + f * TARN_LANES + i % TARN_LANES] =
                (float)batch->features[i][f] * TARN_FEATURE_STEP;
    tarn_logits_host(&l->shape, e->versions.live->model->weights, tiles, TARN_TRAIN_BATCH, logits);
    for (uint32_t i = 0; i < TARN_TRAIN_BATCH; i++) {
        uint32_t label = batch->label[i];
        if (label == 0 || !(tarn_rng_float(&l->rng) < l->params.distilled))
            continue;
        const float *of = logits + i / TARN_LANES * l->shape.outputs * TARN_LANES + i % TARN_LANES;
        batch->label[i] = tarn_distil_label(&l->shape, of, TARN_LANES,
                                            label >> 8 == 0 ? label & 0xff : 0, &l->rng);
    }
}

/* Draws the samples of one launch, a step's worth for each hold of the lock; all of them of `tag`, or of any. */
static bool stage_samples(struct tarn_engine *e, const struct tarn_pace *pace, uint32_t tag)
{
    const struct tarn_bundle *live = e->versions.live;
    const struct tarn_nested *nested =
        tag == 0 ? &live->model->nested : &tarn_bundle_of_tag(live, tag)->model->nested;
    struct batch batch;
    for (uint32_t step = 0; step < TARN_TRAIN_STEPS; step++) {
        tarn_cache_lock(e->cache);
        tarn_evictor_settle(&e->learned->live);
        bool enough = tag == 0 ? draw_batch(e, pace, &batch)
                               : tarn_tags_draw(e, tag, tarn_cache_now(e->cache), TARN_TRAIN_BATCH,
                                                batch.features, batch.label);
        tarn_cache_unlock(e->cache);
        if (!enough)
            return false;
        if (e->learner->params.distilled > 0 && tag == 0)
            distil(e, &batch);
        uint32_t masked = tarn_sets_masked(e, tag);
        for (uint32_t i = 0; i < TARN_TRAIN_BATCH && masked != 0; i++)
            for (uint32_t f = 0; f < TARN_FEATURES; f++)
                batch.features[i][f] = masked >> f & 1 ? 0 : batch.features[i][f];
        for (uint32_t i = 0; i < TARN_TRAIN_BATCH; i++)
            tarn_trainer_stage(e->trainer, step * TARN_TRAIN_BATCH + i, batch.features[i],
                               TARN_FEATURE_STEP,
                               tarn_nested_label(nested, (step * TARN_TRAIN_BATCH + i) / TARN_LANES,
                                                 batch.label[i]));
    }
    return true;
}

/* False if nothing is under way after it. */
static bool launch(struct tarn_engine *e)
{
    if (e->share != NULL) {
        tarn_training_hand_over(e, TARN_TRAIN_STEPS);
        e->steps_due -= TARN_TRAIN_STEPS;
        return atomic_load_explicit(&e->job, memory_order_acquire) != TARN_JOB_NONE;
    }
    tarn_status status = tarn_trainer_submit(e->trainer, TARN_TRAIN_STEPS);
    if (status == TARN_OK) {
        e->train_since = tarn_clock_ns();
        e->steps_due -= TARN_TRAIN_STEPS;
    } else if (status != TARN_BUSY) {
        tarn_log(TARN_LOG_ERROR, "engine: training stops: %s", tarn_status_message(status));
        e->params.no_learn = true;
    }
    return status == TARN_OK;
}

static void start_training(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    tarn_cache_lock(e->cache);
    uint64_t now = tarn_cache_now(e->cache);
    float period = e->learned->live.period, interval = period / INTERVAL_SHARE;
    bool enough = e->ring.head >= TARN_RING_LEAST;
    tarn_cache_unlock(e->cache);
    tarn_adapt_look(e, now, period);
    interval = interval < LEAST_INTERVAL ? LEAST_INTERVAL : interval;
    interval /= l->params.pace * (e->tags.used ? 2 : 1); /* every other job is a tag's */
    e->steps_due += (double)(now - e->seen) / (double)interval * (double)l->steps_factor *
                    tarn_ensemble_pace(e);
    e->seen = now;
    if (e->steps_due > MOST_STEPS_DUE)
        e->steps_due = MOST_STEPS_DUE;
    if (e->steps_due < TARN_TRAIN_STEPS || !enough ||
        !atomic_load_explicit(&e->training, memory_order_relaxed) ||
        atomic_load_explicit(&e->job, memory_order_acquire) != TARN_JOB_NONE ||
        tarn_trainer_in_flight(e->trainer))
        return;
    struct tarn_pace pace = tarn_adapt_pace(e);
    if (l->paused) {
        e->steps_due -= TARN_TRAIN_STEPS;
        return;
    }
    uint32_t tag = tarn_tags_next(e);
    float rate = tag > 0 ? e->learning.rate * e->tags.tag[tag - 1].rate : l->params.rate;
    tarn_trainer_set_rate(e->trainer, LEARNING_RATE * rate * pace.rate);
    if (stage_samples(e, &pace, tag)) {
        if (tag == 0)
            tarn_ensemble_begin_turn(e);
        if (launch(e))
            return;
        tarn_ensemble_end_turn(e);
    }
    tarn_tags_give_up(e); /* nothing was begun */
}

float tarn_learning_rate(const struct tarn_engine *e)
{
    return LEARNING_RATE * e->learner->params.rate * e->learner->rate_factor;
}

void tarn_learning_finish(struct tarn_engine *e)
{
    if (!e->params.no_learn)
        reap_training(e);
}

void tarn_learning_look(struct tarn_engine *e)
{
    reap_training(e);
    tarn_checkpoints_look(e);
    start_training(e);
    if (e->share == NULL && !tarn_trainer_is_on_device(e->trainer))
        reap_training(e); /* on the host it is done already */
}
