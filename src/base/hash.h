/* SPDX-License-Identifier: Apache-2.0 */
/** @file 64-bit hashes of keys (XXH3, through the xxHash library) and of integers. Pure. */
#ifndef TARN_BASE_HASH_H
#define TARN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t tarn_hash(const void *data, size_t size);

/** A bijective mix of 64 bits (MurmurHash3's finaliser, Appleby): good bits from any integer. */
static inline uint64_t tarn_mix64(uint64_t x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdu;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

#endif
