/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the cache remembers of an object beside its key: 48 bytes while it is resident, 24 as a
 * ghost. Times are the cache's request count modulo 2^32; differences are taken modulo 2^32 as
 * well.
 */
#ifndef TARN_CACHE_META_H
#define TARN_CACHE_META_H

#include <stdint.h>

#define TARN_NONE       0xffffffffu /* no slot */
#define TARN_GAPS       4
#define TARN_GAP_ABSENT 255 /* a gap that was never seen */

enum tarn_meta_flags {
    TARN_META_GHOST = 1,   /* its history was known when it was inserted */
    TARN_META_SAMPLED = 2, /* has training samples that wait for its next access */
    TARN_META_QUEUE = 4,   /* policies: which of two queues */
    TARN_META_WAITS =
        4, /* the learned one has none: a hit of it waits to be taken into its history */
};

/** Cleared to zeros when an object is inserted; what each field means is up to the policy. */
struct tarn_meta {
    uint32_t last; /**< last access */
    uint32_t inserted;
    uint8_t gap[TARN_GAPS]; /**< lg(gap + 1) in eighths, newest first */
    uint16_t freq;          /**< accesses in the known history, saturating */
    uint16_t hits;          /**< accesses since insertion, which counts 1, saturating */
    uint16_t decayed;       /**< lg of the decayed access count, in 1/2048 */
    uint16_t size;          /**< lg of the charge in bytes, in 1/1024 */
    uint32_t due;           /**< when its check is due */
    uint32_t prev, next;    /**< links of the list that it is in, TARN_NONE at the ends */
    uint32_t position;      /**< in the array of residents; kept by the table */
    float priority;         /**< GreedyDual's */
    uint32_t expires; /**< second (of the cache's clock, rounded up) when it may go; 0: never */
    uint16_t flags : 3;
    uint16_t level : 4; /**< of the check wheel */
    uint16_t tag : 3;   /**< that came with it; 0: none */
    uint16_t cost : 6;  /**< of a miss: meta units, see tarn_cost_to_meta(); 0: not known */
    uint8_t sketch;     /**< estimate at the last access (low nibble), its epoch (high nibble) */
    uint8_t stamp;      /**< of the round that drew it last */
};
_Static_assert(sizeof(struct tarn_meta) == 48, "metadata of a resident");

#endif
