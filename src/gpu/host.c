/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host backend: a launch is a function call on the thread that submits it, so a queue is always
 * empty when a call returns. It needs nothing installed, and it is what the other backends are
 * compared with.
 */
#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

struct host_device {
    struct tarn_device base;
    atomic_uint_least64_t used; /* bytes of live buffers: counted for a limited host */
};

struct host_buffer {
    struct tarn_buffer base;
    uint64_t counted;
    void *memory; /* what calloc gave; `bytes` is its first 64-byte boundary */
    void *bytes;
};

struct host_event {
    struct tarn_event base;
    struct tarn_event_times times;
};

#define HOST_ALIGNMENT 64

/* The processor's name where the system tells it, or its architecture. */
static void processor_name(char *name, size_t size)
{
    struct utsname system;
    snprintf(name, size, "%s", uname(&system) == 0 ? system.machine : "this processor");
    FILE *file = fopen("/proc/cpuinfo", "re");
    if (file == NULL)
        return;
    char line[256];
    while (fgets(line, sizeof line, file) != NULL) {
        char *value = strchr(line, ':');
        if (value == NULL ||
            (strncmp(line, "model name", 10) != 0 && strncmp(line, "Model", 5) != 0))
            continue;
        value += 1 + strspn(value + 1, " \t");
        value[strcspn(value, "\n")] = '\0';
        if (value[0] != '\0') {
            snprintf(name, size, "%s", value);
            break;
        }
    }
    fclose(file);
}

static void describe(struct tarn_device_info *info)
{
    snprintf(info->id, sizeof info->id, "host");
    snprintf(info->backend, sizeof info->backend, "host");
    processor_name(info->name, sizeof info->name);
    snprintf(info->driver, sizeof info->driver, "tarn " TARN_VERSION);
    info->type = TARN_DEVICE_HOST;
    info->unified_memory = true;
    info->queue_priority = TARN_QUEUE_PRIORITY_NONE;
    info->stop_flag = true;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    info->limits.memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
    info->limits.buffer = (SIZE_MAX >> 1) - HOST_ALIGNMENT;
    if (info->limits.memory > 0 && info->limits.memory < info->limits.buffer)
        info->limits.buffer = info->limits.memory;
    /* a group is one call of a C function: no shared memory, no work-items */
    info->limits.local_memory = 0;
    info->limits.group_size = 1;
    info->limits.compute_units = processors > 0 ? (uint32_t)processors : 1;
    info->limits.features = TARN_FEATURE_ALL; /* C has them, or what a kernel makes of them */
}

static tarn_status host_list(struct tarn_device_list *list)
{
    struct tarn_device_info *info = tarn_device_list_add(list);
    if (info == NULL)
        return TARN_NO_MEMORY;
    describe(info);
    return TARN_OK;
}

static tarn_status host_open(uint32_t index, tarn_device **device, struct tarn_error *error)
{
    if (index > 0)
        return tarn_fail(error, TARN_NO_DEVICE, "host:%u: there is one host", (unsigned)index);
    struct host_device *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "host: out of memory");
    atomic_init(&opened->used, 0);
    describe(&opened->base.info);
    *device = &opened->base;
    return TARN_OK;
}

static void host_close(tarn_device *device)
{
    free(device);
}

static tarn_status host_queue_create(tarn_device *device, tarn_priority priority,
                                     tarn_queue **queue)
{
    (void)device;
    (void)priority;
    *queue = calloc(1, sizeof **queue);
    return *queue != NULL ? TARN_OK : TARN_NO_MEMORY;
}

static void host_queue_destroy(tarn_queue *queue)
{
    free(queue);
}

static tarn_status host_queue_finish(tarn_queue *queue, uint64_t timeout_us)
{
    (void)queue;
    (void)timeout_us;
    return TARN_OK;
}

static tarn_status host_buffer_create(tarn_device *device, size_t size, bool device_only,
                                      tarn_buffer **buffer)
{
    struct host_device *host = (struct host_device *)device;
    struct host_buffer *created = calloc(1, sizeof *created);
    if (created == NULL)
        return TARN_NO_MEMORY;
    if (device->limited && device->info.limits.memory > 0) {
        created->counted = size;
        if (atomic_fetch_add(&host->used, size) + size > device->info.limits.memory) {
            atomic_fetch_sub(&host->used, size);
            free(created);
            return TARN_DEVICE_MEMORY;
        }
    }
    /* calloc, not aligned_alloc and memset: the pages of a large index stay untouched until used */
    created->memory = calloc(1, size + HOST_ALIGNMENT);
    if (created->memory == NULL) {
        atomic_fetch_sub(&host->used, created->counted);
        free(created);
        return TARN_NO_MEMORY;
    }
    uintptr_t address = (uintptr_t)created->memory;
    created->bytes = (char *)created->memory + (HOST_ALIGNMENT - address % HOST_ALIGNMENT);
    created->base.data = device_only ? NULL : created->bytes;
    *buffer = &created->base;
    return TARN_OK;
}

static void host_buffer_destroy(tarn_buffer *buffer)
{
    struct host_buffer *destroyed = (struct host_buffer *)buffer;
    atomic_fetch_sub(&((struct host_device *)buffer->device)->used, destroyed->counted);
    free(destroyed->memory);
    free(destroyed);
}

static tarn_kernel *host_kernel_alloc(void)
{
    return calloc(1, sizeof(tarn_kernel));
}

static tarn_status host_kernel_build(tarn_kernel *kernel, struct tarn_error *error)
{
    if (kernel->source->host == NULL)
        return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s has no variant for the host",
                         kernel->source->name);
    if (kernel->device->limited) {
        tarn_status status = tarn_kernel_check_shape(kernel->device, kernel->source, error);
        if (status != TARN_OK)
            return status;
    }
    kernel->local_size = 1;
    kernel->group_elements = kernel->source->host_group_elements;
    return TARN_OK;
}

static void host_kernel_destroy(tarn_kernel *kernel)
{
    free(kernel);
}

/* So that another thread can stop it. Returns how many tiles were run. */
static uint32_t run_stoppable(struct tarn_host_launch *host, const struct tarn_launch *launch)
{
    uint32_t *stop = ((struct host_buffer *)launch->stop)->bytes;
    uint32_t tiles = tarn_launch_tiles(launch), first = launch->first_tile;
    if (launch->resume)
        first = __atomic_load_n(&stop[1], __ATOMIC_ACQUIRE);
    uint32_t next = first, end = tarn_tiles_end(first, launch->tile_count, tiles);
    host->first_tile = first;
    host->tile_count = end - first;
    host->stop = stop;
    host->ticket = launch->ticket;
    host->next_tile = &next;
    if (first < end)
        launch->kernel->source->host(host);
    __atomic_store_n(&stop[1], next, __ATOMIC_RELEASE);
    return next - first;
}

static tarn_status host_submit(tarn_queue *queue, const struct tarn_launch *launch,
                               tarn_event *event)
{
    (void)queue;
    void *buffers[TARN_MAX_BUFFERS];
    for (uint32_t i = 0; i < launch->kernel->source->buffer_count; i++)
        buffers[i] = ((struct host_buffer *)launch->buffers[i])->bytes;
    struct tarn_host_launch host = {
        .buffers = buffers,
        .constants = launch->constants,
        .defines = launch->kernel->defines,
        .group_count = launch->groups,
        .first_tile = launch->first_tile,
        .tile_count = launch->tile_count,
    };
    struct host_event *timed = (struct host_event *)event;
    if (timed != NULL)
        timed->times.start_ns = tarn_clock_ns();
    uint32_t tiles = 0;
    if (launch->stop != NULL)
        tiles = run_stoppable(&host, launch);
    else
        launch->kernel->source->host(&host);
    if (timed != NULL) {
        timed->times.end_ns = tarn_clock_ns();
        timed->times.tiles = tiles;
    }
    return TARN_OK;
}

static tarn_status host_mark(tarn_queue *queue, tarn_event *event)
{
    (void)queue;
    uint64_t now = tarn_clock_ns();
    ((struct host_event *)event)->times = (struct tarn_event_times){now, now};
    return TARN_OK;
}

static tarn_event *host_event_create(void)
{
    struct host_event *event = calloc(1, sizeof *event);
    return event != NULL ? &event->base : NULL;
}

static void host_event_destroy(tarn_event *event)
{
    free(event);
}

static tarn_status host_event_wait(tarn_event *event, uint64_t timeout_us)
{
    (void)event;
    (void)timeout_us;
    return TARN_OK;
}

static tarn_status host_event_times(tarn_event *event, struct tarn_event_times *times)
{
    *times = ((struct host_event *)event)->times;
    return TARN_OK;
}

const struct tarn_backend tarn_backend_host = {
    .name = "host",
    .list = host_list,
    .open = host_open,
    .close = host_close,
    .queue_create = host_queue_create,
    .queue_destroy = host_queue_destroy,
    .queue_finish = host_queue_finish,
    .buffer_create = host_buffer_create,
    .buffer_destroy = host_buffer_destroy,
    .kernel_alloc = host_kernel_alloc,
    .kernel_build = host_kernel_build,
    .kernel_destroy = host_kernel_destroy,
    .submit = host_submit,
    .mark = host_mark,
    .event_create = host_event_create,
    .event_destroy = host_event_destroy,
    .event_wait = host_event_wait,
    .event_times = host_event_times,
};
