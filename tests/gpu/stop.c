/* SPDX-License-Identifier: Apache-2.0 */
/* Launches that are left at a tile's boundary and resumed: gradient steps, bit for bit. */
#include "virtual.h"

#include <pthread.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/train.h"

enum { STEPS = 12, BATCH = 32, BUFFERS = 7 };

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

static tarn_status train_steps(struct training *t, uint32_t first, uint32_t steps, bool stoppable,
                               tarn_event **event)
{
    struct tarn_train_constants c = constants;
    c.steps = steps;
    return tarn_queue_submit(t->bench.queue,
                             &(struct tarn_launch){.kernel = t->kernel,
                                                   .buffers = t->buffers,
                                                   .constants = &c,
                                                   .groups = 1,
                                                   .first_tile = first,
                                                   .stop = stoppable ? t->stop : NULL},
                             event);
}

static tarn_status train(struct training *t, uint32_t first, bool stoppable, tarn_event **event)
{
    return train_steps(t, first, STEPS, stoppable, event);
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

/* What a step takes on this board: bytes or operations, each rounded up. */
static uint64_t step_ns(const struct training *t)
{
    struct tarn_virtual_model m;
    struct tarn_kernel_cost cost = {0};
    int32_t defines[TARN_SHAPE_DEFINES];
    tarn_shape_defines(&shape, defines);
    CHECK(tarn_virtual_get_model(t->bench.device, &m) == TARN_OK);
    tarn_train_source.cost(
        &(struct tarn_host_launch){.constants = &constants, .defines = defines, .tile_count = 1},
        &cost);
    uint64_t moved = (cost.bytes * 1000 + m.bytes_per_us - 1) / m.bytes_per_us;
    uint64_t computed = (cost.operations * 1000 + m.operations_per_us - 1) / m.operations_per_us;
    return moved > computed ? moved : computed;
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
        uint64_t step = step_ns(&cut), start = m.submit_ns, fixed = m.launch_ns;
        tarn_event *event = NULL;
        CHECK(train(&whole, 0, false, NULL) == TARN_OK);
        CHECK(tarn_queue_finish(whole.bench.queue, TARN_FOREVER) == TARN_OK);
        /* the flag is set in the middle of step 4: it leaves with 5 done */
        CHECK(train(&cut, 0, true, &event) == TARN_OK);
        CHECK(tarn_virtual_advance(device, start + fixed + 4 * step + step / 2) == TARN_OK);
        cut.flag[0] = 1;
        CHECK_TIMES(&event, start, start + fixed + 5 * step);
        CHECK_NUMBER(cut.flag[1], 5);
        CHECK_NUMBER(((float *)tarn_buffer_data(cut.buffers[5]))[5], 0);
        /* set before it starts: it takes the fixed part and does nothing */
        uint64_t now = tarn_virtual_now(device);
        CHECK(train(&cut, 5, true, &event) == TARN_OK);
        CHECK_TIMES(&event, now + start, now + start + fixed);
        CHECK_NUMBER(cut.flag[1], 5);
        cut.flag[0] = 0;
        now = tarn_virtual_now(device);
        CHECK(train(&cut, 5, true, &event) == TARN_OK);
        CHECK_TIMES(&event, now + start, now + start + fixed + 7 * step);
        CHECK_NUMBER(cut.flag[1], STEPS);
        check_same(&whole, &cut);
        struct tarn_virtual_stats stats;
        CHECK(tarn_virtual_get_stats(device, &stats) == TARN_OK);
        CHECK_NUMBER(stats.stopped, 2);
        training_close(&cut);
        training_close(&whole);
    }
}

/* In slices of any cut, on the host too, and without a flag. */
static void resumed_work_has_the_same_bits(void)
{
    struct training whole, cut;
    REQUIRE(training_open(&whole, "host"));
    CHECK(train(&whole, 0, false, NULL) == TARN_OK);
    REQUIRE(training_open(&cut, "host"));
    cut.flag[0] = 1;
    CHECK(train(&cut, 0, true, NULL) == TARN_OK);
    CHECK_NUMBER(cut.flag[1], 0);
    cut.flag[0] = 0;
    CHECK(train(&cut, 0, true, NULL) == TARN_OK);
    CHECK_NUMBER(cut.flag[1], STEPS);
    check_same(&whole, &cut);
    training_close(&cut);
    for (int stoppable = 0; stoppable < 2; stoppable++) {
        REQUIRE(training_open(&cut, "host"));
        CHECK(train_steps(&cut, 0, 5, false, NULL) == TARN_OK);
        CHECK(train(&cut, 5, stoppable != 0, NULL) == TARN_OK);
        CHECK_NUMBER(cut.flag[1], stoppable ? STEPS : 0);
        check_same(&whole, &cut);
        training_close(&cut);
    }
    training_close(&whole);
    REQUIRE(training_open(&whole, "virtual:mali") && training_open(&cut, "virtual:mali"));
    CHECK(train(&whole, 0, false, NULL) == TARN_OK);
    CHECK(tarn_queue_finish(whole.bench.queue, TARN_FOREVER) == TARN_OK);
    int slices = 0;
    do { /* a flag that goes up every so often */
        cut.flag[0] = 0;
        CHECK(train(&cut, cut.flag[1], true, NULL) == TARN_OK);
        CHECK(tarn_virtual_advance(cut.bench.device, US(122) + step_ns(&cut) * 3 / 2) == TARN_OK);
        cut.flag[0] = 1;
        CHECK(tarn_queue_finish(cut.bench.queue, TARN_FOREVER) == TARN_OK);
    } while (cut.flag[1] < STEPS && ++slices < 100);
    CHECK_NUMBER(slices, 5); /* six slices of two steps */
    check_same(&whole, &cut);
    training_close(&cut);
    training_close(&whole);
}

struct stopper {
    struct training *training;
    atomic_bool go;
};

static void *stop_soon(void *argument)
{
    struct stopper *s = argument;
    while (!atomic_load(&s->go))
        continue;
    __atomic_store_n(&s->training->flag[0], 1, __ATOMIC_RELEASE);
    return NULL;
}

/* Another thread stops the host; wherever it does, the end is the same. */
static void a_thread_can_stop_the_host(void)
{
    struct training whole, cut;
    REQUIRE(training_open(&whole, "host") && training_open(&cut, "host"));
    CHECK(train(&whole, 0, false, NULL) == TARN_OK);
    uint32_t done = 0;
    for (int slices = 0; done < STEPS && slices < 1000; slices++) {
        struct stopper stopper = {.training = &cut};
        pthread_t thread;
        cut.flag[0] = 0;
        REQUIRE(pthread_create(&thread, NULL, stop_soon, &stopper) == 0);
        atomic_store(&stopper.go, true);
        CHECK(train(&cut, done, true, NULL) == TARN_OK);
        pthread_join(thread, NULL);
        CHECK(cut.flag[1] >= done);
        done = cut.flag[1];
    }
    if (done == STEPS)
        check_same(&whole, &cut);
    else
        printf("# never got to the end\n");
    training_close(&cut);
    training_close(&whole);
}

static void a_flag_may_go_unseen(void)
{
    struct training t;
    tarn_event *event = NULL;
    REQUIRE(training_open(&t, "virtual:mali"));
    CHECK(tarn_virtual_set_faults(t.bench.device,
                                  &(struct tarn_virtual_faults){.flag_unseen = true}) == TARN_OK);
    t.flag[0] = 1;
    CHECK(train(&t, 0, true, &event) == TARN_OK);
    CHECK_TIMES(&event, US(120), US(122) + STEPS * step_ns(&t));
    CHECK_NUMBER(t.flag[1], STEPS);
    training_close(&t);
}

static void it_is_refused_where_it_cannot_work(void)
{
    struct training t;
    REQUIRE(training_open(&t, "virtual:videocore"));
    CHECK(train(&t, 0, true, NULL) == TARN_UNSUPPORTED);
    CHECK(train(&t, 1, false, NULL) == TARN_UNSUPPORTED);
    CHECK(train(&t, 0, false, NULL) == TARN_OK);
    training_close(&t);
    REQUIRE(training_open(&t, "virtual:mali"));
    CHECK(train(&t, STEPS + 1, true, NULL) == TARN_INVALID);
    CHECK(train(&t, STEPS, true, NULL) == TARN_OK); /* nothing is left to do */
    CHECK(tarn_queue_finish(t.bench.queue, TARN_FOREVER) == TARN_OK);
    CHECK_NUMBER(t.flag[1], STEPS);
    tarn_buffer *stop = t.stop, *tiny = NULL, *hidden = NULL;
    tarn_buffer_create(t.bench.device, &(struct tarn_buffer_params){.size = 4}, &tiny);
    tarn_buffer_create(t.bench.device, &(struct tarn_buffer_params){.size = 8, .device_only = true},
                       &hidden);
    t.stop = tiny;
    CHECK(train(&t, 0, true, NULL) == TARN_INVALID);
    t.stop = hidden;
    CHECK(train(&t, 0, true, NULL) == TARN_INVALID);
    t.stop = stop;
    tarn_kernel *append = make_kernel(&t.bench, &append_source, NULL);
    CHECK(tarn_queue_submit(t.bench.queue,
                            &(struct tarn_launch){.kernel = append,
                                                  .buffers = t.buffers,
                                                  .constants = &(uint32_t){1},
                                                  .groups = 1,
                                                  .stop = t.stop},
                            NULL) == TARN_UNSUPPORTED); /* it has no tiles */
    tarn_kernel_destroy(&append);
    tarn_buffer_destroy(&tiny);
    tarn_buffer_destroy(&hidden);
    training_close(&t);
}

CHECK_MAIN(CASE(a_slice_leaves_at_the_next_boundary), CASE(resumed_work_has_the_same_bits),
           CASE(a_thread_can_stop_the_host), CASE(a_flag_may_go_unseen),
           CASE(it_is_refused_where_it_cannot_work))
