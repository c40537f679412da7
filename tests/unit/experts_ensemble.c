/* SPDX-License-Identifier: Apache-2.0 */
/* Who has how much say: the one whose expectations come true, and another one once the world has changed. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "experts/ensemble.h"

#define COUNT 128

struct world {
    struct tarn_rng rng;
    float weights[3][TARN_NET_PARAMETERS];
    const float *member[3];
    struct tarn_shares shares;
    struct tarn_shares_sample samples[COUNT];
};

static void begin(struct world *w, uint32_t members)
{
    *w = (struct world){0};
    tarn_rng_seed(&w->rng, 7);
    for (int k = 0; k < 3; k++) {
        tarn_net_init(&tarn_net_reference, &w->rng, w->weights[k]);
        w->member[k] = w->weights[k];
    }
    tarn_shares_init(&w->shares, members);
}

/* Samples whose outcomes are as these weights expect. */
static void happen(struct world *w, const float *truth)
{
    float tile[TARN_FEATURES * TARN_LANES], logits[TARN_MAX_BINS * TARN_LANES];
    for (int i = 0; i < COUNT; i++) {
        struct tarn_shares_sample *s = &w->samples[i];
        memset(tile, 0, sizeof tile);
        for (int f = 0; f < TARN_FEATURES; f++) {
            s->features[f] = (int8_t)((int)tarn_rng_below(&w->rng, 129) - 64);
            tile[f * TARN_LANES] = (float)s->features[f] * TARN_FEATURE_STEP;
        }
        tarn_logits_host(&tarn_net_reference, truth, tile, 1, logits);
        uint32_t event = 0, bins = tarn_net_reference.outputs;
        for (uint32_t k = 0; k < bins && event == 0; k++)
            if (tarn_rng_double(&w->rng) < 1 / (1 + exp(-(double)logits[k * TARN_LANES])))
                event = k + 1;
        s->label = event > 0 ? event | event << 8 : bins;
    }
}

static void feed(struct world *w, const float *truth, int times)
{
    for (int i = 0; i < times; i++) {
        happen(w, truth);
        tarn_shares_feed(&w->shares, &tarn_net_reference, w->member, w->samples, COUNT);
    }
}

static void check_sum(const struct world *w)
{
    float share[TARN_BUNDLE_MEMBERS];
    for (int way = 0; way < 3; way++) {
        double sum = 0;
        (way == 0   ? tarn_shares_equal
         : way == 1 ? tarn_shares_bayes
                    : tarn_shares_stacked)(&w->shares, share);
        for (uint32_t k = 0; k < w->shares.members; k++) {
            CHECK(share[k] > 0 && share[k] <= 1);
            sum += (double)share[k];
        }
        CHECK(fabs(sum - 1) < 1e-5);
    }
}

static float bayes(const struct world *w, int member)
{
    float share[TARN_BUNDLE_MEMBERS];
    tarn_shares_bayes(&w->shares, share);
    return share[member];
}

static float stacked(const struct world *w, int member)
{
    float share[TARN_BUNDLE_MEMBERS];
    tarn_shares_stacked(&w->shares, share);
    return share[member];
}

static void nothing_known_is_equal(void)
{
    struct world w;
    begin(&w, 3);
    check_sum(&w);
    for (int k = 0; k < 3; k++)
        CHECK(fabsf(bayes(&w, k) - 1.0f / 3) < 1e-6f && fabsf(stacked(&w, k) - 1.0f / 3) < 1e-6f);
}

/* The say goes to who is right; and over to another once that one is. */
static void the_better_one_gets_the_say(void)
{
    struct world w;
    begin(&w, 3);
    feed(&w, w.weights[1], 30);
    check_sum(&w);
    CHECK(bayes(&w, 1) > 0.9f && stacked(&w, 1) > 0.6f);
    CHECK(stacked(&w, 1) > 3 * stacked(&w, 0) && stacked(&w, 1) > 3 * stacked(&w, 2));
    CHECK(w.shares.samples == 30 * COUNT);
    feed(&w, w.weights[0], 90);
    check_sum(&w);
    CHECK(bayes(&w, 0) > 0.9f && stacked(&w, 0) > 0.6f);
}

/* Members that are alike stay alike, whatever is fed. */
static void equals_share(void)
{
    struct world w;
    begin(&w, 2);
    w.member[1] = w.member[0];
    feed(&w, w.weights[2], 20);
    CHECK(fabsf(bayes(&w, 0) - 0.5f) < 1e-6f && fabsf(stacked(&w, 0) - 0.5f) < 1e-6f);
}

/*
 * By the formula: half-life and temperature as they are written.
 */
static void bayes_is_the_tempered_posterior(void)
{
    struct world w;
    double loss[2] = {0};
    begin(&w, 2);
    for (int i = 0; i < 3; i++) {
        feed(&w, w.weights[0], 1);
        for (int k = 0; k < 2; k++) {
            loss[k] *= exp2(-COUNT / 2048.0);
            for (int s = 0; s < COUNT; s++) {
                float tile[TARN_FEATURES * TARN_LANES] = {0}, logits[TARN_MAX_BINS * TARN_LANES];
                for (int f = 0; f < TARN_FEATURES; f++)
                    tile[f * TARN_LANES] = (float)w.samples[s].features[f] * TARN_FEATURE_STEP;
                tarn_logits_host(&tarn_net_reference, w.member[k], tile, 1, logits);
                loss[k] += (double)tarn_net_loss(logits, TARN_LANES, tarn_net_reference.outputs,
                                                 w.samples[s].label);
            }
        }
    }
    double ratio = exp(-0.02 * (loss[1] - loss[0]));
    ratio = fmax(ratio, 1e-4);
    CHECK(fabs((double)bayes(&w, 1) / (double)bayes(&w, 0) - ratio) < 1e-3 * ratio);
}

static void a_broken_member_loses_its_say_and_gets_it_back(void)
{
    struct world w;
    begin(&w, 2);
    feed(&w, w.weights[0], 5);
    float good = w.weights[0][TARN_NET_PARAMETERS - 11];
    w.weights[0][TARN_NET_PARAMETERS - 11] = NAN;
    feed(&w, w.weights[1], 1);
    check_sum(&w);
    CHECK(bayes(&w, 0) < 0.01f && bayes(&w, 1) > 0.98f);
    CHECK(isfinite(w.shares.loss[0]) && isfinite(w.shares.theta[0]));
    w.weights[0][TARN_NET_PARAMETERS - 11] = good;
    feed(&w, w.weights[0], 200);
    CHECK(bayes(&w, 0) > 0.9f && stacked(&w, 0) > 0.6f);
    /* and where all are broken nobody is preferred for it */
    begin(&w, 2);
    w.weights[0][5] = w.weights[1][5] = INFINITY;
    happen(&w, w.weights[2]);
    tarn_shares_feed(&w.shares, &tarn_net_reference, w.member, w.samples, COUNT);
    check_sum(&w);
    CHECK(fabsf(bayes(&w, 0) - 0.5f) < 1e-6f && fabsf(stacked(&w, 0) - 0.5f) < 1e-6f);
}

static void who_comes_new_inherits_the_mean(void)
{
    struct world w;
    begin(&w, 2);
    feed(&w, w.weights[0], 30);
    CHECK(bayes(&w, 1) < 0.1f);
    tarn_shares_replace(&w.shares, 1);
    CHECK(fabsf(bayes(&w, 1) - 0.5f) < 1e-6f && fabsf(stacked(&w, 1) - 0.5f) < 1e-6f);
}

CHECK_MAIN(CASE(nothing_known_is_equal), CASE(the_better_one_gets_the_say), CASE(equals_share),
           CASE(bayes_is_the_tempered_posterior),
           CASE(a_broken_member_loses_its_say_and_gets_it_back),
           CASE(who_comes_new_inherits_the_mean))
