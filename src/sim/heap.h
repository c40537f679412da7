/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A heap of object numbers with the smallest key on top, ties broken by the smaller order: an
 * object's key can be changed and any object taken out, each in O(log n). Not thread-safe.
 */
#ifndef TARN_SIM_HEAP_H
#define TARN_SIM_HEAP_H

#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

struct tarn_sim_heap_entry {
    double key;
    uint64_t order;
    uint32_t object;
};

struct tarn_sim_heap {
    struct tarn_sim_heap_entry *entries;
    uint32_t *place; /* [objects]: 1 + position, 0: not in the heap */
    uint32_t count;
};

/** Room for all of `objects`. After a failure tarn_sim_heap_release() is still right. */
tarn_status tarn_sim_heap_init(struct tarn_sim_heap *heap, uint32_t objects);
void tarn_sim_heap_release(struct tarn_sim_heap *heap);
/** Adds the object or changes its key. */
void tarn_sim_heap_set(struct tarn_sim_heap *heap, uint32_t object, double key, uint64_t order);
/** Takes an object out that is in the heap. */
void tarn_sim_heap_take(struct tarn_sim_heap *heap, uint32_t object);

#endif
