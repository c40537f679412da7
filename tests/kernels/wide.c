/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of wide networks: every variant and device against plain code in double. */
#include "kernels.h"

#include "kernels/wide.h"

enum { FLOATS = 40000 };

/* Arrays before a step and after it, each of FLOATS. */
struct state {
    float *a, *b, *c, *d;
    uint32_t *labels; /* goes in as b for LOSS */
};

static struct state some_state(struct tarn_rng *rng)
{
    struct state s = {some(FLOATS * 4), some(FLOATS * 4), some(FLOATS * 4), some(FLOATS * 4),
                      some(FLOATS * 4)};
    fill(rng, s.a, FLOATS, 1.0f);
    fill(rng, s.b, FLOATS, 1.0f);
    fill(rng, s.c, FLOATS, 1.0f);
    for (int i = 0; i < FLOATS; i++) {
        s.d[i] = 0.1f + tarn_rng_float(rng); /* a second moment is never negative */
        uint32_t risk = tarn_rng_below(rng, 17);
        bool seen = risk > 0 && tarn_rng_below(rng, 2);
        s.labels[i] = tarn_label(risk, seen ? (int)risk - 1 : -1);
    }
    return s;
}

static void free_state(struct state *s)
{
    free(s->a);
    free(s->b);
    free(s->c);
    free(s->d);
    free(s->labels);
}

static uint32_t rounded(uint32_t n)
{
    return (n + TARN_LANES - 1) / TARN_LANES * TARN_LANES;
}

/* What PASS and UPDATE take: the weights, scratch or tiles of either fit into FLOATS. */
static struct tarn_wide_constants some_network(struct tarn_rng *rng, uint32_t op, int round)
{
    struct tarn_wide_constants k = {.op = op,
                                    .columns = TARN_LANES * (round == 0 ? 4 : between(rng, 1, 5)),
                                    .inputs = round == 0 ? 32 : between(rng, 1, 60),
                                    .hidden1 = round == 0 ? 48 : between(rng, 1, 60),
                                    .hidden2 = round == 0 ? 16 : between(rng, 1, 60),
                                    .outputs = round == 0 ? 16 : between(rng, 1, TARN_MAX_BINS),
                                    .scale = 0.25f,
                                    .beta1 = 0.9f,
                                    .beta2 = 0.999f,
                                    .epsilon = 1e-7f,
                                    .unbias1 = 10.0f,
                                    .unbias2 = 1000.0f};
    struct tarn_shape shape = {k.inputs, k.hidden1, k.hidden2, k.outputs};
    bool pass = op == TARN_WIDE_PASS;
    k.a = pass ? between(rng, 0, 9) : TARN_LANES * between(rng, 0, 3);
    k.b = TARN_LANES * between(rng, 0, 3);
    k.b_term = k.b + k.columns * k.inputs + between(rng, 0, 9);
    k.c = pass ? TARN_LANES * between(rng, 0, 3) : between(rng, 0, 9);
    k.c_row = (uint32_t)tarn_shape_weights(&shape) + between(rng, 0, 5);
    k.d = TARN_LANES * between(rng, 0, 3);
    return k;
}

/* Round 0 of an op is small and even, the others are ragged, transposed and offset. */
static struct tarn_wide_constants some_step(struct tarn_rng *rng, uint32_t op, int round)
{
    struct tarn_wide_constants k = {.op = op};
    if (op >= TARN_WIDE_PASS)
        return some_network(rng, op, round);
    k.rows = round == 0 ? 32 : between(rng, 1, 150);
    k.columns = round == 0 ? 32 : between(rng, 1, 150);
    if (op == TARN_WIDE_PRODUCT) {
        k.terms = round == 0 ? 32 : between(rng, 1, round == 1 ? 3 : 200);
        bool a_turned = round % 2 == 1, b_turned = round / 2 % 2 == 1;
        k.a = between(rng, 0, 9);
        k.a_row = a_turned ? 1 : k.terms + between(rng, 0, 5);
        k.a_term = a_turned ? k.rows + between(rng, 0, 5) : 1;
        k.b = between(rng, 0, 9);
        k.b_term = b_turned ? 1 : k.columns + between(rng, 0, 5);
        k.b_column = b_turned ? k.terms + between(rng, 0, 5) : 1;
        k.c = between(rng, 0, 9);
        k.c_row = k.columns + between(rng, 0, 5);
        k.flags = tarn_rng_below(rng, 4) & (round > 2 ? 3u : 0u);
        k.bias = between(rng, 0, 100);
        return k;
    }
    k.c_row = k.a_row = rounded(k.columns) + TARN_LANES * between(rng, 0, 2);
    k.a = TARN_LANES * between(rng, 0, 3);
    k.b = TARN_LANES * between(rng, 0, 3);
    k.c = TARN_LANES * between(rng, 0, 3);
    k.d = TARN_LANES * between(rng, 0, 3);
    k.flags = TARN_WIDE_HAS_BIAS | (tarn_rng_below(rng, 2) ? TARN_WIDE_LEAKY : 0);
    k.bias = between(rng, 0, 100);
    k.scale = 0.25f;
    if (op == TARN_WIDE_SCORE || op == TARN_WIDE_LOSS)
        k.rows = between(rng, 1, TARN_MAX_BINS);
    if (op == TARN_WIDE_ADAM) {
        k.rows = round == 0 ? 4096 : between(rng, 1, 12000);
        k.columns = 0;
        k.beta1 = 0.9f;
        k.beta2 = 0.999f;
        k.epsilon = 1e-7f;
        k.unbias1 = 10.0f;
        k.unbias2 = 1000.0f;
    }
    return k;
}

static double leaky(double x)
{
    return x > 0 ? x : x * (double)TARN_LEAK;
}

static double plain_score(const float *logits, uint32_t row, uint32_t bins)
{
    double survival = 1, found = 0, area = 0, best = 0, width = exp2(TARN_BIN_FIRST_LOG2);
    for (uint32_t k = 0; k < bins; k++) {
        double hazard = 1 / (1 + exp(-(double)logits[k * row]));
        double after = survival * (1 - hazard);
        found += survival * hazard;
        area += (survival + after) / 2 * width;
        best = fmax(best, found / area);
        survival = after;
        if (k > 0)
            width *= 2;
    }
    return log2(best + 1e-9);
}

/* One layer of a pass in plain code, or its way back: rows and terms of `w` have these strides. */
static void plain_stage(const struct state *s, float *to, float *turned, uint32_t rows,
                        uint32_t terms, size_t w, uint32_t row, uint32_t term, const float *from,
                        const float *slope, int bias, uint32_t lane)
{
    for (uint32_t r = 0; r < rows; r++) {
        double sum = bias > 0 ? (double)s->a[w + (size_t)rows * terms + r] : 0;
        for (uint32_t t = 0; t < terms; t++)
            sum += (double)s->a[w + r * row + t * term] * (double)from[t * TARN_LANES + lane];
        if (slope != NULL)
            sum *= slope[r * TARN_LANES + lane] > 0 ? 1 : (double)TARN_LEAK;
        to[r * TARN_LANES + lane] = (float)(bias > 1 ? leaky(sum) : sum);
        if (turned != NULL)
            turned[lane * TARN_WIDE_PADDED(rows) + r] = to[r * TARN_LANES + lane];
    }
}

static void plain_pass(const struct tarn_wide_constants *k, struct state *s, uint32_t n)
{
    uint32_t lane = n % TARN_LANES, in = k->inputs, h1 = k->hidden1, h2 = k->hidden2;
    uint32_t first = n - lane, p1 = TARN_WIDE_PADDED(h1), p2 = TARN_WIDE_PADDED(h2);
    size_t w1 = k->a, w2 = w1 + h1 * (in + 1), w3 = w2 + h2 * (h1 + 1);
    float *c = s->c + k->c, *tile = s->b + k->b + first * in;
    float *a1 = c + TARN_WIDE_A1(*k) + first * p1, *a2 = c + TARN_WIDE_A2(*k) + first * p2;
    float *d1 = c + TARN_WIDE_D1(*k) + first * p1, *d2 = c + TARN_WIDE_D2(*k) + first * p2;
    float *d3 = c + TARN_WIDE_D3(*k) + first * TARN_WIDE_PADDED(k->outputs);
    for (uint32_t f = 0; f < in; f++)
        c[TARN_WIDE_T0(*k) + n * TARN_WIDE_PADDED(in) + f] = tile[f * TARN_LANES + lane];
    plain_stage(s, a1, c + TARN_WIDE_T1(*k) + first * p1, h1, in, w1, in, 1, tile, NULL, 2, lane);
    plain_stage(s, a2, c + TARN_WIDE_T2(*k) + first * p2, h2, h1, w2, h1, 1, a1, NULL, 2, lane);
    plain_stage(s, d3, NULL, k->outputs, h2, w3, h2, 1, a2, NULL, 1, lane);
    double loss = 0;
    uint32_t label;
    memcpy(&label, &s->b[k->b_term + n], sizeof label);
    for (uint32_t bin = 0; bin < k->outputs; bin++) {
        double x = (double)d3[bin * TARN_LANES + lane], y = label >> 8 == bin + 1;
        bool inside = bin < (label & 0xff);
        loss += inside ? fmax(x, 0) - y * x + log1p(exp(-fabs(x))) : 0;
        d3[bin * TARN_LANES + lane] = inside ? (float)((1 / (1 + exp(-x)) - y) * 0.25) : 0.0f;
    }
    s->d[k->d + n] = (float)(loss * 0.25);
    plain_stage(s, d2, NULL, h2, k->outputs, w3, 1, h2, d3, a2, 0, lane);
    plain_stage(s, d1, NULL, h1, h2, w2, 1, h1, d2, a1, 0, lane);
}

static void plain_adam(float *w, float *m, float *v, double g)
{
    if (!isfinite(g))
        return;
    *m = (float)(0.9 * (double)*m + 0.1 * g);
    *v = (float)(0.999 * (double)*v + 0.001 * g * g);
    *w -= (float)(0.25 * (double)*m * 10 / (sqrt((double)*v * 1000) + 1e-7));
}

static void plain_update(const struct tarn_wide_constants *k, struct state *s)
{
    const uint32_t sizes[] = {k->inputs, k->hidden1, k->hidden2, k->outputs};
    const uint32_t d[] = {TARN_WIDE_D1(*k), TARN_WIDE_D2(*k), TARN_WIDE_D3(*k)};
    const uint32_t t[] = {TARN_WIDE_T0(*k), TARN_WIDE_T1(*k), TARN_WIDE_T2(*k)};
    float *w = s->c + k->c;
    for (int layer = 0; layer < 3; layer++) {
        uint32_t neurons = sizes[layer + 1], inputs = sizes[layer];
        for (uint32_t p = 0; p < neurons * (inputs + 1); p++, w++) {
            uint32_t r = p < neurons * inputs ? p / inputs : p - neurons * inputs;
            double g = 0;
            for (uint32_t n = 0; n < k->columns; n++) {
                uint32_t tile = n / TARN_LANES * TARN_WIDE_PADDED(neurons);
                double slope =
                    (double)s->a[k->a + d[layer] + (tile + r) * TARN_LANES + n % TARN_LANES];
                g +=
                    slope *
                    (p < neurons * inputs
                         ? (double)s->a[k->a + t[layer] + n * TARN_WIDE_PADDED(inputs) + p % inputs]
                         : 1);
            }
            plain_adam(w, w + k->c_row, w + 2 * k->c_row, g);
        }
    }
}

/* Changes the state as the step would. */
static void plain(const struct tarn_wide_constants *k, struct state *s)
{
    for (uint32_t n = 0; n < k->columns && k->op == TARN_WIDE_PASS; n++)
        plain_pass(k, s, n);
    if (k->op == TARN_WIDE_UPDATE)
        plain_update(k, s);
    for (uint32_t r = 0; r < k->rows && k->op != TARN_WIDE_SCORE && k->op != TARN_WIDE_LOSS; r++) {
        if (k->op == TARN_WIDE_ADAM) {
            plain_adam(s->c + k->c + r, s->b + k->b + r, s->d + k->d + r, (double)s->a[k->a + r]);
            continue;
        }
        double total = 0;
        for (uint32_t n = 0; n < k->columns; n++) {
            float *c = &s->c[k->c + r * k->c_row + n];
            const float *a = &s->a[k->a + r * k->a_row];
            double z = (double)*c;
            if (k->op == TARN_WIDE_SUM) {
                total += (double)a[n];
                continue;
            }
            if (k->op == TARN_WIDE_SLOPE) {
                *c = a[n] > 0 ? *c : *c * TARN_LEAK;
                continue;
            }
            if (k->op == TARN_WIDE_PRODUCT) {
                z = 0;
                for (uint32_t t = 0; t < k->terms; t++)
                    z += (double)a[t * k->a_term] *
                         (double)s->b[k->b + t * k->b_term + n * k->b_column];
            }
            if (k->flags & TARN_WIDE_HAS_BIAS)
                z += (double)s->a[k->bias + r];
            *c = (float)(k->flags & TARN_WIDE_LEAKY ? leaky(z) : z);
        }
        if (k->op == TARN_WIDE_SUM)
            s->c[k->c + r] = (float)total;
    }
    for (uint32_t n = 0; n < k->columns && k->op == TARN_WIDE_SCORE; n++)
        s->c[k->c + n] = (float)plain_score(s->a + k->a + n, k->a_row, k->rows);
    for (uint32_t n = 0; n < k->columns && k->op == TARN_WIDE_LOSS; n++) {
        double loss = 0;
        uint32_t label = s->labels[k->b + n];
        for (uint32_t bin = 0; bin < k->rows; bin++) {
            double x = (double)s->a[k->a + bin * k->a_row + n], y = label >> 8 == bin + 1;
            bool inside = bin < (label & 0xff);
            loss += inside ? log1p(exp(x)) - y * x : 0;
            s->c[k->c + bin * k->c_row + n] =
                inside ? (float)((1 / (1 + exp(-x)) - y) * 0.25) : 0.0f;
        }
        s->d[k->d + n] = (float)(loss * 0.25);
    }
}

/* Where a step may write more than it means to: rows of whole vectors. */
static bool is_padding(const struct tarn_wide_constants *k, uint32_t place, bool in_d)
{
    if (k->op == TARN_WIDE_LOSS && in_d)
        return place >= k->d + k->columns && place < k->d + rounded(k->columns);
    if (in_d || place < k->c ||
        (k->op != TARN_WIDE_BIAS && k->op != TARN_WIDE_SLOPE && k->op != TARN_WIDE_LOSS))
        return false;
    uint32_t row = (place - k->c) / k->c_row, column = (place - k->c) % k->c_row;
    return row < k->rows && column >= k->columns && column < rounded(k->columns);
}

static bool same(const struct tarn_wide_constants *k, const struct state *got,
                 const struct state *wanted, const char *who)
{
    for (uint32_t i = 0; i < FLOATS; i++) {
        float c = wanted->c[i], d = wanted->d[i], b = wanted->b[i];
        bool good = (fabsf(got->c[i] - c) <= 2e-4f * (1 + fabsf(c)) || is_padding(k, i, false)) &&
                    (fabsf(got->d[i] - d) <= 1e-4f * (1 + fabsf(d)) || is_padding(k, i, true)) &&
                    fabsf(got->b[i] - b) <= 1e-5f * (1 + fabsf(b));
        if (good)
            continue;
        printf("# %s: op %u, %u x %u x %u, flags %u: place %u: c %g not %g, d %g not %g\n", who,
               k->op, k->rows, k->columns, k->terms, k->flags, i, (double)got->c[i], (double)c,
               (double)got->d[i], (double)d);
        return false;
    }
    return true;
}

static void copy(struct state *to, const struct state *from)
{
    memcpy(to->b, from->b, FLOATS * 4);
    memcpy(to->c, from->c, FLOATS * 4);
    memcpy(to->d, from->d, FLOATS * 4);
}

enum { OPS = TARN_WIDE_UPDATE + 1, ROUNDS = 12 };

/* Labels behind the tiles; what fills up a scratch means nothing: zeros for all; moments are positive,
 * and one sample's derivatives spoil the gradients of a neuron. */
static void prepare_network(const struct tarn_wide_constants *k, struct tarn_rng *rng,
                            struct state *s)
{
    if (k->op == TARN_WIDE_PASS) {
        memset(s->c, 0, FLOATS * 4);
        memcpy(s->b + k->b_term, s->labels, k->columns * 4);
        return;
    }
    for (int i = 0; i < FLOATS; i++)
        s->c[i] = 0.1f + tarn_rng_float(rng);
    s->a[k->a + TARN_WIDE_D2(*k)] = NAN;
}

/* Calls `run` with each step, the state before it in `work`, and compares what it left there. */
static void each_step(void (*run)(void *, const struct tarn_wide_constants *, struct state *),
                      void *context, const char *who)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 11);
    struct state first = some_state(&rng), work = some_state(&rng), wanted = some_state(&rng);
    free(work.a);
    free(wanted.a);
    free(work.labels);
    free(wanted.labels);
    work.a = wanted.a = first.a;
    for (uint32_t op = 0; op < OPS; op++)
        for (int round = 0; round < ROUNDS; round++) {
            struct tarn_wide_constants k = some_step(&rng, op, round);
            float kept = first.a[k.a];
            if (op == TARN_WIDE_ADAM && round % 2 == 1)
                first.a[k.a] = round % 4 == 1 ? INFINITY : NAN;
            if (op >= TARN_WIDE_PASS)
                prepare_network(&k, &rng, &first);
            copy(&work, &first);
            copy(&wanted, &first);
            wanted.labels = work.labels = first.labels;
            plain(&k, &wanted);
            run(context, &k, &work);
            CHECK(same(&k, &work, &wanted, who));
            first.a[k.a] = kept;
            if (op == TARN_WIDE_UPDATE)
                first.a[k.a + TARN_WIDE_D2(k)] = 0.5f;
        }
    work.a = wanted.a = NULL;
    wanted.labels = work.labels = NULL;
    free_state(&first);
    free_state(&work);
    free_state(&wanted);
}

static void run_variant(void *context, const struct tarn_wide_constants *k, struct state *s)
{
    const struct tarn_isa *isa = context;
    bool loss = k->op == TARN_WIDE_LOSS;
    struct tarn_wide_arrays x = {s->a, loss ? (float *)s->labels : s->b, s->c, s->d};
    /* in two parts, as threads would share it */
    uint32_t groups = tarn_wide_groups(k);
    isa->wide(k, &x, groups / 2, groups - groups / 2);
    isa->wide(k, &x, 0, groups / 2);
}

static void variants_agree_with_plain_code(void)
{
    for (size_t n = 0; n < tarn_isa_count(); n++)
        each_step(run_variant, (void *)tarn_isa_get(n), tarn_isa_get(n)->name);
}

static void run_target(void *context, const struct tarn_wide_constants *k, struct state *s)
{
    struct target *target = context;
    bool loss = k->op == TARN_WIDE_LOSS;
    const struct argument arguments[] = {
        {FLOATS * 4, s->a, NULL},
        {FLOATS * 4, loss ? (void *)s->labels : s->b, loss ? NULL : (void *)s->b},
        {FLOATS * 4, s->c, s->c},
        {FLOATS * 4, s->d, s->d},
    };
    CHECK(launch(target, arguments, 4, k, tarn_wide_groups(k) * TARN_WIDE_SIDE * TARN_WIDE_SIDE));
}

static void devices_agree_with_plain_code(void)
{
    struct target target;
    for (size_t n = 0; open_target(n, &tarn_wide_source, NULL, &target); n++) {
        each_step(run_target, &target, target.name);
        close_target(&target);
    }
}

static void bench(void)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 7);
    for (uint32_t side = 32; side <= 1024; side *= 2) {
        struct tarn_wide_constants k = {.rows = side,
                                        .columns = side,
                                        .terms = side,
                                        .a_row = side,
                                        .a_term = 1,
                                        .b_term = side,
                                        .b_column = 1,
                                        .c_row = side};
        size_t size = (size_t)side * side;
        float *a = some(size * 4), *b = some(size * 4), *c = some(size * 4);
        fill(&rng, a, size, 1);
        fill(&rng, b, size, 1);
        for (size_t n = 0; n < tarn_isa_count(); n++) {
            double times[9];
            for (int i = 0; i < 9; i++) {
                uint64_t start = tarn_clock_thread_cpu_ns();
                tarn_isa_get(n)->wide(&k, &(struct tarn_wide_arrays){a, b, c, c}, 0,
                                      tarn_wide_groups(&k));
                times[i] = (double)(tarn_clock_thread_cpu_ns() - start);
            }
            printf("product %4u^3 %-8s %6.1f GFLOP/s\n", side, tarn_isa_get(n)->name,
                   2.0 * side * side * side / median(times, 9));
        }
        free(a);
        free(b);
        free(c);
    }
}

KERNELS_MAIN(bench, CASE(variants_agree_with_plain_code), CASE(devices_agree_with_plain_code))
