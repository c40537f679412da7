/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling kernels, and launching them from several threads at once. */
#include "opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

tarn_kernel *tarn_opencl_kernel_alloc(void)
{
    struct opencl_kernel *kernel = calloc(1, sizeof *kernel);
    return kernel != NULL ? &kernel->base : NULL;
}

static struct opencl_instance *instance_create(cl_program program, const char *name, cl_int *code)
{
    struct opencl_instance *instance = calloc(1, sizeof *instance);
    if (instance == NULL) {
        *code = CL_OUT_OF_HOST_MEMORY;
        return NULL;
    }
    instance->kernel = clCreateKernel(program, name, code);
    if (instance->kernel == NULL) {
        free(instance);
        return NULL;
    }
    return instance;
}

/* The driver's log, from the first line that speaks of an error: the rest is often pages of notes.
 */
static void build_log(cl_program program, cl_device_id id, char *text, size_t size)
{
    size_t length = 0;
    snprintf(text, size, "the driver gave no log");
    if (clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &length) != CL_SUCCESS ||
        length < 2)
        return;
    char *whole = calloc(1, length + 1);
    if (whole == NULL)
        return;
    if (clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, length, whole, NULL) ==
        CL_SUCCESS) {
        const char *from = strstr(whole, "error");
        while (from != NULL && from > whole && from[-1] != '\n')
            from--;
        if (from == NULL)
            from = whole + strspn(whole, " \t\r\n");
        if (from[0] != '\0')
            snprintf(text, size, "%s", from);
    }
    free(whole);
}

static void make_options(const struct tarn_kernel *kernel, char *options, size_t size)
{
    size_t used =
        (size_t)snprintf(options, size, "-cl-std=CL1.2 -cl-mad-enable -DTARN_LOCAL_SIZE=%u",
                         (unsigned)kernel->local_size);
    for (uint32_t i = 0; i < kernel->define_count && used < size; i++)
        used += (size_t)snprintf(options + used, size - used, " -D%s=%d",
                                 kernel->source->defines[i], (int)kernel->defines[i]);
    /* checked by the caller: a cut list would silently drop a define */
    if (used >= size)
        options[0] = '\0';
}

static tarn_status fail(struct opencl_kernel *kernel, const char *call, cl_int code,
                        struct tarn_error *error)
{
    struct opencl_device *device = (struct opencl_device *)kernel->base.device;
    tarn_fail(error, tarn_opencl_status(code), "kernel %s on %s: %s: %s", kernel->base.source->name,
              device->base.info.id, call, tarn_opencl_name(code));
    return tarn_opencl_check(device, code, call);
}

/* Makes the first instance of a built program and sees that it can run as its table says. */
static tarn_status inspect(struct opencl_kernel *kernel, struct tarn_error *error)
{
    const struct opencl_device *device = (struct opencl_device *)kernel->base.device;
    const struct tarn_kernel_source *source = kernel->base.source;
    cl_int code;
    kernel->spare = instance_create(kernel->program, source->name, &code);
    if (kernel->spare == NULL)
        return fail(kernel, "clCreateKernel", code, error);
    size_t most = 0;
    code = clGetKernelWorkGroupInfo(kernel->spare->kernel, device->id, CL_KERNEL_WORK_GROUP_SIZE,
                                    sizeof most, &most, NULL);
    if (code != CL_SUCCESS)
        return fail(kernel, "clGetKernelWorkGroupInfo", code, error);
    if (kernel->base.local_size > most)
        return tarn_fail(
            error, TARN_UNSUPPORTED, "kernel %s wants groups of %u, %s can run it with at most %zu",
            source->name, (unsigned)kernel->base.local_size, device->base.info.id, most);
    cl_uint arguments = 0, wanted = source->buffer_count + (source->constants_size > 0);
    code = clGetKernelInfo(kernel->spare->kernel, CL_KERNEL_NUM_ARGS, sizeof arguments, &arguments,
                           NULL);
    if (code != CL_SUCCESS)
        return fail(kernel, "clGetKernelInfo", code, error);
    if (arguments != wanted)
        return tarn_fail(error, TARN_COMPILE, "kernel %s takes %u arguments, its table says %u",
                         source->name, (unsigned)arguments, (unsigned)wanted);
    return TARN_OK;
}

static void forget_program(struct opencl_kernel *kernel)
{
    if (kernel->spare != NULL) {
        clReleaseKernel(kernel->spare->kernel);
        free(kernel->spare);
        kernel->spare = NULL;
    }
    if (kernel->program != NULL)
        clReleaseProgram(kernel->program);
    kernel->program = NULL;
}

/* From the binary of an earlier run. A driver that refuses it is no error: it is compiled anew. */
static tarn_status load(struct opencl_kernel *kernel, const struct tarn_program_key *key,
                        struct tarn_error *error)
{
    struct opencl_device *device = (struct opencl_device *)kernel->base.device;
    void *data;
    size_t size;
    if (!tarn_program_cache_get(device->base.programs, key, &data, &size))
        return TARN_NOT_FOUND;
    cl_int code, state = CL_SUCCESS;
    const unsigned char *binary = data;
    const char *call = "clCreateProgramWithBinary";
    kernel->program =
        clCreateProgramWithBinary(device->context, 1, &device->id, &size, &binary, &state, &code);
    if (kernel->program != NULL && code == CL_SUCCESS && state == CL_SUCCESS) {
        call = "clBuildProgram";
        code = clBuildProgram(kernel->program, 1, &device->id, key->options, NULL, NULL);
    } else if (code == CL_SUCCESS) {
        code = state != CL_SUCCESS ? state : CL_INVALID_BINARY;
    }
    free(data);
    tarn_status status = TARN_NOT_FOUND;
    if (code == CL_SUCCESS) {
        call = "the kernel in it";
        status = inspect(kernel, error);
    }
    if (status != TARN_OK) {
        tarn_log(TARN_LOG_INFO, "gpu: %s: the kept binary of %s is refused (%s: %s): compiling",
                 device->base.info.id, kernel->base.source->name, call, tarn_opencl_name(code));
        forget_program(kernel);
        tarn_program_cache_drop(device->base.programs, key);
    }
    return status;
}

static tarn_status compile(struct opencl_kernel *kernel, const char *text, const char *options,
                           struct tarn_error *error)
{
    struct opencl_device *device = (struct opencl_device *)kernel->base.device;
    const char *name = kernel->base.source->name;
    cl_int code;
    kernel->program = clCreateProgramWithSource(device->context, 1, &text, NULL, &code);
    if (kernel->program == NULL)
        return fail(kernel, "clCreateProgramWithSource", code, error);
    code = clBuildProgram(kernel->program, 1, &device->id, options, NULL, NULL);
    if (code == CL_BUILD_PROGRAM_FAILURE || code == CL_INVALID_BUILD_OPTIONS) {
        char log[240];
        uint32_t flags = tarn_quirks_flags(device->base.info.quirks);
        build_log(kernel->program, device->id, log, sizeof log);
        return tarn_fail(
            error, TARN_COMPILE, "kernel %s on %s: %s%s", name, device->base.info.id, log,
            flags & TARN_QUIRK_NEEDS_FOLDER ? " (can the driver write to its own cache folder?)"
                                            : "");
    }
    if (code != CL_SUCCESS)
        return fail(kernel, "clBuildProgram", code, error);
    return inspect(kernel, error);
}

/* Keeps the binary for the next start, if the driver gives it. */
static void store(struct opencl_kernel *kernel, const struct tarn_program_key *key)
{
    struct opencl_device *device = (struct opencl_device *)kernel->base.device;
    size_t size = 0;
    if (device->base.programs == NULL ||
        clGetProgramInfo(kernel->program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) !=
            CL_SUCCESS ||
        size == 0)
        return;
    unsigned char *binary = malloc(size);
    if (binary != NULL && clGetProgramInfo(kernel->program, CL_PROGRAM_BINARIES, sizeof binary,
                                           &binary, NULL) == CL_SUCCESS)
        tarn_program_cache_put(device->base.programs, key, binary, size);
    free(binary);
}

tarn_status tarn_opencl_kernel_build(tarn_kernel *base, struct tarn_error *error)
{
    struct opencl_kernel *kernel = (struct opencl_kernel *)base;
    struct opencl_device *device = (struct opencl_device *)base->device;
    const struct tarn_kernel_source *source = base->source;
    bool cpu_shape = device->base.info.type == TARN_DEVICE_CPU && source->opencl_cpu != NULL;
    const char *text = cpu_shape ? source->opencl_cpu : source->opencl_gpu;
    const char *id = device->base.info.id;
    if (text == NULL)
        return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s has no variant for %s", source->name,
                         id);
    base->local_size = cpu_shape ? source->cpu_local_size : source->gpu_local_size;
    base->group_elements = cpu_shape ? source->cpu_group_elements : source->gpu_group_elements;
    tarn_status status = cpu_shape ? tarn_kernel_check_features(&device->base, source, error)
                                   : tarn_kernel_check_shape(&device->base, source, error);
    if (status != TARN_OK)
        return status;
    if (base->local_size > device->base.info.limits.group_size)
        return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s wants groups of %u, %s has at most %u",
                         source->name, (unsigned)base->local_size, id,
                         (unsigned)device->base.info.limits.group_size);
    char options[1024];
    make_options(base, options, sizeof options);
    if (options[0] == '\0')
        return tarn_fail(error, TARN_INVALID, "kernel %s: its defines are too long", source->name);
    if (pthread_mutex_init(&kernel->lock, NULL) != 0)
        return tarn_fail(error, TARN_NO_MEMORY, "kernel %s: out of memory", source->name);
    kernel->has_lock = true;

    struct tarn_program_key key = {
        .backend = "opencl",
        .device = device->base.info.name,
        .driver = device->version,
        .source = text,
        .source_size = strlen(text),
        .options = options,
    };
    uint64_t started = tarn_clock_ns();
    bool keep = (tarn_quirks_flags(device->base.info.quirks) & TARN_QUIRK_NO_BINARIES) == 0;
    const char *how = "loaded";
    status = keep ? load(kernel, &key, error) : TARN_NOT_FOUND;
    if (status != TARN_OK) {
        how = "compiled";
        status = compile(kernel, text, options, error);
        if (status == TARN_OK && keep)
            store(kernel, &key);
    }
    if (status == TARN_OK)
        tarn_log(TARN_LOG_DEBUG, "gpu: %s: %s %s (%s shape) in %.1f ms", id, how, source->name,
                 cpu_shape ? "CPU" : "GPU", (double)(tarn_clock_ns() - started) * 1e-6);
    return status;
}

void tarn_opencl_kernel_destroy(tarn_kernel *base)
{
    struct opencl_kernel *kernel = (struct opencl_kernel *)base;
    while (kernel->spare != NULL) {
        struct opencl_instance *instance = kernel->spare;
        kernel->spare = instance->next;
        clReleaseKernel(instance->kernel);
        free(instance);
    }
    if (kernel->program != NULL)
        clReleaseProgram(kernel->program);
    if (kernel->has_lock)
        pthread_mutex_destroy(&kernel->lock);
    free(kernel);
}

static cl_int set_arguments(cl_kernel kernel, const struct tarn_launch *launch)
{
    const struct tarn_kernel_source *source = launch->kernel->source;
    cl_int code = CL_SUCCESS;
    for (cl_uint i = 0; i < source->buffer_count && code == CL_SUCCESS; i++) {
        const struct opencl_buffer *buffer = (const struct opencl_buffer *)launch->buffers[i];
        code = buffer->shared != NULL ? clSetKernelArgSVMPointer(kernel, i, buffer->shared)
                                      : clSetKernelArg(kernel, i, sizeof buffer->mem, &buffer->mem);
    }
    if (code == CL_SUCCESS && source->constants_size > 0)
        code =
            clSetKernelArg(kernel, source->buffer_count, source->constants_size, launch->constants);
    return code;
}

cl_int tarn_opencl_kernel_enqueue(struct opencl_queue *queue, const struct tarn_launch *launch,
                                  cl_event *event, const char **call)
{
    struct opencl_kernel *kernel = (struct opencl_kernel *)launch->kernel;
    cl_int code = CL_SUCCESS;
    pthread_mutex_lock(&kernel->lock);
    struct opencl_instance *instance = kernel->spare;
    if (instance != NULL)
        kernel->spare = instance->next;
    pthread_mutex_unlock(&kernel->lock);
    if (instance == NULL) {
        *call = "clCreateKernel";
        instance = instance_create(kernel->program, kernel->base.source->name, &code);
        if (instance == NULL)
            return code;
    }
    *call = "clSetKernelArg";
    code = set_arguments(instance->kernel, launch);
    if (code == CL_SUCCESS) {
        size_t local = kernel->base.local_size, global = local * launch->groups;
        *call = "clEnqueueNDRangeKernel";
        code = clEnqueueNDRangeKernel(queue->queue, instance->kernel, 1, NULL, &global, &local, 0,
                                      NULL, event);
        /* a driver may have written something there before it failed */
        if (code != CL_SUCCESS)
            *event = NULL;
    }
    /* the driver has copied the arguments: the instance is free, though the launch isn't done */
    pthread_mutex_lock(&kernel->lock);
    instance->next = kernel->spare;
    kernel->spare = instance;
    pthread_mutex_unlock(&kernel->lock);
    return code;
}
