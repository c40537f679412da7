/* SPDX-License-Identifier: Apache-2.0 */
/* <tarn/versions.h>: what callers ask of an engine's versions. */
#include "engine_private.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"

static tarn_status bring(tarn_engine *e, const tarn_model *model, struct tarn_bundle **bundle,
                         struct tarn_error *error)
{
    *bundle = NULL;
    if (memcmp(&model->shape, &e->shape, sizeof e->shape) != 0)
        return tarn_fail(error, TARN_INVALID,
                         "engine: a network of %u-%u-%u-%u where %u-%u-%u-%u runs",
                         (unsigned)model->shape.inputs, (unsigned)model->shape.hidden1,
                         (unsigned)model->shape.hidden2, (unsigned)model->shape.outputs,
                         (unsigned)e->shape.inputs, (unsigned)e->shape.hidden1,
                         (unsigned)e->shape.hidden2, (unsigned)e->shape.outputs);
    return tarn_versions_make(e, model->weights, model, bundle, error);
}

static tarn_status check_offer(tarn_engine *e, const struct tarn_bundle *bundle,
                               struct tarn_error *error)
{
    struct tarn_slot_stats stats;
    struct tarn_change now = tarn_versions_change(e, TARN_REASON_IMPORTED, NULL);
    tarn_slot_get_stats(e->versions.slot, &stats);
    if (stats.pinned != 0)
        return tarn_fail(error, TARN_BUSY, "engine: version %llu is pinned",
                         (unsigned long long)stats.pinned);
    if (e->versions.phase != TARN_ROLLOUT_IDLE)
        return tarn_fail(error, TARN_BUSY, "engine: another model is being tried");
    if (tarn_slot_is_cooling(e->versions.slot, bundle->own, now.requests))
        return tarn_fail(error, TARN_COOLDOWN, "engine: an equal model failed not long ago");
    return TARN_OK;
}

tarn_status tarn_engine_offer_model(tarn_engine *e, const tarn_model *model,
                                    struct tarn_error *error)
{
    struct tarn_bundle *bundle;
    pthread_mutex_lock(&e->background_lock);
    tarn_status status = bring(e, model, &bundle, error);
    if (status == TARN_OK)
        status = check_offer(e, bundle, error);
    if (status == TARN_OK)
        tarn_versions_rollout_begin(e, bundle);
    else
        tarn_bundle_release(&bundle);
    pthread_mutex_unlock(&e->background_lock);
    return status;
}

tarn_status tarn_engine_swap_model(tarn_engine *e, const tarn_model *model, uint64_t *version,
                                   struct tarn_error *error)
{
    struct tarn_bundle *bundle;
    pthread_mutex_lock(&e->background_lock);
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_MANUAL, NULL);
    tarn_status status = bring(e, model, &bundle, error);
    if (status == TARN_OK)
        status = tarn_slot_swap(e->versions.slot, bundle, 0, &why, version, error);
    if (status == TARN_OK) {
        /* whoever brings one now wants it watched, against what was live until now */
        tarn_versions_rollout_stop(e, "another model was put live");
        tarn_versions_watch_end(e);
        tarn_versions_changed(e, TARN_VERSION_BROUGHT);
    } else {
        tarn_bundle_release(&bundle);
    }
    pthread_mutex_unlock(&e->background_lock);
    return status;
}

tarn_status tarn_engine_roll_back(tarn_engine *e, uint64_t target, bool failed, uint64_t *version,
                                  struct tarn_error *error)
{
    pthread_mutex_lock(&e->background_lock);
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_MANUAL, NULL);
    why.failed = failed;
    struct tarn_bundle *left = tarn_bundle_hold(e->versions.live);
    tarn_status status = tarn_slot_rollback(e->versions.slot, target, 0, &why, version, error);
    if (status == TARN_OK) {
        if (failed) {
            tarn_bundle_release(&e->versions.failed);
            e->versions.failed = tarn_bundle_hold(left);
        }
        tarn_versions_changed(e, TARN_VERSION_RETURNED);
    }
    tarn_bundle_release(&left);
    pthread_mutex_unlock(&e->background_lock);
    return status;
}

tarn_status tarn_engine_pin(tarn_engine *e, uint64_t version, struct tarn_error *error)
{
    pthread_mutex_lock(&e->background_lock);
    uint64_t before = e->versions.live->version;
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_MANUAL, NULL);
    tarn_status status = tarn_slot_pin(e->versions.slot, version, &why, error);
    if (status == TARN_OK) {
        tarn_versions_rollout_stop(e, "a version was pinned");
        if (version != 0 && version != before)
            tarn_versions_changed(e, TARN_VERSION_RETURNED);
        else
            tarn_versions_watch_end(e);
        e->versions.unflushed = true;
    }
    pthread_mutex_unlock(&e->background_lock);
    return status;
}

tarn_status tarn_engine_unpin(tarn_engine *e, struct tarn_error *error)
{
    pthread_mutex_lock(&e->background_lock);
    struct tarn_change why = tarn_versions_change(e, TARN_REASON_MANUAL, NULL);
    tarn_status status = tarn_slot_unpin(e->versions.slot, &why, error);
    e->versions.unflushed = e->versions.unflushed || status == TARN_OK;
    pthread_mutex_unlock(&e->background_lock);
    return status;
}

/* ---- looking ---- */

static double ratio(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

static const char *phase_name(enum tarn_rollout_phase phase)
{
    switch (phase) {
    case TARN_ROLLOUT_IDLE:
        break;
    case TARN_ROLLOUT_SHADOW:
        return "shadow";
    case TARN_ROLLOUT_PREPARE:
    case TARN_ROLLOUT_CALIBRATE:
        return "calibration";
    case TARN_ROLLOUT_CANARY:
        return "canary";
    }
    return NULL;
}

static void tell_watch(const struct tarn_versions *v, struct tarn_version_stats *stats)
{
    bool shadow = v->phase == TARN_ROLLOUT_SHADOW;
    const struct tarn_watch *w = shadow ? &v->shadow : &v->watch;
    const struct tarn_watch_counts *t = &w->total;
    if (v->watching || shadow) {
        stats->watched = t->requests;
        stats->watch_length = w->horizon;
    }
    stats->miss_ratio = ratio(t->misses, t->requests);
    stats->base_miss_ratio = ratio(t->base_misses, t->requests);
    stats->lru_miss_ratio = ratio(t->lru_misses, t->requests);
    stats->unwatched = v->unwatched;
}

static void tell_arms(const struct tarn_versions *v, struct tarn_version_stats *stats)
{
    stats->rollout = phase_name(v->phase);
    stats->rollout_step = v->step < TARN_ROLLOUT_ARMS ? v->step : TARN_ROLLOUT_ARMS - 1;
    for (uint32_t k = 0; k < TARN_ROLLOUT_ARMS; k++) {
        const struct tarn_rollout_counts *c = &v->counted[k];
        stats->arm[k] = (struct tarn_arm_stats){
            .share = tarn_rollout_share(k),
            .requests = c->requests,
            .control_requests = c->control_requests,
            .miss_ratio = ratio(c->misses, c->requests),
            .control_miss_ratio = ratio(c->control_misses, c->control_requests),
        };
    }
    snprintf(stats->rollout_end, sizeof stats->rollout_end, "%s", v->end);
}

void tarn_engine_get_versions(tarn_engine *e, struct tarn_version_stats *stats)
{
    const struct tarn_versions *v = &e->versions;
    struct tarn_slot_stats slot;
    pthread_mutex_lock(&e->background_lock);
    tarn_slot_get_stats(v->slot, &slot);
    *stats = (struct tarn_version_stats){
        .live = slot.live,
        .parent = slot.parent,
        .pinned = slot.pinned,
        .swaps = slot.swaps,
        .rollbacks = slot.rollbacks,
        .rejected = slot.rejected,
        .minted = v->minted,
        .kept_out = v->kept_out,
        .shortened = v->shortened,
        .loss = v->minted > 0 ? v->report.loss : NAN,
        .loss_live = v->minted > 0 ? v->report.loss_live : NAN,
        .memory = slot.memory,
    };
    snprintf(stats->gate, sizeof stats->gate, "%s", v->report.reason);
    tell_watch(v, stats);
    tell_arms(v, stats);
    tarn_cache_lock(e->cache);
    const struct tarn_opinion *opinion = &v->opinion;
    stats->agreement = opinion->looks > 0 ? opinion->agreement / (double)opinion->looks : NAN;
    stats->expected_regret = opinion->looks > 0 ? opinion->regret / (double)opinion->looks : NAN;
    stats->shadow_share = e->learned->mix.share * (float)e->learned->mix.experts;
    if (v->has_trial) {
        stats->shadow_share += v->trial.share * (TARN_TRIAL_MODELS + 1);
        stats->memory += tarn_trial_memory(&v->trial);
    }
    if (e->ensemble.contest.has_trial) {
        stats->shadow_share += e->ensemble.contest.trial.share * (TARN_TRIAL_MODELS + 1);
        stats->memory += tarn_trial_memory(&e->ensemble.contest.trial);
    }
    tarn_cache_unlock(e->cache);
    pthread_mutex_unlock(&e->background_lock);
}

static float metric_of(const struct tarn_history_record *record, tarn_metric_kind kind)
{
    for (uint32_t i = 0; i < record->metrics; i++)
        if (record->metric[i].kind == kind)
            return record->metric[i].value;
    return NAN;
}

/* Newest first. */
static size_t tell(tarn_history *history, struct tarn_version_event *events, size_t room)
{
    struct tarn_history_record *read = room > 0 ? tarn_alloc(room * sizeof *read) : NULL;
    if (read == NULL)
        return 0;
    size_t count = tarn_history_read(history, read, room);
    for (size_t i = 0; i < count; i++) {
        const struct tarn_history_record *from = &read[count - 1 - i];
        events[i] = (struct tarn_version_event){
            .version = from->version,
            .parent = from->parent,
            .what = tarn_event_text(from->kind),
            .why = tarn_reason_text(from->reason),
            .failed = from->failed,
            .requests = from->requests,
            .unix_ms = from->unix_ms,
            .loss = metric_of(from, TARN_METRIC_LOSS),
            .miss_ratio = metric_of(from, TARN_METRIC_MISS_RATIO),
        };
        snprintf(events[i].text, sizeof events[i].text, "%s", from->text);
    }
    tarn_free(read);
    return count;
}

size_t tarn_engine_get_history(tarn_engine *e, struct tarn_version_event *events, size_t room)
{
    return tell(e->versions.history, events, room);
}

tarn_status tarn_versions_read_history(const char *path, struct tarn_version_event *events,
                                       size_t room, size_t *count, struct tarn_error *error)
{
    struct stat info;
    char file[PATH_MAX];
    tarn_history *history = NULL;
    *count = 0;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        int length = snprintf(file, sizeof file, "%s/" TARN_HISTORY_NAME, path);
        if (length < 0 || (size_t)length >= sizeof file)
            return tarn_fail(error, TARN_INVALID, "%s: the path is too long", path);
        path = file;
    }
    if (access(path, F_OK) != 0)
        return tarn_fail(error, errno == ENOENT ? TARN_NOT_FOUND : TARN_IO, "%s: %s", path,
                         strerror(errno));
    tarn_status status = tarn_history_open(
        &(struct tarn_history_params){.path = path, .limit = TARN_HISTORY_LIMIT_MAX}, &history,
        error);
    if (status == TARN_OK)
        *count = tell(history, events, room);
    tarn_history_close(&history);
    return status;
}
