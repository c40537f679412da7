/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the benches of `tarn bench` share: the device, times and medians. Two ways are measured in
 * turns (A B A B), so that a change of the machine's speed meets both.
 *
 * On a simulated device (<tarn/virtual.h>) the device's way is timed by the device's own clock. The
 * host's times and all CPU times are then unknown (NaN): they are of this machine, not of that board.
 */
#ifndef TARN_TOOLS_BENCH_H
#define TARN_TOOLS_BENCH_H

#include <stdint.h>

#include <tarn/gpu.h>

#include "cli.h"

/** A device, a queue on it, and what went wrong if something did. */
struct tarn_bench {
    bool simulated; /**< the device has a clock of its own */
    struct tarn_cli *cli;
    tarn_device *device;
    tarn_queue *queue;
    struct tarn_error error;
};

/** Opens --device. TARN_EXIT_OK, or an exit code after a message. */
int tarn_bench_open(struct tarn_bench *bench, struct tarn_cli *cli);
void tarn_bench_close(struct tarn_bench *bench);

/** A buffer whose host side holds a copy of `data` (or zeros if NULL), uploaded; NULL: see error.
 */
tarn_buffer *tarn_bench_buffer(struct tarn_bench *bench, const void *data, size_t size);

enum { TARN_BENCH_ROUNDS = 64 };

/** How many of `rounds` are needed: on a simulated device all are alike. */
int tarn_bench_rounds(const struct tarn_bench *bench, int rounds);

/** Wall (or virtual) and process CPU time at the start of one round, and whose way it is. */
struct tarn_bench_clock {
    const struct tarn_bench *bench;
    bool on_device;
    uint64_t wall_ns, cpu_ns;
};
struct tarn_bench_clock tarn_bench_start(const struct tarn_bench *bench, bool on_device);

/** Times of a way, in ns for each element. */
struct tarn_bench_times {
    double wall[TARN_BENCH_ROUNDS], cpu[TARN_BENCH_ROUNDS];
    int rounds;
};
/** Adds a round of `elements` begun at `start`; beyond TARN_BENCH_ROUNDS nothing is added. */
void tarn_bench_stop(struct tarn_bench_times *times, struct tarn_bench_clock start,
                     double elements);
/** Middle of the rounds, NaN where unknown; reorders them. */
double tarn_bench_wall(struct tarn_bench_times *times);
double tarn_bench_cpu(struct tarn_bench_times *times);

/** A failure of `status` into bench->error, saying what; returns the exit code after printing it.
 */
int tarn_bench_fail(struct tarn_bench *bench, tarn_status status, const char *what);

/** Prints the rows as CLI.md's object, or the table where JSON isn't asked for; frees both. */
int tarn_bench_print(struct tarn_bench *bench, const char *name, struct cJSON *rows,
                     tarn_table *table);

/**
 * `--path`: scores or gradient steps on the listed paths over widths 8 ... 1024. Returns an exit
 * code.
 */
int tarn_bench_paths(struct tarn_cli *cli, const char *paths, bool train);
/** The options of --path, for the tables of both. */
#define TARN_BENCH_PATH_OPTIONS                                                                    \
    {"path", 0, "LIST",                                                                            \
     "over widths 8 ... 1024 instead: a list of fused, clblast, gemm, host;\n"                     \
     "auto (what the calibration chose) or all",                                                   \
     false},                                                                                       \
        {"width", 0, "N", "with --path: this width only", false},                                  \
    {                                                                                              \
        "batch", 0, "N", "with --path: samples at once", false                                     \
    }

extern const struct tarn_command tarn_bench_learn, tarn_bench_lookup, tarn_bench_score,
    tarn_bench_share, tarn_bench_swap, tarn_bench_trace, tarn_bench_train;

#endif
