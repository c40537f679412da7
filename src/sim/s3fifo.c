/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023). Parameters:
 * the small queue 10 % of the limit, the main queue the rest, a ghost queue of 90 % of the limit
 * (in bytes of the objects that it remembers), two hits in the small queue move an object to the
 * main one, a counter up to 3. As in the authors' simulator, what doesn't fit in the small queue
 * enters the main one until the first eviction, and an object as large as the small queue comes in
 * only by way of the ghosts; unlike it, a unit object always comes in (there, caches below 20
 * objects admit nothing).
 */
#include "base/memory.h"
#include "list.h"
#include "policy.h"

enum { SMALL, MAIN, GHOST, QUEUES, NOWHERE = QUEUES };
enum { PROMOTE = 2, COUNT_MAX = 3 };

struct s3fifo {
    struct tarn_baseline base;
    struct tarn_sim_list queue[QUEUES];
    struct tarn_sim_link *links;
    uint64_t *ghost_size;
    uint8_t *where, *count;
    uint64_t small_limit, main_limit, ghost_limit;
    int evicted_once;
};

static void s3_release(struct tarn_baseline *self)
{
    struct s3fifo *s = (struct s3fifo *)self;
    tarn_free(s->links);
    tarn_free(s->ghost_size);
    tarn_free(s->where);
    tarn_free(s->count);
}

static tarn_status s3_init(struct tarn_baseline *self)
{
    struct s3fifo *s = (struct s3fifo *)self;
    uint32_t objects = self->trace->objects;
    for (int i = 0; i < QUEUES; i++)
        tarn_sim_list_init(&s->queue[i]);
    s->small_limit = self->capacity / 10;
    if (s->small_limit == 0)
        s->small_limit = 1;
    s->main_limit = self->capacity - s->small_limit;
    s->ghost_limit = (uint64_t)((double)self->capacity * 0.9);
    s->links = tarn_alloc_zeroed(objects, sizeof *s->links);
    s->ghost_size = tarn_alloc_zeroed(objects, sizeof *s->ghost_size);
    s->where = tarn_alloc(objects);
    s->count = tarn_alloc_zeroed(objects, 1);
    if (s->links == NULL || s->ghost_size == NULL || s->where == NULL || s->count == NULL)
        return TARN_NO_MEMORY;
    for (uint32_t i = 0; i < objects; i++)
        s->where[i] = NOWHERE;
    return TARN_OK;
}

static void s3_unlink(struct s3fifo *s, uint32_t object)
{
    int where = s->where[object];
    uint64_t size = where == GHOST ? s->ghost_size[object] : s->base.size[object];
    tarn_sim_list_take(&s->queue[where], s->links, object, size);
    s->where[object] = NOWHERE;
}

static void s3_link(struct s3fifo *s, int where, uint32_t object, uint64_t size)
{
    s->where[object] = (uint8_t)where;
    tarn_sim_list_push(&s->queue[where], s->links, object, size);
}

static void s3_forget(struct tarn_baseline *self, uint32_t object)
{
    s3_unlink((struct s3fifo *)self, object);
    tarn_sim_leave(self, object);
}

static void s3_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct s3fifo *s = (struct s3fifo *)self;
    (void)index;
    if (s->count[object] < COUNT_MAX)
        s->count[object]++;
}

static void s3_remember(struct s3fifo *s, uint32_t object, uint64_t size)
{
    if (size > s->ghost_limit)
        return;
    while (s->queue[GHOST].bytes + size > s->ghost_limit)
        s3_unlink(s, s->queue[GHOST].oldest);
    s->ghost_size[object] = size;
    s3_link(s, GHOST, object, size);
}

/* Moves what was wanted into the main queue until one that wasn't leaves, or the queue is empty. */
static void s3_evict_small(struct s3fifo *s)
{
    while (s->queue[SMALL].oldest != TARN_SIM_NONE) {
        uint32_t object = s->queue[SMALL].oldest;
        uint64_t size = s->base.size[object];
        s3_unlink(s, object);
        if (s->count[object] >= PROMOTE) {
            s->count[object] = 0;
            s3_link(s, MAIN, object, size);
            continue;
        }
        tarn_sim_leave(&s->base, object);
        s3_remember(s, object, size);
        return;
    }
}

static void s3_evict_main(struct s3fifo *s)
{
    for (;;) {
        uint32_t object = s->queue[MAIN].oldest;
        if (s->count[object] == 0) {
            s3_forget(&s->base, object);
            return;
        }
        s->count[object]--;
        tarn_sim_list_renew(&s->queue[MAIN], s->links, object);
    }
}

static void s3_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct s3fifo *s = (struct s3fifo *)self;
    int to = SMALL;
    (void)index;
    if (s->where[object] == GHOST) {
        s3_unlink(s, object);
        to = MAIN;
    }
    if (to == SMALL && size > 1 && size >= s->small_limit)
        return;
    while (self->used + size > self->capacity) {
        s->evicted_once = 1;
        if (s->queue[SMALL].oldest == TARN_SIM_NONE || s->queue[MAIN].bytes > s->main_limit)
            s3_evict_main(s);
        else
            s3_evict_small(s);
    }
    if (!s->evicted_once && s->queue[SMALL].bytes >= s->small_limit)
        to = MAIN;
    s->count[object] = 0;
    tarn_sim_enter(self, object, size);
    s3_link(s, to, object, size);
}

const struct tarn_sim_ops tarn_sim_s3fifo = {
    .name = "s3fifo",
    .state = sizeof(struct s3fifo),
    .init = s3_init,
    .release = s3_release,
    .hit = s3_hit,
    .admit = s3_admit,
    .forget = s3_forget,
};
