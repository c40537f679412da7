/* SPDX-License-Identifier: Apache-2.0 */
#include "lookup.h"

#include <stdatomic.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "gpu/backend.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"
#include "offload/limits.h"

#define HOST_CHUNK 256 /* keys looked up under one hold of the lock */
/* A kernel that takes longer hangs. A wait with a limit costs a few µs more than one without. */
#define LONGEST_WAIT_US 10000000
#define MOST_TABLES     4 /* index tables alive at once: two while it grows, and retired ones */

struct table_memory {
    tarn_buffer *buffer;
    bool retired;
};

struct tarn_lookup {
    tarn_device *device;
    tarn_queue *queue;
    struct tarn_kernel_source source_of_kernel; /**< the table's, perhaps with other work-groups */
    tarn_kernel *kernel;
    tarn_share *share; /**< the arbiter of the device, or NULL */
    atomic_uint least; /**< keys that pay for a launch */
    tarn_buffer *hashes, *slots;
    uint32_t batch;
    tarn_cache *cache;
    struct tarn_memory_source source;
    struct table_memory table[MOST_TABLES]; /**< under the cache's lock */
    bool reading;                           /**< a launch reads one of them */
    atomic_bool failed;                     /**< the device let us down: the host does it */
    struct tarn_kernel_stats stats;         /**< under the cache's lock */
};

/* An index that the device can't hold lives on the host, and is looked up there. */
static void *allocate(void *context, size_t size)
{
    tarn_lookup *l = context;
    for (int i = 0; i < MOST_TABLES; i++) {
        if (l->table[i].buffer != NULL)
            continue;
        tarn_status status = tarn_buffer_create(
            l->device, &(struct tarn_buffer_params){.size = size}, &l->table[i].buffer);
        if (status == TARN_OK) {
            l->table[i].retired = false;
            return tarn_buffer_data(l->table[i].buffer);
        }
        tarn_log(TARN_LOG_WARNING,
                 "offload: the device can't hold an index of %zu bytes (%s): the host looks up",
                 size, tarn_status_message(status));
        break;
    }
    return tarn_alloc_lines(size);
}

static struct table_memory *find_table(tarn_lookup *l, const void *memory)
{
    for (int i = 0; i < MOST_TABLES; i++)
        if (l->table[i].buffer != NULL && tarn_buffer_data(l->table[i].buffer) == memory)
            return &l->table[i];
    return NULL;
}

/* A kernel may still read it: it goes when the kernel is done. */
static void release(void *context, void *memory, size_t size)
{
    tarn_lookup *l = context;
    struct table_memory *table = find_table(l, memory);
    (void)size;
    if (table == NULL)
        tarn_free_lines(memory);
    else if (l->reading)
        table->retired = true;
    else
        tarn_buffer_destroy(&table->buffer);
}

tarn_status tarn_lookup_create(tarn_device *device, tarn_queue *queue, uint32_t batch,
                               uint32_t local_size, tarn_lookup **lookup, struct tarn_error *error)
{
    tarn_lookup *l = tarn_alloc_zeroed(1, sizeof *l);
    if (l == NULL)
        return TARN_NO_MEMORY;
    l->device = device;
    l->queue = queue;
    l->batch = batch;
    l->source = (struct tarn_memory_source){l, allocate, release};
    atomic_init(&l->least, TARN_LOOKUP_LEAST);
    l->source_of_kernel = tarn_lookup_source;
    if (local_size != 0)
        l->source_of_kernel.gpu_local_size = l->source_of_kernel.gpu_group_elements = local_size;
    tarn_status status =
        tarn_canary_create(device, &(struct tarn_kernel_params){.source = &l->source_of_kernel},
                           NULL, &l->kernel, error);
    if (status == TARN_OK)
        status = tarn_buffer_create(
            device, &(struct tarn_buffer_params){.size = batch * sizeof(uint64_t)}, &l->hashes);
    if (status == TARN_OK)
        status = tarn_buffer_create(
            device, &(struct tarn_buffer_params){.size = batch * sizeof(uint32_t)}, &l->slots);
    if (status != TARN_OK)
        tarn_lookup_destroy(&l);
    else
        *lookup = l;
    return status;
}

void tarn_lookup_destroy(tarn_lookup **lookup)
{
    tarn_lookup *l = *lookup;
    if (l == NULL)
        return;
    tarn_kernel_destroy(&l->kernel);
    tarn_buffer_destroy(&l->hashes);
    tarn_buffer_destroy(&l->slots);
    for (int i = 0; i < MOST_TABLES; i++)
        tarn_buffer_destroy(&l->table[i].buffer);
    tarn_free(l);
    *lookup = NULL;
}

const struct tarn_memory_source *tarn_lookup_memory(tarn_lookup *l)
{
    return &l->source;
}

tarn_status tarn_lookup_attach(tarn_lookup *l, tarn_cache *cache)
{
    l->cache = cache;
    if (tarn_device_get_info(l->device)->unified_memory)
        return TARN_OK;
    tarn_cache_lock(cache);
    tarn_status status = tarn_index_track(tarn_cache_table(cache)->index);
    tarn_cache_unlock(cache);
    return status;
}

static void run_on_host(tarn_lookup *l, const uint64_t *hashes, size_t count, uint32_t *slots)
{
    while (count > 0) {
        size_t n = count < HOST_CHUNK ? count : HOST_CHUNK;
        tarn_cache_lock(l->cache);
        struct tarn_index_view view = tarn_index_get_view(tarn_cache_table(l->cache)->index);
        tarn_lookup_host(view.buckets, view.bucket_count - 1, hashes, n, slots);
        tarn_cache_unlock(l->cache);
        hashes += n;
        slots += n;
        count -= n;
    }
}

struct upload {
    tarn_queue *queue;
    tarn_buffer *buffer;
    tarn_status status;
};

static void upload_range(void *context, size_t offset, size_t size)
{
    struct upload *upload = context;
    if (upload->status == TARN_OK)
        upload->status = tarn_buffer_upload(upload->queue, upload->buffer, offset, size);
}

static tarn_status run_on_device(tarn_lookup *l, const uint64_t *hashes, uint32_t count,
                                 uint32_t *slots)
{
    tarn_event *event = NULL;
    struct tarn_lookup_constants constants = {.count = count};
    struct upload upload = {.queue = l->queue};
    memcpy(tarn_buffer_data(l->hashes), hashes, count * sizeof *hashes);

    tarn_cache_lock(l->cache);
    tarn_index *index = tarn_cache_table(l->cache)->index;
    struct tarn_index_view view = tarn_index_get_view(index);
    struct table_memory *table = find_table(l, view.buckets);
    tarn_status status = table != NULL ? TARN_OK : TARN_NOT_FOUND;
    if (status == TARN_OK) {
        upload.buffer = table->buffer;
        l->reading = true;
        tarn_index_flush(index, upload_range, &upload);
        status = upload.status;
        constants.mask = view.bucket_count - 1;
    }
    tarn_cache_unlock(l->cache);
    if (table == NULL)
        return status; /* the index isn't on the device */

    uint64_t arrival = l->share != NULL ? tarn_share_arrive(l->share) : 0;
    if (status == TARN_OK)
        status = tarn_buffer_upload(l->queue, l->hashes, 0, count * sizeof *hashes);
    if (status == TARN_OK)
        status =
            tarn_queue_submit(l->queue,
                              &(struct tarn_launch){
                                  .kernel = l->kernel,
                                  .buffers = (tarn_buffer *[]){upload.buffer, l->hashes, l->slots},
                                  .constants = &constants,
                                  .groups = tarn_kernel_groups(l->kernel, count),
                              },
                              &event);
    if (status == TARN_OK)
        status = tarn_buffer_download(l->queue, l->slots, 0, count * sizeof *slots);
    tarn_status finished = tarn_queue_finish(l->queue, LONGEST_WAIT_US);
    if (finished == TARN_TIMEOUT) /* it may write there whenever it likes: all of it stays */
        tarn_device_abandon(l->device, "a lookup doesn't end");
    status = status == TARN_OK ? finished : status;
    uint64_t device_ns = 0;
    if (status == TARN_OK) {
        struct tarn_event_times times;
        memcpy(slots, tarn_buffer_data(l->slots), count * sizeof *slots);
        if (tarn_event_get_times(event, &times) == TARN_OK)
            device_ns = times.end_ns - times.start_ns;
    }
    tarn_event_release(&event);
    if (l->share != NULL)
        tarn_share_depart(l->share, arrival, device_ns);

    tarn_cache_lock(l->cache);
    if (status == TARN_OK) {
        l->stats.device_ns += device_ns;
        l->stats.launches++;
        l->stats.elements += count;
    }
    l->reading = false;
    for (int i = 0; i < MOST_TABLES; i++)
        if (l->table[i].retired) {
            l->table[i].retired = false;
            tarn_buffer_destroy(&l->table[i].buffer);
        }
    tarn_cache_unlock(l->cache);
    return status;
}

void tarn_lookup_run(tarn_lookup *l, const uint64_t *hashes, size_t count, uint32_t *slots)
{
    uint32_t least = atomic_load_explicit(&l->least, memory_order_relaxed);
    while (count > 0) {
        uint32_t n = count < l->batch ? (uint32_t)count : l->batch;
        bool on_device = n >= least && !atomic_load(&l->failed);
        if (on_device) {
            tarn_status status = run_on_device(l, hashes, n, slots);
            on_device = status == TARN_OK;
            if (!on_device && status != TARN_BUSY && status != TARN_NOT_FOUND) {
                atomic_store(&l->failed, true);
                tarn_log(TARN_LOG_WARNING, "offload: lookups leave the device (%s)",
                         tarn_status_message(status));
            }
        }
        if (!on_device)
            run_on_host(l, hashes, n, slots);
        hashes += n;
        slots += n;
        count -= n;
    }
}

void tarn_lookup_set_share(tarn_lookup *l, tarn_share *share)
{
    l->share = share;
}

void tarn_lookup_set_least(tarn_lookup *l, uint32_t keys)
{
    atomic_store_explicit(&l->least, keys, memory_order_relaxed);
}

bool tarn_lookup_has_failed(const tarn_lookup *l)
{
    return atomic_load(&l->failed);
}

void tarn_lookup_get_stats(const tarn_lookup *l, struct tarn_kernel_stats *stats)
{
    *stats = l->stats;
}
