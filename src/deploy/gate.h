/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The cheap gate: may a candidate that was trained here go live without a canary? Three questions, in
 * this order.
 *
 * 1. Is every weight a number (by the bits of its exponent)?
 * 2. Is it no worse on held-out keys? d = nll(candidate) - nll(live) on the same samples, labels with the
 *    censoring of now; it passes if mean(d) <= sd(d) / sqrt(V) (docs/eviction.md). A key is held out if
 *    tarn_model_gate_holds_out(hash); the trainer skips those. Fewer than 64 samples: the live one stays.
 *    Miss ratios of miniature caches are too noisy for small steps, the survival loss isn't.
 * 3. Is it near? Distance of the weights, and of the orders into which the scores of both put the same samples:
 *    eviction goes by order, while scores of what nobody will want again move by octaves without a
 *    consequence. One that is far may be good, but its loss says little about it where it has not been: it
 *    needs the whole canary, or a shorter step.
 *
 * The tolerance of question 2 would let the loss drift up by a little with each step: an anchor (the
 * pretrained model) may be given, which a candidate must not fall clearly behind. If the live model itself has,
 * because the workload has changed, the report says so: then it is time to go back to the anchor.
 *
 * Cost: two forward passes of V samples, a third with an anchor, and two of 128 for the order: 512 samples
 * are 2.9 million multiply-adds, 0.1 ms with AVX2.
 *
 * Thread-safety: one thread at a time; the scratch memory is the gate's.
 */
#ifndef TARN_DEPLOY_GATE_H
#define TARN_DEPLOY_GATE_H

#include <stdbool.h>
#include <stdint.h>

#include <tarn/status.h>

#include "model/model.h"
#include "net/net.h"

#define TARN_GATE_SAMPLES 512   /* used */
#define TARN_GATE_LEAST   64    /* fewer don't decide */
#define TARN_GATE_ORDERED 128   /* of them say how far the order has moved */
#define TARN_GATE_NEWEST  16384 /* of the ring's samples they are drawn from */

/** A held-out candidate of an eviction round, as it was scored, and what became of it. */
struct tarn_gate_sample {
    int8_t features[TARN_FEATURES]; /**< in steps of TARN_FEATURE_STEP */
    uint8_t at_risk;                /**< bins that are known: those survived, and the event's */
    int8_t event;                   /**< the event's bin; -1: none seen */
};

/**
 * Where samples come from: writes up to `room` of the held-out ones, drawn from the newest
 * TARN_GATE_NEWEST; returns how many. Called once a trial, which then holds no lock of the caller's.
 */
typedef uint32_t (*tarn_gate_draw)(void *context, struct tarn_gate_sample *samples, uint32_t room);

/** One key in eight is held out: never trained on, always measured with. */
static inline bool tarn_model_gate_holds_out(uint64_t hash)
{
    return (hash & 7) == 0;
}

typedef enum tarn_gate_answer {
    TARN_GATE_PASS, /**< it may go live */
    TARN_GATE_KEEP, /**< the live one stays */
    TARN_GATE_FAR,  /**< not worse as far as can be seen, but far away: to the canary */
} tarn_gate_answer;

struct tarn_gate_report {
    tarn_gate_answer answer;
    char reason[96];       /**< for a person and the history */
    uint32_t samples;      /**< used */
    float loss, loss_live; /**< mean negative log-likelihood a sample, nats */
    float difference;      /**< mean(d), */
    float error;           /**< sd(d) / sqrt(V) */
    bool anchor_better;    /**< the anchor was looked at, and the live model is clearly behind it */
    float weights_l2;      /**< |candidate - live| / |live| */
    float weights_most;    /**< the largest difference, in root mean squares of the live weights */
    float
        order; /**< mean distance of a sample's ranks by the two scores, over their number: a third by
                              chance */
};

typedef struct tarn_model_gate tarn_model_gate;

struct tarn_model_gate_params {
    float weights_l2, weights_most, order; /**< the trust region; 0: 0.1, 1, 0.25 */
    const tarn_model *anchor;              /**< NULL: none; must outlive the gate */
    uint32_t anchor_every; /**< tries from one look at the anchor to the next; 0: at each */
};

/** TARN_NO_MEMORY. About 110 KiB. */
tarn_status tarn_model_gate_create(const struct tarn_model_gate_params *params,
                                   tarn_model_gate **gate);
/** Accepts NULL. */
void tarn_model_gate_destroy(tarn_model_gate **gate);

/**
 * Tries `candidate` (weights of the live model's shape, inputs TARN_FEATURES) against `live`. Writes the
 * report and returns its answer. Allocates nothing, holds no lock.
 */
tarn_gate_answer tarn_model_gate_try(tarn_model_gate *gate, const tarn_model *live,
                                     const float *candidate, tarn_gate_draw draw, void *context,
                                     struct tarn_gate_report *report);

/**
 * How much of the way to a candidate that was found TARN_GATE_FAR the trust region allows: a factor for the
 * difference of its weights, below 1. Scores don't follow weights in proportion, so it is to be tried again.
 */
float tarn_model_gate_reach(const tarn_model_gate *gate, const struct tarn_gate_report *report);

#endif
