/* SPDX-License-Identifier: Apache-2.0 */
/** @file What the files of the OpenCL backend share; nothing outside of this folder includes it. */
#ifndef TARN_GPU_OPENCL_H
#define TARN_GPU_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include "gpu/backend.h"

struct opencl_device {
    struct tarn_device base;
    cl_device_id id;
    char version[600]; /* of platform and driver, whole: compiled programs depend on it */
    cl_context context;
    cl_command_queue service; /* zero-fills of new buffers */
    bool version_2;           /* the entry points of OpenCL 2.0 are there */
    bool priority_hints, throttle_hints;
    atomic_uint exhausted; /* CL_OUT_OF_RESOURCES in a row */
};

struct opencl_queue {
    struct tarn_queue base;
    cl_command_queue queue;
};

/* Shared memory, or a buffer of the driver's with a shadow of it on the host. */
struct opencl_buffer {
    struct tarn_buffer base;
    cl_mem mem;   /* if `shared` NULL, until CLBlast asks for one */
    void *shared; /* fine-grained shared virtual memory, or NULL */
    void *shadow; /* what calloc gave, or NULL */
};

/*
 * A cl_kernel holds its arguments, so two threads can't launch one: each launch borrows an
 * instance, and there are as many as were ever launched at the same moment.
 */
struct opencl_instance {
    struct opencl_instance *next;
    cl_kernel kernel;
};

struct opencl_kernel {
    struct tarn_kernel base;
    cl_program program;
    pthread_mutex_t lock; /* guards `spare` */
    bool has_lock;
    struct opencl_instance *spare;
};

struct opencl_event {
    struct tarn_event base;
    cl_event event;
};

/** The status for an OpenCL code, and the code's name ("CL_OUT_OF_RESOURCES", or "code -42"). */
tarn_status tarn_opencl_status(cl_int code);
const char *tarn_opencl_name(cl_int code);

/**
 * The status of a call on an opened device; logs a failure. Counts CL_OUT_OF_RESOURCES: one is a
 * shortage of memory, several in a row are a dead context.
 */
tarn_status tarn_opencl_check(struct opencl_device *device, cl_int code, const char *call);

tarn_status tarn_opencl_list(struct tarn_device_list *list);
tarn_status tarn_opencl_open(uint32_t index, tarn_device **device, struct tarn_error *error);
void tarn_opencl_close(tarn_device *device);

tarn_kernel *tarn_opencl_kernel_alloc(void);
tarn_status tarn_opencl_kernel_build(tarn_kernel *kernel, struct tarn_error *error);
void tarn_opencl_kernel_destroy(tarn_kernel *kernel);
/** Sets the arguments and enqueues; `event` may be NULL. Any thread, one per queue. */
cl_int tarn_opencl_kernel_enqueue(struct opencl_queue *queue, const struct tarn_launch *launch,
                                  cl_event *event, const char **call);

#if HAVE_CLBLAST
tarn_status tarn_opencl_gemm(tarn_queue *queue, const struct tarn_gemm *gemm);
#endif

#endif
