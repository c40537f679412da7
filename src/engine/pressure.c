/* SPDX-License-Identifier: Apache-2.0 */
#include "pressure.h"

#include <math.h>

#define SECOND     1000000000u
#define LEAST_STEP (SECOND / 20)
#define SMOOTH     0.4 /* a sample's part of the average */
#define MOST_DWELL (60 * (uint64_t)SECOND)
#define IN_VAIN    2 /* a fall followed by a rise within so many dwell times */

void tarn_pressure_init(struct tarn_pressure *p, const struct tarn_pressure_params *params)
{
    *p = (struct tarn_pressure){.params = *params};
    if (!(p->params.budget > 0))
        p->params.budget = 0.5;
    if (!(p->params.low > 0 && p->params.low < 1))
        p->params.low = 0.5;
    if (p->params.rise_ns == 0)
        p->params.rise_ns = SECOND;
    if (p->params.dwell_ns == 0)
        p->params.dwell_ns = 5 * (uint64_t)SECOND;
    p->dwell_ns = p->params.dwell_ns;
}

static void begin(struct tarn_pressure *p, const struct tarn_pressure_sample *sample)
{
    p->begun = true;
    p->under = false;
    p->seen_ns = p->changed_ns = sample->now_ns;
    p->seen_requests = sample->requests;
}

static bool change(struct tarn_pressure *p, uint64_t now_ns, bool up)
{
    uint64_t since = now_ns - p->changed_ns;
    if (up && p->fell && since < IN_VAIN * p->dwell_ns)
        p->dwell_ns = p->dwell_ns < MOST_DWELL / 2 ? p->dwell_ns * 2 : MOST_DWELL;
    else if (up || since > 4 * p->dwell_ns)
        p->dwell_ns = p->params.dwell_ns;
    p->level += up ? 1 : UINT32_MAX;
    p->fell = !up;
    p->changes++;
    p->changed_ns = now_ns;
    p->under = false;
    return true;
}

bool tarn_pressure_feed(struct tarn_pressure *p, const struct tarn_pressure_sample *sample)
{
    uint64_t now = sample->now_ns;
    if (!p->begun || now < p->seen_ns || sample->requests < p->seen_requests) {
        begin(p, sample);
        return false;
    }
    if (now - p->seen_ns < LEAST_STEP)
        return false;
    double seconds = (double)(now - p->seen_ns) / SECOND;
    p->rate = (double)(sample->requests - p->seen_requests) / seconds;
    p->seen_ns = now;
    p->seen_requests = sample->requests;
    if (isfinite(sample->policy_ns) && sample->policy_ns >= 0)
        p->load += SMOOTH * (p->rate * sample->policy_ns / SECOND - p->load);
    double budget = p->params.budget * (sample->strained ? 0.5 : 1);
    if (p->load > budget) {
        p->under = false;
        return p->level < p->params.levels && now - p->changed_ns >= p->params.rise_ns
                   ? change(p, now, true)
                   : false;
    }
    if (p->level == 0 || p->load > budget * p->params.low) {
        p->under = false;
        return false;
    }
    if (!p->under) {
        p->under = true;
        p->under_ns = now;
    }
    return now - p->under_ns >= p->dwell_ns ? change(p, now, false) : false;
}
