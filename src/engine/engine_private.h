/* SPDX-License-Identifier: Apache-2.0 */
/** @file The engine's parts, shared by engine.c (wiring) and background.c (the loop). */
#ifndef TARN_ENGINE_PRIVATE_H
#define TARN_ENGINE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include <tarn/engine.h>
#include <tarn/feedback.h>
#include <tarn/share.h>

#include "cache/cache.h"
#include "evict/learned.h"
#include "ensemble.h"
#include "experts/classify.h"
#include "learn/ring.h"
#include "learning.h"
#include "net/trainer.h"
#include "offload/calibrate.h"
#include "offload/limits.h"
#include "offload/lookup.h"
#include "offload/score.h"
#include "platform/gate.h"
#include "platform/sensors.h"
#include "sets.h"
#include "tags.h"
#include "pressure.h"
#include "versions.h"

/**
 * With TARN_BACKGROUND_STEPS what a look has begun on a device the next one waits for, so that the requests
 * alone say when it takes effect, whatever the device; what takes longer than this is asked for again.
 */
#define TARN_STEP_WAIT_US 1000000

#define TARN_AHEAD_VICTIMS 128 /* of the list that the background fills on the host, */
#define TARN_AHEAD_AT_ONCE 64  /* and of one round: it holds the lock */

/** Who has the trainer. */
enum tarn_job {
    TARN_JOB_NONE, /**< the background, which may begin one */
    TARN_JOB_RUNS, /**< the arbiter's slices */
    TARN_JOB_DONE, /**< the background, which takes the weights */
};

struct tarn_learner;
struct tarn_width;
struct tarn_books;
struct tarn_ear;

/** What was said of experts that give no numbers (weather.c). */
struct tarn_weather {
    uint64_t seen,
        blamed,   /**< rounds, as of the last look; the version that was last replaced for it */
        pinned;   /**< one that is pinned, and was told of */
    uint32_t out; /**< experts that were told of */
    bool told, say_back;
    uint64_t told_at; /**< ns, or requests with TARN_BACKGROUND_STEPS */
};

struct tarn_engine {
    struct tarn_engine_params params;
    struct tarn_device_info info; /**< of the device that was chosen, there or not */
    bool on_device;               /**< it isn't the host: scores and lookups are worth offloading */

    pthread_mutex_t lookup_lock; /**< held while keys are looked up, and while the device changes */
    tarn_lookup *lookup;         /**< NULL while the host does it */
    uint64_t *hashes;            /**< of the batch that is looked up */

    /* the device, guarded by `background_lock` */
    tarn_device *device; /**< NULL while it is gone */
    tarn_queue *lookup_queue, *score_queue, *train_queue;
    tarn_status score_failure; /**< since the last look */
    bool trains_on_device, leaving;
    uint32_t tries;                    /**< to open it again, since it went */
    uint64_t retry_at, entered_at;     /**< ns, or requests with TARN_BACKGROUND_STEPS */
    uint64_t round_since, train_since; /**< ns: when what is in flight began */
    uint64_t losses, returns;
    struct tarn_kernel_stats past_lookup, past_score; /**< of devices that are gone */

    tarn_score *score;
    tarn_trainer *trainer;
    tarn_cache *cache;

    struct tarn_shape shape; /**< of the network, in all versions */
    struct tarn_versions versions;
    struct tarn_ensemble ensemble;

    /* under the cache's lock */
    struct tarn_learned *learned; /**< owned by the cache's policy */
    struct tarn_ring ring;
    uint64_t samples;
    struct tarn_workload *workload; /**< NULL: there was no memory for it */
    struct tarn_ear *ear;           /**< deferred.c; NULL: it hears at once */

    /* the background's, guarded by `background_lock` */
    pthread_mutex_t background_lock;
    struct tarn_rng rng;
    struct tarn_round round; /**< the one that a device scores */
    bool round_in_flight;
    uint64_t scored_version;                 /**< whose weights the device scores with; 0: none */
    uint64_t rounds_on_device, rounds_ahead; /**< the latter on the host */
    struct tarn_weather weather;
    struct tarn_pressure pressure;
    uint32_t relief; /**< the level that is carried out */
    uint64_t relief_seen_ns;
    double cpu_load;                  /**< of the board, at the last look */
    struct tarn_round ahead;          /**< the one that the background scores there */
    uint64_t seen;                    /**< requests up to which training was paced */
    struct tarn_kernel_stats trained; /**< gradient steps so far */
    float loss;
    double steps_due;
    struct tarn_learning_params learning;
    struct tarn_learner *learner; /**< learning_private.h */
    struct tarn_tags tags;
    struct tarn_class_sets sets;
    struct tarn_width *width; /**< width.h */
    bool restart;             /**< training goes on from the live weights, once its job is done */
    uint32_t calls;

    struct tarn_books *books; /**< feedback.c; NULL: there was no memory for it */

    /* training under the arbiter; NULL with TARN_BACKGROUND_STEPS or without learning */
    tarn_share *share;
    atomic_int job; /**< enum tarn_job */
    tarn_sensors *sensors;
    struct tarn_gate gate;
    struct tarn_gate_verdict verdict;
    uint64_t pattern_kept_ns;
    uint64_t board_seen_ns;           /**< when the sensors were read */
    uint64_t looked_ns, simulated_ns; /**< a simulated device follows the wall's clock */
    uint32_t ring_samples;            /**< of the ring while memory isn't short */

    /* what was measured of the device */
    struct tarn_calibration calibration; /**< under `lookup_lock` */
    bool asked_for;                      /**< the device, by its name */
    atomic_bool measured, stop_measuring;
    atomic_uint lookup_least, score_least;
    pthread_t measure;
    bool measure_runs;

    pthread_t thread;
    bool thread_runs;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool stop;
    atomic_bool hurried; /**< somebody waits for the next look: it follows at once */
    atomic_bool training;
};

/** Reads what was measured of the device at an earlier start; once `info` is known. */
void tarn_measure_init(struct tarn_engine *engine);
/** What is known becomes what the engine does. Under the lookups' lock once the engine is shared. */
void tarn_measure_apply(struct tarn_engine *engine);
/** False if training was measured to be quicker on the host. Under that lock too. */
bool tarn_measure_training_pays(const struct tarn_engine *engine);
/**
 * Measures what is missing, in a thread and on a device of its own: the engine's may be lost and come
 * back meanwhile. After the device was entered, before the background starts.
 */
tarn_status tarn_measure_start(struct tarn_engine *engine);
/** Ends that thread. */
void tarn_measure_stop(struct tarn_engine *engine);

/** Opens the device of params.device (or one that won its place), and only that. */
tarn_status tarn_engine_open_device(struct tarn_engine *engine, struct tarn_error *error);
/**
 * Puts lookups, scores and training there; after the cache and the background. A kernel that is
 * quarantined stays on the host; a device that fails is no error: the host does it all until later.
 */
tarn_status tarn_engine_enter_device(struct tarn_engine *engine, struct tarn_error *error);
/** Closes a device that failed and opens it again when its time has come. Under the background's lock. */
void tarn_engine_watch_device(struct tarn_engine *engine);
/** Moves everything to the host and closes the device; nothing that hangs is waited for. */
void tarn_engine_leave_device(struct tarn_engine *engine);

/** Rounds that the background's thread prepares on the host (ahead.c); after the cache. */
tarn_status tarn_ahead_init(struct tarn_engine *engine);
void tarn_ahead_free(struct tarn_engine *engine);
/** Fills the list where no device does. Under the background's lock. */
void tarn_ahead_look(struct tarn_engine *engine);
/** The background's thread looks at once at what requests wait for. By any thread; cheap. */
void tarn_ahead_hurry(struct tarn_engine *engine);

/**
 * What requests leave to the background's thread (deferred.c). Under the background's lock: replays what they have
 * noted; `hurried`: only what is worth it, if it is worth it.
 */
void tarn_deferred_look(struct tarn_engine *engine, bool hurried);
/** All of it, at the end, with no thread left. */
void tarn_deferred_finish(struct tarn_engine *engine);
/** Listens for the classifier, which exists, and notes what it is to hear. Zeros: there was no memory. */
struct tarn_listener tarn_ear_listener(struct tarn_engine *engine);
/** Under both locks. */
void tarn_deferred_get_stats(const struct tarn_engine *engine, struct tarn_engine_stats *stats);
/** Once the cache is gone. */
void tarn_deferred_free(struct tarn_engine *engine);

/** What is given up under load (relief.c); after the cache. TARN_INVALID: there is no such level. */
tarn_status tarn_relief_init(struct tarn_engine *engine);
/** Under the background's lock. */
void tarn_relief_look(struct tarn_engine *engine);
void tarn_relief_get_stats(const struct tarn_engine *engine, struct tarn_engine_stats *stats);

/** Tells of experts that give no numbers, and replaces a version that doesn't. Under the background's lock. */
void tarn_weather_look(struct tarn_engine *engine);

/** After the trainer, before the device is entered. */
tarn_status tarn_training_init(struct tarn_engine *engine, struct tarn_error *error);
/** Starts the arbiter's thread, where it has one. */
tarn_status tarn_training_start(struct tarn_engine *engine);
void tarn_training_free(struct tarn_engine *engine);
/** What was staged becomes the arbiter's job. */
void tarn_training_hand_over(struct tarn_engine *engine, uint32_t steps);
/** Between these the trainer is the caller's alone, in the middle of a job or not. */
void tarn_training_pause(struct tarn_engine *engine);
void tarn_training_go_on(struct tarn_engine *engine);
/** Between them too: ends a job that is under way on the host. */
void tarn_training_settle(struct tarn_engine *engine);
/** A slice doesn't come back. */
bool tarn_training_hangs(struct tarn_engine *engine);
/** Each time that the background looks around: the board's sensors, a simulated device's time. */
void tarn_training_look(struct tarn_engine *engine);

/** The trainer; after the model. */
tarn_status tarn_learning_init(struct tarn_engine *engine, struct tarn_error *error);
void tarn_learning_free(struct tarn_engine *engine);
/** Each time that the background looks around: takes what is done, begins what is due. */
void tarn_learning_look(struct tarn_engine *engine);
/** At the end: takes what a last job gave. */
void tarn_learning_finish(struct tarn_engine *engine);
/** Memory is short: samples of the past go; and come again when it isn't. Under the cache's lock. */
void tarn_learning_give_back(struct tarn_engine *engine, bool back);
/** Its part of the statistics. Under the background's lock. */
void tarn_learning_get_stats(const struct tarn_engine *engine, struct tarn_engine_stats *stats);
/** Goes on from the last checkpoint, if there is one; while nobody else has the engine. */
void tarn_checkpoints_load(struct tarn_engine *engine);
/** Bytes of the training arena: all that training holds but samples. Fixed once the engine is there. */
uint64_t tarn_learning_memory(const struct tarn_engine *engine);
/**
 * Writes the checkpoint that the last look has made, if it has: waits for the disk. By the thread that looks,
 * without the background's lock.
 */
void tarn_checkpoints_write(struct tarn_engine *engine);
/** The last one, once no thread of the engine's runs and its device is left. */
void tarn_checkpoints_finish(struct tarn_engine *engine);
/**
 * Training goes on from the live version's weights, with its own moments, samples and pace; what a job that is
 * under way gives is dropped. `other`: it is another version than training made, so that misses say nothing of
 * the workload for a while. Under the background's lock.
 */
void tarn_learning_restart(struct tarn_engine *engine, bool other);

/** Who is told of the requests; before the cache. */
struct tarn_listener tarn_workload_listener(struct tarn_engine *engine);
/** Under the cache's lock. */
void tarn_workload_add_stats(const struct tarn_engine *engine, struct tarn_engine_stats *stats);

/** Begins to write down what decisions cost, from what was kept; after the cache. */
void tarn_books_open(struct tarn_engine *engine);
/** Each time that the background looks around. Under its lock. */
void tarn_books_look(struct tarn_engine *engine);
/** Another version is about to be called live. Under the background's lock. */
void tarn_books_swap(struct tarn_engine *engine, bool back);
/** Writes what is due to the state folder. By the thread that looks, without the background's lock. */
void tarn_books_keep(struct tarn_engine *engine, bool now);
/** Keeps and frees it; once no thread of the engine's runs, before the cache goes. */
void tarn_books_close(struct tarn_engine *engine);
/**
 * What is known of a class (TARN_WORKLOADS: of all) under a version (0: under all), for whoever chooses by
 * it; zeros where nothing is. Under the background's lock.
 */
void tarn_books_sum(const struct tarn_engine *engine, tarn_workload_class workload,
                    uint64_t version, struct tarn_feedback_figures *sum);
/** Bytes. */
size_t tarn_books_memory(const struct tarn_engine *engine);

/** Static text. */
const char *tarn_engine_expert_name(const struct tarn_engine *engine, uint32_t k);

/** Starts the thread of TARN_BACKGROUND_THREAD. */
tarn_status tarn_background_start(struct tarn_engine *engine);
/** Stops the thread and waits for what is in flight. */
void tarn_background_free(struct tarn_engine *engine);

#endif
