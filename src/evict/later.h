/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the miniature caches are to hear of, noted on a request's way and replayed by another thread: with
 * it a request of a sampled key costs its thread a note of 24 bytes instead of the rounds of several
 * small caches. Bounded: where the other thread falls behind, what doesn't fit is dropped and counted; all
 * miniature caches miss the same requests then, so that they can be compared as before.
 *
 * Two buffers: requests fill one under the cache's lock, which they hold anyway; whoever replays swaps them
 * under that lock and reads its own without. What a replay needs of the live cache comes with the note or, as
 * the cohorts do, as a copy of when the buffers were swapped: both are late by no more than the replay is.
 */
#ifndef TARN_EVICT_LATER_H
#define TARN_EVICT_LATER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#define TARN_LATER_NOTES 2048 /* of a buffer: 48 KiB */

enum tarn_note_kind {
    TARN_NOTE_HIT,    /**< a lookup that the live cache served */
    TARN_NOTE_MISS,   /**< one that it didn't */
    TARN_NOTE_STORE,  /**< an object has become resident */
    TARN_NOTE_DELETE, /**< one has gone for a reason that isn't the policy's */
};

/** Who is to hear of it. */
enum tarn_note_to { TARN_NOTE_TO_MIX = 1, TARN_NOTE_TO_TRIAL = 2, TARN_NOTE_TO_CONTEST = 4 };

struct tarn_note {
    uint64_t hash, now;
    uint16_t size; /**< the object's meta.size, */
    uint8_t tag, cost;
    uint8_t sketch; /**< what the live sketch says of the key, as in meta.sketch */
    uint8_t kind;   /**< enum tarn_note_kind */
    uint8_t to;     /**< enum tarn_note_to, or-ed */
};
_Static_assert(sizeof(struct tarn_note) == 24, "cheap to write");

struct tarn_later {
    struct tarn_note *filled, *replayed; /**< [TARN_LATER_NOTES] */
    uint32_t count;                      /**< of the filled buffer */
    uint32_t next, end;                  /**< of the other one: what is still to be replayed */
    uint64_t dropped;
};

/** TARN_NO_MEMORY. */
tarn_status tarn_later_init(struct tarn_later *later);
void tarn_later_free(struct tarn_later *later);
/** Under the cache's lock. True with the note that makes a buffer half full. */
static inline bool tarn_later_add(struct tarn_later *later, const struct tarn_note *note)
{
    if (later->count == TARN_LATER_NOTES) {
        later->dropped++;
        return false;
    }
    later->filled[later->count++] = *note;
    return later->count == TARN_LATER_NOTES / 2;
}
/** Under the lock, once all of the last ones are replayed: swaps the buffers. */
void tarn_later_swap(struct tarn_later *later);
size_t tarn_later_memory(void); /**< bytes of the buffers */

#endif
