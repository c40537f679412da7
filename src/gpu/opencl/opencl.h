/* SPDX-License-Identifier: Apache-2.0 */
/** @file What the files of the OpenCL backend share; nothing outside of this folder includes it. */
#ifndef TARN_GPU_OPENCL_H
#define TARN_GPU_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include "gpu/backend.h"
#include "gpu/hints.h"

/* What the driver lists, and which of its queues ours are; [0] of the high one, [1] of the low. */
struct opencl_hints {
    uint32_t listed; /* TARN_HINT_ bits */
    uint32_t slot[2], family[2], index[2];
};

struct opencl_device {
    struct tarn_device base;
    cl_device_id id;
    char version[600]; /* of platform and driver, whole: compiled programs depend on it */
    cl_context context;
    cl_command_queue service;  /* zero-fills of new buffers */
    bool version_2;            /* the entry points of OpenCL 2.0 are there */
    struct opencl_hints hints; /* those in force are in info.hints */
    atomic_bool hints_refused; /* logged already */
    struct opencl_waiters *waiters;
    atomic_uint exhausted; /* CL_OUT_OF_RESOURCES in a row */
};

struct opencl_queue {
    struct tarn_queue base;
    cl_command_queue queue;
    cl_event last; /* of the last command; NULL: unknown, or there was none */
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

/** Whole words only: cl_khr_priority_hints must not match a longer name. */
bool tarn_opencl_has_extension(cl_device_id id, const char *name);
/** Called by the driver, from any thread, with what it has to say about a context. */
void CL_CALLBACK tarn_opencl_driver_says(const char *message, const void *data, size_t size,
                                         void *user);

/** What the driver lists of the mechanisms in hints.h. */
void tarn_opencl_hints_find(cl_device_id id, bool version_2, struct opencl_hints *hints);
tarn_queue_priority_kind tarn_opencl_hints_kind(uint32_t hints);
/** The lowest and the highest of a bitfield's slots; false if there aren't two. */
bool tarn_opencl_choose_slots(uint32_t slots, uint32_t slot[2]);
/** Two queues, of one family if it has as many; false if there aren't two that do everything. */
bool tarn_opencl_choose_families(const cl_queue_family_properties_intel *families, size_t count,
                                 uint32_t family[2], uint32_t index[2]);
/** A context with the hints in info.hints; those that are refused are logged and taken out of it. */
cl_context tarn_opencl_create_context(struct opencl_device *device, cl_platform_id platform,
                                      cl_int *code);
/** Tries the queues' hints in info.hints once, and takes out what is refused: while opening. */
void tarn_opencl_hints_try(struct opencl_device *device);
/** With the hints in info.hints, or without if the driver has changed its mind. Any thread. */
cl_command_queue tarn_opencl_create_queue(struct opencl_device *device, tarn_priority priority,
                                          cl_int *code);

/** The threads that wait with a limit; NULL when out of memory. Its device's last call closes it. */
struct opencl_waiters *tarn_opencl_waiters_create(void);
void tarn_opencl_waiters_close(struct opencl_waiters *waiters);
/** TARN_TIMEOUT after `timeout_us`; TARN_FOREVER blocks in the driver. Any thread. */
tarn_status tarn_opencl_wait(struct opencl_device *device, cl_event event, uint64_t timeout_us);
/** Something was enqueued whose event isn't known. */
void tarn_opencl_forget_last(struct opencl_queue *queue);

tarn_status tarn_opencl_list(struct tarn_device_list *list);
tarn_status tarn_opencl_open(uint32_t index, tarn_device **device, struct tarn_error *error);
void tarn_opencl_close(tarn_device *device);

tarn_kernel *tarn_opencl_kernel_alloc(void);
tarn_status tarn_opencl_kernel_build(tarn_kernel *kernel, struct tarn_error *error);
void tarn_opencl_kernel_destroy(tarn_kernel *kernel);
/** Sets the arguments and enqueues. Any thread, one per queue. */
cl_int tarn_opencl_kernel_enqueue(struct opencl_queue *queue, const struct tarn_launch *launch,
                                  cl_event *event, const char **call);

#if HAVE_CLBLAST
tarn_status tarn_opencl_gemm(tarn_queue *queue, const struct tarn_gemm *gemm);
#endif

#endif
