/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A model slot: which version scores, and how another takes its place without anyone waiting.
 *
 *     tarn_slot_enter(reader)            one batch: the version that is live now
 *       score with its weights, its thresholds, its experts' weights
 *     tarn_slot_leave(reader)            it holds nothing any more
 *
 * A batch sees one version from end to end; the next batch sees the newest. A swap is one exchange of
 * a pointer; the version that left goes once no reader can be inside it (reclaim.h) and nobody holds a
 * counted reference: the slot itself does of the last few versions (a rollback needs no disk), and so
 * may a shadow or a history for longer than a batch.
 *
 * Rules: the live version and its parent are kept, and one that is guarded; a version that failed is kept for inspection as long
 * as there is room, and an equal one is turned away until `cooldown` requests have passed; while a
 * version is pinned nothing else goes live. Two writers at once are ordered; one that says what it has
 * built on (`base`) gets TARN_BUSY if something else is live by now.
 *
 * What happens is noted in a history (history.h), in memory: the caller flushes it.
 *
 * Ownership: tarn_slot_destroy(), when no reader is inside. Thread-safety: a reader belongs to one
 * thread at a time (what a lock guards, whoever holds the lock may use); everything else may be called
 * from any thread.
 */
#ifndef TARN_DEPLOY_SLOT_H
#define TARN_DEPLOY_SLOT_H

#include "history.h"
#include "model/bundle.h"
#include "reclaim.h"

typedef struct tarn_slot tarn_slot;

/** What readers see of a slot. */
struct tarn_slot_front {
    _Alignas(128) struct tarn_bundle *_Atomic live;
    struct tarn_reclaim reclaim;
};

struct tarn_slot_reader {
    struct tarn_reader reader;
    struct tarn_slot_front *front;
};

struct tarn_slot_params {
    uint32_t keep;         /**< versions kept, 3 at least; 0: 8 */
    uint64_t cooldown;     /**< requests for which one like a failed version waits; 0: 1,000,000 */
    tarn_history *history; /**< must outlive the slot; NULL: none */
};

/**
 * A slot in which `first` is live; its shape is that of all that follow. Version numbers and cool-downs
 * go on from the history. On TARN_OK the slot has the caller's reference.
 */
tarn_status tarn_slot_create(const struct tarn_slot_params *params, struct tarn_bundle *first,
                             const struct tarn_change *why, tarn_slot **slot,
                             struct tarn_error *error);
/** Accepts NULL. Readers that are still registered are gone with it. */
void tarn_slot_destroy(tarn_slot **slot);

/* ---- readers ---- */

/** A new reader, offline. TARN_NO_MEMORY. */
tarn_status tarn_slot_register(tarn_slot *slot, struct tarn_slot_reader **reader);
/** Not inside a batch. Accepts NULL. */
void tarn_slot_unregister(tarn_slot *slot, struct tarn_slot_reader **reader);

/**
 * Begins a batch: what it returns stays as it is until tarn_slot_leave(). No batch inside a batch. About
 * a nanosecond; some 5-20 after being offline. Never waits.
 */
static inline const struct tarn_bundle *tarn_slot_enter(struct tarn_slot_reader *reader)
{
    if (__builtin_expect(!tarn_reader_is_online(&reader->reader), 0))
        tarn_reader_online(&reader->reader);
    return tarn_step_load(&reader->front->live, memory_order_seq_cst);
}

/** Ends the batch. */
static inline void tarn_slot_leave(struct tarn_slot_reader *reader)
{
    tarn_reader_quiescent(&reader->reader);
}

/**
 * Ends the batch, if there is one, and says that the next may be long in coming: nothing is kept for
 * this reader meanwhile.
 */
static inline void tarn_slot_offline(struct tarn_slot_reader *reader)
{
    tarn_reader_offline(&reader->reader);
}

/* ---- writers ---- */

/**
 * `bundle` goes live, as a new version whose parent is the one before. `base`: the version that the
 * caller believes to be live; 0: any. On TARN_OK the slot has the caller's reference and `*version`
 * (may be NULL) is its number; otherwise nothing has changed.
 * TARN_INVALID: not the slot's shape, or it is in a slot already. TARN_BUSY: another version than `base`
 * is live, one is pinned, or some reader has been inside one batch for 60 swaps. TARN_COOLDOWN: one like
 * it failed not long ago.
 */
tarn_status tarn_slot_swap(tarn_slot *slot, struct tarn_bundle *bundle, uint64_t base,
                           const struct tarn_change *why, uint64_t *version,
                           struct tarn_error *error);
/**
 * An earlier version goes live again: `target`, or with 0 the nearest ancestor that hasn't failed. With
 * why->failed the one that leaves is marked as failed. `*version` (may be NULL): the one that is live.
 * TARN_NOT_FOUND: it isn't kept; TARN_BUSY as above.
 */
tarn_status tarn_slot_rollback(tarn_slot *slot, uint64_t target, uint64_t base,
                               const struct tarn_change *why, uint64_t *version,
                               struct tarn_error *error);
/**
 * Notes that a candidate was found bad before it went live: it gets a number, is kept for inspection,
 * and one like it waits. On TARN_OK the slot has the caller's reference.
 */
tarn_status tarn_slot_reject(tarn_slot *slot, struct tarn_bundle *bundle,
                             const struct tarn_change *why, uint64_t *version,
                             struct tarn_error *error);
/**
 * Notes that a version which was live is bad after all, though others have followed it: one equal to it
 * waits, and it is gone back to last. The caller holds a reference.
 */
void tarn_slot_condemn(tarn_slot *slot, const struct tarn_bundle *bundle,
                       const struct tarn_change *why);
/**
 * `version` (0: the live one) goes live and stays so until it is unpinned or another is pinned.
 * TARN_NOT_FOUND: it isn't kept.
 */
tarn_status tarn_slot_pin(tarn_slot *slot, uint64_t version, const struct tarn_change *why,
                          struct tarn_error *error);
/** TARN_NOT_FOUND: nothing is pinned. */
tarn_status tarn_slot_unpin(tarn_slot *slot, const struct tarn_change *why,
                            struct tarn_error *error);

/**
 * `version` is kept until another is guarded, however many go live meanwhile: a watch may go back to it. 0:
 * none. TARN_NOT_FOUND: it isn't kept now; TARN_INVALID: the slot keeps fewer than four.
 */
tarn_status tarn_slot_guard(tarn_slot *slot, uint64_t version);

/** True if one with this hash would be turned away at this time. */
bool tarn_slot_is_cooling(tarn_slot *slot, uint64_t hash, uint64_t requests);
/**
 * A counted reference to a kept version (0: the live one), for as long as the caller wants; to be given
 * back by tarn_bundle_release(). TARN_NOT_FOUND.
 */
tarn_status tarn_slot_hold(tarn_slot *slot, uint64_t version, struct tarn_bundle **bundle);
/**
 * Frees what no reader can be inside any more, to be called now and then by whoever swaps: a swap itself
 * frees only when sixty versions wait. Returns how many still wait for a reader: 0 is none.
 */
uint32_t tarn_slot_reap(tarn_slot *slot);

struct tarn_slot_stats {
    uint64_t live, parent, pinned; /**< versions; 0: none */
    uint64_t swaps, rollbacks, rejected;
    uint32_t kept, waiting; /**< versions kept; those that left and wait for readers */
    uint32_t cooling;       /**< hashes that are remembered as failed */
    size_t memory;          /**< bytes of the bundles kept and of the slot */
};
void tarn_slot_get_stats(tarn_slot *slot, struct tarn_slot_stats *stats);

#endif
