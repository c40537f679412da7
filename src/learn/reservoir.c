/* SPDX-License-Identifier: Apache-2.0 */
#include "reservoir.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

#define RARE     0.125f /* of all are rare */
#define MEMORY   16384  /* samples that make the mean */
#define FLOOR    0.01f  /* least variance of a feature */
#define FAR_STEP 0.02f  /* relative change of the limit of rarity, a sample */
#define ATTEMPTS 16     /* draws until one isn't held out */
#define CELLS    (TARN_RESERVOIR_CLASSES * 2)

static uint32_t room_for(uint32_t size)
{
    uint32_t room = (size + TARN_RESERVOIR_STRATA - 1) / TARN_RESERVOIR_STRATA;
    return room > 0 ? room : 1;
}

tarn_status tarn_reservoir_init(struct tarn_reservoir *r, uint32_t size, uint64_t seed)
{
    *r = (struct tarn_reservoir){.room = room_for(size), .far_away = 1};
    tarn_rng_seed(&r->rng, seed);
    r->samples = tarn_alloc_zeroed((size_t)r->room * TARN_RESERVOIR_STRATA, sizeof *r->samples);
    return r->samples != NULL ? TARN_OK : TARN_NO_MEMORY;
}

void tarn_reservoir_free(struct tarn_reservoir *r)
{
    tarn_free(r->samples);
    *r = (struct tarn_reservoir){0};
}

uint64_t tarn_reservoir_memory(uint32_t size)
{
    return (uint64_t)room_for(size) * TARN_RESERVOIR_STRATA * sizeof(struct tarn_kept_sample);
}

uint32_t tarn_reservoir_count(const struct tarn_reservoir *r)
{
    uint32_t count = 0;
    for (uint32_t s = 0; s < TARN_RESERVOIR_STRATA; s++)
        count += r->filled[s];
    return count;
}

/* Whether it is one of the eighth that is farthest from the mean; and learns what the mean is. */
static bool is_rare(struct tarn_reservoir *r, const int8_t *features)
{
    float sum = 0, share = 1.0f / (float)(r->seen < MEMORY ? r->seen + 1 : MEMORY);
    for (int f = 0; f < TARN_FEATURES; f++) {
        float x = (float)features[f] * TARN_FEATURE_STEP, before = x - r->mean[f];
        sum += before * before / (r->variance[f] + FLOOR);
        r->mean[f] += share * before;
        r->variance[f] += share * (before * (x - r->mean[f]) - r->variance[f]);
    }
    bool rare = sum > r->far_away;
    r->far_away *= 1 + FAR_STEP * (rare ? 1 - RARE : -RARE);
    r->far_away = fmaxf(r->far_away, 1e-3f);
    r->seen++;
    return rare;
}

static uint32_t class_of(uint32_t label)
{
    uint32_t event = label >> 8 & 0xff; /* bin + 1 */
    if (event == 0)
        return 3;
    return event <= 3 ? 0 : event <= 6 ? 1 : 2;
}

/* The place for one more, or UINT32_MAX if it isn't taken. */
static uint32_t place_in(struct tarn_reservoir *r, uint32_t stratum, uint32_t age)
{
    uint64_t offered = ++r->offered[stratum];
    if (r->filled[stratum] < r->room)
        return r->filled[stratum]++;
    uint64_t longest = (uint64_t)r->room * TARN_RESERVOIR_FADE << (2 * age);
    double chance = (double)r->room / (double)(offered < longest ? offered : longest);
    return tarn_rng_double(&r->rng) < chance ? tarn_rng_below(&r->rng, r->room) : UINT32_MAX;
}

void tarn_reservoir_offer(struct tarn_reservoir *r, const struct tarn_shape *shape,
                          const struct tarn_sample *sample, uint64_t now)
{
    uint32_t label =
        tarn_net_label(shape, tarn_sample_elapsed(sample, now), !sample->open && sample->wanted);
    if (label == 0)
        return;
    uint32_t age = tarn_rng_below(&r->rng, TARN_RESERVOIR_AGES);
    uint32_t cell = class_of(label) * 2 + is_rare(r, sample->features);
    uint32_t stratum = cell * TARN_RESERVOIR_AGES + age, place = place_in(r, stratum, age);
    if (place == UINT32_MAX)
        return;
    struct tarn_kept_sample *to = &r->samples[(size_t)stratum * r->room + place];
    memcpy(to->features, sample->features, TARN_FEATURES);
    to->label = (uint16_t)label;
    to->held_out = tarn_is_held_out(sample->hash);
}

const struct tarn_kept_sample *tarn_reservoir_draw(const struct tarn_reservoir *r, float balance,
                                                   struct tarn_rng *rng)
{
    float weight[CELLS], all = 0;
    for (uint32_t c = 0; c < CELLS; c++) {
        uint64_t offered = 0;
        for (uint32_t a = 0; a < TARN_RESERVOIR_AGES; a++)
            if (r->filled[c * TARN_RESERVOIR_AGES + a] > 0)
                offered += r->offered[c * TARN_RESERVOIR_AGES + a];
        weight[c] = offered == 0   ? 0
                    : balance <= 0 ? (float)offered
                                   : powf((float)offered, 1 - balance);
        all += weight[c];
    }
    if (!(all > 0))
        return NULL;
    float at = tarn_rng_float(rng) * all;
    uint32_t cell = 0, last = 0;
    for (; cell < CELLS; cell++) {
        last = weight[cell] > 0 ? cell : last;
        if (weight[cell] > 0 && at < weight[cell])
            break;
        at -= weight[cell];
    }
    cell = cell < CELLS ? cell : last; /* rounding */
    /* its ages alike, but for those that are empty yet */
    uint32_t age = tarn_rng_below(rng, TARN_RESERVOIR_AGES), stratum = 0;
    for (uint32_t i = 0; i < TARN_RESERVOIR_AGES; i++) {
        stratum = cell * TARN_RESERVOIR_AGES + (age + i) % TARN_RESERVOIR_AGES;
        if (r->filled[stratum] > 0)
            break;
    }
    return &r->samples[(size_t)stratum * r->room + tarn_rng_below(rng, r->filled[stratum])];
}

static bool draw_kept(const struct tarn_learn_source *source, struct tarn_rng *rng,
                      struct tarn_learn_sample *sample)
{
    if (source->reservoir == NULL || !(tarn_rng_float(rng) < source->share))
        return false;
    for (int i = 0; i < ATTEMPTS; i++) {
        const struct tarn_kept_sample *kept =
            tarn_reservoir_draw(source->reservoir, source->balance, rng);
        if (kept == NULL)
            return false;
        if (source->keep_held_out && kept->held_out)
            continue;
        *sample = (struct tarn_learn_sample){kept->features, kept->label, true};
        return true;
    }
    return false;
}

bool tarn_learn_draw(const struct tarn_learn_source *source, uint64_t now, struct tarn_rng *rng,
                     struct tarn_learn_sample *sample)
{
    if (source->ring->head < TARN_RING_LEAST)
        return false;
    if (draw_kept(source, rng, sample))
        return true;
    bool newest = source->newest > 0 && tarn_rng_float(rng) < source->newest_share;
    for (int i = 0; i < ATTEMPTS; i++) {
        const struct tarn_sample *drawn =
            newest ? tarn_ring_draw_newest(source->ring, source->newest, rng)
                   : tarn_ring_draw(source->ring, rng);
        bool skip = source->keep_held_out && tarn_is_held_out(drawn->hash);
        *sample = (struct tarn_learn_sample){
            .features = drawn->features,
            .label = skip ? 0
                          : tarn_net_label(source->shape, tarn_sample_elapsed(drawn, now),
                                           !drawn->open && drawn->wanted),
        };
        if (!skip)
            break;
    }
    return true;
}
