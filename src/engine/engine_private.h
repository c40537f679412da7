/* SPDX-License-Identifier: Apache-2.0 */
/** @file The engine's parts, shared by engine.c (wiring) and background.c (the loop). */
#ifndef TARN_ENGINE_PRIVATE_H
#define TARN_ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <tarn/engine.h>

#include "cache/cache.h"
#include "evict/learned.h"
#include "learn/ring.h"
#include "net/trainer.h"
#include "offload/lookup.h"
#include "offload/score.h"

#define TARN_TRAIN_BATCH 128
#define TARN_TRAIN_STEPS 10 /* of one launch */

struct tarn_engine {
    struct tarn_engine_params params;
    tarn_device *device;
    bool on_device; /**< it isn't the host: scores and lookups are worth offloading */
    tarn_queue *lookup_queue, *score_queue, *train_queue;
    tarn_lookup *lookup;
    uint64_t *hashes; /**< of the batch that is looked up */
    tarn_score *score;
    tarn_trainer *trainer;
    tarn_cache *cache;

    /* under the cache's lock */
    tarn_model *model;            /**< the live weights */
    struct tarn_learned *learned; /**< owned by the cache's policy */
    struct tarn_ring ring;
    uint64_t samples;

    /* the background's, guarded by `background_lock` */
    pthread_mutex_t background_lock;
    struct tarn_rng rng;
    struct tarn_round round; /**< the one that a device scores */
    bool round_in_flight, weights_are_new;
    uint64_t rounds_on_device;
    uint64_t seen; /**< requests up to which training was paced */
    double steps_due;
    uint32_t calls;

    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool stop;
    atomic_bool training;
};

/** Makes what the background needs; after the cache. */
tarn_status tarn_background_init(struct tarn_engine *engine, struct tarn_error *error);
/** Starts the thread of TARN_BACKGROUND_THREAD. */
tarn_status tarn_background_start(struct tarn_engine *engine);
/** Stops the thread and waits for what is in flight. */
void tarn_background_free(struct tarn_engine *engine);

#endif
