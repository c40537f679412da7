/* SPDX-License-Identifier: Apache-2.0 */
/* Several networks' scores: each way to combine them against plain code, and a broken member. */
#include "../check.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "kernels/isa.h"
#include "model/ensemble.h"

#define MEMBERS 3
#define COUNT   75 /* neither whole tiles nor whole pairs of them */
#define BINS    11

static const enum tarn_combine combines[] = {TARN_COMBINE_SCORES, TARN_COMBINE_LOGITS,
                                             TARN_COMBINE_SURVIVAL, TARN_COMBINE_CONFIDENT};
enum { WAYS = sizeof combines / sizeof combines[0] };

struct world {
    struct tarn_bundle *member[MEMBERS];
    struct tarn_bundle *bundle;
    float tiles[TARN_FEATURES * (COUNT + TARN_LANES)];
};

static struct tarn_bundle *plain(uint64_t seed)
{
    float weights[TARN_NET_PARAMETERS];
    struct tarn_rng rng;
    struct tarn_bundle *bundle = NULL;
    tarn_rng_seed(&rng, seed);
    tarn_net_init(&tarn_net_reference, &rng, weights);
    CHECK(tarn_bundle_create(
              &(struct tarn_bundle_params){.shape = tarn_net_reference, .weights = weights},
              &bundle, NULL) == TARN_OK);
    return bundle;
}

static struct tarn_bundle *ensemble(struct tarn_bundle *const *member, uint32_t count,
                                    tarn_combine combine, const float *share)
{
    struct tarn_bundle *bundle = NULL;
    struct tarn_bundle_params params = {
        .shape = tarn_net_reference,
        .weights = member[0]->model->weights,
        .combine = combine,
        .members = count,
    };
    for (uint32_t i = 0; i < count; i++)
        params.share[i] = share[i];
    for (uint32_t i = 1; i < count; i++)
        params.member[i - 1] = member[i];
    CHECK(tarn_bundle_create(&params, &bundle, NULL) == TARN_OK);
    return bundle;
}

static void begin(struct world *w)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 9);
    *w = (struct world){0};
    for (uint32_t i = 0; i < MEMBERS; i++)
        w->member[i] = plain(i + 1);
    for (size_t i = 0; i < sizeof w->tiles / sizeof w->tiles[0]; i++)
        w->tiles[i] = (float)(tarn_rng_double(&rng) * 4 - 2);
}

static void end(struct world *w)
{
    tarn_bundle_release(&w->bundle);
    for (uint32_t i = 0; i < MEMBERS; i++)
        tarn_bundle_release(&w->member[i]);
}

static void score(const struct world *w, float *scores)
{
    tarn_bundle_score(w->bundle, &(struct tarn_bundle_batch){.tiles = w->tiles, .count = COUNT},
                      scores);
}

/* ---- plain code ---- */

static double hazard(double logit)
{
    return 1 / (1 + exp(-logit));
}

static double value_of(const double *mass, const double *survival)
{
    double found = 0, area = 0, best = 0, width = 1.0 / 64;
    for (int k = 0; k < BINS; k++) {
        found += mass[k];
        area += (survival[k] + survival[k + 1]) / 2 * width;
        best = fmax(best, found / area);
        width *= k > 0 ? 2 : 1;
    }
    return log2(best + 1e-9);
}

static double score_of(const double *logits)
{
    double mass[BINS], survival[BINS + 1] = {1};
    for (int k = 0; k < BINS; k++) {
        mass[k] = survival[k] * hazard(logits[k]);
        survival[k + 1] = survival[k] - mass[k];
    }
    return value_of(mass, survival);
}

static double entropy_of(const double *logits)
{
    double survival = 1, sum = 0;
    for (int k = 0; k < BINS; k++) {
        double p = survival * hazard(logits[k]);
        sum -= p > 0 ? p * log2(p) : 0;
        survival -= p;
    }
    return sum - (survival > 0 ? survival * log2(survival) : 0);
}

/* As docs/eviction.md says it: hazards weighed by what survives of each. */
static double score_of_hazards(double logits[][BINS], const double *share, uint32_t members)
{
    double own[MEMBERS], mass[BINS], survival[BINS + 1] = {1};
    for (uint32_t i = 0; i < members; i++)
        own[i] = share[i];
    for (int k = 0; k < BINS; k++) {
        double up = 0, down = 0;
        for (uint32_t i = 0; i < members; i++) {
            up += own[i] * hazard(logits[i][k]);
            down += own[i];
            own[i] *= 1 - hazard(logits[i][k]);
        }
        mass[k] = survival[k] * up / down;
        survival[k + 1] = survival[k] - mass[k];
    }
    return value_of(mass, survival);
}

static double expected(tarn_combine combine, double logits[][BINS], const double *share,
                       uint32_t members)
{
    double mean[BINS] = {0}, sum = 0, least = INFINITY, surest = 0;
    for (uint32_t i = 0; i < members; i++) {
        double own = score_of(logits[i]), doubt = entropy_of(logits[i]);
        sum += share[i] * own;
        for (int k = 0; k < BINS; k++)
            mean[k] += share[i] * logits[i][k];
        surest = doubt < least ? own : surest;
        least = fmin(least, doubt);
    }
    switch (combine) {
    case TARN_COMBINE_LOGITS:
        return score_of(mean);
    case TARN_COMBINE_SURVIVAL:
        return score_of_hazards(logits, share, members);
    case TARN_COMBINE_CONFIDENT:
        return surest;
    default:
        return sum;
    }
}

static void read_logits(const struct world *w, uint32_t member, uint32_t sample, double *to)
{
    static float all[BINS * (COUNT + TARN_LANES)];
    tarn_logits_host(&tarn_net_reference, w->member[member]->model->weights, w->tiles, COUNT, all);
    for (uint32_t k = 0; k < BINS; k++)
        to[k] = (double)all[(sample / TARN_LANES * BINS + k) * TARN_LANES + sample % TARN_LANES];
}

/* ---- cases ---- */

static void each_way_is_what_it_says(void)
{
    static const float share[MEMBERS] = {0.5f, 0.3f, 0.2f};
    static const double exact[MEMBERS] = {0.5, 0.3, 0.2};
    struct world w;
    begin(&w);
    for (int way = 0; way < WAYS; way++) {
        float scores[COUNT];
        double most = 0;
        w.bundle = ensemble(w.member, MEMBERS, combines[way], share);
        CHECK_NUMBER(tarn_ensemble_computed(w.bundle), MEMBERS);
        score(&w, scores);
        for (uint32_t s = 0; s < COUNT; s++) {
            double logits[MEMBERS][BINS];
            for (uint32_t i = 0; i < MEMBERS; i++)
                read_logits(&w, i, s, logits[i]);
            most = fmax(most,
                        fabs(expected(combines[way], logits, exact, MEMBERS) - (double)scores[s]));
        }
        CHECK(most < 1e-4);
        tarn_bundle_release(&w.bundle);
    }
    end(&w);
}

/* All instruction sets that this CPU has, with shares that don't add up to one. */
static void all_instruction_sets_agree(void)
{
    float logits[MEMBERS][BINS * 2 * TARN_LANES], scores[2 * TARN_LANES];
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    for (int i = 0; i < MEMBERS; i++)
        for (int k = 0; k < BINS * 2 * TARN_LANES; k++)
            logits[i][k] = (float)(tarn_rng_double(&rng) * 12 - 8);
    struct tarn_members members = {.members = MEMBERS, .bins = BINS, .share = {2, 1, 1}};
    static const double exact[MEMBERS] = {0.5, 0.25, 0.25};
    for (int i = 0; i < MEMBERS; i++)
        members.logits[i] = logits[i];
    for (size_t isa = 0; isa < tarn_isa_count(); isa++)
        for (int way = 0; way < WAYS; way++) {
            double most = 0;
            members.how = (tarn_members_how)way;
            tarn_isa_get(isa)->members(&members, 29, scores);
            for (uint32_t s = 0; s < 29; s++) {
                double own[MEMBERS][BINS];
                for (int i = 0; i < MEMBERS; i++)
                    for (uint32_t k = 0; k < BINS; k++)
                        own[i][k] = (double)
                            logits[i][(s / TARN_LANES * BINS + k) * TARN_LANES + s % TARN_LANES];
                most = fmax(most,
                            fabs(expected(combines[way], own, exact, MEMBERS) - (double)scores[s]));
            }
            CHECK(most < 1e-4);
        }
}

/* Members that are alike are one. */
static void equals_add_nothing(void)
{
    static const float share[MEMBERS] = {0.6f, 0.2f, 0.2f};
    struct world w;
    float one[COUNT], scores[COUNT];
    begin(&w);
    struct tarn_bundle *same[MEMBERS] = {w.member[0], w.member[0], w.member[0]};
    tarn_model_score(w.member[0]->model, w.tiles, COUNT, one);
    for (int way = 0; way < WAYS; way++) {
        w.bundle = ensemble(same, MEMBERS, combines[way], share);
        score(&w, scores);
        for (int s = 0; s < COUNT; s++)
            CHECK(fabsf(scores[s] - one[s]) < 1e-4f);
        tarn_bundle_release(&w.bundle);
    }
    w.bundle = ensemble(w.member, MEMBERS, TARN_COMBINE_ONE, share);
    CHECK_NUMBER(tarn_ensemble_computed(w.bundle), 1);
    score(&w, scores);
    CHECK(memcmp(scores, one, sizeof one) == 0);
    tarn_ensemble_score_member(
        w.bundle, 2, &(struct tarn_bundle_batch){.tiles = w.tiles, .count = COUNT}, scores);
    tarn_model_score(w.member[2]->model, w.tiles, COUNT, one);
    CHECK(memcmp(scores, one, sizeof one) == 0);
    end(&w);
}

/* What says nothing that is a number has no say; what is left is shared as before. */
static void a_broken_member_is_left_out(void)
{
    static const float share[MEMBERS] = {0.5f, 0.3f, 0.2f}, rest[2] = {0.625f, 0.375f};
    struct world w;
    float scores[COUNT], others[COUNT];
    begin(&w);
    w.member[2]->model->weights[TARN_NET_PARAMETERS - 4] = NAN;
    for (int way = 0; way < WAYS; way++) {
        w.bundle = ensemble(w.member, 2, combines[way], rest);
        score(&w, others);
        tarn_bundle_release(&w.bundle);
        w.bundle = ensemble(w.member, MEMBERS, combines[way], share);
        score(&w, scores);
        for (int s = 0; s < COUNT; s++)
            CHECK(fabsf(scores[s] - others[s]) < 1e-5f);
        tarn_bundle_release(&w.bundle);
    }
    /* of one sample alone: the others keep all members */
    struct world good;
    begin(&good);
    good.bundle = ensemble(good.member, MEMBERS, TARN_COMBINE_SURVIVAL, share);
    score(&good, others);
    good.tiles[3] = NAN; /* feature 0 of sample 3: for all members */
    score(&good, scores);
    for (int s = 0; s < COUNT; s++)
        CHECK(s == 3 ? isnan(scores[s]) : scores[s] == others[s]);
    end(&good);
    end(&w);
}

static void a_small_share_is_not_computed(void)
{
    static const float share[MEMBERS] = {0.01f, 0.98f, 0.01f},
                       half[MEMBERS] = {0.495f, 0.01f, 0.495f};
    struct world w;
    float scores[COUNT], one[COUNT];
    begin(&w);
    w.bundle = ensemble(w.member, MEMBERS, TARN_COMBINE_SURVIVAL, share);
    CHECK_NUMBER(tarn_ensemble_computed(w.bundle), 1);
    score(&w, scores);
    tarn_model_score(w.member[1]->model, w.tiles, COUNT, one);
    CHECK(memcmp(scores, one, sizeof one) == 0);
    tarn_bundle_release(&w.bundle);
    w.bundle = ensemble(w.member, MEMBERS, TARN_COMBINE_SURVIVAL, half);
    CHECK_NUMBER(tarn_ensemble_computed(w.bundle), 2);
    tarn_bundle_release(&w.bundle);
    w.bundle = ensemble(w.member, MEMBERS, TARN_COMBINE_CONFIDENT, share);
    CHECK_NUMBER(tarn_ensemble_computed(w.bundle), MEMBERS);
    end(&w);
}

static int allocations;

static bool count_allocation(size_t size)
{
    allocations += size > 0;
    return true;
}

static void a_score_allocates_nothing(void)
{
    static const float share[MEMBERS] = {0.5f, 0.3f, 0.2f};
    struct world w;
    float scores[COUNT];
    begin(&w);
    w.bundle = ensemble(w.member, MEMBERS, TARN_COMBINE_SURVIVAL, share);
    score(&w, scores);
    allocations = 0;
    tarn_memory_set_hook(count_allocation);
    score(&w, scores);
    tarn_memory_set_hook(NULL);
    CHECK_NUMBER(allocations, 0);
    end(&w);
}

CHECK_MAIN(CASE(each_way_is_what_it_says), CASE(all_instruction_sets_agree),
           CASE(equals_add_nothing), CASE(a_broken_member_is_left_out),
           CASE(a_small_share_is_not_computed), CASE(a_score_allocates_nothing))
