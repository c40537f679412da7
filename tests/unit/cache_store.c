/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "base/memory.h"
#include "base/rng.h"
#include "cache/store.h"

static void fill(struct tarn_entry *entry, uint32_t seed)
{
    entry->charge = seed;
    for (uint32_t i = 0; i < entry->key_size + entry->value_size; i++)
        entry->bytes[i] = (unsigned char)(seed + i);
}

static bool filled(const struct tarn_entry *entry, uint32_t seed)
{
    bool right = entry->charge == seed;
    for (uint32_t i = 0; i < entry->key_size + entry->value_size; i++)
        right = right && entry->bytes[i] == (unsigned char)(seed + i);
    return right;
}

/* Each size around every border between classes: blocks don't overlap and are aligned. */
static void every_size_has_its_own_bytes(void)
{
    enum { MOST = 2600 };
    static struct tarn_entry *entry[3][MOST];
    tarn_store *store;
    REQUIRE(tarn_store_create(&store) == TARN_OK);
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t size = 0; size < MOST; size++) {
            entry[round][size] = tarn_store_allocate(store, size % 20, size - size % 20);
            REQUIRE(entry[round][size] && (uintptr_t)entry[round][size] % 8 == 0);
            fill(entry[round][size], size * 3 + round);
        }
    }
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t size = 0; size < MOST; size++) {
            CHECK(filled(entry[round][size], size * 3 + round));
            tarn_store_free(store, entry[round][size]);
        }
    }
    tarn_store_destroy(&store);
    CHECK(store == NULL);
    tarn_store_destroy(&store);
}

static void memory_follows_what_is_stored(void)
{
    enum { COUNT = 20000 };
    static struct tarn_entry *entry[COUNT];
    tarn_store *store;
    REQUIRE(tarn_store_create(&store) == TARN_OK);
    size_t empty = tarn_store_memory(store);
    for (uint32_t i = 0; i < COUNT; i++)
        REQUIRE((entry[i] = tarn_store_allocate(store, 8, 100 - 24)) != NULL);
    /* 108 bytes in blocks of 112 */
    size_t full = tarn_store_memory(store);
    CHECK(full > 112 * COUNT && full < 114 * COUNT + 16384);
    for (uint32_t i = 0; i < COUNT; i++)
        tarn_store_free(store, entry[i]);
    /* all pages but a few went back */
    CHECK(tarn_store_memory(store) < empty + full / 8);
    size_t before = tarn_store_memory(store);
    struct tarn_entry *large = tarn_store_allocate(store, 10, 1 << 20);
    REQUIRE(large != NULL);
    size_t with_large = tarn_store_memory(store);
    CHECK(with_large > 1 << 20);
    tarn_store_free(store, large);
    CHECK_NUMBER(tarn_store_memory(store), before);
    tarn_store_destroy(&store);
}

static size_t allocations;

static bool count_allocations(size_t size)
{
    allocations += size > 0;
    return true;
}

static void mixed_sizes_settle(void)
{
    enum { COUNT = 4000 };
    static struct tarn_entry *entry[COUNT];
    static uint32_t mark[COUNT];
    struct tarn_rng rng;
    tarn_store *store;
    tarn_rng_seed(&rng, 8);
    REQUIRE(tarn_store_create(&store) == TARN_OK);
    for (uint32_t i = 0; i < 800000; i++) {
        uint32_t at = tarn_rng_below(&rng, COUNT);
        if (i == 600000) {
            allocations = 0;
            tarn_memory_set_hook(count_allocations);
        }
        if (entry[at]) {
            CHECK(entry[at]->charge == mark[at]);
            tarn_store_free(store, entry[at]);
        }
        entry[at] = tarn_store_allocate(store, 8, tarn_rng_below(&rng, 2000));
        REQUIRE(entry[at] != NULL);
        entry[at]->charge = mark[at] = i;
    }
    tarn_memory_set_hook(NULL);
    CHECK_NUMBER(allocations, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (entry[i])
            tarn_store_free(store, entry[i]);
        entry[i] = NULL;
    }
    tarn_store_destroy(&store);
}

CHECK_MAIN(CASE(every_size_has_its_own_bytes), CASE(memory_follows_what_is_stored),
           CASE(mixed_sizes_settle))
