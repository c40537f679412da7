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
#include "offload/calibrate.h"
#include "offload/limits.h"
#include "offload/lookup.h"
#include "offload/score.h"

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

    /* what was measured of the device */
    struct tarn_calibration
        calibration; /**< written before the engine is shared, or by `measure` */
    bool asked_for;  /**< the device, by its name */
    bool trains_on_device;
    atomic_bool measured, stop_measuring;
    atomic_uint lookup_least, score_least;
    pthread_t measure;
    bool measure_runs;

    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool stop;
    atomic_bool training;
};

/** Reads what was measured of the device at an earlier start; after the device was opened. */
void tarn_measure_init(struct tarn_engine *engine);
/** What is known becomes what the engine does. */
void tarn_measure_apply(struct tarn_engine *engine);
/** Measures what is missing, in a thread of its own. */
tarn_status tarn_measure_start(struct tarn_engine *engine);
/** Ends that thread. */
void tarn_measure_stop(struct tarn_engine *engine);

/** Makes what the background needs; after the cache. */
tarn_status tarn_background_init(struct tarn_engine *engine, struct tarn_error *error);
/** Starts the thread of TARN_BACKGROUND_THREAD. */
tarn_status tarn_background_start(struct tarn_engine *engine);
/** Stops the thread and waits for what is in flight. */
void tarn_background_free(struct tarn_engine *engine);

#endif
