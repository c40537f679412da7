/* SPDX-License-Identifier: Apache-2.0 */
#include "activity.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SECOND          1000000000u
#define MINUTE          (60 * (uint64_t)SECOND)
#define CALM            (30 * (uint64_t)SECOND) /* forgets a flap */
#define FREE_FLAPS      2                       /* bad luck, not yet a habit */
#define MOST_FLAPS      (FREE_FLAPS + 4)
#define MOST_IDLE_FLAPS (FREE_FLAPS + 6)
#define SHORT_RUN       4    /* dwell times: a shorter run wasn't worth its start */
#define OTHERS_IDLE     0.05 /* a board's own figures are never quite zero */

/* The transitions that may be forced upon us from a state on, before one that is our choice. */
static const uint32_t forced_from[TARN_ACTIVITY_STATES] = {
    [TARN_ACTIVITY_BUSY] = 0,
    [TARN_ACTIVITY_QUIET] = 1,    /* busy */
    [TARN_ACTIVITY_YIELDING] = 2, /* quiet, busy */
    [TARN_ACTIVITY_TRAINING] = 3, /* yielding, quiet, busy */
};

const char *tarn_activity_state_name(enum tarn_activity_state state)
{
    static const char *const names[TARN_ACTIVITY_STATES] = {"busy", "quiet", "training",
                                                            "yielding"};
    return names[state];
}

struct tarn_activity_sample tarn_activity_unknown(void)
{
    return (struct tarn_activity_sample){
        .own = NAN,
        .training = NAN,
        .system = NAN,
        .memory = NAN,
        .memory_training = NAN,
        .operations = NAN,
    };
}

static void fill_in(uint64_t *value, uint64_t otherwise)
{
    if (*value == 0)
        *value = otherwise;
}

static void fill_in_defaults(struct tarn_activity_params *p)
{
    p->low = p->low == 0 ? 0.5 : p->low;
    p->high = p->high == 0 ? 0.75 : p->high;
    p->confidence = p->confidence == 0 ? 0.6 : p->confidence;
    p->per_minute = p->per_minute == 0 ? 24 : p->per_minute;
    fill_in(&p->dwell_ns, 2 * (uint64_t)SECOND);
    fill_in(&p->dwell_least, p->dwell_ns / 4);
    fill_in(&p->resume_ns, p->dwell_ns / 4);
    fill_in(&p->busy_least_ns, p->dwell_ns / 2);
    fill_in(&p->quick_ns, p->dwell_ns / 20);
    fill_in(&p->slow_ns, p->dwell_ns / 4);
    fill_in(&p->longest_ns, p->dwell_ns / 8);
    fill_in(&p->lead_ns, 30 * (uint64_t)SECOND);
    fill_in(&p->lull_ns, 5 * MINUTE);
    fill_in(&p->patience_ns, 5 * MINUTE);
}

static bool make_sense(const struct tarn_activity_params *p)
{
    return p->low > 0 && p->low < p->high && p->high < 1 && p->confidence > 0 &&
           p->confidence <= 1 && p->operations_peak >= 0 && isfinite(p->operations_peak) &&
           p->dwell_least <= p->dwell_ns && p->dwell_ns <= 60 * MINUTE && p->quick_ns > 0 &&
           p->quick_ns <= p->slow_ns && p->longest_ns > 0 && p->per_minute >= 6 &&
           p->per_minute <= TARN_ACTIVITY_MOST_PER_MINUTE;
}

tarn_status tarn_activity_init(struct tarn_activity *activity,
                               const struct tarn_activity_params *params)
{
    struct tarn_activity_params p = params ? *params : (struct tarn_activity_params){0};
    fill_in_defaults(&p);
    if (!make_sense(&p))
        return TARN_INVALID;
    *activity = (struct tarn_activity){
        .params = p, .recent = {1, 1, 1}, .quick = 1, .slow = 1, .state = TARN_ACTIVITY_BUSY};
    return TARN_OK;
}

static void advance(struct tarn_activity *a, uint64_t now_ns)
{
    uint64_t step = a->started && now_ns > a->clock ? now_ns - a->clock : 0;
    a->time += step < a->params.longest_ns ? step : a->params.longest_ns;
    a->clock = now_ns;
    a->started = true;
}

double tarn_activity_load(const struct tarn_activity *activity)
{
    return fmax(activity->quick, activity->slow);
}

static uint32_t doublings(uint32_t flaps)
{
    return flaps > FREE_FLAPS ? flaps - FREE_FLAPS : 0;
}

uint64_t tarn_activity_dwell(const struct tarn_activity *activity)
{
    const struct tarn_activity_params *p = &activity->params;
    uint64_t dwell = activity->lull ? p->dwell_ns / 2 : p->dwell_ns;
    if (activity->resuming)
        dwell = p->resume_ns;
    if (dwell < p->dwell_least)
        dwell = p->dwell_least;
    return activity->resuming ? dwell : dwell << doublings(activity->flaps);
}

static uint32_t transitions_of_a_minute(const struct tarn_activity *a)
{
    uint32_t count = 0;
    while (count < TARN_ACTIVITY_MOST_PER_MINUTE && count < a->transitions &&
           a->time - a->times[(a->transitions - 1 - count) % TARN_ACTIVITY_MOST_PER_MINUTE] <=
               MINUTE)
        count++;
    return count;
}

/* Does a transition fit into this minute, with those that may have to follow? */
static bool has_room(const struct tarn_activity *a, enum tarn_activity_state to)
{
    return transitions_of_a_minute(a) + 1 + forced_from[to] <= a->params.per_minute;
}

TARN_PRINTF(4, 5)
static void change(struct tarn_activity *a, enum tarn_activity_state to, double load,
                   const char *format, ...)
{
    struct tarn_activity_transition transition = {
        .from = a->state, .to = to, .at_ns = a->clock, .load = load};
    size_t size = sizeof transition.text;
    int used =
        snprintf(transition.text, size, "activity: %s -> %s: ", tarn_activity_state_name(a->state),
                 tarn_activity_state_name(to));
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(transition.text + used, size - (size_t)used, format, arguments);
    va_end(arguments);

    a->times[a->transitions++ % TARN_ACTIVITY_MOST_PER_MINUTE] = a->time;
    a->state = to;
    a->entered = a->time;
    if (a->params.told != NULL)
        a->params.told(a->params.told_context, &transition);
}

static void flap(uint32_t *flaps, uint64_t *at, uint32_t most, uint64_t now)
{
    *flaps += *flaps < most;
    *at = now;
}

static void forget(uint32_t *flaps, uint64_t *at, uint64_t after, uint64_t now)
{
    for (; *flaps > 0 && now - *at >= after; *flaps -= 1)
        *at += after;
}

/* 0..1, NAN where it isn't known */
static double share(double x)
{
    return isfinite(x) ? fmin(fmax(x, 0), 1) : NAN;
}

static double or_zero(double x)
{
    return isfinite(x) ? x : 0;
}

/* What others than we do on the device. */
static double of_others(const struct tarn_activity_sample *sample)
{
    return share(sample->system - or_zero(share(sample->own)) - or_zero(share(sample->training)));
}

static double read_load(const struct tarn_activity *a, const struct tarn_activity_sample *sample)
{
    double own = share(sample->own), others = of_others(sample);
    double device = isnan(own) ? others : share(own + or_zero(others));
    double memory = share(sample->memory - or_zero(share(sample->memory_training)));
    double cache =
        a->params.operations_peak > 0 ? share(sample->operations / a->params.operations_peak) : NAN;
    return fmax(device, fmax(memory, cache)); /* fmax() leaves NAN out */
}

static double median(const double x[3])
{
    return fmax(fmin(x[0], x[1]), fmin(fmax(x[0], x[1]), x[2]));
}

static void smooth(struct tarn_activity *a, double load)
{
    if (!isnan(load))
        a->known = a->time;
    else if (a->time - a->known >= a->params.dwell_ns)
        load = 1;
    double passed = (double)(a->time - a->sampled);
    a->sampled = a->time;
    if (isnan(load))
        return;
    a->recent[a->next_recent++ % 3] = load;
    load = median(a->recent);
    a->quick += (1 - exp(-passed / (double)a->params.quick_ns)) * (load - a->quick);
    a->slow += (1 - exp(-passed / (double)a->params.slow_ns)) * (load - a->slow);
}

static void see_idleness(struct tarn_activity *a, const struct tarn_activity_sample *sample)
{
    if (share(sample->own) > 0 || of_others(sample) > OTHERS_IDLE)
        a->work = a->time;
    a->idle = a->time - a->work >= a->params.dwell_ns << doublings(a->idle_flaps);
}

static void see_forecasts(struct tarn_activity *a, const struct tarn_activity_sample *sample)
{
    const struct tarn_activity_params *p = &a->params;
    bool seen =
        (double)sample->soon.confidence >= p->confidence && (double)sample->soon.peak >= p->high;
    if (seen && !a->burst_seen)
        a->burst_since = a->time;
    a->burst_seen = seen;
    a->burst = seen && a->time - a->burst_since < p->lead_ns + p->patience_ns;
    a->soon = sample->soon;
    a->lull =
        (double)sample->later.confidence >= p->confidence && (double)sample->later.peak < p->low;
}

static void see_gate(struct tarn_activity *a, const char *gate)
{
    a->gate[0] = '\0';
    if (gate == NULL)
        return;
    snprintf(a->gate, sizeof a->gate, "%s", *gate ? gate : "not allowed");
    a->low_since = a->time; /* dwell time is time in which nothing spoke against training */
}

static void withdraw(struct tarn_activity *a, bool arrived, const char *why)
{
    bool cut_short = a->time - a->entered < SHORT_RUN * a->params.dwell_ns;
    if (arrived)
        flap(&a->idle_flaps, &a->idle_flapped, MOST_IDLE_FLAPS, a->time);
    else if (cut_short)
        flap(&a->flaps, &a->flapped, MOST_FLAPS, a->time);
    a->arrived = arrived;
    change(a, TARN_ACTIVITY_YIELDING, tarn_activity_load(a), "%s", why);
}

static void decide_busy(struct tarn_activity *a)
{
    const struct tarn_activity_params *p = &a->params;
    if (a->quick >= p->low || a->time - a->entered < p->busy_least_ns << doublings(a->flaps) ||
        !has_room(a, TARN_ACTIVITY_QUIET))
        return;
    a->low_since = a->time;
    a->resuming = false;
    change(a, TARN_ACTIVITY_QUIET, a->quick, "load %.2f under %.2f", a->quick, p->low);
}

static void decide_quiet(struct tarn_activity *a)
{
    const struct tarn_activity_params *p = &a->params;
    double calm = fmin(a->quick, a->slow);
    if (calm > p->high) { /* nothing is training: no hurry, and so no flapping with noise */
        flap(&a->flaps, &a->flapped, MOST_FLAPS, a->time);
        change(a, TARN_ACTIVITY_BUSY, calm, "load %.2f over %.2f", calm, p->high);
        return;
    }
    /* one average may lag or be noise; both of them are load */
    if (calm >= p->low) {
        a->low_since = a->time;
        a->resuming = false;
    }
    double load = tarn_activity_load(a);
    uint64_t low_for = a->time - a->low_since;
    if (load >= p->low || low_for < tarn_activity_dwell(a) || a->burst || a->gate[0] ||
        !has_room(a, TARN_ACTIVITY_TRAINING))
        return;
    change(a, TARN_ACTIVITY_TRAINING, load, "load %.2f under %.2f for %.1f s%s", load, p->low,
           (double)low_for / SECOND, a->lull ? ", a lull is expected" : "");
}

static void decide_training(struct tarn_activity *a)
{
    char why[128];
    if (a->gate[0])
        withdraw(a, false, a->gate);
    else if (a->quick > a->params.high) {
        snprintf(why, sizeof why, "load %.2f over %.2f", a->quick, a->params.high);
        withdraw(a, false, why);
    } else if (a->burst) {
        snprintf(why, sizeof why, "load %.2f expected within %.0f s, confidence %.2f",
                 (double)a->soon.peak, (double)a->params.lead_ns / SECOND,
                 (double)a->soon.confidence);
        withdraw(a, false, why);
    }
}

enum tarn_activity_state tarn_activity_update(struct tarn_activity *activity, uint64_t now_ns,
                                              const struct tarn_activity_sample *sample)
{
    struct tarn_activity *a = activity;
    advance(a, now_ns);
    forget(&a->flaps, &a->flapped, CALM, a->time);
    forget(&a->idle_flaps, &a->idle_flapped, MINUTE, a->time);
    smooth(a, read_load(a, sample));
    see_idleness(a, sample);
    see_forecasts(a, sample);
    see_gate(a, sample->gate);
    switch (a->state) {
    case TARN_ACTIVITY_BUSY:
        decide_busy(a);
        break;
    case TARN_ACTIVITY_QUIET:
        decide_quiet(a);
        break;
    case TARN_ACTIVITY_TRAINING:
        decide_training(a);
        break;
    default: /* yielding ends when the owner says so */
        break;
    }
    return a->state;
}

bool tarn_activity_arrive(struct tarn_activity *activity, uint64_t now_ns)
{
    struct tarn_activity *a = activity;
    bool was_idle = a->idle;
    advance(a, now_ns);
    a->work = a->time;
    a->idle = false;
    if (a->state != TARN_ACTIVITY_TRAINING || !was_idle)
        return false;
    withdraw(a, true, "work arrived at an idle device");
    return true;
}

void tarn_activity_yielded(struct tarn_activity *activity, uint64_t now_ns)
{
    struct tarn_activity *a = activity;
    advance(a, now_ns);
    if (a->state != TARN_ACTIVITY_YIELDING)
        return;
    if (a->arrived && a->quick <= a->params.high && !a->gate[0] && !a->burst) {
        a->low_since = a->time;
        a->resuming = true;
        change(a, TARN_ACTIVITY_QUIET, a->quick, "given back to an arrival, load %.2f", a->quick);
    } else {
        change(a, TARN_ACTIVITY_BUSY, tarn_activity_load(a), "the device is given back");
    }
}

void tarn_activity_foresee(const struct tarn_activity *activity, const struct tarn_pattern *pattern,
                           int64_t wall_s, struct tarn_activity_sample *sample)
{
    const struct tarn_activity_params *p = &activity->params;
    uint64_t lead = p->lead_ns / SECOND, lull = p->lull_ns / SECOND;
    tarn_pattern_expect(pattern, wall_s, lead < 86400 ? (uint32_t)lead : 86400, &sample->soon);
    tarn_pattern_expect(pattern, wall_s, lull < 86400 ? (uint32_t)lull : 86400, &sample->later);
}

void tarn_activity_obstacle(const struct tarn_activity *activity, char *text, size_t size)
{
    const struct tarn_activity *a = activity;
    const struct tarn_activity_params *p = &a->params;
    double load = tarn_activity_load(a);
    snprintf(text, size, "%s", a->gate);
    if (a->state == TARN_ACTIVITY_YIELDING)
        snprintf(text, size, "the device is being given back");
    else if (a->state == TARN_ACTIVITY_TRAINING || a->gate[0])
        return;
    else if (load >= p->low)
        snprintf(text, size, "load %.2f, %.2f is needed", load, p->low);
    else if (a->burst)
        snprintf(text, size, "load %.2f expected", (double)a->soon.peak);
    else if (!has_room(a, TARN_ACTIVITY_TRAINING))
        snprintf(text, size, "%u transitions a minute", p->per_minute);
    else
        snprintf(text, size, "low for %.1f s, %.1f s are needed",
                 (double)(a->state == TARN_ACTIVITY_QUIET ? a->time - a->low_since : 0) / SECOND,
                 (double)tarn_activity_dwell(a) / SECOND);
}
