/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arbiter's own thread. It blocks in the driver for the oldest slice, which costs the least CPU,
 * unless something is due before that is expected to end.
 */
#include "share_private.h"

#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/clock.h"

#define POLL_US  20000 /* a slice that takes longer: time to look around */
#define SLACK_NS 1000  /* of the thread's timers; the kernel's default is 50 us */

static void sleep_until(tarn_share *s, uint64_t until_ns)
{
    struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    pthread_mutex_lock(&s->lock);
    while (!s->kicked && !s->leave)
        if (until_ns == TARN_SHARE_NEVER)
            pthread_cond_wait(&s->wake, &s->lock);
        else if (pthread_cond_timedwait(&s->wake, &s->lock, &until) != 0)
            break;
    s->kicked = false;
    pthread_mutex_unlock(&s->lock);
}

/* When the oldest slice will have ended: 0 if there is none. */
static uint64_t end_of_oldest(tarn_share *s, bool *leave)
{
    pthread_mutex_lock(&s->lock);
    const struct tarn_timeline_entry *oldest = tarn_timeline_oldest(&s->timeline);
    uint64_t end = oldest != NULL ? oldest->end_ns : 0;
    *leave = s->leave;
    pthread_mutex_unlock(&s->lock);
    return end;
}

static void *run(void *context)
{
    tarn_share *s = context;
    prctl(PR_SET_TIMERSLACK, SLACK_NS);
    if (s->params.spare_time)
        pthread_setschedparam(pthread_self(), SCHED_IDLE, &(struct sched_param){0});
    for (;;) {
        bool leave;
        uint64_t next;
        tarn_share_pump(s, &next);
        uint64_t end = end_of_oldest(s, &leave);
        if (leave)
            return NULL;
        if (end != 0 && next >= end)
            tarn_share_reap(s, POLL_US);
        else if (next > tarn_clock_ns())
            sleep_until(s, next);
    }
}

tarn_status tarn_share_start(tarn_share *s)
{
    if (s->params.now_ns != NULL)
        return TARN_INVALID;
    if (s->thread_runs)
        return TARN_OK;
    /* lookups may come and go meanwhile, which ask whether there is a thread to wake */
    pthread_mutex_lock(&s->lock);
    s->leave = false;
    bool runs = s->thread_runs = pthread_create(&s->thread, NULL, run, s) == 0;
    pthread_mutex_unlock(&s->lock);
    return runs ? TARN_OK : TARN_NO_MEMORY;
}

tarn_status tarn_share_stop(tarn_share *s, uint64_t timeout_us)
{
    if (s->thread_runs) {
        pthread_mutex_lock(&s->lock);
        s->leave = true;
        pthread_mutex_unlock(&s->lock);
        pthread_cond_signal(&s->wake);
        pthread_join(s->thread, NULL);
        pthread_mutex_lock(&s->lock);
        s->thread_runs = false;
        pthread_mutex_unlock(&s->lock);
    }
    uint64_t begin = tarn_clock_ns();
    while (timeout_us > 0) {
        tarn_status status = tarn_share_reap(s, timeout_us);
        if (status != TARN_OK)
            return status == TARN_NOT_FOUND ? TARN_OK : status;
        uint64_t passed_us = (tarn_clock_ns() - begin) / 1000;
        if (passed_us >= timeout_us)
            return TARN_TIMEOUT;
        timeout_us -= passed_us;
        begin += passed_us * 1000;
    }
    return TARN_OK;
}
