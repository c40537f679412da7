/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Features to Gittins scores, one sample an invocation; src/kernels/forward.h says what is computed.
 * Sums keep the host's order as far as it matters: a neuron's terms one after the other.
 */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "layout.h"
#include "shape.glsl"

layout(local_size_x_id = 64) in;
layout(std430, set = 0, binding = 0) readonly restrict buffer Weights { float weights[]; };
layout(std430, set = 0, binding = 1) readonly restrict buffer Tiles { float tiles[]; };
layout(std430, set = 0, binding = 2) writeonly restrict buffer Scores { float scores[]; };
layout(push_constant) uniform Constants { tarn_forward_constants constants; };

float leak(float x)
{
    return x > 0.0 ? x : x * TARN_LEAK;
}

void main()
{
    uint sample_number = gl_GlobalInvocationID.x;
    if (sample_number >= constants.count)
        return;
    float x[TARN_INPUTS], a1[TARN_HIDDEN1], a2[TARN_HIDDEN2];
    uint at = sample_number / TARN_LANES * (uint(TARN_INPUTS) * TARN_LANES) +
              sample_number % TARN_LANES;
    [[dont_unroll]] for (int i = 0; i < TARN_INPUTS; i++)
        x[i] = tiles[at + uint(i) * TARN_LANES];
    int units1 = int(TARN_SLICE_UNITS(constants.slice, uint(TARN_HIDDEN1)));
    int units2 = int(TARN_SLICE_UNITS(constants.slice, uint(TARN_HIDDEN2)));
    bool exits = TARN_SLICE_EXITS(constants.slice) != 0u;
    [[dont_unroll]] for (int n = 0; n < units1; n++) {
        float sum = weights[TARN_HIDDEN1 * TARN_INPUTS + n];
        [[dont_unroll]] for (int i = 0; i < TARN_INPUTS; i++)
            sum += weights[n * TARN_INPUTS + i] * x[i];
        a1[n] = leak(sum);
    }
    [[dont_unroll]] for (int n = 0; n < units2; n++) {
        if (exits) {
            a2[n] = n < units1 ? a1[n] : 0.0;
            continue;
        }
        float sum = weights[W2 + TARN_HIDDEN2 * TARN_HIDDEN1 + n];
        /* eight a turn: llvmpipe ends loops after 65,536 turns, which 256 times 256 would be */
        int i = 0;
        [[dont_unroll]] for (; i + 8 <= units1; i += 8)
            for (int j = 0; j < 8; j++)
                sum += weights[W2 + n * TARN_HIDDEN1 + i + j] * a1[i + j];
        [[dont_unroll]] for (; i < units1; i++)
            sum += weights[W2 + n * TARN_HIDDEN1 + i] * a1[i];
        a2[n] = leak(sum);
    }
    float survival = 1.0, found = 0.0, area = 0.0, best = 0.0;
    float width = 1.0 / float(1 << -TARN_BIN_FIRST_LOG2);
    [[dont_unroll]] for (int k = 0; k < TARN_OUTPUTS; k++) {
        float logit = weights[W3 + TARN_OUTPUTS * TARN_HIDDEN2 + k];
        [[dont_unroll]] for (int i = 0; i < units2; i++)
            logit += weights[W3 + k * TARN_HIDDEN2 + i] * a2[i];
        float minus = -logit;
        minus = minus < -80.0 ? -80.0 : minus > 80.0 ? 80.0 : minus;
        float e = exp(minus), hazard = 1.0 / (1.0 + e), after = survival * e * hazard;
        found += survival * hazard;
        area += (survival + after) * (0.5 * width);
        float value = found / area;
        best = best >= value ? best : value; /* a NaN wins and stays */
        survival = after;
        width = k > 0 ? width * 2.0 : width;
    }
    scores[sample_number] = log2(best + 1e-9);
}
