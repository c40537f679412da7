/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tarn_log_callback current_callback;
static void *current_user;
static atomic_int current_level = TARN_LOG_NONE;

void tarn_log_set(tarn_log_callback callback, void *user, tarn_log_level level)
{
    pthread_mutex_lock(&lock);
    current_callback = callback;
    current_user = user;
    atomic_store(&current_level, callback != NULL ? (int)level : (int)TARN_LOG_NONE);
    pthread_mutex_unlock(&lock);
}

void tarn_log(tarn_log_level level, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&current_level, memory_order_relaxed))
        return;
    char line[512];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    pthread_mutex_lock(&lock);
    tarn_log_callback callback = current_callback;
    void *user = current_user;
    pthread_mutex_unlock(&lock);
    if (callback != NULL)
        callback(user, level, line);
}
