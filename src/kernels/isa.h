/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The host kernels' instruction sets: the same sources compiled several times, chosen at run time.
 * Thread-safe.
 */
#ifndef TARN_KERNELS_ISA_H
#define TARN_KERNELS_ISA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "forward.h"
#include "members.h"
#include "train.h"
#include "wide.h"

/** One instruction set's functions; their contracts are lookup.h's, forward.h's, train.h's, wide.h's and members.h's. */
struct tarn_isa {
    const char *name; /**< "baseline", "avx2", "avx512", "neon" */
    void (*lookup)(const void *buckets, uint32_t mask, const void *hashes, size_t count,
                   uint32_t *slots);
    void (*forward)(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                    const float *tiles, size_t count, float *scores);
    void (*logits)(const struct tarn_shape *shape, uint32_t slice, const float *weights,
                   const float *tiles, size_t count, float *logits);
    uint32_t (*train)(const struct tarn_shape *shape, const struct tarn_train_state *state,
                      const struct tarn_train_constants *constants, const float *tiles,
                      const uint32_t *labels, float *losses, const struct tarn_train_part *part);
    void (*wide)(const struct tarn_wide_constants *constants, const struct tarn_wide_arrays *arrays,
                 uint32_t first, uint32_t count);
    void (*members)(const struct tarn_members *members, size_t count, float *scores);
    /** exp and log2 as the kernels compute them, for tests; `count` is a multiple of 16. */
    void (*exp)(const float *x, size_t count, float *y);
    void (*lg)(const float *x, size_t count, float *y);
};

/** Number of variants that this CPU can run, at least 1. */
size_t tarn_isa_count(void);
/**
 * Variant `i` of them, the slowest first, which is what every CPU of the architecture can run:
 * baseline, but on 64-bit ARM neon. NULL past the end.
 */
const struct tarn_isa *tarn_isa_get(size_t i);
/** What the *_host functions use: the best, or what TARN_CPU asks for. Decided at the first call.
 */
const struct tarn_isa *tarn_isa_current(void);
/** The variant of that name if this CPU can run it, else NULL. "baseline" is always the first. */
const struct tarn_isa *tarn_isa_find(const char *name);

#endif
