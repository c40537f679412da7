/* SPDX-License-Identifier: Apache-2.0 */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#if HAVE_ZSTD
#include <zstd.h>
#endif

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "copy.h"

enum { RAW_ROOM = 256 << 10, WINDOW_ROOM = 1 << 20 };

static tarn_status no_memory(const struct tarn_input *input, struct tarn_error *error)
{
    return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", input->name ? input->name : "-");
}

/* Raw bytes from the file or the memory; *got is 0 at the end only. */
static tarn_status read_raw(struct tarn_input *input, uint8_t *to, size_t room, size_t *got,
                            struct tarn_error *error)
{
    if (input->memory != NULL) {
        size_t left = input->memory_size - input->memory_at;
        *got = left < room ? left : room;
        memcpy(to, input->memory + input->memory_at, *got);
        input->memory_at += *got;
    } else {
        ssize_t n;
        do {
            n = read(input->fd, to, room);
        } while (n < 0 && errno == EINTR);
        if (n < 0)
            return tarn_fail(error, TARN_IO, "%s: %s", input->name, strerror(errno));
        *got = (size_t)n;
    }
    input->raw_read += *got;
    input->raw_finished = *got == 0;
    return TARN_OK;
}

static bool starts_as_zstd(const uint8_t *bytes, size_t size)
{
    return size >= 4 && (tarn_get_u32(bytes) == 0xfd2fb528u ||
                         (tarn_get_u32(bytes) & 0xfffffff0u) == 0x184d2a50u);
}

#if HAVE_ZSTD
/* Fills [to, to + room) with decompressed bytes; *got is 0 at the end only. */
static tarn_status read_zstd(struct tarn_input *input, uint8_t *to, size_t room, size_t *got,
                             struct tarn_error *error)
{
    ZSTD_outBuffer out = {to, room, 0};
    while (out.pos == 0) {
        if (input->raw_at == input->raw_end && !input->raw_finished) {
            input->raw_at = 0;
            tarn_status status = read_raw(input, input->raw, RAW_ROOM, &input->raw_end, error);
            if (status != TARN_OK)
                return status;
        }
        ZSTD_inBuffer in = {input->raw, input->raw_end, input->raw_at};
        /* With no input left, the decoder may still hold decoded bytes. */
        if (in.pos == in.size && !input->in_frame)
            break;
        size_t before = in.pos;
        size_t result = ZSTD_decompressStream(input->stream, &out, &in);
        if (ZSTD_isError(result))
            return tarn_fail(error, TARN_CORRUPT, "%s: zstd: %s behind byte %llu", input->name,
                             ZSTD_getErrorName(result),
                             (unsigned long long)(input->raw_read - input->raw_end + before));
        input->raw_at = in.pos;
        input->in_frame = result != 0;
        if (input->raw_finished && out.pos == 0 && in.pos == before && input->in_frame)
            return tarn_fail(error, TARN_CORRUPT, "%s: byte %llu: the zstd stream is cut short",
                             input->name, (unsigned long long)input->raw_read);
    }
    *got = out.pos;
    return TARN_OK;
}
#endif

static tarn_status start(struct tarn_input *input, struct tarn_error *error)
{
    tarn_status status;
    input->raw = tarn_alloc(RAW_ROOM);
    if (input->raw == NULL)
        return no_memory(input, error);
    /* Four bytes are needed, which a pipe may bring one by one. */
    while (input->raw_end < 4 && !input->raw_finished) {
        size_t got;
        status =
            read_raw(input, input->raw + input->raw_end, RAW_ROOM - input->raw_end, &got, error);
        if (status != TARN_OK)
            return status;
        input->raw_end += got;
    }
    if (starts_as_zstd(input->raw, input->raw_end)) {
#if HAVE_ZSTD
        input->stream = ZSTD_createDStream();
        input->buffer = tarn_alloc(WINDOW_ROOM);
        if (input->stream == NULL || input->buffer == NULL)
            return no_memory(input, error);
        input->room = WINDOW_ROOM;
        input->compressed = true;
        input->at = input->end = input->buffer;
        return TARN_OK;
#else
        return tarn_fail(error, TARN_UNSUPPORTED,
                         "%s: zstd was left out of this build; decompress the file first",
                         input->name);
#endif
    }
    if (input->memory != NULL) {
        input->at = input->memory;
        input->end = input->memory + input->memory_size;
        input->end_offset = input->memory_size;
        input->finished = true;
        return TARN_OK;
    }
    input->buffer = tarn_alloc(WINDOW_ROOM);
    if (input->buffer == NULL)
        return no_memory(input, error);
    input->room = WINDOW_ROOM;
    memcpy(input->buffer, input->raw, input->raw_end);
    input->at = input->buffer;
    input->end = input->buffer + input->raw_end;
    input->end_offset = input->raw_end;
    input->finished = input->raw_finished;
    tarn_free(input->raw);
    input->raw = NULL;
    return TARN_OK;
}

tarn_status tarn_input_open(struct tarn_input *input, const char *path, struct tarn_error *error)
{
    bool standard = strcmp(path, "-") == 0;
    *input = (struct tarn_input){.fd = STDIN_FILENO};
    const char *name = standard ? "standard input" : path;
    input->name = tarn_text_copy(name, strlen(name), "");
    if (input->name == NULL)
        return no_memory(input, error);
    if (!standard) {
        input->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (input->fd < 0) {
            tarn_status status = tarn_fail(error, errno == ENOENT ? TARN_NOT_FOUND : TARN_IO,
                                           "%s: %s", path, strerror(errno));
            tarn_input_close(input);
            return status;
        }
        input->owns_fd = true;
    }
    struct stat info;
    if (fstat(input->fd, &info) == 0 && S_ISREG(info.st_mode))
        input->raw_size = (uint64_t)info.st_size;
    tarn_status status = start(input, error);
    if (status != TARN_OK)
        tarn_input_close(input);
    return status;
}

tarn_status tarn_input_open_memory(struct tarn_input *input, const void *data, size_t size,
                                   struct tarn_error *error)
{
    *input = (struct tarn_input){.fd = -1, .memory_size = size, .raw_size = size};
    input->memory = data != NULL ? data : (const uint8_t *)"";
    input->name = tarn_text_copy("memory", 6, "");
    tarn_status status = input->name != NULL ? start(input, error) : no_memory(input, error);
    if (status != TARN_OK)
        tarn_input_close(input);
    return status;
}

void tarn_input_close(struct tarn_input *input)
{
#if HAVE_ZSTD
    ZSTD_freeDStream(input->stream);
#endif
    if (input->owns_fd)
        close(input->fd);
    tarn_free(input->buffer);
    tarn_free(input->raw);
    tarn_free(input->name);
    *input = (struct tarn_input){.fd = -1};
}

tarn_status tarn_input_fill(struct tarn_input *input, size_t want, struct tarn_error *error)
{
    size_t left = tarn_input_left(input);
    if (left >= want || input->finished)
        return TARN_OK;
    if (want > input->room) {
        size_t room = input->room;
        while (room < want)
            room *= 2;
        uint8_t *grown = tarn_alloc(room);
        if (grown == NULL)
            return no_memory(input, error);
        memcpy(grown, input->at, left);
        tarn_free(input->buffer);
        input->buffer = grown;
        input->room = room;
    } else {
        memmove(input->buffer, input->at, left);
    }
    input->at = input->buffer;
    input->end = input->buffer + left;
    while (left < want && !input->finished) {
        size_t got = 0;
        tarn_status status;
#if HAVE_ZSTD
        if (input->compressed)
            status = read_zstd(input, input->buffer + left, input->room - left, &got, error);
        else
#endif
            status = read_raw(input, input->buffer + left, input->room - left, &got, error);
        if (status != TARN_OK)
            return status;
        left += got;
        input->end += got;
        input->end_offset += got;
        input->finished = got == 0;
    }
    return TARN_OK;
}

double tarn_input_progress(const struct tarn_input *input)
{
    if (input->raw_size == 0)
        return -1;
    uint64_t ahead = input->compressed ? 0 : tarn_input_left(input);
    /* A memory window is never read raw: its end is where it started from. */
    uint64_t read =
        input->memory != NULL && !input->compressed ? input->end_offset : input->raw_read;
    double share = (double)(read - ahead) / (double)input->raw_size;
    return share > 1 ? 1 : share;
}
