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

enum { QUANTILES = 100 };

/* Sorted by the report before. */
static struct tarn_plot_series by_percentile(const struct tarn_share_way *way, const char *name,
                                             double *x, double *y, bool magnitude)
{
    size_t points = way->count > 0 ? QUANTILES : 0;
    for (size_t i = 0; i < points; i++) {
        x[i] = 100.0 * (double)i / (QUANTILES - 1);
        size_t at = (size_t)(x[i] / 100 * (double)(way->count - 1));
        y[i] = magnitude ? log10(fmax(way->latency_us[at], 0.1)) : way->latency_us[at];
    }
    return (struct tarn_plot_series){.name = name, .x = x, .y = y, .count = points};
}

tarn_status tarn_share_plot(const struct tarn_share_bench *bench, const char *device,
                            const char *path, struct tarn_error *error)
{
    static double x[5][QUANTILES], y[5][QUANTILES];
    static double at[2][TARN_SHARE_POINTS], share[2][TARN_SHARE_POINTS];
    const struct tarn_share_way *ways = bench->way;
    struct tarn_plot_series close[2] = {
        by_percentile(&ways[TARN_SHARE_ALONE], "alone", x[0], y[0], false),
        by_percentile(&ways[TARN_SHARE_ARBITER], "arbiter", x[1], y[1], false),
    };
    struct tarn_plot_series all[3] = {
        by_percentile(&ways[TARN_SHARE_ALONE], "alone", x[2], y[2], true),
        by_percentile(&ways[TARN_SHARE_ARBITER], "arbiter", x[3], y[3], true),
        by_percentile(&ways[TARN_SHARE_NAIVE], "naive", x[4], y[4], true),
    };
    close[0].role = all[0].role = TARN_PLOT_REFERENCE;
    close[1].role = all[1].role = TARN_PLOT_HERO;
    size_t points = bench->points;
    for (size_t i = 0; i < points; i++) {
        at[0][i] = at[1][i] = bench->timeline[i].at_ms;
        share[0][i] = bench->timeline[i].lookups;
        share[1][i] = bench->timeline[i].training;
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
         .title = "Latency of lookups",
         .x_label = "percentile",
         .y_label = "us",
         .series = close,
         .series_count = 2},
        {.kind = TARN_PLOT_LINES,
         .title = "The same beside no control",
         .x_label = "percentile",
         .y_label = "log10 of us",
         .series = all,
         .series_count = 3},
        {.kind = TARN_PLOT_LINES,
         .title = "The device's time under the arbiter",
         .x_label = "ms",
         .y_label = "share",
         .percent = true,
         .series = time,
         .series_count = points > 0 ? 2 : 0},
    };
    char title[96];
    snprintf(title, sizeof title, "Lookups and gradient steps on %s", device);
    char *svg;
    size_t size;
    tarn_status status = tarn_plot_svg(
        &(struct tarn_plot){.title = title, .panels = panels, .panel_count = 3, .columns = 3}, &svg,
        &size);
    if (status != TARN_OK)
        return tarn_fail(error, status, "%s: %s", path, tarn_status_message(status));
    status = tarn_file_replace(path, svg, size, error);
    tarn_free(svg);
    return status;
}
