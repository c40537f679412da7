/* SPDX-License-Identifier: Apache-2.0 */
#include "baseline.h"

#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "policy.h"

/* In the order of presentation. */
static const struct tarn_sim_ops *const policies[] = {
    &tarn_sim_lru,      &tarn_sim_fifo, &tarn_sim_clock, &tarn_sim_slru,
    &tarn_sim_arc,      &tarn_sim_lfu,  &tarn_sim_sieve, &tarn_sim_s3fifo,
    &tarn_sim_wtinylfu, &tarn_sim_gdsf, &tarn_sim_lhd,   &tarn_sim_belady,
};
enum { POLICIES = sizeof policies / sizeof policies[0] };

const char *tarn_baseline_name(size_t index)
{
    return index < POLICIES ? policies[index]->name : NULL;
}

static const struct tarn_sim_ops *find(const char *name)
{
    for (size_t i = 0; i < POLICIES; i++)
        if (strcmp(policies[i]->name, name) == 0)
            return policies[i];
    return NULL;
}

bool tarn_baseline_known(const char *name)
{
    return find(name) != NULL;
}

double tarn_sim_expected_objects(const struct tarn_baseline *self)
{
    const struct tarn_trace_data *trace = self->trace;
    double sum = 0, mean = 1;
    if (!trace->unit_sizes && !self->count_objects) {
        for (size_t i = 0; i < trace->count; i++)
            sum += (double)trace->size[i];
        mean = sum / (double)trace->count;
    }
    double expected = (double)self->capacity / (mean >= 1 ? mean : 1);
    return expected >= 1 ? expected : 1;
}

tarn_status tarn_baseline_create(const char *name, const struct tarn_trace_data *trace,
                                 uint64_t capacity, const struct tarn_run_params *params,
                                 tarn_baseline **baseline, struct tarn_error *error)
{
    const struct tarn_sim_ops *ops = find(name);
    if (ops == NULL)
        return tarn_fail(error, TARN_NOT_FOUND, "no policy is called \"%s\"", name);
    /* Half of the range, so that used + size never overflows. */
    if (capacity == 0 || capacity > UINT64_MAX / 4)
        return tarn_fail(error, TARN_INVALID, "%s: a cache of size %llu can't be simulated", name,
                         (unsigned long long)capacity);
    struct tarn_baseline *self = tarn_alloc_zeroed(1, ops->state);
    if (self == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", name);
    self->ops = ops;
    self->trace = trace;
    self->capacity = capacity;
    self->seed = params->seed;
    self->count_objects = params->count_objects;
    self->weigh_costs = params->weigh_costs && trace->cost != NULL;
    self->size = tarn_alloc_zeroed(trace->objects, sizeof *self->size);
    if (self->size == NULL || ops->init(self) != TARN_OK) {
        tarn_baseline_destroy(&self);
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory for %u objects", name,
                         trace->objects);
    }
    *baseline = self;
    return TARN_OK;
}

void tarn_baseline_destroy(tarn_baseline **baseline)
{
    if (baseline == NULL || *baseline == NULL)
        return;
    (*baseline)->ops->release(*baseline);
    tarn_free((*baseline)->size);
    tarn_free(*baseline);
    *baseline = NULL;
}

uint64_t tarn_baseline_used(const tarn_baseline *baseline)
{
    return baseline->used;
}

/* A get: the request path, kept small so that it is inlined in the run's loop. */
static inline bool get(struct tarn_baseline *self, const struct tarn_sim_ops *ops, uint32_t object,
                       uint64_t size, uint32_t index)
{
    if (self->size[object] != 0) {
        ops->hit(self, object, index);
        return true;
    }
    if (size <= self->capacity)
        ops->admit(self, object, size, index);
    return false;
}

static bool change(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index,
                   tarn_trace_op op)
{
    bool resident = self->size[object] != 0;
    if (resident && (op == TARN_TRACE_DELETE || self->size[object] != size))
        self->ops->forget(self, object);
    if (op == TARN_TRACE_PUT)
        get(self, self->ops, object, size, index);
    return resident;
}

bool tarn_baseline_access(tarn_baseline *baseline, uint32_t index)
{
    const struct tarn_trace_data *trace = baseline->trace;
    uint32_t object = trace->object[index];
    uint64_t size = trace->size[index];
    if (size == 0 || baseline->count_objects)
        size = 1;
    if (trace->op == NULL || trace->op[index] == TARN_TRACE_GET)
        return get(baseline, baseline->ops, object, size, index);
    return change(baseline, object, size, index, trace->op[index]);
}

void tarn_run_clear(struct tarn_run *run)
{
    tarn_free(run->windows);
    *run = (struct tarn_run){0};
}

/* Requests [from, to): adds to the run's counts. */
static void run_part(struct tarn_baseline *self, uint32_t from, uint32_t to, struct tarn_run *run)
{
    const struct tarn_trace_data *trace = self->trace;
    uint64_t gets = 0, misses = 0, get_bytes = 0, miss_bytes = 0;
    for (uint32_t i = from; i < to; i++) {
        bool hit = tarn_baseline_access(self, i);
        if (trace->op != NULL && trace->op[i] != TARN_TRACE_GET)
            continue;
        gets++;
        misses += !hit;
        get_bytes += trace->size[i];
        miss_bytes += hit ? 0 : trace->size[i];
        if (trace->cost != NULL)
            tarn_run_add_cost(run, trace->cost[i], hit);
    }
    run->gets += gets;
    run->misses += misses;
    run->get_bytes += get_bytes;
    run->miss_bytes += miss_bytes;
}

tarn_status tarn_baseline_run(const char *name, const struct tarn_trace_data *trace,
                              uint64_t capacity, const struct tarn_run_params *params,
                              struct tarn_run *run, struct tarn_error *error)
{
    static const struct tarn_run_params none;
    struct tarn_baseline *self = NULL;
    size_t windows;
    *run = (struct tarn_run){0};
    if (params == NULL)
        params = &none;
    tarn_status status = tarn_baseline_create(name, trace, capacity, params, &self, error);
    if (status != TARN_OK)
        return status;
    windows = params->windows < trace->count ? params->windows : trace->count;
    if (windows > 0 && (run->windows = tarn_alloc_zeroed(windows, sizeof *run->windows)) == NULL) {
        tarn_baseline_destroy(&self);
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", name);
    }
    size_t parts = windows > 0 ? windows : 1;
    uint64_t wall = tarn_clock_ns(), cpu = tarn_clock_process_cpu_ns();
    for (size_t part = 0; part < parts; part++) {
        uint64_t gets = run->gets, misses = run->misses;
        uint32_t from = (uint32_t)((uint64_t)trace->count * part / parts);
        uint32_t to = (uint32_t)((uint64_t)trace->count * (part + 1) / parts);
        run_part(self, from, to, run);
        if (windows > 0)
            run->windows[run->window_count++] =
                (struct tarn_window){to, run->gets - gets, run->misses - misses};
        if (params->progress != NULL)
            params->progress(params->user, to);
    }
    run->wall_ns = tarn_clock_ns() - wall;
    run->cpu_ns = tarn_clock_process_cpu_ns() - cpu;
    run->requests = trace->count;
    tarn_baseline_destroy(&self);
    return TARN_OK;
}
