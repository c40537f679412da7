/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE 64

static _Atomic(tarn_memory_hook) memory_hook;

void tarn_memory_set_hook(tarn_memory_hook hook)
{
    atomic_store(&memory_hook, hook);
}

static bool allowed(size_t size)
{
    tarn_memory_hook hook = atomic_load_explicit(&memory_hook, memory_order_relaxed);
    return !hook || hook(size ? size : 1);
}

static void freed(void)
{
    tarn_memory_hook hook = atomic_load_explicit(&memory_hook, memory_order_relaxed);
    if (hook)
        hook(0);
}

void *tarn_alloc(size_t size)
{
    return allowed(size) ? malloc(size) : NULL;
}

void *tarn_alloc_zeroed(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size)
        return NULL;
    return allowed(count * size) ? calloc(count, size) : NULL;
}

void *tarn_realloc(void *block, size_t size)
{
    if (!allowed(size))
        return NULL;
    void *moved = realloc(block, size);
    /* one block went, one came: the books of a test balance */
    if (moved && block)
        freed();
    return moved;
}

void *tarn_alloc_aligned(size_t alignment, size_t size)
{
    void *block = NULL;
    if (!allowed(size) || posix_memalign(&block, alignment, size) != 0)
        return NULL;
    return block;
}

void tarn_free(void *block)
{
    if (!block)
        return;
    freed();
    free(block);
}

void *tarn_alloc_lines(size_t size)
{
    /* calloc knows which pages are fresh from the system and already zero; aligned_alloc does not
     */
    if (size > SIZE_MAX - LINE || !allowed(size))
        return NULL;
    char *raw = calloc(1, size + LINE);
    if (!raw)
        return NULL;
    /* 16 to 64 bytes further on, since calloc aligns to 16: room for the pointer back */
    char *block = raw + LINE - (uintptr_t)raw % LINE;
    ((void **)block)[-1] = raw;
    return block;
}

void tarn_discard_lines(void *start, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)start + page - 1) & ~(uintptr_t)(page - 1);
    uintptr_t to = ((uintptr_t)start + size) & ~(uintptr_t)(page - 1);
    /* only advice: without it freeing takes longer */
    if (from < to)
        (void)madvise((void *)from, to - from, MADV_DONTNEED);
}

void tarn_free_lines(void *block)
{
    if (!block)
        return;
    freed();
    free(((void **)block)[-1]);
}
