/* SPDX-License-Identifier: Apache-2.0 */
#include "sketch.h"

#include "base/memory.h"

#define ROWS 3

tarn_status tarn_sketch_init(struct tarn_sketch *sketch, uint32_t counters, uint32_t period)
{
    uint32_t size = 1024;
    while (size < counters && size < 1u << 30)
        size *= 2;
    *sketch = (struct tarn_sketch){.mask = size - 1, .period = period < 16 ? 16 : period};
    sketch->words = tarn_alloc_zeroed(size / 16, sizeof *sketch->words);
    if (sketch->words != NULL)
        return TARN_OK;
    *sketch = (struct tarn_sketch){0};
    return TARN_NO_MEMORY;
}

void tarn_sketch_free(struct tarn_sketch *sketch)
{
    tarn_free(sketch->words);
    sketch->words = NULL;
}

static uint32_t place(const struct tarn_sketch *sketch, uint64_t hash, int row)
{
    /* turned, so that the last row of a large sketch has as many places as the first */
    int turn = 21 * row;
    return (uint32_t)(hash >> turn | hash << (-turn & 63)) & sketch->mask;
}

static uint32_t read(const struct tarn_sketch *sketch, uint32_t i)
{
    return (uint32_t)(sketch->words[i / 16] >> (i % 16 * 4)) & 15;
}

static uint32_t minimum(const struct tarn_sketch *sketch, uint64_t hash)
{
    uint32_t least = 15;
    for (int row = 0; row < ROWS; row++) {
        uint32_t value = read(sketch, place(sketch, hash, row));
        least = value < least ? value : least;
    }
    return least;
}

/* Halves as many words as keep pace with the epoch, so that its end finds all of them halved once. */
static void age(struct tarn_sketch *sketch)
{
    uint32_t words = (sketch->mask + 1) / 16;
    sketch->count++;
    uint32_t target = (uint32_t)((uint64_t)sketch->count * words / sketch->period);
    for (; sketch->cursor < target && sketch->cursor < words; sketch->cursor++)
        sketch->words[sketch->cursor] = sketch->words[sketch->cursor] >> 1 & 0x7777777777777777u;
    if (sketch->count >= sketch->period) {
        sketch->count = sketch->cursor = 0;
        sketch->epoch = (sketch->epoch + 1) & 15;
    }
}

uint8_t tarn_sketch_add(struct tarn_sketch *sketch, uint64_t hash)
{
    if (sketch->words == NULL)
        return 0;
    age(sketch);
    uint32_t least = minimum(sketch, hash);
    if (least < 15) {
        for (int row = 0; row < ROWS; row++) {
            uint32_t i = place(sketch, hash, row);
            if (read(sketch, i) == least)
                sketch->words[i / 16] += 1ull << (i % 16 * 4);
        }
        least++;
    }
    return (uint8_t)(least | sketch->epoch << 4);
}

uint8_t tarn_sketch_estimate(const struct tarn_sketch *sketch, uint64_t hash)
{
    if (sketch->words == NULL)
        return 0;
    return (uint8_t)(minimum(sketch, hash) | sketch->epoch << 4);
}
