/* SPDX-License-Identifier: Apache-2.0 */
#include "scene.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

#define KEYS_OF_A_SOURCE ((uint64_t)1 << 44)
#define NEW_KEYS         ((uint64_t)1 << 40)
#define FORGOTTEN        4 /* gaps after which an object that is due isn't wanted any more */

/* What one kind of request asks for. */
struct tarn_scene_source {
    uint8_t tag;
    float share[TARN_SCENE_PHASES]; /* of the requests, in each phase */
    float alpha, catalog; /* popular objects: how skewed, how many (of --objects); 0: none */
    float wanted, gap; /* new objects: how often on the mean, and after how long (of --objects) */
    bool steady;       /* always after that long */
    float size;        /* times the usual one */
};

struct tarn_scene_plan {
    const char *name;
    unsigned sources, phases;
    struct tarn_scene_source source[TARN_SCENE_SOURCES];
};

static const struct tarn_scene_plan plans[] = {
    /* quotes and one-off queries; news that many read at once; portfolios valued again and again */
    {"market",
     6,
     4, /* normal, volatile, normal, crisis */
     {
         {1, {.55f, .15f, .55f, .10f}, .9f, 1, 0, 0, false, 1},
         {1, {.45f, .10f, .45f, .05f}, 0, 0, 1, 0, false, 1},
         {2, {0, .45f, 0, .10f}, 0, 0, 6, .05f, false, 2},
         {2, {0, .30f, 0, .05f}, 1.2f, .1f, 0, 0, false, 1},
         {3, {0, 0, 0, .45f}, 0, 0, 8, .1f, true, 1},
         {3, {0, 0, 0, .25f}, 0, 0, 1, 0, false, 1},
     }},
    /* listings that nobody asks for again, product pages; carts that live for one purchase */
    {"shop",
     4,
     2, /* a quiet time and a sale */
     {
         {1, {.40f, .20f}, .9f, 1, 0, 0, false, 1},
         {1, {.45f, .25f}, 0, 0, 1, 0, false, 2},
         {2, {.10f, .45f}, 0, 0, 6, .08f, false, .5f},
         {2, {.05f, .10f}, 1.1f, .1f, 0, 0, false, .5f},
     }},
    /* what dashboards show, what is only stored; what an incident makes people read over and over */
    {"sensors",
     4,
     4, /* normal, normal, anomaly, normal */
     {
         {1, {.45f, .45f, .20f, .45f}, .8f, .5f, 0, 0, false, 1},
         {1, {.55f, .50f, .25f, .50f}, 0, 0, 1, 0, false, 1},
         {2, {0, .05f, .40f, .05f}, 0, 0, 10, .08f, false, 1},
         {2, {0, 0, .15f, 0}, 0, 0, 5, .2f, true, 4},
     }},
    /* clips that few see twice; a catalog; segments that thousands of screens fetch at once */
    {"streaming",
     5,
     3, /* day, evening, night */
     {
         {1, {.35f, .25f, .15f}, 0, 0, 1, 0, false, .5f},
         {1, {.15f, .10f, .10f}, 1, .5f, 0, 0, false, .5f},
         {2, {.35f, .15f, .45f}, .8f, 1, 0, 0, false, 1},
         {3, {.10f, .40f, .05f}, 0, 0, 12, .03f, false, 4},
         {3, {.05f, .10f, .25f}, 0, 0, 3, .35f, false, 4},
     }},
};

const struct tarn_scene_plan *tarn_scene_find(const char *name)
{
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++)
        if (strcmp(plans[i].name, name) == 0)
            return &plans[i];
    return NULL;
}

bool tarn_scene_init(struct tarn_scene *scene, const struct tarn_scene_plan *plan, uint64_t objects,
                     uint64_t requests, uint64_t rounds, uint64_t seed)
{
    uint64_t parts = rounds * plan->phases;
    *scene = (struct tarn_scene){.plan = plan, .objects = objects};
    scene->period = requests / parts > 0 ? requests / parts : 1;
    tarn_rng_seed(&scene->rng, tarn_splitmix64(&seed));
    for (unsigned i = 0; i < plan->sources; i++) {
        const struct tarn_scene_source *s = &plan->source[i];
        double catalog = ceil((double)objects * (double)s->catalog);
        scene->source[i].base = i * KEYS_OF_A_SOURCE + 1;
        if (catalog > 0)
            tarn_zipf_init(&scene->source[i].zipf, (uint64_t)catalog, (double)s->alpha);
        if (s->wanted <= 1)
            continue;
        /* as many wait as fit between two requests for one of them, and some */
        scene->source[i].room = (uint64_t)ceil((double)objects * (double)s->gap * 2) + 64;
        scene->source[i].visit = tarn_alloc(scene->source[i].room * sizeof *scene->source[i].visit);
        if (scene->source[i].visit == NULL) {
            tarn_scene_free(scene);
            return false;
        }
    }
    return true;
}

void tarn_scene_free(struct tarn_scene *scene)
{
    for (unsigned i = 0; i < TARN_SCENE_SOURCES; i++)
        tarn_free(scene->source[i].visit);
    *scene = (struct tarn_scene){0};
}

/* ---- what is to be wanted again ---- */

static void sift_down(struct tarn_visit *heap, uint64_t count, struct tarn_visit moved)
{
    uint64_t i = 0;
    for (uint64_t child = 1; child < count; child = 2 * i + 1) {
        child += child + 1 < count && heap[child + 1].due < heap[child].due;
        if (heap[child].due >= moved.due)
            break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = moved;
}

static void take_first(struct tarn_scene *scene, unsigned i)
{
    struct tarn_visit *heap = scene->source[i].visit;
    uint64_t count = --scene->source[i].visits;
    if (count > 0)
        sift_down(heap, count, heap[count]);
}

static void put_visit(struct tarn_scene *scene, unsigned i, const struct tarn_visit *visit)
{
    struct tarn_visit *heap = scene->source[i].visit;
    if (scene->source[i].visits == scene->source[i].room)
        return; /* more than anybody can want at a time */
    uint64_t at = scene->source[i].visits++;
    for (; at > 0 && heap[(at - 1) / 2].due > visit->due; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = *visit;
}

static uint64_t gap_of(struct tarn_scene *scene, const struct tarn_scene_source *s)
{
    double mean = (double)scene->objects * (double)s->gap;
    double gap = s->steady ? mean : -log(1 - tarn_rng_double(&scene->rng)) * mean;
    return (uint64_t)gap + 1;
}

/* One that is due, or a new one. */
static uint64_t next_visit(struct tarn_scene *scene, unsigned i)
{
    const struct tarn_scene_source *s = &scene->plan->source[i];
    struct tarn_visit visit = {.left = 0};
    uint64_t late = (uint64_t)((double)scene->objects * (double)s->gap * FORGOTTEN);
    while (scene->source[i].visits > 0 && scene->source[i].visit[0].due + late < scene->count)
        take_first(scene, i);
    if (scene->source[i].visits > 0 && scene->source[i].visit[0].due <= scene->count) {
        visit = scene->source[i].visit[0];
        take_first(scene, i);
        visit.left--;
    } else {
        /* geometric from 1 on: how often an object is wanted isn't known beforehand */
        double u = 1 - tarn_rng_double(&scene->rng);
        double more = s->wanted > 1 ? log(u) / log(1 - 1 / (double)s->wanted) : 0;
        visit.key = scene->source[i].base + NEW_KEYS + scene->source[i].fresh++;
        visit.left = (uint32_t)more;
    }
    if (visit.left > 0) {
        visit.due = scene->count + gap_of(scene, s);
        put_visit(scene, i, &visit);
    }
    return visit.key;
}

/* ---- requests ---- */

static unsigned choose(struct tarn_scene *scene)
{
    const struct tarn_scene_plan *plan = scene->plan;
    unsigned phase = (unsigned)(scene->count / scene->period % plan->phases), last = 0;
    double u = tarn_rng_double(&scene->rng);
    for (unsigned i = 0; i < plan->sources; i++) {
        double share = (double)plan->source[i].share[phase];
        if (share > 0 && u < share)
            return i;
        last = share > 0 ? i : last;
        u -= share;
    }
    return last; /* rounding */
}

void tarn_scene_next(struct tarn_scene *scene, struct tarn_scene_request *request)
{
    unsigned i = choose(scene);
    const struct tarn_scene_source *s = &scene->plan->source[i];
    request->tag = s->tag;
    request->size = (double)s->size;
    if (s->catalog > 0)
        request->key =
            scene->source[i].base + tarn_zipf_next(&scene->source[i].zipf, &scene->rng) - 1;
    else
        request->key = next_visit(scene, i);
    scene->count++;
}
