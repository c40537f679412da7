/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Steps of networks too wide for the fused kernels: a product of matrices and what lies between two
 * of them, each a launch of one kernel ("wide"). Needs no device.
 *
 * A step works on four arrays of floats, a, b, c and d; struct tarn_wide_constants (layout.h) says
 * where in them and with which strides. Samples are the columns, so neighbours in memory.
 *
 *   PRODUCT  c[r][n] = sum over t of a[r][t] b[t][n]; r in `rows`, n in `columns`, t in `terms`.
 *            With HAS_BIAS plus a[bias + r], with LEAKY through the leaky ReLU after that.
 *   BIAS     the last line on its own, in place: c[r][n] = f(c[r][n] + a[bias + r])
 *   SCORE    c[n] = the Gittins score (forward.h) of the logits a[k][n], k in `rows`
 *   LOSS     logits a[k][n] and labels b[n] (uint32) to gradients c[k][n] of the loss times `scale`
 *            and losses d[n], also times `scale` (train.h says which loss)
 *   SLOPE    c[r][n] *= slope of the leaky ReLU that gave a[r][n]
 *   SUM      c[r] = sum over n of a[r][n]
 *   ADAM     one Adam step: gradients a[r], moments b[r] and d[r], weights c[r]; `scale` is the
 *            rate. An element whose gradient isn't finite stays as it is.
 *   PASS     a network of k.inputs ... k.outputs over `columns` samples, a multiple of TARN_LANES,
 *            forward and back: a: weights; b: tiles from b.b, labels (uint32) from b.b_term; c:
 *            scratch; losses d[n]. Those and the gradients are times `scale`.
 *   UPDATE   the Adam step behind a PASS, for all weights: a: that scratch; c: weights, and the
 *            moments m and v, each c_row floats from the last; else as ADAM.
 *
 * A network's scratch, tarn_wide_scratch_floats() that mean nothing before a PASS: activations A1, A2
 * of the hidden layers and derivatives D1 ... D3 by what the layers sum up, in tiles of TARN_LANES
 * samples, tile[neuron][lane], with the neurons filled up to a multiple of 16; and T0 ... T2, what
 * enters each layer, as [sample][neuron], filled up likewise: sums over samples take its vectors.
 * What fills up is written at random. TARN_WIDE_A1 ... (layout.h) say where each is, behind c.c and
 * a.a, which are multiples of 16.
 *
 * For BIAS, LOSS, SCORE and SLOPE, and for SUM's input, columns are next to each other and rows lie a
 * multiple of TARN_LANES floats apart; whole vectors are touched, so a row has room for `columns`
 * rounded up to TARN_LANES (SUM only reads `columns`). ADAM's arrays are flat.
 */
#ifndef TARN_KERNELS_WIDE_H
#define TARN_KERNELS_WIDE_H

#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct tarn_wide_arrays {
    float *a, *b, *c, *d;
};

/** The floats of the scratch of PASS and UPDATE. */
static inline size_t tarn_wide_scratch_floats(const struct tarn_wide_constants *k)
{
    return TARN_WIDE_END(*k);
}

/** Work-groups of a step: the same for every device, and for tarn_wide_host(). */
uint32_t tarn_wide_groups(const struct tarn_wide_constants *constants);

/**
 * Groups [first, first + count) of a step. No allocation; up to 100 KiB of stack. Any thread, as long
 * as no two write the same.
 */
void tarn_wide_host(const struct tarn_wide_constants *constants,
                    const struct tarn_wide_arrays *arrays, uint32_t first, uint32_t count);

#endif
