/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Batched index lookups on the host. Needs no device. Pure, any thread, no allocation.
 */
#ifndef TARN_KERNELS_LOOKUP_H
#define TARN_KERNELS_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

/**
 * For each of `count` hashes (8 bytes each: the low word, then the high word) the reference of the
 * first place whose tag matches, bucket 1 before bucket 2, or TARN_SLOT_NONE. The tag is not the
 * key: the caller compares keys, and on a mismatch looks further by itself.
 *
 * `buckets` are layout.h's, 64-byte aligned for speed; `mask` is their number - 1. Another thread
 * may write buckets meanwhile: what is found is then a hint.
 */
void tarn_lookup_host(const void *buckets, uint32_t mask, const void *hashes, size_t count,
                      uint32_t *slots);

#endif
