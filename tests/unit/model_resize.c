/* SPDX-License-Identifier: Apache-2.0 */
/* Models made smaller and larger: which widths may be had, what is kept of what they say of themselves. */
#include "../check.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "model/model.h"

static const struct tarn_shape shape = {28, 32, 32, 11};
static float tiles[TARN_FEATURES * TARN_LANES];

static tarn_model *make(struct tarn_nested nested)
{
    float weights[TARN_NET_PARAMETERS];
    struct tarn_rng rng;
    tarn_model *model = NULL;
    tarn_rng_seed(&rng, 4);
    tarn_net_init(&shape, &rng, weights);
    CHECK(tarn_model_create(&shape, weights, "a test", &model) == TARN_OK);
    model->nested = nested;
    for (int i = 0; i < TARN_FEATURES * TARN_LANES; i++)
        tiles[i] = (tarn_rng_float(&rng) - 0.5f) * 4;
    return model;
}

static double differ(const tarn_model *a, uint32_t slice_a, const tarn_model *b, uint32_t slice_b)
{
    float one[TARN_LANES], other[TARN_LANES];
    double worst = 0;
    tarn_forward_slice_host(&a->shape, slice_a, a->weights, tiles, TARN_LANES, one);
    tarn_forward_slice_host(&b->shape, slice_b, b->weights, tiles, TARN_LANES, other);
    for (int i = 0; i < TARN_LANES; i++) { /* not fmax(): gcc 12 for arm64 fails on such a loop */
        double one_differs = fabs((double)one[i] - (double)other[i]);
        worst = one_differs > worst ? one_differs : worst;
    }
    return worst;
}

static void a_nested_width_is_a_model(void)
{
    tarn_model *model = make((struct tarn_nested){{4, 8, 16}, 1}), *small = NULL;
    struct tarn_error error;
    REQUIRE(tarn_model_narrow(model, 8, 0, NULL, 0, &small, &error) == TARN_OK);
    CHECK(small->shape.hidden1 == 8 && small->shape.hidden2 == 8);
    CHECK(small->nested.width[0] == 4 && small->nested.width[1] == 0 && small->nested.exits == 1);
    CHECK(strcmp(small->provenance, "a test\nsliced from 32 units to 8\n") == 0);
    CHECK(differ(model, 8, small, 0) < 1e-5 && differ(model, 4, small, 4) < 1e-5);
    tarn_model_destroy(&small);
    CHECK(tarn_model_narrow(model, 12, 0, NULL, 0, &small, &error) == TARN_INVALID);
    CHECK(small == NULL && strstr(error.message, "12 units") != NULL);
    CHECK(tarn_model_narrow(model, 33, 1, NULL, 0, &small, &error) == TARN_INVALID);
    CHECK(tarn_model_narrow(model, 0, 1, NULL, 0, &small, &error) == TARN_INVALID);
    CHECK(tarn_model_narrow(model, 32, 0, NULL, 0, &small, &error) == TARN_OK);
    CHECK(differ(model, 0, small, 0) == 0 && small->nested.width[2] == 16);
    tarn_model_destroy(&small);
    tarn_model_destroy(&model);
}

static void others_are_cut_by_importance(void)
{
    tarn_model *model = make((struct tarn_nested){{8, 16}, 0}), *small = NULL, *other = NULL;
    static struct tarn_model_sample samples[100];
    const struct tarn_model_run runs[2] = {{samples, 90}, {samples, 100}};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    for (int i = 0; i < 100; i++)
        for (int f = 0; f < TARN_FEATURES; f++)
            samples[i].features[f] = (int8_t)((int)tarn_rng_below(&rng, 256) - 128);
    REQUIRE(tarn_model_narrow(model, 24, 1, runs, 2, &small, NULL) == TARN_OK);
    CHECK(tarn_nested_count(&small->nested) == 0);
    /* the least important eight are worth less than the last eight */
    model->nested.width[2] = 24;
    REQUIRE(tarn_model_narrow(model, 24, 0, NULL, 0, &other, NULL) == TARN_OK);
    CHECK(differ(model, 0, small, 0) < differ(model, 0, other, 0));
    tarn_model_destroy(&small);
    tarn_model_destroy(&other);
    tarn_model_destroy(&model);
}

static void growth_changes_no_score(void)
{
    tarn_model *model = make((struct tarn_nested){0}), *large = NULL;
    struct tarn_error error;
    for (uint32_t width = 33; width <= 64; width += 31) {
        REQUIRE(tarn_model_widen(model, width, 7, &large, &error) == TARN_OK);
        CHECK(large->shape.hidden1 == width && large->shape.hidden2 == width);
        CHECK(differ(model, 0, large, 0) < 1e-5 && tarn_nested_count(&large->nested) == 0);
        tarn_model_destroy(&large);
    }
    CHECK(tarn_model_widen(model, 32, 7, &large, &error) == TARN_INVALID && large == NULL);
    CHECK(tarn_model_widen(model, 65, 7, &large, &error) == TARN_INVALID);
    tarn_model_destroy(&model);

    model = make((struct tarn_nested){{4, 8, 16}, 1});
    REQUIRE(tarn_model_widen(model, 48, 7, &large, &error) == TARN_OK);
    const uint8_t wanted[] = {8, 16, 32};
    CHECK(memcmp(large->nested.width, wanted, 3) == 0 && large->nested.exits == 1);
    CHECK(tarn_nested_is_valid(&large->nested, &large->shape));
    CHECK(differ(model, 0, large, 0) < 1e-5 && differ(model, 0, large, 32) == 0);
    CHECK(differ(model, 8, large, 8) == 0);
    CHECK(differ(model, TARN_SLICE(16, 1), large, TARN_SLICE(16, 1)) == 0);
    tarn_model_destroy(&large);
    tarn_model_destroy(&model);
}

static uint64_t allowed;

static bool fail_after(size_t size)
{
    return size == 0 || allowed-- > 0;
}

static void without_memory_nothing_is_made(void)
{
    tarn_model *model = make((struct tarn_nested){.width = {8}}), *made = NULL;
    for (int kind = 0; kind < 3; kind++)
        for (uint64_t n = 0;; n++) {
            struct tarn_error error = {0};
            allowed = n;
            tarn_memory_set_hook(fail_after);
            tarn_status status =
                kind == 0 ? tarn_model_widen(model, 40, 1, &made, &error)
                          : tarn_model_narrow(model, 8, kind == 2, NULL, 0, &made, &error);
            tarn_memory_set_hook(NULL);
            if (status == TARN_OK) {
                tarn_model_destroy(&made);
                break;
            }
            CHECK(status == TARN_NO_MEMORY && made == NULL && error.message[0] != '\0');
            REQUIRE(n < 50);
        }
    tarn_model_destroy(&model);
}

CHECK_MAIN(CASE(a_nested_width_is_a_model), CASE(others_are_cut_by_importance),
           CASE(growth_changes_no_score), CASE(without_memory_nothing_is_made))
