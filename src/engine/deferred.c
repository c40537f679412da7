/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests leave to the background's thread, beside rounds: the miniature caches (evict/later.h) and the
 * classifier of workloads. With TARN_BACKGROUND_STEPS nothing is left: it is all done at once, and in one order.
 */
#include "engine_private.h"

#include "base/log.h"
#include "base/memory.h"

#define REPLAYED_AT_ONCE 64   /* notes between two looks at whether somebody waits for a round, */
#define BATCHES          16   /* and so often before the background's lock is let go */
#define ASKED            2048 /* requests and stores of a buffer of the classifier's */

enum asked_kind { ASKED_ACCESS, ASKED_STORE, ASKED_OVERWRITE };

struct asked {
    uint64_t hash;
    float size_lg;
    uint32_t kind;
};

struct tarn_ear {
    struct tarn_workload *workload; /* the thread's, or under the background's lock */
    struct tarn_engine *engine;
    /* under the cache's lock */
    uint32_t count;
    uint64_t unheard;             /* requests that there was no room for */
    struct asked *filled, *heard; /* the latter is the thread's */
    struct asked buffer[2][ASKED];
};

static void hear(struct tarn_workload *workload, const struct asked *asked)
{
    switch ((enum asked_kind)asked->kind) {
    case ASKED_ACCESS:
        tarn_workload_access(workload, asked->hash, asked->size_lg);
        break;
    case ASKED_STORE:
        tarn_workload_size(workload, asked->hash, asked->size_lg);
        break;
    case ASKED_OVERWRITE:
        tarn_workload_write(workload);
        break;
    }
}

static void note(struct tarn_ear *ear, const struct asked *asked)
{
    if (ear->count == ASKED) {
        ear->unheard += asked->kind == ASKED_ACCESS;
        return;
    }
    ear->filled[ear->count++] = *asked;
    if (ear->count == ASKED / 2)
        tarn_ahead_hurry(ear->engine);
}

static void note_access(void *context, uint64_t hash, float size_lg)
{
    note(context, &(struct asked){hash, size_lg, ASKED_ACCESS});
}

static void note_store(void *context, uint64_t hash, float size_lg)
{
    note(context, &(struct asked){hash, size_lg, ASKED_STORE});
}

static void note_overwrite(void *context)
{
    note(context, &(struct asked){0, -1, ASKED_OVERWRITE});
}

struct tarn_listener tarn_ear_listener(struct tarn_engine *e)
{
    struct tarn_ear *ear = tarn_alloc(sizeof *ear);
    if (ear == NULL) {
        tarn_log(TARN_LOG_WARNING, "engine: no memory to classify workloads: going on without");
        return (struct tarn_listener){0};
    }
    *ear = (struct tarn_ear){.workload = e->workload, .engine = e};
    ear->filled = ear->buffer[0];
    ear->heard = ear->buffer[1];
    e->ear = ear;
    return (struct tarn_listener){ear, note_access, note_store, note_overwrite};
}

static void listen(struct tarn_engine *e, uint32_t least)
{
    struct tarn_ear *ear = e->ear;
    if (ear == NULL)
        return;
    tarn_cache_lock(e->cache);
    struct asked *filled = ear->filled;
    uint32_t count = ear->count >= least ? ear->count : 0;
    if (count > 0) {
        ear->filled = ear->heard;
        ear->heard = filled;
        ear->count = 0;
    }
    tarn_cache_unlock(e->cache);
    for (uint32_t i = 0; i < count; i++)
        hear(ear->workload, &filled[i]);
}

static void catch_up(struct tarn_engine *e, uint32_t least, bool all)
{
    tarn_cache_lock(e->cache);
    bool more = tarn_learned_take_notes(e->learned, least);
    tarn_cache_unlock(e->cache);
    if (!more)
        return;
    uint32_t batches = 0;
    do { /* some at least, however much the rounds are in a hurry */
        more = tarn_learned_replay(e->learned, REPLAYED_AT_ONCE);
    } while (more && (all || (++batches < BATCHES && !atomic_load(&e->hurried))));
    tarn_cache_lock(e->cache);
    tarn_learned_settle(e->learned);
    tarn_cache_unlock(e->cache);
}

void tarn_deferred_look(struct tarn_engine *e, bool hurried)
{
    if (e->params.background != TARN_BACKGROUND_THREAD)
        return;
    listen(e, hurried ? ASKED / 2 : 1);
    catch_up(e, hurried ? TARN_LATER_NOTES / 2 : 1, false);
}

void tarn_deferred_finish(struct tarn_engine *e)
{
    if (e->params.background != TARN_BACKGROUND_THREAD || e->learned == NULL)
        return;
    listen(e, 1);
    catch_up(e, 1, true); /* what an earlier look has left, ... */
    catch_up(e, 1, true); /* ... and what has come since */
}

void tarn_deferred_get_stats(const struct tarn_engine *e, struct tarn_engine_stats *stats)
{
    stats->dropped_notes = e->learned->later.dropped;
    stats->unheard_requests = e->ear != NULL ? e->ear->unheard : 0;
    stats->memory += e->ear != NULL ? sizeof *e->ear : 0;
}

void tarn_deferred_free(struct tarn_engine *e)
{
    tarn_free(e->ear);
    e->ear = NULL;
}
