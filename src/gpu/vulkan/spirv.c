/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look through a SPIR-V module (Khronos, SPIR-V Specification 1.3, sections 2.3 and 3). Only what
 * a table row can get wrong; it is no validator of the whole.
 */
#include "vulkan.h"

#include <stdio.h>
#include <string.h>

enum {
    HEADER_WORDS = 5,
    OP_ENTRY_POINT = 15,
    OP_FUNCTION_END = 56,
    OP_DECORATE = 71,
    MODEL_GL_COMPUTE = 5,
    DECORATION_BINDING = 33,
};

static const uint32_t magic = 0x07230203u;

/* The entry point's name as text: bytes in words, low first, ended by a zero byte. */
static bool is_main(const uint32_t *words, uint32_t count)
{
    /* operation, model, function, name... : "main" and its end */
    static const uint32_t name = 'm' | 'a' << 8 | 'i' << 16 | (uint32_t)'n' << 24;
    return count >= 5 && words[3] == name && (words[4] & 0xffu) == 0;
}

const char *tarn_vulkan_spirv_fault(const uint32_t *words, size_t size, uint32_t buffer_count,
                                    char *text, size_t text_size)
{
    size_t count = size / 4, mains = 0;
    uint32_t bound = 0, operation = 0; /* a bit for each binding; the last operation */
    if (size % 4 != 0 || count <= HEADER_WORDS || words[0] != magic)
        return "it is no SPIR-V";
    if (words[1] > 0x00010300u)
        return "its SPIR-V is newer than Vulkan 1.1 takes";
    for (size_t at = HEADER_WORDS; at < count;) {
        uint32_t length = words[at] >> 16;
        operation = words[at] & 0xffffu;
        if (length == 0 || length > count - at)
            return "its SPIR-V is cut off";
        if (operation == OP_ENTRY_POINT && length > 1 && words[at + 1] == MODEL_GL_COMPUTE)
            mains += is_main(words + at, length);
        if (operation == OP_DECORATE && length > 3 && words[at + 2] == DECORATION_BINDING) {
            if (words[at + 3] >= TARN_MAX_BUFFERS)
                return "it binds more buffers than a launch has";
            bound |= 1u << words[at + 3];
        }
        at += length;
    }
    if (operation != OP_FUNCTION_END)
        return "its SPIR-V is cut off";
    if (mains != 1)
        return "it has no entry point \"main\"";
    if (bound != (1u << buffer_count) - 1) {
        snprintf(text, text_size, "its arguments are other buffers than the %u of its table",
                 (unsigned)buffer_count);
        return text;
    }
    return NULL;
}
