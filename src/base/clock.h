/* SPDX-License-Identifier: Apache-2.0 */
/** @file Monotonic time and CPU time. Any thread. */
#ifndef TARN_BASE_CLOCK_H
#define TARN_BASE_CLOCK_H

#include <stdint.h>

/** Monotonic, ns. */
uint64_t tarn_clock_ns(void);
/** CPU time of the whole process, all threads, ns. */
uint64_t tarn_clock_process_cpu_ns(void);
/** CPU time of the calling thread, ns. */
uint64_t tarn_clock_thread_cpu_ns(void);

#endif
