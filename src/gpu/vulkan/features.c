/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels may use beyond the baseline, and how it is switched on. All of it came as extensions
 * and is core in 1.2; subgroups have been core since 1.1, but no operation of theirs is sure.
 */
#include "vulkan.h"

static void link_chain(struct vulkan_feature_chain *chain, const struct vulkan_found *found)
{
    *chain = (struct vulkan_feature_chain){
        .base = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2},
        .types = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES},
        .bytes = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES},
        .atomics = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_ATOMIC_INT64_FEATURES},
    };
    void **end = &chain->base.pNext;
    if (found->known & VULKAN_KNOWS_TYPES) {
        *end = &chain->types;
        end = &chain->types.pNext;
    }
    if (found->known & VULKAN_KNOWS_BYTES) {
        *end = &chain->bytes;
        end = &chain->bytes.pNext;
    }
    if (found->known & VULKAN_KNOWS_ATOMICS)
        *end = &chain->atomics;
}

uint32_t tarn_vulkan_features(const struct vulkan_feature_chain *chain,
                              const VkPhysicalDeviceSubgroupProperties *subgroups)
{
    const VkSubgroupFeatureFlags wanted =
        VK_SUBGROUP_FEATURE_VOTE_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    uint32_t features = 0;
    if (chain->types.shaderFloat16)
        features |= TARN_FEATURE_FP16;
    if (chain->types.shaderInt8 && chain->bytes.storageBuffer8BitAccess)
        features |= TARN_FEATURE_INT8;
    if (chain->atomics.shaderBufferInt64Atomics && chain->base.features.shaderInt64)
        features |= TARN_FEATURE_INT64_ATOMICS;
    if ((subgroups->supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0 &&
        (subgroups->supportedOperations & wanted) == wanted && subgroups->subgroupSize > 1)
        features |= TARN_FEATURE_SUBGROUPS;
    return features;
}

void tarn_vulkan_features_find(struct vulkan_found *found)
{
    struct vulkan_feature_chain chain;
    VkPhysicalDeviceSubgroupProperties subgroups = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &subgroups};
    link_chain(&chain, found);
    vkGetPhysicalDeviceFeatures2(found->physical, &chain.base);
    vkGetPhysicalDeviceProperties2(found->physical, &properties);
    found->features = tarn_vulkan_features(&chain, &subgroups);
}

void tarn_vulkan_features_enable(const struct vulkan_found *found,
                                 struct vulkan_feature_chain *chain)
{
    link_chain(chain, found);
    chain->types.shaderFloat16 = (found->features & TARN_FEATURE_FP16) != 0;
    chain->types.shaderInt8 = (found->features & TARN_FEATURE_INT8) != 0;
    chain->bytes.storageBuffer8BitAccess = chain->types.shaderInt8;
    chain->atomics.shaderBufferInt64Atomics = (found->features & TARN_FEATURE_INT64_ATOMICS) != 0;
    chain->base.features.shaderInt64 = chain->atomics.shaderBufferInt64Atomics;
}
