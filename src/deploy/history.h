/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What became of each version of a model: an append-only journal that survives restarts, power cuts
 * and full disks (docs/history-format.md). Bounded: old steps of training
 * leave, then what is oldest.
 *
 * Adding is a copy in memory; tarn_history_flush() writes, from the background. Time that decides
 * anything is counted in requests: the clock on the wall (1970, or set back) is kept for people.
 *
 * Ownership: tarn_history_close(). Thread-safety: any thread, but for open and close. One process at a
 * time uses a file.
 */
#ifndef TARN_DEPLOY_HISTORY_H
#define TARN_DEPLOY_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/bundle.h"

/** X(NAME, number, "what happened"); numbers are in files and never reused. */
#define TARN_EVENT_LIST(X)                                                                         \
    X(MARK, 0, "older records were dropped")                                                       \
    X(SWAP, 1, "went live")                                                                        \
    X(ROLLBACK, 2, "went live again in place of a later one")                                      \
    X(REJECT, 3, "was not let in")                                                                 \
    X(PIN, 4, "was pinned")                                                                        \
    X(UNPIN, 5, "was unpinned")

/** X(NAME, number, "why"); the same. */
#define TARN_REASON_LIST(X)                                                                        \
    X(NONE, 0, "")                                                                                 \
    X(START, 1, "start")                                                                           \
    X(TRAINED, 2, "trained here")                                                                  \
    X(IMPORTED, 3, "imported")                                                                     \
    X(MANUAL, 4, "asked for")                                                                      \
    X(GATE, 5, "failed the gate")                                                                  \
    X(CANARY, 6, "failed as a canary")                                                             \
    X(REGRESSION, 7, "missed more than before")                                                    \
    X(RESTART, 8, "drift: restarted from a stored version")

/** X(NAME, number, "figure"); the same. */
#define TARN_METRIC_LIST(X)                                                                        \
    X(MISS_RATIO, 1, "miss ratio")                                                                 \
    X(PARENT_MISS_RATIO, 2, "miss ratio of the version before")                                    \
    X(LRU_MISS_RATIO, 3, "miss ratio of LRU")                                                      \
    X(LOSS, 4, "loss on held-out keys")                                                            \
    X(PARENT_LOSS, 5, "loss of the version before")                                                \
    X(DISTANCE, 6, "distance of weights")

#define TARN_HISTORY_ENUM_EVENT(name, number, text)  TARN_EVENT_##name = (number),
#define TARN_HISTORY_ENUM_REASON(name, number, text) TARN_REASON_##name = (number),
#define TARN_HISTORY_ENUM_METRIC(name, number, text) TARN_METRIC_##name = (number),
typedef enum tarn_event_kind { TARN_EVENT_LIST(TARN_HISTORY_ENUM_EVENT) } tarn_event_kind;
typedef enum tarn_reason { TARN_REASON_LIST(TARN_HISTORY_ENUM_REASON) } tarn_reason;
typedef enum tarn_metric_kind { TARN_METRIC_LIST(TARN_HISTORY_ENUM_METRIC) } tarn_metric_kind;
#undef TARN_HISTORY_ENUM_EVENT
#undef TARN_HISTORY_ENUM_REASON
#undef TARN_HISTORY_ENUM_METRIC

/** Static text; "?" for a number of a later release. */
const char *tarn_event_text(uint8_t event);
const char *tarn_reason_text(uint8_t reason);
const char *tarn_metric_text(uint16_t metric);

#define TARN_HISTORY_METRICS 8
#define TARN_HISTORY_TEXT    96

struct tarn_metric {
    uint16_t kind; /**< enum tarn_metric_kind */
    float value;   /**< finite: others are dropped */
};

/** Why something is done, as its caller knows. */
struct tarn_change {
    tarn_reason reason;
    bool failed;       /**< a rollback because the version was bad: an equal one waits */
    uint64_t requests; /**< now, counted over all starts (see tarn_history_requests()) */
    int64_t unix_ms;   /**< the clock on the wall, whatever it says; 0: not known */
    uint32_t metrics;  /**< used of `metric` */
    struct tarn_metric metric[TARN_HISTORY_METRICS];
    const char *text; /**< for a person; cut at TARN_HISTORY_TEXT - 1 bytes; NULL: none */
};

/** One record. */
struct tarn_history_record {
    uint64_t sequence; /**< 1, 2, ...; given by the history */
    uint8_t kind;      /**< enum tarn_event_kind */
    uint8_t reason;    /**< enum tarn_reason */
    bool failed;       /**< `subject` is bad */
    uint8_t metrics;
    uint64_t version; /**< live afterwards; of REJECT: the one that was not let in */
    uint64_t parent;  /**< of `version`; of ROLLBACK: the version that was left */
    uint64_t hash;    /**< of the bundle that was let in, left or turned away */
    uint64_t requests;
    int64_t unix_ms;
    struct tarn_metric metric[TARN_HISTORY_METRICS];
    char text[TARN_HISTORY_TEXT];
};

typedef struct tarn_history tarn_history;

struct tarn_history_params {
    const char *path; /**< NULL: in memory only */
    uint32_t limit;   /**< records kept at most; 0: 128 */
};

/**
 * Reads what is there; a file that isn't is an empty history. A torn end is left out, and so is a
 * record that was damaged (tarn_history_damaged()). TARN_CORRUPT: some other file, left alone.
 */
tarn_status tarn_history_open(const struct tarn_history_params *params, tarn_history **history,
                              struct tarn_error *error);
/** Without flushing. Accepts NULL. */
void tarn_history_close(tarn_history **history);

/** Adds a record, in memory; kind, version, parent and hash as given, the rest from `change`. */
void tarn_history_add(tarn_history *history, tarn_event_kind kind, uint64_t version,
                      uint64_t parent, uint64_t hash, const struct tarn_change *change);
/**
 * Writes and syncs what isn't yet; nothing to do is TARN_OK. On an error (a full disk) the file holds
 * what it held before, and the records go with the next call.
 */
tarn_status tarn_history_flush(tarn_history *history, struct tarn_error *error);

/** Copies up to `room` records, the newest of those kept, oldest first; returns how many. */
size_t tarn_history_read(tarn_history *history, struct tarn_history_record *events, size_t room);
/** Records kept. */
size_t tarn_history_count(tarn_history *history);
/** The highest version number ever given, 0 if none. */
uint64_t tarn_history_version(tarn_history *history);
/** The latest time in requests that it knows of: where a new start counts on from. */
uint64_t tarn_history_requests(tarn_history *history);
/** Bytes that were not understood when it was opened. */
size_t tarn_history_damaged(const tarn_history *history);

#define TARN_HISTORY_MODELS 4
/**
 * Saves the model of a version that failed beside the history's file, for inspection: as
 * PATH.failed-K.model, K = version mod TARN_HISTORY_MODELS, so that there are never more. The record of
 * the version has the reason. Nothing without a path. TARN_IO.
 */
tarn_status tarn_history_keep_model(tarn_history *history, const struct tarn_bundle *bundle,
                                    struct tarn_error *error);

/* ---- the format ---- */

#define TARN_HISTORY_HEADER     16
#define TARN_HISTORY_RECORD_MAX 256
#define TARN_HISTORY_FILE_MAX   (1u << 20)
#define TARN_HISTORY_LIMIT_MAX  4000 /* records of the largest size fit into such a file */

/** Writes the file's header. */
void tarn_history_write_header(uint8_t *to);
/** Writes a record of at most TARN_HISTORY_RECORD_MAX bytes; returns its size. */
size_t tarn_history_encode(const struct tarn_history_record *event, uint8_t *to);

struct tarn_history_reader {
    const uint8_t *data;
    size_t size, at, damaged;
};
/** TARN_CORRUPT if it is no history; an empty or torn header is an empty history. */
tarn_status tarn_history_reader_init(struct tarn_history_reader *reader, const uint8_t *data,
                                     size_t size, const char *where, struct tarn_error *error);
/** The next whole record; false at the end. */
bool tarn_history_next(struct tarn_history_reader *reader, struct tarn_history_record *event);

#endif
