/* SPDX-License-Identifier: Apache-2.0 */
/* Objects of several kinds in one round: each network sees its own, put together into whole tiles. */
#include "bundle.h"

#include <string.h>

#define AT_ONCE (4 * TARN_LANES)

/* Candidates that one network has yet to score. */
struct gathered {
    const struct tarn_bundle *bundle;
    uint32_t width, count;
    bool exits;
    uint32_t from[AT_ONCE];
    float scores[AT_ONCE];
    _Alignas(64) float tiles[AT_ONCE * TARN_MAX_WIDTH];
};

static void score_gathered(struct gathered *g, float *scores)
{
    if (g->count == 0)
        return;
    tarn_bundle_score(
        g->bundle,
        &(struct tarn_bundle_batch){
            .tiles = g->tiles, .count = g->count, .width = g->width, .exits = g->exits},
        g->scores);
    for (uint32_t i = 0; i < g->count; i++)
        scores[g->from[i]] = g->scores[i];
    g->count = 0;
}

static void gather(struct gathered *g, const float *tiles, uint32_t i, uint32_t inputs)
{
    const float *from = tiles + (size_t)(i / TARN_LANES) * inputs * TARN_LANES + i % TARN_LANES;
    float *to =
        g->tiles + (size_t)(g->count / TARN_LANES) * inputs * TARN_LANES + g->count % TARN_LANES;
    if (g->count % TARN_LANES == 0)
        memset(to, 0, (size_t)inputs * TARN_LANES * sizeof *to);
    for (uint32_t f = 0; f < inputs; f++)
        to[f * TARN_LANES] = from[f * TARN_LANES];
    g->from[g->count++] = i;
}

void tarn_bundle_score_tagged(const struct tarn_bundle *bundle,
                              const struct tarn_bundle_batch *batch, float *scores)
{
    struct gathered g; /* its tiles are cleared as they are filled */
    g.width = batch->width;
    g.exits = batch->exits;
    g.count = 0;
    uint32_t left = 0; /* kinds that are in the batch, one bit each */
    for (uint32_t i = 0; i < batch->count; i++)
        left |= 1u << (tarn_bundle_of_tag(bundle, batch->tags[i]) == bundle ? 0 : batch->tags[i]);
    for (uint32_t tag = 0; left != 0; tag++, left >>= 1) {
        if ((left & 1) == 0)
            continue;
        g.bundle = tarn_bundle_of_tag(bundle, tag);
        for (uint32_t i = 0; i < batch->count; i++) {
            if (tarn_bundle_of_tag(bundle, batch->tags[i]) != g.bundle)
                continue;
            gather(&g, batch->tiles, i, bundle->model->shape.inputs);
            if (g.count == AT_ONCE)
                score_gathered(&g, scores);
        }
        score_gathered(&g, scores);
    }
}
