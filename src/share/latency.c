/* SPDX-License-Identifier: Apache-2.0 */
#include "latency.h"

#include <math.h>

#define FULL 2048

static uint32_t class_of(uint64_t ns)
{
    if (ns < TARN_LATENCY_STEPS)
        return (uint32_t)ns;
    int octave = 63 - __builtin_clzll(ns), first = 3; /* lg of the steps */
    uint64_t step = ns >> (octave - first) & (TARN_LATENCY_STEPS - 1);
    uint32_t class = (uint32_t)(octave - first + 1) * TARN_LATENCY_STEPS + (uint32_t)step;
    return class < TARN_LATENCY_CLASSES ? class : TARN_LATENCY_CLASSES - 1;
}

/* The middle of a class. */
static double value_of(uint32_t class)
{
    if (class < TARN_LATENCY_STEPS)
        return class;
    int octave = (int)(class / TARN_LATENCY_STEPS) - 1;
    return ldexp(TARN_LATENCY_STEPS + class % TARN_LATENCY_STEPS + 0.5, octave);
}

void tarn_latency_add(struct tarn_latency *l, uint64_t ns)
{
    if (l->total >= FULL) {
        l->total = 0;
        for (uint32_t i = 0; i < TARN_LATENCY_CLASSES; i++)
            l->total += l->count[i] /= 2;
    }
    l->count[class_of(ns)]++;
    l->total++;
}

double tarn_latency_quantile(const struct tarn_latency *l, double q)
{
    if (l->total == 0)
        return NAN;
    double below = q * l->total, sum = 0;
    for (uint32_t i = 0; i < TARN_LATENCY_CLASSES; i++) {
        sum += l->count[i];
        if (sum >= below && sum > 0)
            return value_of(i);
    }
    return value_of(TARN_LATENCY_CLASSES - 1);
}
