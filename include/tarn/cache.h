/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The cache: keys of 1 byte to 64 KiB, values up to the limit, times to live, a limit in bytes or
 * in objects. Works without any GPU.
 *
 *     tarn_cache *cache;
 *     tarn_cache_create(&(struct tarn_cache_params){ .memory = 64 << 20 }, &cache);
 *     tarn_cache_put(cache, "k", 1, &(struct tarn_item){ .value = "v", .value_size = 1 });
 *     char buffer[100];
 *     size_t size = sizeof buffer;
 *     if (tarn_cache_get(cache, "k", 1, buffer, &size) == TARN_OK) ...
 *     tarn_cache_destroy(&cache);
 *
 * Thread-safety: every function but create and destroy may be called from any thread.
 * Ownership: keys and values are copied in and out.
 */
#ifndef TARN_CACHE_H
#define TARN_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TARN_KEY_MAX 65536 /* bytes */

typedef struct tarn_cache tarn_cache;

typedef enum tarn_cache_policy {
    TARN_CACHE_LRU,    /**< exact least recently used */
    TARN_CACHE_S3FIFO, /**< Yang et al., "FIFO queues are all you need for cache eviction", SOSP
                          2023 */
} tarn_cache_policy;

struct tarn_cache_params {
    uint64_t
        memory; /**< limit in bytes of keys, values and their headers, or of charges; 0: none */
    uint64_t objects; /**< limit in objects; 0: none. One of the two must be given. */
    tarn_cache_policy policy;
    uint64_t seed; /**< of what is random */
};

/** `*cache` is the caller's, to be destroyed. TARN_INVALID, TARN_NO_MEMORY (`*cache` is then NULL).
 */
TARN_API tarn_status tarn_cache_create(const struct tarn_cache_params *params, tarn_cache **cache);
/** When no other thread uses it any more. Accepts NULL and a pointer to NULL. */
TARN_API void tarn_cache_destroy(tarn_cache **cache);

struct tarn_item {
    const void *value;
    size_t value_size; /**< bytes */
    uint64_t charge;   /**< what counts against `memory`; 0: key, value and header as stored */
    uint64_t ttl_ms;   /**< time to live from now; 0: for ever, for an overwrite too */
    float
        cost_us; /**< what a miss of it costs the caller, 1 us to 8 s; 0: not known. A NaN or less: 0 */
    uint8_t tag; /**< 1 to TARN_TAGS: its kind, as the caller names it; 0: none, and so is more */
};

#define TARN_TAGS 7

/**
 * Looks `key` up. `*value_size` holds the room in `value` and receives the value's size; a value
 * that doesn't fit gives TARN_TOO_LARGE and copies nothing (still a hit). `value` may be NULL with
 * a room of 0 to ask only. TARN_NOT_FOUND on a miss.
 */
TARN_API tarn_status tarn_cache_get(tarn_cache *cache, const void *key, size_t key_size,
                                    void *value, size_t *value_size);

/**
 * The same with a candidate slot from a batched lookup: a wrong or stale one only costs time, since
 * the whole key is compared. TARN_SLOT_UNKNOWN: none at hand.
 */
#define TARN_SLOT_UNKNOWN 0xffffffffu
TARN_API tarn_status tarn_cache_get_at(tarn_cache *cache, const void *key, size_t key_size,
                                       uint32_t slot, void *value, size_t *value_size);

/**
 * Stores or overwrites, evicting what has expired and then what the policy names (which after an
 * overwrite by something larger may be the key itself). TARN_TOO_LARGE if it can never fit (an
 * older value of the key is then removed: it would be stale), TARN_NO_MEMORY (the older value is
 * kept).
 */
TARN_API tarn_status tarn_cache_put(tarn_cache *cache, const void *key, size_t key_size,
                                    const struct tarn_item *item);

/** TARN_NOT_FOUND if it wasn't there. */
TARN_API tarn_status tarn_cache_delete(tarn_cache *cache, const void *key, size_t key_size);

/** Changes what is left to live: 0 is for ever. TARN_NOT_FOUND on a miss. Not counted as an access.
 */
TARN_API tarn_status tarn_cache_set_ttl(tarn_cache *cache, const void *key, size_t key_size,
                                        uint64_t ttl_ms);
/** `*ttl_ms` 0: for ever. Not counted as an access. */
TARN_API tarn_status tarn_cache_get_ttl(tarn_cache *cache, const void *key, size_t key_size,
                                        uint64_t *ttl_ms);

struct tarn_cache_stats {
    uint64_t objects, charged; /**< resident now; bytes charged against the limit */
    uint64_t memory;           /**< bytes really held: keys, values, index, metadata, slack */
    uint64_t gets, hits;
    uint64_t puts;    /**< values stored, new or overwritten */
    uint64_t deletes; /**< that found something */
    uint64_t evictions, expirations;
    uint64_t rejected; /**< puts of what can never fit */
};
/** A consistent snapshot. */
TARN_API void tarn_cache_get_stats(tarn_cache *cache, struct tarn_cache_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
