/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounds that the background's thread prepares on the host: requests find their victims in a list, as where
 * a device scores. Drawing and choosing are under the cache's lock, the scores aren't.
 */
#include "engine_private.h"

#include "base/log.h"
#include "model/ensemble.h"

#define LEAST_VICTIMS 8 /* of a round that is worth another thread's while */
#define MOST_AT_ONCE  4 /* rounds of one look */

void tarn_ahead_hurry(struct tarn_engine *e)
{
    if (atomic_exchange(&e->hurried, true))
        return;
    /* under its lock, or who is about to sleep misses it; nothing else is taken under that one */
    pthread_mutex_lock(&e->wake_lock);
    pthread_cond_signal(&e->wake);
    pthread_mutex_unlock(&e->wake_lock);
}

static void hurry(void *context)
{
    tarn_ahead_hurry(context);
}

tarn_status tarn_ahead_init(struct tarn_engine *e)
{
    if (e->params.background != TARN_BACKGROUND_THREAD)
        return TARN_OK;
    tarn_status status = tarn_round_init(&e->ahead, TARN_POOL_MAX + TARN_AHEAD_AT_ONCE * 32,
                                         e->learned->live.experts, NULL);
    if (status != TARN_OK)
        return status;
    e->ahead.ahead = true;
    e->ahead.at_once = TARN_AHEAD_AT_ONCE;
    tarn_cache_lock(e->cache);
    e->learned->world.low = hurry;
    e->learned->world.low_context = e;
    tarn_cache_unlock(e->cache);
    return TARN_OK;
}

void tarn_ahead_free(struct tarn_engine *e)
{
    tarn_round_free(&e->ahead);
}

static bool fill_list(struct tarn_engine *e)
{
    struct tarn_round *round = &e->ahead;
    struct tarn_evictor *live = &e->learned->live;
    tarn_cache_lock(e->cache);
    uint32_t victims = tarn_round_victims(live, true);
    bool wanted = victims >= LEAST_VICTIMS && live->evictions > 0 &&
                  tarn_evictor_stock(live) <= victims * 3 / 4;
    if (wanted) {
        tarn_round_draw(live, round, tarn_cache_now(e->cache));
        tarn_round_leave(live, round);
    }
    tarn_cache_unlock(e->cache);
    if (!wanted || round->count == 0)
        return false;
    /* what it has entered is live until this look is over: swaps are under the background's lock too */
    round->bundle = e->versions.live;
    tarn_round_score(live, round);
    round->bundle = NULL;
    tarn_cache_lock(e->cache);
    tarn_round_finish(live, round);
    tarn_cache_unlock(e->cache);
    e->rounds_ahead++;
    return true;
}

void tarn_ahead_look(struct tarn_engine *e)
{
    const struct tarn_bundle *live = e->versions.live;
    bool by_device = e->score != NULL && live->tags == 0 && tarn_ensemble_sole(live) != NULL;
    if (e->ahead.room == 0 || by_device || e->round_in_flight)
        return;
    for (int n = 0; n < MOST_AT_ONCE && fill_list(e); n++)
        continue;
}
