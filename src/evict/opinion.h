/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What another model would do with the live one's own candidates: on some eviction rounds it scores up to
 * TARN_OPINION_MOST of them too, and nothing comes of it but two figures. Under the cache's lock.
 *
 * Agreement is the share of victims that both would choose, where each takes the lowest eighth by its own
 * network. Expected regret is what the live model expects the other's choice to cost: how much more value
 * (the Gittins index, hits per time and space) the other's victims have for it than its own, over the mean
 * value of all candidates. 0 is no regret; negative is impossible but for rounding. Where the live model is
 * wrong, the other's choice may be the better one: that is for miniature caches and arms to say.
 */
#ifndef TARN_EVICT_OPINION_H
#define TARN_EVICT_OPINION_H

#include <stdint.h>

#include "model/bundle.h"

#define TARN_OPINION_MOST  64 /* candidates of a round */
#define TARN_OPINION_EVERY 16 /* rounds */

struct tarn_opinion {
    const struct tarn_bundle *bundle; /**< the other model; must outlive its use */
    uint32_t rounds;                  /**< since the last one that was looked at */
    uint64_t looks;                   /**< rounds that it gave its opinion on */
    double agreement, regret;         /**< sums over looks */
};

/** `count` candidates in layout.h's tiles with the live network's scores (lg of the value). */
void tarn_opinion_ask(struct tarn_opinion *opinion, const float *tiles, const uint8_t *tags,
                      const float *live, uint32_t count);

#endif
