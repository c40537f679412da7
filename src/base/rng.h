/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Seeded random numbers: xoshiro256** by Blackman and Vigna (2018), seeded by splitmix64. One state
 * per user: no locking, the same numbers for the same seed everywhere.
 */
#ifndef TARN_BASE_RNG_H
#define TARN_BASE_RNG_H

#include <stdint.h>

struct tarn_rng {
    uint64_t s[4];
};

static inline uint64_t tarn_splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline void tarn_rng_seed(struct tarn_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = tarn_splitmix64(&seed);
}

static inline uint64_t tarn_rng_next(struct tarn_rng *rng)
{
    uint64_t *s = rng->s, x = s[1] * 5, result = ((x << 7) | (x >> 57)) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/** Uniform in [0, bound), bound > 0, by Lemire's multiplication (bias below 2^-32). */
static inline uint32_t tarn_rng_below(struct tarn_rng *rng, uint32_t bound)
{
    return (uint32_t)(((tarn_rng_next(rng) >> 32) * bound) >> 32);
}

/** Uniform in [0, 1). */
static inline double tarn_rng_double(struct tarn_rng *rng)
{
    return (double)(tarn_rng_next(rng) >> 11) * 0x1p-53;
}

static inline float tarn_rng_float(struct tarn_rng *rng)
{
    return (float)(tarn_rng_next(rng) >> 40) * 0x1p-24f;
}

#endif
