/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A simulated device inside: what device.c (the backend's table) and model.c (the passing of time)
 * share. Everything below the first member of struct virtual_device is guarded by its lock; the
 * functions of model.c are called with it held.
 */
#ifndef TARN_GPU_VIRTUAL_H
#define TARN_GPU_VIRTUAL_H

#include "../backend.h"
#include "profile.h"

#include <stdalign.h>
#include <stddef.h>

struct virtual_queue {
    struct tarn_queue base;
    uint32_t place;               /**< the device's queue that it is laid on */
    struct virtual_command *last; /**< the youngest that hasn't ended, or NULL */
};

struct virtual_buffer {
    struct tarn_buffer base;
    void *memory, *bytes; /**< what calloc gave, and its first 64-byte boundary */
};

struct virtual_event {
    struct tarn_event base;
    struct virtual_command *command; /**< that it waits for, or NULL */
    struct virtual_event *next_mark; /**< in the command's list of marks */
    bool is_mark, done;
    struct tarn_event_times times;
};

/** A launch, or a frame of the user interface. */
struct virtual_command {
    struct virtual_command *next; /**< in a queue of the device, or in the list of spare ones */
    struct virtual_queue *queue;  /**< NULL: a frame */
    tarn_priority priority;
    uint64_t ready_ns, start_ns;
    uint64_t frame_ns; /**< what a frame costs */
    const struct tarn_kernel_source *source;
    int32_t defines[TARN_MAX_DEFINES];
    void *buffers[TARN_MAX_BUFFERS];
    uint64_t buffer_bytes; /**< of all of them, once each */
    alignas(max_align_t) unsigned char constants[TARN_MAX_CONSTANTS_SIZE];
    uint32_t groups;
    uint32_t first_tile, tile_count; /**< of a launch to resume, the first is read when it starts */
    uint32_t *stop;                  /**< if it goes tile by tile, else NULL */
    uint32_t ticket;
    uint32_t tiles_in_all;       /**< with `stop`: of the kernel's work */
    uint32_t tile, end;          /**< with `stop`: the next tile, and behind the last */
    bool resume, begun;          /**< begun: its fixed part is over */
    bool skipped;                /**< an injected wrong answer */
    struct virtual_event *event; /**< or NULL */
    struct virtual_event *marks; /**< to be signalled with it */
};

struct virtual_device {
    struct tarn_device base;
    struct tarn_virtual_profile profile;
    pthread_mutex_t lock;

    uint64_t now_ns;
    bool gone; /**< lost: nothing happens any more */

    /* the device's queues, each in the order of ready_ns */
    struct {
        struct virtual_command *first, *last;
    } queue[TARN_VIRTUAL_QUEUES];
    uint32_t turn;        /**< where the search for the next command begins */
    uint32_t queues_made; /**< ours, for laying them out */
    uint32_t queues_alive;
    struct virtual_command *spare;

    /* what runs */
    struct virtual_command *running;
    uint64_t event_ns;    /**< when its tile ends; UINT64_MAX: never */
    uint64_t deadline_ns; /**< the watchdog's */
    uint32_t slow;        /**< this launch's factor, at least 1 */
    uint64_t free_ns;     /**< when the next may start: the last one's end and the gap */

    /* frames */
    struct tarn_virtual_frames frames; /**< a period of 0: none */
    uint64_t next_frame_ns;
    struct virtual_command frame;
    bool frame_under_way, frame_due; /**< due: a deadline is running */

    /* the clock's governor */
    bool governed;
    uint32_t step;
    uint64_t next_look_ns, busy_at_look_ns;

    /* faults */
    struct tarn_virtual_faults faults;
    char fault_kernel[64];
    uint64_t starts; /**< launches counted for the faults */

    struct tarn_virtual_stats stats;
    uint64_t busy_ns; /**< of all that has run, up to now; never reset */
};

/** Puts a filled command behind those that are ready no later. */
void tarn_virtual_put(struct virtual_device *device, struct virtual_command *command);

/**
 * Lets time pass until `until_ns` (never back). False, with the clock where it happened, if the
 * device is lost.
 */
bool tarn_virtual_pass(struct virtual_device *device, uint64_t until_ns);

/**
 * The same, but stops as soon as `done(what)`; UINT64_MAX waits for ever. TARN_OK, TARN_TIMEOUT or
 * TARN_DEVICE_LOST.
 */
tarn_status tarn_virtual_wait(struct virtual_device *device, bool (*done)(const void *what),
                              const void *what, uint64_t until_ns);

/** Takes the commands of a queue of ours out of the device; their events never end. */
void tarn_virtual_forget(struct virtual_device *device, struct virtual_queue *queue);

static inline uint64_t tarn_virtual_later(uint64_t from_ns, uint64_t by_ns)
{
    return by_ns > UINT64_MAX - from_ns ? UINT64_MAX : from_ns + by_ns;
}

#endif
