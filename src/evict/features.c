/* SPDX-License-Identifier: Apache-2.0 */
#include "features.h"

#include <string.h>

struct tarn_feature_frame tarn_feature_frame(const struct tarn_cohorts *cohorts,
                                             const struct tarn_rates *rates, uint64_t now,
                                             float period, float mean_size, bool bytes)
{
    return (struct tarn_feature_frame){
        .cohorts = cohorts,
        .rates = rates,
        .now = now,
        .period = period,
        .lg_period = tarn_lg(period),
        .lg_mean_size = tarn_lg(mean_size),
        .bytes = bytes,
    };
}

struct cohort_view {
    float returned, recent, first;
};

static inline struct cohort_view view(const struct tarn_feature_frame *frame, uint64_t slice)
{
    const struct tarn_cohort *c = &frame->cohorts->ring[slice % TARN_COHORT_SLICES];
    float left = (float)((int32_t)c->accesses - (int32_t)c->returned) + 1.0f;
    float elapsed = (float)((uint32_t)frame->now - c->touched);
    float recent = c->recent * tarn_exp2(-elapsed * 8.0f / frame->period);
    return (struct cohort_view){
        .returned = ((float)c->returned + 0.2f) / ((float)c->accesses + 1.0f),
        .recent = tarn_lg(recent / (left > 1.0f ? left : 1.0f) + 0.004f) * 0.25f + 1.0f,
        .first = ((float)c->first + 0.5f) / ((float)c->accesses + 1.0f),
    };
}

void tarn_features(const struct tarn_feature_frame *frame, const struct tarn_meta *meta,
                   int8_t out[TARN_FEATURES])
{
    float x[TARN_FEATURES] = {0};
    uint32_t now = (uint32_t)frame->now;
    float age = (float)(now - meta->last), stay = (float)(now - meta->inserted);
    float lg_age = tarn_lg(age + 1.0f), lg_hits = tarn_lg((float)meta->hits), sum = 0;
    int known = 0;
    x[0] = tarn_clamp(lg_age - frame->lg_period, -14.0f, 7.0f) * 0.25f;
    for (int i = 0; i < TARN_GAPS; i++) {
        if (meta->gap[i] == TARN_GAP_ABSENT) {
            x[1 + i] = 2.0f;
            continue;
        }
        float gap = tarn_gap_lg(meta->gap[i]);
        x[1 + i] = tarn_clamp(gap - frame->lg_period, -14.0f, 7.0f) * 0.25f;
        sum += gap;
        known++;
    }
    x[5] = (float)known * 0.25f;
    x[9] = tarn_lg((float)meta->freq) * 0.25f;
    x[10] = lg_hits * 0.25f;
    float lg_stay = tarn_lg(stay + 1.0f);
    x[11] = tarn_clamp(lg_stay - frame->lg_period, -14.0f, 7.0f) * 0.25f;
    if (frame->bytes)
        x[12] =
            tarn_clamp((float)meta->size * 0x1p-10f - frame->lg_mean_size, -10.0f, 6.0f) * 0.25f;
    uint64_t slice = tarn_cohorts_slice(frame->cohorts, tarn_time_of(frame->now, meta->last));
    struct cohort_view own = view(frame, slice), before = view(frame, slice - 1),
                       third = view(frame, slice - 3);
    x[13] = own.returned;
    x[14] = before.returned;
    x[15] = own.recent;
    x[16] = before.recent;
    x[17] = own.first;
    x[18] = tarn_lg(frame->rates->miss_ratio + 0.001f) * 0.25f;
    x[19] = frame->rates->one_hit;
    x[20] = frame->rates->hit_gap;
    x[21] = frame->rates->evicted_age;
    x[22] = meta->flags & TARN_META_GHOST ? 1.0f : 0.0f;
    x[23] = tarn_clamp(lg_hits + frame->lg_period - lg_stay, -7.0f, 14.0f) * 0.25f;
    if (known > 0) {
        x[24] = tarn_clamp(lg_age - tarn_gap_lg(meta->gap[0]), -10.0f, 10.0f) * 0.25f;
        x[27] = tarn_clamp(lg_age - sum / (float)known, -10.0f, 10.0f) * 0.25f;
    }
    x[25] = third.returned;
    x[26] = third.recent;
    /* +128.5 makes truncation round to the nearest step, without a call to libm */
    for (int i = 0; i < TARN_FEATURES; i++)
        out[i] = (int8_t)((int)(tarn_clamp(x[i], -4.0f, 3.97f) * 32.0f + 128.5f) - 128);
}
