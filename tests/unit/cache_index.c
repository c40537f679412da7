/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "base/rng.h"
#include "base/memory.h"
#include "cache/index.h"
#include "cache/meta.h"
#include "kernels/layout.h"

/* What the index knows of slots: their hashes, and how often it asked. */
struct keys {
    uint64_t *hash;
    size_t asked;
};

static uint64_t hash_of(void *context, uint32_t slot)
{
    struct keys *keys = context;
    keys->asked++;
    return keys->hash[slot];
}

struct wanted {
    const struct keys *keys;
    uint64_t hash;
};

static bool same_hash(void *context, uint32_t slot)
{
    const struct wanted *wanted = context;
    return wanted->keys->hash[slot] == wanted->hash;
}

static uint32_t find(const tarn_index *index, const struct keys *keys, uint64_t hash)
{
    return tarn_index_find(index, hash, same_hash, &(struct wanted){keys, hash});
}

static void random_hashes(struct keys *keys, size_t count, uint64_t seed)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    keys->hash = malloc(count * sizeof *keys->hash);
    keys->asked = 0;
    for (size_t i = 0; i < count; i++)
        keys->hash[i] = tarn_rng_next(&rng);
}

static void layout_is_the_kernels(void)
{
    CHECK_NUMBER(TARN_INDEX_SLOTS, TARN_BUCKET_SLOTS);
    CHECK_NUMBER(sizeof(struct tarn_bucket), TARN_BUCKET_WORDS * 4);
    CHECK_NUMBER(offsetof(struct tarn_bucket, ref), TARN_BUCKET_SLOTS * 4);
    CHECK_NUMBER(TARN_NONE, TARN_SLOT_NONE);
    for (uint32_t tag = 1; tag < 0xf0000000u; tag = tag * 3 + 7)
        CHECK_NUMBER(tarn_index_spread(tag), TARN_INDEX_SPREAD(tag));
    CHECK_NUMBER(tarn_index_tag(5), 1);
    CHECK_NUMBER(tarn_index_tag(7ull << 32 | 5), 7);
}

/* As a kernel reads it: straight from the buckets. */
static uint32_t kernel_find(struct tarn_index_view view, uint64_t hash)
{
    uint32_t tag = hash >> 32 ? (uint32_t)(hash >> 32) : 1, mask = view.bucket_count - 1;
    uint32_t first = (uint32_t)hash & mask;
    uint32_t both[2] = {first, first ^ (TARN_INDEX_SPREAD(tag) & mask)};
    for (int b = 0; b < 2; b++) {
        for (int i = 0; i < TARN_BUCKET_SLOTS; i++) {
            if (view.buckets[both[b]].tag[i] == tag)
                return view.buckets[both[b]].ref[i];
        }
    }
    return TARN_NONE;
}

static void fills_to_95_percent(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint32_t buckets = 1u << (seed * 2 + 1), places = buckets * TARN_INDEX_SLOTS, added = 0;
        struct keys keys;
        tarn_index *index;
        random_hashes(&keys, places + 1, seed);
        REQUIRE(tarn_index_create((size_t)(places * 0.95), NULL, hash_of, &keys, &index) ==
                TARN_OK);
        CHECK_NUMBER(tarn_index_get_view(index).bucket_count, buckets);
        for (; tarn_index_get_view(index).bucket_count == buckets && added < places; added++) {
            CHECK(!tarn_index_get_view(index).growing); /* all of them in the buckets */
            REQUIRE(tarn_index_insert(index, keys.hash[added], added) == TARN_OK);
        }
        printf("# %u places, load before growth %.4f\n", places, (added - 1.0) / places);
        if (buckets >= 32)
            CHECK(added - 1 >= 0.95 * places);
        for (uint32_t i = 0; i < added; i++)
            CHECK_NUMBER(find(index, &keys, keys.hash[i]), i);
        tarn_index_destroy(&index);
        CHECK(index == NULL);
        free(keys.hash);
    }
}

static void expected_entries_need_no_growth(void)
{
    for (size_t expected = 100; expected < 300000; expected = expected * 7 / 3) {
        struct keys keys;
        tarn_index *index;
        random_hashes(&keys, expected, expected);
        REQUIRE(tarn_index_create(expected, NULL, hash_of, &keys, &index) == TARN_OK);
        uint32_t buckets = tarn_index_get_view(index).bucket_count;
        CHECK(buckets * 8ull * 95 / 100 >= expected);
        for (uint32_t i = 0; i < expected; i++)
            REQUIRE(tarn_index_insert(index, keys.hash[i], i) == TARN_OK);
        CHECK_NUMBER(tarn_index_get_view(index).bucket_count, buckets);
        CHECK(!tarn_index_get_view(index).growing);
        for (uint32_t i = 0; i < expected; i++)
            CHECK_NUMBER(kernel_find(tarn_index_get_view(index), keys.hash[i]), i);
        tarn_index_destroy(&index);
        free(keys.hash);
    }
}

static void growth_is_bounded_and_loses_nothing(void)
{
    enum { COUNT = 100000 };
    struct keys keys;
    tarn_index *index;
    size_t most = 0, grown = 0, waited = 0;
    random_hashes(&keys, COUNT, 3);
    REQUIRE(tarn_index_create(10, NULL, hash_of, &keys, &index) == TARN_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t buckets = tarn_index_get_view(index).bucket_count;
        keys.asked = 0;
        REQUIRE(tarn_index_insert(index, keys.hash[i], i) == TARN_OK);
        most = keys.asked > most ? keys.asked : most;
        grown += tarn_index_get_view(index).bucket_count != buckets;
        waited += tarn_index_get_view(index).growing;
        /* all of them, now and then, in the midst of moving too */
        for (uint32_t j = i % 997 == 0 || (i > 2000 && i < 2010) ? 0 : i; j <= i; j++)
            REQUIRE(find(index, &keys, keys.hash[j]) == j);
    }
    CHECK(most > 0 && most <= TARN_INDEX_MOVES * TARN_INDEX_SLOTS);
    CHECK(grown > 10);
    CHECK(waited > 1000 && waited < COUNT / 2);
    CHECK_NUMBER(tarn_index_count(index), COUNT);
    tarn_index_destroy(&index);
    free(keys.hash);
}

/* 10^6 operations on few enough slots that each is inserted and removed often, growth in between.
 */
static void agrees_with_a_reference(void)
{
    enum { SLOTS = 60000, OPERATIONS = 1000000 };
    struct keys keys;
    struct tarn_rng rng;
    tarn_index *index;
    uint32_t count = 0;
    bool *present = calloc(SLOTS, 1);
    tarn_rng_seed(&rng, 11);
    random_hashes(&keys, SLOTS, 12);
    REQUIRE(tarn_index_create(0, NULL, hash_of, &keys, &index) == TARN_OK);
    for (int i = 0; i < OPERATIONS; i++) {
        /* the population swells and shrinks */
        uint32_t bound = 100 + (uint32_t)i % 300000 / 5, slot = tarn_rng_below(&rng, bound);
        uint64_t version = tarn_index_get_view(index).version;
        if (!present[slot]) {
            CHECK(find(index, &keys, keys.hash[slot]) == TARN_NONE);
            CHECK(!tarn_index_remove(index, keys.hash[slot], slot));
            keys.hash[slot] = tarn_rng_next(&rng);
            REQUIRE(tarn_index_insert(index, keys.hash[slot], slot) == TARN_OK);
            count++;
        } else {
            CHECK(find(index, &keys, keys.hash[slot]) == slot);
            CHECK(tarn_index_remove(index, keys.hash[slot], slot));
            count--;
        }
        CHECK(tarn_index_get_view(index).version != version);
        present[slot] = !present[slot];
        CHECK(tarn_index_count(index) == count);
        REQUIRE(check_failures == 0);
    }
    for (uint32_t slot = 0; slot < SLOTS; slot++)
        CHECK(find(index, &keys, keys.hash[slot]) == (present[slot] ? slot : TARN_NONE));
    tarn_index_destroy(&index);
    free(present);
    free(keys.hash);
}

static bool is_slot(void *context, uint32_t slot)
{
    return *(const uint32_t *)context == slot;
}

static void forged_collisions_are_refused_in_the_end(void)
{
    struct keys keys = {malloc(1000 * sizeof(uint64_t)), 0};
    tarn_index *index;
    uint32_t added = 0, buckets;
    REQUIRE(tarn_index_create(10, NULL, hash_of, &keys, &index) == TARN_OK);
    for (uint32_t i = 0; i < 1000; i++)
        keys.hash[i] = 0x123456789abcdef0u;
    while (added < 1000 && tarn_index_insert(index, keys.hash[added], added) == TARN_OK)
        added++;
    /* two buckets full of one hash, the stash, and as much again stuck in an older table */
    CHECK(added >= TARN_INDEX_STASH + TARN_INDEX_SLOTS && added <= TARN_INDEX_STASH + 32);
    buckets = tarn_index_get_view(index).bucket_count;
    CHECK(buckets < 1000);
    CHECK(tarn_index_get_view(index).growing);
    CHECK_NUMBER(tarn_index_count(index), added);
    for (uint32_t i = 0; i < added; i++)
        CHECK_NUMBER(tarn_index_find(index, keys.hash[i], is_slot, &i), i);
    CHECK(tarn_index_find(index, keys.hash[0], is_slot, &added) == TARN_NONE);
    /* others still find a place, and the stash flows back when places become free */
    for (uint32_t i = 900; i < 1000; i++) {
        keys.hash[i] = i * 0x9e3779b97f4a7c15u;
        CHECK(tarn_index_insert(index, keys.hash[i], i) == TARN_OK);
    }
    for (uint32_t i = 0; i < added; i++)
        CHECK(tarn_index_remove(index, keys.hash[i], i));
    for (uint32_t i = 900; i < 1000; i++)
        CHECK_NUMBER(find(index, &keys, keys.hash[i]), i);
    CHECK_NUMBER(tarn_index_count(index), 100);
    tarn_index_destroy(&index);
    free(keys.hash);
}

/* What found no place is beside the table until there is one, for kernels to see as well. */
static void the_stash_flows_back(void)
{
    struct keys keys = {malloc(40 * sizeof(uint64_t)), 0};
    tarn_index *index;
    REQUIRE(tarn_index_create(1000, NULL, hash_of, &keys, &index) == TARN_OK);
    for (uint32_t i = 0; i < 26; i++) {
        keys.hash[i] = 0x123456789abcdef0u;
        CHECK(tarn_index_insert(index, keys.hash[i], i) == TARN_OK);
        CHECK(tarn_index_get_view(index).growing == (i >= 16));
    }
    CHECK_NUMBER(tarn_index_get_view(index).bucket_count, 256);
    for (uint32_t i = 0; i < 10; i++) {
        CHECK(tarn_index_get_view(index).growing);
        CHECK(tarn_index_remove(index, keys.hash[i], i));
    }
    CHECK(!tarn_index_get_view(index).growing);
    for (uint32_t i = 10; i < 26; i++)
        CHECK(tarn_index_find(index, keys.hash[i], is_slot, &i) == i);
    tarn_index_destroy(&index);
    free(keys.hash);
}

/* Tags that agree, over and over: callers tell the entries apart. */
static void equal_tags_are_told_apart(void)
{
    enum { COUNT = 20000 };
    struct keys keys = {malloc(COUNT * sizeof(uint64_t)), 0};
    struct tarn_rng rng;
    tarn_index *index;
    tarn_rng_seed(&rng, 5);
    for (uint32_t i = 0; i < COUNT; i++)
        keys.hash[i] = (uint64_t)(i % 7) << 32 | (uint32_t)tarn_rng_next(&rng);
    REQUIRE(tarn_index_create(10, NULL, hash_of, &keys, &index) == TARN_OK);
    for (uint32_t i = 0; i < COUNT; i++)
        REQUIRE(tarn_index_insert(index, keys.hash[i], i) == TARN_OK);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t found = find(index, &keys, keys.hash[i]);
        REQUIRE(found != TARN_NONE && keys.hash[found] == keys.hash[i]);
        CHECK(tarn_index_find(index, keys.hash[i], NULL, NULL) != TARN_NONE);
    }
    for (uint32_t i = 0; i < COUNT; i += 2)
        CHECK(tarn_index_remove(index, keys.hash[i], i));
    for (uint32_t i = 0; i < COUNT; i++)
        CHECK((tarn_index_find(index, keys.hash[i], is_slot, &i) == i) == (i % 2 == 1));
    tarn_index_destroy(&index);
    free(keys.hash);
}

struct mirror {
    char *bytes;
    size_t size, visited;
    const struct tarn_bucket *from;
};

static void copy_range(void *context, size_t offset, size_t size)
{
    struct mirror *mirror = context;
    CHECK(size > 0 && offset + size <= mirror->size);
    memcpy(mirror->bytes + offset, (const char *)mirror->from + offset, size);
    mirror->visited += size;
}

static void a_mirror_follows_by_dirty_ranges(void)
{
    enum { COUNT = 30000 };
    struct keys keys;
    struct mirror mirror = {calloc(1, 64 * COUNT), 0, 0, NULL};
    tarn_index *index;
    random_hashes(&keys, COUNT, 21);
    REQUIRE(tarn_index_create(100, NULL, hash_of, &keys, &index) == TARN_OK);
    REQUIRE(tarn_index_insert(index, keys.hash[0], 0) == TARN_OK);
    CHECK(tarn_index_track(index) == TARN_OK);
    CHECK(tarn_index_track(index) == TARN_OK);
    for (uint32_t i = 1; i < COUNT; i++) {
        REQUIRE(tarn_index_insert(index, keys.hash[i], i) == TARN_OK);
        if (i % 3 == 0)
            CHECK(tarn_index_remove(index, keys.hash[i - 1], i - 1));
        if (i % 501 == 0) {
            struct tarn_index_view view = tarn_index_get_view(index);
            mirror.size = view.bucket_count * sizeof *view.buckets;
            mirror.from = view.buckets;
            tarn_index_flush(index, copy_range, &mirror);
            REQUIRE(memcmp(mirror.bytes, view.buckets, mirror.size) == 0);
        }
    }
    /* settled: one insertion dirties little, and nothing comes twice */
    tarn_index_flush(index, copy_range, &mirror);
    mirror.visited = 0;
    CHECK(tarn_index_remove(index, keys.hash[COUNT - 1], COUNT - 1));
    tarn_index_flush(index, copy_range, &mirror);
    CHECK_NUMBER(mirror.visited, 64);
    tarn_index_flush(index, copy_range, &mirror);
    CHECK_NUMBER(mirror.visited, 64);
    tarn_index_destroy(&index);
    free(mirror.bytes);
    free(keys.hash);
}

struct source {
    size_t held;
    bool refuse;
};

static void *source_allocate(void *context, size_t size)
{
    struct source *source = context;
    if (source->refuse)
        return NULL;
    source->held += size;
    return tarn_alloc_lines(size);
}

static void source_release(void *context, void *memory, size_t size)
{
    ((struct source *)context)->held -= size;
    tarn_free_lines(memory);
}

static void memory_comes_from_the_source_or_not(void)
{
    struct source source = {0};
    struct tarn_memory_source memory = {&source, source_allocate, source_release};
    struct keys keys;
    tarn_index *index;
    uint32_t added = 0;
    random_hashes(&keys, 10000, 9);
    REQUIRE(tarn_index_create(100, &memory, hash_of, &keys, &index) == TARN_OK);
    CHECK_NUMBER(source.held, 16 * 64);
    CHECK((uintptr_t)tarn_index_get_view(index).buckets % 64 == 0);
    source.refuse = true;
    while (tarn_index_insert(index, keys.hash[added], added) == TARN_OK)
        added++;
    CHECK(added >= 16 * 8 * 9 / 10 && added <= 16 * 8);
    CHECK_NUMBER(tarn_index_count(index), added);
    for (uint32_t i = 0; i < added; i++)
        CHECK_NUMBER(find(index, &keys, keys.hash[i]), i);
    CHECK(find(index, &keys, keys.hash[added]) == TARN_NONE);
    source.refuse = false;
    for (; added < 10000; added++)
        REQUIRE(tarn_index_insert(index, keys.hash[added], added) == TARN_OK);
    CHECK(tarn_index_memory(index) >= source.held);
    tarn_index_destroy(&index);
    CHECK_NUMBER(source.held, 0);
    source.refuse = true;
    CHECK(tarn_index_create(100, &memory, hash_of, &keys, &index) == TARN_NO_MEMORY);
    CHECK(index == NULL);
    CHECK(tarn_index_create(SIZE_MAX / 2, NULL, hash_of, &keys, &index) == TARN_INVALID);
    free(keys.hash);
}

/* Back and forth between two memories while it grows: nothing is lost, nothing is left behind. */
static void it_moves_to_another_memory(void)
{
    struct source sources[2] = {{0}, {0}};
    const struct tarn_memory_source memory[2] = {{&sources[0], source_allocate, source_release},
                                                 {&sources[1], source_allocate, source_release}};
    struct keys keys;
    tarn_index *index;
    int growing = 0;
    random_hashes(&keys, 20000, 10);
    REQUIRE(tarn_index_create(100, &memory[0], hash_of, &keys, &index) == TARN_OK);
    CHECK(tarn_index_track(index) == TARN_OK);
    for (uint32_t added = 0; added < 20000; added++) {
        REQUIRE(tarn_index_insert(index, keys.hash[added], added) == TARN_OK);
        bool grows = tarn_index_get_view(index).growing;
        if (added % 97 != 0 && !(grows && added % 7 == 0))
            continue;
        growing += grows;
        uint64_t version = tarn_index_get_view(index).version;
        int to = (int)(added % 3);
        REQUIRE(tarn_index_migrate(index, to < 2 ? &memory[to] : NULL) == TARN_OK);
        CHECK(tarn_index_get_view(index).version != version);
        CHECK((sources[0].held > 0) == (to == 0) && (sources[1].held > 0) == (to == 1));
        for (uint32_t i = 0; i <= added; i += 1 + added / 200)
            CHECK_NUMBER(find(index, &keys, keys.hash[i]), i);
    }
    CHECK(growing > 10);
    /* no memory there: it stays where it is and works */
    REQUIRE(tarn_index_migrate(index, &memory[0]) == TARN_OK);
    sources[1].refuse = true;
    const void *before = tarn_index_get_view(index).buckets;
    CHECK(tarn_index_migrate(index, &memory[1]) == TARN_NO_MEMORY);
    CHECK(tarn_index_get_view(index).buckets == before);
    CHECK_NUMBER(sources[1].held, 0);
    for (uint32_t i = 0; i < 20000; i += 3)
        CHECK(tarn_index_remove(index, keys.hash[i], i));
    tarn_index_destroy(&index);
    CHECK(sources[0].held == 0 && sources[1].held == 0);
    free(keys.hash);
}

CHECK_MAIN(CASE(layout_is_the_kernels), CASE(fills_to_95_percent),
           CASE(expected_entries_need_no_growth), CASE(growth_is_bounded_and_loses_nothing),
           CASE(agrees_with_a_reference), CASE(forged_collisions_are_refused_in_the_end),
           CASE(the_stash_flows_back), CASE(equal_tags_are_told_apart),
           CASE(a_mirror_follows_by_dirty_ranges), CASE(memory_comes_from_the_source_or_not),
           CASE(it_moves_to_another_memory))
