/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pretraining: many runs' samples, a run drawn first and then a sample of it, so that every run weighs
 * the same; Adam with a short warm-up and a cosine to zero (POLICY's section 8).
 */
#include <math.h>
#include <string.h>

#include <tarn/model.h>

#include "base/error.h"
#include "base/memory.h"
#include "model/model.h"
#include "net/trainer.h"

#define DEFAULT_STEPS 80000
#define DEFAULT_BATCH 256
#define DEFAULT_RATE  0.003f
#define LOWEST_RATE   2e-5f
#define LAUNCH        8 /* steps between changes of the rate */
#define REPORT_EVERY  1000

static float rate_at(float highest, double share)
{
    double warm = 0.02;
    double shape = share < warm ? share / warm : 0.5 * (1 + cos(3.14159265 * share));
    return highest * (float)shape + LOWEST_RATE;
}

static tarn_status run_steps(const struct tarn_model_pretrain_params *params, uint32_t steps,
                             uint32_t batch, const struct tarn_nested *nested,
                             tarn_trainer *trainer)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, params->seed);
    double loss = 0;
    uint32_t losses = 0;
    for (uint32_t done = 0; done < steps;) {
        uint32_t now = steps - done < LAUNCH ? steps - done : LAUNCH;
        for (uint32_t i = 0; i < now * batch; i++) {
            const struct tarn_model_run *run =
                &params->runs[tarn_rng_below(&rng, (uint32_t)params->run_count)];
            const struct tarn_model_sample *sample =
                &run->samples[tarn_rng_below(&rng, (uint32_t)run->count)];
            tarn_trainer_stage(trainer, i, sample->features, TARN_FEATURE_STEP,
                               tarn_nested_label(nested, i / TARN_LANES, sample->label));
        }
        tarn_trainer_set_rate(
            trainer, rate_at(params->rate > 0 ? params->rate : DEFAULT_RATE, (double)done / steps));
        tarn_status status = tarn_trainer_submit(trainer, now);
        if (status == TARN_OK)
            status = tarn_trainer_wait(trainer, TARN_FOREVER);
        if (status != TARN_OK)
            return status;
        loss += (double)tarn_trainer_loss(trainer);
        losses++;
        done += now;
        if (params->progress != NULL && (done % REPORT_EVERY < now || done == steps)) {
            if (params->progress(params->user, done, (float)(loss / losses)) == 0)
                break;
            loss = 0;
            losses = 0;
        }
    }
    return TARN_OK;
}

/* The widths become the network's shape and what is nested in it. */
static tarn_status read_widths(const struct tarn_model_pretrain_params *params,
                               struct tarn_shape *shape, struct tarn_nested *nested,
                               struct tarn_error *error)
{
    *shape = params->start != NULL ? params->start->shape : tarn_net_reference;
    *nested = (struct tarn_nested){.exits = params->early_exit != 0};
    if (params->width_count == 0)
        return TARN_OK;
    uint32_t most = params->widths[params->width_count - 1];
    if (params->width_count > TARN_NESTED_MOST + 1)
        return tarn_fail(error, TARN_INVALID, "pretraining: %zu widths, %d at most",
                         params->width_count, TARN_NESTED_MOST + 1);
    if (params->start != NULL && (shape->hidden1 != most || shape->hidden2 != most))
        return tarn_fail(error, TARN_INVALID, "pretraining: %u units, where there are %u and %u",
                         (unsigned)most, (unsigned)shape->hidden1, (unsigned)shape->hidden2);
    shape->hidden1 = shape->hidden2 = most;
    bool good = tarn_shape_is_valid(shape);
    for (size_t i = 0; i + 1 < params->width_count; i++) {
        good = good && params->widths[i] > 0 && params->widths[i] < most;
        nested->width[i] = (uint8_t)(good ? params->widths[i] : 0);
    }
    if (!good || !tarn_nested_is_valid(nested, shape))
        return tarn_fail(error, TARN_INVALID, "pretraining: widths have to rise, from 1 to %d",
                         TARN_MAX_WIDTH);
    return TARN_OK;
}

tarn_status tarn_model_pretrain(const struct tarn_model_pretrain_params *params, tarn_model **model,
                                struct tarn_error *error)
{
    if (params->run_count == 0 || params->run_count > UINT32_MAX)
        return tarn_fail(error, TARN_INVALID, "pretraining: no samples");
    for (size_t i = 0; i < params->run_count; i++)
        if (params->runs[i].count == 0 || params->runs[i].count > UINT32_MAX)
            return tarn_fail(error, TARN_INVALID, "pretraining: run %zu has no samples", i);
    uint32_t steps = params->steps > 0 ? params->steps : DEFAULT_STEPS;
    uint32_t batch = params->batch > 0 ? params->batch : DEFAULT_BATCH;
    if (batch % TARN_LANES != 0)
        return tarn_fail(error, TARN_INVALID, "pretraining: a batch of %u is no multiple of %d",
                         batch, TARN_LANES);
    if (params->start != NULL && params->start->shape.inputs != TARN_FEATURES)
        return tarn_fail(error, TARN_INVALID, "pretraining: a model of %u features, not %d",
                         params->start->shape.inputs, TARN_FEATURES);
    struct tarn_shape its_shape, *shape = &its_shape;
    struct tarn_nested nested;
    tarn_trainer *trainer = NULL;
    tarn_status status = read_widths(params, shape, &nested, error);
    if (status != TARN_OK)
        return status;
    float *weights = tarn_alloc(tarn_shape_weights(shape) * sizeof *weights);
    status = TARN_NO_MEMORY;
    if (weights == NULL)
        goto done;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, params->seed ^ 0x6e65747721u);
    if (params->start != NULL)
        memcpy(weights, params->start->weights, tarn_shape_weights(shape) * sizeof *weights);
    else
        tarn_net_init(shape, &rng, weights);
    status = tarn_trainer_create(
        &(struct tarn_trainer_params){
            .shape = shape,
            .weights = weights,
            .batch = batch,
            .steps = LAUNCH,
            .rate = DEFAULT_RATE,
        },
        &trainer, error);
    if (status == TARN_OK)
        status = run_steps(params, steps, batch, &nested, trainer);
    if (status == TARN_OK &&
        !tarn_net_is_finite(tarn_trainer_weights(trainer), tarn_shape_weights(shape)))
        status = tarn_fail(error, TARN_CORRUPT, "pretraining: it diverged");
    if (status == TARN_OK)
        status = tarn_model_create(shape, tarn_trainer_weights(trainer),
                                   params->provenance != NULL ? params->provenance : "", model);
    if (status == TARN_OK)
        (*model)->nested = nested;
done:
    if (status == TARN_NO_MEMORY)
        tarn_fail(error, status, "pretraining: out of memory");
    tarn_trainer_destroy(&trainer);
    tarn_free(weights);
    return status;
}
