/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Training the classifier of classify.h with the trainer that everything is trained with (net/trainer.h),
 * on any device. One thread at a time.
 */
#ifndef TARN_EXPERTS_TRAIN_H
#define TARN_EXPERTS_TRAIN_H

#include <tarn/gpu.h>

#include "classify.h"

/** What a network of any kind sees. */
enum {
    TARN_WORKLOAD_SEEN =
        TARN_WORKLOAD_INPUTS > TARN_STREAM_FEATURES ? TARN_WORKLOAD_INPUTS : TARN_STREAM_FEATURES,
};

/** What a stream looked like, and what it was made of. */
struct tarn_workload_sample {
    int8_t features[TARN_WORKLOAD_SEEN]; /**< as many as the network takes */
    float blend[TARN_WORKLOAD_PARTS];    /**< shares, sum 1 */
};

struct tarn_workload_train_params {
    const struct tarn_workload_sample *samples; /**< to train with */
    size_t count;
    const struct tarn_workload_sample *kept; /**< kept aside: to calibrate with */
    size_t kept_count;
    /**
     * Of which only the name is known: the blends' networks don't learn from them, and nothing is calibrated
     * with them. Their blend is any of that name. May be none.
     */
    const struct tarn_workload_sample *named;
    size_t named_count;
    float named_share; /**< of the samples that are learnt from, in [0, 1) */
    int network;       /**< TARN_WORKLOAD_NOW_CLASS and so on */
    uint32_t steps;    /**< of 256 samples */
    uint64_t seed;
    const char *provenance;
    tarn_device *device; /**< NULL: the host */
    tarn_queue *queue;
    void (*progress)(void *user, uint32_t steps, float loss); /**< may be NULL */
    void *user;
};

/** How good it is on what was kept aside. */
struct tarn_workload_trained {
    float temperature; /**< that the logits were divided by */
    float right;       /**< share of the samples whose class has the greatest chance */
    float ece;         /**< expected calibration error, ten bins (Guo et al., ICML 2017) */
    float blend_error; /**< mean over samples of the largest error of a share; 0 for classes */
};

/**
 * Trains, calibrates by a temperature (Guo et al.) that is multiplied into the last layer, and measures.
 * TARN_INVALID without samples of either kind; TARN_CORRUPT if it diverged.
 */
tarn_status tarn_workload_train(const struct tarn_workload_train_params *params,
                                struct tarn_model **model, struct tarn_workload_trained *trained,
                                struct tarn_error *error);

#endif
