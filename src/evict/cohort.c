/* SPDX-License-Identifier: Apache-2.0 */
#include "cohort.h"

#include <string.h>

#include "base/lg.h"

void tarn_cohorts_init(struct tarn_cohorts *cohorts, uint32_t slice_length, uint64_t now)
{
    memset(cohorts, 0, sizeof *cohorts);
    cohorts->slice_length = slice_length < 8 ? 8 : slice_length;
    cohorts->slice = tarn_cohorts_slice(cohorts, now);
}

void tarn_cohorts_advance(struct tarn_cohorts *cohorts, uint64_t now)
{
    uint64_t slice = tarn_cohorts_slice(cohorts, now);
    uint64_t begin = cohorts->slice + 1;
    if (slice >= begin + TARN_COHORT_SLICES)
        begin = slice - TARN_COHORT_SLICES + 1;
    for (uint64_t s = begin; s <= slice; s++)
        cohorts->ring[s % TARN_COHORT_SLICES] = (struct tarn_cohort){.touched = (uint32_t)now};
    if (slice > cohorts->slice)
        cohorts->slice = slice;
}

void tarn_cohorts_access(struct tarn_cohorts *cohorts, bool known)
{
    struct tarn_cohort *c = &cohorts->ring[cohorts->slice % TARN_COHORT_SLICES];
    c->accesses++;
    c->first += !known;
}

void tarn_cohorts_return(struct tarn_cohorts *cohorts, uint64_t last, uint64_t now, float half_life)
{
    uint64_t slice = tarn_cohorts_slice(cohorts, last);
    if (cohorts->slice - slice >= TARN_COHORT_SLICES - 1)
        return;
    struct tarn_cohort *c = &cohorts->ring[slice % TARN_COHORT_SLICES];
    uint32_t elapsed = (uint32_t)now - c->touched;
    c->returned++;
    c->recent = c->recent * tarn_exp2(-(float)elapsed / half_life) + 1.0f;
    c->touched = (uint32_t)now;
}
