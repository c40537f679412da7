/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lavapipe dies, or has no memory, under a whole engine: at a submission, while it is waited for, or
 * when memory is asked for.
 */
#include "dying.h"

#include <vulkan/vulkan.h>

/* Where it is noticed. */
enum place { NOWHERE, SUBMIT, WAIT, ALLOCATE };

static struct {
    enum place place;
    VkResult result;
    bool dead;           /* everything fails with `result`, until a device is made */
    int devices_refused; /* so many times it can't be made */
    bool no_memory;      /* no allocation succeeds */
    bool hangs;          /* nothing ends any more */
    int failures;
    long live; /* instances, devices, memory, buffers, pipelines, pools, semaphores, fences */
    VkDevice device;
} driver;

#define WRAP(type, name, ...)                                                                      \
    type VKAPI_CALL __real_##name(__VA_ARGS__);                                                    \
    type VKAPI_CALL __wrap_##name(__VA_ARGS__);                                                    \
    type VKAPI_CALL __wrap_##name(__VA_ARGS__)

/* What the driver below has under way ends first: the memory that it uses is about to go. */
static VkResult fail(void)
{
    vkDeviceWaitIdle(driver.device);
    driver.failures++;
    driver.dead = true;
    return driver.result;
}

static bool fails_at(enum place place)
{
    return driver.dead || driver.place == place;
}

static VkResult counted(VkResult result)
{
    driver.live += result == VK_SUCCESS;
    return result;
}

/* ---- what lives ---- */

WRAP(VkResult, vkCreateInstance, const VkInstanceCreateInfo *info,
     const VkAllocationCallbacks *allocation, VkInstance *instance)
{
    return counted(__real_vkCreateInstance(info, allocation, instance));
}

WRAP(void, vkDestroyInstance, VkInstance instance, const VkAllocationCallbacks *allocation)
{
    driver.live -= instance != VK_NULL_HANDLE;
    __real_vkDestroyInstance(instance, allocation);
}

WRAP(VkResult, vkCreateDevice, VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
     const VkAllocationCallbacks *allocation, VkDevice *device)
{
    if (driver.devices_refused > 0) {
        driver.devices_refused--;
        return VK_ERROR_DEVICE_LOST;
    }
    VkResult result = counted(__real_vkCreateDevice(physical, info, allocation, device));
    driver.device = *device;
    driver.dead = false;
    driver.place = NOWHERE;
    return result;
}

WRAP(void, vkDestroyDevice, VkDevice device, const VkAllocationCallbacks *allocation)
{
    driver.live -= device != VK_NULL_HANDLE;
    __real_vkDestroyDevice(device, allocation);
}

#define LIVES(object, create, destroy, parameters)                                                 \
    WRAP(VkResult, create, VkDevice device, const parameters *info,                                \
         const VkAllocationCallbacks *allocation, object *created)                                 \
    {                                                                                              \
        return counted(__real_##create(device, info, allocation, created));                        \
    }                                                                                              \
    WRAP(void, destroy, VkDevice device, object destroyed,                                         \
         const VkAllocationCallbacks *allocation)                                                  \
    {                                                                                              \
        driver.live -= destroyed != VK_NULL_HANDLE;                                                \
        __real_##destroy(device, destroyed, allocation);                                           \
    }

LIVES(VkBuffer, vkCreateBuffer, vkDestroyBuffer, VkBufferCreateInfo)
LIVES(VkCommandPool, vkCreateCommandPool, vkDestroyCommandPool, VkCommandPoolCreateInfo)
LIVES(VkSemaphore, vkCreateSemaphore, vkDestroySemaphore, VkSemaphoreCreateInfo)
LIVES(VkFence, vkCreateFence, vkDestroyFence, VkFenceCreateInfo)
LIVES(VkQueryPool, vkCreateQueryPool, vkDestroyQueryPool, VkQueryPoolCreateInfo)
LIVES(VkDescriptorPool, vkCreateDescriptorPool, vkDestroyDescriptorPool, VkDescriptorPoolCreateInfo)
LIVES(VkPipelineLayout, vkCreatePipelineLayout, vkDestroyPipelineLayout, VkPipelineLayoutCreateInfo)
LIVES(VkShaderModule, vkCreateShaderModule, vkDestroyShaderModule, VkShaderModuleCreateInfo)

WRAP(VkResult, vkCreateComputePipelines, VkDevice device, VkPipelineCache cache, uint32_t count,
     const VkComputePipelineCreateInfo *infos, const VkAllocationCallbacks *allocation,
     VkPipeline *pipelines)
{
    return counted(
        __real_vkCreateComputePipelines(device, cache, count, infos, allocation, pipelines));
}

WRAP(void, vkDestroyPipeline, VkDevice device, VkPipeline pipeline,
     const VkAllocationCallbacks *allocation)
{
    driver.live -= pipeline != VK_NULL_HANDLE;
    __real_vkDestroyPipeline(device, pipeline, allocation);
}

WRAP(VkResult, vkAllocateMemory, VkDevice device, const VkMemoryAllocateInfo *info,
     const VkAllocationCallbacks *allocation, VkDeviceMemory *memory)
{
    if (driver.no_memory) {
        driver.failures++;
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    if (fails_at(ALLOCATE))
        return fail();
    return counted(__real_vkAllocateMemory(device, info, allocation, memory));
}

WRAP(void, vkFreeMemory, VkDevice device, VkDeviceMemory memory,
     const VkAllocationCallbacks *allocation)
{
    driver.live -= memory != VK_NULL_HANDLE;
    __real_vkFreeMemory(device, memory, allocation);
}

/* ---- what fails ---- */

WRAP(VkResult, vkQueueSubmit, VkQueue queue, uint32_t count, const VkSubmitInfo *infos,
     VkFence fence)
{
    return fails_at(SUBMIT) ? fail() : __real_vkQueueSubmit(queue, count, infos, fence);
}

WRAP(VkResult, vkWaitForFences, VkDevice device, uint32_t count, const VkFence *fences,
     VkBool32 all, uint64_t timeout)
{
    if (driver.hangs)
        return VK_TIMEOUT;
    return fails_at(WAIT) ? fail() : __real_vkWaitForFences(device, count, fences, all, timeout);
}

static PFN_vkWaitSemaphores real_wait;
static PFN_vkGetSemaphoreCounterValue real_value;

static VKAPI_ATTR VkResult VKAPI_CALL wait_semaphores(VkDevice device,
                                                      const VkSemaphoreWaitInfo *info,
                                                      uint64_t timeout)
{
    if (driver.hangs) { /* says so early, not to keep the test waiting */
        usleep(timeout < 50000000 ? (useconds_t)(timeout / 1000) : 50000);
        return VK_TIMEOUT;
    }
    return fails_at(WAIT) ? fail() : real_wait(device, info, timeout);
}

static VKAPI_ATTR VkResult VKAPI_CALL semaphore_value(VkDevice device, VkSemaphore semaphore,
                                                      uint64_t *value)
{
    return driver.dead ? fail() : real_value(device, semaphore, value);
}

WRAP(PFN_vkVoidFunction, vkGetDeviceProcAddr, VkDevice device, const char *name)
{
    PFN_vkVoidFunction found = __real_vkGetDeviceProcAddr(device, name);
    if (strncmp(name, "vkWaitSemaphores", 16) == 0) {
        real_wait = (PFN_vkWaitSemaphores)found;
        return (PFN_vkVoidFunction)wait_semaphores;
    }
    if (strncmp(name, "vkGetSemaphoreCounterValue", 26) == 0) {
        real_value = (PFN_vkGetSemaphoreCounterValue)found;
        return (PFN_vkVoidFunction)semaphore_value;
    }
    return found;
}

/* ---- cases ---- */

static tarn_engine *start(struct tarn_rng *rng)
{
    memset(&driver, 0, sizeof driver);
    tarn_rng_seed(rng, 11);
    tarn_engine *engine = open_engine("vulkan:0", TARN_BACKGROUND_STEPS);
    if (engine == NULL)
        return NULL;
    serve(engine, rng, 8 * BATCH);
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK(stats.on_device && stats.device_losses == 0 && stats.lookup.launches > 0);
    CHECK(driver.live > 0);
    return engine;
}

static void stop(tarn_engine *engine)
{
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(driver.live, 0);
}

static void die_and_return(tarn_engine *engine, struct tarn_rng *rng, enum place place,
                           VkResult result)
{
    uint64_t losses = stats_of(engine).device_losses, returns = stats_of(engine).device_returns;
    driver.failures = 0;
    driver.result = result;
    driver.place = place;
    CHECK(serve_until_lost(engine, rng, 1)); /* within one batch */
    CHECK(driver.failures > 0);
    check_lost(engine, losses + 1);
    CHECK_NUMBER(driver.live, 0);
    driver.devices_refused = 1; /* it isn't back yet at the first try */
    engine->retry_at = 0;
    serve(engine, rng, BATCH);
    CHECK(!stats_of(engine).on_device && driver.live == 0 && driver.devices_refused == 0);
    CHECK(serve_until_back(engine, rng));
    CHECK_NUMBER(stats_of(engine).device_returns, returns + 1);
    serve(engine, rng, 2 * BATCH);
    check_index(engine);
}

static void losses_and_shortages(void)
{
    static const VkResult results[] = {VK_ERROR_DEVICE_LOST, VK_ERROR_OUT_OF_DEVICE_MEMORY,
                                       VK_ERROR_OUT_OF_HOST_MEMORY};
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    for (int i = 0; i < 3; i++) {
        die_and_return(engine, &rng, SUBMIT, results[i]);
        die_and_return(engine, &rng, WAIT, results[i]);
    }
    stop(engine);
}

static void a_loss_where_memory_is_copied(void)
{
    struct tarn_rng rng;
    setenv("TARN_UNIFIED", "off", 1);
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    die_and_return(engine, &rng, SUBMIT, VK_ERROR_DEVICE_LOST);
    die_and_return(engine, &rng, WAIT, VK_ERROR_DEVICE_LOST);
    stop(engine);
    unsetenv("TARN_UNIFIED");
}

/* It was lost, and there is no memory for all of the engine when it is back: not yet, then. */
static void no_memory_on_return(void)
{
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    driver.result = VK_ERROR_DEVICE_LOST;
    driver.place = SUBMIT;
    CHECK(serve_until_lost(engine, &rng, 1));
    driver.no_memory = true;
    for (int i = 1; i <= 3; i++) {
        driver.failures = 0;
        engine->retry_at = 0;
        serve(engine, &rng, BATCH);
        CHECK(driver.failures > 0 && !stats_of(engine).on_device);
        CHECK_NUMBER(driver.live, 0);
        CHECK(engine->retry_at > 0);
        check_index(engine);
    }
    driver.no_memory = false;
    CHECK(serve_until_back(engine, &rng));
    check_index(engine);
    stop(engine);
}

/* The same at the very first: the engine is made, and works. */
static void no_memory_at_first(void)
{
    struct tarn_rng rng;
    memset(&driver, 0, sizeof driver);
    driver.no_memory = true;
    tarn_rng_seed(&rng, 12);
    tarn_engine *engine = open_engine("vulkan:0", TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    CHECK(!stats_of(engine).on_device && driver.live == 0 && driver.failures > 0);
    serve(engine, &rng, 2 * BATCH);
    check_index(engine);
    driver.no_memory = false;
    CHECK(serve_until_back(engine, &rng));
    check_index(engine);
    stop(engine);
}

static void a_driver_that_hangs_is_left_behind(void)
{
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    driver.hangs = true;
    CHECK(serve_until_lost(engine, &rng, 1));
    check_lost(engine, 1);
    CHECK(driver.live > 0); /* what a launch may still use */
    driver.hangs = false;
    CHECK(serve_until_back(engine, &rng));
    serve(engine, &rng, 2 * BATCH);
    check_index(engine);
    tarn_engine_destroy(&engine);
}

int main(void)
{
    static const struct check_case cases[] = {
        CASE(losses_and_shortages),
        CASE(a_loss_where_memory_is_copied),
        CASE(no_memory_on_return),
        CASE(no_memory_at_first),
        CASE(a_driver_that_hangs_is_left_behind),
    };
    return run_cases("vulkan:0", cases, sizeof cases / sizeof cases[0]);
}
