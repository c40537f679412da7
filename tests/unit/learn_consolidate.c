/* SPDX-License-Identifier: Apache-2.0 */
/* Consolidation: the information against differences, the pull, labels of distillation; less is forgotten. */
#include "../check.h"

#include <math.h>

#include "base/memory.h"
#include "learn/consolidate.h"
#include "learn/heldout.h"
#include "net/trainer.h"

enum { COUNT = TARN_NET_PARAMETERS, BATCH = 128, STEPS = 8 };

static void make_features(struct tarn_rng *rng, int task, int8_t *x)
{
    for (int f = 0; f < TARN_FEATURES; f++)
        x[f] = (int8_t)(tarn_rng_below(rng, 64) - 32);
    x[20] = (int8_t)(task == 0 ? -40 : 40);
}

static void information_is_the_squared_gradient(void)
{
    static float weights[2000];
    struct tarn_shape shape = {TARN_FEATURES, 7, 5, 11};
    struct tarn_consolidate c;
    struct tarn_rng rng, same;
    struct tarn_heldout one = {.count = 1};
    tarn_rng_seed(&rng, 5);
    tarn_net_init(&shape, &rng, weights);
    REQUIRE(tarn_consolidate_init(&c, &shape) == TARN_OK);
    make_features(&rng, 0, one.samples[0].features);
    /* which label it will draw */
    float tile[TARN_FEATURES * TARN_LANES] = {0}, logits[TARN_MAX_BINS * TARN_LANES];
    for (int f = 0; f < TARN_FEATURES; f++)
        tile[f * TARN_LANES] = (float)one.samples[0].features[f] * TARN_FEATURE_STEP;
    tarn_logits_host(&shape, weights, tile, 1, logits);
    same = rng;
    one.samples[0].label = (uint16_t)tarn_distil_label(&shape, logits, TARN_LANES, 0, &same);
    tarn_consolidate_sample(&c, weights, one.samples[0].features, &rng);
    int compared = 0;
    for (size_t i = 0; i < tarn_shape_weights(&shape); i++) {
        float was = weights[i], step = 0.004f;
        weights[i] = was + step;
        double up = tarn_heldout_loss(&one, &shape, weights).mean;
        weights[i] = was - step;
        double slope = (up - tarn_heldout_loss(&one, &shape, weights).mean) / (2 * (double)step);
        weights[i] = was;
        CHECK(fabs(slope * slope - (double)c.sum[i]) <= 0.05 * slope * slope + 1e-5);
        compared += slope * slope > 1e-4;
    }
    CHECK(compared > 50);
    tarn_consolidate_free(&c);
}

static void the_pull_is_a_proximal_step(void)
{
    struct tarn_consolidate c;
    float weights[COUNT], anchor[COUNT], information[COUNT];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 6);
    REQUIRE(tarn_consolidate_init(&c, &tarn_net_reference) == TARN_OK);
    for (int i = 0; i < COUNT; i++) {
        anchor[i] = tarn_rng_float(&rng) - 0.5f;
        weights[i] = tarn_rng_float(&rng) - 0.5f;
        information[i] = i == 0 ? 1e6f : i % 2 == 0 ? 0 : tarn_rng_float(&rng) * 1e-3f;
    }
    CHECK(tarn_consolidate_pull(&c, weights, 1, 1) == weights);
    CHECK(tarn_consolidate_anchor(&c, anchor, 1) == TARN_INVALID); /* no samples */
    CHECK(tarn_consolidate_anchor_moments(&c, anchor, information, 0.9f) == TARN_OK);
    CHECK(c.fisher[0] == TARN_FISHER_MOST && c.fisher[2] == 0);
    CHECK(tarn_consolidate_pull(&c, weights, 0.5f, 0) == weights);
    double before = tarn_consolidate_distance(&c, weights);
    const float *pulled = tarn_consolidate_pull(&c, weights, 0.01f, 1e9f);
    /* however strong, it ends at the anchor and not beyond */
    for (int i = 0; i < COUNT; i++) {
        double a = (double)anchor[i], w = (double)weights[i], p = (double)pulled[i];
        CHECK(p >= fmin(a, w) - 1e-6 && p <= fmax(a, w) + 1e-6);
        if (c.fisher[i] == 0)
            CHECK(pulled[i] == weights[i]);
    }
    CHECK(tarn_consolidate_distance(&c, pulled) < before);
    /* a second anchor keeps a share of the first's information, and nothing bad comes in */
    float first = c.fisher[0];
    for (int i = 0; i < COUNT; i++)
        information[i] = 1;
    weights[7] = NAN;
    CHECK(tarn_consolidate_anchor_moments(&c, weights, information, 0.5f) == TARN_INVALID);
    weights[7] = 0;
    information[9] = INFINITY;
    CHECK(tarn_consolidate_anchor_moments(&c, weights, information, 0.5f) == TARN_INVALID);
    CHECK(c.anchors == 1 && c.anchor[0] == anchor[0] && c.fisher[0] == first);
    information[9] = 1;
    CHECK(tarn_consolidate_anchor_moments(&c, weights, information, 0.5f) == TARN_OK);
    CHECK(fabsf(c.fisher[0] - (0.5f * first + 1)) < 1e-4f && c.anchors == 2);
    memset(information, 0, sizeof information);
    CHECK(tarn_consolidate_anchor_moments(&c, weights, information, 0.5f) == TARN_INVALID);
    CHECK(tarn_consolidate_memory(&tarn_net_reference) == 4 * COUNT * sizeof(float));
    tarn_consolidate_free(&c);
    CHECK(tarn_consolidate_init(&c, &(struct tarn_shape){0}) == TARN_INVALID && c.memory == NULL);
}

static void drawn_labels_are_the_teachers_distribution(void)
{
    float logits[11 * 3];
    struct tarn_rng rng;
    double seen[12] = {0}, survived = 1;
    enum { DRAWS = 200000 };
    tarn_rng_seed(&rng, 7);
    for (int k = 0; k < 11; k++)
        logits[k * 3] = (float)(k - 6) * 0.5f;
    for (int i = 0; i < DRAWS; i++) {
        uint32_t label = tarn_distil_label(&tarn_net_reference, logits, 3, 0, &rng);
        CHECK(label == 11 || (label & 0xff) == label >> 8);
        seen[label >> 8 != 0 ? (label >> 8) - 1 : 11] += 1.0 / DRAWS;
        uint32_t rest = tarn_distil_label(&tarn_net_reference, logits, 3, 5, &rng);
        CHECK((rest & 0xff) > 5);
    }
    for (int k = 0; k < 11; k++) {
        double h = 1 / (1 + exp(-(double)logits[k * 3]));
        CHECK(fabs(seen[k] - survived * h) < 0.005);
        survived *= 1 - h;
    }
    CHECK(fabs(seen[11] - survived) < 0.005);
}

/* ---- two tasks, one after the other ---- */

/* Bin 1 or 8, by one feature; the tasks disagree on what it means, and a feature tells them apart. */
static uint32_t label_of(int task, const int8_t *x)
{
    bool soon = (x[0] > 0) == (task == 0);
    return soon ? (2 | 2 << 8) : (9 | 9 << 8);
}

static struct tarn_heldout sets[2];

static void learn(tarn_trainer *t, int task, int launches, struct tarn_consolidate *c,
                  struct tarn_rng *rng)
{
    for (int i = 0; i < launches; i++) {
        for (uint32_t k = 0; k < BATCH * STEPS; k++) {
            int8_t x[TARN_FEATURES];
            make_features(rng, task, x);
            tarn_trainer_stage(t, k, x, TARN_FEATURE_STEP, label_of(task, x));
        }
        CHECK(tarn_trainer_submit(t, STEPS) == TARN_OK);
        CHECK(tarn_trainer_wait(t, TARN_FOREVER) == TARN_OK);
        if (c == NULL)
            continue;
        const float *pulled =
            tarn_consolidate_pull(c, tarn_trainer_weights(t), 0.003f * STEPS, 30000);
        CHECK(tarn_trainer_set_state(t, &(struct tarn_trainer_state){.weights = pulled}) ==
              TARN_OK);
    }
}

static void less_is_forgotten(void)
{
    struct tarn_rng rng;
    float start[COUNT];
    double loss[2][2]; /* [with][task] */
    tarn_rng_seed(&rng, 8);
    tarn_net_init(&tarn_net_reference, &rng, start);
    for (int task = 0; task < 2; task++)
        for (sets[task].count = 0; sets[task].count < TARN_HELDOUT_MOST; sets[task].count++) {
            struct tarn_kept_sample *s = &sets[task].samples[sets[task].count];
            make_features(&rng, task, s->features);
            s->label = (uint16_t)label_of(task, s->features);
        }
    for (int with = 0; with < 2; with++) {
        tarn_trainer *t;
        struct tarn_consolidate c;
        struct tarn_trainer_params params = {.shape = &tarn_net_reference,
                                             .weights = start,
                                             .batch = BATCH,
                                             .steps = STEPS,
                                             .rate = 0.003f};
        REQUIRE(tarn_trainer_create(&params, &t, NULL) == TARN_OK);
        REQUIRE(tarn_consolidate_init(&c, &tarn_net_reference) == TARN_OK);
        learn(t, 0, 60, NULL, &rng);
        double fresh =
            tarn_heldout_loss(&sets[0], &tarn_net_reference, tarn_trainer_weights(t)).mean;
        for (int i = 0; i < 256; i++)
            tarn_consolidate_sample(&c, tarn_trainer_weights(t), sets[0].samples[i].features, &rng);
        CHECK(tarn_consolidate_anchor(&c, tarn_trainer_weights(t), 1) == TARN_OK);
        CHECK(c.samples == 0);
        learn(t, 1, 25, with ? &c : NULL, &rng);
        for (int task = 0; task < 2; task++)
            loss[with][task] =
                tarn_heldout_loss(&sets[task], &tarn_net_reference, tarn_trainer_weights(t)).mean;
        printf("# %s: loss of A %.3f, after B %.3f; of B %.3f\n", with ? "consolidated" : "plain",
               fresh, loss[with][0], loss[with][1]);
        CHECK(fresh < 1);
        tarn_trainer_destroy(&t);
        tarn_consolidate_free(&c);
    }
    CHECK(loss[1][0] < 0.2 * loss[0][0]); /* remembered */
    CHECK(loss[1][1] < 1);                /* and learnt all the same */
}

CHECK_MAIN(CASE(information_is_the_squared_gradient), CASE(the_pull_is_a_proximal_step),
           CASE(drawn_labels_are_the_teachers_distribution), CASE(less_is_forgotten))
