/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Sets of classes: what is done when the workload is steadily of another class than before.
 *
 * What was learnt in a class (the live weights, what training goes on from) is remembered when it ends. When it comes
 * back, that (or if it is new the general model), and its set's model as long as that hasn't been live, are
 * held against what is live, on held-out samples since the change; what is clearly better goes live, and is
 * watched as everything is. A set that isn't clearly better takes a rollout; its settings take effect with it. A
 * class is steady once some verdicts in a row name it with confidence, and stays for a while at least.
 *
 * Under the background's lock.
 */
#ifndef TARN_ENGINE_SETS_H
#define TARN_ENGINE_SETS_H

#include <tarn/engine.h>

#include "model/bundle.h"
#include "model/sets.h"
#include "tags.h"

struct tarn_class_memory {
    struct tarn_bundle *live;  /**< counted; what was live at its end; NULL: it wasn't there yet */
    struct tarn_learnt learnt; /**< and what training had reached */
    struct tarn_set_settings settings; /**< that were in effect */
    uint32_t set;                      /**< whose they are */
    char kept_name[TARN_SET_NAME]; /**< what a checkpoint said of that set, while there are none */
    uint64_t kept_set;
    bool kept_current;
};

struct tarn_class_sets {
    tarn_model_sets *sets; /**< NULL: none were given */
    uint32_t in_effect;    /**< the set whose settings are */
    struct tarn_set_settings settings;
    uint32_t masked; /**< inputs that the live network does without */

    tarn_workload_class current, named; /**< learning goes by `current`; verdicts say `named` */
    bool known;                         /**< there was a class */
    uint32_t in_a_row;
    uint64_t evaluations, looked_at, named_head, changed_at;
    bool
        undecided; /**< the class has come back, or is new, and what fits it hasn't been looked at */
    struct tarn_class_memory memory[TARN_WORKLOADS];
    uint64_t offered_hash; /**< of the bundle that is on its way for `offered_set` */
    uint32_t offered_set;
    uint64_t changes, returns;
};

tarn_status tarn_sets_init(struct tarn_engine *engine, struct tarn_error *error);
/** Once the cache and learning are there. */
void tarn_sets_start(struct tarn_engine *engine);
void tarn_sets_free(struct tarn_engine *engine);
/** The general set's model, or NULL. */
const tarn_model *tarn_sets_general(const struct tarn_engine *engine);
/** The experts' say before anything was seen. */
void tarn_sets_priors(const struct tarn_engine *engine, uint32_t experts, float *priors);
/** Inputs that a tag's network, or with 0 the general one, does without. */
uint32_t tarn_sets_masked(const struct tarn_engine *engine, uint32_t tag);
/** Each time that the background looks around, while no job is under way. */
void tarn_sets_look(struct tarn_engine *engine);
/** Another version than training made is live. */
void tarn_sets_changed(struct tarn_engine *engine);
/** What classes have reached, this one's included, for a checkpoint: writes up to TARN_WORKLOADS parts. */
uint32_t tarn_sets_parts(struct tarn_engine *engine, struct tarn_checkpoint_part *parts);
/** At the start: a class goes on from what a checkpoint has kept. Without memory it begins anew. */
void tarn_sets_restore(struct tarn_engine *engine, const struct tarn_checkpoint_part *part);
/** After these: the settings of the class that learning went by are in effect. Not under the cache's lock. */
void tarn_sets_resume(struct tarn_engine *engine);
/** Its part of the statistics. */
void tarn_sets_get_stats(const struct tarn_engine *engine, struct tarn_engine_stats *stats);
/** The set that a tag begins with, or NULL. */
const struct tarn_model_set *tarn_sets_of_tag(const struct tarn_engine *engine, uint32_t tag);

#endif
