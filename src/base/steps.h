/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Atomic operations and locks of the few algorithms whose interleavings are explored: plain C11 and
 * pthreads, unless a test names a header of its own in TARN_STEPS, which then stops before each.
 */
#ifndef TARN_BASE_STEPS_H
#define TARN_BASE_STEPS_H

#ifdef TARN_STEPS
#include TARN_STEPS
#else
#include <pthread.h>
#include <stdatomic.h>

#define tarn_step_load(object, order)            atomic_load_explicit(object, order)
#define tarn_step_store(object, value, order)    atomic_store_explicit(object, value, order)
#define tarn_step_exchange(object, value, order) atomic_exchange_explicit(object, value, order)
#define tarn_step_add(object, value, order)      atomic_fetch_add_explicit(object, value, order)
#define tarn_step_lock(mutex)                    pthread_mutex_lock(mutex)
#define tarn_step_unlock(mutex)                  pthread_mutex_unlock(mutex)
#endif

#endif
