/* SPDX-License-Identifier: Apache-2.0 */
/** @file What the cases of the suite need before they can begin. */
#ifndef TARN_TESTS_GPU_BENCH_H
#define TARN_TESTS_GPU_BENCH_H

#include "../check.h"

#include <tarn/virtual.h>

#include "base/clock.h"
#include "gpu/backend.h"
#include "kernels.h"

/** The device under test; each of the suite's files has its own, since CHECK counts a file. */
static const char *suite_id;

/** A device and a queue; closing checks that a case left nothing behind. */
struct bench {
    tarn_device *device;
    tarn_queue *queue;
};

static inline void bench_open(struct bench *bench)
{
    struct tarn_error error = {0};
    *bench = (struct bench){0};
    tarn_device_open(&(struct tarn_device_params){.id = suite_id}, &bench->device, &error);
    if (bench->device == NULL) {
        printf("# %s: %s\n", suite_id, error.message);
        return;
    }
    tarn_queue_create(bench->device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_HIGH},
                      &bench->queue);
}

static inline void bench_close(struct bench *bench)
{
    tarn_queue_destroy(&bench->queue);
    if (bench->device != NULL)
        CHECK_NUMBER(atomic_load(&bench->device->children), 0);
    tarn_device_close(&bench->device);
}

static inline tarn_buffer *make_buffer(struct bench *bench, size_t words)
{
    tarn_buffer *buffer = NULL;
    tarn_buffer_create(bench->device, &(struct tarn_buffer_params){.size = words * 4}, &buffer);
    return buffer;
}

static inline tarn_kernel *make_kernel(struct bench *bench, const struct tarn_kernel_source *source,
                                       const int32_t *defines)
{
    struct tarn_error error = {0};
    tarn_kernel *kernel = NULL;
    if (tarn_kernel_create(bench->device,
                           &(struct tarn_kernel_params){.source = source, .defines = defines},
                           &kernel, &error) != TARN_OK)
        printf("# %s\n", error.message);
    return kernel;
}

/** The clock that the device's waits go by. */
static inline uint64_t time_of(const struct bench *bench)
{
    bool simulated = tarn_device_get_info(bench->device)->type == TARN_DEVICE_VIRTUAL;
    return simulated ? tarn_virtual_now(bench->device) : tarn_clock_ns();
}

static inline uint32_t word(tarn_buffer *buffer, uint32_t i)
{
    return ((uint32_t *)tarn_buffer_data(buffer))[i];
}

#endif
