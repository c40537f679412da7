/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a slice's times tell. Device clocks have another zero than ours, may wrap and may lie: only
 * differences are used, and only while they fit between the submission and the moment at which the
 * end was seen.
 */
#include "share_private.h"

#include "base/log.h"

#define SLACK_NS     2000000 /* a device's clock may count so much more than ours */
#define DRIFT        0.001   /* of the offset, each slice */
#define FAR_NS       1000000 /* off by more than that so many times in a row: */
#define FAR_TIMES    4
#define MISFIT       8 /* more than one in nine slices with wrong times, and they are given up */
#define MOST_MISFITS 32
#define QUICK        0.5 /* weight of a sample that is to be believed at once */
#define LOWEST       4
#define SHRINK       0.9995 /* of the latency: only slices that come late show it, so some have to */
#define MOST_STEP    2      /* times the latency, and */
#define MOST_STEP_NS 20000  /* that: what a late start counts as at most */
#define LATE         0.005  /* of the latency, and */
#define LATE_NS      200    /* later than that behind the gap: the slice was not there yet */

static double lowest_of(struct tarn_lowest *lowest, double sample)
{
    lowest->last[lowest->count++ % LOWEST] = sample;
    for (uint32_t i = 0; i < LOWEST && i < lowest->count; i++)
        sample = lowest->last[i] < sample ? lowest->last[i] : sample;
    return sample;
}

static void follow(double *value, bool *known, struct tarn_lowest *lowest, double sample)
{
    double low = lowest_of(lowest, sample);
    *value = !*known ? low : *value + QUICK * (low - *value);
    *known = true;
}

static void keep_in_step(struct tarn_share_observer *o, int64_t sample_ns)
{
    int64_t off = sample_ns - o->offset_ns;
    /* seen never before it was: the smallest difference is the truest; but clocks can be set */
    o->off = off > FAR_NS ? o->off + 1 : 0;
    if (!o->in_step || off < 0 || o->off >= FAR_TIMES)
        o->offset_ns = sample_ns;
    else
        o->offset_ns += (int64_t)(DRIFT * (double)off);
    o->in_step = true;
}

/*
 * Between the slice before and this one the device did nothing else: what was there before the other
 * ended shows the gap, what came later the latency.
 */
static void learn_between(struct tarn_share_observer *o, const struct tarn_timeline_entry *e,
                          const struct tarn_share_slice *slice)
{
    double start_ns = (double)((int64_t)slice->start_ns + o->offset_ns);
    double since_submit_ns = start_ns - (double)e->submit_ns;
    if (!o->latency_known) {
        follow(&o->latency_ns, &o->latency_known, &o->latencies, since_submit_ns);
        return;
    }
    if (o->last_end_ns == 0 || slice->start_ns < o->last_end_ns)
        return;
    double between_ns = (double)(slice->start_ns - o->last_end_ns);
    double last_end_ns = (double)((int64_t)o->last_end_ns + o->offset_ns);
    if ((double)e->submit_ns + o->latency_ns < last_end_ns) {
        follow(&o->gap_ns, &o->gap_known, &o->gaps, between_ns);
        o->latency_ns *= SHRINK;
    } else if (o->gap_known && between_ns > o->gap_ns + LATE_NS + LATE * o->latency_ns) {
        /* a thread of the driver's that wasn't scheduled is no latency: it grows step by step */
        double most_ns = MOST_STEP * o->latency_ns + MOST_STEP_NS;
        since_submit_ns = since_submit_ns < most_ns ? since_submit_ns : most_ns;
        follow(&o->latency_ns, &o->latency_known, &o->latencies, since_submit_ns);
    }
}

/* False if the device's times are of no use for this slice. */
static bool times_fit(struct tarn_share_observer *o, const struct tarn_timeline_entry *e,
                      const struct tarn_share_slice *slice, uint64_t now_ns, const char *name)
{
    bool told = slice->end_ns != 0 || slice->start_ns != 0;
    if (told && slice->end_ns >= slice->start_ns &&
        slice->end_ns - slice->start_ns <= now_ns - e->submit_ns + SLACK_NS) {
        o->misfits -= o->misfits > 0;
        return true;
    }
    if (!o->warned)
        tarn_log(told ? TARN_LOG_WARNING : TARN_LOG_INFO,
                 "share: the device's times of %s %s: the host's clock is used", name,
                 told ? "can't be right" : "aren't told");
    o->warned = true;
    o->misfits +=
        told ? MISFIT : MOST_MISFITS; /* a counter that wraps now and then is still good */
    o->blind = o->misfits >= MOST_MISFITS;
    return false;
}

bool tarn_share_observe(struct tarn_share_observer *o, const struct tarn_timeline_entry *e,
                        const struct tarn_share_slice *slice, bool undisturbed, uint64_t now_ns,
                        struct tarn_share_observed *seen, const char *name)
{
    bool fits = !o->blind && times_fit(o, e, slice, now_ns, name);
    if (!fits) {
        /* one at a time: from its submission on nothing else was there, if nobody came */
        *seen = (struct tarn_share_observed){now_ns, o->blind && undisturbed ? now_ns - e->submit_ns
                                                                             : e->expect_ns};
        o->last_end_ns = 0;
        return o->blind && undisturbed;
    }
    keep_in_step(o, (int64_t)(now_ns - slice->end_ns));
    if (undisturbed)
        learn_between(o, e, slice);
    o->last_end_ns = slice->end_ns;
    *seen = (struct tarn_share_observed){(uint64_t)((int64_t)slice->end_ns + o->offset_ns),
                                         slice->end_ns - slice->start_ns};
    return true;
}
