/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gradient steps: forward, backward, Adam, several of them in one launch; src/kernels/train.h says
 * what is computed. One work-group does it all, a step after the other; of the first and the last,
 * the range of tiles may leave out some (layout.h). The shape is TARN_INPUTS, TARN_HIDDEN1,
 * TARN_HIDDEN2, TARN_OUTPUTS; labels say what slice of it their samples train.
 */
#define W2      (TARN_HIDDEN1 * (TARN_INPUTS + 1))
#define W3      (W2 + TARN_HIDDEN2 * (TARN_HIDDEN1 + 1))
#define WEIGHTS (W3 + TARN_OUTPUTS * (TARN_HIDDEN2 + 1))

struct adam {
    float rate, beta1, beta2, epsilon, unbias1, unbias2;
};

/* expm1 and log keep the digits that 1 - pow(beta, t) would lose in the first steps. */
struct adam adam_at(struct tarn_train_constants c, uint step)
{
    float done = (float)(c.first_step + step + 1u);
    struct adam a = {c.rate,
                     c.beta1,
                     c.beta2,
                     c.epsilon,
                     -1.0f / expm1(done * log(c.beta1)),
                     -1.0f / expm1(done * log(c.beta2))};
    return a;
}

#ifndef TARN_CPU_SHAPE

/*
 * Pairs of (neuron, sample) over the work-items in the passes, weights over them for the gradients;
 * activations and their derivatives lie in `scratch`, [neuron][sample], so that neighbours read
 * neighbours. Local memory: only what is summed up. `batch`: the samples of the step that are done at
 * once, all that the range has; gradients are summed in the same order in any ranges.
 */
#define ITEMS ((uint)TARN_LOCAL_SIZE)

/*
 * One hidden layer of the forward pass for all samples; `in` is tiles or [neuron][sample]. Units that a
 * sample's slice doesn't have are 0; a sample that `exits` early has its inputs passed on.
 */
void layer_forward(__global const float *weights, uint inputs, uint neurons,
                   __global const float *in, int tiled, uint batch, __global const uint *labels,
                   __global float *out)
{
    for (uint task = (uint)get_local_id(0); task < neurons * batch; task += ITEMS) {
        uint n = task / batch, sample = task % batch, slice = TARN_LABEL_SLICE(labels[sample]);
        uint at =
            tiled ? sample / TARN_LANES * (inputs * TARN_LANES) + sample % TARN_LANES : sample;
        uint stride = tiled ? TARN_LANES : batch;
        float sum = 0.0f;
        if (!tiled && TARN_SLICE_EXITS(slice) != 0u) {
            out[task] = n < inputs ? in[task] : 0.0f;
            continue;
        }
        if (n < TARN_SLICE_UNITS(slice, neurons)) {
            sum = weights[neurons * inputs + n];
            for (uint i = 0u; i < inputs; i++)
                sum += weights[n * inputs + i] * in[at + i * stride];
        }
        out[task] = sum > 0.0f ? sum : sum * TARN_LEAK;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

void layer_logits(__global const float *weights, __global const float *in, uint batch,
                  __global float *out)
{
    for (uint task = (uint)get_local_id(0); task < TARN_OUTPUTS * batch; task += ITEMS) {
        uint n = task / batch, sample = task % batch;
        float sum = weights[TARN_OUTPUTS * TARN_HIDDEN2 + n];
        for (uint i = 0u; i < TARN_HIDDEN2; i++)
            sum += weights[n * TARN_HIDDEN2 + i] * in[i * batch + sample];
        out[task] = sum;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

/* What the output layer says of the second; of samples that leave early it is the first one's. */
void logits_back(__global const float *weights, __global const float *d, __global const float *a,
                 uint batch, __global const uint *labels, __global float *d2, __global float *d1)
{
    for (uint task = (uint)get_local_id(0); task < TARN_HIDDEN2 * batch; task += ITEMS) {
        uint i = task / batch, sample = task % batch, slice = TARN_LABEL_SLICE(labels[sample]);
        float sum = 0.0f;
        if (i < TARN_SLICE_UNITS(slice, (uint)TARN_HIDDEN2))
            for (uint n = 0u; n < TARN_OUTPUTS; n++)
                sum += weights[n * TARN_HIDDEN2 + i] * d[n * batch + sample];
        sum = a[task] > 0.0f ? sum : sum * TARN_LEAK;
        if (TARN_SLICE_EXITS(slice) == 0u) {
            d2[task] = sum;
        } else {
            d2[task] = 0.0f;
            if (i < TARN_HIDDEN1)
                d1[task] = sum;
        }
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

/* And the second of the first. */
void layer_back(__global const float *weights, __global const float *d2, __global const float *a,
                uint batch, __global const uint *labels, __global float *d1)
{
    for (uint task = (uint)get_local_id(0); task < TARN_HIDDEN1 * batch; task += ITEMS) {
        uint i = task / batch, sample = task % batch, slice = TARN_LABEL_SLICE(labels[sample]);
        float sum = 0.0f;
        if (TARN_SLICE_EXITS(slice) != 0u) {
            if (i >= TARN_HIDDEN2) /* the others are there */
                d1[task] = 0.0f;
            continue;
        }
        if (i < TARN_SLICE_UNITS(slice, (uint)TARN_HIDDEN1))
            for (uint n = 0u; n < TARN_HIDDEN2; n++)
                sum += weights[n * TARN_HIDDEN1 + i] * d2[n * batch + sample];
        d1[task] = a[task] > 0.0f ? sum : sum * TARN_LEAK;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

/*
 * Gradients of one layer's weights and biases, on top of what is there if `more`. True if all of
 * this item's are finite.
 */
int layer_gradient(uint inputs, uint neurons, __global const float *in, int tiled,
                   __global const float *d, uint batch, int more, __global float *gradient)
{
    int finite = 1;
    for (uint p = (uint)get_local_id(0); p < neurons * (inputs + 1u); p += ITEMS) {
        uint n = p < neurons * inputs ? p / inputs : p - neurons * inputs, i = p % inputs;
        __global const float *dn = d + n * batch;
        float sum = more ? gradient[p] : 0.0f;
        if (p >= neurons * inputs) {
            for (uint s = 0u; s < batch; s++)
                sum += dn[s];
        } else if (tiled) {
            for (uint s = 0u; s < batch; s++)
                sum += dn[s] * in[(s / TARN_LANES * inputs + i) * TARN_LANES + s % TARN_LANES];
        } else {
            for (uint s = 0u; s < batch; s++)
                sum += dn[s] * in[i * batch + s];
        }
        gradient[p] = sum;
        finite &= (as_uint(sum) & 0x7f800000u) != 0x7f800000u;
    }
    return finite;
}

__kernel __attribute__((reqd_work_group_size(TARN_LOCAL_SIZE, 1, 1))) void
train(__global float *restrict weights, __global float *restrict m, __global float *restrict v,
      __global const float *restrict tiles, __global const uint *restrict labels,
      __global float *restrict losses, __global float *scratch,
      struct tarn_train_constants constants)
{
    __local float sums[ITEMS];
    uint item = (uint)get_local_id(0), batch = constants.batch, step_tiles = batch / TARN_LANES;
    uint tile = constants.first_tile, end = tile + constants.tile_count;
    if (constants.tile_count == 0u)
        end = constants.steps * step_tiles;
    __global float *a1 = scratch, *a2 = a1 + TARN_HIDDEN1 * batch, *d1 = a2 + TARN_HIDDEN2 * batch;
    __global float *d2 = d1 + TARN_HIDDEN1 * batch, *d3 = d2 + TARN_HIDDEN2 * batch;
    __global float *gradient = d3 + TARN_OUTPUTS * batch; /* and the loss behind it */
    float scale = 1.0f / (float)batch;
    while (tile < end) {
        uint step = tile / step_tiles, stop = min((step + 1u) * step_tiles, end);
        int more = tile % step_tiles != 0u, ends = stop % step_tiles == 0u;
        __global const float *in = tiles + (size_t)tile * TARN_LANES * TARN_INPUTS;
        __global const uint *label = labels + (size_t)tile * TARN_LANES;
        batch = (stop - tile) * TARN_LANES;
        tile = stop;
        layer_forward(weights, TARN_INPUTS, TARN_HIDDEN1, in, 1, batch, label, a1);
        layer_forward(weights + W2, TARN_HIDDEN1, TARN_HIDDEN2, a1, 0, batch, label, a2);
        layer_logits(weights + W3, a2, batch, d3);
        float loss = 0.0f;
        for (uint task = item; task < TARN_OUTPUTS * batch; task += ITEMS) {
            uint k = task / batch, sample = task % batch;
            float x = d3[task], y = k + 1u == (label[sample] >> 8 & 0xffu) ? 1.0f : 0.0f;
            float e = exp(x > 0.0f ? -x : x), small = 1.0f / (1.0f + e);
            int inside = k < (label[sample] & 0xffu);
            loss += inside ? (x > 0.0f ? x : 0.0f) - y * x + log1p(e) : 0.0f;
            d3[task] = inside ? ((x > 0.0f ? small : e * small) - y) * scale : 0.0f;
        }
        sums[item] = loss;
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
        for (uint half_count = ITEMS / 2u; half_count > 0u; half_count /= 2u) {
            if (item < half_count)
                sums[item] += sums[item + half_count];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        loss = sums[0];
        if (more)
            loss += gradient[WEIGHTS];
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
        logits_back(weights + W3, d3, a2, batch, label, d2, d1);
        layer_back(weights + W2, d2, a1, batch, label, d1);
        int finite = layer_gradient(TARN_INPUTS, TARN_HIDDEN1, in, 1, d1, batch, more, gradient);
        finite &= layer_gradient(TARN_HIDDEN1, TARN_HIDDEN2, a1, 0, d2, batch, more, gradient + W2);
        finite &= layer_gradient(TARN_HIDDEN2, TARN_OUTPUTS, a2, 0, d3, batch, more, gradient + W3);
        if (!ends) { /* the same for all items */
            if (item == 0u)
                gradient[WEIGHTS] = loss;
            break;
        }
        sums[item] = finite ? 0.0f : 1.0f;
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
        for (uint half_count = ITEMS / 2u; half_count > 0u; half_count /= 2u) {
            if (item < half_count)
                sums[item] += sums[item + half_count];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        int good = sums[0] == 0.0f;
        if (item == 0u)
            losses[step] = good ? loss * scale : as_float(0x7fc00000u);
        struct adam a = adam_at(constants, step);
        for (uint p = item; good && p < WEIGHTS; p += ITEMS) {
            float g = gradient[p];
            float mp = m[p] + (1.0f - a.beta1) * (g - m[p]);
            float vp = v[p] + (1.0f - a.beta2) * (g * g - v[p]);
            m[p] = mp;
            v[p] = vp;
            weights[p] -= a.rate * (mp * a.unbias1) / (sqrt(vp * a.unbias2) + a.epsilon);
        }
        barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    }
}

#else

/*
 * One work-item; vectors run over neurons and samples are rows, as in src/kernels/train.c. V...:
 * the vectors of a row of neurons.
 */
#define V0 ((TARN_INPUTS + 15) / 16)
#define V1 ((TARN_HIDDEN1 + 15) / 16)
#define V2 ((TARN_HIDDEN2 + 15) / 16)

TARN_INLINE float *floats(float16 *v)
{
    return (float *)v;
}

/* Weights for the forward pass [input][neuron] and, padded, as they are [neuron][input]. */
TARN_INLINE void repack(const float *weights, const int inputs, const int neurons, float16 *across,
                        const int vectors, float16 *back, const int back_vectors, float16 *bias)
{
    for (int i = 0; i < inputs; i++)
        for (int n = 0; n < vectors * 16; n++)
            floats(across)[i * vectors * 16 + n] = n < neurons ? weights[n * inputs + i] : 0.0f;
    for (int n = 0; n < vectors * 16; n++)
        floats(bias)[n] = n < neurons ? weights[neurons * inputs + n] : 0.0f;
    for (int n = 0; back_vectors > 0 && n < neurons; n++)
        for (int i = 0; i < back_vectors * 16; i++)
            floats(back)[n * back_vectors * 16 + i] = i < inputs ? weights[n * inputs + i] : 0.0f;
}

TARN_INLINE void layer_forward(const float *in, const int in_row, const int in_term,
                               const int inputs, const float16 *across, const int vectors,
                               const float16 *bias, float16 *out)
{
    for (int s = 0; s < TARN_LANES; s++)
        for (int c = 0; c < vectors; c++)
            out[s * vectors + c] = bias[c];
    struct tarn_product p = {inputs, in, in_row, in_term, across, vectors, 1, out, vectors, 1};
    tarn_product(p, TARN_LANES, vectors);
}

TARN_INLINE void layer_back(const float16 *back, const int neurons, const int vectors,
                            const float16 *d, const int d_vectors, const float16 *a,
                            float16 *before)
{
    for (int i = 0; i < TARN_LANES * vectors; i++)
        before[i] = (float16)(0.0f);
    struct tarn_product p = {neurons, (const float *)d, d_vectors * 16, 1, back, vectors,
                             1,       before,           vectors,        1};
    tarn_product(p, TARN_LANES, vectors);
    for (int i = 0; i < TARN_LANES * vectors; i++)
        before[i] = select(before[i] * TARN_LEAK, before[i], a[i] > 0.0f);
}

TARN_INLINE void layer_gradient(const float *in, const int in_row, const int in_term,
                                const int inputs, const float16 *d, const int vectors,
                                float16 *gradient, float16 *bias_gradient)
{
    struct tarn_product p = {TARN_LANES, in, in_term, in_row, d, vectors, 1, gradient, vectors, 1};
    tarn_product(p, inputs, vectors);
    for (int c = 0; c < vectors; c++)
        for (int s = 0; s < TARN_LANES; s++)
            bias_gradient[c] += d[s * vectors + c];
}

/* Zeros for the units that a sample's slice doesn't have. */
TARN_INLINE void mask(float16 *rows, const int vectors, __global const uint *labels)
{
    const int16 number = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int s = 0; s < TARN_LANES; s++) {
        int width = (int)TARN_SLICE_WIDTH(TARN_LABEL_SLICE(labels[s]));
        for (int c = 0; c < vectors && width > 0; c++)
            rows[s * vectors + c] = select((float16)(0.0f), rows[s * vectors + c],
                                           number + (int16)(16 * c) < (int16)(width));
    }
}

/* Rows of samples that leave early, from one hidden layer to the other; zeros behind what it has. */
TARN_INLINE void exchange(float16 *from, const int vectors, const int units, float16 *to,
                          const int to_vectors, __global const uint *labels, const int moves)
{
    for (int s = 0; s < TARN_LANES; s++) {
        if (TARN_SLICE_EXITS(TARN_LABEL_SLICE(labels[s])) == 0u)
            continue;
        for (int n = 0; n < to_vectors * 16; n++)
            floats(to)[s * to_vectors * 16 + n] =
                n < units ? floats(from)[s * vectors * 16 + n] : 0.0f;
        for (int c = 0; c < vectors && moves; c++)
            from[s * vectors + c] = (float16)(0.0f);
    }
}
#define SHARED_UNITS (TARN_HIDDEN1 < TARN_HIDDEN2 ? TARN_HIDDEN1 : TARN_HIDDEN2)

/* A part of a step's sums out of or into the scratch buffer; where the next lies there. */
TARN_INLINE __global float *carry(float16 *sums, const int count, __global float *scratch, int in)
{
    for (int i = 0; i < count; i++) {
        if (in)
            sums[i] = vload16(i, scratch);
        else
            vstore16(sums[i], i, scratch);
    }
    return scratch + 16 * count;
}
#define CARRY(in)                                                                                  \
    {                                                                                              \
        __global float *at = carry(g1, TARN_INPUTS * V1, scratch, in);                             \
        at = carry(g2, TARN_HIDDEN1 * V2, at, in);                                                 \
        at = carry(g3, TARN_HIDDEN2, at, in);                                                      \
        at = carry(gb1, V1, at, in);                                                               \
        at = carry(gb2, V2, at, in);                                                               \
        at = carry(gb3, 1, at, in);                                                                \
        carry(&loss, 1, at, in);                                                                   \
    }

/* Logits into gradients; the samples' losses are summed lane by lane. */
TARN_INLINE float16 loss_of(float16 *z, __global const uint *labels, float scale)
{
    const int16 number = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    float16 loss = (float16)(0.0f);
    for (int s = 0; s < TARN_LANES; s++) {
        int16 inside = number < (int16)(min((int)(labels[s] & 0xffu), TARN_OUTPUTS));
        int16 hit = number == (int16)((int)(labels[s] >> 8 & 0xffu) - 1);
        float16 x = z[s];
        int16 positive = x > 0.0f;
        float16 e = tarn_exp(select(x, -x, positive)), small = 1.0f / (1.0f + e);
        float16 hazard = select(e * small, small, positive);
        float16 y = select((float16)(0.0f), (float16)(1.0f), hit);
        float16 cost =
            select((float16)(0.0f), x, positive) - y * x + 0.693147181f * tarn_lg(1.0f + e);
        loss += select((float16)(0.0f), cost, inside);
        z[s] = select((float16)(0.0f), (hazard - y) * scale, inside);
    }
    return loss;
}

/* [input][neuron] and biases into the order of the weights. */
TARN_INLINE void gather(const float16 *gradient, const float16 *bias_gradient, const int inputs,
                        const int neurons, const int vectors, float *out)
{
    for (int n = 0; n < neurons; n++)
        for (int i = 0; i < inputs; i++)
            out[n * inputs + i] = ((const float *)gradient)[i * vectors * 16 + n];
    for (int n = 0; n < neurons; n++)
        out[neurons * inputs + n] = ((const float *)bias_gradient)[n];
}

__kernel TARN_WIDE __attribute__((reqd_work_group_size(1, 1, 1))) void
train(__global float *restrict weights, __global float *restrict m, __global float *restrict v,
      __global const float *restrict tiles, __global const uint *restrict labels,
      __global float *restrict losses, __global float *scratch,
      struct tarn_train_constants constants)
{
    float16 across1[TARN_INPUTS * V1], across2[TARN_HIDDEN1 * V2], across3[TARN_HIDDEN2];
    float16 back2[TARN_HIDDEN2 * V1], back3[TARN_OUTPUTS * V2];
    float16 bias1[V1], bias2[V2], bias3[1];
    float16 g1[TARN_INPUTS * V1], g2[TARN_HIDDEN1 * V2], g3[TARN_HIDDEN2];
    float16 gb1[V1], gb2[V2], gb3[1];
    float16 a1[16 * V1], a2[16 * V2], d1[16 * V1], d2[16 * V2], d3[16];
    float16 packed[(WEIGHTS + 15) / 16];
    uint step_tiles = constants.batch / TARN_LANES, tile = constants.first_tile;
    uint end =
        constants.tile_count > 0u ? tile + constants.tile_count : constants.steps * step_tiles;
    float *w = TARN_FLAT(float, weights);
    const float *in = TARN_FLAT(const float, tiles) + (size_t)tile * TARN_INPUTS * TARN_LANES;
    float scale = 1.0f / (float)constants.batch;
    labels += (size_t)tile * TARN_LANES;
    for (int i = 0; i < 16; i++)
        floats(packed)[(WEIGHTS - 1) / 16 * 16 + i] = 0.0f;
    while (tile < end) {
        uint step = tile / step_tiles, stop = min((step + 1u) * step_tiles, end);
        repack(w, TARN_INPUTS, TARN_HIDDEN1, across1, V1, back2, 0, bias1);
        repack(w + W2, TARN_HIDDEN1, TARN_HIDDEN2, across2, V2, back2, V1, bias2);
        repack(w + W3, TARN_HIDDEN2, TARN_OUTPUTS, across3, 1, back3, V2, bias3);
        for (int i = 0; i < TARN_INPUTS * V1; i++)
            g1[i] = (float16)(0.0f);
        for (int i = 0; i < TARN_HIDDEN1 * V2; i++)
            g2[i] = (float16)(0.0f);
        for (int i = 0; i < TARN_HIDDEN2; i++)
            g3[i] = (float16)(0.0f);
        for (int i = 0; i < V1; i++)
            gb1[i] = (float16)(0.0f);
        for (int i = 0; i < V2; i++)
            gb2[i] = (float16)(0.0f);
        gb3[0] = (float16)(0.0f);
        float16 loss = (float16)(0.0f);
        if (tile % step_tiles != 0u)
            CARRY(1)
        for (; tile < stop; tile++) {
            uint sliced = 0u;
            for (int s = 0; s < TARN_LANES; s++)
                sliced |= TARN_LABEL_SLICE(labels[s]);
            layer_forward(in, 1, TARN_LANES, TARN_INPUTS, across1, V1, bias1, a1);
            for (int i = 0; i < 16 * V1; i++)
                a1[i] = tarn_leak(a1[i]);
            if (sliced != 0u)
                mask(a1, V1, labels);
            layer_forward((const float *)a1, 16 * V1, 1, TARN_HIDDEN1, across2, V2, bias2, a2);
            for (int i = 0; i < 16 * V2; i++)
                a2[i] = tarn_leak(a2[i]);
            if (sliced != 0u) {
                mask(a2, V2, labels);
                exchange(a1, V1, SHARED_UNITS, a2, V2, labels, 0);
            }
            layer_forward((const float *)a2, 16 * V2, 1, TARN_HIDDEN2, across3, 1, bias3, d3);
            loss += loss_of(d3, labels, scale);
            layer_back(back3, TARN_OUTPUTS, V2, d3, 1, a2, d2);
            if (sliced != 0u)
                mask(d2, V2, labels);
            layer_back(back2, TARN_HIDDEN2, V1, d2, V2, a1, d1);
            if (sliced != 0u) {
                mask(d1, V1, labels);
                exchange(d2, V2, SHARED_UNITS, d1, V1, labels, 1);
            }
            layer_gradient(in, 1, TARN_LANES, TARN_INPUTS, d1, V1, g1, gb1);
            layer_gradient((const float *)a1, 16 * V1, 1, TARN_HIDDEN1, d2, V2, g2, gb2);
            layer_gradient((const float *)a2, 16 * V2, 1, TARN_HIDDEN2, d3, 1, g3, gb3);
            in += TARN_INPUTS * TARN_LANES;
            labels += TARN_LANES;
        }
        if (tile % step_tiles != 0u) {
            CARRY(0)
            break;
        }
        gather(g1, gb1, TARN_INPUTS, TARN_HIDDEN1, V1, floats(packed));
        gather(g2, gb2, TARN_HIDDEN1, TARN_HIDDEN2, V2, floats(packed) + W2);
        gather(g3, gb3, TARN_HIDDEN2, TARN_OUTPUTS, 1, floats(packed) + W3);
        int16 bad = (int16)(0);
        for (int i = 0; i < (WEIGHTS + 15) / 16; i++)
            bad |= (as_int16(packed[i]) & 0x7f800000) == 0x7f800000;
        float lanes[16], total = 0.0f;
        vstore16(loss, 0, lanes);
        for (int i = 0; i < 16; i++)
            total += lanes[i];
        losses[step] = any(bad) ? as_float(0x7fc00000u) : total * scale;
        if (any(bad))
            continue;
        struct adam a = adam_at(constants, step);
        for (int i = 0; i < WEIGHTS / 16; i++) {
            float16 g = packed[i], mi = vload16(i, m), vi = vload16(i, v);
            mi += (1.0f - a.beta1) * (g - mi);
            vi += (1.0f - a.beta2) * (g * g - vi);
            vstore16(mi, i, m);
            vstore16(vi, i, v);
            vstore16(vload16(i, weights) -
                         a.rate * (mi * a.unbias1) / (sqrt(vi * a.unbias2) + a.epsilon),
                     i, weights);
        }
        for (int i = WEIGHTS / 16 * 16; i < WEIGHTS; i++) {
            float g = floats(packed)[i];
            m[i] += (1.0f - a.beta1) * (g - m[i]);
            v[i] += (1.0f - a.beta2) * (g * g - v[i]);
            weights[i] -= a.rate * (m[i] * a.unbias1) / (sqrt(v[i] * a.unbias2) + a.epsilon);
        }
    }
}

#endif
