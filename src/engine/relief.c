/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine gives up under load, and when: pressure.h's levels, carried out by the policy. With steps
 * nothing that is measured has a say, so that a replay gives the same each time.
 */
#include "engine_private.h"

#include <math.h>

#include "base/clock.h"
#include "base/log.h"
#include "width.h"

#define LOOK_NS 200000000u /* between two samples */
#define NO_CPU  0.97       /* of the CPUs are busy: nothing is left */

/* From level 0 on; each gives up what those before it do. */
static const struct {
    uint32_t width; /* pressure on the network's width */
    tarn_relief relief;
    const char *text;
} levels[] = {
    {0, TARN_RELIEF_NONE, "everything on"},
    {1, TARN_RELIEF_NONE, "as narrow a network as is of use"},
    {1, TARN_RELIEF_HALF_SHADOWS, "half of the shadows' keys"},
    {1, TARN_RELIEF_SHORT_ROUNDS, "fewer candidates too"},
    {1, TARN_RELIEF_NO_SHADOWS, "no shadows"},
};
enum { MOST = sizeof levels / sizeof levels[0] - 1 };
_Static_assert(MOST == TARN_ENGINE_RELIEF_MOST, "as the header says");

static void apply(struct tarn_engine *e, uint32_t level)
{
    tarn_cache_lock(e->cache);
    tarn_learned_relieve(e->learned, levels[level].relief);
    tarn_cache_unlock(e->cache);
    tarn_width_press(e, levels[level].width);
    e->relief = level;
}

tarn_status tarn_relief_init(struct tarn_engine *e)
{
    if (e->params.relief > (int)MOST)
        return TARN_INVALID;
    tarn_pressure_init(
        &e->pressure,
        &(struct tarn_pressure_params){.levels = MOST, .budget = (double)e->params.policy_budget});
    tarn_cache_lock(e->cache);
    e->learned->times = e->params.background == TARN_BACKGROUND_THREAD && e->params.relief == 0;
    tarn_cache_unlock(e->cache);
    if (e->params.relief > 0)
        apply(e, (uint32_t)e->params.relief);
    return TARN_OK;
}

void tarn_relief_look(struct tarn_engine *e)
{
    struct tarn_pressure_sample sample = {.now_ns = tarn_clock_ns()};
    if (e->params.relief != 0 || e->params.background == TARN_BACKGROUND_STEPS ||
        sample.now_ns - e->relief_seen_ns < LOOK_NS)
        return;
    e->relief_seen_ns = sample.now_ns;
    tarn_cache_lock(e->cache);
    struct tarn_timed timed = tarn_learned_take_time(e->learned);
    sample.requests = tarn_cache_now(e->cache);
    tarn_cache_unlock(e->cache);
    sample.policy_ns = timed.requests > 0 ? (double)timed.ns / (double)timed.requests : NAN;
    /* of a board that nobody has looked at nothing is known */
    sample.strained = e->board_seen_ns > 0 && (e->cpu_load > NO_CPU || e->verdict.share < 1);
    if (!tarn_pressure_feed(&e->pressure, &sample))
        return;
    uint32_t level = e->pressure.level;
    tarn_log(level > e->relief ? TARN_LOG_WARNING : TARN_LOG_INFO,
             "engine: %.0f requests a second take %.0f %% of a core%s: %s", e->pressure.rate,
             e->pressure.load * 100, sample.strained ? " of a strained board" : "",
             levels[level].text);
    apply(e, level);
}

void tarn_relief_get_stats(const struct tarn_engine *e, struct tarn_engine_stats *stats)
{
    stats->relief = e->relief;
    stats->relief_changes = e->pressure.changes;
    stats->policy_load = (float)e->pressure.load;
}
