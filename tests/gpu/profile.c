/* SPDX-License-Identifier: Apache-2.0 */
/* Reading boards/virtual/NAME.ini. */
#include "../check.h"

#include "gpu/virtual/profile.h"

static const char good[] = "# a board\n"
                           "\n"
                           "[device]\n"
                           "name = Test board\r\n"
                           "[limits]\n"
                           "memory_mib = 64\n"
                           "  buffer_mib=32  \n"
                           "local_memory_bytes\t=\t1024\n"
                           "group_size = 128\n"
                           "compute_units = 2\n"
                           "fp16 = 1\n"
                           "int8 = 0\n"
                           "int64_atomics = 1\n"
                           "subgroups = 0\n"
                           "[queues]\n"
                           "count = 2\n"
                           "priority = 1\n"
                           "stop_flag = 0\n"
                           "[time]\n"
                           "submit_us = 11\n"
                           "gap_us = 0\n"
                           "launch_ns = 13\n"
                           "ask_ns = 14\n"
                           "watchdog_ms = 15\n"
                           "[speed]\n"
                           "mflops = 16\n"
                           "megabytes_per_s = 17\n"
                           "[clock]\n"
                           "steps_mhz = 100  200 300\n"
                           "period_ms = 18\n"
                           "up_percent = 90\n"
                           "down_percent = 20"; /* no line end */

static tarn_status parse(const char *text, struct tarn_virtual_profile *p, struct tarn_error *error)
{
    *error = (struct tarn_error){0};
    return tarn_virtual_profile_parse("test", text, p, error);
}

static void a_good_text_is_read(void)
{
    struct tarn_virtual_profile p;
    struct tarn_error error;
    REQUIRE(parse(good, &p, &error) == TARN_OK);
    CHECK(strcmp(p.name, "Test board") == 0);
    CHECK(p.limits.memory == 64 << 20 && p.limits.buffer == 32 << 20);
    CHECK(p.limits.local_memory == 1024 && p.limits.group_size == 128);
    CHECK(p.limits.compute_units == 2);
    CHECK(p.limits.features == (TARN_FEATURE_FP16 | TARN_FEATURE_INT64_ATOMICS));
    CHECK(p.model.queues == 2 && p.model.priority && !p.model.stop_flag);
    CHECK(p.model.submit_ns == 11000 && p.model.gap_ns == 0 && p.model.launch_ns == 13);
    CHECK(p.model.ask_ns == 14 && p.model.watchdog_ns == 15000000);
    CHECK(p.model.operations_per_us == 16 && p.model.bytes_per_us == 17);
    CHECK(p.step_count == 3 && p.step_mhz[0] == 100 && p.step_mhz[2] == 300);
    CHECK(p.governor_period_ns == 18000000 && p.up_percent == 90 && p.down_percent == 20);
}

/* `from` in the good text becomes `to`; the reading has to fail and to say `word`. */
static void check_change(const char *from, const char *to, const char *word)
{
    struct tarn_virtual_profile p;
    struct tarn_error error;
    char text[2048];
    const char *at = strstr(good, from);
    REQUIRE(at != NULL);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    if (parse(text, &p, &error) != TARN_CORRUPT || strstr(error.message, word) == NULL ||
        strstr(error.message, "test, line ") == NULL) {
        printf("# \"%s\" for \"%s\": %s\n", to, from, error.message);
        CHECK(false);
    }
}

static void bad_texts_say_why(void)
{
    check_change("gap_us = 0\n", "", "missing: gap_us");
    check_change("name = Test board\r\n", "", "missing: name");
    check_change("steps_mhz = 100  200 300\n", "", "missing: steps_mhz");
    check_change("gap_us = 0\n", "gap_us = 0\ngap_us = 0\n", "twice: gap_us");
    check_change("name = Test board", "name = a\nname = b", "twice: name");
    check_change("steps_mhz = 100", "steps_mhz = 1\nsteps_mhz = 100", "twice: steps_mhz");
    check_change("gap_us = 0", "gap_us = x", "no whole number: gap_us");
    check_change("gap_us = 0", "gap_us =", "no whole number: gap_us");
    check_change("gap_us = 0", "gap_us = 1.5", "no whole number: gap_us");
    check_change("gap_us = 0", "gap_us = -1", "no whole number: gap_us");
    check_change("gap_us = 0", "gap_us = 99999999999999999999", "no whole number: gap_us");
    check_change("gap_us = 0", "gap_us = 1000001", "out of range: gap_us");
    check_change("mflops = 16", "mflops = 0", "out of range: mflops");
    check_change("gap_us = 0", "gup_us = 0", "unknown key: gup_us");
    check_change("[time]", "[tame]", "unknown key: submit_us");
    check_change("[time]", "[time", "no section");
    check_change("[time]", "[]", "no section");
    check_change("[time]", "[a-rather-long-section]", "no section");
    check_change("gap_us = 0", "gap_us 0", "neither section nor key");
    check_change("100  200 300", "100 100", "rising");
    check_change("100  200 300", "300 fast", "rising");
    check_change("100  200 300", "99999", "rising");
    check_change("100  200 300", "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "too many");
    check_change("100  200 300", "", "no value");
    check_change("buffer_mib=32", "buffer_mib=65", "above memory_mib");
    check_change("count = 2", "count = 1", "two queues");
    check_change("down_percent = 20", "down_percent = 90", "not above");
    char line[300];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    check_change("# a board", line, "too long");
    check_change("Test board", line + 200, "too long");
}

/* Cut anywhere, it is refused, never read wrongly. */
static void half_a_text_is_refused(void)
{
    struct tarn_virtual_profile p;
    struct tarn_error error;
    for (size_t length = 0; length + 2 < sizeof good - 1; length++) {
        char *text = malloc(length + 1);
        REQUIRE(text != NULL);
        memcpy(text, good, length);
        text[length] = '\0';
        CHECK(parse(text, &p, &error) == TARN_CORRUPT);
        free(text);
    }
}

/* The figures on which the promises about sharing are made. */
static void the_boards_are_what_was_agreed(void)
{
    static const struct {
        const char *name;
        uint32_t queues;
        bool priority, flag;
        uint64_t submit_us, gap_us, mflops, megabytes;
        uint32_t local;
    } wanted[] = {
        {"mali", 1, false, true, 120, 15, 25000, 12000, 32768},
        {"videocore", 1, false, false, 200, 30, 8000, 6000, 16384},
        {"jetson", 2, true, true, 25, 4, 400000, 60000, 49152},
    };
    struct tarn_virtual_profile p;
    struct tarn_error error;
    for (uint32_t i = 0; i < 3; i++) {
        REQUIRE(tarn_virtual_profile_name(i) != NULL);
        CHECK(strcmp(tarn_virtual_profile_name(i), wanted[i].name) == 0);
        REQUIRE(tarn_virtual_profile_load(wanted[i].name, &p, &error) == TARN_OK);
        CHECK(p.model.queues == wanted[i].queues && p.model.priority == wanted[i].priority);
        CHECK(p.model.stop_flag == wanted[i].flag);
        CHECK_NUMBER(p.model.submit_ns, wanted[i].submit_us * 1000);
        CHECK_NUMBER(p.model.gap_ns, wanted[i].gap_us * 1000);
        CHECK_NUMBER(p.model.operations_per_us, wanted[i].mflops);
        CHECK_NUMBER(p.model.bytes_per_us, wanted[i].megabytes);
        CHECK_NUMBER(p.limits.local_memory, wanted[i].local);
    }
    CHECK(tarn_virtual_profile_name(3) == NULL);
    CHECK(tarn_virtual_profile_load("toaster", &p, &error) == TARN_NOT_FOUND);
}

CHECK_MAIN(CASE(a_good_text_is_read), CASE(bad_texts_say_why), CASE(half_a_text_is_refused),
           CASE(the_boards_are_what_was_agreed))
