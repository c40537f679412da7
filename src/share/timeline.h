/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a device has in front of it, and when it will be through: slices and what is waited for, in
 * the order of their submission, each with the time that it is expected to take. A device runs one
 * kernel at a time, begins a kernel no earlier than `latency_ns` behind its submission and `gap_ns`
 * behind the one before. Times are the arbiter's clock. Pure; one thread at a time.
 */
#ifndef TARN_SHARE_TIMELINE_H
#define TARN_SHARE_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

enum { TARN_TIMELINE_ROOM = 64 };

struct tarn_timeline_entry {
    bool waited_for; /**< a lookup, not a slice */
    bool leaving;    /**< a slice that was told to */
    uint64_t name;   /**< a slice's ticket, an arrival's number */
    uint64_t submit_ns, ready_ns;
    uint64_t expect_ns; /**< how long it will take */
    uint64_t limit_ns;  /**< a slice: the quantum that it was cut to */
    uint32_t units;
    uint64_t leave_ns; /**< a slice: when it is, or was, told to leave; UINT64_MAX: it isn't */
    uint64_t stop_ns;  /**< an arrival: when slices in its way are to be told; UINT64_MAX: never */
    uint64_t stop_ticket;      /**< an arrival: up to which; 0: whichever runs by then */
    uint64_t start_ns, end_ns; /**< predicted */
};

struct tarn_timeline {
    struct tarn_timeline_entry entry[TARN_TIMELINE_ROOM];
    uint32_t count, slices;
    bool overtakes; /**< between kernels, what is waited for goes first */
    uint64_t latency_ns, gap_ns;
    uint64_t least_ns; /**< of a slice that leaves before its first unit */
    uint64_t unit_ns;  /**< how long a slice may go on after it was told */
    uint64_t free_ns;  /**< when the last that is known to have ended did */
};

/** Behind what is there; NULL if there is no room. All predictions are made anew. */
struct tarn_timeline_entry *tarn_timeline_add(struct tarn_timeline *timeline, bool waited_for,
                                              uint64_t name, uint64_t now_ns, uint64_t expect_ns);
/** NULL if there is none of that name. */
struct tarn_timeline_entry *tarn_timeline_find(struct tarn_timeline *timeline, bool waited_for,
                                               uint64_t name);
/** The oldest slice, or NULL. */
struct tarn_timeline_entry *tarn_timeline_oldest(struct tarn_timeline *timeline);
/** It has ended at `end_ns`. */
void tarn_timeline_remove(struct tarn_timeline *timeline, struct tarn_timeline_entry *entry,
                          uint64_t end_ns);
/** Sets start_ns and end_ns of all; what should have ended by `now_ns` and hasn't, ends now. */
void tarn_timeline_predict(struct tarn_timeline *timeline, uint64_t now_ns);
/** When all of it will have ended: 0 if there is nothing. */
uint64_t tarn_timeline_end(const struct tarn_timeline *timeline);

/**
 * Plans how the slices in the way of an arrival leave: told such that the running one has left, and
 * those queued behind it have passed, just when the device could begin with the arrival, since the
 * submit latency is the slices' time too. Predictions take it for done.
 */
void tarn_timeline_plan(struct tarn_timeline *timeline, struct tarn_timeline_entry *arrival,
                        uint64_t now_ns);
/** The ticket up to which slices are to be told now because of plans that are due, 0 for none. */
uint32_t tarn_timeline_tell(struct tarn_timeline *timeline, uint64_t now_ns);
/** All slices are told to leave now. False if they were already. */
bool tarn_timeline_tell_all(struct tarn_timeline *timeline, uint64_t now_ns);

#endif
