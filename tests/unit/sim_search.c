/* SPDX-License-Identifier: Apache-2.0 */
/* The search for a class's set: it finds what is better, keeps nothing that isn't, and repeats. */
#include "../check.h"

#include <math.h>

#include "sim/search.h"
#include "sim_trace.h"

enum { REQUESTS = 20000, OBJECTS = 3000 };

/* Popular objects, and a third of one-off ones. */
static struct tarn_trace_data make_trace(uint64_t seed)
{
    struct tarn_trace_data trace = sim_trace_alloc(REQUESTS, OBJECTS + REQUESTS);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    trace.key = malloc(trace.objects * sizeof *trace.key);
    for (uint32_t i = 0; i < trace.objects; i++)
        trace.key[i] = i * UINT64_C(0x9e3779b97f4a7c15) + seed;
    for (uint32_t i = 0; i < REQUESTS; i++) {
        double u = tarn_rng_double(&rng);
        trace.object[i] = i % 3 == 0 ? OBJECTS + i : (uint32_t)(u * u * u * OBJECTS);
        trace.size[i] = 1;
    }
    sim_trace_finish(&trace);
    return trace;
}

/* A network that has seen nothing. */
static tarn_model *novice(void)
{
    static const struct tarn_model_sample blank;
    const struct tarn_model_run run = {&blank, 1};
    tarn_model *model = NULL;
    CHECK(tarn_model_pretrain(
              &(struct tarn_model_pretrain_params){
                  .runs = &run, .run_count = 1, .steps = 1, .seed = 1},
              &model, NULL) == TARN_OK);
    return model;
}

static tarn_status search(const tarn_model *general, uint32_t trials,
                          struct tarn_search_result *result, struct tarn_error *error)
{
    struct tarn_trace_data trace = make_trace(3);
    const struct tarn_trace_data *traces[] = {&trace};
    struct tarn_search_params params = {
        .general = general, .trials = trials, .seed = 5, .provenance = "a test\n"};
    tarn_set_defaults(&params.settings);
    /* nobody beside the network has a say, and it hardly learns: weights that fit are worth a lot */
    params.settings.network = 1;
    params.settings.rate = params.settings.pace = 1.0f / 64;
    tarn_status status = tarn_search_run(traces, 1, &params, result, error);
    free(trace.key);
    sim_trace_free(&trace);
    return status;
}

static void what_is_better_is_kept(void)
{
    static struct tarn_search_result first, again;
    struct tarn_error error = {0};
    struct tarn_model_info info;
    tarn_model *general = novice();
    CHECK(search(general, 2, &first, &error) == TARN_OK);
    REQUIRE(first.model != NULL);
    printf("# %+.2f %% +- %.2f in %u cells\n", 100 * first.misses, 100 * first.error, first.cells);
    CHECK(first.kept && first.misses < -0.01 && first.cells == 6 && first.trials == 2);
    CHECK(!isnan(first.trial[first.best].second) && !isnan(first.trial[1].first));
    tarn_model_get_info(first.model, &info);
    CHECK(strstr(info.provenance, "a test\n") != NULL &&
          strstr(info.provenance, "2 trials") != NULL);
    CHECK(search(general, 2, &again, &error) == TARN_OK);
    CHECK(again.misses == first.misses && again.best == first.best);
    struct tarn_model_info same;
    tarn_model_get_info(again.model, &same);
    CHECK(same.hash == info.hash);
    tarn_model_destroy(&first.model);
    tarn_model_destroy(&again.model);
    tarn_model_destroy(&general);
}

static void a_class_gets_its_name(void)
{
    struct tarn_trace_data trace = make_trace(3);
    struct tarn_search_params params = {.general = novice(), .seed = 1};
    tarn_workload_class class = TARN_WORKLOADS;
    double confidence = 0;
    tarn_set_defaults(&params.settings);
    CHECK(tarn_search_classify(&trace, &params, &class, &confidence, NULL) == TARN_OK);
    CHECK(class < TARN_WORKLOADS && confidence > 0 && confidence <= 1);
    tarn_model *general = (tarn_model *)params.general;
    tarn_model_destroy(&general);
    free(trace.key);
    sim_trace_free(&trace);
}

static void what_is_too_short_is_refused(void)
{
    static struct tarn_search_result result;
    struct tarn_trace_data trace = make_trace(3);
    const struct tarn_trace_data *traces[] = {&trace};
    struct tarn_search_params params = {.general = novice(), .trials = 2, .seed = 5};
    struct tarn_error error = {0};
    tarn_set_defaults(&params.settings);
    trace.count = 500;
    CHECK(tarn_search_run(traces, 1, &params, &result, &error) == TARN_INVALID);
    CHECK(result.model == NULL && error.message[0] != '\0');
    tarn_model *general = (tarn_model *)params.general;
    tarn_model_destroy(&general);
    free(trace.key);
    sim_trace_free(&trace);
}

CHECK_MAIN(CASE(what_is_better_is_kept), CASE(a_class_gets_its_name),
           CASE(what_is_too_short_is_refused))
