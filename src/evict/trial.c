/* SPDX-License-Identifier: Apache-2.0 */
#include "trial.h"

#include <string.h>

#include "base/hash.h"

#define SALT      0x747269616c736861u /* other keys than the experts' shadows have */
#define MOST_COST 0.15f
#define FULL      0.9

/* ---- LRU ---- */

static tarn_status lru_init(struct tarn_lru_shadow *lru, const struct tarn_shadow_params *params)
{
    lru->list = TARN_LIST_EMPTY;
    lru->capacity = (struct tarn_capacity){.limit = params->limit, .bytes = params->bytes};
    return tarn_table_init(&lru->table, params->expected, NULL);
}

static uint64_t lru_charge(const struct tarn_lru_shadow *lru, uint16_t size)
{
    if (!lru->capacity.bytes)
        return 1;
    return (uint64_t)(tarn_exp2(tarn_clamp((float)size * 0x1p-10f, 0.0f, 60.0f)) + 0.5f);
}

static uint32_t lru_find(const struct tarn_lru_shadow *lru, uint64_t hash)
{
    return tarn_index_find(lru->table.index, hash, NULL, NULL);
}

static void lru_leave(struct tarn_lru_shadow *lru, uint32_t slot)
{
    lru->capacity.used -= lru_charge(lru, tarn_table_meta(&lru->table, slot)->size);
    tarn_list_remove(&lru->table, &lru->list, slot);
    tarn_table_remove(&lru->table, slot);
}

static bool lru_get(struct tarn_lru_shadow *lru, uint64_t hash)
{
    uint32_t slot = lru_find(lru, hash);
    if (slot == TARN_NONE)
        return false;
    tarn_list_remove(&lru->table, &lru->list, slot);
    tarn_list_push_head(&lru->table, &lru->list, slot);
    return true;
}

static void lru_put(struct tarn_lru_shadow *lru, uint64_t hash, uint16_t size)
{
    uint64_t charge = lru_charge(lru, size);
    uint32_t slot;
    if (charge > lru->capacity.limit || lru_find(lru, hash) != TARN_NONE)
        return;
    while (lru->capacity.used + charge > lru->capacity.limit)
        lru_leave(lru, lru->list.tail);
    if (tarn_table_insert(&lru->table, hash, &slot) != TARN_OK)
        return; /* out of memory: the object is missing from this estimate */
    tarn_table_meta(&lru->table, slot)->size = size;
    lru->capacity.used += charge;
    tarn_list_push_head(&lru->table, &lru->list, slot);
}

/* ---- all three ---- */

static double share_of(const struct tarn_trial_params *params)
{
    double objects = params->objects < 1 ? 1 : params->objects;
    double most = (double)(params->most_cost > 0 ? params->most_cost : MOST_COST) / 3;
    double share = TARN_TRIAL_OBJECTS / objects;
    share = share > 1 ? 1 : share;
    return share < most ? share : most;
}

tarn_status tarn_trial_init(struct tarn_trial *trial, const struct tarn_trial_params *params)
{
    double share = share_of(params), limit = (double)params->capacity->limit * share;
    *trial = (struct tarn_trial){.share = (float)share};
    if (params->objects * share < TARN_TRIAL_LEAST)
        return TARN_UNSUPPORTED;
    struct tarn_shadow_params shadow = {
        .world = params->world,
        .expert = TARN_EXPERT_NET,
        .share = (float)share,
        .limit = (uint64_t)limit,
        .expected = (uint32_t)(params->objects * share * 2) + 16,
        .bytes = params->capacity->bytes,
    };
    tarn_status status = lru_init(&trial->lru, &shadow);
    for (uint32_t k = 0; status == TARN_OK && k < TARN_TRIAL_MODELS; k++) {
        shadow.bundle = k == TARN_TRIAL_CANDIDATE ? params->candidate : params->base;
        shadow.seed = params->seed + k;
        status = tarn_shadow_init(&trial->shadow[k], &shadow);
    }
    if (status != TARN_OK) {
        tarn_trial_free(trial);
        return status;
    }
    trial->threshold = share >= 1 ? UINT64_MAX : (uint64_t)(share * 0x1p64);
    return TARN_OK;
}

void tarn_trial_free(struct tarn_trial *trial)
{
    tarn_table_free(&trial->lru.table);
    for (uint32_t k = 0; k < TARN_TRIAL_MODELS; k++)
        tarn_shadow_free(&trial->shadow[k]);
    trial->threshold = 0;
}

void tarn_trial_set(struct tarn_trial *trial, int which, const struct tarn_bundle *bundle)
{
    /* what another version said of pooled objects is asked again with the next round */
    trial->shadow[which].evictor.bundle = bundle;
    trial->counts = (struct tarn_trial_counts){0};
    trial->open.is = false; /* what the pair before answered */
}

void tarn_trial_twin(struct tarn_trial *trial, int which, const struct tarn_bundle *bundle)
{
    (void)tarn_shadow_copy(&trial->shadow[which], &trial->shadow[!which]);
    tarn_trial_set(trial, which, bundle);
}

bool tarn_trial_is_sampled(const struct tarn_trial *trial, uint64_t hash)
{
    return tarn_mix64(hash ^ SALT) < trial->threshold;
}

static bool is_full(const struct tarn_capacity *capacity)
{
    return (double)capacity->used >= FULL * (double)capacity->limit;
}

static void count_misses(struct tarn_trial *trial, const bool hit[TARN_TRIAL_MODELS], bool lru_hit,
                         uint64_t weight)
{
    trial->counts.misses += hit[TARN_TRIAL_CANDIDATE] ? 0 : weight;
    trial->counts.base_misses += hit[TARN_TRIAL_BASE] ? 0 : weight;
    trial->counts.lru_misses += lru_hit ? 0 : weight;
}

/*
 * A miss's cost in mean costs as a whole number, the same for all three: rounded up as often as keeps the
 * sum right, by the key and the time.
 */
static uint64_t weight_of(const struct tarn_world *world, uint64_t hash, unsigned cost,
                          uint64_t now)
{
    double dither = (double)(tarn_mix64(hash + now * SALT) >> 11) * 0x1p-53;
    return (uint64_t)((double)tarn_costs_weight(&world->costs, cost) + dither);
}

/* A lookup's misses, once it is known what they cost; `told` NULL: nobody has said. */
static void close_lookup(struct tarn_trial *trial, const struct tarn_meta *told, uint64_t now)
{
    const struct tarn_world *world = trial->shadow[0].evictor.world;
    if (!trial->open.is)
        return;
    trial->open.is = false;
    count_misses(trial, trial->open.hit, trial->open.lru_hit,
                 weight_of(world, trial->open.hash, told != NULL ? told->cost : 0, now));
}

void tarn_trial_get(struct tarn_trial *trial, uint64_t hash, int size, uint64_t now)
{
    bool hit[TARN_TRIAL_MODELS], lru_hit = lru_get(&trial->lru, hash);
    for (int k = 0; k < TARN_TRIAL_MODELS; k++)
        hit[k] = tarn_shadow_get(&trial->shadow[k], hash, now);
    if (trial->warm) {
        const struct tarn_world *world = trial->shadow[0].evictor.world;
        trial->counts.requests++;
        if (!world->goal_cost) {
            count_misses(trial, hit, lru_hit, 1);
        } else {
            close_lookup(trial, NULL, now);
            trial->open.hash = hash;
            trial->open.is = true;
            trial->open.lru_hit = lru_hit;
            memcpy(trial->open.hit, hit, sizeof hit);
            if (world->told != NULL)
                close_lookup(trial, world->told, now);
        }
        trial->own.requests++;
        trial->own.misses += size < 0;
        trial->own.lru_misses += !lru_hit;
    }
    if (size >= 0) /* those that have it do nothing */
        tarn_trial_put(trial, hash, (uint16_t)size, now);
}

void tarn_trial_put(struct tarn_trial *trial, uint64_t hash, uint16_t size, uint64_t now)
{
    if (trial->open.is && trial->open.hash == hash)
        close_lookup(trial, trial->shadow[0].evictor.world->told, now);
    lru_put(&trial->lru, hash, size);
    for (int k = 0; k < TARN_TRIAL_MODELS; k++)
        tarn_shadow_put(&trial->shadow[k], hash, size, now);
    if (!trial->warm)
        trial->warm = is_full(&trial->lru.capacity) && is_full(&trial->shadow[0].capacity) &&
                      is_full(&trial->shadow[1].capacity);
}

void tarn_trial_delete(struct tarn_trial *trial, uint64_t hash, uint64_t now)
{
    uint32_t slot = lru_find(&trial->lru, hash);
    if (slot != TARN_NONE)
        lru_leave(&trial->lru, slot);
    for (int k = 0; k < TARN_TRIAL_MODELS; k++)
        tarn_shadow_delete(&trial->shadow[k], hash, now);
}

struct tarn_trial_counts tarn_trial_take(struct tarn_trial *trial)
{
    struct tarn_trial_counts counts = trial->counts;
    trial->counts = (struct tarn_trial_counts){0};
    return counts;
}

struct tarn_trial_own tarn_trial_take_own(struct tarn_trial *trial)
{
    struct tarn_trial_own own = trial->own;
    trial->own = (struct tarn_trial_own){0};
    return own;
}

size_t tarn_trial_memory(const struct tarn_trial *trial)
{
    size_t sum = sizeof *trial + tarn_table_memory(&trial->lru.table);
    for (int k = 0; k < TARN_TRIAL_MODELS; k++)
        sum += tarn_shadow_memory(&trial->shadow[k]) - sizeof trial->shadow[k];
    return sum;
}
