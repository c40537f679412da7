/* SPDX-License-Identifier: Apache-2.0 */
#include "replay.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

/* NULL where nothing is known; all of cJSON's functions bear a NULL. */
static void put(cJSON *object, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(object, name, value);
    else
        cJSON_AddNullToObject(object, name);
}

static void put_figures(cJSON *object, const struct tarn_feedback *f,
                        const struct tarn_feedback_figures *figures)
{
    double sampled = figures->sampled;
    int best = tarn_feedback_best(figures);
    put(object, "requests", (double)figures->requests);
    put(object, "miss_ratio", (double)figures->misses / (double)figures->requests);
    put(object, "sampled", sampled);
    put(object, "regret", tarn_feedback_regret(figures));
    if (best >= 0)
        cJSON_AddStringToObject(object, "best", f->expert[best]);
    else
        cJSON_AddNullToObject(object, "best");
    put(object, "gain_over_lru", tarn_feedback_gain(figures));
    put(object, "cost", figures->cost / sampled);
    cJSON *costs = cJSON_AddObjectToObject(object, "expert_costs");
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        if (f->expert[k][0] != '\0')
            put(costs, f->expert[k], figures->expert_cost[k] / sampled);
}

static void put_classes(cJSON *json, const struct tarn_feedback *f)
{
    cJSON *classes = cJSON_AddObjectToObject(json, "classes");
    for (int c = 0; c < TARN_WORKLOADS; c++) {
        if (f->by_class[c].requests == 0)
            continue;
        cJSON *row = cJSON_AddObjectToObject(classes, tarn_workload_name((tarn_workload_class)c));
        put(row, "visits", (double)f->visits[c]);
        put_figures(row, f, &f->by_class[c]);
    }
}

/*
 * A row's own sums: tarn_feedback_sum() takes version 0 for all of them, where the row of that number is of those
 * only that are no longer told apart.
 */
static struct tarn_feedback_figures sum_of(const struct tarn_feedback_version *version)
{
    struct tarn_feedback_figures sum = {0};
    for (int c = 0; c < TARN_WORKLOADS; c++) {
        const struct tarn_feedback_figures *its = &version->by_class[c];
        sum.requests += its->requests;
        sum.misses += its->misses;
        sum.sampled += its->sampled;
        sum.cost += its->cost;
        for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
            sum.expert_cost[k] += its->expert_cost[k];
        sum.beside_lru += its->beside_lru;
        sum.own_misses += its->own_misses;
        sum.lru_misses += its->lru_misses;
    }
    return sum;
}

static void put_versions(cJSON *json, const struct tarn_feedback *f)
{
    cJSON *versions = cJSON_AddArrayToObject(json, "versions");
    for (uint32_t i = 0; i < f->version_count; i++) {
        const struct tarn_feedback_version *version = &f->version[i];
        cJSON *row = cJSON_CreateObject(), *classes;
        struct tarn_feedback_figures sum = sum_of(version);
        put(row, "version", (double)version->version);
        put_figures(row, f, &sum);
        classes = cJSON_AddObjectToObject(row, "regret_by_class");
        for (int c = 0; c < TARN_WORKLOADS; c++)
            if (version->by_class[c].sampled > 0)
                put(classes, tarn_workload_name((tarn_workload_class)c),
                    tarn_feedback_regret(&version->by_class[c]));
        cJSON_AddItemToArray(versions, row);
    }
}

static void put_series(cJSON *json, const struct tarn_feedback *f)
{
    cJSON *series = cJSON_AddArrayToObject(json, "series");
    for (uint32_t i = 0; i < f->record_count; i++) {
        const struct tarn_feedback_record *record = &f->record[i];
        cJSON *row = cJSON_CreateObject(), *weights;
        put(row, "end", (double)record->end);
        cJSON_AddStringToObject(row, "workload", tarn_workload_name(record->workload));
        put(row, "confidence", (double)record->confidence);
        put(row, "version", (double)record->version);
        put(row, "swaps", record->swaps);
        put(row, "rollbacks", record->rollbacks);
        put_figures(row, f, &record->figures);
        weights = cJSON_AddObjectToObject(row, "weights");
        for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
            if (f->expert[k][0] != '\0')
                put(weights, f->expert[k], (double)record->weight[k]);
        cJSON_AddItemToArray(series, row);
    }
}

struct cJSON *tarn_feedback_json(const struct tarn_feedback *feedback)
{
    cJSON *json = cJSON_CreateObject();
    if (json == NULL)
        return NULL;
    put(json, "span", (double)feedback->span);
    put_classes(json, feedback);
    put_versions(json, feedback);
    put_series(json, feedback);
    return json;
}
