/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PoCL dies under a whole engine: each of the calls that tell of a death does, with each code, and
 * from then on the context refuses everything until it is made anew.
 */
#include "dying.h"

#define CL_TARGET_OPENCL_VERSION 300
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS
#include <CL/cl.h>

#define MOST_QUEUES 8

/* Where it is noticed. */
enum place { NOWHERE, LAUNCH, FLUSH, STATUS, COPY };

static struct {
    enum place place;
    cl_int code;
    const char *kernel;   /* only launches of this one fail; NULL: all */
    bool once;            /* a shortage: the context lives on */
    bool dead;            /* everything fails with `code` */
    int contexts_refused; /* so many times it can't be made anew */
    bool late;            /* a callback comes when the test says so */
    bool hangs;           /* nothing ends any more */
    int failures;
    long live; /* contexts, queues, buffers, programs, kernels, events, shared memory */
    cl_command_queue queues[MOST_QUEUES];
    void(CL_CALLBACK *call)(cl_event, cl_int, void *); /* the late one */
    void *user;
} driver;

#define WRAP(type, name, ...)                                                                      \
    type CL_API_CALL __real_##name(__VA_ARGS__);                                                   \
    type CL_API_CALL __wrap_##name(__VA_ARGS__);                                                   \
    type CL_API_CALL __wrap_##name(__VA_ARGS__)

cl_int CL_API_CALL __real_clFinish(cl_command_queue queue);

/*
 * A driver that is dead runs nothing, but the one below isn't: what it has under way ends first,
 * because the memory that it uses is about to go.
 */
static cl_int fail(void)
{
    for (int i = 0; i < MOST_QUEUES; i++)
        if (driver.queues[i] != NULL)
            __real_clFinish(driver.queues[i]);
    driver.failures++;
    driver.dead = !driver.once;
    if (driver.once)
        driver.place = NOWHERE;
    return driver.code;
}

static bool fails_at(enum place place)
{
    return driver.dead || driver.place == place;
}

/* ---- what lives ---- */

#define CREATED(object)                                                                            \
    do {                                                                                           \
        driver.live += (object) != NULL;                                                           \
        return object;                                                                             \
    } while (0)

WRAP(cl_context, clCreateContext, const cl_context_properties *properties, cl_uint count,
     const cl_device_id *ids, void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *),
     void *user, cl_int *code)
{
    if (driver.contexts_refused > 0) {
        driver.contexts_refused--;
        *code = CL_DEVICE_NOT_AVAILABLE;
        return NULL;
    }
    cl_context context = __real_clCreateContext(properties, count, ids, notify, user, code);
    driver.dead = false;
    driver.place = NOWHERE;
    CREATED(context);
}

static cl_command_queue keep_queue(cl_command_queue queue)
{
    for (int i = 0; queue != NULL && i < MOST_QUEUES; i++)
        if (driver.queues[i] == NULL) {
            driver.queues[i] = queue;
            break;
        }
    CREATED(queue);
}

WRAP(cl_command_queue, clCreateCommandQueue, cl_context context, cl_device_id id,
     cl_command_queue_properties properties, cl_int *code)
{
    return keep_queue(__real_clCreateCommandQueue(context, id, properties, code));
}

WRAP(cl_command_queue, clCreateCommandQueueWithProperties, cl_context context, cl_device_id id,
     const cl_queue_properties *properties, cl_int *code)
{
    return keep_queue(__real_clCreateCommandQueueWithProperties(context, id, properties, code));
}

WRAP(cl_int, clReleaseCommandQueue, cl_command_queue queue)
{
    for (int i = 0; i < MOST_QUEUES; i++)
        if (driver.queues[i] == queue)
            driver.queues[i] = NULL;
    driver.live--;
    return __real_clReleaseCommandQueue(queue);
}

WRAP(cl_mem, clCreateBuffer, cl_context context, cl_mem_flags flags, size_t size, void *host,
     cl_int *code)
{
    if (driver.dead) {
        *code = driver.code;
        return NULL;
    }
    cl_mem memory = __real_clCreateBuffer(context, flags, size, host, code);
    CREATED(memory);
}

WRAP(void *, clSVMAlloc, cl_context context, cl_svm_mem_flags flags, size_t size, cl_uint alignment)
{
    void *memory = driver.dead ? NULL : __real_clSVMAlloc(context, flags, size, alignment);
    CREATED(memory);
}

WRAP(void, clSVMFree, cl_context context, void *memory)
{
    driver.live--;
    __real_clSVMFree(context, memory);
}

WRAP(cl_program, clCreateProgramWithSource, cl_context context, cl_uint count, const char **text,
     const size_t *lengths, cl_int *code)
{
    cl_program program = __real_clCreateProgramWithSource(context, count, text, lengths, code);
    CREATED(program);
}

WRAP(cl_program, clCreateProgramWithBinary, cl_context context, cl_uint count,
     const cl_device_id *ids, const size_t *sizes, const unsigned char **binaries, cl_int *states,
     cl_int *code)
{
    cl_program program =
        __real_clCreateProgramWithBinary(context, count, ids, sizes, binaries, states, code);
    CREATED(program);
}

WRAP(cl_kernel, clCreateKernel, cl_program program, const char *name, cl_int *code)
{
    cl_kernel kernel = __real_clCreateKernel(program, name, code);
    CREATED(kernel);
}

#define RELEASES(type, name)                                                                       \
    WRAP(cl_int, name, type object)                                                                \
    {                                                                                              \
        driver.live--;                                                                             \
        return __real_##name(object);                                                              \
    }

WRAP(cl_int, clRetainEvent, cl_event event)
{
    driver.live++;
    return __real_clRetainEvent(event);
}

RELEASES(cl_context, clReleaseContext)
RELEASES(cl_mem, clReleaseMemObject)
RELEASES(cl_program, clReleaseProgram)
RELEASES(cl_kernel, clReleaseKernel)
RELEASES(cl_event, clReleaseEvent)

/* ---- what fails ---- */

static cl_int enqueued(cl_int code, const cl_event *event)
{
    driver.live += code == CL_SUCCESS && event != NULL;
    return code;
}

static bool is_meant(cl_kernel kernel)
{
    char name[64] = "";
    if (driver.kernel == NULL)
        return true;
    clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    return strcmp(name, driver.kernel) == 0;
}

WRAP(cl_int, clEnqueueNDRangeKernel, cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
     const size_t *offset, const size_t *global, const size_t *local, cl_uint count,
     const cl_event *events, cl_event *event)
{
    if (fails_at(LAUNCH) && (driver.dead || is_meant(kernel)))
        return fail();
    return enqueued(__real_clEnqueueNDRangeKernel(queue, kernel, dimensions, offset, global, local,
                                                  count, events, event),
                    event);
}

WRAP(cl_int, clFlush, cl_command_queue queue)
{
    return fails_at(FLUSH) ? fail() : __real_clFlush(queue);
}

WRAP(cl_int, clFinish, cl_command_queue queue)
{
    return fails_at(STATUS) ? fail() : __real_clFinish(queue);
}

WRAP(cl_int, clWaitForEvents, cl_uint count, const cl_event *events)
{
    cl_int code = __real_clWaitForEvents(count, events);
    if (!fails_at(STATUS))
        return code;
    return driver.dead ? fail() : CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
}

WRAP(cl_int, clGetEventInfo, cl_event event, cl_event_info what, size_t size, void *value,
     size_t *size_ret)
{
    cl_int code = __real_clGetEventInfo(event, what, size, value, size_ret);
    if (code != CL_SUCCESS || what != CL_EVENT_COMMAND_EXECUTION_STATUS || size != sizeof(cl_int))
        return code;
    if (driver.hangs)
        *(cl_int *)value = CL_RUNNING;
    else if (fails_at(STATUS))
        *(cl_int *)value = fail();
    return code;
}

/* Who calls back for something that never ends? */
WRAP(cl_int, clSetEventCallback, cl_event event, cl_int state,
     void(CL_CALLBACK *call)(cl_event, cl_int, void *), void *user)
{
    if (driver.late) {
        driver.call = call;
        driver.user = user;
    }
    return driver.hangs || driver.late ? CL_SUCCESS
                                       : __real_clSetEventCallback(event, state, call, user);
}

WRAP(cl_int, clEnqueueMarkerWithWaitList, cl_command_queue queue, cl_uint count,
     const cl_event *events, cl_event *event)
{
    if (driver.dead)
        return fail();
    return enqueued(__real_clEnqueueMarkerWithWaitList(queue, count, events, event), event);
}

WRAP(cl_int, clEnqueueWriteBuffer, cl_command_queue queue, cl_mem memory, cl_bool blocking,
     size_t offset, size_t size, const void *data, cl_uint count, const cl_event *events,
     cl_event *event)
{
    if (fails_at(COPY))
        return fail();
    return enqueued(__real_clEnqueueWriteBuffer(queue, memory, blocking, offset, size, data, count,
                                                events, event),
                    event);
}

WRAP(cl_int, clEnqueueReadBuffer, cl_command_queue queue, cl_mem memory, cl_bool blocking,
     size_t offset, size_t size, void *data, cl_uint count, const cl_event *events, cl_event *event)
{
    if (fails_at(COPY))
        return fail();
    return enqueued(__real_clEnqueueReadBuffer(queue, memory, blocking, offset, size, data, count,
                                               events, event),
                    event);
}

/* ---- cases ---- */

static const cl_int codes[] = {CL_DEVICE_NOT_AVAILABLE,
                               CL_OUT_OF_RESOURCES,
                               CL_OUT_OF_HOST_MEMORY,
                               CL_MEM_OBJECT_ALLOCATION_FAILURE,
                               CL_INVALID_CONTEXT,
                               CL_INVALID_COMMAND_QUEUE,
                               -9999,
                               -12345};
enum { CODES = sizeof codes / sizeof codes[0] };

static tarn_engine *start(struct tarn_rng *rng)
{
    memset(&driver, 0, sizeof driver);
    tarn_rng_seed(rng, 11);
    tarn_engine *engine = open_engine("opencl:0", TARN_BACKGROUND_STEPS);
    if (engine == NULL)
        return NULL;
    serve(engine, rng, SECOND);
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK(stats.on_device && stats.device_losses == 0 && stats.lookup.launches > 0);
    CHECK(driver.live > 0);
    return engine;
}

static void stop(tarn_engine *engine)
{
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(driver.live, 0);
}

/* Rounds of any size are worth a launch, and the network is what evicts. */
static void favour_scores(tarn_engine *engine)
{
    atomic_store(&engine->score_least, 1);
    tarn_cache_lock(engine->cache);
    engine->learned->live.weight[0] = 0.5f;
    tarn_cache_unlock(engine->cache);
}

/* It dies as told, the host takes over within a batch, nothing of it is kept, and it comes back. */
static void die_and_return(tarn_engine *engine, struct tarn_rng *rng, enum place place, cl_int code)
{
    uint64_t losses = stats_of(engine).device_losses, returns = stats_of(engine).device_returns;
    uint64_t launches = stats_of(engine).lookup.launches;
    driver.failures = 0;
    driver.code = code;
    driver.place = place;
    /* within one batch, unless it is another kernel's launch that fails */
    for (int i = 0; i < 64 && driver.kernel != NULL && driver.failures == 0; i++) {
        favour_scores(engine);
        serve(engine, rng, BATCH);
    }
    CHECK(serve_until_lost(engine, rng, 1));
    CHECK(driver.failures > 0);
    check_lost(engine, losses + 1);
    CHECK_NUMBER(driver.live, 0);
    driver.contexts_refused = 1; /* it isn't back yet at the first try */
    engine->retry_at = 0;
    serve(engine, rng, BATCH);
    CHECK(!stats_of(engine).on_device && driver.live == 0 && driver.contexts_refused == 0);
    CHECK(serve_until_back(engine, rng));
    CHECK_NUMBER(stats_of(engine).device_returns, returns + 1);
    serve(engine, rng, 2 * BATCH);
    CHECK(stats_of(engine).lookup.launches > launches);
    check_index(engine);
}

static void every_code_at_a_launch(void)
{
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    for (int i = 0; i < CODES; i++)
        die_and_return(engine, &rng, LAUNCH, codes[i]);
    stop(engine);
}

static void every_code_while_waiting(void)
{
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    for (int i = 0; i < CODES; i++)
        die_and_return(engine, &rng, STATUS, codes[i]);
    stop(engine);
}

static void every_other_call(void)
{
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    die_and_return(engine, &rng, FLUSH, CL_OUT_OF_RESOURCES);
    die_and_return(engine, &rng, FLUSH, CL_INVALID_COMMAND_QUEUE);
    stop(engine);
}

/* A driver that copies has two calls more that can tell. */
static void every_code_at_a_copy(void)
{
    struct tarn_rng rng;
    setenv("TARN_UNIFIED", "off", 1);
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    for (int i = 0; i < CODES; i++)
        die_and_return(engine, &rng, i % 2 ? COPY : LAUNCH, codes[i]);
    stop(engine);
    unsetenv("TARN_UNIFIED");
}

/* Whoever notices first, all of the engine leaves. */
static void any_kernel_may_notice(void)
{
    static const char *const kernels[] = {"lookup", "forward", "train"};
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    for (int i = 0; i < 3; i++) {
        driver.kernel = kernels[i];
        die_and_return(engine, &rng, LAUNCH, CL_OUT_OF_RESOURCES);
        driver.kernel = kernels[i];
        die_and_return(engine, &rng, LAUNCH, CL_DEVICE_NOT_AVAILABLE);
        driver.kernel = NULL;
    }
    stop(engine);
}

/* A shortage that passes: the answers stay right, and the device is used again. */
static void a_shortage_passes(void)
{
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    driver.once = true;
    die_and_return(engine, &rng, LAUNCH, CL_MEM_OBJECT_ALLOCATION_FAILURE);
    die_and_return(engine, &rng, FLUSH, CL_OUT_OF_HOST_MEMORY);
    stop(engine);
}

/* Nothing ends any more: the lookup that waits is let go after its limit, and the next ones at once. */
static void a_driver_that_hangs_is_left_behind(void)
{
    struct tarn_rng rng;
    tarn_engine *engine = start(&rng);
    REQUIRE(engine != NULL);
    driver.hangs = true;
    CHECK(serve_until_lost(engine, &rng, 1));
    check_lost(engine, 1);
    CHECK(driver.live > 0); /* what a launch may still use */
    driver.hangs = false;
    CHECK(serve_until_back(engine, &rng));
    serve(engine, &rng, 2 * BATCH);
    check_index(engine);
    tarn_engine_destroy(&engine);
}

static const struct tarn_kernel_source spin_source = {
    .name = "spin",
    .opencl_gpu =
        "__kernel void spin(__global uint *out, uint steps)\n"
        "{ uint x = 1;\n"
        "  for (uint i = steps; i > 0; i--) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }\n"
        "  if (get_global_id(0) == 0) out[0] = x; }\n",
    .gpu_local_size = 1,
    .buffer_count = 1,
    .constants_size = sizeof(uint32_t),
};

/*
 * A driver that calls back late, or not at all: it is asked all the same. The last callback may come
 * when the device is closed long since.
 */
static void a_wait_needs_no_callback(void)
{
    memset(&driver, 0, sizeof driver);
    for (int limit = 0; limit < 2; limit++) {
        tarn_device *device = NULL;
        tarn_queue *queue = NULL;
        tarn_kernel *kernel = NULL;
        tarn_buffer *buffer = NULL;
        struct tarn_error error = {0};
        REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "opencl:0"}, &device, &error) ==
                TARN_OK);
        CHECK(tarn_queue_create(device, &(struct tarn_queue_params){TARN_PRIORITY_HIGH}, &queue) ==
              TARN_OK);
        CHECK(tarn_kernel_create(device, &(struct tarn_kernel_params){&spin_source, NULL}, &kernel,
                                 &error) == TARN_OK);
        CHECK(tarn_buffer_create(device, &(struct tarn_buffer_params){.size = 64}, &buffer) ==
              TARN_OK);
        REQUIRE(queue != NULL && kernel != NULL && buffer != NULL);
        driver.late = true;
        driver.call = NULL;
        uint32_t steps = 20000000; /* tens of milliseconds */
        CHECK(tarn_queue_submit(
                  queue,
                  &(struct tarn_launch){
                      .kernel = kernel, .buffers = &buffer, .constants = &steps, .groups = 1},
                  NULL) == TARN_OK);
        if (limit == 1) /* it gives up first */
            CHECK(tarn_queue_finish(queue, 100) == TARN_TIMEOUT);
        else
            CHECK(tarn_queue_finish(queue, 10000000) == TARN_OK);
        CHECK(driver.call != NULL);
        if (limit == 1)
            CHECK(tarn_queue_finish(queue, TARN_FOREVER) == TARN_OK);
        CHECK(*(uint32_t *)tarn_buffer_data(buffer) != 0);
        tarn_buffer_destroy(&buffer);
        tarn_kernel_destroy(&kernel);
        tarn_queue_destroy(&queue);
        tarn_device_close(&device);
        CHECK_NUMBER(driver.live, 0);
        if (driver.call != NULL)
            driver.call(NULL, CL_COMPLETE, driver.user);
        driver.late = false;
    }
}

int main(int argc, char **argv)
{
    static const struct check_case cases[] = {
        CASE(every_code_at_a_launch),   CASE(every_code_while_waiting), CASE(every_other_call),
        CASE(every_code_at_a_copy),     CASE(any_kernel_may_notice),    CASE(a_shortage_passes),
        CASE(a_wait_needs_no_callback),
    };
    static const struct check_case slow[] = {CASE(a_driver_that_hangs_is_left_behind)};
    if (argc > 1 && strcmp(argv[1], "hang") == 0)
        return run_cases("opencl:0", slow, 1);
    return run_cases("opencl:0", cases, sizeof cases / sizeof cases[0]);
}
