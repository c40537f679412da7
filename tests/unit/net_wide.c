/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each path of a network against plain code. CLBlast, whose first call may compile for many seconds,
 * is in a suite of its own: `net_wide clblast`.
 */
#include "../check.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "gpu/gemm.h"
#include "kernels/train.h"
#include "net/wide.h"

enum { BATCH = 48, STEPS = 3, SAMPLES = BATCH * STEPS };

struct data {
    struct tarn_shape shape;
    size_t weights;
    float *start, *tiles;
    uint32_t labels[SAMPLES];
};

static void *some(size_t count)
{
    void *memory = calloc(count + 16, 4);
    if (memory == NULL)
        exit(1);
    return memory;
}

static struct data some_data(uint64_t seed, struct tarn_shape shape)
{
    struct data d = {.shape = shape, .weights = tarn_shape_weights(&shape)};
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    d.start = some(d.weights);
    tarn_net_init(&shape, &rng, d.start);
    size_t tiles = tarn_shape_tile_floats(&shape, SAMPLES);
    d.tiles = some(tiles);
    for (size_t i = 0; i < tiles; i++)
        d.tiles[i] = (tarn_rng_float(&rng) - 0.5f) * 4;
    for (int i = 0; i < SAMPLES; i++) {
        uint32_t risk = 1 + tarn_rng_below(&rng, shape.outputs);
        d.labels[i] = tarn_label(risk, tarn_rng_below(&rng, 2) ? (int)risk - 1 : -1);
    }
    return d;
}

static void free_data(struct data *d)
{
    free(d->start);
    free(d->tiles);
}

/* One sample's pass in double: activations of each layer, and what the loss and its slope are. */
struct pass {
    double a[4][TARN_MAX_WIDE_WIDTH];
};

static void plain_forward(const struct data *d, const double *weights, uint32_t sample,
                          struct pass *p)
{
    const uint32_t sizes[4] = {d->shape.inputs, d->shape.hidden1, d->shape.hidden2,
                               d->shape.outputs};
    for (uint32_t f = 0; f < sizes[0]; f++)
        p->a[0][f] =
            (double)
                d->tiles[(sample / TARN_LANES * sizes[0] + f) * TARN_LANES + sample % TARN_LANES];
    for (int l = 0; l < 3; l++) {
        const double *bias = weights + (size_t)sizes[l] * sizes[l + 1];
        for (uint32_t n = 0; n < sizes[l + 1]; n++) {
            double sum = bias[n];
            for (uint32_t i = 0; i < sizes[l]; i++)
                sum += weights[(size_t)n * sizes[l] + i] * p->a[l][i];
            p->a[l + 1][n] = l < 2 && sum < 0 ? sum * (double)TARN_LEAK : sum;
        }
        weights = bias + sizes[l + 1];
    }
}

static double plain_score(const double *logits, uint32_t bins)
{
    double survival = 1, found = 0, area = 0, best = 0, width = exp2(TARN_BIN_FIRST_LOG2);
    for (uint32_t k = 0; k < bins; k++) {
        double hazard = 1 / (1 + exp(-logits[k])), after = survival * (1 - hazard);
        found += survival * hazard;
        area += (survival + after) / 2 * width;
        best = fmax(best, found / area);
        survival = after;
        width *= k > 0 ? 2 : 1;
    }
    return log2(best + 1e-9);
}

/* Adds a sample's gradients of the loss / BATCH; returns its loss. */
static double plain_back(const struct data *d, const double *weights, uint32_t sample,
                         double *gradient)
{
    static struct pass p;
    static double delta[4][TARN_MAX_WIDE_WIDTH];
    const uint32_t sizes[4] = {d->shape.inputs, d->shape.hidden1, d->shape.hidden2,
                               d->shape.outputs};
    double loss = 0;
    uint32_t label = d->labels[sample];
    plain_forward(d, weights, sample, &p);
    for (uint32_t k = 0; k < sizes[3]; k++) {
        double x = p.a[3][k], y = label >> 8 == k + 1;
        bool inside = k < (label & 0xff);
        loss += inside ? log1p(exp(x)) - y * x : 0;
        delta[3][k] = inside ? (1 / (1 + exp(-x)) - y) / BATCH : 0;
    }
    size_t at[3] = {0, (size_t)sizes[1] * (sizes[0] + 1), 0};
    at[2] = at[1] + (size_t)sizes[2] * (sizes[1] + 1);
    for (int l = 2; l >= 0; l--) {
        memset(delta[l], 0, sizeof delta[l]);
        for (uint32_t n = 0; n < sizes[l + 1]; n++) {
            for (uint32_t i = 0; i < sizes[l]; i++) {
                size_t w = at[l] + (size_t)n * sizes[l] + i;
                gradient[w] += delta[l + 1][n] * p.a[l][i];
                delta[l][i] += delta[l + 1][n] * weights[w];
            }
            gradient[at[l] + (size_t)sizes[l] * sizes[l + 1] + n] += delta[l + 1][n];
        }
        for (uint32_t i = 0; l > 0 && i < sizes[l]; i++)
            delta[l][i] *= p.a[l][i] > 0 ? 1 : (double)TARN_LEAK;
    }
    return loss / BATCH;
}

static void plain_train(const struct data *d, double *weights, double *losses)
{
    double *m = calloc(d->weights, 8), *v = calloc(d->weights, 8), *g = calloc(d->weights, 8);
    if (m == NULL || v == NULL || g == NULL)
        exit(1);
    for (int step = 0; step < STEPS; step++) {
        memset(g, 0, d->weights * 8);
        losses[step] = 0;
        for (int i = 0; i < BATCH; i++)
            losses[step] += plain_back(d, weights, (uint32_t)(step * BATCH + i), g);
        for (size_t i = 0; i < d->weights; i++) {
            m[i] += 0.1 * (g[i] - m[i]);
            v[i] += 0.001 * (g[i] * g[i] - v[i]);
            weights[i] -= 1e-3 * (m[i] / (1 - pow(0.9, step + 1))) /
                          (sqrt(v[i] / (1 - pow(0.999, step + 1))) + 1e-7);
        }
    }
    free(m);
    free(v);
    free(g);
}

static bool make(const struct data *d, tarn_device *device, tarn_queue *queue, tarn_path path,
                 bool train, tarn_wide **wide)
{
    struct tarn_error error = {0};
    tarn_status status = tarn_wide_create(&(struct tarn_wide_params){.shape = &d->shape,
                                                                     .weights = d->start,
                                                                     .device = device,
                                                                     .queue = queue,
                                                                     .path = path,
                                                                     .room = SAMPLES,
                                                                     .train = train,
                                                                     .rate = 1e-3f},
                                          wide, &error);
    if (status != TARN_OK)
        printf("# %s: %s\n", tarn_path_name(path), error.message);
    return status == TARN_OK;
}

static void forward_agrees(const struct data *d, tarn_device *device, tarn_queue *queue,
                           tarn_path path)
{
    static struct pass p;
    tarn_wide *wide;
    double *weights = calloc(d->weights, 8);
    REQUIRE(weights != NULL && make(d, device, queue, path, false, &wide));
    for (size_t i = 0; i < d->weights; i++)
        weights[i] = (double)d->start[i];
    uint32_t counts[] = {SAMPLES, SAMPLES - 5, 1};
    for (int c = 0; c < 3; c++) {
        CHECK(tarn_wide_set_samples(wide, d->tiles, NULL, counts[c]) == TARN_OK);
        CHECK(tarn_wide_forward(wide, counts[c]) == TARN_OK);
        double worst = 0;
        for (uint32_t i = 0; i < counts[c]; i++) {
            plain_forward(d, weights, i, &p);
            double off =
                fabs((double)tarn_wide_scores(wide)[i] - plain_score(p.a[3], d->shape.outputs));
            worst = off > worst || off != off ? off : worst;
        }
        CHECK(worst < 1e-3);
        if (!(worst < 1e-3))
            printf("# %s: %u wide, %u samples: off by %g\n", tarn_path_name(path), d->shape.hidden1,
                   counts[c], worst);
    }
    tarn_wide_destroy(&wide);
    free(weights);
}

static void training_agrees(const struct data *d, tarn_device *device, tarn_queue *queue,
                            tarn_path path)
{
    tarn_wide *wide;
    double *weights = calloc(d->weights, 8), losses[STEPS], worst = 0;
    REQUIRE(weights != NULL && make(d, device, queue, path, true, &wide));
    for (size_t i = 0; i < d->weights; i++)
        weights[i] = (double)d->start[i];
    plain_train(d, weights, losses);
    CHECK(tarn_wide_set_samples(wide, d->tiles, d->labels, SAMPLES) == TARN_OK);
    CHECK(tarn_wide_train(wide, STEPS, BATCH) == TARN_OK);
    for (int s = 0; s < STEPS; s++)
        CHECK(fabs((double)tarn_wide_losses(wide)[s] - losses[s]) < 1e-3 * (1 + losses[s]));
    size_t moved = 0;
    for (size_t i = 0; i < d->weights; i++) {
        double off = fabs((double)tarn_wide_weights(wide)[i] - weights[i]);
        worst = off > worst || off != off ? off : worst;
        moved += tarn_wide_weights(wide)[i] != d->start[i];
    }
    /* a step moves a weight by up to 1e-3; where a gradient is near zero rounding says by how much */
    CHECK(worst < 5e-4);
    CHECK(moved > d->weights * 9 / 10);
    if (!(worst < 5e-4))
        printf("# %s: %u wide: weights off by %g\n", tarn_path_name(path), d->shape.hidden1, worst);
    tarn_wide_destroy(&wide);
    free(weights);
}

/* The reference network, the widest fused one of each kind, ragged ones beyond. */
static const struct tarn_shape shapes[] = {
    {28, 32, 32, 11}, {64, 64, 64, 16}, {28, 256, 256, 11}, {70, 130, 300, 5}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void each_shape(tarn_device *device, tarn_queue *queue, tarn_path path)
{
    for (int s = 0; s < SHAPES; s++) {
        struct data d = some_data(20 + (uint64_t)s, shapes[s]);
        bool fused = path == TARN_PATH_FUSED;
        if (!fused || tarn_shape_is_scorable(&d.shape))
            forward_agrees(&d, device, queue, path);
        training_agrees(&d, device, queue, path);
        free_data(&d);
    }
}

static void the_host_agrees(void)
{
    each_shape(NULL, NULL, TARN_PATH_HOST);
}

static void on_devices(tarn_path path, bool *any)
{
    struct tarn_device_info *infos;
    size_t count;
    *any = false;
    REQUIRE(tarn_devices_list(&infos, &count) == TARN_OK);
    for (size_t i = 0; i < count; i++) {
        tarn_device *device;
        tarn_queue *queue;
        struct tarn_error error;
        REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = infos[i].id}, &device,
                                 &error) == TARN_OK);
        REQUIRE(tarn_queue_create(device, &(struct tarn_queue_params){0}, &queue) == TARN_OK);
        if (path != TARN_PATH_CLBLAST || tarn_device_has_gemm(device)) {
            each_shape(device, queue, path);
            *any = true;
        }
        if (check_failures > 0)
            printf("# on %s\n", infos[i].id);
        tarn_queue_destroy(&queue);
        tarn_device_close(&device);
    }
    tarn_devices_free(&infos);
}

static void fused_kernels_agree(void)
{
    bool any;
    on_devices(TARN_PATH_FUSED, &any);
    CHECK(any);
}

static void own_products_agree(void)
{
    bool any;
    on_devices(TARN_PATH_GEMM, &any);
    CHECK(any);
}

static void clblast_agrees(void)
{
    bool any;
    on_devices(TARN_PATH_CLBLAST, &any);
    if (!any)
        SKIP("no CLBlast in this build, or no OpenCL device");
}

static void what_cannot_be_is_refused(void)
{
    tarn_device *device;
    tarn_queue *queue;
    tarn_wide *wide;
    tarn_buffer *buffer;
    struct tarn_error error;
    struct data d = some_data(1, (struct tarn_shape){28, 300, 32, 11});
    REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "host"}, &device, &error) ==
            TARN_OK);
    REQUIRE(tarn_queue_create(device, &(struct tarn_queue_params){0}, &queue) == TARN_OK);
    struct tarn_wide_params params = {.shape = &d.shape,
                                      .weights = d.start,
                                      .device = device,
                                      .queue = queue,
                                      .path = TARN_PATH_FUSED,
                                      .room = 16};
    CHECK(tarn_wide_create(&params, &wide, &error) == TARN_UNSUPPORTED && wide == NULL);
    CHECK(strstr(error.message, "too wide") != NULL);
    params.path = TARN_PATH_CLBLAST; /* the host has none */
    CHECK(tarn_wide_create(&params, &wide, &error) == TARN_UNSUPPORTED);
    CHECK(strstr(error.message, "CLBlast") != NULL);
    params.path = TARN_PATH_HOST;
    params.shape = &(struct tarn_shape){28, TARN_MAX_WIDE_WIDTH + 1, 32, 11};
    CHECK(tarn_wide_create(&params, &wide, &error) == TARN_INVALID);
    params.shape = &d.shape;
    REQUIRE(tarn_wide_create(&params, &wide, &error) == TARN_OK);
    CHECK(tarn_wide_set_samples(wide, d.tiles, NULL, 17) == TARN_TOO_LARGE);
    CHECK(tarn_wide_set_samples(wide, d.tiles, d.labels, 16) == TARN_INVALID);
    CHECK(tarn_wide_forward(wide, 1) == TARN_INVALID); /* there are no samples */
    CHECK(tarn_wide_train(wide, 1, 16) == TARN_INVALID);
    tarn_wide_destroy(&wide);
    /* the capability: absent here, and its arguments are checked */
    REQUIRE(tarn_buffer_create(device, &(struct tarn_buffer_params){.size = 64}, &buffer) ==
            TARN_OK);
    struct tarn_matrix matrix = {buffer, 0, 4, false};
    CHECK(tarn_queue_gemm(queue, &(struct tarn_gemm){4, 4, 4, matrix, matrix, matrix}) ==
          TARN_UNSUPPORTED);
    tarn_buffer_destroy(&buffer);
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
    free_data(&d);
}

static void quarantined_kernels_are_refused(void)
{
    static const struct {
        const char *list;
        uint32_t width;
        tarn_path path;
        bool train, refused;
    } cases[] = {
        {"host/wide", 80, TARN_PATH_GEMM, true, true},
        {"host/wide", 80, TARN_PATH_FUSED, true, true}, /* two launches of the same kernel */
        {"host/wide", 64, TARN_PATH_FUSED, true, false},
        {"host/train", 64, TARN_PATH_FUSED, true, true},
        {"host/train", 64, TARN_PATH_FUSED, false, false},
        {"host/forward", 80, TARN_PATH_FUSED, false, true},
        {"host/forward", 80, TARN_PATH_FUSED, true, false},
    };
    tarn_device *device;
    tarn_queue *queue;
    struct tarn_error error;
    REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "host"}, &device, &error) ==
            TARN_OK);
    REQUIRE(tarn_queue_create(device, &(struct tarn_queue_params){0}, &queue) == TARN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct data d = some_data(1, (struct tarn_shape){28, cases[i].width, 16, 11});
        tarn_wide *wide = NULL;
        setenv("TARN_QUARANTINE", cases[i].list, 1);
        tarn_status status = tarn_wide_create(&(struct tarn_wide_params){.shape = &d.shape,
                                                                         .weights = d.start,
                                                                         .device = device,
                                                                         .queue = queue,
                                                                         .path = cases[i].path,
                                                                         .room = 16,
                                                                         .train = cases[i].train},
                                              &wide, &error);
        unsetenv("TARN_QUARANTINE");
        CHECK(status == (cases[i].refused ? TARN_QUARANTINED : TARN_OK));
        CHECK((wide == NULL) == cases[i].refused);
        tarn_wide_destroy(&wide);
        free_data(&d);
    }
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
}

/* What is trained in two launches a step has no forward pass of its own. */
static void passes_only_train(void)
{
    struct data d = some_data(1, (struct tarn_shape){28, 80, 80, 11});
    tarn_device *device;
    tarn_queue *queue;
    tarn_wide *wide;
    struct tarn_error error;
    REQUIRE(tarn_device_open(&(struct tarn_device_params){.id = "host"}, &device, &error) ==
            TARN_OK);
    REQUIRE(tarn_queue_create(device, &(struct tarn_queue_params){0}, &queue) == TARN_OK);
    REQUIRE(make(&d, device, queue, TARN_PATH_FUSED, true, &wide));
    CHECK(tarn_wide_set_samples(wide, d.tiles, NULL, 16) == TARN_OK);
    CHECK(tarn_wide_train(wide, 1, 16) == TARN_INVALID); /* no labels */
    CHECK(tarn_wide_forward(wide, 16) == TARN_UNSUPPORTED);
    /* a sample that isn't a number spoils what it enters, and that stays as it is */
    d.tiles[5] = NAN;
    CHECK(tarn_wide_set_samples(wide, d.tiles, d.labels, 32) == TARN_OK);
    CHECK(tarn_wide_train(wide, 2, 16) == TARN_OK);
    CHECK(isnan(tarn_wide_losses(wide)[0]));
    for (size_t i = 0; i < d.weights; i++)
        CHECK(isfinite(tarn_wide_weights(wide)[i]));
    tarn_wide_destroy(&wide);
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
    free_data(&d);
}

static int left;

static bool fail_after(size_t size)
{
    return size == 0 || left-- > 0;
}

static void each_allocation_may_fail(void)
{
    struct data d = some_data(1, (struct tarn_shape){28, 80, 80, 11});
    int failures = 0;
    for (bool made = false; !made && failures < 100; failures += !made) {
        tarn_wide *wide = NULL;
        struct tarn_error error;
        left = failures;
        tarn_memory_set_hook(fail_after);
        tarn_status status = tarn_wide_create(&(struct tarn_wide_params){.shape = &d.shape,
                                                                         .weights = d.start,
                                                                         .path = TARN_PATH_HOST,
                                                                         .room = SAMPLES,
                                                                         .train = true},
                                              &wide, &error);
        tarn_memory_set_hook(NULL);
        made = status == TARN_OK;
        CHECK(made || (status == TARN_NO_MEMORY && wide == NULL));
        tarn_wide_destroy(&wide);
    }
    CHECK(failures > 5 && failures < 100);
    free_data(&d);
}

int main(int argc, char **argv)
{
    static const struct check_case clblast[] = {CASE(clblast_agrees)};
    static const struct check_case others[] = {
        CASE(the_host_agrees),          CASE(fused_kernels_agree),
        CASE(own_products_agree),       CASE(what_cannot_be_is_refused),
        CASE(each_allocation_may_fail), CASE(quarantined_kernels_are_refused),
        CASE(passes_only_train)};
    /* all kernels are judged here, and their trials have limits that a busy machine may miss */
    setenv("TARN_CANARY", "off", 1);
    if (argc > 1 && strcmp(argv[1], "clblast") == 0)
        return check_run(clblast, 1);
    return check_run(others, sizeof others / sizeof others[0]);
}
