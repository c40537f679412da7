/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that fails on demand, loaded by the OpenCL loader like a real one. The variable
 * TARN_FAKE_ICD, read at each call, says how: platforms, devices, mute, old, absurd, context,
 * buffers, exhausted, or nothing for a GPU that can be opened and given queues. TARN_FAKE_LISTS is
 * what it lists as extensions, TARN_FAKE_REFUSES the properties (in hex, with spaces) for which it
 * refuses a context or queue all the same. It records what it was asked for last.
 */
#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <CL/cl_icd.h>

#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

/* The loader finds the table through the first word of every object. */
struct object {
    cl_icd_dispatch *dispatch;
};

static cl_icd_dispatch table;
static struct object platform = {&table}, device = {&table}, context = {&table}, queue = {&table};

/* What the last context and queue were created with, for the test to read; how many were there. */
EXPORT extern cl_context_properties fake_icd_context[32];
EXPORT extern cl_queue_properties fake_icd_queue[32];
EXPORT extern int fake_icd_contexts, fake_icd_queues, fake_icd_live;
cl_context_properties fake_icd_context[32];
cl_queue_properties fake_icd_queue[32];
int fake_icd_contexts, fake_icd_queues, fake_icd_live;

static int mode_is(const char *mode)
{
    const char *value = getenv("TARN_FAKE_ICD");
    return value != NULL && strcmp(value, mode) == 0;
}

static int refuses(unsigned long property)
{
    const char *list = getenv("TARN_FAKE_REFUSES");
    for (char *end; list != NULL && *list != '\0'; list = end) {
        if (strtoul(list, &end, 16) == property)
            return 1;
        if (end == list)
            break;
    }
    return 0;
}

static cl_int give(const void *data, size_t length, size_t size, void *value, size_t *size_ret)
{
    if (size_ret != NULL)
        *size_ret = length;
    if (value != NULL) {
        if (size < length)
            return CL_INVALID_VALUE;
        memcpy(value, data, length);
    }
    return CL_SUCCESS;
}

static cl_int give_text(const char *text, size_t size, void *value, size_t *size_ret)
{
    return give(text, strlen(text) + 1, size, value, size_ret);
}

static cl_int CL_API_CALL platform_info(cl_platform_id id, cl_platform_info what, size_t size,
                                        void *value, size_t *size_ret)
{
    (void)id;
    switch (what) {
    case CL_PLATFORM_NAME:
    case CL_PLATFORM_VENDOR:
        return give_text("Fake", size, value, size_ret);
    case CL_PLATFORM_VERSION:
        return give_text("OpenCL 3.0 fake", size, value, size_ret);
    case CL_PLATFORM_PROFILE:
        return give_text("FULL_PROFILE", size, value, size_ret);
    case CL_PLATFORM_EXTENSIONS:
        return give_text("cl_khr_icd", size, value, size_ret);
    case CL_PLATFORM_ICD_SUFFIX_KHR:
        return give_text("FAKE", size, value, size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_int CL_API_CALL device_ids(cl_platform_id id, cl_device_type type, cl_uint room,
                                     cl_device_id *devices, cl_uint *count)
{
    (void)id;
    (void)type;
    if (mode_is("devices"))
        return CL_OUT_OF_RESOURCES;
    cl_uint have = mode_is("absurd") ? 100000 : 1;
    for (cl_uint i = 0; devices != NULL && i < have && i < room; i++)
        devices[i] = (cl_device_id)&device;
    if (count != NULL)
        *count = have;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL device_info(cl_device_id id, cl_device_info what, size_t size,
                                      void *value, size_t *size_ret)
{
    (void)id;
    if (mode_is("mute"))
        return CL_INVALID_DEVICE;
    const cl_bool yes = CL_TRUE;
    const cl_uint units = 2;
    const cl_ulong bytes = 1 << 20;
    const size_t group = 256;
    const cl_device_type type = CL_DEVICE_TYPE_GPU | CL_DEVICE_TYPE_DEFAULT;
    const cl_device_svm_capabilities none = 0;
    const cl_ulong controls = CL_DEVICE_SCHEDULING_KERNEL_BATCHING_ARM |
                              CL_DEVICE_SCHEDULING_DEFERRED_FLUSH_ARM |
                              CL_DEVICE_SCHEDULING_WARP_THROTTLING_ARM;
    const cl_uint slots = 1 << 1 | 1 << 2;
    static const cl_queue_family_properties_intel families[] = {
        {.capabilities = CL_QUEUE_CAPABILITY_TRANSFER_BUFFER_INTEL, .count = 4, .name = "bcs"},
        {.capabilities = CL_QUEUE_DEFAULT_CAPABILITIES_INTEL, .count = 1, .name = "rcs"},
        {.capabilities = CL_QUEUE_DEFAULT_CAPABILITIES_INTEL, .count = 4, .name = "ccs"},
    };
    switch (what) {
    case CL_DEVICE_AVAILABLE:
    case CL_DEVICE_COMPILER_AVAILABLE:
    case CL_DEVICE_ENDIAN_LITTLE:
        return give(&yes, sizeof yes, size, value, size_ret);
    case CL_DEVICE_TYPE:
        return give(&type, sizeof type, size, value, size_ret);
    case CL_DEVICE_VERSION:
        return give_text(mode_is("old") ? "OpenCL 1.1 fake" : "OpenCL 3.0 fake", size, value,
                         size_ret);
    case CL_DEVICE_NAME:
        return give_text("Fake GPU", size, value, size_ret);
    case CL_DRIVER_VERSION:
        return give_text("0.1", size, value, size_ret);
    case CL_DEVICE_EXTENSIONS:
        return give_text(getenv("TARN_FAKE_LISTS") != NULL
                             ? getenv("TARN_FAKE_LISTS")
                             : "cl_khr_priority_hints_of_mine cl_khr_throttle_hints "
                               "cl_khr_priority_hints",
                         size, value, size_ret);
    case CL_DEVICE_SCHEDULING_CONTROLS_CAPABILITIES_ARM:
        return give(&controls, sizeof controls, size, value, size_ret);
    case CL_DEVICE_JOB_SLOTS_ARM:
        return give(&slots, sizeof slots, size, value, size_ret);
    case CL_DEVICE_QUEUE_FAMILY_PROPERTIES_INTEL:
        return give(families, sizeof families, size, value, size_ret);
    case CL_DEVICE_GLOBAL_MEM_SIZE:
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
    case CL_DEVICE_LOCAL_MEM_SIZE:
        return give(&bytes, sizeof bytes, size, value, size_ret);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE:
        return give(&group, sizeof group, size, value, size_ret);
    case CL_DEVICE_MAX_COMPUTE_UNITS:
        return give(&units, sizeof units, size, value, size_ret);
    case CL_DEVICE_SVM_CAPABILITIES:
        return give(&none, sizeof none, size, value, size_ret);
    default:
        return CL_INVALID_VALUE;
    }
}

static cl_context CL_API_CALL create_context(
    const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *code)
{
    (void)count;
    (void)devices;
    (void)notify;
    (void)user;
    fake_icd_contexts++;
    memset(fake_icd_context, 0, sizeof fake_icd_context);
    *code = mode_is("context") ? CL_OUT_OF_HOST_MEMORY : CL_SUCCESS;
    for (int i = 0; properties[i] != 0; i += 2) {
        memcpy(&fake_icd_context[i], &properties[i], 2 * sizeof properties[i]);
        if (refuses((unsigned long)properties[i]))
            *code = CL_INVALID_PROPERTY;
    }
    return *code == CL_SUCCESS ? (cl_context)&context : NULL;
}

static cl_command_queue CL_API_CALL create_queue(cl_context in, cl_device_id id,
                                                 cl_command_queue_properties properties,
                                                 cl_int *code)
{
    (void)in;
    (void)id;
    (void)properties;
    *code = CL_SUCCESS;
    fake_icd_live++;
    return (cl_command_queue)&queue;
}

static cl_command_queue CL_API_CALL create_queue_with(cl_context in, cl_device_id id,
                                                      const cl_queue_properties *properties,
                                                      cl_int *code)
{
    (void)in;
    (void)id;
    fake_icd_queues++;
    memset(fake_icd_queue, 0, sizeof fake_icd_queue);
    *code = CL_SUCCESS;
    for (int i = 0; properties[i] != 0; i += 2) {
        memcpy(&fake_icd_queue[i], &properties[i], 2 * sizeof properties[i]);
        if (refuses((unsigned long)properties[i]))
            *code = CL_INVALID_QUEUE_PROPERTIES;
    }
    if (*code != CL_SUCCESS)
        return NULL;
    fake_icd_live++;
    return (cl_command_queue)&queue;
}

static cl_mem CL_API_CALL create_buffer(cl_context in, cl_mem_flags flags, size_t size, void *host,
                                        cl_int *code)
{
    (void)in;
    (void)flags;
    (void)size;
    (void)host;
    *code = mode_is("buffers")     ? CL_INVALID_CONTEXT
            : mode_is("exhausted") ? CL_OUT_OF_RESOURCES
                                   : CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

static cl_int CL_API_CALL finish(cl_command_queue of)
{
    (void)of;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_queue(cl_command_queue of)
{
    (void)of;
    fake_icd_live--;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL release_context(cl_context of)
{
    (void)of;
    return CL_SUCCESS;
}

static cl_int CL_API_CALL platform_ids(cl_uint room, cl_platform_id *platforms, cl_uint *count)
{
    table.clGetPlatformIDs = platform_ids;
    table.clGetPlatformInfo = platform_info;
    table.clGetDeviceIDs = device_ids;
    table.clGetDeviceInfo = device_info;
    table.clCreateContext = create_context;
    table.clReleaseContext = release_context;
    table.clCreateCommandQueue = create_queue;
    table.clCreateCommandQueueWithProperties = create_queue_with;
    table.clReleaseCommandQueue = release_queue;
    table.clCreateBuffer = create_buffer;
    table.clFinish = finish;
    if (mode_is("platforms"))
        return CL_OUT_OF_HOST_MEMORY;
    if (platforms != NULL && room > 0)
        platforms[0] = (cl_platform_id)&platform;
    if (count != NULL)
        *count = 1;
    return CL_SUCCESS;
}

EXPORT CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddress(const char *name);
EXPORT CL_API_ENTRY cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint room,
                                                              cl_platform_id *platforms,
                                                              cl_uint *count);

cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint room, cl_platform_id *platforms, cl_uint *count)
{
    return platform_ids(room, platforms, count);
}

void *CL_API_CALL clGetExtensionFunctionAddress(const char *name)
{
    if (strcmp(name, "clIcdGetPlatformIDsKHR") == 0)
        return (void *)(size_t)platform_ids;
    if (strcmp(name, "clGetPlatformInfo") == 0)
        return (void *)(size_t)platform_info;
    return NULL;
}
