/* SPDX-License-Identifier: Apache-2.0 */
#include "parse.h"

#include <stddef.h>
#include <string.h>

static const char *skip_space(const char *at)
{
    while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')
        at++;
    return at;
}

/* A whole number at `*at`; neither locale nor overflow can surprise, as they can with strtoull(). */
static bool read_whole(const char **at, uint64_t *value)
{
    const char *p = skip_space(*at);
    uint64_t n = 0;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    *at = p;
    *value = n;
    return true;
}

/* The same with a sign and decimals. */
static bool read_number(const char **at, double *value)
{
    const char *p = skip_space(*at);
    bool minus = *p == '-';
    uint64_t whole;
    p += minus;
    if (*p < '0' || *p > '9' || !read_whole(&p, &whole))
        return false;
    double n = (double)whole, unit = 1;
    if (*p == '.')
        for (p++; *p >= '0' && *p <= '9'; p++)
            n += (double)(*p - '0') * (unit /= 10);
    *at = p;
    *value = minus ? -n : n;
    return true;
}

static bool at_end(const char *at)
{
    return *skip_space(at) == '\0';
}

/* ---- files with one number ---- */

static bool percent(const char *at, double *value)
{
    double n, clock;
    if (!read_number(&at, &n) || n < 0 || n > 100)
        return false;
    if (*skip_space(at) == '%')
        at = skip_space(at) + 1;
    if (*at == '@') { /* Rockchip's devfreq adds the clock */
        at++;
        if (!read_number(&at, &clock) || strncmp(at, "Hz", 2) != 0)
            return false;
        at += 2;
    }
    *value = n / 100;
    return at_end(at);
}

static bool busy_of_all(const char *at, double *value)
{
    uint64_t busy, all;
    if (!read_whole(&at, &busy) || !read_whole(&at, &all) || !at_end(at) || busy > all)
        return false;
    *value = all == 0 ? 0 : (double)busy / (double)all; /* both are zero once the GPU sleeps */
    return true;
}

static bool scaled(const char *at, double scale, double least, double most, double *value)
{
    double n;
    if (!read_number(&at, &n) || !at_end(at) || n * scale < least || n * scale > most)
        return false;
    *value = n * scale;
    return true;
}

#define MOST_HZ 1e11

static bool highest(const char *at, double *value)
{
    double most = -1, n;
    while (!at_end(at)) {
        if (!read_number(&at, &n) || n < 0 || n > MOST_HZ)
            return false;
        most = n > most ? n : most;
    }
    if (most < 0)
        return false;
    *value = most;
    return true;
}

static bool levels(const char *at, double *value)
{
    double most = -1, mhz;
    while (!at_end(at)) {
        /* "S: 19Mhz *" is a sleeping level */
        at = skip_space(at);
        const char *colon = strchr(at, ':');
        if (colon == NULL || colon - at > 4)
            return false;
        at = colon + 1;
        if (!read_number(&at, &mhz) || mhz < 0 || mhz * 1e6 > MOST_HZ ||
            (strncmp(at, "Mhz", 3) != 0 && strncmp(at, "MHz", 3) != 0))
            return false;
        most = mhz > most ? mhz : most;
        at += strcspn(at, "\n");
    }
    if (most < 0)
        return false;
    *value = most * 1e6;
    return true;
}

bool tarn_parse_value(tarn_format format, const char *text, double *value)
{
    double n = 0;
    bool ok = false;
    switch (format) {
    case TARN_FORMAT_PERCENT:
        ok = percent(text, &n);
        break;
    case TARN_FORMAT_PER_MILLE:
        ok = scaled(text, 1e-3, 0, 1, &n);
        break;
    case TARN_FORMAT_BUSY:
        ok = busy_of_all(text, &n);
        break;
    case TARN_FORMAT_HZ:
        ok = scaled(text, 1, 0, MOST_HZ, &n);
        break;
    case TARN_FORMAT_MHZ:
        ok = scaled(text, 1e6, 0, MOST_HZ, &n);
        break;
    case TARN_FORMAT_HIGHEST:
        ok = highest(text, &n);
        break;
    case TARN_FORMAT_LEVELS:
        ok = levels(text, &n);
        break;
    case TARN_FORMAT_MILLI:
        ok = scaled(text, 1e-3, -1e6, 1e6, &n);
        break;
    case TARN_FORMAT_MICRO:
        ok = scaled(text, 1e-6, -1e6, 1e6, &n);
        break;
    case TARN_FORMAT_WORD:
    case TARN_FORMAT_QUEUES:
        break;
    }
    if (ok)
        *value = n;
    return ok;
}

bool tarn_parse_word(const char *text, char *word, unsigned size)
{
    text = skip_space(text);
    size_t length = strcspn(text, " \t\r\n");
    if (length == 0 || length >= size || !at_end(text + length))
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] < '!' || text[i] > '~')
            return false;
    memcpy(word, text, length);
    word[length] = '\0';
    return true;
}

/* ---- tables ---- */

static const char *next_line(const char *at)
{
    at += strcspn(at, "\n");
    return *at == '\n' ? at + 1 : at;
}

bool tarn_parse_queues(const char *text, struct tarn_queues *queues)
{
    struct tarn_queues found = {0};
    if (strncmp(text, "queue", 5) != 0)
        return false;
    for (const char *line = next_line(text); *line != '\0'; line = next_line(line)) {
        const char *at = line + strcspn(line, " \t\n");
        uint64_t jobs;
        if (found.count == sizeof found.busy_ns / sizeof found.busy_ns[0] ||
            !read_whole(&at, &found.time_ns) || !read_whole(&at, &jobs) ||
            !read_whole(&at, &found.busy_ns[found.count]))
            return false;
        found.count++;
    }
    if (found.count == 0)
        return false;
    *queues = found;
    return true;
}

bool tarn_parse_pressure(const char *text, double *share, uint64_t *total_us)
{
    double percent_stalled;
    uint64_t total;
    const char *line = text;
    while (*line != '\0' && strncmp(line, "some ", 5) != 0)
        line = next_line(line);
    const char *at = strstr(line, "avg10="), *sum = strstr(line, "total=");
    if (at == NULL || sum == NULL || at > next_line(line) || sum > next_line(line))
        return false;
    at += strlen("avg10=");
    sum += strlen("total=");
    if (!read_number(&at, &percent_stalled) || percent_stalled < 0 || percent_stalled > 100 ||
        !read_whole(&sum, &total))
        return false;
    *share = percent_stalled / 100;
    *total_us = total;
    return true;
}

bool tarn_parse_cpu(const char *text, uint64_t *busy, uint64_t *total)
{
    /* user nice system idle iowait irq softirq steal; guests are within user */
    uint64_t ticks[8] = {0}, sum = 0;
    unsigned count = 0;
    if (strncmp(text, "cpu ", 4) != 0)
        return false;
    const char *at = text + 4, *end = next_line(text);
    while (count < 8 && at < end && read_whole(&at, &ticks[count]) && at <= end)
        count++;
    if (count < 4) /* Linux has had four from the start */
        return false;
    for (unsigned i = 0; i < count; i++) {
        if (ticks[i] > UINT64_MAX / 16)
            return false;
        sum += ticks[i];
    }
    *total = sum;
    *busy = sum - ticks[3] - (count > 4 ? ticks[4] : 0);
    return true;
}

/* "NAME:   1234 kB" on a line of its own: bytes. */
static bool kilobytes(const char *text, const char *name, double *bytes)
{
    uint64_t n;
    for (const char *line = text; *line != '\0'; line = next_line(line)) {
        if (strncmp(line, name, strlen(name)) != 0)
            continue;
        const char *at = line + strlen(name);
        if (!read_whole(&at, &n) || n > (UINT64_C(1) << 50))
            return false;
        *bytes = (double)n * 1024;
        return true;
    }
    return false;
}

bool tarn_parse_memory(const char *text, double *total, double *available)
{
    double all, rest;
    if (!kilobytes(text, "MemTotal:", &all) || !kilobytes(text, "MemAvailable:", &rest) ||
        rest > all)
        return false;
    *total = all;
    *available = rest;
    return true;
}

bool tarn_parse_load(const char *text, double *load)
{
    double minute, five;
    if (!read_number(&text, &minute) || !read_number(&text, &five) || minute < 0 || minute > 1e6)
        return false;
    *load = minute;
    return true;
}
