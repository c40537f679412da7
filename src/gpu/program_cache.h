/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Compiled programs on disk, so that a second start compiles nothing. A pure optimisation: whatever
 * goes wrong (no directory, a full disk, a damaged or foreign file, another process writing the same)
 * is a miss, and nothing here returns an error. Any backend may keep any bytes in it.
 *
 * An entry is a file of its own, written beside and renamed, found by a hash of its whole key and
 * checked by a hash of its bytes. Files that somebody else could have written are not read: drivers
 * run what is in them. The folder is kept under a size: what was used longest ago goes first. "Longest
 * ago" is counted in uses, kept as the files' times, so a clock that starts at 1970 does no harm.
 *
 * Thread-safety: any thread. Several processes may share a folder.
 */
#ifndef TARN_GPU_PROGRAM_CACHE_H
#define TARN_GPU_PROGRAM_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

typedef struct tarn_program_cache tarn_program_cache;

struct tarn_program_cache_params {
    const char *dir; /**< NULL: XDG_CACHE_HOME/tarn, else HOME/.cache/tarn, else no cache */
    uint64_t limit;  /**< bytes of all entries; 0: 64 MiB */
};

/** All of it is part of the key. Texts may be NULL, which is as "". */
struct tarn_program_key {
    const char *backend; /**< or what else it is: a namespace */
    const char *device;  /**< its name */
    const char *driver;  /**< with its version */
    const void *source;  /**< source text, SPIR-V */
    size_t source_size;  /**< bytes */
    const char *options; /**< compiler options, defines */
};

/**
 * Creates nothing on disk yet. TARN_NO_MEMORY, or TARN_OK with a cache that may never hit: with
 * TARN_PROGRAM_CACHE=off, or where there is no directory.
 */
tarn_status tarn_program_cache_create(const struct tarn_program_cache_params *params,
                                      tarn_program_cache **cache);
/** Accepts NULL and a pointer to NULL. */
void tarn_program_cache_destroy(tarn_program_cache **cache);

/** The folder, or NULL if there is none. */
const char *tarn_program_cache_dir(const tarn_program_cache *cache);

/** True on a hit: `*data` is the caller's, to be freed with free(). `cache` may be NULL. */
bool tarn_program_cache_get(tarn_program_cache *cache, const struct tarn_program_key *key,
                            void **data, size_t *size);
/** Keeps a copy if it can, in place of what was there. `cache` may be NULL. */
void tarn_program_cache_put(tarn_program_cache *cache, const struct tarn_program_key *key,
                            const void *data, size_t size);
/** Forgets an entry, as one that its driver refused. `cache` may be NULL. */
void tarn_program_cache_drop(tarn_program_cache *cache, const struct tarn_program_key *key);

#endif
