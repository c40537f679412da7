/* SPDX-License-Identifier: Apache-2.0 */
#include "opinion.h"

#include <math.h>
#include <stdbool.h>

#define VICTIMS 8 /* one in so many candidates */

/* The lowest `victims` of the scores; ties by place. */
static void choose(const float *scores, uint32_t count, uint32_t victims, bool *chosen)
{
    for (uint32_t i = 0; i < count; i++)
        chosen[i] = false;
    for (uint32_t k = 0; k < victims; k++) {
        uint32_t least = count;
        for (uint32_t i = 0; i < count; i++)
            if (!chosen[i] && (least == count || scores[i] < scores[least]))
                least = i;
        chosen[least] = true;
    }
}

static bool are_numbers(const float *scores, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!(scores[i] > -1e9f && scores[i] < 1e9f))
            return false;
    return true;
}

void tarn_opinion_ask(struct tarn_opinion *opinion, const float *tiles, const uint8_t *tags,
                      const float *live, uint32_t count)
{
    float other[TARN_OPINION_MOST];
    bool mine[TARN_OPINION_MOST], theirs[TARN_OPINION_MOST];
    if (++opinion->rounds < TARN_OPINION_EVERY || count < VICTIMS)
        return;
    opinion->rounds = 0;
    count = count < TARN_OPINION_MOST ? count : TARN_OPINION_MOST;
    uint32_t victims = count / VICTIMS, both = 0;
    tarn_bundle_score(opinion->bundle,
                      &(struct tarn_bundle_batch){.tiles = tiles, .tags = tags, .count = count},
                      other);
    if (!are_numbers(other, count) || !are_numbers(live, count))
        return;
    choose(live, count, victims, mine);
    choose(other, count, victims, theirs);
    double all = 0, difference = 0;
    for (uint32_t i = 0; i < count; i++) {
        double value = exp2(fmin(fmax((double)live[i], -60), 60));
        all += value;
        difference += theirs[i] ? value : 0;
        difference -= mine[i] ? value : 0;
        both += mine[i] && theirs[i];
    }
    opinion->looks++;
    opinion->agreement += (double)both / victims;
    opinion->regret += all > 0 ? difference / victims / (all / count) : 0;
}
