/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm.h"

#include "backend.h"
#include "base/log.h"

bool tarn_device_has_gemm(const tarn_device *device)
{
    return device != NULL && device->backend->gemm != NULL;
}

/* `rows` x `columns` as it lies in memory. */
static bool lies_inside(const tarn_queue *queue, const struct tarn_matrix *matrix, size_t rows,
                        size_t columns)
{
    if (matrix->transposed) {
        size_t swapped = rows;
        rows = columns;
        columns = swapped;
    }
    if (matrix->buffer == NULL || matrix->buffer->device != queue->device ||
        matrix->row < columns || rows == 0 || columns == 0)
        return false;
    size_t floats = matrix->buffer->size / sizeof(float), end;
    return !__builtin_mul_overflow(rows - 1, matrix->row, &end) &&
           !__builtin_add_overflow(end, columns, &end) &&
           !__builtin_add_overflow(end, matrix->offset, &end) && end <= floats;
}

tarn_status tarn_queue_gemm(tarn_queue *queue, const struct tarn_gemm *gemm)
{
    if (queue == NULL || gemm == NULL)
        return TARN_INVALID;
    tarn_device *device = queue->device;
    if (device->backend->gemm == NULL)
        return TARN_UNSUPPORTED;
    if (!lies_inside(queue, &gemm->a, gemm->m, gemm->k) ||
        !lies_inside(queue, &gemm->b, gemm->k, gemm->n) || gemm->c.transposed ||
        !lies_inside(queue, &gemm->c, gemm->m, gemm->n)) {
        tarn_log(TARN_LOG_ERROR, "gpu: %s: gemm: a matrix doesn't lie in its buffer",
                 device->info.id);
        return TARN_INVALID;
    }
    if (tarn_device_is_lost(device))
        return TARN_DEVICE_LOST;
    if (atomic_load(&queue->stopped))
        return TARN_BUSY;
    tarn_status status = device->backend->gemm(queue, gemm);
    if (status == TARN_DEVICE_LOST)
        tarn_device_mark_lost(device);
    return status;
}
