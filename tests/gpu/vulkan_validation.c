/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The suite and the self-test once more, under the Khronos validation layer with synchronisation
 * validation: any message of it fails the test. A mistake made on purpose comes first, so that
 * silence means something.
 */
#include "suite.h"

#include "../check.h"

#include <sys/stat.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include <tarn/gpu.h>

#include "kernels/selftest.h"

#define LAYER "VK_LAYER_KHRONOS_validation"

static char folder[] = "/tmp/tarn-validation-XXXXXX", settings[64], messages[64];

static bool has_layer(void)
{
    VkLayerProperties layers[64];
    uint32_t count = 64;
    if (vkEnumerateInstanceLayerProperties(&count, layers) < 0)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(layers[i].layerName, LAYER) == 0)
            return true;
    return false;
}

/* Before the first call that makes an instance; the layer reads both then. */
static bool set_up(void)
{
    if (mkdtemp(folder) == NULL)
        return false;
    snprintf(settings, sizeof settings, "%s/vk_layer_settings.txt", folder);
    snprintf(messages, sizeof messages, "%s/messages", folder);
    FILE *file = fopen(settings, "w");
    if (file == NULL)
        return false;
    fprintf(file,
            "khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\n"
            "khronos_validation.report_flags = error,warn\n"
            "khronos_validation.log_filename = %s\n"
            "khronos_validation.enables = "
            "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT\n",
            messages);
    return fclose(file) == 0 && setenv("VK_LAYER_SETTINGS_PATH", folder, 1) == 0 &&
           setenv("VK_INSTANCE_LAYERS", LAYER, 1) == 0;
}

/* How many bytes the layer has written; `show` them. */
static long spoken(bool show)
{
    FILE *file = fopen(messages, "r");
    if (file == NULL)
        return 0;
    char line[1024];
    long size = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        size += (long)strlen(line);
        if (show)
            printf("# %s%s", line, strchr(line, '\n') != NULL ? "" : "\n");
    }
    fclose(file);
    return size;
}

/* A copy onto itself without a barrier behind a fill: wrong for the layer only if it looks at
 * synchronisation too. No driver minds. */
static void make_a_mistake(VkPhysicalDevice physical)
{
    const float priority = 1.0f;
    VkDevice device;
    if (vkCreateDevice(physical,
                       &(VkDeviceCreateInfo){
                           .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                           .queueCreateInfoCount = 1,
                           .pQueueCreateInfos =
                               &(VkDeviceQueueCreateInfo){
                                   .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                   .queueCount = 1,
                                   .pQueuePriorities = &priority,
                               },
                       },
                       NULL, &device) != VK_SUCCESS)
        return;
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    VkCommandPool pool = VK_NULL_HANDLE;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    vkCreateBuffer(device,
                   &(VkBufferCreateInfo){
                       .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                       .size = 4096,
                       .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                   },
                   NULL, &buffer);
    VkMemoryRequirements needs;
    vkGetBufferMemoryRequirements(device, buffer, &needs);
    uint32_t type = 0;
    while ((needs.memoryTypeBits >> type & 1u) == 0)
        type++;
    vkAllocateMemory(device,
                     &(VkMemoryAllocateInfo){
                         .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                         .allocationSize = needs.size,
                         .memoryTypeIndex = type,
                     },
                     NULL, &memory);
    vkBindBufferMemory(device, buffer, memory, 0);
    vkCreateCommandPool(
        device,
        &(VkCommandPoolCreateInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO}, NULL,
        &pool);
    vkAllocateCommandBuffers(device,
                             &(VkCommandBufferAllocateInfo){
                                 .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                 .commandPool = pool,
                                 .commandBufferCount = 1,
                             },
                             &commands);
    vkBeginCommandBuffer(commands, &(VkCommandBufferBeginInfo){
                                       .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO});
    vkCmdFillBuffer(commands, buffer, 0, 64, 1);
    vkCmdFillBuffer(commands, buffer, 0, 64, 2);
    vkEndCommandBuffer(commands);
    vkDestroyCommandPool(device, pool, NULL);
    vkDestroyBuffer(device, buffer, NULL);
    vkFreeMemory(device, memory, NULL);
    vkDestroyDevice(device, NULL);
}

/* The layer is there and looks at synchronisation. */
static bool hears_mistakes(void)
{
    VkInstance instance;
    const VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                           .apiVersion = VK_API_VERSION_1_1};
    if (vkCreateInstance(
            &(VkInstanceCreateInfo){
                .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                .pApplicationInfo = &application,
            },
            NULL, &instance) != VK_SUCCESS)
        return false;
    VkPhysicalDevice physical;
    uint32_t count = 1;
    if (vkEnumeratePhysicalDevices(instance, &count, &physical) >= 0 && count == 1)
        make_a_mistake(physical);
    vkDestroyInstance(instance, NULL);
    char text[4096] = "";
    FILE *file = fopen(messages, "r");
    if (file != NULL) {
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        fclose(file);
    }
    return strstr(text, "SYNC-HAZARD-WRITE") != NULL;
}

static int selftest(void)
{
    tarn_device *device;
    struct tarn_error error;
    struct tarn_selftest result = {0};
    if (tarn_device_open(&(struct tarn_device_params){"vulkan:0"}, &device, &error) != TARN_OK)
        return 1;
    tarn_status status = tarn_selftest_device(device, 7, &result);
    tarn_device_close(&device);
    return status != TARN_OK || result.failed > 0;
}

int main(void)
{
    if (!has_layer()) {
        puts("1..0 # SKIP " LAYER " isn't installed");
        return 77;
    }
    if (!set_up() || !hears_mistakes()) {
        printf("# the validation layer doesn't speak:\n");
        spoken(true);
        return 1;
    }
    truncate(messages, 0);
    int result = gpu_suite("vulkan:0");
    if (result == 0 && selftest() != 0) {
        puts("# the self-test failed");
        result = 1;
    }
    if (result != 77 && spoken(true) > 0)
        result = 1;
    unlink(settings);
    unlink(messages);
    rmdir(folder);
    return result;
}
