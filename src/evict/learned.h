/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The learned policy as the cache sees it: one live evictor, the world, the mix with its shadows.
 */
#ifndef TARN_EVICT_LEARNED_H
#define TARN_EVICT_LEARNED_H

#include "later.h"
#include "mix.h"
#include "trial.h"

/** Told of the stream of requests, under the cache's lock. All functions or none. */
struct tarn_listener {
    void *context;
    /** A lookup; `size_lg` is lg of the object's charge, negative if it isn't there. */
    void (*access)(void *context, uint64_t hash, float size_lg);
    /** An object that wasn't there is stored. */
    void (*store)(void *context, uint64_t hash, float size_lg);
    /** An object is overwritten. */
    void (*overwrite)(void *context);
};

/** What is given up when requests come faster than they are served, the cheapest loss first. */
typedef enum tarn_relief {
    TARN_RELIEF_NONE,
    TARN_RELIEF_HALF_SHADOWS, /**< shadows see half as many keys */
    TARN_RELIEF_SHORT_ROUNDS, /**< and rounds draw fewer candidates for a victim */
    TARN_RELIEF_NO_SHADOWS,   /**< and the experts' weights stay as they are */
    TARN_RELIEFS,
} tarn_relief;

/** CPU time of the policy's part of requests, from one request in 128. */
struct tarn_timed {
    uint64_t ns, requests;
};

#define TARN_LEARNED_MISSED 64

struct tarn_learned {
    struct tarn_world world;
    /**
     * That of the miniature caches: the same, or, where they hear of requests later, one of its own that
     * follows it.
     */
    struct tarn_world *small_world;
    struct tarn_later later; /**< used in that case */
    struct tarn_hits hits;   /**< likewise */
    uint8_t noted;           /**< what the sketch says of the key that is being replayed, */
    float floor;             /**< and L of GreedyDual as of the last replay */
    struct tarn_evictor live;
    struct tarn_evictor *canary; /**< finds the canary arm's victims; NULL: there is no such arm */
    struct tarn_mix mix;
    struct tarn_trial *contest; /**< the same, of ways to combine networks */
    struct tarn_trial *trial; /**< told of what happens; the owner's, who sets it under the lock */
    struct tarn_listener listener; /**< told of what is asked for */
    bool shadows;                  /**< run them */
    float most_cost;               /**< of the shadows; see struct tarn_mix_params */
    tarn_relief relief;
    bool times; /**< somebody asks for `timed`; the owner's, who sets it under the lock */
    struct tarn_timed timed;
    uint64_t seed;
    double mix_rate, mix_half_life; /**< of the mix, once it runs; 0: its own */
    float samples_per_period;       /**< the ring's size over the T that it is to cover */
    /** With goal_cost, while residents are told apart: what misses cost by segment, in mean costs. They count when the object is stored. */
    double segment_cost[TARN_TABLE_SEGMENTS];
    uint64_t
        missed[TARN_LEARNED_MISSED]; /**< keys that were asked for and aren't stored yet, mostly */
};

struct tarn_learned_params {
    struct tarn_slot_reader
        *reader; /**< of the live version; this lock's; must outlive the policy */
    /**
     * Another, of the thread that calls tarn_learned_replay(): the miniature caches hear of requests from there,
     * and whatever is done with them but noting requests is that thread's, or under a lock that it holds beside
     * the cache's. NULL: they hear at once, under the cache's lock.
     */
    struct tarn_slot_reader *later_reader;
    struct tarn_observer observer;
    struct tarn_listener listener; /**< zeros: nobody listens */
    bool goal_bytes;
    bool goal_cost; /**< not both */
    bool shadows;
    uint32_t
        members; /**< an ensemble's other networks that are experts of their own; needs shadows */
    float most_cost; /**< that the shadows may take; see struct tarn_mix_params; 0: a default */
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

/**
 * From the next tarn_cache_set_arms() on, the canary's arm is evicted by `candidate` (must outlive the
 * arms; the network's shape may be another) in rounds of its own, with ranks and a pool of its own: what
 * the model says is compared only with what it says of other objects of this arm. Histories, ghosts, the
 * experts' weights and the averages among the features stay common to both arms. With the live model as
 * `candidate` both arms are alike, but for their keys: for calibration. Under the lock. TARN_NO_MEMORY.
 */
tarn_status tarn_learned_split(struct tarn_learned *learned, const struct tarn_bundle *candidate);
/** After tarn_cache_end_arms(), under the same hold of the lock. */
void tarn_learned_merge(struct tarn_learned *learned);

/** From the next request on; each includes those before it. Under the lock. A few ns. */
void tarn_learned_relieve(struct tarn_learned *learned, tarn_relief relief);

/** How quickly experts' weights follow, from here on; see tarn_mix_set_pace(). Under the lock. */
void tarn_learned_set_mix(struct tarn_learned *learned, double rate, double half_life);

/**
 * Where miniature caches hear of requests later, these three in turn, by one thread at a time. Under the lock:
 * true if there is something to replay. `least`: notes that are worth it.
 */
bool tarn_learned_take_notes(struct tarn_learned *learned, uint32_t least);
/** Without the lock: replays up to `most` notes. True if more are left. A few us each. */
bool tarn_learned_replay(struct tarn_learned *learned, uint32_t most);
/** Under the lock: what came of it takes effect. */
void tarn_learned_settle(struct tarn_learned *learned);

/** Since the last call: on the threads that made the requests. Under the lock. */
struct tarn_timed tarn_learned_take_time(struct tarn_learned *learned);

/** Bytes held beside the cache's table. Under the lock. */
size_t tarn_learned_memory(const struct tarn_learned *learned);

#endif
