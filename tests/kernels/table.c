/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table, the files and the self-test belong together: each kernel has its cl/NAME.cl, its
 * shaders/NAME.comp, its
 * src/kernels/NAME.c and its tests/kernels/NAME.c, and nothing in cl/ or shaders/ lacks a row. The source
 * directory comes as TARN_TEST_SOURCE; without it (an installed test) those checks are skipped.
 */
#include "../check.h"
#include "../gpu/suite.h"

#include <dirent.h>
#include <sys/stat.h>

#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/lookup.h"
#include "kernels/selftest.h"
#include "kernels/train.h"

static bool in_table(const char *name, size_t length)
{
    for (size_t i = 0; tarn_kernel_sources[i] != NULL; i++)
        if (strlen(tarn_kernel_sources[i]->name) == length &&
            memcmp(tarn_kernel_sources[i]->name, name, length) == 0)
            return true;
    return false;
}

static void rows_are_whole(void)
{
    size_t rows = 0;
    for (; tarn_kernel_sources[rows] != NULL; rows++) {
        const struct tarn_kernel_source *s = tarn_kernel_sources[rows];
        REQUIRE(s->host != NULL);
#if HAVE_OPENCL
        char entry[64];
        snprintf(entry, sizeof entry, "%s(__global", s->name);
        REQUIRE(s->opencl_gpu != NULL && s->opencl_cpu != NULL);
        const char *texts[] = {s->opencl_gpu, s->opencl_cpu};
        for (int i = 0; i < 2; i++) {
            CHECK(strstr(texts[i], "#define TARN_LAYOUT_H") != NULL);
            CHECK(strstr(texts[i], entry) != NULL);
            CHECK((strstr(texts[i], "#define TARN_CPU_SHAPE") != NULL) == (i == 1));
        }
#else
        CHECK(s->opencl_gpu == NULL && s->opencl_cpu == NULL);
#endif
        CHECK(s->gpu_local_size >= 1 && s->gpu_local_size <= 256);
        CHECK(s->buffer_count <= TARN_MAX_BUFFERS && s->constants_size <= TARN_MAX_CONSTANTS_SIZE);
#if HAVE_VULKAN
        CHECK(s->spirv != NULL && s->spirv_size > 100);
#else
        CHECK(s->spirv == NULL);
#endif
        CHECK((s->gpu_group_elements == 0) == (s->host_group_elements == 0));
        CHECK((s->gpu_group_elements == 0) == (s->cpu_group_elements == 0));
    }
    CHECK(rows >= 3);
}

/* Every file of the folder with this ending has a row. */
static bool has_rows_only(const char *source, const char *folder, const char *ending)
{
    char path[4096];
    bool good = true;
    snprintf(path, sizeof path, "%s/%s", source, folder);
    DIR *directory = opendir(path);
    if (directory == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        const char *end = strrchr(entry->d_name, '.');
        if (end == NULL || strcmp(end, ending) != 0)
            continue;
        if (!in_table(entry->d_name, (size_t)(end - entry->d_name))) {
            printf("# %s/%s has no row\n", folder, entry->d_name);
            good = false;
        }
    }
    closedir(directory);
    return good;
}

static void files_and_rows_match(void)
{
    const char *source = getenv("TARN_TEST_SOURCE");
    if (source == NULL)
        SKIP("no source directory");
    static const char *const places[][2] = {
        {"cl", "cl"}, {"shaders", "comp"}, {"src/kernels", "c"}, {"tests/kernels", "c"}};
    char path[4096];
    for (size_t i = 0; tarn_kernel_sources[i] != NULL; i++)
        for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
            struct stat status;
            snprintf(path, sizeof path, "%s/%s/%s.%s", source, places[p][0],
                     tarn_kernel_sources[i]->name, places[p][1]);
            if (stat(path, &status) != 0) {
                printf("# %s is missing\n", path);
                CHECK(false);
            }
        }
    CHECK(has_rows_only(source, "cl", ".cl"));
    CHECK(has_rows_only(source, "shaders", ".comp"));
}

static void selftest_passes_everywhere(void)
{
    struct tarn_device_info *infos;
    size_t count;
    struct tarn_selftest host = {0};
    CHECK(tarn_selftest_host(3, &host) == TARN_OK);
    CHECK_NUMBER(host.failed, 0);
    CHECK(host.checks > 20);
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    for (size_t i = 0; i < count; i++) {
        struct tarn_selftest result = {0};
        struct tarn_error error;
        tarn_device *device = NULL;
        CHECK(tarn_device_open(&(struct tarn_device_params){.id = infos[i].id}, &device, &error) ==
              TARN_OK);
        if (device == NULL)
            continue;
        CHECK(tarn_selftest_device(device, 4, &result) == TARN_OK);
        CHECK(result.checks > 20 && result.failed == 0);
        if (result.failed > 0)
            printf("# %s\n", result.message);
        tarn_device_close(&device);
    }
    tarn_devices_free(&infos);
}

static void host_functions_allocate_nothing(void)
{
    static const struct tarn_shape shape = {28, 32, 32, 11};
    enum { SAMPLES = 64 };
    size_t weights = tarn_shape_weights(&shape), tiles = tarn_shape_tile_floats(&shape, SAMPLES);
    unsigned long first = atomic_load(&wrapped_allocations);
    float *memory = calloc(3 * weights + tiles + 64, sizeof *memory);
    REQUIRE(memory != NULL);
    CHECK(atomic_load(&wrapped_allocations) > first); /* the counting works */
    float *in = memory + 3 * weights, scores[SAMPLES], loss;
    uint32_t buckets[2 * TARN_BUCKET_WORDS] = {7}, hashes[] = {0, 7}, slot, labels[SAMPLES] = {1};
    unsigned long before = atomic_load(&wrapped_allocations);
    for (int i = 0; i < 10; i++) {
        tarn_lookup_host(buckets, 1, hashes, 1, &slot);
        tarn_forward_host(&shape, memory, in, SAMPLES, scores);
        tarn_train_host(&shape,
                        &(struct tarn_train_state){memory, memory + weights, memory + 2 * weights},
                        &(struct tarn_train_constants){.steps = 1,
                                                       .batch = SAMPLES,
                                                       .rate = 0.1f,
                                                       .beta1 = 0.9f,
                                                       .beta2 = 0.999f,
                                                       .epsilon = 1e-7f},
                        in, labels, &loss, NULL);
    }
    CHECK_NUMBER(atomic_load(&wrapped_allocations) - before, 0);
    CHECK(slot == 0 && loss > 0);
    free(memory);
}

CHECK_MAIN(CASE(host_functions_allocate_nothing), CASE(rows_are_whole), CASE(files_and_rows_match),
           CASE(selftest_passes_everywhere))
