/* SPDX-License-Identifier: Apache-2.0 */
#include "../check.h"

#include "offload/lookup.h"

enum { OBJECTS = 20000, BATCH = 2048 };

/*
 * A cache of OBJECTS whose index lives where the lookups want it, on a host that has no larger buffers
 * than `buffer` bytes. True if all are found again by the slots of a batch, without a miss.
 */
static bool finds_all(uint64_t buffer, struct tarn_kernel_stats *stats)
{
    struct tarn_device_limits limits = {.buffer = buffer};
    struct tarn_error error = {0};
    tarn_device *device = NULL;
    tarn_queue *queue = NULL;
    tarn_lookup *lookup = NULL;
    tarn_cache *cache = NULL;
    bool good = tarn_device_open(&(struct tarn_device_params){.id = "host", .limits = &limits},
                                 &device, &error) == TARN_OK &&
                tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_HIGH},
                                  &queue) == TARN_OK &&
                tarn_lookup_create(device, queue, BATCH, 0, &lookup, &error) == TARN_OK &&
                tarn_cache_create_with(
                    &(struct tarn_cache_params){.memory = 64 << 20},
                    &(struct tarn_cache_hooks){.index_memory = tarn_lookup_memory(lookup)},
                    &cache) == TARN_OK &&
                tarn_lookup_attach(lookup, cache) == TARN_OK;
    /* it grows from nothing, through sizes that fit and sizes that don't */
    for (uint32_t key = 0; good && key < OBJECTS; key++)
        good = tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){0}) == TARN_OK;
    for (uint32_t first = 0; good && first + BATCH <= OBJECTS; first += BATCH) {
        uint64_t hashes[BATCH];
        uint32_t slots[BATCH];
        for (uint32_t i = 0; i < BATCH; i++) {
            uint32_t key = first + i;
            hashes[i] = tarn_cache_hash(&key, sizeof key);
        }
        tarn_lookup_run(lookup, hashes, BATCH, slots);
        for (uint32_t i = 0; good && i < BATCH; i++)
            good = slots[i] < OBJECTS &&
                   tarn_table_hash(tarn_cache_table(cache), slots[i]) == hashes[i];
    }
    good = good && !tarn_lookup_has_failed(lookup);
    if (lookup != NULL)
        tarn_lookup_get_stats(lookup, stats);
    tarn_cache_destroy(&cache);
    tarn_lookup_destroy(&lookup);
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
    return good;
}

static void an_index_that_fits_is_looked_up_on_the_device(void)
{
    struct tarn_kernel_stats stats = {0};
    CHECK(finds_all(0, &stats));
    CHECK_NUMBER(stats.launches, OBJECTS / BATCH);
    CHECK_NUMBER(stats.elements, OBJECTS / BATCH * BATCH);
}

static void an_index_too_large_for_the_device_stays_on_the_host(void)
{
    struct tarn_kernel_stats stats = {0};
    CHECK(finds_all(65536, &stats));
    CHECK_NUMBER(stats.launches, 0);
}

CHECK_MAIN(CASE(an_index_that_fits_is_looked_up_on_the_device),
           CASE(an_index_too_large_for_the_device_stays_on_the_host))
