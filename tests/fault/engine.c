/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of the engine fails once: creating it says so and leaks nothing; while it is used,
 * what can't be had is gone without.
 */
#include "../check.h"
#include "../failing_heap.h"

#include <stdlib.h>
#include <tarn/engine.h>
#include <tarn/log.h>
#include <unistd.h>

#include "base/memory.h"

static struct tarn_engine_params params_for(bool bytes, bool no_shadows)
{
    return (struct tarn_engine_params){.objects = bytes ? 0 : 300,
                                       .memory = bytes ? 100000 : 0,
                                       .device = "host",
                                       .background = TARN_BACKGROUND_STEPS,
                                       .no_shadows = no_shadows};
}

static void creating_it_needs_all_of_it(void)
{
    for (int kind = 0; kind < 3; kind++) {
        struct tarn_engine_params params = params_for(kind == 1, kind == 2);
        long n = 1, failures = 0;
        tarn_status status = TARN_NO_MEMORY;
        for (; n < 500; n++) {
            tarn_engine *engine = NULL;
            struct tarn_error error = {0};
            begin(n);
            status = tarn_engine_create(&params, &engine, &error);
            if (status != TARN_OK) {
                failures++;
                CHECK(status == TARN_NO_MEMORY && engine == NULL && held == 0);
                CHECK(error.message[0] != '\0' && strchr(error.message, '\n') == NULL);
            } else { /* without the shadows or the sketch it goes too */
                CHECK(engine != NULL);
                tarn_engine_destroy(&engine);
                CHECK_NUMBER(held, 0);
            }
            tarn_memory_set_hook(NULL);
            if (asked < n)
                break;
        }
        CHECK(status == TARN_OK && failures > 15 && n < 500);
    }
}

static uint64_t use(tarn_engine *engine, int requests)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    uint64_t hits = 0;
    for (int i = 0; i < requests; i++) {
        uint32_t key = (uint32_t)(i % 3 == 0 ? 1000 + i : i * 7 % 200);
        size_t room = 0;
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) == TARN_OK)
            hits++;
        else
            tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 100 + key % 300});
        tarn_engine_step(engine);
    }
    return hits;
}

static void using_it_goes_on_without(void)
{
    for (int bytes = 0; bytes < 2; bytes++) {
        struct tarn_engine_params params = params_for(bytes, false);
        long n = 1;
        for (; n < 500; n++) {
            tarn_engine *engine = NULL;
            begin(-1);
            REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
            long during = asked;
            fails_at = asked + n;
            CHECK(use(engine, 1500) > 100);
            bool reached = asked >= during + n;
            tarn_engine_destroy(&engine);
            CHECK_NUMBER(held, 0);
            tarn_memory_set_hook(NULL);
            if (!reached)
                break;
        }
        CHECK(n > 3 && n < 500);
    }
}

/* Half of the objects have a tag and come back, a quarter has another and doesn't. */
static void use_tags(tarn_engine *engine, uint32_t first, uint32_t end)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    for (uint32_t i = first; i < end; i++) {
        uint32_t key = i % 4 == 0 ? 100000 + i : i * 7919 % 1009;
        size_t room = 0;
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
            tarn_cache_put(cache, &key, sizeof key,
                           &(struct tarn_item){.charge = 1, .tag = i % 4 == 0 ? 2 : i % 2});
        tarn_engine_step(engine);
    }
}

static bool has_own(tarn_engine *engine, uint32_t tag)
{
    struct tarn_tag_stats stats;
    tarn_engine_get_tag(engine, tag, &stats);
    return stats.own;
}

static int lines;

static void listen(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)message;
    lines += level <= TARN_LOG_WARNING;
}

/* Every allocation while what is kept is read fails once: it is told, nothing leaks, and the engine works. */
static void going_on_without_memory_for_what_is_kept(void)
{
    char folder[] = "/tmp/tarn-fault-XXXXXX", kept[64], now[64], copy[256];
    struct tarn_engine_params params = params_for(false, false);
    tarn_engine *engine = NULL;
    REQUIRE(mkdtemp(folder) != NULL);
    snprintf(kept, sizeof kept, "%s/kept", folder);
    snprintf(now, sizeof now, "%s/now", folder);
    snprintf(copy, sizeof copy, "rm -rf %s && cp -r %s %s", now, kept, now);
    params.state_dir = kept;
    begin(-1);
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    for (uint32_t at = 0; at < 200000 && !(has_own(engine, 1) && has_own(engine, 2)); at += 1000)
        use_tags(engine, at, at + 1000);
    CHECK(has_own(engine, 1) && has_own(engine, 2));
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(held, 0);
    params.state_dir = now;
    tarn_log_set(listen, NULL, TARN_LOG_WARNING);
    long n = 1, refused = 0, without = 0;
    for (bool more = true; more && n < 500; n++) {
        CHECK(system(copy) == 0);
        lines = 0;
        begin(n);
        if (tarn_engine_create(&params, &engine, NULL) != TARN_OK) {
            refused++;
            CHECK(engine == NULL && held == 0);
            continue;
        }
        more = asked >= n;
        fails_at = -1;
        bool both = has_own(engine, 1) && has_own(engine, 2);
        without += !both;
        CHECK(both || lines > 0);
        use_tags(engine, 0, 500);
        tarn_engine_destroy(&engine);
        CHECK_NUMBER(held, 0);
    }
    printf("# %ld allocations: %ld starts refused, %ld without what was kept\n", n, refused,
           without);
    CHECK(refused > 15 && without > 5 && n < 500);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    tarn_memory_set_hook(NULL);
    snprintf(copy, sizeof copy, "rm -r %s", folder);
    CHECK(system(copy) == 0);
}

CHECK_MAIN(CASE(creating_it_needs_all_of_it), CASE(using_it_goes_on_without),
           CASE(going_on_without_memory_for_what_is_kept))
