/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An expert that gives no numbers: its rounds go on without it (src/evict/round.c); here it is said, once, and
 * a version whose network does so again and again is rolled back.
 */
#include "engine_private.h"

#include "base/clock.h"
#include "base/log.h"

#define AT_FAULT_AFTER 16 /* rounds in a row: not one odd candidate, the version is broken */
#define QUIET_NS       60000000000u         /* between two lines */
#define QUIET_REQUESTS (UINT64_C(60) << 16) /* the same with steps */

static uint64_t quiet_of(const struct tarn_engine *e)
{
    return e->params.background == TARN_BACKGROUND_STEPS ? QUIET_REQUESTS : QUIET_NS;
}

static void say(struct tarn_engine *e, const struct tarn_unsound *found, uint64_t requests)
{
    struct tarn_weather *w = &e->weather;
    uint64_t now = e->params.background == TARN_BACKGROUND_STEPS ? requests : tarn_clock_ns();
    if (found->out == w->out)
        return;
    if (found->out != 0 && (!w->told || now - w->told_at > quiet_of(e))) {
        tarn_log(TARN_LOG_WARNING,
                 "engine: version %llu: %s gives no numbers: others decide until it does",
                 (unsigned long long)found->version,
                 found->out & 1u << TARN_EXPERT_NET ? "the network" : "a heuristic");
        w->told = true;
        w->told_at = now;
        w->out = found->out;
        w->say_back = true;
    } else if (found->out == 0) {
        if (w->say_back)
            tarn_log(TARN_LOG_INFO, "engine: all experts give numbers again");
        w->out = 0;
        w->say_back = false;
    }
}

/* Back to an ancestor, or to what the engine began with. */
static void replace(struct tarn_engine *e, uint64_t version)
{
    struct tarn_versions *v = &e->versions;
    struct tarn_change why =
        tarn_versions_change(e, TARN_REASON_REGRESSION, "its scores are no numbers");
    struct tarn_error error = {0};
    uint64_t live = 0;
    if (v->live->version != version)
        return; /* it is gone already */
    struct tarn_bundle *failed = tarn_bundle_hold(v->live);
    why.failed = true;
    tarn_status status = tarn_slot_rollback(v->slot, 0, version, &why, &live, &error);
    if (status == TARN_OK) {
        tarn_log(TARN_LOG_WARNING, "engine: version %llu gives no numbers: %llu is live again",
                 (unsigned long long)version, (unsigned long long)live);
        tarn_versions_changed(e, TARN_VERSION_RETURNED);
    } else {
        struct tarn_slot_stats slot;
        tarn_slot_get_stats(v->slot, &slot);
        if (slot.pinned != 0)
            e->weather.blamed = 0; /* asked again: it may be unpinned */
        if (slot.pinned != 0 && e->weather.pinned == version) {
            tarn_bundle_release(&failed);
            return;
        }
        e->weather.pinned = version;
        /* pinned, or the first of all: heuristics go on deciding */
        tarn_log(TARN_LOG_WARNING, "engine: version %llu gives no numbers, but stays: %s",
                 (unsigned long long)version, error.message);
    }
    tarn_bundle_release(&failed);
}

void tarn_weather_look(struct tarn_engine *e)
{
    struct tarn_weather *w = &e->weather;
    tarn_cache_lock(e->cache);
    struct tarn_unsound found = e->learned->live.unsound;
    uint64_t requests = tarn_cache_now(e->cache);
    tarn_cache_unlock(e->cache);
    if (found.rounds == w->seen && found.out == w->out)
        return;
    w->seen = found.rounds;
    say(e, &found, requests);
    if (found.in_a_row >= AT_FAULT_AFTER && found.version != w->blamed) {
        w->blamed = found.version;
        replace(e, found.version);
    }
}
