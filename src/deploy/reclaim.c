/* SPDX-License-Identifier: Apache-2.0 */
#include "reclaim.h"

#include <stddef.h>

void tarn_reclaim_init(struct tarn_reclaim *reclaim)
{
    atomic_init(&reclaim->epoch, 1);
    reclaim->readers = NULL;
}

void tarn_reclaim_add(struct tarn_reclaim *reclaim, struct tarn_reader *reader)
{
    atomic_init(&reader->seen, TARN_READER_OFFLINE);
    reader->reclaim = reclaim;
    reader->next = reclaim->readers;
    reclaim->readers = reader;
}

void tarn_reclaim_remove(struct tarn_reclaim *reclaim, struct tarn_reader *reader)
{
    struct tarn_reader **at = &reclaim->readers;
    while (*at != NULL && *at != reader)
        at = &(*at)->next;
    if (*at != NULL)
        *at = reader->next;
}

unsigned tarn_reclaim_begin(struct tarn_reclaim *reclaim)
{
    return tarn_step_add(&reclaim->epoch, 2u, memory_order_seq_cst) + 2u;
}

unsigned tarn_reclaim_passed(struct tarn_reclaim *reclaim)
{
    /* only writers change it, and they hold the lock */
    unsigned passed = atomic_load_explicit(&reclaim->epoch, memory_order_relaxed);
    for (struct tarn_reader *r = reclaim->readers; r != NULL; r = r->next) {
        unsigned seen = tarn_step_load(&r->seen, memory_order_seq_cst);
        if (seen != TARN_READER_OFFLINE && !tarn_reclaim_is_past(passed, seen))
            passed = seen;
    }
    return passed;
}
