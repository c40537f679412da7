/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `tarn bench learn`: bad models, and who stops them. Several caches run and learn. Every now and then each
 * kind of bad weights is made from the live ones (bench_learn_harm.c). They count as a trial if a cache
 * with them, frozen, misses at least 2 % more than one with the live weights, frozen too, over the same
 * requests (those to come; both caches are filled first). Weights that are no numbers can't be replayed: they
 * always count. The others are left out, and their number is printed.
 *   stopped   the gate, asked what it would say of these weights if training had made them now, doesn't let
 *             them pass. One model of each cache is offered as if it came from elsewhere instead: it is
 *             stopped if it hasn't gone live when its rollout ends.
 *   undone    some are put live by force, with training held, so that only the watch can help. It goes by its
 *             miniature caches, which see a few of the keys, and lasts max(2,000, 2 x their objects) of their
 *             requests: undone is within these. How many are undone within max(2,000, 2 x resident objects)
 *             requests of the cache itself is counted beside it.
 *   false     copies of the live weights with a little noise, that a replay can't tell apart by 0.2 %, are put
 *             live in the same way: none of them should be undone.
 */
#include "bench_learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/versions.h"
#include "model/model.h"

enum {
    JOBS = 12,
    KINDS_COUNTED = 7, /* of the kinds tried at a checkpoint, about */
    FORCED = 2,        /* at a checkpoint */
    EQUALS = 3,
    LEAST_REPLAY = 20000,   /* requests that are counted, */
    REPLAY_FILLS = 6,       /* or as many times the cache's objects */
    LONGEST_WATCH = 100000, /* requests of the cache */
    TYPICAL_WATCH = 60000,
    LONGEST_ROLLOUT = 1000000,
    LOOK = 32,  /* requests between two looks at the watch */
    APART = 10, /* fills of the cache until what a bad model left is gone, miniature caches too */
};
#define HARM        0.02
#define ALIKE       0.002
#define SMALL_NOISE 3e-3f

/* Such that the network matters: where the heuristics beside it are as good, bad weights do no harm. */
static const struct tarn_bl_source workloads[] = {
    {"recency", "recency", 16000, {"alpha=0.7", "fresh=0.15"}},
    {"drift", "drift", 15000, {"alpha=1", "period=400"}},
    {"burst", "burst", 12000, {"share=0.5", "length=20", "active=256"}},
    {"scan", "scan", 16000, {"share=0.4"}},
    {"new recency", "recency", 20000, {"alpha=0.8", "fresh=0.3"}},
    {"slow drift", "drift", 12000, {"alpha=0.9", "period=1500"}},
    {"small bursts", "burst", 16000, {"share=0.4", "length=8", "active=512"}},
    {"zipf", "zipf", 20000, {"alpha=0.9"}},
};
static const struct tarn_bl_source others[] = {
    {"loop", "loop", 6000, {"share=0.1"}},
    {"zipf", "zipf", 8000, {"alpha=0.5"}},
    {"recency", "recency", 12000, {"alpha=1.1", "fresh=0.4"}},
};
static const uint64_t sizes[] = {2000, 3000, 4000};
#define COUNT(array) (sizeof(array) / sizeof *(array))

size_t tarn_bl_plan_jobs(struct tarn_bl *bench, struct tarn_bl_job **jobs)
{
    bool quick = bench->scale.quick;
    size_t count = quick ? 2 : JOBS;
    uint64_t each = count * KINDS_COUNTED;
    *jobs = calloc(count, sizeof **jobs);
    for (size_t i = 0; *jobs != NULL && i < count; i++) {
        struct tarn_bl_job *job = &(*jobs)[i];
        job->source = workloads[i % COUNT(workloads)];
        job->other = others[i % COUNT(others)];
        job->objects = sizes[i % COUNT(sizes)];
        job->seed = bench->cli->seed + 300 + i;
        job->checkpoints = (uint32_t)((bench->scale.trials + each - 1) / each);
        bench->planned += (quick ? 0 : LONGEST_ROLLOUT / 2) + (double)job->checkpoints * 800000;
    }
    return count;
}

struct sabotage {
    struct tarn_bl *bench;
    struct tarn_bl_job *job;
    struct tarn_bl_stream stream;
    size_t at; /* requests done */
    tarn_engine *engine;
    struct tarn_bl_samples own, elsewhere;
    struct tarn_rng rng;
    tarn_model *live;     /* copied at this checkpoint */
    uint64_t live_misses; /* of its replay */
    tarn_model *bad[TARN_BL_HARMS];
    double harm[TARN_BL_HARMS]; /* relative; of those in `bad` */
};

static size_t replay_length(const struct tarn_bl_job *job)
{
    size_t length = REPLAY_FILLS * job->objects;
    return length > LEAST_REPLAY ? length : LEAST_REPLAY;
}

static size_t left(const struct sabotage *s)
{
    return s->stream.count - s->at;
}

static void go_on(struct sabotage *s, size_t count)
{
    count = count < left(s) ? count : left(s);
    tarn_bl_replay(s->bench, s->engine, s->stream.key + s->at, count, 1, NULL);
    s->at += count;
}

/* Misses of a frozen model over the requests to come, after half as many that fill the cache. */
static tarn_status replay(struct sabotage *s, const tarn_model *model, uint64_t *misses,
                          struct tarn_error *error)
{
    size_t length = replay_length(s->job), before = length / 2 < s->at ? length / 2 : s->at;
    const struct tarn_bl_setup setup = {
        .objects = s->job->objects, .model = model, .no_learn = true, .seed = s->job->seed};
    length = length < left(s) ? length : left(s);
    return tarn_bl_measure(s->bench, &setup, s->stream.key + s->at - before, before + length,
                           before, misses, NULL, error);
}

static tarn_status model_of(const struct sabotage *s, const float *weights, tarn_model **model,
                            struct tarn_error *error)
{
    tarn_status status = tarn_model_create(&s->live->shape, weights, "bench learn", model);
    return status == TARN_OK
               ? status
               : tarn_fail(error, status, "bench: a model: %s", tarn_status_message(status));
}

static struct tarn_bl_counts *bin_of(struct sabotage *s, double harm)
{
    return &s->job->result.bin[harm < 0.05 ? 0 : harm < 0.15 ? 1 : 2];
}

/* ---- who is stopped ---- */

static void ask_gate(struct sabotage *s, enum tarn_bl_harm kind, double harm, const float *weights)
{
    struct tarn_gate_report report;
    struct tarn_bl_counts *counts[] = {&s->job->result.kind[kind], bin_of(s, harm)};
    bool passes = tarn_versions_try(s->engine, weights, &report) == TARN_GATE_PASS;
    for (int i = 0; i < (isnan(harm) ? 1 : 2); i++) {
        counts[i]->trials++;
        counts[i]->passed += passes;
        counts[i]->stopped += !passes;
    }
}

/* Makes bad weights of a kind until they are bad enough, and asks the gate. */
static tarn_status try_kind(struct sabotage *s, enum tarn_bl_harm kind, float *weights,
                            struct tarn_error *error)
{
    const struct tarn_bl_workshop workshop = {&s->own, &s->elsewhere, &s->rng, s->job->seed};
    struct tarn_bl_counts *counts = &s->job->result.kind[kind];
    tarn_status status = TARN_OK;
    counts->made++;
    for (uint32_t attempt = 0;
         status == TARN_OK && tarn_bl_make_harm(&workshop, kind, attempt, s->live, weights);
         attempt++) {
        tarn_model *model = NULL;
        uint64_t misses = 0;
        if (kind == TARN_BL_NAN) {
            ask_gate(s, kind, NAN, weights);
            return TARN_OK;
        }
        status = model_of(s, weights, &model, error);
        if (status == TARN_OK)
            status = replay(s, model, &misses, error);
        double harm = (double)misses / (double)s->live_misses - 1;
        if (status == TARN_OK && harm >= HARM) {
            ask_gate(s, kind, harm, weights);
            s->bad[kind] = model;
            s->harm[kind] = harm;
            return TARN_OK;
        }
        tarn_model_destroy(&model);
    }
    counts->harmless++;
    return status;
}

/* ---- who is undone ---- */

enum outcome { REFUSED, UNWATCHED, STAYED, UNDONE };

/* Puts a model live and waits for the watch; `*requests` is how long it took to be undone. */
static enum outcome force(struct sabotage *s, const tarn_model *model, uint64_t *requests)
{
    struct tarn_version_stats stats;
    enum outcome outcome = STAYED;
    if (left(s) < LONGEST_WATCH)
        return REFUSED;
    tarn_engine_set_training(s->engine, false);
    tarn_engine_get_versions(s->engine, &stats);
    uint64_t before = stats.live, rollbacks = stats.rollbacks;
    if (tarn_engine_swap_model(s->engine, model, NULL, NULL) != TARN_OK) {
        tarn_engine_set_training(s->engine, true);
        return REFUSED;
    }
    tarn_engine_get_versions(s->engine, &stats);
    bool watched = stats.watch_length > 0;
    for (*requests = 0; *requests < LONGEST_WATCH && outcome == STAYED;) {
        go_on(s, LOOK);
        *requests += LOOK;
        tarn_engine_get_versions(s->engine, &stats);
        if (stats.rollbacks > rollbacks)
            outcome = UNDONE;
        else if (stats.watch_length == 0 && watched)
            break;
        watched |= stats.watch_length > 0;
        if (!watched && *requests > 8 * s->job->objects)
            outcome = UNWATCHED;
    }
    if (outcome != UNDONE)
        tarn_engine_roll_back(s->engine, before, false, NULL, NULL);
    tarn_engine_set_training(s->engine, true);
    go_on(s, 3 * s->job->objects);
    return outcome;
}

static void force_bad(struct sabotage *s)
{
    struct tarn_bl_sabotage *result = &s->job->result;
    uint32_t first = tarn_rng_below(&s->rng, TARN_BL_HARMS), forced = 0;
    uint64_t in_time = 2 * s->job->objects > 2000 ? 2 * s->job->objects : 2000, requests;
    for (uint32_t i = 0; i < TARN_BL_HARMS && forced < FORCED; i++) {
        uint32_t kind = (first + i) % TARN_BL_HARMS;
        if (s->bad[kind] == NULL)
            continue;
        enum outcome outcome = force(s, s->bad[kind], &requests);
        result->refused += outcome == REFUSED;
        result->unwatched += outcome == UNWATCHED;
        if (outcome == REFUSED)
            continue;
        forced++;
        struct tarn_bl_counts *counts[] = {&result->kind[kind], bin_of(s, s->harm[kind])};
        for (int k = 0; k < 2; k++) {
            counts[k]->forced++;
            counts[k]->undone += outcome == UNDONE;
            counts[k]->in_time += outcome == UNDONE && requests <= in_time;
        }
        if (outcome == UNDONE && result->times < TARN_BL_TIMES)
            result->time[result->times++] = (float)requests;
    }
}

/* Another model that is as good, judged over the same requests. */
static tarn_status make_equal(struct sabotage *s, float *weights, tarn_model **equal,
                              struct tarn_error *error)
{
    uint64_t misses = 0;
    tarn_bl_make_equal(s->live, &s->rng, SMALL_NOISE, weights);
    tarn_status status = model_of(s, weights, equal, error);
    if (status == TARN_OK)
        status = replay(s, *equal, &misses, error);
    if (status == TARN_OK && fabs((double)misses / (double)s->live_misses - 1) >= ALIKE) {
        s->job->result.equals_off++;
        tarn_model_destroy(equal);
    }
    return status;
}

static void force_equal(struct sabotage *s, const tarn_model *equal)
{
    struct tarn_bl_sabotage *result = &s->job->result;
    uint64_t requests;
    enum outcome outcome = force(s, equal, &requests);
    result->refused += outcome == REFUSED;
    result->unwatched += outcome == UNWATCHED;
    result->equals += outcome != REFUSED;
    result->false_rollbacks += outcome == UNDONE;
}

/* The least bad of this checkpoint's models takes the way of one from elsewhere. */
static void offer(struct sabotage *s)
{
    struct tarn_bl_sabotage *result = &s->job->result;
    struct tarn_version_stats stats;
    uint32_t least = TARN_BL_HARMS;
    for (uint32_t kind = 0; kind < TARN_BL_HARMS; kind++)
        if (s->bad[kind] != NULL && (least == TARN_BL_HARMS || s->harm[kind] < s->harm[least]))
            least = kind;
    if (least == TARN_BL_HARMS)
        return;
    tarn_engine_get_versions(s->engine, &stats);
    uint64_t rejected = stats.rejected;
    tarn_status status = tarn_engine_offer_model(s->engine, s->bad[least], NULL);
    if (status == TARN_BUSY) {
        result->refused++;
        return;
    }
    result->offered++;
    if (status != TARN_OK) {
        result->offered_stopped++;
        return;
    }
    size_t step = 1000;
    do {
        go_on(s, step);
        tarn_engine_get_versions(s->engine, &stats);
    } while (stats.rollout != NULL && left(s) > step);
    if (stats.rejected > rejected)
        result->offered_stopped++;
    else if (stats.rollout == NULL)
        result->offered_live += strstr(stats.rollout_end, "live") != NULL;
}

/* ---- a cache's life ---- */

static tarn_status checkpoint(struct sabotage *s, bool last, struct tarn_error *error)
{
    size_t count = tarn_shape_weights(&tarn_net_reference);
    float *weights = malloc(count * sizeof *weights);
    tarn_model *equal[EQUALS] = {NULL};
    tarn_status status =
        weights != NULL ? tarn_engine_copy_model(s->engine, &s->live) : TARN_NO_MEMORY;
    if (status == TARN_OK)
        status = replay(s, s->live, &s->live_misses, error);
    for (int kind = 0; kind < TARN_BL_HARMS && status == TARN_OK; kind++)
        status = try_kind(s, (enum tarn_bl_harm)kind, weights, error);
    for (int i = 0; i < EQUALS && status == TARN_OK; i++)
        status = make_equal(s, weights, &equal[i], error);
    for (int i = 0; i < EQUALS; i++) {
        if (status == TARN_OK && equal[i] != NULL)
            force_equal(s, equal[i]);
        tarn_model_destroy(&equal[i]);
    }
    if (status == TARN_OK)
        force_bad(s);
    if (status == TARN_OK && last && !s->bench->scale.quick)
        offer(s);
    for (int kind = 0; kind < TARN_BL_HARMS; kind++)
        tarn_model_destroy(&s->bad[kind]);
    tarn_model_destroy(&s->live);
    free(weights);
    return status;
}

/* What another workload looks like. */
static tarn_status look_elsewhere(struct sabotage *s, struct tarn_error *error)
{
    struct tarn_bl_stream stream = {0};
    const struct tarn_bl_setup setup = {.objects = s->job->objects,
                                        .no_learn = true,
                                        .samples = &s->elsewhere,
                                        .seed = s->job->seed};
    uint64_t misses;
    tarn_status status =
        tarn_bl_generate(&stream, &s->job->other, 2 * LEAST_REPLAY, s->job->seed + 1, 1, error);
    if (status == TARN_OK)
        status =
            tarn_bl_measure(s->bench, &setup, stream.key, stream.count, 0, &misses, NULL, error);
    tarn_bl_stream_free(&stream);
    return status;
}

tarn_status tarn_bl_run_job(struct tarn_bl *bench, void *context, struct tarn_error *error)
{
    struct tarn_bl_job *job = context;
    struct sabotage s = {.bench = bench, .job = job};
    size_t warm = 30 * job->objects, apart = APART * job->objects;
    size_t watches = (FORCED + EQUALS) * (size_t)(TYPICAL_WATCH + 3 * job->objects);
    size_t rollout = bench->scale.quick ? 0 : LONGEST_ROLLOUT;
    tarn_rng_seed(&s.rng, job->seed);
    tarn_status status = tarn_bl_generate(
        &s.stream, &job->source,
        warm + job->checkpoints * (apart + watches) + rollout + LONGEST_WATCH, job->seed, 0, error);
    if (status == TARN_OK)
        status = tarn_bl_samples_init(&s.own, job->seed, error);
    if (status == TARN_OK)
        status = tarn_bl_samples_init(&s.elsewhere, job->seed, error);
    if (status == TARN_OK)
        status = look_elsewhere(&s, error);
    if (status == TARN_OK)
        status = tarn_bl_open(
            bench,
            &(struct tarn_bl_setup){.objects = job->objects, .samples = &s.own, .seed = job->seed},
            &s.engine, error);
    if (status == TARN_OK)
        go_on(&s, warm);
    for (uint32_t i = 0; i < job->checkpoints && status == TARN_OK; i++) {
        if (left(&s) > LONGEST_WATCH)
            status = checkpoint(&s, i + 1 == job->checkpoints, error);
        go_on(&s, apart);
    }
    tarn_engine_destroy(&s.engine);
    tarn_bl_samples_free(&s.own);
    tarn_bl_samples_free(&s.elsewhere);
    tarn_bl_stream_free(&s.stream);
    return status;
}

static void add(struct tarn_bl_counts *sum, const struct tarn_bl_counts *more)
{
    sum->made += more->made;
    sum->harmless += more->harmless;
    sum->trials += more->trials;
    sum->stopped += more->stopped;
    sum->passed += more->passed;
    sum->forced += more->forced;
    sum->undone += more->undone;
    sum->in_time += more->in_time;
}

void tarn_bl_add_jobs(const struct tarn_bl_job *jobs, size_t count, struct tarn_bl_sabotage *sum)
{
    for (size_t i = 0; i < count; i++) {
        const struct tarn_bl_sabotage *more = &jobs[i].result;
        for (int k = 0; k < TARN_BL_HARMS; k++)
            add(&sum->kind[k], &more->kind[k]);
        for (int k = 0; k < TARN_BL_BINS; k++)
            add(&sum->bin[k], &more->bin[k]);
        sum->offered += more->offered;
        sum->offered_stopped += more->offered_stopped;
        sum->offered_live += more->offered_live;
        sum->unwatched += more->unwatched;
        sum->refused += more->refused;
        sum->equals += more->equals;
        sum->equals_off += more->equals_off;
        sum->false_rollbacks += more->false_rollbacks;
        for (uint32_t t = 0; t < more->times && sum->times < TARN_BL_TIMES; t++)
            sum->time[sum->times++] = more->time[t];
    }
}
