/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Every kernel on random input, checked: drivers that compute wrong answers without an error exist.
 * Needs a few MB of memory and, where a driver compiles, seconds.
 */
#ifndef TARN_KERNELS_SELFTEST_H
#define TARN_KERNELS_SELFTEST_H

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

#endif
