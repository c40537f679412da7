/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the members of a version's ensemble say of candidates, as one score (docs/ensembles.md). Who has how
 * much say is in the bundle; src/experts/ensemble.h finds that. Pure, any thread, no allocation (some
 * 40 KiB of stack).
 */
#ifndef TARN_MODEL_ENSEMBLE_H
#define TARN_MODEL_ENSEMBLE_H

#include "bundle.h"

/** A member with a smaller share isn't computed, and the others share its say. */
#define TARN_ENSEMBLE_LEAST 0.02f

/** A member's own network: 0 is the version's. */
const tarn_model *tarn_ensemble_model(const struct tarn_bundle *bundle, uint32_t member);
/** How many networks a score takes: 1 for a version without an ensemble. */
uint32_t tarn_ensemble_computed(const struct tarn_bundle *bundle);
/** The one that decides alone; NULL: several do. */
const tarn_model *tarn_ensemble_sole(const struct tarn_bundle *bundle);
/**
 * `scores` takes batch->count scores. A member that says something that isn't finite of a candidate is left out
 * of that one; where none is left, the score is a NaN. For combine ONE, or one member: tarn_model_score().
 */
void tarn_ensemble_score(const struct tarn_bundle *bundle, const struct tarn_bundle_batch *batch,
                         float *scores);
/** What one member says alone. */
void tarn_ensemble_score_member(const struct tarn_bundle *bundle, uint32_t member,
                                const struct tarn_bundle_batch *batch, float *scores);

#endif
