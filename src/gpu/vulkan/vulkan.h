/* SPDX-License-Identifier: Apache-2.0 */
/** @file What the files of the Vulkan backend share; nothing outside of this folder includes it. */
#ifndef TARN_GPU_VULKAN_H
#define TARN_GPU_VULKAN_H

#include <vulkan/vulkan.h>

#include "gpu/backend.h"
#include "gpu/hints.h"

#define VULKAN_MAX_LANES 2 /* a queue of the driver's for each priority, where there are two */

/* Which structs of features the driver knows: bits of struct vulkan_found's `known`. */
enum { VULKAN_KNOWS_TYPES = 1, VULKAN_KNOWS_BYTES = 2, VULKAN_KNOWS_ATOMICS = 4 };
#define VULKAN_FEATURE_EXTENSIONS 3

/** A physical device and what was decided about it without opening it. */
struct vulkan_found {
    VkPhysicalDevice physical;
    VkPhysicalDeviceProperties properties;
    uint32_t lane_count; /**< 1: both priorities share one queue */
    uint32_t family[VULKAN_MAX_LANES], index[VULKAN_MAX_LANES]; /**< high first */
    uint32_t tick_bits[VULKAN_MAX_LANES];                       /**< of a timestamp; 0: none */
    bool unified;
    const char *timeline;        /**< the extension to enable, "" if it is core, NULL: not there */
    const char *global_priority; /**< the extension to enable, or NULL */
    uint32_t known, features;    /**< VULKAN_KNOWS_ bits; TARN_FEATURE_ bits that are there */
    const char *feature_extensions[VULKAN_FEATURE_EXTENSIONS]; /**< to enable, where not core */
    uint32_t feature_extension_count;
};

/** Features to be asked for or switched on; `base` is the head of the chain. */
struct vulkan_feature_chain {
    VkPhysicalDeviceFeatures2 base;
    VkPhysicalDeviceShaderFloat16Int8Features types;
    VkPhysicalDevice8BitStorageFeatures bytes;
    VkPhysicalDeviceShaderAtomicInt64Features atomics;
};

struct vulkan_list {
    struct vulkan_found devices[16];
    uint32_t count;
};

/** One queue of the driver's; several of ours may share it. */
struct vulkan_lane {
    VkQueue queue;
    uint32_t family;
    uint64_t tick_mask; /**< of timestamps; 0: it has none */
    pthread_mutex_t lock;
};

struct vulkan_device {
    struct tarn_device base;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkPhysicalDeviceMemoryProperties memory;
    VkDescriptorSetLayout
        set_layout; /**< storage buffers 0 to binding_count - 1, for all kernels */
    VkPipelineCache cache;
    uint32_t binding_count;
    uint32_t most_groups; /**< of one dispatch */
    uint32_t turn_limit;  /**< turns of loops after which the driver ends them; 0: none */
    double tick_ns;
    uint32_t lane_count, lock_count;
    struct vulkan_lane lanes[VULKAN_MAX_LANES];

    /** Both NULL: no timeline semaphores, fences then. */
    PFN_vkWaitSemaphores wait_semaphores;
    PFN_vkGetSemaphoreCounterValue semaphore_value;

    pthread_mutex_t service_lock; /**< guards the next three: zero-fills of new buffers */
    bool has_service_lock;
    VkCommandPool service_pool;
    VkCommandBuffer service_commands;
    VkFence service_fence;

    atomic_bool abandoned; /**< given up with work under way: the driver's objects are left alone */
};

/*
 * Buffers and kernels are counted: one reference is the caller's, one each submission's that uses
 * them, so that destroying them early does no harm.
 */
struct vulkan_buffer {
    struct tarn_buffer base;
    atomic_uint references;
    VkBuffer buffer, shadow; /**< `shadow`: the host's side where memory isn't shared */
    VkDeviceMemory memory, shadow_memory;
};

struct vulkan_kernel {
    struct tarn_kernel base;
    atomic_uint references;
    VkPipelineLayout layout;
    VkPipeline pipeline;
};

struct vulkan_queue;

/** One vkQueueSubmit, reused once its work is done and no event looks at it any more. */
struct vulkan_submission {
    struct vulkan_submission *next; /**< of the flying or the spare ones */
    struct vulkan_queue *queue;
    atomic_uint references; /**< the queue's while it is open or flying, and one each event's */
    VkCommandBuffer commands;
    VkDescriptorPool descriptors;
    VkDescriptorSet set;
    VkQueryPool queries; /**< start, end; NULL if the lane has no timestamps */
    VkFence fence;       /**< NULL with timeline semaphores */
    uint64_t value;      /**< of the queue's timeline once it is done */
    bool downloads;      /**< it writes what the host will read */
    uint64_t submitted_ns;
    atomic_ullong seen_done_ns; /**< when a wait first saw its end, 0 before */
    struct vulkan_kernel *kernel;
    struct vulkan_buffer *buffers[2 * TARN_MAX_BUFFERS];
    uint32_t buffer_count;
};

struct vulkan_queue {
    struct tarn_queue base;
    struct vulkan_device *device;
    struct vulkan_lane *lane;
    atomic_uint references; /**< the caller's, and one each submission's that isn't spare */
    VkCommandPool pool;
    VkSemaphore timeline;
    uint64_t submitted;                     /**< last value given to the timeline */
    struct vulkan_submission *open;         /**< copies that wait for a launch, mark or finish */
    struct vulkan_submission *first, *last; /**< flying, in order */
    pthread_mutex_t lock;                   /**< guards `spare` */
    struct vulkan_submission *spare;
};

struct vulkan_event {
    struct tarn_event base;
    struct vulkan_submission *submission; /**< NULL: there was nothing to wait for */
    bool is_launch;
};

/** The status for a result, and its name ("VK_ERROR_DEVICE_LOST", or "result -42"). */
tarn_status tarn_vulkan_status(VkResult result);
const char *tarn_vulkan_name(VkResult result);
/** The status of a call on an opened device; logs a failure. VK_TIMEOUT is TARN_TIMEOUT, unlogged. */
tarn_status tarn_vulkan_check(const struct vulkan_device *device, VkResult result,
                              const char *call);

/** An instance of the loader's; TARN_NO_DEVICE where there is no driver. The caller destroys it. */
tarn_status tarn_vulkan_instance(VkInstance *instance);
/**
 * Chooses the queues for both priorities: lane_count, family, index, tick_bits. `global`: global
 * priorities are listed. False if no family computes.
 */
bool tarn_vulkan_choose_lanes(struct vulkan_found *found, const VkQueueFamilyProperties *families,
                              uint32_t count, bool global);
/** TARN_HINT_ bits of what was chosen. */
uint32_t tarn_vulkan_hints(const struct vulkan_found *found);
/** TARN_FEATURE_ bits for what a driver answered. */
uint32_t tarn_vulkan_features(const struct vulkan_feature_chain *chain,
                              const VkPhysicalDeviceSubgroupProperties *subgroups);
/** Asks the driver, which knows found->known. */
void tarn_vulkan_features_find(struct vulkan_found *found);
/** What vkCreateDevice is given: all of found->features. */
void tarn_vulkan_features_enable(const struct vulkan_found *found,
                                 struct vulkan_feature_chain *chain);
/** All usable devices of `instance`, real GPUs first; logs why one is left out. */
tarn_status tarn_vulkan_find(VkInstance instance, struct vulkan_list *list);
void tarn_vulkan_describe(const struct vulkan_found *found, uint32_t index,
                          struct tarn_device_info *info);
tarn_status tarn_vulkan_list(struct tarn_device_list *list);

tarn_status tarn_vulkan_open(uint32_t index, tarn_device **device, struct tarn_error *error);
void tarn_vulkan_close(tarn_device *device);

tarn_status tarn_vulkan_buffer_create(tarn_device *device, size_t size, bool device_only,
                                      tarn_buffer **buffer);
void tarn_vulkan_buffer_destroy(tarn_buffer *buffer);
void tarn_vulkan_buffer_unref(struct vulkan_buffer *buffer);

tarn_kernel *tarn_vulkan_kernel_alloc(void);
tarn_status tarn_vulkan_kernel_build(tarn_kernel *kernel, struct tarn_error *error);
void tarn_vulkan_kernel_destroy(tarn_kernel *kernel);
void tarn_vulkan_kernel_unref(struct vulkan_kernel *kernel);
/** Binds the launch's kernel, buffers and constants and dispatches its groups. */
void tarn_vulkan_kernel_record(const struct vulkan_device *device, VkCommandBuffer commands,
                               VkDescriptorSet set, const struct tarn_launch *launch);

/**
 * Looks through a SPIR-V module for what its table row says: drivers trust their input, and crash on
 * garbage. NULL if it has one compute entry point "main" and the bindings 0 to buffer_count - 1, or
 * else what is wrong, written to `text` where it takes numbers.
 */
const char *tarn_vulkan_spirv_fault(const uint32_t *words, size_t size, uint32_t buffer_count,
                                    char *text, size_t text_size);

/** A limit of ours as the driver counts: nanoseconds. */
static inline uint64_t vulkan_timeout_ns(uint64_t timeout_us)
{
    return timeout_us > UINT64_MAX / 1000 ? UINT64_MAX : timeout_us * 1000;
}

/** A submission's place in the sequence of one queue is over: TARN_TIMEOUT if not yet. */
tarn_status tarn_vulkan_submission_wait(struct vulkan_submission *submission, uint64_t timeout_us);
/** A spare or new one, its commands begun behind a barrier to all that ran before. */
tarn_status tarn_vulkan_submission_begin(struct vulkan_queue *queue,
                                         struct vulkan_submission **submission);
/** Ends the commands and submits; the submission flies or, on failure, is spare again. */
tarn_status tarn_vulkan_submission_send(struct vulkan_submission *submission);
void tarn_vulkan_submission_unref(struct vulkan_submission *submission);
/** The queue's part in it is over: it is done, or was never sent. */
void tarn_vulkan_submission_drop(struct vulkan_submission *submission);
/** Keeps the buffer alive until the submission is done. */
void tarn_vulkan_submission_use(struct vulkan_submission *submission, struct vulkan_buffer *buffer);
/** Lets go of the flying submissions that are done. */
tarn_status tarn_vulkan_reap(struct vulkan_queue *queue);
void tarn_vulkan_queue_unref(struct vulkan_queue *queue);

#endif
