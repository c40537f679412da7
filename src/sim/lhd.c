/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LHD (Beckmann, Chen, Cidon, "LHD: improving cache hit rate by maximizing hit density", NSDI
 * 2018): of a sample of residents, the one leaves whose expected hits for each unit of space and
 * time, given its age and its class, are the fewest. Parameters: 64 residents sampled an eviction
 * and the 8 last admitted always looked at; 16 classes by the sum of the object's last two ages at
 * a hit; ages counted in accesses and coarsened by a power of two so that 4096 steps span 100 times
 * the residents; distributions fade by 0.9 at each update; an update every 32,768 accesses, earlier
 * at first (the paper: 2^20, longer than many traces here); before the first, the density falls as
 * 1 / age. 1 insertion in 32 explores: it is kept longer, so that old ages are seen, within 1 % of
 * the limit. No application classes: traces name none.
 */
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "list.h"
#include "policy.h"

enum { AGES = 4096, CLASSES = 16, SAMPLES = 64, RECENT = 8, EXPLORE_ONE_IN = 32 };
enum { UPDATE_EVERY = 32768, FIRST_UPDATE = 4096 };
#define FADE          0.9
#define SPAN          100.0 /* ages to tell apart, in residents */
#define EXPLORE_SHARE 0.01  /* of the limit */

struct lhd_class {
    double hits[AGES], evictions[AGES], density[AGES];
};

struct lhd_object {
    uint32_t seen;   /* the access that it was last in */
    uint32_t age[2]; /* in accesses, at the last hit and the one before it */
    uint32_t slot;   /* place in `resident` */
    bool explorer;
};

struct lhd {
    struct tarn_baseline base;
    struct lhd_class *classes; /* [CLASSES] */
    struct lhd_object *objects;
    uint32_t *resident; /* [base.residents] */
    uint32_t recent[RECENT], recent_at;
    unsigned shift; /* of ages */
    uint32_t next_update, updates;
    uint64_t exploring; /* bytes of explorers */
    struct tarn_rng rng;
};

static void lhd_release(struct tarn_baseline *self)
{
    struct lhd *l = (struct lhd *)self;
    tarn_free(l->classes);
    tarn_free(l->objects);
    tarn_free(l->resident);
}

static unsigned lhd_shift_for(double residents)
{
    unsigned shift = 0;
    while ((double)AGES * (double)(1u << shift) < SPAN * residents && shift < 31)
        shift++;
    return shift;
}

static tarn_status lhd_init(struct tarn_baseline *self)
{
    struct lhd *l = (struct lhd *)self;
    l->classes = tarn_alloc_zeroed(CLASSES, sizeof *l->classes);
    l->objects = tarn_alloc_zeroed(self->trace->objects, sizeof *l->objects);
    l->resident = tarn_alloc_zeroed(self->trace->objects, sizeof *l->resident);
    if (l->classes == NULL || l->objects == NULL || l->resident == NULL)
        return TARN_NO_MEMORY;
    tarn_rng_seed(&l->rng, self->seed);
    l->shift = lhd_shift_for(tarn_sim_expected_objects(self));
    l->next_update = FIRST_UPDATE;
    for (int i = 0; i < RECENT; i++)
        l->recent[i] = TARN_SIM_NONE;
    for (int c = 0; c < CLASSES; c++)
        for (int age = 0; age < AGES; age++)
            l->classes[c].density[age] = (c + 1.0) / (age + 1.0);
    return TARN_OK;
}

/* Class 0: never hit, or with the longest ages; each further one half as old. */
static struct lhd_class *lhd_class_of(struct lhd *l, const struct lhd_object *o)
{
    uint64_t age = ((uint64_t)o->age[0] + o->age[1]) >> l->shift;
    int class = 0;
    if (o->age[1] == UINT32_MAX)
        return &l->classes[0];
    while (age < AGES && class < CLASSES - 1) {
        age = age * 2 + 1;
        class ++;
    }
    return &l->classes[class];
}

static uint32_t lhd_age(const struct lhd *l, const struct lhd_object *o, uint32_t now)
{
    uint32_t age = (now - o->seen) >> l->shift;
    return age < AGES ? age : AGES - 1;
}

/* Follows the number of residents: moves what was learned to coarser or finer ages. */
static void lhd_coarsen(struct lhd *l)
{
    unsigned shift = lhd_shift_for((double)l->base.residents);
    for (; l->shift < shift; l->shift++) {
        for (int c = 0; c < CLASSES; c++) {
            double *d[2] = {l->classes[c].hits, l->classes[c].evictions};
            for (int k = 0; k < 2; k++)
                for (int age = 0; age < AGES; age++)
                    d[k][age] = age < AGES / 2 ? d[k][2 * age] + d[k][2 * age + 1] : 0;
        }
    }
    for (; l->shift > shift; l->shift--) {
        for (int c = 0; c < CLASSES; c++) {
            double *d[2] = {l->classes[c].hits, l->classes[c].evictions};
            for (int k = 0; k < 2; k++) {
                double beyond = 0;
                for (int age = AGES / 2; age < AGES; age++)
                    beyond += d[k][age];
                for (int age = AGES - 1; age >= 0; age--)
                    d[k][age] = d[k][age / 2] / 2;
                d[k][AGES - 1] += beyond;
            }
        }
    }
}

/* Hit density at an age: hits still to come over the time still to be spent. */
static void lhd_update(struct lhd *l)
{
    for (int c = 0; c < CLASSES; c++) {
        for (int age = 0; age < AGES; age++) {
            l->classes[c].hits[age] *= FADE;
            l->classes[c].evictions[age] *= FADE;
        }
    }
    lhd_coarsen(l);
    for (int c = 0; c < CLASSES; c++) {
        struct lhd_class *class = &l->classes[c];
        double hits = 0, events = 0, time = 0;
        for (int age = AGES - 1; age >= 0; age--) {
            hits += class->hits[age];
            events += class->hits[age] + class->evictions[age];
            time += events;
            class->density[age] = events > 1e-5 ? hits / time : 0;
        }
    }
}

static void lhd_tick(struct lhd *l, uint32_t now)
{
    if (now < l->next_update)
        return;
    lhd_update(l);
    l->updates++;
    l->next_update = now + (l->updates < 8 ? FIRST_UPDATE : UPDATE_EVERY);
}

static void lhd_forget(struct tarn_baseline *self, uint32_t object)
{
    struct lhd *l = (struct lhd *)self;
    struct lhd_object *o = &l->objects[object];
    uint32_t last = l->resident[self->residents - 1];
    if (o->explorer)
        l->exploring -= self->size[object];
    l->resident[o->slot] = last;
    l->objects[last].slot = o->slot;
    tarn_sim_leave(self, object);
}

static void lhd_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct lhd *l = (struct lhd *)self;
    struct lhd_object *o = &l->objects[object];
    lhd_class_of(l, o)->hits[lhd_age(l, o, index)]++;
    o->age[1] = o->age[0];
    o->age[0] = index - o->seen;
    o->seen = index;
    if (o->explorer) {
        o->explorer = false;
        l->exploring -= self->size[object];
    }
    lhd_tick(l, index);
}

static double lhd_rank(struct lhd *l, uint32_t object, uint32_t now)
{
    const struct lhd_object *o = &l->objects[object];
    uint32_t age = lhd_age(l, o, now);
    if (age == AGES - 1)
        return -1;
    double density = lhd_class_of(l, o)->density[age] + (o->explorer ? 1 : 0);
    return density / (double)l->base.size[object];
}

static void lhd_evict(struct lhd *l, uint32_t now)
{
    uint32_t victim = TARN_SIM_NONE;
    double least = INFINITY;
    for (int i = 0; i < SAMPLES + RECENT; i++) {
        uint32_t object = i < SAMPLES ? l->resident[tarn_rng_below(&l->rng, l->base.residents)]
                                      : l->recent[i - SAMPLES];
        if (object == TARN_SIM_NONE || l->base.size[object] == 0)
            continue;
        double rank = lhd_rank(l, object, now);
        if (rank < least) {
            least = rank;
            victim = object;
        }
    }
    struct lhd_object *o = &l->objects[victim];
    lhd_class_of(l, o)->evictions[lhd_age(l, o, now)]++;
    lhd_forget(&l->base, victim);
}

static void lhd_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct lhd *l = (struct lhd *)self;
    struct lhd_object *o = &l->objects[object];
    while (self->used + size > self->capacity)
        lhd_evict(l, index);
    o->seen = index;
    o->age[0] = 0;
    o->age[1] = UINT32_MAX; /* never hit; after its first hit an object has one age */
    o->slot = self->residents;
    o->explorer = tarn_rng_below(&l->rng, EXPLORE_ONE_IN) == 0 &&
                  (double)l->exploring < EXPLORE_SHARE * (double)self->capacity;
    if (o->explorer)
        l->exploring += size;
    l->resident[o->slot] = object;
    l->recent[l->recent_at++ % RECENT] = object;
    tarn_sim_enter(self, object, size);
    lhd_tick(l, index);
}

const struct tarn_sim_ops tarn_sim_lhd = {
    .name = "lhd",
    .state = sizeof(struct lhd),
    .init = lhd_init,
    .release = lhd_release,
    .hit = lhd_hit,
    .admit = lhd_admit,
    .forget = lhd_forget,
};
