/* SPDX-License-Identifier: Apache-2.0 */
#include "search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "collect.h"
#include "replay.h"

enum { FIFTHS = 5, USUAL_TRIALS = 12, SEEDS = 3 };

#define LEAST_OBJECTS 64 /* of a cache that says anything */
#define ERRORS        2.0

static const double sizes[] = {0.1, 0.01};
#define SIZES (sizeof sizes / sizeof *sizes)

/* Inputs that belong together (docs/eviction.md): one of these groups, or none, is masked. */
#define RATES   (0xfu << 18)
#define COHORTS (0x1fu << 13 | 3u << 25)
static const uint32_t masks[] = {0, 0, 0, RATES, COHORTS};

/* Misses in the fourth and the last fifth. */
struct parts {
    uint64_t select, judge;
    bool known;
};

struct search {
    const struct tarn_trace_data *const *traces;
    size_t count;
    const struct tarn_search_params *params;
    struct tarn_collected samples;
    struct tarn_rng rng;
    double done, total; /* replays */
    struct parts
        *general; /* [count][SIZES][1 + SEEDS] what the general model did, once it is known */
};

static void tell(struct search *s, double more)
{
    s->done += more;
    if (s->params->progress != NULL)
        s->params->progress(s->params->user, s->done < s->total ? s->done / s->total : 1);
}

/* ---- replays ---- */

/* A cache that holds less than LEAST_OBJECTS says nothing: `limit->capacity` is 0 then. */
static void limit_of(const struct tarn_trace_data *trace, double size,
                     struct tarn_replay_limit *limit)
{
    double objects = (double)trace->objects * size;
    *limit = (struct tarn_replay_limit){.text = "a part", .objects = trace->unit_sizes};
    limit->capacity = (uint64_t)(trace->unit_sizes ? objects : (double)trace->footprint * size);
    if (objects < LEAST_OBJECTS)
        limit->capacity = 0;
}

static tarn_status replay(const struct tarn_trace_data *trace,
                          const struct tarn_replay_limit *limit, const tarn_model *model,
                          const struct tarn_set_settings *settings, uint64_t seed,
                          struct parts *parts, struct tarn_replay_stats *stats,
                          struct tarn_error *error)
{
    tarn_model_sets *sets = NULL;
    struct tarn_replay_result result;
    tarn_status status = tarn_model_sets_create(&sets);
    if (status != TARN_OK)
        return tarn_fail(error, status, "search: out of memory");
    status = tarn_model_sets_add(sets, "general", model, settings, error);
    if (status == TARN_OK)
        status = tarn_replay_run(trace, "learned", limit,
                                 &(struct tarn_replay_params){
                                     .learning.engine = {.device = "host", .sets = sets},
                                     .run = {.windows = FIFTHS, .seed = seed},
                                 },
                                 &result, error);
    tarn_model_sets_destroy(&sets);
    if (status != TARN_OK)
        return status;
    *parts = (struct parts){0};
    if (result.run.window_count == FIFTHS)
        *parts = (struct parts){result.run.windows[3].misses, result.run.windows[4].misses, true};
    if (stats != NULL)
        *stats = result.stats;
    tarn_replay_result_clear(&result);
    return TARN_OK;
}

tarn_status tarn_search_classify(const struct tarn_trace_data *trace,
                                 const struct tarn_search_params *params,
                                 tarn_workload_class *class, double *confidence,
                                 struct tarn_error *error)
{
    struct tarn_replay_limit limit = {.text = "64obj", .capacity = 64, .objects = true};
    struct tarn_replay_stats stats = {0};
    struct parts parts;
    tarn_status status = replay(trace, &limit, params->general, &params->settings, params->seed,
                                &parts, &stats, error);
    if (status != TARN_OK)
        return status;
    *class = stats.engine.workload_overall.top;
    if (confidence != NULL)
        *confidence = (double)stats.engine.workload_overall.confidence;
    return TARN_OK;
}

/* The mean of the logarithms of misses over the general model's, and its standard error. */
struct score {
    double sum, squares;
    uint32_t cells;
};

static void add_cell(struct score *score, uint64_t misses, uint64_t general)
{
    double x = log(((double)misses + 1) / ((double)general + 1));
    score->sum += x;
    score->squares += x * x;
    score->cells++;
}

static double mean_of(const struct score *score)
{
    return score->cells > 0 ? expm1(score->sum / score->cells) : NAN;
}

static double error_of(const struct score *score)
{
    double n = score->cells, mean = score->sum / n;
    double variance = n > 1 ? (score->squares / n - mean * mean) * n / (n - 1) : NAN;
    return sqrt(fmax(variance, 0) / n);
}

/* Both on the same traces, sizes [first, end) and seeds, of which the parts that `judge` says count. */
static tarn_status compare(struct search *s, const tarn_model *model,
                           const struct tarn_set_settings *settings, size_t first, size_t end,
                           uint32_t seeds, bool judge, struct score *score,
                           struct tarn_error *error)
{
    *score = (struct score){0};
    for (size_t t = 0; t < s->count; t++)
        for (size_t i = first; i < end; i++)
            for (uint32_t k = 0; k < seeds; k++) {
                struct tarn_replay_limit limit;
                struct parts own,
                    *general = &s->general[(t * SIZES + i) * (1 + SEEDS) + (judge ? 1 + k : 0)];
                uint64_t seed = tarn_mix64(s->params->seed + 100 * judge + k);
                limit_of(s->traces[t], sizes[i], &limit);
                tell(s, 1);
                if (limit.capacity == 0)
                    continue;
                tarn_status status =
                    replay(s->traces[t], &limit, model, settings, seed, &own, NULL, error);
                if (status == TARN_OK && !general->known)
                    status = replay(s->traces[t], &limit, s->params->general, &s->params->settings,
                                    seed, general, NULL, error);
                if (status != TARN_OK)
                    return status;
                add_cell(score, judge ? own.judge : own.select,
                         judge ? general->judge : general->select);
            }
    return TARN_OK;
}

/* ---- what is tried ---- */

static float one_of(struct tarn_rng *rng, const float *values, uint32_t count)
{
    return values[tarn_rng_below(rng, count)];
}

static void draw(struct search *s, struct tarn_set_settings *t)
{
    static const float factors[] = {0.5f, 1, 1, 2, 4}, shares[] = {0, 0.1f, 0.1f, 0.3f},
                       mix_rates[] = {0.02f, 0.05f, 0.1f}, half_lives[] = {2, 4, 8},
                       networks[] = {0.25f, 0.5f, 0.7f, 0.9f}, rates[] = {3e-4f, 1e-3f, 3e-3f},
                       steps[] = {2000, 6000, 12000};
    struct tarn_rng *rng = &s->rng;
    *t = s->params->settings;
    t->rate = one_of(rng, factors, 5);
    t->pace = one_of(rng, factors, 4);
    t->replayed = one_of(rng, shares, 4);
    t->mix_rate = one_of(rng, mix_rates, 3);
    t->mix_half_life = one_of(rng, half_lives, 3);
    t->network = one_of(rng, networks, 4);
    t->masked = masks[tarn_rng_below(rng, sizeof masks / sizeof *masks)];
    t->steps = (uint32_t)one_of(rng, steps, 3);
    t->step_rate = one_of(rng, rates, 3);
}

/* An elastic model's widths: its sets are cut like it. */
static size_t widths_of(const struct tarn_model_info *info, uint32_t widths[TARN_MODEL_NESTED + 1])
{
    size_t count = 0;
    while (count < TARN_MODEL_NESTED && info->nested[count] > 0) {
        widths[count] = info->nested[count];
        count++;
    }
    if (count > 0)
        widths[count++] = info->hidden1;
    return count;
}

/* The general weights, without the masked inputs, trained further as the settings say. */
static tarn_status make(struct search *s, const struct tarn_set_settings *t, const char *provenance,
                        tarn_model **model, struct tarn_error *error)
{
    tarn_model_sets *sets = NULL;
    struct tarn_set_info info;
    struct tarn_model_info general;
    uint32_t widths[TARN_MODEL_NESTED + 1];
    tarn_status status = tarn_model_sets_create(&sets);
    tarn_model_get_info(s->params->general, &general);
    size_t width_count = widths_of(&general, widths);
    if (status == TARN_OK) /* which takes the masked weights away */
        status = tarn_model_sets_add(sets, "general", s->params->general, t, error);
    if (status == TARN_OK) {
        tarn_model_sets_get(sets, 0, &info);
        status = tarn_model_pretrain(
            &(struct tarn_model_pretrain_params){
                .runs = s->samples.runs,
                .run_count = s->samples.run_count,
                .steps = t->steps,
                .rate = t->step_rate,
                .seed = s->params->seed,
                .start = info.model,
                .widths = widths,
                .width_count = width_count,
                .early_exit = general.early_exit,
                .device = s->params->device,
                .masked = t->masked,
                .provenance = provenance,
            },
            model, error);
    }
    tarn_model_sets_destroy(&sets);
    return status;
}

/* ---- the search ---- */

/* The first three fifths of a trace, for training: what comes later isn't known there. */
static struct tarn_trace_data *first_part(const struct tarn_trace_data *trace)
{
    struct tarn_trace_data *part = malloc(sizeof *part);
    size_t count = trace->count / FIFTHS * 3;
    uint32_t *next = malloc((count + 1) * sizeof *next);
    if (part == NULL || next == NULL) {
        free(part);
        free(next);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        next[i] = trace->next[i] < count ? trace->next[i] : UINT32_MAX;
    *part = *trace;
    part->count = count;
    part->next = next;
    return part;
}

static tarn_status collect(struct search *s, struct tarn_error *error)
{
    struct tarn_trace_data **parts = calloc(s->count, sizeof *parts);
    tarn_status status = parts != NULL ? TARN_OK : TARN_NO_MEMORY;
    for (size_t i = 0; i < s->count && status == TARN_OK; i++)
        status = (parts[i] = first_part(s->traces[i])) != NULL ? TARN_OK : TARN_NO_MEMORY;
    if (status == TARN_OK)
        status = tarn_collect((const struct tarn_trace_data *const *)parts, s->count,
                              &(struct tarn_collect_params){
                                  .model = s->params->general,
                                  .threads = s->params->threads,
                                  .seed = s->params->seed,
                              },
                              &s->samples, error);
    else
        tarn_fail(error, status, "search: out of memory");
    for (size_t i = 0; i < s->count && parts != NULL; i++) {
        if (parts[i] != NULL)
            free(parts[i]->next);
        free(parts[i]);
    }
    free(parts);
    if (status == TARN_OK && s->samples.run_count == 0) {
        tarn_collected_free(&s->samples);
        status = tarn_fail(error, TARN_INVALID, "search: the traces are too short");
    }
    return status;
}

static tarn_status try_all(struct search *s, struct tarn_search_result *r, struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    for (uint32_t i = 0; i < r->trials && status == TARN_OK; i++) {
        struct tarn_search_trial *trial = &r->trial[i];
        tarn_model *model = NULL;
        struct score score;
        *trial = (struct tarn_search_trial){s->params->settings, NAN, NAN};
        if (i == 0) /* the plain way: the general settings, weights trained further */
            trial->settings.steps = 6000, trial->settings.step_rate = 1e-3f;
        else
            draw(s, &trial->settings);
        status = make(s, &trial->settings, NULL, &model, error);
        if (status == TARN_OK)
            status = compare(s, model, &trial->settings, 0, 1, 1, false, &score, error);
        trial->first = status == TARN_OK ? mean_of(&score) : NAN;
        tarn_model_destroy(&model);
    }
    return status;
}

/* The lowest that hasn't come so far yet. */
static uint32_t next_best(const struct tarn_search_result *r)
{
    uint32_t best = r->trials;
    for (uint32_t i = 0; i < r->trials; i++)
        if (isnan(r->trial[i].second) && !isnan(r->trial[i].first) &&
            (best == r->trials || r->trial[i].first < r->trial[best].first))
            best = i;
    return best;
}

static tarn_status halve(struct search *s, struct tarn_search_result *r, struct tarn_error *error)
{
    tarn_status status = TARN_OK;
    for (uint32_t k = 0; k < (r->trials + 2) / 3 && status == TARN_OK; k++) {
        uint32_t i = next_best(r);
        tarn_model *model = NULL;
        struct score score;
        if (i == r->trials)
            break;
        status = make(s, &r->trial[i].settings, NULL, &model, error);
        if (status == TARN_OK)
            status = compare(s, model, &r->trial[i].settings, 0, SIZES, 1, false, &score, error);
        tarn_model_destroy(&model);
        r->trial[i].second = status == TARN_OK ? mean_of(&score) : NAN;
        if (k == 0 || r->trial[i].second < r->trial[r->best].second)
            r->best = i;
    }
    return status;
}

static char *describe(const struct search *s, const struct tarn_search_result *r)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);
    if (file == NULL)
        return NULL;
    fprintf(file, "%s", s->params->provenance != NULL ? s->params->provenance : "");
    for (size_t i = 0; i < s->count; i++)
        fprintf(file, "%s: %zu requests, %u objects\n", s->traces[i]->name, s->traces[i]->count,
                (unsigned)s->traces[i]->objects);
    fprintf(
        file,
        "%u trials, the best %+.2f %% of misses; in the last fifth %+.2f %% +- %.2f, %u cells\n",
        (unsigned)r->trials, 100 * r->trial[r->best].second, 100 * r->misses, 100 * r->error,
        (unsigned)r->cells);
    return fclose(file) == 0 ? text : NULL;
}

static tarn_status judge(struct search *s, struct tarn_search_result *r, struct tarn_error *error)
{
    const struct tarn_set_settings *settings = &r->trial[r->best].settings;
    struct score score;
    tarn_model *model = NULL;
    tarn_status status = make(s, settings, NULL, &model, error);
    if (status == TARN_OK)
        status = compare(s, model, settings, 0, SIZES, SEEDS, true, &score, error);
    tarn_model_destroy(&model);
    if (status != TARN_OK)
        return status;
    r->misses = mean_of(&score);
    r->error = error_of(&score);
    r->cells = score.cells;
    r->kept = score.cells > 1 && score.sum / score.cells < -ERRORS * r->error;
    char *text = describe(s, r);
    if (text == NULL)
        return tarn_fail(error, TARN_NO_MEMORY, "search: out of memory");
    status =
        make(s, settings, text, &r->model, error); /* the same once more, with what is known now */
    free(text);
    return status;
}

tarn_status tarn_search_run(const struct tarn_trace_data *const *traces, size_t count,
                            const struct tarn_search_params *params, struct tarn_search_result *r,
                            struct tarn_error *error)
{
    struct search s = {.traces = traces, .count = count, .params = params};
    *r = (struct tarn_search_result){0};
    r->trials = params->trials > 0 ? params->trials : USUAL_TRIALS;
    r->trials = r->trials < TARN_SEARCH_TRIALS ? r->trials : TARN_SEARCH_TRIALS;
    double n = (double)count;
    s.total = n * (r->trials + (r->trials + 2) / 3 * SIZES + SIZES * SEEDS);
    tarn_rng_seed(&s.rng, params->seed ^ 0x736561726368u);
    s.general = calloc(count * SIZES * (1 + SEEDS) + 1, sizeof *s.general);
    tarn_status status = s.general != NULL
                             ? collect(&s, error)
                             : tarn_fail(error, TARN_NO_MEMORY, "search: out of memory");
    if (status != TARN_OK) {
        free(s.general);
        return status;
    }
    status = try_all(&s, r, error);
    if (status == TARN_OK && next_best(r) == r->trials)
        status = tarn_fail(error, TARN_INVALID, "search: the traces have too few objects");
    if (status == TARN_OK)
        status = halve(&s, r, error);
    if (status == TARN_OK)
        status = judge(&s, r, error);
    tarn_collected_free(&s.samples);
    free(s.general);
    return status;
}
