/* SPDX-License-Identifier: Apache-2.0 */
#include "hints.h"

#include <tarn/gpu.h>

#include <stdio.h>

static const char *const names[] = {
#define TARN_HINT_NAME(mechanism, name) name,
    TARN_HINTS(TARN_HINT_NAME)
#undef TARN_HINT_NAME
};
#define HINT_COUNT (sizeof names / sizeof names[0])

const char *tarn_device_hint(const struct tarn_device_info *info, size_t n)
{
    for (size_t i = 0; info != NULL && i < HINT_COUNT; i++)
        if (info->hints >> i & 1 && n-- == 0)
            return names[i];
    return NULL;
}

void tarn_hints_names(uint32_t hints, char text[], size_t size)
{
    size_t used = 0;
    snprintf(text, size, "none");
    for (size_t i = 0; i < HINT_COUNT && used < size; i++)
        if (hints >> i & 1)
            used +=
                (size_t)snprintf(text + used, size - used, "%s%s", used > 0 ? ", " : "", names[i]);
}
