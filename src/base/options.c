/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <stdlib.h>

static const struct tarn_option_info infos[TARN_OPTION_COUNT] = {
#define X(name, variable, fallback, doc) [TARN_OPTION_##name] = {variable, fallback, doc},
#include "options.def"
#undef X
};

const char *tarn_option_get(tarn_option option)
{
    const char *value = getenv(infos[option].variable);
    return value != NULL && value[0] != '\0' ? value : infos[option].fallback;
}

const struct tarn_option_info *tarn_option_info(tarn_option option)
{
    return &infos[option];
}
