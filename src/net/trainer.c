/* SPDX-License-Identifier: Apache-2.0 */
#include "trainer.h"

#include <math.h>
#include <pthread.h>
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

/* A launch that hasn't been polled; without an event it has run already, on the host. */
struct flight {
    tarn_event *event;
    uint32_t tiles; /**< that it may run, or that it ran */
    bool stoppable; /**< only its event knows how many it ran */
    struct tarn_trainer_slice result;
};

struct tarn_trainer {
    struct tarn_shape shape;
    uint32_t batch, most_steps;
    float rate;
    uint64_t steps;
    float loss;
    bool on_device;

    bool in_flight; /**< a job is under way */
    struct tarn_train_constants job;
    uint32_t tiles, tiles_done; /**< the job's, and of these what has been polled */
    struct flight flights[TARN_TRAINER_SLICES];
    uint32_t first_flight, flight_count;

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
    uint64_t device_ns, launches;

    pthread_mutex_t lock; /**< guards `stop_buffer`, for those who ask slices to leave */
    tarn_buffer *stop_buffer;
    uint32_t stop
        [2]; /**< as struct tarn_launch's: of slices on the host, and the asked ticket for all */
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
    for (uint32_t i = 0; i < TARN_TRAINER_SLICES; i++)
        tarn_event_release(&t->flights[i].event);
    tarn_kernel_destroy(&t->kernel);
    for (int i = 0; i < BUFFERS; i++)
        tarn_buffer_destroy(&t->buffer[i]);
    pthread_mutex_lock(&t->lock);
    tarn_buffer_destroy(&t->stop_buffer);
    pthread_mutex_unlock(&t->lock);
}

static tarn_status make_on_host(const tarn_trainer *t, void *memory[BUFFERS])
{
    for (int i = 0; i < BUFFERS; i++) {
        memory[i] = tarn_alloc_aligned(64, (t->size[i] + 63) / 64 * 64);
        if (memory[i] == NULL)
            return TARN_NO_MEMORY;
        memset(memory[i], 0, t->size[i]);
    }
    return TARN_OK;
}

/* A device sees from now on what slices are asked to do. */
static tarn_status make_stop_buffer(tarn_trainer *t)
{
    tarn_buffer *buffer = NULL;
    if (!tarn_device_get_info(t->device)->stop_flag)
        return TARN_OK;
    tarn_status status = tarn_buffer_create(
        t->device, &(struct tarn_buffer_params){.size = sizeof t->stop}, &buffer);
    if (status != TARN_OK)
        return status;
    pthread_mutex_lock(&t->lock);
    memcpy(tarn_buffer_data(buffer), t->stop, sizeof t->stop);
    t->stop_buffer = buffer;
    pthread_mutex_unlock(&t->lock);
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
        status = make_stop_buffer(t);
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
    if (pthread_mutex_init(&t->lock, NULL) != 0) {
        tarn_free(t);
        return TARN_NO_MEMORY;
    }
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

void tarn_trainer_stop(tarn_trainer *t, uint32_t ticket)
{
    pthread_mutex_lock(&t->lock);
    if (!tarn_ticket_is_over(t->stop[0], ticket)) {
        __atomic_store_n(&t->stop[0], ticket, __ATOMIC_RELEASE);
        if (t->stop_buffer != NULL)
            __atomic_store_n((uint32_t *)tarn_buffer_data(t->stop_buffer), ticket,
                             __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&t->lock);
}

static void stop_all(tarn_trainer *t)
{
    for (uint32_t i = 0; i < t->flight_count; i++) {
        const struct flight *f = &t->flights[(t->first_flight + i) % TARN_TRAINER_SLICES];
        if (f->stoppable)
            tarn_trainer_stop(t, f->result.ticket);
    }
}

/*
 * What slices are asked must stay within half of all tickets behind them, or an old word would look
 * new after two thousand million slices that nobody stopped.
 */
static void keep_up(tarn_trainer *t, uint32_t ticket)
{
    const uint32_t far = UINT32_C(1) << 30;
    uint32_t asked = __atomic_load_n(&t->stop[0], __ATOMIC_ACQUIRE);
    if (ticket - asked > far && ticket - asked < UINT32_C(0x80000000))
        tarn_trainer_stop(t, ticket - far / 2);
}

/* What may still run on the device uses the buffers; a lost device returns at once. */
static void drain(tarn_trainer *t)
{
    if (tarn_queue_finish(t->queue, LONGEST_WAIT_US) == TARN_TIMEOUT)
        tarn_device_abandon(t->device, "a gradient step doesn't end");
}

void tarn_trainer_destroy(tarn_trainer **trainer)
{
    tarn_trainer *t = *trainer;
    if (t == NULL)
        return;
    if (t->in_flight && t->on_device) {
        stop_all(t);
        drain(t);
    }
    free_host_memory(t);
    free_device_objects(t);
    pthread_mutex_destroy(&t->lock);
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

/* ---- slices ---- */

static struct flight *add_flight(tarn_trainer *t)
{
    struct flight *f = &t->flights[(t->first_flight + t->flight_count) % TARN_TRAINER_SLICES];
    t->flight_count++;
    *f = (struct flight){.tiles = 0};
    return f;
}

/* Where the next slice begins if none of those that fly leaves early. */
static uint32_t next_tile(const tarn_trainer *t)
{
    uint32_t tile = t->tiles_done;
    for (uint32_t i = 0; i < t->flight_count; i++)
        tile += t->flights[(t->first_flight + i) % TARN_TRAINER_SLICES].tiles;
    return tile;
}

/* Tiles from `first` on, now; the slice may be stopped if it has a ticket. */
static void run_on_host(tarn_trainer *t, uint32_t first, uint32_t count, uint32_t ticket)
{
    struct flight *f = add_flight(t);
    f->result.ticket = ticket;
    f->result.start_ns = tarn_clock_ns();
    struct tarn_train_constants constants = t->job;
    constants.first_tile = first;
    constants.tile_count = count;
    struct tarn_train_state state = {t->memory[WEIGHTS], t->memory[M], t->memory[V]};
    struct tarn_train_part part = {
        .scratch = t->memory[SCRATCH], .stop = ticket != 0 ? t->stop : NULL, .ticket = ticket};
    uint32_t next = tarn_train_host(&t->shape, &state, &constants, t->memory[TILES],
                                    t->memory[LABELS], t->memory[LOSSES], &part);
    f->result.end_ns = tarn_clock_ns();
    f->tiles = next - first;
}

static tarn_status download_results(tarn_trainer *t)
{
    /* Adam's moments come back too: the host takes over from here if the device is lost */
    static const int results[] = {WEIGHTS, M, V, LOSSES};
    tarn_status status = TARN_OK;
    for (int i = 0; i < 4 && status == TARN_OK; i++)
        status = tarn_buffer_download(t->queue, t->buffer[results[i]], 0, t->size[results[i]]);
    return status;
}

static tarn_status launch(tarn_trainer *t, uint32_t first, uint32_t count, uint32_t ticket)
{
    bool stoppable = ticket != 0 && t->stop_buffer != NULL;
    struct tarn_launch slice = {
        .kernel = t->kernel,
        .buffers = t->buffer,
        .constants = &t->job,
        .groups = tarn_kernel_groups(t->kernel, t->batch),
        .first_tile = first,
        .tile_count = count,
    };
    if (stoppable) {
        slice.stop = t->stop_buffer;
        slice.ticket = ticket;
        slice.resume = true;
        /* behind what leaves no word, its end is where this begins */
        if (t->flight_count == 0)
            __atomic_store_n((uint32_t *)tarn_buffer_data(t->stop_buffer) + 1, first,
                             __ATOMIC_RELEASE);
    }
    tarn_event *event = NULL;
    tarn_status status = tarn_queue_submit(t->queue, &slice, &event);
    if (status != TARN_OK)
        return status;
    struct flight *f = add_flight(t);
    f->event = event;
    f->tiles = count;
    f->stoppable = stoppable;
    f->result.ticket = ticket;
    /* at once, unless the last tile may be left out; then it is known only when it is polled */
    return !stoppable && first + count == t->tiles ? download_results(t) : TARN_OK;
}

/* The host's state is as after the last launch that went well: nothing can fail any more here. */
static void move_to_host(tarn_trainer *t)
{
    drain(t);
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

/* The whole job again, from where it began: as one slice, which is still to be polled. */
static void redo_on_host(tarn_trainer *t)
{
    uint32_t done = t->tiles_done;
    t->first_flight = t->flight_count = 0;
    run_on_host(t, 0, 0, 0);
    t->flights[0].tiles = t->tiles - done;
}

void tarn_trainer_leave(tarn_trainer *t)
{
    if (!t->on_device)
        return;
    stop_all(t);
    move_to_host(t);
    if (t->in_flight)
        redo_on_host(t);
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

tarn_status tarn_trainer_begin(tarn_trainer *t, uint32_t steps)
{
    if (t->in_flight)
        return TARN_BUSY;
    if (steps == 0 || steps > t->most_steps)
        return TARN_INVALID;
    t->in_flight = true;
    t->job = constants_for(t, steps);
    t->tiles = steps * tarn_train_step_tiles(&t->job);
    t->tiles_done = t->first_flight = t->flight_count = 0;
    if (!t->on_device)
        return TARN_OK;
    size_t samples = (size_t)steps * t->batch;
    tarn_status status = tarn_buffer_upload(
        t->queue, t->buffer[TILES], 0, tarn_shape_tile_floats(&t->shape, samples) * sizeof(float));
    if (status == TARN_OK)
        status = tarn_buffer_upload(t->queue, t->buffer[LABELS], 0, samples * sizeof(uint32_t));
    if (status != TARN_OK)
        fail_over(t, status);
    return TARN_OK;
}

/* Behind launches that may leave early, one that can't be told where to begin has to wait. */
static bool order_is_known(const tarn_trainer *t, uint32_t ticket)
{
    bool resumes = ticket != 0 && t->stop_buffer != NULL;
    for (uint32_t i = 0; i < t->flight_count; i++)
        if (t->flights[(t->first_flight + i) % TARN_TRAINER_SLICES].stoppable != resumes)
            return false;
    return true;
}

tarn_status tarn_trainer_slice(tarn_trainer *t, uint32_t tiles, uint32_t ticket,
                               uint32_t *submitted)
{
    *submitted = 0;
    if (!t->in_flight)
        return TARN_NOT_FOUND;
    uint32_t first = next_tile(t), left = t->tiles - first;
    if (left == 0)
        return TARN_OK;
    if (t->flight_count == TARN_TRAINER_SLICES || (t->on_device && !order_is_known(t, ticket)))
        return TARN_BUSY;
    tiles = tiles == 0 || tiles > left ? left : tiles;
    if (ticket != 0)
        keep_up(t, ticket);
    *submitted = tiles;
    if (!t->on_device) {
        run_on_host(t, first, tiles, ticket);
        return TARN_OK;
    }
    tarn_status status = launch(t, first, tiles, ticket);
    if (status == TARN_BUSY) {
        *submitted = 0;
        return status;
    }
    if (status != TARN_OK) {
        fail_over(t, status);
        redo_on_host(t);
        *submitted = left;
    }
    return TARN_OK;
}

/* The job is done: its results are the host's. */
static tarn_status take_results(tarn_trainer *t, bool stoppable)
{
    tarn_status status = TARN_OK;
    if (t->on_device) {
        status = stoppable ? download_results(t) : TARN_OK;
        if (status == TARN_OK)
            status = tarn_queue_finish(t->queue, LONGEST_WAIT_US); /* the downloads */
        if (status != TARN_OK)
            return status;
        for (int i = WEIGHTS; i <= V; i++)
            memcpy(t->fallback[i], t->memory[i], t->size[i]);
    }
    take_losses(t, t->job.steps);
    t->in_flight = false;
    t->tiles = t->tiles_done = 0;
    return TARN_OK;
}

/* Ends the oldest slice: what its event tells goes to where the host's are. */
static void read_event(struct flight *f)
{
    struct tarn_event_times times;
    if (tarn_event_get_times(f->event, &times) == TARN_OK) {
        f->result.start_ns = times.start_ns;
        f->result.end_ns = times.end_ns;
        if (f->stoppable)
            f->tiles = times.tiles;
    }
    tarn_event_release(&f->event);
}

tarn_status tarn_trainer_poll(tarn_trainer *t, uint64_t timeout_us,
                              struct tarn_trainer_slice *slice)
{
    if (t->flight_count == 0)
        return TARN_NOT_FOUND;
    struct flight *f = &t->flights[t->first_flight];
    tarn_status status = f->event != NULL ? tarn_event_wait(f->event, timeout_us) : TARN_OK;
    if (status == TARN_TIMEOUT)
        return status;
    if (status == TARN_OK && f->event != NULL)
        read_event(f);
    if (status == TARN_OK && t->tiles_done + f->tiles == t->tiles)
        status = take_results(t, f->stoppable);
    if (status != TARN_OK) {
        fail_over(t, status);
        redo_on_host(t);
        f = &t->flights[t->first_flight];
        take_results(t, false);
    }
    f->result.tiles_done = f->tiles;
    if (t->in_flight)
        t->tiles_done += f->tiles;
    t->device_ns += f->result.end_ns - f->result.start_ns;
    t->launches++;
    if (slice != NULL)
        *slice = f->result;
    t->first_flight = (t->first_flight + 1) % TARN_TRAINER_SLICES;
    t->flight_count--;
    return TARN_OK;
}

uint32_t tarn_trainer_tiles_left(const tarn_trainer *t)
{
    return t->tiles - t->tiles_done;
}

tarn_status tarn_trainer_submit(tarn_trainer *t, uint32_t steps)
{
    uint32_t submitted;
    tarn_status status = tarn_trainer_begin(t, steps);
    if (status != TARN_OK)
        return status;
    status = tarn_trainer_slice(t, 0, 0, &submitted);
    if (status != TARN_OK) {
        t->in_flight = false; /* nothing runs: as if it hadn't begun */
        t->tiles = 0;
    }
    return status;
}

tarn_status tarn_trainer_wait(tarn_trainer *t, uint64_t timeout_us)
{
    tarn_status status;
    do
        status = tarn_trainer_poll(t, timeout_us, NULL);
    while (status == TARN_OK && t->in_flight);
    return status;
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

void tarn_trainer_get_state(const tarn_trainer *t, struct tarn_trainer_state *state)
{
    *state = (struct tarn_trainer_state){t->memory[WEIGHTS], t->memory[M], t->memory[V], t->steps};
}

tarn_status tarn_trainer_set_state(tarn_trainer *t, const struct tarn_trainer_state *state)
{
    const float *from[] = {state->weights, state->m, state->v};
    size_t count = tarn_shape_weights(&t->shape);
    if (t->in_flight)
        return TARN_BUSY;
    if ((state->m == NULL) != (state->v == NULL))
        return TARN_INVALID;
    for (int i = WEIGHTS; i <= V; i++)
        if (from[i] != NULL && !tarn_net_is_finite(from[i], count))
            return TARN_INVALID;
    for (size_t i = 0; state->v != NULL && i < count; i++)
        if (state->v[i] < 0)
            return TARN_INVALID;
    tarn_status status = TARN_OK;
    for (int i = WEIGHTS; i <= V; i++) {
        if (from[i] == NULL)
            continue;
        memmove(t->memory[i], from[i], t->size[i]);
        if (t->on_device)
            memcpy(t->fallback[i], t->memory[i], t->size[i]);
    }
    /* all of them first: the host goes on from the fallbacks if an upload fails */
    for (int i = WEIGHTS; i <= V && status == TARN_OK && t->on_device; i++)
        if (from[i] != NULL)
            status = tarn_buffer_upload(t->queue, t->buffer[i], 0, t->size[i]);
    if (state->m != NULL)
        t->steps = state->steps;
    if (status != TARN_OK)
        fail_over(t, status);
    return TARN_OK;
}

uint64_t tarn_trainer_memory(const tarn_trainer *t)
{
    uint64_t bytes = sizeof *t;
    for (int i = 0; i < BUFFERS; i++)
        bytes += t->size[i];
    return bytes;
}

void tarn_trainer_times(const tarn_trainer *t, uint64_t *device_ns, uint64_t *launches)
{
    *device_ns = t->device_ns;
    *launches = t->launches;
}
