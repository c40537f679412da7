/* SPDX-License-Identifier: Apache-2.0 */
/* The generators do what their description says, in numbers. */
#include "../check.h"

#include <math.h>

#include "trace/gen.h"
#include "trace/model.h"
#include "trace/numbering.h"

enum { COUNT = 200000, OBJECTS = 1000 };
static struct tarn_request requests[COUNT];
static uint32_t object[COUNT], hits[COUNT]; /* by number of first appearance */
static uint32_t objects;

static tarn_status create(const char *kind, uint64_t seed, const char *const *settings,
                          tarn_gen **gen, struct tarn_error *error)
{
    size_t count = 0;
    while (settings != NULL && settings[count] != NULL)
        count++;
    return tarn_gen_create(&(struct tarn_gen_params){.kind = kind,
                                                     .requests = COUNT,
                                                     .objects = OBJECTS,
                                                     .seed = seed,
                                                     .settings = settings,
                                                     .setting_count = count},
                           gen, error);
}

/* Generates COUNT requests in uneven pieces. */
static void generate(const char *kind, uint64_t seed, const char *const *settings)
{
    struct tarn_error error = {0};
    struct tarn_numbering numbering = {0};
    tarn_gen *gen;
    size_t total = 0, count;
    bool fresh;
    if (create(kind, seed, settings, &gen, &error) != TARN_OK) {
        printf("# %s\n", error.message);
        CHECK(!"it can be created");
        return;
    }
    for (size_t piece = 1;
         (count = tarn_gen_read(gen, requests + total,
                                total + piece > COUNT ? COUNT - total : piece)) > 0;
         piece = piece * 3 % 10007 + 1)
        total += count;
    CHECK_NUMBER(total, COUNT);
    tarn_gen_destroy(&gen);
    memset(hits, 0, sizeof hits);
    for (size_t i = 0; i < total; i++) {
        REQUIRE(tarn_numbering_get(&numbering, requests[i].key, &object[i], &fresh));
        hits[object[i]]++;
    }
    objects = numbering.count;
    tarn_numbering_free(&numbering);
}

static void near(double got, double wanted, double tolerance)
{
    if (!(fabs(got - wanted) <= tolerance))
        printf("# %g, not %g\n", got, wanted);
    CHECK(fabs(got - wanted) <= tolerance);
}

/* Every rank's frequency against its probability, for exponents below, at and above 1. */
static void zipf_follows_its_law(void)
{
    static const double alphas[] = {0, 0.5, 1, 1.3};
    for (int a = 0; a < 4; a++) {
        enum { N = 50, DRAWS = 400000 };
        struct tarn_zipf zipf;
        struct tarn_rng rng;
        uint32_t seen[N + 1] = {0};
        double sum = 0, chi = 0;
        tarn_rng_seed(&rng, 5);
        tarn_zipf_init(&zipf, N, alphas[a]);
        for (int i = 0; i < DRAWS; i++) {
            uint64_t rank = tarn_zipf_next(&zipf, &rng);
            REQUIRE(rank >= 1 && rank <= N);
            seen[rank]++;
        }
        for (int r = 1; r <= N; r++)
            sum += pow(r, -alphas[a]);
        for (int r = 1; r <= N; r++) {
            double wanted = DRAWS * pow(r, -alphas[a]) / sum;
            chi += (seen[r] - wanted) * (seen[r] - wanted) / wanted;
        }
        if (chi > 90)
            printf("# alpha %g: chi square %g\n", alphas[a], chi);
        CHECK(chi < 90); /* 49 degrees of freedom: 1 in 3000 by chance, and the seed is fixed */
    }
    struct tarn_zipf one;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    tarn_zipf_init(&one, 1, 0.9);
    CHECK_NUMBER(tarn_zipf_next(&one, &rng), 1);
}

static void the_seed_decides(void)
{
    for (int i = 0; tarn_gen_kinds[i].name != NULL; i++) {
        static struct tarn_request before[COUNT];
        generate(tarn_gen_kinds[i].name, 7, NULL);
        memcpy(before, requests, sizeof requests);
        generate(tarn_gen_kinds[i].name, 7, NULL);
        for (int j = 0; j < COUNT; j++)
            if (before[j].key != requests[j].key) {
                CHECK(!"the same keys");
                break;
            }
        generate(tarn_gen_kinds[i].name, 8, NULL);
        int same = 0;
        for (int j = 0; j < COUNT; j++)
            same += before[j].key == requests[j].key;
        if (strcmp(tarn_gen_kinds[i].name, "loop") != 0)
            CHECK(same < COUNT * 9 / 10);
    }
}

/* Carts live for one purchase, listings aren't asked for again, and only the tag tells them apart. */
static void a_shop_has_its_phases(void)
{
    static const char *const rounds[] = {"rounds=4", NULL}, *const no_tags[] = {"tags=0", NULL};
    static struct tarn_request tagged[COUNT];
    int buyers[8] = {0}, again = 0, carts = 0;
    generate("shop", 1, rounds);
    for (int i = 0; i < COUNT; i++) { /* eight phases: quiet, a sale, and again */
        CHECK(requests[i].tag == 1 || requests[i].tag == 2);
        buyers[i / (COUNT / 8) % 8] += requests[i].tag == 2;
    }
    for (int phase = 0; phase < 8; phase++)
        CHECK(fabs(buyers[phase] / (COUNT / 8.0) - (phase % 2 == 1 ? .55 : .15)) < 0.03);
    generate("shop", 1, NULL);
    memcpy(tagged, requests, sizeof tagged);
    for (int i = 0; i + 1 < COUNT; i++) { /* keys of carts and of listings are all beyond 2^40 */
        bool fresh = (requests[i].key & (((uint64_t)1 << 44) - 1)) > (uint64_t)1 << 40;
        carts += fresh && requests[i].tag == 2;
        if (!fresh || requests[i].tag != 1)
            continue;
        for (int k = i + 1; k < COUNT && k < i + 50; k++)
            again += requests[k].key == requests[i].key;
    }
    CHECK_NUMBER(again, 0);
    CHECK(carts > COUNT / 20);
    generate("shop", 1, no_tags);
    for (int i = 0; i < COUNT; i++)
        if (requests[i].key != tagged[i].key || requests[i].tag != 0) {
            CHECK(!"the same requests without tags");
            break;
        }
}

static void zipf_uses_its_objects(void)
{
    generate("zipf", 1, NULL);
    CHECK(objects > OBJECTS * 95 / 100 && objects <= OBJECTS);
}

static void scans_have_their_share(void)
{
    static const char *const once[] = {"share=0.4", "length=50", NULL};
    static const char *const again[] = {"share=0.4", "length=50", "repeat=1", NULL};
    generate("scan", 1, once);
    near((objects - OBJECTS) / (double)COUNT, 0.4, 0.03);
    /* A scan's objects follow each other: most new keys are the one before, plus 1. */
    uint32_t following = 0;
    for (int i = 1; i < COUNT; i++)
        following += hits[object[i]] == 1 && requests[i].key == requests[i - 1].key + 1;
    near(following / (double)COUNT, 0.4 * 49 / 50, 0.04);
    generate("scan", 1, again);
    CHECK(objects <= OBJECTS + 50);
}

static void loops_go_round(void)
{
    static const char *const settings[] = {"length=300", NULL};
    static const char *const noisy[] = {"length=300", "share=0.25", NULL};
    generate("loop", 1, settings);
    CHECK_NUMBER(objects, 300);
    for (int i = 300; i < COUNT; i++)
        REQUIRE(requests[i].key == requests[i - 300].key);
    generate("loop", 1, noisy);
    CHECK(objects > 300 + OBJECTS * 9 / 10);
    double in_loop = 0;
    for (int i = 0; i < COUNT; i++)
        in_loop += requests[i].key >> 40 != 0;
    near(in_loop / COUNT, 0.75, 0.01);
}

static void recency_prefers_the_recent(void)
{
    static const char *const settings[] = {"fresh=0.02", "alpha=1", NULL};
    static uint32_t last[COUNT];
    generate("recency", 1, settings);
    near(objects / (double)COUNT, 0.02, 0.003);
    uint32_t near_by = 0, repeats = 0;
    memset(last, 0, sizeof last);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (last[object[i]] != 0) {
            repeats++;
            near_by += i + 1 - last[object[i]] <= 31;
            CHECK(i + 1 - last[object[i]] <= OBJECTS);
        }
        last[object[i]] = i + 1;
    }
    /* By the law alone ln(31)/ln(1000) = one half; a repeat of a repeat is nearer still. */
    CHECK(near_by > repeats / 2);
}

/* An object keeps its cost, which is none of its size's business unless asked for. */
static void costs_belong_to_the_objects(void)
{
    static const char *const two[] = {"costs=two", "cost-share=0.2", "cost-factor=30", NULL};
    static const char *const lognormal[] = {"costs=lognormal", "cost-sigma=1", "cost-median=500",
                                            NULL};
    static const char *const grows[] = {"costs=lognormal", "cost-sigma=0",    "cost-size=0.5",
                                        "sizes=lognormal", "size-median=100", NULL};
    static float cost[COUNT];
    generate("zipf", 1, NULL);
    CHECK(requests[0].cost_us == 0 && requests[0].tag == 0);
    generate("zipf", 1, two);
    uint32_t dear = 0;
    memset(cost, 0, sizeof cost);
    for (uint32_t i = 0; i < COUNT; i++) {
        float *own = &cost[object[i]];
        if (*own == 0)
            dear += requests[i].tag == 2;
        CHECK(*own == 0 || *own == requests[i].cost_us);
        CHECK(requests[i].cost_us == (requests[i].tag == 2 ? 30000.0f : 1000.0f));
        *own = requests[i].cost_us;
    }
    near(dear / (double)objects, 0.2, 0.04);
    generate("zipf", 1, lognormal);
    double sum = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        sum += log((double)requests[i].cost_us / 500) / COUNT;
    near(sum, 0, 0.3);
    generate("zipf", 1, grows);
    for (uint32_t i = 0; i < COUNT; i++)
        near((double)requests[i].cost_us / (1000 * sqrt((double)requests[i].size / 100)), 1, 1e-3);
}

static void drift_cools_the_hot(void)
{
    static const char *const settings[] = {"period=2000", "step=20", "alpha=1", NULL};
    generate("drift", 1, settings);
    /* The hottest of the first period is one among many at the end, when the ranks went round. */
    uint32_t first = 0, end = 0;
    for (int i = 0; i < 2000; i++)
        first += requests[i].key == 1;
    for (int i = 60000; i < 62000; i++)
        end += requests[i].key == 1;
    CHECK(first > 150);
    CHECK(end < 20);
    CHECK(objects > OBJECTS * 95 / 100);
}

static void bursts_end(void)
{
    static const char *const settings[] = {"share=0.5", "active=4", "length=80", NULL};
    generate("burst", 1, settings);
    uint32_t bursts = 0, requests_in_bursts = 0;
    static uint32_t first[COUNT], last[COUNT];
    memset(first, 0xff, sizeof first);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (first[object[i]] == UINT32_MAX)
            first[object[i]] = i;
        last[object[i]] = i;
    }
    double span = 0;
    for (uint32_t i = 0; i < COUNT; i++)
        if (requests[i].key >> 40 != 0) {
            requests_in_bursts++;
            if (first[object[i]] == i) {
                bursts++;
                span += last[object[i]] - i;
            }
        }
    near(requests_in_bursts / (double)COUNT, 0.5, 0.01);
    near(requests_in_bursts / (double)bursts, 80, 8);
    near(span / bursts, 80 * 4 / 0.5, 80);
}

static void phases_come_back(void)
{
    static const char *const settings[] = {"kinds=zipf+loop+zipf", "period=10000", NULL};
    generate("phases", 1, settings);
    /* 0: zipf, 1: loop, 2: another zipf; their keys are apart, and return every 30000 requests. */
    uint32_t shared = 0, back = 0;
    for (int i = 0; i < 10000; i++) {
        shared += requests[i].key >> 44 == requests[i + 20000].key >> 44;
        back += requests[i].key >> 44 == requests[i + 30000].key >> 44;
    }
    CHECK_NUMBER(shared, 0);
    CHECK_NUMBER(back, 10000);
    static const char *const eight[] = {"kinds=zipf+loop", "phases=8", NULL};
    generate("phases", 1, eight);
    CHECK_NUMBER(requests[COUNT - 1].key >> 44, 7);
    CHECK_NUMBER(requests[0].key >> 44, 0);
}

static void mixed_mixes(void)
{
    uint32_t parts[8] = {0};
    generate("mixed", 1, NULL);
    for (int i = 0; i < COUNT; i++)
        parts[(requests[i].key >> 44) & 7]++;
    for (int i = 0; i < 6; i++)
        near(parts[i] / (double)COUNT, 1.0 / 6, 0.01);
}

static void sizes_ops_and_times(void)
{
    static const char *const settings[] = {"sizes=lognormal",
                                           "size-median=1000",
                                           "size-sigma=1",
                                           "puts=0.2",
                                           "deletes=0.1",
                                           "rate=50",
                                           NULL};
    static uint64_t size_of[COUNT];
    generate("zipf", 1, settings);
    uint32_t ops[3] = {0}, small = 0, within = 0;
    memset(size_of, 0, sizeof size_of);
    for (uint32_t i = 0; i < COUNT; i++) {
        ops[requests[i].op]++;
        CHECK(requests[i].time == i / 50);
        if (size_of[object[i]] == 0) {
            size_of[object[i]] = requests[i].size;
            small += requests[i].size < 1000;
            within += requests[i].size > 368 && requests[i].size < 2718;
        }
        REQUIRE(size_of[object[i]] == requests[i].size);
    }
    near(ops[TARN_TRACE_PUT] / (double)COUNT, 0.2, 0.01);
    near(ops[TARN_TRACE_DELETE] / (double)COUNT, 0.1, 0.01);
    near(small / (double)objects, 0.5, 0.05);
    near(within / (double)objects, 0.683, 0.05); /* one standard deviation each way */
}

static void wrong_settings_are_named(void)
{
    static const struct {
        const char *kind, *setting, *says;
    } table[] = {
        {"zipf", "alpha", "needs a value"},    {"zipf", "alpha=x", "alpha=x"},
        {"zipf", "alpha=nan", "not a number"}, {"zipf", "beta=1", "none of that name"},
        {"zipf", "period=5", "knows no"},      {"burst", "active=0", "active=0"},
        {"phases", "kinds=zipf+", "none of"},  {"mixed", "kinds=phases", "none of"},
        {"zipf", "sizes=big", "neither"},      {"nothing", NULL, "no such"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        const char *settings[] = {table[i].setting, NULL};
        struct tarn_error error = {0};
        tarn_gen *gen;
        CHECK(create(table[i].kind, 1, settings, &gen, &error) == TARN_INVALID);
        CHECK(gen == NULL);
        if (strstr(error.message, table[i].says) == NULL)
            printf("# %s\n", error.message);
        CHECK(strstr(error.message, table[i].says) != NULL);
    }
}

CHECK_MAIN(CASE(zipf_follows_its_law), CASE(the_seed_decides), CASE(a_shop_has_its_phases),
           CASE(zipf_uses_its_objects), CASE(scans_have_their_share), CASE(loops_go_round),
           CASE(recency_prefers_the_recent), CASE(costs_belong_to_the_objects),
           CASE(drift_cools_the_hot), CASE(bursts_end), CASE(phases_come_back), CASE(mixed_mixes),
           CASE(sizes_ops_and_times), CASE(wrong_settings_are_named))
