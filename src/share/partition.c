/* SPDX-License-Identifier: Apache-2.0 */
#include "partition.h"

#include <math.h>

#define LEAST     0.02f
#define INCREASE  0.02f /* of the device, each period that is inside the budget */
#define DECREASE  0.7f  /* times, each period that is not */
#define LEAST_CUT 0.25f

void tarn_partition_init(struct tarn_partition *p, uint64_t now_ns)
{
    *p = (struct tarn_partition){.share = 1, .limit = 1, .cut = 1, .filled_ns = now_ns};
}

void tarn_partition_fill(struct tarn_partition *p, uint64_t now_ns, uint64_t room_ns)
{
    if (now_ns > p->filled_ns)
        p->tokens_ns += p->share * (double)(now_ns - p->filled_ns);
    p->filled_ns = now_ns;
    if (p->tokens_ns > (double)room_ns)
        p->tokens_ns = (double)room_ns;
}

void tarn_partition_spend(struct tarn_partition *p, uint64_t ns)
{
    p->tokens_ns -= (double)ns;
}

uint64_t tarn_partition_when(const struct tarn_partition *p, uint64_t now_ns)
{
    /* all of the device is all of it: measured times may add up to a little more */
    if (p->share >= 1 || p->tokens_ns >= 0)
        return now_ns;
    if (p->share <= 0)
        return UINT64_MAX;
    return now_ns + (uint64_t)(-p->tokens_ns / (double)p->share) + 1;
}

void tarn_partition_adapt(struct tarn_partition *p, double p99_ns, double budget_ns)
{
    if (budget_ns > 0 && p99_ns > budget_ns) {
        /* shorter slices first: they cost less than fewer */
        if (p->cut > LEAST_CUT)
            p->cut = fmaxf(LEAST_CUT, p->cut * DECREASE);
        else
            p->share = fmaxf(LEAST, p->share * DECREASE);
    } else if (p->share < p->limit) {
        p->share = fminf(p->limit, p->share + INCREASE);
    } else if (p->cut < 1) {
        p->cut = fminf(1, p->cut + INCREASE);
    }
    if (p->share > p->limit)
        p->share = p->limit;
}
