/* SPDX-License-Identifier: Apache-2.0 */
#include "later.h"

#include "base/memory.h"

tarn_status tarn_later_init(struct tarn_later *later)
{
    *later = (struct tarn_later){0};
    later->filled = tarn_alloc(tarn_later_memory());
    if (later->filled == NULL)
        return TARN_NO_MEMORY;
    later->replayed = later->filled + TARN_LATER_NOTES;
    return TARN_OK;
}

void tarn_later_free(struct tarn_later *later)
{
    /* they are one allocation, whichever comes first now */
    tarn_free(later->filled < later->replayed ? later->filled : later->replayed);
    *later = (struct tarn_later){0};
}

void tarn_later_swap(struct tarn_later *later)
{
    struct tarn_note *filled = later->filled;
    later->filled = later->replayed;
    later->replayed = filled;
    later->next = 0;
    later->end = later->count;
    later->count = 0;
}

size_t tarn_later_memory(void)
{
    return (size_t)2 * TARN_LATER_NOTES * sizeof(struct tarn_note);
}
