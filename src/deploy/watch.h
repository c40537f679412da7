/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * After a swap: does the new version miss more than the one before? The new version, the one it is held
 * against (its base) and LRU run over the same requests (miniature caches of one share of the keys, see
 * src/evict/shadow.h; the cache itself counted on that share may stand for the new version), and their
 * misses are fed here now and then. The watch lasts max(2,000, 2 x resident objects) of these requests.
 *
 * Two e-values over blocks of requests (evalue.h), each with half of alpha, so that a version which is
 * as good as its base is rolled back with a probability of at most alpha, however often one looks:
 * - misses above the base's: at 2 / alpha it is rolled back;
 * - misses above (1 + slack) LRU's: at 2 / alpha it is rolled back if its base has stayed within that so
 *   far; else it is said to be behind LRU, as its base was: that is for the drift detectors.
 * Paired requests make the difference small against each one's noise; what is left to say is that a
 * difference of 2 % needs some 10,000 requests, and one of 10 % some 1,000 (docs/deploy.md has the table).
 *
 * Where steps go live more often than a watch lasts, the base stays that of the first of them until
 * a watch is over: a slow decline in many small steps adds up in it.
 *
 * Pure but for tarn_watch_roll_back(). One thread at a time.
 */
#ifndef TARN_DEPLOY_WATCH_H
#define TARN_DEPLOY_WATCH_H

#include "evalue.h"
#include "slot.h"

#define TARN_WATCH_LEAST 2000 /* requests */

typedef enum tarn_watch_verdict {
    TARN_WATCH_GOES_ON,
    TARN_WATCH_KEEP,      /**< it is over: no worse as far as can be seen */
    TARN_WATCH_BEHIND,    /**< it goes on; worse than LRU, and so was the base */
    TARN_WATCH_ROLL_BACK, /**< worse than the base */
} tarn_watch_verdict;

struct tarn_watch_params {
    uint64_t resident; /**< objects that the arm or the miniature cache holds */
    double alpha;      /**< of rolling an equally good one back; 0: 0.01 */
    double notice;     /**< the relative difference to be noticed; 0: 0.02 */
    double slack;      /**< towards LRU, relative; 0: 0.05 */
};

/** Since the last call, over the same requests. */
struct tarn_watch_counts {
    uint64_t requests, misses;
    uint64_t base_misses, lru_misses;
};

struct tarn_watch {
    struct tarn_watch_params params;
    struct tarn_watch_counts total, block;
    struct tarn_evalue worse, behind;
    uint64_t horizon; /**< requests; but it lasts until there were enough blocks, too */
    uint32_t block_size, blocks;
    bool is_behind;
    tarn_watch_verdict verdict;
};

/** TARN_INVALID: a probability or difference outside (0, 1). */
tarn_status tarn_watch_init(struct tarn_watch *watch, const struct tarn_watch_params *params);
/** KEEP and ROLL_BACK are final. Feed it at least once in 32 requests to be told as soon as can be: a feed is one
 * observation, however long, and takes as many. */
tarn_watch_verdict tarn_watch_feed(struct tarn_watch *watch,
                                   const struct tarn_watch_counts *counts);
/** Fills in reason, figures and text of a change; requests and unix_ms are the caller's to set. */
void tarn_watch_explain(const struct tarn_watch *watch, struct tarn_change *change, char *text,
                        size_t room);
/**
 * Goes back from version `from` to `base` (0: its nearest ancestor that hasn't failed), with what the
 * watch has seen in the history: `from` is kept for inspection, and one equal to it waits for the slot's
 * cool-down. Errors are tarn_slot_rollback()'s: TARN_BUSY if another version is live by now.
 */
tarn_status tarn_watch_roll_back(const struct tarn_watch *watch, tarn_slot *slot, uint64_t from,
                                 uint64_t base, uint64_t requests, int64_t unix_ms,
                                 uint64_t *version, struct tarn_error *error);

#endif
