/* SPDX-License-Identifier: Apache-2.0 */
/* Which queues of a Vulkan device are chosen, and which features it is said to have. */
#include "../check.h"

#include "gpu/vulkan/vulkan.h"

/* Kinds of families: what they do and how many queues they have. */
enum { NOTHING, COPIES, C1, C2, G1, G2, KINDS };

static VkQueueFamilyProperties family_of(int kind)
{
    static const VkQueueFlags flags[KINDS] = {
        [NOTHING] = VK_QUEUE_COMPUTE_BIT, /* with no queue */
        [COPIES] = VK_QUEUE_TRANSFER_BIT,
        [C1] = VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT,
        [C2] = VK_QUEUE_COMPUTE_BIT | VK_QUEUE_TRANSFER_BIT,
        [G1] = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT,
        [G2] = VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT,
    };
    static const uint32_t counts[KINDS] = {0, 2, 1, 2, 1, 2};
    return (VkQueueFamilyProperties){
        .queueFlags = flags[kind],
        .queueCount = counts[kind],
        .timestampValidBits = 30 + (uint32_t)kind,
    };
}

static const struct {
    int kinds[3], count;
    bool global;
    uint32_t lanes, high, low, low_index;
} wanted[] = {
    {{G1}, 1, false, 1, 0, 0, 0},             /* lavapipe, VideoCore, Mali, Adreno */
    {{G1}, 1, true, 1, 0, 0, 0},              /* nothing to tell apart */
    {{G2}, 1, false, 2, 0, 0, 1},             /* Mali with two queues */
    {{G2}, 1, true, 2, 0, 0, 1},              /* within a family a global priority is one */
    {{C2}, 1, false, 2, 0, 0, 1},             /* no graphics at all */
    {{G1, C2}, 2, false, 2, 1, 1, 1},         /* AMD: both off the screen's queue */
    {{G1, C2}, 2, true, 2, 0, 1, 0},          /* and with priorities that count: two families */
    {{G1, COPIES, C1}, 3, false, 2, 0, 2, 0}, /* one queue without graphics: the background's */
    {{G1, COPIES, C1}, 3, true, 2, 0, 2, 0},
    {{C1, G2}, 2, false, 2, 1, 0, 0},
    {{C1, G1, C1}, 3, false, 2, 0, 2, 0}, /* two without graphics */
    {{C1, G1, C1}, 3, true, 2, 0, 2, 0},
    {{G1, G1}, 2, false, 2, 0, 1, 0},
    {{NOTHING, C1, COPIES}, 3, true, 1, 1, 1, 0},
    {{G1, G2}, 2, false, 2, 0, 1, 0},
};

static void known_boards_get_what_suits_them(void)
{
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        VkQueueFamilyProperties families[3] = {0};
        struct vulkan_found found = {.lane_count = 77};
        for (int k = 0; k < wanted[i].count; k++)
            families[k] = family_of(wanted[i].kinds[k]);
        CHECK(tarn_vulkan_choose_lanes(&found, families, (uint32_t)wanted[i].count,
                                       wanted[i].global));
        CHECK_NUMBER(found.lane_count, wanted[i].lanes);
        CHECK_NUMBER(found.family[0], wanted[i].high);
        CHECK_NUMBER(found.family[1], wanted[i].low);
        CHECK_NUMBER(found.index[0], 0);
        CHECK_NUMBER(found.index[1], wanted[i].low_index);
    }
}

/* What holds for any answer. */
static void check_choice(const int *kinds, uint32_t count, bool global)
{
    VkQueueFamilyProperties families[3] = {0};
    struct vulkan_found found = {0};
    uint32_t computing = 0, queues = 0, plain = 0;
    for (uint32_t i = 0; i < count; i++) {
        families[i] = family_of(kinds[i]);
        bool computes = kinds[i] >= C1;
        computing += computes;
        queues += computes ? families[i].queueCount : 0;
        plain += kinds[i] == C1 || kinds[i] == C2;
    }
    bool chosen = tarn_vulkan_choose_lanes(&found, families, count, global);
    CHECK(chosen == (computing > 0));
    if (!chosen)
        return;
    CHECK_NUMBER(found.lane_count, queues > 1 ? 2 : 1);
    for (int i = 0; i < 2; i++) {
        CHECK(found.family[i] < count && kinds[found.family[i]] >= C1);
        CHECK(found.index[i] < families[found.family[i]].queueCount);
        CHECK_NUMBER(found.tick_bits[i], 30 + (uint32_t)kinds[found.family[i]]);
    }
    bool two_families = found.family[0] != found.family[1];
    CHECK(found.lane_count < 2 || two_families || found.index[0] != found.index[1]);
    CHECK(!global || computing < 2 || two_families);
    /* background work stays off the screen's queues wherever it can */
    CHECK((families[found.family[1]].queueFlags & VK_QUEUE_GRAPHICS_BIT) == 0 || plain == 0);
    uint32_t hints = tarn_vulkan_hints(&found);
    CHECK(((hints & TARN_HINT_QUEUE_PRIORITY) != 0) == (queues > 1));
    CHECK(((hints & TARN_HINT_QUEUE_FAMILIES) != 0) == two_families);
    CHECK((hints & TARN_HINT_GLOBAL_PRIORITY) == 0);
    found.global_priority = "listed";
    CHECK(((tarn_vulkan_hints(&found) & TARN_HINT_GLOBAL_PRIORITY) != 0) == (queues > 1));
}

static void every_combination_is_sound(void)
{
    for (uint32_t count = 0; count <= 3; count++) {
        int all = count == 0 ? 1 : count == 1 ? KINDS : count == 2 ? KINDS * KINDS : 216;
        for (int n = 0; n < 2 * all; n++) {
            int kinds[3] = {n / 2 % KINDS, n / 2 / KINDS % KINDS, n / 2 / KINDS / KINDS};
            check_choice(kinds, count, n % 2 == 1);
        }
    }
}

static void features_are_whole_or_not_there(void)
{
    for (uint32_t n = 0; n < 512; n++) {
        struct vulkan_feature_chain chain = {
            .base.features.shaderInt64 = n & 1,
            .types.shaderFloat16 = n >> 1 & 1,
            .types.shaderInt8 = n >> 2 & 1,
            .bytes.storageBuffer8BitAccess = n >> 3 & 1,
            .atomics.shaderBufferInt64Atomics = n >> 4 & 1,
        };
        VkPhysicalDeviceSubgroupProperties subgroups = {
            .supportedStages = n >> 5 & 1 ? VK_SHADER_STAGE_ALL : VK_SHADER_STAGE_FRAGMENT_BIT,
            .supportedOperations =
                VK_SUBGROUP_FEATURE_BASIC_BIT |
                (n >> 6 & 1 ? (VkSubgroupFeatureFlags)VK_SUBGROUP_FEATURE_VOTE_BIT : 0u) |
                (n >> 7 & 1 ? (VkSubgroupFeatureFlags)VK_SUBGROUP_FEATURE_SHUFFLE_BIT : 0u),
            .subgroupSize = n >> 8 & 1 ? 16 : 1,
        };
        uint32_t features = (n >> 1 & 1 ? TARN_FEATURE_FP16 : 0u) |
                            ((n >> 2 & 3) == 3 ? TARN_FEATURE_INT8 : 0u) |
                            ((n & 17) == 17 ? TARN_FEATURE_INT64_ATOMICS : 0u) |
                            (n >> 5 == 15 ? TARN_FEATURE_SUBGROUPS : 0u);
        CHECK_NUMBER(tarn_vulkan_features(&chain, &subgroups), features);
        struct vulkan_found found = {.known = 7, .features = features};
        tarn_vulkan_features_enable(&found, &chain); /* what is switched on is what was said */
        CHECK_NUMBER(tarn_vulkan_features(&chain, &subgroups), features);
    }
}

CHECK_MAIN(CASE(known_boards_get_what_suits_them), CASE(every_combination_is_sound),
           CASE(features_are_whole_or_not_there))
