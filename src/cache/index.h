/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Hash to slot: a bucketised cuckoo table (Pagh and Rodler 2001; partial-key relocation as in Fan
 * et al., "MemC3", NSDI 2013) of plain 64-byte buckets that a kernel can read; the layout is
 * src/kernels/layout.h's, repeated here because the cache knows no kernels (a test compares them).
 * Two objects may share a tag: callers compare the key. Filled to over 0.95 before it grows; growth
 * doubles the table and moves a few buckets per insertion. Not thread-safe for writers; a kernel
 * may read stale or half-moved buckets: what it finds is a hint.
 */
#ifndef TARN_CACHE_INDEX_H
#define TARN_CACHE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#define TARN_INDEX_SLOTS 8
/** bucket 1 = low word & mask; bucket 2 = bucket 1 ^ (tarn_index_spread(tag) & mask) */
static inline uint32_t tarn_index_spread(uint32_t tag)
{
    return tag * 0x5bd1e995u;
}
static inline uint32_t tarn_index_tag(uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 32);
    return tag ? tag : 1;
}

/** Old buckets that one insertion moves at most while the table grows. */
#define TARN_INDEX_MOVES 4
/** Entries for which no path to a free place was found: a few beside the buckets, searched by the
 * host. */
#define TARN_INDEX_STASH 64

struct tarn_bucket {
    uint32_t tag[TARN_INDEX_SLOTS]; /**< the hash's high word (0 replaced by 1); 0: free */
    uint32_t ref[TARN_INDEX_SLOTS]; /**< the slot */
};
_Static_assert(sizeof(struct tarn_bucket) == 64, "a bucket is one cache line");

/** Where buckets live, so that a device can read them. The default is aligned, zeroed host memory.
 */
struct tarn_memory_source {
    void *context;
    void *(*allocate)(void *context,
                      size_t size); /**< zeroed, 64-byte aligned; NULL if there is none */
    void (*release)(void *context, void *memory, size_t size);
};

typedef struct tarn_index tarn_index;

/** The full hash of an entry: a grown table needs one more bit of it than its place tells. */
typedef uint64_t (*tarn_index_hash)(void *context, uint32_t slot);

/**
 * `expected` entries to begin with, which fit at a load of at most 0.95; `source` may be NULL and
 * must outlive the index, as must `hash_context`. TARN_NO_MEMORY; TARN_INVALID for over 2^31
 * entries.
 */
tarn_status tarn_index_create(size_t expected, const struct tarn_memory_source *source,
                              tarn_index_hash hash_of, void *hash_context, tarn_index **index);
/** Accepts NULL and a pointer to NULL. */
void tarn_index_destroy(tarn_index **index);

/** Called with each slot whose tag matches; true if it is the one. */
typedef bool (*tarn_index_match)(void *context, uint32_t slot);
/** The slot for which `match` says yes, or TARN_NONE. `match` NULL: the first with the tag. */
uint32_t tarn_index_find(const tarn_index *index, uint64_t hash, tarn_index_match match,
                         void *context);
/**
 * Adds an entry that isn't there, with slot != TARN_NONE. TARN_NO_MEMORY leaves the entries as they
 * were: no memory to grow, or over TARN_INDEX_STASH entries whose hashes collide too well (forged
 * ones).
 */
tarn_status tarn_index_insert(tarn_index *index, uint64_t hash, uint32_t slot);
/** Removes the entry (hash, slot); false if there is none. */
bool tarn_index_remove(tarn_index *index, uint64_t hash, uint32_t slot);

/**
 * Moves the buckets into memory of another source (NULL: the host's), as when a device goes or comes;
 * afterwards all of it counts as changed (tarn_index_flush()). Copies the table in one go: about 1 ms
 * for 10 MB. TARN_NO_MEMORY leaves everything where it was.
 */
tarn_status tarn_index_migrate(tarn_index *index, const struct tarn_memory_source *source);

size_t tarn_index_count(const tarn_index *index);
size_t tarn_index_memory(const tarn_index *index);

/** What a kernel needs. `version` changes with every insertion, removal and relocation. */
struct tarn_index_view {
    const struct tarn_bucket *buckets;
    uint32_t bucket_count; /**< a power of two */
    bool growing;          /**< some entries aren't shown: in an older table, or in the stash */
    uint64_t version;
};
struct tarn_index_view tarn_index_get_view(const tarn_index *index);

/**
 * Dirty ranges for devices with memory of their own: after tarn_index_track(), `visit` is called by
 * tarn_index_flush() with each run of bytes of the shown table that changed since the last flush.
 */
tarn_status tarn_index_track(tarn_index *index);
void tarn_index_flush(tarn_index *index, void (*visit)(void *context, size_t offset, size_t size),
                      void *context);

#endif
