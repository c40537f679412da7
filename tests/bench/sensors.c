/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a reading of the sensors costs, and looking for them: microseconds, the median of many, of the
 * trees named or else of this machine.
 *
 *     bench_sensors [ROOT]...
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "platform/sensors.h"

enum { READS = 2001, OPENS = 101 };

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *us, size_t count)
{
    qsort(us, count, sizeof *us, by_size);
    return us[count / 2];
}

static void measure(const char *root)
{
    static double us[READS];
    struct tarn_reading reading;
    tarn_sensors *sensors = NULL;
    unsigned known = 0;
    for (int i = 0; i < OPENS; i++) {
        tarn_sensors_destroy(&sensors);
        uint64_t start = tarn_clock_ns();
        if (tarn_sensors_open(&(struct tarn_sensors_params){.root = root}, &sensors) != TARN_OK)
            return;
        us[i] = (double)(tarn_clock_ns() - start) / 1e3;
    }
    double opening = median(us, OPENS);
    for (int i = 0; i < READS; i++) {
        uint64_t start = tarn_clock_ns();
        tarn_sensors_read(sensors, &reading);
        us[i] = (double)(tarn_clock_ns() - start) / 1e3;
    }
#define X(name, doc) known += tarn_known(reading.name);
    TARN_READING_LIST(X)
#undef X
    printf("%-40s %3u known, to look for them %7.1f us, a reading %6.2f us\n", root, known, opening,
           median(us, READS));
    tarn_sensors_destroy(&sensors);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        measure("/");
    for (int i = 1; i < argc; i++)
        measure(argv[i]);
    return 0;
}
