/* SPDX-License-Identifier: Apache-2.0 */
#include "svg.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

static bool reserve(struct tarn_svg *svg, size_t more)
{
    if (svg->failed)
        return false;
    if (svg->room - svg->size > more)
        return true;
    size_t room = svg->room * 2 + more + 4096;
    char *grown = tarn_realloc(svg->text, room);
    if (grown == NULL) {
        svg->failed = true;
        return false;
    }
    svg->text = grown;
    svg->room = room;
    return true;
}

static void append(struct tarn_svg *svg, const char *bytes, size_t size)
{
    if (!reserve(svg, size))
        return;
    memcpy(svg->text + svg->size, bytes, size);
    svg->size += size;
    svg->text[svg->size] = '\0';
}

void tarn_svg_add(struct tarn_svg *svg, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0 || !reserve(svg, (size_t)size + 1)) {
        svg->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(svg->text + svg->size, (size_t)size + 1, format, args);
    va_end(args);
    svg->size += (size_t)size;
}

/* Bytes of the UTF-8 character at `text`; 0: none that XML allows. */
static size_t character(const unsigned char *text)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = text[0] < 0x80   ? 1
                  : text[0] < 0xc2 ? 0
                  : text[0] < 0xe0 ? 2
                  : text[0] < 0xf0 ? 3
                  : text[0] < 0xf5 ? 4
                                   : 0;
    uint32_t code = size > 1 ? text[0] & (0x7fu >> size) : text[0];
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    if (size == 0 || code < least[size] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ||
        (code & 0xfffe) == 0xfffe)
        return 0;
    return size;
}

void tarn_svg_text(struct tarn_svg *svg, const char *text)
{
    while (*text != '\0') {
        unsigned char c = (unsigned char)*text;
        const char *escaped = c == '&'                ? "&amp;"
                              : c == '<'              ? "&lt;"
                              : c == '>'              ? "&gt;"
                              : c == '"'              ? "&quot;"
                              : c < 0x20 || c == 0x7f ? " "
                                                      : NULL;
        size_t size = character((const unsigned char *)text);
        if (escaped != NULL)
            append(svg, escaped, strlen(escaped));
        else if (size == 0)
            append(svg, "\xef\xbf\xbd", 3);
        else
            append(svg, text, size);
        text += size > 1 ? size : 1;
    }
}
