/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody else's OpenCL program, whose background work is kept out of the way of what it waits for, by
 * <tarn/share.h> alone: an image is rendered over and over, in rows, while a small kernel is launched
 * now and then and waited for. It prints how long that takes with nothing beside it, beside a backlog of
 * whole images on a second queue, and beside the arbiter's slices of rows.
 *
 *     cc share_opencl.c $(pkg-config --cflags --libs tarn OpenCL) -lm -o share_opencl && ./share_opencl
 *
 * --quick: a second of it. Exit 0 if all was rendered right and once, and the small kernel waited much
 * less; 77 without a device.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tarn/share.h>
#include <time.h>

enum { WIDTH = 256, ROWS = 2048, TURNS = 40, SMALL = 64, BACKLOG = 8, MOST = 20000 };

static const char source[] =
    "kernel void render(global float *image, global uint *times, uint turns)\n"
    "{\n"
    "    size_t at = get_global_id(1) * get_global_size(0) + get_global_id(0);\n"
    "    float x = 0, c = -(float)(at % 1000) / 1000;\n"
    "    for (uint i = 0; i < turns; i++)\n"
    "        x = x * x * 0.5f + c;\n"
    "    image[at] = x;\n"
    "    times[at]++;\n"
    "}\n"
    "kernel void small(global uint *out, uint number)\n"
    "{\n"
    "    out[get_global_id(0)] = number * 64 + (uint)get_global_id(0);\n"
    "}\n";

/* ---- the program without Tarn ---- */

static cl_context context;
static cl_command_queue urgent, background;
static cl_program program;
static cl_kernel render, small;
static cl_mem image, times, out;
static uint32_t number; /* of small kernels so far */

static bool fine(cl_int code, const char *what)
{
    if (code != CL_SUCCESS)
        fprintf(stderr, "share_opencl: %s: OpenCL error %d\n", what, (int)code);
    return code == CL_SUCCESS;
}

static double now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec * 1e-3;
}

static void sleep_us(double us)
{
    struct timespec time = {0, (long)(us * 1e3)};
    nanosleep(&time, NULL);
}

static bool find_device(cl_device_id *device)
{
    cl_platform_id platform;
    char name[128] = "";
    if (clGetPlatformIDs(1, &platform, NULL) != CL_SUCCESS ||
        clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, device, NULL) != CL_SUCCESS)
        return false;
    clGetDeviceInfo(*device, CL_DEVICE_NAME, sizeof name - 1, name, NULL);
    printf("%s\n", name);
    return true;
}

static bool open_device(cl_device_id device)
{
    const char *text = source;
    const cl_uint turns = TURNS, none = 0;
    cl_int code;
    context = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    if (!fine(code, "context"))
        return false;
    urgent = clCreateCommandQueue(context, device, 0, &code);
    if (!fine(code, "queue"))
        return false;
    background = clCreateCommandQueue(context, device, CL_QUEUE_PROFILING_ENABLE, &code);
    if (!fine(code, "queue"))
        return false;
    program = clCreateProgramWithSource(context, 1, &text, NULL, &code);
    if (!fine(code, "program") ||
        !fine(clBuildProgram(program, 1, &device, "", NULL, NULL), "build"))
        return false;
    render = clCreateKernel(program, "render", &code);
    small = clCreateKernel(program, "small", NULL);
    image = clCreateBuffer(context, CL_MEM_READ_WRITE, WIDTH * ROWS * 4, NULL, NULL);
    times = clCreateBuffer(context, CL_MEM_READ_WRITE, WIDTH * ROWS * 4, NULL, NULL);
    out = clCreateBuffer(context, CL_MEM_READ_WRITE, SMALL * 4, NULL, NULL);
    if (!fine(code, "kernel") || small == NULL || image == NULL || times == NULL || out == NULL)
        return false;
    clSetKernelArg(render, 0, sizeof image, &image);
    clSetKernelArg(render, 1, sizeof times, &times);
    clSetKernelArg(render, 2, sizeof turns, &turns);
    clSetKernelArg(small, 0, sizeof out, &out);
    code = clEnqueueFillBuffer(background, times, &none, sizeof none, 0, WIDTH * ROWS * 4, 0, NULL,
                               NULL);
    return fine(code, "fill") && fine(clFinish(background), "fill");
}

static void close_device(void)
{
    clReleaseMemObject(image);
    clReleaseMemObject(times);
    clReleaseMemObject(out);
    clReleaseKernel(render);
    clReleaseKernel(small);
    clReleaseProgram(program);
    clReleaseCommandQueue(urgent);
    clReleaseCommandQueue(background);
    clReleaseContext(context);
}

static cl_int enqueue_rows(size_t first, size_t rows, cl_event *event)
{
    const size_t offset[2] = {0, first}, global[2] = {WIDTH, rows}, local[2] = {64, 1};
    cl_int code =
        clEnqueueNDRangeKernel(background, render, 2, offset, global, local, 0, NULL, event);
    return code == CL_SUCCESS ? clFlush(background) : code;
}

/* What is waited for: launched, and its answer read. */
static bool run_small(void)
{
    const size_t global = SMALL, local = SMALL;
    uint32_t answer[SMALL];
    number++;
    clSetKernelArg(small, 1, sizeof number, &number);
    if (!fine(clEnqueueNDRangeKernel(urgent, small, 1, NULL, &global, &local, 0, NULL, NULL),
              "small kernel") ||
        !fine(clEnqueueReadBuffer(urgent, out, CL_TRUE, 0, sizeof answer, answer, 0, NULL, NULL),
              "small kernel"))
        return false;
    for (uint32_t i = 0; i < SMALL; i++)
        if (answer[i] != number * SMALL + i) {
            fprintf(stderr, "share_opencl: a wrong answer\n");
            return false;
        }
    return true;
}

/* ---- what Tarn has to know of it ---- */

struct rows {
    struct {
        cl_event event;
        uint32_t rows;
    } slice[TARN_SHARE_MOST_SLICES];
    uint32_t first, count; /* in flight */
    size_t next;           /* row */
    uint64_t done;
};

static tarn_status submit_rows(void *user, uint32_t ticket, uint32_t units, uint32_t *submitted)
{
    struct rows *r = user;
    uint32_t at = (r->first + r->count) % TARN_SHARE_MOST_SLICES;
    (void)ticket; /* by which slices would be told to stop, if the kernel looked for that */
    if (units > ROWS - r->next)
        units = (uint32_t)(ROWS - r->next);
    if (enqueue_rows(r->next, units, &r->slice[at].event) != CL_SUCCESS)
        return TARN_DRIVER;
    r->slice[at].rows = *submitted = units;
    r->next = (r->next + units) % ROWS;
    r->count++;
    return TARN_OK;
}

/* OpenCL knows no wait with a limit; but a slice is short. */
static tarn_status poll_rows(void *user, uint64_t timeout_us, struct tarn_share_slice *slice)
{
    struct rows *r = user;
    cl_event event = r->slice[r->first].event;
    cl_int state = CL_QUEUED;
    if (timeout_us > 0 && clWaitForEvents(1, &event) != CL_SUCCESS)
        return TARN_DRIVER;
    if (clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL) !=
            CL_SUCCESS ||
        state < 0)
        return TARN_DRIVER;
    if (state != CL_COMPLETE)
        return TARN_TIMEOUT;
    cl_ulong start = 0, end = 0;
    clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof start, &start, NULL);
    clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    *slice = (struct tarn_share_slice){r->slice[r->first].rows, start, end};
    clReleaseEvent(event);
    r->done += slice->units;
    r->first = (r->first + 1) % TARN_SHARE_MOST_SLICES;
    r->count--;
    return TARN_OK;
}

/* ---- the comparison ---- */

struct way {
    const char *name;
    double us[MOST], elapsed_us;
    size_t count;
    uint64_t rows;
};

static double random_pause_us(void)
{
    return -log(1 - rand() / (RAND_MAX + 1.0)) * 500;
}

static bool time_small(struct way *way, size_t count, tarn_share *share)
{
    for (size_t i = 0; i < count && way->count < MOST; i++) {
        sleep_us(random_pause_us());
        double start = now_us();
        uint64_t arrival = share != NULL ? tarn_share_arrive(share) : 0;
        bool good = run_small();
        if (share != NULL)
            tarn_share_depart(share, arrival, 0);
        if (!good)
            return false;
        way->us[way->count++] = now_us() - start;
    }
    return true;
}

static bool has_ended(cl_event event)
{
    cl_int state = CL_QUEUED;
    clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return state <= CL_COMPLETE;
}

/* Whole images, so many in flight, with small kernels beside them or not. */
static bool run_backlog(struct way *way, bool beside, double most_us)
{
    cl_event event[BACKLOG];
    uint64_t begun = 0, ended = 0;
    bool good = true;
    double begin = now_us();
    while (good && now_us() - begin < most_us) {
        for (; begun < ended + BACKLOG && good; begun++)
            good = fine(enqueue_rows(0, ROWS, &event[begun % BACKLOG]), "backlog");
        if (good && beside)
            good = time_small(way, 1, NULL);
        else if (good)
            good = fine(clWaitForEvents(1, &event[ended % BACKLOG]), "backlog");
        for (; ended < begun && has_ended(event[ended % BACKLOG]); ended++)
            clReleaseEvent(event[ended % BACKLOG]);
    }
    good = fine(clFinish(background), "backlog") && good;
    for (; ended < begun; ended++)
        clReleaseEvent(event[ended % BACKLOG]);
    way->rows += begun * ROWS;
    way->elapsed_us += now_us() - begin;
    return good;
}

static bool run_arbiter(struct way *way, struct rows *rows, size_t count,
                        struct tarn_share_stats *stats)
{
    const struct tarn_share_work work = {
        .name = "rendering", .user = rows, .submit = submit_rows, .poll = poll_rows};
    static struct way warm_up;
    struct tarn_error error;
    tarn_share *share;
    if (tarn_share_create(&(struct tarn_share_params){.work = &work, .dwell_us = 100000}, &share,
                          &error) != TARN_OK ||
        tarn_share_start(share) != TARN_OK)
        return false;
    bool good = true;
    double begin = now_us();
    do { /* it waits for a quiet moment, and measures how long rows take */
        warm_up.count = 0;
        good = time_small(&warm_up, 50, share);
        tarn_share_get_stats(share, stats);
    } while (good && stats->slices < 1000 && now_us() - begin < 5e6);
    uint64_t before = stats->units;
    begin = now_us();
    good = good && time_small(way, count, share);
    tarn_share_get_stats(share, stats);
    way->rows += stats->units - before;
    way->elapsed_us += now_us() - begin;
    good = tarn_share_stop(share, 10000000) == TARN_OK && good;
    tarn_share_destroy(&share);
    return good;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(struct way *way, double q)
{
    qsort(way->us, way->count, sizeof(double), compare);
    return way->count > 0 ? way->us[(size_t)(q * (double)(way->count - 1))] : NAN;
}

/* Each pixel was rendered as often as every other of the images, and is what the host makes of it. */
static bool check_image(const struct rows *rows, uint64_t whole)
{
    static float pixels[WIDTH * ROWS];
    static uint32_t counts[WIDTH * ROWS];
    if (!fine(clEnqueueReadBuffer(background, image, CL_TRUE, 0, sizeof pixels, pixels, 0, NULL,
                                  NULL),
              "image") ||
        !fine(clEnqueueReadBuffer(background, times, CL_TRUE, 0, sizeof counts, counts, 0, NULL,
                                  NULL),
              "image"))
        return false;
    for (size_t at = 0; at < WIDTH * ROWS; at++) {
        float x = 0, c = -(float)(at % 1000) / 1000;
        uint64_t expected = whole + rows->done / ROWS + (at / WIDTH < rows->done % ROWS);
        for (int i = 0; i < TURNS; i++)
            x = x * x * 0.5f + c;
        if (counts[at] != expected || !(fabsf(pixels[at] - x) < 1e-3f)) {
            fprintf(stderr, "share_opencl: pixel %zu: rendered %u times, not %llu; %g, not %g\n",
                    at, (unsigned)counts[at], (unsigned long long)expected, (double)pixels[at],
                    (double)x);
            return false;
        }
    }
    return true;
}

static double rate(const struct way *way)
{
    return (double)way->rows / way->elapsed_us * 1e6;
}

int main(int argc, char **argv)
{
    static struct way alone = {.name = "alone"}, naive = {.name = "naive"},
                      arbiter = {.name = "arbiter"}, solo;
    static struct rows rows;
    struct tarn_share_stats stats = {0};
    cl_device_id device;
    bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
    int rounds = quick ? 1 : 5;
    size_t count = quick ? 400 : 1500;
    if (!find_device(&device)) {
        printf("no OpenCL device\n");
        return 77;
    }
    bool good = open_device(device);
    for (int i = 0; i < 50 && good; i++)
        good = run_small();
    for (int round = 0; round < rounds && good; round++)
        good = time_small(&alone, count, NULL) && run_backlog(&naive, true, 7e5) &&
               run_arbiter(&arbiter, &rows, count, &stats) && run_backlog(&solo, false, 4e5);
    good = good && check_image(&rows, (naive.rows + solo.rows) / ROWS);
    if (!good)
        return 1;
    printf("%-8s %10s %10s %10s %8s\n", "way", "p50 us", "p99 us", "kernels", "rows/s");
    alone.elapsed_us = 1;
    struct way *const ways[] = {&alone, &naive, &arbiter};
    for (int i = 0; i < 3; i++)
        printf("%-8s %10.1f %10.1f %10zu %8.0f\n", ways[i]->name, quantile(ways[i], 0.5),
               quantile(ways[i], 0.99), ways[i]->count, rate(ways[i]));
    printf("an image at once takes %.1f ms; slices of at most %u us, %u in flight\n"
           "rendering keeps %.2f of its rate without small kernels\n",
           ROWS / rate(&solo) * 1e3, (unsigned)stats.quantum_us, (unsigned)stats.in_flight,
           rate(&arbiter) / rate(&solo));
    close_device();
    /* on a busy machine one of a CPU's threads may be late, and the other one free for half of them */
    if (quantile(&arbiter, 0.5) * 5 > quantile(&naive, 0.9) || arbiter.rows == 0) {
        fprintf(stderr, "share_opencl: the arbiter made no difference\n");
        return 1;
    }
    return 0;
}
