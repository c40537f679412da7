/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include <math.h>

#include "base/memory.h"

/* Keys of one model: those of its popularity ranks, then the ones used for a while only. */
#define KEYS_OF_A_MODEL ((uint64_t)1 << 44)
#define FRESH_KEYS      ((uint64_t)1 << 40)

/* ---- zipf ---- */

/* (exp(x) - 1) / x and log(1 + x) / x, right near 0. */
static double expm1_over(double x)
{
    return fabs(x) > 1e-8 ? expm1(x) / x : 1 + x / 2;
}

static double log1p_over(double x)
{
    return fabs(x) > 1e-8 ? log1p(x) / x : 1 - x / 2;
}

/* The integral of x^-alpha from 1, and its inverse; alpha = 1 is no special case this way. */
static double integral(const struct tarn_zipf *zipf, double x)
{
    double log_x = log(x);
    return expm1_over((1 - zipf->alpha) * log_x) * log_x;
}

static double inverse(const struct tarn_zipf *zipf, double y)
{
    double t = y * (1 - zipf->alpha);
    return exp(log1p_over(t < -1 ? -1 : t) * y);
}

void tarn_zipf_init(struct tarn_zipf *zipf, uint64_t n, double alpha)
{
    zipf->alpha = alpha;
    zipf->n = n;
    zipf->low = integral(zipf, 1.5) - 1;
    zipf->high = integral(zipf, (double)n + 0.5);
    zipf->cut = 2 - inverse(zipf, integral(zipf, 2.5) - pow(2, -alpha));
}

uint64_t tarn_zipf_next(const struct tarn_zipf *zipf, struct tarn_rng *rng)
{
    for (;;) {
        double u = zipf->high + tarn_rng_double(rng) * (zipf->low - zipf->high);
        double x = inverse(zipf, u);
        double k = floor(x + 0.5);
        k = k < 1 ? 1 : k > (double)zipf->n ? (double)zipf->n : k;
        if (k - x <= zipf->cut || u >= integral(zipf, k + 0.5) - pow(k, -zipf->alpha))
            return (uint64_t)k;
    }
}

/* ---- models ---- */

bool tarn_model_init(struct tarn_model *model, tarn_model_kind kind,
                     const struct tarn_model_settings *settings, uint64_t seed, unsigned number)
{
    *model = (struct tarn_model){.kind = kind, .set = *settings};
    uint64_t state = seed ^ ((uint64_t)number + 1) << 32;
    tarn_rng_seed(&model->rng, tarn_splitmix64(&state));
    model->base = number * KEYS_OF_A_MODEL + 1;
    tarn_zipf_init(&model->zipf, settings->objects, settings->alpha);
    if (kind == TARN_MODEL_RECENCY) {
        model->history = tarn_alloc_zeroed(settings->objects, sizeof *model->history);
        return model->history != NULL;
    }
    if (kind == TARN_MODEL_BURST) {
        model->burst_key = tarn_alloc_zeroed(settings->active, sizeof *model->burst_key);
        model->burst_left = tarn_alloc_zeroed(settings->active, sizeof *model->burst_left);
        return model->burst_key != NULL && model->burst_left != NULL;
    }
    return true;
}

void tarn_model_free(struct tarn_model *model)
{
    tarn_free(model->history);
    tarn_free(model->burst_key);
    tarn_free(model->burst_left);
    *model = (struct tarn_model){0};
}

static uint64_t popular(struct tarn_model *model)
{
    return model->base + tarn_zipf_next(&model->zipf, &model->rng) - 1;
}

static uint64_t fresh_key(struct tarn_model *model)
{
    return model->base + FRESH_KEYS + model->fresh++;
}

/*
 * Popular objects, and between them scans that run in one go. A scan starts so often that scans
 * make up `share` of the requests.
 */
static uint64_t next_scan(struct tarn_model *model)
{
    double share = model->set.share, length = (double)model->set.length;
    if (model->left == 0 &&
        (share >= 1 || tarn_rng_double(&model->rng) < share / (length * (1 - share) + share))) {
        model->left = model->set.length;
        model->at = model->set.repeat ? 0 : model->fresh;
    }
    if (model->left == 0)
        return popular(model);
    model->left--;
    if (model->at == model->fresh)
        model->fresh++;
    return model->base + FRESH_KEYS + model->at++;
}

static uint64_t next_loop(struct tarn_model *model)
{
    if (tarn_rng_double(&model->rng) < model->set.share)
        return popular(model);
    uint64_t key = model->base + FRESH_KEYS + model->at;
    model->at = (model->at + 1) % model->set.length;
    return key;
}

/* A request repeats the one d requests ago, d from a Zipf law; or it is for a new object. */
static uint64_t next_recency(struct tarn_model *model)
{
    uint64_t room = model->set.objects, key;
    if (model->count == 0 || tarn_rng_double(&model->rng) < model->set.fresh) {
        key = fresh_key(model);
    } else {
        uint64_t back = tarn_zipf_next(&model->zipf, &model->rng);
        if (back > model->count) /* the start has no long past: spread evenly over what there is */
            back = 1 + back % model->count;
        key = model->history[(model->count - back) % room];
    }
    model->history[model->count % room] = key;
    return key;
}

/*
 * Every `period` requests the popularity slides by `step` ranks: cold objects enter at the top, the
 * others cool down by one place after another.
 */
static uint64_t next_drift(struct tarn_model *model)
{
    uint64_t n = model->set.objects, slid = model->count / model->set.period * model->set.step % n;
    uint64_t rank = tarn_zipf_next(&model->zipf, &model->rng) - 1;
    return model->base + (rank + n - slid) % n;
}

static uint64_t next_burst(struct tarn_model *model)
{
    if (tarn_rng_double(&model->rng) >= model->set.share)
        return popular(model);
    uint32_t i = tarn_rng_below(&model->rng, (uint32_t)model->set.active);
    if (model->burst_left[i] == 0) {
        /* Lengths are geometric, so that bursts don't end together. */
        double u = 1 - tarn_rng_double(&model->rng);
        model->burst_left[i] = 1 + (uint64_t)(-log(u) * (double)model->set.length);
        model->burst_key[i] = fresh_key(model);
    }
    model->burst_left[i]--;
    return model->burst_key[i];
}

uint64_t tarn_model_next(struct tarn_model *model)
{
    uint64_t key = 0;
    switch (model->kind) {
    case TARN_MODEL_SCAN:
        key = next_scan(model);
        break;
    case TARN_MODEL_LOOP:
        key = next_loop(model);
        break;
    case TARN_MODEL_RECENCY:
        key = next_recency(model);
        break;
    case TARN_MODEL_DRIFT:
        key = next_drift(model);
        break;
    case TARN_MODEL_BURST:
        key = next_burst(model);
        break;
    case TARN_MODEL_ZIPF:
    case TARN_MODEL_KINDS:
        key = popular(model);
        break;
    }
    model->count++;
    return key;
}
