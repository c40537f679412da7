/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the kernel's small text files say. Pure; any thread. Each takes a NUL-terminated text of any
 * content and returns false, with the results untouched, where it isn't of the expected form or not
 * plausible. Shares are in [0, 1].
 */
#ifndef TARN_PLATFORM_PARSE_H
#define TARN_PLATFORM_PARSE_H

#include <stdbool.h>
#include <stdint.h>

/** The forms of files with one quantity; sensors.def says which file has which. */
typedef enum tarn_format {
    TARN_FORMAT_PERCENT,   /**< "47", "47 %", "47@200000000Hz": a share */
    TARN_FORMAT_PER_MILLE, /**< "470": a share */
    TARN_FORMAT_BUSY,      /**< "470 1000", busy and all time of the last period: a share */
    TARN_FORMAT_HZ,        /**< "200000000" */
    TARN_FORMAT_MHZ,       /**< "200": in Hz */
    TARN_FORMAT_HIGHEST,   /**< "200000000 300000000": the highest, Hz */
    TARN_FORMAT_LEVELS,    /**< "0: 200Mhz *\n1: 700Mhz\n": the highest, in Hz */
    TARN_FORMAT_MILLI,     /**< "47000", a thousandth of a degree Celsius or watt: in the unit */
    TARN_FORMAT_MICRO,     /**< the same of a millionth */
    TARN_FORMAT_WORD,      /**< no number */
    TARN_FORMAT_QUEUES,    /**< v3d's table of counters: tarn_parse_queues() */
} tarn_format;

/** A file with one number, in SI units. False for WORD and QUEUES. */
bool tarn_parse_value(tarn_format format, const char *text, double *value);

/** One word, without the white space around it; `size` counts the NUL. */
bool tarn_parse_word(const char *text, char *word, unsigned size);

/** The counters of v3d's gpu_stats: how long each queue has worked, by the clock in `time_ns`. */
struct tarn_queues {
    uint64_t time_ns, busy_ns[16];
    unsigned count;
};
bool tarn_parse_queues(const char *text, struct tarn_queues *queues);

/** /proc/pressure/...: of the line "some", the share of the last 10 s, and all time stalled, µs. */
bool tarn_parse_pressure(const char *text, double *share, uint64_t *total_us);
/** The first line of /proc/stat, in ticks; waiting for a disk counts as idle. */
bool tarn_parse_cpu(const char *text, uint64_t *busy, uint64_t *total);
/** /proc/meminfo: bytes. */
bool tarn_parse_memory(const char *text, double *total, double *available);
/** /proc/loadavg: the mean of the last minute. */
bool tarn_parse_load(const char *text, double *load);

#endif
