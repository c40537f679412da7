/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single gets, answered by the host, while gradient steps take all that they can get: p99 of blocks with
 * training on against blocks with it paused, in turns. bench_gets [DEVICE [THREADS]]: where the steps
 * run (host), and how many threads ask (one, and one a CPU).
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <tarn/engine.h>
#include <tarn/share.h>

#include "base/clock.h"
#include "base/rng.h"
#include "net/trainer.h"

enum {
    OBJECTS = 100000,
    BLOCKS = 40,
    BLOCK_NS = 100000000,
    BATCH = 128,
    STEPS = 100,
    ROOM = 1 << 17
};

static const struct tarn_shape shape = {28, 32, 32, 11};

/* ---- endless steps ---- */

static tarn_status submit(void *user, uint32_t ticket, uint32_t units, uint32_t *submitted)
{
    tarn_trainer *trainer = user;
    if (!tarn_trainer_in_flight(trainer))
        tarn_trainer_begin(trainer, STEPS);
    return tarn_trainer_slice(trainer, units, ticket, submitted);
}

static tarn_status poll(void *user, uint64_t timeout_us, struct tarn_share_slice *slice)
{
    struct tarn_trainer_slice done;
    tarn_status status = tarn_trainer_poll(user, timeout_us, &done);
    if (status == TARN_OK)
        *slice = (struct tarn_share_slice){done.tiles_done, done.start_ns, done.end_ns};
    return status;
}

/* ---- gets ---- */

struct client {
    tarn_cache *cache;
    struct tarn_rng rng;
    double ns[ROOM];
    size_t count;
};

static void *ask(void *argument)
{
    struct client *c = argument;
    uint64_t begun = tarn_clock_ns(), before = begun;
    c->count = 0;
    while (before - begun < BLOCK_NS) {
        for (int i = 0; i < 64; i++) { /* and a pause, as a server has between packets */
            uint64_t key = tarn_rng_below(&c->rng, OBJECTS), value[8];
            size_t room = sizeof value;
            uint64_t start = tarn_clock_ns();
            tarn_cache_get(c->cache, &key, sizeof key, value, &room);
            uint64_t end = tarn_clock_ns();
            if (c->count < ROOM)
                c->ns[c->count++] = (double)(end - start);
        }
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
        before = tarn_clock_ns();
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

/* p50 and p99 of a block, over all threads. */
static void block(struct client *clients, int threads, double *p50, double *p99)
{
    static double all[64 * ROOM / 8];
    pthread_t thread[64];
    size_t count = 0;
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, ask, &clients[i]);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < threads; i++)
        for (size_t k = 0; k < clients[i].count && count < sizeof all / sizeof *all; k++)
            all[count++] = clients[i].ns[k];
    qsort(all, count, sizeof *all, compare);
    *p50 = all[count / 2];
    *p99 = all[count * 99 / 100];
}

static void measure(tarn_share *share, tarn_trainer *trainer, struct client *clients, int threads)
{
    double p50[2][BLOCKS], p99[2][BLOCKS], ratios[BLOCKS], steps[2] = {0, 0};
    for (int i = 0; i < BLOCKS; i++)
        for (int on = 0; on < 2; on++) {
            struct tarn_share_stats before, after;
            tarn_share_set_training(share, on == 1);
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
            tarn_share_get_stats(share, &before);
            block(clients, threads, &p50[on][i], &p99[on][i]);
            tarn_share_get_stats(share, &after);
            steps[on] += (double)(after.units - before.units) / 8;
        }
    for (int i = 0; i < BLOCKS; i++)
        ratios[i] = p99[1][i] / p99[0][i];
    double seconds = BLOCKS * (BLOCK_NS * 1e-9);
    printf("%d thread%s: p50 %.0f ns paused, %.0f beside training; p99 %.0f and %.0f: ratio %.2f; "
           "%.0f steps/s (%.0f while paused)\n",
           threads, threads > 1 ? "s" : "", middle(p50[0], BLOCKS), middle(p50[1], BLOCKS),
           middle(p99[0], BLOCKS), middle(p99[1], BLOCKS), middle(ratios, BLOCKS),
           steps[1] / seconds, steps[0] / seconds);
    (void)trainer;
}

int main(int argc, char **argv)
{
    const char *id = argc > 1 ? argv[1] : "host";
    int cpus = (int)sysconf(_SC_NPROCESSORS_ONLN), only = argc > 2 ? atoi(argv[2]) : 0;
    cpus = cpus > 64 ? 64 : cpus;
    tarn_engine *engine = NULL;
    tarn_device *device = NULL;
    tarn_queue *queue = NULL;
    tarn_trainer *trainer = NULL;
    tarn_share *share = NULL;
    struct tarn_error error = {0};
    struct client *clients = calloc(64, sizeof *clients);
    float *weights = calloc(tarn_shape_weights(&shape), sizeof *weights);
    if (clients == NULL || weights == NULL)
        return 1;
    if (tarn_engine_create(
            &(struct tarn_engine_params){.objects = OBJECTS, .device = "host", .no_learn = true},
            &engine, &error) != TARN_OK ||
        tarn_device_open(&(struct tarn_device_params){.id = id}, &device, &error) != TARN_OK) {
        fprintf(stderr, "%s: %s\n", id, error.message);
        return error.status == TARN_NO_DEVICE ? 77 : 1;
    }
    bool host = tarn_device_get_info(device)->type == TARN_DEVICE_HOST;
    tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_LOW}, &queue);
    if (tarn_trainer_create(&(struct tarn_trainer_params){.shape = &shape,
                                                          .weights = weights,
                                                          .device = host ? NULL : device,
                                                          .queue = queue,
                                                          .batch = BATCH,
                                                          .steps = STEPS,
                                                          .rate = 1e-4f},
                            &trainer, &error) != TARN_OK)
        return 1;
    const struct tarn_share_work work = {"training", trainer, submit, poll, NULL};
    if (tarn_share_create(
            &(struct tarn_share_params){.work = &work, .dwell_us = 20000, .spare_time = host},
            &share, &error) != TARN_OK ||
        tarn_share_start(share) != TARN_OK)
        return 1;
    for (uint64_t key = 0; key < OBJECTS; key++)
        tarn_cache_put(tarn_engine_cache(engine), &key, sizeof key,
                       &(struct tarn_item){.value = &key, .value_size = sizeof key, .charge = 1});
    for (int i = 0; i < 64; i++) {
        clients[i].cache = tarn_engine_cache(engine);
        tarn_rng_seed(&clients[i].rng, (uint64_t)i);
    }
    printf("single gets beside gradient steps on %s\n", id);
    if (only > 0)
        measure(share, trainer, clients, only < 64 ? only : 64);
    else
        for (int threads = 1; threads <= cpus; threads += cpus > 1 ? cpus - 1 : 1)
            measure(share, trainer, clients, threads);
    tarn_share_stop(share, 10000000);
    tarn_share_destroy(&share);
    tarn_trainer_destroy(&trainer);
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
    tarn_engine_destroy(&engine);
    free(weights);
    free(clients);
    return 0;
}
