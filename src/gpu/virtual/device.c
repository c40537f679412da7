/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtual backend: objects, and the calls of <tarn/virtual.h>. When things happen is model.c's
 * business; one lock a device covers both, held while kernels run.
 */
#include "virtual.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define ALIGNMENT 64

/* ---- devices ---- */

static void describe(const struct tarn_virtual_profile *profile, const char *name,
                     struct tarn_device_info *info)
{
    snprintf(info->id, sizeof info->id, "virtual:%s", name);
    snprintf(info->backend, sizeof info->backend, "virtual");
    snprintf(info->name, sizeof info->name, "%s", profile->name);
    snprintf(info->driver, sizeof info->driver, "tarn " TARN_VERSION);
    info->type = TARN_DEVICE_VIRTUAL;
    info->unified_memory = true;
    info->queue_priority =
        profile->model.priority ? TARN_QUEUE_PRIORITY_GLOBAL : TARN_QUEUE_PRIORITY_NONE;
    info->stop_flag = profile->model.stop_flag;
    info->limits = profile->limits;
}

static tarn_status virtual_list(struct tarn_device_list *list)
{
    const char *name;
    for (uint32_t i = 0; (name = tarn_virtual_profile_name(i)) != NULL; i++) {
        struct tarn_virtual_profile profile;
        tarn_status status = tarn_virtual_profile_load(name, &profile, NULL);
        if (status != TARN_OK)
            return status;
        struct tarn_device_info *info = tarn_device_list_add(list);
        if (info == NULL)
            return TARN_NO_MEMORY;
        describe(&profile, name, info);
    }
    return TARN_OK;
}

static bool virtual_find(const char *name, uint32_t *index)
{
    const char *known;
    for (uint32_t i = 0; (known = tarn_virtual_profile_name(i)) != NULL; i++)
        if (strcmp(known, name) == 0) {
            *index = i;
            return true;
        }
    return false;
}

static tarn_status virtual_open(uint32_t index, tarn_device **device, struct tarn_error *error)
{
    const char *name = tarn_virtual_profile_name(index);
    if (name == NULL)
        return tarn_fail(error, TARN_NO_DEVICE, "virtual:%u: there is no such simulation",
                         (unsigned)index);
    struct virtual_device *opened = calloc(1, sizeof *opened);
    if (opened == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "virtual:%s: out of memory", name);
    tarn_status status = tarn_virtual_profile_load(name, &opened->profile, error);
    if (status == TARN_OK && pthread_mutex_init(&opened->lock, NULL) != 0)
        status = tarn_fail(error, TARN_NO_MEMORY, "virtual:%s: out of memory", name);
    if (status != TARN_OK) {
        free(opened);
        return status;
    }
    describe(&opened->profile, name, &opened->base.info);
    opened->step = opened->profile.step_count - 1;
    opened->slow = 1;
    *device = &opened->base;
    return TARN_OK;
}

static void virtual_close(tarn_device *base)
{
    struct virtual_device *device = (struct virtual_device *)base;
    while (device->spare != NULL) {
        struct virtual_command *command = device->spare;
        device->spare = command->next;
        free(command);
    }
    pthread_mutex_destroy(&device->lock);
    free(device);
}

/* Locks the device behind any of its objects. */
static struct virtual_device *enter(tarn_device *base)
{
    struct virtual_device *device = (struct virtual_device *)base;
    pthread_mutex_lock(&device->lock);
    return device;
}

static void leave(struct virtual_device *device)
{
    pthread_mutex_unlock(&device->lock);
}

/* ---- queues and waits ---- */

static tarn_status virtual_queue_create(tarn_device *base, tarn_priority priority,
                                        tarn_queue **queue)
{
    struct virtual_queue *created = calloc(1, sizeof *created);
    if (created == NULL)
        return TARN_NO_MEMORY;
    struct virtual_device *device = enter(base);
    const struct tarn_virtual_model *model = &device->profile.model;
    if (!model->priority)
        created->place = device->queues_made++ % model->queues;
    else if (priority == TARN_PRIORITY_LOW)
        created->place = 1 + device->queues_made++ % (model->queues - 1);
    leave(device);
    *queue = &created->base;
    return TARN_OK;
}

static void virtual_queue_destroy(tarn_queue *queue)
{
    struct virtual_device *device = enter(queue->device);
    tarn_virtual_forget(device, (struct virtual_queue *)queue);
    leave(device);
    free(queue);
}

static tarn_status wait(struct virtual_device *device, bool (*done)(const void *what),
                        const void *what, uint64_t timeout_us)
{
    uint64_t limit = timeout_us > UINT64_MAX / 1000 ? UINT64_MAX : timeout_us * 1000;
    if (timeout_us == 0)
        limit = device->profile.model.ask_ns;
    return tarn_virtual_wait(device, done, what, tarn_virtual_later(device->now_ns, limit));
}

static bool queue_is_empty(const void *what)
{
    return ((const struct virtual_queue *)what)->last == NULL;
}

static tarn_status virtual_queue_finish(tarn_queue *queue, uint64_t timeout_us)
{
    struct virtual_device *device = enter(queue->device);
    tarn_status status = wait(device, queue_is_empty, queue, timeout_us);
    leave(device);
    return status;
}

/* ---- buffers ---- */

static tarn_status virtual_buffer_create(tarn_device *base, size_t size, bool device_only,
                                         tarn_buffer **buffer)
{
    struct virtual_buffer *created = calloc(1, sizeof *created);
    if (created == NULL)
        return TARN_NO_MEMORY;
    struct virtual_device *device = enter(base);
    bool fits = size <= base->info.limits.memory - device->stats.memory;
    device->stats.memory += fits ? size : 0;
    leave(device);
    if (!fits) {
        free(created);
        return TARN_DEVICE_MEMORY;
    }
    created->memory = calloc(1, size + ALIGNMENT);
    if (created->memory == NULL) {
        enter(base);
        device->stats.memory -= size;
        leave(device);
        free(created);
        return TARN_NO_MEMORY;
    }
    uintptr_t address = (uintptr_t)created->memory;
    created->bytes = (char *)created->memory + (ALIGNMENT - address % ALIGNMENT);
    created->base.data = device_only ? NULL : created->bytes;
    *buffer = &created->base;
    return TARN_OK;
}

static void virtual_buffer_destroy(tarn_buffer *buffer)
{
    struct virtual_buffer *destroyed = (struct virtual_buffer *)buffer;
    struct virtual_device *device = enter(buffer->device);
    device->stats.memory -= buffer->size;
    leave(device);
    free(destroyed->memory);
    free(destroyed);
}

/* ---- kernels and launches ---- */

static tarn_kernel *virtual_kernel_alloc(void)
{
    return calloc(1, sizeof(tarn_kernel));
}

static tarn_status virtual_kernel_build(tarn_kernel *kernel, struct tarn_error *error)
{
    if (kernel->source->host == NULL)
        return tarn_fail(error, TARN_UNSUPPORTED, "kernel %s has no variant for the host",
                         kernel->source->name);
    kernel->local_size = 1;
    kernel->group_elements = kernel->source->host_group_elements;
    return tarn_kernel_check_shape(kernel->device, kernel->source, error);
}

static void virtual_kernel_destroy(tarn_kernel *kernel)
{
    free(kernel);
}

static struct virtual_command *take_command(struct virtual_device *device)
{
    struct virtual_command *command = device->spare;
    if (command != NULL)
        device->spare = command->next;
    else
        command = calloc(1, sizeof *command);
    return command;
}

static void fill_command(struct virtual_command *command, const struct tarn_launch *launch)
{
    const struct tarn_kernel *kernel = launch->kernel;
    const struct tarn_kernel_source *source = kernel->source;
    *command = (struct virtual_command){.source = source,
                                        .groups = launch->groups,
                                        .first_tile = launch->first_tile,
                                        .tile_count = launch->tile_count,
                                        .ticket = launch->ticket,
                                        .resume = launch->resume};
    memcpy(command->defines, kernel->defines, sizeof command->defines);
    if (source->constants_size > 0)
        memcpy(command->constants, launch->constants, source->constants_size);
    for (uint32_t i = 0; i < source->buffer_count; i++) {
        command->buffers[i] = ((struct virtual_buffer *)launch->buffers[i])->bytes;
        command->buffer_bytes += launch->buffers[i]->size;
    }
    if (launch->stop != NULL) {
        command->tiles_in_all = tarn_launch_tiles(launch);
        command->stop = ((struct virtual_buffer *)launch->stop)->bytes;
    }
}

static tarn_status virtual_submit(tarn_queue *base, const struct tarn_launch *launch,
                                  tarn_event *event)
{
    struct virtual_queue *queue = (struct virtual_queue *)base;
    struct virtual_device *device = enter(base->device);
    struct virtual_command *command = NULL;
    tarn_status status = TARN_DEVICE_LOST;
    if (!device->gone) {
        command = take_command(device);
        status = command != NULL ? TARN_OK : TARN_NO_MEMORY;
    }
    if (command != NULL) {
        fill_command(command, launch);
        command->queue = queue;
        command->priority = base->priority;
        command->ready_ns = tarn_virtual_later(device->now_ns, device->profile.model.submit_ns);
        command->event = (struct virtual_event *)event;
        if (event != NULL)
            *command->event = (struct virtual_event){.base = *event, .command = command};
        queue->last = command;
        device->stats.pending++;
        tarn_virtual_put(device, command);
    }
    leave(device);
    return status;
}

/* ---- events ---- */

static tarn_status virtual_mark(tarn_queue *base, tarn_event *event)
{
    struct virtual_queue *queue = (struct virtual_queue *)base;
    struct virtual_event *mark = (struct virtual_event *)event;
    struct virtual_device *device = enter(base->device);
    *mark = (struct virtual_event){.base = *event, .is_mark = true};
    if (queue->last == NULL) {
        mark->done = true;
        mark->times =
            (struct tarn_event_times){device->now_ns, device->now_ns, .from_device = true};
    } else {
        mark->command = queue->last;
        mark->next_mark = queue->last->marks;
        queue->last->marks = mark;
    }
    leave(device);
    return TARN_OK;
}

static tarn_event *virtual_event_create(void)
{
    struct virtual_event *event = calloc(1, sizeof *event);
    return event != NULL ? &event->base : NULL;
}

static void virtual_event_destroy(tarn_event *event)
{
    free(event);
}

/* Released, perhaps before its command has ended: the command must not write into it any more. */
static void virtual_event_reset(tarn_event *base)
{
    struct virtual_event *event = (struct virtual_event *)base;
    struct virtual_device *device = enter(base->device);
    if (event->command != NULL && event->is_mark) {
        struct virtual_event **at = &event->command->marks;
        while (*at != event)
            at = &(*at)->next_mark;
        *at = event->next_mark;
    } else if (event->command != NULL) {
        event->command->event = NULL;
    }
    event->command = NULL;
    leave(device);
}

static bool event_is_done(const void *what)
{
    return ((const struct virtual_event *)what)->done;
}

static tarn_status virtual_event_wait(tarn_event *event, uint64_t timeout_us)
{
    struct virtual_device *device = enter(event->device);
    tarn_status status = wait(device, event_is_done, event, timeout_us);
    leave(device);
    return status;
}

static tarn_status virtual_event_times(tarn_event *event, struct tarn_event_times *times)
{
    struct virtual_device *device = enter(event->device);
    uint64_t bits = UINT64_MAX;
    if (device->faults.time_bits > 0)
        bits = (1ull << device->faults.time_bits) - 1;
    *times = ((struct virtual_event *)event)->times;
    times->start_ns &= bits;
    times->end_ns &= bits;
    leave(device);
    return TARN_OK;
}

const struct tarn_backend tarn_backend_virtual = {
    .name = "virtual",
    .list = virtual_list,
    .open = virtual_open,
    .close = virtual_close,
    .queue_create = virtual_queue_create,
    .queue_destroy = virtual_queue_destroy,
    .queue_finish = virtual_queue_finish,
    .buffer_create = virtual_buffer_create,
    .buffer_destroy = virtual_buffer_destroy,
    .kernel_alloc = virtual_kernel_alloc,
    .kernel_build = virtual_kernel_build,
    .kernel_destroy = virtual_kernel_destroy,
    .submit = virtual_submit,
    .mark = virtual_mark,
    .event_create = virtual_event_create,
    .event_destroy = virtual_event_destroy,
    .event_wait = virtual_event_wait,
    .event_times = virtual_event_times,
    .find = virtual_find,
    .event_reset = virtual_event_reset,
};

/* ---- <tarn/virtual.h> ---- */

/* Locks; NULL with a status if the device isn't simulated or is lost. */
static struct virtual_device *enter_virtual(tarn_device *base, tarn_status *status)
{
    *status = TARN_INVALID;
    if (base == NULL || base->backend != &tarn_backend_virtual)
        return NULL;
    *status = TARN_DEVICE_LOST;
    if (tarn_device_is_lost(base))
        return NULL;
    *status = TARN_OK;
    return enter(base);
}

tarn_status tarn_virtual_get_model(const tarn_device *base, struct tarn_virtual_model *model)
{
    if (base == NULL || model == NULL || base->backend != &tarn_backend_virtual)
        return TARN_INVALID;
    *model = ((const struct virtual_device *)base)->profile.model;
    return TARN_OK;
}

uint64_t tarn_virtual_now(const tarn_device *base)
{
    if (base == NULL || base->backend != &tarn_backend_virtual)
        return 0;
    struct virtual_device *device = enter((tarn_device *)base);
    uint64_t now = device->now_ns;
    leave(device);
    return now;
}

tarn_status tarn_virtual_advance(tarn_device *base, uint64_t ns)
{
    tarn_status status;
    struct virtual_device *device = enter_virtual(base, &status);
    if (device == NULL)
        return status;
    bool alive = tarn_virtual_pass(device, tarn_virtual_later(device->now_ns, ns));
    leave(device);
    if (!alive)
        tarn_device_mark_lost(base);
    return alive ? TARN_OK : TARN_DEVICE_LOST;
}

tarn_status tarn_virtual_set_frames(tarn_device *base, const struct tarn_virtual_frames *frames)
{
    tarn_status status;
    struct virtual_device *device = enter_virtual(base, &status);
    if (device == NULL)
        return status;
    /* longer frames would keep the device to themselves, and a wait would never end */
    if (frames != NULL &&
        (frames->cost_ns == 0 ||
         (frames->priority != TARN_PRIORITY_HIGH && frames->priority != TARN_PRIORITY_LOW) ||
         tarn_virtual_later(frames->cost_ns, device->profile.model.gap_ns) >= frames->period_ns)) {
        leave(device);
        return TARN_INVALID;
    }
    device->frames = frames != NULL ? *frames : (struct tarn_virtual_frames){0};
    device->next_frame_ns = tarn_virtual_later(device->now_ns, device->frames.period_ns);
    device->frame_due = false;
    leave(device);
    return TARN_OK;
}

tarn_status tarn_virtual_set_governor(tarn_device *base, bool on)
{
    tarn_status status;
    struct virtual_device *device = enter_virtual(base, &status);
    if (device == NULL)
        return status;
    device->governed = on;
    device->step = on ? 0 : device->profile.step_count - 1;
    device->busy_at_look_ns = device->busy_ns;
    device->next_look_ns = tarn_virtual_later(device->now_ns, device->profile.governor_period_ns);
    leave(device);
    return TARN_OK;
}

tarn_status tarn_virtual_set_faults(tarn_device *base, const struct tarn_virtual_faults *faults)
{
    tarn_status status;
    struct virtual_device *device = enter_virtual(base, &status);
    if (device == NULL)
        return status;
    if (faults != NULL &&
        ((faults->kernel != NULL && strlen(faults->kernel) >= sizeof device->fault_kernel) ||
         faults->time_bits > 63 ||
         (faults->slow_from > 0 && (faults->slow_factor == 0 || faults->slow_factor > 1000000)))) {
        leave(device);
        return TARN_INVALID;
    }
    device->faults = faults != NULL ? *faults : (struct tarn_virtual_faults){0};
    snprintf(device->fault_kernel, sizeof device->fault_kernel, "%s",
             device->faults.kernel != NULL ? device->faults.kernel : "");
    device->faults.kernel = NULL;
    device->starts = 0;
    leave(device);
    return TARN_OK;
}

tarn_status tarn_virtual_get_stats(tarn_device *base, struct tarn_virtual_stats *stats)
{
    /* a lost device is asked too: what it has done remains to be seen */
    if (base == NULL || stats == NULL || base->backend != &tarn_backend_virtual)
        return TARN_INVALID;
    struct virtual_device *device = enter(base);
    *stats = device->stats;
    stats->clock_mhz = device->profile.step_mhz[device->step];
    leave(device);
    return TARN_OK;
}

tarn_status tarn_virtual_reset_stats(tarn_device *base)
{
    tarn_status status;
    struct virtual_device *device = enter_virtual(base, &status);
    if (device == NULL)
        return status;
    device->stats = (struct tarn_virtual_stats){
        .pending = device->stats.pending,
        .memory = device->stats.memory,
    };
    leave(device);
    return TARN_OK;
}
