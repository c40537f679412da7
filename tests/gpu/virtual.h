/* SPDX-License-Identifier: Apache-2.0 */
/** @file What the tests of simulated devices share: a kernel whose cost is said with each launch. */
#ifndef TARN_TESTS_GPU_VIRTUAL_H
#define TARN_TESTS_GPU_VIRTUAL_H

#include "bench.h"

#define US(x) ((uint64_t)(x)*1000)

/* log[0] = number of launches so far, then the digits of each. */
struct work_constants {
    uint64_t operations, bytes;
    uint32_t digit, pad;
};

static void work_host(const struct tarn_host_launch *launch)
{
    uint32_t *log = launch->buffers[0];
    const struct work_constants *c = launch->constants;
    log[++log[0] % 64] = c->digit;
}

static void work_cost(const struct tarn_host_launch *launch, struct tarn_kernel_cost *cost)
{
    const struct work_constants *c = launch->constants;
    cost->operations = c->operations;
    cost->bytes = c->bytes;
}

static const struct tarn_kernel_source work_source = {
    .name = "work",
    .gpu_local_size = 64,
    .host = work_host,
    .cost = work_cost,
    .buffer_count = 1,
    .constants_size = sizeof(struct work_constants),
};

/** A simulated device with two queues and that kernel. */
struct world {
    struct bench bench;
    tarn_queue *low;
    tarn_kernel *kernel;
    tarn_buffer *log;
    struct tarn_virtual_model model;
};

static inline bool world_open(struct world *w, const char *id)
{
    *w = (struct world){0};
    suite_id = id;
    bench_open(&w->bench);
    if (w->bench.queue == NULL)
        return false;
    tarn_queue_create(w->bench.device, &(struct tarn_queue_params){TARN_PRIORITY_LOW}, &w->low);
    w->kernel = make_kernel(&w->bench, &work_source, NULL);
    w->log = make_buffer(&w->bench, 64);
    return tarn_virtual_get_model(w->bench.device, &w->model) == TARN_OK && w->low != NULL &&
           w->kernel != NULL && w->log != NULL;
}

static inline void world_close(struct world *w)
{
    tarn_queue_destroy(&w->low);
    tarn_queue_destroy(&w->bench.queue);
    tarn_buffer_destroy(&w->log);
    tarn_kernel_destroy(&w->kernel);
    bench_close(&w->bench);
}

/** A launch that computes for so many microseconds at the full clock. */
static inline tarn_status work(struct world *w, tarn_queue *queue, uint64_t us, uint32_t digit,
                               tarn_event **event)
{
    struct work_constants c = {.operations = us * w->model.operations_per_us, .digit = digit};
    return tarn_queue_submit(
        queue,
        &(struct tarn_launch){
            .kernel = w->kernel, .buffers = &w->log, .constants = &c, .groups = 1},
        event);
}

/** Its time on the device, once it has ended; then the event is released. */
static inline struct tarn_event_times times_of(tarn_event **event)
{
    struct tarn_event_times times = {0};
    CHECK(tarn_event_wait(*event, TARN_FOREVER) == TARN_OK);
    CHECK(tarn_event_get_times(*event, &times) == TARN_OK);
    CHECK(times.from_device);
    tarn_event_release(event);
    return times;
}

#define CHECK_TIMES(event, start, end)                                                             \
    do {                                                                                           \
        struct tarn_event_times times_ = times_of(event);                                          \
        CHECK_NUMBER(times_.start_ns, start);                                                      \
        CHECK_NUMBER(times_.end_ns, end);                                                          \
    } while (0)

#endif
