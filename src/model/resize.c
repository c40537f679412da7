/* SPDX-License-Identifier: Apache-2.0 */
/* Models made smaller and larger: tarn/model.h. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "model.h"

#define MOST_SAMPLES 4096 /* that importance is measured on */

static tarn_status no_memory(struct tarn_error *error)
{
    return tarn_fail(error, TARN_NO_MEMORY, "model: out of memory");
}

/* The same, with a line that says what was done. */
static tarn_status finish(const tarn_model *from, const struct tarn_shape *shape,
                          const float *weights, const char *what, tarn_model **made,
                          struct tarn_error *error)
{
    size_t size = strlen(from->provenance) + 128;
    char *text = tarn_alloc(size);
    if (text == NULL)
        return no_memory(error);
    size_t length = strlen(from->provenance);
    bool ended = length == 0 || from->provenance[length - 1] == '\n';
    snprintf(text, size, "%s%s%s %u units to %u\n", from->provenance, ended ? "" : "\n", what,
             (unsigned)from->shape.hidden1, (unsigned)shape->hidden1);
    tarn_status status = tarn_model_create(shape, weights, text, made);
    tarn_free(text);
    return status == TARN_NO_MEMORY ? no_memory(error) : status;
}

static bool is_nested(const tarn_model *model, uint32_t width)
{
    for (int i = 0; i < TARN_NESTED_MOST; i++)
        if (model->nested.width[i] == width)
            return true;
    return false;
}

/* Samples in tiles, evenly from all runs. */
static float *gather(const tarn_model *model, const struct tarn_model_run *runs, size_t run_count,
                     size_t *count)
{
    size_t of_each = run_count > 0 ? MOST_SAMPLES / run_count + 1 : 0;
    float *tiles = tarn_alloc_zeroed(tarn_shape_tile_floats(&model->shape, of_each * run_count + 1),
                                     sizeof *tiles);
    *count = 0;
    for (size_t r = 0; tiles != NULL && r < run_count; r++)
        for (size_t k = 0; k < of_each && k < runs[r].count; k++, ++*count) {
            const struct tarn_model_sample *s = &runs[r].samples[k * runs[r].count / of_each];
            float *to =
                tiles + *count / TARN_LANES * TARN_FEATURES * TARN_LANES + *count % TARN_LANES;
            if (of_each > runs[r].count)
                s = &runs[r].samples[k];
            for (int f = 0; f < TARN_FEATURES; f++)
                to[f * TARN_LANES] = (float)s->features[f] * TARN_FEATURE_STEP;
        }
    return tiles;
}

/* Brings what matters most to the front. */
static tarn_status order(const tarn_model *model, const struct tarn_model_run *runs,
                         size_t run_count, float *weights)
{
    float first[TARN_MAX_WIDTH], second[TARN_MAX_WIDTH];
    size_t count;
    float *tiles = gather(model, runs, run_count, &count);
    if (tiles == NULL)
        return TARN_NO_MEMORY;
    tarn_net_importance(&model->shape, weights, tiles, count, first, second);
    tarn_free(tiles);
    return tarn_net_order(&model->shape, weights, first, second);
}

tarn_status tarn_model_narrow(const tarn_model *model, uint32_t width, int by_importance,
                              const struct tarn_model_run *samples, size_t sample_runs,
                              tarn_model **narrow, struct tarn_error *error)
{
    *narrow = NULL;
    const struct tarn_shape *from = &model->shape;
    struct tarn_shape to = {from->inputs, width, width, from->outputs};
    if (width == 0 || width > from->hidden1 || width > from->hidden2)
        return tarn_fail(error, TARN_INVALID, "model: %u of %u and %u units", (unsigned)width,
                         (unsigned)from->hidden1, (unsigned)from->hidden2);
    if (samples != NULL && from->inputs != TARN_FEATURES)
        return tarn_fail(error, TARN_INVALID, "model: samples of %d features, not %u",
                         TARN_FEATURES, (unsigned)from->inputs);
    if (!by_importance && !is_nested(model, width) &&
        !(width == from->hidden1 && width == from->hidden2))
        return tarn_fail(error, TARN_INVALID,
                         "model: its first %u units are no model by themselves: it isn't trained "
                         "for that width",
                         (unsigned)width);
    size_t all = tarn_shape_weights(from);
    float *weights = tarn_alloc(2 * all * sizeof *weights);
    if (weights == NULL)
        return no_memory(error);
    memcpy(weights, model->weights, all * sizeof *weights);
    tarn_status status = TARN_OK;
    if (by_importance)
        status = order(model, samples, samples != NULL ? sample_runs : 0, weights);
    if (status == TARN_OK) {
        tarn_net_narrow(from, weights, &to, weights + all);
        status =
            finish(model, &to, weights + all,
                   by_importance ? "narrowed by importance from" : "sliced from", narrow, error);
    } else {
        no_memory(error);
    }
    tarn_free(weights);
    if (status == TARN_OK && !by_importance) {
        (*narrow)->nested.exits = model->nested.exits;
        for (int i = 0; i < TARN_NESTED_MOST; i++)
            if (model->nested.width[i] < width)
                (*narrow)->nested.width[i] = model->nested.width[i];
    }
    return status;
}

/* The slices of what it was, and that itself. */
static struct tarn_nested nested_beside(const tarn_model *model)
{
    struct tarn_nested nested = model->nested;
    uint32_t count = tarn_nested_count(&nested);
    if (count == 0 && !nested.exits)
        return nested;
    if (count == TARN_NESTED_MOST)
        memmove(nested.width, nested.width + 1, --count);
    nested.width[count] = (uint8_t)model->shape.hidden1;
    return nested;
}

tarn_status tarn_model_widen(const tarn_model *model, uint32_t width, uint64_t seed,
                             tarn_model **wide, struct tarn_error *error)
{
    *wide = NULL;
    const struct tarn_shape *from = &model->shape;
    struct tarn_shape to = {from->inputs, width, width, from->outputs};
    if (width <= from->hidden1 || width < from->hidden2 || !tarn_shape_is_valid(&to))
        return tarn_fail(error, TARN_INVALID, "model: from %u and %u units to %u, %d at most",
                         (unsigned)from->hidden1, (unsigned)from->hidden2, (unsigned)width,
                         TARN_MAX_WIDTH);
    struct tarn_nested nested = nested_beside(model);
    bool elastic = tarn_nested_count(&nested) > 0 && from->hidden1 == from->hidden2;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    float *weights = tarn_alloc(tarn_shape_weights(&to) * sizeof *weights);
    if (weights == NULL)
        return no_memory(error);
    tarn_net_widen(from, model->weights, &to, elastic, &rng, weights);
    tarn_status status = finish(model, &to, weights, "grown from", wide, error);
    if (status == TARN_OK && elastic)
        (*wide)->nested = nested;
    tarn_free(weights);
    return status;
}
