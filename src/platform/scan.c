/* SPDX-License-Identifier: Apache-2.0 */
/* Which files there are. A file is taken when it can be read and understood. */
#include <ctype.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "sensors_private.h"

typedef enum folders {
    FOLDERS_DEVFREQ,
    FOLDERS_KGSL,
    FOLDERS_NVGPU,
    FOLDERS_V3D,
    FOLDERS_DRM,
} folders;

static const struct {
    folders kind;
    const char *pattern;
} gpus[] = {
#define GPU(kind_, pattern_, source_) {FOLDERS_##kind_, pattern_},
#include "sensors.def"
};

static const struct row {
    struct tarn_sensor_info info;
    folders kind;
    const char *file;
} rows[] = {
#define SENSOR(name_, quantity_, format_, kind_, file_, source_)                                   \
    {{#name_, TARN_QUANTITY_##quantity_, TARN_FORMAT_##format_}, FOLDERS_##kind_, file_},
#include "sensors.def"
};

typedef enum heat {
    HEAT_NONE,
    HEAT_GPU,
    HEAT_CPU,
    HEAT_OTHER,
} heat;

static const struct {
    heat kind;
    const char *pattern;
} zones[] = {
#define ZONE(kind_, pattern_) {HEAT_##kind_, pattern_},
#include "sensors.def"
};

static const char *const coolings[] = {
#define COOLING(pattern_) pattern_,
#include "sensors.def"
};

static const char *const chips[] = {
#define CHIP(name_) name_,
#include "sensors.def"
};

static const char *const rails[] = {
#define RAIL(label_) label_,
#include "sensors.def"
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

const struct tarn_sensor_info *tarn_sensor_info(enum tarn_sensor_row row)
{
    return &rows[row].info;
}

/* FOLDER/NAME; "" if it doesn't fit, which is the name of no file. */
static const char *join(char path[TARN_PROBE_PATH], const char *folder, const char *name)
{
    int n = snprintf(path, TARN_PROBE_PATH, "%s/%s", folder, name);
    if (n < 0 || n >= TARN_PROBE_PATH)
        path[0] = '\0';
    return path;
}

/* The word in FOLDER/NAME, in lower case; false if there is none. */
static bool slurp_word(tarn_sensors *s, unsigned kind, const char *folder, const char *name,
                       char word[64])
{
    char path[TARN_PROBE_PATH];
    if (tarn_probe_slurp(&s->root, kind, join(path, folder, name), s->text) == 0)
        return false;
    size_t length = strcspn(s->text, "\r\n");
    if (length == 0 || length >= 64)
        return false;
    for (size_t i = 0; i < length; i++)
        word[i] = (char)tolower((unsigned char)s->text[i]);
    word[length] = '\0';
    return true;
}

static double slurp_number(tarn_sensors *s, unsigned kind, const char *folder, const char *name,
                           tarn_format format)
{
    char path[TARN_PROBE_PATH];
    double value;
    if (tarn_probe_slurp(&s->root, kind, join(path, folder, name), s->text) == 0 ||
        !tarn_parse_value(format, s->text, &value))
        return NAN;
    return value;
}

static bool open_in(tarn_sensors *s, struct tarn_probe *probe, unsigned kind, const char *folder,
                    const char *name)
{
    char path[TARN_PROBE_PATH];
    return tarn_probe_open(&s->root, probe, kind, join(path, folder, name));
}

/* ---- the GPU ---- */

struct search {
    tarn_sensors *sensors;
    const struct row *row;
};

static bool understood(tarn_sensors *s, const struct row *row)
{
    double value;
    char word[sizeof s->rates.governor];
    struct tarn_queues queues;
    if (row->info.format == TARN_FORMAT_WORD)
        return tarn_parse_word(s->text, word, sizeof word);
    if (row->info.format == TARN_FORMAT_QUEUES)
        return tarn_parse_queues(s->text, &queues);
    if (!tarn_parse_value(row->info.format, s->text, &value))
        return false;
    /* devfreq's max_freq of 0 is no limit at all */
    return row->info.quantity != TARN_QUANTITY_GPU_CLOCK_MAX || value > 0;
}

static bool try_file(void *user, const char *path)
{
    struct search *search = user;
    tarn_sensors *s = search->sensors;
    unsigned number = (unsigned)(search->row - rows);
    struct tarn_probe probe;
    if (!tarn_probe_open(&s->root, &probe, number, path))
        return true;
    if (tarn_probe_read(&s->root, &probe, s->text) > 0) {
        if (understood(s, search->row)) {
            s->chosen[search->row->info.quantity].probe = probe;
            s->chosen[search->row->info.quantity].row = number;
            return false;
        }
        tarn_probe_garbage(&s->root, &probe);
    }
    tarn_probe_close(&probe);
    return true;
}

static void find_gpu(tarn_sensors *s)
{
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t k = 0; k < COUNT(gpus); k++) {
            char pattern[TARN_PROBE_PATH];
            if (gpus[k].kind != rows[i].kind || s->chosen[rows[i].info.quantity].probe.fd >= 0)
                continue;
            tarn_probe_glob(&s->root, join(pattern, gpus[k].pattern, rows[i].file), try_file,
                            &(struct search){s, &rows[i]});
        }
}

/* ---- heat ---- */

static heat heat_of(const char *type)
{
    for (size_t i = 0; i < COUNT(zones); i++)
        if (fnmatch(zones[i].pattern, type, 0) == 0)
            return zones[i].kind;
    return HEAT_NONE;
}

/* The lowest of the zone's trip points of each type that matters. */
static void read_trips(tarn_sensors *s, const char *folder, struct tarn_zone *zone)
{
    for (int i = 0; i < 16; i++) {
        char name[32], type[64];
        snprintf(name, sizeof name, "trip_point_%d_type", i);
        if (!slurp_word(s, TARN_SENSOR_TRIP, folder, name, type))
            return;
        double *least = strcmp(type, "passive") == 0    ? &zone->passive_c
                        : strcmp(type, "critical") == 0 ? &zone->critical_c
                                                        : NULL;
        snprintf(name, sizeof name, "trip_point_%d_temp", i);
        double c = least != NULL
                       ? slurp_number(s, TARN_SENSOR_TRIP, folder, name, TARN_FORMAT_MILLI)
                       : NAN;
        if (c > 0 && c < 200 && !(c >= *least))
            *least = c;
    }
}

static void add_zone(tarn_sensors *s, heat kind, const char *folder, const char *file)
{
    struct tarn_zone *zone = &s->zones[s->zone_count];
    *zone = (struct tarn_zone){.gpu = kind == HEAT_GPU, .passive_c = NAN, .critical_c = NAN};
    if (!open_in(s, &zone->temperature, TARN_SENSOR_ZONE, folder, file))
        return;
    s->zone_count++;
}

struct zone_search {
    tarn_sensors *sensors;
    heat kind;
};

static bool try_zone(void *user, const char *folder)
{
    struct zone_search *search = user;
    tarn_sensors *s = search->sensors;
    char type[64];
    unsigned count = s->zone_count;
    if (!slurp_word(s, TARN_SENSOR_ZONE, folder, "type", type) || heat_of(type) != search->kind)
        return true;
    add_zone(s, search->kind, folder, "temp");
    if (s->zone_count > count)
        read_trips(s, folder, &s->zones[count]);
    return s->zone_count < TARN_MOST_ZONES;
}

static bool try_chip(void *user, const char *folder)
{
    struct zone_search *search = user;
    char name[64];
    if (!slurp_word(search->sensors, TARN_SENSOR_HWMON, folder, "name", name))
        return true;
    for (size_t i = 0; i < COUNT(chips); i++)
        if (strcmp(name, chips[i]) == 0)
            add_zone(search->sensors, HEAT_CPU, folder, "temp1_input");
    return search->sensors->zone_count < TARN_MOST_ZONES;
}

static bool try_cooling(void *user, const char *folder)
{
    tarn_sensors *s = user;
    struct tarn_cooling *cooling = &s->cooling[s->cooling_count];
    char type[64];
    if (!slurp_word(s, TARN_SENSOR_COOLING, folder, "type", type))
        return true;
    for (size_t i = 0; i < COUNT(coolings); i++) {
        if (fnmatch(coolings[i], type, 0) != 0)
            continue;
        cooling->most = slurp_number(s, TARN_SENSOR_COOLING, folder, "max_state", TARN_FORMAT_HZ);
        if (cooling->most > 0 &&
            open_in(s, &cooling->state, TARN_SENSOR_COOLING, folder, "cur_state"))
            s->cooling_count++;
        break;
    }
    return s->cooling_count < TARN_MOST_COOLING;
}

static void find_heat(tarn_sensors *s)
{
    static const char class[] = "sys/class/thermal/thermal_zone*";
    struct zone_search search = {s, HEAT_GPU};
    /* the GPU's first: phones have more zones than there is room for */
    tarn_probe_glob(&s->root, class, try_zone, &search);
    search.kind = HEAT_CPU;
    if (s->zone_count < TARN_MOST_ZONES)
        tarn_probe_glob(&s->root, class, try_zone, &search);
    if (s->zone_count < TARN_MOST_ZONES)
        tarn_probe_glob(&s->root, "sys/class/hwmon/hwmon*", try_chip, &search);
    search.kind = HEAT_OTHER;
    if (s->zone_count == 0)
        tarn_probe_glob(&s->root, class, try_zone, &search);
    tarn_probe_glob(&s->root, "sys/class/thermal/cooling_device*", try_cooling, s);
}

/* ---- power ---- */

static bool open_channel(tarn_sensors *s, const char *folder, int number)
{
    struct tarn_channel *channel = &s->channels[s->channel_count];
    char name[32];
    snprintf(name, sizeof name, "in%d_input", number);
    if (!open_in(s, &channel->volts, TARN_SENSOR_HWMON, folder, name))
        return false;
    snprintf(name, sizeof name, "curr%d_input", number);
    if (!open_in(s, &channel->amperes, TARN_SENSOR_HWMON, folder, name)) {
        tarn_probe_close(&channel->volts);
        return false;
    }
    s->channel_count++;
    return true;
}

static bool is_rail(const char *label)
{
    for (size_t i = 0; i < COUNT(rails); i++)
        if (strcasecmp(rails[i], label) == 0)
            return true;
    return false;
}

/* Linux, Documentation/hwmon/ina3221.rst: mV and mA of three channels with labels. */
static bool try_monitor(void *user, const char *folder)
{
    tarn_sensors *s = user;
    char name[64];
    if (!slurp_word(s, TARN_SENSOR_HWMON, folder, "name", name) || strcmp(name, "ina3221") != 0)
        return true;
    for (int i = 1; i <= TARN_MOST_CHANNELS; i++) {
        char file[32];
        snprintf(file, sizeof file, "in%d_label", i);
        if (slurp_word(s, TARN_SENSOR_HWMON, folder, file, name) && is_rail(name) &&
            open_channel(s, folder, i))
            return false;
    }
    return true;
}

static bool try_supply(void *user, const char *folder)
{
    tarn_sensors *s = user;
    struct tarn_power_supply *supply = &s->supplies[s->supply_count];
    char type[64], scope[64];
    if (!slurp_word(s, TARN_SENSOR_SUPPLY, folder, "type", type))
        return true;
    /* Linux, Documentation/ABI/testing/sysfs-class-power: a mouse's battery says Device */
    if (slurp_word(s, TARN_SENSOR_SUPPLY, folder, "scope", scope) && strcmp(scope, "device") == 0)
        return true;
    supply->battery = strcmp(type, "battery") == 0 || strcmp(type, "ups") == 0;
    if (supply->battery) {
        /* an empty bay */
        if (slurp_number(s, TARN_SENSOR_SUPPLY, folder, "present", TARN_FORMAT_HZ) == 0)
            return true;
        open_in(s, &supply->status, TARN_SENSOR_SUPPLY, folder, "status");
        open_in(s, &supply->capacity, TARN_SENSOR_SUPPLY, folder, "capacity");
        if (!open_in(s, &supply->power, TARN_SENSOR_SUPPLY, folder, "power_now")) {
            open_in(s, &supply->current, TARN_SENSOR_SUPPLY, folder, "current_now");
            open_in(s, &supply->voltage, TARN_SENSOR_SUPPLY, folder, "voltage_now");
        }
        s->supply_count++;
    } else if (open_in(s, &supply->online, TARN_SENSOR_SUPPLY, folder, "online")) {
        s->supply_count++;
    }
    return s->supply_count < TARN_MOST_SUPPLIES;
}

static bool note_folder(void *user, const char *folder)
{
    (void)folder;
    *(bool *)user = true;
    return false;
}

/* ---- all of it ---- */

static void for_all(tarn_sensors *s, void (*act)(struct tarn_probe *))
{
    for (int i = 0; i < TARN_QUANTITIES; i++)
        act(&s->chosen[i].probe);
    for (int i = 0; i < TARN_MOST_ZONES; i++)
        act(&s->zones[i].temperature);
    for (int i = 0; i < TARN_MOST_COOLING; i++)
        act(&s->cooling[i].state);
    for (int i = 0; i < TARN_MOST_CHANNELS; i++) {
        act(&s->channels[i].volts);
        act(&s->channels[i].amperes);
    }
    for (int i = 0; i < TARN_MOST_SUPPLIES; i++) {
        struct tarn_power_supply *supply = &s->supplies[i];
        act(&supply->online);
        act(&supply->status);
        act(&supply->capacity);
        act(&supply->power);
        act(&supply->current);
        act(&supply->voltage);
    }
    for (int i = 0; i < 3; i++)
        act(&s->pressure[i]);
    act(&s->stat);
    act(&s->loadavg);
    act(&s->meminfo);
}

static void forget(struct tarn_probe *probe)
{
    probe->fd = -1;
}

void tarn_sensors_reset(tarn_sensors *s)
{
    for_all(s, forget);
}

void tarn_sensors_close_all(tarn_sensors *s)
{
    for_all(s, tarn_probe_close);
}

void tarn_sensors_scan(tarn_sensors *s)
{
    static const char *const pressures[3] = {"proc/pressure/cpu", "proc/pressure/memory",
                                             "proc/pressure/io"};
    tarn_sensors_close_all(s);
    s->zone_count = s->cooling_count = s->channel_count = s->supply_count = 0;
    s->supplies_known = false;
    find_gpu(s);
    find_heat(s);
    tarn_probe_glob(&s->root, "sys/class/hwmon/hwmon*", try_monitor, s);
    tarn_probe_glob(&s->root, "sys/class/power_supply", note_folder, &s->supplies_known);
    tarn_probe_glob(&s->root, "sys/class/power_supply/*", try_supply, s);
    for (int i = 0; i < 3; i++)
        tarn_probe_open(&s->root, &s->pressure[i], TARN_SENSOR_PRESSURE, pressures[i]);
    tarn_probe_open(&s->root, &s->stat, TARN_SENSOR_STAT, "proc/stat");
    s->stat.is_long = true; /* its first line is enough, and a server's has thousands */
    tarn_probe_open(&s->root, &s->loadavg, TARN_SENSOR_LOADAVG, "proc/loadavg");
    tarn_probe_open(&s->root, &s->meminfo, TARN_SENSOR_MEMINFO, "proc/meminfo");
    s->meminfo.is_long = true;
    s->root.vanished = false;
}
