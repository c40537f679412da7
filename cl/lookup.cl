/* SPDX-License-Identifier: Apache-2.0 */
/* Batched index lookups. Layout and meaning: src/kernels/layout.h, src/kernels/lookup.h. */
#ifndef TARN_CPU_SHAPE

/* One key a work-item. */
__kernel void lookup(__global const uint *restrict buckets, __global const uint *restrict hashes,
                     __global uint *restrict slots, struct tarn_lookup_constants constants)
{
    uint i = (uint)get_global_id(0);
    if (i >= constants.count)
        return;
    uint2 hash = vload2(i, hashes);
    uint tag = hash.y == 0u ? 1u : hash.y, number = hash.x & constants.mask;
    uint slot = TARN_SLOT_NONE;
    for (int b = 0; b < 2 && slot == TARN_SLOT_NONE; b++) {
        __global const uint *bucket = buckets + (size_t)number * TARN_BUCKET_WORDS;
        uint4 low = vload4(0, bucket), high = vload4(1, bucket);
        uint place = low.s0 == tag    ? 0u
                     : low.s1 == tag  ? 1u
                     : low.s2 == tag  ? 2u
                     : low.s3 == tag  ? 3u
                     : high.s0 == tag ? 4u
                     : high.s1 == tag ? 5u
                     : high.s2 == tag ? 6u
                     : high.s3 == tag ? 7u
                                      : 8u;
        if (place < TARN_BUCKET_SLOTS)
            slot = bucket[TARN_BUCKET_SLOTS + place];
        number ^= TARN_INDEX_SPREAD(tag) & constants.mask;
    }
    slots[i] = slot;
}

#else

/*
 * A work-item takes TARN_LOOKUP_KEYS keys in stages of 64: fetch the next stage's first buckets,
 * compare this one's, go on to second buckets with the keys that are left.
 */
#define STAGE            64u
#define TARN_LOOKUP_KEYS 2048u

TARN_INLINE uint tag_of(uint high)
{
    return high == 0u ? 1u : high;
}

/* 255 in byte i where place i matches. */
TARN_INLINE ulong matches(__global const uint *bucket, uint tag)
{
    return as_ulong(convert_char8(vload8(0, bucket) == (uint8)(tag)));
}

TARN_INLINE uint slot_of(__global const uint *bucket, ulong found)
{
    return bucket[TARN_BUCKET_SLOTS + ((uint)__builtin_ctzl(found | (1ul << 63)) >> 3)];
}

TARN_INLINE __global const uint *bucket_of(__global const uint *buckets, uint number)
{
    return buckets + (size_t)number * TARN_BUCKET_WORDS;
}

TARN_INLINE void fetch(__global const uint *buckets, uint mask, __global const uint *hashes,
                       uint first, uint end)
{
    for (uint i = first; i < end; i++)
        __builtin_prefetch(TARN_FLAT(const void, bucket_of(buckets, hashes[2u * i] & mask)));
}

__kernel void lookup(__global const uint *restrict buckets, __global const uint *restrict hashes,
                     __global uint *restrict slots, struct tarn_lookup_constants constants)
{
    uint begin = (uint)get_global_id(0) * TARN_LOOKUP_KEYS, mask = constants.mask;
    if (begin >= constants.count)
        return;
    uint end = min(begin + TARN_LOOKUP_KEYS, constants.count);
    uint left[STAGE];
    fetch(buckets, mask, hashes, begin, min(begin + STAGE, end));
    for (uint at = begin; at < end; at += STAGE) {
        uint stop = min(at + STAGE, end), lefts = 0u;
        fetch(buckets, mask, hashes, stop, min(stop + STAGE, end));
        for (uint i = at; i < stop; i++) {
            uint2 hash = vload2(i, hashes);
            uint tag = tag_of(hash.y), first = hash.x & mask;
            __global const uint *bucket = bucket_of(buckets, first);
            ulong found = matches(bucket, tag);
            slots[i] = slot_of(bucket, found);
            left[lefts] = i;
            lefts += found == 0ul ? 1u : 0u;
            uint next = found == 0ul ? first ^ (TARN_INDEX_SPREAD(tag) & mask) : first;
            __builtin_prefetch(TARN_FLAT(const void, bucket_of(buckets, next)));
        }
        for (uint j = 0u; j < lefts; j++) {
            uint i = left[j];
            uint2 hash = vload2(i, hashes);
            uint tag = tag_of(hash.y);
            uint second = (hash.x & mask) ^ (TARN_INDEX_SPREAD(tag) & mask);
            __global const uint *bucket = bucket_of(buckets, second);
            ulong found = matches(bucket, tag);
            uint slot = slot_of(bucket, found);
            slots[i] = found == 0ul ? TARN_SLOT_NONE : slot;
        }
    }
}

#endif
