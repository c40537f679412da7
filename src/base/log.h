/* SPDX-License-Identifier: Apache-2.0 */
/** @file Writing to the log callback of <tarn/log.h>. */
#ifndef TARN_BASE_LOG_H
#define TARN_BASE_LOG_H

#include <tarn/log.h>

/** One line, without a newline; dropped when nobody listens at this level. Any thread. */
void tarn_log(tarn_log_level level, const char *format, ...) TARN_PRINTF(2, 3);

#endif
