/* SPDX-License-Identifier: Apache-2.0 */
/** @file What every backend must do, as one suite that each backend's main runs on its own device.
 */
#ifndef TARN_TESTS_GPU_SUITE_H
#define TARN_TESTS_GPU_SUITE_H

#include <stdatomic.h>

/** Runs every case on the device `id`; what main returns: 0, 1, or 77 where there is no such
 * device. */
int gpu_suite(const char *id);

/** Calls of malloc, calloc, realloc and aligned_alloc by the library and the test (wrapped.c). */
extern atomic_ulong wrapped_allocations;

#endif
