/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of the engine fails once: creating it says so and leaks nothing; while it is used,
 * what can't be had is gone without.
 */
#include "../check.h"
#include "../failing_heap.h"

#include <tarn/engine.h>

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

CHECK_MAIN(CASE(creating_it_needs_all_of_it), CASE(using_it_goes_on_without))
