/* SPDX-License-Identifier: Apache-2.0 */
#include "mix.h"

#include <math.h>

#include "base/hash.h"

#define SHADOW_OBJECTS 256.0 /* each shadow aims at so many */
#define LEAST_SHARE    (1.0 / 64)
#define LEAST_OBJECTS  16.0
/*
 * What all shadows would take if they saw every key, in the live cache's own time: measured by
 * tests/bench/shadows.c. Their memory is cold where few requests reach them.
 */
#define WHOLE_COST      1.6
#define WHOLE_COST_COLD 3.5
#define COLD_OBJECTS    65536.0
#define MOST_COST       0.15 /* from COLD_OBJECTS on; a smaller cache gives twice as much */
#define RATE            0.05 /* eta of Hedge */
#define UPDATE_EVERY    64   /* sampled requests */
#define HALF_LIFE_T     4.0  /* of the misses, in T, but at least */
#define LEAST_HALF_LIFE 4000.0
#define FULL            0.97 /* of a shadow's limit: the next object may not fit any more */

/* What objects differ in but the goal doesn't count, GreedyDual weighs. */
void tarn_mix_choose(const struct tarn_world *world, tarn_expert expert[TARN_EXPERTS_MOST])
{
    expert[0] = TARN_EXPERT_NET;
    expert[1] = TARN_EXPERT_LFU;
    expert[2] = TARN_EXPERT_STICKY;
    bool weighed = world->goal_cost || (world->bytes && !world->goal_bytes);
    expert[3] = weighed ? TARN_EXPERT_GDSF : TARN_EXPERT_LIRS;
    for (uint32_t k = TARN_EXPERTS; k < TARN_EXPERTS_MOST; k++)
        expert[k] = (tarn_expert)(TARN_EXPERT_MEMBER + k - TARN_EXPERTS);
}

/* The share of the keys: by the number of objects alone, so that a replay gives the same each time. */
static double share_of(double objects, double most_cost, uint32_t members)
{
    double share = SHADOW_OBJECTS / objects;
    double large = objects < COLD_OBJECTS ? objects / COLD_OBJECTS : 1;
    double whole = WHOLE_COST + large * (WHOLE_COST_COLD - WHOLE_COST);
    whole *= 1 + (double)members / TARN_EXPERTS;
    double most = (most_cost > 0 ? most_cost : MOST_COST) * (large < 1 ? 2 : 1);
    most = most < 0.9 ? most / (1 - most) / whole : 1;
    share = share > 1 ? 1 : share < LEAST_SHARE ? LEAST_SHARE : share;
    return share < most ? share : most;
}

static uint64_t threshold_of(double share)
{
    return share >= 1 ? UINT64_MAX : (uint64_t)(share * 0x1p64);
}

tarn_status tarn_mix_start(struct tarn_mix *mix, const struct tarn_mix_params *params)
{
    struct tarn_world *world = params->world;
    double objects = params->objects < 1 ? 1 : params->objects;
    float part = (float)share_of(objects, (double)params->most_cost, params->members);
    double share = (double)part; /* tarn_mix_throttle() goes by the same number */
    double limit = (double)params->capacity->limit * share;
    double least = LEAST_OBJECTS * (double)params->capacity->limit / objects;
    limit = limit < least ? least : limit;
    *mix = (struct tarn_mix){
        .share = (float)share,
        .threshold = threshold_of(share),
        .limit = limit < 1 ? 1 : (uint64_t)limit,
        .period = objects * share,
        .until_update = UPDATE_EVERY,
        .weight = {1.0f},
    };
    tarn_mix_set_pace(mix, RATE, HALF_LIFE_T);
    tarn_mix_choose(world, mix->expert);
    for (uint32_t k = 0; k < TARN_EXPERTS + params->members; k++) {
        struct tarn_shadow_params shadow = {
            .world = world,
            .expert = mix->expert[k],
            .share = (float)share,
            .limit = mix->limit,
            .expected = (uint32_t)(objects * share * 2) + 16,
            .bytes = world->bytes,
            .seed = params->seed + k + 1,
        };
        tarn_status status = tarn_shadow_init(&mix->shadow[k], &shadow);
        if (status != TARN_OK) {
            tarn_mix_free(mix);
            return status;
        }
        mix->experts = k + 1;
        if (mix->expert[k] == TARN_EXPERT_GDSF)
            world->gdsf_floor = &mix->shadow[k].evictor.gdsf_floor;
    }
    return TARN_OK;
}

void tarn_mix_free(struct tarn_mix *mix)
{
    for (uint32_t k = 0; k < mix->experts; k++)
        tarn_shadow_free(&mix->shadow[k]);
    mix->experts = 0;
}

void tarn_mix_set_pace(struct tarn_mix *mix, double rate, double half_life)
{
    double requests = half_life * mix->period;
    mix->rate = rate;
    mix->decay = exp2(-1 / (requests < LEAST_HALF_LIFE ? LEAST_HALF_LIFE : requests));
}

void tarn_mix_throttle(struct tarn_mix *mix, float part)
{
    mix->threshold = threshold_of((double)mix->share * (double)part);
    for (uint32_t k = 0; k < mix->experts && part > 0; k++) {
        struct tarn_shadow *shadow = &mix->shadow[k];
        uint64_t limit = (uint64_t)((double)mix->limit * (double)part);
        shadow->capacity.limit = limit < 1 ? 1 : limit;
        shadow->evictor.share = mix->share * part;
    }
}

bool tarn_mix_is_sampled(const struct tarn_mix *mix, uint64_t hash)
{
    return mix->experts > 0 && mix->threshold > 0 && tarn_mix64(hash) <= mix->threshold;
}

/* Where a version says nothing of experts, the network decides alone. */
static double prior_of(const struct tarn_bundle *bundle, uint32_t k)
{
    if (bundle->scorer != TARN_SCORER_MIX)
        return k == 0;
    return k < bundle->experts ? (double)bundle->expert[k] : 0;
}

static void update_weights(struct tarn_mix *mix)
{
    struct tarn_slot_reader *reader = mix->shadow[0].evictor.world->reader;
    double least = mix->misses[0], sum = 0, weight[TARN_EXPERTS_MOST];
    const struct tarn_bundle *live = tarn_slot_enter(reader);
    for (uint32_t k = 1; k < mix->experts; k++)
        least = mix->misses[k] < least ? mix->misses[k] : least;
    for (uint32_t k = 0; k < mix->experts; k++) {
        weight[k] = exp(-mix->rate * (mix->misses[k] - least)) * prior_of(live, k);
        sum += weight[k];
    }
    tarn_slot_leave(reader);
    if (!(sum > 0)) /* the only ones that count are hopelessly behind */
        weight[0] = sum = 1;
    for (uint32_t k = 0; k < mix->experts; k++)
        mix->weight[k] = (float)(weight[k] / sum);
}

/* Where misses differ, one of the live cache counts when the object is stored: only then is it known. */
static bool misses_differ(const struct tarn_world *world)
{
    return world->goal_bytes || world->goal_cost;
}

/*
 * What a miss costs: one, or its size in mean sizes where bytes are the goal, or its cost in mean costs. One mean for all of them:
 * an expert that keeps large objects must not find each miss cheaper for it.
 */
static double miss_cost(const struct tarn_mix *mix, int size)
{
    const struct tarn_evictor *first = &mix->shadow[0].evictor;
    const struct tarn_world *world = first->world;
    if (world->goal_cost)
        return (double)tarn_costs_weight(&world->costs,
                                         world->told != NULL ? world->told->cost : 0);
    if (!world->goal_bytes || size < 0)
        return 1;
    return (double)tarn_exp2(tarn_clamp((float)size * 0x1p-10f, 0, 60)) / (double)first->mean_size;
}

static void charge(struct tarn_mix *mix, uint32_t k, double cost)
{
    mix->misses[k] += cost;
    if (mix->warm)
        mix->counts.expert[k] += cost;
}

/* A miss of the live cache itself, and for a while whether it counts. */
static void charge_live(struct tarn_mix *mix, double cost)
{
    if (mix->warm) {
        mix->counts.cost += cost;
        return;
    }
    mix->warm = true;
    for (uint32_t k = 0; k < mix->experts; k++) {
        const struct tarn_capacity *capacity = &mix->shadow[k].capacity;
        if ((double)capacity->used < FULL * (double)capacity->limit)
            mix->warm = false;
    }
}

void tarn_mix_get(struct tarn_mix *mix, uint64_t hash, int size, uint64_t now)
{
    bool differ = misses_differ(mix->shadow[0].evictor.world);
    mix->counts.requests += mix->warm;
    if (size < 0 && !differ)
        charge_live(mix, 1);
    for (uint32_t k = 0; k < mix->experts; k++) {
        mix->misses[k] *= mix->decay;
        if (tarn_shadow_get(&mix->shadow[k], hash, now))
            continue;
        if (size >= 0 || !differ)
            charge(mix, k, miss_cost(mix, size));
        if (size >= 0)
            tarn_shadow_put(&mix->shadow[k], hash, (uint16_t)size, now);
    }
    mix->requests++;
    if (--mix->until_update == 0) {
        mix->until_update = UPDATE_EVERY;
        update_weights(mix);
    }
}

void tarn_mix_put(struct tarn_mix *mix, uint64_t hash, uint16_t size, uint64_t now)
{
    bool differ = misses_differ(mix->shadow[0].evictor.world);
    if (differ)
        charge_live(mix, miss_cost(mix, size));
    for (uint32_t k = 0; k < mix->experts; k++) {
        if (differ && tarn_index_find(mix->shadow[k].table.index, hash, NULL, NULL) == TARN_NONE)
            charge(mix, k, miss_cost(mix, size));
        tarn_shadow_put(&mix->shadow[k], hash, size, now);
    }
}

void tarn_mix_delete(struct tarn_mix *mix, uint64_t hash, uint64_t now)
{
    for (uint32_t k = 0; k < mix->experts; k++)
        tarn_shadow_delete(&mix->shadow[k], hash, now);
}

struct tarn_mix_counts tarn_mix_take(struct tarn_mix *mix)
{
    struct tarn_mix_counts counts = mix->counts;
    mix->counts = (struct tarn_mix_counts){0};
    return counts;
}

void tarn_mix_recall(struct tarn_mix *mix, const double misses[TARN_EXPERTS_MOST])
{
    for (uint32_t k = 0; k < mix->experts; k++)
        mix->misses[k] = misses[k];
}

size_t tarn_mix_memory(const struct tarn_mix *mix)
{
    size_t sum = 0;
    for (uint32_t k = 0; k < mix->experts; k++)
        sum += tarn_shadow_memory(&mix->shadow[k]);
    return sum;
}
