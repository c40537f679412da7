/* SPDX-License-Identifier: Apache-2.0 */
/* Which instruction set of the host kernels is chosen. */
#include "../check.h"
#include "kernels/isa.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"

#if defined(__arm__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

/* The best that this CPU has, asked in another way than isa.c does where there is one. */
static const char *best(void)
{
#if defined(__aarch64__)
    return "neon";
#elif defined(__arm__)
    return getauxval(AT_HWCAP) & HWCAP_NEON ? "neon" : "baseline";
#elif defined(__x86_64__)
    static char flags[16384];
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL)
        return NULL;
    while (fgets(flags, sizeof flags, file) != NULL && strncmp(flags, "flags", 5) != 0)
        ;
    fclose(file);
    if (strncmp(flags, "flags", 5) != 0)
        return NULL;
    flags[strcspn(flags, "\n")] = ' ';
    if (!strstr(flags, " avx2 ") || !strstr(flags, " fma "))
        return "baseline";
    return strstr(flags, " avx512f ") && strstr(flags, " avx512bw ") &&
                   strstr(flags, " avx512dq ") && strstr(flags, " avx512vl ")
               ? "avx512"
               : "avx2";
#else
    return "baseline";
#endif
}

static void the_best_is_chosen(void)
{
    const char *wanted = best();
    if (wanted == NULL)
        SKIP("the system doesn't say what the CPU has");
    CHECK(strcmp(tarn_isa_current()->name, wanted) == 0);
    CHECK(tarn_isa_current() == tarn_isa_get(tarn_isa_count() - 1));
    printf("# %s\n", tarn_isa_current()->name);
}

static void names_find_what_this_cpu_can_run(void)
{
    REQUIRE(tarn_isa_count() >= 1);
    CHECK(tarn_isa_find("baseline") == tarn_isa_get(0));
    for (size_t i = 0; i < tarn_isa_count(); i++)
        CHECK(tarn_isa_find(tarn_isa_get(i)->name) == tarn_isa_get(i));
    CHECK(tarn_isa_get(tarn_isa_count()) == NULL);
    CHECK(tarn_isa_find("abacus") == NULL);
}

/* Hashes and results come from anywhere in a caller's memory: only the buckets are aligned. */
static void hashes_may_lie_at_any_byte(void)
{
    enum { KEYS = 100 };
    _Alignas(64) static uint32_t buckets[64 * TARN_BUCKET_WORDS];
    unsigned char hashes[8 * KEYS + 8];
    uint32_t slots[KEYS];
    for (uint32_t k = 0; k < 64; k++) {
        buckets[k * TARN_BUCKET_WORDS + k % TARN_BUCKET_SLOTS] = 1000 + k;
        buckets[k * TARN_BUCKET_WORDS + TARN_BUCKET_SLOTS + k % TARN_BUCKET_SLOTS] = k;
    }
    for (size_t shift = 0; shift < 8; shift++) {
        for (uint32_t k = 0; k < KEYS; k++) {
            uint32_t hash[2] = {k, 1000 + k};
            memcpy(hashes + shift + 8 * k, hash, 8);
        }
        for (size_t i = 0; i < tarn_isa_count(); i++) {
            memset(slots, 0x55, sizeof slots);
            tarn_isa_get(i)->lookup(buckets, 63, hashes + shift, KEYS, slots);
            for (uint32_t k = 0; k < KEYS; k++)
                CHECK_NUMBER(slots[k], k < 64 ? k : TARN_SLOT_NONE);
        }
    }
}

CHECK_MAIN(CASE(the_best_is_chosen), CASE(names_find_what_this_cpu_can_run),
           CASE(hashes_may_lie_at_any_byte))
