/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A miniature cache of metadata only: what one expert alone would have kept of a hash-sampled share of
 * the keys (Waldspurger et al., "Cache modeling and optimization using miniature simulations", ATC
 * 2017). Not thread-safe: under the cache's lock.
 */
#ifndef TARN_EVICT_SHADOW_H
#define TARN_EVICT_SHADOW_H

#include "evictor.h"

struct tarn_shadow {
    struct tarn_table table;
    struct tarn_capacity capacity;
    struct tarn_evictor evictor;
};

struct tarn_shadow_params {
    struct tarn_world *world;
    tarn_expert expert;
    const struct tarn_bundle *bundle; /**< that scores, if it isn't the live one; must outlive it */
    float share;                      /**< of the keys */
    uint64_t limit;                   /**< of the shadow, in the unit of the cache */
    uint32_t expected;                /**< objects that it will hold */
    bool bytes;
    uint64_t seed;
};

tarn_status tarn_shadow_init(struct tarn_shadow *shadow, const struct tarn_shadow_params *params);
void tarn_shadow_free(struct tarn_shadow *shadow);
/**
 * `to` becomes a twin of `from`, of the same parameters: with one model for both they would do the same from
 * here on. It keeps its own model. TARN_NO_MEMORY: it stays what it was.
 */
tarn_status tarn_shadow_copy(struct tarn_shadow *to, const struct tarn_shadow *from);

/** A lookup: true if this cache would have held the object; a miss stores nothing. */
bool tarn_shadow_get(struct tarn_shadow *shadow, uint64_t hash, uint64_t now);
/** Stores an object if it isn't there; its charge is a resident's meta.size. */
void tarn_shadow_put(struct tarn_shadow *shadow, uint64_t hash, uint16_t size, uint64_t now);
void tarn_shadow_delete(struct tarn_shadow *shadow, uint64_t hash, uint64_t now);
size_t tarn_shadow_memory(const struct tarn_shadow *shadow);

#endif
