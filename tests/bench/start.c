/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the start of a process to its first answered batch on a device: cold, with what the first start
 * kept, and with the driver's own cache of compiled programs gone. Each start is a process of its own,
 * timed from before its creation. Prints milliseconds, the best of a few.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <tarn/engine.h>

#include "base/clock.h"

enum { KEYS = 4096, STARTS = 5 };

/* The process that is timed: 0 once the device has answered a batch. */
static int first_batch(const char *id, const char *dir)
{
    static uint64_t keys[KEYS];
    static const void *names[KEYS];
    static size_t sizes[KEYS];
    static uint32_t slots[KEYS];
    tarn_engine *engine = NULL;
    struct tarn_error error = {0};
    struct tarn_engine_stats stats;
    if (tarn_engine_create(&(struct tarn_engine_params){.objects = 100000,
                                                        .device = id,
                                                        .cache_dir = dir,
                                                        .background = TARN_BACKGROUND_STEPS},
                           &engine, &error) != TARN_OK) {
        fprintf(stderr, "%s: %s\n", id, error.message);
        return error.status == TARN_NO_DEVICE ? 77 : 1;
    }
    for (size_t i = 0; i < KEYS; i++) {
        keys[i] = i;
        names[i] = &keys[i];
        sizes[i] = sizeof keys[i];
        tarn_cache_put(tarn_engine_cache(engine), &keys[i], sizeof keys[i],
                       &(struct tarn_item){.charge = 1});
    }
    tarn_engine_lookup(engine, names, sizes, KEYS, slots);
    tarn_engine_get_stats(engine, &stats);
    _exit(stats.lookup.launches > 0 ? 0 : 1); /* closing is not part of a start */
}

static double start_ms(const char *self, const char *id, const char *dir, const char *driver_dir,
                       int *code)
{
    uint64_t started = tarn_clock_ns();
    pid_t child = fork();
    if (child == 0) {
        setenv("POCL_CACHE_DIR", driver_dir, 1);
        execl(self, self, "--child", id, dir, (char *)NULL);
        _exit(1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    return (double)(tarn_clock_ns() - started) * 1e-6;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--child") == 0)
        return first_batch(argv[2], argv[3]);
    const char *id = argc > 1 ? argv[1] : "opencl";
    char root[] = "/tmp/tarn-start-XXXXXX", ours[64], drivers[64], empty[64], command[80];
    if (mkdtemp(root) == NULL)
        return 1;
    snprintf(ours, sizeof ours, "%s/ours", root);
    snprintf(drivers, sizeof drivers, "%s/drivers", root);
    int code;
    double cold = start_ms("/proc/self/exe", id, ours, drivers, &code), warm = 1e9, alone = 1e9;
    for (int i = 0; i < STARTS && code == 0; i++) {
        double ms = start_ms("/proc/self/exe", id, ours, drivers, &code);
        warm = ms < warm ? ms : warm;
        snprintf(empty, sizeof empty, "%s/empty%d", root, i);
        if (code == 0)
            ms = start_ms("/proc/self/exe", id, ours, empty, &code);
        alone = ms < alone ? ms : alone;
    }
    if (code == 0)
        printf("%s: first %.0f ms, second %.0f ms; with the driver's own cache empty %.0f ms\n", id,
               cold, warm, alone);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command) != 0 ? 1 : code;
}
