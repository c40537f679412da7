/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tarn bench learn`: how soon learning has followed a change, and what it has kept of what it knew before.
 *
 * Adaptation. A trace is half a period of one workload and then another, with other keys. Four caches of one
 * size go through all of it:
 *   tarn       as users get it: from the built-in model, learning all the time;
 *   periodic   the model that was trained from scratch on the first workload; at the end of each period
 *              another, trained from random weights on the samples of that period (of which the change
 *              is the middle), takes its place at once, and training takes no time;
 *   none       the built-in model, without learning;
 *   reference  as periodic until the change; from there on a model that was trained from scratch, before,
 *              on the second workload alone.
 * From the change on, misses are counted in buckets of a 200th of a period and smoothed over five of them (the
 * first ones over as many as there are). A cache has recovered when it begins to be within 5 % of the
 * reference's misses over the same requests and stays so for a tenth of a period or to the end. A cache that
 * was never out of the band needs 0 requests; where that is so of both, nothing is said about speed.
 *
 * Forgetting. Learning goes through A, B and C, and then with a cold cache through A's next requests. Beside it:
 * weights trained in place with nothing against forgetting, and the best for A of two models that know
 * nothing else: the one learnt on A from the built-in one (and learning on), and the one trained from
 * scratch on A.
 */
#include "bench_learn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/versions.h>

#include "base/error.h"

enum {
    BUCKETS = 200, /* of a period */
    SMOOTH = 5,    /* buckets */
    HOLD = 20,     /* buckets that a recovery must last, */
    HOLD_LEAST = 5 /* or to the end, if that is so many */
};
#define BAND 1.05

/* ---- workloads ---- */

static const struct tarn_bl_source sources[] = {
    {"zipf", "zipf", 20000, {"alpha=0.9"}},
    {"flat", "zipf", 8000, {"alpha=0.5"}},
    {"loop", "loop", 3000, {"share=0.1"}},
    {"big loop", "loop", 9000, {"share=0.2"}},
    {"recency", "recency", 12000, {"alpha=0.7", "fresh=0.15"}},
    {"drift", "drift", 15000, {"alpha=1", "period=400"}},
    {"burst", "burst", 12000, {"share=0.5", "length=20", "active=256"}},
    {"scan", "scan", 12000, {"share=0.5"}},
    {"re-scan", "scan", 8000, {"share=0.4", "repeat=1"}},
};
enum { ZIPF, FLAT, LOOP, BIG_LOOP, RECENCY, DRIFT, BURST, SCAN, RESCAN };

static const uint8_t changes[][2] = {
    {LOOP, RECENCY}, {BIG_LOOP, DRIFT}, {SCAN, RESCAN},   {DRIFT, BURST},
    {RESCAN, BURST}, {ZIPF, RECENCY},   {RECENCY, DRIFT}, {FLAT, BIG_LOOP},
    {LOOP, BURST},   {FLAT, RECENCY},   {SCAN, DRIFT},    {RECENCY, ZIPF},
};
static const uint8_t rounds[][3] = {
    {ZIPF, LOOP, RECENCY},    {RECENCY, SCAN, ZIPF},   {LOOP, DRIFT, BURST},
    {BURST, BIG_LOOP, DRIFT}, {RESCAN, RECENCY, FLAT}, {DRIFT, RESCAN, LOOP},
};
#define COUNT(array) (sizeof(array) / sizeof *(array))
#define CACHE        2000u

size_t tarn_bl_plan_pairs(struct tarn_bl *bench, const struct tarn_bl_stream *streams, size_t count,
                          struct tarn_bl_pair **pairs)
{
    size_t rows = count > 1 ? count : count > 0 ? 0 : bench->scale.quick ? 2 : COUNT(changes);
    *pairs = calloc(rows + 1, sizeof **pairs);
    for (size_t i = 0; *pairs != NULL && i < rows; i++) {
        struct tarn_bl_pair *pair = &(*pairs)[i];
        pair->seed = bench->cli->seed + i;
        if (count > 0) {
            pair->first = &streams[i];
            pair->second = &streams[(i + 1) % count];
            pair->requests = pair->second->count < bench->scale.period ? pair->second->count
                                                                       : bench->scale.period;
            snprintf(pair->name, sizeof pair->name, "%s > %s", pair->first->name,
                     pair->second->name);
        } else {
            pair->from = &sources[changes[i][0]];
            pair->to = &sources[changes[i][1]];
            pair->objects = CACHE;
            pair->requests = bench->scale.period / 8 * 5;
            snprintf(pair->name, sizeof pair->name, "%s > %s", pair->from->name, pair->to->name);
        }
        bench->planned += 5.0 * (double)(pair->requests + bench->scale.period / 2);
    }
    return rows;
}

size_t tarn_bl_plan_sequences(struct tarn_bl *bench, struct tarn_bl_sequence **sequences)
{
    size_t rows = bench->scale.quick ? 1 : COUNT(rounds);
    *sequences = calloc(rows, sizeof **sequences);
    for (size_t i = 0; *sequences != NULL && i < rows; i++) {
        struct tarn_bl_sequence *sequence = &(*sequences)[i];
        for (int k = 0; k < 3; k++)
            sequence->source[k] = &sources[rounds[i][k]];
        snprintf(sequence->name, sizeof sequence->name, "%s, %s, %s", sequence->source[0]->name,
                 sequence->source[1]->name, sequence->source[2]->name);
        sequence->objects = CACHE;
        sequence->seed = bench->cli->seed + 100 + i;
        bench->planned += 12 * (double)bench->scale.phase;
    }
    return rows;
}

static const struct tarn_bl_source usual[] = {
    {"zipf", "zipf", 20000, {NULL}},        {"scan", "scan", 20000, {NULL}},
    {"loop", "loop", 20000, {"share=0.2"}}, {"recency", "recency", 20000, {"fresh=0.1"}},
    {"drift", "drift", 20000, {NULL}},      {"burst", "burst", 20000, {NULL}},
    {"mixed", "mixed", 8000, {NULL}},       {"phases", "phases", 20000, {NULL}},
};

size_t tarn_bl_plan_cells(struct tarn_bl *bench, const struct tarn_bl_stream *streams, size_t count,
                          struct tarn_bl_cell **cells)
{
    size_t kinds = count > 0 ? count : bench->scale.quick ? 2 : COUNT(usual), rows = kinds * 2;
    *cells = calloc(rows + 1, sizeof **cells);
    for (size_t i = 0; *cells != NULL && i < rows; i++) {
        struct tarn_bl_cell *cell = &(*cells)[i];
        double share = i % 2 == 0 ? 0.1 : 0.01;
        cell->seed = bench->cli->seed + 200 + i;
        if (count > 0) {
            cell->stream = &streams[i / 2];
            cell->objects = (uint64_t)(share * (double)tarn_bl_footprint(cell->stream));
        } else {
            cell->source = &usual[i / 2];
            cell->objects = i % 2 == 0 ? 4000 : 800;
        }
        cell->objects = cell->objects > 50 ? cell->objects : 50;
        snprintf(cell->name, sizeof cell->name, "%.50s, %u",
                 count > 0 ? cell->stream->name : cell->source->name, (unsigned)cell->objects);
        bench->planned +=
            2 * (double)(count > 0 ? cell->stream->count : bench->scale.cost_requests);
    }
    return rows;
}

/* ---- adaptation ---- */

/* One cache's way through a pair's requests. */
struct way {
    const tarn_model *model;
    bool learns, retrains;
    const tarn_model *at_change; /* goes live then; NULL: none */
};

struct joined {
    struct tarn_bl_stream stream;
    size_t change, bucket, buckets; /* the buckets from the change on */
};

/* Live at once, and nothing comes after it but the next of these. */
static tarn_status put_live(tarn_engine *engine, const tarn_model *model, struct tarn_error *error)
{
    tarn_engine_unpin(engine, NULL);
    tarn_status status = tarn_engine_swap_model(engine, model, NULL, error);
    return status == TARN_OK ? tarn_engine_pin(engine, 0, error) : status;
}

static tarn_status retrain(struct tarn_bl *bench, tarn_engine *engine,
                           struct tarn_bl_samples *samples, uint64_t seed, struct tarn_error *error)
{
    tarn_model *model = NULL;
    tarn_engine_drain_samples(engine);
    tarn_status status = tarn_bl_train(samples, bench->scale.steps, NULL, seed, &model, error);
    if (status == TARN_OK)
        status = put_live(engine, model, error);
    tarn_model_destroy(&model);
    tarn_bl_samples_clear(samples);
    return status;
}

/* Requests from `at` up to where something is to be done. */
static size_t next_stop(const struct tarn_bl *bench, const struct joined *joined,
                        const struct way *way, size_t at)
{
    size_t stop = at < joined->change ? joined->change : joined->stream.count;
    size_t period = bench->scale.period, end = (at / period + 1) * period;
    return way->retrains && end < stop ? end : stop;
}

static tarn_status go(struct tarn_bl *bench, const struct tarn_bl_pair *pair,
                      const struct joined *joined, const struct way *way, uint32_t *misses,
                      struct tarn_error *error)
{
    struct tarn_bl_samples samples = {0};
    struct tarn_learning_params frozen;
    tarn_engine *engine = NULL;
    tarn_bl_naive(&frozen);
    struct tarn_bl_setup setup = {
        .objects = pair->objects,
        .model = way->model,
        .no_learn = !way->learns,
        .learning = way->learns ? NULL : &frozen, /* nor a watch over what is put live */
        .seed = pair->seed,
    };
    tarn_status status = TARN_OK;
    if (way->retrains) {
        status = tarn_bl_samples_init(&samples, pair->seed, error);
        setup.samples = &samples;
    }
    if (status == TARN_OK)
        status = tarn_bl_open(bench, &setup, &engine, error);
    for (size_t at = 0; status == TARN_OK && at < joined->stream.count;) {
        size_t stop = next_stop(bench, joined, way, at);
        tarn_bl_replay(bench, engine, joined->stream.key + at, stop - at, joined->bucket,
                       at < joined->change ? NULL
                                           : misses + (at - joined->change) / joined->bucket);
        at = stop;
        if (at == joined->change && way->at_change != NULL)
            status = put_live(engine, way->at_change, error);
        else if (way->retrains && at % bench->scale.period == 0 && at < joined->stream.count)
            status = retrain(bench, engine, &samples, pair->seed + at, error);
    }
    tarn_engine_destroy(&engine);
    tarn_bl_samples_free(&samples);
    return status;
}

static bool in_band(const uint32_t *misses, const uint32_t *reference, size_t bucket)
{
    double mine = 0, most = 0;
    for (size_t i = bucket < SMOOTH ? 0 : bucket - SMOOTH + 1; i <= bucket; i++) {
        mine += misses[i];
        most += BAND * reference[i];
    }
    return mine <= most;
}

static struct tarn_bl_recovery recovery(const struct joined *joined, const uint32_t *misses,
                                        const uint32_t *reference)
{
    struct tarn_bl_recovery result = {UINT64_MAX, 0};
    size_t inside = 0, since = 0;
    for (size_t i = 0; i < joined->buckets; i++) {
        result.miss_ratio += misses[i];
        if (inside >= HOLD)
            continue;
        if (!in_band(misses, reference, i))
            inside = 0;
        else if (inside++ == 0)
            since = i;
    }
    result.miss_ratio /= (double)(joined->stream.count - joined->change);
    if (inside >= HOLD_LEAST)
        result.requests = since == 0 ? 0 : (since + 1) * joined->bucket;
    return result;
}

/* How many times the requests of Tarn; below one bucket nothing is told apart. */
static double ratio_of(const struct tarn_bl_pair *pair, uint64_t bucket)
{
    const uint64_t most = pair->requests;
    uint64_t tarn = pair->tarn.requests, periodic = pair->periodic.requests;
    if (tarn == 0 && periodic == 0)
        return NAN;
    tarn = tarn > most ? most : tarn < bucket ? bucket : tarn;
    periodic = periodic > most ? most : periodic < bucket ? bucket : periodic;
    return (double)periodic / (double)tarn;
}

static tarn_status join(struct tarn_bl *bench, struct tarn_bl_pair *pair, struct joined *joined,
                        struct tarn_error *error)
{
    size_t before = bench->scale.period / 2;
    tarn_status status;
    if (pair->from != NULL) {
        status = tarn_bl_generate(&joined->stream, pair->from, before, pair->seed, 1, error);
        joined->change = before;
        if (status == TARN_OK)
            status = tarn_bl_generate(&joined->stream, pair->to, pair->requests, pair->seed + 1, 2,
                                      error);
    } else {
        /* what is too short comes again, until the change is in the middle of a period */
        size_t count = pair->first->count;
        status = TARN_OK;
        while (joined->stream.count < before && status == TARN_OK) {
            size_t left = before - joined->stream.count;
            status = tarn_bl_append(&joined->stream, pair->first, left < count ? count - left : 0,
                                    left < count ? left : count, 1, error);
        }
        joined->change = before;
        if (status == TARN_OK)
            status = tarn_bl_append(&joined->stream, pair->second, 0, pair->requests, 2, error);
        pair->objects = status == TARN_OK ? tarn_bl_footprint(&joined->stream) / 20 : 0;
        pair->objects = pair->objects > 500 ? pair->objects : 500;
    }
    joined->bucket = bench->scale.period / BUCKETS;
    joined->buckets = (pair->requests + joined->bucket - 1) / joined->bucket;
    return status;
}

tarn_status tarn_bl_run_pair(struct tarn_bl *bench, void *context, struct tarn_error *error)
{
    enum { REFERENCE, PERIODIC, TARN, NONE, WAYS };
    struct tarn_bl_pair *pair = context;
    struct joined joined = {0};
    tarn_model *first = NULL, *second = NULL;
    uint32_t *misses = NULL;
    tarn_status status = join(bench, pair, &joined, error);
    const uint64_t *keys = joined.stream.key;
    if (status == TARN_OK)
        status =
            tarn_bl_scratch(bench, pair->objects, keys, joined.change, pair->seed, &first, error);
    if (status == TARN_OK)
        status = tarn_bl_scratch(bench, pair->objects, keys + joined.change, pair->requests,
                                 pair->seed, &second, error);
    if (status == TARN_OK && (misses = calloc(WAYS * joined.buckets, sizeof *misses)) == NULL)
        status = tarn_fail(error, TARN_NO_MEMORY, "bench: out of memory");
    const struct way ways[WAYS] = {
        [REFERENCE] = {first, false, false, second},
        [PERIODIC] = {first, false, true, NULL},
        [TARN] = {NULL, true, false, NULL},
        [NONE] = {NULL, false, false, NULL},
    };
    for (int i = 0; i < WAYS && status == TARN_OK; i++)
        status = go(bench, pair, &joined, &ways[i], misses + (size_t)i * joined.buckets, error);
    if (status == TARN_OK) {
        pair->reference = recovery(&joined, misses, misses).miss_ratio;
        pair->periodic = recovery(&joined, misses + PERIODIC * joined.buckets, misses);
        pair->tarn = recovery(&joined, misses + TARN * joined.buckets, misses);
        pair->none = recovery(&joined, misses + NONE * joined.buckets, misses);
        pair->ratio = ratio_of(pair, joined.bucket);
    }
    free(misses);
    tarn_model_destroy(&first);
    tarn_model_destroy(&second);
    tarn_bl_stream_free(&joined.stream);
    return status;
}

/* ---- forgetting ---- */

/* Learns over `count` requests and keeps what was learnt. */
static tarn_status learn(struct tarn_bl *bench, const struct tarn_bl_setup *setup,
                         const struct tarn_bl_stream *stream, size_t count, tarn_model **learnt,
                         struct tarn_error *error)
{
    uint64_t misses;
    return tarn_bl_measure(bench, setup, stream->key, count, 0, &misses, learnt, error);
}

/* The miss ratio of A's second visit, from a cold cache, with this model to begin with. */
static tarn_status visit(struct tarn_bl *bench, struct tarn_bl_setup setup, const tarn_model *model,
                         const struct tarn_bl_stream *stream, double *ratio,
                         struct tarn_error *error)
{
    size_t phase = bench->scale.phase;
    uint64_t misses = 0;
    setup.model = model;
    tarn_status status =
        tarn_bl_measure(bench, &setup, stream->key + 3 * phase, phase, 0, &misses, NULL, error);
    *ratio = (double)misses / (double)phase;
    return status;
}

/* A B C, and then the next requests of A. */
static tarn_status make_sequence(struct tarn_bl *bench, const struct tarn_bl_sequence *sequence,
                                 struct tarn_bl_stream *stream, struct tarn_error *error)
{
    struct tarn_bl_stream visits = {0};
    uint64_t phase = bench->scale.phase;
    tarn_status status =
        tarn_bl_generate(&visits, sequence->source[0], 2 * phase, sequence->seed, 1, error);
    if (status == TARN_OK)
        status = tarn_bl_append(stream, &visits, 0, phase, 1, error);
    for (unsigned k = 1; k < 3 && status == TARN_OK; k++)
        status =
            tarn_bl_generate(stream, sequence->source[k], phase, sequence->seed + k, k + 1, error);
    if (status == TARN_OK)
        status = tarn_bl_append(stream, &visits, phase, phase, 1, error);
    tarn_bl_stream_free(&visits);
    return status;
}

/* The better of the two that know nothing but A. */
static tarn_status best_for_a(struct tarn_bl *bench, struct tarn_bl_sequence *sequence,
                              const struct tarn_bl_stream *stream, struct tarn_error *error)
{
    struct tarn_bl_setup setup = {.objects = sequence->objects, .seed = sequence->seed};
    size_t phase = bench->scale.phase;
    tarn_model *learnt = NULL, *scratch = NULL;
    double from_learnt = NAN, from_scratch = NAN;
    tarn_status status = learn(bench, &setup, stream, phase, &learnt, error);
    if (status == TARN_OK)
        status = visit(bench, setup, learnt, stream, &from_learnt, error);
    if (status == TARN_OK)
        status = tarn_bl_scratch(bench, sequence->objects, stream->key, phase, sequence->seed,
                                 &scratch, error);
    setup.no_learn = true;
    if (status == TARN_OK)
        status = visit(bench, setup, scratch, stream, &from_scratch, error);
    tarn_model_destroy(&learnt);
    tarn_model_destroy(&scratch);
    sequence->best = fmin(from_learnt, from_scratch);
    sequence->best_is = from_learnt <= from_scratch ? "learnt" : "scratch";
    return status;
}

tarn_status tarn_bl_run_sequence(struct tarn_bl *bench, void *context, struct tarn_error *error)
{
    struct tarn_bl_sequence *sequence = context;
    struct tarn_bl_stream stream = {0};
    struct tarn_learning_params naive;
    struct tarn_bl_setup setup = {.objects = sequence->objects, .seed = sequence->seed};
    tarn_model *learnt = NULL;
    tarn_bl_naive(&naive);
    tarn_status status = make_sequence(bench, sequence, &stream, error);
    if (status == TARN_OK)
        status = learn(bench, &setup, &stream, 3 * bench->scale.phase, &learnt, error);
    if (status == TARN_OK)
        status = visit(bench, setup, learnt, &stream, &sequence->tarn, error);
    tarn_model_destroy(&learnt);
    setup.learning = &naive;
    if (status == TARN_OK)
        status = learn(bench, &setup, &stream, 3 * bench->scale.phase, &learnt, error);
    if (status == TARN_OK)
        status = visit(bench, setup, learnt, &stream, &sequence->naive, error);
    tarn_model_destroy(&learnt);
    if (status == TARN_OK)
        status = best_for_a(bench, sequence, &stream, error);
    tarn_bl_stream_free(&stream);
    return status;
}

/* ---- what the loop costs ---- */

tarn_status tarn_bl_run_cell(struct tarn_bl *bench, void *context, struct tarn_error *error)
{
    struct tarn_bl_cell *cell = context;
    struct tarn_bl_stream made = {0};
    struct tarn_learning_params in_place;
    struct tarn_bl_setup setup = {.objects = cell->objects, .seed = cell->seed};
    uint64_t gated = 0, ungated = 0;
    tarn_status status = TARN_OK;
    tarn_learning_defaults(&in_place);
    in_place.in_place = true;
    if (cell->source != NULL)
        status =
            tarn_bl_generate(&made, cell->source, bench->scale.cost_requests, cell->seed, 0, error);
    const struct tarn_bl_stream *stream = cell->source != NULL ? &made : cell->stream;
    if (status == TARN_OK)
        status = tarn_bl_measure(bench, &setup, stream->key, stream->count, 0, &gated, NULL, error);
    setup.learning = &in_place;
    if (status == TARN_OK)
        status =
            tarn_bl_measure(bench, &setup, stream->key, stream->count, 0, &ungated, NULL, error);
    if (status == TARN_OK) {
        cell->gated = (double)gated / (double)stream->count;
        cell->in_place = (double)ungated / (double)stream->count;
    }
    tarn_bl_stream_free(&made);
    return status;
}
