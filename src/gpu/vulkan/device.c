/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing Vulkan devices. */
#include "vulkan.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"

/* Bit `bits` and all below it. */
static uint64_t mask_of(uint32_t bits)
{
    return bits == 0 ? 0 : bits >= 64 ? UINT64_MAX : (UINT64_C(1) << bits) - 1;
}

/* Priorities of queues among those of this device: the high one, the low one. */
static const float priorities[VULKAN_MAX_LANES] = {1.0f, 0.0f};

/* `global`: the global priority of the high queue, 0 for none; the low one gets "low" then. */
static VkResult create_device(const struct vulkan_found *found, VkQueueGlobalPriorityKHR global,
                              VkDevice *device)
{
    bool one_family = found->lane_count < 2 || found->family[0] == found->family[1];
    VkDeviceQueueGlobalPriorityCreateInfoKHR global_priorities[VULKAN_MAX_LANES];
    VkDeviceQueueCreateInfo queues[VULKAN_MAX_LANES];
    for (uint32_t i = 0; i < VULKAN_MAX_LANES; i++) {
        global_priorities[i] = (VkDeviceQueueGlobalPriorityCreateInfoKHR){
            .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_GLOBAL_PRIORITY_CREATE_INFO_KHR,
            .globalPriority = i == 0 ? global : VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR,
        };
        queues[i] = (VkDeviceQueueCreateInfo){
            .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
            .pNext = global != 0 ? &global_priorities[i] : NULL,
            .queueFamilyIndex = found->family[i],
            .queueCount = one_family ? found->lane_count : 1,
            .pQueuePriorities = &priorities[i],
        };
    }
    const char *extensions[2 + VULKAN_FEATURE_EXTENSIONS];
    uint32_t extension_count = 0;
    if (found->timeline != NULL && found->timeline[0] != '\0')
        extensions[extension_count++] = found->timeline;
    if (global != 0)
        extensions[extension_count++] = found->global_priority;
    for (uint32_t i = 0; i < found->feature_extension_count; i++)
        extensions[extension_count++] = found->feature_extensions[i];
    struct vulkan_feature_chain features;
    tarn_vulkan_features_enable(found, &features);
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
        .pNext = &features.base,
        .timelineSemaphore = VK_TRUE,
    };
    return vkCreateDevice(
        found->physical,
        &(VkDeviceCreateInfo){
            .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
            .pNext = found->timeline != NULL ? (void *)&timeline : (void *)&features.base,
            .queueCreateInfoCount = one_family ? 1 : 2,
            .pQueueCreateInfos = queues,
            .enabledExtensionCount = extension_count,
            .ppEnabledExtensionNames = extensions,
        },
        NULL, device);
}

/*
 * High for lookups, which are short, if we have the privilege for more than the default; else the
 * default. Background work steps down either way, which anyone may.
 */
static VkResult create_device_or_less(struct vulkan_device *opened,
                                      const struct vulkan_found *found)
{
    struct tarn_device_info *info = &opened->base.info;
    if (found->global_priority != NULL) {
        VkResult result = create_device(found, VK_QUEUE_GLOBAL_PRIORITY_HIGH_KHR, &opened->device);
        if (result == VK_SUCCESS) {
            info->hints |= TARN_HINT_GLOBAL_HIGH;
            return result;
        }
        tarn_log(TARN_LOG_DEBUG, "gpu: %s refuses a high global priority: %s", info->id,
                 tarn_vulkan_name(result));
        result = create_device(found, VK_QUEUE_GLOBAL_PRIORITY_MEDIUM_KHR, &opened->device);
        if (result == VK_SUCCESS)
            return result;
        tarn_log(TARN_LOG_WARNING, "gpu: %s lists global priorities but refuses them: %s", info->id,
                 tarn_vulkan_name(result));
        info->hints &= ~(uint32_t)TARN_HINT_GLOBAL_PRIORITY;
        info->queue_priority = TARN_QUEUE_PRIORITY_HINT;
    }
    return create_device(found, 0, &opened->device);
}

static void load_timeline(struct vulkan_device *opened, const char *timeline)
{
    if (timeline == NULL)
        return;
    bool core = timeline[0] == '\0';
    opened->wait_semaphores = (PFN_vkWaitSemaphores)vkGetDeviceProcAddr(
        opened->device, core ? "vkWaitSemaphores" : "vkWaitSemaphoresKHR");
    opened->semaphore_value = (PFN_vkGetSemaphoreCounterValue)vkGetDeviceProcAddr(
        opened->device, core ? "vkGetSemaphoreCounterValue" : "vkGetSemaphoreCounterValueKHR");
    if (opened->semaphore_value == NULL || opened->wait_semaphores == NULL)
        opened->wait_semaphores = NULL;
}

/* One layout for all kernels: those with fewer buffers leave the last bindings alone. */
static VkResult create_set_layout(struct vulkan_device *opened)
{
    VkDescriptorSetLayoutBinding bindings[TARN_MAX_BUFFERS];
    for (uint32_t i = 0; i < opened->binding_count; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        };
    return vkCreateDescriptorSetLayout(
        opened->device,
        &(VkDescriptorSetLayoutCreateInfo){
            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
            .bindingCount = opened->binding_count,
            .pBindings = bindings,
        },
        NULL, &opened->set_layout);
}

static VkResult create_service(struct vulkan_device *opened)
{
    VkResult result =
        vkCreateCommandPool(opened->device,
                            &(VkCommandPoolCreateInfo){
                                .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                .queueFamilyIndex = opened->lanes[0].family,
                            },
                            NULL, &opened->service_pool);
    if (result == VK_SUCCESS)
        result =
            vkAllocateCommandBuffers(opened->device,
                                     &(VkCommandBufferAllocateInfo){
                                         .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                         .commandPool = opened->service_pool,
                                         .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                         .commandBufferCount = 1,
                                     },
                                     &opened->service_commands);
    if (result == VK_SUCCESS)
        result = vkCreateFence(opened->device,
                               &(VkFenceCreateInfo){.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO},
                               NULL, &opened->service_fence);
    return result;
}

static bool create_locks(struct vulkan_device *opened)
{
    for (; opened->lock_count < opened->lane_count; opened->lock_count++)
        if (pthread_mutex_init(&opened->lanes[opened->lock_count].lock, NULL) != 0)
            return false;
    opened->has_service_lock = pthread_mutex_init(&opened->service_lock, NULL) == 0;
    return opened->has_service_lock;
}

static VkResult set_up(struct vulkan_device *opened, const struct vulkan_found *found,
                       const char **call)
{
    const VkPhysicalDeviceLimits *limits = &found->properties.limits;
    opened->physical = found->physical;
    bool short_loops = (tarn_quirks_flags(opened->base.info.quirks) & TARN_QUIRK_SHORT_LOOPS) != 0;
    opened->turn_limit = short_loops ? TARN_SHORT_LOOP_TURNS : 0;
    opened->most_groups = limits->maxComputeWorkGroupCount[0];
    opened->tick_ns = (double)limits->timestampPeriod;
    opened->binding_count = TARN_MAX_BUFFERS;
    if (limits->maxPerStageDescriptorStorageBuffers < TARN_MAX_BUFFERS)
        opened->binding_count = limits->maxPerStageDescriptorStorageBuffers;
    vkGetPhysicalDeviceMemoryProperties(found->physical, &opened->memory);
    *call = "vkCreateDevice";
    VkResult result = create_device_or_less(opened, found);
    if (result != VK_SUCCESS) {
        opened->device = VK_NULL_HANDLE;
        return result;
    }
    load_timeline(opened, found->timeline);
    opened->lane_count = found->lane_count;
    for (uint32_t i = 0; i < found->lane_count; i++) {
        opened->lanes[i].family = found->family[i];
        opened->lanes[i].tick_mask = mask_of(found->tick_bits[i]);
        vkGetDeviceQueue(opened->device, found->family[i], found->index[i],
                         &opened->lanes[i].queue);
    }
    *call = "pthread_mutex_init";
    if (!create_locks(opened))
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    *call = "vkCreateDescriptorSetLayout";
    result = create_set_layout(opened);
    if (result != VK_SUCCESS)
        return result;
    *call = "vkCreatePipelineCache";
    result = vkCreatePipelineCache(
        opened->device,
        &(VkPipelineCacheCreateInfo){.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO}, NULL,
        &opened->cache);
    if (result != VK_SUCCESS)
        return result;
    *call = "vkCreateCommandPool";
    return create_service(opened);
}

tarn_status tarn_vulkan_open(uint32_t index, tarn_device **device, struct tarn_error *error)
{
    VkInstance instance;
    struct vulkan_list list = {.count = 0};
    tarn_status status = tarn_vulkan_instance(&instance);
    if (status == TARN_OK)
        status = tarn_vulkan_find(instance, &list);
    if (status == TARN_OK && index >= list.count)
        status = TARN_NO_DEVICE;
    if (status != TARN_OK) {
        if (instance != VK_NULL_HANDLE)
            vkDestroyInstance(instance, NULL);
        if (status == TARN_NO_DEVICE && list.count > 0)
            return tarn_fail(error, status, "vulkan:%u: the last one is vulkan:%u", (unsigned)index,
                             (unsigned)list.count - 1);
        if (status == TARN_NO_DEVICE)
            return tarn_fail(error, status, "vulkan:%u: no Vulkan driver has a usable device",
                             (unsigned)index);
        return tarn_fail(error, status, "Vulkan: the driver loader failed: %s",
                         tarn_status_message(status));
    }
    struct vulkan_device *opened = calloc(1, sizeof *opened);
    if (opened == NULL) {
        vkDestroyInstance(instance, NULL);
        return tarn_fail(error, TARN_NO_MEMORY, "vulkan:%u: out of memory", (unsigned)index);
    }
    const char *call;
    opened->instance = instance;
    atomic_init(&opened->abandoned, false);
    tarn_vulkan_describe(&list.devices[index], index, &opened->base.info);
    VkResult result = set_up(opened, &list.devices[index], &call);
    if (result != VK_SUCCESS) {
        status = tarn_vulkan_status(result);
        /* what is lost before it was ever opened is not there */
        if (status == TARN_DEVICE_LOST)
            status = TARN_NO_DEVICE;
        tarn_fail(error, status, "vulkan:%u: %s: %s", (unsigned)index, call,
                  tarn_vulkan_name(result));
        tarn_vulkan_close(&opened->base);
        return status;
    }
    *device = &opened->base;
    return TARN_OK;
}

void tarn_vulkan_close(tarn_device *device)
{
    struct vulkan_device *closed = (struct vulkan_device *)device;
    if (atomic_load(&closed->abandoned)) {
        /* freeing what a hung kernel still uses would take the process with it */
        tarn_log(TARN_LOG_WARNING, "gpu: %s still works on something: its memory is left to it",
                 closed->base.info.id);
        return;
    }
    if (closed->device != VK_NULL_HANDLE) {
        vkDestroyFence(closed->device, closed->service_fence, NULL);
        vkDestroyCommandPool(closed->device, closed->service_pool, NULL);
        vkDestroyPipelineCache(closed->device, closed->cache, NULL);
        vkDestroyDescriptorSetLayout(closed->device, closed->set_layout, NULL);
        vkDestroyDevice(closed->device, NULL);
    }
    vkDestroyInstance(closed->instance, NULL);
    for (uint32_t i = 0; i < closed->lock_count; i++)
        pthread_mutex_destroy(&closed->lanes[i].lock);
    if (closed->has_service_lock)
        pthread_mutex_destroy(&closed->service_lock);
    free(closed);
}
