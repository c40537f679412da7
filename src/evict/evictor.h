/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The learned policy's machinery over one table of residents: histories, ghosts, check wheel,
 * candidate rounds with a pool, scores of several experts mixed by weights. The live cache and each
 * miniature shadow cache have one evictor; they share a `struct tarn_world`, which the live one writes.
 * docs/eviction.md. Under the cache's lock.
 */
#ifndef TARN_EVICT_EVICTOR_H
#define TARN_EVICT_EVICTOR_H

#include "base/rng.h"
#include "cache/ghost.h"
#include "cache/policy.h"
#include "cohort.h"
#include "deploy/slot.h"
#include "features.h"
#include "opinion.h"
#include "ranks.h"
#include "sketch.h"
#include "wheel.h"
#include "worth.h"

#define TARN_EXPERTS 4 /* the network and heuristics */
#define TARN_EXPERTS_MOST                                                                          \
    (TARN_EXPERTS + TARN_BUNDLE_MEMBERS - 1) /* and an ensemble's other networks */
/* Candidates that are kept from one round to the next; where sizes differ the right one is rarer. */
#define TARN_POOL_OBJECTS 64
#define TARN_POOL_BYTES   256
#define TARN_POOL_MAX     TARN_POOL_BYTES
#define TARN_LIST_MAX     256
/* Victims of a round where the host scores: at most so many, and one in so many residents. */
#define TARN_LIST_OBJECTS  8
#define TARN_SHARE_OBJECTS 512
#define TARN_LIST_BYTES    4
#define TARN_SHARE_BYTES   1024
#define TARN_ROUND_MAX     (TARN_POOL_MAX + TARN_LIST_MAX * 32)
#define TARN_SHADOW_ROUND  (TARN_POOL_MAX + 32 * 8)

typedef enum tarn_expert {
    TARN_EXPERT_NET,    /**< the network's Gittins index */
    TARN_EXPERT_LFU,    /**< decayed frequency, half-life 16 T */
    TARN_EXPERT_STICKY, /**< the same with a bonus for long residence: resists scans */
    TARN_EXPERT_LIRS,   /**< inter-reference recency; a sketch where no gap is known */
    TARN_EXPERT_GDSF,   /**< GreedyDual-Size-Frequency (Cherkasova 1998) */
    TARN_EXPERT_MEMBER, /**< the network of the version's member 1 alone; + 1 of member 2, ... */
} tarn_expert;

/** Who wants to know what happens: the sample ring of src/learn, through the engine. */
struct tarn_observer {
    void *context;
    /** A candidate as it was scored. True if it was kept, so that its next access is to be told. */
    bool (*sample)(void *context, uint64_t hash, uint8_t tag, const int8_t features[TARN_FEATURES],
                   uint64_t now, float period);
    /** The key was wanted again at `now`, or can't be any more (deleted, overwritten, expired). */
    void (*resolve)(void *context, uint64_t hash, uint64_t now, bool wanted);
};

/** What the live evictor and its shadows share. */
struct tarn_world {
    struct tarn_cohorts cohorts;
    struct tarn_sketch sketch;
    /** Of the live version: a round holds one reference from drawing to scoring. */
    struct tarn_slot_reader *reader;
    struct tarn_observer observer;
    const struct tarn_meta
        *told; /**< the live one's object that shadows are about to store; NULL: not known */
    /** What the sketch said of the key when it was asked for, where shadows hear of that later; else NULL. */
    const uint8_t *noted;
    /** Another quarter of the live one's list is used up; cheap; NULL: nobody wants to know. */
    void (*low)(void *context);
    void *low_context;
    struct tarn_opinion *opinion; /**< asked about the live one's rounds; NULL: nobody is */
    bool bytes;                   /**< objects differ in size */
    bool goal_bytes;              /**< byte hit ratio is the goal: size doesn't count */
    bool goal_cost;               /**< the sum of what misses cost is the goal */
    struct tarn_costs costs;      /**< of the live one's objects, with that goal */
    float sample_share;           /**< samples a request */
    bool keep_short;              /**< under load: fewer fresh candidates */
    float explore;                /**< the live rounds draw so many times as many; 0 is 1 */
    const float *gdsf_floor;      /**< L of GreedyDual, from that expert's shadow */
    /** Units of an elastic network that rounds compute, from the next one on; 0: all. */
    uint32_t width;
    bool exits; /**< they leave its second layer out */
};

/** What scores add to lg of the chance that the object is wanted again: what hitting it is worth. */
static inline float tarn_world_worth(const struct tarn_world *world, const struct tarn_meta *meta)
{
    float worth = world->bytes && !world->goal_bytes ? -(float)meta->size * 0x1p-10f : 0.0f;
    return world->goal_cost ? worth + tarn_costs_lg(&world->costs, meta->cost) : worth;
}

struct tarn_pool_entry {
    uint32_t slot;
    uint32_t last;   /**< the object's last access when it was scored */
    uint32_t scored; /**< when that was */
    float score;
};

/** One set of drawn candidates with what the experts say of them; scratch of a round. */
struct tarn_round {
    uint32_t count; /**< candidates: pooled ones to be rescored, then fresh ones */
    uint32_t stale; /**< how many of them were in the pool */
    uint32_t room;
    uint64_t now;                     /**< when they were drawn */
    const struct tarn_bundle *bundle; /**< what scores them, from draw() to leave(); else NULL */
    uint64_t version;                 /**< its number */
    uint32_t width;                   /**< the world's, when they were drawn */
    bool exits;                       /**< and this */
    uint32_t slice;                   /**< what that comes to for its network */
    uint32_t experts;
    float weight[TARN_EXPERTS_MOST]; /**< 0 where it is below `unused` */
    bool net;                        /**< a network has a say: the tiles are written */
    bool tagged;                     /**< it has networks of tags, and `tag` is filled */
    uint32_t *slot;                  /**< [room] */
    uint32_t *last;                  /**< [room] */
    uint8_t *tag;                    /**< [room] */
    float *raw;                      /**< [experts][room] */
    float *mixed;                    /**< [room], behind raw: what the experts say together */
    float *tiles;                    /**< features for the network, layout.h's tiles */
    bool borrowed;                   /**< the tiles are a device buffer's */
    bool ahead; /**< it is drawn while there are victims left, as for a device: it is larger */
    uint32_t at_once; /**< victims that it adds to a list at most; 0: as many as are missing */
};

/** Rounds in which an expert gave a score that is no number, so that it had no say. */
struct tarn_unsound {
    uint64_t rounds;
    uint64_t version;  /**< that scored the last of them */
    uint32_t in_a_row; /**< of the network, by that version */
    bool stands_in;    /**< nobody was left: frequency alone decided */
    uint32_t out; /**< experts without a say in the last round of all: bit k is tarn_expert k */
};

/**
 * Hits whose objects' histories are to be extended: of many at once, so that their memory is waited for together
 * instead of under a lock each. Meanwhile only meta.last is up to date.
 */
#define TARN_HITS_MOST 64
struct tarn_hits {
    uint32_t count;
    uint32_t slot[TARN_HITS_MOST];
    uint32_t last[TARN_HITS_MOST]; /**< access before it */
    uint64_t now[TARN_HITS_MOST];
};

struct tarn_evictor {
    struct tarn_table *table;
    const struct tarn_capacity *capacity;
    struct tarn_world *world;
    bool live;                        /**< writes the world and logs samples */
    float share;                      /**< of the keys that it sees: 1 for the live one */
    tarn_arm arm;                     /**< whose residents it draws from; TARN_ARMS: of all */
    const struct tarn_bundle *bundle; /**< that it scores with; NULL: the live version */
    struct tarn_hits *hits;           /**< the owner's; NULL: none wait */
    bool ranks_priority;              /**< an expert of its goes by meta.priority */
    tarn_ghosts *ghosts;
    struct tarn_wheel wheel;
    struct tarn_rng rng;

    float period;       /**< T, requests */
    uint64_t period_at; /**< when it was last brought up to date */
    float lg_period;    /**< of that T whose logarithm it is */
    float lg_of;
    float mean_size; /**< of residents, bytes */
    struct tarn_rates rates;
    uint32_t evictions;
    float sample_credit;

    uint32_t experts;
    tarn_expert expert[TARN_EXPERTS_MOST];
    float weight[TARN_EXPERTS_MOST];
    struct tarn_ranks ranks[TARN_EXPERTS_MOST];
    float gdsf_floor; /**< L: the largest priority evicted */

    uint32_t list_limit;   /**< most victims of one round, */
    uint32_t list_share;   /**< and one in so many residents */
    uint32_t device_limit; /**< the same for rounds that a device scores; 0: there are none */
    uint32_t device_share;
    struct tarn_pool_entry *pool; /**< [a round's most + TARN_POOL_MAX + TARN_LIST_MAX] */
    uint64_t *order;              /**< [as many], scratch of a round's end */
    uint32_t pool_count;
    uint64_t pool_version; /**< that scored them, */
    uint32_t pool_slice;   /**< by this much of its network */
    struct tarn_pool_entry list[TARN_LIST_MAX];
    uint32_t list_count, list_next;
    uint64_t list_version;
    uint32_t list_slice;
    uint32_t filled_at; /**< `evictions` when a round was last finished that was drawn ahead */
    uint32_t reserve;   /**< victims that a dry list may take from the pool */
    uint8_t stamp;
    struct tarn_round round;

    uint64_t rounds, scores; /**< counters */
    struct tarn_unsound unsound;
};

struct tarn_evictor_params {
    struct tarn_table *table;
    const struct tarn_capacity *capacity;
    struct tarn_world *world;
    bool live;
    bool no_history; /**< only finds victims: the hooks are another one's, over the same table */
    float share;
    const struct tarn_bundle
        *bundle;      /**< NULL: the live version; must outlive the evictor otherwise */
    uint32_t experts; /**< 0: TARN_EXPERTS */
    tarn_expert expert[TARN_EXPERTS_MOST];
    float weight[TARN_EXPERTS_MOST]; /**< to begin with; 0: unused */
    uint32_t list_limit;             /**< at most TARN_LIST_MAX */
    uint32_t list_share;
    uint32_t device_limit; /**< the same for rounds that a device scores; 0: there are none */
    uint32_t device_share;
    uint64_t seed;
};

tarn_status tarn_evictor_init(struct tarn_evictor *evictor,
                              const struct tarn_evictor_params *params);
void tarn_evictor_free(struct tarn_evictor *evictor);
/**
 * `to` goes on from where `from` is: what it knows, has pooled and will draw. Its table and its ghosts are
 * copies of from's already; neither is the live one.
 */
void tarn_evictor_copy(struct tarn_evictor *to, const struct tarn_evictor *from);

/** The hooks of struct tarn_policy_ops; see there. `charge` in the capacity's unit. */
void tarn_evictor_hit(struct tarn_evictor *evictor, uint32_t slot, uint64_t now);
/** Hits that wait have their effect; nothing else need be known of it but by who reads histories. */
void tarn_evictor_settle(struct tarn_evictor *evictor);
void tarn_evictor_miss(struct tarn_evictor *evictor, uint64_t hash, uint64_t now);
void tarn_evictor_insert(struct tarn_evictor *evictor, uint32_t slot, uint64_t charge,
                         uint64_t now);
void tarn_evictor_update(struct tarn_evictor *evictor, uint32_t slot, uint64_t charge,
                         uint64_t now);
void tarn_evictor_remove(struct tarn_evictor *evictor, uint32_t slot, tarn_remove_reason reason,
                         uint64_t now);
/** The next victim; runs a round on the host if the list has run dry. */
uint32_t tarn_evictor_victim(struct tarn_evictor *evictor, uint64_t now);

/** Positions of its residents in the table: of its arm's, if the cache has arms and it has one. */
struct tarn_range {
    uint32_t first, count;
};
static inline struct tarn_range tarn_evictor_range(const struct tarn_evictor *evictor)
{
    const struct tarn_table *table = evictor->table;
    uint32_t segments = evictor->capacity->arm_segments;
    if (segments == 0 || evictor->arm == TARN_ARMS)
        return (struct tarn_range){0, table->count};
    uint32_t canary = table->end[segments - 1];
    return evictor->arm == TARN_ARM_CANARY ? (struct tarn_range){0, canary}
                                           : (struct tarn_range){canary, table->count - canary};
}

/** True if the slot holds one of its residents (any number may be asked). */
static inline bool tarn_evictor_owns(const struct tarn_evictor *evictor, uint32_t slot)
{
    if (!tarn_table_is_resident(evictor->table, slot))
        return false;
    struct tarn_range range = tarn_evictor_range(evictor);
    return tarn_table_meta(evictor->table, slot)->position - range.first < range.count;
}

/** How many valid victims are at hand at most. */
static inline uint32_t tarn_evictor_stock(const struct tarn_evictor *evictor)
{
    return evictor->list_count - evictor->list_next;
}

/** Victims of the next round; `on_device`: of one that a device is to score. */
uint32_t tarn_round_victims(const struct tarn_evictor *evictor, bool on_device);

/**
 * Sizes a round for at most `room` candidates and so many experts. `tiles` is memory for their features that the caller
 * keeps (a device's buffer), or NULL.
 */
tarn_status tarn_round_init(struct tarn_round *round, uint32_t room, uint32_t experts,
                            float *tiles);
void tarn_round_free(struct tarn_round *round);
/**
 * Splits a round in parts, so that a device can score in between: draw() takes stale pool entries and
 * fresh candidates, fills round->tiles and the heuristics' scores, and enters the live version;
 * tarn_round_leave() leaves it; finish() takes the network's scores (raw[0], for round->count
 * candidates) and makes a new eviction list. Objects that were accessed or left in between are dropped.
 * A sync round may happen in between.
 *
 * One round sees one version, and one width of its network: if another has scored the pool meanwhile,
 * finish() drops what this one found, and draw() scores again what an earlier one left in the pool.
 */
void tarn_round_draw(struct tarn_evictor *evictor, struct tarn_round *round, uint64_t now);
/** Scores on the host, by the version that draw() has entered. */
void tarn_round_score(const struct tarn_evictor *evictor, struct tarn_round *round);
/** The part of that which a device leaves to the host: networks that are experts beside the version's own. */
void tarn_round_score_members(const struct tarn_evictor *evictor, struct tarn_round *round,
                              const struct tarn_bundle *bundle);
/** For a batch: NULL where the version has no networks of tags. */
static inline const uint8_t *tarn_round_tags(const struct tarn_round *round)
{
    return round->tagged ? round->tag : NULL;
}
void tarn_round_leave(struct tarn_evictor *evictor, struct tarn_round *round);
void tarn_round_finish(struct tarn_evictor *evictor, struct tarn_round *round);
/**
 * The list is dry before whoever fills it ahead was there: the next best of that one's last round follow, once,
 * so that the requests don't score for its being late. False: there are none.
 */
bool tarn_round_take_reserve(struct tarn_evictor *evictor);
/** True if a network has a say in this round. */
static inline bool tarn_round_wants_net(const struct tarn_round *round)
{
    return round->net && round->count > 0;
}

#endif
