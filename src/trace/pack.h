/* SPDX-License-Identifier: Apache-2.0 */
/** @file Names of docs/trace-format.md, for its reader and its writer. */
#ifndef TARN_TRACE_PACK_H
#define TARN_TRACE_PACK_H

#define TARN_PACK_MAGIC "\x89TARNTR\n"

enum {
    TARN_PACK_VERSION = 1,
    TARN_PACK_VERSION_EXTRA = 2, /* with tags or costs */
    TARN_PACK_HEADER = 16,       /* bytes of the file's header */
    TARN_PACK_BLOCK_HEADER = 16, /* bytes before a block's payload */
    TARN_PACK_HASHED_FROM = 8,   /* a block's checksum covers it from there */
    TARN_PACK_REQUESTS = 16384,  /* most in a block */
    TARN_PACK_PAYLOAD = 524288,  /* most bytes of a payload */
    TARN_PACK_HAS_TIMES = 1,     /* the file's flags */
    TARN_PACK_MAY_HAVE_TAGS = 2, /* from version 2 on */
    TARN_PACK_MAY_HAVE_COSTS = 4,
    TARN_PACK_HAS_SIZES = 1, /* a block's flags */
    TARN_PACK_HAS_OPS = 2,
    TARN_PACK_HAS_TAGS = 4, /* from version 2 on */
    TARN_PACK_HAS_COSTS = 8,
    TARN_PACK_VARINT = 10, /* most bytes of a varint */
};

#endif
