/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The table of kernels: each under one name as OpenCL C in two shapes and as SPIR-V (all embedded
 * in the library), and as a host function. The backends take them as data. Static, immutable: any
 * thread.
 *
 * Buffers, in order, and the constants (layout.h):
 *   lookup:  buckets, hashes, slots; struct tarn_lookup_constants
 *   forward: weights, tiles, scores; struct tarn_forward_constants
 *   train:   weights, m, v, tiles, labels, losses, scratch; struct tarn_train_constants
 *   wide:    a, b, c, d; struct tarn_wide_constants
 * What is computed: lookup.h, forward.h, train.h, wide.h. `scratch` holds tarn_train_scratch_floats()
 * floats, which mean nothing but to a range of tiles that goes on inside a step. forward and train are compiled for one shape of
 * network (tarn_shape_defines()). Launches: tarn_kernel_groups() groups for so many keys or
 * samples; train is always one group, wide takes tarn_wide_groups().
 */
#ifndef TARN_KERNELS_KERNELS_H
#define TARN_KERNELS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include <tarn/gpu.h>

#include "forward.h"

extern const struct tarn_kernel_source tarn_lookup_source, tarn_forward_source, tarn_train_source,
    tarn_wide_source;

/** Every row of the table, then NULL. */
extern const struct tarn_kernel_source *const tarn_kernel_sources[];

enum { TARN_SHAPE_DEFINES = 4 };
/** The values for struct tarn_kernel_params::defines of forward and train. */
void tarn_shape_defines(const struct tarn_shape *shape, int32_t defines[TARN_SHAPE_DEFINES]);

#endif
