/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Compute devices behind one interface: OpenCL, Vulkan, the host's own CPU, and simulated ones
 * (<tarn/virtual.h>).
 *
 * A loop that runs a kernel:
 *
 *     tarn_device *device;
 *     tarn_device_open(&(struct tarn_device_params){ .id = "auto" }, &device, &error);
 *     tarn_queue_create(device, &(struct tarn_queue_params){ .priority = TARN_PRIORITY_HIGH }, &queue);
 *     tarn_buffer_create(device, &(struct tarn_buffer_params){ .size = n * 4 }, &buffer);
 *     tarn_kernel_create(device, &(struct tarn_kernel_params){ .source = &my_kernel }, &kernel, &error);
 *     memcpy(tarn_buffer_data(buffer), input, n * 4);
 *     tarn_buffer_upload(queue, buffer, 0, n * 4);
 *     tarn_queue_submit(queue, &(struct tarn_launch){ .kernel = kernel, .buffers = &buffer,
 *                       .groups = tarn_kernel_groups(kernel, n) }, &event);
 *     tarn_buffer_download(queue, buffer, 0, n * 4);
 *     tarn_event_wait(event, TARN_FOREVER);
 *     tarn_event_release(&event);
 *
 * Units: bytes, and microseconds or nanoseconds where the name says so.
 * Ownership: who creates destroys; `x_destroy(&x)` accepts NULL and nulls the handle. A device must
 * outlive its queues, buffers, kernels and events.
 * Thread-safety: devices, kernels and buffers may be used from any thread; one queue or event must
 * not be used by two threads at once.
 * Errors: TARN_INVALID for arguments that can't be right, with the reason in the log;
 * TARN_DEVICE_LOST is sticky: every later call on the device returns it at once, and only destroying,
 * releasing and closing still do something. A lost device can be closed and opened anew.
 */
#ifndef TARN_GPU_H
#define TARN_GPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TARN_FOREVER UINT64_MAX

typedef struct tarn_device tarn_device;
typedef struct tarn_queue tarn_queue;
typedef struct tarn_buffer tarn_buffer;
typedef struct tarn_kernel tarn_kernel;
typedef struct tarn_event tarn_event;

typedef enum tarn_device_type {
    TARN_DEVICE_GPU,     /**< a GPU or another accelerator */
    TARN_DEVICE_CPU,     /**< a driver that runs kernels on the CPU (PoCL, lavapipe) */
    TARN_DEVICE_HOST,    /**< this process, no driver */
    TARN_DEVICE_VIRTUAL, /**< a simulation */
} tarn_device_type;

typedef enum tarn_priority {
    TARN_PRIORITY_HIGH, /**< latency-critical: lookups, scores */
    TARN_PRIORITY_LOW,  /**< best effort: training */
} tarn_priority;

/** What a driver offers to tell queues apart; the engine never relies on it. */
typedef enum tarn_queue_priority_kind {
    TARN_QUEUE_PRIORITY_NONE,
    TARN_QUEUE_PRIORITY_HINT,
    TARN_QUEUE_PRIORITY_GLOBAL,
} tarn_queue_priority_kind;

/** What kernels may use beyond the baseline of fp32 and int32; bits. */
enum {
    TARN_FEATURE_FP16 = 1,          /**< arithmetic in 16-bit floats */
    TARN_FEATURE_INT8 = 2,          /**< arithmetic and storage in bytes */
    TARN_FEATURE_INT64_ATOMICS = 4, /**< atomic operations on 64-bit integers */
    TARN_FEATURE_SUBGROUPS = 8,     /**< shuffles and votes inside a subgroup */
    TARN_FEATURE_ALL = 15,
};

struct tarn_device_limits {
    uint64_t memory;        /**< bytes the device can address, 0 if unknown */
    uint64_t buffer;        /**< largest single buffer, bytes */
    uint32_t local_memory;  /**< bytes shared by a work-group */
    uint32_t group_size;    /**< largest work-group, work-items */
    uint32_t compute_units; /**< parallel units, at least 1 */
    uint32_t features;      /**< TARN_FEATURE_ bits that kernels may need */
};

struct tarn_device_info {
    char id[32];      /**< "host", "opencl:0", "vulkan:0": what --device and TARN_DEVICE accept */
    char backend[16]; /**< "host", "opencl", "vulkan" */
    char name[128];
    char driver[128]; /**< platform and driver version */
    tarn_device_type type;
    bool unified_memory; /**< host and device share memory: no copies are made */
    tarn_queue_priority_kind queue_priority;
    uint32_t hints;  /**< how its driver was told which queue is urgent: tarn_device_hint() */
    bool stop_flag;  /**< a running kernel sees what the host writes: struct tarn_launch's `stop` */
    uint32_t quirks; /**< what is known of its driver, a bit each: tarn_device_quirk() */
    uint32_t watchdog_ms; /**< the longest launch that its driver lets live; 0: none is known */
    struct tarn_device_limits limits;
};

/**
 * Lists every device that can be seen, in the order of preference: GPUs, then CPU-type devices, the
 * host, and behind it the simulated ones, which nothing ever prefers. `*infos` is an array of
 * `*count` (at least 1) to be given to tarn_devices_free().
 * A driver that fails is skipped with a log message: no device is not an error.
 */
TARN_API tarn_status tarn_devices_list(struct tarn_device_info **infos, size_t *count);
TARN_API void tarn_devices_free(struct tarn_device_info **infos);

/**
 * The n-th thing that is avoided on this device because its driver is known for it, with the place
 * where that was reported; NULL behind the last. A static string.
 */
TARN_API const char *tarn_device_quirk(const struct tarn_device_info *info, size_t n);

/**
 * The name of the n-th mechanism by which this device's driver is told which queue is the urgent one
 * ("khr_priority", "global_priority", ...); NULL behind the last, and at once where it has none. Of
 * a device in a list: what its driver lists; of an open one: what it took. A static string.
 */
TARN_API const char *tarn_device_hint(const struct tarn_device_info *info, size_t n);

/**
 * The n-th kernel that is left to the host on this device, and why: "train: its answers differ from
 * the host's: ...", from TARN_QUARANTINE and from what earlier starts found (`cache_dir` as in struct
 * tarn_device_params). False behind the last.
 */
TARN_API bool tarn_device_quarantined(const struct tarn_device_info *info, const char *cache_dir,
                                      size_t n, char text[], size_t size);

struct tarn_device_params {
    /**
     * "auto" (or NULL): the first GPU, or the host where there is none: a CPU-type device has to be
     * asked for until it has won its place by measurement. "host", "opencl" (its first device),
     * "opencl:1", "vulkan:0", "virtual:mali".
     */
    const char *id;
    /**
     * Only for the host, else TARN_INVALID: it then refuses what a device with these limits would
     * refuse, kernels by the needs of their shape for GPUs. A limit of 0 leaves the host's own;
     * `features` are taken as they are. NULL: what TARN_HOST_LIMITS says, which is nothing by
     * default. Read only during the call.
     */
    const struct tarn_device_limits *limits;
    /**
     * Where compiled programs and what was found out about kernels are kept between runs. NULL:
     * XDG_CACHE_HOME/tarn, else HOME/.cache/tarn. A pure optimisation: any failure there is none.
     */
    const char *cache_dir;
};

/** TARN_NO_DEVICE if the asked device isn't there. */
TARN_API tarn_status tarn_device_open(const struct tarn_device_params *params, tarn_device **device,
                                      struct tarn_error *error);
/**
 * Only after all that was made on it is gone: otherwise it logs an error and keeps the device. One on
 * which something hangs is left behind with its memory, and not waited for.
 */
TARN_API void tarn_device_close(tarn_device **device);
TARN_API const struct tarn_device_info *tarn_device_get_info(const tarn_device *device);
/** True once the device was lost. */
TARN_API bool tarn_device_is_lost(const tarn_device *device);

struct tarn_queue_params {
    tarn_priority priority;
};

/** An in-order queue. Its priority is passed to drivers that know one; they may ignore it. */
TARN_API tarn_status tarn_queue_create(tarn_device *device, const struct tarn_queue_params *params,
                                       tarn_queue **queue);
/** Waits for the queue's work, unless the device is lost, then frees it. */
TARN_API void tarn_queue_destroy(tarn_queue **queue);
/**
 * Waits until all that was submitted is done. TARN_TIMEOUT after `timeout_us` (0 only asks).
 * TARN_FOREVER blocks in the driver, which costs the least CPU. A limited wait sleeps until the driver
 * calls back or asks again and again, with growing pauses, whichever is known to be better there.
 */
TARN_API tarn_status tarn_queue_finish(tarn_queue *queue, uint64_t timeout_us);
/**
 * A stopped queue refuses launches with TARN_BUSY; what is already submitted goes on. Any thread may
 * stop and start a queue.
 */
TARN_API void tarn_queue_stop(tarn_queue *queue, bool stopped);

struct tarn_buffer_params {
    size_t size;      /**< bytes, > 0 */
    bool device_only; /**< no host pointer: tarn_buffer_data() is NULL */
};

/**
 * Zero-filled memory that kernels can use, 64-byte aligned on the host's side. TARN_TOO_LARGE above
 * the device's limit, TARN_DEVICE_MEMORY or TARN_NO_MEMORY where there is no room.
 */
TARN_API tarn_status tarn_buffer_create(tarn_device *device,
                                        const struct tarn_buffer_params *params,
                                        tarn_buffer **buffer);
/** No launch that uses it may be under way. */
TARN_API void tarn_buffer_destroy(tarn_buffer **buffer);
TARN_API size_t tarn_buffer_size(const tarn_buffer *buffer);
/** The host's view, valid until the buffer is destroyed. */
TARN_API void *tarn_buffer_data(tarn_buffer *buffer);
/**
 * Make the host's bytes visible to later launches of `queue`, or what earlier launches wrote visible
 * to the host once the queue has passed this point (wait for an event submitted after, or finish the
 * queue). On unified memory they cost nothing. Until then the host leaves the range alone: an upload
 * may be read after the call has returned.
 */
TARN_API tarn_status tarn_buffer_upload(tarn_queue *queue, tarn_buffer *buffer, size_t offset,
                                        size_t size);
TARN_API tarn_status tarn_buffer_download(tarn_queue *queue, tarn_buffer *buffer, size_t offset,
                                          size_t size);

#define TARN_MAX_BUFFERS         8   /* buffers of one kernel */
#define TARN_MAX_CONSTANTS_SIZE  128 /* bytes passed by value to one launch */
#define TARN_MAX_DEFINES         12  /* compile-time constants of one kernel */
#define TARN_SPIRV_LOCAL_SIZE_ID 64  /* the specialisation constant that is the local size */
#define TARN_SPIRV_TURN_LIMIT_ID 65  /* the one that is the limit on turns of loops */

/** What the host backend calls: runs work-groups [first, first + count). */
struct tarn_host_launch {
    void *const *buffers;
    const void *constants;
    const int32_t *defines; /**< the kernel's compile-time constants, in order */
    uint32_t first_group, group_count;
    /**
     * Of a source that has tiles: run [first_tile, first_tile + tile_count), to the end if
     * `tile_count` is 0; else both are 0.
     */
    uint32_t first_tile, tile_count;
    /**
     * NULL, or struct tarn_launch's `stop` with its ticket, which the function looks at before each
     * tile (tarn_ticket_is_over()); where it stopped goes to `*next_tile`.
     */
    const uint32_t *stop;
    uint32_t ticket;
    uint32_t *next_tile;
};
typedef void (*tarn_host_kernel)(const struct tarn_host_launch *launch);

/** The work of a launch, for models of time. */
struct tarn_kernel_cost {
    uint64_t operations; /**< arithmetic ones; a multiply-add counts as two */
    uint64_t bytes;      /**< moved to and from memory */
};
/**
 * How many tiles a launch has: parts that run one after the other, such that launches of any ranges
 * of them, one behind the other, leave what one launch of all leaves: the same bits where a host
 * function runs (hosts and simulated devices), and up to the order of sums elsewhere. What they have
 * to hand on lies in the kernel's buffers. Pure: reads the launch's constants and defines.
 *
 * The constants of such a source begin with two uint32_t, the first tile and how many (0: to the
 * end), which a submit fills in, whatever the caller left there: from them its variants for devices
 * know their range.
 */
typedef uint32_t (*tarn_kernel_tiles_function)(const struct tarn_host_launch *launch);
/**
 * Pure: reads the launch's constants, defines and tiles, never its buffers. `cost` starts at zero.
 */
typedef void (*tarn_kernel_cost_function)(const struct tarn_host_launch *launch,
                                          struct tarn_kernel_cost *cost);

/** A kernel as data: the same computation for each backend, under one name. Static lifetime. */
struct tarn_kernel_source {
    const char *name;       /**< also the entry point in `opencl` */
    const char *opencl_gpu; /**< OpenCL C 1.2 shaped for GPUs, or NULL */
    const char *opencl_cpu; /**< the variant for CPU-type devices, or NULL: as for GPUs */
    /**
     * For Vulkan 1.1, shaped for GPUs, or NULL: a compute entry point "main", the buffers as storage
     * buffers 0, 1, ... of set 0, the constants as push constants, the compile-time constants as
     * specialisation constants 0, 1, ... and the local size as number TARN_SPIRV_LOCAL_SIZE_ID.
     * Number TARN_SPIRV_TURN_LIMIT_ID, which may be left out, is the turns of loops that the driver
     * lets one invocation take before it ends them, whatever comes out; 0: any number.
     */
    const uint32_t *spirv;
    size_t spirv_size;       /**< bytes */
    uint32_t gpu_local_size; /**< work-items a group (x), a power of two, for the GPU shape */
    uint32_t cpu_local_size; /**< the same for the CPU shape */
    uint32_t
        gpu_group_elements; /**< elements (keys, samples) that a group computes; 0: one group */
    uint32_t cpu_group_elements;  /**< the same for the CPU shape */
    uint32_t host_group_elements; /**< the same for `host` */
    tarn_host_kernel host;        /**< the reference */
    uint32_t buffer_count;        /**< buffers, in the order of the arguments */
    uint32_t constants_size;      /**< bytes of the by-value struct behind the buffers, 0: none */
    const char *const
        *defines;              /**< names of the compile-time constants, NULL-terminated, or NULL */
    uint32_t gpu_local_memory; /**< bytes of local memory a group of the GPU shape takes */
    uint32_t features;         /**< TARN_FEATURE_ bits that no variant can do without */
    tarn_kernel_cost_function cost;   /**< NULL: one pass over all its buffers */
    tarn_kernel_tiles_function tiles; /**< NULL: a launch can't be divided */
};

struct tarn_kernel_params {
    const struct tarn_kernel_source *source;
    const int32_t *defines; /**< a value for each name in source->defines */
};

/**
 * Compiles where the backend compiles: in OpenCL every define is a macro of its name, TARN_LOCAL_SIZE
 * one more with the variant's local size. TARN_COMPILE puts the driver's log into `error`;
 * TARN_UNSUPPORTED if the source has no variant for this device or wants larger groups, more local
 * memory or other features than it has.
 */
TARN_API tarn_status tarn_kernel_create(tarn_device *device,
                                        const struct tarn_kernel_params *params,
                                        tarn_kernel **kernel, struct tarn_error *error);
TARN_API void tarn_kernel_destroy(tarn_kernel **kernel);
/**
 * How many groups `elements` elements take on this device, in the variant that was built: 0 for none,
 * which is not to be submitted.
 */
TARN_API uint32_t tarn_kernel_groups(const tarn_kernel *kernel, uint32_t elements);

struct tarn_launch {
    tarn_kernel *kernel;
    tarn_buffer *const *buffers; /**< as many as the kernel's source says */
    const void *constants;       /**< source->constants_size bytes, copied */
    uint32_t groups;             /**< work-groups, > 0 */
    /**
     * The range of tiles to run, on any device: at most `tile_count` of them from `first_tile` on, 0:
     * to the end. Ranges of one piece of work are launched in order. TARN_UNSUPPORTED where the
     * kernel has no tiles.
     */
    uint32_t first_tile, tile_count;
    /**
     * NULL, or a buffer of two uint32_t that the host sees: the newest ticket that is asked to leave,
     * and the next tile to be done. The launch is left at the next boundary of two tiles (perhaps
     * before its first) once the first word has come to its `ticket` (tarn_ticket_is_over()); the
     * host writes it at any time, atomically. When the launch ends it sets the second: the kernel's
     * number of tiles if all are done. TARN_UNSUPPORTED where the kernel has no tiles or the device
     * no `stop_flag`.
     */
    tarn_buffer *stop;
    /**
     * Of a launch with `stop`, from 1 on, and rising: one write stops all launches up to a ticket
     * and none behind it, and nothing has to be reset. They wrap; the first word of `stop` must be
     * within 2^31 of them.
     */
    uint32_t ticket;
    /**
     * With `stop`: begin at the tile that its second word names when the launch starts, instead of
     * `first_tile`, so that a launch can be put behind one of which nobody knows yet where it will
     * be left. Does nothing if no tile is left.
     */
    bool resume;
};

/** Whether a launch with this ticket is asked to leave by what the first word of `stop` holds. */
static inline bool tarn_ticket_is_over(uint32_t word, uint32_t ticket)
{
    return word - ticket < UINT32_C(0x80000000);
}

/**
 * Puts a launch behind what the queue holds. `event` may be NULL. The buffers must live until the
 * launch is done. TARN_BUSY if the queue is stopped.
 */
TARN_API tarn_status tarn_queue_submit(tarn_queue *queue, const struct tarn_launch *launch,
                                       tarn_event **event);

/** Signalled when all that was submitted to the queue so far is done, downloads included. */
TARN_API tarn_status tarn_queue_mark(tarn_queue *queue, tarn_event **event);

/** TARN_TIMEOUT after `timeout_us` (0 only asks); TARN_DEVICE_LOST if the device is gone. */
TARN_API tarn_status tarn_event_wait(tarn_event *event, uint64_t timeout_us);

struct tarn_event_times {
    uint64_t start_ns, end_ns; /**< the device's clock, or the host's monotonic one */
    bool from_device;
    uint32_t tiles; /**< that a launch with `stop` ran; else 0 */
};
/** When the launch ran. TARN_BUSY before it is done, TARN_UNSUPPORTED if the driver can't tell. */
TARN_API tarn_status tarn_event_get_times(tarn_event *event, struct tarn_event_times *times);
/** Waits for nothing: an event may be released before its launch is done. */
TARN_API void tarn_event_release(tarn_event **event);

/** A kernel's work on a device so far, as its users count it. */
struct tarn_kernel_stats {
    uint64_t launches;
    uint64_t elements;  /**< keys or samples */
    uint64_t device_ns; /**< by the device's clock */
};

#ifdef __cplusplus
}
#endif

#endif
