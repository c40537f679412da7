/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The longest insertions while the tables grow from nothing: CPU time of the thread, so that
 * neighbours on the machine count for less. Shows that doubling a table stalls nobody.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "cache/ghost.h"
#include "cache/table.h"

#define COUNT 6000000
#define SHOWN 4

/* The longest few, in falling order. */
static uint64_t longest[SHOWN + 1];

static void note(uint64_t ns)
{
    int at = SHOWN;
    longest[SHOWN] = ns;
    for (; at > 0 && longest[at] > longest[at - 1]; at--) {
        uint64_t smaller = longest[at - 1];
        longest[at - 1] = longest[at];
        longest[at] = smaller;
    }
}

static void show(const char *what, uint64_t total)
{
    printf("%-6s %d insertions: mean %.0f ns, longest", what, COUNT, (double)total / COUNT);
    for (int i = 0; i < SHOWN; i++) {
        printf(" %.0f", (double)longest[i] / 1e3);
        longest[i] = 0;
    }
    printf(" us\n");
}

static void grow_table(void)
{
    struct tarn_table table;
    uint64_t start = tarn_clock_thread_cpu_ns(), before = start, now = start;
    if (tarn_table_init(&table, 0, NULL) != TARN_OK)
        exit(1);
    for (uint64_t i = 0; i < COUNT; i++) {
        uint32_t slot;
        if (tarn_table_insert(&table, tarn_mix64(i), &slot) != TARN_OK)
            exit(1);
        now = tarn_clock_thread_cpu_ns();
        note(now - before);
        before = now;
    }
    show("table", now - start);
    tarn_table_free(&table);
}

static void grow_ghosts(void)
{
    tarn_ghosts *ghosts;
    uint64_t start = tarn_clock_thread_cpu_ns(), before = start, now = start;
    if (tarn_ghosts_create(0, &ghosts) != TARN_OK)
        exit(1);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (!tarn_ghosts_insert(ghosts, tarn_mix64(i), i, COUNT))
            exit(1);
        now = tarn_clock_thread_cpu_ns();
        note(now - before);
        before = now;
    }
    show("ghosts", now - start);
    tarn_ghosts_destroy(&ghosts);
}

int main(void)
{
    for (int i = 0; i < 3; i++) {
        grow_table();
        grow_ghosts();
    }
    return 0;
}
