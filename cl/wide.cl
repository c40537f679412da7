/* SPDX-License-Identifier: Apache-2.0 */
/* Steps of wide networks; src/kernels/wide.h says what each computes. */
#define SIDE TARN_WIDE_SIDE

#ifndef TARN_CPU_SHAPE

/*
 * A product's group of 64 items computes a tile of 64 x 64, an item 8 x 8 of it in registers: rows
 * and columns that lie eight apart, so that neighbours read neighbours of the packed slices.
 */
#define SLICE 16u

void product(__global const float *a, __global const float *b, __global float *c,
             struct tarn_wide_constants k, __local float *slice_a, __local float *slice_b)
{
    uint item = (uint)get_local_id(0), across = (k.columns + SIDE - 1u) / SIDE;
    uint row = (uint)get_group_id(0) / across * SIDE,
         column = (uint)get_group_id(0) % across * SIDE;
    uint down = item / 8u, right = item % 8u;
    float sum[8][8];
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++)
            sum[i][j] = 0.0f;
    for (uint done = 0u; done < k.terms; done += SLICE) {
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint i = item; i < SLICE * SIDE; i += 64u) {
            /* neighbours read what lies side by side, whichever side is transposed */
            uint t = k.a_term == 1u ? i % SLICE : i / SIDE,
                 r = k.a_term == 1u ? i / SLICE : i % SIDE;
            slice_a[t * SIDE + r] = done + t < k.terms && row + r < k.rows
                                        ? a[k.a + (row + r) * k.a_row + (done + t) * k.a_term]
                                        : 0.0f;
            t = k.b_column == 1u ? i / SIDE : i % SLICE;
            uint n = k.b_column == 1u ? i % SIDE : i / SLICE;
            slice_b[t * SIDE + n] = done + t < k.terms && column + n < k.columns
                                        ? b[k.b + (done + t) * k.b_term + (column + n) * k.b_column]
                                        : 0.0f;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        for (uint t = 0u; t < SLICE; t++) {
            float x[8], y[8];
            for (uint i = 0u; i < 8u; i++) {
                x[i] = slice_a[t * SIDE + i * 8u + down];
                y[i] = slice_b[t * SIDE + i * 8u + right];
            }
            for (int i = 0; i < 8; i++)
                for (int j = 0; j < 8; j++)
                    sum[i][j] += x[i] * y[j];
        }
    }
    for (uint i = 0u; i < 8u; i++) {
        uint r = row + i * 8u + down;
        if (r >= k.rows)
            break;
        float bias = k.flags & TARN_WIDE_HAS_BIAS ? a[k.bias + r] : 0.0f;
        for (uint j = 0u; j < 8u; j++) {
            uint n = column + j * 8u + right;
            float z = sum[i][j] + bias;
            if (n < k.columns)
                c[k.c + r * k.c_row + n] =
                    k.flags & TARN_WIDE_LEAKY && !(z > 0.0f) ? z * TARN_LEAK : z;
        }
    }
}

float score(__global const float *logits, uint row, uint bins)
{
    float survival = 1.0f, found = 0.0f, area = 0.0f, best = 0.0f;
    float width = 1.0f / (1 << -TARN_BIN_FIRST_LOG2);
    for (uint k = 0u; k < bins; k++) {
        float minus = -logits[k * row];
        minus = minus < -80.0f ? -80.0f : minus > 80.0f ? 80.0f : minus;
        float e = exp(minus), hazard = 1.0f / (1.0f + e), after = survival * e * hazard;
        found += survival * hazard;
        area += (survival + after) * (0.5f * width);
        float value = found / area;
        best = best >= value ? best : value; /* a NaN wins and stays */
        survival = after;
        width = k > 0u ? width * 2.0f : width;
    }
    return log2(best + 1e-9f);
}

float losses(__global const float *logits, uint label, uint row, uint bins, float scale,
             __global float *gradient, uint gradient_row)
{
    float loss = 0.0f;
    for (uint k = 0u; k < bins; k++) {
        float x = logits[k * row], y = (label >> 8 & 0xffu) == k + 1u ? 1.0f : 0.0f;
        float e = exp(-fabs(x)), small = 1.0f / (1.0f + e);
        float hazard = x > 0.0f ? small : e * small;
        bool inside = k < (label & 0xffu);
        loss += inside ? fmax(x, 0.0f) - y * x + log1p(e) : 0.0f;
        gradient[k * gradient_row] = inside ? (hazard - y) * scale : 0.0f;
        loss = isnan(x) && inside ? x : loss; /* fmax drops it */
    }
    return loss * scale;
}

/*
 * One layer of a pass, or its way back: pairs of a row and a sample over the items. `v` and `out`
 * are tiles, `turned` takes [sample][row] too where there is one.
 */
void stage(uint rows, uint terms, __global const float *s, uint s_row, uint s_term,
           __global const float *v, uint v_tile, uint samples, __global const float *bias,
           __global const float *slope, int leaky, __global float *out, __global float *turned)
{
    uint tile = TARN_WIDE_PADDED(rows) * TARN_LANES;
    for (uint task = (uint)get_local_id(0); task < rows * samples; task += 64u) {
        uint r = task / samples, n = task % samples, lane = n % TARN_LANES;
        __global const float *from = v + n / TARN_LANES * v_tile + lane;
        uint to = n / TARN_LANES * tile + r * TARN_LANES + lane;
        float sum = bias ? bias[r] : 0.0f;
        for (uint t = 0u; t < terms; t++)
            sum += s[r * s_row + t * s_term] * from[t * TARN_LANES];
        if (slope ? !(slope[to] > 0.0f) : leaky && !(sum > 0.0f))
            sum *= TARN_LEAK;
        out[to] = sum;
        if (turned)
            turned[n * TARN_WIDE_PADDED(rows) + r] = sum;
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
}

void pass(__global const float *weights, __global const float *b, __global float *c,
          __global float *d, struct tarn_wide_constants k)
{
    uint item = (uint)get_local_id(0), first = (uint)get_group_id(0) * TARN_WIDE_PASS_SAMPLES;
    uint samples = min(TARN_WIDE_PASS_SAMPLES, k.columns - first), in = k.inputs;
    uint p1 = TARN_WIDE_PADDED(k.hidden1), p2 = TARN_WIDE_PADDED(k.hidden2);
    uint p3 = TARN_WIDE_PADDED(k.outputs), p0 = TARN_WIDE_PADDED(in);
    __global const float *tiles = b + k.b + first * in;
    __global const float *w1 = weights + k.a, *w2 = w1 + k.hidden1 * (in + 1u);
    __global const float *w3 = w2 + k.hidden2 * (k.hidden1 + 1u);
    __global float *a1 = c + k.c + first * p1, *a2 = c + k.c + TARN_WIDE_A2(k) + first * p2;
    __global float *d1 = c + k.c + TARN_WIDE_D1(k) + first * p1;
    __global float *d2 = c + k.c + TARN_WIDE_D2(k) + first * p2;
    __global float *d3 = c + k.c + TARN_WIDE_D3(k) + first * p3;
    __global float *t0 = c + k.c + TARN_WIDE_T0(k) + first * p0;
    for (uint i = item; i < in * samples; i += 64u) {
        uint n = i % samples, f = i / samples;
        t0[n * p0 + f] = tiles[(n / TARN_LANES * in + f) * TARN_LANES + n % TARN_LANES];
    }
    stage(k.hidden1, in, w1, in, 1u, tiles, in * TARN_LANES, samples, w1 + k.hidden1 * in, 0, 1, a1,
          c + k.c + TARN_WIDE_T1(k) + first * p1);
    stage(k.hidden2, k.hidden1, w2, k.hidden1, 1u, a1, p1 * TARN_LANES, samples,
          w2 + k.hidden2 * k.hidden1, 0, 1, a2, c + k.c + TARN_WIDE_T2(k) + first * p2);
    stage(k.outputs, k.hidden2, w3, k.hidden2, 1u, a2, p2 * TARN_LANES, samples,
          w3 + k.outputs * k.hidden2, 0, 0, d3, 0);
    if (item < samples) {
        __global float *z = d3 + item / TARN_LANES * p3 * TARN_LANES + item % TARN_LANES;
        d[k.d + first + item] = losses(z, ((__global const uint *)b)[k.b_term + first + item],
                                       TARN_LANES, k.outputs, k.scale, z, TARN_LANES);
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    stage(k.hidden2, k.outputs, w3, 1u, k.hidden2, d3, p3 * TARN_LANES, samples, 0, a2, 0, d2, 0);
    stage(k.hidden1, k.hidden2, w2, 1u, k.hidden1, d2, p2 * TARN_LANES, samples, 0, a1, 0, d1, 0);
}

void adam(__global float *w, uint apart, float g, struct tarn_wide_constants k)
{
    __global float *m = w + apart, *v = m + apart;
    if ((as_uint(g) & 0x7f800000u) == 0x7f800000u)
        return;
    float new_m = *m + (1.0f - k.beta1) * (g - *m), new_v = *v + (1.0f - k.beta2) * (g * g - *v);
    *m = new_m;
    *v = new_v;
    *w -= k.scale * (new_m * k.unbias1) / (sqrt(new_v * k.unbias2) + k.epsilon);
}

void update(__global const float *scratch, __global float *c, struct tarn_wide_constants k)
{
    uint neurons = k.hidden1, inputs = k.inputs, row = (uint)get_group_id(0) * TARN_WIDE_UPDATE_ROWS;
    __global const float *d = scratch + k.a + TARN_WIDE_D1(k), *t = scratch + k.a + TARN_WIDE_T0(k);
    __global float *w = c + k.c;
    for (uint layer = 0u; layer < 2u && row >= TARN_WIDE_PADDED(neurons); layer++) {
        row -= TARN_WIDE_PADDED(neurons);
        w += neurons * (inputs + 1u);
        inputs = neurons;
        neurons = layer == 0u ? k.hidden2 : k.outputs;
        d = scratch + k.a + (layer == 0u ? TARN_WIDE_D2(k) : TARN_WIDE_D3(k));
        t = scratch + k.a + (layer == 0u ? TARN_WIDE_T1(k) : TARN_WIDE_T2(k));
    }
    uint rows = min(TARN_WIDE_UPDATE_ROWS, neurons - row), across = TARN_WIDE_PADDED(inputs);
    uint tile = TARN_WIDE_PADDED(neurons) * TARN_LANES;
    for (uint task = (uint)get_local_id(0); task < rows * (inputs + 1u); task += 64u) {
        uint r = row + task / (inputs + 1u), i = task % (inputs + 1u);
        float sum = 0.0f;
        for (uint n = 0u; n < k.columns; n++)
            sum += d[n / TARN_LANES * tile + r * TARN_LANES + n % TARN_LANES] *
                   (i < inputs ? t[n * across + i] : 1.0f);
        adam(w + (i < inputs ? r * inputs + i : neurons * inputs + r), k.c_row, sum, k);
    }
}

__kernel __attribute__((reqd_work_group_size(TARN_LOCAL_SIZE, 1, 1))) void
wide(__global const float *a, __global const float *b, __global float *c, __global float *d,
     struct tarn_wide_constants k)
{
    __local float slice_a[SLICE * SIDE], slice_b[SLICE * SIDE];
    uint group = (uint)get_group_id(0), item = (uint)get_local_id(0), line = group * SIDE + item;
    if (k.op == TARN_WIDE_PRODUCT) {
        product(a, b, c, k, slice_a, slice_b);
    } else if (k.op == TARN_WIDE_BIAS || k.op == TARN_WIDE_SLOPE) {
        uint end = min((group + 1u) * SIDE, k.rows);
        for (uint r = group * SIDE; r < end; r++)
            for (uint n = item; n < k.columns; n += 64u) {
                uint at = k.c + r * k.c_row + n;
                float z = c[at];
                if (k.op == TARN_WIDE_SLOPE) {
                    z = a[k.a + r * k.a_row + n] > 0.0f ? z : z * TARN_LEAK;
                } else {
                    z += a[k.bias + r];
                    z = k.flags & TARN_WIDE_LEAKY && !(z > 0.0f) ? z * TARN_LEAK : z;
                }
                c[at] = z;
            }
    } else if (k.op == TARN_WIDE_SCORE) {
        if (line < k.columns)
            c[k.c + line] = score(a + k.a + line, k.a_row, k.rows);
    } else if (k.op == TARN_WIDE_LOSS) {
        if (line < k.columns)
            d[k.d + line] = losses(a + k.a + line, ((__global const uint *)b)[k.b + line], k.a_row,
                                   k.rows, k.scale, c + k.c + line, k.c_row);
    } else if (k.op == TARN_WIDE_SUM) {
        /* All items take a row together, so that neighbours read neighbours; no barriers meet
         * different items, as the rows of a group are the same for all. */
        uint end = min((group + 1u) * SIDE, k.rows);
        for (uint r = group * SIDE; r < end; r++) {
            float sum = 0.0f;
            for (uint n = item; n < k.columns; n += 64u)
                sum += a[k.a + r * k.a_row + n];
            slice_a[item] = sum;
            for (uint left = 32u; left > 0u; left /= 2u) {
                barrier(CLK_LOCAL_MEM_FENCE);
                if (item < left)
                    slice_a[item] += slice_a[item + left];
            }
            if (item == 0u)
                c[k.c + r] = slice_a[0];
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    } else if (k.op == TARN_WIDE_PASS) {
        pass(a, b, c, d, k);
    } else if (k.op == TARN_WIDE_UPDATE) {
        update(a, c, k);
    } else {
        __global float *m = (__global float *)b;
        uint end = min((group + 1u) * TARN_WIDE_FLAT, k.rows);
        for (uint i = group * TARN_WIDE_FLAT + item; i < end; i += 64u) {
            float g = a[k.a + i];
            if ((as_uint(g) & 0x7f800000u) == 0x7f800000u)
                continue;
            float new_m = m[k.b + i] + (1.0f - k.beta1) * (g - m[k.b + i]);
            float new_v = d[k.d + i] + (1.0f - k.beta2) * (g * g - d[k.d + i]);
            m[k.b + i] = new_m;
            d[k.d + i] = new_v;
            c[k.c + i] -= k.scale * (new_m * k.unbias1) / (sqrt(new_v * k.unbias2) + k.epsilon);
        }
    }
}

#else

#define VECTORS (SIDE / TARN_LANES)

/* Ragged rows are filled up to whole blocks with zeros: their results are not written. */
TARN_INLINE void product(const float *a, const float *b, float *c, struct tarn_wide_constants k,
                         uint group)
{
    float packed_a[SIDE * TARN_WIDE_TERMS];
    float16 packed_b[TARN_WIDE_TERMS * VECTORS], tile[SIDE * VECTORS];
    uint across = (k.columns + SIDE - 1u) / SIDE;
    uint row = group / across * SIDE, column = group % across * SIDE;
    uint rows = min(SIDE, k.rows - row), columns = min(SIDE, k.columns - column);
    uint padded = (rows + TARN_ROWS - 1u) / TARN_ROWS * TARN_ROWS;
    uint vectors = (columns + TARN_LANES - 1u) / TARN_LANES;
    for (uint i = 0u; i < padded * VECTORS; i++)
        tile[i] = (float16)(0.0f);
    for (uint done = 0u; done < k.terms; done += TARN_WIDE_TERMS) {
        uint terms = min(TARN_WIDE_TERMS, k.terms - done);
        const float *from = a + k.a + (size_t)row * k.a_row + (size_t)done * k.a_term;
        for (uint r = 0u; r < padded; r++)
            for (uint t = 0u; t < terms; t++)
                packed_a[r * TARN_WIDE_TERMS + t] =
                    r < rows ? from[(size_t)r * k.a_row + (size_t)t * k.a_term] : 0.0f;
        from = b + k.b + (size_t)done * k.b_term + (size_t)column * k.b_column;
        if (k.b_column == 1u && columns == SIDE) {
            for (uint t = 0u; t < terms; t++)
                for (uint v = 0u; v < VECTORS; v++)
                    packed_b[t * VECTORS + v] = vload16(v, from + (size_t)t * k.b_term);
        } else {
            float *to = (float *)packed_b;
            for (uint n = 0u; n < vectors * TARN_LANES; n++)
                for (uint t = 0u; t < terms; t++)
                    to[t * SIDE + n] =
                        n < columns ? from[(size_t)t * k.b_term + (size_t)n * k.b_column] : 0.0f;
        }
        struct tarn_product p = {(int)terms, packed_a, TARN_WIDE_TERMS, 1, packed_b, VECTORS,
                                 1,          tile,     VECTORS,         1};
        uint v = 0u;
        for (; v + TARN_COLUMNS <= vectors; v += TARN_COLUMNS)
#pragma nounroll
            for (uint r = 0u; r < padded; r += TARN_ROWS)
                tarn_product_block(TARN_ROWS, TARN_COLUMNS, p, (int)r, (int)v);
        for (; v < vectors; v++)
#pragma nounroll
            for (uint r = 0u; r < padded; r += TARN_ROWS)
                tarn_product_block(TARN_ROWS, 1, p, (int)r, (int)v);
    }
    for (uint r = 0u; r < rows; r++) {
        float bias = k.flags & TARN_WIDE_HAS_BIAS ? a[k.bias + row + r] : 0.0f;
        float *to = c + k.c + (size_t)(row + r) * k.c_row + column;
        for (uint v = 0u; v < vectors; v++) {
            float16 z = tile[r * VECTORS + v] + bias;
            if (k.flags & TARN_WIDE_LEAKY)
                z = tarn_leak(z);
            if ((v + 1u) * TARN_LANES <= columns) {
                vstore16(z, v, to);
            } else {
                float lanes[TARN_LANES];
                vstore16(z, 0, lanes);
                for (uint n = v * TARN_LANES; n < columns; n++)
                    to[n] = lanes[n - v * TARN_LANES];
            }
        }
    }
}

TARN_INLINE float16 score(const float *logits, uint row, uint bins)
{
    float16 survival = (float16)(1.0f), found = (float16)(0.0f);
    float16 area = (float16)(0.0f), best = (float16)(0.0f);
    float width = 1.0f / (1 << -TARN_BIN_FIRST_LOG2);
    for (uint k = 0u; k < bins; k++) {
        float16 e = tarn_exp(-vload16(0, logits + (size_t)k * row));
        float16 hazard = 1.0f / (1.0f + e), after = survival * e * hazard;
        found += survival * hazard;
        area += (survival + after) * (0.5f * width);
        float16 value = found / area;
        best = select(value, best, best >= value); /* a NaN wins and stays */
        survival = after;
        width = k > 0u ? width * 2.0f : width;
    }
    return tarn_lg(best + 1e-9f);
}

TARN_INLINE float16 losses(const float *logits, uint16 labels, struct tarn_wide_constants k,
                           float *gradient)
{
    float16 loss = (float16)(0.0f), zero = (float16)(0.0f);
    int16 risk = as_int16(labels & 0xffu), event = as_int16(labels >> 8 & 0xffu);
    for (uint bin = 0u; bin < k.rows; bin++) {
        float16 x = vload16(0, logits + (size_t)bin * k.a_row);
        int16 inside = (int16)((int)bin)<risk, positive = x> 0.0f;
        float16 y = select(zero, (float16)(1.0f), event == (int)bin + 1);
        float16 e = tarn_exp(select(x, -x, positive)), small = 1.0f / (1.0f + e);
        float16 hazard = select(e * small, small, positive);
        float16 cost = select(zero, x, positive) - y * x + 0.693147181f * tarn_lg(1.0f + e);
        loss += select(zero, cost, inside);
        vstore16(select(zero, (hazard - y) * k.scale, inside), 0, gradient + (size_t)bin * k.c_row);
    }
    return loss * k.scale;
}

TARN_INLINE void store_columns(float16 x, float *to, uint column, uint columns)
{
    if (column + TARN_LANES <= columns) {
        vstore16(x, 0, to + column);
        return;
    }
    float lanes[TARN_LANES];
    vstore16(x, 0, lanes);
    for (uint n = column; n < columns; n++)
        to[n] = lanes[n - column];
}

/* out[r][v] += ... for any number of rows and columns. */
TARN_INLINE void through(struct tarn_product p, uint rows, uint columns)
{
    uint v = 0u;
    for (; v < columns; v += TARN_COLUMNS) {
        uint r = 0u;
        if (v + TARN_COLUMNS <= columns) {
#pragma nounroll
            for (; r + TARN_ROWS <= rows; r += TARN_ROWS)
                tarn_product_block(TARN_ROWS, TARN_COLUMNS, p, (int)r, (int)v);
#pragma nounroll
            for (; r < rows; r++)
                tarn_product_block(1, TARN_COLUMNS, p, (int)r, (int)v);
        } else {
#pragma nounroll
            for (; r + TARN_ROWS <= rows; r += TARN_ROWS)
                tarn_product_block(TARN_ROWS, 1, p, (int)r, (int)v);
#pragma nounroll
            for (; r < rows; r++)
                tarn_product_block(1, 1, p, (int)r, (int)v);
        }
    }
}

/* Sixteen vectors to the columns of a matrix whose rows lie `row` vectors apart. Each round of
 * riffling turns the number of a place, row and lane, by one bit: four of them swap the two. */
TARN_INLINE void turn(const float16 *from, float16 *to, uint row)
{
    const uint16 low = (uint16)(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const uint16 high = low + 8u;
    float16 x[16], y[16];
#define TARN_RIFFLE(x, y)                                                                          \
    for (int i = 0; i < 8; i++) {                                                                  \
        y[2 * i] = shuffle2(x[i], x[i + 8], low);                                                  \
        y[2 * i + 1] = shuffle2(x[i], x[i + 8], high);                                             \
    }
    TARN_RIFFLE(from, x)
    TARN_RIFFLE(x, y)
    TARN_RIFFLE(y, x)
    TARN_RIFFLE(x, y)
#undef TARN_RIFFLE
    for (uint i = 0u; i < 16u; i++)
        to[i * row] = y[i];
}

/* `rows` rows of tiles to [sample][row]. */
TARN_INLINE void turn_tiles(const float16 *from, uint rows, uint from_tile, uint tiles, float16 *to)
{
    uint row = (rows + 15u) / 16u;
    for (uint tile = 0u; tile < tiles; tile++)
        for (uint r = 0u; r < rows; r += 16u) {
            float16 filled[16];
            for (uint i = 0u; i < 16u; i++)
                filled[i] = r + i < rows ? from[tile * from_tile + r + i] : (float16)(0.0f);
            turn(filled, to + tile * 16u * row + r / 16u, row);
        }
}

/* Two tiles: three layers forward, the loss, two back. In one loop, so that the products are
 * compiled once. Their vectors run over samples, and weights are taken as they lie. */
TARN_INLINE void pass(const float *weights, const float *b, float *c, float *d,
                      struct tarn_wide_constants k, uint group)
{
    uint first = group * TARN_WIDE_PASS_SAMPLES;
    uint tiles = min(TARN_WIDE_PASS_SAMPLES, k.columns - first) / TARN_LANES;
    const uint sizes[4] = {k.inputs, k.hidden1, k.hidden2, k.outputs};
    const uint active[3] = {TARN_WIDE_A1(k), TARN_WIDE_A2(k), TARN_WIDE_D3(k)};
    const uint slopes[3] = {TARN_WIDE_D1(k), TARN_WIDE_D2(k), TARN_WIDE_D3(k)};
    const uint turned[3] = {TARN_WIDE_T0(k), TARN_WIDE_T1(k), TARN_WIDE_T2(k)};
    const float *w[3] = {weights + k.a, 0, 0};
    w[1] = w[0] + sizes[1] * (sizes[0] + 1u);
    w[2] = w[1] + sizes[2] * (sizes[1] + 1u);
    const float16 *input = (const float16 *)(b + k.b + (size_t)first * k.inputs);
    float *scratch = c + k.c;
    turn_tiles(input, k.inputs, k.inputs, tiles,
               (float16 *)(scratch + turned[0] + (size_t)first * TARN_WIDE_PADDED(k.inputs)));
#pragma nounroll
    for (uint stage = 0u; stage < 5u; stage++) {
        bool back = stage > 2u;
        uint layer = back ? 5u - stage : stage, rows = back ? sizes[layer] : sizes[layer + 1u];
        uint terms = back ? sizes[layer + 1u] : sizes[layer], across = sizes[layer];
        uint tile = TARN_WIDE_PADDED(rows), place = first * tile;
        float16 *out =
            (float16 *)(scratch + (back ? slopes[layer - 1u] : active[layer]) + place);
        const float16 *in =
            back         ? (const float16 *)(scratch + slopes[layer] + first * TARN_WIDE_PADDED(terms))
            : layer > 0u ? (const float16 *)(scratch + active[layer - 1u] +
                                             first * TARN_WIDE_PADDED(terms))
                         : input;
        const float *bias = w[layer] + (size_t)sizes[layer + 1u] * across;
        for (uint r = 0u; r < rows; r++)
            for (uint t = 0u; t < tiles; t++)
                out[t * tile + r] = (float16)(back ? 0.0f : bias[r]);
        struct tarn_product p = {(int)terms,
                                 w[layer],
                                 back ? 1 : (int)across,
                                 back ? (int)across : 1,
                                 in,
                                 1,
                                 (int)(!back && layer == 0u ? terms : TARN_WIDE_PADDED(terms)),
                                 out,
                                 1,
                                 (int)tile};
        through(p, rows, tiles);
        if (stage == 2u) {
            struct tarn_wide_constants l = k;
            l.rows = rows;
            l.a_row = l.c_row = TARN_LANES;
            for (uint t = 0u; t < tiles; t++) {
                uint n = first + t * TARN_LANES;
                float *z = (float *)(out + t * tile);
                uint16 labels = as_uint16(vload16(0, b + k.b_term + n));
                vstore16(losses(z, labels, l, z), 0, d + k.d + n);
            }
            continue;
        }
        const float16 *a = back ? (const float16 *)(scratch + active[layer - 1u] + place) : out;
        for (uint t = 0u; t < tiles; t++)
            for (uint r = t * tile; r < t * tile + rows; r++)
                out[r] = select(out[r] * TARN_LEAK, out[r], a[r] > 0.0f);
        if (!back)
            turn_tiles(out, rows, tile, tiles, (float16 *)(scratch + turned[layer + 1u] + place));
    }
}

TARN_INLINE void adam(float *w, uint apart, float16 g, uint count, struct tarn_wide_constants k)
{
    float lanes[3][16];
    float *m = w + apart, *v = m + apart;
    bool whole = count >= 16u;
    for (uint i = 0u; !whole && i < 16u; i++) {
        lanes[0][i] = i < count ? w[i] : 0.0f;
        lanes[1][i] = i < count ? m[i] : 0.0f;
        lanes[2][i] = i < count ? v[i] : 0.0f;
    }
    float16 old_m = vload16(0, whole ? m : lanes[1]), old_v = vload16(0, whole ? v : lanes[2]);
    float16 old_w = vload16(0, whole ? w : lanes[0]);
    int16 good = (as_int16(g) & 0x7f800000) != 0x7f800000;
    float16 new_m = old_m + (1.0f - k.beta1) * (g - old_m);
    float16 new_v = old_v + (1.0f - k.beta2) * (g * g - old_v);
    float16 step = k.scale * (new_m * k.unbias1) / (sqrt(new_v * k.unbias2) + k.epsilon);
    vstore16(select(old_m, new_m, good), 0, whole ? m : lanes[1]);
    vstore16(select(old_v, new_v, good), 0, whole ? v : lanes[2]);
    vstore16(select(old_w, old_w - step, good), 0, whole ? w : lanes[0]);
    for (uint i = 0u; !whole && i < count; i++) {
        w[i] = lanes[0][i];
        m[i] = lanes[1][i];
        v[i] = lanes[2][i];
    }
}

/* Sixteen neurons of a layer: their gradients by all weights, then the step. */
TARN_INLINE void update(const float *scratch, float *c, struct tarn_wide_constants k, uint group)
{
    const uint sizes[4] = {k.inputs, k.hidden1, k.hidden2, k.outputs};
    const uint slopes[3] = {TARN_WIDE_D1(k), TARN_WIDE_D2(k), TARN_WIDE_D3(k)};
    const uint turned[3] = {TARN_WIDE_T0(k), TARN_WIDE_T1(k), TARN_WIDE_T2(k)};
    float16 packed[TARN_WIDE_TERMS], sums[16u * (TARN_MAX_WIDE_WIDTH / 16u)];
    float *w = c + k.c;
    uint row = group * TARN_WIDE_UPDATE_ROWS, layer = 0u;
    for (; layer < 2u && row >= TARN_WIDE_PADDED(sizes[layer + 1u]); layer++) {
        row -= TARN_WIDE_PADDED(sizes[layer + 1u]);
        w += sizes[layer + 1u] * (sizes[layer] + 1u);
    }
    uint inputs = sizes[layer], neurons = sizes[layer + 1u], vectors = (inputs + 15u) / 16u;
    uint tile = TARN_WIDE_PADDED(neurons);
    const float16 *d = (const float16 *)(scratch + k.a + slopes[layer]) + row;
    const float16 *t = (const float16 *)(scratch + k.a + turned[layer]);
    float16 bias = (float16)(0.0f);
    for (uint i = 0u; i < 16u * vectors; i++)
        sums[i] = (float16)(0.0f);
    for (uint done = 0u; done < k.columns; done += TARN_WIDE_TERMS) {
        uint terms = min(TARN_WIDE_TERMS, k.columns - done);
        for (uint n = 0u; n < terms; n += TARN_LANES)
            turn(d + (done + n) / TARN_LANES * tile, packed + n, 1u);
        for (uint n = 0u; n < terms; n++)
            bias += packed[n];
        struct tarn_product p = {(int)terms,   (const float *)packed, 1, 16, t + done * vectors,
                                 (int)vectors, 1,                     sums, (int)vectors, 1};
        through(p, TARN_WIDE_UPDATE_ROWS, vectors);
    }
    uint rows = min(TARN_WIDE_UPDATE_ROWS, neurons - row);
    for (uint r = 0u; r < rows; r++)
        for (uint v = 0u; v < vectors; v++)
            adam(w + (size_t)(row + r) * inputs + v * 16u, k.c_row, sums[r * vectors + v],
                 inputs - v * 16u, k);
    adam(w + (size_t)neurons * inputs + row, k.c_row, bias, rows, k);
}

__kernel TARN_WIDE void wide(__global const float *global_a, __global const float *global_b,
                             __global float *global_c, __global float *global_d,
                             struct tarn_wide_constants k)
{
    const float *a = TARN_FLAT(const float, global_a), *b = TARN_FLAT(const float, global_b);
    float *c = TARN_FLAT(float, global_c), *d = TARN_FLAT(float, global_d);
    uint group = (uint)get_global_id(0), line = group * SIDE;
    if (k.op == TARN_WIDE_PRODUCT) {
        product(a, b, c, k, group);
    } else if (k.op == TARN_WIDE_BIAS || k.op == TARN_WIDE_SLOPE) {
        uint end = min(line + SIDE, k.rows);
        for (uint r = line; r < end; r++) {
            float *to = c + k.c + (size_t)r * k.c_row;
            for (uint n = 0u; n < k.columns; n += TARN_LANES) {
                float16 z = vload16(0, to + n);
                if (k.op == TARN_WIDE_SLOPE) {
                    float16 x = vload16(0, a + k.a + (size_t)r * k.a_row + n);
                    z = select(z * TARN_LEAK, z, x > 0.0f);
                } else {
                    z += a[k.bias + r];
                    z = k.flags & TARN_WIDE_LEAKY ? tarn_leak(z) : z;
                }
                vstore16(z, 0, to + n);
            }
        }
    } else if (k.op == TARN_WIDE_SCORE) {
        uint end = min(line + SIDE, k.columns);
        for (uint n = line; n < end; n += TARN_LANES)
            store_columns(score(a + k.a + n, k.a_row, k.rows), c + k.c, n, k.columns);
    } else if (k.op == TARN_WIDE_LOSS) {
        uint end = min(line + SIDE, k.columns);
        for (uint n = line; n < end; n += TARN_LANES) {
            uint16 labels = as_uint16(vload16(0, b + k.b + n));
            float16 loss = losses(a + k.a + n, labels, k, c + k.c + n);
            vstore16(loss, 0, d + k.d + n);
        }
    } else if (k.op == TARN_WIDE_SUM) {
        uint end = min(line + SIDE, k.rows);
        for (uint r = line; r < end; r++) {
            const float *from = a + k.a + (size_t)r * k.a_row;
            float16 sums = (float16)(0.0f);
            uint n = 0u;
            for (; n + TARN_LANES <= k.columns; n += TARN_LANES)
                sums += vload16(0, from + n);
            float8 eight = sums.lo + sums.hi;
            float4 four = eight.lo + eight.hi;
            float sum = four.x + four.y + four.z + four.w;
            for (; n < k.columns; n++)
                sum += from[n];
            c[k.c + r] = sum;
        }
    } else if (k.op == TARN_WIDE_PASS) {
        pass(a, b, c, d, k, group);
    } else if (k.op == TARN_WIDE_UPDATE) {
        update(a, c, k, group);
    } else {
        float *m = (float *)b;
        uint end = min((group + 1u) * TARN_WIDE_FLAT, k.rows);
        for (uint i = group * TARN_WIDE_FLAT; i < end; i++) {
            float g = a[k.a + i];
            bool good = (as_uint(g) & 0x7f800000u) != 0x7f800000u;
            float new_m = m[k.b + i] + (1.0f - k.beta1) * (g - m[k.b + i]);
            float new_v = d[k.d + i] + (1.0f - k.beta2) * (g * g - d[k.d + i]);
            float step = k.scale * (new_m * k.unbias1) / (sqrt(new_v * k.unbias2) + k.epsilon);
            m[k.b + i] = good ? new_m : m[k.b + i];
            d[k.d + i] = good ? new_v : d[k.d + i];
            c[k.c + i] = good ? c[k.c + i] - step : c[k.c + i];
        }
    }
}

#endif
