/* SPDX-License-Identifier: Apache-2.0 */
#include "width.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "engine_private.h"
#include "learn/heldout.h"

#define HAZARD_MULTIPLIES 450   /* a score's time behind the last layer, in multiply-adds */
#define NOMINAL_NS        30.0f /* a score where results mustn't depend on clocks */
#define LOOK_EVERY        8192  /* requests between two looks, or */
#define LOOK_PERIODS      0.5f  /* so many T, if that is more */
#define PORTION           2048  /* samples of the ring for each hold of the lock */
#define TIMED_SAMPLES     256
#define TIMED_ROUNDS      5

/* ---- the choice ---- */

static float work_of(const struct tarn_shape *s, uint32_t slice)
{
    float h1 = (float)TARN_SLICE_UNITS(slice, s->hidden1);
    float h2 = (float)TARN_SLICE_UNITS(slice, s->hidden2);
    float second = TARN_SLICE_EXITS(slice) ? 0 : h1 * h2;
    return (float)s->inputs * h1 + second + h2 * (float)s->outputs + HAZARD_MULTIPLIES;
}

uint32_t tarn_width_forms(const struct tarn_nested *nested, const struct tarn_shape *shape,
                          struct tarn_width_form forms[TARN_WIDTH_FORMS])
{
    uint32_t count = 0, widths = tarn_nested_count(nested);
    for (uint32_t exit = 0; exit <= nested->exits; exit++)
        for (uint32_t i = 0; i <= widths; i++) {
            uint32_t width = i == 0 ? 0 : nested->width[widths - i];
            uint32_t slice = TARN_SLICE(width, exit);
            forms[count++] = (struct tarn_width_form){
                .slice = slice,
                .work = work_of(shape, slice) / work_of(shape, 0),
                .excess = slice == 0 ? 0 : NAN,
                .error = slice == 0 ? 0 : NAN,
            };
        }
    return count;
}

/* ns for a nat of a victim's loss. */
static float nat_of(const struct tarn_width_view *v)
{
    float miss = v->miss_ns > 0 ? v->miss_ns : TARN_WIDTH_MISS_NS;
    return TARN_WIDTH_MISSES_A_NAT * miss / (v->pressure > 0 ? TARN_WIDTH_HURRY : 1);
}

/* ns a victim more than the whole network costs; NaN if nothing is known of it. */
static float price_of(const struct tarn_width_view *v, const struct tarn_width_form *form)
{
    return form->excess * nat_of(v) + (form->work - 1) * v->score_ns * TARN_WIDTH_SCORES;
}

uint32_t tarn_width_choose(const struct tarn_width_view *v)
{
    uint32_t best = v->now < v->count && !isnan(v->forms[v->now].excess) ? v->now : 0;
    float least = price_of(v, &v->forms[best]);
    for (uint32_t i = 0; i < v->count; i++) {
        const struct tarn_width_form *form = &v->forms[i];
        /* the whole is what the others are measured by: its own error is that of the one in use */
        float error = isnan(form->error) ? 0 : form->error;
        float price = price_of(v, form) + TARN_WIDTH_SURE * error * nat_of(v);
        if (i != v->now && price < least) {
            least = price;
            best = i;
        }
    }
    return best;
}

/* ---- the engine's ---- */

struct tarn_width {
    struct tarn_heldout heldout;
    struct tarn_width_form forms[TARN_WIDTH_FORMS];
    uint32_t count, now;
    struct tarn_nested nested; /* that the forms are of */
    float host_ns;
    uint64_t looked_at;         /* requests */
    uint64_t changes;           /* under the cache's lock */
    bool elastic;               /* what was live at the last look; under the cache's lock, */
    uint32_t pressure, pressed; /* as these: the slice under pressure */
};

tarn_status tarn_width_init(struct tarn_engine *e)
{
    e->learned->world.width = e->params.width;
    e->learned->world.exits = e->params.early_exit;
    e->width = tarn_alloc_zeroed(1, sizeof *e->width);
    return e->width != NULL ? TARN_OK : TARN_NO_MEMORY;
}

void tarn_width_free(struct tarn_engine *e)
{
    tarn_free(e->width);
    e->width = NULL;
}

/* Of the whole network, on this thread: the least of a few, some ten microseconds together. */
static float time_of_score(const tarn_model *model)
{
    static const float nothing[TARN_FEATURES * TARN_LANES];
    float scores[TARN_LANES], least = INFINITY;
    for (int round = 0; round < TIMED_ROUNDS; round++) {
        uint64_t start = tarn_clock_ns();
        for (int i = 0; i < TIMED_SAMPLES / TARN_LANES; i++)
            tarn_model_score(model, nothing, TARN_LANES, scores);
        least = fminf(least, (float)(tarn_clock_ns() - start) / TIMED_SAMPLES);
    }
    return least;
}

/* Another version may be elastic in another way. */
static void read_forms(struct tarn_engine *e)
{
    struct tarn_width *w = e->width;
    const tarn_model *live = e->versions.live->model;
    if (w->count > 0 && memcmp(&w->nested, &live->nested, sizeof w->nested) == 0)
        return;
    w->nested = live->nested;
    w->count = tarn_width_forms(&w->nested, &live->shape, w->forms);
    w->now = 0;
    w->looked_at = 0;
    if (w->count > 1 && w->host_ns <= 0)
        w->host_ns =
            e->params.background == TARN_BACKGROUND_STEPS ? NOMINAL_NS : time_of_score(live);
}

/* What each form loses, on samples that no training has seen. */
static void measure(struct tarn_engine *e, uint64_t now)
{
    struct tarn_width *w = e->width;
    const tarn_model *live = e->versions.live->model;
    tarn_cache_lock(e->cache);
    tarn_evictor_settle(&e->learned->live);
    tarn_heldout_begin(&w->heldout, &e->ring, TARN_HELDOUT_NEWEST, TARN_HELDOUT_MOST);
    bool more = true;
    while (more) {
        more = tarn_heldout_gather(&w->heldout, &e->ring, &live->shape, PORTION, now, &e->rng);
        tarn_cache_unlock(e->cache);
        tarn_cache_lock(e->cache);
    }
    tarn_cache_unlock(e->cache);
    if (w->heldout.count < TARN_HELDOUT_LEAST)
        return;
    for (uint32_t i = 1; i < w->count; i++) {
        struct tarn_heldout_result r =
            tarn_heldout_slice(&w->heldout, &live->shape, w->forms[i].slice, live->weights);
        w->forms[i].excess = r.finite ? (float)r.mean : INFINITY;
        w->forms[i].error = r.finite ? (float)(r.sd / sqrt(r.n)) : 0;
    }
}

/* Of the whole network's score, where rounds are scored. Not under the cache's lock. */
static float score_ns(struct tarn_engine *e)
{
    float ns = e->width->host_ns;
    if (e->score == NULL || e->params.background == TARN_BACKGROUND_STEPS)
        return ns;
    pthread_mutex_lock(&e->lookup_lock);
    if (e->calibration.score.device_ns > 0 && e->calibration.score.least != TARN_NEVER)
        ns = e->calibration.score.device_ns;
    pthread_mutex_unlock(&e->lookup_lock);
    return ns;
}

/* Under the cache's lock. */
static void use(struct tarn_engine *e, uint32_t slice)
{
    struct tarn_world *world = &e->learned->world;
    uint32_t before = TARN_SLICE(world->width, (uint32_t)world->exits);
    world->width = TARN_SLICE_WIDTH(slice);
    world->exits = TARN_SLICE_EXITS(slice);
    e->width->changes += slice != before;
}

/* What callers say that a miss costs them, on the mean; 0 if they don't. Under the cache's lock. */
static float told_ns(const struct tarn_engine *e)
{
    const struct tarn_world *world = &e->learned->world;
    return world->goal_cost && world->costs.seen > 0 ? world->costs.mean * 1000 : 0;
}

void tarn_width_look(struct tarn_engine *e)
{
    struct tarn_width *w = e->width;
    if (e->params.width > 0)
        return;
    read_forms(e);
    if (w->count < 2 && !w->elastic)
        return;
    tarn_cache_lock(e->cache);
    w->elastic = w->count > 1;
    uint64_t now = tarn_cache_now(e->cache);
    float miss_ns = told_ns(e);
    float every = fmaxf(LOOK_EVERY, LOOK_PERIODS * e->learned->live.period);
    tarn_cache_unlock(e->cache);
    if ((float)(now - w->looked_at) >= every) {
        w->looked_at = now;
        measure(e, now);
    }
    struct tarn_width_view view = {.forms = w->forms,
                                   .count = w->count,
                                   .now = w->now,
                                   .score_ns = score_ns(e),
                                   .miss_ns = miss_ns,
                                   .pressure = 1};
    uint32_t pressed = tarn_width_choose(&view);
    view.pressure = 0;
    uint32_t chosen = tarn_width_choose(&view);
    tarn_cache_lock(e->cache);
    w->now = w->pressure > 0 ? pressed : chosen;
    w->pressed = w->forms[pressed].slice;
    use(e, w->forms[w->now].slice);
    tarn_cache_unlock(e->cache);
}

void tarn_width_press(struct tarn_engine *e, uint32_t pressure)
{
    struct tarn_width *w = e->width;
    if (w == NULL)
        return;
    tarn_cache_lock(e->cache);
    w->pressure = pressure;
    /* what was chosen for this case at the last look; the next one takes it back */
    if (pressure > 0 && w->elastic && e->params.width == 0)
        use(e, w->pressed);
    tarn_cache_unlock(e->cache);
}

void tarn_width_get_stats(struct tarn_engine *e, struct tarn_engine_stats *stats)
{
    const tarn_model *live = e->versions.live->model;
    tarn_cache_lock(e->cache);
    const struct tarn_world *world = &e->learned->world;
    uint32_t slice = tarn_model_slice(live, world->width, world->exits);
    stats->width_changes = e->width->changes;
    tarn_cache_unlock(e->cache);
    stats->width = TARN_SLICE_UNITS(slice, live->shape.hidden1);
    stats->early_exit = TARN_SLICE_EXITS(slice);
}
