/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the driver's queues are ours. */
#include "vulkan.h"

/*
 * The n-th family that computes, of those with graphics or of those without, with `least` queues or
 * more; `count` if there is none.
 */
static uint32_t nth(const VkQueueFamilyProperties *families, uint32_t count, bool graphics,
                    uint32_t least, uint32_t n)
{
    for (uint32_t i = 0; i < count; i++) {
        VkQueueFlags flags = families[i].queueFlags;
        if ((flags & VK_QUEUE_COMPUTE_BIT) != 0 && families[i].queueCount >= least &&
            ((flags & VK_QUEUE_GRAPHICS_BIT) != 0) == graphics && n-- == 0)
            return i;
    }
    return count;
}

static void take(struct vulkan_found *found, const VkQueueFamilyProperties *families, uint32_t high,
                 uint32_t low, uint32_t low_index)
{
    found->lane_count = high == low && low_index == 0 ? 1 : 2;
    found->family[0] = high;
    found->family[1] = low;
    found->index[0] = 0;
    found->index[1] = low_index;
    found->tick_bits[0] = families[high].timestampValidBits;
    found->tick_bits[1] = families[low].timestampValidBits;
}

/* Two families, the low one without graphics if there is such: its work stays off the screen's. */
static bool take_families(struct vulkan_found *found, const VkQueueFamilyProperties *families,
                          uint32_t count)
{
    uint32_t compute = nth(families, count, false, 1, 0);
    uint32_t compute_too = nth(families, count, false, 1, 1);
    uint32_t graphics = nth(families, count, true, 1, 0);
    uint32_t graphics_too = nth(families, count, true, 1, 1);
    if (compute_too < count)
        take(found, families, compute, compute_too, 0);
    else if (compute < count && graphics < count)
        take(found, families, graphics, compute, 0);
    else if (graphics_too < count)
        take(found, families, graphics, graphics_too, 0);
    else
        return false;
    return true;
}

static bool take_queues(struct vulkan_found *found, const VkQueueFamilyProperties *families,
                        uint32_t count, bool graphics)
{
    uint32_t family = nth(families, count, graphics, 2, 0);
    if (family < count)
        take(found, families, family, family, 1);
    return family < count;
}

/*
 * A global priority is one of a family, so where there are such, two families come first. Else two
 * queues without graphics, which don't stand behind the screen's, then two families, then two queues
 * of one with graphics; the last resort is one queue for both.
 */
bool tarn_vulkan_choose_lanes(struct vulkan_found *found, const VkQueueFamilyProperties *families,
                              uint32_t count, bool global)
{
    if (global && take_families(found, families, count))
        return true;
    if (take_queues(found, families, count, false) || take_families(found, families, count) ||
        take_queues(found, families, count, true))
        return true;
    uint32_t only = nth(families, count, false, 1, 0);
    if (only == count)
        only = nth(families, count, true, 1, 0);
    if (only == count)
        return false;
    take(found, families, only, only, 0);
    return true;
}

uint32_t tarn_vulkan_hints(const struct vulkan_found *found)
{
    if (found->lane_count < 2)
        return 0;
    return TARN_HINT_QUEUE_PRIORITY |
           (found->family[0] != found->family[1] ? TARN_HINT_QUEUE_FAMILIES : 0u) |
           (found->global_priority != NULL ? TARN_HINT_GLOBAL_PRIORITY : 0u);
}
