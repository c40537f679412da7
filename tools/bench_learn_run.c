/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `tarn bench learn` run on: see bench_learn.h. */
#include "bench_learn.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "trace/gen.h"
#include "trace/numbering.h"
#include "trace/trace.h"

enum {
    BATCH = 4096,
    SAMPLES = 60000, /* kept for training from scratch */
    REPORT = 16384,  /* requests between two looks at the bar */
    THREADS = 2,
};

/* ---- requests ---- */

static uint64_t *more_room(struct tarn_bl_stream *stream, uint64_t count, struct tarn_error *error)
{
    uint64_t *key = realloc(stream->key, (stream->count + count) * sizeof *key);
    if (key == NULL) {
        tarn_fail(error, TARN_NO_MEMORY, "bench: out of memory");
        return NULL;
    }
    stream->key = key;
    return key + stream->count;
}

tarn_status tarn_bl_generate(struct tarn_bl_stream *stream, const struct tarn_bl_source *source,
                             uint64_t count, uint64_t seed, uint64_t salt, struct tarn_error *error)
{
    struct tarn_request batch[BATCH];
    struct tarn_gen_params params = {
        .kind = source->kind,
        .requests = count,
        .objects = source->objects,
        .seed = seed,
        .settings = source->settings,
    };
    while (params.setting_count < TARN_BL_SETTINGS &&
           source->settings[params.setting_count] != NULL)
        params.setting_count++;
    uint64_t *key = more_room(stream, count, error);
    tarn_gen *gen = NULL;
    if (key == NULL)
        return TARN_NO_MEMORY;
    tarn_status status = tarn_gen_create(&params, &gen, error);
    for (size_t n = 1; status == TARN_OK && n > 0;) {
        n = tarn_gen_read(gen, batch, BATCH);
        for (size_t i = 0; i < n; i++)
            *key++ = tarn_mix64(batch[i].key ^ salt << 48);
        stream->count += n;
    }
    tarn_gen_destroy(&gen);
    return status;
}

tarn_status tarn_bl_load(struct tarn_bl_stream *stream, const char *path, uint64_t limit,
                         struct tarn_error *error)
{
    struct tarn_trace_data *data = NULL;
    tarn_status status = tarn_trace_load(
        path, &(struct tarn_trace_load_params){.limit = limit, .unit_size = 1}, &data, error);
    if (status != TARN_OK)
        return status;
    uint64_t *key = more_room(stream, data->count, error);
    for (size_t i = 0; key != NULL && i < data->count; i++)
        key[i] = data->key[data->object[i]];
    if (key != NULL)
        stream->count += data->count;
    strncpy(stream->name, data->name, sizeof stream->name - 1);
    tarn_trace_data_free(&data);
    return key != NULL ? TARN_OK : TARN_NO_MEMORY;
}

tarn_status tarn_bl_append(struct tarn_bl_stream *stream, const struct tarn_bl_stream *from,
                           size_t begin, size_t count, uint64_t salt, struct tarn_error *error)
{
    uint64_t *key = more_room(stream, count, error);
    if (key == NULL)
        return TARN_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        key[i] = tarn_mix64(from->key[begin + i] ^ salt << 48);
    stream->count += count;
    return TARN_OK;
}

uint64_t tarn_bl_footprint(const struct tarn_bl_stream *stream)
{
    struct tarn_numbering numbering = {0};
    uint32_t number;
    bool fresh, enough = true;
    for (size_t i = 0; i < stream->count && enough; i++)
        enough = tarn_numbering_get(&numbering, stream->key[i], &number, &fresh);
    uint64_t count = enough ? numbering.count : 0;
    tarn_numbering_free(&numbering);
    return count;
}

void tarn_bl_stream_free(struct tarn_bl_stream *stream)
{
    free(stream->key);
    *stream = (struct tarn_bl_stream){0};
}

/* ---- training from scratch ---- */

tarn_status tarn_bl_samples_init(struct tarn_bl_samples *samples, uint64_t seed,
                                 struct tarn_error *error)
{
    *samples = (struct tarn_bl_samples){.room = SAMPLES};
    tarn_rng_seed(&samples->rng, seed ^ 0x73616d706cu);
    samples->sample = malloc(SAMPLES * sizeof *samples->sample);
    return samples->sample != NULL ? TARN_OK
                                   : tarn_fail(error, TARN_NO_MEMORY, "bench: out of memory");
}

void tarn_bl_samples_clear(struct tarn_bl_samples *samples)
{
    samples->count = 0;
    samples->seen = 0;
}

void tarn_bl_samples_free(struct tarn_bl_samples *samples)
{
    free(samples->sample);
    *samples = (struct tarn_bl_samples){0};
}

static void keep(void *user, const struct tarn_model_sample *sample)
{
    struct tarn_bl_samples *samples = user;
    samples->seen++;
    if (samples->count < samples->room) {
        samples->sample[samples->count++] = *sample;
        return;
    }
    uint64_t place = tarn_rng_next(&samples->rng) % samples->seen;
    if (place < samples->room)
        samples->sample[place] = *sample;
}

tarn_status tarn_bl_train(const struct tarn_bl_samples *samples, uint32_t steps,
                          const tarn_model *start, uint64_t seed, tarn_model **model,
                          struct tarn_error *error)
{
    const struct tarn_model_run run = {samples->sample, samples->count};
    return tarn_model_pretrain(
        &(struct tarn_model_pretrain_params){
            .runs = &run,
            .run_count = samples->count > 0,
            .steps = steps,
            .seed = seed,
            .start = start,
            .provenance = "bench learn",
        },
        model, error);
}

/* ---- engines ---- */

tarn_status tarn_bl_open(struct tarn_bl *bench, const struct tarn_bl_setup *setup,
                         tarn_engine **engine, struct tarn_error *error)
{
    const char *device = bench->cli->device;
    return tarn_engine_create(
        &(struct tarn_engine_params){
            .objects = setup->objects,
            .device = strcmp(device, "auto") == 0 ? "host" : device,
            .cache_dir = bench->cli->cache_dir,
            .background = TARN_BACKGROUND_STEPS,
            .model = setup->model,
            .no_learn = setup->no_learn,
            .learning = setup->learning,
            .sample = setup->samples != NULL ? keep : NULL,
            .user = setup->samples,
            .seed = setup->seed,
        },
        engine, error);
}

void tarn_bl_naive(struct tarn_learning_params *params)
{
    tarn_learning_defaults(params);
    params->in_place = true;
}

bool tarn_bl_access(tarn_engine *engine, uint64_t key)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    size_t room = 0;
    bool hit = tarn_cache_get(cache, &key, sizeof key, NULL, &room) == TARN_OK;
    if (!hit)
        tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1});
    tarn_engine_step(engine);
    return hit;
}

static void report(struct tarn_bl *bench, uint64_t requests)
{
    pthread_mutex_lock(&bench->lock);
    bench->done += (double)requests;
    double share = bench->planned > 0 ? bench->done / bench->planned : -1;
    tarn_progress_update(&bench->progress, share < 1 ? share : 1);
    pthread_mutex_unlock(&bench->lock);
}

uint64_t tarn_bl_replay(struct tarn_bl *bench, tarn_engine *engine, const uint64_t *keys,
                        size_t count, size_t bucket, uint32_t *misses)
{
    uint64_t sum = 0;
    if (misses != NULL)
        memset(misses, 0, (count + bucket - 1) / bucket * sizeof *misses);
    for (size_t i = 0; i < count; i++) {
        bool miss = !tarn_bl_access(engine, keys[i]);
        sum += miss;
        if (misses != NULL)
            misses[i / bucket] += miss;
        if ((i + 1) % REPORT == 0)
            report(bench, REPORT);
    }
    report(bench, count % REPORT);
    return sum;
}

tarn_status tarn_bl_measure(struct tarn_bl *bench, const struct tarn_bl_setup *setup,
                            const uint64_t *keys, size_t count, size_t from, uint64_t *misses,
                            tarn_model **learnt, struct tarn_error *error)
{
    tarn_engine *engine = NULL;
    tarn_status status = tarn_bl_open(bench, setup, &engine, error);
    if (status != TARN_OK)
        return status;
    tarn_bl_replay(bench, engine, keys, from, 1, NULL);
    *misses = tarn_bl_replay(bench, engine, keys + from, count - from, 1, NULL);
    if (setup->samples != NULL)
        tarn_engine_drain_samples(engine);
    if (learnt != NULL && (status = tarn_engine_copy_model(engine, learnt)) != TARN_OK)
        tarn_fail(error, status, "bench: a model: %s", tarn_status_message(status));
    tarn_engine_destroy(&engine);
    return status;
}

tarn_status tarn_bl_scratch(struct tarn_bl *bench, uint64_t objects, const uint64_t *keys,
                            size_t count, uint64_t seed, tarn_model **model,
                            struct tarn_error *error)
{
    struct tarn_bl_samples samples;
    const struct tarn_bl_setup setup = {
        .objects = objects, .no_learn = true, .samples = &samples, .seed = seed};
    uint64_t misses;
    tarn_status status = tarn_bl_samples_init(&samples, seed, error);
    if (status == TARN_OK)
        status = tarn_bl_measure(bench, &setup, keys, count, 0, &misses, NULL, error);
    if (status == TARN_OK)
        status = tarn_bl_train(&samples, bench->scale.steps, NULL, seed, model, error);
    tarn_bl_samples_free(&samples);
    return status;
}

/* ---- tasks ---- */

struct queue {
    struct tarn_bl *bench;
    const struct tarn_bl_task *tasks;
    size_t count, next;
    tarn_status status;
    struct tarn_error error;
};

static void *work(void *context)
{
    struct queue *queue = context;
    struct tarn_bl *bench = queue->bench;
    pthread_mutex_lock(&bench->lock);
    while (queue->status == TARN_OK && queue->next < queue->count) {
        const struct tarn_bl_task *task = &queue->tasks[queue->next++];
        struct tarn_error error = {0};
        pthread_mutex_unlock(&bench->lock);
        tarn_status status = task->run(bench, task->context, &error);
        pthread_mutex_lock(&bench->lock);
        if (status != TARN_OK && queue->status == TARN_OK) {
            queue->status = status;
            queue->error = error;
        }
    }
    pthread_mutex_unlock(&bench->lock);
    return NULL;
}

tarn_status tarn_bl_run(struct tarn_bl *bench, const struct tarn_bl_task *tasks, size_t count,
                        struct tarn_error *error)
{
    struct queue queue = {.bench = bench, .tasks = tasks, .count = count};
    pthread_t threads[THREADS];
    int started = 0;
    while (started < THREADS - 1 && pthread_create(&threads[started], NULL, work, &queue) == 0)
        started++;
    work(&queue);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (queue.status != TARN_OK && error != NULL) {
        *error = queue.error;
        if (error->status == TARN_OK)
            tarn_fail(error, queue.status, "bench: %s", tarn_status_message(queue.status));
    }
    return queue.status;
}
