/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). Parameters:
 * the small queue is evicted from while it holds a tenth of the limit or more (the paper's), an
 * access count of up to 3 (the paper's), into the main queue from 2 accesses since insertion on
 * ("more than once", the paper's, counted without the insertion), there with a count of 0. The
 * ghost queue remembers the last 9/10 · residents evictions from the small queue, the share of
 * objects that the main queue is meant to hold; as in the paper's section 4.2, age is the number of
 * later ghosts, so one that was asked for again leaves a gap rather than room. An overwrite counts
 * as an access.
 */
#include "policy.h"

#include "base/memory.h"

#define MOST_FREQ     3
#define MOVE_FREQ     2
#define SMALL_SHARE   10
#define CHUNK         1024    /* ghosts in a piece of the ring */
#define MOST_EXPECTED 1048576 /* ghosts to make room for at once; more are added as they come */

/*
 * Hashes in the order in which they became ghosts, numbered from 0 and then modulo 2^32, in
 * pieces so that more room costs no copying; and an index from hash to number.
 */
struct ghost_queue {
    tarn_index *index;
    uint64_t **chunks; /* the piece of number n is n / CHUNK modulo a power of two */
    uint64_t *spare;   /* one that fell empty, for the next that is needed */
    uint32_t chunk_mask;
    uint32_t oldest, next;
};

struct s3fifo {
    struct tarn_table *table;
    const struct tarn_capacity *capacity;
    struct tarn_list small, main;
    uint64_t small_used; /* in the capacity's unit */
    struct ghost_queue ghosts;
};

static uint64_t **chunk_of(struct ghost_queue *ghosts, uint32_t number)
{
    return &ghosts->chunks[number / CHUNK & ghosts->chunk_mask];
}

static uint64_t ghost_hash(void *context, uint32_t number)
{
    return (*chunk_of(context, number))[number % CHUNK];
}

static tarn_status ghosts_init(struct ghost_queue *ghosts, size_t expected)
{
    ghosts->chunks = tarn_alloc_zeroed(4, sizeof *ghosts->chunks);
    if (!ghosts->chunks)
        return TARN_NO_MEMORY;
    ghosts->chunk_mask = 3;
    return tarn_index_create(expected, NULL, ghost_hash, ghosts, &ghosts->index);
}

static void ghosts_free(struct ghost_queue *ghosts)
{
    for (uint32_t i = 0; ghosts->chunks && i <= ghosts->chunk_mask; i++)
        tarn_free(ghosts->chunks[i]);
    tarn_free(ghosts->chunks);
    tarn_free(ghosts->spare);
    tarn_index_destroy(&ghosts->index);
}

static void drop_oldest(struct ghost_queue *ghosts)
{
    uint32_t number = ghosts->oldest++;
    uint64_t **chunk = chunk_of(ghosts, number);
    tarn_index_remove(ghosts->index, (*chunk)[number % CHUNK], number);
    if (ghosts->oldest % CHUNK == 0) {
        if (ghosts->spare)
            tarn_free(*chunk);
        else
            ghosts->spare = *chunk;
        *chunk = NULL;
    }
}

static bool more_chunks(struct ghost_queue *ghosts)
{
    uint32_t mask = ghosts->chunk_mask * 2 + 1;
    uint64_t **chunks = tarn_alloc_zeroed((size_t)mask + 1, sizeof *chunks);
    if (!chunks)
        return false;
    for (uint32_t i = 0; i <= ghosts->chunk_mask; i++) {
        uint32_t piece = ghosts->oldest / CHUNK + i;
        chunks[piece & mask] = ghosts->chunks[piece & ghosts->chunk_mask];
    }
    tarn_free(ghosts->chunks);
    ghosts->chunks = chunks;
    ghosts->chunk_mask = mask;
    return true;
}

/* Makes sure that number `next` has a place. */
static bool extend(struct ghost_queue *ghosts)
{
    uint32_t pieces = (ghosts->next / CHUNK - ghosts->oldest / CHUNK) & (TARN_NONE / CHUNK);
    if (pieces > ghosts->chunk_mask && !more_chunks(ghosts))
        return false;
    uint64_t **chunk = chunk_of(ghosts, ghosts->next);
    if (!*chunk) {
        *chunk = ghosts->spare ? ghosts->spare : tarn_alloc(CHUNK * sizeof **chunk);
        ghosts->spare = NULL;
    }
    return *chunk != NULL;
}

/* Remembers a hash as the newest of at most `most`. Without memory it is forgotten. */
static void ghosts_add(struct ghost_queue *ghosts, uint64_t hash, uint32_t most)
{
    while (ghosts->oldest != ghosts->next && ghosts->next - ghosts->oldest >= most)
        drop_oldest(ghosts);
    if (!extend(ghosts))
        return;
    (*chunk_of(ghosts, ghosts->next))[ghosts->next % CHUNK] = hash;
    /* the last number names no slot, so it stays a gap */
    if (ghosts->next != TARN_NONE)
        (void)tarn_index_insert(ghosts->index, hash, ghosts->next);
    ghosts->next++;
}

struct sought {
    struct ghost_queue *ghosts;
    uint64_t hash;
};

static bool same_hash(void *context, uint32_t number)
{
    const struct sought *sought = context;
    return ghost_hash(sought->ghosts, number) == sought->hash;
}

/* True if the hash was remembered; it is forgotten by that. */
static bool ghosts_take(struct ghost_queue *ghosts, uint64_t hash)
{
    struct sought sought = {ghosts, hash};
    uint32_t number = tarn_index_find(ghosts->index, hash, same_hash, &sought);
    return number != TARN_NONE && tarn_index_remove(ghosts->index, hash, number);
}

/* The exact cost, which removal must know, lies in two fields that this policy has no other use
 * for. */
static void set_cost(struct tarn_meta *meta, uint64_t cost)
{
    meta->inserted = (uint32_t)cost;
    meta->due = (uint32_t)(cost >> 32);
}

static uint64_t cost_of(const struct tarn_meta *meta)
{
    return (uint64_t)meta->due << 32 | meta->inserted;
}

static void s3fifo_destroy(void *policy)
{
    struct s3fifo *s3 = policy;
    ghosts_free(&s3->ghosts);
    tarn_free(s3);
}

static void s3fifo_hit(void *policy, uint32_t slot, uint64_t now)
{
    struct s3fifo *s3 = policy;
    struct tarn_meta *meta = tarn_table_meta(s3->table, slot);
    (void)now;
    if (meta->freq < MOST_FREQ)
        meta->freq++;
}

static void s3fifo_miss(void *policy, uint64_t hash, uint64_t now)
{
    (void)policy;
    (void)hash;
    (void)now;
}

static void push_main(struct s3fifo *s3, uint32_t slot)
{
    tarn_table_meta(s3->table, slot)->flags |= TARN_META_QUEUE;
    tarn_list_push_head(s3->table, &s3->main, slot);
}

static void unlink_slot(struct s3fifo *s3, uint32_t slot)
{
    const struct tarn_meta *meta = tarn_table_meta(s3->table, slot);
    if (meta->flags & TARN_META_QUEUE) {
        tarn_list_remove(s3->table, &s3->main, slot);
    } else {
        tarn_list_remove(s3->table, &s3->small, slot);
        s3->small_used -= cost_of(meta);
    }
}

static void s3fifo_insert(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct s3fifo *s3 = policy;
    struct tarn_meta *meta = tarn_table_meta(s3->table, slot);
    (void)now;
    set_cost(meta, s3->capacity->bytes ? charge : 1);
    if (ghosts_take(&s3->ghosts, tarn_table_hash(s3->table, slot))) {
        push_main(s3, slot);
    } else {
        tarn_list_push_head(s3->table, &s3->small, slot);
        s3->small_used += cost_of(meta);
    }
}

static void s3fifo_update(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct s3fifo *s3 = policy;
    struct tarn_meta *meta = tarn_table_meta(s3->table, slot);
    uint64_t cost = s3->capacity->bytes ? charge : 1;
    if (!(meta->flags & TARN_META_QUEUE))
        s3->small_used += cost - cost_of(meta);
    set_cost(meta, cost);
    s3fifo_hit(policy, slot, now);
}

static void s3fifo_remove(void *policy, uint32_t slot, tarn_remove_reason reason, uint64_t now)
{
    struct s3fifo *s3 = policy;
    (void)now;
    unlink_slot(s3, slot);
    if (reason == TARN_REMOVE_EVICTED &&
        !(tarn_table_meta(s3->table, slot)->flags & TARN_META_QUEUE)) {
        uint32_t most = (uint32_t)((uint64_t)s3->table->count * (SMALL_SHARE - 1) / SMALL_SHARE);
        ghosts_add(&s3->ghosts, tarn_table_hash(s3->table, slot), most ? most : 1);
    }
}

static bool small_is_full(const struct s3fifo *s3)
{
    return s3->small_used >= s3->capacity->limit / SMALL_SHARE;
}

/* Each turn moves an object over or lowers a count, so that it ends. */
static uint32_t s3fifo_victim(void *policy, uint64_t now)
{
    struct s3fifo *s3 = policy;
    (void)now;
    for (;;) {
        if (s3->small.count > 0 && (small_is_full(s3) || s3->main.count == 0)) {
            uint32_t slot = s3->small.tail;
            struct tarn_meta *meta = tarn_table_meta(s3->table, slot);
            if (meta->freq < MOVE_FREQ)
                return slot;
            unlink_slot(s3, slot);
            meta->freq = 0;
            push_main(s3, slot);
        } else {
            uint32_t slot = s3->main.tail;
            struct tarn_meta *meta = tarn_table_meta(s3->table, slot);
            if (meta->freq == 0)
                return slot;
            meta->freq--;
            tarn_list_remove(s3->table, &s3->main, slot);
            tarn_list_push_head(s3->table, &s3->main, slot);
        }
    }
}

static size_t s3fifo_memory(const void *policy)
{
    const struct s3fifo *s3 = policy;
    const struct ghost_queue *ghosts = &s3->ghosts;
    size_t pieces = ghosts->spare != NULL;
    for (uint32_t i = 0; i <= ghosts->chunk_mask; i++)
        pieces += ghosts->chunks[i] != NULL;
    return sizeof *s3 + tarn_index_memory(ghosts->index) + pieces * CHUNK * sizeof(uint64_t) +
           ((size_t)ghosts->chunk_mask + 1) * sizeof(uint64_t *);
}

static const struct tarn_policy_ops s3fifo_ops = {
    .name = "s3fifo",
    .destroy = s3fifo_destroy,
    .hit = s3fifo_hit,
    .miss = s3fifo_miss,
    .insert = s3fifo_insert,
    .update = s3fifo_update,
    .remove = s3fifo_remove,
    .victim = s3fifo_victim,
    .memory = s3fifo_memory,
};

tarn_status tarn_policy_s3fifo_create(struct tarn_table *table,
                                      const struct tarn_capacity *capacity,
                                      struct tarn_policy *policy)
{
    size_t expected = capacity->bytes                   ? 0
                      : capacity->limit < MOST_EXPECTED ? (size_t)capacity->limit
                                                        : MOST_EXPECTED;
    struct s3fifo *s3 = tarn_alloc_zeroed(1, sizeof *s3);
    if (!s3)
        return TARN_NO_MEMORY;
    s3->table = table;
    s3->capacity = capacity;
    s3->small = s3->main = TARN_LIST_EMPTY;
    if (ghosts_init(&s3->ghosts, expected) != TARN_OK) {
        s3fifo_destroy(s3);
        return TARN_NO_MEMORY;
    }
    *policy = (struct tarn_policy){&s3fifo_ops, s3};
    return TARN_OK;
}
