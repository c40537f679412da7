/* SPDX-License-Identifier: Apache-2.0 */
/* Next to nothing, to see what a launch costs (devices.c). */
#version 450

layout(local_size_x_id = 64) in;
layout(std430, set = 0, binding = 0) writeonly buffer Word { uint word[]; };

void main()
{
    word[0] = 1u;
}
