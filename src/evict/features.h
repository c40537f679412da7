/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the network sees of an object: 28 numbers in [-4, 4), in steps of 1/32, so that they fit into
 * a byte each (the table in docs/eviction.md; slots 6 to 8 are unused). Pure functions.
 */
#ifndef TARN_EVICT_FEATURES_H
#define TARN_EVICT_FEATURES_H

#include "base/lg.h"
#include "cache/meta.h"
#include "cohort.h"
#include "model/model.h"

/** Slow averages of what a cache does. */
struct tarn_rates {
    float miss_ratio;  /**< of lookups */
    float one_hit;     /**< of evicted objects that were never hit */
    float hit_gap;     /**< lam of the gap, on hits */
    float evicted_age; /**< lam of the age, on evictions */
};

/** What is the same for all candidates of a round. */
struct tarn_feature_frame {
    const struct tarn_cohorts *cohorts;
    const struct tarn_rates *rates;
    uint64_t now;
    float period; /**< T, requests */
    float lg_period;
    float lg_mean_size;
    bool bytes;          /**< objects differ in size */
    uint64_t slice;      /**< the cohorts' one of `now`, */
    uint32_t into_slice; /**< and how many requests ago it began */
};

struct tarn_feature_frame tarn_feature_frame(const struct tarn_cohorts *cohorts,
                                             const struct tarn_rates *rates, uint64_t now,
                                             float period, float mean_size, bool bytes);

#define TARN_FEATURE_LANES 16 /**< layout.h's TARN_LANES */

/** Those of `count` objects, 1 to TARN_FEATURE_LANES, as a tile of layout.h; zeros in the lanes beyond. */
void tarn_features_tile(const struct tarn_feature_frame *frame,
                        const struct tarn_meta *const *metas, uint32_t count, float *tile);
/** One object's of a tile, in units of TARN_FEATURE_STEP. */
static inline void tarn_features_of_lane(const float *tile, uint32_t lane,
                                         int8_t out[TARN_FEATURES])
{
    for (int f = 0; f < TARN_FEATURES; f++)
        out[f] = (int8_t)(tile[f * TARN_FEATURE_LANES + lane] * (1.0f / TARN_FEATURE_STEP));
}
/** The same of one object, in units of TARN_FEATURE_STEP. */
void tarn_features(const struct tarn_feature_frame *frame, const struct tarn_meta *meta,
                   int8_t out[TARN_FEATURES]);

static inline float tarn_clamp(float x, float low, float high)
{
    x = x < low ? low : x; /* two choices, of which a compiler makes no jumps */
    return x > high ? high : x;
}

/** A duration on the network's scale: clamp(lg((requests + 1) / T), -14, 7) / 4. */
static inline float tarn_lam(float requests, float lg_period)
{
    return tarn_clamp(tarn_lg(requests + 1.0f) - lg_period, -14.0f, 7.0f) * 0.25f;
}

/** A gap as metadata keep it, and back. */
static inline uint8_t tarn_gap_encode(uint32_t requests)
{
    float eighths = tarn_lg((float)requests + 1.0f) * 8.0f + 0.5f;
    return eighths < 0 ? 0 : eighths > 254.0f ? 254 : (uint8_t)eighths;
}

static inline float tarn_gap_lg(uint8_t gap)
{
    return (float)gap * 0.125f;
}

/** 64-bit time of a 32-bit stamp that is not newer than `now`. */
static inline uint64_t tarn_time_of(uint64_t now, uint32_t stamp)
{
    return now - (uint32_t)((uint32_t)now - stamp);
}

#endif
