/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Settings of learning, for benches and ablations that look inside; programs leave them alone. What each is
 * worth is measured by tests/bench/ablation.c; where a default is "off" it was measured to bring nothing.
 */
#ifndef TARN_ENGINE_LEARNING_H
#define TARN_ENGINE_LEARNING_H

#include <stdbool.h>
#include <stdint.h>

/** Begin with tarn_learning_defaults(). A mechanism is off at 0, or at 1 if it is a factor. */
struct tarn_learning_params {
    /**
     * Every launch's weights go live at once, trained on all keys, without gate and watch, and nothing
     * below has a say but the checkpoints: what the rest is measured against.
     */
    bool in_place;
    /** One key in eight is left to the gate, which judges with what was never trained on. */
    bool keep_held_out;
    /** Where a class of workload is named again, experts' weights go on from what they were there. */
    bool recall;

    float rate; /**< of the learning rate, a factor */
    float pace; /**< of gradient steps a request, a factor */
    /** What was learnt of a class of workloads isn't gone back to when it comes again. */
    bool no_classes;
    /** Objects with a tag are scored and learnt as all others are. */
    bool no_tags;

    /* rehearsal: src/learn/reservoir.h */
    uint32_t reservoir; /**< samples kept of those that left the ring, 32 bytes each */
    float replayed;     /**< share of a step's samples that come from there */
    float balance;      /**< 0: as they come; 1: each class and rarity alike */

    /* holding on to what was learnt: src/learn/consolidate.h */
    float consolidate; /**< strength of the pull to the anchor; some thousands hold */
    uint32_t
        anchor_every; /**< launches from one anchor to the next; 0: only where a drift is found */
    float distilled;  /**< share of samples whose outcome is the live model's guess */

    /* news: src/learn/novelty.h, src/learn/drift.h */
    bool novelty; /**< the learning rate follows how new the data is */
    bool drift;   /**< detectors on the loss and on the miss ratio, for these: */
    float
        drift_rate; /**< the learning rate times this when one was found, then falling back to 1 */
    float drift_steps;  /**< gradient steps, likewise */
    float drift_recent; /**< share of samples drawn from those since then alone */
    float explore;      /**< fresh candidates of an eviction round, likewise */
    uint32_t stored;    /**< weights kept of earlier phases, to go on from when one comes back */

    /** Looks at the held-out loss without a gain after which training pauses until there is news. */
    uint32_t patience;

    /* ensembles, where one is asked for: src/engine/ensemble.h */
    bool frozen;         /**< the model that the engine began with is a member */
    uint32_t learners;   /**< networks that learn, 1 to 3, each from samples of its own */
    float learners_pace; /**< gradient steps that each beyond the first adds, against its own */
    /* checkpoints, with a state_dir */
    uint64_t checkpoint_requests; /**< from one to the next; also after checkpoint_most_s */
    uint32_t checkpoint_least_s;  /**< but not before; not with TARN_BACKGROUND_STEPS */
    uint32_t checkpoint_most_s;

    /* for tests: where the request count begins, and the clock of times to live; NULL: the monotonic one */
    uint64_t first_request;
    uint64_t (*clock_ms)(void *context);
    void *clock_context;
};

void tarn_learning_defaults(struct tarn_learning_params *params);

#endif
