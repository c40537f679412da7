/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rollouts and their sequential test over simulated arms: how often one that is as good is rejected, and
 * one that is worse goes live. Arms differ in their keys, and their common miss ratio wanders.
 */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "deploy/canary.h"

/* A pair of arms that are asked in portions of `portion` requests. */
struct arms {
    struct tarn_rng rng;
    double worse;                           /* relative, of the candidate */
    double composition[TARN_ROLLOUT_STEPS]; /* of the arm's misses by its keys alone */
    double spread; /* noise of a portion in binomial deviations: bursts make it more than 1 */
    double level;  /* of the miss ratio now */
    double sigma;  /* of what a miss costs, lognormal, as weighed; 0: misses count alike */
};

static double normal(struct tarn_rng *rng)
{
    double u = 1 - tarn_rng_double(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * tarn_rng_double(rng));
}

/* So many misses in mean costs. Of many the sum is normal. */
static uint64_t weigh(struct arms *a, double misses)
{
    const double most = 32;
    double sum = 0;
    if (a->sigma <= 0)
        return (uint64_t)misses;
    if (misses > 500) {
        double deviation = sqrt((exp(a->sigma * a->sigma) - 1) * misses);
        return (uint64_t)fmax(0, misses + deviation * normal(&a->rng));
    }
    for (int i = 0; i < (int)misses; i++)
        sum += fmin(most, exp(a->sigma * normal(&a->rng) - a->sigma * a->sigma / 2));
    return (uint64_t)(sum + tarn_rng_double(&a->rng));
}

static uint64_t draw(struct arms *a, double p, uint64_t n)
{
    p = fmin(p, 1);
    double x = p * (double)n + a->spread * sqrt((double)n * p * (1 - p)) * normal(&a->rng);
    x = x < 0 ? 0 : x > (double)n ? (double)n : x + tarn_rng_double(&a->rng);
    return weigh(a, x);
}

static void begin(struct arms *a, uint64_t seed, double worse, bool composed)
{
    *a = (struct arms){.worse = worse, .spread = 1, .level = 0.3};
    tarn_rng_seed(&a->rng, seed);
    for (int k = 0; k < TARN_ROLLOUT_STEPS; k++)
        a->composition[k] = composed ? 0.7 + 0.6 * tarn_rng_double(&a->rng) : 1;
}

/* One portion: of the arm `portion` requests, of its control what its share is. */
static void next_portion(struct arms *a, const struct tarn_rollout *r, uint64_t portion,
                         struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS])
{
    a->level += 0.004 * normal(&a->rng);
    a->level = a->level < 0.15 ? 0.15 : a->level > 0.5 ? 0.5 : a->level;
    for (uint32_t k = 0; k < TARN_ROLLOUT_STEPS; k++) {
        if (!r->calibrating && k != r->step)
            continue;
        double share = tarn_rollout_share(k), p = a->level * a->composition[k];
        counts[k].requests = portion;
        counts[k].control_requests =
            r->params.paired ? portion : (uint64_t)((double)portion * (1 - share) / share);
        counts[k].control_misses = draw(a, a->level, counts[k].control_requests);
        if (r->params.paired) /* most requests are hits of both or misses of both */
            counts[k].misses =
                (uint64_t)fmax(0, (double)counts[k].control_misses * (1 + a->worse) +
                                      0.2 * sqrt((double)portion * p) * normal(&a->rng) +
                                      tarn_rng_double(&a->rng));
        else
            counts[k].misses = draw(a, p * (r->calibrating ? 1 : 1 + a->worse), portion);
    }
}

struct outcome {
    int live, rejected, timeouts;
    double requests; /* of all, mean of a trial */
};

static double sigma; /* of all trials */

static struct outcome trials(int count, uint64_t seed, double worse, double spread,
                             const struct tarn_rollout_params *params)
{
    struct outcome out = {0};
    for (int i = 0; i < count; i++) {
        struct tarn_rollout r;
        struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS];
        struct arms a;
        begin(&a, seed + (uint64_t)i, worse, !params->paired);
        a.spread = spread;
        a.sigma = sigma;
        CHECK(tarn_rollout_init(&r, params) == TARN_OK);
        while (r.verdict <= TARN_ROLLOUT_ADVANCE) {
            next_portion(&a, &r, 256, counts);
            out.requests += 256 / tarn_rollout_share(r.calibrating ? 2 : r.step) / count;
            tarn_rollout_feed(&r, counts);
        }
        out.live += r.verdict == TARN_ROLLOUT_LIVE;
        out.rejected += r.verdict == TARN_ROLLOUT_REJECT;
        out.timeouts += r.verdict == TARN_ROLLOUT_TIMEOUT;
    }
    printf(
        "# %+5.1f %% misses, noise x%.1f, %s: %d trials: %d live, %d rejected, %d timeouts, %.0f "
        "thousand requests\n",
        worse * 100, spread, params->paired ? "paired" : "arms", count, out.live, out.rejected,
        out.timeouts, out.requests / 1000);
    return out;
}

static const struct tarn_rollout_params arms = {0}, paired = {.paired = true};

static void as_good_is_not_rejected(void)
{
    struct outcome o = trials(2000, 1, 0, 1, &paired);
    CHECK(o.rejected <= 20 && o.live >= 1900);
    o = trials(1000, 10000, 0, 1, &arms);
    CHECK(o.rejected <= 10 && o.live >= 900);
    o = trials(300, 20000, -0.03, 1, &arms);
    CHECK(o.rejected == 0 && o.live >= 290);
    /* bursts: validity doesn't rest on a variance */
    o = trials(300, 30000, 0, 2, &arms);
    CHECK(o.rejected <= 3);
}

/* As the engine asks where misses are weighed by very different costs: roughly calibrated, beside another judge. */
static void costs_differ(void)
{
    static const struct tarn_rollout_params rough = {
        .alpha = 0.005, .beta = 0.01, .calibration = 64, .limit = 512};
    sigma = 1.2;
    struct outcome o = trials(60, 1, 0, 1, &rough);
    CHECK(o.rejected <= 1);
    o = trials(60, 4000, 0.3, 1, &rough);
    CHECK(o.rejected == 60 && o.requests < 2e6);
    sigma = 0;
}

static void worse_does_not_go_live(void)
{
    static const double worse[] = {0.02, 0.05, 0.3, 1};
    for (int i = 0; i < 4; i++) {
        struct outcome o = trials(1000, 40000 + (uint64_t)i * 7000, worse[i], 1, &paired);
        CHECK(o.live <= 50);
        CHECK(o.rejected >= 900);
        o = trials(400, 80000 + (uint64_t)i * 7000, worse[i], 1, &arms);
        CHECK(o.live <= 20);
        CHECK(worse[i] == 0.02 || o.rejected >= 390);
    }
}

static void a_catastrophe_ends_in_the_first_step(void)
{
    struct tarn_rollout r;
    struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS];
    struct arms a;
    begin(&a, 5, 1, false);
    CHECK(tarn_rollout_init(&r, &paired) == TARN_OK);
    uint32_t blocks = 0;
    do {
        next_portion(&a, &r, 256, counts);
        blocks++;
    } while (tarn_rollout_feed(&r, counts) == TARN_ROLLOUT_CONTINUE);
    CHECK(r.verdict == TARN_ROLLOUT_REJECT && r.step == 0 && blocks < 40);
    CHECK(tarn_rollout_relative(&r, 0) > 1.8 && tarn_rollout_relative(&r, 0) < 2.2);
    CHECK(tarn_rollout_relative(&r, 1) == 0);
    /* final, and it governs nothing any more */
    CHECK(tarn_rollout_feed(&r, counts) == TARN_ROLLOUT_REJECT);
    for (uint64_t key = 0; key < 1000; key++)
        CHECK(!tarn_rollout_governs(&r, key));
}

/* A bad candidate looks good as long as its arm lives on what the live model left. */
static void what_was_left_speaks_for_nobody(void)
{
    for (int settles = 0; settles < 2; settles++) {
        struct tarn_rollout r;
        struct tarn_rollout_params p = {.paired = true, .settle = settles ? 256 * 60 : 0};
        struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS] = {{0}};
        struct arms a;
        begin(&a, 6, 0, false);
        CHECK(tarn_rollout_init(&r, &p) == TARN_OK);
        for (int block = 0; block < 1000 && r.verdict == TARN_ROLLOUT_CONTINUE; block++) {
            a.worse = block < 50 ? 0 : 0.3;
            next_portion(&a, &r, 256, counts);
            tarn_rollout_feed(&r, counts);
        }
        CHECK(r.verdict == (settles ? TARN_ROLLOUT_REJECT : TARN_ROLLOUT_ADVANCE));
    }
}

static void arms_are_nested_and_sticky(void)
{
    struct tarn_rollout r;
    int count[TARN_ROLLOUT_STEPS + 1] = {0};
    CHECK(tarn_rollout_init(&r, &paired) == TARN_OK);
    for (uint64_t key = 0; key < 100000; key++) {
        uint32_t segment = tarn_rollout_segment(key * 0x9e3779b97f4a7c15u);
        REQUIRE(segment <= TARN_ROLLOUT_STEPS);
        count[segment]++;
        for (r.step = 0; r.step < TARN_ROLLOUT_STEPS; r.step++)
            CHECK(tarn_rollout_governs(&r, key * 0x9e3779b97f4a7c15u) == (segment <= r.step));
    }
    CHECK(abs(count[0] - 1000) < 150 && abs(count[1] - 4000) < 300);
    CHECK(abs(count[2] - 20000) < 600 && abs(count[3] - 75000) < 700);
    CHECK(tarn_rollout_share(0) == 0.01 && tarn_rollout_share(3) == 1);
    r.step = 0;
    r.calibrating = true; /* the live model governs both arms */
    for (uint64_t key = 0; key < 1000; key++)
        CHECK(!tarn_rollout_governs(&r, key));
    r.verdict = TARN_ROLLOUT_LIVE;
    CHECK(tarn_rollout_governs(&r, 1));
}

static void silence_and_bad_numbers(void)
{
    struct tarn_rollout r;
    struct tarn_rollout_params p = {.alpha = 1};
    CHECK(tarn_rollout_init(&r, &p) == TARN_INVALID);
    p = (struct tarn_rollout_params){.beta = -1};
    CHECK(tarn_rollout_init(&r, &p) == TARN_INVALID);
    p = (struct tarn_rollout_params){.margin = {0, 2, 0}};
    CHECK(tarn_rollout_init(&r, &p) == TARN_INVALID);
    /* nothing ever misses, or always: not told apart, and no division by zero */
    for (uint64_t misses = 0; misses <= 256; misses += 256) {
        for (int with_pairs = 0; with_pairs < 2; with_pairs++) {
            p = (struct tarn_rollout_params){.paired = with_pairs, .limit = 100};
            CHECK(tarn_rollout_init(&r, &p) == TARN_OK);
            struct tarn_rollout_counts c = {256, misses, 256, misses};
            struct tarn_rollout_counts all[TARN_ROLLOUT_STEPS] = {c, c, c};
            int fed = 0;
            while (r.verdict <= TARN_ROLLOUT_ADVANCE && fed++ < 1000)
                tarn_rollout_feed(&r, all);
            CHECK(r.verdict == TARN_ROLLOUT_TIMEOUT || r.verdict == TARN_ROLLOUT_LIVE);
        }
    }
    struct tarn_rollout_counts none[TARN_ROLLOUT_STEPS] = {{0}};
    CHECK(tarn_rollout_init(&r, &paired) == TARN_OK);
    for (int i = 0; i < 100; i++)
        CHECK(tarn_rollout_feed(&r, none) == TARN_ROLLOUT_CONTINUE);
    for (int v = 0; v <= TARN_ROLLOUT_TIMEOUT; v++)
        CHECK(tarn_rollout_text((tarn_rollout_verdict)v)[0] != '?');
}

CHECK_MAIN(CASE(as_good_is_not_rejected), CASE(worse_does_not_go_live), CASE(costs_differ),
           CASE(a_catastrophe_ends_in_the_first_step), CASE(what_was_left_speaks_for_nobody),
           CASE(arms_are_nested_and_sticky), CASE(silence_and_bad_numbers))
