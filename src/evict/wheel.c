/* SPDX-License-Identifier: Apache-2.0 */
#include "wheel.h"

/* Ages saturate here, so that counters modulo 2^32 keep their meaning. */
#define OLDEST 0x40000000u

void tarn_wheel_init(struct tarn_wheel *wheel)
{
    for (int k = 0; k < TARN_WHEEL_LEVELS; k++)
        wheel->level[k] = TARN_LIST_EMPTY;
}

void tarn_wheel_put(struct tarn_wheel *wheel, struct tarn_table *table, uint32_t slot, uint32_t now,
                    float period)
{
    struct tarn_meta *meta = tarn_table_meta(table, slot);
    float age = (float)(now - meta->last), delay = period / 64;
    int k = 0;
    for (; delay < age && k < TARN_WHEEL_LEVELS - 1; k++)
        delay *= 2;
    if (delay > (float)OLDEST)
        delay = (float)OLDEST;
    meta->level = (uint16_t)(k & 15);
    meta->due = now + (uint32_t)(delay * 0.999f) + 1;
    tarn_list_push_head(table, &wheel->level[k], slot);
}

void tarn_wheel_remove(struct tarn_wheel *wheel, struct tarn_table *table, uint32_t slot)
{
    tarn_list_remove(table, &wheel->level[tarn_table_meta(table, slot)->level], slot);
}

uint32_t tarn_wheel_next(struct tarn_wheel *wheel, struct tarn_table *table, uint32_t now,
                         float period, int *cursor, bool *idle)
{
    for (; *cursor < TARN_WHEEL_LEVELS; ++*cursor) {
        struct tarn_list *level = &wheel->level[*cursor];
        uint32_t slot = level->tail;
        if (slot == TARN_NONE)
            continue;
        struct tarn_meta *meta = tarn_table_meta(table, slot);
        if ((int32_t)(meta->due - now) > 0)
            continue;
        tarn_list_remove(table, level, slot);
        uint32_t age = now - meta->last;
        if (age > OLDEST)
            meta->last = now - OLDEST;
        if (now - meta->inserted > OLDEST)
            meta->inserted = now - OLDEST;
        tarn_wheel_put(wheel, table, slot, now, period);
        *idle = (float)age >= period / 128 * (float)(1u << *cursor);
        return slot;
    }
    return TARN_NONE;
}
