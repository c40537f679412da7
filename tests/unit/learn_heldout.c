/* SPDX-License-Identifier: Apache-2.0 */
/* Held-out samples: which ones, their loss against plain arithmetic, the gate, and when to stop. */
#include "../check.h"

#include <math.h>

#include <tarn/model.h>

#include "learn/heldout.h"
#include "model/model.h"
#include "net/net.h"

enum { COUNT = TARN_NET_PARAMETERS };

static struct tarn_heldout set;

static void fill(uint32_t count, uint64_t seed)
{
    struct tarn_rng rng;
    tarn_rng_seed(&rng, seed);
    for (set.count = 0; set.count < count; set.count++) {
        struct tarn_kept_sample *s = &set.samples[set.count];
        for (int f = 0; f < TARN_FEATURES; f++)
            s->features[f] = (int8_t)(tarn_rng_below(&rng, 128) - 64);
        float elapsed = exp2f((float)s->features[0] / 16 + tarn_rng_float(&rng));
        s->label =
            (uint16_t)tarn_net_label(&tarn_net_reference, elapsed, tarn_rng_below(&rng, 3) > 0);
    }
}

static double plain_loss(const float *w, const struct tarn_kept_sample *s)
{
    double in[32], out[32];
    uint32_t sizes[] = {28, 32, 32, 11};
    for (int i = 0; i < 28; i++)
        in[i] = s->features[i] / 32.0;
    for (int layer = 0; layer < 3; layer++) {
        uint32_t inputs = sizes[layer], outputs = sizes[layer + 1];
        for (uint32_t o = 0; o < outputs; o++) {
            out[o] = (double)w[inputs * outputs + o];
            for (uint32_t i = 0; i < inputs; i++)
                out[o] += (double)w[o * inputs + i] * in[i];
            if (layer < 2 && out[o] < 0)
                out[o] *= (double)TARN_LEAK;
        }
        w += (inputs + 1) * outputs;
        memcpy(in, out, sizeof in);
    }
    double loss = 0;
    for (uint32_t k = 0; k < (s->label & 0xffu); k++)
        loss -= log(k + 1 == (s->label >> 8) ? 1 / (1 + exp(-in[k])) : 1 / (1 + exp(in[k])));
    return loss;
}

static void losses_are_those_of_plain_arithmetic(void)
{
    struct tarn_rng rng;
    float a[COUNT], b[COUNT];
    tarn_rng_seed(&rng, 1);
    tarn_net_init(&tarn_net_reference, &rng, a);
    tarn_net_init(&tarn_net_reference, &rng, b);
    for (uint32_t n = 1; n <= TARN_HELDOUT_MOST; n = n < 70 ? n + 23 : n + 221) {
        fill(n, n);
        double sum = 0, squares = 0, one = 0;
        for (uint32_t i = 0; i < n; i++) {
            double d = plain_loss(a, &set.samples[i]) - plain_loss(b, &set.samples[i]);
            one += plain_loss(a, &set.samples[i]) / n;
            sum += d;
            squares += d * d;
        }
        struct tarn_heldout_result r = tarn_heldout_compare(&set, &tarn_net_reference, a, b);
        double mean = sum / n, sd = n > 1 ? sqrt((squares - n * mean * mean) / (n - 1)) : 0;
        CHECK(r.finite && r.n == n && fabs(r.mean - mean) < 1e-4 && fabs(r.sd - sd) < 1e-3);
        r = tarn_heldout_loss(&set, &tarn_net_reference, a);
        CHECK(fabs(r.mean - one) < 1e-4);
    }
}

static void what_is_worse_has_a_higher_loss(void)
{
    tarn_model *model = NULL;
    struct tarn_rng rng;
    float worse[COUNT];
    tarn_rng_seed(&rng, 2);
    REQUIRE(tarn_model_load_default(&model, NULL) == TARN_OK);
    /* outcomes that the model is right about: drawn from its own hazards */
    fill(TARN_HELDOUT_MOST, 3);
    for (uint32_t i = 0; i < set.count; i++) {
        float tile[TARN_FEATURES * TARN_LANES] = {0}, logits[11 * TARN_LANES];
        for (int f = 0; f < TARN_FEATURES; f++)
            tile[f * TARN_LANES] = (float)set.samples[i].features[f] * TARN_FEATURE_STEP;
        tarn_logits_host(&tarn_net_reference, model->weights, tile, 1, logits);
        uint32_t label = 11;
        for (uint32_t k = 0; k < 11; k++)
            if (tarn_rng_float(&rng) < 1 / (1 + expf(-logits[k * TARN_LANES]))) {
                label = (k + 1) | (k + 1) << 8;
                break;
            }
        set.samples[i].label = (uint16_t)label;
    }
    struct tarn_heldout_result r;
    for (int kind = 0; kind < 7; kind++) {
        memcpy(worse, model->weights, sizeof worse);
        for (int i = 0; i < COUNT; i++)
            switch (kind) {
            case 0: /* as it is */
                break;
            case 1: /* signs */
                worse[i] = -worse[i];
                break;
            case 2: { /* shuffled */
                int k = (int)tarn_rng_below(&rng, COUNT);
                float x = worse[i];
                worse[i] = worse[k];
                worse[k] = x;
                break;
            }
            case 3: /* noise */
                worse[i] += tarn_rng_float(&rng) - 0.5f;
                break;
            case 4:
                worse[i] = i == 1234 ? NAN : worse[i];
                break;
            case 5:
                worse[i] = i == COUNT - 1 ? -INFINITY : worse[i];
                break;
            default: /* finite, but what comes out isn't */
                worse[i] = 3e38f;
            }
        r = tarn_heldout_compare(&set, &tarn_net_reference, worse, model->weights);
        CHECK(r.finite == (kind < 4));
        CHECK(kind >= 4 || (kind == 0 ? r.mean == 0 : r.mean > 3 * r.sd / sqrt(r.n)));
    }
    tarn_model_destroy(&model);
}

/* In portions, as training does. */
static void gather(const struct tarn_ring *ring, const struct tarn_reservoir *reservoir,
                   uint32_t newest, uint32_t replayed, uint64_t now, struct tarn_rng *rng)
{
    uint32_t portions = 1;
    tarn_heldout_begin(&set, ring, newest, TARN_HELDOUT_MOST - replayed);
    while (tarn_heldout_gather(&set, ring, &tarn_net_reference, 1000, now, rng))
        portions++;
    CHECK(portions == (ring->head == 0 ? 1 : (newest + 999) / 1000));
    if (reservoir != NULL)
        tarn_heldout_replay(&set, reservoir, replayed, rng);
}

static void a_set_has_the_newest_held_out_keys(void)
{
    struct tarn_ring ring;
    struct tarn_reservoir r;
    struct tarn_rng rng;
    int8_t x[TARN_FEATURES] = {0};
    tarn_rng_seed(&rng, 4);
    REQUIRE(tarn_ring_init(&ring, 32768) == TARN_OK);
    REQUIRE(tarn_reservoir_init(&r, 2048, 1) == TARN_OK);
    gather(&ring, &r, TARN_HELDOUT_NEWEST, 100, 0, &rng);
    CHECK_NUMBER(set.count, 0);
    for (uint64_t i = 0; i < 40000; i++) {
        x[0] = i % 8 == 0;
        x[1] = i >= 40000 - TARN_HELDOUT_NEWEST;
        tarn_ring_put(&ring, i, x, i, 1000);
        struct tarn_sample old = {
            .hash = i, .since = 0, .until = 400, .period = 100, .wanted = true};
        old.features[0] = i % 8 == 0;
        old.features[1] = 2;
        tarn_reservoir_offer(&r, &tarn_net_reference, &old, i);
    }
    gather(&ring, NULL, TARN_HELDOUT_NEWEST, 0, 40000, &rng);
    CHECK_NUMBER(set.count, TARN_HELDOUT_MOST);
    uint32_t young = 0;
    for (uint32_t i = 0; i < set.count; i++) {
        CHECK(set.samples[i].features[0] == 1 && set.samples[i].features[1] == 1);
        young += set.samples[i].label <= 8; /* survived less than 4 T: as of now */
    }
    CHECK(young > 50 && young < 200);
    gather(&ring, &r, TARN_HELDOUT_NEWEST, 100, 40000, &rng);
    uint32_t replayed = 0;
    for (uint32_t i = 0; i < set.count; i++)
        replayed += set.samples[i].features[1] == 2;
    CHECK(set.count == TARN_HELDOUT_MOST && replayed == 100);
    tarn_heldout_replay(&set, &r, 5000, &rng);
    CHECK_NUMBER(set.count, TARN_HELDOUT_MOST);
    gather(&ring, NULL, 2400, 0, 40000, &rng);
    CHECK_NUMBER(set.count, 299); /* an eighth of them, but one that says nothing yet */
    tarn_heldout_begin(&set, &ring, TARN_HELDOUT_NEWEST, TARN_HELDOUT_MOST);
    tarn_ring_drain(&ring, 40000);
    CHECK(!tarn_heldout_gather(&set, &ring, &tarn_net_reference, 1000, 40000, &rng));
    CHECK_NUMBER(set.count, 0);
    tarn_reservoir_free(&r);
    tarn_ring_free(&ring);
}

static void training_stops_when_nothing_gets_better(void)
{
    struct tarn_early e = {.patience = 3};
    struct tarn_heldout_result r = {.sd = 1, .n = 100, .finite = true};
    static const struct {
        double mean;
        tarn_early_word word;
    } looks[] = {{2, TARN_EARLY_BEST},     {1.5, TARN_EARLY_BEST},  {1.6, TARN_EARLY_WAIT},
                 {1.495, TARN_EARLY_WAIT}, {1.4, TARN_EARLY_BEST},  {1.5, TARN_EARLY_WAIT},
                 {NAN, TARN_EARLY_WAIT},   {1.45, TARN_EARLY_STOP}, {1.45, TARN_EARLY_STOP},
                 {1.2, TARN_EARLY_BEST},   {1.3, TARN_EARLY_WAIT}};
    for (size_t i = 0; i < sizeof looks / sizeof *looks; i++) {
        r.mean = looks[i].mean;
        r.finite = !isnan(looks[i].mean);
        CHECK(tarn_early_look(&e, &r) == looks[i].word);
    }
    r.mean = 0;
    r.n = TARN_HELDOUT_LEAST - 1;
    CHECK(tarn_early_look(&e, &r) == TARN_EARLY_WAIT && e.best > 1);
    tarn_early_restart(&e);
    r.n = 100;
    r.mean = 5;
    CHECK(tarn_early_look(&e, &r) == TARN_EARLY_BEST && e.patience == 3);
}

CHECK_MAIN(CASE(losses_are_those_of_plain_arithmetic), CASE(what_is_worse_has_a_higher_loss),
           CASE(a_set_has_the_newest_held_out_keys), CASE(training_stops_when_nothing_gets_better))
