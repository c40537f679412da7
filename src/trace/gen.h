/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Generated workloads: models of how caches are used, the same requests for the same seed. The
 * tables describe every model and parameter, for help texts and man pages. One thread at a time.
 */
#ifndef TARN_TRACE_GEN_H
#define TARN_TRACE_GEN_H

#include "trace.h"

/** A parameter, given as NAME=VALUE. */
struct tarn_gen_param {
    const char *name, *fallback, *doc;
    double low, high;  /**< both 0: a word, not a number */
    const char *kinds; /**< the models that know it, separated by spaces; NULL: all */
};

/** A model. */
struct tarn_gen_kind {
    const char *name, *doc;
};

/** The tables, each ending with a row without a name. */
extern const struct tarn_gen_param tarn_gen_params_table[];
extern const struct tarn_gen_kind tarn_gen_kinds[];

struct tarn_gen_params {
    const char *kind;  /**< a name of tarn_gen_kinds */
    uint64_t requests; /**< how many are generated, > 0 */
    uint64_t objects;  /**< about how many keys are in use at a time, 2 … 2^32 */
    uint64_t seed;
    const char *const *settings; /**< "NAME=VALUE", in any order; may be NULL */
    size_t setting_count;
};

typedef struct tarn_gen tarn_gen;

/** TARN_INVALID says which setting is wrong. The settings needn't outlive the call. */
tarn_status tarn_gen_create(const struct tarn_gen_params *params, tarn_gen **gen,
                            struct tarn_error *error);
void tarn_gen_destroy(tarn_gen **gen);
/** The next requests; 0 when all are generated. */
size_t tarn_gen_read(tarn_gen *gen, struct tarn_request *requests, size_t room);
/** False unless the setting `rate` gives the requests times. */
bool tarn_gen_has_time(const tarn_gen *gen);
/** False unless the setting `costs` gives the requests costs. */
bool tarn_gen_has_cost(const tarn_gen *gen);
/** True if requests have tags: those of a site, or two kinds of costs. */
bool tarn_gen_has_tag(const tarn_gen *gen);

#endif
