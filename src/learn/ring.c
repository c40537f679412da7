/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <string.h>

#include "base/memory.h"
#include "learn/reservoir.h"

#define NO_SAMPLE UINT32_MAX

tarn_status tarn_ring_init(struct tarn_ring *ring, uint32_t size)
{
    uint32_t rounded = 1024;
    while (rounded < size && rounded < 1u << 24)
        rounded *= 2;
    *ring = (struct tarn_ring){.size = rounded};
    ring->samples = tarn_alloc_zeroed(rounded, sizeof *ring->samples);
    ring->chains = tarn_alloc((size_t)rounded * 2 * sizeof *ring->chains);
    if (ring->samples == NULL || ring->chains == NULL) {
        tarn_ring_free(ring);
        return TARN_NO_MEMORY;
    }
    memset(ring->chains, 0xff, (size_t)rounded * 2 * sizeof *ring->chains);
    return TARN_OK;
}

uint64_t tarn_ring_memory(uint32_t size)
{
    return size * (sizeof(struct tarn_sample) + 2 * sizeof(uint32_t));
}

tarn_status tarn_ring_resize(struct tarn_ring *ring, uint32_t size, uint64_t now)
{
    struct tarn_ring other;
    tarn_status status = tarn_ring_init(&other, size);
    if (status != TARN_OK)
        return status;
    other.sink = ring->sink;
    other.sink_context = ring->sink_context;
    other.reservoir = ring->reservoir;
    memcpy(other.put, ring->put, sizeof other.put);
    other.shape = ring->shape;
    tarn_ring_drain(ring, now);
    tarn_ring_free(ring);
    *ring = other;
    return TARN_OK;
}

void tarn_ring_free(struct tarn_ring *ring)
{
    tarn_free(ring->samples);
    tarn_free(ring->chains);
    *ring = (struct tarn_ring){0};
}

static uint32_t *chain_of(const struct tarn_ring *ring, uint64_t hash)
{
    return &ring->chains[(hash >> 7) & (ring->size * 2 - 1)];
}

static void unlink_sample(struct tarn_ring *ring, uint32_t i)
{
    uint32_t *link = chain_of(ring, ring->samples[i].hash);
    while (*link != i)
        link = &ring->samples[*link].next;
    *link = ring->samples[i].next;
}

static void hand_over(struct tarn_ring *ring, const struct tarn_sample *sample, uint64_t now)
{
    if (ring->sink != NULL)
        ring->sink(ring->sink_context, sample->features, tarn_sample_elapsed(sample, now),
                   !sample->open && sample->wanted);
    if (ring->reservoir != NULL)
        tarn_reservoir_offer(ring->reservoir, ring->shape, sample, now);
}

static void count_in(struct tarn_ring *ring, uint8_t tag)
{
    ring->put[tag]++;
    ring->held[tag]++;
}

void tarn_ring_put_tagged(struct tarn_ring *ring, uint64_t hash, uint8_t tag,
                          const int8_t *features, uint64_t now, float period)
{
    uint32_t i = (uint32_t)ring->head & (ring->size - 1);
    struct tarn_sample *sample = &ring->samples[i];
    if (ring->head++ >= ring->size) {
        hand_over(ring, sample, now);
        ring->held[sample->tag]--;
        if (sample->open)
            unlink_sample(ring, i);
    }
    count_in(ring, tag);
    uint32_t *chain = chain_of(ring, hash);
    memcpy(sample->features, features, TARN_FEATURES);
    sample->since = (uint32_t)now;
    sample->period = period;
    sample->hash = hash;
    sample->tag = tag;
    sample->open = true;
    sample->next = *chain;
    *chain = i;
}

void tarn_ring_restore(struct tarn_ring *ring, const struct tarn_sample *sample)
{
    uint32_t i = (uint32_t)ring->head & (ring->size - 1);
    if (ring->head++ >= ring->size) {
        ring->held[ring->samples[i].tag]--;
        if (ring->samples[i].open)
            unlink_sample(ring, i);
    }
    ring->samples[i] = *sample;
    count_in(ring, sample->tag);
    ring->samples[i].open = false;
    ring->samples[i].next = NO_SAMPLE;
}

void tarn_ring_resolve(struct tarn_ring *ring, uint64_t hash, uint64_t now, bool wanted)
{
    for (uint32_t *link = chain_of(ring, hash); *link != NO_SAMPLE;) {
        struct tarn_sample *sample = &ring->samples[*link];
        if (sample->hash != hash) {
            link = &sample->next;
            continue;
        }
        *link = sample->next;
        sample->open = false;
        sample->wanted = wanted;
        sample->until = (uint32_t)now;
    }
}

const struct tarn_sample *tarn_ring_draw(const struct tarn_ring *ring, struct tarn_rng *rng)
{
    uint32_t count = ring->head < ring->size ? (uint32_t)ring->head : ring->size;
    return count < TARN_RING_LEAST ? NULL : &ring->samples[tarn_rng_below(rng, count)];
}

const struct tarn_sample *tarn_ring_draw_newest(const struct tarn_ring *ring, uint32_t newest,
                                                struct tarn_rng *rng)
{
    uint32_t i = (uint32_t)ring->head - 1 - tarn_rng_below(rng, newest);
    return &ring->samples[i & (ring->size - 1)];
}

float tarn_sample_elapsed(const struct tarn_sample *sample, uint64_t now)
{
    uint32_t until = sample->open ? (uint32_t)now : sample->until;
    return (float)(until - sample->since) / sample->period;
}

void tarn_ring_drain(struct tarn_ring *ring, uint64_t now)
{
    uint64_t count = ring->head < ring->size ? ring->head : ring->size;
    for (uint64_t k = ring->head - count; k < ring->head; k++)
        hand_over(ring, &ring->samples[k & (ring->size - 1)], now);
    memset(ring->chains, 0xff, (size_t)ring->size * 2 * sizeof *ring->chains);
    memset(ring->held, 0, sizeof ring->held);
    ring->head = 0;
}
