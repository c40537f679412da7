/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A bundle: all that belongs to one version of a model and has to change with it, in one immutable
 * piece. Weights of one version never meet the normalisation, the thresholds or the experts' say of
 * another, because there is only one pointer to go by.
 *
 * Ownership: counted references. Thread-safety: everything may be called from any thread that holds a
 * reference (or a slot's guarantee, see src/deploy/slot.h).
 */
#ifndef TARN_MODEL_BUNDLE_H
#define TARN_MODEL_BUNDLE_H

#include <stdatomic.h>

#include "model.h"

/** Who scores the candidates of an eviction round. */
typedef enum tarn_scorer {
    TARN_SCORER_NETWORK, /**< the network alone */
    TARN_SCORER_MIX,     /**< the network and heuristics, each with its weight */
    TARN_SCORERS,
} tarn_scorer;

#define TARN_BUNDLE_EXPERTS    8
#define TARN_BUNDLE_THRESHOLDS 8

/** What thresholds are. */
enum {
    TARN_THRESHOLD_SAY, /**< an expert whose weight isn't above it has no say */
};
#define TARN_SAY_DEFAULT 0.02f

/** What a version consists of. */
struct tarn_bundle_params {
    struct tarn_shape shape;
    const float *weights;   /**< layout.h's order; copied */
    const char *provenance; /**< copied; NULL: none */
    tarn_scorer scorer;
    uint32_t experts; /**< that have a weight; 0 for the network alone */
    /** Their say before anything was seen of them, the network's first: >= 0, sum 1. */
    float expert[TARN_BUNDLE_EXPERTS];
    const float *scale, *offset; /**< of each input: x' = x scale + offset; NULL: 1 and 0 */
    uint32_t thresholds;         /**< in use */
    float threshold[TARN_BUNDLE_THRESHOLDS]; /**< what scores are compared with */
};

struct tarn_bundle {
    tarn_model *model; /**< owned */
    tarn_scorer scorer;
    uint32_t experts, thresholds;
    float expert[TARN_BUNDLE_EXPERTS];
    float threshold[TARN_BUNDLE_THRESHOLDS];
    float scale[TARN_MAX_WIDTH], offset[TARN_MAX_WIDTH]; /**< of shape.inputs inputs */
    uint64_t hash; /**< of all that decides a score; equal bundles have equal ones */
    /** Given by the slot that takes the bundle, once; 0 before. */
    uint64_t version, parent;
    struct tarn_bundle *next; /**< the slot's: those that it has yet to release */
    atomic_uint references;
};

/**
 * A bundle with one reference, the caller's. TARN_INVALID, with the reason in `error`, for a shape that
 * can't be computed, for a NaN or an infinity anywhere, and for weights of experts that aren't shares.
 */
tarn_status tarn_bundle_create(const struct tarn_bundle_params *params, struct tarn_bundle **bundle,
                               struct tarn_error *error);
/** Another reference. */
struct tarn_bundle *tarn_bundle_hold(struct tarn_bundle *bundle);
/** Gives one reference up and nulls the handle; the last one frees. Accepts NULL. */
void tarn_bundle_release(struct tarn_bundle **bundle);
/** Bytes that a bundle of this shape takes. */
size_t tarn_bundle_memory(const struct tarn_bundle *bundle);

#endif
