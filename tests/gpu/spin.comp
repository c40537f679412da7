/* SPDX-License-Identifier: Apache-2.0 */
#version 450

layout(local_size_x_id = 64) in;
layout(std430, set = 0, binding = 0) writeonly buffer Out { uint result[]; };
layout(push_constant) uniform Constants { uint steps; };

/* Many steps a turn: llvmpipe ends an invocation's loops after 65535 turns in all. */
#define ONE   x ^= x << 13; x ^= x >> 17; x ^= x << 5;
#define FOUR  ONE ONE ONE ONE
#define MANY  FOUR FOUR FOUR FOUR
#define STEPS 64u

void main()
{
    uint x = 1u;
    for (uint i = steps / STEPS; i > 0u; i--) {
        MANY MANY MANY MANY
    }
    if (gl_GlobalInvocationID.x == 0u)
        result[0] = x;
}
