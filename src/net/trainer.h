/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Gradient steps on a device's queue: a job is several Adam steps, whose samples are staged by the
 * caller. It runs in one launch (tarn_trainer_submit), or in slices of as many tiles as the caller
 * likes (tarn_trainer_begin); one job is under way at a time. If the device fails, the whole job is
 * done on the host and the trainer stays there. One thread at a time, but for tarn_trainer_stop; no
 * allocation after creation.
 *
 *     tarn_trainer_begin(t, steps);
 *     while (tarn_trainer_in_flight(t)) {
 *         tarn_trainer_slice(t, tiles, ++ticket, &submitted);      // perhaps several
 *         tarn_trainer_poll(t, TARN_FOREVER, &slice);
 *     }
 */
#ifndef TARN_NET_TRAINER_H
#define TARN_NET_TRAINER_H

#include <stdbool.h>

#include <tarn/gpu.h>

#include "net.h"

typedef struct tarn_trainer tarn_trainer;

struct tarn_trainer_params {
    const struct tarn_shape *shape;
    const float *weights; /**< to start from */
    tarn_device *device;  /**< NULL: the host's kernels, called straight */
    tarn_queue *queue;    /**< of that device */
    uint32_t batch;       /**< samples a step, a multiple of TARN_LANES */
    uint32_t steps;       /**< steps of a launch at most */
    float rate;           /**< Adam's learning rate; beta 0.9 and 0.999 */
};

tarn_status tarn_trainer_create(const struct tarn_trainer_params *params, tarn_trainer **trainer,
                                struct tarn_error *error);
/** Waits for what is in flight. */
void tarn_trainer_destroy(tarn_trainer **trainer);

/**
 * Goes on on a device, from the state reached so far. Not while a job is under way: TARN_BUSY. On
 * failure it stays on the host, as nothing had been.
 */
tarn_status tarn_trainer_enter(tarn_trainer *trainer, tarn_device *device, tarn_queue *queue,
                               struct tarn_error *error);
/** Goes on on the host; a job that is under way is done there again, in this call. Does nothing if it is there. */
void tarn_trainer_leave(tarn_trainer *trainer);
bool tarn_trainer_is_on_device(const tarn_trainer *trainer);
/** Whether a job is under way. */
bool tarn_trainer_in_flight(const tarn_trainer *trainer);

/** Where sample `i` of the next launch goes (i < steps * batch): features in steps of `unit`. */
void tarn_trainer_stage(tarn_trainer *trainer, uint32_t i, const int8_t *features, float unit,
                        uint32_t label);
void tarn_trainer_set_rate(tarn_trainer *trainer, float rate);

/**
 * Begins a job of `steps` steps over what was staged; nothing runs yet. TARN_BUSY if one is under way.
 */
tarn_status tarn_trainer_begin(tarn_trainer *trainer, uint32_t steps);

enum { TARN_TRAINER_SLICES = 8 }; /* in flight at most */

/**
 * Puts a launch of at most `tiles` tiles (16 samples of a step; 0: all that are left) behind those of
 * the job that fly already. `*submitted` is how many it may run: 0 with TARN_OK if all that is left
 * flies. TARN_BUSY if too many fly or the queue is stopped; TARN_NOT_FOUND without a job. On the host
 * it runs within the call.
 *
 * `ticket`, from 1 on and rising, is what tarn_trainer_stop() knows it by (0 is skipped when they
 * wrap). With 0, or on a device that doesn't see what the host writes meanwhile, it can't be stopped.
 */
tarn_status tarn_trainer_slice(tarn_trainer *trainer, uint32_t tiles, uint32_t ticket,
                               uint32_t *submitted);

/**
 * Asks the slices up to `ticket` to leave at their next tile. Those that do are polled as usual, and
 * what they left undone is for slices to come, with the same bits in the end. Any thread, at any time
 * between creation and destruction.
 */
void tarn_trainer_stop(tarn_trainer *trainer, uint32_t ticket);

/** What became of a slice. */
struct tarn_trainer_slice {
    uint32_t ticket;
    uint32_t tiles_done;       /**< of the job, since the slice before */
    uint64_t start_ns, end_ns; /**< the device's clock, or the host's; both 0 if it can't tell */
};

/**
 * Reaps the oldest slice: TARN_OK when it has ended; TARN_TIMEOUT if it still runs after `timeout_us`
 * (0 only asks); TARN_NOT_FOUND if none flies. With the job's last tile the job is over: weights and
 * losses are new, and nothing is under way. `slice` may be NULL.
 *
 * If the device fails, the whole job is done on the host before this returns, and this was its last
 * slice.
 */
tarn_status tarn_trainer_poll(tarn_trainer *trainer, uint64_t timeout_us,
                              struct tarn_trainer_slice *slice);
/** Tiles of the job that no polled slice has done; 0 if there is no job. */
uint32_t tarn_trainer_tiles_left(const tarn_trainer *trainer);

/** A job in one launch that isn't stopped. TARN_BUSY if one is under way or the queue stopped. */
tarn_status tarn_trainer_submit(tarn_trainer *trainer, uint32_t steps);
/**
 * TARN_OK when the job is done: weights and losses are new. TARN_TIMEOUT if a slice still runs after
 * `timeout_us` (0 only asks); TARN_NOT_FOUND if there is none that flies.
 */
tarn_status tarn_trainer_wait(tarn_trainer *trainer, uint64_t timeout_us);

/** Valid while no job is under way. */
const float *tarn_trainer_weights(const tarn_trainer *trainer);
/** Mean loss of the last job's steps; NaN if none was finite. */
float tarn_trainer_loss(const tarn_trainer *trainer);
/** Adam steps done so far. */
uint64_t tarn_trainer_steps(const tarn_trainer *trainer);
/** What training goes on from; of all, those that are NULL stay as they are when it is set. */
struct tarn_trainer_state {
    const float *weights; /**< each of tarn_shape_weights() floats */
    const float *m, *v;   /**< Adam's moments; both or none */
    uint64_t steps;       /**< Adam steps done; belongs to the moments */
};
/** The trainer's own arrays, valid while no job is under way. */
void tarn_trainer_get_state(const tarn_trainer *trainer, struct tarn_trainer_state *state);
/**
 * Goes on from there: a correction between two jobs, or what a checkpoint kept. Copies. TARN_BUSY while a
 * job is under way; TARN_INVALID, and nothing has changed, if a number isn't finite or a v is negative.
 */
tarn_status tarn_trainer_set_state(tarn_trainer *trainer, const struct tarn_trainer_state *state);
/**
 * Bytes of weights, moments, staged samples and scratch, where it runs; on a device the host holds as much
 * again to go on from.
 */
uint64_t tarn_trainer_memory(const tarn_trainer *trainer);
/** Time that the device spent on launches (slices), ns, and how many there were. */
void tarn_trainer_times(const tarn_trainer *trainer, uint64_t *device_ns, uint64_t *launches);

#endif
