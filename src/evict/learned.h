/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The learned policy as the cache sees it: one live evictor, the world, the mix with its shadows.
 */
#ifndef TARN_EVICT_LEARNED_H
#define TARN_EVICT_LEARNED_H

#include "mix.h"

struct tarn_learned {
    struct tarn_world world;
    struct tarn_evictor live;
    struct tarn_mix mix;
    bool shadows; /**< run them */
    uint64_t seed;
    float samples_per_period; /**< the ring's size over the T that it is to cover */
};

struct tarn_learned_params {
    const struct tarn_model *model; /**< must outlive the policy; may be written under the lock */
    struct tarn_observer observer;
    bool goal_bytes;
    bool shadows;
    uint32_t device_limit; /**< victims of one round that a device scores at most; 0: none does */
    uint32_t device_share; /**< and one in so many residents */
    uint32_t ring;         /**< samples that the observer holds: sets the rate of sampling */
    uint64_t seed;
    uint64_t now; /**< where the cache's request count begins */
};

/** `*learned` is freed through policy->ops->destroy. */
tarn_status tarn_learned_create(const struct tarn_learned_params *params, struct tarn_table *table,
                                const struct tarn_capacity *capacity, struct tarn_policy *policy,
                                struct tarn_learned **learned);

/** Bytes held beside the cache's table. Under the lock. */
size_t tarn_learned_memory(const struct tarn_learned *learned);

#endif
