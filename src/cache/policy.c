/* SPDX-License-Identifier: Apache-2.0 */
#include "policy.h"

#include "base/lg.h"

#define COST_STEP  0.375f /* octaves */
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

uint8_t tarn_cost_to_meta(float us)
{
    if (!(us > 0))
        return 0;
    float steps = us > 1 ? tarn_lg(us) / COST_STEP + 1.5f : 1;
    return steps >= TARN_COST_MOST ? TARN_COST_MOST : (uint8_t)steps;
}

float tarn_cost_from_meta_lg(unsigned cost)
{
    return cost > 0 ? (float)(cost - 1) * COST_STEP : 0;
}
