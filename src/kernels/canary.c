/* SPDX-License-Identifier: Apache-2.0 */
#include "canary.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/options.h"
#include "gpu/backend.h"
#include "gpu/quarantine.h"
#include "selftest.h"

#define SEED 0x63616e617279u

static const struct tarn_canary_limits usual_limits = {.build_ms = 180000, .check_ms = 30000};

enum phase { BUILDING, CHECKING, DONE };

/*
 * A trial runs on a thread of its own, since a driver may hang in any call. It belongs to both
 * threads; if its maker gave up on it, it goes with the thread, should that ever end.
 */
struct trial {
    tarn_device *device;
    struct tarn_kernel_params params;
    struct tarn_kernel_source source; /* a copy: its maker's may be gone before a hang ends */
    int32_t defines[TARN_MAX_DEFINES];
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    enum phase phase;
    bool given_up;
    tarn_kernel *kernel;
    tarn_status status;
    struct tarn_error error;
    struct tarn_selftest result;
};

static void enter(struct trial *trial, enum phase phase)
{
    pthread_mutex_lock(&trial->lock);
    trial->phase = phase;
    pthread_cond_signal(&trial->changed);
    pthread_mutex_unlock(&trial->lock);
}

static void free_trial(struct trial *trial)
{
    pthread_mutex_destroy(&trial->lock);
    pthread_cond_destroy(&trial->changed);
    tarn_free(trial);
}

static void *run_trial(void *context)
{
    struct trial *trial = context;
    tarn_kernel *kernel = NULL;
    trial->status = tarn_kernel_create(trial->device, &trial->params, &kernel, &trial->error);
    if (trial->status == TARN_OK) {
        trial->kernel = kernel;
        enter(trial, CHECKING);
        trial->status = tarn_selftest_kernel(trial->device, kernel, SEED, &trial->result);
    }
    enter(trial, DONE);
    pthread_mutex_lock(&trial->lock);
    bool mine = trial->given_up;
    pthread_mutex_unlock(&trial->lock);
    if (mine) {
        tarn_kernel_destroy(&trial->kernel);
        free_trial(trial);
    }
    return NULL;
}

static struct trial *make_trial(tarn_device *device, const struct tarn_kernel_params *params)
{
    struct trial *trial = tarn_alloc_zeroed(1, sizeof *trial);
    pthread_condattr_t attributes;
    if (trial == NULL)
        return NULL;
    trial->device = device;
    trial->source = *params->source;
    trial->params.source = &trial->source;
    const char *const *names = params->source->defines;
    for (size_t i = 0; names != NULL && names[i] != NULL && i < TARN_MAX_DEFINES; i++)
        trial->defines[i] = params->defines[i];
    trial->params.defines = params->defines != NULL ? trial->defines : NULL;
    bool made = false;
    if (pthread_mutex_init(&trial->lock, NULL) == 0) {
        if (pthread_condattr_init(&attributes) == 0) {
            pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
            made = pthread_cond_init(&trial->changed, &attributes) == 0;
            pthread_condattr_destroy(&attributes);
        }
        if (!made)
            pthread_mutex_destroy(&trial->lock);
    }
    if (!made) {
        tarn_free(trial);
        return NULL;
    }
    return trial;
}

/* Waits until the trial has left `phase`; false once it took too long. Under its lock. */
static bool wait_to_leave(struct trial *trial, enum phase phase, uint32_t limit_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += limit_ms / 1000;
    until.tv_nsec += (long)(limit_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    int code = 0;
    while (trial->phase == phase && code != ETIMEDOUT)
        code = pthread_cond_timedwait(&trial->changed, &trial->lock, &until);
    return trial->phase != phase;
}

/* True if the trial came to its end; else it is the thread's from now on. */
static bool await_trial(struct trial *trial, const struct tarn_canary_limits *limits,
                        char why[TARN_QUARANTINE_TEXT])
{
    pthread_mutex_lock(&trial->lock);
    bool ended = wait_to_leave(trial, BUILDING, limits->build_ms);
    if (!ended) {
        snprintf(why, TARN_QUARANTINE_TEXT, "its compilation doesn't end within %.1f s",
                 limits->build_ms * 1e-3);
    } else {
        ended = wait_to_leave(trial, CHECKING, limits->check_ms);
        if (!ended)
            snprintf(why, TARN_QUARANTINE_TEXT, "it doesn't end within %.1f s",
                     limits->check_ms * 1e-3);
    }
    trial->given_up = !ended;
    pthread_mutex_unlock(&trial->lock);
    return ended;
}

/* quarantine.h says what the halves are. */
static uint64_t fingerprint_of(const struct tarn_kernel_params *params)
{
    const struct tarn_kernel_source *source = params->source;
    const char *texts[] = {source->name, source->opencl_gpu, source->opencl_cpu, TARN_VERSION};
    uint64_t code = 0, variant = source->gpu_local_size | (uint64_t)source->cpu_local_size << 32;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i] != NULL)
            code = tarn_mix64(code + i) ^ tarn_hash(texts[i], strlen(texts[i]));
    if (source->spirv != NULL)
        code = tarn_mix64(code) ^ tarn_hash(source->spirv, source->spirv_size);
    for (size_t i = 0; source->defines != NULL && source->defines[i] != NULL; i++)
        variant = tarn_mix64(variant + (uint32_t)params->defines[i]);
    return tarn_mix64(code) >> 32 << 32 | tarn_mix64(variant) >> 32;
}

static tarn_status quarantined(tarn_device *device, const char *kernel, const char *why,
                               struct tarn_error *error)
{
    const char *id = tarn_device_get_info(device)->id;
    tarn_log(TARN_LOG_WARNING, "kernels: %s is left to the host, not to %s: %s", kernel, id, why);
    return tarn_fail(error, TARN_QUARANTINED, "kernel %s is quarantined on %s: %s", kernel, id,
                     why);
}

static tarn_status try_kernel(tarn_device *device, const struct tarn_kernel_params *params,
                              const struct tarn_canary_limits *limits, uint64_t fingerprint,
                              tarn_kernel **kernel, struct tarn_error *error)
{
    const char *name = params->source->name;
    char why[TARN_QUARANTINE_TEXT] = "";
    pthread_t thread;
    struct trial *trial = make_trial(device, params);
    if (trial == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "kernel %s: out of memory", name);
    tarn_quarantine_begin(device, name, fingerprint);
    if (pthread_create(&thread, NULL, run_trial, trial) != 0) {
        tarn_quarantine_set(device, name, fingerprint, TARN_VERDICT_NONE, NULL);
        free_trial(trial);
        return tarn_fail(error, TARN_NO_MEMORY, "kernel %s: no thread to try it on", name);
    }
    if (!await_trial(trial, limits, why)) {
        pthread_detach(thread);
        tarn_quarantine_set(device, name, fingerprint, TARN_VERDICT_BAD, why);
        tarn_device_abandon(device, why);
        quarantined(device, name, why, error);
        return tarn_fail(error, TARN_TIMEOUT, "kernel %s on %s: %s", name,
                         tarn_device_get_info(device)->id, why);
    }
    pthread_join(thread, NULL);
    tarn_status status = trial->status;
    if (trial->kernel == NULL || status != TARN_OK) {
        /* it couldn't be built or tried, which says nothing of its answers */
        tarn_quarantine_set(device, name, fingerprint, TARN_VERDICT_NONE, NULL);
        tarn_kernel_destroy(&trial->kernel);
        if (trial->error.message[0] != '\0')
            tarn_fail(error, status, "%s", trial->error.message);
        else
            tarn_fail(error, status, "kernel %s: %s", name, tarn_status_message(status));
    } else if (trial->result.failed > 0) {
        snprintf(why, sizeof why, "its answers differ from the host's: %.150s",
                 trial->result.message);
        /* a lost device failed, not its kernel */
        tarn_verdict verdict = tarn_device_is_lost(device) ? TARN_VERDICT_NONE : TARN_VERDICT_BAD;
        tarn_quarantine_set(device, name, fingerprint, verdict, why);
        tarn_kernel_destroy(&trial->kernel);
        status = verdict == TARN_VERDICT_BAD
                     ? quarantined(device, name, why, error)
                     : tarn_fail(error, TARN_DEVICE_LOST, "kernel %s: %s", name,
                                 tarn_status_message(TARN_DEVICE_LOST));
    } else {
        tarn_quarantine_set(device, name, fingerprint, TARN_VERDICT_GOOD, NULL);
        *kernel = trial->kernel;
        (*kernel)->source = params->source;
    }
    free_trial(trial);
    return status;
}

tarn_status tarn_canary_create(tarn_device *device, const struct tarn_kernel_params *params,
                               const struct tarn_canary_limits *limits, tarn_kernel **kernel,
                               struct tarn_error *error)
{
    if (kernel != NULL)
        *kernel = NULL;
    /* wrong arguments are refused there */
    if (device == NULL || kernel == NULL || params == NULL || params->source == NULL ||
        params->source->name == NULL ||
        (params->source->defines != NULL && params->defines == NULL))
        return tarn_kernel_create(device, params, kernel, error);
    const struct tarn_device_info *info = tarn_device_get_info(device);
    const char *name = params->source->name, *wanted = tarn_option_get(TARN_OPTION_CANARY);
    if (tarn_quarantine_forced(info->id, name))
        return quarantined(device, name, "TARN_QUARANTINE asks for it", error);
    bool always = strcmp(wanted, "always") == 0;
    bool simulated = info->type == TARN_DEVICE_HOST || info->type == TARN_DEVICE_VIRTUAL;
    if (!tarn_selftest_knows(name) || strcmp(wanted, "off") == 0 || (simulated && !always))
        return tarn_kernel_create(device, params, kernel, error);
    uint64_t fingerprint = fingerprint_of(params);
    char why[TARN_QUARANTINE_TEXT];
    tarn_verdict verdict =
        always ? TARN_VERDICT_NONE : tarn_quarantine_get(device, name, fingerprint, why);
    if (verdict == TARN_VERDICT_BAD)
        return quarantined(device, name, why, error);
    if (verdict == TARN_VERDICT_GOOD && (tarn_quirks_flags(info->quirks) & TARN_QUIRK_RECHECK) == 0)
        return tarn_kernel_create(device, params, kernel, error);
    return try_kernel(device, params, limits != NULL ? limits : &usual_limits, fingerprint, kernel,
                      error);
}
