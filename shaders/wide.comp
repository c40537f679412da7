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

/* The loss of a logit, and its gradient times `scale`. */
float loss_of(float x, uint bin, uint label, out float gradient)
{
    float y = (label >> 8 & 0xffu) == bin + 1u ? 1.0 : 0.0;
    float e = exp(-abs(x)), small = 1.0 / (1.0 + e), hazard = x > 0.0 ? small : e * small;
    bool inside = bin < (label & 0xffu);
    gradient = inside ? (hazard - y) * k.scale : 0.0;
    return inside ? (x > 0.0 ? x : 0.0) - y * x + 0.693147181 * log2(1.0 + e) : 0.0;
}

void losses(uint n)
{
    uint label = floatBitsToUint(b[k.b + n]);
    float loss = 0.0;
    [[dont_unroll]] for (uint bin = 0u; bin < k.rows; bin++) {
        float gradient;
        loss += loss_of(a[k.a + bin * k.a_row + n], bin, label, gradient);
        c[k.c + bin * k.c_row + n] = gradient;
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

/* ---- networks in two steps ---- */

/*
 * One layer of a pass or its way back: pairs of a row and a sample over the invocations, `rows` of
 * them for `samples` samples, many terms a turn because llvmpipe ends loops after 65,536 turns: at
 * 1024 wide two layers of 512 pairs take 33 each. Weights are in a[], tiles in b[] or c[]; NONE
 * stands for what isn't there.
 */
const uint NONE = 0xffffffffu, TURN = 32u;

float entering(bool in_b, uint at)
{
    return in_b ? b[at] : c[at];
}

void stage(uint item, uint rows, uint terms, uint s, uint s_row, uint s_term, bool in_b, uint v,
           uint v_tile, uint samples, uint bias, uint slope, bool leaky, uint to, uint turned)
{
    uint tile = TARN_WIDE_PADDED(rows) * TARN_LANES;
    [[dont_unroll]] for (uint task = item; task < rows * samples; task += ITEMS) {
        uint r = task / samples, n = task % samples, lane = n % TARN_LANES;
        uint place = n / TARN_LANES * tile + r * TARN_LANES + lane;
        uint from = v + n / TARN_LANES * v_tile + lane, weight = s + r * s_row;
        float sum = 0.0;
        if (bias != NONE)
            sum = a[bias + r];
        uint t = 0u;
        [[dont_unroll]] for (; t + TURN <= terms; t += TURN)
            [[unroll]] for (uint i = 0u; i < TURN; i++)
                sum += a[weight + (t + i) * s_term] * entering(in_b, from + (t + i) * TARN_LANES);
        [[dont_unroll]] for (; t < terms; t++)
            sum += a[weight + t * s_term] * entering(in_b, from + t * TARN_LANES);
        if (slope != NONE)
            sum = c[slope + place] > 0.0 ? sum : sum * TARN_LEAK;
        else if (leaky)
            sum = leak(sum);
        c[to + place] = sum;
        if (turned != NONE)
            c[turned + n * TARN_WIDE_PADDED(rows) + r] = sum;
    }
    memoryBarrierBuffer();
    barrier();
}

void pass(uint group, uint item)
{
    uint first = group * TARN_WIDE_PASS_SAMPLES, inputs = k.inputs;
    uint samples = min(TARN_WIDE_PASS_SAMPLES, k.columns - first);
    uint p0 = TARN_WIDE_PADDED(inputs), p1 = TARN_WIDE_PADDED(k.hidden1);
    uint p2 = TARN_WIDE_PADDED(k.hidden2), p3 = TARN_WIDE_PADDED(k.outputs);
    uint tiles = k.b + first * inputs, w1 = k.a, w2 = w1 + k.hidden1 * (inputs + 1u);
    uint w3 = w2 + k.hidden2 * (k.hidden1 + 1u);
    uint a1 = k.c + first * p1, a2 = k.c + TARN_WIDE_A2(k) + first * p2;
    uint d1 = k.c + TARN_WIDE_D1(k) + first * p1, d2 = k.c + TARN_WIDE_D2(k) + first * p2;
    uint d3 = k.c + TARN_WIDE_D3(k) + first * p3, t0 = k.c + TARN_WIDE_T0(k) + first * p0;
    [[dont_unroll]] for (uint i = item; i < inputs * samples; i += ITEMS) {
        uint n = i % samples, f = i / samples;
        c[t0 + n * p0 + f] = b[tiles + (n / TARN_LANES * inputs + f) * TARN_LANES + n % TARN_LANES];
    }
    stage(item, k.hidden1, inputs, w1, inputs, 1u, true, tiles, inputs * TARN_LANES, samples,
          w1 + k.hidden1 * inputs, NONE, true, a1, k.c + TARN_WIDE_T1(k) + first * p1);
    stage(item, k.hidden2, k.hidden1, w2, k.hidden1, 1u, false, a1, p1 * TARN_LANES, samples,
          w2 + k.hidden2 * k.hidden1, NONE, true, a2, k.c + TARN_WIDE_T2(k) + first * p2);
    stage(item, k.outputs, k.hidden2, w3, k.hidden2, 1u, false, a2, p2 * TARN_LANES, samples,
          w3 + k.outputs * k.hidden2, NONE, false, d3, NONE);
    if (item < samples) {
        uint z = d3 + item / TARN_LANES * p3 * TARN_LANES + item % TARN_LANES;
        uint label = floatBitsToUint(b[k.b_term + first + item]);
        float loss = 0.0;
        [[dont_unroll]] for (uint bin = 0u; bin < k.outputs; bin++) {
            float gradient;
            loss += loss_of(c[z + bin * TARN_LANES], bin, label, gradient);
            c[z + bin * TARN_LANES] = gradient;
        }
        d[k.d + first + item] = loss * k.scale;
    }
    memoryBarrierBuffer();
    barrier();
    stage(item, k.hidden2, k.outputs, w3, 1u, k.hidden2, false, d3, p3 * TARN_LANES, samples, NONE,
          a2, false, d2, NONE);
    stage(item, k.hidden1, k.hidden2, w2, 1u, k.hidden1, false, d2, p2 * TARN_LANES, samples, NONE,
          a1, false, d1, NONE);
}

void adam_at(uint at, float g)
{
    if ((floatBitsToUint(g) & 0x7f800000u) == 0x7f800000u)
        return;
    uint at_m = at + k.c_row, at_v = at_m + k.c_row;
    float m = c[at_m], v = c[at_v];
    m += (1.0 - k.beta1) * (g - m);
    v += (1.0 - k.beta2) * (g * g - v);
    c[at_m] = m;
    c[at_v] = v;
    c[at] -= k.scale * (m * k.unbias1) / (sqrt(v * k.unbias2) + k.epsilon);
}

void update(uint group, uint item)
{
    uint row = group * TARN_WIDE_UPDATE_ROWS, neurons = k.hidden1, inputs = k.inputs;
    uint from = k.a + TARN_WIDE_D1(k), turned = k.a + TARN_WIDE_T0(k), weights = k.c;
    [[dont_unroll]] for (uint layer = 0u; layer < 2u && row >= TARN_WIDE_PADDED(neurons); layer++) {
        row -= TARN_WIDE_PADDED(neurons);
        weights += neurons * (inputs + 1u);
        inputs = neurons;
        neurons = layer == 0u ? k.hidden2 : k.outputs;
        from = k.a + (layer == 0u ? TARN_WIDE_D2(k) : TARN_WIDE_D3(k));
        turned = k.a + (layer == 0u ? TARN_WIDE_T1(k) : TARN_WIDE_T2(k));
    }
    uint rows = min(TARN_WIDE_UPDATE_ROWS, neurons - row), across = TARN_WIDE_PADDED(inputs);
    uint tile = TARN_WIDE_PADDED(neurons) * TARN_LANES;
    [[dont_unroll]] for (uint task = item; task < rows * (inputs + 1u); task += ITEMS) {
        uint r = row + task / (inputs + 1u), i = task % (inputs + 1u);
        uint at = from + r * TARN_LANES, v = turned + i;
        float sum = 0.0;
        [[dont_unroll]] for (uint n = 0u; n < k.columns; n += TARN_LANES) {
            if (i < inputs)
                [[unroll]] for (uint l = 0u; l < TARN_LANES; l++)
                    sum += a[at + l] * a[v + (n + l) * across];
            else
                [[unroll]] for (uint l = 0u; l < TARN_LANES; l++)
                    sum += a[at + l];
            at += tile;
        }
        adam_at(i < inputs ? weights + r * inputs + i : weights + neurons * inputs + r, sum);
    }
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
    } else if (k.op == TARN_WIDE_PASS) {
        pass(group, item);
    } else if (k.op == TARN_WIDE_UPDATE) {
        update(group, item);
    } else {
        uint last = min((group + 1u) * TARN_WIDE_FLAT, k.rows);
        [[dont_unroll]] for (uint i = group * TARN_WIDE_FLAT + item; i < last; i += ITEMS)
            adam(i);
    }
}
