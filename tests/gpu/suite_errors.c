/* SPDX-License-Identifier: Apache-2.0 */
/* The half of the suite in which things go wrong. */
#include "suite.h"

#include "bench.h"

static void nothing_in_particular(const struct tarn_host_launch *launch)
{
    (void)launch;
}

/* Creates a kernel that can't be compiled; what it says must have `part` in it. */
static void refuses_to_compile(struct bench *bench, const struct tarn_kernel_source *source,
                               const char *part)
{
    struct tarn_error error = {0};
    tarn_kernel *kernel = NULL;
    CHECK(tarn_kernel_create(bench->device, &(struct tarn_kernel_params){.source = source}, &kernel,
                             &error) == TARN_COMPILE);
    CHECK(kernel == NULL && strstr(error.message, part) != NULL);
}

static void bad_texts_say_why(struct bench *bench)
{
    struct tarn_kernel_source broken = append_source;
    broken.opencl_gpu = "__kernel void append(__global uint *state, uint digit)\n"
                        "{ state[0] = undeclared_thing; }\n";
    refuses_to_compile(bench, &broken, "undeclared_thing");
    broken = append_source;
    broken.name = "somebody_else"; /* the text has no such kernel */
    refuses_to_compile(bench, &broken, "somebody_else");
    broken = append_source;
    broken.buffer_count = 2; /* the text takes one */
    refuses_to_compile(bench, &broken, "arguments");
}

/* Drivers crash on what isn't SPIR-V, so none of this may reach one. */
static void bad_spirv_says_why(struct bench *bench)
{
    enum { WORDS = 4096 };
    static uint32_t words[WORDS];
    struct tarn_kernel_source broken = append_source;
    size_t size = append_source.spirv_size;
    REQUIRE(append_source.spirv != NULL && size <= sizeof words);
    broken.buffer_count = 2; /* the shader takes one */
    refuses_to_compile(bench, &broken, "arguments");
    broken = append_source;
    broken.spirv = words;
    broken.spirv_size = sizeof words; /* zeros */
    refuses_to_compile(bench, &broken, "no SPIR-V");
    memcpy(words, append_source.spirv, size);
    for (size_t cut = 0; cut < size; cut += cut < 24 ? 1 : 36) {
        struct tarn_error error = {0};
        tarn_kernel *kernel = NULL;
        broken.spirv_size = cut;
        CHECK(tarn_kernel_create(bench->device, &(struct tarn_kernel_params){.source = &broken},
                                 &kernel, &error) == TARN_COMPILE);
        CHECK(kernel == NULL && error.message[0] != '\0');
    }
    broken.spirv_size = size;
    words[1] = 0x00010600; /* the version */
    refuses_to_compile(bench, &broken, "newer");
}

static void bad_kernels_say_why(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    static const char *const long_list[] = {"A", "B", "C", "D", "E", "F", "G",
                                            "H", "I", "J", "K", "L", "M", NULL};
    static const char *const bad_list[] = {"A B", NULL};
    struct tarn_kernel_source good = append_source;
    good.host = nothing_in_particular;
    struct tarn_kernel_source bad[9];
    for (int i = 0; i < 9; i++)
        bad[i] = good;
    bad[0].name = "9lives";
    bad[1].buffer_count = 0;
    bad[2].buffer_count = TARN_MAX_BUFFERS + 1;
    bad[3].constants_size = TARN_MAX_CONSTANTS_SIZE + 1;
    bad[4].gpu_local_size = 3;
    bad[5].defines = long_list;
    bad[6].defines = bad_list;
    bad[7].defines = scale_defines; /* and no values */
    bad[8].name = NULL;
    for (int i = 0; i < 9; i++) {
        struct tarn_error error = {0};
        tarn_kernel *kernel = NULL;
        struct tarn_kernel_params params = {.source = &bad[i], .defines = NULL};
        int32_t values[13] = {0};
        if (i == 5 || i == 6)
            params.defines = values;
        CHECK(tarn_kernel_create(bench.device, &params, &kernel, &error) == TARN_INVALID);
        CHECK(kernel == NULL && error.message[0] != '\0');
    }
    struct tarn_error error = {0};
    tarn_kernel *kernel = NULL;
    CHECK(tarn_kernel_create(bench.device, &(struct tarn_kernel_params){0}, &kernel, &error) ==
          TARN_INVALID);

    struct tarn_kernel_source none = {.name = "none", .buffer_count = 1};
    CHECK(tarn_kernel_create(bench.device, &(struct tarn_kernel_params){.source = &none}, &kernel,
                             &error) == TARN_UNSUPPORTED);
    CHECK(strstr(error.message, "none") != NULL);
    const char *backend = tarn_device_get_info(bench.device)->backend;
    if (strcmp(backend, "opencl") == 0)
        bad_texts_say_why(&bench);
    if (strcmp(backend, "vulkan") == 0)
        bad_spirv_says_why(&bench);
    if (strcmp(backend, "host") != 0 || bench.device->limited) {
        struct tarn_kernel_source large = good;
        large.gpu_local_size = 1u << 30;
        CHECK(tarn_kernel_create(bench.device, &(struct tarn_kernel_params){.source = &large},
                                 &kernel, &error) == TARN_UNSUPPORTED);
    }
    bench_close(&bench);
}

static void bad_launches_are_refused(void)
{
    struct bench bench, other;
    bench_open(&bench);
    bench_open(&other);
    REQUIRE(bench.queue != NULL && other.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &append_source, NULL);
    tarn_kernel *foreign_kernel = make_kernel(&other, &append_source, NULL);
    tarn_buffer *state = make_buffer(&bench, 1), *foreign = make_buffer(&other, 1), *none = NULL;
    REQUIRE(kernel != NULL && foreign_kernel != NULL && state != NULL && foreign != NULL);
    uint32_t digit = 1;
    const struct tarn_launch good = {
        .kernel = kernel, .buffers = &state, .constants = &digit, .groups = 1};
    tarn_event *event = NULL;
    struct tarn_launch bad = good;
    bad.kernel = NULL;
    CHECK(tarn_queue_submit(bench.queue, &bad, &event) == TARN_INVALID);
    bad = good;
    bad.kernel = foreign_kernel;
    CHECK(tarn_queue_submit(bench.queue, &bad, &event) == TARN_INVALID);
    bad = good;
    bad.buffers = &foreign;
    CHECK(tarn_queue_submit(bench.queue, &bad, &event) == TARN_INVALID);
    bad.buffers = &none;
    CHECK(tarn_queue_submit(bench.queue, &bad, &event) == TARN_INVALID);
    bad.buffers = NULL;
    CHECK(tarn_queue_submit(bench.queue, &bad, &event) == TARN_INVALID);
    bad = good;
    bad.constants = NULL;
    CHECK(tarn_queue_submit(bench.queue, &bad, &event) == TARN_INVALID);
    bad = good;
    bad.groups = 0;
    CHECK(tarn_queue_submit(bench.queue, &bad, &event) == TARN_INVALID);
    CHECK(tarn_queue_submit(NULL, &good, &event) == TARN_INVALID);
    CHECK(tarn_queue_mark(bench.queue, NULL) == TARN_INVALID);
    CHECK(tarn_buffer_upload(bench.queue, foreign, 0, 4) == TARN_INVALID);
    CHECK(event == NULL);
    CHECK(tarn_queue_submit(bench.queue, &good, &event) == TARN_OK);
    CHECK(tarn_event_wait(event, TARN_FOREVER) == TARN_OK);
    tarn_event_release(&event);
    tarn_buffer_destroy(&state);
    tarn_buffer_destroy(&foreign);
    tarn_kernel_destroy(&kernel);
    tarn_kernel_destroy(&foreign_kernel);
    bench_close(&other);
    bench_close(&bench);
}

/* ---- states ---- */

static void a_lost_device_stays_lost(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_kernel *kernel = make_kernel(&bench, &append_source, NULL), *more = NULL;
    tarn_buffer *state = make_buffer(&bench, 1), *another = NULL;
    tarn_queue *queue = NULL;
    REQUIRE(kernel != NULL && state != NULL);
    uint32_t digit = 1;
    struct tarn_launch launch = {
        .kernel = kernel, .buffers = &state, .constants = &digit, .groups = 1};
    tarn_event *event = NULL, *mark = NULL;
    REQUIRE(tarn_queue_submit(bench.queue, &launch, &event) == TARN_OK);
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
    tarn_device_mark_lost(bench.device);
    struct tarn_event_times times;
    struct tarn_error error = {0};
    CHECK(tarn_device_is_lost(bench.device));
    CHECK(tarn_event_wait(event, TARN_FOREVER) == TARN_DEVICE_LOST);
    CHECK(tarn_event_get_times(event, &times) == TARN_DEVICE_LOST);
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_DEVICE_LOST);
    CHECK(tarn_queue_submit(bench.queue, &launch, NULL) == TARN_DEVICE_LOST);
    CHECK(tarn_queue_mark(bench.queue, &mark) == TARN_DEVICE_LOST);
    CHECK(tarn_buffer_upload(bench.queue, state, 0, 4) == TARN_DEVICE_LOST);
    CHECK(tarn_buffer_download(bench.queue, state, 0, 4) == TARN_DEVICE_LOST);
    CHECK(tarn_buffer_create(bench.device, &(struct tarn_buffer_params){.size = 4}, &another) ==
          TARN_DEVICE_LOST);
    CHECK(tarn_queue_create(bench.device, &(struct tarn_queue_params){TARN_PRIORITY_LOW}, &queue) ==
          TARN_DEVICE_LOST);
    CHECK(tarn_kernel_create(bench.device, &(struct tarn_kernel_params){.source = &append_source},
                             &more, &error) == TARN_DEVICE_LOST);
    CHECK(another == NULL && queue == NULL && more == NULL && mark == NULL);
    CHECK(tarn_buffer_data(state) != NULL); /* the host's bytes are still there */
    tarn_event_release(&event);
    tarn_buffer_destroy(&state);
    tarn_kernel_destroy(&kernel);
    bench_close(&bench);
    bench_open(&bench); /* and it can be tried again */
    CHECK(bench.queue != NULL);
    bench_close(&bench);
}

static void a_device_outlives_its_objects(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    tarn_device *device = bench.device, *kept = bench.device;
    tarn_device_close(&device); /* too early: refused */
    CHECK(device == NULL);
    CHECK(tarn_queue_finish(bench.queue, TARN_FOREVER) == TARN_OK);
    bench.device = kept;
    bench_close(&bench);
}

/* One launch from nothing to its result; whatever stands in the way is the status. */
static tarn_status go_all_the_way(void)
{
    tarn_device *device = NULL;
    tarn_queue *queue = NULL;
    tarn_buffer *in = NULL, *hidden = NULL;
    tarn_kernel *kernel = NULL;
    tarn_event *event = NULL, *mark = NULL;
    struct tarn_error error = {0};
    tarn_status status =
        tarn_device_open(&(struct tarn_device_params){.id = suite_id}, &device, &error);
    if (status == TARN_OK)
        status = tarn_queue_create(device, &(struct tarn_queue_params){0}, &queue);
    if (status == TARN_OK)
        status = tarn_buffer_create(device, &(struct tarn_buffer_params){.size = 4}, &in);
    if (status == TARN_OK)
        status = tarn_buffer_create(
            device, &(struct tarn_buffer_params){.size = 4, .device_only = true}, &hidden);
    if (status == TARN_OK)
        status = tarn_kernel_create(device, &(struct tarn_kernel_params){.source = &append_source},
                                    &kernel, &error);
    uint32_t digit = 3;
    if (status == TARN_OK)
        status = tarn_queue_submit(
            queue,
            &(struct tarn_launch){
                .kernel = kernel, .buffers = &in, .constants = &digit, .groups = 1},
            &event);
    if (status == TARN_OK)
        status = tarn_buffer_download(queue, in, 0, 4);
    if (status == TARN_OK)
        status = tarn_queue_mark(queue, &mark);
    if (status == TARN_OK)
        status = tarn_event_wait(mark, TARN_FOREVER);
    if (status == TARN_OK)
        CHECK_NUMBER(word(in, 0), 3);
    tarn_event_release(&mark);
    tarn_event_release(&event);
    tarn_queue_destroy(&queue);
    tarn_kernel_destroy(&kernel);
    tarn_buffer_destroy(&hidden);
    tarn_buffer_destroy(&in);
    if (device != NULL)
        CHECK_NUMBER(atomic_load(&device->children), 0);
    tarn_device_close(&device);
    return status;
}

/*
 * Each allocation of the way fails once. Where it was for something that can be missing, such as a
 * list of extensions, the way goes on.
 */
static void running_out_of_memory_is_a_status(void)
{
    CHECK(go_all_the_way() == TARN_OK);
    int refused = 0;
    bool met = true;
    for (long after = 0; met && after < 100; after++) {
        atomic_store(&wrapped_until_failure, after);
        tarn_status status = go_all_the_way();
        met = atomic_exchange(&wrapped_until_failure, -1) < 0;
        CHECK(status == TARN_NO_MEMORY || status == TARN_OK);
        refused += status == TARN_NO_MEMORY;
    }
    CHECK(!met);         /* in the end nothing failed any more */
    CHECK(refused >= 7); /* the device, the queue, two buffers, the kernel, two events */
}

/* Whether it is built; a refusal has to be TARN_UNSUPPORTED and to say `word`. */
static bool builds(struct bench *bench, const struct tarn_kernel_source *source, const char *word)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error = {0};
    tarn_status status = tarn_kernel_create(
        bench->device, &(struct tarn_kernel_params){source, (const int32_t[]){1, 0}}, &kernel,
        &error);
    CHECK(status == TARN_OK || (status == TARN_UNSUPPORTED && kernel == NULL));
    CHECK(status == TARN_OK || strstr(error.message, word) != NULL);
    tarn_kernel_destroy(&kernel);
    return status == TARN_OK;
}

/* What a kernel needs is held against what its device has before any driver sees it. */
static void needs_are_held_against_limits(void)
{
    struct bench bench;
    bench_open(&bench);
    REQUIRE(bench.queue != NULL);
    const struct tarn_device_info *info = tarn_device_get_info(bench.device);
    /* functions in C have no such needs, unless they stand for a lesser device */
    bool checks = info->type != TARN_DEVICE_HOST || bench.device->limited;
    static const char *const words[] = {"fp16", "int8", "64-bit", "subgroups"};
    for (uint32_t i = 0; i < 4; i++) {
        struct tarn_kernel_source needy = append_source;
        needy.features = 1u << i;
        CHECK(builds(&bench, &needy, words[i]) ==
              (!checks || (info->limits.features & needy.features) != 0));
        needy = scale_source; /* whose variant for CPUs is no way around it */
        needy.features = 1u << i;
        CHECK(builds(&bench, &needy, words[i]) ==
              (!checks || (info->limits.features & needy.features) != 0));
    }
    struct tarn_kernel_source large = append_source;
    large.gpu_local_memory = info->limits.local_memory;
    CHECK(builds(&bench, &large, ""));
    large.gpu_local_memory++;
    CHECK(builds(&bench, &large, "local memory") == !checks);
    large = append_source;
    while (large.gpu_local_size <= info->limits.group_size)
        large.gpu_local_size *= 2;
    CHECK(builds(&bench, &large, "groups of") == !checks);
    if (strcmp(info->backend, "opencl") == 0 && info->type == TARN_DEVICE_CPU) {
        large = scale_source; /* the shape for GPUs is not what runs here */
        large.gpu_local_memory = info->limits.local_memory + 1;
        CHECK(builds(&bench, &large, ""));
    }
    bench_close(&bench);
}

int gpu_suite_errors(const char *id)
{
    static const struct check_case cases[] = {
        CASE(bad_kernels_say_why),           CASE(bad_launches_are_refused),
        CASE(needs_are_held_against_limits), CASE(a_lost_device_stays_lost),
        CASE(a_device_outlives_its_objects), CASE(running_out_of_memory_is_a_status),
    };
    suite_id = id;
    return check_run(cases, sizeof cases / sizeof cases[0]);
}
