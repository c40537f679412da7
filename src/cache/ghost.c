/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which set a hash belongs to must be derivable from the record when the table doubles, and the
 * record keeps bits 16-47 only. So the set's number takes up to 16 low bits of the hash, as many as
 * the table began with, and every bit above these from the tag: a doubling splits set s into s and
 * s + sets by a bit of the tag. A set is moved when its hash is asked for, or by the cursor:
 * records of a set that was not moved yet can meet none in the two new sets, since whoever adds
 * there moves it first.
 */
#include "ghost.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

#define WAYS        8
#define MOVES       2    /* old sets that an insertion moves */
#define SWEEP_EVERY 8    /* insertions to a set swept of expired records: all in a tableful */
#define DISCARD     1024 /* moved sets that are given back at once */
#define FULL_SHARE  20   /* grows when over one in this many insertions drops a valid record */
#define MOST_SETS   0x08000000u
#define LOAD        0.75 /* at which about one in twenty is dropped, were all sets equally likely */

struct set {
    struct tarn_ghost way[WAYS];
};

struct tarn_ghosts {
    struct set *sets, *old;
    uint32_t mask, old_mask;
    uint32_t cursor; /* next old set to move */
    uint32_t sweep;  /* next set to sweep */
    uint32_t low_bits;
    uint32_t insertions, drops; /* of the window that decides on growth */
};

tarn_status tarn_ghosts_create(size_t expected, tarn_ghosts **ghosts)
{
    uint32_t sets = 1, bits = 0;
    *ghosts = NULL;
    for (; (double)expected > (double)sets * WAYS * LOAD; bits++) {
        if (sets == MOST_SETS)
            return TARN_INVALID;
        sets *= 2;
    }
    tarn_ghosts *made = tarn_alloc_zeroed(1, sizeof *made);
    if (!made)
        return TARN_NO_MEMORY;
    made->sets = tarn_alloc_lines(sets * sizeof(struct set));
    if (!made->sets) {
        tarn_free(made);
        return TARN_NO_MEMORY;
    }
    made->mask = sets - 1;
    made->low_bits = bits < 16 ? bits : 16;
    *ghosts = made;
    return TARN_OK;
}

void tarn_ghosts_destroy(tarn_ghosts **ghosts)
{
    if (!ghosts || !*ghosts)
        return;
    tarn_free_lines((*ghosts)->old);
    tarn_free_lines((*ghosts)->sets);
    tarn_free(*ghosts);
    *ghosts = NULL;
}

static struct set *copy_sets(const struct set *sets, uint32_t mask)
{
    size_t size = ((size_t)mask + 1) * sizeof *sets;
    struct set *copy = tarn_alloc_lines(size);
    if (copy)
        memcpy(copy, sets, size);
    return copy;
}

tarn_status tarn_ghosts_copy(tarn_ghosts *to, const tarn_ghosts *from)
{
    struct set *sets = copy_sets(from->sets, from->mask);
    struct set *old = from->old ? copy_sets(from->old, from->old_mask) : NULL;
    if (!sets || (from->old && !old)) {
        tarn_free_lines(sets);
        tarn_free_lines(old);
        return TARN_NO_MEMORY;
    }
    tarn_free_lines(to->sets);
    tarn_free_lines(to->old);
    *to = *from;
    to->sets = sets;
    to->old = old;
    return TARN_OK;
}

static uint32_t tag_of(uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> 16);
    return tag ? tag : 1;
}

/* The number of the set, before masking. */
static uint32_t set_number(const tarn_ghosts *ghosts, uint64_t hash)
{
    uint32_t low = (uint32_t)hash & ((1u << ghosts->low_bits) - 1);
    return tag_of(hash) << ghosts->low_bits | low;
}

static bool expired(const struct tarn_ghost *ghost, uint32_t clock, uint32_t horizon)
{
    return clock - ghost->evicted >= horizon;
}

static void move_set(tarn_ghosts *ghosts, uint32_t number)
{
    struct set *from = &ghosts->old[number];
    uint32_t filled[2] = {0, 0};
    for (uint32_t i = 0; i < WAYS; i++) {
        if (!from->way[i].tag)
            continue;
        uint32_t to = (from->way[i].tag << ghosts->low_bits | number) & ghosts->mask;
        /* `number` may reach into the tag's bits, where both agree */
        uint32_t upper = to != number;
        ghosts->sets[to].way[filled[upper]++] = from->way[i];
        from->way[i].tag = 0;
    }
}

static void move_some(tarn_ghosts *ghosts)
{
    for (int i = 0; i < MOVES && ghosts->cursor <= ghosts->old_mask; i++) {
        move_set(ghosts, ghosts->cursor++);
        if (ghosts->cursor % DISCARD == 0)
            tarn_discard_lines(&ghosts->old[ghosts->cursor - DISCARD],
                               DISCARD * sizeof *ghosts->old);
    }
    if (ghosts->cursor > ghosts->old_mask) {
        tarn_free_lines(ghosts->old);
        ghosts->old = NULL;
    }
}

static struct set *set_of(tarn_ghosts *ghosts, uint64_t hash)
{
    uint32_t number = set_number(ghosts, hash);
    if (ghosts->old && (number & ghosts->old_mask) >= ghosts->cursor)
        move_set(ghosts, number & ghosts->old_mask);
    return &ghosts->sets[number & ghosts->mask];
}

/* Without memory it goes on dropping the oldest, and asks again a window later. */
static void start_growth(tarn_ghosts *ghosts)
{
    if (ghosts->mask + 1 >= MOST_SETS)
        return;
    struct set *sets = tarn_alloc_lines(((size_t)ghosts->mask + 1) * 2 * sizeof *sets);
    if (!sets)
        return;
    ghosts->old = ghosts->sets;
    ghosts->old_mask = ghosts->mask;
    ghosts->sets = sets;
    ghosts->mask = ghosts->mask * 2 + 1;
    ghosts->cursor = 0;
}

static void sweep_one(tarn_ghosts *ghosts, uint32_t clock, uint32_t horizon)
{
    struct set *set = &ghosts->sets[ghosts->sweep];
    ghosts->sweep = (ghosts->sweep + 1) & ghosts->mask;
    for (uint32_t i = 0; i < WAYS; i++) {
        if (set->way[i].tag && expired(&set->way[i], clock, horizon))
            set->way[i].tag = 0;
    }
}

static struct tarn_ghost *find_in(struct set *set, uint32_t tag)
{
    for (uint32_t i = 0; i < WAYS; i++) {
        if (set->way[i].tag == tag)
            return &set->way[i];
    }
    return NULL;
}

struct tarn_ghost *tarn_ghosts_find(tarn_ghosts *ghosts, uint64_t hash, uint32_t clock,
                                    uint32_t horizon)
{
    struct tarn_ghost *ghost = find_in(set_of(ghosts, hash), tag_of(hash));
    return ghost && !expired(ghost, clock, horizon) ? ghost : NULL;
}

/* A way to fill: the record itself, else a free or expired one, else the oldest. */
static struct tarn_ghost *choose_way(tarn_ghosts *ghosts, struct set *set, uint32_t tag,
                                     uint32_t clock, uint32_t horizon)
{
    struct tarn_ghost *same = find_in(set, tag), *oldest = &set->way[0];
    if (same)
        return same;
    for (uint32_t i = 0; i < WAYS; i++) {
        struct tarn_ghost *way = &set->way[i];
        if (!way->tag || expired(way, clock, horizon))
            return way;
        if (clock - way->evicted > clock - oldest->evicted)
            oldest = way;
    }
    ghosts->drops++;
    return oldest;
}

struct tarn_ghost *tarn_ghosts_insert(tarn_ghosts *ghosts, uint64_t hash, uint32_t clock,
                                      uint32_t horizon)
{
    uint32_t capacity = (ghosts->mask + 1) * WAYS;
    if (ghosts->old)
        move_some(ghosts);
    if (++ghosts->insertions >= (capacity < 64 ? 64 : capacity)) {
        if (ghosts->drops > ghosts->insertions / FULL_SHARE && !ghosts->old)
            start_growth(ghosts);
        ghosts->insertions = ghosts->drops = 0;
    }
    if (ghosts->insertions % SWEEP_EVERY == 0)
        sweep_one(ghosts, clock, horizon);
    struct tarn_ghost *ghost =
        choose_way(ghosts, set_of(ghosts, hash), tag_of(hash), clock, horizon);
    memset(ghost, 0, sizeof *ghost);
    ghost->tag = tag_of(hash);
    ghost->evicted = clock;
    return ghost;
}

void tarn_ghosts_remove(tarn_ghosts *ghosts, struct tarn_ghost *ghost)
{
    (void)ghosts;
    ghost->tag = 0;
}

size_t tarn_ghosts_memory(const tarn_ghosts *ghosts)
{
    size_t sets = (size_t)ghosts->mask + 1 + (ghosts->old ? (size_t)ghosts->old_mask + 1 : 0);
    return sizeof *ghosts + sets * sizeof(struct set);
}
