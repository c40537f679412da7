/* SPDX-License-Identifier: Apache-2.0 */
/* The network and its score, a tile (or two) at once. Compiled once an instruction set. */
#include "forward.h"
#include "isa.h"
#include "score.h"
#include "vector.h"

void TARN_VARIANT(tarn_forward)(const struct tarn_shape *shape, uint32_t slice,
                                const float *weights, const float *tiles, size_t count,
                                float *scores);
void TARN_VARIANT(tarn_logits)(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                               const float *tiles, size_t count, float *logits);
void TARN_VARIANT(tarn_exp)(const float *x, size_t count, float *y);
void TARN_VARIANT(tarn_lg)(const float *x, size_t count, float *y);

/* Tiles at once, so that a block of products has two columns of registers. */
enum { TILES = LANES == TARN_LANES ? 2 : 1, WIDE = TILES * TARN_LANES };

/*
 * The first `neurons` of one layer by its first `terms` inputs, over `lanes` lanes: out[neuron][lane]
 * from in[input][lane]. A row of the weights has `inputs` of them; `bias` has those of all neurons.
 */
INLINE void layer(const float *weights, size_t inputs, size_t terms, const float *bias,
                  size_t neurons, const float *in, size_t in_term, size_t in_column,
                  float (*out)[WIDE], size_t lanes)
{
    for (size_t n = 0; n < neurons; n++)
        for (size_t l = 0; l < lanes; l += LANES)
            store(&out[n][l], all(bias[n]));
    product(&(struct product){.terms = terms,
                              .s = weights,
                              .s_row = inputs,
                              .s_term = 1,
                              .v = in,
                              .v_term = in_term,
                              .v_column = in_column,
                              .out = out[0],
                              .out_row = WIDE,
                              .out_column = LANES},
            neurons, lanes / LANES);
}

INLINE void leak_rows(float (*x)[WIDE], size_t rows, size_t lanes)
{
    for (size_t r = 0; r < rows; r++)
        leak(x[r], lanes);
}

/* Logits of one tile, or of two where lanes is 32, by a slice of the network. */
static void network(const struct tarn_shape *s, uint32_t slice, const float *weights,
                    const float *tile, size_t lanes, float (*logits)[WIDE])
{
    _Alignas(64) float a1[TARN_MAX_FORWARD_WIDTH][WIDE];
    _Alignas(64) float a2[TARN_MAX_FORWARD_WIDTH][WIDE];
    const uint32_t h1 = s->hidden1, h2 = s->hidden2;
    uint32_t units1 = TARN_SLICE_UNITS(slice, h1), units2 = TARN_SLICE_UNITS(slice, h2);
    const float *w2 = weights + (size_t)h1 * (s->inputs + 1);
    const float *w3 = w2 + (size_t)h2 * (h1 + 1), *last = a2[0];
    size_t column = LANES == TARN_LANES ? (size_t)s->inputs * TARN_LANES : LANES;
    layer(weights, s->inputs, s->inputs, weights + (size_t)h1 * s->inputs, units1, tile, TARN_LANES,
          column, a1, lanes);
    leak_rows(a1, units1, lanes);
    if (TARN_SLICE_EXITS(slice)) {
        units2 = units1 < units2 ? units1 : units2;
        last = a1[0];
    } else {
        layer(w2, h1, units1, w2 + (size_t)h2 * h1, units2, a1[0], WIDE, LANES, a2, lanes);
        leak_rows(a2, units2, lanes);
    }
    layer(w3, h2, units2, w3 + (size_t)s->outputs * h2, s->outputs, last, WIDE, LANES, logits,
          lanes);
}

void TARN_VARIANT(tarn_forward)(const struct tarn_shape *shape, uint32_t slice,
                                const float *weights, const float *tiles, size_t count,
                                float *scores)
{
    _Alignas(64) float logits[TARN_MAX_BINS][WIDE];
    size_t tile_floats = (size_t)shape->inputs * TARN_LANES;
    for (size_t done = 0; done < count; done += WIDE) {
        size_t lanes = count - done > TARN_LANES ? WIDE : TARN_LANES;
        network(shape, slice, weights, tiles + done / TARN_LANES * tile_floats, lanes, logits);
        for (size_t l = 0; l < lanes; l += LANES) {
            vec score = gittins(&logits[0][l], WIDE, shape->outputs);
            size_t at = done + l;
            if (at + LANES <= count)
                store(scores + at, score);
            else if (at < count)
                memcpy(scores + at, &score, (count - at) * sizeof *scores);
        }
    }
}

void TARN_VARIANT(tarn_logits)(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                               const float *tiles, size_t count, float *logits)
{
    _Alignas(64) float out[TARN_MAX_BINS][WIDE];
    size_t tile_floats = (size_t)shape->inputs * TARN_LANES;
    for (size_t done = 0; done < count; done += WIDE) {
        size_t lanes = count - done > TARN_LANES ? WIDE : TARN_LANES;
        network(shape, slice, weights, tiles + done / TARN_LANES * tile_floats, lanes, out);
        for (size_t l = 0; l < lanes; l += TARN_LANES)
            for (uint32_t k = 0; k < shape->outputs; k++, logits += TARN_LANES)
                memcpy(logits, &out[k][l], TARN_LANES * sizeof *logits);
    }
}

void TARN_VARIANT(tarn_exp)(const float *x, size_t count, float *y)
{
    for (size_t i = 0; i < count; i += LANES)
        store(y + i, vec_exp(load(x + i)));
}

void TARN_VARIANT(tarn_lg)(const float *x, size_t count, float *y)
{
    for (size_t i = 0; i < count; i += LANES)
        store(y + i, vec_lg(load(x + i)));
}
