/* SPDX-License-Identifier: Apache-2.0 */
/* Nested widths, growth that keeps the function, and shrinking that keeps what matters. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "kernels/train.h"
#include "net/elastic.h"
#include "net/net.h"

enum { COUNT = 64, MOST = TARN_MAX_WIDTH * (2 * TARN_MAX_WIDTH + TARN_MAX_BINS + 3) };

static float tiles[TARN_MAX_WIDTH * COUNT], before[COUNT * TARN_MAX_BINS],
    after[COUNT * TARN_MAX_BINS];

static void make_tiles(struct tarn_rng *rng, const struct tarn_shape *s)
{
    for (size_t i = 0; i < (size_t)COUNT * s->inputs; i++)
        tiles[i] = (tarn_rng_float(rng) - 0.5f) * 4;
}

static double difference(size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++) { /* not fmax(): gcc 12 for arm64 fails on such a loop */
        double one = fabs((double)before[i] - (double)after[i]);
        worst = one > worst ? one : worst;
    }
    return worst;
}

static void widths_are_checked_and_chosen(void)
{
    const struct tarn_shape s = {28, 32, 32, 11};
    const struct tarn_nested none = {0}, some = {.width = {8, 16}}, all = {{4, 8, 16}, 1};
    CHECK(tarn_nested_is_valid(&none, &s) && tarn_nested_is_valid(&some, &s) &&
          tarn_nested_is_valid(&all, &s));
    CHECK(!tarn_nested_is_valid(&(struct tarn_nested){.width = {16, 8}}, &s));
    CHECK(!tarn_nested_is_valid(&(struct tarn_nested){.width = {8, 8}}, &s));
    CHECK(!tarn_nested_is_valid(&(struct tarn_nested){.width = {0, 8}}, &s));
    CHECK(!tarn_nested_is_valid(&(struct tarn_nested){.width = {8, 32}}, &s));
    CHECK(!tarn_nested_is_valid(&(struct tarn_nested){.exits = 2}, &s));
    CHECK(tarn_nested_count(&none) == 0 && tarn_nested_count(&some) == 2 &&
          tarn_nested_count(&all) == 3);
    CHECK_NUMBER(tarn_nested_slice(&some, 0, false), 0);
    CHECK_NUMBER(tarn_nested_slice(&some, 1, true), 8);
    CHECK_NUMBER(tarn_nested_slice(&some, 8, false), 8);
    CHECK_NUMBER(tarn_nested_slice(&some, 9, false), 16);
    CHECK_NUMBER(tarn_nested_slice(&some, 17, false), 0);
    CHECK_NUMBER(tarn_nested_slice(&none, 8, true), 0);
    CHECK_NUMBER(tarn_nested_slice(&all, 8, true), TARN_SLICE(8u, 1u));
    CHECK_NUMBER(tarn_nested_slice(&all, 0, true), TARN_SLICE(0u, 1u));
}

static void every_slice_is_trained(void)
{
    const struct tarn_nested none = {0}, some = {.width = {8, 16}}, all = {{8, 16}, 1};
    uint32_t counts[0x200] = {0};
    for (uint32_t tile = 0; tile < 64; tile++) {
        CHECK_NUMBER(tarn_nested_of_tile(&none, tile), 0);
        counts[tarn_nested_of_tile(&some, tile)]++;
    }
    CHECK(counts[0] == 48 && counts[8] == 8 && counts[16] == 8);
    memset(counts, 0, sizeof counts);
    for (uint32_t tile = 0; tile < 200; tile++)
        counts[tarn_nested_of_tile(&all, tile)]++;
    CHECK(counts[0] == 150 && counts[8] == 10 && counts[16] == 10);
    CHECK(counts[0x100] == 10 && counts[0x108] == 10 && counts[0x110] == 10);
    uint32_t label = tarn_nested_label(&some, TARN_NESTED_EVERY - 1, tarn_label(5, 4));
    CHECK((label & 0xffff) == tarn_label(5, 4) && TARN_LABEL_SLICE(label) == 8);
}

static void a_wider_network_computes_the_same(void)
{
    static float narrow[MOST], wide[MOST];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    for (int round = 0; round < 40; round++) {
        struct tarn_shape s = {1 + tarn_rng_below(&rng, 64), 1 + tarn_rng_below(&rng, 40),
                               1 + tarn_rng_below(&rng, 40), 1 + tarn_rng_below(&rng, 16)};
        if (round == 0)
            s = (struct tarn_shape){28, 32, 32, 11};
        struct tarn_shape to = s;
        to.hidden1 += round == 1 ? 0 : tarn_rng_below(&rng, 65 - s.hidden1);
        to.hidden2 += round == 1 ? 0 : tarn_rng_below(&rng, 65 - s.hidden2);
        tarn_net_init(&s, &rng, narrow);
        make_tiles(&rng, &s);
        bool keep = round % 3 == 2;
        tarn_net_widen(&s, narrow, &to, keep, &rng, wide);
        CHECK(tarn_net_is_finite(wide, tarn_shape_weights(&to)));
        tarn_logits_host(&s, narrow, tiles, COUNT, before);
        tarn_logits_host(&to, wide, tiles, COUNT, after);
        double size = 1;
        for (size_t i = 0; i < (size_t)COUNT * s.outputs; i++)
            size = fabs((double)before[i]) > size ? fabs((double)before[i]) : size;
        CHECK(difference((size_t)COUNT * s.outputs) < 1e-6 * size);
        uint32_t width = s.hidden1 < s.hidden2 ? s.hidden1 : s.hidden2;
        width = width > 8 ? 8 : width; /* what may be nested */
        for (uint32_t exit = 0; keep && exit < 2; exit++) {
            tarn_logits_slice_host(&s, TARN_SLICE(width, exit), narrow, tiles, COUNT, before);
            tarn_logits_slice_host(&to, TARN_SLICE(width, exit), wide, tiles, COUNT, after);
            CHECK(difference((size_t)COUNT * s.outputs) == 0);
        }
        CHECK(round != 1 || memcmp(narrow, wide, tarn_shape_weights(&s) * 4) == 0);
    }
}

/* Copies differ in what goes out of them: a gradient step tells them apart. */
static void copies_go_their_own_ways(void)
{
    static float narrow[MOST], wide[MOST], m[MOST], v[MOST];
    struct tarn_shape s = {28, 8, 8, 11}, to = {28, 16, 16, 11};
    struct tarn_rng rng;
    uint32_t labels[COUNT];
    float loss;
    tarn_rng_seed(&rng, 6);
    tarn_net_init(&s, &rng, narrow);
    make_tiles(&rng, &s);
    tarn_net_widen(&s, narrow, &to, false, &rng, wide);
    for (int i = 0; i < COUNT; i++)
        labels[i] = tarn_label(1 + (uint32_t)i % 11, i % 11);
    const struct tarn_train_constants c = {.steps = 1,
                                           .batch = COUNT,
                                           .rate = 0.01f,
                                           .beta1 = 0.9f,
                                           .beta2 = 0.999f,
                                           .epsilon = 1e-3f};
    tarn_train_host(&to, &(struct tarn_train_state){wide, m, v}, &c, tiles, labels, &loss, NULL);
    for (uint32_t a = 0; a < 16; a++)
        for (uint32_t b = 0; b < a; b++)
            CHECK(memcmp(wide + a * 28, wide + b * 28, 28 * 4) != 0);
}

/* A network in which few units matter, hidden among the others. */
static void make_sparse(struct tarn_rng *rng, const struct tarn_shape *s, float *weights)
{
    tarn_net_init(s, rng, weights);
    float *w2 = weights + s->hidden1 * (s->inputs + 1), *w3 = w2 + s->hidden2 * (s->hidden1 + 1);
    for (uint32_t i = 0; i < 32; i++) {
        if (i % 4 == 1)
            continue;
        for (uint32_t n = 0; n < 32; n++)
            w2[n * 32 + i] = 0;
        for (uint32_t n = 0; n < s->outputs; n++)
            w3[n * 32 + i] = 0;
    }
}

static void order_keeps_the_function_and_what_matters_comes_first(void)
{
    static float weights[MOST], small[MOST];
    struct tarn_shape s = {28, 32, 32, 11}, to = {28, 8, 8, 11};
    struct tarn_rng rng;
    float first[32], second[32];
    tarn_rng_seed(&rng, 7);
    for (int samples = 0; samples < 2; samples++) {
        make_sparse(&rng, &s, weights);
        make_tiles(&rng, &s);
        tarn_logits_host(&s, weights, tiles, COUNT, before);
        tarn_net_importance(&s, weights, tiles, samples ? COUNT : 0, first, second);
        CHECK(first[0] == 0 && first[1] > 0 && second[5] > 0 && second[6] == 0);
        REQUIRE(tarn_net_order(&s, weights, first, second) == TARN_OK);
        tarn_logits_host(&s, weights, tiles, COUNT, after);
        CHECK(difference(COUNT * s.outputs) < 2e-5);
        tarn_net_importance(&s, weights, tiles, samples ? COUNT : 0, first, second);
        for (int i = 1; i < 32; i++)
            CHECK(first[i] <= first[i - 1] && second[i] <= second[i - 1]);
        tarn_net_narrow(&s, weights, &to, small);
        tarn_logits_host(&to, small, tiles, COUNT, after);
        CHECK(difference(COUNT * s.outputs) < 2e-5);
    }
    /* samples matter: a unit that is never active doesn't, however large its weights are */
    tarn_net_init(&s, &rng, weights);
    weights[s.hidden1 * s.inputs + 3] = 1e-3f;
    for (uint32_t f = 0; f < s.inputs; f++)
        weights[3 * s.inputs + f] = 0;
    for (uint32_t n = 0; n < s.hidden2; n++)
        weights[s.hidden1 * (s.inputs + 1) + n * 32 + 3] = 1;
    tarn_net_importance(&s, weights, tiles, 0, first, second);
    CHECK(first[3] > first[4]);
    tarn_net_importance(&s, weights, tiles, COUNT, first, second);
    CHECK(first[3] < first[4]);
}

static void a_slice_is_the_narrow_network(void)
{
    static float weights[MOST], small[MOST];
    struct tarn_shape s = {28, 32, 32, 11}, to = {28, 16, 16, 11};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 8);
    tarn_net_init(&s, &rng, weights);
    make_tiles(&rng, &s);
    tarn_net_narrow(&s, weights, &to, small);
    tarn_logits_slice_host(&s, TARN_SLICE(16, 0), weights, tiles, COUNT, before);
    tarn_logits_host(&to, small, tiles, COUNT, after);
    CHECK(difference(COUNT * s.outputs) < 1e-5);
}

CHECK_MAIN(CASE(widths_are_checked_and_chosen), CASE(every_slice_is_trained),
           CASE(a_wider_network_computes_the_same), CASE(copies_go_their_own_ways),
           CASE(order_keeps_the_function_and_what_matters_comes_first),
           CASE(a_slice_is_the_narrow_network))
