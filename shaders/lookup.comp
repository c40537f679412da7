/* SPDX-License-Identifier: Apache-2.0 */
/* Batched index lookups, one key an invocation. Meaning: src/kernels/layout.h, lookup.h. */
#version 450
#extension GL_GOOGLE_include_directive : require
#include "layout.h"

layout(local_size_x_id = 64) in;
layout(std430, set = 0, binding = 0) readonly restrict buffer Buckets { uvec4 buckets[]; };
layout(std430, set = 0, binding = 1) readonly restrict buffer Hashes { uvec2 hashes[]; };
layout(std430, set = 0, binding = 2) writeonly restrict buffer Slots { uint slots[]; };
layout(push_constant) uniform Constants { tarn_lookup_constants constants; };

/* A bucket is four vectors: eight tags, eight references. */
const uint BUCKET_VECTORS = TARN_BUCKET_WORDS / 4;

uint place_of(uvec4 low, uvec4 high, uint tag)
{
    return low.x == tag    ? 0u
           : low.y == tag  ? 1u
           : low.z == tag  ? 2u
           : low.w == tag  ? 3u
           : high.x == tag ? 4u
           : high.y == tag ? 5u
           : high.z == tag ? 6u
           : high.w == tag ? 7u
                           : 8u;
}

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i >= constants.count)
        return;
    uvec2 hash = hashes[i];
    uint tag = hash.y == 0u ? 1u : hash.y, number = hash.x & constants.mask;
    uint slot = TARN_SLOT_NONE;
    for (int b = 0; b < 2 && slot == TARN_SLOT_NONE; b++) {
        uint at = number * BUCKET_VECTORS;
        uint place = place_of(buckets[at], buckets[at + 1u], tag);
        if (place < TARN_BUCKET_SLOTS)
            slot = buckets[at + 2u + place / 4u][place % 4u];
        number ^= TARN_INDEX_SPREAD(tag) & constants.mask;
    }
    slots[i] = slot;
}
