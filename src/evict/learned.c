/* SPDX-License-Identifier: Apache-2.0 */
#include "learned.h"

#include <string.h>

#include <tarn/cache.h>

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

/* Where a thread fills the list and is late, a request scores for so many times as many victims at once. */
#define LATE_SHARE 4

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
        .world = learned->small_world,
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

static bool hears_later(const struct tarn_learned *learned)
{
    return learned->small_world != &learned->world;
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

static uint8_t hearers_of(const struct tarn_learned *learned, uint64_t hash)
{
    uint8_t to = tarn_mix_is_sampled(&learned->mix, hash) ? TARN_NOTE_TO_MIX : 0;
    to |= is_tried(learned->trial, hash) ? TARN_NOTE_TO_TRIAL : 0;
    to |= is_contested(learned, hash) ? TARN_NOTE_TO_CONTEST : 0;
    return to;
}

static void tell_mix(struct tarn_mix *mix, const struct tarn_note *note)
{
    switch ((enum tarn_note_kind)note->kind) {
    case TARN_NOTE_HIT:
        tarn_mix_get(mix, note->hash, note->size, note->now);
        break;
    case TARN_NOTE_MISS:
        tarn_mix_get(mix, note->hash, -1, note->now);
        break;
    case TARN_NOTE_STORE:
        tarn_mix_put(mix, note->hash, note->size, note->now);
        break;
    case TARN_NOTE_DELETE:
        tarn_mix_delete(mix, note->hash, note->now);
        break;
    }
}

/* NULL: it has been stopped since. */
static void tell_trial(struct tarn_trial *trial, const struct tarn_note *note)
{
    if (trial == NULL)
        return;
    switch ((enum tarn_note_kind)note->kind) {
    case TARN_NOTE_HIT:
        tarn_trial_get(trial, note->hash, note->size, note->now);
        break;
    case TARN_NOTE_MISS:
        tarn_trial_get(trial, note->hash, -1, note->now);
        break;
    case TARN_NOTE_STORE:
        tarn_trial_put(trial, note->hash, note->size, note->now);
        break;
    case TARN_NOTE_DELETE:
        tarn_trial_delete(trial, note->hash, note->now);
        break;
    }
}

static void tell(struct tarn_learned *learned, const struct tarn_note *note)
{
    const struct tarn_meta told = {
        .size = note->size, .tag = note->tag & TARN_TAGS, .cost = note->cost & TARN_COST_MOST};
    bool is_there = note->kind == TARN_NOTE_HIT || note->kind == TARN_NOTE_STORE;
    learned->small_world->told = is_there ? &told : NULL;
    if (note->to & TARN_NOTE_TO_MIX)
        tell_mix(&learned->mix, note);
    if (note->to & TARN_NOTE_TO_TRIAL)
        tell_trial(learned->trial, note);
    if (note->to & TARN_NOTE_TO_CONTEST)
        tell_trial(learned->contest, note);
    learned->small_world->told = NULL;
}

/* The miniature caches hear of it now, or later. `meta` NULL: nothing is known of the object. */
static void note(struct tarn_learned *learned, enum tarn_note_kind kind, uint64_t hash,
                 const struct tarn_meta *meta, uint64_t now)
{
    struct tarn_note note = {
        .hash = hash, .now = now, .kind = (uint8_t)kind, .to = hearers_of(learned, hash)};
    if (note.to == 0)
        return;
    if (meta != NULL) {
        note.size = meta->size;
        note.tag = (uint8_t)meta->tag;
        note.cost = (uint8_t)meta->cost;
    }
    if (!hears_later(learned)) {
        tell(learned, &note);
        if ((note.to & TARN_NOTE_TO_MIX) && kind <= TARN_NOTE_MISS)
            take_weights(learned);
        return;
    }
    note.sketch = tarn_sketch_estimate(&learned->world.sketch, hash);
    if (kind == TARN_NOTE_HIT && learned->hits.count > 0 && (note.sketch & 15) < 15)
        note.sketch++; /* it isn't counted yet */
    if (tarn_later_add(&learned->later, &note) && learned->world.low != NULL)
        learned->world.low(learned->world.low_context);
}

bool tarn_learned_take_notes(struct tarn_learned *learned, uint32_t least)
{
    struct tarn_later *later = &learned->later;
    const struct tarn_world *world = &learned->world;
    struct tarn_world *small = learned->small_world;
    if (!hears_later(learned))
        return false;
    if (later->next < later->end)
        return true;
    if (later->count == 0 || later->count < least)
        return false;
    tarn_later_swap(later);
    tarn_evictor_settle(&learned->live);
    small->cohorts = world->cohorts;
    small->costs = world->costs;
    small->sketch.epoch = world->sketch.epoch;
    small->keep_short = world->keep_short;
    small->width = world->width;
    small->exits = world->exits;
    return true;
}

bool tarn_learned_replay(struct tarn_learned *learned, uint32_t most)
{
    struct tarn_later *later = &learned->later;
    for (; most > 0 && later->next < later->end; most--) {
        learned->noted = later->replayed[later->next].sketch;
        tell(learned, &later->replayed[later->next++]);
    }
    tarn_slot_offline(learned->small_world->reader);
    return later->next < later->end;
}

void tarn_learned_settle(struct tarn_learned *learned)
{
    take_weights(learned);
    if (learned->mix.experts > 0)
        learned->floor = *learned->small_world->gdsf_floor;
}

static float size_lg(const struct tarn_learned *learned, uint32_t slot)
{
    return tarn_size_from_meta_lg(tarn_table_meta(learned->live.table, slot)->size);
}

static void do_hit(struct tarn_learned *learned, uint32_t slot, uint64_t now)
{
    tarn_evictor_hit(&learned->live, slot, now);
    uint64_t hash = tarn_table_hash(learned->live.table, slot);
    if (learned->listener.access != NULL)
        learned->listener.access(learned->listener.context, hash, size_lg(learned, slot));
    note(learned, TARN_NOTE_HIT, hash, tarn_table_meta(learned->live.table, slot), now);
}

/* While arms are judged by what misses cost. */
static bool counts_costs(const struct tarn_learned *learned)
{
    return learned->world.goal_cost && learned->live.table->segment != NULL;
}

static void do_miss(struct tarn_learned *learned, uint64_t hash, uint64_t now)
{
    tarn_evictor_miss(&learned->live, hash, now);
    if (counts_costs(learned))
        learned->missed[hash % TARN_LEARNED_MISSED] = hash;
    set_sample_share(learned);
    if (learned->listener.access != NULL)
        learned->listener.access(learned->listener.context, hash, -1);
    note(learned, TARN_NOTE_MISS, hash, NULL, now);
}

/* What a miss costs is known once the object is stored; what nobody had asked for was no miss. */
static void charge_segment(struct tarn_learned *learned, uint32_t slot)
{
    const struct tarn_table *table = learned->live.table;
    if (!counts_costs(learned))
        return;
    uint64_t hash = tarn_table_hash(table, slot),
             *missed = &learned->missed[hash % TARN_LEARNED_MISSED];
    if (*missed == hash)
        learned->segment_cost[table->segment(hash)] +=
            (double)tarn_costs_weight(&learned->world.costs, tarn_table_meta(table, slot)->cost);
    *missed = *missed == hash ? 0 : *missed;
}

static void do_insert(struct tarn_learned *learned, uint32_t slot, uint64_t charge, uint64_t now)
{
    tarn_evictor_insert(&learned->live, slot, charge, now);
    maybe_start(learned);
    uint64_t hash = tarn_table_hash(learned->live.table, slot);
    if (learned->listener.store != NULL)
        learned->listener.store(learned->listener.context, hash, size_lg(learned, slot));
    charge_segment(learned, slot);
    note(learned, TARN_NOTE_STORE, hash, tarn_table_meta(learned->live.table, slot), now);
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
    if (reason != TARN_REMOVE_EVICTED)
        note(learned, TARN_NOTE_DELETE, hash, NULL, now);
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
    tarn_evictor_settle(live);
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
    if (hears_later(learned))
        tarn_free(learned->small_world);
    tarn_later_free(&learned->later);
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

/* Once the live one's world is complete. */
static tarn_status make_small_world(struct tarn_learned *learned, struct tarn_slot_reader *reader)
{
    struct tarn_world *small = learned->small_world = &learned->world;
    if (reader == NULL)
        return TARN_OK;
    tarn_status status = tarn_later_init(&learned->later);
    if (status == TARN_OK && (small = tarn_alloc(sizeof *small)) == NULL)
        status = TARN_NO_MEMORY;
    if (status != TARN_OK)
        return status;
    *small = learned->world;
    small->reader = reader;
    small->noted = &learned->noted;
    small->observer = (struct tarn_observer){0};
    learned->small_world = small;
    learned->live.hits = &learned->hits;
    learned->world.gdsf_floor = &learned->floor;
    return TARN_OK;
}

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
    if (params->later_reader != NULL)
        live.list_share /= LATE_SHARE;
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
    status = make_small_world(learned, params->later_reader);
    if (status != TARN_OK) {
        destroy(learned);
        return status;
    }
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
    size_t later = hears_later(learned) ? sizeof *learned->small_world + tarn_later_memory() : 0;
    return sizeof *learned + canary + later + tarn_ghosts_memory(learned->live.ghosts) +
           tarn_mix_memory(&learned->mix) + (learned->world.sketch.mask + 1) / 2 +
           learned->live.round.room * (3 + learned->live.experts + TARN_FEATURES) * sizeof(float);
}
