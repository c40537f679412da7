/* SPDX-License-Identifier: Apache-2.0 */
/* What is learned of days and weeks, how soon, how soon it is forgotten, and what can't corrupt it. */
#include "../check.h"

#include <math.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/rng.h"
#include "share/pattern.h"

#define HOUR   3600
#define DAY    86400
#define MONDAY 1767571200 /* 2026-01-05 00:00 */
#define STEP   10         /* seconds a sample */

struct world {
    struct tarn_pattern pattern;
    struct tarn_rng rng;
    int64_t wall;
    uint64_t mono;
    double noise;
};

typedef double (*schedule)(int64_t wall);

static double hour_of(int64_t wall)
{
    return (double)(wall % DAY) / HOUR;
}

static double office(int64_t wall)
{
    double hour = hour_of(wall);
    return hour >= 9 && hour < 17 ? 0.9 : 0.1;
}

static double night_shift(int64_t wall)
{
    return 1 - office(wall);
}

static double weekdays(int64_t wall)
{
    return (wall - MONDAY) / DAY % 7 < 5 ? office(wall) : 0.1;
}

static void begin(struct world *w, double noise)
{
    *w = (struct world){.wall = MONDAY, .mono = 77, .noise = noise};
    tarn_rng_seed(&w->rng, 11);
    tarn_pattern_init(&w->pattern);
}

static void live(struct world *w, schedule load, int64_t seconds)
{
    for (int64_t end = w->wall + seconds; w->wall < end;) {
        double noise = w->noise * (2 * tarn_rng_double(&w->rng) - 1);
        tarn_pattern_feed(&w->pattern, w->wall, w->mono, load(w->wall) + noise);
        w->wall += STEP;
        w->mono += (uint64_t)STEP * 1000000000u;
    }
}

static struct tarn_forecast expect(const struct world *w, int64_t wall, uint32_t seconds)
{
    struct tarn_forecast forecast;
    tarn_pattern_expect(&w->pattern, wall, seconds, &forecast);
    CHECK(forecast.confidence >= 0 && forecast.confidence <= 1);
    CHECK(forecast.trough <= forecast.load + 1e-6f && forecast.load <= forecast.peak + 1e-6f);
    return forecast;
}

/* How far off the day that follows is foretold at worst, and the least confidence. */
static double worst(const struct world *w, schedule load, double *confidence)
{
    double off = 0;
    *confidence = 1;
    for (int64_t at = w->wall; at < w->wall + DAY; at += 900) {
        struct tarn_forecast forecast = expect(w, at, 900);
        off = fmax(off, fabs((double)forecast.load - load(at)));
        *confidence = fmin(*confidence, (double)forecast.confidence);
    }
    return off;
}

static void knows_nothing_at_first(void)
{
    struct world w;
    begin(&w, 0);
    struct tarn_forecast forecast = expect(&w, MONDAY, 3600);
    CHECK(forecast.confidence == 0 && forecast.peak == 0 && forecast.load == 0);
    live(&w, office, 12 * HOUR);
    CHECK(expect(&w, MONDAY + DAY + 10 * HOUR, 900).load > 0.85f);
    CHECK(expect(&w, MONDAY + DAY + 10 * HOUR, 900).confidence <= 0.5f); /* once is no habit */
    CHECK(expect(&w, MONDAY + DAY + 20 * HOUR, 900).confidence == 0);
    /* what touches an unknown hour is unknown */
    CHECK(expect(&w, MONDAY + DAY + 10 * HOUR, 6 * HOUR).confidence == 0);
    CHECK(sizeof w.pattern < 5000);
}

static void learns_a_day_in_three(void)
{
    struct world w;
    double confidence;
    begin(&w, 0.1);
    live(&w, office, 3 * DAY + STEP); /* the last quarter hour is over */
    CHECK(worst(&w, office, &confidence) < 0.05);
    CHECK(confidence > 0.7);
    /* a burst before it is seen, and a lull */
    int64_t nine = w.wall + 9 * HOUR;
    CHECK(expect(&w, nine - 60, 30).peak < 0.2f);
    CHECK(expect(&w, nine - 60, 61).peak > 0.8f);
    struct tarn_forecast hour = expect(&w, nine - 1800, 3600);
    CHECK(fabsf(hour.load - 0.5f) < 0.05f && hour.peak > 0.8f && hour.trough < 0.2f);
    CHECK(expect(&w, nine + 8 * HOUR, 2 * HOUR).peak < 0.2f);
    /* a horizon is a second to a day */
    CHECK(expect(&w, nine, 0).peak > 0.8f);
    CHECK(fabsf(expect(&w, nine, UINT32_MAX).load - expect(&w, nine, DAY).load) < 1e-6f);
}

static void learns_weekends(void)
{
    struct world w;
    double confidence;
    begin(&w, 0.1);
    live(&w, weekdays, 14 * DAY);
    for (int day = 0; day < 7; day++) {
        CHECK(worst(&w, weekdays, &confidence) < 0.15);
        CHECK(day == 6 || confidence > 0.4);
        live(&w, weekdays, DAY);
    }
}

static void noise_is_doubt(void)
{
    struct world w;
    double steady, noisy = 1;
    begin(&w, 0.1);
    live(&w, office, 5 * DAY + STEP);
    worst(&w, office, &steady);
    begin(&w, 0);
    for (int day = 0; day < 10; day++) /* busy or not, nobody knows why */
        live(&w, tarn_rng_below(&w.rng, 2) ? office : night_shift, DAY);
    worst(&w, office, &noisy);
    CHECK(steady > 0.8 && noisy < 0.4);
}

/* As the header says: within a week. */
static void forgets_a_changed_schedule(void)
{
    struct world w;
    double confidence, off = 0;
    begin(&w, 0.1);
    live(&w, office, 28 * DAY);
    CHECK(expect(&w, w.wall + 9 * HOUR, HOUR).confidence > 0.85f);
    live(&w, night_shift, 9 * HOUR); /* a bad day to foretell the rest of it */
    CHECK(expect(&w, w.wall, HOUR).confidence < 0.5f);
    live(&w, night_shift, DAY - 9 * HOUR);
    worst(&w, night_shift, &confidence);
    CHECK(confidence < 0.6); /* surprised */
    live(&w, night_shift, 6 * DAY);
    off = worst(&w, night_shift, &confidence);
    CHECK(off < 0.15);
    live(&w, night_shift, 7 * DAY);
    off = worst(&w, night_shift, &confidence);
    CHECK(off < 0.1 && confidence > 0.6);
}

static void clocks_that_jump(void)
{
    struct world w;
    double confidence;
    begin(&w, 0);
    live(&w, office, 3 * DAY + STEP);
    int64_t right = w.wall;
    uint64_t mono = w.mono;
    struct tarn_pattern before = w.pattern;

    /* never set: nothing is learned, nothing foretold */
    w.wall = 100;
    live(&w, night_shift, 2 * HOUR);
    CHECK(memcmp(before.week, w.pattern.week, sizeof before.week) == 0);
    CHECK(expect(&w, 100, 900).confidence == 0);
    CHECK(expect(&w, -5, 900).confidence == 0 && expect(&w, INT64_MAX, 900).confidence == 0);
    tarn_pattern_feed(&w.pattern, INT64_MIN, 0, 1);
    tarn_pattern_feed(&w.pattern, INT64_MAX, UINT64_MAX, 1);

    /* elsewhere for ever so short, back and forth */
    w.wall = right;
    w.mono = mono;
    for (int i = 0; i < 2000; i++) {
        w.wall = right + (int64_t)tarn_rng_below(&w.rng, 7 * DAY) - 3 * DAY;
        live(&w, night_shift, 5 * STEP);
        if (i % 7 == 0)
            w.mono = tarn_rng_next(&w.rng);
    }
    CHECK(memcmp(before.week, w.pattern.week, sizeof before.week) == 0);
    CHECK(memcmp(before.day, w.pattern.day, sizeof before.day) == 0);

    /* in the middle of a quarter hour: that one is dropped, the next counts */
    w.wall = right + 8 * HOUR + 100;
    live(&w, night_shift, 700);
    w.wall += HOUR; /* daylight saving */
    live(&w, office, 90);
    CHECK(memcmp(before.day, w.pattern.day, sizeof before.day) == 0);
    live(&w, office, 1800);
    CHECK(memcmp(before.day, w.pattern.day, sizeof before.day) != 0);
    w.wall = right + DAY;
    live(&w, office, DAY);
    CHECK(worst(&w, office, &confidence) < 0.05 && confidence > 0.7);
}

static void gaps_and_odd_loads(void)
{
    struct world w;
    begin(&w, 0);
    live(&w, office, DAY);
    struct tarn_pattern before = w.pattern;
    /* asleep for a day, by both clocks; samples too far apart to mean anything */
    w.wall += DAY;
    w.mono += DAY * (uint64_t)1000000000u;
    for (int i = 0; i < 200; i++) {
        tarn_pattern_feed(&w.pattern, w.wall, w.mono, 1);
        w.wall += 200;
        w.mono += 200 * (uint64_t)1000000000u;
    }
    /* the quarter hour in progress may still have been counted */
    int changed = 0;
    for (int i = 0; i < TARN_PATTERN_DAY; i++)
        changed += memcmp(&before.day[i], &w.pattern.day[i], sizeof before.day[i]) != 0;
    CHECK(changed <= 1);
    begin(&w, 0);
    for (int i = 0; i < 2000; i++) {
        static const double odd[] = {(double)NAN, 0.5, -3, 7};
        tarn_pattern_feed(&w.pattern, w.wall, w.mono, odd[i % 4]);
        w.wall += STEP;
        w.mono += STEP * (uint64_t)1000000000u;
    }
    struct tarn_forecast forecast = expect(&w, MONDAY + DAY, HOUR);
    CHECK(fabsf(forecast.load - 0.5f) < 0.02f); /* -3 is 0, 7 is 1, NAN is unknown */
}

static void bytes_and_back(void)
{
    struct world w;
    struct tarn_pattern back;
    static uint8_t bytes[TARN_PATTERN_BYTES], again[TARN_PATTERN_BYTES];
    begin(&w, 0.2);
    live(&w, weekdays, 12 * DAY + 1234);
    tarn_pattern_write(&w.pattern, bytes);
    REQUIRE(tarn_pattern_read(&back, bytes, sizeof bytes) == TARN_OK);
    tarn_pattern_write(&back, again);
    CHECK(memcmp(bytes, again, sizeof bytes) == 0);
    for (int64_t at = w.wall; at < w.wall + 7 * DAY; at += 450) {
        struct tarn_forecast one = expect(&w, at, 900), other;
        tarn_pattern_expect(&back, at, 900, &other);
        CHECK(memcmp(&one, &other, sizeof one) == 0);
    }
    CHECK_NUMBER(tarn_get_u32(bytes), 0x54415054);
    CHECK_NUMBER(tarn_get_u16(bytes + 20 + 6 * 672 + 4), w.pattern.day[0].visits);
    w.pattern = back; /* goes on where it stopped */
    live(&w, weekdays, 2 * DAY);
}

static void refuses_corrupt_bytes(void)
{
    struct world w;
    static uint8_t bytes[TARN_PATTERN_BYTES + 1];
    begin(&w, 0.2);
    live(&w, office, 2 * DAY);
    tarn_pattern_write(&w.pattern, bytes);
    struct tarn_pattern kept, pattern = w.pattern;
    memcpy(&kept, &pattern, sizeof kept);
    for (size_t i = 0; i < TARN_PATTERN_BYTES; i++) {
        bytes[i] ^= (uint8_t)(1u << i % 8);
        CHECK(tarn_pattern_read(&pattern, bytes, TARN_PATTERN_BYTES) == TARN_CORRUPT);
        bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    CHECK(tarn_pattern_read(&pattern, bytes, TARN_PATTERN_BYTES - 1) == TARN_CORRUPT);
    CHECK(tarn_pattern_read(&pattern, bytes, TARN_PATTERN_BYTES + 1) == TARN_CORRUPT);
    CHECK(tarn_pattern_read(&pattern, bytes, 0) == TARN_CORRUPT);
    /* well signed nonsense */
    static const float bad[] = {NAN, -1, 2, INFINITY};
    for (size_t i = 0; i < 12; i++) {
        tarn_pattern_write(&w.pattern, bytes);
        tarn_put_f32(bytes + 8 + 4 * (i / 4), bad[i % 4]);
        tarn_put_u64(bytes + TARN_PATTERN_BYTES - 8, tarn_hash(bytes, TARN_PATTERN_BYTES - 8));
        CHECK(tarn_pattern_read(&pattern, bytes, TARN_PATTERN_BYTES) == TARN_CORRUPT);
    }
    CHECK(memcmp(&kept, &pattern, sizeof kept) == 0);
    tarn_pattern_write(&w.pattern, bytes);
    tarn_put_u32(bytes + 4, 2); /* another version */
    tarn_put_u64(bytes + TARN_PATTERN_BYTES - 8, tarn_hash(bytes, TARN_PATTERN_BYTES - 8));
    CHECK(tarn_pattern_read(&pattern, bytes, TARN_PATTERN_BYTES) == TARN_CORRUPT);
}

CHECK_MAIN(CASE(knows_nothing_at_first), CASE(learns_a_day_in_three), CASE(learns_weekends),
           CASE(noise_is_doubt), CASE(forgets_a_changed_schedule), CASE(clocks_that_jump),
           CASE(gaps_and_odd_loads), CASE(bytes_and_back), CASE(refuses_corrupt_bytes))
