/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Scores of one round's candidates on a device's high-priority queue, without waiting. One launch at
 * a time; one thread at a time.
 */
#ifndef TARN_OFFLOAD_SCORE_H
#define TARN_OFFLOAD_SCORE_H

#include <tarn/gpu.h>
#include <tarn/share.h>

#include "model/model.h"

typedef struct tarn_score tarn_score;

/**
 * For at most `room` candidates of networks of this shape; `local_size` is the work-group that
 * calibration found best, or 0. Device and queue must outlive it.
 */
tarn_status tarn_score_create(tarn_device *device, tarn_queue *queue,
                              const struct tarn_shape *shape, uint32_t room, uint32_t local_size,
                              tarn_score **score, struct tarn_error *error);
/** Waits for what is in flight. */
void tarn_score_destroy(tarn_score **score);

/** Told of each launch; NULL for none. Before the first. */
void tarn_score_set_share(tarn_score *score, tarn_share *share);
/** Where the features go, in layout.h's tiles; to be left alone while a launch is in flight. */
float *tarn_score_tiles(tarn_score *score);
/** New weights for the launches to come; TARN_BUSY while one is in flight. */
tarn_status tarn_score_set_weights(tarn_score *score, const float *weights);
/** Starts scoring the first `count` candidates by a slice of the network (layout.h). TARN_BUSY while one is in flight. */
tarn_status tarn_score_submit(tarn_score *score, uint32_t slice, uint32_t count);
/** TARN_OK and the scores when done; TARN_TIMEOUT after `timeout_us` (0 only asks). */
tarn_status tarn_score_wait(tarn_score *score, uint64_t timeout_us, float *scores);

void tarn_score_get_stats(const tarn_score *score, struct tarn_kernel_stats *stats);

#endif
