/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One queue and at most one bit an object:
 * - lru: a hit renews; the oldest leaves.
 * - fifo: a hit does nothing; the oldest leaves.
 * - clock: a hit sets the object's bit; an oldest object with its bit set loses the bit and is
 * renewed instead of leaving (Corbato, "A paging experiment with the Multics system", 1968; one
 * bit).
 * - sieve: a hit sets the bit; a hand walks from old to new, clears bits where it finds them, and
 * the first object without one leaves where it stands (Zhang et al., "SIEVE is simpler than LRU",
 *   NSDI 2024).
 */
#include "base/memory.h"
#include "list.h"
#include "policy.h"

struct queue {
    struct tarn_baseline base;
    struct tarn_sim_list list;
    struct tarn_sim_link *links;
    uint8_t *bit;
    uint32_t hand; /* sieve: the next to look at */
};

static void queue_release(struct tarn_baseline *self)
{
    struct queue *q = (struct queue *)self;
    tarn_free(q->links);
    tarn_free(q->bit);
}

static tarn_status queue_init(struct tarn_baseline *self)
{
    struct queue *q = (struct queue *)self;
    tarn_sim_list_init(&q->list);
    q->hand = TARN_SIM_NONE;
    q->links = tarn_alloc_zeroed(self->trace->objects, sizeof *q->links);
    q->bit = tarn_alloc_zeroed(self->trace->objects, 1);
    return q->links != NULL && q->bit != NULL ? TARN_OK : TARN_NO_MEMORY;
}

static void queue_forget(struct tarn_baseline *self, uint32_t object)
{
    struct queue *q = (struct queue *)self;
    if (q->hand == object)
        q->hand = q->links[object].newer;
    tarn_sim_list_take(&q->list, q->links, object, self->size[object]);
    tarn_sim_leave(self, object);
}

static void queue_enter(struct queue *q, uint32_t object, uint64_t size)
{
    q->bit[object] = 0;
    tarn_sim_list_push(&q->list, q->links, object, size);
    tarn_sim_enter(&q->base, object, size);
}

/* lru and fifo: the oldest leaves. */
static void queue_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct queue *q = (struct queue *)self;
    (void)index;
    while (self->used + size > self->capacity)
        queue_forget(self, q->list.oldest);
    queue_enter(q, object, size);
}

static void lru_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct queue *q = (struct queue *)self;
    (void)index;
    tarn_sim_list_renew(&q->list, q->links, object);
}

static void fifo_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    (void)self;
    (void)object;
    (void)index;
}

static void bit_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    (void)index;
    ((struct queue *)self)->bit[object] = 1;
}

static void clock_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct queue *q = (struct queue *)self;
    (void)index;
    while (self->used + size > self->capacity) {
        uint32_t oldest = q->list.oldest;
        if (q->bit[oldest]) {
            q->bit[oldest] = 0;
            tarn_sim_list_renew(&q->list, q->links, oldest);
        } else {
            queue_forget(self, oldest);
        }
    }
    queue_enter(q, object, size);
}

static void sieve_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct queue *q = (struct queue *)self;
    (void)index;
    while (self->used + size > self->capacity) {
        uint32_t at = q->hand != TARN_SIM_NONE ? q->hand : q->list.oldest;
        while (q->bit[at]) {
            q->bit[at] = 0;
            at = q->links[at].newer != TARN_SIM_NONE ? q->links[at].newer : q->list.oldest;
        }
        q->hand = q->links[at].newer;
        queue_forget(self, at);
    }
    queue_enter(q, object, size);
}

#define QUEUE(policy, on_hit, on_admit)                                                            \
    const struct tarn_sim_ops tarn_sim_##policy = {                                                \
        .name = #policy,                                                                           \
        .state = sizeof(struct queue),                                                             \
        .init = queue_init,                                                                        \
        .release = queue_release,                                                                  \
        .hit = on_hit,                                                                             \
        .admit = on_admit,                                                                         \
        .forget = queue_forget,                                                                    \
    }
QUEUE(lru, lru_hit, queue_admit);
QUEUE(fifo, fifo_hit, queue_admit);
QUEUE(clock, bit_hit, clock_admit);
QUEUE(sieve, bit_hit, sieve_admit);
