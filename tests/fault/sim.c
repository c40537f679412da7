/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of a replay and of a chart fails once: the call says TARN_NO_MEMORY, nothing leaks,
 * and with memory again the figures are what they were.
 */
#include <math.h>

#include "../check.h"
#include "../failing_heap.h"
#include "../unit/sim_trace.h"
#include "base/memory.h"
#include "plot/plot.h"
#include "sim/replay.h"

static void each_allocation_of_a_replay_fails(void)
{
    struct tarn_trace_data trace = sim_trace_random(500, 60, 9, 1, 1);
    struct tarn_replay_limit limit = {.text = "100", .capacity = 100};
    struct tarn_replay_params params = {.run = {.windows = 10}};
    for (size_t p = 0; tarn_baseline_name(p) != NULL; p++) {
        const char *name = tarn_baseline_name(p);
        struct tarn_replay_result result;
        struct tarn_error error;
        begin(0);
        REQUIRE(tarn_replay_run(&trace, name, &limit, &params, &result, &error) == TARN_OK);
        uint64_t misses = result.run.misses;
        long needed = asked;
        tarn_replay_result_clear(&result);
        CHECK_NUMBER(held, 0);
        CHECK(needed >= 4);
        for (long at = 1; at <= needed; at++) {
            begin(at);
            CHECK(tarn_replay_run(&trace, name, &limit, &params, &result, &error) ==
                  TARN_NO_MEMORY);
            CHECK(error.status == TARN_NO_MEMORY && strstr(error.message, name) != NULL);
            CHECK(result.run.windows == NULL);
            CHECK_NUMBER(held, 0);
        }
        begin(0);
        REQUIRE(tarn_replay_run(&trace, name, &limit, &params, &result, &error) == TARN_OK);
        CHECK_NUMBER(result.run.misses, misses);
        tarn_replay_result_clear(&result);
    }
    tarn_memory_set_hook(NULL);
    sim_trace_free(&trace);
}

/* Once created, a cache allocates nothing: the requests cost what they cost. */
static void requests_allocate_nothing(void)
{
    struct tarn_trace_data trace = sim_trace_random(3000, 60, 9, 1, 2);
    for (size_t p = 0; tarn_baseline_name(p) != NULL; p++) {
        tarn_baseline *baseline = NULL;
        begin(0);
        REQUIRE(tarn_baseline_create(tarn_baseline_name(p), &trace, 100,
                                     &(struct tarn_run_params){.seed = 1}, &baseline,
                                     NULL) == TARN_OK);
        long created = asked;
        for (uint32_t i = 0; i < trace.count; i++)
            tarn_baseline_access(baseline, i);
        CHECK_NUMBER(asked, created);
        tarn_baseline_destroy(&baseline);
        CHECK_NUMBER(held, 0);
    }
    tarn_memory_set_hook(NULL);
    sim_trace_free(&trace);
}

static void each_allocation_of_a_chart_fails(void)
{
    enum { N = 2000 };
    static double x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = y[i] = sin(i);
    struct tarn_plot_series series = {.name = "s", .x = x, .y = y, .count = N};
    struct tarn_plot_panel panels[] = {
        {.kind = TARN_PLOT_LINES, .title = "l", .series = &series, .series_count = 1},
        {.kind = TARN_PLOT_DOTS, .title = "d", .series = &series, .series_count = 1},
    };
    struct tarn_plot plot = {.title = "t", .panels = panels, .panel_count = 2, .columns = 2};
    char *svg = NULL;
    size_t size = 0;
    begin(0);
    REQUIRE(tarn_plot_svg(&plot, &svg, &size) == TARN_OK);
    tarn_free(svg);
    CHECK_NUMBER(held, 0);
    long needed = asked;
    CHECK(needed > 2);
    for (long at = 1; at <= needed; at++) {
        svg = NULL;
        begin(at);
        CHECK(tarn_plot_svg(&plot, &svg, &size) == TARN_NO_MEMORY);
        CHECK(svg == NULL);
        CHECK_NUMBER(held, 0);
    }
    tarn_memory_set_hook(NULL);
}

CHECK_MAIN(CASE(each_allocation_of_a_replay_fails), CASE(requests_allocate_nothing),
           CASE(each_allocation_of_a_chart_fails))
