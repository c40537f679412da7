/* SPDX-License-Identifier: Apache-2.0 */
#include "kernels.h"

struct run {
    struct tarn_shape shape;
    struct tarn_train_constants constants;
    size_t weights, samples;
    float *start, *m, *v, *tiles, *losses;
    uint32_t *labels;
    float *w; /* what a variant works on, with its moments */
};

static struct run some_run(struct tarn_rng *rng, int number)
{
    struct run r = {.shape = some_shape(rng, number)};
    r.constants = (struct tarn_train_constants){.steps = between(rng, 1, 4),
                                                .batch = TARN_LANES * between(rng, 1, 9),
                                                .first_step = number % 2 ? between(rng, 1, 500) : 0,
                                                .rate = 0.001f + 0.01f * tarn_rng_float(rng),
                                                .beta1 = 0.9f,
                                                .beta2 = 0.999f,
                                                .epsilon = 1e-4f};
    r.weights = tarn_shape_weights(&r.shape);
    r.samples = (size_t)r.constants.steps * r.constants.batch;
    r.start = some_weights(rng, &r.shape);
    r.tiles = some_tiles(rng, &r.shape, r.samples);
    r.w = some(r.weights * 4);
    r.m = some(r.weights * 4);
    r.v = some(r.weights * 4);
    r.losses = some(r.constants.steps * 4);
    r.labels = some(r.samples * 4);
    for (size_t i = 0; i < r.samples; i++) {
        uint32_t risk = between(rng, 0, r.shape.outputs);
        bool seen = risk > 0 && tarn_rng_below(rng, 2);
        r.labels[i] = tarn_label(risk, seen ? (int)risk - 1 : -1);
        /* slices by samples, by tiles, and tiles without any */
        if (i / TARN_LANES % 3 > 0) {
            int which = i / TARN_LANES % 3 == 1 ? (int)i : (int)i / TARN_LANES;
            r.labels[i] = tarn_label_of_slice(r.labels[i], some_slice(rng, which));
        }
    }
    return r;
}

static void reset(struct run *r, uint32_t seed)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    memcpy(r->w, r->start, r->weights * 4);
    fill(&rng, r->m, r->weights, r->constants.first_step ? 0.01f : 0.0f);
    for (size_t i = 0; i < r->weights; i++)
        r->v[i] = r->constants.first_step ? 0.001f * tarn_rng_float(&rng) : 0.0f;
}

static void free_run(struct run *r)
{
    free(r->start);
    free(r->tiles);
    free(r->w);
    free(r->m);
    free(r->v);
    free(r->losses);
    free(r->labels);
}

/* The same in double, sample by sample, straight from the formulas. */
static void plain_train(const struct run *r, double *w, double *m, double *v, double *losses)
{
    const struct tarn_shape *s = &r->shape;
    const struct tarn_train_constants *c = &r->constants;
    float *weights = some(r->weights * 4);
    double *gradient = some(r->weights * sizeof(double));
    for (uint32_t step = 0; step < c->steps; step++) {
        losses[step] = 0;
        memset(gradient, 0, r->weights * sizeof(double));
        for (size_t i = 0; i < r->weights; i++)
            weights[i] = (float)w[i];
        for (size_t n = 0; n < c->batch; n++) {
            size_t sample = (size_t)step * c->batch + n;
            double x[TARN_MAX_WIDTH], a1[TARN_MAX_WIDTH], a2[TARN_MAX_WIDTH], z[TARN_MAX_BINS];
            double d3[TARN_MAX_WIDTH], d2[TARN_MAX_WIDTH], d1[TARN_MAX_WIDTH], *ds[] = {d1, d2, d3};
            const double *as[] = {x, a1, a2};
            uint32_t sizes[4] = {s->inputs, s->hidden1, s->hidden2, s->outputs};
            uint32_t label = r->labels[sample], slice = TARN_LABEL_SLICE(label);
            double passed[TARN_MAX_WIDTH];
            plain_network(s, TARN_LABEL_SLICE(label), weights, r->tiles, sample, a1, a2, z);
            for (uint32_t f = 0; f < s->inputs; f++)
                x[f] = feature(s, r->tiles, sample, f);
            for (uint32_t k = 0; k < s->outputs; k++) {
                double hazard = 1 / (1 + exp(-z[k])), y = k + 1 == (label >> 8 & 255);
                bool inside = k < (label & 255);
                d3[k] = inside ? (hazard - y) / c->batch : 0;
                if (inside)
                    losses[step] -= (y > 0 ? log(hazard) : log1p(-hazard)) / c->batch;
            }
            const float *lw = weights + r->weights;
            for (int layer = 2; layer >= 0; layer--) {
                uint32_t in = sizes[layer], out = sizes[layer + 1];
                lw -= (size_t)out * (in + 1);
                double *g = gradient + (lw - weights);
                for (uint32_t o = 0; o < out; o++) {
                    for (uint32_t i = 0; i < in; i++)
                        g[o * in + i] += ds[layer][o] * as[layer][i];
                    g[out * in + o] += ds[layer][o];
                }
                for (uint32_t i = 0; layer > 0 && i < in; i++) {
                    double sum = 0;
                    for (uint32_t o = 0; o < out; o++)
                        sum += ds[layer][o] * (double)lw[o * in + i];
                    ds[layer - 1][i] = as[layer][i] > 0 ? sum : sum * (double)TARN_LEAK;
                    if (i >= TARN_SLICE_UNITS(slice, in))
                        ds[layer - 1][i] = 0;
                    if (layer == 1 && TARN_SLICE_EXITS(slice))
                        d1[i] = i < out ? passed[i] : 0;
                }
                if (layer == 2) {
                    memcpy(passed, d2, sizeof passed);
                    for (uint32_t i = 0; TARN_SLICE_EXITS(slice) && i < in; i++)
                        d2[i] = 0;
                }
            }
        }
        double t = c->first_step + step + 1.0;
        double beta1 = (double)c->beta1, beta2 = (double)c->beta2;
        for (size_t i = 0; i < r->weights; i++) {
            m[i] = beta1 * m[i] + (1 - beta1) * gradient[i];
            v[i] = beta2 * v[i] + (1 - beta2) * gradient[i] * gradient[i];
            w[i] -= (double)c->rate * (m[i] / (1 - pow(beta1, t))) /
                    (sqrt(v[i] / (1 - pow(beta2, t))) + (double)c->epsilon);
        }
    }
    free(weights);
    free(gradient);
}

/*
 * A step moves a weight by up to `rate`; with epsilon 1e-4 a gradient's error of 1e-6 moves it by
 * under 1e-2 rate. Two per cent of the way that was possible is thus the bound for the weights, and
 * a thousandth for the mean error.
 */
static void same_weights(const struct run *r, const double *w, const double *losses)
{
    double limit = 0.02 * (double)r->constants.rate * r->constants.steps, worst = 0, sum = 0;
    double moved = 0;
    for (size_t i = 0; i < r->weights; i++) {
        double error = fabs((double)r->w[i] - w[i]);
        worst = fmax(worst, error);
        sum += error;
        moved = fmax(moved, fabs((double)r->w[i] - (double)r->start[i]));
    }
    CHECK(worst < limit);
    CHECK(sum / (double)r->weights < limit / 20);
    CHECK(moved > limit);
    for (uint32_t s = 0; s < r->constants.steps; s++)
        CHECK(fabs((double)r->losses[s] - losses[s]) < 1e-4 * (1 + losses[s]));
}

static void variants_agree_with_plain_code(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 4);
    for (int round = 0; round < 14; round++) {
        struct run r = some_run(&rng, round);
        double *w = some(r.weights * 8), *m = some(r.weights * 8), *v = some(r.weights * 8);
        double losses[4];
        reset(&r, 9);
        for (size_t i = 0; i < r.weights; i++) {
            w[i] = (double)r.w[i];
            m[i] = (double)r.m[i];
            v[i] = (double)r.v[i];
        }
        plain_train(&r, w, m, v, losses);
        for (size_t n = 0; n < tarn_isa_count(); n++) {
            reset(&r, 9);
            tarn_isa_get(n)->train(&r.shape, &(struct tarn_train_state){r.w, r.m, r.v},
                                   &r.constants, r.tiles, r.labels, r.losses, NULL);
            same_weights(&r, w, losses);
        }
        free(w);
        free(m);
        free(v);
        free_run(&r);
    }
}

/* Many steps on one batch must bring its loss down: the sign and the size of the whole are right.
 */
static void the_loss_falls(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 5);
    struct run r = some_run(&rng, 0);
    r.constants.steps = 1;
    r.constants.epsilon = 1e-7f;
    for (size_t n = 0; n < tarn_isa_count(); n++) {
        float first = 0;
        reset(&r, 1);
        for (uint32_t step = 0; step < 200; step++) {
            r.constants.first_step = step;
            tarn_isa_get(n)->train(&r.shape, &(struct tarn_train_state){r.w, r.m, r.v},
                                   &r.constants, r.tiles, r.labels, r.losses, NULL);
            first = step == 0 ? r.losses[0] : first;
        }
        CHECK(r.losses[0] < first / 2);
    }
    free_run(&r);
}

static void a_bad_gradient_changes_nothing(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 6);
    struct run r = some_run(&rng, 0);
    r.constants.steps = 1;
    r.labels[2] = tarn_label(3, 2);
    r.tiles[2] = INFINITY;
    for (size_t n = 0; n < tarn_isa_count(); n++) {
        reset(&r, 1);
        tarn_isa_get(n)->train(&r.shape, &(struct tarn_train_state){r.w, r.m, r.v}, &r.constants,
                               r.tiles, r.labels, r.losses, NULL);
        CHECK(isnan(r.losses[0]));
        CHECK(memcmp(r.w, r.start, r.weights * 4) == 0);
        for (size_t i = 0; i < r.weights; i++)
            REQUIRE(r.v[i] == 0);
    }
    free_run(&r);
}

enum { MOST_CUTS = 40 };

/* Random ends of ranges of tiles, a 0 behind them. */
static void some_cuts(struct tarn_rng *rng, const struct run *r, uint32_t cuts[MOST_CUTS + 1])
{
    uint32_t all = (uint32_t)r->samples / TARN_LANES, most = between(rng, 1, 12), count = 0;
    for (uint32_t at = between(rng, 1, most); at < all && count < MOST_CUTS;
         at += between(rng, 1, most))
        cuts[count++] = at;
    cuts[count] = 0;
}

struct result {
    float *w, *m, *v, *losses;
};

static struct result take_result(const struct run *r)
{
    size_t size = r->weights * 4;
    struct result taken = {some(size), some(size), some(size), some(r->constants.steps * 4)};
    memcpy(taken.w, r->w, size);
    memcpy(taken.m, r->m, size);
    memcpy(taken.v, r->v, size);
    memcpy(taken.losses, r->losses, r->constants.steps * 4);
    return taken;
}

static bool same_state(const struct run *r, const struct result *other)
{
    size_t size = r->weights * 4;
    return memcmp(r->w, other->w, size) == 0 && memcmp(r->m, other->m, size) == 0 &&
           memcmp(r->v, other->v, size) == 0;
}

static bool same_bits(const struct run *r, const struct result *other)
{
    return same_state(r, other) && memcmp(r->losses, other->losses, r->constants.steps * 4) == 0;
}

static void free_result(struct result *result)
{
    free(result->w);
    free(result->m);
    free(result->v);
    free(result->losses);
}

/* Whatever the instruction set and wherever the work is cut. */
static void any_ranges_give_the_same_bits(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 41);
    for (int round = 0; round < 24; round++) {
        struct run r = some_run(&rng, round % 8);
        struct tarn_train_part part = {
            .scratch = some(tarn_train_scratch_floats(&r.shape, r.constants.batch) * 4)};
        if (round >= 16) /* in the middle, for what was summed up by then */
            r.tiles[tarn_rng_below(&rng, r.shape.inputs) * TARN_LANES] = INFINITY;
        for (size_t n = 0; n < tarn_isa_count(); n++) {
            const struct tarn_isa *isa = tarn_isa_get(n);
            struct tarn_train_state state = {r.w, r.m, r.v};
            uint32_t cuts[MOST_CUTS + 1], at = 0, all = (uint32_t)r.samples / TARN_LANES;
            reset(&r, 9);
            CHECK_NUMBER(
                isa->train(&r.shape, &state, &r.constants, r.tiles, r.labels, r.losses, NULL), all);
            struct result whole = take_result(&r);
            reset(&r, 9);
            some_cuts(&rng, &r, cuts);
            for (uint32_t *cut = cuts; at < all; cut++) {
                struct tarn_train_constants c = r.constants;
                c.first_tile = at;
                c.tile_count = *cut == 0 ? 0 : *cut - at;
                at = isa->train(&r.shape, &state, &c, r.tiles, r.labels, r.losses, &part);
                REQUIRE(at == (*cut == 0 ? all : *cut));
            }
            CHECK(same_bits(&r, &whole));
            free_result(&whole);
        }
        free(part.scratch);
        free_run(&r);
    }
}

static void train_on(struct target *target, struct run *r, const uint32_t *cuts)
{
    size_t size = r->weights * 4;
    const struct argument arguments[] = {
        {size, r->w, r->w},
        {size, r->m, r->m},
        {size, r->v, r->v},
        {tarn_shape_tile_floats(&r->shape, r->samples) * 4, r->tiles, NULL},
        {r->samples * 4, r->labels, NULL},
        {r->constants.steps * 4, NULL, r->losses},
        {tarn_train_scratch_floats(&r->shape, r->constants.batch) * 4, NULL, NULL},
    };
    CHECK(launch_in_parts(target, arguments, 7, &r->constants, 1, cuts));
}

static const uint32_t whole[] = {0};

static void devices_agree_with_the_host(void)
{
    for (int round = 0; round < 4; round++) {
        struct tarn_rng rng;
        tarn_rng_seed(&rng, 30 + (uint64_t)round);
        struct run r = some_run(&rng, round);
        double *w = some(r.weights * 8), losses[4];
        reset(&r, 9);
        tarn_train_host(&r.shape, &(struct tarn_train_state){r.w, r.m, r.v}, &r.constants, r.tiles,
                        r.labels, r.losses, NULL);
        for (size_t i = 0; i < r.weights; i++)
            w[i] = (double)r.w[i];
        for (uint32_t s = 0; s < r.constants.steps; s++)
            losses[s] = (double)r.losses[s];
        struct target target;
        for (size_t n = 0; open_target(n, &tarn_train_source, &r.shape, &target); n++) {
            reset(&r, 9);
            train_on(&target, &r, whole);
            same_weights(&r, w, losses);
            struct result one = take_result(&r);
            for (int i = 0; i < 3; i++) {
                uint32_t cuts[MOST_CUTS + 1];
                some_cuts(&rng, &r, cuts);
                reset(&r, 9);
                train_on(&target, &r, cuts);
                same_weights(&r, w, losses);
                /*
                 * Shapes for GPUs sum up a step's losses in an order that depends on the ranges. All
                 * else has the same order, but a GPU's compiler may treat the ends of loops its way.
                 */
                CHECK(target.real_gpu || same_state(&r, &one));
                CHECK(target.gpu_shape || same_bits(&r, &one));
            }
            free_result(&one);
            /* A gradient that isn't finite: nothing changes, on devices too. */
            float kept = r.tiles[0];
            uint32_t kept_label = r.labels[0];
            r.tiles[0] = INFINITY;
            r.labels[0] = tarn_label(1, 0);
            reset(&r, 9);
            memcpy(r.w, r.start, r.weights * 4);
            uint32_t steps = r.constants.steps;
            r.constants.steps = 1;
            train_on(&target, &r, whole);
            CHECK(isnan(r.losses[0]));
            CHECK(memcmp(r.w, r.start, r.weights * 4) == 0);
            r.constants.steps = steps;
            r.tiles[0] = kept;
            r.labels[0] = kept_label;
            if (check_failures > 0)
                printf("# on %s, round %d\n", target.name, round);
            close_target(&target);
        }
        free(w);
        free_run(&r);
    }
}

/*
 * Some drivers end loops after so many turns and go on as if nothing were the matter: a launch of
 * very many steps either comes out right, or changes nothing and says so with NaN for each loss.
 */
static void long_launches_are_right_or_refused(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 8);
    struct run r = some_run(&rng, 0);
    uint32_t counts[] = {40, 700};
    r.constants.batch = 32;
    for (int i = 0; i < 2; i++) {
        uint32_t steps = r.constants.steps = counts[i];
        r.samples = (size_t)steps * r.constants.batch;
        free(r.tiles);
        free(r.labels);
        free(r.losses);
        r.tiles = some_tiles(&rng, &r.shape, r.samples);
        r.labels = some(r.samples * 4);
        r.losses = some(steps * 4);
        for (size_t n = 0; n < r.samples; n++)
            r.labels[n] = tarn_label(1 + (uint32_t)n % 11, n % 3 ? (int)(n % 11) : -1);
        float *w = some(r.weights * 4), *losses = some(steps * 4);
        reset(&r, 9);
        tarn_train_host(&r.shape, &(struct tarn_train_state){r.w, r.m, r.v}, &r.constants, r.tiles,
                        r.labels, r.losses, NULL);
        memcpy(w, r.w, r.weights * 4);
        memcpy(losses, r.losses, steps * 4);
        struct target target;
        for (size_t n = 0; open_target(n, &tarn_train_source, &r.shape, &target); n++) {
            reset(&r, 9);
            train_on(&target, &r, whole);
            double worst = 0;
            bool refused = memcmp(r.w, r.start, r.weights * 4) == 0;
            for (uint32_t s = 0; s < steps; s++) {
                refused = refused && isnan(r.losses[s]);
                worst = fmax(worst, fabs((double)r.losses[s] - (double)losses[s]));
            }
            CHECK(refused || worst < 0.02);
            CHECK(!refused || steps > 100);
            if (check_failures > 0)
                printf("# on %s, %u steps: off by %g\n", target.name, (unsigned)steps, worst);
            close_target(&target);
        }
        free(w);
        free(losses);
    }
    free_run(&r);
}

static void bench(void)
{
    enum { ROUNDS = 41 };
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 7);
    struct run r = some_run(&rng, 0);
    r.constants.steps = 1;
    r.constants.batch = 128;
    free(r.tiles);
    free(r.labels);
    r.tiles = some_tiles(&rng, &r.shape, 128);
    r.labels = some(128 * 4);
    for (int i = 0; i < 128; i++)
        r.labels[i] = tarn_label(1 + (uint32_t)i % 11, i % 3 ? i % 11 : -1);
    reset(&r, 1);
    double times[8][ROUNDS];
    for (int round = 0; round < ROUNDS; round++)
        for (size_t n = 0; n < tarn_isa_count(); n++) {
            uint64_t start = tarn_clock_thread_cpu_ns();
            for (int i = 0; i < 10; i++)
                tarn_isa_get(n)->train(&r.shape, &(struct tarn_train_state){r.w, r.m, r.v},
                                       &r.constants, r.tiles, r.labels, r.losses, NULL);
            times[n][round] = (double)(tarn_clock_thread_cpu_ns() - start) / 1e4;
        }
    for (size_t n = 0; n < tarn_isa_count(); n++)
        printf("train 28-32-32-11 batch 128 %-8s %7.2f us a step\n", tarn_isa_get(n)->name,
               median(times[n], ROUNDS));
    free_run(&r);
}

KERNELS_MAIN(bench, CASE(variants_agree_with_plain_code), CASE(the_loss_falls),
             CASE(a_bad_gradient_changes_nothing), CASE(any_ranges_give_the_same_bits),
             CASE(devices_agree_with_the_host), CASE(long_launches_are_right_or_refused))
