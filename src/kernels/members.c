/* SPDX-License-Identifier: Apache-2.0 */
/* Several networks' logits to one score, a vector of samples at once. Compiled once an instruction set. */
#include "members.h"

#include "isa.h"
#include "score.h"
#include "vector.h"

void TARN_VARIANT(tarn_members)(const struct tarn_members *members, size_t count, float *scores);

/* One vector of samples: each member's logits, with zeros for what isn't finite, and its share of them. */
struct lot {
    _Alignas(64) float logits[TARN_MEMBERS_MOST][TARN_MAX_BINS][LANES];
    vec share[TARN_MEMBERS_MOST]; /* 0 where it is left out; sum 1 */
    veci none;                    /* all are */
};

INLINE veci is_finite(vec x)
{
    return ((veci)x & 0x7f800000) != 0x7f800000;
}

INLINE void take_lot(const struct tarn_members *m, size_t at, struct lot *lot)
{
    vec sum = all(0.0f);
    size_t tile = at / TARN_LANES * m->bins * TARN_LANES + at % TARN_LANES;
    for (uint32_t i = 0; i < m->members; i++) {
        veci good = alli(-1);
        for (uint32_t k = 0; k < m->bins; k++)
            good &= is_finite(load(m->logits[i] + tile + k * TARN_LANES));
        for (uint32_t k = 0; k < m->bins; k++)
            store(lot->logits[i][k],
                  pick(good, load(m->logits[i] + tile + k * TARN_LANES), all(0.0f)));
        lot->share[i] = pick(good, all(m->share[i]), all(0.0f));
        sum += lot->share[i];
    }
    lot->none = ~(sum > 0.0f);
    for (uint32_t i = 0; i < m->members; i++)
        lot->share[i] /= pick(lot->none, all(1.0f), sum);
}

INLINE vec mean_score(const struct tarn_members *m, const struct lot *lot)
{
    vec sum = all(0.0f);
    for (uint32_t i = 0; i < m->members; i++)
        sum += lot->share[i] * gittins(lot->logits[i][0], LANES, m->bins);
    return sum;
}

INLINE vec score_of_mean(const struct tarn_members *m, const struct lot *lot)
{
    _Alignas(64) float mean[TARN_MAX_BINS][LANES];
    for (uint32_t k = 0; k < m->bins; k++) {
        vec sum = all(0.0f);
        for (uint32_t i = 0; i < m->members; i++)
            sum += lot->share[i] * load(lot->logits[i][k]);
        store(mean[k], sum);
    }
    return gittins(mean[0], LANES, m->bins);
}

/*
 * gittins() of the mixture. What survives of each member starts at its share, so that by bins the say of
 * those fades that expected it sooner: the same as hazards weighed by survival so far.
 */
INLINE vec score_of_mixture(const struct tarn_members *m, const struct lot *lot)
{
    vec survival[TARN_MEMBERS_MOST];
    vec all_survival = all(0.0f), found = all(0.0f), area = all(0.0f), best = all(0.0f);
    float width = 1.0f / (1 << -TARN_BIN_FIRST_LOG2);
    for (uint32_t i = 0; i < m->members; i++) {
        survival[i] = lot->share[i];
        all_survival += survival[i];
    }
    for (uint32_t k = 0; k < m->bins; k++) {
        vec after = all(0.0f);
        for (uint32_t i = 0; i < m->members; i++) {
            vec e = vec_exp(-load(lot->logits[i][k]));
            vec hazard = 1.0f / (1.0f + e);
            found += survival[i] * hazard;
            survival[i] *= e * hazard;
            after += survival[i];
        }
        area += (all_survival + after) * (0.5f * width);
        vec value = found / area;
        best = pick(best >= value, best, value);
        all_survival = after;
        if (k > 0)
            width *= 2.0f;
    }
    return vec_lg(best + 1e-9f);
}

/* Of when the sample is wanted again, the time after the last bin being one more; in bits. */
INLINE vec entropy(const float *logits, uint32_t bins)
{
    vec survival = all(1.0f), sum = all(0.0f);
    for (uint32_t k = 0; k < bins; k++) {
        vec e = vec_exp(-load(logits + k * LANES));
        vec hazard = 1.0f / (1.0f + e), p = survival * hazard;
        sum -= p * vec_lg(p + 1e-12f);
        survival *= e * hazard;
    }
    return sum - survival * vec_lg(survival + 1e-12f);
}

INLINE vec score_of_surest(const struct tarn_members *m, const struct lot *lot)
{
    vec least = all(1e30f), score = all(0.0f);
    for (uint32_t i = 0; i < m->members; i++) {
        vec doubt = entropy(lot->logits[i][0], m->bins);
        doubt = pick(lot->share[i] > 0.0f, doubt, all(2e30f));
        score = pick(doubt < least, gittins(lot->logits[i][0], LANES, m->bins), score);
        least = pick(doubt < least, doubt, least);
    }
    return score;
}

static vec score_lot(const struct tarn_members *m, const struct lot *lot)
{
    switch (m->how) {
    case TARN_MEMBERS_LOGITS:
        return score_of_mean(m, lot);
    case TARN_MEMBERS_SURVIVAL:
        return score_of_mixture(m, lot);
    case TARN_MEMBERS_CONFIDENT:
        return score_of_surest(m, lot);
    case TARN_MEMBERS_SCORES:
    default:
        return mean_score(m, lot);
    }
}

void TARN_VARIANT(tarn_members)(const struct tarn_members *members, size_t count, float *scores)
{
    struct lot lot;
    for (size_t at = 0; at < count; at += LANES) {
        take_lot(members, at, &lot);
        vec score = score_lot(members, &lot);
        score = pick(lot.none, all(__builtin_nanf("")), score);
        if (at + LANES <= count)
            store(scores + at, score);
        else
            memcpy(scores + at, &score, (count - at) * sizeof *scores);
    }
}
