/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Measures a device against the host. A part is a kernel over launches of growing size, the device's
 * way and the host's in turns, medians; each part is kept as soon as it is done.
 *
 * What "better" means: on a GPU, not slower, since the host is free meanwhile. On a device that is
 * made of the CPU (PoCL, lavapipe), a tenth better with every core counted that a launch takes. The
 * host's side is CPU time: on a machine that is busy with requests the host gets the doubtful cases.
 */
#ifndef TARN_OFFLOAD_CALIBRATE_H
#define TARN_OFFLOAD_CALIBRATE_H

#include <stdatomic.h>

#include "calibration.h"

struct tarn_calibrate_params {
    uint32_t parts;        /**< enum tarn_calibration_part; those already in `calibration` stay */
    const char *cache_dir; /**< as tarn_calibration_load() takes it */
    uint32_t budget_ms;    /**< no part begins after it, and parts cut themselves short; 0: none */
    const atomic_bool *stop; /**< ends it soon, between two launches; may be NULL */
    /** Told after each part; may be NULL. */
    void (*progress)(void *context, const struct tarn_calibration *calibration);
    void *context;
    bool gpu_shape; /**< for tests: a CPU-type device gets the kernels' GPU shape */
};

/**
 * Does the parts that are asked for and still missing from `calibration`, and saves it after each. A
 * part that the device can't do counts as measured, with crossovers of TARN_NEVER; one whose kernel is
 * quarantined too, but only in `calibration`: the file leaves it to the next start. TARN_OK when
 * nothing is missing, TARN_TIMEOUT if the budget or `stop` ended it, else the device's failure.
 * Any thread; makes queues and kernels of its own on the device.
 */
tarn_status tarn_calibrate(tarn_device *device, const struct tarn_calibrate_params *params,
                           struct tarn_calibration *calibration, struct tarn_error *error);

/**
 * From the costs of launches of growing size (ns, `count` of them), the least size from which on the
 * device's stay at or below the host's, or TARN_NEVER.
 */
uint32_t tarn_calibrate_least(const uint32_t *sizes, const double *device, const double *host,
                              size_t count);
/** The smallest size whose cost of an element is within a fifth of the best one's. */
uint32_t tarn_calibrate_slice(const uint32_t *sizes, const double *device, size_t count);

#endif
