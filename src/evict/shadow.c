/* SPDX-License-Identifier: Apache-2.0 */
#include "shadow.h"

#define MOST_LEAVE 32 /* for one that comes */

tarn_status tarn_shadow_init(struct tarn_shadow *shadow, const struct tarn_shadow_params *params)
{
    *shadow = (struct tarn_shadow){.capacity = {.limit = params->limit, .bytes = params->bytes}};
    tarn_status status = tarn_table_init(&shadow->table, params->expected, NULL);
    if (status != TARN_OK)
        return status;
    struct tarn_evictor_params evictor = {
        .table = &shadow->table,
        .capacity = &shadow->capacity,
        .world = params->world,
        .share = params->share,
        .bundle = params->bundle,
        .experts = 1,
        .expert = {params->expert},
        .weight = {1.0f},
        .list_limit = params->bytes ? TARN_LIST_BYTES : TARN_LIST_OBJECTS,
        .list_share = params->bytes ? TARN_SHARE_BYTES : TARN_SHARE_OBJECTS,
        .seed = params->seed,
    };
    status = tarn_evictor_init(&shadow->evictor, &evictor);
    if (status != TARN_OK)
        tarn_table_free(&shadow->table);
    return status;
}

void tarn_shadow_free(struct tarn_shadow *shadow)
{
    tarn_evictor_free(&shadow->evictor);
    tarn_table_free(&shadow->table);
}

tarn_status tarn_shadow_copy(struct tarn_shadow *to, const struct tarn_shadow *from)
{
    tarn_status status = tarn_ghosts_copy(to->evictor.ghosts, from->evictor.ghosts);
    if (status == TARN_OK)
        status = tarn_table_copy(&to->table, &from->table);
    if (status != TARN_OK)
        return status; /* at worst with the other's ghosts, which are as good as its own */
    to->capacity = from->capacity;
    tarn_evictor_copy(&to->evictor, &from->evictor);
    return TARN_OK;
}

/* Metadata keep the size as a logarithm: the same charge comes out each time. */
static uint64_t charge_of(const struct tarn_shadow *shadow, uint16_t size)
{
    if (!shadow->capacity.bytes)
        return 1;
    float bytes = tarn_exp2(tarn_clamp((float)size * 0x1p-10f, 0.0f, 60.0f)) + 0.5f;
    return (uint64_t)bytes;
}

static void leave(struct tarn_shadow *shadow, uint32_t slot, tarn_remove_reason reason,
                  uint64_t now)
{
    shadow->capacity.used -= charge_of(shadow, tarn_table_meta(&shadow->table, slot)->size);
    tarn_evictor_remove(&shadow->evictor, slot, reason, now);
    tarn_table_remove(&shadow->table, slot);
}

static uint32_t find(const struct tarn_shadow *shadow, uint64_t hash)
{
    return tarn_index_find(shadow->table.index, hash, NULL, NULL);
}

bool tarn_shadow_get(struct tarn_shadow *shadow, uint64_t hash, uint64_t now)
{
    uint32_t slot = find(shadow, hash);
    if (slot == TARN_NONE) {
        tarn_evictor_miss(&shadow->evictor, hash, now);
        return false;
    }
    /* an overwrite may have brought another cost */
    const struct tarn_world *world = shadow->evictor.world;
    if (world->goal_cost && world->told != NULL)
        tarn_table_meta(&shadow->table, slot)->cost = world->told->cost;
    tarn_evictor_hit(&shadow->evictor, slot, now);
    return true;
}

void tarn_shadow_put(struct tarn_shadow *shadow, uint64_t hash, uint16_t size, uint64_t now)
{
    uint64_t charge = charge_of(shadow, size);
    uint32_t slot;
    if (charge > shadow->capacity.limit || find(shadow, hash) != TARN_NONE)
        return;
    /* after its limit has fallen it comes down little by little: nobody's request takes long */
    for (int n = 0; n < MOST_LEAVE && shadow->capacity.used + charge > shadow->capacity.limit; n++)
        leave(shadow, tarn_evictor_victim(&shadow->evictor, now), TARN_REMOVE_EVICTED, now);
    if (tarn_table_insert(&shadow->table, hash, &slot) != TARN_OK)
        return; /* out of memory: the object is missing from this estimate */
    struct tarn_meta *meta = tarn_table_meta(&shadow->table, slot);
    const struct tarn_meta *told = shadow->evictor.world->told;
    meta->size = size;
    meta->tag = told != NULL ? told->tag : 0;
    meta->cost = told != NULL ? told->cost : 0;
    shadow->capacity.used += charge;
    tarn_evictor_insert(&shadow->evictor, slot, charge, now);
}

void tarn_shadow_delete(struct tarn_shadow *shadow, uint64_t hash, uint64_t now)
{
    uint32_t slot = find(shadow, hash);
    if (slot != TARN_NONE)
        leave(shadow, slot, TARN_REMOVE_DELETED, now);
}

size_t tarn_shadow_memory(const struct tarn_shadow *shadow)
{
    return sizeof *shadow + tarn_table_memory(&shadow->table) +
           tarn_ghosts_memory(shadow->evictor.ghosts) +
           shadow->evictor.round.room * (3 + shadow->evictor.experts + TARN_FEATURES) *
               sizeof(float);
}
