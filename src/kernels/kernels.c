/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

#include "layout.h"
#include "lookup.h"
#include "train.h"
#include "wide.h"

#if HAVE_OPENCL
/* Written by tools/embed.py: text with a NUL behind it. */
#define EMBEDDED(name) extern const unsigned char tarn_cl_##name##_gpu[], tarn_cl_##name##_cpu[];
EMBEDDED(lookup)
EMBEDDED(forward)
EMBEDDED(train)
EMBEDDED(wide)
#define OPENCL(name)                                                                               \
    .opencl_gpu = (const char *)tarn_cl_##name##_gpu,                                              \
    .opencl_cpu = (const char *)tarn_cl_##name##_cpu
#else
#define OPENCL(name) .opencl_gpu = NULL
#endif

#if HAVE_VULKAN
#include "kernels/forward.spv.h"
#include "kernels/lookup.spv.h"
#include "kernels/train.spv.h"
#include "kernels/wide.spv.h"
#define SPIRV(name) .spirv = tarn_spirv_##name, .spirv_size = sizeof tarn_spirv_##name
#else
#define SPIRV(name) .spirv = NULL
#endif

/* Elements of a group, as the sources in cl/ and shaders/ split their work. */
enum {
    GPU_LOCAL = 64,
    TRAIN_LOCAL = 256,
    WIDE_LOCAL = 64,
    LOOKUP_CPU_KEYS = 2048,                /* TARN_LOOKUP_KEYS */
    FORWARD_CPU_SAMPLES = 16 * TARN_LANES, /* TARN_FORWARD_TILES */
    LOOKUP_HOST_KEYS = 4096,
    FORWARD_HOST_SAMPLES = 64 * TARN_LANES,
};

static const char *const shape_names[TARN_SHAPE_DEFINES + 1] = {"TARN_INPUTS", "TARN_HIDDEN1",
                                                                "TARN_HIDDEN2", "TARN_OUTPUTS"};

void tarn_shape_defines(const struct tarn_shape *shape, int32_t defines[TARN_SHAPE_DEFINES])
{
    defines[0] = (int32_t)shape->inputs;
    defines[1] = (int32_t)shape->hidden1;
    defines[2] = (int32_t)shape->hidden2;
    defines[3] = (int32_t)shape->outputs;
}

static struct tarn_shape shape_of(const struct tarn_host_launch *launch)
{
    const int32_t *d = launch->defines;
    return (struct tarn_shape){(uint32_t)d[0], (uint32_t)d[1], (uint32_t)d[2], (uint32_t)d[3]};
}

/* The elements [first, end) of the launch's groups, cut to `count`. */
struct range {
    size_t first, count;
};

static struct range range_of(const struct tarn_host_launch *launch, size_t group, size_t count)
{
    size_t first = launch->first_group * group, wanted = launch->group_count * group;
    if (first >= count)
        return (struct range){count, 0};
    return (struct range){first, wanted < count - first ? wanted : count - first};
}

static void host_lookup(const struct tarn_host_launch *launch)
{
    const struct tarn_lookup_constants *c = launch->constants;
    struct range r = range_of(launch, LOOKUP_HOST_KEYS, c->count);
    tarn_lookup_host(launch->buffers[0], c->mask, (const char *)launch->buffers[1] + 8 * r.first,
                     r.count, (uint32_t *)launch->buffers[2] + r.first);
}

static void host_forward(const struct tarn_host_launch *launch)
{
    const struct tarn_forward_constants *c = launch->constants;
    struct range r = range_of(launch, FORWARD_HOST_SAMPLES, c->count);
    struct tarn_shape shape = shape_of(launch);
    tarn_forward_slice_host(&shape, c->slice, launch->buffers[0],
                            (const float *)launch->buffers[1] + r.first * shape.inputs, r.count,
                            (float *)launch->buffers[2] + r.first);
}

static uint32_t train_tiles(const struct tarn_host_launch *launch)
{
    const struct tarn_train_constants *c = launch->constants;
    return c->steps * tarn_train_step_tiles(c);
}

static void host_train(const struct tarn_host_launch *launch)
{
    struct tarn_shape shape = shape_of(launch);
    if (launch->first_group > 0)
        return;
    struct tarn_train_constants c = *(const struct tarn_train_constants *)launch->constants;
    c.first_tile = launch->first_tile;
    c.tile_count = launch->tile_count;
    uint32_t next = tarn_train_host(
        &shape,
        &(struct tarn_train_state){launch->buffers[0], launch->buffers[1], launch->buffers[2]}, &c,
        launch->buffers[3], launch->buffers[4], launch->buffers[5],
        &(struct tarn_train_part){launch->buffers[6], launch->stop, launch->ticket});
    if (launch->next_tile != NULL)
        *launch->next_tile = next;
}

/*
 * Costs, for devices whose time is modelled. Counted from the sources in cl/, the shape for GPUs:
 * what every key, sample or step does, with data that fits no cache read and written once, and
 * weights once a launch.
 */
enum {
    HAZARD_OPERATIONS = 40, /* an exp, a division and a comparison a bin, and lg once a sample */
    ADAM_OPERATIONS = 14,   /* with the root and the division as one each */
    LOOKUP_OPERATIONS = 48, /* two buckets of eight comparisons, choice and address */
};

static uint64_t multiplies_of(const struct tarn_shape *s)
{
    return (uint64_t)s->inputs * s->hidden1 + (uint64_t)s->hidden1 * s->hidden2 +
           (uint64_t)s->hidden2 * s->outputs;
}

/* What is computed of a network of this shape by a slice; early exit leaves the second layer out. */
static struct tarn_shape slice_of(const struct tarn_shape *shape, uint32_t slice)
{
    return (struct tarn_shape){shape->inputs, TARN_SLICE_UNITS(slice, shape->hidden1),
                               TARN_SLICE_UNITS(slice, shape->hidden2), shape->outputs};
}

/*
 * A key is 8 bytes of hash, two buckets of 64 and 4 of answer: the second bucket is charged to
 * every key, since a group of work-items takes as long as its slowest.
 */
static void cost_lookup(const struct tarn_host_launch *launch, struct tarn_kernel_cost *cost)
{
    const struct tarn_lookup_constants *c = launch->constants;
    cost->operations = (uint64_t)c->count * LOOKUP_OPERATIONS;
    cost->bytes = (uint64_t)c->count * (8 + 2 * 64 + 4);
}

static void cost_forward(const struct tarn_host_launch *launch, struct tarn_kernel_cost *cost)
{
    const struct tarn_forward_constants *c = launch->constants;
    struct tarn_shape whole = shape_of(launch), shape = slice_of(&whole, c->slice);
    uint64_t second = (uint64_t)shape.hidden1 * shape.hidden2, weights = tarn_shape_weights(&shape);
    uint64_t multiplies = multiplies_of(&shape);
    if (TARN_SLICE_EXITS(c->slice)) {
        multiplies -= second;
        weights -= second + shape.hidden2;
    }
    cost->operations =
        c->count * (2 * multiplies + (uint64_t)(shape.outputs + 1) * HAZARD_OPERATIONS);
    cost->bytes = (uint64_t)c->count * (shape.inputs + 1) * 4 + weights * 4;
}

/* What a step costs once is charged to its tiles alike, so that it costs the same in any ranges. */
static uint64_t share_of_steps(uint64_t a_step, uint32_t first, uint32_t end, uint32_t step_tiles)
{
    return a_step * end / step_tiles - a_step * first / step_tiles;
}

/*
 * A step multiplies three times, forward, for the gradients and back (all layers: the first needs
 * no way back, but its zeros are filled), and moves a sample's features, label and activations (out
 * and in again, twice each) and weights, m, v and gradients (in and out). The weights' part is shared
 * out among the step's tiles.
 */
static void cost_train(const struct tarn_host_launch *launch, struct tarn_kernel_cost *cost)
{
    const struct tarn_train_constants *c = launch->constants;
    struct tarn_shape shape = shape_of(launch);
    uint32_t first = launch->first_tile, step_tiles = tarn_train_step_tiles(c);
    uint32_t end = launch->tile_count > 0 ? first + launch->tile_count : train_tiles(launch);
    uint64_t samples = (uint64_t)(end - first) * TARN_LANES;
    uint64_t weights = tarn_shape_weights(&shape);
    uint64_t units = (uint64_t)shape.hidden1 + shape.hidden2 + shape.outputs;
    uint64_t a_sample = 6 * multiplies_of(&shape) + (uint64_t)shape.outputs * HAZARD_OPERATIONS;
    cost->operations =
        samples * a_sample + share_of_steps(weights * ADAM_OPERATIONS, first, end, step_tiles);
    cost->bytes = samples * (shape.inputs + 1 + 4 * units) * 4 +
                  share_of_steps(weights * 8 * 4, first, end, step_tiles);
}

static void cost_wide(const struct tarn_host_launch *launch, struct tarn_kernel_cost *cost)
{
    const struct tarn_wide_constants *c = launch->constants;
    uint64_t rows = c->rows, columns = c->columns, terms = c->terms;
    switch (c->op) {
    case TARN_WIDE_PRODUCT:
        cost->operations = 2 * rows * columns * terms;
        cost->bytes = 4 * (rows * terms + terms * columns + rows * columns);
        break;
    case TARN_WIDE_ADAM:
        cost->operations = rows * ADAM_OPERATIONS;
        cost->bytes = rows * 7 * 4;
        break;
    case TARN_WIDE_PASS: {
        struct tarn_shape s = {c->inputs, c->hidden1, c->hidden2, c->outputs};
        uint64_t back = multiplies_of(&s) - (uint64_t)s.inputs * s.hidden1;
        cost->operations =
            columns * (2 * (multiplies_of(&s) + back) + s.outputs * (uint64_t)HAZARD_OPERATIONS);
        /* activations and derivatives out, in again, and turned; every group reads the weights */
        cost->bytes = 4 * (columns * (2 * (uint64_t)s.inputs + 5 * (s.hidden1 + s.hidden2)) +
                           columns / TARN_WIDE_PASS_SAMPLES * 2 * multiplies_of(&s));
        break;
    }
    case TARN_WIDE_UPDATE: {
        struct tarn_shape s = {c->inputs, c->hidden1, c->hidden2, c->outputs};
        uint64_t weights = tarn_shape_weights(&s), units = s.inputs + 2 * s.hidden1 + 2 * s.hidden2;
        cost->operations = weights * (2 * columns + ADAM_OPERATIONS);
        cost->bytes = 4 * (6 * weights + columns * (units + s.outputs));
        break;
    }
    case TARN_WIDE_SCORE:
    case TARN_WIDE_LOSS:
        cost->operations = rows * columns * HAZARD_OPERATIONS;
        cost->bytes = 4 * columns * (2 * rows + 2);
        break;
    default:
        cost->operations = 2 * rows * columns;
        cost->bytes = 3 * 4 * rows * columns;
        break;
    }
}

static void host_wide(const struct tarn_host_launch *launch)
{
    tarn_wide_host(launch->constants,
                   &(struct tarn_wide_arrays){launch->buffers[0], launch->buffers[1],
                                              launch->buffers[2], launch->buffers[3]},
                   launch->first_group, launch->group_count);
}

const struct tarn_kernel_source tarn_lookup_source = {
    .name = "lookup",
    OPENCL(lookup),
    SPIRV(lookup),
    .gpu_local_size = GPU_LOCAL,
    .cpu_local_size = 1,
    .gpu_group_elements = GPU_LOCAL,
    .cpu_group_elements = LOOKUP_CPU_KEYS,
    .host_group_elements = LOOKUP_HOST_KEYS,
    .host = host_lookup,
    .buffer_count = 3,
    .constants_size = sizeof(struct tarn_lookup_constants),
    .cost = cost_lookup,
};

const struct tarn_kernel_source tarn_forward_source = {
    .name = "forward",
    OPENCL(forward),
    SPIRV(forward),
    .gpu_local_size = GPU_LOCAL,
    .cpu_local_size = 1,
    .gpu_group_elements = GPU_LOCAL,
    .cpu_group_elements = FORWARD_CPU_SAMPLES,
    .host_group_elements = FORWARD_HOST_SAMPLES,
    .host = host_forward,
    .buffer_count = 3,
    .constants_size = sizeof(struct tarn_forward_constants),
    .defines = shape_names,
    .cost = cost_forward,
};

const struct tarn_kernel_source tarn_train_source = {
    .name = "train",
    OPENCL(train),
    SPIRV(train),
    .gpu_local_size = TRAIN_LOCAL,
    .cpu_local_size = 1,
    .host = host_train,
    .buffer_count = 7,
    .constants_size = sizeof(struct tarn_train_constants),
    .defines = shape_names,
    .gpu_local_memory = TRAIN_LOCAL * sizeof(float), /* `sums` in cl/train.cl */
    .cost = cost_train,
    .tiles = train_tiles,
};

const struct tarn_kernel_source tarn_wide_source = {
    .name = "wide",
    SPIRV(wide),
    OPENCL(wide),
    .gpu_local_size = WIDE_LOCAL,
    .cpu_local_size = 1,
    .gpu_group_elements = TARN_WIDE_SIDE * TARN_WIDE_SIDE,
    .cpu_group_elements = TARN_WIDE_SIDE * TARN_WIDE_SIDE,
    .host_group_elements = TARN_WIDE_SIDE * TARN_WIDE_SIDE,
    .host = host_wide,
    .cost = cost_wide,
    .buffer_count = 4,
    .constants_size = sizeof(struct tarn_wide_constants),
};

const struct tarn_kernel_source *const tarn_kernel_sources[] = {
    &tarn_lookup_source, &tarn_forward_source, &tarn_train_source, &tarn_wide_source, NULL,
};
