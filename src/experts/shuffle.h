/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What shuffling would change: a stream, and the same stream with its order lost within some thousand
 * requests, go by two small LRU tables. Independent requests answer alike in both; where what was wanted lately is
 * wanted again, the order is worth something, and where there are loops it does harm. So recency is told
 * from popularity, at several depths, by what these words mean.
 *
 * Fixed memory, no allocation. Not thread-safe.
 */
#ifndef TARN_EXPERTS_SHUFFLE_H
#define TARN_EXPERTS_SHUFFLE_H

#include <stdint.h>

#define TARN_SHUFFLE_DEPTHS 4 /* 64, 128, 256 and 512 keys */

enum {
    TARN_SHUFFLE_SETS = 64,
    TARN_SHUFFLE_WAYS = 8,
    TARN_SHUFFLE_HELD = 512, /* requests within which the order is lost, at most, on the mean */
};

/** Of the stream as it is, and of the one without order. All floats, so that they fade as one. */
struct tarn_shuffle_sums {
    float asked[2];
    float hits[2][TARN_SHUFFLE_DEPTHS]; /**< at that depth, and not before */
};

/** All zeros but for `room` is an empty one. Keys are tags that aren't 0. */
struct tarn_shuffle {
    uint32_t way[2][TARN_SHUFFLE_SETS][TARN_SHUFFLE_WAYS]; /* the latest first */
    uint32_t held[TARN_SHUFFLE_HELD];
    uint8_t held_set[TARN_SHUFFLE_HELD];
    uint32_t
        room; /**< up to TARN_SHUFFLE_HELD; after a change, what was before shows for about as long */
    uint32_t count, random;
    struct tarn_shuffle_sums now; /**< for the caller to take and clear */
};

/** A request; `set` below TARN_SHUFFLE_SETS, a function of the key. */
void tarn_shuffle_access(struct tarn_shuffle *shuffle, uint32_t tag, uint32_t set);

/** What order is worth: share of the hits down to each depth, less that without it; 0 where nothing is known. */
void tarn_shuffle_worth(const struct tarn_shuffle_sums *sums, float worth[TARN_SHUFFLE_DEPTHS]);

#endif
