/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Submissions: made once, then reused. A queue holds those that fly in a list; events hold theirs,
 * perhaps longer than the queue lives and perhaps on another thread.
 */
#include "vulkan.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

static void destroy_submission(struct vulkan_submission *submission)
{
    VkDevice device = submission->queue->device->device;
    vkDestroyQueryPool(device, submission->queries, NULL);
    vkDestroyFence(device, submission->fence, NULL);
    vkDestroyDescriptorPool(device, submission->descriptors, NULL);
    /* the commands go with their pool */
    free(submission);
}

static VkResult create_parts(struct vulkan_submission *created, const char **call)
{
    const struct vulkan_queue *queue = created->queue;
    const struct vulkan_device *device = queue->device;
    *call = "vkCreateDescriptorPool";
    VkResult result = vkCreateDescriptorPool(
        device->device,
        &(VkDescriptorPoolCreateInfo){
            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
            .maxSets = 1,
            .poolSizeCount = 1,
            .pPoolSizes = &(VkDescriptorPoolSize){.type = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                                  .descriptorCount = device->binding_count},
        },
        NULL, &created->descriptors);
    if (result != VK_SUCCESS)
        return result;
    *call = "vkAllocateDescriptorSets";
    result = vkAllocateDescriptorSets(device->device,
                                      &(VkDescriptorSetAllocateInfo){
                                          .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                          .descriptorPool = created->descriptors,
                                          .descriptorSetCount = 1,
                                          .pSetLayouts = &device->set_layout,
                                      },
                                      &created->set);
    if (result != VK_SUCCESS)
        return result;
    if (queue->lane->tick_mask != 0) {
        *call = "vkCreateQueryPool";
        result = vkCreateQueryPool(device->device,
                                   &(VkQueryPoolCreateInfo){
                                       .sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                       .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                       .queryCount = 2,
                                   },
                                   NULL, &created->queries);
        if (result != VK_SUCCESS)
            return result;
    }
    if (queue->timeline == VK_NULL_HANDLE) {
        *call = "vkCreateFence";
        result = vkCreateFence(device->device,
                               &(VkFenceCreateInfo){.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO},
                               NULL, &created->fence);
        if (result != VK_SUCCESS)
            return result;
    }
    *call = "vkAllocateCommandBuffers";
    return vkAllocateCommandBuffers(device->device,
                                    &(VkCommandBufferAllocateInfo){
                                        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = queue->pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1,
                                    },
                                    &created->commands);
}

static tarn_status take(struct vulkan_queue *queue, struct vulkan_submission **submission)
{
    pthread_mutex_lock(&queue->lock);
    struct vulkan_submission *taken = queue->spare;
    if (taken != NULL)
        queue->spare = taken->next;
    pthread_mutex_unlock(&queue->lock);
    if (taken == NULL) {
        taken = calloc(1, sizeof *taken);
        if (taken == NULL)
            return TARN_NO_MEMORY;
        taken->queue = queue;
        const char *call;
        VkResult result = create_parts(taken, &call);
        tarn_status status = tarn_vulkan_check(queue->device, result, call);
        if (status != TARN_OK) {
            destroy_submission(taken);
            return status;
        }
    }
    taken->next = NULL;
    atomic_store(&taken->references, 1);
    atomic_store(&taken->seen_done_ns, 0);
    taken->kernel = NULL;
    taken->buffer_count = 0;
    taken->downloads = false;
    atomic_fetch_add(&queue->references, 1);
    *submission = taken;
    return TARN_OK;
}

void tarn_vulkan_submission_unref(struct vulkan_submission *submission)
{
    struct vulkan_queue *queue = submission->queue;
    if (atomic_fetch_sub(&submission->references, 1) > 1)
        return;
    pthread_mutex_lock(&queue->lock);
    submission->next = queue->spare;
    queue->spare = submission;
    pthread_mutex_unlock(&queue->lock);
    tarn_vulkan_queue_unref(queue);
}

void tarn_vulkan_submission_use(struct vulkan_submission *submission, struct vulkan_buffer *buffer)
{
    atomic_fetch_add(&buffer->references, 1);
    submission->buffers[submission->buffer_count++] = buffer;
}

void tarn_vulkan_submission_drop(struct vulkan_submission *submission)
{
    for (uint32_t i = 0; i < submission->buffer_count; i++)
        tarn_vulkan_buffer_unref(submission->buffers[i]);
    submission->buffer_count = 0;
    if (submission->kernel != NULL)
        tarn_vulkan_kernel_unref(submission->kernel);
    submission->kernel = NULL;
    tarn_vulkan_submission_unref(submission);
}

tarn_status tarn_vulkan_submission_begin(struct vulkan_queue *queue,
                                         struct vulkan_submission **submission)
{
    struct vulkan_submission *begun;
    tarn_status status = tarn_vulkan_reap(queue);
    if (status == TARN_OK)
        status = take(queue, &begun);
    if (status != TARN_OK)
        return status;
    VkResult result = vkBeginCommandBuffer(begun->commands,
                                           &(VkCommandBufferBeginInfo){
                                               .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                               .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT,
                                           });
    if (result != VK_SUCCESS) {
        tarn_vulkan_submission_drop(begun);
        return tarn_vulkan_check(queue->device, result, "vkBeginCommandBuffer");
    }
    /* in order, whatever earlier submissions did */
    vkCmdPipelineBarrier(
        begun->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1,
        &(VkMemoryBarrier){
            .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
            .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
            .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                             VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        },
        0, NULL, 0, NULL);
    *submission = begun;
    return TARN_OK;
}

tarn_status tarn_vulkan_submission_send(struct vulkan_submission *submission)
{
    struct vulkan_queue *queue = submission->queue;
    struct vulkan_device *device = queue->device;
    if (submission->downloads)
        vkCmdPipelineBarrier(
            submission->commands,
            VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
            VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
            &(VkMemoryBarrier){
                .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                .dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT,
            },
            0, NULL, 0, NULL);
    const char *call = "vkEndCommandBuffer";
    VkResult result = vkEndCommandBuffer(submission->commands);
    if (result == VK_SUCCESS && submission->fence != VK_NULL_HANDLE) {
        call = "vkResetFences";
        result = vkResetFences(device->device, 1, &submission->fence);
    }
    if (result == VK_SUCCESS) {
        bool timeline = queue->timeline != VK_NULL_HANDLE;
        submission->value = queue->submitted + 1;
        const VkTimelineSemaphoreSubmitInfo values = {
            .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
            .signalSemaphoreValueCount = 1,
            .pSignalSemaphoreValues = &submission->value,
        };
        const VkSubmitInfo info = {
            .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
            .pNext = timeline ? &values : NULL,
            .commandBufferCount = 1,
            .pCommandBuffers = &submission->commands,
            .signalSemaphoreCount = timeline,
            .pSignalSemaphores = &queue->timeline,
        };
        call = "vkQueueSubmit";
        submission->submitted_ns = tarn_clock_ns();
        pthread_mutex_lock(&queue->lane->lock);
        result = vkQueueSubmit(queue->lane->queue, 1, &info, submission->fence);
        pthread_mutex_unlock(&queue->lane->lock);
    }
    if (result != VK_SUCCESS) {
        tarn_vulkan_submission_drop(submission);
        return tarn_vulkan_check(device, result, call);
    }
    queue->submitted++;
    submission->next = NULL;
    if (queue->last != NULL)
        queue->last->next = submission;
    else
        queue->first = submission;
    queue->last = submission;
    return TARN_OK;
}

tarn_status tarn_vulkan_submission_wait(struct vulkan_submission *submission, uint64_t timeout_us)
{
    const struct vulkan_queue *queue = submission->queue;
    const struct vulkan_device *device = queue->device;
    VkResult result;
    if (queue->timeline != VK_NULL_HANDLE) {
        result = device->wait_semaphores(device->device,
                                         &(VkSemaphoreWaitInfo){
                                             .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                             .semaphoreCount = 1,
                                             .pSemaphores = &queue->timeline,
                                             .pValues = &submission->value,
                                         },
                                         vulkan_timeout_ns(timeout_us));
    } else {
        result = vkWaitForFences(device->device, 1, &submission->fence, VK_TRUE,
                                 vulkan_timeout_ns(timeout_us));
    }
    if (result == VK_SUCCESS && queue->lane->tick_mask == 0) {
        unsigned long long never = 0;
        atomic_compare_exchange_strong(&submission->seen_done_ns, &never, tarn_clock_ns());
    }
    return tarn_vulkan_check(device, result, "waiting");
}

tarn_status tarn_vulkan_reap(struct vulkan_queue *queue)
{
    struct vulkan_device *device = queue->device;
    uint64_t done = 0;
    if (queue->first != NULL && queue->timeline != VK_NULL_HANDLE) {
        tarn_status status = tarn_vulkan_check(
            device, device->semaphore_value(device->device, queue->timeline, &done),
            "vkGetSemaphoreCounterValue");
        if (status != TARN_OK)
            return status;
    }
    while (queue->first != NULL) {
        struct vulkan_submission *first = queue->first;
        if (queue->timeline == VK_NULL_HANDLE) {
            VkResult result = vkGetFenceStatus(device->device, first->fence);
            if (result == VK_NOT_READY)
                break;
            if (result != VK_SUCCESS)
                return tarn_vulkan_check(device, result, "vkGetFenceStatus");
        } else if (first->value > done) {
            break;
        }
        queue->first = first->next;
        if (queue->first == NULL)
            queue->last = NULL;
        tarn_vulkan_submission_drop(first);
    }
    return TARN_OK;
}

void tarn_vulkan_queue_unref(struct vulkan_queue *queue)
{
    if (atomic_fetch_sub(&queue->references, 1) > 1)
        return;
    while (queue->spare != NULL) {
        struct vulkan_submission *submission = queue->spare;
        queue->spare = submission->next;
        destroy_submission(submission);
    }
    vkDestroySemaphore(queue->device->device, queue->timeline, NULL);
    vkDestroyCommandPool(queue->device->device, queue->pool, NULL);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}
