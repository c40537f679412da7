/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a backend implements: one table of functions. Everything that all backends would have to
 * check (sizes, ranges, states, who belongs to whom, a lost or stopped state) is checked once above
 * the table, in gpu.c, so a backend may trust its arguments and only does.
 *
 * Objects: a backend allocates its own structs, zero-filled, with the common struct below as the
 * FIRST member, and frees them in the matching destroy function. The common part is filled in by
 * the caller, after a create function returns, except where a field says that the backend sets it.
 *
 * Tiles: a launch's `first_tile` and `tile_count` reach a backend cut to what there is, and in the
 * constants as the kernel's variants read them; of a launch to `resume`, `tile_count` only, and as
 * the caller gave it.
 *
 * Statuses: a backend returns TARN_DEVICE_LOST when its device is gone for good; the caller makes
 * it sticky. It logs what its driver said, the callers above don't repeat it.
 */
#ifndef TARN_GPU_BACKEND_H
#define TARN_GPU_BACKEND_H

#include <tarn/gpu.h>

#include <pthread.h>
#include <stdatomic.h>

#include "program_cache.h"
#include "quirks.h"

struct tarn_gemm;

struct tarn_device {
    struct tarn_device_info info; /**< set by the backend */
    const struct tarn_backend *backend;
    atomic_bool lost;
    atomic_bool abandoned; /**< something on it never ends: what it uses is leaked on purpose */
    tarn_program_cache *programs; /**< may be NULL; backends keep compiled programs in it */
    atomic_uint children;         /**< live queues, buffers, kernels and events */
    pthread_mutex_t lock;         /**< guards `spare_events` */
    tarn_event *spare_events; /**< released events, so that a launch allocates nothing once warm */
    bool limited; /**< `info.limits` were set by the caller: below what is really there */
};

struct tarn_queue {
    tarn_device *device;
    tarn_priority priority;
    atomic_bool stopped;
};

struct tarn_buffer {
    tarn_device *device;
    size_t size;
    bool device_only;
    void *data; /**< set by the backend: the host's view, or NULL if device_only */
};

struct tarn_kernel {
    tarn_device *device;
    const struct tarn_kernel_source *source;
    int32_t defines[TARN_MAX_DEFINES]; /**< filled before kernel_build is called */
    uint32_t define_count;
    uint32_t local_size;     /**< set by the backend: work-items a group of the chosen variant */
    uint32_t group_elements; /**< set by the backend: elements a group computes, 0: one group */
};

struct tarn_event {
    tarn_device *device;
    tarn_event *next; /**< in the list of spare events */
    bool done;        /**< a wait has succeeded: no need to ask the backend again */
};

/** Grows as backends add what they see. */
struct tarn_device_list {
    struct tarn_device_info *infos;
    size_t count, room;
};

/** Adds a zero-filled info to be filled in, or returns NULL when out of memory. */
struct tarn_device_info *tarn_device_list_add(struct tarn_device_list *list);

/* clang-format off */
/*
 * X(entry, return type, arguments). Required: every backend has them.
 *
 * - list: adds what it sees, in its order of preference; no device is TARN_OK with nothing added.
 * - open: `index` is a place in that order; TARN_NO_DEVICE beyond the end. Fills `error` on failure.
 * - queue_create, buffer_create: as in <tarn/gpu.h>. A buffer is zero-filled.
 * - queue_destroy: the work is done or the device lost; it must not wait for a lost device.
 * - queue_finish, event_wait: TARN_TIMEOUT after timeout_us; 0 only asks, TARN_FOREVER blocks.
 * - kernel_alloc makes the struct; kernel_build, called once, compiles it and sets local_size and
 *   group_elements; kernel_destroy copes with a kernel whose build failed.
 * - submit: `event` may be NULL. Several threads submit at once, on different queues, perhaps the
 *   same kernel. `stop` and `first_tile` are set only where info.stop_flag is, and are valid.
 * - event_create makes an empty wrapper that submit or mark fills; event_destroy gets empty ones.
 */
#define TARN_BACKEND_REQUIRED(X)                                                                   \
    X(list, tarn_status, (struct tarn_device_list *list))                                          \
    X(open, tarn_status, (uint32_t index, tarn_device **device, struct tarn_error *error))         \
    X(close, void, (tarn_device *device))                                                          \
    X(queue_create, tarn_status, (tarn_device *device, tarn_priority priority, tarn_queue **queue)) \
    X(queue_destroy, void, (tarn_queue *queue))                                                    \
    X(queue_finish, tarn_status, (tarn_queue *queue, uint64_t timeout_us))                         \
    X(buffer_create, tarn_status,                                                                  \
      (tarn_device *device, size_t size, bool device_only, tarn_buffer **buffer))                  \
    X(buffer_destroy, void, (tarn_buffer *buffer))                                                 \
    X(kernel_alloc, tarn_kernel *, (void))                                                         \
    X(kernel_build, tarn_status, (tarn_kernel *kernel, struct tarn_error *error))                  \
    X(kernel_destroy, void, (tarn_kernel *kernel))                                                 \
    X(submit, tarn_status,                                                                         \
      (tarn_queue *queue, const struct tarn_launch *launch, tarn_event *event))                    \
    X(mark, tarn_status, (tarn_queue *queue, tarn_event *event))                                   \
    X(event_create, tarn_event *, (void))                                                          \
    X(event_destroy, void, (tarn_event *event))                                                    \
    X(event_wait, tarn_status, (tarn_event *event, uint64_t timeout_us))                           \
    X(event_times, tarn_status, (tarn_event *event, struct tarn_event_times *times))

/*
 * Optional.
 *
 * - upload and download come together; only a backend all of whose devices have unified memory may
 *   leave them out, and they are not called on such a device.
 * - find: the place of the device that goes by this name behind the colon; false if there is none.
 *   Left out where devices have only numbers.
 * - event_reset empties a wrapper so that it can be used again; left out where there is nothing in it.
 * - gemm: a product by a library that comes with the backend (gemm.h).
 */
#define TARN_BACKEND_OPTIONAL(X)                                                                   \
    X(upload, tarn_status, (tarn_queue *queue, tarn_buffer *buffer, size_t offset, size_t size))   \
    X(download, tarn_status, (tarn_queue *queue, tarn_buffer *buffer, size_t offset, size_t size)) \
    X(find, bool, (const char *name, uint32_t *index))                                             \
    X(event_reset, void, (tarn_event *event))                                                      \
    X(gemm, tarn_status, (tarn_queue *queue, const struct tarn_gemm *gemm))
/* clang-format on */

struct tarn_backend {
    const char *name; /**< required: the part of an id before the colon */
#define TARN_BACKEND_ENTRY(entry, type, arguments) type(*entry) arguments;
    TARN_BACKEND_REQUIRED(TARN_BACKEND_ENTRY)
    TARN_BACKEND_OPTIONAL(TARN_BACKEND_ENTRY)
#undef TARN_BACKEND_ENTRY
};

extern const struct tarn_backend tarn_backend_host, tarn_backend_virtual;
#if HAVE_OPENCL
extern const struct tarn_backend tarn_backend_opencl;
#endif
#if HAVE_VULKAN
extern const struct tarn_backend tarn_backend_vulkan;
#endif

/** TARN_INVALID, naming the entry, if a required one is missing or an optional pair is torn. */
tarn_status tarn_backend_check(const struct tarn_backend *backend, struct tarn_error *error);

/**
 * Opens device `index` of one backend, in the backend's order: what tarn_device_open() does once it
 * has chosen. Tests open tables of their own with it.
 */
tarn_status tarn_backend_open(const struct tarn_backend *backend, uint32_t index,
                              tarn_device **device, struct tarn_error *error);

/** TARN_UNSUPPORTED, saying why, if no variant can do without a feature that `device` lacks. */
tarn_status tarn_kernel_check_features(const struct tarn_device *device,
                                       const struct tarn_kernel_source *source,
                                       struct tarn_error *error);

/** The same, and if the shape for GPUs wants larger groups or more local memory than there is. */
tarn_status tarn_kernel_check_shape(const struct tarn_device *device,
                                    const struct tarn_kernel_source *source,
                                    struct tarn_error *error);

/** How many tiles the kernel's work has in this launch; the kernel has tiles. */
uint32_t tarn_launch_tiles(const struct tarn_launch *launch);

/** Behind the last tile of a launch that begins at `first` of `tiles` and may run `count`, 0: all. */
static inline uint32_t tarn_tiles_end(uint32_t first, uint32_t count, uint32_t tiles)
{
    if (first > tiles)
        return first;
    return count == 0 || count > tiles - first ? tiles : first + count;
}

/** From now on every call on the device returns TARN_DEVICE_LOST. Any thread. */
void tarn_device_mark_lost(tarn_device *device);

/**
 * For a device on which a launch doesn't end: it is lost, and nothing of it is waited for or freed any
 * more, since the launch may still use all of it. Destroying its objects and closing it are allowed
 * and leak what the backend holds. Any thread.
 */
void tarn_device_abandon(tarn_device *device, const char *why);

/**
 * For backends that can only ask: waits a little before the next question about something begun at
 * `started_ns`. The pauses grow with the time already waited (at most 1 ms), so that a short wait
 * is answered quickly and a long one costs no CPU. False once `timeout_us` has passed.
 */
bool tarn_backend_pause(uint64_t started_ns, uint64_t timeout_us);

#endif
