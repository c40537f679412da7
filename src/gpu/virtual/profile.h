/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The boards that can be simulated, and whose limits the host can keep: boards/virtual/NAME.ini,
 * embedded in the library. Static data, pure functions: any thread.
 */
#ifndef TARN_GPU_VIRTUAL_PROFILE_H
#define TARN_GPU_VIRTUAL_PROFILE_H

#include <tarn/virtual.h>

enum { TARN_VIRTUAL_STEPS = 16, TARN_VIRTUAL_QUEUES = 4 };

struct tarn_virtual_profile {
    char name[64];
    struct tarn_device_limits limits;
    struct tarn_virtual_model model;
    uint32_t step_mhz[TARN_VIRTUAL_STEPS]; /**< rising; the last is the full clock */
    uint32_t step_count;                   /**< at least 1 */
    uint64_t governor_period_ns;
    uint32_t up_percent, down_percent; /**< busy at least / less than that: a step up / down */
};

/** The names in the order of their places; NULL beyond the last. */
const char *tarn_virtual_profile_name(uint32_t index);

/** TARN_NOT_FOUND if there is no board of that name; fills `error` only for other failures. */
tarn_status tarn_virtual_profile_load(const char *name, struct tarn_virtual_profile *profile,
                                      struct tarn_error *error);

/**
 * Reads `text` (NUL-terminated; `label` names it in messages): lines `[section]`, `key = value`,
 * `# comment` or empty. Every key of docs/virtual-devices.md once, and no other. TARN_CORRUPT with
 * the line and the reason otherwise.
 */
tarn_status tarn_virtual_profile_parse(const char *label, const char *text,
                                       struct tarn_virtual_profile *profile,
                                       struct tarn_error *error);

#endif
