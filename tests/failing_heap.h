/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A heap whose nth allocation fails. `asked` counts allocations since begin(), `held` the blocks that
 * are not freed yet. For one program with one thread.
 */
#ifndef TARN_TESTS_FAILING_HEAP_H
#define TARN_TESTS_FAILING_HEAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/memory.h"

static long asked, fails_at, held;

static bool fail_one(size_t size)
{
    if (size == 0) {
        held--;
        return true;
    }
    if (++asked == fails_at)
        return false;
    held++;
    return true;
}

/* From now on allocation number `at` fails; 0: none does. */
static void begin(long at)
{
    asked = held = 0;
    fails_at = at;
    tarn_memory_set_hook(fail_one);
}

#endif
