/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Charts as SVG: panels on a grid, each with lines over x or with one dot a row. It knows nothing
 * of caches. The colours can be told apart by colour-blind people (after Okabe and Ito), series are
 * labelled where they are, and the document follows the reader's light or dark scheme.
 *
 * Thread-safety: pure functions.
 */
#ifndef TARN_PLOT_PLOT_H
#define TARN_PLOT_PLOT_H

#include <stdbool.h>
#include <stddef.h>

#include <tarn/status.h>

/** What a series means to the reader decides how it is drawn. */
typedef enum tarn_plot_role {
    TARN_PLOT_NORMAL,
    TARN_PLOT_HERO,      /**< the one that the chart is about: strong colour, on top, bold label */
    TARN_PLOT_REFERENCE, /**< what it is compared with: dark and plain */
    TARN_PLOT_BOUND,     /**< what can't be beaten: dashed or hollow */
} tarn_plot_role;

struct tarn_plot_series {
    const char *name;
    tarn_plot_role role;
    unsigned color;  /**< of TARN_PLOT_NORMAL: an index that keeps its colour over all panels */
    const double *x; /**< [count]; dots: x[0] is the value */
    const double *y; /**< [count], lines only; what isn't finite interrupts the line */
    size_t count;
};

typedef enum tarn_plot_kind {
    TARN_PLOT_LINES,
    TARN_PLOT_DOTS, /**< one row a series, in the order given; a value that isn't finite: no dot */
} tarn_plot_kind;

struct tarn_plot_panel {
    tarn_plot_kind kind;
    const char *title;
    const char *x_label, *y_label; /**< with units; y_label is for lines */
    bool percent; /**< values (x of dots, y of lines) are shares, shown as percents */
    const struct tarn_plot_series *series;
    size_t series_count; /**< 0: the place stays empty */
};

struct tarn_plot {
    const char *title, *subtitle, *footer; /**< subtitle and footer may be NULL */
    const struct tarn_plot_panel *panels;
    size_t panel_count;
    unsigned columns; /**< 1 to 4 */
};

/**
 * Draws the plot: `*svg` is NUL-terminated, `*size` bytes long without the NUL, and freed by the
 * caller with tarn_free(). TARN_INVALID without panels or with too many columns, TARN_NO_MEMORY.
 */
tarn_status tarn_plot_svg(const struct tarn_plot *plot, char **svg, size_t *size);

#endif
