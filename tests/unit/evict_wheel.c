/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "base/rng.h"
#include "evict/wheel.h"

#define OBJECTS 500

static struct tarn_table table;
static struct tarn_wheel wheel;
static uint32_t slots[OBJECTS];
static uint64_t due[OBJECTS], asked[OBJECTS]; /* 64-bit times of the test's own */

/* Level k has a delay of T/64 * 2^k: the least that is not below the age. */
static uint64_t delay_of(uint64_t age, double period, int *level)
{
    double delay = period / 64;
    for (*level = 0; delay < (double)age && *level < 11; ++*level)
        delay *= 2;
    return (uint64_t)(delay * 0.999) + 1;
}

static void put(uint32_t i, uint64_t now, float period)
{
    int level;
    tarn_wheel_put(&wheel, &table, slots[i], (uint32_t)now, period);
    due[i] = now + delay_of(now - asked[i], (double)period, &level);
    CHECK_NUMBER(tarn_table_meta(&table, slots[i])->level, level);
    CHECK_NUMBER(tarn_table_meta(&table, slots[i])->due, (uint32_t)due[i]);
}

static uint32_t number_of(uint32_t slot)
{
    uint32_t i = 0;
    while (i < OBJECTS && slots[i] != slot)
        i++;
    return i;
}

static uint32_t filed(void)
{
    uint32_t sum = 0;
    for (int k = 0; k < TARN_WHEEL_LEVELS; k++)
        sum += wheel.level[k].count;
    return sum;
}

static void begin(uint64_t now)
{
    tarn_wheel_init(&wheel);
    CHECK(tarn_table_init(&table, OBJECTS, NULL) == TARN_OK);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        uint64_t seed = i;
        CHECK(tarn_table_insert(&table, tarn_splitmix64(&seed), &slots[i]) == TARN_OK);
        asked[i] = now;
        tarn_table_meta(&table, slots[i])->last = (uint32_t)now;
        tarn_table_meta(&table, slots[i])->inserted = (uint32_t)now;
        put(i, now, 6400);
    }
}

/* Every resident comes when it is due, none before, none twice; hits touch no list. */
static void run(uint64_t now)
{
    const float period = 6400;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 7);
    begin(now);
    uint32_t visits = 0, idle_visits = 0, levels = 0;
    for (int step = 0; step < 6000; step++) {
        now += 1 + tarn_rng_below(&rng, step < 3000 ? 40 : 300);
        uint32_t i = tarn_rng_below(&rng, OBJECTS / 4); /* some are asked for often, some never */
        asked[i] = now;
        tarn_table_meta(&table, slots[i])->last = (uint32_t)now;
        int cursor = 0;
        bool idle;
        uint32_t slot;
        while ((slot = tarn_wheel_next(&wheel, &table, (uint32_t)now, period, &cursor, &idle)) !=
               TARN_NONE) {
            uint32_t k = number_of(slot);
            REQUIRE(k < OBJECTS && due[k] <= now);
            int level;
            uint64_t age = now - asked[k];
            CHECK(idle == ((double)age >= (double)period / 128 * (double)(1u << cursor)));
            due[k] = now + delay_of(age, (double)period, &level);
            CHECK_NUMBER(tarn_table_meta(&table, slot)->level, level);
            CHECK_NUMBER(tarn_table_meta(&table, slot)->due, (uint32_t)due[k]);
            levels |= 1u << level;
            visits++;
            idle_visits += idle;
        }
        CHECK_NUMBER(cursor, TARN_WHEEL_LEVELS);
        for (uint32_t k = 0; k < OBJECTS && step % 50 == 0; k++)
            CHECK(due[k] > now); /* nobody was left out */
        CHECK_NUMBER(filed(), OBJECTS);
    }
    CHECK(visits > OBJECTS && idle_visits > 0 && idle_visits < visits);
    CHECK_NUMBER(levels, (1u << TARN_WHEEL_LEVELS) - 1);
    tarn_table_free(&table);
}

static void each_resident_is_visited_when_due(void)
{
    run(0);
}

static void counts_that_pass_32_bits_change_nothing(void)
{
    run(((uint64_t)1 << 32) - 60000);
}

static void what_was_removed_never_comes(void)
{
    struct tarn_rng rng;
    static bool gone[OBJECTS];
    tarn_rng_seed(&rng, 9);
    memset(gone, 0, sizeof gone);
    begin(1000);
    uint32_t left = OBJECTS;
    for (uint64_t now = 1000; now < 40000; now += 100) {
        uint32_t k = tarn_rng_below(&rng, OBJECTS);
        if (!gone[k]) {
            tarn_wheel_remove(&wheel, &table, slots[k]);
            gone[k] = true;
            left--;
        }
        CHECK_NUMBER(filed(), left);
        int cursor = 0;
        bool idle;
        uint32_t slot;
        while ((slot = tarn_wheel_next(&wheel, &table, (uint32_t)now, 6400, &cursor, &idle)) !=
               TARN_NONE)
            CHECK(!gone[number_of(slot)]);
    }
    CHECK(left < OBJECTS / 2);
    tarn_table_free(&table);
}

/* An object that nobody asks for any more must not look young again after 2^32 requests. */
static void ages_saturate(void)
{
    begin(0);
    uint64_t now = 0;
    for (; now < (uint64_t)3 << 31; now += (uint64_t)1 << 28) {
        int cursor = 0;
        bool idle;
        uint32_t slot, before = 0;
        while ((slot = tarn_wheel_next(&wheel, &table, (uint32_t)now, 6400, &cursor, &idle)) !=
               TARN_NONE) {
            uint32_t age = (uint32_t)now - tarn_table_meta(&table, slot)->last;
            CHECK(now < 1 << 30 ? age == (uint32_t)now : age >= 1 << 30 && age < 3u << 29);
            uint32_t stay = (uint32_t)now - tarn_table_meta(&table, slot)->inserted;
            CHECK(stay == age);
            before++;
        }
        CHECK(now == 0 || before == OBJECTS);
    }
    tarn_table_free(&table);
}

CHECK_MAIN(CASE(each_resident_is_visited_when_due), CASE(counts_that_pass_32_bits_change_nothing),
           CASE(what_was_removed_never_comes), CASE(ages_saturate))
