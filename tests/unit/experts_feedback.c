/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "experts/feedback.h"

static const char *const names[TARN_FEEDBACK_EXPERTS] = {"network", "lfu", "sticky", NULL};

static struct tarn_feedback *begin(void)
{
    struct tarn_feedback *f;
    if (tarn_feedback_create(names, &f) != TARN_OK)
        abort();
    return f;
}

/* 1000 requests, of which 100 were sampled; the cache's own misses cost 30 of them. */
static struct tarn_feedback_record made(uint64_t end, tarn_workload_class workload,
                                        uint64_t version)
{
    return (struct tarn_feedback_record){
        .end = end,
        .version = version,
        .workload = workload,
        .confidence = 0.5f,
        .weight = {0.25f, 0.5f, 0.25f, 0},
        .swaps = 1,
        .figures = {.requests = 1000,
                    .misses = 400,
                    .sampled = 100,
                    .cost = 30,
                    .expert_cost = {32, 28, 45, 0},
                    .beside_lru = 50,
                    .own_misses = 30,
                    .lru_misses = 40},
    };
}

static void regret_is_against_the_best_expert(void)
{
    struct tarn_feedback_record r = made(1, TARN_WORKLOAD_LOOP, 1);
    struct tarn_feedback_figures nothing = {0};
    CHECK(fabs(tarn_feedback_regret(&r.figures) - 0.02) < 1e-12);
    CHECK_NUMBER(tarn_feedback_best(&r.figures), 1); /* the fourth isn't there */
    CHECK(fabs(tarn_feedback_gain(&r.figures) - 0.25) < 1e-12);
    r.figures.cost = 20;
    CHECK(fabs(tarn_feedback_regret(&r.figures) + 0.08) < 1e-12);
    CHECK(isnan(tarn_feedback_regret(&nothing)) && isnan(tarn_feedback_gain(&nothing)));
    CHECK_NUMBER(tarn_feedback_best(&nothing), -1);
}

static void sums_are_by_class_and_by_version(void)
{
    struct tarn_feedback *f = begin();
    struct tarn_feedback_figures sum;
    for (uint64_t i = 0; i < 12; i++) {
        struct tarn_feedback_record r =
            made(1000 * (i + 1), i % 4 < 2 ? TARN_WORKLOAD_ZIPF : TARN_WORKLOAD_SCAN, 1 + i / 6);
        tarn_feedback_add(f, &r);
    }
    tarn_feedback_sum(f, TARN_WORKLOAD_ZIPF, 0, &sum);
    CHECK_NUMBER(sum.requests, 6000);
    CHECK_NUMBER(sum.misses, 2400);
    CHECK_NUMBER(sum.cost, 180);
    tarn_feedback_sum(f, TARN_WORKLOADS, 0, &sum);
    CHECK_NUMBER(sum.requests, 12000);
    CHECK_NUMBER(sum.expert_cost[2], 540);
    CHECK_NUMBER(sum.lru_misses, 480);
    tarn_feedback_sum(f, TARN_WORKLOAD_ZIPF, 1, &sum);
    CHECK_NUMBER(sum.requests, 4000);
    tarn_feedback_sum(f, TARN_WORKLOAD_SCAN, 2, &sum);
    CHECK_NUMBER(sum.requests, 4000);
    tarn_feedback_sum(f, TARN_WORKLOADS, 7, &sum);
    CHECK_NUMBER(sum.requests, 0);
    CHECK_NUMBER(f->visits[TARN_WORKLOAD_ZIPF], 3);
    CHECK_NUMBER(f->visits[TARN_WORKLOAD_SCAN], 3);
    tarn_feedback_free(&f);
    CHECK(f == NULL);
    tarn_feedback_free(&f);
}

/* However long it goes on, nothing is lost but detail. */
static void the_series_is_bounded_and_complete(void)
{
    enum { ADDED = 5000 };
    struct tarn_feedback *f = begin();
    uint64_t requests = 0, swaps = 0, end = 0, versions = 0;
    for (uint64_t i = 0; i < ADDED; i++) {
        struct tarn_feedback_record r =
            made(1000 * (i + 1), (tarn_workload_class)(i / 700 % TARN_WORKLOADS), i / 50);
        tarn_feedback_add(f, &r);
        CHECK(f->record_count <= TARN_FEEDBACK_RECORDS);
        CHECK(f->version_count <= TARN_FEEDBACK_VERSIONS);
    }
    CHECK(f->record_count > TARN_FEEDBACK_RECORDS / 4);
    for (uint32_t i = 0; i < f->record_count; i++) {
        requests += f->record[i].figures.requests;
        swaps += f->record[i].swaps;
        CHECK(f->record[i].end > end);
        end = f->record[i].end;
        if (i + 1 < f->record_count)
            CHECK(f->record[i].figures.requests >= f->span / 2);
    }
    CHECK_NUMBER(requests, 1000 * ADDED);
    CHECK_NUMBER(swaps, ADDED);
    CHECK_NUMBER(end, 1000 * ADDED);
    for (uint32_t i = 0; i < f->version_count; i++)
        for (int c = 0; c < TARN_WORKLOADS; c++)
            versions += f->version[i].by_class[c].requests;
    CHECK_NUMBER(versions, 1000 * ADDED);
    CHECK_NUMBER(f->version[f->version_count - 1].version, ADDED / 50 - 1);
    CHECK_NUMBER(f->version[0].version, 0);
    tarn_feedback_free(&f);
}

static void the_file_is_read_as_it_was_written(void)
{
    struct tarn_feedback *f = begin(), *again = begin();
    uint8_t *data = tarn_alloc(tarn_feedback_file_limit());
    struct tarn_error error;
    for (uint64_t i = 0; i < 1500; i++) {
        struct tarn_feedback_record r = made(1000 * (i + 1), (tarn_workload_class)(i % 6), i / 9);
        tarn_feedback_add(f, &r);
        f->mix[i % 6][i % 4] = (double)i / 3;
        f->mix_seen[i % 6] = (double)i;
    }
    size_t size = tarn_feedback_encode(f, data);
    CHECK(size <= tarn_feedback_file_limit());
    CHECK_NUMBER(tarn_feedback_decode(data, size, "test", again, &error), TARN_OK);
    /* all fields: between them there may be bytes that nobody has set */
    uint8_t *data_again = tarn_alloc(tarn_feedback_file_limit());
    CHECK(tarn_feedback_encode(again, data_again) == size && memcmp(data, data_again, size) == 0);
    tarn_free(data_again);
    CHECK(again->record[f->record_count - 1].end == f->record[f->record_count - 1].end);
    CHECK(again->version[f->version_count - 1].version == f->version[f->version_count - 1].version);
    CHECK(memcmp(f->by_class, again->by_class, sizeof f->by_class) == 0);
    CHECK(memcmp(f->mix, again->mix, sizeof f->mix) == 0);
    CHECK(memcmp(f->mix_seen, again->mix_seen, sizeof f->mix_seen) == 0);
    CHECK(memcmp(f->visits, again->visits, sizeof f->visits) == 0);
    CHECK(memcmp(f->expert, again->expert, sizeof f->expert) == 0);
    CHECK(f->span == again->span && f->record_count == again->record_count);
    /* any bit, anywhere, and any end */
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    for (int i = 0; i < 300; i++) {
        uint32_t at = i < 40 ? (uint32_t)i : tarn_rng_below(&rng, (uint32_t)size);
        data[at] ^= (uint8_t)(1u << i % 8);
        CHECK(tarn_feedback_decode(data, size, "test", again, &error) != TARN_OK);
        data[at] ^= (uint8_t)(1u << i % 8);
        CHECK(tarn_feedback_decode(data, at, "test", again, &error) == TARN_CORRUPT);
    }
    /* what no writer writes, with a hash that is right */
    size_t tail = (2 + 5 + TARN_FEEDBACK_EXPERTS) * 8 + 8 + TARN_FEEDBACK_EXPERTS * 4 + 4;
    tarn_put_f32(data + size - 8 - tail, NAN); /* the last record's confidence */
    tarn_put_u64(data + size - 8, tarn_hash(data, size - 8));
    CHECK_NUMBER(tarn_feedback_decode(data, size, "test", again, &error), TARN_CORRUPT);
    CHECK(strstr(error.message, "test") != NULL);
    tarn_free(data);
    tarn_feedback_free(&f);
    tarn_feedback_free(&again);
}

static bool allow_none(size_t size)
{
    return size == 0;
}

static void without_memory_there_is_none(void)
{
    struct tarn_feedback *f = begin();
    struct tarn_feedback *none;
    struct tarn_feedback_record r = made(1000, TARN_WORKLOAD_LOOP, 1);
    tarn_memory_set_hook(allow_none);
    CHECK_NUMBER(tarn_feedback_create(names, &none), TARN_NO_MEMORY);
    CHECK(none == NULL);
    for (int i = 0; i < 3000; i++) /* and none is asked for later */
        tarn_feedback_add(f, &r);
    tarn_memory_set_hook(NULL);
    CHECK_NUMBER(f->by_class[TARN_WORKLOAD_LOOP].requests, 3000000);
    tarn_feedback_free(&f);
}

CHECK_MAIN(CASE(regret_is_against_the_best_expert), CASE(sums_are_by_class_and_by_version),
           CASE(the_series_is_bounded_and_complete), CASE(the_file_is_read_as_it_was_written),
           CASE(without_memory_there_is_none))
