/* SPDX-License-Identifier: Apache-2.0 */
/* Exact least recently used: one list, newest first. A lookup and a new value both count as use. */
#include "policy.h"

#include "base/memory.h"

struct lru {
    struct tarn_table *table;
    struct tarn_list list;
};

static void lru_destroy(void *policy)
{
    tarn_free(policy);
}

static void lru_hit(void *policy, uint32_t slot, uint64_t now)
{
    struct lru *lru = policy;
    (void)now;
    if (lru->list.head == slot)
        return;
    tarn_list_remove(lru->table, &lru->list, slot);
    tarn_list_push_head(lru->table, &lru->list, slot);
}

static void lru_miss(void *policy, uint64_t hash, uint64_t now)
{
    (void)policy;
    (void)hash;
    (void)now;
}

static void lru_insert(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    struct lru *lru = policy;
    (void)charge;
    (void)now;
    tarn_list_push_head(lru->table, &lru->list, slot);
}

static void lru_update(void *policy, uint32_t slot, uint64_t charge, uint64_t now)
{
    (void)charge;
    lru_hit(policy, slot, now);
}

static void lru_remove(void *policy, uint32_t slot, tarn_remove_reason reason, uint64_t now)
{
    struct lru *lru = policy;
    (void)reason;
    (void)now;
    tarn_list_remove(lru->table, &lru->list, slot);
}

static uint32_t lru_victim(void *policy, uint64_t now)
{
    (void)now;
    return ((struct lru *)policy)->list.tail;
}

static size_t lru_memory(const void *policy)
{
    (void)policy;
    return sizeof(struct lru);
}

static const struct tarn_policy_ops lru_ops = {
    .name = "lru",
    .destroy = lru_destroy,
    .hit = lru_hit,
    .miss = lru_miss,
    .insert = lru_insert,
    .update = lru_update,
    .remove = lru_remove,
    .victim = lru_victim,
    .memory = lru_memory,
};

tarn_status tarn_policy_lru_create(struct tarn_table *table, const struct tarn_capacity *capacity,
                                   struct tarn_policy *policy)
{
    (void)capacity;
    struct lru *lru = tarn_alloc(sizeof *lru);
    if (!lru)
        return TARN_NO_MEMORY;
    *lru = (struct lru){.table = table, .list = TARN_LIST_EMPTY};
    *policy = (struct tarn_policy){&lru_ops, lru};
    return TARN_OK;
}
