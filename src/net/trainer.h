/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Gradient steps on a device's queue: several Adam steps in one launch, whose samples are staged by
 * the caller. One launch is in flight at a time. If the device fails, the steps are done on the host
 * and the trainer stays there. One thread at a time; no allocation after creation.
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
 * Goes on on a device, from the state reached so far. Not while steps are in flight: TARN_BUSY. On
 * failure it stays on the host, as nothing had been.
 */
tarn_status tarn_trainer_enter(tarn_trainer *trainer, tarn_device *device, tarn_queue *queue,
                               struct tarn_error *error);
/** Goes on on the host; steps in flight are done there again. Does nothing if it is there. */
void tarn_trainer_leave(tarn_trainer *trainer);
bool tarn_trainer_is_on_device(const tarn_trainer *trainer);
bool tarn_trainer_in_flight(const tarn_trainer *trainer);

/** Where sample `i` of the next launch goes (i < steps * batch): features in steps of `unit`. */
void tarn_trainer_stage(tarn_trainer *trainer, uint32_t i, const int8_t *features, float unit,
                        uint32_t label);
void tarn_trainer_set_rate(tarn_trainer *trainer, float rate);

/** Launches `steps` steps over what was staged. TARN_BUSY if one is in flight or the queue stopped. */
tarn_status tarn_trainer_submit(tarn_trainer *trainer, uint32_t steps);
/**
 * TARN_OK when the launch is done: weights and losses are new. TARN_TIMEOUT if it still runs after
 * `timeout_us` (0 only asks); TARN_NOT_FOUND if there is none.
 */
tarn_status tarn_trainer_wait(tarn_trainer *trainer, uint64_t timeout_us);

/** Valid while no launch is in flight. */
const float *tarn_trainer_weights(const tarn_trainer *trainer);
/** Mean loss of the last launch's steps; NaN if none was finite. */
float tarn_trainer_loss(const tarn_trainer *trainer);
/** Adam steps done so far. */
uint64_t tarn_trainer_steps(const tarn_trainer *trainer);
/** Time that the device spent on launches, ns, and how many there were. */
void tarn_trainer_times(const tarn_trainer *trainer, uint64_t *device_ns, uint64_t *launches);

#endif
