/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Where keys and values lie: one block an object, from pages of equal blocks (a slab allocator), so
 * that a warm cache asks the heap for nothing; blocks over TARN_STORE_SMALL come from the heap one
 * by one. A page whose last block is freed goes back, but for a few kept against the next request.
 * Not thread-safe.
 */
#ifndef TARN_CACHE_STORE_H
#define TARN_CACHE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#define TARN_STORE_SMALL 2048 /* bytes of the largest block in a page */

struct tarn_entry {
    uint64_t charge;     /**< what it counts against the limit */
    uint64_t expires_ms; /**< of the cache's clock; 0: never */
    uint32_t key_size, value_size;
    unsigned char bytes[]; /**< the key, then the value */
};

typedef struct tarn_store tarn_store;

/** TARN_NO_MEMORY. */
tarn_status tarn_store_create(tarn_store **store);
/** Every entry must have been freed. Accepts NULL and a pointer to NULL. */
void tarn_store_destroy(tarn_store **store);

/** An entry with its two sizes set and the rest undefined; NULL without memory. */
struct tarn_entry *tarn_store_allocate(tarn_store *store, uint32_t key_size, uint32_t value_size);
/** The sizes must still be what they were allocated with. */
void tarn_store_free(tarn_store *store, struct tarn_entry *entry);

/** Bytes held, slack included. */
size_t tarn_store_memory(const tarn_store *store);

#endif
