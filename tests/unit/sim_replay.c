/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/replay.h"

#include <cjson/cJSON.h>
#include <math.h>

#include "../check.h"
#include "sim_trace.h"

/* A cache of another kind: it remembers one key, and says what it was asked for. */
struct one {
    uint64_t key, requests;
    uint64_t tags, costs; /* their sums */
    bool full, knows;
    const struct tarn_replay_learning *learning;
};

static struct tarn_replay_limit one_limit;
static unsigned ones_alive;
static uint64_t seen_tags, seen_costs;

static tarn_status one_create(const struct tarn_replay_learning *learning,
                              const struct tarn_trace_data *trace,
                              const struct tarn_replay_limit *limit, uint64_t seed, void **cache,
                              struct tarn_error *error)
{
    (void)trace;
    (void)error;
    struct one *one = calloc(1, sizeof *one);
    if (one == NULL)
        return TARN_NO_MEMORY;
    one->learning = learning;
    one->knows = seed == 5;
    one_limit = *limit;
    ones_alive++;
    *cache = one;
    return TARN_OK;
}

static bool one_access(void *cache, const struct tarn_request *request)
{
    struct one *one = cache;
    bool hit = one->full && one->key == request->key;
    one->requests++;
    one->tags += request->tag;
    one->costs += (uint64_t)request->cost_us;
    seen_tags = one->tags;
    seen_costs = one->costs;
    one->full = request->op != TARN_TRACE_DELETE;
    one->key = request->key;
    return hit;
}

static void one_stats(void *cache, struct tarn_replay_stats *stats)
{
    struct one *one = cache;
    if (!one->knows)
        return;
    stats->train_steps = (int64_t)one->requests;
    stats->swaps = 2;
    stats->rollbacks = 0;
    stats->model_bytes = INT64_MAX;
    stats->workload = "scan \"quoted\"";
    stats->confidence = 0.75;
    stats->blend[0] = (struct tarn_replay_blend){"scan", 0.25};
    stats->blend[1] = (struct tarn_replay_blend){"zipf", NAN};
    stats->blend_count = 2;
}

static void one_destroy(void *cache)
{
    ones_alive--;
    free(cache);
}

static const struct tarn_replay_cache_ops one_ops = {
    "one", one_create, one_access, one_stats, one_destroy,
};
static const struct tarn_replay_cache_ops *const kinds[] = {&one_ops, NULL};

static const struct tarn_replay_limit ten_percent = {.text = "10%", .capacity = 30};

static double field(const cJSON *json, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

static bool is_null(const cJSON *json, const char *name)
{
    return cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(json, name));
}

/* The result as a reader of the command's output sees it: printed and parsed again. */
static cJSON *printed(const struct tarn_replay_result *result)
{
    cJSON *json = tarn_replay_result_json(result), *again;
    char *text = cJSON_PrintUnformatted(json);
    CHECK(text != NULL && strstr(text, "nan") == NULL && strstr(text, "inf") == NULL);
    again = cJSON_Parse(text);
    cJSON_free(text);
    cJSON_Delete(json);
    return again;
}

static void tags_and_costs_reach_the_cache(void)
{
    struct tarn_trace_data trace = sim_trace_random(300, 30, 1, 0, 1);
    struct tarn_replay_params params = {.kinds = kinds};
    struct tarn_replay_result result;
    uint64_t tags = 0, costs = 0;
    uint8_t tag[300];
    float cost[300];
    trace.key = calloc(trace.objects, sizeof *trace.key);
    for (uint32_t i = 0; i < trace.objects; i++)
        trace.key[i] = 1000 + i;
    REQUIRE(tarn_replay_run(&trace, "one", &ten_percent, &params, &result, NULL) == TARN_OK);
    CHECK(seen_tags == 0 && seen_costs == 0);
    tarn_replay_result_clear(&result);
    for (size_t i = 0; i < 300; i++) {
        tags += tag[i] = (uint8_t)(i % 8);
        cost[i] = (float)(i % 90);
        costs += i % 90;
    }
    trace.tag = tag;
    trace.cost = cost;
    REQUIRE(tarn_replay_run(&trace, "one", &ten_percent, &params, &result, NULL) == TARN_OK);
    CHECK(seen_tags == tags && seen_costs == costs);
    CHECK_NUMBER(result.run.get_cost, (double)costs);
    cJSON *json = printed(&result);
    CHECK_NUMBER(field(json, "miss_cost_ratio"), result.run.miss_cost / (double)costs);
    CHECK(field(json, "mean_miss_cost_us") > 0);
    cJSON_Delete(json);
    tarn_replay_result_clear(&result);
    free(trace.key);
    sim_trace_free(&trace);
}

static void baselines_and_their_json(void)
{
    struct tarn_trace_data trace = sim_trace_random(2000, 300, 1, 0, 1);
    struct tarn_replay_params params = {.run.windows = 200};
    struct tarn_replay_result result;
    struct tarn_run run;
    REQUIRE(tarn_replay_run(&trace, "arc", &ten_percent, &params, &result, NULL) == TARN_OK);
    REQUIRE(tarn_baseline_run("arc", &trace, 30, NULL, &run, NULL) == TARN_OK);
    CHECK_NUMBER(result.run.misses, run.misses);
    cJSON *json = printed(&result);
    REQUIRE(json != NULL);
    CHECK(strcmp(cJSON_GetObjectItem(json, "policy")->valuestring, "arc") == 0);
    CHECK(strcmp(cJSON_GetObjectItem(json, "size")->valuestring, "10%") == 0);
    CHECK(strcmp(cJSON_GetObjectItem(json, "unit")->valuestring, "bytes") == 0);
    CHECK_NUMBER(field(json, "capacity"), 30);
    CHECK_NUMBER(field(json, "miss_ratio"), (double)run.misses / 2000);
    CHECK_NUMBER(field(json, "byte_miss_ratio"), (double)run.misses / 2000);
    CHECK(field(json, "requests_per_second") > 0 && field(json, "cpu_seconds") >= 0);
    CHECK(cJSON_GetObjectItem(json, "train_steps") == NULL);
    const cJSON *timeline = cJSON_GetObjectItem(json, "timeline");
    REQUIRE(cJSON_GetArraySize(timeline) == 200);
    const cJSON *last = cJSON_GetArrayItem(timeline, 199);
    double sum = 0;
    CHECK_NUMBER(cJSON_GetArrayItem(last, 0)->valuedouble, 2000);
    for (int i = 0; i < 200; i++)
        sum += cJSON_GetArrayItem(cJSON_GetArrayItem(timeline, i), 1)->valuedouble * 10;
    CHECK(fabs(sum - (double)run.misses) < 1e-6);
    cJSON_Delete(json);
    tarn_run_clear(&run);
    tarn_replay_result_clear(&result);
    CHECK(result.run.windows == NULL);
    sim_trace_free(&trace);
}

static void other_kinds_fit(void)
{
    struct tarn_trace_data trace = sim_trace_random(2000, 20, 9, 1, 2);
    struct tarn_replay_params params = {.kinds = kinds, .run = {.windows = 7, .seed = 5}};
    struct tarn_replay_result result;
    double hits = 0, gets = 0;
    trace.key = calloc(trace.objects, sizeof *trace.key);
    for (uint32_t i = 0; i < trace.objects; i++)
        trace.key[i] = 1000 + i;
    for (size_t i = 0; i < trace.count; i++) {
        gets += trace.op[i] == TARN_TRACE_GET;
        hits += i > 0 && trace.op[i] == TARN_TRACE_GET && trace.object[i] == trace.object[i - 1] &&
                trace.op[i - 1] != TARN_TRACE_DELETE;
    }
    CHECK(tarn_replay_known(&params, "one") && tarn_replay_known(&params, "lru"));
    CHECK(!tarn_replay_known(&params, "two"));
    REQUIRE(tarn_replay_run(&trace, "one", &ten_percent, &params, &result, NULL) == TARN_OK);
    CHECK_NUMBER(ones_alive, 0);
    CHECK_NUMBER(one_limit.capacity, 30);
    CHECK_NUMBER(result.run.gets, gets);
    CHECK_NUMBER(result.run.misses, gets - hits);
    CHECK_NUMBER(result.run.window_count, 7);
    cJSON *json = printed(&result);
    REQUIRE(json != NULL);
    CHECK_NUMBER(field(json, "train_steps"), 2000);
    CHECK_NUMBER(field(json, "rollbacks"), 0);
    CHECK_NUMBER(field(json, "confidence"), 0.75);
    CHECK(strcmp(cJSON_GetObjectItem(json, "workload")->valuestring, "scan \"quoted\"") == 0);
    CHECK_NUMBER(field(cJSON_GetObjectItem(json, "blend"), "scan"), 0.25);
    CHECK(is_null(cJSON_GetObjectItem(json, "blend"), "zipf"));
    cJSON_Delete(json);
    tarn_replay_result_clear(&result);

    params.run.seed = 6; /* the cache says nothing */
    REQUIRE(tarn_replay_run(&trace, "one", &ten_percent, &params, &result, NULL) == TARN_OK);
    json = printed(&result);
    REQUIRE(json != NULL);
    CHECK(is_null(json, "train_steps") && is_null(json, "swaps") && is_null(json, "rollbacks"));
    CHECK(is_null(json, "model_bytes") && is_null(json, "workload") && is_null(json, "blend") &&
          is_null(json, "confidence"));
    cJSON_Delete(json);
    tarn_replay_result_clear(&result);
    free(trace.key);
    sim_trace_free(&trace);
}

static void a_trace_without_gets_has_no_ratio(void)
{
    struct tarn_trace_data trace = sim_trace_random(50, 10, 1, 1, 3);
    struct tarn_replay_params params = {.run.windows = 5};
    struct tarn_replay_result result;
    memset(trace.op, TARN_TRACE_PUT, trace.count);
    REQUIRE(tarn_replay_run(&trace, "lru", &ten_percent, &params, &result, NULL) == TARN_OK);
    CHECK(isnan(tarn_run_miss_ratio(&result.run)));
    cJSON *json = printed(&result);
    REQUIRE(json != NULL);
    CHECK(is_null(json, "miss_ratio") && is_null(json, "byte_miss_ratio"));
    CHECK_NUMBER(cJSON_GetArraySize(cJSON_GetObjectItem(json, "timeline")), 0);
    cJSON_Delete(json);
    tarn_replay_result_clear(&result);
    sim_trace_free(&trace);
}

static void limits_below_one_object_are_refused(void)
{
    struct tarn_trace_data trace = sim_trace_random(100, 10, 1, 0, 1);
    struct tarn_error error = {0};
    struct tarn_replay_limit limit = {.text = "0.1%", .capacity = 0, .objects = true};
    struct tarn_replay_params params = {0};
    struct tarn_replay_result result;
    CHECK(tarn_replay_check_limit(&trace, &limit, &error) == TARN_INVALID);
    CHECK(strstr(error.message, "0.1%") != NULL && strstr(error.message, "test") != NULL);
    CHECK(tarn_replay_run(&trace, "lru", &limit, &params, &result, &error) == TARN_INVALID);
    limit.capacity = 1;
    CHECK(tarn_replay_check_limit(&trace, &limit, &error) == TARN_OK);
    for (size_t i = 0; i < trace.count; i++)
        trace.size[i] = 100 + i;
    limit.objects = false;
    limit.capacity = 99;
    CHECK(tarn_replay_check_limit(&trace, &limit, &error) == TARN_INVALID);
    limit.capacity = 100;
    CHECK(tarn_replay_check_limit(&trace, &limit, &error) == TARN_OK);
    CHECK(tarn_replay_run(&trace, "mru", &limit, &params, &result, &error) == TARN_NOT_FOUND);
    sim_trace_free(&trace);
}

static void gap_closed(void)
{
    struct tarn_run lru = {.gets = 100, .misses = 80}, belady = {.gets = 100, .misses = 40};
    struct tarn_run run = {.gets = 100, .misses = 70};
    CHECK_NUMBER(tarn_run_gap_closed(&run, &lru, &belady), (0.8 - 0.7) / (0.8 - 0.4));
    CHECK_NUMBER(tarn_run_gap_closed(&belady, &lru, &belady), 1);
    CHECK(isnan(tarn_run_gap_closed(&run, &lru, &lru)));
    CHECK(isnan(tarn_run_gap_closed(&run, &belady, &lru)));
}

CHECK_MAIN(CASE(tags_and_costs_reach_the_cache), CASE(baselines_and_their_json),
           CASE(other_kinds_fit), CASE(a_trace_without_gets_has_no_ratio),
           CASE(limits_below_one_object_are_refused), CASE(gap_closed))
