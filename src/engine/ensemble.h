/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Several networks in one decision (docs/ensembles.md). The engine's own network learns as ever and is the first
 * member; the others are the model that the engine began with, frozen, and perhaps more networks that learn: the
 * one trainer is theirs in turn. What training makes goes live as one version with the members and the
 * shares of that moment. Models from elsewhere go live alone, until training's next step.
 *
 * All under the background's lock.
 */
#ifndef TARN_ENGINE_ENSEMBLE_H
#define TARN_ENGINE_ENSEMBLE_H

#include <tarn/engine.h>

#include "deploy/gate.h"
#include "experts/ensemble.h"

#include "contest.h"

#define TARN_LEARNERS_MOST 3

/** A network that learns beside the engine's own. */
struct tarn_other {
    float *weights, *m, *v; /**< what it trains on from; one allocation */
    uint64_t steps;
    tarn_model_gate *gate;
    struct tarn_bundle *bundle; /**< what of it may go live: it passed its gate */
    uint32_t in_a_row;          /**< times that it was kept out */
};

struct tarn_ensemble {
    tarn_ensemble_kind kind; /**< that was asked for */
    tarn_ensemble_kind now;  /**< that the next version has */
    bool frozen;             /**< the model that the engine began with is a member */
    uint32_t others;         /**< networks that learn beside the engine's own */
    struct tarn_other other[TARN_LEARNERS_MOST - 1];
    float *kept[3]; /**< the engine's own weights and moments while another has the trainer */
    uint64_t kept_steps;
    uint32_t turn; /**< who has the trainer: 0 is the engine's own */
    uint64_t launches;
    struct tarn_shares shares;
    struct tarn_ensemble_contest contest; /**< of SHADOW */
};

/** After the versions are there, before the cache; with SINGLE it does nothing, as all of these do. */
tarn_status tarn_ensemble_init(struct tarn_engine *engine, struct tarn_error *error);
void tarn_ensemble_free(struct tarn_engine *engine);

/** How many of the other networks are experts of their own. */
uint32_t tarn_ensemble_experts(const struct tarn_engine *engine);
/** "network", "frozen", "second", ... */
const char *tarn_ensemble_member_name(const struct tarn_engine *engine, uint32_t member);

/** Gradient steps for each that one network alone would do. */
double tarn_ensemble_pace(const struct tarn_engine *engine);
/** Before a launch is staged: another may get the trainer. */
void tarn_ensemble_begin_turn(struct tarn_engine *engine);
/** A launch has ended: true if it was another's, and the trainer is the engine's own again. */
bool tarn_ensemble_end_turn(struct tarn_engine *engine);

/** Before a version is made of these weights: who was right lately. */
void tarn_ensemble_look(struct tarn_engine *engine, const float *weights);
/** The other members and the shares of this moment; where they would add nothing, nothing. */
void tarn_ensemble_add(const struct tarn_engine *engine, struct tarn_bundle_params *params);
/** What is live, combined in another way. TARN_NOT_FOUND: it is one network. */
tarn_status tarn_ensemble_variant(const struct tarn_engine *engine, tarn_ensemble_kind kind,
                                  struct tarn_bundle **bundle);
/** True if this is how it combines its members. */
bool tarn_ensemble_combines(const struct tarn_bundle *bundle, tarn_ensemble_kind kind);
/** What the history says of a version that combines otherwise than the one before; NULL: it doesn't. */
const char *tarn_ensemble_change(const struct tarn_engine *engine);
/** Another version than training made is live. */
void tarn_ensemble_restart(struct tarn_engine *engine);

/** Its part of the statistics. */
void tarn_ensemble_get_stats(const struct tarn_engine *engine, struct tarn_engine_stats *stats);

#endif
