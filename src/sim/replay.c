/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "engine_cache.h"

const struct tarn_replay_cache_ops *const tarn_replay_kinds[] = {&tarn_engine_cache_ops, NULL};

static const struct tarn_replay_cache_ops *find_kind(const struct tarn_replay_params *params,
                                                     const char *policy)
{
    const struct tarn_replay_cache_ops *const *kinds =
        params->kinds != NULL ? params->kinds : tarn_replay_kinds;
    for (; *kinds != NULL; kinds++)
        if (strcmp((*kinds)->name, policy) == 0)
            return *kinds;
    return NULL;
}

bool tarn_replay_known(const struct tarn_replay_params *params, const char *policy)
{
    return find_kind(params, policy) != NULL || tarn_baseline_known(policy);
}

tarn_status tarn_replay_check_limit(const struct tarn_trace_data *trace,
                                    const struct tarn_replay_limit *limit, struct tarn_error *error)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < trace->count && !limit->objects; i++)
        least = trace->size[i] < least ? trace->size[i] : least;
    if (limit->objects ? limit->capacity >= 1 : limit->capacity >= least)
        return TARN_OK;
    return tarn_fail(error, TARN_INVALID,
                     "%s: a cache of %s holds not one object: it is %llu %s%s, of %u objects",
                     trace->name, limit->text, (unsigned long long)limit->capacity,
                     limit->objects ? "objects" : "bytes",
                     limit->objects ? "" : ", less than the smallest object", trace->objects);
}

/* Requests [from, to) through a cache of another kind. */
static void replay_part(const struct tarn_replay_cache_ops *ops, void *cache,
                        const struct tarn_trace_data *trace, size_t from, size_t to,
                        struct tarn_run *run)
{
    for (size_t i = from; i < to; i++) {
        struct tarn_request request = {
            .time = trace->time != NULL ? trace->time[i] : i,
            .key = trace->key[trace->object[i]],
            .size = trace->size[i],
            .op = trace->op != NULL ? (tarn_trace_op)trace->op[i] : TARN_TRACE_GET,
            .tag = trace->tag != NULL ? trace->tag[i] : 0,
            .cost_us = trace->cost != NULL ? trace->cost[i] : 0,
        };
        bool hit = ops->access(cache, &request);
        if (request.op != TARN_TRACE_GET)
            continue;
        run->gets++;
        run->misses += !hit;
        run->get_bytes += request.size;
        run->miss_bytes += hit ? 0 : request.size;
        tarn_run_add_cost(run, request.cost_us, hit);
    }
}

static tarn_status replay_cache(const struct tarn_replay_cache_ops *kind,
                                const struct tarn_trace_data *trace,
                                const struct tarn_replay_limit *limit,
                                const struct tarn_replay_learning *learning,
                                const struct tarn_run_params *params,
                                struct tarn_replay_result *result, struct tarn_error *error)
{
    void *cache = NULL;
    struct tarn_run *run = &result->run;
    size_t windows = params->windows < trace->count ? params->windows : trace->count;
    size_t parts = windows > 0 ? windows : 1;
    tarn_status status = kind->create(learning, trace, limit, params->seed, &cache, error);
    if (status != TARN_OK)
        return status;
    if (windows > 0 && (run->windows = tarn_alloc_zeroed(windows, sizeof *run->windows)) == NULL) {
        kind->destroy(cache);
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", kind->name);
    }
    uint64_t wall = tarn_clock_ns(), cpu = tarn_clock_process_cpu_ns();
    for (size_t part = 0; part < parts; part++) {
        uint64_t gets = run->gets, misses = run->misses;
        size_t from = (size_t)((uint64_t)trace->count * part / parts);
        size_t to = (size_t)((uint64_t)trace->count * (part + 1) / parts);
        replay_part(kind, cache, trace, from, to, run);
        if (windows > 0)
            run->windows[run->window_count++] =
                (struct tarn_window){to, run->gets - gets, run->misses - misses};
        if (params->progress != NULL)
            params->progress(params->user, to);
    }
    run->wall_ns = tarn_clock_ns() - wall;
    run->cpu_ns = tarn_clock_process_cpu_ns() - cpu;
    run->requests = trace->count;
    if (kind->stats != NULL) {
        result->learned = true;
        kind->stats(cache, &result->stats);
    }
    kind->destroy(cache);
    return TARN_OK;
}

tarn_status tarn_replay_run(const struct tarn_trace_data *trace, const char *policy,
                            const struct tarn_replay_limit *limit,
                            const struct tarn_replay_params *params,
                            struct tarn_replay_result *result, struct tarn_error *error)
{
    const struct tarn_replay_cache_ops *kind = find_kind(params, policy);
    struct tarn_run_params run = params->run;
    tarn_status status;
    *result = (struct tarn_replay_result){
        .capacity = limit->capacity,
        .objects = limit->objects,
        .stats =
            {.train_steps = -1, .swaps = -1, .rollbacks = -1, .model_bytes = -1, .confidence = NAN},
    };
    if (!tarn_replay_known(params, policy))
        return tarn_fail(error, TARN_NOT_FOUND, "no policy is called '%s'", policy);
    if (limit->capacity == 0)
        return tarn_fail(error, TARN_INVALID, "%s: a cache of %s holds not even one %s",
                         trace->name, limit->text, limit->objects ? "object" : "byte");
    snprintf(result->policy, sizeof result->policy, "%s", policy);
    snprintf(result->size, sizeof result->size, "%s", limit->text);
    run.count_objects = limit->objects;
    status = kind != NULL
                 ? replay_cache(kind, trace, limit, &params->learning, &run, result, error)
                 : tarn_baseline_run(policy, trace, limit->capacity, &run, &result->run, error);
    if (status != TARN_OK)
        tarn_replay_result_clear(result);
    return status;
}

void tarn_replay_result_clear(struct tarn_replay_result *result)
{
    tarn_run_clear(&result->run);
    tarn_feedback_free(&result->stats.feedback);
    *result = (struct tarn_replay_result){0};
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole != 0 ? (double)part / (double)whole : NAN;
}

double tarn_run_miss_ratio(const struct tarn_run *run)
{
    return ratio(run->misses, run->gets);
}

double tarn_run_byte_miss_ratio(const struct tarn_run *run)
{
    return ratio(run->miss_bytes, run->get_bytes);
}

double tarn_run_miss_cost_ratio(const struct tarn_run *run)
{
    return run->get_cost > 0 ? run->miss_cost / run->get_cost : NAN;
}

double tarn_run_mean_miss_cost(const struct tarn_run *run)
{
    return run->cost_misses > 0 ? run->miss_cost / (double)run->cost_misses : NAN;
}

double tarn_run_requests_per_second(const struct tarn_run *run)
{
    return ratio(run->requests, run->wall_ns) * 1e9;
}

double tarn_run_gap_closed(const struct tarn_run *run, const struct tarn_run *from,
                           const struct tarn_run *to)
{
    double gap = tarn_run_miss_ratio(from) - tarn_run_miss_ratio(to);
    if (!(gap > 1e-4))
        return NAN;
    return (tarn_run_miss_ratio(from) - tarn_run_miss_ratio(run)) / gap;
}
