/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The heap, through one door, so that tests can count allocations and make any of them fail. Any
 * thread.
 */
#ifndef TARN_BASE_MEMORY_H
#define TARN_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/** `size` > 0 bytes, not cleared; NULL if there are none. The caller frees with tarn_free(). */
void *tarn_alloc(size_t size);
/** `count` elements of `size` bytes, cleared; NULL if there are none or the product overflows. */
void *tarn_alloc_zeroed(size_t count, size_t size);
/** Grows or shrinks; on NULL the old block is untouched. `block` may be NULL. */
void *tarn_realloc(void *block, size_t size);
/** `size` bytes at a multiple of `alignment` (a power of two), not cleared; for tarn_free(). */
void *tarn_alloc_aligned(size_t alignment, size_t size);
/** Accepts NULL. */
void tarn_free(void *block);

/**
 * Cleared, 64-byte aligned memory for big tables. Large ones come straight from the system, so that
 * clearing costs nothing until a page is touched: growing a table must not stall a request.
 */
void *tarn_alloc_lines(size_t size);
/**
 * Gives the pages that lie wholly in `size` bytes at `start`, inside what tarn_alloc_lines() gave,
 * back ahead of tarn_free_lines(), so that freeing a big table is no long call. Their content is
 * lost.
 */
void tarn_discard_lines(void *start, size_t size);
/** Frees what tarn_alloc_lines() gave. Accepts NULL. */
void tarn_free_lines(void *block);

/**
 * For tests: asked before each allocation with its size (false makes it fail), and told of each
 * block freed with a size of 0. NULL, the default, is nobody. The only global of the heap, set
 * while no other thread allocates; the callee copes with several threads.
 */
typedef bool (*tarn_memory_hook)(size_t size);
void tarn_memory_set_hook(tarn_memory_hook hook);

#endif
