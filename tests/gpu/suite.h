/* SPDX-License-Identifier: Apache-2.0 */
/** @file What every backend must do, as one suite that each backend's main runs on its own device.
 */
#ifndef TARN_TESTS_GPU_SUITE_H
#define TARN_TESTS_GPU_SUITE_H

#include <stdatomic.h>
#include <stdbool.h>

/** Runs every case on the device `id`; what main returns: 0, 1, or 77 where there is no such
 * device. */
int gpu_suite(const char *id);

/** The cases in which things go wrong; gpu_suite() runs them after its own. */
int gpu_suite_errors(const char *id);

/** Calls of malloc, calloc, realloc and aligned_alloc by the library and the test (wrapped.c). */
extern atomic_ulong wrapped_allocations;

/** So many of these calls still succeed before one fails; negative (as at the start): none fails.
 */
extern atomic_long wrapped_until_failure;

#ifndef __has_feature
#define __has_feature(x) 0
#endif

/** Drivers are not built for the thread sanitizer, and their own threads would be blamed on us. */
static inline bool suite_without_drivers(void)
{
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
}

#endif
