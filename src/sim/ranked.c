/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies that keep a number for each resident and let the smallest leave, the one that got its
 * number first among equals:
 * - lfu: accesses since the object came in (in-cache LFU, without ageing).
 * - gdsf: H = L + accesses / size, where L is the H of the last that left:
 * GreedyDual-Size-Frequency (Cherkasova, "Improving WWW proxies performance with
 * Greedy-Dual-Size-Frequency caching policy", HP Labs 98-69R1, 1998) with a cost of 1 for each
 * object, or with what a miss of it costs: H = L + accesses * cost / size. An unknown cost is the
 * mean of those known so far. No parameters.
 * - belady: the one wanted latest leaves (Belady, "A study of replacement algorithms for a
 *   virtual-storage computer", 1966). A miss always admits, as in libCacheSim. Optimal for unit
 * sizes. An object whose next request overwrites or deletes it is not wanted again.
 */
#include "base/memory.h"
#include "heap.h"
#include "policy.h"

struct ranked {
    struct tarn_baseline base;
    struct tarn_sim_heap heap;
    uint32_t *accesses;     /* lfu, gdsf */
    double inflation;       /* gdsf's L */
    float *cost;            /* gdsf: of the residents, in us; NULL: 1 each */
    double cost_sum, costs; /* of the known ones */
};

static void ranked_release(struct tarn_baseline *self)
{
    struct ranked *r = (struct ranked *)self;
    tarn_sim_heap_release(&r->heap);
    tarn_free(r->accesses);
    tarn_free(r->cost);
}

static tarn_status ranked_init(struct tarn_baseline *self)
{
    struct ranked *r = (struct ranked *)self;
    tarn_status status = tarn_sim_heap_init(&r->heap, self->trace->objects);
    r->accesses = tarn_alloc_zeroed(self->trace->objects, sizeof *r->accesses);
    if (self->weigh_costs)
        r->cost = tarn_alloc_zeroed(self->trace->objects, sizeof *r->cost);
    return r->accesses != NULL && (r->cost != NULL || !self->weigh_costs) ? status : TARN_NO_MEMORY;
}

static void ranked_forget(struct tarn_baseline *self, uint32_t object)
{
    tarn_sim_heap_take(&((struct ranked *)self)->heap, object);
    tarn_sim_leave(self, object);
}

static void ranked_room(struct ranked *r, uint64_t size)
{
    while (r->base.used + size > r->base.capacity) {
        r->inflation = r->heap.entries[0].key;
        ranked_forget(&r->base, r->heap.entries[0].object);
    }
}

static void lfu_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct ranked *r = (struct ranked *)self;
    tarn_sim_heap_set(&r->heap, object, ++r->accesses[object], index);
}

static void lfu_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct ranked *r = (struct ranked *)self;
    ranked_room(r, size);
    r->accesses[object] = 0;
    tarn_sim_enter(self, object, size);
    lfu_hit(self, object, index);
}

static double mean_cost(const struct ranked *r)
{
    return r->costs > 0 ? r->cost_sum / r->costs : 1;
}

static void gdsf_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct ranked *r = (struct ranked *)self;
    double worth = ++r->accesses[object] / (double)self->size[object];
    if (r->cost != NULL)
        worth *= r->cost[object] > 0 ? (double)r->cost[object] : mean_cost(r);
    tarn_sim_heap_set(&r->heap, object, r->inflation + worth, index);
}

static void gdsf_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct ranked *r = (struct ranked *)self;
    ranked_room(r, size);
    r->accesses[object] = 0;
    if (r->cost != NULL) {
        float cost = self->trace->cost[index];
        r->cost[object] = cost;
        r->cost_sum += (double)cost;
        r->costs += cost > 0;
    }
    tarn_sim_enter(self, object, size);
    gdsf_hit(self, object, index);
}

static void belady_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    const struct tarn_trace_data *trace = self->trace;
    uint32_t next = trace->next[index];
    if (next != UINT32_MAX && trace->op != NULL && trace->op[next] != TARN_TRACE_GET)
        next = UINT32_MAX;
    tarn_sim_heap_set(&((struct ranked *)self)->heap, object, -(double)next, index);
}

static void belady_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    ranked_room((struct ranked *)self, size);
    tarn_sim_enter(self, object, size);
    belady_hit(self, object, index);
}

#define RANKED(policy)                                                                             \
    const struct tarn_sim_ops tarn_sim_##policy = {                                                \
        .name = #policy,                                                                           \
        .state = sizeof(struct ranked),                                                            \
        .init = ranked_init,                                                                       \
        .release = ranked_release,                                                                 \
        .hit = policy##_hit,                                                                       \
        .admit = policy##_admit,                                                                   \
        .forget = ranked_forget,                                                                   \
    }
RANKED(lfu);
RANKED(gdsf);
RANKED(belady);
