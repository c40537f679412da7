/* SPDX-License-Identifier: Apache-2.0 */
#version 450

layout(local_size_x_id = 64) in;
layout(std430, set = 0, binding = 0) buffer State { uint state[]; };
layout(push_constant) uniform Constants { uint digit; };

void main()
{
    if (gl_GlobalInvocationID.x == 0u)
        state[0] = state[0] * 3u + digit;
}
