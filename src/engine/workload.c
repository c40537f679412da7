/* SPDX-License-Identifier: Apache-2.0 */
/* The classifier of workloads hears what the cache is asked for. */
#include "engine_private.h"

#include "base/log.h"

static void hear_access(void *context, uint64_t hash, float size_lg)
{
    tarn_workload_access(context, hash, size_lg);
}

static void hear_store(void *context, uint64_t hash, float size_lg)
{
    tarn_workload_size(context, hash, size_lg);
}

static void hear_overwrite(void *context)
{
    tarn_workload_write(context);
}

struct tarn_listener tarn_workload_listener(struct tarn_engine *e)
{
    struct tarn_error error;
    if (tarn_workload_create(NULL, &e->workload, &error) != TARN_OK) {
        tarn_log(TARN_LOG_WARNING, "engine: %s: going on without", error.message);
        return (struct tarn_listener){0};
    }
    if (e->params.background == TARN_BACKGROUND_THREAD)
        return tarn_ear_listener(e);
    return (struct tarn_listener){e->workload, hear_access, hear_store, hear_overwrite};
}

void tarn_workload_add_stats(const struct tarn_engine *e, struct tarn_engine_stats *stats)
{
    struct tarn_workload_report report;
    if (e->workload == NULL)
        return;
    tarn_workload_get_report(e->workload, &report);
    stats->workload = report.now;
    stats->workload_overall = report.overall;
    stats->workload_changes = report.changes;
    stats->memory += tarn_workload_memory(e->workload);
}
