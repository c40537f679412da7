/* SPDX-License-Identifier: Apache-2.0 */
#include "sets.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "learning_private.h"

#define LOOK_EVERY 1024  /* requests */
#define SURE       0.6f  /* confidence of a verdict that counts */
#define IN_A_ROW   3     /* of which so many make a class steady */
#define LEAST_STAY 16384 /* requests of one class before another */
#define LEAST_SAMPLES                                                                              \
    2048            /* since the class was first named, before anything is compared on them */
#define CLEARLY 2.0 /* standard errors by which other weights have to be better */

tarn_status tarn_sets_init(struct tarn_engine *e, struct tarn_error *error)
{
    struct tarn_class_sets *s = &e->sets;
    tarn_set_defaults(&s->settings);
    if (e->params.sets == NULL)
        return TARN_OK;
    if (tarn_model_sets_count(e->params.sets) == 0)
        return tarn_fail(error, TARN_INVALID, "engine: there is no set");
    tarn_status status = tarn_model_sets_copy(e->params.sets, &s->sets);
    if (status == TARN_OK)
        s->settings = s->sets->set[0].settings;
    return status;
}

static void forget(struct tarn_class_memory *memory)
{
    tarn_bundle_release(&memory->live);
    tarn_learnt_free(&memory->learnt);
}

void tarn_sets_free(struct tarn_engine *e)
{
    for (int c = 0; c < TARN_WORKLOADS; c++)
        forget(&e->sets.memory[c]);
    tarn_model_sets_destroy(&e->sets.sets);
}

const tarn_model *tarn_sets_general(const struct tarn_engine *e)
{
    return e->sets.sets != NULL ? e->sets.sets->set[0].model : NULL;
}

void tarn_sets_priors(const struct tarn_engine *e, uint32_t experts, float *priors)
{
    float network = e->sets.settings.network;
    for (uint32_t k = 0; k < experts; k++)
        priors[k] = k == 0 ? network : (1 - network) / (float)(experts - 1);
}

/* ---- settings and masks ---- */

/* What the engine was told to do is the base, of which a set's settings are factors. */
static void use(struct tarn_engine *e, uint32_t set, const struct tarn_set_settings *settings)
{
    struct tarn_learning_params *p = &e->learner->params;
    e->sets.in_effect = set;
    e->sets.settings = *settings;
    if (e->sets.sets == NULL || p->in_place)
        return;
    p->rate = e->learning.rate * settings->rate;
    p->pace = e->learning.pace * settings->pace;
    p->replayed = settings->replayed;
    tarn_cache_lock(e->cache);
    tarn_learned_set_mix(e->learned, (double)settings->mix_rate, (double)settings->mix_half_life);
    tarn_cache_unlock(e->cache);
}

void tarn_sets_start(struct tarn_engine *e)
{
    e->sets.masked = tarn_net_masked(&e->shape, e->versions.live->model->weights);
    if (e->sets.sets != NULL)
        use(e, 0, &e->sets.sets->set[0].settings);
}

uint32_t tarn_sets_masked(const struct tarn_engine *e, uint32_t tag)
{
    if (tag == 0)
        return e->sets.masked;
    return tarn_net_masked(&e->shape, e->tags.tag[tag - 1].learnt.weights);
}

const struct tarn_model_set *tarn_sets_of_tag(const struct tarn_engine *e, uint32_t tag)
{
    const tarn_model_sets *sets = e->sets.sets;
    if (sets == NULL)
        return NULL;
    uint32_t i = tarn_model_sets_find(sets, e->tags.tag[tag - 1].name);
    return i > 0 && i < sets->count ? &sets->set[i] : NULL;
}

void tarn_sets_changed(struct tarn_engine *e)
{
    struct tarn_class_sets *s = &e->sets;
    const struct tarn_bundle *live = e->versions.live;
    s->masked = tarn_net_masked(&e->shape, live->model->weights);
    if (s->offered_hash != 0 && s->offered_hash == live->hash)
        use(e, s->offered_set, &s->sets->set[s->offered_set].settings);
    if (e->versions.phase == TARN_ROLLOUT_IDLE)
        s->offered_hash = 0;
}

/* ---- a class ends, another begins ---- */

static void remember(struct tarn_engine *e)
{
    struct tarn_class_sets *s = &e->sets;
    struct tarn_class_memory *memory = &s->memory[s->current];
    if (s->undecided) /* it was too short to have taught anything */
        return;
    if (!tarn_learnt_keep(e, &memory->learnt))
        return;
    tarn_bundle_release(&memory->live);
    memory->live = tarn_bundle_hold(e->versions.live);
    memory->settings = s->settings;
    memory->set = s->in_effect;
}

static uint32_t set_of_class(const struct tarn_class_sets *s, tarn_workload_class class)
{
    uint32_t i = s->sets != NULL ? tarn_model_sets_find(s->sets, tarn_workload_name(class)) : 0;
    return s->sets != NULL && i < s->sets->count ? i : 0;
}

/* The class's set takes the way of any model from elsewhere. */
static void offer(struct tarn_engine *e, uint32_t i)
{
    struct tarn_class_sets *s = &e->sets;
    const struct tarn_model_set *set = &s->sets->set[i];
    struct tarn_set_settings settings = s->settings;
    struct tarn_bundle *bundle = NULL;
    struct tarn_slot_stats slot;
    tarn_slot_get_stats(e->versions.slot, &slot);
    if (e->versions.phase != TARN_ROLLOUT_IDLE || slot.pinned != 0)
        return;
    s->settings = set->settings; /* the experts' say comes with it */
    tarn_status status = tarn_versions_make(e, set->model->weights, set->model, &bundle, NULL);
    s->settings = settings;
    struct tarn_change now = tarn_versions_change(e, TARN_REASON_IMPORTED, NULL);
    if (status != TARN_OK || tarn_slot_is_cooling(e->versions.slot, bundle->own, now.requests)) {
        tarn_bundle_release(&bundle);
        return;
    }
    s->offered_hash = bundle->hash;
    s->offered_set = i;
    tarn_versions_rollout_begin(e, bundle);
}

static void change_to(struct tarn_engine *e, tarn_workload_class class)
{
    struct tarn_class_sets *s = &e->sets;
    tarn_log(TARN_LOG_INFO, "engine: the workload is of class %s now", tarn_workload_name(class));
    if (s->offered_hash != 0 && e->versions.phase != TARN_ROLLOUT_IDLE)
        tarn_versions_rollout_stop(e, "the workload is of another class now");
    s->offered_hash = 0;
    if (s->known)
        remember(e);
    s->changes += s->known;
    s->changed_at = e->seen;
    s->current = class;
    s->known = s->undecided = true;
}

/* The model that fits the class clearly better than what is live; NULL: none does. */
static const tarn_model *choose(struct tarn_engine *e, uint32_t newest, const tarn_model *set)
{
    struct tarn_learner *l = e->learner;
    const struct tarn_class_memory *memory = &e->sets.memory[e->sets.current];
    const tarn_model *best = e->versions.live->model;
    const tarn_model *others[] = {
        memory->live != NULL ? memory->live->model : e->versions.anchor->model, set};
    tarn_adapt_look_at_held_out(e, newest);
    for (int i = 0; i < 2 && others[i] != NULL; i++) {
        struct tarn_heldout_result r =
            tarn_heldout_compare(&l->heldout, &l->shape, others[i]->weights, best->weights);
        if (r.finite && r.n >= TARN_HELDOUT_LEAST && r.mean < -CLEARLY * r.sd / sqrt(r.n))
            best = others[i];
    }
    return best != e->versions.live->model ? best : NULL;
}

static bool go_to(struct tarn_engine *e, const tarn_model *to)
{
    struct tarn_class_sets *s = &e->sets;
    struct tarn_class_memory *memory = &s->memory[s->current];
    struct tarn_versions *v = &e->versions;
    struct tarn_change why =
        tarn_versions_change(e, TARN_REASON_RESTART, tarn_workload_name(s->current));
    struct tarn_bundle *bundle = NULL;
    tarn_status status = tarn_versions_make(e, to->weights, to, &bundle, NULL);
    if (status == TARN_OK)
        status = tarn_slot_swap(v->slot, bundle, v->live->version, &why, NULL, NULL);
    if (status != TARN_OK) {
        tarn_bundle_release(&bundle);
        return false;
    }
    bool own = memory->live != NULL && to == memory->live->model;
    tarn_versions_changed(e, TARN_VERSION_BROUGHT);
    if (own)
        tarn_learnt_put_back(e, &memory->learnt);
    s->returns += own;
    return true;
}

/* Once there are samples of the class: what it has learnt earlier, or the general model, if that is better. */
static void decide(struct tarn_engine *e)
{
    struct tarn_class_sets *s = &e->sets;
    struct tarn_class_memory *memory = &s->memory[s->current];
    uint64_t fresh = e->learner->head - s->named_head;
    if (e->learner->head < s->named_head)
        s->named_head = e->learner->head; /* the ring was emptied */
    else if (fresh >= LEAST_SAMPLES) {
        uint32_t set = set_of_class(s, s->current);
        s->undecided = false;
        if (memory->live != NULL)
            use(e, memory->set, &memory->settings);
        else if (s->sets != NULL)
            use(e, 0, &s->sets->set[0].settings);
        bool fresh_set = set != 0 && (memory->live == NULL || memory->set != set);
        const tarn_model *its = fresh_set ? s->sets->set[set].model : NULL;
        const tarn_model *better = choose(e, (uint32_t)fresh, its);
        const struct tarn_set_settings before = s->settings;
        uint32_t in_effect = s->in_effect;
        if (better != NULL && better == its)
            use(e, set, &s->sets->set[set].settings); /* first: the experts' say comes with it */
        if (better != NULL && !go_to(e, better))
            use(e, in_effect, &before);
        if (fresh_set && better != its)
            offer(e, set);
    }
}

/* A verdict: the same class with confidence, time and again. */
static void hear(struct tarn_engine *e, const struct tarn_workload_verdict *now)
{
    struct tarn_class_sets *s = &e->sets;
    if (now->confidence < SURE) {
        s->in_a_row = 0;
        return;
    }
    if (s->in_a_row == 0 || now->top != s->named) {
        s->named = now->top;
        s->in_a_row = 0;
        s->named_head = s->undecided ? s->named_head : e->learner->head;
    }
    s->in_a_row++;
    if (s->in_a_row >= IN_A_ROW && (!s->known || s->named != s->current) &&
        (!s->known || e->seen - s->changed_at >= LEAST_STAY))
        change_to(e, s->named);
}

void tarn_sets_look(struct tarn_engine *e)
{
    struct tarn_class_sets *s = &e->sets;
    struct tarn_workload_report report;
    if (s->sets == NULL || e->params.no_learn || e->learner->params.no_classes ||
        e->learner->params.in_place || e->workload == NULL || e->seen - s->looked_at < LOOK_EVERY)
        return;
    s->looked_at = e->seen;
    tarn_cache_lock(e->cache);
    tarn_workload_get_report(e->workload, &report);
    tarn_cache_unlock(e->cache);
    if (report.evaluations != s->evaluations)
        hear(e, &report.now);
    s->evaluations = report.evaluations;
    if (s->undecided)
        decide(e);
}

/* ---- kept ---- */

static uint64_t hash_of_set(const struct tarn_class_sets *s, uint32_t i)
{
    struct tarn_model_info info;
    tarn_model_get_info(s->sets->set[i].model, &info);
    return info.hash;
}

uint32_t tarn_sets_parts(struct tarn_engine *e, struct tarn_checkpoint_part *parts)
{
    struct tarn_class_sets *s = &e->sets;
    uint32_t count = 0;
    if (s->known && s->sets != NULL)
        remember(e);
    for (uint32_t c = 0; c < TARN_WORKLOADS; c++) {
        const struct tarn_class_memory *memory = &s->memory[c];
        const struct tarn_learnt *l = &memory->learnt;
        if (memory->live == NULL || !tarn_learnt_is_sound(e, l))
            continue;
        struct tarn_checkpoint_part *part = &parts[count++];
        *part = (struct tarn_checkpoint_part){
            .is_class = true,
            .current =
                s->sets != NULL ? s->known && c == (uint32_t)s->current : memory->kept_current,
            .number = c,
            .rate = 1,
            .state = {l->weights, l->m, l->v, l->steps},
            .live = memory->live->model->weights,
            .nested = memory->live->model->nested,
            .set = s->sets != NULL ? hash_of_set(s, memory->set) : memory->kept_set,
        };
        memcpy(part->name, s->sets != NULL ? s->sets->set[memory->set].name : memory->kept_name,
               sizeof part->name);
    }
    return count;
}

/* Its set may not be there any more, or have been searched for anew: then it is as if it had had none. */
static bool find_set(const struct tarn_class_sets *s, const struct tarn_checkpoint_part *part,
                     uint32_t *set)
{
    *set = tarn_model_sets_find(s->sets, part->name);
    if (*set < s->sets->count && hash_of_set(s, *set) == part->set)
        return true;
    *set = 0;
    return false;
}

void tarn_sets_restore(struct tarn_engine *e, const struct tarn_checkpoint_part *part)
{
    struct tarn_class_sets *s = &e->sets;
    if (part->number >= TARN_WORKLOADS)
        return;
    struct tarn_class_memory *memory = &s->memory[part->number];
    tarn_model like = *e->versions.anchor->model;
    like.nested = part->nested;
    if (!tarn_learnt_set(e, &memory->learnt, &part->state) ||
        tarn_versions_make_plain(e, part->live, &like, &memory->live, NULL) != TARN_OK) {
        tarn_log(TARN_LOG_WARNING, "engine: class %s begins anew: out of memory",
                 tarn_workload_name((tarn_workload_class)part->number));
        return;
    }
    if (s->sets == NULL) { /* kept for a start with sets */
        memcpy(memory->kept_name, part->name, sizeof memory->kept_name);
        memory->kept_set = part->set;
        memory->kept_current = part->current;
        tarn_set_defaults(&memory->settings);
        return;
    }
    bool same = find_set(s, part, &memory->set);
    memory->settings = s->sets->set[memory->set].settings;
    if (!part->current)
        return;
    s->known = true;
    s->undecided = !same; /* what is there for it now is tried as for a class that comes back */
    s->current = (tarn_workload_class)part->number;
    s->changed_at = e->seen - LEAST_STAY; /* it may be another one by now */
}

void tarn_sets_resume(struct tarn_engine *e)
{
    const struct tarn_class_sets *s = &e->sets;
    const struct tarn_class_memory *memory = &s->memory[s->current];
    if (s->known && !e->learner->params.no_classes)
        use(e, memory->set, &memory->settings);
}

void tarn_sets_get_stats(const struct tarn_engine *e, struct tarn_engine_stats *stats)
{
    const struct tarn_class_sets *s = &e->sets;
    stats->set = s->sets != NULL ? s->sets->set[s->in_effect].name : NULL;
    stats->workload_class = s->known ? tarn_workload_name(s->current) : NULL;
    stats->class_changes = s->changes;
    stats->class_returns = s->returns;
}
