/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passing of virtual time: docs/virtual-devices.md in code. Time goes from one happening to the
 * next; those of one instant come in a fixed order (an end, a frame's arrival, the governor's look,
 * a start), so that whatever arrives at the instant of a start takes part in the choice. All in
 * whole numbers: the same on every machine.
 */
#include "virtual.h"

#include <string.h>

#define NEVER UINT64_MAX

/* Rounded up; saturates. */
static uint64_t scale(uint64_t amount, uint64_t times, uint64_t by)
{
    if (times != 0 && amount > (NEVER - by) / times)
        return amount / by > NEVER / times ? NEVER : amount / by * times;
    return (amount * times + by - 1) / by;
}

/* ---- what a kernel costs ---- */

static struct tarn_host_launch host_launch_of(const struct virtual_command *command)
{
    struct tarn_host_launch launch = {
        .buffers = command->buffers,
        .constants = command->constants,
        .defines = command->defines,
        .group_count = command->groups,
        .first_tile = command->stop != NULL ? command->tile : command->first_tile,
        .tile_count = command->stop != NULL ? 1 : command->tile_count,
    };
    return launch;
}

/* Of the next tile, or of all where they aren't taken one by one, without the fixed part. */
static uint64_t tile_ns(const struct virtual_device *device, const struct virtual_command *command)
{
    const struct tarn_virtual_profile *p = &device->profile;
    struct tarn_kernel_cost cost = {0};
    if (command->queue == NULL)
        return command->frame_ns;
    struct tarn_host_launch launch = host_launch_of(command);
    if (command->source->cost != NULL)
        command->source->cost(&launch, &cost);
    else
        cost.bytes = command->buffer_bytes;
    uint64_t full = p->step_mhz[p->step_count - 1], clock = p->step_mhz[device->step];
    uint64_t moved = scale(cost.bytes, 1000, p->model.bytes_per_us);
    uint64_t computed = scale(cost.operations, 1000, p->model.operations_per_us);
    computed = scale(computed, full, clock);
    return scale(moved > computed ? moved : computed, device->slow, 1);
}

/* ---- time spent ---- */

/* The only place where the clock moves. */
static void go_to(struct virtual_device *device, uint64_t ns)
{
    if (ns <= device->now_ns)
        return;
    uint64_t passed = ns - device->now_ns;
    device->now_ns = ns;
    if (device->running == NULL)
        return;
    device->busy_ns += passed;
    if (device->running->queue == NULL)
        device->stats.frame_busy_ns += passed;
    else
        device->stats.busy_ns[device->running->priority] += passed;
}

/* ---- queues ---- */

void tarn_virtual_put(struct virtual_device *device, struct virtual_command *command)
{
    uint32_t place = command->queue != NULL ? command->queue->place : 0;
    if (command->queue == NULL && device->profile.model.priority &&
        command->priority == TARN_PRIORITY_LOW)
        place = 1;
    struct virtual_command **at = &device->queue[place].first;
    /* only a frame is ready before what was put in earlier: the usual place is the end */
    if (device->queue[place].last != NULL &&
        device->queue[place].last->ready_ns <= command->ready_ns)
        at = &device->queue[place].last->next;
    while (*at != NULL && (*at)->ready_ns <= command->ready_ns)
        at = &(*at)->next;
    command->next = *at;
    *at = command;
    if (command->next == NULL)
        device->queue[place].last = command;
}

static void give_back(struct virtual_device *device, struct virtual_command *command)
{
    if (command == &device->frame)
        return;
    command->next = device->spare;
    device->spare = command;
}

static void detach_events(struct virtual_command *command)
{
    if (command->event != NULL)
        command->event->command = NULL;
    for (struct virtual_event *mark = command->marks; mark != NULL; mark = mark->next_mark)
        mark->command = NULL;
    command->event = command->marks = NULL;
}

void tarn_virtual_forget(struct virtual_device *device, struct virtual_queue *queue)
{
    for (uint32_t i = 0; i < device->profile.model.queues; i++) {
        struct virtual_command *last = NULL, **at = &device->queue[i].first;
        while (*at != NULL) {
            struct virtual_command *command = *at;
            if (command->queue != queue) {
                last = command;
                at = &command->next;
                continue;
            }
            *at = command->next;
            detach_events(command);
            device->stats.pending--;
            give_back(device, command);
        }
        device->queue[i].last = last;
    }
    if (device->running != NULL && device->running->queue == queue) {
        detach_events(device->running);
        device->stats.pending--;
        give_back(device, device->running);
        device->running = NULL;
    }
}

/*
 * The queue whose first command starts next, and when: the first instant at which the device is
 * free and anything is ready; among what is ready then, the high-priority queue where that counts,
 * else the queues take turns. Commands of one queue never overtake each other.
 */
static uint64_t next_start(const struct virtual_device *device, uint32_t *place)
{
    uint32_t queues = device->profile.model.queues;
    uint64_t when = NEVER;
    if (device->running != NULL)
        return NEVER;
    for (uint32_t i = 0; i < queues; i++)
        if (device->queue[i].first != NULL && device->queue[i].first->ready_ns < when)
            when = device->queue[i].first->ready_ns;
    if (when == NEVER)
        return NEVER;
    if (when < device->free_ns)
        when = device->free_ns;
    if (when < device->now_ns)
        when = device->now_ns;
    for (uint32_t i = 0; i < queues; i++) {
        *place = device->profile.model.priority ? i : (device->turn + i) % queues;
        const struct virtual_command *first = device->queue[*place].first;
        if (first != NULL && first->ready_ns <= when)
            break;
    }
    return when;
}

/* ---- happenings ---- */

static bool stop_is_set(const struct virtual_device *device, const struct virtual_command *command)
{
    return !device->faults.flag_unseen &&
           tarn_ticket_is_over(__atomic_load_n(&command->stop[0], __ATOMIC_ACQUIRE),
                               command->ticket);
}

static void finish(struct virtual_device *device)
{
    struct virtual_command *command = device->running;
    struct virtual_queue *queue = command->queue;
    device->running = NULL;
    device->free_ns = tarn_virtual_later(device->now_ns, device->profile.model.gap_ns);
    if (queue == NULL) {
        device->frame_under_way = false;
        return;
    }
    if (command->stop != NULL) {
        __atomic_store_n(&command->stop[1], command->tile, __ATOMIC_RELEASE);
        device->stats.stopped += command->tile < command->end;
    }
    if (command->event != NULL) {
        command->event->times =
            (struct tarn_event_times){command->start_ns, device->now_ns, .from_device = true};
        if (command->stop != NULL)
            command->event->times.tiles = command->tile - command->first_tile;
        command->event->done = true;
    }
    for (struct virtual_event *mark = command->marks; mark != NULL; mark = mark->next_mark) {
        mark->times =
            (struct tarn_event_times){device->now_ns, device->now_ns, .from_device = true};
        mark->done = true;
    }
    detach_events(command);
    if (queue->last == command)
        queue->last = NULL;
    device->stats.launches[command->priority]++;
    device->stats.pending--;
    give_back(device, command);
}

/* The running command is at a boundary: on to the next tile, or out. */
static void next_tile(struct virtual_device *device)
{
    struct virtual_command *command = device->running;
    if (command->tile < command->end && !stop_is_set(device, command))
        device->event_ns = tarn_virtual_later(device->now_ns, tile_ns(device, command));
    else
        finish(device);
}

/* Where the launch begins is known now that all before it in its queue has ended. */
static void find_tiles(struct virtual_command *command)
{
    if (command->resume)
        command->first_tile = __atomic_load_n(&command->stop[1], __ATOMIC_ACQUIRE);
    command->tile = command->first_tile;
    command->end = tarn_tiles_end(command->tile, command->tile_count, command->tiles_in_all);
}

static void end_of_tile(struct virtual_device *device)
{
    struct virtual_command *command = device->running;
    if (command->queue != NULL && !command->skipped) {
        struct tarn_host_launch launch = host_launch_of(command);
        command->source->host(&launch);
    }
    if (command->stop == NULL) {
        finish(device);
        return;
    }
    command->tile++;
    next_tile(device);
}

/* Sets what goes wrong with this launch. False if it loses the device. */
static bool meet_faults(struct virtual_device *device, struct virtual_command *command)
{
    const struct tarn_virtual_faults *f = &device->faults;
    device->slow = 1;
    device->deadline_ns = tarn_virtual_later(device->now_ns, device->profile.model.watchdog_ns);
    if (command->queue == NULL) {
        device->deadline_ns = NEVER; /* the display's own driver sees to its frames */
        return true;
    }
    if (device->fault_kernel[0] != '\0' && strcmp(command->source->name, device->fault_kernel) != 0)
        return true;
    uint64_t number = ++device->starts;
    if (f->lose_at == number)
        return false;
    command->skipped = f->skip_at == number;
    if (f->slow_from > 0 && number >= f->slow_from)
        device->slow = f->slow_factor;
    if (f->hang_at == number)
        device->slow = 0;
    return true;
}

static void start(struct virtual_device *device, uint32_t place)
{
    struct virtual_command *command = device->queue[place].first;
    device->queue[place].first = command->next;
    if (command->next == NULL)
        device->queue[place].last = NULL;
    device->turn = (place + 1) % device->profile.model.queues;
    command->start_ns = device->now_ns;
    device->running = command;
    if (!meet_faults(device, command)) {
        device->gone = true;
        return;
    }
    if (command->queue == NULL) {
        device->event_ns = tarn_virtual_later(device->now_ns, tile_ns(device, command));
        return;
    }
    uint64_t blocked = device->now_ns - command->ready_ns;
    if (blocked > device->stats.blocked_ns[command->priority])
        device->stats.blocked_ns[command->priority] = blocked;
    uint64_t fixed = device->profile.model.launch_ns;
    if (command->stop != NULL)
        find_tiles(command);
    if (device->slow == 0)
        device->event_ns = NEVER;
    else if (command->stop != NULL)
        /* the fixed part ends at the first boundary: a flag that is set by then stops it there */
        device->event_ns = tarn_virtual_later(device->now_ns, fixed);
    else
        device->event_ns =
            tarn_virtual_later(device->now_ns, tarn_virtual_later(fixed, tile_ns(device, command)));
}

static void end_of_fixed_part_or_tile(struct virtual_device *device)
{
    struct virtual_command *command = device->running;
    if (command->stop != NULL && !command->begun) {
        command->begun = true;
        next_tile(device);
    } else {
        end_of_tile(device);
    }
}

static void frame_arrives(struct virtual_device *device)
{
    if (device->frame_due) {
        device->stats.frames++;
        device->stats.frames_missed += device->frame_under_way;
    }
    device->frame_due = true;
    if (!device->frame_under_way) {
        device->frame = (struct virtual_command){.priority = device->frames.priority,
                                                 .ready_ns = device->now_ns,
                                                 .frame_ns = device->frames.cost_ns};
        device->frame_under_way = true;
        tarn_virtual_put(device, &device->frame);
    }
    device->next_frame_ns = tarn_virtual_later(device->now_ns, device->frames.period_ns);
}

static void governor_looks(struct virtual_device *device)
{
    const struct tarn_virtual_profile *p = &device->profile;
    uint64_t busy = (device->busy_ns - device->busy_at_look_ns) * 100;
    if (busy >= p->governor_period_ns * p->up_percent)
        device->step += device->step + 1 < p->step_count;
    else if (busy < p->governor_period_ns * p->down_percent)
        device->step -= device->step > 0;
    device->busy_at_look_ns = device->busy_ns;
    device->next_look_ns = tarn_virtual_later(device->now_ns, p->governor_period_ns);
}

/* The next happening, if it is no later than `until_ns`. */
static bool happen(struct virtual_device *device, uint64_t until_ns)
{
    uint32_t place = 0;
    uint64_t end = device->running != NULL ? device->event_ns : NEVER;
    uint64_t bite = device->running != NULL ? device->deadline_ns : NEVER;
    uint64_t arrival = device->frames.period_ns > 0 ? device->next_frame_ns : NEVER;
    uint64_t look = device->governed ? device->next_look_ns : NEVER;
    uint64_t begin = next_start(device, &place);
    uint64_t first = end < bite ? end : bite;
    first = arrival < first ? arrival : first;
    first = look < first ? look : first;
    first = begin < first ? begin : first;
    if (first > until_ns || first == NEVER)
        return false;
    go_to(device, first);
    if (first == end)
        end_of_fixed_part_or_tile(device);
    else if (first == bite)
        device->gone = true;
    else if (first == arrival)
        frame_arrives(device);
    else if (first == look)
        governor_looks(device);
    else
        start(device, place);
    return true;
}

bool tarn_virtual_pass(struct virtual_device *device, uint64_t until_ns)
{
    while (!device->gone && happen(device, until_ns))
        continue;
    if (!device->gone)
        go_to(device, until_ns);
    return !device->gone;
}

tarn_status tarn_virtual_wait(struct virtual_device *device, bool (*done)(const void *what),
                              const void *what, uint64_t until_ns)
{
    while (!done(what)) {
        if (device->gone)
            return TARN_DEVICE_LOST;
        if (happen(device, until_ns))
            continue;
        if (until_ns == NEVER) /* whatever is waited for can't happen any more */
            return TARN_DEVICE_LOST;
        go_to(device, until_ns);
        return TARN_TIMEOUT;
    }
    return TARN_OK;
}
