/* SPDX-License-Identifier: Apache-2.0 */
/* The sample ring against a list of all samples that is searched from end to end. */
#include "../check.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "learn/ring.h"

#define MOST 40000

struct sample {
    uint64_t hash, since, until;
    float period;
    bool open, wanted;
    int8_t mark[2];
};

static struct sample all[MOST];
static uint64_t count, handed;
static uint64_t handed_at; /* the model's now */

static double elapsed_of(const struct sample *s, uint64_t now)
{
    return (double)((s->open ? now : s->until) - s->since) / (double)s->period;
}

static void take(void *context, const int8_t *features, float elapsed, bool wanted)
{
    const struct sample *s = &all[handed++];
    CHECK(context == &count);
    CHECK(features[0] == s->mark[0] && features[27] == s->mark[1]);
    CHECK(fabs((double)elapsed - elapsed_of(s, handed_at)) < 1e-4 * (1 + elapsed_of(s, handed_at)));
    CHECK(wanted == (!s->open && s->wanted));
}

static void compare(const struct tarn_ring *ring, uint64_t now)
{
    uint64_t first = count < ring->size ? 0 : count - ring->size;
    for (uint64_t i = first < handed ? handed : first; i < count; i += 1 + i % 3) {
        const struct tarn_sample *s = &ring->samples[i & (ring->size - 1)];
        CHECK(s->hash == all[i].hash && s->open == all[i].open);
        CHECK(s->open || s->wanted == all[i].wanted);
        CHECK(fabs((double)tarn_sample_elapsed(s, now) - elapsed_of(&all[i], now)) <
              1e-4 * (1 + elapsed_of(&all[i], now)));
    }
}

static void run(uint64_t begin)
{
    struct tarn_ring ring;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 21);
    count = handed = 0;
    REQUIRE(tarn_ring_init(&ring, 1000) == TARN_OK);
    CHECK_NUMBER(ring.size, 1024);
    ring.sink = take;
    ring.sink_context = &count;
    uint64_t now = begin, resolved = 0;
    for (int i = 0; i < 12000; i++) {
        now += tarn_rng_below(&rng, 20);
        handed_at = now;
        /* few different keys, some of which share a chain */
        uint64_t key = tarn_rng_below(&rng, 300), hash = (key % 50) << 7 | (key / 50) << 40;
        if (tarn_rng_below(&rng, 3) > 0) {
            int8_t x[TARN_FEATURES] = {0};
            x[0] = (int8_t)(count % 100);
            x[27] = (int8_t)(count % 77);
            all[count] = (struct sample){.hash = hash,
                                         .since = now,
                                         .period = 64 + tarn_rng_float(&rng) * 1000,
                                         .open = true,
                                         .mark = {x[0], x[27]}};
            float period = all[count].period;
            tarn_ring_put(&ring, hash, x, now, period);
            count++;
            CHECK_NUMBER(handed, count > ring.size ? count - ring.size : 0);
        } else {
            bool wanted = tarn_rng_below(&rng, 2);
            tarn_ring_resolve(&ring, hash, now, wanted);
            for (uint64_t k = handed; k < count; k++)
                if (all[k].hash == hash && all[k].open) {
                    all[k].open = false;
                    all[k].wanted = wanted;
                    all[k].until = now;
                    resolved++;
                }
        }
        if (i % 500 == 0)
            compare(&ring, now);
        if (i == 9000) {
            tarn_ring_drain(&ring, now);
            CHECK_NUMBER(handed, count);
            CHECK(tarn_ring_draw(&ring, &rng) == NULL);
            tarn_ring_resolve(&ring, hash, now, true); /* nothing is left to resolve */
            /* what comes now starts at the ring's beginning: as a new list */
            count = handed = 0;
        }
    }
    CHECK(resolved > 1000 && count > 1024);
    tarn_ring_drain(&ring, now);
    CHECK_NUMBER(handed, count);
    tarn_ring_free(&ring);
}

static void it_does_as_a_plain_list(void)
{
    run(0);
}

static void counts_that_pass_32_bits_change_nothing(void)
{
    run(((uint64_t)1 << 32) - 50000);
}

static void draws_are_spread_over_what_there_is(void)
{
    struct tarn_ring ring;
    struct tarn_rng rng;
    int8_t x[TARN_FEATURES] = {0};
    static uint32_t drawn[1024];
    memset(drawn, 0, sizeof drawn);
    tarn_rng_seed(&rng, 1);
    REQUIRE(tarn_ring_init(&ring, 1024) == TARN_OK);
    for (uint64_t i = 0; i < TARN_RING_LEAST; i++) {
        CHECK(tarn_ring_draw(&ring, &rng) == NULL);
        tarn_ring_put(&ring, i << 7, x, i, 64);
    }
    for (int i = 0; i < 25600; i++)
        drawn[tarn_ring_draw(&ring, &rng) - ring.samples]++;
    for (int i = 0; i < 1024; i++)
        CHECK(i < TARN_RING_LEAST ? drawn[i] > 50 && drawn[i] < 160 : drawn[i] == 0);
    for (uint64_t i = TARN_RING_LEAST; i < 5000; i++)
        tarn_ring_put(&ring, i << 7, x, i, 64);
    memset(drawn, 0, sizeof drawn);
    for (int i = 0; i < 102400; i++)
        drawn[tarn_ring_draw(&ring, &rng) - ring.samples]++;
    for (int i = 0; i < 1024; i++)
        CHECK(drawn[i] > 50 && drawn[i] < 160);
    tarn_ring_free(&ring);
}

static int allowed;

static bool refuse(size_t size)
{
    return size == 0 || allowed-- > 0;
}

static void without_memory_nothing_is_kept(void)
{
    struct tarn_ring ring;
    for (int i = 0; i < 2; i++) {
        allowed = i;
        tarn_memory_set_hook(refuse);
        tarn_status status = tarn_ring_init(&ring, 1024);
        tarn_memory_set_hook(NULL);
        CHECK(status == TARN_NO_MEMORY && ring.samples == NULL && ring.chains == NULL);
    }
}

CHECK_MAIN(CASE(it_does_as_a_plain_list), CASE(counts_that_pass_32_bits_change_nothing),
           CASE(draws_are_spread_over_what_there_is), CASE(without_memory_nothing_is_kept))
