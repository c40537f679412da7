/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decisions cost (<tarn/feedback.h>), written down while the background looks around, and what it is good
 * for: where a class of workload is named again, the experts' weights start from what they were there.
 */
#include "engine_private.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/kept.h"
#include "base/log.h"
#include "base/memory.h"
#include "experts/feedback.h"

#define LOOKS      16   /* of the background with TARN_BACKGROUND_STEPS, between two of these */
#define LEAST_SEEN 1024 /* sampled requests that make what experts cost in a class worth keeping */
/* A change is named after some 13,000 requests: what experts cost in the last ones isn't the old class's. */
#define SNAP_EVERY    8 /* records */
#define KEEP_EVERY_NS UINT64_C(600000000000)

struct tarn_books {
    struct tarn_feedback *feedback;
    uint32_t looks, swaps, rollbacks;
    uint64_t before;              /* requests of earlier starts */
    uint64_t at, gets, hits;      /* when the last record ended */
    tarn_workload_class workload; /* TARN_WORKLOADS: none was named yet */
    uint64_t sampled;             /* the mix's, when it was named */
    uint64_t dropped; /* notes that miniature caches didn't hear of, at the last record */
    /* what experts cost when a few records had gone by since it was named, the oldest last */
    struct snap {
        uint64_t sampled; /* the mix's then; 0: there is none */
        double misses[TARN_EXPERTS_MOST];
    } snap[2];
    uint32_t records;
    uint64_t kept_ns;
};

static bool path_of(const struct tarn_engine *e, char path[TARN_KEPT_PATH])
{
    const char *dir = e->params.state_dir;
    return dir != NULL && dir[0] != '\0' && tarn_kept_path(dir, TARN_FEEDBACK_NAME, path);
}

/* What an earlier start has kept, if it is of the same experts. */
static void load(struct tarn_engine *e)
{
    struct tarn_books *b = e->books;
    struct tarn_feedback *kept = NULL;
    struct tarn_error error = {0};
    char path[TARN_KEPT_PATH];
    if (!path_of(e, path))
        return;
    tarn_status status = tarn_feedback_read(path, &kept, &error);
    if (status == TARN_NOT_FOUND)
        return;
    if (status == TARN_OK && memcmp(kept->expert, b->feedback->expert, sizeof kept->expert) != 0)
        status = tarn_fail(&error, TARN_UNSUPPORTED, "%s: of other experts", path);
    if (status != TARN_OK) {
        tarn_log(TARN_LOG_WARNING, "engine: what decisions cost is counted anew: %s",
                 error.message);
        tarn_feedback_free(&kept);
        return;
    }
    tarn_feedback_free(&b->feedback);
    b->feedback = kept;
    if (kept->record_count > 0 && kept->record[kept->record_count - 1].end > b->before)
        b->before = kept->record[kept->record_count - 1].end;
}

void tarn_books_open(struct tarn_engine *e)
{
    const char *names[TARN_FEEDBACK_EXPERTS];
    struct tarn_books *b = tarn_alloc_zeroed(1, sizeof *b);
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        names[k] = k == 0 || !e->params.no_shadows ? tarn_engine_expert_name(e, (uint32_t)k) : NULL;
    if (b == NULL || tarn_feedback_create(names, &b->feedback) != TARN_OK) {
        tarn_log(TARN_LOG_WARNING, "engine: out of memory: what decisions cost isn't counted");
        tarn_free(b);
        return;
    }
    b->workload = TARN_WORKLOADS;
    b->before = e->versions.requests_before;
    b->kept_ns = tarn_clock_ns();
    e->books = b;
    load(e);
}

/* ---- the experts' weights of a class ---- */

/* What experts cost here, to be gone on from when this class is named again. Under the lock. */
static void remember(struct tarn_books *b)
{
    const struct snap *snap = &b->snap[1];
    if (b->workload == TARN_WORKLOADS || snap->sampled < b->sampled + LEAST_SEEN)
        return;
    for (uint32_t k = 0; k < TARN_EXPERTS_MOST; k++)
        b->feedback->mix[b->workload][k] = snap->misses[k];
    b->feedback->mix_seen[b->workload] += (double)(snap->sampled - b->sampled);
    b->sampled = snap->sampled;
}

/* With each record. Under the lock. */
static void snap(struct tarn_books *b, const struct tarn_mix *mix)
{
    if (!mix->warm || ++b->records % SNAP_EVERY != 0)
        return;
    b->snap[1] = b->snap[0];
    b->snap[0].sampled = mix->requests;
    for (uint32_t k = 0; k < TARN_EXPERTS_MOST; k++)
        b->snap[0].misses[k] = k < mix->experts ? mix->misses[k] : 0;
}

static void enter_class(struct tarn_engine *e, tarn_workload_class workload)
{
    struct tarn_books *b = e->books;
    struct tarn_mix *mix = &e->learned->mix;
    remember(b);
    memset(b->snap, 0, sizeof b->snap);
    b->workload = workload;
    b->sampled = mix->requests;
    if (b->feedback->mix_seen[workload] > 0 && mix->experts > 0 && e->learning.recall &&
        !e->learning.in_place)
        tarn_mix_recall(mix, b->feedback->mix[workload]);
}

/* ---- records ---- */

/* What was counted since the last record. Under the lock. */
static void take(struct tarn_engine *e, const struct tarn_workload_verdict *verdict,
                 struct tarn_feedback_record *record)
{
    struct tarn_mix_counts mix = tarn_mix_take(&e->learned->mix);
    struct tarn_trial_own own = {0};
    if (e->learned->trial != NULL)
        own = tarn_trial_take_own(e->learned->trial);
    /* what they didn't hear of, the cache did: side by side they would look worse than they are */
    if (e->learned->later.dropped != e->books->dropped) {
        e->books->dropped = e->learned->later.dropped;
        mix = (struct tarn_mix_counts){0};
        own = (struct tarn_trial_own){0};
    }
    *record = (struct tarn_feedback_record){
        .end = e->books->before + tarn_cache_now(e->cache),
        .version = e->versions.live->version,
        .workload = verdict->top,
        .confidence = verdict->confidence,
        .figures = {.sampled = mix.requests,
                    .cost = mix.cost,
                    .beside_lru = (double)own.requests,
                    .own_misses = (double)own.misses,
                    .lru_misses = (double)own.lru_misses},
    };
    for (uint32_t k = 0; k < e->learned->live.experts; k++) {
        record->figures.expert_cost[k] = mix.expert[k];
        record->weight[k] = e->learned->live.weight[k];
    }
}

static void add_record(struct tarn_engine *e, struct tarn_feedback_record *record)
{
    struct tarn_books *b = e->books;
    struct tarn_cache_stats stats;
    tarn_cache_get_stats(e->cache, &stats);
    record->figures.requests = stats.gets - b->gets;
    record->figures.misses = record->figures.requests - (stats.hits - b->hits);
    record->swaps = b->swaps;
    record->rollbacks = b->rollbacks;
    b->gets = stats.gets;
    b->hits = stats.hits;
    b->swaps = b->rollbacks = 0;
    tarn_feedback_add(b->feedback, record);
}

/* `due`: a record is, however little has happened. */
static void look(struct tarn_engine *e, bool due)
{
    struct tarn_books *b = e->books;
    struct tarn_feedback_record record;
    struct tarn_workload_verdict verdict = {.top = TARN_WORKLOAD_MIXED};
    tarn_cache_lock(e->cache);
    uint64_t now = tarn_cache_now(e->cache);
    if (e->workload != NULL)
        tarn_workload_get_present(e->workload, &verdict);
    if (verdict.confidence > 0 && verdict.top != b->workload)
        enter_class(e, verdict.top);
    due = now > b->at && (due || now - b->at >= TARN_FEEDBACK_SPAN);
    if (due) {
        take(e, &verdict, &record);
        snap(b, &e->learned->mix);
        b->at = now;
    }
    tarn_cache_unlock(e->cache);
    if (due)
        add_record(e, &record);
}

void tarn_books_look(struct tarn_engine *e)
{
    if (e->books == NULL ||
        (e->params.background == TARN_BACKGROUND_STEPS && ++e->books->looks % LOOKS != 0))
        return;
    look(e, false);
}

void tarn_books_swap(struct tarn_engine *e, bool back)
{
    if (e->books == NULL)
        return;
    look(e, true); /* what was before is the leaving version's */
    e->books->swaps += !back;
    e->books->rollbacks += back;
}

/* ---- kept ---- */

static size_t encode(struct tarn_engine *e, uint8_t *data)
{
    tarn_cache_lock(e->cache);
    remember(e->books);
    tarn_cache_unlock(e->cache);
    return tarn_feedback_encode(e->books->feedback, data);
}

void tarn_books_keep(struct tarn_engine *e, bool now)
{
    struct tarn_books *b = e->books;
    struct tarn_error error = {0};
    char path[TARN_KEPT_PATH];
    if (b == NULL || e->params.state_dir == NULL)
        return;
    uint64_t time = tarn_clock_ns();
    if ((!now && time - b->kept_ns < KEEP_EVERY_NS) || !path_of(e, path))
        return;
    b->kept_ns = time;
    tarn_kept_make_folders(path);
    uint8_t *data = tarn_alloc(tarn_feedback_file_limit());
    if (data == NULL)
        return; /* another time */
    pthread_mutex_lock(&e->background_lock);
    size_t size = encode(e, data);
    pthread_mutex_unlock(&e->background_lock);
    if (tarn_file_replace(path, data, size, &error) != TARN_OK)
        tarn_log(TARN_LOG_WARNING, "engine: what decisions cost isn't kept: %s", error.message);
    tarn_free(data);
}

void tarn_books_close(struct tarn_engine *e)
{
    if (e->books == NULL)
        return;
    if (e->cache != NULL) {
        look(e, true);
        tarn_books_keep(e, true);
    }
    tarn_feedback_free(&e->books->feedback);
    tarn_free(e->books);
    e->books = NULL;
}

void tarn_books_sum(const struct tarn_engine *e, tarn_workload_class workload, uint64_t version,
                    struct tarn_feedback_figures *sum)
{
    *sum = (struct tarn_feedback_figures){0};
    if (e->books != NULL)
        tarn_feedback_sum(e->books->feedback, workload, version, sum);
}

size_t tarn_books_memory(const struct tarn_engine *e)
{
    return e->books != NULL ? sizeof *e->books + sizeof *e->books->feedback : 0;
}

tarn_status tarn_engine_copy_feedback(tarn_engine *e, struct tarn_feedback **feedback)
{
    *feedback = tarn_alloc_zeroed(1, sizeof **feedback);
    if (*feedback == NULL)
        return TARN_NO_MEMORY;
    pthread_mutex_lock(&e->background_lock);
    if (e->books != NULL) {
        look(e, true);
        memcpy(*feedback, e->books->feedback, sizeof **feedback);
    }
    pthread_mutex_unlock(&e->background_lock);
    return TARN_OK;
}
