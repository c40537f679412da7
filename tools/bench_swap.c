/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tarn bench swap`: models change under readers. A request takes one reference; every eighth evicts: it
 * scores a tile with the network and compares the scores with those that the version's thresholds say,
 * with which parts of two versions, or a freed one, would not agree.
 */
#include "bench.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/rng.h"
#include "deploy/slot.h"

enum {
    READERS = 2,
    SWAPS = 1000,
    ROLLBACKS = 100,
    BUCKETS = 512, /* of latency: 32 an octave from 16 ns on */
    RESAMPLES = 400,
    EVICT_EVERY = 8,
    COST_ROUNDS = 15,
    COST_BATCHES = 1 << 18,
};

#define WINDOW_NS  10000000u
#define LEAST_REQS 10000000u

typedef uint32_t histogram[BUCKETS];

struct shared {
    tarn_slot *slot;
    float *tiles;
    histogram *windows; /* [reader][window], one to two of a pair: with and without a swap */
    uint32_t window_count;
    atomic_int window; /* that is open now, or -1 */
    atomic_bool stop;
};

struct reader {
    pthread_t thread;
    struct shared *shared;
    struct tarn_slot_reader *reader;
    int number;
    bool started;
    _Alignas(128) atomic_uint_fast64_t requests;
    atomic_uint_fast64_t version, left_ns; /* seen last; when a batch with another began last */
    uint64_t failed, mixed;
};

static uint32_t bucket_of(uint64_t ns)
{
    if (ns < 16)
        return 0;
    uint32_t octave = 63 - (uint32_t)__builtin_clzll(ns);
    uint32_t bucket = (octave - 4) * 32 + (uint32_t)((ns << 5 >> octave) & 31);
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static double ns_of(uint32_t bucket)
{
    return ldexp(1 + (bucket % 32 + 0.5) / 32, (int)(bucket / 32) + 4);
}

/* A bundle whose thresholds are what its network gives for the tile. */
static tarn_status mint(const struct shared *s, struct tarn_rng *rng, struct tarn_bundle **bundle,
                        struct tarn_error *error)
{
    float weights[TARN_NET_PARAMETERS], scores[TARN_LANES];
    tarn_net_init(&tarn_net_reference, rng, weights);
    struct tarn_bundle_params params = {.shape = tarn_net_reference,
                                        .weights = weights,
                                        .provenance = "bench",
                                        .thresholds = TARN_BUNDLE_THRESHOLDS};
    tarn_forward_host(&tarn_net_reference, weights, s->tiles, TARN_LANES, scores);
    memcpy(params.threshold, scores, sizeof params.threshold);
    return tarn_bundle_create(&params, bundle, error);
}

static void *read_on(void *context)
{
    struct reader *r = context;
    struct shared *s = r->shared;
    float scores[TARN_LANES];
    uint64_t version = 0, requests = 0, before = 0;
    while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
        int window = atomic_load_explicit(&s->window, memory_order_relaxed);
        uint64_t start = tarn_clock_ns();
        const struct tarn_bundle *bundle = tarn_slot_enter(r->reader);
        uint64_t is = bundle->version;
        if (requests % EVICT_EVERY == 0) {
            tarn_model_score(bundle->model, s->tiles, TARN_LANES, scores);
            r->mixed += memcmp(scores, bundle->threshold, sizeof bundle->threshold) != 0;
        }
        r->failed += is == 0 || bundle->version != is;
        tarn_slot_leave(r->reader);
        uint64_t end = tarn_clock_ns();
        if (window >= 0)
            s->windows[(uint32_t)r->number * s->window_count + (uint32_t)window]
                      [bucket_of(end - start)]++;
        if (is != version) {
            version = is;
            atomic_store_explicit(&r->left_ns, before, memory_order_relaxed);
            atomic_store_explicit(&r->version, version, memory_order_release);
        }
        before = start;
        atomic_store_explicit(&r->requests, ++requests, memory_order_relaxed);
    }
    tarn_slot_offline(r->reader);
    return NULL;
}

static void sleep_ns(uint64_t ns)
{
    nanosleep(&(struct timespec){(time_t)(ns / 1000000000), (long)(ns % 1000000000)}, NULL);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, size_t count, double share)
{
    qsort(values, count, sizeof *values, compare);
    return count > 0 ? values[(size_t)(share * (double)(count - 1) + 0.5)] : (double)NAN;
}

/* ---- what a reference costs ---- */

struct cost {
    struct tarn_slot_reader *reader;
    const struct tarn_bundle *bundle;
    double with, without; /* ns a batch, least of the rounds */
};

/* What a batch does is kept apart from the next by the empty assembler, in both loops. */
static void *measure_cost(void *context)
{
    struct cost *c = context;
    c->with = c->without = HUGE_VAL;
    for (int round = 0; round < COST_ROUNDS; round++) {
        uint64_t start = tarn_clock_ns();
        for (uint32_t i = 0; i < COST_BATCHES; i++) {
            const struct tarn_bundle *bundle = c->bundle;
            __asm__ volatile("" : : "r"(bundle) : "memory");
        }
        uint64_t middle = tarn_clock_ns();
        for (uint32_t i = 0; i < COST_BATCHES; i++) {
            const struct tarn_bundle *bundle = tarn_slot_enter(c->reader);
            __asm__ volatile("" : : "r"(bundle) : "memory");
            tarn_slot_leave(c->reader);
        }
        uint64_t end = tarn_clock_ns();
        c->without = fmin(c->without, (double)(middle - start) / COST_BATCHES);
        c->with = fmin(c->with, (double)(end - middle) / COST_BATCHES);
    }
    tarn_slot_offline(c->reader);
    return NULL;
}

/* ns a reference with one and with two readers at once. */
static tarn_status reader_cost(tarn_slot *slot, double cost[READERS])
{
    struct tarn_bundle *live = NULL;
    struct tarn_slot_reader *reader[READERS] = {NULL};
    pthread_t thread[READERS];
    tarn_status status = tarn_slot_hold(slot, 0, &live);
    for (int i = 0; i < READERS && status == TARN_OK; i++)
        status = tarn_slot_register(slot, &reader[i]);
    for (int count = 1; count <= READERS && status == TARN_OK; count++) {
        struct cost costs[READERS];
        int started = 0;
        for (; started < count; started++) {
            costs[started] = (struct cost){reader[started], live, 0, 0};
            if (pthread_create(&thread[started], NULL, measure_cost, &costs[started]) != 0)
                break;
        }
        status = started == count ? TARN_OK : TARN_NO_MEMORY;
        cost[count - 1] = 0;
        for (int i = 0; i < started; i++) {
            pthread_join(thread[i], NULL);
            cost[count - 1] = fmax(cost[count - 1], costs[i].with - costs[i].without);
        }
    }
    for (int i = 0; i < READERS; i++)
        tarn_slot_unregister(slot, &reader[i]);
    tarn_bundle_release(&live);
    return status;
}

/* ---- swaps ---- */

struct figures {
    uint32_t swaps, rollbacks;
    uint64_t requests, failed, mixed;
    double cost[READERS], low, high, ratio;
    uint32_t graces;
    double swap_us[SWAPS], grace_us[SWAPS], rollback_us[ROLLBACKS];
};

static uint64_t requests_of(const struct reader *readers)
{
    uint64_t sum = 0;
    for (int i = 0; i < READERS; i++)
        sum += atomic_load_explicit(&readers[i].requests, memory_order_relaxed);
    return sum;
}

static const struct tarn_change change = {.reason = TARN_REASON_MANUAL};

/* Frees nothing: a background loop does when it comes by again. */
static tarn_status swap_once(struct shared *s, struct tarn_rng *rng, struct figures *f,
                             struct tarn_error *error)
{
    struct tarn_bundle *bundle;
    tarn_status status = mint(s, rng, &bundle, error);
    if (status != TARN_OK)
        return status;
    uint64_t start = tarn_clock_ns();
    status = tarn_slot_swap(s->slot, bundle, 0, &change, NULL, error);
    uint64_t swapped = tarn_clock_ns();
    if (status != TARN_OK) {
        tarn_bundle_release(&bundle);
        return status;
    }
    f->swap_us[f->swaps++] = (double)(swapped - start) * 1e-3;
    return TARN_OK;
}

/* The same, and how long it takes until the version before is freed. */
static tarn_status swap_and_free(struct shared *s, struct tarn_rng *rng, struct figures *f,
                                 struct tarn_error *error)
{
    tarn_slot_reap(s->slot);
    tarn_status status = swap_once(s, rng, f, error);
    uint64_t swapped = tarn_clock_ns();
    while (status == TARN_OK && tarn_slot_reap(s->slot) > 0)
        sleep_ns(10000); /* a reader may want this core */
    if (status == TARN_OK)
        f->grace_us[f->graces++] = (double)(tarn_clock_ns() - swapped) * 1e-3;
    return status;
}

/*
 * Two windows of 20 ms, in random order: one has a swap in its middle, the other all of it (waking up,
 * a new bundle) but that.
 */
static tarn_status window_pair(struct shared *s, struct tarn_rng *rng, uint32_t pair,
                               struct figures *f, struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    uint32_t first = tarn_rng_below(rng, 2);
    for (uint32_t half = 0; half < 2 && status == TARN_OK; half++) {
        bool with = half == first;
        struct tarn_bundle *bundle;
        atomic_store(&s->window, (int)(2 * pair + !with));
        sleep_ns(WINDOW_NS);
        if (with) {
            status = swap_once(s, rng, f, error);
        } else if ((status = mint(s, rng, &bundle, error)) == TARN_OK) {
            tarn_bundle_release(&bundle);
        }
        sleep_ns(WINDOW_NS);
    }
    atomic_store(&s->window, -1);
    tarn_slot_reap(s->slot);
    return status;
}

/* From the call to its return, or to the last moment when a batch began with the version that left. */
static tarn_status roll_back(struct shared *s, struct reader *readers, struct tarn_rng *rng,
                             struct figures *f, struct tarn_error *error)
{
    uint64_t version;
    double latest;
    tarn_status status = swap_and_free(s, rng, f, error);
    sleep_ns(200000);
    uint64_t start = tarn_clock_ns();
    if (status == TARN_OK)
        status = tarn_slot_rollback(s->slot, 0, 0, &change, &version, error);
    latest = (double)(tarn_clock_ns() - start) * 1e-3;
    for (int i = 0; i < READERS && status == TARN_OK; i++) {
        while (atomic_load_explicit(&readers[i].version, memory_order_acquire) != version)
            sleep_ns(10000);
        uint64_t left = atomic_load_explicit(&readers[i].left_ns, memory_order_relaxed);
        latest = fmax(latest, left > start ? (double)(left - start) * 1e-3 : 0);
    }
    if (status == TARN_OK)
        f->rollback_us[f->rollbacks++] = latest;
    return status;
}

/* ---- p99.9 beside swaps, against without ---- */

static double tail_of(const uint64_t *counts)
{
    uint64_t sum = 0, above = 0;
    for (uint32_t b = 0; b < BUCKETS; b++)
        sum += counts[b];
    for (uint32_t b = BUCKETS; b-- > 0;)
        if ((above += counts[b]) > 0 && above * 1000 >= sum) {
            /* where in the bucket the thousandth lies */
            double share = ((double)above - (double)sum / 1000) / (double)counts[b];
            return ns_of(b) * (1 + (share - 0.5) / 32);
        }
    return (double)NAN;
}

static double tail_ratio(const struct shared *s, const uint32_t *pairs, uint32_t count)
{
    uint64_t sums[2][BUCKETS] = {{0}};
    for (uint32_t p = 0; p < count; p++)
        for (uint32_t r = 0; r < READERS; r++)
            for (uint32_t without = 0; without < 2; without++) {
                const uint32_t *h = s->windows[r * s->window_count + 2 * pairs[p] + without];
                for (uint32_t b = 0; b < BUCKETS; b++)
                    sums[without][b] += h[b];
            }
    return tail_of(sums[0]) / tail_of(sums[1]);
}

/* The middle 95 % of what pairs drawn again with replacement give (Efron 1979). */
static bool bootstrap(const struct shared *s, struct tarn_rng *rng, struct figures *f)
{
    uint32_t count = s->window_count / 2, *pairs = calloc(count, sizeof *pairs);
    double ratios[RESAMPLES];
    if (pairs == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        pairs[i] = i;
    f->ratio = tail_ratio(s, pairs, count);
    for (int n = 0; n < RESAMPLES; n++) {
        for (uint32_t i = 0; i < count; i++)
            pairs[i] = tarn_rng_below(rng, count);
        ratios[n] = tail_ratio(s, pairs, count);
    }
    /* the clock's ns are no finer */
    f->low = round(quantile(ratios, RESAMPLES, 0.025) * 500) / 500;
    f->high = round(quantile(ratios, RESAMPLES, 0.975) * 500) / 500;
    free(pairs);
    return true;
}

/* ---- all of it ---- */

static tarn_status work(struct shared *s, struct reader *readers, struct tarn_rng *rng,
                        struct figures *f, struct tarn_progress *progress, struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    uint32_t pairs = s->window_count / 2;
    for (int i = 0; i < READERS && status == TARN_OK; i++) {
        readers[i].started = pthread_create(&readers[i].thread, NULL, read_on, &readers[i]) == 0;
        if (!readers[i].started)
            status = tarn_fail(error, TARN_NO_MEMORY, "bench: no thread");
    }
    for (uint32_t p = 0; p < pairs && status == TARN_OK; p++) {
        status = window_pair(s, rng, p, f, error);
        tarn_progress_update(progress, p / (double)pairs);
    }
    while (f->rollbacks < ROLLBACKS && status == TARN_OK)
        status = roll_back(s, readers, rng, f, error);
    while (f->swaps < SWAPS && status == TARN_OK) {
        status = swap_and_free(s, rng, f, error);
        sleep_ns(200000);
    }
    while (requests_of(readers) < LEAST_REQS && status == TARN_OK)
        sleep_ns(WINDOW_NS);
    atomic_store(&s->stop, true);
    for (int i = 0; i < READERS; i++) {
        if (!readers[i].started)
            continue;
        pthread_join(readers[i].thread, NULL);
        f->failed += readers[i].failed;
        f->mixed += readers[i].mixed;
    }
    f->requests = requests_of(readers);
    return status;
}

static int print(struct tarn_cli *cli, struct figures *f, uint32_t pairs)
{
    double cost = fmax(f->cost[0], f->cost[READERS - 1]);
    double swap50 = quantile(f->swap_us, f->swaps, 0.5);
    double swap99 = quantile(f->swap_us, f->swaps, 0.99);
    double grace = quantile(f->grace_us, f->graces, 0.5);
    double back = quantile(f->rollback_us, f->rollbacks, 0.5);
    double back99 = quantile(f->rollback_us, f->rollbacks, 0.99);
    if (!cli->json) {
        printf("%u swaps under %llu requests of %d readers: %llu failed, %llu mixed\n",
               (unsigned)f->swaps, (unsigned long long)f->requests, READERS,
               (unsigned long long)f->failed, (unsigned long long)f->mixed);
        printf("a reference   %.2f ns with one reader, %.2f with %d\n", f->cost[0],
               f->cost[READERS - 1], READERS);
        printf("a swap        %.2f us, p99 %.2f; %.1f us until the old version is freed\n", swap50,
               swap99, grace);
        printf("a rollback    %.1f us until no batch begins with the version that left, p99 %.1f\n",
               back, back99);
        printf("p99.9 of requests within 10 ms of a swap, against without: %.3f (%.3f to %.3f, %u "
               "pairs)\n",
               f->ratio, f->low, f->high, (unsigned)pairs);
        return TARN_EXIT_OK;
    }
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "tarn", TARN_VERSION);
    cJSON_AddStringToObject(json, "bench", "swap");
    tarn_json_integer(json, "swaps", f->swaps);
    tarn_json_integer(json, "requests", f->requests);
    tarn_json_integer(json, "readers", READERS);
    tarn_json_integer(json, "failed", f->failed);
    tarn_json_integer(json, "mixed", f->mixed);
    tarn_json_number(json, "reader_ns", cost);
    tarn_json_number(json, "reader_ns_alone", f->cost[0]);
    tarn_json_number(json, "swap_us_p50", swap50);
    tarn_json_number(json, "swap_us_p99", swap99);
    tarn_json_number(json, "grace_us_p50", grace);
    tarn_json_integer(json, "windows", pairs);
    tarn_json_number(json, "p999_ratio", f->ratio);
    tarn_json_number(json, "p999_ratio_low", f->low);
    tarn_json_number(json, "p999_ratio_high", f->high);
    tarn_json_number(json, "rollback_us", back);
    tarn_json_number(json, "rollback_us_p99", back99);
    return tarn_cli_print_json(cli, json);
}

static tarn_status measure(struct tarn_cli *cli, struct shared *s, struct reader *readers,
                           struct figures *f, struct tarn_error *error)
{
    struct tarn_rng rng;
    struct tarn_bundle *first = NULL;
    struct tarn_progress progress;
    tarn_rng_seed(&rng, cli->seed);
    size_t floats = tarn_shape_tile_floats(&tarn_net_reference, TARN_LANES);
    s->tiles = calloc(floats, sizeof *s->tiles);
    s->windows = calloc((size_t)READERS * s->window_count, sizeof *s->windows);
    if (s->tiles == NULL || s->windows == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "bench: out of memory");
    for (size_t i = 0; i < floats; i++)
        s->tiles[i] = (tarn_rng_float(&rng) - 0.5f) * 4;
    tarn_status status = mint(s, &rng, &first, error);
    if (status == TARN_OK)
        status = tarn_slot_create(&(struct tarn_slot_params){0}, first, &change, &s->slot, error);
    if (status == TARN_OK)
        status = reader_cost(s->slot, f->cost);
    for (int i = 0; i < READERS && status == TARN_OK; i++) {
        readers[i].shared = s;
        readers[i].number = i;
        status = tarn_slot_register(s->slot, &readers[i].reader);
    }
    if (status == TARN_OK) {
        tarn_progress_start(&progress, cli, "swap");
        status = work(s, readers, &rng, f, &progress, error);
        tarn_progress_end(&progress);
    }
    if (status == TARN_OK && !bootstrap(s, &rng, f))
        status = tarn_fail(error, TARN_NO_MEMORY, "bench: out of memory");
    return status;
}

static int run(struct tarn_cli *cli, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    struct tarn_error error = {.status = TARN_OK};
    uint32_t pairs = tarn_cli_flag(cli, "quick") ? 150 : 400;
    struct shared shared = {.window_count = 2 * pairs};
    struct reader readers[READERS];
    struct figures *figures = calloc(1, sizeof *figures);
    memset(readers, 0, sizeof readers);
    atomic_init(&shared.window, -1);
    tarn_status status = TARN_NO_MEMORY;
    if (figures != NULL)
        status = measure(cli, &shared, readers, figures, &error);
    if (status != TARN_OK && error.status == TARN_OK)
        tarn_fail(&error, status, "bench: %s", tarn_status_message(status));
    int code = status == TARN_OK ? print(cli, figures, pairs) : tarn_cli_fail(cli, &error);
    if (status == TARN_OK && (figures->failed > 0 || figures->mixed > 0))
        code = TARN_EXIT_FAILED;
    if (shared.slot != NULL)
        for (int i = 0; i < READERS; i++)
            tarn_slot_unregister(shared.slot, &readers[i].reader);
    tarn_slot_destroy(&shared.slot);
    free(shared.windows);
    free(shared.tiles);
    free(figures);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"quick", 0, NULL, "the tail of 150 swaps, not 400; as many swaps and requests in all"},
    {NULL},
};

const struct tarn_command tarn_bench_swap = {
    .name = "swap",
    .run = run,
    .summary = "models change under readers",
    .usage = "[--quick]",
    .description =
        "Two threads score with the live model while 1,000 others take its place, 100 of\n"
        "which are rolled back. Every eighth request scores, and checks that what it used\n"
        "comes from one version. Times are medians. The tail within 10 ms of a swap stands\n"
        "against the same around moments when all is done but the swap, with its 95 %\n"
        "bootstrap interval.",
    .options = options,
    .examples = "tarn bench swap --json\n",
};
