/* SPDX-License-Identifier: Apache-2.0 */
#include "index.h"

#include <string.h>

#include "base/memory.h"
#include "meta.h"

#define PATH_NODES   512         /* buckets that the search for a free place looks into */
#define MOST_BUCKETS 0x10000000u /* so that entries can be counted in 32 bits */
#define MAX_LOAD     0.95
#define DISCARD      2048 /* emptied buckets of an old table that are given back at once */

struct stashed {
    uint64_t hash;
    uint32_t slot;
};

struct tarn_index {
    struct tarn_bucket *buckets; /* the shown table */
    uint32_t mask;
    size_t count; /* entries, wherever they are */
    uint64_t version;

    struct tarn_bucket *old; /* while growing: half the size, being emptied */
    uint32_t old_mask, old_left, cursor;
    uint32_t emptied; /* this many of its first buckets are known to be empty */
    bool own_memory;  /* the source is our own, so that parts can be given back early */

    struct tarn_memory_source source;
    tarn_index_hash hash_of;
    void *hash_context;

    uint64_t *dirty; /* a bit a bucket of the shown table; NULL: not tracked */

    uint32_t stash_count;
    struct stashed stash[TARN_INDEX_STASH];
};

static void *host_allocate(void *context, size_t size)
{
    (void)context;
    return tarn_alloc_lines(size);
}

static void host_release(void *context, void *memory, size_t size)
{
    (void)context;
    (void)size;
    tarn_free_lines(memory);
}

static size_t table_size(uint32_t mask)
{
    return ((size_t)mask + 1) * sizeof(struct tarn_bucket);
}

static size_t dirty_words(uint32_t mask)
{
    return ((size_t)mask + 64) / 64;
}

static uint32_t other_bucket(uint32_t bucket, uint32_t tag, uint32_t mask)
{
    return bucket ^ (tarn_index_spread(tag) & mask);
}

tarn_status tarn_index_create(size_t expected, const struct tarn_memory_source *source,
                              tarn_index_hash hash_of, void *hash_context, tarn_index **index)
{
    uint32_t buckets = 1;
    *index = NULL;
    while ((double)expected > (double)buckets * TARN_INDEX_SLOTS * MAX_LOAD) {
        if (buckets == MOST_BUCKETS)
            return TARN_INVALID;
        buckets *= 2;
    }
    tarn_index *made = tarn_alloc_zeroed(1, sizeof *made);
    if (!made)
        return TARN_NO_MEMORY;
    made->source =
        source ? *source
               : (struct tarn_memory_source){.allocate = host_allocate, .release = host_release};
    made->own_memory = !source;
    made->mask = buckets - 1;
    made->hash_of = hash_of;
    made->hash_context = hash_context;
    made->buckets = made->source.allocate(made->source.context, table_size(made->mask));
    if (!made->buckets) {
        tarn_free(made);
        return TARN_NO_MEMORY;
    }
    *index = made;
    return TARN_OK;
}

void tarn_index_destroy(tarn_index **index)
{
    if (!index || !*index)
        return;
    tarn_index *gone = *index;
    if (gone->old)
        gone->source.release(gone->source.context, gone->old, table_size(gone->old_mask));
    gone->source.release(gone->source.context, gone->buckets, table_size(gone->mask));
    tarn_free(gone->dirty);
    tarn_free(gone);
    *index = NULL;
}

/* Bit i is set where place i of the bucket holds `tag` (0: is free). */
static inline uint32_t matching_places(const struct tarn_bucket *bucket, uint32_t tag)
{
    uint32_t places = 0;
    for (uint32_t i = 0; i < TARN_INDEX_SLOTS; i++)
        places |= (uint32_t)(bucket->tag[i] == tag) << i;
    return places;
}

static inline uint32_t find_in_bucket(const struct tarn_bucket *bucket, uint32_t tag,
                                      tarn_index_match match, void *context)
{
    for (uint32_t places = matching_places(bucket, tag); places; places &= places - 1) {
        uint32_t slot = bucket->ref[__builtin_ctz(places)];
        if (!match || match(context, slot))
            return slot;
    }
    return TARN_NONE;
}

/* Buckets below `first_used` are known to be empty. */
static inline uint32_t find_in_table(const struct tarn_bucket *buckets, uint32_t mask,
                                     uint32_t first_used, uint64_t hash, tarn_index_match match,
                                     void *context)
{
    uint32_t tag = tarn_index_tag(hash), first = (uint32_t)hash & mask, slot = TARN_NONE;
    uint32_t second = other_bucket(first, tag, mask);
    if (first >= first_used)
        slot = find_in_bucket(&buckets[first], tag, match, context);
    if (slot == TARN_NONE && second != first && second >= first_used)
        slot = find_in_bucket(&buckets[second], tag, match, context);
    return slot;
}

uint32_t tarn_index_find(const tarn_index *index, uint64_t hash, tarn_index_match match,
                         void *context)
{
    uint32_t slot = find_in_table(index->buckets, index->mask, 0, hash, match, context);
    if (slot == TARN_NONE && index->old)
        slot = find_in_table(index->old, index->old_mask, index->emptied, hash, match, context);
    for (uint32_t i = 0; i < index->stash_count && slot == TARN_NONE; i++) {
        if (index->stash[i].hash == hash && (!match || match(context, index->stash[i].slot)))
            slot = index->stash[i].slot;
    }
    return slot;
}

static void set_place(tarn_index *index, uint32_t bucket, uint32_t place, uint32_t tag,
                      uint32_t slot)
{
    /* the reference first: who reads along without a lock sees an old pair or the new one */
    index->buckets[bucket].ref[place] = slot;
    index->buckets[bucket].tag[place] = tag;
    if (index->dirty)
        index->dirty[bucket / 64] |= (uint64_t)1 << (bucket % 64);
}

struct path_node {
    uint32_t bucket;
    int16_t parent; /* -1 at the two ends where a path starts */
    uint8_t place;  /* of the parent's entry that would move here */
};

static bool on_path(const struct path_node *nodes, int node, uint32_t bucket)
{
    for (; node >= 0; node = nodes[node].parent) {
        if (nodes[node].bucket == bucket)
            return true;
    }
    return false;
}

/* Moves entries along the path that ends in `node`, last first, and returns the place freed at its
 * start. */
static uint32_t shift_along(tarn_index *index, const struct path_node *nodes, int node,
                            uint32_t free_place, uint32_t *start)
{
    while (nodes[node].parent >= 0) {
        const struct path_node *to = &nodes[node], *from = &nodes[to->parent];
        struct tarn_bucket *source = &index->buckets[from->bucket];
        set_place(index, to->bucket, free_place, source->tag[to->place], source->ref[to->place]);
        free_place = to->place;
        node = to->parent;
    }
    *start = nodes[node].bucket;
    return free_place;
}

/*
 * Puts an entry into the shown table, moving others out of the way along the shortest path that a
 * breadth-first search finds. A bucket never occurs twice on a path, so each move stays valid.
 */
static bool place_entry(tarn_index *index, uint64_t hash, uint32_t slot)
{
    struct path_node nodes[PATH_NODES];
    uint32_t tag = tarn_index_tag(hash), first = (uint32_t)hash & index->mask;
    uint32_t second = other_bucket(first, tag, index->mask);
    int count = 0;
    nodes[count++] = (struct path_node){first, -1, 0};
    if (second != first)
        nodes[count++] = (struct path_node){second, -1, 0};
    for (int i = 0; i < count; i++) {
        uint32_t free_places = matching_places(&index->buckets[nodes[i].bucket], 0);
        if (free_places) {
            set_place(index, nodes[i].bucket, (uint32_t)__builtin_ctz(free_places), tag, slot);
            return true;
        }
    }
    for (int i = 0; i < count; i++) {
        const struct tarn_bucket *full = &index->buckets[nodes[i].bucket];
        for (uint32_t place = 0; place < TARN_INDEX_SLOTS && count < PATH_NODES; place++) {
            uint32_t next = other_bucket(nodes[i].bucket, full->tag[place], index->mask);
            if (on_path(nodes, i, next))
                continue;
            nodes[count++] = (struct path_node){next, (int16_t)i, (uint8_t)place};
            uint32_t free_places = matching_places(&index->buckets[next], 0);
            if (!free_places)
                continue;
            uint32_t start, freed = shift_along(index, nodes, count - 1,
                                                (uint32_t)__builtin_ctz(free_places), &start);
            set_place(index, start, freed, tag, slot);
            return true;
        }
    }
    return false;
}

static bool stash_entry(tarn_index *index, uint64_t hash, uint32_t slot)
{
    if (index->stash_count == TARN_INDEX_STASH)
        return false;
    index->stash[index->stash_count++] = (struct stashed){hash, slot};
    return true;
}

static void finish_growth(tarn_index *index)
{
    index->source.release(index->source.context, index->old, table_size(index->old_mask));
    index->old = NULL;
    for (uint32_t i = index->stash_count; i-- > 0;) {
        if (place_entry(index, index->stash[i].hash, index->stash[i].slot))
            index->stash[i] = index->stash[--index->stash_count];
    }
}

/* Moves what it can out of a bucket of the old table; true if it is empty then. */
static bool empty_bucket(tarn_index *index, struct tarn_bucket *bucket)
{
    bool empty = true;
    for (uint32_t place = 0; place < TARN_INDEX_SLOTS; place++) {
        if (!bucket->tag[place])
            continue;
        uint64_t hash = index->hash_of(index->hash_context, bucket->ref[place]);
        if (!place_entry(index, hash, bucket->ref[place]) &&
            !stash_entry(index, hash, bucket->ref[place])) {
            empty = false;
            continue;
        }
        bucket->tag[place] = 0;
        index->old_left--;
    }
    return empty;
}

/* Empties a few more buckets of the old table. What finds no place stays until the next time round.
 */
static void move_some(tarn_index *index)
{
    for (int moved = 0; moved < TARN_INDEX_MOVES && index->old_left > 0; moved++) {
        if (empty_bucket(index, &index->old[index->cursor]) && index->emptied == index->cursor &&
            ++index->emptied % DISCARD == 0 && index->own_memory)
            tarn_discard_lines(&index->old[index->emptied - DISCARD], DISCARD * sizeof *index->old);
        index->cursor = (index->cursor + 1) & index->old_mask;
    }
    if (index->old_left == 0)
        finish_growth(index);
}

static bool start_growth(tarn_index *index)
{
    if (index->mask + 1 >= MOST_BUCKETS)
        return false;
    uint32_t mask = index->mask * 2 + 1;
    uint64_t *dirty = NULL;
    if (index->dirty) {
        dirty = tarn_alloc(dirty_words(mask) * sizeof *dirty);
        if (!dirty)
            return false;
        memset(dirty, 0xff, dirty_words(mask) * sizeof *dirty);
    }
    void *buckets = index->source.allocate(index->source.context, table_size(mask));
    if (!buckets) {
        tarn_free(dirty);
        return false;
    }
    tarn_free(index->dirty);
    index->dirty = dirty;
    index->old = index->buckets;
    index->old_mask = index->mask;
    index->old_left = (uint32_t)(index->count - index->stash_count);
    index->cursor = index->emptied = 0;
    index->buckets = buckets;
    index->mask = mask;
    return true;
}

/* For an entry that found no place though nothing is growing: by growth, or beside the table. */
static bool make_room(tarn_index *index, uint64_t hash, uint32_t slot)
{
    size_t places = ((size_t)index->mask + 1) * TARN_INDEX_SLOTS;
    /* In a table half empty it is the hashes that collide, and a larger one would not help. */
    if (index->count * 2 < places && stash_entry(index, hash, slot))
        return true;
    return index->count * 16 >= places && start_growth(index) && place_entry(index, hash, slot);
}

tarn_status tarn_index_insert(tarn_index *index, uint64_t hash, uint32_t slot)
{
    if (index->old)
        move_some(index);
    if (!place_entry(index, hash, slot) &&
        !(index->old ? stash_entry(index, hash, slot) : make_room(index, hash, slot)))
        return TARN_NO_MEMORY;
    index->count++;
    index->version++;
    return TARN_OK;
}

/* The place of (tag, slot) in one bucket, or TARN_INDEX_SLOTS. */
static uint32_t place_of(const struct tarn_bucket *bucket, uint32_t tag, uint32_t slot)
{
    for (uint32_t places = matching_places(bucket, tag); places; places &= places - 1) {
        uint32_t place = (uint32_t)__builtin_ctz(places);
        if (bucket->ref[place] == slot)
            return place;
    }
    return TARN_INDEX_SLOTS;
}

/* A place became free in `bucket`: something in the stash may have waited for it. */
static void refill_from_stash(tarn_index *index, uint32_t bucket, uint32_t place)
{
    for (uint32_t i = 0; i < index->stash_count; i++) {
        uint64_t hash = index->stash[i].hash;
        uint32_t tag = tarn_index_tag(hash), first = (uint32_t)hash & index->mask;
        if (first == bucket || other_bucket(first, tag, index->mask) == bucket) {
            set_place(index, bucket, place, tag, index->stash[i].slot);
            index->stash[i] = index->stash[--index->stash_count];
            return;
        }
    }
}

static bool remove_from_shown(tarn_index *index, uint64_t hash, uint32_t slot)
{
    uint32_t tag = tarn_index_tag(hash), bucket = (uint32_t)hash & index->mask;
    for (int i = 0; i < 2; i++, bucket = other_bucket(bucket, tag, index->mask)) {
        uint32_t place = place_of(&index->buckets[bucket], tag, slot);
        if (place < TARN_INDEX_SLOTS) {
            set_place(index, bucket, place, 0, 0);
            refill_from_stash(index, bucket, place);
            return true;
        }
    }
    return false;
}

static bool remove_from_old(tarn_index *index, uint64_t hash, uint32_t slot)
{
    uint32_t tag = tarn_index_tag(hash), bucket = (uint32_t)hash & index->old_mask;
    for (int i = 0; i < 2; i++, bucket = other_bucket(bucket, tag, index->old_mask)) {
        uint32_t place = place_of(&index->old[bucket], tag, slot);
        if (place < TARN_INDEX_SLOTS) {
            index->old[bucket].tag[place] = 0;
            if (--index->old_left == 0)
                finish_growth(index);
            return true;
        }
    }
    return false;
}

static bool remove_from_stash(tarn_index *index, uint64_t hash, uint32_t slot)
{
    for (uint32_t i = 0; i < index->stash_count; i++) {
        if (index->stash[i].slot == slot && index->stash[i].hash == hash) {
            index->stash[i] = index->stash[--index->stash_count];
            return true;
        }
    }
    return false;
}

bool tarn_index_remove(tarn_index *index, uint64_t hash, uint32_t slot)
{
    if (!remove_from_shown(index, hash, slot) &&
        !(index->old && remove_from_old(index, hash, slot)) &&
        !remove_from_stash(index, hash, slot))
        return false;
    index->count--;
    index->version++;
    return true;
}

tarn_status tarn_index_migrate(tarn_index *index, const struct tarn_memory_source *source)
{
    struct tarn_memory_source to =
        source ? *source
               : (struct tarn_memory_source){.allocate = host_allocate, .release = host_release};
    struct tarn_bucket *buckets = to.allocate(to.context, table_size(index->mask)), *old = NULL;
    if (!buckets)
        return TARN_NO_MEMORY;
    if (index->old) {
        old = to.allocate(to.context, table_size(index->old_mask));
        if (!old) {
            to.release(to.context, buckets, table_size(index->mask));
            return TARN_NO_MEMORY;
        }
        memcpy(old, index->old, table_size(index->old_mask));
        index->source.release(index->source.context, index->old, table_size(index->old_mask));
        index->old = old;
    }
    memcpy(buckets, index->buckets, table_size(index->mask));
    index->source.release(index->source.context, index->buckets, table_size(index->mask));
    index->buckets = buckets;
    index->source = to;
    index->own_memory = !source;
    index->version++;
    if (index->dirty)
        memset(index->dirty, 0xff, dirty_words(index->mask) * sizeof *index->dirty);
    return TARN_OK;
}

size_t tarn_index_count(const tarn_index *index)
{
    return index->count;
}

size_t tarn_index_memory(const tarn_index *index)
{
    return sizeof *index + table_size(index->mask) +
           (index->old ? table_size(index->old_mask) : 0) +
           (index->dirty ? dirty_words(index->mask) * sizeof *index->dirty : 0);
}

struct tarn_index_view tarn_index_get_view(const tarn_index *index)
{
    return (struct tarn_index_view){
        .buckets = index->buckets,
        .bucket_count = index->mask + 1,
        .growing = index->old || index->stash_count > 0,
        .version = index->version,
    };
}

tarn_status tarn_index_track(tarn_index *index)
{
    if (index->dirty)
        return TARN_OK;
    index->dirty = tarn_alloc(dirty_words(index->mask) * sizeof *index->dirty);
    if (!index->dirty)
        return TARN_NO_MEMORY;
    /* the device has nothing yet */
    memset(index->dirty, 0xff, dirty_words(index->mask) * sizeof *index->dirty);
    return TARN_OK;
}

static bool take_dirty(tarn_index *index, size_t bucket)
{
    uint64_t bit = (uint64_t)1 << (bucket % 64);
    bool was = index->dirty[bucket / 64] & bit;
    index->dirty[bucket / 64] &= ~bit;
    return was;
}

void tarn_index_flush(tarn_index *index, void (*visit)(void *context, size_t offset, size_t size),
                      void *context)
{
    size_t end = (size_t)index->mask + 1, bucket = 0;
    if (!index->dirty)
        return;
    while (bucket < end) {
        if (bucket % 64 == 0 && !index->dirty[bucket / 64]) {
            bucket += 64;
            continue;
        }
        size_t start = bucket;
        while (bucket < end && take_dirty(index, bucket))
            bucket++;
        if (bucket > start)
            visit(context, start * sizeof(struct tarn_bucket),
                  (bucket - start) * sizeof(struct tarn_bucket));
        else
            bucket++;
    }
}
