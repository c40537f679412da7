/* SPDX-License-Identifier: Apache-2.0 */
/* The chart of `tarn bench share`: latencies by percentile, and who had the device when. */
#include "share_bench.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "plot/plot.h"

enum { QUANTILES = 199 };

#define MOST_PERCENT 99 /* the last one would set the scale of all others */

static double percentile(const struct tarn_share_way *way, double percent)
{
    return way->count > 0 ? way->latency_us[(size_t)(percent / 100 * (double)(way->count - 1))]
                          : NAN;
}

/* `unit_us`: of the axis. */
static struct tarn_plot_series by_percentile(const struct tarn_share_way *way, const char *name,
                                             double *x, double *y, double unit_us)
{
    size_t points = way->count > 0 ? QUANTILES : 0;
    for (size_t i = 0; i < points; i++) {
        x[i] = (double)MOST_PERCENT * (double)i / (QUANTILES - 1);
        y[i] = percentile(way, x[i]) / unit_us;
    }
    return (struct tarn_plot_series){.name = name, .x = x, .y = y, .count = points};
}

static void describe(const struct tarn_share_bench *bench, char *text, size_t size)
{
    const struct tarn_share_way *w = bench->way;
    snprintf(text, size,
             "p50 and p99 of lookups: alone %.0f and %.0f us, arbiter %.0f and %.0f us, without "
             "control %.3g and %.3g ms",
             percentile(&w[TARN_SHARE_ALONE], 50), percentile(&w[TARN_SHARE_ALONE], 99),
             percentile(&w[TARN_SHARE_ARBITER], 50), percentile(&w[TARN_SHARE_ARBITER], 99),
             percentile(&w[TARN_SHARE_NAIVE], 50) * 1e-3,
             percentile(&w[TARN_SHARE_NAIVE], 99) * 1e-3);
}

tarn_status tarn_share_plot(const struct tarn_share_bench *bench, const char *device,
                            const char *path, struct tarn_error *error)
{
    static double x[5][QUANTILES], y[5][QUANTILES];
    static double at[2][TARN_SHARE_POINTS], share[2][TARN_SHARE_POINTS];
    const struct tarn_share_way *ways = bench->way;
    struct tarn_plot_series close[2] = {
        by_percentile(&ways[TARN_SHARE_ALONE], "alone", x[0], y[0], 1),
        by_percentile(&ways[TARN_SHARE_ARBITER], "arbiter", x[1], y[1], 1),
    };
    struct tarn_plot_series all[3] = {
        by_percentile(&ways[TARN_SHARE_ALONE], "alone", x[2], y[2], 1000),
        by_percentile(&ways[TARN_SHARE_ARBITER], "arbiter", x[3], y[3], 1000),
        by_percentile(&ways[TARN_SHARE_NAIVE], "no control", x[4], y[4], 1000),
    };
    close[0].role = all[0].role = TARN_PLOT_REFERENCE;
    close[1].role = all[1].role = TARN_PLOT_HERO;
    size_t points = bench->points;
    for (size_t i = 0; i < points; i++) {
        at[0][i] = at[1][i] = bench->timeline[i].at_ms;
        share[0][i] = bench->timeline[i].lookups;
        /* a slice counts when it ends, and may have begun in the window before */
        share[1][i] = fmin(bench->timeline[i].training, 1);
    }
    const struct tarn_plot_series time[2] = {
        {.name = "lookups",
         .role = TARN_PLOT_REFERENCE,
         .x = at[0],
         .y = share[0],
         .count = points},
        {.name = "training", .role = TARN_PLOT_HERO, .x = at[1], .y = share[1], .count = points},
    };
    const struct tarn_plot_panel panels[3] = {
        {.kind = TARN_PLOT_LINES,
         .title = "Lookups under the arbiter",
         .x_label = "percentile",
         .y_label = "latency, us",
         .series = close,
         .series_count = 2},
        {.kind = TARN_PLOT_LINES,
         .title = "Beside a backlog without control",
         .x_label = "percentile",
         .y_label = "latency, ms",
         .series = all,
         .series_count = 3},
        {.kind = TARN_PLOT_LINES,
         .title = "Who has the device under the arbiter",
         .x_label = "time, ms",
         .y_label = "share of the device's time",
         .percent = true,
         .series = time,
         .series_count = points > 0 ? 2 : 0},
    };
    char title[96], subtitle[256], footer[128];
    snprintf(title, sizeof title, "Lookups and gradient steps on %s", device);
    describe(bench, subtitle, sizeof subtitle);
    snprintf(footer, sizeof footer, "Slices of at most %u us, %u in flight; `tarn bench share`.",
             (unsigned)bench->stats.quantum_us, (unsigned)bench->stats.in_flight);
    char *svg;
    size_t size;
    tarn_status status = tarn_plot_svg(&(struct tarn_plot){.title = title,
                                                           .subtitle = subtitle,
                                                           .footer = footer,
                                                           .panels = panels,
                                                           .panel_count = 3,
                                                           .columns = 3},
                                       &svg, &size);
    if (status != TARN_OK)
        return tarn_fail(error, status, "%s: %s", path, tarn_status_message(status));
    status = tarn_file_replace(path, svg, size, error);
    tarn_free(svg);
    return status;
}
