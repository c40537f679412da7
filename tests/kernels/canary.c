/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels that are wrong, hang or kill the process, on a device that is the host's in disguise: they
 * are found out, remembered and left to the host, and nobody waits for them.
 */
#include "../check.h"

#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tarn/log.h>

#include "base/clock.h"
#include "gpu/backend.h"
#include "gpu/quarantine.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"

static char root[64];
static int runs;
static sem_t hung, freed;
static struct tarn_kernel_source plain, wrong, hanging, deadly, slow;
static const struct tarn_canary_limits short_limits = {.build_ms = 150, .check_ms = 150};
static const struct tarn_canary_limits *limits; /* NULL but for what hangs: machines may be slow */

static void run_plain(const struct tarn_host_launch *launch)
{
    runs++;
    tarn_lookup_source.host(launch);
}

static void run_wrong(const struct tarn_host_launch *launch)
{
    const struct tarn_lookup_constants *c = launch->constants;
    tarn_lookup_source.host(launch);
    ((uint32_t *)launch->buffers[2])[c->count - 1] ^= 1; /* one bit, in the last slot */
}

static void run_hanging(const struct tarn_host_launch *launch)
{
    (void)launch;
    sem_wait(&hung);
    sem_post(&freed);
}

static void run_deadly(const struct tarn_host_launch *launch)
{
    (void)launch;
    _exit(7);
}

static tarn_status open_as_gpu(uint32_t index, tarn_device **device, struct tarn_error *error)
{
    tarn_status status = tarn_backend_host.open(index, device, error);
    if (status == TARN_OK) {
        struct tarn_device_info *info = &(*device)->info;
        info->type = TARN_DEVICE_GPU;
        snprintf(info->id, sizeof info->id, "gpu:0");
        snprintf(info->name, sizeof info->name, "A GPU");
        snprintf(info->driver, sizeof info->driver, "1.0");
    }
    return status;
}

static tarn_status build_slowly(tarn_kernel *kernel, struct tarn_error *error)
{
    /* a trial has a copy of the source */
    if (kernel->source->opencl_gpu != slow.opencl_gpu)
        return tarn_backend_host.kernel_build(kernel, error);
    sem_wait(&hung);
    tarn_status status = tarn_backend_host.kernel_build(kernel, error);
    sem_post(&freed);
    return status;
}

static struct tarn_backend table;

static void setup_table(void)
{
    table = tarn_backend_host;
    table.open = open_as_gpu;
    table.kernel_build = build_slowly;
    plain = wrong = hanging = deadly = slow = tarn_lookup_source;
    plain.host = run_plain;
    wrong.host = run_wrong;
    wrong.opencl_gpu = "wrong"; /* another code */
    hanging.host = run_hanging;
    hanging.opencl_gpu = "hanging";
    deadly.host = run_deadly;
    deadly.opencl_gpu = "deadly";
    slow.opencl_gpu = "slow";
}

static tarn_device *open_gpu(const char *below)
{
    char dir[128];
    tarn_device *device = NULL;
    snprintf(dir, sizeof dir, "%s/%s", root, below);
    if (tarn_backend_open(&table, 0, &device, NULL) == TARN_OK)
        tarn_program_cache_create(&(struct tarn_program_cache_params){.dir = dir},
                                  &device->programs);
    return device;
}

static tarn_status make(tarn_device *device, const struct tarn_kernel_source *source,
                        tarn_kernel **kernel, struct tarn_error *error)
{
    memset(error, 0, sizeof *error);
    return tarn_canary_create(device, &(struct tarn_kernel_params){.source = source}, limits,
                              kernel, error);
}

/* What `tarn devices` would show. */
static bool shown(tarn_device *device, const char *below, size_t n, const char *part)
{
    char dir[128], text[300];
    snprintf(dir, sizeof dir, "%s/%s", root, below);
    return tarn_device_quarantined(tarn_device_get_info(device), dir, n, text, sizeof text) &&
           strstr(text, part) != NULL;
}

static void a_right_kernel_is_checked_once(void)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error;
    for (int start = 0; start < 3; start++) {
        tarn_device *device = open_gpu("right");
        REQUIRE(device != NULL);
        runs = 0;
        if (start == 2)
            setenv("TARN_CANARY", "always", 1);
        CHECK(make(device, &plain, &kernel, &error) == TARN_OK && kernel != NULL);
        CHECK((runs > 0) == (start != 1));
        CHECK(!shown(device, "right", 0, ""));
        tarn_kernel_destroy(&kernel);
        CHECK_NUMBER(atomic_load(&device->children), 0);
        tarn_device_close(&device);
    }
    setenv("TARN_CANARY", "off", 1);
    tarn_device *device = open_gpu("never");
    runs = 0;
    CHECK(make(device, &plain, &kernel, &error) == TARN_OK);
    CHECK_NUMBER(runs, 0);
    tarn_kernel_destroy(&kernel);
    unsetenv("TARN_CANARY");
    /* a quirk wants it at each start */
    for (uint32_t bit = 0; bit < 32; bit++)
        if (tarn_quirks_flags(UINT32_C(1) << bit) & TARN_QUIRK_RECHECK)
            device->info.quirks = UINT32_C(1) << bit;
    for (int start = 0; start < 2; start++) {
        runs = 0;
        CHECK(make(device, &plain, &kernel, &error) == TARN_OK);
        CHECK(runs > 0);
        tarn_kernel_destroy(&kernel);
    }
    device->info.type = TARN_DEVICE_HOST; /* the reference itself */
    runs = 0;
    CHECK(make(device, &plain, &kernel, &error) == TARN_OK);
    CHECK_NUMBER(runs, 0);
    tarn_kernel_destroy(&kernel);
    CHECK(make(device, NULL, &kernel, &error) == TARN_INVALID);
    tarn_device_close(&device);
}

static void a_wrong_kernel_is_quarantined_and_remembered(void)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error;
    for (int start = 0; start < 2; start++) {
        tarn_device *device = open_gpu("wrong");
        REQUIRE(device != NULL);
        CHECK(make(device, &wrong, &kernel, &error) == TARN_QUARANTINED);
        CHECK(kernel == NULL && strstr(error.message, "differ from the host") != NULL);
        CHECK(shown(device, "wrong", 0, "lookup: its answers differ") &&
              !shown(device, "wrong", 1, ""));
        CHECK(!tarn_device_is_lost(device)); /* the others go on */
        CHECK(make(device, &plain, &kernel, &error) == TARN_OK);
        tarn_kernel_destroy(&kernel);
        CHECK(!shown(device, "wrong", 0, "")); /* another version's code is in use now */
        CHECK_NUMBER(atomic_load(&device->children), 0);
        if (start == 1) {
            /* a new driver gets a new chance */
            snprintf(device->info.driver, sizeof device->info.driver, "1.1");
            wrong.host = run_plain;
            CHECK(make(device, &wrong, &kernel, &error) == TARN_OK);
            wrong.host = run_wrong;
            tarn_kernel_destroy(&kernel);
        }
        tarn_device_close(&device);
    }
    /* without a place to remember it is found anew */
    tarn_device *device = open_gpu("nowhere");
    tarn_program_cache_destroy(&device->programs);
    for (int i = 0; i < 2; i++)
        CHECK(make(device, &wrong, &kernel, &error) == TARN_QUARANTINED);
    tarn_device_close(&device);
}

static void check_hang(const char *below, const struct tarn_kernel_source *source,
                       const char *reason)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error;
    tarn_device *device = open_gpu(below), *kept = device;
    REQUIRE(device != NULL);
    uint64_t started = tarn_clock_ns();
    limits = &short_limits;
    CHECK(make(device, source, &kernel, &error) == TARN_TIMEOUT);
    limits = NULL;
    uint64_t waited = tarn_clock_ns() - started;
    CHECK(waited > 100000000u && waited < 5000000000u);
    CHECK(kernel == NULL && strstr(error.message, reason) != NULL);
    CHECK(tarn_device_is_lost(device) && atomic_load(&device->abandoned));
    CHECK(shown(device, below, 0, reason));
    /* what was made before may be destroyed, and nobody waits */
    started = tarn_clock_ns();
    tarn_buffer *buffer = NULL;
    CHECK(tarn_buffer_create(device, &(struct tarn_buffer_params){.size = 64}, &buffer) ==
          TARN_DEVICE_LOST);
    tarn_device *again = open_gpu(below);
    CHECK(make(again, source, &kernel, &error) == TARN_QUARANTINED);
    CHECK(make(again, &plain, &kernel, &error) == TARN_OK);
    tarn_kernel_destroy(&kernel);
    tarn_device_close(&again);
    CHECK(tarn_clock_ns() - started < 2000000000u);
    /* it ends after all: it finds what it needs, on a device that is still there */
    sem_post(&hung);
    sem_wait(&freed);
    for (int i = 0; i < 500 && atomic_load(&kept->children) > 0; i++)
        usleep(10000);
    tarn_device_close(&device);
    CHECK(device == NULL);
}

static void a_hanging_kernel_is_left_behind(void)
{
    check_hang("hanging", &hanging, "it doesn't end");
}

static void a_hanging_compiler_is_left_behind(void)
{
    check_hang("slow", &slow, "compilation doesn't end");
}

static void what_killed_two_processes_is_not_tried_again(void)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error;
    for (int start = 0; start < 2; start++) {
        tarn_device *device = open_gpu("deadly");
        REQUIRE(device != NULL);
        char why[TARN_QUARANTINE_TEXT];
        CHECK(tarn_quarantine_get(device, "lookup", 1, why) == TARN_VERDICT_NONE);
        CHECK(!shown(device, "deadly", 0, ""));
        tarn_device_close(&device);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            device = open_gpu("deadly");
            make(device, &deadly, &kernel, &error);
            _exit(0);
        }
        int status = 0;
        REQUIRE(child > 0 && waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    }
    tarn_device *device = open_gpu("deadly");
    CHECK(make(device, &deadly, &kernel, &error) == TARN_QUARANTINED);
    CHECK(strstr(error.message, "died") != NULL && shown(device, "deadly", 0, "lookup: 2 proc"));
    CHECK(make(device, &plain, &kernel, &error) == TARN_OK);
    tarn_kernel_destroy(&kernel);
    tarn_device_close(&device);
}

static void a_person_can_force_it(void)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error;
    tarn_device *device = open_gpu("forced");
    setenv("TARN_QUARANTINE", "opencl:0/lookup,gpu:0/train", 1);
    CHECK(make(device, &plain, &kernel, &error) == TARN_OK);
    tarn_kernel_destroy(&kernel);
    CHECK(shown(device, "forced", 0, "train: TARN_QUARANTINE") && !shown(device, "forced", 1, ""));
    static const char *const lists[] = {"gpu:0/lookup", "x/y,gpu:0/*", "*/lookup",
                                        "/,,gpu:0/lookup"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        setenv("TARN_QUARANTINE", lists[i], 1);
        CHECK(make(device, &plain, &kernel, &error) == TARN_QUARANTINED && kernel == NULL);
    }
    setenv("TARN_QUARANTINE", "gpu:0/look", 1);
    CHECK(make(device, &plain, &kernel, &error) == TARN_OK);
    tarn_kernel_destroy(&kernel);
    unsetenv("TARN_QUARANTINE");
    tarn_device_close(&device);
}

static void many_verdicts_fit_and_survive(void)
{
    tarn_device *device = open_gpu("many");
    char why[TARN_QUARANTINE_TEXT];
    for (uint64_t i = 1; i <= 200; i++)
        tarn_quarantine_set(device, "train", i, TARN_VERDICT_BAD, "two\nlines, 100 % wrong");
    CHECK(tarn_quarantine_get(device, "train", 200, why) == TARN_VERDICT_BAD);
    CHECK(strcmp(why, "two lines, 100 % wrong") == 0);
    CHECK(tarn_quarantine_get(device, "train", 150, why) == TARN_VERDICT_BAD);
    CHECK(tarn_quarantine_get(device, "train", 1, why) == TARN_VERDICT_NONE); /* the oldest go */
    CHECK(tarn_quarantine_get(device, "forward", 200, why) == TARN_VERDICT_NONE);
    tarn_quarantine_set(device, "train", 200, TARN_VERDICT_GOOD, NULL);
    CHECK(tarn_quarantine_get(device, "train", 200, why) == TARN_VERDICT_GOOD);
    tarn_quarantine_begin(device, "train", 200);
    CHECK(tarn_quarantine_get(device, "train", 200, why) == TARN_VERDICT_NONE);
    tarn_quarantine_set(device, "train", 200, TARN_VERDICT_NONE, NULL);
    CHECK(tarn_quarantine_get(device, "train", 200, why) == TARN_VERDICT_NONE);
    tarn_device_close(&device);
}

/* On all real devices: the shipped kernels pass, and are compiled once for two starts. */
static void shipped_kernels_pass_everywhere(void)
{
    struct tarn_device_info *infos;
    size_t count;
    char dir[128], text[300];
    snprintf(dir, sizeof dir, "%s/shipped", root);
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    setenv("TARN_CANARY", "always", 1);
    for (size_t i = 0; i < count; i++) {
        tarn_device *device = NULL;
        struct tarn_error error = {0};
        CHECK(tarn_device_open(&(struct tarn_device_params){.id = infos[i].id, .cache_dir = dir},
                               &device, &error) == TARN_OK);
        int32_t defines[TARN_SHAPE_DEFINES];
        tarn_shape_defines(&(struct tarn_shape){28, 32, 32, 11}, defines);
        for (int k = 0; device != NULL && tarn_kernel_sources[k] != NULL; k++) {
            tarn_kernel *kernel = NULL;
            tarn_status status = tarn_canary_create(
                device,
                &(struct tarn_kernel_params){.source = tarn_kernel_sources[k], .defines = defines},
                NULL, &kernel, &error);
            CHECK(status == TARN_OK);
            tarn_kernel_destroy(&kernel);
        }
        CHECK(!tarn_device_quarantined(&infos[i], dir, 0, text, sizeof text));
        tarn_device_close(&device);
    }
    unsetenv("TARN_CANARY");
    tarn_devices_free(&infos);
}

int main(void)
{
    static const struct check_case cases[] = {
        CASE(a_right_kernel_is_checked_once),
        CASE(a_wrong_kernel_is_quarantined_and_remembered),
        CASE(a_hanging_kernel_is_left_behind),
        CASE(a_hanging_compiler_is_left_behind),
        CASE(what_killed_two_processes_is_not_tried_again),
        CASE(a_person_can_force_it),
        CASE(many_verdicts_fit_and_survive),
        CASE(shipped_kernels_pass_everywhere),
    };
    snprintf(root, sizeof root, "/tmp/tarn-canary-XXXXXX");
    if (mkdtemp(root) == NULL || sem_init(&hung, 0, 0) != 0 || sem_init(&freed, 0, 0) != 0)
        return 1;
    setup_table();
    int failed = check_run(cases, sizeof cases / sizeof cases[0]);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) != 0 || failed;
}
