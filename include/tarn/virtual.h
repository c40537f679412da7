/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Simulated devices: "virtual:mali", "virtual:videocore" and "virtual:jetson". Kernels run on the
 * host and their results are right; the time that they take is charged to a clock of the device's
 * own, from a model (docs/virtual-devices.md). The same calls from one thread give the same times,
 * on any machine.
 *
 *     tarn_device_open(&(struct tarn_device_params){ .id = "virtual:mali" }, &device, &error);
 *     tarn_virtual_set_frames(device, &(struct tarn_virtual_frames){ 16700000, 4000000 });
 *     ... submit a launch ...
 *     tarn_virtual_advance(device, 50000);  // 50 us later another arrives
 *     ... submit it ...
 *     tarn_event_wait(event, TARN_FOREVER); // jumps to its end
 *     tarn_event_get_times(event, &times);
 *
 * The clock starts at 0 when the device is opened. It moves by tarn_virtual_advance() and by waits:
 * a wait for ever jumps to the end of what is waited for; one with a limit goes at most so far; one
 * that only asks and is told "not yet" costs `ask_ns`, so that a loop that asks ends. Submitting
 * takes no time of the caller's. A launch has run when its event is done, not before.
 *
 * Units: nanoseconds of virtual time unless the name says otherwise. Thread-safety: any thread;
 * what several threads do at once is served in any order, so it isn't repeatable. Errors: the
 * functions return TARN_INVALID on a device that isn't simulated, TARN_DEVICE_LOST on a lost one.
 */
#ifndef TARN_VIRTUAL_H
#define TARN_VIRTUAL_H

#include <tarn/gpu.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a launch is charged by. */
struct tarn_virtual_model {
    uint32_t queues;            /**< of the device; ours are laid on them */
    bool priority;              /**< between kernels, the high-priority queue goes first */
    bool stop_flag;             /**< a running kernel sees what the host writes */
    uint64_t submit_ns;         /**< from a submit to the first moment that the launch can start */
    uint64_t gap_ns;            /**< from the end of a kernel to the start of the next */
    uint64_t launch_ns;         /**< fixed part of a kernel's time */
    uint64_t ask_ns;            /**< a question that is answered "not yet" */
    uint64_t watchdog_ns;       /**< a kernel that takes longer loses the device */
    uint64_t operations_per_us; /**< at the full clock */
    uint64_t bytes_per_us;
};
TARN_API tarn_status tarn_virtual_get_model(const tarn_device *device,
                                            struct tarn_virtual_model *model);

/** The device's clock, ns; 0 on a device that isn't simulated. */
TARN_API uint64_t tarn_virtual_now(const tarn_device *device);
/** Lets `ns` pass: all that starts, ends or arrives meanwhile does so. */
TARN_API tarn_status tarn_virtual_advance(tarn_device *device, uint64_t ns);

/** A user interface that draws on the same device. */
struct tarn_virtual_frames {
    uint64_t period_ns; /**< one frame each; 16,700,000 is usual */
    uint64_t cost_ns;   /**< device time of a frame; cost and gap together below the period */
    tarn_priority priority;
};
/**
 * From one period after now on, a frame arrives each period; its deadline is the next arrival. A
 * frame that isn't done by then is counted as missed and takes the next one's place. NULL: no more
 * frames, but for one under way.
 */
TARN_API tarn_status tarn_virtual_set_frames(tarn_device *device,
                                             const struct tarn_virtual_frames *frames);

/**
 * The clock frequency: fixed at the highest step when a device is opened. With the governor on it
 * starts from the lowest and moves by one step a period, by the share of the period that the device
 * was busy.
 */
TARN_API tarn_status tarn_virtual_set_governor(tarn_device *device, bool on);

/** What goes wrong; launches are counted from the call on, the next that starts is number 1. */
struct tarn_virtual_faults {
    const char *kernel; /**< only launches of the kernel of this name count; NULL: all. Copied. */
    uint64_t lose_at;   /**< this launch loses the device as it starts; 0: none */
    uint64_t hang_at;   /**< this one never ends, until the watchdog loses the device; 0: none */
    uint64_t skip_at;   /**< this one ends in time but computes nothing: a wrong answer; 0: none */
    uint64_t slow_from; /**< from this one on a kernel takes `slow_factor` times as long; 0: none */
    uint32_t slow_factor; /**< 1 ... 1,000,000 where slow_from is set */
    uint32_t time_bits; /**< events' times keep only so many of their low bits: they wrap; 0: all */
    bool flag_unseen;   /**< running kernels don't see their stop flags, whatever the device says */
};
/** NULL: no more faults. TARN_INVALID for a name that is too long (63 bytes) or a wrong number. */
TARN_API tarn_status tarn_virtual_set_faults(tarn_device *device,
                                             const struct tarn_virtual_faults *faults);

/** Since the device was opened or tarn_virtual_reset_stats(). [TARN_PRIORITY_HIGH], [..._LOW]. */
struct tarn_virtual_stats {
    uint64_t launches[2];   /**< ended */
    uint64_t busy_ns[2];    /**< the device's time in launches, the running one's until now too */
    uint64_t blocked_ns[2]; /**< longest wait between a launch's submit latency and its start */
    uint64_t frame_busy_ns; /**< the same in frames */
    uint64_t frames;        /**< deadlines that have passed */
    uint64_t frames_missed; /**< of these, missed */
    uint64_t stopped;       /**< launches that left early because of their stop flag */
    uint64_t pending;       /**< launches submitted but not ended */
    uint64_t memory;        /**< bytes of live buffers */
    uint32_t clock_mhz;     /**< now */
};
TARN_API tarn_status tarn_virtual_get_stats(tarn_device *device, struct tarn_virtual_stats *stats);
TARN_API tarn_status tarn_virtual_reset_stats(tarn_device *device);

#ifdef __cplusplus
}
#endif

#endif
