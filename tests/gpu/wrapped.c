/* SPDX-License-Identifier: Apache-2.0 */
/* Linked with --wrap: counts, or lets fail, what our own objects allocate, never a driver. */
#include "suite.h"

#include <stdbool.h>
#include <stdlib.h>

atomic_ulong wrapped_allocations;
atomic_long wrapped_until_failure = -1;

static bool fails(void)
{
    atomic_fetch_add(&wrapped_allocations, 1);
    return atomic_load(&wrapped_until_failure) >= 0 &&
           atomic_fetch_sub(&wrapped_until_failure, 1) == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}
