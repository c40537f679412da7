/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Status codes: every fallible function returns one, results come through out-parameters.
 *
 * Thread-safety: everything here is pure and may be called from any thread.
 */
#ifndef TARN_STATUS_H
#define TARN_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define TARN_API               __attribute__((visibility("default")))
#define TARN_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define TARN_API
#define TARN_PRINTF(fmt, args)
#endif

/** X(NAME, number, "text for a person"). Numbers are part of the ABI and never reused. */
#define TARN_STATUS_LIST(X)                                                                        \
    X(OK, 0, "done")                                                                               \
    X(INVALID, 1, "invalid argument")                                                              \
    X(NO_MEMORY, 2, "out of memory")                                                               \
    X(NOT_FOUND, 3, "not found")                                                                   \
    X(TOO_LARGE, 4, "too large")                                                                   \
    X(CORRUPT, 5, "damaged or not in the expected format")                                         \
    X(IO, 6, "input/output error")                                                                 \
    X(NO_DEVICE, 7, "no such device")                                                              \
    X(DEVICE_LOST, 8, "the device stopped answering")                                              \
    X(DEVICE_MEMORY, 9, "out of device memory")                                                    \
    X(TIMEOUT, 10, "timed out")                                                                    \
    X(BUSY, 11, "busy")                                                                            \
    X(UNSUPPORTED, 12, "not supported")                                                            \
    X(COMPILE, 13, "the kernel does not compile on this device")                                   \
    X(END, 14, "end of data")                                                                      \
    X(DRIVER, 15, "the driver reported an error")                                                  \
    X(QUARANTINED, 16, "not used on this device: it was found wrong there")                        \
    X(COOLDOWN, 17, "it failed not long ago: not tried again yet")

typedef enum tarn_status {
#define TARN_STATUS_ENUM(name, number, text) TARN_##name = (number),
    TARN_STATUS_LIST(TARN_STATUS_ENUM)
#undef TARN_STATUS_ENUM
} tarn_status;

/** The name of a status ("NO_MEMORY"), a static string; "UNKNOWN" for a number that is none. */
TARN_API const char *tarn_status_name(tarn_status status);

/** One sentence for a person, a static string. */
TARN_API const char *tarn_status_message(tarn_status status);

/**
 * Where a function can say more than a code (a file's line, a driver's log), it takes a
 * `struct tarn_error *`, which may be NULL. It is written only on failure and needs no freeing.
 */
struct tarn_error {
    tarn_status status;
    char message[400]; /**< what, where, why; NUL-terminated, one line */
};

#ifdef __cplusplus
}
#endif

#endif
