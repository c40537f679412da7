/* SPDX-License-Identifier: Apache-2.0 */
#include "sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#if HAVE_ZSTD
#include <zstd.h>
#endif

#include "base/error.h"
#include "base/memory.h"
#include "copy.h"

enum { SINK_ROOM = 256 << 10 };

static tarn_status no_memory(const char *path, struct tarn_error *error)
{
    return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", path);
}

static tarn_status io_error(const char *path, struct tarn_error *error)
{
    return tarn_fail(error, TARN_IO, "%s: %s", path, strerror(errno));
}

tarn_status tarn_sink_open(struct tarn_sink *sink, const char *path, struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    size_t length = strlen(path);
    struct stat info;
    *sink = (struct tarn_sink){.fd = STDOUT_FILENO};
    bool standard = strcmp(path, "-") == 0;
    sink->compressed = length > 4 && strcasecmp(path + length - 4, ".zst") == 0;
#if !HAVE_ZSTD
    if (sink->compressed)
        return tarn_fail(error, TARN_UNSUPPORTED, "%s: zstd was left out of this build", path);
#endif
    const char *name = standard ? "standard output" : path;
    sink->path = tarn_text_copy(name, strlen(name), "");
    sink->buffer = tarn_alloc(SINK_ROOM);
    sink->room = SINK_ROOM;
    if (sink->path == NULL || sink->buffer == NULL) {
        status = no_memory(path, error);
        goto fail;
    }
#if HAVE_ZSTD
    if (sink->compressed) {
        sink->stream = ZSTD_createCCtx();
        if (sink->stream == NULL) {
            status = no_memory(path, error);
            goto fail;
        }
        ZSTD_CCtx_setParameter(sink->stream, ZSTD_c_compressionLevel, 6);
        ZSTD_CCtx_setParameter(sink->stream, ZSTD_c_checksumFlag, 1);
    }
#endif
    if (standard)
        return TARN_OK;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        sink->fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        sink->temporary = tarn_text_copy(path, length, ".XXXXXX");
        if (sink->temporary == NULL) {
            status = no_memory(path, error);
            goto fail;
        }
        sink->fd = mkostemp(sink->temporary, O_CLOEXEC);
        if (sink->fd < 0) { /* nothing to remove */
            int reason = errno;
            tarn_free(sink->temporary);
            sink->temporary = NULL;
            errno = reason;
        }
    }
    if (sink->fd < 0) {
        status = io_error(path, error);
        goto fail;
    }
    sink->owns_fd = true;
    return TARN_OK;
fail:
    tarn_sink_close(sink);
    return status;
}

static tarn_status flush(struct tarn_sink *sink, struct tarn_error *error)
{
    for (size_t at = 0; at < sink->used;) {
        ssize_t n = write(sink->fd, sink->buffer + at, sink->used - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_error(sink->path, error);
        at += (size_t)n;
    }
    sink->used = 0;
    return TARN_OK;
}

#if HAVE_ZSTD
static tarn_status compress(struct tarn_sink *sink, const void *data, size_t size, bool last,
                            struct tarn_error *error)
{
    ZSTD_inBuffer in = {data, size, 0};
    for (;;) {
        ZSTD_outBuffer out = {sink->buffer, sink->room, sink->used};
        size_t left =
            ZSTD_compressStream2(sink->stream, &out, &in, last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return tarn_fail(error, TARN_NO_MEMORY, "%s: zstd: %s", sink->path,
                             ZSTD_getErrorName(left));
        sink->used = out.pos;
        if (last ? left == 0 : in.pos == in.size)
            return TARN_OK;
        tarn_status status = flush(sink, error);
        if (status != TARN_OK)
            return status;
    }
}
#endif

tarn_status tarn_sink_write(struct tarn_sink *sink, const void *data, size_t size,
                            struct tarn_error *error)
{
#if HAVE_ZSTD
    if (sink->compressed)
        return compress(sink, data, size, false, error);
#endif
    const uint8_t *from = data;
    while (size > 0) {
        size_t n = sink->room - sink->used < size ? sink->room - sink->used : size;
        memcpy(sink->buffer + sink->used, from, n);
        sink->used += n;
        from += n;
        size -= n;
        if (sink->used == sink->room) {
            tarn_status status = flush(sink, error);
            if (status != TARN_OK)
                return status;
        }
    }
    return TARN_OK;
}

tarn_status tarn_sink_finish(struct tarn_sink *sink, struct tarn_error *error)
{
    tarn_status status = TARN_OK;
#if HAVE_ZSTD
    if (sink->compressed)
        status = compress(sink, "", 0, true, error);
#endif
    if (status == TARN_OK)
        status = flush(sink, error);
    if (status != TARN_OK)
        return status;
    if (sink->temporary != NULL) {
        mode_t mask = umask(0);
        umask(mask);
        if (fchmod(sink->fd, 0666 & ~mask) != 0 || fsync(sink->fd) != 0)
            return io_error(sink->path, error);
    }
    if (sink->owns_fd) {
        sink->owns_fd = false;
        if (close(sink->fd) != 0)
            return io_error(sink->path, error);
    }
    if (sink->temporary != NULL) {
        if (rename(sink->temporary, sink->path) != 0)
            return io_error(sink->path, error);
        tarn_free(sink->temporary);
        sink->temporary = NULL;
    }
    return TARN_OK;
}

void tarn_sink_close(struct tarn_sink *sink)
{
    if (sink->owns_fd)
        close(sink->fd);
    if (sink->temporary != NULL)
        unlink(sink->temporary);
#if HAVE_ZSTD
    ZSTD_freeCCtx(sink->stream);
#endif
    tarn_free(sink->path);
    tarn_free(sink->temporary);
    tarn_free(sink->buffer);
    *sink = (struct tarn_sink){.fd = -1};
}
