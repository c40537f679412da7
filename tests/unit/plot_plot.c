/* SPDX-License-Identifier: Apache-2.0 */
#include "plot/plot.h"

#include <math.h>

#include "../check.h"
#include "base/memory.h"
#include "plot/svg.h"

static void text_is_escaped(void)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        {"plain", "plain"},
        {"<a href=\"x\">&</a>", "&lt;a href=&quot;x&quot;&gt;&amp;&lt;/a&gt;"},
        {"tab\tline\nbell\a\x7f", "tab line bell  "},
        {"h\xc3\xb6he \xe2\x82\xac \xf0\x9f\x92\xbe", "h\xc3\xb6he \xe2\x82\xac \xf0\x9f\x92\xbe"},
        {"\xff|\xc3|\xc0\x80|\xe2\x82", "\xef\xbf\xbd|\xef\xbf\xbd|\xef\xbf\xbd\xef\xbf\xbd|"
                                        "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xf4\x90\x80\x80|", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd|"},
        {"\xef\xbf\xbf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* U+FFFF isn't XML */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tarn_svg svg = {0};
        tarn_svg_text(&svg, cases[i].text);
        REQUIRE(svg.text != NULL && !svg.failed);
        if (strcmp(svg.text, cases[i].wanted) != 0)
            printf("# case %zu: %s\n", i, svg.text);
        CHECK(strcmp(svg.text, cases[i].wanted) == 0);
        CHECK_NUMBER(svg.size, strlen(cases[i].wanted));
        tarn_free(svg.text);
    }
}

static void svg_grows(void)
{
    struct tarn_svg svg = {0};
    for (int i = 0; i < 20000; i++)
        tarn_svg_add(&svg, "%05d,", i);
    CHECK(!svg.failed);
    CHECK_NUMBER(svg.size, 120000);
    CHECK_NUMBER(strlen(svg.text), 120000);
    CHECK(strncmp(svg.text + 6 * 12345, "12345,", 6) == 0);
    tarn_free(svg.text);
}

static size_t count_of(const char *text, const char *what)
{
    size_t count = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        count++;
    return count;
}

/* Every tag that opens closes, in order: enough of XML for what we write. */
static bool well_formed(const char *text)
{
    char open[32][16];
    int depth = 0;
    while ((text = strchr(text, '<')) != NULL) {
        const char *end = strchr(text, '>');
        size_t length = strcspn(text + 1, " >/\n");
        if (end == NULL || memchr(text + 1, '<', (size_t)(end - text - 1)) != NULL)
            return false;
        if (text[1] == '/') {
            length = strcspn(text + 2, ">");
            if (depth == 0 || strlen(open[depth - 1]) != length ||
                memcmp(open[depth - 1], text + 2, length) != 0)
                return false;
            depth--;
        } else if (end[-1] != '/') {
            if (depth == 32 || length >= sizeof open[0])
                return false;
            memcpy(open[depth], text + 1, length);
            open[depth++][length] = '\0';
        }
        text = end;
    }
    return depth == 0;
}

/* The middle of the first circle of `attribute`: its cx. */
static double circle_x(const char *svg, const char *attribute)
{
    const char *at = strstr(svg, attribute), *cx = at != NULL ? strstr(at, "cx=\"") : NULL;
    return cx != NULL ? atof(cx + 4) : -1;
}

static void dots(void)
{
    double values[] = {0.25, 0.5, 0.75, NAN};
    struct tarn_plot_series series[] = {
        {.name = "best", .role = TARN_PLOT_BOUND, .x = &values[0], .count = 1},
        {.name = "learned", .role = TARN_PLOT_HERO, .x = &values[1], .count = 1},
        {.name = "lru", .role = TARN_PLOT_REFERENCE, .x = &values[2], .count = 1},
        {.name = "none<", .role = TARN_PLOT_NORMAL, .x = &values[3], .count = 1},
    };
    struct tarn_plot_panel panel = {.kind = TARN_PLOT_DOTS,
                                    .title = "1 & 2",
                                    .x_label = "misses",
                                    .percent = true,
                                    .series = series,
                                    .series_count = 4};
    struct tarn_plot plot = {.title = "T<1>", .panels = &panel, .panel_count = 1, .columns = 1};
    char *svg = NULL;
    size_t size = 0;
    REQUIRE(tarn_plot_svg(&plot, &svg, &size) == TARN_OK);
    CHECK_NUMBER(strlen(svg), size);
    CHECK(well_formed(svg));
    CHECK(strstr(svg, "T&lt;1&gt;") != NULL && strstr(svg, "1 &amp; 2") != NULL);
    CHECK(strstr(svg, "none&lt;") != NULL && strstr(svg, "misses") != NULL);
    CHECK_NUMBER(count_of(svg, "<circle"), 3); /* nothing for what isn't known */
    CHECK(strstr(svg, "nan") == NULL && strstr(svg, "inf") == NULL);
    double bound = circle_x(svg, "class=\"ring\""), hero = circle_x(svg, "class=\"heroi\" cx"),
           lru = circle_x(svg, "class=\"refi\" cx");
    CHECK(bound > 0 && bound < hero && hero < lru);
    CHECK(fabs((hero - bound) - (lru - hero)) < 0.3); /* in proportion */
    CHECK(strstr(svg, "50.0\xe2\x80\xaf%") != NULL);  /* the value itself */
    tarn_free(svg);
}

static void lines(void)
{
    enum { N = 50, SERIES = 14 };
    double x[N], y[SERIES][N];
    char names[SERIES][8];
    struct tarn_plot_series series[SERIES];
    for (int i = 0; i < SERIES; i++) {
        snprintf(names[i], sizeof names[i], "s%02d", i);
        for (int k = 0; k < N; k++) {
            x[k] = 1000.0 * (k + 1);
            /* So close, and so high, that labels would lie on one another or leave the panel. */
            y[i][k] = i == 0 ? 0.1 : 0.9 + 0.0001 * i;
        }
        series[i] = (struct tarn_plot_series){
            .name = names[i], .color = (unsigned)i, .x = x, .y = y[i], .count = N};
    }
    series[3].role = TARN_PLOT_HERO;
    y[5][20] = NAN; /* a gap: the line starts anew */
    struct tarn_plot_panel panels[] = {
        {.kind = TARN_PLOT_LINES,
         .title = "lines",
         .x_label = "requests",
         .y_label = "misses",
         .percent = true,
         .series = series,
         .series_count = SERIES},
        {.kind = TARN_PLOT_LINES, .title = "one value", .series = series, .series_count = 1},
        {.kind = TARN_PLOT_DOTS, .title = "nothing"},
    };
    struct tarn_plot plot = {.title = "lines", .panels = panels, .panel_count = 3, .columns = 2};
    char *svg = NULL;
    size_t size = 0;
    REQUIRE(tarn_plot_svg(&plot, &svg, &size) == TARN_OK);
    CHECK(well_formed(svg));
    CHECK(strstr(svg, "nan") == NULL && strstr(svg, "inf") == NULL);
    CHECK_NUMBER(count_of(svg, "class=\"line"), SERIES + 1);
    CHECK_NUMBER(count_of(svg, "class=\"line hero"), 1);
    /* Each label once in the first panel, at least 13 px from the next. */
    double heights[SERIES];
    for (int i = 0; i < SERIES; i++) {
        char text[160];
        snprintf(text, sizeof text, ">%s<", names[i]);
        const char *at = strstr(svg, text);
        REQUIRE(at != NULL);
        while (strncmp(at, "y=\"", 3) != 0)
            at--;
        heights[i] = atof(at + 3);
    }
    for (int i = 0; i < SERIES; i++) {
        CHECK(heights[i] > 130 && heights[i] < 400);
        for (int k = 0; k < i; k++)
            CHECK(fabs(heights[i] - heights[k]) >= 13);
    }
    /* The gap gives the one line two pieces. */
    const char *line = svg;
    size_t most = 0;
    while ((line = strstr(line, " d=\"M")) != NULL) {
        const char *end = strchr(line + 4, '"');
        size_t moves = 0;
        for (const char *c = line; c < end; c++)
            moves += *c == 'M';
        most = moves > most ? moves : most;
        line = end;
    }
    CHECK_NUMBER(most, 2);
    tarn_free(svg);
}

static void odd_values(void)
{
    static const double odd[][2] = {{0, 0},     {1e300, 1e300}, {-5, 5},      {1e-300, 2e-300},
                                    {NAN, NAN}, {0.5, 0.5},     {INFINITY, 1}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        struct tarn_plot_series series[] = {
            {.name = "a", .x = odd[i], .y = odd[i], .count = 2},
            {.name = "b", .x = odd[i] + 1, .y = odd[i], .count = 1},
        };
        struct tarn_plot_panel panels[] = {
            {.kind = TARN_PLOT_LINES, .title = "l", .series = series, .series_count = 2},
            {.kind = TARN_PLOT_DOTS, .title = "d", .series = series, .series_count = 2},
        };
        struct tarn_plot plot = {.title = "", .panels = panels, .panel_count = 2, .columns = 2};
        char *svg = NULL;
        size_t size = 0;
        REQUIRE(tarn_plot_svg(&plot, &svg, &size) == TARN_OK);
        CHECK(well_formed(svg) && size < 100000);
        CHECK(strstr(svg, "nan") == NULL && strstr(svg, "inf") == NULL);
        tarn_free(svg);
    }
}

static void bad_plots_are_refused(void)
{
    struct tarn_plot_panel panel = {.kind = TARN_PLOT_DOTS};
    struct tarn_plot plot = {.title = "x", .panels = &panel, .panel_count = 0, .columns = 1};
    char *svg = NULL;
    size_t size;
    CHECK(tarn_plot_svg(&plot, &svg, &size) == TARN_INVALID);
    plot.panel_count = 1;
    plot.columns = 5;
    CHECK(tarn_plot_svg(&plot, &svg, &size) == TARN_INVALID);
    CHECK(svg == NULL);
}

CHECK_MAIN(CASE(text_is_escaped), CASE(svg_grows), CASE(dots), CASE(lines), CASE(odd_values),
           CASE(bad_plots_are_refused))
