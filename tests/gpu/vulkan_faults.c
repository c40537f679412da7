/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers that have less than the one here, or fail: calls of the loader are linked with --wrap and
 * answer as `driver` says. At the end the whole suite runs on a driver without timeline semaphores.
 */
#include "suite.h"

#include "bench.h"

#include <unistd.h>
#include <vulkan/vulkan.h>

#include "base/clock.h"
#include "gpu/hints.h"

static struct {
    bool no_timeline, no_timestamps, lists_global_priority, is_gpu, two_families;
    uint32_t most_groups;                          /* 0: as many as it has */
    VkResult create_device, submit, allocate, map; /* what these return */
    VkResult launch;                               /* what a submit of run_scale() returns */
    int creates, submits, refused_creates;
    bool asked_for_global_priority;
    VkQueueGlobalPriorityKHR permits, granted; /* the highest one that is given, and was */
} driver;

#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

WRAP(void, vkGetPhysicalDeviceFeatures2, VkPhysicalDevice physical,
     VkPhysicalDeviceFeatures2 *features)
{
    __real_vkGetPhysicalDeviceFeatures2(physical, features);
    for (VkBaseOutStructure *next = features->pNext; next != NULL; next = next->pNext) {
        VkPhysicalDeviceTimelineSemaphoreFeatures *timeline = (void *)next;
        if (next->sType == timeline->sType && driver.no_timeline)
            timeline->timelineSemaphore = VK_FALSE;
    }
}

WRAP(void, vkGetPhysicalDeviceQueueFamilyProperties, VkPhysicalDevice physical, uint32_t *count,
     VkQueueFamilyProperties *families)
{
    __real_vkGetPhysicalDeviceQueueFamilyProperties(physical, count, families);
    for (uint32_t i = 0; driver.no_timestamps && i < *count; i++)
        families[i].timestampValidBits = 0;
    if (driver.two_families)
        families[(*count)++] = families[0];
}

WRAP(void, vkGetPhysicalDeviceProperties, VkPhysicalDevice physical,
     VkPhysicalDeviceProperties *properties)
{
    __real_vkGetPhysicalDeviceProperties(physical, properties);
    if (driver.most_groups > 0)
        properties->limits.maxComputeWorkGroupCount[0] = driver.most_groups;
    if (driver.is_gpu)
        properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU;
}

WRAP(VkResult, vkEnumerateDeviceExtensionProperties, VkPhysicalDevice physical, const char *layer,
     uint32_t *count, VkExtensionProperties *extensions)
{
    VkResult result =
        __real_vkEnumerateDeviceExtensionProperties(physical, layer, count, extensions);
    if (driver.lists_global_priority) {
        if (extensions != NULL)
            snprintf(extensions[*count].extensionName, VK_MAX_EXTENSION_NAME_SIZE, "%s",
                     VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME);
        ++*count; /* there is room: the number was asked for first */
    }
    return result;
}

WRAP(VkResult, vkCreateDevice, VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
     const VkAllocationCallbacks *allocation, VkDevice *device)
{
    bool global = info->pQueueCreateInfos[0].pNext != NULL;
    driver.creates++;
    driver.asked_for_global_priority |= global;
    if (driver.create_device != VK_SUCCESS)
        return driver.create_device;
    VkDeviceCreateInfo less = *info;
    VkDeviceQueueCreateInfo plain = info->pQueueCreateInfos[0];
    if (global) {
        const VkDeviceQueueGlobalPriorityCreateInfoKHR *high = info->pQueueCreateInfos[0].pNext;
        const VkDeviceQueueGlobalPriorityCreateInfoKHR *low = info->pQueueCreateInfos[1].pNext;
        CHECK(low->globalPriority == VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR);
        CHECK(strcmp(info->ppEnabledExtensionNames[info->enabledExtensionCount - 1],
                     VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME) == 0);
        if (high->globalPriority > driver.permits) {
            driver.refused_creates++;
            return VK_ERROR_NOT_PERMITTED_KHR;
        }
        driver.granted = high->globalPriority;
        less.enabledExtensionCount--; /* invented too */
        plain.pNext = NULL;
        less.pQueueCreateInfos = &plain;
    }
    if (driver.two_families)
        less.queueCreateInfoCount = 1; /* the second one is invented */
    return __real_vkCreateDevice(physical, &less, allocation, device);
}

WRAP(void, vkGetDeviceQueue, VkDevice device, uint32_t family, uint32_t index, VkQueue *queue)
{
    __real_vkGetDeviceQueue(device, driver.two_families ? 0 : family, index, queue);
}

WRAP(VkResult, vkCreateCommandPool, VkDevice device, const VkCommandPoolCreateInfo *info,
     const VkAllocationCallbacks *allocation, VkCommandPool *pool)
{
    VkCommandPoolCreateInfo first = *info;
    if (driver.two_families)
        first.queueFamilyIndex = 0;
    return __real_vkCreateCommandPool(device, &first, allocation, pool);
}

WRAP(VkResult, vkQueueSubmit, VkQueue queue, uint32_t count, const VkSubmitInfo *infos,
     VkFence fence)
{
    driver.submits++;
    if (driver.submit != VK_SUCCESS)
        return driver.submit;
    return __real_vkQueueSubmit(queue, count, infos, fence);
}

WRAP(VkResult, vkAllocateMemory, VkDevice device, const VkMemoryAllocateInfo *info,
     const VkAllocationCallbacks *allocation, VkDeviceMemory *memory)
{
    if (driver.allocate != VK_SUCCESS)
        return driver.allocate;
    return __real_vkAllocateMemory(device, info, allocation, memory);
}

WRAP(VkResult, vkMapMemory, VkDevice device, VkDeviceMemory memory, VkDeviceSize offset,
     VkDeviceSize size, VkMemoryMapFlags flags, void **data)
{
    if (driver.map != VK_SUCCESS)
        return driver.map;
    return __real_vkMapMemory(device, memory, offset, size, flags, data);
}

/* ---- cases ---- */

static void reset_driver(void)
{
    memset(&driver, 0, sizeof driver);
}

static tarn_status run_scale(struct bench *bench, uint32_t count, struct tarn_event_times *times)
{
    tarn_kernel *kernel = make_kernel(bench, &scale_source, (const int32_t[]){3, 1});
    tarn_buffer *in = make_buffer(bench, count), *out = make_buffer(bench, count);
    tarn_event *event = NULL;
    for (uint32_t i = 0; i < count; i++)
        ((uint32_t *)tarn_buffer_data(in))[i] = i;
    tarn_buffer_upload(bench->queue, in, 0, count * 4);
    driver.submit = driver.launch;
    tarn_status status =
        tarn_queue_submit(bench->queue,
                          &(struct tarn_launch){.kernel = kernel,
                                                .buffers = (tarn_buffer *[]){in, out},
                                                .constants = &(struct scale_constants){count, 7},
                                                .groups = tarn_kernel_groups(kernel, count)},
                          &event);
    driver.submit = VK_SUCCESS;
    if (status == TARN_OK)
        status = tarn_buffer_download(bench->queue, out, 0, count * 4);
    if (status == TARN_OK)
        status = tarn_queue_finish(bench->queue, TARN_FOREVER);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < count && status == TARN_OK; i++)
        wrong += word(out, i) != i * 3 + 1 + 7;
    CHECK_NUMBER(wrong, 0);
    if (status == TARN_OK && times != NULL)
        status = tarn_event_get_times(event, times);
    tarn_event_release(&event);
    tarn_buffer_destroy(&out);
    tarn_buffer_destroy(&in);
    tarn_kernel_destroy(&kernel);
    return status;
}

/* A launch above the limit of one dispatch goes in several. */
static void large_launches_are_split(void)
{
    struct bench bench;
    reset_driver();
    driver.most_groups = 3;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    CHECK(run_scale(&bench, 32 * 10 + 5, NULL) == TARN_OK);
    CHECK(run_scale(&bench, 32 * 9, NULL) == TARN_OK);
    CHECK(run_scale(&bench, 32 * 3, NULL) == TARN_OK);
    bench_close(&bench);
}

static void times_come_from_the_host_without_timestamps(void)
{
    struct bench bench;
    struct tarn_event_times times = {0};
    reset_driver();
    driver.no_timestamps = true;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    CHECK(run_scale(&bench, 1000, &times) == TARN_OK);
    CHECK(!times.from_device && times.start_ns > 0 && times.end_ns > times.start_ns);
    bench_close(&bench);
}

/* Real GPUs come first and are what "auto" takes; the type is all that counts. */
static void a_gpu_is_chosen(void)
{
    reset_driver();
    driver.is_gpu = true;
    struct tarn_device_info *infos;
    size_t count;
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    CHECK(infos[0].type == TARN_DEVICE_GPU);
    tarn_device *device;
    REQUIRE(tarn_device_open(NULL, &device, NULL) == TARN_OK);
    CHECK(strcmp(tarn_device_get_info(device)->id, infos[0].id) == 0);
    tarn_device_close(&device);
    tarn_devices_free(&infos);
}

static void global_priorities_are_done_without(void)
{
    struct tarn_device_info *infos;
    size_t count;
    struct bench bench;
    reset_driver();
    driver.lists_global_priority = true; /* for one queue it means nothing */
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    CHECK(!driver.asked_for_global_priority);
    CHECK(tarn_device_get_info(bench.device)->queue_priority == TARN_QUEUE_PRIORITY_NONE);
    bench_close(&bench);

    driver.two_families = true;
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    for (size_t i = 0; i < count; i++)
        if (strcmp(infos[i].id, suite_id) == 0)
            CHECK(infos[i].queue_priority == TARN_QUEUE_PRIORITY_GLOBAL);
    tarn_devices_free(&infos);
    bench_open(&bench); /* listed, asked for, refused, and opened all the same */
    REQUIRE(bench.queue != NULL);
    CHECK(driver.asked_for_global_priority && driver.refused_creates == 2);
    const struct tarn_device_info *info = tarn_device_get_info(bench.device);
    CHECK(info->queue_priority == TARN_QUEUE_PRIORITY_HINT);
    CHECK(info->hints == (TARN_HINT_QUEUE_PRIORITY | TARN_HINT_QUEUE_FAMILIES));
    bench_close(&bench);
}

/* High takes a privilege; without it the default is taken, and background work still steps down. */
static void global_priorities_are_taken_as_permitted(void)
{
    static const VkQueueGlobalPriorityKHR levels[] = {VK_QUEUE_GLOBAL_PRIORITY_MEDIUM_KHR,
                                                      VK_QUEUE_GLOBAL_PRIORITY_HIGH_KHR,
                                                      VK_QUEUE_GLOBAL_PRIORITY_REALTIME_KHR};
    for (int i = 0; i < 3; i++) {
        struct bench bench;
        reset_driver();
        driver.lists_global_priority = driver.two_families = true;
        driver.permits = levels[i];
        bench_open(&bench);
        REQUIRE(bench.queue != NULL);
        const struct tarn_device_info *info = tarn_device_get_info(bench.device);
        CHECK(driver.granted == levels[i > 0 ? 1 : 0]); /* never more than high */
        CHECK(driver.refused_creates == (i == 0));
        CHECK(info->queue_priority == TARN_QUEUE_PRIORITY_GLOBAL);
        CHECK(info->hints == (TARN_HINT_QUEUE_PRIORITY | TARN_HINT_QUEUE_FAMILIES |
                              TARN_HINT_GLOBAL_PRIORITY | (i > 0 ? TARN_HINT_GLOBAL_HIGH : 0u)));
        CHECK(run_scale(&bench, 1000, NULL) == TARN_OK);
        bench_close(&bench);
    }
}

static void failures_become_statuses(void)
{
    static const struct {
        VkResult result;
        tarn_status status;
    } opens[] = {
        {VK_ERROR_OUT_OF_HOST_MEMORY, TARN_NO_MEMORY},
        {VK_ERROR_OUT_OF_DEVICE_MEMORY, TARN_DEVICE_MEMORY},
        {VK_ERROR_DEVICE_LOST, TARN_NO_DEVICE},
        {VK_ERROR_INITIALIZATION_FAILED, TARN_DRIVER},
        {VK_ERROR_EXTENSION_NOT_PRESENT, TARN_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof opens / sizeof opens[0]; i++) {
        tarn_device *device = NULL;
        struct tarn_error error = {0};
        reset_driver();
        driver.create_device = opens[i].result;
        CHECK(tarn_device_open(&(struct tarn_device_params){.id = suite_id}, &device, &error) ==
              opens[i].status);
        CHECK(device == NULL && strstr(error.message, "vkCreateDevice") != NULL);
    }
    struct bench bench;
    tarn_buffer *buffer = NULL;
    reset_driver();
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    const struct tarn_buffer_params params = {.size = 4096};
    driver.allocate = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    CHECK(tarn_buffer_create(bench.device, &params, &buffer) == TARN_DEVICE_MEMORY);
    driver.allocate = VK_ERROR_TOO_MANY_OBJECTS;
    CHECK(tarn_buffer_create(bench.device, &params, &buffer) == TARN_DEVICE_MEMORY);
    driver.allocate = VK_SUCCESS;
    driver.map = VK_ERROR_MEMORY_MAP_FAILED;
    CHECK(tarn_buffer_create(bench.device, &params, &buffer) == TARN_DEVICE_MEMORY);
    driver.map = VK_SUCCESS;
    CHECK(buffer == NULL);
    driver.launch = VK_ERROR_OUT_OF_HOST_MEMORY;
    CHECK(run_scale(&bench, 100, NULL) == TARN_NO_MEMORY);
    driver.launch = VK_SUCCESS;
    CHECK(run_scale(&bench, 100, NULL) == TARN_OK); /* and it goes on */
    CHECK(!tarn_device_is_lost(bench.device));
    bench_close(&bench);
}

static void a_loss_is_for_good(void)
{
    struct bench bench;
    reset_driver();
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &append_source, NULL);
    tarn_buffer *state = make_buffer(&bench, 1);
    REQUIRE(kernel != NULL && state != NULL);
    uint32_t digit = 1;
    const struct tarn_launch launch = {
        .kernel = kernel, .buffers = &state, .constants = &digit, .groups = 1};
    tarn_event *event = NULL;
    CHECK(tarn_queue_submit(bench.queue, &launch, &event) == TARN_OK);
    driver.submit = VK_ERROR_DEVICE_LOST;
    CHECK(tarn_queue_submit(bench.queue, &launch, NULL) == TARN_DEVICE_LOST);
    driver.submit = VK_SUCCESS;
    int before = driver.submits;
    CHECK(tarn_queue_submit(bench.queue, &launch, NULL) == TARN_DEVICE_LOST);
    CHECK(tarn_event_wait(event, TARN_FOREVER) == TARN_DEVICE_LOST);
    CHECK_NUMBER(driver.submits, before); /* the driver isn't asked any more */
    tarn_event_release(&event);
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    CHECK(run_scale(&bench, 100, NULL) == TARN_OK);
    bench_close(&bench);
}

/*
 * Given up in the middle of a launch, as after a kernel that hangs: nobody waits for it, and what it
 * uses is left alone, even by closing the device.
 */
static void a_loss_leaves_running_work_alone(void)
{
    struct bench bench;
    reset_driver();
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &spin_source, NULL);
    tarn_buffer *out = make_buffer(&bench, 1);
    REQUIRE(kernel != NULL && out != NULL);
    uint32_t steps = 4000000;
    uint64_t taken = 0;
    for (int i = 0; i < 5; i++)
        CHECK(tarn_queue_submit(
                  bench.queue,
                  &(struct tarn_launch){
                      .kernel = kernel, .buffers = &out, .constants = &steps, .groups = 1},
                  NULL) == TARN_OK);
    if (tarn_queue_finish(bench.queue, 0) == TARN_TIMEOUT) {
        tarn_device_mark_lost(bench.device);
        taken = tarn_clock_ns();
        tarn_buffer_destroy(&out);
        tarn_kernel_destroy(&kernel);
        bench_close(&bench);
        taken = tarn_clock_ns() - taken;
        CHECK(taken < 50000000); /* the launches take longer */
        usleep(300000);          /* they end meanwhile, and write where they may */
    } else {
        tarn_buffer_destroy(&out);
        tarn_kernel_destroy(&kernel);
        bench_close(&bench);
        SKIP("the launches were too quick");
    }
}

/* What a launch uses may go while it runs, its event stay when its queue has gone. */
static void lives_overlap(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &spin_source, NULL);
    tarn_buffer *out = make_buffer(&bench, 1);
    tarn_queue *queue = NULL;
    tarn_queue_create(bench.device, &(struct tarn_queue_params){TARN_PRIORITY_LOW}, &queue);
    REQUIRE(kernel != NULL && out != NULL && queue != NULL);
    uint32_t steps = 1u << 20;
    tarn_event *event = NULL, *mark = NULL;
    CHECK(
        tarn_queue_submit(queue,
                          &(struct tarn_launch){
                              .kernel = kernel, .buffers = &out, .constants = &steps, .groups = 1},
                          &event) == TARN_OK);
    tarn_buffer_download(queue, out, 0, 4);
    tarn_buffer_destroy(&out);
    tarn_kernel_destroy(&kernel);
    CHECK(tarn_queue_mark(queue, &mark) == TARN_OK);
    tarn_queue_destroy(&queue);
    CHECK(tarn_event_wait(event, 0) == TARN_OK && tarn_event_wait(mark, 0) == TARN_OK);
    struct tarn_event_times times = {0};
    CHECK(tarn_event_get_times(event, &times) == TARN_OK && times.end_ns > times.start_ns);
    CHECK(tarn_event_get_times(mark, &times) == TARN_UNSUPPORTED);
    tarn_event_release(&event);
    tarn_event_release(&mark);
    bench_close(&bench);
}

static void fences_do_without_a_timeline(void)
{
    reset_driver();
    driver.no_timeline = true;
    lives_overlap();
    driver.no_timestamps = true;
    struct bench bench;
    struct tarn_event_times times = {0};
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    CHECK(run_scale(&bench, 1000, &times) == TARN_OK);
    CHECK(!times.from_device && times.end_ns > times.start_ns);
    bench_close(&bench);
}

static void timelines_do_too(void)
{
    reset_driver();
    lives_overlap();
}

int main(void)
{
    static const struct check_case cases[] = {
        CASE(large_launches_are_split),
        CASE(times_come_from_the_host_without_timestamps),
        CASE(a_gpu_is_chosen),
        CASE(global_priorities_are_done_without),
        CASE(global_priorities_are_taken_as_permitted),
        CASE(failures_become_statuses),
        CASE(a_loss_is_for_good),
        CASE(a_loss_leaves_running_work_alone),
        CASE(timelines_do_too),
        CASE(fences_do_without_a_timeline),
    };
    suite_id = "vulkan:0";
    if (suite_without_drivers()) {
        puts("1..0 # SKIP no drivers under the thread sanitizer");
        return 77;
    }
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    if (tarn_device_open(&(struct tarn_device_params){.id = suite_id}, &device, &error) ==
        TARN_NO_DEVICE) {
        printf("1..0 # SKIP %s\n", error.message);
        return 77;
    }
    tarn_device_close(&device);
    int failed = check_run(cases, sizeof cases / sizeof cases[0]);
    reset_driver();
    driver.no_timeline = true;
    return gpu_suite(suite_id) != 0 || failed != 0;
}
