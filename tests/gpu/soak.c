/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Soak: soak SECONDS WHAT... opens, uses and closes devices and whole engines over and over, checks
 * each answer, and looks at the process's memory and files meanwhile.
 *   WHAT  a device (opencl:0), a host with a board's limits (host:mali), or an engine on a device
 *         (engine@opencl:0), or gradient steps between lookups under the arbiter (share@opencl:0); each gets an equal share of the time, then all get one more in turns
 * What a loop holds may grow at first, as caches of drivers and of the C library fill: its second half
 * has to be flat. It fails if a line laid through it rises by more than RISE_BYTES a pass, and by more
 * than SLACK_BYTES over all of it, which is as far as a heap wanders (DRIVER_SLACK_BYTES with a driver
 * in it: lavapipe's wanders further, though it leaks nothing by LSan); in a run of less than
 * SETTLED_PASSES, by more than FILLING_BYTES, since those caches are still filling. A driver that
 * isn't there is skipped. Under the address sanitizer memory isn't looked at, which keeps what was freed: its own
 * search for leaks is what counts there.
 */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <tarn/engine.h>
#include <tarn/gpu.h>
#include <tarn/share.h>
#include <tarn/virtual.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"
#include "kernels/selftest.h"
#include "net/trainer.h"

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define KEEPS_FREED 1
#else
#define KEEPS_FREED 0
#endif

enum {
    MOST_SAMPLES = 1024,
    MOST_PARTS = 24,
    KEYS = 2048,
    BUCKETS = 512,
    SAMPLES = 256,
    SELFTEST_EACH = 64, /* passes: it compiles every kernel in several shapes */
    LEAST_PASSES = 8,
    SETTLED_PASSES = 400,
    RISE_BYTES = 64,
    SLACK_BYTES = 2 << 20,
    DRIVER_SLACK_BYTES = 8 << 20,
    FILLING_BYTES = 32 << 20,
};

struct part {
    const char *name;   /* as it was given */
    const char *device; /* what is opened */
    bool engine, share, limited, driver;
    struct tarn_device_limits limits;
};

/* (pass, bytes, files) so far; thinned out by half whenever it is full */
struct samples {
    uint64_t passes, stride;
    size_t count;
    double pass[MOST_SAMPLES], bytes[MOST_SAMPLES];
    int files[MOST_SAMPLES];
};

static double resident_bytes(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f == NULL || fscanf(f, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    if (f != NULL)
        fclose(f);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static int open_files(void)
{
    int count = 0;
    DIR *directory = opendir("/proc/self/fd");
    if (directory == NULL)
        return 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

static void take_sample(struct samples *s)
{
    if (s->stride == 0)
        s->stride = 1;
    if (s->passes++ % s->stride != 0)
        return;
    if (s->count == MOST_SAMPLES) {
        for (size_t i = 0; i < MOST_SAMPLES / 2; i++) {
            s->pass[i] = s->pass[2 * i];
            s->bytes[i] = s->bytes[2 * i];
            s->files[i] = s->files[2 * i];
        }
        s->count = MOST_SAMPLES / 2;
        s->stride *= 2;
    }
    s->pass[s->count] = (double)s->passes;
    s->bytes[s->count] = resident_bytes();
    s->files[s->count++] = open_files();
}

/* Bytes a pass in the second half, by least squares. */
static double rise(const struct samples *s)
{
    size_t first = s->count / 2, n = s->count - first;
    double x = 0, y = 0, xx = 0, xy = 0;
    for (size_t i = first; i < s->count; i++) {
        x += s->pass[i] / (double)n;
        y += s->bytes[i] / (double)n;
    }
    for (size_t i = first; i < s->count; i++) {
        xx += (s->pass[i] - x) * (s->pass[i] - x);
        xy += (s->pass[i] - x) * (s->bytes[i] - y);
    }
    return xx > 0 ? xy / xx : 0;
}

/* True if the part may go on; else it has said why not. */
static bool judge(const char *name, const struct samples *s, bool driver)
{
    const size_t half = s->count / 2;
    double per_pass = rise(s), bytes = per_pass * (s->pass[s->count - 1] - s->pass[half]);
    int files = s->files[s->count - 1] - s->files[half];
    printf("# %s: %" PRIu64 " passes, resident %.1f MB at first, %.1f halfway, %.1f at the end: "
           "%+.1f bytes a pass; files %d, %d, %d\n",
           name, s->passes, s->bytes[0] * 1e-6, s->bytes[half] * 1e-6,
           s->bytes[s->count - 1] * 1e-6, per_pass, s->files[0], s->files[half],
           s->files[s->count - 1]);
    if (files > 0) {
        printf("# %s: %d more files are open at the end than halfway\n", name, files);
        return false;
    }
    double slack = s->passes < SETTLED_PASSES ? FILLING_BYTES
                   : driver                   ? DRIVER_SLACK_BYTES
                                              : SLACK_BYTES;
    if (!KEEPS_FREED && per_pass > RISE_BYTES && bytes > slack) {
        printf("# %s: resident memory rises by %.1f bytes a pass, %.1f MB in the second half\n",
               name, per_pass, bytes * 1e-6);
        return false;
    }
    return true;
}

/* What one pass holds; all NULL before and after. */
struct things {
    tarn_device *device;
    tarn_queue *queues[2];
    tarn_kernel *lookup, *forward;
    tarn_buffer *index[3], *network[3];
};

static tarn_buffer *filled(struct things *t, size_t size, struct tarn_rng *rng)
{
    tarn_buffer *buffer = NULL;
    if (tarn_buffer_create(t->device, &(struct tarn_buffer_params){.size = size}, &buffer) !=
        TARN_OK)
        return NULL;
    if (rng != NULL) {
        float *p = tarn_buffer_data(buffer);
        for (size_t i = 0; i < size / sizeof *p; i++)
            p[i] = tarn_rng_float(rng) - 0.5f;
        if (tarn_buffer_upload(t->queues[0], buffer, 0, size) != TARN_OK)
            tarn_buffer_destroy(&buffer);
    }
    return buffer;
}

static bool create(struct things *t, const struct part *part, const struct tarn_shape *shape,
                   struct tarn_rng *rng)
{
    int32_t defines[TARN_SHAPE_DEFINES];
    struct tarn_error error = {0};
    tarn_shape_defines(shape, defines);
    if (tarn_device_open(
            &(struct tarn_device_params){.id = part->device,
                                         .limits = part->limited ? &part->limits : NULL},
            &t->device, &error) != TARN_OK ||
        tarn_kernel_create(t->device, &(struct tarn_kernel_params){.source = &tarn_lookup_source},
                           &t->lookup, &error) != TARN_OK ||
        tarn_kernel_create(t->device, &(struct tarn_kernel_params){&tarn_forward_source, defines},
                           &t->forward, &error) != TARN_OK) {
        printf("# %s: %s\n", part->name, error.message);
        return false;
    }
    for (int i = 0; i < 2; i++)
        if (tarn_queue_create(
                t->device,
                &(struct tarn_queue_params){i == 0 ? TARN_PRIORITY_HIGH : TARN_PRIORITY_LOW},
                &t->queues[i]) != TARN_OK)
            return false;
    t->index[0] = filled(t, (size_t)BUCKETS * TARN_BUCKET_WORDS * 4, rng);
    t->index[1] = filled(t, (size_t)KEYS * 8, rng);
    t->index[2] = filled(t, (size_t)KEYS * 4, NULL);
    t->network[0] = filled(t, tarn_shape_weights(shape) * 4, rng);
    t->network[1] = filled(t, tarn_shape_tile_floats(shape, SAMPLES) * 4, rng);
    t->network[2] = filled(t, (size_t)SAMPLES * 4, NULL);
    for (int i = 0; i < 3; i++)
        if (t->index[i] == NULL || t->network[i] == NULL)
            return false;
    return tarn_queue_finish(t->queues[0], TARN_FOREVER) == TARN_OK;
}

/* Both queues get work, some of whose events are let go of before it is done. */
static bool use(struct things *t, const struct tarn_shape *shape)
{
    static uint32_t slots[KEYS];
    static float scores[SAMPLES];
    struct tarn_lookup_constants lookup = {KEYS, BUCKETS - 1};
    struct tarn_forward_constants forward = {SAMPLES};
    const struct tarn_launch launches[] = {
        {t->lookup, t->index, &lookup, tarn_kernel_groups(t->lookup, KEYS)},
        {t->forward, t->network, &forward, tarn_kernel_groups(t->forward, SAMPLES)},
    };
    tarn_event *events[2] = {NULL, NULL}, *early = NULL;
    bool good = true;
    for (int i = 0; i < 2; i++) {
        tarn_buffer *out = i == 0 ? t->index[2] : t->network[2];
        good &= tarn_queue_submit(t->queues[i], &launches[i], &early) == TARN_OK;
        tarn_event_release(&early);
        good &= tarn_queue_submit(t->queues[i], &launches[i], NULL) == TARN_OK;
        good &= tarn_buffer_download(t->queues[i], out, 0, tarn_buffer_size(out)) == TARN_OK;
        good &= tarn_queue_mark(t->queues[i], &events[i]) == TARN_OK;
    }
    for (int i = 0; i < 2; i++) {
        good = good && tarn_event_wait(events[i], TARN_FOREVER) == TARN_OK;
        tarn_event_release(&events[i]);
    }
    if (!good)
        return false;
    tarn_lookup_host(tarn_buffer_data(t->index[0]), BUCKETS - 1, tarn_buffer_data(t->index[1]),
                     KEYS, slots);
    tarn_forward_host(shape, tarn_buffer_data(t->network[0]), tarn_buffer_data(t->network[1]),
                      SAMPLES, scores);
    const float *got = tarn_buffer_data(t->network[2]);
    for (int i = 0; i < SAMPLES; i++)
        good &= fabsf(got[i] - scores[i]) < 1e-3f;
    return good && memcmp(slots, tarn_buffer_data(t->index[2]), sizeof slots) == 0;
}

static void destroy(struct things *t)
{
    for (int i = 0; i < 3; i++) {
        tarn_buffer_destroy(&t->index[i]);
        tarn_buffer_destroy(&t->network[i]);
    }
    tarn_kernel_destroy(&t->lookup);
    tarn_kernel_destroy(&t->forward);
    tarn_queue_destroy(&t->queues[0]);
    tarn_queue_destroy(&t->queues[1]);
    tarn_device_close(&t->device);
}

static bool pass_device(const struct part *part, uint64_t number)
{
    static const struct tarn_shape shape = {28, 32, 32, 11};
    struct things things = {0};
    struct tarn_selftest selftest = {0};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, number);
    bool good = create(&things, part, &shape, &rng) && use(&things, &shape);
    if (!good)
        printf("# %s: pass %" PRIu64 " failed\n", part->name, number);
    if (good && number % SELFTEST_EACH == 0) {
        good = tarn_selftest_device(things.device, number, &selftest) == TARN_OK &&
               selftest.failed == 0;
        if (!good)
            printf("# %s: pass %" PRIu64 ": %s\n", part->name, number, selftest.message);
    }
    destroy(&things);
    return good;
}

/* An engine that fills up, looks up in batches, evicts and learns; every other one with a thread. */
static bool pass_engine(const struct part *part, uint64_t number)
{
    static uint64_t keys[KEYS];
    static const void *names[KEYS];
    static size_t sizes[KEYS];
    static uint32_t slots[KEYS];
    struct tarn_error error = {0};
    tarn_engine *engine = NULL;
    struct tarn_rng rng;
    bool good = true;
    tarn_rng_seed(&rng, number);
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = KEYS / 4,
                                                        .device = part->device,
                                                        .background = number % 2 == 0
                                                                          ? TARN_BACKGROUND_THREAD
                                                                          : TARN_BACKGROUND_STEPS,
                                                        .seed = number},
                           &engine, &error) != TARN_OK) {
        printf("# %s: %s\n", part->name, error.message);
        return false;
    }
    tarn_cache *cache = tarn_engine_cache(engine);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < KEYS; i++) {
            keys[i] = tarn_rng_below(&rng, KEYS);
            names[i] = &keys[i];
            sizes[i] = sizeof keys[i];
        }
        good &= tarn_engine_lookup(engine, names, sizes, KEYS, slots) == TARN_OK;
        for (size_t i = 0; i < KEYS; i++) {
            size_t room = 0;
            if (tarn_cache_get_at(cache, &keys[i], sizeof keys[i], slots[i], NULL, &room) !=
                TARN_OK)
                good &= tarn_cache_put(cache, &keys[i], sizeof keys[i],
                                       &(struct tarn_item){.charge = 1}) == TARN_OK;
            if (number % 2 != 0)
                tarn_engine_step(engine);
        }
    }
    if (!good)
        printf("# %s: pass %" PRIu64 " failed\n", part->name, number);
    tarn_engine_destroy(&engine);
    return good;
}

/* ---- the arbiter ---- */

enum { BATCH = 128, JOB_STEPS = 4, LOOKUPS = 40 };

static tarn_status submit_slice(void *user, uint32_t ticket, uint32_t units, uint32_t *submitted)
{
    tarn_trainer *trainer = user;
    if (!tarn_trainer_in_flight(trainer)) {
        tarn_status status = tarn_trainer_begin(trainer, JOB_STEPS);
        if (status != TARN_OK)
            return status;
    }
    return tarn_trainer_slice(trainer, units, ticket, submitted);
}

static tarn_status poll_slice(void *user, uint64_t timeout_us, struct tarn_share_slice *slice)
{
    struct tarn_trainer_slice done;
    tarn_status status = tarn_trainer_poll(user, timeout_us, &done);
    if (status == TARN_OK)
        *slice = (struct tarn_share_slice){done.tiles_done, done.start_ns, done.end_ns};
    return status;
}

static void stop_slices(void *user, uint32_t ticket)
{
    tarn_trainer_stop(user, ticket);
}

/* 0.2 ms, in which the arbiter does what it has to: by its thread, or here if time is simulated. */
static bool let_pass(struct things *t, tarn_share *share, bool simulated)
{
    const struct timespec real = {0, 200000};
    if (!simulated) {
        nanosleep(&real, NULL);
        return true;
    }
    for (uint64_t end = tarn_virtual_now(t->device) + 200000, now; /**/;) {
        uint64_t next;
        if (tarn_share_pump(share, &next) != TARN_OK)
            return false;
        now = tarn_virtual_now(t->device);
        if (now >= end)
            return true;
        next = next < end ? next : end;
        tarn_virtual_advance(t->device, next > now ? next - now : 1000);
    }
}

static bool look_up(struct things *t, tarn_share *share)
{
    const struct tarn_lookup_constants constants = {KEYS, BUCKETS - 1};
    const struct tarn_launch launch = {t->lookup, t->index, &constants,
                                       tarn_kernel_groups(t->lookup, KEYS)};
    tarn_event *event = NULL;
    uint64_t name = tarn_share_arrive(share);
    bool good = tarn_queue_submit(t->queues[0], &launch, &event) == TARN_OK &&
                tarn_event_wait(event, TARN_FOREVER) == TARN_OK;
    tarn_event_release(&event);
    tarn_share_depart(share, name, 0);
    return good;
}

static uint64_t simulated_now(void *user)
{
    return tarn_virtual_now(user);
}

/* Lookups until some slices have ended beside them; then it is stopped, whatever flies. */
static bool run_shared(struct things *t, tarn_share *share, bool simulated)
{
    struct tarn_share_stats stats = {0};
    bool good = simulated || tarn_share_start(share) == TARN_OK;
    uint64_t end = tarn_clock_ns() + UINT64_C(10000000000);
    for (int i = 0; good && (i < LOOKUPS || stats.slices < 10) && tarn_clock_ns() < end; i++) {
        good = let_pass(t, share, simulated) && look_up(t, share);
        tarn_share_get_stats(share, &stats);
    }
    good = tarn_share_stop(share, 10000000) == TARN_OK && good;
    return good && stats.slices >= 10 && stats.failure == TARN_OK;
}

static bool pass_share(const struct part *part, uint64_t number)
{
    static const struct tarn_shape shape = {28, 32, 32, 11};
    static float start[4096];
    struct things t = {0};
    struct tarn_rng rng;
    tarn_trainer *trainer = NULL;
    tarn_share *share = NULL;
    tarn_rng_seed(&rng, number);
    bool good = create(&t, part, &shape, &rng);
    const struct tarn_device_info *info = good ? tarn_device_get_info(t.device) : NULL;
    good = good && tarn_trainer_create(&(struct tarn_trainer_params){.shape = &shape,
                                                                     .weights = start,
                                                                     .device = t.device,
                                                                     .queue = t.queues[1],
                                                                     .batch = BATCH,
                                                                     .steps = JOB_STEPS,
                                                                     .rate = 1e-4f},
                                       &trainer, NULL) == TARN_OK;
    if (good) {
        bool simulated = info->type == TARN_DEVICE_VIRTUAL;
        const struct tarn_share_work work = {.name = "training",
                                             .user = trainer,
                                             .submit = submit_slice,
                                             .poll = poll_slice,
                                             .stop = info->stop_flag ? stop_slices : NULL};
        good = tarn_share_create(
                   &(struct tarn_share_params){.work = &work,
                                               .now_ns = simulated ? simulated_now : NULL,
                                               .clock_user = t.device,
                                               .low = 0.98f,
                                               .high = 0.99f,
                                               .dwell_us = 2000},
                   &share, NULL) == TARN_OK &&
               run_shared(&t, share, simulated);
    }
    if (!good)
        printf("# %s: pass %" PRIu64 " failed\n", part->name, number);
    tarn_share_destroy(&share);
    tarn_trainer_destroy(&trainer);
    destroy(&t);
    return good;
}

static bool pass(const struct part *part, uint64_t number)
{
    if (part->share)
        return pass_share(part, number);
    return part->engine ? pass_engine(part, number) : pass_device(part, number);
}

/* False if there is no such device here. */
static bool find(struct part *part, const char *name)
{
    tarn_device *device = NULL;
    const char *at = strchr(name, '@');
    *part = (struct part){.name = name, .device = at != NULL ? at + 1 : name};
    part->share = strncmp(name, "share@", 6) == 0;
    part->engine = at != NULL && !part->share;
    if (strncmp(name, "host:", 5) == 0) { /* the limits of the simulated board of that name */
        char board[32];
        snprintf(board, sizeof board, "virtual:%s", name + 5);
        if (tarn_device_open(&(struct tarn_device_params){.id = board}, &device, NULL) != TARN_OK)
            return false;
        part->limits = tarn_device_get_info(device)->limits;
        part->limited = true;
        part->device = "host";
    } else if (tarn_device_open(&(struct tarn_device_params){.id = part->device}, &device, NULL) !=
               TARN_OK) {
        return false;
    }
    tarn_device_type type = tarn_device_get_info(device)->type;
    part->driver = type == TARN_DEVICE_GPU || type == TARN_DEVICE_CPU;
    tarn_device_close(&device);
    return true;
}

/* Passes over the parts in turns until the time is over. */
static bool soak(const char *name, const struct part *parts, size_t count, double seconds)
{
    static struct samples samples;
    bool driver = false;
    uint64_t end = tarn_clock_ns() + (uint64_t)(seconds * 1e9);
    memset(&samples, 0, sizeof samples);
    for (size_t i = 0; i < count; i++)
        driver |= parts[i].driver;
    do {
        for (size_t i = 0; i < count; i++)
            if (!pass(&parts[i], samples.passes))
                return false;
        take_sample(&samples);
    } while (tarn_clock_ns() < end || samples.passes < LEAST_PASSES);
    return judge(name, &samples, driver);
}

int main(int argc, char **argv)
{
    static struct part parts[MOST_PARTS];
    double seconds = argc > 1 ? strtod(argv[1], NULL) : 0;
    size_t found = 0;
    int failed = 0;
    if (argc < 3 || argc - 2 > MOST_PARTS || !(seconds > 0)) {
        fprintf(stderr, "usage: soak SECONDS WHAT...\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    double share = seconds / (argc - 1);
    printf("1..%d\n", argc - 1);
    for (int i = 2; i < argc; i++) {
        if (!find(&parts[found], argv[i])) {
            printf("ok %d - %s # SKIP no such device here\n", i - 1, argv[i]);
            continue;
        }
        bool good = soak(argv[i], &parts[found], 1, share);
        failed += !good;
        found += good; /* what fails on its own isn't asked in turns */
        printf("%s %d - %s\n", good ? "ok" : "not ok", i - 1, argv[i]);
    }
    bool good = found == 0 || soak("in turns", parts, found, share);
    printf("%s %d - in turns\n", good ? "ok" : "not ok", argc - 1);
    return failed > 0 || !good;
}
