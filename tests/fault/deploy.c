/* SPDX-License-Identifier: Apache-2.0 */
/* Every allocation of the slot and its history fails once: nothing leaks, and what is live stays live. */
#include "../check.h"
#include "../failing_heap.h"

#include <unistd.h>

#include "deploy/slot.h"

static char path[64];
static const struct tarn_change worse = {.reason = TARN_REASON_REGRESSION, .failed = true};

static tarn_status make(float value, struct tarn_bundle **bundle)
{
    float weights[8];
    struct tarn_bundle_params params = {.shape = {1, 1, 1, 1}, .weights = weights};
    for (int i = 0; i < 8; i++)
        weights[i] = value;
    return tarn_bundle_create(&params, bundle, NULL);
}

static bool is_fine(tarn_status status, int *failures)
{
    CHECK(status == TARN_OK || status == TARN_NO_MEMORY);
    *failures += status == TARN_NO_MEMORY;
    return status == TARN_OK;
}

static int use_slot(void)
{
    int failures = 0;
    tarn_history *history = NULL;
    tarn_slot *slot = NULL;
    struct tarn_slot_reader *reader = NULL;
    struct tarn_bundle *bundle;
    struct tarn_slot_params params = {.keep = 3};
    if (is_fine(tarn_history_open(&(struct tarn_history_params){path, 8}, &history, NULL),
                &failures))
        params.history = history;
    if (!is_fine(make(1, &bundle), &failures)) {
        CHECK(bundle == NULL);
        tarn_history_close(&history);
        return failures;
    }
    if (!is_fine(tarn_slot_create(&params, bundle, &worse, &slot, NULL), &failures)) {
        CHECK(slot == NULL);
        tarn_bundle_release(&bundle);
        tarn_history_close(&history);
        return failures;
    }
    is_fine(tarn_slot_register(slot, &reader), &failures);
    for (int i = 2; i < 8; i++) {
        if (is_fine(make((float)i, &bundle), &failures))
            CHECK(tarn_slot_swap(slot, bundle, 0, &(struct tarn_change){0}, NULL, NULL) == TARN_OK);
        if (reader != NULL) {
            CHECK(tarn_slot_enter(reader)->version > 0);
            tarn_slot_leave(reader);
        }
        if (history != NULL)
            is_fine(tarn_history_flush(history, NULL), &failures);
    }
    CHECK(tarn_slot_rollback(slot, 0, 0, &worse, NULL, NULL) == TARN_OK);
    tarn_slot_unregister(slot, &reader);
    tarn_slot_destroy(&slot);
    tarn_history_close(&history);
    return failures;
}

static void every_allocation_fails_once(void)
{
    strcpy(path, "/tmp/tarn-fault-deploy-XXXXXX");
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    close(fd);
    begin(0);
    CHECK_NUMBER(use_slot(), 0);
    CHECK_NUMBER(held, 0);
    long all = asked;
    CHECK(all > 30);
    for (long at = 1; at <= all; at++) {
        begin(at);
        int failures = use_slot();
        CHECK_NUMBER(held, 0);
        CHECK(failures == 1 || asked < at);
    }
    tarn_memory_set_hook(NULL);
    unlink(path);
}

CHECK_MAIN(CASE(every_allocation_fails_once))
