/* SPDX-License-Identifier: Apache-2.0 */
#include "feedback.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

tarn_status tarn_feedback_create(const char *const names[TARN_FEEDBACK_EXPERTS],
                                 struct tarn_feedback **feedback)
{
    struct tarn_feedback *f = *feedback = tarn_alloc_zeroed(1, sizeof *f);
    if (f == NULL)
        return TARN_NO_MEMORY;
    f->span = TARN_FEEDBACK_SPAN;
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        snprintf(f->expert[k], sizeof f->expert[k], "%s", names[k] != NULL ? names[k] : "");
    return TARN_OK;
}

void tarn_feedback_free(struct tarn_feedback **feedback)
{
    tarn_free(*feedback);
    *feedback = NULL;
}

/* ---- sums ---- */

static void add(struct tarn_feedback_figures *sum, const struct tarn_feedback_figures *more)
{
    sum->requests += more->requests;
    sum->misses += more->misses;
    sum->sampled += more->sampled;
    sum->cost += more->cost;
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        sum->expert_cost[k] += more->expert_cost[k];
    sum->beside_lru += more->beside_lru;
    sum->own_misses += more->own_misses;
    sum->lru_misses += more->lru_misses;
}

int tarn_feedback_best(const struct tarn_feedback_figures *figures)
{
    int best = 0;
    if (!(figures->sampled > 0))
        return -1;
    /* no expert alone costs nothing for long: one that does isn't there */
    for (int k = 1; k < TARN_FEEDBACK_EXPERTS; k++)
        if (figures->expert_cost[k] > 0 && figures->expert_cost[k] < figures->expert_cost[best])
            best = k;
    return best;
}

double tarn_feedback_regret(const struct tarn_feedback_figures *figures)
{
    int best = tarn_feedback_best(figures);
    return best < 0 ? (double)NAN : (figures->cost - figures->expert_cost[best]) / figures->sampled;
}

double tarn_feedback_gain(const struct tarn_feedback_figures *figures)
{
    return figures->lru_misses > 0 ? 1 - figures->own_misses / figures->lru_misses : (double)NAN;
}

void tarn_feedback_sum(const struct tarn_feedback *feedback, tarn_workload_class workload,
                       uint64_t version, struct tarn_feedback_figures *sum)
{
    const struct tarn_feedback_figures *from = version == 0 ? feedback->by_class : NULL;
    *sum = (struct tarn_feedback_figures){0};
    for (uint32_t i = 0; version != 0 && i < feedback->version_count; i++)
        if (feedback->version[i].version == version)
            from = feedback->version[i].by_class;
    for (int k = 0; from != NULL && k < TARN_WORKLOADS; k++)
        if (workload == TARN_WORKLOADS || (int)workload == k)
            add(sum, &from[k]);
}

/* ---- what happens ---- */

/* The version's row; where there is no room for another, the two oldest become one. */
static struct tarn_feedback_version *row_of(struct tarn_feedback *f, uint64_t version)
{
    for (uint32_t i = f->version_count; i-- > 0;)
        if (f->version[i].version == version)
            return &f->version[i];
    if (f->version_count == TARN_FEEDBACK_VERSIONS) {
        for (int k = 0; k < TARN_WORKLOADS; k++)
            add(&f->version[1].by_class[k], &f->version[0].by_class[k]);
        f->version[1].version = 0;
        f->version_count--;
        memmove(f->version, f->version + 1, f->version_count * sizeof f->version[0]);
    }
    struct tarn_feedback_version *row = &f->version[f->version_count++];
    *row = (struct tarn_feedback_version){.version = version};
    return row;
}

/* Two records that follow each other become one. */
static void join(struct tarn_feedback_record *first, const struct tarn_feedback_record *second)
{
    struct tarn_feedback_record sum = *second;
    sum.swaps += first->swaps;
    sum.rollbacks += first->rollbacks;
    sum.figures = first->figures;
    add(&sum.figures, &second->figures);
    *first = sum;
}

static void halve(struct tarn_feedback *f)
{
    for (uint32_t i = 0; i < f->record_count / 2; i++) {
        struct tarn_feedback_record first = f->record[2 * i];
        join(&first, &f->record[2 * i + 1]);
        f->record[i] = first;
    }
    f->record_count /= 2;
    f->span *= 2;
}

void tarn_feedback_add(struct tarn_feedback *f, const struct tarn_feedback_record *record)
{
    struct tarn_feedback_record *last =
        f->record_count > 0 ? &f->record[f->record_count - 1] : NULL;
    add(&f->by_class[record->workload], &record->figures);
    add(&row_of(f, record->version)->by_class[record->workload], &record->figures);
    if (last == NULL || last->workload != record->workload)
        f->visits[record->workload]++;
    if (last != NULL && last->figures.requests < f->span) {
        join(last, record);
        return;
    }
    if (f->record_count == TARN_FEEDBACK_RECORDS)
        halve(f);
    f->record[f->record_count++] = *record;
}
