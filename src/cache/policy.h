/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What decides which object leaves, as the cache sees it: a table of functions. Queue-structured
 * policies (LRU, S3-FIFO) implement it straight; scorers are driven by rounds (src/evict), which
 * implement it for them. All calls come under the cache's lock and must neither block nor allocate
 * once warm.
 */
#ifndef TARN_CACHE_POLICY_H
#define TARN_CACHE_POLICY_H

#include "table.h"

typedef enum tarn_remove_reason {
    TARN_REMOVE_EVICTED,
    TARN_REMOVE_DELETED,
    TARN_REMOVE_EXPIRED,
} tarn_remove_reason;

/** Two parts of the key space that have a capacity each, while a model is tried on one of them. */
typedef enum tarn_arm {
    TARN_ARM_CANARY,  /**< the table's first segments */
    TARN_ARM_CONTROL, /**< the others */
    TARN_ARMS,
} tarn_arm;

/** How full the cache is, as policies need it. */
struct tarn_capacity {
    uint64_t limit; /**< bytes or objects */
    uint64_t used;  /**< in the same unit */
    bool bytes;     /**< the unit is bytes: objects differ in size */
    /** Segments of the table that are the canary's arm; 0: there are no arms. */
    uint32_t arm_segments;
    uint64_t arm_limit[TARN_ARMS], arm_used[TARN_ARMS];
};

struct tarn_policy_ops {
    const char *name;
    void (*destroy)(void *policy);
    /** A lookup found `slot`. `now` counts lookups (64 bits). */
    void (*hit)(void *policy, uint32_t slot, uint64_t now);
    /** A lookup found nothing. */
    void (*miss)(void *policy, uint64_t hash, uint64_t now);
    /** `slot` has just become resident; its charge is in meta.size and `charge`. */
    void (*insert)(void *policy, uint32_t slot, uint64_t charge, uint64_t now);
    /** The value of a resident was replaced; its charge may have changed. */
    void (*update)(void *policy, uint32_t slot, uint64_t charge, uint64_t now);
    /** `slot` is about to leave: unlink it. */
    void (*remove)(void *policy, uint32_t slot, tarn_remove_reason reason, uint64_t now);
    /** The resident to evict next; called with count > 0, repeatedly until there is room. */
    uint32_t (*victim)(void *policy, uint64_t now);
    /** The same of one arm, which has residents. NULL: the policy can't be split into arms. */
    uint32_t (*victim_of)(void *policy, tarn_arm arm, uint64_t now);
    /** Bytes that the policy holds; may be NULL: not counted. */
    size_t (*memory)(const void *policy);
};

/**
 * A policy as a value. `create` gets the cache's table and capacity, which both outlive the policy
 * and change under the cache's lock.
 */
struct tarn_policy {
    const struct tarn_policy_ops *ops;
    void *self;
};

tarn_status tarn_policy_lru_create(struct tarn_table *table, const struct tarn_capacity *capacity,
                                   struct tarn_policy *policy);
tarn_status tarn_policy_s3fifo_create(struct tarn_table *table,
                                      const struct tarn_capacity *capacity,
                                      struct tarn_policy *policy);

/** Charge to meta.size, and back to bytes (approximately). */
uint16_t tarn_size_to_meta(uint64_t charge);
float tarn_size_from_meta_lg(uint16_t size); /**< lg of the charge */

/** Miss cost in us to meta.cost, in steps of 3/8 octave from 1 us to 8 s; 0 stays 0. */
#define TARN_COST_MOST 63
uint8_t tarn_cost_to_meta(float us);
float tarn_cost_from_meta_lg(unsigned cost); /**< lg of the us; of 0 too: 0 */

#endif
