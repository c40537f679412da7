/* SPDX-License-Identifier: Apache-2.0 */
#include "canary.h"

#include <math.h>

#include "base/hash.h"

#define DOUBT_ERRORS 2.0  /* standard errors of the calibration that are given away, */
#define DOUBT_SHARE  0.25 /* and which share of the margin they may be */
#define LEAST_BLOCKS 16   /* of a calibration */
#define SALT         0x7461726e63616e61u /* other bits than shadows and held-out keys use */

static const double shares[TARN_ROLLOUT_STEPS + 1] = {0.01, 0.05, 0.25, 1};

static bool is_probability(double p)
{
    return p > 0 && p < 1;
}

tarn_status tarn_rollout_init(struct tarn_rollout *rollout,
                              const struct tarn_rollout_params *params)
{
    static const double margins[TARN_ROLLOUT_STEPS] = {0.16, 0.06, 0.02};
    *rollout = (struct tarn_rollout){.params = *params, .calibrating = !params->paired};
    struct tarn_rollout_params *p = &rollout->params;
    p->alpha = p->alpha == 0 ? 0.01 : p->alpha;
    p->beta = p->beta == 0 ? 0.02 : p->beta;
    p->block = p->block == 0 ? 256 : p->block;
    p->limit = p->limit == 0 ? 8192 : p->limit;
    if (!is_probability(p->alpha) || !is_probability(p->beta))
        return TARN_INVALID;
    for (int k = 0; k < TARN_ROLLOUT_STEPS; k++) {
        p->margin[k] = p->margin[k] == 0 ? margins[k] : p->margin[k];
        if (!is_probability(p->margin[k]))
            return TARN_INVALID;
        rollout->arm[k].ratio = 1;
        tarn_evalue_init(&rollout->arm[k].worse);
        tarn_evalue_init(&rollout->arm[k].passed);
    }
    return TARN_OK;
}

uint32_t tarn_rollout_segment(uint64_t hash)
{
    double place = (double)(tarn_mix64(hash ^ SALT) >> 11) * 0x1p-53;
    uint32_t segment = 0;
    while (place >= shares[segment])
        segment++;
    return segment;
}

double tarn_rollout_share(uint32_t step)
{
    return shares[step < TARN_ROLLOUT_STEPS ? step : TARN_ROLLOUT_STEPS];
}

bool tarn_rollout_governs(const struct tarn_rollout *rollout, uint64_t hash)
{
    if (rollout->verdict == TARN_ROLLOUT_LIVE)
        return true;
    return rollout->verdict <= TARN_ROLLOUT_ADVANCE && !rollout->calibrating &&
           tarn_rollout_segment(hash) <= rollout->step;
}

static void add_counts(struct tarn_rollout_counts *to, const struct tarn_rollout_counts *c)
{
    to->requests += c->requests;
    to->misses += c->misses;
    to->control_requests += c->control_requests;
    to->control_misses += c->control_misses;
}

/* Takes a whole block, if there is one: miss ratios of the arm and of its control. */
static bool take_block(struct tarn_rollout_arm *arm, uint32_t block,
                       const struct tarn_rollout_counts *counts, double *t, double *c)
{
    struct tarn_rollout_counts *b = &arm->block;
    add_counts(b, counts);
    add_counts(&arm->total, counts);
    if (b->requests < block || b->control_requests < block)
        return false;
    *t = (double)b->misses / (double)b->requests;
    *c = (double)b->control_misses / (double)b->control_requests;
    *b = (struct tarn_rollout_counts){0};
    arm->blocks++;
    return true;
}

/* Ratio of two means with its standard error, to first order (Cochran 1977, "ratio estimation"). */
static bool calibrate(struct tarn_rollout_arm *arm, double margin, double t, double c)
{
    arm->sum_t += t;
    arm->sum_c += c;
    arm->sum_tt += t * t;
    arm->sum_cc += c * c;
    arm->sum_tc += t * c;
    double n = arm->blocks;
    if (n < LEAST_BLOCKS || !(arm->sum_c > 0) || !(arm->sum_t > 0))
        return false;
    double r = arm->sum_t / arm->sum_c, mean = arm->sum_c / n;
    double rest = (arm->sum_tt - 2 * r * arm->sum_tc + r * r * arm->sum_cc) / (n - 1);
    arm->ratio = r;
    arm->doubt = DOUBT_ERRORS * sqrt((rest > 0 ? rest : 0) / n) / (mean * r);
    return arm->doubt <= DOUBT_SHARE * margin;
}

static tarn_rollout_verdict feed_calibration(struct tarn_rollout *r,
                                             const struct tarn_rollout_counts *counts)
{
    uint32_t known = 0, most = r->params.calibration;
    bool estimated = most > 0 && r->arm[0].blocks >= most;
    for (uint32_t k = 0; k < TARN_ROLLOUT_STEPS; k++) {
        struct tarn_rollout_arm *arm = &r->arm[k];
        double t, c, allowed = DOUBT_SHARE * r->params.margin[k];
        bool is_known = arm->blocks >= LEAST_BLOCKS && arm->doubt > 0 && arm->doubt <= allowed;
        if (take_block(arm, r->params.block, &counts[k], &t, &c))
            is_known = calibrate(arm, r->params.margin[k], t, c);
        known += is_known;
        estimated = estimated && arm->blocks >= LEAST_BLOCKS && arm->sum_c > 0 && arm->sum_t > 0;
        if (!is_known && arm->blocks >= r->params.limit)
            return TARN_ROLLOUT_TIMEOUT;
    }
    if (known == TARN_ROLLOUT_STEPS || estimated) {
        r->calibrating = false;
        for (uint32_t k = 0; k < TARN_ROLLOUT_STEPS; k++) {
            r->arm[k].blocks = 0;
            r->arm[k].total = r->arm[k].block = (struct tarn_rollout_counts){0};
        }
    }
    return TARN_ROLLOUT_CONTINUE;
}

static tarn_rollout_verdict next_step(struct tarn_rollout *r)
{
    return ++r->step == TARN_ROLLOUT_STEPS ? TARN_ROLLOUT_LIVE : TARN_ROLLOUT_ADVANCE;
}

static tarn_rollout_verdict feed_step(struct tarn_rollout *r,
                                      const struct tarn_rollout_counts *counts)
{
    struct tarn_rollout_arm *arm = &r->arm[r->step];
    const struct tarn_rollout_params *p = &r->params;
    double t, c, margin = p->margin[r->step], noticed = margin - 2 * arm->doubt;
    /* a bet is made before the block is seen */
    double control = arm->blocks > 0 ? arm->seen / arm->blocks : 0;
    if (!take_block(arm, p->block, counts, &t, &c))
        return TARN_ROLLOUT_CONTINUE;
    double expected = arm->ratio * c;
    arm->seen += expected;
    /* what is left when the doubt is against it: worse by the margin, or just as good */
    double aim = control * (noticed > margin / 4 ? noticed : margin / 4);
    tarn_evalue_add(&arm->worse, t - expected * (1 + arm->doubt), aim);
    if (arm->total.requests > p->settle)
        tarn_evalue_add(&arm->passed, expected * (1 + margin - arm->doubt) - t, aim);
    if (tarn_evalue_log(&arm->worse) >= log(TARN_ROLLOUT_STEPS / p->alpha))
        return TARN_ROLLOUT_REJECT;
    if (tarn_evalue_log(&arm->passed) >= -log(p->beta))
        return next_step(r);
    return arm->blocks >= p->limit ? TARN_ROLLOUT_TIMEOUT : TARN_ROLLOUT_CONTINUE;
}

tarn_rollout_verdict tarn_rollout_feed(struct tarn_rollout *r,
                                       const struct tarn_rollout_counts counts[TARN_ROLLOUT_STEPS])
{
    if (r->verdict > TARN_ROLLOUT_ADVANCE)
        return r->verdict;
    r->verdict = r->calibrating ? feed_calibration(r, counts) : feed_step(r, &counts[r->step]);
    return r->verdict;
}

tarn_rollout_verdict tarn_rollout_advance(struct tarn_rollout *r)
{
    bool open = r->verdict <= TARN_ROLLOUT_ADVANCE || r->verdict == TARN_ROLLOUT_TIMEOUT;
    if (open && !r->calibrating && r->step < TARN_ROLLOUT_STEPS)
        r->verdict = next_step(r);
    return r->verdict;
}

double tarn_rollout_relative(const struct tarn_rollout *r, uint32_t step)
{
    const struct tarn_rollout_arm *arm = &r->arm[step];
    const struct tarn_rollout_counts *c = &arm->total;
    if (step >= TARN_ROLLOUT_STEPS || c->requests == 0 || c->control_misses == 0)
        return 0;
    double control = (double)c->control_misses / (double)c->control_requests;
    return (double)c->misses / (double)c->requests / (control * arm->ratio);
}

const char *tarn_rollout_text(tarn_rollout_verdict verdict)
{
    switch (verdict) {
    case TARN_ROLLOUT_CONTINUE:
        return "goes on";
    case TARN_ROLLOUT_ADVANCE:
        return "passed a step";
    case TARN_ROLLOUT_LIVE:
        return "passed all steps";
    case TARN_ROLLOUT_REJECT:
        return "misses more than the live model";
    case TARN_ROLLOUT_TIMEOUT:
        return "not told apart in time";
    }
    return "?";
}
