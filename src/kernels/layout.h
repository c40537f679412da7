/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layouts and constants that the host, OpenCL C and GLSL share. Only preprocessor lines and structs
 * of 32-bit fields: the build puts this text in front of every OpenCL kernel, and
 * the shaders include it.
 *
 * Hash: 64 bits as two 32-bit words, low first, so that no kernel needs 64-bit integers.
 *
 * Index: a power of two of 64-byte buckets, each TARN_BUCKET_SLOTS tags and then as many
 * references. bucket 1 = low & mask; bucket 2 = bucket 1 ^ (TARN_INDEX_SPREAD(tag) & mask) tag =
 * the hash's high word, 0 replaced by 1; a tag of 0 marks a free place. A reference names an object
 * slot. Two objects can share a tag: the host compares the whole key.
 *
 * Samples: tiles of TARN_LANES samples, tile[feature][lane], float32: one vector load a feature on
 * a CPU, one coalesced load a feature on a GPU. Lanes past the end are filled with zeros.
 *
 * Weights: W1[h1][in] b1[h1] W2[h2][h1] b2[h2] W3[out][h2] b3[out], float32, row-major.
 *
 * Slice of a network: how much of it is in use. Bits 0-7: the first units of both hidden layers (0: all;
 * more than there are is all); bit 8: early exit, where the output layer takes the first layer's
 * activations as if the second had passed them on. 0 is the whole network. Weights stay where they
 * are: a slice is read in place.
 *
 * Label of a training sample: bins at risk in bits 0-7, event bin + 1 in bits 8-15 (0: none seen), and
 * in bits 16-24 the slice that it trains: units beyond are 0 on the way forward and back.
 */
#ifndef TARN_LAYOUT_H
#define TARN_LAYOUT_H

#define TARN_BUCKET_SLOTS      8
#define TARN_BUCKET_WORDS      16
#define TARN_SLOT_NONE         0xffffffffu
#define TARN_INDEX_SPREAD(tag) ((tag)*0x5bd1e995u)

#define TARN_LANES             16
#define TARN_MAX_WIDTH         64   /* widest layer of the fused kernels, and most features */
#define TARN_MAX_FORWARD_WIDTH 256  /* widest layer of the fused forward pass on its own */
#define TARN_MAX_WIDE_WIDTH    1024 /* widest layer of networks in several launches */
#define TARN_MAX_BINS          16
#define TARN_LEAK              0.01f

#define TARN_SLICE(width, exit) ((width) | (exit) << 8)
#define TARN_SLICE_WIDTH(slice) ((slice)&0xffu)
#define TARN_SLICE_EXITS(slice) ((slice) >> 8 & 1u)
#define TARN_LABEL_SLICE(label) ((label) >> 16 & 0x1ffu)
/* Units in use of a layer of so many. */
#define TARN_SLICE_UNITS(slice, units)                                                             \
    (TARN_SLICE_WIDTH(slice) - 1u < (units) ? TARN_SLICE_WIDTH(slice) : (units))

/* Hazard bins of the reference network: [0, 1/64), [1/64, 1/32), ... in units of T. */
#define TARN_BIN_FIRST_LOG2 (-6)

#if defined(__OPENCL_VERSION__) || defined(VULKAN) /* what GLSL compilers define for Vulkan */
#define TARN_U32 uint
#else
#include <stdint.h>
#define TARN_U32 uint32_t
#endif

struct tarn_lookup_constants {
    TARN_U32 count; /* keys */
    TARN_U32 mask;  /* buckets - 1 */
};

struct tarn_forward_constants {
    TARN_U32 count; /* samples */
    TARN_U32 slice; /* of the network; 0: all of it */
};

/*
 * A tile of training is TARN_LANES samples of a step; the last of a step does Adam's part too. A
 * range that ends inside a step leaves its sums in the scratch buffer to the range that goes on.
 */
struct tarn_train_constants {
    TARN_U32 first_tile; /* the range that is run ... */
    TARN_U32 tile_count; /* ... and how many, all of them there; 0: to the end */
    TARN_U32 steps;      /* gradient steps of the whole work */
    TARN_U32 batch;      /* samples a step, a multiple of TARN_LANES */
    TARN_U32 first_step; /* Adam steps done before this work */
    float rate;          /* learning rate */
    float beta1, beta2, epsilon;
};

/* One step of a wide network: src/kernels/wide.h says what each does. */
#define TARN_WIDE_PRODUCT 0u
#define TARN_WIDE_BIAS    1u
#define TARN_WIDE_SCORE   2u
#define TARN_WIDE_LOSS    3u
#define TARN_WIDE_SLOPE   4u
#define TARN_WIDE_SUM     5u
#define TARN_WIDE_ADAM    6u
#define TARN_WIDE_PASS    7u
#define TARN_WIDE_UPDATE  8u

#define TARN_WIDE_SIDE  64u   /* a group's rows, columns or lines */
#define TARN_WIDE_FLAT  4096u /* a group's elements where they are a flat list */
#define TARN_WIDE_TERMS 128u  /* terms of a product that are packed at once */

#define TARN_WIDE_PASS_SAMPLES 32u /* a group's samples of a pass: two tiles */
#define TARN_WIDE_UPDATE_ROWS  16u /* a group's neurons of an update */
#define TARN_WIDE_PADDED(n)    (((n) + 15u) / 16u * 16u)

/* Where things are in the scratch of a pass over k.columns samples: wide.h. */
#define TARN_WIDE_A1(k)  0u
#define TARN_WIDE_A2(k)  ((k).columns * TARN_WIDE_PADDED((k).hidden1))
#define TARN_WIDE_D1(k)  (TARN_WIDE_A2(k) + (k).columns * TARN_WIDE_PADDED((k).hidden2))
#define TARN_WIDE_D2(k)  (TARN_WIDE_D1(k) + (k).columns * TARN_WIDE_PADDED((k).hidden1))
#define TARN_WIDE_D3(k)  (TARN_WIDE_D2(k) + (k).columns * TARN_WIDE_PADDED((k).hidden2))
#define TARN_WIDE_T0(k)  (TARN_WIDE_D3(k) + (k).columns * TARN_WIDE_PADDED((k).outputs))
#define TARN_WIDE_T1(k)  (TARN_WIDE_T0(k) + (k).columns * TARN_WIDE_PADDED((k).inputs))
#define TARN_WIDE_T2(k)  (TARN_WIDE_T1(k) + (k).columns * TARN_WIDE_PADDED((k).hidden1))
#define TARN_WIDE_END(k) (TARN_WIDE_T2(k) + (k).columns * TARN_WIDE_PADDED((k).hidden2))

#define TARN_WIDE_HAS_BIAS 1u
#define TARN_WIDE_LEAKY    2u

struct tarn_wide_constants {
    TARN_U32 op;
    TARN_U32 rows, columns, terms;
    TARN_U32 a, a_row, a_term; /* places and strides, in floats */
    TARN_U32 b, b_term, b_column;
    TARN_U32 c, c_row;
    TARN_U32 d;
    TARN_U32 flags, bias;
    float scale; /* of the losses, or Adam's rate */
    float beta1, beta2, epsilon;
    float unbias1, unbias2;                     /* 1 / (1 - beta^t) */
    TARN_U32 inputs, hidden1, hidden2, outputs; /* of PASS and UPDATE */
};

#endif
