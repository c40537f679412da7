/* SPDX-License-Identifier: Apache-2.0 */
/* One block of `tarn bench share`: so many lookups in one way of sharing. */
#include "share_bench.h"

#include <math.h>
#include <tarn/virtual.h>

#include "base/clock.h"

#define LEAST_PAUSE_NS 200000 /* between two lookups of a real device, on the mean */
#define STEP_NS        5000   /* how finely a simulated lookup's end is seen */
#define DWELL_US       100000
#define WARM_UP_NS     300000000
#define MOST_WARM_UP   20000
#define MOST_NAIVE_NS  2000000000 /* a block in which each lookup waits for a backlog */

/* ---- one block of one way ---- */

struct block {
    struct tarn_share_bench *bench;
    struct tarn_share_way *way;
    struct tarn_rig *rig;
    tarn_share *share; /* the arbiter's way */
    struct tarn_rng rng;
    double mean_pause_ns;
    uint64_t begun_ns, next_ns; /* the next arrival */
    uint64_t last_end_ns;       /* of the lookup before, by the device */
    uint64_t pump_ns;
    uint32_t left, pending, first; /* to arrive; arrived and not done, from `first` on */
    struct {
        tarn_event *event;
        uint64_t arrived_ns, name;
    } lookup[1024];
    double steps_before;
    bool warm; /* nothing is counted yet */
    /* the timeline of who had the device */
    uint64_t window_ns, window_end_ns, seen_lookup_ns, seen_train_ns;
};

/* Device time of lookups and of training so far. */
static void read_busy(struct block *b, uint64_t *lookup_ns, uint64_t *train_ns)
{
    struct tarn_virtual_stats virtual;
    struct tarn_share_stats stats;
    if (b->rig->simulated && tarn_virtual_get_stats(b->rig->device, &virtual) == TARN_OK) {
        *lookup_ns = virtual.busy_ns[TARN_PRIORITY_HIGH];
        *train_ns = virtual.busy_ns[TARN_PRIORITY_LOW];
        return;
    }
    tarn_share_get_stats(b->share, &stats);
    *lookup_ns = b->way->lookup_ns;
    *train_ns = stats.slice_ns;
}

/* Under the arbiter: a point of the timeline when a window is over. */
static void follow_time(struct block *b)
{
    struct tarn_share_bench *bench = b->bench;
    uint64_t now = tarn_rig_now(b->rig), lookup_ns, train_ns;
    if (b->way->kind != TARN_SHARE_ARBITER || b->warm || now < b->window_end_ns ||
        bench->points == TARN_SHARE_POINTS)
        return;
    read_busy(b, &lookup_ns, &train_ns);
    if (b->window_end_ns > 0) {
        double ns = (double)(now - b->window_end_ns + b->window_ns);
        bench->timeline[bench->points++] = (struct tarn_share_point){
            .at_ms = (double)(now - b->begun_ns) * 1e-6,
            .lookups = (double)(lookup_ns - b->seen_lookup_ns) / ns,
            .training = (double)(train_ns - b->seen_train_ns) / ns,
        };
    }
    b->window_ns = (uint64_t)(b->mean_pause_ns * (double)b->bench->window);
    b->window_end_ns = now + b->window_ns;
    b->seen_lookup_ns = lookup_ns;
    b->seen_train_ns = train_ns;
}

static uint64_t draw_pause(struct block *b)
{
    return (uint64_t)(-log(1 - tarn_rng_double(&b->rng)) * b->mean_pause_ns);
}

static void add_latency(struct block *b, uint64_t ns)
{
    struct tarn_share_way *way = b->way;
    if (b->warm || way->count == way->room)
        return;
    way->latency_us[way->count++] = (double)ns * 1e-3;
}

static tarn_status arrive(struct block *b, uint64_t arrived_ns)
{
    uint32_t at = (b->first + b->pending) % 1024;
    if (b->share != NULL)
        b->lookup[at].name = tarn_share_arrive(b->share);
    b->lookup[at].arrived_ns = arrived_ns;
    tarn_status status = tarn_rig_lookup(b->rig, &b->lookup[at].event);
    b->pending += status == TARN_OK;
    b->left--;
    return status;
}

/* Takes the oldest lookup, which has ended. */
static tarn_status depart(struct block *b)
{
    struct tarn_event_times times;
    tarn_event **event = &b->lookup[b->first].event;
    tarn_status status = tarn_event_wait(*event, TARN_FOREVER);
    if (status != TARN_OK)
        return status;
    bool timed = tarn_event_get_times(*event, &times) == TARN_OK;
    uint64_t end = b->rig->simulated ? times.end_ns : tarn_clock_ns();
    uint64_t arrived = b->lookup[b->first].arrived_ns;
    add_latency(b, end - arrived);
    if (b->rig->simulated && b->share != NULL && !b->warm) {
        uint64_t could = arrived + b->rig->submit_ns;
        if (b->last_end_ns > 0 && b->last_end_ns + b->rig->gap_ns > could)
            could = b->last_end_ns + b->rig->gap_ns;
        double blocked = times.start_ns > could ? (double)(times.start_ns - could) * 1e-3 : 0;
        if (blocked > b->bench->blocking_max_us)
            b->bench->blocking_max_us = blocked;
    }
    b->last_end_ns = timed ? times.end_ns : 0;
    if (b->share != NULL)
        tarn_share_depart(b->share, b->lookup[b->first].name,
                          timed ? times.end_ns - times.start_ns : 0);
    b->way->lookup_ns += timed && !b->warm ? times.end_ns - times.start_ns + b->rig->gap_ns : 0;
    tarn_event_release(event);
    b->first = (b->first + 1) % 1024;
    b->pending--;
    return TARN_OK;
}

/* On simulated devices the counter of ended launches says for free whether something ended. */
static uint32_t ended(struct block *b, uint64_t before)
{
    struct tarn_virtual_stats stats;
    if (tarn_virtual_get_stats(b->rig->device, &stats) != TARN_OK)
        return 0;
    return (uint32_t)(stats.launches[TARN_PRIORITY_HIGH] - before);
}

static tarn_status feed(struct block *b)
{
    if (b->share != NULL)
        return tarn_share_pump(b->share, &b->pump_ns);
    b->pump_ns = TARN_SHARE_NEVER;
    return b->way->kind == TARN_SHARE_NAIVE ? tarn_rig_feed_backlog(b->rig, b->rig->lanes)
                                            : TARN_OK;
}

/* Simulated: open-loop arrivals; time goes from one happening to the next. */
static tarn_status run_simulated(struct block *b)
{
    struct tarn_virtual_stats stats;
    tarn_status status = tarn_virtual_get_stats(b->rig->device, &stats);
    uint64_t done = stats.launches[TARN_PRIORITY_HIGH];
    while ((b->left > 0 || b->pending > 0) && status == TARN_OK) {
        uint64_t now = tarn_rig_now(b->rig);
        if (b->left > 0 && b->next_ns <= now && b->pending < 1024) {
            status = arrive(b, b->next_ns);
            b->next_ns += draw_pause(b);
            continue;
        }
        for (; ended(b, done) > 0 && b->pending > 0 && status == TARN_OK; done++)
            status = depart(b);
        if (status == TARN_OK)
            status = feed(b);
        follow_time(b);
        now = tarn_rig_now(b->rig);
        uint64_t until = b->pump_ns > now ? b->pump_ns : now + 1000;
        if (b->left > 0 && b->next_ns < until)
            until = b->next_ns;
        if (b->pending > 0 && until > now + STEP_NS)
            until = now + STEP_NS;
        if (until > now + 20 * STEP_NS) /* the backlog is fed too */
            until = now + 20 * STEP_NS;
        tarn_rig_wait(b->rig, until);
    }
    return status;
}

/* Real: the next lookup arrives a random pause after the one before was answered. */
static tarn_status run_real(struct block *b)
{
    tarn_status status = TARN_OK;
    bool naive = b->way->kind == TARN_SHARE_NAIVE;
    while (b->left > 0 && status == TARN_OK &&
           !(naive && tarn_clock_ns() - b->begun_ns > MOST_NAIVE_NS)) {
        tarn_rig_wait(b->rig, tarn_clock_ns() + draw_pause(b));
        if (naive)
            status = tarn_rig_feed_backlog(b->rig, b->rig->lanes);
        uint64_t begin = tarn_clock_ns();
        if (b->way->kind == TARN_SHARE_HOST) {
            tarn_rig_lookup_on_host(b->rig);
            add_latency(b, tarn_clock_ns() - begin);
            b->left--;
            continue;
        }
        if (status == TARN_OK)
            status = arrive(b, begin);
        if (status == TARN_OK)
            status = depart(b);
        follow_time(b);
    }
    return status;
}

static tarn_status run_lookups(struct block *b, uint32_t count)
{
    b->left = count;
    b->begun_ns = tarn_rig_now(b->rig);
    b->next_ns = b->begun_ns + draw_pause(b);
    b->last_end_ns = 0;
    return b->rig->simulated ? run_simulated(b) : run_real(b);
}

static double steps_of(const struct block *b)
{
    return b->share != NULL ? tarn_rig_arbiter_steps(b->rig) : (double)b->rig->steps;
}

/* Until the arbiter trains: its watch wants to see a quiet while, and it measures the device. */
static tarn_status warm_up(struct block *b)
{
    b->warm = true;
    struct tarn_share_stats stats = {.state = TARN_SHARE_BUSY};
    tarn_status status = TARN_OK;
    bool naive = b->way->kind == TARN_SHARE_NAIVE && !b->rig->simulated;
    uint64_t begun = tarn_rig_now(b->rig);
    for (uint32_t n = 0; n < MOST_WARM_UP && status == TARN_OK; n += 50) {
        if (b->share != NULL)
            tarn_share_get_stats(b->share, &stats);
        if (b->share == NULL ? n >= 50
                             : stats.slices > 50 && tarn_rig_now(b->rig) - begun > WARM_UP_NS)
            break;
        status = run_lookups(b, naive ? 5 : 50);
        if (naive)
            break; /* the backlog is there */
    }
    b->warm = false;
    return status;
}

tarn_status tarn_share_block(struct tarn_share_bench *bench, tarn_share_way_kind kind,
                             struct tarn_rig *rig, uint32_t lookups, uint64_t seed)
{
    static struct block b; /* large; one at a time */
    struct tarn_error error;
    b = (struct block){.bench = bench, .way = &bench->way[kind], .rig = rig};
    tarn_rng_seed(&b.rng, seed);
    b.mean_pause_ns = (double)(rig->lookup_ns + rig->gap_ns) / bench->load;
    if (!rig->simulated && b.mean_pause_ns < LEAST_PAUSE_NS)
        b.mean_pause_ns = LEAST_PAUSE_NS;
    tarn_status status = TARN_OK;
    if (kind == TARN_SHARE_ARBITER || kind == TARN_SHARE_HOST) {
        struct tarn_share_work work = tarn_rig_work(rig);
        struct tarn_virtual_model model = {0};
        if (rig->simulated)
            tarn_virtual_get_model(rig->device, &model);
        status = tarn_share_create(
            &(struct tarn_share_params){.work = &work,
                                        .now_ns = rig->simulated ? tarn_rig_now : NULL,
                                        .clock_user = rig,
                                        .quantum_us = bench->quantum_us,
                                        .in_flight = bench->in_flight,
                                        .latency_budget_us = bench->budget_us,
                                        .dwell_us = DWELL_US,
                                        .overtakes = model.priority},
            &b.share, &error);
        if (status == TARN_OK && !rig->simulated)
            status = tarn_share_start(b.share);
    }
    if (status == TARN_OK)
        status = warm_up(&b);
    uint64_t begun = tarn_rig_now(rig);
    b.steps_before = steps_of(&b);
    if (status == TARN_OK)
        status = run_lookups(&b, lookups);
    b.way->elapsed_ns += tarn_rig_now(rig) - begun;
    b.way->steps += steps_of(&b) - b.steps_before;
    if (b.share != NULL) {
        if (kind == TARN_SHARE_ARBITER)
            tarn_share_get_stats(b.share, &bench->stats);
        tarn_share_set_training(b.share, false);
        tarn_status stopped = tarn_share_stop(b.share, 10000000);
        status = status == TARN_OK ? stopped : status;
        tarn_share_destroy(&b.share);
    }
    if (kind == TARN_SHARE_NAIVE && status == TARN_OK)
        status = tarn_rig_drain_backlog(rig);
    for (; b.pending > 0; b.pending--, b.first = (b.first + 1) % 1024)
        tarn_event_release(&b.lookup[b.first].event);
    return status;
}
