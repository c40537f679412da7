/* SPDX-License-Identifier: Apache-2.0 */
/* Pipelines from SPIR-V, and recording a launch. */
#include "vulkan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

tarn_kernel *tarn_vulkan_kernel_alloc(void)
{
    struct vulkan_kernel *kernel = calloc(1, sizeof *kernel);
    if (kernel == NULL)
        return NULL;
    atomic_init(&kernel->references, 1);
    return &kernel->base;
}

/* Push constants go by whole words. */
static uint32_t push_size(const struct tarn_kernel_source *source)
{
    return (source->constants_size + 3) / 4 * 4;
}

static VkResult create_layout(struct vulkan_kernel *kernel, const struct vulkan_device *device)
{
    uint32_t size = push_size(kernel->base.source);
    return vkCreatePipelineLayout(
        device->device,
        &(VkPipelineLayoutCreateInfo){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
            .setLayoutCount = 1,
            .pSetLayouts = &device->set_layout,
            .pushConstantRangeCount = size > 0,
            .pPushConstantRanges =
                &(VkPushConstantRange){.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = size},
        },
        NULL, &kernel->layout);
}

/* Constants 0 to n - 1 are the defines; the local size and the limit on turns have their own. */
static VkResult create_pipeline(struct vulkan_kernel *kernel, const struct vulkan_device *device,
                                VkPipelineCache cache, VkShaderModule module)
{
    VkSpecializationMapEntry entries[TARN_MAX_DEFINES + 2];
    uint32_t values[TARN_MAX_DEFINES + 2], count = kernel->base.define_count;
    for (uint32_t i = 0; i < count + 2; i++) {
        entries[i] = (VkSpecializationMapEntry){.constantID = i, .offset = 4 * i, .size = 4};
        values[i] = i < count ? (uint32_t)kernel->base.defines[i] : 0;
    }
    entries[count].constantID = TARN_SPIRV_LOCAL_SIZE_ID;
    values[count] = kernel->base.local_size;
    entries[count + 1].constantID = TARN_SPIRV_TURN_LIMIT_ID;
    values[count + 1] = device->turn_limit;
    const VkSpecializationInfo constants = {
        .mapEntryCount = count + 2,
        .pMapEntries = entries,
        .dataSize = 4 * ((size_t)count + 2),
        .pData = values,
    };
    return vkCreateComputePipelines(
        device->device, cache, 1,
        &(VkComputePipelineCreateInfo){
            .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
            .flags = VK_PIPELINE_CREATE_DISPATCH_BASE,
            .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                      .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                      .module = module,
                      .pName = "main",
                      .pSpecializationInfo = &constants},
            .layout = kernel->layout,
            .basePipelineIndex = -1,
        },
        NULL, &kernel->pipeline);
}

/* What a kept pipeline depends on: the driver says by its UUID which of its caches it takes. */
struct pipeline_key {
    struct tarn_program_key key;
    char uuid[2 * VK_UUID_SIZE + 1], constants[16 * (TARN_MAX_DEFINES + 2)];
};

static void make_key(const struct vulkan_kernel *kernel, const struct vulkan_device *device,
                     struct pipeline_key *made)
{
    VkPhysicalDeviceProperties properties;
    size_t used = 0;
    vkGetPhysicalDeviceProperties(device->physical, &properties);
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
        snprintf(made->uuid + 2 * i, 3, "%02x", properties.pipelineCacheUUID[i]);
    used += (size_t)snprintf(made->constants, sizeof made->constants, "%u %u",
                             (unsigned)kernel->base.local_size, (unsigned)device->turn_limit);
    for (uint32_t i = 0; i < kernel->base.define_count; i++)
        used += (size_t)snprintf(made->constants + used, sizeof made->constants - used, " %d",
                                 (int)kernel->base.defines[i]);
    made->key = (struct tarn_program_key){
        .backend = "vulkan",
        .device = device->base.info.name,
        .driver = made->uuid,
        .source = kernel->base.source->spirv,
        .source_size = kernel->base.source->spirv_size,
        .options = made->constants,
    };
}

/* A cache for one pipeline, filled by an earlier run where there was one. */
static VkPipelineCache open_cache(const struct vulkan_device *device, struct pipeline_key *made,
                                  bool *kept)
{
    VkPipelineCache cache = VK_NULL_HANDLE;
    void *data;
    size_t size;
    *kept = tarn_program_cache_get(device->base.programs, &made->key, &data, &size);
    VkResult result =
        vkCreatePipelineCache(device->device,
                              &(VkPipelineCacheCreateInfo){
                                  .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                  .initialDataSize = *kept ? size : 0,
                                  .pInitialData = *kept ? data : NULL,
                              },
                              NULL, &cache);
    free(data);
    return result == VK_SUCCESS ? cache : VK_NULL_HANDLE;
}

/* Gives what the driver put into it to the next run, unless it came from there. */
static void close_cache(const struct vulkan_device *device, struct pipeline_key *made,
                        VkPipelineCache cache, bool keep)
{
    enum { HEADER = 32 }; /* a cache with nothing in it */
    size_t size = 0;
    if (cache == VK_NULL_HANDLE)
        return;
    if (keep && vkGetPipelineCacheData(device->device, cache, &size, NULL) == VK_SUCCESS &&
        size > HEADER) {
        void *data = malloc(size);
        if (data != NULL &&
            vkGetPipelineCacheData(device->device, cache, &size, data) == VK_SUCCESS)
            tarn_program_cache_put(device->base.programs, &made->key, data, size);
        free(data);
    }
    vkDestroyPipelineCache(device->device, cache, NULL);
}

tarn_status tarn_vulkan_kernel_build(tarn_kernel *base, struct tarn_error *error)
{
    struct vulkan_kernel *kernel = (struct vulkan_kernel *)base;
    struct vulkan_device *device = (struct vulkan_device *)base->device;
    const struct tarn_kernel_source *source = base->source;
    const char *id = device->base.info.id;
    if (source->spirv == NULL)
        return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s has no variant for %s", source->name,
                         id);
    base->local_size = source->gpu_local_size;
    base->group_elements = source->gpu_group_elements;
    tarn_status status = tarn_kernel_check_shape(&device->base, source, error);
    if (status != TARN_OK)
        return status;
    if (source->buffer_count > device->binding_count)
        return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s has %u buffers, %s takes %u",
                         source->name, (unsigned)source->buffer_count, id,
                         (unsigned)device->binding_count);
    char text[100];
    const char *fault = tarn_vulkan_spirv_fault(source->spirv, source->spirv_size,
                                                source->buffer_count, text, sizeof text);
    if (fault != NULL)
        return tarn_fail(error, TARN_COMPILE, "kernel %s on %s: %s", source->name, id, fault);

    uint64_t started = tarn_clock_ns();
    VkShaderModule module = VK_NULL_HANDLE;
    const char *call = "vkCreateShaderModule";
    VkResult result = vkCreateShaderModule(device->device,
                                           &(VkShaderModuleCreateInfo){
                                               .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                               .codeSize = source->spirv_size,
                                               .pCode = source->spirv,
                                           },
                                           NULL, &module);
    if (result != VK_SUCCESS)
        module = VK_NULL_HANDLE;
    if (result == VK_SUCCESS) {
        call = "vkCreatePipelineLayout";
        result = create_layout(kernel, device);
    }
    if (result == VK_SUCCESS) {
        call = "vkCreateComputePipelines";
        struct pipeline_key key;
        bool kept = false,
             keep = device->base.programs != NULL &&
                    (tarn_quirks_flags(device->base.info.quirks) & TARN_QUIRK_NO_BINARIES) == 0;
        VkPipelineCache cache = VK_NULL_HANDLE;
        if (keep) {
            make_key(kernel, device, &key);
            cache = open_cache(device, &key, &kept);
        }
        result = create_pipeline(kernel, device, cache != VK_NULL_HANDLE ? cache : device->cache,
                                 module);
        if (keep)
            close_cache(device, &key, cache, result == VK_SUCCESS && !kept);
        if (result != VK_SUCCESS)
            kernel->pipeline = VK_NULL_HANDLE;
    }
    vkDestroyShaderModule(device->device, module, NULL);
    if (result != VK_SUCCESS) {
        tarn_fail(error, tarn_vulkan_status(result), "kernel %s on %s: %s: %s", source->name, id,
                  call, tarn_vulkan_name(result));
        return tarn_vulkan_check(device, result, call);
    }
    tarn_log(TARN_LOG_DEBUG, "gpu: %s: built %s in %.1f ms", id, source->name,
             (double)(tarn_clock_ns() - started) * 1e-6);
    return TARN_OK;
}

void tarn_vulkan_kernel_unref(struct vulkan_kernel *kernel)
{
    if (atomic_fetch_sub(&kernel->references, 1) > 1)
        return;
    VkDevice device = ((struct vulkan_device *)kernel->base.device)->device;
    vkDestroyPipeline(device, kernel->pipeline, NULL);
    vkDestroyPipelineLayout(device, kernel->layout, NULL);
    free(kernel);
}

void tarn_vulkan_kernel_destroy(tarn_kernel *kernel)
{
    tarn_vulkan_kernel_unref((struct vulkan_kernel *)kernel);
}

void tarn_vulkan_kernel_record(const struct vulkan_device *device, VkCommandBuffer commands,
                               VkDescriptorSet set, const struct tarn_launch *launch)
{
    const struct vulkan_kernel *kernel = (const struct vulkan_kernel *)launch->kernel;
    const struct tarn_kernel_source *source = kernel->base.source;
    VkDescriptorBufferInfo infos[TARN_MAX_BUFFERS];
    /*
     * The set serves every kernel. Vulkan lets the bindings that this one doesn't use be stale, but
     * lavapipe (Mesa 22.3) follows them to buffers that are gone, and corrupts the heap.
     */
    for (uint32_t i = 0; i < device->binding_count; i++) {
        const tarn_buffer *buffer = launch->buffers[i < source->buffer_count ? i : 0];
        infos[i] = (VkDescriptorBufferInfo){
            .buffer = ((const struct vulkan_buffer *)buffer)->buffer,
            .range = VK_WHOLE_SIZE,
        };
    }
    /* one write: the bindings follow each other */
    vkUpdateDescriptorSets(device->device, 1,
                           &(VkWriteDescriptorSet){
                               .sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                               .dstSet = set,
                               .descriptorCount = device->binding_count,
                               .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                               .pBufferInfo = infos,
                           },
                           0, NULL);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel->layout, 0, 1, &set, 0,
                            NULL);
    if (source->constants_size > 0) {
        uint32_t words[TARN_MAX_CONSTANTS_SIZE / 4];
        words[push_size(source) / 4 - 1] = 0;
        memcpy(words, launch->constants, source->constants_size);
        vkCmdPushConstants(commands, kernel->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                           push_size(source), words);
    }
    if (launch->groups <= device->most_groups) {
        vkCmdDispatch(commands, launch->groups, 1, 1);
        return;
    }
    for (uint32_t done = 0; done < launch->groups;) {
        uint32_t left = launch->groups - done;
        uint32_t now = left < device->most_groups ? left : device->most_groups;
        vkCmdDispatchBase(commands, done, 0, 0, now, 1, 1);
        done += now;
    }
}
