/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, read as a checkpoint: no crash; what is refused has a reason, and what is accepted can be
 * trained on. A second time with checksums mended.
 */
#include "fuzz.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "learn/checkpoint.h"

static const struct tarn_shape shape = {TARN_FEATURES, 4, 4, 11};

static void take(void *context, const struct tarn_checkpoint_part *part)
{
    size_t count = tarn_shape_weights(&shape);
    uint32_t least = part->is_class ? 0 : 1, most = part->is_class ? 15 : TARN_BUNDLE_TAGS;
    (void)context;
    if (part->number < least || part->number > most || part->is_class != (part->live != NULL) ||
        memchr(part->name, 0, sizeof part->name) == NULL || !isfinite(part->rate) ||
        !tarn_net_is_finite(part->state.weights, count) ||
        !tarn_net_is_finite(part->state.m, count) || !tarn_net_is_finite(part->state.v, count) ||
        (part->live != NULL && !tarn_net_is_finite(part->live, count)))
        abort();
}

static bool open_target(struct tarn_checkpoint *into)
{
    static struct tarn_ring ring;
    static struct tarn_reservoir kept;
    float weights[256] = {0};
    struct tarn_trainer_params params = {
        .shape = &shape, .weights = weights, .batch = 16, .steps = 1, .rate = 0.001f};
    *into =
        (struct tarn_checkpoint){.shape = &shape, .ring = &ring, .reservoir = &kept, .take = take};
    return tarn_ring_init(&ring, 1024) == TARN_OK && tarn_reservoir_init(&kept, 32, 1) == TARN_OK &&
           tarn_trainer_create(&params, &into->trainer, NULL) == TARN_OK;
}

static void close_target(struct tarn_checkpoint *into)
{
    tarn_trainer_destroy(&into->trainer);
    tarn_reservoir_free(into->reservoir);
    tarn_ring_free(into->ring);
}

static void read_checkpoint(const uint8_t *data, size_t size)
{
    struct tarn_checkpoint into;
    struct tarn_error error = {0};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    if (!open_target(&into))
        abort();
    tarn_status status = tarn_checkpoint_parse(data, size, "fuzz", &into, 12345, &error);
    if (status != TARN_OK) {
        if (error.status != status || error.message[0] == '\0' || into.ring->head != 0 ||
            tarn_reservoir_count(into.reservoir) != 0)
            abort();
        close_target(&into);
        return;
    }
    if (!tarn_net_is_finite(tarn_trainer_weights(into.trainer), tarn_shape_weights(&shape)))
        abort();
    const struct tarn_kept_sample *kept = tarn_reservoir_draw(into.reservoir, 0, &rng);
    if (kept != NULL && ((kept->label & 0xff) == 0 || (kept->label & 0xff) > shape.outputs))
        abort();
    for (uint32_t i = 0; i < into.ring->size && i < into.ring->head; i++) {
        float elapsed = tarn_sample_elapsed(&into.ring->samples[i], 12345);
        if (!isfinite(elapsed) || elapsed < 0)
            abort();
        tarn_ring_resolve(into.ring, into.ring->samples[i].hash, 12345, true);
    }
    for (uint64_t i = 0; i < 2000; i++)
        tarn_ring_put(into.ring, i, into.ring->samples[0].features, 12345 + i, 64);
    close_target(&into);
}

/* Magic, version (either), size and all checksums made right. */
static void mend(uint8_t *data, size_t size)
{
    bool old = data[8] & 1;
    memcpy(data, "TARNCKP\x1a\1\0\0\0\x80\0\0\0", 16);
    data[8] = old ? 1 : 2;
    tarn_put_u64(data + 16, size);
    tarn_put_u64(data + 120, tarn_hash(data, 120));
    size_t chunks = (size - 136 + 65543) / 65544, table = size - 8 - chunks * 8;
    for (size_t i = 0; i < chunks; i++) {
        size_t from = 128 + i * 65536, length = table - from < 65536 ? table - from : 65536;
        tarn_put_u64(data + table + 8 * i, tarn_hash(data + from, length));
    }
    tarn_put_u64(data + table + 8 * chunks, tarn_hash(data + table, 8 * chunks));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_checkpoint(data, size);
    if (size < 256)
        return 0;
    uint8_t *copy = malloc(size);
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    mend(copy, size);
    read_checkpoint(copy, size);
    free(copy);
    return 0;
}
