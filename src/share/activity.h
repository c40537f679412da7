/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * When training may have the device: low activity, detected from samples of load.
 *
 *     busy     -> quiet     the load came under `low`
 *     quiet    -> busy      the load rose over `high` and stayed there
 *     quiet    -> training  under `low` for the dwell time, the gate open, no burst expected
 *     training -> yielding  the load rose over `high`, the gate closed, a burst is expected, or work
 *                           arrived at an idle device
 *     yielding -> busy      the device is given back (tarn_activity_yielded())
 *     yielding -> quiet     likewise, after an arrival at an idle device that left the load low: one
 *                           request is no burst, and the shorter `resume_ns` serves as dwell time
 *
 * A steady load under `low` is trained in: its gaps are what training lives on. Between the two
 * thresholds nothing changes, but the dwell time doesn't pass either.
 *
 * The load is the busiest of its known parts (tarn_activity_sample), smoothed by two averages of the
 * median of three samples, which a single outlier can't move. The quick one alone stops training; both
 * are low where it starts, and high where quiet is given up. Time is the sum of the steps between calls,
 * each clamped to 0..`longest_ns`, so that no jump of a clock passes for dwell time.
 *
 * Transitions are bounded two ways. At most `per_minute` happen in any minute, whatever the input: one
 * that training could do without is put off unless those that may be forced after it fit as well, so
 * that none is ever late. And flapping backs off: of training runs (of less than four dwell times) and
 * quiet spells that are cut short, each after the second doubles the dwell time and the least time in
 * busy, up to 16 times; one is forgotten each half minute.
 *
 * Not thread-safe: the owner's lock. Nothing allocates; the fields are private.
 */
#ifndef TARN_SHARE_ACTIVITY_H
#define TARN_SHARE_ACTIVITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#include "pattern.h"

#define TARN_ACTIVITY_MOST_PER_MINUTE 64

enum tarn_activity_state {
    TARN_ACTIVITY_BUSY,
    TARN_ACTIVITY_QUIET,
    TARN_ACTIVITY_TRAINING,
    TARN_ACTIVITY_YIELDING,
    TARN_ACTIVITY_STATES
};

struct tarn_activity_transition {
    enum tarn_activity_state from, to;
    uint64_t at_ns; /**< the caller's clock */
    double load;
    char text[160]; /**< "activity: quiet -> training: load 0.08 under 0.30 for 2.0 s" */
};

/**
 * Told of each transition, inside the call that made it: log `text`, don't call back into the
 * activity. The transition is valid during the call.
 */
typedef void (*tarn_activity_told)(void *context,
                                   const struct tarn_activity_transition *transition);

/** 0 (or NULL) is the default, in brackets. Times in ns, loads in 0..1. */
struct tarn_activity_params {
    double low, high;       /**< thresholds [0.5, 0.75]; low < high */
    uint64_t dwell_ns;      /**< under `low` for that long before training starts [2 s] */
    uint64_t dwell_least;   /**< never shorter, whatever is expected [dwell / 4] */
    uint64_t resume_ns;     /**< after an arrival that was no burst [dwell / 4] */
    uint64_t busy_least_ns; /**< the least time in busy [dwell / 2] */
    uint64_t quick_ns;      /**< time constant of the quick average [dwell / 20] */
    uint64_t slow_ns;       /**< and of the slow one [dwell / 4] */
    uint64_t longest_ns;    /**< a longer step between two calls counts as this [dwell / 8] */
    uint64_t lead_ns;       /**< training is withdrawn that long before an expected burst [30 s] */
    uint64_t lull_ns;       /**< an expected lull lasts at least that long [5 min] */
    uint64_t patience_ns;   /**< a burst that doesn't come within is not waited for [5 min] */
    double confidence;      /**< a forecast counts from here on [0.6] */
    double operations_peak; /**< cache operations a second that are a load of 1; 0: not counted */
    uint32_t per_minute;    /**< transitions, 6 to TARN_ACTIVITY_MOST_PER_MINUTE [24] */
    tarn_activity_told told;
    void *told_context;
};

/**
 * What was seen since the last sample; shares of that time, 0..1, NAN where it isn't known. The load
 * is the largest of
 * - the device: `own` + max(0, `system` - `own` - `training`), or `own` where `system` is unknown,
 * - the memory: `memory` - `memory_training`,
 * - the cache: `operations` / params.operations_peak.
 * If all are unknown the last known load holds for the dwell time, then it counts as 1.
 */
struct tarn_activity_sample {
    double own;             /**< device time of the owner's high-priority work; not 0: not idle */
    double training;        /**< and of its training; unknown counts as 0 */
    double system;          /**< utilisation of the device as the system shows it, all included */
    double memory;          /**< bandwidth against the calibrated peak, all included */
    double memory_training; /**< and of it the training's; unknown counts as 0 */
    double operations;      /**< of the cache, a second */
    const char *gate;       /**< why training isn't allowed now (copied), NULL: it is */
    struct tarn_forecast soon;  /**< of the next `lead_ns` */
    struct tarn_forecast later; /**< of the next `lull_ns` */
};

/** A sample of which nothing is known, the gate open: to be filled in. */
struct tarn_activity_sample tarn_activity_unknown(void);

struct tarn_activity {
    struct tarn_activity_params params;
    enum tarn_activity_state state;
    uint64_t clock; /**< the caller's, at the last call */
    uint64_t time;  /**< the sum of clamped steps; what follows is on this clock */
    bool started;
    uint64_t sampled;   /**< the last sample */
    uint64_t known;     /**< the last with a load */
    uint64_t entered;   /**< this state */
    uint64_t low_since; /**< the dwell time counts from here */
    uint64_t work;      /**< the last high-priority work */
    double recent[3];   /**< readings, for their median */
    uint32_t next_recent;
    double quick, slow;
    bool idle;
    bool resuming; /**< `resume_ns` is the dwell time */
    bool arrived;  /**< yielding because of an arrival */
    bool lull;     /**< expected */
    bool burst;    /**< expected, and still believed in */
    uint64_t burst_since;
    bool burst_seen;     /**< the forecast says so, believed or not */
    uint32_t flaps;      /**< runs and spells that were cut short */
    uint64_t flapped;    /**< the last, or the last one forgotten */
    uint32_t idle_flaps; /**< idle times that an arrival ended */
    uint64_t idle_flapped;
    char gate[64]; /**< "" is open */
    struct tarn_forecast soon;
    uint64_t times[TARN_ACTIVITY_MOST_PER_MINUTE]; /**< of the last transitions, a ring */
    uint64_t transitions;
};

/** Begins busy, with a load of 1. TARN_INVALID for thresholds or bounds that make no sense. */
tarn_status tarn_activity_init(struct tarn_activity *activity,
                               const struct tarn_activity_params *params);

/**
 * A sample, and the transition that follows from it, if one does (never more). Periods may be
 * irregular; much shorter than params.quick_ns is best (the default suits 10 to 100 ms).
 */
enum tarn_activity_state tarn_activity_update(struct tarn_activity *activity, uint64_t now_ns,
                                              const struct tarn_activity_sample *sample);

/**
 * High-priority work arrives. True if that took an idle device from training to yielding: stop what
 * runs, and say so with tarn_activity_yielded(). Cheap enough to call for each batch.
 */
bool tarn_activity_arrive(struct tarn_activity *activity, uint64_t now_ns);

/** Nothing of training is on the device any more. Ends yielding; nothing in other states. */
void tarn_activity_yielded(struct tarn_activity *activity, uint64_t now_ns);

/** Fills in a sample's forecasts; `wall_s` is local time, as in tarn_pattern_feed(). */
void tarn_activity_foresee(const struct tarn_activity *activity, const struct tarn_pattern *pattern,
                           int64_t wall_s, struct tarn_activity_sample *sample);

/**
 * No high-priority work at all, and next to none of others that is known, for the dwell time: quanta
 * may grow until tarn_activity_arrive() or a sample says otherwise. Of the arrivals that take training
 * off an idle device, each after the second doubles that time, up to 64 times, so that a slow stream
 * of single requests is trained beside in small quanta; one is forgotten each minute.
 */
static inline bool tarn_activity_is_idle(const struct tarn_activity *activity)
{
    return activity->idle;
}

static inline enum tarn_activity_state tarn_activity_state(const struct tarn_activity *activity)
{
    return activity->state;
}

/** The smoothed load, quick upward and slow downward, 0..1. */
double tarn_activity_load(const struct tarn_activity *activity);

/** How long the load must stay low for training to start, as things are, ns. */
uint64_t tarn_activity_dwell(const struct tarn_activity *activity);

/** What keeps training from starting in this moment, for a person: writes a line, "" if nothing. */
void tarn_activity_obstacle(const struct tarn_activity *activity, char *text, size_t size);

/** "busy", "quiet", "training", "yielding". */
const char *tarn_activity_state_name(enum tarn_activity_state state);

#endif
