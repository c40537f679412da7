/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers that are missing or fail. The loader reads its list of drivers once a process, so the
 * variable TARN_TEST_ICD says which list this process gets: "none", "dead" (a driver without
 * platforms) or "fake" (one that fails later, in one way after the other).
 */
#include "../check.h"

#include <dlfcn.h>
#include <unistd.h>

#include "gpu/opencl/opencl.h"

static struct tarn_device_info *listed;
static size_t listed_count;

/* The devices that are listed with the driver failing in this way, but for the simulated ones. */
static bool list_as(const char *mode)
{
    setenv("TARN_FAKE_ICD", mode, 1);
    tarn_devices_free(&listed);
    if (tarn_devices_list(&listed, &listed_count) != TARN_OK)
        return false;
    while (listed_count > 0 && listed[listed_count - 1].type == TARN_DEVICE_VIRTUAL)
        listed_count--;
    return true;
}

static tarn_status open_as(const char *mode, const char *id, tarn_device **device,
                           struct tarn_error *error)
{
    setenv("TARN_FAKE_ICD", mode, 1);
    memset(error, 0, sizeof *error);
    return tarn_device_open(&(struct tarn_device_params){.id = id}, device, error);
}

static void check_only_the_host(const char *mode)
{
    REQUIRE(list_as(mode));
    CHECK_NUMBER(listed_count, 1);
    CHECK(strcmp(listed[0].id, "host") == 0);
    tarn_device *device = NULL;
    struct tarn_error error;
    CHECK(open_as(mode, "opencl", &device, &error) == TARN_NO_DEVICE);
    CHECK(device == NULL && error.message[0] != '\0');
    CHECK(open_as(mode, "auto", &device, &error) == TARN_OK);
    CHECK(device != NULL && strcmp(tarn_device_get_info(device)->id, "host") == 0);
    tarn_device_close(&device);
}

static void without_drivers_there_is_the_host(void)
{
    check_only_the_host("");
}

static void a_driver_without_platforms_is_skipped(void)
{
    check_only_the_host("platforms");
}

static void platforms_without_usable_devices_are_skipped(void)
{
    check_only_the_host("devices");
    check_only_the_host("mute");
    check_only_the_host("old");
}

static void too_many_devices_are_cut(void)
{
    REQUIRE(list_as("absurd"));
    CHECK(listed_count > 1 && listed_count < 1000);
}

static void a_gpu_is_listed_first_and_opened(void)
{
    REQUIRE(list_as(""));
    REQUIRE(listed_count == 2);
    CHECK(strcmp(listed[0].id, "opencl:0") == 0 && strcmp(listed[0].name, "Fake GPU") == 0);
    CHECK(listed[0].type == TARN_DEVICE_GPU && !listed[0].unified_memory);
    CHECK(listed[0].queue_priority == TARN_QUEUE_PRIORITY_HINT);
    CHECK_NUMBER(listed[0].limits.local_memory, 1 << 20);
    tarn_device *device = NULL;
    struct tarn_error error;
    REQUIRE(open_as("", "auto", &device, &error) == TARN_OK);
    CHECK(strcmp(tarn_device_get_info(device)->id, "opencl:0") == 0);
    tarn_device_close(&device);
}

static void auto_passes_over_a_gpu_that_fails(void)
{
    tarn_device *device = NULL;
    struct tarn_error error;
    CHECK(open_as("context", "opencl:0", &device, &error) == TARN_NO_MEMORY);
    CHECK(device == NULL && strstr(error.message, "clCreateContext") != NULL);
    REQUIRE(open_as("context", "auto", &device, &error) == TARN_OK);
    CHECK(strcmp(tarn_device_get_info(device)->id, "host") == 0);
    tarn_device_close(&device);
}

static void hints_are_passed_and_done_without(void)
{
    void *module = dlopen(getenv("TARN_TEST_MODULE"), RTLD_NOW | RTLD_NOLOAD);
    REQUIRE(module != NULL);
    const cl_queue_properties *priority = dlsym(module, "fake_icd_priority");
    const cl_queue_properties *throttle = dlsym(module, "fake_icd_throttle");
    REQUIRE(priority != NULL && throttle != NULL);
    tarn_device *device = NULL;
    struct tarn_error error;
    REQUIRE(open_as("", "opencl", &device, &error) == TARN_OK);
    for (int refused = 0; refused < 2; refused++) {
        tarn_queue *high = NULL, *low = NULL;
        setenv("TARN_FAKE_ICD", refused ? "hints" : "", 1);
        CHECK(tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_HIGH}, &high) ==
              TARN_OK);
        CHECK_NUMBER(*priority, refused ? 0 : CL_QUEUE_PRIORITY_HIGH_KHR);
        CHECK_NUMBER(*throttle, 0);
        CHECK(tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_LOW}, &low) ==
              TARN_OK);
        CHECK_NUMBER(*priority, refused ? 0 : CL_QUEUE_PRIORITY_LOW_KHR);
        CHECK_NUMBER(*throttle, refused ? 0 : CL_QUEUE_THROTTLE_LOW_KHR);
        tarn_queue_destroy(&high);
        tarn_queue_destroy(&low);
    }
    tarn_device_close(&device);
    dlclose(module);
}

static void failures_become_statuses(void)
{
    tarn_device *device = NULL;
    tarn_buffer *buffer = NULL;
    struct tarn_error error;
    const struct tarn_buffer_params params = {.size = 64};
    REQUIRE(open_as("", "opencl", &device, &error) == TARN_OK);
    for (int i = 0; i < 20; i++) /* a shortage is no loss, however often it comes */
        CHECK(tarn_buffer_create(device, &params, &buffer) == TARN_DEVICE_MEMORY);
    setenv("TARN_FAKE_ICD", "buffers", 1);
    CHECK(tarn_buffer_create(device, &params, &buffer) == TARN_DEVICE_LOST);
    setenv("TARN_FAKE_ICD", "", 1);
    CHECK(tarn_device_is_lost(device));
    CHECK(tarn_buffer_create(device, &params, &buffer) == TARN_DEVICE_LOST);
    tarn_device_close(&device);

    REQUIRE(open_as("", "opencl", &device, &error) == TARN_OK);
    setenv("TARN_FAKE_ICD", "exhausted", 1);
    CHECK(tarn_buffer_create(device, &params, &buffer) == TARN_DEVICE_MEMORY);
    CHECK(!tarn_device_is_lost(device));
    int tries = 1;
    while (tries < 100 && tarn_buffer_create(device, &params, &buffer) == TARN_DEVICE_MEMORY)
        tries++;
    CHECK(tries > 1 && tries < 10 && tarn_device_is_lost(device));
    tarn_device_close(&device);
}

static void codes_have_names(void)
{
    CHECK(tarn_opencl_status(CL_SUCCESS) == TARN_OK);
    CHECK(tarn_opencl_status(-9999) == TARN_DEVICE_LOST);
    CHECK(tarn_opencl_status(CL_INVALID_COMMAND_QUEUE) == TARN_DEVICE_LOST);
    CHECK(tarn_opencl_status(CL_OUT_OF_RESOURCES) == TARN_DEVICE_MEMORY);
    CHECK(tarn_opencl_status(CL_OUT_OF_HOST_MEMORY) == TARN_NO_MEMORY);
    CHECK(tarn_opencl_status(-1001) == TARN_NO_DEVICE);
    CHECK(tarn_opencl_status(-12345) == TARN_DRIVER);
    CHECK(strcmp(tarn_opencl_name(CL_INVALID_VALUE), "CL_INVALID_VALUE") == 0);
    CHECK(strcmp(tarn_opencl_name(-12345), "code -12345") == 0);
}

/* A folder with one driver's entry, or none, as the loader's list. */
static bool make_list(char *folder, const char *module)
{
    if (mkdtemp(folder) == NULL)
        return false;
    setenv("OCL_ICD_VENDORS", folder, 1);
    if (module != NULL) {
        char path[256];
        snprintf(path, sizeof path, "%s/fake.icd", folder);
        /* emulated on a 64-bit kernel, a 32-bit loader can't read folders (EOVERFLOW): name the file */
        if (sizeof(void *) == 4)
            setenv("OCL_ICD_VENDORS", path, 1);
        FILE *file = fopen(path, "w");
        if (file == NULL)
            return false;
        fprintf(file, "%s\n", module);
        if (fclose(file) != 0)
            return false;
    }
    unsetenv("OCL_ICD_FILENAMES");
    return true;
}

static void remove_list(const char *folder)
{
    char path[256];
    snprintf(path, sizeof path, "%s/fake.icd", folder);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    static const struct check_case none[] = {CASE(without_drivers_there_is_the_host),
                                             CASE(codes_have_names)};
    static const struct check_case dead[] = {CASE(a_driver_without_platforms_is_skipped)};
    static const struct check_case fake[] = {
        CASE(platforms_without_usable_devices_are_skipped),
        CASE(too_many_devices_are_cut),
        CASE(a_gpu_is_listed_first_and_opened),
        CASE(auto_passes_over_a_gpu_that_fails),
        CASE(hints_are_passed_and_done_without),
        CASE(failures_become_statuses),
    };
    const char *list = getenv("TARN_TEST_ICD"), *module = getenv("TARN_TEST_MODULE");
    char folder[] = "/tmp/tarn-icd-XXXXXX";
    if (list == NULL || module == NULL ||
        !make_list(folder, strcmp(list, "none") == 0 ? NULL : module)) {
        puts("Bail out! run it through meson test");
        return 1;
    }
    int result;
    if (strcmp(list, "none") == 0)
        result = check_run(none, sizeof none / sizeof none[0]);
    else if (strcmp(list, "dead") == 0)
        result = check_run(dead, sizeof dead / sizeof dead[0]);
    else
        result = check_run(fake, sizeof fake / sizeof fake[0]);
    tarn_devices_free(&listed);
    remove_list(folder);
    return result;
}
