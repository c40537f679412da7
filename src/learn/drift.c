/* SPDX-License-Identifier: Apache-2.0 */
#include "drift.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_BLOCK   32
#define LEAST_PART      4     /* blocks on each side of a cut */
#define LEAST_BLOCKS    32    /* before the variance is believed */
#define LEAST_PAIRS     8     /* differences before a level counts */
#define MEMORY          512   /* differences that a level remembers */
#define PAGE_WARM_UP    64    /* blocks before the mean is one */
#define PAGE_MARGIN     0.25f /* standard deviations of a block that count as none */
#define WARNINGS        100.0f
#define LEAST_DEVIATION 1e-3f /* of ranks: a constant stream has none */

/*
 * The height h, in standard deviations, that a cumulative sum with margin k reaches once in `length`
 * steps: (exp(2kh) - 1 - 2kh) / (2 k^2) = length.
 */
static float reach_for(float k, double length)
{
    double x = 1;
    for (int i = 0; i < 20; i++)
        x = log(2.0 * (double)k * (double)k * length + 1 + x);
    return (float)(x / (2 * (double)k));
}

void tarn_drift_init(struct tarn_drift_detector *d, const struct tarn_drift_params *params)
{
    memset(d, 0, sizeof *d);
    if (params != NULL)
        d->params = *params;
    if (d->params.block == 0)
        d->params.block = DEFAULT_BLOCK;
    if (!(d->params.false_alarms > 0))
        d->params.false_alarms = 1;
    /* half of the alarms a block to each detector; ADWIN's spread over all cuts of a window */
    double rate = (double)d->params.false_alarms * 1e-6 * d->params.block / 2;
    double cuts = TARN_DRIFT_ROWS * TARN_DRIFT_BUCKETS / 2.0;
    d->log_alarm = (float)log(2 * cuts / rate);
    d->log_warning = (float)log(2 * cuts / fmin(rate * (double)WARNINGS, 0.5));
    d->reach_alarm = reach_for(PAGE_MARGIN / 2, 2 / rate);
    d->reach_warning = reach_for(PAGE_MARGIN / 2, 2 / fmin(rate * (double)WARNINGS, 0.5));
}

void tarn_drift_restart(struct tarn_drift_detector *d)
{
    struct tarn_drift_detector kept = *d;
    tarn_drift_init(d, &kept.params);
    d->found = kept.found;
    d->ignored = kept.ignored;
    d->magnitude = kept.magnitude;
}

/* ---- ranks ---- */

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The share of the references below, those that are equal by half. */
static float rank_of(const struct tarn_drift_detector *d, float value)
{
    uint32_t below = 0, not_above = 0;
    for (uint32_t step = TARN_DRIFT_REFERENCE; step > 0; step /= 2) {
        if (below + step <= TARN_DRIFT_REFERENCE && d->reference[below + step - 1] < value)
            below += step;
        if (not_above + step <= TARN_DRIFT_REFERENCE && d->reference[not_above + step - 1] <= value)
            not_above += step;
    }
    return (float)(below + not_above) / (2.0f * TARN_DRIFT_REFERENCE);
}

/* ---- the long-run variance of a block's mean ---- */

static void add_to_levels(struct tarn_drift_detector *d, float mean)
{
    for (uint32_t k = 0; k < TARN_DRIFT_LEVELS; k++) {
        d->level[k].sum += mean;
        if (++d->level[k].in_sum < 1u << k)
            continue;
        float now = d->level[k].sum / (float)(1u << k), difference = now - d->level[k].before;
        if (d->level[k].means++ > 0) {
            uint32_t n = ++d->level[k].differences;
            float share = 1.0f / (float)(n < MEMORY ? n : MEMORY);
            d->level[k].square += share * (difference * difference / 2 - d->level[k].square);
        }
        d->level[k].before = now;
        d->level[k].sum = 0;
        d->level[k].in_sum = 0;
    }
}

/* An estimate from few differences is raised by two of its own standard deviations. */
static float variance_of(const struct tarn_drift_detector *d)
{
    float most = LEAST_DEVIATION * LEAST_DEVIATION;
    for (uint32_t k = 0; k < TARN_DRIFT_LEVELS; k++) {
        uint32_t n = d->level[k].differences < MEMORY ? d->level[k].differences : MEMORY;
        if (n < LEAST_PAIRS)
            break;
        float estimate = d->level[k].square * (float)(1u << k) * (1 + 2 * sqrtf(2.0f / (float)n));
        most = estimate > most ? estimate : most;
    }
    return most;
}

/* ---- ADWIN ---- */

static void add_to_window(struct tarn_drift_detector *d, float mean)
{
    d->total += (double)mean;
    d->blocks++;
    float carry = mean;
    for (uint32_t row = 0; row < TARN_DRIFT_ROWS; row++) {
        float *bucket = d->bucket[row];
        bucket[d->buckets[row]++] = carry;
        if (d->buckets[row] <= TARN_DRIFT_BUCKETS)
            return;
        uint32_t gone = row + 1 < TARN_DRIFT_ROWS ? 2 : 1;
        carry = bucket[0] + bucket[1];
        if (gone == 1) {
            d->total -= (double)bucket[0];
            d->blocks -= (uint64_t)1 << row;
        }
        d->buckets[row] = (uint8_t)(d->buckets[row] - gone);
        memmove(bucket, bucket + gone, d->buckets[row] * sizeof *bucket);
    }
}

/* The window's parts differ by more than chance allows them; `variance` is of a block's mean. */
static tarn_drift cut_window(struct tarn_drift_detector *d, float variance)
{
    tarn_drift result = TARN_DRIFT_NONE;
    double old_sum = 0, old_blocks = 0;
    for (uint32_t row = TARN_DRIFT_ROWS; row-- > 0;)
        for (uint32_t i = 0; i < d->buckets[row]; i++) {
            old_sum += (double)d->bucket[row][i];
            old_blocks += (double)((uint64_t)1 << row);
            double new_blocks = (double)d->blocks - old_blocks;
            if (old_blocks < LEAST_PART || new_blocks < LEAST_PART)
                continue;
            double shift = (d->total - old_sum) / new_blocks - old_sum / old_blocks;
            double m = 1 / (1 / old_blocks + 1 / new_blocks);
            double alarm = sqrt(2 / m * (double)(variance * d->log_alarm)) +
                           2 / (3 * m) * (double)d->log_alarm / d->params.block;
            double warning = sqrt(2 / m * (double)(variance * d->log_warning)) +
                             2 / (3 * m) * (double)d->log_warning / d->params.block;
            if (fabs(shift) <= warning)
                continue;
            d->magnitude = (float)(2 * shift);
            if (fabs(shift) > alarm)
                return TARN_DRIFT_FOUND;
            result = TARN_DRIFT_WARNING;
        }
    return result;
}

/* ---- Page-Hinkley ---- */

static double sum_up(double sum, double step, uint64_t now, uint64_t *since)
{
    if (sum + step > 0)
        return sum + step;
    *since = now;
    return 0;
}

static tarn_drift page(struct tarn_drift_detector *d, float mean, float variance)
{
    d->seen++;
    double deviation = sqrt((double)variance), margin = (double)PAGE_MARGIN * deviation;
    double away = (double)mean - d->mean;
    d->mean += away / (double)d->seen;
    if (d->seen <= PAGE_WARM_UP) {
        d->up_since = d->down_since = d->seen;
        return TARN_DRIFT_NONE;
    }
    d->up = sum_up(d->up, away - margin, d->seen, &d->up_since);
    d->down = sum_up(d->down, -away - margin, d->seen, &d->down_since);
    bool rose = d->up > d->down;
    double reach = (rose ? d->up : d->down) / deviation;
    if (reach <= (double)d->reach_warning)
        return TARN_DRIFT_NONE;
    double shift =
        (rose ? d->up : d->down) / (double)(d->seen - (rose ? d->up_since : d->down_since)) +
        margin;
    d->magnitude = (float)(2 * (rose ? shift : -shift));
    return reach > (double)d->reach_alarm ? TARN_DRIFT_FOUND : TARN_DRIFT_WARNING;
}

tarn_drift tarn_drift_feed(struct tarn_drift_detector *d, float value)
{
    if (!isfinite(value)) {
        d->ignored++;
        return TARN_DRIFT_NONE;
    }
    if (d->references < TARN_DRIFT_REFERENCE) {
        d->reference[d->references++] = value;
        if (d->references == TARN_DRIFT_REFERENCE)
            qsort(d->reference, TARN_DRIFT_REFERENCE, sizeof *d->reference, by_value);
        return TARN_DRIFT_NONE;
    }
    d->sum += rank_of(d, value);
    if (++d->in_block < d->params.block)
        return TARN_DRIFT_NONE;
    float mean = d->sum / (float)d->params.block;
    d->sum = 0;
    d->in_block = 0;
    add_to_levels(d, mean);
    add_to_window(d, mean);
    float variance = variance_of(d);
    if (d->blocks < LEAST_BLOCKS) {
        page(d, mean, variance); /* its mean only: it still warms up */
        return TARN_DRIFT_NONE;
    }
    tarn_drift result = cut_window(d, variance);
    float magnitude = d->magnitude;
    tarn_drift by_sum = page(d, mean, variance);
    if (by_sum > result)
        result = by_sum;
    else
        d->magnitude = magnitude;
    if (result == TARN_DRIFT_FOUND) {
        d->found++;
        tarn_drift_restart(d);
    }
    return result;
}

float tarn_drift_magnitude(const struct tarn_drift_detector *d)
{
    /* ranks are among the first values, which may all lie on one side */
    return fmaxf(-1, fminf(1, d->magnitude));
}
