/* SPDX-License-Identifier: Apache-2.0 */
/* A model slot's rules, and what never gets into it. */
#include "../check.h"

#include <math.h>

#include "deploy/slot.h"

static const struct tarn_shape shape = {2, 3, 2, 2};
#define WEIGHTS 32

static const struct tarn_change trained = {.reason = TARN_REASON_TRAINED, .requests = 10};
static const struct tarn_change worse = {
    .reason = TARN_REASON_REGRESSION, .failed = true, .requests = 100, .text = "3 % more misses"};

static struct tarn_bundle_params params_of(float *weights, float value)
{
    for (size_t i = 0; i < tarn_shape_weights(&shape); i++)
        weights[i] = value;
    return (struct tarn_bundle_params){.shape = shape, .weights = weights};
}

static struct tarn_bundle *make(float value)
{
    float weights[WEIGHTS];
    struct tarn_bundle *bundle = NULL;
    struct tarn_bundle_params params = params_of(weights, value);
    CHECK(tarn_bundle_create(&params, &bundle, NULL) == TARN_OK);
    return bundle;
}

static tarn_slot *open_slot(tarn_history *history, uint32_t keep)
{
    tarn_slot *slot = NULL;
    CHECK(tarn_slot_create(&(struct tarn_slot_params){keep, 1000, history}, make(1), &trained,
                           &slot, NULL) == TARN_OK);
    return slot;
}

static tarn_status swap_in(tarn_slot *slot, float value, uint64_t *version)
{
    struct tarn_bundle *bundle = make(value);
    tarn_status status = tarn_slot_swap(slot, bundle, 0, &trained, version, NULL);
    if (status != TARN_OK)
        tarn_bundle_release(&bundle);
    return status;
}

static uint64_t live(tarn_slot *slot)
{
    struct tarn_slot_stats stats;
    tarn_slot_get_stats(slot, &stats);
    return stats.live;
}

static void refused(struct tarn_bundle_params *params, const char *why)
{
    struct tarn_bundle *bundle;
    struct tarn_error error = {0};
    CHECK(tarn_bundle_create(params, &bundle, &error) == TARN_INVALID && bundle == NULL);
    if (strstr(error.message, why) == NULL)
        printf("# %s\n", error.message);
    CHECK(strstr(error.message, why) != NULL);
}

static void what_is_no_number_never_gets_in(void)
{
    float weights[WEIGHTS], scale[2] = {1, INFINITY}, offset[2] = {NAN, 0};
    struct tarn_bundle_params params = params_of(weights, 1);
    weights[7] = NAN;
    refused(&params, "weight 7 is not a number");
    weights[7] = -INFINITY;
    refused(&params, "weight 7 is infinite");
    weights[7] = 1;
    params.scale = scale;
    refused(&params, "scale 1 is infinite");
    params.scale = NULL;
    params.offset = offset;
    refused(&params, "offset 0 is not a number");
    params.offset = NULL;
    params.thresholds = 2;
    params.threshold[1] = NAN;
    refused(&params, "threshold 1");
    params.thresholds = TARN_BUNDLE_THRESHOLDS + 1;
    refused(&params, "9 thresholds");
}

static void nor_what_does_not_add_up(void)
{
    float weights[WEIGHTS];
    struct tarn_bundle_params params = params_of(weights, 1);
    params.scorer = TARN_SCORER_MIX;
    refused(&params, "0 experts where a mix");
    params.experts = 2;
    params.expert[0] = 0.5f;
    params.expert[1] = 0.25f;
    refused(&params, "add up to 0.75");
    params.expert[1] = NAN;
    refused(&params, "expert 1 is no share");
    params.scorer = TARN_SCORERS;
    refused(&params, "scorer 2");
    params = params_of(weights, 1);
    params.shape.inputs = 0;
    refused(&params, "0-3-2-2");
}

static void a_hash_covers_all_that_scores(void)
{
    float weights[WEIGHTS], scale[2] = {1, 2};
    struct tarn_bundle *a = NULL, *b = NULL;
    struct tarn_bundle_params params = params_of(weights, 1);
    REQUIRE(tarn_bundle_create(&params, &a, NULL) == TARN_OK);
    params.provenance = "elsewhere";
    REQUIRE(tarn_bundle_create(&params, &b, NULL) == TARN_OK);
    CHECK(a->hash == b->hash);
    tarn_bundle_release(&b);
    for (int i = 0; i < 4; i++) {
        params = params_of(weights, 1);
        weights[5] += i == 0;
        params.scale = i == 1 ? scale : NULL;
        params.thresholds = i == 2;
        params.scorer = i == 3 ? TARN_SCORER_MIX : TARN_SCORER_NETWORK;
        params.experts = i == 3;
        params.expert[0] = i == 3;
        REQUIRE(tarn_bundle_create(&params, &b, NULL) == TARN_OK);
        CHECK(a->hash != b->hash);
        tarn_bundle_release(&b);
    }
    tarn_bundle_release(&a);
}

static void a_wrong_shape_is_turned_away(void)
{
    float weights[WEIGHTS] = {0};
    tarn_slot *slot = open_slot(NULL, 0);
    struct tarn_error error = {0};
    struct tarn_bundle *bundle = NULL, *same;
    struct tarn_bundle_params params = {.shape = {2, 2, 2, 2}, .weights = weights};
    REQUIRE(tarn_bundle_create(&params, &bundle, NULL) == TARN_OK);
    CHECK(tarn_slot_swap(slot, bundle, 0, &trained, NULL, &error) == TARN_INVALID);
    CHECK(strstr(error.message, "2-2-2-2 where 2-3-2-2 runs") != NULL);
    CHECK(tarn_slot_reject(slot, bundle, &worse, NULL, NULL) == TARN_INVALID);
    tarn_bundle_release(&bundle);
    CHECK(tarn_slot_hold(slot, 0, &same) == TARN_OK);
    CHECK(tarn_slot_swap(slot, same, 0, &trained, NULL, &error) == TARN_INVALID);
    tarn_bundle_release(&same);
    CHECK_NUMBER(live(slot), 1);
    tarn_slot_destroy(&slot);
}

static void swap_rollback_and_cool_down(void)
{
    uint64_t version = 0;
    struct tarn_bundle *again = make(3);
    tarn_slot *slot = open_slot(NULL, 0);
    CHECK(swap_in(slot, 2, &version) == TARN_OK && version == 2);
    CHECK(swap_in(slot, 3, &version) == TARN_OK && version == 3);
    CHECK(tarn_slot_rollback(slot, 0, 3, &worse, &version, NULL) == TARN_OK && version == 2);
    CHECK_NUMBER(live(slot), 2);
    /* an equal one waits until 1,000 requests have passed since 100 */
    CHECK(swap_in(slot, 3, NULL) == TARN_COOLDOWN);
    CHECK(tarn_slot_is_cooling(slot, again->hash, 1099));
    CHECK(!tarn_slot_is_cooling(slot, again->hash, 1100));
    struct tarn_change late = {.requests = 1100};
    CHECK(tarn_slot_swap(slot, again, 2, &late, &version, NULL) == TARN_OK && version == 4);
    /* 4 and 2 go too: the ancestor that hasn't failed is 1 */
    CHECK(tarn_slot_rollback(slot, 0, 0, &worse, &version, NULL) == TARN_OK && version == 2);
    CHECK(tarn_slot_rollback(slot, 0, 0, &worse, &version, NULL) == TARN_OK && version == 1);
    CHECK(tarn_slot_rollback(slot, 0, 0, &worse, &version, NULL) == TARN_NOT_FOUND);
    CHECK(tarn_slot_rollback(slot, 1, 0, &worse, &version, NULL) == TARN_INVALID);
    CHECK(tarn_slot_rollback(slot, 99, 0, &worse, &version, NULL) == TARN_NOT_FOUND);
    CHECK(tarn_slot_rollback(slot, 3, 2, &worse, &version, NULL) == TARN_BUSY);
    /* a person may insist on one that failed */
    CHECK(tarn_slot_rollback(slot, 3, 1, &trained, &version, NULL) == TARN_OK && version == 3);
    tarn_slot_destroy(&slot);
}

static void a_pin_holds(void)
{
    tarn_slot *slot = open_slot(NULL, 0);
    CHECK(tarn_slot_unpin(slot, &trained, NULL) == TARN_NOT_FOUND);
    CHECK(swap_in(slot, 2, NULL) == TARN_OK);
    CHECK(tarn_slot_pin(slot, 9, &trained, NULL) == TARN_NOT_FOUND);
    CHECK(tarn_slot_pin(slot, 1, &trained, NULL) == TARN_OK);
    CHECK_NUMBER(live(slot), 1);
    CHECK(swap_in(slot, 3, NULL) == TARN_BUSY);
    CHECK(tarn_slot_rollback(slot, 2, 0, &worse, NULL, NULL) == TARN_BUSY);
    CHECK(tarn_slot_pin(slot, 2, &trained, NULL) == TARN_OK);
    CHECK_NUMBER(live(slot), 2);
    CHECK(tarn_slot_unpin(slot, &trained, NULL) == TARN_OK);
    CHECK(swap_in(slot, 3, NULL) == TARN_OK);
    tarn_slot_destroy(&slot);
}

static void the_last_versions_are_kept(void)
{
    struct tarn_slot_stats stats;
    struct tarn_bundle *held, *bad = make(50);
    uint64_t version;
    tarn_slot *slot = open_slot(NULL, 4);
    REQUIRE(tarn_slot_hold(slot, 1, &held) == TARN_OK);
    CHECK(tarn_slot_reject(slot, bad, &worse, &version, NULL) == TARN_OK && version == 2);
    CHECK_NUMBER(live(slot), 1);
    CHECK(swap_in(slot, 50, NULL) == TARN_COOLDOWN);
    for (int i = 3; i < 7; i++)
        CHECK(swap_in(slot, (float)i, NULL) == TARN_OK);
    CHECK_NUMBER(tarn_slot_reap(slot), 0);
    tarn_slot_get_stats(slot, &stats);
    CHECK(stats.kept == 4 && stats.live == 6 && stats.parent == 5 && stats.rejected == 1);
    CHECK(stats.waiting == 0 && stats.swaps == 4 && stats.memory > sizeof *held);
    CHECK(tarn_slot_hold(slot, 1, &bad) == TARN_NOT_FOUND && bad == NULL);
    CHECK(held->model->weights[0] == 1); /* it is still there for whoever holds it */
    tarn_bundle_release(&held);
    tarn_slot_destroy(&slot);
}

static void a_reader_in_a_batch_is_waited_for(void)
{
    struct tarn_slot_reader *reader, *idle;
    tarn_slot *slot = open_slot(NULL, 3);
    REQUIRE(tarn_slot_register(slot, &reader) == TARN_OK);
    REQUIRE(tarn_slot_register(slot, &idle) == TARN_OK);
    const struct tarn_bundle *first = tarn_slot_enter(reader);
    int swaps = 0;
    while (swap_in(slot, (float)(2 + swaps), NULL) == TARN_OK && swaps < 100)
        swaps++;
    CHECK_NUMBER(swaps, 60); /* then there is no room for more, and nothing was freed */
    CHECK_NUMBER(tarn_slot_reap(slot), 60);
    CHECK(first->version == 1 && first->model->weights[0] == 1);
    tarn_slot_leave(reader);
    CHECK_NUMBER(tarn_slot_reap(slot), 0);
    CHECK(tarn_slot_enter(reader)->version == 61);
    CHECK(swap_in(slot, 1000, NULL) == TARN_OK);
    CHECK_NUMBER(tarn_slot_reap(slot), 1);
    tarn_slot_offline(reader);
    CHECK_NUMBER(tarn_slot_reap(slot), 0);
    CHECK(tarn_slot_enter(idle)->version == 62);
    tarn_slot_leave(idle);
    tarn_slot_unregister(slot, &reader);
    CHECK(reader == NULL);
    tarn_slot_destroy(&slot);
}

static void the_history_goes_on_after_a_restart(void)
{
    tarn_history *history;
    struct tarn_history_record events[16];
    REQUIRE(tarn_history_open(&(struct tarn_history_params){0}, &history, NULL) == TARN_OK);
    tarn_slot *slot = open_slot(history, 0);
    CHECK(swap_in(slot, 2, NULL) == TARN_OK);
    CHECK(tarn_slot_rollback(slot, 0, 0, &worse, NULL, NULL) == TARN_OK);
    CHECK(tarn_slot_pin(slot, 0, &trained, NULL) == TARN_OK);
    CHECK(tarn_slot_unpin(slot, &trained, NULL) == TARN_OK);
    CHECK(tarn_slot_reject(slot, make(7), &worse, NULL, NULL) == TARN_OK);
    tarn_slot_destroy(&slot);
    REQUIRE(tarn_history_read(history, events, 16) == 6);
    static const uint8_t kinds[] = {TARN_EVENT_SWAP, TARN_EVENT_SWAP,  TARN_EVENT_ROLLBACK,
                                    TARN_EVENT_PIN,  TARN_EVENT_UNPIN, TARN_EVENT_REJECT};
    for (int i = 0; i < 6; i++)
        CHECK_NUMBER(events[i].kind, kinds[i]);
    CHECK(events[1].version == 2 && events[1].parent == 1 && !events[1].failed);
    CHECK(events[2].version == 1 && events[2].parent == 2 && events[2].failed);
    CHECK(events[2].hash == events[1].hash && strcmp(events[2].text, "3 % more misses") == 0);
    slot = open_slot(history, 0);
    CHECK_NUMBER(live(slot), 4);
    CHECK(swap_in(slot, 2, NULL) == TARN_COOLDOWN && swap_in(slot, 7, NULL) == TARN_COOLDOWN);
    CHECK(swap_in(slot, 8, NULL) == TARN_OK);
    tarn_slot_destroy(&slot);
    tarn_history_close(&history);
}

/* A watch goes back to it after any number of swaps; and says so of more than the last one. */
static void a_guarded_version_stays(void)
{
    struct tarn_bundle *bundle = NULL, *again = make(2);
    struct tarn_change bad = {.reason = TARN_REASON_REGRESSION, .failed = true, .requests = 100};
    uint64_t version = 0;
    tarn_slot *slot = open_slot(NULL, 4);
    CHECK(swap_in(slot, 2, &version) == TARN_OK && version == 2);
    CHECK(tarn_slot_guard(slot, 9) == TARN_NOT_FOUND);
    CHECK(tarn_slot_guard(slot, 1) == TARN_OK);
    REQUIRE(tarn_slot_hold(slot, 2, &bundle) == TARN_OK);
    for (int i = 0; i < 50; i++)
        CHECK(swap_in(slot, (float)(i + 3), NULL) == TARN_OK);
    CHECK(tarn_slot_rollback(slot, 2, 0, &bad, NULL, NULL) == TARN_NOT_FOUND);
    CHECK(tarn_slot_rollback(slot, 1, 0, &bad, &version, NULL) == TARN_OK && version == 1);
    CHECK(!tarn_slot_is_cooling(slot, again->hash, 200));
    tarn_slot_condemn(slot, bundle, &bad);
    CHECK(tarn_slot_is_cooling(slot, again->hash, 200));
    CHECK(tarn_slot_guard(slot, 0) == TARN_OK);
    for (int i = 0; i < 50; i++)
        CHECK(swap_in(slot, (float)(i + 100), NULL) == TARN_OK);
    CHECK(tarn_slot_rollback(slot, 1, 0, &bad, NULL, NULL) == TARN_NOT_FOUND);
    tarn_bundle_release(&bundle);
    tarn_bundle_release(&again);
    tarn_slot_destroy(&slot);
    slot = open_slot(NULL, 3); /* no room for a guarded one */
    CHECK(tarn_slot_guard(slot, 1) == TARN_INVALID && tarn_slot_guard(slot, 0) == TARN_OK);
    tarn_slot_destroy(&slot);
}

CHECK_MAIN(CASE(what_is_no_number_never_gets_in), CASE(nor_what_does_not_add_up),
           CASE(a_hash_covers_all_that_scores), CASE(a_wrong_shape_is_turned_away),
           CASE(swap_rollback_and_cool_down), CASE(a_pin_holds), CASE(a_guarded_version_stays),
           CASE(the_last_versions_are_kept), CASE(a_reader_in_a_batch_is_waited_for),
           CASE(the_history_goes_on_after_a_restart))
