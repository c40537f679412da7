/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The sample ring: candidates as they were scored, waiting to be told when they were wanted again.
 * Newer samples push out older ones. Labels are computed when a sample is drawn, so that what hasn't
 * happened yet is censored exactly (docs/eviction.md). Under the cache's lock.
 */
#ifndef TARN_LEARN_RING_H
#define TARN_LEARN_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <tarn/status.h>

#include "base/rng.h"
#include "net/net.h"

#define TARN_RING_LEAST 256 /* samples before any may be drawn */
#define TARN_RING_TAGS  8   /* kinds of objects, 0 for those that have none */

struct tarn_reservoir;

struct tarn_sample {
    int8_t features[TARN_FEATURES];
    uint32_t since; /**< when it was scored, requests modulo 2^32 */
    uint32_t until; /**< when it was wanted again, or known to be for the last time */
    float period;   /**< T at that time */
    uint32_t next;  /**< unresolved samples under the same chain */
    uint64_t hash;
    uint8_t tag; /**< the object's; 0: none */
    bool open;   /**< nothing has happened yet */
    bool wanted; /**< `until` is the time of an access */
};

/** Told of each sample that leaves the ring: `elapsed` in T, wanted then or not until then. */
typedef void (*tarn_sample_sink)(void *context, const int8_t *features, float elapsed, bool wanted);

struct tarn_ring {
    struct tarn_sample *samples;
    uint32_t *chains;              /**< heads by hash */
    uint32_t size;                 /**< samples, a power of two */
    uint64_t head;                 /**< samples put in so far */
    uint64_t put[TARN_RING_TAGS];  /**< the same of each tag, and never again fewer */
    uint32_t held[TARN_RING_TAGS]; /**< samples of each tag in it */
    tarn_sample_sink sink;         /**< may be NULL */
    void *sink_context;
    struct tarn_reservoir *reservoir; /**< NULL, or what takes samples that leave; not owned */
    const struct tarn_shape *shape;   /**< that it makes labels for; set with it */
};

/** `size` samples, rounded up to a power of two. */
tarn_status tarn_ring_init(struct tarn_ring *ring, uint32_t size);
void tarn_ring_free(struct tarn_ring *ring);
/** Bytes that so many samples take. */
uint64_t tarn_ring_memory(uint32_t size);
/** Another size: what is in it goes to the sink. On TARN_NO_MEMORY nothing has changed. */
tarn_status tarn_ring_resize(struct tarn_ring *ring, uint32_t size, uint64_t now);

/** A sample of an object with this tag (below TARN_RING_TAGS). */
void tarn_ring_put_tagged(struct tarn_ring *ring, uint64_t hash, uint8_t tag,
                          const int8_t *features, uint64_t now, float period);
static inline void tarn_ring_put(struct tarn_ring *ring, uint64_t hash, const int8_t *features,
                                 uint64_t now, float period)
{
    tarn_ring_put_tagged(ring, hash, 0, features, now, period);
}
/** The key's open samples are closed: it was wanted at `now`, or can't be any more. */
void tarn_ring_resolve(struct tarn_ring *ring, uint64_t hash, uint64_t now, bool wanted);
/** A sample at random, or NULL while there are fewer than TARN_RING_LEAST. */
const struct tarn_sample *tarn_ring_draw(const struct tarn_ring *ring, struct tarn_rng *rng);
/** One of the `newest` (1 to those that are in it), at random. */
const struct tarn_sample *tarn_ring_draw_newest(const struct tarn_ring *ring, uint32_t newest,
                                                struct tarn_rng *rng);
/** What is known of a sample by now: time in T, and whether it ended in an access. */
float tarn_sample_elapsed(const struct tarn_sample *sample, uint64_t now);
/**
 * Puts a sample of an earlier life in, as the newest, closed: `until` is when it was last known. For a
 * ring that is filled from a file.
 */
void tarn_ring_restore(struct tarn_ring *ring, const struct tarn_sample *sample);
/** Hands all samples to the sink and empties the ring. */
void tarn_ring_drain(struct tarn_ring *ring, uint64_t now);

#endif
