/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of cohorts against counters of every slice there ever was. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "evict/cohort.h"

#define SLICES 12000
#define LENGTH 8

struct plain {
    uint32_t accesses, returned, first;
    double recent;
    uint64_t touched;
};

static struct plain plain[SLICES];
static struct tarn_cohorts cohorts;

static void compare(uint64_t slice, uint64_t now, double half_life)
{
    const struct tarn_cohort *c = &cohorts.ring[slice % TARN_COHORT_SLICES];
    const struct plain *p = &plain[slice];
    CHECK_NUMBER(c->accesses, p->accesses);
    CHECK_NUMBER(c->returned, p->returned);
    CHECK_NUMBER(c->first, p->first);
    double here = (double)c->recent * exp2(-(double)((uint32_t)now - c->touched) / half_life),
           there = p->recent * exp2(-(double)(now - p->touched) / half_life);
    CHECK(fabs(here - there) <= 1e-4 * (1 + there));
}

/* `begin` is where the cache's request count starts; slices are counted from there in `plain`. */
static void run(uint64_t begin)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    memset(plain, 0, sizeof plain);
    tarn_cohorts_init(&cohorts, 1, begin); /* at least 8 requests a slice */
    CHECK_NUMBER(cohorts.slice_length, LENGTH);
    const double half_life = 100;
    uint64_t base = begin / LENGTH, now = begin;
    CHECK_NUMBER(base % TARN_COHORT_SLICES, 0);
    while (now - begin < (SLICES - 1) * LENGTH) {
        /* a silence longer than the ring once, and short ones */
        now += now - begin == 30000 ? 5000 * LENGTH : 1 + tarn_rng_below(&rng, 2);
        if (now - begin >= SLICES * LENGTH)
            break;
        uint64_t slice = (now - begin) / LENGTH;
        tarn_cohorts_advance(&cohorts, now);
        bool known = tarn_rng_below(&rng, 3) > 0;
        tarn_cohorts_access(&cohorts, now, known);
        plain[slice].accesses++;
        plain[slice].first += !known;
        uint64_t past = tarn_rng_below(&rng, (uint32_t)(now - begin) + 1), last = now - past;
        tarn_cohorts_return(&cohorts, last, now, (float)half_life);
        uint64_t of = (last - begin) / LENGTH;
        if (slice - of < TARN_COHORT_SLICES - 1) {
            plain[of].recent =
                plain[of].recent * exp2(-(double)(now - plain[of].touched) / half_life) + 1;
            plain[of].touched = now;
            plain[of].returned++;
        }
        if (tarn_rng_below(&rng, 64) == 0)
            for (uint64_t back = 0; back <= slice && back < TARN_COHORT_SLICES; back += 97)
                compare(slice - back, now, half_life);
    }
}

static void slices_count_as_plain_ones(void)
{
    run(0);
}

static void counts_that_pass_32_bits_change_nothing(void)
{
    run(((uint64_t)1 << 32) - TARN_COHORT_SLICES * LENGTH);
}

CHECK_MAIN(CASE(slices_count_as_plain_ones), CASE(counts_that_pass_32_bits_change_nothing))
