/* SPDX-License-Identifier: Apache-2.0 */
/* The host in the place of lesser devices: it refuses what they would refuse. */
#include "bench.h"

#include "gpu/virtual/profile.h"

static const struct tarn_device_limits small = {
    .memory = 1 << 20,
    .buffer = 1 << 19,
    .local_memory = 16384,
    .group_size = 256,
    .compute_units = 3,
    .features = TARN_FEATURE_INT8,
};

static tarn_device *open_host(const struct tarn_device_limits *limits)
{
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    if (tarn_device_open(&(struct tarn_device_params){.id = "host", .limits = limits}, &device,
                         &error) != TARN_OK)
        printf("# %s\n", error.message);
    return device;
}

/* Whether the kernel is built; a refusal has to name `word`. */
static bool builds(tarn_device *device, struct tarn_kernel_source source, const char *word)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error = {0};
    tarn_status status =
        tarn_kernel_create(device, &(struct tarn_kernel_params){&source, NULL}, &kernel, &error);
    CHECK(status == TARN_OK || status == TARN_UNSUPPORTED);
    CHECK(status == TARN_OK || strstr(error.message, word) != NULL);
    tarn_kernel_destroy(&kernel);
    return status == TARN_OK;
}

static void kernels_are_refused_by_their_needs(void)
{
    tarn_device *limited = open_host(&small), *free_host = open_host(NULL);
    REQUIRE(limited != NULL && free_host != NULL);
    struct tarn_kernel_source source = append_source;
    CHECK(builds(limited, source, ""));
    source.gpu_local_size = 256;
    source.gpu_local_memory = 16384;
    source.features = TARN_FEATURE_INT8;
    CHECK(builds(limited, source, ""));
    source.gpu_local_size = 512;
    CHECK(!builds(limited, source, "groups of 512") && builds(free_host, source, ""));
    source.gpu_local_size = 64;
    source.gpu_local_memory = 16385;
    CHECK(!builds(limited, source, "local memory") && builds(free_host, source, ""));
    source.gpu_local_memory = 0;
    static const char *const words[] = {"fp16", "int8", "64-bit", "subgroups"};
    for (uint32_t i = 0; i < 4; i++) {
        source.features = 1u << i;
        CHECK(builds(limited, source, words[i]) == (1u << i == TARN_FEATURE_INT8));
        CHECK(builds(free_host, source, ""));
    }
    tarn_device_close(&limited);
    tarn_device_close(&free_host);
}

static void memory_is_limited(void)
{
    tarn_device *device = open_host(&small);
    REQUIRE(device != NULL);
    tarn_buffer *buffers[3] = {0};
    struct tarn_buffer_params params = {.size = (1 << 19) + 1};
    CHECK(tarn_buffer_create(device, &params, &buffers[0]) == TARN_TOO_LARGE);
    params.size = 1 << 19;
    CHECK(tarn_buffer_create(device, &params, &buffers[0]) == TARN_OK);
    CHECK(tarn_buffer_create(device, &params, &buffers[1]) == TARN_OK);
    params.size = 1;
    CHECK(tarn_buffer_create(device, &params, &buffers[2]) == TARN_DEVICE_MEMORY);
    tarn_buffer_destroy(&buffers[0]);
    CHECK(tarn_buffer_create(device, &params, &buffers[2]) == TARN_OK);
    tarn_buffer_destroy(&buffers[1]);
    tarn_buffer_destroy(&buffers[2]);
    tarn_device_close(&device);
}

static void what_is_set_is_shown(void)
{
    tarn_device *device = open_host(&small);
    REQUIRE(device != NULL);
    const struct tarn_device_info *info = tarn_device_get_info(device);
    CHECK(memcmp(&info->limits, &small, sizeof small) == 0);
    CHECK(strstr(info->driver, "limits of the caller") != NULL);
    tarn_device_close(&device);
    struct tarn_device_limits one = {.group_size = 8, .features = TARN_FEATURE_ALL};
    tarn_device *free_host = open_host(NULL);
    device = open_host(&one); /* the others stay the host's */
    REQUIRE(device != NULL && free_host != NULL);
    info = tarn_device_get_info(device);
    CHECK_NUMBER(info->limits.group_size, 8);
    CHECK(info->limits.buffer == tarn_device_get_info(free_host)->limits.buffer);
    struct tarn_kernel_source source = append_source;
    source.gpu_local_memory = 1 << 30;
    CHECK(builds(device, source, ""));
    tarn_device_close(&device);
    tarn_device_close(&free_host);
}

static void only_the_host_takes_limits(void)
{
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    CHECK(tarn_device_open(&(struct tarn_device_params){"virtual:mali", &small}, &device, &error) ==
          TARN_INVALID);
    CHECK(device == NULL && strstr(error.message, "virtual:mali") != NULL);
}

static void the_option_names_a_board(void)
{
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    struct tarn_virtual_profile profile;
    setenv("TARN_HOST_LIMITS", "videocore", 1);
    device = open_host(NULL);
    REQUIRE(device != NULL);
    REQUIRE(tarn_virtual_profile_load("videocore", &profile, &error) == TARN_OK);
    const struct tarn_device_info *info = tarn_device_get_info(device);
    CHECK_NUMBER(info->limits.local_memory, 16384);
    CHECK_NUMBER(info->limits.group_size, 256);
    CHECK_NUMBER(info->limits.features, 0);
    CHECK(info->limits.buffer <= profile.limits.buffer);
    CHECK(strstr(info->driver, "videocore") != NULL);
    tarn_device_close(&device);
    device = open_host(&small); /* said in the call: it wins */
    REQUIRE(device != NULL);
    CHECK_NUMBER(tarn_device_get_info(device)->limits.compute_units, 3);
    tarn_device_close(&device);
    CHECK(tarn_device_open(&(struct tarn_device_params){.id = "virtual:jetson"}, &device, &error) ==
          TARN_OK); /* means the host only */
    CHECK_NUMBER(tarn_device_get_info(device)->limits.group_size, 1024);
    tarn_device_close(&device);
    setenv("TARN_HOST_LIMITS", "toaster", 1);
    CHECK(tarn_device_open(&(struct tarn_device_params){.id = "host"}, &device, &error) ==
          TARN_INVALID);
    CHECK(device == NULL && strstr(error.message, "toaster") != NULL);
    setenv("TARN_HOST_LIMITS", "none", 1);
    device = open_host(NULL);
    REQUIRE(device != NULL);
    CHECK(tarn_device_get_info(device)->limits.features == TARN_FEATURE_ALL);
    tarn_device_close(&device);
    unsetenv("TARN_HOST_LIMITS");
}

CHECK_MAIN(CASE(kernels_are_refused_by_their_needs), CASE(memory_is_limited),
           CASE(what_is_set_is_shown), CASE(only_the_host_takes_limits),
           CASE(the_option_names_a_board))
