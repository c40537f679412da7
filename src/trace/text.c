/* SPDX-License-Identifier: Apache-2.0 */
/* The formats made of lines: csv, and keys alone. */
#include <ctype.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "reader.h"

enum { MAX_LINE = 1 << 20 };

uint64_t tarn_trace_key(const char *text, size_t length)
{
    /* Only the canonical form is a number: "07" and "7" stay two keys. */
    if (length == 0 || length > 20 || (text[0] == '0' && length > 1))
        return tarn_hash(text, length);
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return tarn_hash(text, length);
        value = value * 10 + digit;
    }
    return value;
}

/*
 * The next line without its ending; valid until the next call. TARN_END behind the last one. A last
 * line without a newline counts: many tools write none.
 */
static tarn_status next_line(struct tarn_trace *trace, const char **line, size_t *length,
                             struct tarn_error *error)
{
    struct tarn_input *input = &trace->input;
    size_t searched = 0;
    for (;;) {
        size_t left = tarn_input_left(input);
        const uint8_t *newline = memchr(input->at + searched, '\n', left - searched);
        if (newline != NULL || input->finished) {
            if (newline == NULL && left == 0)
                return TARN_END;
            size_t n = newline != NULL ? (size_t)(newline - input->at) : left;
            trace->line++;
            if (n > MAX_LINE)
                break;
            *line = (const char *)input->at;
            input->at += n + (newline != NULL);
            if (memchr(*line, '\0', n) != NULL)
                return tarn_fail(error, TARN_CORRUPT, "%s:%llu: the line holds a NUL byte",
                                 input->name, (unsigned long long)trace->line);
            *length = n - (n > 0 && (*line)[n - 1] == '\r');
            return TARN_OK;
        }
        if (left > MAX_LINE) {
            trace->line++;
            break;
        }
        searched = left;
        tarn_status status = tarn_input_fill(input, left + 1, error);
        if (status != TARN_OK)
            return status;
    }
    return tarn_fail(error, TARN_CORRUPT, "%s:%llu: the line is longer than a mebibyte",
                     input->name, (unsigned long long)trace->line);
}

static void skip_byte_order_mark(struct tarn_input *input)
{
    if (tarn_input_left(input) >= 3 && memcmp(input->at, "\xef\xbb\xbf", 3) == 0)
        input->at += 3;
}

/* ---- keys ---- */

static tarn_status read_keys(struct tarn_trace *trace, struct tarn_request *requests, size_t room,
                             size_t *count, struct tarn_error *error)
{
    while (*count < room) {
        const char *line;
        size_t length;
        /* Keep what is read if the next line is bad or would have to be waited for. */
        tarn_status status = next_line(trace, &line, &length, error);
        if (status == TARN_END && *count > 0)
            return TARN_OK;
        if (status != TARN_OK)
            return status;
        if (length == 0)
            continue;
        requests[(*count)++] =
            (struct tarn_request){.key = tarn_trace_key(line, length), .size = 1};
    }
    return TARN_OK;
}

tarn_status tarn_trace_open_keys(struct tarn_trace *trace, struct tarn_error *error)
{
    (void)error;
    skip_byte_order_mark(&trace->input);
    trace->read = read_keys;
    return TARN_OK;
}

/* ---- csv ---- */

static tarn_trace_column column_of_name(const char *name, size_t length)
{
    static const struct {
        const char *name;
        tarn_trace_column column;
    } names[] = {
        {"time", TARN_COLUMN_TIME},
        {"timestamp", TARN_COLUMN_TIME},
        {"ts", TARN_COLUMN_TIME},
        {"clock_time", TARN_COLUMN_TIME},
        {"key", TARN_COLUMN_KEY},
        {"id", TARN_COLUMN_KEY},
        {"obj_id", TARN_COLUMN_KEY},
        {"object_id", TARN_COLUMN_KEY},
        {"object", TARN_COLUMN_KEY},
        {"url", TARN_COLUMN_KEY},
        {"lbn", TARN_COLUMN_KEY},
        {"address", TARN_COLUMN_KEY},
        {"size", TARN_COLUMN_SIZE},
        {"obj_size", TARN_COLUMN_SIZE},
        {"object_size", TARN_COLUMN_SIZE},
        {"bytes", TARN_COLUMN_SIZE},
        {"length", TARN_COLUMN_SIZE},
        {"value_size", TARN_COLUMN_SIZE},
        {"op", TARN_COLUMN_OP},
        {"operation", TARN_COLUMN_OP},
        {"method", TARN_COLUMN_OP},
        {"command", TARN_COLUMN_OP},
        {"tag", TARN_COLUMN_TAG},
        {"cost", TARN_COLUMN_COST},
        {"cost_us", TARN_COLUMN_COST},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].name) == length && strncasecmp(names[i].name, name, length) == 0)
            return names[i].column;
    return TARN_COLUMN_NONE;
}

/*
 * One field from *at; *at moves behind its separator, or to NULL at the end of the line. Spaces
 * around are dropped. False if a quote isn't closed (or memory for a quoted field ran out: the
 * length is then SIZE_MAX).
 */
static bool next_field(struct tarn_trace *trace, const char **at, const char *end,
                       const char **field, size_t *length)
{
    const char *p = *at;
    while (p < end && *p == ' ')
        p++;
    if (p < end && *p == '"') {
        size_t used = 0;
        if (trace->scratch_room < (size_t)(end - p)) {
            char *grown = tarn_realloc(trace->scratch, (size_t)(end - p));
            *length = SIZE_MAX;
            if (grown == NULL)
                return false;
            trace->scratch = grown;
            trace->scratch_room = (size_t)(end - p);
        }
        *length = 0;
        for (p++;; p++) {
            if (p == end)
                return false;
            if (*p == '"') {
                if (p + 1 == end || p[1] != '"')
                    break;
                p++;
            }
            trace->scratch[used++] = *p;
        }
        *field = trace->scratch;
        *length = used;
        p++;
        while (p < end && *p == ' ')
            p++;
        if (p < end && *p != trace->separator)
            return false;
    } else {
        const char *separator = memchr(p, trace->separator, (size_t)(end - p));
        const char *stop = separator != NULL ? separator : end;
        *field = p;
        p = stop;
        while (stop > *field && stop[-1] == ' ')
            stop--;
        *length = (size_t)(stop - *field);
    }
    *at = p < end ? p + 1 : NULL;
    return true;
}

/* Digits, with a fraction that is dropped if `fraction` allows one. */
static bool field_number(const char *text, size_t length, bool fraction, uint64_t *value)
{
    uint64_t number = 0;
    size_t i = 0;
    for (; i < length; i++) {
        unsigned digit = (unsigned char)text[i] - (unsigned)'0';
        if (digit > 9)
            break;
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *value = number;
    if (i == 0 || i == length)
        return i > 0;
    if (!fraction || text[i] != '.')
        return false;
    for (i++; i < length; i++)
        if (!isdigit((unsigned char)text[i]))
            return false;
    return true;
}

/* A tag's number; nothing is none. */
static bool field_tag(const char *text, size_t length, uint8_t *tag)
{
    if (length > 1 || (length == 1 && (text[0] < '0' || text[0] > '0' + TARN_TRACE_TAGS)))
        return false;
    *tag = length == 0 ? 0 : (uint8_t)(text[0] - '0');
    return true;
}

/*
 * Digits with a fraction and an exponent, whatever the locale's strtod() takes them for; nothing is
 * "not known", and so is 0. No sign, and nothing beyond what a float holds.
 */
static bool field_cost(const char *text, size_t length, float *cost)
{
    double value = 0;
    int scale = 0, exponent = 0;
    size_t i = 0, digits = 0;
    for (bool point = false; i < length; i++) {
        if (text[i] == '.' && !point) {
            point = true;
        } else if (isdigit((unsigned char)text[i])) {
            value = value * 10 + (text[i] - '0');
            scale -= point;
            digits++;
        } else {
            break;
        }
    }
    if (i < length && digits > 0 && (text[i] == 'e' || text[i] == 'E')) {
        bool minus = ++i < length && text[i] == '-';
        i += i < length && (text[i] == '-' || text[i] == '+');
        if (i == length)
            return false;
        for (; i < length && isdigit((unsigned char)text[i]); i++)
            exponent = exponent < 10000 ? exponent * 10 + (text[i] - '0') : exponent;
        exponent = minus ? -exponent : exponent;
    }
    if (i < length || (length > 0 && digits == 0))
        return false;
    value = value > 0 ? value * pow(10, exponent + scale) : 0;
    *cost = (float)value;
    return value <= 3.4e38;
}

static bool field_op(const char *text, size_t length, tarn_trace_op *op)
{
    static const struct {
        const char *name;
        tarn_trace_op op;
    } names[] = {
        {"get", TARN_TRACE_GET},       {"read", TARN_TRACE_GET},      {"r", TARN_TRACE_GET},
        {"gets", TARN_TRACE_GET},      {"head", TARN_TRACE_GET},      {"put", TARN_TRACE_PUT},
        {"set", TARN_TRACE_PUT},       {"write", TARN_TRACE_PUT},     {"w", TARN_TRACE_PUT},
        {"add", TARN_TRACE_PUT},       {"replace", TARN_TRACE_PUT},   {"cas", TARN_TRACE_PUT},
        {"append", TARN_TRACE_PUT},    {"prepend", TARN_TRACE_PUT},   {"incr", TARN_TRACE_PUT},
        {"decr", TARN_TRACE_PUT},      {"delete", TARN_TRACE_DELETE}, {"del", TARN_TRACE_DELETE},
        {"remove", TARN_TRACE_DELETE}, {"d", TARN_TRACE_DELETE},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strlen(names[i].name) == length && strncasecmp(names[i].name, text, length) == 0) {
            *op = names[i].op;
            return true;
        }
    return false;
}

static tarn_status bad_field(const struct tarn_trace *trace, const char *what, const char *field,
                             size_t length, struct tarn_error *error)
{
    char shown[41];
    size_t n = 0;
    for (; n < length && n < sizeof shown - 1; n++)
        shown[n] = isprint((unsigned char)field[n]) ? field[n] : '?';
    shown[n] = '\0';
    return tarn_fail(error, TARN_CORRUPT, "%s:%llu: '%s' is not %s", trace->input.name,
                     (unsigned long long)trace->line, shown, what);
}

static tarn_status parse_line(struct tarn_trace *trace, const char *line, size_t length,
                              struct tarn_request *request, struct tarn_error *error)
{
    const char *at = line, *end = line + length, *field;
    size_t n;
    bool key = false;
    *request = (struct tarn_request){.size = 1};
    for (unsigned column = 0; at != NULL; column++) {
        if (!next_field(trace, &at, end, &field, &n))
            return n == SIZE_MAX
                       ? tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", trace->input.name)
                       : tarn_fail(error, TARN_CORRUPT, "%s:%llu: field %u: a quote is not closed",
                                   trace->input.name, (unsigned long long)trace->line, column + 1);
        switch (column < trace->columns ? trace->column[column] : TARN_COLUMN_NONE) {
        case TARN_COLUMN_TIME:
            if (!field_number(field, n, true, &request->time))
                return bad_field(trace, "a time", field, n, error);
            break;
        case TARN_COLUMN_KEY:
            if (n == 0)
                return bad_field(trace, "a key", field, n, error);
            request->key = tarn_trace_key(field, n);
            key = true;
            break;
        case TARN_COLUMN_SIZE:
            if (!field_number(field, n, false, &request->size) ||
                request->size >= TARN_TRACE_SIZE_LIMIT)
                return bad_field(trace, "a size in bytes", field, n, error);
            if (request->size == 0)
                request->size = 1;
            break;
        case TARN_COLUMN_OP:
            if (!field_op(field, n, &request->op))
                return bad_field(trace, "an operation (get, put, delete)", field, n, error);
            break;
        case TARN_COLUMN_TAG:
            if (!field_tag(field, n, &request->tag))
                return bad_field(trace, "a tag (1 to 7, or 0 for none)", field, n, error);
            break;
        case TARN_COLUMN_COST:
            if (!field_cost(field, n, &request->cost_us))
                return bad_field(trace, "a cost in microseconds", field, n, error);
            break;
        default:
            break;
        }
    }
    if (!key)
        return tarn_fail(error, TARN_CORRUPT, "%s:%llu: the line has no key (too few fields)",
                         trace->input.name, (unsigned long long)trace->line);
    return TARN_OK;
}

static tarn_status read_csv(struct tarn_trace *trace, struct tarn_request *requests, size_t room,
                            size_t *count, struct tarn_error *error)
{
    while (*count < room) {
        const char *line;
        size_t length;
        tarn_status status = next_line(trace, &line, &length, error);
        if (status == TARN_END && *count > 0)
            return TARN_OK;
        if (status != TARN_OK)
            return status;
        if (length == 0 || line[0] == '#')
            continue;
        status = parse_line(trace, line, length, &requests[*count], error);
        if (status != TARN_OK)
            return status;
        (*count)++;
    }
    return TARN_OK;
}

static tarn_status set_columns(struct tarn_trace *trace, const char *names, size_t length,
                               bool *any_known, struct tarn_error *error)
{
    const char *at = names, *end = names + length, *field;
    size_t n;
    *any_known = false;
    trace->columns = 0;
    while (at != NULL) {
        bool ok = next_field(trace, &at, end, &field, &n);
        if (!ok && n == SIZE_MAX)
            return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", trace->input.name);
        if (!ok || trace->columns == TARN_TRACE_MAX_COLUMNS)
            return tarn_fail(error, TARN_CORRUPT, "%s:%llu: %s", trace->input.name,
                             (unsigned long long)trace->line + 1,
                             ok ? "more than 64 columns" : "a quote is not closed");
        tarn_trace_column column = column_of_name(field, n);
        for (unsigned i = 0; column != TARN_COLUMN_NONE && i < trace->columns; i++)
            if (trace->column[i] == column)
                column = TARN_COLUMN_NONE; /* the first of its kind counts */
        trace->column[trace->columns++] = (uint8_t)column;
        *any_known |= column != TARN_COLUMN_NONE;
    }
    return TARN_OK;
}

/* The first line that isn't blank, without taking it out of the window. */
static tarn_status peek_line(struct tarn_trace *trace, const char **line, size_t *length,
                             struct tarn_error *error)
{
    for (;;) {
        uint64_t number = trace->line;
        uint64_t offset = tarn_input_offset(&trace->input);
        tarn_status status = next_line(trace, line, length, error);
        if (status != TARN_OK)
            return status;
        if (*length == 0)
            continue;
        trace->input.at -= tarn_input_offset(&trace->input) - offset;
        trace->line = number;
        return TARN_OK;
    }
}

tarn_status tarn_trace_open_csv(struct tarn_trace *trace, const char *columns,
                                struct tarn_error *error)
{
    const char *line;
    size_t length;
    bool known, header = false, has_key = false;
    skip_byte_order_mark(&trace->input);
    trace->read = read_csv;
    /* The header is the first line, perhaps behind a '#'; other lines with a '#' are comments. */
    for (;;) {
        tarn_status status = peek_line(trace, &line, &length, error);
        if (status == TARN_END)
            return tarn_fail(error, TARN_CORRUPT, "%s: the trace is empty", trace->input.name);
        if (status != TARN_OK)
            return status;
        size_t hash = line[0] == '#';
        trace->separator = memchr(line, ',', length)    ? ','
                           : memchr(line, '\t', length) ? '\t'
                           : memchr(line, ';', length)  ? ';'
                                                        : ',';
        status = set_columns(trace, line + hash, length - hash, &header, error);
        if (status != TARN_OK && !hash)
            return status;
        if (status == TARN_OK && (header || !hash))
            break;
        next_line(trace, &line, &length, error); /* it was there a moment ago */
    }
    unsigned fields = trace->columns;
    if (header)
        next_line(trace, &line, &length, error);
    if (columns != NULL) {
        char separator = trace->separator;
        trace->separator = ',';
        tarn_status status = set_columns(trace, columns, strlen(columns), &known, error);
        trace->separator = separator;
        if (status != TARN_OK)
            return tarn_fail(error, TARN_INVALID, "columns '%s': can't be read", columns);
    } else if (!header) {
        static const uint8_t usual[] = {TARN_COLUMN_TIME, TARN_COLUMN_KEY, TARN_COLUMN_SIZE,
                                        TARN_COLUMN_OP};
        trace->columns = fields < 4 ? fields : 4;
        memcpy(trace->column, usual, trace->columns);
        if (fields == 1)
            trace->column[0] = TARN_COLUMN_KEY;
    }
    for (unsigned i = 0; i < trace->columns; i++) {
        has_key |= trace->column[i] == TARN_COLUMN_KEY;
        trace->has_time |= trace->column[i] == TARN_COLUMN_TIME;
        trace->has_tag |= trace->column[i] == TARN_COLUMN_TAG;
        trace->has_cost |= trace->column[i] == TARN_COLUMN_COST;
    }
    if (!has_key)
        return columns != NULL
                   ? tarn_fail(error, TARN_INVALID, "columns '%s': none is named key", columns)
                   : tarn_fail(error, TARN_CORRUPT, "%s:%llu: the header names no key column",
                               trace->input.name, (unsigned long long)trace->line);
    return TARN_OK;
}
