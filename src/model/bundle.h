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
#define TARN_BUNDLE_MEMBERS    4 /* of an ensemble, the version's own network among them */
#define TARN_BUNDLE_TAGS       7 /* kinds of objects that may have a network of their own */

/** How what the members of an ensemble say becomes one score; src/experts/ensemble.h chooses the shares. */
typedef enum tarn_combine {
    TARN_COMBINE_ONE,    /**< the version's own network alone */
    TARN_COMBINE_SCORES, /**< mean of the scores, by shares */
    TARN_COMBINE_LOGITS, /**< mean of the logits, by shares (stacking) */
    TARN_COMBINE_SURVIVAL, /**< mixture of hazards, by shares and survival so far (Bayesian averaging) */
    TARN_COMBINE_CONFIDENT, /**< for each candidate the member that is surest of it */
    TARN_COMBINES,
} tarn_combine;

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
    struct tarn_nested nested;   /**< what of the network is one by itself; zeros: only the whole */
    const float *scale, *offset; /**< of each input: x' = x scale + offset; NULL: 1 and 0 */
    uint32_t thresholds;         /**< in use */
    float threshold[TARN_BUNDLE_THRESHOLDS]; /**< what scores are compared with */
    /*
     * An ensemble: its own network is the first member, `member` are the others; each of the same shape, and
     * without members of its own. Held, not copied.
     */
    tarn_combine combine;
    uint32_t members; /**< all of them; 0 is 1 */
    struct tarn_bundle *member[TARN_BUNDLE_MEMBERS - 1];
    float share[TARN_BUNDLE_MEMBERS]; /**< their say: >= 0, sum 1; unread for ONE and CONFIDENT */
    /** What scores objects with the tag i + 1, of the same shape, with no tags of its own. Held; NULL: as others. */
    struct tarn_bundle *tagged[TARN_BUNDLE_TAGS];
};

struct tarn_bundle {
    tarn_model *model; /**< owned */
    tarn_scorer scorer;
    uint32_t experts, thresholds;
    float expert[TARN_BUNDLE_EXPERTS];
    float threshold[TARN_BUNDLE_THRESHOLDS];
    float scale[TARN_MAX_WIDTH], offset[TARN_MAX_WIDTH]; /**< of shape.inputs inputs */
    tarn_combine combine;
    uint32_t members;                                    /**< 1: no ensemble */
    struct tarn_bundle *member[TARN_BUNDLE_MEMBERS - 1]; /**< held */
    float share[TARN_BUNDLE_MEMBERS];
    struct tarn_bundle *tagged[TARN_BUNDLE_TAGS]; /**< held */
    uint32_t tags;                                /**< bit i: tagged[i] is there */
    uint64_t hash; /**< of all that decides a score; equal bundles have equal ones */
    uint64_t own;  /**< the same without the networks of tags, which change beside it */
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
/** Candidates to be scored. */
struct tarn_bundle_batch {
    const float *tiles;  /**< layout.h's; scaled already */
    const uint8_t *tags; /**< [count]; NULL: none has one */
    uint32_t count;
    uint32_t width; /**< hidden units that would do, of networks that are elastic; 0: all */
    bool exits;     /**< their second layer is left out */
};
/** `scores` takes batch->count Gittins scores. On the calling thread; allocates nothing. */
void tarn_bundle_score(const struct tarn_bundle *bundle, const struct tarn_bundle_batch *batch,
                       float *scores);
/** The same of a batch with tags: each of the version's networks scores its own, gathered into tiles (tagged.c). */
void tarn_bundle_score_tagged(const struct tarn_bundle *bundle,
                              const struct tarn_bundle_batch *batch, float *scores);
/** What scores objects of this tag: its own network if there is one. */
static inline const struct tarn_bundle *tarn_bundle_of_tag(const struct tarn_bundle *bundle,
                                                           uint32_t tag)
{
    return tag > 0 && (bundle->tags >> (tag - 1) & 1) ? bundle->tagged[tag - 1] : bundle;
}

/** Bytes that a bundle of this shape takes, without those that it holds. */
size_t tarn_bundle_memory(const struct tarn_bundle *bundle);

#endif
