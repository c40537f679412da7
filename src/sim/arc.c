/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ARC (Megiddo, Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003), figure 4:
 * T1 and T2 hold what was wanted once and more often, B1 and B2 remember what left them, p is the
 * part of the limit meant for T1. No parameters. For objects that differ in size all lengths are in
 * bytes, p moves by the object's size times the paper's ratio, and a step that the paper does once
 * is repeated until there is room; with unit sizes that is the paper's algorithm.
 */
#include "base/memory.h"
#include "list.h"
#include "policy.h"

enum { T1, T2, B1, B2, LISTS, NOWHERE = LISTS };

struct arc {
    struct tarn_baseline base;
    struct tarn_sim_list list[LISTS];
    struct tarn_sim_link *links;
    uint64_t *ghost_size; /* of objects in B1, B2 */
    uint8_t *where;
    double p; /* target of T1, bytes */
};

static void arc_release(struct tarn_baseline *self)
{
    struct arc *a = (struct arc *)self;
    tarn_free(a->links);
    tarn_free(a->ghost_size);
    tarn_free(a->where);
}

static tarn_status arc_init(struct tarn_baseline *self)
{
    struct arc *a = (struct arc *)self;
    uint32_t objects = self->trace->objects;
    for (int i = 0; i < LISTS; i++)
        tarn_sim_list_init(&a->list[i]);
    a->links = tarn_alloc_zeroed(objects, sizeof *a->links);
    a->ghost_size = tarn_alloc_zeroed(objects, sizeof *a->ghost_size);
    a->where = tarn_alloc(objects);
    if (a->links == NULL || a->ghost_size == NULL || a->where == NULL)
        return TARN_NO_MEMORY;
    for (uint32_t i = 0; i < objects; i++)
        a->where[i] = NOWHERE;
    return TARN_OK;
}

static void arc_unlink(struct arc *a, uint32_t object)
{
    int where = a->where[object];
    uint64_t size = where <= T2 ? a->base.size[object] : a->ghost_size[object];
    tarn_sim_list_take(&a->list[where], a->links, object, size);
    a->where[object] = NOWHERE;
}

static void arc_link(struct arc *a, int where, uint32_t object, uint64_t size)
{
    a->where[object] = (uint8_t)where;
    tarn_sim_list_push(&a->list[where], a->links, object, size);
}

static void arc_forget(struct tarn_baseline *self, uint32_t object)
{
    arc_unlink((struct arc *)self, object);
    tarn_sim_leave(self, object);
}

/* The oldest of T1 or T2 leaves and is remembered in the ghost list behind it. */
static void arc_demote(struct arc *a, int from)
{
    uint32_t object = a->list[from].oldest;
    uint64_t size = a->base.size[object];
    arc_forget(&a->base, object);
    a->ghost_size[object] = size;
    arc_link(a, from + B1, object, size);
}

/* The paper's REPLACE. */
static void arc_replace(struct arc *a, int was_in_b2)
{
    double t1 = (double)a->list[T1].bytes;
    int from_t1 = a->list[T1].oldest != TARN_SIM_NONE && (t1 > a->p || (was_in_b2 && t1 == a->p));
    arc_demote(a, from_t1 || a->list[T2].oldest == TARN_SIM_NONE ? T1 : T2);
}

static void arc_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct arc *a = (struct arc *)self;
    (void)index;
    arc_unlink(a, object);
    arc_link(a, T2, object, self->size[object]);
}

static void arc_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct arc *a = (struct arc *)self;
    double c = (double)self->capacity, b1 = (double)a->list[B1].bytes,
           b2 = (double)a->list[B2].bytes;
    int where = a->where[object], to = T1;
    (void)index;
    if (where == B1) {
        a->p += (double)size * (b2 > b1 ? b2 / b1 : 1);
        a->p = a->p < c ? a->p : c;
    } else if (where == B2) {
        a->p -= (double)size * (b1 > b2 ? b1 / b2 : 1);
        a->p = a->p > 0 ? a->p : 0;
    }
    if (where != NOWHERE) {
        while (self->used + size > self->capacity)
            arc_replace(a, where == B2);
        arc_unlink(a, object);
        to = T2;
    } else {
        /* L1 = T1 + B1 stays within c, L1 + L2 within 2c. Where T1 alone fills c, its oldest leaves
         * for good. */
        while (a->list[T1].bytes + a->list[B1].bytes + size > self->capacity) {
            if (a->list[B1].oldest == TARN_SIM_NONE) {
                arc_forget(self, a->list[T1].oldest);
                continue;
            }
            arc_unlink(a, a->list[B1].oldest);
        }
        while (self->used + size > self->capacity) {
            arc_replace(a, 0);
        }
        while (a->list[B2].oldest != TARN_SIM_NONE &&
               self->used + a->list[B1].bytes + a->list[B2].bytes + size > 2 * self->capacity)
            arc_unlink(a, a->list[B2].oldest);
    }
    tarn_sim_enter(self, object, size);
    arc_link(a, to, object, size);
}

const struct tarn_sim_ops tarn_sim_arc = {
    .name = "arc",
    .state = sizeof(struct arc),
    .init = arc_init,
    .release = arc_release,
    .hit = arc_hit,
    .admit = arc_admit,
    .forget = arc_forget,
};
