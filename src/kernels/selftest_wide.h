/* SPDX-License-Identifier: Apache-2.0 */
/** @file The part of the self-test (selftest.h) about wide networks. */
#ifndef TARN_KERNELS_SELFTEST_WIDE_H
#define TARN_KERNELS_SELFTEST_WIDE_H

#include <tarn/gpu.h>

#include "base/rng.h"

enum { TARN_SELFTEST_WIDE_STEPS = 10 };

/**
 * Runs each kind of step of the kernel "wide" on random arrays; `worst[i]` is by how much step i
 * differs from the host, relative to 1 + the number. The status of what didn't run.
 */
tarn_status tarn_selftest_wide(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                               struct tarn_rng *rng, double worst[TARN_SELFTEST_WIDE_STEPS]);

#endif
