/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * A window over the bytes of a file, standard input or memory, decompressed on the way if they
 * start as zstd does. One thread at a time.
 */
#ifndef TARN_TRACE_INPUT_H
#define TARN_TRACE_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

struct tarn_input {
    const uint8_t *at, *end; /* the window; the user moves `at` forward */
    uint64_t end_offset;     /* of `end` in the decompressed bytes */
    bool finished;           /* nothing comes behind `end` */
    char *name;              /* for messages */
    bool compressed;

    /* The rest belongs to input.c. */
    int fd;
    bool owns_fd;
    const uint8_t *memory; /* instead of fd */
    size_t memory_size, memory_at;
    uint8_t *buffer; /* what the window shows, unless it shows the memory itself */
    size_t room;
    uint8_t *raw; /* compressed bytes */
    size_t raw_at, raw_end;
    bool raw_finished, in_frame;
    uint64_t raw_read, raw_size; /* raw_size 0: unknown */
    void *stream;
};

/** `path` "-" is standard input. On failure nothing needs closing. */
tarn_status tarn_input_open(struct tarn_input *input, const char *path, struct tarn_error *error);
/** The bytes must outlive the input. */
tarn_status tarn_input_open_memory(struct tarn_input *input, const void *data, size_t size,
                                   struct tarn_error *error);
void tarn_input_close(struct tarn_input *input);

/**
 * Tries to have `want` bytes (at least 1) in the window; fewer only at the end of the data.
 * Pointers into the window are invalid afterwards.
 */
tarn_status tarn_input_fill(struct tarn_input *input, size_t want, struct tarn_error *error);

static inline size_t tarn_input_left(const struct tarn_input *input)
{
    return (size_t)(input->end - input->at);
}

/** Offset of the window's start in the decompressed bytes. */
static inline uint64_t tarn_input_offset(const struct tarn_input *input)
{
    return input->end_offset - tarn_input_left(input);
}

/** Share of the raw bytes that was read; negative where their number isn't known. */
double tarn_input_progress(const struct tarn_input *input);

#endif
