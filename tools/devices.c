/* SPDX-License-Identifier: Apache-2.0 */
/* `tarn devices`: what there is to compute on, and which of it is used and why. */
#include "cli.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <tarn/gpu.h>
#include <tarn/virtual.h>

#include "base/clock.h"
#include "base/file.h"

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

/* ---- calibration ---- */

static void touch_host(const struct tarn_host_launch *launch)
{
    uint32_t *word = launch->buffers[0];
    word[0] = 1;
}

#if HAVE_VULKAN
#include "touch.spv.h"
#endif

static const struct tarn_kernel_source touch_source = {
    .name = "touch",
#if HAVE_VULKAN
    .spirv = touch_spirv,
    .spirv_size = sizeof touch_spirv,
#endif
    .opencl_gpu = "__kernel void touch(__global uint *word) { word[0] = 1; }\n",
    .gpu_local_size = 1,
    .cpu_local_size = 1,
    .host = touch_host,
    .buffer_count = 1,
};

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The clock that the device goes by. */
static uint64_t time_of(const tarn_device *device)
{
    bool simulated = tarn_device_get_info(device)->type == TARN_DEVICE_VIRTUAL;
    return simulated ? tarn_virtual_now(device) : tarn_clock_ns();
}

/* Median time from submitting a launch that does next to nothing to its end; NaN if that fails. */
static double measure_dispatch_us(const char *id)
{
    enum { WARM = 20, TIMED = 200 };
    double times[TIMED], result = NAN;
    size_t timed = 0;
    struct tarn_error error;
    tarn_device *device = NULL;
    tarn_queue *queue = NULL;
    tarn_buffer *buffer = NULL;
    tarn_kernel *kernel = NULL;
    if (tarn_device_open(&(struct tarn_device_params){.id = id}, &device, &error) != TARN_OK ||
        tarn_queue_create(device, &(struct tarn_queue_params){.priority = TARN_PRIORITY_HIGH},
                          &queue) != TARN_OK ||
        tarn_buffer_create(device, &(struct tarn_buffer_params){.size = 4096}, &buffer) !=
            TARN_OK ||
        tarn_kernel_create(device, &(struct tarn_kernel_params){.source = &touch_source}, &kernel,
                           &error) != TARN_OK)
        goto done;
    for (int i = 0; i < WARM + TIMED; i++) {
        tarn_event *event = NULL;
        struct tarn_launch launch = {.kernel = kernel, .buffers = &buffer, .groups = 1};
        uint64_t start = time_of(device);
        if (tarn_queue_submit(queue, &launch, &event) != TARN_OK)
            goto done;
        tarn_status status = tarn_event_wait(event, 10000000);
        uint64_t end = time_of(device);
        tarn_event_release(&event);
        if (status != TARN_OK)
            goto done;
        if (i >= WARM)
            times[timed++] = (double)(end - start) * 1e-3;
    }
    qsort(times, timed, sizeof *times, compare_doubles);
    result = times[timed / 2];
done:
    tarn_kernel_destroy(&kernel);
    tarn_buffer_destroy(&buffer);
    tarn_queue_destroy(&queue);
    tarn_device_close(&device);
    return result;
}

/* ---- the choice ---- */

/* Says why `selected` is used, in the words of the rule in <tarn/gpu.h>. */
static const char *reason(const struct tarn_cli *cli, const struct tarn_device_info *selected,
                          const struct tarn_device_info *info)
{
    bool automatic = strcmp(cli->device, "auto") == 0;
    if (strcmp(selected->id, info->id) == 0) {
        if (!automatic)
            return "asked for";
        return info->type == TARN_DEVICE_HOST ? "no GPU answers; the host needs no driver"
                                              : "the first GPU that answers";
    }
    if (!automatic)
        return "another was asked for";
    if (info->type == TARN_DEVICE_CPU)
        return "runs on the CPU, as the host does: used when asked for with --device";
    if (info->type == TARN_DEVICE_VIRTUAL)
        return "a simulation, for tests and benches: used when asked for with --device";
    return info->type == TARN_DEVICE_HOST ? "a GPU comes first" : "another comes first";
}

/* ---- output ---- */

/* The board's name, as the firmware says it; NULL where nothing does. The caller frees it. */
static char *board_name(void)
{
    static const char *const places[] = {"/sys/firmware/devicetree/base/model",
                                         "/sys/class/dmi/id/product_name"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        void *data;
        size_t size;
        if (tarn_file_read(places[i], 4096, &data, &size, NULL) != TARN_OK)
            continue;
        char *name = data;
        name[strcspn(name, "\r\n")] = '\0';
        if (name[0] != '\0')
            return name;
        free(name);
    }
    return NULL;
}

static void add_limit(cJSON *limits, const char *name, uint64_t value)
{
    if (value != 0)
        tarn_json_integer(limits, name, value);
    else
        cJSON_AddNullToObject(limits, name);
}

static int print_json(const struct tarn_cli *cli, const struct tarn_device_info *infos,
                      size_t count, const struct tarn_device_info *selected,
                      const double *dispatch_us)
{
    cJSON *json = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(json, "devices");
    for (size_t i = 0; i < count; i++) {
        const struct tarn_device_info *info = &infos[i];
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "id", info->id);
        cJSON_AddStringToObject(row, "backend", info->backend);
        cJSON_AddStringToObject(row, "name", info->name);
        cJSON_AddStringToObject(row, "driver", info->driver);
        cJSON_AddStringToObject(row, "type", type_name(info->type));
        cJSON_AddBoolToObject(row, "unified_memory", info->unified_memory);
        cJSON_AddStringToObject(row, "queue_priority", priority_name(info->queue_priority));
        cJSON *limits = cJSON_AddObjectToObject(row, "limits");
        add_limit(limits, "memory", info->limits.memory);
        add_limit(limits, "buffer", info->limits.buffer);
        add_limit(limits, "local_memory", info->limits.local_memory);
        add_limit(limits, "group_size", info->limits.group_size);
        add_limit(limits, "compute_units", info->limits.compute_units);
        tarn_json_number(row, "dispatch_us", dispatch_us[i]);
        cJSON_AddNullToObject(row, "lookup_crossover");
        cJSON_AddBoolToObject(row, "selected", strcmp(selected->id, info->id) == 0);
        cJSON_AddStringToObject(row, "why", reason(cli, selected, info));
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
    cJSON *board = cJSON_AddObjectToObject(json, "board");
    char *name = board_name();
    if (name != NULL)
        cJSON_AddStringToObject(board, "name", name);
    else
        cJSON_AddNullToObject(board, "name");
    free(name);
    cJSON_AddNullToObject(board, "profile");
    return tarn_cli_print_json(cli, json);
}

static int print_table(const struct tarn_cli *cli, const struct tarn_device_info *infos,
                       size_t count, const struct tarn_device_info *selected,
                       const double *dispatch_us)
{
    static const char *const heads[] = {"",       "id",       "type",        "name",
                                        "memory", "priority", "dispatch us", "why"};
    tarn_table *table = tarn_table_create(heads, sizeof heads / sizeof heads[0]);
    for (size_t i = 0; i < count; i++) {
        char memory[32] = "?", dispatch[32] = "-";
        if (infos[i].limits.memory != 0)
            tarn_size_format(infos[i].limits.memory, memory);
        if (isfinite(dispatch_us[i]))
            snprintf(dispatch, sizeof dispatch, "%.1f", dispatch_us[i]);
        tarn_table_row(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s",
                       strcmp(selected->id, infos[i].id) == 0 ? "*" : " ", infos[i].id,
                       type_name(infos[i].type), infos[i].name, memory,
                       priority_name(infos[i].queue_priority), dispatch,
                       reason(cli, selected, &infos[i]));
    }
    tarn_table_print(table, cli, stdout);
    tarn_table_destroy(&table);
    for (size_t i = 0; i < count; i++) {
        char text[300];
        for (size_t k = 0; tarn_device_quarantined(&infos[i], cli->cache_dir, k, text, sizeof text);
             k++)
            printf("%s: quarantined: %s\n", infos[i].id, text);
        for (size_t k = 0; tarn_device_quirk(&infos[i], k) != NULL; k++)
            printf("%s: quirk: %s\n", infos[i].id, tarn_device_quirk(&infos[i], k));
    }
    return TARN_EXIT_OK;
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
    tarn_status status = tarn_device_open(
        &(struct tarn_device_params){.id = cli->device, .cache_dir = cli->cache_dir}, &device,
        &error);
    if (status != TARN_OK)
        return tarn_cli_fail(cli, &error);
    selected = *tarn_device_get_info(device);
    tarn_device_close(&device);
    status = tarn_devices_list(&infos, &count);
    double *dispatch_us = status == TARN_OK ? malloc(count * sizeof *dispatch_us) : NULL;
    if (dispatch_us == NULL) {
        tarn_devices_free(&infos);
        return tarn_cli_fail(cli, &(struct tarn_error){TARN_NO_MEMORY, "devices: out of memory"});
    }
    bool calibrate = tarn_cli_flag(cli, "calibrate");
    for (size_t i = 0; i < count; i++)
        dispatch_us[i] = calibrate ? measure_dispatch_us(infos[i].id) : NAN;
    int code = cli->json ? print_json(cli, infos, count, &selected, dispatch_us)
                         : print_table(cli, infos, count, &selected, dispatch_us);
    free(dispatch_us);
    tarn_devices_free(&infos);
    return code;
}

static const struct tarn_cli_option options[] = {
    {"calibrate", 0, NULL, "measure how long a launch takes (dispatch_us)"},
    {NULL},
};

const struct tarn_command tarn_command_devices = {
    .name = "devices",
    .run = tarn_cmd_devices,
    .summary = "the devices that can compute here, and which one is used and why",
    .usage = "[--calibrate]",
    .description =
        "A real GPU comes before a CPU-type device (PoCL, lavapipe), which is used when it is "
        "asked\n"
        "for; the host needs no driver and is always there. The star marks the one in use.\n",
    .options = options,
    .examples = "tarn devices\n"
                "tarn devices --calibrate --json\n"
                "tarn --device opencl devices\n",
};
