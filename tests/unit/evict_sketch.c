/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "base/memory.h"
#include "base/rng.h"
#include "evict/sketch.h"

static uint64_t key(uint64_t i)
{
    return tarn_splitmix64(&i);
}

static void never_under_estimates_within_an_epoch(void)
{
    enum { KEYS = 3000 };
    static uint8_t count[KEYS];
    struct tarn_sketch sketch;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    memset(count, 0, sizeof count);
    REQUIRE(tarn_sketch_init(&sketch, 4096, 1u << 30) == TARN_OK);
    uint32_t over = 0;
    for (int i = 0; i < 20000; i++) {
        double u = tarn_rng_double(&rng);
        uint32_t k = (uint32_t)(u * u * KEYS);
        count[k] += count[k] < 15;
        uint8_t noted = tarn_sketch_add(&sketch, key(k));
        CHECK((noted & 15) >= count[k] && noted >> 4 == 0);
        CHECK_NUMBER(tarn_sketch_estimate(&sketch, key(k)), noted);
        over += (noted & 15) > count[k];
    }
    CHECK(over > 0); /* crowded enough to make a mistake possible */
    tarn_sketch_free(&sketch);
    /* and where there is room, it counts exactly */
    REQUIRE(tarn_sketch_init(&sketch, 1 << 20, 1u << 30) == TARN_OK);
    for (uint32_t k = 0; k < 50; k++)
        for (uint32_t i = 0; i < k; i++)
            CHECK_NUMBER(tarn_sketch_add(&sketch, key(k)), i < 14 ? i + 1 : 15);
    tarn_sketch_free(&sketch);
    CHECK(sketch.words == NULL);
}

static void every_counter_is_halved_once_an_epoch(void)
{
    struct tarn_sketch sketch;
    const uint32_t period = 1500; /* no multiple of the words */
    REQUIRE(tarn_sketch_init(&sketch, 1024, period) == TARN_OK);
    uint32_t words = (sketch.mask + 1) / 16;
    memset(sketch.words, 0xff, words * sizeof *sketch.words);
    uint8_t noted = tarn_sketch_estimate(&sketch, key(1));
    CHECK_NUMBER(noted, 15);
    uint32_t halved_at_once = 0;
    for (uint32_t epoch = 1; epoch <= 3; epoch++) {
        for (uint32_t i = 0; i < period; i++) {
            uint32_t before = sketch.cursor;
            tarn_sketch_add(&sketch, key(0));
            uint32_t step = sketch.cursor > before ? sketch.cursor - before : 0;
            halved_at_once = step > halved_at_once ? step : halved_at_once;
        }
        CHECK_NUMBER(sketch.epoch, epoch);
        uint32_t right = 0;
        for (uint32_t w = 0; w < words; w++) {
            uint64_t wanted = 0x1111111111111111u * (15u >> epoch);
            right += sketch.words[w] == wanted;
        }
        CHECK(right >= words - 3 && right < words); /* but those that key(0) counts in */
        CHECK_NUMBER(tarn_sketch_age(&sketch, noted), 15 >> epoch);
    }
    CHECK(halved_at_once <= 2); /* no access takes long */
    tarn_sketch_free(&sketch);
}

static void the_epoch_turns_over(void)
{
    struct tarn_sketch sketch;
    REQUIRE(tarn_sketch_init(&sketch, 1024, 16) == TARN_OK);
    for (int i = 0; i < 15 * 16; i++)
        tarn_sketch_add(&sketch, key((uint64_t)i));
    CHECK_NUMBER(sketch.epoch, 15);
    uint8_t noted = 12 | 15 << 4;
    CHECK_NUMBER(tarn_sketch_age(&sketch, noted), 12);
    for (int i = 0; i < 2 * 16; i++)
        tarn_sketch_add(&sketch, key((uint64_t)i));
    CHECK_NUMBER(sketch.epoch, 1);
    CHECK_NUMBER(tarn_sketch_age(&sketch, noted), 3);
    tarn_sketch_free(&sketch);
}

static void all_rows_use_all_of_a_large_sketch(void)
{
    struct tarn_sketch sketch;
    REQUIRE(tarn_sketch_init(&sketch, 1 << 24, 1u << 30) == TARN_OK);
    for (uint64_t i = 0; i < 1000; i++)
        tarn_sketch_add(&sketch, key(i));
    uint32_t high = 0; /* in the upper three quarters, which 22 bits don't reach */
    for (uint32_t w = 1 << 22 >> 4; w < 1 << 24 >> 4; w++)
        high += (uint32_t)__builtin_popcountll(sketch.words[w]);
    CHECK(high > 2100 && high < 2400); /* 3 * 1000 * 3 / 4 */
    tarn_sketch_free(&sketch);
}

static bool refuse(size_t size)
{
    return size == 0;
}

static void without_memory_it_says_so_and_estimates_nothing(void)
{
    struct tarn_sketch sketch;
    tarn_memory_set_hook(refuse);
    tarn_status status = tarn_sketch_init(&sketch, 4096, 1000);
    tarn_memory_set_hook(NULL);
    CHECK(status == TARN_NO_MEMORY);
    CHECK_NUMBER(tarn_sketch_add(&sketch, 1), 0);
    CHECK_NUMBER(tarn_sketch_estimate(&sketch, 1), 0);
    CHECK_NUMBER(sketch.mask, 0);
    tarn_sketch_free(&sketch);
}

CHECK_MAIN(CASE(never_under_estimates_within_an_epoch), CASE(every_counter_is_halved_once_an_epoch),
           CASE(the_epoch_turns_over), CASE(all_rows_use_all_of_a_large_sketch),
           CASE(without_memory_it_says_so_and_estimates_nothing))
