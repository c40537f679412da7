/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gradient steps: forward, backward, Adam, several of them in one launch; src/kernels/train.h says
 * what is computed. One work-group does it all, as the GPU shape of cl/train.cl: pairs of (neuron,
 * sample) over the invocations in the passes, weights over them for the gradients; activations and
 * their derivatives lie in `scratch`, [neuron][sample], so that neighbours read neighbours.
 */
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "layout.h"
#include "shape.glsl"

layout(local_size_x_id = 64) in;
/* coherent: what one invocation writes the others read, after a barrier */
layout(std430, set = 0, binding = 0) coherent restrict buffer Weights { float weights[]; };
layout(std430, set = 0, binding = 1) restrict buffer M { float m[]; };
layout(std430, set = 0, binding = 2) restrict buffer V { float v[]; };
layout(std430, set = 0, binding = 3) readonly restrict buffer Tiles { float tiles[]; };
layout(std430, set = 0, binding = 4) readonly restrict buffer Labels { uint labels[]; };
layout(std430, set = 0, binding = 5) writeonly restrict buffer Losses { float losses[]; };
layout(std430, set = 0, binding = 6) coherent restrict buffer Scratch { float scratch[]; };
layout(push_constant) uniform Constants { tarn_train_constants constants; };

layout(constant_id = 65) const uint TURN_LIMIT = 0u; /* TARN_SPIRV_TURN_LIMIT_ID */

const uint ITEMS = gl_WorkGroupSize.x;
const uint INPUTS = uint(TARN_INPUTS), HIDDEN1 = uint(TARN_HIDDEN1);
const uint HIDDEN2 = uint(TARN_HIDDEN2), OUTPUTS = uint(TARN_OUTPUTS);

shared float sums[gl_WorkGroupSize.x];

/* Samples of the step that are done at once: all that the range of tiles has of it. */
uint batch;

void all_wait()
{
    memoryBarrierBuffer();
    memoryBarrierShared();
    barrier();
}

/*
 * Sums of TERM(0) to TERM(count - 1), in order, sixteen a turn: fewer turns to wait for, and
 * llvmpipe counts them.
 */
#define ADD(sum, at, size, TERM)                                                                   \
    {                                                                                              \
        [[unroll]] for (uint k_ = 0u; k_ < size; k_++)                                             \
            sum += TERM(at + k_);                                                                  \
        at += size;                                                                                \
    }
#define ADD_UP(sum, count, TERM)                                                                   \
    {                                                                                              \
        uint at_ = 0u;                                                                             \
        [[dont_unroll]] while (at_ + 16u <= count)                                                 \
            ADD(sum, at_, 16u, TERM)                                                               \
        if ((count & 8u) != 0u)                                                                    \
            ADD(sum, at_, 8u, TERM)                                                                \
        if ((count & 4u) != 0u)                                                                    \
            ADD(sum, at_, 4u, TERM)                                                                \
        if ((count & 2u) != 0u)                                                                    \
            ADD(sum, at_, 2u, TERM)                                                                \
        if ((count & 1u) != 0u)                                                                    \
            sum += TERM(at_);                                                                      \
    }

/* Where the tiles from `from` hold input 0 of a sample; input i is i * TARN_LANES behind it. */
uint tile_place(uint from, uint s)
{
    return from + s / TARN_LANES * INPUTS * TARN_LANES + s % TARN_LANES;
}

/*
 * One layer of the forward pass for all samples; its input is tiles or [neuron][sample]. Of a hidden one,
 * units that a sample's slice doesn't have are 0; where it leaves early the second passes its inputs on.
 */
void layer_forward(uint w, uint inputs, uint neurons, uint from, bool tiled, bool hidden, uint label,
                   uint to)
{
    [[dont_unroll]] for (uint task = gl_LocalInvocationID.x; task < neurons * batch;
                         task += ITEMS) {
        uint n = task / batch, s = task % batch, row = w + n * inputs;
        uint place = tiled ? tile_place(from, s) : from + s;
        uint slice = hidden ? TARN_LABEL_SLICE(labels[label + s]) : 0u;
        float sum = weights[w + neurons * inputs + n];
        if (n >= TARN_SLICE_UNITS(slice, neurons)) {
            sum = 0.0;
        } else if (tiled) {
#define TERM(i) weights[row + (i)] * tiles[place + (i)*TARN_LANES]
            ADD_UP(sum, inputs, TERM)
#undef TERM
        } else if (TARN_SLICE_EXITS(slice) == 0u) {
#define TERM(i) weights[row + (i)] * scratch[place + (i)*batch]
            ADD_UP(sum, inputs, TERM)
#undef TERM
        }
        if (hidden && !(sum > 0.0))
            sum *= TARN_LEAK;
        if (!tiled && TARN_SLICE_EXITS(slice) != 0u)
            sum = n < inputs ? scratch[from + task] : 0.0;
        scratch[to + task] = sum;
    }
    all_wait();
}

/*
 * From the output layer to the second, `first` is false, or from there to the first. Of samples that leave
 * early the one way leads to the first layer at once, and the other is none.
 */
void layer_back(uint w, uint inputs, uint neurons, uint d, uint a, bool first, uint label,
                uint before, uint past)
{
    [[dont_unroll]] for (uint task = gl_LocalInvocationID.x; task < inputs * batch; task += ITEMS) {
        uint i = task / batch, s = task % batch, slice = TARN_LABEL_SLICE(labels[label + s]);
        bool exits = TARN_SLICE_EXITS(slice) != 0u;
        float sum = 0.0;
        if (i < TARN_SLICE_UNITS(slice, inputs) && !(first && exits)) {
#define TERM(n) weights[w + (n)*inputs + i] * scratch[d + (n)*batch + s]
            ADD_UP(sum, neurons, TERM)
#undef TERM
        }
        sum = scratch[a + task] > 0.0 ? sum : sum * TARN_LEAK;
        if (!exits) {
            scratch[before + task] = sum;
        } else if (first) {
            if (i >= HIDDEN2) /* the others are there */
                scratch[before + task] = 0.0;
        } else {
            scratch[before + task] = 0.0;
            if (i < HIDDEN1)
                scratch[past + task] = sum;
        }
    }
    all_wait();
}

bool is_finite(float x)
{
    return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u;
}

/*
 * Gradients of one layer's weights and biases, on top of what is there if `more`. True if all of this
 * invocation's are finite.
 */
bool layer_gradient(uint inputs, uint neurons, uint from, bool tiled, uint d, bool more,
                    uint gradient)
{
    bool finite = true;
    [[dont_unroll]] for (uint p = gl_LocalInvocationID.x; p < neurons * (inputs + 1u);
                         p += ITEMS) {
        bool bias = p >= neurons * inputs;
        uint n = bias ? p - neurons * inputs : p / inputs, i = p % inputs;
        uint dn = d + n * batch;
        float sum = more ? scratch[gradient + p] : 0.0;
        if (bias) {
#define TERM(s) scratch[dn + (s)]
            ADD_UP(sum, batch, TERM)
#undef TERM
        } else if (tiled) {
#define TERM(s) scratch[dn + (s)] * tiles[tile_place(from, s) + i * TARN_LANES]
            ADD_UP(sum, batch, TERM)
#undef TERM
        } else {
#define TERM(s) scratch[dn + (s)] * scratch[from + i * batch + (s)]
            ADD_UP(sum, batch, TERM)
#undef TERM
        }
        scratch[gradient + p] = sum;
        finite = finite && is_finite(sum);
    }
    return finite;
}

/*
 * At most so many turns of loops a step takes in one invocation; more than `limit` in a launch, and
 * the driver would cut the loops short and the result would be wrong.
 */
uint turns(uint sums_of, uint count)
{
    return (count + ITEMS - 1u) / ITEMS * (2u + sums_of / 16u) + 1u;
}

bool too_many_turns(uint steps)
{
    uint step_turns = turns(INPUTS, HIDDEN1 * batch) + turns(HIDDEN1, HIDDEN2 * batch) +
                      turns(HIDDEN2, OUTPUTS * batch) + turns(0u, OUTPUTS * batch) +
                      turns(OUTPUTS, HIDDEN2 * batch) + turns(HIDDEN2, HIDDEN1 * batch) +
                      turns(batch, HIDDEN1 * (INPUTS + 1u)) +
                      turns(batch, HIDDEN2 * (HIDDEN1 + 1u)) +
                      turns(batch, OUTPUTS * (HIDDEN2 + 1u)) + turns(0u, uint(WEIGHTS)) + 32u;
    return TURN_LIMIT != 0u && steps > TURN_LIMIT / step_turns;
}

/* The sum over the group, the same in every invocation. */
float group_sum(float mine)
{
    uint item = gl_LocalInvocationID.x;
    sums[item] = mine;
    all_wait();
    [[dont_unroll]] for (uint half_count = ITEMS / 2u; half_count > 0u; half_count /= 2u) {
        if (item < half_count)
            sums[item] += sums[item + half_count];
        all_wait();
    }
    float sum = sums[0];
    all_wait();
    return sum;
}

/*
 * log(1 + x) for x in (-1/2, 1]: 2 atanh(x / (2 + x)), whose series needs no more than |1/3|^17.
 * Vulkan's log() may be wrong by 2^-21 near 1, which is more than what Adam's first steps leave.
 */
float log_one_plus(float x)
{
    float z = x / (2.0 + x), q = z * z;
    return 2.0 * z *
           (1.0 + q * (1.0 / 3.0 +
                       q * (1.0 / 5.0 +
                            q * (1.0 / 7.0 +
                                 q * (1.0 / 9.0 +
                                      q * (1.0 / 11.0 + q * (1.0 / 13.0 + q * (1.0 / 15.0))))))));
}

/* exp(x) - 1 for x <= 0. */
float exp_less_one(float x)
{
    if (x < -0.5)
        return exp(x) - 1.0;
    return x * (1.0 + x / 2.0 *
                          (1.0 + x / 3.0 *
                                     (1.0 + x / 4.0 *
                                                (1.0 + x / 5.0 * (1.0 + x / 6.0 *
                                                                            (1.0 + x / 7.0))))));
}

/* 1 / (1 - beta^done): what Adam's moments are short of in the first steps. */
float unbias(float beta, float done)
{
    float lg = beta < 0.5 ? log(beta) : log_one_plus(beta - 1.0);
    return -1.0 / exp_less_one(done * lg);
}

void main()
{
    uint item = gl_LocalInvocationID.x;
    batch = constants.batch;
    uint a1 = 0u, a2 = a1 + HIDDEN1 * batch, d1 = a2 + HIDDEN2 * batch, d2 = d1 + HIDDEN1 * batch;
    uint d3 = d2 + HIDDEN2 * batch, gradient = d3 + OUTPUTS * batch;
    uint w2 = uint(W2), w3 = uint(W3);
    float scale = 1.0 / float(batch);
    uint step_tiles = batch / TARN_LANES, tile = constants.first_tile;
    uint end =
        constants.tile_count > 0u ? tile + constants.tile_count : constants.steps * step_tiles;
    if (tile >= end)
        return;
    if (too_many_turns((end - 1u) / step_tiles - tile / step_tiles + 1u)) {
        /* as for gradients that aren't finite: nothing changes, here and where the next range goes on */
        [[dont_unroll]] for (uint i = tile / step_tiles + item; i < end / step_tiles; i += ITEMS)
            losses[i] = uintBitsToFloat(0x7fc00000u);
        if (item == 0u)
            scratch[gradient] = uintBitsToFloat(0x7fc00000u);
        return;
    }
    [[dont_unroll]] while (tile < end) {
        uint step_number = tile / step_tiles, stop = min((step_number + 1u) * step_tiles, end);
        bool more = tile % step_tiles != 0u;
        uint from = tile * TARN_LANES * INPUTS, label = tile * TARN_LANES;
        batch = (stop - tile) * TARN_LANES;
        tile = stop;
        layer_forward(0u, INPUTS, HIDDEN1, from, true, true, label, a1);
        layer_forward(w2, HIDDEN1, HIDDEN2, a1, false, true, label, a2);
        layer_forward(w3, HIDDEN2, OUTPUTS, a2, false, false, label, d3);
        float loss = 0.0;
        [[dont_unroll]] for (uint task = item; task < OUTPUTS * batch; task += ITEMS) {
            uint k = task / batch, outcome = labels[label + task % batch];
            float x = scratch[d3 + task], y = k + 1u == (outcome >> 8 & 0xffu) ? 1.0 : 0.0;
            float e = exp(x > 0.0 ? -x : x), small = 1.0 / (1.0 + e);
            bool inside = k < (outcome & 0xffu);
            loss += inside ? (x > 0.0 ? x : 0.0) - y * x + log_one_plus(e) : 0.0;
            scratch[d3 + task] = inside ? ((x > 0.0 ? small : e * small) - y) * scale : 0.0;
        }
        loss = group_sum(loss) + (more ? scratch[gradient + uint(WEIGHTS)] : 0.0);
        layer_back(w3, HIDDEN2, OUTPUTS, d3, a2, false, label, d2, d1);
        layer_back(w2, HIDDEN1, HIDDEN2, d2, a1, true, label, d1, d1);
        bool finite = layer_gradient(INPUTS, HIDDEN1, from, true, d1, more, gradient);
        finite = layer_gradient(HIDDEN1, HIDDEN2, a1, false, d2, more, gradient + w2) && finite;
        finite = layer_gradient(HIDDEN2, OUTPUTS, a2, false, d3, more, gradient + w3) && finite;
        if (stop % step_tiles != 0u) { /* the same for all */
            all_wait(); /* all have read the loss that was there */
            if (item == 0u)
                scratch[gradient + uint(WEIGHTS)] = loss;
            break;
        }
        bool good = group_sum(finite ? 0.0 : 1.0) == 0.0;
        if (item == 0u)
            losses[step_number] = good ? loss * scale : uintBitsToFloat(0x7fc00000u);
        float done = float(constants.first_step + step_number + 1u);
        float unbias1 = unbias(constants.beta1, done), unbias2 = unbias(constants.beta2, done);
        [[dont_unroll]] for (uint p = item; good && p < uint(WEIGHTS); p += ITEMS) {
            float g = scratch[gradient + p];
            float mp = m[p] + (1.0 - constants.beta1) * (g - m[p]);
            float vp = v[p] + (1.0 - constants.beta2) * (g * g - v[p]);
            m[p] = mp;
            v[p] = vp;
            weights[p] -= constants.rate * (mp * unbias1) / (sqrt(vp * unbias2) + constants.epsilon);
        }
        all_wait();
    }
}
