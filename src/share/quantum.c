/* SPDX-License-Identifier: Apache-2.0 */
#include "quantum.h"

#define FADE 0.95
#define SLOWER                                                                                     \
    1.25 /* times what was expected, twice: what was learned before is worth nothing any more */
#define FAR_OFF 16.0 /* this much slower is another world */
#define GROWTH  4    /* a slice has at most so many times the units of the longest before */
#define SPREAD  0.05 /* of the units' square: below, their numbers differ too little to fit a line */

uint32_t tarn_quantum_units(const struct tarn_quantum *q, uint64_t ns)
{
    if (q->unit_ns <= 0)
        return 1;
    double room_ns = q->suspect > 0 ? (double)ns / q->suspect : (double)ns;
    double units = (room_ns - q->fixed_ns) / q->unit_ns;
    if (units < 1)
        return 1;
    return units < q->most ? (uint32_t)units : q->most;
}

uint64_t tarn_quantum_expect(const struct tarn_quantum *q, uint32_t units)
{
    return q->unit_ns > 0 ? (uint64_t)(q->fixed_ns + q->unit_ns * units) : 0;
}

static void add(struct tarn_quantum *q, double units, double ns)
{
    q->weight = q->weight * FADE + 1;
    q->units = q->units * FADE + units;
    q->ns = q->ns * FADE + ns;
    q->units_units = q->units_units * FADE + units * units;
    q->units_ns = q->units_ns * FADE + units * ns;
}

static void fit(struct tarn_quantum *q)
{
    double mean = q->units / q->weight, mean_ns = q->ns / q->weight;
    double spread = q->units_units / q->weight - mean * mean;
    double slope = spread > SPREAD * mean * mean
                       ? (q->units_ns / q->weight - mean * mean_ns) / spread
                       : (mean_ns - q->fixed_ns) / mean;
    if (slope <= 0 || slope * mean > mean_ns) /* no fixed part is below nothing */
        slope = mean_ns / mean;
    q->unit_ns = slope;
    q->fixed_ns = mean_ns - slope * mean;
}

bool tarn_quantum_learn(struct tarn_quantum *q, uint32_t units, uint64_t ns)
{
    double took = (double)ns;
    double times = q->unit_ns > 0 ? took / (q->fixed_ns + q->unit_ns * units) : 1;
    if (q->most < units * GROWTH)
        q->most = units < UINT32_MAX / GROWTH ? units * GROWTH : UINT32_MAX;
    if (times > SLOWER && q->suspect == 0) {
        q->suspect = times;
        return true;
    }
    bool far_off = times > FAR_OFF && q->suspect > FAR_OFF;
    if (times > SLOWER)
        *q = (struct tarn_quantum){.most = far_off ? 1 : q->most};
    q->suspect = 0;
    add(q, units, took);
    fit(q);
    return !far_off;
}
