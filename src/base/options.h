/* SPDX-License-Identifier: Apache-2.0 */
/** @file Environment options: the table is options.def. Pure reads; safe from any thread. */
#ifndef TARN_BASE_OPTIONS_H
#define TARN_BASE_OPTIONS_H

#include <stddef.h>

typedef enum tarn_option {
#define X(name, variable, fallback, doc) TARN_OPTION_##name,
#include "options.def"
#undef X
    TARN_OPTION_COUNT
} tarn_option;

struct tarn_option_info {
    const char *variable, *fallback, *doc;
};

/** The option's value: the environment's, or the default where it is unset or empty. */
const char *tarn_option_get(tarn_option option);
/** The table's row, for help texts and man pages. */
const struct tarn_option_info *tarn_option_info(tarn_option option);

#endif
