/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn devices`: what there is to compute on, and which of it is used and why. */
#include "cli.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <tarn/gpu.h>

#include "base/log.h"
#include "base/options.h"
#include "offload/calibrate.h"
#include "offload/limits.h"
#include "platform/board.h"
#include "platform/sensors.h"

static const char *type_name(tarn_device_type type)
{
    static const char *const names[] = {"gpu", "cpu", "host", "virtual"};
    return (unsigned)type < 4 ? names[type] : "unknown";
}

static const char *priority_name(tarn_queue_priority_kind kind)
{
    static const char *const names[] = {"none", "hint", "global"};
    return (unsigned)kind < 3 ? names[kind] : "unknown";
}

/* TARN_FEATURE_ bits, from the lowest. */
static const char *const feature_names[] = {"fp16", "int8", "int64_atomics", "subgroups"};

/* ---- calibration ---- */

/* What is known of each device: from earlier runs, and from this one if that was asked for. */
static void calibrate(const struct tarn_cli *cli, const struct tarn_device_info *info,
                      const struct tarn_device_info *selected, struct tarn_calibration *calibration)
{
    tarn_device *device = NULL;
    struct tarn_error error = {0};
    bool again = tarn_cli_flag(cli, "calibrate"), clblast = tarn_cli_flag(cli, "clblast");
    tarn_calibration_load(info, cli->cache_dir, calibration);
    if (!again && !clblast)
        return;
    /* a device that is named is the one that is meant */
    if (strcmp(cli->device, "auto") != 0 && strcmp(selected->id, info->id) != 0)
        return;
    uint32_t wanted = TARN_CALIBRATED_DISPATCH;
    /* a simulation's time has nothing to do with the host's, and the host has no crossover with itself */
    if (info->type != TARN_DEVICE_VIRTUAL)
        wanted |= TARN_CALIBRATED_WIDE | (clblast ? TARN_CALIBRATED_CLBLAST : 0);
    if (info->type != TARN_DEVICE_VIRTUAL && info->type != TARN_DEVICE_HOST)
        wanted |= TARN_CALIBRATED_ENGINE;
    if (again)
        memset(calibration, 0, sizeof *calibration);
    tarn_status status = tarn_device_open(
        &(struct tarn_device_params){.id = info->id, .cache_dir = cli->cache_dir}, &device, &error);
    if (status == TARN_OK)
        status = tarn_calibrate(device,
                                &(struct tarn_calibrate_params){
                                    .parts = wanted,
                                    .cache_dir = cli->cache_dir,
                                },
                                calibration, &error);
    if (status != TARN_OK)
        tarn_log(TARN_LOG_WARNING, "devices: %s: %s", info->id, error.message);
    tarn_device_close(&device);
}

/* The figures of a part, or NULL if it wasn't measured. */
static const struct tarn_crossover *crossover(const struct tarn_calibration *calibration,
                                              enum tarn_calibration_part part)
{
    if (!(calibration->parts & part))
        return NULL;
    return part == TARN_CALIBRATED_LOOKUP  ? &calibration->lookup
           : part == TARN_CALIBRATED_SCORE ? &calibration->score
                                           : &calibration->train;
}

/* To a thousandth: floats have no more to say, and their doubles look as if they had. */
static double rounded(float x)
{
    return round((double)x * 1e3) / 1e3;
}

static double dispatch_of(const struct tarn_calibration *calibration)
{
    return calibration->parts & TARN_CALIBRATED_DISPATCH ? rounded(calibration->dispatch_us) : NAN;
}

/* ---- the choice ---- */

/* What a device has won, in words: "lookups from 4096, training". */
static void say_wins(const struct tarn_calibration *c, char *text, size_t size)
{
    static const struct {
        enum tarn_calibration_part part;
        uint32_t most;
        const char *format;
    } kinds[] = {{TARN_CALIBRATED_LOOKUP, TARN_LOOKUP_BATCH, "lookups from %u keys"},
                 {TARN_CALIBRATED_SCORE, TARN_SCORE_BATCH, "scores from %u candidates"},
                 {TARN_CALIBRATED_TRAIN, TARN_TRAIN_STEPS, "training from %u steps a launch"}};
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const struct tarn_crossover *found = crossover(c, kinds[i].part);
        if (found == NULL || found->least > kinds[i].most)
            continue;
        if (used > 0)
            used += (size_t)snprintf(text + used, size - used, ", ");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        used += (size_t)snprintf(text + used, size - used, kinds[i].format, found->least);
#pragma GCC diagnostic pop
    }
}

/* Says why `selected` is used, in the words of the rule in <tarn/gpu.h> and of what was measured. */
static const char *reason(const struct tarn_cli *cli, const struct tarn_device_info *selected,
                          const struct tarn_device_info *info, const struct tarn_calibration *c,
                          char text[256])
{
    bool automatic = strcmp(cli->device, "auto") == 0, is_it = strcmp(selected->id, info->id) == 0;
    bool measured = (c->parts & TARN_CALIBRATED_ENGINE) == TARN_CALIBRATED_ENGINE;
    char wins[160];
    say_wins(c, wins, sizeof wins);
    if (!automatic)
        return is_it ? "asked for" : "another was asked for";
    if (info->type == TARN_DEVICE_CPU) {
        if (!measured)
            return "runs on the CPU, as the host does: has to win its place (tarn devices "
                   "--calibrate)";
        if (wins[0] == '\0')
            return c->lookup.least == TARN_NEVER && c->score.least == TARN_NEVER &&
                           c->train.least == TARN_NEVER
                       ? "runs on the CPU, and the host was better at everything measured"
                       : "runs on the CPU, and is better only at more work than the engine has at "
                         "once";
        snprintf(text, 256, "%s: %s", is_it ? "beats the host" : "another comes first, but it wins",
                 wins);
        return text;
    }
    if (info->type == TARN_DEVICE_VIRTUAL)
        return "a simulation, for tests and benches: used when asked for with --device";
    if (!is_it)
        return info->type == TARN_DEVICE_HOST ? "another has won its place" : "another comes first";
    if (info->type == TARN_DEVICE_HOST)
        return "no GPU answers, and no other device has won; it needs no driver";
    if (!measured)
        return "the first GPU that answers";
    snprintf(text, 256, "the first GPU that answers; wins: %s", wins[0] != '\0' ? wins : "nothing");
    return text;
}

/* ---- output ---- */

static void add_limit(cJSON *limits, const char *name, uint64_t value)
{
    if (value != 0)
        tarn_json_integer(limits, name, value);
    else
        cJSON_AddNullToObject(limits, name);
}

static void add_least(cJSON *row, const char *name, const struct tarn_crossover *found)
{
    if (found != NULL && found->least != TARN_NEVER)
        tarn_json_integer(row, name, found->least);
    else
        cJSON_AddNullToObject(row, name);
}

static void add_kernel(cJSON *measured, const char *name, const struct tarn_crossover *found)
{
    if (found == NULL) {
        cJSON_AddNullToObject(measured, name);
        return;
    }
    cJSON *row = cJSON_AddObjectToObject(measured, name);
    add_least(row, "least", found);
    tarn_json_integer(row, "slice", found->slice);
    if (found->local_size != 0)
        tarn_json_integer(row, "local_size", found->local_size);
    else
        cJSON_AddNullToObject(row, "local_size");
    tarn_json_number(row, "device_ns", rounded(found->device_ns));
    tarn_json_number(row, "host_ns", rounded(found->host_ns));
}

/* Null: not measured, or never better than the host; `measured` tells them apart. */
static void add_calibration(cJSON *row, const struct tarn_calibration *c)
{
    tarn_json_number(row, "dispatch_us", dispatch_of(c));
    add_least(row, "lookup_crossover", crossover(c, TARN_CALIBRATED_LOOKUP));
    add_least(row, "score_crossover", crossover(c, TARN_CALIBRATED_SCORE));
    add_least(row, "train_crossover", crossover(c, TARN_CALIBRATED_TRAIN));
    if (c->parts == 0) {
        cJSON_AddNullToObject(row, "measured");
        return;
    }
    cJSON *measured = cJSON_AddObjectToObject(row, "measured");
    tarn_json_number(measured, "spent_ms", rounded(c->spent_ms));
    add_kernel(measured, "lookup", crossover(c, TARN_CALIBRATED_LOOKUP));
    add_kernel(measured, "score", crossover(c, TARN_CALIBRATED_SCORE));
    add_kernel(measured, "train", crossover(c, TARN_CALIBRATED_TRAIN));
    tarn_json_number(measured, "clblast_warm_ms",
                     c->parts & TARN_CALIBRATED_CLBLAST ? rounded(c->clblast_warm_ms) : NAN);
    cJSON *paths = cJSON_AddArrayToObject(measured, "paths");
    for (int w = 0; w < TARN_CALIBRATION_WIDTHS && (c->parts & TARN_CALIBRATED_WIDE); w++)
        for (int train = 0; train < 2; train++) {
            cJSON *path = cJSON_CreateObject();
            tarn_json_integer(path, "width", 8u << w);
            cJSON_AddStringToObject(path, "kind", train ? "train" : "score");
            cJSON_AddStringToObject(path, "chosen",
                                    tarn_path_name(tarn_calibration_path(c, 8u << w, train)));
            cJSON *us = cJSON_AddObjectToObject(path, "us");
            for (int p = 0; p < TARN_PATHS; p++)
                tarn_json_number(us, tarn_path_name((tarn_path)p),
                                 c->wide_us[train][w][p] > 0 ? rounded(c->wide_us[train][w][p])
                                                             : NAN);
            cJSON_AddItemToArray(paths, path);
        }
}

static void add_text(cJSON *object, const char *name, const char *text)
{
    if (text != NULL && text[0] != '\0')
        cJSON_AddStringToObject(object, name, text);
    else
        cJSON_AddNullToObject(object, name);
}

static void add_board(cJSON *json, const struct tarn_board *board)
{
    cJSON *object = cJSON_AddObjectToObject(json, "board");
    add_text(object, "name", board->name);
    add_text(object, "profile", board->profile);
}

static const char *scope_name(tarn_power_scope scope)
{
    static const char *const names[] = {"", "board", "battery", "gpu"};
    return (unsigned)scope < 4 ? names[scope] : "";
}

static void add_sensors(cJSON *json, const struct tarn_reading *reading)
{
    cJSON *object = cJSON_AddObjectToObject(json, "sensors");
    /* shares come from divisions: no one needs fifteen digits of them */
#define X(name, doc) tarn_json_number(object, #name, round(reading->name * 1e4) / 1e4);
    TARN_READING_LIST(X)
#undef X
    add_text(object, "power_scope", scope_name(reading->power_scope));
    add_text(object, "governor", reading->governor);
    if (reading->supply != TARN_SUPPLY_UNKNOWN)
        cJSON_AddBoolToObject(object, "on_battery", reading->supply == TARN_SUPPLY_BATTERY);
    else
        cJSON_AddNullToObject(object, "on_battery");
}

static int print_json(const struct tarn_cli *cli, const struct tarn_device_info *infos,
                      size_t count, const struct tarn_device_info *selected,
                      const struct tarn_calibration *calibrations, const struct tarn_board *board,
                      const struct tarn_reading *reading)
{
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "devices");
    for (size_t i = 0; i < count; i++) {
        const struct tarn_device_info *info = &infos[i];
        cJSON *row = cJSON_CreateObject();
        char why[256];
        cJSON_AddStringToObject(row, "id", info->id);
        cJSON_AddStringToObject(row, "backend", info->backend);
        cJSON_AddStringToObject(row, "name", info->name);
        cJSON_AddStringToObject(row, "driver", info->driver);
        cJSON_AddStringToObject(row, "type", type_name(info->type));
        cJSON_AddBoolToObject(row, "unified_memory", info->unified_memory);
        cJSON_AddStringToObject(row, "queue_priority", priority_name(info->queue_priority));
        cJSON *hints = cJSON_AddArrayToObject(row, "hints");
        for (size_t k = 0; tarn_device_hint(info, k) != NULL; k++)
            cJSON_AddItemToArray(hints, cJSON_CreateString(tarn_device_hint(info, k)));
        cJSON *limits = cJSON_AddObjectToObject(row, "limits");
        add_limit(limits, "memory", info->limits.memory);
        add_limit(limits, "buffer", info->limits.buffer);
        add_limit(limits, "local_memory", info->limits.local_memory);
        add_limit(limits, "group_size", info->limits.group_size);
        add_limit(limits, "compute_units", info->limits.compute_units);
        cJSON *features = cJSON_AddArrayToObject(limits, "features");
        for (uint32_t k = 0; k < sizeof feature_names / sizeof feature_names[0]; k++)
            if (info->limits.features >> k & 1)
                cJSON_AddItemToArray(features, cJSON_CreateString(feature_names[k]));
        add_calibration(row, &calibrations[i]);
        cJSON_AddBoolToObject(row, "selected", strcmp(selected->id, info->id) == 0);
        cJSON_AddStringToObject(row, "why", reason(cli, selected, info, &calibrations[i], why));
        add_limit(limits, "watchdog_ms", info->watchdog_ms);
        cJSON *quarantined = cJSON_AddArrayToObject(row, "quarantined");
        char text[300];
        for (size_t k = 0; tarn_device_quarantined(info, cli->cache_dir, k, text, sizeof text); k++)
            cJSON_AddItemToArray(quarantined, cJSON_CreateString(text));
        cJSON *quirks = cJSON_AddArrayToObject(row, "quirks");
        for (size_t k = 0; tarn_device_quirk(info, k) != NULL; k++)
            cJSON_AddItemToArray(quirks, cJSON_CreateString(tarn_device_quirk(info, k)));
        cJSON_AddItemToArray(list, row);
    }
    add_board(json, board);
    add_sensors(json, reading);
    return tarn_cli_print_json(cli, json);
}

/* "4096", "never", or "-" where nobody has measured. */
static const char *least_text(const struct tarn_crossover *found, char text[16])
{
    if (found == NULL)
        return "-";
    if (found->least == TARN_NEVER)
        return "never";
    snprintf(text, 16, "%u", (unsigned)found->least);
    return text;
}

static int print_table(const struct tarn_cli *cli, const struct tarn_device_info *infos,
                       size_t count, const struct tarn_device_info *selected,
                       const struct tarn_calibration *calibrations)
{
    static const char *const heads[] = {
        "",         "id",          "type",         "name",        "memory",
        "priority", "dispatch us", "lookups from", "scores from", "steps from",
        "why"};
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < count; i++) {
        const struct tarn_calibration *c = &calibrations[i];
        char memory[32] = "?", dispatch[32] = "-", text[3][16], why[256];
        if (infos[i].limits.memory != 0)
            tarn_size_format(infos[i].limits.memory, memory);
        if (isfinite(dispatch_of(c)))
            snprintf(dispatch, sizeof dispatch, "%.1f", dispatch_of(c));
        tarn_table_row(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s",
                       strcmp(selected->id, infos[i].id) == 0 ? "*" : " ", infos[i].id,
                       type_name(infos[i].type), infos[i].name, memory,
                       priority_name(infos[i].queue_priority), dispatch,
                       least_text(crossover(c, TARN_CALIBRATED_LOOKUP), text[0]),
                       least_text(crossover(c, TARN_CALIBRATED_SCORE), text[1]),
                       least_text(crossover(c, TARN_CALIBRATED_TRAIN), text[2]),
                       reason(cli, selected, &infos[i], c, why));
    }
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    for (size_t i = 0; i < count; i++) {
        char text[300];
        for (size_t k = 0; tarn_device_hint(&infos[i], k) != NULL; k++)
            printf("%s%s%s", k == 0 ? infos[i].id : "", k == 0 ? ": hints: " : ", ",
                   tarn_device_hint(&infos[i], k));
        if (tarn_device_hint(&infos[i], 0) != NULL)
            printf("\n");
        for (size_t k = 0; tarn_device_quarantined(&infos[i], cli->cache_dir, k, text, sizeof text);
             k++)
            printf("%s: quarantined: %s\n", infos[i].id, text);
        for (size_t k = 0; tarn_device_quirk(&infos[i], k) != NULL; k++)
            printf("%s: quirk: %s\n", infos[i].id, tarn_device_quirk(&infos[i], k));
        const struct tarn_calibration *c = &calibrations[i];
        if (!(c->parts & TARN_CALIBRATED_WIDE) || infos[i].type == TARN_DEVICE_HOST)
            continue;
        printf("%s, quickest path by width (score/train):", infos[i].id);
        for (int w = 0; w < TARN_CALIBRATION_WIDTHS; w++)
            printf(" %u %s/%s%s", 8u << w, tarn_path_name(tarn_calibration_path(c, 8u << w, false)),
                   tarn_path_name(tarn_calibration_path(c, 8u << w, true)),
                   w + 1 < TARN_CALIBRATION_WIDTHS ? "," : "\n");
        if (c->parts & TARN_CALIBRATED_CLBLAST)
            printf("%s, first calls of CLBlast: %.0f ms\n", infos[i].id,
                   rounded(c->clblast_warm_ms));
    }
    return TARN_EXIT_OK;
}

/* ---- the board ---- */

/* Some sensors count, so that one reading says nothing of them: two, a little apart. */
static void read_board(struct tarn_board *board, struct tarn_reading *reading)
{
    const char *root = tarn_option_get(TARN_OPTION_SYSFS_ROOT);
    tarn_sensors *sensors;
    tarn_board_find(root, board);
    tarn_reading_clear(reading);
    if (tarn_sensors_open(&(struct tarn_sensors_params){.root = root}, &sensors) != TARN_OK)
        return;
    tarn_sensors_read(sensors, reading);
    nanosleep(&(struct timespec){.tv_nsec = 60000000}, NULL);
    tarn_sensors_read(sensors, reading);
    tarn_sensors_destroy(&sensors);
}

/* Appends ", " and more; what doesn't fit is left out. */
TARN_PRINTF(2, 3) static void append(char line[400], const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(line);
    if (used > 0)
        used += (size_t)snprintf(line + used, 400 - used, ", ");
    if (used >= 400)
        return;
    va_start(arguments, format);
    vsnprintf(line + used, 400 - used, format, arguments);
    va_end(arguments);
}

static void print_board(const struct tarn_board *board, const struct tarn_reading *r)
{
    char line[400] = "";
    if (board->name[0] != '\0')
        printf("board: %s%s%s%s\n", board->name, board->profile[0] != '\0' ? " (class: " : "",
               board->profile, board->profile[0] != '\0' ? ")" : "");
    if (tarn_known(r->gpu_load))
        append(line, "GPU %.0f %% busy", 100 * r->gpu_load);
    if (tarn_known(r->gpu_clock_hz) && tarn_known(r->gpu_clock_max_hz))
        append(line, "GPU clock %.0f of %.0f MHz", r->gpu_clock_hz / 1e6,
               r->gpu_clock_max_hz / 1e6);
    else if (tarn_known(r->gpu_clock_hz))
        append(line, "GPU clock %.0f MHz", r->gpu_clock_hz / 1e6);
    if (tarn_known(r->temperature_c))
        append(line, "%.0f C", r->temperature_c);
    if (r->throttling > 0)
        append(line, "slowed down by heat");
    if (tarn_known(r->power_w))
        append(line, "%.1f W (%s)", r->power_w, scope_name(r->power_scope));
    if (r->supply != TARN_SUPPLY_UNKNOWN)
        append(line, r->supply == TARN_SUPPLY_BATTERY ? "on battery" : "on mains");
    if (tarn_known(r->battery_percent))
        append(line, "battery %.0f %%", r->battery_percent);
    if (tarn_known(r->cpu_load))
        append(line, "CPUs %.0f %% busy", 100 * r->cpu_load);
    if (tarn_known(r->memory_available_bytes)) {
        char size[32];
        tarn_size_format((uint64_t)r->memory_available_bytes, size);
        append(line, "memory free %s", size);
    }
    if (line[0] != '\0')
        printf("now: %s\n", line);
}

static int tarn_cmd_devices(struct tarn_cli *cli, int argc, char **argv)
{
    struct tarn_device_info *infos = NULL, selected;
    struct tarn_error error;
    tarn_device *device = NULL;
    size_t count = 0;
    (void)argv;
    if (argc != 0)
        return tarn_cli_usage(cli, "it takes no arguments");
    const struct tarn_device_params wanted = {.id = cli->device, .cache_dir = cli->cache_dir};
    tarn_status status = tarn_device_open(&wanted, &device, &error);
    if (status != TARN_OK)
        return tarn_cli_fail(cli, &error);
    selected = *tarn_device_get_info(device);
    tarn_device_close(&device);
    status = tarn_devices_list(&infos, &count);
    struct tarn_calibration *calibrations =
        status == TARN_OK ? calloc(count, sizeof *calibrations) : NULL;
    if (calibrations == NULL) {
        tarn_devices_free(&infos);
        return tarn_cli_fail(cli, &(struct tarn_error){TARN_NO_MEMORY, "devices: out of memory"});
    }
    for (size_t i = 0; i < count; i++)
        calibrate(cli, &infos[i], &selected, &calibrations[i]);
    /* what was measured just now may change the choice */
    status = tarn_calibration_open(&wanted, &device, &error);
    if (status == TARN_OK)
        selected = *tarn_device_get_info(device);
    tarn_device_close(&device);
    for (size_t i = 0; i < count; i++) /* what an open device took of what its driver lists */
        if (strcmp(infos[i].id, selected.id) == 0) {
            infos[i].queue_priority = selected.queue_priority;
            infos[i].hints = selected.hints;
        }
    struct tarn_board board;
    struct tarn_reading reading;
    read_board(&board, &reading);
    int code = cli->json ? print_json(cli, infos, count, &selected, calibrations, &board, &reading)
                         : print_table(cli, infos, count, &selected, calibrations);
    if (!cli->json)
        print_board(&board, &reading);
    free(calibrations);
    tarn_devices_free(&infos);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"calibrate", 0, NULL,
     "measure each device (or that of --device) against the host, and keep\nthe figures", false},
    {"clblast", 0, NULL, "measure CLBlast too: its first calls compile, for half a minute on some",
     false},
    {NULL},
};

const struct tarn_command tarn_command_devices = {
    .name = "devices",
    .run = tarn_cmd_devices,
    .summary = "the devices that can compute here, and which one is used and why",
    .usage = "[--calibrate] [--clblast]",
    .description =
        "A real GPU comes before the host, which needs no driver and is always there. A CPU-type\n"
        "device (PoCL, lavapipe) is used when it is asked for, and where it has won its place by\n"
        "measurement: \"lookups from 4096\" says that a batch of so many keys is cheaper there,\n"
        "counting every core that it takes. The star marks the one in use. The figures are kept\n"
        "in the cache directory; the engine measures by itself at its first start.\n",
    .options = options,
    .examples = "tarn devices\n"
                "tarn devices --calibrate --json\n"
                "tarn --device opencl devices\n",
};
