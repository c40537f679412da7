/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Scores of one expert as ranks in [0, 1], comparable over rounds: a ring of its last 256 raw scores
 * and a sorted copy that is renewed now and then (docs/eviction.md, "Ranks"). Not thread-safe.
 */
#ifndef TARN_EVICT_RANKS_H
#define TARN_EVICT_RANKS_H

#include <stdbool.h>
#include <stdint.h>

#define TARN_RANKS_RING 256

struct tarn_ranks {
    float ring[TARN_RANKS_RING];
    float sorted[TARN_RANKS_RING]; /**< what it is shorter is filled up with infinity */
    float coarse[16];              /**< every 16th of it: the last of each 16 */
    uint64_t seen;                 /**< scores put in so far */
    uint64_t sorted_at;
    uint32_t length; /**< of the sorted copy; 0: not yet usable */
};

/** Adds raw scores of freshly drawn candidates. */
void tarn_ranks_add(struct tarn_ranks *ranks, const float *scores, uint32_t count);
/** False until 32 scores were seen. */
static inline bool tarn_ranks_ready(const struct tarn_ranks *ranks)
{
    return ranks->length > 0;
}
/** The rank of a raw score; below all seen it goes negative, so that the tail never ties. */
float tarn_ranks_of(const struct tarn_ranks *ranks, float score);

#endif
