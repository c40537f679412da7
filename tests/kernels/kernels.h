/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * What the kernels' tests share: random data, comparison, timing, and every device with its
 * kernels. `NAME --bench` prints times instead of testing.
 */
#ifndef TARN_TESTS_KERNELS_H
#define TARN_TESTS_KERNELS_H

#include "../check.h"

#include <math.h>
#include <stdint.h>

#include <tarn/gpu.h>

#include "base/clock.h"
#include "base/rng.h"
#include "kernels/forward.h"
#include "kernels/isa.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"
#include "kernels/train.h"

/** Never NULL: a test without memory ends. */
static inline void *some(size_t size)
{
    void *memory = aligned_alloc(64, (size + 63) / 64 * 64 + 64);
    if (memory == NULL)
        exit(1);
    memset(memory, 0, size);
    return memory;
}

static inline uint32_t between(struct tarn_rng *rng, uint32_t low, uint32_t high)
{
    return low + tarn_rng_below(rng, high - low + 1);
}

/** Uniform in [-scale, scale), never exactly 0. */
static inline float around_zero(struct tarn_rng *rng, float scale)
{
    float x = (tarn_rng_float(rng) - 0.5f) * 2.0f * scale;
    return x == 0.0f ? scale : x;
}

static inline void fill(struct tarn_rng *rng, float *out, size_t count, float scale)
{
    for (size_t i = 0; i < count; i++)
        out[i] = around_zero(rng, scale);
}

/** The reference network first, then one at each edge, then odd ones. */
static inline struct tarn_shape some_shape(struct tarn_rng *rng, int number)
{
    if (number == 0)
        return (struct tarn_shape){28, 32, 32, 11};
    if (number == 1)
        return (struct tarn_shape){1, 1, 1, 1};
    if (number == 2)
        return (struct tarn_shape){TARN_MAX_WIDTH, TARN_MAX_WIDTH, TARN_MAX_WIDTH, TARN_MAX_BINS};
    return (struct tarn_shape){between(rng, 1, TARN_MAX_WIDTH), between(rng, 1, TARN_MAX_WIDTH),
                               between(rng, 1, TARN_MAX_WIDTH), between(rng, 1, TARN_MAX_BINS)};
}

/** Uniform weights of about unit gain (He et al. 2015), so that logits are of ordinary size. */
static inline float *some_weights(struct tarn_rng *rng, const struct tarn_shape *s)
{
    float *weights = some(tarn_shape_weights(s) * sizeof(float)), *w = weights;
    uint32_t sizes[4] = {s->inputs, s->hidden1, s->hidden2, s->outputs};
    for (int i = 0; i < 3; i++) {
        size_t count = (size_t)(sizes[i] + 1) * sizes[i + 1];
        fill(rng, w, count, 2.0f / sqrtf((float)sizes[i] + 1.0f));
        w += count;
    }
    return weights;
}

/** `count` samples in tiles, zeros behind the last one. */
static inline float *some_tiles(struct tarn_rng *rng, const struct tarn_shape *s, size_t count)
{
    float *tiles = some(tarn_shape_tile_floats(s, count) * sizeof(float));
    for (size_t i = 0; i < count; i++)
        for (uint32_t f = 0; f < s->inputs; f++)
            tiles[(i / TARN_LANES * s->inputs + f) * TARN_LANES + i % TARN_LANES] =
                around_zero(rng, 2.0f);
    return tiles;
}

static inline double feature(const struct tarn_shape *s, const float *tiles, size_t i, uint32_t f)
{
    return (double)tiles[(i / TARN_LANES * s->inputs + f) * TARN_LANES + i % TARN_LANES];
}

/** A slice for test number `number`: all first, then every kind, also wider than the network. */
static inline uint32_t some_slice(struct tarn_rng *rng, int number)
{
    static const uint32_t widths[] = {0, 8, 16, 32};
    uint32_t exit = (uint32_t)number / 2 % 2;
    if (number % 2 == 0)
        return TARN_SLICE(widths[number / 4 % 4], exit);
    return TARN_SLICE(between(rng, 1, TARN_MAX_WIDTH), exit);
}

/**
 * A plain network in double by a slice: activations a1, a2 (after the ReLU) and logits of one sample. Where
 * it leaves early a2 is what the second layer passes on.
 */
static inline void plain_network(const struct tarn_shape *s, uint32_t slice, const float *weights,
                                 const float *tiles, size_t sample, double *a1, double *a2,
                                 double *logits)
{
    const uint32_t sizes[4] = {s->inputs, s->hidden1, s->hidden2, s->outputs};
    double x[TARN_MAX_WIDTH], *outs[3] = {a1, a2, logits};
    const double *in = x;
    for (uint32_t f = 0; f < s->inputs; f++)
        x[f] = feature(s, tiles, sample, f);
    for (int layer = 0; layer < 3; layer++) {
        const float *bias = weights + (size_t)sizes[layer] * sizes[layer + 1];
        for (uint32_t n = 0; n < sizes[layer + 1]; n++) {
            double sum = (double)bias[n];
            for (uint32_t i = 0; i < sizes[layer]; i++)
                sum += (double)weights[n * sizes[layer] + i] * in[i];
            outs[layer][n] = layer < 2 && sum < 0 ? sum * (double)TARN_LEAK : sum;
            if (layer == 1 && TARN_SLICE_EXITS(slice))
                a2[n] = n < s->hidden1 ? a1[n] : 0;
            if (layer < 2 && n >= TARN_SLICE_UNITS(slice, sizes[layer + 1]))
                outs[layer][n] = 0;
        }
        in = outs[layer];
        weights = bias + sizes[layer + 1];
    }
}

/** A device with a queue and one kernel on it. */
struct target {
    tarn_device *device;
    tarn_queue *queue;
    tarn_kernel *kernel;
    char name[64];  /* "opencl:0 (GPU shape)" */
    bool gpu_shape; /* not a CPU's, and no host function */
    bool real_gpu;
};

/**
 * Target `number` for a kernel: every device in both shapes where it has two. False when there are
 * no more. What doesn't open or compile is a failure of the test. TARN_TEST_DEVICE leaves only the
 * device of that id.
 */
static inline bool open_target(size_t number, const struct tarn_kernel_source *source,
                               const struct tarn_shape *shape, struct target *target)
{
    static struct tarn_kernel_source gpu_shape; /* outlives the kernel */
    struct tarn_device_info *infos;
    size_t count;
    struct tarn_error error = {0};
    int32_t defines[TARN_SHAPE_DEFINES];
    *target = (struct target){0};
    if (tarn_devices_list(&infos, &count) != TARN_OK)
        exit(1);
    const char *only = getenv("TARN_TEST_DEVICE");
    for (size_t i = 0; i < count; i++) {
        if (only != NULL && strcmp(only, infos[i].id) != 0)
            continue;
        /* in SPIR-V there is one shape only */
        bool two = infos[i].type == TARN_DEVICE_CPU && strcmp(infos[i].backend, "opencl") == 0;
        for (int forced = 0; forced < (two ? 2 : 1); forced++) {
            if (number-- > 0)
                continue;
            gpu_shape = *source;
            target->real_gpu = infos[i].type == TARN_DEVICE_GPU;
            target->gpu_shape =
                target->real_gpu || (infos[i].type == TARN_DEVICE_CPU && (forced || !two));
            if (forced)
                gpu_shape.opencl_cpu = NULL;
            snprintf(target->name, sizeof target->name, "%s%s", infos[i].id,
                     forced ? " (GPU shape)" : "");
            if (shape != NULL)
                tarn_shape_defines(shape, defines);
            if (tarn_device_open(&(struct tarn_device_params){infos[i].id}, &target->device,
                                 &error) != TARN_OK ||
                tarn_queue_create(target->device, &(struct tarn_queue_params){0}, &target->queue) !=
                    TARN_OK ||
                tarn_kernel_create(target->device,
                                   &(struct tarn_kernel_params){&gpu_shape, defines},
                                   &target->kernel, &error) != TARN_OK) {
                printf("# %s: %s: %s\n", target->name, source->name, error.message);
                exit(1);
            }
            tarn_devices_free(&infos);
            return true;
        }
    }
    tarn_devices_free(&infos);
    return false;
}

static inline void close_target(struct target *t)
{
    tarn_kernel_destroy(&t->kernel);
    tarn_queue_destroy(&t->queue);
    tarn_device_close(&t->device);
}

/** One argument of a launch: bytes that go in, and where they are put when they come out. */
struct argument {
    size_t size;
    const void *in; /* NULL: bytes of 0x77 */
    void *out;      /* NULL: not wanted */
};

/** As one launch for each range of tiles between `cuts` (rising, ended by a 0), in order. */
static inline bool launch_in_parts(struct target *t, const struct argument *arguments, size_t count,
                                   const void *constants, uint32_t elements, const uint32_t *cuts)
{
    tarn_buffer *buffers[TARN_MAX_BUFFERS] = {0};
    tarn_status status = TARN_OK;
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        size_t size = arguments[i].size;
        status = tarn_buffer_create(t->device, &(struct tarn_buffer_params){size}, &buffers[i]);
        if (status != TARN_OK)
            break;
        if (arguments[i].in != NULL)
            memcpy(tarn_buffer_data(buffers[i]), arguments[i].in, size);
        else
            memset(tarn_buffer_data(buffers[i]), 0x77, size);
        status = tarn_buffer_upload(t->queue, buffers[i], 0, size);
    }
    struct tarn_launch part = {.kernel = t->kernel,
                               .buffers = buffers,
                               .constants = constants,
                               .groups = tarn_kernel_groups(t->kernel, elements)};
    for (bool last = false; !last && status == TARN_OK; cuts++) {
        last = *cuts == 0;
        part.tile_count = last ? 0 : *cuts - part.first_tile;
        status = tarn_queue_submit(t->queue, &part, NULL);
        part.first_tile = *cuts;
    }
    for (size_t i = 0; i < count && status == TARN_OK; i++)
        if (arguments[i].out != NULL)
            status = tarn_buffer_download(t->queue, buffers[i], 0, arguments[i].size);
    if (status == TARN_OK)
        status = tarn_queue_finish(t->queue, TARN_FOREVER);
    for (size_t i = 0; i < count; i++) {
        if (status == TARN_OK && arguments[i].out != NULL)
            memcpy(arguments[i].out, tarn_buffer_data(buffers[i]), arguments[i].size);
        tarn_buffer_destroy(&buffers[i]);
    }
    if (status != TARN_OK)
        printf("# %s: %s\n", t->name, tarn_status_message(status));
    return status == TARN_OK;
}

static inline bool launch(struct target *t, const struct argument *arguments, size_t count,
                          const void *constants, uint32_t elements)
{
    return launch_in_parts(t, arguments, count, constants, elements, (const uint32_t[]){0});
}

/** Middle of `count` numbers; reorders them. */
static inline int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_doubles);
    return values[count / 2];
}

/** Runs the cases, or with --bench the bench. */
static inline int kernels_main(int argc, char **argv, const struct check_case *cases, size_t count,
                               void (*bench)(void))
{
    if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
        bench();
        return 0;
    }
    return check_run(cases, count);
}

#define KERNELS_MAIN(bench, ...)                                                                   \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct check_case cases[] = {__VA_ARGS__};                                    \
        return kernels_main(argc, argv, cases, sizeof cases / sizeof cases[0], bench);             \
    }

#endif
