/* SPDX-License-Identifier: Apache-2.0 */
/* The one table from Vulkan's results to statuses. */
#include "vulkan.h"

#include <stdio.h>

#include "base/log.h"

static const struct {
    VkResult result;
    tarn_status status;
    const char *name;
} table[] = {
    {VK_SUCCESS, TARN_OK, "VK_SUCCESS"},
    {VK_INCOMPLETE, TARN_OK, "VK_INCOMPLETE"},
    {VK_TIMEOUT, TARN_TIMEOUT, "VK_TIMEOUT"},
    {VK_NOT_READY, TARN_TIMEOUT, "VK_NOT_READY"},
    {VK_ERROR_OUT_OF_HOST_MEMORY, TARN_NO_MEMORY, "VK_ERROR_OUT_OF_HOST_MEMORY"},
    {VK_ERROR_OUT_OF_DEVICE_MEMORY, TARN_DEVICE_MEMORY, "VK_ERROR_OUT_OF_DEVICE_MEMORY"},
    {VK_ERROR_OUT_OF_POOL_MEMORY, TARN_DEVICE_MEMORY, "VK_ERROR_OUT_OF_POOL_MEMORY"},
    {VK_ERROR_FRAGMENTED_POOL, TARN_DEVICE_MEMORY, "VK_ERROR_FRAGMENTED_POOL"},
    {VK_ERROR_FRAGMENTATION, TARN_DEVICE_MEMORY, "VK_ERROR_FRAGMENTATION"},
    {VK_ERROR_TOO_MANY_OBJECTS, TARN_DEVICE_MEMORY, "VK_ERROR_TOO_MANY_OBJECTS"},
    {VK_ERROR_MEMORY_MAP_FAILED, TARN_DEVICE_MEMORY, "VK_ERROR_MEMORY_MAP_FAILED"},
    {VK_ERROR_INITIALIZATION_FAILED, TARN_DRIVER, "VK_ERROR_INITIALIZATION_FAILED"},
    {VK_ERROR_DEVICE_LOST, TARN_DEVICE_LOST, "VK_ERROR_DEVICE_LOST"},
    {VK_ERROR_LAYER_NOT_PRESENT, TARN_NO_DEVICE, "VK_ERROR_LAYER_NOT_PRESENT"},
    {VK_ERROR_EXTENSION_NOT_PRESENT, TARN_UNSUPPORTED, "VK_ERROR_EXTENSION_NOT_PRESENT"},
    {VK_ERROR_FEATURE_NOT_PRESENT, TARN_UNSUPPORTED, "VK_ERROR_FEATURE_NOT_PRESENT"},
    {VK_ERROR_INCOMPATIBLE_DRIVER, TARN_NO_DEVICE, "VK_ERROR_INCOMPATIBLE_DRIVER"},
    {VK_ERROR_NOT_PERMITTED_KHR, TARN_UNSUPPORTED, "VK_ERROR_NOT_PERMITTED"},
    {VK_ERROR_INVALID_SHADER_NV, TARN_COMPILE, "VK_ERROR_INVALID_SHADER"},
    {VK_ERROR_UNKNOWN, TARN_DRIVER, "VK_ERROR_UNKNOWN"},
};

static size_t find(VkResult result)
{
    size_t i = 0;
    while (i < sizeof table / sizeof table[0] && table[i].result != result)
        i++;
    return i;
}

tarn_status tarn_vulkan_status(VkResult result)
{
    size_t i = find(result);
    return i < sizeof table / sizeof table[0] ? table[i].status : TARN_DRIVER;
}

const char *tarn_vulkan_name(VkResult result)
{
    static _Thread_local char text[24];
    size_t i = find(result);
    if (i < sizeof table / sizeof table[0])
        return table[i].name;
    snprintf(text, sizeof text, "result %d", (int)result);
    return text;
}

tarn_status tarn_vulkan_check(const struct vulkan_device *device, VkResult result, const char *call)
{
    tarn_status status = tarn_vulkan_status(result);
    if (status != TARN_OK && status != TARN_TIMEOUT)
        tarn_log(TARN_LOG_ERROR, "gpu: %s: %s: %s", device->base.info.id, call,
                 tarn_vulkan_name(result));
    return status;
}
