/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When training is saved and how it goes on. The image of a checkpoint is made between two launches, a
 * portion for each hold of the cache's lock; it is written after that, without any lock, so that nobody
 * but training and device rounds waits for a slow disk.
 */
#include "learning_private.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/kept.h"
#include "base/log.h"

#define NAME    "training.ckpt"
#define PORTION 1024 /* of the ring's samples, for each hold of the lock */

/* What a crash left of a file that was being written: its name and six letters more. */
static void remove_leftovers(const char *dir)
{
    const size_t length = sizeof NAME - 1;
    DIR *folder = opendir(dir);
    if (folder == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[TARN_KEPT_PATH];
        if (strncmp(entry->d_name, NAME ".", length + 1) == 0 &&
            strlen(entry->d_name) == length + 7 && tarn_kept_path(dir, entry->d_name, path))
            unlink(path);
    }
    closedir(folder);
}

/* False if nothing is to be kept. */
static bool find_path(const struct tarn_engine *e, char path[TARN_KEPT_PATH])
{
    const char *dir = e->params.state_dir;
    return dir != NULL && dir[0] != '\0' && !e->params.no_learn && tarn_kept_path(dir, NAME, path);
}

static void take_part(void *context, const struct tarn_checkpoint_part *part)
{
    struct tarn_engine *e = context;
    if (part->is_class)
        tarn_sets_restore(e, part);
    else
        tarn_tags_restore(e, part);
}

static struct tarn_checkpoint what_of(struct tarn_engine *e)
{
    return (struct tarn_checkpoint){
        .shape = &e->learner->shape,
        .trainer = e->trainer,
        .ring = &e->ring,
        .reservoir = e->ring.reservoir,
        .take = take_part,
        .context = e,
    };
}

/* ---- going on ---- */

static void keep_aside(const char *path, const char *why)
{
    char aside[TARN_KEPT_PATH + 4];
    snprintf(aside, sizeof aside, "%s.bad", path);
    if (rename(path, aside) == 0)
        tarn_log(TARN_LOG_WARNING, "engine: training starts afresh: %s; it is kept as %s", why,
                 aside);
    else
        tarn_log(TARN_LOG_WARNING, "engine: training starts afresh: %s", why);
}

void tarn_checkpoints_load(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    struct tarn_checkpoint what = what_of(e);
    struct tarn_error error = {0};
    char path[TARN_KEPT_PATH];
    l->checkpoint_ns = tarn_clock_ns();
    if (!find_path(e, path))
        return;
    tarn_kept_make_folders(path);
    remove_leftovers(e->params.state_dir);
    tarn_cache_lock(e->cache);
    tarn_status status = tarn_checkpoint_load(path, &what, tarn_cache_now(e->cache), &error);
    tarn_cache_unlock(e->cache);
    if (status == TARN_NOT_FOUND)
        return;
    if (status == TARN_CORRUPT || status == TARN_UNSUPPORTED || status == TARN_TOO_LARGE) {
        keep_aside(path, error.message);
        return;
    }
    if (status != TARN_OK) {
        tarn_log(TARN_LOG_WARNING, "engine: training starts afresh: %s", error.message);
        return;
    }
    tarn_sets_resume(e);
    l->checkpoint_steps = tarn_trainer_steps(e->trainer);
    e->trained.elements = l->checkpoint_steps * TARN_TRAIN_BATCH;
    tarn_log(TARN_LOG_INFO, "engine: training goes on from step %" PRIu64 " (%s)",
             l->checkpoint_steps, path);
}

/* ---- saving ---- */

static void make_image(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    struct tarn_error error = {0};
    uint64_t steps = tarn_trainer_steps(e->trainer);
    struct tarn_checkpoint_part parts[TARN_CHECKPOINT_PARTS];
    struct tarn_checkpoint what = what_of(e);
    what.parts = parts;
    what.part_count = tarn_tags_parts(e, parts);
    what.part_count += tarn_sets_parts(e, parts + what.part_count);
    tarn_cache_lock(e->cache);
    tarn_status status = tarn_checkpoint_begin(&l->image, &what, &error);
    tarn_cache_unlock(e->cache);
    bool begun = status == TARN_OK;
    if (begun)
        tarn_checkpoint_put_parts(&l->image, &what);
    do {
        if (!begun)
            break;
        tarn_cache_lock(e->cache);
        status = tarn_checkpoint_copy(&l->image, &what, PORTION, tarn_cache_now(e->cache));
        tarn_cache_unlock(e->cache);
    } while (status == TARN_BUSY);
    l->image_ready = status == TARN_OK;
    l->checkpoint_at = e->seen;
    l->checkpoint_ns = tarn_clock_ns();
    if (l->image_ready) {
        l->checkpoint_steps = steps;
        return;
    }
    tarn_checkpoint_free(&l->image);
    if (!begun) {
        l->checkpoint_failures++;
        tarn_log(TARN_LOG_WARNING, "engine: no checkpoint of training: %s", error.message);
    }
}

static bool is_due(const struct tarn_engine *e)
{
    const struct tarn_learner *l = e->learner;
    const struct tarn_learning_params *p = &l->params;
    bool by_requests = e->seen - l->checkpoint_at >= p->checkpoint_requests;
    if (e->params.background == TARN_BACKGROUND_STEPS)
        return by_requests;
    uint64_t seconds = (tarn_clock_ns() - l->checkpoint_ns) / 1000000000;
    return seconds >= p->checkpoint_most_s || (by_requests && seconds >= p->checkpoint_least_s);
}

/* Nothing is under way, and there is more to save than last time. */
static bool is_possible(struct tarn_engine *e)
{
    return e->params.state_dir != NULL && e->learner->image.data == NULL && e->tags.job == 0 &&
           atomic_load_explicit(&e->job, memory_order_acquire) == TARN_JOB_NONE &&
           !tarn_trainer_in_flight(e->trainer) &&
           tarn_trainer_steps(e->trainer) != e->learner->checkpoint_steps;
}

void tarn_checkpoints_look(struct tarn_engine *e)
{
    if (is_possible(e) && is_due(e))
        make_image(e);
}

void tarn_checkpoints_write(struct tarn_engine *e)
{
    struct tarn_learner *l = e->learner;
    struct tarn_error error = {0};
    char path[TARN_KEPT_PATH];
    if (!l->image_ready)
        return;
    tarn_status status = TARN_INVALID;
    if (find_path(e, path)) {
        tarn_kept_make_folders(path);
        status = tarn_checkpoint_save(&l->image, path, &error);
    }
    tarn_checkpoint_free(&l->image);
    l->image_ready = false;
    if (status != TARN_OK)
        tarn_log(TARN_LOG_WARNING, "engine: the last checkpoint of training stays: %s",
                 error.message);
    pthread_mutex_lock(&e->background_lock);
    l->checkpoints += status == TARN_OK;
    l->checkpoint_failures += status != TARN_OK;
    pthread_mutex_unlock(&e->background_lock);
}

void tarn_checkpoints_finish(struct tarn_engine *e)
{
    if (e->learner == NULL || e->trainer == NULL || e->params.no_learn)
        return;
    if (is_possible(e))
        make_image(e);
    tarn_checkpoints_write(e);
}
