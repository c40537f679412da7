/* SPDX-License-Identifier: Apache-2.0 */
/** @file Little-endian fixed-width fields at any alignment: what files and the wire are made of. */
#ifndef TARN_BASE_BYTES_H
#define TARN_BASE_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint16_t tarn_get_u16(const void *from)
{
    const uint8_t *p = from;
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t tarn_get_u32(const void *from)
{
    const uint8_t *p = from;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t tarn_get_u64(const void *from)
{
    const uint8_t *p = from;
    return tarn_get_u32(p) | (uint64_t)tarn_get_u32(p + 4) << 32;
}

static inline float tarn_get_f32(const void *from)
{
    uint32_t bits = tarn_get_u32(from);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline void tarn_put_u16(void *to, uint16_t value)
{
    uint8_t *p = to;
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void tarn_put_u32(void *to, uint32_t value)
{
    uint8_t *p = to;
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static inline void tarn_put_u64(void *to, uint64_t value)
{
    tarn_put_u32(to, (uint32_t)value);
    tarn_put_u32((uint8_t *)to + 4, (uint32_t)(value >> 32));
}

static inline void tarn_put_f32(void *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    tarn_put_u32(to, bits);
}

#endif
