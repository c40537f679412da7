/* SPDX-License-Identifier: Apache-2.0 */
#include "heldout.h"

#include <math.h>
#include <string.h>

#define LEAST_GAIN 0.1 /* standard errors */

static void keep(struct tarn_heldout *set, uint32_t at, const struct tarn_sample *sample,
                 uint32_t label)
{
    memcpy(set->samples[at].features, sample->features, TARN_FEATURES);
    set->samples[at].label = (uint16_t)label;
    set->samples[at].held_out = true;
}

void tarn_heldout_begin(struct tarn_heldout *set, const struct tarn_ring *ring, uint32_t newest,
                        uint32_t room)
{
    uint64_t count = ring->head < ring->size ? ring->head : ring->size;
    newest = newest < TARN_HELDOUT_NEWEST ? newest : TARN_HELDOUT_NEWEST;
    count = count < newest ? count : newest;
    set->count = set->seen = 0;
    set->room = room < TARN_HELDOUT_MOST ? room : TARN_HELDOUT_MOST;
    set->next = ring->head - count;
    set->end = ring->head;
}

/* Algorithm R over the newest: each of them is as likely. */
bool tarn_heldout_gather(struct tarn_heldout *set, const struct tarn_ring *ring,
                         const struct tarn_shape *shape, uint32_t count, uint64_t now,
                         struct tarn_rng *rng)
{
    if (ring->head < set->end) /* it was emptied meanwhile */
        set->next = set->end;
    for (; count > 0 && set->next < set->end; count--, set->next++) {
        const struct tarn_sample *sample = &ring->samples[set->next & (ring->size - 1)];
        if (!tarn_is_held_out(sample->hash))
            continue;
        uint32_t label = tarn_net_label(shape, tarn_sample_elapsed(sample, now),
                                        !sample->open && sample->wanted);
        if (label == 0)
            continue;
        uint32_t at = set->seen < set->room ? set->seen : tarn_rng_below(rng, set->seen + 1);
        set->seen++;
        if (at < set->room)
            keep(set, at, sample, label);
    }
    set->count = set->seen < set->room ? set->seen : set->room;
    return set->next < set->end;
}

void tarn_heldout_replay(struct tarn_heldout *set, const struct tarn_reservoir *reservoir,
                         uint32_t count, struct tarn_rng *rng)
{
    uint32_t left = TARN_HELDOUT_MOST - set->count;
    count = count < left ? count : left;
    /* an eighth is held out: as many draws again as come up on the mean, and then some */
    for (left = 16 * count; left > 0 && count > 0; left--) {
        const struct tarn_kept_sample *kept = tarn_reservoir_draw(reservoir, 0, rng);
        if (kept == NULL)
            return;
        if (!kept->held_out)
            continue;
        set->samples[set->count++] = *kept;
        count--;
    }
}

/* The losses of `count` samples from `first` on. */
static void losses_of(const struct tarn_heldout *set, uint32_t first, uint32_t count,
                      const struct tarn_shape *shape, uint32_t slice, const float *weights,
                      double *losses)
{
    float tiles[TARN_HELDOUT_AT_ONCE * TARN_FEATURES] = {0};
    float logits[TARN_HELDOUT_AT_ONCE * TARN_MAX_BINS];
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t f = 0; f < TARN_FEATURES; f++)
            tiles[i / TARN_LANES * TARN_FEATURES * TARN_LANES + f * TARN_LANES + i % TARN_LANES] =
                (float)set->samples[first + i].features[f] * TARN_FEATURE_STEP;
    tarn_logits_slice_host(shape, slice, weights, tiles, count, logits);
    for (uint32_t i = 0; i < count; i++)
        losses[i] = (double)tarn_net_loss(
            logits + i / TARN_LANES * shape->outputs * TARN_LANES + i % TARN_LANES, TARN_LANES,
            shape->outputs, set->samples[first + i].label);
}

static struct tarn_heldout_result mean_of(const struct tarn_heldout *set,
                                          const struct tarn_shape *shape, uint32_t slice,
                                          const float *a, const float *b)
{
    struct tarn_heldout_result r = {.mean = NAN, .sd = NAN, .n = set->count};
    size_t count = tarn_shape_weights(shape);
    if (shape->inputs != TARN_FEATURES || !tarn_net_is_finite(a, count) ||
        (b != NULL && !tarn_net_is_finite(b, count)))
        return r;
    double mean = 0, squares = 0;
    for (uint32_t first = 0; first < set->count; first += TARN_HELDOUT_AT_ONCE) {
        double one[TARN_HELDOUT_AT_ONCE], other[TARN_HELDOUT_AT_ONCE] = {0};
        uint32_t n = set->count - first;
        n = n < TARN_HELDOUT_AT_ONCE ? n : TARN_HELDOUT_AT_ONCE;
        losses_of(set, first, n, shape, slice, a, one);
        if (b != NULL)
            losses_of(set, first, n, shape, 0, b, other);
        for (uint32_t i = 0; i < n; i++) {
            double away = one[i] - other[i] - mean;
            if (!isfinite(away))
                return r;
            mean += away / (first + i + 1);
            squares += away * (one[i] - other[i] - mean);
        }
    }
    r.finite = true;
    r.mean = mean;
    r.sd = set->count > 1 ? sqrt(squares / (set->count - 1)) : 0;
    return r;
}

struct tarn_heldout_result tarn_heldout_loss(const struct tarn_heldout *set,
                                             const struct tarn_shape *shape, const float *weights)
{
    return mean_of(set, shape, 0, weights, NULL);
}

struct tarn_heldout_result tarn_heldout_compare(const struct tarn_heldout *set,
                                                const struct tarn_shape *shape, const float *a,
                                                const float *b)
{
    return mean_of(set, shape, 0, a, b);
}

struct tarn_heldout_result tarn_heldout_slice(const struct tarn_heldout *set,
                                              const struct tarn_shape *shape, uint32_t slice,
                                              const float *weights)
{
    return mean_of(set, shape, slice, weights, weights);
}

tarn_early_word tarn_early_look(struct tarn_early *e, const struct tarn_heldout_result *loss)
{
    if (loss->n < TARN_HELDOUT_LEAST)
        return TARN_EARLY_WAIT;
    double least = LEAST_GAIN * loss->sd / sqrt(loss->n);
    if (loss->finite && (e->looks == 0 || loss->mean < e->best - least)) {
        e->best = loss->mean;
        e->looks++;
        e->since = 0;
        return TARN_EARLY_BEST;
    }
    e->looks += loss->finite;
    return ++e->since >= e->patience ? TARN_EARLY_STOP : TARN_EARLY_WAIT;
}

void tarn_early_restart(struct tarn_early *e)
{
    *e = (struct tarn_early){.patience = e->patience};
}
