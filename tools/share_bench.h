/* SPDX-License-Identifier: Apache-2.0 */
/** @file The parts of `tarn bench share`: share_block.c measures, bench_share.c reports. */
#ifndef TARN_TOOLS_SHARE_BENCH_H
#define TARN_TOOLS_SHARE_BENCH_H

#include <tarn/share.h>

#include "share_rig.h"

typedef enum tarn_share_way_kind {
    TARN_SHARE_ALONE, /**< lookups, and nothing else */
    TARN_SHARE_NAIVE, /**< two queues, a backlog of training in the other */
    TARN_SHARE_ARBITER,
    TARN_SHARE_HOST, /**< lookups on the host, training under the arbiter: real devices only */
    TARN_SHARE_WAYS,
} tarn_share_way_kind;

/** What was measured of a way, over all its blocks. */
struct tarn_share_way {
    tarn_share_way_kind kind;
    double *latency_us; /**< in the order of arrival; sorted once all blocks have run */
    size_t count, room;
    double steps;
    uint64_t elapsed_ns;
    uint64_t lookup_ns;             /**< device time that lookups took, gaps included */
    uint64_t frames, frames_missed; /**< of a user interface */
};

enum { TARN_SHARE_POINTS = 128 };

struct tarn_share_point {
    double at_ms, lookups, training;
};

struct tarn_share_bench {
    struct tarn_share_way way[TARN_SHARE_WAYS];
    double load; /**< of the device by lookups, simulated devices */
    uint32_t quantum_us, in_flight, budget_us;
    struct tarn_share_stats stats; /**< of the arbiter, at the end of its last block */
    double blocking_max_us;        /**< of a lookup by training, simulated devices */
    /** Shares of the device's time under the arbiter, each of `window` mean pauses between lookups. */
    struct tarn_share_point timeline[TARN_SHARE_POINTS];
    size_t points;
    uint32_t window;
};

/** Runs a block of so many lookups; adds to the way and to the bench. */
tarn_status tarn_share_block(struct tarn_share_bench *bench, tarn_share_way_kind kind,
                             struct tarn_rig *rig, uint32_t lookups, uint64_t seed);

/** Draws the latencies' distributions, which are sorted by now, and the timeline of shares. */
tarn_status tarn_share_plot(const struct tarn_share_bench *bench, const char *device,
                            const char *path, struct tarn_error *error);

#endif
