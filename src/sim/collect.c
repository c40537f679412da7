/* SPDX-License-Identifier: Apache-2.0 */
#include "collect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/engine.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"

#define DEFAULT_SAMPLES 60000
#define LEAST_SAMPLES   1000
#define LEAST_OBJECTS   50
#define KEY_SHARE       0.3 /* of the runs with a sample of the keys */

static const double sizes[] = {0.002, 0.01, 0.03, 0.1, 0.25};
#define SIZES (sizeof sizes / sizeof sizes[0])

/* A trace at one size: all keys or some, by object or by byte. */
struct job {
    const struct tarn_trace_data *trace;
    double size;
    bool some_keys, bytes;
    uint64_t seed;
    tarn_status status;
    struct tarn_error error;
    /* a reservoir (Vitter 1985) */
    struct tarn_model_sample *samples;
    size_t count, room;
    uint64_t seen, requests;
    struct tarn_rng rng;
};

struct work {
    const struct tarn_collect_params *params;
    struct job *jobs;
    size_t count, next, done;
    pthread_mutex_t lock;
};

static void keep(void *user, const struct tarn_model_sample *sample)
{
    struct job *job = user;
    job->seen++;
    if (job->count < job->room) {
        job->samples[job->count++] = *sample;
        return;
    }
    uint64_t place = tarn_rng_next(&job->rng) % job->seen;
    if (place < job->room)
        job->samples[place] = *sample;
}

static bool takes_part(const struct job *job, uint32_t object)
{
    return !job->some_keys || (double)tarn_mix64(job->trace->key[object]) < KEY_SHARE * 0x1p64;
}

/* Sum of the last sizes of the objects that take part. */
static uint64_t footprint(const struct job *job)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < job->trace->count; i++)
        if (job->trace->next[i] == UINT32_MAX && takes_part(job, job->trace->object[i]))
            sum += job->bytes ? job->trace->size[i] : 1;
    return sum;
}

static tarn_status replay(struct job *job, tarn_engine *engine)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    for (size_t i = 0; i < job->trace->count; i++) {
        uint32_t object = job->trace->object[i];
        if (!takes_part(job, object))
            continue;
        uint64_t key = job->trace->key[object];
        size_t room = 0;
        if (job->trace->op != NULL && job->trace->op[i] == TARN_TRACE_DELETE) {
            tarn_cache_delete(cache, &key, sizeof key);
            continue;
        }
        bool put = job->trace->op != NULL && job->trace->op[i] == TARN_TRACE_PUT;
        if (put || tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK) {
            struct tarn_item item = {.charge = job->bytes ? job->trace->size[i] : 1};
            if (tarn_cache_put(cache, &key, sizeof key, &item) == TARN_NO_MEMORY)
                return TARN_NO_MEMORY;
        }
        tarn_engine_step(engine);
        job->requests++;
    }
    tarn_engine_drain_samples(engine);
    return TARN_OK;
}

static void run(struct job *job, const tarn_model *model, size_t samples)
{
    uint64_t limit = (uint64_t)((double)footprint(job) * job->size);
    if (limit < LEAST_OBJECTS)
        return;
    tarn_rng_seed(&job->rng, job->seed);
    job->room = samples;
    job->samples = malloc(samples * sizeof *job->samples);
    if (job->samples == NULL) {
        job->status = tarn_fail(&job->error, TARN_NO_MEMORY, "%s: out of memory", job->trace->name);
        return;
    }
    tarn_engine *engine = NULL;
    job->status = tarn_engine_create(
        &(struct tarn_engine_params){
            .memory = job->bytes ? limit : 0,
            .objects = job->bytes ? 0 : limit,
            .device = "host",
            .background = TARN_BACKGROUND_STEPS,
            .model = model,
            .seed = job->seed,
            .sample = keep,
            .user = job,
        },
        &engine, &job->error);
    if (job->status == TARN_OK)
        job->status = replay(job, engine);
    tarn_engine_destroy(&engine);
}

static void *work_on(void *context)
{
    struct work *work = context;
    size_t samples = work->params->samples > 0 ? work->params->samples : DEFAULT_SAMPLES;
    pthread_mutex_lock(&work->lock);
    while (work->next < work->count) {
        struct job *job = &work->jobs[work->next++];
        pthread_mutex_unlock(&work->lock);
        run(job, work->params->model, samples);
        pthread_mutex_lock(&work->lock);
        work->done++;
        if (work->params->progress != NULL)
            work->params->progress(work->params->user, (double)work->done / (double)work->count);
    }
    pthread_mutex_unlock(&work->lock);
    return NULL;
}

static void plan(struct work *work, const struct tarn_trace_data *trace, uint64_t seed)
{
    for (int bytes = 0; bytes <= !trace->unit_sizes; bytes++)
        for (int some = 0; some < 2; some++)
            for (size_t s = 0; s < SIZES; s++) {
                work->jobs[work->count] = (struct job){
                    .trace = trace,
                    .size = sizes[s],
                    .some_keys = some,
                    .bytes = bytes,
                    .seed = tarn_mix64(seed + work->count + 1),
                };
                work->count++;
            }
}

tarn_status tarn_collect(const struct tarn_trace_data *const *traces, size_t trace_count,
                         const struct tarn_collect_params *params, struct tarn_collected *collected,
                         struct tarn_error *error)
{
    enum { MOST_THREADS = 64 };
    struct work work = {.params = params};
    pthread_t threads[MOST_THREADS];
    unsigned wanted = params->threads < 1 ? 1 : params->threads, started = 0;
    tarn_status status = TARN_OK;
    *collected = (struct tarn_collected){0};
    work.jobs = calloc(trace_count * SIZES * 4 + 1, sizeof *work.jobs);
    collected->runs = calloc(trace_count * SIZES * 4 + 1, sizeof *collected->runs);
    if (work.jobs == NULL || collected->runs == NULL || pthread_mutex_init(&work.lock, NULL) != 0) {
        free(work.jobs);
        free(collected->runs);
        return tarn_fail(error, TARN_NO_MEMORY, "collecting samples: out of memory");
    }
    for (size_t i = 0; i < trace_count; i++)
        plan(&work, traces[i], params->seed);
    for (; started + 1 < wanted && started < MOST_THREADS; started++)
        if (pthread_create(&threads[started], NULL, work_on, &work) != 0)
            break;
    work_on(&work);
    for (unsigned i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&work.lock);
    for (size_t i = 0; i < work.count; i++) {
        struct job *job = &work.jobs[i];
        if (job->status != TARN_OK && status == TARN_OK) {
            status = job->status;
            if (error != NULL)
                *error = job->error;
        }
        collected->requests += job->requests;
        if (job->count < LEAST_SAMPLES) {
            free(job->samples);
            continue;
        }
        collected->samples += job->count;
        collected->runs[collected->run_count++] = (struct tarn_model_run){job->samples, job->count};
    }
    free(work.jobs);
    if (status != TARN_OK)
        tarn_collected_free(collected);
    return status;
}

void tarn_collected_free(struct tarn_collected *collected)
{
    for (size_t i = 0; i < collected->run_count; i++)
        free((void *)collected->runs[i].samples);
    free(collected->runs);
    *collected = (struct tarn_collected){0};
}
