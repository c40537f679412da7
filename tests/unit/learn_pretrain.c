/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "kernels/layout.h"
#include "model/model.h"
#include "kernels/train.h"
#include "model/sets.h"

#define SAMPLES 3000

static struct tarn_model_sample samples[2][SAMPLES];

/* When an object comes back follows from two of its features: a network can learn it. */
static void make_samples(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 41);
    for (int run = 0; run < 2; run++)
        for (int i = 0; i < SAMPLES; i++) {
            struct tarn_model_sample *s = &samples[run][i];
            for (int f = 0; f < TARN_SAMPLE_FEATURES; f++)
                s->features[f] = (int8_t)((int)tarn_rng_below(&rng, 256) - 128);
            float elapsed = exp2f((float)(s->features[3] - s->features[20]) / 48);
            s->label = (uint16_t)tarn_net_label(&tarn_net_reference, elapsed, true);
        }
}

static const struct tarn_model_run runs[2] = {{samples[0], SAMPLES}, {samples[1], SAMPLES}};

static float losses[8];
static uint32_t reports, stop_after;

static int note(void *user, uint32_t steps, float loss)
{
    CHECK(user == losses && steps > 0);
    if (reports < 8)
        losses[reports] = loss;
    return ++reports != stop_after;
}

static struct tarn_model_pretrain_params params_for(uint32_t steps, uint64_t seed)
{
    reports = stop_after = 0;
    return (struct tarn_model_pretrain_params){.runs = runs,
                                               .run_count = 2,
                                               .steps = steps,
                                               .batch = 64,
                                               .seed = seed,
                                               .provenance = "toy",
                                               .progress = note,
                                               .user = losses};
}

static void the_loss_falls(void)
{
    make_samples();
    tarn_model *model = NULL;
    struct tarn_model_pretrain_params params = params_for(4000, 1);
    REQUIRE(tarn_model_pretrain(&params, &model, NULL) == TARN_OK);
    CHECK_NUMBER(reports, 4);
    CHECK(losses[1] < losses[0] && losses[2] < losses[1] && losses[3] < losses[2]);
    CHECK(losses[3] < 0.5f * losses[0]);
    CHECK(strcmp(model->provenance, "toy") == 0);
    /* what comes back late scores lower */
    float tiles[TARN_FEATURES * TARN_LANES], scores[TARN_LANES];
    memset(tiles, 0, sizeof tiles);
    for (int i = 0; i < TARN_LANES; i++)
        tiles[3 * TARN_LANES + i] = (float)(i - 8) / 4;
    tarn_model_score(model, tiles, TARN_LANES, scores);
    for (int i = 2; i < TARN_LANES - 2; i++)
        CHECK(scores[i + 1] < scores[i]);

    float reached = losses[3];
    /* it can go on from there, and a step changes little then */
    tarn_model *more = NULL;
    params = params_for(1000, 2);
    params.start = model;
    params.rate = 1e-5f;
    CHECK(tarn_model_pretrain(&params, &more, NULL) == TARN_OK);
    CHECK(losses[0] < reached * 1.1f);
    CHECK(more != NULL && fabsf(more->weights[5] - model->weights[5]) < 0.05f);
    tarn_model_destroy(&more);
    tarn_model_destroy(&model);
}

static void seeds_decide(void)
{
    make_samples();
    tarn_model *model[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        struct tarn_model_pretrain_params params = params_for(50, i == 2 ? 8 : 7);
        REQUIRE(tarn_model_pretrain(&params, &model[i], NULL) == TARN_OK);
    }
    size_t size = TARN_NET_PARAMETERS * sizeof(float);
    CHECK(memcmp(model[0]->weights, model[1]->weights, size) == 0);
    CHECK(memcmp(model[0]->weights, model[2]->weights, size) != 0);
    for (int i = 0; i < 3; i++)
        tarn_model_destroy(&model[i]);
}

static void every_run_weighs_the_same(void)
{
    make_samples();
    /* a tiny run whose outcome is always the same, and a large one of the opposite */
    static struct tarn_model_sample tiny[2];
    for (int i = 0; i < 2; i++)
        tiny[i] = (struct tarn_model_sample){
            .label = (uint16_t)tarn_net_label(&tarn_net_reference, 0, true)};
    for (int i = 0; i < SAMPLES; i++)
        samples[0][i] = (struct tarn_model_sample){
            .label = (uint16_t)tarn_net_label(&tarn_net_reference, 100, false)};
    const struct tarn_model_run unequal[2] = {{tiny, 2}, {samples[0], SAMPLES}};
    tarn_model *model = NULL;
    struct tarn_model_pretrain_params params = params_for(600, 3);
    params.runs = unequal;
    REQUIRE(tarn_model_pretrain(&params, &model, NULL) == TARN_OK);
    float tiles[TARN_FEATURES * TARN_LANES] = {0}, logits[TARN_LANES * TARN_MAX_BINS];
    tarn_logits_host(&model->shape, model->weights, tiles, 1, logits);
    double first = 1 / (1 + exp(-(double)logits[0]));
    CHECK(first > 0.4 && first < 0.6); /* half of what was drawn came back at once */
    tarn_model_destroy(&model);
}

static void it_can_be_stopped(void)
{
    make_samples();
    tarn_model *model = NULL;
    struct tarn_model_pretrain_params params = params_for(100000, 1);
    stop_after = 1;
    CHECK(tarn_model_pretrain(&params, &model, NULL) == TARN_OK);
    CHECK_NUMBER(reports, 1);
    CHECK(model != NULL);
    tarn_model_destroy(&model);
}

static void what_cannot_be_trained_is_refused(void)
{
    tarn_model *model = NULL, *other = NULL;
    struct tarn_error error;
    struct tarn_model_pretrain_params params = params_for(10, 1);
    params.run_count = 0;
    CHECK(tarn_model_pretrain(&params, &model, &error) == TARN_INVALID);
    const struct tarn_model_run empty[2] = {{samples[0], 4}, {samples[1], 0}};
    params = params_for(10, 1);
    params.runs = empty;
    CHECK(tarn_model_pretrain(&params, &model, &error) == TARN_INVALID);
    CHECK(strstr(error.message, "run 1") != NULL);
    params = params_for(10, 1);
    params.batch = 17;
    CHECK(tarn_model_pretrain(&params, &model, &error) == TARN_INVALID);
    /* samples have 28 features: another number would be read from behind them */
    static float weights[8192];
    const struct tarn_shape wide = {64, 8, 8, 11};
    REQUIRE(tarn_model_create(&wide, weights, "", &other) == TARN_OK);
    params = params_for(10, 1);
    params.start = other;
    CHECK(tarn_model_pretrain(&params, &model, &error) == TARN_INVALID);
    CHECK(model == NULL && strstr(error.message, "64") != NULL);
    tarn_model_destroy(&other);
}

/* Labels that follow from nothing: there is soon nothing to gain, and training ends long before its steps. */
static void it_ends_when_nothing_is_gained(void)
{
    tarn_model *model = NULL, *again = NULL;
    struct tarn_model_info info, same;
    struct tarn_rng rng;
    make_samples();
    tarn_rng_seed(&rng, 42);
    for (int run = 0; run < 2; run++)
        for (int i = 0; i < SAMPLES; i++)
            samples[run][i].label = (uint16_t)tarn_label(1 + tarn_rng_below(&rng, 3), -1);
    uint32_t done[2];
    for (int k = 0; k < 2; k++) {
        struct tarn_model_pretrain_params params = params_for(60000, 1);
        params.patience = 3;
        params.batch = 16;
        REQUIRE(tarn_model_pretrain(&params, k == 0 ? &model : &again, NULL) == TARN_OK);
        done[k] = reports;
    }
    printf("# %u looks of 60\n", done[0]);
    CHECK(done[0] >= 4 && done[0] < 45 && done[0] == done[1]);
    tarn_model_get_info(model, &info);
    tarn_model_get_info(again, &same);
    CHECK(info.hash == same.hash);
    tarn_model_destroy(&model);
    tarn_model_destroy(&again);
}

static void what_is_masked_stays_out(void)
{
    tarn_model *model = NULL, *start = NULL;
    float weights[TARN_NET_PARAMETERS];
    struct tarn_rng rng;
    make_samples();
    tarn_rng_seed(&rng, 43);
    tarn_net_init(&tarn_net_reference, &rng, weights);
    tarn_net_mask(&tarn_net_reference, weights, 1u << 3);
    REQUIRE(tarn_model_create(&tarn_net_reference, weights, "", &start) == TARN_OK);
    struct tarn_model_pretrain_params params = params_for(500, 1);
    params.start = start;
    params.masked = 1u << 3;
    REQUIRE(tarn_model_pretrain(&params, &model, NULL) == TARN_OK);
    CHECK(tarn_net_masked(&tarn_net_reference, model->weights) == 1u << 3);
    CHECK(memcmp(model->weights, weights, sizeof weights) != 0);
    tarn_model_destroy(&model);
    tarn_model_destroy(&start);
}

CHECK_MAIN(CASE(it_ends_when_nothing_is_gained), CASE(what_is_masked_stays_out),
           CASE(the_loss_falls), CASE(seeds_decide), CASE(every_run_weighs_the_same),
           CASE(it_can_be_stopped), CASE(what_cannot_be_trained_is_refused))
