/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's device comes and goes: whatever fails on it, the host does its work from the next batch
 * on, the device is closed, and opened again after a pause that doubles from 1 s to a minute.
 */
#include "engine_private.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "gpu/backend.h"

#define LEAVE_US 10000000     /* what is under way may take so long to end; a hang is left behind */
#define HANG_NS  30000000000u /* a launch that takes longer won't end */
#define CAP      60
/* One second, where the caller's requests are the clock. */
#define REQUESTS_A_SECOND 65536

static uint64_t second_of(const struct tarn_engine *e)
{
    return e->params.background == TARN_BACKGROUND_STEPS ? REQUESTS_A_SECOND : 1000000000u;
}

static uint64_t moment_of(struct tarn_engine *e)
{
    if (e->params.background != TARN_BACKGROUND_STEPS)
        return tarn_clock_ns();
    tarn_cache_lock(e->cache);
    uint64_t now = tarn_cache_now(e->cache);
    tarn_cache_unlock(e->cache);
    return now;
}

/* The kernel can't be used there, whatever is tried; the device's other kernels can. */
static bool is_kernels_fault(const struct tarn_engine *e, tarn_status status)
{
    return !tarn_device_is_lost(e->device) &&
           (status == TARN_QUARANTINED || status == TARN_COMPILE || status == TARN_UNSUPPORTED);
}

static tarn_status leave_to_host(const struct tarn_engine *e, const char *what, tarn_status status,
                                 const struct tarn_error *error)
{
    if (!is_kernels_fault(e, status))
        return status;
    tarn_log(TARN_LOG_WARNING, "engine: %s stay on the host: %s", what, error->message);
    return TARN_OK;
}

static tarn_status move_index(struct tarn_engine *e, const struct tarn_memory_source *source)
{
    tarn_cache_lock(e->cache);
    tarn_status status = tarn_index_migrate(tarn_cache_table(e->cache)->index, source);
    tarn_cache_unlock(e->cache);
    return status;
}

static tarn_status enter_lookup(struct tarn_engine *e, struct tarn_error *error)
{
    tarn_status status = tarn_lookup_create(e->device, e->lookup_queue, TARN_LOOKUP_BATCH,
                                            e->calibration.lookup.local_size, &e->lookup, error);
    if (status != TARN_OK)
        return leave_to_host(e, "lookups", status, error);
    tarn_lookup_set_share(e->lookup, e->share);
    if (e->hashes == NULL)
        e->hashes = tarn_alloc(TARN_LOOKUP_BATCH * sizeof *e->hashes);
    status = e->hashes != NULL ? move_index(e, tarn_lookup_memory(e->lookup)) : TARN_NO_MEMORY;
    if (status == TARN_OK)
        status = tarn_lookup_attach(e->lookup, e->cache);
    return status;
}

static tarn_status enter_score(struct tarn_engine *e, struct tarn_error *error)
{
    tarn_status status = tarn_score_create(e->device, e->score_queue, &e->shape, TARN_ROUND_MAX,
                                           e->calibration.score.local_size, &e->score, error);
    if (status != TARN_OK)
        return leave_to_host(e, "scores", status, error);
    e->scored_version = 0;
    tarn_score_set_share(e->score, e->share);
    status = tarn_round_init(&e->round, TARN_ROUND_MAX, e->learned->live.experts,
                             tarn_score_tiles(e->score));
    if (status != TARN_OK)
        tarn_score_destroy(&e->score);
    return status;
}

/* All that the engine has on its device. */
static tarn_status enter(struct tarn_engine *e, struct tarn_error *error)
{
    const struct tarn_queue_params high = {.priority = TARN_PRIORITY_HIGH},
                                   low = {.priority = TARN_PRIORITY_LOW};
    tarn_status status = tarn_queue_create(e->device, &high, &e->lookup_queue);
    if (status == TARN_OK)
        status = tarn_queue_create(e->device, &high, &e->score_queue);
    if (status == TARN_OK)
        status = tarn_queue_create(e->device, &low, &e->train_queue);
    if (status == TARN_OK)
        status = enter_lookup(e, error);
    if (status == TARN_OK)
        status = enter_score(e, error);
    if (status == TARN_OK)
        tarn_measure_apply(e);
    if (status == TARN_OK && !e->params.no_learn && tarn_measure_training_pays(e)) {
        status = tarn_trainer_enter(e->trainer, e->device, e->train_queue, error);
        status = status == TARN_OK ? TARN_OK : leave_to_host(e, "gradient steps", status, error);
        e->trains_on_device = tarn_trainer_is_on_device(e->trainer);
    }
    if (status == TARN_OK && e->share == NULL)
        tarn_queue_stop(e->train_queue, !atomic_load(&e->training));
    return status;
}

/* What is under way gets its time to end; what doesn't end then is abandoned with the device. */
static void calm(struct tarn_engine *e)
{
    tarn_queue *queues[] = {e->lookup_queue, e->score_queue, e->train_queue};
    for (int i = 0; i < 3 && !tarn_device_is_lost(e->device); i++)
        if (queues[i] != NULL && tarn_queue_finish(queues[i], LEAVE_US) == TARN_TIMEOUT)
            tarn_device_abandon(e->device, "a launch doesn't end");
}

static void add_stats(struct tarn_kernel_stats *sum, const struct tarn_kernel_stats *more)
{
    sum->launches += more->launches;
    sum->elements += more->elements;
    sum->device_ns += more->device_ns;
}

/* False if there is no memory for the index on the host: to be tried again. */
static bool leave(struct tarn_engine *e)
{
    pthread_mutex_lock(&e->lookup_lock);
    tarn_training_pause(e);
    calm(e);
    if (e->trainer != NULL)
        tarn_trainer_leave(e->trainer);
    e->trains_on_device = false;
    if (e->score != NULL) {
        struct tarn_kernel_stats stats;
        tarn_score_get_stats(e->score, &stats);
        add_stats(&e->past_score, &stats);
        tarn_round_free(&e->round);
        tarn_score_destroy(&e->score);
        e->round_in_flight = false;
    }
    bool moved = e->lookup == NULL || e->cache == NULL || move_index(e, NULL) == TARN_OK;
    if (moved) {
        if (e->lookup != NULL) {
            struct tarn_kernel_stats stats;
            tarn_lookup_get_stats(e->lookup, &stats);
            add_stats(&e->past_lookup, &stats);
        }
        tarn_lookup_destroy(&e->lookup);
        tarn_queue_destroy(&e->lookup_queue);
        tarn_queue_destroy(&e->score_queue);
        tarn_queue_destroy(&e->train_queue);
        tarn_device_close(&e->device);
    }
    pthread_mutex_unlock(&e->lookup_lock);
    return moved;
}

/* The host goes on with its work. */
static void leave_for_now(struct tarn_engine *e)
{
    e->leaving = !leave(e);
    tarn_training_go_on(e);
}

static void plan_retry(struct tarn_engine *e)
{
    uint64_t seconds = e->tries < 6 ? UINT64_C(1) << e->tries : CAP;
    e->tries++;
    e->retry_at = moment_of(e) + seconds * second_of(e);
}

tarn_status tarn_engine_open_device(struct tarn_engine *e, struct tarn_error *error)
{
    const struct tarn_device_params device = {.id = e->params.device,
                                              .cache_dir = e->params.cache_dir};
    tarn_status status = e->params.background == TARN_BACKGROUND_THREAD
                             ? tarn_calibration_open(&device, &e->device, error)
                             : tarn_device_open(&device, &e->device, error);
    if (status != TARN_OK)
        return status;
    e->info = *tarn_device_get_info(e->device);
    e->on_device = e->info.type != TARN_DEVICE_HOST;
    tarn_measure_init(e);
    return TARN_OK;
}

tarn_status tarn_engine_enter_device(struct tarn_engine *e, struct tarn_error *error)
{
    struct tarn_error reason = {0};
    if (!e->on_device)
        return TARN_OK;
    tarn_status status = enter(e, &reason);
    if (status == TARN_OK)
        return TARN_OK;
    if (status == TARN_NO_MEMORY || status == TARN_INVALID) {
        if (error != NULL)
            *error = reason;
        return status;
    }
    /* a device that fails at the first touch is like one that is lost later */
    tarn_log(TARN_LOG_WARNING, "engine: %s can't be used (%s): the host does its work", e->info.id,
             reason.message[0] != '\0' ? reason.message : tarn_status_message(status));
    leave_for_now(e);
    e->losses++;
    plan_retry(e);
    return TARN_OK;
}

void tarn_engine_leave_device(struct tarn_engine *e)
{
    if (e->device != NULL)
        leave(e);
}

/* What failed since the last look, TARN_OK if nothing did. */
static tarn_status failure_of(struct tarn_engine *e)
{
    if (tarn_device_is_lost(e->device))
        return TARN_DEVICE_LOST;
    if (e->score_failure != TARN_OK)
        return e->score_failure;
    if (e->lookup != NULL && tarn_lookup_has_failed(e->lookup))
        return TARN_DRIVER;
    /* while the arbiter has it, nothing is known of it but that it comes back */
    bool ours = atomic_load(&e->job) != TARN_JOB_RUNS;
    if (ours && e->trains_on_device && !tarn_trainer_is_on_device(e->trainer))
        return TARN_DRIVER;
    /* nothing comes back from a launch that hangs */
    uint64_t now = tarn_clock_ns();
    bool round = e->round_in_flight && now - e->round_since > HANG_NS;
    bool training = tarn_training_hangs(e) ||
                    (e->share == NULL && e->trains_on_device &&
                     tarn_trainer_in_flight(e->trainer) && now - e->train_since > HANG_NS);
    if (round || training) {
        tarn_device_abandon(e->device, round ? "scores don't end" : "a gradient step doesn't end");
        return TARN_TIMEOUT;
    }
    return TARN_OK;
}

void tarn_engine_watch_device(struct tarn_engine *e)
{
    if (!e->on_device)
        return;
    if (e->leaving) {
        leave_for_now(e);
        return;
    }
    if (e->device != NULL) {
        tarn_status failure = failure_of(e);
        if (failure == TARN_OK)
            return;
        /* it worked for a while: this is a new trouble, not the old one */
        if (e->tries > 0 && moment_of(e) - e->entered_at > CAP * second_of(e))
            e->tries = 0;
        plan_retry(e);
        e->losses++;
        e->score_failure = TARN_OK;
        tarn_log(TARN_LOG_WARNING,
                 "engine: %s failed (%s): the host does its work, and it is tried again later",
                 e->info.id, tarn_status_message(failure));
        leave_for_now(e);
        return;
    }
    if (moment_of(e) < e->retry_at)
        return;
    struct tarn_error error = {0};
    tarn_status status = tarn_device_open(
        &(struct tarn_device_params){.id = e->info.id, .cache_dir = e->params.cache_dir},
        &e->device, &error);
    if (status == TARN_OK) {
        /* no lookup may begin before all of it is there */
        pthread_mutex_lock(&e->lookup_lock);
        tarn_training_pause(e);
        tarn_training_settle(e);
        status = enter(e, &error);
        pthread_mutex_unlock(&e->lookup_lock);
        if (status != TARN_OK)
            leave_for_now(e);
        else
            tarn_training_go_on(e);
    }
    if (status != TARN_OK) {
        tarn_log(TARN_LOG_INFO, "engine: %s isn't back yet: %s", e->info.id,
                 error.message[0] != '\0' ? error.message : tarn_status_message(status));
        plan_retry(e);
        return;
    }
    e->entered_at = moment_of(e);
    e->returns++;
    tarn_log(TARN_LOG_WARNING, "engine: %s is back in use", e->info.id);
}
