/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drivers that are missing or fail. The loader reads its list of drivers once a process, so the
 * variable TARN_TEST_ICD says which list this process gets: "none", "dead" (a driver without
 * platforms) or "fake" (one that fails later, in one way after the other).
 */
#include "../check.h"

#include <dlfcn.h>
#include <unistd.h>

#include <tarn/log.h>

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

/* ---- hints ---- */

#define QCOM_PERF     0x40C2
#define QCOM_PRIORITY 0x40C9
#define NORMAL_PERF   0x40C4
#define NORMAL        0x40CB

/* What the driver recorded; see fake_icd.c. */
static struct {
    void *module;
    const cl_context_properties *context;
    const cl_queue_properties *queue;
    const int *contexts, *queues, *live;
} record;

static bool open_record(void)
{
    if (record.module != NULL)
        return true;
    record.module = dlopen(getenv("TARN_TEST_MODULE"), RTLD_NOW | RTLD_NOLOAD);
    if (record.module == NULL)
        return false;
    record.context = dlsym(record.module, "fake_icd_context");
    record.queue = dlsym(record.module, "fake_icd_queue");
    record.contexts = dlsym(record.module, "fake_icd_contexts");
    record.queues = dlsym(record.module, "fake_icd_queues");
    record.live = dlsym(record.module, "fake_icd_live");
    return record.context != NULL && record.queue != NULL && record.contexts != NULL &&
           record.queues != NULL && record.live != NULL;
}

/* The value asked for, or -1. */
static long asked(cl_queue_properties property)
{
    for (int i = 0; record.queue[i] != 0; i += 2)
        if (record.queue[i] == property)
            return (long)record.queue[i + 1];
    return -1;
}

static long asked_of_context(cl_context_properties property)
{
    for (int i = 0; record.context[i] != 0; i += 2)
        if (record.context[i] == property)
            return (long)record.context[i + 1];
    return -1;
}

static int properties_asked(void)
{
    int count = 0;
    while (record.queue[2 * count] != 0)
        count++;
    return count;
}

/* The device with these extensions, which refuses these properties; "none" of either. */
static tarn_device *open_hinted(const char *lists, const char *refuses)
{
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    setenv("TARN_FAKE_LISTS", lists, 1);
    setenv("TARN_FAKE_REFUSES", refuses, 1);
    if (open_as("", "opencl", &device, &error) != TARN_OK)
        printf("# %s\n", error.message);
    return device;
}

static bool has_hints(const struct tarn_device_info *info, const char *wanted)
{
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; tarn_device_hint(info, i) != NULL; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? " " : "",
                                 tarn_device_hint(info, i));
    if (strcmp(names, wanted) != 0)
        printf("# \"%s\", wanted \"%s\"\n", names, wanted);
    return strcmp(names, wanted) == 0;
}

/* Makes a queue, so that it is recorded, and lets it go. */
static void make_queue(tarn_device *device, tarn_priority priority)
{
    tarn_queue *queue = NULL;
    CHECK(tarn_queue_create(device, &(struct tarn_queue_params){priority}, &queue) == TARN_OK);
    CHECK_NUMBER(asked(CL_QUEUE_PROPERTIES), CL_QUEUE_PROFILING_ENABLE);
    tarn_queue_destroy(&queue);
}

static const struct {
    const char *lists, *hints;
    bool priority, throttle, batching, slots, families, perf, context;
} combinations[] = {
    {"cl_khr_icd", ""},
    {"cl_khr_priority_hints", "khr_priority", .priority = true},
    {"cl_khr_throttle_hints", "khr_throttle", .throttle = true},
    {"cl_khr_throttle_hints cl_khr_icd cl_khr_priority_hints", "khr_priority khr_throttle",
     .priority = true, .throttle = true},
    {"cl_khr_priority_hints_of_mine my_cl_khr_throttle_hints cl_qcom_perf", ""},
    {"cl_qcom_perf_hint", "qcom_perf", .perf = true},
    {"cl_qcom_priority_hint cl_qcom_perf_hint cl_khr_priority_hints",
     "khr_priority qcom_priority qcom_perf", .priority = true, .perf = true, .context = true},
    {"cl_arm_scheduling_controls", "arm_batching arm_flush", .batching = true},
    {"cl_arm_job_slot_selection cl_arm_scheduling_controls", "arm_batching arm_flush arm_job_slots",
     .batching = true, .slots = true},
    {"cl_intel_command_queue_families cl_khr_priority_hints cl_khr_throttle_hints",
     "khr_priority khr_throttle intel_families", .priority = true, .throttle = true,
     .families = true},
};

static void hints_go_where_they_are_listed(void)
{
    REQUIRE(open_record());
    for (size_t i = 0; i < sizeof combinations / sizeof combinations[0]; i++) {
        tarn_device *device = open_hinted(combinations[i].lists, "");
        REQUIRE(device != NULL);
        const struct tarn_device_info *info = tarn_device_get_info(device);
        CHECK(has_hints(info, combinations[i].hints));
        CHECK((info->queue_priority == TARN_QUEUE_PRIORITY_HINT) ==
              (combinations[i].priority || combinations[i].slots || combinations[i].families));
        CHECK_NUMBER(asked_of_context(QCOM_PERF), combinations[i].perf ? NORMAL_PERF : -1);
        CHECK_NUMBER(asked_of_context(QCOM_PRIORITY), combinations[i].context ? NORMAL : -1);
        for (int low = 0; low < 2; low++) {
            make_queue(device, low ? TARN_PRIORITY_LOW : TARN_PRIORITY_HIGH);
            long priority = low ? CL_QUEUE_PRIORITY_LOW_KHR : CL_QUEUE_PRIORITY_HIGH_KHR;
            bool throttle = low && combinations[i].throttle;
            bool flush = !low && combinations[i].batching;
            CHECK_NUMBER(asked(CL_QUEUE_PRIORITY_KHR), combinations[i].priority ? priority : -1);
            CHECK_NUMBER(asked(CL_QUEUE_THROTTLE_KHR), throttle ? CL_QUEUE_THROTTLE_LOW_KHR : -1);
            CHECK_NUMBER(asked(CL_QUEUE_KERNEL_BATCHING_ARM), combinations[i].batching ? 0 : -1);
            CHECK_NUMBER(asked(CL_QUEUE_DEFERRED_FLUSH_ARM), flush ? 0 : -1);
            CHECK_NUMBER(asked(CL_QUEUE_JOB_SLOT_ARM), combinations[i].slots ? 1 + low : -1);
            CHECK_NUMBER(asked(CL_QUEUE_FAMILY_INTEL), combinations[i].families ? 2 : -1);
            CHECK_NUMBER(asked(CL_QUEUE_INDEX_INTEL), combinations[i].families ? low : -1);
            CHECK_NUMBER(properties_asked(),
                         1 + combinations[i].priority + throttle + combinations[i].batching +
                             flush + combinations[i].slots + 2 * combinations[i].families);
        }
        tarn_device_close(&device);
        CHECK_NUMBER(*record.live, 0);
    }
}

static void a_driver_without_hints_is_not_asked_twice(void)
{
    REQUIRE(open_record());
    int contexts = *record.contexts, queues = *record.queues;
    tarn_device *device = open_hinted("cl_khr_icd", "");
    REQUIRE(device != NULL);
    CHECK_NUMBER(*record.contexts, contexts + 1);
    CHECK_NUMBER(*record.queues, queues);
    tarn_device_close(&device);
}

static int warnings;

static void count_warnings(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    if (level == TARN_LOG_WARNING && strstr(message, "hints") != NULL)
        warnings++;
}

#define ALL_LISTED                                                                                 \
    "cl_khr_priority_hints cl_khr_throttle_hints cl_qcom_perf_hint cl_qcom_priority_hint "         \
    "cl_arm_scheduling_controls cl_arm_job_slot_selection"

static void what_is_refused_is_done_without(void)
{
    static const struct {
        const char *refuses, *hints;
        int warnings;
    } cases[] = {
        {"",
         "khr_priority khr_throttle qcom_priority qcom_perf arm_batching arm_flush "
         "arm_job_slots",
         0},
        {"1097", "khr_priority qcom_priority qcom_perf arm_batching arm_flush arm_job_slots", 1},
        {"1096 41e1", "khr_throttle qcom_priority qcom_perf arm_batching arm_flush", 1},
        {"40c2", "khr_priority khr_throttle qcom_priority arm_batching arm_flush arm_job_slots", 1},
        {"40c9", "khr_priority khr_throttle qcom_perf arm_batching arm_flush arm_job_slots", 1},
        {"40c9 40c2 1096 1097 41e1 41e7 41ec", "", 2},
    };
    REQUIRE(open_record());
    tarn_log_set(count_warnings, NULL, TARN_LOG_WARNING);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        warnings = 0;
        tarn_device *device = open_hinted(ALL_LISTED, cases[i].refuses);
        REQUIRE(device != NULL);
        const struct tarn_device_info *info = tarn_device_get_info(device);
        CHECK(has_hints(info, cases[i].hints));
        CHECK((info->queue_priority == TARN_QUEUE_PRIORITY_HINT) ==
              (strstr(cases[i].hints, "khr_priority") != NULL ||
               strstr(cases[i].hints, "arm_job_slots") != NULL));
        for (int k = 0; k < 3; k++) { /* nothing that is refused is asked for again */
            int queues = *record.queues;
            make_queue(device, TARN_PRIORITY_LOW);
            make_queue(device, TARN_PRIORITY_HIGH);
            CHECK_NUMBER(*record.queues, queues + 2);
        }
        CHECK_NUMBER(warnings, cases[i].warnings);
        tarn_device_close(&device);
        CHECK_NUMBER(*record.live, 0);
    }
    tarn_log_set(NULL, NULL, TARN_LOG_WARNING);
}

static void a_driver_may_change_its_mind(void)
{
    REQUIRE(open_record());
    tarn_log_set(count_warnings, NULL, TARN_LOG_WARNING);
    warnings = 0;
    tarn_device *device = open_hinted("cl_khr_priority_hints", "");
    REQUIRE(device != NULL);
    setenv("TARN_FAKE_REFUSES", "1096", 1);
    for (int i = 0; i < 3; i++) {
        make_queue(device, TARN_PRIORITY_LOW);
        CHECK_NUMBER(asked(CL_QUEUE_PRIORITY_KHR), -1);
    }
    CHECK_NUMBER(warnings, 1);
    tarn_device_close(&device);
    tarn_log_set(NULL, NULL, TARN_LOG_WARNING);
    unsetenv("TARN_FAKE_LISTS");
    unsetenv("TARN_FAKE_REFUSES");
}

static void an_old_driver_is_only_asked_for_what_it_can_take(void)
{
    /* properties of queues came with 2.0, those of contexts were always there */
    struct opencl_hints hints;
    uint32_t two[2];
    cl_platform_id platform;
    cl_device_id id;
    setenv("TARN_FAKE_ICD", "", 1);
    setenv("TARN_FAKE_LISTS", ALL_LISTED, 1);
    REQUIRE(clGetPlatformIDs(1, &platform, NULL) == CL_SUCCESS);
    REQUIRE(clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &id, NULL) == CL_SUCCESS);
    tarn_opencl_hints_find(id, false, &hints);
    CHECK_NUMBER(hints.listed, TARN_HINT_QCOM_PERF | TARN_HINT_QCOM_PRIORITY);
    CHECK(tarn_opencl_hints_kind(hints.listed) == TARN_QUEUE_PRIORITY_NONE);
    unsetenv("TARN_FAKE_LISTS");

    CHECK(!tarn_opencl_choose_slots(0, two) && !tarn_opencl_choose_slots(4, two));
    CHECK(tarn_opencl_choose_slots(0x80000001u, two) && two[0] == 0 && two[1] == 31);
    cl_queue_family_properties_intel families[3] = {{.count = 1}, {.count = 0}, {.count = 1}};
    uint32_t family[2], index[2];
    CHECK(!tarn_opencl_choose_families(families, 0, family, index));
    CHECK(!tarn_opencl_choose_families(families, 1, family, index));
    CHECK(!tarn_opencl_choose_families(families, 2, family, index));
    CHECK(tarn_opencl_choose_families(families, 3, family, index));
    CHECK(family[0] == 0 && family[1] == 2 && index[0] == 0 && index[1] == 0);
    families[1].count = 2;
    CHECK(tarn_opencl_choose_families(families, 3, family, index));
    CHECK(family[0] == 1 && family[1] == 1 && index[0] == 0 && index[1] == 1);
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
        CASE(hints_go_where_they_are_listed),
        CASE(a_driver_without_hints_is_not_asked_twice),
        CASE(what_is_refused_is_done_without),
        CASE(a_driver_may_change_its_mind),
        CASE(an_old_driver_is_only_asked_for_what_it_can_take),
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
