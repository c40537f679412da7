/* SPDX-License-Identifier: Apache-2.0 */
/* The arbiter's pure parts: sizes of slices, quantiles, the partition of the device's time. */
#include "../check.h"

#include <math.h>

#include "base/rng.h"
#include "share/latency.h"
#include "share/partition.h"
#include "share/quantum.h"

static void slices_grow_to_their_quantum(void)
{
    struct tarn_quantum q = {0};
    CHECK_NUMBER(tarn_quantum_units(&q, 100000), 1);
    uint32_t units = 1, longest = 0;
    for (int i = 0; i < 20; i++) {
        units = tarn_quantum_units(&q, 100000);
        CHECK(units <= (longest > 0 ? longest * 4 : 1));
        longest = units > longest ? units : longest;
        CHECK(tarn_quantum_learn(&q, units, units * 1000));
    }
    /* 100, less what rounding takes where the CPU multiplies and adds at once */
    CHECK(units == 100 || units == 99);
    uint64_t ten = tarn_quantum_expect(&q, 10);
    CHECK(ten == 10000 || ten == 9999);
    CHECK_NUMBER(tarn_quantum_units(&q, 10), 1); /* never none */
}

static void slower_units_count_at_once(void)
{
    struct tarn_quantum q = {0};
    for (int i = 0; i < 20; i++)
        tarn_quantum_learn(&q, 100, 100000);
    CHECK(tarn_quantum_learn(&q, 100, 300000)); /* a lower clock: three times */
    uint32_t slow = tarn_quantum_units(&q, 100000);
    CHECK(slow >= 30 && slow <= 34); /* the next one is shorter by as much, whatever it was */
    CHECK(tarn_quantum_learn(&q, slow, slow * 3000));
    CHECK(q.unit_ns >= 2900 && q.unit_ns <= 3100);
    slow = tarn_quantum_units(&q, 100000);
    CHECK(slow <= 34);
    for (int i = 0; i < 3; i++)
        tarn_quantum_learn(&q, slow, slow * 1000);
    CHECK(tarn_quantum_units(&q, 100000) < 75); /* quicker ones only by and by */
    for (int i = 0; i < 100; i++)
        tarn_quantum_learn(&q, slow, slow * 1000);
    CHECK(tarn_quantum_units(&q, 100000) >= 99);
}

static void another_world_starts_over(void)
{
    struct tarn_quantum q = {0};
    for (int i = 0; i < 20; i++)
        tarn_quantum_learn(&q, 100, 100000);
    CHECK(tarn_quantum_learn(&q, 100, 100 * 100000));
    CHECK_NUMBER(tarn_quantum_units(&q, 100000), 1);
    CHECK(!tarn_quantum_learn(&q, 1, 100 * 1000));
    CHECK_NUMBER(tarn_quantum_units(&q, 100000), 1);
    CHECK(tarn_quantum_learn(&q, 1, 1000));
    CHECK(tarn_quantum_units(&q, 1000000) <= 4);
}

/* On a CPU that others want too a slice may take a time slice of the scheduler longer. */
static void a_slow_slice_alone_changes_nothing(void)
{
    struct tarn_quantum q = {0};
    for (int i = 0; i < 20; i++)
        tarn_quantum_learn(&q, 100, 100000);
    for (int i = 0; i < 10; i++) {
        CHECK(tarn_quantum_learn(&q, 100, 4100000));
        CHECK_NUMBER(tarn_quantum_units(&q, 100000), 2);
        CHECK(tarn_quantum_learn(&q, 2, 2000));
        CHECK(tarn_quantum_units(&q, 100000) >= 98);
    }
}

static void quantiles_are_those_of_a_sorted_list(void)
{
    static uint64_t values[2000];
    struct tarn_latency l = {0};
    struct tarn_rng rng;
    CHECK(isnan(tarn_latency_quantile(&l, 0.99)));
    tarn_rng_seed(&rng, 5);
    for (int i = 0; i < 2000; i++) {
        values[i] = (uint64_t)exp(10 * tarn_rng_double(&rng) + 3);
        tarn_latency_add(&l, values[i]);
        for (int j = i; j > 0 && values[j] < values[j - 1]; j--) {
            uint64_t other = values[j];
            values[j] = values[j - 1];
            values[j - 1] = other;
        }
    }
    for (int q = 1; q < 100; q++) {
        double true_ns = (double)values[q * 20 - 1];
        CHECK(fabs(tarn_latency_quantile(&l, q / 100.0) - true_ns) <= 0.13 * true_ns + 1);
    }
}

static void old_latencies_fade(void)
{
    struct tarn_latency l = {0};
    for (int i = 0; i < 100000; i++)
        tarn_latency_add(&l, 1000000);
    for (int i = 0; i < 5000; i++)
        tarn_latency_add(&l, 100);
    CHECK(tarn_latency_quantile(&l, 0.5) < 120);
    CHECK(tarn_latency_quantile(&l, 0.7) < 120);
    tarn_latency_add(&l, UINT64_MAX);
    CHECK(tarn_latency_quantile(&l, 1) > 1e9);
    tarn_latency_add(&l, 0);
    CHECK(tarn_latency_quantile(&l, 0) < 120);
}

static void a_share_is_kept_over_time(void)
{
    struct tarn_partition p;
    tarn_partition_init(&p, 0);
    CHECK_NUMBER(tarn_partition_when(&p, 5), 5);
    p.share = 0.25f;
    uint64_t now = 0, spent = 0;
    while (now < 1000000000) {
        tarn_partition_fill(&p, now, 100000);
        uint64_t when = tarn_partition_when(&p, now);
        if (when <= now) {
            tarn_partition_spend(&p, 50000);
            spent += 50000;
            when = now + 50000;
        }
        CHECK(when > now);
        now = when;
    }
    CHECK(fabs((double)spent / 1e9 - 0.25) < 0.001);
    /* a long silence is no store for a long rush */
    tarn_partition_fill(&p, now + 1000000000, 100000);
    CHECK(p.tokens_ns <= 100000);
    tarn_partition_fill(&p, 0, 100000); /* the clock went back */
    CHECK(p.tokens_ns <= 100000);
}

static void the_controller_keeps_the_budget(void)
{
    struct tarn_partition p;
    tarn_partition_init(&p, 0);
    /* p99 rises with the quantum and with the share that training takes */
    double worst_late = 0, sum = 0;
    for (int i = 0; i < 2000; i++) {
        double p99 = 100 + 100 * (double)p.cut + 100 * (double)p.share;
        tarn_partition_adapt(&p, p99, 180);
        if (i >= 100) {
            worst_late = fmax(worst_late, p99);
            sum += (double)p.share;
        }
    }
    CHECK(worst_late < 190);
    CHECK(sum / 1900 > 0.3); /* what the budget leaves is used */
    for (int i = 0; i < 100; i++)
        tarn_partition_adapt(&p, NAN, 180); /* nobody asks: all of it comes back */
    CHECK_NUMBER(p.share, 1);
    for (int i = 0; i < 100; i++)
        tarn_partition_adapt(&p, 1e9, 180);
    CHECK(p.share > 0 && p.share < 0.05f);
}

CHECK_MAIN(CASE(slices_grow_to_their_quantum), CASE(slower_units_count_at_once),
           CASE(another_world_starts_over), CASE(a_slow_slice_alone_changes_nothing),
           CASE(quantiles_are_those_of_a_sorted_list), CASE(old_latencies_fade),
           CASE(a_share_is_kept_over_time), CASE(the_controller_keeps_the_budget))
