/* SPDX-License-Identifier: Apache-2.0 */
/** @file Small traces in memory for the tests of src/sim. */
#ifndef TARN_TESTS_SIM_TRACE_H
#define TARN_TESTS_SIM_TRACE_H

#include <stdlib.h>

#include "base/rng.h"
#include "trace/trace.h"

static inline void sim_trace_free(struct tarn_trace_data *trace)
{
    free(trace->object);
    free(trace->size);
    free(trace->next);
    free(trace->op);
    *trace = (struct tarn_trace_data){0};
}

/* Fills in what follows from object, size and op. Every object below `objects` counts. */
static inline void sim_trace_finish(struct tarn_trace_data *trace)
{
    uint32_t *later = malloc(trace->objects * sizeof *later);
    trace->unit_sizes = 1;
    trace->footprint = 0;
    for (uint32_t i = 0; i < trace->objects; i++)
        later[i] = UINT32_MAX;
    for (size_t i = trace->count; i-- > 0;) {
        if (later[trace->object[i]] == UINT32_MAX)
            trace->footprint += trace->size[i];
        trace->next[i] = later[trace->object[i]];
        later[trace->object[i]] = (uint32_t)i;
        trace->unit_sizes &= trace->size[i] == 1;
    }
    free(later);
}

static inline struct tarn_trace_data sim_trace_alloc(size_t count, uint32_t objects)
{
    struct tarn_trace_data trace = {.name = (char *)"test", .count = count, .objects = objects};
    trace.object = calloc(count, sizeof *trace.object);
    trace.size = calloc(count, sizeof *trace.size);
    trace.next = calloc(count, sizeof *trace.next);
    return trace;
}

/* Skewed popularity with a scan now and then; sizes 1, or 1 to `size_max` an object. */
static inline struct tarn_trace_data
sim_trace_random(size_t count, uint32_t objects, uint32_t size_max, int with_ops, uint64_t seed)
{
    struct tarn_trace_data trace = sim_trace_alloc(count, objects);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    if (with_ops)
        trace.op = calloc(count, 1);
    for (size_t i = 0; i < count; i++) {
        double u = tarn_rng_double(&rng);
        trace.object[i] =
            (i / 64) % 5 == 4 ? (uint32_t)(i % objects) : (uint32_t)(u * u * u * (double)objects);
        uint64_t mix = trace.object[i] * 0x9e3779b97f4a7c15u + seed;
        trace.size[i] = 1 + tarn_splitmix64(&mix) % size_max;
        if (with_ops) {
            uint32_t kind = tarn_rng_below(&rng, 10);
            trace.op[i] = kind == 0   ? TARN_TRACE_DELETE
                          : kind <= 2 ? TARN_TRACE_PUT
                                      : TARN_TRACE_GET;
            if (trace.op[i] == TARN_TRACE_PUT)
                trace.size[i] = 1 + tarn_rng_below(&rng, size_max);
        }
    }
    sim_trace_finish(&trace);
    return trace;
}

/* Unit sizes, in turns: a loop a little too large for 500 objects, what was wanted lately, skew. */
static inline struct tarn_trace_data sim_trace_phases(size_t count, uint32_t objects, uint64_t seed)
{
    struct tarn_trace_data trace = sim_trace_alloc(count, objects);
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    for (size_t i = 0; i < count; i++) {
        double u = tarn_rng_double(&rng);
        size_t phase = i / 6000 % 3;
        trace.object[i] = phase == 0   ? (uint32_t)(i % 600)
                          : phase == 1 ? (uint32_t)((i / 8 + (size_t)(u * u * 800)) % objects)
                                       : (uint32_t)(u * u * u * u * (double)objects);
        trace.size[i] = 1;
    }
    sim_trace_finish(&trace);
    return trace;
}

#endif
