/* SPDX-License-Identifier: Apache-2.0 */
#include "learned.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#define RING_PERIODS    8.0f /* the sample ring covers so many T */
#define SLICE_OF_BYTES  64   /* requests of a cohort slice where T isn't known at the start */
#define START_OBJECTS   256  /* a cache of bytes knows its mean object after so many, */
#define SKETCH_COUNTERS 8    /* for each object that the cache will hold, */
#define SKETCH_PERIOD   8    /* halved after so many accesses for each counter, */
#define LEAST_PERIOD    1024
#define TIMED_EVERY     128
#define MOST_COUNTERS   8e8
#define START_FILL      4 /* or when it is filled to one part in so many */

static void set_sample_share(struct tarn_learned *learned)
{
    float share = learned->samples_per_period / learned->live.period;
    learned->world.sample_share = share > 1.0f ? 1.0f : share;
}

/* Shadows and the sketch are sized by the number of objects, which a cache of bytes has to learn. */
static void start(struct tarn_learned *learned)
{
    double objects = (double)learned->live.capacity->limit;
    if (learned->world.bytes)
        objects = objects * learned->live.table->count / ((double)learned->live.capacity->used + 1);
    double counters = objects * SKETCH_COUNTERS, period = counters * SKETCH_PERIOD;
    counters = counters > MOST_COUNTERS ? MOST_COUNTERS : counters;
    period = period < LEAST_PERIOD ? LEAST_PERIOD : period > UINT32_MAX ? UINT32_MAX : period;
    if (tarn_sketch_init(&learned->world.sketch, (uint32_t)counters, (uint32_t)period) != TARN_OK)
        tarn_log(TARN_LOG_WARNING, "evict: no memory for the frequency sketch: going on without");
    struct tarn_mix_params params = {
        .world = &learned->world,
        .capacity = learned->live.capacity,
        .objects = objects,
        .members = learned->live.experts - TARN_EXPERTS,
        .most_cost = learned->most_cost,
        .seed = learned->seed,
    };
    if (tarn_mix_start(&learned->mix, &params) != TARN_OK) {
        tarn_log(TARN_LOG_WARNING, "evict: no memory for the shadow caches: going on without");
        learned->shadows = false;
    }
    if (learned->mix_half_life > 0)
        tarn_mix_set_pace(&learned->mix, learned->mix_rate, learned->mix_half_life);
}

void tarn_learned_set_mix(struct tarn_learned *learned, double rate, double half_life)
{
    learned->mix_rate = rate;
    learned->mix_half_life = half_life;
    tarn_mix_set_pace(&learned->mix, rate, half_life);
}

static void throttle(struct tarn_learned *learned)
{
    static const float parts[TARN_RELIEFS] = {1.0f, 0.5f, 0.5f, 0.0f};
    tarn_mix_throttle(&learned->mix, parts[learned->relief]);
}

void tarn_learned_relieve(struct tarn_learned *learned, tarn_relief relief)
{
    learned->relief = relief;
    learned->world.keep_short = relief >= TARN_RELIEF_SHORT_ROUNDS;
    throttle(learned);
}

static void maybe_start(struct tarn_learned *learned)
{
    const struct tarn_capacity *capacity = learned->live.capacity;
    if (!learned->shadows || learned->mix.experts > 0)
        return;
    if (!capacity->bytes || learned->live.table->count >= START_OBJECTS ||
        capacity->used >= capacity->limit / START_FILL) {
        start(learned);
        throttle(learned);
    }
}

static void take_weights(struct tarn_learned *learned)
{
    for (uint32_t k = 0; k < learned->mix.experts; k++)
        learned->live.weight[k] = learned->mix.weight[k];
}

static bool is_tried(const struct tarn_trial *trial, uint64_t hash)
{
    return trial != NULL && tarn_trial_is_sampled(trial, hash);
}

/* Under load nobody compares ways to combine networks; the watch goes on, for it guards what is live. */
static bool is_contested(const struct tarn_learned *learned, uint64_t hash)
{
    return learned->relief < TARN_RELIEF_NO_SHADOWS && is_tried(learned->contest, hash);
}

static void tell_get(const struct tarn_learned *learned, uint64_t hash, int size, uint64_t now)
{
    if (is_tried(learned->trial, hash))
        tarn_trial_get(learned->trial, hash, size, now);
    if (is_contested(learned, hash))
        tarn_trial_get(learned->contest, hash, size, now);
}

static float size_lg(const struct tarn_learned *learned, uint32_t slot)
{
    return tarn_size_from_meta_lg(tarn_table_meta(learned->live.table, slot)->size);
}

static void do_hit(struct tarn_learned *learned, uint32_t slot, uint64_t now)
{
    learned->world.told = tarn_table_meta(learned->live.table, slot);
    tarn_evictor_hit(&learned->live, slot, now);
    uint64_t hash = tarn_table_hash(learned->live.table, slot);
    if (learned->listener.access != NULL)
        learned->listener.access(learned->listener.context, hash, size_lg(learned, slot));
    if (tarn_mix_is_sampled(&learned->mix, hash)) {
        tarn_mix_get(&learned->mix, hash, tarn_table_meta(learned->live.table, slot)->size, now);
        take_weights(learned);
    }
    tell_get(learned, hash, tarn_table_meta(learned->live.table, slot)->size, now);
}

static void do_miss(struct tarn_learned *learned, uint64_t hash, uint64_t now)
{
    learned->world.told = NULL;
    tarn_evictor_miss(&learned->live, hash, now);
    set_sample_share(learned);
    if (learned->listener.access != NULL)
        learned->listener.access(learned->listener.context, hash, -1);
    if (tarn_mix_is_sampled(&learned->mix, hash)) {
        tarn_mix_get(&learned->mix, hash, -1, now);
        take_weights(learned);
    }
    tell_get(learned, hash, -1, now);
}

/* As in the miniature caches: what a miss costs is known once the object is stored. */
static void charge_segment(struct tarn_learned *learned, uint64_t hash)
{
    const struct tarn_world *world = &learned->world;
    uint32_t (*segment)(uint64_t) = learned->live.table->segment;
    if (world->goal_cost && segment != NULL)
        learned->segment_cost[segment(hash)] +=
            (double)tarn_costs_weight(&world->costs, world->told->cost);
}

static void do_insert(struct tarn_learned *learned, uint32_t slot, uint64_t charge, uint64_t now)
{
    learned->world.told = tarn_table_meta(learned->live.table, slot);
    tarn_evictor_insert(&learned->live, slot, charge, now);
    maybe_start(learned);
    uint64_t hash = tarn_table_hash(learned->live.table, slot);
    if (learned->listener.store != NULL)
        learned->listener.store(learned->listener.context, hash, size_lg(learned, slot));
    charge_segment(learned, hash);
    if (tarn_mix_is_sampled(&learned->mix, hash))
        tarn_mix_put(&learned->mix, hash, tarn_table_meta(learned->live.table, slot)->size, now);
    uint16_t size = tarn_table_meta(learned->live.table, slot)->size;
    if (is_tried(learned->trial, hash))
        tarn_trial_put(learned->trial, hash, size, now);
    if (is_contested(learned, hash))
        tarn_trial_put(learned->contest, hash, size, now);
}

static void update(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct tarn_learned *learned = policy;
    tarn_evictor_update(&learned->live, slot, charge, now);
    if (learned->listener.overwrite != NULL)
        learned->listener.overwrite(learned->listener.context);
}

static void leave(void *policy, uint32_t slot, tarn_remove_reason reason, uint64_t now)
{
    struct tarn_learned *learned = policy;
    uint64_t hash = tarn_table_hash(learned->live.table, slot);
    if (reason != TARN_REMOVE_EVICTED && tarn_mix_is_sampled(&learned->mix, hash))
        tarn_mix_delete(&learned->mix, hash, now);
    if (reason != TARN_REMOVE_EVICTED && is_tried(learned->trial, hash))
        tarn_trial_delete(learned->trial, hash, now);
    if (reason != TARN_REMOVE_EVICTED && is_tried(learned->contest, hash))
        tarn_trial_delete(learned->contest, hash, now);
    tarn_evictor_remove(&learned->live, slot, reason, now);
}

static uint32_t do_victim(struct tarn_learned *learned, uint64_t now)
{
    return tarn_evictor_victim(&learned->live, now);
}

/* One arm's victim. The canary's knows of the objects what the live evictor does. */
static uint32_t victim_of(void *policy, tarn_arm arm, uint64_t now)
{
    struct tarn_learned *learned = policy;
    struct tarn_evictor *live = &learned->live, *canary = learned->canary;
    if (canary == NULL) { /* nobody was split off: the live one serves both in turn */
        live->arm = arm;
        uint32_t slot = tarn_evictor_victim(live, now);
        live->arm = TARN_ARMS;
        return slot;
    }
    if (arm == TARN_ARM_CONTROL)
        return tarn_evictor_victim(live, now);
    canary->period = live->period;
    canary->mean_size = live->mean_size;
    canary->rates = live->rates;
    memcpy(canary->weight, live->weight, sizeof canary->weight);
    return tarn_evictor_victim(canary, now);
}

tarn_status tarn_learned_split(struct tarn_learned *learned, const struct tarn_bundle *candidate)
{
    struct tarn_evictor *live = &learned->live;
    struct tarn_evictor_params params = {
        .table = live->table,
        .capacity = live->capacity,
        .world = &learned->world,
        .no_history = true,
        .experts = live->experts,
        .share = 1.0f,
        .bundle = candidate,
        .list_limit = live->list_limit,
        .list_share = live->list_share,
        .seed = learned->seed + TARN_EXPERTS + 1,
    };
    tarn_learned_merge(learned); /* what an earlier candidate said doesn't compare */
    memcpy(params.expert, live->expert, sizeof params.expert);
    struct tarn_evictor *canary = tarn_alloc(sizeof *canary);
    tarn_status status = canary != NULL ? tarn_evictor_init(canary, &params) : TARN_NO_MEMORY;
    if (status != TARN_OK) {
        tarn_free(canary);
        return status;
    }
    canary->arm = TARN_ARM_CANARY;
    live->arm = TARN_ARM_CONTROL;
    learned->canary = canary;
    return TARN_OK;
}

void tarn_learned_merge(struct tarn_learned *learned)
{
    if (learned->canary != NULL)
        tarn_evictor_free(learned->canary);
    tarn_free(learned->canary);
    learned->canary = NULL;
    learned->live.arm = TARN_ARMS;
}

/* ---- a request in so many is timed ---- */

static uint64_t begin_time(const struct tarn_learned *learned, uint64_t now)
{
    return learned->times && now % TIMED_EVERY == 0 ? tarn_clock_thread_cpu_ns() : 0;
}

static void end_time(struct tarn_learned *learned, uint64_t began)
{
    if (began != 0)
        learned->timed.ns += (tarn_clock_thread_cpu_ns() - began) * TIMED_EVERY;
}

static void hit(void *policy, uint32_t slot, uint64_t now)
{
    struct tarn_learned *learned = policy;
    uint64_t began = begin_time(learned, now);
    learned->timed.requests++;
    do_hit(learned, slot, now);
    end_time(learned, began);
}

static void miss(void *policy, uint64_t hash, uint64_t now)
{
    struct tarn_learned *learned = policy;
    uint64_t began = begin_time(learned, now);
    learned->timed.requests++;
    do_miss(learned, hash, now);
    end_time(learned, began);
}

static void insert(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct tarn_learned *learned = policy;
    uint64_t began = begin_time(learned, now);
    do_insert(learned, slot, charge, now);
    end_time(learned, began);
}

static uint32_t victim(void *policy, uint64_t now)
{
    struct tarn_learned *learned = policy;
    uint64_t began = begin_time(learned, now);
    uint32_t slot = do_victim(learned, now);
    end_time(learned, began);
    return slot;
}

struct tarn_timed tarn_learned_take_time(struct tarn_learned *learned)
{
    struct tarn_timed timed = learned->timed;
    learned->timed = (struct tarn_timed){0};
    return timed;
}

static void destroy(void *policy)
{
    struct tarn_learned *learned = policy;
    tarn_learned_merge(learned);
    tarn_mix_free(&learned->mix);
    tarn_evictor_free(&learned->live);
    tarn_sketch_free(&learned->world.sketch);
    tarn_free(learned);
}

static const struct tarn_policy_ops ops = {
    .name = "learned",
    .destroy = destroy,
    .hit = hit,
    .miss = miss,
    .insert = insert,
    .update = update,
    .remove = leave,
    .victim = victim,
    .victim_of = victim_of,
};

tarn_status tarn_learned_create(const struct tarn_learned_params *params, struct tarn_table *table,
                                const struct tarn_capacity *capacity, struct tarn_policy *policy,
                                struct tarn_learned **result)
{
    struct tarn_learned *learned = tarn_alloc_zeroed(1, sizeof *learned);
    if (learned == NULL)
        return TARN_NO_MEMORY;
    learned->shadows = params->shadows;
    learned->most_cost = params->most_cost;
    learned->seed = params->seed;
    learned->samples_per_period = (float)params->ring / RING_PERIODS;
    learned->world.reader = params->reader;
    learned->world.observer = params->observer;
    learned->listener = params->listener;
    learned->world.bytes = capacity->bytes;
    learned->world.goal_bytes = params->goal_bytes;
    learned->world.goal_cost = params->goal_cost;
    learned->world.gdsf_floor = &learned->live.gdsf_floor;
    struct tarn_evictor_params live = {
        .table = table,
        .capacity = capacity,
        .world = &learned->world,
        .live = true,
        .experts = TARN_EXPERTS + (params->shadows ? params->members : 0),
        .share = 1.0f,
        .weight = {1.0f},
        .list_limit = capacity->bytes ? TARN_LIST_BYTES : TARN_LIST_OBJECTS,
        .list_share = capacity->bytes ? TARN_SHARE_BYTES : TARN_SHARE_OBJECTS,
        .device_limit = params->device_limit,
        .device_share = params->device_share,
        .seed = params->seed,
    };
    tarn_mix_choose(&learned->world, live.expert);
    tarn_status status = tarn_evictor_init(&learned->live, &live);
    if (status != TARN_OK) {
        tarn_free(learned);
        return status;
    }
    tarn_cohorts_init(&learned->world.cohorts,
                      capacity->bytes ? SLICE_OF_BYTES : (uint32_t)(learned->live.period / 64),
                      params->now);
    set_sample_share(learned);
    if (!capacity->bytes && learned->shadows)
        start(learned);
    *policy = (struct tarn_policy){&ops, learned};
    *result = learned;
    return TARN_OK;
}

size_t tarn_learned_memory(const struct tarn_learned *learned)
{
    size_t canary = 0;
    if (learned->canary != NULL)
        canary = sizeof *learned->canary + learned->canary->round.room *
                                               (3 + learned->canary->experts + TARN_FEATURES) *
                                               sizeof(float);
    return sizeof *learned + canary + tarn_ghosts_memory(learned->live.ghosts) +
           tarn_mix_memory(&learned->mix) + (learned->world.sketch.mask + 1) / 2 +
           learned->live.round.room * (3 + learned->live.experts + TARN_FEATURES) * sizeof(float);
}
