/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * History of objects that were evicted: a set-associative table of 24-byte records, eight to a set.
 * A record is valid until `horizon` further evictions have happened; a full set drops its oldest.
 * Grows by doubling, a few sets per insertion, so that no call takes long. Not thread-safe.
 */
#ifndef TARN_CACHE_GHOST_H
#define TARN_CACHE_GHOST_H

#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#include "meta.h"

struct tarn_ghost {
    uint32_t tag;     /**< bits 16-47 of the hash; 0 (made 1) marks a free record */
    uint32_t evicted; /**< the eviction count when it left */
    uint32_t last;
    uint8_t gap[TARN_GAPS];
    uint16_t freq;
    uint16_t decayed;
    uint8_t sketch;
    uint8_t flags; /**< TARN_META_SAMPLED, TARN_GHOST_ACCESSED */
    uint8_t spare[2];
};
_Static_assert(sizeof(struct tarn_ghost) == 24, "metadata of a ghost");

#define TARN_GHOST_ACCESSED 128 /* its last access is newer than its eviction */

typedef struct tarn_ghosts tarn_ghosts;

/** Room for about `expected` valid records to begin with (it grows). TARN_NO_MEMORY, TARN_INVALID.
 */
tarn_status tarn_ghosts_create(size_t expected, tarn_ghosts **ghosts);
void tarn_ghosts_destroy(tarn_ghosts **ghosts);

/** `to` holds what `from` holds. TARN_NO_MEMORY changes nothing. */
tarn_status tarn_ghosts_copy(tarn_ghosts *to, const tarn_ghosts *from);

/**
 * The record of `hash`, or NULL; valid until the next call. `clock` is the eviction count now and
 * `horizon` how many evictions a record stays valid.
 */
struct tarn_ghost *tarn_ghosts_find(tarn_ghosts *ghosts, uint64_t hash, uint32_t clock,
                                    uint32_t horizon);
/**
 * A record for `hash` to be filled in (`tag` and `evicted` are set, the rest is zero): an existing
 * one, a free or expired one, or the set's oldest. NULL only if the table could not be had at all.
 */
struct tarn_ghost *tarn_ghosts_insert(tarn_ghosts *ghosts, uint64_t hash, uint32_t clock,
                                      uint32_t horizon);
/** Forgets one, which find or insert has just given. */
void tarn_ghosts_remove(tarn_ghosts *ghosts, struct tarn_ghost *ghost);
/** Bytes held. */
size_t tarn_ghosts_memory(const tarn_ghosts *ghosts);

#endif
