/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A simulated device with work that can be cut (each tile is noted, so that none is lost or done
 * twice) and lookups beside it, for the tests of sharing.
 */
#ifndef TARN_TESTS_GPU_SHARE_WORLD_H
#define TARN_TESTS_GPU_SHARE_WORLD_H

#include "virtual.h"

#include <math.h>
#include <tarn/share.h>

#include "base/rng.h"

enum { MOST_LOOKUPS = 4096, SLOTS = 256 };

struct tile_constants {
    uint32_t first_tile, tile_count; /* filled in by a submit */
    uint32_t tiles;
    uint32_t operations; /* of a tile */
};

static uint32_t tile_tiles(const struct tarn_host_launch *launch)
{
    return ((const struct tile_constants *)launch->constants)->tiles;
}

/* log[0]: tiles done in order so far; log[1]: those that were done out of turn. */
static void tile_host(const struct tarn_host_launch *launch)
{
    const struct tile_constants *c = launch->constants;
    uint32_t *log = launch->buffers[0];
    uint32_t count = launch->tile_count > 0 ? launch->tile_count : c->tiles - launch->first_tile;
    for (uint32_t i = 0; i < count; i++)
        if (log[0] % c->tiles == launch->first_tile + i)
            log[0]++;
        else
            log[1]++;
}

static void tile_cost(const struct tarn_host_launch *launch, struct tarn_kernel_cost *cost)
{
    const struct tile_constants *c = launch->constants;
    uint32_t count = launch->tile_count > 0 ? launch->tile_count : c->tiles - launch->first_tile;
    cost->operations = (uint64_t)c->operations * count;
}

static const struct tarn_kernel_source tile_source = {
    .name = "tiles",
    .gpu_local_size = 64,
    .host = tile_host,
    .cost = tile_cost,
    .tiles = tile_tiles,
    .buffer_count = 1,
    .constants_size = sizeof(struct tile_constants),
};

struct slot {
    tarn_event *event;
    uint64_t arrived, name;
};

struct shared {
    struct world w;
    tarn_kernel *tiles;
    tarn_buffer *log, *stop;
    struct tile_constants job;
    uint32_t next, end; /* without a flag: the next tile; tiles of the job */
    uint64_t jobs;      /* 0: endless */
    uint64_t units;     /* ended */
    struct {
        tarn_event *event;
        uint32_t units;
    } slice[SLOTS];
    uint32_t first, count, most_in_flight;
    bool flag, use_flag;
    int64_t jump_ns; /* of the arbiter's clock */
    bool silent;     /* no times of slices */
    tarn_status broken;
    tarn_share *share;
    /* lookups */
    struct slot lookup[SLOTS];
    uint32_t lookup_first, lookup_count;
    uint64_t lookup_us;
    double latency[MOST_LOOKUPS];
    uint32_t latencies;
    double worst_block;
    uint64_t last_end;
    uint64_t pump_ns;
    struct tarn_rng rng;
};

static uint64_t shared_now(void *user)
{
    struct shared *s = user;
    return (uint64_t)((int64_t)tarn_virtual_now(s->w.bench.device) + s->jump_ns);
}

static tarn_status shared_submit(void *user, uint32_t ticket, uint32_t units, uint32_t *submitted)
{
    struct shared *s = user;
    if (s->broken != TARN_OK)
        return s->broken;
    uint32_t *stop = tarn_buffer_data(s->stop);
    uint32_t left = s->flag ? s->job.tiles - __atomic_load_n(&stop[1], __ATOMIC_ACQUIRE)
                            : s->job.tiles - s->next;
    *submitted = 0;
    if (left == 0 && s->count == 0 && s->jobs != 1) {
        s->jobs -= s->jobs > 0;
        stop[1] = s->next = 0;
        left = s->job.tiles;
    }
    if (left == 0 || s->count == SLOTS)
        return TARN_OK;
    units = units < left ? units : left;
    uint32_t at = (s->first + s->count) % SLOTS;
    tarn_status status = tarn_queue_submit(s->w.low,
                                           &(struct tarn_launch){.kernel = s->tiles,
                                                                 .buffers = &s->log,
                                                                 .constants = &s->job,
                                                                 .groups = 1,
                                                                 .first_tile = s->next,
                                                                 .tile_count = units,
                                                                 .stop = s->flag ? s->stop : NULL,
                                                                 .ticket = s->flag ? ticket : 0,
                                                                 .resume = s->flag},
                                           &s->slice[at].event);
    if (status != TARN_OK)
        return status;
    s->slice[at].units = units;
    s->count++;
    if (s->count > s->most_in_flight)
        s->most_in_flight = s->count;
    s->next += s->flag ? 0 : units;
    *submitted = units;
    return TARN_OK;
}

static tarn_status shared_poll(void *user, uint64_t timeout_us, struct tarn_share_slice *slice)
{
    struct shared *s = user;
    struct tarn_event_times times;
    tarn_event **event = &s->slice[s->first].event;
    tarn_status status = tarn_event_wait(*event, timeout_us);
    if (status == TARN_OK)
        status = tarn_event_get_times(*event, &times);
    if (status != TARN_OK)
        return status;
    slice->units = s->flag ? times.tiles : s->slice[s->first].units;
    if (!s->silent) {
        slice->start_ns = times.start_ns;
        slice->end_ns = times.end_ns;
    }
    s->units += slice->units;
    tarn_event_release(event);
    s->first = (s->first + 1) % SLOTS;
    s->count--;
    return TARN_OK;
}

static void shared_stop(void *user, uint32_t ticket)
{
    struct shared *s = user;
    __atomic_store_n((uint32_t *)tarn_buffer_data(s->stop), ticket, __ATOMIC_RELEASE);
}

/* Tiles of `tile_us`; 0 of anything is a default. */
static bool shared_open(struct shared *s, const char *id, double tile_us,
                        const struct tarn_share_params *more)
{
    *s = (struct shared){.jobs = 0, .lookup_us = 50};
    tarn_rng_seed(&s->rng, 11);
    if (!world_open(&s->w, id))
        return false;
    s->tiles = make_kernel(&s->w.bench, &tile_source, NULL);
    s->log = make_buffer(&s->w.bench, 2);
    s->stop = make_buffer(&s->w.bench, 2);
    s->job.tiles = 1000000;
    s->job.operations = (uint32_t)(tile_us * (double)s->w.model.operations_per_us);
    s->flag = s->w.model.stop_flag;
    struct tarn_share_work work = {.name = "training",
                                   .user = s,
                                   .submit = shared_submit,
                                   .poll = shared_poll,
                                   .stop = s->flag ? shared_stop : NULL};
    struct tarn_share_params params = more != NULL ? *more : (struct tarn_share_params){0};
    params.work = &work;
    params.now_ns = shared_now;
    params.clock_user = s;
    params.overtakes = s->w.model.priority;
    if (params.dwell_us == 0)
        params.dwell_us = 50000;
    return s->tiles != NULL && s->log != NULL && s->stop != NULL &&
           tarn_share_create(&params, &s->share, NULL) == TARN_OK;
}

static void shared_close(struct shared *s)
{
    tarn_share_destroy(&s->share);
    for (uint32_t i = 0; i < SLOTS; i++) {
        tarn_event_release(&s->slice[i].event);
        tarn_event_release(&s->lookup[i].event);
    }
    tarn_queue_finish(s->w.low, TARN_FOREVER); /* slices that were stopped still write */
    tarn_buffer_destroy(&s->log);
    tarn_buffer_destroy(&s->stop);
    tarn_kernel_destroy(&s->tiles);
    world_close(&s->w);
}

static void shared_arrive(struct shared *s)
{
    uint32_t at = (s->lookup_first + s->lookup_count) % SLOTS;
    s->lookup[at].arrived = tarn_virtual_now(s->w.bench.device);
    s->lookup[at].name = tarn_share_arrive(s->share);
    if (work(&s->w, s->w.bench.queue, s->lookup_us, 1, &s->lookup[at].event) == TARN_OK)
        s->lookup_count++;
}

/* Takes lookups that have ended; `ended` counts them for free. */
static void shared_depart(struct shared *s)
{
    struct tarn_virtual_stats stats;
    if (tarn_virtual_get_stats(s->w.bench.device, &stats) != TARN_OK)
        return;
    while (s->lookup_count > 0 && s->latencies < stats.launches[TARN_PRIORITY_HIGH]) {
        struct slot *slot = &s->lookup[s->lookup_first];
        struct tarn_event_times times = times_of(&slot->event);
        uint64_t could = slot->arrived + s->w.model.submit_ns;
        if (s->last_end > 0 && s->last_end + s->w.model.gap_ns > could)
            could = s->last_end + s->w.model.gap_ns;
        s->worst_block = fmax(s->worst_block, (double)times.start_ns - (double)could);
        s->last_end = times.end_ns;
        s->latency[s->latencies++ % MOST_LOOKUPS] = (double)(times.end_ns - slot->arrived) * 1e-3;
        tarn_share_depart(s->share, slot->name, times.end_ns - times.start_ns);
        s->lookup_first = (s->lookup_first + 1) % SLOTS;
        s->lookup_count--;
    }
}

/* Lets `us` pass with lookups at random, `pause_us` between two of them on the mean; 0: none. */
static tarn_status shared_run(struct shared *s, double us, double pause_us)
{
    tarn_device *device = s->w.bench.device;
    uint64_t end = tarn_virtual_now(device) + (uint64_t)(us * 1e3), arrival = UINT64_MAX;
    tarn_status status = TARN_OK;
    if (pause_us > 0)
        arrival = tarn_virtual_now(device);
    while (tarn_virtual_now(device) < end) {
        uint64_t now = tarn_virtual_now(device);
        if (arrival <= now && s->lookup_count < SLOTS) {
            shared_arrive(s);
            arrival += (uint64_t)(-log(1 - tarn_rng_double(&s->rng)) * pause_us * 1e3);
            continue;
        }
        shared_depart(s);
        tarn_status pumped = tarn_share_pump(s->share, &s->pump_ns);
        status = status == TARN_OK ? pumped : status;
        now = tarn_virtual_now(device);
        uint64_t until = end < arrival || s->lookup_count == SLOTS ? end : arrival;
        uint64_t pump = s->pump_ns;
        if (pump != TARN_SHARE_NEVER)
            pump = (uint64_t)((int64_t)pump - s->jump_ns);
        if (pump < until)
            until = pump > now ? pump : now + 1000;
        if (s->lookup_count > 0 && until > now + 5000)
            until = now + 5000;
        if (until > now && tarn_virtual_advance(device, until - now) != TARN_OK)
            return TARN_DEVICE_LOST;
    }
    return status;
}

static int shared_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double shared_quantile(struct shared *s, double q)
{
    uint32_t count = s->latencies < MOST_LOOKUPS ? s->latencies : MOST_LOOKUPS;
    qsort(s->latency, count, sizeof(double), shared_compare);
    return count > 0 ? s->latency[(uint32_t)(q * (count - 1))] : NAN;
}

#endif
