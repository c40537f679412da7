/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What a baseline policy is made of, for the files of this room. Objects are dense numbers below
 * `trace->objects`; `size[object]` is 0 while the object is absent. A policy keeps `size`, `used`
 * right by entering and leaving objects through the two functions below.
 */
#ifndef TARN_SIM_POLICY_H
#define TARN_SIM_POLICY_H

#include "baseline.h"

struct tarn_sim_ops {
    const char *name;
    size_t state; /**< bytes of the policy's struct, whose first member is a struct tarn_baseline */
    /** Allocates; what it allocated is freed by `release` even if it failed half-way. */
    tarn_status (*init)(struct tarn_baseline *self);
    void (*release)(struct tarn_baseline *self);
    /** Request `index` found `object`. */
    void (*hit)(struct tarn_baseline *self, uint32_t object, uint32_t index);
    /** `object`, absent and at most as large as the limit, asks to come in: makes room, enters it.
     */
    void (*admit)(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index);
    /** A resident was deleted: unlinks it and lets it leave. */
    void (*forget)(struct tarn_baseline *self, uint32_t object);
};

struct tarn_baseline {
    const struct tarn_sim_ops *ops;
    const struct tarn_trace_data *trace;
    uint64_t capacity, used, seed;
    uint64_t *size; /**< [trace->objects] */
    uint32_t residents;
    bool count_objects; /**< sizes are all taken as 1 */
    bool weigh_costs;   /**< the costs of misses count, where the trace has them */
};

static inline void tarn_sim_enter(struct tarn_baseline *self, uint32_t object, uint64_t size)
{
    self->size[object] = size;
    self->used += size;
    self->residents++;
}

static inline void tarn_sim_leave(struct tarn_baseline *self, uint32_t object)
{
    self->used -= self->size[object];
    self->size[object] = 0;
    self->residents--;
}

/** About how many objects fit: the limit over the mean size in the trace's requests, at least 1. */
double tarn_sim_expected_objects(const struct tarn_baseline *self);

extern const struct tarn_sim_ops tarn_sim_lru, tarn_sim_fifo, tarn_sim_clock, tarn_sim_sieve,
    tarn_sim_slru, tarn_sim_arc, tarn_sim_lfu, tarn_sim_s3fifo, tarn_sim_wtinylfu, tarn_sim_gdsf,
    tarn_sim_lhd, tarn_sim_belady;

#endif
