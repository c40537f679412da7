/* SPDX-License-Identifier: Apache-2.0 */
/** @file Small kernels for the suite, each with all its variants. */
#ifndef TARN_TESTS_GPU_KERNELS_H
#define TARN_TESTS_GPU_KERNELS_H

#include <tarn/gpu.h>

#if HAVE_VULKAN
#include "append.spv.h"
#include "scale.spv.h"
#include "spin.spv.h"
#define TEST_SPIRV(name) .spirv = test_spirv_##name, .spirv_size = sizeof test_spirv_##name
#else
#define TEST_SPIRV(name) .spirv = NULL
#endif

/* out[i] = in[i] * FACTOR + SHIFT + addend, for i < count */
struct scale_constants {
    uint32_t count;
    uint32_t addend;
};

static void scale_host(const struct tarn_host_launch *launch)
{
    const uint32_t *in = launch->buffers[0];
    uint32_t *out = launch->buffers[1];
    const struct scale_constants *c = launch->constants;
    for (uint32_t i = launch->first_group * 64;
         i < (launch->first_group + launch->group_count) * 64; i++)
        if (i < c->count)
            out[i] =
                in[i] * (uint32_t)launch->defines[0] + (uint32_t)launch->defines[1] + c->addend;
}

#define SCALE_HEAD                                                                                 \
    "struct constants { uint count, addend; };\n"                                                  \
    "__attribute__((reqd_work_group_size(TARN_LOCAL_SIZE, 1, 1)))\n"                               \
    "__kernel void scale(__global const uint *in, __global uint *out, struct constants c)\n"

static const char *const scale_defines[] = {"FACTOR", "SHIFT", NULL};
static const struct tarn_kernel_source scale_source = {
    .name = "scale",
    .opencl_gpu = SCALE_HEAD "{ uint i = get_global_id(0);\n"
                             "  if (i < c.count) out[i] = in[i] * FACTOR + SHIFT + c.addend; }\n",
    .opencl_cpu =
        SCALE_HEAD "{ for (uint i = get_global_id(0) * 8; i < get_global_id(0) * 8 + 8; i++)\n"
                   "    if (i < c.count) out[i] = in[i] * FACTOR + SHIFT + c.addend; }\n",
    TEST_SPIRV(scale),
    .gpu_local_size = 32,
    .cpu_local_size = 4,
    .gpu_group_elements = 32,
    .cpu_group_elements = 32,
    .host_group_elements = 64,
    .host = scale_host,
    .buffer_count = 2,
    .constants_size = sizeof(struct scale_constants),
    .defines = scale_defines,
};

/* One group: state[0] = state[0] * 3 + digit, so that the order of launches shows in the result. */
static void append_host(const struct tarn_host_launch *launch)
{
    uint32_t *state = launch->buffers[0];
    state[0] = state[0] * 3 + *(const uint32_t *)launch->constants;
}

static const struct tarn_kernel_source append_source = {
    .name = "append",
    .opencl_gpu = "__kernel void append(__global uint *state, uint digit)\n"
                  "{ if (get_global_id(0) == 0) state[0] = state[0] * 3 + digit; }\n",
    TEST_SPIRV(append),
    .gpu_local_size = 1,
    .host = append_host,
    .buffer_count = 1,
    .constants_size = sizeof(uint32_t),
};

/* One group that stays busy: `steps` turns of a generator that no compiler can shorten. */
static void spin_host(const struct tarn_host_launch *launch)
{
    uint32_t x = 1;
    for (uint32_t i = *(const uint32_t *)launch->constants; i > 0; i--) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
    }
    *(uint32_t *)launch->buffers[0] = x;
}

/* For simulations: one after the other on one lane, so a step counts as what all lanes could do. */
static void spin_cost(const struct tarn_host_launch *launch, struct tarn_kernel_cost *cost)
{
    cost->operations = 1000 * (uint64_t) * (const uint32_t *)launch->constants;
}

static const struct tarn_kernel_source spin_source = {
    .name = "spin",
    .opencl_gpu =
        "__kernel void spin(__global uint *out, uint steps)\n"
        "{ uint x = 1;\n"
        "  for (uint i = steps; i > 0; i--) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }\n"
        "  if (get_global_id(0) == 0) out[0] = x; }\n",
    TEST_SPIRV(spin),
    .gpu_local_size = 1,
    .host = spin_host,
    .buffer_count = 1,
    .constants_size = sizeof(uint32_t),
    .cost = spin_cost,
};

#endif
