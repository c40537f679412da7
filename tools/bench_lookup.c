/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn bench lookup`: batched index lookups. */
#include "bench.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"

enum {
    QUERIES = 1 << 21, /* different keys that are asked for, so that small batches aren't cached */
    CHUNK = 1 << 19,   /* keys of a round: long enough for the clocks */
    LEAST_BATCH = 1024,
    MOST_BATCH = 1 << 18,
    HIT_PERCENT = 90,
};

/* One size of index with its queries, split into batches that lie in buffers of their own. */
struct work {
    uint32_t keys, mask;
    tarn_buffer *index;
    tarn_buffer *hashes[QUERIES / LEAST_BATCH], *slots[QUERIES / LEAST_BATCH];
    uint32_t batch, batches, next_device, next_host;
    uint32_t *check; /* slots by the host */
};

static uint64_t hash_of(uint64_t seed, uint64_t key)
{
    uint64_t hash = tarn_mix64(key + seed * 0x9e3779b97f4a7c15u + 1);
    return hash >> 32 == 0 ? hash | (uint64_t)1 << 32 : hash;
}

/*
 * Two-choice filling with random moves: a full pair of buckets throws out one of its entries, which
 * goes to its other bucket. At the load of 0.95 this ends after a few moves.
 */
static bool insert(uint32_t *buckets, uint32_t mask, uint64_t hash, uint32_t ref,
                   struct tarn_rng *rng)
{
    uint32_t tag = (uint32_t)(hash >> 32), number = (uint32_t)hash & mask;
    for (int moves = 0; moves < 2000; moves++) {
        uint32_t other = number ^ (TARN_INDEX_SPREAD(tag) & mask), pair[2] = {number, other};
        uint32_t counts[2];
        for (int b = 0; b < 2; b++) {
            const uint32_t *tags = buckets + (size_t)pair[b] * TARN_BUCKET_WORDS;
            for (counts[b] = 0; counts[b] < TARN_BUCKET_SLOTS && tags[counts[b]] != 0;)
                counts[b]++;
        }
        int b = counts[0] < TARN_BUCKET_SLOTS ? 0 : 1;
        uint32_t place = counts[b];
        if (place == TARN_BUCKET_SLOTS) {
            place = tarn_rng_below(rng, TARN_BUCKET_SLOTS);
            b = (int)tarn_rng_below(rng, 2);
        }
        uint32_t *bucket = buckets + (size_t)pair[b] * TARN_BUCKET_WORDS;
        uint32_t old_tag = bucket[place], old_ref = bucket[TARN_BUCKET_SLOTS + place];
        bucket[place] = tag;
        bucket[TARN_BUCKET_SLOTS + place] = ref;
        if (old_tag == 0)
            return true;
        /* which of its two buckets it was in doesn't matter: xor leads from one to the other */
        number = pair[b] ^ (TARN_INDEX_SPREAD(old_tag) & mask);
        tag = old_tag;
        ref = old_ref;
    }
    return false;
}

static tarn_status fill_index(struct tarn_bench *bench, struct work *w, struct tarn_rng *rng,
                              uint64_t seed)
{
    uint32_t *buckets = tarn_buffer_data(w->index);
    struct tarn_progress progress;
    tarn_progress_start(&progress, bench->cli, "filling the index");
    for (uint32_t i = 0; i < w->keys; i++) {
        enum { AHEAD = 16 };
        uint64_t soon = hash_of(seed, i + AHEAD);
        __builtin_prefetch(buckets + (size_t)((uint32_t)soon & w->mask) * TARN_BUCKET_WORDS);
        if (!insert(buckets, w->mask, hash_of(seed, i), i, rng)) {
            tarn_progress_end(&progress);
            return TARN_TOO_LARGE;
        }
        if (i % 65536 == 0)
            tarn_progress_update(&progress, (double)i / w->keys);
    }
    tarn_progress_end(&progress);
    return tarn_buffer_upload(bench->queue, w->index, 0, tarn_buffer_size(w->index));
}

static void destroy_batches(struct work *w)
{
    for (uint32_t i = 0; i < w->batches; i++) {
        tarn_buffer_destroy(&w->hashes[i]);
        tarn_buffer_destroy(&w->slots[i]);
    }
    free(w->check);
    w->check = NULL;
    w->batches = 0;
}

static bool create_batches(struct tarn_bench *bench, struct work *w, uint32_t batch, uint64_t seed,
                           struct tarn_rng *rng)
{
    w->batch = batch;
    w->next_device = w->next_host = 0;
    w->check = malloc((size_t)batch * 4);
    if (w->check == NULL)
        return false;
    while (w->batches < QUERIES / batch) {
        tarn_buffer *hashes = tarn_bench_buffer(bench, NULL, (size_t)batch * 8);
        tarn_buffer *slots = tarn_bench_buffer(bench, NULL, (size_t)batch * 4);
        w->hashes[w->batches] = hashes;
        w->slots[w->batches++] = slots;
        if (hashes == NULL || slots == NULL)
            return false;
        uint32_t *words = tarn_buffer_data(hashes);
        for (uint32_t i = 0; i < batch; i++) {
            bool present = tarn_rng_below(rng, 100) < HIT_PERCENT;
            uint64_t key = tarn_rng_below(rng, w->keys) + (present ? 0 : (uint64_t)w->keys);
            uint64_t hash = hash_of(seed, key);
            words[2 * i] = (uint32_t)hash;
            words[2 * i + 1] = (uint32_t)(hash >> 32);
        }
    }
    return true;
}

static tarn_status on_device(struct tarn_bench *bench, struct work *w, tarn_kernel *kernel)
{
    uint32_t b = w->next_device++ % w->batches;
    tarn_event *event = NULL;
    tarn_buffer *const buffers[] = {w->index, w->hashes[b], w->slots[b]};
    struct tarn_lookup_constants constants = {w->batch, w->mask};
    tarn_status status = tarn_buffer_upload(bench->queue, w->hashes[b], 0, (size_t)w->batch * 8);
    if (status == TARN_OK)
        status = tarn_queue_submit(bench->queue,
                                   &(struct tarn_launch){kernel, buffers, &constants,
                                                         tarn_kernel_groups(kernel, w->batch)},
                                   NULL);
    if (status == TARN_OK)
        status = tarn_buffer_download(bench->queue, w->slots[b], 0, (size_t)w->batch * 4);
    if (status == TARN_OK)
        status = tarn_queue_mark(bench->queue, &event);
    if (status == TARN_OK)
        status = tarn_event_wait(event, TARN_FOREVER);
    tarn_event_release(&event);
    return status;
}

static void on_host(struct work *w, uint32_t *slots)
{
    uint32_t b = w->next_host++ % w->batches;
    tarn_lookup_host(tarn_buffer_data(w->index), w->mask, tarn_buffer_data(w->hashes[b]), w->batch,
                     slots != NULL ? slots : tarn_buffer_data(w->slots[b]));
}

static int measure(struct tarn_bench *bench, struct work *w, tarn_kernel *kernel, int rounds,
                   cJSON *rows, tarn_table *table)
{
    struct tarn_bench_times device = {.rounds = 0}, host = {.rounds = 0};
    uint32_t repeats = w->batch < CHUNK && !bench->simulated ? CHUNK / w->batch : 1;
    for (uint32_t i = 0; i < w->batches; i++) {
        tarn_status status = on_device(bench, w, kernel);
        if (status != TARN_OK)
            return tarn_bench_fail(bench, status, "lookup");
        on_host(w, w->check);
        if (memcmp(w->check, tarn_buffer_data(w->slots[i]), (size_t)w->batch * 4) != 0)
            return tarn_bench_fail(bench, TARN_CORRUPT, "its lookups differ from the host's");
    }
    for (int round = 0; round < tarn_bench_rounds(bench, rounds); round++) {
        struct tarn_bench_clock start = tarn_bench_start(bench, true);
        for (uint32_t r = 0; r < repeats; r++) {
            tarn_status status = on_device(bench, w, kernel);
            if (status != TARN_OK)
                return tarn_bench_fail(bench, status, "lookup");
        }
        tarn_bench_stop(&device, start, (double)repeats * w->batch);
        start = tarn_bench_start(bench, false);
        for (uint32_t r = 0; r < repeats; r++)
            on_host(w, NULL);
        tarn_bench_stop(&host, start, (double)repeats * w->batch);
    }
    double load = w->keys / ((w->mask + 1.0) * TARN_BUCKET_SLOTS);
    double rate = 1e3 / tarn_bench_wall(&device), host_rate = 1e3 / tarn_bench_wall(&host);
    double cpu = tarn_bench_cpu(&device), host_cpu = tarn_bench_cpu(&host);
    cJSON *row = cJSON_CreateObject();
    tarn_json_integer(row, "keys", w->keys);
    tarn_json_integer(row, "batch", w->batch);
    tarn_json_number(row, "load", load);
    tarn_json_number(row, "hit_ratio", HIT_PERCENT / 100.0);
    tarn_json_number(row, "mlookups_per_s", rate);
    tarn_json_number(row, "cpu_ns_per_key", cpu);
    tarn_json_number(row, "host_mlookups_per_s", host_rate);
    tarn_json_number(row, "host_cpu_ns_per_key", host_cpu);
    cJSON_AddItemToArray(rows, row);
    tarn_table_row(table, "%u\t%u\t%.3f\t%.1f\t%.2f\t%.1f\t%.2f\t%.2f", w->keys, w->batch, load,
                   rate, cpu, host_rate, host_cpu, cpu / host_cpu);
    return TARN_EXIT_OK;
}

static int run(struct tarn_cli *cli, int argc, char **argv)
{
    (void)argv;
    if (argc > 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    static const char *const heads[] = {"keys",   "batch",    "load",        "M/s",
                                        "CPU ns", "host M/s", "host CPU ns", "CPU ratio"};
    static const uint32_t sizes[] = {1000000, 16000000}, batches[] = {16384, 65536, 262144};
    bool quick = tarn_cli_flag(cli, "quick");
    uint64_t only = 0;
    struct tarn_bench bench;
    struct tarn_rng rng;
    struct work work = {0};
    tarn_kernel *kernel = NULL;
    int code = tarn_cli_integer(cli, "batch", LEAST_BATCH, MOST_BATCH, &only);
    if (code == TARN_EXIT_OK)
        code = tarn_bench_open(&bench, cli);
    if (code != TARN_EXIT_OK)
        return code;
    cJSON *rows = cJSON_CreateArray();
    tarn_table *table = tarn_table_create(heads, 8);
    tarn_rng_seed(&rng, cli->seed);
    if (tarn_canary_create(bench.device,
                           &(struct tarn_kernel_params){.source = &tarn_lookup_source}, NULL,
                           &kernel, &bench.error) != TARN_OK) {
        code = tarn_cli_fail(cli, &bench.error);
        goto done;
    }
    for (size_t s = 0; s < (quick ? 1 : 2); s++) {
        work.keys = sizes[s];
        for (work.mask = 1; (work.mask + 1.0) * TARN_BUCKET_SLOTS * 0.97 < work.keys;)
            work.mask = work.mask * 2 + 1;
        work.index = tarn_bench_buffer(&bench, NULL, ((size_t)work.mask + 1) * 64);
        if (work.index == NULL) {
            code = tarn_cli_fail(cli, &bench.error);
            goto done;
        }
        tarn_status status = fill_index(&bench, &work, &rng, cli->seed);
        if (status != TARN_OK) {
            code = tarn_bench_fail(&bench, status, "filling the index");
            goto done;
        }
        for (size_t b = 0; b < (only != 0 ? 1 : sizeof batches / sizeof batches[0]); b++) {
            uint32_t batch = only != 0 ? (uint32_t)only : batches[b];
            if (!create_batches(&bench, &work, batch, cli->seed, &rng)) {
                code = tarn_bench_fail(&bench, TARN_NO_MEMORY, "batches");
                goto done;
            }
            code = measure(&bench, &work, kernel, quick ? 9 : 61, rows, table);
            destroy_batches(&work);
            if (code != TARN_EXIT_OK)
                goto done;
        }
        tarn_buffer_destroy(&work.index);
    }
    code = tarn_bench_print(&bench, "lookup", rows, table);
    rows = NULL;
    table = NULL;
done:
    destroy_batches(&work);
    tarn_buffer_destroy(&work.index);
    tarn_kernel_destroy(&kernel);
    cJSON_Delete(rows);
    tarn_table_destroy(&table);
    tarn_bench_close(&bench);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"quick", 0, NULL, "the small index only, fewer rounds: within ten seconds"},
    {"batch", 0, "N", "batches of this many keys only", false},
    {NULL},
};

const struct tarn_command tarn_bench_lookup = {
    .name = "lookup",
    .run = run,
    .summary = "batched index lookups",
    .usage = "[--quick] [--batch N]",
    .description = "Lookups of random keys, nine of ten present, in indexes of 1 and 16 million\n"
                   "keys at a load of 0.95, in batches: the device against the best loop on one\n"
                   "thread of the host. CPU ns are per key and of the whole process.",
    .options = options,
    .examples = "tarn bench lookup --device opencl\n"
                "tarn bench lookup --quick --json\n"
                "tarn bench lookup --quick --batch 4096 --device virtual:mali\n",
};
