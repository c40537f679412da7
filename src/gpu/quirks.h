/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Which of the known quirks a device has. The table, with sources, is quirks.def; a device is known by
 * ids and version numbers, never by its name. Pure; any thread.
 */
#ifndef TARN_GPU_QUIRKS_H
#define TARN_GPU_QUIRKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tarn_api {
    TARN_API_OPENCL,
    TARN_API_VULKAN,
} tarn_api;

typedef enum tarn_driver {
    TARN_DRIVER_UNKNOWN,
#define DRIVER(name, icd_suffix, vulkan_id, version_text) TARN_DRIVER_##name,
#include "quirks.def"
    TARN_DRIVER_COUNT
} tarn_driver;

/** What follows from a quirk; a device has those of all its quirks. */
typedef enum tarn_quirk_flags {
    TARN_QUIRK_NONE = 0,
    TARN_QUIRK_NO_SHARED_MEMORY = 1, /**< copy, whatever the driver says of zero copy or SVM */
    TARN_QUIRK_NO_BINARIES = 2,      /**< compile from source each time */
    TARN_QUIRK_PREFER_HOST = 4,      /**< use it only when asked for */
    TARN_QUIRK_RECHECK = 8,          /**< check kernels at each start, not once */
    TARN_QUIRK_NEEDS_FOLDER = 16,    /**< a failed compilation may be for want of its own folder */
    TARN_QUIRK_SHORT_LOOPS = 32,     /**< a launch's loops end after TARN_SHORT_LOOP_TURNS */
} tarn_quirk_flags;

/** Turns of an invocation's loops that all drivers with TARN_QUIRK_SHORT_LOOPS get through. */
enum { TARN_SHORT_LOOP_TURNS = 65000 };

struct tarn_device_identity {
    tarn_api api;
    tarn_driver driver;
    uint32_t vendor, device; /**< 0: unknown */
    uint64_t version;        /**< of tarn_driver_version() or _number(); 0: unknown */
    bool integrated;         /**< shares the host's memory */
};

/** By CL_PLATFORM_ICD_SUFFIX_KHR. */
tarn_driver tarn_driver_by_icd(const char *suffix);
/** By VkPhysicalDeviceDriverProperties::driverID. */
tarn_driver tarn_driver_by_vulkan(uint32_t id);

static inline uint64_t tarn_driver_number(uint32_t major, uint32_t minor, uint32_t patch)
{
    return (uint64_t)(major & 0xffffff) << 40 | (uint64_t)(minor & 0xfffff) << 20 |
           (patch & 0xfffff);
}
/** The version in a driver's text; 0 if there is none. */
uint64_t tarn_driver_version(tarn_driver driver, const char *text);

/** The quirks of a device, a bit for each row of the table: struct tarn_device_info's `quirks`. */
uint32_t tarn_quirks_find(const struct tarn_device_identity *identity);
/** The flags of a set of quirks. */
uint32_t tarn_quirks_flags(uint32_t quirks);
/** The longest that a launch may take with these quirks, ms; 0: no limit is known. */
uint32_t tarn_quirks_watchdog_ms(uint32_t quirks);

#endif
