/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Small files that are kept between runs, and that nobody misses if they are gone: in the caller's
 * folder, else XDG_CACHE_HOME/tarn, else HOME/.cache/tarn. Any thread.
 */
#ifndef TARN_BASE_KEPT_H
#define TARN_BASE_KEPT_H

#include <stdbool.h>
#include <stddef.h>

#include <tarn/status.h>

enum { TARN_KEPT_PATH = 4096 };

/** The path of `name` in that folder; false if there is no folder. */
bool tarn_kept_path(const char *dir, const char *name, char path[TARN_KEPT_PATH]);
/** The folders that a path goes through, where they are missing; what fails shows when it is written. */
void tarn_kept_make_folders(char *path);
/** Exactly `size` bytes: TARN_NOT_FOUND without a folder or a file, TARN_CORRUPT for another size. */
tarn_status tarn_kept_read(const char *dir, const char *name, void *data, size_t size);
/** Makes the folder, replaces the file atomically. */
tarn_status tarn_kept_write(const char *dir, const char *name, const void *data, size_t size,
                            struct tarn_error *error);

#endif
