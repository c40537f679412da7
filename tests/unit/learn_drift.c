/* SPDX-License-Identifier: Apache-2.0 */
/* Drift detectors: long streams of one level must stay silent, changes must be found, and soon. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "learn/drift.h"

static double normal(struct tarn_rng *rng)
{
    double u = 1 - tarn_rng_double(rng), v = tarn_rng_double(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

enum kind { UNIFORM, NORMAL, MISSES, SMOOTH, SMOOTHER, PARETO, CAUCHY, WAVES, CONSTANT, KINDS };
static const char *const names[] = {"uniform", "normal", "misses", "AR .9",   "AR .99",
                                    "Pareto",  "Cauchy", "waves",  "constant"};

struct stream {
    struct tarn_rng rng;
    enum kind kind;
    double state;
    uint64_t at;
};

static double next(struct stream *s)
{
    double u = tarn_rng_double(&s->rng);
    s->at++;
    switch (s->kind) {
    case UNIFORM:
        return u;
    case MISSES:
        return u < 0.1;
    case SMOOTH:
    case SMOOTHER: {
        double keep = s->kind == SMOOTH ? 0.9 : 0.99;
        return s->state = keep * s->state + sqrt(1 - keep * keep) * normal(&s->rng);
    }
    case PARETO:
        return pow(1 - u, -1 / 1.2); /* no variance */
    case CAUCHY:
        return tan(3.14159265 * (u - 0.5)); /* no mean */
    case WAVES:                             /* a scan comes round now and then */
        return 0.5 * (s->at % 97 < 20) + 0.3 * u;
    case CONSTANT:
        return 1.5;
    default:
        return normal(&s->rng);
    }
}

/* False alarms and warnings in so many values, all of them of one level. */
static void count_alarms(enum kind kind, uint32_t block, uint64_t values, uint64_t *alarms,
                         uint64_t *warnings)
{
    *alarms = *warnings = 0;
    for (uint64_t seed = 0; seed < 8; seed++) {
        struct tarn_drift_detector d;
        struct stream s = {.kind = kind};
        tarn_rng_seed(&s.rng, seed + 100);
        tarn_drift_init(&d, &(struct tarn_drift_params){.block = block});
        for (uint64_t i = 0; i < values / 8; i++) {
            tarn_drift found = tarn_drift_feed(&d, (float)next(&s));
            *alarms += found == TARN_DRIFT_FOUND;
            *warnings += found == TARN_DRIFT_WARNING;
        }
    }
}

static void streams_of_one_level_stay_silent(void)
{
    for (int kind = 0; kind < KINDS; kind++) {
        uint64_t alarms, warnings;
        count_alarms((enum kind)kind, 0, 2000000, &alarms, &warnings);
        printf("# %s: %d alarms, %d blocks of warning in 2 M values\n", names[kind], (int)alarms,
               (int)warnings);
        CHECK(alarms <= 2);
    }
    /* values that are means already: blocks of one */
    uint64_t alarms, warnings;
    count_alarms(NORMAL, 1, 1000000, &alarms, &warnings);
    CHECK(alarms <= 1);
    count_alarms(SMOOTH, 1, 1000000, &alarms, &warnings);
    printf("# blocks of one, AR .9: %d alarms in 1 M\n", (int)alarms);
    CHECK(alarms <= 1);
}

/* Values from the change to the alarm, or -1 for none within `most`; a ramp of `length` values. */
static long delay_of(enum kind kind, uint32_t block, double shift, uint64_t length, long most,
                     uint64_t seed, float *magnitude, bool *warned)
{
    struct tarn_drift_detector d;
    struct stream s = {.kind = kind};
    tarn_rng_seed(&s.rng, seed);
    tarn_drift_init(&d, &(struct tarn_drift_params){.block = block});
    for (uint64_t i = 0; i < 20000; i++)
        tarn_drift_feed(&d, (float)next(&s));
    *warned = false;
    for (long i = 0; i < most; i++) {
        double share = (uint64_t)i < length ? (double)i / (double)length : 1;
        tarn_drift found = tarn_drift_feed(&d, (float)(next(&s) + shift * share));
        *warned |= found == TARN_DRIFT_WARNING;
        if (found == TARN_DRIFT_FOUND) {
            *magnitude = tarn_drift_magnitude(&d);
            return i;
        }
    }
    return -1;
}

static void changes_are_found_within(void)
{
    static const struct {
        enum kind kind;
        uint32_t block;
        double shift;
        uint64_t ramp;
        long most;
    } cases[] = {
        {NORMAL, 0, 2.0, 0, 320},        {NORMAL, 0, -2.0, 0, 320},
        {NORMAL, 0, 0.5, 0, 2000},       {NORMAL, 0, 0.2, 0, 8000},
        {PARETO, 0, 1.0, 0, 1000},       {CAUCHY, 0, -1.0, 0, 2000},
        {SMOOTH, 0, 1.0, 0, 10000},      {SMOOTHER, 0, 3.0, 0, 30000},
        {NORMAL, 0, 1.0, 100000, 60000}, {NORMAL, 0, 0.5, 400000, 300000},
        {WAVES, 0, 0.2, 0, 2000},        {NORMAL, 1, 2.0, 0, 60},
        {NORMAL, 1, 1.0, 2000, 2000},    {CONSTANT, 0, 0.1, 0, 512},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        long worst = 0, sum = 0;
        for (uint64_t seed = 0; seed < 10; seed++) {
            float magnitude = 0;
            bool warned;
            long delay = delay_of(cases[c].kind, cases[c].block, cases[c].shift, cases[c].ramp,
                                  cases[c].most, seed + 5, &magnitude, &warned);
            CHECK(delay >= 0);
            CHECK(magnitude * (float)cases[c].shift > 0 && fabsf(magnitude) <= 1);
            worst = delay > worst ? delay : worst;
            sum += delay;
        }
        printf("# %s, blocks of %u, %+.1f over %d values: found after %ld, at most %ld\n",
               names[cases[c].kind], cases[c].block == 0 ? 32 : cases[c].block, cases[c].shift,
               (int)cases[c].ramp, sum / 10, worst);
    }
}

static void a_miss_ratio_that_doubles_is_found(void)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct tarn_drift_detector d;
        struct tarn_rng rng;
        tarn_rng_seed(&rng, seed);
        tarn_drift_init(&d, NULL);
        for (int i = 0; i < 30000; i++)
            CHECK(tarn_drift_feed(&d, tarn_rng_double(&rng) < 0.1) != TARN_DRIFT_FOUND);
        long delay = 0;
        while (delay < 4000 && tarn_drift_feed(&d, tarn_rng_double(&rng) < 0.2) != TARN_DRIFT_FOUND)
            delay++;
        CHECK(delay < 4000 && d.found == 1);
        /* it is used to the new level then, and sees the way back */
        for (int i = 0; i < 30000; i++)
            CHECK(tarn_drift_feed(&d, tarn_rng_double(&rng) < 0.2) != TARN_DRIFT_FOUND);
        for (delay = 0;
             delay < 4000 && tarn_drift_feed(&d, tarn_rng_double(&rng) < 0.1) != TARN_DRIFT_FOUND;)
            delay++;
        CHECK(delay < 4000 && d.found == 2 && tarn_drift_magnitude(&d) < 0);
    }
}

static void a_slow_change_warns_first(void)
{
    int warned_first = 0;
    for (uint64_t seed = 0; seed < 10; seed++) {
        float magnitude;
        bool warned;
        CHECK(delay_of(NORMAL, 0, 1, 100000, 100000, seed, &magnitude, &warned) > 0);
        warned_first += warned;
    }
    CHECK_NUMBER(warned_first, 10);
}

static void what_is_no_number_is_left_out(void)
{
    struct tarn_drift_detector a, b;
    struct stream s = {.kind = NORMAL};
    tarn_rng_seed(&s.rng, 3);
    tarn_drift_init(&a, NULL);
    tarn_drift_init(&b, NULL);
    CHECK_NUMBER(tarn_drift_magnitude(&a), 0);
    for (int i = 0; i < 40000; i++) {
        float x = (float)next(&s) + (i > 20000 ? 1.0f : 0.0f);
        if (i % 7 == 0) {
            CHECK(tarn_drift_feed(&a, NAN) == TARN_DRIFT_NONE);
            CHECK(tarn_drift_feed(&a, -INFINITY) == TARN_DRIFT_NONE);
        }
        CHECK(tarn_drift_feed(&a, x) == tarn_drift_feed(&b, x));
    }
    CHECK(a.found == 1 && b.found == 1);
    CHECK_NUMBER(a.ignored, 2 * 5715);
    CHECK(sizeof a < 3072);
    printf("# a detector is %zu bytes\n", sizeof a);
}

CHECK_MAIN(CASE(streams_of_one_level_stay_silent), CASE(changes_are_found_within),
           CASE(a_miss_ratio_that_doubles_is_found), CASE(a_slow_change_warns_first),
           CASE(what_is_no_number_is_left_out))
