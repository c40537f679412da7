/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "kernels/train.h"
#include "net/net.h"

#define BINS 11

/* Bins [0, 1/64), [1/64, 1/32), ... [8, 16): the definition, bin by bin. */
static uint32_t plain_label(double elapsed, bool wanted)
{
    uint32_t at_risk = 0;
    int event = -1;
    for (int k = 0; k < BINS; k++) {
        double low = k == 0 ? 0 : ldexp(1, k - 7), high = ldexp(1, k - 6);
        if (elapsed >= high) {
            at_risk++; /* survived whole */
        } else if (elapsed >= low && wanted) {
            at_risk++; /* it happened here */
            event = k;
        }
    }
    return at_risk | (uint32_t)(event + 1) << 8;
}

static void check(float elapsed)
{
    for (int wanted = 0; wanted < 2; wanted++)
        CHECK_NUMBER(tarn_net_label(&tarn_net_reference, elapsed, wanted),
                     plain_label((double)elapsed, wanted));
}

static void labels_are_as_defined(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    for (int i = 0; i < 20000; i++)
        check(exp2f(tarn_rng_float(&rng) * 16 - 10));
    check(0);
    for (int k = -8; k < 8; k++) { /* at, just below and just above each edge */
        float edge = ldexpf(1, k);
        check(edge);
        check(nextafterf(edge, 0));
        check(nextafterf(edge, 100));
    }
    check(1e9f);
}

static void labels_in_words(void)
{
    const struct tarn_shape *shape = &tarn_net_reference;
    CHECK_NUMBER(tarn_net_label(shape, 0, true), tarn_label(1, 0));
    CHECK_NUMBER(tarn_net_label(shape, 0, false), tarn_label(0, -1)); /* nothing is known yet */
    CHECK_NUMBER(tarn_net_label(shape, 1, true), tarn_label(8, 7));
    CHECK_NUMBER(tarn_net_label(shape, 1, false), tarn_label(7, -1));
    CHECK_NUMBER(tarn_net_label(shape, 15.9f, true), tarn_label(11, 10));
    /* beyond the last bin it doesn't matter any more what happened */
    CHECK_NUMBER(tarn_net_label(shape, 16, true), tarn_label(11, -1));
    CHECK_NUMBER(tarn_net_label(shape, 16, false), tarn_label(11, -1));
    /* fewer outputs end earlier */
    struct tarn_shape small = {28, 8, 8, 3};
    CHECK_NUMBER(tarn_net_label(&small, 1, true), tarn_label(3, -1));
    CHECK_NUMBER(tarn_net_label(&small, 0.03f, true), tarn_label(2, 1));
}

static void starting_weights_are_small_and_reproducible(void)
{
    static float a[TARN_NET_PARAMETERS], b[TARN_NET_PARAMETERS];
    struct tarn_rng rng;
    CHECK_NUMBER(tarn_shape_weights(&tarn_net_reference), TARN_NET_PARAMETERS);
    tarn_rng_seed(&rng, 4);
    tarn_net_init(&tarn_net_reference, &rng, a);
    tarn_rng_seed(&rng, 4);
    tarn_net_init(&tarn_net_reference, &rng, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    tarn_rng_seed(&rng, 5);
    tarn_net_init(&tarn_net_reference, &rng, b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    double sum = 0, squares = 0;
    for (int i = 0; i < 28 * 32; i++) {
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
        CHECK(fabsf(a[i]) <= 1.7f / sqrtf(28));
    }
    CHECK(fabs(sum) / (28 * 32) < 0.02);
    CHECK(fabs(squares / (28 * 32) - 1.7 * 1.7 / 28 / 3) < 0.005);
    for (int i = 0; i < 32; i++)
        CHECK(a[28 * 32 + i] == 0);
    for (int i = 0; i < BINS; i++)
        CHECK(a[TARN_NET_PARAMETERS - BINS + i] == -2); /* a low hazard to begin with */
}

static void what_is_not_a_number_is_found(void)
{
    float x[100];
    for (int i = 0; i < 100; i++)
        x[i] = i % 2 ? -3e38f : 1e-40f;
    CHECK(tarn_net_is_finite(x, 100) && tarn_net_is_finite(x, 0));
    for (int i = 0; i < 100; i++) {
        float was = x[i];
        const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
        x[i] = bad[i % 4];
        CHECK(!tarn_net_is_finite(x, 100));
        CHECK(tarn_net_is_finite(x, (size_t)i));
        x[i] = was;
    }
}

CHECK_MAIN(CASE(labels_are_as_defined), CASE(labels_in_words),
           CASE(starting_weights_are_small_and_reproducible), CASE(what_is_not_a_number_is_found))
