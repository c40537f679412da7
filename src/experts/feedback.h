/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What decisions cost, kept: the sums and the bounded time series of <tarn/feedback.h>, and their file. Nothing
 * is allocated but by tarn_feedback_create(). One thread at a time.
 */
#ifndef TARN_EXPERTS_FEEDBACK_H
#define TARN_EXPERTS_FEEDBACK_H

#include <tarn/feedback.h>

#define TARN_FEEDBACK_NAME "feedback" /* in the state folder */
#define TARN_FEEDBACK_SPAN 2048       /* requests of the first records */

/** Empty. `names`: of the experts, NULL where there is none. TARN_NO_MEMORY. */
tarn_status tarn_feedback_create(const char *const names[TARN_FEEDBACK_EXPERTS],
                                 struct tarn_feedback **feedback);

/**
 * What happened since the last call; `record` has the figures of this time alone. When the series is full,
 * neighbours become one record and the span doubles.
 */
void tarn_feedback_add(struct tarn_feedback *feedback, const struct tarn_feedback_record *record);

/* ---- the file: docs/workloads.md ---- */

/** Bytes of the largest file. */
size_t tarn_feedback_file_limit(void);
/** Writes at most tarn_feedback_file_limit() bytes; returns how many. */
size_t tarn_feedback_encode(const struct tarn_feedback *feedback, uint8_t *to);
/**
 * TARN_CORRUPT (damaged, or no such file), TARN_UNSUPPORTED (of a later release): `*feedback` is undefined.
 * `where` is for the message.
 */
tarn_status tarn_feedback_decode(const uint8_t *data, size_t size, const char *where,
                                 struct tarn_feedback *feedback, struct tarn_error *error);

#endif
