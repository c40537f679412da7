/* SPDX-License-Identifier: Apache-2.0 */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

const char *tarn_status_name(tarn_status status)
{
    switch (status) {
#define CASE(name, number, text)                                                                   \
    case TARN_##name:                                                                              \
        return #name;
        TARN_STATUS_LIST(CASE)
#undef CASE
    }
    return "UNKNOWN";
}

const char *tarn_status_message(tarn_status status)
{
    switch (status) {
#define CASE(name, number, text)                                                                   \
    case TARN_##name:                                                                              \
        return text;
        TARN_STATUS_LIST(CASE)
#undef CASE
    }
    return "unknown status";
}

tarn_status tarn_fail(struct tarn_error *error, tarn_status status, const char *format, ...)
{
    if (error != NULL) {
        error->status = status;
        va_list args;
        va_start(args, format);
        vsnprintf(error->message, sizeof error->message, format, args);
        va_end(args);
        for (char *c = error->message; *c != '\0'; c++)
            if (*c == '\n' || *c == '\r')
                *c = ' ';
    }
    return status;
}
