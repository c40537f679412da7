/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Kinds of workload, and what a stream of requests is taken for: docs/workloads.md.
 */
#ifndef TARN_WORKLOAD_H
#define TARN_WORKLOAD_H

#include <stdint.h>

#include <tarn/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum tarn_workload_class {
    TARN_WORKLOAD_ZIPF, /**< independent requests, some objects more popular than others */
    TARN_WORKLOAD_SCAN, /**< runs of new objects, or of old ones in sequence, between other requests */
    TARN_WORKLOAD_LOOP,    /**< the same objects round and round */
    TARN_WORKLOAD_RECENCY, /**< what was wanted lately is wanted again */
    TARN_WORKLOAD_BURST, /**< new objects are wanted often for a short time and then never again */
    TARN_WORKLOAD_MIXED, /**< several of these, none of which prevails */
    TARN_WORKLOADS,
} tarn_workload_class;

/** The classes that a blend consists of: all but MIXED. */
#define TARN_WORKLOAD_PARTS 5

/** "zipf" and so on; "unknown" for what is none. */
TARN_API const char *tarn_workload_name(tarn_workload_class workload);

/** A verdict. */
struct tarn_workload_verdict {
    tarn_workload_class top;
    float confidence; /**< chance that `top` is right, in [0, 1]; 0: nothing was seen yet */
    float blend[TARN_WORKLOAD_PARTS]; /**< share of the requests that are of each class, sum 1 */
};

#ifdef __cplusplus
}
#endif

#endif
