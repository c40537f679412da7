/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one background loop: refills the eviction list from the device before it runs dry, and looks after
 * learning, the device and the board. It never holds the cache's lock for longer than one round.
 */
#include "engine_private.h"

#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "model/ensemble.h"
#include "width.h"

#define STEP_EVERY     16 /* calls of tarn_engine_step() between two looks */
#define SHORT_SLEEP_NS 1000000
#define LONG_SLEEP_NS  50000000

/* The watch closes the device; until then no round begins. */
static void leave_device(struct tarn_engine *e, tarn_status reason)
{
    e->score_failure = reason;
    e->round_in_flight = false;
}

static void finish_round(struct tarn_engine *e, uint64_t timeout_us)
{
    tarn_status status = tarn_score_wait(e->score, timeout_us, e->round.raw);
    if (status == TARN_TIMEOUT)
        return;
    e->round_in_flight = false;
    if (status != TARN_OK) {
        leave_device(e, status);
        return;
    }
    e->rounds_on_device++;
    tarn_cache_lock(e->cache);
    tarn_round_finish(&e->learned->live, &e->round);
    tarn_cache_unlock(e->cache);
}

/* A list that is half used up is replaced; if it runs dry first, the host scores a round itself. */
static void start_round(struct tarn_engine *e)
{
    const struct tarn_bundle *version = e->versions.live;
    /*
     * One launch computes one network's scores, not several's logits nor the networks of tags: such rounds
     * the host scores itself, as they are needed.
     */
    const tarn_model *model = version->tags == 0 ? tarn_ensemble_sole(version) : NULL;
    if (model == NULL)
        return;
    if (e->scored_version != version->version) {
        tarn_status copied = tarn_score_set_weights(e->score, model->weights);
        if (copied != TARN_OK) {
            leave_device(e, copied);
            return;
        }
        e->scored_version = version->version;
    }
    tarn_cache_lock(e->cache);
    struct tarn_evictor *live = &e->learned->live;
    uint32_t victims = tarn_round_victims(live, true);
    bool wanted = victims * 8 >= atomic_load(&e->score_least) && live->evictions > 0 &&
                  tarn_evictor_stock(live) <= victims / 2 && live->weight[0] > TARN_SAY_DEFAULT;
    if (wanted) {
        /* the version that it enters is the one above: swaps are under the background's lock too */
        tarn_round_draw(live, &e->round, tarn_cache_now(e->cache));
        tarn_round_leave(live, &e->round);
    }
    tarn_cache_unlock(e->cache);
    if (!wanted || e->round.count == 0)
        return;
    tarn_round_score_members(live, &e->round, version);
    tarn_status status = tarn_score_submit(e->score, e->round.slice, e->round.count);
    if (status == TARN_OK) {
        e->round_in_flight = true;
        e->round_since = tarn_clock_ns();
        return;
    }
    /* a stopped queue or a failed device: what was drawn is scored here */
    tarn_cache_lock(e->cache);
    tarn_bundle_score(version,
                      &(struct tarn_bundle_batch){.tiles = e->round.tiles,
                                                  .count = e->round.count,
                                                  .width = e->round.width,
                                                  .exits = e->round.exits},
                      e->round.raw);
    tarn_round_finish(&e->learned->live, &e->round);
    tarn_cache_unlock(e->cache);
    if (status != TARN_BUSY)
        leave_device(e, status);
}

/* What requests wait for. Under the background's lock. */
static void look_at_requests(struct tarn_engine *e, uint64_t timeout_us, bool hurried)
{
    if (e->round_in_flight)
        finish_round(e, timeout_us);
    if (e->score != NULL && !e->round_in_flight && e->score_failure == TARN_OK)
        start_round(e);
    tarn_ahead_look(e);
    tarn_deferred_look(e, hurried);
}

static void look(struct tarn_engine *e, uint64_t timeout_us)
{
    pthread_mutex_lock(&e->background_lock);
    tarn_engine_watch_device(e);
    look_at_requests(e, timeout_us, false);
    if (!e->params.no_learn)
        tarn_learning_look(e);
    tarn_weather_look(e);
    tarn_relief_look(e);
    tarn_books_look(e);
    tarn_versions_look(e);
    tarn_width_look(e);
    tarn_training_look(e);
    pthread_mutex_unlock(&e->background_lock);
    tarn_checkpoints_write(e);
    tarn_versions_keep(e, false);
    tarn_books_keep(e, false);
}

void tarn_engine_step(tarn_engine *e)
{
    if (e->params.background != TARN_BACKGROUND_STEPS || ++e->calls % STEP_EVERY != 0)
        return;
    look(e, TARN_STEP_WAIT_US);
}

/* Sleeps until then, or until somebody is in a hurry: true. Under `wake_lock`. */
static bool sleep_until(struct tarn_engine *e, uint64_t ns)
{
    struct timespec until = {.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
    int status = 0;
    bool hurried;
    while (!(hurried = atomic_exchange(&e->hurried, false)) && !e->stop && status != ETIMEDOUT)
        status = pthread_cond_timedwait(&e->wake, &e->wake_lock, &until);
    return hurried;
}

/*
 * The thread of TARN_BACKGROUND_THREAD: looks often while there are requests, seldom while not, and at
 * the rounds alone as often as they are waited for.
 */
static void *run(void *context)
{
    struct tarn_engine *e = context;
    uint64_t before = 0, sleep_ns = SHORT_SLEEP_NS, next = tarn_clock_ns() + sleep_ns;
    pthread_mutex_lock(&e->wake_lock);
    while (!e->stop) {
        bool hurried = sleep_until(e, next);
        if (e->stop)
            break;
        pthread_mutex_unlock(&e->wake_lock);
        if (hurried && tarn_clock_ns() < next) {
            pthread_mutex_lock(&e->background_lock);
            look_at_requests(e, 1000, true);
            pthread_mutex_unlock(&e->background_lock);
            pthread_mutex_lock(&e->wake_lock);
            continue;
        }
        look(e, 1000);
        tarn_cache_lock(e->cache);
        uint64_t now = tarn_cache_now(e->cache);
        tarn_cache_unlock(e->cache);
        sleep_ns = now != before ? SHORT_SLEEP_NS
                                 : (sleep_ns * 2 < LONG_SLEEP_NS ? sleep_ns * 2 : LONG_SLEEP_NS);
        before = now;
        next = tarn_clock_ns() + sleep_ns;
        pthread_mutex_lock(&e->wake_lock);
    }
    pthread_mutex_unlock(&e->wake_lock);
    return NULL;
}

tarn_status tarn_background_start(struct tarn_engine *e)
{
    if (pthread_create(&e->thread, NULL, run, e) != 0)
        return TARN_NO_MEMORY;
    e->thread_runs = true;
    return TARN_OK;
}

void tarn_background_free(struct tarn_engine *e)
{
    if (e->thread_runs) {
        pthread_mutex_lock(&e->wake_lock);
        e->stop = true;
        pthread_cond_signal(&e->wake);
        pthread_mutex_unlock(&e->wake_lock);
        pthread_join(e->thread, NULL);
        e->thread_runs = false;
    }
    tarn_training_pause(e);
    tarn_engine_leave_device(e);
    if (e->trainer != NULL) {
        tarn_training_settle(e);
        tarn_learning_finish(e);
    }
    tarn_ahead_free(e);
    tarn_deferred_finish(e);
    tarn_checkpoints_finish(e);
    tarn_training_free(e);
    tarn_learning_free(e);
}
