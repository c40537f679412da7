/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Generated workloads of which it is known, request by request, what they consist of: to train the
 * classifier of src/experts with, and to measure it. Parts of one class each (trace/gen.h's models,
 * without the popular objects that these mix in), interleaved in runs, perhaps with requests for unrelated
 * keys between them, perhaps with all removed that a small cache in front would have answered.
 *
 * The same specification gives the same requests. One thread at a time.
 */
#ifndef TARN_SIM_BLENDS_H
#define TARN_SIM_BLENDS_H

#include <stdbool.h>
#include <stdint.h>

#include <tarn/status.h>

#include "base/rng.h"

/** What a request can be a part of, in the order of <tarn/workload.h>'s classes. */
enum { TARN_BLEND_PARTS = 5, TARN_BLEND_NOISE = TARN_BLEND_PARTS };
/** A blend's parts at most: some of one class. */
enum { TARN_BLEND_SOURCES = 8 };

struct tarn_blend_part {
    uint32_t component; /**< below TARN_BLEND_PARTS */
    double weight;      /**< its share of the requests */
    double run;         /**< requests of it in a row, mean */
    uint64_t objects;   /**< zipf, recency; of all sequences: scan */
    uint64_t
        length;   /**< of a scan, loop or burst; recency: median distance, where it has a spread */
    double alpha; /**< zipf, recency, popularity of sequences */
    double fresh; /**< recency: share of new objects */
    uint64_t
        active;   /**< bursts at a time; scan: sequences that are read again and again, 0: none */
    double group; /**< zipf, recency: objects that are wanted together, in order, mean; 1: alone */
    double hot,
        hot_share; /**< zipf: share of the objects that are hot, and of the requests for them; 0: a Zipf law */
    double spread;   /**< recency: of the distance's lg (normal); 0: a Zipf law */
    double turnover; /**< zipf: requests, in objects, after which others are popular; 0: never */
};

struct tarn_blend_spec {
    uint64_t seed;
    uint32_t part_count;
    struct tarn_blend_part part[TARN_BLEND_SOURCES];
    double noise;         /**< share of requests for unrelated keys */
    uint64_t front_cache; /**< objects of the cache in front; 0: none */
    bool turns;      /**< parts take turns regularly, in runs of one length each, not at random */
    double swing;    /**< lg of what a part's weight rises and falls by; 0: it stays */
    uint64_t period; /**< requests of one rise and fall, where it swings; each part has its phase */
};

#define TARN_BLEND_WAYS 8 /* of a set of the cache in front */

/** From where the parameters are drawn. */
typedef enum tarn_blend_range {
    TARN_BLEND_INSIDE,  /**< what the classifier is trained with */
    TARN_BLEND_OUTSIDE, /**< every other parameter is beyond those, on either side */
} tarn_blend_range;

/** Draws a blend of `parts` (1 … TARN_BLEND_PARTS) classes; the first is `component`, if it isn't negative. */
void tarn_blend_draw(struct tarn_rng *rng, tarn_blend_range range, uint32_t parts, int component,
                     struct tarn_blend_spec *spec);

/**
 * Makes a drawn blend less regular, without another truth: for some, a part becomes two of its class with
 * parameters of their own, the parts take turns, or what each makes up rises and falls. Workloads of one origin are
 * rarely one model with one set of parameters.
 */
void tarn_blend_vary(struct tarn_rng *rng, tarn_blend_range range, struct tarn_blend_spec *spec);

typedef struct tarn_blend tarn_blend;

tarn_status tarn_blend_create(const struct tarn_blend_spec *spec, tarn_blend **blend,
                              struct tarn_error *error);
void tarn_blend_destroy(tarn_blend **blend);

/** A request of a small LRU cache's set, the latest first: true if it has the key, which is the latest then. */
bool tarn_blend_front(uint64_t set[TARN_BLEND_WAYS], uint64_t hash);

/** The class of workload that a table of tab-separated names and classes gives this name; -1: none, or no table. */
int tarn_blend_label(const char *path, const char *name);

/** The next request: a key's hash; `*component` is what it is part of, or TARN_BLEND_NOISE. */
uint64_t tarn_blend_next(tarn_blend *blend, uint32_t *component);

#endif
