/* SPDX-License-Identifier: Apache-2.0 */
#include "numbering.h"

#include "base/hash.h"
#include "base/memory.h"

/* Twice the slots (or the first ones), and every key put in again. */
static bool more_slots(struct tarn_numbering *numbering)
{
    size_t count = numbering->slot_count ? numbering->slot_count * 2 : 32 << 10;
    uint64_t *slots = tarn_alloc_zeroed(count, sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t i = 0; i < numbering->count; i++) {
        uint64_t hash = tarn_mix64(numbering->keys[i]);
        size_t at = hash & (count - 1);
        while (slots[at] != 0)
            at = (at + 1) & (count - 1);
        slots[at] = (hash & 0xffffffff00000000u) | (i + 1);
    }
    tarn_free(numbering->slots);
    numbering->slots = slots;
    numbering->slot_count = count;
    return true;
}

bool tarn_numbering_get(struct tarn_numbering *numbering, uint64_t key, uint32_t *number,
                        bool *fresh)
{
    uint64_t hash = tarn_mix64(key);
    *fresh = false;
    if (numbering->count >= numbering->slot_count / 2 && !more_slots(numbering))
        return false;
    size_t mask = numbering->slot_count - 1, at = hash & mask;
    for (uint64_t slot; (slot = numbering->slots[at]) != 0; at = (at + 1) & mask)
        if ((slot ^ hash) >> 32 == 0 && numbering->keys[(uint32_t)slot - 1] == key) {
            *number = (uint32_t)slot - 1;
            return true;
        }
    if (numbering->count == UINT32_MAX - 1)
        return false;
    if (numbering->count == numbering->key_room) {
        size_t room = numbering->key_room ? numbering->key_room * 2 : 16 << 10;
        uint64_t *keys = tarn_realloc(numbering->keys, room * sizeof *keys);
        if (keys == NULL)
            return false;
        numbering->keys = keys;
        numbering->key_room = room;
    }
    numbering->keys[numbering->count] = key;
    numbering->slots[at] = (hash & 0xffffffff00000000u) | (numbering->count + 1);
    *number = numbering->count++;
    *fresh = true;
    return true;
}

void tarn_numbering_prefetch_slot(const struct tarn_numbering *numbering, uint64_t key)
{
    if (numbering->slot_count > 0)
        __builtin_prefetch(&numbering->slots[tarn_mix64(key) & (numbering->slot_count - 1)], 1);
}

uint32_t tarn_numbering_prefetch_key(const struct tarn_numbering *numbering, uint64_t key)
{
    if (numbering->slot_count == 0)
        return UINT32_MAX;
    uint64_t slot = numbering->slots[tarn_mix64(key) & (numbering->slot_count - 1)];
    if (slot == 0)
        return UINT32_MAX;
    __builtin_prefetch(&numbering->keys[(uint32_t)slot - 1]);
    return (uint32_t)slot - 1;
}

void tarn_numbering_free(struct tarn_numbering *numbering)
{
    tarn_free(numbering->keys);
    tarn_free(numbering->slots);
    *numbering = (struct tarn_numbering){0};
}
