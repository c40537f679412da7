/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of a generated workload, the models that it is put together from, sizes and ops. */
#include "gen.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "model.h"
#include "scene.h"

enum { MAX_PARTS = 64 };

const struct tarn_gen_kind tarn_gen_kinds[] = {
    {"zipf", "independent requests; the object of rank r is asked for in proportion to r^-alpha"},
    {"scan", "zipf, interrupted by scans over `length` objects that make up `share` of the\n"
             "requests; each scan is over new objects, or over the same ones with repeat=1"},
    {"loop", "the same `length` objects round and round, and a `share` of zipf requests"},
    {"recency", "a request repeats one d requests ago, d from a Zipf law up to --objects, or\n"
                "(with probability `fresh`) is for a new object"},
    {"drift", "zipf whose popularity slides: every `period` requests, `step` cold objects become\n"
              "the hottest and all others cool down"},
    {"burst", "zipf, and a `share` of the requests for `active` new objects at a time, each\n"
              "wanted about `length` times and then never again"},
    {"mixed", "all of `kinds` at the same time, each with its own objects, picked at random"},
    {"phases", "`kinds` one after another, `period` requests each, then again from the first; the\n"
               "objects of a phase come back with it"},
    {"market", "requests with tags: 1 in normal times, 2 volatile, 3 in a crisis; quotes, one-off\n"
               "queries, news read by many at once, portfolios valued again and again"},
    {"shop", "tags: 1 browsing, 2 purchasing; listings wanted once, product pages, carts that\n"
             "live for one purchase; quiet times and sales"},
    {"sensors", "tags: 1 normal, 2 anomaly; what dashboards show, what is only stored, what an\n"
                "incident makes people read over and over"},
    {"streaming",
     "tags: 1 mobile, 2 desktop, 3 tv; clips seen once, a catalog, segments fetched by\n"
     "many screens at once; day, evening and night"},
    {NULL},
};

#define ALL_KINDS "zipf+scan+loop+recency+drift+burst"

const struct tarn_gen_param tarn_gen_params_table[] = {
    {"alpha", "0.9", "how skewed the popularity is", 0, 4, NULL},
    {"share", "0.3", "of the requests: scans, bursts; loop: of zipf, default 0", 0, 1,
     "scan loop burst mixed phases"},
    {"length", "", "of a scan (default: half of --objects), a loop (--objects), a burst (100)", 1,
     4294967296.0, "scan loop burst mixed phases"},
    {"repeat", "0", "1: scans go over the same objects", 0, 1, "scan mixed phases"},
    {"fresh", "0.05", "share of the requests for new objects", 0, 1, "recency mixed phases"},
    {"period", "",
     "requests of a drift's step (default: as many as --objects / 10) or a phase\n"
     "(default: one round of all phases)",
     1, 1e15, "drift mixed phases"},
    {"step", "", "ranks that a drift slides at a time (default: --objects / 100)", 1, 4294967296.0,
     "drift mixed phases"},
    {"active", "8", "bursts at a time", 1, 65536, "burst mixed phases"},
    {"phases", "", "how many phases there are: `kinds` from the first, again and again", 1,
     MAX_PARTS, "phases"},
    {"rounds", "3", "times that all phases come", 1, 1000, "market shop sensors streaming"},
    {"tags", "1", "0: the same requests without their tags", 0, 1, "market shop sensors streaming"},
    {"kinds", ALL_KINDS, "names with a + between them", 0, 0, "mixed phases"},
    {"sizes", "1", "1, or lognormal: an object keeps its size", 0, 0, NULL},
    {"size-median", "4096", "bytes, for lognormal sizes", 1, 1e12, NULL},
    {"size-sigma", "1.2", "spread of lognormal sizes, of the natural logarithm", 0, 8, NULL},
    {"costs", "0", "0 (none), lognormal, or two (backends): what a miss costs; an object keeps it",
     0, 0, NULL},
    {"cost-median", "1000", "us a miss; of the cheaper backend of two", 1e-3, 1e9, NULL},
    {"cost-sigma", "1.2", "spread of lognormal costs, of the natural logarithm", 0, 8, NULL},
    {"cost-factor", "50", "two: how much dearer the other backend is", 1, 1e6, NULL},
    {"cost-share", "0.1", "two: share of the objects that come from there (tag 2; others 1)", 0, 1,
     NULL},
    {"cost-size", "0", "a cost grows with the object's size to this power", -2, 2, NULL},
    {"puts", "0", "share of the requests that are overwrites", 0, 1, NULL},
    {"deletes", "0", "share of the requests that are deletes", 0, 1, NULL},
    {"rate", "", "requests a second: gives the requests times", 1e-3, 1e12, NULL},
    {NULL},
};

enum {
    ALPHA,
    SHARE,
    LENGTH,
    REPEAT,
    FRESH,
    PERIOD,
    STEP,
    ACTIVE,
    PHASES,
    ROUNDS,
    TAGS,
    KINDS,
    SIZES,
    SIZE_MEDIAN,
    SIZE_SIGMA,
    COSTS,
    COST_MEDIAN,
    COST_SIGMA,
    COST_FACTOR,
    COST_SHARE,
    COST_SIZE,
    PUTS,
    DELETES,
    RATE,
    PARAMS
};

struct tarn_gen {
    uint64_t requests, done, period;
    bool in_phases, lognormal;
    double log_median, sigma, puts, deletes, rate;
    enum { COSTS_NONE, COSTS_LOGNORMAL, COSTS_TWO } costs;
    double cost_median, cost_sigma, cost_factor, cost_share, cost_size;
    struct tarn_rng rng;
    struct tarn_model *parts;
    unsigned part_count;
    bool is_scene, tags;
    struct tarn_scene scene;
};

/* What was set, by the table's rows. */
struct settings {
    bool given[PARAMS];
    double number[PARAMS];
    const char *word[PARAMS];
    uint64_t seed, objects, requests;
};

static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; at != NULL; at = strchr(at, ' ')) {
        at += *at == ' ';
        if (strncmp(at, word, length) == 0 && (at[length] == ' ' || at[length] == '\0'))
            return true;
    }
    return false;
}

static tarn_status read_setting(const char *text, const char *kind, struct settings *settings,
                                struct tarn_error *error)
{
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
    for (int i = 0; i < PARAMS; i++) {
        const struct tarn_gen_param *row = &tarn_gen_params_table[i];
        if (strlen(row->name) != length || strncmp(row->name, text, length) != 0)
            continue;
        if (row->kinds != NULL && !has_word(row->kinds, kind))
            return tarn_fail(error, TARN_INVALID, "%s: the model knows no parameter '%s'", kind,
                             row->name);
        if (equals == NULL)
            return tarn_fail(error, TARN_INVALID, "parameter '%s': it needs a value", text);
        settings->given[i] = true;
        settings->word[i] = equals + 1;
        if (row->low == 0 && row->high == 0)
            return TARN_OK;
        char *end;
        double value = strtod(equals + 1, &end);
        if (end == equals + 1 || *end != '\0' || !(value >= row->low && value <= row->high))
            return tarn_fail(error, TARN_INVALID, "parameter '%s': not a number from %g to %g",
                             text, row->low, row->high);
        settings->number[i] = value;
        return TARN_OK;
    }
    return tarn_fail(error, TARN_INVALID, "parameter '%.*s': there is none of that name",
                     (int)length, text);
}

static double number(const struct settings *settings, int param, double fallback)
{
    return settings->given[param] ? settings->number[param] : fallback;
}

static double usual(const struct settings *settings, int param)
{
    return number(settings, param, strtod(tarn_gen_params_table[param].fallback, NULL));
}

static struct tarn_model_settings model_settings(const struct settings *settings,
                                                 tarn_model_kind kind, bool in_phases)
{
    double objects = (double)settings->objects;
    double length = kind == TARN_MODEL_SCAN   ? ceil(objects / 2)
                    : kind == TARN_MODEL_LOOP ? objects
                                              : 100;
    double step = ceil(objects / 100), period = ceil(objects / 10);
    return (struct tarn_model_settings){
        .objects = settings->objects,
        .alpha = usual(settings, ALPHA),
        .share = number(settings, SHARE, kind == TARN_MODEL_LOOP ? 0 : 0.3),
        .fresh = usual(settings, FRESH),
        .length = (uint64_t)number(settings, LENGTH, length),
        /* In phases, the period is that of a phase. */
        .period = (uint64_t)(in_phases ? period : number(settings, PERIOD, period)),
        .step = (uint64_t)number(settings, STEP, step),
        .active = (uint64_t)usual(settings, ACTIVE),
        .repeat = usual(settings, REPEAT) >= 0.5,
    };
}

static int simple_kind(const char *name, size_t length)
{
    for (int i = 0; i < TARN_MODEL_KINDS; i++)
        if (strlen(tarn_gen_kinds[i].name) == length &&
            strncmp(tarn_gen_kinds[i].name, name, length) == 0)
            return i;
    return -1;
}

/* Reads "zipf+loop" into `kinds`, which has MAX_PARTS places. */
static tarn_status read_kinds(const char *list, tarn_model_kind *kinds, unsigned *count,
                              struct tarn_error *error)
{
    *count = 0;
    for (const char *at = list;;) {
        size_t length = strcspn(at, "+");
        int kind = simple_kind(at, length);
        if (kind < 0 || *count == MAX_PARTS)
            return tarn_fail(error, TARN_INVALID,
                             "parameter 'kinds=%s': '%.*s' is none of " ALL_KINDS, list,
                             (int)length, at);
        kinds[(*count)++] = (tarn_model_kind)kind;
        if (at[length] == '\0')
            return TARN_OK;
        at += length + 1;
    }
}

static tarn_status make_parts(struct tarn_gen *gen, const struct settings *settings,
                              const char *kind, struct tarn_error *error)
{
    tarn_model_kind kinds[MAX_PARTS];
    unsigned count = 1, listed;
    const struct tarn_scene_plan *plan = tarn_scene_find(kind);
    gen->is_scene = plan != NULL;
    gen->tags = plan != NULL && usual(settings, TAGS) >= 0.5;
    if (plan != NULL)
        return tarn_scene_init(&gen->scene, plan, settings->objects, settings->requests,
                               (uint64_t)usual(settings, ROUNDS), settings->seed)
                   ? TARN_OK
                   : tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", kind);
    int simple = simple_kind(kind, strlen(kind));
    gen->in_phases = strcmp(kind, "phases") == 0;
    if (simple >= 0) {
        kinds[0] = (tarn_model_kind)simple;
    } else {
        const char *list = settings->given[KINDS] ? settings->word[KINDS] : ALL_KINDS;
        tarn_status status = read_kinds(list, kinds, &count, error);
        if (status != TARN_OK)
            return status;
        listed = count;
        if (gen->in_phases && settings->given[PHASES])
            count = (unsigned)settings->number[PHASES];
        for (unsigned i = listed; i < count; i++)
            kinds[i] = kinds[i % listed];
    }
    if (gen->in_phases)
        gen->period =
            (uint64_t)number(settings, PERIOD, ceil((double)gen->requests / (double)count));
    gen->parts = tarn_alloc_zeroed(count, sizeof *gen->parts);
    if (gen->parts == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", kind);
    for (unsigned i = 0; i < count; i++) {
        struct tarn_model_settings set = model_settings(settings, kinds[i], gen->in_phases);
        gen->part_count = i + 1;
        if (!tarn_model_init(&gen->parts[i], kinds[i], &set, settings->seed, i))
            return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", kind);
    }
    return TARN_OK;
}

tarn_status tarn_gen_create(const struct tarn_gen_params *params, tarn_gen **gen,
                            struct tarn_error *error)
{
    struct settings settings = {
        .seed = params->seed, .objects = params->objects, .requests = params->requests};
    bool known = false;
    *gen = NULL;
    for (int i = 0; tarn_gen_kinds[i].name != NULL; i++)
        known |= strcmp(tarn_gen_kinds[i].name, params->kind) == 0;
    if (!known)
        return tarn_fail(error, TARN_INVALID, "%s: there is no such workload", params->kind);
    if (params->requests == 0 || params->objects < 2 || params->objects > (uint64_t)1 << 32)
        return tarn_fail(error, TARN_INVALID, "%s: requests or objects out of range", params->kind);
    for (size_t i = 0; i < params->setting_count; i++) {
        tarn_status status = read_setting(params->settings[i], params->kind, &settings, error);
        if (status != TARN_OK)
            return status;
    }
    const char *sizes = settings.given[SIZES] ? settings.word[SIZES] : "1";
    if (strcmp(sizes, "1") != 0 && strcmp(sizes, "lognormal") != 0)
        return tarn_fail(error, TARN_INVALID, "parameter 'sizes=%s': neither 1 nor lognormal",
                         sizes);
    const char *costs = settings.given[COSTS] ? settings.word[COSTS] : "0";
    if (strcmp(costs, "0") != 0 && strcmp(costs, "lognormal") != 0 && strcmp(costs, "two") != 0)
        return tarn_fail(error, TARN_INVALID, "parameter 'costs=%s': none of 0, lognormal, two",
                         costs);
    struct tarn_gen *made = tarn_alloc_zeroed(1, sizeof *made);
    if (made == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "%s: out of memory", params->kind);
    made->requests = params->requests;
    made->lognormal = sizes[0] == 'l';
    made->log_median = log(usual(&settings, SIZE_MEDIAN));
    made->sigma = usual(&settings, SIZE_SIGMA);
    made->costs = costs[0] == 'l' ? COSTS_LOGNORMAL : costs[0] == 't' ? COSTS_TWO : COSTS_NONE;
    made->cost_median = usual(&settings, COST_MEDIAN);
    made->cost_sigma = usual(&settings, COST_SIGMA);
    made->cost_factor = usual(&settings, COST_FACTOR);
    made->cost_share = usual(&settings, COST_SHARE);
    made->cost_size = usual(&settings, COST_SIZE);
    made->puts = usual(&settings, PUTS);
    made->deletes = usual(&settings, DELETES);
    made->rate = number(&settings, RATE, 0);
    tarn_rng_seed(&made->rng, params->seed);
    tarn_status status = make_parts(made, &settings, params->kind, error);
    if (status == TARN_OK && made->puts + made->deletes > 1)
        status = tarn_fail(error, TARN_INVALID, "parameters 'puts' and 'deletes': more than 1");
    if (status != TARN_OK)
        tarn_gen_destroy(&made);
    *gen = made;
    return status;
}

void tarn_gen_destroy(tarn_gen **gen)
{
    if (*gen == NULL)
        return;
    for (unsigned i = 0; i < (*gen)->part_count; i++)
        tarn_model_free(&(*gen)->parts[i]);
    tarn_free((*gen)->parts);
    tarn_scene_free(&(*gen)->scene);
    tarn_free(*gen);
    *gen = NULL;
}

/* A normal variable that is a function of the key (Box and Muller, 1958): size and cost stay. */
static double normal_of(uint64_t key)
{
    double u = ((double)(tarn_mix64(key) >> 11) + 1) * 0x1p-53;
    double v = (double)(tarn_mix64(key ^ 0x9e3779b97f4a7c15u) >> 11) * 0x1p-53;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static uint64_t size_of(const struct tarn_gen *gen, uint64_t key, double times)
{
    if (!gen->lognormal)
        return 1;
    double size = exp(gen->log_median + gen->sigma * normal_of(key)) * times;
    return size < 1 ? 1 : size > 0x1p50 ? (uint64_t)1 << 50 : (uint64_t)size;
}

static void set_cost(const struct tarn_gen *gen, struct tarn_request *request)
{
    const uint64_t own = tarn_mix64(request->key ^ 0x636f737473u); /* not the sizes' numbers */
    double cost = gen->cost_median;
    if (gen->costs == COSTS_NONE)
        return;
    if (gen->costs == COSTS_LOGNORMAL) {
        cost *= exp(gen->cost_sigma * normal_of(own));
    } else {
        bool dear = (double)(own >> 11) * 0x1p-53 < gen->cost_share;
        cost *= dear ? gen->cost_factor : 1;
        request->tag = gen->is_scene ? request->tag : dear ? 2 : 1; /* a site has its own */
    }
    if (gen->lognormal)
        cost *= exp(gen->cost_size * (log((double)request->size) - gen->log_median));
    request->cost_us = (float)(cost < 1e-3 ? 1e-3 : cost > 1e30 ? 1e30 : cost);
}

size_t tarn_gen_read(tarn_gen *gen, struct tarn_request *requests, size_t room)
{
    size_t count = 0;
    for (; count < room && gen->done < gen->requests; count++, gen->done++) {
        struct tarn_request *request = &requests[count];
        struct tarn_scene_request asked = {.size = 1};
        if (gen->is_scene) {
            tarn_scene_next(&gen->scene, &asked);
        } else {
            unsigned part = gen->in_phases ? (unsigned)(gen->done / gen->period % gen->part_count)
                            : gen->part_count > 1 ? tarn_rng_below(&gen->rng, gen->part_count)
                                                  : 0;
            asked.key = tarn_model_next(&gen->parts[part]);
        }
        *request = (struct tarn_request){.key = asked.key, .tag = gen->tags ? asked.tag : 0};
        request->size = size_of(gen, request->key, asked.size);
        set_cost(gen, request);
        request->time = gen->rate > 0 ? (uint64_t)((double)gen->done / gen->rate) : gen->done;
        request->op = TARN_TRACE_GET;
        if (gen->puts + gen->deletes > 0) {
            double u = tarn_rng_double(&gen->rng);
            request->op = u < gen->puts                  ? TARN_TRACE_PUT
                          : u < gen->puts + gen->deletes ? TARN_TRACE_DELETE
                                                         : TARN_TRACE_GET;
        }
    }
    return count;
}

bool tarn_gen_has_cost(const tarn_gen *gen)
{
    return gen->costs != COSTS_NONE;
}

bool tarn_gen_has_tag(const tarn_gen *gen)
{
    return gen->tags || gen->costs == COSTS_TWO;
}

bool tarn_gen_has_time(const tarn_gen *gen)
{
    return gen->rate > 0;
}
