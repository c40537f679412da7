/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"
#include "../failing_heap.h"

#include <math.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "model/file.h"

#define TEXT "made by a test\nfrom nothing\n"

static tarn_model *make(const struct tarn_shape *shape, const char *text)
{
    float weights[8192];
    struct tarn_rng rng;
    tarn_model *model = NULL;
    tarn_rng_seed(&rng, 1);
    tarn_net_init(shape, &rng, weights);
    CHECK(tarn_model_create(shape, weights, text, &model) == TARN_OK);
    return model;
}

static uint8_t *bytes_of(const tarn_model *model, size_t *size)
{
    *size = tarn_model_file_size(model);
    uint8_t *data = malloc(*size);
    tarn_model_write(model, data);
    return data;
}

static bool same(const tarn_model *a, const tarn_model *b)
{
    return memcmp(&a->shape, &b->shape, sizeof a->shape) == 0 &&
           memcmp(a->weights, b->weights, tarn_shape_weights(&a->shape) * sizeof(float)) == 0 &&
           memcmp(&a->nested, &b->nested, sizeof a->nested) == 0 &&
           strcmp(a->provenance, b->provenance) == 0;
}

static void check_round_trip(const struct tarn_shape *shape, const char *text)
{
    tarn_model *model = make(shape, text), *back = NULL;
    size_t size;
    uint8_t *data = bytes_of(model, &size);
    struct tarn_error error;
    CHECK(tarn_model_parse(data, size, &back, &error) == TARN_OK);
    CHECK(back != NULL && same(model, back));
    tarn_model_destroy(&back);

    char path[] = "/tmp/tarn-model-XXXXXX";
    int file = mkstemp(path);
    REQUIRE(file >= 0);
    close(file);
    CHECK(tarn_model_save(model, path, &error) == TARN_OK);
    CHECK(tarn_model_load(path, &back, &error) == TARN_OK);
    CHECK(back != NULL && same(model, back));
    unlink(path);
    struct tarn_model_info info;
    tarn_model_get_info(back, &info);
    CHECK(info.inputs == shape->inputs && info.outputs == shape->outputs &&
          info.parameters == tarn_shape_weights(shape) && info.file_size == size &&
          strcmp(info.provenance, text) == 0);
    uint64_t hash = info.hash;
    back->weights[3] += 1;
    tarn_model_get_info(back, &info);
    CHECK(info.hash != hash);
    tarn_model_destroy(&back);
    tarn_model_destroy(&model);
    free(data);
}

static void what_was_written_can_be_read(void)
{
    check_round_trip(&tarn_net_reference, TEXT);
    check_round_trip(&tarn_net_reference, "");
    check_round_trip(&(struct tarn_shape){1, 1, 1, 1}, "small");
    check_round_trip(&(struct tarn_shape){64, 64, 33, 16}, "large");
}

/* What an older writer left as zeros, and what makes no sense there, is a model that isn't elastic. */
static void nested_widths_are_kept(void)
{
    static const struct tarn_nested good[] = {{{8, 16}, 0}, {{4, 8, 16}, 1}, {{0}, 1}, {{31}, 0}};
    tarn_model *model = make(&tarn_net_reference, TEXT), *back = NULL;
    struct tarn_model_info info;
    size_t size;
    for (int i = 0; i < 4; i++) {
        model->nested = good[i];
        uint8_t *data = bytes_of(model, &size);
        CHECK(tarn_model_parse(data, size, &back, NULL) == TARN_OK && same(model, back));
        tarn_model_get_info(back, &info);
        for (int k = 0; k < TARN_MODEL_NESTED; k++)
            CHECK_NUMBER(info.nested[k], good[i].width[k]);
        CHECK_NUMBER(info.early_exit, good[i].exits);
        tarn_model_destroy(&back);
        free(data);
    }
    uint8_t *data = bytes_of(model, &size);
    memcpy(data + 28, "\x10\x08\0", 4); /* not rising */
    tarn_put_u64(data + size - 8, tarn_hash(data, size - 8));
    CHECK(tarn_model_parse(data, size, &back, NULL) == TARN_OK);
    CHECK(tarn_nested_count(&back->nested) == 0 && back->nested.exits == 0);
    tarn_model_destroy(&back);
    tarn_model_destroy(&model);
    free(data);
}

static void check_refused(const uint8_t *data, size_t size, tarn_status wanted, const char *says)
{
    tarn_model *model = NULL;
    struct tarn_error error = {0};
    tarn_status status = tarn_model_parse(data, size, &model, &error);
    CHECK(status == wanted && model == NULL);
    CHECK(error.message[0] != '\0' && strchr(error.message, '\n') == NULL);
    if (strstr(error.message, says) == NULL)
        printf("# \"%s\" doesn't say \"%s\"\n", error.message, says);
    CHECK(strstr(error.message, says) != NULL);
    tarn_model_destroy(&model);
}

static void damage_anywhere_is_noticed(void)
{
    tarn_model *model = make(&tarn_net_reference, TEXT);
    size_t size;
    uint8_t *data = bytes_of(model, &size);
    struct tarn_error error;
    for (size_t i = 0; i < size; i++) {
        data[i] ^= (uint8_t)(1 << i % 8);
        tarn_model *damaged = NULL;
        error.message[0] = '\0';
        CHECK(tarn_model_parse(data, size, &damaged, &error) != TARN_OK && damaged == NULL);
        CHECK(error.message[0] != '\0');
        data[i] ^= (uint8_t)(1 << i % 8);
    }
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut ? cut : 1); /* so that a sanitizer sees a step beyond */
        memcpy(part, data, cut);
        check_refused(part, cut, TARN_CORRUPT, "model");
        free(part);
    }
    uint8_t *longer = calloc(1, size + 4);
    memcpy(longer, data, size);
    check_refused(longer, size + 4, TARN_CORRUPT, "truncated or padded");
    free(longer);
    free(data);
    tarn_model_destroy(&model);
}

static void seal(uint8_t *data, size_t size)
{
    tarn_put_u64(data + size - 8, tarn_hash(data, size - 8));
}

/* With the checksum made right, so that what lies behind it has to be looked at. */
static void lies_under_a_right_checksum_are_noticed(void)
{
    tarn_model *model = make(&tarn_net_reference, TEXT);
    size_t size;
    uint8_t *good = bytes_of(model, &size), *data = malloc(size);
    const struct {
        size_t at;
        uint32_t value;
        int bytes;
        tarn_status status;
        const char *says;
    } lies[] = {
        {0, 'X', 1, TARN_CORRUPT, "not a model"},
        {8, 2, 4, TARN_UNSUPPORTED, "format 2"},
        {12, UINT32_MAX, 4, TARN_CORRUPT, "header says"},
        {16, 0, 2, TARN_UNSUPPORTED, "0-32-32-11"},
        {16, 65535, 2, TARN_UNSUPPORTED, "65535"},
        {18, 65, 2, TARN_UNSUPPORTED, "65"},
        {20, 31, 2, TARN_CORRUPT, "add up"},
        {22, 17, 2, TARN_UNSUPPORTED, "17"},
        {22, 10, 2, TARN_CORRUPT, "add up"},
        {24, UINT32_MAX, 4, TARN_CORRUPT, "add up"},
        {24, 0, 4, TARN_CORRUPT, "add up"},
        {24, sizeof TEXT, 4, TARN_CORRUPT, "add up"},
        {32, 0x7fc00000, 4, TARN_CORRUPT, "finite"},
        {32 + 4 * (TARN_NET_PARAMETERS - 1), 0xff800000, 4, TARN_CORRUPT, "finite"},
        {32 + 4 * TARN_NET_PARAMETERS + 4, 0, 1, TARN_CORRUPT, "text"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        memcpy(data, good, size);
        for (int k = 0; k < lies[i].bytes; k++)
            data[lies[i].at + (size_t)k] = (uint8_t)(lies[i].value >> 8 * k);
        seal(data, size);
        check_refused(data, size, lies[i].status, lies[i].says);
    }
    free(good);
    free(data);
    tarn_model_destroy(&model);
}

static void files_that_are_none_are_named(void)
{
    tarn_model *model = NULL;
    struct tarn_error error;
    CHECK(tarn_model_load("/nowhere/at/all.model", &model, &error) != TARN_OK && model == NULL);
    CHECK(strstr(error.message, "/nowhere/at/all.model") != NULL);
    CHECK(tarn_model_load("/dev/null", &model, &error) == TARN_CORRUPT && model == NULL);
    CHECK(strstr(error.message, "/dev/null") != NULL);
    CHECK(tarn_model_create(&(struct tarn_shape){65, 1, 1, 1}, NULL, "", &model) == TARN_INVALID);
}

static void the_built_in_model_is_one(void)
{
    tarn_model *model = NULL;
    REQUIRE(tarn_model_load_default(&model, NULL) == TARN_OK);
    struct tarn_model_info info;
    tarn_model_get_info(model, &info);
    CHECK(info.inputs == TARN_FEATURES && info.outputs == 11 && info.provenance[0] != '\0');
    tarn_model_destroy(&model);
    tarn_model_destroy(&model);
}

static void without_memory_nothing_is_kept(void)
{
    tarn_model *model = make(&tarn_net_reference, TEXT), *back = NULL;
    size_t size;
    uint8_t *data = bytes_of(model, &size);
    tarn_status status = TARN_NO_MEMORY;
    for (fails_at = 1; fails_at < 20 && status != TARN_OK; fails_at++) {
        struct tarn_error error = {0};
        begin(fails_at);
        status = tarn_model_parse(data, size, &back, &error);
        tarn_memory_set_hook(NULL);
        if (status != TARN_OK)
            CHECK(status == TARN_NO_MEMORY && held == 0 && back == NULL &&
                  error.message[0] != '\0');
    }
    CHECK(status == TARN_OK && fails_at > 4);
    tarn_model_destroy(&back);
    tarn_model_destroy(&model);
    free(data);
}

CHECK_MAIN(CASE(what_was_written_can_be_read), CASE(nested_widths_are_kept),
           CASE(damage_anywhere_is_noticed), CASE(lies_under_a_right_checksum_are_noticed),
           CASE(files_that_are_none_are_named), CASE(the_built_in_model_is_one),
           CASE(without_memory_nothing_is_kept))
