/* SPDX-License-Identifier: Apache-2.0 */
#include "kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "base/options.h"

void tarn_kept_make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
}

bool tarn_kept_path(const char *dir, const char *name, char path[TARN_KEPT_PATH])
{
    const char *root = dir, *below = "";
    if (root == NULL || root[0] == '\0') {
        root = tarn_option_get(TARN_OPTION_CACHE_HOME);
        below = "/tarn";
        if (root[0] != '/') { /* a relative one is to be ignored */
            root = tarn_option_get(TARN_OPTION_HOME);
            below = "/.cache/tarn";
        }
        if (root[0] != '/')
            return false;
    }
    int length = snprintf(path, TARN_KEPT_PATH, "%s%s/%s", root, below, name);
    return length > 0 && length < TARN_KEPT_PATH;
}

tarn_status tarn_kept_read(const char *dir, const char *name, void *data, size_t size)
{
    char path[TARN_KEPT_PATH];
    struct stat file;
    void *read = NULL;
    size_t got = 0;
    if (!tarn_kept_path(dir, name, path) || stat(path, &file) != 0)
        return TARN_NOT_FOUND;
    if (file.st_size < 0 || (size_t)file.st_size != size)
        return TARN_CORRUPT;
    tarn_status status = tarn_file_read(path, size, &read, &got, NULL);
    if (status == TARN_OK && got != size)
        status = TARN_CORRUPT;
    if (status == TARN_OK)
        memcpy(data, read, size);
    free(read);
    return status;
}

tarn_status tarn_kept_write(const char *dir, const char *name, const void *data, size_t size,
                            struct tarn_error *error)
{
    char path[TARN_KEPT_PATH];
    if (!tarn_kept_path(dir, name, path))
        return tarn_fail(error, TARN_NOT_FOUND, "%s: no folder to keep it in", name);
    tarn_kept_make_folders(path);
    return tarn_file_replace(path, data, size, error);
}
