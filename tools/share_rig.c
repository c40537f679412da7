/* SPDX-License-Identifier: Apache-2.0 */
#include "share_rig.h"

#include <string.h>
#include <tarn/virtual.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"
#include "kernels/train.h"

#define BUCKETS      (1u << 16)
#define FRAME_PERIOD 16700000
#define MOST_STEPS   4096 /* of a launch in the backlog */
#define TRIES        9

enum { BATCH = 128, STEPS = 10, TILES_A_STEP = BATCH / TARN_LANES };

static const struct tarn_shape shape = {28, 32, 32, 11};

uint64_t tarn_rig_now(void *context)
{
    const struct tarn_rig *rig = context;
    return rig->simulated ? tarn_virtual_now(rig->device) : tarn_clock_ns();
}

void tarn_rig_wait(struct tarn_rig *rig, uint64_t until_ns)
{
    uint64_t now = tarn_rig_now(rig);
    if (until_ns <= now)
        return;
    if (rig->simulated) {
        tarn_virtual_advance(rig->device, until_ns - now);
        return;
    }
    struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static tarn_status make_buffer(struct tarn_rig *rig, size_t size, tarn_buffer **buffer)
{
    return tarn_buffer_create(rig->device, &(struct tarn_buffer_params){.size = size}, buffer);
}

static tarn_status open_lookup(struct tarn_rig *rig, struct tarn_error *error)
{
    tarn_status status =
        tarn_canary_create(rig->device, &(struct tarn_kernel_params){.source = &tarn_lookup_source},
                           NULL, &rig->lookup, error);
    if (status == TARN_OK)
        status = make_buffer(rig, (size_t)BUCKETS * 64, &rig->index);
    if (status == TARN_OK)
        status = make_buffer(rig, (size_t)rig->keys * 8, &rig->hashes);
    if (status == TARN_OK)
        status = make_buffer(rig, (size_t)rig->keys * 4, &rig->slots);
    if (status != TARN_OK)
        return status;
    uint64_t *index = tarn_buffer_data(rig->index), *hashes = tarn_buffer_data(rig->hashes);
    for (size_t i = 0; i < (size_t)BUCKETS * 8; i++)
        index[i] = tarn_rng_next(&rig->rng) | UINT64_C(1) << 32;
    for (uint32_t i = 0; i < rig->keys; i++)
        hashes[i] = tarn_rng_next(&rig->rng) | UINT64_C(1) << 32;
    rig->mask = BUCKETS - 1;
    status = tarn_buffer_upload(rig->high, rig->index, 0, (size_t)BUCKETS * 64);
    return status == TARN_OK ? tarn_queue_finish(rig->high, TARN_FOREVER) : status;
}

tarn_status tarn_rig_lookup(struct tarn_rig *rig, tarn_event **event)
{
    struct tarn_lookup_constants constants = {rig->keys, rig->mask};
    tarn_status status = tarn_buffer_upload(rig->high, rig->hashes, 0, (size_t)rig->keys * 8);
    if (status == TARN_OK)
        status = tarn_queue_submit(
            rig->high,
            &(struct tarn_launch){.kernel = rig->lookup,
                                  .buffers = (tarn_buffer *[]){rig->index, rig->hashes, rig->slots},
                                  .constants = &constants,
                                  .groups = tarn_kernel_groups(rig->lookup, rig->keys)},
            event);
    if (status == TARN_OK)
        status = tarn_buffer_download(rig->high, rig->slots, 0, (size_t)rig->keys * 4);
    return status;
}

void tarn_rig_lookup_on_host(struct tarn_rig *rig)
{
    tarn_lookup_host(tarn_buffer_data(rig->index), rig->mask, tarn_buffer_data(rig->hashes),
                     rig->keys, tarn_buffer_data(rig->slots));
}

static tarn_status open_training(struct tarn_rig *rig, const struct tarn_rig_options *options,
                                 struct tarn_error *error)
{
    int32_t defines[TARN_SHAPE_DEFINES];
    uint32_t most = options->backlog_ns > 0 ? MOST_STEPS : TARN_RIG_NAIVE_STEPS;
    size_t samples = (size_t)BATCH * most, weights = tarn_shape_weights(&shape);
    size_t counts[7] = {weights,
                        weights,
                        weights,
                        tarn_shape_tile_floats(&shape, samples),
                        samples,
                        most,
                        tarn_train_scratch_floats(&shape, BATCH)};
    tarn_shape_defines(&shape, defines);
    tarn_status status = tarn_canary_create(
        rig->device, &(struct tarn_kernel_params){.source = &tarn_train_source, .defines = defines},
        NULL, &rig->train, error);
    for (int i = 0; i < 7 && status == TARN_OK; i++)
        status = make_buffer(rig, counts[i] * 4, &rig->lane[0].buffers[i]);
    if (status != TARN_OK)
        return status;
    float *start = tarn_buffer_data(rig->lane[0].buffers[0]);
    for (size_t i = 0; i < weights; i++)
        start[i] = (tarn_rng_float(&rig->rng) - 0.5f) * 0.7f;
    float *tiles = tarn_buffer_data(rig->lane[0].buffers[3]);
    for (size_t i = 0; i < counts[3]; i++)
        tiles[i] = (tarn_rng_float(&rig->rng) - 0.5f) * 4.0f;
    uint32_t *labels = tarn_buffer_data(rig->lane[0].buffers[4]);
    for (size_t i = 0; i < samples; i++)
        labels[i] = tarn_label(1 + tarn_rng_below(&rig->rng, shape.outputs), -1);
    for (int i = 0; i < 5 && status == TARN_OK; i++)
        status = tarn_buffer_upload(rig->low, rig->lane[0].buffers[i], 0, counts[i] * 4);
    if (status == TARN_OK)
        status = tarn_trainer_create(&(struct tarn_trainer_params){.shape = &shape,
                                                                   .weights = start,
                                                                   .device = rig->device,
                                                                   .queue = rig->low,
                                                                   .batch = BATCH,
                                                                   .steps = TARN_RIG_JOB_STEPS,
                                                                   .rate = 1e-5f},
                                     &rig->trainer, error);
    if (status != TARN_OK)
        return status;
    for (uint32_t i = 0; i < BATCH * TARN_RIG_JOB_STEPS; i++) {
        int8_t features[64];
        for (uint32_t f = 0; f < shape.inputs; f++)
            features[f] = (int8_t)tarn_rng_below(&rig->rng, 128);
        tarn_trainer_stage(rig->trainer, i, features, 1 / 32.0f, labels[i % samples]);
    }
    return tarn_queue_finish(rig->low, TARN_FOREVER);
}

/* Weights, moments, losses and scratch of their own for the other lanes. */
static tarn_status open_lanes(struct tarn_rig *rig)
{
    static const int own[] = {0, 1, 2, 5, 6};
    const struct tarn_device_info *info = tarn_device_get_info(rig->device);
    rig->lane[0].queue = rig->low;
    rig->lanes = info->type == TARN_DEVICE_CPU ? info->limits.compute_units : 1;
    if (rig->lanes > TARN_RIG_LANES)
        rig->lanes = TARN_RIG_LANES;
    rig->whole = info->type == TARN_DEVICE_CPU && !info->stop_flag;
    tarn_status status = TARN_OK;
    for (uint32_t l = 1; l < rig->lanes && status == TARN_OK; l++) {
        memcpy(rig->lane[l].buffers, rig->lane[0].buffers, sizeof rig->lane[l].buffers);
        for (int i = 0; i < 5; i++)
            rig->lane[l].buffers[own[i]] = NULL;
        status = tarn_queue_create(rig->device,
                                   &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW},
                                   &rig->lane[l].queue);
        for (int i = 0; i < 5 && status == TARN_OK; i++) {
            tarn_buffer *like = rig->lane[0].buffers[own[i]];
            tarn_buffer **buffer = &rig->lane[l].buffers[own[i]];
            size_t size = tarn_buffer_size(like);
            status = make_buffer(rig, size, buffer);
            if (status == TARN_OK && i == 0)
                memcpy(tarn_buffer_data(*buffer), tarn_buffer_data(like), size);
            if (status == TARN_OK && i < 3)
                status = tarn_buffer_upload(rig->lane[l].queue, *buffer, 0, size);
        }
        if (status == TARN_OK)
            status = tarn_queue_finish(rig->lane[l].queue, TARN_FOREVER);
    }
    return status;
}

static void close_lanes(struct tarn_rig *rig)
{
    for (uint32_t l = TARN_RIG_LANES; l-- > 0;) {
        if (l > 0 && rig->lane[l].queue != NULL)
            tarn_queue_finish(rig->lane[l].queue, TARN_FOREVER);
        for (int i = 0; i < 7; i++)
            if (l == 0 || rig->lane[l].buffers[i] != rig->lane[0].buffers[i])
                tarn_buffer_destroy(&rig->lane[l].buffers[i]);
        if (l > 0)
            tarn_queue_destroy(&rig->lane[l].queue);
    }
}

static tarn_status launch_steps(struct tarn_rig *rig, uint32_t lane, uint32_t steps,
                                tarn_event **event)
{
    struct tarn_train_constants constants = {.steps = steps,
                                             .batch = BATCH,
                                             .first_step = rig->first_step,
                                             .rate = 1e-5f,
                                             .beta1 = 0.9f,
                                             .beta2 = 0.999f,
                                             .epsilon = 1e-7f};
    return tarn_queue_submit(rig->lane[lane].queue,
                             &(struct tarn_launch){.kernel = rig->train,
                                                   .buffers = rig->lane[lane].buffers,
                                                   .constants = &constants,
                                                   .groups = 1},
                             event);
}

static uint64_t middle(uint64_t *values, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && values[j] < values[j - 1]; j--) {
            uint64_t swapped = values[j];
            values[j] = values[j - 1];
            values[j - 1] = swapped;
        }
    return values[count / 2];
}

/* What a lookup costs on the idle device, and what lies between two of them. */
static tarn_status measure_lookup(struct tarn_rig *rig)
{
    uint64_t took[TRIES], gap[TRIES], submit[TRIES];
    tarn_status status = TARN_OK;
    for (int i = -2; i < TRIES && status == TARN_OK; i++) {
        tarn_event *event[2] = {NULL, NULL};
        struct tarn_event_times times[2] = {{0}};
        uint64_t begun = tarn_rig_now(rig);
        for (int k = 0; k < 2 && status == TARN_OK; k++)
            status = tarn_rig_lookup(rig, &event[k]);
        for (int k = 0; k < 2 && status == TARN_OK; k++) {
            status = tarn_event_wait(event[k], TARN_FOREVER);
            if (status == TARN_OK && tarn_event_get_times(event[k], &times[k]) != TARN_OK)
                times[k].start_ns = times[k].end_ns = tarn_rig_now(rig);
        }
        for (int k = 0; k < 2; k++)
            tarn_event_release(&event[k]);
        if (i < 0)
            continue;
        took[i] = times[0].end_ns - times[0].start_ns;
        gap[i] = times[1].start_ns > times[0].end_ns ? times[1].start_ns - times[0].end_ns : 0;
        submit[i] = rig->simulated ? times[0].start_ns - begun : 0;
    }
    rig->lookup_ns = middle(took, TRIES);
    rig->gap_ns = middle(gap, TRIES);
    rig->submit_ns = middle(submit, TRIES);
    return status;
}

/* So many steps that a launch of them takes about `ns`. */
static tarn_status size_backlog(struct tarn_rig *rig, uint64_t ns)
{
    rig->launch_steps = ns > 0 ? STEPS : TARN_RIG_NAIVE_STEPS;
    for (int i = 0; i < 4 && ns > 0; i++) {
        tarn_event *event = NULL;
        uint64_t begun = tarn_rig_now(rig);
        tarn_status status = launch_steps(rig, 0, rig->launch_steps, &event);
        if (status == TARN_OK)
            status = tarn_event_wait(event, TARN_FOREVER);
        tarn_event_release(&event);
        if (status != TARN_OK)
            return status;
        uint64_t took = tarn_rig_now(rig) - begun + 1;
        const float *loss = tarn_buffer_data(rig->lane[0].buffers[5]);
        if (i > 0 && loss[rig->launch_steps - 1] != loss[rig->launch_steps - 1]) {
            rig->launch_steps =
                STEPS; /* a driver that ends long loops (see TARN_SPIRV_TURN_LIMIT_ID) */
            return TARN_OK;
        }
        uint64_t steps = rig->launch_steps * ns / took;
        rig->launch_steps = steps < STEPS        ? STEPS
                            : steps > MOST_STEPS ? MOST_STEPS
                                                 : (uint32_t)steps;
    }
    return TARN_OK;
}

tarn_status tarn_rig_open(struct tarn_rig *rig, const struct tarn_rig_options *options,
                          struct tarn_error *error)
{
    *rig = (struct tarn_rig){.keys = options->keys};
    tarn_rng_seed(&rig->rng, options->seed);
    tarn_status status = tarn_device_open(
        &(struct tarn_device_params){.id = options->id, .cache_dir = options->cache_dir},
        &rig->device, error);
    if (status != TARN_OK)
        return status;
    rig->simulated = tarn_device_get_info(rig->device)->type == TARN_DEVICE_VIRTUAL;
    status = tarn_queue_create(
        rig->device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_HIGH}, &rig->high);
    if (status == TARN_OK)
        status = tarn_queue_create(
            rig->device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW}, &rig->low);
    if (status == TARN_OK)
        status = open_lookup(rig, error);
    if (status == TARN_OK)
        status = open_training(rig, options, error);
    if (status == TARN_OK)
        status = open_lanes(rig);
    if (status == TARN_OK)
        status = measure_lookup(rig);
    if (status == TARN_OK)
        status = size_backlog(rig, options->backlog_ns);
    if (status == TARN_OK && rig->simulated && options->frame_ns > 0)
        status = tarn_virtual_set_frames(
            rig->device,
            &(struct tarn_virtual_frames){FRAME_PERIOD, options->frame_ns, TARN_PRIORITY_LOW});
    if (status != TARN_OK) {
        if (error->message[0] == '\0')
            tarn_fail(error, status, "bench: %s: %s", options->id, tarn_status_message(status));
        tarn_rig_close(rig);
    }
    return status;
}

void tarn_rig_close(struct tarn_rig *rig)
{
    if (rig->low != NULL)
        tarn_queue_finish(rig->low, TARN_FOREVER);
    for (int i = 0; i < TARN_RIG_BACKLOG; i++)
        tarn_event_release(&rig->backlog[i]);
    tarn_trainer_destroy(&rig->trainer);
    tarn_kernel_destroy(&rig->train);
    tarn_kernel_destroy(&rig->lookup);
    close_lanes(rig);
    tarn_buffer_destroy(&rig->index);
    tarn_buffer_destroy(&rig->hashes);
    tarn_buffer_destroy(&rig->slots);
    tarn_queue_destroy(&rig->high);
    tarn_queue_destroy(&rig->low);
    tarn_device_close(&rig->device);
}

/* ---- the backlog ---- */

tarn_status tarn_rig_feed_backlog(struct tarn_rig *rig, uint32_t lanes)
{
    while (rig->backlog_count > 0 &&
           tarn_event_wait(rig->backlog[rig->backlog_at % TARN_RIG_BACKLOG], 0) == TARN_OK) {
        tarn_event_release(&rig->backlog[rig->backlog_at++ % TARN_RIG_BACKLOG]);
        rig->backlog_count--;
        rig->steps += rig->launch_steps;
    }
    tarn_status status = TARN_OK;
    while (rig->backlog_count < TARN_RIG_BACKLOG && status == TARN_OK) {
        uint32_t at = rig->backlog_at + rig->backlog_count;
        status =
            launch_steps(rig, at % lanes, rig->launch_steps, &rig->backlog[at % TARN_RIG_BACKLOG]);
        rig->first_step += rig->launch_steps;
        rig->backlog_count += status == TARN_OK;
    }
    return status;
}

tarn_status tarn_rig_drain_backlog(struct tarn_rig *rig)
{
    tarn_status status = TARN_OK;
    for (uint32_t l = 0; l < rig->lanes && status == TARN_OK; l++)
        status = tarn_queue_finish(rig->lane[l].queue, TARN_FOREVER);
    for (; rig->backlog_count > 0; rig->backlog_count--)
        tarn_event_release(&rig->backlog[rig->backlog_at++ % TARN_RIG_BACKLOG]);
    return status;
}

/* ---- the arbiter's work ---- */

static tarn_status submit_slice(void *user, uint32_t ticket, uint32_t units, uint32_t *submitted)
{
    struct tarn_rig *rig = user;
    if (!tarn_trainer_in_flight(rig->trainer)) {
        tarn_status status = tarn_trainer_begin(rig->trainer, TARN_RIG_JOB_STEPS);
        if (status != TARN_OK)
            return status;
        rig->begun = 0;
    }
    uint32_t left = TILES_A_STEP - rig->begun % TILES_A_STEP;
    if (rig->whole && units > left)
        units = left + (units - left) / TILES_A_STEP * TILES_A_STEP;
    tarn_status status = tarn_trainer_slice(rig->trainer, units, ticket, submitted);
    rig->begun += status == TARN_OK ? *submitted : 0;
    return status;
}

static tarn_status poll_slice(void *user, uint64_t timeout_us, struct tarn_share_slice *slice)
{
    struct tarn_rig *rig = user;
    struct tarn_trainer_slice done;
    tarn_status status = tarn_trainer_poll(rig->trainer, timeout_us, &done);
    if (status == TARN_OK) {
        *slice = (struct tarn_share_slice){done.tiles_done, done.start_ns, done.end_ns};
        rig->tiles += done.tiles_done;
    }
    return status;
}

static void stop_slices(void *user, uint32_t ticket)
{
    struct tarn_rig *rig = user;
    tarn_trainer_stop(rig->trainer, ticket);
}

struct tarn_share_work tarn_rig_work(struct tarn_rig *rig)
{
    return (struct tarn_share_work){
        .name = "training",
        .user = rig,
        .submit = submit_slice,
        .poll = poll_slice,
        .stop = tarn_device_get_info(rig->device)->stop_flag ? stop_slices : NULL,
    };
}

double tarn_rig_arbiter_steps(const struct tarn_rig *rig)
{
    return (double)rig->tiles * TARN_LANES / BATCH;
}
