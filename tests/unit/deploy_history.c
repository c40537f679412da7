/* SPDX-License-Identifier: Apache-2.0 */
/* The history of versions: what survives a restart, a power cut at any byte, a full disk. */
#include "../check.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "deploy/history.h"

static char folder[64], path[96];

static void make_folder(void)
{
    strcpy(folder, "/tmp/tarn-history-XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/history", folder);
}

static void remove_folder(void)
{
    unlink(path);
    CHECK(rmdir(folder) == 0);
}

static tarn_history *reopen(tarn_history *history, uint32_t limit)
{
    struct tarn_error error = {0};
    tarn_history_close(&history);
    CHECK(tarn_history_open(&(struct tarn_history_params){path, limit}, &history, &error) ==
          TARN_OK);
    if (history == NULL)
        printf("# %s\n", error.message);
    return history;
}

/* 1970, and a figure that is none. */
static void add(tarn_history *history, uint64_t version)
{
    struct tarn_change change = {.reason = TARN_REASON_TRAINED,
                                 .failed = version % 3 == 0,
                                 .requests = 1000 * version,
                                 .unix_ms = 5,
                                 .metrics = 3,
                                 .metric = {{TARN_METRIC_LOSS, 0.5f},
                                            {TARN_METRIC_MISS_RATIO, NAN},
                                            {TARN_METRIC_DISTANCE, (float)version}},
                                 .text = version % 2 ? "odd" : NULL};
    tarn_history_add(history, TARN_EVENT_SWAP, version, version - 1, 77 * version, &change);
}

static bool is_whole(const struct tarn_history_record *e, uint64_t version)
{
    return e->kind == TARN_EVENT_SWAP && e->reason == TARN_REASON_TRAINED &&
           e->version == version && e->parent == version - 1 && e->hash == 77 * version &&
           e->failed == (version % 3 == 0) && e->requests == 1000 * version && e->unix_ms == 5 &&
           e->metrics == 2 && e->metric[1].kind == TARN_METRIC_DISTANCE &&
           e->metric[1].value == (float)version && strcmp(e->text, version % 2 ? "odd" : "") == 0 &&
           e->sequence == version;
}

static void survives_a_restart(void)
{
    struct tarn_history_record events[16];
    make_folder();
    tarn_history *h = reopen(NULL, 0);
    for (uint64_t v = 1; v <= 10; v++) {
        add(h, v);
        if (v % 3 == 0)
            CHECK(tarn_history_flush(h, NULL) == TARN_OK);
    }
    h = reopen(h, 0); /* the tenth was never flushed */
    CHECK_NUMBER(tarn_history_read(h, events, 16), 9);
    for (uint64_t v = 1; v <= 9; v++)
        CHECK(is_whole(&events[v - 1], v));
    CHECK(tarn_history_version(h) == 9 && tarn_history_requests(h) == 9000);
    CHECK_NUMBER(tarn_history_damaged(h), 0);
    add(h, 10);
    CHECK(tarn_history_flush(h, NULL) == TARN_OK && tarn_history_flush(h, NULL) == TARN_OK);
    h = reopen(h, 0);
    CHECK(tarn_history_read(h, events, 2) == 2 && is_whole(&events[1], 10));
    tarn_history_close(&h);
    remove_folder();
}

static void survives_a_power_cut_at_any_byte(void)
{
    void *data;
    size_t size, last = 0;
    struct tarn_history_record events[8];
    make_folder();
    tarn_history *h = reopen(NULL, 0);
    for (uint64_t v = 1; v <= 4; v++)
        add(h, v);
    CHECK(tarn_history_flush(h, NULL) == TARN_OK);
    REQUIRE(tarn_file_read(path, 10000, &data, &size, NULL) == TARN_OK);
    for (size_t cut = 0; cut <= size; cut++) {
        REQUIRE(tarn_file_replace(path, data, cut, NULL) == TARN_OK);
        h = reopen(h, 0);
        REQUIRE(h != NULL);
        size_t count = tarn_history_read(h, events, 8);
        CHECK(count >= last && count <= 4);
        last = count;
        for (size_t i = 0; i < count; i++)
            CHECK(is_whole(&events[i], i + 1));
        /* and it can be written on */
        add(h, count + 1);
        CHECK(tarn_history_flush(h, NULL) == TARN_OK);
        h = reopen(h, 0);
        CHECK(tarn_history_read(h, events, 8) == count + 1 && is_whole(&events[count], count + 1));
        CHECK_NUMBER(tarn_history_damaged(h), 0);
    }
    CHECK_NUMBER(last, 4);
    tarn_history_close(&h);
    free(data);
    remove_folder();
}

static void one_damaged_record_is_one(void)
{
    void *data;
    size_t size;
    struct tarn_history_record events[8];
    make_folder();
    tarn_history *h = reopen(NULL, 0);
    for (uint64_t v = 1; v <= 3; v++)
        add(h, v);
    CHECK(tarn_history_flush(h, NULL) == TARN_OK);
    REQUIRE(tarn_file_read(path, 10000, &data, &size, NULL) == TARN_OK);
    ((uint8_t *)data)[16 + 64 + 20] ^= 1; /* behind header and mark: in the first */
    CHECK(tarn_file_replace(path, data, size, NULL) == TARN_OK);
    h = reopen(h, 0);
    CHECK_NUMBER(tarn_history_read(h, events, 8), 2);
    CHECK(is_whole(&events[0], 2) && is_whole(&events[1], 3));
    CHECK(tarn_history_damaged(h) > 64);
    free(data);
    tarn_history_close(&h);
    CHECK(tarn_file_replace(path, "something else", 14, NULL) == TARN_OK);
    CHECK(tarn_history_open(&(struct tarn_history_params){path, 0}, &h, NULL) == TARN_CORRUPT);
    CHECK(h == NULL);
    remove_folder();
}

static void is_bounded(void)
{
    struct stat info;
    struct tarn_history_record events[40];
    make_folder();
    tarn_history *h = reopen(NULL, 16);
    for (uint64_t v = 1; v <= 1000; v++) {
        add(h, v);
        CHECK(tarn_history_flush(h, NULL) == TARN_OK);
    }
    CHECK(stat(path, &info) == 0 && info.st_size < 18 * TARN_HISTORY_RECORD_MAX);
    h = reopen(h, 16);
    size_t count = tarn_history_read(h, events, 40);
    CHECK(count >= 12 && count <= 16 && tarn_history_count(h) == count);
    for (size_t i = 0; i < count; i++) {
        CHECK(is_whole(&events[i], events[i].version));
        CHECK(i == 0 || events[i].version > events[i - 1].version);
        /* the newest are all there; of the older ones those that failed stay longer than mere steps */
        CHECK(i + 8 < count ? events[i].failed
                            : i + 4 < count || events[i].version == 1001 - count + i);
    }
    /* what only dropped records knew */
    for (int i = 0; i < 100; i++)
        tarn_history_add(h, TARN_EVENT_ROLLBACK, 3, 2, 1, &(struct tarn_change){.requests = 1});
    CHECK(tarn_history_flush(h, NULL) == TARN_OK);
    h = reopen(h, 16);
    CHECK(tarn_history_version(h) == 1000 && tarn_history_requests(h) == 1000000);
    tarn_history_close(&h);
    remove_folder();
}

static void a_full_disk_keeps_the_old_one(void)
{
    void *data, *now;
    size_t size, size_now;
    struct rlimit usual, little;
    struct tarn_error error;
    struct tarn_history_record events[200];
    make_folder();
    tarn_history *h = reopen(NULL, 0);
    for (uint64_t v = 1; v <= 4; v++)
        add(h, v);
    CHECK(tarn_history_flush(h, NULL) == TARN_OK);
    REQUIRE(tarn_file_read(path, 10000, &data, &size, NULL) == TARN_OK);
    for (uint64_t v = 5; v <= 9; v++)
        add(h, v);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &usual) == 0);
    little = usual;
    little.rlim_cur = size + 50; /* in the middle of a record */
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &little) == 0);
    tarn_status first = tarn_history_flush(h, &error), second = tarn_history_flush(h, &error);
    setrlimit(RLIMIT_FSIZE, &usual);
    CHECK(first == TARN_IO && second == TARN_IO);
    REQUIRE(tarn_file_read(path, 10000, &now, &size_now, NULL) == TARN_OK);
    CHECK(size_now == size && memcmp(now, data, size) == 0);
    CHECK(tarn_history_flush(h, NULL) == TARN_OK);
    h = reopen(h, 0);
    CHECK_NUMBER(tarn_history_read(h, events, 200), 9);
    CHECK(is_whole(&events[8], 9));
    free(data);
    free(now);
    tarn_history_close(&h);
    remove_folder();
}

static void text_is_one_line_of_whole_characters(void)
{
    char text[200];
    struct tarn_history_record event;
    tarn_history *h;
    REQUIRE(tarn_history_open(&(struct tarn_history_params){0}, &h, NULL) == TARN_OK);
    memset(text, 'a', sizeof text);
    text[3] = '\n';
    memcpy(text + TARN_HISTORY_TEXT - 2, "\xc3\xa9", 3); /* é across the limit */
    tarn_history_add(h, TARN_EVENT_REJECT, 1, 0, 1, &(struct tarn_change){.text = text});
    CHECK(tarn_history_read(h, &event, 1) == 1);
    CHECK(strlen(event.text) == TARN_HISTORY_TEXT - 2 && event.text[3] == ' ');
    CHECK(strcmp(tarn_reason_text(TARN_REASON_GATE), "failed the gate") == 0);
    CHECK(strcmp(tarn_event_text(TARN_EVENT_PIN), "was pinned") == 0);
    CHECK(strcmp(tarn_metric_text(999), "?") == 0);
    tarn_history_close(&h);
}

static void a_failed_model_is_kept_for_inspection(void)
{
    char name[200];
    tarn_history *h;
    float weights[8] = {0};
    tarn_model *model;
    struct tarn_bundle *bundle;
    struct tarn_bundle_params params = {.shape = {1, 1, 1, 1}, .weights = weights};
    make_folder();
    h = reopen(NULL, 0);
    REQUIRE(tarn_bundle_create(&params, &bundle, NULL) == TARN_OK);
    for (uint64_t v = 1; v <= 9; v++) {
        bundle->version = v;
        CHECK(tarn_history_keep_model(h, bundle, NULL) == TARN_OK);
    }
    for (int k = 0; k < TARN_HISTORY_MODELS; k++) {
        snprintf(name, sizeof name, "%s.failed-%d.model", path, k);
        CHECK(tarn_model_load(name, &model, NULL) == TARN_OK);
        tarn_model_destroy(&model);
        unlink(name);
    }
    tarn_bundle_release(&bundle);
    tarn_history_close(&h);
    remove_folder();
}

CHECK_MAIN(CASE(survives_a_restart), CASE(survives_a_power_cut_at_any_byte),
           CASE(one_damaged_record_is_one), CASE(is_bounded), CASE(a_full_disk_keeps_the_old_one),
           CASE(text_is_one_line_of_whole_characters), CASE(a_failed_model_is_kept_for_inspection))
