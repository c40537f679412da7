/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What was found out about a device's kernels: good, or not to be used and why. Remembered for each
 * device, driver and compiled code in the program cache's folder; without one, for the life of the
 * device. Who tries a kernel that was never tried says so first (tarn_quarantine_begin()): a driver
 * that kills the process is so found out by the next start.
 *
 * A fingerprint's upper half stands for the kernel's code, the lower one for its variant (defines,
 * sizes). What is shown to a person are the verdicts on the code that was asked for last.
 *
 * Thread-safety: any thread. Of two processes that write at once one is forgotten, which costs a
 * repeated check.
 */
#ifndef TARN_GPU_QUARANTINE_H
#define TARN_GPU_QUARANTINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tarn/gpu.h>

typedef enum tarn_verdict {
    TARN_VERDICT_NONE, /**< not tried yet, or the record is lost */
    TARN_VERDICT_GOOD,
    TARN_VERDICT_BAD,
} tarn_verdict;

enum { TARN_QUARANTINE_TEXT = 200 };

/** True if TARN_QUARANTINE names this kernel of the device "DEVICE/KERNEL"; a * stands for any. */
bool tarn_quarantine_forced(const char *device_id, const char *kernel);

/**
 * What is remembered of a kernel's code. BAD writes why. A try that was begun in two processes which
 * are both gone, and never ended, is BAD: it killed them.
 */
tarn_verdict tarn_quarantine_get(tarn_device *device, const char *kernel, uint64_t fingerprint,
                                 char why[TARN_QUARANTINE_TEXT]);
/** To be called before a kernel is built or run for the first time; ended by tarn_quarantine_set(). */
void tarn_quarantine_begin(tarn_device *device, const char *kernel, uint64_t fingerprint);
/** Remembers a verdict on a kernel's code; `why` may be NULL where it is good. */
void tarn_quarantine_set(tarn_device *device, const char *kernel, uint64_t fingerprint,
                         tarn_verdict verdict, const char *why);

#endif
