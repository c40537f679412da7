/* SPDX-License-Identifier: Apache-2.0 */
/** @file Copies of text on tarn's heap; private to src/trace. */
#ifndef TARN_TRACE_COPY_H
#define TARN_TRACE_COPY_H

#include <string.h>

#include "base/memory.h"

/** The first `length` bytes of `text` with `ending` behind them, for tarn_free(); NULL: no memory. */
static inline char *tarn_text_copy(const char *text, size_t length, const char *ending)
{
    size_t more = strlen(ending);
    char *copy = tarn_alloc(length + more + 1);
    if (copy != NULL) {
        memcpy(copy, text, length);
        memcpy(copy + length, ending, more + 1);
    }
    return copy;
}

#endif
