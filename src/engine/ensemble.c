/* SPDX-License-Identifier: Apache-2.0 */
#include "ensemble.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine_private.h"
#include "model/ensemble.h"

#define MOST_IN_A_ROW  8    /* times that one is kept out before it goes on from what passed */
#define PART_OF_RADIUS 0.9f /* how far into the trust region a shortened step ends */
#define ANCHOR_EVERY   4    /* tries of a gate */

static const char *const names[] = {
    [TARN_ENSEMBLE_SINGLE] = "single", [TARN_ENSEMBLE_MEAN] = "mean",
    [TARN_ENSEMBLE_SELECT] = "select", [TARN_ENSEMBLE_STACK] = "stack",
    [TARN_ENSEMBLE_BAYES] = "bayes",   [TARN_ENSEMBLE_HEDGE] = "hedge",
    [TARN_ENSEMBLE_SHADOW] = "shadow",
};

const char *tarn_ensemble_name(tarn_ensemble_kind kind)
{
    return (unsigned)kind < sizeof names / sizeof names[0] ? names[kind] : NULL;
}

static bool is_on(const struct tarn_engine *e)
{
    return e->ensemble.kind != TARN_ENSEMBLE_SINGLE;
}

static size_t weights_of(const struct tarn_engine *e)
{
    return tarn_shape_weights(&e->shape);
}

/* ---- beginning and end ---- */

static tarn_status make_other(struct tarn_engine *e, struct tarn_other *other)
{
    size_t count = weights_of(e);
    const struct tarn_bundle *first = e->versions.live;
    other->weights = tarn_alloc_zeroed(3 * count, sizeof *other->weights);
    if (other->weights == NULL)
        return TARN_NO_MEMORY;
    other->m = other->weights + count;
    other->v = other->m + count;
    memcpy(other->weights, first->model->weights, count * sizeof *other->weights);
    tarn_status status =
        tarn_versions_make_plain(e, first->model->weights, first->model, &other->bundle, NULL);
    if (status == TARN_OK)
        status = tarn_model_gate_create(
            &(struct tarn_model_gate_params){.anchor = e->versions.anchor->model,
                                             .anchor_every = ANCHOR_EVERY},
            &other->gate);
    return status;
}

tarn_status tarn_ensemble_init(struct tarn_engine *e, struct tarn_error *error)
{
    struct tarn_ensemble *s = &e->ensemble;
    if ((unsigned)e->params.ensemble >= sizeof names / sizeof names[0])
        return tarn_fail(error, TARN_INVALID, "engine: ensemble %d is not known",
                         (int)e->params.ensemble);
    /* what doesn't learn stays what it began with, and in place there are no versions to be members of */
    if (e->params.no_learn || e->learning.in_place)
        return TARN_OK;
    s->kind = s->now = e->params.ensemble;
    if (s->kind == TARN_ENSEMBLE_SHADOW)
        s->now = TARN_ENSEMBLE_SINGLE;
    s->frozen = e->learning.frozen;
    if (!is_on(e))
        return TARN_OK;
    uint32_t learners = e->learning.learners;
    s->others = learners < 1                    ? 0
                : learners > TARN_LEARNERS_MOST ? TARN_LEARNERS_MOST - 1
                                                : learners - 1;
    tarn_shares_init(&s->shares, 1 + s->frozen + s->others);
    tarn_status status = TARN_OK;
    for (uint32_t k = 0; status == TARN_OK && k < s->others; k++)
        status = make_other(e, &s->other[k]);
    for (uint32_t i = 0; status == TARN_OK && s->others > 0 && i < 3; i++)
        if ((s->kept[i] = tarn_alloc(weights_of(e) * sizeof **s->kept)) == NULL)
            status = TARN_NO_MEMORY;
    return status;
}

void tarn_ensemble_free(struct tarn_engine *e)
{
    struct tarn_ensemble *s = &e->ensemble;
    for (uint32_t k = 0; k < s->others; k++) {
        tarn_free(s->other[k].weights);
        tarn_bundle_release(&s->other[k].bundle);
        tarn_model_gate_destroy(&s->other[k].gate);
    }
    for (int i = 0; i < 3; i++)
        tarn_free(s->kept[i]);
    *s = (struct tarn_ensemble){0};
}

uint32_t tarn_ensemble_experts(const struct tarn_engine *e)
{
    bool hedge = e->ensemble.kind == TARN_ENSEMBLE_HEDGE && !e->params.no_shadows;
    return hedge ? e->ensemble.shares.members - 1 : 0;
}

/* ---- who has the trainer ---- */

double tarn_ensemble_pace(const struct tarn_engine *e)
{
    return 1 + e->ensemble.others * (double)e->learning.learners_pace;
}

void tarn_ensemble_begin_turn(struct tarn_engine *e)
{
    struct tarn_ensemble *s = &e->ensemble;
    struct tarn_trainer_state own;
    size_t size = weights_of(e) * sizeof(float);
    uint32_t turn = (uint32_t)(s->launches++ % (1 + s->others));
    if (turn == 0)
        return;
    const struct tarn_other *other = &s->other[turn - 1];
    tarn_trainer_get_state(e->trainer, &own);
    memcpy(s->kept[0], own.weights, size);
    memcpy(s->kept[1], own.m, size);
    memcpy(s->kept[2], own.v, size);
    s->kept_steps = own.steps;
    const struct tarn_trainer_state theirs = {other->weights, other->m, other->v, other->steps};
    if (tarn_trainer_set_state(e->trainer, &theirs) == TARN_OK)
        s->turn = turn;
}

/* A step whose weights are no numbers is undone: it goes on from what passed its gate, with no moments. */
static void start_over(struct tarn_engine *e, struct tarn_other *other)
{
    size_t count = weights_of(e);
    memcpy(other->weights, other->bundle->model->weights, count * sizeof *other->weights);
    memset(other->m, 0, 2 * count * sizeof *other->m);
    other->steps = 0;
    other->in_a_row = 0;
}

bool tarn_ensemble_end_turn(struct tarn_engine *e)
{
    struct tarn_ensemble *s = &e->ensemble;
    struct tarn_trainer_state state;
    size_t count = weights_of(e), size = count * sizeof(float);
    if (s->turn == 0)
        return false;
    struct tarn_other *other = &s->other[s->turn - 1];
    s->turn = 0;
    tarn_trainer_get_state(e->trainer, &state);
    if (e->restart) {
        /* what it was made of has been left: it has other weights already */
    } else if (tarn_net_is_finite(state.weights, count)) {
        memcpy(other->weights, state.weights, size);
        memcpy(other->m, state.m, size);
        memcpy(other->v, state.v, size);
        other->steps = state.steps;
    } else {
        start_over(e, other);
    }
    const struct tarn_trainer_state own = {s->kept[0], s->kept[1], s->kept[2], s->kept_steps};
    tarn_trainer_set_state(e->trainer, &own);
    return true;
}

/* ---- what goes live ---- */

/* What passes its own gate, against what of it passed before, may go live with the next version. */
static void ask(struct tarn_engine *e, struct tarn_other *other)
{
    struct tarn_gate_report report;
    const tarn_model *from = other->bundle->model;
    struct tarn_held_out_draw draw = {.engine = e};
    float *shortened = e->ensemble.kept[0]; /* nobody has the trainer at this moment */
    const float *weights = other->weights;
    tarn_gate_answer answer =
        tarn_model_gate_try(other->gate, from, weights, tarn_versions_draw, &draw, &report);
    if (answer == TARN_GATE_FAR) {
        float part = PART_OF_RADIUS * tarn_model_gate_reach(other->gate, &report);
        for (size_t i = 0; i < weights_of(e); i++)
            shortened[i] = from->weights[i] + part * (weights[i] - from->weights[i]);
        weights = shortened;
        answer =
            tarn_model_gate_try(other->gate, from, weights, tarn_versions_draw, &draw, &report);
    }
    struct tarn_bundle *bundle = NULL;
    if (answer == TARN_GATE_PASS &&
        tarn_versions_make_plain(e, weights, from, &bundle, NULL) == TARN_OK) {
        tarn_bundle_release(&other->bundle);
        other->bundle = bundle;
        other->in_a_row = 0;
    } else if (report.samples >= TARN_GATE_LEAST && ++other->in_a_row >= MOST_IN_A_ROW) {
        start_over(e, other);
    }
}

void tarn_ensemble_look(struct tarn_engine *e, const float *weights)
{
    struct tarn_ensemble *s = &e->ensemble;
    struct tarn_gate_sample drawn[TARN_SHARES_ONCE];
    struct tarn_shares_sample samples[TARN_SHARES_ONCE];
    const float *of[TARN_BUNDLE_MEMBERS];
    uint32_t members = 0;
    if (!is_on(e))
        return;
    for (uint32_t k = 0; k < s->others; k++)
        ask(e, &s->other[k]);
    of[members++] = weights;
    if (s->frozen)
        of[members++] = e->versions.anchor->model->weights;
    for (uint32_t k = 0; k < s->others; k++)
        of[members++] = s->other[k].bundle->model->weights;
    uint32_t count =
        tarn_versions_draw(&(struct tarn_held_out_draw){.engine = e}, drawn, TARN_SHARES_ONCE);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(samples[i].features, drawn[i].features, sizeof samples[i].features);
        samples[i].label = drawn[i].at_risk | (uint32_t)(drawn[i].event + 1) << 8;
    }
    tarn_shares_feed(&s->shares, &e->shape, of, samples, count);
}

/* What the network has to say before anything was seen is the members' in equal parts. */
static void split_say(struct tarn_bundle_params *params)
{
    if (params->scorer != TARN_SCORER_MIX)
        return;
    float each = params->expert[0] / (float)params->members;
    params->expert[0] = each;
    for (uint32_t k = 1; k < params->members; k++)
        params->expert[params->experts++] = each;
}

static const tarn_combine combines[] = {
    [TARN_ENSEMBLE_SINGLE] = TARN_COMBINE_ONE,       [TARN_ENSEMBLE_MEAN] = TARN_COMBINE_SCORES,
    [TARN_ENSEMBLE_SELECT] = TARN_COMBINE_CONFIDENT, [TARN_ENSEMBLE_STACK] = TARN_COMBINE_LOGITS,
    [TARN_ENSEMBLE_BAYES] = TARN_COMBINE_SURVIVAL,   [TARN_ENSEMBLE_HEDGE] = TARN_COMBINE_ONE,
    [TARN_ENSEMBLE_SHADOW] = TARN_COMBINE_ONE,
};

bool tarn_ensemble_combines(const struct tarn_bundle *bundle, tarn_ensemble_kind kind)
{
    return bundle->combine == combines[kind];
}

static void set_shares(const struct tarn_ensemble *s, tarn_ensemble_kind kind,
                       struct tarn_bundle_params *params)
{
    params->combine = combines[kind];
    switch (kind) {
    case TARN_ENSEMBLE_SINGLE:
    case TARN_ENSEMBLE_MEAN:
    case TARN_ENSEMBLE_SELECT:
    case TARN_ENSEMBLE_SHADOW:
        tarn_shares_equal(&s->shares, params->share);
        break;
    case TARN_ENSEMBLE_STACK:
        tarn_shares_stacked(&s->shares, params->share);
        break;
    case TARN_ENSEMBLE_BAYES:
        tarn_shares_bayes(&s->shares, params->share);
        break;
    case TARN_ENSEMBLE_HEDGE:
        tarn_shares_equal(&s->shares, params->share);
        split_say(params);
        break;
    }
}

tarn_status tarn_ensemble_variant(const struct tarn_engine *e, tarn_ensemble_kind kind,
                                  struct tarn_bundle **bundle)
{
    const struct tarn_bundle *live = e->versions.live;
    struct tarn_bundle_params params;
    *bundle = NULL;
    if (live->members < 2 || live->members != e->ensemble.shares.members)
        return TARN_NOT_FOUND;
    tarn_versions_params(e, live->model->weights, live->model, &params);
    memcpy(params.tagged, live->tagged, sizeof params.tagged);
    params.members = live->members;
    for (uint32_t k = 0; k + 1 < live->members; k++)
        params.member[k] = live->member[k];
    set_shares(&e->ensemble, kind, &params);
    return tarn_bundle_create(&params, bundle, NULL);
}

const char *tarn_ensemble_change(const struct tarn_engine *e)
{
    static const char *const texts[] = {
        "networks decide: one alone",          "networks decide: mean of scores",
        "networks decide: the surest",         "networks decide: stacking",
        "networks decide: Bayesian averaging",
    };
    const struct tarn_ensemble *s = &e->ensemble;
    if (s->kind != TARN_ENSEMBLE_SHADOW || tarn_ensemble_combines(e->versions.live, s->now))
        return NULL;
    return texts[s->now];
}

void tarn_ensemble_add(const struct tarn_engine *e, struct tarn_bundle_params *params)
{
    const struct tarn_ensemble *s = &e->ensemble;
    struct tarn_bundle *anchor = e->versions.anchor;
    size_t size = weights_of(e) * sizeof *params->weights;
    bool is_anchor = memcmp(params->weights, anchor->model->weights, size) == 0;
    if (!is_on(e) || is_anchor || s->shares.members < 2)
        return;
    params->members = 1;
    if (s->frozen)
        params->member[params->members++ - 1] = anchor;
    for (uint32_t k = 0; k < s->others; k++)
        params->member[params->members++ - 1] = s->other[k].bundle;
    set_shares(s, s->now, params);
}

/* The others go on from what of them is live; from a model that came alone the engine's own does. */
void tarn_ensemble_restart(struct tarn_engine *e)
{
    struct tarn_ensemble *s = &e->ensemble;
    const struct tarn_bundle *live = e->versions.live;
    uint32_t first = 1 + s->frozen;
    tarn_ensemble_contest_restart(e);
    if (live->members != first + s->others)
        return;
    for (uint32_t k = 0; k < s->others; k++) {
        struct tarn_other *other = &s->other[k];
        struct tarn_bundle *member = tarn_bundle_hold(live->member[first + k - 1]);
        tarn_bundle_release(&other->bundle);
        other->bundle = member;
        memcpy(other->weights, member->model->weights, weights_of(e) * sizeof *other->weights);
    }
}

/* ---- looking ---- */

const char *tarn_ensemble_member_name(const struct tarn_engine *e, uint32_t member)
{
    static const char *const others[] = {"second", "third", "fourth"};
    if (member == 0)
        return "network";
    return e->ensemble.frozen ? (member == 1 ? "frozen" : others[member - 2]) : others[member - 1];
}

/* Of the networks among the experts. */
static float hedged(const struct tarn_engine *e, uint32_t members, uint32_t member)
{
    const float *weight = e->learned->live.weight;
    float sum = weight[0];
    for (uint32_t k = 1; k < members; k++)
        sum += weight[TARN_EXPERTS + k - 1];
    float own = member == 0 ? weight[0] : weight[TARN_EXPERTS + member - 1];
    return sum > 0 ? own / sum : 0;
}

static float share_of(const struct tarn_engine *e, uint32_t member)
{
    const struct tarn_bundle *live = e->versions.live;
    if (live->combine == TARN_COMBINE_CONFIDENT)
        return NAN;
    if (live->combine != TARN_COMBINE_ONE)
        return live->share[member];
    return tarn_ensemble_experts(e) > 0 ? hedged(e, live->members, member) : (float)(member == 0);
}

static tarn_ensemble_kind kind_of(const struct tarn_bundle *bundle)
{
    for (int k = TARN_ENSEMBLE_MEAN; k <= TARN_ENSEMBLE_BAYES; k++)
        if (bundle->members > 1 && tarn_ensemble_combines(bundle, (tarn_ensemble_kind)k))
            return (tarn_ensemble_kind)k;
    return TARN_ENSEMBLE_SINGLE;
}

/* Under the cache's lock too. */
void tarn_ensemble_get_stats(const struct tarn_engine *e, struct tarn_engine_stats *stats)
{
    const struct tarn_bundle *live = e->versions.live;
    const struct tarn_contest *contest = &e->ensemble.contest.contest;
    stats->ensemble = tarn_ensemble_name(e->ensemble.kind);
    stats->ensemble_now = tarn_ensemble_name(
        e->ensemble.kind == TARN_ENSEMBLE_HEDGE ? e->ensemble.kind : kind_of(live));
    stats->ensemble_tests = contest->challenges;
    stats->ensemble_changes = contest->won;
    stats->members = live->members;
    for (uint32_t k = 0; k < live->members && k < TARN_ENGINE_MEMBERS; k++) {
        stats->member[k] = tarn_ensemble_member_name(e, k);
        stats->member_share[k] = share_of(e, k);
    }
}
