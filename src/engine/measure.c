/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From which size on the device is used. At the first start on a device nothing is known: fixed sizes
 * hold while a thread measures, which takes a second or two, and its results hold from then on.
 */
#include "engine_private.h"

#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/options.h"

#define BUDGET_MS 10000 /* a driver that compiles for longer is asked again at the next start */

static bool wanted(const struct tarn_engine *e)
{
    /* a replay gives the same results whatever was measured once */
    return e->on_device && e->params.background == TARN_BACKGROUND_THREAD &&
           e->info.type != TARN_DEVICE_VIRTUAL &&
           strcmp(tarn_option_get(TARN_OPTION_CALIBRATION), "off") != 0;
}

void tarn_measure_init(struct tarn_engine *e)
{
    const char *id = e->params.device;
    e->asked_for = id != NULL && strcmp(id, "auto") != 0;
    atomic_init(&e->lookup_least, TARN_LOOKUP_LEAST);
    atomic_init(&e->score_least, TARN_SCORE_LEAST);
    if (wanted(e))
        tarn_calibration_load(&e->info, e->params.cache_dir, &e->calibration);
}

/* Asked when the device is entered: training stays where it began until the device goes. */
bool tarn_measure_training_pays(const struct tarn_engine *e)
{
    const struct tarn_calibration *c = &e->calibration;
    return e->asked_for || !(c->parts & TARN_CALIBRATED_TRAIN) ||
           c->train.least <= TARN_TRAIN_STEPS;
}

/* A device that was asked for by its name is used even if it never won. */
static uint32_t least(const struct tarn_engine *e, const struct tarn_crossover *found,
                      uint32_t most, uint32_t otherwise)
{
    return found->least <= most || !e->asked_for ? found->least : otherwise;
}

void tarn_measure_apply(struct tarn_engine *e)
{
    const struct tarn_calibration *c = &e->calibration;
    if (c->parts & TARN_CALIBRATED_LOOKUP)
        atomic_store(&e->lookup_least, least(e, &c->lookup, TARN_LOOKUP_BATCH, TARN_LOOKUP_LEAST));
    if (c->parts & TARN_CALIBRATED_SCORE)
        atomic_store(&e->score_least, least(e, &c->score, TARN_SCORE_BATCH, TARN_SCORE_LEAST));
    if (e->lookup != NULL)
        tarn_lookup_set_least(e->lookup, atomic_load(&e->lookup_least));
    if ((c->parts & TARN_CALIBRATED_ENGINE) == TARN_CALIBRATED_ENGINE)
        atomic_store(&e->measured, true);
}

static void part_done(void *context, const struct tarn_calibration *calibration)
{
    struct tarn_engine *e = context;
    pthread_mutex_lock(&e->lookup_lock);
    e->calibration = *calibration;
    tarn_measure_apply(e);
    pthread_mutex_unlock(&e->lookup_lock);
}

static void *measure(void *context)
{
    struct tarn_engine *e = context;
    struct tarn_error error = {0};
    /* the engine's own is written in part_done() only, and by no one else */
    struct tarn_calibration calibration = e->calibration;
    tarn_device *device = NULL;
    /* On Linux a thread has a priority of its own: whoever serves requests comes first. */
    setpriority(PRIO_PROCESS, 0, 10);
    tarn_status status = tarn_device_open(
        &(struct tarn_device_params){.id = e->info.id, .cache_dir = e->params.cache_dir}, &device,
        &error);
    if (status == TARN_OK)
        status = tarn_calibrate(device,
                                &(struct tarn_calibrate_params){
                                    .parts = TARN_CALIBRATED_ENGINE,
                                    .cache_dir = e->params.cache_dir,
                                    .budget_ms = BUDGET_MS,
                                    .stop = &e->stop_measuring,
                                    .progress = part_done,
                                    .context = e,
                                },
                                &calibration, &error);
    tarn_device_close(&device);
    if (status == TARN_OK)
        tarn_log(TARN_LOG_INFO, "engine: measured %s in %.0f ms: lookups from %u keys on",
                 e->info.id, (double)calibration.spent_ms, atomic_load(&e->lookup_least));
    else if (!atomic_load(&e->stop_measuring))
        tarn_log(TARN_LOG_WARNING, "engine: %s", error.message);
    return NULL;
}

tarn_status tarn_measure_start(struct tarn_engine *e)
{
    if (!wanted(e) || e->device == NULL ||
        (e->calibration.parts & TARN_CALIBRATED_ENGINE) == TARN_CALIBRATED_ENGINE)
        return TARN_OK;
    if (pthread_create(&e->measure, NULL, measure, e) != 0)
        return TARN_NO_MEMORY;
    e->measure_runs = true;
    return TARN_OK;
}

void tarn_measure_stop(struct tarn_engine *e)
{
    if (!e->measure_runs)
        return;
    atomic_store(&e->stop_measuring, true);
    pthread_join(e->measure, NULL);
    e->measure_runs = false;
}

void tarn_engine_get_crossovers(tarn_engine *e, struct tarn_engine_crossovers *crossovers)
{
    pthread_mutex_lock(&e->background_lock);
    *crossovers = (struct tarn_engine_crossovers){
        .measured = atomic_load(&e->measured),
        .lookup_keys = e->lookup != NULL ? atomic_load(&e->lookup_least) : UINT32_MAX,
        .score_candidates = e->score != NULL ? atomic_load(&e->score_least) : UINT32_MAX,
        .training = e->trains_on_device,
    };
    pthread_mutex_unlock(&e->background_lock);
}
