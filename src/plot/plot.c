/* SPDX-License-Identifier: Apache-2.0 */
#include "plot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "svg.h"

enum {
    PAGE = 1200, /* px, all of these */
    MARGIN = 36,
    GAP = 44,  /* between panels */
    HEAD = 92, /* page title and subtitle */
    FOOT = 40,
    TITLE = 44, /* a panel's title, and its y label */
    AXIS = 48,  /* ticks and x label */
    ROW = 24,   /* of dots, at least */
    ROW_MAX = 36,
    BELOW = 18, /* a row of panels */
    LINES_HEIGHT = 250,
    LABEL_GAP = 14, /* least distance of two labels beside lines */
    TICKS = 12,
};

/* On white and on near-black alike: at least 3:1 against both, apart from one another for all. */
static const char *const palette[] = {"#0077bb", "#009e73", "#cc79a7", "#b8860b",
                                      "#56a0d3", "#7a68a6", "#8c6d46", "#5f9ea0",
                                      "#a8527a", "#6b8e23", "#8a8a8a"};
enum { COLORS = sizeof palette / sizeof palette[0] };

static const char style[] =
    "<style>\n"
    "text{font-family:Inter,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif;font-size:13px}\n"
    ".page{fill:#fff}.ink{fill:#1c2127}.soft{fill:#5b6570}.h1{font-size:25px;font-weight:600}\n"
    ".h2{font-size:14.5px}.h3{font-size:15.5px;font-weight:600}.tick{font-size:12px}\n"
    ".label{font-size:12.5px}.bold{font-weight:700}\n"
    ".grid{stroke:#e4e8ec;stroke-width:1}.axis{stroke:#9aa4ae;stroke-width:1}\n"
    ".lead{stroke:#b9c1c9;stroke-width:.8;fill:none}\n"
    ".line{fill:none;stroke-width:1.7;stroke-linejoin:round;stroke-linecap:round}\n"
    ".hero{stroke:#d1430f;stroke-width:3.2}.heroi{fill:#d1430f}\n"
    ".ref{stroke:#1c2127;stroke-width:2.2}.refi{fill:#1c2127}\n"
    ".bound{stroke:#5b6570;stroke-width:1.7;stroke-dasharray:5 4}.boundi{fill:#5b6570}\n"
    ".ring{fill:#fff;stroke:#5b6570;stroke-width:2}\n"
    "@media (prefers-color-scheme:dark){.page{fill:#14181d}.ink{fill:#e8ebee}.soft{fill:#a2acb6}\n"
    ".grid{stroke:#2a3138}.axis{stroke:#6d7781}.lead{stroke:#4a535c}\n"
    ".hero{stroke:#ff7a45}.heroi{fill:#ff7a45}.ref{stroke:#e8ebee}.refi{fill:#e8ebee}\n"
    ".bound{stroke:#a2acb6}.boundi{fill:#a2acb6}.ring{fill:#14181d;stroke:#a2acb6}}\n"
    "</style>\n";

struct box {
    double x, y, width, height;
};

struct scale {
    double low, high, step; /* values */
    double first;           /* tick */
    double from, to;        /* px */
    int decimals;           /* of tick labels */
    bool percent;
};

static double place(const struct scale *scale, double value)
{
    return scale->from +
           (value - scale->low) / (scale->high - scale->low) * (scale->to - scale->from);
}

/* A step of 1, 2 or 5 times a power of ten that gives about `wanted` ticks; both ends are ticks. */
static struct scale make_scale(double low, double high, double wanted, bool percent, double from,
                               double to)
{
    struct scale scale = {.from = from, .to = to, .percent = percent};
    if (!(low <= high)) {
        low = 0;
        high = 1;
    }
    double span = high - low, least = fmax(fabs(low), fabs(high)) * 1e-3;
    if (span < least || span <= 0) {
        double middle = (low + high) / 2;
        span = least > 0 ? least : 1;
        low = middle - span / 2;
        high = middle + span / 2;
    }
    double power = pow(10, floor(log10(span / wanted))), ratio = span / wanted / power;
    scale.step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
    scale.low = floor(low / scale.step + 1e-9) * scale.step;
    scale.high = ceil(high / scale.step - 1e-9) * scale.step;
    scale.first = scale.low;
    double shown = percent ? scale.step * 100 : scale.step;
    while (scale.decimals < 6 && fabs(shown - round(shown)) > 1e-6 * shown) {
        shown *= 10;
        scale.decimals++;
    }
    return scale;
}

/* Ends of the scale other than ticks. */
static void narrow_scale(struct scale *scale, double low, double high)
{
    scale->low = low;
    scale->high = high;
    while (scale->first < low)
        scale->first += scale->step;
}

/* A count with a suffix, so that a million fits under a tick. */
static void format_number(const struct scale *scale, double value, int decimals, char text[32])
{
    if (fabs(value) < scale->step * 1e-6)
        value = 0;
    if (scale->percent)
        snprintf(text, 32, "%.*f\xe2\x80\xaf%%", decimals, value * 100);
    else if (fabs(value) >= 1e6)
        snprintf(text, 32, "%.4gM", value / 1e6);
    else if (fabs(value) >= 1e4)
        snprintf(text, 32, "%.4gk", value / 1e3);
    else
        snprintf(text, 32, "%.*f", decimals, value);
}

static void add_text(struct tarn_svg *svg, double x, double y, const char *class,
                     const char *anchor, const char *text)
{
    if (text == NULL || text[0] == '\0')
        return;
    tarn_svg_add(svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">", x, y, class,
                 anchor);
    tarn_svg_text(svg, text);
    tarn_svg_add(svg, "</text>\n");
}

static void add_line(struct tarn_svg *svg, double x1, double y1, double x2, double y2,
                     const char *class)
{
    tarn_svg_add(svg, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", class, x1, y1, x2, y2);
}

static void add_x_axis(struct tarn_svg *svg, const struct scale *scale, double top, double bottom,
                       const char *label)
{
    char text[32];
    for (int i = 0; i <= TICKS; i++) {
        double value = scale->first + i * scale->step;
        if (value > scale->high + scale->step * 1e-6)
            break;
        double x = place(scale, value);
        add_line(svg, x, top, x, bottom, "grid");
        format_number(scale, value, scale->decimals, text);
        add_text(svg, x, bottom + 18, "tick soft", "middle", text);
    }
    add_line(svg, scale->from, bottom, scale->to, bottom, "axis");
    add_text(svg, (scale->from + scale->to) / 2, bottom + 38, "tick soft", "middle", label);
}

/* Widest name in px, by the number of characters. */
static double names_width(const struct tarn_plot_panel *panel)
{
    size_t most = 3;
    for (size_t i = 0; i < panel->series_count; i++) {
        size_t length = 0;
        for (const char *c = panel->series[i].name; *c != '\0'; c++)
            length += ((unsigned char)*c & 0xc0) != 0x80;
        most = length > most ? length : most;
    }
    return (double)(most < 24 ? most : 24) * 7.4 + 8;
}

static const char *color_of(const struct tarn_plot_series *series)
{
    return palette[series->color % COLORS];
}

static void draw_dots(struct tarn_svg *svg, const struct tarn_plot_panel *panel, struct box box)
{
    double low = INFINITY, high = -INFINITY, names = names_width(panel);
    for (size_t i = 0; i < panel->series_count; i++) {
        const struct tarn_plot_series *s = &panel->series[i];
        if (s->count > 0 && isfinite(s->x[0])) {
            low = fmin(low, s->x[0]);
            high = fmax(high, s->x[0]);
        }
    }
    double from = box.x + names + 8, to = box.x + box.width - 58;
    double row = fmin((box.height - AXIS) / (double)panel->series_count, ROW_MAX);
    double bottom = box.y + (double)panel->series_count * row;
    struct scale scale = make_scale(low, high, (to - from) / 55, panel->percent, from, to);
    if (high > low)
        narrow_scale(&scale, low - 0.04 * (high - low), high + 0.04 * (high - low));
    add_x_axis(svg, &scale, box.y, bottom, panel->x_label);
    for (size_t i = 0; i < panel->series_count; i++) {
        const struct tarn_plot_series *s = &panel->series[i];
        double y = box.y + ((double)i + 0.5) * row;
        bool hero = s->role == TARN_PLOT_HERO;
        add_text(svg, box.x + names, y + 4.5, hero ? "label heroi bold" : "label ink", "end",
                 s->name);
        add_line(svg, from, y, to, y, "grid");
        if (s->count == 0 || !isfinite(s->x[0]))
            continue;
        double x = place(&scale, s->x[0]);
        char text[32];
        format_number(&scale, s->x[0], scale.decimals + 1, text);
        if (s->role == TARN_PLOT_BOUND)
            tarn_svg_add(svg, "<circle class=\"ring\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", x, y);
        else if (s->role == TARN_PLOT_NORMAL)
            tarn_svg_add(svg, "<circle fill=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5.2\"/>\n",
                         color_of(s), x, y);
        else
            tarn_svg_add(svg, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n",
                         hero ? "heroi" : "refi", x, y, hero ? 7.5 : 5.8);
        add_text(svg, box.x + box.width, y + 4.5, hero ? "label heroi bold" : "label ink", "end",
                 text);
    }
}

struct end_label {
    const struct tarn_plot_series *series;
    double x, y, at; /* where the line ends; where the label goes */
};

static int by_height(const void *a, const void *b)
{
    const struct end_label *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Labels keep their distance: each is pushed below the one above, and the whole back into the
 * panel. */
static void spread_labels(struct end_label *labels, size_t count, double bottom)
{
    qsort(labels, count, sizeof *labels, by_height);
    for (size_t i = 1; i < count; i++)
        labels[i].at = fmax(labels[i].at, labels[i - 1].at + LABEL_GAP);
    for (size_t i = count; i-- > 0;) {
        double limit = i + 1 == count ? bottom : labels[i + 1].at - LABEL_GAP;
        labels[i].at = fmin(labels[i].at, limit);
    }
}

static void draw_line(struct tarn_svg *svg, const struct tarn_plot_series *s, const struct scale *x,
                      const struct scale *y)
{
    static const char *const classes[] = {"line", "line hero", "line ref", "line bound"};
    bool pen_down = false;
    tarn_svg_add(svg, "<path class=\"%s\"", classes[s->role]);
    if (s->role == TARN_PLOT_NORMAL)
        tarn_svg_add(svg, " stroke=\"%s\"", color_of(s));
    tarn_svg_add(svg, " d=\"");
    for (size_t i = 0; i < s->count; i++) {
        bool known = isfinite(s->x[i]) && isfinite(s->y[i]);
        if (known)
            tarn_svg_add(svg, "%s%.1f %.1f", pen_down ? "L" : "M", place(x, s->x[i]),
                         place(y, s->y[i]));
        pen_down = known;
    }
    tarn_svg_add(svg, "\"/>\n");
}

static void draw_labels(struct tarn_svg *svg, const struct tarn_plot_panel *panel,
                        struct end_label *labels, const struct scale *x, const struct scale *y)
{
    size_t count = 0;
    for (size_t i = 0; i < panel->series_count; i++) {
        const struct tarn_plot_series *s = &panel->series[i];
        for (size_t k = s->count; k-- > 0;)
            if (isfinite(s->x[k]) && isfinite(s->y[k])) {
                double at = place(y, s->y[k]);
                labels[count++] = (struct end_label){s, place(x, s->x[k]), at, at};
                break;
            }
    }
    spread_labels(labels, count, y->from);
    for (size_t i = 0; i < count; i++) {
        static const char *const classes[] = {"label", "label heroi bold", "label refi bold",
                                              "label boundi"};
        const struct tarn_plot_series *s = labels[i].series;
        double right = x->to + 16;
        add_line(svg, labels[i].x + 3, labels[i].y, right - 3, labels[i].at, "lead");
        tarn_svg_add(svg, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\"", right, labels[i].at + 4.2,
                     classes[s->role]);
        if (s->role == TARN_PLOT_NORMAL)
            tarn_svg_add(svg, " fill=\"%s\"", color_of(s));
        tarn_svg_add(svg, ">");
        tarn_svg_text(svg, s->name);
        tarn_svg_add(svg, "</text>\n");
    }
}

static void draw_lines(struct tarn_svg *svg, const struct tarn_plot_panel *panel, struct box box)
{
    static const tarn_plot_role order[] = {TARN_PLOT_NORMAL, TARN_PLOT_BOUND, TARN_PLOT_REFERENCE,
                                           TARN_PLOT_HERO};
    double low[2] = {INFINITY, INFINITY}, high[2] = {-INFINITY, -INFINITY};
    char text[32];
    for (size_t i = 0; i < panel->series_count; i++) {
        const struct tarn_plot_series *s = &panel->series[i];
        for (size_t k = 0; k < s->count; k++) {
            if (!isfinite(s->x[k]) || !isfinite(s->y[k]))
                continue;
            low[0] = fmin(low[0], s->x[k]);
            high[0] = fmax(high[0], s->x[k]);
            low[1] = fmin(low[1], s->y[k]);
            high[1] = fmax(high[1], s->y[k]);
        }
    }
    double from = box.x + 48, to = box.x + box.width - names_width(panel) - 16;
    double bottom = box.y + box.height - AXIS;
    struct scale x = make_scale(fmin(low[0], 0), high[0], (to - from) / 90, false, from, to);
    struct scale y =
        make_scale(low[1], high[1], (bottom - box.y) / 50, panel->percent, bottom, box.y);
    if (high[0] > x.low)
        narrow_scale(&x, x.low, high[0]); /* a series ends where it ends */
    add_x_axis(svg, &x, bottom, bottom, panel->x_label);
    for (int i = 0; i <= TICKS; i++) {
        double value = y.low + i * y.step;
        if (value > y.high + y.step * 1e-6)
            break;
        add_line(svg, from, place(&y, value), to, place(&y, value), "grid");
        format_number(&y, value, y.decimals, text);
        add_text(svg, from - 8, place(&y, value) + 4, "tick soft", "end", text);
    }
    for (size_t role = 0; role < sizeof order / sizeof order[0]; role++)
        for (size_t i = 0; i < panel->series_count; i++)
            if (panel->series[i].role == order[role])
                draw_line(svg, &panel->series[i], &x, &y);
    struct end_label *labels = tarn_alloc_zeroed(panel->series_count + 1, sizeof *labels);
    if (labels == NULL) {
        svg->failed = true;
        return;
    }
    draw_labels(svg, panel, labels, &x, &y);
    tarn_free(labels);
}

static double panel_height(const struct tarn_plot_panel *panel)
{
    double rows = (double)panel->series_count;
    if (panel->kind == TARN_PLOT_DOTS)
        return rows * ROW + AXIS;
    return fmax(LINES_HEIGHT, rows * LABEL_GAP + 20) + AXIS;
}

static double row_height(const struct tarn_plot *plot, size_t first)
{
    double height = 0;
    for (size_t i = first; i < plot->panel_count && i < first + plot->columns; i++)
        height = fmax(height, panel_height(&plot->panels[i]));
    return height + TITLE + BELOW;
}

tarn_status tarn_plot_svg(const struct tarn_plot *plot, char **svg, size_t *size)
{
    struct tarn_svg out = {0};
    double height = HEAD + FOOT;
    if (plot->panel_count == 0 || plot->columns < 1 || plot->columns > 4)
        return TARN_INVALID;
    for (size_t i = 0; i < plot->panel_count; i += plot->columns)
        height += row_height(plot, i);
    tarn_svg_add(&out,
                 "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" "
                 "height=\"%.0f\" role=\"img\">\n<title>",
                 PAGE, height, PAGE, height);
    tarn_svg_text(&out, plot->title);
    tarn_svg_add(&out, "</title>\n");
    tarn_svg_add(&out, "%s<rect class=\"page\" width=\"%d\" height=\"%.0f\"/>\n", style, PAGE,
                 height);
    add_text(&out, MARGIN, 44, "h1 ink", "start", plot->title);
    add_text(&out, MARGIN, 68, "h2 soft", "start", plot->subtitle);
    double top = HEAD, width = (PAGE - 2 * MARGIN - GAP * (plot->columns - 1.0)) / plot->columns;
    for (size_t i = 0; i < plot->panel_count; i++) {
        const struct tarn_plot_panel *panel = &plot->panels[i];
        size_t column = i % plot->columns;
        double row = row_height(plot, i - column);
        struct box box = {MARGIN + (double)column * (width + GAP), top + TITLE, width,
                          row - TITLE - BELOW};
        add_text(&out, box.x, top + 14, "h3 ink", "start", panel->title);
        if (panel->series_count == 0) {
            /* Only a place that stays free. */
        } else if (panel->kind == TARN_PLOT_LINES) {
            add_text(&out, box.x, top + 32, "tick soft", "start", panel->y_label);
            draw_lines(&out, panel, box);
        } else {
            draw_dots(&out, panel, box);
        }
        if (column + 1 == plot->columns)
            top += row;
    }
    add_text(&out, MARGIN, height - 14, "tick soft", "start", plot->footer);
    tarn_svg_add(&out, "</svg>\n");
    if (out.failed) {
        tarn_free(out.text);
        return TARN_NO_MEMORY;
    }
    *svg = out.text;
    *size = out.size;
    return TARN_OK;
}
