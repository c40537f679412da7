/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public calls: every argument and state is checked here, once, and then the backend's table is
 * called. A TARN_DEVICE_LOST from below becomes sticky here too.
 */
#include "backend.h"

#include <sched.h>
#include <stdalign.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"

bool tarn_device_is_lost(const tarn_device *device)
{
    return device != NULL && atomic_load_explicit(&device->lost, memory_order_relaxed);
}

void tarn_device_mark_lost(tarn_device *device)
{
    if (!atomic_exchange(&device->lost, true))
        tarn_log(TARN_LOG_ERROR, "gpu: %s is lost: it takes no more work", device->info.id);
}

void tarn_device_abandon(tarn_device *device, const char *why)
{
    tarn_device_mark_lost(device);
    if (!atomic_exchange(&device->abandoned, true))
        tarn_log(TARN_LOG_ERROR, "gpu: %s: %s: its memory is left behind", device->info.id, why);
}

static bool is_abandoned(const tarn_device *device)
{
    return atomic_load_explicit(&device->abandoned, memory_order_acquire);
}

/* Every status that comes up from a backend passes through here. */
static tarn_status settle(tarn_device *device, tarn_status status)
{
    if (status == TARN_DEVICE_LOST)
        tarn_device_mark_lost(device);
    return status;
}

static tarn_status refuse(const tarn_device *device, const char *call, const char *why)
{
    tarn_log(TARN_LOG_ERROR, "gpu: %s: %s: %s", device != NULL ? device->info.id : "?", call, why);
    return TARN_INVALID;
}

/*
 * Linux adds 50 us to every sleep of an ordinary thread, to wake less often. That is more than most
 * launches take, so it is switched off for this one sleep and then given back to the caller's
 * thread.
 */
static void short_sleep(uint64_t ns)
{
    int slack = prctl(PR_GET_TIMERSLACK);
    if (slack > 1000)
        prctl(PR_SET_TIMERSLACK, 1000ul);
    nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
    if (slack > 1000)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack);
}

bool tarn_backend_pause(uint64_t started_ns, uint64_t timeout_us)
{
    uint64_t elapsed = tarn_clock_ns() - started_ns;
    if (timeout_us != TARN_FOREVER && elapsed / 1000 >= timeout_us)
        return false;
    if (elapsed < 20000) {
        sched_yield();
        return true;
    }
    uint64_t pause = elapsed / 4 < 1000000 ? elapsed / 4 : 1000000;
    if (timeout_us < UINT64_MAX / 1000 && timeout_us * 1000 - elapsed < pause)
        pause = timeout_us * 1000 - elapsed;
    short_sleep(pause);
    return true;
}

/* ---- queues ---- */

tarn_status tarn_queue_create(tarn_device *device, const struct tarn_queue_params *params,
                              tarn_queue **queue)
{
    if (queue == NULL)
        return refuse(device, "queue_create", "nowhere to put the queue");
    *queue = NULL;
    if (device == NULL || params == NULL)
        return refuse(device, "queue_create", "no device or no parameters");
    if (params->priority != TARN_PRIORITY_HIGH && params->priority != TARN_PRIORITY_LOW)
        return refuse(device, "queue_create", "no such priority");
    if (tarn_device_is_lost(device))
        return TARN_DEVICE_LOST;
    tarn_queue *created = NULL;
    tarn_status status =
        settle(device, device->backend->queue_create(device, params->priority, &created));
    if (status != TARN_OK)
        return status;
    created->device = device;
    created->priority = params->priority;
    atomic_init(&created->stopped, false);
    atomic_fetch_add(&device->children, 1);
    *queue = created;
    return TARN_OK;
}

void tarn_queue_destroy(tarn_queue **queue)
{
    if (queue == NULL || *queue == NULL)
        return;
    tarn_queue *destroyed = *queue;
    *queue = NULL;
    tarn_device *device = destroyed->device;
    if (!tarn_device_is_lost(device))
        settle(device, device->backend->queue_finish(destroyed, TARN_FOREVER));
    if (!is_abandoned(device))
        device->backend->queue_destroy(destroyed);
    atomic_fetch_sub(&device->children, 1);
}

tarn_status tarn_queue_finish(tarn_queue *queue, uint64_t timeout_us)
{
    if (queue == NULL)
        return refuse(NULL, "queue_finish", "no queue");
    if (tarn_device_is_lost(queue->device))
        return TARN_DEVICE_LOST;
    return settle(queue->device, queue->device->backend->queue_finish(queue, timeout_us));
}

void tarn_queue_stop(tarn_queue *queue, bool stopped)
{
    if (queue != NULL)
        atomic_store(&queue->stopped, stopped);
}

/* ---- buffers ---- */

tarn_status tarn_buffer_create(tarn_device *device, const struct tarn_buffer_params *params,
                               tarn_buffer **buffer)
{
    if (buffer == NULL)
        return refuse(device, "buffer_create", "nowhere to put the buffer");
    *buffer = NULL;
    if (device == NULL || params == NULL)
        return refuse(device, "buffer_create", "no device or no parameters");
    if (params->size == 0)
        return refuse(device, "buffer_create", "a size of 0");
    if (tarn_device_is_lost(device))
        return TARN_DEVICE_LOST;
    if (params->size > device->info.limits.buffer) {
        tarn_log(TARN_LOG_WARNING, "gpu: %s: a buffer of %zu bytes is above its limit of %llu",
                 device->info.id, params->size, (unsigned long long)device->info.limits.buffer);
        return TARN_TOO_LARGE;
    }
    tarn_buffer *created = NULL;
    tarn_status status =
        settle(device,
               device->backend->buffer_create(device, params->size, params->device_only, &created));
    if (status != TARN_OK)
        return status;
    created->device = device;
    created->size = params->size;
    created->device_only = params->device_only;
    atomic_fetch_add(&device->children, 1);
    *buffer = created;
    return TARN_OK;
}

void tarn_buffer_destroy(tarn_buffer **buffer)
{
    if (buffer == NULL || *buffer == NULL)
        return;
    tarn_device *device = (*buffer)->device;
    if (!is_abandoned(device))
        device->backend->buffer_destroy(*buffer);
    atomic_fetch_sub(&device->children, 1);
    *buffer = NULL;
}

size_t tarn_buffer_size(const tarn_buffer *buffer)
{
    return buffer != NULL ? buffer->size : 0;
}

void *tarn_buffer_data(tarn_buffer *buffer)
{
    return buffer != NULL && !buffer->device_only ? buffer->data : NULL;
}

static tarn_status check_range(const tarn_queue *queue, const tarn_buffer *buffer, size_t offset,
                               size_t size, const char *call)
{
    if (queue == NULL || buffer == NULL)
        return refuse(NULL, call, "no queue or no buffer");
    if (queue->device != buffer->device)
        return refuse(queue->device, call, "the queue and the buffer are of two devices");
    if (buffer->device_only)
        return refuse(queue->device, call, "the buffer has no host side");
    if (offset > buffer->size || size > buffer->size - offset)
        return refuse(queue->device, call, "the range is outside of the buffer");
    return tarn_device_is_lost(queue->device) ? TARN_DEVICE_LOST : TARN_OK;
}

tarn_status tarn_buffer_upload(tarn_queue *queue, tarn_buffer *buffer, size_t offset, size_t size)
{
    tarn_status status = check_range(queue, buffer, offset, size, "upload");
    if (status != TARN_OK || size == 0 || queue->device->info.unified_memory)
        return status;
    return settle(queue->device, queue->device->backend->upload(queue, buffer, offset, size));
}

tarn_status tarn_buffer_download(tarn_queue *queue, tarn_buffer *buffer, size_t offset, size_t size)
{
    tarn_status status = check_range(queue, buffer, offset, size, "download");
    if (status != TARN_OK || size == 0 || queue->device->info.unified_memory)
        return status;
    return settle(queue->device, queue->device->backend->download(queue, buffer, offset, size));
}

/* ---- kernels ---- */

static bool is_power_of_two(uint32_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

static bool is_name(const char *text)
{
    if (text == NULL || text[0] == '\0' || (text[0] >= '0' && text[0] <= '9'))
        return false;
    for (; *text != '\0'; text++)
        if (!((*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
              (*text >= '0' && *text <= '9') || *text == '_'))
            return false;
    return true;
}

/* A mistake in a kernel's table shows on every backend, not only on the one that trips over it. */
static const char *fault_of_source(const struct tarn_kernel_source *source, uint32_t *define_count)
{
    *define_count = 0;
    if (!is_name(source->name))
        return "its name is no identifier";
    if (source->buffer_count == 0 || source->buffer_count > TARN_MAX_BUFFERS)
        return "it has no buffers or too many";
    if (source->constants_size > TARN_MAX_CONSTANTS_SIZE)
        return "its constants are too large";
    if (source->tiles != NULL && source->constants_size < 2 * sizeof(uint32_t))
        return "its constants have no room for a range of tiles";
    if ((source->opencl_gpu != NULL || source->spirv != NULL) &&
        !is_power_of_two(source->gpu_local_size))
        return "its local size for GPUs is no power of two";
    if (source->opencl_cpu != NULL && !is_power_of_two(source->cpu_local_size))
        return "its local size for CPU-type devices is no power of two";
    if (source->defines == NULL)
        return NULL;
    uint32_t count = 0;
    for (; source->defines[count] != NULL; count++) {
        if (count == TARN_MAX_DEFINES)
            return "it has too many defines";
        if (!is_name(source->defines[count]))
            return "one of its defines is no identifier";
    }
    *define_count = count;
    return NULL;
}

tarn_status tarn_kernel_check_features(const struct tarn_device *device,
                                       const struct tarn_kernel_source *source,
                                       struct tarn_error *error)
{
    static const char *const names[] = {"fp16", "int8", "64-bit atomics", "subgroups"};
    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((source->features & ~device->info.limits.features) >> i & 1)
            return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s wants %s, which %s lacks",
                             source->name, names[i], device->info.id);
    return TARN_OK;
}

tarn_status tarn_kernel_check_shape(const struct tarn_device *device,
                                    const struct tarn_kernel_source *source,
                                    struct tarn_error *error)
{
    const struct tarn_device_limits *limits = &device->info.limits;
    if (source->gpu_local_size > limits->group_size)
        return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s wants groups of %u, %s has at most %u",
                         source->name, (unsigned)source->gpu_local_size, device->info.id,
                         (unsigned)limits->group_size);
    if (source->gpu_local_memory > limits->local_memory)
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "kernel %s wants %u bytes of local memory, %s has %u", source->name,
                         (unsigned)source->gpu_local_memory, device->info.id,
                         (unsigned)limits->local_memory);
    return tarn_kernel_check_features(device, source, error);
}

tarn_status tarn_kernel_create(tarn_device *device, const struct tarn_kernel_params *params,
                               tarn_kernel **kernel, struct tarn_error *error)
{
    if (kernel == NULL)
        return tarn_fail(error, TARN_INVALID, "tarn_kernel_create: nowhere to put the kernel");
    *kernel = NULL;
    if (device == NULL || params == NULL || params->source == NULL)
        return tarn_fail(error, TARN_INVALID, "tarn_kernel_create: no device or no source");
    const struct tarn_kernel_source *source = params->source;
    uint32_t define_count;
    const char *fault = fault_of_source(source, &define_count);
    if (fault == NULL && define_count > 0 && params->defines == NULL)
        fault = "its defines were given no values";
    if (fault != NULL)
        return tarn_fail(error, TARN_INVALID, "kernel %s: %s",
                         source->name != NULL ? source->name : "?", fault);
    if (tarn_device_is_lost(device))
        return tarn_fail(error, TARN_DEVICE_LOST, "%s: %s", device->info.id,
                         tarn_status_message(TARN_DEVICE_LOST));
    tarn_kernel *created = device->backend->kernel_alloc();
    if (created == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "kernel %s: out of memory", source->name);
    created->device = device;
    created->source = source;
    created->define_count = define_count;
    if (define_count > 0)
        memcpy(created->defines, params->defines, define_count * sizeof params->defines[0]);
    tarn_status status = settle(device, device->backend->kernel_build(created, error));
    if (status != TARN_OK) {
        device->backend->kernel_destroy(created);
        return status;
    }
    atomic_fetch_add(&device->children, 1);
    *kernel = created;
    return TARN_OK;
}

void tarn_kernel_destroy(tarn_kernel **kernel)
{
    if (kernel == NULL || *kernel == NULL)
        return;
    tarn_device *device = (*kernel)->device;
    if (!is_abandoned(device))
        device->backend->kernel_destroy(*kernel);
    atomic_fetch_sub(&device->children, 1);
    *kernel = NULL;
}

uint32_t tarn_kernel_groups(const tarn_kernel *kernel, uint32_t elements)
{
    if (kernel == NULL || elements == 0)
        return 0;
    if (kernel->group_elements == 0)
        return 1;
    return (elements - 1) / kernel->group_elements + 1;
}

/* ---- launches and events ---- */

static tarn_event *event_take(tarn_device *device)
{
    pthread_mutex_lock(&device->lock);
    tarn_event *event = device->spare_events;
    if (event != NULL)
        device->spare_events = event->next;
    pthread_mutex_unlock(&device->lock);
    if (event == NULL)
        event = device->backend->event_create();
    if (event == NULL)
        return NULL;
    event->device = device;
    event->next = NULL;
    event->done = false;
    atomic_fetch_add(&device->children, 1);
    return event;
}

static void event_give(tarn_event *event)
{
    tarn_device *device = event->device;
    if (device->backend->event_reset != NULL && !is_abandoned(device))
        device->backend->event_reset(event);
    pthread_mutex_lock(&device->lock);
    event->next = device->spare_events;
    device->spare_events = event;
    pthread_mutex_unlock(&device->lock);
    atomic_fetch_sub(&device->children, 1);
}

uint32_t tarn_launch_tiles(const struct tarn_launch *launch)
{
    return launch->kernel->source->tiles(&(struct tarn_host_launch){
        .constants = launch->constants,
        .defines = launch->kernel->defines,
        .group_count = launch->groups,
    });
}

static tarn_status check_tiles(const tarn_device *device, const struct tarn_launch *launch)
{
    const char *name = launch->kernel->source->name;
    const tarn_buffer *stop = launch->stop;
    bool whole = launch->first_tile == 0 && launch->tile_count == 0;
    if (stop == NULL && (launch->resume || launch->ticket != 0))
        return refuse(device, name, "a ticket, or work to resume, without a stop buffer");
    if (stop != NULL && (stop->device != device || stop->device_only || stop->size < 8))
        return refuse(device, name, "its stop buffer can't be used");
    if (stop != NULL && launch->ticket == 0)
        return refuse(device, name, "tickets begin at 1");
    if (launch->kernel->source->tiles == NULL)
        return whole && stop == NULL ? TARN_OK : TARN_UNSUPPORTED;
    return stop == NULL || device->info.stop_flag ? TARN_OK : TARN_UNSUPPORTED;
}

static tarn_status check_launch(const tarn_queue *queue, const struct tarn_launch *launch)
{
    if (queue == NULL || launch == NULL || launch->kernel == NULL)
        return refuse(queue != NULL ? queue->device : NULL, "submit", "no queue or no kernel");
    const tarn_device *device = queue->device;
    const struct tarn_kernel_source *source = launch->kernel->source;
    if (launch->kernel->device != device)
        return refuse(device, source->name, "the kernel is of another device");
    if (launch->groups == 0)
        return refuse(device, source->name, "no work-groups");
    if (launch->groups > UINT32_MAX / launch->kernel->local_size)
        return refuse(device, source->name, "too many work-groups");
    if (source->constants_size > 0 && launch->constants == NULL)
        return refuse(device, source->name, "its constants are missing");
    if (launch->buffers == NULL)
        return refuse(device, source->name, "its buffers are missing");
    for (uint32_t i = 0; i < source->buffer_count; i++) {
        if (launch->buffers[i] == NULL)
            return refuse(device, source->name, "one of its buffers is missing");
        if (launch->buffers[i]->device != device)
            return refuse(device, source->name, "one of its buffers is of another device");
    }
    return check_tiles(device, launch);
}

/* What the backend gets: the range is cut to what there is, and stands in the constants too. */
static tarn_status put_range(struct tarn_launch *launch, unsigned char *constants)
{
    const struct tarn_kernel_source *source = launch->kernel->source;
    uint32_t tiles = tarn_launch_tiles(launch);
    if (!launch->resume) {
        if (launch->first_tile > tiles)
            return refuse(launch->kernel->device, source->name,
                          "its first tile is behind its last");
        launch->tile_count =
            tarn_tiles_end(launch->first_tile, launch->tile_count, tiles) - launch->first_tile;
    }
    memcpy(constants, launch->constants, source->constants_size);
    memcpy(constants, (uint32_t[]){launch->first_tile, launch->tile_count}, 2 * sizeof(uint32_t));
    launch->constants = constants;
    return TARN_OK;
}

tarn_status tarn_queue_submit(tarn_queue *queue, const struct tarn_launch *launch,
                              tarn_event **event)
{
    if (event != NULL)
        *event = NULL;
    tarn_status status = check_launch(queue, launch);
    if (status != TARN_OK)
        return status;
    tarn_device *device = queue->device;
    if (tarn_device_is_lost(device))
        return TARN_DEVICE_LOST;
    if (atomic_load_explicit(&queue->stopped, memory_order_acquire))
        return TARN_BUSY;
    struct tarn_launch ranged;
    alignas(max_align_t) unsigned char constants[TARN_MAX_CONSTANTS_SIZE];
    if (launch->kernel->source->tiles != NULL) {
        ranged = *launch;
        status = put_range(&ranged, constants);
        if (status != TARN_OK)
            return status;
        launch = &ranged;
    }
    tarn_event *taken = NULL;
    if (event != NULL) {
        taken = event_take(device);
        if (taken == NULL)
            return TARN_NO_MEMORY;
    }
    status = settle(device, device->backend->submit(queue, launch, taken));
    if (status == TARN_OK) {
        if (event != NULL)
            *event = taken;
    } else if (taken != NULL) {
        event_give(taken);
    }
    return status;
}

tarn_status tarn_queue_mark(tarn_queue *queue, tarn_event **event)
{
    if (event != NULL)
        *event = NULL;
    if (queue == NULL || event == NULL)
        return refuse(queue != NULL ? queue->device : NULL, "mark", "no queue or no event");
    tarn_device *device = queue->device;
    if (tarn_device_is_lost(device))
        return TARN_DEVICE_LOST;
    tarn_event *taken = event_take(device);
    if (taken == NULL)
        return TARN_NO_MEMORY;
    tarn_status status = settle(device, device->backend->mark(queue, taken));
    if (status != TARN_OK) {
        event_give(taken);
        return status;
    }
    *event = taken;
    return TARN_OK;
}

tarn_status tarn_event_wait(tarn_event *event, uint64_t timeout_us)
{
    if (event == NULL)
        return refuse(NULL, "wait", "no event");
    if (tarn_device_is_lost(event->device))
        return TARN_DEVICE_LOST;
    if (event->done)
        return TARN_OK;
    tarn_status status =
        settle(event->device, event->device->backend->event_wait(event, timeout_us));
    event->done = status == TARN_OK;
    return status;
}

tarn_status tarn_event_get_times(tarn_event *event, struct tarn_event_times *times)
{
    if (event == NULL || times == NULL)
        return refuse(event != NULL ? event->device : NULL, "times",
                      "no event or nowhere to write");
    tarn_status status = tarn_event_wait(event, 0);
    if (status == TARN_TIMEOUT)
        return TARN_BUSY;
    if (status != TARN_OK)
        return status;
    return settle(event->device, event->device->backend->event_times(event, times));
}

void tarn_event_release(tarn_event **event)
{
    if (event == NULL || *event == NULL)
        return;
    event_give(*event);
    *event = NULL;
}
