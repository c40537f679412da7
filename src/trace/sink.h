/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Bytes on their way into a file that appears whole or not at all: a temporary file beside it,
 * synced and renamed by tarn_sink_finish(). Standard output ("-") and special files are written
 * directly. Names that end in .zst are compressed. One thread at a time.
 */
#ifndef TARN_TRACE_SINK_H
#define TARN_TRACE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

struct tarn_sink {
    char *path, *temporary; /* no temporary: written directly */
    int fd;
    bool compressed, owns_fd;
    void *stream;
    uint8_t *buffer; /* compressed, or plain, not yet written */
    size_t used, room;
};

/** On failure nothing needs closing. */
tarn_status tarn_sink_open(struct tarn_sink *sink, const char *path, struct tarn_error *error);
tarn_status tarn_sink_write(struct tarn_sink *sink, const void *data, size_t size,
                            struct tarn_error *error);
/** Ends the stream and puts the file in place; on failure the old file, if any, is untouched. */
tarn_status tarn_sink_finish(struct tarn_sink *sink, struct tarn_error *error);
/** Closes and removes what isn't finished. Fine to call twice and after finish. */
void tarn_sink_close(struct tarn_sink *sink);

#endif
