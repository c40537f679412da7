/* SPDX-License-Identifier: Apache-2.0 */
/* Queues, buffers and events on OpenCL, and the backend's table. */
#include "opencl.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define ALIGNMENT 64

/* ---- queues ---- */

static tarn_status opencl_queue_create(tarn_device *device, tarn_priority priority,
                                       tarn_queue **queue)
{
    struct opencl_queue *created = calloc(1, sizeof *created);
    if (created == NULL)
        return TARN_NO_MEMORY;
    cl_int code;
    created->queue = tarn_opencl_create_queue((struct opencl_device *)device, priority, &code);
    if (created->queue == NULL) {
        free(created);
        return tarn_opencl_check((struct opencl_device *)device, code, "clCreateCommandQueue");
    }
    *queue = &created->base;
    return TARN_OK;
}

static void opencl_queue_destroy(tarn_queue *queue)
{
    struct opencl_queue *destroyed = (struct opencl_queue *)queue;
    tarn_opencl_forget_last(destroyed);
    clReleaseCommandQueue(destroyed->queue);
    free(destroyed);
}

/* ---- waiting ---- */

/*
 * The queue's last command, whose end is the end of all: waiting for it saves a marker, which costs
 * as much as a launch. `event` is taken over.
 */
static void set_last(struct opencl_queue *queue, cl_event event)
{
    if (queue->last != NULL)
        clReleaseEvent(queue->last);
    queue->last = event;
}

void tarn_opencl_forget_last(struct opencl_queue *queue)
{
    set_last(queue, NULL);
}

/* An event of the caller's for all that was submitted so far. */
static cl_int end_of(struct opencl_queue *queue, cl_event *event)
{
    cl_int code = CL_SUCCESS;
    if (queue->last == NULL) {
        code = clEnqueueMarkerWithWaitList(queue->queue, 0, NULL, event);
        if (code != CL_SUCCESS)
            return code;
        queue->last = *event;
        code = clFlush(queue->queue);
    }
    if (code == CL_SUCCESS)
        code = clRetainEvent(queue->last);
    *event = code == CL_SUCCESS ? queue->last : NULL;
    return code;
}

static tarn_status opencl_queue_finish(tarn_queue *base, uint64_t timeout_us)
{
    struct opencl_queue *queue = (struct opencl_queue *)base;
    struct opencl_device *device = (struct opencl_device *)base->device;
    if (timeout_us == TARN_FOREVER)
        return tarn_opencl_check(device, clFinish(queue->queue), "clFinish");
    cl_event event;
    tarn_status status = tarn_opencl_check(device, end_of(queue, &event), "clFlush");
    if (status == TARN_OK) {
        status = tarn_opencl_wait(device, event, timeout_us);
        clReleaseEvent(event);
    }
    return status;
}

/* ---- buffers ---- */

static void opencl_buffer_destroy(tarn_buffer *base)
{
    struct opencl_buffer *buffer = (struct opencl_buffer *)base;
    if (buffer->mem != NULL)
        clReleaseMemObject(buffer->mem);
    if (buffer->shared != NULL)
        clSVMFree(((struct opencl_device *)base->device)->context, buffer->shared);
    free(buffer->shadow);
    free(buffer);
}

/* Memory of the driver's, zero-filled. Rounded up, since fills go by whole patterns. */
static cl_int create_filled(struct opencl_device *device, size_t size, cl_mem *mem)
{
    size_t rounded = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    cl_int code;
    *mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE, rounded, NULL, &code);
    if (*mem == NULL)
        return code;
    const cl_uint4 zeros = {{0, 0, 0, 0}};
    code =
        clEnqueueFillBuffer(device->service, *mem, &zeros, sizeof zeros, 0, rounded, 0, NULL, NULL);
    return code == CL_SUCCESS ? clFinish(device->service) : code;
}

static tarn_status opencl_buffer_create(tarn_device *base, size_t size, bool device_only,
                                        tarn_buffer **buffer)
{
    struct opencl_device *device = (struct opencl_device *)base;
    struct opencl_buffer *created = calloc(1, sizeof *created);
    if (created == NULL)
        return TARN_NO_MEMORY;
    created->base.device = base;
    tarn_status status = TARN_OK;
    if (device_only || !base->info.unified_memory) {
        status =
            tarn_opencl_check(device, create_filled(device, size, &created->mem), "clCreateBuffer");
        if (status == TARN_OK && !device_only) {
            created->shadow = calloc(1, size + ALIGNMENT);
            if (created->shadow == NULL)
                status = TARN_NO_MEMORY;
            else
                created->base.data =
                    (char *)created->shadow + (ALIGNMENT - (uintptr_t)created->shadow % ALIGNMENT);
        }
    } else {
        created->shared = clSVMAlloc(
            device->context, CL_MEM_READ_WRITE | CL_MEM_SVM_FINE_GRAIN_BUFFER, size, ALIGNMENT);
        if (created->shared != NULL)
            memset(created->shared, 0, size);
        else
            status = tarn_opencl_check(device, CL_MEM_OBJECT_ALLOCATION_FAILURE, "clSVMAlloc");
        created->base.data = created->shared;
    }
    if (status != TARN_OK) {
        opencl_buffer_destroy(&created->base);
        return status;
    }
    *buffer = &created->base;
    return TARN_OK;
}

static tarn_status opencl_upload(tarn_queue *base, tarn_buffer *buffer, size_t offset, size_t size)
{
    struct opencl_queue *queue = (struct opencl_queue *)base;
    cl_event event;
    cl_int code =
        clEnqueueWriteBuffer(queue->queue, ((struct opencl_buffer *)buffer)->mem, CL_FALSE, offset,
                             size, (char *)buffer->data + offset, 0, NULL, &event);
    if (code == CL_SUCCESS)
        set_last(queue, event);
    return tarn_opencl_check((struct opencl_device *)base->device, code, "clEnqueueWriteBuffer");
}

static tarn_status opencl_download(tarn_queue *base, tarn_buffer *buffer, size_t offset,
                                   size_t size)
{
    struct opencl_queue *queue = (struct opencl_queue *)base;
    struct opencl_device *device = (struct opencl_device *)base->device;
    cl_event event;
    cl_int code = clEnqueueReadBuffer(queue->queue, ((struct opencl_buffer *)buffer)->mem, CL_FALSE,
                                      offset, size, (char *)buffer->data + offset, 0, NULL, &event);
    if (code == CL_SUCCESS) {
        set_last(queue, event);
        code = clFlush(queue->queue);
    }
    return tarn_opencl_check(device, code, "clEnqueueReadBuffer");
}

/* ---- launches and events ---- */

static tarn_status opencl_submit(tarn_queue *base, const struct tarn_launch *launch,
                                 tarn_event *event)
{
    struct opencl_queue *queue = (struct opencl_queue *)base;
    struct opencl_device *device = (struct opencl_device *)base->device;
    cl_event made;
    const char *call;
    cl_int code = tarn_opencl_kernel_enqueue(queue, launch, &made, &call);
    if (code == CL_SUCCESS) {
        set_last(queue, made);
        if (event != NULL && clRetainEvent(made) == CL_SUCCESS)
            ((struct opencl_event *)event)->event = made;
        /* a driver may sit on a launch until it is flushed, and lookups are in a hurry */
        call = "clFlush";
        code = clFlush(queue->queue);
    }
    return tarn_opencl_check(device, code, call);
}

static tarn_status opencl_mark(tarn_queue *base, tarn_event *event)
{
    struct opencl_queue *queue = (struct opencl_queue *)base;
    return tarn_opencl_check((struct opencl_device *)base->device,
                             end_of(queue, &((struct opencl_event *)event)->event), "clFlush");
}

static tarn_event *opencl_event_create(void)
{
    struct opencl_event *event = calloc(1, sizeof *event);
    return event != NULL ? &event->base : NULL;
}

static void opencl_event_reset(tarn_event *base)
{
    struct opencl_event *event = (struct opencl_event *)base;
    if (event->event != NULL)
        clReleaseEvent(event->event);
    event->event = NULL;
}

static void opencl_event_destroy(tarn_event *event)
{
    free(event);
}

static tarn_status opencl_event_wait(tarn_event *event, uint64_t timeout_us)
{
    return tarn_opencl_wait((struct opencl_device *)event->device,
                            ((struct opencl_event *)event)->event, timeout_us);
}

static tarn_status opencl_event_times(tarn_event *base, struct tarn_event_times *times)
{
    cl_event event = ((struct opencl_event *)base)->event;
    cl_ulong start = 0, end = 0;
    cl_int code =
        clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
    if (code == CL_SUCCESS)
        code = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    if (code == CL_PROFILING_INFO_NOT_AVAILABLE)
        return TARN_UNSUPPORTED;
    tarn_status status =
        tarn_opencl_check((struct opencl_device *)base->device, code, "clGetEventProfilingInfo");
    if (status == TARN_OK)
        *times = (struct tarn_event_times){.start_ns = start, .end_ns = end, .from_device = true};
    return status;
}

const struct tarn_backend tarn_backend_opencl = {
    .name = "opencl",
    .list = tarn_opencl_list,
    .open = tarn_opencl_open,
    .close = tarn_opencl_close,
    .queue_create = opencl_queue_create,
    .queue_destroy = opencl_queue_destroy,
    .queue_finish = opencl_queue_finish,
    .buffer_create = opencl_buffer_create,
    .buffer_destroy = opencl_buffer_destroy,
    .upload = opencl_upload,
    .download = opencl_download,
    .kernel_alloc = tarn_opencl_kernel_alloc,
    .kernel_build = tarn_opencl_kernel_build,
    .kernel_destroy = tarn_opencl_kernel_destroy,
    .submit = opencl_submit,
    .mark = opencl_mark,
    .event_create = opencl_event_create,
    .event_reset = opencl_event_reset,
    .event_destroy = opencl_event_destroy,
    .event_wait = opencl_event_wait,
    .event_times = opencl_event_times,
#if HAVE_CLBLAST
    .gemm = tarn_opencl_gemm,
#endif
};
