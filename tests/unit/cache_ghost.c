/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "base/hash.h"
#include "base/rng.h"
#include "cache/ghost.h"

static void a_record_lives_for_its_horizon(void)
{
    tarn_ghosts *ghosts;
    REQUIRE(tarn_ghosts_create(1000, &ghosts) == TARN_OK);
    uint64_t hash = 0x0000123456789abcu;
    struct tarn_ghost *ghost = tarn_ghosts_insert(ghosts, hash, 50, 10);
    REQUIRE(ghost != NULL);
    CHECK_NUMBER(ghost->tag, 0x12345678);
    CHECK_NUMBER(ghost->evicted, 50);
    CHECK_NUMBER(ghost->freq, 0);
    ghost->freq = 7;
    ghost->gap[3] = 9;
    for (uint32_t clock = 50; clock < 60; clock++) {
        REQUIRE(tarn_ghosts_find(ghosts, hash, clock, 10) != NULL);
        CHECK_NUMBER(tarn_ghosts_find(ghosts, hash, clock, 10)->freq, 7);
    }
    CHECK(tarn_ghosts_find(ghosts, hash, 60, 10) == NULL);
    CHECK(tarn_ghosts_find(ghosts, hash, 60, 11) != NULL);
    CHECK(tarn_ghosts_find(ghosts, hash ^ 1ull << 40, 50, 10) == NULL);
    /* again: the same record, emptied */
    ghost = tarn_ghosts_insert(ghosts, hash, 55, 10);
    CHECK(ghost == tarn_ghosts_find(ghosts, hash, 55, 10));
    CHECK_NUMBER(ghost->freq, 0);
    CHECK_NUMBER(ghost->evicted, 55);
    tarn_ghosts_remove(ghosts, ghost);
    CHECK(tarn_ghosts_find(ghosts, hash, 55, 10) == NULL);
    /* a tag of zero is still a record; the eviction count wraps */
    ghost = tarn_ghosts_insert(ghosts, 5, 0xfffffffeu, 10);
    CHECK_NUMBER(ghost->tag, 1);
    CHECK(tarn_ghosts_find(ghosts, 5, 3, 10) == ghost);
    CHECK(tarn_ghosts_find(ghosts, 5, 8, 10) == NULL);
    tarn_ghosts_destroy(&ghosts);
    CHECK(ghosts == NULL);
    tarn_ghosts_destroy(&ghosts);
}

static void a_full_set_drops_its_oldest(void)
{
    tarn_ghosts *ghosts;
    REQUIRE(tarn_ghosts_create(1, &ghosts) == TARN_OK);
    for (uint32_t i = 0; i < 9; i++)
        tarn_ghosts_insert(ghosts, (uint64_t)(i + 1) << 20, 100 + i, 1000);
    CHECK(tarn_ghosts_find(ghosts, 1ull << 20, 109, 1000) == NULL);
    for (uint32_t i = 1; i < 9; i++)
        CHECK(tarn_ghosts_find(ghosts, (uint64_t)(i + 1) << 20, 109, 1000) != NULL);
    tarn_ghosts_destroy(&ghosts);
}

/* `last` and `freq` of the record number i, so that a mixed-up record is seen. */
static void fill(struct tarn_ghost *ghost, uint32_t i)
{
    ghost->last = i * 3;
    ghost->freq = (uint16_t)i;
    ghost->decayed = (uint16_t)~i;
}

static bool filled(const struct tarn_ghost *ghost, uint32_t i)
{
    return ghost->last == i * 3 && ghost->freq == (uint16_t)i && ghost->decayed == (uint16_t)~i &&
           ghost->evicted == i;
}

/* From `expected` to `horizon` valid records: nearly all of the last `horizon` are remembered. */
static void grow_from(size_t expected, uint32_t horizon)
{
    tarn_ghosts *ghosts;
    uint32_t inserted = 5 * horizon, known = 0, missed = 0;
    REQUIRE(tarn_ghosts_create(expected, &ghosts) == TARN_OK);
    for (uint32_t i = 0; i < inserted; i++) {
        struct tarn_ghost *ghost = tarn_ghosts_insert(ghosts, tarn_mix64(i + 1), i, horizon);
        REQUIRE(ghost != NULL);
        fill(ghost, i);
        /* what is found is right at any time of the growth */
        uint32_t j = i - (uint32_t)(tarn_mix64(i) % (i < horizon ? i + 1 : horizon));
        const struct tarn_ghost *found = tarn_ghosts_find(ghosts, tarn_mix64(j + 1), i, horizon);
        CHECK(!found || filled(found, j));
        missed += !found;
        REQUIRE(check_failures == 0);
    }
    /* a table much too small drops some before it grows, and that is all */
    CHECK(missed < inserted / 4);
    uint32_t clock = inserted - 1;
    for (uint32_t i = 0; i < inserted; i++) {
        const struct tarn_ghost *found =
            tarn_ghosts_find(ghosts, tarn_mix64(i + 1), clock, horizon);
        known += found != NULL;
        if (found)
            CHECK(filled(found, i) && clock - i < horizon);
    }
    printf("# from %zu to %u: %.4f missed on the way, %.4f known, %.1f bytes each\n", expected,
           horizon, (double)missed / inserted, (double)known / horizon,
           (double)tarn_ghosts_memory(ghosts) / horizon);
    CHECK(known > 0.93 * horizon);
    CHECK(tarn_ghosts_memory(ghosts) < 24.0 * 4 * horizon);
    tarn_ghosts_destroy(&ghosts);
}

static void grows_and_keeps_what_it_knows(void)
{
    grow_from(1, 1000);
    grow_from(100, 30000);
    grow_from(100000, 200000);
    grow_from(1000000, 1000000);
}

/* In the first moment of a growth all that was known still is, but for what the insertion dropped.
 */
static void nothing_is_lost_by_growth_itself(void)
{
    enum { COUNT = 1000 };
    tarn_ghosts *ghosts;
    static bool known[COUNT];
    int growths = 0;
    REQUIRE(tarn_ghosts_create(50, &ghosts) == TARN_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        size_t memory = tarn_ghosts_memory(ghosts);
        int lost = 0;
        for (uint32_t j = 0; j < i; j++)
            known[j] = tarn_ghosts_find(ghosts, tarn_mix64(j), i, COUNT) != NULL;
        tarn_ghosts_insert(ghosts, tarn_mix64(i), i, COUNT);
        if (tarn_ghosts_memory(ghosts) <= memory)
            continue;
        growths++;
        for (uint32_t j = 0; j < i; j++)
            lost += known[j] && !tarn_ghosts_find(ghosts, tarn_mix64(j), i, COUNT);
        CHECK(lost <= 1);
    }
    CHECK(growths >= 3);
    tarn_ghosts_destroy(&ghosts);
}

static void no_find_is_false(void)
{
    tarn_ghosts *ghosts;
    uint32_t wrong = 0;
    REQUIRE(tarn_ghosts_create(1, &ghosts) == TARN_OK);
    for (uint32_t i = 0; i < 100000; i++)
        tarn_ghosts_insert(ghosts, tarn_mix64(i), i, 50000);
    for (uint32_t i = 0; i < 1000000; i++)
        wrong += tarn_ghosts_find(ghosts, tarn_mix64(i + 1000000), 100000, 50000) != NULL;
    /* 8 records of 32-bit tags (and no low bits): 10^6 lookups expect 50000 / sets * 8 ... far
     * below */
    CHECK(wrong <= 60);
    tarn_ghosts_destroy(&ghosts);
}

static void expired_records_are_swept(void)
{
    /* Were it not swept, a record that nobody touches would come back to life after 2^32 evictions.
     */
    tarn_ghosts *ghosts;
    uint32_t clock = 0;
    REQUIRE(tarn_ghosts_create(5000, &ghosts) == TARN_OK);
    for (uint32_t i = 0; i < 100; i++)
        tarn_ghosts_insert(ghosts, tarn_mix64(i), clock++, 500);
    clock += 1000;
    /* all insertions go to one set, sweeping goes round */
    for (uint32_t i = 0; i < 20000; i++)
        tarn_ghosts_insert(ghosts, 77, clock++, 500);
    for (uint32_t i = 0; i < 100; i++)
        CHECK(tarn_ghosts_find(ghosts, tarn_mix64(i), 101, 0xffffffffu) == NULL);
    tarn_ghosts_destroy(&ghosts);
}

static void a_copy_knows_the_same(void)
{
    tarn_ghosts *ghosts, *copy;
    REQUIRE(tarn_ghosts_create(10, &ghosts) == TARN_OK);
    REQUIRE(tarn_ghosts_create(50, &copy) == TARN_OK);
    for (uint32_t i = 0; i < 5000; i++) { /* some of these while it grows */
        tarn_ghosts_insert(ghosts, tarn_mix64(i), i, 100000)->freq = (uint16_t)i;
        if (i % 97 != 0)
            continue;
        REQUIRE(tarn_ghosts_copy(copy, ghosts) == TARN_OK);
        CHECK_NUMBER(tarn_ghosts_memory(copy), tarn_ghosts_memory(ghosts));
        uint32_t found = 0;
        for (uint32_t k = 0; k <= i; k++) {
            struct tarn_ghost *one = tarn_ghosts_find(ghosts, tarn_mix64(k), i, 100000);
            struct tarn_ghost *other = tarn_ghosts_find(copy, tarn_mix64(k), i, 100000);
            CHECK((one == NULL) == (other == NULL));
            CHECK(one == NULL || (one != other && one->freq == other->freq));
            found += one != NULL;
        }
        CHECK(found > 0);
    }
    tarn_ghosts_destroy(&ghosts);
    tarn_ghosts_destroy(&copy);
}

CHECK_MAIN(CASE(a_copy_knows_the_same), CASE(a_record_lives_for_its_horizon),
           CASE(a_full_set_drops_its_oldest), CASE(grows_and_keeps_what_it_knows),
           CASE(nothing_is_lost_by_growth_itself), CASE(no_find_is_false),
           CASE(expired_records_are_swept))
