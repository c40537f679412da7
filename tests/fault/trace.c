/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation fails once while traces are generated, written in every format and loaded: the call
 * says TARN_NO_MEMORY in words, nothing leaks, and no half file is left.
 */
#include "../check.h"
#include "../failing_heap.h"

#include <dirent.h>
#include <unistd.h>

#include "base/memory.h"
#include "trace/gen.h"
#include "trace/trace.h"

enum { REQUESTS = 40000 }; /* beyond the first size of every table */

static char directory[] = "/tmp/tarn-fault-XXXXXX";

static const char *path_of(const char *ending)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/x.%s", directory, ending);
    return path;
}

static int files(void)
{
    DIR *open = opendir(directory);
    int count = 0;
    for (struct dirent *entry; open != NULL && (entry = readdir(open)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(open);
    return count;
}

static tarn_status generate_and_write(const char *ending, const char *kind,
                                      struct tarn_error *error)
{
    static const char *const settings[] = {"sizes=lognormal"};
    static struct tarn_request batch[1000];
    tarn_trace_writer *writer = NULL;
    tarn_gen *gen = NULL;
    size_t count;
    tarn_status status = tarn_gen_create(&(struct tarn_gen_params){.kind = kind,
                                                                   .requests = REQUESTS,
                                                                   .objects = 1000000,
                                                                   .seed = 1,
                                                                   .settings = settings,
                                                                   .setting_count = 1},
                                         &gen, error);
    if (status == TARN_OK)
        status = tarn_trace_writer_create(
            path_of(ending), &(struct tarn_trace_writer_params){.has_time = true}, &writer, error);
    while (status == TARN_OK && (count = tarn_gen_read(gen, batch, 1000)) > 0)
        status = tarn_trace_writer_add(writer, batch, count, error);
    if (status == TARN_OK)
        status = tarn_trace_writer_finish(&writer, error);
    tarn_trace_writer_abandon(&writer);
    tarn_gen_destroy(&gen);
    return status;
}

static void writing(const char *ending, const char *kind)
{
    struct tarn_error error;
    tarn_status status = TARN_NO_MEMORY;
    for (fails_at = 1; fails_at < 1000 && status != TARN_OK; fails_at++) {
        error.message[0] = '\0';
        begin(fails_at);
        status = generate_and_write(ending, kind, &error);
        tarn_memory_set_hook(NULL);
        CHECK_NUMBER(held, 0);
        if (status == TARN_OK)
            break;
        CHECK(status == TARN_NO_MEMORY);
        CHECK(strstr(error.message, "memory") != NULL);
        CHECK_NUMBER(files(), 0);
    }
    CHECK(status == TARN_OK);
    CHECK(fails_at > 4); /* the failures really came */
    CHECK_NUMBER(files(), 1);
}

static void loading(const char *ending)
{
    struct tarn_error error;
    struct tarn_trace_data *data;
    tarn_status status = TARN_NO_MEMORY;
    size_t count = 0;
    for (fails_at = 1; fails_at < 1000; fails_at++) {
        error.message[0] = '\0';
        begin(fails_at);
        status = tarn_trace_load(path_of(ending), NULL, &data, &error);
        count = status == TARN_OK ? data->count : 0;
        tarn_trace_data_free(&data);
        tarn_memory_set_hook(NULL);
        CHECK_NUMBER(held, 0);
        if (status == TARN_OK && asked < fails_at)
            break;
        /* Only giving spare memory back may fail without harm. */
        CHECK(status == TARN_NO_MEMORY || (status == TARN_OK && count == REQUESTS));
        CHECK(status == TARN_OK || strstr(error.message, "memory") != NULL);
    }
    CHECK_NUMBER(count, REQUESTS);
    CHECK(fails_at > 10);
}

static void each_format(void)
{
    static const char *const endings[] = {"tarn", "csv", "keys", "oracleGeneral"};
    REQUIRE(mkdtemp(directory) != NULL);
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        writing(endings[i], "scan");
        loading(endings[i]);
        unlink(path_of(endings[i]));
    }
}

static void each_model(void)
{
    for (const struct tarn_gen_kind *kind = tarn_gen_kinds; kind->name != NULL; kind++) {
        writing("tarn", kind->name);
        unlink(path_of("tarn"));
    }
}

static void compressed(void)
{
    struct tarn_error error;
    if (generate_and_write("csv.zst", "zipf", &error) == TARN_UNSUPPORTED)
        SKIP("this build has no zstd");
    unlink(path_of("csv.zst"));
    writing("csv.zst", "zipf");
    loading("csv.zst");
    unlink(path_of("csv.zst"));
}

static void clean_up(void)
{
    CHECK(rmdir(directory) == 0);
}

CHECK_MAIN(CASE(each_format), CASE(each_model), CASE_IF(TEST_ZSTD, compressed), CASE(clean_up))
