/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"

#define MAGIC          0x54415054u /* "TPAT" */
#define VERSION        1u
#define CLOCK_IS_SET   1577836800 /* 2020: no clock that is set shows less */
#define CLOCK_IS_SANE  ((int64_t)1 << 40)
#define JUMP_SECONDS   2.0 /* two readings of whole seconds differ by one by themselves */
#define LONGEST_GAP    120.0
#define DAY_RATE       0.3  /* of a visit in the decayed mean: a seventh is left after five days */
#define WEEK_RATE      0.5  /* there are few visits a month */
#define ERROR_RATE     0.01 /* of a quarter hour: half is forgotten in 70, less than a day */
#define ERROR_AT_FIRST 0.04f
#define ERROR_LEAST    1e-4
#define DOUBT          0.04 /* the variance that halves confidence: a deviation of 0.2 */
#define UNIT           65535.0

void tarn_pattern_init(struct tarn_pattern *pattern)
{
    *pattern = (struct tarn_pattern){
        .week_error = ERROR_AT_FIRST, .day_error = ERROR_AT_FIRST, .error = 0};
}

static bool is_set(int64_t wall_s)
{
    return wall_s >= CLOCK_IS_SET && wall_s < CLOCK_IS_SANE;
}

static uint16_t to_unit(double x)
{
    return (uint16_t)(fmin(fmax(x, 0), 1) * UNIT + 0.5);
}

static void visit(struct tarn_pattern_bucket *bucket, double load, double rate)
{
    double mean = bucket->mean / UNIT, variance = bucket->variance / UNIT, off = load - mean;
    rate = fmax(rate, 1.0 / (1 + bucket->visits)); /* the first few count alike */
    bucket->mean = to_unit(mean + rate * off);
    bucket->variance = to_unit((1 - rate) * (variance + rate * off * off));
    if (bucket->visits < UINT16_MAX)
        bucket->visits++;
}

struct guess {
    double load, variance;
    uint32_t visits;
};

static struct guess guess_quarter(const struct tarn_pattern *pattern, int64_t quarter)
{
    const struct tarn_pattern_bucket *week = &pattern->week[quarter % TARN_PATTERN_WEEK];
    const struct tarn_pattern_bucket *day = &pattern->day[quarter % TARN_PATTERN_DAY];
    double of_week = 1 / (pattern->week_error + ERROR_LEAST);
    double of_day = 1 / (pattern->day_error + ERROR_LEAST);
    double share = week->visits == 0 ? 0 : of_week / (of_week + of_day);
    return (struct guess){
        .load = (share * week->mean + (1 - share) * day->mean) / UNIT,
        .variance = (share * week->variance + (1 - share) * day->variance) / UNIT,
        .visits = day->visits, /* each visit counts in both */
    };
}

static void follow(float *error, double load, double foretold)
{
    double off = load - foretold;
    *error += (float)(ERROR_RATE * (off * off - (double)*error));
}

static void commit(struct tarn_pattern *pattern)
{
    if (!pattern->running || pattern->covered < TARN_PATTERN_QUARTER / 2.0)
        return;
    struct tarn_pattern_bucket *week = &pattern->week[pattern->began % TARN_PATTERN_WEEK];
    struct tarn_pattern_bucket *day = &pattern->day[pattern->began % TARN_PATTERN_DAY];
    double load = pattern->load / pattern->covered;
    if (day->visits > 0)
        follow(&pattern->error, load, guess_quarter(pattern, pattern->began).load);
    /* compared only where both have something to say */
    if (week->visits > 0) {
        follow(&pattern->week_error, load, week->mean / UNIT);
        follow(&pattern->day_error, load, day->mean / UNIT);
    }
    visit(week, load, WEEK_RATE);
    visit(day, load, DAY_RATE);
}

/* A quarter hour begins, with what is known of it still to come. */
static void begin_quarter(struct tarn_pattern *pattern, int64_t quarter)
{
    pattern->running = true;
    pattern->began = quarter;
    pattern->load = pattern->covered = 0;
}

void tarn_pattern_feed(struct tarn_pattern *pattern, int64_t wall_s, uint64_t mono_ns, double load)
{
    if (!is_set(wall_s)) {
        pattern->running = false;
        return;
    }
    int64_t quarter = wall_s / TARN_PATTERN_QUARTER;
    double passed = (double)(int64_t)(mono_ns - pattern->mono) * 1e-9;
    double shown = (double)(wall_s - pattern->wall);
    bool jumped = passed < 0 || fabs(shown - passed) > JUMP_SECONDS + passed / 1000;
    pattern->wall = wall_s;
    pattern->mono = mono_ns;
    if (!pattern->running || jumped) {
        begin_quarter(pattern, quarter);
        return;
    }
    if (quarter != pattern->began) {
        commit(pattern);
        begin_quarter(pattern, quarter);
    }
    if (isfinite(load) && passed <= LONGEST_GAP) {
        pattern->load += fmin(fmax(load, 0), 1) * passed;
        pattern->covered += passed;
    }
}

void tarn_pattern_expect(const struct tarn_pattern *pattern, int64_t wall_s, uint32_t seconds,
                         struct tarn_forecast *forecast)
{
    *forecast = (struct tarn_forecast){0};
    if (!is_set(wall_s))
        return;
    seconds = seconds < 1 ? 1 : seconds > 86400 ? 86400 : seconds;
    int64_t end = wall_s + seconds;
    double sum = 0, peak = 0, trough = 1, confidence = 1;
    for (int64_t from = wall_s; from < end;) {
        int64_t quarter = from / TARN_PATTERN_QUARTER, to = (quarter + 1) * TARN_PATTERN_QUARTER;
        struct guess guess = guess_quarter(pattern, quarter);
        double doubt = guess.variance + (double)pattern->error / 2;
        to = to < end ? to : end;
        sum += guess.load * (double)(to - from);
        peak = fmax(peak, guess.load);
        trough = fmin(trough, guess.load);
        confidence = fmin(confidence, guess.visits / (guess.visits + 1.0) / (1 + doubt / DOUBT));
        from = to;
    }
    if (confidence > 0)
        *forecast = (struct tarn_forecast){.load = (float)(sum / seconds),
                                           .peak = (float)peak,
                                           .trough = (float)trough,
                                           .confidence = (float)confidence};
}

static uint8_t *put_table(uint8_t *to, const struct tarn_pattern_bucket *table, size_t count)
{
    for (size_t i = 0; i < count; i++, to += 6) {
        tarn_put_u16(to, table[i].mean);
        tarn_put_u16(to + 2, table[i].variance);
        tarn_put_u16(to + 4, table[i].visits);
    }
    return to;
}

static const uint8_t *get_table(const uint8_t *from, struct tarn_pattern_bucket *table,
                                size_t count)
{
    for (size_t i = 0; i < count; i++, from += 6)
        table[i] = (struct tarn_pattern_bucket){tarn_get_u16(from), tarn_get_u16(from + 2),
                                                tarn_get_u16(from + 4)};
    return from;
}

void tarn_pattern_write(const struct tarn_pattern *pattern, uint8_t *to)
{
    uint8_t *start = to;
    tarn_put_u32(to, MAGIC);
    tarn_put_u32(to + 4, VERSION);
    tarn_put_f32(to + 8, pattern->week_error);
    tarn_put_f32(to + 12, pattern->day_error);
    tarn_put_f32(to + 16, pattern->error);
    to = put_table(to + 20, pattern->week, TARN_PATTERN_WEEK);
    to = put_table(to, pattern->day, TARN_PATTERN_DAY);
    tarn_put_u64(to, tarn_hash(start, (size_t)(to - start)));
}

static bool is_error(float x)
{
    return x >= 0 && x <= 1; /* no NAN either */
}

tarn_status tarn_pattern_read(struct tarn_pattern *pattern, const uint8_t *from, size_t size)
{
    if (size != TARN_PATTERN_BYTES || tarn_get_u32(from) != MAGIC ||
        tarn_get_u32(from + 4) != VERSION ||
        tarn_get_u64(from + size - 8) != tarn_hash(from, size - 8))
        return TARN_CORRUPT;
    float week_error = tarn_get_f32(from + 8), day_error = tarn_get_f32(from + 12);
    float error = tarn_get_f32(from + 16);
    if (!is_error(week_error) || !is_error(day_error) || !is_error(error))
        return TARN_CORRUPT;
    *pattern =
        (struct tarn_pattern){.week_error = week_error, .day_error = day_error, .error = error};
    from = get_table(from + 20, pattern->week, TARN_PATTERN_WEEK);
    get_table(from, pattern->day, TARN_PATTERN_DAY);
    return TARN_OK;
}
