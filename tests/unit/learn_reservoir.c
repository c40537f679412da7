/* SPDX-License-Identifier: Apache-2.0 */
/* The reservoir: what it holds over time, class and rarity, and what comes out of it. */
#include "../check.h"

#include <math.h>

#include "base/memory.h"
#include "learn/reservoir.h"

enum { SIZE = 4096 };

/* A sample that was wanted after `elapsed` T (negative: not until then), with a mark in its features. */
static struct tarn_sample make(struct tarn_rng *rng, float elapsed, uint32_t mark, bool odd)
{
    struct tarn_sample s = {.since = 1000, .period = 1024, .hash = tarn_rng_next(rng) | 1};
    s.wanted = elapsed >= 0;
    s.until = s.since + (uint32_t)(fabsf(elapsed) * 1024);
    for (int f = 4; f < TARN_FEATURES; f++)
        s.features[f] = (int8_t)((int)tarn_rng_below(rng, 40) - 20 + (odd ? 60 : 0));
    memcpy(s.features, &mark, sizeof mark); /* rarity is decided by the others, mostly */
    return s;
}

static uint32_t mark_of(const struct tarn_kept_sample *s)
{
    uint32_t mark;
    memcpy(&mark, s->features, sizeof mark);
    return mark;
}

static void old_samples_stay_in_older_strata(void)
{
    struct tarn_reservoir r;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    REQUIRE(tarn_reservoir_init(&r, SIZE, 7) == TARN_OK);
    CHECK_NUMBER(r.room * TARN_RESERVOIR_STRATA, SIZE);
    enum { MANY = 1600000 };
    for (uint32_t i = 0; i < MANY; i++) {
        struct tarn_sample s = make(&rng, exp2f(tarn_rng_float(&rng) * 12 - 7), i, false);
        tarn_reservoir_offer(&r, &tarn_net_reference, &s, 1u << 20);
    }
    double mean[TARN_RESERVOIR_AGES] = {0};
    uint32_t count[TARN_RESERVOIR_AGES] = {0};
    for (uint32_t stratum = 0; stratum < TARN_RESERVOIR_STRATA; stratum++)
        for (uint32_t i = 0; stratum / 4 % 2 == 0 && i < r.filled[stratum]; i++) { /* common */
            mean[stratum % 4] += MANY - mark_of(&r.samples[stratum * r.room + i]);
            count[stratum % 4]++;
        }
    for (int a = 0; a < TARN_RESERVOIR_AGES; a++) {
        printf("# age %d: %u samples, %.0f offers old on the mean\n", a, count[a],
               mean[a] / count[a]);
        CHECK(count[a] >= SIZE / 11);
        if (a > 0)
            CHECK(mean[a] / count[a] > 1.5 * mean[a - 1] / count[a - 1]);
    }
    CHECK(mean[3] / count[3] > 200000);
    tarn_reservoir_free(&r);
}

static void rare_ones_and_all_classes_have_their_place(void)
{
    struct tarn_reservoir r;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 2);
    REQUIRE(tarn_reservoir_init(&r, SIZE, 7) == TARN_OK);
    for (uint32_t i = 0; i < 100000; i++) {
        bool is_odd = tarn_rng_below(&rng, 100) == 0;
        float elapsed = tarn_rng_below(&rng, 50) == 0 ? -20.0f : 0.05f;
        struct tarn_sample s = make(&rng, elapsed, is_odd, is_odd);
        tarn_reservoir_offer(&r, &tarn_net_reference, &s, 1u << 20);
    }
    uint32_t kept_odd = 0, kept_never = 0, count = tarn_reservoir_count(&r);
    for (uint32_t stratum = 0; stratum < TARN_RESERVOIR_STRATA; stratum++)
        for (uint32_t i = 0; i < r.filled[stratum]; i++) {
            kept_odd += mark_of(&r.samples[stratum * r.room + i]) == 1;
            kept_never += r.samples[stratum * r.room + i].label >> 8 == 0;
        }
    printf("# of 1 %% odd ones %.1f %% are kept, of 2 %% never wanted %.1f %%\n",
           100.0 * kept_odd / count, 100.0 * kept_never / count);
    CHECK(kept_odd * 40 > count && kept_never * 3 > count);
    /* drawn as often as they come, or alike */
    uint32_t never[2] = {0};
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < 20000; i++)
            never[b] += tarn_reservoir_draw(&r, (float)b, &rng)->label >> 8 == 0;
    printf("# drawn: %.1f %%; alike %.1f %%\n", never[0] / 200.0, never[1] / 200.0);
    CHECK(never[0] > 300 && never[0] < 500 && never[1] > 9000 && never[1] < 11000);
    tarn_reservoir_free(&r);
}

static void labels_are_what_the_ring_would_have_said(void)
{
    struct tarn_ring ring;
    struct tarn_reservoir r;
    struct tarn_rng rng;
    int8_t x[TARN_FEATURES] = {0};
    tarn_rng_seed(&rng, 3);
    REQUIRE(tarn_ring_init(&ring, 1024) == TARN_OK);
    REQUIRE(tarn_reservoir_init(&r, 1024, 1) == TARN_OK);
    ring.reservoir = &r;
    ring.shape = &tarn_net_reference;
    /* every second key comes back 16 requests later, in bin 4 of T = 100; others never do */
    for (uint64_t i = 0; i < 8192; i++) {
        x[0] = (int8_t)(i % 2);
        tarn_ring_put(&ring, i << 7 | (i % 8), x, i, 100);
        if (i >= 16 && i % 2 == 1)
            tarn_ring_resolve(&ring, (i - 16) << 7 | ((i - 16) % 8), i, true);
        if (i == 4096)
            CHECK(tarn_ring_resize(&ring, 1024, i) == TARN_OK && ring.reservoir == &r);
    }
    uint32_t events = 0, survived = 0, held = 0;
    for (uint32_t stratum = 0; stratum < TARN_RESERVOIR_STRATA; stratum++)
        for (uint32_t i = 0; i < r.filled[stratum]; i++) {
            const struct tarn_kept_sample *s = &r.samples[stratum * r.room + i];
            bool wanted = s->label >> 8 != 0;
            events += wanted;
            survived += !wanted;
            held += s->held_out;
            CHECK(!wanted || (s->features[0] == 1 && s->label == (5 | 5 << 8)));
            /* closed at the end or not, it was there for 1023 requests: bins up to 8 T */
            CHECK(wanted || s->features[0] == 0 || s->label < 11);
            CHECK((s->label & 0xff) > 0 && (s->label & 0xff) <= 11);
        }
    CHECK(events > 50 && survived > 50 && held > 5);
    tarn_ring_free(&ring);
    tarn_reservoir_free(&r);
}

static void draws_mix_by_their_share_and_leave_held_out_keys(void)
{
    struct tarn_ring ring;
    struct tarn_reservoir r;
    struct tarn_rng rng;
    struct tarn_learn_sample sample;
    int8_t x[TARN_FEATURES] = {0};
    tarn_rng_seed(&rng, 4);
    REQUIRE(tarn_ring_init(&ring, 1024) == TARN_OK);
    REQUIRE(tarn_reservoir_init(&r, 1024, 1) == TARN_OK);
    struct tarn_learn_source source = {&ring, &r, &tarn_net_reference, 0.3f, 0, true};
    CHECK(!tarn_learn_draw(&source, 0, &rng, &sample));
    for (uint64_t i = 0; i < 800; i++) {
        x[0] = i % 8 == 0;
        tarn_ring_put(&ring, i << 7 | i % 8, x, i, 10);
        struct tarn_sample s = {
            .since = 0, .until = 5, .period = 10, .wanted = true, .hash = i % 8};
        s.features[0] = i % 8 == 0;
        tarn_reservoir_offer(&r, &tarn_net_reference, &s, 10);
    }
    for (int share = 0; share < 2; share++) {
        int replayed = 0, held = 0;
        source.share = 0.3f * (float)share;
        for (int i = 0; i < 10000; i++) {
            REQUIRE(tarn_learn_draw(&source, 1000, &rng, &sample));
            replayed += sample.replayed;
            held += sample.features[0] == 1 && sample.label != 0;
            CHECK(sample.label != 0 || sample.features[0] == 1);
        }
        CHECK(share == 0 ? replayed == 0 : replayed > 2700 && replayed < 3300);
        CHECK_NUMBER(held, 0);
    }
    source.keep_held_out = false;
    int held = 0;
    for (int i = 0; i < 10000; i++)
        held += tarn_learn_draw(&source, 1000, &rng, &sample) && sample.features[0] == 1;
    CHECK(held > 1000 && held < 1500);
    /* without a reservoir, or with an empty one, the ring alone */
    source.share = 1;
    source.reservoir = NULL;
    CHECK(tarn_learn_draw(&source, 1000, &rng, &sample) && !sample.replayed);
    struct tarn_reservoir empty;
    REQUIRE(tarn_reservoir_init(&empty, 64, 1) == TARN_OK);
    source.reservoir = &empty;
    CHECK(tarn_learn_draw(&source, 1000, &rng, &sample) && !sample.replayed);
    CHECK(tarn_reservoir_draw(&empty, 0, &rng) == NULL);
    tarn_reservoir_free(&empty);
    tarn_reservoir_free(&r);
    tarn_ring_free(&ring);
}

static bool refuse(size_t size)
{
    return size == 0;
}

static void its_memory_is_fixed(void)
{
    struct tarn_reservoir r;
    printf("# 8192 samples: %d bytes\n", (int)tarn_reservoir_memory(8192));
    CHECK(tarn_reservoir_memory(8192) <= 262144);
    tarn_memory_set_hook(refuse);
    CHECK(tarn_reservoir_init(&r, 8192, 1) == TARN_NO_MEMORY && r.samples == NULL);
    tarn_memory_set_hook(NULL);
}

CHECK_MAIN(CASE(old_samples_stay_in_older_strata), CASE(rare_ones_and_all_classes_have_their_place),
           CASE(labels_are_what_the_ring_would_have_said),
           CASE(draws_mix_by_their_share_and_leave_held_out_keys), CASE(its_memory_is_fixed))
