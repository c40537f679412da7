/* SPDX-License-Identifier: Apache-2.0 */
/* The one table from OpenCL's codes to statuses. */
#include "opencl.h"

#include <stdio.h>

#include "base/log.h"

/* So many CL_OUT_OF_RESOURCES without a success between them mean that the context is dead. */
#define EXHAUSTED_LIMIT 4

static const struct {
    cl_int code;
    tarn_status status;
    const char *name;
} table[] = {
    {CL_SUCCESS, TARN_OK, "CL_SUCCESS"},
    {CL_DEVICE_NOT_FOUND, TARN_NO_DEVICE, "CL_DEVICE_NOT_FOUND"},
    {CL_DEVICE_NOT_AVAILABLE, TARN_DEVICE_LOST, "CL_DEVICE_NOT_AVAILABLE"},
    {CL_COMPILER_NOT_AVAILABLE, TARN_UNSUPPORTED, "CL_COMPILER_NOT_AVAILABLE"},
    {CL_MEM_OBJECT_ALLOCATION_FAILURE, TARN_DEVICE_MEMORY, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
    {CL_OUT_OF_RESOURCES, TARN_DEVICE_MEMORY, "CL_OUT_OF_RESOURCES"},
    {CL_OUT_OF_HOST_MEMORY, TARN_NO_MEMORY, "CL_OUT_OF_HOST_MEMORY"},
    {CL_PROFILING_INFO_NOT_AVAILABLE, TARN_UNSUPPORTED, "CL_PROFILING_INFO_NOT_AVAILABLE"},
    {CL_BUILD_PROGRAM_FAILURE, TARN_COMPILE, "CL_BUILD_PROGRAM_FAILURE"},
    {CL_COMPILE_PROGRAM_FAILURE, TARN_COMPILE, "CL_COMPILE_PROGRAM_FAILURE"},
    {CL_LINK_PROGRAM_FAILURE, TARN_COMPILE, "CL_LINK_PROGRAM_FAILURE"},
    {CL_LINKER_NOT_AVAILABLE, TARN_UNSUPPORTED, "CL_LINKER_NOT_AVAILABLE"},
    {CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, TARN_DRIVER,
     "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
    {CL_INVALID_VALUE, TARN_DRIVER, "CL_INVALID_VALUE"},
    {CL_INVALID_PLATFORM, TARN_NO_DEVICE, "CL_INVALID_PLATFORM"},
    {CL_INVALID_DEVICE, TARN_NO_DEVICE, "CL_INVALID_DEVICE"},
    {CL_INVALID_CONTEXT, TARN_DEVICE_LOST, "CL_INVALID_CONTEXT"},
    {CL_INVALID_QUEUE_PROPERTIES, TARN_UNSUPPORTED, "CL_INVALID_QUEUE_PROPERTIES"},
    {CL_INVALID_COMMAND_QUEUE, TARN_DEVICE_LOST, "CL_INVALID_COMMAND_QUEUE"},
    {CL_INVALID_BUILD_OPTIONS, TARN_COMPILE, "CL_INVALID_BUILD_OPTIONS"},
    {CL_INVALID_PROGRAM_EXECUTABLE, TARN_COMPILE, "CL_INVALID_PROGRAM_EXECUTABLE"},
    {CL_INVALID_KERNEL_NAME, TARN_COMPILE, "CL_INVALID_KERNEL_NAME"},
    {CL_INVALID_ARG_INDEX, TARN_COMPILE, "CL_INVALID_ARG_INDEX"},
    {CL_INVALID_ARG_VALUE, TARN_COMPILE, "CL_INVALID_ARG_VALUE"},
    {CL_INVALID_ARG_SIZE, TARN_COMPILE, "CL_INVALID_ARG_SIZE"},
    {CL_INVALID_KERNEL_ARGS, TARN_COMPILE, "CL_INVALID_KERNEL_ARGS"},
    {CL_INVALID_WORK_GROUP_SIZE, TARN_UNSUPPORTED, "CL_INVALID_WORK_GROUP_SIZE"},
    {CL_INVALID_WORK_ITEM_SIZE, TARN_UNSUPPORTED, "CL_INVALID_WORK_ITEM_SIZE"},
    {CL_INVALID_GLOBAL_WORK_SIZE, TARN_UNSUPPORTED, "CL_INVALID_GLOBAL_WORK_SIZE"},
    {CL_INVALID_BUFFER_SIZE, TARN_TOO_LARGE, "CL_INVALID_BUFFER_SIZE"},
    {CL_PLATFORM_NOT_FOUND_KHR, TARN_NO_DEVICE, "CL_PLATFORM_NOT_FOUND_KHR"},
    /* NVIDIA's driver after a kernel's illegal access: nothing works any more */
    {-9999, TARN_DEVICE_LOST, "NVIDIA's -9999 (illegal access)"},
};

static size_t find(cl_int code)
{
    size_t i = 0;
    while (i < sizeof table / sizeof table[0] && table[i].code != code)
        i++;
    return i;
}

tarn_status tarn_opencl_status(cl_int code)
{
    size_t i = find(code);
    return i < sizeof table / sizeof table[0] ? table[i].status : TARN_DRIVER;
}

const char *tarn_opencl_name(cl_int code)
{
    static _Thread_local char text[24];
    size_t i = find(code);
    if (i < sizeof table / sizeof table[0])
        return table[i].name;
    snprintf(text, sizeof text, "code %d", (int)code);
    return text;
}

tarn_status tarn_opencl_check(struct opencl_device *device, cl_int code, const char *call)
{
    if (code == CL_SUCCESS) {
        /* a plain store only where it changes something: this runs once a launch */
        if (atomic_load_explicit(&device->exhausted, memory_order_relaxed) > 0)
            atomic_store(&device->exhausted, 0);
        return TARN_OK;
    }
    tarn_status status = tarn_opencl_status(code);
    if (code == CL_OUT_OF_RESOURCES &&
        atomic_fetch_add(&device->exhausted, 1) + 1 >= EXHAUSTED_LIMIT)
        status = TARN_DEVICE_LOST;
    tarn_log(TARN_LOG_ERROR, "gpu: %s: %s: %s", device->base.info.id, call, tarn_opencl_name(code));
    return status;
}
