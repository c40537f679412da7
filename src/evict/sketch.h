/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Count-min sketch with conservative update (Estan and Varghese 2002) of 4-bit counters, which are
 * halved once per `period` accesses, a word at a time so that no access takes long (the reset of
 * Einziger, Friedman and Manes, "TinyLFU", 2017, spread out). Not thread-safe.
 */
#ifndef TARN_EVICT_SKETCH_H
#define TARN_EVICT_SKETCH_H

#include <stdint.h>

#include <tarn/status.h>

struct tarn_sketch {
    uint64_t *words; /**< 16 counters each */
    uint32_t mask;   /**< counters - 1 */
    uint32_t period; /**< accesses between halvings of one counter */
    uint32_t count;  /**< accesses in this epoch */
    uint32_t cursor; /**< words halved in this epoch */
    uint8_t epoch;   /**< modulo 16 */
};

/** At least `counters` counters. */
tarn_status tarn_sketch_init(struct tarn_sketch *sketch, uint32_t counters, uint32_t period);
void tarn_sketch_free(struct tarn_sketch *sketch);
/** Counts an access: the new estimate in the low nibble, the epoch in the high one. */
uint8_t tarn_sketch_add(struct tarn_sketch *sketch, uint64_t hash);
/** The estimate without counting, in the same form. */
uint8_t tarn_sketch_estimate(const struct tarn_sketch *sketch, uint64_t hash);

/** An estimate of an earlier epoch, aged to now. */
static inline float tarn_sketch_age(const struct tarn_sketch *sketch, uint8_t noted)
{
    return (float)((noted & 15) >> ((sketch->epoch - (noted >> 4)) & 15));
}

#endif
