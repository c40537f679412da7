/* SPDX-License-Identifier: Apache-2.0 */
#include "elastic.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/train.h"

/* ---- nested widths ---- */

bool tarn_nested_is_valid(const struct tarn_nested *nested, const struct tarn_shape *shape)
{
    uint32_t most = shape->hidden1 > shape->hidden2 ? shape->hidden1 : shape->hidden2, before = 0;
    bool ended = false;
    for (int i = 0; i < TARN_NESTED_MOST; i++) {
        uint32_t width = nested->width[i];
        ended = ended || width == 0;
        if (ended ? width != 0 : width <= before || width >= most)
            return false;
        before = width;
    }
    return nested->exits <= 1;
}

uint32_t tarn_nested_count(const struct tarn_nested *nested)
{
    uint32_t count = 0;
    while (count < TARN_NESTED_MOST && nested->width[count] > 0)
        count++;
    return count;
}

uint32_t tarn_nested_slice(const struct tarn_nested *nested, uint32_t width, bool exits)
{
    uint32_t found = 0, exit = exits && nested->exits;
    for (uint32_t i = TARN_NESTED_MOST; i-- > 0;)
        if (width > 0 && nested->width[i] >= width)
            found = nested->width[i];
    return TARN_SLICE(found, exit);
}

uint32_t tarn_nested_of_tile(const struct tarn_nested *nested, uint32_t tile)
{
    uint32_t widths = tarn_nested_count(nested);
    uint32_t forms = nested->exits ? 2 * widths + 1 : widths;
    if (tile % TARN_NESTED_EVERY != TARN_NESTED_EVERY - 1 || forms == 0)
        return 0;
    uint32_t form = tile / TARN_NESTED_EVERY % forms;
    if (form < widths)
        return TARN_SLICE((uint32_t)nested->width[form], 0u);
    form -= widths;
    return TARN_SLICE(form < widths ? (uint32_t)nested->width[form] : 0u, 1u);
}

uint32_t tarn_nested_label(const struct tarn_nested *nested, uint32_t tile, uint32_t label)
{
    return tarn_label_of_slice(label, tarn_nested_of_tile(nested, tile));
}

/* ---- growth ---- */

/* Which old unit each new one is. */
static void map_units(uint32_t old, uint32_t count, struct tarn_rng *rng, uint32_t *map)
{
    for (uint32_t i = 0; i < count; i++)
        map[i] = i < old ? i : tarn_rng_below(rng, old);
}

/* The units' shares of what goes out of the old one that they are copies of; these add up to 1. */
static void split(const uint32_t *map, uint32_t old, uint32_t count, bool keep,
                  struct tarn_rng *rng, float *share)
{
    for (uint32_t i = 0; keep && i < count; i++)
        share[i] = i < old ? 1 : 0;
    if (keep)
        return;
    double sums[TARN_MAX_WIDTH] = {0};
    for (uint32_t i = 0; i < count; i++) {
        share[i] = 0.5f + tarn_rng_float(rng);
        sums[map[i]] += (double)share[i];
    }
    for (uint32_t i = 0; i < count; i++)
        share[i] = (float)((double)share[i] / sums[map[i]]);
    /* old ones that have no copies keep what they had, to the bit */
    for (uint32_t i = 0; i < old; i++) {
        bool alone = true;
        for (uint32_t k = old; k < count; k++)
            alone = alone && map[k] != i;
        if (alone)
            share[i] = 1;
    }
}

/* One layer: neuron n is the old rows[n], its input i the old inputs[i], of which it takes share[i]. */
static void widen_layer(const float *from, uint32_t old_inputs, uint32_t old_neurons, float *to,
                        uint32_t inputs, uint32_t neurons, const uint32_t *rows,
                        const uint32_t *columns, const float *share)
{
    for (uint32_t n = 0; n < neurons; n++) {
        uint32_t row = rows != NULL ? rows[n] : n;
        for (uint32_t i = 0; i < inputs; i++)
            to[n * inputs + i] = columns != NULL ? from[row * old_inputs + columns[i]] * share[i]
                                                 : from[row * old_inputs + i];
        to[neurons * inputs + n] = from[old_neurons * old_inputs + row];
    }
}

void tarn_net_widen(const struct tarn_shape *from, const float *weights,
                    const struct tarn_shape *to, bool keep_slices, struct tarn_rng *rng,
                    float *wider)
{
    uint32_t first[TARN_MAX_WIDTH] = {0}, second[TARN_MAX_WIDTH] = {0};
    float share1[TARN_MAX_WIDTH], share2[TARN_MAX_WIDTH];
    map_units(from->hidden1, to->hidden1, rng, first);
    map_units(from->hidden2, to->hidden2, rng, second);
    split(first, from->hidden1, to->hidden1, keep_slices, rng, share1);
    split(second, from->hidden2, to->hidden2, keep_slices, rng, share2);
    widen_layer(weights, from->inputs, from->hidden1, wider, to->inputs, to->hidden1, first, NULL,
                NULL);
    weights += (size_t)from->hidden1 * (from->inputs + 1);
    wider += (size_t)to->hidden1 * (to->inputs + 1);
    widen_layer(weights, from->hidden1, from->hidden2, wider, to->hidden1, to->hidden2, second,
                first, share1);
    weights += (size_t)from->hidden2 * (from->hidden1 + 1);
    wider += (size_t)to->hidden2 * (to->hidden1 + 1);
    widen_layer(weights, from->hidden2, from->outputs, wider, to->hidden2, to->outputs, NULL,
                second, share2);
}

/* ---- shrinking ---- */

/* Sum of the magnitudes of what goes out of each of a layer's inputs. */
static void outgoing(const float *weights, uint32_t inputs, uint32_t neurons, float *sums)
{
    for (uint32_t i = 0; i < inputs; i++) {
        double sum = 0;
        for (uint32_t n = 0; n < neurons; n++)
            sum += fabs((double)weights[n * inputs + i]);
        sums[i] = (float)sum;
    }
}

/* One sample's activations of a layer, and their magnitudes added to `sums`. */
static void activate(const float *weights, const float *in, uint32_t inputs, uint32_t neurons,
                     float *out, double *sums)
{
    for (uint32_t n = 0; n < neurons; n++) {
        float z = weights[neurons * inputs + n];
        for (uint32_t i = 0; i < inputs; i++)
            z += weights[n * inputs + i] * in[i];
        out[n] = z > 0 ? z : z * TARN_LEAK;
        sums[n] += fabs((double)out[n]);
    }
}

void tarn_net_importance(const struct tarn_shape *s, const float *weights, const float *tiles,
                         size_t count, float *first, float *second)
{
    const float *w2 = weights + (size_t)s->hidden1 * (s->inputs + 1);
    const float *w3 = w2 + (size_t)s->hidden2 * (s->hidden1 + 1);
    double sums1[TARN_MAX_WIDTH] = {0}, sums2[TARN_MAX_WIDTH] = {0};
    float x[TARN_MAX_WIDTH], a1[TARN_MAX_WIDTH], a2[TARN_MAX_WIDTH];
    outgoing(w2, s->hidden1, s->hidden2, first);
    outgoing(w3, s->hidden2, s->outputs, second);
    for (size_t i = 0; i < count; i++) {
        for (uint32_t f = 0; f < s->inputs; f++)
            x[f] = tiles[(i / TARN_LANES * s->inputs + f) * TARN_LANES + i % TARN_LANES];
        activate(weights, x, s->inputs, s->hidden1, a1, sums1);
        activate(w2, a1, s->hidden1, s->hidden2, a2, sums2);
    }
    for (uint32_t n = 0; count > 0 && n < s->hidden1; n++)
        first[n] *= (float)(sums1[n] / (double)count);
    for (uint32_t n = 0; count > 0 && n < s->hidden2; n++)
        second[n] *= (float)(sums2[n] / (double)count);
}

static void rank(const float *importance, uint32_t count, uint32_t *order)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && importance[order[at - 1]] < importance[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
}

/* Rows and columns of a layer in another order; NULL: as they are. `copy` has room for its weights. */
static void permute(float *weights, uint32_t inputs, uint32_t neurons, const uint32_t *rows,
                    const uint32_t *columns, float *copy)
{
    memcpy(copy, weights, (size_t)neurons * (inputs + 1) * sizeof *copy);
    for (uint32_t n = 0; n < neurons; n++) {
        uint32_t row = rows != NULL ? rows[n] : n;
        for (uint32_t i = 0; i < inputs; i++)
            weights[n * inputs + i] = copy[row * inputs + (columns != NULL ? columns[i] : i)];
        weights[neurons * inputs + n] = copy[neurons * inputs + row];
    }
}

tarn_status tarn_net_order(const struct tarn_shape *s, float *weights, const float *first,
                           const float *second)
{
    uint32_t order1[TARN_MAX_WIDTH], order2[TARN_MAX_WIDTH];
    float *copy = tarn_alloc(tarn_shape_weights(s) * sizeof *copy);
    if (copy == NULL)
        return TARN_NO_MEMORY;
    rank(first, s->hidden1, order1);
    rank(second, s->hidden2, order2);
    float *w2 = weights + (size_t)s->hidden1 * (s->inputs + 1);
    permute(weights, s->inputs, s->hidden1, order1, NULL, copy);
    permute(w2, s->hidden1, s->hidden2, order2, order1, copy);
    permute(w2 + (size_t)s->hidden2 * (s->hidden1 + 1), s->hidden2, s->outputs, NULL, order2, copy);
    tarn_free(copy);
    return TARN_OK;
}

void tarn_net_narrow(const struct tarn_shape *from, const float *weights,
                     const struct tarn_shape *to, float *narrower)
{
    const uint32_t old[] = {from->inputs, from->hidden1, from->hidden2, from->outputs};
    const uint32_t new[] = {to->inputs, to->hidden1, to->hidden2, to->outputs};
    for (int layer = 0; layer < 3; layer++) {
        for (uint32_t n = 0; n < new[layer + 1]; n++)
            memcpy(narrower + n * new[layer], weights + n * old[layer],
                   new[layer] * sizeof *narrower);
        memcpy(narrower + new[layer] * new[layer + 1], weights + old[layer] * old[layer + 1],
               new[layer + 1] * sizeof *narrower);
        weights += (size_t)old[layer + 1] * (old[layer] + 1);
        narrower += (size_t) new[layer + 1] * (new[layer] + 1);
    }
}
