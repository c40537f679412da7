/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Kernels that are tried before they are trusted. Drivers exist that give wrong answers without an
 * error, that hang and that kill the process; on such a device the host does the kernel's work.
 */
#ifndef TARN_KERNELS_CANARY_H
#define TARN_KERNELS_CANARY_H

#include <stdint.h>

#include <tarn/gpu.h>

struct tarn_canary_limits {
    uint32_t build_ms, check_ms; /**< how long a compiler and a check may take */
};

/**
 * tarn_kernel_create(), and on a device the kernel is first checked against the host on random
 * input: once for each device, driver and code, which is remembered in the device's cache folder.
 * Kernels whose name is none of the table's are not checked, nor are those of the host and of
 * simulations unless TARN_CANARY says "always". `limits` may be NULL: three minutes and 30 s.
 *
 * TARN_QUARANTINED, saying why: the kernel is not to be used here, by TARN_QUARANTINE or because it
 * was found wrong, or killed two processes that tried it. TARN_TIMEOUT: it hangs; then the device is
 * abandoned (tarn_device_abandon()), a thread and the memory in use are left behind, and the next
 * time it is TARN_QUARANTINED. Otherwise as tarn_kernel_create(). Any thread.
 */
tarn_status tarn_canary_create(tarn_device *device, const struct tarn_kernel_params *params,
                               const struct tarn_canary_limits *limits, tarn_kernel **kernel,
                               struct tarn_error *error);

#endif
