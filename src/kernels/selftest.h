/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Every kernel on random input, checked: drivers that compute wrong answers without an error exist.
 * Needs a few MB of memory and, where a driver compiles, seconds.
 */
#ifndef TARN_KERNELS_SELFTEST_H
#define TARN_KERNELS_SELFTEST_H

#include <stdbool.h>
#include <stdint.h>

#include <tarn/gpu.h>

struct tarn_selftest {
    uint32_t checks; /**< done, the failed ones included */
    uint32_t failed;
    uint32_t skipped;  /**< kernels that this device can't run by its limits */
    char message[320]; /**< the first failure, or empty */
};

/**
 * Each instruction set's host functions against plain scalar code: lookups, scores, and training's
 * gradients against differences of the loss. Adds to `result`. TARN_NO_MEMORY, or TARN_OK even if
 * checks failed.
 */
tarn_status tarn_selftest_host(uint64_t seed, struct tarn_selftest *result);

/**
 * Each kernel on the device against the host's function, several shapes and sizes. Adds to
 * `result`. A lost device counts as a failed check. One thread a device at a time.
 */
tarn_status tarn_selftest_device(tarn_device *device, uint64_t seed, struct tarn_selftest *result);

/** True if the checks below know what the kernel of this name computes. */
bool tarn_selftest_knows(const char *name);

/**
 * One kernel of the table, built for whatever shape, against the host's function on a queue of its
 * own. Adds to `result`. TARN_INVALID for a kernel that isn't known; TARN_NO_MEMORY, or the status of
 * a device that gave no queue; TARN_OK even if checks failed. One thread a kernel.
 */
tarn_status tarn_selftest_kernel(tarn_device *device, tarn_kernel *kernel, uint64_t seed,
                                 struct tarn_selftest *result);

#endif
