/* SPDX-License-Identifier: Apache-2.0 */
/* Products of matrices by CLBlast. */
#include "opencl.h"

#include <clblast_c.h>

#include "base/log.h"
#include "gpu/gemm.h"

/* CLBlast wants memory objects: shared memory gets one that stands for the same bytes. */
static cl_int object_of(struct opencl_device *device, tarn_buffer *base, cl_mem *mem)
{
    struct opencl_buffer *buffer = (struct opencl_buffer *)base;
    cl_int code = CL_SUCCESS;
    if (buffer->mem == NULL)
        buffer->mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR,
                                     base->size, buffer->shared, &code);
    *mem = buffer->mem;
    return code;
}

tarn_status tarn_opencl_gemm(tarn_queue *base, const struct tarn_gemm *gemm)
{
    struct opencl_queue *queue = (struct opencl_queue *)base;
    struct opencl_device *device = (struct opencl_device *)base->device;
    const struct tarn_matrix *const matrices[] = {&gemm->a, &gemm->b, &gemm->c};
    cl_mem mem[3];
    /* two threads may be the first to use one buffer */
    pthread_mutex_lock(&device->base.lock);
    cl_int code = CL_SUCCESS;
    for (int i = 0; i < 3 && code == CL_SUCCESS; i++)
        code = object_of(device, matrices[i]->buffer, &mem[i]);
    pthread_mutex_unlock(&device->base.lock);
    if (code != CL_SUCCESS)
        return tarn_opencl_check(device, code, "clCreateBuffer");
    CLBlastStatusCode status = CLBlastSgemm(
        CLBlastLayoutRowMajor, gemm->a.transposed ? CLBlastTransposeYes : CLBlastTransposeNo,
        gemm->b.transposed ? CLBlastTransposeYes : CLBlastTransposeNo, gemm->m, gemm->n, gemm->k,
        1.0f, mem[0], gemm->a.offset, gemm->a.row, mem[1], gemm->b.offset, gemm->b.row, 0.0f,
        mem[2], gemm->c.offset, gemm->c.row, &queue->queue, NULL);
    if (status == CLBlastSuccess) {
        tarn_opencl_forget_last(queue); /* it may have been several launches */
        code = clFlush(queue->queue);
        return tarn_opencl_check(device, code, "clFlush");
    }
    /* its own codes lie below OpenCL's, which it passes on */
    if ((int)status > -1000)
        return tarn_opencl_check(device, (cl_int)status, "CLBlastSgemm");
    tarn_log(TARN_LOG_WARNING, "gpu: %s: CLBlastSgemm: code %d", device->base.info.id, (int)status);
    return TARN_UNSUPPORTED;
}
