/* SPDX-License-Identifier: Apache-2.0 */
/* The backends that were built in, the list of what they see, and the choice among it. */
#include "backend.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "virtual/profile.h"

static const struct tarn_backend *const backends[] = {
#if HAVE_OPENCL
    &tarn_backend_opencl,
#endif
#if HAVE_VULKAN
    &tarn_backend_vulkan,
#endif
    &tarn_backend_host,
    &tarn_backend_virtual,
};
#define BACKEND_COUNT (sizeof backends / sizeof backends[0])

/* Names that a build may lack, so that asking for one says so instead of "unknown". */
static const char *const optional_backends[] = {"opencl", "vulkan"};

tarn_status tarn_backend_check(const struct tarn_backend *backend, struct tarn_error *error)
{
    if (backend->name == NULL || backend->name[0] == '\0')
        return tarn_fail(error, TARN_INVALID, "a backend has no name");
#define CHECK_ENTRY(entry, type, arguments)                                                        \
    if (backend->entry == NULL)                                                                    \
        return tarn_fail(error, TARN_INVALID, "backend %s lacks %s", backend->name, #entry);
    TARN_BACKEND_REQUIRED(CHECK_ENTRY)
#undef CHECK_ENTRY
    if ((backend->upload == NULL) != (backend->download == NULL))
        return tarn_fail(error, TARN_INVALID, "backend %s has only one of upload and download",
                         backend->name);
    return TARN_OK;
}

struct tarn_device_info *tarn_device_list_add(struct tarn_device_list *list)
{
    if (list->count == list->room) {
        size_t room = list->room == 0 ? 4 : list->room * 2;
        struct tarn_device_info *grown = realloc(list->infos, room * sizeof *grown);
        if (grown == NULL)
            return NULL;
        list->infos = grown;
        list->room = room;
    }
    struct tarn_device_info *info = &list->infos[list->count++];
    memset(info, 0, sizeof *info);
    return info;
}

static int rank(const struct tarn_device_info *info)
{
    switch (info->type) {
    case TARN_DEVICE_GPU:
        return 0;
    case TARN_DEVICE_CPU:
        return 1;
    case TARN_DEVICE_HOST:
        return 2;
    case TARN_DEVICE_VIRTUAL:
        break;
    }
    return 3;
}

/* Stable, so that a backend's own order stands among equals; the lists are a handful long. */
static void sort_by_rank(struct tarn_device_info *infos, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct tarn_device_info moved = infos[i];
        size_t j = i;
        for (; j > 0 && rank(&infos[j - 1]) > rank(&moved); j--)
            infos[j] = infos[j - 1];
        infos[j] = moved;
    }
}

/*
 * The host in the place of a lesser device: `limits`, or those of the board that the option names.
 * The option is read here and not in the host's backend, so that explicit limits win over it.
 */
static tarn_status limit(struct tarn_device_info *info, const struct tarn_device_limits *limits,
                         bool *limited, struct tarn_error *error)
{
    struct tarn_virtual_profile profile;
    const char *board = "the caller";
    *limited = false;
    if (limits != NULL && info->type != TARN_DEVICE_HOST)
        return tarn_fail(error, TARN_INVALID, "%s: only the host's limits can be set", info->id);
    if (limits == NULL) {
        board = tarn_option_get(TARN_OPTION_HOST_LIMITS);
        if (info->type != TARN_DEVICE_HOST || strcmp(board, "none") == 0)
            return TARN_OK;
        tarn_status status = tarn_virtual_profile_load(board, &profile, error);
        if (status == TARN_NOT_FOUND)
            return tarn_fail(error, TARN_INVALID,
                             "TARN_HOST_LIMITS=%.40s: none of none, mali, videocore, jetson",
                             board);
        if (status != TARN_OK)
            return status;
        limits = &profile.limits;
    }
    struct tarn_device_limits *own = &info->limits;
    if (limits->memory > 0 && (own->memory == 0 || limits->memory < own->memory))
        own->memory = limits->memory;
    if (limits->buffer > 0 && limits->buffer < own->buffer)
        own->buffer = limits->buffer;
    /* its own are those of a plain C function, which needs neither groups nor local memory */
    own->group_size = limits->group_size > 0 ? limits->group_size : UINT32_MAX;
    own->local_memory = limits->local_memory > 0 ? limits->local_memory : UINT32_MAX;
    if (limits->compute_units > 0)
        own->compute_units = limits->compute_units;
    own->features = limits->features;
    size_t used = strlen(info->driver);
    snprintf(info->driver + used, sizeof info->driver - used, ", limits of %.40s", board);
    *limited = true;
    return TARN_OK;
}

tarn_status tarn_devices_list(struct tarn_device_info **infos, size_t *count)
{
    if (infos == NULL || count == NULL)
        return TARN_INVALID;
    *infos = NULL;
    *count = 0;
    struct tarn_device_list list = {0};
    struct tarn_error error;
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        tarn_status status = tarn_backend_check(backends[i], &error);
        if (status != TARN_OK) {
            tarn_log(TARN_LOG_ERROR, "gpu: %s", error.message);
            free(list.infos);
            return status;
        }
        status = backends[i]->list(&list);
        if (status == TARN_NO_MEMORY) {
            free(list.infos);
            return status;
        }
        if (status != TARN_OK)
            tarn_log(TARN_LOG_WARNING, "gpu: skipped %s: %s", backends[i]->name,
                     tarn_status_message(status));
    }
    for (size_t i = 0; i < list.count; i++) {
        bool limited;
        if (limit(&list.infos[i], NULL, &limited, &error) != TARN_OK)
            tarn_log(TARN_LOG_WARNING, "gpu: %s", error.message);
    }
    sort_by_rank(list.infos, list.count);
    *infos = list.infos;
    *count = list.count;
    return TARN_OK;
}

void tarn_devices_free(struct tarn_device_info **infos)
{
    if (infos == NULL)
        return;
    free(*infos);
    *infos = NULL;
}

tarn_status tarn_backend_open(const struct tarn_backend *backend, uint32_t index,
                              tarn_device **device, struct tarn_error *error)
{
    *device = NULL;
    tarn_status status = tarn_backend_check(backend, error);
    if (status != TARN_OK)
        return status;
    tarn_device *opened = NULL;
    status = backend->open(index, &opened, error);
    if (status != TARN_OK)
        return status;
    opened->backend = backend;
    atomic_init(&opened->lost, false);
    atomic_init(&opened->abandoned, false);
    atomic_init(&opened->children, 0);
    opened->programs = NULL;
    opened->spare_events = NULL;
    opened->limited = false;
    if (backend->upload == NULL && !opened->info.unified_memory) {
        backend->close(opened);
        return tarn_fail(error, TARN_INVALID, "backend %s can't copy, but its device has to",
                         backend->name);
    }
    if (pthread_mutex_init(&opened->lock, NULL) != 0) {
        backend->close(opened);
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", backend->name);
    }
    tarn_log(TARN_LOG_INFO, "gpu: opened %s (%s, %s)", opened->info.id, opened->info.name,
             opened->info.unified_memory ? "unified memory" : "copies");
    *device = opened;
    return TARN_OK;
}

/* Splits "name", "name:7" or "name:word"; `word` is NULL where there is none. */
static bool parse_id(const char *id, size_t *name_length, uint32_t *index, const char **word)
{
    const char *colon = strchr(id, ':');
    *name_length = colon != NULL ? (size_t)(colon - id) : strlen(id);
    *index = 0;
    *word = NULL;
    if (*name_length == 0)
        return false;
    if (colon == NULL)
        return true;
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || colon[1 + digits] != '\0') {
        *word = colon + 1;
        return true;
    }
    *index = (uint32_t)strtoul(colon + 1, NULL, 10);
    return digits <= 4;
}

#define NO_DEVICE_TEXT "\"%.40s\" is no device: try auto, host, opencl:0, vulkan:0 or virtual:mali"

static tarn_status open_by_id(const char *id, tarn_device **device, struct tarn_error *error)
{
    size_t length;
    uint32_t index;
    const char *word;
    if (!parse_id(id, &length, &index, &word))
        return tarn_fail(error, TARN_NO_DEVICE, NO_DEVICE_TEXT, id);
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (strlen(backends[i]->name) != length || memcmp(backends[i]->name, id, length) != 0)
            continue;
        if (word != NULL && (backends[i]->find == NULL || !backends[i]->find(word, &index)))
            return tarn_fail(error, TARN_NO_DEVICE, NO_DEVICE_TEXT, id);
        return tarn_backend_open(backends[i], index, device, error);
    }
    for (size_t i = 0; i < sizeof optional_backends / sizeof optional_backends[0]; i++)
        if (strlen(optional_backends[i]) == length && memcmp(optional_backends[i], id, length) == 0)
            return tarn_fail(error, TARN_NO_DEVICE,
                             "%s: this build was made without the %s backend", id,
                             optional_backends[i]);
    return tarn_fail(error, TARN_NO_DEVICE,
                     "\"%.40s\": there is no such backend; try auto, host, opencl or vulkan", id);
}

static tarn_status open_best(tarn_device **device, struct tarn_error *error)
{
    struct tarn_device_info *infos;
    size_t count;
    tarn_status status = tarn_devices_list(&infos, &count);
    if (status != TARN_OK)
        return tarn_fail(error, status, "listing devices: %s", tarn_status_message(status));
    status = TARN_NO_DEVICE;
    for (size_t i = 0; i < count && status != TARN_OK; i++) {
        if (infos[i].type != TARN_DEVICE_GPU && infos[i].type != TARN_DEVICE_HOST)
            continue;
        if (tarn_quirks_flags(infos[i].quirks) & TARN_QUIRK_PREFER_HOST) {
            tarn_log(TARN_LOG_INFO, "gpu: %s is used only when asked for", infos[i].id);
            continue;
        }
        struct tarn_error reason = {0};
        status = open_by_id(infos[i].id, device, &reason);
        if (status != TARN_OK) {
            tarn_log(TARN_LOG_WARNING, "gpu: %s is left aside: %s", infos[i].id, reason.message);
            tarn_fail(error, status, "%s", reason.message);
        }
    }
    tarn_devices_free(&infos);
    return status;
}

tarn_status tarn_device_open(const struct tarn_device_params *params, tarn_device **device,
                             struct tarn_error *error)
{
    if (device == NULL)
        return tarn_fail(error, TARN_INVALID, "tarn_device_open: nowhere to put the device");
    *device = NULL;
    const char *id = params != NULL && params->id != NULL ? params->id : "auto";
    tarn_status status =
        strcmp(id, "auto") == 0 ? open_best(device, error) : open_by_id(id, device, error);
    if (status == TARN_OK)
        status = limit(&(*device)->info, params != NULL ? params->limits : NULL,
                       &(*device)->limited, error);
    if (status != TARN_OK)
        tarn_device_close(device);
    /* without a cache everything works, only slower */
    if (status == TARN_OK)
        tarn_program_cache_create(
            &(struct tarn_program_cache_params){.dir = params != NULL ? params->cache_dir : NULL},
            &(*device)->programs);
    return status;
}

void tarn_device_close(tarn_device **device)
{
    if (device == NULL || *device == NULL)
        return;
    tarn_device *closed = *device;
    *device = NULL;
    if (atomic_load(&closed->abandoned)) {
        /* whoever hangs in there may come back one day and look at it: it stays */
        tarn_log(TARN_LOG_INFO, "gpu: %s is left behind", closed->info.id);
        return;
    }
    unsigned children = atomic_load(&closed->children);
    if (children > 0) {
        /* A leak can be found and mended; a freed device under a live queue is a crash. */
        tarn_log(TARN_LOG_ERROR, "gpu: %s is kept: %u of its objects are still alive",
                 closed->info.id, children);
        return;
    }
    while (closed->spare_events != NULL) {
        tarn_event *event = closed->spare_events;
        closed->spare_events = event->next;
        closed->backend->event_destroy(event);
    }
    tarn_program_cache *programs = closed->programs;
    pthread_mutex_destroy(&closed->lock);
    closed->backend->close(closed);
    tarn_program_cache_destroy(&programs);
}

const struct tarn_device_info *tarn_device_get_info(const tarn_device *device)
{
    return device != NULL ? &device->info : NULL;
}
