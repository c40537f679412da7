/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Cache traces as streams of requests: readers for the formats oracle, csv, keys and tarn, each as
 * it is or compressed by zstd, from a file or standard input; and a writer of the compact format.
 * A reader belongs to one thread at a time.
 */
#ifndef TARN_TRACE_TRACE_H
#define TARN_TRACE_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/status.h>

typedef enum tarn_trace_format {
    TARN_TRACE_AUTO,
    TARN_TRACE_ORACLE, /* libCacheSim's oracleGeneral: packed LE u32 time, u64 id, u32 size, i64
                          next */
    TARN_TRACE_CSV,
    TARN_TRACE_KEYS, /* a key a line */
    TARN_TRACE_TARN, /* docs/trace-format.md */
} tarn_trace_format;

typedef enum tarn_trace_op {
    TARN_TRACE_GET, /* a lookup, with the object stored on a miss */
    TARN_TRACE_PUT, /* an overwrite */
    TARN_TRACE_DELETE,
} tarn_trace_op;

struct tarn_request {
    uint64_t time; /**< seconds, or the request's number where the trace has no time */
    uint64_t key;  /**< the id, or a 64-bit hash of a textual key */
    uint64_t size; /**< bytes, >= 1 (a size of 0 in the file counts 1) */
    tarn_trace_op op;
    uint8_t tag;   /**< 1 to 7: its kind, as the caller names it; 0: none */
    float cost_us; /**< what a miss of it costs the caller, finite; 0: not known */
};

#define TARN_TRACE_TAGS 7

struct tarn_trace_params {
    tarn_trace_format format;
    const char *
        columns; /**< csv: names by position, "time,key,size,op,tag,cost"; unknown names are skipped */
};

typedef struct tarn_trace tarn_trace;

/** `path` "-" is standard input. TARN_CORRUPT, TARN_NOT_FOUND … name the file and the place. */
tarn_status tarn_trace_open(const char *path, const struct tarn_trace_params *params,
                            tarn_trace **trace, struct tarn_error *error);
/** The same over bytes in memory, which must outlive the reader (used by the fuzzer). */
tarn_status tarn_trace_open_memory(const void *data, size_t size,
                                   const struct tarn_trace_params *params, tarn_trace **trace,
                                   struct tarn_error *error);
void tarn_trace_close(tarn_trace **trace);
/** The format that was found. */
tarn_trace_format tarn_trace_get_format(const tarn_trace *trace);
const char *tarn_trace_format_name(tarn_trace_format format);
/** The format of that name; TARN_INVALID if there is none. */
tarn_status tarn_trace_format_parse(const char *name, tarn_trace_format *format);
/** The format that a file's endings mean (.oracleGeneral .csv .keys .txt .tarn, before .zst and
 * .bin), or TARN_TRACE_AUTO. */
tarn_trace_format tarn_trace_format_of_path(const char *path);
/** Length of the path without those endings. */
size_t tarn_trace_stem_length(const char *path);
/** False where the requests' times are only their numbers. */
bool tarn_trace_has_time(const tarn_trace *trace);
/** False where no request can have a tag, or a cost. */
bool tarn_trace_has_tag(const tarn_trace *trace);
bool tarn_trace_has_cost(const tarn_trace *trace);

/**
 * Reads up to `room` requests. TARN_OK with *count > 0, TARN_END with 0 at a clean end, or an error
 * that names the line or the byte offset (a truncated last record is TARN_CORRUPT).
 */
tarn_status tarn_trace_read(tarn_trace *trace, struct tarn_request *requests, size_t room,
                            size_t *count, struct tarn_error *error);

/** Share of the input that was read, in [0, 1]; negative where its size isn't known (a pipe). */
double tarn_trace_progress(const tarn_trace *trace);

/** A whole trace in memory: requests by dense object number. */
struct tarn_trace_data {
    char *name;               /**< the file's base name without endings */
    tarn_trace_format format; /**< that was found */
    size_t count;             /**< requests */
    uint32_t objects;         /**< distinct keys */
    uint32_t *object;   /**< [count] the object of each request, numbered by first appearance */
    uint64_t *size;     /**< [count] bytes, or 1 with unit sizes */
    uint32_t *next;     /**< [count] index of the object's next request, UINT32_MAX: none */
    uint8_t *op;        /**< [count] tarn_trace_op, NULL if all are gets */
    uint64_t *time;     /**< [count] seconds, NULL if the trace has none */
    uint8_t *tag;       /**< [count] NULL if none has any */
    float *cost;        /**< [count] us, NULL if none is known */
    uint64_t *key;      /**< [objects] */
    uint64_t footprint; /**< sum of each object's last size */
    int unit_sizes;     /**< every size is 1 */
};

struct tarn_trace_load_params {
    struct tarn_trace_params trace;
    uint64_t limit; /**< first requests only; 0: all */
    int unit_size;  /**< count every object as 1 */
    /** Progress in [0, 1] or negative, about 10 times a second; may be NULL. */
    void (*progress)(void *user, double share);
    void *user;
};

/** At most 2^32 - 2 requests and objects. An empty trace is TARN_CORRUPT. */
tarn_status tarn_trace_load(const char *path, const struct tarn_trace_load_params *params,
                            struct tarn_trace_data **data, struct tarn_error *error);
void tarn_trace_data_free(struct tarn_trace_data **data);

/* ---- writing ---- */

struct tarn_trace_writer_params {
    tarn_trace_format format; /**< TARN_TRACE_AUTO: as the path's endings say, or else tarn */
    bool has_time;            /**< the requests' times are worth keeping */
    bool has_tag, has_cost; /**< csv, tarn: their tags and costs are kept; else they are dropped */
};

typedef struct tarn_trace_writer tarn_trace_writer;

/**
 * Starts a trace that appears at `path` when it is finished ("-": standard output; .zst
 * compresses). The oracle format keeps all of its records in memory (24 bytes each) until then, and
 * refuses what it can't hold (puts, deletes, sizes and times from 2^32, tags, costs) with
 * TARN_UNSUPPORTED; keys drops everything but the key. One thread at a time.
 */
tarn_status tarn_trace_writer_create(const char *path,
                                     const struct tarn_trace_writer_params *params,
                                     tarn_trace_writer **writer, struct tarn_error *error);
tarn_status tarn_trace_writer_add(tarn_trace_writer *writer, const struct tarn_request *requests,
                                  size_t count, struct tarn_error *error);
tarn_trace_format tarn_trace_writer_get_format(const tarn_trace_writer *writer);
/** Puts the file in place. The writer is gone afterwards, whatever is returned. */
tarn_status tarn_trace_writer_finish(tarn_trace_writer **writer, struct tarn_error *error);
/** Ends the writer without a file. */
void tarn_trace_writer_abandon(tarn_trace_writer **writer);

#endif
