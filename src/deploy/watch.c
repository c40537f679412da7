/* SPDX-License-Identifier: Apache-2.0 */
#include "watch.h"

#include <math.h>
#include <stdio.h>

#define ENOUGH      32 /* blocks: with fewer, however long each was, nothing could have been condemned */
#define BLOCKS      64 /* of a watch, where they are neither shorter nor longer than this: */
#define LEAST_BLOCK 32
#define MOST_BLOCK  1024

static double or_else(double value, double otherwise)
{
    return value == 0 ? otherwise : value;
}

tarn_status tarn_watch_init(struct tarn_watch *w, const struct tarn_watch_params *params)
{
    *w = (struct tarn_watch){.params = *params};
    struct tarn_watch_params *p = &w->params;
    p->alpha = or_else(p->alpha, 0.01);
    p->notice = or_else(p->notice, 0.02);
    p->slack = or_else(p->slack, 0.05);
    if (!(p->alpha > 0 && p->alpha < 1 && p->notice > 0 && p->notice < 1 && p->slack > 0 &&
          p->slack < 1))
        return TARN_INVALID;
    uint64_t twice = p->resident < UINT64_MAX / 2 ? p->resident * 2 : UINT64_MAX;
    w->horizon = twice < TARN_WATCH_LEAST ? TARN_WATCH_LEAST : twice;
    uint64_t block = w->horizon / BLOCKS;
    w->block_size = block < LEAST_BLOCK  ? LEAST_BLOCK
                    : block > MOST_BLOCK ? MOST_BLOCK
                                         : (uint32_t)block;
    tarn_evalue_init(&w->worse);
    tarn_evalue_init(&w->behind);
    return TARN_OK;
}

static void add_counts(struct tarn_watch_counts *to, const struct tarn_watch_counts *c)
{
    to->requests += c->requests;
    to->misses += c->misses;
    to->base_misses += c->base_misses;
    to->lru_misses += c->lru_misses;
}

static double ratio(uint64_t misses, uint64_t requests)
{
    return requests > 0 ? (double)misses / (double)requests : 0;
}

static tarn_watch_verdict judge(struct tarn_watch *w)
{
    double enough = log(2 / w->params.alpha);
    if (tarn_evalue_log(&w->worse) >= enough)
        return TARN_WATCH_ROLL_BACK;
    w->is_behind = w->is_behind || tarn_evalue_log(&w->behind) >= enough;
    /* where both are behind, the workload is to blame, and more misses than the base's may be noise */
    double allowed = (1 + w->params.slack) * (double)w->total.lru_misses;
    if (w->is_behind && (double)w->total.base_misses <= allowed &&
        w->total.misses > w->total.base_misses)
        return TARN_WATCH_ROLL_BACK;
    if (w->total.requests >= w->horizon && w->blocks >= ENOUGH)
        return TARN_WATCH_KEEP;
    return w->is_behind ? TARN_WATCH_BEHIND : TARN_WATCH_GOES_ON;
}

tarn_watch_verdict tarn_watch_feed(struct tarn_watch *w, const struct tarn_watch_counts *counts)
{
    if (w->verdict == TARN_WATCH_KEEP || w->verdict == TARN_WATCH_ROLL_BACK)
        return w->verdict;
    uint64_t before = w->total.requests - w->block.requests; /* of whole blocks */
    double aim = w->params.notice * ratio(w->total.base_misses - w->block.base_misses, before);
    add_counts(&w->total, counts);
    add_counts(&w->block, counts);
    if (w->block.requests < w->block_size)
        return w->verdict;
    double live = ratio(w->block.misses, w->block.requests);
    double base = ratio(w->block.base_misses, w->block.requests);
    double lru = ratio(w->block.lru_misses, w->block.requests);
    w->block = (struct tarn_watch_counts){0};
    w->blocks++;
    tarn_evalue_add(&w->worse, live - base, aim);
    tarn_evalue_add(&w->behind, live - (1 + w->params.slack) * lru, aim);
    return w->verdict = judge(w);
}

void tarn_watch_explain(const struct tarn_watch *w, struct tarn_change *change, char *text,
                        size_t room)
{
    const struct tarn_watch_counts *t = &w->total;
    double live = ratio(t->misses, t->requests), base = ratio(t->base_misses, t->requests);
    double lru = ratio(t->lru_misses, t->requests);
    *change = (struct tarn_change){
        .reason = TARN_REASON_REGRESSION,
        .failed = w->verdict == TARN_WATCH_ROLL_BACK,
        .metrics = 3,
        .metric = {{TARN_METRIC_MISS_RATIO, (float)live},
                   {TARN_METRIC_PARENT_MISS_RATIO, (float)base},
                   {TARN_METRIC_LRU_MISS_RATIO, (float)lru}},
        .text = text,
    };
    snprintf(text, room, "miss ratio %.4f, %.4f before, LRU %.4f, in %llu requests", live, base,
             lru, (unsigned long long)t->requests);
}

tarn_status tarn_watch_roll_back(const struct tarn_watch *w, tarn_slot *slot, uint64_t from,
                                 uint64_t base, uint64_t requests, int64_t unix_ms,
                                 uint64_t *version, struct tarn_error *error)
{
    struct tarn_change change;
    char text[TARN_HISTORY_TEXT];
    tarn_watch_explain(w, &change, text, sizeof text);
    change.failed = true;
    change.requests = requests;
    change.unix_ms = unix_ms;
    return tarn_slot_rollback(slot, base, from, &change, version, error);
}
