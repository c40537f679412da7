/* SPDX-License-Identifier: Apache-2.0 */
/* Buffers: memory that host and device share, or a device's own with a shadow on the host's side. */
#include "vulkan.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64 /* of sizes; drivers map at multiples of 64 at least */

/* How well a memory type suits; 0: not at all. */
static int suits(VkMemoryPropertyFlags flags, bool host, bool device)
{
    const VkMemoryPropertyFlags needed =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    bool local = (flags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT) != 0;
    if (!host)
        return local ? 2 : 1;
    if ((flags & needed) != needed)
        return 0;
    /* the device's speed first where it works in it, then the host's, which reads it too */
    return 1 + ((flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT) != 0 ? 2 : 0) +
           (local == device ? (device ? 4 : 1) : 0);
}

/* The best type of those in `allowed`, the first among equals, as drivers list them; -1: none. */
static int32_t choose_type(const struct vulkan_device *device, uint32_t allowed, bool host,
                           bool local)
{
    int best = 0;
    int32_t chosen = -1;
    for (uint32_t i = 0; i < device->memory.memoryTypeCount; i++) {
        int score = suits(device->memory.memoryTypes[i].propertyFlags, host, local);
        if ((allowed >> i & 1u) != 0 && score > best) {
            best = score;
            chosen = (int32_t)i;
        }
    }
    return chosen;
}

static VkResult create_buffer(const struct vulkan_device *device, size_t size, bool host,
                              bool local, VkBuffer *buffer, VkDeviceMemory *memory)
{
    uint32_t families[VULKAN_MAX_LANES] = {device->lanes[0].family, device->lanes[1].family};
    bool shared = device->lane_count > 1 && families[0] != families[1];
    VkResult result = vkCreateBuffer(
        device->device,
        &(VkBufferCreateInfo){
            .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
            .size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT,
            .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                     VK_BUFFER_USAGE_TRANSFER_DST_BIT,
            .sharingMode = shared ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
            .queueFamilyIndexCount = shared ? 2 : 0,
            .pQueueFamilyIndices = families,
        },
        NULL, buffer);
    if (result != VK_SUCCESS) {
        *buffer = VK_NULL_HANDLE;
        return result;
    }
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device->device, *buffer, &needs);
    int32_t type = choose_type(device, needs.memoryTypeBits, host, local);
    if (type < 0)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    result = vkAllocateMemory(device->device,
                              &(VkMemoryAllocateInfo){
                                  .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                  .allocationSize = needs.size,
                                  .memoryTypeIndex = (uint32_t)type,
                              },
                              NULL, memory);
    if (result != VK_SUCCESS) {
        *memory = VK_NULL_HANDLE;
        return result;
    }
    return vkBindBufferMemory(device->device, *buffer, *memory, 0);
}

/* Zeros into memory that the host doesn't see, on the device's own account. */
static VkResult fill(struct vulkan_device *device, VkBuffer buffer)
{
    pthread_mutex_lock(&device->service_lock);
    VkCommandBuffer commands = device->service_commands;
    VkResult result =
        vkBeginCommandBuffer(commands, &(VkCommandBufferBeginInfo){
                                           .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                           .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
                                       });
    if (result == VK_SUCCESS) {
        vkCmdFillBuffer(commands, buffer, 0, VK_WHOLE_SIZE, 0);
        result = vkEndCommandBuffer(commands);
    }
    if (result == VK_SUCCESS)
        result = vkResetFences(device->device, 1, &device->service_fence);
    if (result == VK_SUCCESS) {
        struct vulkan_lane *lane = &device->lanes[0];
        pthread_mutex_lock(&lane->lock);
        result = vkQueueSubmit(lane->queue, 1,
                               &(VkSubmitInfo){
                                   .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                   .commandBufferCount = 1,
                                   .pCommandBuffers = &commands,
                               },
                               device->service_fence);
        pthread_mutex_unlock(&lane->lock);
    }
    if (result == VK_SUCCESS)
        result = vkWaitForFences(device->device, 1, &device->service_fence, VK_TRUE, UINT64_MAX);
    pthread_mutex_unlock(&device->service_lock);
    return result;
}

static VkResult set_up(struct vulkan_device *device, struct vulkan_buffer *buffer, size_t size,
                       bool device_only, const char **call)
{
    bool shared = !device_only && device->base.info.unified_memory;
    *call = "a buffer";
    VkResult result = create_buffer(device, size, shared, true, &buffer->buffer, &buffer->memory);
    if (result == VK_SUCCESS && !shared && !device_only)
        result = create_buffer(device, size, true, false, &buffer->shadow, &buffer->shadow_memory);
    if (result != VK_SUCCESS)
        return result;
    if (!device_only) {
        *call = "vkMapMemory";
        result = vkMapMemory(device->device, shared ? buffer->memory : buffer->shadow_memory, 0,
                             VK_WHOLE_SIZE, 0, &buffer->base.data);
        if (result != VK_SUCCESS)
            return result;
        memset(buffer->base.data, 0, size);
    }
    *call = "a fill";
    return shared ? VK_SUCCESS : fill(device, buffer->buffer);
}

tarn_status tarn_vulkan_buffer_create(tarn_device *base, size_t size, bool device_only,
                                      tarn_buffer **buffer)
{
    struct vulkan_device *device = (struct vulkan_device *)base;
    struct vulkan_buffer *created = calloc(1, sizeof *created);
    if (created == NULL)
        return TARN_NO_MEMORY;
    created->base.device = base;
    atomic_init(&created->references, 1);
    const char *call;
    VkResult result = set_up(device, created, size, device_only, &call);
    tarn_status status = tarn_vulkan_check(device, result, call);
    if (status != TARN_OK) {
        tarn_vulkan_buffer_unref(created);
        return status;
    }
    *buffer = &created->base;
    return TARN_OK;
}

void tarn_vulkan_buffer_unref(struct vulkan_buffer *buffer)
{
    if (atomic_fetch_sub(&buffer->references, 1) > 1)
        return;
    VkDevice device = ((struct vulkan_device *)buffer->base.device)->device;
    vkDestroyBuffer(device, buffer->buffer, NULL);
    vkDestroyBuffer(device, buffer->shadow, NULL);
    vkFreeMemory(device, buffer->memory, NULL); /* unmaps */
    vkFreeMemory(device, buffer->shadow_memory, NULL);
    free(buffer);
}

void tarn_vulkan_buffer_destroy(tarn_buffer *buffer)
{
    tarn_vulkan_buffer_unref((struct vulkan_buffer *)buffer);
}
