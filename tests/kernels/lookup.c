/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

struct table {
    uint32_t mask;
    uint32_t *buckets;
    uint32_t *hashes; /* pairs: every kind of key */
    uint32_t *wanted; /* by plain code */
    size_t count;
};

static uint32_t plain_lookup(const struct table *t, uint32_t low, uint32_t high)
{
    uint32_t tag = high == 0 ? 1 : high, first = low & t->mask;
    uint32_t numbers[2] = {first, first ^ (TARN_INDEX_SPREAD(tag) & t->mask)};
    for (int b = 0; b < 2; b++)
        for (uint32_t i = 0; i < TARN_BUCKET_SLOTS; i++)
            if (t->buckets[numbers[b] * TARN_BUCKET_WORDS + i] == tag)
                return t->buckets[numbers[b] * TARN_BUCKET_WORDS + TARN_BUCKET_SLOTS + i];
    return TARN_SLOT_NONE;
}

/*
 * Any bucket full of any tags is a legal input. Some places are free, some tags occur twice (in one
 * bucket, or in both of a key); keys are in their first or second bucket or nowhere, and some have
 * a high word of 0.
 */
static struct table some_table(struct tarn_rng *rng, uint32_t log2_buckets, size_t count)
{
    struct table t = {.mask = (1u << log2_buckets) - 1, .count = count};
    size_t words = ((size_t)t.mask + 1) * TARN_BUCKET_WORDS;
    t.buckets = some(words * 4);
    t.hashes = some(count * 8);
    t.wanted = some(count * 4);
    for (size_t i = 0; i < words; i++) {
        bool tag = i % TARN_BUCKET_WORDS < TARN_BUCKET_SLOTS;
        t.buckets[i] = tag && tarn_rng_below(rng, 4) == 0 ? 0 : (uint32_t)tarn_rng_next(rng);
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t low = (uint32_t)tarn_rng_next(rng), high = (uint32_t)tarn_rng_next(rng);
        uint32_t place = tarn_rng_below(rng, TARN_BUCKET_SLOTS), kind = tarn_rng_below(rng, 8);
        if (kind == 0)
            high = 0;
        uint32_t tag = high == 0 ? 1 : high, first = low & t.mask;
        uint32_t second = first ^ (TARN_INDEX_SPREAD(tag) & t.mask);
        if (kind <= 3)
            t.buckets[first * TARN_BUCKET_WORDS + place] = tag;
        if (kind == 2)
            t.buckets[first * TARN_BUCKET_WORDS + (place + 3) % TARN_BUCKET_SLOTS] = tag;
        if (kind >= 3 && kind <= 5)
            t.buckets[second * TARN_BUCKET_WORDS + place] = tag;
        t.hashes[2 * i] = low;
        t.hashes[2 * i + 1] = high;
    }
    for (size_t i = 0; i < count; i++)
        t.wanted[i] = plain_lookup(&t, t.hashes[2 * i], t.hashes[2 * i + 1]);
    return t;
}

static void free_table(struct table *t)
{
    free(t->buckets);
    free(t->hashes);
    free(t->wanted);
}

static void variants_agree_with_plain_code(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 11);
    for (int round = 0; round < 60; round++) {
        size_t count = round < 3 ? (size_t)round : between(&rng, 1, 700);
        struct table t = some_table(&rng, tarn_rng_below(&rng, 12), count);
        uint32_t *slots = some((count + 1) * 4);
        size_t found = 0;
        for (size_t n = 0; n < tarn_isa_count(); n++) {
            memset(slots, 0x77, (count + 1) * 4);
            tarn_isa_get(n)->lookup(t.buckets, t.mask, t.hashes, count, slots);
            CHECK(memcmp(slots, t.wanted, count * 4) == 0);
            CHECK(slots[count] == 0x77777777u);
        }
        for (size_t i = 0; i < count; i++)
            found += t.wanted[i] != TARN_SLOT_NONE;
        CHECK(count < 100 || (found > 0 && found < count));
        free(slots);
        free_table(&t);
    }
}

static void devices_agree_with_plain_code(void)
{
    struct target target;
    for (size_t n = 0; open_target(n, &tarn_lookup_source, NULL, &target); n++) {
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 13);
        for (int round = 0; round < 20; round++) {
            size_t count = round < 2 ? (size_t)round + 1 : between(&rng, 1, 9000);
            uint32_t bits = tarn_rng_below(&rng, 13);
            struct table t = some_table(&rng, bits, count);
            uint32_t *slots = some((count + 1) * 4);
            const struct argument arguments[] = {
                {((size_t)t.mask + 1) * 64, t.buckets, NULL},
                {count * 8, t.hashes, NULL},
                {(count + 1) * 4, NULL, slots},
            };
            CHECK(launch(&target, arguments, 3,
                         &(struct tarn_lookup_constants){(uint32_t)count, t.mask},
                         (uint32_t)count));
            CHECK(memcmp(slots, t.wanted, count * 4) == 0);
            CHECK(slots[count] == 0x77777777u);
            free(slots);
            free_table(&t);
        }
        if (check_failures > 0)
            printf("# on %s\n", target.name);
        close_target(&target);
    }
}

static void bench(void)
{
    enum { N = 1 << 18, ROUNDS = 15 };
    for (uint32_t bits = 17; bits <= 21; bits += 4) {
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 12);
        struct table t = some_table(&rng, bits, N);
        uint32_t *slots = some(N * 4);
        double times[8][ROUNDS];
        for (int r = 0; r < ROUNDS; r++)
            for (size_t n = 0; n < tarn_isa_count(); n++) {
                uint64_t start = tarn_clock_thread_cpu_ns();
                tarn_isa_get(n)->lookup(t.buckets, t.mask, t.hashes, N, slots);
                times[n][r] = (double)(tarn_clock_thread_cpu_ns() - start) / N;
            }
        for (size_t n = 0; n < tarn_isa_count(); n++)
            printf("lookup %u M places %-8s %6.1f ns a key\n", 8u << bits >> 20,
                   tarn_isa_get(n)->name, median(times[n], ROUNDS));
        free(slots);
        free_table(&t);
    }
}

KERNELS_MAIN(bench, CASE(variants_agree_with_plain_code), CASE(devices_agree_with_plain_code))
