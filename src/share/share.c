/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arbiter's decisions. One rule does most of the work: the next slice is submitted so late that it
 * is ready just when the device has nothing else left. Whatever arrives until then goes before it, so
 * that it waits for the rest of one slice at most, while the device never idles; how much lies in
 * between is measured, not known.
 */
#include "share_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"

#define PERIOD_US        10000
#define DWELL_US         1000000
#define PERIODS          20    /* of a dwell time, at least */
#define JITTER_US        100   /* of a thread that is woken by a timer */
#define WAIT_SHARE       0.418 /* of a lookup's own time is a slice's mean */
#define LEAST_GAPS       3
#define TRIALS           12
#define COARSE           0.1   /* units of more than that of a slice */
#define LEAST_QUANTUM_NS 50000 /* shorter ones are mostly the cost of a launch */
#define MOST_QUANTUM_NS  1000000
#define STOP_FACTOR      6    /* a slice that leaves when told may be so many times longer */
#define IDLE_FACTOR      25   /* an idle device's slices are so many gaps long */
#define ASK_NS           5000 /* between two questions about a slice that is late */
#define HANG_NS          10000000000u
#define HOLD_NS          1000000000u
#define MOST_HOLDS       6
#define UNTOLD           0.005 /* of the latency: slices are ready that much before their time */
#define LONGEST_STEP_NS  1000000000 /* of the clock while slices are in flight */

/*
 * The arbiter's own time: it never goes back, and while slices are in flight not far ahead at once, so
 * that a clock which is set doesn't pass for slices that hang.
 */
uint64_t tarn_share_now(tarn_share *s)
{
    uint64_t clock =
        s->params.now_ns != NULL ? s->params.now_ns(s->params.clock_user) : tarn_clock_ns();
    int64_t step = (int64_t)(clock - s->clock_ns);
    if (step < 0)
        step = 0;
    else if (step > LONGEST_STEP_NS && s->timeline.slices > 0)
        step = LONGEST_STEP_NS;
    s->clock_ns = clock;
    s->time_ns += (uint64_t)step;
    return s->time_ns;
}

/* The owner's clock shows that at the arbiter's time `ns`. */
static uint64_t clock_at(const tarn_share *s, uint64_t ns)
{
    return ns == TARN_SHARE_NEVER ? ns : s->clock_ns + (ns - s->time_ns);
}

static uint64_t unit_ns(const tarn_share *s)
{
    return (uint64_t)s->quantum.unit_ns;
}

/* ---- how long, how many ---- */

static bool is_idle(const tarn_share *s)
{
    return s->timeline.count == s->timeline.slices && tarn_activity_is_idle(&s->activity);
}

static bool may_train(const tarn_share *s)
{
    return s->training && s->failure == TARN_OK &&
           tarn_activity_state(&s->activity) == TARN_ACTIVITY_TRAINING;
}

/*
 * The mean of slices while lookups arrive. A lookup waits for half of one on the mean, so that they are
 * short against what a lookup takes anyway; but not against what lies between two of them.
 */
static double target_ns(const tarn_share *s)
{
    const struct tarn_share_observer *o = &s->observer;
    double ns = WAIT_SHARE * (o->latency_ns + o->lookup_ns);
    if (s->work.stop != NULL)
        ns *= STOP_FACTOR;
    ns = fmax(ns, LEAST_GAPS * (o->gap_ns + s->quantum.fixed_ns));
    return fmin(fmax(ns, LEAST_QUANTUM_NS), MOST_QUANTUM_NS) * (double)s->partition.cut;
}

/* The longest slice while lookups arrive: where units are coarse, slices of two lengths make the mean. */
static uint64_t quantum_ns(const tarn_share *s)
{
    if (s->params.quantum_us > 0)
        return (uint64_t)(s->params.quantum_us * 1e3 * (double)s->partition.cut);
    double target = target_ns(s);
    uint32_t units = tarn_quantum_units(&s->quantum, (uint64_t)target);
    uint64_t longest = tarn_quantum_expect(&s->quantum, units + 1);
    longest += longest / 256; /* measured times aren't all the same */
    return longest > (uint64_t)target && s->quantum.unit_ns > COARSE * target ? longest
                                                                              : (uint64_t)target;
}

static uint64_t quantum_now(const tarn_share *s)
{
    uint64_t ns = quantum_ns(s);
    if (!is_idle(s))
        return ns;
    uint64_t between_ns = s->timeline.gap_ns + (uint64_t)s->quantum.fixed_ns;
    uint64_t grown = IDLE_FACTOR * between_ns;
    grown = grown < MOST_QUANTUM_NS ? grown : MOST_QUANTUM_NS;
    return grown > ns ? grown : ns;
}

static uint64_t jitter_ns(const tarn_share *s)
{
    return s->params.jitter_us * UINT64_C(1000);
}

/* How long before the end of all else a slice has to be submitted. */
static uint64_t lead_ns(const tarn_share *s)
{
    if (s->observer.blind) /* what isn't known can't be timed: slices queue up */
        return TARN_SHARE_NEVER;
    double ns = s->observer.latency_ns * (1 + UNTOLD) - s->observer.gap_ns;
    if (!s->observer.gap_known) /* which only slices show that are there early */
        ns += s->observer.latency_ns;
    return (uint64_t)fmax(ns, 0) + jitter_ns(s);
}

static uint32_t most_in_flight(const tarn_share *s)
{
    if (s->params.in_flight > 0)
        return s->params.in_flight;
    if (s->observer.blind)
        return 1; /* what two of them take together tells nothing of one */
    /* a thread that waits for a slice's end is rarely late: one in reserve, not as many as it takes */
    uint64_t quantum = quantum_ns(s), lead = lead_ns(s) - jitter_ns(s);
    uint64_t slices = 1 + (lead + (jitter_ns(s) > 0) + quantum - 1) / quantum;
    return slices < TARN_SHARE_MOST_SLICES ? (uint32_t)slices : TARN_SHARE_MOST_SLICES;
}

/* ---- ends ---- */

static void drop_slices(tarn_share *s)
{
    while (tarn_timeline_oldest(&s->timeline) != NULL)
        tarn_timeline_remove(&s->timeline, tarn_timeline_oldest(&s->timeline), 0);
}

static void fail(tarn_share *s, tarn_status status)
{
    s->failure = status;
    drop_slices(s);
    tarn_log(TARN_LOG_WARNING, "share: %s stops: %s", s->work.name, tarn_status_message(status));
}

/* Slices that take much longer than they did: the device is left alone for a while. */
static void hold(tarn_share *s, uint64_t now, double before_ns)
{
    if (!s->slow_logged)
        tarn_log(TARN_LOG_WARNING,
                 "share: %s takes %.0f times as long as before: it pauses, and goes on with the "
                 "shortest slices",
                 s->work.name, s->quantum.unit_ns / before_ns);
    s->slow_logged = true;
    s->hold_ns = now + (HOLD_NS << s->holds);
    s->holds += s->holds < MOST_HOLDS;
}

/* What units take, if that was measured. */
static void learn_units(tarn_share *s, uint32_t units, uint64_t took_ns, uint64_t now)
{
    double before_ns = s->quantum.unit_ns;
    if (units == 0)
        s->timeline.least_ns = took_ns;
    else if (!tarn_quantum_learn(&s->quantum, units, took_ns))
        hold(s, now, before_ns);
    else if (s->holds > 0 && now > s->hold_ns + HOLD_NS)
        s->holds = 0;
    s->timeline.unit_ns = unit_ns(s);
}

static void slice_ended(tarn_share *s, const struct tarn_share_slice *slice)
{
    struct tarn_timeline_entry *e = tarn_timeline_oldest(&s->timeline);
    struct tarn_share_observed seen;
    uint64_t now = tarn_share_now(s);
    bool undisturbed =
        s->timeline.count == s->timeline.slices && s->last_depart_ns < s->slice_end_ns;
    bool was_blind = s->observer.blind;
    if (tarn_share_observe(&s->observer, e, slice, undisturbed, now, &seen, s->work.name))
        learn_units(s, slice->units, seen.took_ns, now);
    if (s->observer.blind && !was_blind)
        s->quantum = (struct tarn_quantum){0}; /* learned from times that were wrong */
    s->timeline.gap_ns = (uint64_t)s->observer.gap_ns;
    s->timeline.latency_ns = (uint64_t)s->observer.latency_ns;
    s->stats.slices++;
    s->stats.units += slice->units;
    s->stats.slice_ns += seen.took_ns;
    s->trained_ns += seen.took_ns;
    tarn_partition_spend(&s->partition, seen.took_ns);
    if (e->limit_ns > 0 && seen.took_ns > e->limit_ns + e->limit_ns / 20)
        s->stats.too_long++;
    if (!s->uncut_logged && slice->units == 1 && e->limit_ns > 0 &&
        seen.took_ns > 2 * e->limit_ns) {
        s->uncut_logged = true;
        tarn_log(TARN_LOG_WARNING,
                 "share: %s can't be cut below %.0f us: lookups may wait for that", s->work.name,
                 (double)seen.took_ns * 1e-3);
    }
    tarn_timeline_remove(&s->timeline, e, seen.end_ns);
    tarn_timeline_predict(&s->timeline, now);
    s->slice_end_ns = seen.end_ns;
    s->nothing_to_do = false; /* what is left may have been in flight */
    s->ask_ns = 0;
}

tarn_status tarn_share_reap(tarn_share *s, uint64_t timeout_us)
{
    struct tarn_share_slice slice = {0};
    pthread_mutex_lock(&s->lock);
    const struct tarn_timeline_entry *e = tarn_timeline_oldest(&s->timeline);
    uint64_t submit_ns = e != NULL ? e->submit_ns : 0;
    pthread_mutex_unlock(&s->lock);
    if (e == NULL)
        return TARN_NOT_FOUND;
    tarn_status status = s->work.poll(s->work.user, timeout_us, &slice);
    pthread_mutex_lock(&s->lock);
    if (status == TARN_OK)
        slice_ended(s, &slice);
    else if (status != TARN_TIMEOUT)
        fail(s, status);
    else if (tarn_share_now(s) - submit_ns > HANG_NS)
        fail(s, status);
    else
        s->ask_ns = tarn_share_now(s) + ASK_NS + (s->observer.blind ? 0 : unit_ns(s) / 4);
    pthread_mutex_unlock(&s->lock);
    return status;
}

/* ---- beginnings ---- */

/* When the next slice may be submitted; TARN_SHARE_NEVER if something else has to happen first. */
static uint64_t when_to_submit(const tarn_share *s, uint64_t now)
{
    if (!may_train(s) || s->nothing_to_do || s->timeline.slices >= most_in_flight(s) ||
        s->timeline.count == TARN_TIMELINE_ROOM)
        return TARN_SHARE_NEVER;
    uint64_t when = now > s->hold_ns ? now : s->hold_ns;
    if (!is_idle(s) || s->partition.limit < 1) {
        uint64_t tokens = tarn_partition_when(&s->partition, now);
        when = when > tokens ? when : tokens;
    }
    uint64_t end = tarn_timeline_end(&s->timeline), lead = lead_ns(s);
    uint64_t in_time = end > lead ? end - lead : 0;
    return when > in_time ? when : in_time;
}

/* Between two numbers of units the slices take turns. */
static uint32_t units_now(tarn_share *s, uint64_t limit_ns)
{
    uint32_t most = tarn_quantum_units(&s->quantum, limit_ns);
    /* without times only slices of different lengths show what belongs to a slice, what to a unit */
    if (s->observer.blind && s->quantum.weight < TRIALS) {
        uint32_t trial = 1u << (s->ticket % 6);
        return tarn_quantum_expect(&s->quantum, trial) < MOST_QUANTUM_NS ? trial : 1;
    }
    if (s->params.quantum_us > 0 || s->quantum.unit_ns <= 0 || is_idle(s))
        return most;
    double exact = (target_ns(s) - s->quantum.fixed_ns) / s->quantum.unit_ns + s->carry;
    uint32_t units = exact < 1 ? 1 : exact < most ? (uint32_t)exact : most;
    s->carry = fmin(fmax(exact - units, -1), 1);
    return units;
}

/* With the lock, which it lets go while the work submits. False if there was nothing to do. */
static bool submit(tarn_share *s, uint64_t now)
{
    uint64_t limit_ns = quantum_now(s);
    uint32_t units = units_now(s, limit_ns), submitted = 0;
    uint32_t ticket = ++s->ticket;
    struct tarn_timeline_entry *e = tarn_timeline_add(&s->timeline, false, ticket, now,
                                                      tarn_quantum_expect(&s->quantum, units));
    e->limit_ns = limit_ns;
    e->units = units;
    pthread_mutex_unlock(&s->lock);
    tarn_status status = s->work.submit(s->work.user, ticket, units, &submitted);
    pthread_mutex_lock(&s->lock);
    e = tarn_timeline_find(&s->timeline, false, ticket);
    if (status != TARN_OK || submitted == 0) {
        tarn_timeline_remove(&s->timeline, e, 0);
        s->ticket--;
        if (status != TARN_OK && status != TARN_BUSY)
            fail(s, status);
        s->nothing_to_do = true;
    } else if (submitted != units) {
        e->units = submitted;
        e->expect_ns = tarn_quantum_expect(&s->quantum, submitted);
    }
    tarn_timeline_predict(&s->timeline, now);
    return status == TARN_OK && submitted > 0;
}

static void tell(tarn_share *s, uint64_t now)
{
    uint32_t ticket = tarn_timeline_tell(&s->timeline, now);
    if (ticket == 0)
        return;
    s->stats.stopped++;
    s->work.stop(s->work.user, ticket);
}

/* Training is on its way out. */
static void tell_all(tarn_share *s, uint64_t now)
{
    if (s->work.stop == NULL || !tarn_timeline_tell_all(&s->timeline, now))
        return;
    s->stats.stopped++;
    s->work.stop(s->work.user, s->ticket);
}

static void end_period(tarn_share *s, uint64_t now)
{
    uint64_t length = s->params.period_us * UINT64_C(1000);
    if (now < s->period_ns + length)
        return;
    if (s->params.latency_budget_us > 0)
        tarn_partition_adapt(&s->partition, tarn_latency_quantile(&s->latency, 0.99),
                             s->params.latency_budget_us * 1e3);
    tarn_share_watch_period(s, now);
    s->period_ns = now;
    s->nothing_to_do = false;
}

/* When the oldest slice is worth a question. Who has only its own clock asks before it is expected. */
static uint64_t when_to_ask(tarn_share *s)
{
    const struct tarn_timeline_entry *e = tarn_timeline_oldest(&s->timeline);
    if (e == NULL)
        return TARN_SHARE_NEVER;
    uint64_t when = s->observer.blind ? e->submit_ns + e->expect_ns / 5 * 4 : e->end_ns;
    return when > s->ask_ns ? when : s->ask_ns;
}

tarn_status tarn_share_pump(tarn_share *s, uint64_t *next_ns)
{
    pthread_mutex_lock(&s->lock);
    for (;;) {
        uint64_t now = tarn_share_now(s);
        end_period(s, now);
        if (s->timeline.slices == 0)
            tarn_activity_yielded(&s->activity, now);
        else if (tarn_activity_state(&s->activity) == TARN_ACTIVITY_YIELDING)
            tell_all(s, now);
        tarn_partition_fill(&s->partition, now, s->params.period_us * UINT64_C(1000));
        tell(s, now);
        if (when_to_ask(s) <= now) {
            pthread_mutex_unlock(&s->lock);
            tarn_share_reap(s, 0);
            pthread_mutex_lock(&s->lock);
            continue;
        }
        if (when_to_submit(s, now) <= now && submit(s, now))
            continue;
        break;
    }
    uint64_t now = tarn_share_now(s), next = when_to_submit(s, now), ask = when_to_ask(s);
    next = next < ask ? next : ask;
    for (uint32_t i = 0; i < s->timeline.count; i++)
        if (s->timeline.entry[i].waited_for && s->timeline.entry[i].stop_ns < next)
            next = s->timeline.entry[i].stop_ns;
    if (s->training && s->failure == TARN_OK) { /* the watch goes on looking */
        uint64_t period = s->period_ns + s->params.period_us * UINT64_C(1000);
        next = next < period ? next : period;
    }
    *next_ns = clock_at(s, next);
    tarn_status failure = s->failure;
    pthread_mutex_unlock(&s->lock);
    return failure;
}

/* ---- what is waited for ---- */

uint64_t tarn_share_arrive(tarn_share *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t now = tarn_share_now(s), name = ++s->arrivals;
    s->last_arrival_ns = now;
    struct tarn_timeline_entry *e =
        tarn_timeline_add(&s->timeline, true, name, now, (uint64_t)s->observer.lookup_ns);
    if (tarn_activity_arrive(&s->activity, now))
        tell_all(s, now);
    if (e != NULL && s->work.stop != NULL) {
        tarn_timeline_plan(&s->timeline, e, now);
        tell(s, now);
    }
    bool wake = s->thread_runs && e != NULL && e->stop_ns != TARN_SHARE_NEVER;
    s->kicked |= wake;
    pthread_mutex_unlock(&s->lock);
    if (wake)
        pthread_cond_signal(&s->wake);
    return name;
}

/*
 * On the mean; one that takes much longer counts as twice the mean, as a thread may not have been
 * scheduled. Where the device doesn't tell, the quick ones are those that didn't wait for anything.
 */
static void learn_lookup(struct tarn_share_observer *o, double took_ns, bool told)
{
    double off = took_ns - o->lookup_ns;
    if (o->lookup_ns <= 0)
        o->lookup_ns = took_ns;
    else if (told)
        o->lookup_ns += 0.1 * fmin(off, o->lookup_ns);
    else
        o->lookup_ns += off < 0 ? 0.2 * off : 0.01 * fmin(off, o->lookup_ns);
}

void tarn_share_depart(tarn_share *s, uint64_t arrival, uint64_t device_ns)
{
    pthread_mutex_lock(&s->lock);
    struct tarn_timeline_entry *e = tarn_timeline_find(&s->timeline, true, arrival);
    if (e != NULL) {
        uint64_t now = tarn_share_now(s), waited = now - e->submit_ns;
        double took = (double)device_ns;
        tarn_latency_add(&s->latency, waited);
        if (device_ns == 0) /* what it took at most: it may have waited for others */
            took = fmax((double)waited - s->observer.latency_ns, 0);
        learn_lookup(&s->observer, took, device_ns != 0);
        s->busy_ns += (uint64_t)(took + s->observer.gap_ns);
        s->last_depart_ns = now;
        tarn_timeline_remove(&s->timeline, e, e->end_ns < now ? e->end_ns : now);
        tarn_timeline_predict(&s->timeline, now);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- the rest ---- */

tarn_status tarn_share_create(const struct tarn_share_params *params, tarn_share **share,
                              struct tarn_error *error)
{
    const struct tarn_share_work *work = params->work;
    if (work == NULL || work->submit == NULL || work->poll == NULL || work->name == NULL)
        return tarn_fail(error, TARN_INVALID, "share: work has a name, and can submit and poll");
    if (params->in_flight > TARN_SHARE_MOST_SLICES)
        return tarn_fail(error, TARN_INVALID, "share: at most %d slices in flight, not %u",
                         TARN_SHARE_MOST_SLICES, (unsigned)params->in_flight);
    tarn_share *s = tarn_alloc_zeroed(1, sizeof *s);
    if (s == NULL)
        return TARN_NO_MEMORY;
    s->params = *params;
    s->work = *work;
    s->params.work = &s->work;
    if (s->params.dwell_us == 0)
        s->params.dwell_us = DWELL_US;
    if (s->params.period_us == 0 || s->params.period_us > s->params.dwell_us / PERIODS)
        s->params.period_us =
            PERIOD_US < s->params.dwell_us / PERIODS ? PERIOD_US : s->params.dwell_us / PERIODS + 1;
    s->device_load = s->memory_load = NAN;
    if (tarn_share_watch_init(s) != TARN_OK) {
        tarn_free(s);
        return tarn_fail(error, TARN_INVALID,
                         "share: thresholds of activity are 0 < low < high < 1");
    }
    if (s->params.jitter_us == 0 && s->params.now_ns == NULL)
        s->params.jitter_us = JITTER_US;
    s->timeline.overtakes = params->overtakes;
    s->training = true;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    s->clock_ns = params->now_ns != NULL ? params->now_ns(params->clock_user) : tarn_clock_ns();
    s->time_ns = s->clock_ns;
    s->period_ns = s->last_arrival_ns = s->time_ns;
    tarn_partition_init(&s->partition, s->period_ns);
    *share = s;
    return TARN_OK;
}

void tarn_share_destroy(tarn_share **share)
{
    tarn_share *s = *share;
    if (s == NULL)
        return;
    tarn_share_stop(s, 0);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    tarn_free(s);
    *share = NULL;
}

void tarn_share_kick(tarn_share *s)
{
    pthread_mutex_lock(&s->lock);
    s->nothing_to_do = false;
    s->kicked = true;
    pthread_mutex_unlock(&s->lock);
    pthread_cond_signal(&s->wake);
}

void tarn_share_set_training(tarn_share *s, bool on)
{
    pthread_mutex_lock(&s->lock);
    s->training = on;
    const struct tarn_timeline_entry *oldest = tarn_timeline_oldest(&s->timeline);
    uint32_t ticket = !on && oldest != NULL && s->work.stop != NULL ? s->ticket : 0;
    pthread_mutex_unlock(&s->lock);
    if (ticket != 0)
        s->work.stop(s->work.user, ticket);
    tarn_share_kick(s);
}

void tarn_share_set_limit(tarn_share *s, float limit)
{
    pthread_mutex_lock(&s->lock);
    s->partition.limit = limit < 0 ? 0 : limit > 1 ? 1 : limit;
    if (s->params.latency_budget_us == 0 || s->partition.share > s->partition.limit)
        s->partition.share = s->partition.limit; /* else the controller finds its way up */
    pthread_mutex_unlock(&s->lock);
}

void tarn_share_set_activity(tarn_share *s, float device_load, float memory_load,
                             const char *reason)
{
    pthread_mutex_lock(&s->lock);
    s->device_load = device_load;
    s->memory_load = memory_load;
    snprintf(s->gate, sizeof s->gate, "%s", reason != NULL ? reason : "");
    pthread_mutex_unlock(&s->lock);
}

void tarn_share_resume(tarn_share *s)
{
    pthread_mutex_lock(&s->lock);
    s->failure = TARN_OK;
    drop_slices(s);
    s->observer = (struct tarn_share_observer){.lookup_ns = s->observer.lookup_ns};
    s->quantum = (struct tarn_quantum){0};
    s->timeline.latency_ns = s->timeline.gap_ns = s->timeline.least_ns = 0;
    s->hold_ns = 0;
    s->holds = 0;
    s->slow_logged = s->uncut_logged = false;
    pthread_mutex_unlock(&s->lock);
    tarn_share_kick(s);
}

void tarn_share_get_stats(tarn_share *s, struct tarn_share_stats *stats)
{
    pthread_mutex_lock(&s->lock);
    *stats = s->stats;
    stats->idle = is_idle(s);
    stats->quantum_us = (uint32_t)(quantum_ns(s) / 1000);
    stats->in_flight = most_in_flight(s);
    stats->gap_us = (float)(s->observer.gap_ns * 1e-3);
    stats->latency_us = (float)(s->observer.latency_ns * 1e-3);
    stats->unit_us = (float)(s->quantum.unit_ns * 1e-3);
    stats->share = s->partition.share;
    stats->arrivals = s->arrivals;
    stats->p50_us = (float)(tarn_latency_quantile(&s->latency, 0.5) * 1e-3);
    stats->p99_us = (float)(tarn_latency_quantile(&s->latency, 0.99) * 1e-3);
    stats->state = (tarn_share_state)tarn_activity_state(&s->activity);
    stats->failure = s->failure;
    pthread_mutex_unlock(&s->lock);
}
