/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "base/half.h"
#include "base/hash.h"
#include "base/memory.h"
#include "experts/classify.h"
#include "experts/train.h"
#include "sim/blends.h"
#include "trace/gen.h"

static struct tarn_workload_report report;

static struct tarn_workload *begin(void)
{
    struct tarn_workload *workload;
    if (tarn_workload_create(NULL, &workload, NULL) != TARN_OK)
        abort();
    return workload;
}

static void end(struct tarn_workload *workload)
{
    tarn_workload_get_report(workload, &report);
    tarn_workload_destroy(&workload);
}

static bool is_whole(const struct tarn_workload_verdict *verdict)
{
    float sum = 0;
    for (int k = 0; k < TARN_WORKLOAD_PARTS; k++) {
        if (!(verdict->blend[k] >= 0 && verdict->blend[k] <= 1))
            return false;
        sum += verdict->blend[k];
    }
    return fabsf(sum - 1) < 1e-4f && verdict->confidence >= 0 && verdict->confidence <= 1 &&
           (unsigned)verdict->top < TARN_WORKLOADS;
}

static bool all_whole(void)
{
    return is_whole(&report.now) && is_whole(&report.overall);
}

static void hazards_are_chances(void)
{
    const float logits[] = {0, 99, 0, 99, -1.0986123f}; /* h = 1/2, 1/2, 1/4 */
    float chances[4];
    tarn_workload_chances(logits, 2, 4, chances);
    CHECK(fabsf(chances[0] - 0.5f) < 1e-6f && fabsf(chances[1] - 0.25f) < 1e-6f);
    CHECK(fabsf(chances[2] - 0.0625f) < 1e-6f && fabsf(chances[3] - 0.1875f) < 1e-6f);
}

static void halves_are_numbers(void)
{
    CHECK(tarn_half(0x3c00) == 1 && tarn_half(0xc000) == -2 && tarn_half(0x3555) > 0.333f);
    CHECK(tarn_half(0x7bff) == 65504 && tarn_half(0x0001) == 0x1p-24f && tarn_half(0) == 0);
}

static void blends_have_names(void)
{
    static const struct {
        float blend[TARN_WORKLOAD_PARTS];
        tarn_workload_class wanted;
    } cases[] = {
        {{1, 0, 0, 0, 0}, TARN_WORKLOAD_ZIPF},
        {{0.88f, 0.12f, 0, 0, 0}, TARN_WORKLOAD_ZIPF},
        {{0.8f, 0.2f, 0, 0, 0}, TARN_WORKLOAD_SCAN},
        {{0, 1, 0, 0, 0}, TARN_WORKLOAD_SCAN},
        {{0.5f, 0, 0.4f, 0.1f, 0}, TARN_WORKLOAD_LOOP},
        {{0.3f, 0, 0, 0.7f, 0}, TARN_WORKLOAD_RECENCY},
        {{0.7f, 0, 0, 0, 0.3f}, TARN_WORKLOAD_BURST},
        {{0.5f, 0.25f, 0.25f, 0, 0}, TARN_WORKLOAD_MIXED},
        {{0.2f, 0.2f, 0.2f, 0.2f, 0.2f}, TARN_WORKLOAD_MIXED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_NUMBER(tarn_workload_of_blend(cases[i].blend), cases[i].wanted);
    CHECK(strcmp(tarn_workload_name(TARN_WORKLOAD_RECENCY), "recency") == 0);
    CHECK(strcmp(tarn_workload_name(TARN_WORKLOADS), "unknown") == 0);
}

static void nothing_is_said_before_anything_is_seen(void)
{
    struct tarn_workload *workload = begin();
    tarn_workload_get_report(workload, &report);
    CHECK(all_whole());
    CHECK_NUMBER(report.now.confidence, 0);
    CHECK_NUMBER(report.overall.confidence, 0);
    CHECK_NUMBER(report.evaluations, 0);
    for (uint64_t i = 0; i < 200; i++)
        tarn_workload_access(workload, tarn_mix64(i), 1);
    end(workload);
    CHECK_NUMBER(report.now.confidence, 0);
    CHECK(all_whole());
}

static void strange_streams_get_an_answer(void)
{
    struct tarn_workload *workload = begin();
    for (int i = 0; i < 100000; i++)
        tarn_workload_access(workload, tarn_mix64(5), i % 2 == 0 ? 0 : 64);
    end(workload);
    CHECK(all_whole());
    CHECK(report.now.confidence > 0);
    CHECK(report.changes <= 1);
    workload = begin();
    for (uint64_t i = 0; i < 100000; i++)
        tarn_workload_access(workload, tarn_mix64(i), (float)(i % 40));
    end(workload);
    CHECK(all_whole());
    CHECK_NUMBER(report.now.top, TARN_WORKLOAD_SCAN);
    CHECK_NUMBER(report.overall.top, TARN_WORKLOAD_SCAN);
    CHECK(report.now.blend[TARN_WORKLOAD_SCAN] > 0.85f);
}

static void read_gen(struct tarn_workload *workload, const char *kind, uint64_t objects,
                     uint64_t requests, uint64_t seed)
{
    struct tarn_gen_params params = {
        .kind = kind, .requests = requests, .objects = objects, .seed = seed};
    struct tarn_request request;
    tarn_gen *gen;
    if (tarn_gen_create(&params, &gen, NULL) != TARN_OK)
        abort();
    while (tarn_gen_read(gen, &request, 1) == 1)
        tarn_workload_access(workload, tarn_hash(&request.key, sizeof request.key), 0);
    tarn_gen_destroy(&gen);
}

static void generators_are_known_by_their_names(void)
{
    static const char *const kinds[] = {"zipf", "scan", "loop", "recency", "burst", "mixed"};
    for (int k = 0; k < TARN_WORKLOADS; k++) {
        struct tarn_workload *workload = begin();
        read_gen(workload, kinds[k], 10000, 300000, 11);
        end(workload);
        printf("# %s: %s, %.2f\n", kinds[k], tarn_workload_name(report.overall.top),
               (double)report.overall.confidence);
        CHECK_NUMBER(report.overall.top, k);
        CHECK(all_whole());
    }
}

/* The same name, all the time, with one request in forty for something else. */
static void noise_changes_nothing(void)
{
    for (int component = 0; component < TARN_WORKLOAD_PARTS; component++) {
        struct tarn_rng rng;
        struct tarn_blend_spec spec;
        tarn_blend *blend;
        uint32_t ignored;
        uint64_t changes;
        tarn_rng_seed(&rng, 21);
        tarn_blend_draw(&rng, TARN_BLEND_INSIDE, 1, component, &spec);
        spec.noise = 0.025;
        spec.front_cache = 0;
        REQUIRE(tarn_blend_create(&spec, &blend, NULL) == TARN_OK);
        struct tarn_workload *workload = begin();
        for (int i = 0; i < 200000; i++)
            tarn_workload_access(workload, tarn_blend_next(blend, &ignored), 0);
        tarn_workload_get_report(workload, &report);
        changes = report.changes;
        CHECK_NUMBER(report.now.top, component);
        for (int i = 0; i < 400000; i++)
            tarn_workload_access(workload, tarn_blend_next(blend, &ignored), 0);
        end(workload);
        CHECK_NUMBER(report.now.top, component);
        CHECK(report.changes <= changes + 2);
        tarn_blend_destroy(&blend);
    }
}

static void a_change_is_noticed_soon(void)
{
    struct tarn_workload *workload = begin();
    read_gen(workload, "zipf", 10000, 200000, 1);
    tarn_workload_get_report(workload, &report);
    CHECK_NUMBER(report.now.top, TARN_WORKLOAD_ZIPF);
    read_gen(workload, "burst", 10000, 40000, 2);
    tarn_workload_get_report(workload, &report);
    CHECK_NUMBER(report.now.top, TARN_WORKLOAD_BURST);
    read_gen(workload, "loop", 1000, 40000, 3);
    end(workload);
    CHECK_NUMBER(report.now.top, TARN_WORKLOAD_LOOP);
    CHECK(report.changes >= 2);
    CHECK(all_whole());
}

/* A network that gives the same logits whatever it sees. */
static struct tarn_model *constant_model(uint32_t inputs, uint32_t outputs, float logit)
{
    static float weights[TARN_STREAM_FEATURES * 2 + 64];
    const struct tarn_shape shape = {inputs, 2, 2, outputs};
    struct tarn_model *model;
    size_t count = tarn_shape_weights(&shape);
    memset(weights, 0, sizeof weights);
    for (size_t i = count - outputs; i < count; i++)
        weights[i] = logit;
    if (tarn_model_create(&shape, weights, "constant", &model) != TARN_OK)
        abort();
    return model;
}

static void networks_can_be_given(void)
{
    struct tarn_model *classes = constant_model(TARN_STREAM_FEATURES, TARN_WORKLOADS - 1, 0);
    struct tarn_model *blend = constant_model(TARN_STREAM_FEATURES, TARN_WORKLOAD_PARTS - 1, 0);
    struct tarn_model *other = constant_model(TARN_FEATURES, TARN_WORKLOADS - 1, 0);
    struct tarn_workload *workload;
    struct tarn_error error;
    CHECK_NUMBER(
        tarn_workload_create(&(struct tarn_workload_params){{other, blend}}, &workload, &error),
        TARN_UNSUPPORTED);
    CHECK(workload == NULL && strstr(error.message, "28 features") != NULL);
    CHECK_NUMBER(
        tarn_workload_create(&(struct tarn_workload_params){{classes, classes}}, &workload, &error),
        TARN_UNSUPPORTED);
    REQUIRE(tarn_workload_create(&(struct tarn_workload_params){{classes, blend}}, &workload,
                                 NULL) == TARN_OK);
    for (uint64_t i = 0; i < 10000; i++)
        tarn_workload_access(workload, tarn_mix64(i), 0);
    end(workload);
    CHECK_NUMBER(report.now.top, TARN_WORKLOAD_ZIPF);
    CHECK(fabsf(report.now.confidence - 0.5f) < 1e-6f);
    CHECK(fabsf(report.now.blend[TARN_WORKLOAD_LOOP] - 0.125f) < 1e-6f);
    CHECK(all_whole());
    tarn_model_destroy(&classes);
    tarn_model_destroy(&blend);
    tarn_model_destroy(&other);
}

static void a_network_that_gives_no_numbers_is_not_heard(void)
{
    struct tarn_model *classes = constant_model(TARN_STREAM_FEATURES, TARN_WORKLOADS - 1, NAN);
    struct tarn_workload *workload;
    REQUIRE(tarn_workload_create(&(struct tarn_workload_params){{classes}}, &workload, NULL) ==
            TARN_OK);
    for (uint64_t i = 0; i < 10000; i++)
        tarn_workload_access(workload, tarn_mix64(i), 0);
    end(workload);
    CHECK_NUMBER(report.evaluations, 0);
    CHECK_NUMBER(report.now.confidence, 0);
    CHECK(all_whole());
    tarn_model_destroy(&classes);
}

/* A few of what tests/bench/classify.c draws hundreds of: the networks that are built in are no worse. */
static void networks_are_as_good_as_they_should_be(void)
{
    static const struct {
        tarn_blend_range range;
        uint32_t parts;
        int right;    /* of 40, at least */
        float unsure; /* difference of mean confidence and share that is right, at most */
        int close;    /* shares within 0.15, at least */
    } sets[] = {
        {TARN_BLEND_INSIDE, 1, 37, 0.07f, 36},
        {TARN_BLEND_OUTSIDE, 1, 33, 0.12f, 31},
        {TARN_BLEND_INSIDE, 2, 29, 0.15f, 24},
        {TARN_BLEND_OUTSIDE, 2, 25, 0.25f, 15},
    };
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++) {
        struct tarn_rng rng;
        int right = 0, close = 0;
        float sure = 0;
        tarn_rng_seed(&rng, 1234 + s);
        for (int i = 0; i < 40; i++) {
            struct tarn_blend_spec spec;
            tarn_blend *blend;
            double counts[TARN_WORKLOAD_PARTS + 1] = {0}, sum = 0;
            float truth[TARN_WORKLOAD_PARTS], worst = 0;
            tarn_blend_draw(&rng, sets[s].range, sets[s].parts, i % TARN_WORKLOAD_PARTS, &spec);
            REQUIRE(tarn_blend_create(&spec, &blend, NULL) == TARN_OK);
            struct tarn_workload *workload = begin();
            for (int n = 0; n < 150000; n++) {
                uint32_t component;
                tarn_workload_access(workload, tarn_blend_next(blend, &component), -1);
                counts[component]++;
            }
            end(workload);
            tarn_blend_destroy(&blend);
            for (int k = 0; k < TARN_WORKLOAD_PARTS; k++)
                sum += counts[k];
            for (int k = 0; k < TARN_WORKLOAD_PARTS; k++) {
                truth[k] = (float)(counts[k] / sum);
                worst = fmaxf(worst, fabsf(truth[k] - report.overall.blend[k]));
            }
            right += report.overall.top == tarn_workload_of_blend(truth);
            close += worst <= 0.15f;
            sure += report.overall.confidence / 40;
        }
        printf("# %d right of 40, confidence %.2f, %d within 0.15\n", right, (double)sure, close);
        CHECK(right >= sets[s].right);
        CHECK(close >= sets[s].close);
        CHECK(fabsf(sure - (float)right / 40) <= sets[s].unsure);
    }
}

static size_t allowed, held;

static bool allow_some(size_t size)
{
    if (size == 0) {
        held--;
        return true;
    }
    if (allowed == 0)
        return false;
    allowed--;
    held++;
    return true;
}

static void without_memory_there_is_none(void)
{
    struct tarn_workload *workload = NULL;
    tarn_status status = TARN_NO_MEMORY;
    size_t needed = 0;
    tarn_memory_set_hook(allow_some);
    for (; status != TARN_OK && needed < 100; needed++) {
        held = 0;
        allowed = needed;
        status = tarn_workload_create(NULL, &workload, NULL);
        CHECK(status == TARN_OK || (status == TARN_NO_MEMORY && workload == NULL && held == 0));
    }
    CHECK(needed > 4 && needed < 100);
    CHECK(tarn_workload_memory(workload) < 176 << 10);
    allowed = 0; /* and none is asked for later */
    for (uint64_t i = 0; i < 10000; i++)
        tarn_workload_access(workload, tarn_mix64(i % 700), 0);
    tarn_workload_get_report(workload, &report);
    CHECK(report.evaluations > 0);
    tarn_workload_destroy(&workload);
    CHECK_NUMBER(held, 0);
    tarn_memory_set_hook(NULL);
}

/* One feature tells two classes apart; where it is 0 it is one in four of the second. */
static void training_learns_chances(void)
{
    enum { COUNT = 3000 };
    static struct tarn_workload_sample samples[2 * COUNT];
    struct tarn_rng rng;
    struct tarn_model *model = NULL;
    struct tarn_workload_trained trained;
    struct tarn_error error;
    tarn_rng_seed(&rng, 4);
    for (int i = 0; i < 2 * COUNT; i++) {
        bool known = tarn_rng_below(&rng, 2) == 0;
        bool loop = tarn_rng_below(&rng, known ? 2 : 4) == 0;
        samples[i].features[3] = known ? loop ? 64 : -64 : 0;
        samples[i].blend[loop ? TARN_WORKLOAD_LOOP : TARN_WORKLOAD_BURST] = 1;
    }
    struct tarn_workload_train_params params = {
        .samples = samples,
        .count = COUNT,
        .kept = samples + COUNT,
        .kept_count = COUNT,
        .steps = 1200,
        .seed = 2,
    };
    REQUIRE(tarn_workload_train(&params, &model, &trained, &error) == TARN_OK);
    CHECK(fabsf(trained.right - 0.875f) < 0.03f);
    CHECK(trained.ece < 0.04f);
    tarn_model_destroy(&model);
    params.network = TARN_WORKLOAD_NOW_BLEND;
    REQUIRE(tarn_workload_train(&params, &model, &trained, &error) == TARN_OK);
    CHECK(fabsf(trained.right - 0.875f) < 0.03f && trained.ece < 0.04f);
    CHECK(trained.blend_error > 0.1f &&
          trained.blend_error < 0.25f); /* 2 * .75 * .25 of half of them */
    tarn_model_destroy(&model);
    params.kept_count = 0;
    CHECK_NUMBER(tarn_workload_train(&params, &model, &trained, &error), TARN_INVALID);
}

/* What is known by name only is learnt too, beside the rest, but by the networks of classes alone. */
static void training_learns_names(void)
{
    enum { COUNT = 2000 };
    static struct tarn_workload_sample samples[2 * COUNT], named[100];
    _Alignas(64) static float tile[TARN_WORKLOAD_SEEN * TARN_LANES],
        logits[TARN_MAX_BINS * TARN_LANES];
    for (int i = 0; i < 2 * COUNT; i++) {
        samples[i].features[3] = i % 2 == 0 ? 64 : -64;
        samples[i].blend[i % 2 == 0 ? TARN_WORKLOAD_LOOP : TARN_WORKLOAD_BURST] = 1;
    }
    for (int i = 0; i < 100; i++) {
        named[i].features[3] = i % 2 == 0 ? 64 : -64;
        named[i].features[5] = 96;
        named[i].blend[TARN_WORKLOAD_SCAN] = 1;
    }
    struct tarn_workload_train_params params = {
        .samples = samples,
        .count = COUNT,
        .kept = samples + COUNT,
        .kept_count = COUNT,
        .named = named,
        .named_count = 100,
        .named_share = 0.3f,
        .steps = 600,
        .seed = 2,
    };
    for (int network = TARN_WORKLOAD_NOW_CLASS; network <= TARN_WORKLOAD_NOW_BLEND; network++) {
        struct tarn_workload_trained trained;
        struct tarn_model *model;
        struct tarn_error error;
        float chances[TARN_WORKLOADS];
        params.network = network;
        REQUIRE(tarn_workload_train(&params, &model, &trained, &error) == TARN_OK);
        CHECK(trained.right > 0.99f);
        tile[3 * TARN_LANES] = 2;
        tile[5 * TARN_LANES] = 3;
        tarn_logits_host(&model->shape, model->weights, tile, 1, logits);
        tarn_workload_chances(logits, TARN_LANES, model->shape.outputs + 1, chances);
        if (network == TARN_WORKLOAD_NOW_CLASS)
            CHECK(chances[TARN_WORKLOAD_SCAN] > 0.9f);
        else
            CHECK(chances[TARN_WORKLOAD_SCAN] < 0.1f);
        tarn_model_destroy(&model);
    }
}

/* What was kept of a stream says the same as the stream. */
static void kept_looks_are_as_good_as_requests(void)
{
    struct tarn_workload *workload = begin(), *again = begin();
    struct tarn_workload_report second;
    struct tarn_stream *stream;
    REQUIRE(tarn_stream_create(&stream) == TARN_OK);
    for (uint64_t i = 0; i < 30000; i++) {
        int8_t features[TARN_STREAM_FEATURES];
        uint64_t hash = tarn_mix64(i % 3000);
        tarn_workload_access(workload, hash, -1);
        if (!tarn_stream_access(stream, hash, -1))
            continue;
        tarn_stream_features(stream, features);
        tarn_workload_look(again, features, i + 1);
    }
    tarn_stream_destroy(&stream);
    tarn_workload_get_report(again, &second);
    tarn_workload_destroy(&again);
    end(workload);
    CHECK_NUMBER(second.evaluations, report.evaluations);
    CHECK_NUMBER(memcmp(&second.overall, &report.overall, sizeof second.overall), 0);
    CHECK_NUMBER(memcmp(&second.now, &report.now, sizeof second.now), 0);
}

CHECK_MAIN(CASE(hazards_are_chances), CASE(halves_are_numbers), CASE(blends_have_names),
           CASE(nothing_is_said_before_anything_is_seen), CASE(strange_streams_get_an_answer),
           CASE(generators_are_known_by_their_names), CASE(noise_changes_nothing),
           CASE(a_change_is_noticed_soon), CASE(networks_can_be_given),
           CASE(networks_are_as_good_as_they_should_be),
           CASE(a_network_that_gives_no_numbers_is_not_heard), CASE(without_memory_there_is_none),
           CASE(training_learns_chances), CASE(training_learns_names),
           CASE(kept_looks_are_as_good_as_requests))
