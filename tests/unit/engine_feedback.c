/* SPDX-License-Identifier: Apache-2.0 */
/* An engine writes down what its decisions cost, keeps it, and goes by it when a class comes back. */
#include "../check.h"

#include <math.h>
#include <tarn/feedback.h>
#include <tarn/log.h>
#include <unistd.h>

#include "base/rng.h"
#include "engine/engine_private.h"

enum { OBJECTS = 2000, PHASE = 50000 };

static char folder[64], said[400];

static void listen(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    if (strstr(message, "what decisions cost") != NULL)
        snprintf(said, sizeof said, "%s", message);
}

static tarn_engine *begin(bool learns, bool shadows)
{
    tarn_engine *engine;
    struct tarn_learning_params learning;
    tarn_learning_defaults(&learning);
    learning.recall = true;
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                        .device = "host",
                                                        .background = TARN_BACKGROUND_STEPS,
                                                        .no_learn = !learns,
                                                        .no_shadows = !shadows,
                                                        .learning = &learning,
                                                        .state_dir = folder[0] ? folder : NULL},
                           &engine, NULL) != TARN_OK)
        abort();
    return engine;
}

static struct tarn_feedback *read_all(tarn_engine *engine)
{
    struct tarn_feedback *f;
    if (tarn_engine_copy_feedback(engine, &f) != TARN_OK)
        abort();
    return f;
}

static void ask(tarn_engine *engine, uint64_t key)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    const struct tarn_item item = {.charge = 1};
    size_t room = 0;
    if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
        tarn_cache_put(cache, &key, sizeof key, &item);
    tarn_engine_step(engine);
}

/* Day: independent requests, some objects more popular. Night: a loop that is too long for the cache. */
static void run_phase(tarn_engine *engine, bool night, uint64_t seed)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    for (uint64_t i = 0; i < PHASE; i++) {
        double u = tarn_rng_double(&rng);
        ask(engine, night ? 1000000 + i % 3000 : (uint64_t)(u * u * u * 15000));
    }
}

static void everything_is_counted_once(void)
{
    tarn_engine *engine = begin(true, true);
    struct tarn_feedback_figures sum, part;
    struct tarn_cache_stats stats;
    struct tarn_version_stats versions;
    double sampled = 0;
    uint64_t requests = 0, swaps = 0;
    for (int i = 0; i < 4; i++)
        run_phase(engine, i % 2 == 1, 5 + (uint64_t)i);
    struct tarn_feedback *f = read_all(engine);
    tarn_cache_get_stats(tarn_engine_cache(engine), &stats);
    tarn_engine_get_versions(engine, &versions);
    tarn_feedback_sum(f, TARN_WORKLOADS, 0, &sum);
    CHECK_NUMBER(sum.requests, stats.gets);
    CHECK_NUMBER(sum.misses, stats.gets - stats.hits);
    CHECK(sum.sampled > 1000 && sum.cost > 0 && sum.cost < sum.sampled);
    CHECK(sum.beside_lru > 0 && sum.lru_misses > sum.own_misses);
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        if (k < 4) /* there is no ensemble */
            CHECK(f->expert[k][0] != '\0' && sum.expert_cost[k] > 0 &&
                  sum.expert_cost[k] < sum.sampled);
        else
            CHECK(f->expert[k][0] == '\0' && sum.expert_cost[k] <= 0);
    CHECK(strcmp(f->expert[0], "network") == 0);
    /* a mix is not far from the best of its experts, on either side */
    CHECK(fabs(tarn_feedback_regret(&sum)) < 0.1);
    CHECK(f->by_class[TARN_WORKLOAD_LOOP].requests > PHASE);
    CHECK(f->by_class[TARN_WORKLOAD_ZIPF].requests > PHASE);
    CHECK(f->visits[TARN_WORKLOAD_LOOP] >= 2);
    for (uint32_t i = 0; i < f->record_count; i++) {
        requests += f->record[i].figures.requests;
        swaps += f->record[i].swaps;
    }
    CHECK_NUMBER(requests, stats.gets);
    /* what is live at the start is no swap here */
    CHECK(versions.swaps > 2 && swaps + 2 >= versions.swaps && swaps <= versions.swaps);
    CHECK_NUMBER(f->record[f->record_count - 1].end, 4 * PHASE);
    for (uint32_t i = 0; i < f->version_count; i++)
        for (int c = 0; c < TARN_WORKLOADS; c++)
            sampled += f->version[i].by_class[c].sampled;
    CHECK(fabs(sampled - sum.sampled) < 1e-6);
    tarn_feedback_sum(f, TARN_WORKLOADS, versions.live, &part);
    CHECK(part.requests > 0 && part.requests < sum.requests);
    tarn_books_sum(engine, TARN_WORKLOADS, 0, &part);
    CHECK(memcmp(&part, &sum, sizeof sum) == 0);
    tarn_feedback_free(&f);
    tarn_engine_destroy(&engine);
}

static void without_shadows_only_misses_are_known(void)
{
    tarn_engine *engine = begin(false, false);
    struct tarn_feedback_figures sum;
    run_phase(engine, false, 1);
    struct tarn_feedback *f = read_all(engine);
    tarn_feedback_sum(f, TARN_WORKLOADS, 0, &sum);
    CHECK_NUMBER(sum.requests, PHASE);
    CHECK(isnan(tarn_feedback_regret(&sum)) && isnan(tarn_feedback_gain(&sum)));
    CHECK(f->expert[1][0] == '\0');
    tarn_feedback_free(&f);
    tarn_engine_destroy(&engine);
}

/* The experts' weights of the day are there again in the morning. */
static void a_class_that_returns_is_remembered(void)
{
    tarn_engine *engine = begin(false, true);
    for (int day = 0; day < 3; day++) {
        run_phase(engine, false, 5);
        run_phase(engine, true, 6);
    }
    struct tarn_feedback *f = read_all(engine);
    const struct tarn_mix *mix = &engine->learned->mix;
    CHECK(f->mix_seen[TARN_WORKLOAD_ZIPF] > 0 && f->mix_seen[TARN_WORKLOAD_LOOP] > 0);
    double before = 0, after = 0;
    for (uint32_t k = 0; k < mix->experts; k++)
        before += fabs(mix->misses[k] - f->mix[TARN_WORKLOAD_ZIPF][k]);
    struct tarn_workload_verdict verdict = {.top = TARN_WORKLOAD_LOOP};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 9);
    int requests = 0;
    for (; verdict.top != TARN_WORKLOAD_ZIPF && requests < 2 * PHASE; requests++) {
        double u = tarn_rng_double(&rng);
        ask(engine, (uint64_t)(u * u * u * 15000));
        tarn_workload_get_present(engine->workload, &verdict);
    }
    for (int i = 0; i < 256; i++) /* until the background has looked */
        ask(engine, (uint64_t)i);
    for (uint32_t k = 0; k < mix->experts; k++)
        after += fabs(mix->misses[k] - f->mix[TARN_WORKLOAD_ZIPF][k]);
    printf("# named after %d requests; distance %.1f, then %.1f\n", requests, before, after);
    CHECK(requests < 2 * PHASE && after < before / 2);
    tarn_feedback_free(&f);
    tarn_engine_destroy(&engine);
}

static void what_is_known_outlives_the_engine(void)
{
    char path[96];
    struct tarn_feedback *kept, *f;
    struct tarn_feedback_figures sum;
    struct tarn_error error;
    strcpy(folder, "/tmp/tarn-feedback-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    tarn_log_set(listen, NULL, TARN_LOG_WARNING);
    snprintf(path, sizeof path, "%s/feedback", folder);
    CHECK_NUMBER(tarn_feedback_read(folder, &kept, &error), TARN_NOT_FOUND);
    for (int start = 1; start <= 2; start++) {
        tarn_engine *engine = begin(true, true);
        run_phase(engine, true, 4);
        tarn_engine_destroy(&engine);
        REQUIRE(tarn_feedback_read(folder, &kept, &error) == TARN_OK);
        tarn_feedback_sum(kept, TARN_WORKLOADS, 0, &sum);
        CHECK_NUMBER(sum.requests, PHASE * start);
        CHECK_NUMBER(kept->record[kept->record_count - 1].end, PHASE * start);
        tarn_feedback_free(&kept);
    }
    CHECK(said[0] == '\0');
    CHECK(truncate(path, 1000) == 0);
    CHECK_NUMBER(tarn_feedback_read(path, &kept, &error), TARN_CORRUPT);
    tarn_engine *engine = begin(true, true);
    CHECK(strstr(said, "damaged") != NULL);
    f = read_all(engine);
    tarn_feedback_sum(f, TARN_WORKLOADS, 0, &sum);
    CHECK_NUMBER(sum.requests, 0);
    tarn_feedback_free(&f);
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(tarn_feedback_read(path, &kept, &error), TARN_OK);
    tarn_feedback_free(&kept);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
    folder[0] = '\0';
}

/* After a restart too, once the class is named. */
static void what_a_class_taught_experts_outlives_the_engine(void)
{
    double distance[2];
    char command[128];
    struct tarn_feedback *kept;
    strcpy(folder, "/tmp/tarn-feedback-XXXXXX");
    REQUIRE(mkdtemp(folder) != NULL);
    tarn_engine *engine = begin(false, true);
    for (int day = 0; day < 3; day++) {
        run_phase(engine, false, 5);
        run_phase(engine, true, 6);
    }
    tarn_engine_destroy(&engine);
    snprintf(command, sizeof command, "%s/feedback", folder);
    REQUIRE(tarn_feedback_read(command, &kept, NULL) == TARN_OK);
    CHECK(kept->mix_seen[TARN_WORKLOAD_ZIPF] > 0 && kept->mix_seen[TARN_WORKLOAD_LOOP] > 0);
    snprintf(command, sizeof command, "rm -r %s", folder);
    for (int fresh = 0; fresh < 2; fresh++) {
        engine = begin(false, true);
        struct tarn_workload_verdict verdict = {0};
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 9);
        for (int i = 0; (verdict.confidence <= 0 || verdict.top != TARN_WORKLOAD_ZIPF) && i < PHASE;
             i++) {
            double u = tarn_rng_double(&rng);
            ask(engine, (uint64_t)(u * u * u * 15000));
            tarn_workload_get_present(engine->workload, &verdict);
        }
        for (int i = 0; i < 64; i++) /* until the background has looked */
            ask(engine, (uint64_t)i);
        CHECK(verdict.top == TARN_WORKLOAD_ZIPF);
        distance[fresh] = 0;
        for (uint32_t k = 0; k < engine->learned->mix.experts; k++)
            distance[fresh] +=
                fabs(engine->learned->mix.misses[k] - kept->mix[TARN_WORKLOAD_ZIPF][k]);
        tarn_engine_destroy(&engine);
        if (fresh == 0)
            CHECK(system(command) == 0);
        folder[0] = '\0';
    }
    printf("# distance %.1f, without what was kept %.1f\n", distance[0], distance[1]);
    CHECK(distance[0] < distance[1] / 4);
    tarn_feedback_free(&kept);
}

CHECK_MAIN(CASE(what_a_class_taught_experts_outlives_the_engine), CASE(everything_is_counted_once),
           CASE(without_shadows_only_misses_are_known), CASE(a_class_that_returns_is_remembered),
           CASE(what_is_known_outlives_the_engine))
