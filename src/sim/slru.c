/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmented LRU (Karedla, Love, Wherry, "Caching strategies to improve disk system performance",
 * IEEE Computer 27(3), 1994): a probationary and a protected segment, each an LRU queue. An object
 * enters the first, a hit moves it into the second, whose oldest fall back to the first's newest
 * end. The oldest probationary object leaves. Parameter: the protected segment is at most 80 % of
 * the limit.
 */
#include "base/memory.h"
#include "list.h"
#include "policy.h"

struct slru {
    struct tarn_baseline base;
    struct tarn_sim_list probation, protect;
    struct tarn_sim_link *links;
    uint8_t *protected_;
    uint64_t protect_limit;
};

static void slru_release(struct tarn_baseline *self)
{
    struct slru *s = (struct slru *)self;
    tarn_free(s->links);
    tarn_free(s->protected_);
}

static tarn_status slru_init(struct tarn_baseline *self)
{
    struct slru *s = (struct slru *)self;
    tarn_sim_list_init(&s->probation);
    tarn_sim_list_init(&s->protect);
    s->protect_limit = self->capacity / 5 * 4 + self->capacity % 5 * 4 / 5;
    s->links = tarn_alloc_zeroed(self->trace->objects, sizeof *s->links);
    s->protected_ = tarn_alloc_zeroed(self->trace->objects, 1);
    return s->links != NULL && s->protected_ != NULL ? TARN_OK : TARN_NO_MEMORY;
}

static void slru_forget(struct tarn_baseline *self, uint32_t object)
{
    struct slru *s = (struct slru *)self;
    struct tarn_sim_list *list = s->protected_[object] ? &s->protect : &s->probation;
    tarn_sim_list_take(list, s->links, object, self->size[object]);
    s->protected_[object] = 0;
    tarn_sim_leave(self, object);
}

static void slru_hit(struct tarn_baseline *self, uint32_t object, uint32_t index)
{
    struct slru *s = (struct slru *)self;
    uint64_t size = self->size[object];
    (void)index;
    if (s->protected_[object]) {
        tarn_sim_list_renew(&s->protect, s->links, object);
        return;
    }
    if (size > s->protect_limit) {
        tarn_sim_list_renew(&s->probation, s->links, object);
        return;
    }
    tarn_sim_list_take(&s->probation, s->links, object, size);
    while (s->protect.bytes + size > s->protect_limit) {
        uint32_t down = s->protect.oldest;
        tarn_sim_list_take(&s->protect, s->links, down, self->size[down]);
        tarn_sim_list_push(&s->probation, s->links, down, self->size[down]);
        s->protected_[down] = 0;
    }
    tarn_sim_list_push(&s->protect, s->links, object, size);
    s->protected_[object] = 1;
}

static void slru_admit(struct tarn_baseline *self, uint32_t object, uint64_t size, uint32_t index)
{
    struct slru *s = (struct slru *)self;
    (void)index;
    while (self->used + size > self->capacity)
        slru_forget(self,
                    s->probation.oldest != TARN_SIM_NONE ? s->probation.oldest : s->protect.oldest);
    tarn_sim_list_push(&s->probation, s->links, object, size);
    tarn_sim_enter(self, object, size);
}

const struct tarn_sim_ops tarn_sim_slru = {
    .name = "slru",
    .state = sizeof(struct slru),
    .init = slru_init,
    .release = slru_release,
    .hit = slru_hit,
    .admit = slru_admit,
    .forget = slru_forget,
};
