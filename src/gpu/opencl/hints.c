/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an OpenCL driver can be told about our two kinds of queues. Only what it lists is ever asked
 * for: drivers refuse a whole queue or context for one property that they don't know (PoCL does).
 *
 * What is asked for, and why:
 * - cl_khr_priority_hints: high and low.
 * - cl_khr_throttle_hints: low for the low queue, which has all the time there is and may as well save
 *   power and heat. The high one stays at the default: its work is short, and it is not for a cache
 *   to put a board on battery to full throttle.
 * - Qualcomm's hints are of the context, and no buffer is seen by two contexts, so both queues have to
 *   live with one answer. Priority normal: with low, lookups would wait for all others on the
 *   device; with high, training would come before the screen, slice after slice. Performance normal,
 *   since the default is the highest clock for as long as the context lives: the governor raises the
 *   clock under load by itself, and doesn't overheat a board that idles.
 * - cl_arm_scheduling_controls: no batching, on either queue: launches that are put together leave the
 *   device together, so slices that were cut small would grow again in front of a lookup. Flushing in
 *   our own thread on the high queue saves waking the driver's. Its limit on compute units is left
 *   alone: it would slow training even while nothing else is there.
 * - cl_arm_job_slot_selection and cl_intel_command_queue_families: where the hardware has several
 *   queues, one each.
 */
#include "opencl.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* cl_qcom_perf_hint (registry.khronos.org) and cl_qcom_priority_hint (Qualcomm's cl_ext_qcom.h). */
#define QCOM_CONTEXT_PERF_HINT     0x40C2
#define QCOM_PERF_HINT_NORMAL      0x40C4
#define QCOM_CONTEXT_PRIORITY_HINT 0x40C9
#define QCOM_PRIORITY_HINT_NORMAL  0x40CB

#define CONTEXT_HINTS ((uint32_t)(TARN_HINT_QCOM_PERF | TARN_HINT_QCOM_PRIORITY))
#define MAX_FAMILIES  16

/* ---- what is listed ---- */

static uint64_t bits_of(cl_device_id id, cl_device_info what)
{
    /* a bitfield of 64 bits in one extension and of 32 in another: the rest stays zero */
    cl_ulong bits = 0;
    return clGetDeviceInfo(id, what, sizeof bits, &bits, NULL) == CL_SUCCESS ? bits : 0;
}

bool tarn_opencl_choose_slots(uint32_t slots, uint32_t slot[2])
{
    if ((slots & (slots - 1)) == 0)
        return false;
    for (slot[0] = 0; (slots >> slot[0] & 1) == 0;)
        slot[0]++;
    for (slot[1] = 31; (slots >> slot[1] & 1) == 0;)
        slot[1]--;
    return true;
}

bool tarn_opencl_choose_families(const cl_queue_family_properties_intel *families, size_t count,
                                 uint32_t family[2], uint32_t index[2])
{
    size_t first = count, second = count;
    index[0] = index[1] = 0;
    for (size_t i = 0; i < count; i++) {
        /* the others are for copies, or can't do all that we do */
        if (families[i].capabilities != CL_QUEUE_DEFAULT_CAPABILITIES_INTEL)
            continue;
        if (families[i].count > 1) {
            family[0] = family[1] = (uint32_t)i;
            index[1] = 1;
            return true;
        }
        if (families[i].count == 0)
            continue;
        if (first == count)
            first = i;
        else if (second == count)
            second = i;
    }
    family[0] = (uint32_t)first;
    family[1] = (uint32_t)second;
    return second < count;
}

static bool find_families(cl_device_id id, struct opencl_hints *hints)
{
    cl_queue_family_properties_intel families[MAX_FAMILIES];
    size_t size = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_QUEUE_FAMILY_PROPERTIES_INTEL, 0, NULL, &size) !=
            CL_SUCCESS ||
        size == 0 || size > sizeof families ||
        clGetDeviceInfo(id, CL_DEVICE_QUEUE_FAMILY_PROPERTIES_INTEL, size, families, NULL) !=
            CL_SUCCESS)
        return false;
    return tarn_opencl_choose_families(families, size / sizeof families[0], hints->family,
                                       hints->index);
}

void tarn_opencl_hints_find(cl_device_id id, bool version_2, struct opencl_hints *hints)
{
    *hints = (struct opencl_hints){0};
    if (tarn_opencl_has_extension(id, "cl_qcom_priority_hint"))
        hints->listed |= TARN_HINT_QCOM_PRIORITY;
    if (tarn_opencl_has_extension(id, "cl_qcom_perf_hint"))
        hints->listed |= TARN_HINT_QCOM_PERF;
    if (!version_2) /* all others are properties of a queue, which came with 2.0 */
        return;
    if (tarn_opencl_has_extension(id, "cl_khr_priority_hints"))
        hints->listed |= TARN_HINT_KHR_PRIORITY;
    if (tarn_opencl_has_extension(id, "cl_khr_throttle_hints"))
        hints->listed |= TARN_HINT_KHR_THROTTLE;
    if (tarn_opencl_has_extension(id, "cl_arm_scheduling_controls")) {
        uint64_t bits = bits_of(id, CL_DEVICE_SCHEDULING_CONTROLS_CAPABILITIES_ARM);
        if (bits & CL_DEVICE_SCHEDULING_KERNEL_BATCHING_ARM)
            hints->listed |= TARN_HINT_ARM_BATCHING;
        if (bits & CL_DEVICE_SCHEDULING_DEFERRED_FLUSH_ARM)
            hints->listed |= TARN_HINT_ARM_FLUSH;
    }
    if (tarn_opencl_has_extension(id, "cl_arm_job_slot_selection") &&
        tarn_opencl_choose_slots((uint32_t)bits_of(id, CL_DEVICE_JOB_SLOTS_ARM), hints->slot))
        hints->listed |= TARN_HINT_ARM_SLOTS;
    if (tarn_opencl_has_extension(id, "cl_intel_command_queue_families") &&
        find_families(id, hints))
        hints->listed |= TARN_HINT_INTEL_FAMILIES;
}

tarn_queue_priority_kind tarn_opencl_hints_kind(uint32_t hints)
{
    uint32_t tell_apart = TARN_HINT_KHR_PRIORITY | TARN_HINT_ARM_SLOTS | TARN_HINT_INTEL_FAMILIES;
    return hints & tell_apart ? TARN_QUEUE_PRIORITY_HINT : TARN_QUEUE_PRIORITY_NONE;
}

/* ---- contexts ---- */

static cl_context create_context(const struct opencl_device *device, cl_platform_id platform,
                                 uint32_t hints, cl_int *code)
{
    cl_context_properties properties[8] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform};
    int used = 2;
    if (hints & TARN_HINT_QCOM_PERF) {
        properties[used++] = QCOM_CONTEXT_PERF_HINT;
        properties[used++] = QCOM_PERF_HINT_NORMAL;
    }
    if (hints & TARN_HINT_QCOM_PRIORITY) {
        properties[used++] = QCOM_CONTEXT_PRIORITY_HINT;
        properties[used++] = QCOM_PRIORITY_HINT_NORMAL;
    }
    return clCreateContext(properties, 1, &device->id, tarn_opencl_driver_says, NULL, code);
}

static void log_refused(const struct opencl_device *device, uint32_t refused)
{
    char names[128];
    tarn_hints_names(refused, names, sizeof names);
    tarn_log(TARN_LOG_WARNING, "gpu: %s lists hints but refuses them: %s", device->base.info.id,
             names);
}

cl_context tarn_opencl_create_context(struct opencl_device *device, cl_platform_id platform,
                                      cl_int *code)
{
    static const uint32_t tries[] = {CONTEXT_HINTS, TARN_HINT_QCOM_PRIORITY, TARN_HINT_QCOM_PERF,
                                     0};
    uint32_t listed = device->base.info.hints & CONTEXT_HINTS, last = UINT32_MAX;
    cl_context context = NULL;
    for (size_t i = 0; i < sizeof tries / sizeof tries[0] && context == NULL; i++) {
        uint32_t hints = tries[i] & listed;
        if (hints == last)
            continue;
        last = hints;
        context = create_context(device, platform, hints, code);
    }
    if (context != NULL && last != listed) {
        log_refused(device, listed & ~last);
        device->base.info.hints &= ~(listed & ~last);
    }
    return context;
}

/* ---- queues ---- */

/* The properties of a queue with these hints, and the zero behind them. */
static void make_properties(const struct opencl_hints *known, uint32_t hints, bool low,
                            cl_queue_properties properties[20])
{
    int used = 0;
    properties[used++] = CL_QUEUE_PROPERTIES;
    properties[used++] = CL_QUEUE_PROFILING_ENABLE;
    if (hints & TARN_HINT_KHR_PRIORITY) {
        properties[used++] = CL_QUEUE_PRIORITY_KHR;
        properties[used++] = low ? CL_QUEUE_PRIORITY_LOW_KHR : CL_QUEUE_PRIORITY_HIGH_KHR;
    }
    if (hints & TARN_HINT_KHR_THROTTLE && low) {
        properties[used++] = CL_QUEUE_THROTTLE_KHR;
        properties[used++] = CL_QUEUE_THROTTLE_LOW_KHR;
    }
    if (hints & TARN_HINT_ARM_BATCHING) {
        properties[used++] = CL_QUEUE_KERNEL_BATCHING_ARM;
        properties[used++] = CL_FALSE;
    }
    if (hints & TARN_HINT_ARM_FLUSH && !low) {
        properties[used++] = CL_QUEUE_DEFERRED_FLUSH_ARM;
        properties[used++] = CL_FALSE;
    }
    if (hints & TARN_HINT_ARM_SLOTS) {
        properties[used++] = CL_QUEUE_JOB_SLOT_ARM;
        properties[used++] = known->slot[low];
    }
    if (hints & TARN_HINT_INTEL_FAMILIES) {
        properties[used++] = CL_QUEUE_FAMILY_INTEL;
        properties[used++] = known->family[low];
        properties[used++] = CL_QUEUE_INDEX_INTEL;
        properties[used++] = known->index[low];
    }
    properties[used] = 0;
}

static cl_command_queue create_with(struct opencl_device *device, uint32_t hints, bool low,
                                    cl_int *code)
{
    cl_queue_properties properties[20];
    make_properties(&device->hints, hints, low, properties);
    return clCreateCommandQueueWithProperties(device->context, device->id, properties, code);
}

static bool accepts(struct opencl_device *device, uint32_t hints)
{
    for (int low = 0; low < 2; low++) {
        cl_int code;
        cl_command_queue queue = create_with(device, hints, low, &code);
        if (queue == NULL)
            return false;
        clReleaseCommandQueue(queue);
    }
    return true;
}

void tarn_opencl_hints_try(struct opencl_device *device)
{
    uint32_t wanted = device->base.info.hints & ~CONTEXT_HINTS, kept = 0;
    if (wanted == 0 || accepts(device, wanted))
        return;
    for (uint32_t bit = 1; bit != 0 && bit <= wanted; bit <<= 1)
        if (wanted & bit && accepts(device, kept | bit))
            kept |= bit;
    log_refused(device, wanted & ~kept);
    device->base.info.hints &= ~(wanted & ~kept);
    device->base.info.queue_priority = tarn_opencl_hints_kind(device->base.info.hints);
}

cl_command_queue tarn_opencl_create_queue(struct opencl_device *device, tarn_priority priority,
                                          cl_int *code)
{
    if (!device->version_2)
        return clCreateCommandQueue(device->context, device->id, CL_QUEUE_PROFILING_ENABLE, code);
    uint32_t hints = device->base.info.hints & ~CONTEXT_HINTS;
    bool low = priority == TARN_PRIORITY_LOW;
    cl_command_queue queue = create_with(device, hints, low, code);
    if (queue == NULL && hints != 0) {
        /* taken when the device was opened, but not any more */
        cl_int refused = *code;
        queue = create_with(device, 0, low, code);
        if (queue != NULL && !atomic_exchange(&device->hints_refused, true))
            tarn_log(TARN_LOG_WARNING, "gpu: %s: a queue goes without its hints: %s",
                     device->base.info.id, tarn_opencl_name(refused));
    }
    return queue;
}
