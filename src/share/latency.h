/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Quantiles of the last one to two thousand latencies, in 2 KiB: a histogram with eight steps an
 * octave (at most 9 % off), halved as it fills. Pure; one thread at a time.
 */
#ifndef TARN_SHARE_LATENCY_H
#define TARN_SHARE_LATENCY_H

#include <stdint.h>

enum { TARN_LATENCY_STEPS = 8, TARN_LATENCY_CLASSES = 40 * TARN_LATENCY_STEPS };

struct tarn_latency {
    uint32_t count[TARN_LATENCY_CLASSES];
    uint32_t total;
};

void tarn_latency_add(struct tarn_latency *latency, uint64_t ns);
/** The latency that a share `q` of 0 ... 1 is at or below, ns; NaN if there is none. */
double tarn_latency_quantile(const struct tarn_latency *latency, double q);

#endif
