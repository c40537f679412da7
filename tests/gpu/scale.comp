/* SPDX-License-Identifier: Apache-2.0 */
#version 450

layout(local_size_x_id = 64) in;
layout(constant_id = 0) const int FACTOR = 1;
layout(constant_id = 1) const int SHIFT = 0;
layout(std430, set = 0, binding = 0) readonly buffer In { uint from[]; };
layout(std430, set = 0, binding = 1) writeonly buffer Out { uint to[]; };
layout(push_constant) uniform Constants { uint count, addend; };

void main()
{
    uint i = gl_GlobalInvocationID.x;
    if (i < count)
        to[i] = from[i] * uint(FACTOR) + uint(SHIFT) + addend;
}
