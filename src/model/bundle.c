/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/steps.h"
#include "ensemble.h"

#define SHARES_SLACK 1e-3f /* rounding of shares that were stored or sent */

static tarn_status check_finite(const char *what, const float *values, size_t count,
                                struct tarn_error *error)
{
    for (size_t i = 0; values != NULL && i < count; i++)
        if (!isfinite(values[i]))
            return tarn_fail(error, TARN_INVALID, "model: %s %zu is %s", what, i,
                             isnan(values[i]) ? "not a number" : "infinite");
    return TARN_OK;
}

static tarn_status check_experts(const struct tarn_bundle_params *params, struct tarn_error *error)
{
    float sum = 0;
    if ((unsigned)params->scorer >= TARN_SCORERS)
        return tarn_fail(error, TARN_INVALID, "model: scorer %d is not known", (int)params->scorer);
    if (params->experts > TARN_BUNDLE_EXPERTS ||
        (params->scorer == TARN_SCORER_MIX) != (params->experts > 0))
        return tarn_fail(error, TARN_INVALID, "model: %u experts where %s decides",
                         (unsigned)params->experts,
                         params->scorer == TARN_SCORER_MIX ? "a mix" : "the network alone");
    for (uint32_t i = 0; i < params->experts; i++) {
        if (!(params->expert[i] >= 0 && params->expert[i] <= 1))
            return tarn_fail(error, TARN_INVALID, "model: the weight of expert %u is no share",
                             (unsigned)i);
        sum += params->expert[i];
    }
    if (params->experts > 0 && !(fabsf(sum - 1) <= SHARES_SLACK))
        return tarn_fail(error, TARN_INVALID, "model: the experts' weights add up to %g",
                         (double)sum);
    return TARN_OK;
}

static tarn_status check_held(const char *what, const struct tarn_bundle *held,
                              const struct tarn_shape *shape, struct tarn_error *error)
{
    if (held == NULL)
        return tarn_fail(error, TARN_INVALID, "model: %s is missing", what);
    if (memcmp(&held->model->shape, shape, sizeof *shape) != 0)
        return tarn_fail(error, TARN_INVALID, "model: %s is of another shape", what);
    return TARN_OK;
}

static tarn_status check_members(const struct tarn_bundle_params *params, struct tarn_error *error)
{
    float sum = 0;
    tarn_status status = TARN_OK;
    if ((unsigned)params->combine >= TARN_COMBINES || params->members > TARN_BUNDLE_MEMBERS)
        return tarn_fail(error, TARN_INVALID, "model: an ensemble of %u, combined by %d",
                         (unsigned)params->members, (int)params->combine);
    for (uint32_t i = 0; status == TARN_OK && i + 1 < params->members; i++) {
        status = check_held("a member", params->member[i], &params->shape, error);
        if (status == TARN_OK && params->member[i]->members > 1)
            status = tarn_fail(error, TARN_INVALID, "model: a member is an ensemble itself");
    }
    for (uint32_t i = 0; status == TARN_OK && i < TARN_BUNDLE_TAGS; i++)
        if (params->tagged[i] != NULL)
            status = check_held("a tag's network", params->tagged[i], &params->shape, error);
    if (status != TARN_OK || params->members < 2 || params->combine == TARN_COMBINE_ONE ||
        params->combine == TARN_COMBINE_CONFIDENT)
        return status;
    for (uint32_t i = 0; i < params->members; i++) {
        if (!(params->share[i] >= 0 && params->share[i] <= 1))
            return tarn_fail(error, TARN_INVALID, "model: the weight of member %u is no share",
                             (unsigned)i);
        sum += params->share[i];
    }
    if (!(fabsf(sum - 1) <= SHARES_SLACK))
        return tarn_fail(error, TARN_INVALID, "model: the members' weights add up to %g",
                         (double)sum);
    return TARN_OK;
}

static tarn_status check(const struct tarn_bundle_params *params, struct tarn_error *error)
{
    const struct tarn_shape *shape = &params->shape;
    if (!tarn_shape_is_valid(shape))
        return tarn_fail(error, TARN_INVALID, "model: a network of %u-%u-%u-%u can't be computed",
                         (unsigned)shape->inputs, (unsigned)shape->hidden1,
                         (unsigned)shape->hidden2, (unsigned)shape->outputs);
    if (!tarn_nested_is_valid(&params->nested, shape))
        return tarn_fail(error, TARN_INVALID, "model: its nested widths don't rise to %u",
                         (unsigned)shape->hidden1);
    if (params->thresholds > TARN_BUNDLE_THRESHOLDS)
        return tarn_fail(error, TARN_INVALID, "model: %u thresholds, %d at most",
                         (unsigned)params->thresholds, TARN_BUNDLE_THRESHOLDS);
    tarn_status status = check_experts(params, error);
    if (status == TARN_OK)
        status = check_finite("weight", params->weights, tarn_shape_weights(shape), error);
    if (status == TARN_OK)
        status = check_finite("threshold", params->threshold, params->thresholds, error);
    if (status == TARN_OK)
        status = check_finite("scale", params->scale, shape->inputs, error);
    if (status == TARN_OK)
        status = check_finite("offset", params->offset, shape->inputs, error);
    if (status == TARN_OK)
        status = check_members(params, error);
    return status;
}

/* Where something came from, and its version, are no part of what it is. */
static uint64_t own_hash_of(const struct tarn_bundle *b)
{
    const struct tarn_shape *shape = &b->model->shape;
    uint32_t shape_words[] = {shape->inputs,       shape->hidden1, shape->hidden2, shape->outputs,
                              (uint32_t)b->scorer, b->experts,     b->thresholds};
    uint64_t parts[] = {
        tarn_hash(shape_words, sizeof shape_words),
        tarn_hash(b->model->weights, tarn_shape_weights(shape) * sizeof(float)),
        tarn_hash(b->expert, sizeof b->expert),
        tarn_hash(b->threshold, sizeof b->threshold),
        tarn_hash(b->scale, shape->inputs * sizeof(float)),
        tarn_hash(b->offset, shape->inputs * sizeof(float)),
    };
    uint64_t hash = tarn_hash(parts, sizeof parts);
    if (b->members > 1) {
        uint64_t ensemble[TARN_BUNDLE_MEMBERS + 1] = {hash,
                                                      (uint64_t)b->combine << 32 | b->members};
        for (uint32_t i = 0; i + 1 < b->members; i++)
            ensemble[2 + i] = b->member[i]->hash;
        hash = tarn_hash(ensemble, sizeof ensemble) ^ tarn_hash(b->share, sizeof b->share);
    }
    if (tarn_nested_count(&b->model->nested) > 0 || b->model->nested.exits) {
        uint64_t elastic[] = {hash, tarn_hash(&b->model->nested, sizeof b->model->nested)};
        hash = tarn_hash(elastic, sizeof elastic);
    }
    return hash != 0 ? hash : 1;
}

static uint64_t hash_of(const struct tarn_bundle *b)
{
    uint64_t hash = b->own;
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        if (b->tagged[i] != NULL) {
            uint64_t tagged[] = {hash, i, b->tagged[i]->hash};
            hash = tarn_hash(tagged, sizeof tagged);
        }
    return hash != 0 ? hash : 1;
}

tarn_status tarn_bundle_create(const struct tarn_bundle_params *params, struct tarn_bundle **bundle,
                               struct tarn_error *error)
{
    *bundle = NULL;
    tarn_status status = check(params, error);
    if (status != TARN_OK)
        return status;
    struct tarn_bundle *b = tarn_alloc_zeroed(1, sizeof *b);
    if (b == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "model: out of memory");
    status = tarn_model_create(&params->shape, params->weights,
                               params->provenance != NULL ? params->provenance : "", &b->model);
    if (status != TARN_OK) {
        tarn_free(b);
        return tarn_fail(error, status, "model: %s", tarn_status_message(status));
    }
    b->model->nested = params->nested;
    b->scorer = params->scorer;
    b->experts = params->experts;
    b->thresholds = params->thresholds;
    memcpy(b->expert, params->expert, params->experts * sizeof(float));
    memcpy(b->threshold, params->threshold, params->thresholds * sizeof(float));
    for (uint32_t i = 0; i < params->shape.inputs; i++) {
        b->scale[i] = params->scale != NULL ? params->scale[i] : 1;
        b->offset[i] = params->offset != NULL ? params->offset[i] : 0;
    }
    b->combine = params->combine;
    b->members = params->members > 0 ? params->members : 1;
    memcpy(b->share, params->share, b->members * sizeof(float));
    for (uint32_t i = 0; i + 1 < b->members; i++)
        b->member[i] = tarn_bundle_hold(params->member[i]);
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        if (params->tagged[i] != NULL) {
            b->tagged[i] = tarn_bundle_hold(params->tagged[i]);
            b->tags |= 1u << i;
        }
    b->own = own_hash_of(b);
    b->hash = hash_of(b);
    atomic_init(&b->references, 1);
    *bundle = b;
    return TARN_OK;
}

struct tarn_bundle *tarn_bundle_hold(struct tarn_bundle *bundle)
{
    tarn_step_add(&bundle->references, 1u, memory_order_relaxed);
    return bundle;
}

void tarn_bundle_release(struct tarn_bundle **bundle)
{
    struct tarn_bundle *b = *bundle;
    *bundle = NULL;
    if (b == NULL || tarn_step_add(&b->references, -1u, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i + 1 < b->members; i++)
        tarn_bundle_release(&b->member[i]);
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        tarn_bundle_release(&b->tagged[i]);
    tarn_model_destroy(&b->model);
    tarn_free(b);
}

void tarn_bundle_score(const struct tarn_bundle *bundle, const struct tarn_bundle_batch *batch,
                       float *scores)
{
    if (batch->tags != NULL && bundle->tags != 0) {
        tarn_bundle_score_tagged(bundle, batch, scores);
        return;
    }
    tarn_ensemble_score(bundle, batch, scores);
}

size_t tarn_bundle_memory(const struct tarn_bundle *bundle)
{
    return sizeof *bundle + sizeof *bundle->model +
           tarn_shape_weights(&bundle->model->shape) * sizeof(float) +
           strlen(bundle->model->provenance) + 1;
}
