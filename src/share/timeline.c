/* SPDX-License-Identifier: Apache-2.0 */
#include "timeline.h"

#include <stddef.h>
#include <string.h>

#define NEVER UINT64_MAX

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t before(uint64_t from, uint64_t by)
{
    return from > by ? from - by : 0;
}

/* The next to run at `now` or later, of those in `left` (a bit each). */
static uint32_t choose(const struct tarn_timeline *t, uint64_t left, uint64_t *when)
{
    uint32_t first = TARN_TIMELINE_ROOM, first_waited = TARN_TIMELINE_ROOM;
    for (uint32_t i = 0; i < t->count; i++) {
        if ((left >> i & 1) == 0)
            continue;
        if (first == TARN_TIMELINE_ROOM)
            first = i;
        if (t->entry[i].waited_for && first_waited == TARN_TIMELINE_ROOM)
            first_waited = i;
    }
    uint64_t start = later(*when, t->entry[first].ready_ns);
    if (t->overtakes && first_waited < TARN_TIMELINE_ROOM &&
        t->entry[first_waited].ready_ns <= start)
        first = first_waited;
    *when = later(*when, t->entry[first].ready_ns);
    return first;
}

/* From its start, on the way out half a unit late. */
static uint64_t time_of(const struct tarn_timeline *t, const struct tarn_timeline_entry *e)
{
    if (e->leave_ns == NEVER)
        return e->expect_ns;
    uint64_t left_ns =
        e->start_ns < e->leave_ns ? e->leave_ns - e->start_ns + t->unit_ns / 2 : t->least_ns;
    return left_ns < e->expect_ns ? left_ns : e->expect_ns;
}

void tarn_timeline_predict(struct tarn_timeline *t, uint64_t now_ns)
{
    uint64_t left = t->count == 64 ? NEVER : (UINT64_C(1) << t->count) - 1;
    uint64_t when = t->free_ns > 0 ? t->free_ns + t->gap_ns : 0;
    bool running = true;
    while (left != 0) {
        uint32_t i = choose(t, left, &when);
        struct tarn_timeline_entry *e = &t->entry[i];
        e->start_ns = when;
        e->end_ns = when + time_of(t, e);
        if (running && e->end_ns < now_ns)
            e->end_ns = now_ns;
        running = false;
        when = e->end_ns + t->gap_ns;
        left &= ~(UINT64_C(1) << i);
    }
}

struct tarn_timeline_entry *tarn_timeline_add(struct tarn_timeline *t, bool waited_for,
                                              uint64_t name, uint64_t now_ns, uint64_t expect_ns)
{
    if (t->count == TARN_TIMELINE_ROOM)
        return NULL;
    struct tarn_timeline_entry *e = &t->entry[t->count++];
    *e = (struct tarn_timeline_entry){.waited_for = waited_for,
                                      .name = name,
                                      .submit_ns = now_ns,
                                      .ready_ns = now_ns + t->latency_ns,
                                      .expect_ns = expect_ns,
                                      .leave_ns = NEVER,
                                      .stop_ns = NEVER};
    t->slices += !waited_for;
    tarn_timeline_predict(t, now_ns);
    return e;
}

struct tarn_timeline_entry *tarn_timeline_find(struct tarn_timeline *t, bool waited_for,
                                               uint64_t name)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (t->entry[i].waited_for == waited_for && t->entry[i].name == name)
            return &t->entry[i];
    return NULL;
}

struct tarn_timeline_entry *tarn_timeline_oldest(struct tarn_timeline *t)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (!t->entry[i].waited_for)
            return &t->entry[i];
    return NULL;
}

void tarn_timeline_remove(struct tarn_timeline *t, struct tarn_timeline_entry *entry,
                          uint64_t end_ns)
{
    ptrdiff_t at = entry - t->entry;
    t->slices -= !entry->waited_for;
    t->count--;
    memmove(entry, entry + 1, (size_t)(t->count - at) * sizeof *entry);
    t->free_ns = later(t->free_ns, end_ns);
}

uint64_t tarn_timeline_end(const struct tarn_timeline *t)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < t->count; i++)
        end = later(end, t->entry[i].end_ns);
    return end;
}

/* No later than it is told already. */
static void set_leave(struct tarn_timeline *t, uint64_t ticket, uint64_t leave_ns)
{
    for (uint32_t i = 0; i < t->count; i++) {
        struct tarn_timeline_entry *e = &t->entry[i];
        if (!e->waited_for && e->name <= ticket && e->leave_ns > leave_ns)
            e->leave_ns = leave_ns;
    }
}

/*
 * The youngest slice that runs by then, or would begin just after, or could come in before an arrival
 * that is ready a gap later: predictions are no better than that.
 */
static uint64_t running_at(const struct tarn_timeline *t, uint64_t then_ns)
{
    uint64_t ticket = 0, free_ns = 0, soon_ns = then_ns + 2 * t->gap_ns;
    for (uint32_t i = 0; i < t->count; i++) {
        const struct tarn_timeline_entry *e = &t->entry[i];
        if (e->waited_for)
            continue;
        if (e->start_ns <= soon_ns || (e->ready_ns <= soon_ns && free_ns <= e->ready_ns))
            ticket = later(ticket, e->name);
        free_ns = e->end_ns;
    }
    return ticket;
}

void tarn_timeline_plan(struct tarn_timeline *t, struct tarn_timeline_entry *arrival,
                        uint64_t now_ns)
{
    uint64_t leave_ns = before(arrival->ready_ns, t->gap_ns), told_ns = leave_ns;
    if (t->overtakes) {
        /* which one it is will be seen then; what comes behind it stands back by itself */
        arrival->stop_ns = leave_ns;
        set_leave(t, running_at(t, leave_ns), leave_ns);
        tarn_timeline_predict(t, now_ns);
        return;
    }
    for (struct tarn_timeline_entry *e = arrival; e-- > t->entry;) {
        if (e->waited_for)
            break; /* those before it were planned when it arrived */
        if (e->leaving)
            continue;
        if (e->end_ns <= leave_ns)
            break;
        if (arrival->stop_ticket == 0)
            arrival->stop_ticket = e->name;
        if (e->start_ns < told_ns)
            break; /* this is the one that will run by then */
        told_ns = before(told_ns, t->gap_ns + t->least_ns);
    }
    if (arrival->stop_ticket == 0)
        return;
    arrival->stop_ns = told_ns;
    set_leave(t, arrival->stop_ticket, told_ns);
    tarn_timeline_predict(t, now_ns);
}

static bool tell_up_to(struct tarn_timeline *t, uint64_t ticket, uint64_t now_ns)
{
    bool told = false;
    for (uint32_t i = 0; i < t->count; i++) {
        struct tarn_timeline_entry *e = &t->entry[i];
        if (!e->waited_for && !e->leaving && e->name <= ticket)
            told = e->leaving = true;
    }
    if (told) {
        set_leave(t, ticket, now_ns);
        tarn_timeline_predict(t, now_ns);
    }
    return told;
}

uint32_t tarn_timeline_tell(struct tarn_timeline *t, uint64_t now_ns)
{
    uint64_t ticket = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        struct tarn_timeline_entry *arrival = &t->entry[i];
        if (!arrival->waited_for || arrival->stop_ns > now_ns)
            continue;
        arrival->stop_ns = NEVER;
        ticket =
            later(ticket, arrival->stop_ticket != 0 ? arrival->stop_ticket : running_at(t, now_ns));
    }
    return ticket != 0 && tell_up_to(t, ticket, now_ns) ? (uint32_t)ticket : 0;
}

bool tarn_timeline_tell_all(struct tarn_timeline *t, uint64_t now_ns)
{
    return tell_up_to(t, NEVER, now_ns);
}
