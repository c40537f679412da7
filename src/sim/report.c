/* SPDX-License-Identifier: Apache-2.0 */
/* A replay's result as JSON. What isn't known or isn't finite is null. */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

#include "replay.h"

static bool add(cJSON *object, const char *name, cJSON *item)
{
    if (item != NULL && cJSON_AddItemToObject(object, name, item))
        return true;
    cJSON_Delete(item);
    return false;
}

static cJSON *number(double value)
{
    return isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull();
}

/* Exact to 64 bits, where a double isn't. */
static cJSON *integer(uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)value);
    return cJSON_CreateRaw(digits);
}

static cJSON *counter(int64_t value)
{
    return value >= 0 ? integer((uint64_t)value) : cJSON_CreateNull();
}

static cJSON *string(const char *text)
{
    return text != NULL ? cJSON_CreateString(text) : cJSON_CreateNull();
}

static cJSON *blend(const struct tarn_replay_stats *stats)
{
    if (stats->blend_count == 0)
        return cJSON_CreateNull();
    cJSON *object = cJSON_CreateObject();
    bool ok = object != NULL;
    for (size_t i = 0; ok && i < stats->blend_count && i < TARN_REPLAY_BLEND_MAX; i++)
        ok = add(object, stats->blend[i].name, number(stats->blend[i].share));
    if (ok)
        return object;
    cJSON_Delete(object);
    return NULL;
}

/* The scorers' say in evictions. */
static cJSON *experts(const struct tarn_engine_stats *engine)
{
    cJSON *object = cJSON_CreateObject();
    bool ok = object != NULL;
    for (size_t i = 0; ok && i < TARN_ENGINE_EXPERTS; i++)
        if (engine->expert[i] != NULL)
            ok = add(object, engine->expert[i], number((double)engine->weight[i]));
    if (ok)
        return object;
    cJSON_Delete(object);
    return NULL;
}

/* The networks' say, by name; null where each candidate has its own. */
static cJSON *members(const struct tarn_engine_stats *engine)
{
    cJSON *object = cJSON_CreateObject();
    bool ok = object != NULL;
    for (uint32_t i = 0; ok && i < engine->members && i < TARN_ENGINE_MEMBERS; i++)
        ok = add(object, engine->member[i], number((double)engine->member_share[i]));
    if (ok)
        return object;
    cJSON_Delete(object);
    return NULL;
}

static bool add_kernel(cJSON *object, const char *name, const struct tarn_kernel_stats *kernel)
{
    cJSON *row = cJSON_CreateObject();
    if (row != NULL && add(row, "launches", integer(kernel->launches)) &&
        add(row, "elements", integer(kernel->elements)) &&
        add(row, "device_us", number((double)kernel->device_ns * 1e-3)))
        return add(object, name, row);
    cJSON_Delete(row);
    return false;
}

/* What ran on the device, by the device's clock. */
static cJSON *kernels(const struct tarn_engine_stats *engine)
{
    cJSON *object = cJSON_CreateObject();
    if (object != NULL && add_kernel(object, "lookup", &engine->lookup) &&
        add_kernel(object, "score", &engine->score) && add_kernel(object, "train", &engine->train))
        return object;
    cJSON_Delete(object);
    return NULL;
}

static cJSON *timeline(const struct tarn_run *run)
{
    cJSON *array = cJSON_CreateArray();
    for (size_t i = 0; array != NULL && i < run->window_count; i++) {
        const struct tarn_window *window = &run->windows[i];
        if (window->gets == 0)
            continue; /* nothing was looked up: no ratio */
        cJSON *point = cJSON_CreateArray(), *end = integer(window->end);
        cJSON *share = number((double)window->misses / (double)window->gets);
        bool ok = point != NULL && end != NULL && share != NULL && cJSON_AddItemToArray(point, end);
        ok = ok && cJSON_AddItemToArray(point, share);
        ok = ok && cJSON_AddItemToArray(array, point);
        if (!ok) {
            cJSON_Delete(array);
            return NULL;
        }
    }
    return array;
}

/* What the gates and the watch did. */
static cJSON *versions(const struct tarn_version_stats *stats)
{
    cJSON *json = cJSON_CreateObject();
    if (json != NULL && add(json, "minted", integer(stats->minted)) &&
        add(json, "kept_out", integer(stats->kept_out)) &&
        add(json, "shortened", integer(stats->shortened)) &&
        add(json, "rejected", integer(stats->rejected)) &&
        add(json, "shadow_share", number((double)stats->shadow_share)) &&
        add(json, "unwatched", string(stats->unwatched)))
        return json;
    cJSON_Delete(json);
    return NULL;
}

/* What part of an elastic network decides, and which set of weights and settings. */
static bool add_choices(cJSON *json, const struct tarn_replay_stats *stats)
{
    const struct tarn_engine_stats *engine = &stats->engine;
    bool known = engine->width > 0;
    return add(json, "width", known ? integer(engine->width) : cJSON_CreateNull()) &&
           add(json, "early_exit",
               known ? cJSON_CreateBool(engine->early_exit) : cJSON_CreateNull()) &&
           add(json, "width_changes", integer(engine->width_changes)) &&
           add(json, "set", string(stats->set[0] != '\0' ? stats->set : NULL)) &&
           add(json, "workload_class", string(engine->workload_class)) &&
           add(json, "class_changes", integer(engine->class_changes)) &&
           add(json, "class_returns", integer(engine->class_returns));
}

struct cJSON *tarn_replay_result_json(const struct tarn_replay_result *result)
{
    const struct tarn_run *run = &result->run;
    const struct tarn_replay_stats *stats = &result->stats;
    cJSON *json = cJSON_CreateObject();
    bool ok = json != NULL && add(json, "policy", string(result->policy)) &&
              add(json, "size", string(result->size)) &&
              add(json, "capacity", integer(result->capacity)) &&
              add(json, "unit", string(result->objects ? "objects" : "bytes")) &&
              add(json, "miss_ratio", number(tarn_run_miss_ratio(run))) &&
              add(json, "byte_miss_ratio", number(tarn_run_byte_miss_ratio(run))) &&
              add(json, "miss_cost_ratio", number(tarn_run_miss_cost_ratio(run))) &&
              add(json, "mean_miss_cost_us", number(tarn_run_mean_miss_cost(run))) &&
              add(json, "requests_per_second", number(tarn_run_requests_per_second(run))) &&
              add(json, "cpu_seconds", number((double)run->cpu_ns * 1e-9));
    if (ok && result->learned)
        ok = add(json, "train_steps", counter(stats->train_steps)) &&
             add(json, "swaps", counter(stats->swaps)) &&
             add(json, "rollbacks", counter(stats->rollbacks)) &&
             add(json, "model_bytes", counter(stats->model_bytes)) &&
             add(json, "workload", string(stats->workload)) &&
             add(json, "confidence", number(stats->confidence)) && add(json, "blend", blend(stats));
    if (ok && stats->has_engine)
        ok = add(json, "device", string(stats->device)) &&
             add(json, "loss", number((double)stats->engine.loss)) &&
             add(json, "experts", experts(&stats->engine)) &&
             add(json, "ensemble", string(stats->engine.ensemble)) &&
             add(json, "ensemble_now", string(stats->engine.ensemble_now)) &&
             add(json, "ensemble_tests", integer(stats->engine.ensemble_tests)) &&
             add(json, "ensemble_changes", integer(stats->engine.ensemble_changes)) &&
             add(json, "members", members(&stats->engine)) && add_choices(json, stats) &&
             add(json, "kernels", kernels(&stats->engine)) &&
             add(json, "relief", integer(stats->engine.relief)) &&
             add(json, "unsound_rounds", integer(stats->engine.unsound_rounds)) &&
             add(json, "versions", versions(&stats->versions));
    if (ok && stats->feedback != NULL)
        ok = add(json, "feedback", tarn_feedback_json(stats->feedback));
    if (ok && add(json, "timeline", timeline(run)))
        return json;
    cJSON_Delete(json);
    return NULL;
}
