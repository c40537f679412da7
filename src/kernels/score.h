/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The two ends of the network, a vector of samples at once: logits to scores, and logits to losses.
 * Shared by the fused kernels and the wide ones; for sources compiled once an instruction set.
 */
#ifndef TARN_KERNELS_SCORE_H
#define TARN_KERNELS_SCORE_H

#include "vector.h"

/**
 * Gittins scores of logits[bin * row]. F_k is summed up from S_k h_k instead of taken as 1 - S:
 * small hazards keep their digits. The comparison is turned so that a NaN wins and stays (once F is
 * NaN, all later ones are).
 */
INLINE vec gittins(const float *logits, size_t row, uint32_t bins)
{
    vec survival = all(1.0f), found = all(0.0f), area = all(0.0f), best = all(0.0f);
    float width = 1.0f / (1 << -TARN_BIN_FIRST_LOG2);
    for (uint32_t k = 0; k < bins; k++) {
        vec e = vec_exp(-load(logits + k * row));
        vec hazard = 1.0f / (1.0f + e);
        vec after = survival * e * hazard;
        found += survival * hazard;
        area += (survival + after) * (0.5f * width);
        vec value = found / area;
        best = pick(best >= value, best, value);
        survival = after;
        if (k > 0)
            width *= 2.0f;
    }
    return vec_lg(best + 1e-9f);
}

/** A bin's part of the loss and its derivative by the logit; zeros where it isn't at risk. */
struct hazard {
    vec cost, gradient;
};

/** `at_risk` and `hit` (the access fell into this bin) are masks. */
INLINE struct hazard hazard_of(vec logit, veci at_risk, veci hit)
{
    veci positive = logit > 0.0f;
    vec e = vec_exp(pick(positive, -logit, logit));
    vec small = 1.0f / (1.0f + e);
    vec hazard = pick(positive, small, e * small);
    vec y = pick(hit, all(1.0f), all(0.0f));
    vec cost = pick(positive, logit, all(0.0f)) - y * logit + 0.693147181f * vec_lg(1.0f + e);
    return (struct hazard){pick(at_risk, cost, all(0.0f)), pick(at_risk, hazard - y, all(0.0f))};
}

#endif
