/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Sharing one device between work that is waited for (lookups) and work that isn't (training), also
 * on drivers that honour no priority. The arbiter cuts the background work into short slices, keeps
 * no more of them in flight than the device needs to stay busy, and submits each just before the
 * last one ends: whatever arrives meanwhile waits for about one slice, never for a backlog. It knows
 * nothing of what the slices compute, nor of the interface by which they reach the device: three
 * functions are all that a program has to bring, for its own OpenCL or Vulkan queue too
 * (tests/examples/share_opencl.c).
 *
 *     tarn_share_create(&(struct tarn_share_params){ .work = &training }, &share);
 *     tarn_share_start(share);                     // a thread that feeds the device
 *     ...
 *     uint64_t lookup = tarn_share_arrive(share);  // then submit it
 *     ... it is done ...
 *     tarn_share_depart(share, lookup, 0);
 *
 * `training` is three functions of yours: submit() enqueues so many units on a queue of their own
 * (rows of an image, by the global offset), poll() says whether the oldest such launch has ended, and
 * when it ran by the event's times, and stop() is NULL unless the kernel looks at a flag. Units should
 * take some 10 us or less; where parts of them cost more than wholes, submit fewer than asked for.
 *
 * Without the thread the owner calls tarn_share_pump() when it says so: on simulated devices, or in
 * a loop that exists already.
 *
 * Units: nanoseconds of the arbiter's clock where the name ends in _ns, microseconds in _us.
 * Thread-safety: any thread, but for create, destroy, start and stop; the functions of the work are
 * called by one thread at a time, and tarn_share_work's `stop` also from inside tarn_share_arrive().
 * Nothing is allocated after creation.
 */
#ifndef TARN_SHARE_H
#define TARN_SHARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tarn_share tarn_share;

#define TARN_SHARE_NEVER       UINT64_MAX
#define TARN_SHARE_MOST_SLICES 3 /* in flight at once */

/** What became of a slice. */
struct tarn_share_slice {
    uint32_t units; /**< done: fewer than asked for if it left early */
    /** When it ran, by any clock that counts nanoseconds evenly; both 0 where the driver can't tell. */
    uint64_t start_ns, end_ns;
};

/** Background work that can be cut: gradient steps, tiles of them, rows of an image. */
struct tarn_share_work {
    const char *name;
    void *user;
    /**
     * Puts a slice of at most `units` units behind what the device has, and says how many there
     * were: 0 if nothing is to be done now, which is asked again at the next period or after
     * tarn_share_kick(). Must not wait. `ticket` counts slices, from 1. Any failure but TARN_BUSY
     * stops the work until tarn_share_resume().
     */
    tarn_status (*submit)(void *user, uint32_t ticket, uint32_t units, uint32_t *submitted);
    /**
     * TARN_OK with the oldest slice in flight if that has ended, TARN_TIMEOUT if it hasn't after
     * `timeout_us` (0 only asks); anything else is a failure as above, and nothing is in flight then.
     */
    tarn_status (*poll)(void *user, uint64_t timeout_us, struct tarn_share_slice *slice);
    /**
     * NULL, or asks all slices up to `ticket` (by age; the counter wraps) to leave as soon as they
     * can, also those that haven't begun: what they leave undone is done by later ones. Any thread.
     */
    void (*stop)(void *user, uint32_t ticket);
};

typedef enum tarn_share_state {
    TARN_SHARE_BUSY,     /**< the device is wanted: no background work */
    TARN_SHARE_QUIET,    /**< it has been quiet, but not for long enough */
    TARN_SHARE_TRAINING, /**< background work runs */
    TARN_SHARE_YIELDING, /**< it is on its way out */
} tarn_share_state;

struct tarn_share_params {
    const struct tarn_share_work *work; /**< copied; `name` must live as long as the arbiter */
    /** The clock; NULL: the system's monotonic one. Simulated devices have their own. */
    uint64_t (*now_ns)(void *user);
    void *clock_user;
    uint32_t quantum_us; /**< longest slice; 0: chosen from what is measured */
    uint32_t in_flight;  /**< 1 ... TARN_SHARE_MOST_SLICES; 0: chosen from what is measured */
    uint32_t
        latency_budget_us; /**< p99 that lookups are kept under, by giving training less; 0: none */
    /** The driver lets what waits overtake background work between kernels (a real priority). */
    bool overtakes;
    /**
     * The work is computed by the arbiter's thread itself, on the CPU: it runs only in time that nobody
     * else wants (SCHED_IDLE on Linux).
     */
    bool spare_time;
    /** How late this process may wake up, so much is kept ready in advance; 0 with a simulated clock. */
    uint32_t jitter_us;
    /** Periods, thresholds and dwell of the activity's watch; 0: its defaults. */
    uint32_t period_us, dwell_us;
    float low, high;
};

/** TARN_INVALID for arguments that can't be right, TARN_NO_MEMORY. */
TARN_API tarn_status tarn_share_create(const struct tarn_share_params *params, tarn_share **share,
                                       struct tarn_error *error);
/** Stops the thread if there is one. The caller waits for what is in flight. */
TARN_API void tarn_share_destroy(tarn_share **share);

/**
 * Something that is waited for is submitted now: call it just before. Returns the name for
 * tarn_share_depart(). About 0.1 us; never waits for the device.
 */
TARN_API uint64_t tarn_share_arrive(tarn_share *share);
/**
 * It has been answered, or given up. `device_ns`: how long the device was at it, 0 if that isn't
 * known.
 */
TARN_API void tarn_share_depart(tarn_share *share, uint64_t arrival, uint64_t device_ns);

/**
 * Does what is due: takes what has ended, stops what is in the way, submits what fits. `*next_ns`:
 * when to call again if nothing arrives before; TARN_SHARE_NEVER if only an arrival or a kick makes
 * sense of it. The failure of the work, or TARN_OK.
 */
TARN_API tarn_status tarn_share_pump(tarn_share *share, uint64_t *next_ns);
/** There may be new work. */
TARN_API void tarn_share_kick(tarn_share *share);

/**
 * Pumps from a thread of its own, which sleeps while there is nothing to do; nothing happens if it runs
 * already. TARN_INVALID with a clock that is not the system's.
 */
TARN_API tarn_status tarn_share_start(tarn_share *share);
/** Ends that thread; slices in flight are waited for at most `timeout_us`, then TARN_TIMEOUT. */
TARN_API tarn_status tarn_share_stop(tarn_share *share, uint64_t timeout_us);

/** No background work while it is off. On its way out it takes at most what is in flight. */
TARN_API void tarn_share_set_training(tarn_share *share, bool on);
/** After a failure of the work: everything is measured anew. Nothing may be in flight. */
TARN_API void tarn_share_resume(tarn_share *share);
/** Of the device's time that lookups leave, background work may take so much at most: 0 ... 1 [1]. */
TARN_API void tarn_share_set_limit(tarn_share *share, float limit);
/**
 * What else is known of how busy things are, from sensors: shares of 0 ... 1, NaN where unknown.
 * `reason` isn't NULL while training must not run (too hot, on battery); copied.
 */
TARN_API void tarn_share_set_activity(tarn_share *share, float device_load, float memory_load,
                                      const char *reason);

#define TARN_SHARE_PATTERN_BYTES 4636
/**
 * The pattern of load over day and week that was learned, to be kept between runs. set: TARN_CORRUPT
 * for anything else, and what was known before stays.
 */
TARN_API void tarn_share_get_pattern(tarn_share *share, uint8_t bytes[TARN_SHARE_PATTERN_BYTES]);
TARN_API tarn_status tarn_share_set_pattern(tarn_share *share, const uint8_t *bytes, size_t size);

struct tarn_share_stats {
    tarn_share_state state;
    bool idle;              /**< nothing has arrived for the dwell time: quanta have grown */
    uint32_t quantum_us;    /**< in force while lookups arrive */
    uint32_t in_flight;     /**< at most, of them */
    float gap_us;           /**< between two kernels, as measured */
    float latency_us;       /**< from a submit to a start on a device that waits for it */
    float unit_us;          /**< device time of a unit */
    float share;            /**< of the device's time that training may take at present */
    uint64_t slices, units; /**< ended */
    uint64_t slice_ns;      /**< the device's time in them */
    uint64_t stopped;       /**< slices that were asked to leave */
    uint64_t too_long;      /**< slices that took longer than the quantum in force for them */
    uint64_t arrivals;
    float p50_us, p99_us; /**< from arrival to departure, of the last thousand or so; NaN: none */
    uint64_t transitions; /**< of the state */
    tarn_status failure;  /**< TARN_OK while the work goes on */
    char reason[160];     /**< of the last transition */
};
TARN_API void tarn_share_get_stats(tarn_share *share, struct tarn_share_stats *stats);

#ifdef __cplusplus
}
#endif

#endif
