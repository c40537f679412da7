/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <stdint.h>

#include "base/memory.h"

static int allocations, frees;
static bool refuse;

static bool hook(size_t size)
{
    allocations += size > 0;
    frees += size == 0;
    return !refuse;
}

static void lines_are_zero_and_aligned(void)
{
    for (size_t size = 1; size < 4u << 20; size = size * 5 / 2) {
        unsigned char *lines = tarn_alloc_lines(size);
        REQUIRE(lines != NULL);
        CHECK((uintptr_t)lines % 64 == 0);
        for (size_t i = 0; i < size; i++)
            REQUIRE(lines[i] == 0);
        memset(lines, 0xee, size);
        /* only whole pages go, what lies before and behind stays */
        if (size > 100000) {
            tarn_discard_lines(lines + 100, 90000);
            CHECK(lines[99] == 0xee && lines[100 + 90000] == 0xee);
            lines[50000] = 1;
            CHECK(lines[50000] == 1);
        }
        tarn_free_lines(lines);
    }
    CHECK(tarn_alloc_lines(SIZE_MAX) == NULL);
    tarn_free_lines(NULL);
}

static void the_hook_sees_and_refuses(void)
{
    tarn_memory_set_hook(hook);
    void *a = tarn_alloc(10), *b = tarn_alloc_zeroed(2, 5), *c = tarn_alloc_aligned(4096, 100);
    CHECK(a && b && c && (uintptr_t)c % 4096 == 0);
    a = tarn_realloc(a, 1000);
    CHECK(allocations == 4 && frees == 1);
    refuse = true;
    CHECK(!tarn_alloc(1) && !tarn_alloc_zeroed(1, 1) && !tarn_alloc_aligned(64, 64) &&
          !tarn_realloc(a, 2000) && !tarn_alloc_lines(64));
    refuse = false;
    tarn_free(a);
    tarn_free(b);
    tarn_free(c);
    tarn_free(NULL);
    CHECK_NUMBER(frees, 4);
    tarn_memory_set_hook(NULL);
    CHECK(tarn_alloc_zeroed(SIZE_MAX / 2, 4) == NULL);
}

CHECK_MAIN(CASE(lines_are_zero_and_aligned), CASE(the_hook_sees_and_refuses))
