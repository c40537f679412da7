/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The check wheel: 12 FIFO lists, level k with a delay of period / 64 * 2^k, so that each resident is
 * looked at again about when it has doubled its age. A hit touches no list. Uses meta.prev, next, due
 * and level. Not thread-safe.
 */
#ifndef TARN_EVICT_WHEEL_H
#define TARN_EVICT_WHEEL_H

#include "cache/table.h"

#define TARN_WHEEL_LEVELS 12

struct tarn_wheel {
    struct tarn_list level[TARN_WHEEL_LEVELS];
};

void tarn_wheel_init(struct tarn_wheel *wheel);
/** Files `slot` by its age since the last access; `period` is T in requests. */
void tarn_wheel_put(struct tarn_wheel *wheel, struct tarn_table *table, uint32_t slot, uint32_t now,
                    float period);
void tarn_wheel_remove(struct tarn_wheel *wheel, struct tarn_table *table, uint32_t slot);
/**
 * Takes the next due object of the lowest level that has one, refiles it and returns it, or TARN_NONE.
 * `*idle` tells whether it was left alone for at least half of its delay: only those are worth scoring.
 * `*cursor` starts at 0 and is carried between the calls of one round.
 */
uint32_t tarn_wheel_next(struct tarn_wheel *wheel, struct tarn_table *table, uint32_t now,
                         float period, int *cursor, bool *idle);

#endif
