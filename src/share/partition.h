/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How much of the device training may take: a token bucket of device time whose rate a controller
 * moves by additive increase and multiplicative decrease (Chiu and Jain 1989), so that the measured
 * p99 of lookups stays inside its budget. Pure; one thread at a time.
 */
#ifndef TARN_SHARE_PARTITION_H
#define TARN_SHARE_PARTITION_H

#include <stdbool.h>
#include <stdint.h>

struct tarn_partition {
    float share;        /**< of the device's time, 0.02 ... 1 */
    float limit;        /**< that it may grow to */
    float cut;          /**< of the quantum: 0.25 ... 1 */
    double tokens_ns;   /**< device time in store; below 0: overdrawn */
    uint64_t filled_ns; /**< when the bucket was last filled */
};

void tarn_partition_init(struct tarn_partition *partition, uint64_t now_ns);
/** Fills the bucket; it holds at most `room_ns`. */
void tarn_partition_fill(struct tarn_partition *partition, uint64_t now_ns, uint64_t room_ns);
void tarn_partition_spend(struct tarn_partition *partition, uint64_t ns);
/** When there will be something in store: `now_ns` if there is. */
uint64_t tarn_partition_when(const struct tarn_partition *partition, uint64_t now_ns);
/** A period is over: p99 and its budget, ns. A p99 that is NaN is fine. */
void tarn_partition_adapt(struct tarn_partition *partition, double p99_ns, double budget_ns);

#endif
