/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The residents: slots with hash, metadata and one pointer each, found by hash, drawn at random in
 * O(1). Memory grows in chunks that never move, so a slot's addresses stay valid. Knows neither
 * keys nor values: the cache puts its entry into `entry`, a shadow cache leaves it NULL. Not
 * thread-safe.
 */
#ifndef TARN_CACHE_TABLE_H
#define TARN_CACHE_TABLE_H

#include "index.h"
#include "meta.h"

#define TARN_TABLE_CHUNK    1024 /* slots */
#define TARN_TABLE_SEGMENTS 4

struct tarn_table_chunk {
    struct tarn_meta meta[TARN_TABLE_CHUNK];
    uint64_t hash[TARN_TABLE_CHUNK];
    void *entry[TARN_TABLE_CHUNK];
    uint32_t resident[TARN_TABLE_CHUNK]; /**< positions [chunk * TARN_TABLE_CHUNK …) to slots */
};

struct tarn_table {
    struct tarn_table_chunk **chunks;
    tarn_index *index;
    uint32_t slots; /**< slots that exist; free ones are chained through meta.next */
    uint32_t free;  /**< first free slot or TARN_NONE */
    uint32_t count; /**< residents */
    uint32_t chunk_room;
    /**
     * While the residents are grouped: the segment of a hash, and where each segment's positions end;
     * those from end[TARN_TABLE_SEGMENTS - 1] on are yet to be grouped. NULL and zeros otherwise.
     */
    uint32_t (*segment)(uint64_t hash);
    uint32_t end[TARN_TABLE_SEGMENTS];
};

/** The table must not be moved or copied from here on: its index points back at it. TARN_NO_MEMORY.
 */
tarn_status tarn_table_init(struct tarn_table *table, size_t expected,
                            const struct tarn_memory_source *source);
/** Frees all but what `entry` points to; again is harmless. */
void tarn_table_free(struct tarn_table *table);

/**
 * `to` holds what `from` holds, in the same slots and positions; what it held is forgotten. For tables without
 * entries and segments. TARN_NO_MEMORY changes nothing.
 */
tarn_status tarn_table_copy(struct tarn_table *to, const struct tarn_table *from);

/** A slot for `hash`, its metadata zeroed, linked nowhere. TARN_NO_MEMORY changes nothing. */
tarn_status tarn_table_insert(struct tarn_table *table, uint64_t hash, uint32_t *slot);
/** Frees a slot that is in no list any more. */
void tarn_table_remove(struct tarn_table *table, uint32_t slot);
/**
 * Begins to order positions by segments (a pure function of the hash, below TARN_TABLE_SEGMENTS), so that
 * one may draw from some segments only. Nothing moves yet; objects inserted from here on are grouped once
 * all before them are.
 */
void tarn_table_group(struct tarn_table *table, uint32_t (*segment)(uint64_t hash));
/** Groups one more resident: its slot, or TARN_NONE when all are. At most TARN_TABLE_SEGMENTS moves. */
uint32_t tarn_table_group_next(struct tarn_table *table);
/** Positions have no order any more. */
void tarn_table_ungroup(struct tarn_table *table);
/** Bytes held, index and slack included. */
size_t tarn_table_memory(const struct tarn_table *table);

static inline struct tarn_meta *tarn_table_meta(const struct tarn_table *table, uint32_t slot)
{
    return &table->chunks[slot / TARN_TABLE_CHUNK]->meta[slot % TARN_TABLE_CHUNK];
}

static inline uint64_t tarn_table_hash(const struct tarn_table *table, uint32_t slot)
{
    return table->chunks[slot / TARN_TABLE_CHUNK]->hash[slot % TARN_TABLE_CHUNK];
}

static inline void **tarn_table_entry(const struct tarn_table *table, uint32_t slot)
{
    return &table->chunks[slot / TARN_TABLE_CHUNK]->entry[slot % TARN_TABLE_CHUNK];
}

/** The resident at `position` < count: positions are dense and change on removal. */
static inline uint32_t tarn_table_resident(const struct tarn_table *table, uint32_t position)
{
    return table->chunks[position / TARN_TABLE_CHUNK]->resident[position % TARN_TABLE_CHUNK];
}

/** True if the slot holds a resident (any number may be asked). */
static inline bool tarn_table_is_resident(const struct tarn_table *table, uint32_t slot)
{
    if (slot >= table->slots)
        return false;
    uint32_t position = tarn_table_meta(table, slot)->position;
    return position < table->count && tarn_table_resident(table, position) == slot;
}

/** Residents that are grouped: positions [0, this). */
static inline uint32_t tarn_table_grouped(const struct tarn_table *table)
{
    return table->end[TARN_TABLE_SEGMENTS - 1];
}

/** A doubly linked list through meta.prev/next, for policies. */
struct tarn_list {
    uint32_t head, tail, count;
};
#define TARN_LIST_EMPTY ((struct tarn_list){TARN_NONE, TARN_NONE, 0})

void tarn_list_push_head(struct tarn_table *table, struct tarn_list *list, uint32_t slot);
void tarn_list_remove(struct tarn_table *table, struct tarn_list *list, uint32_t slot);

#endif
