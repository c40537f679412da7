/* SPDX-License-Identifier: Apache-2.0 */
/** @file A slot with one version in it, for what scores by whatever is live. */
#ifndef ONE_VERSION_H
#define ONE_VERSION_H

#include "deploy/slot.h"
#include "evict/mix.h"

struct one_version {
    tarn_slot *slot;
    struct tarn_slot_reader *reader;
    struct tarn_bundle *bundle; /* a reference of the test's own; it may write to the weights */
};

static inline struct tarn_bundle *bundle_of(const tarn_model *model)
{
    struct tarn_bundle *bundle = NULL;
    const struct tarn_bundle_params params = {
        .shape = model->shape,
        .weights = model->weights,
        .scorer = TARN_SCORER_MIX,
        .experts = TARN_EXPERTS,
        .expert = {0.5f, 0.5f / 3, 0.5f / 3, 0.5f / 3},
        .thresholds = 1,
        .threshold = {TARN_SAY_DEFAULT},
    };
    return tarn_bundle_create(&params, &bundle, NULL) == TARN_OK ? bundle : NULL;
}

/* Takes the test's reference. */
static inline bool version_open_with(struct one_version *v, struct tarn_bundle *bundle)
{
    static const struct tarn_change why = {.reason = TARN_REASON_START};
    *v = (struct one_version){.bundle = bundle};
    return v->bundle != NULL &&
           tarn_slot_create(&(struct tarn_slot_params){0}, tarn_bundle_hold(v->bundle), &why,
                            &v->slot, NULL) == TARN_OK &&
           tarn_slot_register(v->slot, &v->reader) == TARN_OK;
}

/* `model` NULL: the built-in one. */
static inline bool version_open(struct one_version *v, const tarn_model *model)
{
    tarn_model *built_in = NULL;
    *v = (struct one_version){0};
    if (model == NULL && tarn_model_load_default(&built_in, NULL) != TARN_OK)
        return false;
    struct tarn_bundle *bundle = bundle_of(model != NULL ? model : built_in);
    tarn_model_destroy(&built_in);
    return version_open_with(v, bundle);
}

static inline void version_close(struct one_version *v)
{
    tarn_slot_destroy(&v->slot);
    tarn_bundle_release(&v->bundle);
}

#endif
