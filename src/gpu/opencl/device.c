/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, describing, opening and closing OpenCL devices. */
#include "opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"

#define MAX_DEVICES 64 /* of all platforms together; more are ignored with a message */

struct found_device {
    cl_platform_id platform;
    cl_device_id id;
    cl_device_type type;
};

struct found_devices {
    struct found_device devices[MAX_DEVICES];
    uint32_t count;
};

/* A text property, "" if it can't be had; the driver's text may be longer than ours. */
static void platform_text(cl_platform_id platform, cl_platform_info what, char *text, size_t size)
{
    char whole[512];
    text[0] = '\0';
    if (clGetPlatformInfo(platform, what, sizeof whole - 1, whole, NULL) != CL_SUCCESS)
        return;
    whole[sizeof whole - 1] = '\0';
    snprintf(text, size, "%.*s", (int)size - 1, whole);
}

static void device_text(cl_device_id id, cl_device_info what, char *text, size_t size)
{
    char whole[512] = "";
    text[0] = '\0';
    if (clGetDeviceInfo(id, what, sizeof whole - 1, whole, NULL) != CL_SUCCESS)
        return;
    whole[sizeof whole - 1] = '\0';
    snprintf(text, size, "%.*s", (int)size - 1, whole);
}

static uint64_t device_u64(cl_device_id id, cl_device_info what)
{
    cl_ulong value = 0;
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static uint32_t device_u32(cl_device_id id, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

static size_t device_size(cl_device_id id, cl_device_info what)
{
    size_t value = 0;
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : 0;
}

/* "OpenCL 1.2 whatever" is 102; 0 if it isn't that. */
static int version_of(const char *text)
{
    int major, minor;
    return sscanf(text, "OpenCL %d.%d", &major, &minor) == 2 ? major * 100 + minor : 0;
}

static int device_version(cl_device_id id)
{
    char text[128];
    device_text(id, CL_DEVICE_VERSION, text, sizeof text);
    return version_of(text);
}

static int platform_version(cl_platform_id platform)
{
    char text[128];
    platform_text(platform, CL_PLATFORM_VERSION, text, sizeof text);
    return version_of(text);
}

bool tarn_opencl_has_extension(cl_device_id id, const char *name)
{
    size_t size = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &size) != CL_SUCCESS || size == 0)
        return false;
    char *list = calloc(1, size + 1);
    if (list == NULL)
        return false;
    bool found = false;
    if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, size, list, NULL) == CL_SUCCESS) {
        size_t length = strlen(name);
        for (const char *at = list; !found && (at = strstr(at, name)) != NULL; at += length)
            found = (at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0');
    }
    free(list);
    return found;
}

/* Why a device can't be used, or NULL. */
static const char *fault_of(cl_device_id id)
{
    cl_bool yes = CL_FALSE;
    if (clGetDeviceInfo(id, CL_DEVICE_AVAILABLE, sizeof yes, &yes, NULL) != CL_SUCCESS || !yes)
        return "the driver says that it isn't available";
    yes = CL_FALSE;
    if (clGetDeviceInfo(id, CL_DEVICE_COMPILER_AVAILABLE, sizeof yes, &yes, NULL) != CL_SUCCESS ||
        !yes)
        return "it has no compiler";
    yes = CL_FALSE;
    if (clGetDeviceInfo(id, CL_DEVICE_ENDIAN_LITTLE, sizeof yes, &yes, NULL) != CL_SUCCESS || !yes)
        return "it is big-endian";
    if (device_version(id) < 102)
        return "it is older than OpenCL 1.2";
    return NULL;
}

static void find_on_platform(cl_platform_id platform, struct found_devices *found)
{
    char name[128];
    platform_text(platform, CL_PLATFORM_NAME, name, sizeof name);
    cl_device_id ids[MAX_DEVICES];
    cl_uint count = 0;
    cl_int code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &count);
    if (code != CL_SUCCESS) {
        if (code != CL_DEVICE_NOT_FOUND)
            tarn_log(TARN_LOG_WARNING, "gpu: OpenCL platform \"%s\" is skipped: %s", name,
                     tarn_opencl_name(code));
        return;
    }
    for (cl_uint i = 0; i < count && i < MAX_DEVICES; i++) {
        cl_device_type type = 0;
        const char *fault = fault_of(ids[i]);
        if (fault == NULL &&
            clGetDeviceInfo(ids[i], CL_DEVICE_TYPE, sizeof type, &type, NULL) != CL_SUCCESS)
            fault = "the driver doesn't tell its type";
        if (fault == NULL && found->count == MAX_DEVICES)
            fault = "there are too many";
        if (fault != NULL) {
            tarn_log(TARN_LOG_WARNING, "gpu: a device of OpenCL platform \"%s\" is skipped: %s",
                     name, fault);
            continue;
        }
        found->devices[found->count++] =
            (struct found_device){.platform = platform, .id = ids[i], .type = type};
    }
}

static bool is_cpu(cl_device_type type)
{
    return (type & CL_DEVICE_TYPE_CPU) != 0;
}

/* All usable devices, those that are no CPU first, otherwise in the loader's order. */
static tarn_status find_devices(struct found_devices *found)
{
    struct found_devices all = {.count = 0};
    cl_platform_id platforms[16];
    cl_uint count = 0;
    found->count = 0;
    cl_int code = clGetPlatformIDs(16, platforms, &count);
    if (tarn_opencl_status(code) == TARN_NO_DEVICE)
        return TARN_OK;
    if (code != CL_SUCCESS) {
        tarn_log(TARN_LOG_WARNING, "gpu: no OpenCL platforms: %s", tarn_opencl_name(code));
        return tarn_opencl_status(code);
    }
    for (cl_uint i = 0; i < count && i < 16; i++)
        find_on_platform(platforms[i], &all);
    for (int cpu = 0; cpu < 2; cpu++)
        for (uint32_t i = 0; i < all.count; i++)
            if (is_cpu(all.devices[i].type) == (cpu == 1))
                found->devices[found->count++] = all.devices[i];
    return TARN_OK;
}

/* The entry points of 2.0 exist only if the platform's driver has them too. */
static bool has_version_2(const struct found_device *found)
{
    return device_version(found->id) >= 200 && platform_version(found->platform) >= 200;
}

/*
 * Fine-grained shared virtual memory is what a persistent host pointer needs: anything coarser
 * would need a map and an unmap around each use, which costs more than a small copy.
 */
static bool has_shared_memory(const struct found_device *found, uint32_t quirks)
{
    cl_device_svm_capabilities capabilities = 0;
    if (tarn_quirks_flags(quirks) & TARN_QUIRK_NO_SHARED_MEMORY)
        return false;
    if (strcmp(tarn_option_get(TARN_OPTION_UNIFIED), "off") == 0 || !has_version_2(found) ||
        clGetDeviceInfo(found->id, CL_DEVICE_SVM_CAPABILITIES, sizeof capabilities, &capabilities,
                        NULL) != CL_SUCCESS)
        return false;
    return (capabilities & CL_DEVICE_SVM_FINE_GRAIN_BUFFER) != 0;
}

static uint32_t quirks_of(const struct found_device *found)
{
    char suffix[32], version[256];
    cl_bool unified = CL_FALSE;
    platform_text(found->platform, CL_PLATFORM_ICD_SUFFIX_KHR, suffix, sizeof suffix);
    device_text(found->id, CL_DRIVER_VERSION, version, sizeof version);
    if (clGetDeviceInfo(found->id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof unified, &unified, NULL) !=
        CL_SUCCESS)
        unified = CL_FALSE;
    tarn_driver driver = tarn_driver_by_icd(suffix);
    return tarn_quirks_find(&(struct tarn_device_identity){
        .api = TARN_API_OPENCL,
        .driver = driver,
        .vendor = device_u32(found->id, CL_DEVICE_VENDOR_ID),
        .version = tarn_driver_version(driver, version),
        .integrated = unified == CL_TRUE,
    });
}

/*
 * Bytes are part of OpenCL C. Subgroups by Khronos's extension need a later OpenCL C than the 1.2
 * that kernels are compiled as; Intel's, which has the shuffles and votes too, doesn't.
 */
static uint32_t features_of(cl_device_id id)
{
    uint32_t features = TARN_FEATURE_INT8;
    if (tarn_opencl_has_extension(id, "cl_khr_fp16"))
        features |= TARN_FEATURE_FP16;
    if (tarn_opencl_has_extension(id, "cl_khr_int64_base_atomics") &&
        tarn_opencl_has_extension(id, "cl_khr_int64_extended_atomics"))
        features |= TARN_FEATURE_INT64_ATOMICS;
    if (tarn_opencl_has_extension(id, "cl_intel_subgroups"))
        features |= TARN_FEATURE_SUBGROUPS;
    return features;
}

static void describe(const struct found_device *found, uint32_t index,
                     struct tarn_device_info *info)
{
    char version[80], driver[40];
    snprintf(info->id, sizeof info->id, "opencl:%u", (unsigned)index);
    snprintf(info->backend, sizeof info->backend, "opencl");
    device_text(found->id, CL_DEVICE_NAME, info->name, sizeof info->name);
    platform_text(found->platform, CL_PLATFORM_NAME, version, sizeof version);
    device_text(found->id, CL_DRIVER_VERSION, driver, sizeof driver);
    snprintf(info->driver, sizeof info->driver, "%s %s", version, driver);
    info->type = is_cpu(found->type) ? TARN_DEVICE_CPU : TARN_DEVICE_GPU;
    info->quirks = quirks_of(found);
    info->watchdog_ms = tarn_quirks_watchdog_ms(info->quirks);
    info->unified_memory = has_shared_memory(found, info->quirks);
    struct opencl_hints hints;
    tarn_opencl_hints_find(found->id, has_version_2(found), &hints);
    info->hints = hints.listed;
    info->queue_priority = tarn_opencl_hints_kind(hints.listed);
    info->limits.memory = device_u64(found->id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->limits.buffer = device_u64(found->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    uint64_t local = device_u64(found->id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->limits.local_memory = local < UINT32_MAX ? (uint32_t)local : UINT32_MAX;
    size_t group = device_size(found->id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info->limits.group_size = group < UINT32_MAX ? (uint32_t)group : UINT32_MAX;
    info->limits.features = features_of(found->id);
    uint32_t units = device_u32(found->id, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->limits.compute_units = units > 0 ? units : 1;
}

tarn_status tarn_opencl_list(struct tarn_device_list *list)
{
    struct found_devices found;
    tarn_status status = find_devices(&found);
    for (uint32_t i = 0; status == TARN_OK && i < found.count; i++) {
        struct tarn_device_info *info = tarn_device_list_add(list);
        if (info == NULL)
            return TARN_NO_MEMORY;
        describe(&found.devices[i], i, info);
    }
    return status;
}

void CL_CALLBACK tarn_opencl_driver_says(const char *message, const void *data, size_t size,
                                         void *user)
{
    (void)data;
    (void)size;
    (void)user;
    tarn_log(TARN_LOG_WARNING, "gpu: the OpenCL driver says: %s", message);
}

tarn_status tarn_opencl_open(uint32_t index, tarn_device **device, struct tarn_error *error)
{
    struct found_devices found;
    tarn_status status = find_devices(&found);
    if (status != TARN_OK)
        return tarn_fail(error, status, "OpenCL: the driver loader failed: %s",
                         tarn_status_message(status));
    if (found.count == 0)
        return tarn_fail(error, TARN_NO_DEVICE, "opencl:%u: no OpenCL driver has a usable device",
                         (unsigned)index);
    if (index >= found.count)
        return tarn_fail(error, TARN_NO_DEVICE, "opencl:%u: the last one is opencl:%u",
                         (unsigned)index, (unsigned)found.count - 1);
    const struct found_device *chosen = &found.devices[index];
    struct opencl_device *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "opencl:%u: out of memory", (unsigned)index);
    opened->waiters = tarn_opencl_waiters_create();
    if (opened->waiters == NULL) {
        free(opened);
        return tarn_fail(error, TARN_NO_MEMORY, "opencl:%u: out of memory", (unsigned)index);
    }
    describe(chosen, index, &opened->base.info);
    opened->id = chosen->id;
    char platform_version_text[300], driver_version[300];
    platform_text(chosen->platform, CL_PLATFORM_VERSION, platform_version_text,
                  sizeof platform_version_text);
    device_text(chosen->id, CL_DRIVER_VERSION, driver_version, sizeof driver_version);
    snprintf(opened->version, sizeof opened->version, "%s|%s", platform_version_text,
             driver_version);
    opened->version_2 = has_version_2(chosen);
    tarn_opencl_hints_find(chosen->id, opened->version_2, &opened->hints);
    atomic_init(&opened->hints_refused, false);
    atomic_init(&opened->exhausted, 0);
    cl_int code;
    const char *call = "clCreateContext";
    opened->context = tarn_opencl_create_context(opened, chosen->platform, &code);
    if (opened->context != NULL) {
        call = "clCreateCommandQueue";
        opened->service = clCreateCommandQueue(opened->context, opened->id, 0, &code);
    }
    if (opened->service == NULL) {
        status = tarn_opencl_status(code);
        /* what is lost before it was ever opened is not there */
        if (status == TARN_DEVICE_LOST || status == TARN_OK)
            status = TARN_NO_DEVICE;
        tarn_fail(error, status, "opencl:%u: %s: %s", (unsigned)index, call,
                  tarn_opencl_name(code));
        tarn_opencl_close(&opened->base);
        return status;
    }
    tarn_opencl_hints_try(opened);
    *device = &opened->base;
    return TARN_OK;
}

void tarn_opencl_close(tarn_device *device)
{
    struct opencl_device *closed = (struct opencl_device *)device;
    if (closed->service != NULL)
        clReleaseCommandQueue(closed->service);
    if (closed->context != NULL)
        clReleaseContext(closed->context);
    tarn_opencl_waiters_close(closed->waiters);
    free(closed);
}
