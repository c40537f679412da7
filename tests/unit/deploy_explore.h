/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What base/steps.h becomes under the explorer: before each atomic operation and each lock, the thread
 * that is about to do it stops, and the explorer decides who goes on.
 */
#ifndef TARN_TESTS_EXPLORE_H
#define TARN_TESTS_EXPLORE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

typedef enum explore_op {
    EXPLORE_READ,
    EXPLORE_WRITE,
    EXPLORE_CHANGE,
    EXPLORE_LOCK,
    EXPLORE_UNLOCK
} explore_op;

/** Stops before an operation on `object`. */
void explore_step(const volatile void *object, explore_op op);
/** What a load gives, and whether a store happens now: faults are planted here. */
unsigned explore_loaded(const volatile void *object, unsigned value);
bool explore_delays(volatile atomic_uint *object, unsigned value);
/** After a subtraction from a count of references. */
void explore_counted(const volatile void *object, unsigned before);

#define tarn_step_load(object, order)                                                              \
    (explore_step(object, EXPLORE_READ),                                                           \
     _Generic((object), atomic_uint *                                                              \
              : explore_loaded(object, (unsigned)(size_t)atomic_load(object)), default             \
              : atomic_load(object)))
#define tarn_step_store(object, value, order)                                                      \
    (explore_step(object, EXPLORE_WRITE),                                                          \
     explore_delays(object, value) ? (void)0 : atomic_store(object, value))
#define tarn_step_exchange(object, value, order)                                                   \
    (explore_step(object, EXPLORE_CHANGE), atomic_exchange(object, value))
static inline unsigned explore_add(atomic_uint *object, unsigned value)
{
    if (value != 1) /* one more reference: the order of those makes no difference */
        explore_step(object, EXPLORE_CHANGE);
    unsigned before = atomic_fetch_add(object, value);
    if (value == -1u)
        explore_counted(object, before);
    return before;
}
#define tarn_step_add(object, value, order) explore_add(object, value)
#define tarn_step_lock(mutex)               explore_step(mutex, EXPLORE_LOCK)
#define tarn_step_unlock(mutex)             explore_step(mutex, EXPLORE_UNLOCK)

#endif
