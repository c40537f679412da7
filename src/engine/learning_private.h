/* SPDX-License-Identifier: Apache-2.0 */
/** @file What learning keeps between two launches: learning.c draws and paces, adapt.c watches for news. */
#ifndef TARN_ENGINE_LEARNING_PRIVATE_H
#define TARN_ENGINE_LEARNING_PRIVATE_H

#include "engine_private.h"
#include "learn/checkpoint.h"
#include "learn/consolidate.h"
#include "learn/drift.h"
#include "learn/heldout.h"
#include "learn/novelty.h"
#include "learning.h"

#define TARN_STORED_MOST 4

/** One allocation, with all that it needs; the background's. */
struct tarn_learner {
    struct tarn_learning_params params;
    struct tarn_shape shape;
    struct tarn_reservoir reservoir; /**< no samples: there is none. Under the cache's lock */
    struct tarn_rng rng;             /**< of all but drawing */

    uint64_t launches;
    struct tarn_novelty novelty;
    uint64_t novelty_seen; /**< samples of the ring */
    struct tarn_drift_detector by_loss, by_misses;
    uint64_t gets_seen, hits_seen; /**< at the end of the last window of the miss ratio */
    uint64_t full_at;              /**< requests when nothing had been evicted yet */
    uint64_t drifts;
    uint64_t head;       /**< samples put into the ring, as of the last launch */
    bool drifting;       /**< a drift was found and samples since then are still few */
    bool drift_is_new;   /**< since the last launch */
    uint64_t drift_head; /**< `head` when it was */
    bool restart_tried;  /**< stored weights were compared since then */

    struct tarn_consolidate consolidate;
    float *stored; /**< [TARN_STORED_MOST][weights] */
    uint32_t stored_count, stored_next;

    struct tarn_heldout heldout;
    double loss; /**< held out, at the last look; NaN before */
    struct tarn_early early;
    bool paused;
    uint64_t paused_head; /**< samples of the ring then */
    double paused_loss, paused_error;

    uint64_t replayed, drawn; /**< samples */
    uint64_t restarts, steps_saved;
    float rate_factor, steps_factor, explore_factor; /**< as of the last launch */

    /* checkpoints.c */
    struct tarn_checkpoint_image image;
    bool image_ready;
    uint64_t checkpoint_steps, checkpoint_at, checkpoint_ns; /**< of the last one */
    uint64_t checkpoints, checkpoint_failures;
};

/** What learning does about news, at this moment. */
struct tarn_pace {
    float rate, explore; /**< factors */
    uint32_t newest;     /**< samples of the ring since a drift; 0: none, or too few */
};

/* adapt.c: all under the background's lock */
tarn_status tarn_adapt_init(struct tarn_engine *engine);
void tarn_adapt_free(struct tarn_engine *engine);
/** A launch has ended, nothing is under way and its weights haven't been offered yet. */
void tarn_adapt_after_launch(struct tarn_engine *engine);
/** Looks at the miss ratio. */
void tarn_adapt_look(struct tarn_engine *engine, uint64_t now, float period);
/** Before a launch is staged, nothing is under way; or, in a pause, where one would be. */
struct tarn_pace tarn_adapt_pace(struct tarn_engine *engine);
/**
 * A set of held-out samples, of the `newest` in the ring (0: of all of it, and of the reservoir), and the loss of the
 * trainer's weights on it; none is under way.
 */
struct tarn_heldout_result tarn_adapt_look_at_held_out(struct tarn_engine *engine, uint32_t newest);
/** Training goes on from the live weights, which are `other` ones than before, or not. */
void tarn_adapt_restarted(struct tarn_engine *engine, bool other);

/** The learning rate of the last launch. */
float tarn_learning_rate(const struct tarn_engine *engine);

/** checkpoints.c: makes an image if one is due and nothing is under way. Under the background's lock. */
void tarn_checkpoints_look(struct tarn_engine *engine);

#endif
