/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include "base/lg.h"

#define SIZE_SCALE 1024.0f

uint16_t tarn_size_to_meta(uint64_t charge)
{
    float scaled = tarn_lg((float)(charge ? charge : 1)) * SIZE_SCALE + 0.5f;
    return scaled <= 0 ? 0 : scaled >= 65535.0f ? 65535 : (uint16_t)scaled;
}

float tarn_size_from_meta_lg(uint16_t size)
{
    return (float)size / SIZE_SCALE;
}
