/* SPDX-License-Identifier: Apache-2.0 */
/* What commands print: sizes, JSON, tables and the progress bar. */
#include "cli.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"

/* ---- files ---- */

tarn_status tarn_cli_check_output(const char *path, struct tarn_error *error)
{
    char temporary[PATH_MAX];
    struct stat info;
    if (strcmp(path, "-") == 0)
        return TARN_OK;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        /* a pipe isn't opened: that would wait for its reader */
        if (S_ISDIR(info.st_mode) || access(path, W_OK) != 0)
            return tarn_fail(error, TARN_IO, "%s: %s", path,
                             strerror(S_ISDIR(info.st_mode) ? EISDIR : errno));
        return TARN_OK;
    }
    int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary)
        return tarn_fail(error, TARN_INVALID, "%s: the path is too long", path);
    int fd = mkstemp(temporary);
    if (fd < 0)
        return tarn_fail(error, TARN_IO, "%s: %s", path, strerror(errno));
    close(fd);
    unlink(temporary);
    return TARN_OK;
}

tarn_status tarn_cli_check_inputs(int count, char *const *paths, struct tarn_error *error)
{
    for (int i = 0; i < count; i++) {
        struct stat info;
        if (strcmp(paths[i], "-") == 0)
            continue;
        /* not opened: a pipe has its writer once */
        if (stat(paths[i], &info) != 0 || access(paths[i], R_OK) != 0)
            return tarn_fail(error, TARN_IO, "%s: %s", paths[i], strerror(errno));
        if (S_ISDIR(info.st_mode))
            return tarn_fail(error, TARN_IO, "%s: %s", paths[i], strerror(EISDIR));
    }
    return TARN_OK;
}

tarn_status tarn_cli_check_folder(const char *path, struct tarn_error *error)
{
    struct stat info;
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return tarn_fail(error, TARN_IO, "%s: %s", path, strerror(errno));
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode))
        return tarn_fail(error, TARN_IO, "%s: %s", path, strerror(ENOTDIR));
    if (access(path, W_OK | X_OK) != 0)
        return tarn_fail(error, TARN_IO, "%s: %s", path, strerror(errno));
    return TARN_OK;
}

/* ---- sizes ---- */

tarn_status tarn_size_parse(const char *text, struct tarn_size *size, struct tarn_error *error)
{
    static const struct {
        const char *name;
        double factor;
    } units[] = {
        {"", 1},         {"B", 1},        {"k", 0x1p10},   {"K", 0x1p10},
        {"M", 0x1p20},   {"G", 0x1p30},   {"T", 0x1p40},   {"KiB", 0x1p10},
        {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}, {"kB", 1e3},
        {"KB", 1e3},     {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12},
    };
    size_t digits = strspn(text, "0123456789.");
    const char *suffix = text + digits;
    char number[48], *end;
    if (digits == 0 || digits > 40)
        goto bad;
    /* A percentage is read as decimal, so that "0.1%" is the very double 0.001. */
    snprintf(number, sizeof number, "%.*s%s", (int)digits, text,
             strcmp(suffix, "%") == 0 ? "e-2" : "");
    double value = strtod(number, &end);
    if (*end != '\0' || !(value > 0))
        goto bad;
    memset(size, 0, sizeof *size);
    if (strcmp(suffix, "%") == 0) {
        if (value > 1)
            goto bad;
        size->unit = TARN_SIZE_SHARE;
        size->share = value;
        return TARN_OK;
    }
    if (strcmp(suffix, "obj") == 0) {
        if (value != floor(value) || value > 0x1p53)
            goto bad;
        size->unit = TARN_SIZE_OBJECTS;
        size->amount = (uint64_t)value;
        return TARN_OK;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(units[i].name, suffix) == 0) {
            value *= units[i].factor;
            if (value < 1 || value >= 0x1p63)
                goto bad;
            size->unit = TARN_SIZE_BYTES;
            size->amount = (uint64_t)value;
            return TARN_OK;
        }
bad:
    return tarn_fail(error, TARN_INVALID, "size '%s': not a size like 4096, 64MiB, 1%% or 10000obj",
                     text);
}

uint64_t tarn_size_resolve(const struct tarn_size *size, uint64_t footprint)
{
    return size->unit == TARN_SIZE_SHARE ? (uint64_t)(size->share * (double)footprint)
                                         : size->amount;
}

const char *tarn_size_format(uint64_t bytes, char *text)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    int unit = 0;
    for (; value >= 1024 && unit < 6; unit++)
        value /= 1024;
    snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

/* ---- JSON ---- */

void tarn_json_number(struct cJSON *object, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(object, name, value);
    else
        cJSON_AddNullToObject(object, name);
}

void tarn_json_integer(struct cJSON *object, const char *name, uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    cJSON_AddRawToObject(object, name, digits);
}

int tarn_cli_print_json(const struct tarn_cli *cli, struct cJSON *json)
{
    char *text = json != NULL ? cJSON_Print(json) : NULL;
    cJSON_Delete(json);
    if (text == NULL)
        return tarn_cli_fail(cli, &(struct tarn_error){TARN_NO_MEMORY, "JSON: out of memory"});
    puts(text);
    cJSON_free(text);
    return TARN_EXIT_OK; /* tarn_cli_main() looks at stdout's error */
}

/* ---- tables ---- */

struct tarn_table {
    size_t columns, rows, room;
    char **cells; /* heads first */
};

static bool table_add(tarn_table *table, char **cells)
{
    if (table->rows == table->room) {
        size_t room = table->room ? table->room * 2 : 16;
        char **grown = realloc(table->cells, room * table->columns * sizeof *grown);
        if (grown == NULL)
            return false;
        table->cells = grown;
        table->room = room;
    }
    memcpy(table->cells + table->rows++ * table->columns, cells, table->columns * sizeof *cells);
    return true;
}

static void free_cells(char **cells, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(cells[i]);
    free(cells);
}

/* Splits `line` at its tabs into one row; missing cells are empty, a NaN is unknown. */
static void table_add_line(tarn_table *table, const char *line)
{
    char **cells = calloc(table->columns, sizeof *cells);
    bool ok = cells != NULL;
    for (size_t i = 0; ok && i < table->columns; i++) {
        size_t length = strcspn(line, "\t");
        const char *digits = line + (line[0] == '-');
        bool unknown = strncmp(digits, "nan", 3) == 0 && line + length == digits + 3;
        cells[i] = unknown ? strdup("-") : strndup(line, length);
        ok = cells[i] != NULL;
        line += length + (line[length] == '\t');
    }
    if (ok && table_add(table, cells))
        free(cells);
    else if (cells != NULL)
        free_cells(cells, table->columns);
}

tarn_table *tarn_table_create(const char *const *heads, size_t columns)
{
    tarn_table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return NULL;
    table->columns = columns;
    char line[1024] = "";
    for (size_t i = 0, used = 0; i < columns && used < sizeof line; i++)
        used += (size_t)snprintf(line + used, sizeof line - used, "%s%s", i ? "\t" : "", heads[i]);
    table_add_line(table, line);
    if (table->rows == 0)
        tarn_table_destroy(&table);
    return table;
}

void tarn_table_row(tarn_table *table, const char *format, ...)
{
    va_list args;
    char *line = NULL;
    if (table == NULL)
        return;
    va_start(args, format);
    int length = vasprintf(&line, format, args);
    va_end(args);
    if (length < 0)
        return;
    table_add_line(table, line);
    free(line);
}

/* Columns that a terminal shows for UTF-8 text: continuation bytes take none. */
static size_t shown_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void tarn_table_print(const tarn_table *table, const struct tarn_cli *cli, FILE *file)
{
    if (table == NULL)
        return;
    for (size_t row = 0; row < table->rows; row++) {
        bool bold = row == 0 && cli->color && file == stdout;
        fputs(bold ? "\033[1m" : "", file);
        for (size_t column = 0; column < table->columns; column++) {
            size_t width = 0;
            /* The first cell below the head decides how the column is aligned. */
            const char *first = table->rows > 1 ? table->cells[table->columns + column] : "";
            bool right = isdigit((unsigned char)first[0]) ||
                         (first[0] != '\0' && strchr("-+.", first[0]) != NULL &&
                          isdigit((unsigned char)first[1]));
            for (size_t i = 0; i < table->rows; i++) {
                size_t w = shown_width(table->cells[i * table->columns + column]);
                width = w > width ? w : width;
            }
            const char *cell = table->cells[row * table->columns + column];
            int pad = (int)(width - shown_width(cell));
            bool last = column + 1 == table->columns;
            if (right)
                fprintf(file, "%*s%s", pad, "", cell);
            else
                fprintf(file, "%s%*s", cell, last ? 0 : pad, "");
            fputs(last ? "" : "  ", file);
        }
        fputs(bold ? "\033[0m\n" : "\n", file);
    }
}

void tarn_table_destroy(tarn_table **table)
{
    if (*table == NULL)
        return;
    free_cells((*table)->cells, (*table)->rows * (*table)->columns);
    free(*table);
    *table = NULL;
}

/* ---- progress ---- */

void tarn_progress_start(struct tarn_progress *progress, const struct tarn_cli *cli,
                         const char *label)
{
    const char *terminal = tarn_option_get(TARN_OPTION_TERM);
    *progress = (struct tarn_progress){
        .cli = cli,
        .label = label,
        .start_ns = tarn_clock_ns(),
        .enabled = !cli->quiet && !cli->json && isatty(STDERR_FILENO) && terminal[0] != '\0' &&
                   strcmp(terminal, "dumb") != 0,
    };
}

void tarn_progress_update(struct tarn_progress *progress, double share)
{
    enum { WIDTH = 30 };
    if (!progress->enabled)
        return;
    uint64_t now = tarn_clock_ns();
    if (now - progress->last_ns < 100000000u || now - progress->start_ns < 300000000u)
        return;
    progress->last_ns = now;
    progress->shown = true;
    double seconds = (double)(now - progress->start_ns) * 1e-9;
    if (!(share >= 0)) {
        fprintf(stderr, "\r\033[K%.40s  %.0f s", progress->label, seconds);
        return;
    }
    share = share > 1 ? 1 : share;
    char bar[WIDTH + 1];
    for (int i = 0; i < WIDTH; i++)
        bar[i] = i < (int)(share * WIDTH) ? '#' : '.';
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%.40s [%s] %3.0f %%", progress->label, bar, share * 100);
    if (share > 0.02)
        fprintf(stderr, "  %.0f s left", seconds / share - seconds);
}

void tarn_progress_end(struct tarn_progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
    progress->last_ns = 0;
}

void tarn_progress_callback(void *progress, double share)
{
    tarn_progress_update(progress, share);
}
