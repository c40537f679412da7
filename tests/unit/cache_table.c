/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "base/hash.h"
#include "base/rng.h"
#include "cache/table.h"

static void slots_come_clean_and_are_used_again(void)
{
    struct tarn_table table;
    uint32_t slot, again;
    REQUIRE(tarn_table_init(&table, 0, NULL) == TARN_OK);
    CHECK(!tarn_table_is_resident(&table, 0));
    REQUIRE(tarn_table_insert(&table, 42, &slot) == TARN_OK);
    CHECK_NUMBER(table.count, 1);
    CHECK_NUMBER(tarn_table_hash(&table, slot), 42);
    CHECK_NUMBER(tarn_table_resident(&table, 0), slot);
    CHECK(tarn_table_is_resident(&table, slot) && !tarn_table_is_resident(&table, slot + 1));
    CHECK(!tarn_table_is_resident(&table, TARN_NONE));
    CHECK(*tarn_table_entry(&table, slot) == NULL);
    struct tarn_meta *meta = tarn_table_meta(&table, slot);
    CHECK(meta->prev == TARN_NONE && meta->next == TARN_NONE);
    meta->freq = 9;
    *tarn_table_entry(&table, slot) = &slot;
    tarn_table_remove(&table, slot);
    CHECK(!tarn_table_is_resident(&table, slot));
    CHECK_NUMBER(tarn_index_count(table.index), 0);
    REQUIRE(tarn_table_insert(&table, 43, &again) == TARN_OK);
    CHECK_NUMBER(again, slot);
    CHECK_NUMBER(meta->freq, 0);
    CHECK(*tarn_table_entry(&table, again) == NULL);
    tarn_table_free(&table);
    tarn_table_free(&table);
}

static void residents_stay_dense(void)
{
    enum { MOST = 20000 };
    struct tarn_table table;
    struct tarn_rng rng;
    uint64_t next_hash = 1;
    bool *seen = calloc(MOST + TARN_TABLE_CHUNK, 1);
    tarn_rng_seed(&rng, 4);
    REQUIRE(tarn_table_init(&table, 100, NULL) == TARN_OK);
    for (int i = 0; i < 400000; i++) {
        uint32_t slot;
        if (table.count == 0 || (table.count < MOST && tarn_rng_below(&rng, 100) < 55)) {
            uint64_t hash = tarn_mix64(next_hash++);
            REQUIRE(tarn_table_insert(&table, hash, &slot) == TARN_OK);
            *tarn_table_entry(&table, slot) = (void *)(uintptr_t)hash;
        } else {
            slot = tarn_table_resident(&table, tarn_rng_below(&rng, table.count));
            REQUIRE(tarn_table_is_resident(&table, slot));
            tarn_table_remove(&table, slot);
        }
    }
    CHECK(table.slots <= MOST + TARN_TABLE_CHUNK);
    CHECK_NUMBER(tarn_index_count(table.index), table.count);
    for (uint32_t i = 0; i < table.count; i++) {
        uint32_t slot = tarn_table_resident(&table, i);
        CHECK(!seen[slot]);
        seen[slot] = true;
        CHECK_NUMBER(tarn_table_meta(&table, slot)->position, i);
        CHECK(*tarn_table_entry(&table, slot) == (void *)(uintptr_t)tarn_table_hash(&table, slot));
        CHECK(tarn_index_find(table.index, tarn_table_hash(&table, slot), NULL, NULL) == slot);
    }
    for (uint32_t slot = 0; slot < table.slots; slot++)
        CHECK(tarn_table_is_resident(&table, slot) == seen[slot]);
    /* 48 bytes of metadata, 20 of the rest, and the index */
    CHECK(tarn_table_memory(&table) < table.slots * (68 + 20));
    tarn_table_free(&table);
    free(seen);
}

static void addresses_stay(void)
{
    struct tarn_table table;
    uint32_t first, slot;
    REQUIRE(tarn_table_init(&table, 0, NULL) == TARN_OK);
    REQUIRE(tarn_table_insert(&table, 1, &first) == TARN_OK);
    struct tarn_meta *meta = tarn_table_meta(&table, first);
    meta->last = 99;
    for (uint64_t i = 2; i < 50000; i++)
        REQUIRE(tarn_table_insert(&table, tarn_mix64(i), &slot) == TARN_OK);
    CHECK(tarn_table_meta(&table, first) == meta && meta->last == 99);
    tarn_table_free(&table);
}

static void lists_link_both_ways(void)
{
    struct tarn_table table;
    struct tarn_list list = TARN_LIST_EMPTY;
    uint32_t slot[5];
    REQUIRE(tarn_table_init(&table, 5, NULL) == TARN_OK);
    for (uint32_t i = 0; i < 5; i++) {
        REQUIRE(tarn_table_insert(&table, tarn_mix64(i), &slot[i]) == TARN_OK);
        tarn_list_push_head(&table, &list, slot[i]);
    }
    tarn_list_remove(&table, &list, slot[2]); /* inside */
    tarn_list_remove(&table, &list, slot[4]); /* head */
    tarn_list_remove(&table, &list, slot[0]); /* tail */
    CHECK_NUMBER(list.count, 2);
    CHECK(list.head == slot[3] && list.tail == slot[1]);
    CHECK(tarn_table_meta(&table, slot[3])->next == slot[1]);
    CHECK(tarn_table_meta(&table, slot[1])->prev == slot[3]);
    tarn_list_remove(&table, &list, slot[3]);
    tarn_list_remove(&table, &list, slot[1]);
    CHECK(list.head == TARN_NONE && list.tail == TARN_NONE && list.count == 0);
    tarn_table_free(&table);
}

static uint32_t four(uint64_t hash)
{
    uint32_t place = (uint32_t)(hash >> 40) % 100;
    return place < 1 ? 0 : place < 5 ? 1 : place < 25 ? 2 : 3;
}

static uint32_t last_two(uint64_t hash)
{
    return 2 + (hash >> 40 & 1);
}

static uint32_t ends(uint64_t hash)
{
    return hash >> 40 & 1 ? 3 : 0;
}

/* Each position is where its slot says, and in its segment's range. */
static bool is_grouped(const struct tarn_table *table, uint32_t (*segment)(uint64_t))
{
    bool good = tarn_table_grouped(table) <= table->count;
    for (uint32_t i = 0; i < table->count; i++) {
        uint32_t slot = tarn_table_resident(table, i);
        good = good && tarn_table_meta(table, slot)->position == i &&
               tarn_table_is_resident(table, slot);
        if (i >= tarn_table_grouped(table))
            continue;
        uint32_t k = segment(tarn_table_hash(table, slot));
        good = good && i < table->end[k] && (k == 0 || i >= table->end[k - 1]);
    }
    return good;
}

static void segments_keep_their_places(void)
{
    static uint32_t (*const segment[])(uint64_t) = {four, last_two, ends};
    struct tarn_table table;
    struct tarn_rng rng;
    uint64_t next_hash = 1;
    uint32_t slot;
    tarn_rng_seed(&rng, 8);
    REQUIRE(tarn_table_init(&table, 100, NULL) == TARN_OK);
    for (int s = 0; s < 9; s++) {
        uint32_t most = s < 6 ? 40 : 3000; /* segments are empty now and then */
        CHECK(tarn_table_grouped(&table) == 0 && tarn_table_group_next(&table) == TARN_NONE);
        for (int i = 0; i < 20000; i++) {
            if (i == 3000)
                tarn_table_group(&table, segment[s % 3]);
            if (i > 3000 && i % 4 == 0 && (slot = tarn_table_group_next(&table)) != TARN_NONE)
                REQUIRE(tarn_table_meta(&table, slot)->position < tarn_table_grouped(&table));
            if (table.count == 0 || (table.count < most && tarn_rng_below(&rng, 100) < 51)) {
                REQUIRE(tarn_table_insert(&table, tarn_mix64(next_hash++), &slot) == TARN_OK);
            } else {
                slot = tarn_table_resident(&table, tarn_rng_below(&rng, table.count));
                tarn_table_remove(&table, slot);
            }
            if (i % 7 == 0 && (most < 100 || i % 97 == 0))
                REQUIRE(is_grouped(&table, segment[s % 3]));
        }
        while (tarn_table_group_next(&table) != TARN_NONE)
            continue;
        CHECK_NUMBER(tarn_table_grouped(&table), table.count);
        CHECK(is_grouped(&table, segment[s % 3]));
        tarn_table_ungroup(&table);
        CHECK(table.segment == NULL && is_grouped(&table, segment[s % 3]));
    }
    tarn_table_free(&table);
}

/* Smaller into larger and the other way round; what the target held is gone, its free slots aren't. */
static void a_copy_has_the_same_places(void)
{
    struct tarn_table table[2];
    uint32_t slot;
    uint64_t next_hash = 1;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 8);
    for (int i = 0; i < 2; i++)
        REQUIRE(tarn_table_init(&table[i], 10, NULL) == TARN_OK);
    for (int round = 0; round < 6; round++) {
        struct tarn_table *from = &table[round % 2], *to = &table[!(round % 2)];
        for (uint32_t i = tarn_rng_below(&rng, 5000); i > 0; i--)
            REQUIRE(tarn_table_insert(from, tarn_mix64(next_hash++), &slot) == TARN_OK);
        for (uint32_t i = tarn_rng_below(&rng, from->count); i > 0; i--)
            tarn_table_remove(from, tarn_table_resident(from, tarn_rng_below(&rng, from->count)));
        REQUIRE(tarn_table_copy(to, from) == TARN_OK);
        CHECK(to->count == from->count && tarn_index_count(to->index) == from->count);
        for (uint32_t i = 0; i < from->count; i++) {
            slot = tarn_table_resident(from, i);
            CHECK_NUMBER(tarn_table_resident(to, i), slot);
            CHECK_NUMBER(tarn_table_hash(to, slot), tarn_table_hash(from, slot));
            CHECK_NUMBER(tarn_index_find(to->index, tarn_table_hash(to, slot), NULL, NULL), slot);
        }
        /* every slot of its own can still be had */
        uint32_t free_ones = to->slots - to->count, slots = to->slots;
        for (uint32_t i = 0; i < free_ones; i++)
            REQUIRE(tarn_table_insert(to, tarn_mix64(next_hash++), &slot) == TARN_OK);
        CHECK(to->slots == slots && to->free == TARN_NONE);
        while (to->count > from->count / 2)
            tarn_table_remove(to, tarn_table_resident(to, to->count - 1));
    }
    for (int i = 0; i < 2; i++)
        tarn_table_free(&table[i]);
}

CHECK_MAIN(CASE(a_copy_has_the_same_places), CASE(segments_keep_their_places),
           CASE(slots_come_clean_and_are_used_again), CASE(residents_stay_dense),
           CASE(addresses_stay), CASE(lists_link_both_ways))
