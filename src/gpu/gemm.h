/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Products of matrices by a library of the backend's (CLBlast on OpenCL), for networks that are wide
 * enough to pay for it. A capability: most devices have none, and the own kernels do it.
 */
#ifndef TARN_GPU_GEMM_H
#define TARN_GPU_GEMM_H

#include <tarn/gpu.h>

/** A matrix in a buffer of floats, by rows. */
struct tarn_matrix {
    tarn_buffer *buffer;
    size_t offset;   /**< of its first element, in floats */
    size_t row;      /**< floats from a row to the next */
    bool transposed; /**< its rows are the columns of what is multiplied */
};

/** c = a b: `m` x `k` times `k` x `n`, all at least 1. `c` may not be transposed. */
struct tarn_gemm {
    size_t m, n, k;
    struct tarn_matrix a, b, c;
};

/** True if the device has such a library. It says nothing of whether that is quick. */
bool tarn_device_has_gemm(const tarn_device *device);

/**
 * Puts a product behind what the queue holds. The first one of a process may compile for many
 * seconds, in this call. TARN_UNSUPPORTED without a library, TARN_INVALID if a matrix doesn't lie in
 * its buffer, TARN_BUSY if the queue is stopped.
 */
tarn_status tarn_queue_gemm(tarn_queue *queue, const struct tarn_gemm *gemm);

#endif
