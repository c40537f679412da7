/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * SVG text that grows: printf for markup, a separate call for text of others, which is escaped. A
 * failed allocation is remembered and reported at the end, so that callers needn't look at each
 * step. Not thread-safe.
 */
#ifndef TARN_PLOT_SVG_H
#define TARN_PLOT_SVG_H

#include <stdbool.h>
#include <stddef.h>

#include <tarn/status.h>

struct tarn_svg {
    char *text; /**< NUL-terminated, NULL at first; freed with tarn_free() */
    size_t size, room;
    bool failed;
};

/** Adds markup as it is. Numbers follow the C locale, which the command never leaves. */
void tarn_svg_add(struct tarn_svg *svg, const char *format, ...) TARN_PRINTF(2, 3);
/**
 * Adds text: markup characters are escaped, control characters become spaces, and bytes that aren't
 * UTF-8 become U+FFFD, so that the document stays well-formed whatever a file was called.
 */
void tarn_svg_text(struct tarn_svg *svg, const char *text);

#endif
