/* SPDX-License-Identifier: Apache-2.0 */
#include "wide.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "gpu/backend.h"
#include "gpu/gemm.h"
#include "kernels/canary.h"
#include "kernels/kernels.h"
#include "kernels/train.h"
#include "kernels/wide.h"

/* What takes longer hangs: a pass and, above it, each training step. CLBlast compiles before. */
#define LONGEST_WAIT_US 30000000
#define LONGEST_STEP_US 10000000

enum {
    WEIGHTS, /* and where steps are passes m and v behind them */
    M,
    V,
    INPUT, /* [feature][sample] for products, else tiles, and for passes labels behind them */
    LABELS,
    OUTPUT, /* scores, or losses */
    HIDDEN, /* scratch; for products activations [neuron][sample], layer by layer */
    DERIVATIVES,
    GRADIENT,
    BUFFERS
};
enum { LAYERS = 3 };

struct layer {
    uint32_t inputs, neurons;
    uint32_t weights, bias; /* where they are in WEIGHTS, and their gradients in GRADIENT */
    uint32_t active;        /* where its activations are in HIDDEN and DERIVATIVES */
};

struct tarn_wide {
    struct tarn_shape shape;
    struct layer layer[LAYERS];
    tarn_path path;
    bool fused;  /* one kernel does it all, on the host too */
    bool passes; /* training in two launches a step */
    size_t weights;
    uint32_t room, samples;
    bool labelled;
    float rate;
    uint64_t steps;
    uint32_t ld; /* floats from a row of samples to the next */
    tarn_device *device;
    tarn_queue *queue;
    tarn_kernel *forward, *train, *wide;
    tarn_buffer *buffer[BUFFERS];
    float *memory[BUFFERS]; /* the host's views; owned if there is no buffer */
    size_t size[BUFFERS];   /* bytes, 0: not needed */
};

const char *tarn_path_name(tarn_path path)
{
    static const char *const names[TARN_PATHS] = {"host", "fused", "gemm", "clblast"};
    return (unsigned)path < TARN_PATHS ? names[path] : "unknown";
}

bool tarn_wide_is_valid(const struct tarn_shape *s)
{
    return s->inputs >= 1 && s->inputs <= TARN_MAX_WIDE_WIDTH && s->hidden1 >= 1 &&
           s->hidden1 <= TARN_MAX_WIDE_WIDTH && s->hidden2 >= 1 &&
           s->hidden2 <= TARN_MAX_WIDE_WIDTH && s->outputs >= 1 && s->outputs <= TARN_MAX_BINS;
}

/* ---- creation ---- */

static struct tarn_wide_constants pass_constants(const tarn_wide *w, uint32_t batch)
{
    return (struct tarn_wide_constants){
        .columns = batch,
        .inputs = w->shape.inputs,
        .hidden1 = w->shape.hidden1,
        .hidden2 = w->shape.hidden2,
        .outputs = w->shape.outputs,
    };
}

static void lay_out(tarn_wide *w, bool train)
{
    const struct tarn_shape *s = &w->shape;
    uint32_t sizes[LAYERS + 1] = {s->inputs, s->hidden1, s->hidden2, s->outputs};
    uint32_t at = 0, active = 0;
    w->ld = (w->room + TARN_LANES - 1) / TARN_LANES * TARN_LANES;
    /* rows that lie a power of two apart fall into the same few places of a cache */
    if (!w->fused && !w->passes && w->ld % 256 == 0)
        w->ld += TARN_LANES;
    for (int i = 0; i < LAYERS; i++) {
        struct layer *l = &w->layer[i];
        *l = (struct layer){sizes[i], sizes[i + 1], at, at + sizes[i] * sizes[i + 1], active};
        at = l->bias + l->neurons;
        active += l->neurons * w->ld;
    }
    size_t weights = at * sizeof(float), row = w->ld * sizeof(float);
    w->weights = at;
    w->size[WEIGHTS] = weights;
    w->size[INPUT] = s->inputs * row;
    /* scores or losses; behind these a loss for each sample */
    w->size[OUTPUT] = train ? 2 * row : row;
    if (w->passes) {
        struct tarn_wide_constants k = pass_constants(w, w->ld);
        w->size[WEIGHTS] = 3 * weights;
        w->size[INPUT] += row;
        w->size[HIDDEN] = tarn_wide_scratch_floats(&k) * sizeof(float);
        return;
    }
    if (train) {
        w->size[M] = w->size[V] = weights;
        w->size[LABELS] = row;
    }
    if (w->fused) {
        if (train)
            w->size[HIDDEN] = tarn_train_scratch_floats(s, w->ld) * sizeof(float);
        return;
    }
    w->size[HIDDEN] = active * sizeof(float);
    if (train) {
        w->size[DERIVATIVES] = w->size[HIDDEN];
        w->size[GRADIENT] = weights;
    }
}

static tarn_status make_memory(tarn_wide *w)
{
    for (int i = 0; i < BUFFERS; i++) {
        if (w->size[i] == 0)
            continue;
        if (w->path == TARN_PATH_HOST) {
            w->memory[i] = tarn_alloc_aligned(64, (w->size[i] + 63) / 64 * 64);
            if (w->memory[i] == NULL)
                return TARN_NO_MEMORY;
            memset(w->memory[i], 0, w->size[i]);
            continue;
        }
        bool inside = i == HIDDEN || i == DERIVATIVES || i == GRADIENT;
        tarn_status status = tarn_buffer_create(
            w->device, &(struct tarn_buffer_params){.size = w->size[i], .device_only = inside},
            &w->buffer[i]);
        if (status != TARN_OK)
            return status;
        w->memory[i] = tarn_buffer_data(w->buffer[i]);
    }
    return TARN_OK;
}

static tarn_status make_kernels(tarn_wide *w, bool train, struct tarn_error *error)
{
    if (w->path == TARN_PATH_HOST)
        return TARN_OK;
    if (!w->fused)
        return tarn_canary_create(w->device,
                                  &(struct tarn_kernel_params){.source = &tarn_wide_source}, NULL,
                                  &w->wide, error);
    int32_t defines[TARN_MAX_DEFINES];
    tarn_shape_defines(&w->shape, defines);
    tarn_status status = tarn_canary_create(
        w->device, &(struct tarn_kernel_params){.source = &tarn_forward_source, .defines = defines},
        NULL, &w->forward, error);
    if (status == TARN_OK && train)
        status = tarn_canary_create(
            w->device,
            &(struct tarn_kernel_params){.source = &tarn_train_source, .defines = defines}, NULL,
            &w->train, error);
    return status;
}

static tarn_status upload(tarn_wide *w, int which, size_t size)
{
    return w->buffer[which] != NULL ? tarn_buffer_upload(w->queue, w->buffer[which], 0, size)
                                    : TARN_OK;
}

tarn_status tarn_wide_create(const struct tarn_wide_params *params, tarn_wide **wide,
                             struct tarn_error *error)
{
    const struct tarn_shape *s = params->shape;
    bool host = params->path == TARN_PATH_HOST;
    bool fusable = params->train ? tarn_shape_is_valid(s) : tarn_shape_is_scorable(s);
    bool passes = params->path == TARN_PATH_FUSED && !fusable && params->train;
    *wide = NULL;
    if (!tarn_wide_is_valid(s) || params->room == 0 || params->room > 1u << 20)
        return tarn_fail(error, TARN_INVALID, "net: no such network: %u-%u-%u-%u, %u samples",
                         s->inputs, s->hidden1, s->hidden2, s->outputs, params->room);
    if (params->path == TARN_PATH_FUSED && !fusable && !passes)
        return tarn_fail(error, TARN_UNSUPPORTED, "net: %u-%u-%u-%u is too wide for one kernel",
                         s->inputs, s->hidden1, s->hidden2, s->outputs);
    if (params->path == TARN_PATH_CLBLAST && !tarn_device_has_gemm(params->device))
        return tarn_fail(error, TARN_UNSUPPORTED, "net: %s has no CLBlast",
                         tarn_device_get_info(params->device)->id);
    tarn_wide *w = tarn_alloc_zeroed(1, sizeof *w);
    if (w == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "net: out of memory");
    w->shape = *s;
    w->path = params->path;
    w->passes = passes;
    w->fused = !passes && (params->path == TARN_PATH_FUSED || (host && fusable));
    w->room = params->room;
    w->rate = params->rate;
    w->device = host ? NULL : params->device;
    w->queue = host ? NULL : params->queue;
    lay_out(w, params->train);
    tarn_status status = make_memory(w);
    if (status == TARN_OK) {
        memcpy(w->memory[WEIGHTS], params->weights, w->weights * sizeof(float));
        for (int i = WEIGHTS; i <= V && status == TARN_OK; i++)
            if (w->size[i] > 0)
                status = upload(w, i, w->size[i]);
    }
    if (status != TARN_OK)
        tarn_fail(error, status, "net: %s", tarn_status_message(status));
    else
        status = make_kernels(w, params->train, error);
    if (status != TARN_OK)
        tarn_wide_destroy(&w);
    *wide = w;
    return status;
}

/* What is still under way may use the buffers whenever it likes: a device that hangs keeps them. */
static tarn_status wait(tarn_wide *w, uint32_t steps)
{
    tarn_status status =
        tarn_queue_finish(w->queue, LONGEST_WAIT_US + steps * (uint64_t)LONGEST_STEP_US);
    if (status != TARN_TIMEOUT)
        return status;
    tarn_device_abandon(w->device, "a step of a network doesn't end");
    return TARN_DEVICE_LOST;
}

void tarn_wide_destroy(tarn_wide **wide)
{
    tarn_wide *w = *wide;
    if (w == NULL)
        return;
    if (w->queue != NULL)
        wait(w, 0);
    tarn_kernel_destroy(&w->forward);
    tarn_kernel_destroy(&w->train);
    tarn_kernel_destroy(&w->wide);
    for (int i = 0; i < BUFFERS; i++) {
        if (w->buffer[i] == NULL)
            tarn_free(w->memory[i]);
        tarn_buffer_destroy(&w->buffer[i]);
    }
    tarn_free(w);
    *wide = NULL;
}

/* ---- one step ---- */

static tarn_status step_on_device(tarn_wide *w, const struct tarn_wide_constants *k, int a, int b,
                                  int c, int d)
{
    tarn_buffer *const buffers[] = {w->buffer[a], w->buffer[b], w->buffer[c], w->buffer[d]};
    return tarn_queue_submit(w->queue,
                             &(struct tarn_launch){w->wide, buffers, k, tarn_wide_groups(k)}, NULL);
}

static tarn_status step(tarn_wide *w, const struct tarn_wide_constants *k, int a, int b, int c,
                        int d)
{
    if (w->path != TARN_PATH_HOST)
        return step_on_device(w, k, a, b, c, d);
    tarn_wide_host(
        k, &(struct tarn_wide_arrays){w->memory[a], w->memory[b], w->memory[c], w->memory[d]}, 0,
        tarn_wide_groups(k));
    return TARN_OK;
}

static struct tarn_matrix matrix(const tarn_wide *w, int which, uint32_t at, uint32_t row,
                                 uint32_t column)
{
    bool transposed = column != 1;
    return (struct tarn_matrix){w->buffer[which], at, transposed ? column : row, transposed};
}

/* A product, by CLBlast if that is the path; then what follows it is a step of its own. */
static tarn_status product(tarn_wide *w, struct tarn_wide_constants *k, int a, int b, int c)
{
    k->op = TARN_WIDE_PRODUCT;
    if (w->path != TARN_PATH_CLBLAST)
        return step(w, k, a, b, c, c);
    tarn_status status =
        tarn_queue_gemm(w->queue, &(struct tarn_gemm){
                                      .m = k->rows,
                                      .n = k->columns,
                                      .k = k->terms,
                                      .a = matrix(w, a, k->a, k->a_row, k->a_term),
                                      .b = matrix(w, b, k->b, k->b_term, k->b_column),
                                      .c = {w->buffer[c], k->c, k->c_row, false},
                                  });
    if (status != TARN_OK || k->flags == 0)
        return status;
    k->op = TARN_WIDE_BIAS;
    return step(w, k, a, b, c, c);
}

/* Where the samples from `first` on are that enter layer `i`. */
static uint32_t entering(const tarn_wide *w, int i, uint32_t first)
{
    return (i == 0 ? 0 : w->layer[i - 1].active) + first;
}

static tarn_status pass_forward(tarn_wide *w, uint32_t first, uint32_t count)
{
    tarn_status status = TARN_OK;
    for (int i = 0; i < LAYERS && status == TARN_OK; i++) {
        const struct layer *l = &w->layer[i];
        struct tarn_wide_constants k = {
            .rows = l->neurons,
            .columns = count,
            .terms = l->inputs,
            .a = l->weights,
            .a_row = l->inputs,
            .a_term = 1,
            .b = entering(w, i, first),
            .b_term = w->ld,
            .b_column = 1,
            .c = l->active + first,
            .c_row = w->ld,
            .flags = TARN_WIDE_HAS_BIAS | (i < LAYERS - 1 ? TARN_WIDE_LEAKY : 0),
            .bias = l->bias,
        };
        status = product(w, &k, WEIGHTS, i == 0 ? INPUT : HIDDEN, HIDDEN);
    }
    return status;
}

/* DERIVATIVES hold those by the last layer's logits; GRADIENT gets those by all weights. */
static tarn_status pass_back(tarn_wide *w, uint32_t first, uint32_t count)
{
    tarn_status status = TARN_OK;
    for (int i = LAYERS - 1; i >= 0 && status == TARN_OK; i--) {
        const struct layer *l = &w->layer[i];
        struct tarn_wide_constants by_weights = {
            .rows = l->neurons,
            .columns = l->inputs,
            .terms = count,
            .a = l->active + first,
            .a_row = w->ld,
            .a_term = 1,
            .b = entering(w, i, first),
            .b_term = 1,
            .b_column = w->ld,
            .c = l->weights,
            .c_row = l->inputs,
        };
        status = product(w, &by_weights, DERIVATIVES, i == 0 ? INPUT : HIDDEN, GRADIENT);
        struct tarn_wide_constants by_bias = {
            .op = TARN_WIDE_SUM,
            .rows = l->neurons,
            .columns = count,
            .a = l->active + first,
            .a_row = w->ld,
            .c = l->bias,
        };
        if (status == TARN_OK)
            status = step(w, &by_bias, DERIVATIVES, DERIVATIVES, GRADIENT, GRADIENT);
        if (i == 0 || status != TARN_OK)
            continue;
        struct tarn_wide_constants before = {
            .rows = l->inputs,
            .columns = count,
            .terms = l->neurons,
            .a = l->weights,
            .a_row = 1,
            .a_term = l->inputs,
            .b = l->active + first,
            .b_term = w->ld,
            .b_column = 1,
            .c = entering(w, i, first),
            .c_row = w->ld,
        };
        status = product(w, &before, WEIGHTS, DERIVATIVES, DERIVATIVES);
        struct tarn_wide_constants slope = {
            .op = TARN_WIDE_SLOPE,
            .rows = l->inputs,
            .columns = count,
            .a = entering(w, i, first),
            .a_row = w->ld,
            .c = entering(w, i, first),
            .c_row = w->ld,
        };
        if (status == TARN_OK)
            status = step(w, &slope, HIDDEN, HIDDEN, DERIVATIVES, DERIVATIVES);
    }
    return status;
}

static void next_adam(tarn_wide *w, struct tarn_wide_constants *k)
{
    double done = (double)(w->steps + 1);
    k->scale = w->rate;
    k->beta1 = 0.9f;
    k->beta2 = 0.999f;
    k->epsilon = 1e-7f;
    k->unbias1 = (float)(-1.0 / expm1(done * log(0.9)));
    k->unbias2 = (float)(-1.0 / expm1(done * log(0.999)));
    w->steps++;
}

static tarn_status update(tarn_wide *w)
{
    struct tarn_wide_constants k = {.op = TARN_WIDE_ADAM, .rows = (uint32_t)w->weights};
    next_adam(w, &k);
    return step(w, &k, GRADIENT, M, WEIGHTS, V);
}

/* ---- whole passes ---- */

static tarn_status finish(tarn_wide *w, const int *results, int count, uint32_t steps,
                          tarn_status status)
{
    if (w->path == TARN_PATH_HOST)
        return status;
    for (int i = 0; i < count && status == TARN_OK; i++) {
        size_t size = results[i] == WEIGHTS ? w->weights * sizeof(float) : w->size[results[i]];
        status = tarn_buffer_download(w->queue, w->buffer[results[i]], 0, size);
    }
    tarn_status finished = wait(w, steps);
    return status == TARN_OK ? finished : status;
}

/* Where a pass finds them in INPUT: behind the tiles. */
static size_t labels_at(const tarn_wide *w)
{
    return (size_t)w->shape.inputs * w->ld;
}

tarn_status tarn_wide_set_samples(tarn_wide *w, const float *tiles, const uint32_t *labels,
                                  uint32_t count)
{
    if (count > w->room)
        return TARN_TOO_LARGE;
    if (labels != NULL && w->size[LABELS] == 0 && !w->passes)
        return TARN_INVALID;
    uint32_t inputs = w->shape.inputs;
    if (w->fused || w->passes) {
        memcpy(w->memory[INPUT], tiles, tarn_shape_tile_floats(&w->shape, count) * sizeof(float));
    } else {
        for (uint32_t n = 0; n < count; n += TARN_LANES, tiles += inputs * TARN_LANES)
            for (uint32_t i = 0; i < inputs; i++)
                memcpy(w->memory[INPUT] + (size_t)i * w->ld + n, tiles + i * TARN_LANES,
                       TARN_LANES * sizeof(float));
    }
    w->samples = count;
    w->labelled = labels != NULL;
    if (labels != NULL) {
        float *to = w->passes ? w->memory[INPUT] + labels_at(w) : w->memory[LABELS];
        memset(to, 0, w->ld * sizeof *to);
        memcpy(to, labels, count * sizeof *labels);
    }
    tarn_status status = upload(w, INPUT, w->size[INPUT]);
    if (status == TARN_OK && labels != NULL && !w->passes)
        status = upload(w, LABELS, w->size[LABELS]);
    return status;
}

static tarn_status forward_fused(tarn_wide *w, uint32_t count)
{
    if (w->path == TARN_PATH_HOST) {
        tarn_forward_host(&w->shape, w->memory[WEIGHTS], w->memory[INPUT], count,
                          w->memory[OUTPUT]);
        return TARN_OK;
    }
    struct tarn_forward_constants constants = {count};
    tarn_buffer *const buffers[] = {w->buffer[WEIGHTS], w->buffer[INPUT], w->buffer[OUTPUT]};
    return tarn_queue_submit(w->queue,
                             &(struct tarn_launch){w->forward, buffers, &constants,
                                                   tarn_kernel_groups(w->forward, count)},
                             NULL);
}

tarn_status tarn_wide_forward(tarn_wide *w, uint32_t count)
{
    static const int results[] = {OUTPUT};
    if (count == 0 || count > w->samples)
        return TARN_INVALID;
    if (w->passes)
        return TARN_UNSUPPORTED;
    tarn_status status = w->fused ? forward_fused(w, count) : pass_forward(w, 0, count);
    if (status == TARN_OK && !w->fused) {
        struct tarn_wide_constants k = {
            .op = TARN_WIDE_SCORE,
            .rows = w->shape.outputs,
            .columns = count,
            .a = w->layer[LAYERS - 1].active,
            .a_row = w->ld,
        };
        status = step(w, &k, HIDDEN, HIDDEN, OUTPUT, OUTPUT);
    }
    return finish(w, results, 1, 0, status);
}

const float *tarn_wide_scores(const tarn_wide *w)
{
    return w->memory[OUTPUT];
}

static tarn_status train_fused(tarn_wide *w, uint32_t steps, uint32_t batch)
{
    struct tarn_train_constants constants = {
        .steps = steps,
        .batch = batch,
        .first_step = w->steps > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)w->steps,
        .rate = w->rate,
        .beta1 = 0.9f,
        .beta2 = 0.999f,
        .epsilon = 1e-7f,
    };
    w->steps += steps;
    if (w->path == TARN_PATH_HOST) {
        tarn_train_host(&w->shape,
                        &(struct tarn_train_state){w->memory[WEIGHTS], w->memory[M], w->memory[V]},
                        &constants, w->memory[INPUT], (const uint32_t *)w->memory[LABELS],
                        w->memory[OUTPUT], NULL);
        return TARN_OK;
    }
    tarn_buffer *const buffers[] = {w->buffer[WEIGHTS], w->buffer[M],      w->buffer[V],
                                    w->buffer[INPUT],   w->buffer[LABELS], w->buffer[OUTPUT],
                                    w->buffer[HIDDEN]};
    return tarn_queue_submit(
        w->queue,
        &(struct tarn_launch){w->train, buffers, &constants, tarn_kernel_groups(w->train, batch)},
        NULL);
}

static tarn_status pass(tarn_wide *w, uint32_t first, uint32_t batch)
{
    struct tarn_wide_constants k = pass_constants(w, batch);
    k.op = TARN_WIDE_PASS;
    k.b = first * w->shape.inputs;
    k.b_term = (uint32_t)labels_at(w) + first;
    k.d = w->ld + first;
    k.scale = 1.0f / (float)batch;
    tarn_status status = step(w, &k, WEIGHTS, INPUT, HIDDEN, OUTPUT);
    if (status != TARN_OK)
        return status;
    k = pass_constants(w, batch);
    k.op = TARN_WIDE_UPDATE;
    k.c_row = (uint32_t)w->weights;
    next_adam(w, &k);
    return step(w, &k, HIDDEN, HIDDEN, WEIGHTS, HIDDEN);
}

static tarn_status train_step(tarn_wide *w, uint32_t first, uint32_t batch)
{
    const struct layer *last = &w->layer[LAYERS - 1];
    if (w->passes)
        return pass(w, first, batch);
    tarn_status status = pass_forward(w, first, batch);
    struct tarn_wide_constants loss = {
        .op = TARN_WIDE_LOSS,
        .rows = last->neurons,
        .columns = batch,
        .a = last->active + first,
        .a_row = w->ld,
        .b = first,
        .c = last->active + first,
        .c_row = w->ld,
        .d = w->ld + first,
        .scale = 1.0f / (float)batch,
    };
    if (status == TARN_OK)
        status = step(w, &loss, HIDDEN, LABELS, DERIVATIVES, OUTPUT);
    if (status == TARN_OK)
        status = pass_back(w, first, batch);
    return status == TARN_OK ? update(w) : status;
}

/* The samples' losses to those of the steps, for all of them in one launch. */
static tarn_status sum_losses(tarn_wide *w, uint32_t steps, uint32_t batch)
{
    struct tarn_wide_constants sum = {
        .op = TARN_WIDE_SUM,
        .rows = steps,
        .columns = batch,
        .a = w->ld,
        .a_row = batch,
    };
    return step(w, &sum, OUTPUT, OUTPUT, OUTPUT, OUTPUT);
}

tarn_status tarn_wide_train(tarn_wide *w, uint32_t steps, uint32_t batch)
{
    static const int results[] = {WEIGHTS, OUTPUT};
    if (steps == 0 || batch == 0 || batch % TARN_LANES != 0 || !w->labelled ||
        steps > w->samples / batch)
        return TARN_INVALID;
    tarn_status status = TARN_OK;
    if (w->fused)
        status = train_fused(w, steps, batch);
    for (uint32_t s = 0; s < steps && status == TARN_OK && !w->fused; s++)
        status = train_step(w, s * batch, batch);
    if (status == TARN_OK && !w->fused)
        status = sum_losses(w, steps, batch);
    return finish(w, results, 2, steps, status);
}

const float *tarn_wide_losses(const tarn_wide *w)
{
    return w->memory[OUTPUT];
}

const float *tarn_wide_weights(const tarn_wide *w)
{
    return w->memory[WEIGHTS];
}
