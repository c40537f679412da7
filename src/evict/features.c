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
        .slice = tarn_cohorts_slice(cohorts, now),
        .into_slice = (uint32_t)(now % cohorts->slice_length),
    };
}

/*
 * Objects are looked at LANES at a time: what is read of them is gathered first, and a compiler makes
 * vectors of the arithmetic. Each loop does to each lane what a single object's computation would do.
 */
#define LANES  TARN_FEATURE_LANES
#define SLICES 3 /* the object's own, the one before, and the third before */

typedef float lanes_of[LANES];
typedef int32_t counts_of[LANES];

struct gathered {
    lanes_of age, stay;
    counts_of freq, hits, size, ghost, gap[TARN_GAPS];
    struct {
        counts_of accesses, returned;
        lanes_of recent, elapsed;
    } slice[SLICES];
    counts_of first; /* of the own slice */
};

/* As far back from the current slice as the age says; divides 32 bits, which is much quicker than 64. */
static uint64_t slice_of(const struct tarn_feature_frame *frame, uint32_t age)
{
    if (age <= frame->into_slice)
        return frame->slice;
    return frame->slice - 1 - (age - frame->into_slice - 1) / frame->cohorts->slice_length;
}

static inline void gather(const struct tarn_feature_frame *frame, const struct tarn_meta *meta,
                          struct gathered *g, int lane)
{
    static const uint64_t back[SLICES] = {0, 1, 3};
    uint32_t now = (uint32_t)frame->now, age = now - meta->last;
    g->age[lane] = (float)age;
    g->stay[lane] = (float)(now - meta->inserted);
    g->freq[lane] = meta->freq;
    g->hits[lane] = meta->hits;
    g->size[lane] = meta->size;
    g->ghost[lane] = meta->flags & TARN_META_GHOST;
    for (int i = 0; i < TARN_GAPS; i++)
        g->gap[i][lane] = meta->gap[i];
    uint64_t slice = slice_of(frame, age);
    for (int i = 0; i < SLICES; i++) {
        const struct tarn_cohort *c = &frame->cohorts->ring[(slice - back[i]) % TARN_COHORT_SLICES];
        g->slice[i].accesses[lane] = (int32_t)c->accesses;
        g->slice[i].returned[lane] = (int32_t)c->returned;
        g->slice[i].recent[lane] = c->recent;
        g->slice[i].elapsed[lane] = (float)tarn_cohort_elapsed(c, now);
        if (i == 0)
            g->first[lane] = (int32_t)c->first;
    }
}

/* In steps of TARN_FEATURE_STEP; +128.5 makes truncation round to the nearest, without libm. */
static inline float quantise(float x)
{
    return (float)((int32_t)(tarn_clamp(x, -4.0f, 3.97f) * 32.0f + 128.5f) - 128) *
           TARN_FEATURE_STEP;
}

static inline float lam_of(float lg, float lg_period)
{
    return tarn_clamp(lg - lg_period, -14.0f, 7.0f) * 0.25f;
}

#define EACH_LANE for (int l = 0; l < LANES; l++)

static void fill_same(const struct tarn_feature_frame *frame, float *restrict x)
{
    const struct {
        int feature;
        float value;
    } same[] = {
        {6, 0}, /* unused ones */
        {7, 0},
        {8, 0},
        {18, tarn_lg(frame->rates->miss_ratio + 0.001f) * 0.25f},
        {19, frame->rates->one_hit},
        {20, frame->rates->hit_gap},
        {21, frame->rates->evicted_age},
    };
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        float value = quantise(same[i].value);
        EACH_LANE x[same[i].feature * LANES + l] = value;
    }
}

static void fill_cohorts(const struct tarn_feature_frame *frame, const struct gathered *g,
                         float *restrict x)
{
    static const int returned_at[SLICES] = {13, 14, 25}, recent_at[SLICES] = {15, 16, 26};
    for (int i = 0; i < SLICES; i++) {
        EACH_LANE
        {
            int32_t all = g->slice[i].accesses[l], returned = g->slice[i].returned[l];
            float accesses = (float)all + 1.0f, left = (float)(all - returned) + 1.0f;
            float recent =
                g->slice[i].recent[l] * tarn_exp2(-g->slice[i].elapsed[l] * 8.0f / frame->period);
            x[returned_at[i] * LANES + l] = quantise(((float)returned + 0.2f) / accesses);
            x[recent_at[i] * LANES + l] =
                quantise(tarn_lg(recent / (left > 1.0f ? left : 1.0f) + 0.004f) * 0.25f + 1.0f);
        }
    }
    EACH_LANE x[17 * LANES + l] =
        quantise(((float)g->first[l] + 0.5f) / ((float)g->slice[0].accesses[l] + 1.0f));
}

static void fill_own(const struct tarn_feature_frame *frame, const struct gathered *g,
                     float *restrict x)
{
    lanes_of sum = {0}, known = {0};
    for (int i = 0; i < TARN_GAPS; i++) {
        EACH_LANE
        {
            /* products with 0 or 1 choose, without a jump */
            float there = g->gap[i][l] == TARN_GAP_ABSENT ? 0.0f : 1.0f;
            float gap = (float)g->gap[i][l] * 0.125f;
            x[(1 + i) * LANES + l] =
                quantise(lam_of(gap, frame->lg_period) * there + 2.0f * (1.0f - there));
            sum[l] += gap * there;
            known[l] += there;
        }
    }
    EACH_LANE
    {
        float lg_age = tarn_lg(g->age[l] + 1.0f), lg_stay = tarn_lg(g->stay[l] + 1.0f);
        float lg_hits = tarn_lg((float)g->hits[l]);
        float any = known[l] < 1.0f ? known[l] : 1.0f;
        float since = lg_age - (float)g->gap[0][l] * 0.125f;
        float since_mean = lg_age - sum[l] / (known[l] > 1.0f ? known[l] : 1.0f);
        x[0 * LANES + l] = quantise(lam_of(lg_age, frame->lg_period));
        x[5 * LANES + l] = quantise(known[l] * 0.25f);
        x[9 * LANES + l] = quantise(tarn_lg((float)g->freq[l]) * 0.25f);
        x[10 * LANES + l] = quantise(lg_hits * 0.25f);
        x[11 * LANES + l] = quantise(lam_of(lg_stay, frame->lg_period));
        x[22 * LANES + l] = quantise((float)g->ghost[l]);
        x[23 * LANES + l] =
            quantise(tarn_clamp(lg_hits + frame->lg_period - lg_stay, -7.0f, 14.0f) * 0.25f);
        x[24 * LANES + l] = quantise(tarn_clamp(since, -10.0f, 10.0f) * 0.25f * any);
        x[27 * LANES + l] = quantise(tarn_clamp(since_mean, -10.0f, 10.0f) * 0.25f * any);
    }
    EACH_LANE x[12 * LANES + l] =
        frame->bytes ? quantise(tarn_clamp((float)g->size[l] * 0x1p-10f - frame->lg_mean_size,
                                           -10.0f, 6.0f) *
                                0.25f)
                     : 0;
}

void tarn_features_tile(const struct tarn_feature_frame *frame,
                        const struct tarn_meta *const *metas, uint32_t count, float *tile)
{
    struct gathered g;
    for (uint32_t l = 0; l < LANES; l++) /* lanes that are left over: any object will do */
        gather(frame, metas[l < count ? l : 0], &g, (int)l);
    fill_same(frame, tile);
    fill_own(frame, &g, tile);
    fill_cohorts(frame, &g, tile);
    for (uint32_t f = 0; f < TARN_FEATURES && count < LANES; f++)
        memset(tile + f * LANES + count, 0, (LANES - count) * sizeof *tile);
}

void tarn_features(const struct tarn_feature_frame *frame, const struct tarn_meta *meta,
                   int8_t out[TARN_FEATURES])
{
    float tile[TARN_FEATURES * LANES];
    tarn_features_tile(frame, &meta, 1, tile);
    tarn_features_of_lane(tile, 0, out);
}
