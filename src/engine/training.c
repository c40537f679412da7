/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Training under the arbiter. A job of gradient steps passes from the background, which draws its
 * samples, to the arbiter, which runs it slice by slice, and back, with new weights: `job` says who has
 * the trainer. What the caller's requests are the clock of (TARN_BACKGROUND_STEPS) does without.
 */
#include "engine_private.h"

#include <math.h>
#include <tarn/virtual.h>

#include "base/clock.h"
#include "base/kept.h"
#include "base/log.h"
#include "base/options.h"

#define LOOK_NS    1000000000u             /* between two looks at the board's sensors */
#define KEEP_NS    UINT64_C(3600000000000) /* between two times that the pattern of days is kept */
#define WORTH_NS   UINT64_C(900000000000)  /* a shorter run has learned nothing of a day */
#define PATTERN    "activity"
#define SMALL_RING 1024     /* samples, while memory is short */
#define SETTLE_US  30000000 /* a launch that takes longer won't end */

_Static_assert((int)TARN_TRAIN_ON_BATTERY_NEVER == TARN_ON_BATTERY_NEVER &&
                   (int)TARN_TRAIN_ON_BATTERY_LOW == TARN_ON_BATTERY_LOW &&
                   (int)TARN_TRAIN_ON_BATTERY_ALWAYS == TARN_ON_BATTERY_ALWAYS,
               "the public names have the same numbers");

static void end_job(struct tarn_engine *e)
{
    if (!tarn_trainer_in_flight(e->trainer))
        atomic_store_explicit(&e->job, TARN_JOB_DONE, memory_order_release);
}

static tarn_status submit_slice(void *user, uint32_t ticket, uint32_t tiles, uint32_t *submitted)
{
    struct tarn_engine *e = user;
    *submitted = 0;
    if (atomic_load_explicit(&e->job, memory_order_acquire) != TARN_JOB_RUNS)
        return TARN_OK;
    tarn_status status = tarn_trainer_slice(e->trainer, tiles, ticket, submitted);
    /* the device failed, and all of it was done on the host */
    if (!tarn_trainer_in_flight(e->trainer)) {
        *submitted = 0;
        end_job(e);
    }
    return status;
}

static tarn_status poll_slice(void *user, uint64_t timeout_us, struct tarn_share_slice *slice)
{
    struct tarn_engine *e = user;
    struct tarn_trainer_slice done;
    tarn_status status = tarn_trainer_poll(e->trainer, timeout_us, &done);
    if (status != TARN_OK)
        return status;
    *slice = (struct tarn_share_slice){done.tiles_done, done.start_ns, done.end_ns};
    end_job(e);
    return TARN_OK;
}

static void stop_slices(void *user, uint32_t ticket)
{
    struct tarn_engine *e = user;
    tarn_trainer_stop(e->trainer, ticket);
}

static uint64_t simulated_ns(void *user)
{
    const struct tarn_engine *e = user;
    return e->device != NULL ? tarn_virtual_now(e->device) : e->simulated_ns;
}

static bool is_simulated(const struct tarn_engine *e)
{
    return e->info.type == TARN_DEVICE_VIRTUAL;
}

/* Day and week as they were: a simulated device has neither. */
static void read_pattern(struct tarn_engine *e)
{
    uint8_t bytes[TARN_SHARE_PATTERN_BYTES];
    if (!is_simulated(e) &&
        tarn_kept_read(e->params.cache_dir, PATTERN, bytes, sizeof bytes) == TARN_OK &&
        tarn_share_set_pattern(e->share, bytes, sizeof bytes) != TARN_OK)
        tarn_log(TARN_LOG_INFO, "engine: %s is damaged: the day is learned anew", PATTERN);
}

static void keep_pattern(struct tarn_engine *e)
{
    uint8_t bytes[TARN_SHARE_PATTERN_BYTES];
    struct tarn_error error = {0};
    if (is_simulated(e))
        return;
    tarn_share_get_pattern(e->share, bytes);
    if (tarn_kept_write(e->params.cache_dir, PATTERN, bytes, sizeof bytes, &error) != TARN_OK)
        tarn_log(TARN_LOG_INFO, "engine: what days are like is not kept: %s", error.message);
}

tarn_status tarn_training_init(struct tarn_engine *e, struct tarn_error *error)
{
    atomic_init(&e->job, TARN_JOB_NONE);
    if (e->params.background != TARN_BACKGROUND_THREAD || e->params.no_learn)
        return TARN_OK;
    const struct tarn_share_work work = {
        .name = "training",
        .user = e,
        .submit = submit_slice,
        .poll = poll_slice,
        .stop = e->info.stop_flag ? stop_slices : NULL,
    };
    struct tarn_virtual_model model = {0};
    if (is_simulated(e))
        tarn_virtual_get_model(e->device, &model);
    tarn_status status = tarn_share_create(
        &(struct tarn_share_params){
            .work = &work,
            .now_ns = is_simulated(e) ? simulated_ns : NULL,
            .clock_user = e,
            .latency_budget_us = e->params.latency_budget_us,
            .dwell_us = e->params.train_dwell_us,
            .overtakes = model.priority,
            .spare_time = !e->on_device,
        },
        &e->share, error);
    if (status == TARN_OK)
        status = tarn_sensors_open(
            &(struct tarn_sensors_params){.root = tarn_option_get(TARN_OPTION_SYSFS_ROOT)},
            &e->sensors);
    if (status != TARN_OK)
        return status;
    read_pattern(e);
    e->pattern_kept_ns = tarn_clock_ns();
    tarn_share_set_training(e->share, atomic_load(&e->training));
    return TARN_OK;
}

tarn_status tarn_training_start(struct tarn_engine *e)
{
    return e->share != NULL && !is_simulated(e) ? tarn_share_start(e->share) : TARN_OK;
}

void tarn_training_free(struct tarn_engine *e)
{
    if (e->share != NULL && tarn_clock_ns() - e->pattern_kept_ns > WORTH_NS)
        keep_pattern(e);
    tarn_share_destroy(&e->share);
    tarn_sensors_destroy(&e->sensors);
}

void tarn_training_hand_over(struct tarn_engine *e, uint32_t steps)
{
    if (tarn_trainer_begin(e->trainer, steps) != TARN_OK)
        return;
    atomic_store_explicit(&e->job, TARN_JOB_RUNS, memory_order_release);
    tarn_share_kick(e->share);
}

void tarn_training_pause(struct tarn_engine *e)
{
    if (e->share != NULL)
        tarn_share_stop(e->share, 0);
}

void tarn_training_go_on(struct tarn_engine *e)
{
    if (e->share == NULL)
        return;
    if (atomic_load(&e->job) == TARN_JOB_RUNS)
        end_job(e);
    tarn_share_resume(e->share);
    if (tarn_training_start(e) != TARN_OK)
        tarn_log(TARN_LOG_ERROR, "engine: no thread for training: it waits");
}

/* On the host a job is over soon; a device takes one only between two. */
void tarn_training_settle(struct tarn_engine *e)
{
    while (tarn_trainer_in_flight(e->trainer) && !tarn_trainer_is_on_device(e->trainer)) {
        uint32_t submitted;
        if (tarn_trainer_slice(e->trainer, 0, 0, &submitted) != TARN_OK && submitted == 0)
            break;
        tarn_trainer_poll(e->trainer, SETTLE_US, NULL);
    }
    if (atomic_load(&e->job) == TARN_JOB_RUNS)
        end_job(e);
}

bool tarn_training_hangs(struct tarn_engine *e)
{
    struct tarn_share_stats stats;
    if (e->share == NULL)
        return false;
    tarn_share_get_stats(e->share, &stats);
    return stats.failure == TARN_TIMEOUT;
}

/* Memory is short: samples are the first to go, and come again when it isn't. */
static void fit_ring(struct tarn_engine *e, bool small)
{
    uint32_t wanted = small ? SMALL_RING : e->ring_samples;
    tarn_cache_lock(e->cache);
    if (e->ring.size != wanted)
        tarn_learning_give_back(e, true); /* first: it isn't offered all that leaves */
    if (e->ring.size != wanted &&
        tarn_ring_resize(&e->ring, wanted, tarn_cache_now(e->cache)) == TARN_OK)
        tarn_log(TARN_LOG_WARNING, "engine: %u training samples are kept: memory %s",
                 (unsigned)e->ring.size, small ? "is short" : "is there again");
    if (!small)
        tarn_learning_give_back(e, false);
    tarn_cache_unlock(e->cache);
}

/* What the board's sensors say of heat, power and load. */
static void look_at_board(struct tarn_engine *e, uint64_t now)
{
    const struct tarn_train_limits limits = {
        .max_temperature_c = (double)e->params.train_max_temp_c,
        .on_battery = (tarn_on_battery)e->params.train_on_battery,
    };
    struct tarn_reading reading;
    if (now - e->board_seen_ns < LOOK_NS)
        return;
    e->board_seen_ns = now;
    tarn_sensors_read(e->sensors, &reading);
    tarn_gate_update(&e->gate, &limits, &reading, now, &e->verdict);
    e->cpu_load = reading.cpu_load; /* NaN where it isn't known */
    fit_ring(e, e->verdict.give_memory_back);
    bool closed = e->verdict.share <= 0 || e->verdict.give_memory_back;
    tarn_share_set_limit(e->share, (float)e->verdict.share);
    tarn_share_set_activity(e->share, e->on_device ? (float)reading.gpu_load : NAN, NAN,
                            closed ? e->verdict.reason : NULL);
}

/* A simulated device keeps up with the wall's clock, and the arbiter acts in its time. */
static void pass_simulated_time(struct tarn_engine *e, uint64_t now)
{
    uint64_t passed = e->looked_ns > 0 ? now - e->looked_ns : 0;
    uint64_t until = simulated_ns(e) + passed, next = 0;
    e->looked_ns = now;
    for (;;) {
        if (tarn_share_pump(e->share, &next) != TARN_OK)
            next = TARN_SHARE_NEVER;
        uint64_t at = simulated_ns(e);
        if (at >= until)
            return;
        uint64_t step = (next < until ? next : until) - at;
        step = next <= at ? 1000 : step;
        if (e->device == NULL)
            e->simulated_ns += step;
        else if (tarn_virtual_advance(e->device, step) != TARN_OK)
            return;
    }
}

void tarn_training_look(struct tarn_engine *e)
{
    if (e->share == NULL)
        return;
    uint64_t now = tarn_clock_ns();
    look_at_board(e, now);
    if (now - e->pattern_kept_ns > KEEP_NS) {
        keep_pattern(e);
        e->pattern_kept_ns = now;
    }
    if (is_simulated(e))
        pass_simulated_time(e, now);
}
