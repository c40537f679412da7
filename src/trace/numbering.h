/* SPDX-License-Identifier: Apache-2.0 */
/** @file Numbers keys 0, 1, 2 … by first appearance: an open-addressing table that grows. */
#ifndef TARN_TRACE_NUMBERING_H
#define TARN_TRACE_NUMBERING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** All zero is empty. One thread at a time. */
struct tarn_numbering {
    uint32_t count;
    uint64_t *keys; /* [count], by number */
    size_t key_room;
    uint64_t *slots; /* high half: part of the hash; low half: number + 1, 0 is free */
    size_t slot_count;
};

/** False if there is no memory (the table is unchanged), or 2^32 - 1 keys are there already. */
bool tarn_numbering_get(struct tarn_numbering *numbering, uint64_t key, uint32_t *number,
                        bool *fresh);
/**
 * Brings what tarn_numbering_get() will touch into the cache, in two steps: the key's slot, then (some
 * keys later, when it has come) the key that it names. The second returns the number that it found
 * there, which may be another key's, or UINT32_MAX.
 */
void tarn_numbering_prefetch_slot(const struct tarn_numbering *numbering, uint64_t key);
uint32_t tarn_numbering_prefetch_key(const struct tarn_numbering *numbering, uint64_t key);
void tarn_numbering_free(struct tarn_numbering *numbering);

#endif
