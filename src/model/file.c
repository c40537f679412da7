/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "envelope.h"

#define MAGIC         "TARNMDL\x1a"
#define VERSION       1
#define HEADER_SIZE   32 /* magic, version, size, shape, text length, nested widths */
#define NESTED        28 /* three widths, and whether it exits early: a byte each */
#define HASH_SIZE     TARN_ENVELOPE_HASH
#define FILE_SIZE_MAX (1u << 20)

static const struct tarn_envelope envelope = {
    .magic = MAGIC,
    .version = VERSION,
    .header = HEADER_SIZE,
    .none = "not a model file",
    .one = "model format",
};

extern const unsigned char tarn_default_model[];
extern const unsigned long tarn_default_model_size;

size_t tarn_model_file_size(const tarn_model *model)
{
    return HEADER_SIZE + tarn_shape_weights(&model->shape) * 4 + strlen(model->provenance) +
           HASH_SIZE;
}

void tarn_model_write(const tarn_model *model, uint8_t *to)
{
    size_t size = tarn_model_file_size(model), weights = tarn_shape_weights(&model->shape);
    memset(to, 0, HEADER_SIZE);
    memcpy(to, MAGIC, 8);
    tarn_put_u32(to + 8, VERSION);
    tarn_put_u32(to + 12, (uint32_t)size);
    tarn_put_u16(to + 16, (uint16_t)model->shape.inputs);
    tarn_put_u16(to + 18, (uint16_t)model->shape.hidden1);
    tarn_put_u16(to + 20, (uint16_t)model->shape.hidden2);
    tarn_put_u16(to + 22, (uint16_t)model->shape.outputs);
    tarn_put_u32(to + 24, (uint32_t)strlen(model->provenance));
    memcpy(to + NESTED, model->nested.width, TARN_NESTED_MOST);
    to[NESTED + TARN_NESTED_MOST] = model->nested.exits;
    for (size_t i = 0; i < weights; i++)
        tarn_put_f32(to + HEADER_SIZE + 4 * i, model->weights[i]);
    memcpy(to + HEADER_SIZE + 4 * weights, model->provenance, strlen(model->provenance));
    tarn_put_u64(to + size - HASH_SIZE, tarn_hash(to, size - HASH_SIZE));
}

/* Before there were elastic models readers ignored these bytes: what makes no sense is none. */
static void read_nested(const uint8_t *from, const struct tarn_shape *shape,
                        struct tarn_nested *nested)
{
    struct tarn_nested read = {.exits = from[TARN_NESTED_MOST]};
    memcpy(read.width, from, TARN_NESTED_MOST);
    if (tarn_nested_is_valid(&read, shape))
        *nested = read;
}

tarn_status tarn_model_parse_named(const char *where, const void *bytes, size_t size,
                                   tarn_model **model, struct tarn_error *error)
{
    const uint8_t *data = bytes;
    tarn_status status = tarn_envelope_check(&envelope, where, data, size, error);
    if (status != TARN_OK)
        return status;
    struct tarn_shape shape = {tarn_get_u16(data + 16), tarn_get_u16(data + 18),
                               tarn_get_u16(data + 20), tarn_get_u16(data + 22)};
    uint32_t text_size = tarn_get_u32(data + 24);
    if (!tarn_shape_is_valid(&shape))
        return tarn_fail(error, TARN_UNSUPPORTED, "%s: a network of %u-%u-%u-%u is not supported",
                         where, shape.inputs, shape.hidden1, shape.hidden2, shape.outputs);
    size_t count = tarn_shape_weights(&shape);
    if (text_size > size || HEADER_SIZE + count * 4 + text_size + HASH_SIZE != size)
        return tarn_fail(error, TARN_CORRUPT, "%s: its parts don't add up to %zu bytes", where,
                         size);
    status = TARN_NO_MEMORY;
    float *weights = tarn_alloc(count * sizeof *weights);
    char *text = tarn_alloc((size_t)text_size + 1);
    if (weights != NULL && text != NULL) {
        for (size_t i = 0; i < count; i++)
            weights[i] = tarn_get_f32(data + HEADER_SIZE + 4 * i);
        memcpy(text, data + HEADER_SIZE + 4 * count, text_size);
        text[text_size] = '\0';
        status = TARN_OK;
        if (!tarn_net_is_finite(weights, count))
            status = tarn_fail(error, TARN_CORRUPT, "%s: a weight is not a finite number", where);
        else if (strlen(text) != text_size)
            status = tarn_fail(error, TARN_CORRUPT, "%s: its provenance isn't text", where);
        if (status == TARN_OK)
            status = tarn_model_create(&shape, weights, text, model);
        if (status == TARN_OK)
            read_nested(data + NESTED, &shape, &(*model)->nested);
    }
    if (status == TARN_NO_MEMORY)
        tarn_fail(error, status, "%s: out of memory", where);
    tarn_free(weights);
    tarn_free(text);
    return status;
}

tarn_status tarn_model_parse(const void *data, size_t size, tarn_model **model,
                             struct tarn_error *error)
{
    return tarn_model_parse_named("model", data, size, model, error);
}

tarn_status tarn_model_load_default(tarn_model **model, struct tarn_error *error)
{
    return tarn_model_parse_named("built-in model", tarn_default_model, tarn_default_model_size,
                                  model, error);
}

tarn_status tarn_model_load(const char *path, tarn_model **model, struct tarn_error *error)
{
    void *data;
    size_t size;
    tarn_status status = tarn_file_read(path, FILE_SIZE_MAX, &data, &size, error);
    if (status != TARN_OK)
        return status;
    status = tarn_model_parse_named(path, data, size, model, error);
    free(data);
    return status;
}

tarn_status tarn_model_save(const tarn_model *model, const char *path, struct tarn_error *error)
{
    size_t size = tarn_model_file_size(model);
    if (size > FILE_SIZE_MAX)
        return tarn_fail(error, TARN_TOO_LARGE, "%s: a model of %zu bytes", path, size);
    uint8_t *data = tarn_alloc(size);
    if (data == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path);
    tarn_model_write(model, data);
    tarn_status status = tarn_file_replace(path, data, size, error);
    tarn_free(data);
    return status;
}
