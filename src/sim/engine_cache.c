/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

#define LOOK_AHEAD 4096 /* requests looked up in one batch, where the engine has a device for it */

struct engine_cache {
    const struct tarn_replay_learning *learning;
    const struct tarn_trace_data *trace;
    tarn_engine *engine;
    tarn_cache *cache;
    bool look_ahead;
    bool objects;
    size_t done, looked_up; /* requests */
    uint64_t keys[LOOK_AHEAD];
    const void *key[LOOK_AHEAD];
    size_t key_size[LOOK_AHEAD];
    uint32_t slots[LOOK_AHEAD];
};

static void destroy(void *cache)
{
    struct engine_cache *c = cache;
    if (c->learning->engine.sample != NULL)
        tarn_engine_drain_samples(c->engine);
    tarn_engine_destroy(&c->engine);
    free(c);
}

static tarn_status create(const struct tarn_replay_learning *learning,
                          const struct tarn_trace_data *trace,
                          const struct tarn_replay_limit *limit, uint64_t seed, void **cache,
                          struct tarn_error *error)
{
    struct engine_cache *c = calloc(1, sizeof *c);
    if (c == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "learned: out of memory");
    struct tarn_engine_params engine = learning->engine;
    engine.memory = limit->objects ? 0 : limit->capacity;
    engine.objects = limit->objects ? limit->capacity : 0;
    engine.background = TARN_BACKGROUND_STEPS;
    engine.seed = seed;
    c->learning = learning;
    c->trace = trace;
    c->objects = limit->objects;
    tarn_status status = tarn_engine_create(&engine, &c->engine, error);
    if (status != TARN_OK) {
        free(c);
        return status;
    }
    c->cache = tarn_engine_cache(c->engine);
    c->look_ahead = tarn_engine_device(c->engine)->type != TARN_DEVICE_HOST;
    for (size_t i = 0; i < LOOK_AHEAD; i++) {
        c->key[i] = &c->keys[i];
        c->key_size[i] = sizeof c->keys[i];
    }
    *cache = c;
    return TARN_OK;
}

/* Candidate slots for the requests to come; what changes meanwhile is noticed when they are used. */
static void look_up(struct engine_cache *c)
{
    size_t left = c->trace->count - c->done, n = left < LOOK_AHEAD ? left : LOOK_AHEAD;
    for (size_t i = 0; i < n; i++)
        c->keys[i] = c->trace->key[c->trace->object[c->done + i]];
    if (tarn_engine_lookup(c->engine, c->key, c->key_size, n, c->slots) != TARN_OK)
        c->look_ahead = false;
    c->looked_up = c->done + n;
}

static bool access(void *cache, const struct tarn_request *request)
{
    struct engine_cache *c = cache;
    uint32_t slot = TARN_SLOT_UNKNOWN;
    if (c->look_ahead) {
        if (c->done >= c->looked_up)
            look_up(c);
        slot = c->slots[c->done % LOOK_AHEAD];
    }
    c->done++;
    const struct tarn_item item = {
        .charge = c->objects ? 1 : request->size,
        .tag = request->tag,
        .cost_us = request->cost_us,
    };
    bool hit = false;
    switch (request->op) {
    case TARN_TRACE_GET: {
        size_t room = 0;
        hit = tarn_cache_get_at(c->cache, &request->key, sizeof request->key, slot, NULL, &room) ==
              TARN_OK;
        if (!hit)
            tarn_cache_put(c->cache, &request->key, sizeof request->key, &item);
        break;
    }
    case TARN_TRACE_PUT:
        tarn_cache_put(c->cache, &request->key, sizeof request->key, &item);
        break;
    case TARN_TRACE_DELETE:
        tarn_cache_delete(c->cache, &request->key, sizeof request->key);
        break;
    }
    tarn_engine_step(c->engine);
    return hit;
}

static void add_workload(const struct tarn_workload_verdict *verdict,
                         struct tarn_replay_stats *stats)
{
    if (verdict->confidence <= 0)
        return; /* too few requests to say */
    stats->workload = tarn_workload_name(verdict->top);
    stats->confidence = (double)verdict->confidence;
    stats->blend_count = TARN_WORKLOAD_PARTS;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
        stats->blend[k] = (struct tarn_replay_blend){tarn_workload_name((tarn_workload_class)k),
                                                     (double)verdict->blend[k]};
}

static void stats(void *cache, struct tarn_replay_stats *stats)
{
    struct engine_cache *c = cache;
    stats->has_engine = true;
    tarn_engine_get_stats(c->engine, &stats->engine);
    if (stats->engine.set != NULL) /* the engine's, which goes first */
        snprintf(stats->set, sizeof stats->set, "%s", stats->engine.set);
    stats->engine.set = NULL;
    tarn_engine_get_versions(c->engine, &stats->versions);
    tarn_engine_copy_feedback(c->engine, &stats->feedback);
    stats->swaps = (int64_t)stats->versions.swaps;
    stats->rollbacks = (int64_t)stats->versions.rollbacks;
    add_workload(&stats->engine.workload_overall, stats);
    stats->train_steps = (int64_t)stats->engine.train_steps;
    stats->model_bytes = (int64_t)stats->engine.model_bytes;
    snprintf(stats->device, sizeof stats->device, "%s", tarn_engine_device(c->engine)->id);
}

const struct tarn_replay_cache_ops tarn_engine_cache_ops = {
    .name = "learned",
    .create = create,
    .access = access,
    .stats = stats,
    .destroy = destroy,
};
