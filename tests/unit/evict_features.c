/* SPDX-License-Identifier: Apache-2.0 */
/* The features against a plain computation in double precision with libm. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "evict/features.h"

static struct tarn_cohorts cohorts;

static double clamp(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double lam(double requests, double period)
{
    return clamp(log2((requests + 1) / period), -14, 7) / 4;
}

struct view {
    double returned, recent, first;
};

static struct view view(uint64_t slice, uint64_t now, double period)
{
    const struct tarn_cohort *c = &cohorts.ring[slice % TARN_COHORT_SLICES];
    double decayed =
        (double)c->recent * pow(2, -(double)((uint32_t)now - c->touched) / (period / 8));
    return (struct view){
        .returned = (c->returned + 0.2) / (c->accesses + 1.0),
        .recent = log2(decayed / (c->accesses - c->returned + 1.0) + 0.004) / 4 + 1,
        .first = (c->first + 0.5) / (c->accesses + 1.0),
    };
}

struct object {
    uint64_t last, inserted;
    uint32_t gap[TARN_GAPS]; /* requests; UINT32_MAX: none */
    uint32_t freq, hits;
    double size;
    bool ghost;
};

static void plain(const struct object *o, const struct tarn_rates *rates, uint64_t now,
                  double period, double mean_size, bool bytes, double x[TARN_FEATURES])
{
    double age = (double)(now - o->last), stay = (double)(now - o->inserted), sum = 0;
    int known = 0;
    memset(x, 0, TARN_FEATURES * sizeof *x);
    x[0] = lam(age, period);
    for (int i = 0; i < TARN_GAPS; i++) {
        x[1 + i] = o->gap[i] == UINT32_MAX ? 2 : lam(o->gap[i], period);
        if (o->gap[i] == UINT32_MAX)
            continue;
        known++;
        sum += log2(o->gap[i] + 1.0);
    }
    x[5] = known / 4.0;
    x[9] = log2(o->freq) / 4;
    x[10] = log2(o->hits) / 4;
    x[11] = lam(stay, period);
    x[12] = bytes ? clamp(log2(o->size / mean_size), -10, 6) / 4 : 0;
    uint64_t slice = o->last / cohorts.slice_length;
    struct view own = view(slice, now, period), before = view(slice - 1, now, period),
                third = view(slice - 3, now, period);
    x[13] = own.returned;
    x[14] = before.returned;
    x[25] = third.returned;
    x[15] = own.recent;
    x[16] = before.recent;
    x[26] = third.recent;
    x[17] = own.first;
    x[18] = log2((double)rates->miss_ratio + 0.001) / 4;
    x[19] = (double)rates->one_hit;
    x[20] = (double)rates->hit_gap;
    x[21] = (double)rates->evicted_age;
    x[22] = o->ghost;
    x[23] = clamp(log2(o->hits * period / (stay + 1)), -7, 14) / 4;
    x[24] = known ? clamp(log2(age + 1) - log2(o->gap[0] + 1.0), -10, 10) / 4 : 0;
    x[27] = known ? clamp(log2(age + 1) - sum / known, -10, 10) / 4 : 0;
}

static uint32_t random_time(struct tarn_rng *rng, uint64_t most)
{
    double u = exp2(tarn_rng_double(rng) * log2((double)most + 1)) - 1;
    return (uint32_t)u;
}

static uint64_t fill_cohorts(struct tarn_rng *rng, uint64_t begin, float period)
{
    tarn_cohorts_init(&cohorts, (uint32_t)(period / 64), begin);
    uint64_t now = begin;
    for (int i = 0; i < 30000; i++) {
        now += 1 + tarn_rng_below(rng, 3);
        tarn_cohorts_advance(&cohorts, now);
        tarn_cohorts_access(&cohorts, now, tarn_rng_below(rng, 2));
        uint32_t past = random_time(rng, now - begin);
        if (tarn_rng_below(rng, 3) == 0)
            tarn_cohorts_return(&cohorts, now - past, now, period / 8);
    }
    return now;
}

static void run(uint64_t begin, float period, bool bytes, double worst[TARN_FEATURES])
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, (uint64_t)period);
    uint64_t now = fill_cohorts(&rng, begin, period);
    for (int round = 0; round < 3000; round++) {
        struct tarn_rates rates = {tarn_rng_float(&rng), tarn_rng_float(&rng),
                                   tarn_rng_float(&rng) * 4 - 3, tarn_rng_float(&rng) * 4 - 2};
        float mean_size = exp2f(tarn_rng_float(&rng) * 16);
        struct object o = {.freq = 1 + random_time(&rng, 60000),
                           .hits = 1 + random_time(&rng, 60000),
                           .ghost = tarn_rng_below(&rng, 2)};
        o.last = now - random_time(&rng, now - begin);
        o.inserted = o.last - random_time(&rng, o.last - begin);
        uint32_t known = tarn_rng_below(&rng, TARN_GAPS + 1);
        struct tarn_meta meta = {.last = (uint32_t)o.last,
                                 .inserted = (uint32_t)o.inserted,
                                 .freq = (uint16_t)o.freq,
                                 .hits = (uint16_t)o.hits,
                                 .flags = o.ghost ? TARN_META_GHOST : 0,
                                 .size = (uint16_t)tarn_rng_below(&rng, 40000)};
        o.size = exp2(meta.size / 1024.0);
        for (uint32_t i = 0; i < TARN_GAPS; i++) {
            o.gap[i] = i < known ? random_time(&rng, 1u << 31) : UINT32_MAX;
            meta.gap[i] = i < known ? tarn_gap_encode(o.gap[i]) : TARN_GAP_ABSENT;
        }
        struct tarn_feature_frame frame =
            tarn_feature_frame(&cohorts, &rates, now, period, mean_size, bytes);
        int8_t x[TARN_FEATURES];
        double wanted[TARN_FEATURES];
        tarn_features(&frame, &meta, x);
        plain(&o, &rates, now, (double)period, (double)mean_size, bytes, wanted);
        for (int f = 0; f < TARN_FEATURES; f++) {
            double error = fabs(x[f] / 32.0 - clamp(wanted[f], -4, 3.97));
            worst[f] = error > worst[f] ? error : worst[f];
        }
    }
}

static void check_worst(const double worst[TARN_FEATURES])
{
    for (int f = 0; f < TARN_FEATURES; f++) {
        /* half a step of 1/32; where gaps come in, half a step of 1/8 octave too, over 4 */
        bool gaps = (f >= 1 && f <= 4) || f == 24 || f == 27;
        double most = 0.5 / 32 + 0.001 + (gaps ? 0.5 / 8 / 4 : 0);
        if (!(worst[f] <= most))
            printf("# feature %d is wrong by %g\n", f, worst[f]);
        CHECK(worst[f] <= most);
    }
}

static void they_are_as_defined(void)
{
    double worst[TARN_FEATURES] = {0};
    run(0, 512, false, worst);
    run(0, 6400, false, worst);
    run(0, 1e6f, false, worst);
    check_worst(worst);
}

static void sizes_count_where_they_differ(void)
{
    double worst[TARN_FEATURES] = {0};
    run(0, 6400, true, worst);
    check_worst(worst);
}

static void counts_that_pass_32_bits_change_nothing(void)
{
    double worst[TARN_FEATURES] = {0};
    run(((uint64_t)1 << 32) - 20000, 6400, false, worst);
    check_worst(worst);
}

static void gaps_keep_an_eighth_of_an_octave(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 2);
    CHECK_NUMBER(tarn_gap_encode(0), 0);
    for (int i = 0; i < 10000; i++) {
        uint32_t gap = random_time(&rng, UINT32_MAX);
        uint8_t code = tarn_gap_encode(gap);
        CHECK(code != TARN_GAP_ABSENT);
        double error = fabs((double)tarn_gap_lg(code) - fmin(log2(gap + 1.0), 31.75));
        CHECK(error <= 1 / 16.0 + 0.001);
    }
    CHECK(tarn_gap_encode(UINT32_MAX) != TARN_GAP_ABSENT);
}

static void stamps_become_64_bit_times(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = tarn_rng_next(&rng) >> tarn_rng_below(&rng, 40);
        uint64_t past =
            now - (now < UINT32_MAX ? tarn_rng_next(&rng) % (now + 1) : tarn_rng_next(&rng) >> 32);
        CHECK(tarn_time_of(now, (uint32_t)past) == past);
    }
}

/* A tile's lanes don't mind each other, and those beyond the last object are zeros. */
static void a_tile_holds_each_object_by_itself(void)
{
    enum { LANES = TARN_FEATURE_LANES };
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 11);
    uint64_t now = fill_cohorts(&rng, 0, 6400);
    const struct tarn_rates rates = {0.3f, 0.7f, -0.5f, 0.25f};
    struct tarn_feature_frame frame = tarn_feature_frame(&cohorts, &rates, now, 6400, 1000, true);
    struct tarn_meta meta[LANES];
    const struct tarn_meta *metas[LANES];
    float tile[TARN_FEATURES * LANES];
    for (uint32_t count = 1; count <= LANES; count++) {
        for (uint32_t l = 0; l < count; l++) {
            metas[l] = &meta[l];
            meta[l] = (struct tarn_meta){.freq = (uint16_t)(1 + tarn_rng_below(&rng, 99)),
                                         .hits = (uint16_t)(1 + tarn_rng_below(&rng, 99)),
                                         .flags = (uint8_t)tarn_rng_below(&rng, 4),
                                         .size = (uint16_t)tarn_rng_below(&rng, 40000)};
            meta[l].last = (uint32_t)now - random_time(&rng, now);
            meta[l].inserted = meta[l].last - random_time(&rng, meta[l].last);
            for (int i = 0; i < TARN_GAPS; i++)
                meta[l].gap[i] = i > (int)l % 5 ? TARN_GAP_ABSENT
                                                : (uint8_t)tarn_rng_below(&rng, TARN_GAP_ABSENT);
        }
        memset(tile, 0xff, sizeof tile);
        tarn_features_tile(&frame, metas, count, tile);
        for (uint32_t l = 0; l < LANES; l++) {
            int8_t alone[TARN_FEATURES] = {0}, there[TARN_FEATURES];
            if (l < count)
                tarn_features(&frame, &meta[l], alone);
            tarn_features_of_lane(tile, l, there);
            CHECK(memcmp(alone, there, sizeof alone) == 0);
            for (int f = 0; f < TARN_FEATURES; f++)
                CHECK(tile[f * LANES + (int)l] == (float)alone[f] * TARN_FEATURE_STEP);
        }
    }
}

CHECK_MAIN(CASE(a_tile_holds_each_object_by_itself), CASE(they_are_as_defined),
           CASE(sizes_count_where_they_differ), CASE(counts_that_pass_32_bits_change_nothing),
           CASE(gaps_keep_an_eighth_of_an_octave), CASE(stamps_become_64_bit_times))
