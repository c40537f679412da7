/* SPDX-License-Identifier: Apache-2.0 */
#include "tags.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "learning_private.h"

#define STRIDE        6700417u /* a prime: it shares no factor with a smaller count */
#define MOST_IN_A_ROW 8        /* candidates kept out before a tag goes on from what is live */
#define LOOK_BACK     4        /* tries from one comparison with the general network to the next, */
#define BEHIND_ERRORS 3.0f     /* and by how many standard errors a tag may be behind it */
#define PART_OF_WAY   0.9f
#define SET_TRIES     8 /* looks at a set that was made for a tag */

void tarn_tags_init(struct tarn_engine *e)
{
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        e->tags.tag[i] = (struct tarn_tag){.loss = NAN, .rate = 1};
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        snprintf(e->tags.tag[i].name, TARN_TAG_NAME, "tag%u", (unsigned)i + 1);
}

void tarn_learnt_free(struct tarn_learnt *learnt)
{
    tarn_free(learnt->weights);
    *learnt = (struct tarn_learnt){0};
}

void tarn_tags_free(struct tarn_engine *e)
{
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        tarn_learnt_free(&e->tags.tag[i].learnt);
    tarn_learnt_free(&e->tags.general);
    tarn_model_gate_destroy(&e->tags.gate);
}

uint64_t tarn_tags_memory(const struct tarn_engine *e)
{
    const struct tarn_tags *t = &e->tags;
    uint64_t sum = t->general.weights != NULL;
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        sum += t->tag[i].learnt.weights != NULL;
    return sum * 3 * tarn_shape_weights(&e->shape) * sizeof(float);
}

/* ---- whose turn it is ---- */

static bool make_learnt(struct tarn_learnt *learnt, size_t count)
{
    if (learnt->weights != NULL)
        return true;
    learnt->weights = tarn_alloc_zeroed(3 * count, sizeof(float));
    if (learnt->weights == NULL)
        return false;
    learnt->m = learnt->weights + count;
    learnt->v = learnt->m + count;
    return true;
}

bool tarn_learnt_set(const struct tarn_engine *e, struct tarn_learnt *learnt,
                     const struct tarn_trainer_state *state)
{
    size_t count = tarn_shape_weights(&e->shape);
    if (!make_learnt(learnt, count))
        return false;
    memcpy(learnt->weights, state->weights, count * sizeof(float));
    memcpy(learnt->m, state->m, count * sizeof(float));
    memcpy(learnt->v, state->v, count * sizeof(float));
    learnt->steps = state->steps;
    return true;
}

bool tarn_learnt_keep(struct tarn_engine *e, struct tarn_learnt *learnt)
{
    struct tarn_trainer_state state;
    tarn_trainer_get_state(e->trainer, &state);
    return tarn_learnt_set(e, learnt, &state);
}

bool tarn_learnt_is_sound(const struct tarn_engine *e, const struct tarn_learnt *learnt)
{
    return learnt->weights != NULL &&
           tarn_net_is_finite(learnt->weights, 3 * tarn_shape_weights(&e->shape));
}

bool tarn_learnt_put_back(struct tarn_engine *e, const struct tarn_learnt *learnt)
{
    const struct tarn_trainer_state state = {learnt->weights, learnt->m, learnt->v, learnt->steps};
    return tarn_trainer_set_state(e->trainer, &state) == TARN_OK;
}

/* Room for what a tag learns, and what all of them need. */
static bool make_room(struct tarn_engine *e, struct tarn_tag *tag)
{
    size_t count = tarn_shape_weights(&e->shape);
    if (e->tags.general.weights == NULL && !make_learnt(&e->tags.general, count))
        return false;
    if (e->tags.gate == NULL &&
        tarn_model_gate_create(&(struct tarn_model_gate_params){0}, &e->tags.gate) != TARN_OK)
        return false;
    return make_learnt(&tag->learnt, count);
}

/* It begins with the network that has scored its objects so far. */
static bool begin(struct tarn_engine *e, uint32_t i)
{
    struct tarn_tag *tag = &e->tags.tag[i];
    if (!make_room(e, tag))
        return false;
    memcpy(tag->learnt.weights, tarn_bundle_of_tag(e->versions.live, i + 1)->model->weights,
           tarn_shape_weights(&e->shape) * sizeof(float));
    return true;
}

/* Each tag's part of a job, by the samples that have come since the last turn. */
static uint32_t give_credit(struct tarn_engine *e)
{
    uint64_t fresh[TARN_BUNDLE_TAGS] = {0}, all = 0;
    bool enough[TARN_BUNDLE_TAGS];
    uint32_t best = 0;
    tarn_cache_lock(e->cache);
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++) {
        struct tarn_tag *tag = &e->tags.tag[i];
        enough[i] = e->ring.held[i + 1] >= TARN_TAG_LEAST;
        fresh[i] = enough[i] ? e->ring.put[i + 1] - tag->put : 0;
        tag->put = e->ring.put[i + 1];
        all += fresh[i];
    }
    tarn_cache_unlock(e->cache);
    e->tags.used = false;
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++) {
        struct tarn_tag *tag = &e->tags.tag[i];
        tag->credit += all > 0 ? (double)fresh[i] / (double)all : 0;
        tag->credit = tag->credit > 2 || !enough[i] ? (enough[i] ? 2 : 0) : tag->credit;
        e->tags.used = e->tags.used || enough[i];
        if (enough[i] && tag->credit > 0 &&
            (best == 0 || tag->credit > e->tags.tag[best - 1].credit))
            best = i + 1;
    }
    return best;
}

uint32_t tarn_tags_next(struct tarn_engine *e)
{
    struct tarn_tags *t = &e->tags;
    t->turn = !t->turn;
    if (t->turn || e->learner->params.in_place || e->learner->params.no_tags)
        return 0;
    uint32_t best = give_credit(e);
    struct tarn_tag *tag = best > 0 ? &t->tag[best - 1] : NULL;
    if (tag == NULL || (tag->learnt.weights == NULL && !begin(e, best - 1)))
        return 0;
    tag->credit -= 1;
    tarn_learnt_keep(e, &t->general);
    if (!tarn_learnt_put_back(e, &tag->learnt))
        return 0;
    t->restart = false;
    return t->job = best;
}

void tarn_tags_give_up(struct tarn_engine *e)
{
    if (e->tags.job != 0)
        tarn_learnt_put_back(e, &e->tags.general);
    e->tags.job = 0;
}

bool tarn_tags_take(struct tarn_engine *e)
{
    struct tarn_tags *t = &e->tags;
    size_t count = tarn_shape_weights(&e->shape);
    if (t->job == 0)
        return false;
    struct tarn_tag *tag = &t->tag[t->job - 1];
    tag->jobs++;
    tag->loss = tarn_trainer_loss(e->trainer);
    if (!t->restart && tarn_net_is_finite(tarn_trainer_weights(e->trainer), count)) {
        tarn_learnt_keep(e, &tag->learnt);
        tag->unminted = true;
    }
    tarn_tags_give_up(e);
    return true;
}

/* ---- samples ---- */

bool tarn_tags_draw(struct tarn_engine *e, uint32_t tag, uint64_t now, uint32_t count,
                    int8_t (*features)[TARN_FEATURES], uint32_t *labels)
{
    const struct tarn_ring *ring = &e->ring;
    uint32_t held = ring->head < ring->size ? (uint32_t)ring->head : ring->size, found = 0;
    if (ring->held[tag] < count || held < TARN_RING_LEAST)
        return false;
    uint32_t at = tarn_rng_below(&e->rng, held);
    for (uint32_t i = 0; i < held && found < count; i++, at = (at + STRIDE) % held) {
        const struct tarn_sample *s = &ring->samples[at];
        if (s->tag != tag || (e->learner->params.keep_held_out && tarn_is_held_out(s->hash)))
            continue;
        memcpy(features[found], s->features, TARN_FEATURES);
        labels[found++] =
            tarn_net_label(&e->shape, tarn_sample_elapsed(s, now), !s->open && s->wanted);
    }
    return found == count;
}

/* ---- candidates ---- */

static tarn_gate_answer ask(struct tarn_engine *e, uint32_t i, const tarn_model *live,
                            const float *weights)
{
    struct tarn_held_out_draw draw = {e, i + 1};
    return tarn_model_gate_try(e->tags.gate, live, weights, tarn_versions_draw, &draw,
                               &e->tags.report);
}

static uint64_t hash_of(const struct tarn_model_set *set)
{
    struct tarn_model_info info;
    tarn_model_get_info(set->model, &info);
    return info.hash;
}

/* Another network for this tag, made as `like`; NULL: the general one. False without memory: it goes on learning. */
static bool put(struct tarn_engine *e, struct tarn_tag_changes *to, uint32_t i,
                const float *weights, const tarn_model *like)
{
    struct tarn_bundle *own = NULL;
    if (weights != NULL && tarn_versions_make_plain(e, weights, like, &own, NULL) != TARN_OK)
        return false;
    tarn_bundle_release(&to->tagged[i]);
    to->tagged[i] = own;
    to->tags |= 1u << i;
    size_t used = strlen(to->names);
    snprintf(to->names + used, sizeof to->names - used, used > 0 ? ", %s" : "%s",
             e->tags.tag[i].name);
    return true;
}

static void start_from(struct tarn_engine *e, struct tarn_learnt *learnt, const float *weights)
{
    size_t count = tarn_shape_weights(&e->shape);
    memset(learnt->m, 0, 2 * count * sizeof(float));
    memcpy(learnt->weights, weights, count * sizeof(float));
    learnt->steps = 0;
}

/* What a set was worth to the tag was seen, perhaps before the engine's last start. */
static bool is_done_with(struct tarn_tag *tag, const struct tarn_model_set *set)
{
    if (tag->set_tries == 0 && tag->done_with != 0) {
        bool same = tag->done_with == hash_of(set);
        tag->set_tries = same ? SET_TRIES : 0;
        tag->rate = same ? tag->rate : 1;
        tag->done_with = same ? tag->done_with : 0;
    }
    return tag->set_tries == SET_TRIES;
}

/* A set that was made for the tag is live at once if it is better than what scores its objects. */
static bool take_set(struct tarn_engine *e, struct tarn_tag_changes *to, uint32_t i)
{
    struct tarn_tag *tag = &e->tags.tag[i];
    const struct tarn_model_set *set = tarn_sets_of_tag(e, i + 1);
    const struct tarn_gate_report *r = &e->tags.report;
    if (set == NULL)
        tag->rate = 1;
    if (set == NULL || is_done_with(tag, set))
        return false;
    tag->set_tries++;
    if (tag->set_tries == SET_TRIES)
        tag->done_with = hash_of(set);
    ask(e, i, tarn_bundle_of_tag(e->versions.live, i + 1)->model, set->model->weights);
    if (r->samples < TARN_GATE_LEAST || !(r->difference < -r->error))
        return false;
    if (!put(e, to, i, set->model->weights, set->model))
        return false;
    to->set[i] = set;
    return true;
}

/* A network of its own that is clearly behind the general one is worse than none. */
static bool is_behind(struct tarn_engine *e, uint32_t i, const float *own)
{
    const struct tarn_gate_report *r = &e->tags.report;
    ask(e, i, e->versions.live->model, own);
    return r->samples >= TARN_GATE_LEAST && r->difference > BEHIND_ERRORS * r->error;
}

static void drop(struct tarn_engine *e, struct tarn_tag_changes *to, uint32_t i)
{
    struct tarn_tag *tag = &e->tags.tag[i];
    tarn_log(TARN_LOG_INFO, "engine: tag %u begins again with the general network", i + 1);
    tag->dropped++;
    start_from(e, &tag->learnt, e->versions.live->model->weights);
    put(e, to, i, NULL, NULL);
}

/* A candidate that is good but far: a part of the way, in place, for the trainer goes on from there. */
static bool shorten(struct tarn_engine *e, uint32_t i, const tarn_model *live, const float *weights)
{
    size_t count = tarn_shape_weights(&e->shape);
    float *part = e->versions.shortened_weights;
    float way = PART_OF_WAY * tarn_model_gate_reach(e->tags.gate, &e->tags.report);
    for (size_t k = 0; k < count; k++)
        part[k] = live->weights[k] + way * (weights[k] - live->weights[k]);
    return ask(e, i, live, part) == TARN_GATE_PASS;
}

static void mint(struct tarn_engine *e, struct tarn_tag_changes *to, uint32_t i)
{
    struct tarn_tag *tag = &e->tags.tag[i];
    const struct tarn_bundle *live = e->versions.live;
    const tarn_model *own = tarn_bundle_of_tag(live, i + 1)->model;
    tag->unminted = false;
    if (take_set(e, to, i))
        return;
    tag->minted++;
    if (own != live->model && ++tag->tries % LOOK_BACK == 0 && is_behind(e, i, own->weights)) {
        drop(e, to, i);
        return;
    }
    tarn_gate_answer answer = ask(e, i, own, tag->learnt.weights);
    if (answer == TARN_GATE_PASS) {
        tag->in_a_row = 0;
        put(e, to, i, tag->learnt.weights, own);
    } else if (answer == TARN_GATE_FAR && shorten(e, i, own, tag->learnt.weights)) {
        tag->in_a_row = 0;
        put(e, to, i, e->versions.shortened_weights, own);
    } else {
        tag->kept_out++;
        tag->in_a_row += e->tags.report.samples >= TARN_GATE_LEAST;
        if (tag->in_a_row >= MOST_IN_A_ROW) {
            tag->in_a_row = 0;
            start_from(e, &tag->learnt, own->weights);
        }
    }
}

static uint64_t now_of(struct tarn_engine *e, float *period)
{
    tarn_cache_lock(e->cache);
    uint64_t now = tarn_cache_now(e->cache);
    *period = e->learned->live.period;
    tarn_cache_unlock(e->cache);
    return now;
}

void tarn_tags_gather(struct tarn_engine *e, struct tarn_tag_changes *changes)
{
    float period;
    *changes = (struct tarn_tag_changes){0};
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        if (e->versions.live->tagged[i] != NULL)
            changes->tagged[i] = tarn_bundle_hold(e->versions.live->tagged[i]);
    e->tags.minted_at = now_of(e, &period);
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        if (e->tags.tag[i].unminted)
            mint(e, changes, i);
}

bool tarn_tags_swap(struct tarn_engine *e, const struct tarn_tag_changes *changes)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_bundle *bundle = NULL;
    const tarn_model *model = v->live->model;
    if (changes->tags == 0)
        return false;
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_TRAINED, changes->names);
    tarn_status status =
        tarn_versions_make_whole(e, model->weights, model, changes->tagged, &bundle, NULL);
    if (status == TARN_OK)
        status = tarn_slot_swap(v->slot, bundle, v->live->version, &why, NULL, NULL);
    if (status != TARN_OK) { /* pinned, perhaps */
        tarn_bundle_release(&bundle);
        return false;
    }
    uint32_t in_a_row = v->in_a_row; /* the general network's: it has made no step */
    tarn_versions_changed(e, TARN_VERSION_TRAINED);
    v->in_a_row = in_a_row;
    return true;
}

void tarn_tags_settle(struct tarn_engine *e, struct tarn_tag_changes *changes, bool live)
{
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++) {
        const struct tarn_model_set *set = changes->set[i];
        struct tarn_tag *tag = &e->tags.tag[i];
        tarn_bundle_release(&changes->tagged[i]);
        if (set == NULL || !live)
            continue; /* a set that didn't get in is asked about again */
        tag->set_tries = SET_TRIES;
        tag->done_with = hash_of(set);
        tag->rate = set->settings.rate;
        start_from(e, &tag->learnt, set->model->weights);
    }
}

void tarn_tags_mint(struct tarn_engine *e)
{
    uint64_t last = e->versions.minted_at;
    struct tarn_tag_changes changes;
    float period;
    bool any = false;
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        any = any || e->tags.tag[i].unminted;
    if (!any)
        return;
    uint64_t now = now_of(e, &period);
    last = last > e->tags.minted_at ? last : e->tags.minted_at;
    if (now - last < tarn_versions_mint_interval(e, period))
        return;
    tarn_tags_gather(e, &changes);
    tarn_tags_settle(e, &changes, tarn_tags_swap(e, &changes));
}

void tarn_tags_restart(struct tarn_engine *e)
{
    size_t bytes = tarn_shape_weights(&e->shape) * sizeof(float);
    e->tags.restart = true;
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++) {
        struct tarn_tag *tag = &e->tags.tag[i];
        if (tag->learnt.weights == NULL)
            continue;
        memcpy(tag->learnt.weights, tarn_bundle_of_tag(e->versions.live, i + 1)->model->weights,
               bytes);
        tag->unminted = false;
        tag->in_a_row = 0;
    }
}

/* ---- kept ---- */

uint32_t tarn_tags_parts(const struct tarn_engine *e, struct tarn_checkpoint_part *parts)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++) {
        const struct tarn_tag *tag = &e->tags.tag[i];
        const struct tarn_learnt *l = &tag->learnt;
        if (!tarn_learnt_is_sound(e, l))
            continue;
        struct tarn_checkpoint_part *part = &parts[count++];
        *part = (struct tarn_checkpoint_part){
            .number = i + 1,
            .rate = tag->rate,
            .set = tag->done_with,
            .state = {l->weights, l->m, l->v, l->steps},
        };
        memcpy(part->name, tag->name, sizeof part->name);
    }
    return count;
}

void tarn_tags_restore(struct tarn_engine *e, const struct tarn_checkpoint_part *part)
{
    struct tarn_tag *tag = &e->tags.tag[part->number - 1];
    if (!make_room(e, tag) || !tarn_learnt_set(e, &tag->learnt, &part->state)) {
        tarn_log(TARN_LOG_WARNING, "engine: tag %u begins anew: out of memory", part->number);
        return;
    }
    tag->rate = part->rate;
    tag->done_with = part->set;
    tag->put = e->ring.put[part->number]; /* those that came before have had their turns */
    memcpy(tag->name, part->name, sizeof tag->name);
}

/* ---- from outside ---- */

tarn_status tarn_engine_name_tag(tarn_engine *e, uint32_t tag, const char *name,
                                 struct tarn_error *error)
{
    if (tag < 1 || tag > TARN_BUNDLE_TAGS)
        return tarn_fail(error, TARN_INVALID, "engine: tags are 1 to %d", TARN_BUNDLE_TAGS);
    if (strlen(name) >= TARN_TAG_NAME)
        return tarn_fail(error, TARN_INVALID, "engine: a tag's name of more than %d bytes",
                         TARN_TAG_NAME - 1);
    pthread_mutex_lock(&e->background_lock);
    struct tarn_tag *t = &e->tags.tag[tag - 1];
    if (strcmp(t->name, name) != 0) { /* another set is meant */
        t->set_tries = 0;
        t->done_with = 0;
    }
    snprintf(t->name, TARN_TAG_NAME, "%s", name);
    pthread_mutex_unlock(&e->background_lock);
    return TARN_OK;
}

void tarn_engine_get_tag(tarn_engine *e, uint32_t tag, struct tarn_tag_stats *stats)
{
    *stats = (struct tarn_tag_stats){0};
    if (tag < 1 || tag > TARN_BUNDLE_TAGS)
        return;
    pthread_mutex_lock(&e->background_lock);
    const struct tarn_tag *t = &e->tags.tag[tag - 1];
    *stats = (struct tarn_tag_stats){
        .train_steps = t->jobs * TARN_TRAIN_STEPS,
        .loss = t->loss,
        .own = tarn_bundle_of_tag(e->versions.live, tag) != e->versions.live,
        .minted = t->minted,
        .kept_out = t->kept_out,
        .dropped = t->dropped,
    };
    memcpy(stats->name, t->name, sizeof stats->name);
    tarn_cache_lock(e->cache);
    stats->samples = e->ring.held[tag];
    tarn_cache_unlock(e->cache);
    pthread_mutex_unlock(&e->background_lock);
}
