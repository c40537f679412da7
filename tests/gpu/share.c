/* SPDX-License-Identifier: Apache-2.0 */
/* The arbiter on the simulated devices: what it promises, to the nanosecond. */
#include "share_world.h"

#include <tarn/log.h>

#include "base/memory.h"

static const char *const boards[] = {"virtual:mali", "virtual:videocore", "virtual:jetson"};

enum { BOARDS = 3, MALI = 0, VIDEOCORE = 1, JETSON = 2 };

static struct tarn_share_stats stats_of(struct shared *s)
{
    struct tarn_share_stats stats;
    tarn_share_get_stats(s->share, &stats);
    return stats;
}

/* Tiles were done in turn, each once. */
static void check_work(struct shared *s)
{
    const uint32_t *log = tarn_buffer_data(s->log);
    CHECK_NUMBER(log[1], 0);
    CHECK(log[0] >= s->units);
}

/* Lookups so that the device is busy with them for that share of its time. */
static double pause_for(const struct shared *s, double load)
{
    return ((double)s->lookup_us + (double)s->w.model.gap_ns * 1e-3) / load;
}

static void lookups_wait_for_one_slice(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(shared_run(&s, 300000, pause_for(&s, 0.3)) == TARN_OK);
        s.worst_block = 0;
        CHECK(shared_run(&s, 2000000, pause_for(&s, 0.3)) == TARN_OK);
        struct tarn_share_stats stats = stats_of(&s);
        double bound = stats.quantum_us * 1.05e3 + (double)s.w.model.gap_ns;
        CHECK(s.worst_block > 0 && s.worst_block <= bound);
        printf("# %s: worst block %.1f us of a quantum of %u us\n", boards[b], s.worst_block * 1e-3,
               stats.quantum_us);
        if (s.flag) /* they leave before: for a tile and the passing of another slice */
            CHECK(s.worst_block <= 12e3 + 2 * (double)s.w.model.gap_ns + 2e3);
        CHECK(s.most_in_flight <= stats.in_flight);
        CHECK_NUMBER(stats.too_long, 0);
        check_work(&s);
        shared_close(&s);
    }
}

/* Whoever doesn't see the flag finishes its slice: the bound is the quantum's. */
static void a_flag_that_nobody_sees_is_no_promise(void)
{
    struct shared s;
    REQUIRE(shared_open(&s, boards[MALI], 10, NULL));
    CHECK(tarn_virtual_set_faults(s.w.bench.device,
                                  &(struct tarn_virtual_faults){.flag_unseen = true}) == TARN_OK);
    CHECK(shared_run(&s, 1000000, pause_for(&s, 0.3)) == TARN_OK);
    struct tarn_share_stats stats = stats_of(&s);
    CHECK(s.worst_block <=
          stats.in_flight * (stats.quantum_us * 1.05e3 + (double)s.w.model.gap_ns));
    CHECK(s.worst_block > 30e3);
    check_work(&s);
    shared_close(&s);
}

static void what_is_measured_is_what_is_there(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(shared_run(&s, 500000, pause_for(&s, 0.3)) == TARN_OK);
        struct tarn_share_stats stats = stats_of(&s);
        CHECK(fabs(stats.gap_us * 1e3 - (double)s.w.model.gap_ns) < 100);
        CHECK(fabs(stats.latency_us * 1e3 / (double)s.w.model.submit_ns - 1) < 0.03);
        CHECK(fabs((double)stats.unit_us / 10 - 1) < 0.02);
        shared_close(&s);
    }
}

static double busy_share(struct shared *s, double us, double pause_us)
{
    struct tarn_virtual_stats before, after;
    tarn_virtual_get_stats(s->w.bench.device, &before);
    CHECK(shared_run(s, us, pause_us) == TARN_OK);
    tarn_virtual_get_stats(s->w.bench.device, &after);
    double lookups = (double)(after.busy_ns[0] - before.busy_ns[0]) +
                     (double)(after.launches[0] - before.launches[0]) * (double)s->w.model.gap_ns;
    return (double)(after.busy_ns[1] - before.busy_ns[1]) / (us * 1e3 - lookups);
}

/* Of the device time that lookups leave. */
static void training_is_not_starved(void)
{
    static const double least[BOARDS][2] = {{0.85, 0.75}, {0.77, 0.77}, {0.85, 0.75}};
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        /* a second of 60 % has moments of 80 %: the watch must be patient */
        const struct tarn_share_params patient = {.dwell_us = 800000};
        REQUIRE(shared_open(&s, boards[b], 10, &patient));
        CHECK(shared_run(&s, 2000000, pause_for(&s, 0.3)) == TARN_OK);
        double third = busy_share(&s, 1000000, pause_for(&s, 0.3));
        double most = busy_share(&s, 1000000, pause_for(&s, 0.6));
        printf("# %s: training has %.3f and %.3f of what lookups leave\n", boards[b], third, most);
        CHECK(third > least[b][0] && most > least[b][1]);
        shared_close(&s);
    }
}

static void an_idle_device_is_trainings(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(shared_run(&s, 300000, 0) == TARN_OK);
        CHECK(stats_of(&s).idle);
        CHECK(busy_share(&s, 1000000, 0) > 0.955);
        /* the first lookup of a burst: all that is in the way are slices that have begun */
        s.latencies = 0;
        uint64_t begun = tarn_virtual_now(s.w.bench.device);
        uint64_t slices = stats_of(&s).slices;
        CHECK(shared_run(&s, 3000, 100) == TARN_OK);
        CHECK(!stats_of(&s).idle);
        CHECK(s.worst_block <= 1e6 + (double)s.w.model.gap_ns);
        CHECK(stats_of(&s).slices > slices);
        CHECK(tarn_virtual_now(s.w.bench.device) - begun < 4000000);
        shared_close(&s);
    }
}

/* A user interface draws its frames in time beside training; without control it doesn't. */
static void frames_are_not_missed(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        struct tarn_virtual_stats stats;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(tarn_virtual_set_frames(s.w.bench.device, &(struct tarn_virtual_frames){
                                                            16700000, 6000000, 1}) == TARN_OK);
        CHECK(shared_run(&s, 5000000, pause_for(&s, 0.2)) == TARN_OK);
        tarn_virtual_get_stats(s.w.bench.device, &stats);
        CHECK(stats.frames >= 290);
        CHECK(stats.frames_missed * 100 <= stats.frames);
        CHECK(stats.busy_ns[TARN_PRIORITY_LOW] > 1500000000);
        shared_close(&s);
    }
}

static int warnings;

static void count_warnings(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    warnings++;
}

/* A chip that becomes a hundred times slower: one long slice, then a pause, then short ones. */
static void a_throttled_device_is_left_alone(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(shared_run(&s, 300000, pause_for(&s, 0.3)) == TARN_OK);
        tarn_log_set(count_warnings, NULL, TARN_LOG_WARNING);
        warnings = 0;
        CHECK(tarn_virtual_set_faults(s.w.bench.device,
                                      &(struct tarn_virtual_faults){
                                          .kernel = "tiles", .slow_from = 1, .slow_factor = 100}) ==
              TARN_OK);
        CHECK(shared_run(&s, 800000, pause_for(&s, 0.3)) == TARN_OK);
        uint64_t slices = stats_of(&s).slices;
        s.worst_block = 0;
        uint32_t answered = s.latencies;
        CHECK(shared_run(&s, 200000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK_NUMBER(stats_of(&s).slices, slices); /* it pauses */
        CHECK(s.latencies > answered + 200);
        CHECK_NUMBER(s.worst_block, 0);
        CHECK(shared_run(&s, 1000000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK(stats_of(&s).slices > slices); /* and tries again, with the shortest */
        CHECK(s.worst_block <= 1.05e6 + 5e3);
        CHECK(warnings >= 1 && warnings <= 2); /* once for each thing that is new */
        /* it cools down */
        CHECK(tarn_virtual_set_faults(s.w.bench.device, NULL) == TARN_OK);
        CHECK(shared_run(&s, 3000000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK(busy_share(&s, 500000, pause_for(&s, 0.3)) > 0.75);
        tarn_log_set(NULL, NULL, TARN_LOG_NONE);
        check_work(&s);
        shared_close(&s);
    }
}

static void times_that_wrap_are_not_believed(void)
{
    for (int bits = 10; bits <= 31; bits += 7) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[VIDEOCORE], 10, NULL));
        tarn_log_set(count_warnings, NULL, TARN_LOG_WARNING);
        warnings = 0;
        CHECK(tarn_virtual_set_faults(s.w.bench.device,
                                      &(struct tarn_virtual_faults){.time_bits = (uint32_t)bits}) ==
              TARN_OK);
        CHECK(shared_run(&s, 1000000, 0) == TARN_OK);
        CHECK(busy_share(&s, 500000, 0) > 0.5);               /* it goes on, on the host's clock */
        CHECK(warnings <= 3 && (warnings >= 1 || bits > 24)); /* 31 of them last for seconds */
        tarn_log_set(NULL, NULL, TARN_LOG_NONE);
        check_work(&s);
        shared_close(&s);
    }
}

static void a_driver_without_times_is_fine(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        s.silent = true;
        CHECK(shared_run(&s, 500000, pause_for(&s, 0.3)) == TARN_OK);
        s.worst_block = 0;
        double kept = busy_share(&s, 1000000, pause_for(&s, 0.3));
        printf("# %s without times: training has %.2f\n", boards[b], kept);
        CHECK(kept > 0.3);
        struct tarn_share_stats stats = stats_of(&s);
        CHECK(s.worst_block <=
              stats.in_flight * (stats.quantum_us * 1.2e3 + (double)s.w.model.gap_ns));
        check_work(&s);
        shared_close(&s);
    }
}

static void a_clock_that_jumps_does_no_harm(void)
{
    static const int64_t jumps[] = {3600000000000, -1800000000000, 50000000, -40000000};
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        s.jump_ns = 10000000000000; /* so that it can go back */
        CHECK(shared_run(&s, 300000, pause_for(&s, 0.3)) == TARN_OK);
        for (int j = 0; j < 4; j++) {
            s.jump_ns += jumps[j];
            CHECK(shared_run(&s, 200000, pause_for(&s, 0.3)) == TARN_OK);
            s.worst_block = 0;
            CHECK(busy_share(&s, 300000, pause_for(&s, 0.3)) > 0.6);
            CHECK(s.worst_block <= stats_of(&s).quantum_us * 2.1e3 + 60e3);
        }
        check_work(&s);
        shared_close(&s);
    }
}

static void a_failure_stops_the_work_until_it_is_resumed(void)
{
    struct shared s;
    REQUIRE(shared_open(&s, boards[JETSON], 10, NULL));
    CHECK(shared_run(&s, 200000, pause_for(&s, 0.3)) == TARN_OK);
    s.broken = TARN_DEVICE_MEMORY;
    CHECK(shared_run(&s, 50000, pause_for(&s, 0.3)) == TARN_DEVICE_MEMORY);
    CHECK(stats_of(&s).failure == TARN_DEVICE_MEMORY);
    uint64_t slices = stats_of(&s).slices;
    uint32_t answered = s.latencies;
    shared_run(&s, 50000, pause_for(&s, 0.3));
    CHECK_NUMBER(stats_of(&s).slices, slices);
    CHECK(s.latencies > answered + 100); /* lookups go on */
    s.broken = TARN_OK;
    while (s.count > 0) {
        struct tarn_share_slice slice;
        CHECK(shared_poll(&s, TARN_FOREVER, &slice) == TARN_OK);
    }
    tarn_share_resume(s.share);
    CHECK(shared_run(&s, 200000, pause_for(&s, 0.3)) == TARN_OK);
    CHECK(stats_of(&s).slices > slices + 100);
    check_work(&s);
    shared_close(&s);
}

static void a_lost_device_is_told(void)
{
    for (int hang = 0; hang < 2; hang++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[MALI], 10, NULL));
        CHECK(shared_run(&s, 200000, pause_for(&s, 0.3)) == TARN_OK);
        struct tarn_virtual_faults faults = {.kernel = "tiles"};
        *(hang ? &faults.hang_at : &faults.lose_at) = 5;
        CHECK(tarn_virtual_set_faults(s.w.bench.device, &faults) == TARN_OK);
        CHECK(shared_run(&s, 2000000, 0) == TARN_DEVICE_LOST);
        CHECK(tarn_device_is_lost(s.w.bench.device));
        uint64_t next;
        CHECK(tarn_share_stop(s.share, 1000) == TARN_DEVICE_LOST);
        CHECK(tarn_share_pump(s.share, &next) == TARN_DEVICE_LOST);
        CHECK(stats_of(&s).failure == TARN_DEVICE_LOST);
        shared_close(&s);
    }
}

static void work_that_ends_is_asked_for_again(void)
{
    struct shared s;
    REQUIRE(shared_open(&s, boards[MALI], 10, NULL));
    s.job.tiles = 100;
    s.jobs = 3;
    CHECK(shared_run(&s, 500000, 0) == TARN_OK);
    CHECK_NUMBER(s.units, 300);
    s.jobs = 2;
    tarn_share_kick(s.share);
    CHECK(shared_run(&s, 20000, 0) == TARN_OK);
    CHECK_NUMBER(s.units, 400);
    check_work(&s);
    shared_close(&s);
}

static void training_can_be_switched_off(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(shared_run(&s, 200000, pause_for(&s, 0.3)) == TARN_OK);
        tarn_share_set_training(s.share, false);
        CHECK(shared_run(&s, 3000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK_NUMBER(s.count, 0);
        uint64_t slices = stats_of(&s).slices;
        CHECK(shared_run(&s, 100000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK_NUMBER(stats_of(&s).slices, slices);
        tarn_share_set_training(s.share, true);
        CHECK(shared_run(&s, 300000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK(stats_of(&s).slices > slices + 100);
        check_work(&s);
        shared_close(&s);
    }
}

/* Training that makes lookups miss their budget takes less, until they keep it. */
static void a_budget_is_kept(void)
{
    struct shared s;
    REQUIRE(shared_open(&s, boards[VIDEOCORE], 10, NULL));
    CHECK(shared_run(&s, 500000, pause_for(&s, 0.3)) == TARN_OK);
    double before = stats_of(&s).p99_us;
    shared_close(&s);
    const struct tarn_share_params tight = {.latency_budget_us = (uint32_t)(before * 0.9)};
    REQUIRE(shared_open(&s, boards[VIDEOCORE], 10, &tight));
    CHECK(shared_run(&s, 3000000, pause_for(&s, 0.3)) == TARN_OK);
    s.latencies = s.latencies > MOST_LOOKUPS ? s.latencies : s.latencies;
    CHECK(shared_quantile(&s, 0.99) <= 0.95 * before);
    CHECK(stats_of(&s).slices > 1000);
    shared_close(&s);
}

static void wrong_arguments_are_refused(void)
{
    struct shared s;
    struct tarn_share *share = NULL;
    struct tarn_error error = {0};
    const struct tarn_share_work nothing = {.name = "nothing"};
    CHECK(tarn_share_create(&(struct tarn_share_params){0}, &share, &error) == TARN_INVALID);
    CHECK(tarn_share_create(&(struct tarn_share_params){.work = &nothing}, &share, &error) ==
          TARN_INVALID);
    CHECK(error.message[0] != '\0' && share == NULL);
    const struct tarn_share_params many = {.in_flight = TARN_SHARE_MOST_SLICES + 1};
    CHECK(!shared_open(&s, boards[MALI], 10, &many));
    shared_close(&s);
    tarn_share_destroy(&share);
}

/* Lookups without a pause, then silence: training begins when it has lasted for the dwell time. */
static void quiet_becomes_training_after_the_dwell_time(void)
{
    for (int b = 0; b < BOARDS; b++) {
        for (uint32_t dwell_us = 50000; dwell_us <= 1600000; dwell_us *= 8) {
            struct shared s;
            const struct tarn_share_params params = {.dwell_us = dwell_us};
            REQUIRE(shared_open(&s, boards[b], 10, &params));
            s.lookup_us = 200;
            CHECK(shared_run(&s, dwell_us * 2, pause_for(&s, 0.95)) == TARN_OK);
            CHECK(stats_of(&s).state == TARN_SHARE_BUSY && stats_of(&s).slices == 0);
            uint64_t begun = tarn_virtual_now(s.w.bench.device);
            while (stats_of(&s).slices == 0 &&
                   tarn_virtual_now(s.w.bench.device) - begun < 3000 * (uint64_t)dwell_us)
                shared_run(&s, 200, 0);
            double took_us = (double)(tarn_virtual_now(s.w.bench.device) - begun) * 1e-3;
            printf("# %s: %.3f of the dwell time of %u us\n", boards[b], took_us / dwell_us,
                   dwell_us);
            CHECK(took_us > 0.9 * dwell_us && took_us < 1.1 * dwell_us + 10e3);
            shared_close(&s);
        }
    }
}

/* From an idle device's first lookup on: slices of the idle size are gone within what was in flight. */
static void a_burst_gets_the_device_at_once(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(shared_run(&s, 400000, 0) == TARN_OK);
        struct tarn_share_stats stats = stats_of(&s);
        CHECK(stats.idle && stats.state == TARN_SHARE_TRAINING);
        uint64_t begun = tarn_virtual_now(s.w.bench.device), gone = 0;
        s.lookup_us = 200;
        for (int i = 0; i < 200 && gone == 0; i++) {
            CHECK(shared_run(&s, 20, 50) == TARN_OK);
            if (s.count == 0)
                gone = tarn_virtual_now(s.w.bench.device);
        }
        printf("# %s: gone after %.1f us, %u slices of %u us\n", boards[b],
               (double)(gone - begun) * 1e-3, stats.in_flight, stats.quantum_us);
        CHECK(gone > 0 &&
              gone - begun <= stats.in_flight * stats.quantum_us * UINT64_C(1000) + 1000000);
        CHECK(stats_of(&s).state != TARN_SHARE_TRAINING);
        CHECK(shared_run(&s, 20000, 210) == TARN_OK); /* it lasts */
        CHECK_NUMBER(s.count, 0);
        CHECK(stats_of(&s).state == TARN_SHARE_BUSY || stats_of(&s).state == TARN_SHARE_QUIET);
        shared_close(&s);
    }
}

/* The clock goes up and down with the load, and with it what a tile takes. */
static void a_changing_clock_is_followed(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        REQUIRE(shared_open(&s, boards[b], 10, NULL));
        CHECK(tarn_virtual_set_governor(s.w.bench.device, true) == TARN_OK);
        CHECK(shared_run(&s, 300000, pause_for(&s, 0.1)) == TARN_OK);
        for (int i = 0; i < 6; i++) { /* silence and load in turns */
            tarn_share_set_training(s.share, i % 2 == 0);
            s.worst_block = 0;
            CHECK(shared_run(&s, 400000, pause_for(&s, i % 2 == 0 ? 0.25 : 0.02)) == TARN_OK);
            struct tarn_share_stats stats = stats_of(&s);
            CHECK(s.worst_block <=
                  stats.in_flight * (stats.quantum_us * 1e3 + (double)s.w.model.gap_ns));
        }
        CHECK(stats_of(&s).slices > 500);
        check_work(&s);
        shared_close(&s);
    }
}

/* Above the upper threshold there is no training at all, and lookups are as alone. */
static void a_device_that_is_full_is_left_to_lookups(void)
{
    for (int b = 0; b < BOARDS; b++) {
        struct shared s;
        const struct tarn_share_params params = {.dwell_us = 200000};
        REQUIRE(shared_open(&s, boards[b], 10, &params));
        s.lookup_us = 200;
        CHECK(shared_run(&s, 600000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK(stats_of(&s).state == TARN_SHARE_TRAINING);
        CHECK(shared_run(&s, 200000, pause_for(&s, 0.98)) == TARN_OK);
        CHECK(stats_of(&s).state == TARN_SHARE_BUSY);
        uint64_t slices = stats_of(&s).slices;
        CHECK(shared_run(&s, 400000, pause_for(&s, 0.98)) == TARN_OK);
        CHECK_NUMBER(stats_of(&s).slices, slices);
        CHECK(shared_run(&s, 800000, pause_for(&s, 0.3)) == TARN_OK);
        CHECK(stats_of(&s).state == TARN_SHARE_TRAINING && stats_of(&s).slices > slices);
        CHECK(strstr(stats_of(&s).reason, "training") != NULL);
        shared_close(&s);
    }
}

static bool heard_of_heat;

static void listen(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    heard_of_heat |= level == TARN_LOG_INFO && strstr(message, "too hot") != NULL;
}

/* What is known from outside: a gate that is closed, and a limit. */
static void heat_and_batteries_have_a_say(void)
{
    struct shared s;
    REQUIRE(shared_open(&s, boards[JETSON], 10, NULL));
    CHECK(shared_run(&s, 300000, 0) == TARN_OK);
    double all = busy_share(&s, 400000, 0);
    tarn_share_set_limit(s.share, 0.2f);
    CHECK(shared_run(&s, 50000, 0) == TARN_OK);
    double limited = busy_share(&s, 400000, 0);
    CHECK(all > 0.9 && limited > 0.17 && limited < 0.23);
    tarn_share_set_limit(s.share, 0);
    CHECK(shared_run(&s, 20000, 0) == TARN_OK);
    CHECK_NUMBER(busy_share(&s, 100000, 0), 0);
    tarn_share_set_limit(s.share, 1);
    CHECK(shared_run(&s, 50000, 0) == TARN_OK);
    CHECK(busy_share(&s, 200000, 0) > 0.9);
    tarn_log_set(listen, NULL, TARN_LOG_INFO);
    tarn_share_set_activity(s.share, NAN, NAN, "too hot");
    CHECK(shared_run(&s, 20000, 0) == TARN_OK);
    CHECK_NUMBER(busy_share(&s, 100000, 0), 0);
    CHECK(heard_of_heat);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    tarn_share_set_activity(s.share, NAN, NAN, NULL);
    CHECK(shared_run(&s, 800000, 0) == TARN_OK);
    CHECK(busy_share(&s, 200000, 0) > 0.9);
    /* others on the device, as its driver shows it */
    tarn_share_set_activity(s.share, 1.0f, NAN, NULL);
    CHECK(shared_run(&s, 400000, 0) == TARN_OK);
    tarn_share_set_activity(s.share, NAN, 0.99f, NULL);
    CHECK(shared_run(&s, 400000, 0) == TARN_OK);
    CHECK(stats_of(&s).state != TARN_SHARE_TRAINING);
    shared_close(&s);
}

static void a_pattern_is_kept(void)
{
    struct shared s;
    uint8_t bytes[TARN_SHARE_PATTERN_BYTES], again[TARN_SHARE_PATTERN_BYTES];
    REQUIRE(shared_open(&s, boards[MALI], 10, NULL));
    tarn_share_get_pattern(s.share, bytes);
    CHECK(tarn_share_set_pattern(s.share, bytes, sizeof bytes) == TARN_OK);
    CHECK(tarn_share_set_pattern(s.share, bytes, sizeof bytes - 1) == TARN_CORRUPT);
    bytes[100] ^= 1;
    CHECK(tarn_share_set_pattern(s.share, bytes, sizeof bytes) == TARN_CORRUPT);
    bytes[100] ^= 1;
    tarn_share_get_pattern(s.share, again);
    CHECK(memcmp(bytes, again, sizeof bytes) == 0);
    shared_close(&s);
}

static int allocations;

static bool count_allocation(size_t size)
{
    (void)size;
    allocations++;
    return true;
}

static void nothing_is_allocated_once_it_runs(void)
{
    struct shared s;
    REQUIRE(shared_open(&s, boards[MALI], 10, NULL));
    tarn_memory_set_hook(count_allocation);
    CHECK(shared_run(&s, 500000, pause_for(&s, 0.3)) == TARN_OK);
    tarn_memory_set_hook(NULL);
    CHECK_NUMBER(allocations, 0);
    shared_close(&s);
}

CHECK_MAIN(CASE(lookups_wait_for_one_slice), CASE(a_flag_that_nobody_sees_is_no_promise),
           CASE(what_is_measured_is_what_is_there), CASE(training_is_not_starved),
           CASE(an_idle_device_is_trainings), CASE(frames_are_not_missed),
           CASE(a_throttled_device_is_left_alone), CASE(times_that_wrap_are_not_believed),
           CASE(a_driver_without_times_is_fine), CASE(a_clock_that_jumps_does_no_harm),
           CASE(a_failure_stops_the_work_until_it_is_resumed), CASE(a_lost_device_is_told),
           CASE(work_that_ends_is_asked_for_again), CASE(training_can_be_switched_off),
           CASE(a_budget_is_kept), CASE(quiet_becomes_training_after_the_dwell_time),
           CASE(a_burst_gets_the_device_at_once), CASE(a_changing_clock_is_followed),
           CASE(a_device_that_is_full_is_left_to_lookups), CASE(heat_and_batteries_have_a_say),
           CASE(a_pattern_is_kept), CASE(wrong_arguments_are_refused),
           CASE(nothing_is_allocated_once_it_runs))
