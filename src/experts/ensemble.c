/* SPDX-License-Identifier: Apache-2.0 */
#include "ensemble.h"

#include <math.h>
#include <string.h>

#define HALF_LIFE   2048.0 /* samples */
#define TEMPERATURE 0.02
#define FLOOR       1e-4
#define BROKEN      10.0 /* nats a sample that a loss which isn't finite counts for */
#define STEPS       2    /* of stacking's gradient, each time samples are fed */
#define RATE        0.02
#define BETA1       0.9
#define BETA2       0.99
#define PULL        0.98 /* to equal shares, each time */
#define TILES_ROOM  (TARN_SHARES_ONCE * TARN_FEATURES)
#define ROOM        (TARN_SHARES_ONCE * TARN_MAX_BINS)

/* What all members say of the samples; a member that isn't finite somewhere is left out of it all. */
struct looks {
    float logits[TARN_BUNDLE_MEMBERS][ROOM];
    double loss[TARN_BUNDLE_MEMBERS]; /* sums */
    bool good[TARN_BUNDLE_MEMBERS];
};

void tarn_shares_init(struct tarn_shares *shares, uint32_t members)
{
    *shares = (struct tarn_shares){.members = members};
}

static void write_tiles(const struct tarn_shares_sample *samples, uint32_t count, float *tiles)
{
    for (uint32_t i = 0; i < (count + TARN_LANES - 1) / TARN_LANES * TARN_LANES; i++)
        for (uint32_t f = 0; f < TARN_FEATURES; f++)
            tiles[(i / TARN_LANES * TARN_FEATURES + f) * TARN_LANES + i % TARN_LANES] =
                i < count ? (float)samples[i].features[f] * TARN_FEATURE_STEP : 0;
}

static const float *logits_of(const struct looks *looks, uint32_t member, uint32_t bins, uint32_t i)
{
    return &looks->logits[member][(size_t)i / TARN_LANES * bins * TARN_LANES + i % TARN_LANES];
}

static void look(const struct tarn_shares *shares, const struct tarn_shape *shape,
                 const float *const *weights, const struct tarn_shares_sample *samples,
                 uint32_t count, struct looks *looks)
{
    _Alignas(64) float tiles[TILES_ROOM];
    write_tiles(samples, count, tiles);
    for (uint32_t k = 0; k < shares->members; k++) {
        double sum = 0;
        tarn_logits_host(shape, weights[k], tiles, count, looks->logits[k]);
        for (uint32_t i = 0; i < count; i++)
            sum += (double)tarn_net_loss(logits_of(looks, k, shape->outputs, i), TARN_LANES,
                                         shape->outputs, samples[i].label);
        looks->loss[k] = sum;
        looks->good[k] = isfinite(sum);
    }
}

static void add_losses(struct tarn_shares *shares, const struct looks *looks, uint32_t count)
{
    double decay = exp2(-(double)count / HALF_LIFE), most = 0;
    for (uint32_t k = 0; k < shares->members; k++)
        if (looks->good[k] && looks->loss[k] > most)
            most = looks->loss[k];
    for (uint32_t k = 0; k < shares->members; k++)
        shares->loss[k] = shares->loss[k] * decay +
                          (looks->good[k] ? looks->loss[k] : most + BROKEN * (double)count);
}

/* ---- stacking ---- */

static double softmax(const struct tarn_shares *shares, const bool *good, double *share)
{
    double sum = 0, most = -INFINITY;
    for (uint32_t k = 0; k < shares->members; k++)
        if (good[k])
            most = fmax(most, shares->theta[k]);
    for (uint32_t k = 0; k < shares->members; k++) {
        share[k] = good[k] ? exp(shares->theta[k] - most) : 0;
        sum += share[k];
    }
    for (uint32_t k = 0; k < shares->members; k++)
        share[k] = sum > 0 ? share[k] / sum : 0;
    return sum;
}

/* Of the mean loss of a sample by the members' shares, at these shares. */
static void slope(const struct tarn_shares *shares, const struct looks *looks, uint32_t bins,
                  const struct tarn_shares_sample *samples, uint32_t count, const double *share,
                  double *by_share)
{
    memset(by_share, 0, TARN_BUNDLE_MEMBERS * sizeof *by_share);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at_risk = samples[i].label & 0xff, event = samples[i].label >> 8;
        for (uint32_t bin = 0; bin < bins && bin < at_risk; bin++) {
            double logit = 0;
            for (uint32_t k = 0; k < shares->members; k++)
                if (looks->good[k])
                    logit +=
                        share[k] * (double)logits_of(looks, k, bins, i)[(size_t)bin * TARN_LANES];
            double error = 1 / (1 + exp(-logit)) - (event == bin + 1 ? 1 : 0);
            for (uint32_t k = 0; k < shares->members; k++)
                if (looks->good[k])
                    by_share[k] +=
                        error * (double)logits_of(looks, k, bins, i)[(size_t)bin * TARN_LANES];
        }
    }
    for (uint32_t k = 0; k < shares->members; k++)
        by_share[k] /= count;
}

static void step(struct tarn_shares *shares, const double *share, const double *by_share)
{
    double mean = 0;
    shares->steps++;
    for (uint32_t k = 0; k < shares->members; k++)
        mean += share[k] * by_share[k];
    double unbias1 = 1 / (1 - pow(BETA1, (double)shares->steps));
    double unbias2 = 1 / (1 - pow(BETA2, (double)shares->steps));
    for (uint32_t k = 0; k < shares->members; k++) {
        double g = share[k] * (by_share[k] - mean);
        shares->m[k] += (1 - BETA1) * (g - shares->m[k]);
        shares->v[k] += (1 - BETA2) * (g * g - shares->v[k]);
        shares->theta[k] -= RATE * shares->m[k] * unbias1 / (sqrt(shares->v[k] * unbias2) + 1e-9);
    }
}

void tarn_shares_feed(struct tarn_shares *shares, const struct tarn_shape *shape,
                      const float *const *weights, const struct tarn_shares_sample *samples,
                      uint32_t count)
{
    struct looks looks;
    double share[TARN_BUNDLE_MEMBERS], by_share[TARN_BUNDLE_MEMBERS];
    count = count < TARN_SHARES_ONCE ? count : TARN_SHARES_ONCE;
    if (count == 0)
        return;
    look(shares, shape, weights, samples, count, &looks);
    add_losses(shares, &looks, count);
    shares->samples += count;
    for (uint32_t k = 0; k < shares->members; k++)
        shares->theta[k] *= PULL;
    for (int s = 0; s < STEPS && softmax(shares, looks.good, share) > 0; s++) {
        slope(shares, &looks, shape->outputs, samples, count, share, by_share);
        step(shares, share, by_share);
    }
}

void tarn_shares_replace(struct tarn_shares *shares, uint32_t member)
{
    double loss = 0, theta = 0;
    for (uint32_t k = 0; k < shares->members; k++) {
        loss += k != member ? shares->loss[k] : 0;
        theta += k != member ? shares->theta[k] : 0;
    }
    uint32_t others = shares->members > 1 ? shares->members - 1 : 1;
    shares->loss[member] = loss / others;
    shares->theta[member] = theta / others;
    shares->m[member] = shares->v[member] = 0;
}

/* ---- shares ---- */

static void normalise(const double *weight, uint32_t members, float *share)
{
    double sum = 0;
    for (uint32_t k = 0; k < members; k++)
        sum += weight[k];
    for (uint32_t k = 0; k < members; k++)
        share[k] = (float)(weight[k] / sum);
}

void tarn_shares_equal(const struct tarn_shares *shares, float share[TARN_BUNDLE_MEMBERS])
{
    for (uint32_t k = 0; k < shares->members; k++)
        share[k] = 1.0f / (float)shares->members;
}

void tarn_shares_bayes(const struct tarn_shares *shares, float share[TARN_BUNDLE_MEMBERS])
{
    double least = INFINITY, weight[TARN_BUNDLE_MEMBERS];
    for (uint32_t k = 0; k < shares->members; k++)
        least = fmin(least, shares->loss[k]);
    for (uint32_t k = 0; k < shares->members; k++)
        weight[k] = fmax(FLOOR, exp(-TEMPERATURE * (shares->loss[k] - least)));
    normalise(weight, shares->members, share);
}

void tarn_shares_stacked(const struct tarn_shares *shares, float share[TARN_BUNDLE_MEMBERS])
{
    static const bool all[TARN_BUNDLE_MEMBERS] = {true, true, true, true};
    double weight[TARN_BUNDLE_MEMBERS];
    softmax(shares, all, weight);
    for (uint32_t k = 0; k < shares->members; k++)
        weight[k] = fmax(FLOOR, weight[k]);
    normalise(weight, shares->members, share);
}
