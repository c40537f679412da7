/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Training on devices: the same weights as on the host, a stopped queue, and devices that fail in the
 * middle, for which the host's own backend is made to fail on demand.
 */
#include "../check.h"
#include "../failing_heap.h"

#include <math.h>
#include <pthread.h>
#include <tarn/virtual.h>

#include "base/memory.h"
#include "base/rng.h"
#include "gpu/backend.h"
#include "kernels/layout.h"
#include "net/trainer.h"

enum { BATCH = 128, STEPS = 5, COUNT = TARN_NET_PARAMETERS };

struct rig {
    tarn_device *device;
    tarn_queue *queue;
    tarn_trainer *trainer;
};

static float start_weights[COUNT];

static void make_start(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 31);
    tarn_net_init(&tarn_net_reference, &rng, start_weights);
}

static tarn_status make_trainer(struct rig *rig)
{
    make_start();
    return tarn_trainer_create(&(struct tarn_trainer_params){.shape = &tarn_net_reference,
                                                             .weights = start_weights,
                                                             .device = rig->device,
                                                             .queue = rig->queue,
                                                             .batch = BATCH,
                                                             .steps = STEPS,
                                                             .rate = 0.002f},
                               &rig->trainer, NULL);
}

static bool open_queue(struct rig *rig)
{
    return tarn_queue_create(rig->device,
                             &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW},
                             &rig->queue) == TARN_OK;
}

static void close_rig(struct rig *rig)
{
    tarn_trainer_destroy(&rig->trainer);
    tarn_queue_destroy(&rig->queue);
    if (rig->device != NULL)
        tarn_device_close(&rig->device);
}

/* The same samples for the same number of the launch. */
static void stage(tarn_trainer *trainer, uint64_t launch)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, launch + 100);
    for (uint32_t i = 0; i < BATCH * STEPS; i++) {
        int8_t x[TARN_FEATURES];
        for (int f = 0; f < TARN_FEATURES; f++)
            x[f] = (int8_t)(tarn_rng_below(&rng, 256) - 128);
        float elapsed = exp2f((float)x[0] / 32 + tarn_rng_float(&rng));
        tarn_trainer_stage(trainer, i, x, TARN_FEATURE_STEP,
                           tarn_net_label(&tarn_net_reference, elapsed, tarn_rng_below(&rng, 4)));
    }
}

static void train(tarn_trainer *trainer, uint64_t first, uint64_t end)
{
    for (uint64_t launch = first; launch < end; launch++) {
        stage(trainer, launch);
        CHECK(tarn_trainer_submit(trainer, STEPS) == TARN_OK);
        CHECK(tarn_trainer_submit(trainer, STEPS) == TARN_BUSY); /* one at a time */
        CHECK(tarn_trainer_wait(trainer, TARN_FOREVER) == TARN_OK);
        CHECK(tarn_trainer_wait(trainer, 0) == TARN_NOT_FOUND);
        CHECK_NUMBER(tarn_trainer_steps(trainer), (launch + 1) * STEPS);
    }
}

static float weights_of_host[2][COUNT]; /* after 3 launches and after 8 */
static float loss_of_host;

static void train_on_host(void)
{
    struct rig rig = {0};
    REQUIRE(make_trainer(&rig) == TARN_OK);
    CHECK(memcmp(tarn_trainer_weights(rig.trainer), start_weights, sizeof start_weights) == 0);
    CHECK(isnan(tarn_trainer_loss(rig.trainer)));
    train(rig.trainer, 0, 3);
    memcpy(weights_of_host[0], tarn_trainer_weights(rig.trainer), sizeof weights_of_host[0]);
    float loss = tarn_trainer_loss(rig.trainer);
    train(rig.trainer, 3, 8);
    memcpy(weights_of_host[1], tarn_trainer_weights(rig.trainer), sizeof weights_of_host[1]);
    loss_of_host = tarn_trainer_loss(rig.trainer);
    CHECK(loss_of_host < loss);
    close_rig(&rig);
}

static double distance(const float *a, const float *b)
{
    double worst = 0;
    for (int i = 0; i < COUNT; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}

static void weights_move_from_where_they_begin(void)
{
    train_on_host();
    double moved = distance(weights_of_host[0], start_weights);
    CHECK(moved > 0.005 && moved < 0.2);
    CHECK(distance(weights_of_host[1], weights_of_host[0]) > 0.005);
}

static void compare_device(const char *id, double tolerance)
{
    struct rig rig = {0};
    struct tarn_error error;
    if (tarn_device_open(&(struct tarn_device_params){.id = id}, &rig.device, &error) != TARN_OK)
        SKIP("no such device");
    REQUIRE(open_queue(&rig) && make_trainer(&rig) == TARN_OK);
    train(rig.trainer, 0, 8);
    /* Adam divides by tiny moments: a few weights of 2347 may differ by some of its steps */
    CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[1]) <= tolerance);
    CHECK(fabsf(tarn_trainer_loss(rig.trainer) - loss_of_host) <= 1e-3f * loss_of_host);
    uint64_t ns, launches;
    tarn_trainer_times(rig.trainer, &ns, &launches);
    CHECK(ns > 0 && launches == 8);
    close_rig(&rig);
}

static void opencl_gives_the_weights_of_the_host(void)
{
    compare_device("opencl", 2e-3);
}

static void the_host_as_a_device_gives_the_same_weights(void)
{
    compare_device("host", 0);
}

static void a_stopped_queue_is_busy(void)
{
    struct rig rig = {0};
    REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "host"}, &rig.device, NULL) ==
            TARN_OK);
    REQUIRE(open_queue(&rig) && make_trainer(&rig) == TARN_OK);
    train(rig.trainer, 0, 3);
    tarn_queue_stop(rig.queue, true);
    stage(rig.trainer, 3);
    for (int i = 0; i < 3; i++)
        CHECK(tarn_trainer_submit(rig.trainer, STEPS) == TARN_BUSY);
    CHECK(tarn_trainer_wait(rig.trainer, 0) == TARN_NOT_FOUND);
    CHECK_NUMBER(tarn_trainer_steps(rig.trainer), 3 * STEPS);
    CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[0]) == 0);
    tarn_queue_stop(rig.queue, false);
    train(rig.trainer, 3, 8);
    CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[1]) == 0);
    close_rig(&rig);
}

/* ---- slices ---- */

enum { JOB_TILES = STEPS * BATCH / TARN_LANES };

static bool open_rig(struct rig *rig, const char *id)
{
    *rig = (struct rig){0};
    if (id != NULL &&
        (tarn_device_open(&(struct tarn_device_params){.id = id}, &rig->device, NULL) != TARN_OK ||
         !open_queue(rig)))
        return false;
    return make_trainer(rig) == TARN_OK;
}

struct plan {
    struct tarn_rng rng;
    uint32_t ticket; /* the youngest */
    uint32_t most;   /* tiles of a slice */
    uint32_t flying; /* slices at once */
    bool tickets, stops;
};

static void stop_some(struct rig *rig, struct plan *plan)
{
    if (tarn_trainer_is_on_device(rig->trainer) &&
        tarn_device_get_info(rig->device)->type == TARN_DEVICE_VIRTUAL)
        CHECK(tarn_virtual_advance(rig->device, tarn_rng_below(&plan->rng, 400000)) == TARN_OK);
    if (plan->stops && tarn_rng_below(&plan->rng, 3) == 0)
        tarn_trainer_stop(rig->trainer, plan->ticket - tarn_rng_below(&plan->rng, 2));
}

/* One job, in slices as the plan has them. */
static void train_in_slices(struct rig *rig, struct plan *plan, uint64_t launch)
{
    tarn_trainer *t = rig->trainer;
    uint32_t flying = 0, done = 0, submitted, rounds = 0;
    stage(t, launch);
    REQUIRE(tarn_trainer_begin(t, STEPS) == TARN_OK);
    CHECK(tarn_trainer_begin(t, STEPS) == TARN_BUSY && tarn_trainer_in_flight(t));
    while (tarn_trainer_in_flight(t) && rounds++ < 10000) {
        CHECK_NUMBER(tarn_trainer_tiles_left(t), JOB_TILES - done);
        do {
            uint32_t tiles = 1 + tarn_rng_below(&plan->rng, plan->most);
            uint32_t ticket = plan->tickets ? ++plan->ticket : 0;
            if (plan->tickets && ticket == 0)
                ticket = ++plan->ticket;
            CHECK(tarn_trainer_slice(t, tiles, ticket, &submitted) == TARN_OK);
            CHECK(submitted <= tiles);
            flying += submitted > 0;
        } while (submitted > 0 && flying < plan->flying);
        stop_some(rig, plan);
        struct tarn_trainer_slice slice = {0};
        REQUIRE(tarn_trainer_poll(t, TARN_FOREVER, &slice) == TARN_OK);
        CHECK(slice.end_ns >= slice.start_ns && slice.tiles_done <= plan->most);
        done += slice.tiles_done;
        flying--;
    }
    CHECK(rounds < 10000 && flying == 0 && done == JOB_TILES);
    CHECK(tarn_trainer_poll(t, 0, NULL) == TARN_NOT_FOUND);
    CHECK_NUMBER(tarn_trainer_tiles_left(t), 0);
    CHECK_NUMBER(tarn_trainer_steps(t), (launch + 1) * STEPS);
}

static void slices_give_the_same_weights(void)
{
    static const char *const ids[] = {NULL, "host", "virtual:mali", "virtual:videocore"};
    for (uint32_t round = 0; round < 16; round++) {
        struct rig rig;
        struct plan plan = {.most = round < 8 ? 7 : 40,
                            .flying = 1 + round % 3,
                            .tickets = round / 4 != 1,
                            .stops = round / 4 != 2,
                            .ticket = round > 12  ? UINT32_MAX - 20
                                      : round > 8 ? 0x7ffffff0
                                                  : 0};
        tarn_rng_seed(&plan.rng, 70 + round);
        REQUIRE(open_rig(&rig, ids[round % 4]));
        for (uint64_t job = 0; job < 8; job++)
            train_in_slices(&rig, &plan, job);
        CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[1]) == 0);
        CHECK(tarn_trainer_loss(rig.trainer) == loss_of_host);
        close_rig(&rig);
    }
}

static void opencl_takes_slices(void)
{
    struct rig rig;
    struct plan plan = {.most = 20, .flying = 3, .tickets = true, .stops = true};
    tarn_rng_seed(&plan.rng, 5);
    if (!open_rig(&rig, "opencl"))
        SKIP("no such device");
    for (uint64_t job = 0; job < 8; job++)
        train_in_slices(&rig, &plan, job);
    CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[1]) <= 2e-3);
    close_rig(&rig);
}

struct stopper {
    tarn_trainer *trainer;
    atomic_uint ticket;
    atomic_bool over;
};

/* Asks the slice of the moment to leave, all the time, but lets some be. */
static void *keep_stopping(void *argument)
{
    struct stopper *s = argument;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    while (!atomic_load(&s->over)) {
        for (uint32_t i = tarn_rng_below(&rng, 30000); i > 0; i--)
            atomic_load(&s->over);
        tarn_trainer_stop(s->trainer, atomic_load(&s->ticket) - 2 + tarn_rng_below(&rng, 3));
    }
    return NULL;
}

static void another_thread_may_stop_slices(void)
{
    static const char *const ids[] = {NULL, "host"};
    for (int i = 0; i < 2; i++) {
        struct rig rig;
        struct stopper s = {.ticket = 2};
        pthread_t thread;
        REQUIRE(open_rig(&rig, ids[i]));
        s.trainer = rig.trainer;
        REQUIRE(pthread_create(&thread, NULL, keep_stopping, &s) == 0);
        for (uint64_t job = 0; job < 8; job++) {
            stage(rig.trainer, job);
            CHECK(tarn_trainer_begin(rig.trainer, STEPS) == TARN_OK);
            while (tarn_trainer_in_flight(rig.trainer)) {
                uint32_t submitted;
                CHECK(tarn_trainer_slice(rig.trainer, 0, atomic_fetch_add(&s.ticket, 1) + 1,
                                         &submitted) == TARN_OK);
                REQUIRE(tarn_trainer_poll(rig.trainer, TARN_FOREVER, NULL) == TARN_OK);
            }
        }
        atomic_store(&s.over, true);
        pthread_join(thread, NULL);
        CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[1]) == 0);
        close_rig(&rig);
    }
}

static void slices_are_refused_that_cannot_be(void)
{
    struct rig rig;
    uint32_t submitted = 9;
    REQUIRE(open_rig(&rig, "virtual:mali"));
    tarn_trainer *t = rig.trainer;
    CHECK(tarn_trainer_slice(t, 1, 1, &submitted) == TARN_NOT_FOUND && submitted == 0);
    CHECK(tarn_trainer_begin(t, 0) == TARN_INVALID);
    CHECK(tarn_trainer_begin(t, STEPS + 1) == TARN_INVALID);
    stage(t, 0);
    CHECK(tarn_trainer_begin(t, STEPS) == TARN_OK);
    CHECK(tarn_trainer_submit(t, STEPS) == TARN_BUSY);
    CHECK(tarn_trainer_enter(t, rig.device, rig.queue, NULL) == TARN_BUSY);
    for (uint32_t i = 1; i <= TARN_TRAINER_SLICES; i++)
        CHECK(tarn_trainer_slice(t, 2, i, &submitted) == TARN_OK && submitted == 2);
    CHECK(tarn_trainer_slice(t, 2, 9, &submitted) == TARN_BUSY && submitted == 0);
    CHECK(tarn_trainer_poll(t, 0, NULL) == TARN_TIMEOUT);
    CHECK(tarn_trainer_poll(t, TARN_FOREVER, NULL) == TARN_OK);
    /* where the others end isn't known: one without a ticket can't begin */
    CHECK(tarn_trainer_slice(t, 2, 0, &submitted) == TARN_BUSY);
    tarn_queue_stop(rig.queue, true);
    CHECK(tarn_trainer_slice(t, 2, 9, &submitted) == TARN_BUSY);
    tarn_queue_stop(rig.queue, false);
    CHECK(tarn_trainer_slice(t, 0, 9, &submitted) == TARN_OK);
    CHECK_NUMBER(submitted, JOB_TILES - 2 * TARN_TRAINER_SLICES);
    while (tarn_trainer_poll(t, TARN_FOREVER, NULL) == TARN_OK)
        continue;
    train(t, 1, 3);
    CHECK(distance(tarn_trainer_weights(t), weights_of_host[0]) == 0);
    /* destroyed with slices in flight */
    CHECK(tarn_trainer_begin(t, STEPS) == TARN_OK);
    CHECK(tarn_trainer_slice(t, 0, 10, &submitted) == TARN_OK);
    close_rig(&rig);
}

/* A device that is lost in any slice, or left: the whole job is done again on the host. */
static void a_device_may_be_lost_between_slices(void)
{
    for (uint32_t at = 1; at < 12; at++) {
        struct rig rig;
        struct plan plan = {.most = 5, .flying = 2, .tickets = at % 2, .stops = true};
        tarn_rng_seed(&plan.rng, at);
        REQUIRE(open_rig(&rig, at % 3 ? "virtual:mali" : "virtual:videocore"));
        for (uint64_t job = 0; job < 2; job++)
            train_in_slices(&rig, &plan, job);
        stage(rig.trainer, 2);
        CHECK(tarn_trainer_begin(rig.trainer, STEPS) == TARN_OK);
        CHECK(tarn_virtual_set_faults(rig.device, &(struct tarn_virtual_faults){.lose_at = at}) ==
              TARN_OK);
        for (uint32_t i = 0; i < 60 && tarn_trainer_in_flight(rig.trainer); i++) {
            uint32_t submitted, ticket = plan.tickets ? ++plan.ticket : 0;
            CHECK(tarn_trainer_slice(rig.trainer, 3, ticket, &submitted) == TARN_OK);
            if (i > 0)
                CHECK(tarn_trainer_poll(rig.trainer, TARN_FOREVER, NULL) == TARN_OK);
            if (at == 11 && i == 3) /* left on purpose */
                tarn_trainer_leave(rig.trainer);
        }
        CHECK(!tarn_trainer_is_on_device(rig.trainer) && !tarn_trainer_in_flight(rig.trainer));
        CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[0]) == 0);
        for (uint64_t job = 3; job < 8; job++)
            train_in_slices(&rig, &plan, job);
        CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[1]) == 0);
        close_rig(&rig);
    }
}

/* ---- a device that fails: the host's, with calls of our own in between ---- */

static struct tarn_backend failing;
static const char *fails_in; /* NULL: nothing fails */
static tarn_trainer *victim;

static bool fails(const char *call)
{
    return fails_in != NULL && strcmp(fails_in, call) == 0;
}

/* As a device does that dies in the middle: what it was writing is garbage. */
static void spoil(void)
{
    float *weights = (float *)(uintptr_t)tarn_trainer_weights(victim);
    for (int i = 0; i < COUNT; i++)
        weights[i] = (float)i; /* finite, but wrong */
}

static tarn_status failing_submit(tarn_queue *queue, const struct tarn_launch *launch,
                                  tarn_event *event)
{
    tarn_status status = tarn_backend_host.submit(queue, launch, event);
    if (!fails("submit"))
        return status;
    spoil();
    return TARN_DRIVER;
}

static tarn_status failing_wait(tarn_event *event, uint64_t timeout_us)
{
    if (!fails("wait"))
        return tarn_backend_host.event_wait(event, timeout_us);
    spoil();
    return TARN_DEVICE_LOST;
}

static tarn_status failing_finish(tarn_queue *queue, uint64_t timeout_us)
{
    if (!fails("finish"))
        return tarn_backend_host.queue_finish(queue, timeout_us);
    spoil();
    return TARN_DEVICE_LOST;
}

static void lose_the_device_in(const char *call)
{
    struct rig rig = {0};
    failing = tarn_backend_host;
    failing.name = "failing";
    failing.submit = failing_submit;
    failing.event_wait = failing_wait;
    failing.queue_finish = failing_finish;
    REQUIRE(tarn_backend_open(&failing, 0, &rig.device, NULL) == TARN_OK);
    REQUIRE(open_queue(&rig) && make_trainer(&rig) == TARN_OK);
    victim = rig.trainer;
    train(rig.trainer, 0, 3);
    stage(rig.trainer, 3);
    fails_in = call;
    CHECK(tarn_trainer_submit(rig.trainer, STEPS) == TARN_OK);
    CHECK(tarn_trainer_wait(rig.trainer, TARN_FOREVER) == TARN_OK);
    CHECK_NUMBER(tarn_trainer_steps(rig.trainer), 4 * STEPS);
    train(rig.trainer, 4, 8); /* on the host, from the right weights and moments */
    CHECK(distance(tarn_trainer_weights(rig.trainer), weights_of_host[1]) == 0);
    fails_in = NULL;
    close_rig(&rig);
}

static void a_device_that_fails_hands_over_to_the_host(void)
{
    lose_the_device_in("submit");
    lose_the_device_in("wait");
    lose_the_device_in("finish");
}

static void without_memory_nothing_is_kept(void)
{
    for (int on_device = 0; on_device < 2; on_device++) {
        struct rig rig = {0};
        if (on_device)
            REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "host"}, &rig.device,
                                     NULL) == TARN_OK &&
                    open_queue(&rig));
        tarn_status status = TARN_NO_MEMORY;
        for (fails_at = 1; fails_at < 50 && status != TARN_OK; fails_at++) {
            begin(fails_at);
            status = make_trainer(&rig);
            if (status != TARN_OK)
                CHECK(status == TARN_NO_MEMORY && held == 0 && rig.trainer == NULL);
            tarn_memory_set_hook(NULL);
        }
        CHECK(status == TARN_OK && fails_at > 5);
        close_rig(&rig);
    }
}

static long slices_asked;

static bool count_one(size_t size)
{
    slices_asked += size > 0;
    return true;
}

static void slices_allocate_nothing(void)
{
    struct rig rig;
    struct plan plan = {.most = 5, .flying = 3, .tickets = true, .stops = true};
    tarn_rng_seed(&plan.rng, 8);
    REQUIRE(open_rig(&rig, "host"));
    train_in_slices(&rig, &plan, 0);
    tarn_memory_set_hook(count_one);
    train_in_slices(&rig, &plan, 1);
    tarn_memory_set_hook(NULL);
    CHECK_NUMBER(slices_asked, 0);
    close_rig(&rig);
}

/* A second trainer goes on where another one is, as if it had been there all along. */
static void state_moves_to_another_trainer(void)
{
    for (int on_device = 0; on_device < 2; on_device++) {
        struct rig rig = {0}, other = {0};
        struct tarn_trainer_state state;
        if (on_device) {
            struct tarn_device_params params = {.id = "host"};
            REQUIRE(tarn_device_open(&params, &other.device, NULL) == TARN_OK &&
                    open_queue(&other));
        }
        REQUIRE(make_trainer(&rig) == TARN_OK && make_trainer(&other) == TARN_OK);
        train(rig.trainer, 0, 3);
        tarn_trainer_get_state(rig.trainer, &state);
        CHECK(state.weights == tarn_trainer_weights(rig.trainer) && state.steps == 3 * STEPS);
        CHECK(tarn_trainer_set_state(other.trainer, &state) == TARN_OK);
        train(other.trainer, 3, 8);
        CHECK(distance(tarn_trainer_weights(other.trainer), weights_of_host[1]) == 0);
        /* the weights alone; and what is refused changes nothing */
        float weights[COUNT], v[COUNT];
        memcpy(weights, start_weights, sizeof weights);
        memset(v, 0, sizeof v);
        state = (struct tarn_trainer_state){.weights = weights};
        CHECK(tarn_trainer_set_state(other.trainer, &state) == TARN_OK);
        CHECK(distance(tarn_trainer_weights(other.trainer), start_weights) == 0);
        CHECK_NUMBER(tarn_trainer_steps(other.trainer), 8 * STEPS);
        weights[5] = INFINITY;
        CHECK(tarn_trainer_set_state(other.trainer, &state) == TARN_INVALID);
        weights[5] = 0;
        state.m = weights;
        CHECK(tarn_trainer_set_state(other.trainer, &state) == TARN_INVALID);
        state.v = v;
        v[COUNT - 1] = -1e-9f;
        CHECK(tarn_trainer_set_state(other.trainer, &state) == TARN_INVALID);
        CHECK(distance(tarn_trainer_weights(other.trainer), start_weights) == 0);
        stage(other.trainer, 0);
        CHECK(tarn_trainer_begin(other.trainer, 1) == TARN_OK);
        v[COUNT - 1] = 0;
        CHECK(tarn_trainer_set_state(other.trainer, &state) == TARN_BUSY);
        close_rig(&rig);
        close_rig(&other);
    }
}

CHECK_MAIN(CASE(weights_move_from_where_they_begin),
           CASE_IF(TEST_OPENCL, opencl_gives_the_weights_of_the_host),
           CASE(the_host_as_a_device_gives_the_same_weights), CASE(a_stopped_queue_is_busy),
           CASE(a_device_that_fails_hands_over_to_the_host), CASE(without_memory_nothing_is_kept),
           CASE(slices_give_the_same_weights), CASE_IF(TEST_OPENCL, opencl_takes_slices),
           CASE(another_thread_may_stop_slices), CASE(slices_are_refused_that_cannot_be),
           CASE(a_device_may_be_lost_between_slices), CASE(slices_allocate_nothing),
           CASE(state_moves_to_another_trainer))
