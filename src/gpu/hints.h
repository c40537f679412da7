/* SPDX-License-Identifier: Apache-2.0 */
/**
 * @file
 * The mechanisms by which drivers can be told which queue is the urgent one. Which of them exist is
 * up to the driver; none is relied on, and what each promises is in its extension's text: little.
 */
#ifndef TARN_GPU_HINTS_H
#define TARN_GPU_HINTS_H

#include <stddef.h>
#include <stdint.h>

/*
 * X(mechanism, name): a bit of struct tarn_device_info's `hints`, and what tarn_device_hint() and
 * `tarn devices` call it.
 */
#define TARN_HINTS(X)                                                                              \
    X(KHR_PRIORITY, "khr_priority")       /* OpenCL: cl_khr_priority_hints, high and low */        \
    X(KHR_THROTTLE, "khr_throttle")       /* OpenCL: cl_khr_throttle_hints, low for background */  \
    X(QCOM_PRIORITY, "qcom_priority")     /* OpenCL: cl_qcom_priority_hint of the context */       \
    X(QCOM_PERF, "qcom_perf")             /* OpenCL: cl_qcom_perf_hint of the context */           \
    X(ARM_BATCHING, "arm_batching")       /* OpenCL: cl_arm_scheduling_controls, none of it */     \
    X(ARM_FLUSH, "arm_flush")             /* OpenCL: the same, flushed at once if urgent */        \
    X(ARM_SLOTS, "arm_job_slots")         /* OpenCL: cl_arm_job_slot_selection, one each */        \
    X(INTEL_FAMILIES, "intel_families")   /* OpenCL: cl_intel_command_queue_families, one each */  \
    X(QUEUE_PRIORITY, "queue_priority")   /* Vulkan: two queues, 1.0 and 0.0 */                    \
    X(QUEUE_FAMILIES, "queue_families")   /* Vulkan: the two are of two families */                \
    X(GLOBAL_PRIORITY, "global_priority") /* Vulkan: low for background, system-wide */            \
    X(GLOBAL_HIGH, "global_high")         /* Vulkan: high for lookups: takes a privilege */

enum tarn_hint_place {
#define TARN_HINT_PLACE(mechanism, name) TARN_HINT_PLACE_##mechanism,
    TARN_HINTS(TARN_HINT_PLACE)
#undef TARN_HINT_PLACE
};

enum {
#define TARN_HINT_BIT(mechanism, name) TARN_HINT_##mechanism = 1 << TARN_HINT_PLACE_##mechanism,
    TARN_HINTS(TARN_HINT_BIT)
#undef TARN_HINT_BIT
};

/** The names of the bits in `hints`, ", " between them; "none" for none. */
void tarn_hints_names(uint32_t hints, char text[], size_t size);

#endif
