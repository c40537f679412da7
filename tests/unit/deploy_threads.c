/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers against swaps, rollbacks and holders: for TSan and ASan, and that no batch ever sees a freed
 * version or parts of two.
 */
#include "../check.h"

#include <pthread.h>
#include <sched.h>

#include "deploy/slot.h"

#define READERS 3
#define SWAPS   1500

static const struct tarn_shape shape = {4, 4, 4, 4};
#define WEIGHTS 60

static tarn_slot *slot;
static atomic_bool stop;

struct reader {
    pthread_t thread;
    int number;
    struct tarn_slot_reader *reader;
    uint64_t batches, wrong;
};

/* Every number of a version is the same. */
static struct tarn_bundle *make(int number)
{
    float weights[WEIGHTS], shifts[4];
    struct tarn_bundle *bundle = NULL;
    struct tarn_bundle_params params = {
        .shape = shape, .weights = weights, .offset = shifts, .thresholds = TARN_BUNDLE_THRESHOLDS};
    for (int i = 0; i < WEIGHTS; i++)
        weights[i] = (float)number;
    for (int i = 0; i < 4; i++)
        shifts[i] = (float)number;
    for (int i = 0; i < TARN_BUNDLE_THRESHOLDS; i++)
        params.threshold[i] = (float)number;
    CHECK(tarn_bundle_create(&params, &bundle, NULL) == TARN_OK);
    return bundle;
}

static bool is_whole(const struct tarn_bundle *bundle)
{
    float number = bundle->model->weights[0];
    bool whole = bundle->version > 0 && number > 0;
    for (int i = 0; i < WEIGHTS; i++)
        whole = whole && bundle->model->weights[i] == number;
    for (int i = 0; i < 4; i++)
        whole = whole && bundle->offset[i] == number;
    for (int i = 0; i < TARN_BUNDLE_THRESHOLDS; i++)
        whole = whole && bundle->threshold[i] == number;
    return whole;
}

/* The last reader goes offline now and then, and holds versions for longer. */
static void *read_on(void *context)
{
    struct reader *r = context;
    struct tarn_bundle *held = NULL;
    while (!atomic_load(&stop) || r->batches < 100) {
        const struct tarn_bundle *bundle = tarn_slot_enter(r->reader);
        r->wrong += !is_whole(bundle) || !is_whole(bundle);
        tarn_slot_leave(r->reader);
        if (r->number == READERS - 1 && ++r->batches % 16 == 0) {
            tarn_slot_offline(r->reader);
            r->wrong += held != NULL && !is_whole(held);
            tarn_bundle_release(&held);
            r->wrong += tarn_slot_hold(slot, 0, &held) != TARN_OK;
            sched_yield();
        } else if (r->number < READERS - 1) {
            r->batches++;
        }
    }
    tarn_slot_offline(r->reader);
    tarn_bundle_release(&held);
    return NULL;
}

static void write_on(uint64_t *swaps, uint64_t *rollbacks, int from)
{
    static const struct tarn_change trained = {.reason = TARN_REASON_TRAINED};
    static const struct tarn_change worse = {.reason = TARN_REASON_REGRESSION, .failed = true};
    for (int i = 0; i < SWAPS; i++) {
        struct tarn_bundle *bundle = make(from + i);
        tarn_status status;
        while ((status = tarn_slot_swap(slot, bundle, 0, &trained, NULL, NULL)) == TARN_BUSY)
            sched_yield(); /* sixty wait for a reader */
        CHECK(status == TARN_OK);
        *swaps += status == TARN_OK;
        if (i % 5 == 4)
            *rollbacks += tarn_slot_rollback(slot, 0, 0, &worse, NULL, NULL) == TARN_OK;
        tarn_slot_reap(slot);
    }
}

static void *write_too(void *context)
{
    uint64_t *counts = context;
    write_on(&counts[0], &counts[1], 100000);
    return NULL;
}

static void no_batch_sees_two_versions_or_none(void)
{
    static const struct tarn_change start = {.reason = TARN_REASON_START};
    struct reader reader[READERS] = {{0}};
    struct tarn_slot_stats stats;
    tarn_history *history;
    pthread_t writer;
    uint64_t mine[2] = {0}, others[2] = {0};
    REQUIRE(tarn_history_open(&(struct tarn_history_params){0}, &history, NULL) == TARN_OK);
    struct tarn_slot_params params = {.history = history, .keep = 3}; /* freed soon */
    REQUIRE(tarn_slot_create(&params, make(1), &start, &slot, NULL) == TARN_OK);
    for (int i = 0; i < READERS; i++) {
        reader[i].number = i;
        REQUIRE(tarn_slot_register(slot, &reader[i].reader) == TARN_OK);
        REQUIRE(pthread_create(&reader[i].thread, NULL, read_on, &reader[i]) == 0);
    }
    REQUIRE(pthread_create(&writer, NULL, write_too, others) == 0);
    write_on(&mine[0], &mine[1], 2);
    pthread_join(writer, NULL);
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(reader[i].thread, NULL);
        CHECK_NUMBER(reader[i].wrong, 0);
        CHECK(reader[i].batches >= 100);
    }
    CHECK_NUMBER(tarn_slot_reap(slot), 0);
    tarn_slot_get_stats(slot, &stats);
    CHECK_NUMBER(stats.swaps, 2 * SWAPS);
    CHECK_NUMBER(stats.rollbacks, mine[1] + others[1]);
    CHECK(stats.rollbacks > 100);
    for (int i = 0; i < READERS; i++)
        tarn_slot_unregister(slot, &reader[i].reader);
    tarn_slot_destroy(&slot);
    tarn_history_close(&history);
}

CHECK_MAIN(CASE(no_batch_sees_two_versions_or_none))
