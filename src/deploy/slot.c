/* SPDX-License-Identifier: Apache-2.0 */
#include "slot.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

#define KEEP_DEFAULT     8
#define KEEP_LEAST       3 /* the live one, its parent, and one that failed */
#define KEEP_GUARDED     4 /* and one that is guarded */
#define COOLDOWN_DEFAULT 1000000
#define COOLING          64 /* failed hashes remembered */
#define WAITING          60 /* versions that left and wait for readers */

struct kept {
    struct tarn_bundle *bundle; /* a counted reference */
    uint64_t version;
    bool failed;
};

struct leaving {
    struct tarn_bundle *bundle; /* the reference that being live was */
    unsigned period;            /* of grace */
};

struct cooling {
    uint64_t hash, since; /* requests */
};

struct tarn_slot {
    struct tarn_slot_front front;

    _Alignas(128) pthread_mutex_t lock; /* the writers'; of all below */
    struct tarn_shape shape;
    tarn_history *history;
    uint64_t cooldown, next_version, pinned, guarded;
    uint64_t swaps, rollbacks, rejected;
    struct kept *kept; /* oldest first */
    uint32_t keep, kept_count;
    struct leaving leaving[WAITING]; /* a ring, oldest first */
    uint32_t leaving_at, leaving_count;
    struct tarn_bundle *dropped;     /* no longer kept; released with the next reap */
    struct cooling cooling[COOLING]; /* a ring */
    uint32_t cooling_count;          /* ever */
};

static struct tarn_bundle *live_of(const tarn_slot *slot)
{
    return atomic_load_explicit(&slot->front.live, memory_order_relaxed);
}

/* ---- under the lock: what is kept ---- */

static struct kept *find(tarn_slot *slot, uint64_t version)
{
    for (uint32_t i = 0; i < slot->kept_count; i++)
        if (slot->kept[i].version == version)
            return &slot->kept[i];
    return NULL;
}

/* The oldest that neither is live nor would be rolled back to; good ones stay longer than failed. */
static uint32_t least_wanted(tarn_slot *slot)
{
    const struct tarn_bundle *live = live_of(slot);
    uint32_t found = slot->kept_count, fallback = found;
    for (uint32_t i = 0; i < slot->kept_count && found == slot->kept_count; i++) {
        const struct kept *k = &slot->kept[i];
        if (k->bundle == live || k->version == live->parent || k->version == slot->guarded)
            continue;
        if (k->failed)
            found = i;
        else if (fallback == slot->kept_count)
            fallback = i;
    }
    /* the newest failure is for inspection, so a single one waits until there is no other */
    return found < slot->kept_count &&
                   (found + 1 < slot->kept_count || fallback == slot->kept_count)
               ? found
               : fallback;
}

static void keep(tarn_slot *slot, struct tarn_bundle *bundle, bool failed)
{
    if (slot->kept_count == slot->keep) {
        uint32_t i = least_wanted(slot);
        slot->kept[i].bundle->next = slot->dropped;
        slot->dropped = slot->kept[i].bundle;
        slot->kept_count--;
        memmove(slot->kept + i, slot->kept + i + 1, (slot->kept_count - i) * sizeof *slot->kept);
    }
    slot->kept[slot->kept_count++] =
        (struct kept){tarn_bundle_hold(bundle), bundle->version, failed};
}

static void cool(tarn_slot *slot, uint64_t hash, uint64_t requests)
{
    slot->cooling[slot->cooling_count++ % COOLING] = (struct cooling){hash, requests};
}

/*
 * What failed isn't tried again soon. Networks of tags change beside the others: unless it was only these that
 * were new, the rest is remembered by itself.
 */
static void cool_bundle(tarn_slot *slot, const struct tarn_bundle *bundle, uint64_t requests)
{
    const struct kept *parent = find(slot, bundle->parent);
    cool(slot, bundle->hash, requests);
    if (bundle->own != bundle->hash && parent != NULL && parent->bundle->own != bundle->own)
        cool(slot, bundle->own, requests);
}

static bool is_cooling(const tarn_slot *slot, uint64_t hash, uint64_t requests)
{
    uint32_t count = slot->cooling_count < COOLING ? slot->cooling_count : COOLING;
    for (uint32_t i = 0; i < count; i++) {
        const struct cooling *c = &slot->cooling[i];
        /* a time before the failure is a caller that counts anew: it waits as well */
        if (c->hash == hash && (requests < c->since || requests - c->since < slot->cooldown))
            return true;
    }
    return false;
}

static void note(tarn_slot *slot, tarn_event_kind kind, uint64_t version, uint64_t parent,
                 uint64_t hash, const struct tarn_change *why)
{
    if (slot->history != NULL)
        tarn_history_add(slot->history, kind, version, parent, hash, why);
}

/* ---- under the lock: going live, and leaving ---- */

static uint32_t reap(tarn_slot *slot)
{
    while (slot->dropped != NULL) {
        struct tarn_bundle *bundle = slot->dropped;
        slot->dropped = bundle->next;
        tarn_bundle_release(&bundle);
    }
    if (slot->leaving_count == 0)
        return 0;
    unsigned passed = tarn_reclaim_passed(&slot->front.reclaim);
    while (slot->leaving_count > 0) {
        struct leaving *first = &slot->leaving[slot->leaving_at];
        if (!tarn_reclaim_is_past(first->period, passed))
            break;
        tarn_bundle_release(&first->bundle);
        slot->leaving_at = (slot->leaving_at + 1) % WAITING;
        slot->leaving_count--;
    }
    return slot->leaving_count;
}

/* There is room for the one that leaves. `bundle`: a reference that being live is. */
static void go_live(tarn_slot *slot, struct tarn_bundle *bundle)
{
    struct tarn_bundle *before =
        tarn_step_exchange(&slot->front.live, bundle, memory_order_seq_cst);
    unsigned period = tarn_reclaim_begin(&slot->front.reclaim);
    slot->leaving[(slot->leaving_at + slot->leaving_count++) % WAITING] =
        (struct leaving){before, period};
}

static tarn_status make_room(tarn_slot *slot, struct tarn_error *error)
{
    if (slot->leaving_count < WAITING || reap(slot) < WAITING)
        return TARN_OK;
    return tarn_fail(error, TARN_BUSY, "model slot: a reader has been in one batch for %d swaps",
                     WAITING);
}

/* May anything change now? */
static tarn_status check_writer(tarn_slot *slot, uint64_t base, struct tarn_error *error)
{
    uint64_t live = live_of(slot)->version;
    if (base != 0 && base != live)
        return tarn_fail(error, TARN_BUSY, "model slot: version %" PRIu64 " is live, not %" PRIu64,
                         live, base);
    if (slot->pinned != 0)
        return tarn_fail(error, TARN_BUSY, "model slot: version %" PRIu64 " is pinned",
                         slot->pinned);
    return make_room(slot, error);
}

static tarn_status check_bundle(tarn_slot *slot, const struct tarn_bundle *bundle,
                                struct tarn_error *error)
{
    const struct tarn_shape *is = &bundle->model->shape, *wanted = &slot->shape;
    if (bundle->version != 0)
        return tarn_fail(error, TARN_INVALID,
                         "model slot: version %" PRIu64 " is in a slot already", bundle->version);
    if (memcmp(is, wanted, sizeof *is) != 0)
        return tarn_fail(error, TARN_INVALID,
                         "model slot: a network of %u-%u-%u-%u where %u-%u-%u-%u runs",
                         (unsigned)is->inputs, (unsigned)is->hidden1, (unsigned)is->hidden2,
                         (unsigned)is->outputs, (unsigned)wanted->inputs, (unsigned)wanted->hidden1,
                         (unsigned)wanted->hidden2, (unsigned)wanted->outputs);
    return TARN_OK;
}

static void number(tarn_slot *slot, struct tarn_bundle *bundle, uint64_t parent, uint64_t *version)
{
    bundle->version = slot->next_version++;
    bundle->parent = parent;
    if (version != NULL)
        *version = bundle->version;
}

/* ---- made and freed ---- */

/* Those that failed before the restart are still waited for. */
static tarn_status recall(tarn_slot *slot)
{
    size_t room = tarn_history_count(slot->history) + 1;
    struct tarn_history_record *events = tarn_alloc(room * sizeof *events);
    if (events == NULL)
        return TARN_NO_MEMORY;
    size_t count = tarn_history_read(slot->history, events, room);
    for (size_t i = 0; i < count; i++)
        if (events[i].failed)
            cool(slot, events[i].hash, events[i].requests);
    slot->next_version = tarn_history_version(slot->history) + 1;
    tarn_free(events);
    return TARN_OK;
}

tarn_status tarn_slot_create(const struct tarn_slot_params *params, struct tarn_bundle *first,
                             const struct tarn_change *why, tarn_slot **slot,
                             struct tarn_error *error)
{
    *slot = NULL;
    if (first->version != 0)
        return tarn_fail(error, TARN_INVALID, "model slot: the bundle is in a slot already");
    tarn_slot *s = tarn_alloc_aligned(128, sizeof *s);
    if (s == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "model slot: out of memory");
    memset(s, 0, sizeof *s);
    s->keep = params->keep == 0 ? KEEP_DEFAULT : params->keep;
    s->keep = s->keep < KEEP_LEAST ? KEEP_LEAST : s->keep;
    s->cooldown = params->cooldown != 0 ? params->cooldown : COOLDOWN_DEFAULT;
    s->history = params->history;
    s->shape = first->model->shape;
    s->next_version = 1;
    s->kept = tarn_alloc_zeroed(s->keep, sizeof *s->kept);
    if (s->kept == NULL || (s->history != NULL && recall(s) != TARN_OK)) {
        tarn_free(s->kept);
        tarn_free(s);
        return tarn_fail(error, TARN_NO_MEMORY, "model slot: out of memory");
    }
    pthread_mutex_init(&s->lock, NULL);
    tarn_reclaim_init(&s->front.reclaim);
    number(s, first, 0, NULL);
    atomic_init(&s->front.live, first);
    keep(s, first, false);
    note(s, TARN_EVENT_SWAP, first->version, 0, first->hash, why);
    *slot = s;
    return TARN_OK;
}

void tarn_slot_destroy(tarn_slot **slot)
{
    tarn_slot *s = *slot;
    *slot = NULL;
    if (s == NULL)
        return;
    while (s->front.reclaim.readers != NULL) {
        struct tarn_reader *reader = s->front.reclaim.readers;
        tarn_reclaim_remove(&s->front.reclaim, reader);
        tarn_free((char *)reader - offsetof(struct tarn_slot_reader, reader));
    }
    reap(s);
    struct tarn_bundle *live = live_of(s);
    tarn_bundle_release(&live);
    for (uint32_t i = 0; i < s->kept_count; i++)
        tarn_bundle_release(&s->kept[i].bundle);
    pthread_mutex_destroy(&s->lock);
    tarn_free(s->kept);
    tarn_free(s);
}

tarn_status tarn_slot_register(tarn_slot *slot, struct tarn_slot_reader **reader)
{
    *reader = tarn_alloc_aligned(128, sizeof **reader);
    if (*reader == NULL)
        return TARN_NO_MEMORY;
    (*reader)->front = &slot->front;
    tarn_step_lock(&slot->lock);
    tarn_reclaim_add(&slot->front.reclaim, &(*reader)->reader);
    tarn_step_unlock(&slot->lock);
    return TARN_OK;
}

void tarn_slot_unregister(tarn_slot *slot, struct tarn_slot_reader **reader)
{
    if (*reader == NULL)
        return;
    tarn_reader_offline(&(*reader)->reader);
    tarn_step_lock(&slot->lock);
    tarn_reclaim_remove(&slot->front.reclaim, &(*reader)->reader);
    tarn_step_unlock(&slot->lock);
    tarn_free(*reader);
    *reader = NULL;
}

/* ---- writers ---- */

tarn_status tarn_slot_swap(tarn_slot *slot, struct tarn_bundle *bundle, uint64_t base,
                           const struct tarn_change *why, uint64_t *version,
                           struct tarn_error *error)
{
    tarn_step_lock(&slot->lock);
    tarn_status status = check_writer(slot, base, error);
    if (status == TARN_OK)
        status = check_bundle(slot, bundle, error);
    if (status == TARN_OK && is_cooling(slot, bundle->hash, why->requests))
        status = tarn_fail(error, TARN_COOLDOWN,
                           "model slot: an equal model (%016" PRIx64 ") failed not long ago",
                           bundle->hash);
    if (status == TARN_OK) {
        number(slot, bundle, live_of(slot)->version, version);
        go_live(slot, bundle);
        keep(slot, bundle, false);
        slot->swaps++;
        note(slot, TARN_EVENT_SWAP, bundle->version, bundle->parent, bundle->hash, why);
    }
    tarn_step_unlock(&slot->lock);
    return status;
}

/* The nearest ancestor that is kept and hasn't failed. */
static struct kept *ancestor(tarn_slot *slot)
{
    uint64_t version = live_of(slot)->parent;
    struct kept *k;
    while ((k = find(slot, version)) != NULL && k->failed)
        version = k->bundle->parent;
    return k;
}

/* Under the lock, when it may. The version that leaves may have failed. */
static void return_to(tarn_slot *slot, struct kept *target, tarn_event_kind kind,
                      const struct tarn_change *why)
{
    const struct tarn_bundle *left = live_of(slot);
    uint64_t version = left->version, hash = left->hash;
    if (why->failed) {
        struct kept *k = find(slot, version);
        if (k != NULL)
            k->failed = true;
        cool_bundle(slot, left, why->requests);
    }
    target->failed = false; /* somebody trusts it again */
    go_live(slot, tarn_bundle_hold(target->bundle));
    note(slot, kind, target->version, version, hash, why);
}

tarn_status tarn_slot_rollback(tarn_slot *slot, uint64_t target, uint64_t base,
                               const struct tarn_change *why, uint64_t *version,
                               struct tarn_error *error)
{
    tarn_step_lock(&slot->lock);
    tarn_status status = check_writer(slot, base, error);
    struct kept *k = target != 0 ? find(slot, target) : ancestor(slot);
    if (status == TARN_OK && k == NULL)
        status = tarn_fail(error, TARN_NOT_FOUND, "model slot: no version to go back to is kept");
    else if (status == TARN_OK && k->bundle == live_of(slot))
        status = tarn_fail(error, TARN_INVALID, "model slot: version %" PRIu64 " is live", target);
    if (status == TARN_OK) {
        return_to(slot, k, TARN_EVENT_ROLLBACK, why);
        slot->rollbacks++;
        if (version != NULL)
            *version = k->version;
    }
    tarn_step_unlock(&slot->lock);
    return status;
}

tarn_status tarn_slot_reject(tarn_slot *slot, struct tarn_bundle *bundle,
                             const struct tarn_change *why, uint64_t *version,
                             struct tarn_error *error)
{
    struct tarn_change failed = *why;
    failed.failed = true;
    tarn_step_lock(&slot->lock);
    tarn_status status = check_bundle(slot, bundle, error);
    if (status == TARN_OK) {
        number(slot, bundle, live_of(slot)->version, version);
        keep(slot, bundle, true);
        cool_bundle(slot, bundle, why->requests);
        slot->rejected++;
        /* by what it is beside whatever networks of tags there are after a restart */
        note(slot, TARN_EVENT_REJECT, bundle->version, bundle->parent, bundle->own, &failed);
    }
    tarn_step_unlock(&slot->lock);
    if (status == TARN_OK)
        tarn_bundle_release(&bundle); /* the kept one is another */
    return status;
}

void tarn_slot_condemn(tarn_slot *slot, const struct tarn_bundle *bundle,
                       const struct tarn_change *why)
{
    struct tarn_change failed = *why;
    failed.failed = true;
    tarn_step_lock(&slot->lock);
    struct kept *k = find(slot, bundle->version);
    if (k != NULL)
        k->failed = true;
    cool_bundle(slot, bundle, why->requests);
    note(slot, TARN_EVENT_REJECT, bundle->version, bundle->parent, bundle->hash, &failed);
    tarn_step_unlock(&slot->lock);
}

tarn_status tarn_slot_pin(tarn_slot *slot, uint64_t version, const struct tarn_change *why,
                          struct tarn_error *error)
{
    tarn_step_lock(&slot->lock);
    uint64_t live = live_of(slot)->version;
    struct kept *k = find(slot, version != 0 ? version : live);
    tarn_status status = TARN_OK;
    if (k == NULL)
        status =
            tarn_fail(error, TARN_NOT_FOUND, "model slot: version %" PRIu64 " isn't kept", version);
    else if (k->version != live)
        status = make_room(slot, error);
    if (status == TARN_OK) {
        if (k->version != live)
            return_to(slot, k, TARN_EVENT_PIN, why);
        else
            note(slot, TARN_EVENT_PIN, live, k->bundle->parent, k->bundle->hash, why);
        slot->pinned = k->version;
    }
    tarn_step_unlock(&slot->lock);
    return status;
}

tarn_status tarn_slot_unpin(tarn_slot *slot, const struct tarn_change *why,
                            struct tarn_error *error)
{
    tarn_step_lock(&slot->lock);
    tarn_status status = TARN_OK;
    const struct tarn_bundle *live = live_of(slot);
    if (slot->pinned == 0)
        status = tarn_fail(error, TARN_NOT_FOUND, "model slot: nothing is pinned");
    else
        note(slot, TARN_EVENT_UNPIN, live->version, live->parent, live->hash, why);
    slot->pinned = 0;
    tarn_step_unlock(&slot->lock);
    return status;
}

tarn_status tarn_slot_guard(tarn_slot *slot, uint64_t version)
{
    tarn_step_lock(&slot->lock);
    tarn_status status = version != 0 && slot->keep < KEEP_GUARDED     ? TARN_INVALID
                         : version != 0 && find(slot, version) == NULL ? TARN_NOT_FOUND
                                                                       : TARN_OK;
    if (status == TARN_OK)
        slot->guarded = version;
    tarn_step_unlock(&slot->lock);
    return status;
}

/* ---- looking ---- */

bool tarn_slot_is_cooling(tarn_slot *slot, uint64_t hash, uint64_t requests)
{
    tarn_step_lock(&slot->lock);
    bool cooling = is_cooling(slot, hash, requests);
    tarn_step_unlock(&slot->lock);
    return cooling;
}

tarn_status tarn_slot_hold(tarn_slot *slot, uint64_t version, struct tarn_bundle **bundle)
{
    tarn_step_lock(&slot->lock);
    const struct kept *k = find(slot, version != 0 ? version : live_of(slot)->version);
    *bundle = k != NULL ? tarn_bundle_hold(k->bundle) : NULL;
    tarn_step_unlock(&slot->lock);
    return *bundle != NULL ? TARN_OK : TARN_NOT_FOUND;
}

uint32_t tarn_slot_reap(tarn_slot *slot)
{
    tarn_step_lock(&slot->lock);
    uint32_t waiting = reap(slot);
    tarn_step_unlock(&slot->lock);
    return waiting;
}

void tarn_slot_get_stats(tarn_slot *slot, struct tarn_slot_stats *stats)
{
    tarn_step_lock(&slot->lock);
    const struct tarn_bundle *live = live_of(slot);
    *stats = (struct tarn_slot_stats){
        .live = live->version,
        .parent = live->parent,
        .pinned = slot->pinned,
        .swaps = slot->swaps,
        .rollbacks = slot->rollbacks,
        .rejected = slot->rejected,
        .kept = slot->kept_count,
        .waiting = slot->leaving_count,
        .cooling = slot->cooling_count < COOLING ? slot->cooling_count : COOLING,
        .memory = sizeof *slot + slot->keep * sizeof *slot->kept,
    };
    for (uint32_t i = 0; i < slot->kept_count; i++)
        stats->memory += tarn_bundle_memory(slot->kept[i].bundle);
    tarn_step_unlock(&slot->lock);
}
