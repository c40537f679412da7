/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/kept.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/lg.h"
#include "base/options.h"
#include "base/rng.h"

static void status_texts(void)
{
    CHECK(strcmp(tarn_status_name(TARN_NO_MEMORY), "NO_MEMORY") == 0);
    CHECK(strcmp(tarn_status_message(TARN_OK), "done") == 0);
    CHECK(strcmp(tarn_status_name((tarn_status)999), "UNKNOWN") == 0);
    struct tarn_error error;
    CHECK(tarn_fail(&error, TARN_IO, "a\nb %d", 3) == TARN_IO);
    CHECK(strcmp(error.message, "a b 3") == 0);
    CHECK(tarn_fail(NULL, TARN_IO, "x") == TARN_IO);
}

static void fields_are_little_endian(void)
{
    uint8_t bytes[9] = {0};
    tarn_put_u64(bytes + 1, 0x0102030405060708u);
    CHECK(bytes[1] == 8 && bytes[8] == 1);
    CHECK(tarn_get_u64(bytes + 1) == 0x0102030405060708u);
    tarn_put_f32(bytes + 1, -1.5f);
    CHECK_NUMBER(tarn_get_f32(bytes + 1), -1.5);
    tarn_put_u16(bytes + 1, 0xabcd);
    CHECK(tarn_get_u16(bytes + 1) == 0xabcd && bytes[1] == 0xcd);
}

static void logarithm_is_close(void)
{
    double worst = 0, worst_exp = 0;
    for (double x = 1e-9; x < 1e12; x *= 1.0007)
        worst = fmax(worst, fabs((double)tarn_lg((float)x) - log2((double)(float)x)));
    for (float x = -100; x < 100; x += 0.0137f)
        worst_exp = fmax(worst_exp, fabs((double)tarn_exp2(x) / exp2((double)x) - 1));
    CHECK(worst < 2e-4);
    CHECK(worst_exp < 1e-5);
    CHECK_NUMBER(tarn_exp2(-1000), 0);
}

static void numbers_are_seeded_and_in_range(void)
{
    struct tarn_rng a, b;
    tarn_rng_seed(&a, 7);
    tarn_rng_seed(&b, 7);
    uint32_t seen[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint32_t x = tarn_rng_below(&a, 10);
        CHECK(x == tarn_rng_below(&b, 10));
        REQUIRE(x < 10);
        seen[x]++;
        double d = tarn_rng_double(&a);
        CHECK(d >= 0 && d < 1);
        tarn_rng_double(&b);
    }
    for (int i = 0; i < 10; i++)
        CHECK(seen[i] > 9500 && seen[i] < 10500);
}

static void file_is_replaced_whole(void)
{
    char directory[] = "/tmp/tarn-base-XXXXXX";
    REQUIRE(mkdtemp(directory) != NULL);
    char path[64];
    snprintf(path, sizeof path, "%s/f", directory);
    struct tarn_error error;
    CHECK(tarn_file_replace(path, "old", 3, &error) == TARN_OK);
    CHECK(tarn_file_replace(path, "newer", 5, &error) == TARN_OK);
    void *data = NULL;
    size_t size = 0;
    CHECK(tarn_file_read(path, 100, &data, &size, &error) == TARN_OK);
    CHECK(size == 5 && memcmp(data, "newer", 6) == 0);
    free(data);
    CHECK(tarn_file_read(path, 4, &data, &size, &error) == TARN_TOO_LARGE);
    unlink(path);
    CHECK(tarn_file_read(path, 100, &data, &size, &error) == TARN_NOT_FOUND);
    CHECK(strstr(error.message, path) != NULL);
    rmdir(directory);
    CHECK(tarn_file_replace(path, "x", 1, &error) == TARN_IO);
    /* a full disk: the old content of a device stays what it was, and the error says why */
    CHECK(tarn_file_replace("/dev/full", "x", 1, &error) == TARN_IO);
}

static void options_have_defaults(void)
{
    unsetenv("TARN_DEVICE");
    CHECK(strcmp(tarn_option_get(TARN_OPTION_DEVICE), "auto") == 0);
    setenv("TARN_DEVICE", "host", 1);
    CHECK(strcmp(tarn_option_get(TARN_OPTION_DEVICE), "host") == 0);
    for (int i = 0; i < TARN_OPTION_COUNT; i++)
        CHECK(tarn_option_info((tarn_option)i)->doc[0] != '\0');
}

static void files_are_kept_where_the_caller_wants(void)
{
    char dir[] = "/tmp/tarn-kept-XXXXXX", below[64], path[TARN_KEPT_PATH], read[5];
    REQUIRE(mkdtemp(dir) != NULL);
    snprintf(below, sizeof below, "%s/a/b", dir);
    CHECK(tarn_kept_read(below, "file", read, 5) == TARN_NOT_FOUND);
    CHECK(tarn_kept_write(below, "file", "12345", 5, NULL) == TARN_OK);
    CHECK(tarn_kept_path(below, "file", path) && strstr(path, "/a/b/file") != NULL);
    CHECK(tarn_kept_read(below, "file", read, 5) == TARN_OK && memcmp(read, "12345", 5) == 0);
    CHECK(tarn_kept_read(below, "file", read, 4) == TARN_CORRUPT);
    struct tarn_error error = {0};
    snprintf(below, sizeof below, "%s/a/b/file", dir); /* a file is no folder */
    CHECK(tarn_kept_write(below, "other", "1", 1, &error) != TARN_OK && error.message[0] != '\0');
    char *home = getenv("HOME"), *saved = home != NULL ? strdup(home) : NULL;
    char *cache = getenv("XDG_CACHE_HOME"), *saved_cache = cache != NULL ? strdup(cache) : NULL;
    setenv("XDG_CACHE_HOME", "relative", 1);
    setenv("HOME", "/nowhere", 1);
    CHECK(tarn_kept_path(NULL, "x", path) && strcmp(path, "/nowhere/.cache/tarn/x") == 0);
    setenv("XDG_CACHE_HOME", "/cache", 1);
    CHECK(tarn_kept_path("", "x", path) && strcmp(path, "/cache/tarn/x") == 0);
    setenv("XDG_CACHE_HOME", "", 1);
    setenv("HOME", "", 1);
    CHECK(!tarn_kept_path(NULL, "x", path));
    CHECK(tarn_kept_read(NULL, "x", read, 1) == TARN_NOT_FOUND);
    if (saved != NULL)
        setenv("HOME", saved, 1);
    if (saved_cache != NULL)
        setenv("XDG_CACHE_HOME", saved_cache, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    free(saved);
    free(saved_cache);
    snprintf(below, sizeof below, "rm -rf %s", dir);
    CHECK(system(below) == 0);
}

CHECK_MAIN(CASE(files_are_kept_where_the_caller_wants), CASE(status_texts),
           CASE(fields_are_little_endian), CASE(logarithm_is_close),
           CASE(numbers_are_seeded_and_in_range), CASE(file_is_replaced_whole),
           CASE(options_have_defaults))
