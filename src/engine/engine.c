/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_private.h"

#include <math.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "learn/reservoir.h"
#include "model/file.h"
#include "width.h"

#define RING_SAMPLES       32768
#define LEAST_SAMPLES      1024
#define DEVICE_SHARE       64 /* a device scores victims for one in so many residents */
#define DEVICE_SHARE_BYTES 256
#define AHEAD_SHARE        32 /* the same of those that the background scores on the host */
#define AHEAD_SHARE_BYTES  128

static bool take_sample(void *context, uint64_t hash, uint8_t tag,
                        const int8_t features[TARN_FEATURES], uint64_t now, float period)
{
    struct tarn_engine *e = context;
    tarn_ring_put_tagged(&e->ring, hash, tag, features, now, period);
    e->samples++;
    return true;
}

static void resolve_sample(void *context, uint64_t hash, uint64_t now, bool wanted)
{
    struct tarn_engine *e = context;
    tarn_ring_resolve(&e->ring, hash, now, wanted);
}

static void give_sample(void *context, const int8_t *features, float elapsed, bool wanted)
{
    struct tarn_engine *e = context;
    struct tarn_model_sample sample = {
        .label = (uint16_t)tarn_net_label(&e->shape, elapsed, wanted),
    };
    memcpy(sample.features, features, sizeof sample.features);
    e->params.sample(e->params.user, &sample);
}

static tarn_status make_policy(void *context, struct tarn_table *table,
                               const struct tarn_capacity *capacity, struct tarn_policy *policy)
{
    struct tarn_engine *e = context;
    bool samples = !e->params.no_learn || e->params.sample != NULL;
    struct tarn_learned_params params = {
        .reader = e->versions.reader,
        .later_reader = e->versions.later_reader,
        .goal_bytes = e->params.goal == TARN_GOAL_BYTES,
        .goal_cost = e->params.goal == TARN_GOAL_LATENCY,
        .shadows = !e->params.no_shadows,
        .members = tarn_ensemble_experts(e),
        .most_cost = e->params.shadow_share,
        .ring = e->ring_samples,
        .seed = e->params.seed,
        .now = e->learning.first_request,
        .listener = tarn_workload_listener(e),
    };
    if (samples)
        params.observer = (struct tarn_observer){e, take_sample, resolve_sample};
    if (e->on_device || e->params.background == TARN_BACKGROUND_THREAD) {
        params.device_limit = capacity->bytes ? TARN_LIST_MAX / 4 : TARN_LIST_MAX;
        params.device_share = capacity->bytes ? DEVICE_SHARE_BYTES : DEVICE_SHARE;
    }
    if (!e->on_device && params.device_limit > 0) {
        params.device_limit = TARN_AHEAD_VICTIMS;
        params.device_share = capacity->bytes ? AHEAD_SHARE_BYTES : AHEAD_SHARE;
    }
    return tarn_learned_create(&params, table, capacity, policy, &e->learned);
}

static tarn_status init_locks(struct tarn_engine *e)
{
    pthread_condattr_t attributes;
    if (pthread_mutex_init(&e->background_lock, NULL) != 0 ||
        pthread_mutex_init(&e->lookup_lock, NULL) != 0 ||
        pthread_mutex_init(&e->wake_lock, NULL) != 0 || pthread_condattr_init(&attributes) != 0)
        return TARN_NO_MEMORY;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&e->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    return failed ? TARN_NO_MEMORY : TARN_OK;
}

/* As many as the memory holds; a power of two, for the ring. */
static uint32_t ring_samples(uint64_t memory)
{
    uint32_t samples = RING_SAMPLES;
    while (memory > 0 && samples > LEAST_SAMPLES && tarn_ring_memory(samples) > memory)
        samples /= 2;
    return samples;
}

tarn_status tarn_engine_create(const struct tarn_engine_params *params, tarn_engine **engine,
                               struct tarn_error *error)
{
    *engine = NULL;
    if (params->memory == 0 && params->objects == 0)
        return tarn_fail(error, TARN_INVALID, "engine: neither a limit in bytes nor in objects");
    tarn_engine *e = tarn_alloc_zeroed(1, sizeof *e);
    if (e == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "engine: out of memory");
    e->params = *params;
    atomic_init(&e->training, true);
    tarn_learning_defaults(&e->learning);
    if (params->learning != NULL)
        e->learning = *params->learning;
    tarn_rng_seed(&e->rng, params->seed ^ 0x7472616eu);
    if (error != NULL)
        error->message[0] = '\0';
    tarn_status status = init_locks(e);
    if (status == TARN_OK)
        status = tarn_sets_init(e, error);
    if (status == TARN_OK)
        status = tarn_versions_init(e, params->model, error);
    if (status == TARN_OK)
        status = tarn_ensemble_init(e, error);
    if (status == TARN_OK)
        status = tarn_ring_init(&e->ring, ring_samples(params->train_memory));
    e->ring_samples = e->ring.size;
    if (status == TARN_OK && params->sample != NULL) {
        e->ring.sink = give_sample;
        e->ring.sink_context = e;
    }
    if (status == TARN_OK)
        status = tarn_engine_open_device(e, error);
    if (status == TARN_OK)
        status = tarn_cache_create_with(
            &(struct tarn_cache_params){
                .memory = params->memory,
                .objects = params->objects,
                .seed = params->seed,
            },
            &(struct tarn_cache_hooks){
                .factory = make_policy,
                .factory_context = e,
                .first_request = e->learning.first_request,
                .clock_ms = e->learning.clock_ms,
                .clock_context = e->learning.clock_context,
            },
            &e->cache);
    if (status == TARN_OK)
        status = tarn_width_init(e);
    if (status == TARN_OK)
        status = tarn_learning_init(e, error);
    if (status == TARN_OK)
        status = tarn_relief_init(e);
    if (status == TARN_OK)
        status = tarn_ahead_init(e);
    if (status == TARN_OK) {
        tarn_sets_start(e);
        tarn_checkpoints_load(e);
        tarn_books_open(e);
    }
    if (status == TARN_OK)
        status = tarn_training_init(e, error);
    if (status == TARN_OK)
        status = tarn_engine_enter_device(e, error);
    if (status == TARN_OK)
        status = tarn_measure_start(e);
    if (status == TARN_OK)
        status = tarn_training_start(e);
    if (status == TARN_OK && params->background == TARN_BACKGROUND_THREAD)
        status = tarn_background_start(e);
    if (status != TARN_OK) {
        if (error != NULL && error->message[0] == '\0')
            tarn_fail(error, status, "engine: %s", tarn_status_message(status));
        tarn_engine_destroy(&e);
        return status;
    }
    *engine = e;
    return TARN_OK;
}

void tarn_engine_destroy(tarn_engine **engine)
{
    tarn_engine *e = *engine;
    if (e == NULL)
        return;
    tarn_measure_stop(e);
    tarn_background_free(e);
    tarn_width_free(e);
    tarn_books_close(e);
    tarn_versions_stop(e);
    tarn_cache_destroy(&e->cache);
    /* where there was no memory for the index on the host it stayed until now */
    tarn_engine_leave_device(e);
    tarn_free(e->hashes);
    tarn_ring_free(&e->ring);
    tarn_deferred_free(e);
    tarn_workload_destroy(&e->workload);
    tarn_ensemble_free(e);
    tarn_versions_free(e);
    tarn_sets_free(e);
    pthread_mutex_destroy(&e->background_lock);
    pthread_mutex_destroy(&e->lookup_lock);
    pthread_mutex_destroy(&e->wake_lock);
    pthread_cond_destroy(&e->wake);
    tarn_free(e);
    *engine = NULL;
}

tarn_cache *tarn_engine_cache(tarn_engine *e)
{
    return e->cache;
}

const struct tarn_device_info *tarn_engine_device(const tarn_engine *e)
{
    return &e->info;
}

tarn_status tarn_engine_lookup(tarn_engine *e, const void *const *keys, const size_t *key_sizes,
                               size_t count, uint32_t *slots)
{
    for (size_t done = 0; done < count;) {
        size_t n = count - done < TARN_LOOKUP_BATCH ? count - done : TARN_LOOKUP_BATCH;
        pthread_mutex_lock(&e->lookup_lock);
        if (e->lookup != NULL) {
            for (size_t i = 0; i < n; i++)
                e->hashes[i] = tarn_cache_hash(keys[done + i], key_sizes[done + i]);
            tarn_lookup_run(e->lookup, e->hashes, n, slots + done);
        } else {
            for (size_t i = 0; i < n; i++)
                slots[done + i] = TARN_SLOT_UNKNOWN;
        }
        pthread_mutex_unlock(&e->lookup_lock);
        done += n;
    }
    return TARN_OK;
}

void tarn_engine_set_training(tarn_engine *e, bool on)
{
    atomic_store(&e->training, on);
    pthread_mutex_lock(&e->background_lock);
    if (e->share != NULL)
        tarn_share_set_training(e->share, on);
    else if (e->train_queue != NULL)
        tarn_queue_stop(e->train_queue, !on);
    pthread_mutex_unlock(&e->background_lock);
}

void tarn_engine_drain_samples(tarn_engine *e)
{
    tarn_cache_lock(e->cache);
    tarn_evictor_settle(&e->learned->live);
    tarn_ring_drain(&e->ring, tarn_cache_now(e->cache));
    tarn_cache_unlock(e->cache);
}

static void add_stats(struct tarn_kernel_stats *sum, const struct tarn_kernel_stats *more)
{
    sum->launches += more->launches;
    sum->elements += more->elements;
    sum->device_ns += more->device_ns;
}

const char *tarn_engine_expert_name(const struct tarn_engine *e, uint32_t k)
{
    const struct tarn_evictor *live = &e->learned->live;
    if (k >= live->experts)
        return NULL;
    if (k >= TARN_EXPERTS)
        return tarn_ensemble_member_name(e, k - TARN_EXPERTS + 1);
    switch (live->expert[k]) {
    case TARN_EXPERT_NET:
        return "network";
    case TARN_EXPERT_LFU:
        return "lfu";
    case TARN_EXPERT_STICKY:
        return "sticky";
    case TARN_EXPERT_LIRS:
        return "lirs";
    case TARN_EXPERT_GDSF:
        return "gdsf";
    case TARN_EXPERT_MEMBER:
        break;
    }
    return "unknown";
}

void tarn_engine_get_stats(tarn_engine *e, struct tarn_engine_stats *stats)
{
    *stats = (struct tarn_engine_stats){0};
    pthread_mutex_lock(&e->background_lock);
    tarn_cache_lock(e->cache);
    const struct tarn_evictor *live = &e->learned->live;
    stats->rounds = live->rounds;
    stats->scores = live->scores;
    stats->unsound_rounds = live->unsound.rounds;
    stats->samples = e->samples;
    stats->model_bytes = tarn_model_file_size(e->versions.live->model);
    stats->train_memory = tarn_ring_memory(e->ring.size);
    if (e->ring.reservoir != NULL)
        stats->train_memory += (uint64_t)e->ring.reservoir->room * TARN_RESERVOIR_STRATA *
                               sizeof *e->ring.reservoir->samples;
    stats->memory = tarn_learned_memory(e->learned) + stats->train_memory;
    tarn_workload_add_stats(e, stats);
    tarn_deferred_get_stats(e, stats);
    stats->memory += tarn_books_memory(e);
    tarn_ensemble_get_stats(e, stats);
    for (uint32_t k = 0; k < live->experts && (k == 0 || k < e->learned->mix.experts); k++) {
        stats->expert[k] = tarn_engine_expert_name(e, k);
        stats->weight[k] = live->weight[k];
    }
    if (e->lookup != NULL)
        tarn_lookup_get_stats(e->lookup, &stats->lookup);
    add_stats(&stats->lookup, &e->past_lookup);
    tarn_cache_unlock(e->cache);
    stats->rounds_on_device = e->rounds_on_device;
    stats->rounds_ahead = e->rounds_ahead + e->rounds_on_device;
    stats->train_steps = e->trained.elements / TARN_TRAIN_BATCH;
    stats->loss = e->loss;
    stats->train = e->trained;
    if (e->share != NULL)
        tarn_share_get_stats(e->share, &stats->share);
    if (e->score != NULL)
        tarn_score_get_stats(e->score, &stats->score);
    add_stats(&stats->score, &e->past_score);
    tarn_learning_get_stats(e, stats);
    tarn_width_get_stats(e, stats);
    tarn_sets_get_stats(e, stats);
    tarn_relief_get_stats(e, stats);
    stats->on_device = e->device != NULL && e->on_device;
    stats->device_losses = e->losses;
    stats->device_returns = e->returns;
    pthread_mutex_unlock(&e->background_lock);
}

tarn_status tarn_engine_copy_model(tarn_engine *e, tarn_model **model)
{
    pthread_mutex_lock(&e->background_lock);
    const tarn_model *live = e->versions.live->model;
    tarn_status status = tarn_model_copy(live, model);
    pthread_mutex_unlock(&e->background_lock);
    return status;
}
