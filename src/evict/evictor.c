/* SPDX-License-Identifier: Apache-2.0 */
#include "evictor.h"

#include <string.h>

#include "base/memory.h"

#define SHORTEST_PERIOD 64.0f
#define LONGEST_PERIOD  1e7f
#define PERIOD_EVERY    256     /* requests between updates of T */
#define HORIZON         4       /* ghosts: times the number of residents */
#define UNKNOWN_GHOSTS  16384   /* to begin with, where the number of objects isn't known */
#define MOST_GHOSTS     4194304 /* to begin with, where it is */
#define HALF_LIFE       16.0f   /* of the decayed frequency, in T */
#define COUNT_MAX       60000

static uint32_t horizon(const struct tarn_evictor *evictor)
{
    uint32_t n = evictor->table->count;
    return n < UINT32_MAX / HORIZON ? n * HORIZON : UINT32_MAX;
}

/* A table that has to grow loses some of its records on the way. */
static size_t expected_ghosts(const struct tarn_evictor_params *params)
{
    if (params->capacity->bytes)
        return params->live ? UNKNOWN_GHOSTS : UNKNOWN_GHOSTS / 16;
    uint64_t limit = params->capacity->limit;
    return limit < MOST_GHOSTS / HORIZON ? (size_t)limit * HORIZON : MOST_GHOSTS;
}

tarn_status tarn_evictor_init(struct tarn_evictor *evictor,
                              const struct tarn_evictor_params *params)
{
    *evictor = (struct tarn_evictor){
        .table = params->table,
        .capacity = params->capacity,
        .world = params->world,
        .live = params->live,
        .experts = params->experts > 0 ? params->experts : TARN_EXPERTS,
        .share = params->share,
        .arm = TARN_ARMS,
        .bundle = params->bundle,
        .mean_size = 1.0f,
        .rates = {.miss_ratio = 0.5f, .one_hit = 0.5f, .hit_gap = -0.25f},
        .list_limit = params->list_limit,
        .list_share = params->list_share,
        .device_limit = params->device_limit,
        .device_share = params->device_share,
        .filled_at = UINT32_MAX / 2, /* never yet */
    };
    memcpy(evictor->expert, params->expert, sizeof evictor->expert);
    memcpy(evictor->weight, params->weight, sizeof evictor->weight);
    for (uint32_t k = 0; k < evictor->experts; k++)
        evictor->ranks_priority = evictor->ranks_priority || params->expert[k] == TARN_EXPERT_GDSF;
    tarn_rng_seed(&evictor->rng, params->seed);
    tarn_wheel_init(&evictor->wheel);
    bool bytes = params->capacity->bytes;
    float period = bytes ? SHORTEST_PERIOD : (float)params->capacity->limit / params->share;
    evictor->period = period < SHORTEST_PERIOD ? SHORTEST_PERIOD : period;
    uint32_t room = params->live ? TARN_ROUND_MAX : TARN_SHADOW_ROUND;
    size_t entries = room + TARN_POOL_MAX + TARN_LIST_MAX;
    evictor->pool = tarn_alloc(entries * sizeof *evictor->pool);
    evictor->order = tarn_alloc(entries * sizeof *evictor->order);
    tarn_status status = evictor->pool != NULL && evictor->order != NULL ? TARN_OK : TARN_NO_MEMORY;
    if (status == TARN_OK && !params->no_history)
        status = tarn_ghosts_create(expected_ghosts(params), &evictor->ghosts);
    if (status == TARN_OK)
        status = tarn_round_init(&evictor->round, room, evictor->experts, NULL);
    if (status != TARN_OK)
        tarn_evictor_free(evictor);
    return status;
}

void tarn_evictor_free(struct tarn_evictor *evictor)
{
    tarn_ghosts_destroy(&evictor->ghosts);
    tarn_round_free(&evictor->round);
    tarn_free(evictor->pool);
    tarn_free(evictor->order);
    evictor->pool = NULL;
    evictor->order = NULL;
}

void tarn_evictor_copy(struct tarn_evictor *to, const struct tarn_evictor *from)
{
    struct tarn_evictor copy = *from;
    copy.table = to->table;
    copy.capacity = to->capacity;
    copy.bundle = to->bundle;
    copy.hits = to->hits;
    copy.ghosts = to->ghosts;
    copy.pool = to->pool;
    copy.order = to->order;
    copy.round = to->round;
    memcpy(copy.pool, from->pool, from->pool_count * sizeof *from->pool);
    *to = copy;
}

/* T is the capacity in objects; while a cache of bytes fills, what it will be at this mean size. */
static void update_period(struct tarn_evictor *evictor, uint64_t now)
{
    if (!evictor->capacity->bytes || now - evictor->period_at < PERIOD_EVERY)
        return;
    uint32_t count = evictor->table->count;
    double used = (double)evictor->capacity->used, limit = (double)evictor->capacity->limit;
    if (count == 0)
        return;
    evictor->period_at = now;
    double objects = used * 10 > limit * 9 ? (double)count : (double)count * limit / (used + 1);
    float period = (float)(objects / (double)evictor->share);
    evictor->period = tarn_clamp(period, SHORTEST_PERIOD, LONGEST_PERIOD);
    evictor->mean_size = (float)(used / (double)count);
    if (evictor->mean_size < 1.0f)
        evictor->mean_size = 1.0f;
}

struct history {
    uint8_t *gap;
    uint16_t *freq, *decayed;
    uint32_t *last;
};

static void begin_history(struct history h, uint64_t now)
{
    memset(h.gap, TARN_GAP_ABSENT, TARN_GAPS);
    *h.freq = 1;
    *h.decayed = 0; /* lg 1 */
    *h.last = (uint32_t)now;
}

/* lg T, of which hits want to know. */
static float lg_period(struct tarn_evictor *evictor)
{
    if (evictor->lg_of != evictor->period) {
        evictor->lg_of = evictor->period;
        evictor->lg_period = tarn_lg(evictor->period);
    }
    return evictor->lg_period;
}

/* An access of an object whose history is known and whose last one was at `last`. */
static void extend_history(struct tarn_evictor *evictor, struct history h, uint32_t last,
                           uint64_t now)
{
    struct tarn_world *world = evictor->world;
    uint32_t gap = (uint32_t)now - last;
    if (evictor->live)
        tarn_cohorts_return(&world->cohorts, tarn_time_of(now, last), now, evictor->period / 8);
    memmove(h.gap + 1, h.gap, TARN_GAPS - 1);
    h.gap[0] = tarn_gap_encode(gap);
    float lg = (float)*h.decayed * 0x1p-11f - (float)gap / (evictor->period * HALF_LIFE);
    float next = tarn_lg(tarn_exp2(lg) + 1.0f) * 0x1p11f + 0.5f;
    *h.decayed = next > 65535.0f ? 65535 : next < 0 ? 0 : (uint16_t)next;
    if (*h.freq < COUNT_MAX)
        ++*h.freq;
}

static struct history of_meta(struct tarn_meta *meta)
{
    return (struct history){meta->gap, &meta->freq, &meta->decayed, &meta->last};
}

static struct history of_ghost(struct tarn_ghost *ghost)
{
    return (struct history){ghost->gap, &ghost->freq, &ghost->decayed, &ghost->last};
}

static void count_lookup(struct tarn_evictor *evictor, bool hit, uint64_t now)
{
    evictor->rates.miss_ratio += 0.0005f * ((hit ? 0.0f : 1.0f) - evictor->rates.miss_ratio);
    update_period(evictor, now);
    if (!evictor->live)
        return;
    tarn_cohorts_advance(&evictor->world->cohorts, now);
    evictor->sample_credit += evictor->world->sample_share;
    if (evictor->sample_credit > 64.0f)
        evictor->sample_credit = 64.0f;
}

static void set_priority(struct tarn_evictor *evictor, struct tarn_meta *meta)
{
    const struct tarn_world *world = evictor->world;
    if (!evictor->ranks_priority)
        return;
    float worth = tarn_exp2(tarn_clamp(tarn_world_worth(world, meta), -60.0f, 30.0f));
    meta->priority = *world->gdsf_floor + (float)meta->hits * worth;
}

static void note_cost(struct tarn_evictor *evictor, const struct tarn_meta *meta)
{
    if (evictor->live && evictor->world->goal_cost)
        tarn_costs_note(&evictor->world->costs, meta->cost);
}

static uint8_t estimate(const struct tarn_world *world, uint64_t hash)
{
    return world->noted != NULL ? *world->noted : tarn_sketch_estimate(&world->sketch, hash);
}

static void resolve(struct tarn_evictor *evictor, uint64_t hash, uint64_t now, bool wanted)
{
    if (evictor->live && evictor->world->observer.resolve != NULL)
        evictor->world->observer.resolve(evictor->world->observer.context, hash, now, wanted);
}

static void take_hit(struct tarn_evictor *evictor, uint32_t slot, uint32_t last, uint64_t now)
{
    struct tarn_world *world = evictor->world;
    struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
    count_lookup(evictor, true, now);
    if (evictor->live) {
        tarn_cohorts_access(&world->cohorts, now, true);
        meta->sketch = tarn_sketch_add(&world->sketch, tarn_table_hash(evictor->table, slot));
        if (meta->flags & TARN_META_SAMPLED) {
            meta->flags &= 7 & ~TARN_META_SAMPLED;
            resolve(evictor, tarn_table_hash(evictor->table, slot), now, true);
        }
    } else {
        meta->sketch = estimate(world, tarn_table_hash(evictor->table, slot));
    }
    float gap = tarn_lam((float)((uint32_t)now - last), lg_period(evictor));
    evictor->rates.hit_gap += 0.001f * (gap - evictor->rates.hit_gap);
    extend_history(evictor, of_meta(meta), last, now);
    if (meta->hits < COUNT_MAX)
        meta->hits++;
    set_priority(evictor, meta);
}

void tarn_evictor_settle(struct tarn_evictor *evictor)
{
    struct tarn_hits *hits = evictor->hits;
    if (hits == NULL)
        return;
    for (uint32_t i = 0; i < hits->count; i++) {
        struct tarn_meta *meta = tarn_table_meta(evictor->table, hits->slot[i]);
        meta->flags &= 7 & ~TARN_META_WAITS;
        take_hit(evictor, hits->slot[i], hits->last[i], hits->now[i]);
    }
    hits->count = 0;
}

void tarn_evictor_hit(struct tarn_evictor *evictor, uint32_t slot, uint64_t now)
{
    struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
    struct tarn_hits *hits = evictor->hits;
    uint32_t last = meta->last;
    meta->last = (uint32_t)now;
    if (hits == NULL) {
        take_hit(evictor, slot, last, now);
        return;
    }
    meta->flags |= TARN_META_WAITS;
    hits->slot[hits->count] = slot;
    hits->last[hits->count] = last;
    hits->now[hits->count] = now;
    if (++hits->count == TARN_HITS_MOST)
        tarn_evictor_settle(evictor);
}

void tarn_evictor_miss(struct tarn_evictor *evictor, uint64_t hash, uint64_t now)
{
    count_lookup(evictor, false, now);
    if (evictor->live)
        tarn_sketch_add(&evictor->world->sketch, hash);
    /* an evicted object's samples wait under its hash, whether or not its ghost is still there */
    resolve(evictor, hash, now, true);
    struct tarn_ghost *ghost =
        tarn_ghosts_find(evictor->ghosts, hash, evictor->evictions, horizon(evictor));
    if (ghost == NULL)
        return;
    if (evictor->live)
        tarn_cohorts_access(&evictor->world->cohorts, now, true);
    extend_history(evictor, of_ghost(ghost), ghost->last, now);
    ghost->last = (uint32_t)now;
    ghost->flags |= TARN_GHOST_ACCESSED;
}

void tarn_evictor_insert(struct tarn_evictor *evictor, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct tarn_world *world = evictor->world;
    struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
    uint64_t hash = tarn_table_hash(evictor->table, slot);
    (void)charge;
    if (evictor->capacity->bytes && evictor->table->count == 1)
        evictor->period_at = now - PERIOD_EVERY; /* a first idea of T at once */
    struct tarn_ghost *ghost =
        tarn_ghosts_find(evictor->ghosts, hash, evictor->evictions, horizon(evictor));
    bool resolved = false;
    if (ghost != NULL) {
        memcpy(meta->gap, ghost->gap, TARN_GAPS);
        meta->freq = ghost->freq;
        meta->decayed = ghost->decayed;
        meta->last = ghost->last;
        meta->flags |= TARN_META_GHOST;
        if (!(ghost->flags & TARN_GHOST_ACCESSED)) { /* stored without having been asked for */
            extend_history(evictor, of_meta(meta), meta->last, now);
            meta->last = (uint32_t)now;
            if (evictor->live)
                tarn_cohorts_access(&world->cohorts, now, true);
        }
        resolved = ghost->flags & TARN_GHOST_ACCESSED;
        tarn_ghosts_remove(evictor->ghosts, ghost);
    } else {
        begin_history(of_meta(meta), now);
        if (evictor->live)
            tarn_cohorts_access(&world->cohorts, now, false);
    }
    /* what waits for a get of the object that was here before can't learn more: it is here again */
    if (!resolved)
        resolve(evictor, hash, now, false);
    meta->sketch = estimate(world, hash);
    meta->inserted = (uint32_t)now;
    meta->hits = 1;
    note_cost(evictor, meta);
    set_priority(evictor, meta);
    tarn_wheel_put(&evictor->wheel, evictor->table, slot, (uint32_t)now, evictor->period);
}

void tarn_evictor_update(struct tarn_evictor *evictor, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
    (void)charge;
    if (meta->flags & TARN_META_WAITS)
        tarn_evictor_settle(evictor);
    note_cost(evictor, meta);
    set_priority(evictor, meta);
    if (meta->flags & TARN_META_SAMPLED) {
        meta->flags &= 7 & ~TARN_META_SAMPLED;
        resolve(evictor, tarn_table_hash(evictor->table, slot), now, false);
    }
}

void tarn_evictor_remove(struct tarn_evictor *evictor, uint32_t slot, tarn_remove_reason reason,
                         uint64_t now)
{
    struct tarn_meta *meta = tarn_table_meta(evictor->table, slot);
    uint64_t hash = tarn_table_hash(evictor->table, slot);
    if (meta->flags & TARN_META_WAITS)
        tarn_evictor_settle(evictor);
    tarn_wheel_remove(&evictor->wheel, evictor->table, slot);
    if (reason != TARN_REMOVE_EVICTED) {
        /* its value is gone for a reason that no policy could have changed */
        if (meta->flags & TARN_META_SAMPLED)
            resolve(evictor, hash, now, false);
        return;
    }
    if (meta->priority > evictor->gdsf_floor)
        evictor->gdsf_floor = meta->priority;
    float age = tarn_lam((float)((uint32_t)now - meta->last), lg_period(evictor));
    evictor->rates.one_hit += 0.002f * ((meta->hits == 1 ? 1.0f : 0.0f) - evictor->rates.one_hit);
    evictor->rates.evicted_age += 0.002f * (age - evictor->rates.evicted_age);
    struct tarn_ghost *ghost =
        tarn_ghosts_insert(evictor->ghosts, hash, ++evictor->evictions, horizon(evictor));
    if (ghost == NULL)
        return;
    memcpy(ghost->gap, meta->gap, TARN_GAPS);
    ghost->freq = meta->freq;
    ghost->decayed = meta->decayed;
    ghost->last = meta->last;
    ghost->sketch = meta->sketch;
}

/* With every quarter of the list that is used up: who fills it may look for another share of it. */
static void tell_low(const struct tarn_evictor *evictor)
{
    uint32_t quarter = evictor->list_count / 4;
    if (evictor->live && evictor->world->low != NULL &&
        (quarter == 0 || evictor->list_next % quarter == 0))
        evictor->world->low(evictor->world->low_context);
}

uint32_t tarn_evictor_victim(struct tarn_evictor *evictor, uint64_t now)
{
    for (int attempt = 0; attempt < 4; attempt++) {
        while (evictor->list_next < evictor->list_count || tarn_round_take_reserve(evictor)) {
            const struct tarn_pool_entry *e = &evictor->list[evictor->list_next++];
            tell_low(evictor);
            if (tarn_evictor_owns(evictor, e->slot) &&
                tarn_table_meta(evictor->table, e->slot)->last == e->last)
                return e->slot;
        }
        tarn_round_draw(evictor, &evictor->round, now);
        tarn_round_score(evictor, &evictor->round);
        tarn_round_leave(evictor, &evictor->round);
        tarn_round_finish(evictor, &evictor->round);
    }
    /* nothing could be drawn: any resident will do */
    struct tarn_range range = tarn_evictor_range(evictor);
    return tarn_table_resident(evictor->table,
                               range.first + tarn_rng_below(&evictor->rng, range.count));
}
