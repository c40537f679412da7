/* SPDX-License-Identifier: Apache-2.0 */
#include "ensemble.h"

#include "kernels/members.h"

#define AT_ONCE (2 * TARN_LANES) /* samples: what the forward pass takes at a time */

_Static_assert((int)TARN_BUNDLE_MEMBERS <= TARN_MEMBERS_MOST, "all members fit");

const tarn_model *tarn_ensemble_model(const struct tarn_bundle *bundle, uint32_t member)
{
    return member == 0 ? bundle->model : bundle->member[member - 1]->model;
}

/* For each candidate the surest decides: shares say nothing there. */
static bool has_say(const struct tarn_bundle *bundle, uint32_t member)
{
    return bundle->combine == TARN_COMBINE_CONFIDENT ||
           bundle->share[member] >= TARN_ENSEMBLE_LEAST;
}

/* The members to be computed, `which` of them in order; at least one. */
static uint32_t choose(const struct tarn_bundle *bundle, uint32_t which[TARN_BUNDLE_MEMBERS])
{
    uint32_t count = 0;
    which[0] = 0;
    if (bundle->combine == TARN_COMBINE_ONE || bundle->members < 2)
        return 1;
    for (uint32_t i = 0; i < bundle->members; i++)
        if (has_say(bundle, i))
            which[count++] = i;
    return count > 0 ? count : 1;
}

uint32_t tarn_ensemble_computed(const struct tarn_bundle *bundle)
{
    uint32_t which[TARN_BUNDLE_MEMBERS];
    return choose(bundle, which);
}

const tarn_model *tarn_ensemble_sole(const struct tarn_bundle *bundle)
{
    uint32_t which[TARN_BUNDLE_MEMBERS];
    return choose(bundle, which) == 1 ? tarn_ensemble_model(bundle, which[0]) : NULL;
}

static tarn_members_how how_of(tarn_combine combine)
{
    switch (combine) {
    case TARN_COMBINE_LOGITS:
        return TARN_MEMBERS_LOGITS;
    case TARN_COMBINE_SURVIVAL:
        return TARN_MEMBERS_SURVIVAL;
    case TARN_COMBINE_CONFIDENT:
        return TARN_MEMBERS_CONFIDENT;
    case TARN_COMBINE_ONE:
    case TARN_COMBINE_SCORES:
    case TARN_COMBINES:
        break;
    }
    return TARN_MEMBERS_SCORES;
}

void tarn_ensemble_score_member(const struct tarn_bundle *bundle, uint32_t member,
                                const struct tarn_bundle_batch *batch, float *scores)
{
    tarn_model_score_slice(tarn_ensemble_model(bundle, member), batch->width, batch->exits,
                           batch->tiles, batch->count, scores);
}

void tarn_ensemble_score(const struct tarn_bundle *bundle, const struct tarn_bundle_batch *batch,
                         float *scores)
{
    _Alignas(64) float logits[TARN_BUNDLE_MEMBERS][TARN_MAX_BINS * AT_ONCE];
    const struct tarn_shape *shape = &bundle->model->shape;
    uint32_t which[TARN_BUNDLE_MEMBERS], count = choose(bundle, which);
    if (count == 1) {
        tarn_ensemble_score_member(bundle, which[0], batch, scores);
        return;
    }
    struct tarn_members members = {
        .how = how_of(bundle->combine),
        .members = count,
        .bins = shape->outputs,
    };
    for (uint32_t i = 0; i < count; i++) {
        members.logits[i] = logits[i];
        members.share[i] = bundle->combine == TARN_COMBINE_CONFIDENT ? 1 : bundle->share[which[i]];
    }
    for (uint32_t done = 0; done < batch->count; done += AT_ONCE) {
        uint32_t n = batch->count - done < AT_ONCE ? batch->count - done : AT_ONCE;
        const float *tiles = batch->tiles + (size_t)done * shape->inputs;
        for (uint32_t i = 0; i < count; i++) {
            const tarn_model *model = tarn_ensemble_model(bundle, which[i]);
            tarn_logits_slice_host(shape, tarn_model_slice(model, batch->width, batch->exits),
                                   model->weights, tiles, n, logits[i]);
        }
        tarn_members_host(&members, n, scores + done);
    }
}
