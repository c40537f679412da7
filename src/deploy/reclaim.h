/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * When what was taken out of sight may be freed: quiescent-state-based reclamation (McKenney and
 * Slingwine 1998; Desnoyers et al., "User-Level Implementations of Read-Copy Update", 2012), without
 * anything global.
 *
 * A reader tells after each batch that it holds nothing (two loads and a comparison; a store only
 * after a swap). The writer takes a thing out of sight, begins a grace period, and frees the thing
 * once every reader has told so since then, or is offline. Nobody waits for anybody: the writer asks
 * again later.
 *
 * A reader is an object and no thread: whoever holds the lock that guards it may use it, or say in its
 * place that it holds nothing. That is why this is not liburcu's QSBR, which costs the same: there
 * every thread that might read has to register itself and tell before it ends, a library can't ask
 * that of its callers' threads, and its one registry is shared by all that the process holds.
 *
 * Thread-safety: a reader belongs to one thread at a time; the functions below the line belong to the
 * writers' lock.
 */
#ifndef TARN_DEPLOY_RECLAIM_H
#define TARN_DEPLOY_RECLAIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/steps.h"

#define TARN_READER_OFFLINE 0u

struct tarn_reclaim {
    atomic_uint epoch;           /**< odd, so that it never is TARN_READER_OFFLINE; it may wrap */
    struct tarn_reader *readers; /**< under the writers' lock */
};

struct tarn_reader {
    /** The epoch in which it last held nothing. Its own cache line: the owner embeds it at the front. */
    _Alignas(128) atomic_uint seen;
    struct tarn_reclaim *reclaim;
    struct tarn_reader *next;
};

/** True from tarn_reader_online() to tarn_reader_offline(). */
static inline bool tarn_reader_is_online(const struct tarn_reader *reader)
{
    return atomic_load_explicit(&reader->seen, memory_order_relaxed) != TARN_READER_OFFLINE;
}

/**
 * Before the first batch after being offline; some 5-20 ns. What is loaded afterwards with
 * memory_order_seq_cst is safe until the next tarn_reader_quiescent().
 */
static inline void tarn_reader_online(struct tarn_reader *reader)
{
    unsigned epoch = tarn_step_load(&reader->reclaim->epoch, memory_order_acquire);
    /* Sequentially consistent with the load of the pointer that follows, as the writer's exchange is
     * with its look at `seen`: one of the two sees the other. */
    tarn_step_store(&reader->seen, epoch, memory_order_seq_cst);
}

/** It holds nothing at this moment. Under a nanosecond. */
static inline void tarn_reader_quiescent(struct tarn_reader *reader)
{
    /* If this sees a new epoch, the next load of the pointer sees what was there when it began. */
    unsigned epoch = tarn_step_load(&reader->reclaim->epoch, memory_order_acquire);
    if (epoch != atomic_load_explicit(&reader->seen, memory_order_relaxed))
        tarn_step_store(&reader->seen, epoch, memory_order_release);
}

/** It holds nothing and won't for a while: nobody waits for it. */
static inline void tarn_reader_offline(struct tarn_reader *reader)
{
    tarn_step_store(&reader->seen, TARN_READER_OFFLINE, memory_order_release);
}

/* ---- the writers, under their lock ---- */

void tarn_reclaim_init(struct tarn_reclaim *reclaim);
/** Adds a reader, offline. It stays where it is until it is removed. */
void tarn_reclaim_add(struct tarn_reclaim *reclaim, struct tarn_reader *reader);
void tarn_reclaim_remove(struct tarn_reclaim *reclaim, struct tarn_reader *reader);

/**
 * Begins a grace period for what was just taken out of sight by a sequentially consistent exchange;
 * returns its name.
 */
unsigned tarn_reclaim_begin(struct tarn_reclaim *reclaim);
/** The newest period that every reader has lived through: it, and those before, have passed. */
unsigned tarn_reclaim_passed(struct tarn_reclaim *reclaim);
/** True if `period` is no later than `passed`. */
static inline bool tarn_reclaim_is_past(unsigned period, unsigned passed)
{
    return (int)(passed - period) >= 0;
}

#endif
