/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The network of any width up to TARN_MAX_WIDE_WIDTH, forward and training, on one of four paths:
 * which of them is quickest for a shape on a device is a matter of measurement (offload/calibration.h).
 *
 *   host     the host's kernels on the calling thread: fused where they can, else matrix products
 *   fused    one launch of the fused kernel for everything: to TARN_MAX_FORWARD_WIDTH forward, to
 *            TARN_MAX_WIDTH in training; training beyond that is two launches a
 *            step: the samples through all layers and back, then all the weights
 *   gemm     a launch for each product and each step between, by our own kernel
 *   clblast  the same with the products by CLBlast, which comes with some OpenCL builds
 *
 * One thread at a time; calls return when the work is done. No allocation of ours after creation.
 * Kernels are tried before they are trusted (kernels/canary.h). A call that takes longer than
 * half a minute and ten seconds a step hangs: TARN_DEVICE_LOST, and the device is abandoned with what
 * it may still use.
 */
#ifndef TARN_NET_WIDE_H
#define TARN_NET_WIDE_H

#include <tarn/gpu.h>

#include "net.h"

typedef enum tarn_path {
    TARN_PATH_HOST,
    TARN_PATH_FUSED,
    TARN_PATH_GEMM,
    TARN_PATH_CLBLAST,
    TARN_PATHS,
} tarn_path;

/** "host", "fused", "gemm", "clblast". */
const char *tarn_path_name(tarn_path path);

typedef struct tarn_wide tarn_wide;

struct tarn_wide_params {
    const struct tarn_shape *shape;
    const float *weights; /**< to start from */
    tarn_device *device;  /**< unused by the path `host` */
    tarn_queue *queue;    /**< of that device */
    tarn_path path;
    uint32_t room; /**< samples at most */
    bool train;    /**< make what training needs too */
    float rate;    /**< Adam's learning rate; beta 0.9 and 0.999 */
};

/** True for layers of 1 ... TARN_MAX_WIDE_WIDTH, and outputs to TARN_MAX_BINS. */
bool tarn_wide_is_valid(const struct tarn_shape *shape);

/**
 * TARN_UNSUPPORTED if the path can't do the shape or isn't there on the device, with the reason in
 * `error`; TARN_QUARANTINED or TARN_TIMEOUT as tarn_canary_create(). Device and queue must outlive it. Starts no work on CLBlast: its first product, which may
 * take many seconds, comes with the first forward pass.
 */
tarn_status tarn_wide_create(const struct tarn_wide_params *params, tarn_wide **wide,
                             struct tarn_error *error);
void tarn_wide_destroy(tarn_wide **wide);

/**
 * The samples that the next calls work on, in the form that the path needs: whole tiles (layout.h)
 * and, for training, a label each (NULL: none). TARN_TOO_LARGE beyond `room`.
 */
tarn_status tarn_wide_set_samples(tarn_wide *wide, const float *tiles, const uint32_t *labels,
                                  uint32_t count);
/** Scores the first `count` of the samples. TARN_UNSUPPORTED where training takes two launches. */
tarn_status tarn_wide_forward(tarn_wide *wide, uint32_t count);
/** What the last forward pass gave, valid until the next call. */
const float *tarn_wide_scores(const tarn_wide *wide);

/**
 * `steps` Adam steps: step s takes the samples [s * batch, (s + 1) * batch). `batch` is a multiple of
 * TARN_LANES; steps * batch samples must have been set, and their labels.
 */
tarn_status tarn_wide_train(tarn_wide *wide, uint32_t steps, uint32_t batch);
/** The loss before each of those steps, valid until the next call. */
const float *tarn_wide_losses(const tarn_wide *wide);
/** The weights as they are now, valid until the next call. */
const float *tarn_wide_weights(const tarn_wide *wide);

#endif
