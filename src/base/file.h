/* SPDX-License-Identifier: Apache-2.0 */
/** @file Whole files: read, and replaced atomically. Any thread. */
#ifndef TARN_BASE_FILE_H
#define TARN_BASE_FILE_H

#include <stddef.h>

#include <tarn/status.h>

/**
 * Reads a whole file of at most `limit` bytes. `*data` is the caller's, to be freed with free(), and
 * has a NUL byte behind its `*size` bytes.
 */
tarn_status tarn_file_read(const char *path, size_t limit, void **data, size_t *size,
                           struct tarn_error *error);

/**
 * Replaces `path` by `size` bytes: a temporary file beside it is written, synced and renamed, so that
 * after a power cut or on a full disk the old file is still whole. "-" writes to standard output.
 */
tarn_status tarn_file_replace(const char *path, const void *data, size_t size,
                              struct tarn_error *error);

/**
 * Adds `size` bytes to the file at `path`, whose size must be `expected` (else TARN_BUSY: somebody
 * else has written to it), and syncs them. On an error (a full disk) what was written is cut off again.
 */
tarn_status tarn_file_append(const char *path, size_t expected, const void *data, size_t size,
                             struct tarn_error *error);

#endif
