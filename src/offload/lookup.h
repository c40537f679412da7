/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * Batched lookups in the cache's index on a device. The index lives in memory that the device sees
 * (tarn_lookup_memory() is given to the cache); batches too small to pay stay on the host.
 */
#ifndef TARN_OFFLOAD_LOOKUP_H
#define TARN_OFFLOAD_LOOKUP_H

#include <tarn/gpu.h>
#include <tarn/share.h>

#include "cache/cache.h"

typedef struct tarn_lookup tarn_lookup;

/**
 * `queue` is of high priority; `batch` is the most keys of one launch; `local_size` is the work-group
 * that calibration found best, or 0. All must outlive it.
 */
tarn_status tarn_lookup_create(tarn_device *device, tarn_queue *queue, uint32_t batch,
                               uint32_t local_size, tarn_lookup **lookup, struct tarn_error *error);
/** From how many keys on a batch goes to the device; TARN_LOOKUP_LEAST at first. Any thread. */
void tarn_lookup_set_least(tarn_lookup *lookup, uint32_t keys);
/** Told of each launch; NULL for none. Before the first run. */
void tarn_lookup_set_share(tarn_lookup *lookup, tarn_share *share);
/** After the cache: its index memory goes with it. */
void tarn_lookup_destroy(tarn_lookup **lookup);

/** Where the cache is to keep its index; valid until destroy. */
const struct tarn_memory_source *tarn_lookup_memory(tarn_lookup *lookup);
/** The cache whose index it is; its lock guards the memory. Once, before the first run. */
tarn_status tarn_lookup_attach(tarn_lookup *lookup, tarn_cache *cache);

/** Candidate slots of `count` hashes (any number). One thread at a time. */
void tarn_lookup_run(tarn_lookup *lookup, const uint64_t *hashes, size_t count, uint32_t *slots);

/** True once the device let it down: all is done on the host since. Any thread. */
bool tarn_lookup_has_failed(const tarn_lookup *lookup);

/** Work on the device so far. Under the cache's lock. */
void tarn_lookup_get_stats(const tarn_lookup *lookup, struct tarn_kernel_stats *stats);

#endif
