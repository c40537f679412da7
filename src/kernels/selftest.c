/* SPDX-License-Identifier: Apache-2.0 */
#include "selftest.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "gpu/backend.h"
#include "isa.h"
#include "kernels.h"
#include "layout.h"
#include "lookup.h"
#include "selftest_wide.h"
#include "train.h"

static const struct tarn_shape shapes[] = {{28, 32, 32, 11}, {5, 17, 9, 3}, {33, 48, 20, 16}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };
static const uint32_t sample_counts[] = {1, 37, 1000};
/* All of the network; a part in whole vectors and one that isn't; without its second layer. */
static const uint32_t slices[] = {0, TARN_SLICE(8u, 0u), TARN_SLICE(11u, 0u), TARN_SLICE(16u, 1u)};
static const struct {
    uint32_t keys, log2_buckets;
} lookup_sizes[] = {{1, 0}, {63, 4}, {3001, 9}, {20000, 12}};
enum {
    COUNTS = sizeof sample_counts / sizeof sample_counts[0],
    SLICES = sizeof slices / sizeof slices[0],
    LOOKUPS = sizeof lookup_sizes / sizeof lookup_sizes[0],
    STEPS = 3,
    BATCH = 48,
};

/*
 * Scores and losses are float sums of a few hundred terms of ordinary size; drivers may fuse, split
 * and approximate exp and log by 3 ulp. 1e-3 is tens of times what a right device shows, and a
 * wrong one is far outside.
 */
#define TOLERANCE 1e-3

static void check(struct tarn_selftest *result, bool good, const char *format, ...)
    TARN_PRINTF(3, 4);

static void check(struct tarn_selftest *result, bool good, const char *format, ...)
{
    va_list args;
    result->checks++;
    if (good)
        return;
    if (result->failed++ > 0)
        return;
    va_start(args, format);
    vsnprintf(result->message, sizeof result->message, format, args);
    va_end(args);
}

/* ---- random input ---- */

/* Everything a check works on; NULL where it isn't used. */
struct input {
    uint32_t count, mask;
    uint32_t *buckets, *hashes, *slots, *wanted_slots;
    struct tarn_shape shape;
    size_t weight_count, tile_floats;
    float *weights, *tiles, *scores, *wanted_scores;
    float *state[3], *wanted_state[3]; /* weights, m, v */
    float losses[STEPS], wanted_losses[STEPS];
    uint32_t *labels;
};

static void free_input(struct input *in)
{
    free(in->buckets);
    free(in->hashes);
    free(in->slots);
    free(in->wanted_slots);
    free(in->weights);
    free(in->tiles);
    free(in->scores);
    free(in->wanted_scores);
    for (int i = 0; i < 3; i++) {
        free(in->state[i]);
        free(in->wanted_state[i]);
    }
    free(in->labels);
    memset(in, 0, sizeof *in);
}

static uint32_t plain_lookup(const struct input *in, uint32_t i)
{
    uint32_t tag = in->hashes[2 * i + 1], bucket = in->hashes[2 * i] & in->mask;
    tag += tag == 0;
    for (int b = 0; b < 2; b++, bucket ^= TARN_INDEX_SPREAD(tag) & in->mask)
        for (uint32_t place = 0; place < TARN_BUCKET_SLOTS; place++)
            if (in->buckets[bucket * TARN_BUCKET_WORDS + place] == tag)
                return in->buckets[bucket * TARN_BUCKET_WORDS + TARN_BUCKET_SLOTS + place];
    return TARN_SLOT_NONE;
}

/* Random buckets with free places; a third of the keys is in bucket 1, a third in bucket 2. */
static bool make_lookup(struct tarn_rng *rng, uint32_t keys, uint32_t log2_buckets,
                        struct input *in)
{
    *in = (struct input){.count = keys, .mask = (1u << log2_buckets) - 1};
    size_t words = ((size_t)in->mask + 1) * TARN_BUCKET_WORDS;
    in->buckets = malloc(words * 4);
    in->hashes = malloc((size_t)keys * 8);
    in->slots = malloc((size_t)keys * 4);
    in->wanted_slots = malloc((size_t)keys * 4);
    if (in->buckets == NULL || in->hashes == NULL || in->slots == NULL || in->wanted_slots == NULL)
        return false;
    for (size_t i = 0; i < words; i++) {
        bool is_tag = i % TARN_BUCKET_WORDS < TARN_BUCKET_SLOTS;
        in->buckets[i] = is_tag && tarn_rng_below(rng, 8) == 0 ? 0 : (uint32_t)tarn_rng_next(rng);
    }
    for (uint32_t i = 0; i < keys; i++) {
        uint32_t low = (uint32_t)tarn_rng_next(rng), kind = tarn_rng_below(rng, 3);
        uint32_t high = tarn_rng_below(rng, 50) == 0 ? 0 : (uint32_t)tarn_rng_next(rng);
        uint32_t tag = high + (high == 0), bucket = low & in->mask;
        if (kind == 2)
            bucket ^= TARN_INDEX_SPREAD(tag) & in->mask;
        if (kind > 0)
            in->buckets[bucket * TARN_BUCKET_WORDS + tarn_rng_below(rng, TARN_BUCKET_SLOTS)] = tag;
        in->hashes[2 * i] = low;
        in->hashes[2 * i + 1] = high;
    }
    for (uint32_t i = 0; i < keys; i++)
        in->wanted_slots[i] = plain_lookup(in, i);
    return true;
}

static bool make_samples(struct tarn_rng *rng, const struct tarn_shape *shape, uint32_t count,
                         struct input *in)
{
    *in = (struct input){.count = count, .shape = *shape};
    in->weight_count = tarn_shape_weights(shape);
    in->tile_floats = tarn_shape_tile_floats(shape, count);
    in->weights = malloc(in->weight_count * 4);
    in->tiles = calloc(in->tile_floats, 4);
    in->scores = malloc((size_t)count * 4);
    in->wanted_scores = malloc((size_t)count * 4);
    if (in->weights == NULL || in->tiles == NULL || in->scores == NULL || in->wanted_scores == NULL)
        return false;
    for (size_t i = 0; i < in->weight_count; i++)
        in->weights[i] = (tarn_rng_float(rng) - 0.5f) * 0.8f;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t f = 0; f < shape->inputs; f++)
            in->tiles[(i / TARN_LANES * shape->inputs + f) * TARN_LANES + i % TARN_LANES] =
                (tarn_rng_float(rng) - 0.5f) * 4.0f;
    return true;
}

static bool make_training(struct tarn_rng *rng, const struct tarn_shape *shape, struct input *in)
{
    if (!make_samples(rng, shape, STEPS * BATCH, in))
        return false;
    in->labels = malloc((size_t)in->count * 4);
    if (in->labels == NULL)
        return false;
    for (uint32_t i = 0; i < in->count; i++) {
        uint32_t risk = tarn_rng_below(rng, shape->outputs + 1);
        bool seen = risk > 0 && tarn_rng_below(rng, 2) == 0;
        in->labels[i] = tarn_label(risk, seen ? (int)risk - 1 : -1);
        if (i % BATCH >= TARN_LANES) /* a step's first tile trains all of the network */
            in->labels[i] = tarn_label_of_slice(in->labels[i], slices[tarn_rng_below(rng, SLICES)]);
    }
    for (int i = 0; i < 3; i++) {
        in->state[i] = calloc(in->weight_count, 4);
        in->wanted_state[i] = calloc(in->weight_count, 4);
        if (in->state[i] == NULL || in->wanted_state[i] == NULL)
            return false;
    }
    memcpy(in->state[0], in->weights, in->weight_count * 4);
    memcpy(in->wanted_state[0], in->weights, in->weight_count * 4);
    return true;
}

static const struct tarn_train_constants training = {.steps = STEPS,
                                                     .batch = BATCH,
                                                     .rate = 0.01f,
                                                     .beta1 = 0.9f,
                                                     .beta2 = 0.999f,
                                                     .epsilon = 1e-3f};

/* Largest difference; a NaN on one side counts as infinite. */
static double difference(const float *a, const float *b, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst))
            worst = isnan(d) ? INFINITY : d;
    }
    return worst;
}

/* ---- plain code ---- */

/* Logits of one sample in double by a slice, `nudge` added to weight number `nudged`. */
static void plain_logits(const struct input *in, uint32_t sample, uint32_t slice, size_t nudged,
                         double nudge, double *logits)
{
    const uint32_t sizes[] = {in->shape.inputs, in->shape.hidden1, in->shape.hidden2,
                              in->shape.outputs};
    double a[TARN_MAX_WIDTH], b[TARN_MAX_WIDTH];
    size_t w = 0;
    for (uint32_t f = 0; f < sizes[0]; f++)
        a[f] =
            (double)
                in->tiles[(sample / TARN_LANES * sizes[0] + f) * TARN_LANES + sample % TARN_LANES];
    for (int layer = 0; layer < 3; layer++) {
        size_t bias = w + (size_t)sizes[layer] * sizes[layer + 1];
        for (uint32_t n = 0; n < sizes[layer + 1]; n++) {
            double sum = (double)in->weights[bias + n] + (bias + n == nudged ? nudge : 0);
            for (uint32_t i = 0; i < sizes[layer]; i++, w++)
                sum += ((double)in->weights[w] + (w == nudged ? nudge : 0)) * a[i];
            b[n] = layer < 2 && sum < 0 ? sum * (double)TARN_LEAK : sum;
            if (layer == 1 && TARN_SLICE_EXITS(slice))
                b[n] = n < sizes[1] ? a[n] : 0;
            if (layer < 2 && n >= TARN_SLICE_UNITS(slice, sizes[layer + 1]))
                b[n] = 0;
        }
        w = bias + sizes[layer + 1];
        memcpy(layer < 2 ? a : logits, b, sizes[layer + 1] * sizeof *b);
    }
}

static float plain_score(const double *logits, uint32_t bins)
{
    double survival = 1, area = 0, found = 0, best = 0, edge = 0;
    for (uint32_t k = 0; k < bins; k++) {
        double hazard = 1 / (1 + exp(-logits[k])), next = exp2((double)k + TARN_BIN_FIRST_LOG2);
        area += survival * (1 - hazard / 2) * (next - edge);
        found += survival * hazard;
        survival *= 1 - hazard;
        best = fmax(best, found / area);
        edge = next;
    }
    return (float)log2(best + 1e-9);
}

static double plain_loss(const struct input *in, size_t nudged, double nudge)
{
    double loss = 0, logits[TARN_MAX_BINS];
    for (uint32_t i = 0; i < BATCH; i++) {
        plain_logits(in, i, TARN_LABEL_SLICE(in->labels[i]), nudged, nudge, logits);
        for (uint32_t k = 0; k < (in->labels[i] & 255); k++) {
            bool event = k + 1 == (in->labels[i] >> 8 & 255);
            loss += log1p(exp(event ? -logits[k] : logits[k])) / BATCH;
        }
    }
    return loss;
}

/*
 * One step with moments at zero: m must be a tenth of the loss's slope, v a thousandth of its
 * square, and the weight must have moved as Adam says.
 */
static void check_gradients(struct tarn_rng *rng, const struct tarn_isa *isa, struct input *in,
                            struct tarn_selftest *result)
{
    struct tarn_train_constants one = training;
    one.steps = 1;
    isa->train(&in->shape, &(struct tarn_train_state){in->state[0], in->state[1], in->state[2]},
               &one, in->tiles, in->labels, in->losses, NULL);
    double worst = 0, size = 0;
    bool adam = true;
    for (int i = 0; i < 40; i++) {
        size_t w = tarn_rng_below(rng, (uint32_t)in->weight_count);
        double nudge = 1e-5, slope = (plain_loss(in, w, nudge) - plain_loss(in, w, -nudge)) / 2e-5;
        double g = (double)in->state[1][w] / (1 - (double)one.beta1);
        double v = (double)in->state[2][w] / (1 - (double)one.beta2);
        double moved =
            (double)in->weights[w] - (double)one.rate * g / (fabs(g) + (double)one.epsilon);
        worst = fmax(worst, fabs(g - slope));
        size = fmax(size, fabs(slope));
        adam &= fabs(v - g * g) <= 1e-3 * (g * g + 1e-12) &&
                fabs((double)in->state[0][w] - moved) < 1e-5;
    }
    check(result, worst < TOLERANCE * (size + 1e-3) && size > 0,
          "%s: train: a gradient is off by %g", isa->name, worst);
    check(result, adam, "%s: train: Adam's step is wrong", isa->name);
    check(result, fabs((double)in->losses[0] - plain_loss(in, SIZE_MAX, 0)) < TOLERANCE,
          "%s: train: the loss is %g, not %g", isa->name, (double)in->losses[0],
          plain_loss(in, SIZE_MAX, 0));
}

static bool check_isa(struct tarn_rng *rng, const struct tarn_isa *isa,
                      struct tarn_selftest *result)
{
    struct input in = {0};
    for (size_t i = 0; i < LOOKUPS; i++) {
        if (!make_lookup(rng, lookup_sizes[i].keys, lookup_sizes[i].log2_buckets, &in))
            goto no_memory;
        isa->lookup(in.buckets, in.mask, in.hashes, in.count, in.slots);
        check(result, memcmp(in.slots, in.wanted_slots, (size_t)in.count * 4) == 0,
              "%s: lookup: a slot of %u keys is wrong", isa->name, (unsigned)in.count);
        free_input(&in);
    }
    for (size_t s = 0; s < SHAPES; s++) {
        for (size_t i = 0; i < COUNTS * SLICES; i++) {
            uint32_t slice = slices[i / COUNTS];
            if (!make_samples(rng, &shapes[s], sample_counts[i % COUNTS], &in))
                goto no_memory;
            for (uint32_t n = 0; n < in.count; n++) {
                double logits[TARN_MAX_BINS];
                plain_logits(&in, n, slice, SIZE_MAX, 0, logits);
                in.wanted_scores[n] = plain_score(logits, shapes[s].outputs);
            }
            isa->forward(&shapes[s], slice, in.weights, in.tiles, in.count, in.scores);
            double worst = difference(in.scores, in.wanted_scores, in.count);
            check(result, worst < TOLERANCE, "%s: forward: a score is off by %g", isa->name, worst);
            free_input(&in);
        }
        if (!make_training(rng, &shapes[s], &in))
            goto no_memory;
        check_gradients(rng, isa, &in, result);
        free_input(&in);
    }
    return true;
no_memory:
    free_input(&in);
    return false;
}

tarn_status tarn_selftest_host(uint64_t seed, struct tarn_selftest *result)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    for (size_t i = 0; i < tarn_isa_count(); i++)
        if (!check_isa(&rng, tarn_isa_get(i), result))
            return TARN_NO_MEMORY;
    return TARN_OK;
}

/* ---- devices ---- */

struct argument {
    size_t size;
    const void *in; /* NULL: bytes that are no zeros */
    void *out;      /* NULL: not wanted */
};

/* As one launch for each range of tiles between `cuts` (rising, ended by a 0), in order. */
static tarn_status submit_parts(tarn_queue *queue, struct tarn_launch *launch, const uint32_t *cuts)
{
    tarn_status status = TARN_OK;
    for (bool last = false; !last && status == TARN_OK; cuts++) {
        last = *cuts == 0;
        launch->tile_count = last ? 0 : *cuts - launch->first_tile;
        status = tarn_queue_submit(queue, launch, NULL);
        launch->first_tile = *cuts;
    }
    return status;
}

static const uint32_t whole[] = {0};

static tarn_status launch(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                          const struct argument *arguments, size_t count, const void *constants,
                          uint32_t elements, const uint32_t *cuts)
{
    tarn_buffer *buffers[TARN_MAX_BUFFERS] = {0};
    tarn_status status = TARN_OK;
    for (size_t i = 0; i < count && status == TARN_OK; i++) {
        size_t size = arguments[i].size;
        status =
            tarn_buffer_create(device, &(struct tarn_buffer_params){.size = size}, &buffers[i]);
        if (status != TARN_OK)
            break;
        if (arguments[i].in != NULL)
            memcpy(tarn_buffer_data(buffers[i]), arguments[i].in, size);
        else
            memset(tarn_buffer_data(buffers[i]), 0x77, size);
        status = tarn_buffer_upload(queue, buffers[i], 0, size);
    }
    if (status == TARN_OK)
        status = submit_parts(queue,
                              &(struct tarn_launch){.kernel = kernel,
                                                    .buffers = buffers,
                                                    .constants = constants,
                                                    .groups = tarn_kernel_groups(kernel, elements)},
                              cuts);
    for (size_t i = 0; i < count && status == TARN_OK; i++)
        if (arguments[i].out != NULL)
            status = tarn_buffer_download(queue, buffers[i], 0, arguments[i].size);
    tarn_status finished = tarn_queue_finish(queue, TARN_FOREVER);
    status = status == TARN_OK ? finished : status;
    for (size_t i = 0; i < count; i++) {
        if (status == TARN_OK && arguments[i].out != NULL)
            memcpy(arguments[i].out, tarn_buffer_data(buffers[i]), arguments[i].size);
        tarn_buffer_destroy(&buffers[i]);
    }
    return status;
}

/* NULL after counting why; *status is TARN_NO_MEMORY if it was that. */
static tarn_kernel *build(tarn_device *device, const struct tarn_kernel_source *source,
                          const struct tarn_shape *shape, struct tarn_selftest *result,
                          tarn_status *status)
{
    tarn_kernel *kernel = NULL;
    struct tarn_error error = {0};
    int32_t defines[TARN_SHAPE_DEFINES];
    if (shape != NULL)
        tarn_shape_defines(shape, defines);
    *status = tarn_kernel_create(
        device,
        &(struct tarn_kernel_params){.source = source, .defines = shape != NULL ? defines : NULL},
        &kernel, &error);
    if (*status == TARN_UNSUPPORTED)
        result->skipped++;
    else if (*status != TARN_OK && *status != TARN_NO_MEMORY)
        check(result, false, "%.300s", error.message);
    return kernel;
}

static tarn_status lookups(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                           struct tarn_rng *rng, struct tarn_selftest *result)
{
    tarn_status status = TARN_OK;
    struct input in = {0};
    for (size_t i = 0; i < LOOKUPS; i++) {
        if (!make_lookup(rng, lookup_sizes[i].keys, lookup_sizes[i].log2_buckets, &in)) {
            status = TARN_NO_MEMORY;
            break;
        }
        const struct argument arguments[] = {{((size_t)in.mask + 1) * 64, in.buckets, NULL},
                                             {(size_t)in.count * 8, in.hashes, NULL},
                                             {(size_t)in.count * 4, NULL, in.slots}};
        tarn_lookup_host(in.buckets, in.mask, in.hashes, in.count, in.wanted_slots);
        tarn_status ran = launch(
            device, queue, kernel, arguments, 3,
            &(struct tarn_lookup_constants){.count = in.count, .mask = in.mask}, in.count, whole);
        check(result,
              ran == TARN_OK && memcmp(in.slots, in.wanted_slots, (size_t)in.count * 4) == 0,
              "%s: lookup of %u keys: %s", tarn_device_get_info(device)->id, (unsigned)in.count,
              ran == TARN_OK ? "a slot is wrong" : tarn_status_message(ran));
        free_input(&in);
    }
    free_input(&in);
    return status;
}

static tarn_status scores(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                          struct tarn_rng *rng, const struct tarn_shape *shape,
                          struct tarn_selftest *result)
{
    tarn_status status = TARN_OK;
    struct input in = {0};
    for (size_t i = 0; i < COUNTS * SLICES; i++) {
        struct tarn_forward_constants constants = {sample_counts[i % COUNTS], slices[i / COUNTS]};
        if (!make_samples(rng, shape, constants.count, &in)) {
            status = TARN_NO_MEMORY;
            break;
        }
        const struct argument arguments[] = {{in.weight_count * 4, in.weights, NULL},
                                             {in.tile_floats * 4, in.tiles, NULL},
                                             {(size_t)in.count * 4, NULL, in.scores}};
        tarn_forward_slice_host(shape, constants.slice, in.weights, in.tiles, in.count,
                                in.wanted_scores);
        tarn_status ran = launch(device, queue, kernel, arguments, 3, &constants, in.count, whole);
        double worst =
            ran == TARN_OK ? difference(in.scores, in.wanted_scores, in.count) : INFINITY;
        check(result, worst < TOLERANCE, "%s: forward of %u samples, slice %x: %s (off by %g)",
              tarn_device_get_info(device)->id, (unsigned)in.count, (unsigned)constants.slice,
              ran == TARN_OK ? "a score is wrong" : tarn_status_message(ran), worst);
        free_input(&in);
    }
    free_input(&in);
    return status;
}

static void check_training(struct tarn_selftest *result, const char *id, const char *what,
                           const struct input *in, tarn_status ran)
{
    const char *why = ran == TARN_OK ? "wrong" : tarn_status_message(ran);
    /* a weight moves by up to `rate` a step: a twentieth of that is as far as rounding gets */
    double limit = (double)training.rate * STEPS / 20;
    double worst =
        ran == TARN_OK ? difference(in->state[0], in->wanted_state[0], in->weight_count) : INFINITY;
    check(result, worst < limit, "%s: %s: weights: %s (off by %g)", id, what, why, worst);
    for (int i = 1; i < 3 && ran == TARN_OK; i++) {
        worst = difference(in->state[i], in->wanted_state[i], in->weight_count);
        check(result, worst < TOLERANCE, "%s: %s: moments: off by %g", id, what, worst);
    }
    worst = ran == TARN_OK ? difference(in->losses, in->wanted_losses, STEPS) : INFINITY;
    check(result, worst < TOLERANCE, "%s: %s: losses: %s (off by %g)", id, what, why, worst);
}

static tarn_status gradient_steps(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                                  struct tarn_rng *rng, const struct tarn_shape *shape,
                                  struct tarn_selftest *result)
{
    struct input in = {0};
    const char *id = tarn_device_get_info(device)->id;
    if (!make_training(rng, shape, &in)) {
        free_input(&in);
        return TARN_NO_MEMORY;
    }
    size_t size = in.weight_count * 4;
    const struct argument arguments[] = {{size, in.state[0], in.state[0]},
                                         {size, in.state[1], in.state[1]},
                                         {size, in.state[2], in.state[2]},
                                         {in.tile_floats * 4, in.tiles, NULL},
                                         {(size_t)in.count * 4, in.labels, NULL},
                                         {sizeof in.losses, NULL, in.losses},
                                         {tarn_train_scratch_floats(shape, BATCH) * 4, NULL, NULL}};
    tarn_train_host(
        shape,
        &(struct tarn_train_state){in.wanted_state[0], in.wanted_state[1], in.wanted_state[2]},
        &training, in.tiles, in.labels, in.wanted_losses, NULL);
    tarn_status ran = launch(device, queue, kernel, arguments, 7, &training, 1, whole);
    check_training(result, id, "train", &in, ran);
    uint32_t cuts[] = {1 + tarn_rng_below(rng, 2), 3 + tarn_rng_below(rng, 2),
                       5 + tarn_rng_below(rng, 4), 0};
    memcpy(in.state[0], in.weights, size);
    memset(in.state[1], 0, size);
    memset(in.state[2], 0, size);
    ran = launch(device, queue, kernel, arguments, 7, &training, 1, cuts);
    check_training(result, id, "train in parts", &in, ran);
    free_input(&in);
    return TARN_OK;
}

static tarn_status wide_steps(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                              struct tarn_rng *rng, struct tarn_selftest *result)
{
    double worst[TARN_SELFTEST_WIDE_STEPS];
    const char *id = tarn_device_get_info(device)->id;
    tarn_status status = tarn_selftest_wide(device, queue, kernel, rng, worst);
    if (status == TARN_NO_MEMORY)
        return status;
    if (status != TARN_OK)
        check(result, false, "%s: wide: %s", id, tarn_status_message(status));
    for (int i = 0; i < TARN_SELFTEST_WIDE_STEPS && status == TARN_OK; i++)
        check(result, worst[i] < TOLERANCE, "%s: wide: step %d: wrong (off by %g)", id, i,
              worst[i]);
    return TARN_OK;
}

static tarn_status check_kernel(tarn_device *device, tarn_queue *queue, tarn_kernel *kernel,
                                const char *name, const struct tarn_shape *shape,
                                struct tarn_rng *rng, struct tarn_selftest *result)
{
    if (strcmp(name, tarn_lookup_source.name) == 0)
        return lookups(device, queue, kernel, rng, result);
    if (strcmp(name, tarn_forward_source.name) == 0)
        return scores(device, queue, kernel, rng, shape, result);
    if (strcmp(name, tarn_wide_source.name) == 0)
        return wide_steps(device, queue, kernel, rng, result);
    return gradient_steps(device, queue, kernel, rng, shape, result);
}

bool tarn_selftest_knows(const char *name)
{
    for (size_t i = 0; tarn_kernel_sources[i] != NULL; i++)
        if (strcmp(name, tarn_kernel_sources[i]->name) == 0)
            return true;
    return false;
}

tarn_status tarn_selftest_kernel(tarn_device *device, tarn_kernel *kernel, uint64_t seed,
                                 struct tarn_selftest *result)
{
    const char *name = kernel->source->name;
    struct tarn_shape shape = {0};
    if (!tarn_selftest_knows(name))
        return TARN_INVALID;
    if (kernel->define_count == TARN_SHAPE_DEFINES)
        shape = (struct tarn_shape){(uint32_t)kernel->defines[0], (uint32_t)kernel->defines[1],
                                    (uint32_t)kernel->defines[2], (uint32_t)kernel->defines[3]};
    if ((strcmp(name, tarn_train_source.name) == 0 && !tarn_shape_is_valid(&shape)) ||
        (strcmp(name, tarn_forward_source.name) == 0 && !tarn_shape_is_scorable(&shape)))
        return TARN_INVALID;
    struct tarn_rng rng;
    tarn_queue *queue = NULL;
    tarn_rng_seed(&rng, seed);
    tarn_status status = tarn_queue_create(
        device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW}, &queue);
    if (status == TARN_OK)
        status = check_kernel(device, queue, kernel, name, &shape, &rng, result);
    tarn_queue_destroy(&queue);
    return status;
}

/* Builds and checks one; one that can't be built here is skipped or counts as failed. */
static tarn_status check_source(tarn_device *device, tarn_queue *queue,
                                const struct tarn_kernel_source *source,
                                const struct tarn_shape *shape, struct tarn_rng *rng,
                                struct tarn_selftest *result)
{
    tarn_status status;
    tarn_kernel *kernel = build(device, source, shape, result, &status);
    if (kernel == NULL)
        return status == TARN_NO_MEMORY ? status : TARN_OK;
    status = check_kernel(device, queue, kernel, source->name, shape, rng, result);
    tarn_kernel_destroy(&kernel);
    return status;
}

tarn_status tarn_selftest_device(tarn_device *device, uint64_t seed, struct tarn_selftest *result)
{
    struct tarn_rng rng;
    tarn_queue *queue = NULL;
    tarn_rng_seed(&rng, seed);
    tarn_status status = tarn_queue_create(
        device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_LOW}, &queue);
    if (status != TARN_OK && status != TARN_NO_MEMORY) {
        check(result, false, "%s: no queue: %s", tarn_device_get_info(device)->id,
              tarn_status_message(status));
        return TARN_OK;
    }
    if (status == TARN_OK)
        status = check_source(device, queue, &tarn_lookup_source, NULL, &rng, result);
    if (status == TARN_OK)
        status = check_source(device, queue, &tarn_wide_source, NULL, &rng, result);
    for (size_t s = 0; s < SHAPES && status == TARN_OK; s++) {
        status = check_source(device, queue, &tarn_forward_source, &shapes[s], &rng, result);
        if (status == TARN_OK)
            status = check_source(device, queue, &tarn_train_source, &shapes[s], &rng, result);
    }
    tarn_queue_destroy(&queue);
    return status;
}
