/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arbiter's thread against those that look up, switch and watch, for TSan and ASan. The device is a
 * thread that serves one queue in order; its units of work are numbered, so that none is lost or done
 * twice, whenever a slice is stopped, fails or is left behind.
 */
#include "../check.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <tarn/log.h>
#include <tarn/share.h>
#include <time.h>

#include "base/clock.h"

#define UNIT_NS   20000
#define LOOKUP_NS 20000
#define DWELL_US  20000
#define MOST_US   UINT64_C(10000000) /* for what takes milliseconds on a machine of one's own */

enum { ROOM = 64, LOOKERS = 3, UNITS = 1 << 20 };

struct task {
    bool lookup;
    uint32_t ticket, units; /* asked for */
    atomic_bool *answered;
};

/* All under the lock. */
struct device {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    struct task task[ROOM];
    uint32_t first, count;
    struct tarn_share_slice ended[ROOM]; /* slices that nobody took yet */
    uint32_t ended_first, ended_count;
    uint32_t slices, most_slices; /* in flight, and the most that ever were */
    uint32_t stopped;             /* slices up to this ticket leave */
    uint32_t left;                /* units that no slice has done */
    uint32_t flying;              /* units asked for by slices in flight */
    uint64_t done, lookups;
    bool paused, leave, use_times;
    tarn_status broken_submit, broken_poll;
    atomic_int inside; /* the work's functions */
    atomic_bool overlapped;
};

static struct device d;

static void pause_ns(uint64_t ns)
{
    struct timespec time = {0, (long)ns};
    nanosleep(&time, NULL);
}

static void enter(void)
{
    if (atomic_fetch_add(&d.inside, 1) != 0)
        atomic_store(&d.overlapped, true);
}

static void leave(void)
{
    atomic_fetch_sub(&d.inside, 1);
}

/* With the lock, which it lets go while time passes. */
static void run_slice(const struct task *task)
{
    struct tarn_share_slice slice = {.start_ns = tarn_clock_ns()};
    while (slice.units < task->units && (int32_t)(d.stopped - task->ticket) < 0) {
        pthread_mutex_unlock(&d.lock);
        pause_ns(UNIT_NS);
        pthread_mutex_lock(&d.lock);
        slice.units++;
    }
    d.left -= slice.units;
    d.flying -= task->units;
    d.done += slice.units;
    slice.end_ns = tarn_clock_ns();
    if (!d.use_times)
        slice.start_ns = slice.end_ns = 0;
    d.ended[(d.ended_first + d.ended_count++) % ROOM] = slice;
}

static void *serve(void *context)
{
    (void)context;
    prctl(PR_SET_TIMERSLACK, 1000);
    pthread_mutex_lock(&d.lock);
    for (;;) {
        while ((d.count == 0 || d.paused) && !d.leave)
            pthread_cond_wait(&d.changed, &d.lock);
        if (d.leave && d.count == 0)
            break;
        struct task task = d.task[d.first];
        if (task.lookup) {
            pthread_mutex_unlock(&d.lock);
            pause_ns(LOOKUP_NS);
            pthread_mutex_lock(&d.lock);
            d.lookups++;
            atomic_store(task.answered, true);
        } else {
            run_slice(&task);
        }
        d.first = (d.first + 1) % ROOM;
        d.count--;
        pthread_cond_broadcast(&d.changed);
    }
    pthread_mutex_unlock(&d.lock);
    return NULL;
}

static void add(struct task task)
{
    while (d.count == ROOM)
        pthread_cond_wait(&d.changed, &d.lock);
    d.task[(d.first + d.count++) % ROOM] = task;
    pthread_cond_broadcast(&d.changed);
}

static tarn_status submit(void *user, uint32_t ticket, uint32_t units, uint32_t *submitted)
{
    (void)user;
    enter();
    pthread_mutex_lock(&d.lock);
    tarn_status status = d.broken_submit;
    uint32_t left = d.left - d.flying;
    *submitted = status != TARN_OK ? 0 : units < left ? units : left;
    if (*submitted > 0) {
        d.flying += *submitted;
        d.slices++;
        d.most_slices = d.slices > d.most_slices ? d.slices : d.most_slices;
        add((struct task){.ticket = ticket, .units = *submitted});
    }
    pthread_mutex_unlock(&d.lock);
    leave();
    return status;
}

static tarn_status poll(void *user, uint64_t timeout_us, struct tarn_share_slice *slice)
{
    (void)user;
    enter();
    uint64_t until_ns = tarn_clock_ns() + timeout_us * 1000;
    struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    tarn_status status = TARN_OK;
    pthread_mutex_lock(&d.lock);
    while (d.ended_count == 0 && d.broken_poll == TARN_OK && status == TARN_OK)
        if (timeout_us == 0 || pthread_cond_timedwait(&d.changed, &d.lock, &until) != 0)
            status = TARN_TIMEOUT;
    if (d.broken_poll != TARN_OK) { /* nothing is in flight then, says the contract */
        while (d.count > 0)
            pthread_cond_wait(&d.changed, &d.lock);
        d.ended_count = d.slices = 0;
        status = d.broken_poll;
    } else if (d.ended_count > 0) {
        *slice = d.ended[d.ended_first];
        d.ended_first = (d.ended_first + 1) % ROOM;
        d.ended_count--;
        d.slices--;
        status = TARN_OK;
    }
    pthread_mutex_unlock(&d.lock);
    leave();
    return status;
}

static void stop_slices(void *user, uint32_t ticket)
{
    (void)user;
    pthread_mutex_lock(&d.lock);
    if ((int32_t)(ticket - d.stopped) > 0)
        d.stopped = ticket;
    pthread_mutex_unlock(&d.lock);
}

static bool device_open(void)
{
    memset(&d, 0, sizeof d);
    d.left = UNITS;
    d.use_times = true;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&d.lock, NULL);
    pthread_cond_init(&d.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return pthread_create(&d.thread, NULL, serve, NULL) == 0;
}

static void set(bool *flag, bool value)
{
    pthread_mutex_lock(&d.lock);
    *flag = value;
    pthread_cond_broadcast(&d.changed);
    pthread_mutex_unlock(&d.lock);
}

static void break_down(tarn_status *broken, tarn_status status)
{
    pthread_mutex_lock(&d.lock);
    *broken = status;
    pthread_cond_broadcast(&d.changed);
    pthread_mutex_unlock(&d.lock);
}

static uint64_t done_so_far(void)
{
    pthread_mutex_lock(&d.lock);
    uint64_t done = d.done;
    pthread_mutex_unlock(&d.lock);
    return done;
}

/* Whatever is left runs to its end; nothing may have been lost or done twice. */
static void device_close(void)
{
    set(&d.leave, true);
    pthread_join(d.thread, NULL);
    CHECK_NUMBER(d.done + d.left, UNITS);
    CHECK_NUMBER(d.flying, 0);
    CHECK(!atomic_load(&d.overlapped));
    pthread_cond_destroy(&d.changed);
    pthread_mutex_destroy(&d.lock);
}

static tarn_share *share_open(bool with_stop, uint32_t in_flight)
{
    tarn_share *share = NULL;
    const struct tarn_share_work work = {
        .name = "units", .submit = submit, .poll = poll, .stop = with_stop ? stop_slices : NULL};
    /* the work is copied: it need not outlive this call */
    CHECK(tarn_share_create(&(struct tarn_share_params){.work = &work,
                                                        .dwell_us = DWELL_US,
                                                        .low = 0.7f,
                                                        .high = 0.95f,
                                                        .in_flight = in_flight},
                            &share, NULL) == TARN_OK);
    return share;
}

static struct tarn_share_stats stats_of(tarn_share *share)
{
    struct tarn_share_stats stats;
    tarn_share_get_stats(share, &stats);
    return stats;
}

static bool train_until(tarn_share *share, uint64_t slices)
{
    for (uint64_t end = tarn_clock_ns() + MOST_US * 1000; tarn_clock_ns() < end; pause_ns(1000000))
        if (stats_of(share).slices >= slices)
            return true;
    return false;
}

/* ---- those beside it ---- */

struct looker {
    pthread_t thread;
    tarn_share *share;
    atomic_bool *over;
    uint64_t lookups;
    bool knows_times;
};

static void look_up(struct looker *l)
{
    atomic_bool answered = false;
    uint64_t name = tarn_share_arrive(l->share);
    pthread_mutex_lock(&d.lock);
    add((struct task){.lookup = true, .answered = &answered});
    while (!atomic_load(&answered))
        pthread_cond_wait(&d.changed, &d.lock);
    pthread_mutex_unlock(&d.lock);
    tarn_share_depart(l->share, name, l->knows_times ? LOOKUP_NS : 0);
    l->lookups++;
}

static void *look_on(void *context)
{
    struct looker *l = context;
    while (!atomic_load(l->over)) {
        look_up(l);
        pause_ns(1500000);
    }
    return NULL;
}

static void start_lookers(struct looker l[LOOKERS], tarn_share *share, atomic_bool *over)
{
    for (int i = 0; i < LOOKERS; i++) {
        l[i] = (struct looker){.share = share, .over = over, .knows_times = i > 0};
        CHECK(pthread_create(&l[i].thread, NULL, look_on, &l[i]) == 0);
    }
}

static uint64_t end_lookers(struct looker l[LOOKERS], atomic_bool *over)
{
    uint64_t lookups = 0;
    atomic_store(over, true);
    for (int i = 0; i < LOOKERS; i++) {
        pthread_join(l[i].thread, NULL);
        lookups += l[i].lookups;
    }
    return lookups;
}

/* ---- cases ---- */

static void meddle(tarn_share *share, int turn)
{
    static uint8_t pattern[TARN_SHARE_PATTERN_BYTES];
    static const char *const reasons[] = {NULL, NULL, NULL, "it is hot"};
    switch (turn % 6) {
    case 0:
        tarn_share_set_training(share, turn % 12 == 0);
        break;
    case 1:
        tarn_share_set_activity(share, 0.1f * (float)(turn % 5), NAN, reasons[turn / 6 % 4]);
        break;
    case 2:
        tarn_share_get_pattern(share, pattern);
        break;
    case 3:
        CHECK(tarn_share_set_pattern(share, pattern, sizeof pattern) == TARN_OK);
        CHECK(tarn_share_set_pattern(share, pattern, sizeof pattern - 1) == TARN_CORRUPT);
        break;
    case 4:
        tarn_share_kick(share);
        break;
    default:
        CHECK(stats_of(share).failure == TARN_OK);
    }
}

static void everybody_at_once(void)
{
    for (uint32_t most = 1; most <= TARN_SHARE_MOST_SLICES; most++) {
        struct looker lookers[LOOKERS];
        atomic_bool over = false;
        REQUIRE(device_open());
        d.use_times = most != 2;
        tarn_share *share = share_open(most != 3, most);
        CHECK(tarn_share_start(share) == TARN_OK);
        CHECK(tarn_share_start(share) == TARN_OK); /* which it does already */
        start_lookers(lookers, share, &over);
        for (int turn = 0; turn < 240; turn++) {
            meddle(share, turn);
            pause_ns(1000000);
        }
        tarn_share_set_activity(share, 0, 0, NULL);
        tarn_share_set_training(share, true);
        CHECK(train_until(share, stats_of(share).slices + 20));
        uint64_t lookups = end_lookers(lookers, &over);
        CHECK(tarn_share_stop(share, MOST_US) == TARN_OK);
        struct tarn_share_stats stats = stats_of(share);
        CHECK_NUMBER(stats.units, done_so_far());
        CHECK_NUMBER(stats.arrivals, lookups);
        CHECK_NUMBER(d.lookups, lookups);
        CHECK_NUMBER(d.slices, 0);
        CHECK(d.most_slices >= 1 && d.most_slices <= most);
        CHECK(isfinite(stats.p50_us) && stats.p99_us >= stats.p50_us);
        tarn_share_destroy(&share);
        CHECK(share == NULL);
        device_close();
    }
}

static void it_stops_and_starts_again(void)
{
    struct looker lookers[LOOKERS];
    atomic_bool over = false;
    REQUIRE(device_open());
    tarn_share *share = share_open(true, 0);
    start_lookers(lookers, share, &over); /* before, between and after */
    for (int i = 0; i < 5; i++) {
        CHECK(tarn_share_start(share) == TARN_OK);
        CHECK(train_until(share, stats_of(share).slices + 5));
        CHECK(tarn_share_stop(share, MOST_US) == TARN_OK);
        CHECK_NUMBER(stats_of(share).units, done_so_far());
        uint64_t slices = stats_of(share).slices;
        pause_ns(5000000);
        CHECK_NUMBER(stats_of(share).slices, slices);
        CHECK(tarn_share_stop(share, 0) == TARN_OK); /* of what doesn't run: fine */
    }
    end_lookers(lookers, &over);
    tarn_share_destroy(&share);
    device_close();
}

static void a_device_that_hangs_does_not_hold_us(void)
{
    REQUIRE(device_open());
    tarn_share *share = share_open(false, 2);
    CHECK(tarn_share_start(share) == TARN_OK);
    CHECK(train_until(share, 10));
    set(&d.paused, true);
    pause_ns(30000000);
    uint64_t begin = tarn_clock_ns();
    CHECK(tarn_share_stop(share, 50000) == TARN_TIMEOUT);
    CHECK(tarn_clock_ns() - begin < UINT64_C(2000000000));
    set(&d.paused, false);
    CHECK(tarn_share_stop(share, MOST_US) == TARN_OK);
    CHECK_NUMBER(stats_of(share).units, done_so_far());
    CHECK_NUMBER(d.slices, 0);
    tarn_share_destroy(&share);
    device_close();
}

static void destroyed_under_way(void)
{
    for (int i = 0; i < 8; i++) {
        REQUIRE(device_open());
        tarn_share *share = share_open(i % 2 == 0, 0);
        CHECK(tarn_share_start(share) == TARN_OK);
        if (i >= 4)
            CHECK(train_until(share, 3));
        else
            pause_ns((uint64_t)i * 300000);
        tarn_share_destroy(&share);
        device_close(); /* the caller waits for what is in flight */
    }
}

static atomic_int warnings;

static void count_warnings(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    (void)message;
    atomic_fetch_add(&warnings, 1);
}

static bool fail_until(tarn_share *share)
{
    for (uint64_t end = tarn_clock_ns() + MOST_US * 1000; tarn_clock_ns() < end; pause_ns(1000000))
        if (stats_of(share).failure != TARN_OK)
            return true;
    return false;
}

static void a_failure_is_told_once_and_mended(void)
{
    for (int i = 0; i < 2; i++) {
        struct looker lookers[LOOKERS];
        atomic_bool over = false;
        tarn_status *broken = i == 0 ? &d.broken_submit : &d.broken_poll;
        REQUIRE(device_open());
        tarn_share *share = share_open(true, 0);
        CHECK(tarn_share_start(share) == TARN_OK);
        start_lookers(lookers, share, &over);
        CHECK(train_until(share, 20));
        tarn_log_set(count_warnings, NULL, TARN_LOG_WARNING);
        atomic_store(&warnings, 0);
        break_down(broken, TARN_DEVICE_LOST);
        CHECK(fail_until(share));
        CHECK(stats_of(share).failure == TARN_DEVICE_LOST);
        uint64_t slices = stats_of(share).slices, arrivals = stats_of(share).arrivals;
        for (int k = 0; k < 20; k++) {
            tarn_share_kick(share); /* which is no cure */
            pause_ns(1000000);
        }
        CHECK(stats_of(share).slices == slices && stats_of(share).arrivals > arrivals);
        CHECK_NUMBER(atomic_load(&warnings), 1);
        tarn_log_set(NULL, NULL, TARN_LOG_NONE);
        break_down(broken, TARN_OK);
        pthread_mutex_lock(&d.lock); /* what flew when a submit failed is the caller's */
        while (d.flying > 0)
            pthread_cond_wait(&d.changed, &d.lock);
        d.ended_count = d.slices = 0;
        pthread_mutex_unlock(&d.lock);
        tarn_share_resume(share);
        CHECK(train_until(share, slices + 20));
        CHECK(stats_of(share).failure == TARN_OK);
        end_lookers(lookers, &over);
        CHECK(tarn_share_stop(share, MOST_US) == TARN_OK);
        tarn_share_destroy(&share);
        device_close();
    }
}

static void work_that_ends_waits_for_a_kick(void)
{
    REQUIRE(device_open());
    pthread_mutex_lock(&d.lock);
    d.left = 50;
    pthread_mutex_unlock(&d.lock);
    tarn_share *share = share_open(true, 0);
    CHECK(tarn_share_start(share) == TARN_OK);
    for (uint32_t more = 0; more < 3; more++) {
        for (uint64_t end = tarn_clock_ns() + MOST_US * 1000;
             tarn_clock_ns() < end && stats_of(share).units < 50 * (more + 1); pause_ns(1000000))
            ;
        CHECK_NUMBER(stats_of(share).units, 50 * (more + 1));
        pthread_mutex_lock(&d.lock);
        d.left += more < 2 ? 50 : UNITS - 150;
        pthread_mutex_unlock(&d.lock);
        if (more < 2)
            tarn_share_kick(share);
    }
    CHECK(tarn_share_stop(share, MOST_US) == TARN_OK);
    tarn_share_destroy(&share);
    device_close();
}

CHECK_MAIN(CASE(everybody_at_once), CASE(it_stops_and_starts_again),
           CASE(a_device_that_hangs_does_not_hold_us), CASE(destroyed_under_way),
           CASE(a_failure_is_told_once_and_mended), CASE(work_that_ends_waits_for_a_kick))
