/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The paired shadow test that chooses how networks decide together (--ensemble shadow): miniature caches of its
 * own, one by what is live, one by the same networks combined otherwise (src/deploy/contest.h). It begins with one
 * network alone; who wins is how the next version combines them. The watch over what is live has other miniature
 * caches and goes on beside it. All under the background's lock.
 */
#ifndef TARN_ENGINE_CONTEST_H
#define TARN_ENGINE_CONTEST_H

#include <tarn/engine.h>

#include "deploy/contest.h"
#include "evict/trial.h"

struct tarn_ensemble_contest {
    struct tarn_contest contest;
    struct tarn_trial trial;
    bool has_trial, unsupported;
    struct tarn_bundle *challenger; /**< counted; of what was live when it was made */
    uint64_t made_for;              /**< that version */
};

/** Each time that the background looks around. */
void tarn_ensemble_contest_look(struct tarn_engine *engine);
/** Another version than training made is live: how that one combines is the champion. */
void tarn_ensemble_contest_restart(struct tarn_engine *engine);
/** Before the cache goes. */
void tarn_ensemble_contest_stop(struct tarn_engine *engine);

#endif
