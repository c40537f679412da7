/* SPDX-License-Identifier: Apache-2.0 */
/** @file `tarn replay`: what its two files share. One thread. */
#ifndef TARN_TOOLS_REPLAY_H
#define TARN_TOOLS_REPLAY_H

#include "sim/replay.h"

/** A trace's results, in the order sizes x policies. */
struct tarn_replayed {
    char *name;
    uint64_t requests, objects, footprint;
    bool unit_sizes;
    struct tarn_replay_result *results; /* [sizes * policies] */
};

/**
 * Draws the results of `count` traces (each with sizes x policies) and writes the SVG to `path`,
 * replacing it atomically.
 */
tarn_status tarn_replay_plot(const char *path, const struct tarn_replayed *traces, size_t count,
                             size_t sizes, size_t policies, struct tarn_error *error);

/** "203 objects", "64.0 MiB" into `text` (64 bytes), which is returned. */
const char *tarn_replay_amount(uint64_t amount, bool objects, char *text);

#endif
