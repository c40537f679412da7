/* SPDX-License-Identifier: Apache-2.0 */
/** @file The arbiter's parts, shared by share.c (decisions), clockwork.c (what devices tell) and thread.c. */
#ifndef TARN_SHARE_PRIVATE_H
#define TARN_SHARE_PRIVATE_H

#include <pthread.h>

#include <tarn/share.h>

#include "activity.h"
#include "latency.h"
#include "partition.h"
#include "quantum.h"
#include "timeline.h"

/** The lowest of the last few: what others put between (a frame of the screen) isn't taken for ours. */
struct tarn_lowest {
    double last[4];
    uint32_t count;
};

/** What is learned of a device's clock and of what lies between two kernels; observe.c. */
struct tarn_share_observer {
    int64_t offset_ns; /**< the arbiter's clock minus the device's */
    bool in_step;      /**< that is known */
    bool blind;        /**< its times are wrong or not told: the arbiter's clock is used alone */
    uint32_t off;      /**< so many times in a row they were far from in step */
    bool warned;
    uint32_t misfits; /**< grows with each slice whose times are wrong, shrinks with the others */
    bool gap_known, latency_known;
    double gap_ns, latency_ns;
    struct tarn_lowest gaps, latencies;
    double lookup_ns; /**< device time of what is waited for */
    uint64_t
        last_end_ns; /**< of the slice before, by the device's clock; 0: something came between */
};

struct tarn_share {
    struct tarn_share_params params;
    struct tarn_share_work work;
    pthread_mutex_t lock; /**< all below; not held while the work submits or polls */

    uint64_t clock_ns, time_ns; /**< the clock when last looked at, and what it was then in here */

    struct tarn_timeline timeline;
    struct tarn_quantum quantum;
    struct tarn_partition partition;
    struct tarn_latency latency;
    struct tarn_share_observer observer;
    struct tarn_activity activity;
    struct tarn_pattern pattern;
    int64_t fed_s;                  /**< the wall clock when the pattern was last fed */
    float device_load, memory_load; /**< from outside, NaN where unknown */
    char gate[96];                  /**< why training must not run, or "" */
    uint64_t arrivals;
    uint32_t ticket;
    double carry; /**< of a unit, to the next slice */
    uint64_t last_arrival_ns, last_depart_ns;
    uint64_t slice_end_ns; /**< of the last one */
    uint64_t period_ns;    /**< when the last period began */
    uint64_t busy_ns;      /**< device time of what was waited for, in this period */
    uint64_t trained_ns;   /**< and of slices */
    uint64_t ask_ns;       /**< no sooner is the oldest slice asked for again */
    uint64_t hold_ns;      /**< no background work before that time */
    uint32_t holds;        /**< so often in a row */
    bool training, nothing_to_do;
    bool slow_logged, uncut_logged;
    tarn_status failure;
    struct tarn_share_stats stats;

    pthread_cond_t wake;
    pthread_t thread;
    bool thread_runs, leave, kicked;
};

/** With the lock. */
uint64_t tarn_share_now(tarn_share *share);

/** What is known of a slice that has ended. */
struct tarn_share_observed {
    uint64_t end_ns; /**< by the arbiter's clock */
    uint64_t took_ns;
};

/**
 * A slice has ended, which was seen at `now_ns`. Learns how the clocks differ, and where nothing that
 * is waited for came between it and the slice before (`undisturbed`), the gap and the latency. False if
 * what it took isn't known but only expected.
 */
bool tarn_share_observe(struct tarn_share_observer *observer,
                        const struct tarn_timeline_entry *entry,
                        const struct tarn_share_slice *slice, bool undisturbed, uint64_t now_ns,
                        struct tarn_share_observed *seen, const char *name);

/** watch.c: with the lock; init before the arbiter is shared. */
tarn_status tarn_share_watch_init(tarn_share *share);
/** A period is over; the state may have changed. */
void tarn_share_watch_period(tarn_share *share, uint64_t now_ns);

/** Takes the oldest slice if it has ended, waiting for it. TARN_NOT_FOUND if there is none. */
tarn_status tarn_share_reap(tarn_share *share, uint64_t timeout_us);

#endif
