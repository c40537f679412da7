/* SPDX-License-Identifier: Apache-2.0 */
#include "calibration.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/kept.h"
#include "base/log.h"
#include "base/options.h"
#include "kernels/isa.h"
#include "offload/limits.h"

/*
 * The file: magic, key, the numbers in the order of numbers(), and a hash of all before it; all
 * little-endian, each number 32 bits wide.
 */
#define MAGIC 0x314c41434e524154u /* "TARNCAL1" */

enum {
    NUMBERS = 4 + 3 * 5 + 2 * TARN_CALIBRATION_WIDTHS * TARN_PATHS,
    FILE_SIZE = 8 + 8 + 4 * NUMBERS + 8,
    NAME_SIZE = 40,
};

/* All fields in the order of the file: floats by their bits, which is what a file needs. */
static void numbers(struct tarn_calibration *c, void *fields[NUMBERS])
{
    int n = 0;
    fields[n++] = &c->parts;
    fields[n++] = &c->dispatch_us;
    fields[n++] = &c->spent_ms;
    fields[n++] = &c->clblast_warm_ms;
    struct tarn_crossover *const crossovers[] = {&c->lookup, &c->score, &c->train};
    for (int i = 0; i < 3; i++) {
        fields[n++] = &crossovers[i]->least;
        fields[n++] = &crossovers[i]->slice;
        fields[n++] = &crossovers[i]->local_size;
        fields[n++] = &crossovers[i]->device_ns;
        fields[n++] = &crossovers[i]->host_ns;
    }
    for (int t = 0; t < 2; t++)
        for (int w = 0; w < TARN_CALIBRATION_WIDTHS; w++)
            for (int p = 0; p < TARN_PATHS; p++)
                fields[n++] = &c->wide_us[t][w][p];
}

static uint64_t key_of(const struct tarn_device_info *info)
{
    char text[512];
    int length = snprintf(text, sizeof text, "%s|%s|%s|%d|%u|%s|%s", info->backend, info->name,
                          info->driver, info->unified_memory, (unsigned)info->limits.compute_units,
                          tarn_isa_current()->name, TARN_VERSION);
    return tarn_hash(text, (size_t)length);
}

static void name_of(const struct tarn_device_info *info, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "calibration-%016llx", (unsigned long long)key_of(info));
}

tarn_status tarn_calibration_load(const struct tarn_device_info *info, const char *cache_dir,
                                  struct tarn_calibration *calibration)
{
    char name[NAME_SIZE];
    uint8_t bytes[FILE_SIZE];
    void *fields[NUMBERS];
    memset(calibration, 0, sizeof *calibration);
    name_of(info, name);
    tarn_status status = tarn_kept_read(cache_dir, name, bytes, sizeof bytes);
    if (status != TARN_OK)
        return status;
    if (tarn_get_u64(bytes) != MAGIC || tarn_get_u64(bytes + 8) != key_of(info) ||
        tarn_get_u64(bytes + FILE_SIZE - 8) != tarn_hash(bytes, FILE_SIZE - 8)) {
        tarn_log(TARN_LOG_INFO, "offload: %s is no calibration of %s: measuring again", name,
                 info->id);
        status = TARN_CORRUPT;
    } else {
        numbers(calibration, fields);
        for (int i = 0; i < NUMBERS; i++) {
            uint32_t number = tarn_get_u32(bytes + 16 + 4 * i);
            memcpy(fields[i], &number, sizeof number);
        }
    }
    return status;
}

tarn_status tarn_calibration_save(const struct tarn_device_info *info, const char *cache_dir,
                                  const struct tarn_calibration *calibration)
{
    char name[NAME_SIZE];
    uint8_t bytes[FILE_SIZE];
    void *fields[NUMBERS];
    struct tarn_calibration copy = *calibration;
    struct tarn_error error = {0};
    name_of(info, name);
    numbers(&copy, fields);
    tarn_put_u64(bytes, MAGIC);
    tarn_put_u64(bytes + 8, key_of(info));
    for (int i = 0; i < NUMBERS; i++) {
        uint32_t number;
        memcpy(&number, fields[i], sizeof number);
        tarn_put_u32(bytes + 16 + 4 * i, number);
    }
    tarn_put_u64(bytes + FILE_SIZE - 8, tarn_hash(bytes, FILE_SIZE - 8));
    tarn_status status = tarn_kept_write(cache_dir, name, bytes, sizeof bytes, &error);
    if (status != TARN_OK)
        tarn_log(TARN_LOG_INFO, "offload: the calibration is not kept: %s", error.message);
    return status;
}

/* ---- what follows from it ---- */

tarn_path tarn_calibration_path(const struct tarn_calibration *c, uint32_t width, bool train)
{
    int nearest = 0;
    for (uint32_t edge = 12; width >= edge && nearest < TARN_CALIBRATION_WIDTHS - 1; edge *= 2)
        nearest++;
    const float *us = c->wide_us[train][nearest];
    /* fused training is one launch to TARN_MAX_WIDTH; two a step beyond, which have to be measured */
    uint32_t one = train ? TARN_MAX_WIDTH : TARN_MAX_FORWARD_WIDTH;
    uint32_t most = train ? TARN_MAX_WIDE_WIDTH : TARN_MAX_FORWARD_WIDTH;
    tarn_path best = width <= one ? TARN_PATH_FUSED : TARN_PATH_GEMM;
    for (int p = 0; p < TARN_PATHS; p++) {
        if (us[p] <= 0.0f || (p == TARN_PATH_FUSED && width > most))
            continue;
        if (us[best] <= 0.0f || us[p] < us[best])
            best = (tarn_path)p;
    }
    return best;
}

bool tarn_calibration_wins(const struct tarn_calibration *c)
{
    return ((c->parts & TARN_CALIBRATED_LOOKUP) && c->lookup.least <= TARN_LOOKUP_BATCH) ||
           ((c->parts & TARN_CALIBRATED_SCORE) && c->score.least <= TARN_SCORE_BATCH) ||
           ((c->parts & TARN_CALIBRATED_TRAIN) && c->train.least <= TARN_TRAIN_STEPS);
}

/* The id of the best CPU-type device that has won something. */
static bool find_winner(const char *cache_dir, char id[32])
{
    struct tarn_device_info *infos;
    size_t count;
    bool found = false;
    if (tarn_devices_list(&infos, &count) != TARN_OK)
        return false;
    for (size_t i = 0; i < count && !found; i++) {
        struct tarn_calibration calibration;
        if (infos[i].type == TARN_DEVICE_CPU &&
            tarn_calibration_load(&infos[i], cache_dir, &calibration) == TARN_OK &&
            tarn_calibration_wins(&calibration)) {
            memcpy(id, infos[i].id, sizeof infos[i].id);
            found = true;
        }
    }
    tarn_devices_free(&infos);
    return found;
}

tarn_status tarn_calibration_open(const struct tarn_device_params *params, tarn_device **device,
                                  struct tarn_error *error)
{
    char id[32];
    tarn_status status = tarn_device_open(params, device, error);
    if (status != TARN_OK || tarn_device_get_info(*device)->type != TARN_DEVICE_HOST ||
        (params->id != NULL && strcmp(params->id, "auto") != 0) ||
        strcmp(tarn_option_get(TARN_OPTION_CALIBRATION), "off") == 0 ||
        !find_winner(params->cache_dir, id))
        return status;
    tarn_device *winner;
    struct tarn_device_params chosen = *params;
    chosen.id = id;
    if (tarn_device_open(&chosen, &winner, error) == TARN_OK) {
        tarn_device_close(device);
        *device = winner;
    }
    return TARN_OK;
}
