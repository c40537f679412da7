/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pretraining: many runs' samples, a run drawn first and then a sample of it, so that every run weighs
 * the same; Adam with a short warm-up and a cosine to zero (docs/eviction.md).
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
#define HELD_OUT      16   /* one sample in so many, where training may end early */
#define LOOK_AT       4096 /* of those, at most */
#define LEAST_GAIN    1e-4 /* of the loss that counts, a share */
#define COOL_DOWN     10   /* of all steps, one over this */

/* When to end. */
struct early {
    float *tiles; /* of the held-out samples; NULL: nobody looks */
    float *logits;
    uint32_t *labels;
    uint32_t count, since;
    double best;
    uint32_t cooling_at, cooling_end; /* steps; 0: not yet */
};

static float rate_at(float highest, double share)
{
    double warm = 0.02;
    double shape = share < warm ? share / warm : 0.5 * (1 + cos(3.14159265 * share));
    return highest * (float)shape + LOWEST_RATE;
}

static bool is_held_out(const struct tarn_model_pretrain_params *params, uint32_t sample)
{
    return params->patience > 0 && sample % HELD_OUT == HELD_OUT - 1;
}

static void masked_features(const struct tarn_model_pretrain_params *params,
                            const struct tarn_model_sample *sample, int8_t features[TARN_FEATURES])
{
    for (uint32_t f = 0; f < TARN_FEATURES; f++)
        features[f] = params->masked >> f & 1 ? 0 : sample->features[f];
}

/* ---- early stop ---- */

static tarn_status begin_early(const struct tarn_model_pretrain_params *params,
                               const struct tarn_shape *shape, struct tarn_rng *rng,
                               struct early *early)
{
    *early = (struct early){.best = INFINITY};
    if (params->patience == 0)
        return TARN_OK;
    early->tiles = tarn_alloc_zeroed(LOOK_AT * TARN_FEATURES, sizeof(float));
    early->logits = tarn_alloc(LOOK_AT * shape->outputs * sizeof(float));
    early->labels = tarn_alloc(LOOK_AT * sizeof(uint32_t));
    if (early->tiles == NULL || early->logits == NULL || early->labels == NULL)
        return TARN_NO_MEMORY;
    for (uint32_t i = 0; i < LOOK_AT; i++) {
        const struct tarn_model_run *run =
            &params->runs[tarn_rng_below(rng, (uint32_t)params->run_count)];
        int8_t features[TARN_FEATURES];
        if (run->count < HELD_OUT)
            continue;
        uint32_t at =
            tarn_rng_below(rng, (uint32_t)run->count / HELD_OUT) * HELD_OUT + HELD_OUT - 1;
        float *to = early->tiles + early->count / TARN_LANES * TARN_FEATURES * TARN_LANES +
                    early->count % TARN_LANES;
        masked_features(params, &run->samples[at], features);
        for (uint32_t f = 0; f < TARN_FEATURES; f++)
            to[f * TARN_LANES] = (float)features[f] * TARN_FEATURE_STEP;
        early->labels[early->count++] = run->samples[at].label;
    }
    return TARN_OK;
}

static void end_early(struct early *early)
{
    tarn_free(early->tiles);
    tarn_free(early->logits);
    tarn_free(early->labels);
}

static double held_out_loss(const struct early *early, const struct tarn_shape *shape,
                            const float *weights)
{
    double sum = 0;
    tarn_logits_host(shape, weights, early->tiles, early->count, early->logits);
    for (uint32_t i = 0; i < early->count; i++)
        sum += (double)tarn_net_loss(early->logits + i / TARN_LANES * shape->outputs * TARN_LANES +
                                         i % TARN_LANES,
                                     TARN_LANES, shape->outputs, early->labels[i]);
    return sum / early->count;
}

/* No gain for so long: what a lower rate still brings, and then the end. */
static void look(const struct tarn_model_pretrain_params *params, const struct tarn_shape *shape,
                 const float *weights, uint32_t done, uint32_t steps, struct early *early)
{
    if (early->count == 0 || early->cooling_end > 0)
        return;
    double loss = held_out_loss(early, shape, weights);
    early->since++;
    if (loss < early->best * (1 - LEAST_GAIN)) {
        early->best = loss;
        early->since = 0;
    }
    if (early->since < params->patience)
        return;
    uint32_t end = done + steps / COOL_DOWN;
    early->cooling_at = done;
    early->cooling_end = end < steps ? end : steps;
}

/* ---- steps ---- */

static void stage(const struct tarn_model_pretrain_params *params, const struct tarn_nested *nested,
                  struct tarn_rng *rng, uint32_t count, tarn_trainer *trainer)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct tarn_model_run *run =
            &params->runs[tarn_rng_below(rng, (uint32_t)params->run_count)];
        uint32_t at = tarn_rng_below(rng, (uint32_t)run->count);
        const struct tarn_model_sample *sample = &run->samples[at];
        int8_t features[TARN_FEATURES];
        masked_features(params, sample, features);
        uint32_t label = is_held_out(params, at) ? 0 : sample->label;
        tarn_trainer_stage(trainer, i, features, TARN_FEATURE_STEP,
                           tarn_nested_label(nested, i / TARN_LANES, label));
    }
}

static float rate_now(const struct tarn_model_pretrain_params *params, const struct early *early,
                      uint32_t done, uint32_t steps)
{
    float highest = params->rate > 0 ? params->rate : DEFAULT_RATE;
    uint32_t at = early->cooling_at, end = early->cooling_end;
    if (end == 0)
        return rate_at(highest, (double)done / steps);
    float left = end > at ? (float)(end - done) / (float)(end - at) : 0;
    return rate_at(highest, (double)at / steps) * left + LOWEST_RATE;
}

static tarn_status run_steps(const struct tarn_model_pretrain_params *params,
                             const struct tarn_shape *shape, const struct tarn_nested *nested,
                             uint32_t steps, uint32_t batch, struct early *early,
                             tarn_trainer *trainer)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, params->seed);
    double loss = 0;
    uint32_t losses = 0, end = steps;
    for (uint32_t done = 0; done < end;) {
        uint32_t now = end - done < LAUNCH ? end - done : LAUNCH;
        stage(params, nested, &rng, now * batch, trainer);
        tarn_trainer_set_rate(trainer, rate_now(params, early, done, steps));
        tarn_status status = tarn_trainer_submit(trainer, now);
        if (status == TARN_OK)
            status = tarn_trainer_wait(trainer, TARN_FOREVER);
        if (status != TARN_OK)
            return status;
        loss += (double)tarn_trainer_loss(trainer);
        losses++;
        done += now;
        if (done % REPORT_EVERY < now)
            look(params, shape, tarn_trainer_weights(trainer), done, steps, early);
        end = early->cooling_end > 0 ? early->cooling_end : steps;
        if (params->progress != NULL && (done % REPORT_EVERY < now || done == end)) {
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
    tarn_queue *queue = NULL;
    struct early early = {0};
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
    status = begin_early(params, shape, &rng, &early);
    if (status == TARN_OK && params->device != NULL)
        status = tarn_queue_create(
            params->device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW}, &queue);
    if (status != TARN_OK)
        goto done;
    status = tarn_trainer_create(
        &(struct tarn_trainer_params){
            .shape = shape,
            .weights = weights,
            .device = params->device,
            .queue = queue,
            .batch = batch,
            .steps = LAUNCH,
            .rate = DEFAULT_RATE,
        },
        &trainer, error);
    if (status == TARN_OK)
        status = run_steps(params, shape, &nested, steps, batch, &early, trainer);
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
    tarn_queue_destroy(&queue);
    end_early(&early);
    tarn_free(weights);
    return status;
}
