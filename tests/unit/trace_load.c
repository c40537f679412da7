/* SPDX-License-Identifier: Apache-2.0 */
/* A whole trace in memory, against a brute-force reading of the same requests. */
#include "../check.h"

#include <unistd.h>

#include "base/rng.h"
#include "trace/numbering.h"
#include "trace/trace.h"

enum { COUNT = 3000 };
static char path[] = "/tmp/tarn-load-XXXXXX";
static struct tarn_request requests[COUNT];

static void write_trace(bool has_time, bool has_extras)
{
    struct tarn_error error;
    tarn_trace_writer *writer;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 11);
    for (int i = 0; i < COUNT; i++)
        requests[i] = (struct tarn_request){
            .time = tarn_rng_below(&rng, 1000),
            .key = (uint64_t)tarn_rng_below(&rng, 700) * 0x123456789abcdefu,
            .size = 1 + tarn_rng_below(&rng, 50),
            .op = tarn_rng_below(&rng, 9) ? TARN_TRACE_GET
                                          : (tarn_trace_op)(1 + tarn_rng_below(&rng, 2)),
            .tag = (uint8_t)tarn_rng_below(&rng, 8),
            .cost_us = (float)tarn_rng_below(&rng, 90),
        };
    struct tarn_trace_writer_params params = {
        .has_time = has_time, .has_tag = has_extras, .has_cost = has_extras};
    REQUIRE(tarn_trace_writer_create(path, &params, &writer, &error) == TARN_OK);
    REQUIRE(tarn_trace_writer_add(writer, requests, COUNT, &error) == TARN_OK);
    REQUIRE(tarn_trace_writer_finish(&writer, &error) == TARN_OK);
}

static int calls;
static void progress(void *user, double share)
{
    calls++;
    CHECK(user == &calls);
    CHECK(share >= 0 && share <= 1);
}

static void matches_brute_force(void)
{
    struct tarn_error error;
    struct tarn_trace_data *data;
    write_trace(true, true);
    REQUIRE(tarn_trace_load(path,
                            &(struct tarn_trace_load_params){.progress = progress, .user = &calls},
                            &data, &error) == TARN_OK);
    CHECK(calls > 0);
    CHECK_NUMBER(data->count, COUNT);
    CHECK(data->time != NULL && data->op != NULL && !data->unit_sizes);
    REQUIRE(data->tag != NULL && data->cost != NULL);
    CHECK(data->format == TARN_TRACE_TARN);
    uint32_t fresh = 0;
    uint64_t footprint = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t before = i, next = i + 1;
        while (before > 0 && requests[before - 1].key != requests[i].key)
            before--;
        while (next < COUNT && requests[next].key != requests[i].key)
            next++;
        if (before == 0) { /* the first of its key */
            CHECK_NUMBER(data->object[i], fresh);
            CHECK(data->key[fresh] == requests[i].key);
            fresh++;
            uint64_t size = requests[i].size;
            for (uint32_t j = i; j < COUNT; j++)
                if (requests[j].key == requests[i].key && requests[j].op != TARN_TRACE_DELETE) {
                    size = requests[j].size;
                }
            footprint += size;
        } else {
            CHECK(data->object[i] == data->object[before - 1]);
        }
        CHECK(data->next[i] == (next < COUNT ? next : UINT32_MAX));
        CHECK(data->size[i] == requests[i].size && data->time[i] == requests[i].time);
        CHECK(data->op[i] == requests[i].op);
        CHECK_NUMBER(data->tag[i], requests[i].tag);
        CHECK_NUMBER(data->cost[i], requests[i].cost_us);
    }
    CHECK_NUMBER(data->objects, fresh);
    CHECK_NUMBER(data->footprint, footprint);
    tarn_trace_data_free(&data);
    CHECK(data == NULL);
}

static void limits_and_unit_sizes(void)
{
    struct tarn_error error;
    struct tarn_trace_data *data;
    write_trace(false, false);
    REQUIRE(tarn_trace_load(path, &(struct tarn_trace_load_params){.limit = 100, .unit_size = 1},
                            &data, &error) == TARN_OK);
    CHECK_NUMBER(data->count, 100);
    CHECK(data->unit_sizes && data->time == NULL);
    CHECK(data->tag == NULL && data->cost == NULL);
    CHECK_NUMBER(data->footprint, data->objects);
    for (int i = 0; i < 100; i++)
        CHECK(data->size[i] == 1 && (data->next[i] < 100 || data->next[i] == UINT32_MAX));
    tarn_trace_data_free(&data);
}

static void empty_and_missing(void)
{
    struct tarn_error error;
    struct tarn_trace_data *data = (void *)1;
    REQUIRE(truncate(path, 0) == 0);
    CHECK(tarn_trace_load(path, NULL, &data, &error) == TARN_CORRUPT);
    CHECK(data == NULL);
    CHECK(strstr(error.message, "empty") != NULL);
    unlink(path);
    CHECK(tarn_trace_load(path, NULL, &data, &error) == TARN_NOT_FOUND);
    CHECK(strstr(error.message, path) != NULL);
}

/* Keys that collide in the low bits and in the high ones, and growth over several sizes. */
static void numbering_grows(void)
{
    struct tarn_numbering numbering = {0};
    uint32_t number;
    bool fresh;
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 300000; i++) {
            uint64_t key = i % 3 == 0 ? i : i % 3 == 1 ? (uint64_t)i << 40 : ~(uint64_t)i;
            REQUIRE(tarn_numbering_get(&numbering, key, &number, &fresh));
            REQUIRE(number == i && fresh == (round == 0));
        }
    CHECK_NUMBER(numbering.count, 300000);
    tarn_numbering_free(&numbering);
    CHECK(numbering.slots == NULL && numbering.count == 0);
}

static void prepare(void)
{
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    close(fd);
}

CHECK_MAIN(CASE(prepare), CASE(matches_brute_force), CASE(limits_and_unit_sizes),
           CASE(empty_and_missing), CASE(numbering_grows))
