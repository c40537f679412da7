/* SPDX-License-Identifier: Apache-2.0 */
#include "clock.h"

#include <time.h>

_Static_assert(sizeof(time_t) >= 8, "time that ends in 2038: _TIME_BITS=64 is missing");

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t tarn_clock_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t tarn_clock_process_cpu_ns(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t tarn_clock_thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
