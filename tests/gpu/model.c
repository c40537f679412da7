/* SPDX-License-Identifier: Apache-2.0 */
/* The model of time of simulated devices, each figure by hand from docs/virtual-devices.md. */
#include "virtual.h"

#include "base/rng.h"
#include "gpu/virtual/virtual.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

/* Mali: submit 120 us, gap 15 us, launch 2 us, 25 operations and 12 bytes a ns. */
static void a_launch_by_hand(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_device *device = w.bench.device;
    tarn_event *event = NULL;
    CHECK_NUMBER(tarn_virtual_now(device), 0);
    CHECK(work(&w, w.bench.queue, 1000, 1, &event) == TARN_OK);
    CHECK_NUMBER(tarn_virtual_now(device), 0); /* submitting takes no time */
    CHECK_TIMES(&event, US(120), US(1122));
    CHECK_NUMBER(tarn_virtual_now(device), US(1122));
    /* the larger of the two parts counts, each rounded up to a nanosecond */
    static const struct {
        uint64_t operations, bytes, ns;
    } costs[] = {{0, 0, 0},  {1, 0, 1},  {25, 0, 1},           {26, 0, 2},
                 {0, 12, 1}, {0, 13, 2}, {25000, 24000, 2000}, {75000, 24000, 3000}};
    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++) {
        struct work_constants c = {.operations = costs[i].operations, .bytes = costs[i].bytes};
        struct tarn_launch launch = {
            .kernel = w.kernel, .buffers = &w.log, .constants = &c, .groups = 1};
        uint64_t now = tarn_virtual_now(device);
        REQUIRE(tarn_queue_submit(w.bench.queue, &launch, &event) == TARN_OK);
        CHECK_TIMES(&event, now + US(120), now + US(122) + costs[i].ns);
    }
    world_close(&w);
}

static void one_queue_is_first_come_first_served(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_event *events[4] = {0};
    /* the high priority counts for nothing here */
    CHECK(work(&w, w.low, 100, 1, &events[0]) == TARN_OK);
    CHECK(work(&w, w.low, 200, 2, &events[1]) == TARN_OK);
    CHECK(tarn_virtual_advance(w.bench.device, US(10)) == TARN_OK);
    CHECK(work(&w, w.bench.queue, 50, 3, &events[2]) == TARN_OK);
    CHECK(tarn_queue_finish(w.bench.queue, TARN_FOREVER) == TARN_OK);
    CHECK_TIMES(&events[0], US(120), US(222));
    CHECK_TIMES(&events[1], US(237), US(439));
    CHECK_TIMES(&events[2], US(454), US(506));
    CHECK_NUMBER(tarn_virtual_now(w.bench.device), US(506));
    /* submitted when the device is idle: the gap has long passed, the latency counts */
    CHECK(work(&w, w.low, 10, 4, &events[3]) == TARN_OK);
    CHECK_TIMES(&events[3], US(626), US(638));
    CHECK_NUMBER(word(w.log, 0), 4);
    for (uint32_t i = 1; i <= 4; i++)
        CHECK_NUMBER(word(w.log, i), i);
    struct tarn_virtual_stats stats;
    CHECK(tarn_virtual_get_stats(w.bench.device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.launches[TARN_PRIORITY_HIGH], 1);
    CHECK_NUMBER(stats.launches[TARN_PRIORITY_LOW], 3);
    CHECK_NUMBER(stats.busy_ns[TARN_PRIORITY_HIGH], US(52));
    CHECK_NUMBER(stats.busy_ns[TARN_PRIORITY_LOW], US(102 + 202 + 12));
    CHECK_NUMBER(stats.blocked_ns[TARN_PRIORITY_HIGH], US(454 - 130));
    CHECK_NUMBER(stats.pending, 0);
    world_close(&w);
}

/* A launch that becomes ready in the gap behind another waits for its end. */
static void a_gap_is_kept(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_event *a = NULL, *b = NULL;
    CHECK(work(&w, w.low, 98, 1, &a) == TARN_OK); /* 120 ... 220 */
    CHECK(tarn_virtual_advance(w.bench.device, US(110)) == TARN_OK);
    CHECK(work(&w, w.low, 98, 2, &b) == TARN_OK); /* ready at 230, the device at 235 */
    CHECK_TIMES(&a, US(120), US(220));
    CHECK_TIMES(&b, US(235), US(335));
    world_close(&w);
}

/* Jetson: submit 25 us, gap 4 us, launch 1 us; the high-priority queue goes first. */
static void priority_counts_between_kernels(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:jetson"));
    tarn_event *low[3] = {0}, *high = NULL;
    for (uint32_t i = 0; i < 3; i++)
        CHECK(work(&w, w.low, 100, i, &low[i]) == TARN_OK);
    CHECK(tarn_virtual_advance(w.bench.device, US(40)) == TARN_OK);
    CHECK(work(&w, w.bench.queue, 10, 9, &high) == TARN_OK); /* ready at 65, behind low[0] */
    CHECK_TIMES(&high, US(130), US(141));
    CHECK_TIMES(&low[0], US(25), US(126)); /* not interrupted */
    CHECK_TIMES(&low[1], US(145), US(246));
    CHECK_TIMES(&low[2], US(250), US(351));
    struct tarn_virtual_stats stats;
    CHECK(tarn_virtual_get_stats(w.bench.device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.blocked_ns[TARN_PRIORITY_HIGH], US(130 - 65));
    /* ready at the instant at which the device is free: it takes part in the choice */
    CHECK(work(&w, w.low, 100, 4, &low[0]) == TARN_OK); /* 376 ... 477 */
    CHECK(work(&w, w.low, 100, 5, &low[1]) == TARN_OK);
    CHECK(tarn_virtual_advance(w.bench.device, US(481 - 25 - 351)) == TARN_OK);
    CHECK(work(&w, w.bench.queue, 10, 6, &high) == TARN_OK);
    CHECK_TIMES(&high, US(481), US(492));
    CHECK_TIMES(&low[0], US(376), US(477));
    CHECK_TIMES(&low[1], US(496), US(597));
    world_close(&w);
}

/* No board has it, but the model has: two queues without priority take turns. */
static void equal_queues_take_turns(void)
{
    struct tarn_device *device = NULL;
    tarn_queue *queues[2] = {0};
    REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "virtual:jetson"}, &device, NULL) ==
            TARN_OK);
    ((struct virtual_device *)device)->profile.model.priority = false;
    struct world w = {.bench.device = device};
    CHECK(tarn_virtual_get_model(device, &w.model) == TARN_OK);
    for (int i = 0; i < 2; i++)
        tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_HIGH}, &queues[i]);
    w.kernel = make_kernel(&w.bench, &work_source, NULL);
    w.log = make_buffer(&w.bench, 64);
    REQUIRE(queues[1] != NULL && w.kernel != NULL && w.log != NULL);
    for (uint32_t i = 0; i < 6; i++)
        CHECK(work(&w, queues[i / 3], 10, i, NULL) == TARN_OK);
    for (int i = 0; i < 2; i++)
        tarn_queue_destroy(&queues[i]); /* waits */
    static const uint32_t wanted[] = {0, 3, 1, 4, 2, 5};
    for (uint32_t i = 0; i < 6; i++)
        CHECK_NUMBER(word(w.log, i + 1), wanted[i]);
    world_close(&w);
}

/* Whatever arrives: a lone high-priority launch is blocked by one running kernel and the gap. */
static void blocking_is_bounded(void)
{
    struct world w;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 7);
    REQUIRE(world_open(&w, "virtual:jetson"));
    uint64_t longest = 0;
    for (int round = 0; round < 400; round++) {
        uint32_t slices = 1 + tarn_rng_below(&rng, 6);
        for (uint32_t i = 0; i < slices; i++) {
            uint64_t us = 20 + tarn_rng_below(&rng, 180);
            longest = us > longest ? us : longest;
            CHECK(work(&w, w.low, us, 0, NULL) == TARN_OK);
        }
        CHECK(tarn_virtual_advance(w.bench.device, tarn_rng_below(&rng, 300000)) == TARN_OK);
        tarn_event *event = NULL;
        uint64_t ready = tarn_virtual_now(w.bench.device) + US(25);
        CHECK(work(&w, w.bench.queue, 5, 1, &event) == TARN_OK);
        struct tarn_event_times times = times_of(&event);
        CHECK(times.start_ns >= ready && times.start_ns - ready <= US(longest + 1 + 4));
    }
    struct tarn_virtual_stats stats;
    CHECK(tarn_virtual_get_stats(w.bench.device, &stats) == TARN_OK);
    CHECK(stats.blocked_ns[TARN_PRIORITY_HIGH] > US(100)); /* it was put to the test */
    CHECK(stats.blocked_ns[TARN_PRIORITY_HIGH] <= US(longest + 1 + 4));
    CHECK(stats.blocked_ns[TARN_PRIORITY_LOW] > US(longest + 5)); /* the others waited longer */
    CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_OK);
    world_close(&w);
}

static void results_are_there_at_the_end(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_event *event = NULL, *mark = NULL, *early = NULL;
    CHECK(tarn_queue_mark(w.bench.queue, &early) == TARN_OK);
    CHECK_TIMES(&early, 0, 0); /* behind nothing */
    CHECK(work(&w, w.bench.queue, 500, 1, &event) == TARN_OK);
    CHECK(tarn_queue_mark(w.bench.queue, &mark) == TARN_OK);
    CHECK(tarn_virtual_advance(w.bench.device, US(622) - 1) == TARN_OK);
    CHECK_NUMBER(word(w.log, 0), 0);
    struct tarn_virtual_stats stats;
    CHECK(tarn_virtual_get_stats(w.bench.device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.busy_ns[TARN_PRIORITY_HIGH], US(502) - 1); /* until now */
    CHECK_NUMBER(stats.memory, 64 * 4);
    CHECK(tarn_virtual_reset_stats(w.bench.device) == TARN_OK);
    CHECK(tarn_virtual_get_stats(w.bench.device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.busy_ns[TARN_PRIORITY_HIGH], 0);
    CHECK_NUMBER(stats.pending, 1); /* what is there stays there */
    CHECK_NUMBER(stats.memory, 64 * 4);
    CHECK(tarn_virtual_advance(w.bench.device, 1) == TARN_OK);
    CHECK_NUMBER(word(w.log, 0), 1);
    CHECK(tarn_event_wait(event, 0) == TARN_OK); /* a question with an answer costs nothing */
    CHECK_NUMBER(tarn_virtual_now(w.bench.device), US(622));
    CHECK_TIMES(&event, US(120), US(622));
    CHECK_TIMES(&mark, US(622), US(622));
    world_close(&w);
}

static void waits_take_virtual_time(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_device *device = w.bench.device;
    tarn_event *event = NULL;
    CHECK(work(&w, w.bench.queue, 880, 1, &event) == TARN_OK); /* ends at 1002 */
    CHECK(tarn_event_wait(event, 500) == TARN_TIMEOUT);
    CHECK_NUMBER(tarn_virtual_now(device), US(500));
    CHECK(tarn_queue_finish(w.bench.queue, 501) == TARN_TIMEOUT);
    CHECK_NUMBER(tarn_virtual_now(device), US(1001));
    CHECK(tarn_event_wait(event, 1) == TARN_OK); /* at the very end */
    CHECK_NUMBER(tarn_virtual_now(device), US(1002));
    tarn_event_release(&event);
    CHECK(work(&w, w.bench.queue, 8, 1, &event) == TARN_OK); /* 130 us from now */
    int asked = 1;
    while (tarn_event_wait(event, 0) == TARN_TIMEOUT && asked < 1000)
        asked++;
    CHECK_NUMBER(asked, 130); /* 1 us each */
    tarn_event_release(&event);
    CHECK(tarn_event_wait(NULL, 0) == TARN_INVALID);
    /* released before its end, and used again for another */
    CHECK(work(&w, w.bench.queue, 100, 1, &event) == TARN_OK);
    tarn_event_release(&event);
    CHECK(tarn_queue_mark(w.bench.queue, &event) == TARN_OK);
    tarn_event_release(&event);
    CHECK(work(&w, w.bench.queue, 100, 1, &event) == TARN_OK);
    uint64_t now = tarn_virtual_now(device);
    CHECK_TIMES(&event, now + US(237), now + US(339));
    world_close(&w);
}

/* Mali's steps are 200, 300, 400, 600 and 800 MHz, looked at every 50 ms. */
static void the_clock_follows_the_load(void)
{
    struct world w;
    struct tarn_virtual_stats stats;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_device *device = w.bench.device;
    tarn_event *event = NULL;
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.clock_mhz, 800);
    CHECK(tarn_virtual_set_governor(device, true) == TARN_OK);
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.clock_mhz, 200);
    CHECK(work(&w, w.low, 1000, 1, &event) == TARN_OK);
    CHECK_TIMES(&event, US(120), US(122 + 4000)); /* a quarter of the clock */
    struct work_constants bytes = {.bytes = 12000000};
    struct tarn_launch launch = {
        .kernel = w.kernel, .buffers = &w.log, .constants = &bytes, .groups = 1};
    CHECK(tarn_queue_submit(w.low, &launch, &event) == TARN_OK);
    CHECK_TIMES(&event, US(4242), US(5244));                     /* memory has a clock of its own */
    static const uint32_t up[] = {200, 300, 400, 600, 800, 800}; /* 5 ms of 50 aren't enough */
    for (int i = 0; i < 6; i++) {
        /* keep it busy up to each look; the first period was mostly idle */
        CHECK(tarn_virtual_advance(device, US(50000) * (uint64_t)(i + 1) -
                                               tarn_virtual_now(device)) == TARN_OK);
        CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
        CHECK_NUMBER(stats.clock_mhz, up[i]);
        for (int k = 0; k < 5; k++)
            CHECK(work(&w, w.low, 10000 * stats.clock_mhz / 800, 1, NULL) == TARN_OK);
    }
    CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_OK);
    static const uint32_t down[] = {800, 600, 400, 300, 200, 200};
    uint64_t look = (tarn_virtual_now(device) / US(50000) + 1) * US(50000);
    CHECK(tarn_virtual_advance(device, look - tarn_virtual_now(device) - 1) == TARN_OK);
    for (int i = 0; i < 6; i++) {
        CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
        CHECK_NUMBER(stats.clock_mhz, down[i]);
        CHECK(tarn_virtual_advance(device, US(50000)) == TARN_OK);
    }
    CHECK(tarn_virtual_set_governor(device, false) == TARN_OK);
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.clock_mhz, 800);
    world_close(&w);
}

static void frames_compete(void)
{
    struct world w;
    struct tarn_virtual_stats stats;
    const struct tarn_virtual_frames frames = {US(16700), US(4000), TARN_PRIORITY_HIGH};
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_device *device = w.bench.device;
    tarn_event *event = NULL;
    CHECK(tarn_virtual_set_frames(device, &frames) == TARN_OK);
    /*
     * 0.12 ... 30.122 ms; the frame of 16.7 then runs 30.137 ... 34.137, past its deadline at 33.4;
     * no other is drawn until 50.1.
     */
    CHECK(work(&w, w.low, 30000, 1, &event) == TARN_OK);
    CHECK_TIMES(&event, US(120), US(30122));
    CHECK(tarn_virtual_advance(device, US(33399 - 30122)) == TARN_OK);
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.frames, 0);
    CHECK(tarn_virtual_advance(device, US(1)) == TARN_OK);
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.frames, 1);
    CHECK_NUMBER(stats.frames_missed, 1);
    CHECK(tarn_virtual_advance(device, US(16700)) == TARN_OK); /* 50.1 */
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.frames, 2);
    CHECK_NUMBER(stats.frames_missed, 1);
    CHECK_NUMBER(stats.frame_busy_ns, US(4000));
    /* a launch that is ready behind a frame waits for it and the gap */
    CHECK(work(&w, w.low, 100, 1, &event) == TARN_OK);
    CHECK_TIMES(&event, US(50100 + 4015), US(50100 + 4015 + 102));
    CHECK(tarn_virtual_reset_stats(device) == TARN_OK);
    for (int i = 0; i < 600; i++) { /* short slices: nothing is missed */
        CHECK(work(&w, w.low, 1000, 1, NULL) == TARN_OK);
        CHECK(tarn_virtual_advance(device, US(1700)) == TARN_OK);
    }
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.frames, 61);
    CHECK_NUMBER(stats.frames_missed, 0);
    CHECK_NUMBER(stats.launches[TARN_PRIORITY_LOW] + stats.pending, 600);
    CHECK(tarn_virtual_set_frames(device, NULL) == TARN_OK);
    CHECK(tarn_virtual_advance(device, US(100000)) == TARN_OK);
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.frames, 61);
    CHECK(tarn_virtual_set_frames(device, &frames) == TARN_OK); /* afresh: no deadline at first */
    CHECK(tarn_virtual_advance(device, US(16700)) == TARN_OK);
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.frames, 61);
    CHECK(tarn_virtual_advance(device, US(16700)) == TARN_OK);
    CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
    CHECK_NUMBER(stats.frames, 62);
    /* the watchdog is for launches: a frame may be as long as it likes */
    CHECK(tarn_virtual_set_frames(
              device, &(struct tarn_virtual_frames){US(900000), US(600000), TARN_PRIORITY_LOW}) ==
          TARN_OK);
    CHECK(tarn_virtual_advance(device, US(3000000)) == TARN_OK);
    world_close(&w);
}

/* With priority, a frame of high priority is blocked by one kernel at most. */
static void frames_go_by_their_priority(void)
{
    struct tarn_virtual_stats stats[2];
    for (int low = 0; low < 2; low++) {
        struct world w;
        REQUIRE(world_open(&w, "virtual:jetson"));
        tarn_device *device = w.bench.device;
        CHECK(tarn_virtual_set_frames(
                  device, &(struct tarn_virtual_frames){US(16700), US(4000),
                                                        low ? TARN_PRIORITY_LOW
                                                            : TARN_PRIORITY_HIGH}) == TARN_OK);
        for (int i = 0; i < 100; i++) /* a backlog of 200 ms */
            CHECK(work(&w, w.low, 2000, 1, NULL) == TARN_OK);
        CHECK(tarn_virtual_advance(device, US(200000)) == TARN_OK);
        CHECK(tarn_virtual_get_stats(device, &stats[low]) == TARN_OK);
        CHECK(tarn_queue_finish(w.low, TARN_FOREVER) == TARN_OK);
        world_close(&w);
    }
    CHECK_NUMBER(stats[0].frames, 10);
    CHECK_NUMBER(stats[0].frames_missed, 0);
    CHECK_NUMBER(stats[1].frames_missed, 10);
}

/* A made-up day; what it leaves is the same on every machine and after every change of ours. */
static uint64_t a_day(const char *id, uint64_t seed, uint64_t *digest)
{
    struct world w;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    if (!world_open(&w, id))
        return 0;
    tarn_virtual_set_frames(w.bench.device,
                            &(struct tarn_virtual_frames){US(16700), US(3000), TARN_PRIORITY_HIGH});
    tarn_virtual_set_governor(w.bench.device, true);
    for (int i = 0; i < 3000; i++) {
        tarn_event *event = NULL;
        tarn_queue *queue = tarn_rng_below(&rng, 3) == 0 ? w.bench.queue : w.low;
        work(&w, queue, tarn_rng_below(&rng, 400), 1, &event);
        tarn_virtual_advance(w.bench.device, tarn_rng_below(&rng, 400000));
        if (i % 7 == 0) {
            struct tarn_event_times times = times_of(&event);
            *digest = (*digest ^ times.start_ns) * 0x100000001b3u ^ times.end_ns;
        }
        tarn_event_release(&event);
    }
    tarn_queue_finish(w.low, TARN_FOREVER);
    tarn_queue_finish(w.bench.queue, TARN_FOREVER);
    uint64_t now = tarn_virtual_now(w.bench.device);
    world_close(&w);
    return now;
}

static void the_same_calls_give_the_same_times(void)
{
    static const struct {
        const char *id;
        uint64_t now, digest;
    } days[] = {{"virtual:mali", 1167070568, 0x97dceaca0e33aed9},
                {"virtual:videocore", 1047710554, 0x9bce070377f44006},
                {"virtual:jetson", 957871744, 0xf47ac707e75cd5a}};
    for (size_t i = 0; i < sizeof days / sizeof days[0]; i++) {
        uint64_t first = 0, second = 0, other = 0;
        uint64_t now = a_day(days[i].id, 5, &first);
        CHECK_NUMBER(a_day(days[i].id, 5, &second), now);
        CHECK(first == second);
        a_day(days[i].id, 6, &other);
        CHECK(first != other);
        if (now != days[i].now || first != days[i].digest) {
            printf("# {\"%s\", %llu, 0x%llx}\n", days[i].id, (unsigned long long)now,
                   (unsigned long long)first);
            CHECK(false);
        }
    }
}

/* What our own kernels are charged. */
static void kernels_cost_what_is_documented(void)
{
    struct tarn_kernel_cost cost = {0};
    struct tarn_lookup_constants lookup = {.count = 4096, .mask = 255};
    tarn_lookup_source.cost(&(struct tarn_host_launch){.constants = &lookup}, &cost);
    CHECK_NUMBER(cost.bytes, 4096 * 140);
    CHECK_NUMBER(cost.operations, 4096 * 48);
    int32_t defines[TARN_SHAPE_DEFINES];
    tarn_shape_defines(&(struct tarn_shape){28, 32, 32, 11}, defines);
    struct tarn_forward_constants forward = {.count = 1000};
    cost = (struct tarn_kernel_cost){0};
    tarn_forward_source.cost(&(struct tarn_host_launch){.constants = &forward, .defines = defines},
                             &cost);
    CHECK_NUMBER(cost.operations, 1000 * (2 * 2272 + 12 * 40));
    CHECK_NUMBER(cost.bytes, 1000 * 29 * 4 + 2347 * 4);
    struct tarn_train_constants train = {.steps = 10, .batch = 128};
    struct tarn_host_launch launch = {.constants = &train, .defines = defines};
    cost = (struct tarn_kernel_cost){0};
    tarn_train_source.cost(&launch, &cost);
    CHECK_NUMBER(cost.operations, 10 * (128 * (6 * 2272 + 11 * 40) + 2347 * 14));
    CHECK_NUMBER(cost.bytes, 10 * (128 * (29 + 4 * 75) * 4 + 2347 * 32));
    /* a tile is 16 samples and an eighth of the weights' part: a step costs what its tiles do */
    struct tarn_kernel_cost step = {0};
    for (launch.first_tile = 24; launch.first_tile < 32; launch.first_tile++) {
        struct tarn_kernel_cost tile = {0};
        launch.tile_count = 1;
        tarn_train_source.cost(&launch, &tile);
        uint64_t operations = 16 * (6 * 2272 + 11 * 40) + 2347 * 14 / 8;
        CHECK(tile.operations == operations || tile.operations == operations + 1);
        CHECK_NUMBER(tile.bytes, 16 * (29 + 4 * 75) * 4 + 2347 * 32 / 8);
        step.operations += tile.operations;
    }
    CHECK_NUMBER(step.operations, 128 * (6 * 2272 + 11 * 40) + 2347 * 14);
    struct tarn_kernel_cost range = {0};
    launch.first_tile = 3;
    launch.tile_count = 13; /* to the end of the second step */
    tarn_train_source.cost(&launch, &range);
    CHECK_NUMBER(range.operations,
                 13 * 16 * (6 * 2272 + 11 * 40) + 2347 * 14 * 2 - 2347 * 14 * 3 / 8);
    /* without a cost of its own: one pass over its buffers */
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_kernel *append = make_kernel(&w.bench, &append_source, NULL);
    tarn_buffer *state = make_buffer(&w.bench, 30000);
    tarn_event *event = NULL;
    REQUIRE(append != NULL && state != NULL);
    CHECK(tarn_queue_submit(
              w.low,
              &(struct tarn_launch){
                  .kernel = append, .buffers = &state, .constants = &(uint32_t){1}, .groups = 1},
              &event) == TARN_OK);
    CHECK_TIMES(&event, US(120), US(132));
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&append);
    world_close(&w);
}

static void wrong_settings_are_refused(void)
{
    struct world w;
    REQUIRE(world_open(&w, "virtual:mali"));
    tarn_device *device = w.bench.device, *host = NULL;
    struct tarn_virtual_frames bad[] = {{US(100), 0, TARN_PRIORITY_LOW},
                                        {US(100), US(100), TARN_PRIORITY_LOW},
                                        {US(100), US(85), TARN_PRIORITY_LOW},
                                        {US(100), UINT64_MAX, TARN_PRIORITY_LOW},
                                        {US(100), US(10), (tarn_priority)5}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK(tarn_virtual_set_frames(device, &bad[i]) == TARN_INVALID);
    char name[80] = {0};
    memset(name, 'x', sizeof name - 1);
    CHECK(tarn_virtual_set_faults(device, &(struct tarn_virtual_faults){.kernel = name}) ==
          TARN_INVALID);
    CHECK(tarn_virtual_set_faults(device, &(struct tarn_virtual_faults){.slow_from = 1}) ==
          TARN_INVALID);
    CHECK(tarn_virtual_set_faults(device, &(struct tarn_virtual_faults){.time_bits = 64}) ==
          TARN_INVALID);
    struct tarn_virtual_stats stats;
    struct tarn_virtual_model model;
    REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "host"}, &host, NULL) == TARN_OK);
    CHECK_NUMBER(tarn_virtual_now(host), 0);
    CHECK(tarn_virtual_advance(host, 1) == TARN_INVALID);
    CHECK(tarn_virtual_advance(NULL, 1) == TARN_INVALID);
    CHECK(tarn_virtual_set_frames(host, NULL) == TARN_INVALID);
    CHECK(tarn_virtual_set_governor(host, true) == TARN_INVALID);
    CHECK(tarn_virtual_set_faults(host, NULL) == TARN_INVALID);
    CHECK(tarn_virtual_get_stats(host, &stats) == TARN_INVALID);
    CHECK(tarn_virtual_get_stats(device, NULL) == TARN_INVALID);
    CHECK(tarn_virtual_get_model(host, &model) == TARN_INVALID);
    CHECK(tarn_virtual_reset_stats(host) == TARN_INVALID);
    tarn_device_close(&host);
    world_close(&w);
}

CHECK_MAIN(CASE(a_launch_by_hand), CASE(one_queue_is_first_come_first_served), CASE(a_gap_is_kept),
           CASE(priority_counts_between_kernels), CASE(equal_queues_take_turns),
           CASE(blocking_is_bounded), CASE(results_are_there_at_the_end),
           CASE(waits_take_virtual_time), CASE(the_clock_follows_the_load), CASE(frames_compete),
           CASE(frames_go_by_their_priority), CASE(the_same_calls_give_the_same_times),
           CASE(kernels_cost_what_is_documented), CASE(wrong_settings_are_refused))
