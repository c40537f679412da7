/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include <math.h>

#include "platform/parse.h"

#define NO -1e9 /* not understood */

static void one_number(void)
{
    static const struct {
        tarn_format format;
        const char *text;
        double wanted;
    } rows[] = {
        {TARN_FORMAT_PERCENT, "0", 0},
        {TARN_FORMAT_PERCENT, "100\n", 1},
        {TARN_FORMAT_PERCENT, " 12 %\n", 0.12},
        {TARN_FORMAT_PERCENT, "47@200000000Hz\n", 0.47},
        {TARN_FORMAT_PERCENT, "47@200000000", NO},
        {TARN_FORMAT_PERCENT, "47@Hz", NO},
        {TARN_FORMAT_PERCENT, "101", NO},
        {TARN_FORMAT_PERCENT, "-1", NO},
        {TARN_FORMAT_PERCENT, "", NO},
        {TARN_FORMAT_PERCENT, "5 6", NO},
        {TARN_FORMAT_PER_MILLE, "423\n", 0.423},
        {TARN_FORMAT_PER_MILLE, "1000", 1},
        {TARN_FORMAT_PER_MILLE, "1001", NO},
        {TARN_FORMAT_BUSY, "  25  100\n", 0.25},
        {TARN_FORMAT_BUSY, "0 0", 0}, /* asleep */
        {TARN_FORMAT_BUSY, "101 100", NO},
        {TARN_FORMAT_BUSY, "1", NO},
        {TARN_FORMAT_BUSY, "1 2 3", NO},
        {TARN_FORMAT_HZ, "850000000\n", 850e6},
        {TARN_FORMAT_HZ, "18446744073709551617", NO}, /* 2^64 + 1 */
        {TARN_FORMAT_HZ, "200000000000", NO},         /* 200 GHz */
        {TARN_FORMAT_HZ, "1e9", NO},
        {TARN_FORMAT_HZ, "0x10", NO},
        {TARN_FORMAT_HZ, "nan", NO},
        {TARN_FORMAT_MHZ, "1300\n", 1300e6},
        {TARN_FORMAT_HIGHEST, "300 100 200\n", 300},
        {TARN_FORMAT_HIGHEST, " \n", NO},
        {TARN_FORMAT_HIGHEST, "300 x", NO},
        {TARN_FORMAT_LEVELS, "0: 200Mhz *\n1: 2200Mhz \nS: 19Mhz\n", 2200e6},
        {TARN_FORMAT_LEVELS, "0: 200\n", NO},
        {TARN_FORMAT_LEVELS, "200Mhz\n", NO},
        {TARN_FORMAT_MILLI, "-12500\n", -12.5},
        {TARN_FORMAT_MILLI, "- 5", NO},
        {TARN_FORMAT_MICRO, "7416000", 7.416},
        {TARN_FORMAT_WORD, "7", NO},
        {TARN_FORMAT_QUEUES, "7", NO},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double value = NO;
        bool ok = tarn_parse_value(rows[i].format, rows[i].text, &value);
        if (ok != (rows[i].wanted > NO) || fabs(value - rows[i].wanted) > 1e-6)
            printf("# row %zu: \"%s\"\n", i, rows[i].text);
        CHECK(ok == (rows[i].wanted > NO) && fabs(value - rows[i].wanted) <= 1e-6);
    }
}

static void a_word(void)
{
    char word[8] = "x";
    CHECK(tarn_parse_word(" powers\n", word, sizeof word) && strcmp(word, "powers") == 0);
    CHECK(!tarn_parse_word("powersav", word, sizeof word)); /* no room */
    CHECK(!tarn_parse_word("two w", word, sizeof word));
    CHECK(!tarn_parse_word("\n", word, sizeof word) && !tarn_parse_word("\x80", word, sizeof word));
    CHECK(strcmp(word, "powers") == 0);
}

static void tables(void)
{
    struct tarn_queues queues;
    uint64_t busy = 0, total = 0;
    double share = 0, all = 0, rest = 0, load = 0;
    CHECK(tarn_parse_queues("queue\ttimestamp\tjobs\truntime\nbin\t10\t2\t3\ncsd\t11\t5\t6",
                            &queues));
    CHECK(queues.count == 2 && queues.time_ns == 11 && queues.busy_ns[1] == 6);
    CHECK(!tarn_parse_queues("queue\ttimestamp\tjobs\truntime\n", &queues));
    CHECK(!tarn_parse_queues("queue\nbin\t10\t2\n", &queues));

    CHECK(tarn_parse_pressure("full avg10=9.00 total=9\nsome avg10=1.50 avg60=2 avg300=3 total=77",
                              &share, &total));
    CHECK(fabs(share - 0.015) < 1e-12 && total == 77);
    CHECK(!tarn_parse_pressure("some avg10=1.50\nfull total=9", &share, &total));
    CHECK(!tarn_parse_pressure("some avg10=101 total=9", &share, &total));

    CHECK(tarn_parse_cpu("cpu  1 2 3 40 50 6 7 8 100 100\ncpu0 9 9 9 9\n", &busy, &total));
    CHECK(busy == 27 && total == 117); /* guests are in user already */
    CHECK(tarn_parse_cpu("cpu  1 2 3 4\n9 9 9\n", &busy, &total) && busy == 6 && total == 10);
    CHECK(!tarn_parse_cpu("cpu  1 2 3\n4 5\n", &busy, &total));
    CHECK(!tarn_parse_cpu("cpu0 1 2 3 4\n", &busy, &total));

    CHECK(tarn_parse_memory("MemTotal: 4 kB\nX: 1 kB\nMemAvailable:    3 kB\n", &all, &rest));
    CHECK(all == 4096 && rest == 3072);
    CHECK(!tarn_parse_memory("MemTotal: 4 kB\nMemAvailable: 5 kB\n", &all, &rest));
    CHECK(!tarn_parse_memory("MemTotal: 4 kB\n", &all, &rest));
    CHECK(tarn_parse_load("0.52 0.58 0.59 1/200 4242\n", &load) && load == 0.52);
    CHECK(!tarn_parse_load("0.52", &load));
}

CHECK_MAIN(CASE(one_number), CASE(a_word), CASE(tables))
