/* SPDX-License-Identifier: Apache-2.0 */
/*
 * W-TinyLFU (Einziger, Friedman, Manes, "TinyLFU: a highly efficient cache admission policy", ACM
 * ToS 13(4), 2017): an LRU window of 1 % of the limit in front of a segmented LRU (80 % of it
 * protected). What leaves the window is let into the main part only if a sketch has seen it more
 * often than what would leave for it. Parameters: count-min sketch of 4 rows, 16 counters of 4 bits
 * an expected object in all, raised conservatively, all halved after 10 accesses an expected
 * object; no doorkeeper. The window holds at least one unit object, so that small caches work. For
 * objects that differ in size, the candidate is weighed against the sum over the objects that would
 * leave (aggregated victims: Einziger, Eytan, Friedman, Manes, "Lightweight robust size aware cache
 * management", ACM ToS 18(3), 2022), and one that is larger than the main part does not stay.
 */
#include "base/hash.h"
#include "base/memory.h"
#include "list.h"
#include "policy.h"

enum { WINDOW, PROBATION, PROTECTED, LISTS };
enum { ROWS = 4, COUNTER_MAX = 15, SAMPLE = 10 };

struct wtinylfu {
    struct tarn_baseline base;
    struct tarn_sim_list list[LISTS];
    struct tarn_sim_link *links;
    uint8_t *where;
    uint64_t window_limit, main_limit, protect_limit;
    uint8_t *counters; /* [ROWS][mask + 1] */
    uint64_t mask, added, sample;
};

static void wt_release(struct tarn_baseline *self)
{
    struct wtinylfu *w = (struct wtinylfu *)self;
    tarn_free(w->links);
    tarn_free(w->where);
    tarn_free(w->counters);
}

static tarn_status wt_init(struct tarn_baseline *self)
{
    struct wtinylfu *w = (struct wtinylfu *)self;
    double expected = tarn_sim_expected_objects(self);
    uint64_t width = 64;
    if (expected > (double)self->trace->objects)
        expected = (double)self->trace->objects;
    while ((double)width < 4 * expected)
        width *= 2;
    for (int i = 0; i < LISTS; i++)
        tarn_sim_list_init(&w->list[i]);
    w->window_limit = self->capacity < 100 ? 1 : self->capacity / 100;
    w->main_limit = self->capacity - w->window_limit;
    w->protect_limit = w->main_limit / 5 * 4 + w->main_limit % 5 * 4 / 5;
    w->mask = width - 1;
    w->sample = (uint64_t)(SAMPLE * expected);
    w->links = tarn_alloc_zeroed(self->trace->objects, sizeof *w->links);
    w->where = tarn_alloc_zeroed(self->trace->objects, 1);
    w->counters = tarn_alloc_zeroed(ROWS, width);
    if (w->links == NULL || w->where == NULL || w->counters == NULL)
        return TARN_NO_MEMORY;
    return TARN_OK;
}

static uint8_t *wt_counter(struct wtinylfu *w, uint32_t object, int row)
{
    uint64_t hash = tarn_mix64(object + 1 + ((uint64_t)row << 32));
    return &w->counters[(uint64_t)row * (w->mask + 1) + (hash & w->mask)];
}

static unsigned wt_seen(struct wtinylfu *w, uint32_t object)
{
    unsigned least = COUNTER_MAX;
    for (int row = 0; row < ROWS; row++) {
        unsigned count = *wt_counter(w, object, row);
        least = count < least ? count : least;
    }
    return least;
}

static void wt_see(struct wtinylfu *w, uint32_t object)
{
    unsigned least = wt_seen(w, object);
    for (int row = 0; row < ROWS && least < COUNTER_MAX; row++) {
        uint8_t *counter = wt_counter(w, object, row);
        *counter += *counter == least;
    }
    if (++w->added >= w->sample) {
        for (uint64_t i = 0; i < ROWS * (w->mask + 1); i++)
            w->counters[i] >>= 1;
        w->added /= 2;
    }
}

static void wt_link(struct wtinylfu *w, int where, uint32_t object)
{
    w->where[object] = (uint8_t)where;
    tarn_sim_list_push(&w->list[where], w->links, object, w->base.size[object]);
}

static void wt_unlink(struct wtinylfu *w, uint32_t object)
{
    tarn_sim_list_take(&w->list[w->where[object]], w->links, object, w->base.size[object]);
}

static void wt_forget(struct tarn_baseline *self, uint32_t object)
{
    wt_unlink((struct wtinylfu *)self, object);
    tarn_sim_leave(self, object);
}

static void wt_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct wtinylfu *w = (struct wtinylfu *)self;
    (void)index;
    wt_see(w, object);
    if (w->where[object] != PROBATION || self->size[object] > w->protect_limit) {
        tarn_sim_list_renew(&w->list[w->where[object]], w->links, object);
        return;
    }
    wt_unlink(w, object);
    wt_link(w, PROTECTED, object);
    while (w->list[PROTECTED].bytes > w->protect_limit) {
        uint32_t down = w->list[PROTECTED].oldest;
        wt_unlink(w, down);
        wt_link(w, PROBATION, down);
    }
}

static uint64_t wt_main_bytes(const struct wtinylfu *w)
{
    return w->list[PROBATION].bytes + w->list[PROTECTED].bytes;
}

/* The main part's next to leave after `object`; with TARN_SIM_NONE the first. */
static uint32_t wt_next_victim(const struct wtinylfu *w, uint32_t object)
{
    uint32_t next = object == TARN_SIM_NONE ? w->list[PROBATION].oldest : w->links[object].newer;
    if (next == TARN_SIM_NONE && (object == TARN_SIM_NONE || w->where[object] == PROBATION))
        next = w->list[PROTECTED].oldest;
    return next;
}

/* True if `candidate`, of `size`, was seen more often than all together that would have to leave.
 */
static bool wt_worth_it(struct wtinylfu *w, uint32_t candidate, uint64_t size)
{
    uint64_t freed = 0, seen = 0, wanted = wt_seen(w, candidate);
    if (size > w->main_limit)
        return false;
    for (uint32_t victim = TARN_SIM_NONE; wt_main_bytes(w) - freed + size > w->main_limit;) {
        victim = wt_next_victim(w, victim);
        freed += w->base.size[victim];
        seen += wt_seen(w, victim);
        if (seen >= wanted)
            return false;
    }
    return true;
}

static void wt_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct wtinylfu *w = (struct wtinylfu *)self;
    (void)index;
    wt_see(w, object);
    tarn_sim_enter(self, object, size);
    wt_link(w, WINDOW, object);
    while (w->list[WINDOW].bytes > w->window_limit) {
        uint32_t candidate = w->list[WINDOW].oldest;
        uint64_t candidate_size = self->size[candidate];
        if (!wt_worth_it(w, candidate, candidate_size)) {
            wt_forget(self, candidate);
            continue;
        }
        while (wt_main_bytes(w) + candidate_size > w->main_limit)
            wt_forget(self, wt_next_victim(w, TARN_SIM_NONE));
        wt_unlink(w, candidate);
        wt_link(w, PROBATION, candidate);
    }
}

const struct tarn_sim_ops tarn_sim_wtinylfu = {
    .name = "wtinylfu",
    .state = sizeof(struct wtinylfu),
    .init = wt_init,
    .release = wt_release,
    .hit = wt_hit,
    .admit = wt_admit,
    .forget = wt_forget,
};
