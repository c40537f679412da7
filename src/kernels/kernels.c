/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

#include "layout.h"
#include "lookup.h"
#include "train.h"

/* Written by tools/embed.py: text with a NUL behind it. */
#define EMBEDDED(name) extern const unsigned char tarn_cl_##name##_gpu[], tarn_cl_##name##_cpu[];
EMBEDDED(lookup)
EMBEDDED(forward)
EMBEDDED(train)

#if HAVE_VULKAN
#include "kernels/forward.spv.h"
#include "kernels/lookup.spv.h"
#include "kernels/train.spv.h"
#define SPIRV(name) .spirv = tarn_spirv_##name, .spirv_size = sizeof tarn_spirv_##name
#else
#define SPIRV(name) .spirv = NULL
#endif

/* Elements of a group, as the sources in cl/ and shaders/ split their work. */
enum {
    GPU_LOCAL = 64,
    TRAIN_LOCAL = 256,
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
    tarn_forward_host(&shape, launch->buffers[0],
                      (const float *)launch->buffers[1] + r.first * shape.inputs, r.count,
                      (float *)launch->buffers[2] + r.first);
}

static void host_train(const struct tarn_host_launch *launch)
{
    struct tarn_shape shape = shape_of(launch);
    if (launch->first_group > 0)
        return;
    tarn_train_host(
        &shape,
        &(struct tarn_train_state){launch->buffers[0], launch->buffers[1], launch->buffers[2]},
        launch->constants, launch->buffers[3], launch->buffers[4], launch->buffers[5]);
}

const struct tarn_kernel_source tarn_lookup_source = {
    .name = "lookup",
    .opencl_gpu = (const char *)tarn_cl_lookup_gpu,
    .opencl_cpu = (const char *)tarn_cl_lookup_cpu,
    SPIRV(lookup),
    .gpu_local_size = GPU_LOCAL,
    .cpu_local_size = 1,
    .gpu_group_elements = GPU_LOCAL,
    .cpu_group_elements = LOOKUP_CPU_KEYS,
    .host_group_elements = LOOKUP_HOST_KEYS,
    .host = host_lookup,
    .buffer_count = 3,
    .constants_size = sizeof(struct tarn_lookup_constants),
};

const struct tarn_kernel_source tarn_forward_source = {
    .name = "forward",
    .opencl_gpu = (const char *)tarn_cl_forward_gpu,
    .opencl_cpu = (const char *)tarn_cl_forward_cpu,
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
};

const struct tarn_kernel_source tarn_train_source = {
    .name = "train",
    .opencl_gpu = (const char *)tarn_cl_train_gpu,
    .opencl_cpu = (const char *)tarn_cl_train_cpu,
    SPIRV(train),
    .gpu_local_size = TRAIN_LOCAL,
    .cpu_local_size = 1,
    .host = host_train,
    .buffer_count = 7,
    .constants_size = sizeof(struct tarn_train_constants),
    .defines = shape_names,
};

const struct tarn_kernel_source *const tarn_kernel_sources[] = {
    &tarn_lookup_source,
    &tarn_forward_source,
    &tarn_train_source,
    NULL,
};
