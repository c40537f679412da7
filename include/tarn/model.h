/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Models: the weights that score objects for eviction, with where they come from. A model is immutable
 * once made. File format: docs/model-format.md.
 *
 * Thread-safety: a model may be read from any thread; making and destroying are the owner's.
 */
#ifndef TARN_MODEL_H
#define TARN_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tarn_model tarn_model;

/** The weights that come with the library. */
TARN_API tarn_status tarn_model_load_default(tarn_model **model, struct tarn_error *error);
/** From a file. TARN_CORRUPT names what is wrong and where. */
TARN_API tarn_status tarn_model_load(const char *path, tarn_model **model,
                                     struct tarn_error *error);
/** From the bytes of a file. */
TARN_API tarn_status tarn_model_parse(const void *data, size_t size, tarn_model **model,
                                      struct tarn_error *error);
/** Writes a file atomically. */
TARN_API tarn_status tarn_model_save(const tarn_model *model, const char *path,
                                     struct tarn_error *error);
TARN_API void tarn_model_destroy(tarn_model **model);

#define TARN_MODEL_NESTED 3

struct tarn_model_info {
    uint32_t inputs, hidden1, hidden2, outputs;
    uint32_t parameters;
    size_t file_size;       /**< bytes, as saved */
    uint64_t hash;          /**< of the weights */
    const char *provenance; /**< text, one line an entry; owned by the model */
    /**
     * An elastic model's smaller networks: that many hidden units of both layers, the first ones, are a model
     * that works too. Rising, 0 behind the last; all 0: it isn't elastic.
     */
    uint32_t nested[TARN_MODEL_NESTED];
    int early_exit; /**< each of them, and the whole, works without its second layer too */
};
TARN_API void tarn_model_get_info(const tarn_model *model, struct tarn_model_info *info);

#define TARN_SAMPLE_FEATURES 28

/** A training example: what a candidate looked like, and what became of it. */
struct tarn_model_sample {
    int8_t features[TARN_SAMPLE_FEATURES]; /**< in steps of 1/32 */
    uint16_t label;                        /**< src/kernels/layout.h's */
};

/** Samples of one run; all runs weigh the same. */
struct tarn_model_run {
    const struct tarn_model_sample *samples;
    size_t count;
};

struct tarn_model_pretrain_params {
    const struct tarn_model_run *runs;
    size_t run_count;
    uint32_t steps; /**< of `batch` samples; 0: 80000 */
    uint32_t batch; /**< 0: 256 */
    float rate;     /**< highest learning rate; 0: 0.003 */
    uint64_t seed;
    const tarn_model *start; /**< weights to go on from; NULL: random ones */
    /**
     * Units of both hidden layers, rising; with more than one the model is elastic: the last is the whole,
     * and each of the others, at most TARN_MODEL_NESTED, its first units. NULL: start's, or 32.
     */
    const uint32_t *widths;
    size_t width_count;
    int early_exit;         /**< trains each of them without its second layer as well */
    const char *provenance; /**< kept in the model */
    /** Now and then: steps done, mean loss since the last call. May be NULL. Returns 0 to stop early. */
    int (*progress)(void *user, uint32_t steps, float loss);
    void *user;
};

/** Trains a model from scratch on the host; about 40 µs a step. TARN_INVALID if there are no samples. */
TARN_API tarn_status tarn_model_pretrain(const struct tarn_model_pretrain_params *params,
                                         tarn_model **model, struct tarn_error *error);

#ifdef __cplusplus
}
#endif

#endif
