/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of wide networks; src/kernels/wide.h says what each computes. */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "layout.h"

layout(local_size_x_id = 64) in;
/* One buffer may be bound to several of these. */
layout(std430, set = 0, binding = 0) buffer A { float a[]; };
layout(std430, set = 0, binding = 1) buffer B { float b[]; };
layout(std430, set = 0, binding = 2) buffer C { float c[]; };
layout(std430, set = 0, binding = 3) buffer D { float d[]; };
layout(push_constant) uniform Constants { tarn_wide_constants k; };

/* A group computes a tile of 64 x 64, an invocation 4 x 4 of it at a time: 16 sums in registers. */
const uint SIDE = TARN_WIDE_SIDE, SLICE = 16u, ITEMS = 64u;
shared float slice_a[SLICE * SIDE], slice_b[SLICE * SIDE];

bool has(uint flag)
{
    return (k.flags & flag) != 0u;
}

float leak(float x)
{
    return x > 0.0 ? x : x * TARN_LEAK;
}

/* The tile by quarters; rows and columns of an invocation lie eight apart. */
void product(uint group, uint item)
{
    uint across = (k.columns + SIDE - 1u) / SIDE;
    uint row = group / across * SIDE, column = group % across * SIDE;
    uint down = item / 8u, right = item % 8u;
    [[dont_unroll]] for (uint part = 0u; part < 4u; part++) {
        uint first_row = part / 2u * 32u + down, first_column = part % 2u * 32u + right;
        float sum[16];
        for (int i = 0; i < 16; i++)
            sum[i] = 0.0;
        [[dont_unroll]] for (uint done = 0u; done < k.terms; done += SLICE) {
            barrier();
            [[dont_unroll]] for (uint i = item; i < SLICE * SIDE; i += ITEMS) {
                /* neighbours read what lies side by side, whichever side is transposed */
                uint t = k.a_term == 1u ? i % SLICE : i / SIDE;
                uint r = k.a_term == 1u ? i / SLICE : i % SIDE;
                float x = 0.0;
                if (done + t < k.terms && row + r < k.rows)
                    x = a[k.a + (row + r) * k.a_row + (done + t) * k.a_term];
                slice_a[t * SIDE + r] = x;
                t = k.b_column == 1u ? i / SIDE : i % SLICE;
                uint n = k.b_column == 1u ? i % SIDE : i / SLICE;
                x = 0.0;
                if (done + t < k.terms && column + n < k.columns)
                    x = b[k.b + (done + t) * k.b_term + (column + n) * k.b_column];
                slice_b[t * SIDE + n] = x;
            }
            barrier();
            [[dont_unroll]] for (uint t = 0u; t < SLICE; t++) {
                float x[4], y[4];
                for (uint i = 0u; i < 4u; i++) {
                    x[i] = slice_a[t * SIDE + first_row + i * 8u];
                    y[i] = slice_b[t * SIDE + first_column + i * 8u];
                }
                for (int i = 0; i < 16; i++)
                    sum[i] += x[i / 4] * y[i % 4];
            }
        }
        for (uint i = 0u; i < 16u; i++) {
            uint r = row + first_row + i / 4u * 8u, n = column + first_column + i % 4u * 8u;
            if (r >= k.rows || n >= k.columns)
                continue;
            float z = sum[i];
            if (has(TARN_WIDE_HAS_BIAS))
                z += a[k.bias + r];
            c[k.c + r * k.c_row + n] = has(TARN_WIDE_LEAKY) ? leak(z) : z;
        }
    }
}

void score(uint n)
{
    float survival = 1.0, found = 0.0, area = 0.0, best = 0.0;
    float width = 1.0 / float(1 << -TARN_BIN_FIRST_LOG2);
    [[dont_unroll]] for (uint bin = 0u; bin < k.rows; bin++) {
        float minus = -a[k.a + bin * k.a_row + n];
        minus = minus < -80.0 ? -80.0 : minus > 80.0 ? 80.0 : minus;
        float e = exp(minus), hazard = 1.0 / (1.0 + e), after = survival * e * hazard;
        found += survival * hazard;
        area += (survival + after) * (0.5 * width);
        float value = found / area;
        best = best >= value ? best : value; /* a NaN wins and stays */
        survival = after;
        width = bin > 0u ? width * 2.0 : width;
    }
    c[k.c + n] = log2(best + 1e-9);
}

void losses(uint n)
{
    uint label = floatBitsToUint(b[k.b + n]);
    float loss = 0.0;
    [[dont_unroll]] for (uint bin = 0u; bin < k.rows; bin++) {
        float x = a[k.a + bin * k.a_row + n];
        float y = (label >> 8 & 0xffu) == bin + 1u ? 1.0 : 0.0;
        float e = exp(-abs(x)), small = 1.0 / (1.0 + e), hazard = x > 0.0 ? small : e * small;
        bool inside = bin < (label & 0xffu);
        if (inside)
            loss += (x > 0.0 ? x : 0.0) - y * x + 0.693147181 * log2(1.0 + e);
        c[k.c + bin * k.c_row + n] = inside ? (hazard - y) * k.scale : 0.0;
    }
    d[k.d + n] = loss * k.scale;
}

void sum_row(uint r, uint item)
{
    float sum = 0.0;
    [[dont_unroll]] for (uint n = item; n < k.columns; n += ITEMS)
        sum += a[k.a + r * k.a_row + n];
    slice_a[item] = sum;
    [[dont_unroll]] for (uint left = ITEMS / 2u; left > 0u; left /= 2u) {
        barrier();
        if (item < left)
            slice_a[item] += slice_a[item + left];
    }
    if (item == 0u)
        c[k.c + r] = slice_a[0];
    barrier();
}

void adam(uint i)
{
    float g = a[k.a + i];
    if ((floatBitsToUint(g) & 0x7f800000u) == 0x7f800000u)
        return;
    float m = b[k.b + i], v = d[k.d + i];
    m += (1.0 - k.beta1) * (g - m);
    v += (1.0 - k.beta2) * (g * g - v);
    b[k.b + i] = m;
    d[k.d + i] = v;
    c[k.c + i] -= k.scale * (m * k.unbias1) / (sqrt(v * k.unbias2) + k.epsilon);
}

void main()
{
    uint group = gl_WorkGroupID.x, item = gl_LocalInvocationID.x;
    uint first = group * SIDE, line = first + item, end = min(first + SIDE, k.rows);
    if (k.op == TARN_WIDE_PRODUCT) {
        product(group, item);
    } else if (k.op == TARN_WIDE_BIAS || k.op == TARN_WIDE_SLOPE) {
        [[dont_unroll]] for (uint r = first; r < end; r++)
            [[dont_unroll]] for (uint n = item; n < k.columns; n += ITEMS) {
                uint at = k.c + r * k.c_row + n;
                float z = c[at];
                if (k.op == TARN_WIDE_SLOPE)
                    z = a[k.a + r * k.a_row + n] > 0.0 ? z : z * TARN_LEAK;
                else
                    z = has(TARN_WIDE_LEAKY) ? leak(z + a[k.bias + r]) : z + a[k.bias + r];
                c[at] = z;
            }
    } else if (k.op == TARN_WIDE_SCORE) {
        if (line < k.columns)
            score(line);
    } else if (k.op == TARN_WIDE_LOSS) {
        if (line < k.columns)
            losses(line);
    } else if (k.op == TARN_WIDE_SUM) {
        [[dont_unroll]] for (uint r = first; r < end; r++)
            sum_row(r, item);
    } else {
        uint last = min((group + 1u) * TARN_WIDE_FLAT, k.rows);
        [[dont_unroll]] for (uint i = group * TARN_WIDE_FLAT + item; i < last; i += ITEMS)
            adam(i);
    }
}
