/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * How much of an elastic network decides: its width in use, and whether the second layer takes part. What
 * each slice loses is measured on the engine's own held-out samples, what it costs by the clock; a miss has
 * its price, so that both are the same currency. A network that isn't elastic is always used whole.
 *
 * The change itself is a store under the cache's lock; the next round scores its pool again.
 */
#ifndef TARN_ENGINE_WIDTH_H
#define TARN_ENGINE_WIDTH_H

#include "net/elastic.h"

/** The slices that a network has: each width and the whole, with and without its second layer. */
#define TARN_WIDTH_FORMS (2 * (TARN_NESTED_MOST + 1))

/** One of them. */
struct tarn_width_form {
    uint32_t slice; /**< layout.h's; 0: the whole network */
    float work;     /**< of a score, the whole's being 1 */
    float excess;   /**< held-out loss above the whole's, nats; NaN: not known */
    float error;    /**< its standard error */
};

/** Fills in what is known without samples, the whole first. Returns how many forms there are. */
uint32_t tarn_width_forms(const struct tarn_nested *nested, const struct tarn_shape *shape,
                          struct tarn_width_form forms[TARN_WIDTH_FORMS]);

/** What the choice is made by. */
struct tarn_width_view {
    const struct tarn_width_form *forms;
    uint32_t count;    /**< of them, the whole first */
    uint32_t now;      /**< which one is in use */
    float score_ns;    /**< of the whole network's score, where scores are made */
    float miss_ns;     /**< what a miss costs whoever asked; 0: TARN_WIDTH_MISS_NS */
    uint32_t pressure; /**< 0: requests are served as fast as they come */
};

#define TARN_WIDTH_MISS_NS 1e6f /* a millisecond: a request to a server that is near */
/* Where sets of samples are many, 0.1 nats of survival loss were found to be about 0.6 % of the misses. */
#define TARN_WIDTH_MISSES_A_NAT 0.06f
#define TARN_WIDTH_SCORES       10.0f /* scores for a victim, on the mean */
#define TARN_WIDTH_SURE         2.0f  /* standard errors: of several slices one is always lucky */
#define TARN_WIDTH_HURRY        20.0f /* under pressure time is so many times as dear */

/**
 * Which form should decide. Of each the price is known: its excess in misses, times what a miss costs,
 * and its time; another than the one in use has to be cheaper by more than twice the error of its excess. A form
 * whose excess isn't known isn't chosen. Under pressure the same, with time TARN_WIDTH_HURRY times as dear. Pure.
 */
uint32_t tarn_width_choose(const struct tarn_width_view *view);

struct tarn_engine;
struct tarn_engine_stats;
/** After the cache. */
tarn_status tarn_width_init(struct tarn_engine *engine);
void tarn_width_free(struct tarn_engine *engine);
/** Each time that the background looks around, under its lock: measures now and then, and chooses. */
void tarn_width_look(struct tarn_engine *engine);
/** Its part of the statistics. Under the background's lock. */
void tarn_width_get_stats(struct tarn_engine *engine, struct tarn_engine_stats *stats);
/**
 * Requests come faster than they are served, or no longer do. Takes effect with the next eviction round;
 * before anything else is given up. Takes the cache's lock for a few ns; by the thread that looks, or while
 * nobody else has the engine.
 */
void tarn_width_press(struct tarn_engine *engine, uint32_t pressure);

#endif
