/* SPDX-License-Identifier: Apache-2.0 */
#include "train.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "kernels/train.h"
#include "net/trainer.h"

#define BATCH        256
#define LAUNCH       8 /* steps between changes of the rate */
#define RATE         0.004f
#define LOWEST_RATE  2e-5f
#define REPORT_EVERY 1000
#define ECE_BINS     10

_Static_assert(TARN_WORKLOAD_SEEN % 8 == 0, "whole words of noise");

#define HIDDEN TARN_WORKLOAD_HIDDEN1, TARN_WORKLOAD_HIDDEN2
static const struct tarn_shape shapes[TARN_WORKLOAD_NETWORKS] = {
    {TARN_STREAM_FEATURES, HIDDEN, TARN_WORKLOADS - 1},
    {TARN_STREAM_FEATURES, HIDDEN, TARN_WORKLOAD_PARTS - 1},
    {TARN_WORKLOAD_INPUTS, HIDDEN, TARN_WORKLOADS - 1},
    {TARN_WORKLOAD_INPUTS, HIDDEN, TARN_WORKLOAD_PARTS - 1},
};

static bool is_blend(const struct tarn_workload_train_params *params)
{
    return shapes[params->network].outputs == TARN_WORKLOAD_PARTS - 1;
}

static uint32_t target_of(const struct tarn_workload_sample *sample, bool blend,
                          struct tarn_rng *rng)
{
    if (!blend)
        return tarn_workload_of_blend(sample->blend);
    /* drawn from the shares: the mean gradient is that of the cross entropy with all of them */
    float u = tarn_rng_float(rng);
    uint32_t k = 0;
    while (k + 1 < TARN_WORKLOAD_PARTS && u >= sample->blend[k])
        u -= sample->blend[k++];
    return k;
}

/* Class k of n: not one of those before it, and then it; the last one is none of the others. */
static uint32_t label_of(uint32_t k, uint32_t classes)
{
    return k + 1 < classes ? tarn_label(k + 1, (int)k) : tarn_label(classes - 1, -1);
}

/* Samples of one workload are alike: a little noise keeps them from being learned by heart. */
static void blur(const int8_t *features, int8_t *to, struct tarn_rng *rng)
{
    for (int i = 0; i < TARN_WORKLOAD_SEEN; i += 8) {
        uint64_t random = tarn_rng_next(rng);
        for (int k = i; k < i + 8; k++, random >>= 8) {
            int x = features[k] + (int)(random & 7) - (int)(random >> 3 & 7);
            to[k] = (int8_t)(x > 127 ? 127 : x < -128 ? -128 : x);
        }
    }
}

static const struct tarn_workload_sample *
draw_sample(const struct tarn_workload_train_params *params, struct tarn_rng *rng)
{
    if (params->named_count > 0 && !is_blend(params) && tarn_rng_float(rng) < params->named_share)
        return &params->named[tarn_rng_below(rng, (uint32_t)params->named_count)];
    return &params->samples[tarn_rng_below(rng, (uint32_t)params->count)];
}

static tarn_status run_steps(const struct tarn_workload_train_params *params, uint32_t classes,
                             tarn_trainer *trainer)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, params->seed);
    for (uint32_t done = 0; done < params->steps;) {
        uint32_t now = params->steps - done < LAUNCH ? params->steps - done : LAUNCH;
        for (uint32_t i = 0; i < now * BATCH; i++) {
            const struct tarn_workload_sample *sample = draw_sample(params, &rng);
            int8_t features[TARN_WORKLOAD_SEEN];
            blur(sample->features, features, &rng);
            uint32_t target = target_of(sample, is_blend(params), &rng);
            tarn_trainer_stage(trainer, i, features, TARN_FEATURE_STEP, label_of(target, classes));
        }
        double share = (double)done / params->steps;
        tarn_trainer_set_rate(trainer,
                              RATE * (float)(0.5 * (1 + cos(3.14159265 * share))) + LOWEST_RATE);
        tarn_status status = tarn_trainer_submit(trainer, now);
        if (status == TARN_OK)
            status = tarn_trainer_wait(trainer, TARN_FOREVER);
        if (status != TARN_OK)
            return status;
        done += now;
        if (params->progress != NULL && (done % REPORT_EVERY < now || done == params->steps))
            params->progress(params->user, done, tarn_trainer_loss(trainer));
    }
    return TARN_OK;
}

/* ---- calibration ---- */

/* Logits of all kept samples, [sample][output]. */
static void compute_logits(const struct tarn_workload_train_params *params,
                           const struct tarn_shape *shape, const float *weights, float *logits)
{
    _Alignas(64) float tile[TARN_WORKLOAD_SEEN * TARN_LANES];
    _Alignas(64) float out[TARN_MAX_BINS * TARN_LANES];
    for (size_t done = 0; done < params->kept_count; done += TARN_LANES) {
        size_t lanes =
            params->kept_count - done < TARN_LANES ? params->kept_count - done : TARN_LANES;
        memset(tile, 0, sizeof tile);
        for (size_t l = 0; l < lanes; l++)
            for (uint32_t f = 0; f < shape->inputs; f++)
                tile[f * TARN_LANES + l] =
                    (float)params->kept[done + l].features[f] * TARN_FEATURE_STEP;
        tarn_logits_host(shape, weights, tile, lanes, out);
        for (size_t l = 0; l < lanes; l++)
            for (uint32_t k = 0; k < shape->outputs; k++)
                logits[(done + l) * shape->outputs + k] = out[k * TARN_LANES + l];
    }
}

static void chances_at(const float *logits, uint32_t classes, float temperature, float *chances)
{
    float scaled[TARN_WORKLOADS];
    for (uint32_t k = 0; k + 1 < classes; k++)
        scaled[k] = logits[k] / temperature;
    tarn_workload_chances(scaled, 1, classes, chances);
}

static double loss_at(const struct tarn_workload_train_params *params, const float *logits,
                      uint32_t classes, float temperature)
{
    double loss = 0;
    bool blend = is_blend(params);
    for (size_t i = 0; i < params->kept_count; i++) {
        float chances[TARN_WORKLOADS];
        const struct tarn_workload_sample *sample = &params->kept[i];
        chances_at(logits + i * (classes - 1), classes, temperature, chances);
        if (!blend)
            loss -= log((double)chances[tarn_workload_of_blend(sample->blend)] + 1e-9);
        for (uint32_t k = 0; blend && k < classes; k++)
            loss -= (double)sample->blend[k] * log((double)chances[k] + 1e-9);
    }
    return loss;
}

static float best_temperature(const struct tarn_workload_train_params *params, const float *logits,
                              uint32_t classes)
{
    float best = 1;
    double least = loss_at(params, logits, classes, 1);
    for (float t = 0.5f; t < 3; t *= 1.03f) {
        double loss = loss_at(params, logits, classes, t);
        if (loss < least) {
            least = loss;
            best = t;
        }
    }
    return best;
}

static void measure(const struct tarn_workload_train_params *params, const float *logits,
                    uint32_t classes, struct tarn_workload_trained *trained)
{
    double count[ECE_BINS] = {0}, sure[ECE_BINS] = {0}, right[ECE_BINS] = {0}, all = 0, error = 0;
    for (size_t i = 0; i < params->kept_count; i++) {
        float chances[TARN_WORKLOADS], worst = 0;
        chances_at(logits + i * (classes - 1), classes, trained->temperature, chances);
        uint32_t top = 0, truth = 0;
        const float *blend = params->kept[i].blend;
        for (uint32_t k = 0; k < classes; k++) {
            top = chances[k] > chances[top] ? k : top;
            if (is_blend(params)) {
                truth = blend[k] > blend[truth] ? k : truth;
                worst = fmaxf(worst, fabsf(chances[k] - blend[k]));
            }
        }
        if (!is_blend(params))
            truth = tarn_workload_of_blend(blend);
        int bin = (int)(chances[top] * ECE_BINS);
        bin = bin < ECE_BINS ? bin : ECE_BINS - 1;
        count[bin] += 1;
        sure[bin] += (double)chances[top];
        right[bin] += top == truth;
        all += top == truth;
        error += (double)worst;
    }
    double n = (double)params->kept_count, ece = 0;
    for (int i = 0; i < ECE_BINS; i++)
        ece += fabs(sure[i] - right[i]) / n;
    trained->right = (float)(all / n);
    trained->ece = (float)ece;
    trained->blend_error = (float)(error / n);
}

/* Divides the logits, by way of the last layer. */
static void scale_last_layer(const struct tarn_shape *shape, float *weights, float temperature)
{
    size_t all = tarn_shape_weights(shape), last = (size_t)shape->outputs * (shape->hidden2 + 1);
    for (size_t i = all - last; i < all; i++)
        weights[i] /= temperature;
}

tarn_status tarn_workload_train(const struct tarn_workload_train_params *params,
                                struct tarn_model **model, struct tarn_workload_trained *trained,
                                struct tarn_error *error)
{
    const struct tarn_shape *shape = &shapes[params->network];
    uint32_t classes = shape->outputs + 1;
    if (params->count == 0 || params->count > UINT32_MAX || params->kept_count == 0 ||
        params->named_count > UINT32_MAX)
        return tarn_fail(error, TARN_INVALID, "workload classes: no samples");
    size_t size = tarn_shape_weights(shape) * sizeof(float);
    float *weights = tarn_alloc(size);
    float *logits = tarn_alloc(params->kept_count * shape->outputs * sizeof *logits);
    tarn_trainer *trainer = NULL;
    tarn_status status = TARN_NO_MEMORY;
    if (weights == NULL || logits == NULL)
        goto done;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, params->seed ^ 0x6e65747721u);
    tarn_net_init(shape, &rng, weights);
    status = tarn_trainer_create(
        &(struct tarn_trainer_params){
            .shape = shape,
            .weights = weights,
            .device = params->device,
            .queue = params->queue,
            .batch = BATCH,
            .steps = LAUNCH,
            .rate = RATE,
        },
        &trainer, error);
    if (status == TARN_OK)
        status = run_steps(params, classes, trainer);
    if (status != TARN_OK)
        goto done;
    memcpy(weights, tarn_trainer_weights(trainer), size);
    if (!tarn_net_is_finite(weights, size / sizeof(float))) {
        status = tarn_fail(error, TARN_CORRUPT, "workload classes: it diverged");
        goto done;
    }
    compute_logits(params, shape, weights, logits);
    trained->temperature = best_temperature(params, logits, classes);
    measure(params, logits, classes, trained);
    scale_last_layer(shape, weights, trained->temperature);
    status = tarn_model_create(shape, weights, params->provenance != NULL ? params->provenance : "",
                               model);
done:
    if (status == TARN_NO_MEMORY)
        tarn_fail(error, status, "workload classes: out of memory");
    tarn_trainer_destroy(&trainer);
    tarn_free(weights);
    tarn_free(logits);
    return status;
}
