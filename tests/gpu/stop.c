/* SPDX-License-Identifier: Apache-2.0 */
/* Launches that are left at a tile's boundary and resumed: gradient steps, bit for bit. */
#include "virtual.h"

#include <pthread.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/train.h"

enum { STEPS = 12, BATCH = 32, ALL = STEPS * BATCH / TARN_LANES, BUFFERS = 7 };

static const struct tarn_shape shape = {28, 32, 32, 11};
static const struct tarn_train_constants constants = {.steps = STEPS,
                                                      .batch = BATCH,
                                                      .rate = 0.01f,
                                                      .beta1 = 0.9f,
                                                      .beta2 = 0.999f,
                                                      .epsilon = 1e-7f};

struct training {
    struct bench bench;
    tarn_kernel *kernel;
    tarn_buffer *buffers[BUFFERS], *stop;
    uint32_t *flag; /* and the next tile behind it */
};

static bool training_open(struct training *t, const char *id)
{
    size_t weights = tarn_shape_weights(&shape);
    size_t words[BUFFERS] = {weights,
                             weights,
                             weights,
                             tarn_shape_tile_floats(&shape, STEPS * BATCH),
                             STEPS * BATCH,
                             STEPS,
                             tarn_train_scratch_floats(&shape, BATCH)};
    int32_t defines[TARN_SHAPE_DEFINES];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    *t = (struct training){0};
    suite_id = id;
    bench_open(&t->bench);
    if (t->bench.queue == NULL)
        return false;
    tarn_shape_defines(&shape, defines);
    t->kernel = make_kernel(&t->bench, &tarn_train_source, defines);
    t->stop = make_buffer(&t->bench, 2);
    for (int i = 0; i < BUFFERS; i++)
        t->buffers[i] = make_buffer(&t->bench, words[i]);
    if (t->kernel == NULL || t->stop == NULL || t->buffers[BUFFERS - 1] == NULL)
        return false;
    t->flag = tarn_buffer_data(t->stop);
    float *w = tarn_buffer_data(t->buffers[0]), *x = tarn_buffer_data(t->buffers[3]);
    uint32_t *labels = tarn_buffer_data(t->buffers[4]);
    for (size_t i = 0; i < weights; i++)
        w[i] = tarn_rng_float(&rng) - 0.5f;
    for (size_t i = 0; i < words[3]; i++)
        x[i] = tarn_rng_float(&rng) * 4.0f - 2.0f;
    for (size_t i = 0; i < words[4]; i++)
        labels[i] = tarn_label(1 + tarn_rng_below(&rng, 11), -1);
    return true;
}

static void training_close(struct training *t)
{
    tarn_queue_destroy(&t->bench.queue);
    for (int i = 0; i < BUFFERS; i++)
        tarn_buffer_destroy(&t->buffers[i]);
    tarn_buffer_destroy(&t->stop);
    tarn_kernel_destroy(&t->kernel);
    bench_close(&t->bench);
}

/* The launch of all its work; a test changes what it wants otherwise. */
static struct tarn_launch all_of(struct training *t)
{
    return (struct tarn_launch){
        .kernel = t->kernel, .buffers = t->buffers, .constants = &constants, .groups = 1};
}

static tarn_status train_range(struct training *t, uint32_t first, uint32_t count)
{
    struct tarn_launch launch = all_of(t);
    launch.first_tile = first;
    launch.tile_count = count;
    return tarn_queue_submit(t->bench.queue, &launch, NULL);
}

/* `count` tiles at most from where the launch before it leaves. */
static tarn_status train_slice(struct training *t, uint32_t count, uint32_t ticket,
                               tarn_event **event)
{
    struct tarn_launch launch = all_of(t);
    launch.tile_count = count;
    launch.stop = t->stop;
    launch.ticket = ticket;
    launch.resume = true;
    return tarn_queue_submit(t->bench.queue, &launch, event);
}

static void finish(struct training *t)
{
    CHECK(tarn_queue_finish(t->bench.queue, TARN_FOREVER) == TARN_OK);
}

static uint32_t tiles_of(tarn_event **event)
{
    struct tarn_event_times times = {0};
    CHECK(tarn_event_wait(*event, TARN_FOREVER) == TARN_OK);
    CHECK(tarn_event_get_times(*event, &times) == TARN_OK);
    tarn_event_release(event);
    return times.tiles;
}

static void check_same(struct training *a, struct training *b)
{
    static const int results[] = {0, 1, 2, 5}; /* weights, m, v, losses */
    for (int i = 0; i < 4; i++) {
        tarn_buffer *x = a->buffers[results[i]], *y = b->buffers[results[i]];
        CHECK(memcmp(tarn_buffer_data(x), tarn_buffer_data(y), tarn_buffer_size(x)) == 0);
    }
    CHECK(((float *)tarn_buffer_data(a->buffers[5]))[STEPS - 1] > 0.0f);
}

/* What tiles [first, end) take on this board, one by one: bytes or operations, each rounded up. */
static uint64_t tiles_ns(const struct training *t, uint32_t first, uint32_t end)
{
    struct tarn_virtual_model m;
    int32_t defines[TARN_SHAPE_DEFINES];
    uint64_t ns = 0;
    tarn_shape_defines(&shape, defines);
    CHECK(tarn_virtual_get_model(t->bench.device, &m) == TARN_OK);
    for (; first < end; first++) {
        struct tarn_kernel_cost cost = {0};
        tarn_train_source.cost(
            &(struct tarn_host_launch){
                .constants = &constants, .defines = defines, .first_tile = first, .tile_count = 1},
            &cost);
        uint64_t moved = (cost.bytes * 1000 + m.bytes_per_us - 1) / m.bytes_per_us;
        uint64_t computed =
            (cost.operations * 1000 + m.operations_per_us - 1) / m.operations_per_us;
        ns += moved > computed ? moved : computed;
    }
    return ns;
}

static void a_slice_leaves_at_the_next_boundary(void)
{
    static const char *const ids[] = {"virtual:mali", "virtual:jetson"};
    for (int board = 0; board < 2; board++) {
        struct training whole, cut;
        struct tarn_virtual_model m;
        REQUIRE(training_open(&whole, ids[board]) && training_open(&cut, ids[board]));
        tarn_device *device = cut.bench.device;
        CHECK(tarn_virtual_get_model(device, &m) == TARN_OK);
        uint64_t start = m.submit_ns, fixed = m.launch_ns;
        tarn_event *event = NULL;
        CHECK(train_range(&whole, 0, 0) == TARN_OK);
        finish(&whole);
        /* asked in the middle of tile 4, which is inside a step: it leaves with 5 done */
        CHECK(train_slice(&cut, 0, 1, &event) == TARN_OK);
        CHECK(tarn_virtual_advance(device, start + fixed + tiles_ns(&cut, 0, 4) + 100) == TARN_OK);
        cut.flag[0] = 1;
        CHECK_TIMES(&event, start, start + fixed + tiles_ns(&cut, 0, 5));
        CHECK_NUMBER(cut.flag[1], 5);
        CHECK_NUMBER(((float *)tarn_buffer_data(cut.buffers[5]))[2], 0);
        /* asked before it starts: it takes the fixed part and does nothing */
        uint64_t now = tarn_virtual_now(device);
        CHECK(train_slice(&cut, 0, 1, &event) == TARN_OK);
        CHECK_TIMES(&event, now + start, now + start + fixed);
        CHECK_NUMBER(cut.flag[1], 5);
        /* a younger ticket isn't asked */
        now = tarn_virtual_now(device);
        CHECK(train_slice(&cut, 0, 2, &event) == TARN_OK);
        CHECK_TIMES(&event, now + start, now + start + fixed + tiles_ns(&cut, 5, ALL));
        CHECK_NUMBER(cut.flag[1], ALL);
        check_same(&whole, &cut);
        struct tarn_virtual_stats stats;
        CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
        CHECK_NUMBER(stats.stopped, 2);
        training_close(&cut);
        training_close(&whole);
    }
}

/* Three of one work wait behind each other when the first two are asked to leave. */
static void slices_can_be_queued(void)
{
    struct training whole, cut;
    tarn_event *events[4] = {0};
    REQUIRE(training_open(&whole, "virtual:mali") && training_open(&cut, "virtual:mali"));
    CHECK(train_range(&whole, 0, 0) == TARN_OK);
    finish(&whole);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(train_slice(&cut, 8, 7 + i, &events[i]) == TARN_OK);
    CHECK(tarn_virtual_advance(cut.bench.device, US(122) + tiles_ns(&cut, 0, 3) - 1) == TARN_OK);
    __atomic_store_n(&cut.flag[0], 8, __ATOMIC_RELEASE);
    finish(&cut);
    CHECK_NUMBER(tiles_of(&events[0]), 3);
    CHECK_NUMBER(tiles_of(&events[1]), 0);
    CHECK_NUMBER(tiles_of(&events[2]), 8);
    CHECK_NUMBER(cut.flag[1], 11);
    /* where it goes on is what the word says when it starts, not when it is submitted */
    CHECK(train_slice(&cut, 0, 10, &events[0]) == TARN_OK);
    CHECK(train_slice(&cut, 0, 11, &events[1]) == TARN_OK);
    cut.flag[1] = ALL - 2;
    finish(&cut);
    CHECK_NUMBER(tiles_of(&events[0]), 2);
    CHECK_NUMBER(tiles_of(&events[1]), 0); /* nothing is left */
    CHECK_NUMBER(cut.flag[1], ALL);
    cut.flag[1] = 11; /* what was left out */
    CHECK(train_slice(&cut, ALL - 2 - 11, 12, NULL) == TARN_OK);
    finish(&cut);
    CHECK_NUMBER(cut.flag[1], ALL - 2);
    training_close(&cut);
    training_close(&whole);
}

/* In ranges of any cut, without a flag and in slices with one. */
static void divided_work_has_the_same_bits(void)
{
    static const char *const ids[] = {"host", "virtual:mali", "virtual:videocore"};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 9);
    for (int round = 0; round < 12; round++) {
        struct training whole, cut;
        const char *id = ids[round % 3];
        REQUIRE(training_open(&whole, id) && training_open(&cut, id));
        CHECK(train_range(&whole, 0, 0) == TARN_OK);
        finish(&whole);
        uint32_t most = 1 + tarn_rng_below(&rng, round < 6 ? 3 : 10), ticket = 0;
        bool flagged = tarn_device_get_info(cut.bench.device)->stop_flag && round % 2 != 0;
        for (uint32_t tile = 0; tile < ALL;) {
            uint32_t count = 1 + tarn_rng_below(&rng, most);
            if (flagged) /* now and then asked before it starts */
                __atomic_store_n(&cut.flag[0], ticket + (tarn_rng_below(&rng, 4) == 0),
                                 __ATOMIC_RELEASE);
            CHECK((flagged ? train_slice(&cut, count, ++ticket, NULL)
                           : train_range(&cut, tile, count)) == TARN_OK);
            finish(&cut);
            tile = flagged ? cut.flag[1] : tile + count;
        }
        CHECK_NUMBER(cut.flag[1], flagged ? ALL : 0);
        check_same(&whole, &cut);
        training_close(&cut);
        training_close(&whole);
    }
}

/* One that takes longer than the flag stays down: it is left again and again. */
static void a_flag_may_go_up_every_so_often(void)
{
    struct training whole, cut;
    uint32_t ticket = 0;
    REQUIRE(training_open(&whole, "virtual:mali") && training_open(&cut, "virtual:mali"));
    CHECK(train_range(&whole, 0, 0) == TARN_OK);
    finish(&whole);
    do {
        CHECK(train_slice(&cut, 0, ++ticket, NULL) == TARN_OK);
        CHECK(tarn_virtual_advance(cut.bench.device, US(122) + tiles_ns(&cut, 0, 4) + 1) ==
              TARN_OK);
        cut.flag[0] = ticket;
        finish(&cut);
    } while (cut.flag[1] < ALL && ticket < 100);
    CHECK_NUMBER(ticket, 5); /* five tiles each, of 24 */
    check_same(&whole, &cut);
    training_close(&cut);
    training_close(&whole);
}

struct stopper {
    struct training *training;
    uint32_t ticket;
    int pause;
    atomic_bool go;
};

static void *stop_soon(void *argument)
{
    struct stopper *s = argument;
    while (!atomic_load(&s->go))
        continue;
    for (int i = 0; i < s->pause; i++)
        atomic_load(&s->go);
    __atomic_store_n(&s->training->flag[0], s->ticket, __ATOMIC_RELEASE);
    return NULL;
}

/* Another thread stops the host; wherever it does, the end is the same. */
static void a_thread_can_stop_the_host(void)
{
    struct training whole, cut;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    REQUIRE(training_open(&whole, "host") && training_open(&cut, "host"));
    CHECK(train_range(&whole, 0, 0) == TARN_OK);
    uint32_t done = 0;
    for (uint32_t slice = 1; done < ALL && slice < 1000; slice++) {
        struct stopper stopper = {&cut, slice, (int)tarn_rng_below(&rng, 20000), false};
        tarn_event *event = NULL;
        pthread_t thread;
        REQUIRE(pthread_create(&thread, NULL, stop_soon, &stopper) == 0);
        atomic_store(&stopper.go, true);
        CHECK(train_slice(&cut, 0, slice, &event) == TARN_OK);
        pthread_join(thread, NULL);
        CHECK_NUMBER(cut.flag[1], done + tiles_of(&event));
        done = cut.flag[1];
    }
    if (done == ALL)
        check_same(&whole, &cut);
    else
        printf("# never got to the end\n");
    training_close(&cut);
    training_close(&whole);
}

static void tickets_wrap(void)
{
    CHECK(!tarn_ticket_is_over(0, 1) && tarn_ticket_is_over(1, 1) && tarn_ticket_is_over(2, 1));
    CHECK(tarn_ticket_is_over(3, UINT32_MAX) && !tarn_ticket_is_over(UINT32_MAX, 3));
    CHECK(!tarn_ticket_is_over(0, 0x80000000) && tarn_ticket_is_over(1, 0x80000002));
    struct training t;
    REQUIRE(training_open(&t, "host"));
    t.flag[0] = UINT32_MAX;
    CHECK(train_slice(&t, 1, UINT32_MAX, NULL) == TARN_OK);
    CHECK_NUMBER(t.flag[1], 0);
    CHECK(train_slice(&t, 1, 1, NULL) == TARN_OK);
    CHECK_NUMBER(t.flag[1], 1);
    training_close(&t);
}

static void a_flag_may_go_unseen(void)
{
    struct training t;
    tarn_event *event = NULL;
    REQUIRE(training_open(&t, "virtual:mali"));
    CHECK(tarn_virtual_set_faults(t.bench.device,
                                  &(struct tarn_virtual_faults){.flag_unseen = true}) == TARN_OK);
    t.flag[0] = 1;
    CHECK(train_slice(&t, 0, 1, &event) == TARN_OK);
    CHECK_TIMES(&event, US(120), US(122) + tiles_ns(&t, 0, ALL));
    CHECK_NUMBER(t.flag[1], ALL);
    training_close(&t);
}

static tarn_status with_stop(struct training *t, tarn_buffer *stop, uint32_t first, uint32_t ticket)
{
    struct tarn_launch launch = all_of(t);
    launch.first_tile = first;
    launch.stop = stop;
    launch.ticket = ticket;
    return tarn_queue_submit(t->bench.queue, &launch, NULL);
}

static void it_is_refused_where_it_cannot_work(void)
{
    struct training t;
    REQUIRE(training_open(&t, "virtual:videocore"));
    CHECK(train_slice(&t, 0, 1, NULL) == TARN_UNSUPPORTED); /* it has no flag */
    CHECK(train_range(&t, 1, 0) == TARN_OK);
    CHECK(train_range(&t, ALL, 3) == TARN_OK); /* nothing is left to do */
    CHECK(train_range(&t, ALL + 1, 0) == TARN_INVALID);
    finish(&t);
    training_close(&t);
    REQUIRE(training_open(&t, "virtual:mali"));
    CHECK(with_stop(&t, t.stop, ALL + 1, 1) == TARN_INVALID);
    CHECK(with_stop(&t, t.stop, 0, 0) == TARN_INVALID); /* no ticket */
    CHECK(with_stop(&t, NULL, 0, 1) == TARN_INVALID);
    struct tarn_launch resuming = all_of(&t);
    resuming.resume = true;
    CHECK(tarn_queue_submit(t.bench.queue, &resuming, NULL) == TARN_INVALID);
    CHECK(with_stop(&t, t.stop, ALL, 1) == TARN_OK); /* nothing is left to do */
    finish(&t);
    CHECK_NUMBER(t.flag[1], ALL);
    tarn_buffer *tiny = NULL, *hidden = NULL;
    tarn_buffer_create(t.bench.device, &(struct tarn_buffer_params){.size = 4}, &tiny);
    tarn_buffer_create(t.bench.device, &(struct tarn_buffer_params){.size = 8, .device_only = true},
                       &hidden);
    CHECK(with_stop(&t, tiny, 0, 1) == TARN_INVALID);
    CHECK(with_stop(&t, hidden, 0, 1) == TARN_INVALID);
    tarn_kernel *append = make_kernel(&t.bench, &append_source, NULL);
    struct tarn_launch without = {
        .kernel = append, .buffers = t.buffers, .constants = &(uint32_t){1}, .groups = 1};
    without.tile_count = 1; /* it has no tiles */
    CHECK(tarn_queue_submit(t.bench.queue, &without, NULL) == TARN_UNSUPPORTED);
    without.tile_count = 0;
    without.stop = t.stop;
    without.ticket = 1;
    CHECK(tarn_queue_submit(t.bench.queue, &without, NULL) == TARN_UNSUPPORTED);
    tarn_kernel_destroy(&append);
    tarn_buffer_destroy(&tiny);
    tarn_buffer_destroy(&hidden);
    training_close(&t);
}

CHECK_MAIN(CASE(a_slice_leaves_at_the_next_boundary), CASE(slices_can_be_queued),
           CASE(divided_work_has_the_same_bits), CASE(a_flag_may_go_up_every_so_often),
           CASE(a_thread_can_stop_the_host), CASE(tickets_wrap), CASE(a_flag_may_go_unseen),
           CASE(it_is_refused_where_it_cannot_work))
