/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The recurring pattern of load, learned on line, so that a lull or a burst can be expected before it
 * is seen. Two tables of quarter hours: those of the week, and those of the day whatever the day, which
 * know something after one day. Each keeps an exponentially decayed mean and variance (West 1979);
 * the tables are mixed by how well each has foretold the last day, so that a changed schedule is
 * believed within a week and weekends are learned in two.
 *
 * Fixed size (under 5 KiB), no allocation, O(1) to feed. Not thread-safe. The fields are private.
 */
#ifndef TARN_SHARE_PATTERN_H
#define TARN_SHARE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#define TARN_PATTERN_QUARTER 900 /* seconds */
#define TARN_PATTERN_DAY     96  /* quarter hours */
#define TARN_PATTERN_WEEK    (7 * TARN_PATTERN_DAY)
/** Bytes that tarn_pattern_write() writes: head, tables, checksum. */
#define TARN_PATTERN_BYTES (20 + 6 * (TARN_PATTERN_WEEK + TARN_PATTERN_DAY) + 8)

struct tarn_pattern_bucket {
    uint16_t mean;     /**< of the load, in 1/65535 */
    uint16_t variance; /**< of the load from one visit to the next, in 1/65535 */
    uint16_t visits;   /**< saturates */
};

struct tarn_pattern {
    struct tarn_pattern_bucket week[TARN_PATTERN_WEEK];
    struct tarn_pattern_bucket day[TARN_PATTERN_DAY];
    float week_error, day_error; /**< decayed squared error of each table's forecasts */
    float error;                 /**< and of both together */
    /* the quarter hour in progress, which is not kept between runs */
    bool running;
    int64_t wall;   /**< of the last sample, s */
    uint64_t mono;  /**< the same on the monotonic clock, ns */
    int64_t began;  /**< the quarter hour, counted from 1970 */
    double load;    /**< load times seconds so far */
    double covered; /**< seconds */
};

/** What is expected of a stretch of time; confidence 0, and all else 0, where nothing is known. */
struct tarn_forecast {
    float load;   /**< mean, 0..1 */
    float peak;   /**< of the quarter hours that it touches, the busiest */
    float trough; /**< and the quietest */
    float
        confidence; /**< 0..1: of the least certain of them; 1 visit gives at most 1/2, n n/(n+1) */
};

/** Nothing is known yet. Also for a pattern that tarn_pattern_read() refused. */
void tarn_pattern_init(struct tarn_pattern *pattern);

/**
 * The load (0..1) since the last call. `wall_s` is local time in seconds since 1970 (UTC plus the
 * zone's offset: schedules follow the clock on the wall), `mono_ns` the monotonic clock. Where the two
 * don't advance alike (set, daylight saving, suspended), the quarter hour in progress is dropped. A
 * wall clock before 2020 is one that was never set: nothing is learned. Time between calls that are
 * more than two minutes apart counts as unknown; a quarter hour counts once half of it is known. A
 * load that is NAN is unknown too.
 */
void tarn_pattern_feed(struct tarn_pattern *pattern, int64_t wall_s, uint64_t mono_ns, double load);

/**
 * What is expected in the `seconds` (1 to a day; else clamped) that follow `wall_s`, which is local
 * time as above. O(quarter hours touched).
 */
void tarn_pattern_expect(const struct tarn_pattern *pattern, int64_t wall_s, uint32_t seconds,
                         struct tarn_forecast *forecast);

/** Writes TARN_PATTERN_BYTES: little-endian, with a checksum. The quarter hour in progress is left out. */
void tarn_pattern_write(const struct tarn_pattern *pattern, uint8_t *to);

/**
 * Reads them back. TARN_CORRUPT for anything else (size, format, checksum, numbers); `pattern` is
 * untouched then.
 */
tarn_status tarn_pattern_read(struct tarn_pattern *pattern, const uint8_t *from, size_t size);

#endif
