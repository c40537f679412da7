/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "experts/stream.h"

static struct tarn_stream *stream;
static struct tarn_stream_figures figures;

static void begin(void)
{
    if (tarn_stream_create(&stream) != TARN_OK)
        abort();
}

static void end(void)
{
    tarn_stream_get_figures(stream, &figures);
    tarn_stream_destroy(&stream);
}

static void ask(uint64_t key)
{
    tarn_stream_access(stream, tarn_mix64(key + 1), -1);
}

static bool is_near(double x, double wanted, double slack)
{
    if (fabs(x - wanted) <= slack)
        return true;
    printf("# %g, not %g\n", x, wanted);
    return false;
}

static void looks_come_early_and_then_in_periods(void)
{
    int looks = 0;
    begin();
    for (uint64_t i = 1; i <= 5 * TARN_STREAM_PERIOD; i++) {
        bool look = tarn_stream_access(stream, tarn_mix64(i % 100), -1);
        CHECK(look == (i == 256 || i == 512 || i == 1024 || i % TARN_STREAM_PERIOD == 0));
        looks += look;
    }
    CHECK_NUMBER(looks, 8);
    end();
    CHECK_NUMBER(figures.requests, 5 * TARN_STREAM_PERIOD);
}

static void nothing_is_known_of_an_empty_stream(void)
{
    int8_t features[TARN_STREAM_FEATURES];
    begin();
    tarn_stream_features(stream, features); /* and nothing divides by zero */
    end();
    CHECK_NUMBER(figures.requests, 0);
    CHECK_NUMBER(figures.unseen, 0);
    CHECK_NUMBER(figures.burstiness, 0);
}

static void one_key_is_all_there_is(void)
{
    begin();
    for (int i = 0; i < 50000; i++)
        ask(7);
    end();
    CHECK(is_near((double)figures.within[0], 1, 0.01));
    CHECK(is_near((double)figures.unseen, 0, 0.01));
    CHECK(is_near((double)figures.top, 1, 0.01));
    CHECK(is_near((double)figures.change, 0, 0.01));
}

static void new_keys_only_are_seen_as_such(void)
{
    begin();
    for (uint64_t i = 0; i < 600000; i++)
        ask(i);
    end();
    CHECK(is_near((double)figures.within[TARN_STREAM_TIERS - 1], 0, 0.06));
    CHECK(is_near((double)figures.unseen, 1, 0.06));
    CHECK(is_near((double)figures.one_hit, 1, 0));
    CHECK(is_near((double)figures.top, 0, 0.01));
}

/* A loop over n keys is found by the tier that holds as many, and by no smaller one. */
static void loops_return_at_their_own_length(void)
{
    static const uint64_t lengths[TARN_STREAM_TIERS] = {300, 2500, 20000, 150000};
    for (int tier = 0; tier < TARN_STREAM_TIERS; tier++) {
        begin();
        for (uint64_t i = 0; i < 10 * lengths[tier] + 100000; i++)
            ask(i % lengths[tier]);
        end();
        CHECK(is_near((double)figures.within[tier], 1, 0.1));
        for (int lower = 0; lower < tier; lower++)
            CHECK(is_near((double)figures.within[lower], 0, 0.05));
        CHECK(is_near((double)figures.constant, 1, 0.05));
        CHECK(is_near((double)figures.ordered, 1, 0.05));
    }
}

/* Of independent requests for n equal keys, the last m distinct ones hold m / n. */
static void even_requests_reach_as_far_back_as_chance_says(void)
{
    static const uint32_t keys[] = {2048, 16384, 131072};
    for (int i = 0; i < 3; i++) {
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 3);
        begin();
        for (int n = 0; n < 1000000; n++)
            ask(tarn_rng_below(&rng, keys[i]));
        end();
        for (int tier = 0; tier < TARN_STREAM_TIERS; tier++) {
            double within = (double)(TARN_STREAM_KEYS << (TARN_STREAM_STEP * tier)) / keys[i];
            CHECK(is_near((double)figures.within[tier], within < 1 ? within : 1, 0.07));
        }
        CHECK(is_near((double)figures.constant, 0.02, 0.02));
        CHECK(is_near((double)figures.ordered, 0.04, 0.03));
        /* where nearly all are misses there is nothing to tell */
        CHECK(i == 2 || is_near((double)figures.burstiness, 1, 0.3));
    }
}

static void the_hottest_key_shows(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    begin();
    for (int n = 0; n < 100000; n++)
        ask(tarn_rng_below(&rng, 4) == 0 ? 1 : 2 + tarn_rng_below(&rng, 100));
    end();
    CHECK(is_near((double)figures.top, 0.25, 0.05));
}

/* How much likelier a new key is after another one, in the features' steps: 128 are all the difference. */
static int news_after_news(void)
{
    int8_t features[TARN_STREAM_FEATURES];
    tarn_stream_features(stream, features);
    return features[38] - features[39];
}

static void runs_of_new_keys_are_bursts_of_misses(void)
{
    struct tarn_rng rng;
    uint64_t next = 1000;
    tarn_rng_seed(&rng, 3);
    begin();
    for (int n = 0; n < 200000; n++)
        ask(n / 1000 % 2 == 0 ? tarn_rng_below(&rng, 100) : next++);
    end();
    CHECK(figures.burstiness > 20);
    CHECK(is_near((double)figures.one_hit, 1, 0.05));
    begin();
    tarn_rng_seed(&rng, 3);
    for (int n = 0; n < 200000; n++)
        ask(tarn_rng_below(&rng, 2) == 0 ? tarn_rng_below(&rng, 100) : next++);
    end();
    CHECK(is_near((double)figures.burstiness, 1, 0.3));
}

static void new_keys_come_after_new_keys(void)
{
    int after[2];
    for (int runs = 0; runs < 2; runs++) {
        struct tarn_rng rng;
        uint64_t next = 10000;
        tarn_rng_seed(&rng, 3);
        begin();
        for (int n = 0; n < 200000; n++) {
            bool known = runs ? n / 500 % 2 == 0 : tarn_rng_below(&rng, 2) == 0;
            ask(known ? tarn_rng_below(&rng, 2000) : next++);
        }
        after[runs] = news_after_news();
        end();
    }
    CHECK(after[1] > 16 && abs(after[0]) < 8);
}

static void a_change_shows_and_fades(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    begin();
    for (int n = 0; n < 200000; n++)
        ask(tarn_rng_below(&rng, 50));
    tarn_stream_get_figures(stream, &figures);
    CHECK((double)figures.change < 0.03);
    for (uint64_t n = 0; n < 3 * TARN_STREAM_PERIOD; n++)
        ask(n + 1000);
    tarn_stream_get_figures(stream, &figures);
    CHECK((double)figures.change > 0.3);
    for (uint64_t n = 0; n < 200 * TARN_STREAM_PERIOD; n++)
        ask(n + 100000);
    end();
    CHECK((double)figures.change < 0.03);
}

static void sizes_and_writes_are_measured(void)
{
    begin();
    for (uint64_t i = 0; i < 100000; i++) {
        /* as many of 2^4 as of 2^12 bytes, by the key; known at once or later */
        uint64_t hash = tarn_mix64(i);
        float lg = hash >> 40 & 1 ? 4 : 12;
        tarn_stream_access(stream, hash, i % 3 == 0 ? lg : i % 3 == 1 ? -1 : NAN);
        if (i % 3 != 0)
            tarn_stream_size(stream, hash, lg);
        if (i % 4 == 0)
            tarn_stream_write(stream);
    }
    end();
    CHECK(is_near((double)figures.size_lg, 8, 0.5));
    CHECK(is_near((double)figures.size_lg_spread, 4, 0.2));
    CHECK(is_near((double)figures.write_share, 0.2, 0.01));
    begin();
    for (uint64_t i = 0; i < 100000; i++)
        tarn_stream_access(stream, tarn_mix64(i), i % 2 == 0 ? 0 : 64);
    end();
    CHECK(is_near((double)figures.size_lg_spread, 32, 1));
}

/* What order is worth to all 512 keys, one in 8 looked at, in the features' steps: 192 are all hits. */
static int worth_of_order(void)
{
    int8_t features[TARN_STREAM_FEATURES];
    tarn_stream_features(stream, features);
    return features[31];
}

/* What was wanted within the last 4,000 requests, or anything of the 9,000 keys that there are. */
static void order_is_worth_something_to_recency_alone(void)
{
    static uint64_t keys[200000];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    begin();
    for (int i = 0; i < 200000; i++) {
        bool is_new = i < 4000 || tarn_rng_below(&rng, 2) == 0;
        keys[i] = is_new ? (uint64_t)i : keys[i - 1 - (int)tarn_rng_below(&rng, 4000)];
        ask(keys[i]);
    }
    printf("# %d\n", worth_of_order());
    CHECK(worth_of_order() > 10);
    end();
    begin();
    for (int i = 0; i < 200000; i++)
        ask(tarn_rng_below(&rng, 9000));
    CHECK(abs(worth_of_order()) < 5);
    end();
    begin();
    for (uint64_t i = 0; i < 200000; i++)
        ask(i % 9000);
    CHECK(worth_of_order() < -10);
    end();
}

/* No mean of the hashes is asked for: the worst of them must not break anything. */
static void bad_hashes_do_no_harm(void)
{
    static const uint64_t masks[] = {0, 1, 0xffffffff, 0xffffffff00000000u, 7, UINT64_MAX << 58};
    int8_t features[TARN_STREAM_FEATURES];
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++) {
        begin();
        for (uint64_t n = 0; n < 20000; n++)
            tarn_stream_access(stream, tarn_mix64(n) & masks[i], (float)n);
        tarn_stream_features(stream, features);
        end();
        CHECK(isfinite(figures.burstiness) && isfinite(figures.top) && isfinite(figures.unseen));
    }
}

static size_t allocations, largest;

static bool count_allocation(size_t size)
{
    allocations += size > 0;
    largest = size > largest ? size : largest;
    return true;
}

static bool refuse(size_t size)
{
    return size == 0;
}

static void memory_is_fixed(void)
{
    tarn_memory_set_hook(count_allocation);
    begin();
    size_t before = allocations;
    for (uint64_t i = 0; i < 100000; i++)
        ask(i % 30000);
    CHECK_NUMBER(allocations, before);
    CHECK_NUMBER(largest, tarn_stream_memory());
    CHECK(largest <= 64 << 10);
    end();
    tarn_memory_set_hook(refuse);
    CHECK_NUMBER(tarn_stream_create(&stream), TARN_NO_MEMORY);
    CHECK(stream == NULL);
    tarn_memory_set_hook(NULL);
    tarn_stream_destroy(&stream);
}

CHECK_MAIN(CASE(looks_come_early_and_then_in_periods), CASE(nothing_is_known_of_an_empty_stream),
           CASE(one_key_is_all_there_is), CASE(new_keys_only_are_seen_as_such),
           CASE(loops_return_at_their_own_length),
           CASE(even_requests_reach_as_far_back_as_chance_says), CASE(the_hottest_key_shows),
           CASE(runs_of_new_keys_are_bursts_of_misses), CASE(new_keys_come_after_new_keys),
           CASE(a_change_shows_and_fades), CASE(sizes_and_writes_are_measured),
           CASE(order_is_worth_something_to_recency_alone), CASE(bad_hashes_do_no_harm),
           CASE(memory_is_fixed))
