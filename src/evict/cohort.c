/* SPDX-License-Identifier: Apache-2.0 */
#include "cohort.h"

#include <string.h>

#include "base/lg.h"

static void set_slice(struct tarn_cohorts *cohorts, uint64_t slice)
{
    cohorts->slice = slice;
    cohorts->begin = slice * cohorts->slice_length;
    cohorts->end = cohorts->begin + cohorts->slice_length;
}

void tarn_cohorts_init(struct tarn_cohorts *cohorts, uint32_t slice_length, uint64_t now)
{
    memset(cohorts, 0, sizeof *cohorts);
    cohorts->slice_length = slice_length < 8 ? 8 : slice_length;
    set_slice(cohorts, now / cohorts->slice_length);
    for (uint32_t s = 0; s < TARN_COHORT_SLICES; s++)
        cohorts->ring[s].touched = (uint32_t)now;
}

void tarn_cohorts_advance(struct tarn_cohorts *cohorts, uint64_t now)
{
    if (now < cohorts->end)
        return;
    uint64_t slice = now / cohorts->slice_length;
    uint64_t begin = cohorts->slice + 1;
    if (slice >= begin + TARN_COHORT_SLICES)
        begin = slice - TARN_COHORT_SLICES + 1;
    for (uint64_t s = begin; s <= slice; s++)
        cohorts->ring[s % TARN_COHORT_SLICES] = (struct tarn_cohort){.touched = (uint32_t)now};
    set_slice(cohorts, slice);
}

void tarn_cohorts_access(struct tarn_cohorts *cohorts, uint64_t now, bool known)
{
    struct tarn_cohort *c = &cohorts->ring[tarn_cohorts_slice(cohorts, now) % TARN_COHORT_SLICES];
    c->accesses++;
    c->first += !known;
}

void tarn_cohorts_return(struct tarn_cohorts *cohorts, uint64_t last, uint64_t now, float half_life)
{
    uint64_t slice = tarn_cohorts_slice(cohorts, last);
    if (cohorts->slice - slice >= TARN_COHORT_SLICES - 1)
        return;
    struct tarn_cohort *c = &cohorts->ring[slice % TARN_COHORT_SLICES];
    uint32_t elapsed = tarn_cohort_elapsed(c, (uint32_t)now);
    c->returned++;
    c->recent = c->recent * tarn_exp2(-(float)elapsed / half_life) + 1.0f;
    c->touched += elapsed;
}
