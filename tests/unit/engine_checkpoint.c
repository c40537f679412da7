/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of an engine's training: after an end, a crash at any moment, damage, on a full disk. */
#include "../check.h"

#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <tarn/log.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/learning_private.h"

enum { OBJECTS = 500, EVERY = 20000, INTERVAL = 125 };

static char folder[64], path[96];
static struct tarn_learning_params learning;

static char said[8][400];
static atomic_int lines;

static void listen(void *user, tarn_log_level level, const char *message)
{
    (void)user;
    (void)level;
    snprintf(said[atomic_fetch_add(&lines, 1) % 8], sizeof said[0], "%s", message);
}

static bool was_said(const char *text)
{
    for (int i = 0; i < atomic_load(&lines) && i < 8; i++)
        if (strstr(said[i], text) != NULL)
            return true;
    return false;
}

static bool begin(void)
{
    strcpy(folder, "/tmp/tarn-ckpt-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return false;
    snprintf(path, sizeof path, "%s/state/training.ckpt", folder);
    atomic_store(&lines, 0);
    memset(said, 0, sizeof said);
    tarn_log_set(listen, NULL, TARN_LOG_INFO);
    tarn_learning_defaults(&learning);
    learning.reservoir = 1024;
    learning.replayed = 0.2f;
    learning.checkpoint_requests = EVERY;
    return true;
}

/* How many files of checkpoints there are; all are removed. */
static int end(void)
{
    char state[80], name[400];
    int files = 0;
    snprintf(state, sizeof state, "%s/state", folder);
    DIR *dir = opendir(state);
    for (struct dirent *entry; dir != NULL && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", state, entry->d_name);
            unlink(name);
            files += strncmp(entry->d_name, "training", 8) == 0;
        }
    if (dir != NULL)
        closedir(dir);
    rmdir(state);
    CHECK(rmdir(folder) == 0);
    tarn_log_set(NULL, NULL, TARN_LOG_NONE);
    return files;
}

static tarn_engine *start(tarn_background background)
{
    char state[80];
    static char kept[80];
    tarn_engine *engine = NULL;
    snprintf(state, sizeof state, "%s/state", folder);
    strcpy(kept, state);
    tarn_engine_create(&(struct tarn_engine_params){.objects = OBJECTS,
                                                    .device = "host",
                                                    .background = background,
                                                    .state_dir = kept,
                                                    .seed = 3,
                                                    .learning = &learning},
                       &engine, NULL);
    return engine;
}

static void serve(tarn_engine *engine, size_t first, size_t end_at)
{
    tarn_cache *cache = tarn_engine_cache(engine);
    for (size_t i = first; i < end_at; i++) {
        struct tarn_rng rng;
        size_t room = 0;
        tarn_rng_seed(&rng, i);
        double u = tarn_rng_double(&rng);
        uint64_t key = (uint64_t)(u * u * u * 5000);
        if (tarn_cache_get(cache, &key, sizeof key, NULL, &room) != TARN_OK)
            tarn_cache_put(cache, &key, sizeof key, &(struct tarn_item){.charge = 1});
        tarn_engine_step(engine);
    }
}

static struct tarn_engine_stats stats_of(tarn_engine *engine)
{
    struct tarn_engine_stats stats;
    tarn_engine_get_stats(engine, &stats);
    return stats;
}

static void training_goes_on_where_it_ended(void)
{
    struct tarn_trainer_state state;
    static float weights[3][TARN_NET_PARAMETERS];
    REQUIRE(begin());
    tarn_engine *engine = start(TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    CHECK(access(path, F_OK) != 0);
    serve(engine, 0, 90000);
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK_NUMBER(stats.checkpoints, 4);
    CHECK_NUMBER(stats.checkpoint_failures, 0);
    CHECK(stats.train_steps > 600);
    uint32_t in_ring = (uint32_t)engine->ring.head;
    uint32_t kept = tarn_reservoir_count(engine->ring.reservoir);
    uint64_t seen = engine->ring.reservoir->seen;
    in_ring = in_ring < engine->ring.size ? in_ring : engine->ring.size;
    CHECK(in_ring > 10000 && kept > 500);
    tarn_trainer_get_state(engine->trainer, &state);
    memcpy(weights[0], state.weights, sizeof weights[0]);
    memcpy(weights[1], state.m, sizeof weights[1]);
    memcpy(weights[2], state.v, sizeof weights[2]);
    tarn_engine_destroy(&engine);

    engine = start(TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    CHECK(was_said("goes on from step"));
    CHECK_NUMBER(stats_of(engine).train_steps, stats.train_steps);
    CHECK_NUMBER(engine->ring.head, in_ring);
    CHECK_NUMBER(tarn_reservoir_count(engine->ring.reservoir), kept);
    CHECK_NUMBER(engine->ring.reservoir->seen, seen);
    tarn_trainer_get_state(engine->trainer, &state);
    CHECK(memcmp(weights[0], state.weights, sizeof weights[0]) == 0);
    CHECK(memcmp(weights[1], state.m, sizeof weights[1]) == 0);
    CHECK(memcmp(weights[2], state.v, sizeof weights[2]) == 0);
    serve(engine, 90000, 110000);
    CHECK(stats_of(engine).train_steps > stats.train_steps + 100);
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(end(), 1);
}

/* Requests up to `requests` in a process that is killed then; `halfway`: a file was being written too. */
static void crash(tarn_background background, size_t requests, bool halfway)
{
    pid_t child = fork();
    if (child == 0) {
        tarn_engine *engine = start(background);
        if (engine == NULL)
            _exit(1);
        serve(engine, 0, requests);
        for (int i = 0; background == TARN_BACKGROUND_THREAD && i < 1000; i++) {
            if (stats_of(engine).checkpoints > 0)
                break;
            serve(engine, 0, 2000);
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        }
        if (halfway) {
            char part[120];
            snprintf(part, sizeof part, "%s.Ab3dEf", path);
            FILE *file = fopen(part, "w");
            fputs("half of it", file);
            fflush(file);
        }
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void a_crash_loses_the_last_interval_at_most(void)
{
    REQUIRE(begin());
    for (size_t requests = 33000; requests < 75000; requests += 13777) {
        crash(TARN_BACKGROUND_STEPS, requests, requests > 50000);
        tarn_engine *engine = start(TARN_BACKGROUND_STEPS);
        REQUIRE(engine != NULL);
        uint64_t steps = stats_of(engine).train_steps;
        uint64_t saved = requests / EVERY * EVERY; /* the last checkpoint, of a launch before it */
        printf("# killed after %zu requests: %llu steps are left\n", requests,
               (unsigned long long)steps);
        CHECK(steps * INTERVAL <= saved + INTERVAL);
        CHECK((steps + 2 * TARN_TRAIN_STEPS) * INTERVAL + TARN_RING_LEAST + 2 * OBJECTS >= saved);
        CHECK(engine->ring.head > saved / 2);
        /* nothing lies about but the file itself */
        tarn_engine_destroy(&engine);
        CHECK(unlink(path) == 0);
    }
    CHECK_NUMBER(end(), 0);
}

static void so_does_one_with_a_thread(void)
{
    REQUIRE(begin());
    learning.checkpoint_least_s = 0;
    learning.checkpoint_requests = 4000;
    crash(TARN_BACKGROUND_THREAD, 30000, false);
    tarn_engine *engine = start(TARN_BACKGROUND_THREAD);
    REQUIRE(engine != NULL);
    uint64_t steps = stats_of(engine).train_steps;
    CHECK(steps > 0 && was_said("goes on from step"));
    serve(engine, 0, 30000);
    for (int i = 0; i < 1000 && stats_of(engine).checkpoints == 0; i++) {
        serve(engine, 0, 2000);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    CHECK(stats_of(engine).checkpoints > 0 && stats_of(engine).train_steps > steps);
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(end(), 1);
}

static void write_file(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(name, "w");
    CHECK(file != NULL && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static void a_damaged_file_is_kept_aside(void)
{
    static char bytes[4 << 20];
    char aside[120];
    REQUIRE(begin());
    snprintf(aside, sizeof aside, "%s.bad", path);
    tarn_engine *engine = start(TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, 30000);
    tarn_engine_destroy(&engine);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    static const size_t at[] = {3, 20, 5000, 200000};
    for (size_t i = 0; i < 6; i++) {
        size_t length = size;
        if (i < 4)
            bytes[at[i]] ^= 1;
        else
            length = i == 4 ? 0 : size - 1; /* cut */
        write_file(path, bytes, length);
        if (i < 4)
            bytes[at[i]] ^= 1;
        unlink(aside);
        atomic_store(&lines, 0);
        engine = start(TARN_BACKGROUND_STEPS);
        REQUIRE(engine != NULL);
        CHECK_NUMBER(stats_of(engine).train_steps, 0);
        CHECK_NUMBER(engine->ring.head, 0);
        CHECK(was_said(path) && was_said("afresh") && was_said(".bad"));
        CHECK(access(aside, F_OK) == 0 && access(path, F_OK) != 0);
        serve(engine, 0, 10000); /* and it works */
        CHECK(stats_of(engine).train_steps > 0);
        tarn_engine_destroy(&engine);
        CHECK(access(path, F_OK) == 0);
    }
    CHECK_NUMBER(end(), 2);
}

static void another_networks_file_is_not_ours(void)
{
    REQUIRE(begin());
    static float weights[8192];
    tarn_model *narrow = NULL;
    tarn_engine *engine = NULL;
    struct tarn_rng rng;
    tarn_rng_seed(&rng, 1);
    const struct tarn_shape shape = {TARN_FEATURES, 8, 8, 11};
    tarn_net_init(&shape, &rng, weights);
    REQUIRE(tarn_model_create(&shape, weights, "", &narrow) == TARN_OK);
    char state[80];
    snprintf(state, sizeof state, "%s/state", folder);
    struct tarn_engine_params params = {.objects = OBJECTS,
                                        .device = "host",
                                        .background = TARN_BACKGROUND_STEPS,
                                        .state_dir = state,
                                        .model = narrow,
                                        .learning = &learning};
    REQUIRE(tarn_engine_create(&params, &engine, NULL) == TARN_OK);
    serve(engine, 0, 20000);
    tarn_engine_destroy(&engine);
    tarn_model_destroy(&narrow);
    char live[96];
    snprintf(live, sizeof live, "%s/live.model", state); /* or that network would go on */
    CHECK(unlink(live) == 0);
    engine = start(TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    CHECK(was_said("28-8-8-11") && was_said(path) && was_said("afresh"));
    CHECK_NUMBER(stats_of(engine).train_steps, 0);
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(end(), 1); /* nothing was trained since */
}

static void a_full_disk_keeps_the_old_one(void)
{
    struct rlimit usual, small = {.rlim_cur = 40000};
    REQUIRE(begin());
    tarn_engine *engine = start(TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, 25000);
    CHECK_NUMBER(stats_of(engine).checkpoints, 1);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &usual) == 0);
    small.rlim_max = usual.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
    serve(engine, 25000, 65000);
    struct tarn_engine_stats stats = stats_of(engine);
    CHECK_NUMBER(stats.checkpoints, 1);
    CHECK_NUMBER(stats.checkpoint_failures, 2);
    CHECK(was_said(path) && was_said("last checkpoint"));
    CHECK(stats.train_steps > 400); /* training doesn't mind */
    tarn_engine_destroy(&engine);
    setrlimit(RLIMIT_FSIZE, &usual);
    engine = start(TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    uint64_t steps = stats_of(engine).train_steps;
    CHECK(steps > 100 && steps <= EVERY / INTERVAL); /* the old one */
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(end(), 1);
}

static atomic_long refused;

static bool refuse_images(size_t size)
{
    bool refuse = size > 300000;
    atomic_fetch_add(&refused, refuse);
    return !refuse;
}

static void without_memory_there_is_none(void)
{
    REQUIRE(begin());
    tarn_engine *engine = start(TARN_BACKGROUND_STEPS);
    REQUIRE(engine != NULL);
    serve(engine, 0, 15000);
    tarn_memory_set_hook(refuse_images);
    serve(engine, 15000, 50000);
    tarn_memory_set_hook(NULL);
    CHECK(atomic_load(&refused) > 0);
    CHECK(stats_of(engine).checkpoints == 0 && stats_of(engine).checkpoint_failures == 2);
    serve(engine, 50000, 70000);
    CHECK_NUMBER(stats_of(engine).checkpoints, 1);
    tarn_engine_destroy(&engine);
    CHECK_NUMBER(end(), 1);
}

CHECK_MAIN(CASE(training_goes_on_where_it_ended), CASE(a_crash_loses_the_last_interval_at_most),
           CASE(so_does_one_with_a_thread), CASE(a_damaged_file_is_kept_aside),
           CASE(another_networks_file_is_not_ours), CASE(a_full_disk_keeps_the_old_one),
           CASE(without_memory_there_is_none))
