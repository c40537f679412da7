/* SPDX-License-Identifier: Apache-2.0 */
/* Calibration: what follows from figures, the file and its accidents, measuring, and the engine. */
#include "../check.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <dirent.h>

#include <tarn/engine.h>

#include "base/clock.h"
#include "offload/calibrate.h"
#include "offload/limits.h"

static char directory[64];

static void in_directory(void)
{
    snprintf(directory, sizeof directory, "/tmp/tarn-calibrate-XXXXXX");
    if (mkdtemp(directory) == NULL)
        exit(1);
}

/* The only calibration there, or false; beside it are compiled programs and what kernels did. */
static bool file_of(char path[512])
{
    DIR *dir = opendir(directory);
    bool found = false;
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (strncmp(entry->d_name, "calibration-", 12) == 0) {
            snprintf(path, 512, "%s/%s", directory, entry->d_name);
            CHECK(!found); /* nothing temporary is left behind */
            found = true;
        }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static void remove_directory(void)
{
    char path[512];
    DIR *dir = opendir(directory);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
            CHECK(unlink(path) == 0);
        }
    if (dir != NULL)
        closedir(dir);
    CHECK(rmdir(directory) == 0);
}

static void the_crossover_is_where_the_device_stays_better(void)
{
    const uint32_t sizes[] = {1, 2, 4, 8};
    const double host[] = {10, 20, 40, 80};
    CHECK_NUMBER(tarn_calibrate_least(sizes, (double[]){30, 30, 35, 40}, host, 4), 4);
    CHECK_NUMBER(tarn_calibrate_least(sizes, (double[]){30, 10, 50, 40}, host, 4), 8); /* a fluke */
    CHECK_NUMBER(tarn_calibrate_least(sizes, (double[]){30, 10, 20, 90}, host, 4), TARN_NEVER);
    CHECK_NUMBER(tarn_calibrate_least(sizes, (double[]){10, 10, 20, 30}, host, 4), 1);
    /* 30, 15, 8, 7.5 an element: 8 is within a fifth of 7.5 */
    CHECK_NUMBER(tarn_calibrate_slice(sizes, (double[]){30, 30, 32, 60}, 4), 4);
    CHECK_NUMBER(tarn_calibrate_slice(sizes, (double[]){30, 30, 40, 60}, 4), 8);
}

static void the_path_is_the_quickest_measured_one(void)
{
    struct tarn_calibration c = {0};
    /* nothing measured: one kernel while it can */
    CHECK(tarn_calibration_path(&c, 64, true) == TARN_PATH_FUSED);
    CHECK(tarn_calibration_path(&c, 65, true) == TARN_PATH_GEMM);
    CHECK(tarn_calibration_path(&c, 256, false) == TARN_PATH_FUSED);
    CHECK(tarn_calibration_path(&c, 1024, false) == TARN_PATH_GEMM);
    float *us = c.wide_us[0][5]; /* 256 */
    us[TARN_PATH_HOST] = 9;
    us[TARN_PATH_FUSED] = 5;
    us[TARN_PATH_GEMM] = 7;
    CHECK(tarn_calibration_path(&c, 256, false) == TARN_PATH_FUSED);
    CHECK(tarn_calibration_path(&c, 300, false) == TARN_PATH_GEMM); /* fused can't do 300 */
    us[TARN_PATH_CLBLAST] = 3;
    CHECK(tarn_calibration_path(&c, 256, false) == TARN_PATH_CLBLAST);
    CHECK(tarn_calibration_path(&c, 200, false) == TARN_PATH_CLBLAST); /* 256 is nearest */
    CHECK(tarn_calibration_path(&c, 128, false) == TARN_PATH_FUSED);
    CHECK(tarn_calibration_path(&c, 256, true) == TARN_PATH_GEMM); /* training is another matter */
    us = c.wide_us[1][6];                                          /* 512 */
    us[TARN_PATH_GEMM] = 7;
    us[TARN_PATH_FUSED] = 5; /* two launches a step, where they were measured */
    CHECK(tarn_calibration_path(&c, 512, true) == TARN_PATH_FUSED);
}

static struct tarn_device_info some_info(void)
{
    struct tarn_device_info info = {.backend = "opencl", .name = "a device", .driver = "driver 1"};
    return info;
}

static void the_file_keeps_every_field(void)
{
    struct tarn_device_info info = some_info(), other = some_info();
    struct tarn_calibration c, back;
    in_directory();
    for (size_t i = 0; i < sizeof c / 4; i++)
        ((uint32_t *)(void *)&c)[i] = (uint32_t)(i + 1) * 2654435761u;
    CHECK(tarn_calibration_load(&info, directory, &back) == TARN_NOT_FOUND);
    CHECK(tarn_calibration_save(&info, directory, &c) == TARN_OK);
    CHECK(tarn_calibration_load(&info, directory, &back) == TARN_OK);
    CHECK(memcmp(&c, &back, sizeof c) == 0);
    /* another driver is another device */
    snprintf(other.driver, sizeof other.driver, "driver 2");
    CHECK(tarn_calibration_load(&other, directory, &back) == TARN_NOT_FOUND);
    CHECK_NUMBER(back.parts, 0);
    remove_directory();
}

static void any_damage_is_no_calibration(void)
{
    struct tarn_device_info info = some_info();
    struct tarn_calibration c = {.parts = TARN_CALIBRATED_ENGINE, .dispatch_us = 5}, back;
    char path[512];
    uint8_t bytes[4096];
    in_directory();
    CHECK(tarn_calibration_save(&info, directory, &c) == TARN_OK);
    REQUIRE(file_of(path));
    int fd = open(path, O_RDWR);
    ssize_t size = read(fd, bytes, sizeof bytes);
    REQUIRE(fd >= 0 && size > 100);
    for (ssize_t i = 0; i < size; i++) {
        uint8_t wrong = bytes[i] ^ 0x10;
        CHECK(pwrite(fd, &wrong, 1, i) == 1);
        CHECK(tarn_calibration_load(&info, directory, &back) == TARN_CORRUPT);
        CHECK_NUMBER(back.parts, 0);
        CHECK(pwrite(fd, &bytes[i], 1, i) == 1);
    }
    CHECK(tarn_calibration_load(&info, directory, &back) == TARN_OK);
    CHECK(ftruncate(fd, size - 1) == 0);
    CHECK(tarn_calibration_load(&info, directory, &back) == TARN_CORRUPT);
    CHECK(ftruncate(fd, size + 1) == 0);
    CHECK(tarn_calibration_load(&info, directory, &back) == TARN_CORRUPT);
    close(fd);
    /* and a new one takes its place */
    CHECK(tarn_calibration_save(&info, directory, &c) == TARN_OK);
    CHECK(tarn_calibration_load(&info, directory, &back) == TARN_OK);
    remove_directory();
    /* where nothing can be written nothing is lost but time */
    CHECK(tarn_calibration_save(&info, "/proc/nowhere", &c) != TARN_OK);
    CHECK(tarn_calibration_load(&info, "/proc/nowhere", &back) == TARN_NOT_FOUND);
}

/* A device that isn't the host, or NULL. */
static tarn_device *some_device(void)
{
    tarn_device *device = NULL;
    struct tarn_error error;
    tarn_device_open(&(struct tarn_device_params){.id = "opencl"}, &device, &error);
    return device;
}

struct log {
    uint32_t parts[8];
    int count;
    atomic_bool *stop;
};

static void note(void *context, const struct tarn_calibration *c)
{
    struct log *log = context;
    if (log->count < 8)
        log->parts[log->count++] = c->parts;
    if (log->stop != NULL)
        atomic_store(log->stop, true);
}

static void measuring_goes_on_where_it_stopped(void)
{
    struct tarn_calibration c = {0}, kept;
    struct tarn_error error;
    atomic_bool stop = false;
    struct log log = {.stop = &stop};
    tarn_device *device = some_device();
    if (device == NULL)
        SKIP("no OpenCL device");
    const struct tarn_device_info *info = tarn_device_get_info(device);
    in_directory();
    struct tarn_calibrate_params params = {.parts = TARN_CALIBRATED_ENGINE,
                                           .cache_dir = directory,
                                           .stop = &stop,
                                           .progress = note,
                                           .context = &log};
    /* stopped after the first part: that one is kept */
    CHECK(tarn_calibrate(device, &params, &c, &error) == TARN_TIMEOUT);
    CHECK_NUMBER(log.count, 1);
    CHECK_NUMBER(c.parts, TARN_CALIBRATED_DISPATCH);
    CHECK(c.dispatch_us > 0.05f && c.dispatch_us < 100000);
    CHECK(tarn_calibration_load(info, directory, &kept) == TARN_OK);
    CHECK(memcmp(&c, &kept, sizeof c) == 0);
    /* a budget that is over at once adds nothing */
    atomic_store(&stop, false);
    params.stop = NULL;
    params.budget_ms = 1;
    nanosleep(&(struct timespec){.tv_nsec = 1000}, NULL);
    CHECK(tarn_calibrate(device, &params, &kept, &error) == TARN_TIMEOUT);
    CHECK((kept.parts & TARN_CALIBRATED_TRAIN) == 0);
    /* the rest, without the first part again */
    log = (struct log){0};
    params.budget_ms = 0;
    float dispatch = c.dispatch_us;
    CHECK(tarn_calibrate(device, &params, &c, &error) == TARN_OK);
    CHECK_NUMBER(log.count, 3);
    CHECK_NUMBER(c.parts, TARN_CALIBRATED_ENGINE);
    CHECK_NUMBER(c.dispatch_us, dispatch);
    const struct tarn_crossover *all[] = {&c.lookup, &c.score, &c.train};
    for (int i = 0; i < 3; i++) {
        CHECK(all[i]->device_ns > 0 && all[i]->host_ns > 0);
        CHECK(all[i]->least >= 1 && all[i]->slice >= 1 && all[i]->slice <= TARN_LOOKUP_BATCH);
    }
    /* all is there: nothing is measured */
    CHECK(tarn_calibrate(device, &params, &c, &error) == TARN_OK);
    CHECK_NUMBER(log.count, 3);
    remove_directory();
    tarn_device_close(&device);
}

static void work_groups_are_chosen_on_gpus(void)
{
    struct tarn_calibration c = {0};
    struct tarn_error error;
    tarn_device *device = some_device();
    if (device == NULL)
        SKIP("no OpenCL device");
    in_directory();
    struct tarn_calibrate_params params = {.parts = TARN_CALIBRATED_LOOKUP | TARN_CALIBRATED_SCORE,
                                           .cache_dir = directory,
                                           .gpu_shape = true};
    /* results that differ from the host's would have made these crossovers "never" with 0 ns */
    CHECK(tarn_calibrate(device, &params, &c, &error) == TARN_OK);
    CHECK(c.lookup.device_ns > 0 && c.score.device_ns > 0);
    CHECK(c.lookup.local_size == 0 || (c.lookup.local_size & (c.lookup.local_size - 1)) == 0);
    CHECK(c.lookup.local_size <= 256 && c.score.local_size <= 256);
    remove_directory();
    tarn_device_close(&device);
}

/* A calibration of the first OpenCL device as if it had been measured so. */
static bool pretend(uint32_t lookup, uint32_t score, uint32_t train)
{
    struct tarn_calibration c = {.parts = TARN_CALIBRATED_ENGINE,
                                 .lookup = {.least = lookup},
                                 .score = {.least = score},
                                 .train = {.least = train}};
    tarn_device *device = some_device();
    if (device == NULL)
        return false;
    CHECK(tarn_calibration_save(tarn_device_get_info(device), directory, &c) == TARN_OK);
    tarn_device_close(&device);
    return true;
}

static bool is_gpu_machine(void)
{
    tarn_device *device = some_device();
    bool gpu = device != NULL && tarn_device_get_info(device)->type == TARN_DEVICE_GPU;
    tarn_device_close(&device);
    return gpu;
}

static struct tarn_engine_crossovers engine_with(const char *device, tarn_background background,
                                                 char id[32])
{
    struct tarn_engine_crossovers found = {0};
    struct tarn_error error;
    tarn_engine *engine;
    id[0] = '\0';
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = 1000,
                                                        .device = device,
                                                        .cache_dir = directory,
                                                        .background = background},
                           &engine, &error) != TARN_OK)
        return found;
    tarn_engine_get_crossovers(engine, &found);
    snprintf(id, 32, "%s", tarn_engine_device(engine)->id);
    tarn_engine_destroy(&engine);
    return found;
}

static void auto_takes_a_cpu_device_only_if_it_has_won(void)
{
    char id[32];
    struct tarn_engine_crossovers found;
    if (is_gpu_machine())
        SKIP("a GPU comes first");
    in_directory();
    if (!pretend(TARN_NEVER, TARN_NEVER, 32)) {
        remove_directory();
        SKIP("no OpenCL device");
    }
    found = engine_with("auto", TARN_BACKGROUND_THREAD, id);
    CHECK(strcmp(id, "host") == 0); /* 32 steps are more than the engine's launches have */
    CHECK(!found.training && found.lookup_keys == TARN_NEVER);
    pretend(2000, TARN_NEVER, TARN_NEVER);
    found = engine_with("auto", TARN_BACKGROUND_THREAD, id);
    CHECK(strcmp(id, "opencl:0") == 0);
    CHECK(found.measured && !found.training);
    CHECK_NUMBER(found.lookup_keys, 2000);
    CHECK_NUMBER(found.score_candidates, TARN_NEVER);
    /* what is asked for by name isn't touched: replays stay the same, host is host */
    engine_with("host", TARN_BACKGROUND_THREAD, id);
    CHECK(strcmp(id, "host") == 0);
    engine_with("auto", TARN_BACKGROUND_STEPS, id);
    CHECK(strcmp(id, "host") == 0);
    found = engine_with("opencl", TARN_BACKGROUND_STEPS, id);
    CHECK(!found.measured && found.lookup_keys == TARN_LOOKUP_LEAST);
    found = engine_with("opencl", TARN_BACKGROUND_THREAD, id);
    CHECK_NUMBER(found.lookup_keys, 2000);
    CHECK_NUMBER(found.score_candidates, TARN_SCORE_LEAST); /* never won, but it was asked for */
    CHECK(found.training);
    setenv("TARN_CALIBRATION", "off", 1);
    engine_with("auto", TARN_BACKGROUND_THREAD, id);
    CHECK(strcmp(id, "host") == 0);
    found = engine_with("opencl", TARN_BACKGROUND_THREAD, id);
    CHECK(!found.measured && found.lookup_keys == TARN_LOOKUP_LEAST);
    unsetenv("TARN_CALIBRATION");
    remove_directory();
}

static void a_quarantined_kernel_is_measured_when_it_is_back(void)
{
    struct tarn_error error = {0};
    struct tarn_calibration c = {0}, kept;
    tarn_device *device = some_device();
    if (device == NULL)
        SKIP("no OpenCL device");
    in_directory();
    const struct tarn_calibrate_params params = {
        .parts = TARN_CALIBRATED_DISPATCH | TARN_CALIBRATED_LOOKUP, .cache_dir = directory};
    setenv("TARN_QUARANTINE", "*/lookup", 1);
    CHECK(tarn_calibrate(device, &params, &c, &error) == TARN_OK);
    unsetenv("TARN_QUARANTINE");
    CHECK(c.lookup.least == TARN_NEVER && (c.parts & TARN_CALIBRATED_LOOKUP));
    CHECK(tarn_calibration_load(tarn_device_get_info(device), directory, &kept) == TARN_OK);
    CHECK_NUMBER(kept.parts, 0);
    CHECK(tarn_calibrate(device, &params, &kept, &error) == TARN_OK);
    CHECK(kept.dispatch_us > 0 && kept.lookup.device_ns > 0);
    tarn_device_close(&device);
    remove_directory();
}

static void the_engine_measures_in_the_background(void)
{
    struct tarn_engine_crossovers found;
    struct tarn_error error;
    tarn_engine *engine;
    tarn_device *device = some_device();
    if (device == NULL)
        SKIP("no OpenCL device");
    tarn_device_close(&device);
    in_directory();
    struct tarn_engine_params params = {
        .objects = 1000, .device = "opencl", .cache_dir = directory};
    REQUIRE(tarn_engine_create(&params, &engine, &error) == TARN_OK);
    /* meanwhile it answers */
    for (int i = 0; i < 2000; i++) {
        CHECK(tarn_cache_put(tarn_engine_cache(engine), &i, sizeof i,
                             &(struct tarn_item){.value = &i, .value_size = sizeof i}) == TARN_OK);
    }
    uint64_t begin = tarn_clock_ns();
    do {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        tarn_engine_get_crossovers(engine, &found);
    } while (!found.measured && tarn_clock_ns() - begin < 60000000000u);
    CHECK(found.measured);
    tarn_engine_destroy(&engine);
    /* the next start knows it at once */
    REQUIRE(tarn_engine_create(&params, &engine, &error) == TARN_OK);
    struct tarn_engine_crossovers again;
    tarn_engine_get_crossovers(engine, &again);
    CHECK(again.measured && again.lookup_keys == found.lookup_keys &&
          again.score_candidates == found.score_candidates);
    tarn_engine_destroy(&engine);
    /* destroyed while it measures: it ends soon */
    remove_directory();
    in_directory();
    REQUIRE(tarn_engine_create(&params, &engine, &error) == TARN_OK);
    begin = tarn_clock_ns();
    tarn_engine_destroy(&engine);
    CHECK(tarn_clock_ns() - begin < 20000000000u);
    remove_directory();
}

CHECK_MAIN(CASE(the_crossover_is_where_the_device_stays_better),
           CASE(the_path_is_the_quickest_measured_one), CASE(the_file_keeps_every_field),
           CASE(any_damage_is_no_calibration),
           CASE_IF(TEST_OPENCL, measuring_goes_on_where_it_stopped),
           CASE_IF(TEST_OPENCL, work_groups_are_chosen_on_gpus),
           CASE_IF(TEST_OPENCL, auto_takes_a_cpu_device_only_if_it_has_won),
           CASE_IF(TEST_OPENCL, a_quarantined_kernel_is_measured_when_it_is_back),
           CASE_IF(TEST_OPENCL, the_engine_measures_in_the_background))
