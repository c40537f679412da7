/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Weights of the experts, from how often each one's miniature cache missed (Hedge, Freund and Schapire
 * 1997, with a decay): w_k = prior_k exp(-0.05 (misses_k - least)), with the live version's priors. Under
 * the cache's lock.
 */
#ifndef TARN_EVICT_MIX_H
#define TARN_EVICT_MIX_H

#include "shadow.h"

struct tarn_mix {
    uint32_t experts; /**< 0: not started yet */
    tarn_expert expert[TARN_EXPERTS_MOST];
    struct tarn_shadow shadow[TARN_EXPERTS_MOST];
    double misses[TARN_EXPERTS_MOST]; /**< decayed, in objects, mean-sized bytes or mean costs */
    float weight[TARN_EXPERTS_MOST];
    uint64_t threshold; /**< keys whose mixed hash is below are sampled */
    uint64_t limit;     /**< of each shadow, when it sees all of its share */
    double decay;       /**< of the misses, for each sampled request */
    double rate;        /**< eta of Hedge */
    double period;      /**< T in sampled requests */
    uint32_t until_update;
    float share;       /**< of the keys, unless throttled */
    uint64_t requests; /**< sampled ones */
    bool warm;         /**< all shadows have been full: before, nothing is counted in `counts` */
    struct tarn_mix_counts {
        double requests;                  /**< sampled ones */
        double cost;                      /**< of the live cache's misses, as in `misses` */
        double expert[TARN_EXPERTS_MOST]; /**< of each shadow's */
    } counts;                             /**< since tarn_mix_take() */
};

/** Which experts suit the goal; the network is always the first, an ensemble's other networks are the last. */
void tarn_mix_choose(const struct tarn_world *world, tarn_expert expert[TARN_EXPERTS_MOST]);

struct tarn_mix_params {
    struct tarn_world *world;
    const struct tarn_capacity *capacity;
    uint32_t members; /**< an ensemble's other networks that are experts of their own */
    double objects;   /**< that the cache will hold, as far as is known */
    /**
     * Share of the live cache's and the shadows' time together that the shadows take at most, from 65,536
     * objects on; a smaller cache gives them twice as much. 0: 0.15. An estimate by the number of objects.
     */
    float most_cost;
    uint64_t seed;
};
/** Starts the shadows, empty. TARN_NO_MEMORY leaves the mix as it was: the network decides alone. */
tarn_status tarn_mix_start(struct tarn_mix *mix, const struct tarn_mix_params *params);
void tarn_mix_free(struct tarn_mix *mix);

/**
 * Shadows see so large a part (0 to 1) of their share from here on, in as much less room; with 0 nothing
 * reaches them and the weights stay as they are. What is too much leaves with the next requests.
 */
void tarn_mix_throttle(struct tarn_mix *mix, float part);

/** How quickly weights follow (0.05 at the start) and misses fade (half after 4 T). */
void tarn_mix_set_pace(struct tarn_mix *mix, double rate, double half_life);

bool tarn_mix_is_sampled(const struct tarn_mix *mix, uint64_t hash);
/**
 * A lookup of a sampled key. `size` is meta.size where it is resident in the live cache (then the
 * shadows that miss it store it), or -1. Updates the weights now and then.
 */
void tarn_mix_get(struct tarn_mix *mix, uint64_t hash, int size, uint64_t now);
void tarn_mix_put(struct tarn_mix *mix, uint64_t hash, uint16_t size, uint64_t now);
void tarn_mix_delete(struct tarn_mix *mix, uint64_t hash, uint64_t now);
/** What was counted since the last call. */
struct tarn_mix_counts tarn_mix_take(struct tarn_mix *mix);
/**
 * From the next update on the weights follow from these decayed misses, as they were kept at another time,
 * and from what comes.
 */
void tarn_mix_recall(struct tarn_mix *mix, const double misses[TARN_EXPERTS_MOST]);
size_t tarn_mix_memory(const struct tarn_mix *mix);

#endif
