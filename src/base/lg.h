/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Base-2 logarithm and exponential, fast and the same on every machine (no libm, no rounding mode):
 * absolute error of the logarithm below 2e-4 (measured by its test). Pure.
 */
#ifndef TARN_BASE_LG_H
#define TARN_BASE_LG_H

#include <stdint.h>
#include <string.h>

/** log2(x) for x > 0, normal: a rational fit of the mantissa in [0.5, 1). */
static inline float tarn_lg(float x)
{
    uint32_t bits, low;
    float mantissa;
    memcpy(&bits, &x, sizeof bits);
    low = (bits & 0x007fffffu) | 0x3f000000u;
    memcpy(&mantissa, &low, sizeof mantissa);
    return (float)(int32_t)bits * 0x1p-23f - 124.22551499f - 1.498030302f * mantissa -
           1.72587999f / (0.3520887068f + mantissa);
}

/** 2^x for x in [-126, 126]: integer part into the exponent, a fifth-degree fit for the rest. */
static inline float tarn_exp2(float x)
{
    float least = x < -126.0f ? 0.0f : 1.0f; /* nothing jumps: loops over it become vectors */
    x = x < -126.0f ? -126.0f : x;
    x = x > 126.0f ? 126.0f : x;
    int32_t whole = (int32_t)x - (x < (float)(int32_t)x);
    float f = x - (float)whole, scale;
    uint32_t bits = (uint32_t)(whole + 127) << 23;
    memcpy(&scale, &bits, sizeof scale);
    return least * scale *
           (1.0f +
            f * (0.69315308f +
                 f * (0.24015361f + f * (0.055826318f + f * (0.0089893397f + f * 0.0018775767f)))));
}

#endif
