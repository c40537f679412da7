/* SPDX-License-Identifier: Apache-2.0 */
#include "suite.h"

#include "bench.h"

#include <pthread.h>

#include "base/clock.h"

/* ---- cases ---- */

static void devices_are_listed(void)
{
    struct tarn_device_info *infos;
    size_t count;
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    REQUIRE(count >= 1);
    bool seen = false, host_seen = false;
    for (size_t i = 0; i < count; i++) {
        host_seen = host_seen || strcmp(infos[i].id, "host") == 0;
        CHECK(infos[i].type != TARN_DEVICE_VIRTUAL || host_seen);
        seen = seen || strncmp(infos[i].id, suite_id, strlen(suite_id)) == 0;
        CHECK(infos[i].name[0] != '\0' && infos[i].driver[0] != '\0');
        CHECK(infos[i].limits.compute_units >= 1 && infos[i].limits.group_size >= 1);
        CHECK(infos[i].limits.buffer > 0);
        CHECK(i == 0 || infos[i].type >= infos[i - 1].type);
    }
    CHECK(seen && host_seen);
    CHECK(infos[count - 1].type == TARN_DEVICE_VIRTUAL);
    tarn_devices_free(&infos);
    CHECK(infos == NULL);
    tarn_devices_free(&infos);
    CHECK(tarn_devices_list(NULL, &count) == TARN_INVALID);
}

static void every_listed_device_opens(void)
{
    struct tarn_device_info *infos;
    size_t count;
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    for (size_t i = 0; i < count; i++) {
        tarn_device *device;
        struct tarn_error error = {0};
        CHECK(tarn_device_open(&(struct tarn_device_params){.id = infos[i].id}, &device, &error) ==
              TARN_OK);
        if (device == NULL)
            continue;
        CHECK(strcmp(tarn_device_get_info(device)->id, infos[i].id) == 0);
        CHECK(tarn_device_get_info(device)->type == infos[i].type);
        CHECK(!tarn_device_is_lost(device));
        tarn_device_close(&device);
        CHECK(device == NULL);
    }
    tarn_devices_free(&infos);
}

static void bad_ids_are_refused(void)
{
    static const char *const ids[] = {"",
                                      "opencl:",
                                      "opencl:x",
                                      "opencl:99",
                                      "host:1",
                                      "nonsense",
                                      "opencl:1x",
                                      "opencl:123456789012",
                                      "host ",
                                      ":0",
                                      "opencl:-1",
                                      "HOST",
                                      "auto:0",
                                      "opencl:0:0",
                                      "opencl: 0",
                                      "virtual:",
                                      "virtual:mal",
                                      "virtual:mali ",
                                      "virtual:3",
                                      "mali",
                                      "host:mali"};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        tarn_device *device = NULL;
        struct tarn_error error = {0};
        tarn_status status =
            tarn_device_open(&(struct tarn_device_params){.id = ids[i]}, &device, &error);
        CHECK(status == TARN_NO_DEVICE && device == NULL);
        CHECK(error.status == TARN_NO_DEVICE && error.message[0] != '\0');
    }
    CHECK(tarn_device_open(NULL, NULL, NULL) == TARN_INVALID);
    tarn_device_close(NULL);
}

static void auto_prefers_a_gpu_then_the_host(void)
{
    struct tarn_device_info *infos;
    size_t count;
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    const char *wanted = infos[0].type == TARN_DEVICE_GPU ? infos[0].id : "host";
    tarn_device *device;
    REQUIRE(tarn_device_open(NULL, &device, NULL) == TARN_OK);
    CHECK(strcmp(tarn_device_get_info(device)->id, wanted) == 0);
    tarn_device_close(&device);
    tarn_devices_free(&infos);
}

static void buffers_are_zeroed_and_bounded(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_buffer *buffer = NULL, *hidden = NULL;
    CHECK(tarn_buffer_create(bench.device, &(struct tarn_buffer_params){.size = 0}, &buffer) ==
          TARN_INVALID);
    uint64_t limit = tarn_device_get_info(bench.device)->limits.buffer;
    CHECK(tarn_buffer_create(bench.device, &(struct tarn_buffer_params){.size = (size_t)limit + 1},
                             &buffer) == TARN_TOO_LARGE);
    CHECK(buffer == NULL);
    REQUIRE(tarn_buffer_create(bench.device, &(struct tarn_buffer_params){.size = 1001}, &buffer) ==
            TARN_OK);
    const unsigned char *bytes = tarn_buffer_data(buffer);
    CHECK(tarn_buffer_size(buffer) == 1001 && (uintptr_t)bytes % 64 == 0);
    unsigned sum = 0;
    for (int i = 0; i < 1001; i++)
        sum += bytes[i];
    CHECK_NUMBER(sum, 0);
    CHECK(tarn_buffer_upload(bench.queue, buffer, 0, 1001) == TARN_OK);
    CHECK(tarn_buffer_upload(bench.queue, buffer, 1001, 0) == TARN_OK);
    CHECK(tarn_buffer_upload(bench.queue, buffer, 1000, 2) == TARN_INVALID);
    CHECK(tarn_buffer_upload(bench.queue, buffer, 1002, 0) == TARN_INVALID);
    CHECK(tarn_buffer_upload(bench.queue, buffer, 8, SIZE_MAX - 4) == TARN_INVALID);
    CHECK(tarn_buffer_download(bench.queue, buffer, 0, 1002) == TARN_INVALID);
    CHECK(tarn_buffer_download(bench.queue, NULL, 0, 1) == TARN_INVALID);
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
    REQUIRE(tarn_buffer_create(bench.device,
                               &(struct tarn_buffer_params){.size = 64, .device_only = true},
                               &hidden) == TARN_OK);
    CHECK(tarn_buffer_data(hidden) == NULL);
    CHECK(tarn_buffer_upload(bench.queue, hidden, 0, 64) == TARN_INVALID);
    tarn_buffer_destroy(&hidden);
    tarn_buffer_destroy(&buffer);
    CHECK(buffer == NULL);
    tarn_buffer_destroy(&buffer);
    bench_close(&bench);
}

/* Odd sizes, defines (a negative one too), constants, and a buffer that only the device sees. */
static void kernels_compute(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    enum { MOST = 1000 };
    tarn_kernel *kernel = make_kernel(&bench, &scale_source, (const int32_t[]){7, -3});
    tarn_buffer *in = make_buffer(&bench, MOST), *out = make_buffer(&bench, MOST), *middle = NULL;
    tarn_buffer_create(
        bench.device, &(struct tarn_buffer_params){.size = MOST * 4, .device_only = true}, &middle);
    REQUIRE(kernel != NULL && in != NULL && out != NULL && middle != NULL);
    CHECK_NUMBER(tarn_kernel_groups(kernel, 0), 0);
    CHECK_NUMBER(tarn_kernel_groups(kernel, 1), 1);
    CHECK(tarn_kernel_groups(kernel, UINT32_MAX) > UINT32_MAX / 65);
    for (uint32_t count = 1; count <= MOST; count = count * 2 + 3) {
        for (uint32_t i = 0; i < MOST; i++) {
            ((uint32_t *)tarn_buffer_data(in))[i] = i * 2654435761u + count;
            ((uint32_t *)tarn_buffer_data(out))[i] = 77;
        }
        CHECK(tarn_buffer_upload(bench.queue, in, 0, MOST * 4) == TARN_OK);
        CHECK(tarn_buffer_upload(bench.queue, out, 0, MOST * 4) == TARN_OK);
        struct scale_constants constants = {.count = count, .addend = 5};
        struct tarn_launch launch = {.kernel = kernel,
                                     .buffers = (tarn_buffer *[]){in, middle},
                                     .constants = &constants,
                                     .groups = tarn_kernel_groups(kernel, count)};
        CHECK(tarn_queue_submit(bench.queue, &launch, NULL) == TARN_OK);
        launch.buffers = (tarn_buffer *[]){middle, out};
        constants.addend = 9; /* the first launch keeps its 5 */
        CHECK(tarn_queue_submit(bench.queue, &launch, NULL) == TARN_OK);
        constants = (struct scale_constants){0};
        CHECK(tarn_buffer_download(bench.queue, out, 0, MOST * 4) == TARN_OK);
        CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
        uint32_t wrong = 0;
        for (uint32_t i = 0; i < MOST; i++) {
            uint32_t once = (i * 2654435761u + count) * 7 - 3 + 5;
            wrong += word(out, i) != (i < count ? once * 7 - 3 + 9 : 77);
        }
        CHECK_NUMBER(wrong, 0);
    }
    tarn_buffer_destroy(&middle);
    tarn_buffer_destroy(&out);
    tarn_buffer_destroy(&in);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

static void device_only_memory_starts_at_zero(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &scale_source, (const int32_t[]){1, 0});
    tarn_buffer *out = make_buffer(&bench, 333), *hidden = NULL;
    tarn_buffer_create(bench.device,
                       &(struct tarn_buffer_params){.size = 333 * 4, .device_only = true}, &hidden);
    REQUIRE(kernel != NULL && out != NULL && hidden != NULL);
    tarn_queue_submit(bench.queue,
                      &(struct tarn_launch){.kernel = kernel,
                                            .buffers = (tarn_buffer *[]){hidden, out},
                                            .constants = &(struct scale_constants){333, 4},
                                            .groups = tarn_kernel_groups(kernel, 333)},
                      NULL);
    tarn_buffer_download(bench.queue, out, 0, 333 * 4);
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
    uint32_t wrong = 0;
    for (uint32_t i = 0; i < 333; i++)
        wrong += word(out, i) != 4;
    CHECK_NUMBER(wrong, 0);
    tarn_buffer_destroy(&hidden);
    tarn_buffer_destroy(&out);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

/* Copies touch the asked range and no more; on unified memory there is nothing to tell apart. */
static void copies_keep_to_their_range(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &scale_source, (const int32_t[]){1, 1});
    tarn_buffer *in = make_buffer(&bench, 64), *out = make_buffer(&bench, 64);
    REQUIRE(kernel != NULL && in != NULL && out != NULL);
    bool unified = tarn_device_get_info(bench.device)->unified_memory;
    for (uint32_t i = 0; i < 64; i++)
        ((uint32_t *)tarn_buffer_data(in))[i] = 100 + i;
    CHECK(tarn_buffer_upload(bench.queue, in, 8 * 4, 16 * 4) == TARN_OK);
    tarn_queue_submit(bench.queue,
                      &(struct tarn_launch){.kernel = kernel,
                                            .buffers = (tarn_buffer *[]){in, out},
                                            .constants = &(struct scale_constants){64, 0},
                                            .groups = tarn_kernel_groups(kernel, 64)},
                      NULL);
    CHECK(tarn_buffer_download(bench.queue, out, 4 * 4, 8 * 4) == TARN_OK);
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
    CHECK_NUMBER(word(out, 8), 109);
    CHECK_NUMBER(word(out, 11), 112);
    CHECK_NUMBER(word(out, 4), unified ? 105 : 1); /* not uploaded: 0 + 1 */
    CHECK_NUMBER(word(out, 3), unified ? 104 : 0); /* not downloaded */
    CHECK_NUMBER(word(out, 12), unified ? 113 : 0);
    tarn_buffer_destroy(&out);
    tarn_buffer_destroy(&in);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

static void launches_run_in_order(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &append_source, NULL);
    tarn_buffer *state = make_buffer(&bench, 1);
    REQUIRE(kernel != NULL && state != NULL);
    CHECK_NUMBER(tarn_kernel_groups(kernel, 1000), 1);
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < 200; i++) {
        uint32_t digit = i * i % 7;
        CHECK(tarn_queue_submit(
                  bench.queue,
                  &(struct tarn_launch){
                      .kernel = kernel, .buffers = &state, .constants = &digit, .groups = 1},
                  NULL) == TARN_OK);
        wanted = wanted * 3 + digit;
    }
    CHECK(tarn_buffer_download(bench.queue, state, 0, 4) == TARN_OK);
    tarn_event *event;
    REQUIRE(tarn_queue_mark(bench.queue, &event) == TARN_OK);
    CHECK(tarn_event_wait(event, TARN_FOREVER) == TARN_OK);
    CHECK_NUMBER(word(state, 0), wanted);
    tarn_event_release(&event);
    CHECK(event == NULL);
    tarn_event_release(&event);
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

static void events_tell_when(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    enum { COUNT = 8 };
    tarn_kernel *kernel = make_kernel(&bench, &spin_source, NULL);
    tarn_buffer *out = make_buffer(&bench, 1);
    REQUIRE(kernel != NULL && out != NULL);
    tarn_event *events[COUNT] = {0};
    uint32_t steps = 20000;
    for (int i = 0; i < COUNT; i++)
        CHECK(tarn_queue_submit(
                  bench.queue,
                  &(struct tarn_launch){
                      .kernel = kernel, .buffers = &out, .constants = &steps, .groups = 1},
                  &events[i]) == TARN_OK);
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
    bool host = tarn_device_get_info(bench.device)->type == TARN_DEVICE_HOST;
    uint64_t before = 0;
    for (int i = 0; i < COUNT; i++) {
        struct tarn_event_times times = {0};
        CHECK(tarn_event_wait(events[i], 0) == TARN_OK);
        CHECK(tarn_event_get_times(events[i], &times) == TARN_OK);
        CHECK(times.start_ns >= before && times.end_ns > times.start_ns);
        CHECK(times.end_ns - times.start_ns < 10000000000u);
        CHECK(times.from_device == !host);
        before = times.end_ns;
        tarn_event_release(&events[i]);
    }
    CHECK(tarn_event_wait(NULL, 0) == TARN_INVALID);
    tarn_buffer_destroy(&out);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

static void stopped_queues_refuse_launches(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &append_source, NULL);
    tarn_buffer *state = make_buffer(&bench, 1);
    tarn_queue *other = NULL;
    tarn_queue_create(bench.device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW},
                      &other);
    REQUIRE(kernel != NULL && state != NULL && other != NULL);
    uint32_t digit = 1;
    struct tarn_launch launch = {
        .kernel = kernel, .buffers = &state, .constants = &digit, .groups = 1};
    tarn_event *event = NULL;
    CHECK(tarn_queue_submit(other, &launch, NULL) == TARN_OK);
    tarn_queue_stop(other, true);
    CHECK(tarn_queue_submit(other, &launch, &event) == TARN_BUSY);
    CHECK(event == NULL);
    CHECK(tarn_queue_finish(other, TARN_FOREVER) == TARN_OK); /* what was submitted goes on */
    CHECK(tarn_queue_submit(bench.queue, &launch, NULL) == TARN_OK); /* the others too */
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
    tarn_queue_stop(other, false);
    CHECK(tarn_queue_submit(other, &launch, &event) == TARN_OK);
    CHECK(tarn_buffer_download(other, state, 0, 4) == TARN_OK);
    CHECK(tarn_queue_finish(other, TARN_FOREVER) == TARN_OK);
    CHECK_NUMBER(word(state, 0), 1 * 9 + 1 * 3 + 1);
    tarn_event_release(&event);
    tarn_queue_destroy(&other);
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

/* How many steps keep this device busy for about `ms`; the fastest of a few, on a busy machine. */
static uint32_t steps_for(struct bench *bench, tarn_kernel *kernel, tarn_buffer *out, uint32_t ms)
{
    uint32_t steps = 1u << 20;
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        tarn_event *event = NULL;
        struct tarn_event_times times = {0};
        tarn_queue_submit(bench->queue,
                          &(struct tarn_launch){
                              .kernel = kernel, .buffers = &out, .constants = &steps, .groups = 1},
                          &event);
        CHECK(tarn_event_wait(event, TARN_FOREVER) == TARN_OK);
        CHECK(tarn_event_get_times(event, &times) == TARN_OK);
        tarn_event_release(&event);
        if (times.end_ns - times.start_ns < best)
            best = times.end_ns - times.start_ns;
    }
    return (uint32_t)(ms * 1e6 / ((double)best / steps));
}

/*
 * One long launch, asked about while it runs. Where the device runs it on our own thread (the host,
 * some of PoCL's) it is done at once, and so says every question. False if there was nothing to see:
 * we were put aside for so long that the launch may have ended first.
 */
static bool ask_during(struct bench *bench, tarn_kernel *kernel, tarn_buffer *out, uint32_t steps)
{
    tarn_event *event = NULL;
    struct tarn_event_times times = {0};
    uint64_t started = time_of(bench);
    CHECK(
        tarn_queue_submit(bench->queue,
                          &(struct tarn_launch){
                              .kernel = kernel, .buffers = &out, .constants = &steps, .groups = 1},
                          &event) == TARN_OK);
    tarn_status at_once = tarn_event_wait(event, 0);
    tarn_status when = tarn_event_get_times(event, &times);
    uint64_t before = time_of(bench);
    tarn_status soon = tarn_event_wait(event, 1000);
    uint64_t waited = time_of(bench) - before;
    tarn_status all_soon = tarn_queue_finish(bench->queue, 1000);
    tarn_status all_at_once = tarn_queue_finish(bench->queue, 0);
    uint64_t asked = time_of(bench) - started;
    CHECK(tarn_event_wait(event, 60000000) == TARN_OK);
    CHECK(tarn_event_wait(event, TARN_FOREVER) == TARN_OK);
    CHECK(tarn_queue_finish(bench->queue, 60000000) == TARN_OK);
    CHECK(tarn_event_get_times(event, &times) == TARN_OK);
    tarn_event_release(&event);
    if (at_once == TARN_OK && asked >= times.end_ns - times.start_ns) {
        CHECK(when == TARN_OK && soon == TARN_OK && all_soon == TARN_OK && all_at_once == TARN_OK);
        return true;
    }
    if (asked > (times.end_ns - times.start_ns) / 2)
        return false;
    CHECK(at_once == TARN_TIMEOUT && when == TARN_BUSY && soon == TARN_TIMEOUT);
    CHECK(all_soon == TARN_TIMEOUT && all_at_once == TARN_TIMEOUT);
    CHECK(waited >= 1000000);
    return true;
}

static void limited_waits_time_out(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &spin_source, NULL);
    tarn_buffer *out = make_buffer(&bench, 1);
    REQUIRE(kernel != NULL && out != NULL);
    uint32_t steps = steps_for(&bench, kernel, out, 100);
    bool seen = false;
    for (int attempt = 0; attempt < 10 && !seen; attempt++)
        seen = ask_during(&bench, kernel, out, steps);
    tarn_buffer_destroy(&out);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
    if (!seen)
        SKIP("no launch was still running when asked");
}

/* ---- threads ---- */

struct worker {
    struct bench *bench;
    tarn_kernel *kernel; /* shared by all */
    tarn_priority priority;
    uint32_t seed;
    uint32_t wrong;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    enum { WORDS = 96, ROUNDS = 300 };
    tarn_queue *queue = NULL;
    tarn_queue_create(worker->bench->device,
                      &(struct tarn_queue_params){.priority = worker->priority}, &queue);
    tarn_buffer *in = make_buffer(worker->bench, WORDS), *out = make_buffer(worker->bench, WORDS);
    worker->wrong = 1;
    if (queue != NULL && in != NULL && out != NULL) {
        worker->wrong = 0;
        for (uint32_t round = 0; round < ROUNDS; round++) {
            for (uint32_t i = 0; i < WORDS; i++)
                ((uint32_t *)tarn_buffer_data(in))[i] = worker->seed + i;
            struct scale_constants constants = {WORDS, round * worker->seed};
            tarn_event *event = NULL;
            tarn_buffer_upload(queue, in, 0, WORDS * 4);
            tarn_queue_submit(
                queue,
                &(struct tarn_launch){.kernel = worker->kernel,
                                      .buffers = (tarn_buffer *[]){in, out},
                                      .constants = &constants,
                                      .groups = tarn_kernel_groups(worker->kernel, WORDS)},
                NULL);
            tarn_buffer_download(queue, out, 0, WORDS * 4);
            tarn_queue_mark(queue, &event);
            worker->wrong += tarn_event_wait(event, TARN_FOREVER) != TARN_OK;
            tarn_event_release(&event);
            for (uint32_t i = 0; i < WORDS; i++)
                worker->wrong += word(out, i) != (worker->seed + i) * 5 + 2 + round * worker->seed;
        }
    }
    tarn_buffer_destroy(&out);
    tarn_buffer_destroy(&in);
    tarn_queue_destroy(&queue);
    return NULL;
}

static void two_threads_share_a_kernel(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &scale_source, (const int32_t[]){5, 2});
    REQUIRE(kernel != NULL);
    struct worker workers[2] = {
        {.bench = &bench, .kernel = kernel, .priority = TARN_PRIORITY_HIGH, .seed = 17},
        {.bench = &bench, .kernel = kernel, .priority = TARN_PRIORITY_LOW, .seed = 9001},
    };
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    for (int i = 0; i < 500; i++) /* any thread may stop and start a queue, and ask */
        tarn_queue_stop(bench.queue, (i & 1) != 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        CHECK_NUMBER(workers[i].wrong, 0);
    }
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

static void warm_launches_allocate_nothing(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &append_source, NULL);
    tarn_buffer *state = make_buffer(&bench, 1);
    REQUIRE(kernel != NULL && state != NULL);
    unsigned long before = 0;
    CHECK(atomic_load(&wrapped_allocations) > 0); /* the counting works */
    for (uint32_t i = 0; i < 1000; i++) {
        if (i == 10)
            before = atomic_load(&wrapped_allocations);
        tarn_event *event = NULL, *mark = NULL;
        tarn_buffer_upload(bench.queue, state, 0, 4);
        tarn_queue_submit(bench.queue,
                          &(struct tarn_launch){
                              .kernel = kernel, .buffers = &state, .constants = &i, .groups = 1},
                          &event);
        tarn_buffer_download(bench.queue, state, 0, 4);
        tarn_queue_mark(bench.queue, &mark);
        CHECK(tarn_event_wait(event, TARN_FOREVER) == TARN_OK);
        CHECK(tarn_event_wait(mark, i % 2 ? TARN_FOREVER : 10000000) == TARN_OK);
        tarn_event_release(&event);
        tarn_event_release(&mark);
    }
    CHECK_NUMBER(atomic_load(&wrapped_allocations) - before, 0);
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

/* Not a test: what a launch costs, for whoever reads the log. */
static void launches_are_timed(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &append_source, NULL);
    tarn_buffer *state = make_buffer(&bench, 1);
    REQUIRE(kernel != NULL && state != NULL);
    uint64_t best[3] = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    for (uint32_t i = 0; i < 2000; i++) {
        int kind = (int)(i % 3); /* no event and finish; a blocking wait; a limited wait */
        tarn_event *event = NULL;
        uint64_t started = tarn_clock_ns();
        CHECK(tarn_queue_submit(
                  bench.queue,
                  &(struct tarn_launch){
                      .kernel = kernel, .buffers = &state, .constants = &i, .groups = 1},
                  kind > 0 ? &event : NULL) == TARN_OK);
        if (kind == 0)
            tarn_queue_finish(bench.queue, TARN_FOREVER);
        else
            tarn_event_wait(event, kind == 1 ? TARN_FOREVER : 1000000);
        uint64_t took = tarn_clock_ns() - started;
        tarn_event_release(&event);
        if (took < best[kind])
            best[kind] = took;
    }
    printf("# fastest launch: finish %.2f us, blocking wait %.2f us, limited wait %.2f us\n",
           (double)best[0] * 1e-3, (double)best[1] * 1e-3, (double)best[2] * 1e-3);
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
}

int gpu_suite(const char *id)
{
    static const struct check_case cases[] = {
        CASE(devices_are_listed),
        CASE(every_listed_device_opens),
        CASE(bad_ids_are_refused),
        CASE(auto_prefers_a_gpu_then_the_host),
        CASE(buffers_are_zeroed_and_bounded),
        CASE(kernels_compute),
        CASE(device_only_memory_starts_at_zero),
        CASE(copies_keep_to_their_range),
        CASE(launches_run_in_order),
        CASE(events_tell_when),
        CASE(stopped_queues_refuse_launches),
        CASE(limited_waits_time_out),
        CASE(two_threads_share_a_kernel),
        CASE(warm_launches_allocate_nothing),
        CASE(launches_are_timed),
    };
    suite_id = id;
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    if (tarn_device_open(&(struct tarn_device_params){.id = id}, &device, &error) ==
        TARN_NO_DEVICE) {
        printf("1..0 # SKIP %s\n", error.message);
        return 77;
    }
    tarn_device_close(&device);
    int failed = check_run(cases, sizeof cases / sizeof cases[0]);
    return gpu_suite_errors(id) != 0 || failed != 0;
}
