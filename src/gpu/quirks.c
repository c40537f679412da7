/* SPDX-License-Identifier: Apache-2.0 */
#include "quirks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/gpu.h>

static const struct {
    const char *icd_suffix;
    uint32_t vulkan_id;
    const char *version_text;
} drivers[TARN_DRIVER_COUNT] = {
#define DRIVER(name, icd_suffix, vulkan_id, version_text)                                          \
    [TARN_DRIVER_##name] = {icd_suffix, vulkan_id, version_text},
#include "quirks.def"
};

#define VERSION(major, minor, patch)                                                               \
    ((uint64_t)(major) << 40 | (uint64_t)(minor) << 20 | (uint64_t)(patch))
#define LAST          0xfffff
#define ALL           0, UINT64_MAX
#define UP_TO(a, b)   VERSION(0, 0, 1), VERSION(a, b, LAST)
#define BETWEEN(a, b) VERSION(a, 0, 0), VERSION(b, LAST, LAST)
#define QUIRK(...)    QUIRK_ROW(__VA_ARGS__)
#define QUIRK_ROW(name, api_, driver_, vendor_, device_, low_, high_, integrated_, flags_, ms_,    \
                  what_, source_)                                                                  \
    {.api = TARN_API_##api_,                                                                       \
     .driver = TARN_DRIVER_##driver_,                                                              \
     .vendor = (vendor_),                                                                          \
     .device = (device_),                                                                          \
     .low = (low_),                                                                                \
     .high = (high_),                                                                              \
     .integrated = (integrated_),                                                                  \
     .flags = TARN_QUIRK_##flags_,                                                                 \
     .watchdog_ms = (ms_),                                                                         \
     .text = what_ " (" source_ ")"},

static const struct quirk {
    tarn_api api;
    tarn_driver driver;
    uint32_t vendor, device;
    uint64_t low, high;
    bool integrated;
    uint32_t flags, watchdog_ms;
    const char *text;
} quirks[] = {
#include "quirks.def"
};
#define QUIRK_COUNT (sizeof quirks / sizeof quirks[0])
_Static_assert(QUIRK_COUNT <= 32, "a device's quirks are the bits of 32");

tarn_driver tarn_driver_by_icd(const char *suffix)
{
    for (int i = 1; i < TARN_DRIVER_COUNT && suffix[0] != '\0'; i++)
        if (strcmp(drivers[i].icd_suffix, suffix) == 0)
            return (tarn_driver)i;
    return TARN_DRIVER_UNKNOWN;
}

tarn_driver tarn_driver_by_vulkan(uint32_t id)
{
    for (int i = 1; i < TARN_DRIVER_COUNT && id != 0; i++)
        if (drivers[i].vulkan_id == id)
            return (tarn_driver)i;
    return TARN_DRIVER_UNKNOWN;
}

uint64_t tarn_driver_version(tarn_driver driver, const char *text)
{
    const char *front = (unsigned)driver < TARN_DRIVER_COUNT && driver != TARN_DRIVER_UNKNOWN
                            ? drivers[driver].version_text
                            : "";
    const char *at = strstr(text, front);
    if (at == NULL)
        return 0;
    at += strlen(front);
    at += strcspn(at, "0123456789");
    uint32_t parts[3] = {0};
    for (int i = 0; i < 3; i++) {
        if (at[0] < '0' || at[0] > '9')
            break;
        char *end;
        unsigned long part = strtoul(at, &end, 10);
        parts[i] = part < LAST ? (uint32_t)part : LAST;
        at = *end == '.' ? end + 1 : end;
        if (*end != '.')
            break;
    }
    return tarn_driver_number(parts[0], parts[1], parts[2]);
}

uint32_t tarn_quirks_find(const struct tarn_device_identity *identity)
{
    uint32_t found = 0;
    for (size_t i = 0; i < QUIRK_COUNT; i++) {
        const struct quirk *quirk = &quirks[i];
        if (quirk->api == identity->api && quirk->driver == identity->driver &&
            (quirk->vendor == 0 || quirk->vendor == identity->vendor) &&
            (quirk->device == 0 || quirk->device == identity->device) &&
            identity->version >= quirk->low && identity->version <= quirk->high &&
            (!quirk->integrated || identity->integrated))
            found |= UINT32_C(1) << i;
    }
    return found;
}

uint32_t tarn_quirks_flags(uint32_t found)
{
    uint32_t flags = 0;
    for (size_t i = 0; i < QUIRK_COUNT; i++)
        if (found >> i & 1)
            flags |= quirks[i].flags;
    return flags;
}

uint32_t tarn_quirks_watchdog_ms(uint32_t found)
{
    uint32_t least = 0;
    for (size_t i = 0; i < QUIRK_COUNT; i++)
        if (found >> i & 1 && quirks[i].watchdog_ms > 0 &&
            (least == 0 || quirks[i].watchdog_ms < least))
            least = quirks[i].watchdog_ms;
    return least;
}

const char *tarn_device_quirk(const struct tarn_device_info *info, size_t n)
{
    for (size_t i = 0; info != NULL && i < QUIRK_COUNT; i++)
        if (info->quirks >> i & 1 && n-- == 0)
            return quirks[i].text;
    return NULL;
}
