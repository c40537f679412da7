/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for an event. Without a limit the driver does it. With one there is no call for it in
 * OpenCL, and the driver's blocking wait can't be left, so that a launch that hangs would take its
 * thread along.
 *
 * On a CPU-type device the thread sleeps until the driver calls back: the callback runs on the thread
 * that did the work, and costs what the driver's own wait costs; asking again and again takes the CPU
 * from the launch that it waits for (PoCL 3.1, 16 K lookups: 27 % more CPU time). How other drivers
 * call back, late and from a thread of their own or not, has not been measured: there it is asked,
 * with growing pauses. Nothing depends on the callback: it is asked now and then all the same.
 */
#include "opencl.h"

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define FIRST_LOOK_NS                                                                              \
    2000000u /* after that long without a callback it is asked for the first time */
#define LONG_LOOK_NS                                                                               \
    100000000u     /* and at least that often later, which a lost device is noticed by */
#define AT_FIRST 4 /* waiters made with the device: one for each thread that waits, or more */

/* One wait. It is used again once both sides are through with it. */
struct waiter {
    struct waiter *next;
    struct opencl_waiters *pool;
    pthread_mutex_t lock;
    pthread_cond_t called_back;
    bool called, left; /* by `lock`: the driver has called; the thread has gone before it did */
};

/* Lives as long as the device, or as the last callback that nobody waits for any more. */
struct opencl_waiters {
    pthread_mutex_t lock;
    struct waiter *spare;
    unsigned left; /* waiters whose callback is still to come */
    bool closed;
};

static void destroy_pool(struct opencl_waiters *pool)
{
    while (pool->spare != NULL) {
        struct waiter *waiter = pool->spare;
        pool->spare = waiter->next;
        pthread_cond_destroy(&waiter->called_back);
        pthread_mutex_destroy(&waiter->lock);
        free(waiter);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void tarn_opencl_waiters_close(struct opencl_waiters *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->closed = true;
    bool last = pool->left == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last)
        destroy_pool(pool);
}

static struct waiter *create_waiter(struct opencl_waiters *pool)
{
    struct waiter *waiter = calloc(1, sizeof *waiter);
    pthread_condattr_t attributes;
    if (waiter == NULL)
        return NULL;
    waiter->pool = pool;
    if (pthread_mutex_init(&waiter->lock, NULL) != 0)
        goto no_lock;
    if (pthread_condattr_init(&attributes) != 0)
        goto no_attributes;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int failed = pthread_cond_init(&waiter->called_back, &attributes);
    pthread_condattr_destroy(&attributes);
    if (failed == 0)
        return waiter;
no_attributes:
    pthread_mutex_destroy(&waiter->lock);
no_lock:
    free(waiter);
    return NULL;
}

struct opencl_waiters *tarn_opencl_waiters_create(void)
{
    struct opencl_waiters *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        return NULL;
    }
    for (int i = 0; i < AT_FIRST; i++) {
        struct waiter *waiter = create_waiter(pool);
        if (waiter == NULL) {
            destroy_pool(pool);
            return NULL;
        }
        waiter->next = pool->spare;
        pool->spare = waiter;
    }
    return pool;
}

static struct waiter *take(struct opencl_waiters *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct waiter *waiter = pool->spare;
    if (waiter != NULL)
        pool->spare = waiter->next;
    pthread_mutex_unlock(&pool->lock);
    if (waiter == NULL)
        waiter = create_waiter(pool);
    if (waiter != NULL)
        waiter->called = waiter->left = false;
    return waiter;
}

/* `late`: by a callback whose thread has gone. */
static void give(struct waiter *waiter, bool late)
{
    struct opencl_waiters *pool = waiter->pool;
    pthread_mutex_lock(&pool->lock);
    waiter->next = pool->spare;
    pool->spare = waiter;
    pool->left -= late;
    bool last = pool->closed && pool->left == 0;
    pthread_mutex_unlock(&pool->lock);
    if (last)
        destroy_pool(pool);
}

static void CL_CALLBACK call_back(cl_event event, cl_int state, void *user)
{
    struct waiter *waiter = user;
    (void)event;
    (void)state;
    pthread_mutex_lock(&waiter->lock);
    waiter->called = true;
    bool left = waiter->left;
    if (!left)
        pthread_cond_signal(&waiter->called_back);
    pthread_mutex_unlock(&waiter->lock);
    if (left)
        give(waiter, true);
}

static cl_int state_of(cl_event event)
{
    cl_int state = CL_QUEUED;
    cl_int code =
        clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
    return code != CL_SUCCESS ? code : state;
}

static struct timespec moment(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u),
                             .tv_nsec = (long)(ns % 1000000000u)};
}

/* True if the driver has called by then. */
static bool sleep_until(struct waiter *waiter, uint64_t until_ns)
{
    struct timespec until = moment(until_ns);
    pthread_mutex_lock(&waiter->lock);
    while (!waiter->called &&
           pthread_cond_timedwait(&waiter->called_back, &waiter->lock, &until) == 0)
        continue;
    bool called = waiter->called;
    pthread_mutex_unlock(&waiter->lock);
    return called;
}

static void leave(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->pool->lock);
    waiter->pool->left++;
    pthread_mutex_unlock(&waiter->pool->lock);
    pthread_mutex_lock(&waiter->lock);
    waiter->left = true;
    bool called = waiter->called; /* just now: it will not come again */
    pthread_mutex_unlock(&waiter->lock);
    if (called)
        give(waiter, true);
}

/* Sleeps until the driver calls, the event is over, the limit has come or the device is lost. */
static void sleep_for(struct opencl_device *device, cl_event event, uint64_t started,
                      uint64_t timeout_us)
{
    struct waiter *waiter = take(device->waiters);
    if (waiter == NULL)
        return;
    if (clSetEventCallback(event, CL_COMPLETE, call_back, waiter) != CL_SUCCESS) {
        give(waiter, false);
        return;
    }
    uint64_t limit =
        timeout_us < (UINT64_MAX - started) / 1000 ? started + timeout_us * 1000 : UINT64_MAX;
    for (uint64_t look = FIRST_LOOK_NS;; look = 2 * look < LONG_LOOK_NS ? 2 * look : LONG_LOOK_NS) {
        uint64_t now = tarn_clock_ns(), until = limit - now < look ? limit : now + look;
        if (now < limit && sleep_until(waiter, until)) {
            give(waiter, false);
            return;
        }
        if (now >= limit || state_of(event) <= CL_COMPLETE || tarn_device_is_lost(&device->base))
            break;
    }
    leave(waiter);
}

tarn_status tarn_opencl_wait(struct opencl_device *device, cl_event event, uint64_t timeout_us)
{
    if (timeout_us == TARN_FOREVER) {
        cl_int code = clWaitForEvents(1, &event);
        if (code == CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST && state_of(event) < 0)
            code = state_of(event);
        return tarn_opencl_check(device, code, "clWaitForEvents");
    }
    uint64_t started = tarn_clock_ns();
    bool sleeps = device->base.info.type == TARN_DEVICE_CPU && timeout_us > 0;
    for (;;) {
        cl_int state = state_of(event);
        if (state <= CL_COMPLETE)
            return tarn_opencl_check(device, state, "a launch");
        if (sleeps) { /* once: from here on it is asked, should the driver have called too early */
            sleeps = false;
            sleep_for(device, event, started, timeout_us);
            continue;
        }
        if (!tarn_backend_pause(started, timeout_us))
            return TARN_TIMEOUT;
        if (tarn_device_is_lost(&device->base))
            return TARN_DEVICE_LOST;
    }
}
