/* SPDX-License-Identifier: Apache-2.0 */
#include "trainer.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "gpu/backend.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/train.h"

#define LONGEST_WAIT_US 10000000 /* a launch that takes longer hangs */

enum { WEIGHTS, M, V, TILES, LABELS, LOSSES, SCRATCH, BUFFERS };

struct tarn_trainer {
    struct tarn_shape shape;
    uint32_t batch, most_steps;
    float rate;
    uint64_t steps;
    float loss;
    bool on_device, in_flight;
    uint32_t flying_steps;

    void *memory[BUFFERS]; /**< the host's views: of device buffers, or owned */
    /**
     * Owned, while on a device: where the host goes on when the device fails. Weights and moments as
     * after the last launch that went well: the device may have half-written its own.
     */
    void *fallback[BUFFERS];
    size_t size[BUFFERS];
    tarn_device *device;
    tarn_queue *queue;
    tarn_buffer *buffer[BUFFERS];
    tarn_kernel *kernel;
    tarn_event *event;
    uint64_t device_ns, launches;
};

static void free_host_memory(tarn_trainer *t)
{
    for (int i = 0; i < BUFFERS; i++) {
        tarn_free(t->fallback[i]);
        if (!t->on_device)
            tarn_free(t->memory[i]);
        t->fallback[i] = t->memory[i] = NULL;
    }
}

static void free_device_objects(tarn_trainer *t)
{
    tarn_event_release(&t->event);
    tarn_kernel_destroy(&t->kernel);
    for (int i = 0; i < BUFFERS; i++)
        tarn_buffer_destroy(&t->buffer[i]);
}

static tarn_status make_on_host(const tarn_trainer *t, void *memory[BUFFERS])
{
    for (int i = 0; i < SCRATCH; i++) {
        memory[i] = tarn_alloc_aligned(64, (t->size[i] + 63) / 64 * 64);
        if (memory[i] == NULL)
            return TARN_NO_MEMORY;
        memset(memory[i], 0, t->size[i]);
    }
    return TARN_OK;
}

static tarn_status make_on_device(tarn_trainer *t, struct tarn_error *error)
{
    t->on_device = true;
    tarn_status status = t->fallback[WEIGHTS] != NULL ? TARN_OK : make_on_host(t, t->fallback);
    for (int i = 0; i < BUFFERS && status == TARN_OK; i++) {
        status = tarn_buffer_create(
            t->device,
            &(struct tarn_buffer_params){.size = t->size[i], .device_only = i == SCRATCH},
            &t->buffer[i]);
        if (status == TARN_OK)
            t->memory[i] = tarn_buffer_data(t->buffer[i]);
    }
    int32_t defines[TARN_MAX_DEFINES];
    tarn_shape_defines(&t->shape, defines);
    if (status == TARN_OK)
        status = tarn_canary_create(
            t->device,
            &(struct tarn_kernel_params){.source = &tarn_train_source, .defines = defines}, NULL,
            &t->kernel, error);
    return status;
}

tarn_status tarn_trainer_create(const struct tarn_trainer_params *params, tarn_trainer **trainer,
                                struct tarn_error *error)
{
    tarn_trainer *t = tarn_alloc_zeroed(1, sizeof *t);
    if (t == NULL)
        return TARN_NO_MEMORY;
    size_t weights = tarn_shape_weights(params->shape) * sizeof(float);
    size_t samples = (size_t)params->batch * params->steps;
    t->shape = *params->shape;
    t->batch = params->batch;
    t->most_steps = params->steps;
    t->rate = params->rate;
    t->loss = NAN;
    t->device = params->device;
    t->queue = params->queue;
    t->size[WEIGHTS] = t->size[M] = t->size[V] = weights;
    t->size[TILES] = tarn_shape_tile_floats(params->shape, samples) * sizeof(float);
    t->size[LABELS] = samples * sizeof(uint32_t);
    t->size[LOSSES] = params->steps * sizeof(float);
    t->size[SCRATCH] = tarn_train_scratch_floats(params->shape, params->batch) * sizeof(float);
    tarn_status status =
        params->device != NULL ? make_on_device(t, error) : make_on_host(t, t->memory);
    if (status == TARN_OK) {
        memcpy(t->memory[WEIGHTS], params->weights, weights);
        if (t->on_device)
            memcpy(t->fallback[WEIGHTS], params->weights, weights);
        if (t->on_device)
            for (int i = WEIGHTS; i <= V && status == TARN_OK; i++)
                status = tarn_buffer_upload(t->queue, t->buffer[i], 0, t->size[i]);
    }
    if (status != TARN_OK) {
        tarn_trainer_destroy(&t);
        return status;
    }
    *trainer = t;
    return TARN_OK;
}

void tarn_trainer_destroy(tarn_trainer **trainer)
{
    tarn_trainer *t = *trainer;
    if (t == NULL)
        return;
    if (t->in_flight && t->on_device)
        tarn_queue_finish(t->queue, TARN_FOREVER);
    free_host_memory(t);
    free_device_objects(t);
    tarn_free(t);
    *trainer = NULL;
}

void tarn_trainer_stage(tarn_trainer *t, uint32_t i, const int8_t *features, float unit,
                        uint32_t label)
{
    uint32_t inputs = t->shape.inputs;
    float *to =
        (float *)t->memory[TILES] + (size_t)(i / TARN_LANES) * inputs * TARN_LANES + i % TARN_LANES;
    for (uint32_t f = 0; f < inputs; f++)
        to[f * TARN_LANES] = (float)features[f] * unit;
    ((uint32_t *)t->memory[LABELS])[i] = label;
}

void tarn_trainer_set_rate(tarn_trainer *t, float rate)
{
    t->rate = rate;
}

static void take_losses(tarn_trainer *t, uint32_t steps)
{
    const float *losses = t->memory[LOSSES];
    float sum = 0;
    uint32_t finite = 0;
    for (uint32_t i = 0; i < steps; i++)
        if (isfinite(losses[i])) {
            sum += losses[i];
            finite++;
        }
    t->loss = finite > 0 ? sum / (float)finite : NAN;
    t->steps += steps;
}

static struct tarn_train_constants constants_for(const tarn_trainer *t, uint32_t steps)
{
    return (struct tarn_train_constants){
        .steps = steps,
        .batch = t->batch,
        .first_step = t->steps > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)t->steps,
        .rate = t->rate,
        .beta1 = 0.9f,
        .beta2 = 0.999f,
        .epsilon = 1e-7f,
    };
}

static void run_on_host(tarn_trainer *t, uint32_t steps)
{
    uint64_t begin = tarn_clock_ns();
    struct tarn_train_constants constants = constants_for(t, steps);
    struct tarn_train_state state = {t->memory[WEIGHTS], t->memory[M], t->memory[V]};
    tarn_train_host(&t->shape, &state, &constants, t->memory[TILES], t->memory[LABELS],
                    t->memory[LOSSES], NULL);
    t->device_ns += tarn_clock_ns() - begin;
    t->launches++;
    take_losses(t, steps);
}

static tarn_status launch(tarn_trainer *t, uint32_t steps)
{
    struct tarn_train_constants constants = constants_for(t, steps);
    size_t samples = (size_t)steps * t->batch;
    tarn_status status = tarn_buffer_upload(
        t->queue, t->buffer[TILES], 0, tarn_shape_tile_floats(&t->shape, samples) * sizeof(float));
    if (status == TARN_OK)
        status = tarn_buffer_upload(t->queue, t->buffer[LABELS], 0, samples * sizeof(uint32_t));
    tarn_event_release(&t->event);
    if (status == TARN_OK)
        status = tarn_queue_submit(t->queue,
                                   &(struct tarn_launch){
                                       .kernel = t->kernel,
                                       .buffers = t->buffer,
                                       .constants = &constants,
                                       .groups = tarn_kernel_groups(t->kernel, t->batch),
                                   },
                                   &t->event);
    /* Adam's moments come back too: the host takes over from here if the device is lost */
    static const int results[] = {WEIGHTS, M, V, LOSSES};
    for (int i = 0; i < 4 && status == TARN_OK; i++)
        status = tarn_buffer_download(t->queue, t->buffer[results[i]], 0, t->size[results[i]]);
    return status;
}

/* The host's state is as after the last launch that went well: nothing can fail any more here. */
static void move_to_host(tarn_trainer *t)
{
    /* what may still run there uses the buffers; a lost device returns at once */
    if (tarn_queue_finish(t->queue, LONGEST_WAIT_US) == TARN_TIMEOUT)
        tarn_device_abandon(t->device, "a gradient step doesn't end");
    for (int i = TILES; i <= LABELS; i++)
        memcpy(t->fallback[i], t->memory[i], t->size[i]);
    memcpy(t->memory, t->fallback, sizeof t->memory);
    memset(t->fallback, 0, sizeof t->fallback);
    t->on_device = false;
    free_device_objects(t);
}

tarn_status tarn_trainer_enter(tarn_trainer *t, tarn_device *device, tarn_queue *queue,
                               struct tarn_error *error)
{
    if (t->in_flight)
        return TARN_BUSY;
    if (t->on_device)
        return TARN_INVALID;
    t->device = device;
    t->queue = queue;
    memcpy(t->fallback, t->memory, sizeof t->fallback);
    memset(t->memory, 0, sizeof t->memory);
    tarn_status status = make_on_device(t, error);
    for (int i = WEIGHTS; i <= V && status == TARN_OK; i++) {
        memcpy(t->memory[i], t->fallback[i], t->size[i]);
        status = tarn_buffer_upload(t->queue, t->buffer[i], 0, t->size[i]);
    }
    if (status != TARN_OK) {
        free_device_objects(t);
        memcpy(t->memory, t->fallback, sizeof t->memory);
        memset(t->fallback, 0, sizeof t->fallback);
        t->on_device = false;
    }
    return status;
}

void tarn_trainer_leave(tarn_trainer *t)
{
    if (!t->on_device)
        return;
    move_to_host(t);
    if (t->in_flight)
        run_on_host(t, t->flying_steps);
}

static void fail_over(tarn_trainer *t, tarn_status reason)
{
    tarn_log(TARN_LOG_WARNING, "net: training leaves the device (%s): going on on the host",
             tarn_status_message(reason));
    move_to_host(t);
}

bool tarn_trainer_is_on_device(const tarn_trainer *t)
{
    return t->on_device;
}

bool tarn_trainer_in_flight(const tarn_trainer *t)
{
    return t->in_flight;
}

tarn_status tarn_trainer_submit(tarn_trainer *t, uint32_t steps)
{
    if (t->in_flight)
        return TARN_BUSY;
    if (steps == 0 || steps > t->most_steps)
        return TARN_INVALID;
    t->flying_steps = steps;
    if (t->on_device) {
        tarn_status status = launch(t, steps);
        if (status == TARN_BUSY)
            return status;
        if (status == TARN_OK) {
            t->in_flight = true;
            return TARN_OK;
        }
        fail_over(t, status);
    }
    run_on_host(t, steps);
    t->in_flight = true;
    return TARN_OK;
}

tarn_status tarn_trainer_wait(tarn_trainer *t, uint64_t timeout_us)
{
    if (!t->in_flight)
        return TARN_NOT_FOUND;
    if (t->event == NULL) { /* done at submit, on the host */
        t->in_flight = false;
        return TARN_OK;
    }
    tarn_status status = tarn_event_wait(t->event, timeout_us);
    if (status == TARN_TIMEOUT)
        return status;
    t->in_flight = false;
    if (status == TARN_OK)
        status = tarn_queue_finish(t->queue, TARN_FOREVER); /* the downloads behind the launch */
    if (status != TARN_OK) {
        /* the same steps again, from where the launch began */
        fail_over(t, status);
        run_on_host(t, t->flying_steps);
        return TARN_OK;
    }
    struct tarn_event_times times;
    if (tarn_event_get_times(t->event, &times) == TARN_OK)
        t->device_ns += times.end_ns - times.start_ns;
    t->launches++;
    tarn_event_release(&t->event);
    for (int i = WEIGHTS; i <= V; i++)
        memcpy(t->fallback[i], t->memory[i], t->size[i]);
    take_losses(t, t->flying_steps);
    return TARN_OK;
}

const float *tarn_trainer_weights(const tarn_trainer *t)
{
    return t->memory[WEIGHTS];
}

float tarn_trainer_loss(const tarn_trainer *t)
{
    return t->loss;
}

uint64_t tarn_trainer_steps(const tarn_trainer *t)
{
    return t->steps;
}

void tarn_trainer_times(const tarn_trainer *t, uint64_t *device_ns, uint64_t *launches)
{
    *device_ns = t->device_ns;
    *launches = t->launches;
}
