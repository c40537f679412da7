/* SPDX-License-Identifier: Apache-2.0 */
/* Every format, written and read back: through files, through memory, in pieces of every size. */
#include "../check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/rng.h"
#include "trace/trace.h"

enum { COUNT = 40000 };
static struct tarn_request requests[COUNT];
static char directory[] = "/tmp/tarn-formats-XXXXXX";

static const char *in_directory(const char *name)
{
    static char path[4][128];
    static unsigned turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", directory, name);
    return path[turn];
}

/* Keys small and large, times that go back, sizes that need one to eight bytes, every operation. */
static void fill(bool oracle)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 3);
    for (int i = 0; i < COUNT; i++) {
        unsigned bits = tarn_rng_below(&rng, oracle ? 32 : 53);
        requests[i] = (struct tarn_request){
            .time = (uint64_t)i / 7 + tarn_rng_below(&rng, 3),
            .key = tarn_rng_below(&rng, 2) ? tarn_rng_next(&rng) : tarn_rng_below(&rng, 5000),
            .size = ((uint64_t)1 << bits) + (tarn_rng_next(&rng) & (((uint64_t)1 << bits) - 1)),
            .op = oracle ? TARN_TRACE_GET : (tarn_trace_op)tarn_rng_below(&rng, 3),
        };
    }
    requests[1].key = UINT64_MAX;
    requests[2].key = 0;
}

/* The kind and the miss cost of some of them: fractions, and as large and as small as a float is. */
static void add_extras(void)
{
    static const float costs[] = {0, 1, 0.1F, 12345.678F, 3.4e38F, 1e-38F};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    for (int i = 0; i < COUNT; i++) {
        requests[i].tag = (uint8_t)tarn_rng_below(&rng, 8);
        requests[i].cost_us = i < 6 ? costs[i] : (float)tarn_rng_double(&rng) * 1e6F;
    }
}

static bool extras;

static bool write_to(const char *path, bool has_time)
{
    struct tarn_error error = {0};
    tarn_trace_writer *writer;
    struct tarn_trace_writer_params params = {
        .has_time = has_time, .has_tag = extras, .has_cost = extras};
    if (tarn_trace_writer_create(path, &params, &writer, &error) != TARN_OK ||
        tarn_trace_writer_add(writer, requests, COUNT, &error) != TARN_OK ||
        tarn_trace_writer_finish(&writer, &error) != TARN_OK) {
        printf("# %s\n", error.message);
        return false;
    }
    return true;
}

static bool same(const struct tarn_request *a, const struct tarn_request *b)
{
    return a->time == b->time && a->key == b->key && a->size == b->size && a->op == b->op &&
           a->tag == b->tag && !(a->cost_us < b->cost_us) && !(a->cost_us > b->cost_us);
}

/* Reads all in pieces of at most `piece`, and compares. */
static void compare(tarn_trace *trace, size_t piece)
{
    static struct tarn_request got[COUNT];
    struct tarn_error error = {0};
    size_t total = 0, count;
    tarn_status status;
    double before = 0;
    while ((status = tarn_trace_read(trace, got, piece, &count, &error)) == TARN_OK) {
        REQUIRE(count > 0 && count <= piece && total + count <= COUNT);
        for (size_t i = 0; i < count; i++)
            if (!same(&got[i], &requests[total + i])) {
                CHECK(!"the same request");
                return;
            }
        total += count;
        CHECK(tarn_trace_progress(trace) >= before);
        before = tarn_trace_progress(trace);
    }
    CHECK(status == TARN_END);
    CHECK_NUMBER(total, COUNT);
    CHECK_NUMBER(tarn_trace_progress(trace), 1);
    CHECK(tarn_trace_read(trace, got, piece, &count, &error) == TARN_END && count == 0);
}

static void round_trip(const char *name, tarn_trace_format format, bool has_time)
{
    static const size_t pieces[] = {COUNT, 1000, 7, 1};
    struct tarn_error error = {0};
    const char *path = in_directory(name);
    REQUIRE(write_to(path, has_time));
    void *bytes;
    size_t size;
    REQUIRE(tarn_file_read(path, 1 << 24, &bytes, &size, NULL) == TARN_OK);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        tarn_trace *trace = NULL;
        if (tarn_trace_open(path, NULL, &trace, &error) != TARN_OK) {
            printf("# %s\n", error.message);
            CHECK(!"it opens");
            break;
        }
        CHECK(tarn_trace_get_format(trace) == format);
        CHECK(tarn_trace_has_time(trace) == has_time);
        CHECK(tarn_trace_has_tag(trace) == extras && tarn_trace_has_cost(trace) == extras);
        compare(trace, pieces[i]);
        tarn_trace_close(&trace);
        CHECK(trace == NULL);
        if (tarn_trace_open_memory(bytes, size, NULL, &trace, &error) == TARN_OK) {
            CHECK(tarn_trace_get_format(trace) == format);
            compare(trace, pieces[i]);
        } else {
            CHECK(!"it opens from memory");
        }
        tarn_trace_close(&trace);
    }
    free(bytes);
}

static void every_format_comes_back(void)
{
    fill(false);
    round_trip("a.tarn", TARN_TRACE_TARN, true);
    round_trip("a.csv", TARN_TRACE_CSV, true);
    fill(true);
    round_trip("a.oracleGeneral", TARN_TRACE_ORACLE, true);
}

static void tags_and_costs_come_back(void)
{
    extras = true;
    fill(false);
    add_extras();
    round_trip("e.tarn", TARN_TRACE_TARN, true);
    round_trip("e.csv", TARN_TRACE_CSV, true);
    extras = false;
    /* The header says which release reads it. */
    uint8_t *bytes;
    size_t size;
    REQUIRE(tarn_file_read(in_directory("e.tarn"), 1 << 24, (void **)&bytes, &size, NULL) ==
            TARN_OK);
    CHECK_NUMBER(tarn_get_u16(bytes + 8), 2);
    CHECK_NUMBER(tarn_get_u16(bytes + 10), 7);
    /* What version 1 didn't know is refused in it. */
    struct tarn_error error;
    tarn_trace *trace;
    tarn_put_u16(bytes + 8, 1);
    tarn_put_u32(bytes + 12, (uint32_t)tarn_hash(bytes, 12));
    CHECK(tarn_trace_open_memory(bytes, size, NULL, &trace, &error) == TARN_UNSUPPORTED);
    /* Tags that the header hasn't announced are damage. */
    tarn_put_u16(bytes + 8, 2);
    tarn_put_u16(bytes + 10, 1 | 4);
    tarn_put_u32(bytes + 12, (uint32_t)tarn_hash(bytes, 12));
    struct tarn_request got[8];
    size_t count;
    REQUIRE(tarn_trace_open_memory(bytes, size, NULL, &trace, &error) == TARN_OK);
    CHECK(tarn_trace_read(trace, got, 8, &count, &error) == TARN_CORRUPT);
    tarn_trace_close(&trace);
    free(bytes);
}

/* The oracle format refuses them if they are to be kept, keys drops them. */
static void others_have_no_place_for_them(void)
{
    static const struct tarn_request both[2] = {{.key = 1, .size = 1, .tag = 3},
                                                {.key = 2, .size = 1, .cost_us = 5}};
    struct tarn_error error;
    tarn_trace_writer *writer;
    for (int keep = 0; keep < 2; keep++) {
        struct tarn_trace_writer_params params = {.has_tag = keep, .has_cost = keep};
        for (int i = 0; i < 2; i++) {
            REQUIRE(tarn_trace_writer_create(in_directory("x.oracleGeneral"), &params, &writer,
                                             &error) == TARN_OK);
            CHECK(tarn_trace_writer_add(writer, &both[i], 1, &error) ==
                  (keep ? TARN_UNSUPPORTED : TARN_OK));
            tarn_trace_writer_abandon(&writer);
        }
        REQUIRE(tarn_trace_writer_create(in_directory("x.keys"), &params, &writer, &error) ==
                TARN_OK);
        CHECK(tarn_trace_writer_add(writer, both, 2, &error) == TARN_OK);
        CHECK(tarn_trace_writer_finish(&writer, &error) == TARN_OK);
    }
}

static void csv_reads_tags_and_costs(void)
{
    static const char text[] = "key,cost,tag\n1,2.5e3,7\n2,,\n3,0.125,0\n4,7.e-1\n5,1E+2,1\n";
    static const float costs[] = {2500, 0, 0.125F, 0.7F, 100};
    static const uint8_t tags[] = {7, 0, 0, 0, 1};
    struct tarn_request got[8];
    struct tarn_error error = {0};
    tarn_trace *trace;
    size_t count = 0;
    REQUIRE(tarn_trace_open_memory(text, sizeof text - 1, NULL, &trace, &error) == TARN_OK);
    CHECK(tarn_trace_has_tag(trace) && tarn_trace_has_cost(trace));
    CHECK(tarn_trace_read(trace, got, 8, &count, &error) == TARN_OK);
    CHECK_NUMBER(count, 5);
    for (size_t i = 0; i < count; i++) {
        CHECK_NUMBER(got[i].tag, tags[i]);
        CHECK_NUMBER(got[i].cost_us, costs[i]);
    }
    tarn_trace_close(&trace);
}

static void compressed_formats_come_back(void)
{
    struct tarn_error error;
    tarn_trace_writer *writer;
    if (tarn_trace_writer_create(in_directory("b.tarn.zst"), &(struct tarn_trace_writer_params){0},
                                 &writer, &error) == TARN_UNSUPPORTED)
        SKIP("this build has no zstd");
    tarn_trace_writer_abandon(&writer);
    CHECK(access(in_directory("b.tarn.zst"), F_OK) != 0);
    fill(false);
    round_trip("a.tarn.zst", TARN_TRACE_TARN, true);
    round_trip("a.csv.zst", TARN_TRACE_CSV, true);
}

static void without_times_the_number_is_the_time(void)
{
    fill(false);
    for (int i = 0; i < COUNT; i++)
        requests[i].time = (uint64_t)i;
    round_trip("n.tarn", TARN_TRACE_TARN, false);
    round_trip("n.csv", TARN_TRACE_CSV, false);
    for (int i = 0; i < COUNT; i++)
        requests[i] = (struct tarn_request){.time = (uint64_t)i, .key = requests[i].key, .size = 1};
    round_trip("n.keys", TARN_TRACE_KEYS, false);
    round_trip("unit.tarn", TARN_TRACE_TARN, false);
}

static void oracle_records_name_their_next_access(void)
{
    static const uint64_t keys[] = {5, 6, 5, 7, 5, 6};
    static const int64_t next[] = {3, 6, 5, -1, -1, -1};
    struct tarn_error error;
    tarn_trace_writer *writer;
    REQUIRE(tarn_trace_writer_create(in_directory("o.oracleGeneral"),
                                     &(struct tarn_trace_writer_params){0}, &writer,
                                     &error) == TARN_OK);
    for (int i = 0; i < 6; i++) {
        struct tarn_request request = {.time = 9, .key = keys[i], .size = 100};
        CHECK(tarn_trace_writer_add(writer, &request, 1, &error) == TARN_OK);
    }
    REQUIRE(tarn_trace_writer_finish(&writer, &error) == TARN_OK);
    uint8_t *bytes;
    size_t size;
    REQUIRE(tarn_file_read(in_directory("o.oracleGeneral"), 1000, (void **)&bytes, &size, NULL) ==
            TARN_OK);
    CHECK_NUMBER(size, 6 * 24);
    for (int i = 0; i < 6 && size == 144; i++) {
        CHECK_NUMBER(tarn_get_u32(bytes + i * 24), 9);
        CHECK(tarn_get_u64(bytes + i * 24 + 4) == keys[i]);
        CHECK_NUMBER(tarn_get_u32(bytes + i * 24 + 12), 100);
        CHECK((int64_t)tarn_get_u64(bytes + i * 24 + 16) == next[i]);
    }
    free(bytes);
}

/* The file's bytes are the format's promise: they never change. */
static void tarn_bytes_are_as_specified(void)
{
    static const struct tarn_request written[] = {
        {.time = 100, .key = 7, .size = 1},
        {.time = 99, .key = 5, .size = 300, .op = TARN_TRACE_PUT},
    };
    static const uint8_t payload[] = {14, 3, 0xc8, 1, 1, 1, 0xac, 2, 0, 1};
    struct tarn_error error;
    tarn_trace_writer *writer;
    REQUIRE(tarn_trace_writer_create(in_directory("g.tarn"),
                                     &(struct tarn_trace_writer_params){.has_time = true}, &writer,
                                     &error) == TARN_OK);
    CHECK(tarn_trace_writer_add(writer, written, 2, &error) == TARN_OK);
    REQUIRE(tarn_trace_writer_finish(&writer, &error) == TARN_OK);
    uint8_t *bytes;
    size_t size;
    REQUIRE(tarn_file_read(in_directory("g.tarn"), 1000, (void **)&bytes, &size, NULL) == TARN_OK);
    CHECK_NUMBER(size, 16 + 16 + sizeof payload + 16 + 8);
    if (size == 16 + 16 + sizeof payload + 16 + 8) {
        CHECK(memcmp(bytes, "\x89TARNTR\n\1\0\1\0", 12) == 0);
        CHECK(tarn_get_u32(bytes + 12) == (uint32_t)tarn_hash(bytes, 12));
        const uint8_t *block = bytes + 16, *end = block + 16 + sizeof payload;
        CHECK(tarn_get_u64(block) == tarn_hash(block + 8, 8 + sizeof payload));
        CHECK_NUMBER(tarn_get_u32(block + 8), sizeof payload);
        CHECK_NUMBER(tarn_get_u16(block + 12), 2);
        CHECK_NUMBER(tarn_get_u16(block + 14), 3);
        CHECK(memcmp(block + 16, payload, sizeof payload) == 0);
        CHECK(tarn_get_u64(end) == tarn_hash(end + 8, 16));
        CHECK_NUMBER(tarn_get_u32(end + 8), 8);
        CHECK_NUMBER(tarn_get_u16(end + 12), 0);
        CHECK_NUMBER(tarn_get_u64(end + 16), 2);
    }
    free(bytes);
}

/* Each bit of a short file, turned: found, or (in a zstd-less file: never) harmless. */
static void tarn_finds_every_wrong_bit(void)
{
    struct tarn_error error;
    uint8_t *bytes;
    size_t size;
    REQUIRE(tarn_file_read(in_directory("g.tarn"), 1000, (void **)&bytes, &size, NULL) == TARN_OK);
    for (size_t bit = 0; bit < size * 8; bit++) {
        struct tarn_request got[8];
        tarn_trace *trace;
        size_t count;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        tarn_status status = tarn_trace_open_memory(
            bytes, size, &(struct tarn_trace_params){.format = TARN_TRACE_TARN}, &trace, &error);
        while (status == TARN_OK)
            status = tarn_trace_read(trace, got, 8, &count, &error);
        if (status != TARN_CORRUPT)
            printf("# bit %zu: %s\n", bit, tarn_status_name(status));
        CHECK(status == TARN_CORRUPT);
        tarn_trace_close(&trace);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < size; cut++) {
        struct tarn_request got[8];
        tarn_trace *trace;
        size_t count;
        tarn_status status = tarn_trace_open_memory(
            bytes, cut, &(struct tarn_trace_params){.format = TARN_TRACE_TARN}, &trace, &error);
        while (status == TARN_OK)
            status = tarn_trace_read(trace, got, 8, &count, &error);
        CHECK(status == TARN_CORRUPT);
        tarn_trace_close(&trace);
    }
    free(bytes);
}

static void zero_sizes_count_one(void)
{
    static const uint8_t record[24] = {1, 0, 0, 0, 7};
    struct tarn_request got;
    struct tarn_error error = {0};
    tarn_trace *trace;
    size_t count = 0;
    REQUIRE(tarn_trace_open_memory(record, sizeof record, NULL, &trace, &error) == TARN_OK);
    CHECK(tarn_trace_get_format(trace) == TARN_TRACE_ORACLE);
    CHECK(tarn_trace_read(trace, &got, 1, &count, &error) == TARN_OK && count == 1);
    CHECK(got.time == 1 && got.key == 7 && got.size == 1);
    tarn_trace_close(&trace);
}

static tarn_status first_error(const char *text, size_t size,
                               const struct tarn_trace_params *params, struct tarn_error *error)
{
    struct tarn_request got[8];
    tarn_trace *trace;
    size_t count;
    tarn_status status = tarn_trace_open_memory(text, size, params, &trace, error);
    while (status == TARN_OK)
        status = tarn_trace_read(trace, got, 8, &count, error);
    tarn_trace_close(&trace);
    return status;
}

static void csv_reads_what_people_write(void)
{
    static const struct tarn_trace_params csv = {.format = TARN_TRACE_CSV};
    static const char text[] = "\xef\xbb\xbf# made by hand\n"
                               "\n"
                               "#Timestamp , foo,OBJECT_ID, size ,method\n"
                               "12.75,x, 42 ,7,read\r\n"
                               "# a remark\n"
                               "13,\"y,\"\"z\"\"\",\"4,2\",0,SET\n"
                               "14,,042,9,del";
    struct tarn_request got[8];
    struct tarn_error error = {0};
    tarn_trace *trace;
    size_t count = 0;
    REQUIRE(tarn_trace_open_memory(text, sizeof text - 1, &csv, &trace, &error) == TARN_OK);
    CHECK(tarn_trace_read(trace, got, 8, &count, &error) == TARN_OK);
    CHECK_NUMBER(count, 3);
    if (count == 3) {
        CHECK(same(&got[0], &(struct tarn_request){12, 42, 7, TARN_TRACE_GET, 0, 0}));
        CHECK(same(&got[1],
                   &(struct tarn_request){13, tarn_hash("4,2", 3), 1, TARN_TRACE_PUT, 0, 0}));
        CHECK(same(&got[2],
                   &(struct tarn_request){14, tarn_hash("042", 3), 9, TARN_TRACE_DELETE, 0, 0}));
    }
    tarn_trace_close(&trace);
}

static void bad_lines_are_named(void)
{
    static const struct {
        const char *text, *says;
    } table[] = {
        {"1,2,3\n1,2,3x\n", "memory:2: '3x' is not a size"},
        {"1,2,3\n-1,2,3\n", "memory:2: '-1' is not a time"},
        {"time,key,size,op\n1,2,3,jump\n", "'jump' is not an operation"},
        {"time,key\n1\n", "no key"},
        {"time,key\n1,\n", "'' is not a key"},
        {"time,size\n1,2\n", "no key column"},
        {"1,2,99999999999999999999\n", "not a size"},
        {"1,\"a\"b,3\n", "quote"},
        {"key,tag\n1,7\n2,8\n", "memory:3: '8' is not a tag"},
        {"key,tag\n1,web\n", "'web' is not a tag"},
        {"key,tag\n1,-1\n", "'-1' is not a tag"},
        {"key,cost\n1,nan\n", "memory:2: 'nan' is not a cost"},
        {"key,cost\n1,inf\n", "'inf' is not a cost"},
        {"key,cost\n1,-3\n", "'-3' is not a cost"},
        {"key,cost\n1,1e39\n", "'1e39' is not a cost"},
        {"key,cost\n1,9e99999999999999999999\n", "is not a cost"},
        {"key,cost\n1,5e\n", "'5e' is not a cost"},
        {"key,cost\n1,.\n", "'.' is not a cost"},
        {"key,cost\n1,1.2.3\n", "'1.2.3' is not a cost"},
        {"key,cost\n1,0x10\n", "'0x10' is not a cost"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct tarn_error error = {0};
        tarn_status status =
            first_error(table[i].text, strlen(table[i].text),
                        &(struct tarn_trace_params){.format = TARN_TRACE_CSV}, &error);
        CHECK(status == TARN_CORRUPT);
        if (strstr(error.message, table[i].says) == NULL)
            printf("# %s\n", error.message);
        CHECK(strstr(error.message, table[i].says) != NULL);
    }
}

static void long_lines_are_bounded(void)
{
    size_t size = 3 << 20;
    char *text = malloc(size);
    struct tarn_error error = {0};
    REQUIRE(text != NULL);
    memset(text, 'k', size);
    CHECK(first_error(text, size, NULL, &error) == TARN_CORRUPT);
    CHECK(strstr(error.message, "longer than") != NULL);
    /* From a file, where the line doesn't fit the window at first. */
    REQUIRE(tarn_file_replace(in_directory("l.keys"), text, size, NULL) == TARN_OK);
    tarn_trace *trace;
    struct tarn_request got;
    size_t count;
    REQUIRE(tarn_trace_open(in_directory("l.keys"), NULL, &trace, &error) == TARN_OK);
    CHECK(tarn_trace_read(trace, &got, 1, &count, &error) == TARN_CORRUPT);
    tarn_trace_close(&trace);
    text[900000] = '\n';
    REQUIRE(tarn_file_replace(in_directory("l.keys"), text, 1200000, NULL) == TARN_OK);
    REQUIRE(tarn_trace_open(in_directory("l.keys"), NULL, &trace, &error) == TARN_OK);
    CHECK(tarn_trace_read(trace, &got, 1, &count, &error) == TARN_OK && count == 1);
    CHECK(got.key == tarn_hash(text, 900000));
    CHECK(tarn_trace_read(trace, &got, 1, &count, &error) == TARN_OK && count == 1);
    CHECK(got.key == tarn_hash(text, 1200000 - 900001));
    tarn_trace_close(&trace);
    free(text);
}

/* A file in the way stays as it was until the new one is whole. */
static void old_files_survive(void)
{
    struct tarn_error error;
    tarn_trace_writer *writer;
    struct tarn_request request = {.key = 1, .size = 1, .op = TARN_TRACE_PUT};
    const char *path = in_directory("old.oracleGeneral");
    REQUIRE(tarn_file_replace(path, "old", 3, NULL) == TARN_OK);
    REQUIRE(tarn_trace_writer_create(path, &(struct tarn_trace_writer_params){0}, &writer,
                                     &error) == TARN_OK);
    CHECK(tarn_trace_writer_add(writer, &request, 1, &error) == TARN_UNSUPPORTED);
    tarn_trace_writer_abandon(&writer);
    void *bytes;
    size_t size;
    REQUIRE(tarn_file_read(path, 100, &bytes, &size, NULL) == TARN_OK);
    CHECK(size == 3 && memcmp(bytes, "old", 3) == 0);
    free(bytes);
}

static void endings_say_the_format(void)
{
    CHECK(tarn_trace_format_of_path("a/b.oracleGeneral.bin.zst") == TARN_TRACE_ORACLE);
    CHECK(tarn_trace_format_of_path("x.CSV") == TARN_TRACE_CSV);
    CHECK(tarn_trace_format_of_path(".csv") == TARN_TRACE_AUTO);
    CHECK(tarn_trace_format_of_path("x.zst") == TARN_TRACE_AUTO);
    CHECK_NUMBER(tarn_trace_stem_length("web.1.tarn.zst"), 5);
    tarn_trace_format format;
    CHECK(tarn_trace_format_parse("keys", &format) == TARN_OK && format == TARN_TRACE_KEYS);
    CHECK(tarn_trace_format_parse("key", &format) == TARN_INVALID);
}

static void prepare(void)
{
    REQUIRE(mkdtemp(directory) != NULL);
}

static void clean_up(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK(system(command) == 0);
}

CHECK_MAIN(CASE(prepare), CASE(every_format_comes_back), CASE(tags_and_costs_come_back),
           CASE(others_have_no_place_for_them), CASE(csv_reads_tags_and_costs),
           CASE_IF(TEST_ZSTD, compressed_formats_come_back),
           CASE(without_times_the_number_is_the_time), CASE(oracle_records_name_their_next_access),
           CASE(tarn_bytes_are_as_specified), CASE(tarn_finds_every_wrong_bit),
           CASE(zero_sizes_count_one), CASE(csv_reads_what_people_write), CASE(bad_lines_are_named),
           CASE(long_lines_are_bounded), CASE(old_files_survive), CASE(endings_say_the_format),
           CASE(clean_up))
