/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What an engine does with candidates: from training through the gate, from elsewhere through a rollout,
 * into the slot, under the watch, and back. The public part is <tarn/versions.h>. All of it under the
 * background's lock but for the reader, which belongs to the cache's.
 */
#ifndef TARN_ENGINE_VERSIONS_H
#define TARN_ENGINE_VERSIONS_H

#include <tarn/versions.h>

#include "cache/cache.h"
#include "deploy/canary.h"
#include "deploy/gate.h"
#include "deploy/slot.h"
#include "deploy/watch.h"
#include "evict/trial.h"

#define TARN_HISTORY_NAME "history" /* in the state folder */

/** The model that was offered, on its way. */
enum tarn_rollout_phase {
    TARN_ROLLOUT_IDLE,
    TARN_ROLLOUT_SHADOW,    /**< beside the live one in miniature caches; touches nothing */
    TARN_ROLLOUT_PREPARE,   /**< residents are told apart by segment */
    TARN_ROLLOUT_CALIBRATE, /**< arms, both under the live version */
    TARN_ROLLOUT_CANARY,    /**< arms, one of them under the candidate */
};

struct tarn_versions {
    tarn_history *history;
    tarn_slot *slot;
    struct tarn_slot_reader *reader;       /**< of eviction rounds, by the cache's lock */
    struct tarn_slot_reader *later_reader; /**< of the background's thread; NULL: there is none */
    struct tarn_bundle *live;              /**< a counted reference to what is live */
    struct tarn_bundle *anchor; /**< the same of the model that was given, or is built in */
    uint64_t requests_before;   /**< those of earlier starts */

    tarn_model_gate *gate;
    struct tarn_gate_report report;
    float *shortened_weights; /**< scratch: a part of the way to a candidate */
    uint64_t minted_at;       /**< requests, */
    uint64_t minted_ns;       /**< and the clock's */
    bool unminted;            /**< training has weights that no candidate was made of */
    uint64_t minted, kept_out, shortened;
    uint32_t in_a_row; /**< candidates that were kept out, one after the other */

    uint64_t flushed_ns, retry_ns;
    bool unflushed;  /**< something that matters */
    bool complained; /**< that the history can't be written */

    struct tarn_trial trial;
    bool has_trial;
    const char *unwatched; /**< why there is none; NULL */
    struct tarn_watch watch;
    bool watching;
    bool suspended; /**< a rollout has the caches; the watch over `base` goes on after it */
    struct tarn_bundle *base;    /**< counted: what the watch goes back to */
    struct tarn_bundle *suspect; /**< counted: the first one that the watch was for */
    struct tarn_bundle *failed;  /**< counted: to be kept on disk for inspection */

    enum tarn_rollout_phase phase;
    struct tarn_bundle *offered; /**< counted */
    uint64_t offered_at;         /**< requests */
    bool by_shadows;             /**< miniature caches have let it pass, and judge on */
    uint32_t step;               /**< that governs keys */
    struct tarn_rollout_counts counted[TARN_ROLLOUT_STEPS]; /**< while each step did */
    struct tarn_opinion opinion; /**< the candidate's, on the live version's rounds */
    struct tarn_watch
        shadow; /**< the candidate against the live version, before it governs a key */
    struct tarn_rollout paired; /**< judges by the trial, where there is one */
    struct tarn_rollout arms;   /**< judges by the arms */
    struct tarn_cache_segment
        segment[TARN_TABLE_SEGMENTS]; /**< what was counted at the last look, */
    double
        segment_cost[TARN_TABLE_SEGMENTS]; /**< and what misses had cost; see struct tarn_learned */
    char end[96];                          /**< how the last one ended */
};

/** After the ring is there, before the cache. */
tarn_status tarn_versions_init(struct tarn_engine *engine, const tarn_model *first,
                               struct tarn_error *error);
/** After the cache has gone. */
void tarn_versions_free(struct tarn_engine *engine);
/** Before the cache goes: what rounds and shadows refer to is taken back. */
void tarn_versions_stop(struct tarn_engine *engine);
/** Each time that the background looks around. */
void tarn_versions_look(struct tarn_engine *engine);
/** Training has new weights, and no job is under way. */
void tarn_versions_offer(struct tarn_engine *engine);
/**
 * What the gate says of these weights (of the live model's shape) now, on the engine's own samples, as if
 * training had made them; nothing changes. TARN_GATE_FAR: a part of the way might pass. Takes the lock.
 */
tarn_gate_answer tarn_versions_try(tarn_engine *engine, const float *weights,
                                   struct tarn_gate_report *report);

/** A change at this moment, for the slot. `text` may be NULL. */
struct tarn_change tarn_versions_change(struct tarn_engine *engine, tarn_reason reason,
                                        const char *text);
/** How it came that another version is live. */
enum tarn_version_change {
    TARN_VERSION_TRAINED,  /**< a step that training made, and goes on from */
    TARN_VERSION_BROUGHT,  /**< from elsewhere */
    TARN_VERSION_RETURNED, /**< an earlier one: there is nothing to watch it against */
};
/** The slot has changed what is live: all others are told. */
void tarn_versions_changed(struct tarn_engine *engine, enum tarn_version_change change);
/** Writes what is due to the state folder. Without the background's lock. */
void tarn_versions_keep(struct tarn_engine *engine, bool now);
/** What tarn_versions_draw() looks for. */
struct tarn_held_out_draw {
    struct tarn_engine *engine;
    uint32_t
        tag; /**< 0: samples of all objects, among the newest; else this tag's, wherever they are */
};
/** A tarn_gate_draw over the engine's ring; `context` is a struct tarn_held_out_draw. Takes the cache's lock. */
uint32_t tarn_versions_draw(void *context, struct tarn_gate_sample *samples, uint32_t room);
/** What makes a bundle of weights alone, for this engine. */
void tarn_versions_params(const struct tarn_engine *engine, const float *weights,
                          const tarn_model *like, struct tarn_bundle_params *params);
/**
 * A bundle of one network alone: a member of an ensemble, or a tag's own. `like`: where the weights come from,
 * or were trained from.
 */
tarn_status tarn_versions_make_plain(const struct tarn_engine *engine, const float *weights,
                                     const tarn_model *like, struct tarn_bundle **bundle,
                                     struct tarn_error *error);
/** A network from elsewhere, with the live version's networks of tags. */
tarn_status tarn_versions_make(const struct tarn_engine *engine, const float *weights,
                               const tarn_model *like, struct tarn_bundle **bundle,
                               struct tarn_error *error);
/** What training goes on from: with the ensemble's other members, and these networks of tags. */
tarn_status tarn_versions_make_whole(const struct tarn_engine *engine, const float *weights,
                                     const tarn_model *like, struct tarn_bundle *const *tagged,
                                     struct tarn_bundle **bundle, struct tarn_error *error);
/** Requests from one candidate of training to the next. */
uint64_t tarn_versions_mint_interval(const struct tarn_engine *engine, float period);

/** Starts the miniature caches once it is known how many objects the cache holds, and feeds the watch. */
void tarn_versions_watch_look(struct tarn_engine *engine);
/** How many objects the cache will hold: false where it can't know yet. Under the cache's lock. */
bool tarn_versions_count_objects(const struct tarn_engine *engine, double *objects);
/** Something else is live than `before`, to which the watch goes back if need be. */
void tarn_versions_watch_begin(struct tarn_engine *engine, struct tarn_bundle *before);
/** What is live is no longer held against anything. */
void tarn_versions_watch_end(struct tarn_engine *engine);
/** Frees the miniature caches. */
void tarn_versions_watch_stop(struct tarn_engine *engine);
/** A rollout needs the miniature caches: what the watch goes back to is remembered. */
void tarn_versions_watch_suspend(struct tarn_engine *engine);
/** It is over: whatever has gone live meanwhile is held against what was live before it. */
void tarn_versions_watch_resume(struct tarn_engine *engine);

/** Begins with a model that was offered: one reference, the caller's. */
void tarn_versions_rollout_begin(struct tarn_engine *engine, struct tarn_bundle *offered);
/** Goes on with it. */
void tarn_versions_rollout_look(struct tarn_engine *engine);
/** It ends here: `text` says why. */
void tarn_versions_rollout_stop(struct tarn_engine *engine, const char *text);

#endif
