/* SPDX-License-Identifier: Apache-2.0 */
/** @file Numbers of 16 bits as constants are kept (IEEE 754 binary16). Any thread. */
#ifndef TARN_BASE_HALF_H
#define TARN_BASE_HALF_H

#include <stdint.h>
#include <string.h>

/** Exact; not for infinities and NaNs, which aren't kept. */
static inline float tarn_half(uint16_t half)
{
    /* the exponent and what is behind it fall into their places, 112 powers of 2 too low */
    uint32_t bits = (uint32_t)(half & 0x7fff) << 13 | (uint32_t)(half & 0x8000) << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x * 0x1p112f;
}

#endif
