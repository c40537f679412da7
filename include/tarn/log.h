/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The library's only global state: one log callback and a level.
 */
#ifndef TARN_LOG_H
#define TARN_LOG_H

#include <tarn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tarn_log_level {
    TARN_LOG_NONE,
    TARN_LOG_ERROR,
    TARN_LOG_WARNING,
    TARN_LOG_INFO,
    TARN_LOG_DEBUG,
} tarn_log_level;

/** `message` is one line without a newline and is valid during the call only. */
typedef void (*tarn_log_callback)(void *user, tarn_log_level level, const char *message);

/**
 * Sets where messages up to `level` go; NULL means nowhere, which is the default. May be called from
 * any thread; the callback itself must be thread-safe, since any thread of the library may log.
 */
TARN_API void tarn_log_set(tarn_log_callback callback, void *user, tarn_log_level level);

#ifdef __cplusplus
}
#endif

#endif
