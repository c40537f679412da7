/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Small text files under a root that may be missing, empty, huge, slow or no files at all: opened
 * once, read again and again, and complained of once. For one thread at a time.
 */
#ifndef TARN_PLATFORM_PROBE_H
#define TARN_PLATFORM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TARN_PROBE_PATH 160  /**< bytes of a path, relative to the root */
#define TARN_PROBE_TEXT 4096 /**< bytes of a text; what sysfs gives at most is a page */

/** What has been complained of already: a bit for each kind of file. */
enum tarn_probe_fault {
    TARN_PROBE_UNREADABLE,
    TARN_PROBE_EMPTY,
    TARN_PROBE_GARBAGE,
    TARN_PROBE_HUGE,
    TARN_PROBE_SLOW,
    TARN_PROBE_FAULTS,
};

struct tarn_probe_root {
    char path[256];
    int fd;        /**< of the folder; -1 if there is none */
    bool vanished; /**< a file that was there no longer answers: time to look for others */
    uint64_t complained[TARN_PROBE_FAULTS];
    uint64_t (*clock_ns)(void *user);
    void *user;
};

struct tarn_probe {
    int fd;              /**< -1: not open */
    unsigned kind;       /**< below 64; for complaints */
    bool is_long;        /**< the beginning is enough */
    bool answered;       /**< it has been read before */
    uint64_t rest_until; /**< it was slow: not read before then */
    char path[TARN_PROBE_PATH];
};

/** `path` NULL is "/". False where there is no such folder: then nothing is found in it. */
bool tarn_probe_root_open(struct tarn_probe_root *root, const char *path);
void tarn_probe_root_close(struct tarn_probe_root *root);

/** Opens a regular file; false if there is none (that alone is not complained of). */
bool tarn_probe_open(struct tarn_probe_root *root, struct tarn_probe *probe, unsigned kind,
                     const char *path);
/** Accepts one that isn't open. */
void tarn_probe_close(struct tarn_probe *probe);
/** Reads from the beginning, NUL-terminated; the length, or 0 if it gave nothing. */
size_t tarn_probe_read(struct tarn_probe_root *root, struct tarn_probe *probe,
                       char text[TARN_PROBE_TEXT]);
/** Says once for each kind that its content wasn't understood. */
void tarn_probe_garbage(struct tarn_probe_root *root, const struct tarn_probe *probe);

/** Opens, reads and closes. */
size_t tarn_probe_slurp(struct tarn_probe_root *root, unsigned kind, const char *path,
                        char text[TARN_PROBE_TEXT]);

/**
 * Calls `found` with each path (relative to the root, sorted) that fits a pattern of the shell, until
 * it returns false.
 */
void tarn_probe_glob(struct tarn_probe_root *root, const char *pattern,
                     bool (*found)(void *user, const char *path), void *user);

#endif
