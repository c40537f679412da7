/* SPDX-License-Identifier: Apache-2.0 */
/* Finding and describing Vulkan devices. */
#include "vulkan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"

#define MAX_FAMILIES 16
#define ALIGNMENT    64

static uint32_t version_of_loader(void)
{
    uint32_t version = VK_API_VERSION_1_0;
    return vkEnumerateInstanceVersion(&version) == VK_SUCCESS ? version : VK_API_VERSION_1_0;
}

/* 1.1 is what we need; 1.2 has timeline semaphores without an extension. */
tarn_status tarn_vulkan_instance(VkInstance *instance)
{
    uint32_t version = version_of_loader();
    *instance = VK_NULL_HANDLE;
    if (version < VK_API_VERSION_1_1) {
        tarn_log(TARN_LOG_WARNING, "gpu: the Vulkan loader is older than 1.1");
        return TARN_NO_DEVICE;
    }
    const VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "tarn",
        .pEngineName = "tarn",
        .apiVersion = version < VK_API_VERSION_1_2 ? VK_API_VERSION_1_1 : VK_API_VERSION_1_2,
    };
    VkResult result = vkCreateInstance(
        &(VkInstanceCreateInfo){
            .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
            .pApplicationInfo = &application,
        },
        NULL, instance);
    if (result == VK_SUCCESS)
        return TARN_OK;
    *instance = VK_NULL_HANDLE;
    tarn_status status = tarn_vulkan_status(result);
    if (status != TARN_NO_DEVICE)
        tarn_log(TARN_LOG_WARNING, "gpu: vkCreateInstance: %s", tarn_vulkan_name(result));
    return status;
}

/* ---- what a device has ---- */

struct extensions {
    VkExtensionProperties *list;
    uint32_t count;
};

static tarn_status get_extensions(VkPhysicalDevice physical, struct extensions *extensions)
{
    *extensions = (struct extensions){0};
    uint32_t count = 0;
    if (vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL) != VK_SUCCESS ||
        count == 0)
        return TARN_OK;
    extensions->list = calloc(count, sizeof *extensions->list);
    if (extensions->list == NULL)
        return TARN_NO_MEMORY;
    if (vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions->list) >= 0)
        extensions->count = count;
    return TARN_OK;
}

/* `name` itself, so that it can be handed to vkCreateDevice, or NULL. */
static const char *listed(const struct extensions *extensions, const char *name)
{
    for (uint32_t i = 0; i < extensions->count; i++)
        if (strcmp(extensions->list[i].extensionName, name) == 0)
            return name;
    return NULL;
}

/* By the device and by the loader: what became core with it needs no extension. */
static bool is_version_1_2(const struct vulkan_found *found)
{
    return found->properties.apiVersion >= VK_API_VERSION_1_2 &&
           version_of_loader() >= VK_API_VERSION_1_2;
}

static const char *find_timeline(const struct vulkan_found *found,
                                 const struct extensions *extensions)
{
    bool core = is_version_1_2(found);
    const char *extension = listed(extensions, VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME);
    if (!core && extension == NULL)
        return NULL;
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &timeline};
    vkGetPhysicalDeviceFeatures2(found->physical, &features);
    if (!timeline.timelineSemaphore)
        return NULL;
    return core ? "" : extension;
}

static bool choose_lanes(struct vulkan_found *found)
{
    VkQueueFamilyProperties families[MAX_FAMILIES];
    uint32_t count = MAX_FAMILIES;
    vkGetPhysicalDeviceQueueFamilyProperties(found->physical, &count, families);
    if (!tarn_vulkan_choose_lanes(found, families, count, found->global_priority != NULL))
        return false;
    /* it is a property of a family: within one it can't tell two queues apart */
    if (found->lane_count < 2 || found->family[0] == found->family[1])
        found->global_priority = NULL;
    return true;
}

static void find_features(struct vulkan_found *found, const struct extensions *extensions)
{
    static const struct {
        uint32_t known;
        const char *extension;
    } sources[VULKAN_FEATURE_EXTENSIONS] = {
        {VULKAN_KNOWS_TYPES, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME},
        {VULKAN_KNOWS_BYTES, VK_KHR_8BIT_STORAGE_EXTENSION_NAME},
        {VULKAN_KNOWS_ATOMICS, VK_KHR_SHADER_ATOMIC_INT64_EXTENSION_NAME},
    };
    bool core = is_version_1_2(found);
    for (uint32_t i = 0; i < VULKAN_FEATURE_EXTENSIONS; i++) {
        const char *extension = listed(extensions, sources[i].extension);
        if (core || extension != NULL)
            found->known |= sources[i].known;
        if (!core && extension != NULL)
            found->feature_extensions[found->feature_extension_count++] = extension;
    }
    tarn_vulkan_features_find(found);
}

/*
 * Shared memory: the device's own, seen by the host, coherent. On a discrete card such memory is
 * behind the bus, and the host, which reads the index and the weights as if they were its own, pays
 * for each read: there it must be cached at least.
 */
static bool has_shared_memory(const struct vulkan_found *found)
{
    if (strcmp(tarn_option_get(TARN_OPTION_UNIFIED), "off") == 0)
        return false;
    VkPhysicalDeviceMemoryProperties memory;
    vkGetPhysicalDeviceMemoryProperties(found->physical, &memory);
    VkMemoryPropertyFlags wanted = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                   VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                   VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    if (found->properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU &&
        found->properties.deviceType != VK_PHYSICAL_DEVICE_TYPE_CPU)
        wanted |= VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++)
        if ((memory.memoryTypes[i].propertyFlags & wanted) == wanted)
            return true;
    return false;
}

static tarn_status look_at(VkPhysicalDevice physical, struct vulkan_found *found,
                           const char **fault)
{
    *found = (struct vulkan_found){.physical = physical};
    *fault = NULL;
    vkGetPhysicalDeviceProperties(physical, &found->properties);
    if (found->properties.apiVersion < VK_API_VERSION_1_1) {
        *fault = "it is older than Vulkan 1.1";
        return TARN_OK;
    }
    struct extensions extensions;
    tarn_status status = get_extensions(physical, &extensions);
    if (status != TARN_OK)
        return status;
    found->global_priority = listed(&extensions, VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME);
    if (found->global_priority == NULL)
        found->global_priority = listed(&extensions, VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME);
    if (!choose_lanes(found)) {
        *fault = "it has no queue that computes";
        free(extensions.list);
        return TARN_OK;
    }
    found->timeline = find_timeline(found, &extensions);
    find_features(found, &extensions);
    found->unified = has_shared_memory(found);
    free(extensions.list);
    return TARN_OK;
}

static int rank(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return 0;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return 1;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return 2;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return 4;
    default:
        return 3;
    }
}

tarn_status tarn_vulkan_find(VkInstance instance, struct vulkan_list *list)
{
    enum { MOST = sizeof list->devices / sizeof list->devices[0] };
    VkPhysicalDevice physical[MOST];
    uint32_t count = MOST;
    list->count = 0;
    VkResult result = vkEnumeratePhysicalDevices(instance, &count, physical);
    if (result == VK_ERROR_INITIALIZATION_FAILED)
        return TARN_OK; /* what some loaders say where no driver has a device */
    if (result < 0) {
        tarn_log(TARN_LOG_WARNING, "gpu: no Vulkan devices: %s", tarn_vulkan_name(result));
        return tarn_vulkan_status(result);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct vulkan_found found;
        const char *fault;
        tarn_status status = look_at(physical[i], &found, &fault);
        if (status != TARN_OK)
            return status;
        if (fault != NULL) {
            tarn_log(TARN_LOG_WARNING, "gpu: Vulkan device \"%s\" is skipped: %s",
                     found.properties.deviceName, fault);
            continue;
        }
        /* stable: the loader's order stands among equals */
        uint32_t at = list->count++;
        for (; at > 0 && rank(list->devices[at - 1].properties.deviceType) >
                             rank(found.properties.deviceType);
             at--)
            list->devices[at] = list->devices[at - 1];
        list->devices[at] = found;
    }
    return TARN_OK;
}

/* ---- description ---- */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint64_t device_memory(VkPhysicalDevice physical)
{
    VkPhysicalDeviceMemoryProperties memory;
    uint64_t most = 0;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    for (uint32_t i = 0; i < memory.memoryHeapCount; i++)
        if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0 &&
            memory.memoryHeaps[i].size > most)
            most = memory.memoryHeaps[i].size;
    return most;
}

void tarn_vulkan_describe(const struct vulkan_found *found, uint32_t index,
                          struct tarn_device_info *info)
{
    VkPhysicalDeviceDriverProperties driver = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceMaintenance3Properties sizes = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &driver};
    VkPhysicalDeviceProperties2 more = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                        .pNext = &sizes};
    const VkPhysicalDeviceProperties *properties = &found->properties;
    const VkPhysicalDeviceLimits *limits = &properties->limits;
    if (properties->apiVersion < VK_API_VERSION_1_2)
        sizes.pNext = NULL; /* the driver's name came with 1.2 */
    vkGetPhysicalDeviceProperties2(found->physical, &more);
    snprintf(info->id, sizeof info->id, "vulkan:%u", (unsigned)index);
    snprintf(info->backend, sizeof info->backend, "vulkan");
    snprintf(info->name, sizeof info->name, "%.127s", properties->deviceName);
    if (driver.driverName[0] != '\0')
        snprintf(info->driver, sizeof info->driver, "%.60s %.60s", driver.driverName,
                 driver.driverInfo);
    else
        snprintf(info->driver, sizeof info->driver, "Vulkan %u.%u driver %u.%u.%u",
                 VK_API_VERSION_MAJOR(properties->apiVersion),
                 VK_API_VERSION_MINOR(properties->apiVersion),
                 VK_API_VERSION_MAJOR(properties->driverVersion),
                 VK_API_VERSION_MINOR(properties->driverVersion),
                 VK_API_VERSION_PATCH(properties->driverVersion));
    bool cpu = properties->deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    info->type = cpu ? TARN_DEVICE_CPU : TARN_DEVICE_GPU;
    info->quirks = tarn_quirks_find(&(struct tarn_device_identity){
        .api = TARN_API_VULKAN,
        .driver = tarn_driver_by_vulkan((uint32_t)driver.driverID),
        .vendor = properties->vendorID,
        .device = properties->deviceID,
        .version = tarn_driver_number(VK_API_VERSION_MAJOR(properties->driverVersion),
                                      VK_API_VERSION_MINOR(properties->driverVersion),
                                      VK_API_VERSION_PATCH(properties->driverVersion)),
        .integrated = properties->deviceType == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU,
    });
    info->watchdog_ms = tarn_quirks_watchdog_ms(info->quirks);
    info->unified_memory =
        found->unified && (tarn_quirks_flags(info->quirks) & TARN_QUIRK_NO_SHARED_MEMORY) == 0;
    info->queue_priority = found->global_priority != NULL ? TARN_QUEUE_PRIORITY_GLOBAL
                           : found->lane_count > 1        ? TARN_QUEUE_PRIORITY_HINT
                                                          : TARN_QUEUE_PRIORITY_NONE;
    info->hints = tarn_vulkan_hints(found);
    info->limits.features = found->features;
    uint64_t buffer = limits->maxStorageBufferRange;
    if (sizes.maxMemoryAllocationSize != 0 && sizes.maxMemoryAllocationSize < buffer)
        buffer = sizes.maxMemoryAllocationSize;
    info->limits.buffer = buffer / ALIGNMENT * ALIGNMENT;
    info->limits.memory = device_memory(found->physical);
    info->limits.local_memory = limits->maxComputeSharedMemorySize;
    info->limits.group_size =
        least(limits->maxComputeWorkGroupInvocations, limits->maxComputeWorkGroupSize[0]);
    /* Vulkan doesn't tell how many units there are; a driver on the CPU has the CPU's */
    long processors = cpu ? sysconf(_SC_NPROCESSORS_ONLN) : 1;
    info->limits.compute_units = processors > 1 ? (uint32_t)processors : 1;
}

tarn_status tarn_vulkan_list(struct tarn_device_list *list)
{
    VkInstance instance;
    tarn_status status = tarn_vulkan_instance(&instance);
    if (status != TARN_OK)
        return status == TARN_NO_DEVICE ? TARN_OK : status;
    struct vulkan_list found;
    status = tarn_vulkan_find(instance, &found);
    for (uint32_t i = 0; status == TARN_OK && i < found.count; i++) {
        struct tarn_device_info *info = tarn_device_list_add(list);
        if (info == NULL)
            status = TARN_NO_MEMORY;
        else
            tarn_vulkan_describe(&found.devices[i], i, info);
    }
    vkDestroyInstance(instance, NULL);
    return status;
}
