/* SPDX-License-Identifier: Apache-2.0 */
/** @file The models behind gen.h: each yields keys. Private to src/trace. */
#ifndef TARN_TRACE_MODEL_H
#define TARN_TRACE_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"

/**
 * Ranks 1 … n with probability proportional to rank^-alpha, in constant time and memory, by
 * rejection-inversion (Hörmann and Derflinger, 1996).
 */
struct tarn_zipf {
    double alpha, low, high, cut;
    uint64_t n;
};
void tarn_zipf_init(struct tarn_zipf *zipf, uint64_t n, double alpha);
uint64_t tarn_zipf_next(const struct tarn_zipf *zipf, struct tarn_rng *rng);

typedef enum tarn_model_kind {
    TARN_MODEL_ZIPF,
    TARN_MODEL_SCAN,
    TARN_MODEL_LOOP,
    TARN_MODEL_RECENCY,
    TARN_MODEL_DRIFT,
    TARN_MODEL_BURST,
    TARN_MODEL_KINDS,
} tarn_model_kind;

struct tarn_model_settings {
    uint64_t objects;
    double alpha, share, fresh;
    uint64_t length, period, step, active;
    bool repeat;
};

/** One workload with its own keys and random numbers. */
struct tarn_model {
    tarn_model_kind kind;
    struct tarn_model_settings set;
    struct tarn_rng rng;
    struct tarn_zipf zipf;
    uint64_t base;     /* first key */
    uint64_t count;    /* requests so far */
    uint64_t fresh;    /* keys handed out beyond the popular ones */
    uint64_t at, left; /* scan: next key and how many remain; loop: position */
    uint64_t *history; /* recency: the latest requests, a ring */
    uint64_t *burst_key, *burst_left;
};

/** `number` sets the models' keys apart. False without memory. */
bool tarn_model_init(struct tarn_model *model, tarn_model_kind kind,
                     const struct tarn_model_settings *settings, uint64_t seed, unsigned number);
void tarn_model_free(struct tarn_model *model);
uint64_t tarn_model_next(struct tarn_model *model);

#endif
