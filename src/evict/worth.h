/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a miss costs the caller, as far as it is known: the means that stand for what isn't. Pure
 * functions, under the cache's lock.
 */
#ifndef TARN_EVICT_WORTH_H
#define TARN_EVICT_WORTH_H

#include <stdint.h>

#include "base/lg.h"
#include "cache/policy.h"

#define TARN_COST_WEIGHT_MOST                                                                      \
    32.0f /* mean costs: beyond it one miss would decide over all others */

/** Of the objects that were stored with a cost; all zero: there was none. */
struct tarn_costs {
    float mean_lg; /**< of the us: what an unknown cost counts as among scores */
    float mean;    /**< in us: what misses are weighed by */
    uint32_t seen; /**< saturating */
};

/** An object is stored, or stored again, at this cost (of the metadata); 0 teaches nothing. */
static inline void tarn_costs_note(struct tarn_costs *costs, unsigned cost)
{
    const uint32_t memory = 4096; /* stores */
    if (cost == 0)
        return;
    if (costs->seen < memory)
        costs->seen++;
    float lg = tarn_cost_from_meta_lg(cost), rate = 1.0f / (float)costs->seen;
    costs->mean_lg += rate * (lg - costs->mean_lg);
    costs->mean += rate * (tarn_exp2(lg) - costs->mean);
}

/** lg of a miss's cost in us; the mean's where it isn't known. */
static inline float tarn_costs_lg(const struct tarn_costs *costs, unsigned cost)
{
    return cost > 0 ? tarn_cost_from_meta_lg(cost) : costs->mean_lg;
}

/** A miss in mean costs, at most TARN_COST_WEIGHT_MOST; 1 where nothing is known. */
static inline float tarn_costs_weight(const struct tarn_costs *costs, unsigned cost)
{
    if (cost == 0 || !(costs->mean > 0))
        return 1.0f;
    float weight = tarn_exp2(tarn_cost_from_meta_lg(cost)) / costs->mean;
    return weight < TARN_COST_WEIGHT_MOST ? weight : TARN_COST_WEIGHT_MOST;
}

#endif
