/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lookups in stages over groups of keys: fetch the next group's first buckets, compare this
 * group's, and go on to second buckets only with the keys that weren't found. A lookup is one or
 * two cache misses; what counts is how many of them are under way at once. Compiled once an
 * instruction set.
 */
#include "isa.h"
#include "lookup.h"
#include "vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

void TARN_VARIANT(tarn_lookup)(const void *buckets, uint32_t mask, const void *hashes, size_t count,
                               uint32_t *slots);

enum { GROUP = 64 };

struct key {
    uint32_t low, tag;
};

/* A bit for each place of the bucket whose tag matches. */
INLINE uint32_t matches(const uint32_t *bucket, uint32_t tag)
{
#if defined(__AVX2__)
    __m256i tags = _mm256_loadu_si256((const __m256i *)(const void *)bucket);
    __m256i same = _mm256_cmpeq_epi32(tags, _mm256_set1_epi32((int)tag));
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(same));
#elif defined(__SSE2__)
    const __m128i *tags = (const __m128i *)(const void *)bucket;
    __m128i wanted = _mm_set1_epi32((int)tag);
    __m128i a = _mm_cmpeq_epi32(_mm_loadu_si128(tags), wanted);
    __m128i b = _mm_cmpeq_epi32(_mm_loadu_si128(tags + 1), wanted);
    return (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(_mm_packs_epi32(a, b), a)) & 0xffu;
#elif defined(__ARM_NEON)
    static const uint16_t bits[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    uint32x4_t wanted = vdupq_n_u32(tag);
    uint16x8_t same = vcombine_u16(vmovn_u32(vceqq_u32(vld1q_u32(bucket), wanted)),
                                   vmovn_u32(vceqq_u32(vld1q_u32(bucket + 4), wanted)));
    uint64x2_t sum = vpaddlq_u32(vpaddlq_u16(vandq_u16(same, vld1q_u16(bits))));
    return (uint32_t)(vgetq_lane_u64(sum, 0) + vgetq_lane_u64(sum, 1));
#else
    uint32_t found = 0;
    for (uint32_t i = 0; i < TARN_BUCKET_SLOTS; i++)
        found |= (uint32_t)(bucket[i] == tag) << i;
    return found;
#endif
}

INLINE struct key read_key(const unsigned char *hashes, size_t i)
{
    struct key key;
    memcpy(&key, hashes + 8 * i, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    key.low = __builtin_bswap32(key.low);
    key.tag = __builtin_bswap32(key.tag);
#endif
    key.tag += key.tag == 0;
    return key;
}

INLINE const uint32_t *bucket_of(const void *buckets, uint32_t number)
{
    return (const uint32_t *)buckets + (size_t)number * TARN_BUCKET_WORDS;
}

INLINE void fetch(const void *buckets, uint32_t mask, const unsigned char *hashes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(bucket_of(buckets, read_key(hashes, i).low & mask));
}

/* Whether a key is in its first bucket is a coin toss: a list of the others beats a branch. */
INLINE void resolve(const void *buckets, uint32_t mask, const unsigned char *hashes, size_t count,
                    uint32_t *slots)
{
    uint8_t left[GROUP];
    uint32_t lefts = 0;
    for (size_t i = 0; i < count; i++) {
        struct key key = read_key(hashes, i);
        uint32_t first = key.low & mask;
        const uint32_t *bucket = bucket_of(buckets, first);
        uint32_t found = matches(bucket, key.tag);
        slots[i] = bucket[TARN_BUCKET_SLOTS + (uint32_t)__builtin_ctz(found | 0x80u)];
        uint32_t none = found == 0;
        left[lefts] = (uint8_t)i;
        lefts += none;
        __builtin_prefetch(bucket_of(buckets, first ^ (TARN_INDEX_SPREAD(key.tag) & mask & -none)));
    }
    for (uint32_t j = 0; j < lefts; j++) {
        uint32_t i = left[j];
        struct key key = read_key(hashes, i);
        uint32_t second = (key.low & mask) ^ (TARN_INDEX_SPREAD(key.tag) & mask);
        const uint32_t *bucket = bucket_of(buckets, second);
        uint32_t found = matches(bucket, key.tag);
        uint32_t slot = bucket[TARN_BUCKET_SLOTS + (uint32_t)__builtin_ctz(found | 0x80u)];
        slots[i] = found ? slot : TARN_SLOT_NONE;
    }
}

void TARN_VARIANT(tarn_lookup)(const void *buckets, uint32_t mask, const void *hashes, size_t count,
                               uint32_t *slots)
{
    const unsigned char *keys = hashes;
    fetch(buckets, mask, keys, count < GROUP ? count : GROUP);
    for (size_t done = 0; done < count; done += GROUP) {
        size_t here = count - done < GROUP ? count - done : GROUP, after = count - done - here;
        fetch(buckets, mask, keys + 8 * (done + GROUP), after < GROUP ? after : GROUP);
        resolve(buckets, mask, keys + 8 * done, here, slots + done);
    }
}
