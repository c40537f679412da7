/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled OpenCL programs kept between openings: loaded, and compiled anew where a driver refuses. */
#include "../check.h"

#include <dirent.h>
#include <unistd.h>

#include <tarn/log.h>

#include "gpu/opencl/opencl.h"
#include "kernels.h"

static char root[] = "/tmp/tarn-binaries-XXXXXX";
static int loaded, compiled, refused;

static void count(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    loaded += strstr(message, ": loaded ") != NULL;
    compiled += strstr(message, ": compiled ") != NULL;
    refused += strstr(message, "is refused") != NULL;
}

/* Opens the device, builds the kernel and runs it; the result must be right each time. */
static bool run_once(const int32_t defines[2], const void *planted, size_t planted_size)
{
    enum { COUNT = 100 };
    tarn_device *device = NULL;
    tarn_queue *queue = NULL;
    tarn_buffer *buffers[2] = {NULL, NULL};
    tarn_kernel *kernel = NULL;
    struct tarn_error error = {0};
    bool right = false;
    loaded = compiled = refused = 0;
    if (tarn_device_open(&(struct tarn_device_params){.id = "opencl", .cache_dir = root}, &device,
                         &error) != TARN_OK)
        return false;
    if (planted != NULL) {
        /* under the very key that the backend will ask for */
        bool cpu = device->info.type == TARN_DEVICE_CPU;
        const char *text = cpu ? scale_source.opencl_cpu : scale_source.opencl_gpu;
        char options[200];
        snprintf(options, sizeof options,
                 "-cl-std=CL1.2 -cl-mad-enable -DTARN_LOCAL_SIZE=%u -DFACTOR=%d -DSHIFT=%d",
                 cpu ? scale_source.cpu_local_size : scale_source.gpu_local_size, (int)defines[0],
                 (int)defines[1]);
        tarn_program_cache_put(device->programs,
                               &(struct tarn_program_key){
                                   .backend = "opencl",
                                   .device = device->info.name,
                                   .driver = ((struct opencl_device *)device)->version,
                                   .source = text,
                                   .source_size = strlen(text),
                                   .options = options,
                               },
                               planted, planted_size);
    }
    const struct tarn_buffer_params size = {.size = COUNT * 4};
    if (tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_HIGH}, &queue) ==
            TARN_OK &&
        tarn_buffer_create(device, &size, &buffers[0]) == TARN_OK &&
        tarn_buffer_create(device, &size, &buffers[1]) == TARN_OK &&
        tarn_kernel_create(
            device, &(struct tarn_kernel_params){.source = &scale_source, .defines = defines},
            &kernel, &error) == TARN_OK) {
        uint32_t *in = tarn_buffer_data(buffers[0]), *out = tarn_buffer_data(buffers[1]);
        for (uint32_t i = 0; i < COUNT; i++)
            in[i] = i * i;
        struct scale_constants constants = {COUNT, 5};
        right =
            tarn_buffer_upload(queue, buffers[0], 0, size.size) == TARN_OK &&
            tarn_queue_submit(queue,
                              &(struct tarn_launch){.kernel = kernel,
                                                    .buffers = buffers,
                                                    .constants = &constants,
                                                    .groups = tarn_kernel_groups(kernel, COUNT)},
                              NULL) == TARN_OK &&
            tarn_buffer_download(queue, buffers[1], 0, size.size) == TARN_OK &&
            tarn_queue_finish(queue, TARN_FOREVER) == TARN_OK;
        for (uint32_t i = 0; i < COUNT && right; i++)
            right = out[i] == in[i] * (uint32_t)defines[0] + (uint32_t)defines[1] + 5;
    }
    if (!right)
        printf("# %s\n", error.message);
    tarn_kernel_destroy(&kernel);
    tarn_buffer_destroy(&buffers[0]);
    tarn_buffer_destroy(&buffers[1]);
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
    return right;
}

static bool no_device(void)
{
    tarn_device *device = NULL;
    if (tarn_device_open(&(struct tarn_device_params){.id = "opencl"}, &device, NULL) != TARN_OK)
        return true;
    tarn_device_close(&device);
    return false;
}

static void a_second_start_loads(void)
{
    if (no_device())
        SKIP("no OpenCL");
    const int32_t defines[] = {3, 7}, others[] = {3, 8};
    CHECK(run_once(defines, NULL, 0) && compiled == 1 && loaded == 0);
    CHECK(run_once(defines, NULL, 0) && compiled == 0 && loaded == 1);
    CHECK(run_once(others, NULL, 0) && compiled == 1 && loaded == 0); /* another program */
    setenv("TARN_PROGRAM_CACHE", "off", 1);
    CHECK(run_once(defines, NULL, 0) && compiled == 1 && loaded == 0);
    unsetenv("TARN_PROGRAM_CACHE");
}

static void a_refused_binary_is_compiled_anew(void)
{
    if (no_device())
        SKIP("no OpenCL");
    const int32_t defines[] = {11, 1};
    static const char garbage[] = "this is no program";
    CHECK(run_once(defines, garbage, sizeof garbage));
    CHECK(refused == 1 && compiled == 1 && loaded == 0);
    CHECK(run_once(defines, NULL, 0) && loaded == 1 && refused == 0);
}

int main(void)
{
    static const struct check_case cases[] = {
        CASE(a_second_start_loads),
        CASE(a_refused_binary_is_compiled_anew),
    };
    if (mkdtemp(root) == NULL)
        return 1;
    tarn_log_set(count, NULL, TARN_LOG_DEBUG);
    int failed = check_run(cases, sizeof cases / sizeof cases[0]);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) != 0 || failed;
}
