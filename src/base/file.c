/* SPDX-License-Identifier: Apache-2.0 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

tarn_status tarn_file_read(const char *path, size_t limit, void **data, size_t *size,
                           struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    char *bytes = NULL;
    size_t used = 0, room = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return tarn_fail(error, errno == ENOENT ? TARN_NOT_FOUND : TARN_IO, "%s: %s", path,
                         strerror(errno));
    for (;;) {
        if (room - used < 2) {
            room = room == 0 ? 16384 : room * 2;
            char *grown = realloc(bytes, room);
            if (grown == NULL) {
                status = tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path);
                goto fail;
            }
            bytes = grown;
        }
        ssize_t n = read(fd, bytes + used, room - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            status = tarn_fail(error, TARN_IO, "%s: %s", path, strerror(errno));
            goto fail;
        }
        if (n == 0)
            break;
        used += (size_t)n;
        if (used > limit) {
            status = tarn_fail(error, TARN_TOO_LARGE, "%s: larger than %zu bytes", path, limit);
            goto fail;
        }
    }
    close(fd);
    bytes[used] = '\0';
    *data = bytes;
    *size = used;
    return TARN_OK;
fail:
    close(fd);
    free(bytes);
    return status;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        size -= (size_t)n;
    }
    return true;
}

/* A rename is only durable once its directory is. */
static void sync_directory_of(const char *path)
{
    char directory[PATH_MAX];
    snprintf(directory, sizeof directory, "%s", path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL)
        strcpy(directory, ".");
    else
        slash[slash == directory] = '\0';
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

tarn_status tarn_file_replace(const char *path, const void *data, size_t size,
                              struct tarn_error *error)
{
    if (strcmp(path, "-") == 0)
        return write_all(STDOUT_FILENO, data, size)
                   ? TARN_OK
                   : tarn_fail(error, TARN_IO, "standard output: %s", strerror(errno));
    char temporary[PATH_MAX];
    struct stat info;
    bool special = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    int length = snprintf(temporary, sizeof temporary, special ? "%s" : "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary)
        return tarn_fail(error, TARN_INVALID, "%s: the path is too long", path);
    int fd = special ? open(path, O_WRONLY | O_CLOEXEC) : mkstemp(temporary);
    if (fd < 0)
        return tarn_fail(error, TARN_IO, "%s: %s", path, strerror(errno));
    bool ok = write_all(fd, data, size);
    if (ok && !special)
        ok = fchmod(fd, 0644) == 0 && fsync(fd) == 0;
    int reason = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        reason = errno;
    }
    if (ok && !special && rename(temporary, path) != 0) {
        ok = false;
        reason = errno;
    }
    if (!ok) {
        if (!special)
            unlink(temporary);
        return tarn_fail(error, TARN_IO, "%s: %s", path, strerror(reason));
    }
    if (!special)
        sync_directory_of(path);
    return TARN_OK;
}

tarn_status tarn_file_append(const char *path, size_t expected, const void *data, size_t size,
                             struct tarn_error *error)
{
    struct stat info;
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return tarn_fail(error, errno == ENOENT ? TARN_NOT_FOUND : TARN_IO, "%s: %s", path,
                         strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size != (off_t)expected) {
        close(fd);
        return tarn_fail(error, TARN_BUSY, "%s: it isn't the %zu bytes that it was", path,
                         expected);
    }
    bool ok = write_all(fd, data, size) && fsync(fd) == 0;
    int reason = errno;
    /* a piece of a record would be in the way of the next */
    if (!ok && ftruncate(fd, (off_t)expected) == 0)
        fsync(fd);
    if (close(fd) != 0 && ok) {
        ok = false;
        reason = errno;
    }
    return ok ? TARN_OK : tarn_fail(error, TARN_IO, "%s: %s", path, strerror(reason));
}
