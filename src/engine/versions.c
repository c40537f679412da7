/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which version is live. Training offers candidates, which the gate lets in or keeps out; callers bring
 * models and go back. Whatever the slot does, this file tells the device, the watch and training of it.
 */
#include "engine_private.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/sets.h"

#define HISTORY_RECORDS  256
#define ANCHOR_EVERY     4    /* tries */
#define MOST_IN_A_ROW    8    /* candidates kept out before training goes on from the live one */
#define GATE_PORTION     64   /* samples looked at in one hold of the cache's lock */
#define PART_OF_RADIUS   0.9f /* how far into the trust region a shortened step ends */
#define LEAST_MINT       1000 /* requests */
#define MOST_MINT        4096
#define MINT_SHARE       0.25f /* of T */
#define RETRY_NS         UINT64_C(10000000000)
#define MINT_AT_LEAST_NS UINT64_C(1800000000000)
#define KEEP_EVERY_NS    UINT64_C(600000000000) /* where only steps of training are new */

struct tarn_change tarn_versions_change(struct tarn_engine *e, tarn_reason reason, const char *text)
{
    struct timespec wall = {0};
    struct tarn_change change = {.reason = reason, .text = text};
    clock_gettime(CLOCK_REALTIME, &wall);
    change.unix_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000;
    change.requests = e->versions.requests_before;
    if (e->cache != NULL) {
        tarn_cache_lock(e->cache);
        change.requests += tarn_cache_now(e->cache);
        tarn_cache_unlock(e->cache);
    }
    return change;
}

void tarn_versions_params(const struct tarn_engine *e, const float *weights, const tarn_model *like,
                          struct tarn_bundle_params *params)
{
    *params = (struct tarn_bundle_params){
        .shape = e->shape,
        .weights = weights,
        .provenance = like->provenance,
        .nested = like->nested,
        .scorer = e->params.no_shadows ? TARN_SCORER_NETWORK : TARN_SCORER_MIX,
        .experts = e->params.no_shadows ? 0 : TARN_EXPERTS,
        .thresholds = 1,
        .threshold = {[TARN_THRESHOLD_SAY] = TARN_SAY_DEFAULT},
    };
    tarn_sets_priors(e, params->experts, params->expert);
}

tarn_status tarn_versions_make_plain(const struct tarn_engine *e, const float *weights,
                                     const tarn_model *like, struct tarn_bundle **bundle,
                                     struct tarn_error *error)
{
    struct tarn_bundle_params params;
    tarn_versions_params(e, weights, like, &params);
    return tarn_bundle_create(&params, bundle, error);
}

tarn_status tarn_versions_make(const struct tarn_engine *e, const float *weights,
                               const tarn_model *like, struct tarn_bundle **bundle,
                               struct tarn_error *error)
{
    const struct tarn_bundle *live = e->versions.live;
    struct tarn_bundle_params params;
    tarn_versions_params(e, weights, like, &params);
    if (live != NULL)
        memcpy(params.tagged, live->tagged, sizeof params.tagged);
    return tarn_bundle_create(&params, bundle, error);
}

tarn_status tarn_versions_make_whole(const struct tarn_engine *e, const float *weights,
                                     const tarn_model *like, struct tarn_bundle *const *tagged,
                                     struct tarn_bundle **bundle, struct tarn_error *error)
{
    struct tarn_bundle_params params;
    tarn_versions_params(e, weights, like, &params);
    memcpy(params.tagged, tagged, sizeof params.tagged);
    tarn_ensemble_add(e, &params);
    return tarn_bundle_create(&params, bundle, error);
}

/* ---- what is kept between starts ---- */

static bool path_of(const struct tarn_engine *e, const char *name, char path[PATH_MAX])
{
    int length = snprintf(path, PATH_MAX, "%s/%s", e->params.state_dir, name);
    return length > 0 && length < PATH_MAX;
}

static tarn_status open_history(struct tarn_engine *e, struct tarn_error *error)
{
    char path[PATH_MAX];
    struct tarn_history_params params = {.limit = HISTORY_RECORDS};
    if (e->params.state_dir != NULL) {
        if (mkdir(e->params.state_dir, 0777) != 0 && errno != EEXIST)
            return tarn_fail(error, TARN_IO, "%s: %s", e->params.state_dir, strerror(errno));
        if (!path_of(e, TARN_HISTORY_NAME, path))
            return tarn_fail(error, TARN_INVALID, "%s: the path is too long", e->params.state_dir);
        params.path = path;
    }
    tarn_status status = tarn_history_open(&params, &e->versions.history, error);
    if (status == TARN_OK)
        e->versions.requests_before = tarn_history_requests(e->versions.history);
    return status;
}

static bool has_failed(tarn_history *history, const struct tarn_bundle *bundle)
{
    struct tarn_history_record records[16]; /* the newest: what was live at the end is among them */
    size_t count = tarn_history_read(history, records, sizeof records / sizeof records[0]);
    for (size_t i = 0; i < count; i++)
        if (records[i].failed &&
            (records[i].hash == bundle->hash || records[i].hash == bundle->own))
            return true;
    return false;
}

/* A tag's network in a file of sets: by its number, for names are the caller's. */
static void name_of_tag(uint32_t i, char name[TARN_SET_NAME])
{
    snprintf(name, TARN_SET_NAME, "tag%u", (unsigned)i + 1);
}

static tarn_status make_kept(struct tarn_engine *e, const tarn_model_sets *kept,
                             struct tarn_bundle **bundle, struct tarn_error *error)
{
    const tarn_model *general = kept->set[0].model;
    struct tarn_bundle_params params;
    tarn_status status = TARN_OK;
    char name[TARN_SET_NAME];
    tarn_versions_params(e, general->weights, general, &params);
    for (uint32_t i = 0; status == TARN_OK && i < TARN_BUNDLE_TAGS; i++) {
        name_of_tag(i, name);
        uint32_t k = tarn_model_sets_find(kept, name);
        if (k == kept->count || e->learning.no_tags || e->learning.in_place)
            continue;
        const tarn_model *model = kept->set[k].model;
        status = tarn_versions_make_plain(e, model->weights, model, &params.tagged[i], error);
    }
    if (status == TARN_OK)
        status = tarn_bundle_create(&params, bundle, error);
    for (uint32_t i = 0; i < TARN_BUNDLE_TAGS; i++)
        tarn_bundle_release(&params.tagged[i]);
    return status;
}

/* What was live at the end of the last start goes before what the caller begins with, unless it failed. */
static struct tarn_bundle *load_live(struct tarn_engine *e)
{
    char path[PATH_MAX];
    struct tarn_error reason = {0};
    tarn_model_sets *kept = NULL;
    struct tarn_bundle *bundle = NULL;
    if (e->params.state_dir == NULL || !path_of(e, "live.model", path))
        return NULL;
    tarn_status status = tarn_model_sets_load(path, &kept, &reason);
    if (status == TARN_OK && memcmp(&kept->set[0].model->shape, &e->shape, sizeof e->shape) != 0)
        status = tarn_fail(&reason, TARN_UNSUPPORTED, "a network of another shape");
    if (status == TARN_OK)
        status = make_kept(e, kept, &bundle, &reason);
    if (status == TARN_OK && has_failed(e->versions.history, bundle)) {
        status = tarn_fail(&reason, TARN_COOLDOWN, "it was rolled back");
        tarn_bundle_release(&bundle);
    }
    tarn_model_sets_destroy(&kept);
    if (status != TARN_OK && status != TARN_NOT_FOUND)
        tarn_log(TARN_LOG_WARNING, "engine: %s isn't used: %s", path, reason.message);
    return bundle;
}

static tarn_status load_anchor(struct tarn_engine *e, const tarn_model *given,
                               struct tarn_error *error)
{
    tarn_model *model = NULL;
    given = given != NULL ? given : tarn_sets_general(e);
    tarn_status status =
        given != NULL ? tarn_model_copy(given, &model) : tarn_model_load_default(&model, error);
    if (status == TARN_OK && model->shape.inputs != TARN_FEATURES)
        status = tarn_fail(error, TARN_UNSUPPORTED, "engine: the model takes %u features, not %d",
                           model->shape.inputs, TARN_FEATURES);
    if (status == TARN_OK && e->sets.sets != NULL &&
        memcmp(&e->sets.sets->set[0].model->shape, &model->shape, sizeof model->shape) != 0)
        status = tarn_fail(error, TARN_INVALID,
                           "engine: the sets' networks are of another shape than the model");
    if (status == TARN_OK) {
        e->shape = model->shape;
        status = tarn_versions_make(e, model->weights, model, &e->versions.anchor, error);
    }
    tarn_model_destroy(&model);
    return status;
}

/* A model, or with networks of tags a file of sets. */
static tarn_status save_live(const struct tarn_bundle *live, const char *path,
                             struct tarn_error *error)
{
    struct tarn_set_settings settings;
    tarn_model_sets *sets = NULL;
    char name[TARN_SET_NAME];
    if (live->tags == 0)
        return tarn_model_save(live->model, path, error);
    tarn_set_defaults(&settings);
    tarn_status status = tarn_model_sets_create(&sets);
    if (status == TARN_OK)
        status = tarn_model_sets_add(sets, "general", live->model, &settings, error);
    for (uint32_t i = 0; status == TARN_OK && i < TARN_BUNDLE_TAGS; i++) {
        name_of_tag(i, name);
        if (live->tagged[i] != NULL)
            status = tarn_model_sets_add(sets, name, live->tagged[i]->model, &settings, error);
    }
    if (status == TARN_OK)
        status = tarn_model_sets_save(sets, path, error);
    tarn_model_sets_destroy(&sets);
    /* wide networks don't all fit into one file: then the general one is what is kept */
    return status == TARN_TOO_LARGE ? tarn_model_save(live->model, path, error) : status;
}

/* The model first: a history that says "rolled back" must not stand beside what was rolled back. */
static tarn_status write_state(struct tarn_engine *e, const struct tarn_bundle *live,
                               const struct tarn_bundle *failed, struct tarn_error *error)
{
    char path[PATH_MAX];
    tarn_status status = path_of(e, "live.model", path)
                             ? save_live(live, path, error)
                             : tarn_fail(error, TARN_INVALID, "the path is too long");
    if (status == TARN_OK)
        status = tarn_history_flush(e->versions.history, error);
    if (status == TARN_OK && failed != NULL)
        status = tarn_history_keep_model(e->versions.history, failed, error);
    return status;
}

/* Without the background's lock: the disk may take its time. */
void tarn_versions_keep(struct tarn_engine *e, bool now)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_error error = {0};
    if (e->params.state_dir == NULL || v->slot == NULL)
        return;
    pthread_mutex_lock(&e->background_lock);
    uint64_t time = tarn_clock_ns();
    bool due = now || (v->unflushed && time >= v->retry_ns) || time - v->flushed_ns > KEEP_EVERY_NS;
    struct tarn_bundle *live = NULL, *failed = NULL;
    if (due) {
        live = tarn_bundle_hold(v->live);
        failed = v->failed;
        v->failed = NULL;
        v->flushed_ns = time;
        v->unflushed = false;
    }
    pthread_mutex_unlock(&e->background_lock);
    if (!due)
        return;
    tarn_status status = write_state(e, live, failed, &error);
    pthread_mutex_lock(&e->background_lock);
    if (status != TARN_OK) { /* not lost: tried again soon */
        v->unflushed = true;
        v->retry_ns = time + RETRY_NS;
        if (v->failed == NULL) {
            v->failed = failed;
            failed = NULL;
        }
    }
    bool tell = status != TARN_OK && !v->complained;
    v->complained = status != TARN_OK;
    pthread_mutex_unlock(&e->background_lock);
    tarn_bundle_release(&failed);
    tarn_bundle_release(&live);
    if (tell)
        tarn_log(TARN_LOG_WARNING, "engine: what is live isn't kept: %s", error.message);
}

/* ---- made and freed ---- */

static tarn_status make_slot(struct tarn_engine *e, struct tarn_error *error)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_bundle *first = load_live(e);
    if (first == NULL)
        first = tarn_bundle_hold(v->anchor);
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_START, NULL);
    tarn_status status = tarn_slot_create(&(struct tarn_slot_params){.history = v->history}, first,
                                          &why, &v->slot, error);
    if (status != TARN_OK) {
        tarn_bundle_release(&first);
        return status;
    }
    tarn_slot_hold(v->slot, 0, &v->live);
    status = tarn_slot_register(v->slot, &v->reader);
    if (status == TARN_OK && e->params.background == TARN_BACKGROUND_THREAD)
        status = tarn_slot_register(v->slot, &v->later_reader);
    return status;
}

tarn_status tarn_versions_init(struct tarn_engine *e, const tarn_model *given,
                               struct tarn_error *error)
{
    struct tarn_versions *v = &e->versions;
    tarn_status status = open_history(e, error);
    if (status == TARN_OK)
        status = load_anchor(e, given, error);
    if (status == TARN_OK)
        status = make_slot(e, error);
    if (status == TARN_OK)
        status =
            tarn_model_gate_create(&(struct tarn_model_gate_params){.anchor = v->anchor->model,
                                                                    .anchor_every = ANCHOR_EVERY},
                                   &v->gate);
    if (status != TARN_OK)
        return status;
    v->shortened_weights = tarn_alloc(tarn_shape_weights(&e->shape) * sizeof(float));
    v->flushed_ns = v->minted_ns = tarn_clock_ns();
    return v->shortened_weights != NULL ? TARN_OK : TARN_NO_MEMORY;
}

void tarn_versions_stop(struct tarn_engine *e)
{
    if (e->cache != NULL && e->learned != NULL) {
        tarn_versions_rollout_stop(e, "the engine stops");
        tarn_versions_watch_stop(e);
        tarn_ensemble_contest_stop(e);
    }
    tarn_versions_keep(e, true);
}

void tarn_versions_free(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    if (v->slot != NULL) {
        tarn_slot_unregister(v->slot, &v->reader);
        tarn_slot_unregister(v->slot, &v->later_reader);
        tarn_slot_destroy(&v->slot);
    }
    tarn_bundle_release(&v->live);
    tarn_bundle_release(&v->anchor);
    tarn_bundle_release(&v->base);
    tarn_bundle_release(&v->suspect);
    tarn_bundle_release(&v->failed);
    tarn_bundle_release(&v->offered);
    tarn_model_gate_destroy(&v->gate);
    tarn_free(v->shortened_weights);
    tarn_history_close(&v->history);
}

/* ---- going live ---- */

void tarn_versions_changed(struct tarn_engine *e, enum tarn_version_change change)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_bundle *before = v->live;
    tarn_books_swap(e, change == TARN_VERSION_RETURNED);
    tarn_slot_hold(v->slot, 0, &v->live);
    v->in_a_row = 0;
    if (change != TARN_VERSION_TRAINED)
        v->unminted = false; /* training goes on from what is live */
    v->unflushed = v->unflushed || change != TARN_VERSION_TRAINED;
    if (change == TARN_VERSION_RETURNED)
        tarn_versions_watch_end(e);
    else if (!e->learning.in_place)
        tarn_versions_watch_begin(e, before);
    tarn_bundle_release(&before);
    if (change != TARN_VERSION_TRAINED) {
        tarn_sets_changed(e);
        tarn_tags_restart(e);
        tarn_ensemble_restart(e);
        tarn_learning_restart(e, true);
    }
}

/* True if it has gone live. `tags`: whose networks come with it; NULL: those that are live stay. */
static bool swap_trained(struct tarn_engine *e, const float *weights,
                         const struct tarn_tag_changes *tags)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_bundle *bundle = NULL;
    struct tarn_error error = {0};
    char text[sizeof tags->names + 8];
    const char *ensemble = tarn_ensemble_change(e);
    bool with = tags != NULL && tags->tags != 0;
    snprintf(text, sizeof text, "with %s", with ? tags->names : "");
    struct tarn_change why =
        tarn_versions_change(e, TARN_REASON_TRAINED, ensemble == NULL && with ? text : ensemble);
    if (!e->learning.in_place) {
        why.metrics = 3;
        why.metric[0] = (struct tarn_metric){TARN_METRIC_LOSS, v->report.loss};
        why.metric[1] = (struct tarn_metric){TARN_METRIC_PARENT_LOSS, v->report.loss_live};
        why.metric[2] = (struct tarn_metric){TARN_METRIC_DISTANCE, v->report.weights_l2};
    }
    tarn_status status = tarn_versions_make_whole(
        e, weights, v->live->model, with ? tags->tagged : v->live->tagged, &bundle, &error);
    if (status == TARN_OK)
        status = tarn_slot_swap(v->slot, bundle, v->live->version, &why, NULL, &error);
    if (status == TARN_OK) {
        tarn_versions_changed(e, TARN_VERSION_TRAINED);
        return true;
    }
    tarn_bundle_release(&bundle);
    if (status != TARN_BUSY && status != TARN_COOLDOWN)
        tarn_log(TARN_LOG_WARNING, "engine: a trained version isn't live: %s", error.message);
    return false;
}

/* ---- the gate ---- */

uint64_t tarn_versions_mint_interval(const struct tarn_engine *e, float period)
{
    if (e->params.mint_every > 0)
        return e->params.mint_every;
    float interval = period * MINT_SHARE;
    return interval < LEAST_MINT  ? LEAST_MINT
           : interval > MOST_MINT ? MOST_MINT
                                  : (uint64_t)interval;
}

/* The i-th of the newest samples, in an order that jumps about: without a round through it none comes twice. */
static uint64_t place_of(uint32_t i, uint32_t start, uint32_t count)
{
    const uint64_t stride = 6700417; /* a prime: it shares no factor with a smaller count */
    return (start + i * stride) % count;
}

uint32_t tarn_versions_draw(void *context, struct tarn_gate_sample *samples, uint32_t room)
{
    const struct tarn_held_out_draw *draw = context;
    struct tarn_engine *e = draw->engine;
    uint32_t found = 0, start = 0, count = 1;
    for (uint32_t i = 0; i < count && found < room;) {
        tarn_cache_lock(e->cache);
        tarn_evictor_settle(&e->learned->live);
        const struct tarn_ring *ring = &e->ring;
        uint64_t now = tarn_cache_now(e->cache), held = ring->head;
        held = held < ring->size ? held : ring->size;
        if (draw->tag == 0) /* one kind of several is worth a longer search */
            held = held < TARN_GATE_NEWEST ? held : TARN_GATE_NEWEST;
        if (i == 0) {
            count = (uint32_t)held;
            start = count > 0 ? tarn_rng_below(&e->rng, count) : 0;
        }
        for (uint32_t k = 0; k < GATE_PORTION && i < count && found < room; k++, i++) {
            uint64_t place = ring->head - 1 - place_of(i, start, count);
            const struct tarn_sample *s = &ring->samples[place & (ring->size - 1)];
            if (place >= ring->head || !tarn_model_gate_holds_out(s->hash) ||
                (draw->tag != 0 && s->tag != draw->tag))
                continue;
            uint32_t label =
                tarn_net_label(&e->shape, tarn_sample_elapsed(s, now), !s->open && s->wanted);
            struct tarn_gate_sample *to = &samples[found++];
            memcpy(to->features, s->features, sizeof to->features);
            to->at_risk = (uint8_t)(label & 0xff);
            to->event = (int8_t)((int)(label >> 8) - 1);
        }
        tarn_cache_unlock(e->cache);
    }
    return found;
}

static tarn_gate_answer ask(struct tarn_engine *e, const float *weights,
                            struct tarn_gate_report *report)
{
    struct tarn_held_out_draw draw = {.engine = e};
    return tarn_model_gate_try(e->versions.gate, e->versions.live->model, weights,
                               tarn_versions_draw, &draw, report);
}

tarn_gate_answer tarn_versions_try(tarn_engine *e, const float *weights,
                                   struct tarn_gate_report *report)
{
    pthread_mutex_lock(&e->background_lock);
    tarn_gate_answer answer = ask(e, weights, report);
    pthread_mutex_unlock(&e->background_lock);
    return answer;
}

/* A candidate that is good but far: as far towards it as the gate trusts, if that is good too. */
static bool shorten(struct tarn_engine *e, const float *weights)
{
    struct tarn_versions *v = &e->versions;
    const float *from = v->live->model->weights;
    size_t count = tarn_shape_weights(&e->shape);
    float part = PART_OF_RADIUS * tarn_model_gate_reach(v->gate, &v->report);
    for (size_t i = 0; i < count; i++)
        v->shortened_weights[i] = from[i] + part * (weights[i] - from[i]);
    return ask(e, v->shortened_weights, &v->report) == TARN_GATE_PASS;
}

/* What training has made is of no use: it goes on from what is live. */
static void start_over(struct tarn_engine *e, tarn_log_level level, const char *why)
{
    size_t count = tarn_shape_weights(&e->shape);
    float *zeros = e->versions.shortened_weights;
    tarn_log(level, "engine: training goes on from the live model: %s", why);
    memset(zeros, 0, count * sizeof *zeros);
    const struct tarn_trainer_state afresh = {
        .weights = e->versions.live->model->weights, .m = zeros, .v = zeros};
    tarn_trainer_set_state(e->trainer, &afresh);
    tarn_learning_restart(e, false);
}

/*
 * The workload has changed so that what the engine began with is clearly better than what was made of it:
 * the way from there is the shorter one. It is the one model that needs no proof of its own.
 */
static bool return_to_anchor(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_bundle *bundle = NULL;
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_RESTART, v->report.reason);
    const tarn_model *anchor = v->anchor->model;
    tarn_status status = tarn_versions_make(e, anchor->weights, anchor, &bundle, NULL);
    if (status == TARN_OK)
        status = tarn_slot_swap(v->slot, bundle, v->live->version, &why, NULL, NULL);
    if (status == TARN_OK)
        tarn_versions_changed(e, TARN_VERSION_BROUGHT);
    else
        tarn_bundle_release(&bundle);
    return status == TARN_OK;
}

/* Asked as often as requests say, and where they are few, as the clock does. */
static bool is_due(const struct tarn_engine *e, uint64_t now, float period)
{
    const struct tarn_versions *v = &e->versions;
    return now - v->minted_at >= tarn_versions_mint_interval(e, period) ||
           (e->params.background == TARN_BACKGROUND_THREAD &&
            tarn_clock_ns() - v->minted_ns >= MINT_AT_LEAST_NS);
}

static void mint(struct tarn_engine *e)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_tag_changes tags;
    bool live = false;
    const float *weights = tarn_trainer_weights(e->trainer);
    tarn_cache_lock(e->cache);
    uint64_t now = tarn_cache_now(e->cache);
    float period = e->learned->live.period;
    tarn_cache_unlock(e->cache);
    if (!is_due(e, now, period))
        return;
    v->unminted = false;
    v->minted_at = now;
    v->minted_ns = tarn_clock_ns();
    v->minted++;
    tarn_tags_gather(e, &tags);
    tarn_gate_answer answer = ask(e, weights, &v->report);
    tarn_log(TARN_LOG_DEBUG, "engine: a candidate: %s", v->report.reason);
    if (answer == TARN_GATE_PASS) {
        tarn_ensemble_look(e, weights);
        live = swap_trained(e, weights, &tags);
    } else if (answer == TARN_GATE_FAR && shorten(e, weights)) {
        v->shortened++;
        tarn_ensemble_look(e, v->shortened_weights);
        live = swap_trained(e, v->shortened_weights, &tags);
    } else if (answer == TARN_GATE_KEEP && v->report.anchor_better && return_to_anchor(e)) {
        v->kept_out++;
    } else {
        v->kept_out++;
        live = tarn_tags_swap(e, &tags);
        v->in_a_row += v->report.samples >= TARN_GATE_LEAST;
        if (v->in_a_row >= MOST_IN_A_ROW) {
            v->in_a_row = 0;
            start_over(e, TARN_LOG_INFO, v->report.reason); /* as it should be, now and then */
        }
    }
    tarn_tags_settle(e, &tags, live);
}

void tarn_versions_offer(struct tarn_engine *e)
{
    const float *weights = tarn_trainer_weights(e->trainer);
    if (!tarn_net_is_finite(weights, tarn_shape_weights(&e->shape))) {
        start_over(e, TARN_LOG_WARNING, "a weight of the candidate is no number");
    } else if (e->learning.in_place) {
        swap_trained(e, weights, NULL);
    } else {
        e->versions.unminted = true;
        mint(e);
    }
}

void tarn_versions_look(struct tarn_engine *e)
{
    if (!e->learning.in_place)
        tarn_versions_watch_look(e);
    tarn_versions_rollout_look(e);
    tarn_ensemble_contest_look(e);
    /* between two jobs the trainer's weights stand still */
    if (atomic_load(&e->job) == TARN_JOB_NONE && !tarn_trainer_in_flight(e->trainer)) {
        if (e->versions.unminted)
            mint(e);
        tarn_tags_mint(e);
        tarn_sets_look(e);
    }
    if (tarn_slot_reap(e->versions.slot) == 0)
        return;
    /* no round is under way while nobody has the lock, and the next may be long in coming */
    tarn_cache_lock(e->cache);
    tarn_slot_leave(e->versions.reader);
    tarn_cache_unlock(e->cache);
}
