/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of what decisions cost: magic, version of the format, counts, then all fields in the order of
 * <tarn/feedback.h>, little-endian, and a hash of what is before it.
 */
#include "feedback.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"

#define MAGIC       "TARNFBK\x1a"
#define VERSION     1
#define MOST_SUM    1e18 /* a sum beyond that, or a number that isn't one, is damage */
#define MOST_WEIGHT 1e6

enum {
    HEADER = 8 + 4 + 4 + 4 + 4, /* magic, version, records, versions, 0 */
    HASH = 8,
    FIGURES = 2 * 8 + (2 + TARN_FEEDBACK_EXPERTS + 3) * 8,
    RECORD = 2 * 8 + 4 + 4 + TARN_FEEDBACK_EXPERTS * 4 + 2 * 4 + FIGURES,
    ROW = 8 + TARN_WORKLOADS * FIGURES,
    COMMON = TARN_FEEDBACK_EXPERTS * 12 + TARN_WORKLOADS * (FIGURES + 8) +
             TARN_WORKLOADS * (TARN_FEEDBACK_EXPERTS + 1) * 8 + 8,
};

/* The same walk writes and reads, so that they can't differ. */
struct walk {
    uint8_t *to;         /* writing, */
    const uint8_t *from; /* or reading */
    bool bad;
};

static void number(struct walk *w, uint64_t *value)
{
    if (w->to != NULL) {
        tarn_put_u64(w->to, *value);
        w->to += 8;
    } else {
        *value = tarn_get_u64(w->from);
        w->from += 8;
    }
}

static void small(struct walk *w, uint32_t *value)
{
    if (w->to != NULL) {
        tarn_put_u32(w->to, *value);
        w->to += 4;
    } else {
        *value = tarn_get_u32(w->from);
        w->from += 4;
    }
}

static void real(struct walk *w, double *value)
{
    uint64_t bits;
    memcpy(&bits, value, sizeof bits);
    number(w, &bits);
    memcpy(value, &bits, sizeof bits);
    w->bad = w->bad || !(*value >= 0 && *value <= MOST_SUM);
}

static void single(struct walk *w, float *value)
{
    uint32_t bits;
    memcpy(&bits, value, sizeof bits);
    small(w, &bits);
    memcpy(value, &bits, sizeof bits);
    w->bad = w->bad || !(*value >= 0 && (double)*value <= MOST_WEIGHT);
}

static void figures(struct walk *w, struct tarn_feedback_figures *f)
{
    number(w, &f->requests);
    number(w, &f->misses);
    real(w, &f->sampled);
    real(w, &f->cost);
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        real(w, &f->expert_cost[k]);
    real(w, &f->beside_lru);
    real(w, &f->own_misses);
    real(w, &f->lru_misses);
}

static void record(struct walk *w, struct tarn_feedback_record *r)
{
    uint32_t workload = (uint32_t)r->workload;
    number(w, &r->end);
    number(w, &r->version);
    small(w, &workload);
    w->bad = w->bad || workload >= TARN_WORKLOADS;
    r->workload = (tarn_workload_class)workload;
    single(w, &r->confidence);
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        single(w, &r->weight[k]);
    small(w, &r->swaps);
    small(w, &r->rollbacks);
    figures(w, &r->figures);
}

static void name(struct walk *w, char text[12])
{
    if (w->to != NULL) {
        memcpy(w->to, text, 12);
        w->to += 12;
        return;
    }
    memcpy(text, w->from, 12);
    w->from += 12;
    size_t length = strnlen(text, 12);
    w->bad = w->bad || length == 12;
    for (size_t i = 0; i < 12; i++)
        w->bad = w->bad || (i < length ? text[i] < 'a' || text[i] > 'z' : text[i] != '\0');
}

static void everything(struct walk *w, struct tarn_feedback *f)
{
    for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
        name(w, f->expert[k]);
    for (int c = 0; c < TARN_WORKLOADS; c++) {
        figures(w, &f->by_class[c]);
        number(w, &f->visits[c]);
        for (int k = 0; k < TARN_FEEDBACK_EXPERTS; k++)
            real(w, &f->mix[c][k]);
        real(w, &f->mix_seen[c]);
    }
    number(w, &f->span);
    for (uint32_t i = 0; i < f->version_count; i++) {
        number(w, &f->version[i].version);
        for (int c = 0; c < TARN_WORKLOADS; c++)
            figures(w, &f->version[i].by_class[c]);
    }
    for (uint32_t i = 0; i < f->record_count; i++)
        record(w, &f->record[i]);
}

static size_t size_of(uint32_t records, uint32_t versions)
{
    return HEADER + COMMON + (size_t)records * RECORD + (size_t)versions * ROW + HASH;
}

size_t tarn_feedback_file_limit(void)
{
    return size_of(TARN_FEEDBACK_RECORDS, TARN_FEEDBACK_VERSIONS);
}

size_t tarn_feedback_encode(const struct tarn_feedback *feedback, uint8_t *to)
{
    size_t size = size_of(feedback->record_count, feedback->version_count);
    struct walk w = {.to = to + HEADER};
    memcpy(to, MAGIC, 8);
    tarn_put_u32(to + 8, VERSION);
    tarn_put_u32(to + 12, feedback->record_count);
    tarn_put_u32(to + 16, feedback->version_count);
    tarn_put_u32(to + 20, 0);
    everything(&w, (struct tarn_feedback *)feedback); /* only read */
    tarn_put_u64(to + size - HASH, tarn_hash(to, size - HASH));
    return size;
}

tarn_status tarn_feedback_decode(const uint8_t *data, size_t size, const char *where,
                                 struct tarn_feedback *f, struct tarn_error *error)
{
    if (size < HEADER + HASH || memcmp(data, MAGIC, 8) != 0)
        return tarn_fail(error, TARN_CORRUPT, "%s: no figures of decisions", where);
    if (tarn_get_u32(data + 8) != VERSION)
        return tarn_fail(error, TARN_UNSUPPORTED, "%s: format %u isn't known", where,
                         (unsigned)tarn_get_u32(data + 8));
    memset(f, 0, sizeof *f);
    f->record_count = tarn_get_u32(data + 12);
    f->version_count = tarn_get_u32(data + 16);
    if (f->record_count > TARN_FEEDBACK_RECORDS || f->version_count > TARN_FEEDBACK_VERSIONS ||
        size != size_of(f->record_count, f->version_count) ||
        tarn_get_u64(data + size - HASH) != tarn_hash(data, size - HASH))
        return tarn_fail(error, TARN_CORRUPT, "%s: damaged", where);
    struct walk w = {.from = data + HEADER};
    everything(&w, f);
    if (w.bad || tarn_get_u32(data + 20) != 0 || f->span == 0 || f->span > UINT64_MAX / 4)
        return tarn_fail(error, TARN_CORRUPT, "%s: damaged", where);
    return TARN_OK;
}

tarn_status tarn_feedback_read(const char *path, struct tarn_feedback **feedback,
                               struct tarn_error *error)
{
    char file[4096];
    struct stat st;
    void *data = NULL;
    size_t size = 0;
    *feedback = NULL;
    bool is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    int length = snprintf(file, sizeof file, is_folder ? "%s/" TARN_FEEDBACK_NAME : "%s", path);
    if (length < 0 || (size_t)length >= sizeof file)
        return tarn_fail(error, TARN_INVALID, "%s: the path is too long", path);
    tarn_status status = tarn_file_read(file, tarn_feedback_file_limit(), &data, &size, error);
    if (status != TARN_OK)
        return status;
    struct tarn_feedback *f = tarn_alloc(sizeof *f);
    status = f != NULL ? tarn_feedback_decode(data, size, file, f, error)
                       : tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", file);
    free(data);
    if (status != TARN_OK)
        tarn_free(f);
    else
        *feedback = f;
    return status;
}
