/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the parts of `tarn bench learn` share: requests in memory, engines that they are replayed through,
 * samples for training from scratch, and tasks on two threads. Each part fills rows of its own; bench_learn.c
 * prints them.
 */
#ifndef TARN_TOOLS_BENCH_LEARN_H
#define TARN_TOOLS_BENCH_LEARN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <tarn/engine.h>

#include "base/rng.h"
#include "cli.h"
#include "engine/learning.h"

enum { TARN_BL_NAME = 64, TARN_BL_SETTINGS = 3 };

/** How much is done. */
struct tarn_bl_scale {
    bool quick;
    uint64_t period;        /**< requests between two retrainings from scratch */
    uint64_t phase;         /**< requests of a phase of the sequences A B C */
    uint64_t cost_requests; /**< of a cell of the loop's cost */
    uint32_t steps;         /**< of training from scratch */
    uint64_t trials;        /**< of sabotage */
};

/** The bench, and what its threads share. */
struct tarn_bl {
    struct tarn_cli *cli;
    struct tarn_bl_scale scale;
    struct tarn_progress progress;
    pthread_mutex_t lock; /**< of the bar and of the list of tasks */
    double planned, done; /**< requests of all tasks */
};

/** Requests for objects of one size. */
struct tarn_bl_stream {
    char name[TARN_BL_NAME];
    uint64_t *key;
    size_t count;
};

/** A generator's words. */
struct tarn_bl_source {
    const char *name, *kind;
    uint64_t objects;
    const char *settings[TARN_BL_SETTINGS];
};

/**
 * `count` requests of a generator, added to the stream; `salt` sets the keys of one use of it apart from
 * those of another.
 */
tarn_status tarn_bl_generate(struct tarn_bl_stream *stream, const struct tarn_bl_source *source,
                             uint64_t count, uint64_t seed, uint64_t salt,
                             struct tarn_error *error);
/** At most `limit` requests of a trace (0: all), every one a get of an object of size 1. */
tarn_status tarn_bl_load(struct tarn_bl_stream *stream, const char *path, uint64_t limit,
                         struct tarn_error *error);
/** Adds a part of another stream's requests. */
tarn_status tarn_bl_append(struct tarn_bl_stream *stream, const struct tarn_bl_stream *from,
                           size_t begin, size_t count, uint64_t salt, struct tarn_error *error);
/** Distinct keys. 0: no memory. */
uint64_t tarn_bl_footprint(const struct tarn_bl_stream *stream);
void tarn_bl_stream_free(struct tarn_bl_stream *stream);

/** Training samples, evenly thinned (a reservoir: Vitter 1985). */
struct tarn_bl_samples {
    struct tarn_model_sample *sample;
    size_t count, room;
    uint64_t seen;
    struct tarn_rng rng;
};
tarn_status tarn_bl_samples_init(struct tarn_bl_samples *samples, uint64_t seed,
                                 struct tarn_error *error);
/** Forgets them: a new window begins. */
void tarn_bl_samples_clear(struct tarn_bl_samples *samples);
void tarn_bl_samples_free(struct tarn_bl_samples *samples);
/** From random weights, on the samples alone; `start`: from there. TARN_INVALID: there are none. */
tarn_status tarn_bl_train(const struct tarn_bl_samples *samples, uint32_t steps,
                          const tarn_model *start, uint64_t seed, tarn_model **model,
                          struct tarn_error *error);

/** How an engine that is measured differs from the one that users get. */
struct tarn_bl_setup {
    uint64_t objects;
    const tarn_model *model;                     /**< NULL: the built-in one */
    bool no_learn;                               /**< weights stay */
    const struct tarn_learning_params *learning; /**< NULL: as users get it */
    struct tarn_bl_samples *samples;             /**< where samples go; may be NULL */
    uint64_t seed;
};
tarn_status tarn_bl_open(struct tarn_bl *bench, const struct tarn_bl_setup *setup,
                         tarn_engine **engine, struct tarn_error *error);
/** Learning as plain as it gets: weights in place, and nothing against forgetting. */
void tarn_bl_naive(struct tarn_learning_params *params);

/** One request: true if it hit; a miss stores the object. */
bool tarn_bl_access(tarn_engine *engine, uint64_t key);
/**
 * Carries requests out; returns the misses. `misses` (may be NULL) takes those of each `bucket` requests,
 * the last of which may be shorter.
 */
uint64_t tarn_bl_replay(struct tarn_bl *bench, tarn_engine *engine, const uint64_t *keys,
                        size_t count, size_t bucket, uint32_t *misses);
/** Opens, replays and closes; of the requests from `from` on the misses are counted. */
tarn_status tarn_bl_measure(struct tarn_bl *bench, const struct tarn_bl_setup *setup,
                            const uint64_t *keys, size_t count, size_t from, uint64_t *misses,
                            tarn_model **learnt, struct tarn_error *error);
/** A model made from scratch on what a run over these requests sees; the built-in one evicts meanwhile. */
tarn_status tarn_bl_scratch(struct tarn_bl *bench, uint64_t objects, const uint64_t *keys,
                            size_t count, uint64_t seed, tarn_model **model,
                            struct tarn_error *error);

struct tarn_bl_task {
    tarn_status (*run)(struct tarn_bl *bench, void *context, struct tarn_error *error);
    void *context;
};
/** Runs the tasks on two threads, in any order; the first failure ends it. */
tarn_status tarn_bl_run(struct tarn_bl *bench, const struct tarn_bl_task *tasks, size_t count,
                        struct tarn_error *error);

/* ---- the parts: results may be NaN where there is nothing to say ---- */

/** Requests until a contender is within the band; UINT64_MAX: not within the phase. */
struct tarn_bl_recovery {
    uint64_t requests;
    double miss_ratio; /**< from the change on */
};

struct tarn_bl_pair {
    char name[2 * TARN_BL_NAME];
    const struct tarn_bl_source *from, *to; /**< or */
    const struct tarn_bl_stream *first, *second;
    uint64_t objects, seed;
    uint64_t requests; /**< after the change */
    double reference;  /**< miss ratio of the model that was trained on the new phase alone */
    struct tarn_bl_recovery tarn, periodic, none;
    double ratio; /**< periodic / tarn; NaN: both are there from the beginning */
};

struct tarn_bl_sequence {
    char name[TARN_BL_NAME];
    const struct tarn_bl_source *source[3];
    uint64_t objects, seed;
    double tarn, naive, best; /**< miss ratios of the second visit to A */
    const char *best_is;
};

struct tarn_bl_cell {
    char name[TARN_BL_NAME];
    const struct tarn_bl_source *source; /**< or */
    const struct tarn_bl_stream *stream;
    uint64_t objects, seed;
    double gated, in_place; /**< miss ratios */
};

/** Fill in the tables' rows; streams given make pairs and cells of real requests instead. */
size_t tarn_bl_plan_pairs(struct tarn_bl *bench, const struct tarn_bl_stream *streams, size_t count,
                          struct tarn_bl_pair **pairs);
size_t tarn_bl_plan_sequences(struct tarn_bl *bench, struct tarn_bl_sequence **sequences);
size_t tarn_bl_plan_cells(struct tarn_bl *bench, const struct tarn_bl_stream *streams, size_t count,
                          struct tarn_bl_cell **cells);
tarn_status tarn_bl_run_pair(struct tarn_bl *bench, void *pair, struct tarn_error *error);
tarn_status tarn_bl_run_sequence(struct tarn_bl *bench, void *sequence, struct tarn_error *error);
tarn_status tarn_bl_run_cell(struct tarn_bl *bench, void *cell, struct tarn_error *error);

/* ---- sabotage ---- */

enum tarn_bl_harm {
    TARN_BL_SHUFFLED,
    TARN_BL_FLIPPED,
    TARN_BL_NAN,
    TARN_BL_INFLATED,
    TARN_BL_HALF_INFLATED,
    TARN_BL_ELSEWHERE,
    TARN_BL_REVERSED,
    TARN_BL_ZEROS,
    TARN_BL_NOISE,
    TARN_BL_HARMS,
};
const char *tarn_bl_harm_name(enum tarn_bl_harm harm);

/** What harmful weights are made of. */
struct tarn_bl_workshop {
    const struct tarn_bl_samples *own;       /**< of the workload that is live */
    const struct tarn_bl_samples *elsewhere; /**< of another one */
    struct tarn_rng *rng;
    uint64_t seed;
};
/**
 * Weights that do harm, from those of `live`, into `weights`. Those that are trained to do harm take more
 * of it with each `attempt` (from 0): false if there is no such attempt.
 */
bool tarn_bl_make_harm(const struct tarn_bl_workshop *workshop, enum tarn_bl_harm harm,
                       uint32_t attempt, const tarn_model *live, float *weights);
/** A copy whose every weight is off by a share of about `noise`. */
void tarn_bl_make_equal(const tarn_model *live, struct tarn_rng *rng, float noise, float *weights);

enum { TARN_BL_BINS = 3, TARN_BL_TIMES = 2048 };

/** Counts of one kind of harm, or of one range of how much worse a model is. */
struct tarn_bl_counts {
    uint32_t made, harmless; /**< harmless ones are no trials */
    uint32_t trials, stopped, passed;
    uint32_t forced, undone, in_time;
};

struct tarn_bl_sabotage {
    struct tarn_bl_counts kind[TARN_BL_HARMS];
    struct tarn_bl_counts bin[TARN_BL_BINS];         /**< 2 to 5, 5 to 15, more than 15 % worse */
    uint32_t offered, offered_stopped, offered_live; /**< the rest was still being tried */
    uint32_t unwatched, refused;                     /**< forced in vain */
    uint32_t equals, equals_off, false_rollbacks;    /**< `off`: a replay shows a difference */
    float time[TARN_BL_TIMES];                       /**< requests until each was undone */
    uint32_t times;
};

struct tarn_bl_job {
    struct tarn_bl_source source, other;
    uint64_t objects, seed;
    uint32_t checkpoints;
    struct tarn_bl_sabotage result;
};
size_t tarn_bl_plan_jobs(struct tarn_bl *bench, struct tarn_bl_job **jobs);
tarn_status tarn_bl_run_job(struct tarn_bl *bench, void *job, struct tarn_error *error);
/** Adds up what the jobs counted. */
void tarn_bl_add_jobs(const struct tarn_bl_job *jobs, size_t count, struct tarn_bl_sabotage *sum);

#endif
