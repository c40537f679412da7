/* SPDX-License-Identifier: Apache-2.0 */
/* The engine as a whole, on generated workloads: what it gains, repeats, stops, and does on a device. */
#include "../check.h"

#include <math.h>
#include <stdatomic.h>
#include <time.h>

#include "base/memory.h"
#include "engine/engine_private.h"
#include "gpu/backend.h"
#include "trace/gen.h"

#define REQUESTS 120000
#define OBJECTS  900

static uint64_t keys[REQUESTS];

/* Popular objects, and scans over ones that come once: what recency gets wrong. */
static bool make_keys(uint64_t objects, uint64_t seed)
{
    static const char *const settings[] = {"share=0.4", "alpha=0.8"};
    struct tarn_request requests[256];
    tarn_gen *gen = NULL;
    size_t count = 0, n;
    if (tarn_gen_create(&(struct tarn_gen_params){.kind = "scan",
                                                  .requests = REQUESTS,
                                                  .objects = objects,
                                                  .seed = seed,
                                                  .settings = settings,
                                                  .setting_count = 2},
                        &gen, NULL) != TARN_OK)
        return false;
    while ((n = tarn_gen_read(gen, requests, 256)) > 0)
        for (size_t i = 0; i < n; i++)
            keys[count++] = requests[i].key;
    tarn_gen_destroy(&gen);
    return count == REQUESTS;
}

static bool use(tarn_cache *cache, uint64_t key, uint32_t slot)
{
    size_t room = 0;
    if (tarn_cache_get_at(cache, &key, sizeof key, slot, NULL, &room) == TARN_OK)
        return true;
    CHECK(tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1}) == TARN_OK);
    return false;
}

static uint64_t lru_hits(uint64_t objects)
{
    tarn_cache *cache = NULL;
    uint64_t hits = 0;
    CHECK(tarn_cache_create(&(struct tarn_cache_params){.objects = objects}, &cache) == TARN_OK);
    for (size_t i = 0; i < REQUESTS; i++)
        hits += use(cache, keys[i], TARN_SLOT_UNKNOWN);
    tarn_cache_destroy(&cache);
    return hits;
}

static tarn_engine *open_engine(const char *device, uint64_t objects, uint64_t seed,
                                tarn_background background)
{
    tarn_engine *engine = NULL;
    struct tarn_error error;
    tarn_engine_create(
        &(struct tarn_engine_params){
            .objects = objects, .device = device, .background = background, .seed = seed},
        &engine, &error);
    return engine;
}

/* Requests [first, end), looked up in batches ahead of time where there is a device. */
static uint64_t serve(tarn_engine *engine, size_t first, size_t end, uint64_t *trail)
{
    enum { BATCH = 2048 };
    static uint32_t slots[BATCH];
    static const void *names[BATCH];
    static size_t sizes[BATCH];
    tarn_cache *cache = tarn_engine_cache(engine);
    bool ahead = tarn_engine_device(engine)->type != TARN_DEVICE_HOST;
    uint64_t hits = 0;
    for (size_t i = first; i < end; i++) {
        if (ahead && (i - first) % BATCH == 0) {
            size_t n = end - i < BATCH ? end - i : BATCH;
            for (size_t k = 0; k < n; k++) {
                names[k] = &keys[i + k];
                sizes[k] = sizeof keys[0];
            }
            CHECK(tarn_engine_lookup(engine, names, sizes, n, slots) == TARN_OK);
        }
        bool hit = use(cache, keys[i], ahead ? slots[(i - first) % BATCH] : TARN_SLOT_UNKNOWN);
        tarn_engine_step(engine);
        hits += hit;
        if (trail != NULL)
            *trail = (*trail ^ hit) * 0x100000001b3u;
    }
    return hits;
}

static struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

static uint64_t train_steps(tarn_engine *engine)
{
    return stats_of(engine).train_steps;
}

static void learned_beats_lru(void)
{
    REQUIRE(make_keys(20000, 1));
    uint64_t lru = REQUESTS - lru_hits(OBJECTS);
    tarn_engine *engine = open_engine("host", OBJECTS, 1, TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    uint64_t learned = REQUESTS - serve(engine, 0, REQUESTS, NULL);
    printf("# misses: lru %.4f, learned %.4f\n", (double)lru / REQUESTS,
           (double)learned / REQUESTS);
    CHECK((double)learned < 0.93 * (double)lru);
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK(stats.train_steps > REQUESTS / 125 / 2 && stats.train_steps <= REQUESTS / 125);
    CHECK(stats.rounds > 0 && stats.scores > stats.rounds && stats.rounds_on_device == 0);
    CHECK(stats.samples > 10000 && stats.loss > 0 && stats.loss < 10);
    CHECK(stats.memory > 0 && stats.model_bytes > TARN_NET_PARAMETERS * 4);
    float sum = 0;
    CHECK(stats.expert[3] != NULL && stats.expert[4] == NULL);
    for (int k = 0; k < 4; k++) {
        CHECK(stats.expert[k] != NULL && stats.weight[k] >= 0);
        sum += stats.weight[k];
    }
    CHECK(fabsf(sum - 1) < 1e-4f);
    tarn_engine_destroy(&engine);
    CHECK(engine == NULL);
}

static void the_same_seed_repeats_everything(void)
{
    REQUIRE(make_keys(20000, 2));
    uint64_t trail[3], hits[3];
    tarn_model *model[3] = {NULL};
    for (int i = 0; i < 3; i++) {
        tarn_engine *engine = open_engine("host", OBJECTS, i == 2 ? 8 : 7, TARN_BACKGROUND_STEPS);
        REQUIRE(engine != NULL);
        trail[i] = 1;
        hits[i] = serve(engine, 0, 40000, &trail[i]);
        CHECK(tarn_engine_copy_model(engine, &model[i]) == TARN_OK);
        tarn_engine_destroy(&engine);
    }
    size_t size = TARN_NET_PARAMETERS * sizeof(float);
    CHECK(trail[0] == trail[1] && hits[0] == hits[1]);
    CHECK(memcmp(model[0]->weights, model[1]->weights, size) == 0);
    CHECK(trail[0] != trail[2]);
    CHECK(memcmp(model[0]->weights, model[2]->weights, size) != 0);
    for (int i = 0; i < 3; i++)
        tarn_model_destroy(&model[i]);
}

static void check_stopping(const char *device)
{
    REQUIRE(make_keys(20000, 3));
    tarn_engine *engine = open_engine(device, OBJECTS, 1, TARN_BACKGROUND_STEPS);
    if (engine == NULL)
        SKIP("no such device");
    serve(engine, 0, 20000, NULL);
    tarn_engine_set_training(engine, false);
    serve(engine, 20000, 24000, NULL); /* what was in flight may end */
    uint64_t before = train_steps(engine), rounds = stats_of(engine).rounds;
    CHECK(before > 0);
    CHECK(serve(engine, 24000, 60000, NULL) > 5000);
    CHECK_NUMBER(train_steps(engine), before);
    CHECK(stats_of(engine).rounds > rounds);
    tarn_engine_set_training(engine, true);
    serve(engine, 60000, 100000, NULL);
    CHECK(train_steps(engine) > before + 100);
    tarn_engine_destroy(&engine);
}

static void training_can_be_stopped(void)
{
    check_stopping("host");
}

static void training_can_be_stopped_on_a_device(void)
{
    check_stopping("opencl");
}

static void a_model_can_be_kept_as_it_is(void)
{
    REQUIRE(make_keys(20000, 3));
    tarn_engine *engine = NULL;
    tarn_model *start = NULL, *end = NULL;
    REQUIRE(tarn_model_load_default(&start, NULL) == TARN_OK);
    struct tarn_engine_params params = {.objects = OBJECTS,
                                        .device = "host",
                                        .background = TARN_BACKGROUND_STEPS,
                                        .model = start,
                                        .no_learn = true,
                                        .no_shadows = true};
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    serve(engine, 0, 30000, NULL);
    CHECK(tarn_engine_copy_model(engine, &end) == TARN_OK);
    CHECK(memcmp(start->weights, end->weights, TARN_NET_PARAMETERS * sizeof(float)) == 0);
    CHECK(train_steps(engine) == 0 && stats_of(engine).samples == 0);
    CHECK(stats_of(engine).weight[0] == 1 && stats_of(engine).expert[1] == NULL);
    tarn_model_destroy(&start);
    tarn_model_destroy(&end);
    tarn_engine_destroy(&engine);
}

/* ---- samples ---- */

struct collected {
    uint64_t count, wanted, at_risk;
};

static void collect(void *user, const struct tarn_model_sample *sample)
{
    struct collected *c = user;
    c->count++;
    c->wanted += sample->label >> 8 > 0;
    c->at_risk += (sample->label & 0xff) > 11;
}

static void samples_are_handed_out_with_their_outcome(void)
{
    REQUIRE(make_keys(20000, 4));
    struct collected c = {0};
    tarn_engine *engine = NULL;
    struct tarn_engine_params params = {.objects = OBJECTS,
                                        .device = "host",
                                        .background = TARN_BACKGROUND_STEPS,
                                        .sample = collect,
                                        .user = &c};
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    serve(engine, 0, REQUESTS, NULL);
    uint64_t samples = stats_of(engine).samples;
    CHECK(samples > 32768 && c.count == samples - 32768); /* the ring pushed these out */
    tarn_engine_drain_samples(engine);
    CHECK_NUMBER(c.count, samples);
    CHECK(c.wanted > samples / 20 && c.wanted < samples && c.at_risk == 0);
    serve(engine, 0, 20000, NULL); /* and it goes on from an empty ring */
    CHECK(stats_of(engine).samples > samples);
    tarn_engine_destroy(&engine);
}

/* ---- memory ---- */

static atomic_ulong allocations;

static bool count_allocations(size_t size)
{
    atomic_fetch_add(&allocations, size > 0);
    return true;
}

static void a_warm_request_allocates_nothing(void)
{
    REQUIRE(make_keys(20000, 5));
    tarn_engine *engine = open_engine("host", OBJECTS, 1, TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, REQUESTS, NULL);
    uint64_t steps = train_steps(engine), rounds = stats_of(engine).rounds;
    struct tarn_version_stats before, after;
    tarn_engine_get_versions(engine, &before);
    atomic_store(&allocations, 0);
    tarn_memory_set_hook(count_allocations);
    serve(engine, 0, 100000, NULL);
    tarn_memory_set_hook(NULL);
    tarn_engine_get_versions(engine, &after);
    /* but a version of its own for each candidate that goes live: the bundle, the model and its two parts */
    CHECK_NUMBER(atomic_load(&allocations), 4 * (after.swaps - before.swaps));
    CHECK(train_steps(engine) > steps + 500 && stats_of(engine).rounds > rounds + 10000);
    tarn_engine_destroy(&engine);
}

/* ---- a device ---- */

#define MANY 6000 /* objects: enough for rounds on a device */

static void lookups_scores_and_training_share_a_device(void)
{
    REQUIRE(make_keys(60000, 7));
    tarn_engine *engine = open_engine("host", MANY, 1, TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    uint64_t host = serve(engine, 0, REQUESTS, NULL);
    tarn_engine_destroy(&engine);
    engine = open_engine("opencl", MANY, 1, TARN_BACKGROUND_STEPS);
    if (engine == NULL)
        SKIP("no OpenCL");
    CHECK(strncmp(tarn_engine_device(engine)->id, "opencl", 6) == 0);
    uint64_t device = serve(engine, 0, REQUESTS, NULL);
    struct tarn_engine_stats stats = stats_of(engine);
    printf("# misses: host %.4f, device %.4f; rounds on the device %llu of %llu\n",
           1 - (double)host / REQUESTS, 1 - (double)device / REQUESTS,
           (unsigned long long)stats.rounds_on_device, (unsigned long long)stats.rounds);
    CHECK(fabs((double)host - (double)device) < 0.02 * (double)(REQUESTS - host));
    CHECK(stats.lookup.device_ns > 0 && stats.lookup.elements > REQUESTS / 2);
    CHECK(stats.score.device_ns > 0 && stats.score.launches > 0);
    CHECK(stats.train.device_ns > 0 && stats.train.launches > 0 && stats.train_steps > 0);
    CHECK(stats.rounds_on_device > 0);
    tarn_engine_destroy(&engine);
}

static void a_lost_device_is_replaced_by_the_host(void)
{
    REQUIRE(make_keys(60000, 8));
    tarn_engine *engine = open_engine("opencl", MANY, 1, TARN_BACKGROUND_STEPS);
    if (engine == NULL)
        SKIP("no OpenCL");
    serve(engine, 0, 70000, NULL);
    struct tarn_engine_stats before = stats_of(engine);
    CHECK(before.train_steps > 0 && before.rounds_on_device > 0);
    /* what runs on the real device has to end before it is called lost */
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    tarn_device_mark_lost(engine->device);
    uint64_t hits = serve(engine, 70000, REQUESTS, NULL);
    struct tarn_engine_stats after = stats_of(engine);
    CHECK(hits > 5000);
    CHECK(after.train_steps > before.train_steps + 200 && after.loss > 0);
    CHECK(after.rounds > before.rounds);
    CHECK_NUMBER(after.rounds_on_device, before.rounds_on_device);
    tarn_model *model = NULL;
    CHECK(tarn_engine_copy_model(engine, &model) == TARN_OK);
    CHECK(tarn_net_is_finite(model->weights, TARN_NET_PARAMETERS));
    tarn_model_destroy(&model);
    tarn_engine_destroy(&engine);
}

static void what_cannot_be_is_refused(void)
{
    tarn_engine *engine = NULL;
    struct tarn_error error;
    CHECK(tarn_engine_create(&(struct tarn_engine_params){.device = "host"}, &engine, &error) ==
          TARN_INVALID);
    CHECK(engine == NULL && error.message[0] != '\0');
    CHECK(tarn_engine_create(&(struct tarn_engine_params){.objects = 10, .device = "abacus"},
                             &engine, &error) != TARN_OK);
    CHECK(engine == NULL && error.message[0] != '\0');
    static float weights[8192];
    tarn_model *narrow = NULL;
    REQUIRE(tarn_model_create(&(struct tarn_shape){12, 8, 8, 11}, weights, "", &narrow) == TARN_OK);
    CHECK(tarn_engine_create(
              &(struct tarn_engine_params){.objects = 10, .device = "host", .model = narrow},
              &engine, &error) == TARN_UNSUPPORTED);
    CHECK(engine == NULL && strstr(error.message, "12") != NULL);
    tarn_model_destroy(&narrow);
    tarn_engine_destroy(&engine);
}

CHECK_MAIN(CASE(learned_beats_lru), CASE(the_same_seed_repeats_everything),
           CASE(training_can_be_stopped), CASE_IF(TEST_OPENCL, training_can_be_stopped_on_a_device),
           CASE(a_model_can_be_kept_as_it_is), CASE(samples_are_handed_out_with_their_outcome),
           CASE(a_warm_request_allocates_nothing),
           CASE_IF(TEST_OPENCL, lookups_scores_and_training_share_a_device),
           CASE_IF(TEST_OPENCL, a_lost_device_is_replaced_by_the_host),
           CASE(what_cannot_be_is_refused))
