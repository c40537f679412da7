/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What `tarn bench share` runs on a device: lookups that arrive by themselves, gradient steps in the
 * background, and the clock of both: the device's own where it is simulated, else the wall's.
 */
#ifndef TARN_TOOLS_SHARE_RIG_H
#define TARN_TOOLS_SHARE_RIG_H

#include <tarn/gpu.h>
#include <tarn/share.h>

#include "base/rng.h"
#include "cli.h"
#include "net/trainer.h"

enum {
    TARN_RIG_LANES = 8,         /* jobs at once without control, at most */
    TARN_RIG_BACKLOG = 8,       /* launches that are kept in flight without control */
    TARN_RIG_NAIVE_STEPS = 100, /* of a launch without control on a simulated device */
    TARN_RIG_UNSLICED_STEPS =
        10,                   /* and of one that training alone is measured by, as an engine's */
    TARN_RIG_JOB_STEPS = 400, /* of the arbiter's work that is begun at once */
};

struct tarn_rig_options {
    const char *id, *cache_dir;
    uint32_t keys;       /**< of a lookup */
    uint64_t frame_ns;   /**< simulated devices: a user interface's frame, 0: none */
    uint64_t backlog_ns; /**< of one launch in the backlog; 0: TARN_RIG_NAIVE_STEPS steps */
    uint64_t seed;
};

struct tarn_rig {
    tarn_device *device;
    bool simulated;
    struct tarn_rng rng;
    tarn_queue *high, *low; /* low is the first lane's */
    /* lookups */
    tarn_kernel *lookup;
    tarn_buffer *index, *hashes, *slots;
    uint32_t keys, mask;
    uint64_t lookup_ns, gap_ns, submit_ns; /**< measured alone, on the idle device */
    /* gradient steps in a backlog of long launches */
    tarn_kernel *train;
    struct {
        tarn_queue *queue;
        tarn_buffer *buffers[7]; /* those that are only read are the first one's */
    } lane[TARN_RIG_LANES];
    uint32_t lanes; /* one a compute unit of a CPU, so that a backlog leaves none free */
    tarn_event *backlog[TARN_RIG_BACKLOG];
    uint32_t backlog_at, backlog_count, launch_steps, first_step;
    /* and those that the arbiter cuts */
    tarn_trainer *trainer;
    uint64_t steps; /**< done in the backlog */
    uint64_t tiles; /**< done under the arbiter */
    uint32_t begun; /**< tiles of its job that were submitted */
    bool whole;     /**< its slices end where steps do: parts of steps cost a CPU more */
    tarn_status failure;
};

/** Opens the device anew, so that a simulated clock starts at 0. Fills `error` on failure. */
tarn_status tarn_rig_open(struct tarn_rig *rig, const struct tarn_rig_options *options,
                          struct tarn_error *error);
/** Waits for what is in flight. */
void tarn_rig_close(struct tarn_rig *rig);

uint64_t tarn_rig_now(void *rig);
/** Lets time pass until then. */
void tarn_rig_wait(struct tarn_rig *rig, uint64_t until_ns);

/** Submits a lookup. */
tarn_status tarn_rig_lookup(struct tarn_rig *rig, tarn_event **event);
/** The same on the host, done when it returns. */
void tarn_rig_lookup_on_host(struct tarn_rig *rig);

/** Keeps the backlog of so many lanes full; counts what has ended. */
tarn_status tarn_rig_feed_backlog(struct tarn_rig *rig, uint32_t lanes);
tarn_status tarn_rig_drain_backlog(struct tarn_rig *rig);
/** Endless gradient steps as work for the arbiter. */
struct tarn_share_work tarn_rig_work(struct tarn_rig *rig);
/** Steps done by the arbiter's work so far, parts of one included. */
double tarn_rig_arbiter_steps(const struct tarn_rig *rig);

#endif
