/* SPDX-License-Identifier: Apache-2.0 */
/** @file Trees as sysfs and procfs have them: recorded ones, and some made in a temporary folder. */
#ifndef TARN_TESTS_UNIT_SYSFS_H
#define TARN_TESTS_UNIT_SYSFS_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/** The recorded tree of a board; static. */
static inline const char *recorded(const char *board)
{
    static char path[PATH_MAX];
    const char *source = getenv("TARN_TEST_SOURCE");
    snprintf(path, sizeof path, "%s/tests/data/sysfs/%s", source != NULL ? source : ".", board);
    return path;
}

/** An empty folder; destroy_tree() removes it. */
static inline char *create_tree(void)
{
    static char path[64];
    strcpy(path, "/tmp/tarn-sysfs-[1]-XXXXXX"); /* which is no pattern here */
    return mkdtemp(path);
}

static inline const char *in_tree(const char *root, const char *path)
{
    static char full[PATH_MAX];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0777);
        *slash = '/';
    }
    return full;
}

/** Writes a file, with the folders that it needs. */
static inline void put_bytes(const char *root, const char *path, const void *data, size_t size)
{
    FILE *file = fopen(in_tree(root, path), "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        perror(path);
}

static inline void put(const char *root, const char *path, const char *text)
{
    put_bytes(root, path, text, strlen(text));
}

static inline int remove_one(const char *path, const struct stat *info, int flag, struct FTW *ftw)
{
    (void)info, (void)flag, (void)ftw;
    return remove(path);
}

static inline void destroy_tree(const char *root)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
