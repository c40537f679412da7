/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a stream of requests looks like, from the hashes of its keys alone, in fixed memory: how far back
 * the returns reach, whether they come at constant times or in the order of the last time, how new keys
 * arrive and how known ones die, how skewed and how steady it all is.
 *
 * It stands on a cascade of small LRU tables. The first holds the 512 keys that came last; what falls out
 * of it and is sampled by its hash, one key in eight, falls into the second, from there one in eight into
 * the third, and so on: tier t holds 512 keys that stand for 512 * 8^t distinct ones, and a return that
 * tier t finds has a stack distance of about that. Hot keys never leave the first tier, so that sampling
 * by keys (Waldspurger et al., "Efficient MRC construction with SHARDS", FAST 2015) has none of its noise
 * from them. Each tier's figures fade at a pace that suits the times that it sees.
 *
 * Time is counted in the stream's own requests: clocks have no say. No allocation after creation. Not
 * thread-safe.
 */
#ifndef TARN_EXPERTS_STREAM_H
#define TARN_EXPERTS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#define TARN_STREAM_TIERS    4
#define TARN_STREAM_KEYS     512  /* of a tier */
#define TARN_STREAM_STEP     3    /* lg of how much sparser each tier is */
#define TARN_STREAM_PERIOD   2048 /* requests between two looks at the figures */
#define TARN_STREAM_FEATURES 64
#define TARN_STREAM_STEADY                                                                         \
    56 /* the first of them: those that mean something over a long time, too */

struct tarn_stream;

/** TARN_NO_MEMORY. At most 64 KiB. */
tarn_status tarn_stream_create(struct tarn_stream **stream);
void tarn_stream_destroy(struct tarn_stream **stream);
/** Bytes of a stream. */
size_t tarn_stream_memory(void);

/**
 * A request for the key of that hash (64 good bits). `size_lg`: lg of the object's size, in any unit that
 * is kept to; negative if it isn't known. True when the features are new: after 256, 512, 1024 requests, then every
 * TARN_STREAM_PERIOD.
 */
bool tarn_stream_access(struct tarn_stream *stream, uint64_t hash, float size_lg);
/** The size of an object that is stored because it was asked for and not there. */
void tarn_stream_size(struct tarn_stream *stream, uint64_t hash, float size_lg);
/** Requests so far. */
uint64_t tarn_stream_requests(const struct tarn_stream *stream);
/** An overwrite: no access, but part of the mix of reads and writes. */
void tarn_stream_write(struct tarn_stream *stream);

/** The features as a network takes them, in steps of 1/32 (net/net.h's TARN_FEATURE_STEP). */
void tarn_stream_features(const struct tarn_stream *stream, int8_t features[TARN_STREAM_FEATURES]);

/** Figures for people, of the last few thousand requests; 0 where nothing is known yet. */
struct tarn_stream_figures {
    uint64_t requests;
    /** Share of the requests whose key is among the last 512, 4 K, 32 K, 256 K distinct ones. */
    float within[TARN_STREAM_TIERS];
    float unseen; /**< share of the requests for keys that are not: new, or long forgotten */
    float
        one_hit; /**< share of the keys wanted once only, of those that fell out of the first tier */
    float constant;   /**< share of the returns that come after the same time as the one before */
    float ordered;    /**< share of the returns that come in the order of the last time */
    float top;        /**< share of the requests for the hottest key */
    float burstiness; /**< variance of misses in 64 requests over that of independent ones */
    float
        change; /**< distance between the last 8 K requests' returns and the last 64 K's, in [0, 1] */
    float write_share;    /**< overwrites, of all requests */
    float size_lg;        /**< mean of the sizes' logarithms to the base of 2 */
    float size_lg_spread; /**< and their standard deviation */
};
void tarn_stream_get_figures(const struct tarn_stream *stream, struct tarn_stream_figures *figures);

#endif
