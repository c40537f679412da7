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
