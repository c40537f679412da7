/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What kind of workload a cache is under. The features of stream.h go into two tiny networks of the
 * usual kind (net/net.h): one tells the class, one the shares of a blend. Both say it as discrete hazards
 * over the list of classes, P(class k | none of those before k), which is exact for any distribution (the
 * sequential logit model, Tutz 1991), so that the kernels that train and compute hazards serve unchanged.
 *
 * Every TARN_STREAM_PERIOD requests there is a new verdict (the first ones come sooner); it is the mean of
 * the last few, and another class has to hold for two of them in a row to be named.
 *
 * What all requests were is another question than what the last few thousand are, with another
 * certainty. Two more networks answer it, from the features' and the verdicts' means over the time.
 *
 * Fixed memory, nothing allocated after creation. Not thread-safe: under the cache's lock.
 */
#ifndef TARN_EXPERTS_CLASSIFY_H
#define TARN_EXPERTS_CLASSIFY_H

#include <tarn/workload.h>

#include "model/model.h"
#include "stream.h"

/**
 * What the networks of the whole time see: the features' means; the mean blend; how much blends changed,
 * how sure they were, and how much of the time's chances one class had.
 */
#define TARN_WORKLOAD_INPUTS (TARN_STREAM_STEADY + TARN_WORKLOAD_PARTS + 3)

/** What the built-in networks have between inputs and outputs. */
enum { TARN_WORKLOAD_HIDDEN1 = 64, TARN_WORKLOAD_HIDDEN2 = 32 };

/** The networks. */
enum {
    TARN_WORKLOAD_NOW_CLASS,   /**< TARN_STREAM_FEATURES inputs, TARN_WORKLOADS - 1 hazards */
    TARN_WORKLOAD_NOW_BLEND,   /**< and TARN_WORKLOAD_PARTS - 1 */
    TARN_WORKLOAD_WHOLE_CLASS, /**< the same of the whole time, with TARN_WORKLOAD_INPUTS */
    TARN_WORKLOAD_WHOLE_BLEND,
    TARN_WORKLOAD_NETWORKS,
};

struct tarn_workload;

struct tarn_workload_params {
    /** NULL: the one that is built in. Copied. */
    const struct tarn_model *network[TARN_WORKLOAD_NETWORKS];
};

/** TARN_UNSUPPORTED: a network of another shape. `params` may be NULL. */
tarn_status tarn_workload_create(const struct tarn_workload_params *params,
                                 struct tarn_workload **workload, struct tarn_error *error);
void tarn_workload_destroy(struct tarn_workload **workload);

/**
 * What a stream's features were after so many requests, where they were kept: as if the stream had been
 * seen. Either these for a classifier, or requests.
 */
void tarn_workload_look(struct tarn_workload *workload, const int8_t features[TARN_STREAM_FEATURES],
                        uint64_t requests);

/** A request; see tarn_stream_access(). */
void tarn_workload_access(struct tarn_workload *workload, uint64_t hash, float size_lg);
/** See tarn_stream_size(). */
void tarn_workload_size(struct tarn_workload *workload, uint64_t hash, float size_lg);
/** An overwrite. */
void tarn_workload_write(struct tarn_workload *workload);

struct tarn_workload_report {
    struct tarn_workload_verdict now;
    /**
     * Of the whole time, by the networks for that: where these give something that isn't a number, the
     * mean of the blends, its name and the mean of that class's chances.
     */
    struct tarn_workload_verdict overall;
    uint64_t changes;     /**< times that another class was named */
    uint64_t evaluations; /**< verdicts so far */
    struct tarn_stream_figures stream;
};
void tarn_workload_get_report(const struct tarn_workload *workload,
                              struct tarn_workload_report *report);

/** Only what is said of the present: cheap. Confidence 0: nothing was seen yet. */
void tarn_workload_get_present(const struct tarn_workload *workload,
                               struct tarn_workload_verdict *verdict);

/** What the networks of the whole time are asked now, in steps of TARN_FEATURE_STEP. Zeros before any verdict. */
void tarn_workload_get_inputs(const struct tarn_workload *workload,
                              int8_t inputs[TARN_WORKLOAD_INPUTS]);

/** Bytes that a classifier holds. */
size_t tarn_workload_memory(const struct tarn_workload *workload);

/**
 * What a blend (shares, sum 1) is called. Popular objects are the background of nearly everything: less
 * than 15 % of anything else is ZIPF; else the one that makes up two thirds of what isn't zipf; else MIXED.
 */
tarn_workload_class tarn_workload_of_blend(const float blend[TARN_WORKLOAD_PARTS]);

/** Chances of `count` (2 or more) classes from count - 1 hazards' logits, `stride` apart. */
void tarn_workload_chances(const float *logits, size_t stride, uint32_t count, float *chances);

#endif
