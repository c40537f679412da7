/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "model/file.h"
#include "model/sets.h"

static tarn_model *make(uint64_t seed, const struct tarn_shape *shape)
{
    static float weights[8192];
    struct tarn_rng rng;
    tarn_model *model = NULL;
    tarn_rng_seed(&rng, seed);
    tarn_net_init(shape, &rng, weights);
    CHECK(tarn_model_create(shape, weights, "of a test\n", &model) == TARN_OK);
    return model;
}

static struct tarn_set_settings settings_of(float rate)
{
    struct tarn_set_settings settings;
    tarn_set_defaults(&settings);
    settings.rate = rate;
    return settings;
}

static void add(tarn_model_sets *sets, const char *name, uint64_t seed, float rate)
{
    tarn_model *model = make(seed, &tarn_net_reference);
    struct tarn_set_settings settings = settings_of(rate);
    CHECK(tarn_model_sets_add(sets, name, model, &settings, NULL) == TARN_OK);
    tarn_model_destroy(&model);
}

static tarn_model_sets *three(void)
{
    tarn_model_sets *sets = NULL;
    CHECK(tarn_model_sets_create(&sets) == TARN_OK);
    add(sets, "general", 1, 1);
    add(sets, "loop", 2, 0.5f);
    add(sets, "carts-2.b_X", 3, 2);
    return sets;
}

static void what_was_written_can_be_read(void)
{
    char path[] = "/tmp/tarn-sets-XXXXXX";
    tarn_model_sets *sets = three(), *back = NULL;
    struct tarn_set_info a, b;
    struct tarn_error error;
    int file = mkstemp(path);
    REQUIRE(file >= 0);
    close(file);
    sets->set[1].settings.masked = 0x0c000001;
    tarn_net_mask(&tarn_net_reference, sets->set[1].model->weights, 0x0c000001);
    CHECK(tarn_model_sets_save(sets, path, &error) == TARN_OK);
    CHECK(tarn_model_sets_load(path, &back, &error) == TARN_OK);
    REQUIRE(back != NULL);
    CHECK_NUMBER(tarn_model_sets_count(back), 3);
    CHECK_NUMBER(tarn_model_sets_find(back, "carts-2.b_X"), 2);
    CHECK_NUMBER(tarn_model_sets_find(back, "carts"), 3);
    for (uint32_t i = 0; i < 3; i++) {
        tarn_model_sets_get(sets, i, &a);
        tarn_model_sets_get(back, i, &b);
        CHECK(strcmp(a.name, b.name) == 0);
        CHECK(memcmp(&a.settings, &b.settings, sizeof a.settings) == 0);
        CHECK(memcmp(a.model->weights, b.model->weights, TARN_NET_PARAMETERS * sizeof(float)) == 0);
        CHECK(strcmp(a.model->provenance, b.model->provenance) == 0);
    }
    CHECK(tarn_model_sets_size(sets) < 3 * 10000);
    unlink(path);
    tarn_model_sets_destroy(&sets);
    tarn_model_sets_destroy(&back);
}

static void a_model_alone_is_the_general_set(void)
{
    tarn_model *model = make(4, &tarn_net_reference);
    tarn_model_sets *sets = NULL;
    struct tarn_set_settings defaults;
    uint8_t *data = malloc(tarn_model_file_size(model));
    tarn_set_defaults(&defaults);
    tarn_model_write(model, data);
    CHECK(tarn_model_sets_parse(data, tarn_model_file_size(model), &sets, NULL) == TARN_OK);
    REQUIRE(sets != NULL);
    CHECK(sets->count == 1 && strcmp(sets->set[0].name, "general") == 0);
    CHECK(memcmp(&sets->set[0].settings, &defaults, sizeof defaults) == 0);
    CHECK(memcmp(sets->set[0].model->weights, model->weights,
                 TARN_NET_PARAMETERS * sizeof(float)) == 0);
    tarn_model_sets_destroy(&sets);
    tarn_model_destroy(&model);
    free(data);
}

static void what_cannot_be_is_refused(void)
{
    static const struct tarn_shape other = {28, 16, 32, 11};
    tarn_model_sets *sets = NULL;
    tarn_model *model = make(1, &tarn_net_reference), *small = make(1, &other);
    struct tarn_set_settings fine = settings_of(1);
    struct tarn_error error;
    REQUIRE(tarn_model_sets_create(&sets) == TARN_OK);
    CHECK(tarn_model_sets_add(sets, "loop", model, &fine, &error) == TARN_INVALID);
    CHECK(strstr(error.message, "general") != NULL);
    CHECK(tarn_model_sets_save(sets, "/tmp/none", &error) == TARN_INVALID);
    CHECK(tarn_model_sets_add(sets, "general", model, &fine, &error) == TARN_OK);
    static const char *const names[] = {"", "a b", "\xc3\xa4",
                                        "0123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        CHECK(tarn_model_sets_add(sets, names[i], model, &fine, &error) == TARN_INVALID);
    CHECK(tarn_model_sets_add(sets, "loop", small, &fine, &error) == TARN_INVALID);
    struct tarn_set_settings bad[5];
    for (int i = 0; i < 5; i++)
        bad[i] = fine;
    bad[0].rate = NAN;
    bad[1].pace = 0;
    bad[2].replayed = 1;
    bad[3].network = -1;
    bad[4].masked = 1u << 28;
    for (int i = 0; i < 5; i++)
        CHECK(tarn_model_sets_add(sets, "loop", model, &bad[i], &error) == TARN_INVALID);
    CHECK_NUMBER(sets->count, 1);
    CHECK(tarn_model_sets_add(sets, "general", model, &fine, &error) == TARN_OK);
    CHECK_NUMBER(sets->count, 1); /* replaced */
    tarn_model_destroy(&model);
    tarn_model_destroy(&small);
    tarn_model_sets_destroy(&sets);
}

static void damage_is_found(void)
{
    tarn_model_sets *sets = three(), *back = NULL;
    size_t size = tarn_model_sets_size(sets);
    uint8_t *data = malloc(size), *copy = malloc(size);
    struct tarn_error error;
    tarn_model_sets_write(sets, data);
    for (size_t at = 0; at < size; at += at < 400 ? 1 : 97) {
        memcpy(copy, data, size);
        copy[at] ^= 0x40;
        CHECK(tarn_model_sets_parse(copy, size, &back, &error) != TARN_OK && back == NULL);
        CHECK(tarn_model_sets_parse(data, at, &back, &error) != TARN_OK && back == NULL);
        if (at < 32 || at >= 32 + 3 * 96)
            continue;
        tarn_put_u64(copy + size - 8, tarn_hash(copy, size - 8)); /* behind the checksum */
        if (tarn_model_sets_parse(copy, size, &back, &error) == TARN_OK)
            tarn_model_sets_destroy(&back);
    }
    free(data);
    free(copy);
    tarn_model_sets_destroy(&sets);
}

static void masked_inputs_say_nothing(void)
{
    _Alignas(64) float tiles[2][TARN_LANES * TARN_FEATURES];
    float scores[2][TARN_LANES];
    tarn_model *model = make(5, &tarn_net_reference);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 6);
    for (size_t i = 0; i < TARN_LANES * TARN_FEATURES; i++) {
        bool masked = i / TARN_LANES == 3 || i / TARN_LANES == 27;
        tiles[0][i] = (float)((int)tarn_rng_below(&rng, 200) - 100) * TARN_FEATURE_STEP;
        tiles[1][i] = masked ? 0 : tiles[0][i];
    }
    CHECK_NUMBER(tarn_net_masked(&tarn_net_reference, model->weights), 0);
    tarn_model_score(model, tiles[0], TARN_LANES, scores[0]);
    tarn_model_score(model, tiles[1], TARN_LANES, scores[1]);
    CHECK(memcmp(scores[0], scores[1], sizeof scores[0]) != 0);
    tarn_model_score(model, tiles[1], TARN_LANES, scores[1]);
    tarn_net_mask(&tarn_net_reference, model->weights, 1u << 3 | 1u << 27);
    CHECK_NUMBER(tarn_net_masked(&tarn_net_reference, model->weights), 1u << 3 | 1u << 27);
    tarn_model_score(model, tiles[0], TARN_LANES, scores[0]);
    CHECK(memcmp(scores[0], scores[1], sizeof scores[0]) == 0);
    tarn_model_destroy(&model);
}

CHECK_MAIN(CASE(what_was_written_can_be_read), CASE(a_model_alone_is_the_general_set),
           CASE(what_cannot_be_is_refused), CASE(damage_is_found), CASE(masked_inputs_say_nothing))
