/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/baseline.h"

#include "../check.h"
#include "sim_trace.h"

/* Misses of a run, or -1. */
static double misses(const char *name, const struct tarn_trace_data *trace, uint64_t capacity)
{
    struct tarn_run run;
    if (tarn_baseline_run(name, trace, capacity, NULL, &run, NULL) != TARN_OK)
        return -1;
    double result = (double)run.misses;
    tarn_run_clear(&run);
    return result;
}

/*
 * The plain definition of a policy that evicts by one number: residents in an array, the one with
 * the smallest rank leaves. Slow on purpose.
 */
enum naive_kind { NAIVE_LRU, NAIVE_FIFO, NAIVE_BELADY };

static double naive_misses(enum naive_kind kind, const struct tarn_trace_data *trace,
                           uint64_t capacity)
{
    struct entry {
        uint32_t object;
        uint64_t size;
        double rank;
    } *residents = malloc(trace->objects * sizeof *residents);
    uint32_t count = 0;
    uint64_t used = 0;
    double total = 0;
    for (size_t i = 0; i < trace->count; i++) {
        uint32_t at = 0;
        double rank = (double)i, next = trace->next[i];
        while (at < count && residents[at].object != trace->object[i])
            at++;
        if (kind == NAIVE_BELADY)
            rank = -next;
        if (at < count) {
            if (kind != NAIVE_FIFO)
                residents[at].rank = rank;
            continue;
        }
        total++;
        if (trace->size[i] > capacity)
            continue;
        while (used + trace->size[i] > capacity) {
            uint32_t least = 0;
            for (uint32_t k = 1; k < count; k++)
                if (residents[k].rank < residents[least].rank)
                    least = k;
            used -= residents[least].size;
            /* Order matters among equal ranks: the one that came first leaves. */
            memmove(&residents[least], &residents[least + 1],
                    (--count - least) * sizeof *residents);
        }
        residents[count++] = (struct entry){trace->object[i], trace->size[i], rank};
        used += trace->size[i];
    }
    free(residents);
    return total;
}

static void lru_fifo_belady_match_their_plain_definitions(void)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct tarn_trace_data unit = sim_trace_random(3000, 300, 1, 0, seed);
        struct tarn_trace_data sized = sim_trace_random(3000, 300, 50, 0, seed);
        for (uint64_t capacity = 1; capacity < 400; capacity = capacity * 2 + 1) {
            CHECK_NUMBER(misses("lru", &unit, capacity), naive_misses(NAIVE_LRU, &unit, capacity));
            CHECK_NUMBER(misses("fifo", &unit, capacity),
                         naive_misses(NAIVE_FIFO, &unit, capacity));
            CHECK_NUMBER(misses("belady", &unit, capacity),
                         naive_misses(NAIVE_BELADY, &unit, capacity));
            CHECK_NUMBER(misses("lru", &sized, capacity * 10),
                         naive_misses(NAIVE_LRU, &sized, capacity * 10));
            CHECK_NUMBER(misses("fifo", &sized, capacity * 10),
                         naive_misses(NAIVE_FIFO, &sized, capacity * 10));
        }
        sim_trace_free(&unit);
        sim_trace_free(&sized);
    }
}

/* The fewest misses that any choice of victims gives, by trying all. `set`: residents as bits. */
static unsigned fewest(const struct tarn_trace_data *trace, size_t at, unsigned set, int capacity)
{
    if (at == trace->count)
        return 0;
    unsigned bit = 1u << trace->object[at];
    if (set & bit)
        return fewest(trace, at + 1, set, capacity);
    if (__builtin_popcount(set) < capacity)
        return 1 + fewest(trace, at + 1, set | bit, capacity);
    unsigned best = UINT32_MAX;
    for (unsigned left = set; left != 0; left &= left - 1) {
        unsigned tried = fewest(trace, at + 1, (set & ~(left & -left)) | bit, capacity);
        best = tried < best ? tried : best;
    }
    return 1 + best;
}

static void belady_is_optimal(void)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct tarn_trace_data trace = sim_trace_random(16, 6, 1, 0, seed);
        for (int capacity = 1; capacity <= 3; capacity++)
            CHECK_NUMBER(misses("belady", &trace, (uint64_t)capacity),
                         fewest(&trace, 0, 0, capacity));
        sim_trace_free(&trace);
    }
}

static void nothing_beats_belady(void)
{
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct tarn_trace_data trace = sim_trace_random(6000, 400, 1, 0, seed);
        for (uint64_t capacity = 1; capacity < 400; capacity = capacity * 3 + 1) {
            double best = misses("belady", &trace, capacity);
            for (size_t p = 0; tarn_baseline_name(p) != NULL; p++)
                CHECK(misses(tarn_baseline_name(p), &trace, capacity) >= best);
        }
        sim_trace_free(&trace);
    }
}

/* Objects that miss for the first time, in a cache that holds everything, are all there is to miss.
 */
static void a_cache_for_all_misses_each_object_once(void)
{
    struct tarn_trace_data trace = sim_trace_random(5000, 300, 30, 0, 9);
    double seen = 0;
    for (uint32_t object = 0; object < trace.objects; object++)
        for (size_t i = 0; i < trace.count; i++)
            if (trace.object[i] == object) {
                seen++;
                break;
            }
    for (size_t p = 0; tarn_baseline_name(p) != NULL; p++) {
        const char *name = tarn_baseline_name(p);
        if (strcmp(name, "wtinylfu") == 0 || strcmp(name, "s3fifo") == 0)
            continue; /* their regions are smaller than the whole: see below */
        CHECK_NUMBER(misses(name, &trace, trace.footprint), seen);
    }
    CHECK_NUMBER(misses("wtinylfu", &trace, trace.footprint * 2), seen);
    CHECK_NUMBER(misses("s3fifo", &trace, trace.footprint * 11), seen);
    sim_trace_free(&trace);
}

static void the_limit_holds_and_runs_repeat(void)
{
    static const struct {
        uint32_t size_max;
        uint64_t capacity;
        int ops;
    } cases[] = {{1, 1, 0},    {1, 2, 1},     {1, 37, 1},    {100, 1, 0},
                 {100, 60, 1}, {100, 101, 1}, {100, 900, 1}, {100, 5000, 0}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct tarn_trace_data trace =
            sim_trace_random(8000, 200, cases[c].size_max, cases[c].ops, c + 1);
        for (size_t p = 0; tarn_baseline_name(p) != NULL; p++) {
            const char *name = tarn_baseline_name(p);
            double total[2] = {0, 0};
            for (int round = 0; round < 2; round++) {
                tarn_baseline *baseline = NULL;
                REQUIRE(tarn_baseline_create(name, &trace, cases[c].capacity,
                                             &(struct tarn_run_params){.seed = 7}, &baseline,
                                             NULL) == TARN_OK);
                bool held = true;
                for (uint32_t i = 0; i < trace.count; i++) {
                    bool hit = tarn_baseline_access(baseline, i);
                    total[round] += !hit && (trace.op == NULL || trace.op[i] == TARN_TRACE_GET);
                    held &= tarn_baseline_used(baseline) <= cases[c].capacity;
                }
                if (!held)
                    printf("# %s went over its limit of %d\n", name, (int)cases[c].capacity);
                CHECK(held);
                tarn_baseline_destroy(&baseline);
                CHECK(baseline == NULL);
            }
            CHECK_NUMBER(total[0], total[1]);
        }
        sim_trace_free(&trace);
    }
}

/* object:size sequences, checked step by step. */
struct step {
    uint32_t object;
    uint64_t size;
    tarn_trace_op op;
    bool hit;
    uint64_t used;
};

static void check_steps(const char *name, uint64_t capacity, const struct step *steps, size_t count)
{
    struct tarn_trace_data trace = sim_trace_alloc(count, 8);
    tarn_baseline *baseline = NULL;
    trace.op = calloc(count, 1);
    for (size_t i = 0; i < count; i++) {
        trace.object[i] = steps[i].object;
        trace.size[i] = steps[i].size;
        trace.op[i] = (uint8_t)steps[i].op;
    }
    sim_trace_finish(&trace);
    CHECK(tarn_baseline_create(name, &trace, capacity, &(struct tarn_run_params){.seed = 1},
                               &baseline, NULL) == TARN_OK);
    for (uint32_t i = 0; i < count && baseline != NULL; i++) {
        bool hit = tarn_baseline_access(baseline, i);
        uint64_t used = tarn_baseline_used(baseline);
        if (hit != steps[i].hit || used != steps[i].used)
            printf("# %s, step %u: %s, %d bytes used\n", name, i, hit ? "hit" : "miss", (int)used);
        CHECK(hit == steps[i].hit);
        CHECK_NUMBER(used, steps[i].used);
    }
    tarn_baseline_destroy(&baseline);
    sim_trace_free(&trace);
}

static void overwrites_deletes_and_large_objects(void)
{
    static const struct step steps[] = {
        {0, 40, TARN_TRACE_GET, false, 40},
        {1, 101, TARN_TRACE_GET, false, 40}, /* larger than the cache: stays out */
        {1, 101, TARN_TRACE_GET, false, 40},
        {0, 60, TARN_TRACE_GET, true, 40}, /* a hit keeps the size that came in */
        {0, 60, TARN_TRACE_PUT, true, 60}, /* an overwrite changes it */
        {0, 60, TARN_TRACE_GET, true, 60},
        {2, 10, TARN_TRACE_PUT, false, 70},
        {0, 200, TARN_TRACE_PUT, true, 10}, /* overwritten by what never fits: gone */
        {0, 60, TARN_TRACE_DELETE, false, 10},
        {2, 10, TARN_TRACE_DELETE, true, 0},
        {2, 10, TARN_TRACE_GET, false, 10},
    };
    static const char *const names[] = {"lru",   "fifo", "clock", "slru", "arc",
                                        "sieve", "lfu",  "gdsf",  "lhd"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        check_steps(names[i], 100, steps, sizeof steps / sizeof steps[0]);
}

/* Belady knows that an object that is deleted or overwritten before its next get isn't wanted. */
static void belady_sees_overwrites(void)
{
    static const struct step steps[] = {
        {0, 1, TARN_TRACE_GET, false, 1},    {1, 1, TARN_TRACE_GET, false, 2},
        {2, 1, TARN_TRACE_GET, false, 2}, /* 0 leaves: its next request deletes it */
        {0, 1, TARN_TRACE_DELETE, false, 2}, {1, 1, TARN_TRACE_GET, true, 2},
        {2, 1, TARN_TRACE_GET, true, 2},
    };
    check_steps("belady", 2, steps, sizeof steps / sizeof steps[0]);
}

/* Two have room: what costs ten times as much stays, however often the others come; unknown is the mean. */
static void gdsf_weighs_costs_if_asked(void)
{
    static const uint32_t objects[] = {0, 1, 1, 2, 0, 1, 3, 0};
    static const float costs[] = {100, 10, 10, 10, 100, 10, 0, 100};
    /* by cost 1 leaves (L = 20), 2 for it again (L = 30), then 1 once more, at 30 + 10 */
    static const bool hits[2][8] = {{0, 0, 1, 0, 0, 0, 0, 0}, {0, 0, 1, 0, 1, 0, 0, 1}};
    struct tarn_trace_data trace = sim_trace_alloc(8, 4);
    float cost[8];
    for (size_t i = 0; i < 8; i++) {
        trace.object[i] = objects[i];
        trace.size[i] = 1;
        cost[i] = costs[i];
    }
    sim_trace_finish(&trace);
    trace.cost = cost;
    for (int weigh = 0; weigh < 2; weigh++) {
        tarn_baseline *gdsf;
        const struct tarn_run_params params = {.weigh_costs = weigh};
        REQUIRE(tarn_baseline_create("gdsf", &trace, 2, &params, &gdsf, NULL) == TARN_OK);
        for (uint32_t i = 0; i < 8; i++)
            CHECK_NUMBER(tarn_baseline_access(gdsf, i), hits[weigh][i]);
        tarn_baseline_destroy(&gdsf);
        struct tarn_run run;
        REQUIRE(tarn_baseline_run("gdsf", &trace, 2, &params, &run, NULL) == TARN_OK);
        CHECK_NUMBER(run.get_cost, 340);
        CHECK_NUMBER(run.miss_cost, weigh ? 130 : 330);
        CHECK_NUMBER(run.cost_misses, weigh ? 4 : 6);
        tarn_run_clear(&run);
    }
    trace.cost = NULL;
    sim_trace_free(&trace);
}

/*
 * Counts that were taken when each of lru fifo clock arc lfu sieve s3fifo gdsf belady agreed with
 * libCacheSim to the last miss on 30 real traces and sizes.
 */
static void counts_of_a_known_trace(void)
{
    static const struct {
        const char *name;
        double small, large, phases;
    } known[] = {
        {"lru", 46066, 31196, 39338},      {"fifo", 46567, 32533, 31617},
        {"clock", 45890, 30809, 38751},    {"slru", 42659, 27943, 35597},
        {"arc", 42772, 29110, 37937},      {"lfu", 43067, 27538, 50118},
        {"sieve", 42649, 27425, 39230},    {"s3fifo", 42278, 28073, 28446},
        {"wtinylfu", 42472, 26866, 27220}, {"gdsf", 44922, 29164, 34414},
        {"lhd", 45150, 30662, 24882},      {"belady", 37913, 17527, 13540},
    };
    struct tarn_trace_data trace = sim_trace_random(50000, 4000, 1, 0, 42);
    struct tarn_trace_data phases = sim_trace_phases(60000, 3000, 7);
    size_t policies = 0;
    while (tarn_baseline_name(policies) != NULL)
        policies++;
    CHECK_NUMBER(sizeof known / sizeof known[0], policies);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        CHECK_NUMBER(misses(known[i].name, &trace, 40), known[i].small);
        CHECK_NUMBER(misses(known[i].name, &trace, 800), known[i].large);
        CHECK_NUMBER(misses(known[i].name, &phases, 500), known[i].phases);
    }
    sim_trace_free(&trace);
    sim_trace_free(&phases);
}

static void windows_add_up(void)
{
    struct tarn_trace_data trace = sim_trace_random(1003, 100, 9, 1, 3);
    struct tarn_run run, all;
    struct tarn_run_params params = {.windows = 10};
    uint64_t gets = 0, missed = 0, end = 0;
    REQUIRE(tarn_baseline_run("arc", &trace, 100, &params, &run, NULL) == TARN_OK);
    REQUIRE(tarn_baseline_run("arc", &trace, 100, NULL, &all, NULL) == TARN_OK);
    CHECK_NUMBER(run.window_count, 10);
    for (size_t i = 0; i < run.window_count; i++) {
        CHECK(run.windows[i].end > end);
        end = run.windows[i].end;
        gets += run.windows[i].gets;
        missed += run.windows[i].misses;
    }
    CHECK_NUMBER(end, trace.count);
    CHECK_NUMBER(gets, run.gets);
    CHECK_NUMBER(missed, run.misses);
    CHECK_NUMBER(run.misses, all.misses);
    CHECK_NUMBER(run.miss_bytes, all.miss_bytes);
    CHECK(run.gets < run.requests && run.miss_bytes <= run.get_bytes);
    CHECK(all.windows == NULL);
    tarn_run_clear(&run);
    tarn_run_clear(&all);
    sim_trace_free(&trace);
}

/* A limit in objects on a trace with sizes is the same trace with unit sizes, but for its bytes. */
static void limits_in_objects(void)
{
    struct tarn_trace_data unit = sim_trace_random(3000, 300, 1, 0, 5);
    struct tarn_trace_data sized = sim_trace_random(3000, 300, 50, 0, 5);
    for (size_t p = 0; tarn_baseline_name(p) != NULL; p++) {
        struct tarn_run a, b;
        struct tarn_run_params params = {.count_objects = true};
        REQUIRE(tarn_baseline_run(tarn_baseline_name(p), &unit, 30, NULL, &a, NULL) == TARN_OK);
        REQUIRE(tarn_baseline_run(tarn_baseline_name(p), &sized, 30, &params, &b, NULL) == TARN_OK);
        CHECK_NUMBER(a.misses, b.misses);
        CHECK(b.miss_bytes > b.misses);
    }
    sim_trace_free(&unit);
    sim_trace_free(&sized);
}

static void bad_requests_are_refused(void)
{
    struct tarn_trace_data trace = sim_trace_random(10, 5, 1, 0, 1);
    struct tarn_error error = {0};
    struct tarn_run run;
    CHECK(tarn_baseline_run("mru", &trace, 5, NULL, &run, &error) == TARN_NOT_FOUND);
    CHECK(strstr(error.message, "mru") != NULL);
    CHECK(tarn_baseline_run("lru", &trace, 0, NULL, &run, &error) == TARN_INVALID);
    CHECK(tarn_baseline_run("lru", &trace, UINT64_MAX, NULL, &run, &error) == TARN_INVALID);
    CHECK(tarn_baseline_known("s3fifo") && !tarn_baseline_known("s3-fifo"));
    sim_trace_free(&trace);
}

CHECK_MAIN(CASE(lru_fifo_belady_match_their_plain_definitions), CASE(belady_is_optimal),
           CASE(nothing_beats_belady), CASE(a_cache_for_all_misses_each_object_once),
           CASE(the_limit_holds_and_runs_repeat), CASE(overwrites_deletes_and_large_objects),
           CASE(belady_sees_overwrites), CASE(gdsf_weighs_costs_if_asked),
           CASE(counts_of_a_known_trace), CASE(windows_add_up), CASE(limits_in_objects),
           CASE(bad_requests_are_refused))
