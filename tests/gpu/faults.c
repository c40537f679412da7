/* SPDX-License-Identifier: Apache-2.0 */
/* What can go wrong on a simulated device when it is told to. */
#include "virtual.h"

static void set(struct world *w, struct tarn_virtual_faults faults)
{
    CHECK(tarn_virtual_set_faults(w->bench.device, &faults) == TARN_OK);
}

static void the_nth_launch_loses_the_device(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_event *events[4] = {0}, *mark = NULL;
    set(&w, (struct tarn_virtual_faults){.lose_at = 3});
    for (uint32_t i = 0; i < 4; i++)
        CHECK(work(&w, w.low, 100, i + 1, &events[i]) == TARN_OK);
    CHECK(tarn_queue_mark(w.low, &mark) == TARN_OK);
    CHECK_TIMES(&events[0], US(120), US(222));
    CHECK_TIMES(&events[1], US(237), US(339));
    CHECK(!tarn_device_is_lost(w.bench.device));
    CHECK(tarn_event_wait(events[2], TARN_FOREVER) == TARN_DEVICE_LOST);
    CHECK(tarn_device_is_lost(w.bench.device));
    CHECK_NUMBER(tarn_virtual_now(w.bench.device), US(354));
    CHECK_NUMBER(word(w.log, 0), 2); /* the others did nothing */
    CHECK(tarn_event_wait(events[3], 0) == TARN_DEVICE_LOST);
    CHECK(work(&w, w.low, 1, 9, NULL) == TARN_DEVICE_LOST);
    CHECK(tarn_virtual_advance(w.bench.device, 1) == TARN_DEVICE_LOST);
    struct tarn_virtual_stats stats;
    CHECK(tarn_virtual_get_stats(w.bench.device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.pending, 2);
    for (int i = 2; i < 4; i++)
        tarn_event_release(&events[i]);
    tarn_event_release(&mark);
    world_close(&w);                         /* checks that nothing is left */
    REQUIRE(world_open(&w, "virtual:mali")); /* and it can be tried again */
    CHECK(work(&w, w.low, 100, 7, &events[0]) == TARN_OK);
    CHECK_TIMES(&events[0], US(120), US(222));
    world_close(&w);
}

/* While nobody waits, time passes all the same. */
static void a_loss_is_noticed_by_who_lets_time_pass(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:jetson"));
    set(&w, (struct tarn_virtual_faults){.lose_at = 1});
    CHECK(work(&w, w.low, 100, 1, NULL) == TARN_OK);
    CHECK(tarn_virtual_advance(w.bench.device, US(24)) == TARN_OK);
    CHECK(tarn_virtual_advance(w.bench.device, US(24)) == TARN_DEVICE_LOST);
    CHECK(tarn_device_is_lost(w.bench.device));
    CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_DEVICE_LOST);
    world_close(&w);
}

static void a_hanging_kernel_times_out_and_then_loses_the_device(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:videocore"));
    tarn_event *first = NULL, *hung = NULL;
    set(&w, (struct tarn_virtual_faults){.hang_at = 2});
    CHECK(work(&w, w.low, 100, 1, &first) == TARN_OK);
    CHECK(work(&w, w.low, 100, 2, &hung) == TARN_OK);
    CHECK_TIMES(&first, US(200), US(304));
    CHECK(tarn_event_wait(hung, 10000) == TARN_TIMEOUT);
    CHECK_NUMBER(tarn_virtual_now(w.bench.device), US(10304));
    CHECK(tarn_event_wait(hung, TARN_FOREVER) == TARN_DEVICE_LOST);
    /* it started at 334 us; the watchdog waits 500 ms */
    CHECK_NUMBER(tarn_virtual_now(w.bench.device), US(500334));
    CHECK_NUMBER(word(w.log, 0), 1);
    tarn_event_release(&hung);
    world_close(&w);
}

/* The watchdog doesn't ask why a kernel takes long. */
static void a_kernel_that_is_too_long_loses_the_device(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    CHECK(work(&w, w.low, 499998, 1, NULL) == TARN_OK); /* 500 ms to the nanosecond */
    CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_OK);
    CHECK(work(&w, w.low, 499999, 1, NULL) == TARN_OK);
    CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_DEVICE_LOST);
    world_close(&w);
}

static void kernels_slow_down(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_event *events[3] = {0};
    set(&w, (struct tarn_virtual_faults){.slow_from = 2, .slow_factor = 100});
    for (uint32_t i = 0; i < 3; i++)
        CHECK(work(&w, w.low, 100, i, &events[i]) == TARN_OK);
    CHECK_TIMES(&events[0], US(120), US(222));
    CHECK_TIMES(&events[1], US(237), US(10239));
    CHECK_TIMES(&events[2], US(10254), US(20256));
    CHECK(tarn_virtual_set_faults(w.bench.device, NULL) == TARN_OK);
    CHECK(work(&w, w.low, 100, 4, &events[0]) == TARN_OK);
    CHECK_TIMES(&events[0], US(20376), US(20478));
    /* counted from the call on */
    set(&w, (struct tarn_virtual_faults){.slow_from = 2, .slow_factor = 2});
    CHECK(work(&w, w.low, 100, 5, &events[0]) == TARN_OK);
    CHECK(work(&w, w.low, 100, 6, &events[1]) == TARN_OK);
    CHECK_TIMES(&events[0], US(20598), US(20700));
    CHECK_TIMES(&events[1], US(20715), US(20917));
    world_close(&w);
}

static void a_wrong_answer_looks_like_a_right_one(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_event *events[3] = {0};
    set(&w, (struct tarn_virtual_faults){.skip_at = 2});
    for (uint32_t i = 0; i < 3; i++)
        CHECK(work(&w, w.low, 100, i + 1, &events[i]) == TARN_OK);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_TIMES(&events[i], US(120 + 117 * i), US(222 + 117 * i));
    CHECK_NUMBER(word(w.log, 0), 2);
    CHECK_NUMBER(word(w.log, 1), 1);
    CHECK_NUMBER(word(w.log, 2), 3);
    world_close(&w);
}

static void only_the_named_kernel_is_meant(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_kernel *append = make_kernel(&w.bench, &append_source, NULL);
    tarn_buffer *state = make_buffer(&w.bench, 1);
    REQUIRE(append != NULL && state != NULL);
    uint32_t digit = 2;
    struct tarn_launch launch = {
        .kernel = append, .buffers = &state, .constants = &digit, .groups = 1};
    set(&w, (struct tarn_virtual_faults){.kernel = "append", .skip_at = 1, .lose_at = 2});
    CHECK(work(&w, w.low, 10, 1, NULL) == TARN_OK);
    CHECK(tarn_queue_submit(w.low, &launch, NULL) == TARN_OK);
    CHECK(work(&w, w.low, 10, 2, NULL) == TARN_OK);
    CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_OK);
    CHECK_NUMBER(word(state, 0), 0);
    CHECK_NUMBER(word(w.log, 0), 2);
    CHECK(tarn_queue_submit(w.low, &launch, NULL) == TARN_OK);
    CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_DEVICE_LOST);
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&append);
    world_close(&w);
}

static void timestamps_wrap(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_event *event = NULL;
    set(&w, (struct tarn_virtual_faults){.time_bits = 20}); /* each 1,048,576 ns */
    CHECK(work(&w, w.low, 1000, 1, &event) == TARN_OK);
    CHECK_TIMES(&event, US(120), US(1122) - (1 << 20));
    CHECK_NUMBER(tarn_virtual_now(w.bench.device), US(1122));
    world_close(&w);
}

static void device_memory_runs_out(void)
{
    struct world w;
    struct tarn_virtual_stats stats;
    tarn_buffer *half[3] = {0};
    REQUIRE(world_open(&w, "virtual:mali"));
    w.bench.device->info.limits.memory = 1 << 20; /* a small board: the test has to fit its host */
    struct tarn_buffer_params params = {.size = (1 << 19) - 4096};
    CHECK(tarn_buffer_create(w.bench.device, &params, &half[0]) == TARN_OK);
    CHECK(tarn_buffer_create(w.bench.device, &params, &half[1]) == TARN_OK);
    params.size = 8192;
    CHECK(tarn_buffer_create(w.bench.device, &params, &half[2]) == TARN_DEVICE_MEMORY);
    CHECK(half[2] == NULL && !tarn_device_is_lost(w.bench.device));
    tarn_buffer_destroy(&half[0]);
    CHECK(tarn_buffer_create(w.bench.device, &params, &half[2]) == TARN_OK);
    tarn_buffer_destroy(&half[1]);
    tarn_buffer_destroy(&half[2]);
    CHECK(tarn_virtual_get_stats(w.bench.device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.memory, 64 * 4);
    world_close(&w);
}

CHECK_MAIN(CASE(the_nth_launch_loses_the_device), CASE(a_loss_is_noticed_by_who_lets_time_pass),
           CASE(a_hanging_kernel_times_out_and_then_loses_the_device),
           CASE(a_kernel_that_is_too_long_loses_the_device), CASE(kernels_slow_down),
           CASE(a_wrong_answer_looks_like_a_right_one), CASE(only_the_named_kernel_is_meant),
           CASE(timestamps_wrap), CASE(device_memory_runs_out))
