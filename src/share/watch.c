/* SPDX-License-Identifier: Apache-2.0 */
/* What the arbiter knows of how busy things are, told to the activity's watch once a period. */
#include "share_private.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"

#define FEED_S 1 /* between two lessons for the pattern */

_Static_assert((int)TARN_SHARE_BUSY == TARN_ACTIVITY_BUSY &&
                   (int)TARN_SHARE_QUIET == TARN_ACTIVITY_QUIET &&
                   (int)TARN_SHARE_TRAINING == TARN_ACTIVITY_TRAINING &&
                   (int)TARN_SHARE_YIELDING == TARN_ACTIVITY_YIELDING,
               "the states have the same numbers");

static void told(void *context, const struct tarn_activity_transition *transition)
{
    tarn_share *s = context;
    s->stats.transitions++;
    snprintf(s->stats.reason, sizeof s->stats.reason, "%s", transition->text);
    tarn_log(TARN_LOG_INFO, "%s", transition->text);
}

tarn_status tarn_share_watch_init(tarn_share *s)
{
    tarn_pattern_init(&s->pattern);
    return tarn_activity_init(&s->activity, &(struct tarn_activity_params){
                                                .low = (double)s->params.low,
                                                .high = (double)s->params.high,
                                                .dwell_ns = s->params.dwell_us * UINT64_C(1000),
                                                .told = told,
                                                .told_context = s,
                                            });
}

/* Local time, s; false if there is none: simulated clocks have no days. */
static bool wall_clock(const tarn_share *s, int64_t *wall_s)
{
    struct tm local;
    time_t now = time(NULL);
    if (s->params.now_ns != NULL || localtime_r(&now, &local) == NULL)
        return false;
    *wall_s = (int64_t)now + local.tm_gmtoff;
    return true;
}

void tarn_share_watch_period(tarn_share *s, uint64_t now_ns)
{
    double period_ns = (double)(now_ns - s->period_ns);
    struct tarn_activity_sample sample = tarn_activity_unknown();
    int64_t wall_s;
    sample.own = fmin((double)s->busy_ns / period_ns, 1);
    sample.training = fmin((double)s->trained_ns / period_ns, 1);
    sample.system = (double)s->device_load;
    sample.memory = (double)s->memory_load;
    sample.gate = s->gate[0] != '\0' ? s->gate : NULL;
    if (wall_clock(s, &wall_s)) {
        if (wall_s - s->fed_s >= FEED_S || wall_s < s->fed_s) {
            tarn_pattern_feed(&s->pattern, wall_s, now_ns, tarn_activity_load(&s->activity));
            s->fed_s = wall_s;
        }
        tarn_activity_foresee(&s->activity, &s->pattern, wall_s, &sample);
    }
    tarn_activity_update(&s->activity, now_ns, &sample);
    s->busy_ns = s->trained_ns = 0;
}

void tarn_share_get_pattern(tarn_share *s, uint8_t bytes[TARN_SHARE_PATTERN_BYTES])
{
    _Static_assert(TARN_SHARE_PATTERN_BYTES == TARN_PATTERN_BYTES, "the header says its size");
    pthread_mutex_lock(&s->lock);
    tarn_pattern_write(&s->pattern, bytes);
    pthread_mutex_unlock(&s->lock);
}

tarn_status tarn_share_set_pattern(tarn_share *s, const uint8_t *bytes, size_t size)
{
    struct tarn_pattern pattern;
    tarn_status status = tarn_pattern_read(&pattern, bytes, size);
    if (status != TARN_OK)
        return status;
    pthread_mutex_lock(&s->lock);
    s->pattern = pattern;
    pthread_mutex_unlock(&s->lock);
    return TARN_OK;
}
