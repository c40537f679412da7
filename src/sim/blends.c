/* SPDX-License-Identifier: Apache-2.0 */
#include "blends.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include <tarn/workload.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "trace/gen.h"

enum { ZIPF, SCAN, LOOP, RECENCY, BURST };
enum { WAYS = TARN_BLEND_WAYS, AHEAD = 256, SETTINGS = 6 };

/* Beyond these a class isn't itself any more: */
#define SEQUENCE 64    /* objects of a sequence that is a scan, at least on the mean */
#define LONGEST  20000 /* requests that a burst goes on, at most */
#define HISTORY  32    /* median distances that a far recency looks back, at most */
#define DIVERSE                                                                                    \
    6.0 /* new objects in such a distance, at least: with fewer, few objects are left over */
#define SLIDE 60000.0 /* requests after which others are popular, about at least */

/* A part's own requests, without end. */
struct source {
    struct tarn_blend_part set;
    struct tarn_rng rng;
    tarn_gen *gen;
    struct tarn_request ahead[AHEAD];
    size_t have, at;
    uint64_t count;
    /* sequences that are read again */
    uint64_t *begin; /* [active + 1] */
    uint64_t next, end;
    /* recency with a distance of its own: the latest requests, a ring */
    uint64_t *history;
    uint64_t room, asked, fresh;
    /* objects that are wanted together */
    uint64_t group, member, members;
};

struct tarn_blend {
    struct tarn_blend_spec spec;
    struct tarn_rng rng;
    struct source source[TARN_BLEND_SOURCES];
    uint32_t part;
    uint64_t left; /* of the run */
    uint64_t asked;
    double chance[TARN_BLEND_SOURCES];
    double credit[TARN_BLEND_SOURCES]; /* turns that a part is behind */
    uint64_t salt;
    /* the cache in front: sets of WAYS, the latest first */
    uint64_t *front;
    uint64_t sets;
};

/* ---- parts ---- */

static const char *const kinds[] = {"zipf", "scan", "loop", "recency", "burst"};

static tarn_status open_gen(struct source *source, uint64_t seed, struct tarn_error *error)
{
    const struct tarn_blend_part *set = &source->set;
    char text[SETTINGS][48];
    const char *settings[SETTINGS];
    size_t n = 0;
    const char *kind = kinds[set->component];
    uint64_t objects = set->objects;
    if (set->component == ZIPF && set->turnover > 0) {
        double step = ceil((double)objects / 1000);
        kind = "drift";
        snprintf(text[n++], sizeof text[0], "step=%.0f", step);
        snprintf(text[n++], sizeof text[0], "period=%.0f", ceil(set->turnover * step));
    }
    if (set->component == ZIPF || set->component == RECENCY)
        snprintf(text[n++], sizeof text[0], "alpha=%.6f", set->alpha);
    else
        snprintf(text[n++], sizeof text[0], "length=%.0f", (double)set->length);
    if (set->component == RECENCY)
        snprintf(text[n++], sizeof text[0], "fresh=%.6f", set->fresh);
    if (set->component == SCAN || set->component == BURST)
        snprintf(text[n++], sizeof text[0], "share=1");
    if (set->component == BURST)
        snprintf(text[n++], sizeof text[0], "active=%.0f", (double)set->active);
    for (size_t i = 0; i < n; i++)
        settings[i] = text[i];
    return tarn_gen_create(
        &(struct tarn_gen_params){
            .kind = kind,
            .requests = UINT64_MAX,
            .objects = objects < 2 ? 2 : objects,
            .seed = seed,
            .settings = settings,
            .setting_count = n,
        },
        &source->gen, error);
}

/* Lengths around the mean, within a factor of four. */
static tarn_status open_sequences(struct source *source, struct tarn_error *error)
{
    uint64_t count = source->set.active, at = 0;
    source->begin = tarn_alloc(((size_t)count + 1) * sizeof *source->begin);
    if (source->begin == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "blend: out of memory");
    for (uint64_t i = 0; i <= count; i++) {
        source->begin[i] = at;
        double factor = exp2(4 * tarn_rng_double(&source->rng) - 2);
        at += 1 + (uint64_t)((double)source->set.objects / (double)count * factor / 1.35);
    }
    return TARN_OK;
}

static tarn_status open_source(struct source *source, const struct tarn_blend_part *part,
                               uint64_t seed, struct tarn_error *error)
{
    source->set = *part;
    tarn_rng_seed(&source->rng, seed ^ 0x736571u);
    if (part->component == SCAN && part->active > 0)
        return open_sequences(source, error);
    if (part->component == ZIPF && part->hot_share > 0)
        return TARN_OK;
    if (part->component == RECENCY && part->spread > 0) {
        source->room = part->length * HISTORY;
        source->history = tarn_alloc_zeroed((size_t)source->room, sizeof *source->history);
        return source->history != NULL ? TARN_OK
                                       : tarn_fail(error, TARN_NO_MEMORY, "blend: out of memory");
    }
    return open_gen(source, seed, error);
}

/* Sequences by popularity: rank = count * u^(1 / (1 - alpha)), good enough below 1. */
static uint64_t next_of_sequences(struct source *source)
{
    if (source->next == source->end) {
        double u = tarn_rng_double(&source->rng), count = (double)source->set.active;
        uint64_t i = (uint64_t)(count * pow(u, 1 / (1 - source->set.alpha)));
        i = i < source->set.active ? i : source->set.active - 1;
        source->next = source->begin[i];
        source->end = source->begin[i + 1];
    }
    return source->next++;
}

/* Independent requests, some of them for a hot few. */
static uint64_t next_hot(struct source *source)
{
    const struct tarn_blend_part *set = &source->set;
    double objects = (double)set->objects, hot = ceil(objects * set->hot);
    double u = tarn_rng_double(&source->rng);
    return tarn_rng_double(&source->rng) < set->hot_share ? (uint64_t)(u * hot)
                                                          : (uint64_t)(hot + u * objects);
}

static double normal(struct tarn_rng *rng)
{
    double u = 1 - tarn_rng_double(rng);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * tarn_rng_double(rng));
}

/* Repeats the request some way back: recency as it is left by a cache in front of this one. */
static uint64_t next_from_afar(struct source *source)
{
    const struct tarn_blend_part *set = &source->set;
    double back = (double)set->length * exp2(set->spread * normal(&source->rng));
    uint64_t distance = back < 1 ? 1 : back < (double)source->room ? (uint64_t)back : source->room;
    bool is_new = tarn_rng_double(&source->rng) < set->fresh || distance > source->asked;
    uint64_t key =
        is_new ? source->fresh++ : source->history[(source->asked - distance) % source->room];
    source->history[source->asked++ % source->room] = key;
    return key;
}

static uint64_t next_alone(struct source *source)
{
    if (source->set.component == ZIPF && source->set.hot_share > 0)
        return next_hot(source);
    if (source->history != NULL)
        return next_from_afar(source);
    if (source->at == source->have) {
        source->have = tarn_gen_read(source->gen, source->ahead, AHEAD);
        source->at = 0;
    }
    return source->ahead[source->at++].key;
}

/* A group's size is a function of the group. */
static uint64_t next_of_group(struct source *source)
{
    if (source->member == source->members) {
        source->group = next_alone(source);
        source->member = 0;
        source->members =
            1 + tarn_mix64(source->group + 77) % (uint64_t)(2 * source->set.group - 1);
    }
    return tarn_mix64(source->group) + source->member++;
}

static uint64_t next_of(struct source *source, uint32_t *component)
{
    *component = source->set.component;
    source->count++;
    if (source->begin != NULL)
        return next_of_sequences(source);
    /* what a loop does for the first time is a scan */
    if (*component == LOOP && source->count <= source->set.length)
        *component = SCAN;
    return source->set.group > 1 ? next_of_group(source) : next_alone(source);
}

/* ---- blends ---- */

tarn_status tarn_blend_create(const struct tarn_blend_spec *spec, tarn_blend **blend,
                              struct tarn_error *error)
{
    struct tarn_blend *b = tarn_alloc_zeroed(1, sizeof *b);
    *blend = NULL;
    if (b == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "blend: out of memory");
    tarn_status status = TARN_OK;
    double sum = 0;
    b->spec = *spec;
    tarn_rng_seed(&b->rng, spec->seed);
    b->salt = tarn_rng_next(&b->rng);
    for (uint32_t i = 0; i < spec->part_count && status == TARN_OK; i++) {
        sum += spec->part[i].weight / spec->part[i].run;
        b->chance[i] = sum;
        status = open_source(&b->source[i], &spec->part[i], spec->seed * 8 + i, error);
    }
    if (status == TARN_OK && spec->front_cache > 0) {
        b->sets = (spec->front_cache + WAYS - 1) / WAYS;
        b->front = tarn_alloc_zeroed((size_t)b->sets * WAYS, sizeof *b->front);
        if (b->front == NULL)
            status = tarn_fail(error, TARN_NO_MEMORY, "blend: out of memory");
    }
    if (status != TARN_OK)
        tarn_blend_destroy(&b);
    *blend = b;
    return status;
}

void tarn_blend_destroy(tarn_blend **blend)
{
    struct tarn_blend *b = *blend;
    if (b == NULL)
        return;
    for (uint32_t i = 0; i < b->spec.part_count; i++) {
        tarn_gen_destroy(&b->source[i].gen);
        tarn_free(b->source[i].begin);
        tarn_free(b->source[i].history);
    }
    tarn_free(b->front);
    tarn_free(b);
    *blend = NULL;
}

/* What each part's turns come to just now, added up. */
static const double *present_chances(const struct tarn_blend *b, double *room)
{
    double sum = 0;
    if (b->spec.swing <= 0)
        return b->chance;
    for (uint32_t i = 0; i < b->spec.part_count; i++) {
        double turns = (double)b->asked / (double)b->spec.period + 0.618034 * i;
        const struct tarn_blend_part *part = &b->spec.part[i];
        sum += part->weight / part->run * exp2(b->spec.swing * sin(6.283185307179586 * turns));
        room[i] = sum;
    }
    return room;
}

/* The one that is the most behind; nobody ever gets far from its share. */
static void take_turn(struct tarn_blend *b, const double *chance)
{
    uint32_t count = b->spec.part_count;
    b->part = 0;
    for (uint32_t i = 0; i < count; i++) {
        b->credit[i] += (chance[i] - (i > 0 ? chance[i - 1] : 0)) / chance[count - 1];
        b->part = b->credit[i] > b->credit[b->part] + 1e-9 ? i : b->part;
    }
    b->credit[b->part] -= 1;
    double run = b->spec.part[b->part].run;
    b->left = run <= 1 ? 1 : (uint64_t)(run + 0.5);
}

static void choose_part(struct tarn_blend *b)
{
    double room[TARN_BLEND_SOURCES];
    const double *chance = present_chances(b, room);
    if (b->spec.turns) {
        take_turn(b, chance);
        return;
    }
    double all = chance[b->spec.part_count - 1], u = tarn_rng_double(&b->rng) * all;
    b->part = 0;
    while (b->part + 1 < b->spec.part_count && u >= chance[b->part])
        b->part++;
    /* runs are of all lengths up to twice the mean: short ones of one request stay so */
    double run = b->spec.part[b->part].run;
    b->left = run <= 1 ? 1 : 1 + (uint64_t)(tarn_rng_double(&b->rng) * 2 * (run - 1) + 0.5);
}

static uint64_t draw(struct tarn_blend *b, uint32_t *component)
{
    b->asked++;
    if (b->spec.noise > 0 && tarn_rng_double(&b->rng) < b->spec.noise) {
        *component = TARN_BLEND_NOISE;
        return tarn_rng_next(&b->rng);
    }
    if (b->left == 0)
        choose_part(b);
    b->left--;
    uint64_t key = next_of(&b->source[b->part], component);
    return tarn_mix64(key + b->salt + ((uint64_t)b->part << 56));
}

bool tarn_blend_front(uint64_t set[TARN_BLEND_WAYS], uint64_t hash)
{
    int way = 0;
    while (way < WAYS - 1 && set[way] != hash)
        way++;
    bool found = set[way] == hash;
    memmove(set + 1, set, (size_t)way * sizeof *set);
    set[0] = hash;
    return found;
}

int tarn_blend_label(const char *path, const char *name)
{
    char line[512], found[256], class[64];
    int label = -1;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%255[^\t]\t%63s", found, class) == 2 && strcmp(found, name) == 0)
            for (int k = 0; k < TARN_WORKLOADS; k++)
                if (strcmp(tarn_workload_name((tarn_workload_class)k), class) == 0)
                    label = k;
    if (file != NULL)
        fclose(file);
    return label;
}

uint64_t tarn_blend_next(tarn_blend *b, uint32_t *component)
{
    uint64_t hash = draw(b, component);
    /* a cache that answers nearly everything lets something through at last */
    for (int tries = 0; b->front != NULL && tries < 1000 &&
                        tarn_blend_front(b->front + hash % b->sets * WAYS, hash);
         tries++)
        hash = draw(b, component);
    return hash;
}

/* ---- drawing ---- */

/* From `least` to `most`, even in the logarithm; or outside, by up to a factor of `beyond`. */
static double pick(struct tarn_rng *rng, tarn_blend_range range, double least, double most,
                   double beyond)
{
    double low = log(least), high = log(most), u = tarn_rng_double(rng);
    /* every other one: a corner where all are outside is hardly of its class any more */
    if (range == TARN_BLEND_INSIDE || tarn_rng_below(rng, 2) == 0)
        return exp(low + u * (high - low));
    return u < 0.5 ? exp(low - 2 * u * log(beyond)) : exp(high + (2 * u - 1) * log(beyond));
}

/* The same number of objects, but wanted in groups. */
static void draw_group(struct tarn_rng *rng, tarn_blend_range range, struct tarn_blend_part *part)
{
    part->group = pick(rng, range, 2, 24, 1.5);
    double groups = (double)part->objects / part->group;
    part->objects = groups < 32 ? 32 : (uint64_t)groups;
    double distance = (double)part->length / part->group;
    part->length = distance < 8 ? 8 : (uint64_t)distance;
    if (tarn_rng_below(rng, 2) == 0)
        part->run = part->group;
}

static void draw_part(struct tarn_rng *rng, tarn_blend_range range, uint32_t component,
                      struct tarn_blend_part *part)
{
    *part = (struct tarn_blend_part){
        .component = component, .weight = 1, .run = 1, .objects = 2, .length = 1, .group = 1};
    bool coin = tarn_rng_below(rng, 2) == 0;
    switch (component) {
    case ZIPF:
        part->objects = (uint64_t)pick(rng, range, 40, 150000, 1.5);
        part->alpha = pick(rng, range, 0.5, 1.5, 1.15);
        if (tarn_rng_below(rng, 5) == 0) {
            part->hot = pick(rng, range, 0.005, 0.2, 1.5);
            part->hot_share = 0.3 + 0.6 * tarn_rng_double(rng);
        } else if (tarn_rng_below(rng, 4) == 0)
            part->turnover = pick(rng, range, SLIDE, 20 * SLIDE, 1.5) / (double)part->objects;
        break;
    case SCAN:
        part->length = (uint64_t)pick(rng, range, 200, 60000, 1.5);
        part->run = (double)part->length;
        if (coin) { /* sequences that are read again */
            part->objects = (uint64_t)pick(rng, range, 8000, 200000, 1.5);
            part->active = (uint64_t)pick(rng, range, 24, 1000, 1.5);
            part->alpha = 0.8 * tarn_rng_double(rng);
            if (part->active > part->objects / SEQUENCE)
                part->active = part->objects / SEQUENCE;
            part->run = (double)part->objects / (double)part->active;
        }
        if (tarn_rng_below(rng, 3) == 0) /* beside the others, not instead */
            part->run = 1 + 15 * tarn_rng_double(rng);
        break;
    case LOOP:
        part->length = (uint64_t)pick(rng, range, 48, 100000, 1.5);
        part->run = coin ? 1 : pick(rng, range, 2, 1500, 1.5);
        break;
    case RECENCY:
        part->objects = (uint64_t)pick(rng, range, 128, 90000, 1.5);
        part->alpha = pick(rng, range, 0.7, 1.7, 1.1);
        part->fresh = pick(rng, range, 0.005, 0.35, 1.4);
        if (tarn_rng_below(rng, 3) == 0) {
            part->length = (uint64_t)pick(rng, range, 24, 8000, 1.5);
            part->spread = pick(rng, range, 1, 3.5, 1.2);
        }
        break;
    case BURST:
        part->objects = 2;
        part->active = (uint64_t)fmax(1, pick(rng, range, 1, 64.99, 1.5));
        part->length = (uint64_t)pick(rng, range, 5, 500, 1.5);
        if (part->length > LONGEST / part->active)
            part->length = LONGEST / part->active;
        break;
    }
    if ((component == ZIPF || component == RECENCY) && tarn_rng_below(rng, 5) == 0)
        draw_group(rng, range, part);
    if (part->spread > 0)
        part->fresh = fmax(part->fresh, fmin(DIVERSE / (double)part->length, 0.35));
}

/* A cache in front that leaves enough of each part to tell what it is; 0: none does. */
static uint64_t largest_front(const struct tarn_blend_spec *spec)
{
    uint64_t most = 1024;
    for (uint32_t i = 0; i < spec->part_count; i++) {
        const struct tarn_blend_part *part = &spec->part[i];
        uint64_t limit = part->component == ZIPF                         ? part->objects / 16
                         : part->component == LOOP                       ? part->length / 4
                         : part->spread > 0                              ? part->length / 8
                         : part->component == RECENCY && part->alpha < 1 ? part->objects / 64
                         : part->component == SCAN                       ? most
                                                   : 0; /* only new objects would be left */
        most = limit < most ? limit : most;
    }
    return most;
}

void tarn_blend_draw(struct tarn_rng *rng, tarn_blend_range range, uint32_t parts, int component,
                     struct tarn_blend_spec *spec)
{
    uint32_t order[TARN_BLEND_PARTS] = {ZIPF, SCAN, LOOP, RECENCY, BURST};
    *spec = (struct tarn_blend_spec){.seed = tarn_rng_next(rng), .part_count = parts};
    if (component >= 0) {
        order[0] = (uint32_t)component;
        order[component] = 0;
    }
    double sum = 0;
    for (uint32_t i = 0; i < parts; i++) {
        if (i > 0 || component < 0) {
            uint32_t j = i + tarn_rng_below(rng, TARN_BLEND_PARTS - i), swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        draw_part(rng, range, order[i], &spec->part[i]);
        /* even over the simplex */
        spec->part[i].weight = 0.02 - log(1 - tarn_rng_double(rng));
        sum += spec->part[i].weight;
    }
    for (uint32_t i = 0; i < parts; i++)
        spec->part[i].weight /= sum;
    if (tarn_rng_below(rng, 3) == 0)
        spec->noise = 0.05 * tarn_rng_double(rng);
    uint64_t front = largest_front(spec);
    if (front >= WAYS && tarn_rng_below(rng, 3) == 0)
        spec->front_cache = WAYS + (uint64_t)(tarn_rng_double(rng) * (double)(front - WAYS));
}

void tarn_blend_vary(struct tarn_rng *rng, tarn_blend_range range, struct tarn_blend_spec *spec)
{
    for (uint32_t i = 0, count = spec->part_count; i < count; i++) {
        if (spec->part_count == TARN_BLEND_SOURCES || tarn_rng_below(rng, 3) != 0)
            continue;
        struct tarn_blend_part *part = &spec->part[i], *twin = &spec->part[spec->part_count++];
        double share = 0.1 + 0.8 * tarn_rng_double(rng);
        draw_part(rng, range, part->component, twin);
        twin->weight = part->weight * share;
        part->weight -= twin->weight;
    }
    spec->turns = tarn_rng_below(rng, 4) == 0;
    if (tarn_rng_below(rng, 4) == 0) {
        spec->swing = 2 * tarn_rng_double(rng);
        spec->period = (uint64_t)pick(rng, range, 2000, 100000, 1.5);
    }
    uint64_t front = largest_front(spec);
    if (spec->front_cache > front)
        spec->front_cache = front >= WAYS ? front : 0;
}
