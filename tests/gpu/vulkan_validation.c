/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The suite and the self-test once more, under the Khronos validation layer with synchronisation
 * validation: any message of it fails the test. A mistake made on purpose comes first, so that
 * silence means something.
 */
#include "suite.h"

#include "../check.h"

#include <sys/wait.h>
#include <unistd.h>
#include <vulkan/vulkan.h>

#include <tarn/gpu.h>

#include "kernels/selftest.h"

#define LAYER "VK_LAYER_KHRONOS_validation"

static char folder[] = "/tmp/tarn-validation-XXXXXX", settings[64];

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
    FILE *file = fopen(settings, "w");
    if (file == NULL)
        return false;
    fputs("khronos_validation.debug_action = VK_DBG_LAYER_ACTION_LOG_MSG\n"
          "khronos_validation.report_flags = error,warn\n"
          "khronos_validation.log_filename = stdout\n"
          "khronos_validation.enables = "
          "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT\n",
          file);
    return fclose(file) == 0 && setenv("VK_LAYER_SETTINGS_PATH", folder, 1) == 0 &&
           setenv("VK_INSTANCE_LAYERS", LAYER, 1) == 0;
}

/* A line that the suite doesn't print is the layer's. */
static bool is_ours(const char *line)
{
    return line[0] == '#' || strncmp(line, "1..", 3) == 0 || strncmp(line, "ok ", 3) == 0 ||
           strncmp(line, "not ok ", 7) == 0;
}

/*
 * Runs `work` in a child (the layer's messages go to standard output) and passes its lines on,
 * messages as comments. *messages is the number of the layer's lines, *hazards of those that speak
 * of synchronisation. Returns the child's exit status, or 1 if it crashed.
 */
static int listen_to(int (*work)(void), unsigned *messages, unsigned *hazards)
{
    int ends[2], status = 0;
    *messages = *hazards = 0;
    fflush(stdout);
    if (pipe(ends) != 0)
        return 1;
    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        exit(work());
    }
    close(ends[1]);
    FILE *file = fdopen(ends[0], "r");
    char line[4096];
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        bool ours = is_ours(line) || line[0] == '\n';
        *messages += !ours;
        *hazards += strstr(line, "SYNC-HAZARD") != NULL;
        printf("%s%s", ours ? "" : "# ", line);
    }
    if (file != NULL)
        fclose(file);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* Two fills of one place without a barrier: wrong only for a layer that looks at synchronisation. */
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
        device, &(VkCommandPoolCreateInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO},
        NULL, &pool);
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

static int mistake(void)
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
        return 77;
    VkPhysicalDevice physical;
    uint32_t count = 1;
    bool found = vkEnumeratePhysicalDevices(instance, &count, &physical) >= 0 && count == 1;
    if (found)
        make_a_mistake(physical);
    vkDestroyInstance(instance, NULL);
    return found ? 0 : 77;
}

/* The suite, then every kernel. */
static int everything(void)
{
    int result = gpu_suite("vulkan:0");
    if (result != 0)
        return result;
    tarn_device *device;
    struct tarn_error error;
    struct tarn_selftest selftest = {0};
    if (tarn_device_open(&(struct tarn_device_params){"vulkan:0"}, &device, &error) != TARN_OK)
        return 1;
    tarn_status status = tarn_selftest_device(device, 7, &selftest);
    tarn_device_close(&device);
    printf("# self-test: %u checks, %u failed %s\n", (unsigned)selftest.checks,
           (unsigned)selftest.failed, selftest.message);
    return status != TARN_OK || selftest.failed > 0 || selftest.checks == 0;
}

int main(void)
{
    unsigned messages, hazards;
    if (suite_without_drivers()) {
        puts("1..0 # SKIP no drivers under the thread sanitizer");
        return 77;
    }
    if (!has_layer()) {
        puts("1..0 # SKIP " LAYER " isn't installed");
        return 77;
    }
    if (!set_up()) {
        puts("# there is no place for the layer's settings");
        return 1;
    }
    int result = listen_to(mistake, &messages, &hazards);
    if (result == 0 && hazards == 0) {
        puts("# the layer was silent about a mistake");
        result = 1;
    }
    if (result == 0) {
        result = listen_to(everything, &messages, &hazards);
        if (result == 0 && messages > 0)
            result = 1;
    }
    unlink(settings);
    rmdir(folder);
    return result;
}
