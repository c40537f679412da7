/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine that says when to train, fed with every kind of load. Whatever a case feeds, each
 * transition is checked against the table and against the bound of any minute.
 */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "share/activity.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define BUSY   TARN_ACTIVITY_BUSY
#define QUIET  TARN_ACTIVITY_QUIET
#define TRAIN  TARN_ACTIVITY_TRAINING
#define YIELD  TARN_ACTIVITY_YIELDING

struct world {
    struct tarn_activity activity;
    struct tarn_activity_sample sample; /* what doesn't change from one to the next */
    struct tarn_rng rng;
    uint64_t now, period;
    uint64_t training_ns; /* time in that state */
    bool slow_owner;      /* yielding isn't answered at once */
    bool odd_clock;       /* the caller's clock says nothing about a minute */
    enum tarn_activity_state state;
    uint64_t count, at[4096]; /* transitions */
    struct tarn_activity_transition last;
};

static const bool table[TARN_ACTIVITY_STATES][TARN_ACTIVITY_STATES] = {
    [BUSY] = {[QUIET] = true},
    [QUIET] = {[BUSY] = true, [TRAIN] = true},
    [TRAIN] = {[YIELD] = true},
    [YIELD] = {[BUSY] = true, [QUIET] = true},
};

static void told(void *context, const struct tarn_activity_transition *transition)
{
    struct world *w = context;
    uint32_t most = w->activity.params.per_minute;
    CHECK(transition->from == w->state && table[transition->from][transition->to]);
    CHECK(strncmp(transition->text, "activity: ", 10) == 0 && strlen(transition->text) > 25);
    w->state = transition->to;
    w->last = *transition;
    w->at[w->count++ % 4096] = transition->at_ns;
    CHECK(w->odd_clock || w->count <= most ||
          transition->at_ns - w->at[(w->count - 1 - most) % 4096] > MINUTE);
    if (transition->to == TRAIN)
        CHECK(w->activity.gate[0] == '\0' && !w->activity.burst);
}

static void begin_with(struct world *w, uint64_t period, struct tarn_activity_params params)
{
    memset(w, 0, sizeof *w);
    w->now = 5 * SECOND;
    w->period = period;
    w->sample = tarn_activity_unknown();
    w->state = BUSY;
    params.told = told;
    params.told_context = w;
    tarn_rng_seed(&w->rng, 17);
    CHECK(tarn_activity_init(&w->activity, &params) == TARN_OK);
}

static void begin(struct world *w)
{
    begin_with(w, 50 * MS, (struct tarn_activity_params){0});
}

/* One period with such a load. */
static enum tarn_activity_state step(struct world *w, double own)
{
    enum tarn_activity_state before = tarn_activity_state(&w->activity);
    w->now += w->period;
    w->training_ns += before == TRAIN ? w->period : 0;
    w->sample.own = own;
    tarn_activity_update(&w->activity, w->now, &w->sample);
    CHECK(w->state == tarn_activity_state(&w->activity));
    if (w->state == YIELD && !w->slow_owner)
        tarn_activity_yielded(&w->activity, w->now);
    return w->state;
}

static void stay(struct world *w, double own, uint64_t ns)
{
    for (uint64_t end = w->now + ns; w->now < end;)
        step(w, own);
}

/* Steps until the state is reached; the time that took, or `most`. */
static uint64_t until(struct world *w, enum tarn_activity_state state, double own, uint64_t most)
{
    uint64_t start = w->now;
    while (w->state != state && w->now - start < most)
        step(w, own);
    return w->now - start;
}

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

static double jitter(struct world *w, double mean, double by)
{
    return mean + by * (2 * tarn_rng_double(&w->rng) - 1);
}

/* The busy share of a period in which pieces of work of such a length arrive at random. */
static double poisson(struct world *w, double load, uint64_t piece)
{
    double mean = load * (double)w->period / (double)piece, p = exp(-mean);
    uint32_t pieces = 0;
    for (double u = tarn_rng_double(&w->rng); u > p && pieces < 1000; pieces++)
        p += exp(-mean + (pieces + 1) * log(mean) - lgamma(pieces + 2.0));
    return fmin(1, pieces * (double)piece / (double)w->period);
}

static void the_dwell_time_is_kept(void)
{
    static const uint64_t dwell[] = {SECOND, 2 * SECOND, 10 * SECOND};
    static const uint64_t period[] = {10 * MS, 25 * MS, 50 * MS};
    static const double load[] = {0, 0.08, 0.3, 0.4};
    for (int i = 0; i < 36; i++) {
        struct world w;
        double wanted = seconds(dwell[i % 3]), low = load[i / 9];
        begin_with(&w, period[i / 3 % 3], (struct tarn_activity_params){.dwell_ns = dwell[i % 3]});
        stay(&w, 1, 30 * SECOND);
        CHECK(w.state == BUSY && w.count == 0);
        uint64_t lag = until(&w, QUIET, low, MINUTE), took = until(&w, TRAIN, low, MINUTE);
        CHECK(fabs(seconds(took) - wanted) <= 0.1 * wanted);
        /* the estimator's share, from the last busy sample on; two periods are the median's */
        CHECK(seconds(lag) <= 0.1 * wanted + 2 * seconds(w.period));
        CHECK(w.last.from == QUIET && w.last.at_ns == w.now);
        stay(&w, low, 10 * MINUTE);
        CHECK(w.state == TRAIN && w.count == 2);
    }
}

/* Between the thresholds training goes on, but doesn't start. */
static void hysteresis(void)
{
    struct world w;
    begin(&w);
    stay(&w, 1, SECOND);
    until(&w, QUIET, 0.1, MINUTE);
    stay(&w, 0.1, 1750 * MS);
    stay(&w, 0.65, 10 * MINUTE);
    CHECK(w.state == QUIET && w.count == 1);
    CHECK(until(&w, TRAIN, 0.1, MINUTE) >= 2 * SECOND);
    stay(&w, 0.65, 10 * MINUTE);
    CHECK(w.state == TRAIN && w.count == 2);
}

static void a_reason_is_for_a_person(void)
{
    struct world w;
    char text[160];
    begin_with(&w, 10 * MS, (struct tarn_activity_params){.low = 0.3, .slow_ns = 100 * MS});
    stay(&w, 1, 3 * SECOND);
    tarn_activity_obstacle(&w.activity, text, sizeof text);
    CHECK(strcmp(text, "load 1.00, 0.30 is needed") == 0);
    until(&w, QUIET, 0.08, MINUTE);
    stay(&w, 0.08, SECOND);
    tarn_activity_obstacle(&w.activity, text, sizeof text);
    CHECK(strcmp(text, "low for 1.0 s, 2.0 s are needed") == 0);
    until(&w, TRAIN, 0.08, MINUTE);
    CHECK(strcmp(w.last.text, "activity: quiet -> training: load 0.08 under 0.30 for 2.0 s") == 0);
    CHECK(fabs(w.last.load - 0.08) < 0.01);
    tarn_activity_obstacle(&w.activity, text, sizeof text);
    CHECK(text[0] == '\0');
    w.slow_owner = true;
    until(&w, YIELD, 1, MINUTE);
    CHECK(strstr(w.last.text, "activity: training -> yielding: load 0.7") == w.last.text);
    CHECK(strstr(w.last.text, " over 0.75") != NULL);
    stay(&w, 0, 5 * SECOND); /* nobody else ends yielding */
    CHECK(w.state == YIELD);
    tarn_activity_yielded(&w.activity, w.now);
    CHECK(w.state == BUSY);
    tarn_activity_yielded(&w.activity, w.now);
    CHECK(w.state == BUSY);
}

static void square_waves(void)
{
    for (uint64_t period = 60 * MS; period < 5 * MINUTE; period = period * 4 / 3) {
        struct world w;
        begin(&w);
        uint64_t low = 0, length = 30 * MINUTE;
        for (uint64_t t = 0; t < length; t += w.period) {
            bool up = t % period < period / 2;
            low += up ? 0 : w.period;
            step(&w, up ? 0.95 : 0.05);
        }
        double a_minute = (double)w.count / 30, share = (double)w.training_ns / (double)low;
        CHECK(a_minute < 10);       /* the bound of 24 is for bad minutes, told() checks it */
        if (period > 40 * SECOND) { /* no flapping: most of the low time is used */
            CHECK(share > 0.85);
            CHECK(a_minute <= 4 * 60 / seconds(period) + 0.2);
        }
        if (period < 200 * MS) /* that is a steady load of one half */
            CHECK(w.count < 10);
    }
}

static void after_flapping_it_recovers(void)
{
    struct world w;
    begin(&w);
    for (int i = 0; i < 200; i++) {
        stay(&w, 0.95, 3 * SECOND);
        stay(&w, 0.05, 3 * SECOND);
    }
    CHECK(tarn_activity_dwell(&w.activity) >= 8 * SECOND);
    CHECK(until(&w, TRAIN, 0.05, 5 * MINUTE) < 40 * SECOND);
    stay(&w, 0.05, 4 * MINUTE);
    CHECK(tarn_activity_dwell(&w.activity) == 2 * SECOND);
}

static void ramps(void)
{
    struct world w;
    begin(&w);
    stay(&w, 1, SECOND);
    for (int round = 0; round < 20; round++) {
        for (double load = 1; load > 0; load -= 0.001)
            step(&w, jitter(&w, load, 0.05));
        CHECK(w.state == TRAIN);
        for (double load = 0; load < 1; load += 0.001)
            step(&w, jitter(&w, load, 0.05));
        CHECK(w.state == BUSY);
        CHECK(w.count == 4 * (uint64_t)(round + 1)); /* one way there, one back */
    }
}

static void noise(void)
{
    for (int i = 0; i <= 20; i++) {
        struct world w;
        double mean = i / 20.0;
        begin(&w);
        for (int k = 0; k < 20 * 60 * 30; k++)
            step(&w, jitter(&w, mean, 0.5));
        CHECK((double)w.count / 30 < 12);
        if (mean < 0.35)
            CHECK(w.training_ns > 29 * MINUTE);
        if (mean > 0.8)
            CHECK(w.training_ns == 0);
    }
}

/* The gaps of a steady load below the thresholds are what training is for. */
static void steady_arrivals_are_trained_beside(void)
{
    static const uint64_t piece[] = {MS / 5, MS, 4 * MS, 10 * MS};
    for (int i = 0; i < 16; i++) {
        struct world w;
        double load = i / 4 == 3 ? 0.95 : (i / 4 + 1) * 0.1;
        begin(&w);
        for (int k = 0; k < 20 * 60 * 20; k++) {
            double own = poisson(&w, load, piece[i % 4]);
            if (own > 0)
                tarn_activity_arrive(&w.activity, w.now + w.period / 2);
            if (w.state == YIELD)
                tarn_activity_yielded(&w.activity, w.now + w.period / 2);
            step(&w, own);
        }
        if (load < 0.5)
            CHECK(seconds(w.training_ns) > 0.97 * 20 * 60);
        else
            CHECK(seconds(w.training_ns) < 0.01 * 20 * 60);
        CHECK(w.count < 20 * 8);
    }
}

static void go_idle(struct world *w)
{
    until(w, TRAIN, 0, MINUTE);
    stay(w, 0, 3 * SECOND);
    CHECK(w->state == TRAIN && tarn_activity_is_idle(&w->activity));
}

static void a_burst_is_yielded_to_at_once(void)
{
    struct world w;
    begin(&w);
    w.slow_owner = true;
    go_idle(&w);
    w.now += 7 * MS;
    CHECK(tarn_activity_arrive(&w.activity, w.now));
    CHECK(w.state == YIELD && w.last.at_ns == w.now && !tarn_activity_is_idle(&w.activity));
    CHECK(strstr(w.last.text, "work arrived at an idle device") != NULL);
    CHECK(!tarn_activity_arrive(&w.activity, w.now + MS));
    tarn_activity_yielded(&w.activity, w.now + 2 * MS);
    CHECK(w.state == QUIET);
    CHECK(until(&w, BUSY, 1, MINUTE) <= SECOND); /* a burst indeed */
    CHECK(strstr(w.last.text, "quiet -> busy: load ") != NULL);
    stay(&w, 1, 10 * SECOND);
    CHECK(w.state == BUSY && w.count == 5);
    /* beside a steady load arrivals change nothing: quanta are small already */
    begin(&w);
    until(&w, TRAIN, 0.3, MINUTE);
    stay(&w, 0.3, 10 * SECOND);
    CHECK(!tarn_activity_is_idle(&w.activity) && !tarn_activity_arrive(&w.activity, w.now));
    CHECK(w.state == TRAIN);
    CHECK(until(&w, BUSY, 1, SECOND) <= 250 * MS); /* by the quick average */
}

static void one_arrival_is_no_burst(void)
{
    struct world w;
    begin(&w);
    w.slow_owner = true;
    go_idle(&w);
    CHECK(tarn_activity_arrive(&w.activity, w.now));
    tarn_activity_yielded(&w.activity, w.now + MS);
    CHECK(w.state == QUIET);
    CHECK(fabs(seconds(until(&w, TRAIN, 0.01, MINUTE)) - 0.5) <= 0.06);
    /* in a slow stream of them training keeps the device all the same */
    for (uint64_t every = 200 * MS; every < 30 * SECOND; every = every * 3 / 2) {
        begin(&w);
        go_idle(&w);
        w.training_ns = 0;
        uint64_t start = w.now, count = w.count;
        for (uint64_t next = w.now; w.now - start < 20 * MINUTE;) {
            bool arrives = w.now >= next;
            if (arrives && tarn_activity_arrive(&w.activity, w.now))
                tarn_activity_yielded(&w.activity, w.now);
            next += arrives ? every : 0;
            step(&w, arrives ? 0.02 : 0);
        }
        CHECK(seconds(w.training_ns) > 0.9 * seconds(w.now - start));
        CHECK(w.count - count < 20 * 12);
    }
}

static void outliers(void)
{
    struct world w;
    begin(&w);
    until(&w, TRAIN, 0.1, MINUTE);
    for (int i = 0; i < 5000; i++)
        step(&w, i % 4 == 0 ? 1 : 0.1);
    CHECK(w.state == TRAIN && w.count == 2);
    CHECK(tarn_activity_load(&w.activity) < 0.2);
    stay(&w, 1, SECOND);
    CHECK(w.state == BUSY);
    for (int i = 0; i < 5000; i++)
        step(&w, i % 4 == 0 ? 0 : 1);
    CHECK(w.state == BUSY && w.count == 4);
}

static void clocks_that_jump(void)
{
    struct world w;
    begin(&w);
    w.odd_clock = true;
    stay(&w, 1, SECOND);
    until(&w, QUIET, 0.1, MINUTE);
    /* an hour is no dwell time, a step back none either */
    w.now += 60 * MINUTE;
    CHECK(step(&w, 0.1) == QUIET);
    w.now -= 30 * MINUTE;
    CHECK(step(&w, 0.1) == QUIET);
    uint64_t took = until(&w, TRAIN, 0.1, MINUTE);
    CHECK(took > 1650 * MS && took <= 1800 * MS); /* an eighth of it, once */
    w.now = UINT64_MAX - SECOND;                  /* and around the end */
    stay(&w, 0.1, SECOND / 2);
    w.now += 2 * SECOND;
    stay(&w, 0.1, SECOND / 2);
    CHECK(w.state == TRAIN && w.count == 2);
    w.period = 0; /* a clock that stands still measures nothing */
    for (int i = 0; i < 100; i++)
        step(&w, 1);
    CHECK(w.state == TRAIN);
    w.period = 10 * MINUTE; /* samples too rare: slower, not wrong */
    for (int i = 0; i < 10; i++)
        step(&w, 1);
    CHECK(w.state == BUSY);
    for (int i = 0; i < 40; i++)
        step(&w, 0.1);
    CHECK(w.state == TRAIN);
}

static void unknown_inputs(void)
{
    struct world w;
    begin(&w);
    stay(&w, (double)NAN, MINUTE);
    CHECK(w.state == BUSY && w.count == 0); /* nothing known, nothing started */
    until(&w, TRAIN, 0.1, MINUTE);
    stay(&w, (double)INFINITY, 1500 * MS); /* a few readings may be missing */
    CHECK(w.state == TRAIN);
    stay(&w, (double)NAN, 3 * SECOND);
    CHECK(w.state == BUSY);
    /* any known part is enough, and the largest counts */
    until(&w, TRAIN, -5, MINUTE);
    w.sample.memory = 0.9;
    stay(&w, 0.1, SECOND);
    CHECK(w.state == BUSY && tarn_activity_load(&w.activity) > 0.85);
    w.sample.memory_training = 0.8; /* our own doing */
    until(&w, TRAIN, (double)NAN, MINUTE);
    CHECK(w.state == TRAIN);
    w.sample.operations = 1e9; /* no peak is known */
    stay(&w, 7, SECOND);
    CHECK(w.state == BUSY && tarn_activity_load(&w.activity) <= 1);
    begin_with(&w, 50 * MS, (struct tarn_activity_params){.operations_peak = 1e6});
    w.sample.operations = 1e5;
    until(&w, TRAIN, 0, MINUTE);
    w.sample.operations = 9e5;
    CHECK(until(&w, BUSY, 0, SECOND) < SECOND);
}

static void what_training_takes_is_no_load(void)
{
    struct world w;
    begin(&w);
    for (int i = 0; i < 20000; i++) {
        double training = w.state == TRAIN ? 0.7 : 0;
        w.sample.training = training;
        w.sample.system = jitter(&w, 0.25 + training, 0.04);
        step(&w, 0.2);
    }
    CHECK(w.state == TRAIN && w.count == 2);
    CHECK(!tarn_activity_is_idle(&w.activity));
    w.sample.system = 0.02; /* the board's figure is never quite zero */
    w.sample.training = 0;
    stay(&w, 0, 3 * SECOND);
    CHECK(tarn_activity_is_idle(&w.activity));
    w.sample.system = 0.2; /* somebody else's frames */
    step(&w, 0);
    CHECK(!tarn_activity_is_idle(&w.activity) && w.state == TRAIN);
    w.sample.system = 0.9;
    CHECK(until(&w, BUSY, 0, SECOND) < SECOND);
}

static void no_training_under_a_gate(void)
{
    struct world w;
    char text[160];
    begin(&w);
    w.sample.gate = "82 C, 80 C is the limit";
    stay(&w, 0, 5 * MINUTE);
    CHECK(w.training_ns == 0 && w.state == QUIET && w.count == 1);
    tarn_activity_obstacle(&w.activity, text, sizeof text);
    CHECK(strcmp(text, w.sample.gate) == 0);
    w.sample.gate = NULL;
    CHECK(fabs(seconds(until(&w, TRAIN, 0, MINUTE)) - 2) <= 0.2);
    w.sample.gate = "on battery";
    w.slow_owner = true;
    CHECK(step(&w, 0) == YIELD);
    CHECK(strcmp(w.last.text, "activity: training -> yielding: on battery") == 0);
    tarn_activity_yielded(&w.activity, w.now);
    CHECK(w.state == BUSY);
    w.slow_owner = false;
    /* a gate that flaps is bounded like a load that flaps; an empty reason is one */
    uint64_t count = w.count;
    for (int i = 0; i < 600; i++) {
        w.sample.gate = i % 2 ? "" : NULL;
        stay(&w, 0, 3 * SECOND);
    }
    CHECK(w.count - count < 30 * 8);
    w.sample.gate =
        "a reason that is far too long for the place where it is to be kept, and goes on";
    stay(&w, 0, MINUTE);
    CHECK(w.state != TRAIN);
}

static void an_expected_burst_is_avoided(void)
{
    struct world w;
    const struct tarn_forecast burst = {.load = 0.5f, .peak = 0.9f, .confidence = 0.8f};
    begin(&w);
    w.slow_owner = true;
    until(&w, TRAIN, 0.1, MINUTE);
    w.sample.soon = (struct tarn_forecast){.peak = 0.9f, .confidence = 0.3f}; /* a mere guess */
    stay(&w, 0.1, MINUTE);
    CHECK(w.state == TRAIN);
    w.sample.soon = burst;
    CHECK(step(&w, 0.1) == YIELD);
    CHECK(strstr(w.last.text, "load 0.90 expected within 30 s, confidence 0.80") != NULL);
    w.slow_owner = false;
    tarn_activity_yielded(&w.activity, w.now);
    w.training_ns = 0;
    stay(&w, 0.1, 5 * MINUTE); /* withheld; not for ever, if nothing comes */
    CHECK(w.training_ns == 0 && w.state == QUIET);
    CHECK(until(&w, TRAIN, 0.1, 2 * MINUTE) <= 31 * SECOND);
    stay(&w, 0.1, 60 * MINUTE);
    CHECK(w.state == TRAIN);
    w.sample.soon = (struct tarn_forecast){0}; /* the next one is waited for again */
    stay(&w, 0.1, MINUTE);
    w.sample.soon = burst;
    CHECK(step(&w, 0.1) == BUSY);
}

static void an_expected_lull_is_used(void)
{
    struct world w;
    for (int floor = 0; floor < 2; floor++) {
        begin_with(&w, 50 * MS,
                   (struct tarn_activity_params){.dwell_least = floor ? 1700 * MS : 0});
        w.sample.later = (struct tarn_forecast){.peak = 0.1f, .confidence = 0.9f};
        stay(&w, 1, SECOND);
        until(&w, QUIET, 0.1, MINUTE);
        double wanted = floor ? 1.7 : 1;
        CHECK(fabs(seconds(until(&w, TRAIN, 0.1, MINUTE)) - wanted) <= 0.1 * wanted);
        CHECK(strstr(w.last.text, ", a lull is expected") != NULL);
    }
    begin(&w);
    w.sample.later = (struct tarn_forecast){.peak = 0.6f, .confidence = 0.9f};
    until(&w, QUIET, 0.1, MINUTE);
    CHECK(until(&w, TRAIN, 0.1, MINUTE) >= 2 * SECOND);
}

/* With the real pattern: after some days the burst of nine o'clock finds training gone. */
static void the_pattern_and_the_machine(void)
{
    struct world w;
    struct tarn_pattern pattern;
    int64_t wall = 1767571200;
    uint64_t withdrawn = 0, nine = 0;
    begin_with(&w, SECOND, (struct tarn_activity_params){.dwell_ns = 30 * SECOND});
    tarn_pattern_init(&pattern);
    for (int64_t t = 0; t < 5 * 86400; t++) {
        int64_t hour = t % 86400 / 3600;
        double load = hour >= 9 && hour < 17 ? 0.9 : 0.05;
        tarn_pattern_feed(&pattern, wall + t, w.now, load);
        tarn_activity_foresee(&w.activity, &pattern, wall + t, &w.sample);
        enum tarn_activity_state before = w.state;
        step(&w, load);
        if (t / 86400 == 4 && before == TRAIN && w.state == BUSY)
            withdrawn = (uint64_t)(t % 86400);
        if (t % 86400 == 9 * 3600)
            nine = (uint64_t)(w.state == TRAIN) << (t / 86400) | nine;
    }
    CHECK(nine == 1 + 2); /* two days make a habit */
    CHECK(withdrawn >= 9 * 3600 - 30 && withdrawn < 9 * 3600);
    CHECK(w.count <= 5 * 6 + 1);
    CHECK(seconds(w.training_ns) > 0.98 * 5 * 16 * 3600);
}

static void idleness(void)
{
    struct world w;
    begin(&w);
    stay(&w, 0, 1900 * MS);
    CHECK(!tarn_activity_is_idle(&w.activity));
    stay(&w, 0, 200 * MS);
    CHECK(tarn_activity_is_idle(&w.activity));
    step(&w, 0.001); /* hardly anything is not nothing */
    CHECK(!tarn_activity_is_idle(&w.activity));
    stay(&w, 0, SECOND);
    CHECK(!tarn_activity_arrive(&w.activity, w.now));
    stay(&w, 0, 1900 * MS);
    CHECK(!tarn_activity_is_idle(&w.activity));
    stay(&w, 0, 200 * MS);
    CHECK(tarn_activity_is_idle(&w.activity));
}

static double anything(struct world *w)
{
    static const double odd[] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -1, 0, 1e300};
    uint32_t pick = tarn_rng_below(&w->rng, 40);
    return pick < 6 ? odd[pick] : tarn_rng_double(&w->rng);
}

/* Random calls, random values, random bounds: told() looks at what comes of it. */
static void anything_goes(void)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct world w;
        begin_with(&w, 0,
                   (struct tarn_activity_params){.per_minute = 6 + (uint32_t)seed % 59,
                                                 .dwell_ns = (1 + seed % 7) * 150 * MS,
                                                 .operations_peak = seed % 2 ? 2 : 0});
        tarn_rng_seed(&w.rng, seed);
        w.slow_owner = true;
        double base = 0;
        for (int i = 0; i < 20000; i++) {
            if (tarn_rng_below(&w.rng, 30) == 0)
                base = tarn_rng_double(&w.rng) * tarn_rng_below(&w.rng, 2);
            w.period = tarn_rng_below(&w.rng, 100) * MS;
            w.sample.system = tarn_rng_below(&w.rng, 9) ? (double)NAN : anything(&w);
            w.sample.training = anything(&w);
            w.sample.memory = base * anything(&w);
            w.sample.operations = base * anything(&w);
            w.sample.gate = tarn_rng_below(&w.rng, 50) ? NULL : "closed";
            w.sample.soon.peak = (float)anything(&w);
            w.sample.soon.confidence = tarn_rng_below(&w.rng, 50) ? 0 : 1;
            w.sample.later = w.sample.soon;
            step(&w, tarn_rng_below(&w.rng, 30) ? base : anything(&w));
            if (w.sample.gate != NULL)
                CHECK(w.state != TRAIN);
            if (tarn_rng_below(&w.rng, 10) == 0)
                tarn_activity_arrive(&w.activity, w.now);
            if (tarn_rng_below(&w.rng, 3) == 0)
                tarn_activity_yielded(&w.activity, w.now);
        }
        CHECK(w.count > 20);
    }
}

static void parameters(void)
{
    static const struct tarn_activity_params bad[] = {
        {.low = 0.8},
        {.high = 0.4},
        {.high = 1},
        {.low = -0.1},
        {.low = (double)NAN},
        {.confidence = 1.1},
        {.per_minute = 5},
        {.per_minute = 65},
        {.dwell_ns = SECOND, .dwell_least = 2 * SECOND},
        {.quick_ns = 2 * SECOND, .slow_ns = SECOND},
        {.operations_peak = -1},
        {.dwell_ns = 1},
    };
    struct tarn_activity activity;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(tarn_activity_init(&activity, &bad[i]) == TARN_INVALID);
    CHECK(tarn_activity_init(&activity, NULL) == TARN_OK);
    CHECK(tarn_activity_state(&activity) == BUSY && tarn_activity_load(&activity) == 1);
    CHECK(tarn_activity_dwell(&activity) == 2 * SECOND);
    for (int i = 0; i < TARN_ACTIVITY_STATES; i++)
        CHECK(strlen(tarn_activity_state_name((enum tarn_activity_state)i)) >= 4);
}

CHECK_MAIN(CASE(the_dwell_time_is_kept), CASE(hysteresis), CASE(a_reason_is_for_a_person),
           CASE(square_waves), CASE(after_flapping_it_recovers), CASE(ramps), CASE(noise),
           CASE(steady_arrivals_are_trained_beside), CASE(a_burst_is_yielded_to_at_once),
           CASE(one_arrival_is_no_burst), CASE(outliers), CASE(clocks_that_jump),
           CASE(unknown_inputs), CASE(what_training_takes_is_no_load),
           CASE(no_training_under_a_gate), CASE(an_expected_burst_is_avoided),
           CASE(an_expected_lull_is_used), CASE(the_pattern_and_the_machine), CASE(idleness),
           CASE(anything_goes), CASE(parameters))
