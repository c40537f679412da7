/* SPDX-License-Identifier: Apache-2.0 */
/* The chart of `tarn replay`: for each trace and size the policies in order, then misses over time.
 */
#include "replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "plot/plot.h"

enum { POINTS = 64, LINES = 7 }; /* a line of a chart, at most; lines that can be told apart */

/* All that the panels point to. */
struct chart {
    struct tarn_plot_panel *panels;
    struct tarn_plot_series *series; /* [panels][policies] */
    double *values;                  /* [panels][policies][2][POINTS] */
    char (*titles)[160];             /* [panels] */
};

static tarn_plot_role role_of(const char *policy)
{
    return strcmp(policy, "learned") == 0  ? TARN_PLOT_HERO
           : strcmp(policy, "lru") == 0    ? TARN_PLOT_REFERENCE
           : strcmp(policy, "belady") == 0 ? TARN_PLOT_BOUND
                                           : TARN_PLOT_NORMAL;
}

static double value_of(const struct tarn_plot_series *series)
{
    return isfinite(series->x[0]) ? series->x[0] : INFINITY;
}

/* Fewest misses first. */
static int by_value(const void *a, const void *b)
{
    double x = value_of(a), y = value_of(b);
    return x < y ? -1 : x > y;
}

/* The run's windows, joined to at most POINTS points, each where its window ends. */
static size_t join_windows(const struct tarn_run *run, double *x, double *y)
{
    size_t points = run->window_count < POINTS ? run->window_count : POINTS;
    for (size_t p = 0; p < points; p++) {
        uint64_t gets = 0, misses = 0, end = 0;
        for (size_t i = run->window_count * p / points; i < run->window_count * (p + 1) / points;
             i++) {
            gets += run->windows[i].gets;
            misses += run->windows[i].misses;
            end = run->windows[i].end;
        }
        x[p] = (double)end;
        y[p] = gets > 0 ? (double)misses / (double)gets : NAN;
    }
    return points;
}

static unsigned color_of(const char *policy)
{
    unsigned color = 0;
    for (size_t i = 0; tarn_baseline_name(i) != NULL; i++) {
        if (strcmp(tarn_baseline_name(i), policy) == 0)
            break;
        color += role_of(tarn_baseline_name(i)) == TARN_PLOT_NORMAL;
    }
    return color;
}

static void fill_dots(struct tarn_plot_panel *panel, struct tarn_plot_series *series,
                      double *values, const struct tarn_replay_result *results, size_t policies)
{
    for (size_t i = 0; i < policies; i++) {
        values[i] = tarn_run_miss_ratio(&results[i].run);
        series[i] = (struct tarn_plot_series){
            .name = results[i].policy,
            .role = role_of(results[i].policy),
            .color = color_of(results[i].policy),
            .x = &values[i],
            .count = 1,
        };
    }
    qsort(series, policies, sizeof *series, by_value);
    panel->kind = TARN_PLOT_DOTS;
    panel->x_label = "miss ratio (lower is better)";
    panel->series_count = policies;
}

/* Among many policies: those with a role, and the best of the others. `dots` is sorted. */
static void fill_lines(struct tarn_plot_panel *panel, struct tarn_plot_series *series,
                       double *values, const struct tarn_plot_series *dots,
                       const struct tarn_replay_result *results, size_t policies)
{
    size_t special = 0, normal = 0;
    for (size_t i = 0; i < policies; i++)
        special += dots[i].role != TARN_PLOT_NORMAL;
    for (size_t i = 0; i < policies; i++) {
        const struct tarn_replay_result *result = results;
        struct tarn_plot_series *line = &series[panel->series_count];
        if (dots[i].role == TARN_PLOT_NORMAL && normal++ + special >= LINES)
            continue;
        while (result->policy != dots[i].name)
            result++;
        double *x = values + i * 2 * POINTS, *y = x + POINTS;
        *line = dots[i];
        line->count = join_windows(&result->run, x, y);
        line->x = x;
        line->y = y;
        panel->series_count++;
    }
    panel->kind = TARN_PLOT_LINES;
    panel->x_label = "requests";
    panel->y_label = "miss ratio over time";
}

/* "1,234,567" */
static const char *group(uint64_t value, char text[32])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    char *to = text;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

static tarn_status draw(const char *path, const struct tarn_replayed *traces, size_t count,
                        size_t sizes, size_t policies, struct chart *chart,
                        struct tarn_error *error)
{
    char title[200], subtitle[200], amount[64], requests[32], objects[32], *svg = NULL;
    size_t columns = sizes <= 2 || sizes == 4 ? 2 : 3, panels = 0, size = 0;
    for (size_t t = 0; t < count; t++) {
        /* A row of dots and the row of lines below it; with one size the two stand side by side. */
        for (size_t from = 0; from < sizes; from += columns) {
            size_t to = from + columns < sizes ? from + columns : sizes, dots = panels;
            for (int kind = 0; kind < 2; kind++) {
                for (size_t s = from; s < to; s++, panels++) {
                    const struct tarn_replay_result *results = &traces[t].results[s * policies];
                    struct tarn_plot_panel *panel = &chart->panels[panels];
                    struct tarn_plot_series *series = &chart->series[panels * policies];
                    double *values = &chart->values[panels * policies * 2 * POINTS];
                    tarn_replay_amount(results->capacity, results->objects, amount);
                    snprintf(chart->titles[panels], sizeof *chart->titles, "%s%sCache of %s (%s)",
                             count > 1 ? traces[t].name : "", count > 1 ? ": " : "", results->size,
                             amount);
                    panel->title = chart->titles[panels];
                    panel->percent = true;
                    panel->series = series;
                    if (kind == 0)
                        fill_dots(panel, series, values, results, policies);
                    else
                        fill_lines(panel, series, values,
                                   &chart->series[(dots + s - from) * policies], results, policies);
                }
                /* An unfilled row ends with empty panels. */
                for (size_t s = to; sizes > 1 && s < from + columns; s++)
                    chart->panels[panels++] = (struct tarn_plot_panel){.title = ""};
            }
        }
    }
    tarn_replay_amount(traces->footprint, traces->unit_sizes, amount);
    if (count == 1) {
        snprintf(title, sizeof title, "Cache misses on %s", traces->name);
        snprintf(subtitle, sizeof subtitle, "%s requests to %s objects%s%s%s",
                 group(traces->requests, requests), group(traces->objects, objects),
                 traces->unit_sizes ? "" : ", ", traces->unit_sizes ? "" : amount,
                 traces->unit_sizes ? "" : " in all");
    } else {
        snprintf(title, sizeof title, "Cache misses on %zu traces", count);
        snprintf(subtitle, sizeof subtitle, "each replayed with %zu %s and %zu %s", policies,
                 policies == 1 ? "policy" : "policies", sizes, sizes == 1 ? "size" : "sizes");
    }
    tarn_status status = tarn_plot_svg(
        &(struct tarn_plot){
            .title = title,
            .subtitle = subtitle,
            .footer = "tarn " TARN_VERSION " replay. belady knows the future; no cache can.",
            .panels = chart->panels,
            .panel_count = panels,
            .columns = (unsigned)columns,
        },
        &svg, &size);
    if (status != TARN_OK)
        return tarn_fail(error, status, "%s: the chart: %s", path, tarn_status_message(status));
    status = tarn_file_replace(path, svg, size, error);
    tarn_free(svg);
    return status;
}

tarn_status tarn_replay_plot(const char *path, const struct tarn_replayed *traces, size_t count,
                             size_t sizes, size_t policies, struct tarn_error *error)
{
    /* Up to 2 empty panels a row. */
    size_t panels = count * (sizes + 2) * 2;
    struct chart chart = {
        .panels = calloc(panels, sizeof *chart.panels),
        .series = calloc(panels * policies, sizeof *chart.series),
        .values = calloc(panels * policies * 2 * POINTS, sizeof *chart.values),
        .titles = calloc(panels, sizeof *chart.titles),
    };
    tarn_status status;
    if (chart.panels == NULL || chart.series == NULL || chart.values == NULL ||
        chart.titles == NULL)
        status = tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path);
    else
        status = draw(path, traces, count, sizes, policies, &chart, error);
    free(chart.panels);
    free(chart.series);
    free(chart.values);
    free(chart.titles);
    return status;
}
