/* SPDX-License-Identifier: Apache-2.0 */
#include "heap.h"

#include <stdbool.h>

#include "base/memory.h"

tarn_status tarn_sim_heap_init(struct tarn_sim_heap *heap, uint32_t objects)
{
    heap->count = 0;
    heap->entries = tarn_alloc_zeroed(objects, sizeof *heap->entries);
    heap->place = tarn_alloc_zeroed(objects, sizeof *heap->place);
    return heap->entries != NULL && heap->place != NULL ? TARN_OK : TARN_NO_MEMORY;
}

void tarn_sim_heap_release(struct tarn_sim_heap *heap)
{
    tarn_free(heap->entries);
    tarn_free(heap->place);
    *heap = (struct tarn_sim_heap){0};
}

static bool before(const struct tarn_sim_heap_entry *a, const struct tarn_sim_heap_entry *b)
{
    return a->key < b->key || (a->key == b->key && a->order < b->order);
}

static void put(struct tarn_sim_heap *heap, uint32_t at, const struct tarn_sim_heap_entry *entry)
{
    heap->entries[at] = *entry;
    heap->place[entry->object] = at + 1;
}

/* Finds the place for `entry`, starting from the hole at `at`. */
static void settle(struct tarn_sim_heap *heap, uint32_t at, struct tarn_sim_heap_entry entry)
{
    while (at > 0 && before(&entry, &heap->entries[(at - 1) / 2])) {
        put(heap, at, &heap->entries[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= heap->count)
            break;
        if (child + 1 < heap->count && before(&heap->entries[child + 1], &heap->entries[child]))
            child++;
        if (!before(&heap->entries[child], &entry))
            break;
        put(heap, at, &heap->entries[child]);
        at = (uint32_t)child;
    }
    put(heap, at, &entry);
}

void tarn_sim_heap_set(struct tarn_sim_heap *heap, uint32_t object, double key, uint64_t order)
{
    uint32_t at = heap->place[object] != 0 ? heap->place[object] - 1 : heap->count++;
    settle(heap, at, (struct tarn_sim_heap_entry){key, order, object});
}

void tarn_sim_heap_take(struct tarn_sim_heap *heap, uint32_t object)
{
    uint32_t at = heap->place[object] - 1;
    heap->place[object] = 0;
    heap->count--;
    if (at < heap->count)
        settle(heap, at, heap->entries[heap->count]);
}
