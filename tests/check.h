/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The whole test framework: CHECK counts and reports, a suite is a list of functions run by
 * CHECK_MAIN. Output is TAP, one line a function; exit 1 if anything failed, 77 skips.
 */
#ifndef TARN_TESTS_CHECK_H
#define TARN_TESTS_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures;
static const char *check_skip_reason;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failures++;                                                                      \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);                               \
        }                                                                                          \
    } while (0)

/** Compares and shows both. */
#define CHECK_NUMBER(got, wanted)                                                                  \
    do {                                                                                           \
        double got_ = (double)(got), wanted_ = (double)(wanted);                                   \
        if (!(got_ == wanted_)) {                                                                  \
            check_failures++;                                                                      \
            printf("# %s:%d: %s is %.17g, not %.17g\n", __FILE__, __LINE__, #got, got_, wanted_);  \
        }                                                                                          \
    } while (0)

/** Ends the function if the condition doesn't hold. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failures++;                                                                      \
            printf("# %s:%d: required: %s\n", __FILE__, __LINE__, #condition);                     \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/** Ends the function, counted as skipped. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        check_skip_reason = (reason);                                                              \
        return;                                                                                    \
    } while (0)

struct check_case {
    const char *name;
    void (*run)(void);
};
#define CASE(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }
/** A case that this build doesn't have unless the constant `condition` holds. */
#define CASE_IF(condition, function)                                                               \
    {                                                                                              \
        (condition) ? #function : NULL, function                                                   \
    }

static inline int check_run(const struct check_case *cases, size_t count)
{
    int failed = 0;
    size_t number = 0, planned = 0;
    for (size_t i = 0; i < count; i++)
        planned += cases[i].name != NULL;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("1..%zu\n", planned);
    for (size_t i = 0; i < count; i++) {
        if (cases[i].name == NULL)
            continue;
        check_failures = 0;
        check_skip_reason = NULL;
        cases[i].run();
        failed += check_failures > 0;
        printf("%s %zu - %s%s%s\n", check_failures ? "not ok" : "ok", ++number, cases[i].name,
               check_skip_reason ? " # SKIP " : "", check_skip_reason ? check_skip_reason : "");
    }
    return failed > 0;
}

#define CHECK_MAIN(...)                                                                            \
    int main(void)                                                                                 \
    {                                                                                              \
        static const struct check_case cases[] = {__VA_ARGS__};                                    \
        return check_run(cases, sizeof cases / sizeof cases[0]);                                   \
    }

#endif
