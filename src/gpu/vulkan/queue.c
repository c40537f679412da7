/* SPDX-License-Identifier: Apache-2.0 */
/* Queues, copies, launches and events on Vulkan, and the backend's table. */
#include "vulkan.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

/* ---- queues ---- */

static VkResult create_parts(struct vulkan_queue *created, const char **call)
{
    const struct vulkan_device *device = created->device;
    *call = "vkCreateCommandPool";
    VkResult result =
        vkCreateCommandPool(device->device,
                            &(VkCommandPoolCreateInfo){
                                .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT |
                                         VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
                                .queueFamilyIndex = created->lane->family,
                            },
                            NULL, &created->pool);
    if (result != VK_SUCCESS || device->wait_semaphores == NULL)
        return result;
    *call = "vkCreateSemaphore";
    const VkSemaphoreTypeCreateInfo type = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
        .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE,
    };
    return vkCreateSemaphore(device->device,
                             &(VkSemaphoreCreateInfo){
                                 .sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                 .pNext = &type,
                             },
                             NULL, &created->timeline);
}

static tarn_status vulkan_queue_create(tarn_device *base, tarn_priority priority,
                                       tarn_queue **queue)
{
    struct vulkan_device *device = (struct vulkan_device *)base;
    struct vulkan_queue *created = calloc(1, sizeof *created);
    if (created == NULL)
        return TARN_NO_MEMORY;
    if (pthread_mutex_init(&created->lock, NULL) != 0) {
        free(created);
        return TARN_NO_MEMORY;
    }
    created->device = device;
    atomic_init(&created->references, 1);
    created->lane = &device->lanes[priority == TARN_PRIORITY_LOW && device->lane_count > 1 ? 1 : 0];
    const char *call;
    VkResult result = create_parts(created, &call);
    tarn_status status = tarn_vulkan_check(device, result, call);
    if (status != TARN_OK) {
        tarn_vulkan_queue_unref(created);
        return status;
    }
    *queue = &created->base;
    return TARN_OK;
}

/* Sends the copies that were held back. */
static tarn_status flush(struct vulkan_queue *queue)
{
    struct vulkan_submission *open = queue->open;
    queue->open = NULL;
    return open != NULL ? tarn_vulkan_submission_send(open) : TARN_OK;
}

static tarn_status vulkan_queue_finish(tarn_queue *base, uint64_t timeout_us)
{
    struct vulkan_queue *queue = (struct vulkan_queue *)base;
    tarn_status status = flush(queue);
    if (status == TARN_OK && queue->last != NULL)
        status = tarn_vulkan_submission_wait(queue->last, timeout_us);
    return status == TARN_OK ? tarn_vulkan_reap(queue) : status;
}

/*
 * After a loss work may still be under way: a hung kernel, on a device that we gave up before its
 * driver did. What it uses stays as it is then; a device that the driver gave up uses nothing.
 */
static void vulkan_queue_destroy(tarn_queue *base)
{
    struct vulkan_queue *queue = (struct vulkan_queue *)base;
    tarn_status status = TARN_OK;
    if (queue->last != NULL)
        status = tarn_vulkan_submission_wait(queue->last, 0);
    if (status == TARN_TIMEOUT) {
        atomic_store(&queue->device->abandoned, true);
        return;
    }
    if (queue->open != NULL) {
        vkEndCommandBuffer(queue->open->commands);
        queue->open->next = queue->first;
        queue->first = queue->open;
    }
    while (queue->first != NULL) {
        struct vulkan_submission *first = queue->first;
        queue->first = first->next;
        tarn_vulkan_submission_drop(first);
    }
    queue->open = queue->last = NULL;
    tarn_vulkan_queue_unref(queue);
}

/* ---- copies ---- */

static bool uses(const struct vulkan_submission *submission, const struct vulkan_buffer *buffer)
{
    for (uint32_t i = 0; i < submission->buffer_count; i++)
        if (submission->buffers[i] == buffer)
            return true;
    return false;
}

static void order_after_copies(VkCommandBuffer commands, VkPipelineStageFlags stage,
                               VkAccessFlags access)
{
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, stage, 0, 1,
                         &(VkMemoryBarrier){.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                            .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                                            .dstAccessMask = access},
                         0, NULL, 0, NULL);
}

/* A copy waits for the launch or mark behind it: one submission for all is several times cheaper. */
static tarn_status copy(tarn_queue *base, tarn_buffer *what, size_t offset, size_t size, bool up)
{
    struct vulkan_queue *queue = (struct vulkan_queue *)base;
    struct vulkan_buffer *buffer = (struct vulkan_buffer *)what;
    tarn_status status = TARN_OK;
    /* half of the places are for a launch's buffers */
    if (queue->open != NULL && queue->open->buffer_count == TARN_MAX_BUFFERS)
        status = flush(queue);
    if (status == TARN_OK && queue->open == NULL)
        status = tarn_vulkan_submission_begin(queue, &queue->open);
    if (status != TARN_OK)
        return status;
    if (uses(queue->open, buffer))
        order_after_copies(queue->open->commands, VK_PIPELINE_STAGE_TRANSFER_BIT,
                           VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT);
    vkCmdCopyBuffer(queue->open->commands, up ? buffer->shadow : buffer->buffer,
                    up ? buffer->buffer : buffer->shadow, 1,
                    &(VkBufferCopy){.srcOffset = offset, .dstOffset = offset, .size = size});
    tarn_vulkan_submission_use(queue->open, buffer);
    queue->open->downloads |= !up;
    return TARN_OK;
}

static tarn_status vulkan_upload(tarn_queue *queue, tarn_buffer *buffer, size_t offset, size_t size)
{
    return copy(queue, buffer, offset, size, true);
}

static tarn_status vulkan_download(tarn_queue *queue, tarn_buffer *buffer, size_t offset,
                                   size_t size)
{
    return copy(queue, buffer, offset, size, false);
}

/* ---- launches and events ---- */

static void attach(struct vulkan_event *event, struct vulkan_submission *submission, bool is_launch)
{
    event->is_launch = is_launch;
    event->submission = submission;
    if (submission != NULL)
        atomic_fetch_add(&submission->references, 1);
}

static tarn_status vulkan_submit(tarn_queue *base, const struct tarn_launch *launch,
                                 tarn_event *event)
{
    struct vulkan_queue *queue = (struct vulkan_queue *)base;
    const struct vulkan_device *device = queue->device;
    struct vulkan_submission *submission = queue->open;
    if (submission == NULL) {
        tarn_status status = tarn_vulkan_submission_begin(queue, &submission);
        if (status != TARN_OK)
            return status;
    } else {
        order_after_copies(submission->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                           VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
    }
    queue->open = NULL;
    struct vulkan_kernel *kernel = (struct vulkan_kernel *)launch->kernel;
    submission->kernel = kernel;
    atomic_fetch_add(&kernel->references, 1);
    for (uint32_t i = 0; i < kernel->base.source->buffer_count; i++)
        tarn_vulkan_submission_use(submission, (struct vulkan_buffer *)launch->buffers[i]);
    submission->downloads |= device->base.info.unified_memory;
    bool timed = event != NULL && submission->queries != VK_NULL_HANDLE;
    if (timed) {
        vkCmdResetQueryPool(submission->commands, submission->queries, 0, 2);
        /* of this stage: not before the launches in front have passed it */
        vkCmdWriteTimestamp(submission->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                            submission->queries, 0);
    }
    tarn_vulkan_kernel_record(device, submission->commands, submission->set, launch);
    if (timed)
        vkCmdWriteTimestamp(submission->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                            submission->queries, 1);
    tarn_status status = tarn_vulkan_submission_send(submission);
    if (status == TARN_OK && event != NULL)
        attach((struct vulkan_event *)event, submission, true);
    return status;
}

static tarn_status vulkan_mark(tarn_queue *base, tarn_event *event)
{
    struct vulkan_queue *queue = (struct vulkan_queue *)base;
    tarn_status status = flush(queue);
    if (status == TARN_OK)
        attach((struct vulkan_event *)event, queue->last, false);
    return status;
}

static tarn_event *vulkan_event_create(void)
{
    struct vulkan_event *event = calloc(1, sizeof *event);
    return event != NULL ? &event->base : NULL;
}

static void vulkan_event_reset(tarn_event *base)
{
    struct vulkan_event *event = (struct vulkan_event *)base;
    if (event->submission != NULL)
        tarn_vulkan_submission_unref(event->submission);
    event->submission = NULL;
}

static void vulkan_event_destroy(tarn_event *event)
{
    free(event);
}

static tarn_status vulkan_event_wait(tarn_event *base, uint64_t timeout_us)
{
    struct vulkan_submission *submission = ((struct vulkan_event *)base)->submission;
    return submission != NULL ? tarn_vulkan_submission_wait(submission, timeout_us) : TARN_OK;
}

static tarn_status vulkan_event_times(tarn_event *base, struct tarn_event_times *times)
{
    const struct vulkan_event *event = (struct vulkan_event *)base;
    const struct vulkan_submission *submission = event->submission;
    if (!event->is_launch)
        return TARN_UNSUPPORTED;
    const struct vulkan_device *device = submission->queue->device;
    if (submission->queries == VK_NULL_HANDLE) {
        *times = (struct tarn_event_times){
            .start_ns = submission->submitted_ns,
            .end_ns = atomic_load(&submission->seen_done_ns),
        };
        return TARN_OK;
    }
    uint64_t ticks[2], mask = submission->queue->lane->tick_mask;
    tarn_status status = tarn_vulkan_check(
        device,
        vkGetQueryPoolResults(device->device, submission->queries, 0, 2, sizeof ticks, ticks,
                              sizeof ticks[0], VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
        "vkGetQueryPoolResults");
    if (status != TARN_OK)
        return status;
    uint64_t start = ticks[0] & mask, length = (ticks[1] - ticks[0]) & mask; /* it may wrap */
    times->start_ns = (uint64_t)((double)start * device->tick_ns);
    times->end_ns = times->start_ns + (uint64_t)((double)length * device->tick_ns);
    times->from_device = true;
    return TARN_OK;
}

const struct tarn_backend tarn_backend_vulkan = {
    .name = "vulkan",
    .list = tarn_vulkan_list,
    .open = tarn_vulkan_open,
    .close = tarn_vulkan_close,
    .queue_create = vulkan_queue_create,
    .queue_destroy = vulkan_queue_destroy,
    .queue_finish = vulkan_queue_finish,
    .buffer_create = tarn_vulkan_buffer_create,
    .buffer_destroy = tarn_vulkan_buffer_destroy,
    .upload = vulkan_upload,
    .download = vulkan_download,
    .kernel_alloc = tarn_vulkan_kernel_alloc,
    .kernel_build = tarn_vulkan_kernel_build,
    .kernel_destroy = tarn_vulkan_kernel_destroy,
    .submit = vulkan_submit,
    .mark = vulkan_mark,
    .event_create = vulkan_event_create,
    .event_reset = vulkan_event_reset,
    .event_destroy = vulkan_event_destroy,
    .event_wait = vulkan_event_wait,
    .event_times = vulkan_event_times,
};
