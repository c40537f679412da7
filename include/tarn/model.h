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

#include <tarn/gpu.h>
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

/*
 * Sets: a file with several models, each for a class of workloads or for a tag, with the settings that go
 * with it (docs/sets.md). The first one is called "general" and is what everything begins with.
 *
 * Thread-safety as for models.
 */

typedef struct tarn_model_sets tarn_model_sets;

#define TARN_SET_NAME  32 /* bytes of a name with its NUL: letters, digits, '-', '_' and '.' */
#define TARN_SETS_MOST 32

/** How learning goes on from a set's weights, and who has a say beside them. */
struct tarn_set_settings {
    float rate;          /**< of the learning rate, a factor, 1/64 to 64 */
    float pace;          /**< of gradient steps a request, a factor, 1/64 to 8 */
    float replayed;      /**< share of samples that come from the past, 0 to 0.9 */
    float mix_rate;      /**< how quickly experts' weights follow their misses, 0 to 1 */
    float mix_half_life; /**< of those misses, in capacities of the cache, 1/4 to 64 */
    float
        network; /**< the network's say before anything was seen, 0 to 1; the experts share the rest */
    uint32_t masked; /**< bit i: input i isn't seen, in training neither */
    /* what its weights were trained with, for whoever trains them again; 0: not known */
    uint32_t steps;
    float step_rate; /**< highest learning rate */
};

/** As they are without a set. */
TARN_API void tarn_set_defaults(struct tarn_set_settings *settings);

struct tarn_set_info {
    const char *name;        /**< owned by the sets, as all of it */
    const tarn_model *model; /**< all sets have one shape */
    struct tarn_set_settings settings;
};

/** None yet. TARN_NO_MEMORY. */
TARN_API tarn_status tarn_model_sets_create(tarn_model_sets **sets);
/** Accepts NULL. */
TARN_API void tarn_model_sets_destroy(tarn_model_sets **sets);
/**
 * Adds a set, or replaces the one of that name; the model is copied, and loses the weights of masked inputs. The first one must
 * be "general". TARN_INVALID: a name, a number or a shape that can't be, or too many.
 */
TARN_API tarn_status tarn_model_sets_add(tarn_model_sets *sets, const char *name,
                                         const tarn_model *model,
                                         const struct tarn_set_settings *settings,
                                         struct tarn_error *error);
TARN_API uint32_t tarn_model_sets_count(const tarn_model_sets *sets);
/** Set i, in the order in which they were added. */
TARN_API void tarn_model_sets_get(const tarn_model_sets *sets, uint32_t i,
                                  struct tarn_set_info *info);
/** The number of the set of that name, or tarn_model_sets_count(). */
TARN_API uint32_t tarn_model_sets_find(const tarn_model_sets *sets, const char *name);
/** From a file of sets, or of one model, which is then the general set. Errors as for models. */
TARN_API tarn_status tarn_model_sets_load(const char *path, tarn_model_sets **sets,
                                          struct tarn_error *error);
TARN_API tarn_status tarn_model_sets_parse(const void *data, size_t size, tarn_model_sets **sets,
                                           struct tarn_error *error);
/** Writes a file atomically. TARN_INVALID: there are none. */
TARN_API tarn_status tarn_model_sets_save(const tarn_model_sets *sets, const char *path,
                                          struct tarn_error *error);

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
    uint32_t masked;        /**< bit i: input i is taken to be 0 */
    /**
     * Looks at the loss of held-out samples (one in sixteen, every 1000 steps) without a gain after which the rate falls to zero
     * within a tenth of the steps, and training ends; 0: all steps are done, on all samples.
     */
    uint32_t patience;
    tarn_device *device; /**< computes the steps; the caller's; NULL: the host */
    /** Now and then: steps done, mean loss since the last call. May be NULL. Returns 0 to stop early. */
    int (*progress)(void *user, uint32_t steps, float loss);
    void *user;
};

/** Trains a model; about 40 µs a step on the host. TARN_INVALID if there are no samples. */
TARN_API tarn_status tarn_model_pretrain(const struct tarn_model_pretrain_params *params,
                                         tarn_model **model, struct tarn_error *error);

/**
 * A smaller model: the first `width` units of both hidden layers. Of an elastic model, and exactly one of its
 * nested widths, that is a model as it stands. `by_importance` takes the units that matter most instead, by
 * what goes out of them and, with `samples` (NULL: none), how active they are; then any width will do, and
 * some training after it. TARN_INVALID for a width that is neither.
 */
TARN_API tarn_status tarn_model_narrow(const tarn_model *model, uint32_t width, int by_importance,
                                       const struct tarn_model_run *samples, size_t sample_runs,
                                       tarn_model **narrow, struct tarn_error *error);
/**
 * A larger model that gives the same scores, but for rounding (Net2Net; Chen, Goodfellow and Shlens 2016),
 * and has room to learn more. An elastic one keeps its slices, and gets what it was as one more; the narrowest
 * goes if there are too many. TARN_INVALID for a width that isn't larger, or can't be computed.
 */
TARN_API tarn_status tarn_model_widen(const tarn_model *model, uint32_t width, uint64_t seed,
                                      tarn_model **wide, struct tarn_error *error);

#ifdef __cplusplus
}
#endif

#endif
