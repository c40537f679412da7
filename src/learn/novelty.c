/* SPDX-License-Identifier: Apache-2.0 */
#include "novelty.h"

#include <math.h>
#include <string.h>

#define USUAL        3.0f  /* deviations above the usual that are no news */
#define DOUBLES      2.0f  /* each so many more double the factor */
#define FLOOR        0.01f /* variance of a feature below which it says nothing, steps of 1/4 */
#define LOOK_EVERY   64    /* samples between two distances */
#define USUAL_MEMORY 1024  /* distances and losses that make the usual */
#define CLIP         16.0f /* a feature's squared shift, in usual ones: none outvotes the others */
#define LEAST_USUAL  32
#define MOST         32.0f /* deviations: beyond, more is not newer */

void tarn_novelty_init(struct tarn_novelty *n, const struct tarn_novelty_params *params)
{
    memset(n, 0, sizeof *n);
    if (params != NULL)
        n->params = *params;
    struct tarn_novelty_params *p = &n->params;
    p->recent = p->recent == 0 ? 1024 : p->recent;
    p->past = p->past == 0 ? 32768 : p->past;
    p->recent_loss = p->recent_loss == 0 ? 8 : p->recent_loss;
    p->past_loss = p->past_loss == 0 ? 256 : p->past_loss;
    p->least = p->least > 0 ? p->least : 0.5f;
    p->most = p->most > 0 ? p->most : 4;
    p->explore = p->explore > 0 ? p->explore : 4;
}

/* A plain mean at first, one that forgets later. */
static float share_of(uint64_t count, uint32_t memory)
{
    return 1.0f / (float)(count < memory ? count : memory);
}

/* Deviations above the usual; what is far out of it teaches it little, or news would soon be usual. */
static float above_usual(struct tarn_novelty_usual *u, double value)
{
    double deviation = sqrt(fmax(u->square - u->mean * u->mean, 1e-12));
    double z = u->count < LEAST_USUAL ? 0 : (value - u->mean) / deviation;
    double taught = u->count < LEAST_USUAL ? value : u->mean + fmax(-4, fmin(4, z)) * deviation;
    if (u->count < USUAL_MEMORY)
        u->count++;
    u->mean += (taught - u->mean) / u->count;
    u->square += (taught * taught - u->square) / u->count;
    return (float)fmax(-(double)MOST, fmin((double)MOST, z));
}

/* Root mean square of the features' shifts, each in what is usual for it; and learns what is. */
static double distance_of(struct tarn_novelty *n)
{
    double sum = 0;
    n->looks++;
    for (int f = 0; f < TARN_FEATURES; f++) {
        float shift = n->recent[f] - n->past[f];
        float square = shift * shift / (n->variance[f] + FLOOR), usual = n->usual[f];
        /* what is known of a mean of so many samples, before looks have taught more */
        float least = 1.0f / (float)n->params.recent;
        float ratio = fminf(square / fmaxf(usual, least), CLIP);
        float taught = n->looks < LEAST_USUAL ? square : fminf(square, 4 * fmaxf(usual, least));
        n->usual[f] += share_of(n->looks, USUAL_MEMORY) * (taught - usual);
        sum += (double)ratio;
    }
    return sqrt(sum / TARN_FEATURES);
}

static float excess_of(const struct tarn_novelty *n)
{
    return fmaxf(0, fmaxf(n->by_distance, n->by_loss) - USUAL);
}

void tarn_novelty_sample(struct tarn_novelty *n, const int8_t features[TARN_FEATURES])
{
    n->samples++;
    float quick = share_of(n->samples, n->params.recent),
          slow = share_of(n->samples, n->params.past);
    for (int f = 0; f < TARN_FEATURES; f++) {
        float x = (float)features[f] * TARN_FEATURE_STEP, before = x - n->past[f];
        n->recent[f] += quick * (x - n->recent[f]);
        n->past[f] += slow * before;
        n->variance[f] += slow * (before * (x - n->past[f]) - n->variance[f]);
    }
    n->calm++;
    /* before there is a past that is longer than what is recent, all is new or nothing */
    if (n->samples < 4 * (uint64_t)n->params.recent || n->samples % LOOK_EVERY != 0)
        return;
    n->by_distance = above_usual(&n->distance_usual, distance_of(n));
    if (excess_of(n) > 0)
        n->calm = 0;
}

void tarn_novelty_loss(struct tarn_novelty *n, float loss)
{
    if (!isfinite(loss))
        return;
    n->losses++;
    n->recent_loss +=
        (double)share_of(n->losses, n->params.recent_loss) * ((double)loss - n->recent_loss);
    n->past_loss +=
        (double)share_of(n->losses, n->params.past_loss) * ((double)loss - n->past_loss);
    if (n->losses < 4 * (uint64_t)n->params.recent_loss)
        return;
    n->by_loss = above_usual(&n->loss_usual, n->recent_loss - n->past_loss);
    if (excess_of(n) > 0)
        n->calm = 0;
}

void tarn_novelty_alarm(struct tarn_novelty *n)
{
    n->by_loss = MOST;
    n->calm = 0;
}

struct tarn_novelty_factors tarn_novelty_factors(const struct tarn_novelty *n)
{
    const struct tarn_novelty_params *p = &n->params;
    float up = exp2f(excess_of(n) / DOUBLES);
    /* from one to the least between one and two pasts without news */
    float quiet = fminf(1, fmaxf(0, (float)n->calm / (float)p->past - 1));
    float rate = up > 1 ? up : exp2f(quiet * log2f(fminf(1, p->least)));
    return (struct tarn_novelty_factors){
        .rate = fmaxf(p->least, fminf(p->most, rate)),
        .explore = fmaxf(1, fminf(p->explore, up)),
        .distance = n->by_distance,
        .surprise = n->by_loss,
    };
}
