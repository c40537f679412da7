/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What files of models and of their sets have in common: eight bytes of magic, u32 version, u32 size of all of it, what
 * is the file's own, and a hash of everything before it. Integers are little-endian.
 */
#ifndef TARN_MODEL_ENVELOPE_H
#define TARN_MODEL_ENVELOPE_H

#include <stddef.h>
#include <stdint.h>
#include <tarn/status.h>

#define TARN_ENVELOPE_HASH 8 /* bytes at the end */

struct tarn_envelope {
    char magic[8];
    uint32_t version;
    size_t header;          /**< bytes that there are at least, but for the hash */
    const char *none, *one; /**< what errors say: "not a model file", "model format" */
};

/** TARN_CORRUPT, TARN_UNSUPPORTED: `error` names `where` and what is wrong. Pure. */
tarn_status tarn_envelope_check(const struct tarn_envelope *envelope, const char *where,
                                const uint8_t *data, size_t size, struct tarn_error *error);

#endif
