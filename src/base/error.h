/* SPDX-License-Identifier: Apache-2.0 */
/** @file Filling a struct tarn_error. */
#ifndef TARN_BASE_ERROR_H
#define TARN_BASE_ERROR_H

#include <tarn/status.h>

/** Writes what, where and why into `error` (which may be NULL) and returns `status`. */
tarn_status tarn_fail(struct tarn_error *error, tarn_status status, const char *format, ...)
    TARN_PRINTF(3, 4);

#endif
