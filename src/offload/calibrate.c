/* SPDX-License-Identifier: Apache-2.0 */
#include "calibrate.h"

#include <stdlib.h>
#include <string.h>

#include <tarn/virtual.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/rng.h"
#include "gpu/backend.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"
#include "kernels/train.h"
#include "offload/limits.h"

enum {
    TURNS = 7,     /* of device and host for each size, whose median counts */
    FEW_TURNS = 3, /* where one takes longer than LONG_NS: noise is a small part of that */
    LONG_NS = 10000000,
    RACE_TURNS = 25, /* of the paths of a width, TURNS after RACE_NS, FEW_TURNS after that */
    RACE_NS = 100000000,
    LONG_RACE_NS = 1000000000,
    MOST_SIZES = 24,
    INDEX_BUCKETS = 1 << 17, /* 8 MiB: more than a core's own cache holds */
    BUFFERS = 7,
    SEED = 7,
    LONGEST_WAIT_US = 30000000, /* a launch that takes longer hangs */
};

/* One part: a kernel and its host function, and what they work on. */
struct part {
    tarn_device *device;
    tarn_queue *queue;
    const struct tarn_calibrate_params *params;
    uint64_t deadline_ns; /* 0: none */
    struct tarn_kernel_source source;
    tarn_kernel *kernel;
    tarn_buffer *buffer[BUFFERS];
    size_t size[BUFFERS]; /* bytes */
    int buffers;
    int input, result; /* what goes up before a launch and comes down after it */
    size_t input_unit, result_unit;
    float *output;    /* the host's results */
    bool quarantined; /* some of its ways are */
    tarn_status (*submit)(struct part *part, uint32_t n);
    void (*host)(struct part *part, uint32_t n);
};

static bool out_of_time(const struct part *p)
{
    return (p->params->stop != NULL && atomic_load(p->params->stop)) ||
           (p->deadline_ns != 0 && tarn_clock_ns() >= p->deadline_ns);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

uint32_t tarn_calibrate_least(const uint32_t *sizes, const double *device, const double *host,
                              size_t count)
{
    uint32_t least = TARN_NEVER;
    for (size_t i = count; i-- > 0 && device[i] <= host[i];)
        least = sizes[i];
    return least;
}

uint32_t tarn_calibrate_slice(const uint32_t *sizes, const double *device, size_t count)
{
    double best = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || device[i] / sizes[i] < best)
            best = device[i] / sizes[i];
    for (size_t i = 0; i < count; i++)
        if (device[i] / sizes[i] <= best * 1.2)
            return sizes[i];
    return 0;
}

/* ---- launches ---- */

static tarn_status device_turn(struct part *p, uint32_t n)
{
    tarn_status status = TARN_OK;
    if (p->input_unit > 0)
        status = tarn_buffer_upload(p->queue, p->buffer[p->input], 0, n * p->input_unit);
    if (status == TARN_OK)
        status = p->submit(p, n);
    if (status == TARN_OK && p->result_unit > 0)
        status = tarn_buffer_download(p->queue, p->buffer[p->result], 0, n * p->result_unit);
    tarn_status finished = tarn_queue_finish(p->queue, LONGEST_WAIT_US);
    if (finished == TARN_TIMEOUT) { /* it may use its buffers whenever it likes: all of it stays */
        tarn_device_abandon(p->device, "a launch that is measured doesn't end");
        finished = TARN_DEVICE_LOST;
    }
    return status == TARN_OK ? finished : status;
}

static tarn_status submit(struct part *p, const void *constants, uint32_t groups)
{
    return tarn_queue_submit(p->queue,
                             &(struct tarn_launch){p->kernel, p->buffer, constants, groups}, NULL);
}

/*
 * What a launch's time is multiplied by before it is compared with the host's. On a device made of the
 * CPU: the cores that it takes, which are as many as it has groups of work for, and a tenth on top,
 * because at a tie the plain way is the better one. On others: nothing, the host is free meanwhile.
 */
static double weight_of(const struct part *p, uint32_t groups)
{
    const struct tarn_device_info *info = tarn_device_get_info(p->device);
    if (info->type != TARN_DEVICE_CPU)
        return 1;
    return 1.1 * (groups < info->limits.compute_units ? groups : info->limits.compute_units);
}

static tarn_status make_buffers(struct part *p, struct tarn_error *error)
{
    for (int i = 0; i < p->buffers; i++) {
        tarn_status status = tarn_buffer_create(
            p->device, &(struct tarn_buffer_params){.size = p->size[i]}, &p->buffer[i]);
        if (status != TARN_OK)
            return tarn_fail(error, status, "calibration: a buffer of %zu bytes: %s", p->size[i],
                             tarn_status_message(status));
    }
    return TARN_OK;
}

static tarn_status upload_all(struct part *p)
{
    tarn_status status = TARN_OK;
    for (int i = 0; i < p->buffers && status == TARN_OK; i++)
        status = tarn_buffer_upload(p->queue, p->buffer[i], 0, p->size[i]);
    return status;
}

static void end_part(struct part *p)
{
    tarn_kernel_destroy(&p->kernel);
    for (int i = 0; i < BUFFERS; i++)
        tarn_buffer_destroy(&p->buffer[i]);
    tarn_queue_destroy(&p->queue);
    tarn_free(p->output);
}

static tarn_status make_kernel(struct part *p, const int32_t *defines, struct tarn_error *error)
{
    if (p->params->gpu_shape)
        p->source.opencl_cpu = NULL;
    return tarn_canary_create(
        p->device, &(struct tarn_kernel_params){.source = &p->source, .defines = defines}, NULL,
        &p->kernel, error);
}

/* Launches of size `first`, twice that ... `last` against the host's. */
static tarn_status cross(struct part *p, uint32_t first, uint32_t last, uint32_t group_of_one,
                         struct tarn_crossover *found)
{
    uint32_t sizes[MOST_SIZES];
    double device[MOST_SIZES], cost[MOST_SIZES], host[MOST_SIZES];
    size_t count = 0;
    for (uint32_t n = first; n <= last && count < MOST_SIZES; n *= 2) {
        double times[2][TURNS];
        int turns = TURNS;
        for (int turn = -1; turn < turns; turn++) {
            uint64_t begin = tarn_clock_ns();
            tarn_status status = device_turn(p, n);
            uint64_t end = tarn_clock_ns();
            if (turn >= 0 && end - begin > LONG_NS)
                turns = FEW_TURNS;
            if (status != TARN_OK)
                return status;
            /* CPU time, so that a busy machine doesn't make the host look slow */
            uint64_t host_begin = tarn_clock_thread_cpu_ns();
            p->host(p, n);
            uint64_t host_end = tarn_clock_thread_cpu_ns();
            if (out_of_time(p))
                return TARN_TIMEOUT;
            if (turn >= 0) { /* the first one warms up */
                times[0][turn] = (double)(end - begin);
                times[1][turn] = (double)(host_end - host_begin);
            }
        }
        uint32_t groups = group_of_one != 0 ? group_of_one : tarn_kernel_groups(p->kernel, n);
        sizes[count] = n;
        device[count] = middle(times[0], (size_t)turns);
        cost[count] = device[count] * weight_of(p, groups);
        host[count] = middle(times[1], (size_t)turns);
        tarn_log(TARN_LOG_DEBUG, "offload: %s of %u: device %.1f us, host %.1f us", p->source.name,
                 n, device[count] * 1e-3, host[count] * 1e-3);
        count++;
    }
    found->least = tarn_calibrate_least(sizes, cost, host, count);
    found->slice = tarn_calibrate_slice(sizes, device, count);
    found->device_ns = (float)(device[count - 1] / sizes[count - 1]);
    found->host_ns = (float)(host[count - 1] / sizes[count - 1]);
    return TARN_OK;
}

/* Sizes of work-groups, where the kernel has one element an item, so that there is a choice. */
static tarn_status choose_local_size(struct part *p, const int32_t *defines, uint32_t n,
                                     uint32_t *chosen, struct tarn_error *error)
{
    static const uint32_t candidates[] = {64, 32, 128, 256};
    uint32_t own = p->source.gpu_local_size;
    double best = 0;
    *chosen = 0;
    tarn_status status = make_kernel(p, defines, error);
    if (status != TARN_OK || p->source.gpu_group_elements != own ||
        tarn_kernel_groups(p->kernel, own + 1) != 2)
        return status;
    for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
        double times[TURNS];
        if (candidates[i] > tarn_device_get_info(p->device)->limits.group_size)
            continue;
        tarn_kernel_destroy(&p->kernel);
        p->source.gpu_local_size = p->source.gpu_group_elements = candidates[i];
        if (make_kernel(p, defines, NULL) != TARN_OK)
            continue;
        for (int turn = -1; turn < TURNS; turn++) {
            uint64_t begin = tarn_clock_ns();
            status = device_turn(p, n);
            if (turn >= 0)
                times[turn] = (double)(tarn_clock_ns() - begin);
            if (status != TARN_OK)
                return status;
        }
        double time = middle(times, TURNS);
        /* the kernel's own comes first; another has to be clearly better */
        if (best == 0 || time < best * 0.95) {
            best = time;
            *chosen = candidates[i];
        }
        if (out_of_time(p))
            return TARN_TIMEOUT;
    }
    p->source.gpu_local_size = p->source.gpu_group_elements = *chosen != 0 ? *chosen : own;
    tarn_kernel_destroy(&p->kernel);
    status = make_kernel(p, defines, error);
    if (*chosen == own)
        *chosen = 0;
    return status;
}

/* ---- lookups ---- */

static tarn_status submit_lookup(struct part *p, uint32_t n)
{
    return submit(p, &(struct tarn_lookup_constants){n, INDEX_BUCKETS - 1},
                  tarn_kernel_groups(p->kernel, n));
}

static void host_lookup(struct part *p, uint32_t n)
{
    tarn_lookup_host(tarn_buffer_data(p->buffer[0]), INDEX_BUCKETS - 1,
                     tarn_buffer_data(p->buffer[1]), n, (uint32_t *)p->output);
}

static tarn_status measure_lookup(struct part *p, struct tarn_calibration *c,
                                  struct tarn_error *error)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, SEED);
    p->source = tarn_lookup_source;
    p->submit = submit_lookup;
    p->host = host_lookup;
    p->buffers = 3;
    p->size[0] = (size_t)INDEX_BUCKETS * TARN_BUCKET_WORDS * 4;
    p->size[1] = TARN_LOOKUP_BATCH * 8;
    p->size[2] = TARN_LOOKUP_BATCH * 4;
    p->input = 1;
    p->input_unit = 8;
    p->result = 2;
    p->result_unit = 4;
    tarn_status status = make_buffers(p, error);
    if (status != TARN_OK)
        return status;
    /* a full index of random tags, and keys of which nine in ten are in it */
    uint32_t *index = tarn_buffer_data(p->buffer[0]), *keys = tarn_buffer_data(p->buffer[1]);
    for (size_t i = 0; i < p->size[0] / 4; i += 2) {
        uint64_t word = tarn_rng_next(&rng);
        index[i] = (uint32_t)word | 1;
        index[i + 1] = (uint32_t)(word >> 32) | 1;
    }
    for (uint32_t i = 0; i < TARN_LOOKUP_BATCH; i++) {
        uint32_t bucket = tarn_rng_below(&rng, INDEX_BUCKETS);
        uint32_t slot = tarn_rng_below(&rng, TARN_BUCKET_SLOTS);
        keys[2 * i] = bucket;
        keys[2 * i + 1] = index[bucket * TARN_BUCKET_WORDS + slot] + (i % 10 == 0);
    }
    status = upload_all(p);
    if (status == TARN_OK)
        status = choose_local_size(p, NULL, 16384, &c->lookup.local_size, error);
    if (status == TARN_OK)
        status = cross(p, 128, TARN_LOOKUP_BATCH, 0, &c->lookup);
    if (status == TARN_OK &&
        memcmp(tarn_buffer_data(p->buffer[2]), p->output, TARN_LOOKUP_BATCH * 4) != 0)
        status = TARN_CORRUPT;
    return status;
}

/* ---- scores ---- */

static tarn_status submit_score(struct part *p, uint32_t n)
{
    return submit(p, &(struct tarn_forward_constants){n}, tarn_kernel_groups(p->kernel, n));
}

static void host_score(struct part *p, uint32_t n)
{
    tarn_forward_host(&tarn_net_reference, tarn_buffer_data(p->buffer[0]),
                      tarn_buffer_data(p->buffer[1]), n, p->output);
}

static void random_floats(struct tarn_rng *rng, float *to, size_t size, float scale)
{
    for (size_t i = 0; i < size / 4; i++)
        to[i] = (tarn_rng_float(rng) - 0.5f) * scale;
}

static tarn_status measure_score(struct part *p, struct tarn_calibration *c,
                                 struct tarn_error *error)
{
    int32_t defines[TARN_MAX_DEFINES];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, SEED);
    p->source = tarn_forward_source;
    p->submit = submit_score;
    p->host = host_score;
    p->buffers = 3;
    p->size[0] = tarn_shape_weights(&tarn_net_reference) * 4;
    p->size[1] = tarn_shape_tile_floats(&tarn_net_reference, TARN_SCORE_BATCH) * 4;
    p->size[2] = TARN_SCORE_BATCH * 4;
    p->input = 1;
    p->input_unit = 4 * (size_t)tarn_net_reference.inputs;
    p->result = 2;
    p->result_unit = 4;
    tarn_shape_defines(&tarn_net_reference, defines);
    tarn_status status = make_buffers(p, error);
    if (status != TARN_OK)
        return status;
    tarn_net_init(&tarn_net_reference, &rng, tarn_buffer_data(p->buffer[0]));
    random_floats(&rng, tarn_buffer_data(p->buffer[1]), p->size[1], 4.0f);
    status = upload_all(p);
    if (status == TARN_OK)
        status = choose_local_size(p, defines, TARN_SCORE_BATCH, &c->score.local_size, error);
    if (status == TARN_OK)
        status = cross(p, 16, TARN_SCORE_BATCH, 0, &c->score);
    const float *scores = tarn_buffer_data(p->buffer[2]);
    for (uint32_t i = 0; i < TARN_SCORE_BATCH && status == TARN_OK; i++)
        if (!(scores[i] - p->output[i] < 1e-3f && p->output[i] - scores[i] < 1e-3f))
            status = TARN_CORRUPT;
    return status;
}

/* ---- training ---- */

enum { WEIGHTS, M, V, TILES, LABELS, LOSSES, SCRATCH, MOST_STEPS = 32 };

static struct tarn_train_constants train_constants(uint32_t steps)
{
    return (struct tarn_train_constants){.steps = steps,
                                         .batch = TARN_TRAIN_BATCH,
                                         .rate = 1e-6f,
                                         .beta1 = 0.9f,
                                         .beta2 = 0.999f,
                                         .epsilon = 1e-7f};
}

static tarn_status submit_train(struct part *p, uint32_t n)
{
    struct tarn_train_constants constants = train_constants(n);
    return submit(p, &constants, tarn_kernel_groups(p->kernel, TARN_TRAIN_BATCH));
}

static void host_train(struct part *p, uint32_t n)
{
    struct tarn_train_constants constants = train_constants(n);
    size_t weights = tarn_shape_weights(&tarn_net_reference);
    tarn_train_host(
        &tarn_net_reference,
        &(struct tarn_train_state){p->output, p->output + weights, p->output + 2 * weights},
        &constants, tarn_buffer_data(p->buffer[TILES]), tarn_buffer_data(p->buffer[LABELS]),
        p->output + 3 * weights, NULL);
}

static tarn_status measure_train(struct part *p, struct tarn_calibration *c,
                                 struct tarn_error *error)
{
    const struct tarn_shape *shape = &tarn_net_reference;
    size_t samples = MOST_STEPS * TARN_TRAIN_BATCH;
    int32_t defines[TARN_MAX_DEFINES];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, SEED);
    p->source = tarn_train_source;
    p->submit = submit_train;
    p->host = host_train;
    p->buffers = 7;
    p->size[WEIGHTS] = p->size[M] = p->size[V] = tarn_shape_weights(shape) * 4;
    p->size[TILES] = tarn_shape_tile_floats(shape, samples) * 4;
    p->size[LABELS] = samples * 4;
    p->size[LOSSES] = MOST_STEPS * 4;
    p->size[SCRATCH] = tarn_train_scratch_floats(shape, TARN_TRAIN_BATCH) * 4;
    p->input = TILES;
    p->input_unit = 4 * (size_t)shape->inputs * TARN_TRAIN_BATCH;
    p->result = LOSSES;
    p->result_unit = 4;
    tarn_shape_defines(shape, defines);
    tarn_status status = make_buffers(p, error);
    if (status != TARN_OK)
        return status;
    tarn_net_init(shape, &rng, tarn_buffer_data(p->buffer[WEIGHTS]));
    memset(p->output, 0, 3 * p->size[WEIGHTS]);
    memcpy(p->output, tarn_buffer_data(p->buffer[WEIGHTS]), p->size[WEIGHTS]);
    random_floats(&rng, tarn_buffer_data(p->buffer[TILES]), p->size[TILES], 4.0f);
    uint32_t *labels = tarn_buffer_data(p->buffer[LABELS]);
    for (size_t i = 0; i < samples; i++) {
        uint32_t risk = 1 + tarn_rng_below(&rng, shape->outputs);
        labels[i] = tarn_label(risk, tarn_rng_below(&rng, 2) ? (int)risk - 1 : -1);
    }
    status = upload_all(p);
    if (status == TARN_OK)
        status = make_kernel(p, defines, error);
    /* one work-group does it all */
    return status == TARN_OK ? cross(p, 1, MOST_STEPS, 1, &c->train) : status;
}

/* ---- a launch that does next to nothing ---- */

/* The clock that the device goes by. */
static uint64_t time_of(const tarn_device *device)
{
    bool simulated = tarn_device_get_info(device)->type == TARN_DEVICE_VIRTUAL;
    return simulated ? tarn_virtual_now(device) : tarn_clock_ns();
}

static tarn_status submit_one(struct part *p, uint32_t n)
{
    (void)n;
    return submit(p, &(struct tarn_lookup_constants){1, 0}, 1);
}

static tarn_status measure_dispatch(struct part *p, struct tarn_calibration *c,
                                    struct tarn_error *error)
{
    enum { WARM = 20, TIMED = 100 };
    double times[TIMED];
    p->source = tarn_lookup_source;
    p->submit = submit_one;
    p->buffers = 3;
    p->size[0] = p->size[1] = p->size[2] = 4096;
    tarn_status status = make_buffers(p, error);
    if (status == TARN_OK)
        status = upload_all(p);
    if (status == TARN_OK)
        status = make_kernel(p, NULL, error);
    for (int i = 0; i < WARM + TIMED && status == TARN_OK; i++) {
        uint64_t begin = time_of(p->device);
        status = device_turn(p, 1);
        if (i >= WARM)
            times[i - WARM] = (double)(time_of(p->device) - begin);
        if (out_of_time(p))
            return TARN_TIMEOUT;
    }
    if (status == TARN_OK)
        c->dispatch_us = (float)(middle(times, TIMED) * 1e-3);
    return status;
}

/* ---- wide networks ---- */

/* The host comes first and says what is wanted; training is judged by its first loss. */
static bool same_results(const tarn_wide *wide, tarn_path path, bool train, float *wanted)
{
    const float *got = train ? tarn_wide_losses(wide) : tarn_wide_scores(wide);
    size_t count = train ? 1 : TARN_CALIBRATION_SAMPLES;
    if (path == TARN_PATH_HOST)
        memcpy(wanted, got, count * sizeof *wanted);
    for (size_t i = 0; i < count; i++) {
        float off = got[i] - wanted[i];
        if (!(off < 1e-2f && off > -1e-2f))
            return false;
    }
    return true;
}

/* The ways to do one width, which take turns: whatever else the machine does meets all of them. */
struct race {
    const struct tarn_shape *shape;
    const float *weights, *tiles;
    const uint32_t *labels;
    bool train;
    tarn_wide *wide[TARN_PATHS]; /* NULL: not there, not asked for, or wrong */
    double times[TARN_PATHS][RACE_TURNS];
};

static uint32_t race_samples(const struct race *race)
{
    return race->train ? TARN_CALIBRATION_BATCH : TARN_CALIBRATION_SAMPLES;
}

/*
 * On a device made of the CPU: the CPU time of the process, so that every core counts that a path
 * takes, and nothing that others do; these parts are measured by commands, whose process does nothing else.
 */
static uint64_t race_clock(const struct part *p)
{
    tarn_device_type type = tarn_device_get_info(p->device)->type;
    return type == TARN_DEVICE_CPU || type == TARN_DEVICE_HOST ? tarn_clock_process_cpu_ns()
                                                               : tarn_clock_ns();
}

static tarn_status race_once(const struct part *p, const struct race *race, int path, double *ns)
{
    uint64_t begin = race_clock(p);
    tarn_status status = race->train ? tarn_wide_train(race->wide[path], 1, race_samples(race))
                                     : tarn_wide_forward(race->wide[path], race_samples(race));
    *ns = (double)(race_clock(p) - begin);
    return status;
}

/* Makes a way and warms it up, which `warm_ms` (may be NULL) grows by. */
static tarn_status enter_race(struct part *p, struct race *race, tarn_path path, float *wanted,
                              float *warm_ms)
{
    struct tarn_error error;
    double first_ns = 0;
    uint64_t begin = tarn_clock_ns();
    tarn_status status = tarn_wide_create(&(struct tarn_wide_params){.shape = race->shape,
                                                                     .weights = race->weights,
                                                                     .device = p->device,
                                                                     .queue = p->queue,
                                                                     .path = path,
                                                                     .room = race_samples(race),
                                                                     .train = race->train,
                                                                     .rate = 1e-6f},
                                          &race->wide[path], &error);
    /* what is quarantined isn't there */
    p->quarantined |= status == TARN_QUARANTINED;
    if (status == TARN_UNSUPPORTED || status == TARN_QUARANTINED)
        return TARN_OK;
    if (status == TARN_OK)
        status = tarn_wide_set_samples(race->wide[path], race->tiles,
                                       race->train ? race->labels : NULL, race_samples(race));
    if (status == TARN_OK)
        status = race_once(p, race, path, &first_ns);
    if (status == TARN_OK && warm_ms != NULL)
        *warm_ms += (float)(tarn_clock_ns() - begin) * 1e-6f;
    /* a path that is wrong is never the quickest */
    if (status == TARN_OK && !same_results(race->wide[path], path, race->train, wanted)) {
        tarn_log(TARN_LOG_WARNING, "offload: %s: the path %s is wrong at width %u",
                 tarn_device_get_info(p->device)->id, tarn_path_name(path), race->shape->hidden1);
        tarn_wide_destroy(&race->wide[path]);
    }
    return status == TARN_OK && out_of_time(p) ? TARN_TIMEOUT : status;
}

/* Medians to `us`. Where a path can't be had, its time stays as it is. */
static tarn_status run_race(struct part *p, struct race *race, float us[TARN_PATHS])
{
    uint64_t begin = tarn_clock_ns();
    int turn = 0;
    for (; turn < RACE_TURNS; turn++) {
        uint64_t spent = tarn_clock_ns() - begin;
        if ((turn >= TURNS && spent > RACE_NS) || (turn >= FEW_TURNS && spent > LONG_RACE_NS))
            break;
        for (int path = 0; path < TARN_PATHS; path++) {
            if (race->wide[path] == NULL)
                continue;
            tarn_status status = race_once(p, race, path, &race->times[path][turn]);
            if (status != TARN_OK)
                return status;
            if (out_of_time(p))
                return TARN_TIMEOUT;
        }
    }
    for (int path = 0; path < TARN_PATHS; path++)
        if (race->wide[path] != NULL)
            us[path] = (float)(middle(race->times[path], (size_t)turn) * 1e-3);
    return TARN_OK;
}

static tarn_status measure_width(struct part *p, struct race *race, struct tarn_calibration *c,
                                 int width, bool clblast)
{
    float wanted[TARN_CALIBRATION_SAMPLES];
    tarn_status status = TARN_OK;
    for (int path = 0; path < TARN_PATHS && status == TARN_OK; path++)
        if (path == TARN_PATH_HOST || (path == TARN_PATH_CLBLAST) == clblast)
            status = enter_race(p, race, (tarn_path)path, wanted,
                                path == TARN_PATH_CLBLAST ? &c->clblast_warm_ms : NULL);
    if (status == TARN_OK)
        status = run_race(p, race, c->wide_us[race->train][width]);
    for (int path = 0; path < TARN_PATHS; path++)
        tarn_wide_destroy(&race->wide[path]);
    return status;
}

static tarn_status measure_widths(struct part *p, struct tarn_calibration *c, bool clblast)
{
    const struct tarn_shape widest = {28, TARN_MAX_WIDE_WIDTH, TARN_MAX_WIDE_WIDTH, 11};
    size_t tiles_size = tarn_shape_tile_floats(&widest, TARN_CALIBRATION_SAMPLES) * 4;
    float *weights = tarn_alloc(tarn_shape_weights(&widest) * 4), *tiles = tarn_alloc(tiles_size);
    uint32_t labels[TARN_CALIBRATION_BATCH];
    tarn_status status = weights != NULL && tiles != NULL ? TARN_OK : TARN_NO_MEMORY;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, SEED);
    if (status == TARN_OK)
        random_floats(&rng, tiles, tiles_size, 4.0f);
    for (int i = 0; i < TARN_CALIBRATION_BATCH; i++)
        labels[i] = tarn_label(1 + (uint32_t)i % 11, i % 3 ? i % 11 : -1);
    for (int w = 0; w < TARN_CALIBRATION_WIDTHS && status == TARN_OK; w++) {
        const struct tarn_shape shape = {28, 8u << w, 8u << w, 11};
        tarn_net_init(&shape, &rng, weights);
        for (int train = 0; train < 2 && status == TARN_OK; train++)
            status = measure_width(p,
                                   &(struct race){.shape = &shape,
                                                  .weights = weights,
                                                  .tiles = tiles,
                                                  .labels = labels,
                                                  .train = train},
                                   c, w, clblast);
    }
    tarn_free(weights);
    tarn_free(tiles);
    return status;
}

static tarn_status measure_wide(struct part *p, struct tarn_calibration *c,
                                struct tarn_error *error)
{
    (void)error;
    return measure_widths(p, c, false);
}

static tarn_status measure_clblast(struct part *p, struct tarn_calibration *c,
                                   struct tarn_error *error)
{
    (void)error;
    c->clblast_warm_ms = 0;
    return measure_widths(p, c, true);
}

/* ---- all of it ---- */

static const struct {
    uint32_t part;
    const char *name;
    tarn_status (*measure)(struct part *, struct tarn_calibration *, struct tarn_error *);
} parts[] = {
    {TARN_CALIBRATED_DISPATCH, "dispatch", measure_dispatch},
    {TARN_CALIBRATED_LOOKUP, "lookup", measure_lookup},
    {TARN_CALIBRATED_SCORE, "score", measure_score},
    {TARN_CALIBRATED_TRAIN, "train", measure_train},
    {TARN_CALIBRATED_WIDE, "wide", measure_wide},
    {TARN_CALIBRATED_CLBLAST, "clblast", measure_clblast},
};

/* What a device can't do it never wins. */
static void give_up(uint32_t part, struct tarn_calibration *c)
{
    struct tarn_crossover *crossover = part == TARN_CALIBRATED_LOOKUP  ? &c->lookup
                                       : part == TARN_CALIBRATED_SCORE ? &c->score
                                       : part == TARN_CALIBRATED_TRAIN ? &c->train
                                                                       : NULL;
    if (crossover != NULL)
        *crossover = (struct tarn_crossover){.least = TARN_NEVER};
}

/* Enough for the results of any part on the host. */
static size_t output_floats(void)
{
    size_t train = 3 * tarn_shape_weights(&tarn_net_reference) + MOST_STEPS;
    return train > TARN_LOOKUP_BATCH ? train : TARN_LOOKUP_BATCH;
}

static tarn_status run_part(tarn_device *device, const struct tarn_calibrate_params *params,
                            size_t n, uint64_t deadline_ns, struct tarn_calibration *c,
                            bool *quarantined, struct tarn_error *error)
{
    struct part part = {.device = device, .params = params, .deadline_ns = deadline_ns};
    struct tarn_calibration before = *c;
    struct tarn_error reason = {0};
    part.output = tarn_alloc(output_floats() * sizeof(float));
    tarn_status status = part.output != NULL ? TARN_OK : TARN_NO_MEMORY;
    if (status == TARN_OK)
        status = tarn_queue_create(
            device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW}, &part.queue);
    if (status == TARN_OK)
        status = parts[n].measure(&part, c, &reason);
    end_part(&part);
    *quarantined = part.quarantined || status == TARN_QUARANTINED;
    if (status == TARN_OK)
        return TARN_OK;
    float warm_ms = c->clblast_warm_ms;
    *c = before;
    if (status == TARN_TIMEOUT || status == TARN_DEVICE_LOST || status == TARN_NO_MEMORY)
        return tarn_fail(error, status, "calibration: %s: %s", parts[n].name,
                         tarn_status_message(status));
    /* wrong, or not to be had: it is not used, and not tried again at each start */
    tarn_log(TARN_LOG_WARNING, "offload: %s: calibration of %s: %s: the host does it",
             tarn_device_get_info(device)->id, parts[n].name,
             reason.message[0] != '\0' ? reason.message : tarn_status_message(status));
    c->clblast_warm_ms = warm_ms;
    give_up(parts[n].part, c);
    return TARN_OK;
}

tarn_status tarn_calibrate(tarn_device *device, const struct tarn_calibrate_params *params,
                           struct tarn_calibration *c, struct tarn_error *error)
{
    uint64_t begin = tarn_clock_ns();
    uint64_t deadline = params->budget_ms != 0 ? begin + params->budget_ms * (uint64_t)1000000 : 0;
    uint32_t for_now = 0;
    for (size_t n = 0; n < sizeof parts / sizeof parts[0]; n++) {
        if (!(params->parts & parts[n].part) || (c->parts & parts[n].part))
            continue;
        uint64_t started = tarn_clock_ns();
        bool quarantined = false;
        tarn_status status = run_part(device, params, n, deadline, c, &quarantined, error);
        if (status != TARN_OK)
            return status;
        c->parts |= parts[n].part;
        c->spent_ms += (float)(tarn_clock_ns() - started) * 1e-6f;
        /* a quarantine may be lifted, and is remembered elsewhere: such a part isn't kept */
        if (quarantined)
            for_now |= parts[n].part;
        struct tarn_calibration kept = *c;
        kept.parts &= ~for_now;
        tarn_calibration_save(tarn_device_get_info(device), params->cache_dir, &kept);
        if (params->progress != NULL)
            params->progress(params->context, c);
    }
    return TARN_OK;
}
