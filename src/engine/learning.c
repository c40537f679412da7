/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What training learns from and how fast: draws the samples of a launch, paces gradient steps by
 * requests, and hands what came out of them to the versions. It never holds the cache's lock for longer
 * than one batch's samples.
 */
#include "engine_private.h"

#include <math.h>

#include "base/clock.h"
#include "base/log.h"

#define LEAST_INTERVAL 125                      /* requests between gradient steps, or */
#define INTERVAL_SHARE 80.0f                    /* T over this */
#define MOST_STEPS_DUE (4.0 * TARN_TRAIN_STEPS) /* a backlog beyond it is dropped */
#define LEARNING_RATE  0.001f

void tarn_learning_defaults(struct tarn_learning_params *params)
{
    *params = (struct tarn_learning_params){0};
}

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
    return tarn_trainer_create(&trainer, &e->trainer, error);
}

void tarn_learning_free(struct tarn_engine *e)
{
    tarn_trainer_destroy(&e->trainer);
}

static void go_on_from_live(struct tarn_engine *e)
{
    const struct tarn_trainer_state state = {.weights = e->versions.live->model->weights};
    e->restart = tarn_trainer_set_state(e->trainer, &state) == TARN_BUSY;
}

void tarn_learning_restart(struct tarn_engine *e)
{
    /* until the job is taken back the trainer is the arbiter's */
    if (atomic_load_explicit(&e->job, memory_order_acquire) != TARN_JOB_NONE)
        e->restart = true;
    else
        go_on_from_live(e);
}

static void take_weights(struct tarn_engine *e)
{
    if (e->restart)
        go_on_from_live(e);
    else
        tarn_versions_offer(e);
    e->loss = tarn_trainer_loss(e->trainer);
    e->trained.elements = tarn_trainer_steps(e->trainer) * TARN_TRAIN_BATCH;
    tarn_trainer_times(e->trainer, &e->trained.device_ns, &e->trained.launches);
}

static void reap_training(struct tarn_engine *e)
{
    if (e->share != NULL) {
        if (atomic_load_explicit(&e->job, memory_order_acquire) == TARN_JOB_DONE) {
            take_weights(e);
            atomic_store_explicit(&e->job, TARN_JOB_NONE, memory_order_relaxed);
        }
        return;
    }
    tarn_status status = tarn_trainer_wait(e->trainer, 0);
    if (status == TARN_OK) {
        take_weights(e);
    } else if (status != TARN_TIMEOUT && status != TARN_NOT_FOUND) {
        tarn_log(TARN_LOG_ERROR, "engine: training stops: %s", tarn_status_message(status));
        e->params.no_learn = true;
    }
}

/* Draws the samples of one launch, a step's worth for each hold of the lock. */
static bool stage_samples(struct tarn_engine *e)
{
    for (uint32_t step = 0; step < TARN_TRAIN_STEPS; step++) {
        bool enough = true;
        tarn_cache_lock(e->cache);
        uint64_t now = tarn_cache_now(e->cache);
        for (uint32_t i = 0; i < TARN_TRAIN_BATCH && enough; i++) {
            const struct tarn_sample *sample = tarn_ring_draw(&e->ring, &e->rng);
            enough = sample != NULL;
            if (enough)
                tarn_trainer_stage(e->trainer, step * TARN_TRAIN_BATCH + i, sample->features,
                                   TARN_FEATURE_STEP,
                                   tarn_net_label(&e->shape, tarn_sample_elapsed(sample, now),
                                                  !sample->open && sample->wanted));
        }
        tarn_cache_unlock(e->cache);
        if (!enough)
            return false;
    }
    return true;
}

static void start_training(struct tarn_engine *e)
{
    tarn_cache_lock(e->cache);
    uint64_t now = tarn_cache_now(e->cache);
    float interval = e->learned->live.period / INTERVAL_SHARE;
    bool enough = e->ring.head >= TARN_RING_LEAST;
    tarn_cache_unlock(e->cache);
    interval = interval < LEAST_INTERVAL ? LEAST_INTERVAL : interval;
    e->steps_due += (double)(now - e->seen) / (double)interval;
    e->seen = now;
    if (e->steps_due > MOST_STEPS_DUE)
        e->steps_due = MOST_STEPS_DUE;
    if (e->steps_due < TARN_TRAIN_STEPS || !enough ||
        !atomic_load_explicit(&e->training, memory_order_relaxed) ||
        atomic_load_explicit(&e->job, memory_order_acquire) != TARN_JOB_NONE || !stage_samples(e))
        return;
    if (e->share != NULL) {
        tarn_training_hand_over(e, TARN_TRAIN_STEPS);
        e->steps_due -= TARN_TRAIN_STEPS;
        return;
    }
    tarn_status status = tarn_trainer_submit(e->trainer, TARN_TRAIN_STEPS);
    if (status == TARN_OK) {
        e->train_since = tarn_clock_ns();
        e->steps_due -= TARN_TRAIN_STEPS;
    } else if (status != TARN_BUSY) {
        tarn_log(TARN_LOG_ERROR, "engine: training stops: %s", tarn_status_message(status));
        e->params.no_learn = true;
    }
}

void tarn_learning_look(struct tarn_engine *e)
{
    reap_training(e);
    start_training(e);
    if (e->share == NULL && !tarn_trainer_is_on_device(e->trainer))
        reap_training(e); /* on the host it is done already */
}
